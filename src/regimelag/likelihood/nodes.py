"""The Ops behind :mod:`regimelag.likelihood.op`: shapes and gradients.

Inputs arrive checked and cast by the builders. The arithmetic is in :mod:`.chain`, :mod:`.density`, :mod:`.predictor`
and :mod:`.lags`; :mod:`.dispatch` tells numba of it. Time is the last axis of every input and output.

The chain emits its gradient together with its value, since one pass gives both; its pullback multiplies. The others
have adjoint Ops. Only those that are linear have second derivatives.
"""

# PyTensor fixes the names and arguments of the methods of an Op.
# ruff: noqa: ARG002, D102

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph import Apply, Op, Variable
from pytensor.tensor import TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood import chain, density, lags, predictor


def _store(output_storage: list[list[Any]], results: Sequence[Any]) -> None:
    for storage, result in zip(output_storage, results, strict=True):
        storage[0] = np.asarray(result)


def _like(variable: Variable) -> Variable:
    """Fresh variable of the same type and static shape."""
    return variable.type()


class MarkovLoglik(Op):
    """Value and gradient of the chain; see :func:`regimelag.likelihood.op.markov_loglik`."""

    __props__ = ("regimes",)
    gufunc_signature = "(k,t),(k,k,s),(k)->(),(k,t),(k,k,s),(k)"

    def __init__(self, regimes: int | None) -> None:
        # How many there are, if that is known; numba has a fast function for each number.
        self.regimes = regimes

    def make_node(self, log_obs, transition_logits, log_init):
        inputs = [log_obs, transition_logits, log_init]
        return Apply(self, inputs, [pt.dscalar(), *map(_like, inputs)])

    def perform(self, node, inputs, output_storage):
        log_obs, logits, log_init = inputs
        loglik, d_log_obs, d_logits, d_log_init = chain.loglik_and_adjoint(
            log_obs.T, logits.transpose(2, 0, 1), log_init
        )
        _store(output_storage, [loglik, d_log_obs.T, d_logits.transpose(1, 2, 0), d_log_init])

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


class Predictor(Op):
    """Linear predictor; see :func:`regimelag.likelihood.op.linear_predictor`."""

    __props__ = ()
    gufunc_signature = "(c,t),(e,c,m),(n)->(m,t)"

    def make_node(self, covariates, coefficients, episode):
        shape = (coefficients.type.shape[2], covariates.type.shape[1])
        return Apply(self, [covariates, coefficients, episode], [pt.tensor(dtype="float64", shape=shape)])

    def perform(self, node, inputs, output_storage):
        covariates, coefficients, episode = inputs
        predictor.check_predictor(covariates.shape[1], coefficients.shape[0], episode)
        out = np.empty((coefficients.shape[2], covariates.shape[1]))
        predictor.fill_predictor(np.ascontiguousarray(covariates), np.ascontiguousarray(coefficients), episode, out)
        _store(output_storage, [out])

    def infer_shape(self, node, input_shapes):
        (_, times), (_, _, columns), _ = input_shapes
        return [(columns, times)]

    def connection_pattern(self, node):
        return [[True], [True], [False]]

    def pullback(self, inputs, outputs, cotangents):
        covariates, coefficients, episode = inputs
        (cotangent,) = cotangents
        d_coefficients = Blockwise(PredictorDCoefficients())(covariates, episode, cotangent, coefficients)
        d_covariates = Blockwise(PredictorDCovariates())(coefficients, episode, cotangent)
        return [d_covariates, d_coefficients, disconnected_type()]


class PredictorDCoefficients(Op):
    """Adjoint of :class:`Predictor` for the coefficients, which it takes for their shape alone."""

    __props__ = ()
    gufunc_signature = "(c,t),(n),(m,t),(e,c,m)->(e,c,m)"

    def make_node(self, covariates, episode, cotangent, like):
        return Apply(self, [covariates, episode, cotangent, like], [_like(like)])

    def perform(self, node, inputs, output_storage):
        covariates, episode, cotangent, like = inputs
        out = np.empty(like.shape)
        predictor.fill_d_coefficients(np.ascontiguousarray(covariates), episode, np.ascontiguousarray(cotangent), out)
        _store(output_storage, [out])

    def infer_shape(self, node, input_shapes):
        return [input_shapes[3]]

    def connection_pattern(self, node):
        return [[True], [False], [True], [False]]

    def pullback(self, inputs, outputs, cotangents):
        covariates, episode, of_sum, _ = inputs
        (cotangent,) = cotangents
        d_covariates = Blockwise(PredictorDCovariates())(cotangent, episode, of_sum)
        return [
            d_covariates,
            disconnected_type(),
            Blockwise(Predictor())(covariates, cotangent, episode),
            disconnected_type(),
        ]


class PredictorDCovariates(Op):
    """Adjoint of :class:`Predictor` for the covariates."""

    __props__ = ()
    gufunc_signature = "(e,c,m),(n),(m,t)->(c,t)"

    def make_node(self, coefficients, episode, cotangent):
        shape = (coefficients.type.shape[1], cotangent.type.shape[1])
        return Apply(self, [coefficients, episode, cotangent], [pt.tensor(dtype="float64", shape=shape)])

    def perform(self, node, inputs, output_storage):
        coefficients, episode, cotangent = inputs
        out = np.empty((coefficients.shape[1], cotangent.shape[1]))
        predictor.fill_d_covariates(np.ascontiguousarray(coefficients), episode, np.ascontiguousarray(cotangent), out)
        _store(output_storage, [out])

    def infer_shape(self, node, input_shapes):
        (_, covariates, _), _, (_, times) = input_shapes
        return [(covariates, times)]

    def connection_pattern(self, node):
        return [[True], [False], [True]]

    def pullback(self, inputs, outputs, cotangents):
        coefficients, episode, of_sum = inputs
        (cotangent,) = cotangents
        d_coefficients = Blockwise(PredictorDCoefficients())(cotangent, episode, of_sum, coefficients)
        return [d_coefficients, disconnected_type(), Blockwise(Predictor())(cotangent, coefficients, episode)]


class LinearMap(Op):
    """Product with a constant matrix; see :func:`regimelag.likelihood.op.linear_map`."""

    __props__ = ()

    def make_node(self, matrix, vectors):
        shape = (vectors.type.shape[0], matrix.type.shape[1])
        return Apply(self, [matrix, vectors], [pt.tensor(dtype="float64", shape=shape)])

    def perform(self, node, inputs, output_storage):
        matrix, vectors = inputs
        _store(output_storage, [vectors @ matrix])

    def infer_shape(self, node, input_shapes):
        (_, columns), (rows, _) = input_shapes
        return [(rows, columns)]

    def connection_pattern(self, node):
        return [[False], [True]]

    def pullback(self, inputs, outputs, cotangents):
        matrix, _ = inputs
        return [disconnected_type(), LinearMap()(matrix.T, cotangents[0])]


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

    gufunc_signature = "(t),(k,t),(e,k),(t),()->(k,t)"

    def perform(self, node, inputs, output_storage):
        *arrays, nu = inputs
        _store(output_storage, [density.student_t_logpdf(*arrays, float(nu))])

    def pullback(self, inputs, outputs, cotangents):
        d_location, d_log_scale, d_nu = Blockwise(StudentTLogpdfAdjoint())(*inputs, outputs[0], cotangents[0])
        return [-d_location.sum(axis=-2), d_location, d_log_scale, disconnected_type(), d_nu]


class StudentTLogpdfAdjoint(_LogpdfAdjoint):
    """Adjoint of :class:`StudentTLogpdf`, which also takes its output, to save a logarithm."""

    n_parameters = 1
    gufunc_signature = "(t),(k,t),(e,k),(t),(),(k,t),(k,t)->(k,t),(e,k),()"

    def perform(self, node, inputs, output_storage):
        y, location, log_scale, episode, nu, log_obs, cotangent = inputs
        results = density.student_t_logpdf_adjoint(y, location, log_scale, episode, float(nu), log_obs, cotangent)
        _store(output_storage, results)


class NormalLogpdf(_Logpdf):
    """Normal log density; see :func:`regimelag.likelihood.op.normal_logpdf`."""

    gufunc_signature = "(t),(k,t),(e,k),(t)->(k,t)"

    def perform(self, node, inputs, output_storage):
        _store(output_storage, [density.normal_logpdf(*inputs)])

    def pullback(self, inputs, outputs, cotangents):
        d_location, d_log_scale = Blockwise(NormalLogpdfAdjoint())(*inputs, cotangents[0])
        return [-d_location.sum(axis=-2), d_location, d_log_scale, disconnected_type()]


class NormalLogpdfAdjoint(_LogpdfAdjoint):
    """Adjoint of :class:`NormalLogpdf`."""

    n_parameters = 0
    gufunc_signature = "(t),(k,t),(e,k),(t),(k,t)->(k,t),(e,k)"

    def perform(self, node, inputs, output_storage):
        _store(output_storage, density.normal_logpdf_adjoint(*inputs))
