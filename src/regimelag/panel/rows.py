"""Rows of a panel, and the observation that each row uses.

A row covers the days after the previous row's date up to its own. Rows are the ends of calendar periods, or trading
dates, on which all required columns were observed. `last_inside` aligns the last observation dated inside the row's
period, never an older one. `as_of` aligns the last observation published by the row's date, unless it is stale.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

from regimelag.errors import PanelError
from regimelag.panel.frame_checks import check_frame, take_columns
from regimelag.spec.frequency import nearest_frequency
from regimelag.spec.series import ONE_SIDED

FloatArray = npt.NDArray[np.float64]
DateArray = npt.NDArray[np.datetime64]

PERIODS = ("D", "B", "W", "ME", "QE")
TRADING = "trading"

# Transforms that need positive values.
LOGARITHMIC = ("log_return", *ONE_SIDED)

ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")

# Two publications may be late or missing, and markets close for up to ten days (Chinese New Year).
STALE_INTERVALS = 2
LEAST_STALE_DAYS = 10


class OnRows(NamedTuple):
    """One column aligned with the rows.

    Attributes
    ----------
    level : array of float (row)
        Value on each row; NaN if there is none.
    date : array of datetime64 (row)
        Date of the observation used; NaT if there is none.
    rule : str
        Which observations a row may use, for errors.
    """

    level: FloatArray
    date: DateArray
    rule: str


def parse_day(value: object) -> pd.Timestamp | None:
    """The day of a date, or of a text year-month-day, without time zone; None for anything else."""
    # pandas reads a bare number as nanoseconds since 1970.
    # It also guesses the order of day and month in 05/06/2020, and reads "2020" as its first day.
    plain = ISO_DAY.match(value) if isinstance(value, str) else isinstance(value, (dt.date, np.datetime64))
    if isinstance(value, np.datetime64) and np.datetime_data(value)[0] in ("Y", "M", "W"):
        return None
    day = pd.to_datetime(value, errors="coerce") if plain else None  # type: ignore[call-overload]
    # pandas has years that Python does not.
    if not isinstance(day, pd.Timestamp) or day.tzinfo is not None or not dt.MINYEAR <= day.year <= dt.MAXYEAR:
        return None
    return day.normalize()


def period_end(frequency: str) -> BaseOffset:
    """The pandas offset from one row to the next.

    Raises
    ------
    PanelError
        Unless the frequency is "D", "B", "W-..." (weeks by their last day), "ME" or "QE".
    """
    if frequency == TRADING:
        rule = "which columns must be observed on a trading date follows from their roles in a spec, not from the frame"
        cure = 'make_panel(spec, frame) with that frequency in the spec, or frame.dropna(subset=["silver", "bitcoin"])'
        raise PanelError(f"rows of frequency {frequency!r}", rule, "a frame without a spec", cure)
    try:
        offset = to_offset(frequency)
    except (ValueError, TypeError):
        offset = None
    if offset is None or offset.n != 1 or offset.rule_code.split("-")[0] not in PERIODS:
        rule = "rows are days, business days, or whole weeks, months or quarters dated by their last day"
        cure = f"write {nearest_frequency(frequency)}"
        raise PanelError(f"rows of frequency {frequency!r}", rule, repr(frequency), cure)
    return offset


def row_dates(source: pd.DataFrame, frequency: str) -> pd.DatetimeIndex:
    """Dates of all complete periods with observations.

    Parameters
    ----------
    source : DataFrame (date, column)
        Floats over ascending dates, in nanoseconds.
    frequency : str
        Frequency of the rows.

    Returns
    -------
    DatetimeIndex (row)
        From the period of the first observation on. The last period is omitted if it ends after the last observation of
        all columns, since it is incomplete.
    """
    offset = period_end(frequency)
    observed = source.index[source.notna().any(axis=1)]
    if not len(observed):
        return pd.DatetimeIndex([], dtype="datetime64[ns]")
    return pd.date_range(offset.rollforward(observed[0]), observed[-1], freq=offset, unit="ns")


def trading_dates(source: pd.DataFrame, columns: Sequence[str]) -> pd.DatetimeIndex:
    """Dates on which all of the columns were observed.

    Parameters
    ----------
    source : DataFrame (date, column)
        Floats over ascending dates, in nanoseconds.
    columns : sequence of str
        Required columns.

    Returns
    -------
    DatetimeIndex (row)
    """
    return pd.DatetimeIndex(source.index[source[list(columns)].notna().all(axis=1)])


def _place(positions: npt.NDArray[np.intp], observed: pd.Series, count: int) -> tuple[FloatArray, DateArray]:
    """Assign observations to rows; the last of several on one row is used."""
    # Positions are sorted by date, so the last of equal positions is the last observation.
    last = np.flatnonzero(np.diff(positions, append=count + 1))
    level = np.full(count, np.nan)
    date = np.full(count, np.datetime64("NaT", "ns"), dtype="datetime64[ns]")
    level[positions[last]] = observed.to_numpy()[last]
    date[positions[last]] = observed.index.to_numpy()[last]
    return level, date


def last_inside(column: pd.Series, rows: pd.DatetimeIndex) -> OnRows:
    """The last observation inside each row's period, never one of an earlier period.

    Parameters
    ----------
    column : Series (date)
        Floats over ascending dates, in nanoseconds.
    rows : DatetimeIndex (row)
        Row dates from `row_dates`, or the first of them.

    Returns
    -------
    OnRows
    """
    observed = column.dropna()
    positions = rows.searchsorted(observed.index, side="left")
    inside = positions < len(rows)
    level, date = _place(positions[inside], observed[inside], len(rows))
    return OnRows(level, date, "each row has an observation dated inside its own period")


def as_of(column: pd.Series, rows: pd.DatetimeIndex, delay: str) -> OnRows:
    """The last observation published by each row's date, unless it is stale.

    An observation dated d is published at d + delay. It is stale on a row more than max(2 m, 10 days) after its
    publication, with m the longer of the median intervals between distinct days of publication and between rows.

    Parameters
    ----------
    column : Series (date)
        Floats over ascending dates, in nanoseconds, as observed: not yet reduced to rows.
    rows : DatetimeIndex (row)
        Row dates from `row_dates`, or the first of them.
    delay : str
        Publication delay as a pandas offset.

    Returns
    -------
    OnRows
        Without a value on rows before the first publication, and where the last published value is stale.
    """
    observed = column.dropna()
    published = pd.DatetimeIndex(observed.index) + to_offset(delay)
    limit = stale_after(published[published <= rows[-1]].unique(), rows)
    rule = f"each row has a value published by its date and at most {limit.days} days before it (delay {delay})"
    position = published.searchsorted(rows, side="right") - 1
    level = np.full(len(rows), np.nan)
    date = np.full(len(rows), np.datetime64("NaT", "ns"), dtype="datetime64[ns]")
    fresh = np.flatnonzero(position >= 0)
    fresh = fresh[(rows[fresh] - published[position[fresh]]) <= limit]
    level[fresh] = observed.to_numpy()[position[fresh]]
    date[fresh] = observed.index.to_numpy()[position[fresh]]
    return OnRows(level, date, rule)


def stale_after(published: pd.DatetimeIndex, rows: pd.DatetimeIndex) -> pd.Timedelta:
    """Twice the longer of the median intervals between days of publication and between rows, at least ten days."""
    gaps = [float(np.median(np.diff(days.asi8))) for days in (published, rows) if len(days) > 1]
    days = STALE_INTERVALS * max(gaps, default=0.0) / pd.Timedelta(days=1).value
    return pd.Timedelta(days=max(int(np.ceil(days)), LEAST_STALE_DAYS))


def to_frequency(frame: pd.DataFrame, frequency: str) -> pd.DataFrame:
    """Reduce observations to the last one inside each period.

    Parameters
    ----------
    frame : DataFrame (date, column)
        Observations in any units, on any mix of calendars, NaN where a market was closed. It is not modified.
    frequency : str
        "W-FRI" for weeks from Saturday to Friday dated by their Friday, and likewise other weekdays, "ME" and "QE"; "D"
        for every calendar day, "B" for every weekday, whose period includes a preceding weekend. "trading" is refused,
        since trading dates depend on the roles of columns in a spec.

    Returns
    -------
    DataFrame (row, column)
        Floats in the same units, NaN where a column has no observation inside the period. The last period is omitted if
        it ends after the last observation of all columns.

    Raises
    ------
    PanelError
        If the frame's dates or columns break a rule, or the frequency is not supported.

    Examples
    --------
    >>> days = pd.date_range("2026-01-19", "2026-01-23")
    >>> closes = {"silver": [95.0, 96.0, 97.0, 98.0, np.nan], "bitcoin": [91.0, 92.0, 93.0, 94.0, 95.0]}
    >>> to_frequency(pd.DataFrame(closes, index=days), "W-FRI")
                silver  bitcoin
    2026-01-23    98.0     95.0
    """
    asked = f"to_frequency(frame, {frequency!r})"
    source = take_columns(check_frame(frame, asked), frame.columns, asked)
    rows = row_dates(source, frequency)
    reduced = {name: last_inside(source[name], rows).level for name in source.columns}
    unit = pd.DatetimeIndex(frame.index).unit
    return pd.DataFrame(reduced, index=rows.as_unit(unit).rename(frame.index.name))


def rows_before(level: FloatArray, periods: int) -> FloatArray:
    """The level `periods` rows before; NaN on the first rows."""
    before = np.full(len(level), np.nan)
    before[periods:] = level[:-periods]
    return before


def spans(kind: str, periods: int) -> range:
    """Numbers of rows by which the earlier levels that a value depends on lie before its own."""
    if kind == "level":
        return range(0)
    return range(1 if kind == "new_high" else periods, periods + 1)


def start_of_change(earlier: Sequence[FloatArray]) -> FloatArray:
    """Level that a value is compared with: the highest of the earlier levels at `spans`; NaN where one is missing."""
    # np.maximum propagates NaN.
    return np.maximum.reduce(list(earlier))


def transform(level: FloatArray, kind: str, periods: int, *, base: FloatArray | None = None) -> FloatArray:
    """Transformed values over the rows.

    Parameters
    ----------
    level : array of float (row)
        In the unit of the series; positive unless the transform is "difference" or "level".
    kind : {"log_return", "difference", "level", "gain", "loss", "new_high"}
        The transform, as in `regimelag.Signal`.
    periods : int
        Rows that a change spans, or that the trailing window of a new high has.
    base : array of float (row), optional
        Level that a value is compared with, from `start_of_change`; by default of the level itself.

    Returns
    -------
    array of float (row)
        NaN where a required level is missing, and on the first `periods` rows unless the transform is "level".
    """
    if kind == "level":
        return level.copy()
    if base is None:
        base = start_of_change([rows_before(level, back) for back in spans(kind, periods)])
    if kind in LOGARITHMIC:
        level, base = (np.log(np.where(ends > 0, ends, np.nan)) for ends in (level, base))
    change = level - base
    if kind not in ONE_SIDED:
        return change
    # np.maximum and np.minimum propagate NaN.
    return np.maximum(change, 0.0) if ONE_SIDED[kind] > 0 else np.minimum(change, 0.0)
