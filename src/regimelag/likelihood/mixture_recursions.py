"""Exact recursions for a chain of regimes seen through one of several lags.

Time falls into blocks. In each block one *combination* of lags holds, drawn anew at the block's first time with
probability exp(``log_prior``). The chain of regimes runs through all blocks and does not know of the combinations; the
rows do. So the pair (combination, regime) is a hidden chain whose combination stays until a block ends.

The recursions take ``log_obs`` (combination, regime, time), ``transition_logits`` (step, origin, destination),
``log_init`` (regime), ``log_prior`` (combination) and ``block`` (time), integers that start at 0 and rise by 0 or 1.
Row ``t`` of ``transition_logits`` drives the step from time ``t`` to ``t + 1``; one row holds throughout. ``log_init``
and ``log_prior`` are used as given. ``-inf`` is legal everywhere, and what happens then, or with NaN and ``+inf``, is
as in :mod:`regimelag.likelihood.recursions`.

All is done with logarithms, each time normalised over all pairs: combinations may lie thousands of nats apart.

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

    ``obs_shape`` is that of log_obs (combination, regime, time), ``logits_shape`` (step, origin, destination);
    ``inits`` and ``priors`` are the lengths of log_init and log_prior.
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
def _log_total(pairs):
    """Log of the sum of exponentials of a matrix."""
    largest = -math.inf
    for c in range(pairs.shape[0]):
        for k in range(pairs.shape[1]):
            if not pairs[c, k] <= largest:
                largest = pairs[c, k]
    if not largest > -math.inf:
        return largest
    total = 0.0
    for c in range(pairs.shape[0]):
        for k in range(pairs.shape[1]):
            total += math.exp(pairs[c, k] - largest)
    return largest + math.log(total)


@njit(**CACHED)
def _normalise(pairs):
    """Subtract the log of the sum of exponentials from a matrix, in place, and return it."""
    log_total = _log_total(pairs)
    if log_total > -math.inf:
        for c in range(pairs.shape[0]):
            for k in range(pairs.shape[1]):
                pairs[c, k] -= log_total
    return log_total


@njit(**CACHED)
def _log_softmax(transition_logits):
    """Log transition probabilities (step, origin, destination); a dead end stays ``-inf``."""
    log_p = transition_logits.copy()
    for step in range(log_p.shape[0]):
        for origin in range(log_p.shape[1]):
            _normalise(log_p[step, origin : origin + 1])
    return log_p


@njit(**CACHED)
def _turned(log_p):
    """(step, origin, destination) to (step, destination, origin)."""
    turned = np.empty(log_p.shape)
    for step in range(log_p.shape[0]):
        for i in range(log_p.shape[1]):
            for j in range(log_p.shape[1]):
                turned[step, j, i] = log_p[step, i, j]
    return turned


@njit(**CACHED)
def _by_time(log_obs):
    """(combination, regime, time) to (time, combination, regime)."""
    combinations, regimes, times = log_obs.shape
    by_time = np.empty((times, combinations, regimes))
    for t in range(times):
        for c in range(combinations):
            for k in range(regimes):
                by_time[t, c, k] = log_obs[c, k, t]
    return by_time


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
def _step(pairs, log_p, stepped):
    """Fill ``stepped`` (combination, j) with the log of the sum over i of pairs (combination, i) times p (i, j)."""
    for c in range(pairs.shape[0]):
        for j in range(pairs.shape[1]):
            largest = pairs[c, 0] + log_p[0, j]
            for i in range(1, pairs.shape[1]):
                largest = max(largest, pairs[c, i] + log_p[i, j])
            total = 0.0
            if largest > -math.inf:
                for i in range(pairs.shape[1]):
                    total += math.exp(pairs[c, i] + log_p[i, j] - largest)
            stepped[c, j] = largest + math.log(total)


@njit(**CACHED)
def _forget(pairs, log_prior, mixed):
    """Fill ``mixed`` (1, regime) with the log of the sum over combinations of pairs, weighted with a prior."""
    weighted = np.empty((log_prior.size, 1))
    for k in range(pairs.shape[1]):
        for c in range(log_prior.size):
            weighted[c, 0] = log_prior[c] + pairs[c, k]
        mixed[0, k] = _log_total(weighted)


@njit(**CACHED)
def _multiply(left, right, product):
    """Fill ``product`` (combination, regime) with the sum of two logs."""
    for c in range(left.shape[0]):
        for k in range(left.shape[1]):
            product[c, k] = left[c, k] + right[c, k]


@njit(**CACHED)
def _filter(log_obs, log_p, log_init, log_prior, block):
    """Log predicted, log filtered (time, combination, regime) and log_density (time); log_obs in that order too.

    The predicted probabilities are not normalised.
    """
    predicted, filtered = np.full(log_obs.shape, np.nan), np.full(log_obs.shape, np.nan)
    log_density = np.full(block.size, -math.inf)
    certain = np.zeros(log_prior.size)
    mixed, arrived = np.empty((1, log_init.size)), np.empty((1, log_init.size))
    arrived[0] = log_init
    for t in range(block.size):
        step = min(t - 1, log_p.shape[0] - 1)
        if t > 0 and block[t] == block[t - 1]:
            _step(filtered[t - 1], log_p[step], predicted[t])
        else:
            if t > 0:
                _forget(filtered[t - 1], certain, mixed)
                _step(mixed, log_p[step], arrived)
            for c in range(log_prior.size):
                for k in range(log_init.size):
                    predicted[t, c, k] = log_prior[c] + arrived[0, k]
        _multiply(predicted[t], log_obs[t], filtered[t])
        log_density[t] = _normalise(filtered[t])
        if not log_density[t] > -math.inf:
            filtered[t].fill(np.nan)
            break
    return predicted, filtered, log_density


@njit(**CACHED)
def _backward(log_obs, log_p, log_prior, block):
    """Log of the backward message (time, combination, regime), each time up to a constant."""
    message = np.zeros(log_obs.shape)
    turned = _turned(log_p)
    arriving = np.empty(log_obs.shape[1:])
    mixed = np.empty((1, log_obs.shape[2]))
    for t in range(block.size - 2, -1, -1):
        step = min(t, log_p.shape[0] - 1)
        _multiply(log_obs[t + 1], message[t + 1], arriving)
        if block[t] == block[t + 1]:
            _step(arriving, turned[step], message[t])
        else:
            _forget(arriving, log_prior, mixed)
            _step(mixed, turned[step], message[t, :1])
            for c in range(1, log_prior.size):
                message[t, c] = message[t, 0]
        _normalise(message[t])
    return message


@njit(**CACHED)
def _smoothed(filtered, message):
    """Probability of each pair given all rows (time, combination, regime)."""
    smoothed = np.empty(filtered.shape)
    for t in range(smoothed.shape[0]):
        _multiply(filtered[t], message[t], smoothed[t])
        _normalise(smoothed[t])
        for c in range(smoothed.shape[1]):
            for k in range(smoothed.shape[2]):
                smoothed[t, c, k] = math.exp(smoothed[t, c, k])
    return smoothed


@njit(**CACHED)
def exact_lag_log_density(log_obs, transition_logits, log_init, log_prior, block):
    """One-step-ahead log densities with regimes and combinations summed out [2]_: log p(y_t | y_<t) (time)."""
    if _any_broken(log_obs, transition_logits, log_init, log_prior):
        return np.full(block.size, np.nan)
    return _filter(_by_time(log_obs), _log_softmax(transition_logits), log_init, log_prior, block)[2]


@njit(**CACHED)
def exact_lag_leave_one_out(log_obs, transition_logits, log_init, log_prior, block):
    """Log density of each row given all others (time); NaN where the other rows alone are impossible."""
    log_density = np.full(block.size, np.nan)
    if _any_broken(log_obs, transition_logits, log_init, log_prior):
        return log_density
    by_time, log_p = _by_time(log_obs), _log_softmax(transition_logits)
    weights, _, _ = _filter(by_time, log_p, log_init, log_prior, block)
    message = _backward(by_time, log_p, log_prior, block)
    for t in range(block.size):
        _multiply(weights[t], message[t], weights[t])
        if _normalise(weights[t]) > -math.inf:
            _multiply(weights[t], by_time[t], weights[t])
            log_density[t] = _log_total(weights[t])
    return log_density


# ---------------------------------------------------------------------------------------------------------------------
# Adjoint
#
# The gradient of a log-likelihood that sums over hidden paths is the expected gradient of the joint log density of a
# path [1]_. So it is the smoothed probability of each pair for log_obs, expected minus predicted steps for the logits,
# and for log_prior the expected number of blocks that drew each combination.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _add_steps(before, log_p, arriving, d_logits):
    """Add to ``d_logits`` (origin, destination) expected minus predicted steps between two times."""
    combinations, regimes = before.shape
    terms = np.empty((combinations, regimes * regimes))
    for c in range(combinations):
        for i in range(regimes):
            for j in range(regimes):
                terms[c, i * regimes + j] = before[c, i] + log_p[i, j] + arriving[c, j]
    _normalise(terms)
    for i in range(regimes):
        occupied = 0.0
        for j in range(regimes):
            for c in range(combinations):
                expected = math.exp(terms[c, i * regimes + j])
                d_logits[i, j] += expected
                occupied += expected
        for j in range(regimes):
            d_logits[i, j] -= occupied * math.exp(log_p[i, j])


@njit(**CACHED)
def _d_logits(log_obs, log_p, filtered, message, log_prior, block):
    """Gradient of the logits (step, origin, destination)."""
    d_logits = np.zeros(log_p.shape)
    certain = np.zeros(log_prior.size)
    arriving = np.empty(log_obs.shape[1:])
    left, arrived = np.empty((1, log_obs.shape[2])), np.empty((1, log_obs.shape[2]))
    for t in range(block.size - 1):
        step = min(t, log_p.shape[0] - 1)
        _multiply(log_obs[t + 1], message[t + 1], arriving)
        if block[t] == block[t + 1]:
            _add_steps(filtered[t], log_p[step], arriving, d_logits[step])
        else:
            _forget(filtered[t], certain, left)
            _forget(arriving, log_prior, arrived)
            _add_steps(left, log_p[step], arrived, d_logits[step])
    return d_logits


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
    d_log_obs, d_logits = np.zeros(log_obs.shape), np.zeros(transition_logits.shape)
    d_log_init, d_log_prior = np.zeros(log_init.size), np.zeros(log_prior.size)
    if _any_broken(log_obs, transition_logits, log_init, log_prior):
        d_log_obs.fill(np.nan)
        d_logits.fill(np.nan)
        d_log_init.fill(np.nan)
        d_log_prior.fill(np.nan)
        return np.nan, d_log_obs, d_logits, d_log_init, d_log_prior
    by_time, log_p = _by_time(log_obs), _log_softmax(transition_logits)
    _, filtered, log_density = _filter(by_time, log_p, log_init, log_prior, block)
    loglik = 0.0
    for t in range(block.size):
        loglik += log_density[t]
    if not loglik > -math.inf:
        return loglik, d_log_obs, d_logits, d_log_init, d_log_prior
    message = _backward(by_time, log_p, log_prior, block)
    d_logits = _d_logits(by_time, log_p, filtered, message, log_prior, block)
    smoothed = _smoothed(filtered, message)
    for t in range(block.size):
        for c in range(log_prior.size):
            for k in range(log_init.size):
                d_log_obs[c, k, t] = smoothed[t, c, k]
                if t == 0:
                    d_log_init[k] += smoothed[t, c, k]
                if t == 0 or block[t] != block[t - 1]:
                    d_log_prior[c] += smoothed[t, c, k]
    return loglik, d_log_obs, d_logits, d_log_init, d_log_prior


def exact_fill(log_obs, logits, log_init, log_prior, block, d_log_obs, d_logits, d_log_init, d_log_prior):
    """:func:`exact_lag_loglik_and_adjoint` with step the last axis of logits, and gradients filled into arrays."""
    logits = np.ascontiguousarray(logits.transpose(2, 0, 1))
    loglik, d_log_obs[:], by_step, d_log_init[:], d_log_prior[:] = exact_lag_loglik_and_adjoint(
        log_obs, logits, log_init, log_prior, block
    )
    d_logits[:] = by_step.transpose(1, 2, 0)
    return loglik


# ---------------------------------------------------------------------------------------------------------------------
# Draws of the combinations
#
# Forward with the filter, then backward: the last pair from F[T-1]; while a block lasts, the combination is known and
# the regime comes from F[t,c,i] p[t,i,j]; where a block ends, the pair (c, i) comes from the same, over all c.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _choose_pair(pairs, uniform):
    """Combination and regime drawn with probability proportional to exp(pairs); never a pair with weight zero."""
    log_total = _log_total(pairs)
    combination = regime = -1
    for c in range(pairs.shape[0]):
        for k in range(pairs.shape[1]):
            weight = math.exp(pairs[c, k] - log_total)
            if weight > 0.0:
                combination, regime = c, k
                uniform -= weight
                if uniform < 0.0:
                    return combination, regime
    return combination, regime


@njit(**CACHED)
def exact_sample_lags(log_obs, transition_logits, log_init, log_prior, block, uniforms):
    """Combination of each block (block), drawn jointly given all rows; -1 if the data are impossible or NaN."""
    chosen = np.full(block[-1] + 1, -1)
    if _any_broken(log_obs, transition_logits, log_init, log_prior):
        return chosen
    log_p = _log_softmax(transition_logits)
    _, filtered, log_density = _filter(_by_time(log_obs), log_p, log_init, log_prior, block)
    if not log_density[-1] > -math.inf:
        return chosen
    combination, regime, first, beyond = 0, 0, 0, log_prior.size
    for t in range(block.size - 1, -1, -1):
        if t + 1 < block.size:
            # All combinations if a block ends here; else the one that is known.
            step = min(t, log_p.shape[0] - 1)
            first, beyond = (combination, combination + 1) if block[t] == block[t + 1] else (0, log_prior.size)
            for c in range(first, beyond):
                for k in range(log_init.size):
                    filtered[t, c, k] += log_p[step, k, regime]
        picked, regime = _choose_pair(filtered[t, first:beyond], uniforms[t])
        combination = first + picked
        chosen[block[t]] = combination
    return chosen
