"""Fit every bundled model to real data with several seeds, and see whether the chains mix.

    python benchmarks/named_models.py --weekly btc_silver_weekly.csv --daily btc_silver_daily.csv --money m2_weekly.csv

The data are not part of the package. Each finished fit is a file, so a run that was stopped goes on where it was. The
table gives the worst R-hat, effective sample size and share of divergent draws over the seeds, for separated modes
within them, the number of chains of the run that was extended most, the weights of separated modes by seed with Monte
Carlo errors, and the answer of the first seed.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all
from regimelag.sampling.diagnostics import DIVERGENT_LIMIT, ESS_LIMIT, RHAT_LIMIT, convergence

MODELS = Path(__file__).resolve().parents[1] / "models"
# Models whose history the data, which begin in January 2012, do not reach before the usual start.
LATER = {"breakout": "2013-07-01"}


def read_frame(model: str, options: argparse.Namespace) -> pd.DataFrame:
    """The prices a model needs, with money supply and the Federal Reserve's assets beside them."""
    frame = rl.read_series(options.daily if model == "daily" else options.weekly)
    for path in (options.money, options.assets):
        frame = frame.join(rl.read_series(path), how="outer") if path else frame
    return frame


def one_fit(models: list[str], options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Fit one model with one seed, and keep what the table needs."""
    name, seed = models[number // 1000], number % 1000
    spec = rl.read_spec(name)
    panel = rl.make_panel(spec, read_frame(name, options), start=max(options.start, LATER.get(name, "")))
    idata = rl.fit(spec, panel, draws=options.draws, random_seed=seed, cores=1, progressbar=False)
    found = {key: value for key, value in convergence(idata).items() if isinstance(value, (int, float))}
    report = rl.lag_report(idata)
    summary = rl.regime_summary(idata)
    states = rl.results.state_report(idata) if spec.indicators else None
    gains = rl.results.gain_report(idata) if ordered_by_effect(spec) else None
    return found | {
        "states": states.to_csv(index=False) if states is not None else "",
        "gains": gains.to_csv(index=False) if gains is not None else "",
        "more": [said for one in (states, gains) if one is not None for said in rl.sentences(one)],
        "model": name,
        "seed": seed,
        "rows": panel.sizes["time"],
        "chains": idata.attrs["chains_kept"],
        "weights": weights_of(idata),
        "modes": rl.modes(idata).reset_index().to_dict("records"),
        "verdict": report.attrs["verdict"],
        "no_effect": report.attrs["no_effect"],
        "notes": report.attrs["notes"],
        "report": report.reset_index().astype(object).where(lambda t: t.notna(), None).to_csv(index=False),
        "regime_summary": summary.to_csv(),
        "drivers": driver_table(spec, idata),
        "filtered": rl.regime_probabilities(idata).isel(time=-1).mean(("chain", "draw")).to_numpy().tolist(),
    }


def weights_of(idata: Any) -> str:
    """Weights of separated modes with their Monte Carlo errors; empty if there is one mode."""
    if "within_mode" not in idata.children:
        return ""
    runs = idata["within_mode"].to_dataset()
    pairs = zip(runs["weight"].to_numpy(), runs["weight_error"].to_numpy(), strict=True)
    return ", ".join(f"{weight:.3f} ({error:.3f})" for weight, error in pairs)


def ordered_by_effect(spec: rl.ModelSpec) -> bool:
    """Whether a process has two regimes that a signal's effect orders."""
    return any(one.order_by.quantity == "effect" for one in spec.regime_processes)


def driver_table(spec: rl.ModelSpec, idata: Any) -> dict[str, list[float]]:
    """5 %, median and 95 % of the log odds, last regime against the first, that one sd of each driver adds."""
    if not spec.transition_drivers:
        return {}
    changes = rl.driver_effects(idata)["log_odds"]
    found = {}
    for driver in changes["driver"].to_numpy():
        # Regimes of other processes, which the driver does not move, are missing.
        own = changes.sel(driver=driver).dropna("regime", how="all").isel(regime=-1)
        found[str(driver)] = np.nanquantile(own, (0.05, 0.5, 0.95)).tolist()
    return found


def row_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table: the worst over the seeds."""
    good = [result for result in results if ERROR not in result]
    if not good:
        return {"model": "?", "failed": len(results)}
    worst = {
        "rhat": max(result["rhat"] for result in good),
        "ess_bulk": min(result["ess_bulk"] for result in good),
        "share_divergent": max(result["share_divergent"] for result in good),
    }
    mixes = (
        worst["rhat"] <= RHAT_LIMIT and worst["ess_bulk"] >= ESS_LIMIT and worst["share_divergent"] <= DIVERGENT_LIMIT
    )
    return {
        "model": good[0]["model"],
        "rows": good[0]["rows"],
        "seeds": len(good),
        "largest R-hat": f"{worst['rhat']:.4f}",
        "least bulk ESS": f"{worst['ess_bulk']:.0f}",
        "divergent": f"{100 * worst['share_divergent']:.2f} %",
        "most chains": max(result["chains"] for result in good),
        "weights of separated modes": "; ".join(result["weights"] for result in good if result["weights"]),
        "mixes": "yes" if mixes else "no",
    }


def main() -> None:
    """Run what is missing, and print the table and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weekly", required=True, metavar="CSV")
    parser.add_argument("--daily", required=True, metavar="CSV")
    parser.add_argument("--money", required=True, metavar="CSV")
    parser.add_argument("--assets", metavar="CSV", help="fed_assets_mn, which balance_sheet needs")
    parser.add_argument("--start", default="2013-01-01")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=1000, help="of each of four chains (%(default)s)")
    parser.add_argument("--models", nargs="+", help="all by default, balance_sheet only with --assets")
    parser.add_argument("--out", type=Path, default=Path("out/named_models"))
    options = parser.parse_args()
    every = sorted(path.stem for path in MODELS.glob("*.toml"))
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    options.models = options.models or [name for name in every if options.assets or name != "balance_sheet"]
    numbers = [1000 * every.index(model) + seed for model in options.models for seed in seeds]
    found = run_all(
        partial(one_fit, every, options),
        numbers,
        settings={
            "study": "bundled models",
            "start": options.start,
            "draws": options.draws,
            "models": every,
            "code": code_hash(),
        },
        folder=options.out,
    )
    rows = []
    for model in options.models:
        results = [found[1000 * every.index(model) + seed] for seed in seeds]
        rows.append(row_of(results) | {"model": model})
        for result in results:
            if ERROR in result:
                print(f"{model}: {result[ERROR]}")
    table = pd.DataFrame(rows).fillna("")
    print("| " + " | ".join(table.columns) + " |")
    print("|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    for model in options.models:
        first = found[1000 * every.index(model) + options.first_seed]
        for signal, said in first.get("verdict", {}).items():
            print(f"\n{model}, {signal}: {said}")
        for said in first.get("more", ()):
            print(f"\n{model}: {said}")


if __name__ == "__main__":
    main()
