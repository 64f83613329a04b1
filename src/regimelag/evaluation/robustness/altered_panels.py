"""Panels on which a claim about a lag must fail, or must hold: each is made from a panel and stays one."""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

from regimelag.panel.moderators import add_standing_drivers
from regimelag.panel.own_past import own_lags, with_history
from regimelag.panel.slicing import natural, window
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

SAME_ROW = "{}, same row"


def split_same_row_and_lag(spec: ModelSpec, panel: xr.Dataset, signal: str) -> tuple[ModelSpec, xr.Dataset]:
    """The same model with the signal's same-row and lagged parts as two signals, so that one can change alone.

    The lagged part keeps the signal's name. Parameters, their priors and the likelihood stay what they were.
    """
    place = [each.name for each in spec.signals].index(signal)
    one = spec.signals[place]
    bare = panel.copy()
    # A panel made by hand: its columns are no longer those of a spec.
    bare.attrs = {"frequency": panel.attrs.get("frequency", spec.frequency)}
    if not one.contemporaneous:
        return spec, bare
    now = dataclasses.replace(one.without_lag(), name=SAME_ROW.format(signal))
    lagged = dataclasses.replace(one, contemporaneous=False)
    signals = (*spec.signals[:place], now, lagged, *spec.signals[place + 1 :])
    order = [*range(place + 1), *range(place, len(spec.signals))]
    names = np.array([each.name for each in signals], dtype=str)
    # The same-row part has the priors of the signal, under its new name.
    priors = {name: prior.relabelled(nm.SIGNAL, signal, now.name) for name, prior in spec.priors.items()}
    return spec.changed(signals=signals, priors=priors), bare.isel({nm.SIGNAL: order}).assign_coords({nm.SIGNAL: names})


def without_rows(panel: xr.Dataset, rows: np.ndarray) -> xr.Dataset:
    """The panel with the responses of some rows missing: they add nothing, and the chain runs through.

    Parameters
    ----------
    panel : xarray.Dataset
        A panel.
    rows : bool array (time) or (time, response)
        Which to leave out.
    """
    out = rows if rows.ndim > 1 else rows[:, None]
    left = panel.copy()
    left[nm.RESPONSE_VALUE] = panel[nm.RESPONSE_VALUE].where(~out)
    return left


def largest_rows(panel: xr.Dataset, count: int) -> np.ndarray:
    """The rows (time, response) on which the response itself, its mean added back, is largest in size."""
    size = np.nan_to_num(np.abs(natural(panel, nm.RESPONSE).to_numpy()), nan=-1.0)
    chosen = np.zeros(size.shape, dtype=bool)
    np.put_along_axis(chosen, np.argsort(-size, axis=0, kind="stable")[:count], True, axis=0)
    return chosen


def reversed_time(panel: xr.Dataset) -> xr.Dataset:
    """The panel backwards, so that a kernel over a signal's last L rows weighs its next L.

    The window's last L rows have no such L rows within the window and become the history. The driver of the step
    between two rows stays with that step. The regimes then form the chain read backwards: with two regimes and no
    drivers it has the same distribution; drivers move the regime a step leads to, which is now the earlier one. Dates
    stay ascending and are those of the rows by place alone, so a panel with several episodes fits its spec in all but
    dates.
    """
    rows = panel.sizes[nm.TIME]
    kept = 2 * rows - panel.sizes[nm.SIGNAL_TIME]
    begun = window(panel, 0, kept)
    # Backwards the past of the first row is what came after the last one kept.
    after = panel[nm.RESPONSE_VALUE].to_numpy()[kept : kept + own_lags(panel)]
    missing = np.full((own_lags(panel) - len(after), panel.sizes[nm.RESPONSE]), np.nan)
    begun = with_history(begun, np.concatenate([after, missing]))
    back = begun.isel({nm.TIME: slice(None, None, -1)})
    # Row q drives the step from q to q + 1, which is the step into row kept - 2 - q as it was.
    driver = np.roll(back[nm.DRIVER_VALUE].to_numpy(), -1, axis=0)
    back[nm.DRIVER_VALUE] = (back[nm.DRIVER_VALUE].dims, driver)
    if nm.DRIVER_HISTORY in panel.data_vars:
        # The first row backwards is the last one kept: its own driver drove the step out of it.
        back = add_standing_drivers(back, begun[nm.DRIVER_VALUE].to_numpy()[-1])
    for name in (nm.SIGNAL_VALUE, nm.CONTROL_VALUE):
        if panel[name].dims[0] == nm.SIGNAL_TIME:
            back[name] = (panel[name].dims, panel[name].to_numpy()[-rows:][::-1])
    dates = panel[nm.TIME].to_numpy()
    return back.assign_coords({nm.TIME: dates[rows - kept :], nm.SIGNAL_TIME: dates})
