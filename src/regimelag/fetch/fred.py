"""Series from FRED, and their vintages from ALFRED."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Callable
from pathlib import Path

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
from regimelag.fetch.download import fred_csv, has_key
from regimelag.fetch.fred_client import FredClient, as_secret, check_table, find_key, readable
from regimelag.panel.periods import first_days
from regimelag.panel.rows import parse_day

SERIES = {
    "real_yield_10y": "DFII10",
    "dollar_index": "DTWEXBGS",
    "btc_usd": "CBBTCUSD",
    "eth_usd": "CBETHUSD",
    "vix": "VIXCLS",
    "yield_2y": "DGS2",
    "fed_funds": "DFF",
    "breakeven_10y": "T10YIE",
    "m2_nsa_bn": "WM2NS",
    "m2_sa_bn": "M2SL",
    "fed_assets_mn": "WALCL",
}
# Publication delay of each series as a spec's `delay`, and its reason. The H.6 release of money stock is on the fourth
# Tuesday of each month since February 2021, for all weeks and the month before: at most 57 days after the Monday that
# dates a week, and 58 after the first of the month that dates a month. H.4.1 is published at 16:30 in New York, after
# silver's close, so its values count from the next day on, which also covers releases moved by a Thursday's holiday.
DELAYS = {
    "DFII10": ("1B", "published on the next business day"),
    "DTWEXBGS": ("W-MON", "published on Mondays for the week before"),
    "CBBTCUSD": ("0D", "known at its own close"),
    "CBETHUSD": ("0D", "known at its own close"),
    "VIXCLS": ("0D", "known at its own close"),
    "DGS2": ("1B", "published on the next business day"),
    "DFF": ("1B", "published on the next business day"),
    "T10YIE": ("1B", "published on the next business day"),
    "WM2NS": ("57D", "weeks dated by their Monday, published on the fourth Tuesday of the next month (H.6)"),
    "M2SL": ("58D", "months dated by their first day, published on the fourth Tuesday of the next month (H.6)"),
    "WALCL": ("2D", "as of Wednesday, published on Thursday at 16:30 in New York, after the close (H.4.1)"),
}
# Monthly series that are averages of daily values.
AVERAGES = frozenset(
    {
        *("FEDFUNDS", "TB3MS", "TB6MS", "GS1", "GS2", "GS3", "GS5", "GS7", "GS10", "GS20", "GS30"),
        *("AAA", "BAA", "M1SL", "M2SL", "M1NS", "M2NS", "TWEXBGSMTH", "EXUSEU", "EXJPUS", "EXUSUK", "MCOILWTICO"),
        *("POILBREUSDM", "PCOPPUSDM"),
    }
)
MARKET = {name: f"fetch_market([{name!r}]) has it" for name in ("silver_usd", "gold_usd", "spy_usd")}
IDENTIFIER = re.compile(r"[A-Z0-9_]+")

# Start of the baseline model's window, earlier than the prices of any exchange on FRED.
WINDOW = pd.Timestamp("2013-01-01")

# FRED refuses a real-time period with more than 2,000 vintages (a series has at most one per day), and truncates a
# response after this many rows without an error.
MOST_VINTAGES = 2000
MOST_ROWS = 100_000
OPEN_END = pd.Timestamp("9999-12-31")


def fetch_fred(
    columns: Columns,
    *,
    as_of: str | dt.date | np.datetime64 | None = None,
    api_key: str | None = None,
    api_key_file: str | Path | None = None,
    cache: str | Path | None = None,
    max_age: str | pd.Timedelta | None = None,
    timeout: float = 30.0,
) -> pd.DataFrame:
    """Fetch series from FRED, or read them from the cache.

    Parameters
    ----------
    columns : str, sequence of str, or mapping of column to FRED identifier
        Column names of the package (real_yield_10y, dollar_index, btc_usd, eth_usd, vix, yield_2y, fed_funds,
        breakeven_10y, m2_nsa_bn, m2_sa_bn, fed_assets_mn), or FRED identifiers, such as "DGS10", which then name the
        column.
    as_of : date-like, optional
        Return the values known on that day, from ALFRED; by default the latest values.
    api_key, api_key_file : str, path, optional
        The key, or a file with the key on its first line; otherwise the environment variable FRED_API_KEY. Without any,
        the latest values come from FRED's download of a graph as CSV; `as_of` needs a key, unless the cache has the
        series. It is never written or printed.
    cache : path, optional
        Folder of the cache, which processes may share; by default regimelag in the user's cache folder (on Linux
        XDG_CACHE_HOME or ~/.cache).
    max_age : str or Timedelta, optional
        Maximum age of cached series, such as "7D"; older ones are fetched again. By default any age is accepted.
    timeout : float
        Seconds to wait for a response before the next attempt. A response is read for at most ten times as long.

    Returns
    -------
    DataFrame (date, column)
        Floats in FRED's units (per cent, index points, USD, millions or billions of USD), NaN where missing, as input
        of `make_panel`. ``attrs["notes"]`` has sentences on the source, age and publication delay of each column,
        ``attrs["origin"]`` the same by column.

    Warns
    -----
    UserWarning
        If a cached series is older than a week, or if the Bitcoin series begins after 2013-01-01, as Coinbase's does.

    Raises
    ------
    FetchError
        If the key is missing or invalid, the series or a value on that day does not exist, FRED does not respond, or
        the cache cannot be used.

    See Also
    --------
    fetch_vintages : all published values, with publication dates.
    fetch_market : silver, gold and other prices that FRED does not have.
    """
    secret, api_key = as_secret(api_key), None
    asked = f"fetch_fred({repr_columns(columns)}{'' if as_of is None else f', as_of={str(as_of)!r}'})"
    wanted = resolve_columns(columns, SERIES, IDENTIFIER, asked=asked, hints=MARKET)
    day = None if as_of is None else _day(as_of, asked)
    check_timeout(timeout, asked)
    limit, folder = store.read_age(max_age, asked), store.folder_of(cache, asked)
    values, notes, origin = {}, [], {}
    for column, identifier in wanted.items():
        client = FredClient(lambda: find_key(secret, api_key_file, asked), timeout, f"{asked}, series {identifier}")
        fetch = _observations(client, identifier, day)
        if day is None and not has_key(secret, api_key_file):
            fetch = fred_csv(identifier, timeout, client.asked)
        name = f"fred-{identifier}" + (f"-as-of-{day:%Y-%m-%d}" if day is not None else "")
        source = {"source": "FRED", "series": identifier}
        held = store.get_or_fetch(folder, name, fetch, about=source, max_age=limit, asked=asked)
        values[column] = held.table.set_index("date")["value"]
        known = "" if day is None else f" It holds what was known on {day:%Y-%m-%d}."
        delay, reason = DELAYS.get(identifier, ("", ""))
        late = f' Its delay in a spec is "{delay}": {reason}.' if delay else ""
        period = "" if delay else first_days(values[column])
        if period:
            late = (
                f' It is dated by the first day of each {period}: write dated = "start" in a spec, and a delay from '
                f"the end of the {period}" + (', and value = "average".' if identifier in AVERAGES else ".")
            )
        notes += [age_note(column, identifier, held) + known + late, *_late_start(column, identifier, values[column])]
        known_on = {"delay": delay or None, "as_of": None if day is None else f"{day:%Y-%m-%d}"}
        origin[column] = origin_attrs(identifier, held, **known_on)
    return wide_frame(values, notes, origin)


def fetch_vintages(
    columns: Columns,
    *,
    api_key: str | None = None,
    api_key_file: str | Path | None = None,
    cache: str | Path | None = None,
    max_age: str | pd.Timedelta | None = None,
    timeout: float = 30.0,
) -> pd.DataFrame:
    """Fetch all published values of FRED series, with publication dates.

    ALFRED records the vintages of a series from some day on, later than its first observation; earlier vintages are not
    available. A value that was withdrawn without a replacement is not reported.

    Parameters
    ----------
    columns, api_key, api_key_file, cache, max_age, timeout
        See `fetch_fred`.

    Returns
    -------
    DataFrame
        ``column``; ``date`` of the observation; ``published``, the first day on which ``value`` was the latest one (NaN
        if missing); sorted by these three. Pass it to ``make_panel(spec, frame, vintages=...)``. On the first recorded
        day ``published`` is an upper bound of the publication date. ``attrs`` as in `fetch_fred`.

    Raises
    ------
    FetchError
        As in `fetch_fred`.
    """
    secret, api_key = as_secret(api_key), None
    asked = f"fetch_vintages({repr_columns(columns)})"
    wanted = resolve_columns(columns, SERIES, IDENTIFIER, asked=asked, hints=MARKET)
    check_timeout(timeout, asked)
    limit, folder = store.read_age(max_age, asked), store.folder_of(cache, asked)
    tables, notes, origin = [], [], {}
    for column, identifier in wanted.items():
        client = FredClient(lambda: find_key(secret, api_key_file, asked), timeout, f"{asked}, series {identifier}")
        source = {"source": "ALFRED", "series": identifier}
        name = f"fred-{identifier}-vintages"
        held = store.get_or_fetch(folder, name, _vintages(client, identifier), about=source, max_age=limit, asked=asked)
        tables.append(held.table.assign(column=column)[["column", "date", "published", "value"]])
        notes.append(f"{age_note(column, identifier, held)} Vintages begin on {held.table['published'].min().date()}.")
        origin[column] = origin_attrs(identifier, held)
    tidy = pd.concat(tables, ignore_index=True)
    tidy.attrs = {"notes": notes, "origin": origin}
    return tidy


def _observations(client: FredClient, identifier: str, day: pd.Timestamp | None) -> Callable[[], pd.DataFrame]:
    """Fetch one value per date. `get_series_as_of_date` returns every vintage up to the day, so it is not used."""
    period = {} if day is None else {"realtime_start": f"{day:%Y-%m-%d}", "realtime_end": f"{day:%Y-%m-%d}"}

    def fetch() -> pd.DataFrame:
        series = client.get_series(identifier, **period)
        _check_some(len(series), client.asked)
        table = pd.DataFrame({"date": series.index, "value": series.to_numpy(dtype=float)})
        return check_table(table).sort_values("date")

    return lambda: readable(fetch, client.asked)


def _vintages(client: FredClient, identifier: str) -> Callable[[], pd.DataFrame]:
    """Fetch all vintages, in consecutive real-time periods."""

    def fetch() -> pd.DataFrame:
        days = client.get_series_vintage_dates(identifier)
        _check_some(len(days), client.asked)
        starts = pd.date_range(min(days), max(_today(), min(days)), freq=f"{MOST_VINTAGES}D")
        ends = [*(starts[1:] - pd.Timedelta(days=1)), OPEN_END]
        pages = [page for pair in zip(starts, ends, strict=True) for page in _pages(client, identifier, *pair)]
        releases = pd.concat(pages, ignore_index=True)
        _check_some(len(releases), client.asked)
        return check_table(tidy_releases(releases))

    return lambda: readable(fetch, client.asked)


def _pages(client: FredClient, identifier: str, start: pd.Timestamp, end: pd.Timestamp) -> list[pd.DataFrame]:
    """All rows of a real-time period, split in halves if one response would be truncated."""
    page = client.get_series_all_releases(identifier, f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}")
    if len(page) < MOST_ROWS:
        return [page] if len(page) else []
    last = min(end, _today())
    middle = (start + (last - start) / 2).normalize()
    if not start < middle:
        rule = f"FRED gives at most {MOST_ROWS} rows a request"
        raise FetchError(client.asked, rule, f"as many on {start.date()} alone", "use fetch_fred with as_of")
    halves = ((start, middle - pd.Timedelta(days=1)), (middle, end))
    return [rest for half in halves for rest in _pages(client, identifier, *half)]


def tidy_releases(releases: pd.DataFrame) -> pd.DataFrame:
    """Values with the first day on which each was the latest.

    A response dates every value published before its real-time period at the period's start. These repeats, and those
    of values published again unchanged, are dropped.
    """
    table = releases.rename(columns={"realtime_start": "published"})[["date", "published", "value"]]
    table = table.sort_values(["date", "published"], ignore_index=True)
    before = table.shift()
    same = (table["value"] == before["value"]) | (table["value"].isna() & before["value"].isna())
    return table[~(same & (table["date"] == before["date"]))].reset_index(drop=True)


def _late_start(column: str, identifier: str, values: pd.Series) -> list[str]:
    first = pd.DatetimeIndex(values.dropna().index).min()
    if identifier != SERIES["btc_usd"] or not first > WINDOW:
        return []
    note = (
        f"Column {column!r} ({identifier}) is Coinbase's price and begins on {first.date()}: there is none from "
        f"{WINDOW.date()} on, where the baseline model's window begins. Join prices of your own, or "
        "start the panel later."
    )
    warnings.warn(note, stacklevel=3)
    return [note]


def _check_some(count: int, asked: str) -> None:
    if not count:
        raise FetchError(asked, "FRED has observations", "none", "check the identifier, and as_of if given")


def _day(value: str | dt.date | np.datetime64, asked: str) -> pd.Timestamp:
    """A day that has ended in St. Louis; on a later day more values may be published."""
    day = parse_day(value)
    if day is None or not day < _today():
        rule = "as_of is a day before today, as a text year-month-day and without time zone"
        raise FetchError(asked, rule, f"as_of = {value!r}", f'write as_of = "{_as_iso(value)}"')
    return day


def _as_iso(value: object) -> str:
    """A date to suggest: of a text with slashes its day-first reading, or its month-first one; else any."""
    for order in ("%d/%m/%Y", "%m/%d/%Y"):
        day = pd.to_datetime(str(value), format=order, errors="coerce")
        if isinstance(day, pd.Timestamp) and day < _today():
            return f"{day:%Y-%m-%d}"
    return "2024-03-01"


def _today() -> pd.Timestamp:
    return pd.Timestamp.now("America/Chicago").tz_localize(None).normalize()
