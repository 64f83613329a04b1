"""Ask whether Bitcoin follows silver, how late, in which regime, and with what certainty.

Without arguments the script fits the baseline model to a panel simulated from the model itself, and prints the answer
beside the truth. Its picture shows prices with the probability of the turbulent regime. With --data it fits any CSV
that has the baseline model's columns:

    python examples/btc_silver.py --data btc_silver_weekly.csv --start 2013-01-01 --out out/real
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr

import regimelag as rl

WITHIN = (4, 13)  # weeks: one to three months
MOVES = {"real yield": -0.5, "dollar": -0.03}


def main() -> None:
    """Fit the baseline model, print the answer, and write the fit and a report."""
    arguments = parse_arguments()
    spec = rl.read_spec("btc_silver")
    panel = load_panel(spec, arguments)
    print(f"{spec.claim}\n{title(panel)}\n")
    idata = rl.fit(spec, panel, random_seed=arguments.seed)
    print(rl.summary(idata, within=WITHIN))
    if "truth" in panel.attrs:
        print_truth(idata, json.loads(panel.attrs["truth"]))

    out, overwrite = Path(arguments.out), arguments.overwrite
    print(f"\nThe fit: {rl.save_fit(idata, out / 'fit.nc', overwrite=overwrite)}")
    page = rl.report(idata, out / "report", within=WITHIN, moves=MOVES, overwrite=overwrite)
    print(f"The report, with all tables and figures: {page}")
    print(f"Prices with the probability of the turbulent regime: {page.parent / 'figures' / 'prices.png'}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line, and refuse before the fit what could not be written after it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", metavar="CSV", help="wide CSV with dates and the baseline model's columns; simulated if not given"
    )
    parser.add_argument("--start", metavar="DATE", default="2013-01-01", help="first row of the window (%(default)s)")
    parser.add_argument("--end", metavar="DATE", help="last row of the window (the last one there is)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sampler (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="out/btc_silver", help="folder to write to (%(default)s)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a fit and a report that are already in the folder"
    )
    arguments = parser.parse_args()
    written = [path for name in ("fit.nc", "report") if (path := Path(arguments.out) / name).exists()]
    if written and not arguments.overwrite:
        parser.error(f"{written[0]} exists and would be replaced: pass --overwrite, or another --out")
    return arguments


def load_panel(spec: rl.ModelSpec, arguments: argparse.Namespace) -> xr.Dataset:
    """The panel of the user's CSV, or the simulated one."""
    if arguments.data is None:
        return rl.example_panel()
    panel = rl.make_panel(spec, rl.read_series(arguments.data), start=arguments.start, end=arguments.end)
    return panel.assign_attrs(origin=Path(arguments.data).name)


def title(panel: xr.Dataset) -> str:
    """Where the data come from, so that simulated data are never taken for real ones."""
    dates = panel["time"].dt.strftime("%Y-%m-%d").to_numpy()
    return f"Data: {panel.attrs['origin']}; {len(dates)} rows, {dates[0]} to {dates[-1]}."


def print_truth(idata: xr.DataTree, truth: dict[str, float]) -> None:
    """Simulated data only: what was put in, and whether the 90 % interval holds it."""
    effects = rl.effects(idata)
    changes = rl.driver_effects(idata)["log_odds"].sel(regime="turbulent")
    estimates = {
        "lagged effect": effects["lagged"].sel(signal="silver"),
        "same-week effect": effects["contemporaneous"].sel(signal="silver"),
        "mean lag, weeks": rl.lag_distribution(idata)["mean_lag"].sel(signal="silver"),
    }
    estimates |= {f"log odds, {name} up 1 sd": changes.sel(driver=name) for name in changes["driver"].to_numpy()}
    values = [truth["effect"], truth["contemporaneous"], truth["mean_lag"], *truth["driver_effect"]]
    print("\nTruth of the simulated panel, and the 90 % interval")
    for (name, draws), value in zip(estimates.items(), values, strict=True):
        low, high = np.quantile(draws.to_numpy(), [0.05, 0.95])
        print(f"  {name}: {value:.2f}, {'inside' if low <= value <= high else 'outside'} {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
