"""Checks of the values in a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import AlignedSeries, check_positive, check_present, rows_before_window
from regimelag.panel.orthogonalize import is_constant
from regimelag.panel.outliers import check_codes
from regimelag.panel.price_checks import check_levels
from regimelag.panel.rows import TRADING, FloatArray, stale_after
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

LEAST_ROWS = 10
# The squares of larger values overflow in a standard deviation.
LARGEST = 1e150
# Residual share of a response's standard deviation that rounding of its copy may leave.
COPY = 1e-4
DETERMINED = "covariates and other responses leave something of a response to explain"
DISTINCT = "no covariate is a linear function of the others, so that each has an effect of its own"


def check_window(
    spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int, asked: str
) -> None:
    """Refuse missing covariates, and too few rows or responses."""
    least, count = max(LEAST_ROWS, spec.history), len(rows) - first
    if count < least:
        came = f"{count} rows, {rows[first].date()} to {rows[-1].date()}"
        cure = "widen the window, give more data, or lower max_lag"
        raise PanelError(asked, f"the window has at least {least} rows (10, or max_lag if larger)", came, cure)
    for track in tracks:
        back = rows_before_window(spec, track.role)
        if track.role == nm.RESPONSE:
            _check_response(spec, track, first, asked)
        else:
            check_present(track, rows, slice(first - back, len(rows)), asked)
        used = rows_used(spec, track, first)
        check_positive(track, used, asked)
        check_codes(track, used, asked)
        check_levels(track, rows, used, asked)
    if spec.frequency == TRADING:
        reach = max(track.span + rows_before_window(spec, track.role) for track in tracks)
        _check_steps(rows[max(first - reach, 0) :], asked)


def rows_used(spec: ModelSpec, track: AlignedSeries, first: int) -> slice:
    """Rows whose levels enter the window, its history included."""
    return slice(max(first - rows_before_window(spec, track.role) - track.span, 0), len(track.value))


def _check_response(spec: ModelSpec, track: AlignedSeries, first: int, asked: str) -> None:
    """Refuse a response with fewer values than coefficients of its mean."""
    held = track.value[first:]
    observed = int((~np.isnan(held)).sum())
    explained = len(spec.contemporaneous_signals) + len(spec.controls) + spec.autoregression
    explained += len(spec.lagged_signals) + len(spec.lagged_controls)
    least = max(LEAST_ROWS, max(process.spec.count for process in spec.processes) + explained)
    if observed < least:
        came = f"{track.label} has {observed} values on {len(held)} rows"
        cure = (
            f"choose a window with more of column {track.series.column!r}, or explain it by less; a return needs the "
            "price on both of its rows"
        )
        rule = f"a response has at least {least} values (10, or a mean per regime and a coefficient per term if more)"
        raise PanelError(asked, rule, came, cure)


def check_varies(tracks: Sequence[AlignedSeries], window: pd.DatetimeIndex, asked: str) -> None:
    """Refuse series that are constant in the window, or whose values are too large to square."""
    for track in tracks:
        held = track.value[-len(window) :]
        large = np.flatnonzero(np.abs(held) > LARGEST)
        if len(large):
            came = f"{track.label} is {held[large[0]]:g} on {window[large[0]].date()}"
            cure = f"correct column {track.series.column!r} there, or give it in a larger unit"
            raise PanelError(asked, f"values are at most {LARGEST:g} in size", came, cure)
        if is_constant(held):
            came = f"{track.label} is {np.nanmean(held):g} on every row, {window[0].date()} to {window[-1].date()}"
            cure = f"check column {track.series.column!r} and the transform, widen the window, or drop the series"
            raise PanelError(asked, "a series varies within the window", came, cure)


def check_explained(spec: ModelSpec, tracks: Sequence[AlignedSeries], first: int, asked: str) -> None:
    """Refuse a response that is an exact linear function of same-row covariates, another response or a signal's lag.

    The residual scale would go to zero, and sampling would not finish. Examples are a copy of the response under
    another name or in another unit, and a column that is a sum of covariates.
    """
    rows = np.arange(first, len(tracks[0].value))
    responses = [track for track in tracks if track.role == nm.RESPONSE]
    with_lags = {nm.SIGNAL: spec.lagged_signals, nm.CONTROL: spec.lagged_controls}
    lagged = [track for track in tracks if track.series in with_lags.get(track.role, ())]
    now = [
        track
        for track in tracks
        if track.role == nm.CONTROL or (track.role == nm.SIGNAL and track.series in spec.contemporaneous_signals)
    ]
    for n, response in enumerate(responses):
        y = response.value[rows]
        single = [(other, 0) for other in (*responses[:n], *now)]
        single += [(signal, lag) for signal in lagged for lag in range(1, spec.max_lag + 1)]
        for other, lag in single:
            if _determine([other.value[rows - lag]], y):
                when = f"{lag} rows before" if lag else "on the same row"
                came = f"{response.label} is {other.label} {when}, up to a factor and a constant"
                own_past = other.role == nm.SIGNAL and not lag and other in lagged
                cure = f"write contemporaneous = false for {other.label}, or drop it" if own_past else ""
                raise PanelError(asked, DETERMINED, came, cure or f"drop {other.label}, or give it another column")
        _check_own_past(response, now, rows, spec.max_lag, asked)
        if _determine([other.value[rows] for other in now], y):
            came = f"{response.label} is a sum of multiples of {', '.join(other.label for other in now)}"
            raise PanelError(asked, DETERMINED, came, f"drop one of them, such as {now[-1].label}")
    _check_distinct(now, rows, asked)
    _check_distinct(lagged, np.arange(first - spec.max_lag, rows[-1] + 1), asked)


def _check_distinct(covariates: Sequence[AlignedSeries], rows: npt.NDArray[np.int64], asked: str) -> None:
    """Refuse a covariate that is a linear function of those before it."""
    for n, one in enumerate(covariates):
        before = list(covariates[:n])
        same = [other for other in before if _determine([other.value[rows]], one.value[rows])]
        if same or _determine([other.value[rows] for other in before], one.value[rows]):
            others = ", ".join(other.label for other in same[:1] or before)
            came = f"{one.label} is {others}" if same else f"{one.label} is a sum of multiples of {others}"
            came += ", up to a factor and a constant" if same else ""
            raise PanelError(asked, DISTINCT, came, f"drop {one.label}, or give it another column")


def _check_own_past(
    response: AlignedSeries, now: Sequence[AlignedSeries], rows: npt.NDArray[np.int64], lags: int, asked: str
) -> None:
    """Refuse a same-row covariate that equals an own lag of the response."""
    for other in now:
        for lag in range(1, lags + 1):
            later = rows[lag:] if rows[0] < lag else rows
            if _determine([other.value[later]], response.value[later - lag]):
                came = f"{other.label} is {response.label} {lag} rows before, up to a factor and a constant"
                cure = f"drop {other.label}, and write autoregression = {lag} for {response.label}"
                raise PanelError(asked, "the past of a response is no signal or control of the same row", came, cure)


def _determine(covariates: Sequence[FloatArray], y: FloatArray) -> bool:
    """Whether y is a linear function of the covariates, up to rounding."""
    values = np.array([y, *covariates])
    values = values[:, np.isfinite(values).all(axis=0)]
    if not covariates or values.shape[1] < 2 * len(values):
        return False
    values = values - values.mean(axis=1, keepdims=True)
    spread = values.std(axis=1)
    own, design = values[0], (values[1:] / np.where(spread[1:] > 0, spread[1:], 1.0)[:, None]).T
    left = own - design @ np.linalg.lstsq(design, own)[0]
    return bool(left.std() <= COPY * spread[0])


def _check_steps(rows: pd.DatetimeIndex, asked: str) -> None:
    """Refuse trading dates further apart than markets close: the return would not be a daily one."""
    limit, steps = stale_after(rows, rows), np.diff(rows)
    if len(steps) and steps.max() > limit:
        place = int(steps.argmax())
        came = f"none between {rows[place].date()} and {rows[place + 1].date()}"
        cure = "fill what is missing there knowingly, choose start and end without it, or write a longer frequency"
        raise PanelError(asked, f"trading dates are at most {limit.days} days apart", came, cure)
