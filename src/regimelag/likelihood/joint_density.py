"""Joint density of several responses at each row under each regime, and its adjoints.

Rows come in runs of one episode in which the same assets are observed. Within a run the scales are numbers and the
correlation of the observed assets is one matrix, factored once for each pattern of observed assets. So the work is
plain loops over rows, asset by asset, with a logarithm that LLVM can turn into vector instructions. Any order of
episodes and patterns is right; long runs are fast.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# This module imports numpy and numba alone. numba's file cache watches this file and not what it imports, so it has
# the logarithm and the constant of the t to itself, although density.py has them too.
CACHED = {"cache": True, "error_model": "numpy"}
FUSED = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
SUMMED = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}

HALF_LOG_TWO_PI = 0.9189385332046727418
# Residuals, in scales, beyond this are held here. Their squares are finite, and so is every derivative.
FARTHEST = 1e140
# Half the degrees of freedom from which the expansion of the constant of the t is exact to rounding.
FAR_ENOUGH = 16.0
# Rows that are worked on together, so that what is known of them stays in the nearest cache.
BLOCK = 256
# As many as an integer has bits for.
MOST_ASSETS = 62


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
# The constant of the t density of d assets against that of the normal
#
# With x = nu / 2, D_d(x) = log Gamma(x + d/2) - log Gamma(x) - d/2 log x. For d = 1 it has the expansion
#
#     D_1(x) = - sum_{n>=1} (1 - 4^-n) B_2n / (n (2n - 1) x^(2n-1)),      B the Bernoulli numbers,
#
# which vanishes as nu grows, without the cancellation of the two gammas. Below FAR_ENOUGH the gammas give D_1, and its
# derivative climbs there by psi(x + 1/2) - psi(x) = 1/(2 x (x + 1/2)) + psi(x + 3/2) - psi(x + 1). The steps of a half
# from x to x + d/2 give the others:
#
#     D_d(x) = sum_{j<d} D_1(x + j/2) + log(1 + j / 2x) / 2.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _excess_of_one(x):
    """D_1(x) of the comment above."""
    if x < FAR_ENOUGH:
        return math.lgamma(x + 0.5) - math.lgamma(x) - 0.5 * math.log(x)
    r = 1.0 / (x * x)
    return -(1 / 8 - r * (1 / 192 - r * (1 / 640 - r * (17 / 14336 - r * (31 / 18432 - r * (691 / 180224)))))) / x


@njit(**CACHED)
def _excess_slope_of_one(x):
    """Derivative of D_1(x) of the comment above."""
    climb = -0.5 / x
    while x < FAR_ENOUGH:
        climb += 0.5 / (x * (x + 0.5))
        x += 1.0
    r = 1.0 / (x * x)
    series = r * (1 / 8 - r * (1 / 64 - r * (1 / 128 - r * (17 / 2048 - r * (31 / 2048 - r * (691 / 16384))))))
    return climb + 0.5 / x + series


@njit(**CACHED)
def _excess(x, d):
    """D_d(x) of the comment above."""
    total = 0.0
    for j in range(d):
        total += _excess_of_one(x + 0.5 * j) + 0.5 * math.log1p(0.5 * j / x)
    return total


@njit(**CACHED)
def _excess_slope(x, d):
    """Derivative of D_d(x) of the comment above."""
    total = 0.0
    for j in range(d):
        total += _excess_slope_of_one(x + 0.5 * j) - 0.25 * j / (x * (x + 0.5 * j))
    return total


@njit(**CACHED)
def check_joint(y, location, log_scale, episode, correlation):
    """Raise ValueError unless the inputs fit together, so that no loop reads past an end."""
    assets, regimes, times = location.shape
    if assets > MOST_ASSETS:
        raise ValueError("the joint density needs no more than 62 assets")
    if y.shape != (assets, times) or episode.size != times:
        raise ValueError(
            "the joint density needs y (asset, time) and location (asset, regime, time) of the same assets, and both "
            "of them and episode (time) of one length"
        )
    if log_scale.shape[1] != assets or log_scale.shape[2] != regimes:
        raise ValueError("the joint density needs the assets and regimes of location in log_scale (..., asset, regime)")
    if correlation.shape != (assets, assets):
        raise ValueError("the joint density needs a correlation (asset, asset) of as many assets as location has")
    for e in episode:
        if not 0 <= e < log_scale.shape[0]:
            raise ValueError("the joint density needs every episode to be a row of log_scale (episode, asset, regime)")


# ---------------------------------------------------------------------------------------------------------------------
# Patterns of observed assets, and runs
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _patterns(y):
    """Number whose bits say which assets are observed at each time (time)."""
    pattern = np.zeros(y.shape[1], np.int64)
    for a in range(y.shape[0]):
        bit, values = 1 << a, y[a]
        for t in range(values.size):
            pattern[t] |= 0 if math.isnan(values[t]) else bit
    return pattern


@njit(**CACHED)
def _place(pattern, patterns):
    """Where a pattern stands among others, or how many those are."""
    p = 0
    while p < patterns.size and patterns[p] != pattern:
        p += 1
    return p


@njit(**CACHED)
def _distinct(pattern):
    """The patterns that occur, in the order of their first times."""
    found = np.empty_like(pattern)
    count = 0
    for t in range(pattern.size):
        changed = t == 0 or pattern[t] != pattern[t - 1]
        if changed and _place(pattern[t], found[:count]) == count:
            found[count] = pattern[t]
            count += 1
    return found[:count]


@njit(**CACHED)
def _end_of_run(pattern, episode, start):
    """First row at or after ``start`` that is of another pattern or episode, or beyond a block."""
    stop, last = start + 1, min(start + BLOCK, episode.size)
    while stop < last and episode[stop] == episode[start] and pattern[stop] == pattern[start]:
        stop += 1
    return stop


# ---------------------------------------------------------------------------------------------------------------------
# Student-t of the d observed assets, and the normal as its limit for infinite nu
#
# The marginal law of some assets is that of their sub-vector, with the sub-matrix S of the correlation. With
# z_a = (y_a - m_a) / sigma_a, S = L L', v = L^-1 z, w = L^-T v = S^-1 z, u = v'v / nu, c = (nu + d) / nu / (1 + u):
#
#     log f           = D_d(nu / 2) - d/2 log(2 pi) - log det S / 2 - sum log sigma_a - (nu + d) / 2 log(1 + u)
#     d / d m_a       = c w_a / sigma_a
#     d / d log sig_a = c z_a w_a - 1
#     d / d S         = (c w w' - S^-1) / 2
#     d / d nu        = (D_d'(nu / 2) - log(1 + u) + c u) / 2
#
# As nu grows, (nu + d) / 2 log(1 + u) tends to v'v / 2, and the rest has its limits in floating point. The adjoint
# takes log(1 + u) back from log f, which costs no logarithm.
#
# What is kept of L is r_i = 1 / L_ii, on the diagonal, and F_ij = L_ij / L_ii below it. Then v and x = w / r take no
# product but those with F:
#
#     v_i = r_i z_i - sum_{j<i} F_ij v_j             x_i = v_i - sum_{j>i} F_ji x_j
#
# If S is not positive definite, its factor is NaN. What is read of the correlation R is (R + R') / 2: then the gradient
# is that of each entry by itself, and not of symmetric pairs alone.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**CACHED)
def _factor(observed, correlation, factor):
    """Fill ``factor`` with that of the observed assets; return the log determinant of their correlation."""
    log_det = 0.0
    for i in range(observed.size):
        pivot = correlation[observed[i], observed[i]]
        for j in range(i):
            rest = 0.5 * (correlation[observed[i], observed[j]] + correlation[observed[j], observed[i]])
            rest *= factor[j, j]
            for n in range(j):
                rest -= factor[i, n] * factor[j, n]
            factor[i, j] = rest
            pivot -= rest * rest
        root = 1.0 / math.sqrt(pivot) if pivot > 0.0 else np.nan
        for j in range(i):
            factor[i, j] *= root
        factor[i, i] = root
        log_det -= 2.0 * math.log(root)
    return log_det


@njit(**CACHED)
def _laws(assets, patterns, correlation, nu):
    """Number of assets of each pattern, which (pattern, asset), factors (pattern, asset, asset), log densities at 0."""
    sizes, observed = np.zeros(patterns.size, np.int64), np.empty((patterns.size, assets), np.int64)
    factors, heads = np.empty((patterns.size, assets, assets)), np.empty(patterns.size)
    for p in range(patterns.size):
        for a in range(assets):
            if (patterns[p] >> a) & 1:
                observed[p, sizes[p]] = a
                sizes[p] += 1
        log_det = _factor(observed[p, : sizes[p]], correlation, factors[p])
        heads[p] = _excess(0.5 * nu, sizes[p]) - sizes[p] * HALF_LOG_TWO_PI - 0.5 * log_det
    return sizes, observed, factors, heads


@njit(**FUSED)
def _standardise(y, location, inverse_scale, root, z, v):
    """Fill ``z`` (row), and ``v`` with what it starts from."""
    for t in range(z.size):
        distance = (y[t] - location[t]) * inverse_scale
        distance = FARTHEST if distance > FARTHEST else distance
        distance = -FARTHEST if distance < -FARTHEST else distance
        z[t] = distance
        v[t] = distance * root


@njit(**FUSED)
def _subtract(multiple, known, rest):
    for t in range(rest.size):
        rest[t] -= multiple * known[t]


@njit(**FUSED)
def _add_square(values, squares):
    for t in range(values.size):
        squares[t] += values[t] * values[t]


@njit(**CACHED)
def _whiten(y, location, log_scale, observed, factor, k, start, z, v, inverse_scale, squares):
    """Fill z and v (observed asset, row), ``inverse_scale`` (observed asset) and ``squares`` (row), the sum of v^2.

    Return the sum of the log scales. Slices are of whole rows, so that numba knows them to be contiguous.
    """
    rows, volume = squares.size, 0.0
    stop = start + rows
    squares.fill(0.0)
    for i in range(observed.size):
        a = observed[i]
        volume += log_scale[a, k]
        scale = inverse_scale[i] = math.exp(-log_scale[a, k])
        _standardise(y[a, start:stop], location[a, k, start:stop], scale, factor[i, i], z[i, :rows], v[i, :rows])
        for j in range(i):
            _subtract(factor[i, j], v[j, :rows], v[i, :rows])
        _add_square(v[i, :rows], squares)
    return volume


@njit(**CACHED)
def _unwhiten(factor, d, rows, v):
    """Turn v, in the first d and rows of ``v``, into x."""
    for i in range(d - 2, -1, -1):
        for j in range(i + 1, d):
            _subtract(factor[j, i], v[j, :rows], v[i, :rows])


@njit(**FUSED)
def _density(squares, head, nu, d, log_obs):
    """Fill ``log_obs`` (row) from the squared distances and the log density at none."""
    if nu == np.inf:
        for t in range(log_obs.size):
            log_obs[t] = head - 0.5 * squares[t]
        return
    inverse_nu, half = 1.0 / nu, 0.5 * (nu + d)
    for t in range(log_obs.size):
        log_obs[t] = head - half * _log1p_nonnegative(squares[t] * inverse_nu)


@njit(**SUMMED)
def _density_adjoint(squares, head, slope, nu, d, log_obs, cotangent, weight):
    """Fill ``weight`` (row) with c times the cotangent; return the sums over rows of the cotangent and of d nu."""
    inverse_nu, per_log = 1.0 / nu, 2.0 / (nu + d)
    unit = 1.0 + d * inverse_nu
    total = d_nu = 0.0
    for t in range(log_obs.size):
        g = cotangent[t]
        u = squares[t] * inverse_nu
        c = unit / (1.0 + u)
        weight[t] = g * c
        total += g
        d_nu += g * (slope - (head - log_obs[t]) * per_log + c * u)
    return total, 0.5 * d_nu


@njit(**SUMMED)
def _pull(weight, x, root, inverse_scale, z, d_location):
    """Fill ``d_location`` (row); return the sums over rows of c w_a z_a and c w_a x_a times the cotangent."""
    of_scale = of_square = 0.0
    for t in range(z.size):
        of_z = weight[t] * x[t] * root
        d_location[t] = of_z * inverse_scale
        of_scale += of_z * z[t]
        of_square += of_z * x[t]
    return of_scale, of_square


@njit(**SUMMED)
def _moment(weight, left, right):
    total = 0.0
    for t in range(left.size):
        total += weight[t] * left[t] * right[t]
    return total


@njit(**CACHED)
def _add_moments(factor, d, weight, x, moment):
    """Add the sum over rows of c w w' times the cotangent, below the diagonal, from x (observed asset, row)."""
    rows = weight.size
    for i in range(1, d):
        for j in range(i):
            moment[i, j] += factor[i, i] * factor[j, j] * _moment(weight, x[i, :rows], x[j, :rows])


@njit(**CACHED)
def _add_d_correlation(observed, factor, moment, total, d_correlation):
    """Add the gradient of one pattern, from the sums over its rows of c w w' (lower triangle) and of the cotangent.

    S^-1 = B' B with B = L^-1, of which each column solves for a unit vector as v does for z.
    """
    d = observed.size
    inverse = np.zeros((d, d))
    for i in range(d):
        inverse[i, i] = factor[i, i]
        for j in range(i):
            for n in range(j, i):
                inverse[i, j] -= factor[i, n] * inverse[n, j]
    for i in range(d):
        for j in range(i + 1):
            found = moment[i, j]
            for n in range(i, d):
                found -= total * inverse[n, i] * inverse[n, j]
            d_correlation[observed[i], observed[j]] += 0.5 * found
            if j < i:
                d_correlation[observed[j], observed[i]] += 0.5 * found


@njit(**CACHED)
def fill_joint(y, location, log_scale, episode, correlation, nu, log_obs):
    """Fill ``log_obs`` (regime, time); see :func:`joint_logpdf`."""
    assets, regimes, times = location.shape
    pattern = _patterns(y)
    patterns = _distinct(pattern)
    sizes, observed, factors, heads = _laws(assets, patterns, correlation, nu)
    z, v, scales, squares = np.empty((assets, BLOCK)), np.empty((assets, BLOCK)), np.empty(assets), np.empty(BLOCK)
    start = 0
    while start < times:
        stop = _end_of_run(pattern, episode, start)
        p, rows = _place(pattern[start], patterns), stop - start
        seen, scale = observed[p, : sizes[p]], log_scale[episode[start]]
        for k in range(regimes):
            volume = _whiten(y, location, scale, seen, factors[p], k, start, z, v, scales, squares[:rows])
            _density(squares[:rows], heads[p] - volume, nu, sizes[p], log_obs[k, start:stop])
        start = stop


@njit(**CACHED)
def fill_joint_adjoint(
    y, location, log_scale, episode, correlation, nu, log_obs, cotangent, d_location, d_log_scale, d_correlation
):
    """Fill the gradients but for that of nu, which is returned; see :func:`joint_logpdf_adjoint`."""
    assets, regimes, times = location.shape
    pattern = _patterns(y)
    patterns = _distinct(pattern)
    sizes, observed, factors, heads = _laws(assets, patterns, correlation, nu)
    slopes = np.array([_excess_slope(0.5 * nu, d) for d in sizes])
    totals, moments = np.zeros(patterns.size), np.zeros(factors.shape)
    z, v, scales = np.empty((assets, BLOCK)), np.empty((assets, BLOCK)), np.empty(assets)
    squares, weight = np.empty(BLOCK), np.empty(BLOCK)
    d_location.fill(0.0)
    d_log_scale.fill(0.0)
    d_correlation.fill(0.0)
    d_nu = 0.0
    start = 0
    while start < times:
        stop = _end_of_run(pattern, episode, start)
        e, p, rows = episode[start], _place(pattern[start], patterns), stop - start
        d, seen, factor, of_rows = sizes[p], observed[p, : sizes[p]], factors[p], weight[:rows]
        for k in range(regimes):
            volume = _whiten(y, location, log_scale[e], seen, factor, k, start, z, v, scales, squares[:rows])
            given, found, head = cotangent[k, start:stop], log_obs[k, start:stop], heads[p] - volume
            total, of_nu = _density_adjoint(squares[:rows], head, slopes[p], nu, d, found, given, of_rows)
            totals[p] += total
            d_nu += of_nu
            _unwhiten(factor, d, rows, v)
            for i, a in enumerate(seen):
                of_location = d_location[a, k, start:stop]
                of_scale, of_square = _pull(of_rows, v[i, :rows], factor[i, i], scales[i], z[i, :rows], of_location)
                d_log_scale[e, a, k] += of_scale - total
                moments[p, i, i] += factor[i, i] * of_square
            _add_moments(factor, d, of_rows, v, moments[p])
        start = stop
    for p in range(patterns.size):
        _add_d_correlation(observed[p, : sizes[p]], factors[p], moments[p], totals[p], d_correlation)
    return d_nu


def joint_logpdf(y, location, log_scale, episode, correlation, nu):
    """Log density of each row under each regime, Student-t of all observed assets together.

    Parameters
    ----------
    y : array (asset, time)
        Responses; NaN where one is missing, which leaves the law of the others.
    location : array (asset, regime, time)
        In units of ``y``.
    log_scale : array (episode, asset, regime)
        Log of the scales of the t, which are not its standard deviations.
    episode : int array (time)
        Row of ``log_scale`` that holds at each time.
    correlation : array (asset, asset)
        Of the residuals.
    nu : float
        Degrees of freedom; infinity for the normal.

    Returns
    -------
    array (regime, time)
        In nats; 0 where no asset is observed, NaN where the correlation of the observed is not positive definite.

    Raises
    ------
    ValueError
        If the shapes do not fit together or an episode is not a row of ``log_scale``.
    """
    check_joint(y, location, log_scale, episode, correlation)
    y, location, log_scale, correlation = map(np.ascontiguousarray, (y, location, log_scale, correlation))
    log_obs = np.empty(location.shape[1:])
    fill_joint(y, location, log_scale, episode, correlation, nu, log_obs)
    return log_obs


def joint_logpdf_adjoint(y, location, log_scale, episode, correlation, nu, log_obs, cotangent):
    """Gradients of the sum of ``cotangent`` (regime, time) times :func:`joint_logpdf`.

    ``log_obs`` is what that function returned for the same inputs.

    Returns
    -------
    d_location : array (asset, regime, time)
    d_log_scale : array (episode, asset, regime)
    d_correlation : array (asset, asset)
        Symmetric: what each entry by itself does, if the density reads the mean of the matrix and its transpose.
    d_nu : float
    """
    check_joint(y, location, log_scale, episode, correlation)
    y, location, log_scale, correlation = map(np.ascontiguousarray, (y, location, log_scale, correlation))
    log_obs, cotangent = np.ascontiguousarray(log_obs), np.ascontiguousarray(cotangent)
    outputs = np.empty_like(location), np.empty_like(log_scale), np.empty_like(correlation)
    d_nu = fill_joint_adjoint(y, location, log_scale, episode, correlation, nu, log_obs, cotangent, *outputs)
    return *outputs, d_nu
