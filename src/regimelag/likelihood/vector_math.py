"""Exponential, logarithm, softmax and constants of the t density that LLVM can vectorise.

Calls of the C library cannot be vectorised; these functions use arithmetic on doubles and their bits only.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled

HALF_LOG_TWO_PI = 0.9189385332046727418
LOG_TWO = 0.6931471805599453
# Arguments below this have an exponential of zero.
LOWEST = -708.0
# Half the degrees of freedom from which the expansion of the t constant is exact up to rounding.
FAR_ENOUGH = 16.0

SQRT_HALF_BITS = np.uint64(0x3FE6A09E00000000)
ONE_MINUS_SQRT_HALF_BITS = np.uint64(0x3FF0000000000000 - 0x3FE6A09E00000000)
MANTISSA_BITS = np.uint64(0x000FFFFFFFFFFFFF)
TWO_TO_52_BITS = np.uint64(0x4330000000000000)
EXPONENT_SHIFT = np.uint64(52)


@intrinsic
def float_to_bits(typing_context, x):  # noqa: ARG001
    """The bits of a double as an unsigned integer."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.uint64))

    return types.uint64(types.float64), generate


@intrinsic
def bits_to_float(typing_context, bits):  # noqa: ARG001
    """The double with the bits of an unsigned integer."""

    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.uint64), generate


@intrinsic
def registers(typing_context, rows, columns):  # noqa: ARG001
    """Array of one double per pair of entries of two tuples, in memory that no other array overlaps."""
    count = ir.Constant(ir.IntType(64), len(rows) * len(columns))

    def generate(context, builder, signature, args):  # noqa: ARG001
        return cgutils.alloca_once(builder, ir.DoubleType(), size=count)

    return types.CPointer(types.float64)(rows, columns), generate


# ---------------------------------------------------------------------------------------------------------------------
# exp(x) for x <= 0. With n = round(x / log 2) and r = x - n log 2, exp(x) = 2^n exp(r) and |r| <= 0.347. Adding
# 1.5 * 2^52 rounds to an integer, which is then in the low bits of the sum and is shifted into the exponent. The Taylor
# series to r^13 is exact up to rounding in that range.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT)
def exp_nonpositive(x):
    """Exponential of ``x <= 0``; zero below -708, where it leaves the range of normal doubles. NaN stays NaN."""
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
    scaled = bits_to_float(float_to_bits(p) + (float_to_bits(rounded) << EXPONENT_SHIFT))
    return 0.0 if x < LOWEST else scaled


# ---------------------------------------------------------------------------------------------------------------------
# Softmax and exponential over regimes, for all times
#
# ``each`` is a tuple with one entry per regime; see hmm_loglik.py.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT)
def _softmax_of_two(logits, p):
    """Softmax over the destination of (origin, destination, step), with one exponential per pair."""
    for i in range(2):
        to0, to1, p0, p1 = logits[i, 0], logits[i, 1], p[i, 0], p[i, 1]
        for step in range(to0.size):
            ratio = exp_nonpositive(-abs(to0[step] - to1[step]))
            # The last term is zero, or NaN for +inf, whose softmax is undefined.
            larger = 1.0 / (1.0 + ratio) + 0.0 * max(to0[step], to1[step])
            smaller = ratio * larger
            p0[step] = larger if to0[step] >= to1[step] else smaller
            p1[step] = smaller if to0[step] >= to1[step] else larger


@compiled(CONTRACT)
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
                p[i, j, step] = exp_nonpositive(logits[i, j, step] - largest[step])
                total[step] += p[i, j, step]
        for step in range(steps):
            total[step] = 1.0 / total[step]
        for j in range(len(each)):
            for step in range(steps):
                p[i, j, step] *= total[step]


@compiled(REORDER)
def _scaled_exp_of_two(log_obs, obs):
    """Exponential of (regime, time), each time divided by the larger of the two; return the sum of the larger logs."""
    left, right, obs0, obs1 = log_obs[0], log_obs[1], obs[0], obs[1]
    total = 0.0
    for t in range(left.size):
        ratio = exp_nonpositive(-abs(left[t] - right[t]))
        obs0[t] = 1.0 if left[t] >= right[t] else ratio
        obs1[t] = ratio if left[t] >= right[t] else 1.0
        total += max(left[t], right[t])
    return total


@compiled(REORDER)
def fill_scaled_exp(each, log_obs, obs):
    """Exponential of (regime, time), each time divided by the largest; return the sum of the largest logs."""
    if len(each) == 2:  # noqa: PLR2004
        return _scaled_exp_of_two(log_obs, obs)
    times = log_obs.shape[1]
    largest = np.empty(times)
    for t in range(times):
        largest[t] = log_obs[0, t]
    for k in range(1, len(each)):
        for t in range(times):
            largest[t] = max(largest[t], log_obs[k, t])
    for k in range(len(each)):
        for t in range(times):
            obs[k, t] = exp_nonpositive(log_obs[k, t] - largest[t])
    return largest.sum()


# ---------------------------------------------------------------------------------------------------------------------
# log(1 + u) for u >= 0. s = 1 + u = 2^k m with m in [sqrt(1/2), sqrt(2)), from the bits of s. With
# w = (m - 1) / (m + 1), log m = 2 w + w R(w^2) and |w| <= 0.172, where the minimax polynomial R of FreeBSD's e_log.c is
# within 2^-58.45. The rounding error of 1 + u is u - (s - 1), which is divided by s and added.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT)
def log1p_nonnegative(u):
    """log(1 + u) for ``0 <= u < inf``."""
    s = 1.0 + u
    bits = float_to_bits(s) + ONE_MINUS_SQRT_HALF_BITS
    # An integer below 2^52 in the low bits of the double 2^52 gives 2^52 plus the integer.
    k = bits_to_float((bits >> EXPONENT_SHIFT) | TWO_TO_52_BITS) - (4503599627370496.0 + 1023.0)
    f = bits_to_float((bits & MANTISSA_BITS) + SQRT_HALF_BITS) - 1.0
    inverse = 1.0 / ((2.0 + f) * s)
    w = f * s * inverse
    lost = (u - (s - 1.0)) * (2.0 + f) * inverse
    z = w * w
    tail = 1.479819860511658591e-01
    tail = tail * z + 1.531383769920937332e-01
    tail = tail * z + 1.818357216161805012e-01
    tail = tail * z + 2.222219843214978396e-01
    tail = tail * z + 2.857142874366239149e-01
    tail = tail * z + 3.999999999940941908e-01
    tail = tail * z + 6.666666666666735130e-01
    log_m = 2.0 * w + w * (z * tail)
    return k * 6.93147180369123816490e-01 + (log_m + (k * 1.90821492927058770002e-10 + lost))


# ---------------------------------------------------------------------------------------------------------------------
# Normalising constant of the t density of d responses, relative to that of the normal
#
# With x = nu / 2, D_d(x) = log Gamma(x + d/2) - log Gamma(x) - d/2 log x. For d = 1 it has the expansion
#
#     D_1(x) = - sum_{n>=1} (1 - 4^-n) B_2n / (n (2n - 1) x^(2n-1)),      B the Bernoulli numbers,
#
# which vanishes as nu grows, without cancellation of the two gamma functions. Below FAR_ENOUGH the gamma functions give
# D_1, and its derivative follows from psi(x + 1/2) - psi(x) = 1/(2 x (x + 1/2)) + psi(x + 3/2) - psi(x + 1). D_d for d
# > 1 is a sum over half steps from x to x + d/2:
#
#     D_d(x) = sum_{j<d} D_1(x + j/2) + log(1 + j / 2x) / 2.
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _excess_of_one(x):
    """D_1(x) as defined above."""
    if x < FAR_ENOUGH:
        return math.lgamma(x + 0.5) - math.lgamma(x) - 0.5 * math.log(x)
    r = 1.0 / (x * x)
    return -(1 / 8 - r * (1 / 192 - r * (1 / 640 - r * (17 / 14336 - r * (31 / 18432 - r * (691 / 180224)))))) / x


@compiled()
def _excess_slope_of_one(x):
    """Derivative of D_1(x)."""
    climb = -0.5 / x
    while x < FAR_ENOUGH:
        climb += 0.5 / (x * (x + 0.5))
        x += 1.0
    r = 1.0 / (x * x)
    series = r * (1 / 8 - r * (1 / 64 - r * (1 / 128 - r * (17 / 2048 - r * (31 / 2048 - r * (691 / 16384))))))
    return climb + 0.5 / x + series


@compiled()
def t_constant(x, d):
    """D_d(x) as defined above."""
    total = 0.0
    for j in range(d):
        total += _excess_of_one(x + 0.5 * j) + 0.5 * math.log1p(0.5 * j / x)
    return total


@compiled()
def t_constant_slope(x, d):
    """Derivative of D_d(x)."""
    total = 0.0
    for j in range(d):
        total += _excess_slope_of_one(x + 0.5 * j) - 0.25 * j / (x * (x + 0.5 * j))
    return total
