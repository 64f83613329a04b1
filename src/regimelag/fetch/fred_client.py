"""fredapi with timeouts and retries.

fredapi builds the URLs and parses the responses. Its single request method is replaced, since it has no timeout, hides
the HTTP status, and raises exceptions with the URL, which contains the key. Its reader of vintages is replaced too, as
it takes minutes for many of them.
"""

from __future__ import annotations

import http.client
import os
import queue
import re
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import fredapi
import numpy as np
import pandas as pd

from regimelag.errors import FetchError
from regimelag.fetch.retry import PassingError, seconds_to_wait, with_retries

KEY = re.compile(r"[0-9a-z]{32}")
# Numbers and days as FRED writes them; Python's float also accepts "inf", "1_0" and other digits.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
GET_KEY = "a free key is had at https://fred.stlouisfed.org/docs/api/api_key.html"
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
OK, REDIRECT, BAD_REQUEST = 200, 300, 400
# A response may take so many timeouts, and all responses for a series so many seconds: less than other processes wait
# for the cache.
WHOLE, LONGEST = 10, 540.0
# FRED's largest response, 100,000 rows, has 11 MB.
LARGEST = 64 * 2**20
# Characters of a key file that are read, and of a response that are quoted.
LONGEST_LINE, QUOTED = 1000, 80
PIECE = 2**16
TABLES = {"observations", "vintage_dates"}


class Secret:
    """An API key that is not in its repr, so that no printed frame or pickled object contains it."""

    def __init__(self, text: str) -> None:
        self._text = lambda: text

    def __repr__(self) -> str:
        return "(key)"

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, ("",)

    def reveal(self) -> str:
        """The key, for a request."""
        return self._text()

    def removed_from(self, text: str) -> str:
        """A text without the key."""
        return text.replace(self.reveal(), "(key)") if self.reveal() else text


def as_secret(api_key: str | None) -> Secret | None:
    """The caller's key, so that the frames of the package do not show it."""
    return None if api_key is None else Secret(str(api_key).strip())


def find_key(api_key: Secret | None, api_key_file: str | Path | None, asked: str) -> Secret:
    """The key from the argument, the file or FRED_API_KEY; errors do not contain it."""
    where, key = _given_key(api_key, api_key_file, asked)
    if not KEY.fullmatch(key.reveal()):
        length = len(key.reveal())
        came = f"{where} holds {length} characters that are no such key" if length else f"{where} is not set"
        cure = f"give api_key, api_key_file, or set FRED_API_KEY; {GET_KEY}"
        raise FetchError(asked, "FRED wants an API key of 32 lower-case letters and digits", came, cure)
    return key


def _given_key(api_key: Secret | None, api_key_file: str | Path | None, asked: str) -> tuple[str, Secret]:
    """Where the key is given, and what is there."""
    if api_key is not None:
        return "api_key", api_key
    if api_key_file is None:
        return "FRED_API_KEY", Secret(os.environ.get("FRED_API_KEY", "").strip())
    file, problem = Path(api_key_file), ""
    try:
        if file.is_file():
            with file.open(encoding="utf-8-sig", errors="replace") as lines:
                return f"the first line of {str(api_key_file)!r}", Secret(lines.readline(LONGEST_LINE).strip())
        problem = f"no file {str(api_key_file)!r}"
    except (OSError, ValueError) as fault:
        problem = f"{type(fault).__name__}: {fault}"
    raise FetchError(asked, "api_key_file is a file that can be read", problem, "check the path")


class Answer(NamedTuple):
    """Response to a request.

    Attributes
    ----------
    status : int
        HTTP status; 0 without a response.
    wait : float, optional
        Seconds to wait before the next request, if the server states them.
    body : bytes
        Content, possibly incomplete.
    fault : str
        Why the response is incomplete.
    """

    status: int = 0
    wait: float | None = None
    body: bytes = b""
    fault: str = ""


class FredClient(fredapi.Fred):
    """fredapi with timeouts, retries, and errors without the key; one client per series."""

    def __init__(self, find: Callable[[], Secret], timeout: float, asked: str) -> None:
        # Fred.__init__ requires the key now, and replaces the opener of the whole process if HTTP_PROXY is set.
        self.find, self.timeout, self.asked = find, timeout, asked
        self.until: float | None = None

    def _Fred__fetch_data(self, url: str) -> ET.Element:  # noqa: N802
        """Replace fredapi's request. The name is private to fredapi; a test checks that it is still called."""
        key = self.find()
        self.until = time.monotonic() + LONGEST if self.until is None else self.until
        return with_retries(lambda: self._ask(url, key), asked=self.asked, source="FRED")

    def _ask(self, url: str, key: Secret) -> ET.Element:
        left = (self.until or 0.0) - time.monotonic()
        if left <= 0:
            cure = "come back later, or ask for fewer vintages: fetch_fred with as_of"
            raise FetchError(self.asked, f"FRED's answers take {LONGEST:.0f} s at most", "they take longer", cure)
        answer = in_time(url, self.timeout, min(left, WHOLE * self.timeout), key)
        if answer.fault:
            raise PassingError(answer.fault)
        root = _parse(answer.body)
        message = (root.get("message") or "" if root is not None else "")[:500]
        if answer.status in TRY_AGAIN:
            raise PassingError(f"HTTP {answer.status} {message}".strip(), wait=answer.wait)
        if REDIRECT <= answer.status < BAD_REQUEST:
            raise PassingError(f"HTTP {answer.status}, a redirect to another server")
        if answer.status != OK or (root is not None and root.tag == "error"):
            self._refuse(answer.status, message)
        if root is None or root.tag not in TABLES:
            raise PassingError(f"an answer that is cut off, or is no table of FRED's: {quoted(answer.body)}")
        return root

    def get_series(
        self, series_id: str, observation_start: str | None = None, observation_end: str | None = None, **period: str
    ) -> pd.Series:
        """As in fredapi, but strict: the value of each date."""
        del observation_start, observation_end
        given = "".join(f"&{name}={value}" for name, value in period.items())
        frame = self._observations(f"{series_id}{given}", ("date", "value"))
        return pd.Series(frame["value"].to_numpy(), index=pd.DatetimeIndex(frame["date"]))

    def get_series_all_releases(
        self, series_id: str, realtime_start: str | None = None, realtime_end: str | None = None
    ) -> pd.DataFrame:
        """As in fredapi, but strict and faster: date, realtime_start and value of each release."""
        period = f"&realtime_start={realtime_start}&realtime_end={realtime_end}"
        return self._observations(f"{series_id}{period}", ("date", "realtime_start", "value"))

    def get_series_vintage_dates(self, series_id: str) -> list[pd.Timestamp]:
        """As in fredapi, but strict: the days on which values were published."""
        root = self._Fred__fetch_data(f"{self.root_url}/series/vintagedates?series_id={series_id}")
        return list(days([child.text for child in root]))

    def _observations(self, query: str, names: tuple[str, ...]) -> pd.DataFrame:
        root = self._Fred__fetch_data(f"{self.root_url}/series/observations?series_id={query}")
        texts = {name: [child.get(name) for child in root] for name in names}
        return pd.DataFrame({name: numbers(one) if name == "value" else days(one) for name, one in texts.items()})

    def _refuse(self, status: int, message: str) -> None:
        cure = "read FRED's message"
        if "api_key" in message:
            cure = f"check the key; {GET_KEY}"
        elif "ALFRED" in message or "realtime" in message:
            cure = "ask for a later day, and none to come: vintages begin with the first that fetch_vintages returns"
        elif "does not exist" in message:
            cure = "check the identifier on https://fred.stlouisfed.org"
        raise FetchError(self.asked, "FRED takes the request", f"HTTP {status} {message}".strip(), cure)


def readable[T](ask: Callable[[], T], asked: str) -> T:
    """Request a table; raise `FetchError` with a cure if it does not contain dates and numbers."""
    try:
        return ask()
    except FetchError:
        raise
    except (ValueError, TypeError, ArithmeticError) as problem:
        came = f"{type(problem).__name__}: {problem}"
    cure = "come back later; if it stays so, ask FRED about the series"
    raise FetchError(asked, "FRED's answer holds dates and finite numbers", came, cure)


def days(texts: Iterable[str | None]) -> pd.DatetimeIndex:
    """Dates from texts year-month-day; raise `ValueError` for any other text."""
    written = []
    for text in texts:
        if text is None or not DAY.fullmatch(text):
            raise ValueError(f"{text!r:.80} in place of a date")
        written.append(text)
    return pd.DatetimeIndex(pd.to_datetime(written, format="%Y-%m-%d"))


def numbers(texts: Iterable[str | None], missing: Collection[str] = (".",)) -> np.ndarray:
    """Floats from texts, NaN where missing; raise `ValueError` for a text that is no finite number."""
    values = [np.nan if text in missing else _number(text) for text in texts]
    return np.array(values, dtype=float)


def _number(text: str | None) -> float:
    value = float(text) if text is not None and NUMBER.fullmatch(text) else np.nan
    if not np.isfinite(value):
        raise ValueError(f"{text!r:.80} in place of a number")
    return value


def quoted(body: bytes) -> str:
    """The beginning of a response on one line."""
    text = " ".join(body[: 4 * QUOTED].decode("utf-8", "replace").split())
    return repr(text[:QUOTED]) if text else "nothing"


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """Raise `ValueError` if a date is missing, a value infinite, or none known."""
    for name in table.columns:
        if name != "value" and table[name].isna().any():
            raise ValueError(f"a row without {name}")
    if np.isinf(table["value"]).any():
        raise ValueError("an infinite value")
    if table["value"].isna().all():
        raise ValueError("no value")
    return table


class _SameServer(HTTPRedirectHandler):
    """Refuse redirects to another server, which would receive the key."""

    def redirect_request(self, req: Request, *answer: Any) -> Request | None:
        *_, address = answer
        same = urlsplit(address)[:2] == urlsplit(req.full_url)[:2]
        return super().redirect_request(req, *answer) if same else None


def in_time(url: str, timeout: float, seconds: float, key: Secret | None = None) -> Answer:
    """Request a URL. `timeout` bounds the wait for each byte, `seconds` the whole response."""
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    until = time.monotonic() + seconds
    ask = lambda: answers.put(_answer(url, timeout, until, key or Secret("")))  # noqa: E731
    # A thread of its own: the headers can be slow as well, and exceptions of the request hold the key.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return Answer(fault=f"no whole answer within {seconds:.0f} s")


def _answer(url: str, timeout: float, until: float, key: Secret) -> Answer:
    """The response, without the key."""
    answer = _request(f"{url}&api_key={key.reveal()}" if key.reveal() else url, timeout, until)
    if not key.reveal():
        return answer
    body = answer.body.replace(key.reveal().encode(), b"(key)")
    return answer._replace(body=body, fault=key.removed_from(answer.fault))


def _request(address: str, timeout: float, until: float) -> Answer:
    try:
        with build_opener(_SameServer).open(address, timeout=timeout) as response:
            return Answer(OK, body=_body(response, until))
    except HTTPError as problem:
        wait = seconds_to_wait(problem.headers.get("Retry-After"))
        try:
            return Answer(problem.code, wait, _body(problem, until))
        except (OSError, http.client.HTTPException):
            return Answer(problem.code, wait)
    except Exception as problem:
        # Any exception: a ValueError, for example, is an invalid URL in a redirect.
        return Answer(fault=f"{type(problem).__name__}: {problem}"[:500])


def _body(response: Any, until: float) -> bytes:
    pieces, size = [], 0
    while piece := response.read1(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise OSError(f"an answer of more than {LARGEST // 2**20} MB")
        if time.monotonic() > until:
            raise TimeoutError("the answer comes too slowly")
    return b"".join(pieces)


def _parse(body: bytes) -> ET.Element | None:
    try:
        return ET.fromstring(body)  # noqa: S314
    except (ET.ParseError, LookupError, ValueError, RecursionError):
        return None
