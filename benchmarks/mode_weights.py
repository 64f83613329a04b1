"""Compare estimated weights of separated modes with known ones.

    python benchmarks/mode_weights.py --runs 40 --out out/mode_weights

*normals* are mixtures of two normal distributions in 10 dimensions with random covariances. *regimes* is a hidden
Markov model of 200 simulated observations with two regimes whose labels may be exchanged: the likelihood and the prior
are the same for both orders of the means, and a factor of the prior gives one order its weight. The weights of the
heavier mode are 0.5, 0.8, 0.95 and 0.98, in turns; data, covariances and draws have a new seed in each run.

An estimate counts as right if the truth lies within two of its Monte Carlo errors. The exit code is 1 if fewer than 36
of 40 are right, or that share of another number. Each finished run is a file, so a study that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all

WEIGHTS = (0.5, 0.8, 0.95, 0.98)
DIMENSIONS, DISTANCE, PERIODS, STAY = 10, 8.0, 200, 0.95
MEANS = (-0.5, 0.5)
CASES = ("normals", "regimes")
BLOCK = 1000
LEAST_SHARE = 36 / 40


def normals(weight: float, rng: np.random.Generator) -> pm.Model:
    """Mixture of two normal distributions; the prior only supplies starting points."""
    factors = [
        np.tril(0.3 * rng.standard_normal((DIMENSIONS, DIMENSIONS)), -1) + np.diag(rng.uniform(0.5, 2, DIMENSIONS))
        for _ in range(2)
    ]
    with pm.Model() as model:
        x = pm.Normal("x", DISTANCE / 2, DISTANCE, shape=DIMENSIONS)
        terms = []
        for factor, center, share in zip(factors, (0.0, DISTANCE), (weight, 1 - weight), strict=True):
            z = pt.dot(np.linalg.inv(factor), x - center)
            terms.append(-0.5 * (z**2).sum() - np.log(np.diag(factor)).sum() + np.log(share))
        prior = pm.logp(pm.Normal.dist(DISTANCE / 2, DISTANCE, shape=DIMENSIONS), x).sum()
        pm.Potential("mixture", pt.logaddexp(*terms) - prior)
    return model


def regimes(weight: float, rng: np.random.Generator) -> pm.Model:
    """Two regimes whose order has a prior probability."""
    path = np.cumsum(rng.random(PERIODS) > STAY) % 2
    y = np.array(MEANS)[path] + 0.4 * rng.standard_normal(PERIODS)
    with pm.Model() as model:
        mean = pm.Normal("mean", 0.0, 1.0, shape=2)
        sigma = pm.HalfNormal("sigma", 1.0)
        stay = pm.Beta("stay", 9.0, 1.0, shape=2)
        transition = pt.stack([pt.stack([stay[0], 1 - stay[0]]), pt.stack([1 - stay[1], stay[1]])])
        log_obs = pm.logp(pm.Normal.dist(mean[None, :], sigma), y[:, None])
        pm.Potential("likelihood", rl.markov_loglik(log_obs, pt.log(transition), np.log([0.5, 0.5])))
        pm.Potential("order", pt.switch(mean[0] < mean[1], np.log(weight), np.log(1 - weight)))
    return model


def one_run(random_seed: int, number: int) -> dict[str, Any]:
    """Sample one posterior, and keep weight and error of the mode whose weight is known."""
    place, own = divmod(number, BLOCK)
    weight, case = WEIGHTS[own % len(WEIGHTS)], CASES[place]
    data_seed, seed = (int(n) for n in np.random.SeedSequence([random_seed, place, own]).generate_state(2))
    model = (normals if case == "normals" else regimes)(weight, np.random.default_rng(data_seed))
    tree = rl.sample(model, draws=1000, tune=1000, chains=4, cores=1, random_seed=seed, progressbar=False)
    if "within_mode" not in tree.children:
        return {"true": weight, "estimate": None, "se": None, "said": rl.diagnostics(tree)[0]}
    runs = tree["within_mode"].to_dataset()
    values = (
        runs["x"].mean("x_dim_0") < DISTANCE / 2 if case == "normals" else runs["mean"][..., 0] < runs["mean"][..., 1]
    )
    shares = [float(values.where(runs["mode_of"] == n).mean()) for n in range(runs.sizes["mode"])]
    first = int(np.argmax(shares))
    return {
        "true": weight,
        "estimate": float(runs["weight"][first]),
        "se": float(runs["weight_error"][first]),
        "modes": runs.sizes["mode"],
        "said": rl.diagnostics(tree)[0],
    }


def main() -> int:
    """Run what is missing, print a row a case and weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="of each case (%(default)s)")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("out/mode_weights"))
    options = parser.parse_args()
    numbers = [BLOCK * place + n for n in range(options.runs) for place in range(len(CASES))]
    settings = {"study": "mode weights", "seed": options.seed, "code": code_hash()}
    settings["script"] = Path(__file__).read_text(encoding="utf-8")
    found = run_all(
        partial(one_run, options.seed), numbers, settings=json.loads(json.dumps(settings)), folder=options.out
    )
    failed = False
    print("| case | weight | runs | mean estimate | mean error | within two errors |\n|---|---|---|---|---|---|")
    for place, case in enumerate(CASES):
        own = [one for number, one in found.items() if number // BLOCK == place and ERROR not in one]
        right = 0
        for weight in WEIGHTS:
            some = [one for one in own if one["true"] == weight]
            known = [one for one in some if one["estimate"] is not None]
            near = sum(abs(one["estimate"] - weight) <= 2 * one["se"] for one in known)
            right += near
            mean, error = (np.mean([one[name] for one in known]) if known else np.nan for name in ("estimate", "se"))
            print(f"| {case} | {weight} | {len(some)} | {mean:.4f} | {error:.4f} | {near} of {len(some)} |")
        print(f"| {case} | all | {len(own)} | | | {right} of {len(own)} |")
        failed = failed or right < LEAST_SHARE * len(own)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
