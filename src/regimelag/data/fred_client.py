"""fredapi with patience.

fredapi writes the addresses and reads the answers. Its one request is replaced here, since it has no timeout, hides
the status of an error, and leaves exceptions about whose address holds the key.
"""

from __future__ import annotations

import http.client
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import fredapi

from regimelag.data.retry import PassingError, insist, seconds_to_wait
from regimelag.errors import FetchError

KEY = re.compile(r"[0-9a-z]{32}")
GET_KEY = "a free key is had at https://fred.stlouisfed.org/docs/api/api_key.html"
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
OK = 200


def find_key(api_key: str | None, api_key_file: str | Path | None, asked: str) -> str:
    """The key from the argument, the file or FRED_API_KEY; errors do not show it."""
    if api_key is not None:
        where, key = "api_key", str(api_key).strip()
    elif api_key_file is not None:
        where, file = f"the first line of {str(api_key_file)!r}", Path(api_key_file)
        if not file.is_file():
            raise FetchError(asked, "api_key_file is a file", f"no file {str(api_key_file)!r}", "check the path")
        key = (file.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[0].strip()
    else:
        where, key = "FRED_API_KEY", os.environ.get("FRED_API_KEY", "").strip()
    if not KEY.fullmatch(key):
        came = f"{where} is not set" if not key else f"{where} holds {len(key)} characters that are no such key"
        cure = f"give api_key, api_key_file, or set FRED_API_KEY; {GET_KEY}"
        raise FetchError(asked, "FRED wants an API key of 32 lower-case letters and digits", came, cure)
    return key


class FredClient(fredapi.Fred):
    """fredapi with patience: timeouts, retries, and errors that hold no key."""

    def __init__(self, find: Callable[[], str], timeout: float, asked: str) -> None:
        # Fred.__init__ wants the key now, and where HTTP_PROXY is set it replaces the opener of the whole process;
        # urlopen minds proxies by itself.
        self.find, self.timeout, self.asked = find, timeout, asked

    def _Fred__fetch_data(self, url: str) -> ET.Element:  # noqa: N802
        """Take the place of fredapi's request; a private name, so a test guards that it is still the one called."""
        key = self.find()
        return insist(lambda: self._ask(url, key), asked=self.asked, source="FRED")

    def _ask(self, url: str, key: str) -> ET.Element:
        status, wait, body, fault = 200, None, b"", ""
        try:
            with urlopen(f"{url}&api_key={key}", timeout=self.timeout) as response:  # noqa: S310
                body = response.read()
        except HTTPError as problem:
            status, wait = problem.code, seconds_to_wait(problem.headers.get("Retry-After"))
            body = _rest(problem)
        except (OSError, http.client.HTTPException) as problem:
            fault = f"{type(problem).__name__}: {problem}".replace(key, "(key)")
        if fault:
            raise PassingError(fault)
        root = _parse(body)
        message = (root.get("message") or "" if root is not None else "").replace(key, "(key)")
        if status in TRY_AGAIN:
            raise PassingError(f"HTTP {status} {message}".strip(), wait=wait)
        if status != OK:
            self._refuse(status, message)
        if root is None:
            raise PassingError("an answer that is cut off, or is no XML")
        return root

    def _refuse(self, status: int, message: str) -> None:
        cure = "read FRED's message"
        if "api_key" in message:
            cure = f"check the key; {GET_KEY}"
        elif "ALFRED" in message or "realtime" in message:
            cure = "ask for a later day, and none to come: vintages begin with the first that fetch_vintages returns"
        elif "does not exist" in message:
            cure = "check the identifier on https://fred.stlouisfed.org"
        raise FetchError(self.asked, "FRED takes the request", f"HTTP {status} {message}".strip(), cure)


def _rest(problem: HTTPError) -> bytes:
    """Body of an error, as far as it comes."""
    try:
        return problem.read()
    except (OSError, http.client.HTTPException):
        return b""


def _parse(body: bytes) -> ET.Element | None:
    try:
        return ET.fromstring(body)  # noqa: S314
    except ET.ParseError:
        return None
