"""Alignment of the series of a spec with the rows of a panel, and the first row that all can serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.frame_checks import truncate_list
from regimelag.panel.rows import (
    LOGARITHMIC,
    TRADING,
    DateArray,
    FloatArray,
    OnRows,
    as_of,
    last_inside,
    rows_before,
    spans,
    start_of_change,
    transform,
)
from regimelag.panel.vintages import Releases, as_of_vintages
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.moderation import needs_standing_drivers
from regimelag.spec.series import NO_DELAY, Series, Signal


@dataclass(frozen=True, eq=False)
class AlignedSeries:
    """One series on the rows, from the first period of the data to the end of the window.

    Parameters
    ----------
    role : str
        response, signal, driver or control.
    series : Series
        Its part of the spec.
    legs : dict of str to OnRows
        Aligned columns that it is made from, in their own units, its main column first.
    value : array of float (row)
        Transformed values; NaN where any leg is missing.
    date : array of datetime64 (row)
        Date of the oldest observation used; NaT where any leg is missing.
    other : array of float (row), optional
        Transformed values of the column to which it is orthogonalised.
    slope : float
        Regression slope on that column, from `partial_out`; NaN before it and without such a column.
    """

    role: str
    series: Series
    legs: dict[str, OnRows]
    value: FloatArray
    date: DateArray
    other: FloatArray | None = None
    slope: float = np.nan

    @property
    def label(self) -> str:
        """Role, name and columns, for errors and notes."""
        return f"{self.owner} (column {describe_columns(self.series)})"

    @property
    def owner(self) -> str:
        """Role and name."""
        return f"{self.role} {self.series.name!r}"

    @property
    def span(self) -> int:
        """Number of earlier rows that a value depends on."""
        return max(self.spans, default=0)

    @property
    def spans(self) -> range:
        """Numbers of rows by which the earlier levels that a value depends on lie before its own."""
        return spans(self.series.transform, self.series.periods)

    @property
    def first_value(self) -> int:
        """First row with a value; the number of rows if there is none."""
        present = np.flatnonzero(~np.isnan(self.value))
        return int(present[0]) if len(present) else len(self.value)

    def ready(self, spec: ModelSpec) -> int:
        """First row of a window that this series can serve, given the history that its lags need."""
        return self.first_value + rows_before_window(spec, self.role)


def parts(spec: ModelSpec) -> dict[str, tuple[Series, ...]]:
    """The spec's series by role."""
    return {nm.RESPONSE: spec.responses, nm.SIGNAL: spec.signals, nm.DRIVER: spec.drivers, nm.CONTROL: spec.controls}


def rows_before_window(spec: ModelSpec, role: str) -> int:
    """Rows before the window on which the series of a role need a value."""
    return 1 if role == nm.DRIVER and needs_standing_drivers(spec) else spec.history_of(role)


def describe_columns(series: Series, *, spell: Callable[[str], str] = repr) -> str:
    """Columns of a series in words, quoted by default."""
    against = f" against {spell(series.against)}" if series.against else ""
    beyond = f" beyond {spell(series.beyond)}" if isinstance(series, Signal) and series.beyond else ""
    return f"{spell(series.column)}{against}{beyond}"


def is_as_of(role: str, series: Series) -> bool:
    """Whether rows have the last value published by their date, not the period's last observation."""
    return role == nm.DRIVER or series.delay != NO_DELAY


def trading_columns(spec: ModelSpec) -> tuple[str, ...]:
    """Columns required on a trading date: the first response's, and those of signals and controls without delay."""
    needed: list[Series] = [*spec.responses[:1]]
    for role in (nm.SIGNAL, nm.CONTROL):
        needed += [series for series in parts(spec)[role] if not is_as_of(role, series)]
    return tuple(dict.fromkeys(column for series in needed for column in series.columns))


def episode_rows(spec: ModelSpec, rows: pd.DatetimeIndex) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Episode of each row: the last one to start on or before the row's date.

    Returns
    -------
    index : array of int (row)
        Position in `labels`.
    labels : tuple of str (episode)
        Episodes with at least one row, in order.
    """
    starts = pd.DatetimeIndex(spec.episodes.starts).as_unit("ns")
    kept, index = np.unique(starts.searchsorted(rows, side="right"), return_inverse=True)
    labels = spec.episodes.labels()
    return index.astype(np.int64), tuple(labels[place] for place in kept)


def published_columns(spec: ModelSpec) -> tuple[str, ...]:
    """Columns of the series that are aligned by publication date."""
    members = [(role, series) for role, held in parts(spec).items() for series in held]
    return tuple(dict.fromkeys(c for role, series in members if is_as_of(role, series) for c in series.columns))


def close_columns(spec: ModelSpec) -> frozenset[str]:
    """Columns of the series that are aligned by their own close."""
    members = [(role, series) for role, held in parts(spec).items() for series in held]
    return frozenset(c for role, series in members if not is_as_of(role, series) for c in series.columns)


def align_series(
    spec: ModelSpec,
    source: pd.DataFrame,
    rows: pd.DatetimeIndex,
    *,
    releases: Mapping[str, Releases] | None = None,
) -> list[AlignedSeries]:
    """Align every series of the spec with the rows and transform it.

    A value that needs the logarithm of zero or below is missing. Drivers, and other series with a delay, have the last
    value published by the row's date; all others have the last observation inside the row's period. A column with
    releases, where it is aligned by publication date, has the value as known on the row's date. Observations after the
    last row are not used. Orthogonalisation of signals depends on the window and follows later; see `partial_out`.
    """
    # The first trading date has no predecessor, so its period begins on that date.
    inside = source[source.index >= rows[0]] if spec.frequency == TRADING else source
    return [
        _lay(role, series, source, rows, releases or {})
        if is_as_of(role, series)
        else _lay(role, series, inside, rows, {})
        for role, members in parts(spec).items()
        for series in members
    ]


def _lay(
    role: str,
    series: Series,
    source: pd.DataFrame,
    rows: pd.DatetimeIndex,
    releases: Mapping[str, Releases],
) -> AlignedSeries:
    backs = spans(series.transform, series.periods) or range(1, 2)
    legs: dict[str, OnRows] = {}
    earlier: list[dict[str, FloatArray]] = [{} for _ in backs]
    for name in series.columns:
        if name in releases:
            for place, back in enumerate(backs):
                legs[name], earlier[place][name] = as_of_vintages(releases[name], rows, back)
            continue
        published = is_as_of(role, series)
        legs[name] = as_of(source[name], rows, series.delay) if published else last_inside(source[name], rows)
        for place, back in enumerate(backs):
            earlier[place][name] = rows_before(legs[name].level, back)
    # np.minimum propagates NaT.
    date = reduce(np.minimum, [leg.date for leg in legs.values()])
    levels = {name: leg.level for name, leg in legs.items()}
    base = start_of_change([combined(series, before) for before in earlier])
    value = transform(combined(series, levels), series.transform, series.periods, base=base)
    track = AlignedSeries(role, series, legs, value, date)
    if not (isinstance(series, Signal) and series.beyond):
        return track
    base = start_of_change([before[series.beyond] for before in earlier])
    other = transform(levels[series.beyond], series.transform, series.periods, base=base)
    return replace(track, value=np.where(np.isnan(other), np.nan, value), other=other)


def combined(series: Series, levels: Mapping[str, FloatArray]) -> FloatArray:
    """Level of a series from its columns: one column, a ratio, or a difference."""
    own = levels[series.column]
    if not series.against:
        return own
    against = levels[series.against]
    if series.transform in LOGARITHMIC:
        # A price of zero has no logarithm; rows of the window are checked.
        return own / np.where(against > 0, against, np.nan)
    return own - against


def check_positive(track: AlignedSeries, used: slice, asked: str) -> None:
    """Refuse levels of zero or below on the rows used, if the transform takes logarithms."""
    for column, leg in track.legs.items() if track.series.transform in LOGARITHMIC else ():
        level, date = leg.level[used], leg.date[used]
        bad = level <= 0
        if bad.any():
            where = truncate_list(np.unique(date[bad]))
            which = f", whose column {column!r}" if len(track.legs) > 1 else ""
            came = f"{track.label}{which} is {level[bad][0]:g} on {where}"
            cure = f'correct column {column!r} there, blank it if unknown, or write transform = "difference"'
            kind = track.series.transform.replace("_", " ")
            raise PanelError(asked, f"a {kind} needs values above zero", came, cure)


def check_history(
    spec: ModelSpec, tracks: Sequence[AlignedSeries], rows: pd.DatetimeIndex, first: int, asked: str
) -> None:
    """Refuse a window that begins before its series; the error states the first possible start."""
    late = [track for track in tracks if track.role != nm.RESPONSE and track.ready(spec) > first]
    if not late:
        return
    came = "; ".join(_what_came(track, rows, first, rows_before_window(spec, track.role)) for track in late)
    lagged = "signals and controls" if spec.lagged_controls else "signals"
    rule = f"every covariate has a value on the first row, and {lagged} on the {spec.history} rows before it, "
    rule += "for the lags"
    rule += ", and drivers on the row before it, which it depends on" if needs_standing_drivers(spec) else ""
    possible = max(track.ready(spec) for track in late)
    need = "give data from further back"
    if possible >= len(rows):
        need = _too_seldom(late, rows) or need
    cure = f"start on {rows[possible].date()} or later, or {need}" if possible < len(rows) else need
    raise PanelError(asked, rule, came, cure)


def _too_seldom(late: Sequence[AlignedSeries], rows: pd.DatetimeIndex) -> str:
    """Cure if columns are observed less than once in a row, so that one-row changes are unknown."""
    day = np.timedelta64(1, "D")
    apart = np.median(np.diff(rows.to_numpy()) / day) if len(rows) > 1 else np.inf
    for track in late:
        for column, leg in track.legs.items():
            observed = np.unique(leg.date[~np.isnat(leg.date)])
            step = np.median(np.diff(observed) / day) if len(observed) > 1 else 0.0
            if step > apart:
                return f"write a longer frequency: column {column!r} is observed every {step:g} days, typically"
    return ""


def _what_came(track: AlignedSeries, rows: pd.DatetimeIndex, first: int, history: int) -> str:
    if track.first_value == len(rows):
        return f"{track.label} has no value up to {rows[-1].date()}"
    if track.role == nm.SIGNAL or history:
        count = max(first - track.first_value, 0)
        return f"{track.label} has {count} rows before {rows[first].date()}, {history} are needed"
    return f"{track.label} begins on {rows[track.first_value].date()}"


def check_present(track: AlignedSeries, rows: pd.DatetimeIndex, used: slice, asked: str) -> None:
    """Refuse missing values of a covariate on the rows used; the error names the rows."""
    gaps = np.flatnonzero(np.isnan(track.value[used])) + used.start
    if not len(gaps):
        return
    needed = np.unique([gaps, *(gaps - back for back in track.spans)])
    for column, leg in track.legs.items():
        causes = np.intersect1d(needed, np.flatnonzero(np.isnan(leg.level)))
        if not len(causes):
            continue
        newest = pd.DatetimeIndex(leg.date).max().date()
        what = "none" if len(track.legs) == 1 else f"no {column!r}"
        where = truncate_list(rows[causes])
        came = f"{track.label} has {what} on the rows {where}; its last observation is dated {newest}"
        raise PanelError(asked, leg.rule, came, _without_rows(column, rows, used, gaps))


def _without_rows(column: str, rows: pd.DatetimeIndex, used: slice, gaps: npt.NDArray[np.intp]) -> str:
    """Cure for missing values; at the end of the window it names the last possible row."""
    other = f"fill column {column!r} there knowingly, or drop the series from the spec"
    late = gaps[gaps - np.arange(len(gaps)) == gaps[-1] - len(gaps) + 1]
    if late[-1] == used.stop - 1 and late[0] == gaps[0] > used.start:
        return f'end = "{rows[late[0] - 1].date()}" has the rows before, or {other}'
    return f"choose start and end without those rows, {other}"


def last_served(tracks: Sequence[AlignedSeries]) -> int:
    """Number of rows up to the last one on which every signal, driver and control is observed.

    Series that are never observed are ignored, and all rows remain if fewer than half would.
    """
    count = len(tracks[0].value) if tracks else 0
    ends = [count]
    for track in tracks:
        observed = ~np.isnan([leg.level for leg in track.legs.values()]).any(axis=0)
        if track.role != nm.RESPONSE and observed.any():
            ends.append(int(np.flatnonzero(observed)[-1]) + 1)
    return min(ends) if 2 * min(ends) > count else count


def late_series(tracks: Sequence[AlignedSeries], rows: pd.DatetimeIndex, served: int) -> list[str]:
    """Sentence on the periods behind the last one that all covariates serve, and on why they are omitted."""
    late = []
    for track in tracks:
        for column, leg in track.legs.items() if track.role != nm.RESPONSE else ():
            if np.isnan(leg.level[served:]).any():
                newest = pd.DatetimeIndex(leg.date).max().date()
                late.append(f"{column!r} of {track.owner} (last dated {newest})")
    count = len(rows) - served
    what = "1 row" if count == 1 else f"{count} rows"
    note = f"The window ends on {rows[served - 1].date()}, {what} before the last complete period, {rows[-1].date()}"
    return [f"{note}: there is no value for it of column {truncate_list(dict.fromkeys(late), most=20)}."]
