"""Moderators of the lagged effect: spec, panel, and the model at draws; oracles in plain loops are in test_model.py."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import FIT, STATE, hand_panel, moderated_spec, plain_moderator, prior_draws, small_spec

import regimelag as rl
from regimelag.model.evaluate import evaluate, stack_draws
from regimelag.panel.moderators import indicator_values, moderator_values
from regimelag.panel.newer import extend_panel
from regimelag.panel.published import published_drivers
from regimelag.panel.slicing import restandardize_on, window
from regimelag.spec.terms import terms_of
from regimelag.spec.toml import spec_from_toml, spec_to_toml

WEEKLY = moderated_spec(
    ("easing", "euro"),
    drivers=(
        rl.Driver("yield", "yield", periods=4, delay="1B", drives=False),
        rl.Driver("euro", "euro", "log_return", periods=2, delay="W-MON", drives=False),
    ),
    indicators=(
        rl.spec.Indicator("easing", (rl.spec.Condition("yield", below=0.0), rl.spec.Condition("euro", below=0.01))),
    ),
    episodes=rl.spec.Episodes(),
)


DRIVING = tuple(dataclasses.replace(driver, drives=True) for driver in WEEKLY.drivers)
COUPLED = small_spec(
    drivers=DRIVING,
    regime_processes=(
        rl.spec.RegimeProcess("volatility", carries=("scale",)),
        rl.spec.RegimeProcess("coupling", carries=("effect",), order_by="effect", drivers=("yield", "euro")),
    ),
    episodes=rl.spec.Episodes(),
)


def levels(rows=120, seed=1):
    """Levels of all columns, by random walks; yields in two decimals, so that some do not change."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2019-01-04", periods=rows, freq="W-FRI", name="date")
    walks = np.cumsum(rng.normal(0.0, 0.02, (rows, 5)), axis=0)
    frame = pd.DataFrame(100.0 * np.exp(walks), index=index, columns=["price", "metal", "yield", "dollar", "euro"])
    frame["yield"] = (2.0 + 2.0 * walks[:, 2]).round(2)
    return frame


def plain_state(frame, row):
    """The indicator on a row of the frame, from levels up to the row before; yields and euro come a row late."""
    easing = round(frame["yield"].iloc[row - 2] - frame["yield"].iloc[row - 6], 6)
    euro = np.log(frame["euro"].iloc[row - 2] / frame["euro"].iloc[row - 4])
    return float(easing < 0 and euro < 0.01), euro


def test_a_file_gives_back_indicators_and_moderators():
    spec = moderated_spec(("yield", "easing"), allow_overlap=True)
    assert spec_from_toml(spec_to_toml(spec)) == spec
    written = spec_to_toml(spec)
    assert '{ driver = "yield", below = 0.1 }' in written
    assert spec.indicators[0].all_of[1] == rl.spec.Condition("euro", below=0.5, above=-0.4)
    assert rl.spec.Condition("yield", below=0) == rl.spec.Condition("yield", below=0.0)
    assert [one.name for one in spec.transition_drivers] == []
    assert small_spec().transition_drivers == small_spec().drivers


def test_a_panel_has_drivers_as_published_by_the_row_before():
    frame = levels()
    panel = rl.make_panel(WEEKLY, frame)
    # Four rows of a change, one of the delay, and one before the window.
    first = frame.index.get_loc(panel["time"].to_numpy()[0])
    assert first == 6
    expected = np.array([plain_state(frame, first + t) for t in range(panel.sizes["time"])])
    values = moderator_values(WEEKLY, panel)
    np.testing.assert_array_equal(values[:, 0], expected[:, 0])
    natural = values[:, 1] * float(panel["driver_scale"][1]) + float(panel["driver_center"][1])
    np.testing.assert_allclose(natural, expected[:, 1], atol=1e-12)
    assert 0.1 < values[:, 0].mean() < 0.9
    # Without moderators and indicators the window may begin a row earlier, and there is no such history.
    bare = WEEKLY.changed(signals=(rl.Signal("metal", "metal", kernel=WEEKLY.signals[0].kernel),), indicators=())
    assert rl.make_panel(bare, frame)["time"].to_numpy()[0] == frame.index[5].to_datetime64()
    assert "driver_history" not in rl.make_panel(bare, frame)


def test_drivers_of_a_coupling_process_are_those_of_the_row_before_on_the_first_row_too():
    """As published by the row before the window, whatever row the window begins on."""
    frame, spec = levels(), COUPLED
    panel = rl.make_panel(spec, frame)
    first = frame.index.get_loc(panel["time"].to_numpy()[0])
    assert first == 6
    expected = np.array([plain_state(frame, first + t)[1] for t in range(panel.sizes["time"])])
    for start in (0, 20):
        later = rl.make_panel(spec, frame, start=panel["time"].to_numpy()[start])
        for one in (later, window(panel, start, panel.sizes["time"])):
            center, scale = (float(one[f"driver_{part}"].sel(driver="euro")) for part in ("center", "scale"))
            published = published_drivers(spec, one)[:, 1] * scale + center
            np.testing.assert_allclose(published, expected[start:], atol=1e-12)
    # A panel of another spec has no such row: its mean.
    bare = panel.drop_vars("driver_history")
    np.testing.assert_array_equal(published_drivers(spec, bare)[0], 0.0)
    np.testing.assert_array_equal(published_drivers(spec, bare)[1:], published_drivers(spec, panel)[1:])


def test_a_change_of_zero_is_not_below_zero():
    frame = levels()
    frame["yield"] = np.where(np.arange(len(frame)) % 8 < 4, 1.1, 0.8)
    frame.loc[frame.index[40:], "yield"] = 0.3 + 0.8
    panel = rl.make_panel(WEEKLY, frame)
    state = indicator_values(WEEKLY, panel)[:, 0]
    first = frame.index.get_loc(panel["time"].to_numpy()[0])
    np.testing.assert_array_equal(state, [plain_state(frame, first + t)[0] for t in range(len(state))])
    assert not state[60:].any()


def test_moderators_are_the_same_in_every_cut_and_standardisation():
    frame = levels()
    panel = rl.make_panel(WEEKLY, frame)
    state = moderator_values(WEEKLY, panel)
    np.testing.assert_allclose(moderator_values(WEEKLY, window(panel, 10, 60)), state[10:60], atol=1e-12)
    again = restandardize_on(WEEKLY, panel, 60)
    expected = rl.make_panel(WEEKLY, frame, end=panel["time"].to_numpy()[59])
    np.testing.assert_allclose(again["driver_history"], expected["driver_history"], atol=1e-10)
    np.testing.assert_allclose(moderator_values(WEEKLY, again)[:60], moderator_values(WEEKLY, expected), atol=1e-10)
    np.testing.assert_array_equal(moderator_values(WEEKLY, again)[:, 0], state[:, 0])
    longer, _ = extend_panel(WEEKLY, expected, panel, "a test")
    np.testing.assert_array_equal(moderator_values(WEEKLY, longer)[:, 0], state[:, 0])


def test_an_indicator_that_is_constant_is_refused():
    frame = levels()
    never = dataclasses.replace(STATE, all_of=(rl.spec.Condition("yield", below=-50.0),))
    with pytest.raises(rl.errors.PanelError, match="indicator 'easing' is 0 in every period") as caught:
        rl.make_panel(WEEKLY.changed(indicators=(never,)), frame)
    assert "change the bounds in all_of" in caught.value.cure
    assert rl.make_panel(WEEKLY, frame).sizes["time"] > 0


def test_a_panel_without_that_history_is_refused():
    panel = rl.make_panel(WEEKLY, levels())
    with pytest.raises(rl.errors.PanelError, match="row before the window"):
        rl.build_model(WEEKLY, panel.drop_vars("driver_history"))
    late = levels()
    late.iloc[:20, late.columns.get_loc("euro")] = np.nan
    with pytest.raises(rl.errors.PanelError, match="drivers on the row before it") as caught:
        rl.make_panel(WEEKLY, late, start=late.index[23])
    start = caught.value.cure.split()[2]
    assert rl.make_panel(WEEKLY, late, start=start)["time"].to_numpy()[0] == np.datetime64(start)


def test_priors_are_elasticities_per_state_and_per_sd():
    panel = rl.make_panel(WEEKLY, levels())
    unit = float(panel["signal_scale"][0] / panel["response_scale"][0])
    terms = {one.name: one for one in terms_of(WEEKLY, panel).every()}
    sds = np.array([1.0, 1 / np.sqrt(2)])
    np.testing.assert_allclose(np.ravel(terms["effect_moderator"].resolved.parameters[0]["sigma"]), 1.5 * unit * sds)
    np.testing.assert_allclose(terms["moderator_main_effect"].resolved.parameters[0]["sigma"], 0.3 * sds)
    own = rl.Prior("Normal", sigma=1.0, by_moderator={"euro": rl.Prior("StudentT", nu=3, sigma=0.1)})
    assert rl.build_model(WEEKLY.changed(priors={"effect_moderator": own}), panel)
    yields = WEEKLY.changed(signals=(dataclasses.replace(WEEKLY.signals[0], transform="difference"),))
    told = {one.name: one for one in terms_of(yields, rl.make_panel(yields, levels())).parameters()}
    assert told["effect_moderator"].prior.unit == "standardized"


def test_a_simulation_has_the_effect_of_its_state():
    """With the noise and the regimes held, the response moves by the moderated effect alone."""
    panel = rl.make_panel(WEEKLY, levels())
    one = prior_draws(WEEKLY, panel, 1, chains=1).isel(chain=0, draw=0)
    none = one.assign(effect_moderator=0.0 * one["effect_moderator"])
    made = [rl.simulate(WEEKLY, panel, parameters=each, random_seed=1)["response_value"] for each in (one, none)]
    eq = [evaluate(WEEKLY, panel, stack_draws(each)).location[0, 0] for each in (one, none)]
    np.testing.assert_allclose((made[0] - made[1])[:, 0], (eq[0] - eq[1])[:, 0], atol=1e-12)
    assert np.abs(eq[0] - eq[1]).max() > 0.01


def test_moderators_of_a_hand_panel_are_those_in_loops():
    spec = moderated_spec(("euro", "easing"))
    panel = hand_panel(spec, 12)
    expected = [[plain_moderator(spec, panel, t, name) for name in spec.moderators] for t in range(12)]
    np.testing.assert_allclose(moderator_values(spec, panel), expected, atol=1e-12)


@pytest.mark.slow
def test_an_effect_in_one_state_alone_is_recovered():
    """An effect of one standard deviation in the state and of none elsewhere, at about ten times its posterior sd."""
    spec = WEEKLY.changed(
        signals=(dataclasses.replace(WEEKLY.signals[0], moderators=("easing",)),), regimes=rl.spec.Regimes(count=1)
    )
    panel = rl.make_panel(spec, levels(500))
    one = prior_draws(spec, panel, 1, chains=1).isel(chain=0, draw=0)
    size = {"effect": 0.0, "effect_moderator": 1.0, "moderator_main_effect": 0.3, "log_scale": np.log(0.7)}
    size |= {"degrees_of_freedom_minus_two": 6.0, "metal_lag_location": 2.0, "metal_lag_spread": 1.0}
    truth = one.assign({name: 0.0 * one[name] + value for name, value in size.items()})
    fit = rl.fit(spec, rl.simulate(spec, panel, parameters=truth, random_seed=1), **FIT)
    unit = float(panel["response_scale"][0] / panel["signal_scale"][0])
    read = rl.results.state_contrast(fit).isel(signal=0, indicator=0)
    for name, expected in (("inside", unit), ("outside", 0.0), ("contrast", unit)):
        draws = read[name].to_numpy()
        assert abs(draws.mean() - expected) < 4 * draws.std(), name
    assert float((read["contrast"] > 0).mean()) > 0.99
    main = fit["posterior"]["moderator_main_effect"].to_numpy()
    assert abs(main.mean() - 0.3) < 4 * main.std()
