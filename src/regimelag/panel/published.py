"""Drivers as published before each row."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.panel.moderators import standing_drivers
from regimelag.panel.rows import FloatArray
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.terms import control_drivers


def published_drivers(spec: ModelSpec, panel: xr.Dataset) -> FloatArray:
    """Standardised drivers with a term in the location (time, driver), as published by the end of the row before.

    They are those that move the step into the row. On the first row they are those of the panel's `driver_history`; in
    a panel without one, such as that of another spec, they are zero there, their mean.
    """
    places = [spec.drivers.index(driver) for driver in control_drivers(spec)]
    if nm.DRIVER_HISTORY in panel.data_vars:
        return standing_drivers(panel)[:, places]
    values = panel[nm.DRIVER_VALUE].to_numpy()[:, places]
    return np.concatenate([np.zeros((1, len(places))), values[:-1]])
