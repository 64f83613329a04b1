"""Recursions of :mod:`regimelag.likelihood.hmm` for each posterior draw, the first axis."""

import math

import numpy as np

from regimelag.likelihood.hmm import check_shapes, filter_forward, leave_one_out, sample_paths, smooth, viterbi
from regimelag.likelihood.numba_link import CONTRACT, compiled
from regimelag.likelihood.vector_math import exp_nonpositive, log1p_nonnegative

# Probability below which the exact filter replaces the scaled one.
SMALLEST = 1e-280
# Sum of the messages of a filter below which they are divided by it.
SHRUNK = 1e-20


@compiled()
def _check_draws(log_obs, transition_logits, log_init):
    if transition_logits.shape[0] != log_obs.shape[0] or log_init.shape[0] != log_obs.shape[0]:
        raise ValueError("log_obs, transition_logits and log_init need the same number of draws on their first axis")


@compiled(CONTRACT)
def _scaled_exp(log_values, largest, values):
    """Exponential of (regime, time), each time divided by the largest, which fills ``largest`` (time)."""
    largest[:] = log_values[0]
    for k in range(1, len(log_values)):
        for t in range(largest.size):
            largest[t] = max(largest[t], log_values[k, t])
    for k in range(len(log_values)):
        for t in range(largest.size):
            values[k, t] = exp_nonpositive(log_values[k, t] - largest[t])


@compiled(CONTRACT)
def _transition_probabilities(logits, by_step, largest, moves):
    """Fill ``moves`` (origin, destination, step) with the softmax of logits (step, origin, destination)."""
    for i in range(len(moves)):
        for step in range(len(logits)):
            for j in range(len(moves)):
                by_step[j, step] = logits[step, i, j]
        _scaled_exp(by_step, largest, moves[i])
        largest[:] = moves[i, 0]
        for j in range(1, len(moves)):
            for step in range(len(logits)):
                largest[step] += moves[i, j, step]
        for step in range(len(logits)):
            largest[step] = 1.0 / largest[step]
        for j in range(len(moves)):
            for step in range(len(logits)):
                moves[i, j, step] *= largest[step]


@compiled()
def _room(times, regimes, steps):
    """Arrays that the filters of one draw after the other fill.

    Transition probabilities (origin, destination, step), those of one origin and their largest, and densities, twice.
    """
    moves, by_step, largest = np.empty((regimes, regimes, steps)), np.empty((regimes, steps)), np.empty(steps)
    return moves, by_step, largest, np.empty((regimes, times)), np.empty((regimes, times))


@compiled(CONTRACT)
def _filter_scaled(log_obs, transition_logits, log_init, room, predicted, filtered, log_density):
    """:func:`filter_forward` in scaled probabilities: many times faster, but it underflows.

    Returns False, with incomplete output, as soon as a probability or the total of a row is NaN or so small that
    products of it may underflow.
    """
    moves, by_step, largest, own, obs = room
    times, regimes = log_obs.shape
    _transition_probabilities(transition_logits, by_step, largest, moves)
    for t in range(times):
        for j in range(regimes):
            own[j, t] = log_obs[t, j]
    _scaled_exp(own, log_density, obs)
    for t in range(times):
        step = min(t, moves.shape[2]) - 1
        before = after = 0.0
        for j in range(regimes):
            mass = math.exp(log_init[j]) if t == 0 else 0.0
            if t > 0:
                for i in range(regimes):
                    mass += filtered[t - 1, i] * moves[i, j, step]
            predicted[t, j] = mass
            filtered[t, j] = mass * obs[j, t]
            before += mass
            after += filtered[t, j]
        for j in range(regimes):
            predicted[t, j] /= before
            filtered[t, j] /= after
            if not (filtered[t, j] > SMALLEST and after > SMALLEST):
                return False
        log_density[t] += math.log(after)
    return True


@compiled()
def _smooth_scaled(filtered, predicted, moves, smoothed):
    """:func:`smooth` from the output of :func:`_filter_scaled`; False if a division may overflow."""
    times, regimes = filtered.shape
    smoothed[-1] = filtered[-1]
    for t in range(times - 2, -1, -1):
        row = min(t, moves.shape[2] - 1)
        for j in range(regimes):
            if not predicted[t + 1, j] > SMALLEST:
                return False
        for i in range(regimes):
            total = 0.0
            for j in range(regimes):
                total += moves[i, j, row] * (smoothed[t + 1, j] / predicted[t + 1, j])
            smoothed[t, i] = filtered[t, i] * total
    return True


@compiled()
def _sample_scaled(filtered, moves, uniforms, path):
    """:func:`sample_paths` from the output of :func:`_filter_scaled`; False if the weights of a step may underflow."""
    times, regimes = filtered.shape
    weights = np.empty(regimes)
    for t in range(times - 1, -1, -1):
        row = min(t, moves.shape[2] - 1)
        total = 0.0
        for i in range(regimes):
            weights[i] = filtered[t, i] if t == times - 1 else filtered[t, i] * moves[i, path[t + 1], row]
            total += weights[i]
        if not total > SMALLEST:
            return False
        left = uniforms[t] * total
        for i in range(regimes):
            if weights[i] > 0.0:
                path[t] = i
                left -= weights[i]
                if left < 0.0:
                    break
    return True


@compiled()
def _filter_scaled_draws(log_obs, transition_logits, log_init, predicted, filtered, log_density):
    """Apply :func:`_filter_scaled` to each draw; return which draws are valid (draw)."""
    certain = np.empty(log_obs.shape[0], dtype=np.bool_)
    room = _room(*log_obs.shape[1:], transition_logits.shape[1])
    for d in range(log_obs.shape[0]):
        given = log_obs[d], transition_logits[d], log_init[d]
        certain[d] = _filter_scaled(*given, room, predicted[d], filtered[d], log_density[d])
    return certain


def filter_forward_draws(log_obs, transition_logits, log_init):
    """Apply :func:`filter_forward` to each draw: predicted, filtered (draw, time, regime), log_density (draw, time)."""
    _check_draws(log_obs, transition_logits, log_init)
    check_shapes(log_obs[0], transition_logits[0], log_init[0])
    predicted, filtered = np.empty(log_obs.shape), np.empty(log_obs.shape)
    log_density = np.empty(log_obs.shape[:2])
    certain = _filter_scaled_draws(log_obs, transition_logits, log_init, predicted, filtered, log_density)
    for d in np.flatnonzero(~certain):
        predicted[d], filtered[d], log_density[d] = filter_forward(log_obs[d], transition_logits[d], log_init[d])
    return predicted, filtered, log_density


# ---------------------------------------------------------------------------------------------------------------------
# Log densities alone need one exponential per density and transition probability and one logarithm per time, which LLVM
# vectorises over rows. The messages a[j,t] = o[j,t] sum_i a[i,t-1] p[i,j,t-1], with o divided by its maximum, shrink;
# they are divided by their sum only where it falls below SHRUNK.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT)
def _shares(obs, moves, log_init, shares):
    """Fill ``shares`` (time): the sum of the messages over that of the previous row. False as `_filter_scaled`."""
    regimes, times = obs.shape
    now, following = np.empty(regimes), np.empty(regimes)
    before = 1.0
    for t in range(times):
        step = min(t, moves.shape[2]) - 1
        total, certain = 0.0, True
        for j in range(regimes):
            mass = 0.0
            if t == 0:
                mass = math.exp(log_init[j])
            else:
                for i in range(regimes):
                    mass += now[i] * moves[i, j, step]
            following[j] = mass * obs[j, t]
            total += following[j]
            certain &= SMALLEST < following[j] < np.inf
        if not certain:
            return False
        shares[t] = total / before
        if total < SHRUNK:
            for j in range(regimes):
                following[j] /= total
            total = 1.0
        before = total
        now, following = following, now
    return True


@compiled(CONTRACT)
def _add_logs(shares, log_density):
    """Add the logarithms of numbers in (0, 1] to ``log_density``."""
    for t in range(shares.size):
        log_density[t] -= log1p_nonnegative(1.0 / shares[t] - 1.0)


@compiled()
def log_density_lags_draws(log_obs, transition_logits, log_init):
    """Log density of each row given the previous ones (draw, lag, time), for log_obs (draw, lag, time, regime)."""
    _check_draws(log_obs, transition_logits, log_init)
    draws, lags, times, regimes = log_obs.shape
    check_shapes(log_obs[0, 0], transition_logits[0], log_init[0])
    log_density, shares = np.empty((draws, lags, times)), np.empty(times)
    moves, by_step, largest, own, obs = _room(times, regimes, transition_logits.shape[1])
    for d in range(draws):
        _transition_probabilities(transition_logits[d], by_step, largest, moves)
        for c in range(lags):
            for t in range(times):
                for k in range(regimes):
                    own[k, t] = log_obs[d, c, t, k]
            _scaled_exp(own, log_density[d, c], obs)
            if _shares(obs, moves, log_init[d], shares):
                # The first is the only one that may exceed one: log_init need not sum to one.
                log_density[d, c, 0] += math.log(shares[0])
                _add_logs(shares[1:], log_density[d, c, 1:])
            else:
                log_density[d, c] = filter_forward(log_obs[d, c], transition_logits[d], log_init[d])[2]
    return log_density


def log_density_draws(log_obs, transition_logits, log_init):
    """Log density of each row given the previous ones, as of :func:`filter_forward_draws`: (draw, time)."""
    return log_density_lags_draws(log_obs[:, None], transition_logits, log_init)[:, 0]


@compiled()
def smooth_draws(log_obs, transition_logits, log_init):
    """Apply :func:`smooth` to each draw: (draw, time, regime)."""
    _check_draws(log_obs, transition_logits, log_init)
    check_shapes(log_obs[0], transition_logits[0], log_init[0])
    smoothed = np.empty(log_obs.shape)
    predicted, filtered = np.empty(log_obs.shape[1:]), np.empty(log_obs.shape[1:])
    room, log_density = _room(*log_obs.shape[1:], transition_logits.shape[1]), np.empty(log_obs.shape[1])
    for d in range(log_obs.shape[0]):
        given = log_obs[d], transition_logits[d], log_init[d]
        if not (
            _filter_scaled(*given, room, predicted, filtered, log_density)
            and _smooth_scaled(filtered, predicted, room[0], smoothed[d])
        ):
            smoothed[d] = smooth(*given)
    return smoothed


@compiled()
def leave_one_out_draws(log_obs, transition_logits, log_init):
    """Apply :func:`leave_one_out` to each draw: (draw, time)."""
    _check_draws(log_obs, transition_logits, log_init)
    log_density = np.empty(log_obs.shape[:2])
    for d in range(log_obs.shape[0]):
        log_density[d] = leave_one_out(log_obs[d], transition_logits[d], log_init[d])
    return log_density


@compiled()
def sample_paths_draws(log_obs, transition_logits, log_init, uniforms):
    """Apply :func:`sample_paths` to each draw, with uniforms (draw, time): (draw, time)."""
    _check_draws(log_obs, transition_logits, log_init)
    if uniforms.shape[0] != log_obs.shape[0]:
        raise ValueError("sample_paths_draws needs uniforms (draw, time) with as many draws as log_obs")
    check_shapes(log_obs[0], transition_logits[0], log_init[0])
    paths = np.empty(log_obs.shape[:2], dtype=np.int64)
    predicted, filtered = np.empty(log_obs.shape[1:]), np.empty(log_obs.shape[1:])
    room, log_density = _room(*log_obs.shape[1:], transition_logits.shape[1]), np.empty(log_obs.shape[1])
    for d in range(log_obs.shape[0]):
        given = log_obs[d], transition_logits[d], log_init[d]
        if not (
            uniforms.shape[1] == log_obs.shape[1]
            and _filter_scaled(*given, room, predicted, filtered, log_density)
            and _sample_scaled(filtered, room[0], uniforms[d], paths[d])
        ):
            paths[d] = sample_paths(*given, uniforms[d])
    return paths


@compiled()
def viterbi_draws(log_obs, transition_logits, log_init):
    """Apply :func:`viterbi` to each draw: paths (draw, time) and log_joint (draw)."""
    _check_draws(log_obs, transition_logits, log_init)
    paths = np.empty(log_obs.shape[:2], dtype=np.int64)
    log_joint = np.empty(log_obs.shape[0])
    for d in range(log_obs.shape[0]):
        paths[d], log_joint[d] = viterbi(log_obs[d], transition_logits[d], log_init[d])
    return paths, log_joint


@compiled()
def forward_paths_draws(transition_logits, log_init, uniforms):
    """Draw a path of each draw from the transition probabilities alone, with uniforms (draw, time): (draw, time)."""
    draws, times = uniforms.shape
    regimes = log_init.shape[1]
    paths = np.empty((draws, times), dtype=np.int64)
    weights = np.empty(regimes)
    for d in range(draws):
        for t in range(times):
            largest = -np.inf
            for j in range(regimes):
                row = min(t - 1, transition_logits.shape[1] - 1)
                weights[j] = log_init[d, j] if t == 0 else transition_logits[d, row, paths[d, t - 1], j]
                largest = max(largest, weights[j])
            total = 0.0
            for j in range(regimes):
                weights[j] = math.exp(weights[j] - largest)
                total += weights[j]
            reached, j = weights[0] / total, 0
            while j < regimes - 1 and uniforms[d, t] > reached:
                j += 1
                reached += weights[j] / total
            paths[d, t] = j
    return paths
