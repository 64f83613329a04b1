"""How numba runs the Op of :mod:`.mixture_node`; :mod:`.dispatch` does the same for the others."""

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

from regimelag.likelihood import chain, mixture, mixture_recursions, opaque
from regimelag.likelihood.mixture_node import LagMixtureLoglik

CACHE_VERSION = opaque.version_of(sys.modules[__name__], chain, mixture, mixture_recursions)

VECTOR, MATRIX, CUBE = (types.Array(types.float64, dimensions, "C") for dimensions in (1, 2, 3))
BLOCKS = types.Array(types.int64, 1, "C")
SHAPE = types.UniTuple(types.int64, 3)
_POINTER = ctypes.POINTER(ctypes.c_double)


@ctypes.CFUNCTYPE(
    ctypes.c_double, *[ctypes.c_int64] * 4, *[_POINTER] * 4, ctypes.POINTER(ctypes.c_int64), *[_POINTER] * 4
)
def _exact(combinations, regimes, times, steps, *pointers):
    shapes = [(combinations, regimes, times), (regimes, regimes, steps), (regimes,), (combinations,)]
    return mixture_recursions.exact_fill(*map(np.ctypeslib.as_array, pointers, [*shapes, (times,), *shapes]))


# Called back in Python for the same reason as in dispatch.py: it is seldom needed and takes seconds to compile.
llvmlite.binding.add_symbol("regimelag.exact_mixture", ctypes.cast(_exact, ctypes.c_void_p).value)
_CALL_EXACT = types.ExternalFunction(
    "regimelag.exact_mixture",
    types.float64(
        *[types.int64] * 4,
        *[types.CPointer(types.float64)] * 4,
        types.CPointer(types.int64),
        *[types.CPointer(types.float64)] * 4,
    ),
)


@register_funcify_default_op_cache_key(LagMixtureLoglik)
def _numba_lag_mixture_loglik(op, node, **kwargs):
    exact = _CALL_EXACT
    check = opaque.by_name(
        mixture_recursions.check_mixture, (SHAPE, SHAPE, types.int64, types.int64, BLOCKS), CACHE_VERSION
    )

    known = op.regimes
    each = (0.0,) * known
    regimes_type = types.UniTuple(types.float64, known)
    fill_softmax = opaque.by_name(chain.fill_softmax, (regimes_type, CUBE, CUBE), CACHE_VERSION)
    scaled = opaque.by_name(
        mixture.scaled_lag_loglik_and_adjoint,
        (regimes_type, CUBE, VECTOR, VECTOR, BLOCKS, CUBE, CUBE, CUBE, VECTOR, VECTOR, MATRIX),
        CACHE_VERSION,
    )

    @numba_njit
    def lag_mixture_loglik(log_obs, logits, log_init, log_prior, block):
        combinations, regimes, times = log_obs.shape
        origins, destinations, steps = logits.shape
        block = np.ascontiguousarray(block)
        check((log_obs.shape, (steps, origins, destinations), log_init.size, log_prior.size, block))
        log_obs, logits = np.ascontiguousarray(log_obs), np.ascontiguousarray(logits)
        log_init, log_prior = np.ascontiguousarray(log_init), np.ascontiguousarray(log_prior)
        d_log_obs, d_logits = np.empty(log_obs.shape), np.empty(logits.shape)
        d_log_init, d_log_prior = np.empty(regimes), np.empty(combinations)
        loglik = math.nan
        if regimes == known:
            fill_softmax((each, logits, d_logits))
            work, probability = np.empty(log_obs.shape), np.empty((block[-1] + 1, combinations))
            gradients = (d_log_obs, d_logits, d_log_init, d_log_prior)
            loglik = scaled((each, log_obs, log_init, log_prior, block, work, *gradients, probability))
        if math.isnan(loglik):
            loglik = exact(
                combinations,
                regimes,
                times,
                steps,
                log_obs.ctypes,
                logits.ctypes,
                log_init.ctypes,
                log_prior.ctypes,
                block.ctypes,
                d_log_obs.ctypes,
                d_logits.ctypes,
                d_log_init.ctypes,
                d_log_prior.ctypes,
            )
        return np.asarray(loglik), d_log_obs, d_logits, d_log_init, d_log_prior

    return lag_mixture_loglik, CACHE_VERSION
