"""The lag report: its table against the readings, its evidence, its verdict and its cautions."""

from __future__ import annotations

import datetime as dt
import json
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import BY_ORIGIN, bare_spec, hand_panel, on_panel, prior_draws, prior_fit, priors, replaced, small_spec
from scipy import optimize, stats

import regimelag as rl
from regimelag.results import lag_report as module
from regimelag.results import model_checks as cautions_module
from regimelag.results.model_checks import mass_at_max_lag, model_warnings, regime_is_calendar, separation, visited_once
from regimelag.spec.series import gain_and_loss


def row_of(report, quantity, *, signal="metal", regime="all", episode="all"):
    """The one row of a quantity, of a report on one response."""
    (response,) = set(report.index.get_level_values("response"))
    return report.loc[(response, signal, quantity, regime, episode)]


def quantities(report):
    """Signal, quantity, regime and episode of every row, of a report on one response."""
    return [key[1:] for key in report.index]


@pytest.mark.parametrize("level", [1e300, -1e300])
def test_entries_of_a_prior_whose_deviations_vanish_are_those_of_its_average(tiny, level):
    """The rows are those of the posterior."""
    tree = tiny[2].copy(deep=True)
    tree["prior"]["effect"][:] = level
    report = rl.lag_report(tree)
    whole = row_of(report, "lagged effect")["prior", "median"]
    for regime in ("calm", "turbulent"):
        assert row_of(report, "lagged effect", regime=regime)["prior", "median"] == whole
    assert np.isfinite(row_of(report, "lagged effect", regime="calm")["posterior", "median"])


def test_few_draws_have_no_prior_sensitivity(tiny):
    report = rl.lag_report(tiny[2].isel(draw=[0], missing_dims="ignore"))
    assert np.isnan(row_of(report, "lagged effect")["evidence", "likelihood"])


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_kernel_parameters_outside_the_support_of_their_prior_are_refused(tiny, group):
    tree = tiny[2].copy(deep=True)
    tree[group]["metal_lag_location"][0, 1] = 0.0
    with pytest.raises(rl.errors.FitError, match="metal_lag_location") as caught:
        rl.lag_distribution(tree, group=group)
    assert "1 of" in caught.value.came


def test_report_says_what_the_draws_say(tiny):
    tree = tiny[2]
    report = rl.lag_report(tree, within=(2, 3))
    read, lag = rl.effects(tree), rl.lag_distribution(tree, within=(2, 3))
    prior = rl.effects(tree, group="prior")
    row = row_of(report, "lagged effect")
    assert row["posterior", "median"] == pytest.approx(float(read["lagged"].median()))
    assert row["posterior", "5 %"] == pytest.approx(np.quantile(read["lagged"], 0.05))
    assert row["posterior", "95 %"] == pytest.approx(np.quantile(read["lagged"], 0.95))
    assert row["prior", "median"] == pytest.approx(float(prior["lagged"].median()))
    assert row["posterior", "P(> 0)"] == pytest.approx(float((read["lagged"] > 0).mean()))
    mean_lag = row_of(report, "mean lag")
    inside = ((lag["mean_lag"] >= 2) & (lag["mean_lag"] <= 3)).mean()
    assert mean_lag["posterior", "P(within)"] == pytest.approx(float(inside))
    mass = row_of(report, "mass within")
    assert mass["posterior", "median"] == pytest.approx(float(lag["mass_within"].median()))
    for group, values in (("posterior", read), ("prior", prior)):
        over = values["lagged_over_sample"].sel(signal="metal")
        row = row_of(report, "lagged effect, average over the sample's periods")[group]
        assert row["median"] == pytest.approx(float(over.median()))
        assert row["P(> 0)"] == pytest.approx(float((over > 0).mean()))
    turbulent = row_of(report, "lagged effect", regime="turbulent")
    by_regime = read["lagged_by_regime"].sel(regime="turbulent")
    assert turbulent["posterior", "median"] == pytest.approx(float(by_regime.median()))
    assert report.index.names == ["response", "signal", "quantity", "regime", "episode"]
    averages = ("lagged effect", "lagged effect, average over the sample's periods", "contemporaneous effect")
    averages += ("mean lag", "median lag", "peak lag", "mass within")
    assert set(quantities(report)) == {
        *(("metal", quantity, "all", "all") for quantity in averages),
        *(("metal", "lagged effect", name, "all") for name in ("calm", "turbulent")),
        *(("metal", "lagged effect", "all", name) for name in ("early", "late")),
    }
    assert (report.attrs["within"], report.attrs["threshold"]) == ([2, 3], 0.25)


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_size_of_effects_is_held_against_the_threshold(tiny, group):
    tree = tiny[2]
    report = rl.lag_report(tree, threshold=0.7)
    read = rl.effects(tree, group=group)
    size = abs(read["contemporaneous"].sel(signal="metal")) > 0.7
    assert row_of(report, "contemporaneous effect")[group, "P(|.| > threshold)"] == pytest.approx(float(size.mean()))
    size = abs(read["lagged_by_episode"].sel(signal="metal", episode="late")) > 0.7
    assert row_of(report, "lagged effect", episode="late")[group, "P(|.| > threshold)"] == pytest.approx(
        float(size.mean())
    )
    assert np.isnan(row_of(report, "mean lag")[group, "P(|.| > threshold)"])


def test_an_empty_tree_is_refused():
    with pytest.raises(rl.errors.FitError, match="as_fit"):
        rl.lag_report(xr.DataTree())


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0.0}, {"threshold": np.nan}, {"slabs": ()}, {"slabs": (1.0, -1.0)}, {"within": (13, 4)}]
)
def test_arguments_out_of_range_are_refused(tiny, wrong):
    with pytest.raises(rl.errors.FitError, match=next(iter(wrong))):
        rl.lag_report(tiny[2], **wrong)


def test_a_model_without_lag_has_an_empty_report():
    spec = bare_spec()
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8), draws=4))
    assert report.empty
    assert {name: report.attrs[name] for name in ("verdict", "no_effect")} == {"verdict": {}, "no_effect": {}}
    assert report.attrs["notes"] == report.attrs["sentences"] == []
    assert report.attrs.pop("persistence") == {
        "asset": {"r_1": None, "r_1^2 + ... + r_8^2": None, "autocorrelation": None}
    }


PARTS = tuple(
    rl.Signal(f"metal {kind}", "metal", kind, kernel=small_spec().signals[0].kernel) for kind in ("gain", "loss")
)


def shifted(tree, spec, panel, **effects):
    """The same draws with other average effects (standardised) of gain and loss."""
    posterior = tree["posterior"].to_dataset()
    moved = [posterior["effect"].sel(lagged_signal=f"metal {name}") * 0.01 + at for name, at in effects.items()]
    posterior["effect"] = posterior["effect"].copy(data=xr.concat(moved, "n").transpose("chain", "draw", "n"))
    return rl.as_fit(xr.DataTree.from_dict({"/posterior": posterior}), spec, panel, prior_draws=20, random_seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["higher", "lower"])
def test_asymmetry_is_the_difference_of_the_effects_of_gain_and_loss(way, monkeypatch):
    monkeypatch.setattr(module.View, "diagnostics", ["fine"])
    spec = small_spec(signals=PARTS, episodes=rl.spec.Episodes())
    panel = hand_panel(spec, 12)
    tree = prior_fit(spec, panel)
    report = rl.lag_report(tree)
    row = row_of(report, "asymmetry", signal="metal gain less metal loss")
    effect = rl.effects(tree)["lagged"]
    # Each in its own unit: the panel's scales of gain and loss differ.
    difference = effect.sel(signal="metal gain") - effect.sel(signal="metal loss")
    assert row["posterior", "median"] == pytest.approx(float(difference.median()))
    assert row["posterior", "P(> 0)"] == pytest.approx(float((difference > 0).mean()))
    assert np.isfinite(row["prior", "median"])
    assert list(report.attrs["verdict"]) == ["metal gain", "metal loss", "metal gain less metal loss"]
    assert list(report.attrs["no_effect"]) == ["metal gain", "metal loss"]
    sign = 1 if way == "higher" else -1
    sure = rl.lag_report(shifted(tree, spec, panel, gain=sign * 2.0, loss=-sign * 2.0))
    said = sure.attrs["verdict"]["metal gain less metal loss"]
    assert said.startswith(
        f"The lagged effect of metal gain is {way} than that of metal loss. Difference in cumulative"
    )
    # Effects of the gain and of the loss are no asymmetry where they are one effect of the return.
    equal = shifted(tree, spec, panel, gain=2.0, loss=2.0 * float(panel["signal_scale"][1] / panel["signal_scale"][0]))
    assert rl.lag_report(equal).attrs["verdict"]["metal gain less metal loss"].startswith("No asymmetry is identified")


@pytest.mark.slow
def test_asymmetries_share_their_budget_with_responses_alone(monkeypatch):
    monkeypatch.setattr(module.View, "diagnostics", ["fine"])
    responses = (rl.Response("asset", "price"), rl.Response("other", "cost"))
    other = rl.Signal("oil", "oil", kernel=PARTS[0].kernel)
    spec = small_spec(responses=responses, signals=(*PARTS, other), episodes=rl.spec.Episodes())
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 12)))
    said = {name: text for name, text in report.attrs["verdict"].items() if " less " in name}
    assert list(said) == [f"metal gain less metal loss on {name}" for name in ("asset", "other")]
    # Two responses and one pair: 1 - 0.01 / 2.
    assert all("A claim needs 0.995 for one sign" in text for text in said.values())


def test_no_asymmetry_is_claimed_where_the_verdict_is_withheld(monkeypatch):
    monkeypatch.setattr(module.View, "diagnostics", ["found", "R-hat is 1.2."])
    spec = small_spec(signals=PARTS, episodes=rl.spec.Episodes())
    said = rl.lag_report(prior_fit(spec, hand_panel(spec, 12))).attrs["verdict"]["metal gain less metal loss"]
    assert said == "Nothing is claimed of a difference between metal gain and metal loss. R-hat is 1.2."


@pytest.mark.parametrize(
    "change", [{"column": "gold"}, {"against": "gold"}, {"beyond": "gold"}, {"delay": "1B"}, {"periods": 2}]
)
def test_a_gain_and_a_loss_of_two_returns_are_not_compared(change):
    spec = small_spec(signals=(PARTS[0], replaced(PARTS[1], **change)))
    assert not gain_and_loss(spec.lagged_signals)
    assert gain_and_loss(PARTS) == [PARTS]


def test_several_signals_have_what_they_have():
    walk = rl.kernels.Unrestricted(mean_lag=2.0, spread=1.0, roughness=0.5)
    signals = (
        rl.Signal("metal", "metal", kernel=walk),
        rl.Signal("oil", "oil", kernel=small_spec().signals[0].kernel, contemporaneous=False),
        rl.Signal("gold", "gold", kernel=rl.kernels.NoLag()),
    )
    spec = small_spec(signals=signals)
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8)))
    assert ("gold", "contemporaneous effect", "all", "all") in quantities(report)
    assert ("gold", "mean lag", "all", "all") not in quantities(report)
    assert ("oil", "contemporaneous effect", "all", "all") not in quantities(report)
    assert np.isfinite(report["posterior", "median"]).all()
    assert list(report.attrs["verdict"]) == list(report.attrs["no_effect"]) == ["metal", "oil"]


def test_only_a_same_period_response_is_reported():
    spec = small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.kernels.NoLag()),))
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8)))
    assert quantities(report) == [("metal", "contemporaneous effect", "all", "all")]
    assert report.attrs["verdict"] == {}


def test_effects_that_do_not_differ_have_no_rows():
    episodes = rl.spec.Episodes(starts=(dt.date(2020, 1, 25),), names=("early", "late"), vary=("scale",))
    spec = small_spec(episodes=episodes)
    report = rl.lag_report(prior_fit(spec, hand_panel(spec, 8)))
    assert ("metal", "lagged effect", "calm", "all") in quantities(report)
    assert ("metal", "lagged effect", "all", "early") not in quantities(report)


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
    assert said.startswith("Not identified: the data do not distinguish a lagged effect of metal from none.")
    assert "Cumulative elasticity" in said


def test_no_effect_is_even_odds_where_nothing_was_learned(learned_nothing):
    _, panel, tree = learned_nothing
    report = rl.lag_report(tree, slabs=(1.0,))
    table = pd.DataFrame(report.attrs["no_effect"]["metal"])
    # A density at zero from 2,000 draws is known to about 4 %.
    assert table["bayes_factor"][0] == pytest.approx(1.0, abs=0.2)
    assert table["slab"][0] == 0.5
    ratio = float(panel["response_scale"][0] / panel["signal_scale"][0])
    assert table["natural slab"][0] == pytest.approx(0.5 * ratio)


def test_what_was_learned_is_counted_and_claimed(learned_much):
    _, panel, tree = learned_much
    report = rl.lag_report(tree, within=(1, 4))
    # Of N(1, 0.1) from N(0, 0.5), in bins that are equally probable under the second.
    edges = stats.norm.ppf(np.linspace(0, 1, 51), 0.0, 0.5)
    share = np.diff(stats.norm.cdf(edges, 1.0, 0.1))
    binned = float(np.sum(share * np.log(np.maximum(share, 1e-300) * 50)))
    # The outermost bins' edges are quantiles of 1,000 draws, which moves the shares.
    assert row_of(report, "lagged effect")["evidence", "nats"] == pytest.approx(binned, abs=0.25)
    assert row_of(report, "mean lag")["evidence", "nats"] > 0.25
    assert row_of(report, "contemporaneous effect")["evidence", "nats"] < 0.05
    said = report.attrs["verdict"]["metal"]
    ratio = float(panel["response_scale"][0] / panel["signal_scale"][0])
    assert said.startswith(f"A positive lagged effect of metal. Cumulative elasticity {ratio:.1f}")
    assert "P(no average lagged effect) is below" in said
    assert "deviations between regimes and episodes remain possible under both hypotheses" in said
    assert "within 1 to 4 with probability 1.00" in said


def test_diagnostics_come_before_the_verdict(learned_much):
    tree = learned_much[2]
    effect = tree["posterior"]["effect"].to_numpy().copy()
    effect[1] += 1.0
    said = rl.lag_report(changed(tree, effect=effect)).attrs["verdict"]["metal"]
    assert said.startswith("Convergence diagnostics failed, and nothing is claimed of metal. R-hat above 1.01")


@pytest.mark.slow
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
    assert words == ["cumulative effect, in units of the response per unit of the signal", "cumulative elasticity"]


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
    for episode, shift in (("all", by / 2), ("early", 0.0), ("late", by)):
        assert row_of(report, "mean lag", episode=episode)["posterior", "median"] == pytest.approx(
            float(plain.median()) + shift
        )
    gap = row_of(report, "largest difference in mean lag between episodes")
    assert gap["posterior", "median"] == pytest.approx(by)
    assert gap["posterior", "P(> 4)"] == gap["prior", "P(> 4)"] == float(by > 4)
    assert ("metal", "median lag", "all", "early") not in quantities(report)
    assert f"Between episodes {words}" in report.attrs["verdict"]["metal"]


def test_a_posterior_that_equals_its_prior_conflicts_with_nothing(learned_nothing):
    """Its own prior moves it, by construction; and slabs wider than the prior are out of reach."""
    report = rl.lag_report(learned_nothing[2])
    scaled = pd.DataFrame([row_of(report, name)["evidence"] for name in ("lagged effect", "mean lag")])
    assert (scaled["prior"] > 0.05).all()
    assert (scaled["diagnosis"] == module.SAME).all()
    assert not [note for note in report.attrs["notes"] if "prior" in note]
    assert "over 3 of 5 slab widths, 0.25 to 1 times the prior's" in report.attrs["verdict"]["metal"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, module.DISAGREE),
        ({"nats": 0.24, "mean": 5.0}, module.SAME),
        ({"mean": 1.9}, module.FINE),
        ({"mean": -1.9}, module.FINE),
        ({"mean": -2.1, "prior_pull": 0.1, "likelihood_pull": -0.1}, module.DISAGREE),
        ({"prior": 0.05}, module.FINE),
        ({"likelihood": 0.05}, module.FINE),
        # Both pull the same way: nothing is in conflict.
        ({"prior_pull": 0.1}, module.FINE),
    ],
)
def test_prior_and_data_disagree_outside_the_bulk_of_the_prior(changes, said):
    found = {"nats": 0.26, "mean": 2.1, "prior": 0.3, "likelihood": 0.3, "prior_pull": -0.1, "likelihood_pull": 0.1}
    found |= changes
    assert module._diagnosis(found.pop("nats"), found, found.pop("mean"), np.array([-2.0, 2.0])) == said


def pulled(tree, spec, centre, noise):
    """The fit's effect as y ~ N(effect, noise) at y = centre would leave it, with that likelihood."""
    tau = 0.5
    sd = (tau**-2 + noise**-2) ** -0.5
    effect = np.random.default_rng(8).normal(sd**2 * centre / noise**2, sd, (2, 1000, 1))
    other = changed(tree, effect=effect)
    prior, likelihood = other["log_prior"].to_dataset(), other["one_step_ahead"].to_dataset()
    prior["effect"] = prior["effect"].copy(data=stats.norm.logpdf(effect[..., 0], 0.0, tau))
    likelihood["response_value"] = likelihood["response_value"].copy(
        data=np.repeat(stats.norm.logpdf(centre, effect, noise), likelihood.sizes["time"], axis=-1)
        / likelihood.sizes["time"]
    )
    other["log_prior"], other["one_step_ahead"] = xr.DataTree(prior), xr.DataTree(likelihood)
    return other


@pytest.mark.parametrize(("centre", "away", "back"), [(2.4, "up", "down"), (-2.4, "down", "up")])
def test_a_disagreement_is_said_with_its_directions_and_one_cure(learned_nothing, centre, away, back):
    spec, _, tree = learned_nothing
    report = rl.lag_report(pulled(tree, spec, centre, 0.4))
    row = row_of(report, "lagged effect")
    assert row["evidence", "diagnosis"] == module.DISAGREE
    (said,) = [note for note in report.attrs["notes"] if "prior" in note]
    assert said.startswith("metal, lagged effect: prior and data disagree. The posterior mean, ")
    low, high = row["prior", "5 %"], row["prior", "95 %"]
    assert f"lies outside the prior's 90 % interval, {low:.2f} to {high:.2f}." in said
    assert f"more weight on the priors of effect and lag moves it {back} (sensitivity " in said
    assert f"more weight on the likelihood moves it {away} (sensitivity " in said
    assert said.endswith(
        "Fit again with priors={'effect': regimelag.Prior('Normal', mu=0.0, sigma=1.0)}, and report both fits."
    )
    # In the bulk of the prior there is nothing to say.
    quiet = rl.lag_report(pulled(tree, spec, np.sign(centre) * 0.8, 0.4))
    assert not [note for note in quiet.attrs["notes"] if "prior" in note]


@pytest.mark.parametrize(
    ("kernel", "cure"),
    [
        (rl.kernels.Gamma(), "mean_lag_sd = 10 in the kernel of metal"),
        (rl.kernels.Beta(), "mean_lag_sd = 10 in the kernel of metal"),
        # Twice its standard deviation would leave a negative concentration.
        (rl.kernels.Dirichlet(mean_lag_sd=3.0), "spread = 8 in the kernel of metal"),
        (rl.kernels.Smooth(), "roughness = 0.6 in the kernel of metal"),
        (rl.kernels.Point(), "spread = 12 in the kernel of metal"),
        (rl.kernels.Point(masses=(1.0,) * 26), "more even masses in the kernel of metal"),
    ],
)
def test_the_wider_prior_of_a_lag_can_be_had(kernel, cure):
    spec = small_spec(signals=(rl.Signal("metal", "metal", kernel=kernel),), max_lag=26)
    said = module.evidence.wider_lag(spec, "metal")
    assert said == cure
    if "=" in said:
        name, value = said.split(" in ")[0].split(" = ")
        wide = replaced(kernel, **{name: float(value)})
        small_spec(signals=(rl.Signal("metal", "metal", kernel=wide),), max_lag=26)


# ---- cautions


def test_cautions_are_among_the_notes(tiny, monkeypatch):
    monkeypatch.setattr(module, "model_warnings", lambda _: ["Beware."])
    assert "Beware." in rl.lag_report(tiny[2]).attrs["notes"]


def test_weight_at_the_largest_lag_is_told():
    def reading(weights):
        values = np.broadcast_to(weights, (2, 5, 1, len(weights)))
        coords = {"signal": ["metal"], "lag": np.arange(1, len(weights) + 1)}
        return xr.Dataset({"weights": (("chain", "draw", "signal", "lag"), values)}, coords=coords)

    # Of 20 lags the two beyond 18 would hold a tenth; more than a fifth is a pile.
    flat = np.full(20, 0.05)
    assert not list(mass_at_max_lag(reading(flat)))
    piled = np.r_[np.full(19, 0.75 / 19), 0.25]
    (said,) = mass_at_max_lag(reading(piled))
    assert said.startswith("metal: 29 % of the lag weights lie beyond 0.9 of the largest lag, 20.")


def of_years(by_year, regimes=("calm", "turbulent"), responses=None):
    """Probabilities (chain, draw, time, regime), constant within each year: `by_year` has those of each regime."""
    time = pd.date_range("2015-01-02", "2018-03-30", freq="W-FRI")
    shares = np.array([by_year[year] for year in time.year])
    values = np.broadcast_to(shares, (2, 3, *shares.shape))
    dims = ("chain", "draw", "time", "response", "regime") if responses else ("chain", "draw", "time", "regime")
    coords = {"time": time, "regime": list(regimes)} | ({"response": list(responses)} if responses else {})
    return xr.DataArray(values, dims=dims, coords=coords)


def test_regimes_that_are_the_calendar_are_told_once():
    # The quarter of 2018 does not count.
    years = {2015: (0.02, 0.98), 2016: (0.5, 0.5), 2017: (0.99, 0.01), 2018: (0.0, 1.0)}
    (said,) = regime_is_calendar(of_years(years), bare_spec(regimes=rl.spec.Regimes(count=2)), episodes=1)
    assert said.startswith(
        "The regimes coincide with calendar periods: calm fills 2017, turbulent fills 2015. What is reported of a "
        "regime may be a property of these years."
    )
    assert not list(regime_is_calendar(of_years(years | {2015: (0.06, 0.94)}), small_spec(), episodes=2))
    # Of three, one fills a year that the others share in another one.
    three = {2015: (0.01, 0.5, 0.49), 2016: (0.98, 0.01, 0.01), 2017: (0.4, 0.3, 0.3), 2018: (1.0, 0.0, 0.0)}
    labels = ("calm", "middle", "turbulent")
    (said,) = regime_is_calendar(of_years(three, labels), small_spec(regimes=rl.spec.Regimes(count=3)), episodes=2)
    assert said.startswith("Regime calm coincides with a calendar period: it fills 2016 and is absent from 2015.")
    both = {year: np.array([share, (0.5, 0.5)]) for year, share in years.items()}
    (said,) = regime_is_calendar(of_years(both, responses=("asset", "other")), small_spec(), episodes=2)
    assert said.startswith("The regimes of asset coincide with calendar periods: calm fills 2017")


WITHIN = rl.spec.Episodes(starts=(dt.date(2016, 6, 3),))


@pytest.mark.parametrize(
    ("episodes", "used", "cure", "cured"),
    [
        (rl.spec.Episodes(), 1, "Write episodes.starts", WITHIN),
        (rl.spec.Episodes(starts=WITHIN.starts, vary=("effect",)), 2, 'Add "scale" to episodes.vary', WITHIN),
        (rl.spec.Episodes(starts=(dt.date(2009, 1, 1),)), 1, "No episode starts inside the window: add a date", WITHIN),
        (WITHIN, 2, "The scale differs between episodes already", None),
    ],
)
def test_the_advice_on_the_calendar_fits_the_spec(episodes, used, cure, cured):
    """What is advised is not what the spec has, and once it is followed it is not advised again."""
    years = of_years({2015: (0.0, 1.0), 2016: (0.5, 0.5), 2017: (1.0, 0.0), 2018: (1.0, 0.0)})
    spec = small_spec(episodes=episodes)
    (said,) = regime_is_calendar(years, spec, episodes=used)
    assert said.count(cure) == 1
    if cured is not None:
        (after,) = regime_is_calendar(years, replaced(spec, episodes=cured), episodes=2)
        assert "already" in after


# ---- separation: paths by hand, then an oracle, then panels


def on_paths(rows, drivers, **changes):
    """Paths (chain, draw, time) of a spec with these drivers, and their values, as `separation` takes them."""
    names = tuple(rl.Driver(name, name) for name in drivers)
    spec = bare_spec(**({"regimes": rl.spec.Regimes(count=2), "drivers": names} | changes))
    rows = np.atleast_2d(rows)
    time = pd.date_range("2020-01-03", periods=rows.shape[-1], freq="W-FRI")
    paths = xr.DataArray(rows[None], dims=("chain", "draw", "time"), coords={"time": time})
    values = xr.DataArray(np.column_stack(list(drivers.values())), dims=("time", "driver"))
    return paths, values.assign_coords(time=time, driver=list(drivers)), spec


def told(rows, drivers, **changes):
    return list(separation(*on_paths(rows, drivers, **changes)))


WEEKS = np.arange(300)
ONE_SWITCH = (WEEKS >= 150).astype(int)


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_dummy_that_changes_with_the_only_switch_is_told(shift, sign):
    """In the week of the switch, or in one of the two before it, which the step into it has as its driver."""
    noise = np.random.default_rng(1).standard_normal(300)
    dummy = sign * np.repeat([0.0, 1.0], [150 - shift, 150 + shift])
    (said,) = told(ONE_SWITCH, {"policy": dummy, "noise": noise})
    assert said.startswith(
        "Driver policy separates the regimes: on 100 % of the sampled paths the steps towards turbulent"
    )
    if shift:
        assert f"lie at values of it {'above' if sign > 0 else 'below'} nearly all others" in said
    # The size of the effect does not enter, and what is advised can be done.
    wide = priors(driver_effect=7.0)
    (again,) = told(ONE_SWITCH, {"policy": dummy, "noise": noise}, priors=wide)
    assert "sigma = 7;" in again
    assert "leave the driver out" in said
    assert not told(ONE_SWITCH, {"noise": noise})


def test_switches_that_the_driver_does_not_separate_are_not_told():
    several = (WEEKS // 50) % 2
    assert not told(several, {"policy": (WEEKS >= 149).astype(float)})
    assert not told(several, {"noise": np.random.default_rng(2).standard_normal(300)})
    # Four of five switches at the driver's ends, and one amid the others.
    driver = np.where(np.diff(several, append=several[-1]) == 1, 3.0, 0.0)
    driver -= np.where(np.diff(several, append=several[-1]) == -1, 3.0, 0.0)
    driver += np.random.default_rng(3).uniform(-0.5, 0.5, 300)
    assert told(several, {"gauge": driver})
    driver[np.flatnonzero(np.diff(several))[0]] = 0.0
    assert not told(several, {"gauge": driver})


def test_separation_counts_paths_and_forgives_two_in_a_hundred():
    driver = np.where(WEEKS == 149, 1.0, 0.0) + 0.001 * np.random.default_rng(4).uniform(size=300)
    late = (WEEKS >= 240).astype(int)
    # On the late path nothing marks the switch.
    assert not told([ONE_SWITCH, late], {"gauge": driver})
    (said,) = told([ONE_SWITCH, ONE_SWITCH, late], {"gauge": driver})
    assert "on 67 % of the sampled paths" in said
    # Of the 149 other steps from calm, two and then three have a higher value.
    driver[[20, 40]] = 2.0
    assert told(ONE_SWITCH, {"gauge": driver})
    driver[60] = 2.0
    assert not told(ONE_SWITCH, {"gauge": driver})


def test_slopes_by_origin_are_separated_one_by_one():
    """Entries at the driver's top, exits anywhere: exits bound a slope that both share, not one for entries alone."""
    several = (WEEKS // 30) % 2
    rng = np.random.default_rng(5)
    driver = np.where(np.diff(several, append=several[-1]) == 1, 3.0, rng.uniform(-1, 1, 300))
    assert not told(several, {"gauge": driver})
    assert told(several, {"gauge": driver}, regimes=rl.spec.Regimes(transitions=BY_ORIGIN))


def test_separation_of_one_of_three_regimes_and_of_one_response():
    # Turbulent is entered at the top from calm and from middle, and left at the bottom; calm and middle take turns.
    path = np.tile(np.repeat([0, 1, 0, 2, 1, 2], 10), 5)
    driver = np.random.default_rng(6).uniform(-1, 1, 300)
    into, out = (path[:-1] != 2) & (path[1:] == 2), (path[:-1] == 2) & (path[1:] != 2)
    driver[:-1][into], driver[:-1][out] = 5.0, -5.0
    (said,) = told(path, {"gauge": driver}, regimes=rl.spec.Regimes(count=3))
    assert "the steps towards turbulent lie at values of it above" in said
    paths, values, spec = on_paths(ONE_SWITCH, {"policy": (WEEKS >= 149).astype(float)})
    other = paths.copy(data=((WEEKS // 50) % 2)[None, None])
    both = xr.concat([paths, other], xr.DataArray(["asset", "other"], dims="response", name="response"))
    responses = (*spec.responses, rl.Response("other", "other"))
    own = spec.changed(responses=responses, responses_vary=("effect", "regimes"))
    (said,) = separation(both, values, own)
    assert said.startswith("Driver policy separates the regimes of asset:")


def recedes(path, value, sign):
    """Whether a slope of this sign can grow for ever without a step becoming less probable: Albert & Anderson (1984).

    A direction (an intercept for each origin, the slope) in which every step's own outcome gains or stays, by a linear
    programme.
    """
    rows = []
    for t in range(len(path) - 1):
        row = np.zeros(3)
        row[path[t]], row[2] = 1.0, value[t]
        rows.append(row if path[t + 1] == 1 else -row)
    bounds = [(None, None), (None, None), (sign, sign)]
    return optimize.linprog(np.zeros(3), A_ub=-np.array(rows), b_ub=np.zeros(len(rows)), bounds=bounds).status == 0


def test_without_slack_separation_is_that_of_albert_and_anderson(monkeypatch):
    monkeypatch.setattr(cautions_module, "SLACK", 0.0)
    rng = np.random.default_rng(7)
    seen = set()
    for _ in range(150):
        path, value = rng.integers(2, size=9), rng.integers(-2, 3, size=9).astype(float)
        steps = [set(path[1:][path[:-1] == i]) for i in (0, 1)]
        expected = any(recedes(path, value, sign) for sign in (1.0, -1.0)) and any(len(each) == 2 for each in steps)
        assert bool(told(path, {"gauge": value})) == expected, (path, value)
        seen.add(expected)
    assert seen == {True, False}


def at_parameters(spec, panel, draws=25, **values):
    """A fit whose draws all have these parameters, and those of one prior draw for the rest."""
    posterior = prior_draws(spec, panel, 1).isel(chain=[0, 0], draw=[0] * draws)
    posterior = posterior.assign_coords(chain=range(2), draw=range(draws))
    posterior = posterior.assign({name: xr.zeros_like(posterior[name]) + value for name, value in values.items()})
    return on_panel(xr.DataTree.from_dict({"/posterior": posterior, "/prior": posterior}), spec, panel)


ON_SWITCHES = rl.Driver("policy", "policy")


@pytest.mark.parametrize("size", [0.5, 1.0, 2.5, 5.0])
def test_one_switch_with_its_dummy_is_told_of_any_size(size):
    """Paths sampled given the data: they are not certain to the week."""
    spec = bare_spec(regimes=rl.spec.Regimes(count=2), drivers=(ON_SWITCHES,))
    panel = hand_panel(spec, 300)
    rng = np.random.default_rng(8)
    dummy = (WEEKS >= 149).astype(float)
    panel["driver_value"][:, 0] = (dummy - dummy.mean()) / dummy.std()
    panel["response_value"][:, 0] = np.exp(1.2 * (ONE_SWITCH - 0.5)) * rng.standard_normal(300)
    effect = xr.DataArray([-size, size], dims="destination")
    known = {"intercept": 0.0, "log_scale": 0.0, "log_scale_gap": 1.2, "degrees_of_freedom_minus_two": 30.0}
    tree = at_parameters(spec, panel, stay_log_odds=np.log(60.0), driver_effect=effect, **known)
    once, separates = (
        next(note for note in model_warnings(tree) if note.startswith(words))
        for words in ("Visited once", "Driver policy")
    )
    ends = re.search(r"calm \(about (\S+) to (\S+)\), turbulent \(about (\S+) to (\S+)\)", once).groups()
    for found, true in zip(ends, panel["time"].to_numpy()[[0, 149, 150, 299]], strict=True):
        assert abs(pd.Timestamp(found) - pd.Timestamp(true)) < pd.Timedelta(weeks=8)
    assert "regimes.count = 1, no drivers" in once
    assert "values of it above nearly all others" in separates
    # What the note advises can be built.
    episodes = rl.spec.Episodes(starts=(dt.date(2022, 11, 18),))
    replaced(spec, regimes=rl.spec.Regimes(count=1), drivers=(), episodes=episodes)


def test_a_regime_that_comes_back_was_not_visited_once():
    labels = small_spec(drivers=())
    time = pd.date_range("2020-01-03", periods=300, freq="W-FRI")

    def paths(*rows):
        return xr.DataArray(np.array(rows)[None], dims=("chain", "draw", "time"), coords={"time": time})

    twice = ((WEEKS // 60) % 2).astype(int)
    assert not list(visited_once(paths(twice), paths(twice), labels))
    # Turbulent in the middle alone; a stray row of it elsewhere on the sampled path; in two draws of three.
    middle = ((WEEKS >= 100) & (WEEKS < 200)).astype(int)
    stray = np.where(WEEKS == 5, 1, middle)
    (said,) = visited_once(paths(stray, stray, twice), paths(middle, middle, twice), labels)
    assert said.startswith(
        "Visited once, but for stray periods, in 67 % of the draws: turbulent (about 2021-12-03 to 2023-10-27)."
    )
    assert "regimes.count = 1 and an episode" in said
    # A tenth and more of its rows elsewhere is another visit.
    more = np.where(WEEKS < 12, 1, middle)
    assert not list(visited_once(paths(more), paths(middle), labels))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "panels"), [("btc_silver", 60), ("three_regimes", 40)])
def test_few_clean_panels_are_told_of_separation(model, panels):
    """Simulated from the prior, with paths given the truth: 0 of 320 and 0 of 120 were noted when it was written."""
    spec = rl.read_spec(model)
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True), start="2013-01-01")
    drawn = prior_draws(spec, panel, panels, chains=1, seed=9)
    noted, switches = 0, []
    for n in range(panels):
        one = drawn.isel(draw=[n])
        simulated = rl.simulate(spec, panel, parameters=one, random_seed=n)
        switches.append(int((np.diff(simulated["regime_path"]) != 0).sum()))
        many = one.isel(draw=[0] * 40).assign_coords(draw=range(40))
        groups = {"/posterior": many, "/prior": many}
        tree = on_panel(xr.DataTree.from_dict(groups), spec, simulated.drop_vars("regime_path"))
        noted += any(
            "separates" in note for note in separation(rl.results.regime_paths(tree), panel["driver_value"], spec)
        )
    assert np.median(switches) >= 8
    assert noted <= 0.05 * panels


@pytest.mark.slow
@pytest.mark.parametrize("driver_sd", [0.7, 2.1, 7.0])
def test_one_switch_with_its_dummy_is_told_of_a_fit(driver_sd):
    spec = bare_spec(regimes=rl.spec.Regimes(count=2), drivers=(ON_SWITCHES,), priors=priors(driver_effect=driver_sd))
    panel = hand_panel(spec, 300)
    dummy = (WEEKS >= 149).astype(float)
    panel["driver_value"][:, 0] = (dummy - dummy.mean()) / dummy.std()
    noise = np.random.default_rng(10).standard_t(6, 300)
    panel["response_value"][:, 0] = 0.8 * np.exp(1.2 * (ONE_SWITCH - 0.5)) * noise
    settings = {"draws": 300, "tune": 400, "chains": 2, "cores": 1, "starts": 4, "prior_draws": 50}
    fit = rl.fit(spec, panel, random_seed=1, progressbar=False, **settings)
    said = model_warnings(fit)
    assert any(note.startswith("Driver policy separates the regimes") for note in said), said
    assert any(note.startswith("Visited once") for note in said), said


def test_real_draws_are_reported(idata):
    report = rl.lag_report(idata)
    names = ("lagged effect", "contemporaneous effect", "mean lag")
    scaled = pd.DataFrame([row_of(report, name, signal="silver")["evidence"] for name in names])
    assert np.isfinite(scaled[["nats", "prior", "likelihood"]].to_numpy(dtype=float)).all()
    assert set(scaled["diagnosis"].dropna()) <= {module.SAME, module.DISAGREE, module.FINE}
    # The priors that are scaled are not those of the same-period effect.
    assert scaled["diagnosis"].isna().to_list() == [False, True, False]
    assert set(model_warnings(idata)) <= set(report.attrs["notes"])
    assert not any("separates" in note or note.startswith("Visited once") for note in report.attrs["notes"])
    notes = [note for note in report.attrs["notes"] if "power-scaling" in note]
    assert len(notes) == (scaled["diagnosis"] == module.DISAGREE).sum()
