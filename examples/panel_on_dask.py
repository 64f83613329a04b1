"""Does each asset of a panel follow silver? One fit an asset, on a Dask cluster, and one table at the end.

Without --data the assets are simulated, each in a world of its own: some follow with a known elasticity, some do not,
and the table has the truth beside the answer. With --data any columns of a CSV are asked, with the baseline model's
signal, drivers and controls:

    python examples/panel_on_dask.py
    python examples/panel_on_dask.py --data prices.csv --assets btc_usd eth_usd spy_usd --start 2015-08-07

By default the cluster is one of this machine's, a process a core; --scheduler tcp://10.0.0.1:8786 joins another, whose
workers have regimelag installed; one thread each will do (`dask worker --nthreads 1`), since the fits of one process
take turns. A fit is saved as soon as it is done: when stopped, call again with the same --out, and only what is missing
runs. Studies of many refits take the cluster as it is: `rl.robustness(spec, panel, executor=client.get_executor(),
folder=...)`, `rl.evaluation.sbc` and `rl.evaluation.backtest` likewise.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from distributed import Client, as_completed

import regimelag as rl
from regimelag.results.decision import decision_threshold
from regimelag.sampling.diagnostics import convergence

mpl.use("Agg")
# True cumulative elasticities of the simulated assets, each the name of one.
TRUTHS = {"follower": 2.5, "weak follower": 1.0, "bystander": 0.0}
Task = tuple[rl.ModelSpec, xr.Dataset]


def main() -> None:
    """Fit what the folder lacks on the cluster, and tabulate all."""
    arguments = parse_arguments()
    tasks = simulated() if arguments.data is None else read(arguments)
    settings = {"draws": arguments.draws, "tune": arguments.draws, "random_seed": arguments.seed}
    out = Path(arguments.out)
    fits = {asset: kept(out / f"{asset}.nc", *task, settings) for asset, task in tasks.items()}
    missing = [asset for asset, idata in fits.items() if idata is None]
    print(f"{len(tasks) - len(missing)} of {len(tasks)} fits are in {out}.")
    if missing:
        with cluster(arguments) as client:
            futures = {client.submit(fit_one, *tasks[asset], settings, pure=False): asset for asset in missing}
            for future in as_completed(futures):
                asset = futures[future]
                fits[asset] = future.result()
                print(f"{asset} is done: {rl.save_fit(fits[asset], out / f'{asset}.nc')}")
    table = pd.DataFrame({asset: row(idata) for asset, idata in fits.items()}).T
    if arguments.data is None:
        table.insert(0, "truth", pd.Series(TRUTHS))
    print(f"\n{table.to_string(float_format='{:.2f}'.format)}")
    print("\nEffects are elasticities, lags in weeks.")
    print("The lag of an effect that may be none should not be interpreted.")
    rule, least = decision_threshold(), decision_threshold(len(tasks))
    draw(fits, out / "panel_on_dask.png")
    print(f"Lagged effect of silver on each asset, with 90 % intervals: {out / 'panel_on_dask.png'}")
    print(f"Each verdict asks for P(one sign) of {rule}; among {len(tasks)} assets asked at once, ask for {least:.4f}.")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="wide CSV with the baseline model's columns; else simulated")
    parser.add_argument("--assets", nargs="+", default=["btc_usd"], help="columns of prices that may follow silver")
    parser.add_argument("--start", metavar="DATE", default="2013-01-01", help="first row of the window (%(default)s)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a running cluster's; else one of this machine")
    parser.add_argument("--draws", type=int, default=1000, help="of each of four chains, after as many of tuning")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", metavar="DIR", default="out/panel_on_dask", help="where fits are kept (%(default)s)")
    return parser.parse_args()


def simulated() -> dict[str, Task]:
    """Spec and panel of each simulated asset."""
    spec = rl.read_spec("btc_silver")
    tasks = {}
    for seed, (name, effect) in enumerate(TRUTHS.items(), start=1):
        own = dataclasses.replace(spec, name=name, responses=(rl.Response(name, "btc_usd", close="24:00 UTC"),))
        frame = rl.example_panel(effect=effect, random_seed=seed, as_frame=True)
        tasks[name] = (own, rl.make_panel(own, frame, start="2013-01-01"))
    return tasks


def read(arguments: argparse.Namespace) -> dict[str, Task]:
    """Spec and panel of each column that was asked for."""
    spec, frame = rl.read_spec("btc_silver"), rl.read_series(arguments.data)
    tasks = {}
    for name in arguments.assets:
        own = dataclasses.replace(spec, name=name, responses=(rl.Response(name, name),))
        tasks[name] = (own, rl.make_panel(own, frame, start=arguments.start))
    return tasks


def cluster(arguments: argparse.Namespace) -> Client:
    """Join the cluster that was named, or one of this machine, a process a core."""
    if arguments.scheduler:
        return Client(arguments.scheduler)
    return Client(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR)


def fit_one(spec: rl.ModelSpec, panel: xr.Dataset, settings: dict[str, int]) -> xr.DataTree:
    """Fit in a worker, on its one core."""
    return rl.fit(spec, panel, cores=1, progressbar=False, **settings)


def kept(file: Path, spec: rl.ModelSpec, panel: xr.Dataset, settings: dict[str, int]) -> xr.DataTree | None:
    """The fit of a former run, if it is there and was made of the same."""
    if not file.exists():
        return None
    idata = rl.load_fit(file)
    same = rl.spec_of(idata) == spec and rl.panel_of(idata).equals(panel)
    same &= (
        idata["posterior"].sizes["draw"] == settings["draws"] and idata.attrs["random_seed"] == settings["random_seed"]
    )
    if not same:
        raise SystemExit(f"{file} was made of another model, panel, seed or length: name another --out")
    return idata


def draw(fits: dict[str, xr.DataTree], file: Path) -> None:
    """The lagged effect on each asset."""
    with rl.plots.style():
        figure, ax = plt.subplots(figsize=(7, 0.9 + 0.3 * len(fits)), layout="constrained")
        for place, idata in enumerate(fits.values()):
            low, median, high = np.quantile(rl.effects(idata)["lagged"].sel(signal="silver"), [0.05, 0.5, 0.95])
            ax.plot([low, high], [place, place], color="#1b4965")
            ax.plot(median, place, "o", color="#1b4965")
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set(yticks=range(len(fits)), yticklabels=list(fits), xlabel="lagged effect of silver, elasticity")
        figure.savefig(file)


def row(idata: xr.DataTree) -> dict[str, object]:
    """What a fit says, in one row."""
    report, found = rl.lag_report(idata), convergence(idata)
    of_one = report.droplevel("response")
    effect, lag = (
        of_one.loc[("silver", quantity, "all", "all"), "posterior"] for quantity in ("lagged effect", "mean lag")
    )
    return {
        "effect": effect["median"],
        "90 %": f"{effect['5 %']:.2f} to {effect['95 %']:.2f}",
        "P(one sign)": f"{max(effect['P(> 0)'], 1 - effect['P(> 0)']):.4f}",
        "mean lag": lag["median"],
        "90 % ": f"{lag['5 %']:.1f} to {lag['95 %']:.1f}",
        "R-hat": f"{found['rhat']:.3f}",
        "claimed": {1: "positive", -1: "negative", 0: "no"}[report.attrs["claimed"]["silver"]],
    }


if __name__ == "__main__":
    main()
