"""Retries after temporary faults of a server.

The wait doubles with each attempt and has a random part, so that many users do not return at the same moment. A
Retry-After header is obeyed.
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

# Tests replace it by this name, so that they do not wait.
pause = time.sleep


class PassingError(Exception):
    """A temporary fault.

    Parameters
    ----------
    came : str
        Description of the fault, safe to print.
    wait : float, optional
        Seconds to wait, if the server states them.
    """

    def __init__(self, came: str, *, wait: float | None = None) -> None:
        super().__init__(came)
        self.came, self.wait = came, wait


def with_retries[T](ask: Callable[[], T], *, asked: str, source: str) -> T:
    """Call a function until it succeeds, at most five times.

    Parameters
    ----------
    ask : callable
        Makes one request; raises `PassingError` for a temporary fault.
    asked : str
        First part of an error message: what the caller asked for.
    source : str
        Name of the server in words.

    Raises
    ------
    FetchError
        If the last attempt fails, or the server asks for a wait of more than two minutes.
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
            # Not used for security.
            own = FIRST_WAIT * 2 ** (count - 1) * random.uniform(1.0, 1.25)  # noqa: S311
            pause(own if wait is None else wait)
    # Raised outside of the except clause: the context, a client's exception, may contain a URL with a key.
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
