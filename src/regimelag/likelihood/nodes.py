"""The Ops behind :mod:`regimelag.likelihood.op`, and how numba runs them.

Inputs arrive checked and cast by the builders; shapes that were unknown then are checked by the arithmetic, which is in
:mod:`.chain`, :mod:`.density` and :mod:`.lags`. No Op does any of its own.

The chain emits its gradient together with its value, since one pass gives both; its pullback multiplies. The densities
and the lag sum have adjoint Ops. Only the lag sum, which is linear, has second derivatives.
"""

# PyTensor fixes the names and arguments of the methods of an Op and of a dispatch.
# ruff: noqa: ARG001, ARG002, D102

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph import Apply, Op, Variable
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood import chain, density, lags, recursions

# PyTensor keeps compiled Ops on disk under this number, so it must change with the arithmetic: a digest of the source.
CACHE_VERSION = int.from_bytes(
    hashlib.sha256("".join(inspect.getsource(m) for m in (recursions, chain, density, lags)).encode()).digest()[:6]
)


def _store(output_storage: list[list[Any]], results: Sequence[Any]) -> None:
    for storage, result in zip(output_storage, results, strict=True):
        storage[0] = np.asarray(result)


def _like(variable: Variable) -> Variable:
    """Fresh variable of the same type and static shape."""
    return variable.type()


class MarkovLoglik(Op):
    """Value and gradient of the chain; see :func:`regimelag.likelihood.op.markov_loglik`."""

    __props__ = ()
    gufunc_signature = "(t,k),(s,k,k),(k)->(),(t,k),(s,k,k),(k)"

    def make_node(self, log_obs, transition_logits, log_init):
        inputs = [log_obs, transition_logits, log_init]
        return Apply(self, inputs, [pt.dscalar(), *map(_like, inputs)])

    def perform(self, node, inputs, output_storage):
        _store(output_storage, chain.loglik_and_adjoint(*inputs))

    def infer_shape(self, node, input_shapes):
        return [(), *input_shapes]

    def pullback(self, inputs, outputs, cotangents):
        of_value, *of_gradient = cotangents
        if not all(isinstance(cotangent.type, DisconnectedType) for cotangent in of_gradient):
            raise NotImplementedError("markov_loglik has first derivatives only: use a method that needs no Hessian")
        return [of_value * gradient for gradient in outputs[1:]]


class LagSum(Op):
    """Causal sum; see :func:`regimelag.likelihood.op.lag_sum`."""

    __props__ = ()
    gufunc_signature = "(r),(l)->(t)"

    def make_node(self, signal, weights):
        rows, count = signal.type.shape[0], weights.type.shape[0]
        times = None if rows is None or count is None else rows - count
        return Apply(self, [signal, weights], [pt.tensor(dtype="float64", shape=(times,))])

    def perform(self, node, inputs, output_storage):
        _store(output_storage, [lags.lag_sum(*inputs)])

    def infer_shape(self, node, input_shapes):
        (rows,), (count,) = input_shapes
        return [(rows - count,)]

    def pullback(self, inputs, outputs, cotangents):
        signal, weights = inputs
        (cotangent,) = cotangents
        return [_lag_sum_d_signal(weights, cotangent), _lag_sum_d_weights(signal, cotangent)]


class LagSumDWeights(Op):
    """Adjoint of :class:`LagSum` for the weights: (signal, cotangent) -> (lag)."""

    __props__ = ()
    gufunc_signature = "(r),(t)->(l)"

    make_node = LagSum.make_node
    infer_shape = LagSum.infer_shape

    def perform(self, node, inputs, output_storage):
        _store(output_storage, [lags.lag_sum_d_weights(*inputs)])

    def pullback(self, inputs, outputs, cotangents):
        signal, of_sum = inputs
        (cotangent,) = cotangents
        return [_lag_sum_d_signal(cotangent, of_sum), Blockwise(LagSum())(signal, cotangent)]


class LagSumDSignal(Op):
    """Adjoint of :class:`LagSum` for the signal: (weights, cotangent) -> (L + time)."""

    __props__ = ()
    gufunc_signature = "(l),(t)->(r)"

    def make_node(self, weights, cotangent):
        count, times = weights.type.shape[0], cotangent.type.shape[0]
        rows = None if count is None or times is None else count + times
        return Apply(self, [weights, cotangent], [pt.tensor(dtype="float64", shape=(rows,))])

    def perform(self, node, inputs, output_storage):
        _store(output_storage, [lags.lag_sum_d_signal(*inputs)])

    def infer_shape(self, node, input_shapes):
        (count,), (times,) = input_shapes
        return [(count + times,)]

    def pullback(self, inputs, outputs, cotangents):
        weights, of_sum = inputs
        (cotangent,) = cotangents
        return [_lag_sum_d_weights(cotangent, of_sum), Blockwise(LagSum())(cotangent, weights)]


def _lag_sum_d_weights(signal: TensorVariable, cotangent: TensorVariable) -> TensorVariable:
    return Blockwise(LagSumDWeights())(signal, cotangent)


def _lag_sum_d_signal(weights: TensorVariable, cotangent: TensorVariable) -> TensorVariable:
    return Blockwise(LagSumDSignal())(weights, cotangent)


class _Logpdf(Op):
    """What the two densities share: inputs (y, location, log_scale, episode, *shape parameters)."""

    __props__ = ()

    def make_node(self, y, location, log_scale, episode, *parameters):
        return Apply(self, [y, location, log_scale, episode, *parameters], [_like(location)])

    def infer_shape(self, node, input_shapes):
        return [input_shapes[1]]

    def connection_pattern(self, node):
        return [[position != 3] for position in range(len(node.inputs))]  # noqa: PLR2004


class _LogpdfAdjoint(Op):
    """What their adjoints share: one output for location, log_scale and each shape parameter."""

    __props__ = ()

    def make_node(self, y, location, log_scale, episode, *rest):
        parameters = rest[: self.n_parameters]
        outputs = [_like(variable) for variable in (location, log_scale, *parameters)]
        return Apply(self, [y, location, log_scale, episode, *rest], outputs)

    def infer_shape(self, node, input_shapes):
        return [input_shapes[1], input_shapes[2], *input_shapes[4 : 4 + self.n_parameters]]


class StudentTLogpdf(_Logpdf):
    """Student-t log density; see :func:`regimelag.likelihood.op.student_t_logpdf`."""

    gufunc_signature = "(t),(t,k),(e,k),(t),()->(t,k)"

    def perform(self, node, inputs, output_storage):
        *arrays, nu = inputs
        _store(output_storage, [density.student_t_logpdf(*arrays, float(nu))])

    def pullback(self, inputs, outputs, cotangents):
        d_location, d_log_scale, d_nu = Blockwise(StudentTLogpdfAdjoint())(*inputs, outputs[0], cotangents[0])
        return [-d_location.sum(axis=-1), d_location, d_log_scale, disconnected_type(), d_nu]


class StudentTLogpdfAdjoint(_LogpdfAdjoint):
    """Adjoint of :class:`StudentTLogpdf`, which also takes its output, to save a logarithm."""

    n_parameters = 1
    gufunc_signature = "(t),(t,k),(e,k),(t),(),(t,k),(t,k)->(t,k),(e,k),()"

    def perform(self, node, inputs, output_storage):
        y, location, log_scale, episode, nu, log_obs, cotangent = inputs
        results = density.student_t_logpdf_adjoint(y, location, log_scale, episode, float(nu), log_obs, cotangent)
        _store(output_storage, results)


class NormalLogpdf(_Logpdf):
    """Normal log density; see :func:`regimelag.likelihood.op.normal_logpdf`."""

    gufunc_signature = "(t),(t,k),(e,k),(t)->(t,k)"

    def perform(self, node, inputs, output_storage):
        _store(output_storage, [density.normal_logpdf(*inputs)])

    def pullback(self, inputs, outputs, cotangents):
        d_location, d_log_scale = Blockwise(NormalLogpdfAdjoint())(*inputs, cotangents[0])
        return [-d_location.sum(axis=-1), d_location, d_log_scale, disconnected_type()]


class NormalLogpdfAdjoint(_LogpdfAdjoint):
    """Adjoint of :class:`NormalLogpdf`."""

    n_parameters = 0
    gufunc_signature = "(t),(t,k),(e,k),(t),(t,k)->(t,k),(e,k)"

    def perform(self, node, inputs, output_storage):
        _store(output_storage, density.normal_logpdf_adjoint(*inputs))


# ---------------------------------------------------------------------------------------------------------------------
# Dispatch to numba. PyTensor hands scalars over, and wants them back, as arrays without dimensions.
# ---------------------------------------------------------------------------------------------------------------------


@register_funcify_default_op_cache_key(MarkovLoglik)
def _numba_markov_loglik(op, node, **kwargs):
    loglik_and_adjoint = chain.loglik_and_adjoint

    @numba_njit
    def markov_loglik(log_obs, transition_logits, log_init):
        loglik, d_log_obs, d_logits, d_log_init = loglik_and_adjoint(log_obs, transition_logits, log_init)
        return np.asarray(loglik), d_log_obs, d_logits, d_log_init

    return markov_loglik, CACHE_VERSION


@register_funcify_default_op_cache_key(LagSum)
def _numba_lag_sum(op, node, **kwargs):
    return lags.lag_sum, CACHE_VERSION


@register_funcify_default_op_cache_key(LagSumDWeights)
def _numba_lag_sum_d_weights(op, node, **kwargs):
    return lags.lag_sum_d_weights, CACHE_VERSION


@register_funcify_default_op_cache_key(LagSumDSignal)
def _numba_lag_sum_d_signal(op, node, **kwargs):
    return lags.lag_sum_d_signal, CACHE_VERSION


@register_funcify_default_op_cache_key(StudentTLogpdf)
def _numba_student_t_logpdf(op, node, **kwargs):
    logpdf = density.student_t_logpdf

    @numba_njit
    def student_t_logpdf(y, location, log_scale, episode, nu):
        return logpdf(y, location, log_scale, episode, nu.item())

    return student_t_logpdf, CACHE_VERSION


@register_funcify_default_op_cache_key(StudentTLogpdfAdjoint)
def _numba_student_t_logpdf_adjoint(op, node, **kwargs):
    adjoint = density.student_t_logpdf_adjoint

    @numba_njit
    def student_t_logpdf_adjoint(y, location, log_scale, episode, nu, log_obs, cotangent):
        d_location, d_log_scale, d_nu = adjoint(y, location, log_scale, episode, nu.item(), log_obs, cotangent)
        return d_location, d_log_scale, np.asarray(d_nu)

    return student_t_logpdf_adjoint, CACHE_VERSION


@register_funcify_default_op_cache_key(NormalLogpdf)
def _numba_normal_logpdf(op, node, **kwargs):
    return density.normal_logpdf, CACHE_VERSION


@register_funcify_default_op_cache_key(NormalLogpdfAdjoint)
def _numba_normal_logpdf_adjoint(op, node, **kwargs):
    return density.normal_logpdf_adjoint, CACHE_VERSION
