"""Log-likelihood of a regime chain and its gradient, in one pass.

:func:`loglik_and_adjoint` is what a sampler calls thousands of times, so it works with scaled probabilities and takes
few logarithms. It proves for each call that underflow lost nothing, and turns to the exact recursion in
:mod:`regimelag.likelihood.recursions` when it cannot.

Conventions for ``log_obs``, ``transition_logits``, ``log_init`` and ``-inf`` are those of that module. Inside, time is
the last axis, so that all but the two passes are plain loops over neighbours, which LLVM turns into vector
instructions.

References
----------
.. [1] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196
.. [2] Hamilton, J. D. (1989). doi:10.2307/1912559
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from regimelag.likelihood.recursions import check_shapes, exact_loglik_and_adjoint

# numba's file cache watches the file of a function and not what it imports. So a cached function calls nothing from
# another file.
FUSED = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
SUMMED = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}

RESCALE_EVERY = 8
CERTAIN = 1e-200
LOWEST = -708.0


# ---------------------------------------------------------------------------------------------------------------------
# An exponential that LLVM can turn into vector instructions. A call into the C library cannot be.
#
# With n = round(x / log 2) and r = x - n log 2, exp(x) = 2^n exp(r) and |r| <= 0.347. Adding 1.5 * 2^52 rounds to an
# integer and leaves that integer in the low bits of the sum, from where a shift moves it into the exponent. The Taylor
# series to r^13 is exact to rounding on that range.
# ---------------------------------------------------------------------------------------------------------------------


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


@njit(**FUSED)
def _exp_nonpositive(x):
    """Exponential of ``x <= 0``; zero below -708, where doubles end. NaN stays NaN."""
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
# Write o[j,t] for the density at time t, p[i,j,t] for the softmax of the logits, and
#
#     a[j,t] = o[j,t] * sum_i a[i,t-1] p[i,j,t-1]          forward,  a[j,0] = init[j] o[j,0]
#     v[j,t] = o[j,t] * m[j,t]                             backward, m[j,T-1] = 1
#     m[i,t] = sum_j p[i,j,t] v[j,t+1]
#
# The likelihood is sum_j a[j,T-1]. It is also z[t] = sum_i a[i,t] m[i,t] for every t, up to scale: the sum over all
# steps i -> j of a[i,t] p[i,j,t] v[j,t+1], whose share of z[t] is the probability of that step given all data. With
# w[i,t] = a[i,t] / z[t],
#
#     d loglik / d log_obs[i,t]  = w[i,t] m[i,t]                                smoothed probability
#     d loglik / d logits[i,j,t] = w[i,t] p[i,j,t] (v[j,t+1] - m[i,t])          expected minus predicted steps
#     d loglik / d log_init[i]   = smoothed probability at time 0
#
# Scaling. At each time o is divided by its maximum and p sums to one over destinations, so a and v never grow. Each is
# brought back to size one every RESCALE_EVERY times. The factors of `a` go into the log-likelihood; those of `v` cancel
# in w m and w v.
#
# What underflow can do. No entry of o, p, a or v exceeds one, but for those of `a` before the first rescaling, which do
# not exceed the number of regimes. Whatever is lost at one step is below 1e-306, so it can change the likelihood by no
# more than a share of about 1e-306 / z[t]. If z[t] >= CERTAIN at every step, the sum of all that was lost is nothing.
# If not, the two passes may have lost the paths that matter (two absorbing regimes, early evidence for one and stronger
# late evidence for the other), and the caller turns to the exact recursion. NaN, dead ends and impossible rows all end
# as a z[t] that is zero or NaN, so they take the same way out.
#
# Memory. A series of a million rows spends more time on fetching new memory than on arithmetic. So p is made where the
# gradient of the logits will be, a where the smoothed probabilities will be, and m takes the place of o.
#
# Number of regimes. Functions take a tuple, `each`, with one entry a regime. Its length is part of its type, so LLVM
# knows it, unrolls the loops over regimes, and keeps in registers what `_registers` holds.
# ---------------------------------------------------------------------------------------------------------------------


@intrinsic
def _registers(typing_context, each):  # noqa: ARG001
    """Room for one float a regime that no other array can overlap."""
    count = ir.Constant(ir.IntType(64), len(each))

    def generate(context, builder, signature, args):  # noqa: ARG001
        return cgutils.alloca_once(builder, ir.DoubleType(), size=count)

    return types.CPointer(types.float64)(each), generate


@njit(**FUSED)
def _softmax_of_two(logits, p):
    """Softmax over the destination of (origin, destination, step), with one exponential a pair."""
    for i in range(2):
        to0, to1, p0, p1 = logits[i, 0], logits[i, 1], p[i, 0], p[i, 1]
        for step in range(to0.size):
            ratio = _exp_nonpositive(-abs(to0[step] - to1[step]))
            # The last term is zero, but NaN for +inf: no softmax can weigh that.
            larger = 1.0 / (1.0 + ratio) + 0.0 * max(to0[step], to1[step])
            smaller = ratio * larger
            p0[step] = larger if to0[step] >= to1[step] else smaller
            p1[step] = smaller if to0[step] >= to1[step] else larger


@njit(**FUSED)
def fill_softmax(each, logits, p):
    """Fill ``p`` with the softmax over the destination of logits (origin, destination, step)."""
    if len(each) == 2:  # noqa: PLR2004
        _softmax_of_two(logits, p)
        return
    steps = logits.shape[2]
    largest, total = np.empty(steps), np.empty(steps)
    for i in range(len(each)):
        for step in range(steps):
            largest[step] = logits[i, 0, step]
            total[step] = 0.0
        for j in range(1, len(each)):
            for step in range(steps):
                largest[step] = max(largest[step], logits[i, j, step])
        for j in range(len(each)):
            for step in range(steps):
                p[i, j, step] = _exp_nonpositive(logits[i, j, step] - largest[step])
                total[step] += p[i, j, step]
        for step in range(steps):
            total[step] = 1.0 / total[step]
        for j in range(len(each)):
            for step in range(steps):
                p[i, j, step] *= total[step]


@njit(**SUMMED)
def _scale_two(log_obs, obs):
    """Exponential of (regime, time), each time divided by the larger of the two; return the sum of the larger logs."""
    left, right, obs0, obs1 = log_obs[0], log_obs[1], obs[0], obs[1]
    total = 0.0
    for t in range(left.size):
        ratio = _exp_nonpositive(-abs(left[t] - right[t]))
        obs0[t] = 1.0 if left[t] >= right[t] else ratio
        obs1[t] = ratio if left[t] >= right[t] else 1.0
        total += max(left[t], right[t])
    return total


@njit(**SUMMED)
def _scale(each, log_obs, obs):
    """Exponential of (regime, time), each time divided by the largest; return the sum of the largest logs."""
    if len(each) == 2:  # noqa: PLR2004
        return _scale_two(log_obs, obs)
    times = log_obs.shape[1]
    largest = np.empty(times)
    for t in range(times):
        largest[t] = log_obs[0, t]
    for k in range(1, len(each)):
        for t in range(times):
            largest[t] = max(largest[t], log_obs[k, t])
    for k in range(len(each)):
        for t in range(times):
            obs[k, t] = _exp_nonpositive(log_obs[k, t] - largest[t])
    return largest.sum()


@njit(**FUSED)
def _passes(each, obs, p, a, v):
    """Run both passes in one loop: neither waits for the other, so the processor overlaps them.

    ``a`` arrives with its first time and leaves as the forward messages, ``v`` leaves as the backward ones. Returns the
    factors taken out of ``a``. A ``p`` of one step holds throughout.
    """
    steps = obs.shape[1] - 1
    hop = 1 if p.shape[2] == steps else 0
    factors = np.ones(steps // RESCALE_EVERY + 1)
    now, following, arrived, back = _registers(each), _registers(each), _registers(each), _registers(each)
    for k in range(len(each)):
        now[k] = a[k, 0]
        back[k] = 1.0
    for step in range(steps):
        t = steps - step
        here, there = hop * step, hop * (t - 1)
        for j in range(len(each)):
            mass = now[0] * p[0, j, here]
            for i in range(1, len(each)):
                mass += now[i] * p[i, j, here]
            following[j] = mass * obs[j, step + 1]
            arrived[j] = obs[j, t] * back[j]
            v[j, t] = arrived[j]
        for i in range(len(each)):
            mass = p[i, 0, there] * arrived[0]
            for j in range(1, len(each)):
                mass += p[i, j, there] * arrived[j]
            back[i] = mass
        if step % RESCALE_EVERY == RESCALE_EVERY - 1:
            forward_total = backward_total = 0.0
            for k in range(len(each)):
                forward_total += following[k]
                backward_total += back[k]
            factors[step // RESCALE_EVERY] = forward_total
            grow_forward, grow_backward = 1.0 / forward_total, 1.0 / backward_total
            for k in range(len(each)):
                following[k] *= grow_forward
                back[k] *= grow_backward
        for k in range(len(each)):
            now[k] = following[k]
            a[k, step + 1] = now[k]
    return factors


@njit(**FUSED)
def _weigh(each, p, v, m, a):
    """Fill ``m``, and return 1 / z (step) and how many steps are in doubt."""
    steps = a.shape[1] - 1
    is_moving = p.shape[2] == steps
    z = np.zeros(steps)
    for i in range(len(each)):
        mass, arrived = m[i], a[i]
        for j in range(len(each)):
            stepped, following = p[i, j], v[j, 1:]
            constant = stepped[0] if steps > 0 else 0.0
            for step in range(steps):
                term = (stepped[step] if is_moving else constant) * following[step]
                mass[step] = term if j == 0 else mass[step] + term
        for step in range(steps):
            z[step] += arrived[step] * mass[step]
    in_doubt = 0
    for step in range(steps):
        in_doubt += 0 if z[step] >= CERTAIN else 1
        z[step] = 1.0 / z[step]
    return z, in_doubt


@njit(**SUMMED)
def _expect(each, inverse, p, v, m, a):
    """Turn ``p`` into the gradient of the logits and ``a`` into smoothed probabilities."""
    steps = inverse.size
    is_moving = p.shape[2] == steps
    for i in range(len(each)):
        mass, w = m[i], a[i]
        for step in range(steps):
            w[step] *= inverse[step]
        for j in range(len(each)):
            stepped, following = p[i, j], v[j, 1:]
            if is_moving:
                for step in range(steps):
                    stepped[step] *= w[step] * (following[step] - mass[step])
            else:
                total = 0.0
                for step in range(steps):
                    total += w[step] * (following[step] - mass[step])
                stepped[0] = stepped[0] * total if steps > 0 else 0.0
        for step in range(steps):
            w[step] *= mass[step]


@njit(**FUSED)
def _start(each, log_obs, log_init, a):
    """Fill the first time of ``a``, divided by its maximum; return what that adds to the log-likelihood.

    Other times of ``log_obs`` lose their own maximum, and so does this one in the sum of them, hence the subtraction.
    """
    largest = log_obs[0, 0] + log_init[0]
    largest_obs = log_obs[0, 0]
    for k in range(1, len(each)):
        largest = max(largest, log_obs[k, 0] + log_init[k])
        largest_obs = max(largest_obs, log_obs[k, 0])
    for k in range(len(each)):
        a[k, 0] = _exp_nonpositive(log_obs[k, 0] + log_init[k] - largest)
    return largest - largest_obs


@njit(**FUSED)
def scaled_loglik_and_adjoint(each, log_obs, logits, log_init, work, smoothed, d_logits, d_log_init):
    """Value and gradient in scaled probabilities.

    Parameters
    ----------
    each : tuple of float
        Any numbers, as many as there are regimes.
    log_obs : array (regime, time)
    logits : array (origin, destination, step)
        As many steps as ``time - 1``, or one that holds throughout.
    log_init : array (regime)
    work : array (2, regime, time)
        Overwritten.
    smoothed, d_logits, d_log_init : array
        Filled with the gradients with respect to log_obs, logits and log_init.

    Returns
    -------
    float
        The log-likelihood. NaN if underflow may have mattered, or an input is NaN or ``+inf``, or the data are
        impossible; the gradients are then meaningless.
    """
    obs, v, a, p = work[0], work[1], smoothed, d_logits
    loglik = _start(each, log_obs, log_init, a) + _scale(each, log_obs, obs)
    fill_softmax(each, logits, p)
    factors = _passes(each, obs, p, a, v)
    for factor in factors:
        loglik += math.log(factor)
    inverse, in_doubt = _weigh(each, p, v, obs, a)
    _expect(each, inverse, p, v, obs, a)
    last = 0.0
    for k in range(len(each)):
        last += a[k, -1]
    for k in range(len(each)):
        smoothed[k, -1] /= last
        d_log_init[k] = smoothed[k, 0]
    loglik += math.log(last)
    return loglik if in_doubt == 0 and math.isfinite(loglik) else math.nan


def loglik_and_adjoint(log_obs, transition_logits, log_init):
    """Log-likelihood of a regime chain and its gradient with respect to every input.

    Parameters
    ----------
    log_obs : array (time, regime)
        Log density of each row of data under each regime, in nats.
    transition_logits : array (step, origin, destination)
        Softmax over destinations gives the transition probabilities. ``step`` is ``time - 1``, or 1 for a constant
        matrix.
    log_init : array (regime)
        Log weights of the regimes at the first time, used as given.

    Returns
    -------
    loglik : float
        Log density of all rows, in nats. ``-inf`` if the data are impossible.
    d_log_obs : array (time, regime)
        Smoothed probabilities.
    d_logits : array (step, origin, destination)
        Expected transitions minus occupancy times probability, summed over steps for a constant matrix.
    d_log_init : array (regime)
        Smoothed probabilities at the first time.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Notes
    -----
    Gradients are zero where the data are impossible, and NaN, like the value, where an input is NaN or ``+inf``.
    """
    check_shapes(log_obs, transition_logits, log_init)
    times, regimes = log_obs.shape
    by_regime, by_origin = np.ascontiguousarray(log_obs.T), np.ascontiguousarray(transition_logits.transpose(1, 2, 0))
    # Made by numpy, large arrays lie on large pages, which numba does not ask for.
    work, smoothed = np.empty((2, regimes, times)), np.empty((regimes, times))
    d_logits, d_log_init = np.empty_like(by_origin), np.empty(regimes)
    loglik = scaled_loglik_and_adjoint(
        (0.0,) * regimes, by_regime, by_origin, np.ascontiguousarray(log_init), work, smoothed, d_logits, d_log_init
    )
    if math.isnan(loglik):
        return exact_loglik_and_adjoint(log_obs, transition_logits, log_init)
    return loglik, smoothed.T, d_logits.transpose(2, 0, 1), d_log_init
