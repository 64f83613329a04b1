"""Labels of regime processes that are not ordered, chosen after sampling.

Without an order the posterior is the same for every permutation of the regimes, so that chains and draws may have
different labels. Each draw takes the labels whose smoothed probabilities have the smallest Kullback-Leibler divergence
from their mean over the draws, which is computed anew until no label changes: Stephens (2000), algorithm 2,
doi:10.1111/1467-9868.00265. Of several starts the one with the smallest total is kept. Regimes are then numbered by
their share of the periods, the largest first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from regimelag.likelihood.hmm_draws import smooth_draws
from regimelag.model.at_draws import AtDraws
from regimelag.sampling.diagnostics import RELABELLED
from regimelag.sampling.modes_dataset import REACHED, RESERVED, free_variables, within_chain_sd
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.processes import Process

LABELLED = (nm.REGIME, nm.ORIGIN, nm.DESTINATION)
# All permutations are tried: 720 for six regimes.
MOST_REGIMES = 6
# Labels of a draw are ambiguous if other labels are less than this many nats further from the mean: 20 to 1.
AMBIGUOUS = float(np.log(20))
# Draws from which the labels are started, most rounds, and smallest probability in a logarithm.
STARTS, ROUNDS, TINY = 5, 100, 1e-12
# Modes are one if they differ by less than these, in nats and in posterior standard deviations.
SAME_NATS, SAME_SD = 0.05, 0.5


class Labels(NamedTuple):
    """Labels of draws: regime k of a draw is its former regime ``order[draw, k]``.

    Attributes
    ----------
    order : ndarray
        (draw, regime).
    mean : ndarray
        (time, regime) mean of the relabelled probabilities.
    ambiguous : ndarray
        (draw) whether other labels are nearly as good.
    """

    order: np.ndarray
    mean: np.ndarray
    ambiguous: np.ndarray

    @property
    def switched(self) -> float:
        """Share of the draws whose labels differ from the most frequent ones."""
        _, counts = np.unique(self.order, axis=0, return_counts=True)
        return 1.0 - float(counts.max()) / len(self.order)


def labels_of(probabilities: np.ndarray) -> Labels:
    """Labels of draws with smoothed probabilities (draw, time, regime)."""
    count = probabilities.shape[-1]
    orders = np.array(list(permutations(range(count))))
    pivots = np.unique(np.linspace(0, len(probabilities) - 1, STARTS).astype(int))
    best: tuple[float, np.ndarray] = (np.inf, orders[:1])
    for pivot in pivots:
        mean, chosen = probabilities[pivot], np.full(len(probabilities), -1)
        for _ in range(ROUNDS):
            costs = _costs(probabilities, mean, orders)
            if np.array_equal(chosen, costs.argmin(axis=1)):
                break
            chosen = costs.argmin(axis=1)
            mean = _permuted(probabilities, orders[chosen]).mean(axis=0)
        total = float(costs.min(axis=1).sum())
        # A total that is smaller by rounding alone is no better.
        if total < best[0] * (1 - 1e-9):
            best = total, mean
    mean = best[1][:, np.argsort(-best[1].mean(axis=0), kind="stable")]
    costs = _costs(probabilities, mean, orders)
    first, second = np.partition(costs, 1, axis=1)[:, :2].T
    return Labels(orders[costs.argmin(axis=1)], mean, second - first < AMBIGUOUS)


def _costs(probabilities: np.ndarray, mean: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Divergence (draw, order) of the permuted probabilities from their mean, up to a constant of each draw."""
    each = -np.einsum("ntl,tk->nkl", probabilities, np.log(np.maximum(mean, TINY)))
    return each[:, np.arange(orders.shape[1]), orders].sum(axis=-1)


def _permuted(probabilities: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.take_along_axis(probabilities, order[:, None, :], axis=-1)


def exchangeable(spec: ModelSpec) -> Iterator[Process]:
    """Processes whose regimes may be permuted without a change of the posterior."""
    for process in spec.processes:
        declared, durations = process.spec, getattr(process.spec.model, "expected_duration", 1.0)
        if declared.order_by.quantity != "none" or not 1 < declared.count <= MOST_REGIMES or declared.forbidden:
            continue
        by_regime = any({f"by_{dim}" for dim in LABELLED} & set(prior.to_plain()) for prior in spec.priors.values())
        if not by_regime and np.ptp(durations) == 0:
            yield process


def relabelled(
    spec: ModelSpec, panel: xr.Dataset, posterior: xr.Dataset, catalogue: xr.Dataset | None
) -> tuple[xr.Dataset, xr.Dataset | None, dict[str, Any]]:
    """Draws and catalogue of modes with the labels of unordered processes chosen, and attributes that say so."""
    told: dict[str, dict[str, float]] = {}
    shape = posterior.sizes[nm.CHAIN], posterior.sizes[nm.DRAW]
    for process in exchangeable(spec):
        labels = labels_of(_smoothed(spec, panel, posterior, process))
        posterior = _relabelled_draws(posterior, labels.order.reshape(*shape, -1), process.prefix)
        told[process.spec.name] = {"switched": labels.switched, "ambiguous": float(labels.ambiguous.mean())}
        if catalogue is not None and not spec.point_signals:
            catalogue = _relabelled_modes(spec, panel, catalogue, process, labels.mean)
    if catalogue is not None and told:
        catalogue = _merged(catalogue, within_chain_sd(posterior))
    return posterior, catalogue, {RELABELLED: json.dumps(told)} if told else {}


def _smoothed(spec: ModelSpec, panel: xr.Dataset, draws: xr.Dataset, process: Process) -> np.ndarray:
    return AtDraws(spec, panel, draws).measured(lambda chunk: smooth_draws(*chunk.hmm) @ process.member)


def _relabelled_draws(draws: xr.Dataset, order: np.ndarray, prefix: str) -> xr.Dataset:
    """Draws (chain, draw, ...) whose regime k is the former regime ``order[chain, draw, k]``."""
    found = draws.copy(deep=True)
    for one in np.unique(order.reshape(-1, order.shape[-1]), axis=0):
        if np.array_equal(one, np.arange(len(one))):
            continue
        moved, here = (
            permuted(draws, one.tolist(), prefix),
            xr.DataArray((order == one).all(axis=-1), dims=(nm.CHAIN, nm.DRAW)),
        )
        for name in permuted_names(draws, prefix):
            found[name] = (
                moved[name].where(here, found[name]).transpose(*draws[name].dims).assign_attrs(draws[name].attrs)
            )
    return found


def _relabelled_modes(
    spec: ModelSpec, panel: xr.Dataset, catalogue: xr.Dataset, process: Process, mean: np.ndarray
) -> xr.Dataset:
    """The modes, each with the labels nearest to the draws' mean probabilities."""
    points = catalogue.drop_vars([name for name in catalogue.data_vars if name in RESERVED])
    draws = points.rename({nm.MODE: nm.DRAW}).expand_dims({nm.CHAIN: [0]})
    orders = np.array(list(permutations(range(process.spec.count))))
    order = orders[_costs(_smoothed(spec, panel, draws, process), mean, orders).argmin(axis=1)]
    moved = _relabelled_draws(draws, order[None], process.prefix).isel({nm.CHAIN: 0}, drop=True)
    return catalogue.assign(dict(moved.rename({nm.DRAW: nm.MODE}).data_vars))


def _merged(catalogue: xr.Dataset, sd: xr.Dataset) -> xr.Dataset:
    """The catalogue without modes that equal an earlier one, to which their weight and starts are added."""
    names = [name for name in free_variables(catalogue) if name in sd]
    owner: list[int] = []
    for n in range(catalogue.sizes[nm.MODE]):
        same = [m for m in owner if m == owner[m] and _one_mode(catalogue, names, sd, m, n)]
        owner.append(same[0] if same else n)
    kept = [n for n in range(len(owner)) if owner[n] == n]
    found = catalogue.isel({nm.MODE: kept})
    for name in ("weight", "starts", REACHED):
        if name in catalogue:
            groups = [catalogue[name].to_numpy()[np.array(owner) == n] for n in kept]
            values = [np.fmax.reduce(one) if name == REACHED else one.sum() for one in groups]
            found[name] = (nm.MODE, np.array(values), catalogue[name].attrs)
    order = np.argsort(-found["weight"].to_numpy(), kind="stable")
    return found.isel({nm.MODE: order})


def _one_mode(catalogue: xr.Dataset, names: list[str], sd: xr.Dataset, m: int, n: int) -> bool:
    here, other = catalogue.isel({nm.MODE: m}), catalogue.isel({nm.MODE: n})
    if abs(float(here["log_posterior"] - other["log_posterior"])) > SAME_NATS:
        return False
    return all(float((abs(here[name] - other[name]) / sd[name]).fillna(0.0).max()) < SAME_SD for name in names)


def permuted_names(values: xr.Dataset, prefix: str = "") -> list[str]:
    """Names of the variables with a dimension over the regimes of a process."""
    dims = {f"{prefix}{dim}" for dim in LABELLED}
    return [str(name) for name in values.data_vars if dims & set(map(str, values[name].dims))]


def permuted(values: xr.Dataset, order: Sequence[int], prefix: str = "") -> xr.Dataset:
    """Values whose regime k is the former regime ``order[k]`` of the process; labels are unchanged."""
    moved = values.copy()
    for name in permuted_names(values, prefix):
        picked = values[name]
        for axis, dim in enumerate(picked.dims):
            if dim in {f"{prefix}{one}" for one in LABELLED}:
                picked = picked.copy(data=np.take(picked.to_numpy(), order, axis=axis))
        if f"{prefix}{nm.ONWARD}" in picked.dims:
            picked = _onward_permuted(picked, order, prefix)
        moved[name] = picked
    return moved


def _onward_permuted(values: xr.DataArray, order: Sequence[int], prefix: str) -> xr.DataArray:
    """Permute the last axis of values (..., regime, onward) whose regimes are permuted."""
    count = len(order)
    moved = values.transpose(..., f"{prefix}{nm.REGIME}", f"{prefix}{nm.ONWARD}").copy(deep=True)
    before = moved.to_numpy().copy()
    others = [[j for j in range(count) if j != i] for i in range(count)]
    for i in range(count):
        moved.to_numpy()[..., i, :] = before[..., i, [others[order[i]].index(order[j]) for j in others[i]]]
    return moved.transpose(*values.dims)
