"""Checks of prices: not carried forward, and in one unit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import AlignedSeries, is_as_of
from regimelag.panel.rows import LOGARITHMIC, FloatArray

# Longest run of equal prices: Bitcoin had four equal days in 2012; a price filled over a long weekend has five.
MOST_STILL = 4
# Splits and changes of unit multiply a price by 10, 20, 100 or 1000 in a row; trading does not.
TENFOLD = 10.0


def check_levels(track: AlignedSeries, rows: pd.DatetimeIndex, used: slice, asked: str) -> None:
    """Refuse prices that are unchanged for long or jump tenfold, if the transform takes logarithms.

    Parameters
    ----------
    track : AlignedSeries
        A series on the rows.
    rows : DatetimeIndex (row)
        All rows.
    used : slice
        Rows whose levels enter the window.
    asked : str
        First part of an error message: what the caller asked for.

    Raises
    ------
    PanelError
        With column, dates and cure. Columns aligned by publication date may be unchanged.
    """
    for column, leg in track.legs.items() if track.series.transform in LOGARITHMIC else ():
        seen = np.flatnonzero(~np.isnan(leg.level[used])) + used.start
        if len(seen) > 1:
            _check_jumps(track, column, leg.level[seen], rows[seen], asked)
            if not is_as_of(track.role, track.series):
                _check_still(track, column, leg.level[seen], rows[seen], asked)


def _check_jumps(track: AlignedSeries, column: str, level: FloatArray, rows: pd.DatetimeIndex, asked: str) -> None:
    factor = level[1:] / level[:-1]
    sizes = np.abs(np.log(factor))
    place = int(sizes.argmax())
    if sizes[place] >= np.log(TENFOLD):
        came = (
            f"column {column!r} of {track.owner} goes from {level[place]:g} on {rows[place].date()} to "
            f"{level[place + 1]:g} on {rows[place + 1].date()}, a factor of {factor[place]:.3g}"
        )
        cure = (
            f"bring column {column!r} to one unit (splits, cents, grams), correct that value, or choose "
            "start and end without those rows"
        )
        raise PanelError(asked, f"a price changes by less than a factor of {TENFOLD:g} from row to row", came, cure)


def _check_still(track: AlignedSeries, column: str, level: FloatArray, rows: pd.DatetimeIndex, asked: str) -> None:
    runs = _longest_run(level)
    if runs is not None:
        first, count = runs
        came = f"column {column!r} of {track.owner} is {level[first]:g} on {count} rows from {rows[first].date()} to "
        came += f"{rows[first + count - 1].date()}"
        cure = (
            f"blank the repeats in column {column!r} (NaN) if closed days were filled, or choose start and end without "
            'those rows; for a rate that stands still, write transform = "difference"'
        )
        rule = f"a price stands still on at most {MOST_STILL} rows in a row: one carried over makes returns of zero"
        raise PanelError(asked, rule, came, cure)


def _longest_run(level: FloatArray) -> tuple[int, int] | None:
    """Start and length of the longest run of equal values, if it exceeds the limit."""
    edges = np.flatnonzero(np.diff(level, prepend=np.nan, append=np.nan) != 0.0)
    lengths = np.diff(edges)
    place = int(lengths.argmax())
    return (int(edges[place]), int(lengths[place])) if lengths[place] > MOST_STILL else None
