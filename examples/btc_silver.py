"""Ask whether Bitcoin follows silver, how late, in which regime, and with what certainty.

Without arguments the script fits the baseline model to a panel simulated from the model itself, whose truth is
known, and prints the answer beside the truth. With --data it fits any CSV that has the baseline model's columns:

    python examples/btc_silver.py --data btc_silver_weekly.csv --start 2013-01-01 --out out/real
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import regimelag as rl

WITHIN = (4, 13)  # weeks: one to three months
MOVES = {"real yield": -0.5, "dollar": -0.03}


def main() -> None:
    """Fit the baseline model, print what it says, and write the fit and a report."""
    arguments = parse_arguments()
    spec = rl.read_spec("btc_silver")
    panel = load_panel(spec, arguments)
    print(f"\n{spec.claim}\n{title(panel)}\n")
    description = rl.describe_panel(panel)
    print(description[["column", "transform", "delay", "close", "observations", "missing", "mean", "sd"]].to_string())
    print("", *description.attrs["notes"], sep="\n")

    began = time.perf_counter()
    idata = rl.fit(spec, panel, random_seed=arguments.seed)
    print(f"\nFitted in {time.perf_counter() - began:.0f} s.")
    summary, report = rl.regime_summary(idata), rl.lag_report(idata, within=WITHIN)
    print_answer(idata, report, summary)
    if "truth" in panel.attrs:
        print_truth(idata, json.loads(panel.attrs["truth"]))

    out, overwrite = Path(arguments.out), arguments.overwrite
    print(f"\nThe fit: {rl.save_fit(idata, out / 'fit.nc', overwrite=overwrite)}")
    page = rl.report(idata, out / "report", within=WITHIN, moves=MOVES, overwrite=overwrite)
    print(f"All of this as a page, with figures and tables beside it: {page}")


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


def print_answer(idata: xr.DataTree, report: pd.DataFrame, summary: pd.DataFrame) -> None:
    """The diagnostics, the answer in sentences, and the tables behind it."""
    print("\nDiagnostics")
    for sentence in rl.diagnostics(idata):
        print(f"  {sentence}")
    print("\nAnswer")
    for sentence in sentences(idata, report):
        print(f"  {sentence}")
    print("\nLags (weeks) and effects (per cent per per cent), posterior beside prior, and information gained (nats)")
    print(report.to_string(float_format="{:.2f}".format, na_rep=""))
    print("\nNo average lagged effect against a normal slab, over the slab's width, prior odds one")
    print(pd.DataFrame(report.attrs["no_effect"]["silver"]).to_string(float_format="{:.3f}".format))
    print("\nRegimes")
    print(summary.to_string(index=False, float_format="{:.3f}".format))
    print("\nReal yield down 50 bp, dollar down 3 % over 13 weeks: change in P(turbulent), percentage points")
    changes = rl.driver_effects(idata, moves=MOVES)
    print(driver_table(changes).to_string(float_format="{:.1f}".format))
    print("\nModes found")
    for number, mode in rl.modes(idata).iterrows():
        print(
            f"  {number}: weight {mode.weight:.3f}, log posterior {mode.log_posterior:.1f}, {mode.starts} starts. "
            f"{mode.differs}"
        )


def driver_table(changes: xr.Dataset) -> pd.DataFrame:
    """Median and 90 % interval of the change in the turbulent regime's probability, in percentage points."""
    turbulent = 100 * changes[["next_period", "long_run"]].sel(regime="turbulent", drop=True)
    quantiles = turbulent.quantile([0.05, 0.5, 0.95], dim=("chain", "draw"))
    return quantiles.to_dataframe().unstack("quantile")  # noqa: PD010


def sentences(idata: xr.DataTree, report: pd.DataFrame) -> list[str]:
    """The answer in words, no stronger than the draws allow."""
    last = rl.regime_probabilities(idata, kind="filtered").isel(time=-1).sel(regime="turbulent")
    low, high = np.quantile(last.to_numpy(), [0.05, 0.95])
    date = str(last["time"].dt.strftime("%Y-%m-%d").item())
    now = f"On {date} the regime is turbulent with probability {float(last.mean()):.2f} ({low:.2f} to {high:.2f})."
    drivers = rl.sentences(rl.results.driver_report(idata))
    return [*report.attrs["verdict"].values(), *drivers, now, *report.attrs["notes"]]


def print_truth(idata: xr.DataTree, truth: dict[str, float]) -> None:
    """Simulated data only: what was put in, and whether the 90 % interval holds it."""
    effects = rl.effects(idata)
    changes = rl.driver_effects(idata)["log_odds"].sel(regime="turbulent")
    estimates = {
        "effect": effects["lagged"].sel(signal="silver"),
        "contemporaneous": effects["contemporaneous"].sel(signal="silver"),
        "mean_lag": rl.lag_distribution(idata)["mean_lag"].sel(signal="silver"),
    }
    odds = "log odds of turbulent against calm, {} up 1 sd"
    estimates |= {odds.format(name): changes.sel(driver=name) for name in changes["driver"].to_numpy()}
    values = [truth["effect"], truth["contemporaneous"], truth["mean_lag"], *truth["driver_effect"]]
    print("\nTruth of the simulated panel")
    for (name, draws), value in zip(estimates.items(), values, strict=True):
        low, high = np.quantile(draws.to_numpy(), [0.05, 0.95])
        verdict = "inside" if low <= value <= high else "outside"
        print(f"  {name}: {value:.2f}, {verdict} the 90 % interval {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
