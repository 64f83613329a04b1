"""Signals net of another column: the part of a signal that the other does not explain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import AlignedSeries
from regimelag.panel.rows import FloatArray

# A standard deviation this small beside the values themselves is rounding error.
ROUNDING = 1e-10


def is_constant(values: FloatArray, *, beside: FloatArray | None = None) -> bool:
    """Whether values vary by no more than rounding error of their own size, or of the values beside them."""
    size = np.nanmax(np.abs(values if beside is None else beside))
    return bool(np.nanstd(values, ddof=1) <= ROUNDING * size)


def partial_out(track: AlignedSeries, first: int, asked: str) -> AlignedSeries:
    """Residual of a signal on another column, by least squares with an intercept.

    With x the signal's transformed value and g the other column's, the slope is cov(x, g) / var(g) over the window's
    rows, and the signal becomes x - slope * g on all rows, those of the history before the window included. Its mean
    over the window is the regression's intercept, which standardisation then takes out: constants and slope together
    say what the signal is on any other row.

    Parameters
    ----------
    track : AlignedSeries
        A series without missing values from the history on; returned as it is if it is beyond nothing.
    first : int
        Place of the window's first row.
    asked : str
        What the caller asked for, the first part of an error.

    Returns
    -------
    AlignedSeries
        With `value` and `slope` replaced.

    Raises
    ------
    PanelError
        If the other column's value is constant within the window, or explains all of the signal.
    """
    if track.other is None:
        return track
    own, other = track.value[first:], track.other[first:]
    if is_constant(other):
        column = getattr(track.series, "beyond", "")
        came = f"the {track.series.transform} of column {column!r} is {other[0]:g} on every row"
        cure = f"check column {column!r} and the transform, widen the window, or drop beyond"
        raise PanelError(asked, f"{track.label} lies beyond a column that varies within the window", came, cure)
    spread = other - other.mean()
    slope = float(spread @ (own - own.mean()) / (spread @ spread))
    if is_constant(own - slope * other, beside=own):
        came = f"{track.label} is {slope:g} times that column on every row"
        cure = "drop the signal, or drop beyond"
        raise PanelError(asked, "something of a signal is left beyond the other column", came, cure)
    return replace(track, value=track.value - slope * track.other, slope=slope)
