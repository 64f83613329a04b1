"""Read series from files and tables."""

from __future__ import annotations

import re
import warnings
import zoneinfo
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.cells import to_numbers
from regimelag.panel.dates import MOMENTS, Request, date_column, parse_dates
from regimelag.panel.frame_checks import check_frame, closest, contradiction, truncate_list
from regimelag.panel.tables import as_table, read_file
from regimelag.panel.written_periods import refuse_parts
from regimelag.spec.series import is_close

Columns = str | Sequence[str] | Mapping[str, str]


def read_series(
    path: str | Path | Any,
    *,
    columns: Columns | None = None,
    date: str | None = None,
    dayfirst: bool | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    tz: str | None = None,
    close: str = "",
    **options: Any,
) -> pd.DataFrame:
    """Read series from a CSV, Excel or Parquet file, or from a table of pandas, polars or pyarrow.

    Parameters
    ----------
    path : str, Path or table
        A file: text with one header line, .xlsx or .xls (needs openpyxl or xlrd), or .parquet (needs pyarrow). Commas,
        semicolons and tabs separate columns. Or a table in memory.
    columns : str, sequence of str, or mapping of column to the file's name, optional
        Columns to take: ``{"silver_usd": "Close"}`` takes Close and calls it silver_usd. By default all columns of
        numbers; columns of text are omitted with a note.
    date : str, optional
        Column of the dates. By default the first of date, observation_date, datetime, day, as_of, snapped_at,
        close_time, timestamp, open_time and time, in any case, that the file has, or else its first column; of a table
        of pandas, its index where that holds dates.
    dayfirst : bool, optional
        Whether 01/02/2024 is the first of February; needed only if no date of the column decides.
    decimal, thousands : str, optional
        Marks in numbers, as in ``pandas.read_csv``.
    tz : str, optional
        Time zone whose days are meant, such as "America/New_York", for stamps in another zone or time since 1970.
    close : str, optional
        Local time and zone at which values are made, as in a spec, for dates with a time of day. With "00:00 UTC" a
        value is the price at the stamp's moment, the close of the day before, by which it is then dated. With "24:00
        UTC", or any other time, a stamp labels its own day.
    **options
        Further arguments of ``pandas.read_csv``, `read_excel` or `read_parquet`, such as ``sep``, ``skiprows``,
        ``names``, ``encoding`` or ``sheet_name``.

    Returns
    -------
    DataFrame (date, column)
        Floats, in the file's units, with an ascending DatetimeIndex named "date". Rows of one date that complement each
        other are merged. Blank cells, ".", "-", "NA" and "NaN" are missing values; "2.5%" is 2.5. ``attrs["notes"]``
        has sentences on what was read differently than written.

    Warns
    -----
    UserWarning
        If stamps of 00:00 are read as the close of the day before, as in CoinGecko's files.

    Raises
    ------
    PanelError
        If the file does not exist, is empty or cannot be parsed; a date is missing, cannot be read or can be read in
        two ways; the meaning of a time of day is unknown; rows of one date contradict each other; column names repeat;
        or a cell is not a finite number. The cure is a call that reads the file.

    Examples
    --------
    >>> table = pd.DataFrame({"Date": ["01/23/2026", "01/22/2026"], "Price": ["1,102.5", "1,095.1"]})
    >>> read_series(table, columns={"silver": "Price"}, thousands=",")
                silver
    date
    2026-01-22  1095.1
    2026-01-23  1102.5
    """
    _check_types(columns, dayfirst, {"date": date, "decimal": decimal, "thousands": thousands, "close": close})
    given = {"columns": columns, "date": date, "dayfirst": dayfirst, "thousands": thousands, "tz": tz} | options
    given = {name: value for name, value in given.items() if value is not None}
    given |= ({"decimal": decimal} if decimal != "." else {}) | ({"close": close} if close else {})
    in_file = isinstance(path, (str, Path))
    request = Request(repr(str(path)) if in_file else "frame", given)
    _check_close(close, request)
    _check_zone(tz, request)
    pandas = dict(options) | {"decimal": decimal, "thousands": thousands}
    table = read_file(Path(path), date, dict(pandas), request) if in_file else as_table(path, date, request.call())
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()].unique()
        came = f"{truncate_list(twice)} more than once"
        raise PanelError(request.call(), "column names differ", came, "rename or drop one of them")
    days_in = [name for name in table.columns if _begins_with_date(table[name])]
    dated = _dated(table, date, request, parts=not days_in)
    other = next((str(name) for name in days_in if name != dated), "")
    days, notes = parse_dates(table[dated], str(dated), request._replace(other=other))
    values, more = _values(table.drop(columns=dated), columns, days, pandas, request)
    frame, merged = _in_order(values.set_axis(days, axis=0), table, str(dated), request)
    check_frame(frame, request.call())
    frame.attrs["notes"] = [*notes, *more, *merged]
    if not close and str(dated).lower() in MOMENTS and notes:
        warnings.warn(f"{request.source}: {notes[-1]}", stacklevel=2)
    return frame


def _check_close(close: str, request: Request) -> None:
    if close and not (is_close(close) or (isinstance(close, str) and is_close(close.replace("00:00", "24:00", 1)))):
        rule, cure = "close is a local time and a time zone by its name", request.call(close="24:00 UTC")
        raise PanelError(request.call(), rule, f"close = {close!r}", cure)


def _check_types(columns: object, dayfirst: object, words: Mapping[str, object]) -> None:
    """Refuse arguments of another type, before pandas or anything else meets them."""
    asked = "read_series"
    for name, value in words.items():
        optional = name in ("date", "thousands")
        if not isinstance(value, str) and not (optional and value is None):
            cure = f"leave {name} out, or write it as a text"
            raise PanelError(asked, f"{name} is a text", f"{name} = {value!r}", cure)
    for name in ("decimal", "thousands"):
        value = words[name]
        if isinstance(value, str) and len(value) != 1:
            cure = f'write {name}=",", or leave {name} out'
            raise PanelError(asked, f"{name} is one character", f"{name} = {value!r}", cure)
    if not (dayfirst is None or isinstance(dayfirst, bool)):
        raise PanelError(asked, "dayfirst is True or False", f"dayfirst = {dayfirst!r}", "write dayfirst=True")
    if columns is not None and not isinstance(columns, (str, Mapping, list, tuple, pd.Index)):
        cure = 'write columns={"silver_usd": "Close"}, or leave columns out'
        raise PanelError(asked, "columns are names of the source's columns", f"columns = {columns!r}", cure)


def _check_zone(tz: str | None, request: Request) -> None:
    try:
        zoneinfo.ZoneInfo(tz or "UTC")
    except (KeyError, ValueError, OSError, TypeError):
        cure = request.call(tz="America/New_York")
        raise PanelError(request.call(), "tz is a time zone by its name", f"tz = {tz!r}", cure) from None


def _dated(table: pd.DataFrame, date: str | None, request: Request, *, parts: bool) -> Any:
    """Name of the date column; the first column if none is known. `parts` says that there may be parts of dates."""
    names = [str(name) for name in table.columns]
    if date is not None and date not in names:
        cure = closest(date, names).replace("write ", "date = ", 1)
        raise PanelError(request.call(), "date names a column", f"no column {date!r}", cure)
    place = names.index(date) if date is not None else date_column(names)
    if date is None and parts and (place is None or names[place].strip().lower() == "day"):
        refuse_parts(table, request)
    if len(names) < 2:  # noqa: PLR2004
        cure = f"separate columns by commas and give at least one series, or {request.call(sep=';')}, with your mark"
        rule = "there is a date column and at least one more"
        raise PanelError(request.call(), rule, f"the header {(names or [''])[0]!r}", cure)
    return table.columns[place or 0]


def _begins_with_date(cells: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return False
    first = next(iter(cells.dropna().head(1).astype(str)), "")
    return re.fullmatch(r"[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}([T ].*)?", first) is not None


def _values(
    table: pd.DataFrame, columns: Columns | None, days: pd.DatetimeIndex, pandas: Mapping[str, Any], request: Request
) -> tuple[pd.DataFrame, list[str]]:
    """The columns asked for, as floats, and sentences on the others."""
    names = {str(name): name for name in table.columns}
    wanted = _wanted(columns, list(names))
    absent = [one for one in wanted.values() if one not in names]
    if absent:
        came = f"no column {absent[0]!r}; there are {truncate_list(names, most=20)}"
        raise PanelError(request.call(), "the file has the columns asked for", came, closest(absent[0], list(names)))
    found: dict[str, np.ndarray] = {}
    left, percent = [], []
    for column, name in wanted.items():
        numbers, kind = to_numbers(table[names[name]], name, days, pandas, request, asked=columns is not None)
        percent += [name] if kind == "percent" else []
        if numbers is None:
            left.append(name)
        else:
            found[column] = numbers
    notes = [f"Columns that hold no numbers were omitted: {truncate_list(left, most=20)}."] if left else []
    notes += [f"Per cents are read as numbers, 2.5 % as 2.5, in {truncate_list(percent, most=20)}."] if percent else []
    if not found:
        first = next((str(cell) for name in wanted.values() for cell in table[names[name]].dropna()), "")
        came = f"columns {truncate_list(left, most=20)}, all of text, such as {first!r}"
        cure = "write numbers as 1234.5 or 2.5 %, or choose another file or sheet"
        raise PanelError(request.call(), "at least one column holds numbers", came, cure)
    return pd.DataFrame(found), notes


def _wanted(columns: Columns | None, names: list[str]) -> dict[str, str]:
    """The file's name of each column."""
    if columns is None:
        # A column without a name holds the numbers of the rows.
        return {name: name for name in names if name and not name.startswith("Unnamed: 0")}
    if isinstance(columns, Mapping):
        return {str(column): str(name) for column, name in columns.items()}
    return {name: name for name in ([columns] if isinstance(columns, str) else map(str, columns))}


def _in_order(frame: pd.DataFrame, table: pd.DataFrame, dated: str, request: Request) -> tuple[pd.DataFrame, list[str]]:
    """Rows by date, those of one date merged where they do not contradict each other, and sentences on both."""
    notes = []
    days = pd.DatetimeIndex(frame.index)
    if not days.is_monotonic_increasing:
        order = "newest first" if days.is_monotonic_decreasing else "in no order"
        notes.append(f"Rows were {order} and are sorted by date.")
        frame = frame.sort_index(kind="stable")
    if frame.index.has_duplicates:
        _check_agreement(frame, table, dated, request)
        count = len(frame)
        frame = frame.groupby(level=0).last()
        notes.append(f"{count - len(frame)} rows complement others of the same date and are merged with them.")
    return frame.set_axis(pd.DatetimeIndex(frame.index.to_numpy(), name="date").as_unit("us"), axis=0), notes


def _check_agreement(frame: pd.DataFrame, table: pd.DataFrame, dated: str, request: Request) -> None:
    """Refuse several values of one column on one date; a table with one row for each date and symbol is pivoted."""
    came = contradiction(frame)
    if not came:
        return
    texts = [str(name) for name in table.columns if not pd.api.types.is_numeric_dtype(table[name]) and name != dated]
    for name in texts:
        if not table.duplicated([dated, name]).any():
            rows = f".pivot(index={dated!r}, columns={name!r}, values={str(frame.columns[-1])!r})"
            kept = {k: v for k, v in request.given.items() if k not in ("columns", "date")}
            cure = Request(request.source, kept).rows(rows)
            raise PanelError(request.call(), "a column has one value a date", came, f"{cure}, a column for each {name}")
    rows = f"[lambda rows: ~rows[{dated!r}].duplicated(keep='last')]"
    if request.source == "frame" and isinstance(frame.index, pd.DatetimeIndex):
        rows = "[~frame.index.duplicated(keep='last')]" if dated not in table.columns else rows
    cure = f"{request.rows(rows)}, once you know that the last row of a date is right"
    raise PanelError(request.call(), "each date has one value a column", came, cure)
