"""Log density of one response with GARCH(1,1) volatility, Student-t or normal.

    e[t] = (y[t] - m[t]) / exp(h[t]) v[0] = 1,    v[t] = 1 - alpha - beta + alpha e[t-1]^2 + beta v[t-1]

The conditional standard deviation is exp(h[t]) sqrt(v[t]); the mean of v is 1, so exp(h[t]) is the unconditional
standard deviation in the episode of row t. For a missing response e^2 is replaced by v. Bollerslev (1986),
doi:10.1016/0304-4076(86)90063-1; with Student-t errors Bollerslev (1987), doi:10.2307/1925546.
"""

# PyTensor prescribes the names and arguments of an Op's methods.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math

import numpy as np
from pytensor.gradient import disconnected_type
from pytensor.graph import Apply
from pytensor.tensor import TensorLike, TensorVariable, as_tensor_variable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood.checks import agree, as_float, is_integer, require, shapes
from regimelag.likelihood.density import FARTHEST, adjoint_in_jax, t_density_in_jax
from regimelag.likelihood.linked_op import LinkedOp
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled
from regimelag.likelihood.vector_math import HALF_LOG_TWO_PI, log1p_nonnegative, t_constant, t_constant_slope


def garch_logpdf(
    y: TensorLike,
    location: TensorLike,
    log_scale: TensorLike,
    episode: TensorLike,
    alpha: TensorLike,
    beta: TensorLike,
    nu: TensorLike,
) -> TensorVariable:
    """Log density of a response in each period given past responses, under GARCH(1,1).

    Parameters
    ----------
    y : tensor (..., time)
        Response; NaN where it is missing.
    location : tensor (..., time)
        In units of ``y``.
    log_scale : tensor (..., episode)
        Log of the unconditional standard deviation, for Student-t too.
    episode : integer tensor (..., time)
        Index of each period's episode in ``log_scale``.
    alpha, beta : tensor (...)
        Weights of the last squared residual and of the last variance: non-negative, with a sum of at most 1.
    nu : tensor (...)
        Degrees of freedom, above 2. Infinity for the normal density.

    Returns
    -------
    tensor (..., time)
        In nats; 0, with zero gradients, where ``y`` is missing.

    Raises
    ------
    RegimelagError
        If dimensions or lengths known at graph construction are inconsistent.
    ValueError
        If lengths are inconsistent at evaluation, or an episode is out of range.
    """
    y, location, log_scale, alpha, beta, nu = map(as_float, (y, location, log_scale, alpha, beta, nu))
    episode = as_tensor_variable(episode)
    asked = "garch_logpdf(y, location, log_scale, episode, alpha, beta, nu)"
    came = shapes(y=y, location=location, log_scale=log_scale, episode=episode, alpha=alpha, beta=beta, nu=nu)
    require(
        asked,
        "y, location and episode are (time), log_scale is (episode), after batch dimensions if any",
        came,
        "with one episode give log_scale[None] and an episode of zeros",
        holds=min(each.type.ndim for each in (y, location, log_scale, episode)) >= 1,
    )
    require(
        asked,
        "alpha, beta and nu are scalars, after batch dimensions if any",
        came,
        "give one number of each",
        holds=max(each.type.ndim for each in (alpha, beta, nu)) < max(y.type.ndim, location.type.ndim),
    )
    require(
        asked,
        "episode holds integers, entries of log_scale",
        f"episode of type {episode.type.dtype}",
        "number the episodes from 0",
        holds=is_integer(episode),
    )
    require(
        asked,
        "y, location and episode have one length in time",
        came,
        "align them in time, which is their last axis",
        holds=agree(y.type.shape[-1], location.type.shape[-1], episode.type.shape[-1]),
    )
    return Blockwise(GarchLogpdf())(y, location, log_scale, episode.astype("int64"), alpha, beta, nu)


# ---------------------------------------------------------------------------------------------------------------------
# Only v is a recursion over time; everything else is a loop that LLVM can vectorise. With q[t] = e[t]^2, or v[t] where
# y is missing, w = nu - 2, u = q / (v w), c = (nu + 1) / w / (1 + u), and D as in vector_math.py, the t of variance v
# has the scale sqrt(v w / nu), so
#
#     (1)  log f            = D(nu / 2) - log(2 pi) / 2 - log(w / nu) / 2 - h - log(v) / 2 - (nu + 1) / 2 log(1 + u)
#     (2)  d log f / d e    = - c e / v
#     (3)  d log f / d v    = (c q / v - 1) / (2 v)
#     (4)  d log f / d nu   = (D'(nu / 2) - 2 / (nu w) - log(1 + u) + c u) / 2
#
# and as nu grows c tends to 1, (nu + 1) / 2 log(1 + u) to q / (2 v), and log(w / nu) to 0. With g[t] the cotangent of
# log f[t], lam[t] is the derivative of the cotangent-weighted sum with respect to v[t], by recursion backward in time
# from lam = 0 after the last time:
#
#     (5)  lam[t]    = g[t] d log f[t] / d v[t] + beta lam[t+1]       + alpha lam[t+1] where y is missing
#     (6)  d e[t]    = g[t] d log f[t] / d e[t] + 2 alpha e[t] lam[t+1]
#     (7)  d m[t]    = - d e[t] exp(-h)
#     (8)  d h       = sum over the times of its episode of - g[t] - e[t] d e[t]
#     (9)  d alpha   = sum_{t>0} lam[t] (q[t-1] - 1)
#     (10) d beta    = sum_{t>0} lam[t] (v[t-1] - 1)
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _check(y, location, log_scale, episode):
    """Raise ValueError if the inputs are inconsistent, so that no loop reads out of bounds."""
    if y.size != location.size or episode.size != location.size:
        raise ValueError("the GARCH density needs y, location and episode (time) of one length")
    for e in episode:
        if not 0 <= e < log_scale.size:
            raise ValueError("the GARCH density needs every episode to be an entry of log_scale (episode)")


@compiled(CONTRACT)
def _fill(y, location, log_scale, episode, alpha, beta, inverse_scale, e, v):
    """Fill the inverse scales (episode), residuals e and relative variances v (time)."""
    for n in range(log_scale.size):
        inverse_scale[n] = math.exp(-log_scale[n])
    for t in range(y.size):
        z = (y[t] - location[t]) * inverse_scale[episode[t]]
        z = FARTHEST if z > FARTHEST else z
        e[t] = -FARTHEST if z < -FARTHEST else z
    rest = 1.0 - alpha - beta
    now = 1.0
    for t in range(y.size):
        v[t] = now
        q = now if math.isnan(y[t]) else e[t] * e[t]
        now = rest + alpha * q + beta * now


@compiled(CONTRACT)
def _logpdf(y, location, log_scale, episode, alpha, beta, nu):
    """Log density (time)."""
    _check(y, location, log_scale, episode)
    inverse_scale, e, v = np.empty(log_scale.size), np.empty(y.size), np.empty(y.size)
    _fill(y, location, log_scale, episode, alpha, beta, inverse_scale, e, v)
    log_obs = np.empty(y.size)
    if nu == np.inf:
        for t in range(y.size):
            value = -HALF_LOG_TWO_PI - log_scale[episode[t]] - 0.5 * (math.log(v[t]) + e[t] * e[t] / v[t])
            log_obs[t] = 0.0 if math.isnan(y[t]) else value
        return log_obs
    inverse_w, half = 1.0 / (nu - 2.0), 0.5 * (nu + 1.0)
    head = t_constant(0.5 * nu, 1) - HALF_LOG_TWO_PI - 0.5 * math.log1p(-2.0 / nu)
    for t in range(y.size):
        log1p_u = log1p_nonnegative(e[t] * e[t] / v[t] * inverse_w)
        value = head - log_scale[episode[t]] - 0.5 * math.log(v[t]) - half * log1p_u
        log_obs[t] = 0.0 if math.isnan(y[t]) else value
    return log_obs


@compiled(REORDER)
def _local_slopes(y, e, v, nu, cotangent, d_e, d_v):
    """Fill g times (2) and (3) for each time; return the sum of g times (4)."""
    inverse_w = 1.0 / (nu - 2.0)
    unit = 1.0 if nu == np.inf else (nu + 1.0) * inverse_w
    slope = t_constant_slope(0.5 * nu, 1) - 2.0 / nu * inverse_w
    d_nu = 0.0
    for t in range(y.size):
        missing = math.isnan(y[t])
        z = 0.0 if missing else e[t]
        g = 0.0 if missing else cotangent[t]
        inverse_v = 1.0 / v[t]
        q = z * z * inverse_v
        u = q * inverse_w
        c = unit / (1.0 + u)
        d_e[t] = -g * c * z * inverse_v
        d_v[t] = 0.5 * g * (c * q - 1.0) * inverse_v
        d_nu += g * (slope - log1p_nonnegative(u) + c * u)
    return 0.5 * d_nu


@compiled(CONTRACT)
def _logpdf_adjoint(y, location, log_scale, episode, alpha, beta, nu, cotangent):
    """Gradients of location, log_scale, alpha, beta and nu."""
    _check(y, location, log_scale, episode)
    if cotangent.size != y.size:
        raise ValueError("the GARCH density needs a cotangent (time) as long as y")
    inverse_scale, e, v = np.empty(log_scale.size), np.empty(y.size), np.empty(y.size)
    _fill(y, location, log_scale, episode, alpha, beta, inverse_scale, e, v)
    d_location, d_v = np.empty(y.size), np.empty(y.size)
    d_nu = _local_slopes(y, e, v, nu, cotangent, d_location, d_v)
    d_log_scale = np.zeros(log_scale.size)
    d_alpha = 0.0
    d_beta = 0.0
    after = 0.0
    for t in range(y.size - 1, -1, -1):
        if math.isnan(y[t]):
            d_location[t] = 0.0
            d_alpha += after * (v[t] - 1.0)
            d_beta += after * (v[t] - 1.0)
            after = (alpha + beta) * after
            continue
        d_e = d_location[t] + 2.0 * alpha * e[t] * after
        d_location[t] = -d_e * inverse_scale[episode[t]]
        d_log_scale[episode[t]] -= cotangent[t] + e[t] * d_e
        d_alpha += after * (e[t] * e[t] - 1.0)
        d_beta += after * (v[t] - 1.0)
        after = d_v[t] + beta * after
    return d_location, d_log_scale, d_alpha, d_beta, d_nu


class GarchLogpdf(LinkedOp):
    """Log density: (y, location, log_scale, episode, alpha, beta, nu) -> (time). See :func:`garch_logpdf`."""

    gufunc_signature = "(t),(t),(e),(t),(),(),()->(t)"
    loop = _logpdf

    def make_node(self, *inputs):
        return Apply(self, list(inputs), [inputs[1].type()])

    def infer_shape(self, node, input_shapes):
        return [input_shapes[1]]

    def connection_pattern(self, node):
        return [[position != 3] for position in range(len(node.inputs))]  # noqa: PLR2004

    def pullback(self, inputs, outputs, cotangents):
        found = Blockwise(GarchLogpdfAdjoint())(*inputs, cotangents[0])
        d_location, d_log_scale, d_alpha, d_beta, d_nu = found
        return [-d_location, d_location, d_log_scale, disconnected_type(), d_alpha, d_beta, d_nu]

    def in_jax(self, jax):
        jnp = jax.numpy

        def logpdf(y, location, log_scale, episode, alpha, beta, nu):
            missing, log_scale = jnp.isnan(y), log_scale[episode]
            z = (jnp.where(missing, 0.0, y) - location) * jnp.exp(-log_scale)
            squares = jnp.clip(z, -FARTHEST, FARTHEST) ** 2

            def step(now, row):
                square, unseen = row
                return 1.0 - alpha - beta + alpha * jnp.where(unseen, now, square) + beta * now, now

            _, v = jax.lax.scan(step, jnp.ones(()), (squares, missing))
            # The t of variance v has the scale sqrt(v * shrink).
            shrink = jnp.where(jnp.isfinite(nu), 1.0 - 2.0 / nu, 1.0)
            value = t_density_in_jax(jax, squares / (v * shrink), nu, 1)
            return jnp.where(missing, 0.0, value - log_scale - 0.5 * jnp.log(v * shrink))

        return logpdf


class GarchLogpdfAdjoint(LinkedOp):
    """Adjoint of :class:`GarchLogpdf`: inputs and cotangent -> gradients of all but y and episode."""

    gufunc_signature = "(t),(t),(e),(t),(),(),(),(t)->(t),(e),(),(),()"
    loop = _logpdf_adjoint

    def make_node(self, *inputs):
        outputs = [inputs[place].type() for place in (1, 2, 4, 5, 6)]
        return Apply(self, list(inputs), outputs)

    def infer_shape(self, node, input_shapes):
        return [input_shapes[place] for place in (1, 2, 4, 5, 6)]

    def in_jax(self, jax):
        return adjoint_in_jax(jax, GarchLogpdf().in_jax(jax), slice(0, -1))
