"""The rows of a panel, and which observation each row may use.

A row covers the days after the previous row's date up to its own. Rows are the ends of calendar periods, or trading
dates: those on which every column that must be there was observed. Two rules say which observation stands on a row:
`last_inside` takes the last one dated inside the row's period and never an older one; `as_of` takes the last one
published by the row's date, whatever its own date, unless it is stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

from regimelag.errors import PanelError
from regimelag.panel.frame_checks import check_frame, take_columns
from regimelag.spec.model_spec import nearest_frequency

FloatArray = npt.NDArray[np.float64]
DateArray = npt.NDArray[np.datetime64]

PERIODS = ("D", "B", "W", "ME", "QE")
TRADING = "trading"

# Transforms that need values above zero.
LOGARITHMIC = ("log_return", "trailing_gain")

# Two publications may be late or missing, and markets close for up to ten days in a row (the Chinese New Year).
STALE_INTERVALS = 2
LEAST_STALE_DAYS = 10


class OnRows(NamedTuple):
    """One column on the rows.

    Attributes
    ----------
    level : array of float (row)
        The value that stands on each row, NaN if none does.
    date : array of datetime64 (row)
        Date of the observation used, NaT if none is.
    rule : str
        Which observation may stand on a row, for errors.
    """

    level: FloatArray
    date: DateArray
    rule: str


def period_end(frequency: str) -> BaseOffset:
    """The offset that steps from one row to the next.

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
    """Dates of all complete periods that the observations reach into.

    Parameters
    ----------
    source : DataFrame (date, column)
        Floats over ascending dates, in nanoseconds.
    frequency : str
        Frequency of the rows.

    Returns
    -------
    DatetimeIndex (row)
        From the period of the first observation on. A last period that ends after the last observation of all columns
        is left out: it is not over.
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
        Columns that must be there.

    Returns
    -------
    DatetimeIndex (row)
        No holiday of any of them; the last row is the last date on which all were observed.
    """
    return pd.DatetimeIndex(source.index[source[list(columns)].notna().all(axis=1)])


def _place(positions: npt.NDArray[np.intp], observed: pd.Series, count: int) -> tuple[FloatArray, DateArray]:
    """Put observations on rows; where several fall on one row, the last stays."""
    # Positions ascend with the dates, so the last of each run of equal positions is the last observation.
    last = np.flatnonzero(np.diff(positions, append=count + 1))
    level = np.full(count, np.nan)
    date = np.full(count, np.datetime64("NaT", "ns"), dtype="datetime64[ns]")
    level[positions[last]] = observed.to_numpy()[last]
    date[positions[last]] = observed.index.to_numpy()[last]
    return level, date


def last_inside(column: pd.Series, rows: pd.DatetimeIndex) -> OnRows:
    """The last observation inside each row's period, never one from an earlier period.

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

    An observation dated d is published at d + delay. It is stale on a row that comes more than twice the usual interval
    after its publication, where the usual interval is the longer of the median day count between publications (several
    observations may come out on one day) and between rows, and at least ten days may always pass.

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
        Rows before the first publication, and rows whose last published value is stale, have none.
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
    """Twice the longer of the median steps between days of publication and between rows, and at least ten days."""
    gaps = [float(np.median(np.diff(days.asi8))) for days in (published, rows) if len(days) > 1]
    days = STALE_INTERVALS * max(gaps, default=0.0) / pd.Timedelta(days=1).value
    return pd.Timedelta(days=max(int(np.ceil(days)), LEAST_STALE_DAYS))


def to_frequency(frame: pd.DataFrame, frequency: str) -> pd.DataFrame:
    """Reduce observations to the last one inside each period.

    Parameters
    ----------
    frame : DataFrame (date, column)
        Observations in any units, on any mix of calendars: blank where a market was closed. Not changed.
    frequency : str
        "W-FRI" for Saturday-to-Friday weeks dated by their Friday, likewise "ME", "QE"; "D" makes every calendar day a
        row, "B" every weekday, whose period reaches back over the weekend. Not "trading": which columns must be there
        on a trading date follows from their roles in a spec.

    Returns
    -------
    DataFrame (row, column)
        Floats in the same units, NaN where a column has no observation inside the period. A last period that ends after
        the last observation of all columns is left out.

    Raises
    ------
    PanelError
        If the frame's dates or columns break a rule, or the frequency is none of these.

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
    """The level so many rows before, NaN on the first ones."""
    before = np.full(len(level), np.nan)
    before[periods:] = level[:-periods]
    return before


def transform(level: FloatArray, kind: str, periods: int, *, base: FloatArray | None = None) -> FloatArray:
    """Level, difference, log return or trailing gain over the rows.

    Parameters
    ----------
    level : array of float (row)
        In the unit of the series; positive for a log return or gain.
    kind : {"log_return", "difference", "level", "trailing_gain"}
        What to do. A trailing gain is the positive part of a log return.
    periods : int
        Rows that a difference, return or gain spans.
    base : array of float (row), optional
        Where a change begins, in the level's units; by default the level `periods` rows before.

    Returns
    -------
    array of float (row)
        NaN where a level needed is missing, and on the first `periods` rows unless the level itself is asked for.
    """
    if kind == "level":
        return level.copy()
    if base is None:
        base = rows_before(level, periods)
    if kind in LOGARITHMIC:
        level, base = (np.log(np.where(ends > 0, ends, np.nan)) for ends in (level, base))
    change = level - base
    # np.maximum keeps NaN.
    return np.maximum(change, 0.0) if kind == "trailing_gain" else change
