"""A hidden Markov model in a PyMC model of one's own, and the log likelihood alone for other people's arrays."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from oracles import enumerate_chain
from scipy import stats

import regimelag as rl
from regimelag.model import hidden_markov

QUICK = {"mode": "FAST_COMPILE"}
RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(3.0, size=7)
LOGITS = RNG.normal(size=(6, 2, 2))
INITIAL = np.log([0.3, 0.7])


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


EMISSIONS = {
    "poisson by regime": (pm.Poisson.dist([1.0, 6.0]), stats.poisson([1.0, 6.0]).logpmf),
    "negative binomial, moving": (
        pm.NegativeBinomial.dist(mu=np.linspace(1, 4, 14).reshape(7, 2), alpha=3.0),
        stats.nbinom(3.0, 3.0 / (3.0 + np.linspace(1, 4, 14).reshape(7, 2))).logpmf,
    ),
    "student": (pm.StudentT.dist(nu=4.0, mu=[0.0, 3.0], sigma=1.5), stats.t(4.0, [0.0, 3.0], 1.5).logpdf),
}


@pytest.mark.parametrize(("emission", "log_density"), EMISSIONS.values(), ids=EMISSIONS)
def test_the_density_is_that_of_all_paths(emission, log_density):
    observed = COUNTS if "int" in emission.dtype else COUNTS.astype(float)
    with pm.Model() as model:
        hidden_markov("y", emission, LOGITS, INITIAL, observed=observed)
    expected = enumerate_chain(log_density(observed[:, None]), log_softmax(LOGITS), INITIAL).loglik
    assert float(model.compile_logp(**QUICK)({})) == pytest.approx(expected, rel=1e-8)


@pytest.mark.slow
def test_draws_have_the_persistence_of_the_regimes():
    """The share of steps with a change, and the share of each regime, of draws whose regimes are seen."""
    stay = np.log(9.0) * np.eye(2)
    with pm.Model():
        y = hidden_markov("y", pm.Normal.dist([-50.0, 50.0], 1.0), stay, length=200)
    drawn = pm.draw(y, 20, random_seed=1, **QUICK) > 0
    changes = (drawn[:, 1:] != drawn[:, :-1]).mean()
    assert abs(changes - 0.1) < 5 * np.sqrt(0.1 * 0.9 / drawn[:, 1:].size)
    assert 0.2 < drawn.mean() < 0.8


def test_the_initial_distribution_is_uniform_by_default():
    with pm.Model() as model:
        hidden_markov("y", pm.Normal.dist([0.0, 1.0], 1.0), LOGITS, observed=COUNTS.astype(float))
    log_obs = stats.norm([0.0, 1.0], 1.0).logpdf(COUNTS[:, None])
    expected = enumerate_chain(log_obs, log_softmax(LOGITS), np.log([0.5, 0.5])).loglik
    assert float(model.compile_logp(**QUICK)({})) == pytest.approx(expected, rel=1e-8)


def test_an_emission_of_another_kind_is_refused():
    with pm.Model():
        for wrong in (np.zeros(2), pm.MvNormal.dist(np.zeros(2), np.eye(2)), pm.Normal.dist()):
            with pytest.raises(rl.errors.FitError, match="distribution by regime"):
                hidden_markov("y", wrong, LOGITS, observed=COUNTS)
        with pytest.raises(rl.errors.FitError, match="number of times") as caught:
            hidden_markov("y", pm.Poisson.dist([1.0, 2.0]), np.zeros((2, 2)))
        assert caught.value.cure == "write length=100"
        hidden_markov("y", pm.Poisson.dist([1.0, 2.0]), np.zeros((2, 2)), length=100)


# ---- markov_loglik: arrays of other packages, padding, shared transitions


def test_labelled_arrays_are_read_by_the_order_of_their_axes():
    log_obs = RNG.normal(size=(7, 2))
    expected = float(rl.markov_loglik(log_obs, LOGITS, INITIAL).eval(mode="FAST_COMPILE"))
    frame, array = pd.DataFrame(log_obs), xr.DataArray(log_obs, dims=("time", "regime"))
    for given in (frame, array, pt.as_tensor(log_obs)):
        loglik = rl.markov_loglik(given, xr.DataArray(LOGITS), pd.Series(INITIAL))
        assert float(loglik.eval(mode="FAST_COMPILE")) == expected
    low = rl.markov_loglik(log_obs.astype("float32"), LOGITS, INITIAL)
    assert low.dtype == "float64"
    assert float(low.eval(mode="FAST_COMPILE")) == pytest.approx(expected, rel=1e-5)


def test_a_mask_gives_the_shorter_series_and_leaves_out_a_row():
    log_obs = RNG.normal(size=(3, 7, 2))
    lengths = np.array([7, 5, 1])
    mask = np.arange(7) < lengths[:, None]
    mask[0, 3] = False
    padded = np.where(mask[..., None], log_obs, np.nan)
    found = rl.markov_loglik(padded, LOGITS[None], INITIAL, mask=mask).eval(mode="FAST_COMPILE")
    for n, length in enumerate(lengths):
        own = np.where(mask[n, :length, None], log_obs[n, :length], 0.0)
        alone = enumerate_chain(own, log_softmax(LOGITS)[: length - 1], INITIAL).loglik
        assert found[n] == pytest.approx(alone, rel=1e-10)
    with pytest.raises(rl.RegimelagError, match="mask is"):
        rl.markov_loglik(log_obs, LOGITS[None], INITIAL, mask=np.ones((3, 6), dtype=bool))


@pytest.mark.parametrize("batch", [6, 3], ids=["as many series as steps", "fewer"])
def test_moving_transitions_of_a_batch_need_their_axis(batch):
    """(step, origin, destination) beside a batch could be read as a constant matrix for each series."""
    log_obs = RNG.normal(size=(batch, 7, 2))
    with pytest.raises(rl.RegimelagError) as caught:
        rl.markov_loglik(log_obs, LOGITS, INITIAL)
    assert "transition_logits[None]" in caught.value.cure
    assert "transition_logits[:, None]" in caught.value.cure
    shared = rl.markov_loglik(log_obs, LOGITS[None], INITIAL).eval(mode="FAST_COMPILE")
    for n in range(batch):
        assert shared[n] == pytest.approx(enumerate_chain(log_obs[n], log_softmax(LOGITS), INITIAL).loglik, rel=1e-10)
    constant = rl.markov_loglik(log_obs, LOGITS[:batch, None], INITIAL).eval(mode="FAST_COMPILE")
    for n in range(batch):
        same = np.broadcast_to(log_softmax(LOGITS[n]), (6, 2, 2))
        assert constant[n] == pytest.approx(enumerate_chain(log_obs[n], same, INITIAL).loglik, rel=1e-10)


def test_a_matrix_for_each_series_that_cannot_be_steps_is_read_so():
    log_obs, logits = RNG.normal(size=(3, 7, 2)), RNG.normal(size=(3, 2, 2))
    found = rl.markov_loglik(log_obs, logits, INITIAL).eval(mode="FAST_COMPILE")
    np.testing.assert_allclose(found, rl.markov_loglik(log_obs, logits[:, None], INITIAL).eval(mode="FAST_COMPILE"))
    with pytest.raises(rl.RegimelagError, match="batch"):
        rl.markov_loglik(log_obs, RNG.normal(size=(4, 2, 2)), INITIAL)
