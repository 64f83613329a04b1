"""The responses' own past: what stands before the window, and the rows whose density it enters.

A panel of a model with autoregression holds `response_history` (own_lag, response), the standardised responses of the
rows before the window, the nearest first. Lagged values are always taken from it and from the responses themselves, so
that what changes the responses changes their past.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.panel.rows import FloatArray
from regimelag.spec import names as nm


def own_lags(panel: xr.Dataset) -> int:
    """Number of own lags that the panel is made for."""
    return panel.sizes[nm.OWN_LAG] if nm.RESPONSE_HISTORY in panel.data_vars else 0


def responses_with_history(panel: xr.Dataset) -> FloatArray:
    """Standardised responses (own lags + time, response), the rows before the window first."""
    y = panel[nm.RESPONSE_VALUE].to_numpy()
    if not own_lags(panel):
        return y
    return np.concatenate([panel[nm.RESPONSE_HISTORY].to_numpy()[::-1], y])


def own_past(panel: xr.Dataset) -> FloatArray:
    """Standardised responses of the rows before each row (time, response, own lag); NaN where one is missing."""
    lags, rows, y = own_lags(panel), panel.sizes[nm.TIME], responses_with_history(panel)
    lagged = [y[lags - lag : lags - lag + rows] for lag in range(1, lags + 1)]
    return np.stack(lagged, axis=-1) if lagged else np.zeros((*y.shape, 0))


def used_responses(panel: xr.Dataset) -> FloatArray:
    """Standardised responses (time, response) that have a density: NaN where one or any of its own past is missing."""
    y = panel[nm.RESPONSE_VALUE].to_numpy()
    return np.where(np.isnan(own_past(panel)).any(axis=-1), np.nan, y) if own_lags(panel) else y


def history_before(panel: xr.Dataset, row: int) -> FloatArray:
    """Standardised responses of the rows before a row of the window (own lag, response), the nearest first."""
    lags = own_lags(panel)
    return responses_with_history(panel)[row : row + lags][::-1]


def with_history(panel: xr.Dataset, history: FloatArray) -> xr.Dataset:
    """The panel with other responses (own lag, response) before its window; as it is without own lags."""
    if not own_lags(panel):
        return panel
    return panel.assign({nm.RESPONSE_HISTORY: (panel[nm.RESPONSE_HISTORY].dims, history)})


def restandardize_history(panel: xr.Dataset, old: xr.Dataset) -> xr.Dataset:
    """The panel, whose constants have changed from those of the old one, with the old one's history in its own."""
    if not own_lags(old):
        return panel
    (center, scale), (now, unit) = (
        [held[of(nm.RESPONSE)].to_numpy() for of in (nm.center_of, nm.scale_of)] for held in (old, panel)
    )
    return with_history(panel, (old[nm.RESPONSE_HISTORY].to_numpy() * scale + center - now) / unit)


def add_history(panel: xr.Dataset, values: FloatArray) -> xr.Dataset:
    """Add standardised responses (own lag, response) of the rows before the window."""
    about = {"long_name": "standardised response before the window, by rows before its first", "units": "1"}
    panel[nm.RESPONSE_HISTORY] = ((nm.OWN_LAG, nm.RESPONSE), values, about)
    return panel.assign_coords({nm.OWN_LAG: np.arange(1, len(values) + 1)})
