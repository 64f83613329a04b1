"""Exact recursions for a hidden Markov model with time-varying transition probabilities.

The recursions take ``log_obs`` (time, regime), ``transition_logits`` (step, origin, destination) and ``log_init``
(regime). Row ``t`` of ``transition_logits`` is the step from time ``t`` to ``t + 1``, so there are ``time - 1`` rows,
or one for a constant matrix. Probabilities are the softmax over destinations, computed here. ``log_init`` is used as
given and need not be normalised.

``-inf`` is allowed everywhere: for an impossible step, a regime that cannot produce a row, or an impossible initial
regime. An origin whose exits are all impossible is a dead end. If a row is impossible given the rows before it, its log
density and those of all later rows are ``-inf``, probabilities are NaN and paths are -1. NaN and ``+inf`` in an input
have the same result, except that densities are NaN.

All computations are in logarithms and each row is normalised: slower than scaled probabilities, but without underflow.
:mod:`regimelag.likelihood.hmm_draws` applies the recursions to each posterior draw.

References
----------
.. [1] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196
.. [2] Hamilton, J. D. (1989). doi:10.2307/1912559
.. [3] Kim, C.-J. (1994). doi:10.1016/0304-4076(94)90036-1
.. [4] Särkkä, S., & García-Fernández, Á. F. (2021). doi:10.1109/TAC.2020.2976316
.. [5] Viterbi, A. J. (1967). doi:10.1109/TIT.1967.1054010
"""

import math

import numpy as np

from regimelag.likelihood.numba_link import compiled


@compiled()
def check_shapes(log_obs, transition_logits, log_init):
    """Raise ValueError if the three inputs are inconsistent, so that no recursion reads out of bounds."""
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


@compiled()
def _is_broken(values):
    """Whether an array contains NaN or ``+inf``."""
    for value in values.flat:  # noqa: SIM110
        if not value < math.inf:
            return True
    return False


@compiled()
def _normalise(row):
    """Subtract the log-sum-exp of a row in place, and return it."""
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


@compiled()
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
# The log densities sum to the log likelihood. If init does not sum to one, the first of them includes its total; after
# a dead end, the next of them includes the lost probability. Predicted probabilities are normalised.
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
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


@compiled()
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


@compiled()
def filter_forward(log_obs, transition_logits, log_init):
    """Predicted and filtered probabilities and one-step-ahead log densities [2]_.

    Parameters
    ----------
    log_obs : array (time, regime)
        Log density of each row in each regime, in nats.
    transition_logits : array (step, origin, destination)
        Row ``t`` is the step from ``t`` to ``t + 1``; one row for a constant matrix.
    log_init : array (regime)
        Log weights of the regimes at the first time, used as given.

    Returns
    -------
    predicted : array (time, regime)
        Probability of each regime given the previous rows.
    filtered : array (time, regime)
        Probability of each regime given the rows up to this one.
    log_density : array (time)
        log p(y_t | y_<t) in nats. The sum is the log likelihood.

    Raises
    ------
    ValueError
        If the shapes are inconsistent.
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
# hmm_loglik.py has the derivation of the gradient from xi.
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _smoothed(filtered, message):
    """Smoothed probabilities (time, regime) from log filtered probabilities and log backward messages."""
    times, regimes = filtered.shape
    smoothed = np.empty((times, regimes))
    for t in range(times):
        for k in range(regimes):
            smoothed[t, k] = filtered[t, k] + message[t, k]
        _normalise(smoothed[t])
        for k in range(regimes):
            smoothed[t, k] = math.exp(smoothed[t, k])
    return smoothed


@compiled()
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
        If the shapes are inconsistent.
    """
    check_shapes(log_obs, transition_logits, log_init)
    if _is_broken(log_obs) or _is_broken(transition_logits) or _is_broken(log_init):
        return np.full(log_obs.shape, np.nan)
    log_p = _log_softmax(transition_logits)
    _, filtered, log_density = _filter(log_obs, log_p, log_init)
    if not log_density[-1] > -math.inf:
        return np.full(log_obs.shape, np.nan)
    return _smoothed(filtered, _backward(log_obs, log_p))


@compiled()
def leave_one_out(log_obs, transition_logits, log_init):
    """Log density of each row given all other rows.

    ``log_obs`` of a row must not depend on other rows: with lagged responses as regressors the result is wrong.

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
        If the shapes are inconsistent.
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


@compiled()
def exact_loglik_and_adjoint(log_obs, transition_logits, log_init):
    """Log likelihood and gradient without underflow.

    :func:`regimelag.likelihood.hmm_loglik.loglik_and_adjoint` is faster and calls this function if it underflows. It
    documents parameters and returns; here time is the first axis.
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


# ---------------------------------------------------------------------------------------------------------------------
# Paths
#
# Forward filtering, backward sampling: the last regime is drawn from filtered[T-1], then each earlier one from
# P(s_t = i | s_t+1 = j, y) ~ filtered[t,i] p[t,i,j].
#
# The Viterbi recursion stores, for each regime, the largest log probability of a path that ends in it, and the previous
# regime of that path [4]_.
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _choose(log_weights, uniform):
    """Draw an index with probability proportional to exp(log_weights), never one with weight zero."""
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


@compiled()
def sample_paths(log_obs, transition_logits, log_init, uniforms):
    """Draw a regime path from its distribution given all rows.

    Parameters
    ----------
    log_obs, transition_logits, log_init
        As in :func:`filter_forward`.
    uniforms : array (time)
        Uniform random numbers in [0, 1), which determine the path.

    Returns
    -------
    int array (time)
        Regime at each time; -1 throughout if the data are impossible or an input is NaN.

    Raises
    ------
    ValueError
        If the shapes are inconsistent.
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


@compiled()
def viterbi(log_obs, transition_logits, log_init):
    """Most probable regime path given all rows [4]_.

    Parameters
    ----------
    log_obs, transition_logits, log_init
        As in :func:`filter_forward`.

    Returns
    -------
    path : int array (time)
        Regime at each time. Ties are resolved in favour of the lowest regime, starting from the last time. -1
        throughout if the data are impossible or an input is NaN.
    log_joint : float
        Joint log density of the rows and this path, in nats.

    Raises
    ------
    ValueError
        If the shapes are inconsistent.
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


def forward_backward_in_jax(jax, log_obs, logits, log_init, *, in_parallel):
    """Log likelihood and its gradients in JAX, as :func:`exact_loglik_and_adjoint` but with time last.

    ``in_parallel`` computes the messages by an associative scan over products of transition matrices [4]_: more
    arithmetic, but its depth is the logarithm of the number of times, which an accelerator needs.
    """
    jnp, logsumexp = jax.numpy, jax.nn.logsumexp
    steps = log_obs.shape[1] - 1
    total = logsumexp(logits, axis=1, keepdims=True)
    # An origin without an exit is a dead end.
    log_p = jnp.where(total == -jnp.inf, -jnp.inf, logits - total)
    # Densities of a step's destination (step, origin, destination).
    arrivals = jnp.moveaxis(log_p, -1, 0) + log_obs[:, 1:].T[:, None]
    first, last = log_init + log_obs[:, 0], jnp.zeros_like(log_init)

    def product(one, other):
        return logsumexp(one[..., :, :, None] + other[..., None, :, :], axis=-2)

    def ahead(message, arrival):
        following = logsumexp(message[:, None] + arrival, axis=0)
        return following, following

    def back(message, arrival):
        before = logsumexp(arrival + message, axis=1)
        return before, before

    if steps == 0:
        after, before = jnp.zeros((0, len(first))), jnp.zeros((0, len(first)))
    elif in_parallel:
        after = logsumexp(first[:, None] + jax.lax.associative_scan(product, arrivals), axis=-2)
        reverse = jax.lax.associative_scan(lambda one, other: product(other, one), arrivals, reverse=True)
        before = logsumexp(reverse, axis=-1)
    else:
        after, before = jax.lax.scan(ahead, first, arrivals)[1], jax.lax.scan(back, last, arrivals, reverse=True)[1]
    forward, backward = jnp.concatenate([first[None], after]), jnp.concatenate([before, last[None]])
    loglik = logsumexp(forward[-1])
    # Impossible data have zero gradients; NaN and infinite densities have none.
    possible = jnp.where(loglik == -jnp.inf, jnp.inf, loglik)
    smoothed = jnp.exp(forward + backward - possible)
    joint = jnp.exp(forward[:-1, :, None] + arrivals + backward[1:, None] - possible)
    d_logits = jnp.moveaxis(joint, 0, -1) - jnp.exp(log_p) * joint.sum(axis=-1).T[:, None]
    d_logits = d_logits if logits.shape[-1] == steps else d_logits.sum(axis=-1, keepdims=True)
    invalid = jnp.isnan(loglik) | (loglik == jnp.inf)
    found = loglik, smoothed.T, d_logits, smoothed[0]
    return tuple(jnp.where(invalid, jnp.nan, each) for each in found)
