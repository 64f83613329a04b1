"""Log likelihood of a hidden Markov model and its gradient, in one pass.

The function that a sampler calls thousands of times uses scaled probabilities and few logarithms. It checks on each
call that underflow did not matter, and otherwise calls the exact recursion in :mod:`regimelag.likelihood.hmm`.

References
----------
.. [1] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196
.. [2] Hamilton, J. D. (1989). doi:10.2307/1912559
"""

# PyTensor prescribes the names and arguments of an Op's methods.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import ctypes
import math
from functools import partial
from typing import ClassVar

import llvmlite.binding
import numpy as np
import pytensor.tensor as pt
from numba import types
from pytensor.gradient import DisconnectedType
from pytensor.graph import Apply
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood.checks import as_float, checked_mask, refuse_ambiguous, require, require_chain
from regimelag.likelihood.checks import shapes as static_shapes
from regimelag.likelihood.hmm import exact_loglik_and_adjoint, forward_backward_in_jax
from regimelag.likelihood.linked_op import LinkedOp
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled
from regimelag.likelihood.vector_math import exp_nonpositive, fill_scaled_exp, fill_softmax, registers

RESCALE_EVERY = 8
CERTAIN = 1e-200


def markov_loglik(
    log_obs: TensorLike, transition_logits: TensorLike, log_init: TensorLike, *, mask: TensorLike | None = None
) -> TensorVariable:
    """Log likelihood of a hidden Markov model, with the regimes marginalised.

    Inputs are arrays of NumPy, pandas or xarray, or PyTensor variables. The labels of axes are not used. The result is
    float64: inputs of a lower precision are converted.

    Parameters
    ----------
    log_obs : tensor (..., time, regime)
        Log density of each row in each regime, in nats; ``-inf`` if a regime cannot produce the row. The number of
        regimes should be part of the static shape of one input, since the recursion is slow without it.
    transition_logits : tensor (..., time - 1, origin, destination) or (..., origin, destination)
        Row ``t`` is the step from ``t`` to ``t + 1``. The softmax over the last axis is computed here. ``-inf`` makes a
        step impossible. Without a time axis the matrix is constant; without batch dimensions as well it is shared. With
        one batch dimension (batch, origin, destination) is a constant matrix for each series; moving transitions that
        all series share have a batch axis of length 1: ``transition_logits[None]``.
    log_init : tensor (..., regime) or (regime)
        Log weights of the regimes at the first time, used as given.
    mask : boolean tensor (..., time), optional
        True where a row counts. The others have log density zero, as a missing observation has, so that series of
        unequal lengths are padded at their end and the result is that of the shorter series.

    Returns
    -------
    tensor (...)
        In nats; a scalar without batch dimensions. ``-inf``, with zero gradients, if the data are impossible. NaN, with
        NaN gradients, if an input is NaN or ``+inf``.

    Raises
    ------
    RegimelagError
        If dimensions or lengths known at graph construction are inconsistent.
    ValueError
        If lengths are inconsistent at evaluation.

    Notes
    -----
    The forward recursion is the filter of [1]_ and the gradient that of [2]_. Value and gradient together take one
    forward and one backward pass; comments in this module have the derivation.

    References
    ----------
    .. [1] Hamilton, J. D. (1989). doi:10.2307/1912559
    .. [2] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196

    Examples
    --------
    >>> import numpy as np
    >>> from regimelag.likelihood.hmm_loglik import markov_loglik
    >>> log_obs = np.log([[0.5, 0.1], [0.2, 0.4]])
    >>> loglik = markov_loglik(log_obs, np.zeros((2, 2)), np.log([0.5, 0.5]))
    >>> round(float(np.exp(loglik.eval())), 6)
    0.09
    """
    log_obs, transition_logits, log_init = map(as_float, (log_obs, transition_logits, log_init))
    asked = "markov_loglik(log_obs, transition_logits, log_init)"
    came = static_shapes(log_obs=log_obs, transition_logits=transition_logits, log_init=log_init)
    batch = log_obs.type.ndim - 2
    shared = ", ".join(["None"] * batch)
    require(
        asked,
        "log_obs is (time, regime), after batch dimensions if any",
        came,
        "give log_obs a time axis and a regime axis; one regime is an axis of length 1",
        holds=batch >= 0,
    )
    if mask is not None:
        log_obs = pt.where(checked_mask(asked, came, mask, log_obs)[..., None], log_obs, 0.0)
    require(
        asked,
        "transition_logits is (time - 1, origin, destination) or (origin, destination), after batch dimensions if any",
        came,
        f"share moving transitions by an axis of length 1 for each batch dimension: transition_logits[{shared}]"
        if batch and transition_logits.type.ndim == 3  # noqa: PLR2004
        else "give transition_logits the axes (time - 1, origin, destination)",
        holds=transition_logits.type.ndim in (2, batch + 2, batch + 3),
    )
    require(
        asked,
        "log_init is (regime), after the batch dimensions of log_obs if any",
        came,
        "give log_init one weight a regime",
        holds=log_init.type.ndim in (1, batch + 1),
    )
    if batch == 1 and transition_logits.type.ndim == 3:  # noqa: PLR2004
        refuse_ambiguous(asked, came, log_obs, transition_logits)
    if transition_logits.type.ndim != batch + 3:
        transition_logits = pt.expand_dims(transition_logits, -3)
    times, regimes = log_obs.type.shape[-2:]
    known = require_chain(asked, came, regimes, times, transition_logits, log_init, "last")
    # The Op has time as the last axis.
    by_regime, by_origin = pt.moveaxis(log_obs, -2, -1), pt.moveaxis(transition_logits, -3, -1)
    return Blockwise(MarkovLoglik(known))(by_regime, by_origin, log_init)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Value and gradient in one pass
#
# Write o[j,t] for the density at time t, p[i,j,t] for the softmax of the logits, and
#
#     a[j,t] = o[j,t] * sum_i a[i,t-1] p[i,j,t-1]          forward,  a[j,0] = init[j] o[j,0]
#     v[j,t] = o[j,t] * m[j,t]                             backward, m[j,T-1] = 1
#     m[i,t] = sum_j p[i,j,t] v[j,t+1]
#
# The likelihood is sum_j a[j,T-1]. Up to scale it is also z[t] = sum_i a[i,t] m[i,t] for every t, the sum over all
# steps i -> j of a[i,t] p[i,j,t] v[j,t+1], whose shares in z[t] are the step probabilities given all data. With
# w[i,t] = a[i,t] / z[t],
#
#     d loglik / d log_obs[i,t]  = w[i,t] m[i,t]                                smoothed probability
#     d loglik / d logits[i,j,t] = w[i,t] p[i,j,t] (v[j,t+1] - m[i,t])          expected minus predicted steps
#     d loglik / d log_init[i]   = smoothed probability at time 0
#
# Scaling. At each time o is divided by its maximum and p sums to one over destinations, so a and v never grow. Both are
# rescaled to one every RESCALE_EVERY times. The factors of `a` enter the log likelihood; those of `v` cancel in w m and
# w v.
#
# Underflow. No entry of o, p, a or v exceeds one, except that `a` may reach the number of regimes before the first
# rescaling. A value lost to underflow at one step is below 1e-306, so it changes the likelihood by a relative amount of
# at most about 1e-306 / z[t]. If z[t] >= CERTAIN at every step, the total loss is negligible. Otherwise the two passes
# may have lost the paths that matter (two absorbing regimes, with early data for one and more late data for the other),
# and the caller uses the exact recursion. NaN, dead ends and impossible rows all give a z[t] of zero or NaN, with the
# same consequence.
#
# Memory. For a million rows, allocating memory takes longer than arithmetic. Therefore p is stored in the array of the
# gradient of the logits, a in that of the smoothed probabilities, and m replaces o.
#
# Number of regimes. Functions take a tuple, `each`, with one entry per regime. Its length is part of its type, so LLVM
# unrolls the loops over regimes, and keeps the arrays of `registers` in registers.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT)
def _passes(each, obs, p, a, v):
    """Run both passes in one loop: neither depends on the other, so the processor overlaps them.

    ``a`` has its first time on entry and the forward messages on return; ``v`` has the backward messages on return.
    Returns the scale factors of ``a``. A ``p`` of one step applies to all steps.
    """
    steps = obs.shape[1] - 1
    hop = 1 if p.shape[2] == steps else 0
    factors = np.ones(steps // RESCALE_EVERY + 1)
    now, following, arrived, back = (
        registers(each, (0.0,)),
        registers(each, (0.0,)),
        registers(each, (0.0,)),
        registers(each, (0.0,)),
    )
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


@compiled(CONTRACT)
def _weigh(each, p, v, m, a):
    """Fill ``m``; return 1 / z (step) and the number of steps at which underflow may matter."""
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


@compiled(REORDER)
def _expect(each, inverse, p, v, m, a):
    """Convert ``p`` to the gradient of the logits and ``a`` to smoothed probabilities, in place."""
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


@compiled(CONTRACT)
def _start(each, log_obs, log_init, a):
    """Fill the first time of ``a``, divided by its maximum; return its contribution to the log likelihood.

    The caller's sum of maxima of ``log_obs`` includes that of the first time, which is therefore subtracted.
    """
    largest = log_obs[0, 0] + log_init[0]
    largest_obs = log_obs[0, 0]
    for k in range(1, len(each)):
        largest = max(largest, log_obs[k, 0] + log_init[k])
        largest_obs = max(largest_obs, log_obs[k, 0])
    for k in range(len(each)):
        a[k, 0] = exp_nonpositive(log_obs[k, 0] + log_init[k] - largest)
    return largest - largest_obs


@compiled(CONTRACT)
def scaled_loglik_and_adjoint(each, log_obs, logits, log_init, work, smoothed, d_logits, d_log_init):
    """Value and gradient in scaled probabilities.

    Parameters
    ----------
    each : tuple of float
        One arbitrary number per regime.
    log_obs : array (regime, time)
    logits : array (origin, destination, step)
        ``time - 1`` steps, or one for a constant matrix.
    log_init : array (regime)
    work : array (2, regime, time)
        Overwritten.
    smoothed, d_logits, d_log_init : array
        Filled with the gradients with respect to log_obs, logits and log_init.

    Returns
    -------
    float
        The log likelihood. NaN, with invalid gradients, if underflow may matter, an input is NaN or ``+inf``, or the
        data are impossible.
    """
    obs, v, a, p = work[0], work[1], smoothed, d_logits
    loglik = _start(each, log_obs, log_init, a) + fill_scaled_exp(each, log_obs, obs)
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


_POINTER = ctypes.POINTER(ctypes.c_double)


@ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_int64] * 3, *[_POINTER] * 6)
def _exact(regimes, times, steps, *pointers):
    """Exact recursion; it fills the last three arrays with gradients."""
    shapes = [(regimes, times), (regimes, regimes, steps), (regimes,)] * 2
    arrays = map(np.ctypeslib.as_array, pointers, shapes)
    log_obs, logits, log_init, smoothed, d_logits, d_log_init = arrays
    loglik, by_time, by_step, d_log_init[:] = exact_loglik_and_adjoint(
        np.ascontiguousarray(log_obs.T), np.ascontiguousarray(logits.transpose(2, 0, 1)), log_init
    )
    smoothed[:] = by_time.T
    d_logits[:] = by_step.transpose(1, 2, 0)
    return loglik


# The exact recursion is rarely needed and takes seconds to compile. It is called through Python, which compiles it at
# first use.
llvmlite.binding.add_symbol("regimelag.exact", ctypes.cast(_exact, ctypes.c_void_p).value)
_CALL_EXACT = types.ExternalFunction(
    "regimelag.exact", types.float64(*[types.int64] * 3, *[types.CPointer(types.float64)] * 6)
)


@compiled()
def call_exact(log_obs, logits, log_init, smoothed, d_logits, d_log_init):
    """Log likelihood by the exact recursion; the last three arrays are filled with gradients."""
    arrays = log_obs.ctypes, logits.ctypes, log_init.ctypes, smoothed.ctypes, d_logits.ctypes, d_log_init.ctypes
    return _CALL_EXACT(log_init.size, log_obs.shape[1], logits.shape[2], *arrays)


@compiled()
def check_chain(regimes, times, logits, log_init):
    """Raise ValueError if shapes are inconsistent, so that no loop reads out of bounds."""
    if times < 1:
        raise ValueError("the log likelihood needs log_obs with at least one time")
    if log_init.size != regimes or logits.shape[0] != regimes or logits.shape[1] != regimes:
        raise ValueError("the log likelihood needs one number of regimes in log_obs, log_init and transition_logits")
    if logits.shape[2] not in (1, times - 1):
        raise ValueError("the log likelihood needs one step of transition_logits, or one fewer than times in log_obs")


@compiled()
def loglik_and_adjoint(each, log_obs, logits, log_init):
    """Log likelihood and its gradient with respect to every input.

    Parameters
    ----------
    each : tuple of float
        One arbitrary number per regime; a single one if the number of regimes is unknown at compilation.
    log_obs : array (regime, time)
        Log density of each row in each regime, in nats.
    logits : array (origin, destination, step)
        ``time - 1`` steps, or one for a constant matrix.
    log_init : array (regime)
        Log weights of the regimes at the first time, used as given.

    Returns
    -------
    loglik : float
        Log likelihood in nats; ``-inf`` if the data are impossible.
    d_log_obs : array (regime, time)
        Smoothed probabilities.
    d_logits : array (origin, destination, step)
        Expected transitions minus occupancy times probability, summed over steps for a constant matrix.
    d_log_init : array (regime)
        Smoothed probabilities at the first time.

    Raises
    ------
    ValueError
        If the shapes are inconsistent.

    Notes
    -----
    Gradients are zero if the data are impossible. Value and gradients are NaN if an input is NaN or ``+inf``.
    """
    regimes, times = log_obs.shape
    check_chain(regimes, times, logits, log_init)
    d_log_obs, d_logits, d_log_init = np.empty(log_obs.shape), np.empty(logits.shape), np.empty(regimes)
    loglik = math.nan
    if regimes == len(each):
        work = np.empty((2, regimes, times))
        loglik = scaled_loglik_and_adjoint(each, log_obs, logits, log_init, work, d_log_obs, d_logits, d_log_init)
    if math.isnan(loglik):
        loglik = call_exact(log_obs, logits, log_init, d_log_obs, d_logits, d_log_init)
    return loglik, d_log_obs, d_logits, d_log_init


class LoglikOp(LinkedOp):
    """Value and gradient of a log likelihood: inputs -> (loglik, gradients of the inputs).

    One pass computes both, so the Op returns the gradient with the value, and its pullback multiplies.
    """

    __props__: ClassVar[tuple[str, ...]] = ("regimes",)
    builder: ClassVar[str]

    def __init__(self, regimes: int | None) -> None:
        # Number of regimes if known; numba compiles a fast function for each number.
        self.regimes = regimes

    def static(self):
        return ((0.0,) * (self.regimes or 1),)

    def make_node(self, *inputs):
        return Apply(self, list(inputs), [pt.dscalar(), *(variable.type() for variable in inputs)])

    def infer_shape(self, node, input_shapes):
        return [(), *input_shapes]

    def pullback(self, inputs, outputs, cotangents):
        of_value, *of_gradient = cotangents
        if not all(isinstance(cotangent.type, DisconnectedType) for cotangent in of_gradient):
            raise NotImplementedError(f"{self.builder} has first derivatives only: use a method without a Hessian")
        return [of_value * gradient for gradient in outputs[1:]]

    def value_and_gradients_in_jax(self, jax):
        """Return a JAX function of the inputs with the value and the gradient of each input."""
        raise NotImplementedError(f"{type(self).__name__} has no JAX rule")

    def in_jax(self, jax):
        # JAX must not differentiate the recursions: where a state is impossible, that gives NaN.
        both = self.value_and_gradients_in_jax(jax)
        function = jax.custom_vjp(both)

        def forward(*inputs):
            found = both(*(each.value for each in inputs))
            return found, found[1:]

        def backward(gradients, cotangents):
            of_value, *of_gradient = cotangents
            zero = jax.custom_derivatives.SymbolicZero
            if not all(isinstance(cotangent, zero) for cotangent in of_gradient):
                raise NotImplementedError(f"{self.builder} has first derivatives only: use a method without a Hessian")
            if isinstance(of_value, zero):
                of_value = 0.0
            return tuple(of_value * gradient for gradient in gradients)

        function.defvjp(forward, backward, symbolic_zeros=True)
        return function


class MarkovLoglik(LoglikOp):
    """Log likelihood of a hidden Markov model, as a function of (log_obs, transition_logits, log_init)."""

    gufunc_signature = "(k,t),(k,k,s),(k)->(),(k,t),(k,k,s),(k)"
    loop = loglik_and_adjoint
    builder = "markov_loglik"

    def value_and_gradients_in_jax(self, jax):
        return partial(forward_backward_in_jax, jax, in_parallel=jax.default_backend() != "cpu")
