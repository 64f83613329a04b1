"""Simulated data: what is kept, what is drawn, and that it follows the stated laws."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, prior_draws, small_spec
from scipy import special, stats

import regimelag as rl
from regimelag.model.draw import draw_regimes

ROWS = 20_000
# Standard errors that an estimate may be off by: about one failure in 100,000 seeds and numbers.
Z = 4.5


def parameters(**values):
    dims = {
        "intercept": ("response", "regime"),
        "log_scale": ("response",),
        "log_scale_gap": ("gap",),
        "stay_log_odds": ("regime",),
        "degrees_of_freedom_minus_two": (),
        "driver_effect": ("driver", "destination"),
    }
    return xr.Dataset({name: (dims[name], np.asarray(value, dtype=float)) for name, value in values.items()})


TWO = {"intercept": [[0.3, -0.4]], "log_scale": [-0.2], "log_scale_gap": [1.1], "stay_log_odds": [2.0, 1.0]}


@pytest.fixture(scope="module")
def long_run():
    spec = bare_spec(regimes=rl.spec.Regimes(count=2), family="normal")
    return spec, rl.simulate(spec, hand_panel(spec, ROWS, freq="D"), parameters=parameters(**TWO), random_seed=11)


def test_covariates_and_constants_are_kept_and_the_input_is_not_touched():
    spec = small_spec()
    panel = hand_panel(spec, 30, missing=[4, 5])
    before = panel.copy(deep=True)
    simulated = rl.simulate(spec, panel, random_seed=1)
    assert panel.identical(before)
    for name in panel.variables:
        if name != "response_value":
            assert simulated[name].identical(panel[name]), name
    assert "simulated" in simulated.attrs["origin"]
    assert simulated["response_value"].dims == ("time", "response")
    np.testing.assert_array_equal(np.flatnonzero(simulated["response_value"].isnull()), [4, 5])
    assert set(np.unique(simulated["regime_path"])) <= {0, 1}


def test_the_result_is_a_panel_for_the_spec():
    spec = small_spec()
    simulated = rl.simulate(spec, hand_panel(spec, 30), random_seed=1)
    rl.build_model(spec, simulated)
    assert rl.simulate(spec, simulated, random_seed=1).identical(simulated)


def test_same_seed_same_data():
    spec = small_spec()
    panel = hand_panel(spec, 30)
    one, same, other = (rl.simulate(spec, panel, random_seed=seed) for seed in (1, 1, 2))
    assert one.identical(same)
    assert not one["response_value"].equals(other["response_value"])


def test_given_parameters_are_used_with_or_without_sample_dimensions():
    spec = small_spec()
    panel = hand_panel(spec, 30)
    drawn = prior_draws(spec, panel, 2)
    one = rl.simulate(spec, panel, parameters=drawn.isel(chain=1, draw=1), random_seed=3)
    same = rl.simulate(spec, panel, parameters=drawn.isel(chain=[1], draw=[1]), random_seed=3)
    other = rl.simulate(spec, panel, parameters=drawn.isel(chain=0, draw=1), random_seed=3)
    assert one.identical(same)
    assert not one["response_value"].equals(other["response_value"])


def test_two_draws_are_refused():
    spec = small_spec()
    panel = hand_panel(spec, 30)
    with pytest.raises(rl.errors.FitError, match="isel") as caught:
        rl.simulate(spec, panel, parameters=prior_draws(spec, panel, 2))
    assert "4 draws" in caught.value.came


def test_panels_that_do_not_fit_are_refused():
    with pytest.raises(rl.errors.PanelError, match="rule"):
        rl.simulate(small_spec(), hand_panel(bare_spec(), 20))


def test_regime_frequencies_follow_the_stationary_law(long_run):
    path = long_run[1]["regime_path"].to_numpy()
    leave = 1 / (1 + np.exp(TWO["stay_log_odds"]))
    share = leave[0] / leave.sum()
    # Variance of the mean of a two-state chain whose second eigenvalue is 1 - leave[0] - leave[1].
    eigenvalue = 1 - leave.sum()
    error = np.sqrt(share * (1 - share) * (1 + eigenvalue) / (1 - eigenvalue) / ROWS)
    assert abs(path.mean() - share) < Z * error


def test_each_step_follows_its_transition_probability(long_run):
    path = long_run[1]["regime_path"].to_numpy()
    for origin, odds in enumerate(TWO["stay_log_odds"]):
        stays = path[1:][path[:-1] == origin] == origin
        stay = 1 / (1 + np.exp(-odds))
        assert abs(stays.mean() - stay) < Z * np.sqrt(stay * (1 - stay) / len(stays))


def test_mean_and_scale_of_each_regime(long_run):
    y, path = long_run[1]["response_value"].to_numpy()[:, 0], long_run[1]["regime_path"].to_numpy()
    for regime in (0, 1):
        here = y[path == regime]
        scale = np.exp(-0.2 + 1.1 * (regime - 0.5))
        assert abs(here.mean() - TWO["intercept"][0][regime]) < Z * scale / np.sqrt(len(here))
        assert abs(here.std() - scale) < Z * scale / np.sqrt(2 * len(here))


def test_residuals_are_student_t():
    spec = bare_spec()
    given = parameters(intercept=[[0.2]], log_scale=[0.4], degrees_of_freedom_minus_two=1.5)
    simulated = rl.simulate(spec, hand_panel(spec, ROWS, freq="D"), parameters=given, random_seed=12)
    residual = (simulated["response_value"].to_numpy()[:, 0] - 0.2) / np.exp(0.4)
    assert stats.kstest(residual, stats.t(3.5).cdf).pvalue > 1e-5
    # And the test would notice other tails.
    assert stats.kstest(residual, stats.t(30).cdf).pvalue < 1e-5


def test_the_driver_of_the_row_before_moves_the_step():
    spec = bare_spec(regimes=rl.spec.Regimes(count=2), drivers=(rl.Driver("yield", "yield"),), family="normal")
    panel = hand_panel(spec, ROWS, freq="D")
    given = parameters(**TWO, driver_effect=[[-1.0, 1.0]])
    simulated = rl.simulate(spec, panel, parameters=given, random_seed=13)
    path, z = simulated["regime_path"].to_numpy(), panel["driver_value"].to_numpy()[:, 0]
    # Scores of the logistic model are centred at the truth with the right driver, and with no other.
    for driver, right in ((z[:-1], True), (z[1:], False)):
        stay = np.where(path[:-1] == 0, 2.0, -1.0)
        surprise = path[1:] - 1 / (1 + np.exp(stay - 2.0 * driver))
        score = (surprise * driver).sum() / np.sqrt((surprise**2 * driver**2).sum())
        assert (abs(score) < Z) == right


# ---- the example


def test_example_says_that_it_is_simulated_and_carries_its_truth(example):
    assert "simulated" in example.attrs["origin"]
    assert "not market data" in example.attrs["origin"]
    truth = json.loads(example.attrs["truth"])
    assert set(truth) == {"effect", "contemporaneous", "mean_lag", "scale", "driver_effect", "expected_duration"}
    assert truth["effect"] == 2.5
    assert truth["expected_duration"] == pytest.approx([25.0, 12.0])
    assert truth["scale"][0] < truth["scale"][1]
    assert example["regime_path"].dims == ("time",)
    assert not example["response_value"].isnull().any()


def test_example_follows_seed_and_effect(example):
    assert rl.example_panel().identical(example)
    assert not rl.example_panel(random_seed=2)["response_value"].equals(example["response_value"])
    other = rl.example_panel(effect=0.5)
    assert json.loads(other.attrs["truth"])["effect"] == 0.5
    assert other["signal_value"].equals(example["signal_value"])


def test_example_holds_its_truth_in_natural_units():
    """Weighted least squares given the true path finds every stated coefficient, within its standard error."""
    panel = rl.example_panel(random_seed=5)
    truth = json.loads(panel.attrs["truth"])
    natural = {
        role: (panel[f"{role}_value"] * panel[f"{role}_scale"] + panel[f"{role}_center"]).to_numpy()
        for role in ("response", "signal", "control")
    }
    lag = np.arange(1, 27)
    weights = stats.gamma((8 / 3) ** 2, scale=9 / 8).pdf(lag)
    weights /= weights.sum()
    assert truth["mean_lag"] == pytest.approx(weights @ lag)
    silver, path = natural["signal"][:, 0], panel["regime_path"].to_numpy()
    late = np.array([weights @ silver[26 + t - lag] for t in range(len(path))])
    columns = [np.ones(len(path)), silver[26:], *natural["control"][26:].T, late * (path == 0), late * (path == 1)]
    noise = np.array(truth["scale"])[path] * np.exp(np.linspace(0.35, -0.35, 4))[panel["episode_index"].to_numpy()]
    # Residuals are Student-t with 8 degrees of freedom: variance 8 / 6 times the squared scale.
    design = np.column_stack(columns) / noise[:, None]
    y = natural["response"][:, 0] / noise
    found, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * 8 / 6)
    stated = {1: truth["contemporaneous"], 4: 0.75 * truth["effect"], 5: 1.25 * truth["effect"]}
    for place, value in stated.items():
        assert abs(found[place] - value) < Z * error[place]
    residual = y - design @ found
    assert stats.kstest(residual, stats.t(8).cdf).pvalue > 1e-5


def test_the_examples_driver_effects_are_log_odds():
    """Logistic regression of the true paths on the drivers of the week before, with an intercept for each origin."""
    panels = [rl.example_panel(random_seed=seed) for seed in range(4)]
    paths = [panel["regime_path"].to_numpy() for panel in panels]
    z = np.concatenate([panel["driver_value"].to_numpy()[:-1] for panel in panels])
    before, turbulent = (np.concatenate([path[part] for path in paths]) for part in (slice(-1), slice(1, None)))
    design = np.column_stack([before == 0, before == 1, z]).astype(float)
    found = np.zeros(4)
    for _ in range(25):
        probability = 1 / (1 + np.exp(-design @ found))
        information = design.T @ (design * (probability * (1 - probability))[:, None])
        found = found + np.linalg.solve(information, design.T @ (turbulent - probability))
    error = np.sqrt(np.diag(np.linalg.inv(information)))[2:]
    truth = np.array(json.loads(panels[0].attrs["truth"])["driver_effect"])
    assert np.all(abs(found[2:] - truth) < Z * error)
    # And half of it, which a centred logit would be, would not do.
    assert np.all(abs(found[2:] - truth / 2) > Z * error)


def test_the_example_frame_makes_the_example_panel():
    panel = rl.make_panel(rl.read_spec("btc_silver"), rl.example_panel(as_frame=True), start="2013-01-01")
    example = rl.example_panel()
    xr.testing.assert_identical(panel["response_value"], example["response_value"])
    null = rl.make_panel(rl.read_spec("no_silver"), rl.example_panel(as_frame=True), start="2013-01-01")
    np.testing.assert_allclose(null["response_value"], example["response_value"])


def test_a_simulated_response_has_no_level():
    panel = rl.example_panel()
    simulated = rl.simulate(rl.read_spec("btc_silver"), panel.drop_vars("regime_path"), random_seed=1)
    known = simulated["level"].notnull().all("signal_time").to_numpy()
    np.testing.assert_array_equal(known, simulated["leg_role"].to_numpy() != "response")


@pytest.mark.parametrize("rows", [1, 30])
def test_paths_are_those_of_the_cumulative_probabilities(rows):
    """The compiled loop, against cumulative sums of numpy; transition probabilities of one row hold for all."""
    rng = np.random.default_rng(8)
    logits, log_initial = 2 * rng.standard_normal((5, rows, 3, 3)), np.log(rng.dirichlet(np.ones(3), 5))
    uniform = np.random.default_rng(9).random((5, 31))
    found = draw_regimes(logits, log_initial, 31, np.random.default_rng(9))
    probability = special.softmax(logits, axis=-1)
    for d in range(5):
        row = np.exp(log_initial[d])
        for t in range(31):
            assert found[d, t] == (uniform[d, t] > np.cumsum(row)[:-1]).sum()
            row = probability[d, min(t, rows - 1), found[d, t]]
