"""Orthogonalised signals: the residual of a signal on another column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import AlignedSeries
from regimelag.panel.rows import FloatArray

# A standard deviation this small relative to the values is rounding error.
ROUNDING = 1e-10


def is_constant(values: FloatArray, *, beside: FloatArray | None = None) -> bool:
    """Whether values vary by no more than rounding error, relative to themselves or to `beside`."""
    size = np.nanmax(np.abs(values if beside is None else beside))
    return bool(np.nanstd(values, ddof=1) <= ROUNDING * size)


def partial_out(track: AlignedSeries, first: int, asked: str) -> AlignedSeries:
    """Residual of a signal on another column, by least squares with an intercept.

    With x the signal's transformed value and g the other column's, the slope is cov(x, g) / var(g) in the window. The
    signal becomes x - slope * g on all rows, including the history before the window. The intercept is its mean in the
    window, which standardisation removes, so constants and slope together define the signal on any other row.

    Parameters
    ----------
    track : AlignedSeries
        A series without missing values in history and window; returned unchanged if it is not orthogonalised.
    first : int
        Position of the window's first row.
    asked : str
        First part of an error message: what the caller asked for.

    Returns
    -------
    AlignedSeries
        With `value` and `slope` replaced.

    Raises
    ------
    PanelError
        If the other column's value is constant in the window, or explains the signal completely.
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
