"""Log-likelihoods and probabilities at given parameters against other packages."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from builders import chain_loglik
from scipy import stats

from regimelag.likelihood import hmm


def random_chain(seed=0, times=200, regimes=2):
    """Log densities of normal rows, logits of a sticky constant matrix, and an initial law."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=times).cumsum() / 5
    mean = np.sort(rng.normal(size=regimes))
    scale = rng.uniform(0.5, 1.5, size=regimes)
    p = rng.dirichlet(np.ones(regimes), size=regimes) * 0.3 + 0.7 * np.eye(regimes)
    init = rng.dirichlet(np.ones(regimes))
    return y, mean, scale, p, init


def log_density(y, mean, scale):
    return stats.norm.logpdf(y[:, None], mean, scale)


def stationary_law(p):
    regimes = len(p)
    equations = np.vstack([p.T - np.eye(regimes), np.ones(regimes)])
    return np.linalg.lstsq(equations, np.append(np.zeros(regimes), 1), rcond=None)[0]


def check(inputs, loglik, filtered=None, smoothed=None, tolerance=1e-8):
    """All of our ways to the same numbers."""
    np.testing.assert_allclose(chain_loglik(*inputs)[0], loglik, rtol=tolerance)
    np.testing.assert_allclose(hmm.filter_forward(*inputs)[2].sum(), loglik, rtol=tolerance)
    if filtered is not None:
        np.testing.assert_allclose(hmm.filter_forward(*inputs)[1], filtered, atol=tolerance)
    if smoothed is not None:
        np.testing.assert_allclose(hmm.smooth(*inputs), smoothed, atol=tolerance)
        np.testing.assert_allclose(chain_loglik(*inputs)[1], smoothed, atol=tolerance)


@pytest.mark.parametrize("regimes", [2, 3])
def test_statsmodels_constant_transitions(regimes):
    sm = pytest.importorskip("statsmodels.api")
    y, mean, scale, p, _ = random_chain(1, regimes=regimes)
    model = sm.tsa.MarkovRegression(y, k_regimes=regimes, switching_variance=True)
    # statsmodels lists p[i -> j] by destination j, all but the last, then by origin i.
    params = np.concatenate([p[:, :-1].T.ravel(), mean, scale**2])
    result = model.smooth(params)
    inputs = log_density(y, mean, scale), np.log(p)[None], np.log(stationary_law(p))
    check(inputs, result.llf, result.filtered_marginal_probabilities, result.smoothed_marginal_probabilities)


@pytest.mark.parametrize("initial", ["stationary", "known"])
def test_statsmodels_moving_transitions(initial):
    """Row 0 of exog_tvtp drives the step into the first row, which for us belongs to log_init.

    From a known law statsmodels takes that step twice. The stationary law of the first matrix does not feel it.
    """
    sm = pytest.importorskip("statsmodels.api")
    y, mean, scale, _, _ = random_chain(2)
    z = np.column_stack([np.ones(len(y)), np.random.default_rng(3).normal(size=len(y))])
    model = sm.tsa.MarkovRegression(y, k_regimes=2, switching_variance=True, exog_tvtp=z)
    log_odds_of_first = np.array([[2.0, 0.8], [-1.5, -0.6]])  # (origin, coefficient)
    params = np.concatenate([log_odds_of_first.T.ravel(), mean, scale**2])
    logits = np.zeros((len(y), 2, 2))
    logits[:, :, 0] = z @ log_odds_of_first.T
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    if initial == "known":
        model.initialize_known(np.array([0.3, 0.7]))
        init = np.array([0.3, 0.7]) @ p[0] @ p[0]
    else:
        init = stationary_law(p[0])
    result = model.smooth(params)
    inputs = log_density(y, mean, scale), logits[1:], np.log(init)
    check(inputs, result.llf, result.filtered_marginal_probabilities, result.smoothed_marginal_probabilities)


def read_literal(module, name):
    """A list written out in the source of a module that cannot be imported without its test configuration."""
    source = Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == name:
            return np.array(ast.literal_eval(statement.value), dtype=float)
    raise AssertionError(f"{module} has no {name}")


@pytest.mark.parametrize("regimes", [2, 3])
def test_hmmlearn(regimes):
    theirs = pytest.importorskip("hmmlearn.hmm")
    y, mean, scale, p, init = random_chain(4, regimes=regimes)
    peer = theirs.GaussianHMM(n_components=regimes, covariance_type="diag")
    peer.startprob_, peer.transmat_ = init, p
    peer.means_, peer.covars_ = mean[:, None], scale[:, None] ** 2
    inputs = log_density(y, mean, scale), np.log(p)[None], np.log(init)
    loglik, smoothed = peer.score_samples(y[:, None])
    check(inputs, loglik, smoothed=smoothed)
    log_joint, path = peer.decode(y[:, None], algorithm="viterbi")
    ours = hmm.viterbi(*inputs)
    np.testing.assert_array_equal(ours[0], path)
    np.testing.assert_allclose(ours[1], log_joint, rtol=1e-10)


@pytest.mark.slow
def test_dynamax_moving_transitions():
    jax = pytest.importorskip("jax")
    inference = pytest.importorskip("dynamax.hidden_markov_model.inference")
    rng = np.random.default_rng(5)
    y, mean, scale, _, init = random_chain(5, times=60, regimes=3)
    p = rng.dirichlet(np.ones(3), size=(59, 3))
    log_obs = log_density(y, mean, scale)
    with jax.enable_x64(True):
        peer = inference.hmm_smoother(*(jax.numpy.asarray(values) for values in (init, p, log_obs)))
        results = [np.asarray(v) for v in (peer.marginal_loglik, peer.filtered_probs, peer.smoothed_probs)]
        predicted = np.asarray(peer.predicted_probs)
    inputs = log_obs, np.log(p), np.log(init)
    check(inputs, *results)
    np.testing.assert_allclose(hmm.filter_forward(*inputs)[0], predicted, atol=1e-8)
