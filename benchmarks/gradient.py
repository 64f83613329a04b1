"""Log density plus gradient of one reference model: regimelag's Ops against PyMC with ``pytensor.scan``.

Two regimes, one signal with 27 lag weights, two drivers of the transitions, Student-t rows: 41 free parameters. Both
models share their priors. The script checks that they give the same log density and gradient, then times them in
turns, each compiled through numba to one function of the joined parameter vector, on one thread.

    python benchmarks/gradient.py --rounds 7 --length 1500 --at-least 8

The exit code is 1 if the densities differ, or if the ratio is below ``--at-least``.
"""

from __future__ import annotations

import argparse
import os
import sys
import timeit
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import pymc as pm  # noqa: E402
import pytensor  # noqa: E402
import pytensor.tensor as pt  # noqa: E402

from regimelag.likelihood import chain  # noqa: E402
from regimelag.likelihood.op import lag_sum, markov_loglik, student_t_logpdf  # noqa: E402

LAGS = 27
REGIMES = 2
DRIVERS = 2
TOLERANCE = 1e-8

Likelihood = Callable[..., pt.TensorVariable]


def make_data(length: int) -> dict[str, np.ndarray]:
    """Noise with the shapes of the reference problem; timings do not depend on more."""
    rng = np.random.default_rng(20260123)
    return {
        "y": rng.standard_t(5, length),
        "signal": rng.normal(size=LAGS + length),
        "drivers": rng.normal(size=(length - 1, DRIVERS)),
    }


def with_ops(data, mu, beta, log_sigma, nu, weights, stay):
    """The likelihood from regimelag's Ops."""
    location = mu + beta * lag_sum(data["signal"], weights)[:, None]
    episode = np.zeros(len(data["y"]), dtype="int64")
    log_obs = student_t_logpdf(data["y"], location, log_sigma[None, :], episode, nu)
    logits = stay[:, :, None] * np.eye(REGIMES)
    return markov_loglik(log_obs, logits, np.full(REGIMES, -np.log(REGIMES)))


def with_scan(data, mu, beta, log_sigma, nu, weights, stay):
    """The same likelihood as one would write it in PyMC: a lag matrix, pm.logp and a scan over time."""
    length = len(data["y"])
    lagged = np.stack([data["signal"][LAGS - lag : LAGS - lag + length] for lag in range(1, LAGS + 1)], axis=1)
    location = mu + beta * pt.dot(lagged, weights)[:, None]
    log_obs = pm.logp(pm.StudentT.dist(nu=nu, mu=location, sigma=pt.exp(log_sigma)), data["y"][:, None])
    logits = stay[:, :, None] * np.eye(REGIMES)
    log_p = pt.special.log_softmax(logits, axis=-1)

    def step(log_obs_t, log_p_t, log_alpha):
        return pt.logsumexp(log_alpha[:, None] + log_p_t, axis=0) + log_obs_t

    log_alpha = pytensor.scan(
        step, sequences=[log_obs[1:], log_p], outputs_info=[log_obs[0] - np.log(REGIMES)], return_updates=False
    )
    return pt.logsumexp(log_alpha[-1])


def build_model(data: dict[str, np.ndarray], likelihood: Likelihood) -> pm.Model:
    """Priors of the reference problem around one of the likelihoods."""
    with pm.Model() as model:
        mu = pm.Normal("mu", shape=REGIMES)
        common = pm.Normal("common")
        deviation = pm.Normal("deviation", shape=REGIMES)
        spread = pm.HalfNormal("spread")
        log_sigma = pm.Normal(
            "log_sigma",
            shape=REGIMES,
            transform=pm.distributions.transforms.ordered,
            initval=np.linspace(-0.5, 0.5, REGIMES),
        )
        nu = pm.Gamma("nu", 2, 0.1)
        weights = pm.Dirichlet("weights", np.ones(LAGS))
        stay_intercept = pm.Normal("stay_intercept", 2, 1.5, shape=REGIMES)
        stay_slope = pm.Normal("stay_slope", shape=(DRIVERS, REGIMES))
        stay = stay_intercept
        for d in range(DRIVERS):
            stay = stay + data["drivers"][:, d, None] * stay_slope[d]
        pm.Potential("loglik", likelihood(data, mu, common + spread * deviation, log_sigma, nu, weights, stay))
    return model


def compile_model(model: pm.Model) -> tuple[Callable, int]:
    """Compiled function of the joined vector, giving log density and gradient, and the length of that vector."""
    function = model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
    function.set_extra_values({})
    size = sum(np.size(model.initial_point()[variable.name]) for variable in model.value_vars)
    return function._pytensor_function.vm.jit_fn, size  # noqa: SLF001


def microseconds(function: Callable, *arguments: np.ndarray, seconds: float = 0.2) -> float:
    """Mean time of one call, over about this many seconds."""
    timer = timeit.Timer(lambda: function(*arguments))
    calls = max(1, int(seconds / max(timer.timeit(3) / 3, 1e-7)))
    return timer.timeit(calls) / calls * 1e6


def densities_agree(ours: Callable, theirs: Callable, size: int) -> bool:
    """Compare log density and gradient at a few random points."""
    rng = np.random.default_rng(1)
    worst = 0.0
    for _ in range(5):
        point = rng.normal(scale=0.5, size=size)
        for left, right in zip(ours(point), theirs(point), strict=True):
            difference = np.abs(np.asarray(left) - np.asarray(right)).max()
            worst = max(worst, difference / np.abs(np.asarray(right)).max())
    print(f"largest relative difference of log density or gradient: {worst:.1e}")
    return worst < TOLERANCE


def time_recursions(data: dict[str, np.ndarray], rounds: int) -> float:
    """Median time of the chain's value and gradient alone."""
    length = len(data["y"])
    rng = np.random.default_rng(2)
    inputs = (
        rng.normal(-2, 1, size=(length, REGIMES)),
        rng.normal(size=(length - 1, REGIMES, REGIMES)),
        np.full(REGIMES, -np.log(REGIMES)),
    )
    return float(np.median([microseconds(chain.loglik_and_adjoint, *inputs, seconds=0.05) for _ in range(rounds)]))


def main() -> int:
    """Check, time, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="timed pairs")
    parser.add_argument("--length", type=int, default=1500, help="number of times")
    parser.add_argument("--at-least", type=float, help="smallest ratio of medians that passes")
    options = parser.parse_args()

    data = make_data(options.length)
    ours, size = compile_model(build_model(data, with_ops))
    theirs, _ = compile_model(build_model(data, with_scan))
    if not densities_agree(ours, theirs, size):
        print("the two log densities differ")
        return 1

    point = np.random.default_rng(3).normal(scale=0.3, size=size)
    pairs = np.array([[microseconds(ours, point), microseconds(theirs, point)] for _ in range(options.rounds)])
    ratios = pairs[:, 1] / pairs[:, 0]
    print(f"{options.length} times, {size} parameters, {options.rounds} rounds; median (smallest to largest)")
    for name, column in (("regimelag Ops", pairs[:, 0]), ("pytensor.scan", pairs[:, 1])):
        print(f"{name:<22}{np.median(column):>9.1f} us ({column.min():.1f} to {column.max():.1f})")
    print(f"{'recursions alone':<22}{time_recursions(data, options.rounds):>9.1f} us")
    ratio = float(np.median(ratios))
    print(f"{'ratio':<22}{ratio:>9.1f}    ({ratios.min():.1f} to {ratios.max():.1f})")
    if options.at_least is not None and ratio < options.at_least:
        print(f"the ratio is below {options.at_least}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
