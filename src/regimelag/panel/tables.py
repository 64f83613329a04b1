"""Files and tables of other libraries as tables of pandas, before their dates and numbers are read."""

from __future__ import annotations

import csv
import difflib
import io
import re
import zipfile
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from packaging.version import Version

from regimelag.errors import PanelError
from regimelag.panel.cells import BLANKS, PLAIN
from regimelag.panel.dates import DATE_NAMES, OWN, READERS, Request, check_not_nanoseconds, date_column
from regimelag.panel.frame_checks import truncate_list

# Floats to the last bit; from pandas 3.1 on it has no other precision.
EXACT: dict[str, Any] = {} if Version(pd.__version__) >= Version("3.1") else {"float_precision": "round_trip"}
# Its options come from the caller.
_read_csv: Any = pd.read_csv
KNOWN = (*OWN, "sep", "skiprows", "names", "encoding")
SEPARATORS = (",", ";", "\t", "|")
MISSING = [form for text in BLANKS for form in {text, text.upper(), text.title(), text.replace("nan", "NaN")}]
# Arguments that state where the names of the columns are.
HEADERS = {"names", "header"}
# Texts that are dates, in a line that may have names or values.
DATED = (
    r"(?a:\d{8}(\.0+)?|\d{10,19}(\.\d+)?|\d{4}[-/]\d{1,2}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{4}-?Q[1-4]"
    r"|\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}([T ].*)?|[A-Za-z]{3,9} \d{1,2},? \d{4}|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4})"
)
# Lines above the names of the columns, at most.
HIGHEST = 20
# Bytes that are read and compared at a time; they stay in the processor's cache.
BLOCK = 1 << 18
# First cell of the line with the symbols, in files with two header lines.
SYMBOLS = ("ticker", "tickers", "symbol", "symbols")
# Columns of files without a header line, by their number.
HEADLESS = {
    2: ["date", "close"],
    6: ["date", "open", "high", "low", "close", "volume"],
    7: ["open_time", "open", "high", "low", "close", "volume", "trades"],
    12: [
        *("open_time", "open", "high", "low", "close", "volume", "last_time", "quote_volume", "trades"),
        *("taker_base", "taker_quote", "ignore"),
    ],
}


def read_file(file: Path, date: str | None, options: dict[str, Any], request: Request) -> pd.DataFrame:
    """Table of a file, with the date column as written; the index says where each row comes from."""
    if not file.is_file():
        came = "a folder" if file.is_dir() else "no such file"
        cure = f"check the path; the working folder is {Path.cwd()}"
        raise PanelError(request.call(), "the path is a file", came, cure)
    kind = file.suffix.lower()
    if kind == ".json":
        came = f"a file named {file.name!r}"
        cure = (
            f"read_series(pd.read_json({request.source})), or of pd.DataFrame(rows) if the rows are a part of the file"
        )
        raise PanelError(request.call(), "the file is CSV, Excel or Parquet", came, cure)
    marks = {name: options.pop(name) for name in ("decimal", "thousands")}
    if kind == ".parquet":
        return as_table(_parquet(file, options, request), date, request.call())
    if kind in READERS["excel"]:
        return _excel(file, options, request)
    return _text(file, date, {k: v for k, v in marks.items() if v is not None}, options, request)


def as_table(given: Any, date: str | None, asked: str) -> pd.DataFrame:
    """Table of pandas with the dates in a column, from a table of pandas, polars or pyarrow."""
    if not isinstance(given, pd.DataFrame):
        if isinstance(given, pd.Series) or not hasattr(given, "to_pandas"):
            rule = "the data are a file, or a table of pandas, polars or pyarrow"
            cure = (
                f"pass frame.to_frame({str(given.name or 'price')!r})"
                if isinstance(given, pd.Series)
                else "pass a path"
            )
            raise PanelError(asked, rule, f"a {type(given).__name__}", cure)
        try:
            given = given.to_pandas()
        except ImportError as problem:
            cure = "pip install pyarrow"
            raise PanelError(asked, "tables of polars need pyarrow", str(problem), cure) from problem
    if given.columns.nlevels > 1:
        came = f"{given.columns.nlevels} levels of names, such as {given.columns[0]!r}"
        cure = 'take one of them first, as in frame["Close"], so that each column is one series'
        raise PanelError(asked, "a column has one name", came, cure)
    if given.empty:
        came = f"{len(given)} rows and {len(given.columns)} columns"
        raise PanelError(asked, "the data have rows and columns", came, "check where the data come from")
    names = [str(name) for name in given.columns]
    held = isinstance(given.index, (pd.DatetimeIndex, pd.PeriodIndex))
    if date is not None and date in names:
        return given.reset_index(drop=True)
    numbered = isinstance(given.index, pd.RangeIndex) and given.index.name is None
    if not held and date is None and (date_column(names) is not None or numbered):
        return given.reset_index(drop=True)
    if isinstance(given.index, pd.DatetimeIndex):
        check_not_nanoseconds(given.index, asked)
    name = str(given.index.name or "date")
    rows = given.reset_index(drop=True)
    rows.insert(0, name if name not in names else f"index of {name}", given.index)
    return rows


def _parquet(file: Path, options: dict[str, Any], request: Request) -> pd.DataFrame:
    try:
        return pd.read_parquet(file, **options)
    except ImportError as problem:
        cure = "pip install pyarrow, or save the file as CSV"
        raise PanelError(request.call(), "reading Parquet needs pyarrow", "it is not installed", cure) from problem
    except (ValueError, OSError) as problem:
        came = str(problem).splitlines()[0]
        raise PanelError(request.call(), "the file is Parquet", came, "save it again, or as CSV") from problem


def _excel(file: Path, options: dict[str, Any], request: Request) -> pd.DataFrame:
    try:
        with pd.ExcelFile(file) as book:
            sheets = [str(name) for name in book.sheet_names]
            table = pd.read_excel(book, **options)
    except ImportError as problem:
        cure = f"pip install {'xlrd' if file.suffix.lower() == '.xls' else 'openpyxl'}, or save the sheet as CSV"
        raise PanelError(request.call(), "reading Excel needs a library", str(problem), cure) from problem
    except (ValueError, OSError, KeyError) as problem:
        came = str(problem).splitlines()[0]
        cure = "save it again, or as CSV"
        raise PanelError(request.call(), "the file is an Excel workbook", came, cure) from problem
    if (len(table.columns) < 2 or not len(table)) and "sheet_name" not in options and len(sheets) > 1:  # noqa: PLR2004
        came = f"{len(table)} rows of {len(table.columns)} columns in {sheets[0]!r}; sheets are {truncate_list(sheets)}"
        cure = request.call(sheet_name=sheets[1])
        raise PanelError(request.call(), "the first sheet holds the data", came, cure)
    if not request.given.keys() & HEADERS:
        _check_values_above([str(name) for name in table.columns], request)
    table = table.dropna(how="all")
    return table.set_axis([f"line {n + 2}" for n in table.index], axis=0)


# How files begin that are not text; the names are those of pandas.
MARKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
    b"\xd0\xcf\x11\xe0": "excel",
}
# Encodings in which separators and ends of lines are single bytes.
ASCII_BASED = ("utf-8", "utf-8-sig", "latin-1", "ascii", "cp1252")


def _text(
    file: Path, date: str | None, marks: dict[str, Any], options: dict[str, Any], request: Request
) -> pd.DataFrame:
    if "compression" not in options:
        _check_is_text(file, request)
    options = {"encoding": _encoding(file), "skipinitialspace": True} | options
    lines = None
    if not request.given.keys() & options.keys() - {"encoding"}:
        found, lines, header = _check_lines(file, str(options["encoding"]), request)
        options |= found
        if header:
            return _two_headers(file, options | marks)
    common = options | marks
    try:
        head = {name: value for name, value in options.items() if name != "skipfooter"} | {"nrows": 0, "dtype": str}
        names = [str(name) for name in _read_csv(file, **head).columns]
        place = names.index(date) if date in names else date_column(names) or 0
        # pandas would take thousands separators for those of a date.
        table = _read_csv(
            file,
            dtype={names[place]: str} if names else None,
            keep_default_na=False,
            na_values=MISSING,
            index_col=False,
            **({} if common.get("engine") == "python" else {"low_memory": False, **EXACT}),
            **common,
        )
    except TypeError as problem:
        unknown = str(problem).rpartition("'")[0].rpartition("'")[2]
        close = difflib.get_close_matches(unknown, KNOWN, n=1)
        cure = f"write {close[0]}=" if close else f"leave {unknown} out"
        rule = "arguments are those of read_series or of pandas.read_csv"
        raise PanelError(request.call(), rule, str(problem).partition("() ")[2] or str(problem), cure) from problem
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as problem:
        if lines:
            _check_lines(file, str(options["encoding"]), request, closely=True)
        came = f"{type(problem).__name__}: {str(problem).splitlines()[0]}"
        cure = f"{request.call(encoding='latin-1')}, or sep= and skiprows= as in pandas.read_csv"
        raise PanelError(request.call(), "pandas.read_csv reads the file as text in UTF-8", came, cure) from problem
    if not len(table):
        came = "a header and no rows"
        raise PanelError(request.call(), "the file has rows below its header", came, "check where the file comes from")
    if not request.given.keys() & HEADERS:
        _check_values_above([str(name) for name in table.columns], request)
    labels = (
        [f"line {n}" for n in lines]
        if lines and len(lines) == len(table)
        else [f"line {n + 2}" for n in range(len(table))]
    )
    table.columns = [str(column).strip() for column in table.columns]
    blank = [name for name in table.columns if name.startswith("Unnamed: ") and table[name].isna().all()]
    table = table.drop(columns=blank)
    # Most files have a date in every row, which is seen faster than any value in every row.
    held = table.iloc[:, min(place, len(table.columns) - 1)].notna()
    if not held.all():
        held = table.notna().any(axis=1)
        table = table[held]
    return table.set_axis([label for label, one in zip(labels, held, strict=True) if one], axis=0)


def _check_is_text(file: Path, request: Request) -> None:
    """Refuse compressed files and those of other programs."""
    with file.open("rb") as content:
        start = content.read(8)
    kind = next((kind for mark, kind in MARKED.items() if start.startswith(mark)), "")
    if not kind:
        return
    cure = request.call(compression=kind)
    if kind == "zip":
        try:
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
        except zipfile.BadZipFile:
            names = []
        if any(name.startswith("xl/") or name == "content.xml" for name in names):
            kind = "excel"
        elif len(names) != 1:
            cure = (
                f"extract the file that you want; the archive has {truncate_list(names)}"
                if names
                else "get the file again"
            )
    if kind in READERS:
        own = {name: value for name, value in request.given.items() if name in OWN}
        cure = Request(f"pd.read_{kind}({request.source})", own).call()
    raise PanelError(request.call(), "a CSV file is text, not compressed", f"a file that begins as {kind} does", cure)


def _encoding(file: Path) -> str:
    """UTF-16 or UTF-32 if the file begins so, as what Excel calls Unicode text does; otherwise UTF-8."""
    with file.open("rb") as content:
        mark = content.read(4)
    # The mark of UTF-32 begins with that of UTF-16.
    for encoding, marks in (("utf-32", (BOM_UTF32_LE, BOM_UTF32_BE)), ("utf-16", (BOM_UTF16_LE, BOM_UTF16_BE))):
        if mark.startswith(marks):
            return encoding
    # Without a mark every second byte of a header is null.
    even, odd = (mark[n::2] == bytes(2) for n in (0, 1))
    return "utf-8-sig" if even == odd else "utf-16-be" if even else "utf-16-le"


def _check_lines(
    file: Path, encoding: str, request: Request, *, closely: bool = False
) -> tuple[dict[str, Any], Sequence[int], bool]:
    """Options for pandas, line numbers of the rows, and whether there are two header lines.

    Lines of other lengths are refused.
    """
    try:
        with file.open(encoding=encoding, newline="") as text:
            head = next((line for line in islice(text, HIGHEST) if any(mark in line for mark in SEPARATORS)), "")
            separator = max(SEPARATORS, key=head.count)
            if encoding in ASCII_BASED and not closely:
                regular = _regular_lines(file, separator, encoding)
                if regular is not None:
                    lines, spaced = regular
                    return {"sep": separator, "skipinitialspace": spaced}, lines, False
            text.seek(0)
            reader = csv.reader(text, delimiter=separator)
            rows = [(reader.line_num, [cell.strip() for cell in row] if n < 3 else row) for n, row in enumerate(reader)]  # noqa: PLR2004
    except (UnicodeDecodeError, csv.Error) as problem:
        cure = f"{request.call(encoding='latin-1')}, or save it as comma-separated text in UTF-8"
        raise PanelError(request.call(), "the file is text in UTF-8", str(problem), cure) from problem
    every = [line for line, _ in rows]
    rows = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    if not rows[1:]:
        came = "an empty file" if not rows else "a header and no rows"
        cure = "check where the file comes from"
        raise PanelError(request.call(), "the file has a header line and rows below it", came, cure)
    header = rows[0][1]
    if _has_two_headers([row for _, row in rows[:3]]):
        return {"sep": separator}, [], True
    above = next((line for line, row in rows[1:HIGHEST] if _names_dates(row)), 0) if not _names_dates(header) else 0
    mark = {"sep": separator} if separator != "," else {}
    if above:
        cure = f"{request.call(skiprows=above - 1, **mark)}, since the names are in line {above}"
        came = f"{', '.join(header[:4])} in the first line"
        raise PanelError(request.call(), "the first line has the names of the columns", came, cure)
    # A mark at the end of every line makes a column without a name or a value.
    held = [any(row[n].strip() for _, row in rows[1:] if n < len(row)) for n in range(len(header))]
    _check_header(header, held, request)
    for line, row in rows[1:]:
        if len(row) != len(header):
            came = f"{len(row)} cells in line {line}, {len(header)} in the header"
            cure = f"correct line {line}, or {request.call(skiprows=line - 1, **mark)} if the header is there"
            if line > rows[1][0] and len(header) not in [len(other) for number, other in rows if number >= line]:
                below = sum(number >= line for number in every)
                cure = request.call(skipfooter=below, engine="python", **mark)
                cure += f", without the lines below the data, or correct line {line}"
            raise PanelError(request.call(), "every line has as many cells as the header", came, cure)
    return {"sep": separator}, [line for line, _ in rows[1:]], False


def _regular_lines(file: Path, separator: str, encoding: str) -> tuple[Sequence[int], bool] | None:
    """Numbers of the lines below the header of a file that needs no closer look, and whether it has spaces; or None.

    Such a file has no quotes and no blank lines, a first line with different names in all cells, one of them that of
    dates, and as many separators as lines with that number of cells have. If some lines have more and others fewer,
    pandas refuses the first with more. The csv module takes ten times longer than pandas to see that.
    """
    with file.open("rb") as content:
        first = [line.decode(encoding).split(separator) for line in islice(content, HIGHEST)]
        size = content.seek(0, io.SEEK_END)
        content.seek(max(0, size - 100))
        tail = content.read()
    size -= len(tail) - len(tail.rstrip(b"\r\n"))
    header, *rows = [[cell.strip() for cell in line] for line in first] or [[]]
    if (
        len({*header, ""}) <= len(header)
        or not _names_dates(header)
        or _has_two_headers([header, *filter(any, rows)][:3])
        or not all(len(row) == len(header) for row in rows)
    ):
        return None
    blanks = (b" ",) if separator == "\t" else (b" ", b"\t")
    marks, spaced, passed = 0, False, 0
    found_ends, found_returns = [], []
    with file.open("rb", buffering=0) as content:
        while passed < size and (block := content.read(min(BLOCK, size - passed))):
            if b'"' in block or b"\0" in block:
                return None
            codes = np.frombuffer(block, np.uint8)
            found_ends.append(np.flatnonzero(codes == ord("\n")) + passed)
            if b"\r" in block:
                found_returns.append(np.flatnonzero(codes == ord("\r")) + passed)
            marks += int(np.count_nonzero(codes == ord(separator)))
            spaced = spaced or any(blank in block for blank in blanks)
            passed += len(block)
    ends = np.concatenate(found_ends)
    # Shorter lines are blank.
    if not ends.size or np.diff(ends).min(initial=3) < 3 or passed - ends[-1] < 3:  # noqa: PLR2004
        return None
    if found_returns and not np.array_equal(np.concatenate(found_returns) + 1, ends):
        return None
    return (range(2, 2 + ends.size), spaced) if marks == (len(header) - 1) * (1 + ends.size) else None


def _has_two_headers(rows: list[list[str]]) -> bool:
    """Whether fields and symbols are in two header lines, with the name of the dates in a third or in the first."""
    if len(rows) < 3 or len(rows[0]) < 2:  # noqa: PLR2004
        return False
    first, second, third = rows
    if _are_values(first) or _are_values(second) or any(re.fullmatch(PLAIN, one) for one in [*first[1:], *second[1:]]):
        return False
    alone = bool(third[0]) and not any(third[1:]) and re.fullmatch(DATED, third[0]) is None
    symbols = second[0].lower() in SYMBOLS or not (first[0] or second[0])
    return alone or (symbols and all([*first[1:], *second[1:]]) and re.fullmatch(DATED, third[0]) is not None)


def _names_dates(cells: list[str]) -> bool:
    """Whether a line has the names of columns, one of them that of dates."""
    names = [cell.strip() for cell in cells]
    return date_column(names) is not None and not any(re.fullmatch(f"{PLAIN}|{DATED}", name) for name in names)


def _are_values(cells: list[str]) -> bool:
    """Whether a line has a date and numbers, not names."""
    dates = [re.fullmatch(DATED, cell) is not None for cell in cells]
    numbers = [re.fullmatch(PLAIN, cell) is not None for cell in cells]
    others = [number for number, day in zip(numbers, dates, strict=True) if not day]
    return dates[0] or (any(dates) and any(others)) or all(numbers)


def _check_values_above(header: list[str], request: Request) -> None:
    """Refuse a first line with values where names are: its observation would be lost."""
    if date_column(header) is not None or not _are_values(header):
        return
    place = next((n for n, cell in enumerate(header) if re.fullmatch(DATED, cell)), 0)
    names = [f"column_{n}" for n in range(len(header))]
    names[place] = "date"
    names = names if place else HEADLESS.get(len(header), names)
    more = {"header": None} if request.source.lower().strip("'\"").endswith(READERS["excel"]) else {}
    cure = f"{request.call(**more, names=names)}, with the names of the columns"
    came = f"{', '.join(header[:4])} in the first line"
    raise PanelError(request.call(), "the first line has the names of the columns, not values", came, cure)


def _check_header(header: list[str], held: list[bool], request: Request) -> None:
    _check_values_above(header, request)
    twice = sorted({name for name in header if header.count(name) > 1 and name})
    if twice:
        came, cure = f"{truncate_list(twice)} more than once", "rename or drop one of them"
        raise PanelError(request.call(), "column names differ", came, cure)
    known = date_column(header) or 0
    nameless = [n + 1 for n, name in enumerate(header) if not name and held[n] and n not in (0, known)]
    if nameless:
        came, cure = f"no name over column number {truncate_list(nameless)}", "name it in the header, or drop it"
        raise PanelError(request.call(), "every column has a name", came, cure)


def _two_headers(file: Path, options: dict[str, Any]) -> pd.DataFrame:
    """Table of a file with fields and symbols in two header lines, as yfinance and pandas write it."""
    table = _read_csv(file, header=[0, 1], index_col=0, **EXACT, **options)
    fields, symbols = (list(dict.fromkeys(table.columns.get_level_values(n))) for n in (0, 1))
    names = [str(f) if len(symbols) == 1 else f"{f} {s}" for f, s in table.columns]
    if len(fields) == 1:
        names = [str(s) for _, s in table.columns]
    rows = table.set_axis(names, axis=1)
    rows.insert(0, "Date", [str(day) for day in rows.index])
    if rows["Date"].str.lower().isin(DATE_NAMES).iloc[0]:
        rows = rows.iloc[1:]
    return rows.set_axis([f"line {n + 4}" for n in range(len(rows))], axis=0)
