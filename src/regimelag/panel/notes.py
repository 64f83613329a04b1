"""Sentences on the changes made to the data of a panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from regimelag.panel.aligned_series import AlignedSeries, episode_rows, is_as_of, trading_columns
from regimelag.panel.asynchronous_closes import ClockGap, clock_notes
from regimelag.panel.frame_checks import truncate_list
from regimelag.panel.rows import LOGARITHMIC, TRADING, FloatArray, OnRows, period_end
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import Response, Signal

# Weekly bars begin on one weekday, but for weeks that begin late, after a holiday. On Fridays weeks end.
WEEK, SHORTEST, MOSTLY, CLOSES = 7, 4, 0.8, "Friday"


def panel_notes(
    spec: ModelSpec,
    source: pd.DataFrame,
    rows: pd.DatetimeIndex,
    tracks: Sequence[AlignedSeries],
    first: int,
    gaps: Sequence[ClockGap],
) -> list[str]:
    """Sentences on rows, gaps, missing responses, ages of drivers, orthogonalised signals, closes and episodes.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    source : DataFrame (date, column)
        Observations of the columns used.
    rows : DatetimeIndex (row)
        Rows up to the end of the window.
    tracks : sequence of AlignedSeries
        All series on those rows.
    first : int
        Position of the window's first row.
    gaps : sequence of ClockGap
        Gaps between closes.

    Returns
    -------
    list of str
    """
    return [
        *_on_rows(spec, source, rows, first),
        *_on_start(spec, rows, tracks, first),
        *_on_ranges(ranges(source, rows, tracks, first)),
        *_on_responses(tracks, rows, first),
        *_on_still_prices(tracks, rows, first),
        *_on_ages(tracks, rows, first),
        *_on_beyond(tracks),
        *clock_notes(spec, gaps),
        *_on_closes(source, rows, tracks, first),
        *_on_episodes(spec, rows[first:]),
    ]


def closes_that_differ(rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int) -> dict[str, list[str]]:
    """Rows on which a column's last observation is of another day than the first response's, by column.

    Delayed series are not aligned by close and are left out, as are rows on which either is missing.
    """
    response = tracks[0].legs[tracks[0].series.column].date[first:]
    differ: dict[str, list[str]] = {}
    for column, leg in _own_closes(tracks).items():
        date = leg.date[first:]
        both = ~np.isnat(date) & ~np.isnat(response)
        other = rows[first:][both & (date != response)]
        if len(other):
            differ[column] = [str(row.date()) for row in other]
    return differ


def ranges(
    source: pd.DataFrame, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int
) -> dict[str, dict[str, str | int]]:
    """Range and number of observations of each column, and its longest gap in the window.

    ``gap`` is in days from the observation of ``gap_from`` to the next; ``after`` counts unused observations after the
    last row.
    """
    held: dict[str, dict[str, str | int]] = {}
    for track in tracks:
        for column, leg in track.legs.items():
            days = pd.DatetimeIndex(source.index[source[column].notna()])
            if not len(days):
                continue
            begun = leg.date[first][None] if not np.isnat(leg.date[first]) else rows[first : first + 1].to_numpy()
            used = days[(days >= begun[0]) & (days <= rows[-1])]
            steps = np.diff(used.to_numpy()) / np.timedelta64(1, "D")
            longest = int(steps.argmax()) if len(steps) else 0
            held[column] = {
                "first": str(days[0].date()),
                "last": str(days[-1].date()),
                "observations": len(days),
                "after": int((days > rows[-1]).sum()),
                "gap": int(steps[longest]) if len(steps) else 0,
                "gap_from": str(used[longest].date()) if len(used) else "",
            }
    return held


def _own_closes(tracks: Sequence[AlignedSeries]) -> dict[str, OnRows]:
    """Columns that are aligned by their own close."""
    by_close = (track for track in tracks if not is_as_of(track.role, track.series))
    return {column: leg for track in by_close for column, leg in track.legs.items()}


def _on_weekday(spec: ModelSpec, observed: pd.DatetimeIndex, window: pd.DatetimeIndex) -> list[str]:
    """Note on weeks that end on another weekday than all dates of the source."""
    steps = np.diff(observed.to_numpy()) / np.timedelta64(1, "D")
    shares = pd.Series(observed.day_name()).value_counts(normalize=True)
    own, ours = str(shares.index[0]), window[0].day_name()
    weekly = len(steps) > 0 and np.median(steps) == WEEK and steps.min() >= SHORTEST
    if not spec.frequency.startswith("W-") or own == ours or not weekly or shares.iloc[0] < MOSTLY:
        return []
    day = observed[observed.day_name() == own][0]
    late = (window[0].day_of_week - day.day_of_week) % WEEK
    its_own = f'frequency "W-{own[:3].upper()}" has the source\'s own dates'
    observed_then = f"each row's values are {late} days old; {its_own}"
    dated = f"Rows are dated {ours}s and the source's dates are {'' if len(shares) == 1 else 'mostly '}{own}s"
    if own == CLOSES:
        return [f"{dated}, so {observed_then}."]
    last = (day - pd.Timedelta(days=1)).day_name()
    note = (
        f"{dated}. If these are the first days of weekly bars, as in files of Yahoo and Investing.com, a value is "
        f'known at the end of its bar: write dated = "start" for the columns, and frequency "W-{last[:3].upper()}", '
        f"the last day of each bar. If values were observed on the {own}"
    )
    return [f"{note}, {observed_then}."]


def _on_rows(spec: ModelSpec, source: pd.DataFrame, rows: pd.DatetimeIndex, first: int) -> list[str]:
    window, observed = rows[first:], source.index[source.notna().any(axis=1)]
    notes = [
        f"The source has {len(source)} dates, {source.index[0].date()} to {source.index[-1].date()}.",
        f"The window has {len(window)} rows ({spec.frequency}), {window[0].date()} to {window[-1].date()}.",
    ]
    if spec.history:
        whose = "Signals and controls" if spec.lagged_controls else "Signals"
        notes.append(f"{whose} begin {spec.history} rows before the window, on {rows[first - spec.history].date()}.")
    if spec.frequency == TRADING:
        return [*notes, _on_trading_dates(spec, source, rows, first)]
    notes.extend(_on_weekday(spec, pd.DatetimeIndex(observed), window))
    following = rows[-1] + period_end(spec.frequency)
    if rows[-1] < observed[-1] < following:
        newest = observed[-1].date()
        notes.append(f"The period that ends on {following.date()} was left out: the last observation is of {newest}.")
    return notes


def _on_trading_dates(spec: ModelSpec, source: pd.DataFrame, rows: pd.DatetimeIndex, first: int) -> str:
    response, needed = spec.responses[0].column, truncate_list(trading_columns(spec), most=20)
    passed = source.loc[rows[first] : rows[-1], response].notna().sum() - len(rows[first:])
    days = int(np.diff(rows[first:]).max() / np.timedelta64(1, "D"))
    return (
        f"Rows are the dates on which all of {needed} were observed; {passed} other dates with {response!r} in the "
        f"window are not used. Steps between rows span up to {days} days."
    )


def _on_start(spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int) -> list[str]:
    """Note on rows before the window, and the series that prevent an earlier start."""
    late = [track.label for track in tracks if track.role != nm.RESPONSE and track.ready(spec) == first]
    if not first:
        return []
    why = f", since the history of {truncate_list(late, most=20)} begins later" if late else ""
    return [f"{first} rows before {rows[first].date()} are not in the window{why}."]


def _on_ranges(held: dict[str, dict[str, str | int]]) -> list[str]:
    gaps = [f"{column} {one['gap']} days (from {one['gap_from']})" for column, one in held.items()]
    notes = [f"Largest gap between observations: {', '.join(gaps)}. No values were filled."]
    after = [f"{column} {one['after']}" for column, one in held.items() if one["after"]]
    return [*notes, f"Observations after the last row are not used: {', '.join(after)}."] if after else notes


def _on_still_prices(tracks: Sequence[AlignedSeries], rows: pd.DatetimeIndex, first: int) -> list[str]:
    """Note on rows with exactly the price of the previous row, as a price carried forward has."""
    notes = []
    for column, leg in _own_closes(tracks).items():
        if any(column in t.legs and t.series.transform in LOGARITHMIC for t in tracks):
            still = np.flatnonzero(np.diff(leg.level[first:]) == 0.0) + 1
            if len(still):
                notes.append(
                    f"On {len(still)} rows column {column!r} equals its value of the row before, as a price that is "
                    f"carried forward does: {truncate_list(rows[first:][still])}."
                )
    return notes


def _on_responses(tracks: Sequence[AlignedSeries], rows: pd.DatetimeIndex, first: int) -> list[str]:
    notes = []
    for track in tracks:
        if track.role != nm.RESPONSE:
            continue
        missing = np.isnan(track.value[first:])
        if missing.any():
            where = truncate_list(rows[first:][missing])
            notes.append(f"{missing.sum()} of {missing.size} values of {track.label} are missing: {where}.")
        if isinstance(track.series, Response):
            lacking = _lacks_own_past(track.value, track.series.autoregression, first) & ~missing
            if lacking.any():
                where = truncate_list(rows[first:][lacking])
                lacks = f"{track.label} lacks its own past on {lacking.sum()} rows"
                notes.append(f"{lacks}, which do not enter the likelihood: {where}.")
        if track.series.periods > 1:
            notes.append(
                f"Values of {track.label} span {track.series.periods} rows each, so consecutive values overlap."
            )
    return notes


def _lacks_own_past(value: FloatArray, lags: int, first: int) -> npt.NDArray[np.bool_]:
    """Whether any of the previous `lags` rows has no value, by row of the window."""
    padded = np.concatenate([np.full(lags, np.nan), value])
    before = [padded[lags + first - lag : len(padded) - lag] for lag in range(1, lags + 1)]
    return np.isnan(before).any(axis=0) if lags else np.zeros(len(value) - first, dtype=bool)


def _on_ages(tracks: Sequence[AlignedSeries], rows: pd.DatetimeIndex, first: int) -> list[str]:
    notes = []
    for track in tracks:
        if is_as_of(track.role, track.series):
            days = (rows[first:].to_numpy() - track.date[first:]) / np.timedelta64(1, "D")
            again = int((np.diff(track.date[first:]) == np.timedelta64(0, "D")).sum())
            repeats = "1 row repeats" if again == 1 else f"{again} rows repeat"
            stale = f"{repeats} the value of the row before" if again else "No stale values"
            notes.append(
                f"Published values of {track.label} (delay {track.series.delay}) are typically {np.median(days):g} "
                f"days old, at most {days.max():g}. {stale}."
            )
    return notes


def _on_beyond(tracks: Sequence[AlignedSeries]) -> list[str]:
    notes = []
    for track in tracks:
        if isinstance(track.series, Signal) and track.series.beyond:
            unit = "%" if track.series.transform in LOGARITHMIC else "unit"
            taken = f"{track.slope:.3g} {unit}{'s' if unit == 'unit' else ''}"
            notes.append(
                f"{track.series.name} beyond {track.series.beyond}: {track.series.column} moves by {taken} with 1 "
                f"{unit} of {track.series.beyond}, estimated on the window; the signal is the residual."
            )
    return notes


def _on_closes(source: pd.DataFrame, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int) -> list[str]:
    # Columns aligned by publication date are published on other days and have no closes.
    observed = source.index[source[list(_own_closes(tracks))].notna().any(axis=1)]
    periods = rows.searchsorted(observed[observed <= rows[-1]])
    if len(np.unique(periods)) == len(periods):
        return ["The data have one date per period, so different closes within a period cannot be detected."]
    return [
        f"On {len(differ)} rows column {column!r} was last observed on another day than "
        f"{tracks[0].series.column!r}: {truncate_list(differ)}."
        for column, differ in closes_that_differ(rows, tracks, first).items()
    ]


def _on_episodes(spec: ModelSpec, window: pd.DatetimeIndex) -> list[str]:
    _, kept = episode_rows(spec, window)
    dropped = [label for label in spec.episodes.labels() if label not in kept]
    return [f"Episodes without a row in the window were left out: {', '.join(dropped)}."] if dropped else []
