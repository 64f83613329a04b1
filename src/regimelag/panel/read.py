"""Read series from files."""

from __future__ import annotations

import csv
import datetime as dt
import re
from pathlib import Path

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.frame_checks import DATE_NAMES, check_frame, take_columns, truncate_list

# FRED writes a missing value as a dot.
BLANKS = frozenset({"", ".", "na", "n/a", "nan", "null"})
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}([ T]00:00(:00(\.0+)?)?)?")
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?")


def read_series(path: str | Path) -> pd.DataFrame:
    """Read series from a wide CSV or Parquet file.

    Parameters
    ----------
    path : str or Path
        A comma-separated text file in UTF-8 with one header line, or a file whose name ends in .parquet (needs
        pyarrow). Dates are in the column named date, time, datetime or observation_date, in any case, or else in the
        first column, written as 2026-01-23. Every other column is a series; blank cells, ".", "NA" and "NaN" are
        missing values.

    Returns
    -------
    DataFrame (date, column)
        Floats, in the file's units, with a DatetimeIndex named "date".

    Raises
    ------
    PanelError
        If the file does not exist, is empty or cannot be parsed; dates are missing, repeated, unsorted, or have a time
        zone or a time of day; column names repeat; or a cell is not a finite number.
    """
    file = Path(path)
    asked = f"read_series({str(path)!r})"
    if not file.is_file():
        came = "a folder" if file.is_dir() else "no such file"
        raise PanelError(asked, "the path is a file", came, f"check the path; the working folder is {Path.cwd()}")
    frame = _from_parquet(file, asked) if file.suffix.lower() == ".parquet" else _from_csv(file, asked)
    check_frame(frame, asked)
    values = take_columns(frame, frame.columns, asked)
    return values.set_axis(pd.DatetimeIndex(frame.index, name="date"), axis=0)


def _from_csv(file: Path, asked: str) -> pd.DataFrame:
    lines, header, cells = _read_cells(file, asked)
    dated = _date_column(header)
    dates = _parse_dates([row[dated] for row in cells], lines, header[dated], asked)
    columns = {
        name: _parse_numbers([row[place] for row in cells], name, dates, asked)
        for place, name in enumerate(header)
        if place != dated
    }
    return pd.DataFrame(columns, index=dates)


def _read_cells(file: Path, asked: str) -> tuple[list[int], list[str], list[list[str]]]:
    """Line numbers, header and stripped cells; blank lines are skipped."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(c.strip() for c in row)]
    except (UnicodeDecodeError, csv.Error) as problem:
        cure = "save it as comma-separated text in UTF-8"
        raise PanelError(asked, "the file is comma-separated text in UTF-8", str(problem), cure) from problem
    if not rows[1:]:
        came = "an empty file" if not rows else "a header and no rows"
        raise PanelError(asked, "the file has a header line and rows below it", came, "check where the file comes from")
    header = rows[0][1]
    _check_header(header, asked)
    for line, row in rows[1:]:
        if len(row) != len(header):
            came = f"{len(row)} cells in line {line}, {len(header)} in the header"
            raise PanelError(asked, "every line has as many cells as the header", came, f"correct line {line}")
    return [line for line, _ in rows[1:]], header, [row for _, row in rows[1:]]


def _check_header(header: list[str], asked: str) -> None:
    if not header[1:]:
        cure = "separate columns by commas, and give at least one series"
        raise PanelError(asked, "there is a date column and at least one more", f"the header {header[0]!r}", cure)
    twice = sorted({name for name in header if header.count(name) > 1 and name})
    if twice:
        raise PanelError(
            asked, "column names differ", f"{truncate_list(twice)} more than once", "rename or drop one of them"
        )
    dated = _date_column(header)
    nameless = [place + 1 for place, name in enumerate(header) if not name and place != dated]
    if nameless:
        cure = "name it in the header, or drop it"
        raise PanelError(
            asked, "every column has a name", f"no name over column number {truncate_list(nameless)}", cure
        )


def _date_column(header: list[str]) -> int:
    """Position of the date column; the first column if none has a known name."""
    named = [place for place, name in enumerate(header) if name.lower() in DATE_NAMES]
    return named[0] if named else 0


def _parse_dates(texts: list[str], lines: list[int], name: str, asked: str) -> pd.DatetimeIndex:
    for line, text in zip(lines, texts, strict=True):
        if DAY.fullmatch(text):
            continue
        moment = MOMENT.fullmatch(text)
        if moment and moment["zone"]:
            rule, cure = "dates have no time zone: each is the day of a close", "write the day alone: 2026-01-23"
        elif moment:
            rule, cure = "dates have no time of day", "keep one observation a day, dated such as 2026-01-23"
        else:
            rule = "there is a date column: the one named date or time, or else the first, written as 2026-01-23"
            cure = "name the date column 'date', and write its dates as 2026-01-23"
        raise PanelError(asked, rule, f"{text!r} in column {name!r}, line {line}", cure)
    days = []
    for line, text in zip(lines, texts, strict=True):
        try:
            days.append(dt.date.fromisoformat(text[:10]))
        except ValueError:
            came = f"{text!r} in column {name!r}, line {line}"
            raise PanelError(asked, "dates are in the calendar", came, "correct that date") from None
    return pd.DatetimeIndex(np.array(days, dtype="datetime64[us]"), name="date")


def _parse_numbers(texts: list[str], name: str, dates: pd.DatetimeIndex, asked: str) -> np.ndarray:
    # Python's float parses exactly, so every float written in full is restored to the last bit.
    values = np.empty(len(texts))
    for row, text in enumerate(texts):
        if text.lower() in BLANKS:
            values[row] = np.nan
        elif NUMBER.fullmatch(text):
            values[row] = float(text)
        else:
            came = f"{text!r} in column {name!r} on {dates[row].date()}"
            cure = "write it as a plain number such as 1234.5, leave it blank if unknown, or drop the column"
            raise PanelError(asked, "cells are finite numbers or blank", came, cure)
    return values


def _from_parquet(file: Path, asked: str) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(file)
    except ImportError as problem:
        cure = "install pyarrow, or save the file as CSV"
        raise PanelError(asked, "reading Parquet needs pyarrow", "pyarrow is not installed", cure) from problem
    except (ValueError, OSError) as problem:
        came = str(problem).splitlines()[0]
        raise PanelError(asked, "the file is Parquet", came, "save it again, or as CSV") from problem
    if isinstance(frame.index, pd.DatetimeIndex) or frame.empty:
        return frame
    dated = frame.columns[_date_column([str(name) for name in frame.columns])]
    if pd.api.types.infer_dtype(frame[dated]) == "date":
        frame[dated] = pd.to_datetime(frame[dated])
    frame = frame.set_index(dated)
    if not isinstance(frame.index, pd.DatetimeIndex):
        cure = "store a column 'date' of timestamps, or a DatetimeIndex"
        raise PanelError(asked, "there is a date column", f"column {dated!r} holds {frame.index.dtype}", cure)
    return frame
