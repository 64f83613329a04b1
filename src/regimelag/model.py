"""From a spec and a panel to a PyMC model with named coordinates: the only module that writes priors.

Everything is in standardised units. The graph is kept small and free of two-dimensional `dot`, which compiles slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr

from regimelag import names as nm
from regimelag.data.panel import check_panel
from regimelag.kernels import Prior
from regimelag.likelihood.op import lag_sum, markov_loglik, normal_logpdf, student_t_logpdf
from regimelag.spec import ModelSpec

Tensor = Any


def model_coords(spec: ModelSpec, panel: xr.Dataset) -> dict[str, Any]:
    """Coordinates of the model's named dimensions."""
    regimes = list(spec.regimes.labels())
    coords: dict[str, Any] = {
        role: list(panel[role].to_numpy()) for role in (nm.RESPONSE, nm.SIGNAL, nm.CONTROL, nm.DRIVER, nm.EPISODE)
    }
    coords |= {nm.REGIME: regimes, nm.ORIGIN: regimes, nm.DESTINATION: regimes}
    coords[nm.GAP] = [f"{high} over {low}" for low, high in pairwise(regimes)]
    coords[nm.ONWARD] = [f"other {n + 1}" for n in range(len(regimes) - 1)]
    coords[nm.LAGGED_SIGNAL] = [signal.name for signal in spec.lagged_signals]
    coords[nm.CONTEMPORANEOUS_SIGNAL] = [signal.name for signal in spec.signals if signal.contemporaneous]
    coords[nm.LAG] = list(range(1, spec.max_lag + 1))
    return coords


def build_model(spec: ModelSpec, panel: xr.Dataset) -> pm.Model:
    """Build the PyMC model; it is yours to extend and to sample as you like.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data, from `make_panel`.

    Returns
    -------
    pymc.Model
        Free variables with named dimensions, and one potential, `log_likelihood`, in which the regimes are summed out.
        Data are `pm.Data` containers under the panel's names.

    Raises
    ------
    PanelError
        Where the panel does not fit the spec.

    Notes
    -----
    Given regime k at time t in episode e(t), the response is Student-t with location
    ``intercept[k] + contemporaneous * x[t] + (effect + effect_regime[k] + effect_episode[e]) * sum_l w[l] x[t - l] +
    control_effect . c[t]`` and log scale ``log_scale + v[k] + log_scale_episode[e]``. The step into t has logits
    ``alpha[i, j] + sum_d (driver_effect[d, j] + driver_origin[d, i, j]) z[t - 1, d]``; time-varying transitions follow
    Diebold, Lee & Weinbach (1994) and Filardo (1994), doi:10.1080/07350015.1994.10524545. Regimes are summed out by the
    forward recursion of Hamilton (1989), doi:10.2307/1912559.
    """
    check_panel(spec, panel)
    with pm.Model(coords=model_coords(spec, panel)) as model:
        data = _data(panel)
        location = _location(spec, data)
        log_scale = _log_scale(spec)
        y, episode = data[nm.RESPONSE_VALUE][:, 0], data[nm.EPISODE_INDEX]
        if spec.family == "student_t":
            tail = pm.Gamma(nm.TAIL, alpha=spec.priors.tail_shape, beta=spec.priors.tail_rate)
            log_obs = student_t_logpdf(y, location, log_scale, episode, tail + 2.0)
        else:
            log_obs = normal_logpdf(y, location, log_scale, episode)
        pm.Potential("log_likelihood", _summed_over_regimes(spec, log_obs, data))
    return model


def _data(panel: xr.Dataset) -> dict[str, Tensor]:
    """The panel's arrays as model data; lengths in time stay open, so that another window can be set."""
    covariates = (nm.SIGNAL_VALUE, nm.CONTROL_VALUE, nm.DRIVER_VALUE, nm.EPISODE_INDEX)
    data = {name: pm.Data(name, panel[name].to_numpy()) for name in covariates}
    # pm.Data refuses NaN, which marks a missing response here and is what the density's Op expects.
    data[nm.RESPONSE_VALUE] = pytensor.shared(panel[nm.RESPONSE_VALUE].to_numpy(), name=nm.RESPONSE_VALUE)
    pm.modelcontext(None).register_data_var(data[nm.RESPONSE_VALUE])
    return data


def _location(spec: ModelSpec, data: Mapping[str, Tensor]) -> Tensor:
    """Location (time, regime): terms that all regimes share, then those that differ."""
    priors = spec.priors
    history = spec.history
    intercept = pm.Normal(nm.INTERCEPT, 0.0, priors.intercept_sd, dims=(nm.RESPONSE, nm.REGIME))
    location = pt.zeros((data[nm.EPISODE_INDEX].shape[0], 1)) + intercept[0][None, :]
    now = [n for n, signal in enumerate(spec.signals) if signal.contemporaneous]
    if now:
        coefficient = pm.Normal(
            nm.CONTEMPORANEOUS, 0.0, priors.contemporaneous_sd, dims=(nm.RESPONSE, nm.CONTEMPORANEOUS_SIGNAL)
        )
        for place, column in enumerate(now):
            location = location + (coefficient[0, place] * data[nm.SIGNAL_VALUE][history:, column])[:, None]
    if spec.controls:
        coefficient = pm.Normal(nm.CONTROL_EFFECT, 0.0, priors.control_sd, dims=(nm.RESPONSE, nm.CONTROL))
        for column in range(len(spec.controls)):
            location = location + (coefficient[0, column] * data[nm.CONTROL_VALUE][:, column])[:, None]
    if spec.lagged_signals:
        location = location + _lagged_response(spec, data)
    return location


def _lagged_response(spec: ModelSpec, data: Mapping[str, Tensor]) -> Tensor:
    """Effect times lagged signal, summed over signals (time, regime)."""
    priors = spec.priors
    effect = pm.Normal(nm.EFFECT, 0.0, priors.effect_sd, dims=nm.LAGGED_SIGNAL)
    by_regime = by_episode = None
    if spec.regimes.count > 1:
        by_regime = _pooled(nm.EFFECT_REGIME, priors.effect_regime_sd, nm.REGIME)
    if "effect" in spec.episodes.vary and len(pm.modelcontext(None).coords[nm.EPISODE]) > 1:
        by_episode = _pooled(nm.EFFECT_EPISODE, priors.effect_episode_sd, nm.EPISODE)
    total: Tensor = 0.0
    for place, signal in enumerate(spec.lagged_signals):
        values = data[nm.SIGNAL_VALUE][:, spec.signals.index(signal)]
        parameters = {
            name: _from_prior(nm.lag_parameter(signal.name, name), prior)
            for name, prior in signal.kernel.priors(spec.max_lag).items()
        }
        lagged = lag_sum(values, signal.kernel.weights(parameters, spec.max_lag, pt))
        common = effect[place] * lagged
        if by_episode is not None:
            common = common + by_episode[place][data[nm.EPISODE_INDEX]] * lagged
        departure = signal.kernel.departure(parameters, spec.max_lag, pt)
        if departure is not None:
            common = common + lag_sum(values, departure)
        total = total + common[:, None]
        if by_regime is not None:
            total = total + by_regime[place][None, :] * lagged[:, None]
    return total


def _pooled(name: str, sd: float, dim: str) -> Tensor:
    """Deviations (lagged_signal, dim) that sum to zero over dim, with one scale; non-centred, as data are weak."""
    scale = pm.HalfNormal(f"{name}_sd", sd, dims=nm.LAGGED_SIGNAL)
    raw = pm.ZeroSumNormal(f"{name}_raw", sigma=1.0, dims=(nm.LAGGED_SIGNAL, dim))
    return pm.Deterministic(name, scale[:, None] * raw, dims=(nm.LAGGED_SIGNAL, dim))


def _from_prior(name: str, prior: Prior) -> Tensor:
    distribution = getattr(pm, prior.distribution)
    return distribution(name, **prior.arguments, dims=nm.LAG if prior.over_lags else None)


def _log_scale(spec: ModelSpec) -> Tensor:
    """Log scale (episode, regime): gaps between neighbouring regimes are positive, so their order holds."""
    priors = spec.priors
    base = pm.Normal(nm.LOG_SCALE, np.log(priors.scale_median), priors.scale_log_sd, dims=nm.RESPONSE)
    log_scale = base[0][None, None]
    if spec.regimes.count > 1:
        gap = pm.LogNormal(nm.LOG_SCALE_GAP, np.log(priors.scale_gap), priors.scale_gap_log_sd, dims=nm.GAP)
        # Row k of the matrix says how much of each gap lies below regime k, centred over regimes.
        steps = np.tril(np.ones((spec.regimes.count, spec.regimes.count - 1)), -1)
        steps -= steps.mean(axis=0)
        log_scale = log_scale + sum(gap[n] * steps[:, n] for n in range(spec.regimes.count - 1))[None, :]
    episodes = len(pm.modelcontext(None).coords[nm.EPISODE])
    if "scale" in spec.episodes.vary and episodes > 1:
        by_episode = pm.ZeroSumNormal(
            nm.LOG_SCALE_EPISODE, sigma=priors.scale_episode_sd, dims=(nm.RESPONSE, nm.EPISODE)
        )
        return log_scale + by_episode[0][:, None]
    return log_scale + np.zeros((episodes, 1))


def _summed_over_regimes(spec: ModelSpec, log_obs: Tensor, data: Mapping[str, Tensor]) -> Tensor:
    """Log-likelihood with the regimes summed out."""
    if spec.regimes.count == 1:
        return log_obs.sum()
    logits = _transition_logits(spec, data)
    return markov_loglik(log_obs, logits, _log_initial(spec, logits))


def _transition_logits(spec: ModelSpec, data: Mapping[str, Tensor]) -> Tensor:
    """Logits (time - 1, origin, destination), or (origin, destination) without drivers."""
    alpha = _base_logits(spec)
    if not spec.drivers:
        return alpha
    priors = spec.priors
    slope = pm.ZeroSumNormal(nm.DRIVER_EFFECT, sigma=priors.driver_sd, dims=(nm.DRIVER, nm.DESTINATION))[:, None, :]
    if priors.origin_sd > 0:
        scale = pm.HalfNormal(f"{nm.DRIVER_ORIGIN}_sd", priors.origin_sd, dims=nm.DRIVER)
        raw = pm.ZeroSumNormal(
            f"{nm.DRIVER_ORIGIN}_raw", sigma=1.0, n_zerosum_axes=2, dims=(nm.DRIVER, nm.ORIGIN, nm.DESTINATION)
        )
        slope = slope + pm.Deterministic(
            nm.DRIVER_ORIGIN, scale[:, None, None] * raw, dims=(nm.DRIVER, nm.ORIGIN, nm.DESTINATION)
        )
    z = data[nm.DRIVER_VALUE][:-1]
    moved = sum(slope[d][None, :, :] * z[:, d][:, None, None] for d in range(len(spec.drivers)))
    return alpha[None, :, :] + moved


def _base_logits(spec: ModelSpec) -> Tensor:
    """Logits (origin, destination) with the drivers at their mean.

    The diagonal is the log odds of staying, which is the log of the expected duration minus one period. The rest of a
    row is normalised, so that the odds hold whatever the preference among the other regimes.
    """
    count, priors = spec.regimes.count, spec.priors
    durations = np.broadcast_to(np.asarray(priors.expected_duration), count)
    stay = pm.Normal(nm.STAY, np.log(durations - 1), priors.expected_duration_log_sd, dims=nm.REGIME)
    diagonal = np.eye(count)
    alpha = diagonal * stay[:, None]
    if count > 2:  # noqa: PLR2004
        leave = pm.ZeroSumNormal(nm.LEAVE, sigma=priors.leave_sd, dims=(nm.REGIME, nm.ONWARD))
        share = leave - pt.log(pt.exp(leave).sum(axis=1, keepdims=True))
        for n in range(count - 1):
            alpha = alpha + share[:, n][:, None] * onward_mask(count, n)
    return alpha


def onward_mask(count: int, n: int) -> np.ndarray:
    """Matrix (origin, destination) that marks the n-th regime other than the origin."""
    mask = np.zeros((count, count))
    for origin in range(count):
        mask[origin, [j for j in range(count) if j != origin][n]] = 1.0
    return mask


def _log_initial(spec: ModelSpec, logits: Tensor) -> Tensor:
    """Log law of the first regime (regime)."""
    count = spec.regimes.count
    if spec.regimes.initial == "uniform":
        return pt.as_tensor(np.full(count, -np.log(count)))
    if spec.regimes.initial == "dirichlet":
        return pt.log(pm.Dirichlet(nm.INITIAL, a=np.ones(count), dims=nm.REGIME))
    first = logits[0] if spec.drivers else logits
    transition = pt.special.softmax(first, axis=-1)
    # pi (I - P + 1) = 1, with 1 the matrix of ones, has the stationary law as its only solution.
    system = np.eye(count) - transition + 1.0
    return pt.log(pt.linalg.solve(system.T, np.ones(count)))


def draw_prior(model: pm.Model, draws: int, *, random_seed: int | None = None) -> xr.Dataset:
    """Draw from the prior of all free and deterministic variables of a model.

    Parameters
    ----------
    model : pymc.Model
        From `build_model`.
    draws : int
        How many.
    random_seed : int, optional
        Seed.

    Returns
    -------
    xarray.Dataset
        With dimensions chain (one), draw and the model's own.
    """
    # All constraints hold by construction, so plain forward draws are draws from the prior. Python mode: compiling
    # would cost more than it saves.
    variables = [*model.free_RVs, *model.deterministics]
    values = pm.draw(variables, draws=draws, random_seed=random_seed, mode="FAST_COMPILE")
    data: dict[str, Any] = {}
    used: dict[str, Any] = {nm.DRAW: np.arange(draws)}
    for variable, drawn in zip(variables, values, strict=True):
        # pm.draw gives a single draw no axis of its own.
        shape = np.shape(drawn)[1:] if draws > 1 else np.shape(drawn)
        unnamed = [f"{variable.name}_dim_{n}" for n in range(len(shape))]
        dims = model.named_vars_to_dims.get(variable.name) or unnamed
        data[variable.name] = ((nm.CHAIN, nm.DRAW, *dims), np.reshape(drawn, (1, draws, *shape)))
        used |= {dim: list(model.coords[dim]) for dim in dims if dim in model.coords}
    return xr.Dataset(data, coords={nm.CHAIN: [0], **used})
