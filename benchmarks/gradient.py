"""Log density plus gradient of the reference problem: regimelag's Ops, and the same model written with other tools.

The script checks that all give the same log density, then times them in turns, on one thread:

    python benchmarks/gradient.py --rounds 5 --at-least 14
    python benchmarks/gradient.py --rounds 7 --peers scan numpyro stan

``scan`` is PyMC with ``pytensor.scan``, compiled as the Ops are. ``numpyro`` is timed twice: one call of a jitted
function, and one turn of a jitted loop, which is what NumPyro's sampler pays. Stan (through pystan, in an environment
that uv makes) gives no gradient without a request, so it is timed by its own clock per leapfrog step of a short run,
beside nutpie's run with the Ops by the clock on the wall. Its likelihood is written twice: with the recursion of the
user's guide, and tuned by hand. A peer that is not installed is left out with a word.

The exit code is 1 if log densities differ, or if the ratio to ``scan`` is below ``--at-least``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
if hasattr(os, "sched_setaffinity"):
    # XLA sizes its own pool of threads by the processors it may use.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402
import reference  # noqa: E402
import stan_peer  # noqa: E402

TOLERANCE = 1e-8
POINTS = 5
# Enough leapfrog steps for a mean; trees are capped since a warm-up begins with very deep ones.
SHORT_RUN = {"draws": 100, "tune": 100, "max_depth": 6}

OPS, SCAN, CALL, LOOP = "regimelag's Ops", "PyMC, pytensor.scan", "NumPyro, one call", "NumPyro, in a loop"
OPS_STEP, STAN_STEP, TUNED_STEP = "regimelag's Ops, nutpie", "Stan, user's guide", "Stan, tuned"

Data = dict[str, np.ndarray]
Measure = Callable[[], float]
Densities = dict[str, list[float]]


class PyMC:
    """One of the PyMC models, compiled as a function of the joined unconstrained vector."""

    def __init__(self, data: Data, likelihood: Callable[..., Any]) -> None:
        self.model = reference.pymc_model(data, likelihood)
        function = self.model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
        function.set_extra_values({})
        self.value_and_gradient: Callable = function._pytensor_function.vm.jit_fn  # noqa: SLF001

    def density(self, points: list[reference.Point]) -> list[float]:
        """Log density without Jacobian, in PyTensor's Python mode: compiling once more would take longer."""
        function = self.model.compile_logp(jacobian=False, mode="FAST_COMPILE")
        return [float(function(reference.unconstrained(self.model, point))) for point in points]

    def joined(self, point: reference.Point) -> np.ndarray:
        """The unconstrained vector."""
        values = reference.unconstrained(self.model, point)
        return np.concatenate([np.ravel(values[variable.name]) for variable in self.model.value_vars])


def microseconds(function: Callable, *arguments: Any, seconds: float = 0.2) -> float:
    """Mean time of one call, over about this many seconds."""
    timer = timeit.Timer(lambda: function(*arguments))
    calls = max(1, int(seconds / max(timer.timeit(3) / 3, 1e-7)))
    return timer.timeit(calls) / calls * 1e6


def add_pymc(data: Data, points: list[reference.Point], measures: dict, densities: Densities) -> float:
    """Both PyMC models; gives the largest relative difference of value or gradient on the unconstrained scale."""
    models = {OPS: PyMC(data, reference.with_ops), SCAN: PyMC(data, reference.with_scan)}
    for name, model in models.items():
        vector = model.joined(reference.true_point())
        measures[name] = lambda model=model, vector=vector: microseconds(model.value_and_gradient, vector)
        densities[name] = model.density(points)
    worst = 0.0
    for point in points:
        ours, theirs = (model.value_and_gradient(model.joined(point)) for model in models.values())
        for left, right in zip(ours, theirs, strict=True):
            worst = max(worst, np.abs(np.asarray(left) - right).max() / np.abs(right).max())
    return worst


def add_numpyro(data: Data, points: list[reference.Point], measures: dict, densities: Densities) -> None:
    """NumPyro, jitted: one call, and a loop whose points depend on the gradients, so that nothing is left out."""
    import jax
    from jax.flatten_util import ravel_pytree
    from numpyro.infer.util import log_density, potential_energy, unconstrain_fn

    model = reference.numpyro_model(data)
    densities["NumPyro"] = [float(log_density(model, (), {}, point)[0]) for point in points]
    vector, unravel = ravel_pytree(unconstrain_fn(model, (), {}, reference.true_point()))
    value_and_gradient = jax.value_and_grad(lambda flat: potential_energy(model, (), {}, unravel(flat)))

    def turn(_, state):
        value, gradient = value_and_gradient(state[0])
        return state[0] - 1e-12 * gradient, value

    one = jax.jit(value_and_gradient)
    turns = 100
    loop = jax.jit(lambda flat: jax.lax.fori_loop(0, turns, turn, (flat, 0.0)))
    measures[CALL] = lambda: microseconds(lambda: jax.block_until_ready(one(vector)))
    measures[LOOP] = lambda: microseconds(lambda: jax.block_until_ready(loop(vector))) / turns


def add_stan(data: Data, points: list[reference.Point], measures: dict, densities: Densities) -> None:
    """Stan's leapfrog steps, and ours."""
    import nutpie

    start = reference.true_point()
    compiled = nutpie.compile_pymc_model(
        reference.pymc_model(data, reference.with_ops), initial_points=start, jitter_rvs=set()
    )
    measures[OPS_STEP] = lambda: nutpie_step(compiled)
    for name, tuned in ((STAN_STEP, False), (TUNED_STEP, True)):
        densities[name] = stan_peer.log_densities(data, points, tuned=tuned)
        measures[name] = lambda tuned=tuned: stan_step(data, start, tuned=tuned)


def nutpie_step(compiled: Any) -> float:
    """Microseconds of the whole call of one chain, a leapfrog step."""
    import nutpie

    begin = time.perf_counter()
    settings = {"maxdepth": SHORT_RUN["max_depth"], "target_accept": 0.8, "seed": 1, "progress_bar": False}
    tree = nutpie.sample(compiled, chains=1, cores=1, draws=SHORT_RUN["draws"], tune=SHORT_RUN["tune"], **settings)
    seconds = time.perf_counter() - begin
    steps = sum(int(tree[group]["n_steps"].sum()) for group in ("warmup_sample_stats", "sample_stats"))
    return seconds / steps * 1e6


def stan_step(data: Data, start: reference.Point, *, tuned: bool) -> float:
    """Microseconds by Stan's own clock, a leapfrog step."""
    settings = {"num_samples": SHORT_RUN["draws"], "num_warmup": SHORT_RUN["tune"], "max_depth": SHORT_RUN["max_depth"]}
    answer = stan_peer.sample(data, tuned=tuned, num_chains=1, start=start, seed=1, **settings)
    return sum(answer["seconds_by_stan"]) / answer["leapfrogs"] * 1e6


def densities_agree(densities: Densities, gradient: float) -> bool:
    """Print how far the implementations are from one another."""
    values = np.array(list(densities.values()))
    worst = float((np.abs(values - values[0]) / np.abs(values[0])).max())
    print(f"log density without Jacobian ({'; '.join(densities)}): relative difference {worst:.1e}")
    print(f"value and gradient on the unconstrained scale, the two PyMC models: {gradient:.1e}")
    return max(worst, gradient) < TOLERANCE


def print_table(times: dict[str, np.ndarray]) -> None:
    """Medians and spread, and how many times the Ops' cost: the median of the rounds' ratios."""
    print(f"{'':<24}{'us':>8}  {'min to max':<18}{'ratio':>6}  min to max")
    for name, column in times.items():
        # A leapfrog step pays for the sampler too, so it is held against a leapfrog step.
        ratios = column / times[OPS_STEP if name in (OPS_STEP, STAN_STEP, TUNED_STEP) else OPS]
        spread = f"{column.min():.0f} to {column.max():.0f}"
        print(
            f"{name:<24}{np.median(column):>8.0f}  {spread:<18}{np.median(ratios):>6.1f}"
            f"  {ratios.min():.1f} to {ratios.max():.1f}"
        )


def main() -> int:
    """Check, time, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="every implementation once a round (%(default)s)")
    parser.add_argument("--length", type=int, default=1500, help="number of times (%(default)s)")
    parser.add_argument("--at-least", type=float, help="smallest ratio of scan to the Ops that passes")
    parser.add_argument("--peers", nargs="+", choices=("scan", "numpyro", "stan"), default=["scan"])
    options = parser.parse_args()

    data, points = reference.make_data(options.length), reference.random_points(POINTS)
    measures: dict[str, Measure] = {}
    densities: Densities = {}
    gradient = add_pymc(data, points, measures, densities)
    for peer, add in (("numpyro", add_numpyro), ("stan", add_stan)):
        if peer in options.peers:
            try:
                add(data, points, measures, densities)
            except (ImportError, stan_peer.NoStanError) as reason:
                print(f"without {peer}: {reason}")
    if not densities_agree(densities, gradient):
        print("the log densities differ")
        return 1

    rounds = [{name: measure() for name, measure in measures.items()} for _ in range(options.rounds)]
    times = {name: np.array([row[name] for row in rounds]) for name in measures}
    print(f"\n{options.length} times, 41 parameters, one thread, {options.rounds} rounds in turns; medians")
    print_table(times)
    ratio = float(np.median(times[SCAN] / times[OPS]))
    if options.at_least is not None and ratio < options.at_least:
        print(f"the ratio to {SCAN} is below {options.at_least}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
