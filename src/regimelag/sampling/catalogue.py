"""The catalogue of modes: kept in a fit, and read out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from regimelag import names as nm
from regimelag.errors import FitError
from regimelag.model import labelled
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.modes import Mode, mode_weights
from regimelag.sampling.tree import spec_of

# What the catalogue holds besides the model's variables, and names that its dimensions have.
RESERVED = frozenset({"weight", "log_posterior", "starts", nm.MODE, nm.CHAIN, nm.DRAW})


def catalogue_of(compiled: CompiledModel, modes: list[Mode]) -> xr.Dataset:
    """The modes as a dataset: weight, height, starts, and each variable's value there.

    Free variables and deterministics are told apart by their attribute ``role``.
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


def modes(idata: xr.DataTree) -> pd.DataFrame:
    """Read out the catalogue of modes.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit made with `fit`.

    Returns
    -------
    pandas.DataFrame
        One row a mode, the heaviest first: ``weight`` (Laplace's approximation; modes the search did not find have
        none), ``log_posterior`` (nats, on the sampler's scale), ``starts`` (how many starting points ended there), and
        ``differs``, the parameters furthest from the first mode's, in posterior standard deviations.

    Raises
    ------
    FitError
        If the fit holds no catalogue.
    """
    spec_of(idata)
    if "modes" not in idata.children:
        raise FitError(
            "the modes of a fit",
            "the fit holds a catalogue",
            f"groups {sorted(idata.children)}",
            "fit with regimelag.fit, which searches for modes; as_fit does not",
        )
    catalogue = idata["modes"].to_dataset()
    table = catalogue[["weight", "log_posterior", "starts"]].to_dataframe()
    sd = idata["posterior"].to_dataset().std((nm.CHAIN, nm.DRAW))
    table["differs"] = [_differences(catalogue, sd, n) for n in range(len(table))]
    table.index.name = nm.MODE
    return table


def _differences(catalogue: xr.Dataset, sd: xr.Dataset, n: int, most: int = 4) -> str:
    """The parameters in which mode n is furthest from the first, in words."""
    found: list[tuple[float, str]] = []
    for name in sd.data_vars:
        if str(name).endswith("_raw") or name not in catalogue:
            continue
        here, first = catalogue[name].isel(mode=n), catalogue[name].isel(mode=0)
        distance = (abs(here - first) / sd[name]).to_numpy()
        for index in np.ndindex(distance.shape):
            label = ", ".join(str(here[dim].to_numpy()[i]) for dim, i in zip(here.dims, index, strict=True))
            text = f"{name}[{label}]" if label else str(name)
            moved = f"{text} {float(first.to_numpy()[index]):.2g} -> {float(here.to_numpy()[index]):.2g}"
            found.append((float(distance[index]), moved))
    far = [text for distance, text in sorted(found, reverse=True)[:most] if distance > 1]
    return "; ".join(far)
