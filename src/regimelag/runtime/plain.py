"""Conversion of arguments to plain Python values. NumPy numbers are numbers; booleans are not."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from regimelag.errors import RegimelagError

# Largest number of rows or lags, and of regimes of a process, that a spec may ask for: more are a slip of the pen, and
# would take hours or all memory before anything is said.
MOST_ROWS, MOST_REGIMES = 10_000, 100
# Largest count of draws, runs and the like, and of chains and processes, for the same reason.
MOST_COUNT, MOST_CHAINS = 1_000_000, 1_000


def is_whole(value: object) -> bool:
    """Whether this is an integer of any type, except a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether this is a finite real number of any type, except a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def whole(
    error: type[RegimelagError],
    asked: str,
    name: str,
    value: Any,
    cure: str,
    *,
    least: int = 1,
    most: int | None = MOST_COUNT,
) -> int:
    """Return an integer of at least `least`, and at most `most`, as an `int`; otherwise raise the error."""
    if not is_whole(value) or value < least:
        raise error(asked, f"{name} is a whole number, at least {least}", f"{name} = {value!r}", cure)
    if most is not None and value > most:
        raise error(asked, f"{name} is at most {most:,}", f"{name} = {value!r}", cure)
    return int(value)


def wholes(error: type[RegimelagError], asked: str, **counts: Any) -> dict[str, int]:
    """Return counts, each at least 1, as `int` by name."""
    return {name: whole(error, asked, name, value, f"give {name} such a number") for name, value in counts.items()}


def fraction(error: type[RegimelagError], asked: str, name: str, value: Any, cure: str) -> float:
    """Return a number between 0 and 1 as a `float`; otherwise raise the error."""
    if not is_number(value) or not 0 < value < 1:
        raise error(asked, f"{name} lies between 0 and 1", f"{name} = {value!r}", cure)
    return float(value)


def one_of(error: type[RegimelagError], asked: str, name: str, value: Any, options: Iterable[str]) -> str:
    """Return a text that is one of the options; otherwise raise the error, whose cure names the closest."""
    known = list(options)
    if not isinstance(value, str) or value not in known:
        meant = [*difflib.get_close_matches(str(value), known, n=1), *known][0]
        raise error(asked, f"{name} is one of {known}", f"{name} = {value!r}", f"write {name}={meant!r}")
    return value


def by_name(error: type[RegimelagError], asked: str, name: str, value: Any, cure: str) -> dict[str, Any]:
    """Return a mapping from names as a `dict`, empty for None; otherwise raise the error."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise error(asked, f"{name} is a mapping from names", f"{name} = {value!r}", cure)
    return dict(value)


def path_of(error: type[RegimelagError], asked: str, name: str, value: Any, cure: str) -> Path:
    """Return a text or path as a `Path`; otherwise raise the error."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise error(asked, f"{name} is a text or a Path", f"{name} = {value!r}", cure)
    return Path(value)


def drawn_seed(error: type[RegimelagError], asked: str, random_seed: Any) -> int:
    """Return the seed as an `int`; draw one if it is None, so that it can be recorded."""
    if random_seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    cure = "write random_seed=1, or leave random_seed out"
    return whole(error, asked, "random_seed", random_seed, cure, least=0, most=None)


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


def as_slice(mask: np.ndarray) -> np.ndarray | slice:
    """A mask of neighbours as a slice, whose entries NumPy does not copy; any other mask as it is."""
    places = np.flatnonzero(mask)
    near = len(places) and places[-1] - places[0] + 1 == len(places)
    return slice(int(places[0]), int(places[-1]) + 1) if near else mask
