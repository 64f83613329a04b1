"""Modes of a posterior: weights, shares of the draws, and differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.results.lags import effects_of_draws, lag_distribution
from regimelag.results.tables import mode_table
from regimelag.runtime.result_table import ResultTable
from regimelag.sampling.diagnostics import WEIGHT, WEIGHT_ERROR, WITHIN_MODE, require_fit
from regimelag.sampling.inference_data import spec_of
from regimelag.sampling.modes_dataset import RESERVED, SEPARATED, free_variables, nearest_modes, within_chain_sd
from regimelag.sampling.relabel import LABELLED, MOST_REGIMES, permuted, permuted_names
from regimelag.spec import names as nm
from regimelag.spec.model_spec import period_name
from regimelag.spec.terms import model_terms

MOST_DIFFERENCES = 4
# Regimes count as relabelled if a permutation reduces the distance from the first mode to this share.
CLOSE = 0.5
# Kind of a variable of a model without a spec, by the first match of a part of its name.
HABITS = {
    "lag": ("_lag_",),
    "persistence": ("stay", "transition", "initial"),
    "scale": ("scale", "sigma", "residual"),
    "effect": ("effect",),
}


class Move(NamedTuple):
    """Value of one entry of a variable at the first mode and at another."""

    distance: float
    kind: str
    text: str


def modes(idata: xr.DataTree) -> pd.DataFrame:
    """Table of the modes found by `fit` or `sample`.

    Parameters
    ----------
    idata : xarray.DataTree
        Result of `fit` or `sample`.

    Returns
    -------
    pandas.DataFrame
        One row per mode in descending order of weight:

        - ``weight``: Laplace's approximation; missing for modes that the search did not find.
        - ``log_posterior``: in nats, for the unconstrained variables and standardised responses; only differences
          between modes are meaningful.
        - ``starts``: number of starting points that converged to it.
        - ``draws``: share of the posterior draws nearest to this mode. `diagnostics` reports modes with weight above
          0.01 that no chain reached.
        - ``chains``: chains with most of their draws there, by number; with separated modes those of ``within_mode``.
        - ``separated_mode``, ``separated_weight``, ``separated_weight_error``: with separated modes, the
          one in whose cell this mode lies, its weight by bridge sampling, and the weight's Monte Carlo error.
        - ``kind``: differences from the first mode by kind, each with its largest change. *labels* is a permutation of
          the regimes that brings the mode close to the first; further kinds describe the remaining differences:
          *persistence* (transitions), *lag* (kernels, with mean lags in periods), *scale*, *effect*, *other*.
        - ``differs``: parameters with the largest distance from the first mode, without a permutation.

    Raises
    ------
    FitError
        If the tree has no catalogue of modes.

    Notes
    -----
    Distances are Euclidean over the free variables, each entry in posterior standard deviations within chains, which do
    not increase if chains are in different modes. Changes of less than one standard deviation are not reported. In a
    model of your own, permutations apply to the dimensions named regime, origin and destination, and the kind of a
    variable follows from its name ("sigma" is a scale, "transition" is persistence) or those dimensions.
    """
    require_fit("modes", idata)
    if "modes" not in idata.children:
        raise FitError(
            "the modes of a fit",
            "the fit holds a catalogue",
            f"groups {sorted(idata.children)}",
            "use regimelag.fit or regimelag.sample, which search for modes; as_fit does not",
        )
    catalogue, posterior = idata["modes"].to_dataset(), idata["posterior"].to_dataset()
    sd = within_chain_sd(posterior)
    table = catalogue[["weight", "log_posterior", "starts"]].to_dataframe()
    nearest = nearest_modes(catalogue, posterior)
    table["draws"] = [float((nearest == n).mean()) for n in range(len(table))]
    runs = idata[WITHIN_MODE].to_dataset() if WITHIN_MODE in idata.children else posterior
    most = np.array([np.bincount(chain).argmax() for chain in nearest_modes(catalogue, runs)])
    table["chains"] = [", ".join(str(name) for name in runs[nm.CHAIN].to_numpy()[most == n]) for n in range(len(table))]
    if WITHIN_MODE in idata.children:
        table[SEPARATED] = catalogue[SEPARATED].to_numpy()
        for name in (WEIGHT, WEIGHT_ERROR):
            table[f"separated_{name}"] = runs[name].to_numpy()[table[SEPARATED]]
    table["kind"] = [_kinds(idata, catalogue, sd, n) for n in range(len(table))]
    table["differs"] = [_differences(catalogue, sd, n) for n in range(len(table))]
    table.index.name = nm.MODE
    return ResultTable(table, mode_table)


def _moves(first: xr.Dataset, here: xr.Dataset, sd: xr.Dataset, known: Mapping[str, str]) -> Iterator[Move]:
    """Entries that differ by more than one posterior sd between the first mode and another."""
    for name in map(str, sd.data_vars):
        if name.endswith("_raw") or name not in here:
            continue
        before, after = first[name], here[name].transpose(*first[name].dims)
        distance = np.nan_to_num((abs(after - before) / sd[name]).transpose(*before.dims).to_numpy())
        for index in map(tuple, np.argwhere(distance > 1)):
            label = ", ".join(str(before[dim].to_numpy()[i]) for dim, i in zip(before.dims, index, strict=True))
            text = f"{name}[{label}]" if label else name
            moved = f"{text} {float(before.to_numpy()[index]):.2g} -> {float(after.to_numpy()[index]):.2g}"
            yield Move(float(distance[index]), known.get(name) or _kind(name, before.dims), moved)


def _known_kinds(idata: xr.DataTree) -> dict[str, str]:
    if "spec" not in idata.attrs:
        return {}
    spec = spec_of(idata)
    terms = model_terms(spec, len(spec.episodes.labels()))
    groups = {
        "lag": [term for lag in terms.lags for term in (*lag.kernel, *lag.moves)],
        "persistence": [*terms.transition, *terms.initial],
        "scale": [*terms.log_scale, *terms.shape, *terms.volatility, *terms.correlation],
        "effect": [*terms.effect, *(term for term in terms.location if term.name != nm.INTERCEPT)],
        "other": [term for term in terms.location if term.name == nm.INTERCEPT],
    }
    names = {kind: {name for term in held for name in (term.name, f"{term.name}_sd")} for kind, held in groups.items()}
    return {name: kind for kind, held in names.items() for name in held}


def _kind(name: str, dims: Sequence[object]) -> str:
    """Kind of a variable of another model, from its name and dimensions."""
    for kind, parts in HABITS.items():
        if any(part in name for part in parts):
            return kind
    if {nm.ORIGIN, nm.DESTINATION} & set(dims):
        return "persistence"
    return "lag" if nm.LAG in dims else "other"


def _differences(catalogue: xr.Dataset, sd: xr.Dataset, n: int) -> str:
    """Parameters with the largest distance between mode n and the first, in words."""
    moves = _moves(catalogue.isel(mode=0), catalogue.isel(mode=n), sd, {})
    return "; ".join(move.text for move in sorted(moves, reverse=True)[:MOST_DIFFERENCES])


def _kinds(idata: xr.DataTree, catalogue: xr.Dataset, sd: xr.Dataset, n: int) -> str:
    """Differences between mode n and the first by kind, after a permutation of labels."""
    first, here = catalogue.isel(mode=0), catalogue.isel(mode=n)
    said = []
    for prefix in _prefixes(idata):
        order = _relabelling(first, here, sd, prefix)
        if order is not None:
            labels = _labels(first, len(order), prefix)
            swaps = ", ".join(f"{labels[k]} as {labels[order[k]]}" for k in range(len(order)) if order[k] != k)
            said.append(f"labels ({swaps})")
            here = permuted(here, order, prefix)
    largest: dict[str, Move] = {}
    for move in sorted(_moves(first, here, sd, _known_kinds(idata)), reverse=True):
        largest.setdefault(move.kind, move)
    for kind in (*HABITS, "other"):
        if kind in largest:
            lags = _mean_lags(idata, catalogue, n) if kind == "lag" else ""
            said.append(f"{kind} ({lags or largest[kind].text})")
    return "; ".join(said)


def _prefixes(idata: xr.DataTree) -> list[str]:
    """First parts of the names of the regimes' dimensions: one for each of several processes, otherwise empty."""
    processes = spec_of(idata).processes if "spec" in idata.attrs else ()
    return list(dict.fromkeys(process.prefix for process in processes)) or [""]


def _labels(values: xr.Dataset, count: int, prefix: str) -> list[str]:
    dim = next(f"{prefix}{dim}" for dim in LABELLED if values.sizes.get(f"{prefix}{dim}") == count)
    return [str(label) for label in values[dim].to_numpy()]


def _relabelling(first: xr.Dataset, here: xr.Dataset, sd: xr.Dataset, prefix: str) -> tuple[int, ...] | None:
    """Permutation of regimes that brings a mode close to the first; None without one, or if they are close."""
    dims = {f"{prefix}{dim}" for dim in LABELLED}
    names = [name for name in permuted_names(first, prefix) if name in free_variables(first)]
    counts = {first.sizes[dim] for name in names for dim in first[name].dims if dim in dims}
    if len(counts) != 1 or not 2 <= (count := counts.pop()) <= MOST_REGIMES:  # noqa: PLR2004
        return None

    def distance(order: tuple[int, ...]) -> float:
        moved = permuted(here[names], order, prefix)
        squares = [float((((moved[name] - first[name]) / sd[name]) ** 2).sum()) for name in names]
        return float(np.sqrt(np.sum(squares)))

    as_is = tuple(range(count))
    found = {order: distance(order) for order in permutations(range(count))}
    best = min(found, key=lambda order: found[order])
    return best if best != as_is and found[as_is] > 1 and found[best] < CLOSE * found[as_is] else None


def _mean_lags(idata: xr.DataTree, catalogue: xr.Dataset, n: int) -> str:
    """Mean lags in periods at the first mode and mode n, of series whose mean lag differs; else empty."""
    # A point lag is marginalised, so a catalogue has none.
    spec = spec_of(idata) if "spec" in idata.attrs else None
    if spec is None or spec.point_signals:
        return ""
    parameters = catalogue.drop_vars([name for name in catalogue.data_vars if name in RESERVED])
    two = parameters.isel(mode=[0, n]).rename({nm.MODE: nm.DRAW}).expand_dims(nm.CHAIN)
    two = two.assign_coords({nm.CHAIN: [0], nm.DRAW: [0, 1]})
    tree = xr.DataTree.from_dict({"/posterior": two, "/constant_data": idata["constant_data"].to_dataset()})
    tree.attrs = dict(idata.attrs)
    unit = f" {period_name(spec.frequency)}"
    said = list(_changed_lags(lag_distribution(tree)["mean_lag"], unit)) if spec.lagged_signals else []
    said += (
        _changed_lags(effects_of_draws(tree)["control_mean_lag"], unit, "the control ") if spec.lagged_controls else []
    )
    return ", ".join(said)


def _changed_lags(mean_lag: xr.DataArray, unit: str, whose: str = "") -> Iterator[str]:
    """Each mean lag (chain, draw, ...) that differs between the first draw and the second, in words."""
    lags = mean_lag.isel({nm.CHAIN: 0}, drop=True).transpose(nm.DRAW, ...)
    for index in np.ndindex(lags.shape[1:]):
        label = ", ".join(str(lags[dim].to_numpy()[i]) for dim, i in zip(lags.dims[1:], index, strict=True))
        before, after = (f"{float(lags.to_numpy()[(k, *index)]):.1f}" for k in (0, 1))
        if before != after:
            yield f"mean lag of {whose}{label} {before} -> {after}{unit}"
