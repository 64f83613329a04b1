"""Moves of drivers and columns compared with the window, and the range of lags that is reported by default."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from builders import small_spec

import regimelag as rl
from regimelag.errors import FitError, PanelError
from regimelag.evaluation.forecasting import forecast as forecasts
from regimelag.results.lags import default_within


def test_a_move_beyond_the_window_is_said_and_one_in_another_unit_refused(tiny):
    _, panel, fit = tiny
    values = (panel["driver_value"] * panel["driver_scale"] + panel["driver_center"]).sel(driver="yield")
    span = float(values.max() - values.min())
    assert rl.driver_effects(fit).attrs["extrapolation"] == ""
    assert rl.driver_effects(fit, moves={"yield": -0.9 * span}).attrs["extrapolation"] == ""
    beyond = rl.driver_effects(fit, moves={"yield": -3 * span})
    assert "An extrapolation: yield moves by" in beyond.attrs["extrapolation"]
    assert rl.sentences(beyond)[-1] == beyond.attrs["extrapolation"]
    with pytest.raises(FitError, match="in the unit of the data") as caught:
        rl.driver_effects(fit, moves={"yield": -50 * span})
    names: dict = {}
    exec(caught.value.cure.removeprefix("write ").partition(", in")[0], names)
    assert names["moves"]["yield"] == pytest.approx(-0.5 * span, rel=0.01)
    rl.driver_effects(fit, moves=names["moves"])


def test_a_scenario_says_where_it_leaves_the_window_and_refuses_another_unit(example):
    usual = rl.scenario(example, moves={"real_yield_10y": -0.5}, factors={"dollar_index": 0.97})
    assert usual.attrs["extrapolation"] == ""
    assert rl.sentences(usual) == []
    beyond = rl.scenario(example, moves={"real_yield_10y": -5.0}, factors={"silver_usd": 4.0})
    assert "real_yield_10y moves by -5" in beyond.attrs["extrapolation"]
    assert "silver_usd moves by 1.39" in beyond.attrs["extrapolation"]
    for given in ({"moves": {"real_yield_10y": -50.0}}, {"factors": {"dollar_index": 30.0}}):
        with pytest.raises(PanelError, match="at most 10 times") as caught:
            rl.scenario(example, **given)
        names: dict = {}
        exec(caught.value.cure.removeprefix("write ").partition(", in")[0], names)
        rl.scenario(example, **{name: names[name] for name in given})


def test_a_forecast_says_where_its_scenario_leaves_the_window(example):
    assert forecasts._extrapolation(example, "held") == ""
    inside = rl.scenario(example, moves={"real_yield_10y": -0.5}, factors={"silver_usd": 1.1})
    assert forecasts._extrapolation(example, inside) == ""
    far = rl.scenario(example, factors={"silver_usd": 4.0})
    assert "silver_usd" in forecasts._extrapolation(example, far)
    absurd = inside.assign(real_yield_10y=inside["real_yield_10y"] - 50.0)
    with pytest.raises(PanelError, match="forecast"):
        forecasts._extrapolation(example, absurd)


@pytest.mark.parametrize(
    ("frequency", "max_lag", "within"),
    [
        ("W-FRI", 26, (4, 13)),
        ("W-FRI", 8, (4, 8)),
        ("W-FRI", 3, (2, 3)),
        ("trading", 126, (21, 63)),
        ("B", 100, (21, 65)),
        ("D", 120, (30, 91)),
        ("D", 10, (5, 10)),
        ("ME", 12, (1, 3)),
        ("QE", 4, (1, 1)),
    ],
)
def test_the_default_range_of_lags_is_one_to_three_months(frequency, max_lag, within):
    assert default_within(SimpleNamespace(frequency=frequency, max_lag=max_lag)) == within


def test_the_range_of_lags_is_that_of_the_spec(tiny):
    _, _, fit = tiny
    assert (small_spec().frequency, small_spec().max_lag) == ("W-FRI", 4)
    read = rl.lag_distribution(fit)
    assert (read.attrs["within_low"], read.attrs["within_high"]) == (4, 4)
    np.testing.assert_array_equal(read["mass_within"], rl.lag_distribution(fit, within=(4, 4))["mass_within"])
    with pytest.raises(FitError, match="within is"):
        rl.lag_distribution(fit, within=4)
