"""Priors as data: what is written is what PyMC samples from, in the unit in which it was given."""

import dataclasses
import pickle

import numpy as np
import pymc as pm
import pytest
from builders import BY_ORIGIN, KERNEL, bare_spec, hand_panel, small_spec
from scipy import stats

import regimelag as rl
from regimelag.model.build import build_model, draw_prior
from regimelag.spec.priors import DISTRIBUTIONS, ENDS, Priors
from regimelag.spec.terms import model_terms
from regimelag.spec.toml import spec_from_toml, spec_to_toml

VALUES = {"mu": 0.4, "sigma": 0.3, "nu": 5.0, "lower": 0.1, "c": 0.5, "upper": 0.9}
SIGNALS = tuple(rl.Signal(name, name, kernel=KERNEL) for name in ("metal", "oil"))
ONE_SCALAR = [name for name, known in DISTRIBUTIONS.items() if known.support != "vector"]


def given_in_full(name):
    """The distribution with each set of its parameters, all of them given."""
    for required, optional in DISTRIBUTIONS[name].parameters:
        yield {one: VALUES.get(one, 2.0) for one in (*required.split(), *optional.split())}


@pytest.mark.parametrize("name", ONE_SCALAR)
def test_the_table_of_distributions_is_that_of_pymc(name):
    """PyMC takes these parameters, and all its draws are in the support that the table says."""
    for parameters in given_in_full(name):
        prior = rl.Prior(name, **parameters)
        drawn = pm.draw(getattr(pm, name).dist(**prior.parameters), 2000, random_seed=1, mode="FAST_COMPILE")
        support = DISTRIBUTIONS[name].support
        low, high = (0.1, 0.9) if support == "bounded" else ENDS[support]
        assert np.all((drawn >= low) & (drawn <= high))
        # What is beyond one, and below zero, is possible where the support says so, and nowhere else.
        for value, where in ((1.5, ("real", "positive")), (-0.5, ("real",))):
            height = pm.logp(getattr(pm, name).dist(**prior.parameters), value).eval(mode="FAST_COMPILE")
            assert np.isfinite(height) == (support in where)


@pytest.mark.parametrize("name", [name for name in ONE_SCALAR if DISTRIBUTIONS[name].in_unit])
def test_a_scaled_prior_is_that_of_the_scaled_variable(name):
    """The density of 3 x at 3 x is a third of that of x at x, up to PyTensor's single precision of whole constants."""
    for parameters in given_in_full(name):
        prior, x = rl.Prior(name, **parameters), np.array([0.2, 0.45, 0.8])
        one = pm.logp(getattr(pm, name).dist(**prior.parameters), x).eval(mode="FAST_COMPILE")
        three = pm.logp(getattr(pm, name).dist(**prior.scaled(3.0)), 3 * x).eval(mode="FAST_COMPILE")
        np.testing.assert_allclose(three + np.log(3.0), one, rtol=1e-6, atol=1e-6)


def test_a_prior_is_plain_data():
    prior = rl.Prior(
        "StudentT",
        sigma=np.float64(1),
        nu=3,
        unit="elasticity",
        by_signal={"metal": {"distribution": "Cauchy", "beta": 1}},
    )
    again = rl.Prior("StudentT", nu=3.0, sigma=1.0, unit="elasticity", by_signal={"metal": rl.Prior("Cauchy", beta=1)})
    assert prior == again
    assert hash(prior) == hash(again)
    assert repr(prior) == repr(again)
    assert eval(repr(prior), {"Prior": rl.Prior}) == prior
    assert pickle.loads(pickle.dumps(prior)) == prior
    assert pickle.loads(pickle.dumps(Priors({"effect": prior}))) == Priors({"effect": prior})
    with pytest.raises(AttributeError, match="does not change"):
        prior.unit = "standardized"


def standardised(spec, panel, name, draws=4000):
    return draw_prior(spec, build_model(spec, panel), draws, random_seed=3)[name].to_numpy()[0]


@pytest.mark.slow
def test_an_elasticity_is_the_same_whatever_the_window():
    """Two panels with other constants: the standardised prior differs, that of the effect in its own unit does not."""
    for window in range(2):
        spec = small_spec(priors={"effect": rl.Prior("Normal", mu=0.5, sigma=0.8, unit="elasticity")})
        panel = hand_panel(spec, 8, seed=window)
        panel["response_scale"] = panel["response_scale"] * (1 + 2 * window)
        ratio = float(panel["response_scale"][0]) / float(panel["signal_scale"][0])
        found = standardised(spec, panel, "effect")[:, 0] * ratio
        assert stats.kstest(found, stats.norm(0.5, 0.8).cdf).pvalue > 1e-4
        # That a coefficient of a control has the unit of its own control.
        spec = small_spec(priors={"control_effect": rl.Prior("StudentT", nu=3, sigma=20, unit="elasticity")})
        ratio = float(panel["response_scale"][0]) / float(panel["control_scale"][0])
        found = standardised(spec, panel, "control_effect")[:, 0, 0] * ratio
        assert stats.kstest(found, stats.t(3, 0, 20).cdf).pvalue > 1e-4


@pytest.mark.slow
def test_entries_have_distributions_of_their_own():
    """The log density is the sum over entries, each by scipy (PyTensor has whole constants in single precision)."""
    metal = rl.Prior("StudentT", nu=3, sigma=0.4)
    spec = small_spec(signals=SIGNALS, priors={"effect": rl.Prior("Normal", sigma=0.2, by_signal={"metal": metal})})
    panel = hand_panel(spec, 8)
    model = build_model(spec, panel)
    value, at = model.rvs_to_values[model["effect"]], np.array([0.3, -0.1])
    found = model.logp(vars=[model["effect"]]).eval({value: at}, mode="FAST_COMPILE")
    assert found == pytest.approx(stats.t(3, 0, 0.4).logpdf(0.3) + stats.norm(0, 0.2).logpdf(-0.1), rel=1e-7)
    drawn = standardised(spec, panel, "effect")
    assert stats.kstest(drawn[:, 0], stats.t(3, 0, 0.4).cdf).pvalue > 1e-4
    assert stats.kstest(drawn[:, 1], stats.norm(0, 0.2).cdf).pvalue > 1e-4
    assert model.rvs_to_values[model["effect"]].name == "effect"


def test_positive_entries_are_sampled_on_the_log_scale():
    half = rl.Prior("HalfNormal", sigma=0.2, by_signal={"metal": rl.Prior("LogNormal", mu=-1.0, sigma=0.5)})
    spec = small_spec(signals=SIGNALS, priors={"effect_regime_sd": half})
    model = build_model(spec, hand_panel(spec, 8))
    value, at = model.rvs_to_values[model["effect_regime_sd"]], np.log([0.3, 0.1])
    found = model.logp(vars=[model["effect_regime_sd"]]).eval({value: at}, mode="FAST_COMPILE")
    expected = stats.lognorm(0.5, scale=np.exp(-1.0)).logpdf(0.3) + stats.halfnorm(0, 0.2).logpdf(0.1) + at.sum()
    assert found == pytest.approx(expected, rel=1e-7)


def test_scales_by_name_and_by_list():
    drivers = (rl.Driver("yield", "yield"), rl.Driver("dollar", "dollar"))
    usual = rl.Prior("ZeroSumNormal", sigma=0.7, by_driver={"dollar": rl.Prior("ZeroSumNormal", sigma=0.1)})
    priors = {
        "driver_effect": usual,
        "stay_log_odds": rl.Prior("Normal", mu=(3.0, 1.0), sigma=0.01),
        "intercept": rl.Prior("Normal", sigma=0.3, by_regime={"turbulent": rl.Prior("Normal", sigma=0.01)}),
        "metal_lag_location": rl.Prior("LogNormal", mu=1.0, sigma=0.01),
        "driver_origin_sd": rl.Prior("Exponential", scale=0.1, by_driver={"dollar": rl.Prior("Exponential", scale=5)}),
    }
    spec = small_spec(drivers=drivers, priors=priors, regimes=rl.spec.Regimes(transitions=BY_ORIGIN))
    panel = hand_panel(spec, 8)
    drawn = draw_prior(spec, build_model(spec, panel), 2000, random_seed=1)
    # Two entries that sum to zero have sigma / sqrt(2) each; five standard errors of a standard deviation.
    spread = drawn["driver_effect"].std(("chain", "draw")).to_numpy()
    np.testing.assert_allclose(spread[:, 0], np.array([0.7, 0.1]) / np.sqrt(2), rtol=5 / np.sqrt(4000))
    np.testing.assert_allclose(drawn["stay_log_odds"].mean(("chain", "draw")), [3.0, 1.0], atol=0.002)
    np.testing.assert_allclose(drawn["intercept"].std(("chain", "draw"))[0], [0.3, 0.01], rtol=5 / np.sqrt(4000))
    assert drawn["metal_lag_location"].std() < 0.05
    np.testing.assert_allclose(drawn["driver_origin_sd"].mean(("chain", "draw")), [0.1, 5.0], rtol=5 / np.sqrt(2000))


def test_changed_models_keep_the_priors_that_they_can_have():
    half, gap = rl.Prior("HalfNormal", sigma=0.1), rl.Prior("LogNormal", sigma=1)
    by = rl.Prior("Normal", sigma=0.2, by_signal={"metal": rl.Prior("Normal", sigma=0.1)})
    spec = small_spec(
        signals=SIGNALS,
        priors={"effect": by, "effect_regime_sd": half, "log_scale_gap": gap},
    )
    with pytest.raises(rl.errors.SpecError, match="metal"):
        dataclasses.replace(spec, signals=SIGNALS[1:])
    assert spec.changed(signals=SIGNALS[1:]).priors["effect"] == rl.Prior("Normal", sigma=0.2)
    bare = spec.changed(signals=(), regimes=rl.spec.Regimes(count=1), drivers=())
    assert dict(bare.priors) == {}
    assert spec.changed(name="other").priors == spec.priors


def test_replaced_priors_are_in_tables_as_they_were_given():
    spec = small_spec(priors={"effect": rl.Prior("StudentT", nu=3, sigma=1.0, unit="elasticity")})
    found = {one.name: one.prior for one in model_terms(spec, 2).parameters()}
    assert found["effect"].unit == "elasticity"
    assert found["intercept"] == rl.Prior("Normal", mu=0.0, sigma=0.3)


def test_a_model_without_replaced_priors_has_an_empty_table():
    assert bare_spec().priors == {}
    assert "priors" in spec_to_toml(bare_spec()) or spec_from_toml(spec_to_toml(bare_spec())) == bare_spec()
