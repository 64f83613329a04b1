"""The model's equations in plain numpy: from parameter draws to locations, scales, transition logits and densities.

This is the twin of `regimelag.model`, written apart from it. The simulator draws from it, and everything that is
computed after sampling is computed with it, so the sampler's graph can stay small. A test holds the two against each
other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special

from regimelag import names as nm
from regimelag.spec import ModelSpec

Draws = dict[str, np.ndarray]


class Equations(NamedTuple):
    """What the parameters of each draw say.

    Attributes
    ----------
    location : ndarray
        (draw, time, regime), standardised units.
    log_scale : ndarray
        (draw, episode, regime).
    episode : ndarray
        (time) index of the episode of each row.
    degrees_of_freedom : ndarray or None
        (draw); None for normal residuals.
    logits : ndarray
        (draw, step, origin, destination); one step if there are no drivers.
    log_initial : ndarray
        (draw, regime).
    """

    location: np.ndarray
    log_scale: np.ndarray
    episode: np.ndarray
    degrees_of_freedom: np.ndarray | None
    logits: np.ndarray
    log_initial: np.ndarray


def stack_draws(parameters: xr.Dataset) -> Draws:
    """Arrays with all (chain, draw) pairs on one leading axis; a dataset without these dimensions is a single draw."""
    sample = [dim for dim in (nm.CHAIN, nm.DRAW) if dim in parameters.dims]
    stacked = {}
    for name, values in parameters.data_vars.items():
        moved = values.transpose(*sample, ...)
        rest = moved.shape[len(sample) :]
        stacked[str(name)] = moved.to_numpy().reshape(-1, *rest)
    return stacked


def unstack_draws(values: np.ndarray, parameters: xr.Dataset, **coords: object) -> xr.DataArray:
    """Undo `stack_draws` for values (draw, ...): chain and draw as in `parameters`, and named axes behind them."""
    sample = {dim: parameters[dim] for dim in (nm.CHAIN, nm.DRAW)}
    shape = tuple(len(coord) for coord in sample.values())
    return xr.DataArray(values.reshape(*shape, *values.shape[1:]), dims=(*sample, *coords), coords={**sample, **coords})


def in_chunks(draws: Draws, rows: int, *, budget: int = 20_000_000) -> Iterator[tuple[slice, Draws]]:
    """Split draws so that a (draw, time, regime) array stays below the budget of entries."""
    total = len(next(iter(draws.values())))
    size = max(1, budget // max(rows, 1))
    for first in range(0, total, size):
        part = slice(first, min(first + size, total))
        yield part, {name: values[part] for name, values in draws.items()}


def lag_weights(spec: ModelSpec, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Weights and signed departures of each lagged signal, both (draw, signal, lag)."""
    weights, departures = [], []
    for signal in spec.lagged_signals:
        parameters = {name: draws[nm.lag_parameter(signal.name, name)] for name in signal.kernel.priors(spec.max_lag)}
        weights.append(signal.kernel.weights(parameters, spec.max_lag))
        departure = signal.kernel.departure(parameters, spec.max_lag)
        departures.append(np.zeros_like(weights[-1]) if departure is None else departure)
    return np.stack(weights, axis=1), np.stack(departures, axis=1)


def lagged_effects(spec: ModelSpec, draws: Draws, episodes: int) -> np.ndarray:
    """Cumulative lagged effect (draw, signal, episode, regime), standardised units."""
    effect = draws[nm.EFFECT][:, :, None, None]
    shape = (*effect.shape[:2], episodes, spec.regimes.count)
    total = np.broadcast_to(effect, shape).copy()
    if nm.EFFECT_REGIME in draws:
        total += draws[nm.EFFECT_REGIME][:, :, None, :]
    if nm.EFFECT_EPISODE in draws:
        total += draws[nm.EFFECT_EPISODE][:, :, :, None]
    return total


def log_scales(draws: Draws, episodes: int) -> np.ndarray:
    """Log residual scale (draw, episode, regime), standardised units."""
    base = draws[nm.LOG_SCALE][:, 0]
    gaps = draws.get(nm.LOG_SCALE_GAP, np.zeros((len(base), 0)))
    ladder = np.concatenate([np.zeros((len(base), 1)), np.cumsum(gaps, axis=1)], axis=1)
    ladder -= ladder.mean(axis=1, keepdims=True)
    by_episode = draws[nm.LOG_SCALE_EPISODE][:, 0] if nm.LOG_SCALE_EPISODE in draws else np.zeros((len(base), episodes))
    return base[:, None, None] + by_episode[:, :, None] + ladder[:, None, :]


def locations(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> np.ndarray:
    """Location (draw, time, regime), standardised units."""
    rows = panel.sizes[nm.TIME]
    signals = panel[nm.SIGNAL_VALUE].to_numpy()
    episode = panel[nm.EPISODE_INDEX].to_numpy()
    common = np.zeros((len(draws[nm.INTERCEPT]), rows))
    now = [n for n, signal in enumerate(spec.signals) if signal.contemporaneous]
    if now:
        common = common + draws[nm.CONTEMPORANEOUS][:, 0] @ signals[spec.history :, now].T
    if spec.controls:
        common = common + draws[nm.CONTROL_EFFECT][:, 0] @ panel[nm.CONTROL_VALUE].to_numpy().T
    location = common[:, :, None] + draws[nm.INTERCEPT][:, 0][:, None, :]
    if not spec.lagged_signals:
        return location
    weights, departures = lag_weights(spec, draws)
    effects = lagged_effects(spec, draws, panel.sizes[nm.EPISODE])
    for place, signal in enumerate(spec.lagged_signals):
        past = sliding_window_view(signals[:-1, spec.signals.index(signal)], spec.max_lag)[:, ::-1]
        location += effects[:, place][:, episode, :] * (weights[:, place] @ past.T)[:, :, None]
        location += (departures[:, place] @ past.T)[:, :, None]
    return location


def base_logits(spec: ModelSpec, draws: Draws) -> np.ndarray:
    """Transition logits (draw, origin, destination) with the drivers at their mean."""
    count = spec.regimes.count
    if count == 1:
        return np.zeros((len(draws[nm.INTERCEPT]), 1, 1))
    stay = draws[nm.STAY]
    logits = np.zeros((len(stay), count, count))
    for origin in range(count):
        others = [j for j in range(count) if j != origin]
        if nm.LEAVE in draws:
            leave = draws[nm.LEAVE][:, origin]
            logits[:, origin, others] = leave - np.log(np.exp(leave).sum(axis=1, keepdims=True))
        logits[:, origin, origin] = stay[:, origin]
    return logits


def driver_slopes(spec: ModelSpec, draws: Draws) -> np.ndarray:
    """What a standard deviation of each driver adds to the logits (draw, driver, origin, destination)."""
    count = spec.regimes.count
    slopes = np.repeat(draws[nm.DRIVER_EFFECT][:, :, None, :], count, axis=2)
    return slopes + draws[nm.DRIVER_ORIGIN] if nm.DRIVER_ORIGIN in draws else slopes


def transition_logits(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> np.ndarray:
    """Logits (draw, step, origin, destination); row t drives the step from t to t + 1."""
    alpha = base_logits(spec, draws)[:, None]
    if not spec.drivers:
        return alpha
    z = panel[nm.DRIVER_VALUE].to_numpy()[:-1]
    return alpha + np.einsum("ndij,td->ntij", driver_slopes(spec, draws), z)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    unnormalised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return unnormalised / unnormalised.sum(axis=-1, keepdims=True)


def log_initial(spec: ModelSpec, draws: Draws, logits: np.ndarray) -> np.ndarray:
    """Log law of the first regime (draw, regime)."""
    count = spec.regimes.count
    if spec.regimes.initial == "dirichlet" and nm.INITIAL in draws:
        return np.log(draws[nm.INITIAL])
    if spec.regimes.initial == "stationary" and count > 1:
        system = np.eye(count) - softmax(logits[:, 0]) + 1.0
        return np.log(np.linalg.solve(system.transpose(0, 2, 1), np.ones((len(system), count, 1)))[..., 0])
    return np.full((len(logits), count), -np.log(count))


def equations(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> Equations:
    """Evaluate the model's equations at each draw."""
    logits = transition_logits(spec, panel, draws)
    return Equations(
        location=locations(spec, panel, draws),
        log_scale=log_scales(draws, panel.sizes[nm.EPISODE]),
        episode=panel[nm.EPISODE_INDEX].to_numpy(),
        degrees_of_freedom=draws[nm.TAIL] + 2.0 if spec.family == "student_t" else None,
        logits=logits,
        log_initial=log_initial(spec, draws, logits),
    )


def log_observation(eq: Equations, y: np.ndarray) -> np.ndarray:
    """Log density (draw, time, regime) of the responses y (time) in each regime; zero where y is missing."""
    log_scale = eq.log_scale[:, eq.episode, :]
    z = (np.nan_to_num(y)[None, :, None] - eq.location) / np.exp(log_scale)
    if eq.degrees_of_freedom is None:
        density = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - log_scale
    else:
        nu = eq.degrees_of_freedom[:, None, None]
        head = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        density = head - log_scale - (nu + 1) / 2 * np.log1p(z**2 / nu)
    return np.where(np.isnan(y)[None, :, None], 0.0, density)


def draw_regimes(eq: Equations, rng: np.random.Generator) -> np.ndarray:
    """Draw a regime path (draw, time) from the chain, without looking at responses."""
    draws, rows = eq.location.shape[:2]
    cumulative = np.cumsum(softmax(eq.logits), axis=-1)
    path = np.empty((draws, rows), dtype=np.int64)
    uniform = rng.random((draws, rows))
    path[:, 0] = (uniform[:, :1] > np.cumsum(np.exp(eq.log_initial), axis=-1)[:, :-1]).sum(axis=-1)
    every = np.arange(draws)
    for t in range(1, rows):
        step = cumulative[:, min(t - 1, cumulative.shape[1] - 1)]
        path[:, t] = (uniform[:, t, None] > step[every, path[:, t - 1], :-1]).sum(axis=-1)
    return path


def draw_responses(eq: Equations, path: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw responses (draw, time) given regime paths, standardised units."""
    every = np.arange(len(path))[:, None]
    rows = np.arange(path.shape[1])[None, :]
    location = eq.location[every, rows, path]
    scale = np.exp(eq.log_scale[every, eq.episode[None, :], path])
    if eq.degrees_of_freedom is None:
        return location + scale * rng.standard_normal(path.shape)
    return location + scale * rng.standard_t(eq.degrees_of_freedom[:, None], size=path.shape)
