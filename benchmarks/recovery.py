"""Count how often 90 % intervals hold a truth drawn from the prior.

Each panel is the example's covariates with a response simulated from one draw of the flagship's prior. A finished panel
is one JSON file, so a run that was stopped goes on where it was:

    python benchmarks/recovery.py --panels 120 --rows 300 --out out/recovery

The exit code is 1 if an interval holds the truth too seldom: below the 0.1 % point of the binomial law.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import xarray as xr
from first_posterior import last_rows
from scipy import stats

import regimelag as rl
from regimelag import names as nm
from regimelag.model import draw_prior, model_data
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.diagnostics import convergence
from regimelag.sampling.fit import search
from regimelag.sampling.modes import dispersed_start
from regimelag.sampling.nuts import sample_nutpie
from regimelag.sampling.tree import provenance

LEVEL = 0.9


def quantities(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Draws of what must be recovered."""
    effects, lag = rl.effects(tree), rl.lag_distribution(tree)
    found = {
        "lagged effect": effects["lagged"],
        "same-week effect": effects["contemporaneous"],
        "mean lag": lag["mean_lag"],
    }
    found |= {f"lagged effect, {name}": effects["lagged_by_regime"].sel(regime=name) for name in ("calm", "turbulent")}
    drivers = tree["posterior"][nm.DRIVER_EFFECT].sel(destination="turbulent")
    found |= {f"driver effect, {name}": drivers.sel(driver=name) for name in drivers["driver"].to_numpy()}
    return {name: draws.to_numpy().ravel() for name, draws in found.items()}


def tree_of(spec: rl.ModelSpec, panel: xr.Dataset, draws: xr.Dataset) -> xr.DataTree:
    """The least that the readings need."""
    tree = xr.DataTree.from_dict({"/posterior": draws, "/constant_data": panel.drop_vars(nm.RESPONSE_VALUE)})
    tree.attrs = provenance(spec, panel)
    return tree


@cache
def compiled(rows: int) -> tuple[rl.ModelSpec, xr.Dataset, object, CompiledModel]:
    """One model a process: compiling costs more than a fit."""
    spec = rl.read_spec("btc_silver")
    panel = last_rows(rl.example_panel().drop_vars(nm.REGIME_PATH), spec, rows)
    model = rl.build_model(spec, panel)
    return spec, panel, model, CompiledModel(model)


def one_panel(number: int, *, rows: int, seed: int) -> dict[str, object]:
    """Draw a truth, simulate, fit, and note where the truth lies among the draws."""
    spec, template, model, plan = compiled(rows)
    seeds = [int(s) for s in np.random.SeedSequence([seed, number]).generate_state(3)]
    truth = draw_prior(model, 1, random_seed=seeds[0])
    panel = rl.simulate(spec, template, parameters=truth, random_seed=seeds[1])
    plan = plan.on(model_data(spec, panel))
    start = partial(dispersed_start, search(plan, starts=8, random_seed=seeds[2]), plan.value_and_gradient)
    settings = {"draws": 1000, "tune": 1000, "chains": 2, "cores": 1, "target_accept": 0.95}
    fitted = sample_nutpie(plan, start, seeds[2], False, settings)
    found = convergence(fitted)
    posterior = quantities(tree_of(spec, panel, fitted["posterior"].to_dataset()))
    true = quantities(tree_of(spec, panel, truth))
    # Share of draws below the truth: uniform over panels if the posterior is right.
    ranks = {name: float((draws < true[name][0]).mean()) for name, draws in posterior.items()}
    return {
        "number": number,
        "rows": rows,
        "seed": seed,
        "ranks": ranks,
        "rhat": found["rhat"],
        "divergent": found["divergent"],
    }


def summary(results: list[dict]) -> pd.DataFrame:
    """How often the 90 % interval holds the truth, quantity by quantity."""
    ranks = pd.DataFrame([result["ranks"] for result in results])
    inside = ((ranks > (1 - LEVEL) / 2) & (ranks < (1 + LEVEL) / 2)).sum()
    table = pd.DataFrame({"inside": inside, "panels": len(ranks), "share": inside / len(ranks)})
    table["uniform ranks, p"] = [stats.kstest(ranks[name], "uniform").pvalue for name in ranks]
    return table


def main() -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panels", type=int, default=120)
    parser.add_argument("--rows", type=int, default=300, help="weeks in a panel (%(default)s)")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/recovery"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = {
        n: arguments.out / f"rows{arguments.rows}_seed{arguments.seed}_{n:04d}.json" for n in range(arguments.panels)
    }
    missing = [n for n, file in files.items() if not file.exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        waiting = [pool.submit(one_panel, n, rows=arguments.rows, seed=arguments.seed) for n in missing]
        for done, future in enumerate(as_completed(waiting), start=1):
            result = future.result()
            part = arguments.out / f".{result['number']}.part"
            part.write_text(json.dumps(result))
            part.replace(files[result["number"]])
            print(f"{done} of {len(missing)}: R-hat {result['rhat']:.3f}, {result['divergent']} divergent", flush=True)
    results = [json.loads(file.read_text()) for file in files.values()]
    table = summary(results)
    print(f"\nTruth inside the {LEVEL:.0%} interval, {len(results)} panels of {arguments.rows} weeks\n{table.round(3)}")
    bad = [result["number"] for result in results if result["rhat"] > 1.01]
    print(f"Fits with R-hat above 1.01, kept in the table: {len(bad)} {bad}")
    least = stats.binom.ppf(0.001, len(results), LEVEL)
    return int((table["inside"] < least).any())


if __name__ == "__main__":
    raise SystemExit(main())
