"""CSV files by HTTP: FRED's without a key, and prices of Stooq."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from regimelag.errors import FetchError
from regimelag.fetch.fred_client import (
    OK,
    TRY_AGAIN,
    WHOLE,
    Secret,
    check_table,
    days,
    in_time,
    numbers,
    quoted,
)
from regimelag.fetch.retry import PassingError, with_retries

# Tests replace these addresses by that of a server of their own.
FRED_GRAPH = "https://fred.stlouisfed.org/graph/fredgraph.csv"
STOOQ = "https://stooq.com/q/d/l/"
NOT_FOUND, BAD_REQUEST = 404, 400
HEADER = re.compile(rb"[\w .<>/-]+(,[\w .<>/-]+)+\r?\n")


def has_key(api_key: Secret | None, api_key_file: str | Path | None) -> bool:
    """Whether a key of FRED is given in any of the three ways."""
    return api_key is not None or api_key_file is not None or bool(os.environ.get("FRED_API_KEY", "").strip())


def fred_csv(identifier: str, timeout: float, asked: str) -> Callable[[], pd.DataFrame]:
    """Function that fetches the latest values of a series from FRED's download of its graph, without a key."""
    address = f"{FRED_GRAPH}?id={quote(identifier)}"
    missing = "check the identifier on https://fred.stlouisfed.org"

    def fetch() -> pd.DataFrame:
        table = _download(address, timeout, asked, "FRED", missing)
        return _dated(table, table.columns[0], identifier, asked, "FRED", "get a key and set FRED_API_KEY")

    return fetch


def stooq_csv(symbol: str, timeout: float, asked: str) -> Callable[[], pd.DataFrame]:
    """Function that fetches daily closes of a symbol from Stooq, without the current day."""
    address = f"{STOOQ}?s={quote(symbol)}&i=d"
    missing = "check the symbol on https://stooq.com"

    def fetch() -> pd.DataFrame:
        table = _download(address, timeout, asked, "Stooq", missing)
        closes = _dated(table, "Date", "Close", asked, "Stooq", 'download the file and read_series("file.csv")')
        # Stooq dates prices by the day in Poland; the day that is not over has no close.
        today = pd.Timestamp.now("Europe/Warsaw").tz_localize(None).normalize()
        return closes[closes["date"] < today]

    return fetch


def _download(address: str, timeout: float, asked: str, source: str, missing: str) -> pd.DataFrame:
    body = with_retries(lambda: _ask(address, timeout, asked, source, missing), asked=asked, source=source)
    try:
        return pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as fault:
        came = f"{type(fault).__name__}: {fault}"
    raise FetchError(asked, f"{source}'s file is CSV", f"{came} in {quoted(body)}", "come back later")


def _ask(address: str, timeout: float, asked: str, source: str, missing: str) -> bytes:
    answer = in_time(address, timeout, WHOLE * timeout)
    if answer.fault:
        raise PassingError(answer.fault)
    if answer.status in TRY_AGAIN:
        raise PassingError(f"HTTP {answer.status}", wait=answer.wait)
    said = answer.body[:200].decode("utf-8", "replace").strip()
    if answer.status in (NOT_FOUND, BAD_REQUEST) or said.lower().startswith("no data"):
        came = f"HTTP {answer.status} {said.splitlines()[0] if said and '<' not in said else ''}".strip()
        raise FetchError(asked, f"{source} has the series", came, missing)
    if answer.status != OK or not HEADER.match(answer.body) or not answer.body.endswith(b"\n"):
        came = f"HTTP {answer.status}, {quoted(answer.body)}"
        raise PassingError(f"an answer that is cut off, or no CSV: {came}")
    return answer.body


def _dated(table: pd.DataFrame, date: str, value: str, asked: str, source: str, cure: str) -> pd.DataFrame:
    """Columns date and value, ascending; raise `FetchError` if the table does not have them."""
    rule = f"{source}'s file has dates and numbers in columns {date!r} and {value!r}"
    if not {date, value} <= set(table.columns) or not len(table):
        came = f"{len(table)} rows of columns {', '.join(map(str, table.columns[:6]))}"
        raise FetchError(asked, rule, came, cure)
    problem = ""
    try:
        held = pd.DataFrame({"date": days(table[date]), "value": numbers(table[value], ("", "."))})
        return check_table(held).sort_values("date", ignore_index=True)
    except ValueError as fault:
        problem = str(fault)
    raise FetchError(asked, rule, problem, cure)
