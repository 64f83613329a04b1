"""Log density of one response in each period and regime: Student-t, and the normal as its limit."""

# PyTensor prescribes the names and arguments of an Op's methods.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pytensor.gradient import disconnected_type
from pytensor.graph import Apply
from pytensor.tensor import TensorLike, TensorVariable, as_tensor_variable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood.checks import as_float, require, require_aligned, shapes
from regimelag.likelihood.linked_op import LinkedOp
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled
from regimelag.likelihood.vector_math import HALF_LOG_TWO_PI, log1p_nonnegative, t_constant, t_constant_slope

# Standardised residuals are clipped at this value, so that squares and derivatives are finite.
FARTHEST = 1e140
# Half the degrees of freedom above which the JAX rule takes the series of the t density's constant.
LARGE = 1e4
# Number of times whose episodes are compared together.
BLOCK = 256


def student_t_logpdf(
    y: TensorLike, location: TensorLike, log_scale: TensorLike, episode: TensorLike, nu: TensorLike
) -> TensorVariable:
    """Student-t log density of a response in each period and regime.

    Parameters
    ----------
    y : tensor (..., time)
        Response; NaN where it is missing.
    location : tensor (..., regime, time)
        In units of ``y``.
    log_scale : tensor (..., episode, regime)
        Log of the scale of the t. The standard deviation is the scale times sqrt(nu / (nu - 2)).
    episode : integer tensor (..., time)
        Index of each period's episode in ``log_scale``.
    nu : tensor (...)
        Degrees of freedom, positive; above 2 the variance is finite. Infinity for the normal density.

    Returns
    -------
    tensor (..., regime, time)
        In nats; 0, with zero gradients, where ``y`` is missing.

    Raises
    ------
    RegimelagError
        If dimensions or lengths known at graph construction are inconsistent.
    ValueError
        If lengths are inconsistent at evaluation, or an episode is out of range.
    """
    y, location, log_scale, nu = map(as_float, (y, location, log_scale, nu))
    episode = as_tensor_variable(episode)
    asked = "student_t_logpdf(y, location, log_scale, episode, nu)"
    came = shapes(y=y, location=location, log_scale=log_scale, episode=episode, nu=nu)
    batch = location.type.ndim - 2
    require(
        asked,
        "location is (regime, time), after batch dimensions if any",
        came,
        "give location a regime axis and a time axis",
        holds=batch >= 0,
    )
    require(
        asked,
        "y and episode are (time), log_scale is (episode, regime), nu is a scalar, after batch dimensions if any",
        came,
        "with one episode give log_scale[None, :] and an episode of zeros",
        holds=1 <= y.type.ndim <= batch + 1
        and 2 <= log_scale.type.ndim <= batch + 2  # noqa: PLR2004
        and 1 <= episode.type.ndim <= batch + 1
        and nu.type.ndim <= batch,
    )
    require_aligned(asked, came, y, location, log_scale, episode)
    return Blockwise(StudentTLogpdf())(y, location, log_scale, episode.astype("int64"), nu)


# ---------------------------------------------------------------------------------------------------------------------
# Times are processed in runs of one episode. Within a run the scale of a regime is one number, so each run and regime
# is one loop over times that LLVM can vectorise, logarithm included. Any order of episodes is correct; long runs are
# fast. With z = (y - m) / sigma, u = z^2 / nu, c = (nu + 1) / nu / (1 + u), D as in vector_math.py:
#
#     log f         = D(nu / 2) - log(2 pi) / 2 - log sigma - (nu + 1) / 2 log(1 + u)
#     d / d m       = c z / sigma
#     d / d log sig = c z^2 - 1
#     d / d nu      = (D'(nu / 2) - log(1 + u) + c u) / 2
#
# As nu grows, (nu + 1) / 2 log(1 + u) tends to z^2 / 2, and c = 1 and u = 0 are reached in floating point. The adjoint
# recovers log(1 + u) from log f without a logarithm.
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _check(y, location, log_scale, episode):
    """Raise ValueError if the inputs are inconsistent, so that no loop reads out of bounds."""
    if y.size != location.shape[1] or episode.size != location.shape[1]:
        raise ValueError("the log density needs y, episode (time) and location (regime, time) of one length")
    if log_scale.shape[1] != location.shape[0]:
        raise ValueError("the log density needs as many regimes in log_scale as in location")


@compiled()
def _end_of_run(episode, start):
    """First time after ``start`` in another episode; times are compared in blocks, which LLVM vectorises."""
    here, stop, others = episode[start], start + 1, 0
    while stop + BLOCK <= episode.size and others == 0:
        block = episode[stop : stop + BLOCK]
        for t in range(block.size):
            others += block[t] != here
        stop += BLOCK if others == 0 else 0
    while stop < episode.size and episode[stop] == here:
        stop += 1
    return stop


@compiled(CONTRACT)
def _held(z):
    """Clip the residual so that its square is finite; NaN stays NaN."""
    z = FARTHEST if z > FARTHEST else z
    return -FARTHEST if z < -FARTHEST else z


@compiled(CONTRACT)
def _run(y, location, log_scale, nu, log_obs):
    """Fill ``log_obs`` (time) for times of one regime and episode."""
    inverse_scale = math.exp(-log_scale)
    head = t_constant(0.5 * nu, 1) - HALF_LOG_TWO_PI - log_scale
    if nu == np.inf:
        for t in range(y.size):
            z = _held((y[t] - location[t]) * inverse_scale)
            log_obs[t] = 0.0 if math.isnan(y[t]) else head - 0.5 * z * z
        return
    inverse_nu, half = 1.0 / nu, 0.5 * (nu + 1.0)
    for t in range(y.size):
        z = _held((y[t] - location[t]) * inverse_scale)
        value = head - half * log1p_nonnegative(z * z * inverse_nu)
        log_obs[t] = 0.0 if math.isnan(y[t]) else value


@compiled(REORDER)
def _run_adjoint(y, location, log_scale, nu, log_obs, cotangent, d_location):
    """Fill ``d_location`` (time); return the gradients of log_scale and nu, summed over times."""
    inverse_scale = math.exp(-log_scale)
    inverse_nu = 1.0 / nu
    head = t_constant(0.5 * nu, 1) - HALF_LOG_TWO_PI - log_scale
    slope = t_constant_slope(0.5 * nu, 1)
    unit, per_log = 1.0 + inverse_nu, 2.0 / (nu + 1.0)
    d_log_scale = 0.0
    d_nu = 0.0
    for t in range(y.size):
        z = _held((y[t] - location[t]) * inverse_scale)
        g = cotangent[t]
        missing = math.isnan(y[t])
        z = 0.0 if missing else z
        g = 0.0 if missing else g
        u = z * z * inverse_nu
        c = unit / (1.0 + u)
        d_location[t] = g * c * z * inverse_scale
        d_log_scale += g * (c * (z * z) - 1.0)
        d_nu += g * (slope - (head - log_obs[t]) * per_log + c * u)
    return d_log_scale, 0.5 * d_nu


@compiled()
def _logpdf(y, location, log_scale, episode, nu):
    """Log density (regime, time)."""
    _check(y, location, log_scale, episode)
    log_obs = np.empty(location.shape)
    start = 0
    while start < y.size:
        stop = _end_of_run(episode, start)
        if not 0 <= episode[start] < log_scale.shape[0]:
            raise ValueError("the log density needs every episode to be a row of log_scale (episode, regime)")
        for k in range(location.shape[0]):
            scale = log_scale[episode[start], k]
            _run(y[start:stop], location[k, start:stop], scale, nu, log_obs[k, start:stop])
        start = stop
    return log_obs


@compiled()
def student_t_logpdf_draws(y, location, log_scale, episode, nu):
    """Log density (draw, time, regime) of a response (time) for each draw.

    ``location`` is (draw, regime, time), ``log_scale`` (draw, episode, regime), ``nu`` (draw).
    """
    draws, regimes, times = location.shape
    log_density = np.empty((draws, times, regimes))
    for d in range(draws):
        own = _logpdf(y, location[d], log_scale[d], episode, nu[d])
        for t in range(times):
            for k in range(regimes):
                log_density[d, t, k] = own[k, t]
    return log_density


@compiled()
def _logpdf_adjoint(y, location, log_scale, episode, nu, log_obs, cotangent):
    """Gradients of location, log_scale and nu."""
    d_location, d_log_scale = np.empty(location.shape), np.zeros(log_scale.shape)
    d_nu = 0.0
    start = 0
    while start < y.size:
        stop = _end_of_run(episode, start)
        for k in range(location.shape[0]):
            of_scale, of_nu = _run_adjoint(
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
    return d_location, d_log_scale, d_nu


def t_density_in_jax(jax, squares, nu, d):
    """Log density of ``d`` standardised responses in JAX, from their squared distance."""
    jnp = jax.numpy
    finite, a = jnp.isfinite(nu), 0.5 * d
    nu = jnp.where(finite, nu, 1.0)
    # The difference of the log gamma functions is inaccurate for large x; the series is then exact to rounding.
    x = jnp.minimum(0.5 * nu, LARGE)
    exact = jax.lax.lgamma(x + a) - jax.lax.lgamma(x) - a * jnp.log(x)
    x = jnp.maximum(0.5 * nu, LARGE)
    series = a * (a - 1) / (2 * x) * (1 - (2 * a - 1) / (6 * x))
    constant = jnp.where(0.5 * nu < LARGE, exact, series)
    t = constant - 0.5 * (nu + d) * jnp.log1p(squares / nu)
    return jnp.where(finite, t, -0.5 * squares) - d * HALF_LOG_TWO_PI


def adjoint_in_jax(jax, density, shape):
    """Adjoint of a density in JAX; `shape` selects its shape parameters from the inputs after ``episode``."""

    def adjoint(y, location, log_scale, episode, *rest):
        def of_parameters(location, log_scale, *parameters):
            return density(y, location, log_scale, episode, *parameters)

        _, pull = jax.vjp(of_parameters, location, log_scale, *rest[shape])
        return pull(rest[-1])

    return adjoint


class LogpdfOp(LinkedOp):
    """Log density: (y, location, log_scale, episode, *shape parameters) -> (regime, time)."""

    def infer_shape(self, node, input_shapes):
        return [input_shapes[1][-2:]]

    def connection_pattern(self, node):
        return [[position != 3] for position in range(len(node.inputs))]  # noqa: PLR2004


class LogpdfAdjointOp(LinkedOp):
    """Adjoint of :class:`LogpdfOp`: inputs, output and cotangent -> gradients of location, log_scale and shape."""

    density: ClassVar[type[LogpdfOp]]

    def in_jax(self, jax):
        return adjoint_in_jax(jax, self.density().in_jax(jax), slice(0, -2))

    def make_node(self, *inputs):
        outputs = [variable.type() for variable in (inputs[1], inputs[2], *inputs[4:-2])]
        return Apply(self, list(inputs), outputs)

    def infer_shape(self, node, input_shapes):
        return [input_shapes[1], input_shapes[2], *input_shapes[4:-2]]


class StudentTLogpdf(LogpdfOp):
    """See :func:`student_t_logpdf`."""

    gufunc_signature = "(t),(k,t),(e,k),(t),()->(k,t)"
    loop = _logpdf

    def make_node(self, y, location, log_scale, episode, nu):
        return Apply(self, [y, location, log_scale, episode, nu], [location.type()])

    def pullback(self, inputs, outputs, cotangents):
        d_location, d_log_scale, d_nu = Blockwise(StudentTLogpdfAdjoint())(*inputs, outputs[0], cotangents[0])
        return [-d_location.sum(axis=-2), d_location, d_log_scale, disconnected_type(), d_nu]

    def in_jax(self, jax):
        jnp = jax.numpy

        def logpdf(y, location, log_scale, episode, nu):
            missing, log_scale = jnp.isnan(y), log_scale[episode].T
            z = (jnp.where(missing, 0.0, y) - location) * jnp.exp(-log_scale)
            value = t_density_in_jax(jax, jnp.clip(z, -FARTHEST, FARTHEST) ** 2, nu, 1) - log_scale
            return jnp.where(missing, 0.0, value)

        return logpdf


class StudentTLogpdfAdjoint(LogpdfAdjointOp):
    """Adjoint of :class:`StudentTLogpdf`."""

    density = StudentTLogpdf

    gufunc_signature = "(t),(k,t),(e,k),(t),(),(k,t),(k,t)->(k,t),(e,k),()"
    loop = _logpdf_adjoint
