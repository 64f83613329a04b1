"""Times of closes, and the spurious lag caused by asynchronous closes.

Let the response close at R(t) and the signal at S(t) on row t. If S(t) > R(t), news in (R(t), S(t)] moves the signal on
row t and the response on row t + 1: a spurious lag of one row. If S(t) < R(t), news in between moves the response on
row t and the signal on row t + 1: the same-row effect is reduced, and only the reverse direction has a spurious lag.
For two closes of one price, with returns spread evenly over the row, the spurious correlation is the gap in hours
divided by the length of the row; it is larger if those hours are volatile. See Scholes & Williams (1977),
doi:10.1016/0304-405X(77)90041-1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import AlignedSeries, is_as_of
from regimelag.panel.frame_checks import truncate_list
from regimelag.panel.rows import DateArray, FloatArray
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

HOUR = np.timedelta64(1, "h")
# The spurious correlation of a smaller share of the row cannot be detected in any panel.
LEAST_SHARE = 0.01


class ClockGap(NamedTuple):
    """Typical gap between the close of a column and the close of a response.

    Attributes
    ----------
    role, name : str
        Role and name of the signal or control.
    column, response_column : str
        The two columns.
    hours : float
        Median over the window of the column's close minus the response's. If either time of day is unknown, the gap
        between their days, or NaN on the same day.
    share : float
        The gap divided by the typical length of a row.
    """

    role: str
    name: str
    column: str
    response_column: str
    hours: float
    share: float


def close_instants(dates: DateArray, close: str) -> DateArray:
    """Times in UTC at which values of these dates were observed.

    Parameters
    ----------
    dates : array of datetime64
        Days; NaT stays NaT.
    close : str
        Local time and zone, as in `Series.close`.

    Returns
    -------
    array of datetime64
        UTC. When clocks go back, the first of two equal local times; a skipped local time counts as the end of the gap.
    """
    clock, zone = close.split()
    hours, minutes = clock.split(":")
    local = pd.DatetimeIndex(dates).as_unit("ns") + pd.Timedelta(hours=int(hours), minutes=int(minutes))
    first = np.ones(len(local), dtype=bool)
    aware = local.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return aware.tz_convert("UTC").tz_localize(None).to_numpy()


def _hours_after(one: DateArray, close: str, other: DateArray, other_close: str) -> FloatArray:
    """Hours from the second close to the first, by row."""
    return (close_instants(one, close) - close_instants(other, other_close)) / HOUR


def _typical_hours(one: DateArray, close: str, other: DateArray, other_close: str) -> float:
    """Median hours from the second close to the first; days if a time is unknown."""
    if close and other_close:
        return float(np.nanmedian(_hours_after(one, close, other, other_close)))
    return float(np.nanmedian((one - other) / HOUR)) or np.nan


def clock_gaps(spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int) -> list[ClockGap]:
    """Gaps between the closes of every column of a signal or control and every column of a response.

    Parameters
    ----------
    spec : ModelSpec
        The model, with the closes.
    rows : DatetimeIndex (row)
        Rows up to the end of the window.
    tracks : sequence of AlignedSeries
        All series on those rows.
    first : int
        Place of the window's first row.
    """
    closes, length = spec.closes, float(np.median(np.diff(rows[first:]) / HOUR))
    gaps = []
    answers = {name: leg.date for track in tracks if track.role == nm.RESPONSE for name, leg in track.legs.items()}
    for track in tracks:
        for column, leg in track.legs.items() if track.role in (nm.SIGNAL, nm.CONTROL) else ():
            for answer, dates in answers.items():
                close, other = closes.get(column, ""), closes.get(answer, "")
                hours = _typical_hours(leg.date[first:], close, dates[first:], other)
                gaps.append(ClockGap(track.role, track.series.name, column, answer, hours, hours / length))
    return gaps


def lags_by_clock(spec: ModelSpec, gaps: Sequence[ClockGap]) -> list[ClockGap]:
    """Gaps that cause a spurious lag: a lagged signal closes at least a hundredth of a row after a response."""
    lagged = {signal.name for signal in spec.lagged_signals}
    return [gap for gap in gaps if gap.role == nm.SIGNAL and gap.name in lagged and gap.share >= LEAST_SHARE]


def clock_notes(spec: ModelSpec, gaps: Sequence[ClockGap]) -> list[str]:
    """Sentences on the closes: known ones, those that cause or hide a lag, and unknown ones."""
    closes = spec.closes
    by_close = {signal.name for signal in spec.signals if not is_as_of(nm.SIGNAL, signal)}
    mine = [gap for gap in gaps if gap.role == nm.SIGNAL and gap.name in by_close]
    notes = ["Closes: " + ", ".join(f"{column} {close}" for column, close in closes.items()) + "."] if closes else []
    notes += [sentence(gap) for gap in lags_by_clock(spec, gaps)]
    notes += [_on_lead(gap) for gap in mine if gap.share <= -LEAST_SHARE]
    unknown = [name for gap in mine for name in (gap.column, gap.response_column) if name not in closes]
    if unknown:
        listed = truncate_list(dict.fromkeys(unknown), most=20)
        notes.append(f"No close is given for {listed}, so a spurious lag from different closes cannot be detected.")
    return notes


def sentence(gap: ClockGap) -> str:
    """Warning that a signal closes after the response."""
    return (
        f"Column {gap.column!r} of signal {gap.name!r} typically closes {gap.hours:.3g} hours after the response's "
        f"{gap.response_column!r}. News of these hours is in this row of the signal and in the next row of the "
        "response, which creates a spurious lag of one row. Its size is the share of these hours, "
        f"{100 * gap.share:.1f} % of a row, or more if they are volatile. Use prices of the same hour, or do not "
        "interpret a lag of one row."
    )


def _on_lead(gap: ClockGap) -> str:
    return (
        f"Column {gap.column!r} of signal {gap.name!r} typically closes {-gap.hours:.3g} hours before the response's "
        f"{gap.response_column!r}. News of these hours, {-100 * gap.share:.1f} % of a row, is in this row of the "
        "response and in the next row of the signal. That creates no spurious lag, but a lead of one row, which is a "
        "spurious lag in a model of the reverse direction."
    )


def check_known(
    spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int, asked: str
) -> None:
    """Refuse a driver without a delay whose close is later than that of the response.

    Without a delay a value is known at its own close. The step into the next row may use it only if that is no later
    than the response's close. Values with a delay are known on a later day; see `as_of`.

    Raises
    ------
    PanelError
        With the driver, the column, the first such row and the cure.
    """
    closes = spec.closes
    answers = [column for response in spec.responses for column in response.columns if column in closes]
    for track in tracks if answers else ():
        if track.role == nm.DRIVER:
            for column, leg in track.legs.items():
                if column in closes:
                    _check_leg(track, column, leg.date[first:], rows[first:], answers, closes, asked)


def _check_leg(
    track: AlignedSeries,
    column: str,
    dates: DateArray,
    rows: pd.DatetimeIndex,
    answers: Sequence[str],
    closes: dict[str, str],
    asked: str,
) -> None:
    at_once = pd.DatetimeIndex(dates) + to_offset(track.series.delay) == pd.DatetimeIndex(dates)
    for answer in answers:
        hours = _hours_after(dates, closes[column], rows.to_numpy(), closes[answer])
        late = np.flatnonzero(np.asarray(at_once) & (hours > 0))
        if len(late):
            came = (
                f"{track.label} closes at {closes[column]}, {hours[late[0]]:.3g} hours after response column "
                f"{answer!r} ({closes[answer]}) on {rows[late[0]].date()}, one of {len(late)} such rows"
            )
            cure = f'write delay = "1D" for driver {track.series.name!r}, or correct the close of {column!r}'
            rule = "a driver is known by the close of the row that holds it, since it drives the step into the next row"
            raise PanelError(asked, rule, came, cure)


def gaps_as_json(gaps: Sequence[ClockGap]) -> str:
    """Gap of each column to the first response's main column, in hours, for the attributes of a panel."""
    own = gaps[0].response_column if gaps else ""
    return json.dumps({g.column: g.hours for g in gaps if g.response_column == own and not np.isnan(g.hours)})
