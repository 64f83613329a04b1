"""Count how often a lagged effect is claimed to depend on the state of the economy, on a regime, or on the direction.

    python benchmarks/state_claims.py --data btc_silver_weekly.csv --panels 200 --out out/state_claims

Responses are simulated on the silver, dollar and yields of a real weekly panel (the data are not part of the package;
without --data on those of the example), as in `false_claims.py`, and every panel is fitted by each model asked for.
Each finished panel is a file, so a study that was stopped goes on where it was.

Nulls: *no effect*; *constant E*, a cumulative elasticity of E in all weeks; *late both*, the macro series act on the
response weeks later; *garch* and *volatility shift*, errors of that kind and no regimes; *independent drivers*, an
elasticity of 1 in all weeks, and drivers replaced by independent series with the persistence of 13-week changes, so
that the state is another one. Powers: *elasticity E*, a cumulative elasticity of E at a mean lag of 7 weeks in the
weeks with the state, falling real yields and a falling dollar over 13 weeks as published by the week before, and none
in other weeks; *gains E*, a cumulative elasticity of E to silver's rises, and none to its falls.

What counts is a claim, of either sign, in a fit in which the verdict is not withheld: of a contrast between the two
states of the indicator (`debasement`, `moderated`), of two effects by the Bayes factor (`coupling`), or of a
difference between rises and falls (`ups_and_downs`). Coverage is that of the 90 % interval of that contrast or
difference in these fits; a gain between regimes is positive by construction and has none. Beside the models of states
stands the ceiling: a robust regression on the lagged sums with the true weights, the state given, that claims at the
same probability of a sign. The diagnostics that would silence a verdict do not here: two short chains seldom pass them.
The second chain is left out where it could not make a claim: where the first has either sign with probability p, both
together have it with (1 + p) / 2 at most, and the Bayes factor of both is twice that of the first at most. Means and
coverage are then those of the first.
With ``--full`` each fit is that of `regimelag.fit` at its defaults, and *faults* counts those that its diagnostics
would silence. The table is also written beside the folder, as CSV.
"""

from __future__ import annotations

import argparse
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from false_claims import (
    BLOCK,
    LATE,
    LATE_LAG,
    MEAN_LAG,
    SAME_WEEK,
    SETTINGS,
    SPREAD,
    fit_to,
    share,
    too_many,
    truth_on,
    view_of,
    volatile,
)
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal, stats

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all
from regimelag.panel.moderators import indicator_values
from regimelag.results.decision import decision_threshold, state_claims
from regimelag.results.gains import gain_claims
from regimelag.results.persistence import persistence, unexplained
from regimelag.results.states import states_of
from regimelag.sampling.compiled import CompiledModel

STATES, GAIN, ASYMMETRY = ("debasement", "moderated"), "coupling", "ups_and_downs"
MODELS = (*STATES, GAIN, ASYMMETRY)
CONSTANT = {f"constant {size}": float(size) for size in (1, 2, 3)}
POWERS = {f"elasticity {size:g}": size for size in (1.5, 2.0, 3.0)}
VOLATILE, INDEPENDENT, LATE_BOTH = ("garch", "volatility shift"), "independent drivers", "late both"
RISES = {f"gains {size:g}": size for size in (2.0, 3.0)}
NULLS = ("no effect", *CONSTANT, LATE_BOTH, *VOLATILE, INDEPENDENT)
CASES = (*NULLS, *POWERS, *RISES)
# Autocorrelation from week to week of a change over 13 weeks in a random walk.
OVERLAP = 12 / 13
# Probability of a sign that the least strict limit of each claim asks for.
LEAST = dict.fromkeys((*STATES, ASYMMETRY), decision_threshold())
# Bayes factor in the first chain below which both have less than 10. Where the density at zero of the second is none,
# both have twice that of the first, 5 then; the rest is for the error of estimates from 200 draws.
LEAST_SHARED = 4.0
# Tuning constant of Huber's estimate: efficiency of 95 % under normal residuals.
HUBER = 1.345


@cache
def with_data(data: str | None, model: str) -> tuple[rl.ModelSpec, xr.Dataset]:
    """A model and the real panel, or that of the example."""
    spec = rl.read_spec(model)
    frame = rl.read_series(data) if data else rl.example_panel(as_frame=True)
    return spec, rl.make_panel(spec, frame, start="2013-01-01")


@cache
def prepared(data: str | None, model: str) -> tuple[rl.ModelSpec, xr.Dataset, CompiledModel]:
    """One model a process."""
    spec, panel = with_data(data, model)
    return spec, panel, CompiledModel(rl.build_model(spec, panel))


def truth_of(case: str, panel: xr.Dataset) -> xr.Dataset:
    """Parameters of the model `debasement` in a case; regimes do not differ in the effect."""
    late = LATE.get(case, (0.0, 0.0))
    truth = truth_on(panel, now=SAME_WEEK, lagged=CONSTANT.get(case, 1.0 if case == INDEPENDENT else 0.0), late=late)
    unit = float(panel["signal_scale"][0] / panel["response_scale"][0])
    added = POWERS.get(case, 0.0) * unit
    return truth.drop_vars("driver_effect").assign(
        effect_moderator=(("moderated_signal", "moderator"), [[added]]),
        moderator_main_effect=(("response", "moderator"), [[0.0]]),
    )


def with_independent_drivers(panel: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """The panel with autoregressive drivers that persist as overlapping changes do.

    Their means and standard deviations are those of the real ones, so that thresholds cut them alike.
    """
    rows, drivers = panel["driver_value"].shape
    moves = rng.standard_normal((rows + 201, drivers))
    made = signal.lfilter([1.0], [1.0, -OVERLAP], moves, axis=0)[200:]
    made = (made - made[1:].mean(axis=0)) / made[1:].std(axis=0, ddof=1)
    return panel.assign(
        driver_value=(panel["driver_value"].dims, made[1:]), driver_history=(panel["driver_history"].dims, made[0])
    )


def data_of(data: str | None, case: str, model: str, seed: int) -> xr.Dataset:
    """One panel of a case, for a model; the values are the same for all models."""
    _, panel = with_data(data, model)
    spec, base = with_data(data, "debasement")
    rng = np.random.default_rng(seed)
    if case == INDEPENDENT:
        panel, base = (with_independent_drivers(one, np.random.default_rng(seed)) for one in (panel, base))
    if case in VOLATILE:
        return volatile(panel, case, rng)
    made = rl.simulate(spec, base, parameters=truth_of(case, base), random_seed=seed)
    y = made["response_value"].to_numpy()
    if case in RISES:
        y = y + RISES[case] * of_rises(*with_data(data, ASYMMETRY))[:, None]
    return panel.assign(response_value=(("time", "response"), y))


def lagged(kernel: Any, values: np.ndarray, lags: int, rows: int, **at: float) -> np.ndarray:
    """Lagged sums (time) of a series at given parameters of a kernel."""
    weights = kernel.weights({name: np.array(value) for name, value in at.items()}, lags)
    return sliding_window_view(values[:-1], lags)[:, ::-1][-rows:] @ weights


def of_rises(spec: rl.ModelSpec, panel: xr.Dataset) -> np.ndarray:
    """What an elasticity of one to silver's rises adds to the response (time)."""
    unit, rises = float(panel["signal_scale"][0] / panel["response_scale"][0]), panel["signal_value"].to_numpy()[:, 0]
    return unit * lagged(
        spec.signals[0].kernel, rises, spec.max_lag, panel.sizes["time"], location=MEAN_LAG, spread=SPREAD
    )


def ceiling(spec: rl.ModelSpec, panel: xr.Dataset) -> float:
    """Statistic of the contrast in a robust regression with the state and the true lag weights given.

    Regressors are the same-week terms, the lagged sums of the controls, the state, and the lagged sum of silver in and
    out of the state; Huber's estimate by reweighted least squares, with its sandwich standard error.
    """
    state = indicator_values(spec, panel)[:, 0]
    rows, lags = len(state), spec.max_lag

    x, u = panel["signal_value"].to_numpy()[:, 0], panel["control_value"].to_numpy()
    silver = lagged(spec.signals[0].kernel, x, lags, rows, location=MEAN_LAG, spread=SPREAD)
    late = [lagged(one.kernel, u[:, c], lags, rows, **LATE_LAG) for c, one in enumerate(spec.controls)]
    columns = [np.ones(rows), x[-rows:], *u[-rows:].T, *late, state, silver, state * silver]
    design, y = np.stack(columns, axis=1), panel["response_value"].to_numpy()[:, 0]
    weight = np.ones(rows)
    for _ in range(50):
        root = np.sqrt(weight)
        found = np.linalg.lstsq(design * root[:, None], y * root)[0]
        residual = y - design @ found
        scaled = residual / (1.4826 * np.median(np.abs(residual - np.median(residual))))
        weight = np.minimum(1.0, HUBER / np.maximum(np.abs(scaled), 1e-12))
    bread = np.linalg.inv((design * (np.abs(scaled) < HUBER)[:, None]).T @ design)
    meat = (design * ((weight * residual) ** 2)[:, None]).T @ design
    return float(found[-1] / np.sqrt((bread @ meat @ bread)[-1, -1]))


def contrast_of(spec: rl.ModelSpec, panel: xr.Dataset, fitted: xr.DataTree) -> tuple[np.ndarray, np.ndarray, float]:
    """Draws of the two effects that are compared, and the share of weeks in the first."""
    if spec.name == ASYMMETRY:
        scale = panel["response_scale"].to_numpy()[0] / panel["signal_scale"].to_numpy()
        inside, outside = (fitted["posterior"]["effect"].to_numpy().reshape(-1, len(scale)) * scale).T
        return inside, outside, float((panel["signal_value"][:, 0] > panel["signal_value"][:, 0].min()).mean())
    of_state = states_of(view_of(spec, panel, fitted), spec.responses[0].name, spec.signals[0].name)
    return of_state[spec.indicators[0].name]


def two_chains(
    spec: rl.ModelSpec, panel: xr.Dataset, plan: CompiledModel, settings: dict[str, Any], seeds: list[int]
) -> tuple[xr.DataTree, bool]:
    """Two chains, or the first alone if both together could not have one sign with the probability of a claim."""
    first = fit_to(spec, panel, plan, settings | {"chains": 1}, seeds[0])
    if spec.name == GAIN:
        if gain_claims(view_of(spec, panel, first[0])).iloc[0]["Bayes factor"] < LEAST_SHARED:
            return first
    else:
        inside, outside, _ = contrast_of(spec, panel, first[0])
        positive = float((inside > outside).mean())
        if (1 + max(positive, 1 - positive)) / 2 < LEAST[spec.name]:
            return first
    second = fit_to(spec, panel, plan, settings | {"chains": 1}, seeds[1])
    both = xr.concat([one["posterior"].to_dataset() for one, _ in (first, second)], "chain")
    return xr.DataTree.from_dict({"/posterior": both.assign_coords(chain=[0, 1])}), first[1] or second[1]


def reading(spec: rl.ModelSpec, panel: xr.Dataset, fitted: xr.DataTree, true: float) -> dict[str, Any]:
    """What the verdict would be given of the state, the gain or the difference."""
    view = view_of(spec, panel, fitted)
    response, withheld = spec.responses[0], list[str]()
    for one in spec.lagged_signals:
        withheld += unexplained(view.read(persistence), response, one)
    if spec.name == GAIN:
        row = gain_claims(view).iloc[0]
        own = {"claim": int(row["claimed"]), "factor": float(row["Bayes factor"]), "mean": float(row["median"])}
        own |= {"error": float(row["relative error"]), "share": float(row["share higher"])}
        return own | {"sd": float("nan"), "inside": None, "withheld": withheld}
    inside, outside, held = contrast_of(spec, panel, fitted)
    contrast = inside - outside
    low, high = np.quantile(contrast, [0.05, 0.95])
    return {
        "claim": state_claims([(inside, outside)])[0],
        "positive": float((contrast > 0).mean()),
        "mean": float(contrast.mean()),
        "sd": float(contrast.std()),
        "inside": bool(low <= true <= high),
        "share": held,
        "withheld": withheld,
    }


def of_interest(case: str, model: str) -> bool:
    """Whether a case is a null of the model's claim, or what it claims."""
    return case not in ((*POWERS, INDEPENDENT) if model == ASYMMETRY else RISES)


def one_panel(
    data: str | None, models: tuple[str, ...], settings: dict[str, Any] | None, random_seed: int, number: int
) -> dict[str, Any]:
    """Make a panel, fit each model, and keep what the verdict would be given."""
    place, own = divmod(number, BLOCK)
    case = CASES[place]
    seeds = [int(seed) for seed in np.random.SeedSequence([random_seed, place, own]).generate_state(3)]
    spec, _ = with_data(data, "debasement")
    found: dict[str, Any] = {"ceiling": ceiling(spec, data_of(data, case, "debasement", seeds[0]))}
    for model in (model for model in models if of_interest(case, model)):
        spec, _, plan = prepared(data, model)
        panel = data_of(data, case, model, seeds[0])
        if settings:
            fitted, fault = two_chains(spec, panel, plan, settings, seeds[1:])
        else:
            fitted, fault = fit_to(spec, panel, plan, settings, seeds[1])
        found[model] = reading(spec, panel, fitted, (POWERS | RISES).get(case, 0.0)) | {"fault": bool(fault)}
    return found


def table_of(found: dict[int, dict[str, Any]], models: tuple[str, ...]) -> pd.DataFrame:
    """A row a case and model; shares with a 95 % interval (Clopper & Pearson)."""
    limit, rows = stats.norm.ppf(decision_threshold()), []
    for place, case in enumerate(CASES):
        every = [result for number, result in found.items() if number // BLOCK == place]
        results = [result for result in every if ERROR not in result]
        known = sum(abs(result["ceiling"]) > limit for result in results)
        for model in (model for model in models if results and of_interest(case, model)):
            own = [result[model] for result in results]
            read = [one for one in own if not one["withheld"]]
            claims = sum(one["claim"] != 0 for one in read)
            mean = {name: float(np.mean([one[name] for one in own])) for name in ("mean", "sd", "share")}
            rows.append(
                {
                    "case": case,
                    "model": model,
                    "panels": len(own),
                    "failed fits": len(every) - len(results),
                    "withheld": len(own) - len(read),
                    "claims": claims,
                    "negative": sum(one["claim"] < 0 for one in read),
                    "share of all": share(claims, len(own)),
                    "ceiling": share(known, len(own)) if model in STATES else "",
                    "bias": f"{mean['mean'] - (POWERS | RISES).get(case, 0.0):+.2f}" if model != GAIN else "",
                    "sd": f"{mean['sd']:.2f}" if model != GAIN else "",
                    "covered by 90 %": share(sum(one["inside"] for one in read), len(read)) if model != GAIN else "",
                    "in the state": f"{100 * mean['share']:.0f} %",
                    "faults": sum(one["fault"] for one in own),
                }
            )
    return pd.DataFrame(rows)


def main() -> int:
    """Run what is missing, print the table; 1 if a model claims too often in a null."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="a weekly panel with the baseline model's columns")
    parser.add_argument("--panels", type=int, default=200, help="of each case (%(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--full", action="store_true", help="fit at the defaults, ten times as long")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("out/state_claims"))
    options = parser.parse_args()
    models = tuple(options.models)
    # In turns, so that a study that is stopped has some of every case.
    numbers = [BLOCK * CASES.index(case) + n for n in range(options.panels) for case in options.cases]
    fit = None if options.full else SETTINGS
    settings = {"study": "state claims", "seed": options.seed, "fit": fit, "models": models, "code": code_hash()}
    settings |= {"data": Path(options.data).name if options.data else None}
    settings["script"] = Path(__file__).read_text(encoding="utf-8")
    work = partial(one_panel, options.data, models, fit, options.seed)
    found = run_all(work, numbers, settings=json.loads(json.dumps(settings)), folder=options.out)
    table = table_of(found, models)
    table.to_csv(options.out.with_suffix(".csv"), index=False)
    print("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")
    nulls = table[table["case"].isin(NULLS)]
    return int(too_many(nulls["claims"], nulls["panels"]).any())


if __name__ == "__main__":
    raise SystemExit(main())
