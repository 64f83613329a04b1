"""Controls with a kernel: their history is in the panel, their past in the location, and no claim is made of them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import KERNEL, hand_panel, plain_weights, prior_fit, small_spec

import regimelag as rl
from regimelag.evaluation.comparison.differences import contrast
from regimelag.model.evaluate import evaluate, stack_draws
from regimelag.panel.slicing import restandardize_on, window
from regimelag.spec.toml import spec_from_toml, spec_to_toml

CONTROLS = (rl.Control("dollar", "dollar", kernel=KERNEL), rl.Control("yield", "yield"))
SPEC = small_spec(controls=CONTROLS, drivers=(rl.Driver("yield", "yield", periods=1),))


def frame(rows=90, seed=1):
    """Levels of all columns, by random walks."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2019-01-04", periods=rows, freq="W-FRI", name="date")
    walks = np.cumsum(rng.normal(0.0, 0.02, (rows, 4)), axis=0)
    return pd.DataFrame(100.0 * np.exp(walks), index=index, columns=["price", "metal", "yield", "dollar"])


@pytest.fixture(scope="module")
def levels():
    return frame()


@pytest.fixture(scope="module")
def fit(levels):
    return prior_fit(SPEC, rl.make_panel(SPEC, levels.iloc[:60]), 6)


def test_a_spec_holds_the_kernel_and_a_file_gives_it_back():
    assert spec_from_toml(spec_to_toml(SPEC)) == SPEC
    assert SPEC.lagged_controls == CONTROLS[:1]
    assert SPEC.changed(signals=()).history == SPEC.max_lag
    assert small_spec(signals=()).history == 0


def test_the_panel_holds_the_history_of_all_controls(levels):
    panel = rl.make_panel(SPEC, levels)
    assert panel["control_value"].dims == ("signal_time", "control")
    # The first difference takes a row, the lags four more.
    assert panel["time"].to_numpy()[0] == levels.index[5].to_datetime64()
    values = panel["control_value"].to_numpy() * panel["control_scale"].to_numpy() + panel["control_center"].to_numpy()
    np.testing.assert_allclose(values, levels[["dollar", "yield"]].diff().to_numpy()[1:], rtol=0, atol=1e-12)
    # Constants are learned inside the window alone.
    inside = levels["dollar"].diff().iloc[5:]
    assert float(panel["control_center"][0]) == pytest.approx(inside.mean(), abs=1e-12)
    assert float(panel["control_scale"][0]) == pytest.approx(inside.std(), rel=1e-12)
    # Without a kernel they begin with the window, as before.
    assert rl.make_panel(small_spec(), levels)["control_value"].dims == ("time", "control")


def test_a_window_without_that_history_is_refused(levels):
    late = levels.copy()
    late.iloc[:20, 3] = np.nan
    with pytest.raises(rl.errors.PanelError, match="signals and controls on the 4 rows before it") as caught:
        rl.make_panel(SPEC, late, start=levels.index[22])
    start = caught.value.cure.split()[2]
    assert rl.make_panel(SPEC, late, start=start).sizes["control"] == 2


def test_effects_are_in_the_units_of_the_control(fit):
    read, posterior, panel = rl.effects(fit), fit["posterior"], rl.panel_of(fit)
    ratio = float(panel["response_scale"][0]) / float(panel["control_scale"][0])
    expected = ratio * posterior["control_lagged_effect"].sel(response="asset", lagged_control="dollar")
    np.testing.assert_allclose(read["control_lagged_effect"].sel(lagged_control="dollar"), expected)
    one = {name: posterior[name].to_numpy()[0, 0] for name in posterior.data_vars}
    named = dataclasses.replace(CONTROLS[0], name="control_dollar")
    weights, _ = plain_weights(SPEC, named, one, 0, 0, 0)
    assert float(read["control_mean_lag"][0, 0, 0]) == pytest.approx(weights @ np.arange(1, 5))


def test_no_claim_is_made_of_a_control(fit):
    report = rl.lag_report(fit)
    assert set(report.index.get_level_values("signal")) == {"metal"}
    assert list(report.attrs["verdict"]) == ["metal"]
    without = contrast(SPEC, dataclasses.replace(SPEC, controls=()))
    assert without.lost == ()
    assert "without dollar (same-period and lagged terms)" in without.differences


def test_a_forecast_knows_the_past_of_controls(fit):
    """The location on the first row ahead, by hand: the control's last values weighed by its kernel."""
    ahead = rl.forecast(fit, horizon=3, random_seed=1)
    assert ahead.sizes["time" if "time" in ahead.sizes else "step"] >= 3
    panel, draws = rl.panel_of(fit), stack_draws(fit["posterior"].to_dataset())
    moved = panel.copy(deep=True)
    moved["control_value"][-3, 0] += 2.0
    change = evaluate(SPEC, moved, draws).location - evaluate(SPEC, panel, draws).location
    for n in range(2):
        one = {name: values[n] for name, values in draws.items()}
        named = dataclasses.replace(CONTROLS[0], name="control_dollar")
        weights, _ = plain_weights(SPEC, named, one, 0, 0, 0)
        g, now = one["control_lagged_effect"][0, 0], one["control_effect"][0, 0]
        expected = 2.0 * np.array([now, g * weights[0], g * weights[1]])
        np.testing.assert_allclose(change[n, 0, -3:, 0], expected, atol=1e-12)


def test_newer_data_and_other_windows_keep_the_history(fit, levels):
    newer = rl.make_panel(SPEC, levels)
    assert np.isfinite(rl.evaluation.score(fit, newer)["log_score"]).all()
    cut = window(newer, 10, 30)
    assert cut.sizes["signal_time"] == cut["control_value"].sizes["signal_time"] == 24
    # What make_panel would have learned on the first rows.
    again, expected = restandardize_on(SPEC, newer, 50), rl.make_panel(SPEC, levels, end=newer["time"].to_numpy()[49])
    np.testing.assert_allclose(again["control_value"][: 50 + 4], expected["control_value"], atol=1e-10)


def test_what_a_control_may_not_be():
    for kernel in (rl.kernels.Point(), "gamma"):
        with pytest.raises(rl.errors.SpecError, match="without a point lag"):
            rl.Control("dollar", "dollar", kernel=kernel)
    with pytest.raises(rl.errors.SpecError, match="slash"):
        rl.Control("usd/eur", "dollar", kernel=KERNEL)
    assert rl.Control("usd/eur", "dollar").name == "usd/eur"
    with pytest.raises(rl.errors.SpecError, match="label of a lagged control"):
        small_spec(controls=CONTROLS, signals=(rl.Signal("control_dollar", "metal", kernel=KERNEL),))
    with pytest.raises(rl.errors.SpecError, match="mean_lag"):
        small_spec(controls=(rl.Control("dollar", "dollar", kernel=rl.kernels.Gamma(mean_lag=20.0)),))


def test_a_signal_and_a_control_may_have_one_name():
    spec = small_spec(controls=(rl.Control("metal", "other", kernel=KERNEL),))
    names = {rv.name for rv in rl.build_model(spec, hand_panel(spec, 8)).free_RVs}
    assert {"metal_lag_location", "control_metal_lag_location"} <= names
