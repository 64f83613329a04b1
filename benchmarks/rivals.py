"""What late macroeconomic effects do to the verdict, with and without lagged controls in the model.

    python benchmarks/rivals.py --data btc_silver_weekly.csv --panels 200 --out out/rivals

Responses are simulated on the real silver, dollar and yields of a weekly panel (the data are not part of the package;
without --data those of the example). Silver has the same-week elasticity alone, and the dollar, the real yield, or both
act on the response weeks later: *late dollar*, *late yield*, *both*; *neither* is the same without them. Powers add a
cumulative elasticity to silver. Every panel is fitted by each model: `btc_silver` as it is bundled, and the same with
lagged controls, under priors half, as, and twice as wide as those of the design. Each finished panel is a file.

What counts is a claim of a lagged response to silver, of either sign; coverage is that of the 90 % interval of the
average effect.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from false_claims import BLOCK, SAME_WEEK, SETTINGS, truth_on
from scipy import stats

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all
from regimelag.model.build import model_data
from regimelag.results.verdict import verdict_claims
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.diagnostics import convergence
from regimelag.sampling.fit import find_modes_from_prior
from regimelag.sampling.modes import dispersed_start
from regimelag.sampling.nuts import sample_nutpie

# Cumulative elasticity of the response to silver, to the dollar, and its response to a percentage point of the yield.
CASES = {
    "neither": (0.0, 0.0, 0.0),
    "late dollar": (0.0, -5.0, 0.0),
    "late yield": (0.0, 0.0, -0.4),
    "both": (0.0, -5.0, -0.4),
    "elasticity 0.5": (0.5, 0.0, 0.0),
    "elasticity 1": (1.0, 0.0, 0.0),
    "elasticity 2": (2.0, 0.0, 0.0),
}
KERNEL = rl.kernels.LogNormal(mean_lag=9.0, mean_lag_sd=4.8, spread=4.0, spread_sd=2.0)
MODELS = {"no late macro": None, "late macro": 1.0, "half the prior": 0.5, "twice the prior": 2.0}


def spec_of(model: str) -> rl.ModelSpec:
    """The bundled model, or the same with lagged controls."""
    spec, width = rl.read_spec("btc_silver"), MODELS[model]
    if width is None:
        return spec
    yields = rl.Prior("StudentT", nu=3, sigma=0.2 * width, unit="elasticity")
    dollar = rl.Prior("StudentT", nu=3, sigma=3.0 * width, unit="elasticity", by_control={"real yield": yields})
    controls = tuple(dataclasses.replace(control, kernel=KERNEL) for control in spec.controls)
    return dataclasses.replace(spec, controls=controls, priors={"control_lagged_effect": dollar})


@cache
def prepared(data: str | None, model: str) -> tuple[rl.ModelSpec, xr.Dataset, CompiledModel]:
    """One model a process."""
    spec = spec_of(model)
    if data:
        panel = rl.make_panel(spec, rl.read_series(data), start="2013-01-01")
    else:
        panel = rl.make_panel(spec, rl.example_panel(as_frame=True))
    return spec, panel, CompiledModel(rl.build_model(spec, panel))


def simulated(data: str | None, case: str, seed: int) -> np.ndarray:
    """A response (time, response), standardised, with late macroeconomic effects."""
    spec, panel, _ = prepared(data, "late macro")
    elasticity, *late = CASES[case]
    truth = truth_on(panel, now=SAME_WEEK, lagged=elasticity)
    unit = panel["control_scale"].to_numpy() / float(panel["response_scale"][0])
    names = [str(name) for name in panel["control"].to_numpy()]
    natural = dict(zip(("dollar", "real yield"), late, strict=True))
    effects = [[natural[name] * unit[n] for n, name in enumerate(names)]]
    truth["control_lagged_effect"] = (("response", "lagged_control"), effects)
    for name in names:
        truth[f"control_{name}_lag_location"], truth[f"control_{name}_lag_spread"] = 8.0, 3.0
    return rl.simulate(spec, panel, parameters=truth, random_seed=seed)["response_value"].to_numpy()


def one_panel(data: str | None, models: tuple[str, ...], random_seed: int, number: int) -> dict[str, Any]:
    """Make a panel, fit each model, and keep what the verdict would be given."""
    place, own = divmod(number, BLOCK)
    case = list(CASES)[place]
    seeds = [int(seed) for seed in np.random.SeedSequence([random_seed, place, own]).generate_state(2)]
    y, found = simulated(data, case, seeds[0]), {}
    for model in models:
        spec, template, plan = prepared(data, model)
        panel = template.assign(response_value=(("time", "response"), y))
        mine = plan.on(model_data(spec, panel))
        start = partial(
            dispersed_start, find_modes_from_prior(mine, starts=4, random_seed=seeds[1]), mine.value_and_gradient
        )
        fitted = sample_nutpie(mine, start, seeds[1], False, dict(SETTINGS))
        effect = fitted["posterior"]["effect"].to_numpy().ravel()
        effect = effect * float(template["response_scale"][0] / template["signal_scale"][0])
        low, high = np.quantile(effect, [0.05, 0.95])
        found[model] = {
            "direction": verdict_claims(effect).direction,
            "mean": float(effect.mean()),
            "inside": bool(low <= CASES[case][0] <= high),
            "rhat": convergence(fitted)["rhat"],
        }
    return found


def table_of(found: dict[int, dict[str, Any]], models: tuple[str, ...]) -> pd.DataFrame:
    """A row a case and model: panels, claims with a 95 % interval (Clopper & Pearson), bias, coverage."""
    rows = []
    for place, case in enumerate(CASES):
        results = [result for number, result in found.items() if number // BLOCK == place and ERROR not in result]
        for model in models if results else ():
            own = [result[model] for result in results]
            claims = sum(one["direction"] != 0 for one in own)
            low, high = stats.binomtest(claims, len(own)).proportion_ci(0.95)
            rows.append(
                {
                    "case": case,
                    "model": model,
                    "panels": len(own),
                    "claims": claims,
                    "share": f"{100 * claims / len(own):.1f} % ({100 * low:.1f} to {100 * high:.1f})",
                    "bias": f"{np.mean([one['mean'] for one in own]) - CASES[case][0]:+.2f}",
                    "covered by 90 %": f"{100 * np.mean([one['inside'] for one in own]):.0f} %",
                    "R-hat above 1.05": sum(one["rhat"] > 1.05 for one in own),
                }
            )
    return pd.DataFrame(rows)


def main() -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="a weekly panel with the baseline model's columns")
    parser.add_argument("--panels", type=int, default=200, help="of each case (%(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["no late macro", "late macro"])
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("out/rivals"))
    options = parser.parse_args()
    # In turns, so that a run that is stopped has some of every case.
    numbers = [BLOCK * list(CASES).index(case) + n for n in range(options.panels) for case in options.cases]
    models = tuple(options.models)
    settings = {"study": "rivals", "seed": options.seed, "models": models, "fit": SETTINGS, "code": code_hash()}
    settings |= {"data": Path(options.data).name if options.data else None}
    settings["script"] = Path(__file__).read_text(encoding="utf-8")
    work = partial(one_panel, options.data, models, options.seed)
    table = table_of(run_all(work, numbers, settings=json.loads(json.dumps(settings)), folder=options.out), models)
    print("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
