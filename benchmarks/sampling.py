"""Effective draws per second on the reference posterior: regimelag's Ops, and the same model sampled with other tools.

    python benchmarks/sampling.py --rounds 3 --peers scan numpyro pymc-numpyro pymc-blackjax stan-tuned

Four chains of 1,000 warm-up iterations and 1,000 draws on two cores, target acceptance 0.8, all chains started at the
parameters that the data were simulated from: what is compared is the pace of sampling, not the finding of modes.
Seconds are those of the whole call, warm-up and draws, without any compiling. The bulk effective sample size is
ArviZ's, of the worst of the 42 constrained parameter values; the seed differs by round.

- ``regimelag`` and ``scan``: nutpie, two chains at a time, with the mass matrix of `fit`: a diagonal and a low rank.
- ``numpyro``: two XLA devices with two chains each, one after the other. Vectorised chains, all four or two a device,
  wait for the deepest of their trees and came out slower.
- ``pymc-numpyro`` and ``pymc-blackjax``: the PyMC model of ``regimelag``, translated to JAX and sampled by these
  libraries through `pymc.sampling.jax`, with a device for each chain. Compiled code is that of a first run.
- ``stan`` and ``stan-tuned``, its likelihood as in the user's guide and tuned by hand: pystan's own processes, two at a
  time; the clock on the wall around ``model.sample``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"
# A chain is one thread, and a device for each is what PyMC asks for.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false --xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

import arviz as az  # noqa: E402
import numpy as np  # noqa: E402
import reference  # noqa: E402
import stan_peer  # noqa: E402

CHAINS = 4
CORES = 2
TARGET = 0.8

Data = dict[str, np.ndarray]
Draws = dict[str, np.ndarray]
# From a seed to seconds, draws (chain, draw, ...), and the number of divergent draws.
Sampler = Callable[[int], tuple[float, Draws, int]]


def with_nutpie(data: Data, iterations: int, likelihood: Callable[..., Any]) -> Sampler:
    """A PyMC model, compiled here, with the adaptation that `fit` uses."""
    import nutpie

    from regimelag.sampling.compiled import POINT, CompiledModel

    compiled = CompiledModel(reference.pymc_model(data, likelihood))
    true = reference.true_point()
    start = compiled.point({rv.name: true[rv.name] for rv in compiled.model.free_RVs})
    model = compiled.started_by(lambda _: start)
    settings = {"chains": CHAINS, "cores": CORES, "target_accept": TARGET, "progress_bar": False, "save_warmup": False}

    def sampler(seed: int) -> tuple[float, Draws, int]:
        begin = time.perf_counter()
        tree = nutpie.sample(model, draws=iterations, tune=iterations, seed=seed, adaptation="low_rank", **settings)
        draws = compiled.constrained(tree["posterior"][POINT].to_numpy())
        seconds = time.perf_counter() - begin
        return seconds, {name: draws[name] for name in reference.NAMES}, int(tree["sample_stats"]["diverging"].sum())

    return sampler


def with_numpyro(data: Data, iterations: int) -> Sampler:
    """NumPyro, compiled here: on each device a loop over its chains."""
    import jax
    from numpyro.infer import MCMC, NUTS, init_to_value

    model = reference.numpyro_model(data)

    def chain(key):
        kernel = NUTS(model, target_accept_prob=TARGET, init_strategy=init_to_value(values=reference.true_point()))
        mcmc = MCMC(kernel, num_warmup=iterations, num_samples=iterations, progress_bar=False)
        mcmc.run(key, extra_fields=("diverging",))
        return mcmc.get_samples(), mcmc.get_extra_fields()["diverging"].sum()

    def keys(seed):
        return jax.random.split(jax.random.key(seed), (CORES, CHAINS // CORES))

    compiled = jax.pmap(lambda own: jax.lax.map(chain, own)).lower(keys(0)).compile()

    def sampler(seed: int) -> tuple[float, Draws, int]:
        begin = time.perf_counter()
        draws, divergent = jax.block_until_ready(compiled(keys(seed)))
        seconds = time.perf_counter() - begin
        draws = {name: np.asarray(values).reshape(CHAINS, *values.shape[2:]) for name, values in draws.items()}
        return seconds, draws, int(divergent.sum())

    return sampler


def with_jax(data: Data, iterations: int, library: str) -> Sampler:
    """The PyMC model in JAX; the first run fills the cache of compiled code."""
    __import__(library)
    import jax
    from pymc.sampling.jax import sample_jax_nuts

    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    model = reference.pymc_model(data, reference.with_ops)
    settings = {"chains": CHAINS, "target_accept": TARGET, "progressbar": False, "jitter": False}

    def sampler(seed: int) -> tuple[float, Draws, int]:
        begin = time.perf_counter()
        tree = sample_jax_nuts(
            iterations,
            tune=iterations,
            random_seed=seed,
            initvals=reference.true_point(),
            model=model,
            nuts_sampler=library,
            compute_convergence_checks=False,
            **settings,
        )
        draws = {name: tree["posterior"][name].to_numpy() for name in reference.NAMES}
        # PyMC's own time ends before BlackJAX does.
        seconds = time.perf_counter() - begin
        return seconds, draws, int(tree["sample_stats"]["diverging"].sum())

    sampler(0)
    return sampler


def with_stan(data: Data, iterations: int, *, tuned: bool) -> Sampler:
    """Stan; the first request builds the program."""
    stan_peer.log_densities(data, [], tuned=tuned)
    start = reference.true_point()

    def sampler(seed: int) -> tuple[float, Draws, int]:
        settings = {"num_samples": iterations, "num_warmup": iterations, "delta": TARGET, "num_chains": CHAINS}
        answer = stan_peer.sample(data, tuned=tuned, seed=seed + 1, start=start, **settings)
        return answer["seconds"], answer["draws"], answer["divergent"]

    return sampler


TOOLS: dict[str, Callable[[Data, int], Sampler]] = {
    "regimelag": lambda data, iterations: with_nutpie(data, iterations, reference.with_ops),
    "scan": lambda data, iterations: with_nutpie(data, iterations, reference.with_scan),
    "numpyro": with_numpyro,
    "pymc-numpyro": lambda data, iterations: with_jax(data, iterations, "numpyro"),
    "pymc-blackjax": lambda data, iterations: with_jax(data, iterations, "blackjax"),
    "stan": lambda data, iterations: with_stan(data, iterations, tuned=False),
    "stan-tuned": lambda data, iterations: with_stan(data, iterations, tuned=True),
}


def judge(seconds: float, draws: Draws, divergent: int) -> dict[str, float]:
    """What is reported of one run."""
    tree = az.from_dict({"posterior": {name: draws[name] for name in reference.NAMES}})
    ess = min(float(values.min()) for values in az.ess(tree, method="bulk").dataset.data_vars.values())
    rhat = max(float(values.max()) for values in az.rhat(tree).dataset.data_vars.values())
    return {"seconds": seconds, "ess": ess, "rhat": rhat, "divergent": divergent, "pace": ess / seconds}


def prepare(names: list[str], data: Data, iterations: int) -> dict[str, Sampler]:
    """Compile what is asked for and installed."""
    samplers = {}
    for name in names:
        begin = time.perf_counter()
        try:
            samplers[name] = TOOLS[name](data, iterations)
        except (ImportError, stan_peer.NoStanError) as reason:
            print(f"without {name}: {reason}")
        else:
            print(f"{name}: compiled in {time.perf_counter() - begin:.0f} s", flush=True)
    return samplers


def spread(values: np.ndarray, digits: int) -> str:
    return f"{np.median(values):.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def print_table(found: dict[str, list[dict[str, float]]]) -> None:
    """Medians and spread over the rounds; the ratio is regimelag's pace to the tool's, round by round."""
    columns = ("seconds", "worst bulk ESS", "R-hat", "divergent", "ESS a second", "times slower")
    print(f"\n{'':<14}" + "".join(f"{column:<24}" for column in columns))
    ours = np.array([row["pace"] for row in found["regimelag"]])
    for name, rows in found.items():
        column = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        cells = (
            spread(column["seconds"], 1),
            spread(column["ess"], 0),
            f"{column['rhat'].max():.4f} at most",
            spread(column["divergent"], 0),
            spread(column["pace"], 1),
            spread(ours / column["pace"], 1),
        )
        print(f"{name:<14}" + "".join(f"{cell:<24}" for cell in cells))


def main() -> None:
    """Compile, sample in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="every tool once a round (%(default)s)")
    parser.add_argument("--length", type=int, default=1500, help="number of times (%(default)s)")
    parser.add_argument("--iterations", type=int, default=1000, help="warm-up, and draws, of a chain (%(default)s)")
    parser.add_argument("--peers", nargs="+", choices=[name for name in TOOLS if name != "regimelag"], default=["scan"])
    options = parser.parse_args()

    data = reference.make_data(options.length)
    samplers = prepare(["regimelag", *options.peers], data, options.iterations)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in samplers}
    for number in range(options.rounds):
        for name, sampler in samplers.items():
            row = judge(*sampler(number))
            found[name].append(row)
            print(f"round {number + 1}, {name}: {row['seconds']:.1f} s, ESS {row['ess']:.0f}", flush=True)
    print_table(found)


if __name__ == "__main__":
    main()
