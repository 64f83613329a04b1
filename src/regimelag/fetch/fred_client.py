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
from collections.abc import Callable
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
GET_KEY = "a free key is had at https://fred.stlouisfed.org/docs/api/api_key.html"
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
OK, REDIRECT, BAD_REQUEST = 200, 300, 400
# A response may take so many timeouts, and all responses for a series so many seconds: less than other processes wait
# for the cache.
WHOLE, LONGEST = 10, 540.0
# FRED's largest response, 100,000 rows, has 11 MB.
LARGEST = 64 * 2**20
PIECE = 2**16
TABLES = {"observations", "vintage_dates"}


def find_key(api_key: str | None, api_key_file: str | Path | None, asked: str) -> str:
    """The key from the argument, the file or FRED_API_KEY; errors do not contain it."""
    if api_key is not None:
        where, key = "api_key", str(api_key).strip()
    elif api_key_file is not None:
        where, file = f"the first line of {str(api_key_file)!r}", Path(api_key_file)
        if not file.is_file():
            raise FetchError(asked, "api_key_file is a file", f"no file {str(api_key_file)!r}", "check the path")
        key = (file.read_text(encoding="utf-8-sig", errors="replace").splitlines() or [""])[0].strip()
    else:
        where, key = "FRED_API_KEY", os.environ.get("FRED_API_KEY", "").strip()
    if not KEY.fullmatch(key):
        came = f"{where} is not set" if not key else f"{where} holds {len(key)} characters that are no such key"
        cure = f"give api_key, api_key_file, or set FRED_API_KEY; {GET_KEY}"
        raise FetchError(asked, "FRED wants an API key of 32 lower-case letters and digits", came, cure)
    return key


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
        Why the response is incomplete; it may contain the key.
    """

    status: int = 0
    wait: float | None = None
    body: bytes = b""
    fault: str = ""


class FredClient(fredapi.Fred):
    """fredapi with timeouts, retries, and errors without the key; one client per series."""

    def __init__(self, find: Callable[[], str], timeout: float, asked: str) -> None:
        # Fred.__init__ requires the key now, and replaces the opener of the whole process if HTTP_PROXY is set.
        self.find, self.timeout, self.asked = find, timeout, asked
        self.until: float | None = None

    def _Fred__fetch_data(self, url: str) -> ET.Element:  # noqa: N802
        """Replace fredapi's request. The name is private to fredapi; a test checks that it is still called."""
        key = self.find()
        self.until = time.monotonic() + LONGEST if self.until is None else self.until
        return with_retries(lambda: self._ask(url, key), asked=self.asked, source="FRED")

    def _ask(self, url: str, key: str) -> ET.Element:
        left = (self.until or 0.0) - time.monotonic()
        if left <= 0:
            cure = "come back later, or ask for fewer vintages: fetch_fred with as_of"
            raise FetchError(self.asked, f"FRED's answers take {LONGEST:.0f} s at most", "they take longer", cure)
        answer = in_time(f"{url}&api_key={key}", self.timeout, min(left, WHOLE * self.timeout))
        if answer.fault:
            raise PassingError(answer.fault.replace(key, "(key)"))
        root = _parse(answer.body)
        message = (root.get("message") or "" if root is not None else "").replace(key, "(key)")
        if answer.status in TRY_AGAIN:
            raise PassingError(f"HTTP {answer.status} {message}".strip(), wait=answer.wait)
        if REDIRECT <= answer.status < BAD_REQUEST:
            raise PassingError(f"HTTP {answer.status}, a redirect to another server")
        if answer.status != OK or (root is not None and root.tag == "error"):
            self._refuse(answer.status, message)
        if root is None or root.tag not in TABLES:
            raise PassingError("an answer that is cut off, or is no table of FRED's")
        return root

    def get_series_all_releases(
        self, series_id: str, realtime_start: str | None = None, realtime_end: str | None = None
    ) -> pd.DataFrame:
        """As in fredapi, but faster: date, realtime_start and value of each release."""
        period = f"&realtime_start={realtime_start}&realtime_end={realtime_end}"
        root = self._Fred__fetch_data(f"{self.root_url}/series/observations?series_id={series_id}{period}")
        names = ("date", "realtime_start", "value")
        frame = pd.DataFrame([[child.get(name) for name in names] for child in root], columns=list(names))
        values = [np.nan if value == self.nan_char else float(value) for value in frame["value"]]
        dates = {name: pd.to_datetime(frame[name], format="%Y-%m-%d") for name in names[:2]}
        return pd.DataFrame(dates | {"value": np.array(values, dtype=float)})

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


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """Raise `ValueError` if a date is missing or a value infinite."""
    for name in table.columns:
        if name != "value" and table[name].isna().any():
            raise ValueError(f"a row without {name}")
    if np.isinf(table["value"]).any():
        raise ValueError("an infinite value")
    return table


class _SameServer(HTTPRedirectHandler):
    """Refuse redirects to another server, which would receive the key."""

    def redirect_request(self, req: Request, *answer: Any) -> Request | None:
        *_, address = answer
        same = urlsplit(address)[:2] == urlsplit(req.full_url)[:2]
        return super().redirect_request(req, *answer) if same else None


def in_time(address: str, timeout: float, seconds: float) -> Answer:
    """Request a URL. `timeout` bounds the wait for each byte, `seconds` the whole response."""
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    until = time.monotonic() + seconds
    threading.Thread(target=lambda: answers.put(_answer(address, timeout, until)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return Answer(fault=f"no whole answer within {seconds:.0f} s")


def _answer(address: str, timeout: float, until: float) -> Answer:
    try:
        with build_opener(_SameServer).open(address, timeout=timeout) as response:
            return Answer(OK, body=_body(response, until))
    except HTTPError as problem:
        wait = seconds_to_wait(problem.headers.get("Retry-After"))
        try:
            return Answer(problem.code, wait, _body(problem, until))
        except (OSError, http.client.HTTPException):
            return Answer(problem.code, wait)
    except (OSError, http.client.HTTPException, ValueError) as problem:
        # A ValueError is an invalid URL in a redirect.
        return Answer(fault=f"{type(problem).__name__}: {problem}")


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
    except (ET.ParseError, LookupError, ValueError):
        return None
