"""How numba runs the Ops of :mod:`.nodes`.

PyTensor hands scalars over, and wants them back, as arrays without dimensions. Inputs of any layout are made
contiguous, which costs nothing where they are. Shapes that the builders could not know are checked here. The loops are
called by name, see :mod:`.opaque`.
"""

# PyTensor fixes the arguments of a dispatch.
# ruff: noqa: ARG001

from __future__ import annotations

import ctypes
import math
import sys

import llvmlite.binding
import numpy as np
from numba import types
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from regimelag.likelihood import chain, density, lags, opaque, predictor, recursions
from regimelag.likelihood.nodes import (
    LagSum,
    LagSumDSignal,
    LagSumDWeights,
    LinearMap,
    MarkovLoglik,
    NormalLogpdf,
    NormalLogpdfAdjoint,
    Predictor,
    PredictorDCoefficients,
    PredictorDCovariates,
    StudentTLogpdf,
    StudentTLogpdfAdjoint,
)

CACHE_VERSION = opaque.version_of(sys.modules[__name__], chain, density, lags, predictor, recursions)

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
        if times < 1:
            raise ValueError("markov_loglik needs log_obs (time, regime) with at least one time")
        if log_init.size != regimes or logits.shape[0] != regimes or logits.shape[1] != regimes:
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
