"""Distributed lag: causal weighted sum of past values of a signal.

    out[t] = sum_{l=1..L} weights[l-1] * signal[L + t - l]

``signal`` has L rows of history, so L + time rows in all. Row L + t is contemporaneous with ``out[t]``, which does not
use it, since lags start at one. The matrix of lagged values is never formed.
"""

# PyTensor prescribes the names and arguments of an Op's methods.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pytensor.graph import Apply
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood.checks import as_float, require, shapes
from regimelag.likelihood.linked_op import LinkedOp
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled


def lag_sum(signal: TensorLike, weights: TensorLike) -> TensorVariable:
    """Weighted sum of the last L values of a signal before each period.

    ``out[t] = sum_{l=1..L} weights[l-1] * signal[L + t - l]``

    Parameters
    ----------
    signal : tensor (..., L + time)
        The signal, with L rows of history. Row L + t is contemporaneous with ``out[t]``, which does not use it.
    weights : tensor (..., lag)
        Weight of lag l at position l - 1, l = 1..L.

    Returns
    -------
    tensor (..., time)
        In units of signal times weights.

    Raises
    ------
    RegimelagError
        If dimensions or lengths known at graph construction are inconsistent.
    ValueError
        If lengths are inconsistent at evaluation.

    Examples
    --------
    >>> from regimelag.likelihood.distributed_lag import lag_sum
    >>> lag_sum([1.0, 2.0, 3.0, 4.0], [0.75, 0.25]).eval()
    array([1.75, 2.75])
    """
    signal, weights = map(as_float, (signal, weights))
    asked, came = "lag_sum(signal, weights)", shapes(signal=signal, weights=weights)
    require(
        asked,
        "signal is (L + time) and weights is (lag), after batch dimensions if any",
        came,
        "give both at least one axis",
        holds=signal.type.ndim >= 1 and weights.type.ndim >= 1,
    )
    rows, count = signal.type.shape[-1], weights.type.shape[-1]
    require(
        asked,
        "signal has L rows of history before the first time, L the number of weights",
        came,
        "start the signal L rows earlier, or use fewer lags",
        holds=rows is None or count is None or rows >= count,
    )
    return Blockwise(LagSum())(signal, weights)


# ---------------------------------------------------------------------------------------------------------------------
# The sum is linear in each argument. With g[t] the cotangent of out[t],
#
#     d weights[l-1] = sum_t g[t] signal[L + t - l]
#     d signal[r]    = sum_l g[r - L + l] weights[l-1]         over the l for which r - L + l is a time
#
# The inner loops run over time, with four lags at once, so that each output is loaded and stored once per four lags.
# ---------------------------------------------------------------------------------------------------------------------


@compiled(CONTRACT)
def _lag_sum(signal, weights):
    """Sum (time) of a signal (L + time) with weights (lag)."""
    lags = weights.size
    if signal.size < lags:
        raise ValueError("lag_sum needs signal (L + time) with at least as many rows as weights (lag) has lags")
    out = np.zeros(signal.size - lags)
    whole = lags - lags % 4
    for lag in range(1, whole, 4):
        # The slice starts at the value of the last of the four lags.
        past = signal[lags - lag - 3 :]
        w0, w1, w2, w3 = weights[lag + 2], weights[lag + 1], weights[lag], weights[lag - 1]
        for t in range(out.size):
            out[t] += (past[t] * w0 + past[t + 1] * w1) + (past[t + 2] * w2 + past[t + 3] * w3)
    for lag in range(whole + 1, lags + 1):
        past = signal[lags - lag :]
        weight = weights[lag - 1]
        for t in range(out.size):
            out[t] += past[t] * weight
    return out


@compiled(REORDER)
def _d_weights(signal, cotangent):
    """Gradient (lag) with respect to the weights."""
    lags = signal.size - cotangent.size
    if lags < 0:
        raise ValueError("lag_sum needs signal (L + time) with as many rows as its sum (time) or more")
    d_weights = np.empty(lags)
    whole = lags - lags % 4
    for lag in range(1, whole, 4):
        past = signal[lags - lag - 3 :]
        sum0 = sum1 = sum2 = sum3 = 0.0
        for t in range(cotangent.size):
            sum0 += cotangent[t] * past[t]
            sum1 += cotangent[t] * past[t + 1]
            sum2 += cotangent[t] * past[t + 2]
            sum3 += cotangent[t] * past[t + 3]
        d_weights[lag + 2] = sum0
        d_weights[lag + 1] = sum1
        d_weights[lag] = sum2
        d_weights[lag - 1] = sum3
    for lag in range(whole + 1, lags + 1):
        past = signal[lags - lag :]
        total = 0.0
        for t in range(cotangent.size):
            total += cotangent[t] * past[t]
        d_weights[lag - 1] = total
    return d_weights


@compiled(CONTRACT)
def _d_signal(weights, cotangent):
    """Gradient (L + time) with respect to the signal."""
    lags = weights.size
    d_signal = np.zeros(lags + cotangent.size)
    for lag in range(1, lags + 1):
        past = d_signal[lags - lag :]
        weight = weights[lag - 1]
        for t in range(cotangent.size):
            past[t] += cotangent[t] * weight
    return d_signal


def _less(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


class LagSum(LinkedOp):
    """Causal sum: (signal, weights) -> (time)."""

    gufunc_signature = "(r),(l)->(t)"
    loop = _lag_sum

    def make_node(self, signal, weights):
        length = _less(signal.type.shape[0], weights.type.shape[0])
        return Apply(self, [signal, weights], [pt.tensor(dtype="float64", shape=(length,))])

    def infer_shape(self, node, input_shapes):
        (rows,), (count,) = input_shapes
        return [(rows - count,)]

    def pullback(self, inputs, outputs, cotangents):
        signal, weights = inputs
        (cotangent,) = cotangents
        return [_pulled(LagSumDSignal, weights, cotangent), _pulled(LagSumDWeights, signal, cotangent)]

    def in_jax(self, jax):
        return lambda signal, weights: jax.numpy.convolve(signal, weights, "valid")[:-1]


class LagSumDWeights(LinkedOp):
    """Adjoint of :class:`LagSum` for the weights: (signal, cotangent) -> (lag)."""

    gufunc_signature = "(r),(t)->(l)"
    loop = _d_weights

    make_node = LagSum.make_node
    infer_shape = LagSum.infer_shape

    def pullback(self, inputs, outputs, cotangents):
        signal, of_sum = inputs
        (cotangent,) = cotangents
        return [_pulled(LagSumDSignal, cotangent, of_sum), _pulled(LagSum, signal, cotangent)]

    def in_jax(self, jax):
        return lambda signal, cotangent: jax.numpy.correlate(signal, cotangent, "valid")[-2::-1]


class LagSumDSignal(LinkedOp):
    """Adjoint of :class:`LagSum` for the signal: (weights, cotangent) -> (L + time)."""

    gufunc_signature = "(l),(t)->(r)"
    loop = _d_signal

    def make_node(self, weights, cotangent):
        count, times = weights.type.shape[0], cotangent.type.shape[0]
        rows = None if count is None or times is None else count + times
        return Apply(self, [weights, cotangent], [pt.tensor(dtype="float64", shape=(rows,))])

    def infer_shape(self, node, input_shapes):
        (count,), (times,) = input_shapes
        return [(count + times,)]

    def pullback(self, inputs, outputs, cotangents):
        weights, of_sum = inputs
        (cotangent,) = cotangents
        return [_pulled(LagSumDWeights, cotangent, of_sum), _pulled(LagSum, cotangent, weights)]

    def in_jax(self, jax):
        return lambda weights, cotangent: jax.numpy.append(jax.numpy.convolve(weights[::-1], cotangent), 0.0)


def _pulled(op: type[LinkedOp], *inputs: TensorVariable) -> TensorVariable:
    return Blockwise(op())(*inputs)
