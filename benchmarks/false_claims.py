"""Count how often the verdict claims a lagged response that is not there, and finds one that is.

    python benchmarks/false_claims.py --data btc_silver_weekly.csv --panels 200 --out out/false_claims

Responses are simulated on the silver, dollar and yields of a real weekly panel (the data are not part of the package;
without --data on those of the example), and every panel is fitted by each model asked for. Each finished panel is a
file, so a study that was stopped goes on where it was.

Rivals of a lagged response: *zero*, none of any kind; *same week*, an elasticity of 0.3 within the week; *garch*,
*stochastic volatility* and *volatility shift*, the same with errors of that kind and no regimes; *leading response*,
silver follows the response; *late dollar*, *late yield* and *late both*, the macro series act on the response weeks
later; *shifted*, the real response and the real silver rotated in time; *levels R* and *differences R*, a response and
a signal that are independent AR(1) series with coefficient R, given as they are and differenced. Powers: cumulative
elasticities at a mean lag of 7 weeks.

What counts is a claim of a lagged response, of either sign, in a fit in which the verdict is not withheld; coverage is
that of the 90 % interval of the average effect in these fits. The diagnostics that would silence a verdict do not
here: two short chains seldom pass them. With ``--full`` each fit is that of `regimelag.fit` at its defaults, and
*faults* counts those that its diagnostics would silence.
The table is also written beside the folder, as CSV.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from scipy import signal, stats

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all
from regimelag.model.data import model_data
from regimelag.results.decision import FALSE_CLAIM, detectable, verdict_claims
from regimelag.results.persistence import UNIT_ROOT, lag_one_autocorrelation, persistence, unexplained
from regimelag.results.view import View
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.diagnostics import RHAT_LIMIT, extreme_entry
from regimelag.sampling.fit import find_modes_from_prior
from regimelag.sampling.inference_data import provenance
from regimelag.sampling.modes import dispersed_start
from regimelag.sampling.nuts import sample_nutpie

# Cumulative elasticity to the dollar, and log points per percentage point of the yield; of the covariates' own size.
LATE = {"late dollar": (-8.0, 0.0), "late yield": (0.0, -0.6), "late both": (-8.0, -0.6)}
POWERS = {f"elasticity {size}": float(size) for size in ("0.5", "1", "1.5", "2")}
VOLATILE = ("garch", "stochastic volatility", "volatility shift", "leading response")
PERSISTENT = tuple(f"{form} {root:g}" for root in (0.5, 0.9, 0.97, 1.0) for form in ("levels", "differences"))
NULLS = ("zero", "same week", *VOLATILE, *LATE, "shifted", *PERSISTENT)
CASES = (*NULLS, *POWERS)
# The share of false claims that a null may have; of fewer panels one must exceed it at the 1 % level.
MOST, ENOUGH, LEVEL = 0.03, 100, 0.01
SAME_WEEK, MEAN_LAG, SPREAD, LEAD = 0.3, 7.0, 3.0, 2.0
# Of GARCH(1,1) on a series of variance one, of log variance as AR(1), and degrees of freedom of the shocks.
ALPHA, BETA = 0.12, 0.85
PERSISTENCE, OF_LOG_VARIANCE = 0.95, 0.3
SHOCKS = 5.0
SETTINGS = {"draws": 400, "tune": 300, "chains": 2, "cores": 1, "target_accept": 0.9}
LATE_LAG = {"location": 8.0, "spread": 3.0}
BLOCK = 1_000_000


def _width(spec: rl.ModelSpec, factor: float) -> rl.ModelSpec:
    """The model with other prior scales of the lagged effects of controls."""
    yields = rl.Prior("StudentT", nu=3, sigma=0.2 * factor, unit="elasticity")
    both = rl.Prior("StudentT", nu=3, sigma=3.0 * factor, unit="elasticity", by_control={"real yield": yields})
    return spec.changed(priors={"control_lagged_effect": both})


def _own_past(spec: rl.ModelSpec) -> rl.ModelSpec:
    return spec.changed(responses=tuple(dataclasses.replace(one, autoregression=1) for one in spec.responses))


MODELS = {
    "btc_silver": lambda: rl.read_spec("btc_silver"),
    "no_late_macro": lambda: rl.read_spec("no_late_macro"),
    "garch": lambda: rl.read_spec("garch"),
    "own past": lambda: _own_past(rl.read_spec("btc_silver")),
    "half the prior": lambda: _width(rl.read_spec("btc_silver"), 0.5),
    "twice the prior": lambda: _width(rl.read_spec("btc_silver"), 2.0),
}


def truth_on(panel: xr.Dataset, *, now: float, lagged: float, late: tuple[float, float] = (0.0, 0.0)) -> xr.Dataset:
    """Parameters of the baseline model like those of the real fit, with the elasticities asked for."""
    unit = float(panel["signal_scale"][0] / panel["response_scale"][0])
    names = [str(name) for name in panel["control"].to_numpy()]
    natural = dict(zip(("dollar", "real yield"), late, strict=True))
    scale = panel["control_scale"].to_numpy() / float(panel["response_scale"][0])
    episodes = panel.sizes["episode"]
    zeros = np.zeros
    return xr.Dataset(
        {
            "intercept": (("response", "regime"), [[0.02, -0.05]]),
            "contemporaneous": (("response", "contemporaneous_signal"), [[now * unit]]),
            "control_effect": (("response", "control"), [[-0.06, -0.06]]),
            "control_lagged_effect": (
                ("response", "lagged_control"),
                [[natural[name] * one for name, one in zip(names, scale, strict=True)]],
            ),
            "effect": (("lagged_signal",), [lagged * unit]),
            "effect_regime": (("lagged_signal", "regime"), zeros((1, 2))),
            "effect_episode": (("lagged_signal", "episode"), zeros((1, episodes))),
            "log_scale": (("response",), [np.log(0.72)]),
            "log_scale_gap": (("gap",), [0.9]),
            "log_scale_episode": (("response", "episode"), np.linspace(0.3, -0.3, episodes)[None]),
            "degrees_of_freedom_minus_two": ((), 5.0),
            "stay_log_odds": (("regime",), np.log([20.0, 9.0])),
            "driver_effect": (("driver", "destination"), [[0.0, 0.0], [0.4, -0.4]]),
            "silver_lag_location": ((), MEAN_LAG),
            "silver_lag_spread": ((), SPREAD),
            **{f"control_{name}_lag_{part}": ((), value) for name in names for part, value in LATE_LAG.items()},
        }
    )


def errors_of(case: str, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Errors (time) of variance one, about: of one regime, with variances that move."""
    shock = rng.standard_t(SHOCKS, rows) / np.sqrt(SHOCKS / (SHOCKS - 2))
    if case == "garch":
        error, variance = np.empty(rows), 1.0
        for t in range(rows):
            error[t] = np.sqrt(variance) * shock[t]
            variance = 1 - ALPHA - BETA + ALPHA * error[t] ** 2 + BETA * variance
        return error
    if case == "stochastic volatility":
        moves = OF_LOG_VARIANCE * rng.standard_normal(rows + 200)
        return shock * np.exp(signal.lfilter([1.0], [1.0, -PERSISTENCE], moves)[200:] / 2)
    if case == "volatility shift":
        return shock * np.where(np.arange(rows) < rows // 2, 1.3, 0.55)
    return shock


def volatile(panel: xr.Dataset, case: str, rng: np.random.Generator) -> xr.Dataset:
    """The panel with a response to the same week alone, or to silver's future as well, and other errors."""
    rows = panel.sizes["time"]
    x = panel["signal_value"].to_numpy()[-rows:, 0]
    unit = float(panel["signal_scale"][0] / panel["response_scale"][0])
    y = SAME_WEEK * unit * x + 0.9 * errors_of(case, rows, rng)
    if case == "leading response":
        lags = int(rl.read_spec("btc_silver").max_lag)
        parameters = {"location": np.array(MEAN_LAG), "spread": np.array(SPREAD)}
        weights = rl.read_spec("btc_silver").signals[0].kernel.weights(parameters, lags)
        ahead = np.concatenate([x[1:], np.zeros(lags)])
        y += LEAD * unit * np.array([weights @ ahead[t : t + lags] for t in range(rows)])
    return panel.assign(response_value=(("time", "response"), y[:, None]))


def shifted(panel: xr.Dataset, number: int, panels: int) -> xr.Dataset:
    """The panel with the signal rotated, history and window as one ring, never by less than the lags reach."""
    rows, least = panel.sizes["signal_time"], panel.sizes["signal_time"] - panel.sizes["time"] + 1
    steps = np.linspace(least, rows - least, panels).round().astype(int)
    # Neighbouring rotations are alike; in this order the first few lie far apart. 157 is prime, so each comes once.
    values = np.roll(panel["signal_value"].to_numpy(), steps[number * 157 % panels], axis=0)
    return panel.assign(signal_value=(panel["signal_value"].dims, values))


def persistent(panel: xr.Dataset, case: str, rng: np.random.Generator) -> xr.Dataset:
    """The panel with an independent AR(1) series each for response and signal, or with their differences."""
    form, root = case.split()
    rows, held = panel.sizes["time"], panel.sizes["signal_time"]
    before = 1 + (0 if float(root) == 1 else 300)
    series = signal.lfilter([1.0], [1.0, -float(root)], rng.standard_normal((2, before + held)), axis=1)
    series = np.diff(series[:, -held - 1 :], axis=1) if form == "differences" else series[:, -held:]
    series = (series - series.mean(axis=1, keepdims=True)) / series.std(axis=1, keepdims=True)
    changed = panel.assign(
        response_value=(("time", "response"), series[0, -rows:, None]),
        signal_value=(panel["signal_value"].dims, series[1, :, None]),
    )
    if "response_history" in panel:
        lags = panel.sizes["own_lag"]
        past = series[0, -rows - lags : -rows][::-1, None]
        changed = changed.assign(response_history=(panel["response_history"].dims, past))
    return changed


@cache
def with_data(data: str | None, model: str) -> tuple[rl.ModelSpec, xr.Dataset]:
    """A model and the real panel, or that of the example."""
    spec = MODELS[model]()
    frame = rl.read_series(data) if data else rl.example_panel(as_frame=True)
    return spec, rl.make_panel(spec, frame, start="2013-01-01")


@cache
def prepared(data: str | None, model: str) -> tuple[rl.ModelSpec, xr.Dataset, CompiledModel]:
    """One model a process."""
    spec, panel = with_data(data, model)
    return spec, panel, CompiledModel(rl.build_model(spec, panel))


def data_of(data: str | None, case: str, number: int, panels: int, model: str, seed: int) -> xr.Dataset:
    """One panel of a case, for a model; the values are the same for all models."""
    _, panel = with_data(data, model)
    rng = np.random.default_rng(seed)
    if case == "shifted":
        return shifted(panel, number, panels)
    if case in PERSISTENT:
        return persistent(panel, case, rng)
    if case in VOLATILE:
        return volatile(panel, case, rng)
    spec, base = with_data(data, "btc_silver")
    now = 0.0 if case == "zero" else SAME_WEEK
    truth = truth_on(base, now=now, lagged=POWERS.get(case, 0.0), late=LATE.get(case, (0.0, 0.0)))
    made = rl.simulate(spec, base, parameters=truth, random_seed=seed)
    return panel.assign(response_value=(("time", "response"), made["response_value"].to_numpy()))


def view_of(spec: rl.ModelSpec, panel: xr.Dataset, fitted: xr.DataTree) -> View:
    """The draws as a fit that can be read, without what only a whole fit needs."""
    groups = {"posterior": fitted["posterior"].to_dataset(), "observed_data": panel[["response_value"]]}
    groups["constant_data"] = panel.drop_vars("response_value")
    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.attrs = provenance(spec, panel)
    return View(tree)


def reading(spec: rl.ModelSpec, panel: xr.Dataset, fitted: xr.DataTree, true: float, *, fault: bool) -> dict[str, Any]:
    """What the verdict would be given."""
    posterior = fitted["posterior"].to_dataset()
    per_unit = float(panel["response_scale"][0] / panel["signal_scale"][0])
    effect = posterior["effect"].to_numpy().ravel() * per_unit
    low, high = np.quantile(effect, [0.05, 0.95])
    persistent = view_of(spec, panel, fitted).read(persistence)
    reasons = list(unexplained(persistent, spec.responses[0], spec.signals[0]))
    late = 0.0
    if spec.lagged_controls:
        positive = (posterior["control_lagged_effect"] > 0).mean(("chain", "draw")).to_numpy()
        late = float(np.maximum(positive, 1 - positive).max())
    return {
        "direction": verdict_claims(effect).direction,
        "positive": float((effect > 0).mean()),
        "mean": float(effect.mean()),
        "sd": float(effect.std()),
        "inside": bool(low <= true <= high),
        "late": late,
        "withheld": reasons,
        "fault": fault,
    }


def both_near_unit_root(panel: xr.Dataset) -> bool:
    """Whether response and signal are both close to a unit root, so that the verdict is withheld."""
    pair = (panel["response_value"].to_numpy()[:, 0], panel["signal_value"].to_numpy()[:, 0])
    return min(map(lag_one_autocorrelation, pair)) > UNIT_ROOT


def fit_to(
    spec: rl.ModelSpec, panel: xr.Dataset, plan: CompiledModel, settings: dict[str, Any] | None, seed: int
) -> tuple[xr.DataTree, bool]:
    """A fit, at the defaults without settings, and whether the diagnostics would silence a verdict."""
    if not settings:
        fitted = rl.fit(spec, panel, random_seed=seed, cores=1, progressbar=False)
        return fitted, len(rl.diagnostics(fitted)) > 1
    mine = plan.on(model_data(spec, panel))
    modes = find_modes_from_prior(mine, starts=4, random_seed=seed)
    start = partial(dispersed_start, modes, mine.value_and_gradient)
    fitted = sample_nutpie(mine, start, seed, False, dict(settings))
    rhat, _ = extreme_entry(az.rhat(fitted["posterior"].to_dataset()), largest=True)
    return fitted, rhat > RHAT_LIMIT


def one_panel(
    data: str | None,
    panels: int,
    models: tuple[str, ...],
    settings: dict[str, Any] | None,
    random_seed: int,
    number: int,
) -> dict[str, Any]:
    """Make a panel, fit each model, and keep what the verdict would be given."""
    place, own = divmod(number, BLOCK)
    case, found = CASES[place], {}
    seeds = [int(seed) for seed in np.random.SeedSequence([random_seed, place, own]).generate_state(2)]
    for model in models:
        spec, _, plan = prepared(data, model)
        panel = data_of(data, case, own, panels, model, seeds[0])
        if both_near_unit_root(panel):
            # What the draws say does not matter then.
            found[model] = {"withheld": ["unit root"]}
            continue
        fitted, fault = fit_to(spec, panel, plan, settings, seeds[1])
        found[model] = reading(spec, panel, fitted, POWERS.get(case, 0.0), fault=fault)
    return found


def share(count: int, of: int) -> str:
    if not of:
        return "none"
    low, high = stats.binomtest(count, of).proportion_ci(0.95)
    return f"{100 * count / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _mean(fits: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([one[name] for one in fits])) if fits else np.nan


def _exaggerated(read: list[dict[str, Any]], true: float) -> str:
    """Mean size of the effects that are claimed, over the true one."""
    claimed = [abs(one["mean"]) for one in read if one["direction"]]
    return f"{np.mean(claimed) / true:.2f}" if true and claimed else ""


def table_of(found: dict[int, dict[str, Any]], models: tuple[str, ...]) -> pd.DataFrame:
    """A row a case and model; shares with a 95 % interval (Clopper & Pearson)."""
    rows = []
    for place, case in enumerate(CASES):
        every = [result for number, result in found.items() if number // BLOCK == place]
        results = [result for result in every if ERROR not in result]
        for model in models if results else ():
            own = [result[model] for result in results]
            fits = [one for one in own if "direction" in one]
            read = [one for one in fits if not one["withheld"]]
            claims = sum(one["direction"] != 0 for one in read)
            late = [one["late"] >= 1 - FALSE_CLAIM for one in fits if one["late"]]
            rows.append(
                {
                    "case": case,
                    "model": model,
                    "panels": len(own),
                    "failed fits": len(every) - len(results),
                    "withheld": len(own) - len(read),
                    "claims": claims,
                    "negative": sum(one["direction"] < 0 for one in read),
                    "share of all": share(claims, len(own)),
                    "bias": f"{_mean(fits, 'mean') - POWERS.get(case, 0.0):+.2f}",
                    "claimed over true": _exaggerated(read, POWERS.get(case, 0.0)),
                    "covered by 90 %": share(sum(one["inside"] for one in read), len(read)),
                    "80 % power at": f"{detectable(_mean(fits, 'sd')):.2f}",
                    "late macro seen": sum(late) if late else "",
                    "faults": sum(one["fault"] for one in fits),
                }
            )
    return pd.DataFrame(rows)


def too_many(claims: pd.Series, panels: pd.Series) -> pd.Series:
    """Whether claims are more than 3 % of the panels, of fewer than 100 panels beyond doubt.

    One claim in 20 panels is 5 %, and as likely as not where the rate is 3 %.
    """
    return claims > np.where(panels >= ENOUGH, MOST * panels, stats.binom.ppf(1 - LEVEL, panels, MOST))


def main() -> int:
    """Run what is missing, print the table; 1 if the first model claims too often in a null."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="a weekly panel with the baseline model's columns")
    parser.add_argument("--panels", type=int, default=200, help="of each case (%(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["btc_silver"])
    parser.add_argument("--full", action="store_true", help="fit at the defaults, ten times as long")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("out/false_claims"))
    options = parser.parse_args()
    cases, models = [case for case in options.cases if options.data or case != "shifted"], tuple(options.models)
    # In turns, so that a study that is stopped has some of every case.
    numbers = [BLOCK * CASES.index(case) + n for n in range(options.panels) for case in cases]
    fit = None if options.full else SETTINGS
    settings = {"study": "false claims", "seed": options.seed, "fit": fit, "models": models, "code": code_hash()}
    settings |= {"data": Path(options.data).name if options.data else None}
    settings |= {"shifts": options.panels} if "shifted" in cases else {}
    settings["script"] = Path(__file__).read_text(encoding="utf-8")
    work = partial(one_panel, options.data, options.panels, models, fit, options.seed)
    found = run_all(work, numbers, settings=json.loads(json.dumps(settings)), folder=options.out)
    table = table_of(found, models)
    table.to_csv(options.out.with_suffix(".csv"), index=False)
    print("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")
    first = table[(table["model"] == models[0]) & table["case"].isin(NULLS)]
    return int(too_many(first["claims"], first["panels"]).any())


if __name__ == "__main__":
    raise SystemExit(main())
