"""Readings of an uncertain point lag, draw by draw of the posterior.

Each function takes ``log_obs`` (draw, combination, regime, time), ``transition_logits`` (draw, step, origin,
destination), ``log_init`` (draw, regime), ``log_prior`` (combination) and ``block`` (time). Conventions are those of
:mod:`.mixture_recursions`. What needs both passes is taken from the scaled probabilities of :mod:`.mixture` where these
lost nothing, which is far faster, and from the exact recursions otherwise.

References
----------
.. [1] Hamilton, J. D. (1989). doi:10.2307/1912559
"""

import math

import numpy as np

from regimelag.likelihood import mixture_recursions
from regimelag.likelihood.chain import fill_softmax
from regimelag.likelihood.mixture import scaled_lag_loglik_and_adjoint

# More than what may be missing of a scaled probability, see mixture.py.
MISSING = 1e-100
# What may be missing of a sum, as a share.
NEGLIGIBLE = 1e-14


def _check_draws(log_obs, transition_logits, log_init, log_prior, block):
    draws = log_obs.shape[0]
    if draws < 1 or transition_logits.shape[0] != draws or log_init.shape[0] != draws:
        raise ValueError("log_obs, transition_logits and log_init need the same number of draws on their first axis")
    shapes = log_obs.shape[1:], transition_logits.shape[1:]
    mixture_recursions.check_mixture(*shapes, log_init.shape[1], log_prior.size, block)


class _Scaled:
    """The scaled recursion, with room for its results that each draw uses again."""

    def __init__(self, log_obs, transition_logits, log_prior, block):
        regimes = log_obs.shape[2]
        self.each = (0.0,) * regimes
        self.log_prior, self.block = log_prior, block
        self.smoothed, self.work = np.empty(log_obs.shape[1:]), np.empty(log_obs.shape[1:])
        self.d_logits = np.empty((regimes, regimes, transition_logits.shape[1]))
        self.small = np.empty(regimes), np.empty(log_prior.size)
        self.probability = np.empty((block[-1] + 1, log_prior.size))

    def is_certain(self, log_obs, transition_logits, log_init):
        """Fill ``smoothed`` (combination, regime, time) and ``probability`` (block, combination) for a draw."""
        fill_softmax(self.each, np.ascontiguousarray(transition_logits.transpose(1, 2, 0)), self.d_logits)
        gradients = self.smoothed, self.d_logits, *self.small
        loglik = scaled_lag_loglik_and_adjoint(
            self.each, log_obs, log_init, self.log_prior, self.block, self.work, *gradients, self.probability
        )
        return not math.isnan(loglik)


def _contiguous(*arrays):
    return tuple(map(np.ascontiguousarray, arrays))


def lag_posterior_draws(log_obs, transition_logits, log_init, log_prior, block):
    """Probability of each combination in each block, given all rows and each draw.

    Parameters
    ----------
    log_obs : array (draw, combination, regime, time)
        Log density of each row under each regime and combination, in nats.
    transition_logits : array (draw, step, origin, destination)
        Row ``t`` drives the step from ``t`` to ``t + 1``; one row for a constant matrix.
    log_init : array (draw, regime)
        Log weights of the regimes at the first time, used as given.
    log_prior : array (combination)
        Log probability with which a block draws each combination, used as given.
    block : int array (time)
        Block of each time: 0 at first, rising by 0 or 1.

    Returns
    -------
    array (draw, block, combination)
        NaN for draws under which the data are impossible or an input is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.
    """
    _check_draws(log_obs, transition_logits, log_init, log_prior, block)
    log_obs, log_init, log_prior, block = _contiguous(log_obs, log_init, log_prior, block)
    scaled = _Scaled(log_obs, transition_logits, log_prior, block)
    probability = np.empty((len(log_obs), *scaled.probability.shape))
    firsts = np.flatnonzero(np.diff(block, prepend=-1))
    for d, draw in enumerate(zip(log_obs, transition_logits, log_init, strict=True)):
        if scaled.is_certain(*draw):
            probability[d] = scaled.probability
        else:
            loglik, smoothed, *_ = mixture_recursions.exact_lag_loglik_and_adjoint(
                *_contiguous(*draw), log_prior, block
            )
            probability[d] = smoothed.sum(axis=1)[:, firsts].T if loglik > -math.inf else np.nan
    return probability


def lag_filter_draws(log_obs, transition_logits, log_init, log_prior, block):
    """One-step-ahead log densities with regimes and combinations summed out [1]_.

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
    log_obs, transition_logits, log_init, log_prior, block = _contiguous(
        log_obs, transition_logits, log_init, log_prior, block
    )
    draws = zip(log_obs, transition_logits, log_init, strict=True)
    return np.stack([mixture_recursions.exact_lag_log_density(*draw, log_prior, block) for draw in draws])


# ---------------------------------------------------------------------------------------------------------------------
# Leave-one-out
#
# With q[c,k] for the probability of a pair given all rows and o[c,k] for the density of the row under it,
#
#     1 / p(y_t | y_-t) = sum_{c,k} q[c,k] / o[c,k],
#
# since q[c,k] = P(c, k | y_-t) o[c,k] / p(y_t | y_-t). In scaled probabilities a q below MISSING may have come out as
# zero, and with it up to MISSING / o[c,k]. If the sum is far more than that for the least density, it lacks nothing.
# ---------------------------------------------------------------------------------------------------------------------


def _leave_one_out_scaled(log_obs, smoothed):
    """Log density of each row given all others (time), NaN throughout if it may be wrong."""
    least = log_obs.min(axis=(0, 1))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        total = (smoothed * np.exp(least - log_obs)).sum(axis=(0, 1))
        certain = (total * NEGLIGIBLE > MISSING).all() and np.isfinite(least).all()
    return least - np.log(total) if certain else np.full(least.shape, np.nan)


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
    log_obs, log_init, log_prior, block = _contiguous(log_obs, log_init, log_prior, block)
    scaled = _Scaled(log_obs, transition_logits, log_prior, block)
    log_density = np.full((len(log_obs), block.size), np.nan)
    for d, draw in enumerate(zip(log_obs, transition_logits, log_init, strict=True)):
        if scaled.is_certain(*draw):
            log_density[d] = _leave_one_out_scaled(draw[0], scaled.smoothed)
        if np.isnan(log_density[d, 0]):
            log_density[d] = mixture_recursions.exact_lag_leave_one_out(*_contiguous(*draw), log_prior, block)
    return log_density


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
    if uniforms.shape != (len(log_obs), block.size):
        raise ValueError("sample_lags_draws needs uniforms (draw, time) with as many draws and times as log_obs")
    log_obs, transition_logits, log_init, log_prior, block, uniforms = _contiguous(
        log_obs, transition_logits, log_init, log_prior, block, uniforms
    )
    draws = zip(log_obs, transition_logits, log_init, uniforms, strict=True)
    sample = mixture_recursions.exact_sample_lags
    return np.stack([sample(*draw, log_prior, block, own) for *draw, own in draws])
