"""Log-likelihood of an uncertain point lag and its gradient, with lags and regimes summed out, in one pass.

What :mod:`regimelag.likelihood.chain` does for one chain is done here for many that share their transitions: one for
each *combination* of lags, of which every block of time draws one. Models, conventions for ``-inf`` and the exact
recursion that takes over where scaled probabilities may fail are in :mod:`.mixture_recursions`.

References
----------
.. [1] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from regimelag.likelihood.chain import fill_softmax
from regimelag.likelihood.mixture_recursions import check_mixture, exact_fill

# numba's file cache watches the file of a function and not what it imports. So a cached function calls nothing from
# another file, and the exponential of chain.py, with its two casts, is here once more.
FUSED = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
SUMMED = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}

# Combinations whose passes run side by side.
SIDE_BY_SIDE = (0.0,) * 4
CERTAIN = 1e-200
LOWEST = -708.0
LOG_TWO = 0.6931471805599453
# Unsigned, so that numba does not ask whether an index counts from the end.
ZERO, ONE, RESCALE_EVERY = np.uintp(0), np.uintp(1), np.uintp(8)


@intrinsic
def _float_to_bits(typing_context, x):  # noqa: ARG001
    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


@intrinsic
def _bits_to_float(typing_context, bits):  # noqa: ARG001
    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


@intrinsic
def _registers(typing_context, rows, columns):  # noqa: ARG001
    """Room for one float for each pair of entries of two tuples, that no other array can overlap."""
    count = ir.Constant(ir.IntType(64), len(rows) * len(columns))

    def generate(context, builder, signature, args):  # noqa: ARG001
        return cgutils.alloca_once(builder, ir.DoubleType(), size=count)

    return types.CPointer(types.float64)(rows, columns), generate


@njit(**FUSED)
def _exp_nonpositive(x):
    """Exponential of ``x <= 0``; zero below -708. See chain.py."""
    rounded = x * 1.4426950408889634 + 6755399441055744.0
    n = rounded - 6755399441055744.0
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    scaled = _bits_to_float(_float_to_bits(p) + (_float_to_bits(rounded) << 52))
    return 0.0 if x < LOWEST else scaled


# ---------------------------------------------------------------------------------------------------------------------
# Value and gradient in one pass
#
# Within a block, each combination c runs the recursions of chain.py by itself. With o[c,j,t] for the density,
# p[i,j,t] for the step from t to t + 1 and s, e for the first and last time of the block,
#
#     a[c,j,t] = o[c,j,t] sum_i a[c,i,t-1] p[i,j,t-1]          forward,  a[c,j,s] = enter[j] o[c,j,s]
#     m[c,i,t] = sum_j p[i,j,t] o[c,j,t+1] m[c,j,t+1]          backward, m[c,i,e] = leave[i]
#
# Blocks meet in two vectors over regimes. Everything is linear, so a block hands on the sum over its combinations:
#
#     mixed[j] = sum_c prior[c] a[c,j,e],    enter of the next block [j] = sum_i mixed[i] p[i,j,e]
#     v[j]     = sum_c prior[c] o[c,j,s] m[c,j,s],    leave of the block before [i] = sum_j p[i,j,s-1] v[j]
#
# The first block is entered with init, the last is left with ones, and the likelihood is the sum of its mixed. In a
# block, z[c] = sum_i a[c,i,t] m[c,i,t] is the same at every t up to scale. The share of prior[c] z[c] in its sum over
# combinations is W[c], the probability that the block drew c, given all data. Hence the gradient [1]_:
#
#     d loglik / d log_obs[c,i,t]  = W[c] a[c,i,t] m[c,i,t] / z[c]              probability of c and i at t
#     d loglik / d log_prior[c]    = sum over blocks of W[c]
#     d loglik / d logits[i,j,t]   = p[i,j,t] (S[i,j,t] - sum_k p[i,k,t] S[i,k,t])
#     d loglik / d log_init[i]     = sum_c of the probability of c and i at time 0
#
# where p S is the probability of the step i -> j at t. Inside a block S[i,j,t] is the sum over c of
# W[c] / z[c] a[c,i,t] o[c,j,t+1] m[c,j,t+1]. Between two it is mixed[i] v[j], scaled so that sum_j enter[j] v[j] = 1,
# which W[c] / z[c] at s in the place of prior[c] in v brings about.
#
# Scaling. At each time and combination o is divided by its maximum over regimes. The sum of the logs of those is kept
# for each combination, since combinations may be thousands of nats apart. Every RESCALE_EVERY times a and m of each
# combination are divided by a power of two, which costs no logarithm, and for a the exponents are summed. The factors
# of m cancel in W m / z, which takes z anew at each time. prior[c] times all factors of c, over its maximum over c, is
# what `mixed` weighs a with.
#
# What underflow can do. As in chain.py no entry of o, p, a, m exceeds two or so, what is lost at one step is below
# 1e-306, and it changes the likelihood of a combination by no more than a share of 1e-306 / z. So one asks for
# z[c] >= CERTAIN at every time and for every combination that may be drawn. Where blocks meet, a combination whose
# weight is below 1e-308 falls out of `mixed`. So enter[j] of the next block lacks no more than that, which is one more
# loss at the block's first step, under the same guard. It falls out of v with its W, which is then below 1e-100. If z
# is too small somewhere, or not a number, the caller turns to the exact recursion. NaN, dead ends, impossible rows and
# a combination that the data exclude all take that way out.
#
# Order. Time is the last axis of all arrays, so that all but the two passes are loops over neighbours, which LLVM turns
# into vector instructions. The passes wait for one multiplication after the other; as many combinations as
# SIDE_BY_SIDE has entries run together to fill the wait. That is faster than laying combinations last: one would have
# to turn log_obs and its gradient round, and sum over combinations at each time.
#
# Functions take a tuple, `each`, with one entry a regime, for the reason given in chain.py.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**SUMMED)
def _scale_two(left, right, obs_left, obs_right):
    """Exponential of two rows, each time divided by the larger; return the sum of the larger logs."""
    total = 0.0
    for t in range(left.size):
        ratio = _exp_nonpositive(-abs(left[t] - right[t]))
        obs_left[t] = 1.0 if left[t] >= right[t] else ratio
        obs_right[t] = ratio if left[t] >= right[t] else 1.0
        total += max(left[t], right[t])
    return total


@njit(**SUMMED)
def _scale(each, log_obs, obs, start, stop):
    """Exponential of (regime, time) in one block, each time divided by the largest; return the sum of the largest."""
    if len(each) == 2:  # noqa: PLR2004
        return _scale_two(log_obs[0, start:stop], log_obs[1, start:stop], obs[0, start:stop], obs[1, start:stop])
    total = 0.0
    for t in range(start, stop):
        largest = log_obs[0, t]
        for k in range(1, len(each)):
            largest = max(largest, log_obs[k, t])
        for k in range(len(each)):
            obs[k, t] = _exp_nonpositive(log_obs[k, t] - largest)
        total += largest
    return total


@njit(**FUSED, forceinline=True)
def _shrink(each, lane, messages):
    """Divide the messages (lane, regime) of one lane by the power of two at or below their sum; return its exponent."""
    total = messages[lane * len(each)]
    for k in range(1, len(each)):
        total += messages[lane * len(each) + k]
    biased = _float_to_bits(total) >> 52
    inverse = _bits_to_float((2046 - biased) << 52)
    for k in range(len(each)):
        messages[lane * len(each) + k] *= inverse
    return biased - 1023


@njit(**FUSED)
def _forward(each, first, start, stop, obs, p, a, exponent):
    """Run the forward pass of SIDE_BY_SIDE combinations through a block, from its first time, which is filled.

    Beyond the last combination, the last is run again.
    """
    regimes, lanes, last = len(each), len(SIDE_BY_SIDE), obs.shape[0] - 1
    now, following = _registers(SIDE_BY_SIDE, each), _registers(SIDE_BY_SIDE, each)
    taken = _registers(SIDE_BY_SIDE, (0.0,))
    for w in range(lanes):
        taken[w] = 0.0
        for k in range(regimes):
            now[w * regimes + k] = a[min(first + w, last), k, start]
    for t in range(start + ONE, stop):
        for w in range(lanes):
            for j in range(regimes):
                mass = now[w * regimes] * p[0, j, t - ONE]
                for i in range(1, regimes):
                    mass += now[w * regimes + i] * p[i, j, t - ONE]
                following[w * regimes + j] = mass * obs[min(first + w, last), j, t]
        if (t - start) % RESCALE_EVERY == ZERO:
            for w in range(lanes):
                taken[w] += _shrink(each, w, following)
        for w in range(lanes):
            for k in range(regimes):
                now[w * regimes + k] = following[w * regimes + k]
                a[min(first + w, last), k, t] = now[w * regimes + k]
    for w in range(lanes):
        exponent[min(first + w, last)] = taken[w]


@njit(**FUSED)
def _back(each, first, start, stop, obs, p, leave, m):
    """Run the backward pass of SIDE_BY_SIDE combinations through a block; fill m (lane, regime, time)."""
    regimes, lanes, last = len(each), len(SIDE_BY_SIDE), obs.shape[0] - 1
    now, arrived = _registers(SIDE_BY_SIDE, each), _registers(SIDE_BY_SIDE, each)
    for w in range(lanes):
        for k in range(regimes):
            now[w * regimes + k] = leave[k]
            m[w, k, stop - ONE] = leave[k]
    for back in range(ONE, stop - start):
        t = stop - ONE - back
        for w in range(lanes):
            for j in range(regimes):
                arrived[w * regimes + j] = now[w * regimes + j] * obs[min(first + w, last), j, t + ONE]
            for i in range(regimes):
                mass = p[i, 0, t] * arrived[w * regimes]
                for j in range(1, regimes):
                    mass += p[i, j, t] * arrived[w * regimes + j]
                now[w * regimes + i] = mass
        if back % RESCALE_EVERY == ZERO:
            for w in range(lanes):
                _shrink(each, w, now)
        for w in range(lanes):
            for k in range(regimes):
                m[w, k, t] = now[w * regimes + k]


@njit(**SUMMED)
def _expect(each, weight, start, stop, obs, p, m, a, expected):
    """Turn ``a`` (regime, time) of a combination into probabilities, add its part to S, in one block.

    ``m`` at t is made once more from that at t + 1: between the two its scale may have changed. Returns how many times
    are in doubt.
    """
    regimes, last = len(each), stop - ONE
    arrived, mass = _registers(each, (0.0,)), _registers(each, (0.0,))
    in_doubt = 0
    for t in range(start, last):
        for j in range(regimes):
            arrived[j] = obs[j, t + ONE] * m[j, t + ONE]
        z = 0.0
        for i in range(regimes):
            mass[i] = p[i, 0, t] * arrived[0]
            for j in range(1, regimes):
                mass[i] += p[i, j, t] * arrived[j]
            z += a[i, t] * mass[i]
        in_doubt += 0 if z >= CERTAIN else 1
        share = weight / z
        for i in range(regimes):
            leaving = a[i, t] * share
            a[i, t] = leaving * mass[i]
            for j in range(regimes):
                expected[i, j, t] += leaving * arrived[j]
    z = 0.0
    for k in range(regimes):
        z += a[k, last] * m[k, last]
    for k in range(regimes):
        a[k, last] *= m[k, last] * (weight / z)
    return in_doubt + (0 if z >= CERTAIN else 1)


@njit(**FUSED)
def _mix(each, log_weight, last, a, weight, mixed):
    """Fill ``weight`` (combination), over its maximum, and ``mixed`` (regime), over its sum; return the log of both."""
    largest = -math.inf
    for c in range(log_weight.size):
        largest = max(largest, log_weight[c])
    total = 0.0
    for k in range(len(each)):
        mixed[k] = 0.0
    for c in range(log_weight.size):
        weight[c] = _exp_nonpositive(log_weight[c] - largest)
        for k in range(len(each)):
            mixed[k] += weight[c] * a[c, k, last]
    for k in range(len(each)):
        total += mixed[k]
    for k in range(len(each)):
        mixed[k] /= total
    return largest + math.log(total)


@njit(**FUSED)
def _forward_block(each, start, stop, enter, log_obs, p, log_prior, obs, a, weight, mixed):
    """Run a block forward; return its part of the log-likelihood, NaN if an input is not a number."""
    log_weight, exponent = np.empty(log_prior.size), np.empty(log_prior.size)
    for c in range(log_prior.size):
        log_weight[c] = _scale(each, log_obs[c], obs[c], start, stop)
        if not math.isfinite(log_weight[c]):
            return math.nan
        for k in range(len(each)):
            a[c, k, start] = enter[k] * obs[c, k, start]
    for c in range(0, log_prior.size, len(SIDE_BY_SIDE)):
        _forward(each, c, start, stop, obs, p, a, exponent)
    for c in range(log_prior.size):
        log_weight[c] += log_prior[c] + exponent[c] * LOG_TWO
    return _mix(each, log_weight, stop - ONE, a, weight, mixed)


@njit(**FUSED)
def _back_block(each, start, stop, leave, p, log_prior, obs, a, m, weight, expected, arrived):
    """Run a block backward and fill its gradients, and v in ``arrived`` (regime); return how much is in doubt."""
    total = 0.0
    for c in range(weight.size):
        z = 0.0
        for k in range(len(each)):
            z += a[c, k, stop - ONE] * leave[k]
        weight[c] *= z
        total += weight[c]
    in_doubt = 0
    for k in range(len(each)):
        arrived[k] = 0.0
    for c in range(weight.size):
        lane = c % len(SIDE_BY_SIDE)
        if lane == 0:
            _back(each, c, start, stop, obs, p, leave, m)
        if log_prior[c] == -math.inf:
            weight[c] = 0.0
            for k in range(len(each)):
                a[c, k, start:stop] = 0.0
            continue
        weight[c] /= total
        z = 0.0
        for k in range(len(each)):
            z += a[c, k, start] * m[lane, k, start]
        for k in range(len(each)):
            arrived[k] += weight[c] / z * obs[c, k, start] * m[lane, k, start]
        in_doubt += _expect(each, weight[c], start, stop, obs[c], p, m[lane], a[c], expected)
    return in_doubt


@njit(**FUSED)
def _enter(each, before, p, mixed, enter):
    """Fill ``enter`` of a block from ``mixed`` of the one that ends at ``before``."""
    for j in range(len(each)):
        enter[j] = 0.0
        for i in range(len(each)):
            enter[j] += mixed[i] * p[i, j, before]


@njit(**FUSED)
def _step_between(each, before, p, mixed, arrived, leave, expected):
    """Fill ``leave`` of the block that ends at ``before``, whose maximum is one, and S of the step from there."""
    largest = 0.0
    for i in range(len(each)):
        leave[i] = 0.0
        for j in range(len(each)):
            leave[i] += p[i, j, before] * arrived[j]
            expected[i, j, before] = mixed[i] * arrived[j]
        largest = max(largest, leave[i])
    for i in range(len(each)):
        leave[i] /= largest


@njit(**FUSED)
def _moving(each, p, steps):
    """Transition probabilities of each step: ``p`` itself, or its one step for all."""
    if p.shape[2] == steps:
        return p
    moving = np.empty((len(each), len(each), steps))
    for i in range(len(each)):
        for j in range(len(each)):
            moving[i, j].fill(p[i, j, 0])
    return moving


@njit(**SUMMED)
def _adjoin_logits(each, expected, p, d_logits):
    """Turn ``p`` (origin, destination, step) into the gradient of the logits; sum it if these are constant."""
    total = np.empty(p.shape[2])
    for i in range(len(each)):
        total.fill(0.0)
        for j in range(len(each)):
            for t in range(total.size):
                total[t] += p[i, j, t] * expected[i, j, t]
        for j in range(len(each)):
            for t in range(total.size):
                p[i, j, t] *= expected[i, j, t] - total[t]
    if d_logits.shape[2] != total.size:
        for i in range(len(each)):
            for j in range(len(each)):
                change = 0.0
                for t in range(total.size):
                    change += p[i, j, t]
                d_logits[i, j, 0] = change


@njit(**FUSED)
def _add_up(probability, d_log_obs, d_log_init, d_log_prior):
    """Fill the gradients that are sums of probabilities."""
    d_log_init.fill(0.0)
    d_log_prior.fill(0.0)
    for c in range(d_log_prior.size):
        for b in range(probability.shape[0]):
            d_log_prior[c] += probability[b, c]
        for k in range(d_log_init.size):
            d_log_init[k] += d_log_obs[c, k, 0]


@njit(**FUSED)
def scaled_lag_loglik_and_adjoint(
    each, log_obs, log_init, log_prior, block, obs, d_log_obs, d_logits, d_log_init, d_log_prior, probability
):
    """Value and gradient in scaled probabilities.

    Parameters
    ----------
    each : tuple of float
        Any numbers, as many as there are regimes.
    log_obs, log_init, log_prior, block : array
        As in :func:`lag_loglik_and_adjoint`.
    obs : array (combination, regime, time)
        Overwritten.
    d_log_obs, d_log_init, d_log_prior : array
        Filled with gradients.
    d_logits : array (origin, destination, step)
        Arrives as transition probabilities and leaves as the gradient of the logits.
    probability : array (block, combination)
        Filled with the probability of each combination in each block, given all data.

    Returns
    -------
    float
        The log-likelihood. NaN if underflow may have mattered, or an input is NaN or ``+inf``, or the data are
        impossible; the gradients are then meaningless.
    """
    regimes, times, blocks = len(each), log_obs.shape[2], probability.shape[0]
    p, a = _moving(each, d_logits, times - 1), d_log_obs
    starts = np.full(blocks + 1, np.uintp(times))
    for t in range(times - 1, -1, -1):
        starts[block[t]] = t
    mixed, enter, leave, arrived = np.empty((blocks, regimes)), np.empty(regimes), np.ones(regimes), np.empty(regimes)
    expected = np.zeros((regimes, regimes, times - 1))
    m = np.empty((len(SIDE_BY_SIDE), regimes, times))

    loglik = log_init.max()
    for k in range(regimes):
        enter[k] = _exp_nonpositive(log_init[k] - loglik)
    for b in range(blocks):
        start, stop = starts[b], starts[b + 1]
        if b > 0:
            _enter(each, start - ONE, p, mixed[b - 1], enter)
        loglik += _forward_block(each, start, stop, enter, log_obs, p, log_prior, obs, a, probability[b], mixed[b])
    if not math.isfinite(loglik):
        return math.nan

    in_doubt = 0
    for b in range(blocks - 1, -1, -1):
        start, stop = starts[b], starts[b + 1]
        in_doubt += _back_block(each, start, stop, leave, p, log_prior, obs, a, m, probability[b], expected, arrived)
        if b > 0:
            _step_between(each, start - ONE, p, mixed[b - 1], arrived, leave, expected)
    _adjoin_logits(each, expected, p, d_logits)
    _add_up(probability, d_log_obs, d_log_init, d_log_prior)
    return loglik if in_doubt == 0 else math.nan


def lag_loglik_and_adjoint(log_obs, logits, log_init, log_prior, block):
    """Log-likelihood with regimes and combinations summed out, and its gradient with respect to every input [1]_.

    Parameters
    ----------
    log_obs : array (combination, regime, time)
        Log density of each row under each regime and combination, in nats.
    logits : array (origin, destination, step)
        Entry ``t`` drives the step from ``t`` to ``t + 1``; one step for a constant matrix.
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
    d_logits : array (origin, destination, step)
        Expected transitions minus occupancy times probability, summed over steps for a constant matrix.
    d_log_init : array (regime)
        Smoothed probabilities at the first time.
    d_log_prior : array (combination)
        Expected number of blocks with each combination.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.

    Notes
    -----
    Gradients are zero where the data are impossible, and NaN, like the value, where an input is NaN or ``+inf``.
    """
    origins, destinations, steps = logits.shape
    block = np.ascontiguousarray(block)
    check_mixture(log_obs.shape, (steps, origins, destinations), log_init.size, log_prior.size, block)
    log_obs, logits, log_init, log_prior = map(np.ascontiguousarray, (log_obs, logits, log_init, log_prior))
    gradients = tuple(map(np.empty_like, (log_obs, logits, log_init, log_prior)))
    each = (0.0,) * len(log_init)
    fill_softmax(each, logits, gradients[1])
    probability = np.empty((block[-1] + 1, log_prior.size))
    loglik = scaled_lag_loglik_and_adjoint(
        each, log_obs, log_init, log_prior, block, np.empty_like(log_obs), *gradients, probability
    )
    if math.isnan(loglik):
        loglik = exact_fill(log_obs, logits, log_init, log_prior, block, *gradients)
    return loglik, *gradients
