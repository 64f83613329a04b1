"""Count how often the verdict claims a lagged response that is not there, and finds one that is.

    python benchmarks/false_claims.py --data btc_silver_weekly.csv --panels 400 --out out/false_claims

The baseline model is fitted to responses on the covariates of a real weekly panel (the data are not part of the
package; without --data those of the example, and no shifted panels). Nulls: *zero*, no response to silver at all; *same
week*, an elasticity of 0.3 within the week and none later; *garch*, the same with GARCH(1,1)-t errors and no regimes;
*shifted*, the real response with the real silver series rotated in time. Powers: cumulative elasticities of 0.5, 1, 1.1
and 2 at a mean lag of 7 weeks, half as many panels. Each finished fit is a file, so a run that was stopped goes on
where it was.

What counts is a claim of a lagged response, of either sign: all else that a verdict may say is said behind it, so these
claims are the family. The diagnostics that would silence a verdict do not here: two short chains seldom pass them.
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
from scipy import stats

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all
from regimelag.model.build import model_data
from regimelag.results.verdict import detectable, verdict_claims
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.diagnostics import RHAT_LIMIT, convergence
from regimelag.sampling.fit import find_modes_from_prior
from regimelag.sampling.modes import dispersed_start
from regimelag.sampling.nuts import sample_nutpie

NULLS = ("zero", "same week", "garch", "shifted")
POWERS = {"elasticity 0.5": 0.5, "elasticity 1": 1.0, "elasticity 2": 2.0, "elasticity 1.1": 1.1}
CASES = (*NULLS, *POWERS)
SAME_WEEK, MEAN_LAG, SPREAD = 0.3, 7.0, 3.0
# Of GARCH(1,1) on a series of variance one, and degrees of freedom of its shocks.
ALPHA, BETA, SHOCKS = 0.12, 0.85, 5.0
SETTINGS = {"draws": 500, "tune": 400, "chains": 2, "cores": 1, "target_accept": 0.9}
BLOCK = 1_000_000


def truth_on(panel: xr.Dataset, *, now: float, lagged: float) -> xr.Dataset:
    """Parameters like those of the real fit, with the elasticities asked for."""
    unit = float(panel["signal_scale"][0] / panel["response_scale"][0])
    episodes = panel.sizes["episode"]
    zeros = np.zeros
    return xr.Dataset(
        {
            "intercept": (("response", "regime"), [[0.02, -0.05]]),
            "contemporaneous": (("response", "contemporaneous_signal"), [[now * unit]]),
            "control_effect": (("response", "control"), [[-0.06, -0.06]]),
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
        }
    )


def garch(panel: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """The panel with a response to the same week alone, and GARCH(1,1)-t errors."""
    x = panel["signal_value"].to_numpy()[-panel.sizes["time"] :, 0]
    shock = rng.standard_t(SHOCKS, len(x)) / np.sqrt(SHOCKS / (SHOCKS - 2))
    error, variance = np.empty(len(x)), 1.0
    for t in range(len(x)):
        error[t] = np.sqrt(variance) * shock[t]
        variance = 1 - ALPHA - BETA + ALPHA * error[t] ** 2 + BETA * variance
    unit = float(panel["signal_scale"][0] / panel["response_scale"][0])
    return panel.assign(response_value=(("time", "response"), (SAME_WEEK * unit * x + error)[:, None]))


def shifted(panel: xr.Dataset, number: int, panels: int) -> xr.Dataset:
    """The panel with the signal rotated, history and window as one ring, never by less than the lags reach."""
    rows, least = panel.sizes["signal_time"], panel.sizes["signal_time"] - panel.sizes["time"] + 1
    steps = np.linspace(least, rows - least, panels).round().astype(int)
    # Neighbouring rotations are alike; in this order the first few lie far apart. 157 is prime, so each comes once.
    values = np.roll(panel["signal_value"].to_numpy(), steps[number * 157 % panels], axis=0)
    return panel.assign(signal_value=(panel["signal_value"].dims, values))


@cache
def prepared(data: str | None) -> tuple[rl.ModelSpec, xr.Dataset, CompiledModel]:
    """One model a process."""
    spec = rl.read_spec("btc_silver")
    panel = rl.make_panel(spec, rl.read_series(data), start="2013-01-01") if data else rl.example_panel()
    panel = panel.drop_vars("regime_path", errors="ignore")
    return spec, panel, CompiledModel(rl.build_model(spec, panel))


def data_of(case: str, number: int, panels: int, spec: rl.ModelSpec, panel: xr.Dataset, seed: int) -> xr.Dataset:
    """One panel of a case."""
    if case == "shifted":
        return shifted(panel, number, panels)
    if case == "garch":
        return garch(panel, np.random.default_rng(seed))
    now, lagged = {"zero": (0.0, 0.0), "same week": (SAME_WEEK, 0.0)}.get(case, (SAME_WEEK, POWERS.get(case, 0.0)))
    truth = truth_on(panel, now=now, lagged=lagged)
    return rl.simulate(spec, panel, parameters=truth, random_seed=seed).drop_vars("regime_path")


def one_panel(data: str | None, panels: int, random_seed: int, number: int) -> dict[str, Any]:
    """Make a panel, fit, and keep what the verdict would be given."""
    place, own = divmod(number, BLOCK)
    spec, template, plan = prepared(data)
    seeds = [int(seed) for seed in np.random.SeedSequence([random_seed, place, own]).generate_state(2)]
    panel = data_of(CASES[place], own, panels, spec, template, seeds[0])
    plan = plan.on(model_data(spec, panel))
    start = partial(
        dispersed_start, find_modes_from_prior(plan, starts=4, random_seed=seeds[1]), plan.value_and_gradient
    )
    fitted = sample_nutpie(plan, start, seeds[1], False, dict(SETTINGS))
    effect = fitted["posterior"]["effect"].to_numpy().ravel()
    found = convergence(fitted)
    return {
        "direction": verdict_claims(effect).direction,
        "positive": float((effect > 0).mean()),
        "sd": float(effect.std() * template["response_scale"][0] / template["signal_scale"][0]),
        "rhat": found["rhat"],
        "ess_bulk": found["ess_bulk"],
        "divergent": found["divergent"],
    }


def table_of(found: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """A row a case: panels, claims of either sign, their share with a 95 % interval (Clopper & Pearson).

    The effect that would be claimed with probability 0.8, from the mean of the posterior standard deviations.
    """
    rows = []
    for place, case in enumerate(CASES):
        results = [result for number, result in found.items() if number // BLOCK == place and ERROR not in result]
        failed = sum(number // BLOCK == place and ERROR in result for number, result in found.items())
        if not results:
            continue
        claims = sum(result["direction"] != 0 for result in results)
        right = sum(result["direction"] > 0 for result in results)
        low, high = stats.binomtest(claims, len(results)).proportion_ci(0.95)
        rows.append(
            {
                "case": case,
                "panels": len(results),
                "failed fits": failed,
                "claims": claims,
                "of them positive": right,
                "share": f"{100 * claims / len(results):.1f} % ({100 * low:.1f} to {100 * high:.1f})",
                "80 % power at": f"{detectable(float(np.mean([result['sd'] for result in results]))):.2f}",
                f"R-hat above {RHAT_LIMIT}": sum(result["rhat"] > RHAT_LIMIT for result in results),
            }
        )
    return pd.DataFrame(rows)


def main() -> int:
    """Run what is missing, print the table; 1 if a null has more than 3 % of claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="a weekly panel with the baseline model's columns")
    parser.add_argument("--panels", type=int, default=400, help="of each null (%(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("out/false_claims"))
    options = parser.parse_args()
    cases = [case for case in options.cases if options.data or case != "shifted"]
    # In turns, so that a run that is stopped has some of every case.
    numbers = [
        BLOCK * CASES.index(case) + n
        for n in range(options.panels)
        for case in cases
        if case in NULLS or n < options.panels // 2
    ]
    settings = {"study": "false claims", "seed": options.seed, "panels": options.panels, "fit": SETTINGS}
    settings |= {"data": Path(options.data).name if options.data else None}
    settings |= {"code": code_hash(), "script": Path(__file__).read_text(encoding="utf-8")}
    work = partial(one_panel, options.data, options.panels, options.seed)
    found = run_all(work, numbers, settings=json.loads(json.dumps(settings)), folder=options.out)
    table = table_of(found)
    print("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")
    nulls = table[table["case"].isin(NULLS)]
    return int((nulls["claims"] > 0.03 * nulls["panels"]).any())


if __name__ == "__main__":
    raise SystemExit(main())
