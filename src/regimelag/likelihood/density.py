"""Density of each row under each regime, and its adjoints.

Rows come in runs of one episode. Within a run the scale of a regime is one number, so each run and regime is one plain
loop over rows, with a logarithm that LLVM can turn into vector instructions. Any order of episodes is right; long runs
are fast.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# This module imports numpy and numba alone. numba's file cache watches this file and not what it imports.
CACHED = {"cache": True, "error_model": "numpy"}
FUSED = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
SUMMED = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}

HALF_LOG_TWO_PI = 0.9189385332046727418
# Squared residuals, in scales, beyond this are held here. They are finite, and so is every derivative.
FARTHEST = 1e300
# Half the degrees of freedom from which the expansion of the constant of the t is exact to rounding.
FAR_ENOUGH = 16.0


# ---------------------------------------------------------------------------------------------------------------------
# log(1 + u) for u >= 0 in vector instructions
#
# s = 1 + u = 2^k m with m in [sqrt(1/2), sqrt(2)), from the bits of s. With w = (m - 1) / (m + 1),
# log m = 2 (w + w^3/3 + w^5/5 + ...) and |w| <= 0.172, so that w^21 is beyond rounding. What 1 + u lost to rounding is
# u - (s - 1), and adds that much over s.
# ---------------------------------------------------------------------------------------------------------------------


@intrinsic
def _float_to_bits(typing_context, x):  # noqa: ARG001
    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.uint64))

    return types.uint64(types.float64), generate


@intrinsic
def _bits_to_float(typing_context, bits):  # noqa: ARG001
    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.uint64), generate


SQRT_HALF_BITS = np.uint64(0x3FE6A09E00000000)
ONE_MINUS_SQRT_HALF_BITS = np.uint64(0x3FF0000000000000 - 0x3FE6A09E00000000)
MANTISSA_BITS = np.uint64(0x000FFFFFFFFFFFFF)
TWO_TO_52_BITS = np.uint64(0x4330000000000000)
EXPONENT_SHIFT = np.uint64(52)


@njit(**FUSED)
def _log1p_nonnegative(u):
    """log(1 + u) for ``0 <= u < inf``."""
    s = 1.0 + u
    bits = _float_to_bits(s) + ONE_MINUS_SQRT_HALF_BITS
    # An integer below 2^52 in the low bits of the float 2^52 is that float plus the integer.
    k = _bits_to_float((bits >> EXPONENT_SHIFT) | TWO_TO_52_BITS) - (4503599627370496.0 + 1023.0)
    f = _bits_to_float((bits & MANTISSA_BITS) + SQRT_HALF_BITS) - 1.0
    inverse = 1.0 / ((2.0 + f) * s)
    w = f * s * inverse
    lost = (u - (s - 1.0)) * (2.0 + f) * inverse
    z = w * w
    tail = 1.0 / 21.0
    tail = tail * z + 1.0 / 19.0
    tail = tail * z + 1.0 / 17.0
    tail = tail * z + 1.0 / 15.0
    tail = tail * z + 1.0 / 13.0
    tail = tail * z + 1.0 / 11.0
    tail = tail * z + 1.0 / 9.0
    tail = tail * z + 1.0 / 7.0
    tail = tail * z + 1.0 / 5.0
    tail = tail * z + 1.0 / 3.0
    log_m = 2.0 * w + 2.0 * w * (z * tail)
    return k * 6.93147180369123816490e-01 + (log_m + (k * 1.90821492927058770002e-10 + lost))


# ---------------------------------------------------------------------------------------------------------------------
# The constant of the t density against that of the normal
#
# With x = nu / 2, D(x) = log Gamma(x + 1/2) - log Gamma(x) - log(x) / 2 has the expansion
#
#     D(x) = - sum_{n>=1} (1 - 4^-n) B_2n / (n (2n - 1) x^(2n-1)),        B the Bernoulli numbers,
#
# which vanishes as nu grows, without the cancellation of the two gammas. Below FAR_ENOUGH the gammas give D, and its
# derivative climbs there by psi(x + 1/2) - psi(x) = 1/(2 x (x + 1/2)) + psi(x + 3/2) - psi(x + 1).
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _excess(x):
    """D(x) of the comment above."""
    if x < FAR_ENOUGH:
        return math.lgamma(x + 0.5) - math.lgamma(x) - 0.5 * math.log(x)
    r = 1.0 / (x * x)
    return -(1 / 8 - r * (1 / 192 - r * (1 / 640 - r * (17 / 14336 - r * (31 / 18432 - r * (691 / 180224)))))) / x


@njit(**CACHED)
def _excess_slope(x):
    """Derivative of D(x) of the comment above."""
    climb = -0.5 / x
    while x < FAR_ENOUGH:
        climb += 0.5 / (x * (x + 0.5))
        x += 1.0
    r = 1.0 / (x * x)
    series = r * (1 / 8 - r * (1 / 64 - r * (1 / 128 - r * (17 / 2048 - r * (31 / 2048 - r * (691 / 16384))))))
    return climb + 0.5 / x + series


@njit(**CACHED)
def check_density(y, location, log_scale, episode):
    """Raise ValueError unless the inputs fit together, so that no loop reads past an end."""
    if y.size != location.shape[1] or episode.size != location.shape[1]:
        raise ValueError("the observation density needs y, episode (time) and location (regime, time) of one length")
    if log_scale.shape[1] != location.shape[0]:
        raise ValueError("the observation density needs as many regimes in log_scale as in location")
    for e in episode:
        if not 0 <= e < log_scale.shape[0]:
            raise ValueError("the observation density needs every episode to be a row of log_scale (episode, regime)")


@njit(**CACHED)
def _end_of_run(episode, start):
    """First row at or after ``start`` that is in another episode."""
    stop = start + 1
    while stop < episode.size and episode[stop] == episode[start]:
        stop += 1
    return stop


# ---------------------------------------------------------------------------------------------------------------------
# Student-t. With z = (y - m) / sigma, u = z^2 / nu, c = (nu + 1) / nu / (1 + u):
#
#     log f         = D(nu / 2) - log(2 pi) / 2 - log sigma - (nu + 1) / 2 log(1 + u)
#     d / d m       = c z / sigma
#     d / d log sig = c z^2 - 1
#     d / d nu      = (D'(nu / 2) - log(1 + u) + c u) / 2
#
# The adjoint takes log(1 + u) back from log f, which costs no logarithm.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**FUSED)
def _student_t_run(y, location, log_scale, nu, log_obs):
    """Fill ``log_obs`` (row) for rows that share a regime and an episode."""
    inverse_scale = math.exp(-log_scale)
    inverse_nu = 1.0 / nu
    head = _excess(0.5 * nu) - HALF_LOG_TWO_PI - log_scale
    half = 0.5 * (nu + 1.0)
    for t in range(y.size):
        z = (y[t] - location[t]) * inverse_scale
        u = z * z * inverse_nu
        u = FARTHEST if u > FARTHEST else u
        value = head - half * _log1p_nonnegative(u)
        log_obs[t] = 0.0 if math.isnan(y[t]) else value


@njit(**SUMMED)
def _student_t_run_adjoint(y, location, log_scale, nu, log_obs, cotangent, d_location):
    """Fill ``d_location`` (row); return the gradients of log_scale and nu, summed over rows."""
    inverse_scale = math.exp(-log_scale)
    inverse_nu = 1.0 / nu
    head = _excess(0.5 * nu) - HALF_LOG_TWO_PI - log_scale
    slope = _excess_slope(0.5 * nu)
    unit = (nu + 1.0) / nu
    per_log = 2.0 / (nu + 1.0)
    d_log_scale = 0.0
    d_nu = 0.0
    for t in range(y.size):
        z = (y[t] - location[t]) * inverse_scale
        g = cotangent[t]
        missing = math.isnan(y[t])
        z = 0.0 if missing else z
        g = 0.0 if missing else g
        u = z * z * inverse_nu
        u = FARTHEST if u > FARTHEST else u
        c = unit / (1.0 + u)
        d_location[t] = g * c * z * inverse_scale
        d_log_scale += g * (c * u * nu - 1.0)
        d_nu += g * (slope - (head - log_obs[t]) * per_log + c * u)
    return d_log_scale, 0.5 * d_nu


@njit(**CACHED)
def fill_student_t(y, location, log_scale, episode, nu, log_obs):
    """Fill ``log_obs`` (regime, time); see :func:`student_t_logpdf`."""
    start = 0
    while start < y.size:
        stop = _end_of_run(episode, start)
        for k in range(location.shape[0]):
            scale = log_scale[episode[start], k]
            _student_t_run(y[start:stop], location[k, start:stop], scale, nu, log_obs[k, start:stop])
        start = stop


@njit(**CACHED)
def fill_student_t_adjoint(y, location, log_scale, episode, nu, log_obs, cotangent, d_location, d_log_scale):
    """Fill the gradients of location and log_scale, return that of nu; see :func:`student_t_logpdf_adjoint`."""
    d_log_scale.fill(0.0)
    d_nu = 0.0
    start = 0
    while start < y.size:
        stop = _end_of_run(episode, start)
        for k in range(location.shape[0]):
            of_scale, of_nu = _student_t_run_adjoint(
                y[start:stop],
                location[k, start:stop],
                log_scale[episode[start], k],
                nu,
                log_obs[k, start:stop],
                cotangent[k, start:stop],
                d_location[k, start:stop],
            )
            d_log_scale[episode[start], k] += of_scale
            d_nu += of_nu
        start = stop
    return d_nu


def student_t_logpdf(y, location, log_scale, episode, nu):
    """Log density of each row under each regime, Student-t.

    Parameters
    ----------
    y : array (time)
        Response; NaN where it is missing.
    location : array (regime, time)
        In units of ``y``.
    log_scale : array (episode, regime)
        Log of the scale of the t, which is not its standard deviation.
    episode : int array (time)
        Row of ``log_scale`` that holds at each time.
    nu : float
        Degrees of freedom.

    Returns
    -------
    array (regime, time)
        In nats; 0 where ``y`` is missing.

    Raises
    ------
    ValueError
        If the shapes do not fit together or an episode is not a row of ``log_scale``.
    """
    check_density(y, location, log_scale, episode)
    location = np.ascontiguousarray(location)
    log_obs = np.empty_like(location)
    fill_student_t(y, location, log_scale, episode, nu, log_obs)
    return log_obs


def student_t_logpdf_adjoint(y, location, log_scale, episode, nu, log_obs, cotangent):
    """Gradients of the sum of ``cotangent`` (regime, time) times :func:`student_t_logpdf`.

    ``log_obs`` is what that function returned for the same inputs.

    Returns
    -------
    d_location : array (regime, time)
    d_log_scale : array (episode, regime)
    d_nu : float
    """
    check_density(y, location, log_scale, episode)
    location, log_obs, cotangent = map(np.ascontiguousarray, (location, log_obs, cotangent))
    d_location, d_log_scale = np.empty_like(location), np.empty(log_scale.shape)
    d_nu = fill_student_t_adjoint(y, location, log_scale, episode, nu, log_obs, cotangent, d_location, d_log_scale)
    return d_location, d_log_scale, d_nu


# ---------------------------------------------------------------------------------------------------------------------
# Normal. With z = (y - m) / sigma: log f = - log(2 pi) / 2 - log sigma - z^2 / 2, and the derivatives are z / sigma for
# the location and z^2 - 1 for the log scale.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**FUSED)
def fill_normal(y, location, log_scale, episode, log_obs):
    """Fill ``log_obs`` (regime, time); see :func:`normal_logpdf`."""
    inverse_scale = np.exp(-log_scale)
    for k in range(location.shape[0]):
        for t in range(y.size):
            e = episode[t]
            z = (y[t] - location[k, t]) * inverse_scale[e, k]
            value = -HALF_LOG_TWO_PI - log_scale[e, k] - 0.5 * z * z
            log_obs[k, t] = 0.0 if math.isnan(y[t]) else value


@njit(**FUSED)
def fill_normal_adjoint(y, location, log_scale, episode, cotangent, d_location, d_log_scale):
    """Fill the gradients of location and log_scale; see :func:`normal_logpdf_adjoint`."""
    inverse_scale = np.exp(-log_scale)
    d_log_scale.fill(0.0)
    for k in range(location.shape[0]):
        for t in range(y.size):
            e = episode[t]
            missing = math.isnan(y[t])
            z = 0.0 if missing else (y[t] - location[k, t]) * inverse_scale[e, k]
            g = 0.0 if missing else cotangent[k, t]
            d_location[k, t] = g * z * inverse_scale[e, k]
            d_log_scale[e, k] += g * (z * z - 1.0)


def normal_logpdf(y, location, log_scale, episode):
    """Log density of each row under each regime, normal.

    Parameters
    ----------
    y, location, log_scale, episode
        As in :func:`student_t_logpdf`; the scale is the standard deviation.

    Returns
    -------
    array (regime, time)
        In nats; 0 where ``y`` is missing.

    Raises
    ------
    ValueError
        If the shapes do not fit together or an episode is not a row of ``log_scale``.
    """
    check_density(y, location, log_scale, episode)
    location = np.ascontiguousarray(location)
    log_obs = np.empty_like(location)
    fill_normal(y, location, log_scale, episode, log_obs)
    return log_obs


def normal_logpdf_adjoint(y, location, log_scale, episode, cotangent):
    """Gradients of the sum of ``cotangent`` (regime, time) times :func:`normal_logpdf`.

    Returns
    -------
    d_location : array (regime, time)
    d_log_scale : array (episode, regime)
    """
    check_density(y, location, log_scale, episode)
    location, cotangent = map(np.ascontiguousarray, (location, cotangent))
    d_location, d_log_scale = np.empty_like(location), np.empty(log_scale.shape)
    fill_normal_adjoint(y, location, log_scale, episode, cotangent, d_location, d_log_scale)
    return d_location, d_log_scale
