"""Asking a server again after a fault that may pass, politely.

The wait doubles from try to try, with a random part so that many users do not come back at the same moment, and a
server that says when to come back (Retry-After) is taken at its word.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pandas as pd

from regimelag.errors import FetchError

TRIES = 5
FIRST_WAIT = 1.0
LONGEST_WAIT = 120.0

# Called by this name alone, so that tests need not wait.
pause = time.sleep


class PassingError(Exception):
    """A fault that may be gone in a moment.

    Parameters
    ----------
    came : str
        What came, in words that may be printed.
    wait : float, optional
        Seconds that the server asks to wait.
    """

    def __init__(self, came: str, *, wait: float | None = None) -> None:
        super().__init__(came)
        self.came, self.wait = came, wait


def with_retries[T](ask: Callable[[], T], *, asked: str, source: str) -> T:
    """Ask until there is an answer, at most five times.

    Parameters
    ----------
    ask : callable
        Asks once; raises `PassingError` where another try is worth it.
    asked : str
        What the caller asked for, the first part of an error.
    source : str
        Who answers, in words.

    Raises
    ------
    FetchError
        If the last try fails too, or the server asks for a longer wait than two minutes.
    """
    came = ""
    for count in range(1, TRIES + 1):
        try:
            return ask()
        except PassingError as fault:
            came, wait = fault.came, fault.wait
        if wait is not None and wait > LONGEST_WAIT:
            came += f", and the server asks to wait {wait:.0f} s"
            break
        if count < TRIES:
            # No secret depends on this random number.
            own = FIRST_WAIT * 2 ** (count - 1) * random.uniform(1.0, 1.25)  # noqa: S311
            pause(own if wait is None else wait)
    # Raised out here, where no exception of a client, which may hold an address with a key, is its context.
    rule = f"{source} answers within {TRIES} tries"
    cure = "check the network, and come back later; what was fetched before stays in the cache"
    raise FetchError(asked, rule, f"{came}, after {count} {'try' if count == 1 else 'tries'}", cure)


def seconds_to_wait(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    number = header.strip()
    if number.isascii() and number.isdigit():
        return float(number)
    try:
        moment = pd.Timestamp(parsedate_to_datetime(header))
    except (ValueError, OverflowError):
        return None
    return max((moment - pd.Timestamp.now(moment.tz)).total_seconds(), 0.0)
