"""Every series of a spec on the panel's rows, and from which row on they can all be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from regimelag import names as nm
from regimelag.data.frames import some
from regimelag.data.rows import DateArray, FloatArray, as_of, last_inside, transform
from regimelag.errors import PanelError
from regimelag.spec import ModelSpec, Series

NO_DELAY = "0D"


@dataclass(frozen=True, eq=False)
class Track:
    """One series on the rows, from the first period of the data to the end of the window.

    Parameters
    ----------
    role : str
        response, signal, driver or control.
    series : Series
        Its part of the spec.
    level : array of float (row)
        The column on the rows, natural units; NaN where no observation may stand.
    value : array of float (row)
        The transformed level.
    date : array of datetime64 (row)
        Date of the observation that stands on the row.
    rule : str
        Which observation may stand on a row, for errors.
    """

    role: str
    series: Series
    level: FloatArray
    value: FloatArray
    date: DateArray
    rule: str

    @property
    def label(self) -> str:
        """Role, name and column, for errors and notes."""
        return f"{self.role} {self.series.name!r} (column {self.series.column!r})"

    @property
    def first_value(self) -> int:
        """First row with a value; past the last row if there is none."""
        present = np.flatnonzero(~np.isnan(self.value))
        return int(present[0]) if len(present) else len(self.value)

    def ready(self, history: int) -> int:
        """First row of a window that this series can serve: a signal needs `history` rows before it."""
        return self.first_value + (history if self.role == nm.SIGNAL else 0)


def parts(spec: ModelSpec) -> dict[str, tuple[Series, ...]]:
    """The spec's series by role."""
    return {nm.RESPONSE: spec.responses, nm.SIGNAL: spec.signals, nm.DRIVER: spec.drivers, nm.CONTROL: spec.controls}


def episode_rows(spec: ModelSpec, rows: pd.DatetimeIndex) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Which episode each row belongs to: the last one that has started by the row's date.

    Returns
    -------
    index : array of int (row)
        Place in `labels`.
    labels : tuple of str (episode)
        Episodes with at least one row, in order.
    """
    starts = pd.DatetimeIndex(spec.episodes.starts).as_unit("ns")
    kept, index = np.unique(starts.searchsorted(rows, side="right"), return_inverse=True)
    labels = spec.episodes.labels()
    return index.astype(np.int64), tuple(labels[place] for place in kept)


def lay_tracks(spec: ModelSpec, source: pd.DataFrame, rows: pd.DatetimeIndex, asked: str) -> list[Track]:
    """Put every series of the spec on the rows and transform it there.

    Drivers, and other series with a delay, hold what was published by the row's date; the rest hold the last
    observation inside the row's period. Observations dated after the last row are not looked at.

    Raises
    ------
    PanelError
        If a log return is asked of a value that is not positive.
    """
    tracks = []
    for role, members in parts(spec).items():
        for series in members:
            published = role == nm.DRIVER or series.delay != NO_DELAY
            column = source[series.column]
            on_rows = as_of(column, rows, series.delay) if published else last_inside(column, rows)
            value = transform(on_rows.level, series.transform, series.periods)
            tracks.append(Track(role, series, on_rows.level, value, on_rows.date, on_rows.rule))
            _check_positive(tracks[-1], asked)
    return tracks


def _check_positive(track: Track, asked: str) -> None:
    bad = (track.level <= 0) & (track.series.transform == "log_return")
    if bad.any():
        column = track.series.column
        came = f"{track.label} is {track.level[bad][0]:g} on {some(np.unique(track.date[bad]))}"
        cure = f'correct column {column!r} there, blank it if unknown, or write transform = "difference"'
        raise PanelError(asked, "a log return needs values above zero", came, cure)


def check_history(tracks: Sequence[Track], rows: pd.DatetimeIndex, first: int, history: int, asked: str) -> None:
    """Refuse a window that begins before its series do; the error says how many rows came and where it could begin."""
    late = [track for track in tracks if track.role != nm.RESPONSE and track.ready(history) > first]
    if not late:
        return
    came = "; ".join(_what_came(track, rows, first, history) for track in late)
    rule = f"every covariate has a value on the first row, and signals on the {history} rows before it, for the lags"
    possible = max(track.ready(history) for track in late)
    need = "give data from further back"
    cure = f"start on {rows[possible].date()} or later, or {need}" if possible < len(rows) else need
    raise PanelError(asked, rule, came, cure)


def _what_came(track: Track, rows: pd.DatetimeIndex, first: int, history: int) -> str:
    if track.first_value == len(rows):
        return f"{track.label} has no value up to {rows[-1].date()}"
    if track.role == nm.SIGNAL:
        count = max(first - track.first_value, 0)
        return f"{track.label} has {count} rows before {rows[first].date()}, {history} are needed"
    return f"{track.label} begins on {rows[track.first_value].date()}"


def check_present(track: Track, rows: pd.DatetimeIndex, used: slice, asked: str) -> None:
    """Refuse missing values of a covariate on the rows used; the error names the rows whose level is missing."""
    gaps = np.flatnonzero(np.isnan(track.value[used])) + used.start
    if not len(gaps):
        return
    span = 0 if track.series.transform == "level" else track.series.periods
    absent = np.flatnonzero(np.isnan(track.level))
    causes = np.intersect1d(np.union1d(gaps, gaps - span), absent)
    newest = pd.DatetimeIndex(track.date).max().date()
    came = f"{track.label} has none on the rows {some(rows[causes])}; its last observation is dated {newest}"
    cure = (
        f"fill column {track.series.column!r} there knowingly, choose start and end without those rows, "
        "or drop the series from the spec"
    )
    raise PanelError(asked, track.rule, came, cure)
