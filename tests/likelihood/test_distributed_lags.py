"""Classical distributed lags: one regime and normal errors, against closed forms and a MIDAS fit by least squares."""

from __future__ import annotations

import numpy as np
import pytensor
import pytest
from builders import bare_spec, hand_panel
from scipy import optimize, stats

import regimelag as rl

LAGS = 6
GAMMA = rl.kernels.Gamma(mean_lag=3.0, mean_lag_sd=1.0, spread=1.5, spread_sd=0.5)
BETA = rl.kernels.Beta(mean_lag=3.0, mean_lag_sd=1.0, spread=1.5, spread_sd=0.5)


def spec_with(kernel):
    signals = (rl.Signal("metal", "metal", kernel=kernel),)
    controls = (rl.Control("dollar", "dollar"),)
    return bare_spec(signals=signals, controls=controls, family="normal", max_lag=LAGS)


def data_of(panel):
    """Response (row), the signal's lags (row, lag) and what else enters (row, constant, same row, control)."""
    x, rows = panel["signal_value"].to_numpy()[:, 0], panel.sizes["time"]
    lagged = np.array([[x[LAGS + t - lag] for lag in range(1, LAGS + 1)] for t in range(rows)])
    beside = np.column_stack([np.ones(rows), x[LAGS:], panel["control_value"].to_numpy()[:, 0]])
    return panel["response_value"].to_numpy()[:, 0], lagged, beside


def test_coefficients_have_the_conjugate_posterior():
    """Given scale and kernel the coefficients are normal: N(A^-1 X'y / s^2, A^-1) with A = X'X / s^2 + D."""
    spec = spec_with(GAMMA)
    panel = hand_panel(spec, 80)
    y, lagged, beside = data_of(panel)
    location, spread, log_scale = 2.6, 1.3, -0.2
    law = stats.gamma(location**2 / spread**2, scale=spread**2 / location)
    weights = law.pdf(np.arange(1, LAGS + 1)) / law.pdf(np.arange(1, LAGS + 1)).sum()
    design = np.column_stack([beside, lagged @ weights])
    variance = np.exp(2 * log_scale)
    sd = np.array([0.3, 0.5, 0.5, 0.5])
    precision = design.T @ design / variance + np.diag(1 / sd**2)
    mean = np.linalg.solve(precision, design.T @ y / variance)

    model = rl.build_model(spec, panel)
    order = ["intercept", "contemporaneous", "control_effect", "effect"]
    values = [model.rvs_to_values[model[name]] for name in order]
    fixed = {"log_scale": [log_scale], "metal_lag_location": np.log(location), "metal_lag_spread": np.log(spread)}
    held = {model.rvs_to_values[model[name]]: np.array(value) for name, value in fixed.items()}
    logp = pytensor.function([*values, *held], model.logp(), mode="FAST_COMPILE")

    def height(point):
        shaped = [np.reshape(point[n], (1,) * value.type.ndim) for n, value in enumerate(values)]
        return float(logp(*shaped, *held.values()))

    top, rng = height(mean), np.random.default_rng(0)
    for _ in range(20):
        away = rng.normal(0.0, 0.3, 4)
        assert height(mean + away) - top == pytest.approx(-0.5 * away @ precision @ away, rel=1e-9, abs=1e-9)


def test_the_beta_kernel_is_midas_by_least_squares():
    """At a flat prior the mode is the least-squares fit: no step away from it raises the likelihood."""
    spec = spec_with(BETA)
    panel = hand_panel(spec, 300)
    rng = np.random.default_rng(1)
    _, lagged, beside = data_of(panel)
    middle = (np.arange(1, LAGS + 1) - 0.5) / LAGS

    def mean_at(p):
        weights = stats.beta.pdf(middle, np.exp(p[4]), np.exp(p[5]))
        return beside @ p[:3] + p[3] * (lagged @ (weights / weights.sum()))

    true = np.array([0.1, 0.3, -0.2, 2.0, np.log(2.5), np.log(4.0)])
    panel["response_value"][:, 0] = mean_at(true) + rng.normal(0.0, 0.5, 300)
    y = panel["response_value"].to_numpy()[:, 0]
    fitted = optimize.least_squares(lambda p: y - mean_at(p), true, xtol=1e-14, ftol=1e-14, gtol=1e-12)
    assert np.all(np.abs(fitted.x - true) < 4 * np.sqrt(np.diag(np.linalg.inv(fitted.jac.T @ fitted.jac))) * 0.5)
    log_scale = 0.5 * np.log(np.mean(fitted.fun**2))

    model = rl.build_model(spec, panel)
    loglik = pytensor.function(model.free_RVs, model["log_likelihood"], mode="FAST_COMPILE")

    def height(p, log_scale):
        a, b = np.exp(p[4:])
        found = {
            "intercept": p[0],
            "contemporaneous": p[1],
            "control_effect": p[2],
            "effect": p[3],
            "log_scale": log_scale,
            "metal_lag_fraction": a / (a + b),
            "metal_lag_concentration": a + b,
        }
        shaped = [np.reshape(found[rv.name], (1,) * rv.type.ndim) for rv in model.free_RVs]
        return float(loglik(*shaped))

    top = height(fitted.x, log_scale)
    assert top == pytest.approx(stats.norm(0, np.exp(log_scale)).logpdf(fitted.fun).sum(), abs=1e-9)
    for step in (*(0.02 * np.eye(7)), *(-0.02 * np.eye(7))):
        assert height(fitted.x + step[:6], log_scale + step[6]) < top
        # The slope vanishes: a tenth of the step loses a hundredth as much, to the third order.
        small = height(fitted.x + step[:6] / 10, log_scale + step[6] / 10)
        assert top - small < 0.02 * (top - height(fitted.x + step[:6], log_scale + step[6])) + 1e-9
