"""Moderators and indicators of a panel, from its drivers as published by the period before.

The panel of a model with moderators or indicators, or with drivers of a process that carries the effect, has
`driver_history` (driver): the standardised drivers of the row before the window. Moderators are always computed from it
and the drivers, so they stay consistent when a panel is cut, extended or standardised anew. Thresholds of indicators
are in the drivers' own units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.rows import FloatArray
from regimelag.spec import names as nm
from regimelag.spec.indicators import Indicator
from regimelag.spec.model_spec import ModelSpec

# Standardised values of a driver and a threshold that differ by less are equal up to rounding.
ROUNDING = 1e-9


def standing_drivers(panel: xr.Dataset) -> FloatArray:
    """Standardised drivers of the row before each row (time, driver)."""
    before, values = panel[nm.DRIVER_HISTORY].to_numpy(), panel[nm.DRIVER_VALUE].to_numpy()
    return np.concatenate([before[None], values[:-1]])


def indicator_values(spec: ModelSpec, panel: xr.Dataset) -> FloatArray:
    """Value of each indicator in each period, 0 or 1 (time, indicator)."""
    if not spec.indicators:
        return np.zeros((panel.sizes[nm.TIME], 0))
    standing = standing_drivers(panel)
    return np.stack([_holds(spec, panel, one, standing) for one in spec.indicators], axis=1).astype(float)


def _holds(spec: ModelSpec, panel: xr.Dataset, indicator: Indicator, standing: FloatArray) -> np.ndarray:
    center, scale = (panel[of(nm.DRIVER)].to_numpy() for of in (nm.center_of, nm.scale_of))
    names, holds = [driver.name for driver in spec.drivers], np.ones(len(standing), dtype=bool)
    for condition in indicator.all_of:
        d = names.index(condition.driver)
        if condition.below is not None:
            holds &= standing[:, d] < (condition.below - center[d]) / scale[d] - ROUNDING
        if condition.above is not None:
            holds &= standing[:, d] > (condition.above - center[d]) / scale[d] + ROUNDING
    return holds


def moderator_values(spec: ModelSpec, panel: xr.Dataset) -> FloatArray:
    """Value of each moderator in each period (time, moderator): standardised drivers, and indicators as 0 or 1."""
    if not spec.moderators:
        return np.zeros((panel.sizes[nm.TIME], 0))
    states, standing = indicator_values(spec, panel), standing_drivers(panel)
    columns = {one.name: states[:, n] for n, one in enumerate(spec.indicators)}
    columns |= {one.name: standing[:, n] for n, one in enumerate(spec.drivers)}
    return np.stack([columns[name] for name in spec.moderators], axis=1)


def moderators_at(spec: ModelSpec, panel: xr.Dataset, values: FloatArray) -> FloatArray:
    """Moderators (..., moderator) in the units of the model, from values in their own units."""
    drivers = {one.name: n for n, one in enumerate(spec.drivers)}
    center, scale = (panel[of(nm.DRIVER)].to_numpy() for of in (nm.center_of, nm.scale_of))
    found = np.array(values, dtype=float)
    for n, name in enumerate(spec.moderators):
        if name in drivers:
            found[..., n] = (found[..., n] - center[drivers[name]]) / scale[drivers[name]]
    return found


def with_standing_drivers(panel: xr.Dataset, row: int) -> xr.Dataset:
    """The panel with the drivers of the row before `row` as its history; unchanged without such a history."""
    if nm.DRIVER_HISTORY not in panel.data_vars:
        return panel
    return panel.assign({nm.DRIVER_HISTORY: (panel[nm.DRIVER_HISTORY].dims, standing_drivers(panel)[row])})


def restandardize_standing(panel: xr.Dataset, old: xr.Dataset) -> xr.Dataset:
    """The panel with the old panel's history of drivers, converted to its own constants."""
    if nm.DRIVER_HISTORY not in old.data_vars:
        return panel
    (center, scale), (now, unit) = (
        [held[of(nm.DRIVER)].to_numpy() for of in (nm.center_of, nm.scale_of)] for held in (old, panel)
    )
    values = (old[nm.DRIVER_HISTORY].to_numpy() * scale + center - now) / unit
    return panel.assign({nm.DRIVER_HISTORY: (old[nm.DRIVER_HISTORY].dims, values)})


def add_standing_drivers(panel: xr.Dataset, values: Sequence[float]) -> xr.Dataset:
    """Add standardised drivers (driver) of the row before the window."""
    about = {"long_name": "standardised driver on the row before the window", "units": "1"}
    return panel.assign({nm.DRIVER_HISTORY: (nm.DRIVER, np.array(values, dtype=float), about)})


def check_indicators_vary(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    """Refuse an indicator that is 0, or 1, in every period of the window."""
    for indicator, values in zip(spec.indicators, indicator_values(spec, panel).T, strict=True):
        if np.ptp(values) > 0:
            continue
        first, last = (pd.Timestamp(panel[nm.TIME].to_numpy()[row]).date() for row in (0, -1))
        rule = "an indicator is 1 in some periods of the window and 0 in others"
        came = f"indicator {indicator.name!r} is {values[0]:g} in every period, {first} to {last}"
        cure = f"widen the window, change the bounds in all_of, or drop the indicator {indicator.name!r} from the spec"
        raise PanelError(asked, rule, came, cure)
