"""Own lags of the responses.

The panel of a model with autoregression has `response_history` (own_lag, response): the standardised responses before
the window, the most recent first. Lagged values are always computed from it and the responses, so they stay consistent
when responses change.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.panel.rows import FloatArray
from regimelag.spec import names as nm


def own_lags(panel: xr.Dataset) -> int:
    """Number of own lags of the panel."""
    return panel.sizes[nm.OWN_LAG] if nm.RESPONSE_HISTORY in panel.data_vars else 0


def responses_with_history(panel: xr.Dataset) -> FloatArray:
    """Standardised responses (own lags + time, response), history first."""
    y = panel[nm.RESPONSE_VALUE].to_numpy()
    if not own_lags(panel):
        return y
    return np.concatenate([panel[nm.RESPONSE_HISTORY].to_numpy()[::-1], y])


def own_past(panel: xr.Dataset) -> FloatArray:
    """Own lags of the standardised responses (time, response, own lag); NaN where missing."""
    lags, rows, y = own_lags(panel), panel.sizes[nm.TIME], responses_with_history(panel)
    lagged = [y[lags - lag : lags - lag + rows] for lag in range(1, lags + 1)]
    return np.stack(lagged, axis=-1) if lagged else np.zeros((*y.shape, 0))


def used_responses(panel: xr.Dataset) -> FloatArray:
    """Standardised responses (time, response); NaN where the response or one of its own lags is missing."""
    y = panel[nm.RESPONSE_VALUE].to_numpy()
    return np.where(np.isnan(own_past(panel)).any(axis=-1), np.nan, y) if own_lags(panel) else y


def history_before(panel: xr.Dataset, row: int) -> FloatArray:
    """Own lags (own lag, response) of a row of the window, the most recent first."""
    lags = own_lags(panel)
    return responses_with_history(panel)[row : row + lags][::-1]


def with_history(panel: xr.Dataset, history: FloatArray) -> xr.Dataset:
    """The panel with other responses (own lag, response) before its window; unchanged without own lags."""
    if not own_lags(panel):
        return panel
    return panel.assign({nm.RESPONSE_HISTORY: (panel[nm.RESPONSE_HISTORY].dims, history)})


def restandardize_history(panel: xr.Dataset, old: xr.Dataset) -> xr.Dataset:
    """The panel with the old panel's history, converted to its own constants."""
    if not own_lags(old):
        return panel
    (center, scale), (now, unit) = (
        [held[of(nm.RESPONSE)].to_numpy() for of in (nm.center_of, nm.scale_of)] for held in (old, panel)
    )
    return with_history(panel, (old[nm.RESPONSE_HISTORY].to_numpy() * scale + center - now) / unit)


def add_history(panel: xr.Dataset, values: FloatArray) -> xr.Dataset:
    """Add standardised responses (own lag, response) before the window."""
    about = {"long_name": "standardised response before the window, by rows before its first", "units": "1"}
    panel[nm.RESPONSE_HISTORY] = ((nm.OWN_LAG, nm.RESPONSE), values, about)
    return panel.assign_coords({nm.OWN_LAG: np.arange(1, len(values) + 1)})
