"""A chain of regimes for each response: readings against the same model of one response at a time."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from builders import hand_panel, prior_draws, replaced, small_spec

import regimelag as rl

RESPONSES = (rl.Response("asset", "price"), rl.Response("other", "other"))
DRIVERS = (rl.Driver("yield", "yield"), rl.Driver("dollar", "dollar"))
SPEC = small_spec(responses=RESPONSES, drivers=DRIVERS, responses_vary=("effect", "regimes"), family="normal")
# Of a chain, besides what always differs between responses.
OF_A_CHAIN = ("log_scale_gap", "stay_log_odds", "driver_effect")


@pytest.fixture(scope="module")
def pair():
    """A fit of two responses whose residuals do not correlate, and those of either alone at the same parameters."""
    panel = hand_panel(SPEC, 90, missing=[3, (10, 1), *((row, 0) for row in range(20, 30))])
    draws = prior_draws(SPEC, panel, 8)
    draws["residual_correlation"] = xr.zeros_like(draws["residual_correlation"]) + np.eye(2)
    draws["residual_correlation_partial"] *= 0.0
    together = rl.as_fit(xr.DataTree.from_dict({"/posterior": draws}), SPEC, panel, prior_draws=20, random_seed=1)
    return together, {response.name: alone(panel, draws, response) for response in RESPONSES}


def alone(panel, draws, response):
    """The model of one response with its own part of the parameters."""
    spec = replaced(SPEC, responses=(response,))
    own = draws.drop_vars([name for name in draws.data_vars if "correlation" in name])
    own = own.assign(effect=own["effect"] + own["effect_response"].sel(response=response.name, drop=True))
    names = [name for name in own.data_vars if "response" in own[name].dims and "effect_response" not in name]
    for name in names:
        kept = own[name].sel(response=response.name, drop=True)
        own[name] = kept if name in OF_A_CHAIN else kept.expand_dims({"response": [response.name]}, 2)
    own = own.drop_vars([name for name in own.data_vars if "effect_response" in name]).sel(response=[response.name])
    one = panel.sel(response=[response.name])
    return rl.as_fit(xr.DataTree.from_dict({"/posterior": own}), spec, one, prior_draws=20, random_seed=1)


def test_the_likelihood_is_that_of_both(pair):
    together, each = pair
    total = sum(one["one_step_ahead"]["response_value"] for one in each.values())
    np.testing.assert_allclose(together["one_step_ahead"]["response_value"], total, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["filtered", "predicted", "smoothed"])
def test_probabilities_are_those_of_each_alone(pair, kind):
    together, each = pair
    read = rl.regime_probabilities(together, kind=kind)
    assert read.dims == ("chain", "draw", "time", "response", "regime")
    for name, one in each.items():
        xr.testing.assert_allclose(read.sel(response=name, drop=True), rl.regime_probabilities(one, kind=kind))


def test_the_best_paths_are_those_of_each_alone(pair):
    together, each = pair
    read = rl.results.regime_paths(together, kind="viterbi")
    for name, one in each.items():
        xr.testing.assert_equal(read.sel(response=name, drop=True), rl.results.regime_paths(one, kind="viterbi"))


def test_drivers_do_to_each_what_they_do_to_it_alone(pair):
    together, each = pair
    read = rl.driver_effects(together)
    for name, one in each.items():
        expected = rl.driver_effects(one)
        for what in ("next_period", "long_run", "log_odds"):
            xr.testing.assert_allclose(read[what].sel(response=name, drop=True), expected[what])
    assert float(abs(read["log_odds"].sel(regime="turbulent").diff("response")).min()) > 0


def test_spells_are_counted_for_each(pair):
    together, each = pair
    read = rl.results.regime_durations(together)
    paths = rl.results.regime_paths(together)
    for name, one in each.items():
        own = read.sel(response=name, drop=True)
        xr.testing.assert_allclose(own["expected_duration"], rl.results.regime_durations(one)["expected_duration"])
        turbulent = (paths.sel(response=name) == 1).mean("time")
        np.testing.assert_allclose(own["share"].sel(regime="turbulent"), turbulent)


def test_the_regime_summary_is_of_each(pair):
    together, each = pair
    regime_table = rl.regime_summary(together)
    for name, one in each.items():
        alone = rl.regime_summary(one)
        own = regime_table[regime_table["response"] == name]
        for what in ("volatility", "mean", "expected duration", "change in long-run probability"):
            mine, theirs = (
                table.loc[table["quantity"] == what, ["5 %", "median", "95 %"]].to_numpy() for table in (own, alone)
            )
            np.testing.assert_allclose(mine, theirs)
        assert 2020 in set(own.loc[own["quantity"] == "share of the year", "year"])
    for figure in (rl.plots.plot_regime_summary, rl.plots.plot_shares):
        figure(regime_table)
    plt.close("all")


def test_figures_take_one_chain(pair):
    together, _ = pair
    for draw, read in (
        (rl.plots.plot_regimes, rl.regime_probabilities(together)),
        (rl.plots.plot_paths, rl.results.regime_paths(together)),
        (rl.plots.plot_drivers, rl.driver_effects(together)),
        (rl.plots.plot_durations, rl.results.regime_durations(together)),
    ):
        with pytest.raises(rl.errors.FitError, match=r"\.sel\(response='asset'\)"):
            draw(read)
        draw(read.sel(response="other"))
    plt.close("all")


def test_a_simulation_has_a_path_for_each(pair):
    together, _ = pair
    panel = rl.panel_of(together)
    parameters = together["posterior"].to_dataset().isel(chain=0, draw=[0])
    many = [rl.simulate(SPEC, panel, parameters=parameters, random_seed=seed)["regime_path"] for seed in range(40)]
    assert many[0].dims == ("time", "response")
    both = xr.concat(many, "run")
    # The chains are independent given the drivers: within a row, over runs, paths do not go together.
    centred = both - both.mean("run")
    products = (centred.isel(response=0) * centred.isel(response=1)).mean("time")
    assert abs(float(products.mean())) < 4 * float(products.std(ddof=1)) / np.sqrt(40)


@pytest.mark.slow
def test_it_is_fitted_and_saved(tmp_path):
    spec = replaced(SPEC, family="student_t")
    panel = hand_panel(spec, 60, missing=[(row, 1) for row in range(25)])
    settings = {"draws": 60, "tune": 150, "chains": 2, "cores": 1, "starts": 3, "prior_draws": 40}
    idata = rl.fit(spec, panel, random_seed=1, progressbar=False, **settings)
    assert idata["posterior"]["stay_log_odds"].dims == ("chain", "draw", "response", "regime")
    assert idata["posterior"]["driver_effect"].dims == ("chain", "draw", "response", "driver", "destination")
    assert rl.load_fit(rl.save_fit(idata, tmp_path / "fit.nc")).identical(idata)
    assert set(rl.lag_report(idata).attrs["verdict"]) == {"metal on asset", "metal on other"}
    assert len(rl.modes(idata)) >= 1
