"""Arrays of a panel in the layout of the PyMC model, with their dimensions and coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.moderators import moderator_values
from regimelag.panel.own_past import own_past, used_responses
from regimelag.panel.published import published_drivers
from regimelag.panel.scenarios import panel_ahead
from regimelag.runtime.plain import MOST_ROWS, whole
from regimelag.spec import names as nm
from regimelag.spec.kernels import combinations
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.terms import control_drivers, coordinates

# Dimensions of each array. A name of None is a combination of dimensions.
DIMS: dict[str, tuple[str | None, ...]] = {
    nm.OBSERVED_RESPONSE: (nm.TIME, nm.RESPONSE),
    nm.RESPONSE_MISSING: (nm.TIME, nm.RESPONSE),
    nm.RESPONSE_KNOWN: (nm.TIME, nm.RESPONSE),
    nm.LAGGED_VALUE: (nm.LAGGED_SERIES, nm.SIGNAL_TIME),
    nm.COVARIATE: (nm.LOCATION_COVARIATE, nm.TIME),
    nm.TRANSITION_VALUE: (nm.TRANSITION_COVARIATE, nm.STEP),
    nm.EPISODE_INDEX: (nm.TIME,),
    nm.MODERATOR_VALUE: (nm.MODERATOR, nm.TIME),
    nm.OWN_PAST: (None, nm.TIME),
    nm.RESPONSE_HISTORY: (nm.OWN_LAG, nm.RESPONSE),
    nm.POINT_VALUE: (None, None, None),
}


def model_data(spec: ModelSpec, panel: xr.Dataset, *, known: bool = False) -> dict[str, np.ndarray]:
    """The panel's arrays in the layout of `build_model`, for `pymc.set_data`.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data. `pymc.set_data` also needs their `model_coords` if the panel has other dates.
    known : bool
        Whether predictive draws are conditional on the panel's responses: then they are returned where observed, and
        drawn given all of them elsewhere. By default the whole window is drawn, with a new regime path.

    Returns
    -------
    dict of str to ndarray
        ``response_observed`` (time, response), zero where missing; ``response_missing`` (time, response), whether the
        response has no density, since it or one of its own lags is missing; ``response_known`` (time, response),
        whether predictive draws are conditional on it; ``lagged_value`` (lagged series, L + time), signals then
        controls; ``covariate`` (1 + contemporaneous signals + controls + drivers with a term in the location +
        moderators, time) and ``transition_value`` (1 + drivers of the transitions, time - 1), each with a first row of
        ones; ``episode_index`` (time). With moderators also ``moderator_value`` (moderator, time). With autoregression
        also ``own_past`` (response * own lag, time), zero where missing, and ``response_history`` (own lag, response),
        that before the first row. With point lags also ``point_value`` (point signal, regime or one, time *
        combination), the signal at each combination of lags, combinations innermost.
    """
    signals = panel[nm.SIGNAL_VALUE].to_numpy().T
    now = [spec.signals.index(signal) for signal in spec.contemporaneous_signals]
    rows = panel.sizes[nm.TIME]
    controls = panel[nm.CONTROL_VALUE].to_numpy().T
    moderators = moderator_values(spec, panel).T
    ones = np.ones((1, rows)), signals[now, spec.history :], controls[:, -rows:]
    covariate = (*ones, published_drivers(spec, panel).T, moderators)
    driving = [spec.drivers.index(driver) for driver in spec.transition_drivers]
    series = [signals[spec.signals.index(signal)] for signal in spec.lagged_signals]
    series += [controls[spec.controls.index(control)] for control in spec.lagged_controls]
    y = panel[nm.RESPONSE_VALUE].to_numpy()
    held = {
        nm.OBSERVED_RESPONSE: np.nan_to_num(y),
        nm.RESPONSE_MISSING: np.isnan(used_responses(panel)),
        nm.RESPONSE_KNOWN: ~np.isnan(y) if known else np.zeros(y.shape, dtype=bool),
        nm.LAGGED_VALUE: np.array(series).reshape(len(series), signals.shape[1]),
        nm.COVARIATE: np.concatenate(covariate),
        nm.TRANSITION_VALUE: np.concatenate(
            [np.ones((1, rows - 1)), panel[nm.DRIVER_VALUE].to_numpy()[:-1, driving].T]
        ),
        nm.EPISODE_INDEX: panel[nm.EPISODE_INDEX].to_numpy().astype("int64"),
    }
    if spec.moderators:
        held[nm.MODERATOR_VALUE] = np.ascontiguousarray(moderators)
    if spec.autoregression:
        # A row with a missing own lag has no density.
        held[nm.OWN_PAST] = np.nan_to_num(own_past(panel)).reshape(rows, -1).T.copy()
        held[nm.RESPONSE_HISTORY] = np.nan_to_num(panel[nm.RESPONSE_HISTORY].to_numpy())
    return held | _point_data(spec, panel) if spec.point_signals else held


def _point_data(spec: ModelSpec, panel: xr.Dataset) -> dict[str, np.ndarray]:
    """Each point signal at each combination of lags (signal, regime or one, time * combination), lags innermost."""
    lags, _ = combinations(spec.point_kernels, len(spec.joint_regimes), spec.max_lag)
    if not any(kernel.by_regime for kernel in spec.point_kernels):
        lags = lags[:, :, :1]
    values = panel[nm.SIGNAL_VALUE].to_numpy()[:, [spec.signals.index(signal) for signal in spec.point_signals]]
    row = np.arange(panel.sizes[nm.TIME]) + spec.history
    at = row[:, None] - lags.transpose(1, 2, 0)[:, :, None, :]
    place = np.arange(len(spec.point_signals))[:, None, None, None]
    found = values[at, place]
    return {nm.POINT_VALUE: np.ascontiguousarray(found.reshape((*found.shape[:2], -1)))}


def prediction_data(
    spec: ModelSpec, panel: xr.Dataset, *, horizon: int = 26, scenario: pd.DataFrame | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Data and coordinates with which `pymc.sample_posterior_predictive` predicts the periods after the window.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.
    horizon : int
        Number of periods ahead; that of the frame, if `scenario` is given.
    scenario : DataFrame, optional
        Future levels of the covariates (row, column), as for `regimelag.forecast`. By default they stay constant.

    Returns
    -------
    data : dict of str to ndarray
        Arrays of the window and of the periods after it, for `pymc.set_data`. Predictive draws are conditional on all
        observed responses: these are returned, missing ones and later ones are drawn, and the last regime is drawn from
        its filtered distribution.
    coords : dict of str to list
        Their dates, for the argument ``coords``.

    Raises
    ------
    PanelError
        If the scenario has unknown columns or other dates, or the panel has no levels.

    Examples
    --------
    >>> data, coords = prediction_data(spec, panel, horizon=13)  # doctest: +SKIP
    >>> with model:  # doctest: +SKIP
    ...     pm.set_data(data, coords=coords)
    ...     predictions = pm.sample_posterior_predictive(fit, predictions=True)
    """
    horizon = len(scenario) if isinstance(scenario, pd.DataFrame) else horizon
    horizon = whole(PanelError, "predictions", "horizon", horizon, "write horizon=26", most=MOST_ROWS)
    longer = panel_ahead(spec, panel, scenario, horizon)
    coords = model_coords(spec, longer)
    dates = {dim: coords[dim] for dim in (nm.TIME, nm.SIGNAL_TIME, nm.STEP)}
    return model_data(spec, longer, known=True), dates


def model_coords(spec: ModelSpec, panel: xr.Dataset) -> dict[str, Any]:
    """Coordinates of the model's dimensions, for `pymc.set_data`.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.

    Returns
    -------
    dict of str to list
        Labels by dimension: the dates of ``time``, of ``signal_time``, which starts earlier by the longest lag, and of
        ``step``, those of the rows into which the regimes step; names of series and of regimes; lags in periods.
    """
    numbered = {nm.LAG: spec.max_lag, nm.OWN_LAG: spec.autoregression}
    lags = {dim: list(range(1, last + 1)) for dim, last in numbered.items()}
    time = panel[nm.TIME].to_numpy()
    members = coordinates(spec, list(panel[nm.EPISODE].to_numpy()))
    return (
        members
        | lags
        | {
            nm.REGIME_PROCESS: [process.spec.name for process in spec.processes],
            nm.JOINT_REGIME: joint_labels(spec),
            nm.LAGGED_SERIES: [one.name for one in (*spec.lagged_signals, *spec.lagged_controls)],
            nm.LOCATION_COVARIATE: _covariates(spec),
            nm.TRANSITION_COVARIATE: ["constant", *(driver.name for driver in spec.transition_drivers)],
            nm.TIME: list(time),
            nm.SIGNAL_TIME: list(panel[nm.SIGNAL_TIME].to_numpy()),
            nm.STEP: list(time[1:]),
        }
    )


def joint_labels(spec: ModelSpec) -> list[str]:
    """Names of joint regimes: those of the regimes of each process, joined."""
    labels = [process.labels for process in spec.processes]
    return [
        ", ".join(of[k] for of, k in zip(labels, joint, strict=True)) for joint in np.atleast_2d(spec.joint_regimes)
    ]


def _covariates(spec: ModelSpec) -> list[str]:
    """Names of the covariates of the location, in the order of their rows."""
    own = {
        nm.SIGNAL: spec.contemporaneous_signals,
        nm.CONTROL: spec.controls,
        nm.DRIVER: control_drivers(spec),
    }
    named = [f"{role} {one.name}" for role, series in own.items() for one in series]
    return ["constant", *named, *(f"{nm.MODERATOR} {name}" for name in spec.moderators)]
