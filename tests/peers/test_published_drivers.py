"""Regimes of a published case, and transitions that drivers move, through `build_model` with an ordinary spec.

The case: responses to words, by guessing or by answering, as the reward for accuracy moves. Visser & Speekenbrink
(2010), doi:10.18637/jss.v036.i07, as printed in sections 3.2 and 3.3 of the vignette of depmixS4 1.5-1. The data set,
`speed`, comes with depmixS4 and is found, as depmixS4/speed.csv, through REGIMELAG_DATA.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytensor
import pytest
import xarray as xr
from builders import hand_panel, replaced
from scipy.optimize import minimize
from test_likelihood_peers import check
from test_published_paths import PUBLISHED, data_of

import regimelag as rl
from regimelag.model.evaluate import evaluate, log_observation, stack_draws

DATA = Path(os.environ.get("REGIMELAG_DATA") or Path(__file__).parents[3] / "shared" / "data")
FILE = DATA / "depmixS4" / "speed.csv"
SPEC = rl.ModelSpec(
    name="response times",
    responses=(rl.Response("time", "time", transform="level"),),
    drivers=(rl.Driver("reward", "reward", transform="level", periods=1),),
    # Origins differ, so that each has a slope of its own.
    regimes=rl.spec.Regimes(initial="dirichlet", transitions=rl.spec.Markov(by_origin=True)),
    family="normal",
)


def transitions(constant, slope):
    """Our parameters, from the log odds of moving to the first regime: constant and slope by origin."""
    pooled, apart = (slope[0] + slope[1]) / 4, (slope[0] - slope[1]) / 4
    return {
        "stay_log_odds": np.array([constant[0], -constant[1]]),
        "driver_effect": np.array([[pooled, -pooled]]),
        "driver_origin_sd": np.ones(1),
        "driver_origin_raw": apart * np.array([[[1.0, -1.0], [-1.0, 1.0]]]),
    }


def emissions(mean, log_sigma):
    return {
        "intercept": np.array([mean]),
        "log_scale": np.array([np.mean(log_sigma)]),
        "log_scale_gap": np.diff(log_sigma),
    }


def loglik_of(model):
    """The model's log-likelihood as a function of the free variables, by name."""
    variables = model.free_RVs
    function = pytensor.function(variables, model["log_likelihood"], mode="FAST_COMPILE", on_unused_input="ignore")
    return lambda values: float(function(*(values[rv.name] for rv in variables)))


@pytest.fixture(scope="module")
def speed():
    """The log-likelihood of (constants, log sigmas, means, slopes) of the published model, at a shift of its driver."""
    if not FILE.is_file():
        pytest.skip(f"depmixS4 is not in {FILE.parents[1]}; set REGIMELAG_DATA")
    table = pd.read_csv(FILE)
    reward = ((table["Pacc"] - table["Pacc"].mean()) / table["Pacc"].std()).to_numpy()

    def shifted(rows):
        panel = hand_panel(SPEC, len(table))
        panel["response_value"][:] = table[["rt"]].to_numpy()
        panel["driver_value"][:] = np.roll(reward, rows)[:, None]
        loglik = loglik_of(rl.build_model(SPEC, panel))
        # The first answer was one, as the vignette's maximum has it.
        first = {"initial": np.array([0.0, 1.0])}
        return lambda x: loglik(transitions(x[:2], x[6:]) | emissions(x[4:6], x[2:4]) | first)

    return shifted


START = np.array([1.0, -1.0, np.log(0.2), np.log(0.25), 5.5, 6.4])


def climbed(loglik, start):
    return minimize(lambda x: -loglik(x), start, method="BFGS", options={"gtol": 1e-4}).x


def test_published_maximum(speed):
    """Log-likelihood, transitions, means and scales as printed; regime 0 guesses, which is less spread out."""
    loglik = speed(0)
    found = climbed(lambda x: loglik(np.append(x, [0.0, 0.0])), START)
    assert loglik(np.append(found, [0.0, 0.0])) == pytest.approx(-88.73, abs=0.005)
    stay = 1 / (1 + np.exp(-found[:2] * [1, -1]))
    np.testing.assert_allclose(stay, [0.884, 0.916], atol=0.0006)
    np.testing.assert_allclose(np.exp(found[2:4]), [0.192, 0.244], atol=0.0006)
    np.testing.assert_allclose(found[4:], [5.510, 6.385], atol=0.0006)


def test_published_maximum_with_a_driver(speed):
    """Its EM stops at a relative change of 1e-8, so the printed maximum may lie a few 1e-6 below ours."""
    loglik = speed(0)
    found = climbed(loglik, np.append(START, [-1.0, -1.0]))
    assert loglik(found) == pytest.approx(-44.2, abs=0.05)
    # As printed, of moving to regime 1: -0.9518 and 1.3924 from regime 0, 2.472 and 3.581 from regime 1.
    printed = found.copy()
    printed[[0, 1, 6, 7]] = [0.9518, -2.472, -1.3924, -3.581]
    np.testing.assert_allclose(found, printed, atol=6e-4)
    assert loglik(found) - 1e-5 < loglik(printed) <= loglik(found) + 1e-9
    # A driver that moves the step after, or the step before, is seen.
    assert max(speed(1)(printed), speed(-1)(printed)) < loglik(printed) - 1.0


@pytest.mark.parametrize("slope", [(1.7702123, 0.9945672), (0.6, -1.1)], ids=["published", "opposed"])
def test_driven_transitions_are_those_of_statsmodels(slope):
    """Filardo's data and transitions in our model class: mean, variance and the effect of the last month switch."""
    regression = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    growth, drivers = data_of("Filardo")
    y, regressor, leading = growth[1:], growth[:-1], drivers[1:, 1]
    constant = np.array(PUBLISHED["Filardo"][-1][:2])
    mean, effect, log_sigma = np.array([0.45, -0.6]), np.array([0.2, 0.35]), np.log([0.6, 0.9])

    past = rl.Signal("past", "past", contemporaneous=False, kernel=rl.kernels.Gamma(mean_lag=1.0, spread=0.3))
    regimes = rl.spec.Regimes(initial="stationary", transitions=rl.spec.Markov(by_origin=True))
    spec = replaced(SPEC, signals=(past,), max_lag=1, regimes=regimes)
    panel = hand_panel(spec, len(y))
    panel["response_value"][:] = y[:, None]
    panel["signal_value"][:] = np.append(regressor, y[-1])[:, None]
    # Row t of theirs drives the step into t, of ours the step out of it.
    panel["driver_value"][:] = np.append(leading[1:], 0.0)[:, None]
    lags = {"past_lag_location": np.array(1.0), "past_lag_spread": np.array(1.0), "effect_regime_sd": np.ones(1)}
    lags |= {"effect": effect.mean(keepdims=True), "effect_regime_raw": (effect - effect.mean())[None]}
    free = transitions(constant, slope) | emissions(mean, log_sigma) | lags

    # Their row 0 would drive the step into the first month. It counts for the stationary law alone, which for us is
    # that of the first step.
    moving = np.column_stack([np.ones(len(y)), np.append(leading[1], leading[1:])])
    told = {"exog": regressor[:, None], "switching_variance": True, "exog_tvtp": moving}
    vector = np.concatenate([constant, slope, mean, effect, np.exp(2 * log_sigma)])
    peer = regression.MarkovRegression(y, k_regimes=2, **told).smooth(vector)
    assert loglik_of(rl.build_model(spec, panel))(free) == pytest.approx(peer.llf, abs=1e-8)

    draws = free | {"effect_regime": free["effect_regime_raw"], "driver_origin": free["driver_origin_raw"]}
    one = xr.Dataset({name: (tuple(f"{name}_{n}" for n in range(v.ndim)), v) for name, v in draws.items()})
    eq = evaluate(spec, panel, stack_draws(one))
    inputs = log_observation(eq, y[:, None])[0], eq.logits[0], eq.log_initial[0]
    check(inputs, peer.llf, peer.filtered_marginal_probabilities, peer.smoothed_marginal_probabilities)
