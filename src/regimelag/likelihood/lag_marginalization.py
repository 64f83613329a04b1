"""Likelihood of a point lag that is not known: lag and regimes marginalised exactly.

Given the lag, or the combination of lags of several signals and regimes, the data are a hidden Markov process whose
transitions do not depend on the lag. So everything here is that of the process for each lag, weighted by the
probability of the lag: with L[c] the likelihood under lag c,

    log p(y) = log sum_c prior[c] L[c],        W[c] = P(c | y) = prior[c] L[c] / p(y).
"""

# PyTensor fixes the names and arguments of the methods of an Op.

from __future__ import annotations

import ctypes
import math

import llvmlite.binding
import numpy as np
import pytensor.tensor as pt
from numba import types
from pytensor.tensor import TensorLike, TensorVariable

from regimelag.likelihood.checks import MOVING_CURE, MOVING_RULE, agree, as_float, require
from regimelag.likelihood.checks import shapes as static_shapes
from regimelag.likelihood.hmm import exact_loglik_and_adjoint
from regimelag.likelihood.hmm_loglik import CERTAIN, RESCALE_EVERY, LoglikOp
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled
from regimelag.likelihood.vector_math import (
    LOG_TWO,
    bits_to_float,
    exp_nonpositive,
    fill_softmax,
    float_to_bits,
    registers,
)

# Lags that are worked on together, so that what is known of them stays in the nearest cache.
ROOM = 64
CHUNK = (0.0,) * ROOM
SHIFT, LARGEST_EXPONENT = np.uint64(52), np.uint64(2046)


def lag_marginal_loglik(
    log_obs: TensorLike, transition_logits: TensorLike, log_init: TensorLike, log_prior: TensorLike
) -> TensorVariable:
    """Log-likelihood of a hidden Markov process seen through one of several lags, both marginalised.

    It is log sum_c prior_c L_c, where L_c is what :func:`regimelag.markov_loglik` gives for lag c.

    Parameters
    ----------
    log_obs : tensor (regime, time, lag)
        Log density of each row under each regime and lag, in nats. ``-inf`` where they cannot produce the row. The
        number of regimes must be part of the type of one input.
    transition_logits : tensor (time - 1, origin, destination) or (origin, destination)
        As in :func:`regimelag.markov_loglik`; with one regime, zeros (1, 1).
    log_init : tensor (regime)
        Log weights of the regimes at the first time, used as given.
    log_prior : tensor (lag)
        Log prior probability of each lag, used as given; ``-inf`` forbids it.

    Returns
    -------
    tensor ()
        In nats. ``-inf``, with zero gradients, if the data are impossible. NaN, with NaN gradients, if an input is NaN
        or ``+inf``.

    Raises
    ------
    RegimelagError
        If dimensions or lengths that are known when the graph is built do not fit together.
    ValueError
        If lengths found when the graph is evaluated do not fit together.

    Notes
    -----
    The gradients are posterior probabilities: that for ``log_obs`` of regime and lag at each time, that for
    ``log_prior`` of each lag.

    Examples
    --------
    >>> import numpy as np
    >>> from regimelag.likelihood.lag_marginalization import lag_marginal_loglik
    >>> log_obs = np.log([[[0.5, 0.1], [0.2, 0.2]], [[0.1, 0.1], [0.4, 0.2]]])
    >>> loglik = lag_marginal_loglik(log_obs, np.zeros((2, 2)), np.log([0.5, 0.5]), np.log([0.5, 0.5]))
    >>> round(float(np.exp(loglik.eval())), 6)
    0.055
    """
    floats = [as_float(values) for values in (log_obs, transition_logits, log_init, log_prior)]
    log_obs, transition_logits, log_init, log_prior = floats
    asked = "lag_marginal_loglik(log_obs, transition_logits, log_init, log_prior)"
    came = static_shapes(log_obs=log_obs, transition_logits=transition_logits, log_init=log_init, log_prior=log_prior)
    require(
        asked,
        "log_obs is (regime, time, lag), transition_logits (time - 1, origin, destination) or (origin, destination), "
        "log_init (regime), log_prior (lag)",
        came,
        "give each its axes; one regime or one lag is an axis of length 1",
        holds=(log_obs.type.ndim, log_init.type.ndim, log_prior.type.ndim) == (3, 1, 1)
        and transition_logits.type.ndim in (2, 3),
    )
    if transition_logits.type.ndim == 2:  # noqa: PLR2004
        transition_logits = transition_logits[None]
    regimes, times, lags = log_obs.type.shape
    steps, origins, destinations = transition_logits.type.shape
    known = regimes or origins or destinations or log_init.type.shape[0]
    require(
        asked,
        "log_obs, transition_logits (both axes) and log_init have the same number of regimes, known beforehand",
        came,
        "put the regime axis first in log_obs, and give one of them a static shape (pytensor's specify_shape)",
        holds=known is not None and agree(regimes, origins, destinations, log_init.type.shape[0]),
    )
    require(
        asked,
        "log_prior has one entry for each lag",
        came,
        "put the lag axis last in log_obs",
        holds=agree(lags, log_prior.type.shape[0]),
    )
    require(
        asked,
        MOVING_RULE,
        came,
        MOVING_CURE,
        holds=steps in (None, 1) or times is None or steps == times - 1,
    )
    return LagMarginalLoglik(known)(log_obs, pt.moveaxis(transition_logits, -3, -1), log_init, log_prior)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Value and gradient in one pass
#
# Each lag c runs the recursions of hmm_loglik.py by itself. With o[j,t,c] for the density and p[i,j,t] for the step
# from t to t + 1,
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
# Order. Lag is the last axis, and loops over lags are the innermost, since lags do not wait for one another: LLVM turns
# them into vector instructions. It asks no array for overlaps, because what goes from one time to the next is kept, for
# a chunk of lags, in `registers`, which no array overlaps. The probabilities take the place of a.
#
# Scaling. At each time and lag o is divided by its maximum over regimes, and the sum of the logs of those is kept for
# each lag, since lags may be thousands of nats apart. At every time that is a multiple of RESCALE_EVERY a is divided by
# a power of two, which costs no logarithm, and the exponents are summed; m likewise at the time before. In between z
# stays what it is, so it is taken once for all of these times.
#
# What underflow can do. As in hmm_loglik.py no entry of o, p, a, m exceeds two or so, what is lost at one step is below
# 1e-306, and it changes the likelihood of a lag by no more than a share of 1e-306 / z. So one asks for z[c] >= CERTAIN
# at every time and for every lag that may be drawn. If z is too small somewhere, or not a number, the exact recursion
# is run for each lag instead. NaN, dead ends, impossible rows and a lag that the data exclude all take that way out.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT)
def _read(each, log_obs, obs, level):
    """Fill ``obs`` with densities over the largest over regimes, and add the log of that to ``level`` (lag)."""
    largest = np.empty(level.size)
    for t in range(log_obs.shape[1]):
        if len(each) == 2:  # noqa: PLR2004
            left, right, obs0, obs1 = log_obs[0, t], log_obs[1, t], obs[0, t], obs[1, t]
            for c in range(level.size):
                ratio = exp_nonpositive(-abs(left[c] - right[c]))
                obs0[c] = 1.0 if left[c] >= right[c] else ratio
                obs1[c] = ratio if left[c] >= right[c] else 1.0
                level[c] += max(left[c], right[c])
        else:
            for c in range(level.size):
                largest[c] = log_obs[0, t, c]
            for k in range(1, len(each)):
                for c in range(level.size):
                    largest[c] = max(largest[c], log_obs[k, t, c])
            for k in range(len(each)):
                for c in range(level.size):
                    obs[k, t, c] = exp_nonpositive(log_obs[k, t, c] - largest[c])
            for c in range(level.size):
                level[c] += largest[c]


@compiled(CONTRACT, forceinline=True)
def _shrink(each, count, values, factor):
    """Multiply values (regime, lag) by ``factor``, one over the power of two at or below their sum over regimes."""
    for w in range(count):
        factor[w] = values[w]
    for k in range(1, len(each)):
        for w in range(count):
            factor[w] += values[k * ROOM + w]
    for w in range(count):
        factor[w] = bits_to_float((LARGEST_EXPONENT - (float_to_bits(factor[w]) >> SHIFT)) << SHIFT)
    for k in range(len(each)):
        for w in range(count):
            values[k * ROOM + w] *= factor[w]


@compiled(CONTRACT)
def _forward(each, first, count, obs, p, start, a, exponent):
    """Fill ``a`` (regime, time, lag) for lags from ``first`` on, and the exponents of two taken out of it."""
    times = obs.shape[1]
    hop = 1 if p.shape[2] == times - 1 else 0
    now, following, factor = registers(each, CHUNK), registers(each, CHUNK), registers((0.0,), CHUNK)
    for w in range(count):
        exponent[first + np.uintp(w)] = 0.0
        for k in range(len(each)):
            now[k * ROOM + w] = start[k] * obs[k, 0, first + np.uintp(w)]
            a[k, 0, first + np.uintp(w)] = now[k * ROOM + w]
    for t in range(1, times):
        step = hop * (t - 1)
        for j in range(len(each)):
            for w in range(count):
                mass = now[w] * p[0, j, step]
                for i in range(1, len(each)):
                    mass += now[i * ROOM + w] * p[i, j, step]
                following[j * ROOM + w] = mass * obs[j, t, first + np.uintp(w)]
        if t % RESCALE_EVERY == 0:
            _shrink(each, count, following, factor)
            for w in range(count):
                exponent[first + np.uintp(w)] += 1023.0 - np.float64(np.int64(float_to_bits(factor[w]) >> SHIFT))
        for k in range(len(each)):
            for w in range(count):
                now[k * ROOM + w] = following[k * ROOM + w]
                a[k, t, first + np.uintp(w)] = following[k * ROOM + w]


@compiled(CONTRACT, forceinline=True)
def _step_back(each, first, count, t, step, obs, p, message, arrived):
    """Bring ``message`` (regime, lag) from t + 1 to t; ``arrived`` is its product with the density at t + 1."""
    for j in range(len(each)):
        for w in range(count):
            arrived[j * ROOM + w] = message[j * ROOM + w] * obs[j, t + 1, first + np.uintp(w)]
    for i in range(len(each)):
        for w in range(count):
            mass = arrived[w] * p[i, 0, step]
            for j in range(1, len(each)):
                mass += arrived[j * ROOM + w] * p[i, j, step]
            message[i * ROOM + w] = mass


@compiled(CONTRACT, forceinline=True)
def _share_out(each, first, count, t, weight, a, message, share):
    """Fill ``share`` (lag) with the weight of each lag over its z; return how many of them are in doubt."""
    in_doubt = 0
    for w in range(count):
        share[w] = a[0, t, first + np.uintp(w)] * message[w]
    for k in range(1, len(each)):
        for w in range(count):
            share[w] += a[k, t, first + np.uintp(w)] * message[k * ROOM + w]
    for w in range(count):
        own = weight[first + np.uintp(w)]
        in_doubt += 0 if share[w] >= CERTAIN or own < 0.0 else 1
        share[w] = own / share[w] if own > 0.0 else 0.0
    return in_doubt


@compiled(REORDER, forceinline=True)
def _collect(each, first, count, t, share, message, arrived, a, expected):
    """Turn ``a`` at t into the probabilities of regime and lag, and add to S of the step from t, if there is one."""
    leaving = registers((0.0,), CHUNK)
    for i in range(len(each)):
        for w in range(count):
            leaving[w] = a[i, t, first + np.uintp(w)] * share[w]
            a[i, t, first + np.uintp(w)] = leaving[w] * message[i * ROOM + w]
        if t < expected.shape[2]:
            for j in range(len(each)):
                total = 0.0
                for w in range(count):
                    total += leaving[w] * arrived[j * ROOM + w]
                expected[i, j, t] += total


@compiled(REORDER)
def _expect(each, first, count, obs, p, weight, a, expected):
    """Turn ``a`` into the probabilities of regime and lag, for lags from ``first`` on; say how much is in doubt.

    What they add to S goes into ``expected`` (origin, destination, step).
    """
    times = obs.shape[1]
    hop = 1 if p.shape[2] == times - 1 else 0
    message, arrived = registers(each, CHUNK), registers(each, CHUNK)
    factor, share = registers((0.0,), CHUNK), registers((0.0,), CHUNK)
    in_doubt = 0
    for k in range(len(each)):
        for w in range(count):
            message[k * ROOM + w] = 1.0
            arrived[k * ROOM + w] = 0.0
    for t in range(times - 1, -1, -1):
        if t < times - 1:
            _step_back(each, first, count, t, hop * t, obs, p, message, arrived)
        if t == times - 1 or t % RESCALE_EVERY == RESCALE_EVERY - 1:
            _shrink(each, count, message, factor)
            for k in range(len(each)):
                for w in range(count):
                    arrived[k * ROOM + w] *= factor[w]
            in_doubt += _share_out(each, first, count, t, weight, a, message, share)
        _collect(each, first, count, t, share, message, arrived, a, expected)
    return in_doubt


@compiled(REORDER)
def _adjoin_logits(each, expected, p, d_logits):
    """Fill ``d_logits`` from S (origin, destination, step); ``p`` may be the same array as ``d_logits``."""
    steps = expected.shape[2]
    if steps == 0:
        d_logits.fill(0.0)
        return
    for i in range(len(each)):
        if p.shape[2] == steps:
            for step in range(steps):
                mean = 0.0
                for j in range(len(each)):
                    mean += p[i, j, step] * expected[i, j, step]
                for j in range(len(each)):
                    d_logits[i, j, step] = p[i, j, step] * (expected[i, j, step] - mean)
        else:
            mean = 0.0
            for j in range(len(each)):
                mean += p[i, j, 0] * expected[i, j].sum()
            for j in range(len(each)):
                d_logits[i, j, 0] = p[i, j, 0] * (expected[i, j].sum() - mean)


@compiled()
def _weights(log_weight, log_prior, weight):
    """Fill ``weight`` with the normalised exponentials, -1 for a lag that is forbidden; return the log of their sum.

    A lag that the data exclude is not forbidden: its likelihood may have underflowed, so its z must be looked at.
    """
    largest = log_weight.max()
    total = 0.0
    for c in range(weight.size):
        weight[c] = math.exp(log_weight[c] - largest)
        total += weight[c]
    for c in range(weight.size):
        weight[c] = -1.0 if log_prior[c] == -math.inf else weight[c] / total
    return largest + math.log(total)


@compiled()
def _scaled(each, log_obs, logits, log_init, log_prior, d_log_obs, d_logits, d_log_init, d_log_prior):
    """Value, and gradients filled in, by scaled probabilities; NaN if underflow may have mattered."""
    regimes, times, lags = log_obs.shape
    obs, a, p = np.empty(log_obs.shape), d_log_obs, d_logits
    fill_softmax(each, logits, p)
    largest = log_init.max()
    start, log_weight, exponent = np.exp(log_init - largest), log_prior.copy(), np.empty(lags)
    _read(each, log_obs, obs, log_weight)
    for first in range(0, lags, ROOM):
        _forward(each, np.uintp(first), min(ROOM, lags - first), obs, p, start, a, exponent)
    for c in range(lags):
        log_weight[c] += exponent[c] * LOG_TWO + math.log(a[:, times - 1, c].sum())
    loglik = _weights(log_weight, log_prior, d_log_prior)
    if not math.isfinite(loglik):
        return math.nan
    expected, in_doubt = np.zeros((regimes, regimes, times - 1)), 0
    for first in range(0, lags, ROOM):
        count = min(ROOM, lags - first)
        in_doubt += _expect(each, np.uintp(first), count, obs, p, d_log_prior, a, expected)
    if in_doubt > 0:
        return math.nan
    _adjoin_logits(each, expected, p, d_logits)
    for c in range(lags):
        d_log_prior[c] = max(d_log_prior[c], 0.0)
    for k in range(regimes):
        d_log_init[k] = d_log_obs[k, 0].sum()
    return loglik + largest


def exact_lag_loglik_and_adjoint(log_obs, logits, log_init, log_prior):
    """:func:`loglik_and_adjoint` by the exact recursion for each lag, free of underflow."""
    by_step = np.ascontiguousarray(logits.transpose(2, 0, 1))
    found = [
        exact_loglik_and_adjoint(np.ascontiguousarray(lag.T), by_step, log_init) for lag in log_obs.transpose(2, 0, 1)
    ]
    total = np.where(log_prior < math.inf, log_prior, math.nan) + [one[0] for one in found]
    with np.errstate(invalid="ignore"):
        loglik = np.logaddexp.reduce(total)
    if not math.isfinite(loglik):
        gradient = 0.0 if loglik == -math.inf else math.nan
        return loglik, *(np.full(values.shape, gradient) for values in (log_obs, logits, log_init, log_prior))
    weight = np.exp(total - loglik)
    d_log_obs = np.stack([share * one[1].T for share, one in zip(weight, found, strict=True)], axis=-1)
    d_logits = sum(share * one[2].transpose(1, 2, 0) for share, one in zip(weight, found, strict=True))
    return loglik, d_log_obs, d_logits, d_log_obs[:, 0].sum(axis=1), weight


_POINTER = ctypes.POINTER(ctypes.c_double)


@ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_int64] * 4, *[_POINTER] * 8)
def _exact(regimes, times, lags, steps, *pointers):
    """Exact recursion: gradients are filled into the last four arrays."""
    shapes = [(regimes, times, lags), (regimes, regimes, steps), (regimes,), (lags,)] * 2
    arrays = list(map(np.ctypeslib.as_array, pointers, shapes))
    loglik, *gradients = exact_lag_loglik_and_adjoint(*arrays[:4])
    for values, gradient in zip(arrays[4:], gradients, strict=True):
        values[...] = gradient
    return loglik


# Called back in Python for the same reason as in hmm_loglik.py: it is seldom needed and takes seconds to compile.
llvmlite.binding.add_symbol("regimelag.exact_lags", ctypes.cast(_exact, ctypes.c_void_p).value)
CALL_EXACT = types.ExternalFunction(
    "regimelag.exact_lags", types.float64(*[types.int64] * 4, *[types.CPointer(types.float64)] * 8)
)


@compiled()
def loglik_and_adjoint(each, log_obs, logits, log_init, log_prior):
    """Log-likelihood and its gradients, from arrays as in :func:`lag_marginal_loglik`, steps last in ``logits``."""
    regimes, times, lags = log_obs.shape
    steps = logits.shape[2]
    if times < 1 or lags < 1:
        raise ValueError("lag_marginal_loglik needs log_obs (regime, time, lag) with at least one time and one lag")
    if len(each) != regimes or log_init.size != regimes or logits.shape[:2] != (regimes, regimes):
        raise ValueError("lag_marginal_loglik needs one number of regimes in log_obs, log_init and transition_logits")
    if log_prior.size != lags:
        raise ValueError("lag_marginal_loglik needs log_prior (lag) with as many lags as log_obs")
    if steps not in (1, times - 1):
        raise ValueError("lag_marginal_loglik needs one step of transition_logits, or one fewer than times in log_obs")
    d_log_obs, d_logits = np.empty(log_obs.shape), np.empty(logits.shape)
    d_log_init, d_log_prior = np.empty(regimes), np.empty(lags)
    loglik = _scaled(each, log_obs, logits, log_init, log_prior, d_log_obs, d_logits, d_log_init, d_log_prior)
    if math.isnan(loglik):
        loglik = CALL_EXACT(
            regimes,
            times,
            lags,
            steps,
            log_obs.ctypes,
            logits.ctypes,
            log_init.ctypes,
            log_prior.ctypes,
            d_log_obs.ctypes,
            d_logits.ctypes,
            d_log_init.ctypes,
            d_log_prior.ctypes,
        )
    return loglik, d_log_obs, d_logits, d_log_init, d_log_prior


class LagMarginalLoglik(LoglikOp):
    """Log-likelihood with the lag marginalised, of (log_obs, logits, log_init, log_prior)."""

    gufunc_signature = "(k,t,c),(k,k,s),(k),(c)->(),(k,t,c),(k,k,s),(k),(c)"
    loop = loglik_and_adjoint
    builder = "lag_marginal_loglik"
