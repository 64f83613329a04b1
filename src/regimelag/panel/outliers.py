"""Values far from the rest of their column: missing codes, bad ticks, splits and changes of unit.

A change counts as large against the interquartile range of all changes of the column. Large changes come in pairs,
where the column leaves its level and returns, or alone, where the level shifts for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import AlignedSeries
from regimelag.panel.rows import LOGARITHMIC, FloatArray

# Values that files use for a missing one.
NINES = (99.0, 99.9, 99.99, 999.0, 999.9, 999.99, 9999.0, 9999.9, 9999.99, 99999.0, 999999.0)
CODES = (0.0, -1.0, *NINES, *(-code for code in NINES))
# Large changes, in robust standard deviations of the column and of the rows beside. None of the bundled models on the
# example and on daily and weekly prices, yields and rates of 2013 to 2026 has a note by these.
LARGE, SHIFT = 10.0, 35.0
# A change at the first or the last row, of which it is not seen whether it stays.
EDGE = 15.0
# The same code several times is found at smaller changes.
REPEATED, LEAST_REPEATS = 4.0, 3
MOST_STILL = 0.3
LEAST_CHANGES = 30
# A column returns if the two changes cancel up to this share, within so many rows.
CANCEL, LONGEST = 0.3, 10
# Changes beside a large one, which show whether the market moved then.
BESIDE = 21
SPLITS = np.arange(2.0, 10.0)
UNITS = (100.0, 1000.0, 10000.0)
NEAR_UNIT, NEAR_SPREAD = 1.5, 10.0
# Standard deviation of a normal distribution by its interquartile range and its median absolute value.
NORMAL_IQR, MEDIAN_SD = 1.349, 1.4826
# Rounding of levels leaves changes of this relative size.
ROUNDING = 1e-8


# Values on a line with those beside them, so many in a row or this share of a column, where a usual change has so many
# of the smallest steps. Prices, yields and rates of 2012 to 2026 have one in a row and 0.3 % at most.
LINE, MOST_ON_LINES, STEPS = 3, 0.2, 20.0


class Excursion(NamedTuple):
    """A large change and, if the column returns, the change back.

    Attributes
    ----------
    place : int
        First position of the new level.
    back : int, optional
        First position after the return; None if the level stays.
    """

    place: int
    back: int | None


def _robust_sd(changes: FloatArray) -> float:
    moved = changes[changes != 0.0]
    if len(moved) < LEAST_CHANGES:
        return 0.0
    low, high = np.percentile(moved, [25.0, 75.0])
    return float(high - low) / NORMAL_IQR


def _excursions(changes: FloatArray, sd: float, large: float = LARGE) -> Iterator[Excursion]:
    """Changes above `large` robust standard deviations, of the column and of the rows beside, paired if undone."""
    size = np.abs(changes)
    beside = pd.Series(size).rolling(BESIDE, center=True, min_periods=1).median().to_numpy()
    places = np.flatnonzero(size > large * np.maximum(sd, MEDIAN_SD * beside))
    n = 0
    while n < len(places):
        here, after = int(places[n]), int(places[n + 1]) if n + 1 < len(places) else None
        if after is not None and after - here <= LONGEST and _cancel(changes[here], changes[after]):
            yield Excursion(here + 1, after + 1)
            n += 2
        else:
            yield Excursion(here + 1, None)
            n += 1


def _cancel(one: float, other: float) -> bool:
    return bool(abs(one + other) < CANCEL * abs(one))


def _is_code(value: float) -> bool:
    return bool(np.isclose(value, CODES, rtol=1e-12, atol=0.0).any())


def missing_codes(level: FloatArray, *, logs: bool) -> list[int]:
    """Positions of values that are codes for a missing one.

    Parameters
    ----------
    level : array of float (observation)
        Observed values of a column.
    logs : bool
        Whether changes are those of logarithms.
    """
    changes = np.diff(np.log(level) if logs else level)
    sd = _robust_sd(changes)
    if sd <= ROUNDING * float(np.median(np.abs(level))):
        return []
    found: list[int] = []
    for one in _excursions(changes, sd):
        span = range(one.place, one.back if one.back is not None else len(level))
        if _is_code(level[one.place]) and (level[list(span)] == level[one.place]).all():
            found.extend(span)
    # A file may begin with a code.
    start = int(np.argmax(level != level[0]))
    if _is_code(level[0]) and start and abs(changes[start - 1]) > LARGE * sd:
        found.extend(range(start))
    often: dict[float, list[int]] = {}
    for one in _excursions(changes, sd, REPEATED):
        if one.back == one.place + 1 and _is_code(level[one.place]):
            often.setdefault(float(level[one.place]), []).append(one.place)
    found.extend(place for places in often.values() if len(places) >= LEAST_REPEATS for place in places)
    return sorted(set(found))


def check_codes(track: AlignedSeries, used: slice, asked: str) -> None:
    """Refuse codes for missing values, in every role and transform.

    Parameters
    ----------
    track : AlignedSeries
        A series on the rows.
    used : slice
        Rows whose levels enter the window.
    asked : str
        First part of an error message: what the caller asked for.

    Raises
    ------
    PanelError
        With column, dates, value and cure.
    """
    logs = track.series.transform in LOGARITHMIC
    for column, leg in track.legs.items():
        seen = np.flatnonzero(~np.isnan(leg.level[used])) + used.start
        found = missing_codes(leg.level[seen], logs=logs) if len(seen) > LEAST_CHANGES else []
        if found:
            date, value = pd.Timestamp(leg.date[seen[found[0]]]).date(), float(leg.level[seen[found[0]]])
            more = f", one of {len(found)} rows" if len(found) > 1 else ""
            others = np.delete(leg.level[seen], found)
            came = f"column {column!r} of {track.owner} is {value:g} on {date}{more}; its other values lie between "
            came += f"{others.min():g} and {others.max():g}"
            cure = f"frame[{column!r}] = frame[{column!r}].replace({value!r}, float('nan'))"
            raise PanelError(asked, "a missing value is blank (NaN), not a number", came, cure)


def outliers(tracks: Sequence[AlignedSeries], source: pd.DataFrame, used: Sequence[slice]) -> list[str]:
    """Sentences on bad ticks, splits, shifts of level and changes of unit.

    Parameters
    ----------
    tracks : sequence of AlignedSeries
        All series on the rows.
    source : DataFrame (date, column)
        Observations, in which a change has its own date.
    used : sequence of slice
        Rows whose levels enter the window, by series.

    Returns
    -------
    list of str
        One for each column and event.
    """
    notes: dict[str, None] = {}
    for track, rows in zip(tracks, used, strict=True):
        logs = track.series.transform in LOGARITHMIC
        for column, leg in track.legs.items():
            seen = np.flatnonzero(~np.isnan(leg.level[rows])) + rows.start
            if len(seen) > LEAST_CHANGES:
                dates = pd.DatetimeIndex(leg.date[seen])
                held = source[column].dropna()
                notes |= dict.fromkeys(_sentences(held, leg.level[seen], dates, logs=logs))
                notes |= dict.fromkeys(on_lines(held[dates[0] : dates[-1]]))
    return list(notes)


def _date_of_change(held: pd.Series, before: pd.Timestamp, after: pd.Timestamp) -> str:
    """Date of the largest change between two dates; the later one if there is none."""
    between = held[before:after]
    changes = between.diff().abs()
    place = int(np.nanargmax(changes)) if changes.notna().any() else -1
    return str(pd.DatetimeIndex(between.index)[place].date())


def _sentences(held: pd.Series, level: FloatArray, dates: pd.DatetimeIndex, *, logs: bool) -> Iterator[str]:
    column = str(held.name)
    changes = np.diff(np.log(level) if logs else level)
    sd = _robust_sd(changes)
    # A policy rate stands still between its moves.
    if sd <= ROUNDING * float(np.median(np.abs(level))) or (changes == 0.0).mean() > MOST_STILL:
        return
    for one in _excursions(changes, sd):
        size = float(changes[one.place - 1])
        before, after = dates[one.place - 1], dates[one.place]
        day = _date_of_change(held, before, after)
        earlier = f'frame.loc[frame.index < "{day}", {column!r}]'
        if one.back is None and one.place in (1, len(level) - 1) and abs(size) > EDGE * sd:
            yield _at_the_edge(column, level, dates, one.place, size, sd, earlier if logs else "")
            continue
        moved = f"Column {column!r} goes from {level[one.place - 1]:g} on {before.date()} to {level[one.place]:g} on "
        moved += f"{after.date()}" + (f", a factor of {np.exp(size):.3g}" if logs else "")
        stays = f"{moved}, {abs(size) / sd:.0f} times its usual change, and stays there"
        if one.back is not None:
            last = dates[one.back - 1].date()
            where = f'frame.loc["{day}"' + (f':"{last}"' if str(last) != day else "")
            yield (
                f"{moved}, and back on {dates[one.back].date()}. If that is a bad tick, blank it: "
                f'{where}, {column!r}] = float("nan").'
            )
        elif logs and _is_split(size, sd):
            yield f"{stays}. If that is a split, adjust the prices before it: {earlier} *= {_nearest_split(size):.6g}."
        elif (unit := _unit(level, one.place, sd)) and not logs:
            yield (
                f"{moved}, and its later changes are in proportion. If that is a change of unit, bring it to one: "
                f"{earlier} *= {unit:.6g}."
            )
        elif abs(size) > SHIFT * sd:
            adjusted = f"*= {np.exp(size):.6g}" if logs else f"+= {size:.6g}"
            yield f"{stays}. If two series were joined there, bring them to one level: {earlier} {adjusted}."


def on_lines(held: pd.Series) -> Iterator[str]:
    """Sentence on values that were interpolated, in equal steps by row or by day."""
    level, dates = held.to_numpy(dtype=float), pd.DatetimeIndex(held.index)
    changes, days = np.diff(level), np.diff(dates.to_numpy()) / np.timedelta64(1, "D")
    moved = np.abs(changes[changes != 0.0])
    if len(moved) <= LEAST_CHANGES or _robust_sd(changes) < STEPS * moved.min():
        return
    near = ROUNDING * np.abs(level[1:-1])
    on_line = np.zeros(len(level), dtype=bool)
    for steps in (changes, changes / days):
        on_line[1:-1] |= (np.abs(np.diff(steps)) <= near) & (changes[1:] != 0.0)
    runs = pd.Series(on_line).groupby(np.cumsum(~on_line)).sum()
    if runs.max() >= LINE or on_line.mean() > MOST_ON_LINES:
        first = int(on_line.argmax())
        yield (
            f"Column {str(held.name)!r} lies on straight lines: {on_line.sum()} of {len(level)} values, the first on "
            f"{dates[first].date()}, are in equal steps from the values beside. Interpolated values know the next "
            "observation, which creates a spurious lag. If these are, blank them (NaN), and leave the observed ones."
        )


def _at_the_edge(
    column: str, level: FloatArray, dates: pd.DatetimeIndex, place: int, size: float, sd: float, earlier: str
) -> str:
    """Sentence on a first or last row far from the one beside it, which does not show whether the column returns."""
    at, beside = (0, 1) if place == 1 else (place, place - 1)
    day, where = dates[at].date(), "first row" if place == 1 else "last row"
    text = (
        f"Column {column!r} is {level[at]:g} on {day}, its {where} in use, and {level[beside]:g} on "
        f"{dates[beside].date()}, {abs(size) / sd:.0f} times its usual change. If that is a bad tick, blank it: "
        f'frame.loc["{day}", {column!r}] = float("nan").'
    )
    if earlier and _is_split(size, sd):
        text += f" If it is a split, adjust the prices before it: {earlier} *= {_nearest_split(size):.6g}."
    return text


def _nearest_split(size: float) -> float:
    """Factor of the nearest split of 2:1 to 9:1, or of the reverse."""
    factor = float(SPLITS[np.abs(np.log(SPLITS) - abs(size)).argmin()])
    return factor if size > 0 else 1.0 / factor


def _is_split(size: float, sd: float) -> bool:
    """Whether a change of the logarithm is that of a split, up to the market's own change."""
    return abs(size - float(np.log(_nearest_split(size)))) < REPEATED * sd


def _unit(level: FloatArray, place: int, sd: float) -> float:
    """Factor of a change of unit, which level and spread of changes share; zero if there is none."""
    before, after = level[:place], level[place:]
    if min(len(before), len(after)) <= LEAST_CHANGES or not level[place - 1] * level[place] > 0:
        return 0.0
    ratio = float(level[place] / level[place - 1])
    factor = min((f for unit in UNITS for f in (unit, 1.0 / unit)), key=lambda f: abs(np.log(ratio / f)))
    spread = _robust_sd(np.diff(after)) / max(_robust_sd(np.diff(before)), ROUNDING * sd)
    near = abs(np.log(ratio / factor)) < np.log(NEAR_UNIT)
    return factor if near and abs(np.log(max(spread, ROUNDING) / factor)) < np.log(NEAR_SPREAD) else 0.0
