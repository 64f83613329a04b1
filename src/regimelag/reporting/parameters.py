"""The free parameters of a model, from its spec: symbol, meaning and prior.

`regimelag.build_model` is the only place where priors are set; the tests hold those told here against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.kernels import Point, Prior
from regimelag.reporting.mathematics import Indices, effect_moves, index_of, kernel_symbol, kernel_words, text
from regimelag.spec import ModelSpec


class Parameter(NamedTuple):
    """A free parameter: its name in the fit, its symbol, what it is, and its prior."""

    name: str
    symbol: str
    meaning: str
    prior: Prior


def parameters(spec: ModelSpec, panel: xr.Dataset) -> list[Parameter]:
    """Every free parameter with its prior, and point lags; standardised units unless said.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.

    Returns
    -------
    list of Parameter
    """
    index = Indices.of(spec, panel)
    return [
        *_location_parameters(spec, index),
        *_effect_parameters(spec, index),
        *_kernel_parameters(spec, index),
        *_scale_parameters(spec, index),
        *_chain_parameters(spec, index),
    ]


def _normal(sd: float, mean: float = 0.0) -> Prior:
    return Prior("Normal", {"mu": mean, "sigma": sd})


def _half_normal(sd: float) -> Prior:
    return Prior("HalfNormal", {"sigma": sd})


def _zero_sum(sd: float) -> Prior:
    return Prior("ZeroSumNormal", {"sigma": sd})


def _location_parameters(spec: ModelSpec, index: Indices) -> Iterator[Parameter]:
    priors, own = spec.priors, index_of(index.response)
    mean = "mean of each regime" if index.regime else "mean"
    yield Parameter(nm.INTERCEPT, rf"\mu{index_of(index.response, index.regime)}", mean, _normal(priors.intercept_sd))
    if spec.contemporaneous_signals:
        sd = priors.contemporaneous_sd
        yield Parameter(nm.CONTEMPORANEOUS, f"c{own}", "same-period response to each signal", _normal(sd))
    if spec.controls:
        yield Parameter(nm.CONTROL_EFFECT, rf"\gamma{own}", "coefficient of each control", _normal(priors.control_sd))


def _effect_parameters(spec: ModelSpec, index: Indices) -> Iterator[Parameter]:
    priors = spec.priors
    if not spec.lagged_signals:
        return
    yield Parameter(nm.EFFECT, "b", "cumulative lagged effect of each signal", _normal(priors.effect_sd))
    groups = [
        (nm.EFFECT_REGIME, "regime", "k", priors.effect_regime_sd, bool(index.regime)),
        (nm.EFFECT_EPISODE, "episode", "e", priors.effect_episode_sd, index.episode and effect_moves(spec)),
        (
            nm.EFFECT_RESPONSE,
            "response",
            "a",
            priors.effect_response_sd,
            index.response and "effect" in spec.responses_vary,
        ),
    ]
    for name, group, letter, sd, varies in groups:
        if varies:
            yield from _pooled(
                name, rf"\tau_{{{text(group)}}}", rf"\xi^{{{text(group)}}}_{letter}", group, sd, "effect"
            )


def _pooled(name: str, scale: str, raw: str, group: str, sd: float, what: str) -> Iterator[Parameter]:
    """A pooled group of deviations: its scale, and the deviations over it."""
    yield Parameter(f"{name}_sd", scale, f"how far {group}s differ in the {what}", _half_normal(sd))
    yield Parameter(f"{name}_raw", raw, f"each {group}'s deviation over that; they sum to zero", _zero_sum(1.0))


def _kernel_parameters(spec: ModelSpec, index: Indices) -> Iterator[Parameter]:
    priors = spec.priors
    for signal in spec.lagged_signals:
        kernel, whose = signal.kernel, f"{signal.name}: "
        for name, prior in kernel.priors(spec.max_lag).items():
            symbol = kernel_symbol(kernel, name, over_lags=prior.over_lags)
            yield Parameter(nm.lag_parameter(signal.name, name), symbol, whose + kernel_words(kernel, name), prior)
        if isinstance(kernel, Point):
            masses = Prior("Categorical", {"p": kernel.prior_masses(spec.max_lag)})
            symbol, words = kernel_symbol(kernel, "point", over_lags=False), kernel_words(kernel, "point")
            yield Parameter(nm.lag_parameter(signal.name, "point"), symbol, whose + words, masses)
            continue
        moves = [(nm.RESPONSE, "a", priors.lag_response_sd, spec.lag_by_response)]
        moves.append((nm.EPISODE, "e", priors.lag_episode_sd, spec.lag_by_episode and bool(index.episode)))
        for dim, letter, sd, varies in moves:
            if varies:
                scale, raw = rf"\tau^m_{{{text(dim)}}}", rf"\zeta^{{{text(dim)}}}_{letter}"
                yield from _pooled(nm.lag_parameter(signal.name, dim), scale, raw, dim, sd, "log lag")


def _scale_parameters(spec: ModelSpec, index: Indices) -> Iterator[Parameter]:
    priors, own = spec.priors, index.response if spec.own_regimes else ""
    level = _normal(priors.scale_log_sd, float(np.log(priors.scale_median)))
    yield Parameter(nm.LOG_SCALE, f"h{index_of(index.response)}", "level of the log scale", level)
    if index.regime:
        gap = Prior("LogNormal", {"mu": float(np.log(priors.scale_gap)), "sigma": priors.scale_gap_log_sd})
        words = "gap in log scale between neighbouring regimes"
        yield Parameter(nm.LOG_SCALE_GAP, f"g{index_of(own, 'k')}", words, gap)
    if index.episode and "scale" in spec.episodes.vary:
        symbol, sd = rf"\eta{index_of(index.response, 'e')}", priors.scale_episode_sd
        yield Parameter(
            nm.LOG_SCALE_EPISODE, symbol, "each episode's part of the log scale; they sum to zero", _zero_sum(sd)
        )
    if spec.family == "student_t":
        tail = Prior("Gamma", {"alpha": priors.tail_shape, "beta": priors.tail_rate})
        yield Parameter(nm.TAIL, r"\nu - 2", "degrees of freedom less two", tail)
    if index.response:
        law = Prior("LKJ", {"eta": priors.correlation_eta})
        yield Parameter(f"{nm.CORRELATION}_partial", "R", "correlation of the residuals of a row", law)


def _chain_parameters(spec: ModelSpec, index: Indices) -> Iterator[Parameter]:
    priors = spec.priors
    if not index.regime:
        return
    own = "a" if spec.own_regimes else ""
    durations = np.log(np.asarray(priors.expected_duration) - 1)
    mean = float(durations[0]) if len(durations) == 1 else durations
    stay = Prior("Normal", {"mu": mean, "sigma": priors.expected_duration_log_sd})
    yield Parameter(nm.STAY, rf"\alpha{index_of(own, 'i', 'i')}", "log odds of staying, drivers at their mean", stay)
    if spec.regimes.count > 2:  # noqa: PLR2004
        words = "log weights of the regimes to go to; they sum to zero"
        yield Parameter(nm.LEAVE, rf"\alpha{index_of(own, 'i', 'j')}", words, _zero_sum(priors.leave_sd))
    if spec.drivers:
        words = "what one sd of a driver adds to a regime's log weight in the softmax; they sum to zero over regimes"
        yield Parameter(nm.DRIVER_EFFECT, rf"\delta{index_of(own, 'j')}", words, _zero_sum(priors.driver_sd))
    if spec.drivers and priors.origin_sd > 0:
        words = "how far origins differ in what a driver does"
        yield Parameter(f"{nm.DRIVER_ORIGIN}_sd", r"\omega", words, _half_normal(priors.origin_sd))
        words = "each step's deviation over that; they sum to zero both ways"
        yield Parameter(f"{nm.DRIVER_ORIGIN}_raw", rf"\epsilon{index_of(own, 'i', 'j')}", words, _zero_sum(1.0))
    if spec.regimes.initial == "dirichlet":
        flat = Prior("Dirichlet", {"a": np.ones(spec.regimes.count)})
        yield Parameter(nm.INITIAL, rf"\pi{index_of(own, 'k')}", "law of the first regime", flat)


def prior_in_words(prior: Prior) -> str:
    """A prior as PyMC spells it; long vectors by their length, sum and ends."""
    return f"{prior.distribution}({', '.join(f'{key} = {_value(value)}' for key, value in prior.arguments.items())})"


def _value(value: object) -> str:
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        return f"{float(array):.3g}"
    if array.size <= 4:  # noqa: PLR2004
        return f"[{', '.join(f'{entry:.3g}' for entry in array)}]"
    return f"{array.size} values, sum {array.sum():.3g}" + _center(array)


def _center(array: np.ndarray) -> str:
    """The mean lag of masses; nothing of values that are none."""
    if array.min() < 0 or not array.sum() > 0:
        return ""
    return f", centred at lag {float(array @ np.arange(1, array.size + 1) / array.sum()):.3g}"
