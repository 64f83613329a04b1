"""Forecasts and answers to a move, against loops over the model's equations and panels on which they came true."""

from __future__ import annotations

import datetime as dt

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import (
    bare_spec,
    one_draw,
    plain_chain,
    plain_location,
    plain_moderator,
    prior_draws,
    replaced,
    small_spec,
)

import regimelag as rl
from regimelag.evaluation.forecasting import forecast as module

DRIVERS = (rl.Driver("yield", "yield", periods=3), rl.Driver("dollar", "dollar", transform="log_return", periods=2))
SPEC = small_spec(drivers=DRIVERS, episodes=rl.spec.Episodes(starts=(dt.date(2020, 4, 1),)))
TWO = replaced(SPEC, responses=(*SPEC.responses, rl.Response("other", "other")), responses_vary=("effect", "regimes"))


def frame(rows=70, seed=0):
    """Weekly levels of every column."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-10-04", periods=rows, freq="W-FRI", name="date")
    walk = np.cumsum(rng.normal(0.0, 0.05, (rows, 5)), axis=0)
    levels = np.exp(walk) * [100.0, 20.0, 1.0, 90.0, 50.0]
    levels[:, 2] = walk[:, 2]
    return pd.DataFrame(levels, index=dates, columns=["price", "metal", "yield", "dollar", "other"])


def fitted(spec, draws=6, seed=0, **changes):
    """A fit whose posterior is the prior, on a panel made from a frame."""
    panel = rl.make_panel(spec, frame(), start="2020-01-03")
    posterior = prior_draws(spec, panel, draws, seed=seed)
    posterior = posterior.assign({name: xr.zeros_like(posterior[name]) + value for name, value in changes.items()})
    return rl.as_fit(xr.DataTree.from_dict({"/posterior": posterior}), spec, panel, prior_draws=10, random_seed=1)


@pytest.fixture(scope="module")
def fit():
    return fitted(SPEC)


def longer(spec, idata, levels):
    """The panel that make_panel would have made had the levels come true, with the window's constants."""
    before = frame()
    path = pd.concat([before, levels.reindex(columns=before.columns)]).ffill()
    # A response's price that stands still for long would be refused; what it does is not looked at.
    path.loc[levels.index, ["price", "other"]] *= 1.01 ** np.arange(len(levels))[:, None]
    whole = rl.make_panel(spec, path, start="2020-01-03")
    panel = rl.panel_of(idata)
    for role in ("response", "signal", "driver", "control"):
        center, scale = whole[f"{role}_center"], whole[f"{role}_scale"]
        natural = center + scale * whole[f"{role}_value"]
        scaled = (natural - panel[f"{role}_center"]) / panel[f"{role}_scale"]
        whole[f"{role}_value"] = scaled.transpose(*whole[f"{role}_value"].dims)
        whole[f"{role}_center"], whole[f"{role}_scale"] = panel[f"{role}_center"], panel[f"{role}_scale"]
    if "driver_history" in panel:
        whole["driver_history"] = panel["driver_history"]
    return whole


def test_a_scenario_moves_evenly_and_stays(fit):
    panel = rl.panel_of(fit)
    path = rl.scenario(panel, horizon=6, moves={"yield": -0.5}, factors={"dollar": 0.97}, over=4)
    last = frame().iloc[-1]
    np.testing.assert_allclose(path["yield"], last["yield"] - 0.5 * np.array([0.25, 0.5, 0.75, 1, 1, 1]))
    np.testing.assert_allclose(path["dollar"], last["dollar"] * 0.97 ** np.array([0.25, 0.5, 0.75, 1, 1, 1]))
    assert list(path.index) == list(pd.date_range("2021-02-05", periods=6, freq="W-FRI"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"moves": {"price": 1.0}}, "price"),
        ({"moves": {"yields": 1.0}}, "yields"),
        ({"moves": {"yield": 1.0}, "factors": {"yield": 1.1}}, "both"),
        ({"factors": {"dollar": -3.0}}, "-3.0"),
        ({"horizon": 0}, "horizon"),
        ({"over": 1.5}, "over"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(fit, arguments, said):
    with pytest.raises(rl.errors.PanelError, match=said):
        rl.scenario(rl.panel_of(fit), **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("moved", [{}, {"moves": {"yield": -0.3}, "factors": {"metal": 1.2, "dollar": 0.9}}])
def test_regime_probabilities_are_those_of_a_panel_on_which_it_came_true(fit, moved):
    """Rows with no response leave the filter where the chain is: the forecast's law, step by step."""
    levels = rl.scenario(rl.panel_of(fit), horizon=3, over=3, **moved)
    if not moved:
        levels = pd.DataFrame(index=levels.index)
    read = rl.forecast(fit, scenario=levels, random_seed=0)
    whole = longer(SPEC, fit, levels)
    whole["response_value"][-3:] = np.nan
    tree = rl.as_fit(xr.DataTree.from_dict({"/posterior": fit["posterior"].to_dataset()}), SPEC, whole, prior_draws=10)
    expected = rl.regime_probabilities(tree, kind="predicted").isel(time=slice(-3, None))
    np.testing.assert_allclose(read["regime_probability"], expected, rtol=0, atol=1e-10)


def test_responses_are_draws_at_the_equations_locations(fit):
    """With almost no residual scale and one regime sure, a draw is its location, computed in loops."""
    spec = replaced(SPEC, regimes=rl.spec.Regimes(count=1), drivers=(), family="normal")
    idata = fitted(spec, log_scale=-25.0)
    levels = rl.scenario(rl.panel_of(idata), horizon=7, factors={"metal": 1.5, "dollar": 1.1}, over=7)
    read = rl.forecast(idata, scenario=levels, random_seed=0)
    whole = longer(spec, idata, levels)
    v = one_draw(idata["posterior"].to_dataset(), 1, 3)
    center, scale = float(whole["response_center"][0]), float(whole["response_scale"][0])
    rows = whole.sizes["time"]
    expected = [center + scale * plain_location(spec, whole, v, rows - 7 + n, 0) for n in range(7)]
    got = read["response_value"].isel(chain=1, draw=3)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        read["path"].isel(chain=1, draw=3), frame()["price"].iloc[-1] * np.exp(np.cumsum(expected)), rtol=1e-5
    )


@pytest.mark.slow
def test_moderators_follow_the_drivers_of_the_scenario():
    """Each step has the effect of its own state, from the drivers of the step before: a location, in loops."""
    idle = tuple(replaced(driver, drives=False) for driver in DRIVERS)
    state = rl.spec.Indicator("easing", (rl.spec.Condition("yield", below=0.0), rl.spec.Condition("dollar", below=0.5)))
    metal = replaced(SPEC.signals[0], moderators=("easing", "dollar"))
    one = rl.spec.Regimes(count=1)
    spec = replaced(SPEC, signals=(metal,), drivers=idle, indicators=(state,), regimes=one, family="normal")
    idata = fitted(spec, log_scale=-25.0)
    panel = rl.panel_of(idata)
    levels = rl.scenario(panel, horizon=7, factors={"metal": 1.5, "dollar": 1.1}, over=7)
    levels["yield"] = panel["level"].to_numpy()[-1, list(panel["leg_column"].to_numpy()).index("yield")]
    levels["yield"] += np.array([-0.2, -0.3, 0.1, 0.3, -0.5, -0.6, -0.6])
    read = rl.forecast(idata, scenario=levels, random_seed=0)
    whole = longer(spec, idata, levels)
    v = one_draw(idata["posterior"].to_dataset(), 1, 3)
    center, scale = float(whole["response_center"][0]), float(whole["response_scale"][0])
    rows = whole.sizes["time"]
    states = [plain_moderator(spec, whole, rows - 7 + n, "easing") for n in range(7)]
    assert 0 < np.mean(states) < 1
    expected = [center + scale * plain_location(spec, whole, v, rows - 7 + n, 0) for n in range(7)]
    np.testing.assert_allclose(read["response_value"].isel(chain=1, draw=3), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_one_step_has_the_mixture_of_the_regimes(fit):
    """The share of draws below a point, over repeats of one posterior draw, is the mixture's distribution function."""
    tree = fitted(SPEC, draws=1)
    one = tree["posterior"].to_dataset().isel(chain=[0])
    repeats = 20_000
    many = one.isel(draw=np.zeros(repeats, dtype=int)).assign_coords(draw=range(repeats))
    groups = {"/posterior": many, "/observed_data": tree["observed_data"].to_dataset()}
    repeated = xr.DataTree.from_dict(groups | {"/constant_data": tree["constant_data"].to_dataset()})
    repeated.attrs = tree.attrs
    levels = rl.scenario(rl.panel_of(tree), horizon=1, factors={"metal": 1.1})
    read = rl.forecast(repeated, scenario=levels, random_seed=0)["response_value"].to_numpy().ravel()
    whole = longer(SPEC, tree, levels)
    v = one_draw(one)
    law = rl.forecast(tree, scenario=levels, random_seed=0)["regime_probability"].to_numpy()[0, 0, 0]
    center, scale = float(whole["response_center"][0]), float(whole["response_scale"][0])
    for point in (-0.1, 0.0, 0.05):
        below = mixture_below(whole, v, law, (point - center) / scale)
        se = np.sqrt(below * (1 - below) / repeats)
        assert abs((read < point).mean() - below) < 4 * se


def mixture_below(panel, v, law, y):
    """Distribution function of the last row's response, by integrating the plain density."""
    from scipy import integrate

    def density(value):
        own = panel.copy(deep=True)
        own["response_value"][-1] = value
        return float(
            law
            @ np.exp(
                plain_chain(SPEC, own.isel(time=slice(-2, None), signal_time=slice(-2 - SPEC.history, None)), v)[0][-1]
            )
        )

    return integrate.quad(density, -np.inf, y, limit=200)[0]


def test_bootstrapped_moves_are_those_of_the_window(fit):
    from regimelag.panel.scenarios import bootstrapped_levels

    panel = rl.panel_of(fit)
    paths = bootstrapped_levels(SPEC, panel, 8, paths=3, block=4, rng=np.random.default_rng(0))
    leg, other = ("signal", "metal", "metal"), ("driver", "yield", "yield")
    window = frame().loc[panel["time"].to_numpy()]
    seen = np.c_[np.diff(np.log(window["metal"])), np.diff(window["yield"])]
    for path in paths:
        metal = np.diff(np.log(np.append(window["metal"].iloc[-1], path[leg])))
        real = np.diff(np.append(window["yield"].iloc[-1], path[other]))
        place = [int(np.abs(seen - [a, b]).sum(axis=1).argmin()) for a, b in zip(metal, real, strict=True)]
        np.testing.assert_allclose(seen[place], np.c_[metal, real], atol=1e-9)
        assert np.all(np.diff(place)[[0, 1, 2, 4, 5, 6]] == 1)


def test_a_bootstrapped_forecast_spreads_more_than_one_that_holds(fit):
    held, spread = (rl.forecast(fit, horizon=10, scenario=how, random_seed=0) for how in ("held", "bootstrap"))
    assert held.sizes == spread.sizes
    assert not np.allclose(held["regime_probability"], spread["regime_probability"])
    again = rl.forecast(fit, horizon=10, scenario="bootstrap", random_seed=0)
    assert again.identical(spread)


ASSUMED = "signals, drivers and controls staying at their last levels"
SAME = "; same-period terms use these values as if they were known"
# Nothing acts within the period: regimes and lagged responses still depend on the scenario.
LATE = {"signals": (rl.Signal("metal", "metal", kernel=SPEC.signals[0].kernel, contemporaneous=False),), "controls": ()}


@pytest.mark.parametrize(
    ("changes", "scenario", "condition"),
    [
        ({}, "held", f"conditional on {ASSUMED}{SAME}"),
        (
            {},
            "metal",
            f"conditional on the levels given for metal, and dollar, yield staying at their last levels{SAME}",
        ),
        ({}, "all", f"conditional on the levels given for metal, yield, dollar{SAME}"),
        ({}, "none of them", f"conditional on {ASSUMED}{SAME}"),
        (LATE, "held", f"conditional on {ASSUMED}"),
        (LATE, "all", "conditional on the levels given for metal, yield, dollar"),
        (LATE, "bootstrap", "integrated over them"),
        ({}, "bootstrap", "integrated over them"),
        ({"signals": (), "controls": ()}, "held", f"conditional on {ASSUMED}"),
        ({"signals": (), "controls": (), "drivers": ()}, "bootstrap", "the model has no signals, drivers or controls"),
    ],
)
def test_the_condition_is_that_of_the_scenario(changes, scenario, condition):
    given = scenario
    columns = {"metal": ["metal"], "all": ["metal", "yield", "dollar"], "none of them": []}
    if scenario in columns:
        given = frame()[columns[scenario]].iloc[-3:]
    said = module._condition(replaced(SPEC, **changes), given)
    if scenario == "bootstrap":
        assert said.startswith("given the data up to the origin")
        assert said.endswith(condition)
        assert "as if they were known" not in said
    else:
        assert said == condition


def test_a_forecast_carries_its_condition(fit):
    moved = rl.scenario(rl.panel_of(fit), horizon=2, moves={"yield": 0.1})
    for scenario, words in (
        ("held", ASSUMED),
        ("bootstrap", "integrated"),
        (moved, "given for yield, and dollar, metal"),
    ):
        assert words in rl.forecast(fit, horizon=2, scenario=scenario, random_seed=0).attrs["condition"]


def test_the_bootstrap_takes_no_value_as_known():
    """Under it the same-period term's own variance is in the forecast; held constant it is not."""
    spec = replaced(SPEC, regimes=rl.spec.Regimes(count=1), drivers=(), controls=(), family="normal")
    idata = fitted(spec, draws=400, log_scale=-25.0, effect=0.0, effect_episode=0.0, intercept=0.0, contemporaneous=1.0)
    held, spread = (
        rl.forecast(idata, horizon=1, scenario=how, random_seed=0)["response_value"].std()
        for how in ("held", "bootstrap")
    )
    assert float(held) < 1e-6
    # A standardised coefficient of one: the response spreads as its own scale times that of the signal's values.
    assert float(spread) == pytest.approx(float(rl.panel_of(idata)["response_scale"][0]), rel=0.25)


@pytest.mark.parametrize(
    ("response", "unit"),
    [
        (rl.Response("asset", "price"), "price, level"),
        (rl.Response("asset", "price", transform="level"), "price, level"),
        (rl.Response("asset", "price", transform="difference"), "price, level"),
        (rl.Response("asset", "price", against="other"), "price / other, relative to its last level"),
        (
            rl.Response("asset", "price", transform="difference", against="other"),
            "price - other, change since the last row",
        ),
    ],
)
def test_a_path_says_what_it_is(response, unit):
    spec = replaced(SPEC, responses=(response,))
    panel = rl.make_panel(spec, frame(), start="2020-01-03")
    assert module._path_unit(panel, spec, 0) == unit


@pytest.mark.parametrize(("arguments", "said"), [({"horizon": 0}, "horizon"), ({"scenario": "same"}, "same")])
def test_a_forecast_that_cannot_be_is_refused(fit, arguments, said):
    with pytest.raises(rl.errors.FitError, match=said):
        rl.forecast(fit, **arguments)


@pytest.mark.slow
def test_a_response_among_the_covariates_is_refused():
    own = rl.Signal("momentum", "price", kernel=SPEC.signals[0].kernel, contemporaneous=False)
    idata = fitted(replaced(SPEC, signals=(*SPEC.signals, own)))
    with pytest.raises(rl.errors.FitError, match="momentum is made of a response"):
        rl.forecast(idata, horizon=2)
    with pytest.raises(rl.errors.FitError, match="momentum is made of a response"):
        rl.evaluation.impulse_response(idata, shock=0.1)
    with pytest.raises(rl.errors.FitError, match="momentum is made of a response"):
        rl.evaluation.backtest(rl.spec_of(idata), rl.panel_of(idata), start="2020-12-04")


def test_a_frame_of_another_length_or_with_holes_is_refused(fit):
    levels = rl.scenario(rl.panel_of(fit), horizon=3, moves={"yield": 0.1})
    with pytest.raises(rl.errors.PanelError, match="finite"):
        rl.forecast(fit, scenario=levels.assign(metal=[1.0, np.nan, 2.0]))
    with pytest.raises(rl.errors.PanelError, match="gold"):
        rl.forecast(fit, scenario=levels.assign(gold=1.0))


def test_two_responses_with_chains_of_their_own():
    idata = fitted(TWO)
    read = rl.forecast(idata, horizon=4)
    assert read["path"].dims == ("chain", "draw", "step", "response")
    assert read["regime_probability"].dims == ("chain", "draw", "step", "response", "regime")
    np.testing.assert_allclose(read["regime_probability"].sum("regime"), 1.0)
    assert list(read["path_unit"].to_numpy()) == ["price, level", "other, level"]
    assert rl.plots.plot_forecast(read.sel(response="other")).get_ylabel() == "other, log scale"
    plt.close("all")
    answer = rl.evaluation.impulse_response(idata, shock=0.1, horizon=6)
    assert answer["cumulative"].dims == ("chain", "draw", "step", "response", "start")
    with pytest.raises(rl.errors.FitError, match="one response"):
        rl.plots.plot_forecast(read)
    with pytest.raises(rl.errors.FitError, match="one response"):
        rl.plots.plot_impulse(answer)


def test_an_answer_is_the_difference_of_two_forecasts():
    """Two panels that differ by the move alone, regimes drawn alike: means of the difference, regime by regime."""
    spec = replaced(SPEC, drivers=(), regimes=rl.spec.Regimes(count=2))
    idata = fitted(spec, draws=3)
    move = [0.07, 0.02]
    answer = rl.evaluation.impulse_response(idata, shock=move, horizon=7)
    panel = rl.panel_of(idata)
    v = one_draw(idata["posterior"].to_dataset(), 1, 2)
    # A window's last rows, with the move on two of them and without; the last episode goes on.
    rows, first = panel.sizes["time"], panel.sizes["time"] - 8
    moved = panel.copy(deep=True)
    moved["signal_value"][spec.history + first : spec.history + first + 2, 0] += np.array(move) / float(
        panel["signal_scale"][0]
    )
    unit = float(panel["response_scale"][0])
    by_regime = np.array(
        [
            [plain_location(spec, moved, v, t, k) - plain_location(spec, panel, v, t, k) for k in range(2)]
            for t in range(first, rows)
        ]
    )
    transition = np.exp(plain_chain(spec, panel, v)[1][0])
    got = answer["cumulative"].isel(chain=1, draw=2)
    for start in range(2):
        law, total = np.eye(2)[start], 0.0
        for step in range(8):
            total += unit * law @ by_regime[step]
            assert float(got.isel(step=step, start=start)) == pytest.approx(total, abs=1e-12)
            law = law @ transition
    now = rl.regime_probabilities(idata).isel(time=-1)
    expected = (answer["cumulative"].rename(start="regime") * now).sum("regime")
    np.testing.assert_allclose(answer["averaged"], expected.transpose(*answer["averaged"].dims), atol=1e-12)


def test_a_move_outside_the_window_is_an_extrapolation(fit):
    # The last four moves, as many as there are lags, have not been answered in full.
    metal = np.log(frame()["metal"]).diff().loc["2019-12-06":].iloc[:-4]
    inside = rl.evaluation.impulse_response(fit, shock=float(metal.max()), horizon=3)
    assert inside.attrs["extrapolation"] == ""
    beyond = rl.evaluation.impulse_response(fit, shock=[0.5] * 4, horizon=3)
    assert "extrapolation" in beyond.attrs["extrapolation"]
    assert f"{metal.rolling(4).sum().max():.2f}" in beyond.attrs["extrapolation"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shock": np.nan}, "finite"),
        ({"shock": 0.1, "signal": "gold"}, "gold"),
        ({"shock": 0.1, "horizon": 0}, "hor"),
        # What comes after the horizon would be in the size that is told, and not in the path.
        ({"shock": [0.1] * 5, "horizon": 3}, "write horizon=4"),
    ],
)
def test_an_answer_that_cannot_be_is_refused(fit, arguments, said):
    with pytest.raises(rl.errors.FitError, match=said):
        rl.evaluation.impulse_response(fit, **arguments)


def test_the_smallest_model_forecasts_too():
    idata = fitted(bare_spec())
    read = rl.forecast(idata, horizon=3, scenario="bootstrap")
    assert read["response_value"].shape == (2, 6, 3)
    with pytest.raises(rl.errors.FitError, match="signal"):
        rl.evaluation.impulse_response(idata, shock=0.1)


def test_figures_hold_what_they_are_given(fit):
    read = rl.forecast(fit, horizon=5)
    ax = rl.plots.plot_forecast(read, history=frame()["price"])
    assert "covariates held constant" in ax.get_title()
    assert ax.get_ylabel() == "price, log scale"
    assert ax.get_title().startswith("asset: forecast from ")
    past = rl.plots.plot_forecast(read).lines[1]
    known = frame()["price"].loc[: read.attrs["origin"]].iloc[-10:]
    np.testing.assert_allclose(past.get_ydata(), known)
    for scenario, words in (("bootstrap", "block bootstrap"), (rl.scenario(rl.panel_of(fit), horizon=5), "as given")):
        assert words in rl.plots.plot_forecast(rl.forecast(fit, scenario=scenario)).get_title()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), read["path"].median(("chain", "draw")))
    answer = rl.evaluation.impulse_response(fit, shock=[0.5] * 4, horizon=5)
    ax = rl.plots.plot_impulse(answer)
    assert ax.get_title() == "Impulse response to metal, +2 in all, over weeks 0 to 3 (an extrapolation)"
    assert ax.get_xlabel() == "weeks after"
    assert ax.get_ylabel().replace("\n", " ") == "cumulative log return of asset"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), answer["averaged"].median(("chain", "draw")))
    plt.close("all")


def test_a_seed_that_was_drawn_is_recorded_and_repeats_the_draws(idata):
    spec, panel = rl.spec_of(idata), rl.panel_of(idata)
    ahead = rl.forecast(idata, horizon=2)
    again = rl.forecast(idata, horizon=2, random_seed=ahead.attrs["random_seed"])
    xr.testing.assert_identical(ahead, again)
    assert not ahead["path"].equals(rl.forecast(idata, horizon=2)["path"])
    made = rl.simulate(spec, panel)
    xr.testing.assert_identical(made, rl.simulate(spec, panel, random_seed=made.attrs["random_seed"]))
    for call in (lambda: rl.forecast(idata, random_seed=-1), lambda: rl.simulate(spec, panel, random_seed="one")):
        with pytest.raises(rl.errors.FitError, match="random_seed"):
            call()
