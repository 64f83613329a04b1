"""Conversion of arguments to plain Python values. NumPy numbers are numbers; booleans are not."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from regimelag.errors import RegimelagError

# Largest number of rows or lags, and of regimes of a process, that a spec may ask for: more are a slip of the pen, and
# would take hours or all memory before anything is said.
MOST_ROWS, MOST_REGIMES = 10_000, 100


def is_whole(value: object) -> bool:
    """Whether this is an integer of any type, except a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether this is a finite real number of any type, except a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def whole(error: type[RegimelagError], asked: str, name: str, value: Any, cure: str, *, least: int = 1) -> int:
    """Return an integer of at least `least` as an `int`; otherwise raise the error."""
    if not is_whole(value) or value < least:
        raise error(asked, f"{name} is a whole number, at least {least}", f"{name} = {value!r}", cure)
    return int(value)


def wholes(error: type[RegimelagError], asked: str, **counts: Any) -> dict[str, int]:
    """Return counts, each at least 1, as `int` by name."""
    return {name: whole(error, asked, name, value, f"give {name} such a number") for name, value in counts.items()}


def fraction(error: type[RegimelagError], asked: str, name: str, value: Any, cure: str) -> float:
    """Return a number between 0 and 1 as a `float`; otherwise raise the error."""
    if not is_number(value) or not 0 < value < 1:
        raise error(asked, f"{name} lies between 0 and 1", f"{name} = {value!r}", cure)
    return float(value)


def drawn_seed(error: type[RegimelagError], asked: str, random_seed: Any) -> int:
    """Return the seed as an `int`; draw one if it is None, so that it can be recorded."""
    if random_seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    cure = "write random_seed=1, or leave random_seed out"
    return whole(error, asked, "random_seed", random_seed, cure, least=0)


def as_plain(part: object) -> None:
    """Convert the fields of a frozen dataclass to plain Python values, in place.

    Lists and arrays become tuples, NumPy scalars become Python scalars, integers in a float field become floats, and a
    single number in a field for several becomes a tuple. The object is then hashable, equals the one rebuilt from TOML,
    and has one TOML form.
    """
    for item in fields(part):  # type: ignore[arg-type]
        given = getattr(part, item.name)
        kind = str(item.type)
        value = _plain(given, floats="float" in kind)
        if "tuple[float" in kind and is_number(value):
            value = (value,)
        if value is not given:
            object.__setattr__(part, item.name, value)


def _plain(value: Any, *, floats: bool) -> Any:
    if isinstance(value, (np.number, np.bool_, np.str_)) or (isinstance(value, np.ndarray) and not value.ndim):
        value = value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(_plain(each, floats=floats) for each in value)
    return float(value) if floats and is_whole(value) else value
