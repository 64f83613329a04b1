"""Data that other packages simulate, fitted by ours: hmmlearn and dynamax draw, from truths drawn from our prior.

statsmodels cannot simulate switching regressions; it fits the same data, and must find the same maximum.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from builders import bare_spec, hand_panel, replaced
from scipy import stats
from scipy.optimize import minimize
from test_published_drivers import emissions, loglik_of

import regimelag as rl
from regimelag.evaluation.robustness.refit import Refit, posterior_of
from regimelag.model.build import draw_prior

ROWS, PANELS, THINNED = 150, 20, 99
SPEC = bare_spec(
    regimes=rl.spec.Regimes(transitions=rl.spec.Markov(expected_duration=12.0)),
    controls=(rl.Control("dollar", "dollar"),),
    family="normal",
)


def from_hmmlearn(truths, x, seeds):
    """Response and control together, bivariate normal: given the regime the response is linear in the control.

    The control has the same law in both regimes, so that by itself it says nothing about them. It replaces `x`.
    """
    hmm = pytest.importorskip("hmmlearn.hmm")
    data = []
    for truth, seed in zip(truths, seeds, strict=True):
        peer = hmm.GaussianHMM(n_components=2, covariance_type="full")
        slope, variances = truth["slope"], truth["sigma"] ** 2
        peer.startprob_, peer.transmat_ = np.full(2, 0.5), truth["transition"]
        peer.means_ = np.column_stack([truth["mean"], np.zeros(2)])
        peer.covars_ = np.array([[[v + slope**2, slope], [slope, 1.0]] for v in variances])
        drawn, _ = peer.sample(ROWS, random_state=int(seed))
        data.append((drawn[:, 0], drawn[:, 1]))
    return data


def from_dynamax(truths, x, seeds):
    """A linear regression on the control, with the same slope in both regimes."""
    jax = pytest.importorskip("jax")
    models = pytest.importorskip("dynamax.hidden_markov_model")
    data = []
    with jax.enable_x64(True):
        peer = models.LinearRegressionHMM(num_states=2, input_dim=1, emission_dim=1)
        draw = jax.jit(lambda parameters, key: peer.sample(parameters, key, ROWS, inputs=x[:, None])[1])
        for truth, seed in zip(truths, seeds, strict=True):
            parameters, _ = peer.initialize(
                jax.random.PRNGKey(0),
                initial_probs=jax.numpy.full(2, 0.5),
                transition_matrix=jax.numpy.asarray(truth["transition"]),
                emission_weights=jax.numpy.full((2, 1, 1), truth["slope"]),
                emission_biases=jax.numpy.asarray(truth["mean"][:, None]),
                emission_covariances=jax.numpy.asarray(truth["sigma"][:, None, None] ** 2),
            )
            data.append((np.asarray(draw(parameters, jax.random.PRNGKey(int(seed))))[:, 0], x))
    return data


def as_peers_have_it(values):
    """The peers' parameters from ours, by the formulas of the model."""
    stay = 1 / (1 + np.exp(-values["stay_log_odds"]))
    middle, gap = values["log_scale"][0], values["log_scale_gap"][0]
    return {
        "mean": values["intercept"][0],
        "sigma": np.exp([middle - gap / 2, middle + gap / 2]),
        "transition": np.array([[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]]),
        "slope": float(values["control_effect"][0, 0]),
    }


def flat(values):
    """Entries of all free variables (entry) under their names."""
    return {f"{name}{list(index)}": v[index] for name, v in values.items() for index in np.ndindex(v.shape)}


def scores(truth, posterior, rng):
    """Normal score of each parameter's rank among thinned draws: standard normal if the fit is right."""
    stacked = posterior.stack(sample=("chain", "draw")).transpose("sample", ...)
    picked = np.linspace(0, stacked.sizes["sample"] - 1, THINNED).astype(int)
    draws = {name: stacked[name].to_numpy()[picked] for name in truth}
    below = flat({name: (draws[name] < truth[name]).sum(axis=0) for name in truth})
    return {name: stats.norm.ppf((rank + rng.random()) / (THINNED + 1)) for name, rank in below.items()}


def least_p_value(found):
    """Of each parameter's mean score and sum of squares over panels, the smallest p, times their number."""
    z = np.array([list(row.values()) for row in found])
    mean = 2 * stats.norm.sf(np.abs(z.sum(axis=0)) / np.sqrt(len(z)))
    spread = stats.chi2.cdf((z**2).sum(axis=0), len(z))
    p = np.concatenate([mean, 2 * np.minimum(spread, 1 - spread)])
    return p.min() * p.size


@pytest.mark.slow
@pytest.mark.parametrize("simulator", [from_hmmlearn, from_dynamax])
def test_what_a_peer_simulates_is_recovered(simulator):
    """A right fit fails for one seed in 1,000; a variance taken for a standard deviation is seen."""
    template = hand_panel(SPEC, ROWS)
    prior = draw_prior(SPEC, rl.build_model(SPEC, template), PANELS, random_seed=1).isel(chain=0)
    drawn = [{str(name): v.to_numpy()[n] for name, v in prior.data_vars.items()} for n in range(PANELS)]
    rng = np.random.default_rng(2)
    x, seeds = rng.standard_normal(ROWS), rng.integers(2**31, size=PANELS)
    sampler = rl.Sampler(draws=400, tune=300, chains=2, cores=2, target_accept=0.9, starts=4)
    right, wrong = [], []
    simulated = simulator([as_peers_have_it(values) for values in drawn], x, seeds)
    for n, (values, (y, control)) in enumerate(zip(drawn, simulated, strict=True)):
        panel = template.copy(deep=True)
        panel["response_value"][:] = y[:, None]
        panel["control_value"][:] = control[:, None]
        posterior, _ = posterior_of(Refit(SPEC, panel, template, ""), sampler, n)
        right.append(scores(values, posterior, rng))
        misread = {name: 2 * values[name] for name in ("log_scale", "log_scale_gap")}
        wrong.append(scores(values | misread, posterior, rng))
    assert least_p_value(right) > 1e-3, np.round([list(row.values()) for row in right], 1)
    assert least_p_value(wrong) < 1e-3


def test_statsmodels_climbs_to_the_same_maximum():
    """On a panel that hmmlearn simulates, from different starts and by different means."""
    regression = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    stay = np.array([[0.95, 0.05], [0.1, 0.9]])
    truth = {"mean": np.array([0.4, -0.5]), "sigma": np.array([0.4, 1.1]), "transition": stay, "slope": 0.5}
    ((y, x),) = from_hmmlearn([truth], None, [3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = {"exog": x[:, None], "switching_exog": False, "switching_variance": True}
        theirs = regression.MarkovRegression(y, k_regimes=2, **told).fit(disp=0)
    regimes = rl.spec.Regimes(initial="stationary", transitions=rl.spec.Markov(expected_duration=12.0))
    spec = replaced(SPEC, regimes=regimes)
    panel = hand_panel(spec, ROWS)
    panel["response_value"][:] = y[:, None]
    panel["control_value"][:] = x[:, None]
    loglik = loglik_of(rl.build_model(spec, panel))

    def at(v):
        return loglik({"stay_log_odds": v[:2], "control_effect": v[None, 6:]} | emissions(v[2:4], v[4:6]))

    start = np.array([2.0, 2.0, 0.0, 0.0, np.log(0.5), 0.0, 0.0])
    ours = minimize(lambda v: -at(v), start, method="BFGS", options={"gtol": 1e-5}).x
    assert at(ours) == pytest.approx(theirs.llf, abs=1e-5)
    # Two probabilities, two means, the slope, two variances; its regimes come in any order.
    order = np.argsort(theirs.params[5:])
    expected = np.concatenate([theirs.params[2:4][order], theirs.params[5:][order], theirs.params[4:5]])
    np.testing.assert_allclose(np.concatenate([ours[2:4], np.exp(2 * ours[4:6]), ours[6:]]), expected, atol=2e-3)
