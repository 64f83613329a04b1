"""Several responses: every reading of a fit of two, and what is said of each."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from builders import hand_panel, one_draw, prior_fit, small_spec

import regimelag as rl

RESPONSES = (rl.Response("asset", "price"), rl.Response("other", "other"))


SPEC = small_spec(responses=RESPONSES, responses_vary=("effect", "lag"))


@pytest.fixture(scope="module")
def panel():
    """60 rows; the second response begins late."""
    return hand_panel(SPEC, 60, missing=[3, *((row, 1) for row in range(25))])


@pytest.fixture(scope="module")
def two(panel):
    """A fit whose posterior is the prior."""
    return prior_fit(SPEC, panel, 40)


@pytest.mark.slow
def test_it_is_fitted(panel, two):
    settings = {"draws": 80, "tune": 200, "chains": 2, "cores": 1, "starts": 4, "prior_draws": 60}
    idata = rl.fit(SPEC, panel, random_seed=1, progressbar=False, **settings)
    posterior = idata["posterior"].to_dataset()
    assert {name: posterior[name].dims for name in posterior.data_vars} == {
        name: values.dims for name, values in two["posterior"].to_dataset().data_vars.items()
    }
    assert all(bool(values.notnull().all()) for values in posterior.data_vars.values())
    assert set(rl.lag_report(idata).attrs["verdict"]) == {"metal on asset", "metal on other"}


def test_effects_are_told_for_each_response_in_its_own_units(two):
    read, panel = rl.effects(two), rl.panel_of(two)
    v = one_draw(two["posterior"].to_dataset(), 1, 7)
    for a, name in enumerate(("asset", "other")):
        one = read.isel(chain=1, draw=7).sel(response=name, signal="metal")
        unit = float(panel["response_scale"][a] / panel["signal_scale"][0])
        assert float(one["lagged"]) == pytest.approx((v["effect"][0] + v["effect_response"][0, a]) * unit)
        assert float(one["contemporaneous"]) == pytest.approx(v["contemporaneous"][a, 0] * unit)
    assert set(rl.lag_distribution(two)["mean_lag"].dims) == {"chain", "draw", "signal", "response"}


def test_the_residual_correlation_is_one_matrix(two):
    among = two["posterior"]["residual_correlation"]
    assert among.dims == ("chain", "draw", "response", "other_response")
    np.testing.assert_allclose(among.to_numpy()[..., 0, 1], two["posterior"]["residual_correlation_partial"][..., 0])
    np.testing.assert_array_equal(among.to_numpy()[..., [0, 1], [0, 1]], 1.0)


def test_predictive_draws_have_every_response(two):
    for group in ("prior_predictive", "posterior_predictive"):
        drawn = two[group]["response_value"]
        assert drawn.dims == ("chain", "draw", "time", "response")
        assert bool(drawn.notnull().all())


def test_the_report_has_a_verdict_for_each_response(two):
    report = rl.lag_report(two)
    assert list(report.index.names) == ["response", "signal", "quantity", "regime", "episode"]
    assert list(report.index.unique("response")) == ["asset", "other"]
    assert set(report.attrs["verdict"]) == {"metal on asset", "metal on other"}


def test_regimes_are_shared_and_portrayed_for_each_response(two):
    np.testing.assert_allclose(rl.regime_probabilities(two).sum("regime"), 1.0)
    regime_table = rl.regime_summary(two)
    drawn = rl.plots.plot_regime_summary(regime_table)
    labels = [label.get_text() for label in drawn[0].get_yticklabels()]
    assert labels == ["calm, asset", "turbulent, asset", "calm, other", "turbulent, other"]
    middle = drawn[0].lines[-1].get_xdata()[0]
    last = regime_table[regime_table["quantity"] == "volatility"].iloc[-1]
    assert (last["response"], last["regime"], last["median"]) == ("other", "turbulent", middle)
    assert set(regime_table.loc[regime_table["quantity"] == "share", "response"]) == {"all"}
    plt.close("all")


def test_a_fit_of_two_survives_a_file(two, tmp_path):
    assert rl.load_fit(rl.save_fit(two, tmp_path / "fit.nc")).identical(two)


def test_missing_rows_stay_missing_in_a_simulation(two):
    panel = rl.panel_of(two)
    simulated = rl.simulate(rl.spec_of(two), panel, random_seed=1)
    np.testing.assert_array_equal(simulated["response_value"].isnull(), panel["response_value"].isnull())
