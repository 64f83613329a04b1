"""Switching regressions of Stata's manual (mswitch), by way of statsmodels' tests, at the published parameters.

The log-likelihood to its printed digits, and filtered and smoothed probabilities as statsmodels has them. The federal
funds rate with three regimes is in test_federal_funds.py.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from builders import hand_panel
from scipy import stats
from test_likelihood_peers import check, read_literal, stationary_law
from test_published_paths import rounding

import regimelag as rl
from regimelag.model.evaluate import evaluate, log_observation, stack_draws

regression = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")

EXAMPLE = Path(__file__).parents[2] / "examples" / "federal_funds.py"
TESTS = "statsmodels.tsa.regime_switching.tests.test_markov_regression"
# name: (log-likelihood, its printed precision, parameters in statsmodels' order)
PUBLISHED = {
    "mean": (-508.63592, 1e-5, [0.9820939, 0.0503587, 3.70877, 9.556793, 2.107562**2]),
    "lag": (
        *(-264.71069, 1e-5),
        [0.6378175, 0.1306295, 0.724457, -0.0988764, 0.7631424, 1.061174, 0.6915759**2],
    ),
    "lag, gap, inflation": (
        *(-229.25614, 1e-5),
        [
            *(0.7279288, 0.2114578, 0.6554954, -0.0944924, 0.8314458, 0.9292574),
            *(0.1355425, 0.0343072, -0.0273928, 0.2125275, 0.5764495**2),
        ],
    ),
    "returns": (
        *(-745.7977, 1e-4),
        [0.7530865, 0.6825357, 0.7641424, 1.972771, 0.0790744, 0.527953, 0.5895792**2, 1.605333**2],
    ),
    "mumps": (131.7225, 1e-4, [0.762733, 0.1473767, 0.420275, 0.9847369, 0.0562405**2, 0.2611362**2]),
}


def federal_funds():
    specification = importlib.util.spec_from_file_location("federal_funds_example", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.federal_funds()


def data_of(name):
    """The response, its regressors without the constant, and what statsmodels is told of the model."""
    if name in ("returns", "mumps"):
        y = read_literal(TESTS, {"returns": "areturns", "mumps": "mumpspc"}[name])
        own = {"trend": "n"} if name == "mumps" else {}
        return y[1:], y[:-1, None], own | {"switching_variance": True}
    rate = read_literal(TESTS, "fedfunds")
    if name == "lag, gap, inflation":
        rate, regressors = federal_funds()
        return rate, regressors[:, 1:], {}
    return (rate[1:], rate[:-1, None], {}) if name == "lag" else (rate, np.zeros((len(rate), 0)), {})


def chain_inputs(y, regressors, values, *, trend="ct", switching_variance=False):
    """Log densities, log transition matrix and log initial law, from the published vector."""
    values = np.array(values)
    p = np.column_stack([values[:2], 1 - values[:2]])
    variances = values[-2:] if switching_variance else values[-1:]
    design = regressors if trend == "n" else np.column_stack([np.ones(len(y)), regressors])
    coefficients = values[2 : len(values) - len(variances)].reshape(-1, 2)
    log_obs = stats.norm.logpdf(y[:, None], design @ coefficients, np.sqrt(variances))
    return log_obs, np.log(p)[None], np.log(stationary_law(p))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_regression(name):
    published, precision, values = PUBLISHED[name]
    y, regressors, told = data_of(name)
    exog = {"exog": regressors} if regressors.shape[1] else {}
    model = regression.MarkovRegression(y, k_regimes=2, **exog, **told)
    peer = model.smooth(np.array(values))
    inputs = chain_inputs(y, regressors, values, **told)
    check(inputs, peer.llf, peer.filtered_marginal_probabilities, peer.smoothed_marginal_probabilities)
    loglik = float(rl.markov_loglik(*inputs).eval(mode="FAST_COMPILE"))
    assert loglik == pytest.approx(published, abs=precision / 2 + rounding(model.loglike, values))


def test_published_regression_in_our_model_class():
    """Returns on their own lag: means, effects and volatilities switch. The same model as a spec, in both its twins."""
    published, precision, values = PUBLISHED["returns"]
    y, regressors, _ = data_of("returns")
    values = np.array(values)
    means, effects, log_scales = values[2:4], values[4:6], np.log(values[6:]) / 2
    kernel = rl.kernels.Gamma(mean_lag=1.0, spread=0.3)
    spec = rl.ModelSpec(
        name="returns",
        responses=(rl.Response("asset", "price"),),
        signals=(rl.Signal("past", "price", contemporaneous=False, kernel=kernel),),
        max_lag=1,
        regimes=rl.spec.Regimes(initial="stationary"),
        family="normal",
    )
    panel = hand_panel(spec, len(y))
    panel["response_value"][:] = y[:, None]
    panel["signal_value"][:] = np.append(regressors, y[-1:, None], axis=0)
    free = {
        "intercept": means[None],
        "effect": effects.mean(keepdims=True),
        "effect_regime_sd": np.ones(1),
        "effect_regime_raw": (effects - effects.mean())[None],
        "log_scale": log_scales.mean(keepdims=True),
        "log_scale_gap": np.diff(log_scales),
        "stay_log_odds": np.log([values[0] / (1 - values[0]), (1 - values[1]) / values[1]]),
        "past_lag_location": np.array(1.0),
        "past_lag_spread": np.array(1.0),
    }
    model = rl.build_model(spec, panel)
    given = {variable: free[variable.name] for variable in model.free_RVs}
    told = {"exog": regressors, "switching_variance": True}
    theirs = regression.MarkovRegression(y, k_regimes=2, **told)
    loglik = float(model["log_likelihood"].eval(given, mode="FAST_COMPILE"))
    assert loglik == pytest.approx(published, abs=precision / 2 + rounding(theirs.loglike, values))

    draws = free | {"effect_regime": free["effect_regime_raw"]}
    one = xr.Dataset({name: (tuple(f"{name}_{n}" for n in range(v.ndim)), v) for name, v in draws.items()})
    eq = evaluate(spec, panel, stack_draws(one))
    inputs = log_observation(eq, y[:, None])[0], eq.logits[0], eq.log_initial[0]
    peer = theirs.smooth(values)
    check(inputs, peer.llf, peer.filtered_marginal_probabilities, peer.smoothed_marginal_probabilities)
