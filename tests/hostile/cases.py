"""A hostile input, and the verdict on what came of it."""

from __future__ import annotations

import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import regimelag as rl

RIGHT, REFUSED, RAW, SILENT, ENDLESS = "right", "refused", "raw", "silent", "endless"
HANDLED = (RIGHT, REFUSED)
# Seconds after which a case counts as one without end. No test measures a time: cases take far less.
LONGEST = 120


class Case(NamedTuple):
    """One input.

    Attributes
    ----------
    area, name : str
        Where it belongs, and what it is.
    call : callable
        Makes the input and uses it. Returns an empty text if the result is right, else what is wrong; an error of ours
        is a right answer too, if it has a cure.
    refused : bool
        Whether an error of ours is the only right answer.
    """

    area: str
    name: str
    call: Callable[[], str]
    refused: bool = False


class Outcome(NamedTuple):
    """What came of a case, and its details."""

    kind: str
    detail: str = ""


def outcome(case: Case) -> Outcome:
    """Run a case."""
    try:
        with warnings.catch_warnings(), _limited(LONGEST):
            warnings.simplefilter("ignore")
            wrong = case.call()
    except rl.RegimelagError as problem:
        parts = (problem.asked, problem.rule, problem.came, problem.cure)
        said = all(isinstance(part, str) and part.strip() for part in parts)
        return Outcome(REFUSED, str(problem)) if said else Outcome(RAW, f"an error without its four parts: {parts}")
    except _Endless:
        return Outcome(ENDLESS, f"more than {LONGEST} s")
    except BaseException as problem:
        last = traceback.extract_tb(problem.__traceback__)[-1]
        return Outcome(RAW, f"{type(problem).__name__}: {problem} ({last.filename}:{last.lineno})")
    if wrong:
        return Outcome(SILENT, wrong)
    return Outcome(SILENT, "accepted") if case.refused else Outcome(RIGHT)


def failures(cases: Iterator[Case]) -> list[str]:
    """Cases with a raw error, a silent fault, or no end."""
    found = [(case, outcome(case)) for case in cases]
    assert found
    return [f"{case.area}, {case.name}: {one.kind}: {one.detail}" for case, one in found if one.kind not in HANDLED]


class _Endless(BaseException):
    """Raised in a case that takes too long."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _Endless

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
