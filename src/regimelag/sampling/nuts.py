"""NUTS by nutpie, PyMC, NumPyro or BlackJAX, with one starting point per chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

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
    backend = settings.pop("backend", "numba")
    sampled = nutpie.sample(
        compiled.started_by(start) if backend == "numba" else _in_jax(compiled, start),
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


def sample_jax(
    compiled: CompiledModel,
    start: Callable[[int], np.ndarray],
    seed: int,
    progressbar: bool,
    settings: dict[str, Any],
    *,
    library: Literal["numpyro", "blackjax"],
) -> xr.DataTree:
    """Sample with NumPyro's or BlackJAX's NUTS from dispersed starts; an interrupt loses the draws.

    Chains run in parallel if there is a device for each of them, and else as one vectorised computation.
    """
    import jax  # noqa: PLC0415 installed with the library
    from pymc.sampling.jax import sample_jax_nuts  # noqa: PLC0415

    own = {name: settings.pop(name) for name in ("draws", "tune", "chains", "target_accept")}
    cores = settings.pop("cores")
    parallel = cores != 1 and jax.local_device_count() >= own["chains"]
    seeds = np.random.SeedSequence(seed).generate_state(own["chains"])
    points = [compiled.constrained(start(int(chain_seed))) for chain_seed in seeds]
    model = compiled.model
    return sample_jax_nuts(
        **own,
        random_seed=seed,
        initvals=[{rv.name: point[rv.name] for rv in model.free_RVs} for point in points],
        jitter=False,
        model=model,
        chain_method=settings.pop("chain_method", "parallel" if parallel else "vectorized"),
        nuts_kwargs=settings,
        progressbar=progressbar,
        compute_convergence_checks=False,
        nuts_sampler=library,
    )


def _in_jax(compiled: CompiledModel, start: Callable[[int], np.ndarray]) -> Any:
    """The model for nutpie's sampler, as `CompiledModel.started_by`, with JAX's density and gradient."""
    import jax  # noqa: PLC0415 only needed for this backend
    from nutpie.compiled_pyfunc import from_pyfunc  # noqa: PLC0415
    from pymc.sampling.jax import get_jaxified_logp  # noqa: PLC0415

    log_posterior = get_jaxified_logp(compiled.model, negative_logp=True)
    both = jax.jit(jax.value_and_grad(lambda point: log_posterior(compiled.pieces(point))))

    def logp(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = both(point)
        return float(value), np.asarray(gradient, dtype=float)

    return from_pyfunc(
        ndim=compiled.size,
        make_logp_fn=lambda: logp,
        make_expand_fn=lambda *_: lambda point: {POINT: point},
        make_initial_point_fn=lambda seed: start(int(np.random.SeedSequence(seed).generate_state(1)[0])),
        expanded_dtypes=[np.dtype("float64")],
        expanded_shapes=[(compiled.size,)],
        expanded_names=[POINT],
        dims={POINT: ("unconstrained_parameter",)},
        coords={"unconstrained_parameter": np.arange(compiled.size)},
    )


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
