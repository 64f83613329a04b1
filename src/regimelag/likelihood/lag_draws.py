"""Posterior quantities of a marginalised point lag, for each posterior draw.

Given a lag the data follow a hidden Markov model, so the recursions of :mod:`regimelag.likelihood.hmm` are run for each
lag and weighted. Inputs are ``log_obs`` (draw, lag, time, regime), ``transition_logits`` (draw, step, origin,
destination), ``log_init`` (draw, regime) and ``log_prior`` (lag), with the conventions of that module for ``-inf``, NaN
and ``+inf``. ValueError is raised if shapes are inconsistent.
"""

from __future__ import annotations

import math

import numpy as np

from regimelag.likelihood.hmm import filter_forward
from regimelag.likelihood.hmm_draws import leave_one_out_draws, log_density_lags_draws
from regimelag.likelihood.numba_link import CONTRACT, compiled
from regimelag.likelihood.vector_math import exp_nonpositive


def _for_each_lag(reading, log_obs, transition_logits, log_init):
    """Apply a function of draws to each lag: (draw, lag, ...)."""
    shared = np.ascontiguousarray(transition_logits), np.ascontiguousarray(log_init)
    return np.stack([reading(np.ascontiguousarray(log_obs[:, c]), *shared) for c in range(log_obs.shape[1])], axis=1)


def _filter_each_lag(log_obs, transition_logits, log_init, log_prior):
    """One-step-ahead log densities under each lag (draw, lag, time), and the log prior, NaN where it was ``+inf``."""
    if len(log_obs) < 1 or len(transition_logits) != len(log_obs) or len(log_init) != len(log_obs):
        raise ValueError("log_obs, transition_logits and log_init need the same number of draws on their first axis")
    if log_obs.shape[1] < 1 or log_prior.shape != log_obs.shape[1:2]:
        raise ValueError("the lag readings need log_prior (lag) with as many lags as log_obs (draw, lag, time, regime)")
    steps = log_density_lags_draws(*map(np.ascontiguousarray, (log_obs, transition_logits, log_init)))
    return steps, np.where(log_prior < np.inf, log_prior, np.nan)


def filter_lags_draws(log_obs, transition_logits, log_init, log_prior):
    """One-step-ahead log densities with regimes and lag marginalised, and the posterior of the lag.

    Returns
    -------
    log_density : array (draw, time)
        log p(y_t | y_<t) in nats. The sum over time is the log likelihood.
    probability : array (draw, lag)
        Posterior probability of each lag. NaN for draws in which the data are impossible or an input is NaN.
    """
    steps, log_prior = _filter_each_lag(log_obs, transition_logits, log_init, log_prior)
    total, last = _marginalized(steps, log_prior)
    with np.errstate(invalid="ignore"):
        log_density = np.diff(total, axis=-1, prepend=0.0)
        log_density[total == -np.inf] = -np.inf
        return log_density, np.exp(last - total[:, -1:])


@compiled(CONTRACT)
def _marginalized(steps, log_prior):
    """Log density of all rows up to each with the lag marginalised (draw, time), and of all under each lag."""
    draws, lags, times = steps.shape
    total, last = np.empty((draws, times)), np.empty((draws, lags))
    joint, largest, weight = np.empty((lags, times)), np.empty(times), np.empty(times)
    for d in range(draws):
        largest.fill(-np.inf)
        for c in range(lags):
            passed = log_prior[c]
            for t in range(times):
                passed += steps[d, c, t]
                joint[c, t] = passed
            last[d, c] = passed
            for t in range(times):
                largest[t] = max(largest[t], joint[c, t])
        for t in range(times):
            largest[t] = largest[t] if largest[t] > -np.inf else 0.0
        weight.fill(0.0)
        for c in range(lags):
            for t in range(times):
                weight[t] += exp_nonpositive(joint[c, t] - largest[t])
        for t in range(times):
            total[d, t] = largest[t] + math.log(weight[t])
    return total, last


def leave_one_out_lags_draws(log_obs, transition_logits, log_init, log_prior):
    """Log density of each row given all other rows, with regimes and lag marginalised.

    The result is wrong if a row enters the ``log_obs`` of another, as with a lagged response among the regressors.

    Returns
    -------
    array (draw, time)
        log p(y_t | y_-t) in nats. NaN where the other rows alone are impossible.
    """
    # With L[c] the likelihood under lag c and f[c,t] = p(y_t | y_-t, c),
    #
    #     p(y_t | y_-t) = sum_c prior[c] L[c] / sum_c prior[c] L[c] / f[c,t],
    #
    # where L[c] / f[c,t] is the density of all rows but t under lag c. Where row t is impossible under the lag, both
    # are zero, and that density is taken from the filter, with a density of one for the row.
    steps, log_prior = _filter_each_lag(log_obs, transition_logits, log_init, log_prior)
    alone = _for_each_lag(leave_one_out_draws, log_obs, transition_logits, log_init)
    joint = steps.sum(axis=-1) + log_prior
    with np.errstate(invalid="ignore"):
        others = joint[..., None] - alone
        # Where the other rows alone are impossible under a lag, it counts for nothing.
        others[np.isnan(alone) & (joint == -np.inf)[..., None]] = -np.inf
        for d, c, t in np.argwhere(alone == -np.inf):
            rows = log_obs[d, c].copy()
            rows[t] = 0.0
            others[d, c, t] = log_prior[c] + filter_forward(rows, transition_logits[d], log_init[d])[2].sum()
        return np.logaddexp.reduce(joint, axis=1)[:, None] - np.logaddexp.reduce(others, axis=1)


def sample_lags(probability, uniforms):
    """Draw a lag for each draw of the posterior.

    Parameters
    ----------
    probability : array (draw, lag)
        From :func:`filter_lags_draws`.
    uniforms : array (draw)
        Numbers in [0, 1). The same numbers give the same lags.

    Returns
    -------
    int array (draw)
        Position of the lag, never one of probability zero; -1 where the probabilities are NaN.
    """
    if uniforms.shape != probability.shape[:1]:
        raise ValueError("sample_lags needs uniforms (draw) with as many draws as probability (draw, lag)")
    passed = (uniforms[:, None] >= np.cumsum(probability, axis=1)).sum(axis=1)
    last = probability.shape[1] - 1 - (probability[:, ::-1] > 0.0).argmax(axis=1)
    return np.where(np.isnan(probability).any(axis=1), -1, np.minimum(passed, last))
