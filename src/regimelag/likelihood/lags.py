"""Causal sum of a lagged signal, and its adjoints.

    out[t] = sum_{l=1..L} weights[l-1] * signal[L + t - l]

``signal`` starts L rows before the first output, so it has L + time rows. Row L + t holds the value of the same time as
``out[t]``; lags start at one, so ``out[t]`` never uses it. Nothing builds the matrix of lagged values.

The sum is linear in each argument. With g[t] the cotangent of out[t],

    d weights[l-1] = sum_t g[t] signal[L + t - l]
    d signal[r]    = sum_l g[r - L + l] weights[l-1]         over the l for which r - L + l is a time

The inner loops run over time, four lags at once, so that each row of output is loaded and stored once for four lags.
"""

import numpy as np
from numba import njit

# This module imports numpy and numba alone. numba's file cache watches this file and not what it imports.
FUSED = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
SUMMED = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}


@njit(**FUSED)
def fill_lag_sum(signal, weights, out):
    """Fill ``out`` (time); see :func:`lag_sum`."""
    lags = weights.size
    out.fill(0.0)
    whole = lags - lags % 4
    for lag in range(1, whole, 4):
        # The slice starts at the value for the last of the four lags.
        past = signal[lags - lag - 3 :]
        w0, w1, w2, w3 = weights[lag + 2], weights[lag + 1], weights[lag], weights[lag - 1]
        for t in range(out.size):
            out[t] += (past[t] * w0 + past[t + 1] * w1) + (past[t + 2] * w2 + past[t + 3] * w3)
    for lag in range(whole + 1, lags + 1):
        past = signal[lags - lag :]
        weight = weights[lag - 1]
        for t in range(out.size):
            out[t] += past[t] * weight


@njit(**SUMMED)
def fill_d_weights(signal, cotangent, d_weights):
    """Fill ``d_weights`` (lag); see :func:`lag_sum_d_weights`."""
    lags = d_weights.size
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


@njit(**FUSED)
def fill_d_signal(weights, cotangent, d_signal):
    """Fill ``d_signal`` (L + time); see :func:`lag_sum_d_signal`."""
    lags = weights.size
    d_signal.fill(0.0)
    for lag in range(1, lags + 1):
        past = d_signal[lags - lag :]
        weight = weights[lag - 1]
        for t in range(cotangent.size):
            past[t] += cotangent[t] * weight


def lag_sum(signal, weights):
    """Weighted sum of the L values before each time.

    Parameters
    ----------
    signal : array (L + time)
        The signal, with L rows of history before the first time.
    weights : array (lag)
        Weight of lag l at position l - 1.

    Returns
    -------
    array (time)
        In units of signal times weights.

    Raises
    ------
    ValueError
        If the signal has fewer rows than there are lags.
    """
    if signal.size < weights.size:
        raise ValueError("lag_sum needs signal (L + time) with at least as many rows as weights (lag) has lags")
    out = np.empty(signal.size - weights.size)
    fill_lag_sum(np.ascontiguousarray(signal), np.ascontiguousarray(weights), out)
    return out


def lag_sum_d_weights(signal, cotangent):
    """Gradient (lag) of the sum of ``cotangent`` (time) times :func:`lag_sum`, with respect to the weights."""
    if signal.size < cotangent.size:
        raise ValueError("lag_sum_d_weights needs signal (L + time) with as many rows as cotangent (time) or more")
    d_weights = np.empty(signal.size - cotangent.size)
    fill_d_weights(np.ascontiguousarray(signal), np.ascontiguousarray(cotangent), d_weights)
    return d_weights


def lag_sum_d_signal(weights, cotangent):
    """Gradient (L + time) of the sum of ``cotangent`` (time) times :func:`lag_sum`, with respect to the signal."""
    d_signal = np.empty(weights.size + cotangent.size)
    fill_d_signal(np.ascontiguousarray(weights), np.ascontiguousarray(cotangent), d_signal)
    return d_signal
