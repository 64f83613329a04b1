"""The recursions alone, on one thread: nanoseconds per observation, and other packages that do the same.

First the value and gradient of a chain with moving transitions, beside what an exponential costs on this machine. Then
hmmlearn, dynamax and statsmodels: both sides must give the same log-likelihood, and the same smoothed probabilities and
gradients where the other side has them; then they are timed in turns. Ratios are to regimelag's value and gradient with
respect to every input. What the other side gives stands in its row, mostly less.

    python benchmarks/recursions.py --rounds 7 --length 1500 --regimes 2 3 5

The exit code is 1 if the results differ.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import timeit
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
if hasattr(os, "sched_setaffinity"):
    # XLA sizes its own pool of threads by the processors it may use.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax  # noqa: E402
import numpy as np  # noqa: E402
from dynamax.hidden_markov_model import inference  # noqa: E402
from hmmlearn import _hmmc  # noqa: E402
from numba import njit  # noqa: E402
from scipy import stats  # noqa: E402
from scipy.special import softmax  # noqa: E402
from statsmodels.tsa.regime_switching.markov_switching import cy_hamilton_filter_log  # noqa: E402

from regimelag.likelihood import hmm, hmm_loglik  # noqa: E402

jax.config.update("jax_enable_x64", True)

TOLERANCE = 1e-8
EXPONENTS = 4096


class Problem(NamedTuple):
    """A chain at given parameters. `p` is (step, origin, destination), one step for a constant matrix."""

    log_obs: np.ndarray
    p: np.ndarray
    initial: np.ndarray

    @property
    def inputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What regimelag's recursions take."""
        return self.log_obs, np.log(self.p), np.log(self.initial)

    def value_and_gradient(self) -> Callable[[], tuple]:
        """The call that is timed: with time last, and a static number of regimes, as the sampler makes it."""
        log_obs, logits, log_init = self.inputs
        by_regime, by_origin = np.ascontiguousarray(log_obs.T), np.ascontiguousarray(np.moveaxis(logits, 0, -1))
        each = (0.0,) * len(log_init)
        return lambda: hmm_loglik.loglik_and_adjoint(each, by_regime, by_origin, log_init)


class Peer(NamedTuple):
    """Another way to the same numbers: `call` is timed, `read` turns its result into the first few of ours."""

    name: str
    gives: str
    call: Callable[[], object]
    read: Callable[[Any], tuple]


def make_problem(length: int, regimes: int, *, moving: bool) -> Problem:
    """Normal rows from a sticky chain."""
    rng = np.random.default_rng([length, regimes])
    steps = length - 1 if moving else 1
    p = 0.2 * rng.dirichlet(np.ones(regimes), size=(steps, regimes)) + 0.8 * np.eye(regimes)
    regime, mean, scale = 0, np.arange(regimes), rng.uniform(0.5, 1.5, regimes)
    path = []
    for t in range(length):
        path.append(regime)
        regime = rng.choice(regimes, p=p[min(t, steps - 1), regime])
    y = rng.normal(mean[path], scale[path])
    # One step behind a law, so that statsmodels_peers can take that step back.
    initial = rng.dirichlet(np.ones(regimes)) @ p[0]
    return Problem(stats.norm.logpdf(y[:, None], mean, scale), p, initial)


# ---------------------------------------------------------------------------------------------------------------------
# The other packages. Inputs are prepared before the clock starts, in the form and memory order each one wants.
# ---------------------------------------------------------------------------------------------------------------------


def hmmlearn_passes(initial, p, obs):
    """Both passes in scaled probabilities, from densities that are no logarithms."""
    loglik, forward, factors = _hmmc.forward_scaling(initial, p, obs)
    return loglik, forward, _hmmc.backward_scaling(initial, p, obs, factors)


def hmmlearn_log_passes(initial, p, log_obs):
    """Both passes in logarithms."""
    loglik, forward = _hmmc.forward_log(initial, p, log_obs)
    return loglik, forward, _hmmc.backward_log(initial, p, log_obs)


def hmmlearn_expectations(initial, p, log_obs):
    """What its E step asks of a chain: these are the parts of our gradient."""
    obs = np.exp(log_obs)
    loglik, forward, backward = hmmlearn_passes(initial, p, obs)
    smoothed = forward * backward
    smoothed /= smoothed.sum(axis=1, keepdims=True)
    return loglik, smoothed, _hmmc.compute_scaling_xi_sum(forward, p, backward, obs)


def hmmlearn_peers(problem: Problem) -> list[Peer]:
    """What hmmlearn has compiled; it knows constant transitions alone."""
    log_obs, initial, p = problem.log_obs, problem.initial, np.ascontiguousarray(problem.p[0])
    obs = np.exp(log_obs)

    def read(result):
        return result[0], softmax(np.log(result[1]) + np.log(result[2]), axis=1)

    def read_logs(result):
        return result[0], softmax(result[1] + result[2], axis=1)

    def read_expectations(result):
        loglik, smoothed, steps = result
        return loglik, smoothed, (steps - smoothed[:-1].sum(axis=0)[:, None] * p)[None]

    return [
        Peer("hmmlearn, scaling", "both passes, densities ready", lambda: hmmlearn_passes(initial, p, obs), read),
        Peer("hmmlearn, log", "both passes", lambda: hmmlearn_log_passes(initial, p, log_obs), read_logs),
        Peer(
            "hmmlearn, E step",
            "value, smoothed, expected steps",
            lambda: hmmlearn_expectations(initial, p, log_obs),
            read_expectations,
        ),
    ]


@jax.jit
def dynamax_smoother(initial, p, log_obs):
    """The smoother, compiled once more from outside, so that XLA drops what is not returned here."""
    found = inference.hmm_smoother(initial, p, log_obs)
    return found.marginal_loglik, found.smoothed_probs


def dynamax_loglik(log_obs, initial, p):
    """The filter as a function to differentiate."""
    return inference.hmm_filter(initial, p, log_obs).marginal_loglik


def dynamax_loglik_of_logits(log_obs, logits, log_init):
    """The same from what regimelag takes."""
    return dynamax_loglik(log_obs, jax.numpy.exp(log_init), jax.nn.softmax(logits, axis=-1))


dynamax_d_log_obs = jax.jit(jax.value_and_grad(dynamax_loglik))
dynamax_d_all = jax.jit(jax.value_and_grad(dynamax_loglik_of_logits, argnums=(0, 1, 2)))


def dynamax_peers(problem: Problem) -> list[Peer]:
    """The smoother, and JAX's gradient of its filter."""
    p = problem.p[0] if len(problem.p) == 1 else problem.p
    initial, p, log_obs = (jax.numpy.asarray(values) for values in (problem.initial, p, problem.log_obs))
    log_init, logits = jax.numpy.log(initial), jax.numpy.log(p)

    def waiting(function, *arguments):
        return lambda: jax.block_until_ready(function(*arguments))

    def read(result):
        return tuple(np.asarray(values) for values in result)

    def read_all(result):
        loglik, (smoothed, d_logits, d_log_init) = result
        return read((loglik, smoothed, d_logits.reshape(problem.p.shape), d_log_init))

    of_logits = waiting(dynamax_d_all, log_obs, logits, log_init)
    return [
        Peer("dynamax, smoother", "value, smoothed", waiting(dynamax_smoother, initial, p, log_obs), read),
        Peer("dynamax, filter", "value, gradient of densities", waiting(dynamax_d_log_obs, log_obs, initial, p), read),
        Peer("dynamax, filter", "value, gradient, every input", of_logits, read_all),
    ]


def statsmodels_peers(problem: Problem) -> list[Peer]:
    """The compiled filter of MarkovRegression: the value alone.

    It takes a step before the first row. Given the identity for that step, its initial distribution is ours; with one
    constant matrix it starts from a law which that matrix turns into ours.
    """
    p = np.moveaxis(problem.p, 0, -1).swapaxes(0, 1)
    if p.shape[-1] == 1:
        before = np.linalg.solve(p[..., 0], problem.initial)
    else:
        before = problem.initial
        p = np.concatenate([np.eye(len(before))[..., None], p], axis=-1)
    p, log_obs = np.asfortranarray(p), np.asfortranarray(problem.log_obs.T)
    return [
        Peer(
            "statsmodels, filter",
            "value alone",
            lambda: cy_hamilton_filter_log(before, p, log_obs, 0),
            lambda result: (result[2].sum(),),
        )
    ]


def own_filter(problem: Problem) -> Peer:
    """Our exact filter in logarithms, which the sampler does not call: the like of statsmodels' filter."""
    inputs = problem.inputs
    return Peer(
        "regimelag, filter",
        "value alone, exact",
        lambda: hmm.filter_forward(*inputs),
        lambda result: (result[2].sum(),),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Check, time, print
# ---------------------------------------------------------------------------------------------------------------------


def microseconds(function: Callable[[], object], seconds: float = 0.1) -> float:
    """Mean time of one call, over about this many seconds."""
    timer = timeit.Timer(function)
    calls = max(1, int(seconds / max(timer.timeit(2) / 2, 1e-7)))
    return timer.timeit(calls) / calls * 1e6


def largest_difference(problem: Problem, peers: Sequence[Peer]) -> float:
    """Over all that the peers give: relative, or absolute where ours is below one."""
    loglik, smoothed, d_logits, d_log_init = problem.value_and_gradient()()
    ours = loglik, smoothed.T, np.moveaxis(d_logits, -1, 0), d_log_init
    differences = []
    for peer in peers:
        for mine, other in zip(ours, peer.read(peer.call()), strict=False):
            differences.append(np.max(np.abs(np.subtract(mine, other)) / np.maximum(np.abs(mine), 1.0)))
    return float(np.max(differences))  # NaN if one is


def print_rows(names: Sequence[tuple[str, str]], times: np.ndarray) -> None:
    """One line for each column of times (round, side), the first of which is ours."""
    ratios = times / times[:, :1]
    for (name, gives), time, ratio in zip(names, times.T, ratios.T, strict=True):
        spread = f"({time.min():.1f} to {time.max():.1f})"
        print(f"  {name:<21}{gives:<33}{np.median(time):>9.1f} {spread:<20}{np.median(ratio):>7.1f}")


def compare(problem: Problem, peers: Sequence[Peer], *, rounds: int) -> bool:
    """Check, then time in turns; return whether the results are the same."""
    length, regimes = problem.log_obs.shape
    kind = "moving" if len(problem.p) > 1 else "constant"
    worst = largest_difference(problem, peers)
    print(f"\n{regimes} regimes, {kind} transitions, {length} rows; largest difference {worst:.1e}")
    if not worst < TOLERANCE:
        print("the results differ")
        return False
    calls = [problem.value_and_gradient(), *(peer.call for peer in peers)]
    times = np.array([[microseconds(call) for call in calls] for _ in range(rounds)])
    print(f"  {'':<21}{'gives':<33}{'us':>9} {'(range)':<20}{'ratio':>7}")
    print_rows([("regimelag", "value, gradient, every input"), *((peer.name, peer.gives) for peer in peers)], times)
    return True


@njit
def scalar_exponentials(values, results):
    """One call into the C library for each value."""
    for n in range(values.size):
        results[n] = math.exp(values[n])


def exponential_costs(rounds: int) -> tuple[float, float]:
    """Nanoseconds of one exponential, in a scalar loop and in numpy."""
    values, results = np.random.default_rng(1).uniform(-20.0, 0.0, EXPONENTS), np.empty(EXPONENTS)
    scalar_exponentials(values, results)
    ways = (lambda: scalar_exponentials(values, results), lambda: np.exp(values, out=results))
    times = np.array([[microseconds(way, 0.05) for way in ways] for _ in range(rounds)]) / EXPONENTS * 1e3
    for name, column in zip(("scalar loop", "numpy"), times.T, strict=True):
        print(f"one exponential, {name:<13}{np.median(column):>6.2f} ns ({column.min():.2f} to {column.max():.2f})")
    scalar, vectorised = np.median(times, axis=0)
    return float(scalar), float(vectorised)


def print_own_cost(length: int, regimes: Sequence[int], rounds: int) -> None:
    """Nanoseconds per observation, in turns over the numbers of regimes, and what a call costs before any of them."""
    scalar, _ = exponential_costs(rounds)
    calls = {}
    for k in regimes:
        for rows in (length, 2):
            calls[k, rows] = make_problem(rows, k, moving=True).value_and_gradient()
    times = [{key: microseconds(call) for key, call in calls.items()} for _ in range(rounds)]
    print(f"\nvalue and gradient, moving transitions, {length} rows")
    print("  regimes  ns per row   (range)          in scalar exponentials   exponentials in its inputs   2 rows, us")
    for k in regimes:
        costs = np.array([time[k, length] for time in times]) / length * 1e3
        cost, spread = np.median(costs), f"({costs.min():.1f} to {costs.max():.1f})"
        call = np.median([time[k, 2] for time in times])
        print(f"  {k:>7}{cost:>12.1f}   {spread:<17}{cost / scalar:>22.1f}{k + k * k:>29}{call:>13.1f}")


def main() -> int:
    """Check, time, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="times each side is timed, in turns")
    parser.add_argument("--length", type=int, default=1500, help="number of times")
    parser.add_argument("--regimes", type=int, nargs="+", default=[2, 3, 5], help="numbers of regimes")
    options = parser.parse_args()

    print_own_cost(options.length, options.regimes, options.rounds)
    same = True
    for regimes in options.regimes:
        constant = make_problem(options.length, regimes, moving=False)
        peers = [*hmmlearn_peers(constant), *dynamax_peers(constant), *statsmodels_peers(constant)]
        same &= compare(constant, [*peers, own_filter(constant)], rounds=options.rounds)
        moving = make_problem(options.length, regimes, moving=True)
        peers = [*dynamax_peers(moving), *statsmodels_peers(moving), own_filter(moving)]
        same &= compare(moving, peers, rounds=options.rounds)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
