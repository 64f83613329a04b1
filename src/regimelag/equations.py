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
from regimelag.kernels import Point, combinations
from regimelag.series import Signal
from regimelag.spec import ModelSpec

Draws = dict[str, np.ndarray]


class Equations(NamedTuple):
    """What the parameters of each draw say.

    Regimes are joint ones here: where each response has a chain of its own, one for each combination of their regimes,
    as `ModelSpec.joint_regimes` numbers them.

    Attributes
    ----------
    location : ndarray
        (draw, response, time, regime), standardised units.
    log_scale : ndarray
        (draw, response, episode, regime).
    episode : ndarray
        (time) index of the episode of each row.
    correlation : ndarray
        (draw, response, response) of the residuals.
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
    correlation: np.ndarray
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


def lag_weights(spec: ModelSpec, draws: Draws, signal: Signal) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights of a lagged signal (draw, response, episode, regime, lag), and its signed departures (draw, lag) if any.

    The axes response, episode and regime have length one where the lag does not differ along them.
    """
    kernel = signal.kernel
    parameters = {name: draws[nm.lag_parameter(signal.name, name)] for name in kernel.names(spec.max_lag)}
    departure = kernel.departure(parameters, spec.max_lag)
    if isinstance(kernel, Point):
        point = parameters["point"]
        return kernel.weights({"point": point.reshape(len(point), 1, 1, -1)}, spec.max_lag), departure
    moves = lag_moves(draws, signal)
    if moves is not None:
        lifted = {name: values[:, None, None] for name, values in parameters.items()}
        return kernel.weights(kernel.moved(lifted, moves), spec.max_lag)[:, :, :, None], departure
    return kernel.weights(parameters, spec.max_lag)[:, None, None, None], departure


def lag_moves(draws: Draws, signal: Signal) -> np.ndarray | None:
    """Deviations of the log location of a signal's kernel (draw, response, episode); None if there are none."""
    by_episode = draws.get(nm.lag_parameter(signal.name, nm.EPISODE))
    by_response = draws.get(nm.lag_parameter(signal.name, nm.RESPONSE))
    moves = [] if by_episode is None else [by_episode[:, None, :]]
    moves += [] if by_response is None else [by_response[:, :, None]]
    return sum(moves[1:], start=moves[0]) if moves else None


def lagged_effects(spec: ModelSpec, draws: Draws, episodes: int) -> np.ndarray:
    """Cumulative lagged effect (draw, signal, response, episode, regime), standardised units."""
    effect = draws[nm.EFFECT][:, :, None, None, None]
    shape = (*effect.shape[:2], len(spec.responses), episodes, spec.regimes.count)
    total = np.broadcast_to(effect, shape).copy()
    if nm.EFFECT_REGIME in draws:
        total += draws[nm.EFFECT_REGIME][:, :, None, None, :]
    if nm.EFFECT_EPISODE in draws:
        total += draws[nm.EFFECT_EPISODE][:, :, None, :, None]
    if nm.EFFECT_RESPONSE in draws:
        total += draws[nm.EFFECT_RESPONSE][:, :, :, None, None]
    return total


def log_scales(draws: Draws, episodes: int) -> np.ndarray:
    """Log residual scale (draw, response, episode, regime), standardised units, by each response's own regimes."""
    base = draws[nm.LOG_SCALE]
    gaps = draws.get(nm.LOG_SCALE_GAP, np.zeros((len(base), 0)))
    gaps = gaps if gaps.ndim == 3 else gaps[:, None]  # noqa: PLR2004
    ladder = np.concatenate([np.zeros((*gaps.shape[:-1], 1)), np.cumsum(gaps, axis=-1)], axis=-1)
    ladder -= ladder.mean(axis=-1, keepdims=True)
    by_episode = draws.get(nm.LOG_SCALE_EPISODE, np.zeros((*base.shape, episodes)))
    return base[:, :, None, None] + by_episode[:, :, :, None] + ladder[:, :, None, :]


def locations(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> np.ndarray:
    """Location (draw, response, time, regime), standardised units, by each response's own regimes."""
    signals = panel[nm.SIGNAL_VALUE].to_numpy()
    common = np.zeros((*draws[nm.INTERCEPT].shape[:2], panel.sizes[nm.TIME]))
    now = [n for n, signal in enumerate(spec.signals) if signal.contemporaneous]
    if now:
        common = common + draws[nm.CONTEMPORANEOUS] @ signals[spec.history :, now].T
    if spec.controls:
        common = common + draws[nm.CONTROL_EFFECT] @ panel[nm.CONTROL_VALUE].to_numpy().T
    location = common[..., None] + draws[nm.INTERCEPT][:, :, None, :]
    if not spec.lagged_signals:
        return location
    episode = panel[nm.EPISODE_INDEX].to_numpy()
    effects = lagged_effects(spec, draws, panel.sizes[nm.EPISODE])
    for place, signal in enumerate(spec.lagged_signals):
        past = sliding_window_view(signals[:-1, spec.signals.index(signal)], spec.max_lag)[:, ::-1]
        weights, departure = lag_weights(spec, draws, signal)
        for e in range(panel.sizes[nm.EPISODE]):
            rows = episode == e
            lagged = weights[:, :, min(e, weights.shape[2] - 1)] @ past[rows].T
            location[:, :, rows] += effects[:, place, :, e][:, :, None, :] * np.moveaxis(lagged, -2, -1)
        if departure is not None:
            location += (departure @ past.T)[:, None, :, None]
    return location


def on_joint(spec: ModelSpec, values: np.ndarray) -> np.ndarray:
    """Values (draw, response, ..., regime) of each response's own regimes, on joint regimes."""
    if not spec.own_regimes:
        return values
    return np.stack([values[:, a][..., at] for a, at in enumerate(spec.joint_regimes.T)], axis=1)


def of_each_chain(spec: ModelSpec, values: np.ndarray) -> np.ndarray:
    """Probabilities (..., joint regime), summed to those of each response's chain (..., response, regime).

    With one chain for all they are (..., regime) as they came.
    """
    if not spec.own_regimes:
        return values
    return np.einsum("...k,kaq->...aq", values, np.eye(spec.regimes.count)[spec.joint_regimes])


def paths_of_each_chain(spec: ModelSpec, path: np.ndarray) -> np.ndarray:
    """Paths (..., time) of joint regimes, as those of each response's chain (..., time, response) if it has one."""
    return spec.joint_regimes[path] if spec.own_regimes else path


def _chains(spec: ModelSpec, draws: Draws) -> list[Draws]:
    """The draws of what belongs to a chain, for each chain."""
    if not spec.own_regimes:
        return [draws]
    names = [name for name in (nm.STAY, nm.LEAVE, nm.DRIVER_EFFECT, nm.DRIVER_ORIGIN, nm.INITIAL) if name in draws]
    return [{name: draws[name][:, a] for name in names} for a in range(len(spec.responses))]


def _added_up(spec: ModelSpec, logits: list[np.ndarray]) -> np.ndarray:
    """Logits (..., origin, destination) of independent chains as those of their joint regimes, which are sums."""
    if not spec.own_regimes:
        return logits[0]
    at = spec.joint_regimes.T
    return np.sum([one[..., at[a][:, None], at[a][None, :]] for a, one in enumerate(logits)], axis=0)


def base_logits(spec: ModelSpec, draws: Draws) -> np.ndarray:
    """Transition logits (draw, origin, destination) with the drivers at their mean."""
    return _added_up(spec, chain_logits(spec, draws))


def chain_logits(spec: ModelSpec, draws: Draws) -> list[np.ndarray]:
    """The same (draw, origin, destination) for each chain: one for all responses, or one for each."""
    if spec.regimes.count == 1:
        return [np.zeros((len(draws[nm.INTERCEPT]), 1, 1))]
    return [_base_logits(spec.regimes.count, chain) for chain in _chains(spec, draws)]


def _base_logits(count: int, draws: Draws) -> np.ndarray:
    """The same for one chain."""
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
    return _added_up(spec, chain_slopes(spec, draws))


def chain_slopes(spec: ModelSpec, draws: Draws) -> list[np.ndarray]:
    """The same (draw, driver, origin, destination) for each chain: one for all responses, or one for each."""
    return [_driver_slopes(spec.regimes.count, chain) for chain in _chains(spec, draws)]


def _driver_slopes(count: int, draws: Draws) -> np.ndarray:
    """The same for one chain."""
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
    count = logits.shape[-1]
    if spec.regimes.initial == "dirichlet" and nm.INITIAL in draws:
        chains = [np.log(chain[nm.INITIAL]) for chain in _chains(spec, draws)]
        return on_joint(spec, np.stack(chains, axis=1)).sum(axis=1)
    if spec.regimes.initial == "stationary" and count > 1:
        system = np.eye(count) - softmax(logits[:, 0]) + 1.0
        return np.log(np.linalg.solve(system.transpose(0, 2, 1), np.ones((len(system), count, 1)))[..., 0])
    return np.full((len(logits), count), -np.log(count))


def equations(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> Equations:
    """Evaluate the model's equations at each draw."""
    logits = transition_logits(spec, panel, draws)
    one = np.ones((len(logits), 1, 1))
    return Equations(
        location=on_joint(spec, locations(spec, panel, draws)),
        log_scale=on_joint(spec, log_scales(draws, panel.sizes[nm.EPISODE])),
        episode=panel[nm.EPISODE_INDEX].to_numpy(),
        correlation=draws.get(nm.CORRELATION, one),
        degrees_of_freedom=draws[nm.TAIL] + 2.0 if spec.family == "student_t" else None,
        logits=logits,
        log_initial=log_initial(spec, draws, logits),
    )


def log_observation(eq: Equations, y: np.ndarray) -> np.ndarray:
    """Joint log density (draw, time, regime) of the responses y (time, response) in each regime.

    Missing responses drop out of it; a row without any has zero.
    """
    draws, _, rows, regimes = eq.location.shape
    density = np.zeros((draws, rows, regimes))
    seen = ~np.isnan(y)
    for pattern in np.unique(seen, axis=0):
        at, these = (seen == pattern).all(axis=1), np.flatnonzero(pattern)
        if len(these):
            density[:, at] = _joint_log_density(eq, y, at, these)
    return density


def _joint_log_density(eq: Equations, y: np.ndarray, at: np.ndarray, these: np.ndarray) -> np.ndarray:
    """Log density (draw, row, regime) of the responses `these` on the rows `at`, on which no other is observed.

    Multivariate t: log Gamma((nu + d) / 2) - log Gamma(nu / 2) - d / 2 log(nu pi) - log det(S) / 2 - sum of log scales
    - (nu + d) / 2 log(1 + q / nu), with q the quadratic form of the standardised residuals in the inverse of S.
    """
    log_scale = eq.log_scale[:, these][:, :, eq.episode[at]]
    z = (y[at][:, these].T[None, :, :, None] - eq.location[:, these][:, :, at]) / np.exp(log_scale)
    among = eq.correlation[:, these[:, None], these[None, :]]
    inverse, size = np.linalg.inv(among), len(these)
    q = np.zeros_like(z[:, 0])
    for a in range(size):
        for b in range(size):
            q += inverse[:, a, b][:, None, None] * z[:, a] * z[:, b]
    head = -0.5 * np.linalg.slogdet(among)[1][:, None, None] - log_scale.sum(axis=1)
    if eq.degrees_of_freedom is None:
        return head - 0.5 * size * np.log(2 * np.pi) - 0.5 * q
    nu = eq.degrees_of_freedom[:, None, None]
    head = head + special.gammaln((nu + size) / 2) - special.gammaln(nu / 2) - 0.5 * size * np.log(nu * np.pi)
    return head - (nu + size) / 2 * np.log1p(q / nu)


def log_observation_by_lag(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> tuple[Equations, np.ndarray]:
    """The equations without the point lags' terms, and log densities (draw, combination, time, regime) with them.

    Regimes are joint ones.
    """
    lags, _ = combinations(spec.point_kernels, spec.regimes.count, spec.max_lag)
    count = len(draws[nm.INTERCEPT])
    # No weight is at lag zero, so these terms vanish.
    sizes = {nm.EPISODE: panel.sizes[nm.EPISODE], nm.REGIME: spec.regimes.count}
    nowhere = {
        nm.lag_parameter(signal.name, "point"): np.zeros((count, *(sizes[dim] for dim in spec.point_dims(signal))))
        for signal in spec.point_signals
    }
    eq = equations(spec, panel, draws | nowhere)
    y = panel[nm.RESPONSE_VALUE].to_numpy()
    signals, episode = panel[nm.SIGNAL_VALUE].to_numpy(), eq.episode
    effects = lagged_effects(spec, draws, panel.sizes[nm.EPISODE])
    rows = np.arange(len(y)) + spec.history
    density = np.empty((count, len(lags), len(y), len(spec.joint_regimes)))
    for c, lag in enumerate(lags):
        location = eq.location.copy()
        for s, signal in enumerate(spec.point_signals):
            past = signals[rows[:, None] - lag[s][None, :], spec.signals.index(signal)]
            effect = effects[:, spec.lagged_signals.index(signal)][:, :, episode]
            location += on_joint(spec, effect * past)
        density[:, c] = log_observation(eq._replace(location=location), y)
    return eq, density


def draw_regimes(eq: Equations, rng: np.random.Generator) -> np.ndarray:
    """Draw a regime path (draw, time) from the chain, without looking at responses."""
    draws, _, rows, _ = eq.location.shape
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
    """Draw responses (draw, time, response) given regime paths, standardised units."""
    draws, responses, rows, _ = eq.location.shape
    every, time = np.arange(draws)[:, None], np.arange(rows)[None, :]
    # An index between slices would go to the front; so response goes behind first.
    location = np.moveaxis(eq.location, 1, -1)[every, time, path]
    scale = np.exp(np.moveaxis(eq.log_scale, 1, -1)[every, eq.episode[None, :], path])
    nu = eq.degrees_of_freedom
    if responses == 1:
        residual = rng.standard_normal(path.shape) if nu is None else rng.standard_t(nu[:, None], size=path.shape)
        return location + scale * residual[..., None]
    normal = rng.standard_normal(location.shape) @ np.linalg.cholesky(eq.correlation).transpose(0, 2, 1)
    if nu is not None:
        normal *= np.sqrt(nu[:, None] / rng.chisquare(nu[:, None], size=path.shape))[..., None]
    return location + scale * normal
