"""How long the first posterior takes: from the call of `fit` to draws in hand, with a cold and a warm compile cache.

`no_late_macro`, to which all times refer, and `btc_silver` beside it, on the last 650 weeks of the example panel, `fit`
with its defaults: modes searched, four chains of 1,000 + 1,000, prior and both predictive groups, densities and
diagnostics. Each run is a process of its own; imports are not counted. A cold run begins with empty cache folders, a
warm run with those that a cold one has filled. With ``--scan`` the likelihood of `no_late_macro` is replaced by what
one would write in PyMC (a lag matrix, `pm.logp`, `pytensor.scan`), all else equal.

    python benchmarks/first_posterior.py --rounds 5
    python benchmarks/first_posterior.py --rounds 1 --scan
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

ROWS = 650
VERSIONS = ("no_late_macro", "btc_silver", "scan")


def as_in_pymc() -> None:
    """Replace the package's likelihood by plain PyTensor and PyMC."""
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt

    from regimelag.model import build as model

    def lag_sum(signal, weights):
        count = weights.type.shape[0]
        times = signal.shape[0] - count
        lagged = pt.stack([signal[count - lag : count - lag + times] for lag in range(1, count + 1)], axis=1)
        return pt.dot(lagged, weights)

    def linear_predictor(covariates, coefficients, episode=None):
        if episode is None:
            return pt.dot(coefficients[0].T, covariates)
        return (coefficients[episode] * covariates.T[:, :, None]).sum(axis=1).T

    def student_t_logpdf(y, location, log_scale, episode, nu):
        return pm.logp(pm.StudentT.dist(nu=nu, mu=location, sigma=pt.exp(log_scale)[episode].T), y)

    def markov_loglik(log_obs, transition_logits, log_init):
        log_p = pt.special.log_softmax(transition_logits, axis=-1)

        def step(log_obs_t, log_p_t, log_alpha):
            return pt.logsumexp(log_alpha[:, None] + log_p_t, axis=0) + log_obs_t

        log_alpha = pytensor.scan(
            step, sequences=[log_obs[1:], log_p], outputs_info=[log_obs[0] + log_init], return_updates=False
        )
        return pt.logsumexp(log_alpha[-1])

    model.lag_sum, model.linear_predictor = lag_sum, linear_predictor
    model.linear_map = lambda matrix, vectors: pt.dot(vectors, matrix)
    model.student_t_logpdf, model.markov_loglik = student_t_logpdf, markov_loglik


def one_run(version: str, seed: int) -> None:
    """Fit once in this process and print the seconds and what the diagnostics say."""
    import pymc  # noqa: F401

    import regimelag as rl
    from regimelag.panel.slicing import last_rows
    from regimelag.sampling.diagnostics import convergence

    if version == "scan":
        as_in_pymc()
    spec = rl.read_spec("no_late_macro" if version == "scan" else version)
    panel = last_rows(rl.make_panel(spec, rl.example_panel(as_frame=True), start="2013-01-01"), ROWS)
    fit = rl.fit
    start = time.perf_counter()
    idata = fit(spec, panel, random_seed=seed, progressbar=False)
    seconds = time.perf_counter() - start
    found = convergence(idata)
    print(seconds, found["rhat"], found["ess_bulk"], found["divergent"])


def timed(version: str, seed: int, folder: str) -> list[float]:
    """Seconds, largest R-hat, least bulk ESS and divergences of a run in a process with these cache folders."""
    caches = {"NUMBA_CACHE_DIR": f"{folder}/numba", "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor"}
    command = [sys.executable, __file__, "--child", version, str(seed)]
    done = subprocess.run(command, env=os.environ | caches, check=True, capture_output=True, text=True)  # noqa: S603
    return [float(word) for word in done.stdout.split()]


def main() -> int:
    """Run cold and warm in turns; print medians and spread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="cold runs, each followed by a warm one")
    parser.add_argument("--scan", action="store_true", help="run the scan version as well")
    parser.add_argument("--child", nargs=2, metavar=("VERSION", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        one_run(options.child[0], int(options.child[1]))
        return 0
    found: dict[tuple[str, str], list[list[float]]] = {}
    for seed in range(1, options.rounds + 1):
        for version in VERSIONS if options.scan else VERSIONS[:2]:
            with tempfile.TemporaryDirectory() as folder:
                for cache in ("cold", "warm"):
                    found.setdefault((version, cache), []).append(timed(version, seed, folder))
                    print(version, cache, *(f"{value:.4g}" for value in found[version, cache][-1]), flush=True)
    print(f"\nseconds from fit to draws in hand, {ROWS} weeks, {options.rounds} rounds; median (smallest to largest)")
    for (version, cache), runs in found.items():
        seconds, rhat, ess, divergent = np.array(runs).T
        print(
            f"{version:<15}{cache:<6}{np.median(seconds):>7.1f} ({seconds.min():.1f} to {seconds.max():.1f})"
            f"   R-hat at most {rhat.max():.4f}, bulk ESS at least {ess.min():.0f}, divergent {divergent.sum():.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
