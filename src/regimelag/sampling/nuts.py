"""NUTS by nutpie or PyMC, with one starting point per chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nutpie
import pymc as pm
import xarray as xr

from regimelag.errors import FitError
from regimelag.model.build import labelled
from regimelag.runtime.process import without_main_script
from regimelag.sampling.compiled import POINT, CompiledModel
from regimelag.spec import names as nm


def sample_nutpie(
    compiled: CompiledModel,
    start: Callable[[int], np.ndarray],
    seed: int,
    progressbar: bool,
    settings: dict[str, Any],
) -> xr.DataTree:
    """Sample with nutpie from dispersed starts; an interrupt returns the draws so far."""
    # nutpie passes each chain its own seed, so starting points do not depend on the order of chains.
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


def sample_pymc(
    compiled: CompiledModel,
    start: Callable[[int], np.ndarray],
    seed: int,
    progressbar: bool,
    settings: dict[str, Any],
) -> xr.DataTree:
    """Sample with PyMC's own NUTS from dispersed starts."""
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
            **(settings | {"mp_ctx": without_main_script(settings.get("mp_ctx"))}),
        )
    return _complete_draws(sampled, model.free_RVs[0].name)


def _complete_draws(sampled: xr.DataTree, name: str) -> xr.DataTree:
    """Keep the draws that all started chains have; after an interrupt chains differ in length."""
    posterior = sampled["posterior"].to_dataset()
    drawn = posterior[name].notnull()
    done = drawn.all([dim for dim in drawn.dims if dim not in (nm.CHAIN, nm.DRAW)])
    lengths = done.sum(nm.DRAW)
    keep = lengths > 0
    if not bool(keep.any()):
        raise FitError(
            "sampling", "one draw at least is made after tuning", "sampling stopped during tuning", "let it run longer"
        )
    shortest = int(lengths.where(keep, drop=True).min())
    if bool(keep.all()) and shortest == posterior.sizes[nm.DRAW]:
        return sampled
    chains = np.flatnonzero(keep.to_numpy())
    return sampled.isel({nm.CHAIN: chains, nm.DRAW: slice(0, shortest)}, missing_dims="ignore")
