"""Extension of a fit's panel by a newer one, in the constants and episodes of the fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.checks import check_panel
from regimelag.panel.moderators import restandardize_standing
from regimelag.panel.own_past import restandardize_history
from regimelag.panel.rows import transform
from regimelag.panel.scenarios import levels_of
from regimelag.panel.slicing import day_of, natural
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

# Larger differences of standardised values are revisions; smaller ones are rounding.
REVISED = 1e-6


def restandardize_like(spec: ModelSpec, panel: xr.Dataset, old: xr.Dataset) -> xr.Dataset:
    """The panel's values, standardised with the constants and slopes of the old panel.

    An orthogonalised signal is NaN on rows where the other column's transform is not available.
    """
    other = panel.copy()
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        value, center, scale = nm.value_of(role), nm.center_of(role), nm.scale_of(role)
        values = natural(panel, role)
        if role == nm.SIGNAL:
            values = values + _beyond(spec, panel, old)
        other[value] = ((values - old[center]) / old[scale]).transpose(*panel[value].dims)
        other[center], other[scale] = old[center], old[scale]
    return restandardize_standing(restandardize_history(other, panel), panel)


def _beyond(spec: ModelSpec, panel: xr.Dataset, old: xr.Dataset) -> xr.DataArray:
    """Change of each signal from its own slope to the old one; NaN where it cannot be computed."""
    add = xr.zeros_like(panel[nm.SIGNAL_VALUE])
    for place, signal in enumerate(spec.signals):
        if not signal.beyond:
            continue
        leg = (nm.SIGNAL, signal.name, signal.beyond)
        level = np.asarray(pd.Series(levels_of(panel, leg)).ffill(), dtype=float)
        other = transform(level, signal.transform, signal.periods)
        add[:, place] = other * float(panel[nm.BEYOND_SLOPE][place] - old[nm.BEYOND_SLOPE][place])
    return add


def place_of_last(panel: xr.Dataset, old: xr.Dataset, asked: str) -> int:
    """Position in the panel of the old panel's last row.

    Raises
    ------
    PanelError
        If the panel does not contain it.
    """
    place = np.flatnonzero(panel[nm.TIME].to_numpy() == old[nm.TIME].to_numpy()[-1])
    if not len(place):
        last = day_of(old, -1)
        came = f"rows from {day_of(panel, 0)} to {day_of(panel, -1)}"
        cure = f'make it with make_panel(spec, frame, start="{day_of(old, 0)}") on data that reach to {last} or beyond'
        raise PanelError(asked, f"the panel holds the fit's last row, {last}", came, cure)
    return int(place[0])


def extend_panel(spec: ModelSpec, old: xr.Dataset, panel: xr.Dataset, asked: str) -> tuple[xr.Dataset, list[str]]:
    """The old panel, extended by the later rows of a newer panel, in the old constants.

    Parameters
    ----------
    spec : ModelSpec
        The model of both.
    old : xarray.Dataset
        The panel of a fit.
    panel : xarray.Dataset
        A newer one, which contains the last row of the old one and starts no earlier.
    asked : str
        First part of an error message: what the caller asked for.

    Returns
    -------
    xarray.Dataset
        Rows of the old window have the old values. Episodes that begin after the old window are assigned to its last
        one.
    list of str
        Sentences on revised values of the old window, and on episodes that the fit does not know.

    Raises
    ------
    PanelError
        If the newer panel does not fit the spec, has other rows in the old window, starts before it, ends before its
        last row, or starts too late for an orthogonalised signal.
    """
    check_panel(spec, panel)
    frequency = panel.attrs.get("frequency", spec.frequency)
    if frequency != spec.frequency:
        cure = "make it with make_panel(spec, frame, ...) and the fit's spec, regimelag.spec_of(idata)"
        raise PanelError(asked, f"rows have frequency {spec.frequency!r}", f"{frequency!r}", cure)
    last = place_of_last(panel, old, asked)
    then, now = old[nm.TIME].to_numpy(), panel[nm.TIME].to_numpy()[: last + 1]
    first = int(then.searchsorted(now[0]))
    if now[0] < then[0] or not np.array_equal(then[first:], now):
        came = (
            f"{len(now)} rows from {day_of(panel, 0)} to {day_of(panel, last)}, where the fit has {len(then[first:])}"
        )
        rule = f"within the fit's window, {day_of(old, 0)} to {day_of(old, -1)}, the panel has the fit's rows"
        raise PanelError(asked, rule, came, f'make it with make_panel(spec, frame, start="{day_of(old, 0)}")')
    newer = restandardize_like(spec, panel, old)
    said = _revisions(old, newer, first, last)
    joined = old.drop_dims([nm.TIME, nm.SIGNAL_TIME])
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        value, time = nm.value_of(role), spec.time_of(role)
        begun = last + 1 + spec.history_of(role)
        after = newer[value].isel({time: slice(begun, None)})
        if role == nm.SIGNAL and np.isnan(after.to_numpy()).any():
            cure = f'make it with make_panel(spec, frame, start="{day_of(old, 0)}")'
            raise PanelError(asked, "the panel reaches back as far as signals beyond another column need", "less", cure)
        joined[value] = xr.concat([old[value], after], time, join="exact", coords="minimal", compat="override")
    index, unknown = _episodes_after(old, panel, last)
    joined[nm.EPISODE_INDEX] = (nm.TIME, np.concatenate([old[nm.EPISODE_INDEX].to_numpy(), index]))
    if unknown:
        known = str(old[nm.EPISODE].to_numpy()[-1])
        said.append(f"The fit does not know episode {', '.join(unknown)}: its rows are taken for rows of {known!r}.")
    return joined, said


def _episodes_after(old: xr.Dataset, panel: xr.Dataset, last: int) -> tuple[np.ndarray, list[str]]:
    """Index in the old episodes of each row after the old window, and labels of unknown episodes."""
    known = [str(label) for label in old[nm.EPISODE].to_numpy()]
    labels = [str(label) for label in panel[nm.EPISODE].to_numpy()]
    used = [labels[place] for place in panel[nm.EPISODE_INDEX].to_numpy()[last + 1 :]]
    places = np.array([known.index(label) if label in known else len(known) - 1 for label in used], dtype=np.int64)
    return places, sorted(set(used) - set(known))


def _revisions(old: xr.Dataset, newer: xr.Dataset, first: int, last: int) -> list[str]:
    """Series with revised values in the old window, in words; both panels have the old constants."""
    said = []
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        before = old[nm.value_of(role)].to_numpy()[-(old.sizes[nm.TIME] - first) :]
        now = newer[nm.value_of(role)].to_numpy()
        history = len(now) - newer.sizes[nm.TIME]
        after = now[history : history + last + 1]
        same = (np.abs(after - before) <= REVISED) | (np.isnan(after) & np.isnan(before))
        for place, name in enumerate(old[role].to_numpy()):
            rows = np.flatnonzero(~same[:, place])
            if len(rows):
                since = day_of(old, first + int(rows[0]))
                said.append(
                    f"{role.capitalize()} {name} was revised on {len(rows)} rows of the fit's window, from {since} on: "
                    "there the fit's own values are used."
                )
    return said
