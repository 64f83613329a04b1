"""Slices of a panel, and conversion of its values to other units and constants."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.moderators import restandardize_standing, with_standing_drivers
from regimelag.panel.orthogonalize import is_constant
from regimelag.panel.own_past import history_before, restandardize_history, used_responses, with_history
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec


def natural(panel: xr.Dataset, role: str) -> xr.DataArray:
    """Values of a role's series in their own units, with the same dimensions."""
    values = panel[nm.value_of(role)]
    return in_units(panel, role, values).transpose(*values.dims)


def in_units[T: (xr.DataArray, np.ndarray)](panel: xr.Dataset, role: str, values: T) -> T:
    """Convert standardised values of a role's series to their own units; the last axis is the series."""
    center, scale = (panel[of(role)] for of in (nm.center_of, nm.scale_of))
    if isinstance(values, xr.DataArray):
        return values * scale + center
    return values * scale.to_numpy() + center.to_numpy()


def effect_scale(constants: xr.Dataset, role: str) -> xr.DataArray:
    """Factor of a standardised effect (response, series) to response units per unit of a role's series."""
    return constants[nm.scale_of(nm.RESPONSE)] / constants[nm.scale_of(role)]


def in_natural_units(panel: xr.Dataset, terms: xr.DataArray) -> xr.DataArray:
    """Convert log densities (..., time) of standardised responses to those in the responses' own units.

    Each density is divided by the scales of the responses observed on the row.
    """
    seen = panel[nm.RESPONSE_VALUE].copy(data=np.isfinite(used_responses(panel)))
    log_scale = (seen * np.log(panel[nm.scale_of(nm.RESPONSE)])).sum(nm.RESPONSE)
    return (terms - log_scale.sel({nm.TIME: terms[nm.TIME]}).reset_coords(drop=True)).transpose(*terms.dims)


def day_of(panel: xr.Dataset, row: int) -> str:
    """Date of a row, as text."""
    return str(pd.Timestamp(panel[nm.TIME].to_numpy()[row]).date())


def window(panel: xr.Dataset, first: int, stop: int) -> xr.Dataset:
    """Rows first to stop of a panel, with their history and remaining episodes."""
    history = panel.sizes[nm.SIGNAL_TIME] - panel.sizes[nm.TIME]
    panel = with_standing_drivers(with_history(panel, history_before(panel, first)), first)
    cut = panel.isel({nm.TIME: slice(first, stop), nm.SIGNAL_TIME: slice(first, history + stop)})
    used, index = np.unique(cut[nm.EPISODE_INDEX].to_numpy(), return_inverse=True)
    return cut.isel({nm.EPISODE: used}).assign({nm.EPISODE_INDEX: (nm.TIME, index.astype(np.int64))})


def last_rows(panel: xr.Dataset, rows: int) -> xr.Dataset:
    """The last rows of a panel, with their history and remaining episodes."""
    have = panel.sizes[nm.TIME]
    if not 0 < rows <= have:
        rule = f"a panel of {have} rows is cut to at least one and at most all of them"
        raise PanelError("the last rows of a panel", rule, f"{rows} rows", "ask for fewer, or start the panel earlier")
    return window(panel, have - rows, have)


def keep_first_episodes(panel: xr.Dataset, episodes: int) -> xr.Dataset:
    """Keep the first `episodes` episodes; assign later rows to the last one kept."""
    panel = panel.isel({nm.EPISODE: slice(episodes)})
    return panel.assign({nm.EPISODE_INDEX: panel[nm.EPISODE_INDEX].clip(max=episodes - 1)})


def restandardize_on(spec: ModelSpec, panel: xr.Dataset, stop: int) -> xr.Dataset:
    """The whole panel, standardised with constants of its first `stop` rows.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.
    stop : int
        Number of rows to compute the constants from.

    Returns
    -------
    xarray.Dataset
        The same rows and the same values in their own units; centres and scales are those of `make_panel` with a window
        that ends before row `stop`.

    Raises
    ------
    PanelError
        If a signal is orthogonalised, since the slope depends on the whole window and the panel lacks the other
        column's first changes; or if a series is constant on these rows.
    """
    asked = f"a panel that learns from its first {stop} rows"
    beyond = [signal.name for signal in spec.signals if signal.beyond]
    if beyond:
        rule = "what was learned on the whole window can be learned anew on a part of it"
        came = f"{', '.join(beyond)} beyond another column, whose first moves the panel does not hold"
        raise PanelError(asked, rule, came, "call make_panel with another end, and fit there")
    other = panel.copy()
    history = panel.sizes[nm.SIGNAL_TIME] - panel.sizes[nm.TIME]
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        center, scale, held = (name(role) for name in (nm.center_of, nm.scale_of, nm.value_of))
        values, time = natural(panel, role), str(panel[held].dims[0])
        first = history if time == nm.SIGNAL_TIME else 0
        learned = values.isel({time: slice(first, first + stop)})
        columns = zip(panel[role].to_numpy(), learned.to_numpy().T, strict=True)
        still = [str(name) for name, own in columns if np.isfinite(own).sum() <= 1 or is_constant(own)]
        if still:
            came = f"{role} {', '.join(still)} does not"
            raise PanelError(asked, "every series varies on the rows learned from", came, "learn from more rows")
        spread = learned.std(time, ddof=1)
        other[held] = (values - learned.mean(time)) / spread
        other[center] = learned.mean(time).assign_attrs(panel[center].attrs)
        other[scale] = spread.assign_attrs(panel[scale].attrs)
        other[held].attrs = panel[held].attrs
    other.attrs["end"] = day_of(panel, stop - 1)
    return restandardize_standing(restandardize_history(other, panel), panel)
