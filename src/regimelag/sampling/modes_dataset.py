"""Catalogue of modes as stored in a fit, and assignment of draws to modes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.spatial.distance import cdist

from regimelag.model.build import labelled
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.modes import CLIMBS, Mode, is_reached, mode_weights
from regimelag.spec import names as nm

# Whether draws nearest to other modes have reached the mass of this one; NaN if not computed.
REACHED = "reached"
# Number of the separated mode, in the group within_mode, in whose cell a mode of the catalogue lies.
SEPARATED = "separated_mode"
# Names in the catalogue other than the model's variables.
RESERVED = frozenset({"weight", "log_posterior", "starts", REACHED, SEPARATED, nm.MODE, nm.CHAIN, nm.DRAW})
# Modes below this weight may have no draws. Others are examined if their share of draws is below this share of their
# weight.
LEAST_WEIGHT, FEW = 0.01, 0.1
# They are also examined if chains stay in them but seldom came: fewer visits than the first value, of at least as many
# draws on average as the second, and a share of draws below the third times their weight.
VISITS, STAY, HALF = 20, 10, 0.5


def catalogue_of(compiled: CompiledModel, modes: list[Mode]) -> xr.Dataset:
    """The modes as a dataset: weight, log posterior, number of starts, and the value of each variable.

    The attribute ``role`` distinguishes free variables and deterministics.
    """
    values = compiled.constrained(np.stack([mode.point for mode in modes]))
    free = {v.name for v in compiled.model.free_RVs}
    read = labelled(compiled.model, {name: value[None] for name, value in values.items()})
    catalogue = read.isel({nm.CHAIN: 0}, drop=True).rename({nm.DRAW: nm.MODE}).drop_vars(nm.MODE)
    for name, variable in catalogue.data_vars.items():
        variable.attrs["role"] = "free" if name in free else "deterministic"
    catalogue["weight"] = (nm.MODE, mode_weights(modes))
    catalogue["log_posterior"] = (nm.MODE, np.array([mode.log_posterior for mode in modes]))
    catalogue["starts"] = (nm.MODE, np.array([mode.starts for mode in modes]))
    return catalogue


def free_variables(catalogue: xr.Dataset) -> list[str]:
    """Names of the free variables in a catalogue."""
    names = [str(name) for name, values in catalogue.data_vars.items() if values.attrs.get("role") != "deterministic"]
    return [name for name in names if name not in RESERVED]


def within_chain_sd(posterior: xr.Dataset) -> xr.Dataset:
    """Posterior standard deviations within chains (...); NaN for constants.

    They do not increase if chains are in different modes.
    """
    variance = posterior.var(nm.DRAW).mean(nm.CHAIN)
    return variance.where(variance > 0) ** 0.5


def nearest_modes(catalogue: xr.Dataset, posterior: xr.Dataset) -> np.ndarray:
    """Index of the mode nearest to each draw (chain, draw), in standard deviations within chains."""
    return _squared_distances(catalogue, posterior).argmin(axis=-1)


def _squared_distances(catalogue: xr.Dataset, posterior: xr.Dataset) -> np.ndarray:
    """Squared distances of draws to modes (chain, draw, mode) over the free variables in both."""
    names = [name for name in free_variables(catalogue) if name in posterior]
    sd = within_chain_sd(posterior[names])

    def rows(source: xr.Dataset, lead: Sequence[str]) -> np.ndarray:
        arrays = [source[name].transpose(*lead, ...).to_numpy() / sd[name].to_numpy() for name in names]
        count = int(np.prod([source.sizes[dim] for dim in lead]))
        found = np.concatenate([array.reshape(count, -1) for array in arrays], axis=1)
        return np.where(np.isnan(found), 0.0, found)

    distances = cdist(rows(posterior, (nm.CHAIN, nm.DRAW)), rows(catalogue, (nm.MODE,)), "sqeuclidean")
    return distances.reshape(posterior.sizes[nm.CHAIN], posterior.sizes[nm.DRAW], -1)


def _with_few_draws(catalogue: xr.Dataset, nearest: np.ndarray) -> dict[int, tuple[float, bool]]:
    """Modes to be examined: share of draws of each, and whether chains stay in it but seldom came."""
    shares = np.bincount(nearest.ravel(), minlength=catalogue.sizes[nm.MODE]) / nearest.size
    weight = catalogue["weight"].to_numpy()
    found = {}
    for n in np.flatnonzero((weight > LEAST_WEIGHT) & (shares < HALF * weight)):
        there = nearest == n
        visits = int(there[:, 0].sum() + (there[:, 1:] & ~there[:, :-1]).sum())
        seldom = visits < VISITS and bool(there.sum() >= STAY * max(visits, 1))
        if seldom or shares[n] < FEW * weight[n]:
            found[int(n)] = (float(shares[n]), seldom)
    return found


def missed_modes(catalogue: xr.Dataset, posterior: xr.Dataset) -> list[int]:
    """Indices of modes with weight that the chains have missed.

    A mode without nearest draws is missed unless `with_reached` found that draws have reached its mass; a mode with
    few, only if it found that they have not, or were there too seldom to give it its weight.
    """
    few = _with_few_draws(catalogue, nearest_modes(catalogue, posterior))
    unknown = np.full(catalogue.sizes[nm.MODE], np.nan)
    reached = catalogue[REACHED].to_numpy() if REACHED in catalogue else unknown
    return [n for n, (share, _) in few.items() if reached[n] == 0 or (share == 0 and reached[n] != 1)]


def with_reached(
    catalogue: xr.Dataset, posterior: xr.Dataset, compiled: CompiledModel, modes: Sequence[Mode], seed: int
) -> xr.Dataset:
    """The catalogue, with whether draws have reached the modes to which few are nearest."""
    distances, reached = _squared_distances(catalogue, posterior), np.full(len(modes), np.nan)
    for n, (_, seldom) in _with_few_draws(catalogue, distances.argmin(axis=-1)).items():
        margin = (distances[..., n] - np.delete(distances, n, axis=-1).min(axis=-1)).ravel()
        closest = [] if seldom else _unconstrained(compiled, posterior, np.argsort(margin, kind="stable")[:CLIMBS])
        reached[n] = is_reached(modes, n, compiled.value_and_gradient, closest, seed)
    return catalogue.assign({REACHED: (nm.MODE, reached)})


def _unconstrained(compiled: CompiledModel, posterior: xr.Dataset, places: np.ndarray) -> list[np.ndarray]:
    """Some draws, by position over chains and draws, on the unconstrained scale (parameter)."""
    names, length = [str(rv.name) for rv in compiled.model.free_RVs], posterior.sizes[nm.DRAW]
    draws = posterior[names].transpose(nm.CHAIN, nm.DRAW, ...)
    chain, draw = np.divmod(places, length)
    return list(compiled.points({name: draws[name].to_numpy()[chain, draw] for name in names}))
