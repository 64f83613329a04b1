"""From a spec and a panel to a PyMC model with named coordinates: the only module that writes priors.

Everything is in standardised units. The graph is kept small and free of two-dimensional `dot`, which compiles slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from pymc.distributions.transforms import ZeroSumTransform

from regimelag import names as nm
from regimelag.data.panel import check_panel
from regimelag.kernels import Prior
from regimelag.likelihood.op import (
    lag_sum,
    linear_map,
    linear_predictor,
    markov_loglik,
    normal_logpdf,
    student_t_logpdf,
)
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
    coords[nm.CONTEMPORANEOUS_SIGNAL] = [signal.name for signal in spec.contemporaneous_signals]
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
        Data are shared variables, as `pymc.Data` makes them; `model_data` makes their arrays.

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
    # Every distribution below has parameters that are valid by construction, so PyMC need not check them at each step.
    with pm.Model(coords=model_coords(spec, panel), check_bounds=False) as model:
        data = {name: _as_data(name, values) for name, values in model_data(spec, panel).items()}
        location = _location(spec, data)
        log_scale = _log_scale(spec)
        y, episode = data[nm.RESPONSE_VALUE], data[nm.EPISODE_INDEX]
        if spec.family == "student_t":
            tail = pm.Gamma(nm.TAIL, alpha=spec.priors.tail_shape, beta=spec.priors.tail_rate)
            log_obs = student_t_logpdf(y, location, log_scale, episode, tail + 2.0)
        else:
            log_obs = normal_logpdf(y, location, log_scale, episode)
        pm.Potential("log_likelihood", _summed_over_regimes(spec, log_obs, data))
    return model


def model_data(spec: ModelSpec, panel: xr.Dataset) -> dict[str, np.ndarray]:
    """The panel's arrays as the model holds them: time last, and nothing left to rearrange at each step of a sampler.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.

    Returns
    -------
    dict of str to ndarray
        ``response_value`` (time); ``signal_value`` (lagged signal, L + time); ``covariate`` (1 + contemporaneous
        signals + controls, time), of which the first is one; ``driver_value`` (1 + drivers, time - 1), the same;
        ``episode_index`` (time).
    """
    signals = panel[nm.SIGNAL_VALUE].to_numpy().T
    now = [spec.signals.index(signal) for signal in spec.contemporaneous_signals]
    lagged = [spec.signals.index(signal) for signal in spec.lagged_signals]
    rows = panel.sizes[nm.TIME]
    covariate = (np.ones((1, rows)), signals[now, spec.history :], panel[nm.CONTROL_VALUE].to_numpy().T)
    return {
        nm.RESPONSE_VALUE: panel[nm.RESPONSE_VALUE].to_numpy()[:, 0].copy(),
        nm.SIGNAL_VALUE: np.ascontiguousarray(signals[lagged]),
        nm.COVARIATE: np.concatenate(covariate),
        nm.DRIVER_VALUE: np.concatenate([np.ones((1, rows - 1)), panel[nm.DRIVER_VALUE].to_numpy()[:-1].T]),
        nm.EPISODE_INDEX: panel[nm.EPISODE_INDEX].to_numpy().astype("int64"),
    }


def _as_data(name: str, values: np.ndarray) -> Tensor:
    """The array as model data; its length in time stays open, so that another window can be set.

    As `pymc.Data` does, which would refuse NaN, that marks a missing response, and turn int64 into int32.
    """
    data = pytensor.shared(values, name=name)
    pm.modelcontext(None).register_data_var(data)
    return data


def _location(spec: ModelSpec, data: Mapping[str, Tensor]) -> Tensor:
    """Location (regime, time): terms that all regimes share, then those that differ."""
    priors = spec.priors
    intercept = pm.Normal(nm.INTERCEPT, 0.0, priors.intercept_sd, dims=(nm.RESPONSE, nm.REGIME))
    shared = []
    if spec.contemporaneous_signals:
        dims = (nm.RESPONSE, nm.CONTEMPORANEOUS_SIGNAL)
        shared.append(pm.Normal(nm.CONTEMPORANEOUS, 0.0, priors.contemporaneous_sd, dims=dims))
    if spec.controls:
        shared.append(pm.Normal(nm.CONTROL_EFFECT, 0.0, priors.control_sd, dims=(nm.RESPONSE, nm.CONTROL)))
    sizes = [len(spec.contemporaneous_signals), len(spec.controls)]
    rows = np.split(np.eye(1 + sum(sizes)), np.cumsum([1, *sizes]))
    regimes = np.eye(spec.regimes.count)
    terms = [(intercept, np.einsum("pc,qk->pqck", rows[0], regimes))]
    places = [place for place in rows[1:] if len(place)]
    for values, place in zip(shared, places, strict=True):
        terms.append((values, np.einsum("pc,k->pck", place, _ones(regimes))[None]))
    location = linear_predictor(data[nm.COVARIATE], _sum_of(terms)[None])
    return location + _lagged_response(spec, data) if spec.lagged_signals else location


def _sum_of(terms: Sequence[tuple[Tensor, np.ndarray]]) -> Tensor:
    """Sum of linear maps of parameters, each with a constant array (*parameter, *cell) that says what enters where.

    Whatever is linear in the parameters is assembled this way. Broadcasting would read as well, but each of its steps,
    and each of their gradients, is a node of the graph to compile; here a term is one node, and the same for all.
    """
    entered, shape = [], ()
    for parameter, enters in terms:
        shape = enters.shape[parameter.type.ndim :]
        size = int(np.prod(enters.shape[: parameter.type.ndim], dtype=int))
        entered.append(linear_map(enters.reshape(size, -1), parameter.reshape((size,))))
    return sum(entered[1:], start=entered[0]).reshape(shape)


def _ones(identity: np.ndarray) -> np.ndarray:
    return np.ones(len(identity))


def _lagged_response(spec: ModelSpec, data: Mapping[str, Tensor]) -> Tensor:
    """Effect times lagged signal, summed over signals (regime, time)."""
    effects = _effects(spec)
    lagged, departed = [], []
    for place, signal in enumerate(spec.lagged_signals):
        parameters = {
            name: _from_prior(nm.lag_parameter(signal.name, name), prior)
            for name, prior in signal.kernel.priors(spec.max_lag).items()
        }
        values = data[nm.SIGNAL_VALUE][place]
        lagged.append(lag_sum(values, signal.kernel.weights(parameters, spec.max_lag, pt)))
        departure = signal.kernel.departure(parameters, spec.max_lag, pt)
        if departure is not None:
            departed.append(lag_sum(values, departure))
    response = linear_predictor(pt.stack(lagged), effects, data[nm.EPISODE_INDEX])
    return sum((sums[None, :] for sums in departed), start=response)


def _effects(spec: ModelSpec) -> Tensor:
    """Cumulative lagged effects (episode, lagged signal, regime)."""
    priors = spec.priors
    signals, regimes, episodes = (np.eye(size) for size in (len(spec.lagged_signals), spec.regimes.count, _episodes()))
    effect = pm.Normal(nm.EFFECT, 0.0, priors.effect_sd, dims=nm.LAGGED_SIGNAL)
    terms = [(effect, np.einsum("ps,e,k->pesk", signals, _ones(episodes), _ones(regimes)))]
    if len(regimes) > 1:
        by_regime = _pooled(nm.EFFECT_REGIME, priors.effect_regime_sd, nm.REGIME)
        terms.append((by_regime, np.einsum("ps,qk,e->pqesk", signals, regimes, _ones(episodes))))
    if "effect" in spec.episodes.vary and len(episodes) > 1:
        by_episode = _pooled(nm.EFFECT_EPISODE, priors.effect_episode_sd, nm.EPISODE)
        terms.append((by_episode, np.einsum("ps,qe,k->pqesk", signals, episodes, _ones(regimes))))
    return _sum_of(terms)


def _episodes() -> int:
    """How many episodes the model being built has."""
    return len(pm.modelcontext(None).coords[nm.EPISODE])


def _pooled(name: str, sd: float, dim: str) -> Tensor:
    """Deviations (lagged_signal, dim) that sum to zero over dim, with one scale; non-centred, as data are weak."""
    scale = pm.HalfNormal(f"{name}_sd", sd, dims=nm.LAGGED_SIGNAL)
    raw = _zero_sum(f"{name}_raw", 1.0, (nm.LAGGED_SIGNAL, dim))
    return pm.Deterministic(name, scale[:, None] * raw, dims=(nm.LAGGED_SIGNAL, dim))


class _ZeroSumMatrix(ZeroSumTransform):
    """PyMC's transform over the last axis as one product with a constant matrix, which compiles in half the time."""

    def __init__(self, size: int) -> None:
        super().__init__([-1])
        root = np.sqrt(size)
        self.matrix = np.vstack([np.eye(size - 1) - 1 / (root + size), np.full((1, size - 1), -1 / root)])

    def backward(self, value: Tensor, *rv_inputs: Tensor) -> Tensor:  # noqa: ARG002
        """Free values (..., n - 1) to values (..., n) that sum to zero."""
        return linear_map(self.matrix.T, value)

    def forward(self, value: Tensor, *rv_inputs: Tensor) -> Tensor:  # noqa: ARG002
        """Undo :meth:`backward`."""
        return linear_map(self.matrix, value)


def _zero_sum(name: str, sd: float, dims: tuple[str, ...]) -> Tensor:
    """Normal deviations that sum to zero over the last of their dimensions."""
    size = len(pm.modelcontext(None).coords[dims[-1]])
    return pm.ZeroSumNormal(name, sigma=sd, dims=dims, default_transform=_ZeroSumMatrix(size))


def _from_prior(name: str, prior: Prior) -> Tensor:
    distribution = getattr(pm, prior.distribution)
    return distribution(name, **prior.arguments, dims=nm.LAG if prior.over_lags else None)


def _log_scale(spec: ModelSpec) -> Tensor:
    """Log scale (episode, regime): gaps between neighbouring regimes are positive, so their order holds."""
    priors = spec.priors
    regimes, episodes = np.eye(spec.regimes.count), np.eye(_episodes())
    base = pm.Normal(nm.LOG_SCALE, np.log(priors.scale_median), priors.scale_log_sd, dims=nm.RESPONSE)
    terms = [(base, np.ones((1, len(episodes), len(regimes))))]
    if len(regimes) > 1:
        gap = pm.LogNormal(nm.LOG_SCALE_GAP, np.log(priors.scale_gap), priors.scale_gap_log_sd, dims=nm.GAP)
        # Row k of the matrix says how much of each gap lies below regime k, centred over regimes.
        steps = np.tril(np.ones((len(regimes), len(regimes) - 1)), -1)
        steps -= steps.mean(axis=0)
        terms.append((gap, np.einsum("kp,e->pek", steps, _ones(episodes))))
    if "scale" in spec.episodes.vary and len(episodes) > 1:
        by_episode = _zero_sum(nm.LOG_SCALE_EPISODE, priors.scale_episode_sd, (nm.RESPONSE, nm.EPISODE))
        terms.append((by_episode, np.einsum("qe,k->qek", episodes, _ones(regimes))[None]))
    return _sum_of(terms)


def _summed_over_regimes(spec: ModelSpec, log_obs: Tensor, data: Mapping[str, Tensor]) -> Tensor:
    """Log-likelihood with the regimes summed out, from log densities (regime, time)."""
    if spec.regimes.count == 1:
        return log_obs.sum()
    logits = _transition_logits(spec, data)
    return markov_loglik(log_obs.T, logits, _log_initial(spec, logits))


def _transition_logits(spec: ModelSpec, data: Mapping[str, Tensor]) -> Tensor:
    """Logits (time - 1, origin, destination), or (origin, destination) without drivers."""
    priors, count = spec.priors, spec.regimes.count
    regimes, rows = np.eye(count), np.eye(len(spec.drivers) + 1)
    terms = [(values, np.multiply.outer(enters, rows[0])) for values, enters in _base_terms(spec)]
    terms = [(values, np.moveaxis(enters, -1, -3)) for values, enters in terms]
    if not spec.drivers:
        return _sum_of(terms)[0]
    slope = _zero_sum(nm.DRIVER_EFFECT, priors.driver_sd, (nm.DRIVER, nm.DESTINATION))
    terms.append((slope, np.einsum("pd,qj,i->pqdij", rows[1:], regimes, _ones(regimes))))
    if priors.origin_sd > 0:
        scale = pm.HalfNormal(f"{nm.DRIVER_ORIGIN}_sd", priors.origin_sd, dims=nm.DRIVER)
        dims = (nm.DRIVER, nm.ORIGIN, nm.DESTINATION)
        raw = pm.ZeroSumNormal(f"{nm.DRIVER_ORIGIN}_raw", sigma=1.0, n_zerosum_axes=2, dims=dims)
        by_origin = pm.Deterministic(nm.DRIVER_ORIGIN, scale[:, None, None] * raw, dims=dims)
        terms.append((by_origin, np.einsum("pd,qi,rj->pqrdij", rows[1:], regimes, regimes)))
    coefficients = _sum_of(terms).reshape((1, len(rows), count**2))
    moving = linear_predictor(data[nm.DRIVER_VALUE], coefficients)
    return pt.moveaxis(moving.reshape((count, count, -1)), -1, 0)


def _base_terms(spec: ModelSpec) -> list[tuple[Tensor, np.ndarray]]:
    """Terms of the logits (origin, destination) with the drivers at their mean.

    The diagonal is the log odds of staying, which is the log of the expected duration minus one period. The rest of a
    row is normalised, so that the odds hold whatever the preference among the other regimes.
    """
    count, priors = spec.regimes.count, spec.priors
    regimes = np.eye(count)
    durations = np.broadcast_to(np.asarray(priors.expected_duration), count)
    stay = pm.Normal(nm.STAY, np.log(durations - 1), priors.expected_duration_log_sd, dims=nm.REGIME)
    terms = [(stay, np.einsum("pi,pj->pij", regimes, regimes))]
    if count > 2:  # noqa: PLR2004
        leave = _zero_sum(nm.LEAVE, priors.leave_sd, (nm.REGIME, nm.ONWARD))
        share = leave - pt.log(pt.exp(leave).sum(axis=1, keepdims=True))
        onward = np.stack([onward_mask(count, n) for n in range(count - 1)])
        terms.append((share, np.einsum("pi,qij->pqij", regimes, onward)))
    return terms


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
    # pm.draw gives a single draw no axis of its own.
    drawn = values if draws > 1 else [np.expand_dims(value, 0) for value in values]
    return labelled(model, {str(v.name): np.expand_dims(d, 0) for v, d in zip(variables, drawn, strict=True)})


def labelled(model: pm.Model, values: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Values (chain, draw, *variable) of a model's variables under the model's names of dimensions and coordinates."""
    data: dict[str, Any] = {}
    used: dict[str, Any] = {}
    for name, found in values.items():
        used = {nm.CHAIN: np.arange(found.shape[0]), nm.DRAW: np.arange(found.shape[1])} | used
        named = model.named_vars_to_dims.get(name) or (None,) * (found.ndim - 2)
        dims = [dim or f"{name}_dim_{n}" for n, dim in enumerate(named)]
        data[name] = ((nm.CHAIN, nm.DRAW, *dims), found)
        used |= {dim: list(model.coords[dim]) for dim in dims if model.coords.get(dim) is not None}
    return xr.Dataset(data, coords=used)
