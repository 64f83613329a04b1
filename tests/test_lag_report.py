"""The lag report: its table against the readings, its evidence, its verdict and its cautions."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, prior_draws, prior_fit, small_spec
from scipy import stats

import regimelag as rl
from regimelag.reading import lag_report as module
from regimelag.reading.cautions import calendar, piled_up, separated


def test_report_says_what_the_draws_say(tiny):
    tree = tiny[2]
    report = rl.lag_report(tree, within=(2, 3))
    read, lag = rl.effects(tree), rl.lag_distribution(tree, within=(2, 3))
    prior = rl.effects(tree, group="prior")
    row = report.loc[("metal", "lagged effect")]
    assert row["posterior", "median"] == pytest.approx(float(read["lagged"].median()))
    assert row["posterior", "5 %"] == pytest.approx(np.quantile(read["lagged"], 0.05))
    assert row["posterior", "95 %"] == pytest.approx(np.quantile(read["lagged"], 0.95))
    assert row["prior", "median"] == pytest.approx(float(prior["lagged"].median()))
    assert row["posterior", "P(> 0)"] == pytest.approx(float((read["lagged"] > 0).mean()))
    mean_lag = report.loc[("metal", "mean lag")]
    inside = ((lag["mean_lag"] >= 2) & (lag["mean_lag"] <= 3)).mean()
    assert mean_lag["posterior", "P(2-3)"] == pytest.approx(float(inside))
    mass = report.loc[("metal", "mass within 2-3")]
    assert mass["posterior", "median"] == pytest.approx(float(lag["mass_within"].median()))
    turbulent = report.loc[("metal", "lagged effect, turbulent")]
    by_regime = read["lagged_by_regime"].sel(regime="turbulent")
    assert turbulent["posterior", "median"] == pytest.approx(float(by_regime.median()))
    assert set(report.index.get_level_values("quantity")) == {
        "lagged effect",
        *(f"lagged effect, {name}" for name in ("calm", "turbulent", "early", "late")),
        *("mean lag", "median lag", "peak lag", "mass within 2-3", "contemporaneous effect"),
    }


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_size_of_effects_is_held_against_the_threshold(tiny, group):
    tree = tiny[2]
    report = rl.lag_report(tree, threshold=0.7)
    read = rl.effects(tree, group=group)
    size = abs(read["contemporaneous"].sel(signal="metal")) > 0.7
    assert report.loc[("metal", "contemporaneous effect"), (group, "P(|.| > 0.7)")] == pytest.approx(float(size.mean()))
    size = abs(read["lagged_by_episode"].sel(signal="metal", episode="late")) > 0.7
    assert report.loc[("metal", "lagged effect, late"), (group, "P(|.| > 0.7)")] == pytest.approx(float(size.mean()))
    assert np.isnan(report.loc[("metal", "mean lag"), (group, "P(|.| > 0.7)")])


def test_an_empty_tree_is_refused():
    with pytest.raises(rl.FitError, match="as_fit"):
        rl.lag_report(xr.DataTree())


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"threshold": np.nan}, {"slabs": ()}, {"slabs": (1.0, -1.0)}, {"within": (13, 4)}]
)
def test_arguments_out_of_range_are_refused(tiny, wrong):
    with pytest.raises(rl.FitError, match=next(iter(wrong))):
        rl.lag_report(tiny[2], **wrong)


def test_a_model_without_lag_has_an_empty_report():
    spec = bare_spec()
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8), draws=4))
    assert report.empty
    assert report.attrs == {"verdict": {}, "no_effect": {}, "notes": []}


def test_several_signals_have_what_they_have():
    walk = rl.Unrestricted(mean_lag=2.0, spread=1.0, roughness=0.5)
    signals = (
        rl.Signal("metal", "metal", kernel=walk),
        rl.Signal("oil", "oil", kernel=small_spec().signals[0].kernel, contemporaneous=False),
        rl.Signal("gold", "gold", kernel=rl.NoLag()),
    )
    spec = small_spec(signals=signals)
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8)))
    assert ("gold", "contemporaneous effect") in report.index
    assert ("gold", "mean lag") not in report.index
    assert ("oil", "contemporaneous effect") not in report.index
    assert np.isfinite(report["posterior", "median"]).all()
    assert list(report.attrs["verdict"]) == list(report.attrs["no_effect"]) == ["metal", "oil"]


def test_only_a_same_period_response_is_reported():
    spec = small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.NoLag()),))
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8)))
    assert list(report.index) == [("metal", "contemporaneous effect")]
    assert report.attrs["verdict"] == {}


def test_effects_that_do_not_differ_have_no_rows():
    episodes = rl.Episodes(starts=(dt.date(2020, 1, 25),), names=("early", "late"), vary=("scale",))
    spec = small_spec(episodes=episodes)
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8)))
    assert ("metal", "lagged effect, calm") in report.index
    assert ("metal", "lagged effect, early") not in report.index


# ---- independent draws, so that diagnostics find no fault and the truth of each number is known


def drawn_fit(spec, panel, draws=1000):
    """A fit whose posterior is the prior, with as many draws of the prior."""
    tree = xr.DataTree.from_dict({"/posterior": prior_draws(spec, panel, draws, seed=3)})
    return rl.as_fit(tree, spec, panel, prior_draws=1000, random_seed=4)


def changed(tree, **values):
    """The fit with other draws of some parameters; its densities are those of the old ones."""
    other, posterior = tree.copy(), tree["posterior"].to_dataset()
    for name, drawn in values.items():
        posterior[name] = posterior[name].copy(data=drawn)
    other["posterior"] = xr.DataTree(posterior)
    return other


@pytest.fixture(scope="module")
def learned_nothing():
    spec = small_spec()
    panel = hand_panel(spec, 8)
    return spec, panel, drawn_fit(spec, panel)


@pytest.fixture(scope="module")
def learned_much(learned_nothing):
    """Effect and location known: effect 1 +- 0.1, location 2 +- 0.1, all else as before."""
    spec, panel, tree = learned_nothing
    rng = np.random.default_rng(5)
    effect, location = rng.normal(1.0, 0.1, (2, 1000, 1)), rng.normal(2.0, 0.1, (2, 1000))
    return spec, panel, changed(tree, effect=effect, metal_lag_location=location)


def test_a_posterior_that_is_the_prior_learned_nothing(learned_nothing):
    report = rl.lag_report(learned_nothing[2])
    # 50 bins of two samples: the standard deviation of the estimate is about 0.01.
    assert (report["evidence", "nats"] < 0.05).all()
    said = report.attrs["verdict"]["metal"]
    assert said.startswith("Not identified: the data do not tell a lagged effect of metal from none.")
    assert "Cumulative elasticity" in said


def test_no_effect_is_even_odds_where_nothing_was_learned(learned_nothing):
    spec, panel, tree = learned_nothing
    report = rl.lag_report(tree, slabs=(1.0,))
    table = pd.DataFrame(report.attrs["no_effect"]["metal"])
    # A density at zero from 2,000 draws is known to about 4 %.
    assert table["bayes_factor"][0] == pytest.approx(1.0, abs=0.2)
    assert table["slab"][0] == spec.priors.effect_sd
    ratio = float(panel["response_scale"][0] / panel["signal_scale"][0])
    assert table["natural slab"][0] == pytest.approx(spec.priors.effect_sd * ratio)


def test_what_was_learned_is_counted_and_claimed(learned_much):
    _, panel, tree = learned_much
    report = rl.lag_report(tree, within=(1, 4))
    nats = report["evidence", "nats"]
    # Of N(1, 0.1) from N(0, 0.5), in bins that are equally probable under the second.
    edges = stats.norm.ppf(np.linspace(0, 1, 51), 0.0, 0.5)
    share = np.diff(stats.norm.cdf(edges, 1.0, 0.1))
    binned = float(np.sum(share * np.log(np.maximum(share, 1e-300) * 50)))
    # The outermost bins' edges are quantiles of 1,000 draws, which moves the shares.
    assert nats["metal", "lagged effect"] == pytest.approx(binned, abs=0.25)
    assert nats["metal", "mean lag"] > 0.25
    assert nats["metal", "contemporaneous effect"] < 0.05
    said = report.attrs["verdict"]["metal"]
    ratio = float(panel["response_scale"][0] / panel["signal_scale"][0])
    assert said.startswith(f"A positive lagged effect of metal. Cumulative elasticity {ratio:.1f}")
    assert "P(no lagged effect) is below" in said
    assert "within 1 to 4 with probability 1.00" in said


def test_diagnostics_come_before_the_verdict(learned_much):
    tree = learned_much[2]
    effect = tree["posterior"]["effect"].to_numpy().copy()
    effect[1] += 1.0
    said = rl.lag_report(changed(tree, effect=effect)).attrs["verdict"]["metal"]
    assert said.startswith("The draws cannot be trusted, and nothing is claimed of metal. R-hat above 1.01")


def test_two_signals_share_the_false_claims(learned_nothing):
    signals = tuple(rl.Signal(name, name, kernel=small_spec().signals[0].kernel) for name in ("metal", "oil"))
    spec = small_spec(signals=signals)
    two = drawn_fit(spec, hand_panel(spec, 8))
    rng = np.random.default_rng(6)
    # P(> 0) = Phi(2.45) = 0.9929: enough for one signal, not for one of two.
    effect = rng.permuted(stats.norm.ppf((np.arange(2000) + 0.5) / 2000, 0.245, 0.1)).reshape(2, 1000)
    both = np.stack([effect, np.roll(effect, 7, axis=1)], axis=-1)
    said = rl.lag_report(changed(two, effect=both)).attrs["verdict"]
    assert list(said) == ["metal", "oil"]
    assert all(words.startswith("Not identified") for words in said.values())
    alone = rl.lag_report(changed(learned_nothing[2], effect=effect[..., None])).attrs["verdict"]["metal"]
    assert alone.startswith("A positive lagged effect")


def test_reports_can_be_kept_and_put_side_by_side(learned_nothing):
    report = rl.lag_report(learned_nothing[2])
    assert json.loads(json.dumps(report.attrs)) == report.attrs
    other = rl.lag_report(learned_nothing[2], slabs=(1.0, 2.0))
    both = pd.concat({"one": report, "other": other})
    assert len(both) == 2 * len(report)


def test_only_returns_have_elasticities():
    signals = (rl.Signal("metal", "metal", transform="difference"), rl.Signal("gold", "gold"))
    spec = small_spec(signals=signals, max_lag=26)
    words = [module._measure(spec, "asset", signal) for signal in signals]
    assert words == ["cumulative effect in natural units", "cumulative elasticity"]


def shifted_by_episode(read, by):
    """The reading with an episode dimension: the mean lag of the second episode is later by as many rows."""
    episodes = xr.DataArray(["early", "late"], dims="episode", name="episode")
    wide = read.expand_dims(episode=episodes, axis=-1).copy(deep=True)
    wide["mean_lag"] = wide["mean_lag"] + xr.DataArray([0.0, by], coords={"episode": episodes})
    return wide


@pytest.mark.parametrize(("by", "words"), [(5.0, "the lag differs:"), (3.0, "the lag does not differ by more")])
def test_lags_by_episode_are_compared(learned_much, monkeypatch, by, words):
    tree = learned_much[2]
    plain = rl.lag_distribution(tree)["mean_lag"].sel(signal="metal")
    read = module.lag_distribution
    monkeypatch.setattr(
        module, "lag_distribution", lambda *args, **kwargs: shifted_by_episode(read(*args, **kwargs), by)
    )
    report = rl.lag_report(tree)
    for name, shift in (("mean lag", by / 2), ("mean lag, early", 0.0), ("mean lag, late", by)):
        assert report.loc[("metal", name), ("posterior", "median")] == pytest.approx(float(plain.median()) + shift)
    gap = report.loc[("metal", "largest difference in mean lag, episodes")]
    assert gap["posterior", "median"] == pytest.approx(by)
    assert gap["posterior", "P(> 4)"] == gap["prior", "P(> 4)"] == float(by > 4)
    assert ("metal", "median lag, early") not in report.index
    assert f"Between episodes {words}" in report.attrs["verdict"]["metal"]


# ---- cautions


def test_cautions_are_among_the_notes(tiny, monkeypatch):
    monkeypatch.setattr(module, "cautions", lambda _: ["Beware."])
    assert "Beware." in rl.lag_report(tiny[2]).attrs["notes"]


def test_weight_at_the_largest_lag_is_told():
    def reading(weights):
        values = np.broadcast_to(weights, (2, 5, 1, len(weights)))
        coords = {"signal": ["metal"], "lag": np.arange(1, len(weights) + 1)}
        return xr.Dataset({"weights": (("chain", "draw", "signal", "lag"), values)}, coords=coords)

    # Of 20 lags the two beyond 18 would hold a tenth; more than a fifth is a pile.
    flat = np.full(20, 0.05)
    assert not list(piled_up(reading(flat)))
    piled = np.r_[np.full(19, 0.75 / 19), 0.25]
    (said,) = piled_up(reading(piled))
    assert said.startswith("metal: 29 % of the lag weights lie beyond 0.9 of the largest lag, 20.")


def test_a_regime_that_is_a_stretch_of_years_is_told():
    time = pd.date_range("2015-01-02", "2018-03-30", freq="W-FRI")

    def probabilities(by_year):
        calm = np.array([by_year[year] for year in time.year])
        values = np.broadcast_to(np.stack([calm, 1 - calm], axis=-1), (2, 3, len(time), 2))
        coords = {"time": time, "regime": ["calm", "turbulent"]}
        return xr.DataArray(values, dims=("chain", "draw", "time", "regime"), coords=coords)

    # The quarter of 2018 does not count.
    said = list(calendar(probabilities({2015: 0.02, 2016: 0.5, 2017: 0.99, 2018: 0.0})))
    assert len(said) == 2
    assert said[0].startswith("Regime calm is a stretch of years, 2017 against 2015:")
    assert said[1].startswith("Regime turbulent is a stretch of years, 2015 against 2017:")
    assert not list(calendar(probabilities({2015: 0.06, 2016: 0.5, 2017: 0.99, 2018: 0.0})))


def test_a_driver_that_separates_is_told():
    rng = np.random.default_rng(7)
    coords = {"driver": ["yield", "dollar"], "destination": ["calm", "turbulent"]}
    dims = ("chain", "draw", "driver", "destination")
    one = rng.standard_normal((2, 2000, 2, 1))
    prior = xr.DataArray(0.5 * np.concatenate([-one, one], axis=-1), dims=dims, coords=coords)
    posterior = xr.zeros_like(prior) + xr.DataArray([1.7, 1.3], dims="driver") * xr.DataArray(
        [-1, 1], dims="destination"
    )
    (said,) = separated(posterior, prior)
    size = 1.7 / float(prior.sel(driver="yield", destination="calm").std())
    assert said.startswith(f"Driver yield separates the regimes: its effect lies {size:.1f} prior standard deviations")


def test_real_draws_are_reported(idata):
    report = rl.lag_report(idata)
    assert ("silver", "lagged effect") in report.index
    scaled = report["evidence"].loc["silver"].loc[["lagged effect", "contemporaneous effect", "mean lag"]]
    assert np.isfinite(scaled[["nats", "prior", "likelihood"]].to_numpy(dtype=float)).all()
    assert scaled["diagnosis"].str.len().gt(0).all()
    notes = [note for note in report.attrs["notes"] if "power-scaling" in note]
    assert len(notes) == scaled["diagnosis"].str.contains("potential").sum()
