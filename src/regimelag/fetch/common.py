"""Helpers shared by fetch_fred and fetch_market."""

from __future__ import annotations

import difflib
import logging
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from regimelag.errors import FetchError
from regimelag.fetch.cache import CachedTable
from regimelag.panel.frame_checks import truncate_list
from regimelag.runtime.plain import is_number

LOGGER = logging.getLogger("regimelag")
# Age of a cached table above which there is a warning.
OLD = pd.Timedelta(days=7)
# Seconds.
LONGEST_TIMEOUT = 3600.0

Columns = str | Sequence[str] | Mapping[str, str]


def resolve_columns(
    columns: Columns, known: Mapping[str, str], pattern: re.Pattern[str], *, asked: str, hints: Mapping[str, str]
) -> dict[str, str]:
    """Source identifier of each column.

    Parameters
    ----------
    columns : str, sequence of str, or mapping of column to identifier
        Column names of the package, or identifiers of the source, which then name the column.
    known : mapping
        Column names of the package and their identifiers.
    pattern : re.Pattern
        Pattern of an identifier.
    asked : str
        First part of an error message: what the caller asked for.
    hints : mapping
        Names that another function fetches, and the cure for each.

    Returns
    -------
    dict of str to str

    Raises
    ------
    FetchError
        If there are no columns, or one is neither a known name nor an identifier.
    """
    named = [columns] if isinstance(columns, str) else columns
    if not isinstance(named, Iterable) or not all(isinstance(name, str) for name in named):
        cure = f"choose from {truncate_list(known, most=20)}, as a list of texts"
        raise FetchError(asked, "columns are texts", repr(columns), cure)
    pairs = named.items() if isinstance(named, Mapping) else ((name, known.get(name, name)) for name in named)
    wanted = {str(column): str(identifier) for column, identifier in pairs}
    if not wanted:
        raise FetchError(
            asked, "at least one column is asked for", "none", f"choose from {truncate_list(known, most=20)}"
        )
    for column, identifier in wanted.items():
        if column in hints and column == identifier:
            raise FetchError(asked, "the source has every column", f"no {column!r}", hints[column])
        if not pattern.fullmatch(identifier):
            close = difflib.get_close_matches(identifier, list(known), n=1)
            choice = f"choose from {truncate_list(known, most=20)}, or give the source's own name"
            cure = f"write {close[0]!r}" if close else choice
            rule = "columns are names that the package knows, or the source's own names"
            raise FetchError(asked, rule, f"{identifier!r}", cure)
    return wanted


def check_timeout(timeout: float, asked: str) -> None:
    """Require a positive number of seconds."""
    if not (is_number(timeout) and 0 < timeout <= LONGEST_TIMEOUT):
        rule = f"timeout is a number of seconds above zero, and at most {LONGEST_TIMEOUT:.0f}"
        raise FetchError(asked, rule, f"timeout = {timeout!r}", "write timeout = 30")


def age_note(column: str, identifier: str, held: CachedTable) -> str:
    """Sentence on a column's source and age; logged, and issued as a warning if it is old."""
    age, day = held.age, f"{held.fetched:%Y-%m-%d %H:%M} UTC"
    if not held.cached:
        note = f"Column {column!r} ({identifier}) was fetched on {day}."
    else:
        old = f"{age.days} days" if age >= pd.Timedelta(days=2) else f"{age / pd.Timedelta(hours=1):.1f} hours"
        note = f"Column {column!r} ({identifier}) comes from the cache: fetched on {day}, {old} ago."
    if held.cached and age > OLD:
        warnings.warn(f"{note} Give max_age to fetch it anew.", stacklevel=4)
    LOGGER.info(note)
    return note


def wide_frame(
    values: Mapping[str, pd.Series], notes: Sequence[str], origin: Mapping[str, dict[str, object]]
) -> pd.DataFrame:
    """Frame of columns over all their dates, with notes and sources in ``attrs``.

    Parameters
    ----------
    values : mapping of str to Series (date)
        Columns, each with its own dates.
    notes : list of str
        Sentences on the columns.
    origin : mapping of str to dict
        Source and retrieval time, by column.

    Returns
    -------
    DataFrame (date, column)
        Floats with a DatetimeIndex named "date", as from `read_series`; ``attrs["notes"]`` and ``attrs["origin"]``.
    """
    frame = pd.DataFrame({name: column.astype(float) for name, column in values.items()}).sort_index()
    frame = frame.dropna(how="all")
    frame.index = pd.DatetimeIndex(frame.index.to_numpy(), name="date").as_unit("us")
    frame.attrs = {"notes": list(notes), "origin": {name: dict(about) for name, about in origin.items()}}
    return frame


def origin_attrs(identifier: str, held: CachedTable, **more: object) -> dict[str, object]:
    """Source and retrieval time of a column, for the frame's attrs."""
    return {
        "series": identifier,
        "fetched": held.fetched.isoformat(),
        "cached": held.cached,
        "age_days": round(held.age / pd.Timedelta(days=1), 3),
        **more,
    }


def repr_columns(columns: Columns) -> str:
    """The columns as the caller wrote them, for error messages."""
    return repr(list(columns) if isinstance(columns, Iterable) and not isinstance(columns, str) else columns)
