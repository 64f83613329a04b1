"""Checks of a data frame of observations."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.dates import DATE_NAMES, MOMENTS, Request, check_not_nanoseconds, date_column, parse_dates

# Range of 64-bit nanoseconds since 1970, the unit of dates in panels and NetCDF files.
EARLIEST, LATEST = pd.Timestamp("1678-01-01"), pd.Timestamp("2261-12-31")


def _day(moment: pd.Timestamp) -> str:
    """A day as ISO, also in years that Python's dates do not have."""
    return "NaT" if moment is pd.NaT else f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}"


def truncate_list(items: Iterable[Any], *, most: int = 4) -> str:
    """The first items, and the number of items if there are more; dates without time of day."""
    texts = [_day(pd.Timestamp(i)) if isinstance(i, (pd.Timestamp, np.datetime64)) else str(i) for i in items]
    listed = ", ".join(texts[:most])
    return listed if len(texts) <= most else f"{listed}, ... ({len(texts)} in all)"


def closest(name: str, known: Sequence[str]) -> str:
    """Cure for an unknown name: the nearest known one."""
    match = difflib.get_close_matches(name, known, n=1)
    return f"write {match[0]!r}" if match else f"choose one of: {truncate_list(known, most=20)}"


def check_frame(frame: object, asked: str) -> pd.DataFrame:
    """Check the dates and column names of a frame.

    Parameters
    ----------
    frame : DataFrame (date, column)
        Observations, one row per date.
    asked : str
        First part of an error message: what the caller asked for.

    Returns
    -------
    DataFrame
        The same object.

    Raises
    ------
    PanelError
        Unless the index has unique, ascending days without time zone or time of day, and column names are unique.
    """
    if not isinstance(frame, pd.DataFrame):
        raise PanelError(asked, "the data are a pandas.DataFrame", _what(frame), _as_frame(frame))
    if frame.columns.nlevels > 1:
        came = f"{frame.columns.nlevels} levels of names, such as {frame.columns[0]!r}"
        cure = 'take one of them first, as in frame["Close"], so that each column is one series'
        raise PanelError(asked, "a column has one name", came, cure)
    twice = [str(name) for name in frame.columns[frame.columns.duplicated()].unique()]
    if twice:
        raise PanelError(
            asked, "column names differ", f"{truncate_list(twice)} more than once", "rename or drop one of them"
        )
    if len(frame.columns) == 0 or len(frame) == 0:
        came = f"{len(frame)} rows and {len(frame.columns)} columns"
        raise PanelError(asked, "the data have rows and columns", came, "check where the data come from")
    _check_index(frame, asked)
    return frame


def _what(given: object) -> str:
    return f"a {type(given).__module__.partition('.')[0]}.{type(given).__name__}".replace("a builtins.", "a ")


def _as_frame(given: Any) -> str:
    """Cure: code that converts the value to a frame."""
    if isinstance(given, pd.Series):
        return f"pass a DataFrame: frame.to_frame({str(given.name or 'price')!r}), with the column's name in the spec"
    if hasattr(given, "to_pandas"):
        names = [str(name) for name in (given.column_names if hasattr(given, "column_names") else given.columns)]
        dated = next((name for name in names if name.lower() in DATE_NAMES), names[0] if names else "date")
        return f"frame = frame.to_pandas().set_index({dated!r}), if that column holds the dates"
    return "pass what read_series(path) returned, or a pandas.DataFrame with dates in its index"


def _one_level(index: pd.MultiIndex) -> str:
    """Cure: code that selects one asset of an index by asset and date."""
    dated = [isinstance(level, pd.DatetimeIndex) for level in index.levels]
    if sum(dated) != 1:
        return "frame = frame.reset_index().set_index(name), with the name of the column that holds the dates"
    others = [n for n, holds_dates in enumerate(dated) if not holds_dates]
    names = [index.names[n] if index.names[n] is not None else n for n in others]
    first = tuple(index.levels[n].to_numpy().item(index.codes[n][0]) for n in others)
    chosen, level = (first, names) if len(others) > 1 else (first[0], names[0])
    return f"frame = frame.xs({chosen!r}, level={level!r}), which takes one of them"


def contradiction(frame: pd.DataFrame) -> str:
    """First date with several values of one column, in words; empty if rows of one date complement each other."""
    twice = frame[frame.index.duplicated(keep=False)].groupby(level=0)
    differ = twice.max() != twice.min()
    differ &= twice.count() > 0
    if not differ.to_numpy().any():
        return ""
    day = differ.index[differ.any(axis=1)][0]
    column = differ.columns[differ.loc[day].to_numpy()][0]
    return f"{day.date()} more than once, with {column!r} = {truncate_list(frame.loc[day, column].dropna())}"


def _check_duplicates(frame: pd.DataFrame, asked: str) -> None:
    twice = frame.index[frame.index.duplicated()].unique()
    if not len(twice):
        return
    came = contradiction(frame)
    cure = "frame = frame[~frame.index.duplicated(keep='last')], once you know which one is right"
    if not came:
        came = f"{truncate_list(twice)} more than once"
        cure = "frame = frame.groupby(level=0).last(), since rows of one date complement each other"
    raise PanelError(asked, "each date comes once", came, cure)


def _as_dates(frame: pd.DataFrame, asked: str, rule: str, came: str) -> None:
    """Refuse an index that is not of days; the cure is a call of `read_series` that reads it."""
    names = [str(name) for name in frame.columns]
    cure = "frame = read_series(frame)"
    place = None if isinstance(frame.index, pd.DatetimeIndex) else date_column(names)
    if place is None and isinstance(frame.index, pd.RangeIndex):
        cure = "frame = frame.set_index(name), with the name of the column that holds the dates"
        raise PanelError(asked, rule, came, cure)
    # As read_series takes them.
    cells = pd.Series(frame.index) if place is None else frame.iloc[:, place].reset_index(drop=True)
    name = str(frame.index.name or "date") if place is None else names[place]
    try:
        parse_dates(cells, name, Request("frame", {}))
    except PanelError as problem:
        cure = problem.cure.replace("read_series(", "frame = read_series(", 1)
        cure = cure.replace("frame = frame = ", "frame = ")
        raise PanelError(asked, problem.rule, f"{came}: {problem.came}", cure) from None
    raise PanelError(asked, rule, came, cure)


def _check_index(frame: pd.DataFrame, asked: str) -> None:
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        came = f"an index of {index.nlevels} levels, {truncate_list(index.names)}"
        raise PanelError(asked, "the index is a DatetimeIndex", came, _one_level(index))
    if not isinstance(index, pd.DatetimeIndex):
        rule, came = "the index is a DatetimeIndex", f"an index of {index.dtype}"
        if isinstance(index, pd.PeriodIndex):
            cure = 'frame.index = frame.index.to_timestamp(how="end").normalize(), the day on which each period closed'
            raise PanelError(asked, rule, came, cure)
        _as_dates(frame, asked, rule, came)
        return
    if str(index.name).lower() in MOMENTS:
        rule, came = "a price at 00:00 is dated by the day before, whose close it is", f"an index named {index.name!r}"
        raise PanelError(
            asked, rule, came, "frame = read_series(frame), or name the index 'date' if its days are right"
        )
    if index.tz is not None and not index.hasnans:
        _as_dates(frame, asked, "dates have no time zone: each is the day of a close", f"time zone {index.tz}")
    if index.hasnans:
        rows = np.flatnonzero(index.isna())
        raise PanelError(asked, "every row has a date", f"no date in row {truncate_list(rows)}", "drop those rows")
    timed = index[index != index.normalize()]
    if len(timed):
        check_not_nanoseconds(index, asked)
        _as_dates(frame, asked, "dates have no time of day", f"{timed[0]} and {len(timed) - 1} more")
    outside = index[(index < EARLIEST) | (index > LATEST)]
    if len(outside):
        raise PanelError(asked, "dates lie between 1678 and 2261", truncate_list(outside), "correct or drop those rows")
    _check_duplicates(frame, asked)
    back = np.flatnonzero(np.diff(index.asi8) < 0)
    if len(back):
        came = f"{index[back[0] + 1].date()} follows {index[back[0]].date()}"
        raise PanelError(asked, "dates ascend", came, "frame = frame.sort_index()")


def take_columns(frame: pd.DataFrame, columns: Iterable[str], asked: str) -> pd.DataFrame:
    """Copy the named columns as floats, with dates in nanoseconds.

    Parameters
    ----------
    frame : DataFrame (date, column)
        A frame checked by `check_frame`.
    columns : iterable of str
        Columns to take; repeated names count once.
    asked : str
        First part of an error message: what the caller asked for.

    Returns
    -------
    DataFrame (date, column)
        A copy, float64.

    Raises
    ------
    PanelError
        If a column is missing, is not numeric, or contains an infinite value.
    """
    taken = {column: _numbers(frame, column, asked) for column in dict.fromkeys(columns)}
    index = pd.DatetimeIndex(frame.index).as_unit("ns")
    return pd.DataFrame(taken, index=index)


def _numbers(frame: pd.DataFrame, column: str, asked: str) -> np.ndarray:
    if column not in frame.columns:
        known = [str(name) for name in frame.columns]
        rule = "every column that the spec names is in the frame"
        raise PanelError(
            asked, rule, f"no column {column!r}", f"{closest(column, known)}, or rename the frame's column"
        )
    cells = frame[column]
    numeric = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
    if not numeric or pd.api.types.is_complex_dtype(cells):
        cure = f"frame[{column!r}] = pd.to_numeric(frame[{column!r}])"
        if pd.api.types.is_bool_dtype(cells):
            cure = f"frame[{column!r}] = frame[{column!r}].astype(float)"
        elif pd.api.types.is_complex_dtype(cells):
            cure = f"frame[{column!r}] = frame[{column!r}].to_numpy().real, if the imaginary parts mean nothing"
        elif (strange := cells.notna() & pd.to_numeric(cells.astype(str), errors="coerce").isna()).any():
            cure = f"correct what is no number (cells: {strange.sum()}), or blank it: "
            cure += f"frame[{column!r}] = pd.to_numeric(frame[{column!r}], errors='coerce')"
        came = f"column {column!r} holds {cells.dtype}{_first_strange(cells)}"
        raise PanelError(asked, "columns hold real numbers", came, cure)
    values = cells.to_numpy(dtype=float, na_value=np.nan)
    infinite = frame.index[np.isinf(values)]
    if len(infinite):
        cure = f"correct column {column!r} there, or leave the cells blank (NaN) if unknown"
        raise PanelError(
            asked, "values are finite or missing", f"column {column!r} is infinite on {truncate_list(infinite)}", cure
        )
    return values.copy()


def _first_strange(cells: pd.Series) -> str:
    """First cell that is not a number, and its date."""
    strange = cells[cells.notna() & ~cells.map(lambda cell: isinstance(cell, numbers.Real) and not _is_truth(cell))]
    if not len(strange):
        return ", though all its cells are numbers"
    return f": {strange.iloc[0]!r} on {pd.Timestamp(strange.index[0]).date()}"


def _is_truth(cell: object) -> bool:
    return isinstance(cell, (bool, np.bool_))
