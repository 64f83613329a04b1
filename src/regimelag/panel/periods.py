"""Dates and values of periods: first days of bars and months, period averages, and dates that are late.

A source may date a period by its first day, and its value may be the period's average. Let s be a price that changes
by independent steps, and y its average over each period. Then y[t] - y[t-1] has the serial correlation 1/4, and follows
the change of s over the period before with the same correlation as that over its own period: a spurious lag of one
period. See Working (1960), doi:10.2307/1907574.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from regimelag.panel.aligned_series import AlignedSeries, is_as_of, parts
from regimelag.panel.rows import LOGARITHMIC, FloatArray
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import conventions_of

DAY = pd.Timedelta(days=1)
# Fewer dates of periods say nothing about how a source dates them.
LEAST_PERIODS = 6
# Days and months of each period; values filled over business days change on the 1st to the 4th.
LENGTHS = {"month": (27.0, 32.0), "quarter": (88.0, 93.0), "year": (360.0, 370.0)}
MONTHS = {"month": 1, "quarter": 3, "year": 12}
FIRST_BUSINESS_DAY, WEEK = 4, 7
# Serial correlation of an average's changes, and the correlation with a signal a row before that a late date leaves.
AVERAGE, LEAST_Z, LATE_Z = (0.15, 0.40), 2.5, 3.0
AVERAGE_SECOND_Z = 2.0
# There are many dates in a row, and markets react late within a day more often than within a week.
DATES_Z = 5.0
# A late response follows the signal of the row before at least by this share of how it follows that of the same row.
LATE_SHARE = 0.6


def dates_at_end(source: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Move values that are dated by the first day of their period to its last.

    Parameters
    ----------
    source : DataFrame (date, column)
        Observations.
    columns : mapping of str to str
        "start" or "end" by column; others stay.

    Returns
    -------
    DataFrame (date, column)
        Over the dates of all columns. A period ends before the next begins; months, quarters and years by the calendar.
    """
    moved = [name for name in source.columns if columns.get(name) == "start" and source[name].notna().any()]
    if not moved:
        return source
    held = [source[name].dropna() for name in source.columns]
    held = [one.set_axis(_last_days(one.index)) if one.name in moved else one for one in held]
    dates = source.index[source.drop(columns=moved).notna().any(axis=1)] if len(moved) < len(held) else held[0].index
    index = pd.DatetimeIndex(sorted({*dates, *(day for one in held for day in one.index)}))
    return pd.DataFrame({one.name: one.reindex(index) for one in held}, index=index.as_unit("ns"))


def _last_days(days: pd.Index) -> pd.DatetimeIndex:
    """Last day of each period, from the first days, or from the first that a market was open."""
    first = pd.DatetimeIndex(days)
    gap = _typical_gap(first)
    plain = first + pd.Timedelta(days=round(gap)) - DAY
    last = _by_calendar(first, gap, plain)
    # Dates that are closer than their periods are none of this kind.
    return plain if last.has_duplicates else last


def _by_calendar(first: pd.DatetimeIndex, gap: float, plain: pd.DatetimeIndex) -> pd.DatetimeIndex:
    if (first.day <= FIRST_BUSINESS_DAY).all() and gap > LENGTHS["month"][0]:
        months = max(1, round(gap / (365.25 / 12)))
        return pd.DatetimeIndex(first.to_period("M").to_timestamp() + pd.DateOffset(months=months) - DAY)
    if round(gap) != WEEK:
        return plain
    # A week that begins late, after a holiday, ends with the others.
    begins = pd.Series(first.day_of_week).mode()[0]
    return pd.DatetimeIndex(plain - pd.to_timedelta((first.day_of_week - begins) % WEEK, unit="D"))


def _typical_gap(days: pd.DatetimeIndex) -> float:
    """Median number of days between dates; 1 for fewer than two."""
    return float(np.median(np.diff(days.to_numpy()) / np.timedelta64(1, "D"))) if len(days) > 1 else 1.0


def first_days(column: pd.Series) -> str:
    """The period, such as "month", whose first days date a column, or on which alone it changes; else empty."""
    held = column.dropna()
    changes = held[held.ne(held.shift())]
    days = pd.DatetimeIndex(changes.index)
    if len(days) < LEAST_PERIODS:
        return ""
    # Values that are filled forward begin on the first business day, or on the first week's day.
    step = _typical_gap(pd.DatetimeIndex(held.index))
    last = 1 if len(changes) == len(held) or step > WEEK else max(FIRST_BUSINESS_DAY, round(step))
    gap = _typical_gap(days)
    if not (days[1:].day <= last).all():
        return ""
    return next((period for period, (least, most) in LENGTHS.items() if least < gap < most), "")


def early_values(
    spec: ModelSpec, source: pd.DataFrame, rows: pd.DatetimeIndex, releases: Mapping[str, object]
) -> list[str]:
    """Sentences on series that rows before the end of their period would use.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    source : DataFrame (date, column)
        Observations as dated by the source.
    rows : DatetimeIndex (row)
        Rows up to the end of the window.
    releases : mapping
        Columns with vintages, whose dates of publication are known.
    """
    stated = conventions_of(spec.series, "dated", spec.name)
    notes: dict[str, None] = {}
    for role, members in parts(spec).items():
        for series in members:
            for column in series.columns if is_as_of(role, series) else ():
                period = "" if column in stated or column in releases else first_days(source[column])
                begins = pd.Timestamp("2021-01-01")
                # Rows as long as the period end with it.
                if not period or _typical_gap(rows) > LENGTHS[period][0]:
                    continue
                if begins + to_offset(series.delay) >= begins + pd.DateOffset(months=MONTHS[period]) - DAY:
                    continue
                notes[
                    f"Column {column!r} of {role} {series.name!r} is dated by the first day of each {period}, as FRED "
                    f"dates periods, and its delay of {series.delay!r} counts from there: rows use the value before "
                    f'the {period} is over. Write dated = "start" for {series.name!r}: its delay then counts '
                    f'from the end of the {period}. Write dated = "end" if the value was known on that day.'
                ] = None
    return list(notes)


def spurious_lags(
    spec: ModelSpec,
    source: pd.DataFrame,
    rows: pd.DatetimeIndex,
    tracks: Sequence[AlignedSeries],
    first: int,
    *,
    known: Collection[str],
) -> list[str]:
    """Sentences on period averages, and on responses that follow a signal as if their dates were a row late.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    source : DataFrame (date, column)
        Observations, whose dates may be closer than rows.
    rows : DatetimeIndex (row)
        Rows up to the end of the window.
    tracks : sequence of AlignedSeries
        All series on the rows.
    first : int
        Position of the window's first row.
    known : collection of str
        Signals whose closes are known to be later than the response's, which has a warning of its own.
    """
    responses = [track for track in tracks if track.role == nm.RESPONSE]
    lagged = [
        track
        for track in tracks
        if track.role == nm.SIGNAL and track.series in spec.lagged_signals and not is_as_of(nm.SIGNAL, track.series)
    ]
    stated = conventions_of(spec.series, "value", spec.name)
    found = [text for track in (*responses, *lagged) if lagged for text in _on_average(track, first, stated)]
    pairs = [(response, signal) for response in responses for signal in lagged]
    late = [text for response, signal in pairs for text in _on_late(response, signal, first)]
    dates = source[rows[max(first - 1, 0)] : rows[-1]]
    if not late:
        unknown = [(response, signal) for response, signal in pairs if signal.series.name not in known]
        late = [text for response, signal in unknown for text in _on_late_dates(response, signal, dates, rows)]
    return list(dict.fromkeys([*found, *late]))


def _on_average(track: AlignedSeries, first: int, stated: Mapping[str, str]) -> Iterator[str]:
    kinds = {stated.get(column, "") for column in track.series.columns}
    makes = "Averages create a spurious lag of one row (Working 1960): use last values, or do not interpret such a lag."
    if "average" in kinds:
        yield f"Values of {track.label} are averages of their periods. {makes}"
    elif not kinds - {""} and track.series.transform != "level" and track.series.periods == 1:
        value = track.value[first:]
        own, second = (_correlation(value[lag:], value[:-lag]) for lag in (1, 2))
        z = np.sqrt(np.isfinite(value).sum())
        if AVERAGE[0] < own < AVERAGE[1] and own * z > LEAST_Z and abs(second) * z < AVERAGE_SECOND_Z:
            yield (
                f"Changes of {track.label} have the serial correlation {own:.2f}, near the 0.25 of averages over "
                f'periods. {makes} Write value = "average" if they are averages, or value = "end" if not.'
            )


def _on_late(response: AlignedSeries, signal: AlignedSeries, first: int) -> Iterator[str]:
    y, s = response.value[first:], signal.value
    same, before, earlier = (_correlation(y, s[first - lag : len(s) - lag]) for lag in (0, 1, 2))
    if _looks_late(same, before, earlier, LATE_Z / np.sqrt(max(np.isfinite(y).sum(), 1))):
        yield (
            f"{response.label.capitalize()} correlates {before:.2f} with {signal.label} one row before, {same:.2f} on "
            f"the same row and {earlier:.2f} two rows before. Dates that are one row late cause this (a price stamped "
            "00:00 is the close of the day before), and averages of periods do too. Check the dates against a second "
            "source before you interpret a lag of one row."
        )


def _looks_late(same: float, before: float, earlier: float, least: float) -> bool:
    """Whether correlations with a signal are those of a response that is dated late."""
    size = abs(before)
    return size > least and size > LATE_SHARE * abs(same) and abs(earlier) < LATE_SHARE * size


def _on_late_dates(
    response: AlignedSeries, signal: AlignedSeries, source: pd.DataFrame, rows: pd.DatetimeIndex
) -> Iterator[str]:
    """Dates that are late by less than a row, where the source has dates within rows."""
    own, other = response.series.column, signal.series.column
    both = source[[own, other]].dropna() if own != other else source[:0]
    if len(both) <= LEAST_PERIODS or 2 * _typical_gap(pd.DatetimeIndex(both.index)) > _typical_gap(rows):
        return
    logs = [track.series.transform in LOGARITHMIC for track in (response, signal)]
    if not all((both[column] > 0).all() for column, log in zip((own, other), logs, strict=True) if log):
        return
    y, s = (
        np.diff(np.log(both[column]) if log else both[column]) for column, log in zip((own, other), logs, strict=True)
    )
    same, before, earlier = (_correlation(y[2:], s[2 - lag : len(s) - lag]) for lag in (0, 1, 2))
    if _looks_late(same, before, earlier, DATES_Z / np.sqrt(len(y))):
        yield (
            f"From date to date column {own!r} correlates {before:.2f} with column {other!r} one date before, "
            f"{same:.2f} on the same date and {earlier:.2f} two dates before. Dates of {own!r} that are one day late "
            "cause this (a price stamped 00:00 is the close of the day before), and a part of a lag of one row. "
            "Check the dates against a second source."
        )


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Correlation over the rows that both have; zero if it is not defined."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() <= LEAST_PERIODS or not one[both].std() > 0 or not other[both].std() > 0:
        return 0.0
    return float(np.corrcoef(one[both], other[both])[0, 1])
