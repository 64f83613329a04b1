"""Joint log density of several responses in each regime: Student-t, and the normal as its limit."""

# PyTensor prescribes the names and arguments of an Op's methods.
# ruff: noqa: D102

from __future__ import annotations

import math

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph import Apply
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood.checks import agree, as_float, require, require_aligned, shapes
from regimelag.likelihood.density import FARTHEST, LogpdfAdjointOp, LogpdfOp, t_density_in_jax
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled
from regimelag.likelihood.vector_math import HALF_LOG_TWO_PI, log1p_nonnegative, t_constant, t_constant_slope

# Number of times processed together, so that intermediate values stay in the L1 cache.
BLOCK = 256
# Patterns of observed responses are bits of an int64.
MOST_RESPONSES = 62


def joint_logpdf(
    y: TensorLike,
    location: TensorLike,
    log_scale: TensorLike,
    episode: TensorLike,
    correlation: TensorLike,
    nu: TensorLike,
) -> TensorVariable:
    """Multivariate Student-t log density of all observed responses in each period and regime.

    Parameters
    ----------
    y : tensor (..., response, time)
        Responses; NaN where missing. Missing responses are marginalised.
    location : tensor (..., response, regime, time)
        In units of ``y``.
    log_scale : tensor (..., episode, response, regime)
        Log of the scales of the t. A standard deviation is a scale times sqrt(nu / (nu - 2)).
    episode : integer tensor (..., time)
        Index of each period's episode in ``log_scale``.
    correlation : tensor (..., response, response)
        Residual correlation, the same in all regimes and episodes; the mean of it and its transpose is used.
    nu : tensor (...)
        Degrees of freedom, positive; infinity for the multivariate normal.

    Returns
    -------
    tensor (..., regime, time)
        In nats; 0, with zero gradients, where no response is observed; NaN, with NaN gradients, where the correlation
        of the observed responses is not positive definite.

    Raises
    ------
    RegimelagError
        If dimensions or lengths known at graph construction are inconsistent.
    ValueError
        If lengths are inconsistent at evaluation, or an episode is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from regimelag.likelihood.joint_density import joint_logpdf
    >>> y, location, log_scale = np.zeros((2, 1)), np.zeros((2, 1, 1)), np.zeros((1, 2, 1))
    >>> joint_logpdf(y, location, log_scale, [0], [[1.0, 0.6], [0.6, 1.0]], np.inf).eval().round(6)
    array([[-1.614734]])
    """
    y, location, log_scale, correlation, nu = map(as_float, (y, location, log_scale, correlation, nu))
    episode = pt.as_tensor_variable(episode)
    inputs = {"y": y, "location": location, "log_scale": log_scale, "episode": episode, "correlation": correlation}
    _check_shapes(**inputs, nu=nu)
    return Blockwise(JointLogpdf())(y, location, log_scale, episode.astype("int64"), correlation, nu)


def _check_shapes(**inputs: TensorVariable) -> None:
    asked, came = "joint_logpdf(y, location, log_scale, episode, correlation, nu)", shapes(**inputs)
    core = {"y": 2, "location": 3, "log_scale": 3, "episode": 1, "correlation": 2, "nu": 0}
    batch = inputs["location"].type.ndim - core["location"]
    require(
        asked,
        "y is (response, time), location (response, regime, time), log_scale (episode, response, regime), episode "
        "(time), correlation (response, response), nu a scalar, after the batch dimensions of location if any",
        came,
        "with one response give y[None], location[None] and correlation [[1.0]]; with one episode log_scale[None]",
        holds=all(least <= inputs[name].type.ndim <= least + batch for name, least in core.items()),
    )
    y, location, log_scale, _, correlation = (inputs[name].type.shape for name in list(core)[:5])
    require(
        asked,
        "y, location, log_scale and correlation have the same responses",
        came,
        "response is the first axis of y and location, the second of log_scale, and both of correlation",
        holds=agree(y[-2], location[-3], log_scale[-2], *correlation[-2:]),
    )
    require_aligned(asked, came, *(inputs[name] for name in ("y", "location", "log_scale", "episode")))


# ---------------------------------------------------------------------------------------------------------------------
# Times are processed in runs of one episode with the same observed responses. Within a run the scales are constant, and
# the correlation of the observed responses is one matrix, factorised once per pattern of observed responses. The
# computations are loops over times, response by response, that LLVM can vectorise, logarithm included. Any order of
# episodes and patterns is correct; long runs are fast.
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _check(y, location, log_scale, episode, correlation):
    """Raise ValueError if the inputs are inconsistent, so that no loop reads out of bounds."""
    responses, regimes, times = location.shape
    if responses > MOST_RESPONSES:
        raise ValueError("the joint density needs no more than 62 responses")
    if y.shape != (responses, times) or episode.size != times:
        raise ValueError(
            "the joint density needs y (response, time) and location (response, regime, time) of the same responses, "
            "and both of them and episode (time) of one length"
        )
    if log_scale.shape[1] != responses or log_scale.shape[2] != regimes:
        raise ValueError(
            "the joint density needs the responses and regimes of location in log_scale (..., response, regime)"
        )
    if correlation.shape != (responses, responses):
        raise ValueError(
            "the joint density needs a correlation (response, response) of as many responses as location has"
        )
    for e in episode:
        if not 0 <= e < log_scale.shape[0]:
            raise ValueError(
                "the joint density needs every episode to be a row of log_scale (episode, response, regime)"
            )


# ---------------------------------------------------------------------------------------------------------------------
# Patterns of observed responses, and runs
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _patterns(y):
    """Observed responses at each time (time), as bits of an integer."""
    pattern = np.zeros(y.shape[1], np.int64)
    for a in range(y.shape[0]):
        bit, values = 1 << a, y[a]
        for t in range(values.size):
            pattern[t] |= 0 if math.isnan(values[t]) else bit
    return pattern


@compiled()
def _place(pattern, patterns):
    """Position of a pattern in an array, or its length if it is not there."""
    p = 0
    while p < patterns.size and patterns[p] != pattern:
        p += 1
    return p


@compiled()
def _distinct(pattern):
    """Distinct patterns, in the order of their first times."""
    found = np.empty_like(pattern)
    count = 0
    for t in range(pattern.size):
        changed = t == 0 or pattern[t] != pattern[t - 1]
        if changed and _place(pattern[t], found[:count]) == count:
            found[count] = pattern[t]
            count += 1
    return found[:count]


@compiled()
def _end_of_run(pattern, episode, start):
    """First time from ``start`` on with another pattern or episode, at most a block later."""
    stop, last = start + 1, min(start + BLOCK, episode.size)
    while stop < last and episode[stop] == episode[start] and pattern[stop] == pattern[start]:
        stop += 1
    return stop


# ---------------------------------------------------------------------------------------------------------------------
# Student-t of the d observed responses, and the normal as its limit for infinite nu
#
# The marginal distribution of some responses is a t of the sub-vector, with the sub-matrix S of the correlation.
# With z_a = (y_a - m_a) / sigma_a, S = L L', v = L^-1 z, w = L^-T v = S^-1 z, u = v'v / nu and
# c = (nu + d) / nu / (1 + u):
#
#     log f           = D_d(nu / 2) - d/2 log(2 pi) - log det S / 2 - sum log sigma_a - (nu + d) / 2 log(1 + u)
#     d / d m_a       = c w_a / sigma_a
#     d / d log sig_a = c z_a w_a - 1
#     d / d S         = (c w w' - S^-1) / 2
#     d / d nu        = (D_d'(nu / 2) - log(1 + u) + c u) / 2
#
# As nu grows, (nu + d) / 2 log(1 + u) tends to v'v / 2, and the rest reaches its limits in floating point. The adjoint
# recovers log(1 + u) from log f without a logarithm.
#
# L is stored as r_i = 1 / L_ii on the diagonal and F_ij = L_ij / L_ii below it. Then v and x = w / r need only products
# with F:
#
#     v_i = r_i z_i - sum_{j<i} F_ij v_j             x_i = v_i - sum_{j>i} F_ji x_j
#
# If S is not positive definite, its factor is NaN. The correlation R enters as (R + R') / 2, so that the gradient is
# that of each entry, not of symmetric pairs only.
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _factor(observed, correlation, factor):
    """Fill ``factor`` with the factor of the observed responses' correlation; return its log determinant."""
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


@compiled()
def _factors(responses, patterns, correlation, nu):
    """For each pattern: number of observed responses, their indices, their factor, and log density at zero distance.

    Shapes are (pattern), (pattern, response), (pattern, response, response) and (pattern).
    """
    sizes, observed = np.zeros(patterns.size, np.int64), np.empty((patterns.size, responses), np.int64)
    factors, heads = np.empty((patterns.size, responses, responses)), np.empty(patterns.size)
    for p in range(patterns.size):
        for a in range(responses):
            if (patterns[p] >> a) & 1:
                observed[p, sizes[p]] = a
                sizes[p] += 1
        log_det = _factor(observed[p, : sizes[p]], correlation, factors[p])
        heads[p] = t_constant(0.5 * nu, sizes[p]) - sizes[p] * HALF_LOG_TWO_PI - 0.5 * log_det
    return sizes, observed, factors, heads


@compiled(CONTRACT)
def _standardise(y, location, inverse_scale, root, z, v):
    """Fill ``z`` (time), and ``v`` with its initial values."""
    for t in range(z.size):
        distance = (y[t] - location[t]) * inverse_scale
        distance = FARTHEST if distance > FARTHEST else distance
        distance = -FARTHEST if distance < -FARTHEST else distance
        z[t] = distance
        v[t] = distance * root


@compiled(CONTRACT)
def _subtract(multiple, known, rest):
    for t in range(rest.size):
        rest[t] -= multiple * known[t]


@compiled(CONTRACT)
def _add_square(values, squares):
    for t in range(values.size):
        squares[t] += values[t] * values[t]


@compiled()
def _whiten(y, location, log_scale, observed, factor, k, start, z, v, inverse_scale, squares):
    """Fill z and v (observed response, time), ``inverse_scale`` (observed response) and ``squares`` (time).

    ``squares`` are sums of v^2. Returns the sum of the log scales. Slices are along the last axis only, so that numba
    knows that they are contiguous.
    """
    length, volume = squares.size, 0.0
    stop = start + length
    squares.fill(0.0)
    for i in range(observed.size):
        a = observed[i]
        volume += log_scale[a, k]
        scale = inverse_scale[i] = math.exp(-log_scale[a, k])
        _standardise(y[a, start:stop], location[a, k, start:stop], scale, factor[i, i], z[i, :length], v[i, :length])
        for j in range(i):
            _subtract(factor[i, j], v[j, :length], v[i, :length])
        _add_square(v[i, :length], squares)
    return volume


@compiled()
def _unwhiten(factor, d, length, v):
    """Replace the first d responses and ``length`` times of ``v`` by x."""
    for i in range(d - 2, -1, -1):
        for j in range(i + 1, d):
            _subtract(factor[j, i], v[j, :length], v[i, :length])


@compiled(CONTRACT)
def _density(squares, head, nu, d, log_obs):
    """Fill ``log_obs`` (time) from squared distances and the log density at zero distance."""
    if nu == np.inf:
        for t in range(log_obs.size):
            log_obs[t] = head - 0.5 * squares[t]
        return
    inverse_nu, half = 1.0 / nu, 0.5 * (nu + d)
    for t in range(log_obs.size):
        log_obs[t] = head - half * log1p_nonnegative(squares[t] * inverse_nu)


@compiled(REORDER)
def _density_adjoint(squares, head, slope, nu, d, log_obs, cotangent, weight):
    """Fill ``weight`` (time) with c times the cotangent; return sums over time of the cotangent and of d nu."""
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


@compiled(REORDER)
def _pull(weight, x, root, inverse_scale, z, d_location):
    """Fill ``d_location`` (time); return sums over time of c w_a z_a and c w_a x_a times the cotangent."""
    of_scale = of_square = 0.0
    for t in range(z.size):
        of_z = weight[t] * x[t] * root
        d_location[t] = of_z * inverse_scale
        of_scale += of_z * z[t]
        of_square += of_z * x[t]
    return of_scale, of_square


@compiled(REORDER)
def _moment(weight, left, right):
    total = 0.0
    for t in range(left.size):
        total += weight[t] * left[t] * right[t]
    return total


@compiled()
def _add_moments(factor, d, weight, x, moment):
    """Add the sum over time of c w w' times the cotangent to the lower triangle, from x (observed response, time)."""
    length = weight.size
    for i in range(1, d):
        for j in range(i):
            moment[i, j] += factor[i, i] * factor[j, j] * _moment(weight, x[i, :length], x[j, :length])


@compiled()
def _add_d_correlation(observed, factor, moment, total, d_correlation):
    """Add the gradient of one pattern, from sums over its times of c w w' (lower triangle) and of the cotangent.

    S^-1 = B' B with B = L^-1, whose columns solve for unit vectors, as v does for z.
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


@compiled()
def _logpdf(y, location, log_scale, episode, correlation, nu):
    """Log density (regime, time)."""
    _check(y, location, log_scale, episode, correlation)
    responses, regimes, times = location.shape
    pattern = _patterns(y)
    patterns = _distinct(pattern)
    sizes, observed, factors, heads = _factors(responses, patterns, correlation, nu)
    z, v, scales = np.empty((responses, BLOCK)), np.empty((responses, BLOCK)), np.empty(responses)
    squares, log_obs = np.empty(BLOCK), np.empty((regimes, times))
    start = 0
    while start < times:
        stop = _end_of_run(pattern, episode, start)
        p, length = _place(pattern[start], patterns), stop - start
        seen, scale = observed[p, : sizes[p]], log_scale[episode[start]]
        for k in range(regimes):
            volume = _whiten(y, location, scale, seen, factors[p], k, start, z, v, scales, squares[:length])
            _density(squares[:length], heads[p] - volume, nu, sizes[p], log_obs[k, start:stop])
        start = stop
    return log_obs


@compiled()
def _logpdf_adjoint(y, location, log_scale, episode, correlation, nu, log_obs, cotangent):
    """Gradients of location, log_scale, correlation and nu."""
    responses, regimes, times = location.shape
    pattern = _patterns(y)
    patterns = _distinct(pattern)
    sizes, observed, factors, heads = _factors(responses, patterns, correlation, nu)
    slopes = np.array([t_constant_slope(0.5 * nu, d) for d in sizes])
    totals, moments = np.zeros(patterns.size), np.zeros(factors.shape)
    z, v, scales = np.empty((responses, BLOCK)), np.empty((responses, BLOCK)), np.empty(responses)
    squares, weight = np.empty(BLOCK), np.empty(BLOCK)
    d_location, d_log_scale = np.zeros(location.shape), np.zeros(log_scale.shape)
    d_correlation = np.zeros(correlation.shape)
    d_nu = 0.0
    start = 0
    while start < times:
        stop = _end_of_run(pattern, episode, start)
        e, p, length = episode[start], _place(pattern[start], patterns), stop - start
        d, seen, factor, weighted = sizes[p], observed[p, : sizes[p]], factors[p], weight[:length]
        for k in range(regimes):
            volume = _whiten(y, location, log_scale[e], seen, factor, k, start, z, v, scales, squares[:length])
            given, found, head = cotangent[k, start:stop], log_obs[k, start:stop], heads[p] - volume
            total, of_nu = _density_adjoint(squares[:length], head, slopes[p], nu, d, found, given, weighted)
            totals[p] += total
            d_nu += of_nu
            _unwhiten(factor, d, length, v)
            for i, a in enumerate(seen):
                of_location = d_location[a, k, start:stop]
                of_scale, of_square = _pull(
                    weighted, v[i, :length], factor[i, i], scales[i], z[i, :length], of_location
                )
                d_log_scale[e, a, k] += of_scale - total
                moments[p, i, i] += factor[i, i] * of_square
            _add_moments(factor, d, weighted, v, moments[p])
        start = stop
    for p in range(patterns.size):
        _add_d_correlation(observed[p, : sizes[p]], factors[p], moments[p], totals[p], d_correlation)
    return d_location, d_log_scale, d_correlation, d_nu


class JointLogpdf(LogpdfOp):
    """See :func:`joint_logpdf`."""

    gufunc_signature = "(a,t),(a,k,t),(e,a,k),(t),(a,a),()->(k,t)"
    loop = _logpdf

    def make_node(self, y, location, *rest):
        out = pt.tensor(dtype="float64", shape=location.type.shape[1:])
        return Apply(self, [y, location, *rest], [out])

    def pullback(self, inputs, outputs, cotangents):
        d_location, d_log_scale, *rest = Blockwise(JointLogpdfAdjoint())(*inputs, outputs[0], cotangents[0])
        return [-d_location.sum(axis=-2), d_location, d_log_scale, disconnected_type(), *rest]

    def in_jax(self, jax):
        jnp = jax.numpy

        def logpdf(y, location, log_scale, episode, correlation, nu):
            """A missing response has distance zero and is uncorrelated with the others."""
            seen = ~jnp.isnan(y.T)
            log_scale = jnp.where(seen.T[:, None], jnp.moveaxis(log_scale[episode], 0, -1), 0.0)
            z = (jnp.where(seen.T, y, 0.0)[:, None] - location) * jnp.exp(-log_scale)
            z = jnp.where(seen.T[:, None], jnp.clip(z, -FARTHEST, FARTHEST), 0.0)
            both = seen[:, :, None] & seen[:, None, :]
            among = jnp.where(both, 0.5 * (correlation + correlation.T), jnp.eye(len(y)))
            factor = jnp.linalg.cholesky(among)
            white = jax.lax.linalg.triangular_solve(factor, jnp.moveaxis(z, -1, 0), left_side=True, lower=True)
            volume = log_scale.sum(axis=0) + jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)).sum(axis=-1)
            return t_density_in_jax(jax, (white**2).sum(axis=1).T, nu, seen.sum(axis=1)) - volume

        return logpdf


class JointLogpdfAdjoint(LogpdfAdjointOp):
    """Adjoint of :class:`JointLogpdf`."""

    density = JointLogpdf

    gufunc_signature = "(a,t),(a,k,t),(e,a,k),(t),(a,a),(),(k,t),(k,t)->(a,k,t),(e,a,k),(a,a),()"
    loop = _logpdf_adjoint
