"""`fit`: from a spec and a panel to draws, started from the modes that carry weight."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import nutpie
import pymc as pm
import xarray as xr
from threadpoolctl import threadpool_limits

from regimelag import names as nm
from regimelag.errors import FitError
from regimelag.model import build_model, labelled
from regimelag.sampling.catalogue import catalogue_of
from regimelag.sampling.compiled import POINT, CompiledModel
from regimelag.sampling.modes import Mode, dispersed_start, find_modes, start_weights
from regimelag.sampling.tree import as_fit
from regimelag.spec import ModelSpec


def fit(
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float = 0.95,
    random_seed: int | None = None,
    starts: int = 24,
    prior_draws: int = 1000,
    nuts_sampler: Literal["nutpie", "pymc"] = "nutpie",
    progressbar: bool = True,
    **kwargs: Any,
) -> xr.DataTree:
    """Fit a model: find the modes, start chains within those that carry weight, and sample with NUTS.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data, from `make_panel`.
    draws, tune, chains, cores, target_accept, random_seed, progressbar
        As in `pymc.sample`. Without a seed one is drawn and recorded.
    starts : int
        Starting points of the search for modes, drawn from the prior.
    prior_draws : int
        Draws of the prior and its predictive.
    nuts_sampler : {"nutpie", "pymc"}
        Which NUTS runs.
    **kwargs
        Passed on to `nutpie.sample` or `pymc.sample`.

    Returns
    -------
    xarray.DataTree
        A fit: see `as_fit` for its groups; `modes` holds the catalogue. Interrupting (Ctrl-C) returns what was drawn so
        far.

    Raises
    ------
    PanelError
        If the panel does not fit the spec.
    FitError
        If an argument is out of range, or sampling was interrupted before the first draw.
    """
    _check_arguments(
        draws=draws,
        tune=tune,
        chains=chains,
        starts=starts,
        prior_draws=prior_draws,
        target_accept=target_accept,
        nuts_sampler=nuts_sampler,
    )
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_seed is None else int(random_seed)
    tell = partial(print, file=sys.stderr, flush=True) if progressbar else _say_nothing
    model = build_model(spec, panel)
    tell(f"Compiling {spec.name} (half a minute the first time) ...")
    compiled = CompiledModel(model)
    tell(f"Searching for modes from {starts} starting points ...")
    modes = search(compiled, starts=starts, random_seed=seed)
    start = partial(dispersed_start, modes, compiled.value_and_gradient)
    tell(f"Sampling {chains} chains, started within {_carrying(modes)} ...")
    settings = {"draws": draws, "tune": tune, "chains": chains, "cores": cores, "target_accept": target_accept} | kwargs
    sample = sample_nutpie if nuts_sampler == "nutpie" else _sample_pymc
    sampled = sample(compiled, start, seed, progressbar, settings)
    tree = as_fit(sampled, spec, panel, model=model, prior_draws=prior_draws, random_seed=seed)
    tree["modes"] = xr.DataTree(catalogue_of(compiled, model, modes))
    tree.attrs |= {
        "random_seed": seed,
        "nuts_sampler": nuts_sampler,
        "tune": tune,
        "target_accept": target_accept,
        "starts": starts,
    }
    return tree


def _say_nothing(text: str) -> None:
    """Keep quiet."""


def _carrying(modes: list[Mode]) -> str:
    """How many of the modes carry weight, in words."""
    carrying = len(start_weights(modes).nonzero()[0])
    return f"{carrying} of {len(modes)} modes" if len(modes) > 1 else "the one mode found"


def search(compiled: CompiledModel, *, starts: int, random_seed: int) -> list[Mode]:
    """Find the modes from starting points drawn from the prior; the same seed gives the same modes."""
    seeds = np.random.SeedSequence(random_seed).generate_state(starts)
    points = [compiled.prior_point(int(seed)) for seed in seeds]
    # L-BFGS multiplies short vectors: threads that wait for each other take ten times as long on a busy machine.
    with threadpool_limits(limits=1):
        return find_modes(compiled.value_and_gradient, points)


def _check_arguments(*, target_accept: float, nuts_sampler: str, **counts: int) -> None:
    if nuts_sampler not in ("nutpie", "pymc"):
        came = f"nuts_sampler = {nuts_sampler!r}"
        raise FitError("fit", "nuts_sampler is 'nutpie' or 'pymc'", came, "choose one of them")
    for name, value in counts.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise FitError(
                "fit", f"{name} is a whole number, at least 1", f"{name} = {value!r}", f"give {name} such a number"
            )
    if not 0 < target_accept < 1:
        raise FitError(
            "fit",
            "target_accept lies between 0 and 1",
            f"target_accept = {target_accept!r}",
            "write target_accept=0.95",
        )


def sample_nutpie(
    compiled: CompiledModel,
    start: Callable[[int], np.ndarray],
    seed: int,
    progressbar: bool,
    settings: dict[str, Any],
) -> xr.DataTree:
    """Sample with nutpie from dispersed starts; interrupted, it returns what there is."""
    # nutpie hands each chain a seed of its own, so each chain gets its own start, whatever the order they begin in.
    sampled = nutpie.sample(
        compiled.started_by(start),
        seed=seed,
        save_warmup=False,
        progress_bar=progressbar,
        **({"adaptation": "low_rank"} | settings),
    )
    complete = _complete_draws(sampled, POINT)
    points = complete["posterior"][POINT]
    posterior = labelled(compiled.model, compiled.constrained(points.to_numpy()))
    complete["posterior"] = xr.DataTree(posterior.assign_coords({dim: points[dim] for dim in (nm.CHAIN, nm.DRAW)}))
    return complete


def _sample_pymc(
    compiled: CompiledModel,
    start: Callable[[int], np.ndarray],
    seed: int,
    progressbar: bool,
    settings: dict[str, Any],
) -> xr.DataTree:
    seeds = np.random.SeedSequence(seed).generate_state(settings["chains"])
    points = [compiled.constrained(start(int(chain_seed))) for chain_seed in seeds]
    model = compiled.model
    with model:
        sampled = pm.sample(
            random_seed=seed,
            initvals=[{rv.name: point[rv.name] for rv in model.free_RVs} for point in points],
            init="adapt_diag",
            progressbar=progressbar,
            compute_convergence_checks=False,
            **settings,
        )
    return _complete_draws(sampled, nm.INTERCEPT)


def _complete_draws(sampled: xr.DataTree, name: str) -> xr.DataTree:
    """Keep the draws that every started chain has of a variable; in an interrupted run chains differ in length."""
    posterior = sampled["posterior"].to_dataset()
    drawn = posterior[name].notnull()
    done = drawn.all([dim for dim in drawn.dims if dim not in (nm.CHAIN, nm.DRAW)])
    lengths = done.sum(nm.DRAW)
    keep = lengths > 0
    if not bool(keep.any()):
        raise FitError(
            "fit", "one draw at least is made after tuning", "sampling stopped during tuning", "let it run longer"
        )
    shortest = int(lengths.where(keep, drop=True).min())
    if bool(keep.all()) and shortest == posterior.sizes[nm.DRAW]:
        return sampled
    chains = np.flatnonzero(keep.to_numpy())
    return sampled.isel({nm.CHAIN: chains, nm.DRAW: slice(0, shortest)}, missing_dims="ignore")
