"""`fit` and `sample`: NUTS with chains that start in the modes with weight."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from threadpoolctl import threadpool_limits

from regimelag.errors import FitError
from regimelag.likelihood.checks import require_double
from regimelag.model.build import build_model, labelled
from regimelag.runtime.plain import drawn_seed, wholes
from regimelag.runtime.process import one_thread_at_a_time, refuse_while_imported, sigterm_as_ctrl_c
from regimelag.runtime.versions import COMPILERS, check_versions
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.inference_data import as_fit
from regimelag.sampling.modes import Mode, find_modes, start_weights
from regimelag.sampling.modes_dataset import RESERVED
from regimelag.sampling.nuts import sample_jax, sample_nutpie, sample_pymc
from regimelag.sampling.relabel import exchangeable
from regimelag.sampling.sampler import NutsSampler, Sampler, sampler_of
from regimelag.sampling.separated import sample_modes
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

RUN: dict[str, Callable[..., xr.DataTree]] = {
    "nutpie": sample_nutpie,
    "pymc": sample_pymc,
    "numpyro": partial(sample_jax, library="numpyro"),
    "blackjax": partial(sample_jax, library="blackjax"),
}

# Maximum number of prior draws until one satisfies all constraints; six ordered components accept one in 720.
TRIES = 5000


@one_thread_at_a_time
def fit(
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    sampler: Sampler | None = None,
    draws: int | None = None,
    tune: int | None = None,
    chains: int | None = None,
    cores: int | None = None,
    target_accept: float | None = None,
    starts: int | None = None,
    nuts_sampler: NutsSampler | None = None,
    random_seed: int | None = None,
    prior_draws: int = 1000,
    progressbar: bool = True,
    **kwargs: Any,
) -> xr.DataTree:
    """Fit a model: find the modes, start chains in those with weight, and sample with NUTS.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data, from `make_panel`.
    sampler : Sampler, optional
        Settings of the sampler.
    draws, tune, chains, cores, target_accept, starts, nuts_sampler
        The same settings as keywords instead of `sampler`; the defaults are those of `Sampler`.
    random_seed : int, optional
        Seed. By default one is drawn; it is recorded in ``attrs["random_seed"]`` either way.
    prior_draws : int
        Number of draws from the prior and the prior predictive.
    progressbar : bool
        Whether to show progress.
    **kwargs
        Passed on to the library, as `Sampler.options`; unknown keywords are refused.

    Returns
    -------
    xarray.DataTree
        A fit: see `as_fit` for its groups; `modes` is the catalogue of modes. If the posterior has separated modes, it
        is resampled with their weights, and the group `within_mode` has all runs, see Notes. Interrupting (Ctrl-C,
        SIGTERM) returns the draws so far: `diagnostics` reports their number, and attrs have the requested (``draws``,
        ``chains``) and the kept numbers (``draws_kept``, ``chains_kept``).

    Raises
    ------
    PanelError
        If the panel does not fit the spec.
    FitError
        If an argument is out of range or unknown, or sampling was interrupted before the first draw.

    See Also
    --------
    sample : The same for any PyMC model.

    Notes
    -----
    Chains between which no R-hat exceeds 1.05 are runs within one mode; chains that move between modes are left out.
    Each mode gets as many chains as were asked for, or two where chains tend to leave it. The unconstrained space is
    divided into one cell around each mode, by the normal densities of the runs, and the evidence of each cell is
    estimated by bridge sampling, Meng & Wong (1996), Statistica Sinica 6:831-860, with the warp of Meng & Schilling
    (2002), doi:10.1198/106186002457, and the error of Fruehwirth-Schnatter (2004),
    doi:10.1111/j.1368-423X.2004.00125.x. The posterior is then resampled without replacement as far as the draws
    suffice. R-hat and effective sample size are those within modes, and ``posterior.attrs["effective_sample_size"]`` is
    the smallest of a posterior mean with the error of the weights. If the error of a log evidence exceeds 0.3 nats, the
    chains stay as they are, and `diagnostics` reports their R-hat. A mode that no starting point led to is not found.
    Regimes that are not ordered are relabelled instead, and their runs are not examined.

    Fits in several threads of a process run one after another, so that draws do not depend on other threads.

    During sampling SIGTERM, which batch systems and containers send before they end a process, has the effect of
    Ctrl-C, unless the script handles it in another way.
    """
    refuse_while_imported("fit")
    check_versions("fit", COMPILERS)
    given = {
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "cores": cores,
        "target_accept": target_accept,
        "starts": starts,
        "nuts_sampler": nuts_sampler,
    }
    settings = sampler_of(fit, sampler, given, kwargs)
    seed = drawn_seed(FitError, "fit", random_seed)
    wholes(FitError, "fit", prior_draws=prior_draws)
    model = build_model(spec, panel)
    # Permutations of unordered regimes are no modes: `as_fit` relabels the draws.
    weigh = not any(True for _ in exchangeable(spec))
    sampled = _sampled(model, settings, seed, progressbar=progressbar, weigh=weigh)
    return as_fit(sampled, spec, panel, model=model, prior_draws=prior_draws, random_seed=seed)


@one_thread_at_a_time
def sample(
    model: pm.Model,
    *,
    sampler: Sampler | None = None,
    draws: int | None = None,
    tune: int | None = None,
    chains: int | None = None,
    cores: int | None = None,
    target_accept: float | None = None,
    starts: int | None = None,
    nuts_sampler: NutsSampler | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
    **kwargs: Any,
) -> xr.DataTree:
    """Sample any PyMC model as `fit` does: find modes, start chains in them, run NUTS.

    Use it for a model of your own, such as one with `markov_loglik`. Unlike `pymc.sample`, which starts all chains near
    one point, it finds the modes of the posterior first, so that a missed mode is reported.

    Parameters
    ----------
    model : pymc.Model
        The model. All free variables must be continuous, with priors that can be drawn from. No shape may depend on
        their values, such as that of ``x[x > 0]``.
    sampler : Sampler, optional
        Settings of the sampler. A starting point that violates a constraint (of an ordered transform, for example) is
        drawn again.
    draws, tune, chains, cores, target_accept, starts, nuts_sampler
        The same settings as keywords instead of `sampler`; the defaults are those of `Sampler`.
    random_seed : int, optional
        Seed. By default one is drawn; it is recorded in ``attrs["random_seed"]`` either way.
    progressbar : bool
        Whether to show progress.
    **kwargs
        Passed on to the library, as `Sampler.options`; unknown keywords are refused.

    Returns
    -------
    xarray.DataTree
        Groups posterior, sample_stats, constant_data (the model's data) and modes, the catalogue that `modes`
        tabulates, and for separated modes within_mode, as in `fit`; seed and settings in attrs. There is no
        log_likelihood and no predictive group; for a model of `build_model`, `as_fit` adds predictive groups.
        Interrupting (Ctrl-C) returns the draws so far, as in `fit`.

    Raises
    ------
    FitError
        If an argument is out of range or unknown, the model has discrete or no free variables, a prior cannot be drawn
        from, the log posterior has no gradient, draws random numbers or is not finite at any starting point, or
        sampling was interrupted before the first draw.
    """
    refuse_while_imported("sample")
    check_versions("sample", COMPILERS)
    given = {
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "cores": cores,
        "target_accept": target_accept,
        "starts": starts,
        "nuts_sampler": nuts_sampler,
    }
    settings = sampler_of(sample, sampler, given, kwargs)
    seed = drawn_seed(FitError, "sample", random_seed)
    _check_model(model)
    return _sampled(model, settings, seed, progressbar=progressbar, weigh=True)


def _sampled(model: pm.Model, settings: Sampler, seed: int, *, progressbar: bool, weigh: bool) -> xr.DataTree:
    tell = partial(print, file=sys.stderr, flush=True) if progressbar else _say_nothing
    tell("Compiling the model (ten to twenty seconds the first time) ...")
    compiled = CompiledModel(model)
    tell(f"Searching for modes from {settings.starts} starting points ...")
    modes = find_modes_from_prior(compiled, starts=settings.starts, random_seed=seed)
    tell(f"Sampling {settings.chains} chains, started within {_carrying(modes)} ...")

    def run(start: Callable[[int], np.ndarray], seed: int, chains: int) -> xr.DataTree:
        nuts = settings.nuts | {"chains": chains}
        return RUN[settings.nuts_sampler](compiled, start, seed, progressbar, nuts)

    with sigterm_as_ctrl_c():
        tree = sample_modes(run, compiled, modes, settings, seed, tell=tell, weigh=weigh)
    posterior = tree["posterior"].to_dataset()
    made = {
        "inference_library": settings.nuts_sampler,
        "inference_library_version": version(settings.nuts_sampler),
        "tuning_steps": settings.tune,
    }
    tree["posterior"] = xr.DataTree(posterior.assign_attrs(made))
    if model.data_vars:
        tree["constant_data"] = xr.DataTree(_constant_data(model))
    plain = settings.plain
    options = plain.pop("options")
    tree.attrs |= plain | {
        "draws_kept": posterior.sizes[nm.DRAW],
        "chains_kept": posterior.sizes[nm.CHAIN],
        "random_seed": seed,
    }
    if options:
        tree.attrs["sampler_options"] = json.dumps(options)
    return tree


def _constant_data(model: pm.Model) -> xr.Dataset:
    """The model's data with their dimensions, as `pymc.sample` stores them."""
    held = {str(data.name): np.asarray(data.get_value())[None, None] for data in model.data_vars}
    return labelled(model, held).isel({nm.CHAIN: 0, nm.DRAW: 0}, drop=True)


def _say_nothing(text: str) -> None:
    """Discard a progress message."""


def _carrying(modes: list[Mode]) -> str:
    """Number of modes with weight, in words."""
    carrying = len(start_weights(modes).nonzero()[0])
    return f"{carrying} of {len(modes)} modes" if len(modes) > 1 else "the one mode found"


def find_modes_from_prior(compiled: CompiledModel, *, starts: int, random_seed: int) -> list[Mode]:
    """Find the modes from starting points drawn from the prior, determined by the seed."""
    seeds = np.random.SeedSequence(random_seed).generate_state(starts)
    points = [_prior_point(compiled, int(seed)) for seed in seeds]
    # L-BFGS multiplies short vectors: on a busy machine several threads take ten times as long as one.
    with threadpool_limits(limits=1):
        return find_modes(compiled.value_and_gradient, points)


def _prior_point(compiled: CompiledModel, seed: int) -> np.ndarray:
    """A prior draw that satisfies the model's constraints, by rejection; the last draw if none does.

    PyMC's prior draws ignore transforms that restrict the support, such as an ordering.
    """
    point = compiled.prior_point(seed)
    for again in np.random.SeedSequence(seed).generate_state(TRIES):
        if np.isfinite(point).all():
            break
        point = compiled.prior_point(int(again))
    return point


def _check_model(model: object) -> None:
    require_double("sample")
    if not isinstance(model, pm.Model):
        came = type(model).__name__
        raise FitError("sample", "model is a pymc.Model", came, "pass a PyMC model; a spec and a panel go to fit")
    if not model.free_RVs:
        cure = 'add a random variable without observed, such as pymc.Normal("level")'
        raise FitError("sample", "the model has a free variable", "none", cure)
    discrete = [value.name for value in model.discrete_value_vars]
    if discrete:
        raise FitError(
            "sample",
            "all free variables are continuous",
            f"{', '.join(discrete)} discrete",
            "marginalise them (hidden Markov regimes with regimelag.markov_loglik), or sample with pymc.sample",
        )
    taken = sorted({str(name) for name in (*model.named_vars, *model.coords)} & RESERVED)
    if taken:
        raise FitError(
            "sample",
            f"the catalogue of modes has columns of its own: {sorted(RESERVED)}",
            f"a variable or dimension named {', '.join(taken)}",
            "give it another name",
        )
