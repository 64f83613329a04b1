"""Compare the baseline model with its nulls, and with GARCH, and each direction's lag, on real weekly data.

    python benchmarks/comparison.py --data btc_silver_weekly.csv --start 2013-01-01 --out out/comparison

All models are fitted on the same rows, at their default length; each finished fit is a file, so a run that was stopped
goes on where it was. A lag is set against the same model with kernel none, which keeps the same-week term. The data are
not part of the package. docs/comparison.md has what it prints, and how to read it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import xarray as xr

import regimelag as rl

BASELINE = "btc_silver"
NULLS = ("no_late_macro", "same_week_only", "no_silver", "no_drivers", "one_regime")
# Rivals to regimes; one of them has no leave-one-out densities, so all are refitted.
VOLATILITY = ("garch", "one_regime")
DIRECTIONS = {"silver -> bitcoin": BASELINE, "bitcoin -> silver": "reversed"}


def main() -> None:
    mpl.use("Agg")
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    table = rl.compare({name: fitted(rl.read_spec(name), options) for name in (BASELINE, *NULLS)})
    specs = {direction: rl.read_spec(name) for direction, name in DIRECTIONS.items()}
    gains = rl.compare(
        {name: fitted(spec, options) for name, spec in specs.items()},
        nulls={name: fitted(same_week(spec), options) for name, spec in specs.items()},
    )
    volatility = rl.compare(
        {name: fitted(rl.read_spec(name), options) for name in (BASELINE, *VOLATILITY)}, random_seed=options.seed
    )
    for made, file in ((table, "models"), (gains, "directions"), (volatility, "volatility")):
        rl.plots.plot_compare(made).figure.savefig(options.out / f"{file}.png", dpi=150)
        print(markdown(made), *made.attrs["verdict"], made.attrs["condition"], sep="\n\n", end="\n\n")


def same_week(spec: rl.ModelSpec) -> rl.ModelSpec:
    """The null for the lag: the same model with kernel none."""
    signals = tuple(replace(signal, kernel=rl.kernels.NoLag()) for signal in spec.signals)
    return replace(spec, name=f"{spec.name}_same_week", signals=signals)


def fitted(spec: rl.ModelSpec, options: argparse.Namespace) -> xr.DataTree:
    path = options.out / f"{spec.name}_{options.seed}.nc"
    if not path.exists():
        panel = rl.make_panel(spec, rl.read_series(options.data), start=options.start)
        rl.save_fit(rl.fit(spec, panel, random_seed=options.seed), path)
    return rl.load_fit(path)


def markdown(table: pd.DataFrame) -> str:
    """The table without the words on Pareto k, to one decimal; weights to two."""
    shown = table.drop(columns="reliability").reset_index()
    for column in shown.select_dtypes("number"):
        digits = {"weight": 2, "rows": 0}.get(str(column), 1)
        shown[column] = shown[column].map(lambda value, digits=digits: f"{value:.{digits}f}")
    rows = [list(shown.columns), ["---"] * shown.shape[1], *shown.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="weekly or daily CSV of the models' columns")
    parser.add_argument("--start", help="first row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/comparison"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
