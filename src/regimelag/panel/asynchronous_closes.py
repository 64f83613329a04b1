"""Closes as instants, and the effect of asynchronous closes on a lag.

Let a response close at R(t) and a signal at S(t), t the row. If S(t) > R(t), what happens in (R(t), S(t)] moves the
signal on row t and the response on row t + 1: the response seems to follow the signal by a row. That is a lag made by
the clock. If S(t) < R(t), it moves the response on row t and the signal on row t + 1: the signal seems to follow, the
same-row response loses that part, and no lag is made; in the reverse direction one is. Of two closes of one price, each
row's returns being spread evenly over the row, the correlation made is the hours between them over the row's length;
busy hours make more of it. (Scholes and Williams, 1977, Journal of Financial Economics 5, 309-327,
doi:10.1016/0304-405X(77)90041-1, treat returns of prices that are not made at the same time.)
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
# A part of the row this small makes a correlation far below what any panel can tell from none.
LEAST_SHARE = 0.01


class ClockGap(NamedTuple):
    """Typical gap between a column's close and a response's.

    Attributes
    ----------
    role, name : str
        Of the signal or control.
    column, response_column : str
        The two columns.
    hours : float
        Median over the window's rows of the column's close less the response's. Where either hour is unknown, that
        between their days, NaN on the same day.
    share : float
        The same over the typical length of a row.
    """

    role: str
    name: str
    column: str
    response_column: str
    hours: float
    share: float


def close_instants(dates: DateArray, close: str) -> DateArray:
    """Instants at which values of these dates were made.

    Parameters
    ----------
    dates : array of datetime64
        Days; NaT stays NaT.
    close : str
        Local time and zone, as in `Series.close`.

    Returns
    -------
    array of datetime64
        UTC. Of an hour that comes twice, when clocks go back, the first; an hour that is skipped counts as its end.
    """
    clock, zone = close.split()
    hours, minutes = clock.split(":")
    local = pd.DatetimeIndex(dates).as_unit("ns") + pd.Timedelta(hours=int(hours), minutes=int(minutes))
    first = np.ones(len(local), dtype=bool)
    aware = local.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return aware.tz_convert("UTC").tz_localize(None).to_numpy()


def _hours_after(one: DateArray, close: str, other: DateArray, other_close: str) -> FloatArray:
    """Hours from the other close to the one, row by row."""
    return (close_instants(one, close) - close_instants(other, other_close)) / HOUR


def _typical_hours(one: DateArray, close: str, other: DateArray, other_close: str) -> float:
    """Median hours from the other close to the one; between their days where either hour is unknown."""
    if close and other_close:
        return float(np.nanmedian(_hours_after(one, close, other, other_close)))
    return float(np.nanmedian((one - other) / HOUR)) or np.nan


def clock_gaps(spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int) -> list[ClockGap]:
    """Gaps between the closes of every column of a signal or control and every column of a response.

    Parameters
    ----------
    spec : ModelSpec
        The model; it holds the closes.
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
    """The gaps that make a lag: a signal with a kernel closes after a response, by a hundredth of a row or more."""
    lagged = {signal.name for signal in spec.lagged_signals}
    return [gap for gap in gaps if gap.role == nm.SIGNAL and gap.name in lagged and gap.share >= LEAST_SHARE]


def clock_notes(spec: ModelSpec, gaps: Sequence[ClockGap]) -> list[str]:
    """Sentences on closes: which there are, which make a lag or hide one, which are not known."""
    closes = spec.closes
    by_close = {signal.name for signal in spec.signals if not is_as_of(nm.SIGNAL, signal)}
    mine = [gap for gap in gaps if gap.role == nm.SIGNAL and gap.name in by_close]
    notes = ["Closes: " + ", ".join(f"{column} {close}" for column, close in closes.items()) + "."] if closes else []
    notes += [sentence(gap) for gap in lags_by_clock(spec, gaps)]
    notes += [_on_lead(gap) for gap in mine if gap.share <= -LEAST_SHARE]
    unknown = [name for gap in mine for name in (gap.column, gap.response_column) if name not in closes]
    if unknown:
        listed = truncate_list(dict.fromkeys(unknown), most=20)
        notes.append(f"No close is given for {listed}: hours between closes, which can make a lag, are not seen there.")
    return notes


def sentence(gap: ClockGap) -> str:
    """Warning of a signal that closes after the response."""
    return (
        f"Column {gap.column!r} of signal {gap.name!r} closes {gap.hours:.3g} hours after the response's "
        f"{gap.response_column!r}, typically: what happens in between stands on this row of the signal and on the next "
        f"row of the response, so the clock makes a lag of one row, of {gap.share:.1%} of the row and more if those "
        "hours are busy. Take both at one hour, or do not read a lag of one row."
    )


def _on_lead(gap: ClockGap) -> str:
    return (
        f"Column {gap.column!r} of signal {gap.name!r} closes {-gap.hours:.3g} hours before the response's "
        f"{gap.response_column!r}, typically: what happens in between stands on this row of the response and on the "
        f"next row of the signal. That makes no lag, but a lead of one row, of {-gap.share:.1%} of the row or more, "
        "and a lag in a model of the reverse direction."
    )


def check_known(
    spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int, asked: str
) -> None:
    """Refuse a driver that is known at its own close, where that comes after the close of the response's row.

    Without a delay a value counts as known at its own close, and the step into the next row may use it only if that is
    no later than the response's close. Values with a delay are known on a later day, and `as_of` takes care of them.

    Raises
    ------
    PanelError
        Naming driver, column, the first such row and the cure.
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
    """Hours by which each column closes after the first response's own, for a panel's attributes."""
    own = gaps[0].response_column if gaps else ""
    return json.dumps({g.column: g.hours for g in gaps if g.response_column == own and not np.isnan(g.hours)})
