"""The Ops behind :mod:`regimelag.likelihood.op`, and how numba runs them.

Inputs arrive checked and cast by the builders; shapes that were unknown then are checked here. The arithmetic is in
:mod:`.chain`, :mod:`.density`, :mod:`.predictor` and :mod:`.lags`. Time is the last axis of every input and output.

The chain emits its gradient together with its value, since one pass gives both; its pullback multiplies. The others
have adjoint Ops. Only those that are linear have second derivatives.
"""

# PyTensor fixes the names and arguments of the methods of an Op and of a dispatch.
# ruff: noqa: ARG001, ARG002, D102

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import pytensor.tensor as pt
from numba import types
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph import Apply, Op, Variable
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key
from pytensor.tensor import TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood import chain, density, lags, opaque, predictor, recursions

# PyTensor keeps compiled Ops on disk under this number, so it must change with the code: a digest of the source.
SOURCES = [
    Path(__file__),
    *(Path(str(module.__file__)) for module in (recursions, chain, density, predictor, lags, opaque)),
]
CACHE_VERSION = int.from_bytes(hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).digest()[:6])


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


# ---------------------------------------------------------------------------------------------------------------------
# Dispatch to numba. PyTensor hands scalars over, and wants them back, as arrays without dimensions. Inputs of any
# layout are made contiguous, which costs nothing where they are.
# ---------------------------------------------------------------------------------------------------------------------

VECTOR, MATRIX, CUBE = (types.Array(types.float64, dimensions, "C") for dimensions in (1, 2, 3))
EPISODES = types.Array(types.int64, 1, "C")


_POINTER = ctypes.POINTER(ctypes.c_double)


@ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_int64] * 3, *[_POINTER] * 6)
def _exact(regimes, times, steps, *pointers):
    shapes = [(regimes, times), (regimes, regimes, steps), (regimes,)] * 2
    return recursions.exact_fill(*map(np.ctypeslib.as_array, pointers, shapes))


# The exact recursion is seldom needed and takes seconds to compile. So it is called back in Python, which compiles it
# when it is.
llvmlite.binding.add_symbol("regimelag.exact", ctypes.cast(_exact, ctypes.c_void_p).value)
_CALL_EXACT = types.ExternalFunction(
    "regimelag.exact", types.float64(*[types.int64] * 3, *[types.CPointer(types.float64)] * 6)
)


@register_funcify_default_op_cache_key(MarkovLoglik)
def _numba_markov_loglik(op, node, **kwargs):
    exact = _CALL_EXACT
    known = op.regimes or 0
    each = (0.0,) * max(known, 1)
    arguments = (types.UniTuple(types.float64, len(each)), MATRIX, CUBE, VECTOR, CUBE, MATRIX, CUBE, VECTOR)
    scaled = opaque.by_name(chain.scaled_loglik_and_adjoint, arguments, CACHE_VERSION)

    @numba_njit
    def markov_loglik(log_obs, logits, log_init):
        regimes, times = log_obs.shape
        steps = logits.shape[2]
        if times < 1 or log_init.size != regimes or logits.shape[0] != regimes or logits.shape[1] != regimes:
            raise ValueError("markov_loglik needs one number of regimes in log_obs, log_init and transition_logits")
        if steps not in (1, times - 1):
            raise ValueError("markov_loglik needs one step of transition_logits, or one fewer than times in log_obs")
        log_obs, logits = np.ascontiguousarray(log_obs), np.ascontiguousarray(logits)
        log_init = np.ascontiguousarray(log_init)
        d_log_obs, d_logits, d_log_init = np.empty(log_obs.shape), np.empty(logits.shape), np.empty(regimes)
        loglik = math.nan
        if regimes == known:
            work = np.empty((2, regimes, times))
            loglik = scaled((each, log_obs, logits, log_init, work, d_log_obs, d_logits, d_log_init))
        if math.isnan(loglik):
            loglik = exact(
                regimes,
                times,
                steps,
                log_obs.ctypes,
                logits.ctypes,
                log_init.ctypes,
                d_log_obs.ctypes,
                d_logits.ctypes,
                d_log_init.ctypes,
            )
        return np.asarray(loglik), d_log_obs, d_logits, d_log_init

    return markov_loglik, CACHE_VERSION


@register_funcify_default_op_cache_key(LagSum)
def _numba_lag_sum(op, node, **kwargs):
    fill = opaque.by_name(lags.fill_lag_sum, (VECTOR, VECTOR, VECTOR), CACHE_VERSION)

    @numba_njit
    def lag_sum(signal, weights):
        times = signal.size - weights.size
        if times < 0:
            raise ValueError("lag_sum needs signal (L + time) with at least as many rows as weights (lag) has lags")
        out = np.empty(times)
        fill((np.ascontiguousarray(signal), np.ascontiguousarray(weights), out))
        return out

    return lag_sum, CACHE_VERSION


@register_funcify_default_op_cache_key(LagSumDWeights)
def _numba_lag_sum_d_weights(op, node, **kwargs):
    fill = opaque.by_name(lags.fill_d_weights, (VECTOR, VECTOR, VECTOR), CACHE_VERSION)

    @numba_njit
    def lag_sum_d_weights(signal, cotangent):
        count = signal.size - cotangent.size
        if count < 0:
            raise ValueError("lag_sum_d_weights needs signal (L + time) with as many rows as cotangent (time) or more")
        d_weights = np.empty(count)
        fill((np.ascontiguousarray(signal), np.ascontiguousarray(cotangent), d_weights))
        return d_weights

    return lag_sum_d_weights, CACHE_VERSION


@register_funcify_default_op_cache_key(LagSumDSignal)
def _numba_lag_sum_d_signal(op, node, **kwargs):
    fill = opaque.by_name(lags.fill_d_signal, (VECTOR, VECTOR, VECTOR), CACHE_VERSION)

    @numba_njit
    def lag_sum_d_signal(weights, cotangent):
        d_signal = np.empty(weights.size + cotangent.size)
        fill((np.ascontiguousarray(weights), np.ascontiguousarray(cotangent), d_signal))
        return d_signal

    return lag_sum_d_signal, CACHE_VERSION


@register_funcify_default_op_cache_key(Predictor)
def _numba_predictor(op, node, **kwargs):
    check = opaque.by_name(predictor.check_predictor, (types.int64, types.int64, EPISODES), CACHE_VERSION)
    fill = opaque.by_name(predictor.fill_predictor, (MATRIX, CUBE, EPISODES, MATRIX), CACHE_VERSION)

    @numba_njit
    def linear_predictor(covariates, coefficients, episode):
        episode = np.ascontiguousarray(episode)
        check((covariates.shape[1], coefficients.shape[0], episode))
        out = np.empty((coefficients.shape[2], covariates.shape[1]))
        fill((np.ascontiguousarray(covariates), np.ascontiguousarray(coefficients), episode, out))
        return out

    return linear_predictor, CACHE_VERSION


@register_funcify_default_op_cache_key(PredictorDCoefficients)
def _numba_predictor_d_coefficients(op, node, **kwargs):
    fill = opaque.by_name(predictor.fill_d_coefficients, (MATRIX, EPISODES, MATRIX, CUBE), CACHE_VERSION)

    @numba_njit
    def predictor_d_coefficients(covariates, episode, cotangent, like):
        out = np.empty(like.shape)
        fill((np.ascontiguousarray(covariates), np.ascontiguousarray(episode), np.ascontiguousarray(cotangent), out))
        return out

    return predictor_d_coefficients, CACHE_VERSION


@register_funcify_default_op_cache_key(PredictorDCovariates)
def _numba_predictor_d_covariates(op, node, **kwargs):
    fill = opaque.by_name(predictor.fill_d_covariates, (CUBE, EPISODES, MATRIX, MATRIX), CACHE_VERSION)

    @numba_njit
    def predictor_d_covariates(coefficients, episode, cotangent):
        out = np.empty((coefficients.shape[1], cotangent.shape[1]))
        fill((np.ascontiguousarray(coefficients), np.ascontiguousarray(episode), np.ascontiguousarray(cotangent), out))
        return out

    return predictor_d_covariates, CACHE_VERSION


@register_funcify_default_op_cache_key(LinearMap)
def _numba_linear_map(op, node, **kwargs):
    fill = opaque.by_name(predictor.fill_map, (MATRIX, MATRIX, MATRIX), CACHE_VERSION)

    @numba_njit
    def linear_map(matrix, vectors):
        if vectors.shape[1] != matrix.shape[0]:
            raise ValueError("linear_map needs as many entries in a vector as the matrix has rows")
        out = np.empty((vectors.shape[0], matrix.shape[1]))
        fill((np.ascontiguousarray(matrix), np.ascontiguousarray(vectors), out))
        return out

    return linear_map, CACHE_VERSION


DENSITY = (VECTOR, MATRIX, MATRIX, EPISODES)


@register_funcify_default_op_cache_key(StudentTLogpdf)
def _numba_student_t_logpdf(op, node, **kwargs):
    check = opaque.by_name(density.check_density, DENSITY, CACHE_VERSION)
    fill = opaque.by_name(density.fill_student_t, (*DENSITY, types.float64, MATRIX), CACHE_VERSION)

    @numba_njit
    def student_t_logpdf(y, location, log_scale, episode, nu):
        y, location = np.ascontiguousarray(y), np.ascontiguousarray(location)
        log_scale, episode = np.ascontiguousarray(log_scale), np.ascontiguousarray(episode)
        check((y, location, log_scale, episode))
        log_obs = np.empty(location.shape)
        fill((y, location, log_scale, episode, nu.item(), log_obs))
        return log_obs

    return student_t_logpdf, CACHE_VERSION


@register_funcify_default_op_cache_key(StudentTLogpdfAdjoint)
def _numba_student_t_logpdf_adjoint(op, node, **kwargs):
    fill = opaque.by_name(
        density.fill_student_t_adjoint, (*DENSITY, types.float64, MATRIX, MATRIX, MATRIX, MATRIX), CACHE_VERSION
    )

    @numba_njit
    def student_t_logpdf_adjoint(y, location, log_scale, episode, nu, log_obs, cotangent):
        d_location, d_log_scale = np.empty(location.shape), np.empty(log_scale.shape)
        d_nu = fill(
            (
                np.ascontiguousarray(y),
                np.ascontiguousarray(location),
                np.ascontiguousarray(log_scale),
                np.ascontiguousarray(episode),
                nu.item(),
                np.ascontiguousarray(log_obs),
                np.ascontiguousarray(cotangent),
                d_location,
                d_log_scale,
            )
        )
        return d_location, d_log_scale, np.asarray(d_nu)

    return student_t_logpdf_adjoint, CACHE_VERSION


@register_funcify_default_op_cache_key(NormalLogpdf)
def _numba_normal_logpdf(op, node, **kwargs):
    check = opaque.by_name(density.check_density, DENSITY, CACHE_VERSION)
    fill = opaque.by_name(density.fill_normal, (*DENSITY, MATRIX), CACHE_VERSION)

    @numba_njit
    def normal_logpdf(y, location, log_scale, episode):
        y, location = np.ascontiguousarray(y), np.ascontiguousarray(location)
        log_scale, episode = np.ascontiguousarray(log_scale), np.ascontiguousarray(episode)
        check((y, location, log_scale, episode))
        log_obs = np.empty(location.shape)
        fill((y, location, log_scale, episode, log_obs))
        return log_obs

    return normal_logpdf, CACHE_VERSION


@register_funcify_default_op_cache_key(NormalLogpdfAdjoint)
def _numba_normal_logpdf_adjoint(op, node, **kwargs):
    fill = opaque.by_name(density.fill_normal_adjoint, (*DENSITY, MATRIX, MATRIX, MATRIX), CACHE_VERSION)

    @numba_njit
    def normal_logpdf_adjoint(y, location, log_scale, episode, cotangent):
        d_location, d_log_scale = np.empty(location.shape), np.empty(log_scale.shape)
        fill(
            (
                np.ascontiguousarray(y),
                np.ascontiguousarray(location),
                np.ascontiguousarray(log_scale),
                np.ascontiguousarray(episode),
                np.ascontiguousarray(cotangent),
                d_location,
                d_log_scale,
            )
        )
        return d_location, d_log_scale

    return normal_logpdf_adjoint, CACHE_VERSION
