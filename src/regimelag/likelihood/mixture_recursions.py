"""Exact recursions for a chain of regimes seen through one of several lags, and their readings of posterior draws.

Time falls into blocks. In each block one *combination* of lags holds, drawn anew at the block's first time with
probability exp(``log_prior``). The chain of regimes runs through all blocks and does not know of the combinations; the
rows do. So the pair (combination, regime) is a hidden chain whose combination stays until a block ends.

The recursions take ``log_obs`` (combination, regime, time), ``transition_logits`` (step, origin, destination),
``log_init`` (regime), ``log_prior`` (combination) and ``block`` (time), integers that start at 0 and rise by 0 or 1. Row
``t`` of ``transition_logits`` drives the step from time ``t`` to ``t + 1``; one row holds throughout. ``log_init`` and
``log_prior`` are used as given. ``-inf`` is legal everywhere, and what happens then, or with NaN and ``+inf``, is as in
:mod:`regimelag.likelihood.recursions`.

All is done with logarithms, each time normalised over all pairs: combinations may lie thousands of nats apart. The
verbs that end in ``_draws`` have a leading axis ``draw`` in log_obs, transition_logits and log_init.

References
----------
.. [1] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196
.. [2] Hamilton, J. D. (1989). doi:10.2307/1912559
"""

import math

import numpy as np
from numba import njit

# This module imports numpy and numba alone. numba's file cache watches this file and not what it imports, so a cached
# function calls nothing from another file.
CACHED = {"cache": True, "error_model": "numpy"}


@njit(**CACHED)
def check_mixture(obs_shape, logits_shape, inits, priors, block):
    """Raise ValueError unless the inputs fit together, so that no recursion reads past an end.

    ``obs_shape`` is that of log_obs (combination, regime, time), ``logits_shape`` (step, origin, destination), ``inits``
    and ``priors`` are the lengths of log_init and log_prior.
    """
    combinations, regimes, times = obs_shape
    steps, origins, destinations = logits_shape
    if combinations < 1 or times < 1 or regimes < 1:
        raise ValueError("the lag mixture needs log_obs (combination, regime, time) with at least one of each")
    if inits != regimes or origins != regimes or destinations != regimes:
        raise ValueError("the lag mixture needs one number of regimes in log_obs, transition_logits and log_init")
    if priors != combinations:
        raise ValueError("the lag mixture needs log_prior (combination) with as many combinations as log_obs")
    if steps not in (1, times - 1):
        raise ValueError("the lag mixture needs time - 1 steps of transition_logits, or one that holds throughout")
    if block.size != times or block[0] != 0:
        raise ValueError("the lag mixture needs block (time), numbered from 0, with as many times as log_obs")
    for t in range(1, times):
        if not 0 <= block[t] - block[t - 1] <= 1:
            raise ValueError("the lag mixture needs blocks that follow each other: block rises by 0 or 1 at each time")


@njit(**CACHED)
def _is_broken(values):
    """Whether an array holds NaN or ``+inf``."""
    for value in values.flat:  # noqa: SIM110
        if not value < math.inf:
            return True
    return False


@njit(**CACHED)
def _any_broken(log_obs, transition_logits, log_init, log_prior):
    return _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init) or _is_broken(log_prior)


@njit(**CACHED)
def _log_total(values):
    """Log of the sum of exponentials."""
    largest = -math.inf
    for value in values.flat:
        if not value <= largest:
            largest = value
    if not largest > -math.inf:
        return largest
    total = 0.0
    for value in values.flat:
        total += math.exp(value - largest)
    return largest + math.log(total)


@njit(**CACHED)
def _normalise(values):
    """Subtract the log of the sum of exponentials from an array, in place, and return it."""
    log_total = _log_total(values)
    if log_total > -math.inf:
        values -= log_total
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
# Filter and backward message
#
# Write F[t,c,k] = P(c, k | y_<=t), o[t,c,k] for the density, p[t,i,j] for the step, and b[t,c,k] = p(y_>t | c, k at t)
# up to a constant for each t. While a block lasts,
#
#     P[t,c,j] = sum_i F[t-1,c,i] p[t-1,i,j]                            predicted
#     b[t,c,i] = sum_j p[t,i,j] o[t+1,c,j] b[t+1,c,j]
#
# and where t or t + 1 is the first time of a block, the combination is forgotten and drawn anew:
#
#     P[t,c,j] = prior[c] sum_i (sum_c' F[t-1,c',i]) p[t-1,i,j]
#     b[t,c,i] = sum_j p[t,i,j] (sum_c' prior[c'] o[t+1,c',j] b[t+1,c',j])     the same for all c
#
# F[t,c,k] is P[t,c,k] o[t,c,k] over its sum, which is p(y_t | y_<t): regimes and combinations are both summed out. If
# init or prior does not sum to one, or an origin is a dead end, the log density of the row after carries the total.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _step_forward(before, log_p, after):
    """Fill ``after`` (combination, regime) from the same a step before."""
    terms = np.empty(log_p.shape[0])
    for c in range(before.shape[0]):
        for j in range(terms.size):
            for i in range(terms.size):
                terms[i] = before[c, i] + log_p[i, j]
            after[c, j] = _log_total(terms)


@njit(**CACHED)
def _step_back(after, log_p, before):
    """Fill ``before`` (combination, regime) from density times message a step after."""
    terms = np.empty(log_p.shape[0])
    for c in range(after.shape[0]):
        for i in range(terms.size):
            for j in range(terms.size):
                terms[j] = log_p[i, j] + after[c, j]
            before[c, i] = _log_total(terms)


@njit(**CACHED)
def _forget(pairs):
    """Log of the sum over combinations, (1, regime)."""
    mixed = np.empty((1, pairs.shape[1]))
    for k in range(pairs.shape[1]):
        mixed[0, k] = _log_total(pairs[:, k])
    return mixed


@njit(**CACHED)
def _filter(log_obs, log_p, log_init, log_prior, block):
    """Log predicted, log filtered (time, combination, regime) and log_density (time); log_obs in that order too."""
    predicted, filtered = np.full(log_obs.shape, np.nan), np.full(log_obs.shape, np.nan)
    log_density = np.full(block.size, -math.inf)
    arrived = log_init.copy().reshape((1, log_init.size))
    for t in range(block.size):
        step = min(t - 1, log_p.shape[0] - 1)
        if t > 0 and block[t] == block[t - 1]:
            _step_forward(filtered[t - 1], log_p[step], predicted[t])
        else:
            if t > 0:
                _step_forward(_forget(filtered[t - 1]), log_p[step], arrived)
            for c in range(log_prior.size):
                predicted[t, c] = log_prior[c] + arrived[0]
        filtered[t] = predicted[t] + log_obs[t]
        log_density[t] = _normalise(filtered[t])
        _normalise(predicted[t])
        if not log_density[t] > -math.inf:
            filtered[t] = np.nan
            break
    return predicted, filtered, log_density


@njit(**CACHED)
def _arrive(log_obs, message, log_prior, t):
    """Log of density times message at the first time of a block, combinations summed out (1, regime)."""
    pairs = log_obs[t] + message[t]
    for c in range(log_prior.size):
        pairs[c] += log_prior[c]
    return _forget(pairs)


@njit(**CACHED)
def _backward(log_obs, log_p, log_prior, block):
    """Log of the backward message (time, combination, regime), each time up to a constant."""
    message = np.zeros(log_obs.shape)
    mixed = np.empty((1, log_obs.shape[2]))
    for t in range(block.size - 2, -1, -1):
        step = min(t, log_p.shape[0] - 1)
        if block[t] == block[t + 1]:
            _step_back(log_obs[t + 1] + message[t + 1], log_p[step], message[t])
        else:
            _step_back(_arrive(log_obs, message, log_prior, t + 1), log_p[step], mixed)
            message[t] = mixed
        _normalise(message[t])
    return message


@njit(**CACHED)
def _smoothed(filtered, message):
    """Probability of each pair given all rows (time, combination, regime)."""
    smoothed = filtered + message
    for t in range(smoothed.shape[0]):
        _normalise(smoothed[t])
    return np.exp(smoothed)


@njit(**CACHED)
def _by_time(log_obs):
    """(combination, regime, time) to (time, combination, regime)."""
    return np.ascontiguousarray(log_obs.transpose(2, 0, 1))


# ---------------------------------------------------------------------------------------------------------------------
# Adjoint
#
# The gradient of a log-likelihood that sums over hidden paths is the expected gradient of the joint log density of a
# path (chain.py has it written out). So it is the smoothed probability of each pair for log_obs, expected minus
# predicted steps for the logits, and for log_prior the expected number of blocks in which a combination was drawn.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _add_expected_steps(before, log_p, after, expected):
    """Add to ``expected`` (origin, destination) the probability of each step between two times."""
    combinations, regimes = before.shape
    terms = np.empty((combinations, regimes, regimes))
    for c in range(combinations):
        for i in range(regimes):
            terms[c, i] = before[c, i] + log_p[i] + after[c]
    _normalise(terms)
    for c in range(combinations):
        expected += np.exp(terms[c])


@njit(**CACHED)
def exact_lag_loglik_and_adjoint(log_obs, transition_logits, log_init, log_prior, block):
    """Log-likelihood and gradient, free of underflow.

    :func:`regimelag.likelihood.mixture.lag_loglik_and_adjoint` gives the same faster, and calls this when it must.

    Parameters
    ----------
    log_obs : array (combination, regime, time)
        Log density of each row under each regime and combination, in nats.
    transition_logits : array (step, origin, destination)
        Row ``t`` drives the step from ``t`` to ``t + 1``; one row for a constant matrix.
    log_init : array (regime)
        Log weights of the regimes at the first time, used as given.
    log_prior : array (combination)
        Log probability with which a block draws each combination, used as given.
    block : int array (time)
        Block of each time: 0 at first, rising by 0 or 1.

    Returns
    -------
    loglik : float
        In nats.
    d_log_obs : array (combination, regime, time)
        Probability of each regime and of the combination of its block, given all rows.
    d_logits : array (step, origin, destination)
        Expected transitions minus occupancy times probability, summed over steps for a constant matrix.
    d_log_init : array (regime)
        Smoothed probabilities at the first time.
    d_log_prior : array (combination)
        Expected number of blocks with each combination.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.
    """
    check_mixture(log_obs.shape, transition_logits.shape, log_init.size, log_prior.size, block)
    d_logits, d_log_prior = np.zeros(transition_logits.shape), np.zeros(log_prior.size)
    if _any_broken(log_obs, transition_logits, log_init, log_prior):
        d_log_obs = np.full(log_obs.shape, np.nan)
        return np.nan, d_log_obs, d_logits + np.nan, d_log_obs[0, :, 0].copy(), d_log_prior + np.nan
    by_time, log_p = _by_time(log_obs), _log_softmax(transition_logits)
    _, filtered, log_density = _filter(by_time, log_p, log_init, log_prior, block)
    if not log_density[-1] > -math.inf:
        return -math.inf, np.zeros(log_obs.shape), d_logits, np.zeros(log_init.size), d_log_prior
    message = _backward(by_time, log_p, log_prior, block)
    smoothed = _smoothed(filtered, message)
    for t in range(block.size):
        step = min(t, log_p.shape[0] - 1)
        if t == 0 or block[t] != block[t - 1]:
            d_log_prior += smoothed[t].sum(axis=1)
        if t + 1 == block.size:
            break
        if block[t] == block[t + 1]:
            _add_expected_steps(filtered[t], log_p[step], by_time[t + 1] + message[t + 1], d_logits[step])
        else:
            after = _arrive(by_time, message, log_prior, t + 1)
            _add_expected_steps(_forget(filtered[t]), log_p[step], after, d_logits[step])
        occupied = smoothed[t].sum(axis=0)
        for i in range(occupied.size):
            d_logits[step, i] -= occupied[i] * np.exp(log_p[step, i])
    d_log_obs = np.ascontiguousarray(smoothed.transpose(1, 2, 0))
    return log_density.sum(), d_log_obs, d_logits, smoothed[0].sum(axis=0), d_log_prior


def exact_fill(log_obs, logits, log_init, log_prior, block, d_log_obs, d_logits, d_log_init, d_log_prior):
    """:func:`exact_lag_loglik_and_adjoint` with step the last axis of logits, and gradients filled into arrays."""
    logits = np.ascontiguousarray(logits.transpose(2, 0, 1))
    loglik, d_log_obs[:], by_step, d_log_init[:], d_log_prior[:] = exact_lag_loglik_and_adjoint(
        log_obs, logits, log_init, log_prior, block
    )
    d_logits[:] = by_step.transpose(1, 2, 0)
    return loglik


# ---------------------------------------------------------------------------------------------------------------------
# Readings of posterior draws
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _check_draws(log_obs, transition_logits, log_init, log_prior, block):
    draws = log_obs.shape[0]
    if draws < 1 or transition_logits.shape[0] != draws or log_init.shape[0] != draws:
        raise ValueError("log_obs, transition_logits and log_init need the same number of draws on their first axis")
    check_mixture(log_obs.shape[1:], transition_logits.shape[1:], log_init.shape[1], log_prior.size, block)


@njit(**CACHED)
def _exact_posterior(log_obs, transition_logits, log_init, log_prior, block):
    """Probability of each combination in each block given all rows (block, combination)."""
    probability = np.full((block[-1] + 1, log_prior.size), np.nan)
    if _any_broken(log_obs, transition_logits, log_init, log_prior):
        return probability
    by_time, log_p = _by_time(log_obs), _log_softmax(transition_logits)
    _, filtered, log_density = _filter(by_time, log_p, log_init, log_prior, block)
    if log_density[-1] > -math.inf:
        smoothed = _smoothed(filtered, _backward(by_time, log_p, log_prior, block))
        for t in range(block.size):
            probability[block[t]] = smoothed[t].sum(axis=1)
    return probability


@njit(**CACHED)
def lag_posterior_draws(log_obs, transition_logits, log_init, log_prior, block):
    """Probability of each combination in each block, given all rows and each draw.

    Parameters
    ----------
    log_obs : array (draw, combination, regime, time)
    transition_logits : array (draw, step, origin, destination)
    log_init : array (draw, regime)
    log_prior : array (combination)
    block : int array (time)
        As in :func:`exact_lag_loglik_and_adjoint`, with a leading axis.

    Returns
    -------
    array (draw, block, combination)
        NaN for draws under which the data are impossible.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.
    """
    _check_draws(log_obs, transition_logits, log_init, log_prior, block)
    probability = np.empty((log_obs.shape[0], block[-1] + 1, log_prior.size))
    for d in range(log_obs.shape[0]):
        probability[d] = _exact_posterior(log_obs[d], transition_logits[d], log_init[d], log_prior, block)
    return probability


@njit(**CACHED)
def lag_filter_draws(log_obs, transition_logits, log_init, log_prior, block):
    """One-step-ahead log densities with regimes and combinations summed out [2]_.

    Parameters
    ----------
    log_obs, transition_logits, log_init, log_prior, block
        As in :func:`lag_posterior_draws`.

    Returns
    -------
    array (draw, time)
        log p(y_t | y_<t) in nats. The sum over time is the log-likelihood.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.
    """
    _check_draws(log_obs, transition_logits, log_init, log_prior, block)
    log_density = np.full((log_obs.shape[0], block.size), np.nan)
    for d in range(log_obs.shape[0]):
        if not _any_broken(log_obs[d], transition_logits[d], log_init[d], log_prior):
            log_p = _log_softmax(transition_logits[d])
            log_density[d] = _filter(_by_time(log_obs[d]), log_p, log_init[d], log_prior, block)[2]
    return log_density


@njit(**CACHED)
def _exact_leave_one_out(log_obs, transition_logits, log_init, log_prior, block):
    """Log density of each row given all others (time)."""
    log_density = np.full(block.size, np.nan)
    if _any_broken(log_obs, transition_logits, log_init, log_prior):
        return log_density
    by_time, log_p = _by_time(log_obs), _log_softmax(transition_logits)
    predicted, _, _ = _filter(by_time, log_p, log_init, log_prior, block)
    weights = predicted + _backward(by_time, log_p, log_prior, block)
    for t in range(block.size):
        if _normalise(weights[t]) > -math.inf:
            log_density[t] = _log_total(weights[t] + by_time[t])
    return log_density


@njit(**CACHED)
def lag_leave_one_out_draws(log_obs, transition_logits, log_init, log_prior, block):
    """Log density of each row given all other rows, with regimes and combinations summed out.

    The rows must not enter each other's ``log_obs``: with a lagged response among the regressors the result is wrong.

    Parameters
    ----------
    log_obs, transition_logits, log_init, log_prior, block
        As in :func:`lag_posterior_draws`.

    Returns
    -------
    array (draw, time)
        log p(y_t | y_-t) in nats. NaN where the other rows alone are impossible.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.
    """
    _check_draws(log_obs, transition_logits, log_init, log_prior, block)
    log_density = np.empty((log_obs.shape[0], block.size))
    for d in range(log_obs.shape[0]):
        log_density[d] = _exact_leave_one_out(log_obs[d], transition_logits[d], log_init[d], log_prior, block)
    return log_density


# ---------------------------------------------------------------------------------------------------------------------
# Draws of the combinations
#
# Forward with the filter, then backward: the last pair from F[T-1]; while a block lasts, the combination is known and
# the regime comes from F[t,c,i] p[t,i,j]; where a block ends, the pair (c, i) comes from the same, over all c.
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
def _sample_lags(filtered, log_p, block, uniforms):
    """Combination of each block (block), drawn from its distribution given all rows."""
    regimes = filtered.shape[2]
    chosen = np.empty(block[-1] + 1, dtype=np.int64)
    pair = _choose(filtered[-1].copy().reshape(-1), uniforms[-1])
    combination, regime = pair // regimes, pair % regimes
    chosen[-1] = combination
    for t in range(block.size - 2, -1, -1):
        arriving = log_p[min(t, log_p.shape[0] - 1), :, regime]
        if block[t] == block[t + 1]:
            regime = _choose(filtered[t, combination] + arriving, uniforms[t])
        else:
            pair = _choose((filtered[t] + arriving).reshape(-1), uniforms[t])
            combination, regime = pair // regimes, pair % regimes
            chosen[block[t]] = combination
    return chosen


@njit(**CACHED)
def sample_lags_draws(log_obs, transition_logits, log_init, log_prior, block, uniforms):
    """Draw the combinations of all blocks jointly, given all rows and each draw.

    Parameters
    ----------
    log_obs, transition_logits, log_init, log_prior, block
        As in :func:`lag_posterior_draws`.
    uniforms : array (draw, time)
        Numbers in [0, 1). The same numbers give the same combinations.

    Returns
    -------
    int array (draw, block)
        Combination of each block; -1 for draws under which the data are impossible or an input is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.
    """
    _check_draws(log_obs, transition_logits, log_init, log_prior, block)
    if uniforms.shape != (log_obs.shape[0], block.size):
        raise ValueError("sample_lags_draws needs uniforms (draw, time) with as many draws and times as log_obs")
    chosen = np.full((log_obs.shape[0], block[-1] + 1), -1)
    for d in range(log_obs.shape[0]):
        if _any_broken(log_obs[d], transition_logits[d], log_init[d], log_prior):
            continue
        log_p = _log_softmax(transition_logits[d])
        _, filtered, log_density = _filter(_by_time(log_obs[d]), log_p, log_init[d], log_prior, block)
        if log_density[-1] > -math.inf:
            chosen[d] = _sample_lags(filtered, log_p, block, uniforms[d])
    return chosen
