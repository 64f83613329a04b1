"""What was done to the data on the way into a panel, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from regimelag import names as nm
from regimelag.data.frames import some
from regimelag.data.rows import period_end
from regimelag.data.tracks import NO_DELAY, Track, episode_rows
from regimelag.spec import ModelSpec


def panel_notes(
    spec: ModelSpec, source: pd.DataFrame, rows: pd.DatetimeIndex, tracks: Sequence[Track], first: int
) -> list[str]:
    """Sentences on rows, missing responses, ages of drivers, closes and episodes.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    source : DataFrame (date, column)
        The columns used, as observed.
    rows : DatetimeIndex (row)
        Rows up to the end of the window.
    tracks : sequence of Track
        All series on those rows.
    first : int
        Place of the window's first row.
    """
    return [
        *_on_rows(spec, source, rows, first),
        *_on_responses(tracks, rows, first),
        *_on_ages(tracks, rows, first),
        *_on_closes(source, rows, tracks, first),
        *_on_episodes(spec, rows[first:]),
    ]


def closes_that_differ(rows: pd.DatetimeIndex, tracks: Sequence[Track], first: int) -> dict[str, list[str]]:
    """By column, the rows of the window on which it was last observed on another day than the first response.

    Delayed series do not stand by their own close and are left out, and so are rows on which either is missing.
    """
    response = tracks[0]
    differ: dict[str, list[str]] = {}
    for track in tracks[1:]:
        if track.role == nm.DRIVER or track.series.delay != NO_DELAY:
            continue
        both = ~np.isnat(track.date[first:]) & ~np.isnat(response.date[first:])
        other = rows[first:][both & (track.date[first:] != response.date[first:])]
        if len(other):
            differ[track.series.column] = [str(row.date()) for row in other]
    return differ


def _on_rows(spec: ModelSpec, source: pd.DataFrame, rows: pd.DatetimeIndex, first: int) -> list[str]:
    window, observed = rows[first:], source.index[source.notna().any(axis=1)]
    notes = [
        f"The source has {len(source)} dates, {source.index[0].date()} to {source.index[-1].date()}.",
        f"The window has {len(window)} rows ({spec.frequency}), {window[0].date()} to {window[-1].date()}.",
    ]
    if spec.history:
        notes.append(f"Signals begin {spec.history} rows before the window, on {rows[first - spec.history].date()}.")
    following = rows[-1] + period_end(spec.frequency)
    if rows[-1] < observed[-1] < following:
        newest = observed[-1].date()
        notes.append(f"The period that ends on {following.date()} was left out: the last observation is of {newest}.")
    return notes


def _on_responses(tracks: Sequence[Track], rows: pd.DatetimeIndex, first: int) -> list[str]:
    notes = []
    for track in tracks:
        if track.role != nm.RESPONSE:
            continue
        missing = np.isnan(track.value[first:])
        if missing.any():
            notes.append(
                f"{missing.sum()} of {missing.size} values of {track.label} are missing: {some(rows[first:][missing])}."
            )
        if track.series.periods > 1:
            notes.append(f"Values of {track.label} span {track.series.periods} rows each, so neighbours overlap.")
    return notes


def _on_ages(tracks: Sequence[Track], rows: pd.DatetimeIndex, first: int) -> list[str]:
    notes = []
    for track in tracks:
        if track.role == nm.DRIVER or track.series.delay != NO_DELAY:
            days = (rows[first:].to_numpy() - track.date[first:]) / np.timedelta64(1, "D")
            notes.append(
                f"Rows use the value of {track.label} as published (delay {track.series.delay}): "
                f"{np.median(days):g} days old typically, {days.max():g} at most."
            )
    return notes


def _on_closes(source: pd.DataFrame, rows: pd.DatetimeIndex, tracks: Sequence[Track], first: int) -> list[str]:
    observed = source.index[source.notna().any(axis=1)]
    periods = rows.searchsorted(observed[observed <= rows[-1]])
    if len(np.unique(periods)) == len(periods):
        return ["The data have one date a period, so closes that differ inside a period cannot be seen."]
    return [
        f"On {len(differ)} rows column {column!r} was last observed on another day than "
        f"{tracks[0].series.column!r}: {some(differ)}."
        for column, differ in closes_that_differ(rows, tracks, first).items()
    ]


def _on_episodes(spec: ModelSpec, window: pd.DatetimeIndex) -> list[str]:
    _, kept = episode_rows(spec, window)
    dropped = [label for label in spec.episodes.labels() if label not in kept]
    return [f"Episodes without a row in the window were left out: {', '.join(dropped)}."] if dropped else []
