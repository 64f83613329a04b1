"""Prices that FRED does not have, from Yahoo by yfinance, an optional dependency, or from Stooq."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd

from regimelag.errors import FetchError
from regimelag.fetch import cache as store
from regimelag.fetch.common import (
    Columns,
    age_note,
    check_timeout,
    origin_attrs,
    repr_columns,
    resolve_columns,
    wide_frame,
)
from regimelag.fetch.download import stooq_csv
from regimelag.fetch.fred_client import LARGEST
from regimelag.fetch.retry import PassingError, with_retries
from regimelag.runtime.plain import one_of
from regimelag.runtime.versions import declared, install_command

SYMBOLS = {
    "silver_usd": "SLV",
    "gold_usd": "GC=F",
    "btc_usd": "BTC-USD",
    "eth_usd": "ETH-USD",
    "spy_usd": "SPY",
}
STOOQ_SYMBOLS = {
    "silver_usd": "slv.us",
    "gold_usd": "gc.f",
    "btc_usd": "btc.v",
    "eth_usd": "eth.v",
    "spy_usd": "spy.us",
}
SOURCES = ("yahoo", "stooq")
RATES = ("real_yield_10y", "vix", "yield_2y", "fed_funds", "breakeven_10y")
ELSEWHERE = ("dollar_index", "m2_nsa_bn", "m2_sa_bn", "fed_assets_mn")
FRED = {name: f"fetch_fred([{name!r}]) has it" for name in (*RATES, *ELSEWHERE)}
SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9^=.\-]*")
STOOQ_SYMBOL = re.compile(r"[a-z0-9^][a-z0-9^._\-]*")

# The SLV trust sells silver to pay a fee of 0.5 % per year, so the silver per share, one ounce at first, declines.
FEE = 0.005
FEE_SINCE = pd.Timestamp("2006-04-21")
DAYS_A_YEAR = 365.25


def fetch_market(
    columns: Columns,
    *,
    source: Literal["yahoo", "stooq"] = "yahoo",
    cache: str | Path | None = None,
    max_age: str | pd.Timedelta | None = None,
    timeout: float = 30.0,
) -> pd.DataFrame:
    """Fetch daily closes from Yahoo by yfinance or from Stooq, or read them from the cache.

    Yahoo requires yfinance: ``pip install regimelag[market]``. `regimelag.evaluation.cross_check` compares the two.

    Silver is the close of the SLV trust in New York (16:00), with its fee of 0.5 % per year removed, which gives a
    price per ounce. The London fix is not suitable: it is made at noon and misses the New York session of the same day,
    so its weekly returns correlate 0.17 with those of the New York close of the previous week, a spurious lag. For lag
    estimation closes should be near one another, and each dated by its own trading day.

    Parameters
    ----------
    columns : str, sequence of str, or mapping of column to Yahoo symbol
        Column names of the package (silver_usd, gold_usd, btc_usd, eth_usd, spy_usd), or the source's symbols, such as
        "GLD" or "gld.us", which then name the column.
    source : {"yahoo", "stooq"}
        Where prices come from. Stooq's closes of SPY are without dividends, unlike Yahoo's.
    cache, max_age
        See `fetch_fred`.
    timeout : float
        Seconds to wait for prices before the next attempt.

    Returns
    -------
    DataFrame (date, column)
        Closes in USD (for other symbols, in their currency) with dividends reinvested, dated by the local trading day:
        New York for SLV, SPY and COMEX gold (GC=F, front month), UTC for Bitcoin and Ether. The current, unfinished day
        is omitted. ``attrs`` as in `fetch_fred`.

    Warns
    -----
    UserWarning
        If a cached series is older than a week.

    Raises
    ------
    FetchError
        If yfinance is not installed, the symbol does not exist, the source does not respond, or the cache cannot be
        used.
    """
    one_of(FetchError, "fetch_market", "source", source, SOURCES)
    asked = f"fetch_market({repr_columns(columns)}{'' if source == 'yahoo' else f', source={source!r}'})"
    symbols, pattern = (SYMBOLS, SYMBOL) if source == "yahoo" else (STOOQ_SYMBOLS, STOOQ_SYMBOL)
    wanted = resolve_columns(columns, symbols, pattern, asked=asked, hints=FRED)
    check_timeout(timeout, asked)
    limit, folder = store.read_age(max_age, asked), store.folder_of(cache, asked)
    values, notes, origin = {}, [], {}
    for column, symbol in wanted.items():
        named = f"{asked}, symbol {symbol}"
        fetch = _closes(symbol, timeout, named) if source == "yahoo" else stooq_csv(symbol, timeout, named)
        about = {"source": source.capitalize(), "series": symbol}
        name = f"{'market' if source == 'yahoo' else source}-{symbol}"
        held = store.get_or_fetch(folder, name, fetch, about=about, max_age=limit, asked=asked)
        values[column] = held.table.set_index("date")["value"]
        notes.append(age_note(column, symbol, held))
        if (column, symbol) == ("silver_usd", symbols["silver_usd"]):
            values[column] = without_fee(values[column])
            fee = f"{100 * FEE:.1f} % a year since {FEE_SINCE.date()}"
            notes.append(f"The trust's fee of {fee} is taken out of {column!r}.")
        origin[column] = origin_attrs(symbol, held)
    return wide_frame(values, notes, origin)


def without_fee(closes: pd.Series) -> pd.Series:
    """Price per ounce from the price of an SLV share, which initially held one ounce, less a fee that accrues daily.

    Parameters
    ----------
    closes : Series (date)
        USD per share.

    Returns
    -------
    Series (date)
        USD per ounce: the close times exp(0.005 t), with t the years since 2006-04-21.
    """
    years = (pd.DatetimeIndex(closes.index) - FEE_SINCE) / pd.Timedelta(days=DAYS_A_YEAR)
    return closes * np.exp(FEE * years)


def _yfinance(asked: str) -> ModuleType:
    try:
        return importlib.import_module("yfinance")
    except ImportError as problem:
        came = f"it cannot be imported: {problem}"
    cure = f"run this in a shell: {install_command(declared('market'))}"
    raise FetchError(asked, "market prices come through yfinance", came, cure)


def _closes(symbol: str, timeout: float, asked: str) -> Callable[[], pd.DataFrame]:
    def fetch() -> pd.DataFrame:
        yfinance = _yfinance(asked)
        prices = with_retries(lambda: _ask(yfinance, symbol, timeout, asked), asked=asked, source="Yahoo")
        return finished_days(prices["Adj Close"], pd.Timestamp.now("UTC"))

    return fetch


def finished_days(closes: pd.Series, now: pd.Timestamp) -> pd.DataFrame:
    """Closes by local trading day, without the current, unfinished day.

    Parameters
    ----------
    closes : Series (moment)
        Indexed by timestamps in the market's own time zone; in UTC the day of an Asian market would be the previous
        one.
    now : Timestamp
        Current time, in any time zone.
    """
    moments = pd.DatetimeIndex(closes.index)
    days = moments.tz_localize(None).normalize()
    over = (days < now.tz_convert(moments.tz).tz_localize(None).normalize()) & closes.notna().to_numpy()
    return pd.DataFrame({"date": days[over], "value": closes.to_numpy(dtype=float)[over]})


def _ask(yfinance: ModuleType, symbol: str, timeout: float, asked: str) -> pd.DataFrame:
    refused = fault = broken = ""
    missing = (yfinance.exceptions.YFTzMissingError, yfinance.exceptions.YFPricesMissingError)
    try:
        with _outspoken(yfinance), _bounded(yfinance):
            prices = yfinance.Ticker(symbol).history(
                period="max", interval="1d", auto_adjust=False, actions=False, timeout=timeout
            )
    except missing as problem:
        refused = str(problem)
    except (OSError, ValueError, yfinance.exceptions.YFException) as problem:
        # An error page is not JSON and raises a ValueError.
        fault = f"{type(problem).__name__}: {problem}"
    except Exception as problem:
        broken = f"{type(problem).__name__}: {problem}"
    if refused:
        cure = "check the symbol on Yahoo Finance; if it is right, come back later"
        raise FetchError(asked, "Yahoo has prices for the symbol", refused, cure)
    if broken:
        cure = "pip install --upgrade yfinance, which follows what Yahoo changes"
        raise FetchError(asked, "yfinance understands Yahoo's answer", broken, cure)
    if fault:
        raise PassingError(fault)
    return prices


@contextmanager
def _outspoken(yfinance: ModuleType) -> Iterator[None]:
    """Make yfinance raise, and clear its response cache."""
    quiet = yfinance.config.debug.hide_exceptions
    yfinance.config.debug.hide_exceptions = False
    yfinance.data.YfData.cache_get.cache_clear()
    try:
        with warnings.catch_warnings():
            # Users cannot fix deprecated pandas calls of yfinance, and they must not fail where warnings are errors.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        yfinance.config.debug.hide_exceptions = quiet


@contextmanager
def _bounded(yfinance: ModuleType) -> Iterator[None]:
    """Bound the size of Yahoo's answers, which may be compressed; the client has no limit of its own."""
    session: Any = getattr(yfinance.data.YfData(), "_session", None)
    if not any(cls.__module__.startswith("curl_cffi") for cls in type(session).__mro__):
        yield
        return
    request = session.request

    def bounded(method: str, url: str, **options: Any) -> Any:
        pieces, size = list[bytes](), 0

        def take(piece: bytes) -> int:
            nonlocal size
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise OSError(f"an answer of more than {LARGEST // 2**20} MB")
            return len(piece)

        response = request(method, url, content_callback=take, **options)
        response.content = b"".join(pieces)
        return response

    session.request = bounded
    try:
        yield
    finally:
        session.request = request
