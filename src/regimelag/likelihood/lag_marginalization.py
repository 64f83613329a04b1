"""Log likelihood of an unknown point lag: lag and regimes marginalised exactly.

Given the lag, or the combination of lags of several signals and regimes, the data follow a hidden Markov model whose
transitions do not depend on the lag. With L[c] its likelihood under lag c,

    log p(y) = log sum_c prior[c] L[c],        W[c] = P(c | y) = prior[c] L[c] / p(y).
"""

# The base class documents the methods of an Op.
# ruff: noqa: D102

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import TensorLike, TensorVariable

from regimelag.likelihood.checks import agree, as_float, require, require_chain, shapes
from regimelag.likelihood.hmm import forward_backward_in_jax
from regimelag.likelihood.hmm_loglik import (
    CERTAIN,
    RESCALE_EVERY,
    LoglikOp,
    call_exact,
    check_chain,
)
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled
from regimelag.likelihood.vector_math import (
    LOG_TWO,
    bits_to_float,
    fill_scaled_exp,
    fill_softmax,
    float_to_bits,
    registers,
)

# Number of lags that are processed together, so that their messages stay in the first-level cache.
ROOM = 64
CHUNK = (0.0,) * ROOM
SHIFT, LARGEST_EXPONENT = np.uint64(52), np.uint64(2046)


def lag_marginal_loglik(
    log_obs: TensorLike, transition_logits: TensorLike, log_init: TensorLike, log_prior: TensorLike
) -> TensorVariable:
    """Log likelihood of a hidden Markov model with an unknown lag, with regimes and lag marginalised.

    It is log sum_c prior_c L_c, with log L_c the result of :func:`regimelag.markov_loglik` for lag c. Errors are as for
    that function.

    Parameters
    ----------
    log_obs : tensor (regime, time, lag)
        Log density of each row in each regime and lag, in nats; ``-inf`` if they cannot produce the row.
    transition_logits : tensor (time - 1, origin, destination) or (origin, destination)
        As in :func:`regimelag.markov_loglik`; with one regime, zeros (1, 1).
    log_init : tensor (regime)
        Log weights of the regimes at the first time, used as given.
    log_prior : tensor (lag)
        Log prior probability of each lag, used as given; ``-inf`` excludes it.

    Returns
    -------
    tensor ()
        In nats. ``-inf``, with zero gradients, if the data are impossible. NaN, with NaN gradients, if an input is NaN
        or ``+inf``. Gradients are posterior probabilities: for ``log_obs`` those of regime and lag at each time, for
        ``log_prior`` those of the lags.
    """
    log_obs, transition_logits, log_init, log_prior = map(as_float, (log_obs, transition_logits, log_init, log_prior))
    asked = "lag_marginal_loglik(log_obs, transition_logits, log_init, log_prior)"
    came = shapes(log_obs=log_obs, transition_logits=transition_logits, log_init=log_init, log_prior=log_prior)
    require(
        asked,
        "log_obs is (regime, time, lag), transition_logits (time - 1, origin, destination) or (origin, destination), "
        "log_init (regime), log_prior (lag) with as many lags as log_obs",
        came,
        "give each its axes; one regime or one lag is an axis of length 1",
        holds=(log_obs.type.ndim, log_init.type.ndim, log_prior.type.ndim) == (3, 1, 1)
        and transition_logits.type.ndim in (2, 3)
        and agree(log_obs.type.shape[-1], log_prior.type.shape[0]),
    )
    if transition_logits.type.ndim == 2:  # noqa: PLR2004
        transition_logits = transition_logits[None]
    regimes, times, _ = log_obs.type.shape
    known = require_chain(asked, came, regimes, times, transition_logits, log_init, "first")
    return LagMarginalLoglik(known)(log_obs, pt.moveaxis(transition_logits, -3, -1), log_init, log_prior)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Value and gradient in one pass
#
# The recursions of hmm_loglik.py are run for each lag c. With o[j,t,c] the density and p[i,j,t] the probability of the
# step from t to t + 1,
#
#     a[j,t,c] = o[j,t,c] sum_i a[i,t-1,c] p[i,j,t-1]          forward,  a[j,0,c] = init[j] o[j,0,c]
#     m[i,t,c] = sum_j p[i,j,t] o[j,t+1,c] m[j,t+1,c]          backward, m[i,T-1,c] = 1
#
# and z[c] = sum_i a[i,t,c] m[i,t,c] is the same at every t up to scale. Hence the gradient:
#
#     d loglik / d log_obs[i,t,c]  = W[c] a[i,t,c] m[i,t,c] / z[c]              probability of c and i at t
#     d loglik / d log_prior[c]    = W[c]
#     d loglik / d logits[i,j,t]   = p[i,j,t] (S[i,j,t] - sum_k p[i,k,t] S[i,k,t])
#     d loglik / d log_init[i]     = sum_c of the probability of c and i at time 0
#
# where S[i,j,t] = sum_c W[c] / z[c] a[i,t,c] o[j,t+1,c] m[j,t+1,c], so that p S is the probability of the step.
#
# Lag is the last axis and the innermost loop, since lags are independent, so LLVM vectorises it. No run-time check for
# overlapping arrays is needed, since the messages of a chunk of lags are kept in `registers`. The probabilities replace
# a.
#
# Scaling. At each time and lag o is divided by its maximum over regimes. The logs of these are summed for each lag,
# since lags may differ by thousands of nats. Every RESCALE_EVERY times a and m are divided by a power of two, which
# takes no logarithm. In between z is constant, so it is computed once for all of these times.
#
# Underflow. If z[c] < CERTAIN at some time and lag (see hmm_loglik.py), or z is NaN, the exact recursion is run for
# each lag. This includes NaN, dead ends, impossible rows and lags excluded by the data.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT, forceinline=True)
def _find_factor(each, count, values, factor):
    """Fill ``factor`` (lag) with the inverse power of two of the sum over regimes of ``values`` (regime, lag)."""
    for w in range(count):
        total = values[w]
        for k in range(1, len(each)):
            total += values[k * ROOM + w]
        factor[w] = bits_to_float((LARGEST_EXPONENT - (float_to_bits(total) >> SHIFT)) << SHIFT)


@compiled(CONTRACT)
def _forward(each, first, count, log_obs, obs, p, start, a, log_weight):
    """Fill ``a`` for ``count`` lags from ``first`` on; add the logs of its scale factors to ``log_weight`` (lag)."""
    times = obs.shape[1]
    hop = 1 if p.shape[2] == times - 1 else 0
    now, following, factor = registers(each, CHUNK), registers(each, CHUNK), registers((0.0,), CHUNK)
    for t in range(times):
        step = hop * (t - 1)
        for w in range(count):
            c = first + np.uintp(w)
            factor[w] = 1.0
            for j in range(len(each)):
                mass = start[j]
                if t > 0:
                    mass = now[w] * p[0, j, step]
                    for i in range(1, len(each)):
                        mass += now[i * ROOM + w] * p[i, j, step]
                following[j * ROOM + w] = mass * obs[j, t, c]
        for w in range(count):
            c = first + np.uintp(w)
            largest = log_obs[0, t, c]
            for k in range(1, len(each)):
                largest = max(largest, log_obs[k, t, c])
            log_weight[c] += largest
        if t % RESCALE_EVERY == 0:
            _find_factor(each, count, following, factor)
            for w in range(count):
                exponent = 1023.0 - np.float64(np.int64(float_to_bits(factor[w]) >> SHIFT))
                log_weight[first + np.uintp(w)] += LOG_TWO * exponent
        for k in range(len(each)):
            for w in range(count):
                now[k * ROOM + w] = following[k * ROOM + w] * factor[w]
                a[k, t, first + np.uintp(w)] = now[k * ROOM + w]


@compiled(CONTRACT, forceinline=True)
def _step_back(each, first, count, t, step, obs, p, m, arrived):
    """Update ``m`` (regime, lag) from t + 1 to t; fill ``arrived`` with its product with the density at t + 1."""
    for w in range(count):
        for j in range(len(each)):
            arrived[j * ROOM + w] = m[j * ROOM + w] * obs[j, t + 1, first + np.uintp(w)]
        for i in range(len(each)):
            mass = arrived[w] * p[i, 0, step]
            for j in range(1, len(each)):
                mass += arrived[j * ROOM + w] * p[i, j, step]
            m[i * ROOM + w] = mass


@compiled(REORDER, forceinline=True)
def _add_steps(each, count, leaving, arrived, step, expected):
    """Add the sums over a chunk of lags to S in ``expected`` (origin, destination, step)."""
    total = registers(each, each)
    for n in range(len(each) * len(each)):
        total[n] = 0.0
    for w in range(count):
        for i in range(len(each)):
            for j in range(len(each)):
                total[i * len(each) + j] += leaving[i * ROOM + w] * arrived[j * ROOM + w]
    for i in range(len(each)):
        for j in range(len(each)):
            expected[i, j, step] += total[i * len(each) + j]


@compiled(REORDER)
def _backward(each, first, count, obs, p, weight, a, expected):
    """Replace ``a`` by probabilities, for ``count`` lags, and add to S; return how many z are too small."""
    times, in_doubt = obs.shape[1], 0
    hop = 1 if p.shape[2] == times - 1 else 0
    m, arrived, leaving = registers(each, CHUNK), registers(each, CHUNK), registers(each, CHUNK)
    factor, share = registers((0.0,), CHUNK), registers((0.0,), CHUNK)
    for n in range(len(each) * ROOM):
        m[n] = 1.0
    for t in range(times - 1, -1, -1):
        if t < times - 1:
            _step_back(each, first, count, t, hop * t, obs, p, m, arrived)
        if t == times - 1 or t % RESCALE_EVERY == RESCALE_EVERY - 1:
            _find_factor(each, count, m, factor)
            for w in range(count):
                z = 0.0
                for k in range(len(each)):
                    m[k * ROOM + w] *= factor[w]
                    arrived[k * ROOM + w] *= factor[w]
                    z += a[k, t, first + np.uintp(w)] * m[k * ROOM + w]
                in_doubt += 0 if z >= CERTAIN else 1
                share[w] = weight[first + np.uintp(w)] / z
        for k in range(len(each)):
            for w in range(count):
                leaving[k * ROOM + w] = a[k, t, first + np.uintp(w)] * share[w]
                a[k, t, first + np.uintp(w)] = leaving[k * ROOM + w] * m[k * ROOM + w]
        if t < times - 1:
            _add_steps(each, count, leaving, arrived, hop * t, expected)
    return in_doubt


@compiled()
def scaled_loglik_and_adjoint(each, log_obs, logits, log_init, log_prior, d_log_obs, d_logits, d_log_init, weight):
    """Log likelihood by scaled probabilities, NaN if underflow may matter; the last four arrays get gradients."""
    regimes, times, lags = log_obs.shape
    obs, p, a = np.empty(log_obs.shape), d_logits, d_log_obs
    fill_softmax(each, logits, p)
    fill_scaled_exp(each, log_obs.reshape((regimes, times * lags)), obs.reshape((regimes, times * lags)))
    start = np.exp(log_init - log_init.max())
    weight[:] = log_prior
    for first in range(0, lags, ROOM):
        _forward(each, np.uintp(first), min(ROOM, lags - first), log_obs, obs, p, start, a, weight)
    for c in range(lags):
        weight[c] += math.log(a[:, -1, c].sum())
    largest = weight.max()
    weight[:] = np.exp(weight - largest)
    total = weight.sum()
    weight /= total
    loglik = log_init.max() + largest + math.log(total)
    if not math.isfinite(loglik):
        return math.nan
    expected, in_doubt = np.zeros(p.shape), 0
    for first in range(0, lags, ROOM):
        in_doubt += _backward(each, np.uintp(first), min(ROOM, lags - first), obs, p, weight, a, expected)
    if in_doubt > 0:
        return math.nan
    for i in range(regimes):
        mean = np.zeros(p.shape[2])
        for j in range(regimes):
            mean += p[i, j] * expected[i, j]
        for j in range(regimes):
            p[i, j] *= expected[i, j] - mean
    if times == 1:
        d_logits.fill(0.0)
    d_log_init[:] = d_log_obs[:, 0].sum(axis=1)
    return loglik


@compiled()
def exact_loglik_and_adjoint(log_obs, logits, log_init, log_prior, d_log_obs, d_logits, d_log_init, weight):
    """Log likelihood by the exact recursion for each lag; the last four arrays are filled with gradients."""
    regimes, times, lags = log_obs.shape
    d_each, d_steps = np.empty((regimes, times)), np.empty((lags, *logits.shape))
    loglik = -math.inf
    for c in range(lags):
        own = np.ascontiguousarray(log_obs[:, :, c])
        found = call_exact(own, logits, log_init, d_each, d_steps[c], d_log_init)
        d_log_obs[:, :, c] = d_each
        weight[c] = found + (log_prior[c] if log_prior[c] < math.inf else math.nan)
        loglik = np.logaddexp(loglik, weight[c])
    d_logits.fill(0.0)
    for c in range(lags):
        weight[c] = 0.0 if weight[c] == -math.inf and not math.isnan(loglik) else math.exp(weight[c] - loglik)
        d_log_obs[:, :, c] *= weight[c]
        d_logits += weight[c] * d_steps[c]
    d_log_init[:] = d_log_obs[:, 0].sum(axis=1)
    return loglik


@compiled()
def loglik_and_adjoint(each, log_obs, logits, log_init, log_prior):
    """Log likelihood and its gradients, for arrays as in :func:`lag_marginal_loglik`, steps last in ``logits``."""
    regimes, times, lags = log_obs.shape
    check_chain(regimes, times, logits, log_init)
    if lags < 1 or log_prior.size != lags:
        raise ValueError("the log likelihood needs log_prior (lag) with as many lags as log_obs, at least one")
    gradients = np.empty(log_obs.shape), np.empty(logits.shape), np.empty(regimes), np.empty(lags)
    loglik = math.nan
    if regimes == len(each):
        loglik = scaled_loglik_and_adjoint(each, log_obs, logits, log_init, log_prior, *gradients)
    if math.isnan(loglik):
        loglik = exact_loglik_and_adjoint(log_obs, logits, log_init, log_prior, *gradients)
    return loglik, *gradients


class LagMarginalLoglik(LoglikOp):
    """Log likelihood with the lag marginalised, as a function of (log_obs, logits, log_init, log_prior)."""

    gufunc_signature = "(k,t,c),(k,k,s),(k),(c)->(),(k,t,c),(k,k,s),(k),(c)"
    loop = loglik_and_adjoint
    builder = "lag_marginal_loglik"

    def value_and_gradients_in_jax(self, jax):
        jnp = jax.numpy
        each_lag = jax.vmap(partial(forward_backward_in_jax, jax, in_parallel=jax.default_backend() != "cpu"))

        def both(log_obs, logits, log_init, log_prior):
            shared = [jnp.broadcast_to(each, (len(log_prior), *each.shape)) for each in (logits, log_init)]
            by_lag, *gradients = each_lag(jnp.moveaxis(log_obs, -1, 0), *shared)
            loglik = jax.nn.logsumexp(by_lag + log_prior)
            weight = jnp.exp(by_lag + log_prior - jnp.where(loglik == -jnp.inf, jnp.inf, loglik))
            # A lag that the data exclude has no weight, whatever its gradient.
            d_log_obs, d_logits, d_log_init = (jnp.moveaxis(each, 0, -1) * weight for each in gradients)
            return loglik, d_log_obs, d_logits.sum(axis=-1), d_log_init.sum(axis=-1), weight

        return both
