"""Exact recursions along a hidden chain of regimes whose transitions may move with time.

The recursions take ``log_obs`` (time, regime), ``transition_logits`` (step, origin, destination) and ``log_init``
(regime). Row ``t`` of ``transition_logits`` drives the step from time ``t`` to ``t + 1``, so there are ``time - 1``
rows, or one row for a constant matrix. Probabilities are the softmax over destinations, taken here. ``log_init`` is
used as given and need not be normalised.

``-inf`` is legal everywhere: a forbidden step, a regime that cannot have produced a row, a regime in which the chain
cannot start. An origin whose exits are all forbidden is a dead end. Where a row is impossible given the rows before it,
its log density and those of all later rows are ``-inf``, probabilities are NaN and paths are -1. NaN and ``+inf`` in an
input do the same, but with densities NaN.

All of it is done with logarithms, each row normalised: slower than scaled probabilities, but nothing underflows. (The
filter of many draws tries those first, and says where it may not.) The
verbs that end in ``_draws`` do the same for each posterior draw, along a leading axis of every input.

References
----------
.. [1] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196
.. [2] Hamilton, J. D. (1989). doi:10.2307/1912559
.. [3] Kim, C.-J. (1994). doi:10.1016/0304-4076(94)90036-1
.. [4] Viterbi, A. J. (1967). doi:10.1109/TIT.1967.1054010
"""

import math

import numpy as np
from numba import njit

# This module imports numpy and numba alone. numba's file cache watches this file and not what it imports.
CACHED = {"cache": True, "error_model": "numpy"}
# Below this, in probability, the scaled filter gives way to the exact one.
SMALLEST = 1e-280


@njit(**CACHED)
def check_shapes(log_obs, transition_logits, log_init):
    """Raise ValueError unless the three inputs fit together, so that no recursion reads past an end."""
    times, regimes = log_obs.shape
    steps, origins, destinations = transition_logits.shape
    if times < 1 or regimes < 1:
        raise ValueError("the chain recursions need log_obs (time, regime) with at least one time and one regime")
    if log_init.size != regimes:
        raise ValueError("the chain recursions need log_init (regime) with as many regimes as log_obs (time, regime)")
    if origins != regimes or destinations != regimes:
        raise ValueError(
            "the chain recursions need transition_logits (step, origin, destination) with as many origins and "
            "destinations as log_obs (time, regime) has regimes"
        )
    if steps not in (1, times - 1):
        raise ValueError(
            "the chain recursions need transition_logits (step, origin, destination) with time - 1 steps, or one step "
            "for a constant matrix"
        )


@njit(**CACHED)
def _is_broken(values):
    """Whether an array holds NaN or ``+inf``."""
    for value in values.flat:  # noqa: SIM110
        if not value < math.inf:
            return True
    return False


@njit(**CACHED)
def _normalise(row):
    """Subtract the log of the sum of exponentials from a row, in place, and return it."""
    largest = -math.inf
    for k in range(row.size):
        if not row[k] <= largest:
            largest = row[k]
    if not largest > -math.inf:
        return largest
    total = 0.0
    for k in range(row.size):
        total += math.exp(row[k] - largest)
    log_total = largest + math.log(total)
    for k in range(row.size):
        row[k] -= log_total
    return log_total


@njit(**CACHED)
def _log_softmax(transition_logits):
    """Log transition probabilities (step, origin, destination); a dead end stays ``-inf``."""
    log_p = transition_logits.copy()
    for step in range(log_p.shape[0]):
        for origin in range(log_p.shape[1]):
            _normalise(log_p[step, origin])
    return log_p


# ---------------------------------------------------------------------------------------------------------------------
# Filter
#
#     predicted[t,j] = sum_i filtered[t-1,i] p[t-1,i,j]                      predicted[0] = init
#     log_density[t] = log sum_j predicted[t,j] o[t,j]                       = log p(y_t | y_<t)
#     filtered[t,j]  = predicted[t,j] o[t,j] / exp(log_density[t])
#
# The log densities sum to the log-likelihood. If init does not sum to one, the first of them carries its total; if an
# origin is a dead end, the next of them carries what is lost there. Predicted probabilities are given normalised.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _filter(log_obs, log_p, log_init):
    """Log predicted (time, regime), log filtered (time, regime) and log_density (time)."""
    times, regimes = log_obs.shape
    predicted = np.full((times, regimes), np.nan)
    filtered = np.full((times, regimes), np.nan)
    log_density = np.full(times, -math.inf)
    terms = np.empty(regimes)
    for t in range(times):
        if t == 0:
            for j in range(regimes):
                predicted[0, j] = log_init[j]
        else:
            step = min(t - 1, log_p.shape[0] - 1)
            for j in range(regimes):
                for i in range(regimes):
                    terms[i] = filtered[t - 1, i] + log_p[step, i, j]
                predicted[t, j] = _normalise(terms)
        for j in range(regimes):
            filtered[t, j] = predicted[t, j] + log_obs[t, j]
        log_density[t] = _normalise(filtered[t])
        _normalise(predicted[t])
        if not log_density[t] > -math.inf:
            for j in range(regimes):
                filtered[t, j] = np.nan
            break
    return predicted, filtered, log_density


@njit(**CACHED)
def _backward(log_obs, log_p):
    """Log of the backward message p(y_>t | regime at t) (time, regime), each row up to a constant."""
    times, regimes = log_obs.shape
    message = np.zeros((times, regimes))
    terms = np.empty(regimes)
    for t in range(times - 2, -1, -1):
        step = min(t, log_p.shape[0] - 1)
        for i in range(regimes):
            for j in range(regimes):
                terms[j] = log_p[step, i, j] + log_obs[t + 1, j] + message[t + 1, j]
            message[t, i] = _normalise(terms)
        _normalise(message[t])
    return message


@njit(**CACHED)
def filter_forward(log_obs, transition_logits, log_init):
    """Predicted and filtered probabilities and one-step-ahead log densities [2]_.

    Parameters
    ----------
    log_obs : array (time, regime)
        Log density of each row of data under each regime, in nats.
    transition_logits : array (step, origin, destination)
        Row ``t`` drives the step from ``t`` to ``t + 1``; one row for a constant matrix.
    log_init : array (regime)
        Log weights of the regimes at the first time, used as given.

    Returns
    -------
    predicted : array (time, regime)
        Probability of each regime given the rows before.
    filtered : array (time, regime)
        Probability of each regime given the rows up to and including this one.
    log_density : array (time)
        log p(y_t | y_<t) in nats. The sum is the log-likelihood.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    check_shapes(log_obs, transition_logits, log_init)
    if _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init):
        nothing = np.full(log_obs.shape, np.nan)
        return nothing, nothing.copy(), np.full(log_obs.shape[0], np.nan)
    predicted, filtered, log_density = _filter(log_obs, _log_softmax(transition_logits), log_init)
    return np.exp(predicted), np.exp(filtered), log_density


# ---------------------------------------------------------------------------------------------------------------------
# Smoother and adjoint
#
# With b[t,i] = p(y_>t | regime i at t), up to a constant for each t,
#
#     smoothed[t,i]     ~ filtered[t,i] b[t,i]
#     xi[t,i,j]         ~ filtered[t,i] p[t,i,j] o[t+1,j] b[t+1,j]         probability of the step i -> j given all data
#     p(y_t | y_-t)     = sum_i w[t,i] o[t,i],  w[t,i] ~ predicted[t,i] b[t,i]
#
# chain.py has the derivation of the gradient from xi.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _smoothed(filtered, message):
    """Smoothed probabilities (time, regime) from the logs of filtered ones and of the backward message."""
    times, regimes = filtered.shape
    smoothed = np.empty((times, regimes))
    for t in range(times):
        for k in range(regimes):
            smoothed[t, k] = filtered[t, k] + message[t, k]
        _normalise(smoothed[t])
        for k in range(regimes):
            smoothed[t, k] = math.exp(smoothed[t, k])
    return smoothed


@njit(**CACHED)
def smooth(log_obs, transition_logits, log_init):
    """Probability of each regime given all rows [1]_ [3]_.

    Parameters
    ----------
    log_obs, transition_logits, log_init
        As in :func:`filter_forward`.

    Returns
    -------
    array (time, regime)
        NaN throughout if the data are impossible.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    check_shapes(log_obs, transition_logits, log_init)
    if _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init):
        return np.full(log_obs.shape, np.nan)
    log_p = _log_softmax(transition_logits)
    _, filtered, log_density = _filter(log_obs, log_p, log_init)
    if not log_density[-1] > -math.inf:
        return np.full(log_obs.shape, np.nan)
    return _smoothed(filtered, _backward(log_obs, log_p))


@njit(**CACHED)
def leave_one_out(log_obs, transition_logits, log_init):
    """Log density of each row given all other rows.

    The rows must not enter each other's ``log_obs``: with a lagged response among the regressors the result is wrong.

    Parameters
    ----------
    log_obs, transition_logits, log_init
        As in :func:`filter_forward`.

    Returns
    -------
    array (time)
        log p(y_t | y_-t) in nats. NaN where the other rows alone are impossible.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    check_shapes(log_obs, transition_logits, log_init)
    if _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init):
        return np.full(log_obs.shape[0], np.nan)
    log_p = _log_softmax(transition_logits)
    predicted, _, _ = _filter(log_obs, log_p, log_init)
    weights = predicted + _backward(log_obs, log_p)
    log_density = np.full(log_obs.shape[0], np.nan)
    for t in range(weights.shape[0]):
        if _normalise(weights[t]) > -math.inf:
            for k in range(weights.shape[1]):
                weights[t, k] += log_obs[t, k]
            log_density[t] = _normalise(weights[t])
    return log_density


@njit(**CACHED)
def exact_loglik_and_adjoint(log_obs, transition_logits, log_init):
    """Log-likelihood and gradient, free of underflow.

    :func:`regimelag.likelihood.chain.loglik_and_adjoint` gives the same faster, and calls this when it must. Parameters
    and returns are described there.
    """
    times, regimes = log_obs.shape
    d_logits = np.zeros(transition_logits.shape)
    if _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init):
        d_log_obs = np.full((times, regimes), np.nan)
        return np.nan, d_log_obs, np.full(d_logits.shape, np.nan), d_log_obs[0].copy()
    log_p = _log_softmax(transition_logits)
    _, filtered, log_density = _filter(log_obs, log_p, log_init)
    if not log_density[-1] > -math.inf:
        d_log_obs = np.zeros((times, regimes))
        return -math.inf, d_log_obs, d_logits, d_log_obs[0].copy()

    loglik = 0.0
    for t in range(times):
        loglik += log_density[t]
    message = _backward(log_obs, log_p)
    d_log_obs = _smoothed(filtered, message)
    xi = np.empty(regimes * regimes)
    for t in range(times - 1):
        step = min(t, log_p.shape[0] - 1)
        for i in range(regimes):
            for j in range(regimes):
                xi[i * regimes + j] = filtered[t, i] + log_p[step, i, j] + log_obs[t + 1, j] + message[t + 1, j]
        _normalise(xi)
        for i in range(regimes):
            for j in range(regimes):
                expected = math.exp(xi[i * regimes + j])
                d_logits[step, i, j] += expected - d_log_obs[t, i] * math.exp(log_p[step, i, j])
    return loglik, d_log_obs, d_logits, d_log_obs[0].copy()


def exact_fill(log_obs, logits, log_init, smoothed, d_logits, d_log_init):
    """:func:`exact_loglik_and_adjoint` with time as the last axis, and gradients filled into the last three arrays."""
    log_obs, logits = np.ascontiguousarray(log_obs.T), np.ascontiguousarray(logits.transpose(2, 0, 1))
    loglik, by_time, by_step, d_log_init[:] = exact_loglik_and_adjoint(log_obs, logits, log_init)
    smoothed[:] = by_time.T
    d_logits[:] = by_step.transpose(1, 2, 0)
    return loglik


# ---------------------------------------------------------------------------------------------------------------------
# Paths
#
# Sampling goes forward with the filter, then backward: the last regime from filtered[T-1], then each earlier one from
# P(s_t = i | s_t+1 = j, y) ~ filtered[t,i] p[t,i,j].
#
# The most probable path keeps, for each regime, the best log probability of any path that ends in it, and where that
# path came from [4]_.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _choose(log_weights, uniform):
    """Index drawn with probability proportional to exp(log_weights); never one with weight zero."""
    largest = log_weights.max()
    total = 0.0
    for value in log_weights:
        total += math.exp(value - largest)
    left = uniform * total
    chosen = -1
    for k in range(log_weights.size):
        weight = math.exp(log_weights[k] - largest)
        if weight > 0.0:
            chosen = k
            left -= weight
            if left < 0.0:
                break
    return chosen


@njit(**CACHED)
def sample_paths(log_obs, transition_logits, log_init, uniforms):
    """Draw a path of regimes from its distribution given all rows.

    Parameters
    ----------
    log_obs, transition_logits, log_init
        As in :func:`filter_forward`.
    uniforms : array (time)
        Numbers in [0, 1). The same numbers give the same path.

    Returns
    -------
    int array (time)
        Regime at each time; -1 throughout if the data are impossible or an input is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    check_shapes(log_obs, transition_logits, log_init)
    times = log_obs.shape[0]
    if uniforms.size != times:
        raise ValueError("sample_paths needs uniforms (time) with as many times as log_obs (time, regime)")
    path = np.full(times, -1)
    if _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init):
        return path
    log_p = _log_softmax(transition_logits)
    _, filtered, log_density = _filter(log_obs, log_p, log_init)
    if not log_density[-1] > -math.inf:
        return path
    path[-1] = _choose(filtered[-1], uniforms[-1])
    for t in range(times - 2, -1, -1):
        step = min(t, log_p.shape[0] - 1)
        path[t] = _choose(filtered[t] + log_p[step, :, path[t + 1]], uniforms[t])
    return path


@njit(**CACHED)
def viterbi(log_obs, transition_logits, log_init):
    """Find the most probable path of regimes given all rows [4]_.

    Parameters
    ----------
    log_obs, transition_logits, log_init
        As in :func:`filter_forward`.

    Returns
    -------
    path : int array (time)
        Regime at each time; of equal paths the one with the lowest regimes, last time first. -1 throughout if the data
        are impossible or an input is NaN.
    log_joint : float
        Log density of the rows and this path together, in nats.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    check_shapes(log_obs, transition_logits, log_init)
    times, regimes = log_obs.shape
    path = np.full(times, -1)
    if _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init):
        return path, np.nan
    log_p = _log_softmax(transition_logits)
    came_from = np.zeros((times, regimes), dtype=np.int64)
    best = log_init + log_obs[0]
    for t in range(1, times):
        step = min(t - 1, log_p.shape[0] - 1)
        reached = np.empty(regimes)
        for j in range(regimes):
            arrivals = best + log_p[step, :, j]
            came_from[t, j] = arrivals.argmax()
            reached[j] = arrivals[came_from[t, j]] + log_obs[t, j]
        best = reached
    log_joint = best.max()
    if log_joint > -math.inf:
        path[-1] = best.argmax()
        for t in range(times - 2, -1, -1):
            path[t] = came_from[t + 1, path[t + 1]]
    return path, log_joint


# ---------------------------------------------------------------------------------------------------------------------
# The same for posterior draws: every input and result has a leading axis `draw`.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _check_draws(log_obs, transition_logits, log_init):
    if transition_logits.shape[0] != log_obs.shape[0] or log_init.shape[0] != log_obs.shape[0]:
        raise ValueError("log_obs, transition_logits and log_init need the same number of draws on their first axis")


@njit(**CACHED)
def _filter_scaled(log_obs, transition_logits, log_init, predicted, filtered, log_density):
    """:func:`filter_forward` in scaled probabilities: a tenth of the time, but no good below what a double can hold.

    Returns False as soon as a probability, or what a row leaves of all of them, is so small that products of it might
    underflow, or is NaN. What has been filled is then not to be used.
    """
    times, regimes = log_obs.shape
    weights = np.empty(regimes)
    for t in range(times):
        row = min(t - 1, transition_logits.shape[0] - 1)
        for j in range(regimes):
            predicted[t, j] = math.exp(log_init[j]) if t == 0 else 0.0
        if t > 0:
            for i in range(regimes):
                largest = transition_logits[row, i, 0]
                for j in range(1, regimes):
                    largest = max(largest, transition_logits[row, i, j])
                total = 0.0
                for j in range(regimes):
                    weights[j] = math.exp(transition_logits[row, i, j] - largest)
                    total += weights[j]
                for j in range(regimes):
                    predicted[t, j] += filtered[t - 1, i] * (weights[j] / total)
        largest = log_obs[t, 0]
        for j in range(1, regimes):
            largest = max(largest, log_obs[t, j])
        before = after = 0.0
        for j in range(regimes):
            filtered[t, j] = predicted[t, j] * math.exp(log_obs[t, j] - largest)
            before += predicted[t, j]
            after += filtered[t, j]
        for j in range(regimes):
            predicted[t, j] /= before
            filtered[t, j] /= after
            if not (filtered[t, j] > SMALLEST and after > SMALLEST):
                return False
        log_density[t] = largest + math.log(after)
    return True


@njit(**CACHED)
def _filter_scaled_draws(log_obs, transition_logits, log_init, predicted, filtered, log_density):
    """Apply :func:`_filter_scaled` to each draw; return which of them may be used (draw)."""
    certain = np.empty(log_obs.shape[0], dtype=np.bool_)
    for d in range(log_obs.shape[0]):
        given = log_obs[d], transition_logits[d], log_init[d]
        certain[d] = _filter_scaled(*given, predicted[d], filtered[d], log_density[d])
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


@njit(**CACHED)
def smooth_draws(log_obs, transition_logits, log_init):
    """Apply :func:`smooth` to each draw: (draw, time, regime)."""
    _check_draws(log_obs, transition_logits, log_init)
    smoothed = np.empty(log_obs.shape)
    for d in range(log_obs.shape[0]):
        smoothed[d] = smooth(log_obs[d], transition_logits[d], log_init[d])
    return smoothed


@njit(**CACHED)
def leave_one_out_draws(log_obs, transition_logits, log_init):
    """Apply :func:`leave_one_out` to each draw: (draw, time)."""
    _check_draws(log_obs, transition_logits, log_init)
    log_density = np.empty(log_obs.shape[:2])
    for d in range(log_obs.shape[0]):
        log_density[d] = leave_one_out(log_obs[d], transition_logits[d], log_init[d])
    return log_density


@njit(**CACHED)
def sample_paths_draws(log_obs, transition_logits, log_init, uniforms):
    """Apply :func:`sample_paths` to each draw, with uniforms (draw, time): (draw, time)."""
    _check_draws(log_obs, transition_logits, log_init)
    if uniforms.shape[0] != log_obs.shape[0]:
        raise ValueError("sample_paths_draws needs uniforms (draw, time) with as many draws as log_obs")
    paths = np.empty(log_obs.shape[:2], dtype=np.int64)
    for d in range(log_obs.shape[0]):
        paths[d] = sample_paths(log_obs[d], transition_logits[d], log_init[d], uniforms[d])
    return paths


@njit(**CACHED)
def viterbi_draws(log_obs, transition_logits, log_init):
    """Apply :func:`viterbi` to each draw: paths (draw, time) and log_joint (draw)."""
    _check_draws(log_obs, transition_logits, log_init)
    paths = np.empty(log_obs.shape[:2], dtype=np.int64)
    log_joint = np.empty(log_obs.shape[0])
    for d in range(log_obs.shape[0]):
        paths[d], log_joint[d] = viterbi(log_obs[d], transition_logits[d], log_init[d])
    return paths, log_joint
