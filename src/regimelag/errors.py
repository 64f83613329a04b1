"""Errors in four parts: the request, the rule, the value found, and the cure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Real


class RegimelagError(ValueError):
    """Base class of errors that regimelag raises on invalid input.

    Parameters
    ----------
    asked : str
        What the caller asked for.
    rule : str
        Rule that the request breaks.
    came : str
        Value found instead.
    cure : str
        What to do.
    """

    def __init__(self, asked: str, rule: str, came: str, cure: str) -> None:
        self.asked, self.rule, self.came, self.cure = asked, rule, came, cure
        # All four as args, from which pickle and copy rebuild an exception.
        super().__init__(asked, rule, came, cure)

    def __str__(self) -> str:
        return f"{self.asked}\n  rule: {self.rule}\n  came: {self.came}\n  cure: {self.cure}"


class SpecError(RegimelagError):
    """Invalid model spec."""


class PanelError(RegimelagError):
    """Invalid data, or data that do not fit a panel or a spec."""


class FetchError(RegimelagError):
    """Data that cannot be fetched from their source."""


class FitError(RegimelagError):
    """Invalid fit, or invalid request of a fit."""


def require(condition: bool, asked: str, rule: str, came: object, cure: str) -> None:
    """Raise `SpecError` unless the condition holds."""
    if not condition:
        # An empty text is shown with its quotes.
        raise SpecError(asked, rule, came if isinstance(came, str) and came.strip() else repr(came), cure)


def require_choice(asked: str, name: str, value: object, choices: Iterable[str]) -> None:
    """Raise `SpecError` unless the value is one of the choices; the cure names the closest."""
    options = sorted(choices)
    close = difflib.get_close_matches(str(value), options, n=1)
    cure = f"write {name} = {close[0]!r}" if close else f"choose one of {options}"
    fits = isinstance(value, str) and value in options
    require(fits, asked, f"{name} is one of {options}", f"{name} = {value!r}", cure)


def require_tuple(asked: str, name: str, value: object) -> None:
    """Raise `SpecError` unless the value is a tuple; the cure is a list of the one value."""
    require(isinstance(value, tuple), asked, f"{name} are a list", f"{name} = {value!r}", f"write {name} = [{value!r}]")


def require_choices(asked: str, name: str, values: object, choices: Iterable[str]) -> None:
    """Raise `SpecError` unless this is a tuple of some of the choices; the cure is such a list."""
    options = sorted(choices)
    given = values if isinstance(values, tuple) else (values,)
    close = [one for value in given for one in difflib.get_close_matches(str(value), options, n=1)]
    cure = f"write {name} = {list(dict.fromkeys(close))}" if close else f"choose from {options}, in a list"
    fits = isinstance(values, tuple) and all(value in options for value in values)
    require(fits, asked, f"{name} is a list of some of {options}", f"{name} = {values!r}", cure)


def require_positive(asked: str, name: str, value: object, least: float = 0.0) -> None:
    """Raise `SpecError` unless the value is a number above `least`."""
    ok = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and float(value) > least
    wanted = f"a number above {least:g}" if least >= 0 else "a number, zero or above"
    require(ok, asked, f"{name} is {wanted}", f"{name} = {value!r}", f"give {name} {wanted}")
