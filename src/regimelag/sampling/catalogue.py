"""The catalogue of modes, as a fit keeps it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.model import labelled
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.modes import Mode, mode_weights

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


def free_variables(catalogue: xr.Dataset) -> list[str]:
    """Names of the free variables in a catalogue: without deterministics, and without its own columns."""
    names = [str(name) for name, values in catalogue.data_vars.items() if values.attrs.get("role") != "deterministic"]
    return [name for name in names if name not in RESERVED]
