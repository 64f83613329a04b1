"""Autoregressions in deviations from switching means (Hamilton, Filardo): `markov_loglik` on a chain of paths.

Published log-likelihoods come from EViews and Stata by way of statsmodels' tests; probabilities from statsmodels.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_likelihood_peers import read_literal

import regimelag as rl
from regimelag.likelihood import hmm

autoregression = pytest.importorskip("statsmodels.tsa.regime_switching.markov_autoregression")

TESTS = "statsmodels.tsa.regime_switching.tests.test_markov_autoregression"
# (log-likelihood, its printed precision, order, whether phi switches, parameters in statsmodels' order)
PUBLISHED = {
    "Hamilton AR(4)": (
        *(-181.26339, 1e-5, 4, False),
        [0.754673, 0.095915, -0.358811, 1.163516, np.exp(-0.262658) ** 2, 0.013486, -0.057521, -0.246983, -0.212923],
    ),
    "switching AR(2)": (
        *(-179.32354, 1e-5, 2, True),
        [0.3812383, 0.3564492, -0.0055216, 1.195482, 0.6677098**2, 0.3710719, 0.4621503, 0.7002937, -0.3206652],
    ),
    "switching AR(1)": (
        *(-186.7575, 1e-4, 1, True),
        [0.85472458, 0.53662099, 1.041419, -0.479157, np.exp(-0.231404) ** 2, 0.243128, 0.713029],
    ),
    "switching AR(1), driven": (
        *(-163.914049, 1e-6, 1, True),
        [6.564923, 7.846371, -8.064123, -15.37636, 1.02719, -0.71976, np.exp(-0.217003) ** 2, 0.161489, 0.022536],
    ),
    "Filardo": (
        *(-586.5718, 1e-4, 4, False),
        [
            *(4.35941747, -1.6493936, 1.7702123, 0.9945672, 0.517298, -0.865888, np.exp(-0.362469) ** 2),
            *(0.189474, 0.079344, 0.110944, 0.122251),
        ],
    ),
}


def data_of(name):
    """The series, and what drives the transitions (row, constant and driver) if anything does."""
    if name == "Filardo":
        frame = pd.read_csv(Path(importlib.util.find_spec(TESTS).origin).parent / "results" / "mar_filardo.csv")
        driver = frame["dmdlleading"].to_numpy()[:-1]
        return frame["dlip"].to_numpy()[1:], np.column_stack([np.ones(len(driver)), driver])
    y = read_literal(TESTS, "rgnp")
    driven = name.endswith("driven")
    return y, np.column_stack([np.ones(len(y)), read_literal(TESTS, "rec")]) if driven else None


def parameters_of(order, switching, values, drivers):
    """The example's parameters from statsmodels' vector."""
    values = np.array(values)
    if drivers is None:
        stay, rest = values[:2], values[2:]
    else:
        stay, rest = 1 / (1 + np.exp(-drivers @ values[:4].reshape(2, 2))), values[4:]
    transition = np.stack([stay, 1 - stay], axis=-1)
    phi = rest[3:].reshape(order, 2) if switching else rest[3:]
    return {"transition": transition, "mean": rest[:2], "sigma": np.sqrt(rest[2]), "phi": phi}


def rounding(loglike, values):
    """By how much the log-likelihood may move since parameters are printed to six decimals: their slopes times that."""
    values, step = np.array(values), 1e-5
    slopes = [(loglike(values + step * e) - loglike(values - step * e)) / (2 * step) for e in np.eye(len(values))]
    return 0.5e-6 * float(np.abs(slopes).sum())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "switching AR(2)" else []) for name in PUBLISHED],
)
def test_published_autoregression(hamilton, name):
    published, precision, order, switching, values = PUBLISHED[name]
    y, drivers = data_of(name)
    moving = {} if drivers is None else {"exog_tvtp": drivers}
    peer = autoregression.MarkovAutoregression(y, k_regimes=2, order=order, switching_ar=switching, **moving)
    result = peer.smooth(np.array(values))

    inputs = hamilton.chain_of_paths(y, **parameters_of(order, switching, values, drivers))
    loglik = float(rl.markov_loglik(*inputs).eval(mode="FAST_COMPILE"))
    assert loglik == pytest.approx(published, abs=precision / 2 + rounding(peer.loglike, values))
    assert loglik == pytest.approx(result.llf, abs=1e-7)

    log_obs, logits, log_init = (value.eval(mode="FAST_COMPILE") for value in inputs)
    arrays = log_obs, logits if logits.ndim == 3 else logits[None], log_init
    newest = np.eye(2)[hamilton.paths_of(2, order)[:, 0]]
    filtered = hmm.filter_forward(*arrays)[1] @ newest
    np.testing.assert_allclose(filtered, result.filtered_marginal_probabilities, atol=1e-7)
    np.testing.assert_allclose(hmm.smooth(*arrays) @ newest, result.smoothed_marginal_probabilities, atol=1e-7)


def test_the_order_of_the_paths_matters(hamilton):
    """Coefficients that switch with the oldest regime, or a mean swapped between regimes, are seen in the figure."""
    published, _, order, switching, values = PUBLISHED["Hamilton AR(4)"]
    y, drivers = data_of("Hamilton AR(4)")
    right = parameters_of(order, switching, values, drivers)
    for wrong in ({"mean": right["mean"][::-1].copy()}, {"phi": right["phi"][::-1].copy()}):
        found = float(hamilton.loglik(y, **(right | wrong)).eval(mode="FAST_COMPILE"))
        assert found < published - 0.1
