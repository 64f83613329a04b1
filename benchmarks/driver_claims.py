"""Count claims of drivers, and of differences between regimes, that are false, and those that are true.

    python benchmarks/driver_claims.py --data btc_silver_weekly.csv --panels 200 --out out/driver_claims

As in `false_claims.py`, whose panels and settings these are: the baseline model on the silver, dollar and yields of a
real weekly panel. Each finished panel is a file, so a study that was stopped goes on where it was.

No driver moves the regimes in: *no effect*, simulated from the model with effects of zero; *garch* and *stochastic
volatility*, no regimes but volatility that clusters, and independent 13-week changes of random walks as drivers;
*rotated*, the real response and the real drivers rotated in time; *levels R*, the response is an AR(1) series with
coefficient R, independent of the real drivers. *driver E*: a standard deviation of the dollar changes the log odds of
entering the turbulent regime by -E, and the real yield does nothing. An independent driver is claimed falsely in the
panels of any case.

The lagged effect of silver is zero in all regimes in the cases without an effect of drivers, 1 in all of them in
*driver E*, and 3 in the turbulent regime and zero in the calm one in *turbulent alone*, in which no driver moves the
regimes.

What counts is a claim in a fit whatever the diagnostics say: two short chains seldom pass them. ``--full`` takes fits
at the defaults.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from false_claims import (
    BLOCK,
    SAME_WEEK,
    SETTINGS,
    fit_to,
    persistent,
    prepared,
    share,
    too_many,
    truth_on,
    view_of,
    volatile,
)

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all
from regimelag.model.evaluate import stack_draws
from regimelag.results.decision import STRICTER, Comparison, decision_threshold, verdict_claims
from regimelag.results.drivers import LEAST_STEPS, driver_claims
from regimelag.results.persistence import persistence, unexplained
from regimelag.results.regimes import regime_paths

MODEL, MOVED = "btc_silver", "dollar"
CLUSTERS, LEVELS = ("garch", "stochastic volatility"), ("levels 0.9", "levels 1")
NULLS = ("no effect", *CLUSTERS, "rotated")
# Log odds per standard deviation of the dollar, with an elasticity of one in both regimes.
POWERS = {f"driver {size}": float(size) for size in ("0.4", "0.8", "1.2")}
CONSTANT, ALONE = 1.0, 3.0
CASES = (*NULLS, *POWERS, "turbulent alone", *LEVELS)
# Of no driver and of no regime may anything be claimed in these.
WITHOUT_STATES = tuple(case for case in CASES if case not in ("rotated", "turbulent alone"))
QUARTER, LEAST = 13, 27


def independent(panel: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """The panel with 13-week changes of independent random walks as drivers."""
    rows, drivers = panel["driver_value"].shape
    walk = rng.standard_normal((rows + QUARTER, drivers)).cumsum(axis=0)
    change = walk[QUARTER:] - walk[:-QUARTER]
    return panel.assign(driver_value=(("time", "driver"), (change - change.mean(axis=0)) / change.std(axis=0)))


def steps_of(rows: int, panels: int) -> np.ndarray:
    """By how many rows each panel's drivers are rotated, in order."""
    return np.linspace(LEAST, rows - LEAST, panels).round().astype(int)


def data_of(data: str | None, case: str, number: int, panels: int, seed: int) -> xr.Dataset:
    """One panel of a case."""
    spec, panel, _ = prepared(data, MODEL)
    rng = np.random.default_rng(seed)
    if case == "rotated":
        step = steps_of(panel.sizes["time"], panels)[number * 157 % panels]
        return panel.assign(driver_value=(("time", "driver"), np.roll(panel["driver_value"].to_numpy(), step, axis=0)))
    if case in LEVELS:
        return persistent(panel, case, rng)
    if case in CLUSTERS:
        return independent(volatile(panel, case, rng), rng)
    lagged = {"no effect": 0.0, "turbulent alone": ALONE / 2}.get(case, CONSTANT)
    truth = truth_on(panel, now=SAME_WEEK, lagged=lagged)
    names = list(panel["driver"].to_numpy())
    effect = np.zeros((len(names), 2))
    effect[names.index(MOVED)] = np.array([0.5, -0.5]) * POWERS.get(case, 0.0)
    truth["driver_effect"] = (("driver", "destination"), effect)
    if case == "turbulent alone":
        truth["effect_regime"] = (("lagged_signal", "regime"), float(truth["effect"][0]) * np.array([[-1.0, 1.0]]))
    made = rl.simulate(spec, panel, parameters=truth, random_seed=seed)
    return panel.assign(response_value=(("time", "response"), made["response_value"].to_numpy()))


def reading(spec: rl.ModelSpec, panel: xr.Dataset, fitted: xr.DataTree) -> dict[str, Any]:
    """What the three families of claims would be given."""
    view = view_of(spec, panel, fitted)
    steps = driver_claims(view)
    into = steps[(steps["to"] == spec.regimes.labels()[1])].set_index("driver")
    paths = view.read(regime_paths)
    turbulent = (paths == 1).mean(("chain", "draw"))
    draws = view.parameters()
    unit = float(panel["response_scale"][0] / panel["signal_scale"][0])
    held = stack_draws(draws)
    effect = unit * held["effect"][:, 0]
    by = {name: effect[:, None] + unit * held[f"effect_{name}"][:, 0] for name in ("regime", "episode")}
    made = verdict_claims(effect, by_regime=by["regime"])
    return {
        "drivers": {
            str(name): {key: float(row[key]) for key in ("5 %", "median", "95 %", "P(> 0)")}
            for name, row in into.iterrows()
        },
        "steps": float(steps["steps"].min()),
        "agreement": float(abs(2 * turbulent - 1).mean()),
        "turbulent": float(turbulent.mean()),
        "gap": float(draws["log_scale_gap"].quantile(0.05)),
        "level": made.direction,
        "states": bool(made.regime_differences),
        "stronger": bool(made.regimes),
        "higher": float(Comparison.of(by["regime"]).higher[1, 0]),
        # Whatever the average effect is.
        "episodes": bool(verdict_claims(np.ones(1), by_episode=by["episode"]).episodes),
        "withheld": list(unexplained(view.read(persistence), spec.responses[0], spec.signals[0])),
    }


def one_panel(
    data: str | None, panels: int, settings: dict[str, Any] | None, random_seed: int, number: int
) -> dict[str, Any]:
    """Make a panel, fit it, and keep what the claims are made of."""
    place, own = divmod(number, BLOCK)
    seeds = [int(seed) for seed in np.random.SeedSequence([random_seed, place, own]).generate_state(2)]
    spec, _, plan = prepared(data, MODEL)
    panel = data_of(data, CASES[place], own, panels, seeds[0])
    fitted, fault = fit_to(spec, panel, plan, settings, seeds[1])
    return reading(spec, panel, fitted) | {"fault": fault}


def effective_number(values: np.ndarray) -> float:
    """Number of independent ones that rotated panels (in order) are worth, by their circular autocorrelation."""
    centred = values - values.mean()
    power = abs(np.fft.fft(centred)) ** 2
    correlation = np.fft.ifft(power).real[: len(values) // 2] / power.mean()
    first = int(np.argmax(correlation < 0)) or len(correlation)
    return float(len(values) / (1 + 2 * correlation[1:first].sum()))


def _of_case(found: dict[int, dict[str, Any]], case: str) -> list[dict[str, Any]]:
    return [one for number, one in found.items() if CASES[number // BLOCK] == case and ERROR not in one]


def _claimed(one: dict[str, Any], name: str, stricter: float = STRICTER) -> bool:
    """Whether the driver would be claimed; of the rule in force, or of one that is not so strict."""
    positive, least = one["drivers"][name]["P(> 0)"], decision_threshold(stricter * len(one["drivers"]))
    return max(positive, 1 - positive) >= least and one["steps"] >= LEAST_STEPS


def driver_table(found: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """A row a case: panels in which a driver without an effect is claimed, and in which that with one is."""
    rows = []
    for case in CASES:
        own, size = _of_case(found, case), POWERS.get(case, 0.0)
        if not own:
            continue
        idle = [name for name in own[0]["drivers"] if not (size and name == MOVED)]
        false, more = (sum(any(_claimed(one, name, by) for name in idle) for one in own) for by in (STRICTER, 1))
        row = {"case": case, "panels": len(own), "false claims": false, "share": share(false, len(own))}
        row["false at 1 - 0.01 / n"] = more
        moved = [one["drivers"][MOVED] for one in own]
        claimed = [one["drivers"][MOVED] for one in own if _claimed(one, MOVED)]
        right = [one for one in claimed if one["median"] < 0]
        row |= {"found": len(right), "power": share(len(right), len(own))} if size else {"found": "", "power": ""}
        row["found at 1 - 0.01 / n"] = sum(_claimed(one, MOVED, 1) for one in own) if size else ""
        row["wrong sign"] = len(claimed) - len(right) if size else ""
        row["exaggerated"] = f"{np.mean([-one['median'] for one in right]) / size:.2f}" if size and right else ""
        inside = sum(one["5 %"] <= -size <= one["95 %"] for one in moved)
        row["covered by 90 %"] = "" if case == "rotated" else share(inside, len(own))
        row["fewer than 5 steps"] = sum(one["steps"] < LEAST_STEPS for one in own)
        row["withheld"] = sum(bool(one["withheld"]) for one in own)
        row["faults"] = sum(one["fault"] for one in own)
        rows.append(row)
    return pd.DataFrame(rows)


def state_table(found: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """A row a case: panels with a claim of a difference between regimes, and of an average effect."""
    rows = []
    for case in CASES:
        own = [one for one in _of_case(found, case) if not one["withheld"]]
        if not own:
            continue
        states, levels = (sum(bool(one[name]) for one in own) for name in ("states", "level"))
        row = {"case": case, "not withheld": len(own), "difference": states, "share": share(states, len(own))}
        row["of them stronger"] = sum(one["stronger"] for one in own)
        row["without a claimed average"] = sum(one["states"] and not one["level"] for one in own)
        row |= {"average": levels, "either": sum(bool(one["states"] or one["level"]) for one in own)}
        row["episodes differ"] = sum(one["episodes"] for one in own)
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> int:
    """Run what is missing, print the tables; 1 if a null has too many claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="a weekly panel with the baseline model's columns")
    parser.add_argument("--panels", type=int, default=200, help="of each case (%(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--full", action="store_true", help="fit at the defaults, ten times as long")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--alone", action="store_true", help="in this process, not in one for each core")
    parser.add_argument("--out", type=Path, default=Path("out/driver_claims"))
    options = parser.parse_args()
    cases = [case for case in options.cases if options.data or case != "rotated"]
    # In turns, so that a study that is stopped has some of every case.
    numbers = [BLOCK * CASES.index(case) + n for n in range(options.panels) for case in cases]
    fit = None if options.full else SETTINGS
    settings = {"study": "driver claims", "seed": options.seed, "fit": fit, "code": code_hash()}
    settings |= {"data": Path(options.data).name if options.data else None}
    settings |= {"rotations": options.panels} if "rotated" in cases else {}
    work = partial(one_panel, options.data, options.panels, fit, options.seed)
    executor = ThreadPoolExecutor(1) if options.alone else None
    found = run_all(work, numbers, settings=json.loads(json.dumps(settings)), folder=options.out, executor=executor)
    drivers, states = driver_table(found), state_table(found)
    for table in (drivers, states):
        print("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
        for row in table.itertuples(index=False):
            print("| " + " | ".join(map(str, row)) + " |")
        print()
    if "rotated" in cases:
        order = np.argsort(np.arange(options.panels) * 157 % options.panels) + BLOCK * CASES.index("rotated")
        turned = _of_case({int(number): found[int(number)] for number in order}, "rotated")
        for name in turned[0]["drivers"] if turned else ():
            number = effective_number(np.array([one["drivers"][name]["median"] for one in turned]))
            print(f"{len(turned)} rotations are worth {number:.0f} independent ones for {name}.")
    wrong = too_many(drivers["false claims"], drivers["panels"])[~drivers["case"].isin(LEVELS)].any()
    null = states[states["case"].isin(WITHOUT_STATES)]
    return int(wrong or too_many(null["difference"], null["not withheld"]).any())


if __name__ == "__main__":
    raise SystemExit(main())
