"""Evidence: information gained, no effect over slab widths and prior sensitivity, against closed forms."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import small_spec
from scipy import stats

import regimelag as rl
from regimelag.results import evidence


def normal(sd):
    return evidence.Slab("Normal", {"mu": 0.0, "sigma": sd})


def agrees(values, truth, slack=0.0):
    """Whether the mean of independent repetitions is the truth within four standard errors."""
    values = np.asarray(values)
    return abs(values.mean() - truth) < 4 * values.std(ddof=1) / np.sqrt(len(values)) + slack


def binned_divergence(mean, sd, bins):
    """Of N(mean, sd) from N(0, 1), cut at the quantiles of the second."""
    edges = stats.norm.ppf(np.linspace(0, 1, bins + 1))
    share = np.diff(stats.norm.cdf(edges, mean, sd))
    return float(np.sum(share * np.log(share * bins, where=share > 0, out=np.zeros(bins))))


@pytest.mark.parametrize(("mean", "sd"), [(0.5, 1.0), (1.0, 0.5), (0.0, 0.4), (-1.5, 0.7)])
def test_information_of_two_normals(mean, sd):
    rng = np.random.default_rng(5)
    closed = 0.5 * (sd**2 + mean**2 - 1) - np.log(sd)
    limit = binned_divergence(mean, sd, 50)
    found = [evidence.information_gained(rng.normal(mean, sd, 4000), rng.standard_normal(4000)) for _ in range(40)]
    assert agrees(found, limit, slack=0.003)
    # Fifty bins lose little of it, and never add.
    assert 0 <= closed - limit < 0.03


@pytest.mark.parametrize(
    "draw", [lambda rng, n: rng.gamma(2.0, size=n), lambda rng, n: rng.binomial(25, 0.3, size=n).astype(float)]
)
def test_no_information_in_the_same_law(draw):
    rng = np.random.default_rng(6)
    found = [evidence.information_gained(draw(rng, 800), draw(rng, 1000)) for _ in range(300)]
    assert agrees(found, 0.0, slack=0.002)
    # What the correction takes off can be seen: 39 bins' worth for the continuous law.
    assert np.std(found) < 0.02


def test_repeated_draws_hold_no_more_information():
    """Each draw ten times: the effective number says so, and the bias of the repeats is taken off."""
    rng = np.random.default_rng(7)
    repeated = [np.repeat(rng.standard_normal(500), 10) for _ in range(200)]
    found = [evidence.information_gained(draws, rng.standard_normal(1000), effective=500) for draws in repeated]
    assert agrees(found, 0.0, slack=0.002)


def test_divergence_by_hand():
    assert evidence.divergence(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])) == pytest.approx(np.log(2))
    assert evidence.divergence(np.array([0.3, 0.7]), np.array([0.3, 0.7])) == pytest.approx(0.0)


@pytest.mark.parametrize("mean", [0.0, 0.8, -1.6, 2.2])
def test_density_at_zero_of_a_normal(mean):
    rng = np.random.default_rng(8)
    found = [evidence.density_at_zero(rng.normal(3 * mean, 3.0, 4000)) for _ in range(60)]
    assert not any(bound for _, bound in found)
    truth = stats.norm.pdf(0.0, 3 * mean, 3.0)
    assert agrees([value / truth for value, _ in found], 1.0, slack=0.01)


@pytest.mark.parametrize("law", [stats.norm(4.0, 1.0), stats.norm(-9.0, 1.0), stats.t(5, loc=8.0), stats.gamma(30)])
def test_density_far_from_the_draws_is_bounded(law):
    rng = np.random.default_rng(9)
    value, bound = evidence.density_at_zero(law.rvs(4000, random_state=rng))
    assert bound
    assert law.pdf(0.0) <= value < 0.05


def conjugate(y, noise, tau, rng, draws=4000):
    """Posterior draws of b ~ N(0, tau) given y ~ N(b, noise)."""
    sd = (tau**-2 + noise**-2) ** -0.5
    return rng.normal(sd**2 * y / noise**2, sd, draws)


@pytest.mark.parametrize("y", [0.0, 0.3, -0.45])
def test_no_effect_of_the_conjugate_model(y):
    noise, tau, slabs = 0.2, 0.5, (0.25, 0.5, 1.0, 2.0, 4.0)
    rng = np.random.default_rng(10)
    tables = [evidence.no_effect(conjugate(y, noise, tau, rng), normal(tau), slabs) for _ in range(60)]
    for n, slab in enumerate(slabs):
        some = stats.norm.pdf(y, 0.0, np.hypot(noise, slab * tau))
        truth = stats.norm.pdf(y, 0.0, noise) / some
        assert agrees([table["bayes_factor"][n] / truth for table in tables], 1.0, slack=0.015)
    table = tables[0]
    np.testing.assert_allclose(table["probability"], table["bayes_factor"] / (1 + table["bayes_factor"]))
    np.testing.assert_allclose(table["slab"], np.array(slabs) * tau)
    # Lindley: however the data fall, a wider slab makes none more probable once it is wide enough.
    assert table["probability"][4] > table["probability"][3]


@pytest.mark.parametrize("draws", [1000, 4000])
def test_nothing_learned_is_a_bayes_factor_of_one_at_every_slab_in_reach(draws):
    """The weights of a slab twice as wide as the prior have Pareto k 0.75, of one four times as wide 0.94."""
    rng = np.random.default_rng(13)
    slabs = (0.25, 0.5, 1.0, 2.0, 4.0)
    tables = [evidence.no_effect(rng.normal(0.0, 0.5, draws), normal(0.5), slabs) for _ in range(60)]
    for n in range(3):
        assert agrees([table["bayes_factor"][n] for table in tables], 1.0, slack=0.01)
    # The posterior variance is estimated: a slab of 2 is reached by chance now and then, and is right then.
    wide = np.array([[table["bayes_factor"][n] for n in (3, 4)] for table in tables])
    assert np.isnan(wide[:, 1]).all()
    assert np.isnan(wide[:, 0]).mean() > 0.9


@pytest.mark.parametrize("share", [0.3, 0.7, 0.8])
def test_slabs_that_are_kept_are_right(share):
    """A posterior N(0, v) with v a share of the prior's variance, as y = 0 would leave it."""
    rng = np.random.default_rng(14)
    tau = 0.5
    sd = np.sqrt(share) * tau
    noise = (sd**-2 - tau**-2) ** -0.5
    tables = [evidence.no_effect(rng.normal(0.0, sd, 4000), normal(tau), (2.0, 4.0)) for _ in range(60)]
    for n, multiple in enumerate((2.0, 4.0)):
        truth = np.hypot(noise, multiple * tau) / noise
        found = np.array([table["bayes_factor"][n] for table in tables]) / truth
        kept, k = found[~np.isnan(found)], (1 - multiple**-2) * share
        assert (np.abs(kept - 1) < 0.3).all()
        if k < 0.5:
            assert len(kept) == 60
        elif k < 0.7:
            assert len(kept) > 30
        else:
            assert len(kept) < 10


def tail_index(log_weight):
    """Of the largest weights, by maximum likelihood of the generalised Pareto distribution: no code of ArviZ's."""
    weight = np.sort(np.exp(log_weight - log_weight.max()))
    size = int(np.ceil(min(len(weight) / 5, 3 * np.sqrt(len(weight)))))
    return stats.genpareto.fit(weight[-size:] - weight[-size - 1], floc=0.0)[0]


@pytest.mark.parametrize("k", [-1.0, 0.3, 0.7, 1.2])
def test_pareto_k_is_that_of_weights_whose_tail_is_known(k):
    """u^(-k) of a uniform u has a generalised Pareto tail of shape k, exactly; so has 1 - u, of shape -1."""
    rng = np.random.default_rng(15)
    uniform = rng.random((40, 4000))
    log_weight = np.log(uniform) if k < 0 else -k * np.log(uniform)
    found = np.array([evidence._pareto_k(one) for one in log_weight])
    if k < 0:
        # Maximum likelihood is not regular there.
        assert (np.abs(found - k) < 0.3).all()
        return
    peer = np.array([tail_index(one) for one in log_weight])
    # The prior of Vehtari et al. (2024) draws the estimate a twentieth of the way to a half.
    assert agrees(found, k, slack=0.06 * abs(k - 0.5) + 0.02)
    assert agrees(found - peer, 0.0, slack=0.06 * abs(k - 0.5) + 0.02)


@pytest.mark.parametrize("a", [0.9, 0.3, -0.3, -0.9])
def test_weights_of_slabs_have_the_tail_of_their_square(a):
    """exp(a z^2) of a normal z has shape 2 a but for a slowly varying factor; for a < 0 it is bounded."""
    rng = np.random.default_rng(16)
    normal = rng.standard_normal((20, 4000))
    found = np.array([evidence._pareto_k(a * one**2) for one in normal])
    if a < 0:
        assert (found < 0).all()
        return
    peer = np.mean([tail_index(a * one**2) for one in normal])
    assert found.mean() == pytest.approx(peer, abs=0.1 + 0.06 * abs(peer - 0.5))
    assert found.mean() == pytest.approx(2 * a, abs=0.35)


def test_far_effects_are_bounded_and_unreachable_slabs_are_missing():
    y, noise, tau = 1.5, 0.15, 0.5
    table = evidence.no_effect(conjugate(y, noise, tau, np.random.default_rng(11)), normal(tau), (0.1, 1.0, 4.0))
    assert table["bound"].all()
    for n, slab in ((1, 1.0), (2, 4.0)):
        truth = stats.norm.pdf(y, 0.0, noise) / stats.norm.pdf(y, 0.0, np.hypot(noise, slab * tau))
        assert truth < table["bayes_factor"][n] < 0.2
    assert table["pareto_k"][0] > 0.7
    assert np.isnan(table["probability"][0])


def test_scaled_priors_are_those_of_effect_and_lag(tiny, idata, flagship):
    spec, _, tree = tiny
    expected = {"effect", "effect_regime_sd", "effect_episode_sd"}
    found = evidence.prior_components(spec, tree["log_prior"].to_dataset())
    assert set(found) == expected | {"metal_lag_location", "metal_lag_spread"}
    assert len(found) == len(set(found))
    found = evidence.prior_components(flagship, idata["log_prior"].to_dataset())
    assert set(found) == expected | {"silver_lag_location", "silver_lag_spread"}


def sensitivity(prior_sd, *, junk):
    """Of a normal mean with a prior centred two prior sds from the data, and another prior that must not count."""
    rng = np.random.default_rng(12)
    y, noise = 1.0, 0.3
    sd = (prior_sd**-2 + noise**-2) ** -0.5
    b = xr.DataArray(rng.normal(sd**2 * y / noise**2, sd, (4, 1000)), dims=("chain", "draw"))
    log_prior = xr.Dataset({"effect": -0.5 * (b / prior_sd) ** 2})
    if junk:
        log_prior["intercept"] = 300.0 * b
    likelihood = (-0.5 * ((y - b) / noise) ** 2).expand_dims(time=1)
    quantities = b.expand_dims({"quantity": 1}, -1)
    return evidence.prior_sensitivity(small_spec(), log_prior, likelihood, quantities).iloc[0]


def test_a_prior_that_decides_is_found_out():
    strong, weak = (sensitivity(sd, junk=True) for sd in (0.3, 10.0))
    assert strong["prior"] > 0.05 > weak["prior"]
    assert min(strong["likelihood"], weak["likelihood"]) > 0.05
    pd.testing.assert_series_equal(strong, sensitivity(0.3, junk=False))


@pytest.mark.parametrize("prior_sd", [0.3, 0.6])
def test_pulls_are_those_of_the_conjugate_model(prior_sd):
    """Scaled by alpha and beta, prior and likelihood leave the mean at y beta p / (beta p + alpha q), by precisions."""
    found = sensitivity(prior_sd, junk=False)
    p, q = 0.3**-2, prior_sd**-2
    slope = np.log(2) * p * q / (p + q) ** 2
    # A covariance of 4,000 draws.
    assert found["prior_pull"] == pytest.approx(-slope, rel=0.15)
    assert found["likelihood_pull"] == pytest.approx(slope, rel=0.15)


def test_sensitivity_is_arviz_own(idata, flagship):
    quantities = rl.effects(idata)["lagged"].rename(signal="quantity")
    log_prior, one_step = (idata[name].to_dataset() for name in ("log_prior", "one_step_ahead"))
    found = evidence.prior_sensitivity(flagship, log_prior, one_step["response_value"], quantities)
    tree, priors = rl.one_step_ahead(idata), evidence.prior_components(flagship, log_prior)
    own = az.psense_summary(tree, var_names=["effect"], prior_var_names=priors)
    # Sensitivity does not depend on the unit.
    np.testing.assert_allclose(found["prior"].astype(float), own["prior"].astype(float), atol=2e-3)


def test_a_point_lag_tells_by_its_probabilities(tiny, monkeypatch):
    """Probabilities that differ between draws are averaged first, and compared with the prior masses."""
    spec, _, tree = tiny
    draws, masses = tree["posterior"].to_dataset(), np.array([0.4, 0.3, 0.2, 0.1])
    assert evidence.point_information(spec, draws, "metal", {}) is None
    monkeypatch.setattr(rl.kernels.Gamma, "prior_masses", lambda self, max_lag: masses, raising=False)
    shape = (draws.sizes["chain"], draws.sizes["draw"], 4)
    values = np.broadcast_to([0.1, 0.1, 0.4, 0.4], shape).copy()
    values[0] = [0.3, 0.1, 0.2, 0.4]
    draws["metal_lag_probability"] = (("chain", "draw", "lag"), values)
    mean = np.array([0.2, 0.1, 0.3, 0.4])
    expected = float(np.sum(mean * np.log(mean / masses)))
    assert evidence.point_information(spec, draws, "metal", {}) == pytest.approx(expected)
    draws["metal_lag_probability"] = (("chain", "draw", "regime", "lag"), np.stack([values, values[::-1]], axis=2))
    assert evidence.point_information(spec, draws, "metal", {}) is None
    assert evidence.point_information(spec, draws, "metal", {"regime": "turbulent"}) == pytest.approx(expected)
