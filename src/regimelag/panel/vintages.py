"""Vintages: series as known on each row's date.

On a row dated d a driver is computed from the values known on d, at both ends of a change, so that no revised level is
compared with an unrevised one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.frame_checks import closest, truncate_list
from regimelag.panel.rows import DateArray, FloatArray, OnRows, stale_after

LAYOUT = ("column", "date", "published", "value")


class Releases(NamedTuple):
    """Published values of one column, in order of publication.

    Attributes
    ----------
    date : array of datetime64 (date)
        Dates of observations, ascending.
    first : array of datetime64 (date)
        First publication of a value for each date; NaT if there is none.
    place : array of int (release)
        Index of each release in `date`.
    published : array of datetime64 (release)
        Publication dates, ascending.
    value : array of float (release)
        Published values; NaN where a value was withdrawn.
    """

    date: DateArray
    first: DateArray
    place: npt.NDArray[np.intp]
    published: DateArray
    value: FloatArray


def read_vintages(vintages: pd.DataFrame | None, columns: Sequence[str], asked: str) -> dict[str, Releases]:
    """Check a tidy frame of vintages and split it by column.

    Parameters
    ----------
    vintages : DataFrame, optional
        ``column``, ``date``, ``published``, ``value``, as from `fetch_vintages`.
    columns : sequence of str
        Columns that are aligned by publication date.
    asked : str
        First part of an error message: what the caller asked for.

    Raises
    ------
    PanelError
        If columns are missing or of the wrong type, a release is repeated, a value is published before its own date, or
        no release is of a required column.
    """
    if vintages is None:
        return {}
    _check_layout(vintages, asked)
    present = [str(name) for name in vintages["column"].unique()]
    if not set(present) & set(columns):
        rule = f"vintages are of columns of drivers, or of other series with a delay: {truncate_list(columns, most=20)}"
        cure = f"{closest(present[0], list(columns))} in column 'column'" if columns else "leave vintages out"
        raise PanelError(asked, rule, f"vintages of {truncate_list(present)} alone", cure)
    return {name: _releases(vintages[vintages["column"] == name]) for name in present if name in columns}


def _check_layout(vintages: pd.DataFrame, asked: str) -> None:
    cure = "use fetch_vintages, or a DataFrame with these columns"
    if not isinstance(vintages, pd.DataFrame) or not set(LAYOUT) <= set(vintages.columns):
        came = (
            f"columns {truncate_list(vintages.columns)}"
            if isinstance(vintages, pd.DataFrame)
            else type(vintages).__name__
        )
        raise PanelError(asked, f"vintages is a DataFrame with columns {truncate_list(LAYOUT)}", came, cure)
    if not len(vintages):
        raise PanelError(asked, "vintages has rows", "none", cure)
    for name in ("date", "published"):
        days = vintages[name]
        if not pd.api.types.is_datetime64_dtype(days) or days.isna().any():
            came = f"{name} holds {days.dtype}" + (" and blanks" if days.isna().any() else "")
            cure = f"vintages[{name!r}] = pd.to_datetime(vintages[{name!r}])"
            raise PanelError(asked, "vintages have two dates without time zone on every row", came, cure)
    if not pd.api.types.is_float_dtype(vintages["value"]) or np.isinf(vintages["value"]).any():
        came = f"value holds {vintages['value'].dtype}, or infinite ones"
        raise PanelError(asked, "vintages hold floats, finite or blank (NaN)", came, "correct or blank them")
    early = vintages[vintages["published"] < vintages["date"]]
    if len(early):
        name, date, day, _ = early[list(LAYOUT)].iloc[0]
        came = f"{name!r} dated {date.date()} was published on {day.date()}, one of {len(early)} such rows"
        cure = 'vintages = vintages[vintages["published"] >= vintages["date"]], once you know that the others are right'
        if len(early) > len(vintages) / 2:
            cure = 'vintages = vintages.rename(columns={"date": "published", "published": "date"})'
        raise PanelError(asked, "a value is published on its own date or later", came, cure)
    twice = vintages[vintages.duplicated(["column", "date", "published"])]
    if len(twice):
        name, date, day, _ = twice[list(LAYOUT)].iloc[0]
        came = f"{name!r} dated {date.date()}, published on {day.date()}, more than once"
        raise PanelError(asked, "a date has one value a day of publication", came, "keep the one published last")


def _releases(tidy: pd.DataFrame) -> Releases:
    ordered = tidy.sort_values(["published", "date"])
    published, value = ordered["published"].to_numpy("datetime64[ns]"), ordered["value"].to_numpy(float)
    date, place = np.unique(ordered["date"].to_numpy("datetime64[ns]"), return_inverse=True)
    first = np.full(len(date), np.datetime64("NaT", "ns"))
    # In reverse order, so that the earliest is kept.
    held = np.flatnonzero(~np.isnan(value))[::-1]
    first[place[held]] = published[held]
    return Releases(date, first, place, published, value)


def as_of_vintages(releases: Releases, rows: pd.DatetimeIndex, periods: int) -> tuple[OnRows, FloatArray]:
    """The newest observation on each row and the one of `periods` rows before, both as known on the row's date.

    The newest observation of a row, and its staleness, follow `as_of`, with the first publication in place of date and
    delay.

    Parameters
    ----------
    releases : Releases
        Releases of one column.
    rows : DatetimeIndex (row)
        Dates of the rows.
    periods : int
        Rows that a change spans.

    Returns
    -------
    OnRows
        The newest observation.
    array of float (row)
        On row t, the value known on t of the observation that was the newest on row t - periods; NaN if there is none.
    """
    limit = stale_after(pd.DatetimeIndex(releases.date[releases.first <= rows[-1].to_datetime64()]), rows)
    rule = f"each row has a value published by its date and at most {limit.days} days before it (vintages)"
    level, base = (np.full(len(rows), np.nan) for _ in range(2))
    date = np.full(len(rows), np.datetime64("NaT", "ns"))
    newest = np.full(len(rows), -1)
    known = np.full(len(releases.date), np.nan)
    done = 0
    for row, until in enumerate(releases.published.searchsorted(rows.to_numpy(), side="right")):
        known[releases.place[done:until]] = releases.value[done:until]
        done = until
        last = _last_known(known)
        if last >= 0 and rows[row] - releases.first[last] <= limit:
            newest[row], level[row], date[row] = last, known[last], releases.date[last]
        before = newest[row - periods] if row >= periods else -1
        if before >= 0:
            # If the value has been withdrawn since, use the one before it.
            before = _last_known(known[: before + 1])
            base[row] = known[before] if before >= 0 else np.nan
    return OnRows(level, date, rule), base


def _last_known(known: FloatArray) -> int:
    places = np.flatnonzero(~np.isnan(known))
    return int(places[-1]) if len(places) else -1


def vintage_notes(releases: Mapping[str, Releases], rows: pd.DatetimeIndex) -> list[str]:
    """Sentences on the vintages used."""
    notes = []
    for column, one in releases.items():
        used = one.published[one.published <= rows[-1].to_datetime64()]
        if len(used):
            notes.append(
                f"Column {column!r} has the values known on the date of each row, at both ends of a change: "
                f"{len(np.unique(used))} vintages from {pd.Timestamp(used[0]).date()} on."
            )
    return notes
