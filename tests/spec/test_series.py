"""Series made from two columns, gains over several rows, rows that are trading dates, and controls that come late."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from regimelag.errors import PanelError, SpecError
from regimelag.panel.aligned_series import align_series
from regimelag.panel.make import check_panel, describe_panel, make_panel, panel_hash
from regimelag.panel.read import read_series
from regimelag.panel.rows import to_frequency, trading_dates, transform
from regimelag.panel.scenarios import future_panels, scenario, scenario_levels
from regimelag.spec import names as nm
from regimelag.spec.kernels import Gamma
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import Control, Driver, Response, Series, Signal
from regimelag.spec.toml import spec_from_toml, spec_to_toml

DATA = Path(os.environ.get("REGIMELAG_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real panels are not in {DATA}; set REGIMELAG_DATA")
KERNEL = Gamma(mean_lag=2.0, mean_lag_sd=1.0, spread=1.0, spread_sd=0.5)
SILVER = Signal("silver", "slv", kernel=KERNEL)
BEYOND = replace(SILVER, beyond="gld")


def spec_of(**changes) -> ModelSpec:
    """Bitcoin, silver over four lags, a driver and a control."""
    parts = {
        "name": "small",
        "responses": (Response("bitcoin", "btc"),),
        "signals": (SILVER,),
        "drivers": (Driver("real yield", "tips", periods=3, delay="1B"),),
        "controls": (Control("real yield", "tips"),),
        "max_lag": 4,
    }
    return ModelSpec(**(parts | changes))


def daily(seed: int = 0, days: int = 400) -> pd.DataFrame:
    """Daily levels from Wednesday 1 January 2020: Bitcoin on every day, the others on weekdays; silver follows gold."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2020-01-01", periods=days, name="date")
    walk = rng.normal(0.0, 0.02, (days, 5)).cumsum(axis=0)
    frame = pd.DataFrame(
        {
            "btc": np.exp(walk[:, 0]),
            "slv": 20.0 * np.exp(walk[:, 1] + 1.5 * walk[:, 2]),
            "gld": 1500.0 * np.exp(walk[:, 2]),
            "tips": walk[:, 3],
            "fed": walk[:, 4],
        },
        index=index,
    )
    frame.loc[index.day_of_week >= 5, ["slv", "gld", "tips", "fed"]] = np.nan
    return frame


def weekly(seed: int = 0, weeks: int = 120) -> pd.DataFrame:
    return to_frequency(daily(seed, 7 * weeks + 3), "W-FRI")


def natural(panel: xr.Dataset, role: str) -> pd.DataFrame:
    return (panel[nm.value_of(role)] * panel[nm.scale_of(role)] + panel[nm.center_of(role)]).to_pandas()


def refused(spec: ModelSpec, frame: pd.DataFrame, *named: str, **window) -> PanelError:
    """The error that a panel is refused with; it has four parts and names what it should."""
    with pytest.raises(PanelError) as caught:
        make_panel(spec, frame, **window)
    error = caught.value
    for part in named:
        assert part in str(error)
    assert all((error.asked, error.rule, error.came, error.cure))
    return error


W = weekly()

# ---- what a spec refuses

BAD_PARTS = {
    "against itself": (lambda: Series("a", "c", against="c"), "against"),
    "against blank": (lambda: Series("a", "c", against=" "), "against"),
    "against a number": (lambda: Driver("a", "c", against=3), "against"),
    "beyond itself": (lambda: Signal("a", "c", beyond="c"), "beyond"),
    "beyond blank": (lambda: Signal("a", "c", beyond=" "), "beyond"),
    "beyond a list": (lambda: Signal("a", "c", beyond=["d"]), "beyond"),
    "response of gains": (lambda: Response("a", "c", "gain"), "gain"),
    "driver of gains": (lambda: Driver("a", "c", "gain"), "gain"),
    "response of losses": (lambda: Response("a", "c", "loss"), "loss"),
    "driver of new highs": (lambda: Driver("a", "c", "new_high", 52), "new_high"),
    "new high above one price": (lambda: Signal("a", "c", "new_high"), "at least 2"),
}


@pytest.mark.parametrize(("make", "names"), BAD_PARTS.values(), ids=BAD_PARTS)
def test_specs_refuse_what_makes_no_sense(make, names):
    with pytest.raises(SpecError) as caught:
        make()
    error = caught.value
    assert names in str(error)
    assert all((error.asked, error.rule, error.came, error.cure))


def test_new_fields_survive_the_round_trip_and_are_optional():
    spec = spec_of(
        signals=(replace(BEYOND, against="fed", transform="gain", periods=13),),
        drivers=(Driver("rates", "tips", against="fed"),),
        frequency="trading",
    )
    assert spec_from_toml(spec_to_toml(spec)) == spec
    old = "\n".join(line for line in spec_to_toml(spec_of()).splitlines() if not line.startswith(("against", "beyond")))
    assert spec_from_toml(old) == spec_of()
    assert replace(BEYOND, against="fed").columns == ("slv", "fed", "gld")
    assert replace(BEYOND, against="gld").columns == ("slv", "gld")


# ---- against a second column


def test_returns_are_taken_of_the_ratio_and_changes_of_the_difference():
    controls = (
        Control("ratio", "gld", "log_return", 5, against="slv"),
        Control("spread", "tips", "difference", 3, against="fed"),
        Control("gap", "tips", "level", against="fed"),
        Control("gain", "gld", "gain", 5, against="slv"),
    )
    held = natural(make_panel(spec_of(controls=controls), W), nm.CONTROL)
    ratio, spread = np.log(W["gld"] / W["slv"]).diff(5), W["tips"] - W["fed"]
    expected = {"ratio": ratio, "spread": spread.diff(3), "gap": spread, "gain": ratio.clip(lower=0.0)}
    for name, values in expected.items():
        np.testing.assert_allclose(held[name], values[held.index], atol=1e-12)


def test_both_columns_of_a_driver_stand_as_published():
    frame = daily()
    frame.loc["2020-09-10", "fed"] = np.nan
    spec = spec_of(drivers=(Driver("rates", "tips", against="fed", periods=3, delay="1B"),))
    panel = make_panel(spec, frame)
    held, dates = natural(panel, nm.DRIVER)["rates"], panel[nm.DRIVER_DATE].to_pandas()["rates"]
    known = {row: frame[frame.index + pd.offsets.BDay(1) <= row] for row in to_frequency(frame, "W-FRI").index}
    spread = pd.Series(
        {row: f["tips"].dropna().iloc[-1] - f["fed"].dropna().iloc[-1] for row, f in known.items() if len(f)}
    )
    np.testing.assert_allclose(held, spread.diff(3)[held.index], atol=1e-12)
    # On that Thursday only one of the two came out: the older one dates the row.
    assert dates["2020-09-11"] == pd.Timestamp("2020-09-09")
    assert dates["2020-09-18"] == pd.Timestamp("2020-09-17")


def test_a_row_that_lacks_either_column_has_no_value_and_the_error_names_the_one():
    hole = W.index[50]
    for column in ("slv", "gld"):
        frame = W.copy()
        frame.loc[hole, column] = np.nan
        against = spec_of(signals=(replace(SILVER, against="gld"),))
        error = refused(against, frame, "'slv' against 'gld'", f"no {column!r} on the rows {hole.date()};")
        assert f"fill column {column!r}" in error.cure
        spec = spec_of(responses=(Response("bitcoin in metal", "btc", against=column),), signals=())
        value = make_panel(spec, frame)[nm.RESPONSE_VALUE].to_pandas()["bitcoin in metal"]
        assert value.index[value.isna()].tolist() == [hole, W.index[51]]


@pytest.mark.parametrize("column", ["slv", "gld"])
@pytest.mark.parametrize("kind", ["log_return", "gain"])
@pytest.mark.parametrize("field", ["against", "beyond"])
def test_logarithms_need_both_columns_above_zero(column, kind, field):
    frame = W.copy()
    frame.loc[frame.index[50], column] = -2.0
    spec = spec_of(signals=(replace(SILVER, transform=kind, **{field: "gld"}),))
    refused(spec, frame, f"whose column {column!r} is -2", str(frame.index[50].date()), f"correct column {column!r}")
    make_panel(spec_of(signals=(replace(SILVER, transform="difference", **{field: "gld"}),)), frame)


def test_both_columns_are_described_and_compared():
    spec = spec_of(drivers=(Driver("rates", "tips", against="fed", periods=3, delay="1B"),))
    panel = make_panel(spec, daily())
    table = describe_panel(panel)
    assert table.loc[("driver", "rates"), "column"] == "tips against fed"
    assert any("'tips' against 'fed'" in note and "Published" in note for note in table.attrs["notes"])
    with pytest.raises(PanelError, match=r"against = 'fed', now 'gld'"):
        check_panel(replace(spec, drivers=(replace(spec.drivers[0], against="gld"),)), panel)


def test_closes_of_a_second_column_are_compared_too():
    frame = daily()
    frame.loc["2020-04-10", "gld"] = np.nan
    panel = make_panel(spec_of(signals=(BEYOND,)), frame)
    assert json.loads(panel.attrs["closes_differ"]) == {"gld": ["2020-04-10"]}
    assert describe_panel(panel).loc[("signal", "silver"), "closes_differ"] == 1


# ---- beyond another column


def regression(frame: pd.DataFrame, window: pd.Index):
    """Silver's return on gold's in the window, by statsmodels."""
    returns = np.log(frame[["slv", "gld"]]).diff()
    fitted = sm.OLS(returns.loc[window, "slv"], sm.add_constant(returns.loc[window, "gld"])).fit()
    return returns, fitted


def test_the_signal_is_the_residual_of_a_regression_on_the_window_applied_to_the_history():
    panel = make_panel(spec_of(signals=(BEYOND,)), W, start=W.index[20])
    rows, reach = (pd.DatetimeIndex(panel[name].to_numpy()) for name in (nm.TIME, nm.SIGNAL_TIME))
    returns, fitted = regression(W, rows)
    left = returns["slv"] - fitted.params["const"] - fitted.params["gld"] * returns["gld"]
    np.testing.assert_allclose(panel[nm.SIGNAL_VALUE][:, 0], (left / left[rows].std())[reach], atol=1e-10)
    assert float(panel[nm.BEYOND_SLOPE][0]) == pytest.approx(fitted.params["gld"], rel=1e-10)
    # The intercept is the constant that was subtracted.
    assert float(panel[nm.center_of(nm.SIGNAL)][0]) == pytest.approx(fitted.params["const"], abs=1e-12)
    assert len(reach) == len(rows) + 4


@pytest.mark.parametrize("kind", ["gain", "difference", "level"])
def test_the_other_column_is_transformed_in_the_same_way(kind):
    periods = 1 if kind == "level" else 5
    panel = make_panel(spec_of(signals=(replace(BEYOND, transform=kind, periods=periods),)), W, end=W.index[90])
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    change = {
        "level": W,
        "difference": W.diff(periods),
        "gain": np.log(W[["slv", "gld"]]).diff(periods).clip(lower=0.0),
    }[kind].loc[rows]
    fitted = sm.OLS(change["slv"], sm.add_constant(change["gld"])).fit()
    assert float(panel[nm.BEYOND_SLOPE][0]) == pytest.approx(fitted.params["gld"], rel=1e-8)
    np.testing.assert_allclose(panel[nm.SIGNAL_VALUE][4:, 0], fitted.resid / fitted.resid.std(), atol=1e-8)


@pytest.mark.parametrize("change", ["noise", "blank", "cut", "huge"])
@given(seed=st.integers(0, 1000), row=st.integers(0, 25))
@settings(max_examples=5, deadline=None)
@pytest.mark.parametrize("frequency", ["W-FRI", "trading"])
def test_nothing_dated_after_the_end_changes_the_signal_or_its_slope(frequency, seed, row, change):
    spec = spec_of(signals=(BEYOND, Signal("gold", "gld", kernel=KERNEL)), frequency=frequency)
    frame = daily(seed)
    end = to_frequency(frame, "W-FRI").index[25 + row]
    changed, after = frame.copy(), frame.index > end
    if change == "noise":
        changed[after] = np.random.default_rng(seed + 1).normal(size=changed[after].shape)
    elif change == "blank":
        changed[after] = np.nan
    elif change == "huge":
        changed[after] = 1e12
    else:
        changed = changed[~after]
    one, two = (make_panel(spec, source, end=end) for source in (frame, changed))
    assert panel_hash(one) == panel_hash(two)
    xr.testing.assert_equal(one, two)


def test_an_earlier_end_learns_another_slope_and_history_teaches_none():
    spec = spec_of(signals=(BEYOND,))
    first = W.index[20]
    slopes = {}
    for end in (W.index[80], W.index[-1]):
        slopes[end] = float(make_panel(spec, W, start=first, end=end)[nm.BEYOND_SLOPE][0])
        assert slopes[end] == pytest.approx(regression(W, W[first:end].index)[1].params["gld"], rel=1e-10)
    assert abs(slopes[W.index[80]] - slopes[W.index[-1]]) > 1e-3
    other = W.copy()
    other.loc[: W.index[18], "slv"] *= np.exp(np.random.default_rng(1).normal(size=19))
    assert float(make_panel(spec, other, start=first)[nm.BEYOND_SLOPE][0]) == slopes[W.index[-1]]


@pytest.mark.slow
def test_the_slope_is_kept_described_and_explained(tmp_path):
    spec = spec_of(signals=(BEYOND, Signal("gold", "gld", kernel=KERNEL)))
    panel = make_panel(spec, W)
    slope = float(panel[nm.BEYOND_SLOPE].sel(signal="silver"))
    assert np.isnan(panel[nm.BEYOND_SLOPE].sel(signal="gold"))
    table = describe_panel(panel)
    assert table.loc[("signal", "silver"), "column"] == "slv beyond gld"
    assert table.loc[("signal", "silver"), "beyond_slope"] == slope
    assert table["beyond_slope"].notna().sum() == 1
    assert any(
        f"silver beyond gld: slv moves by {slope:.3g} % with 1 % of gld" in note for note in table.attrs["notes"]
    )
    panel.to_netcdf(tmp_path / "panel.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "panel.nc", engine="h5netcdf") as loaded:
        check_panel(spec, loaded)
        assert panel_hash(loaded.load()) == panel_hash(panel)


def test_check_panel_compares_the_slope_with_the_spec():
    spec = spec_of(signals=(BEYOND,))
    panel = make_panel(spec, W)
    check_panel(spec, panel.drop_vars(nm.BEYOND_SLOPE))
    with pytest.raises(PanelError, match=nm.BEYOND_SLOPE):
        check_panel(spec, panel.assign({nm.BEYOND_SLOPE: (nm.SIGNAL, [np.nan])}))
    with pytest.raises(PanelError, match=nm.BEYOND_SLOPE):
        check_panel(spec_of(), panel)
    with pytest.raises(PanelError, match="beyond = 'gld', now 'btc'"):
        check_panel(spec_of(signals=(replace(SILVER, beyond="btc"),)), panel)


def test_nothing_lies_beyond_a_constant_or_a_double():
    spec = spec_of(signals=(BEYOND,))
    flat = W.assign(gld=np.exp(0.01 * np.arange(len(W))))
    refused(spec, flat, "'slv' beyond 'gld'", "log_return of column 'gld' is 0.01 on every row", "drop beyond")
    refused(spec, W.assign(gld=W["slv"] ** 2), "'slv' beyond 'gld'", "0.5 times", "drop the signal")


def test_a_missing_value_of_the_other_column_is_an_error_that_names_it():
    frame = W.copy()
    frame.loc[frame.index[50], "gld"] = np.nan
    refused(spec_of(signals=(BEYOND,)), frame, f"no 'gld' on the rows {frame.index[50].date()};", "fill column 'gld'")
    frame = W.copy()
    frame.loc[: frame.index[30], "gld"] = np.nan
    spec = spec_of(signals=(BEYOND,))
    assert make_panel(spec, frame).attrs["start"] == str(frame.index[36].date())
    refused(spec, frame, "'slv' beyond 'gld'", f"start on {frame.index[36].date()}", start=frame.index[20])
    refused(spec, W.drop(columns="gld"), "no column 'gld'")


# ---- gains, losses and new highs


@given(seed=st.integers(0, 1000), periods=st.integers(1, 20), holes=st.floats(0.0, 0.3))
@settings(max_examples=30, deadline=None)
def test_a_gain_is_what_a_loop_over_rows_finds(seed, periods, holes):
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0.0, 0.1, 60).cumsum())
    level[rng.random(60) < holes] = np.nan
    gain = transform(level, "gain", periods)
    for t in range(60):
        now, then = level[t], level[t - periods] if t >= periods else np.nan
        if np.isnan(now) or np.isnan(then):
            assert np.isnan(gain[t])
        else:
            assert gain[t] == pytest.approx(np.log(now / then) if now > then else 0.0, abs=1e-14)


def test_signals_and_controls_may_be_gains_over_rows_that_overlap():
    spec = spec_of(
        signals=(replace(SILVER, transform="gain", periods=13, contemporaneous=False),),
        controls=(Control("gold", "gld", "gain", 13),),
    )
    panel = make_panel(spec, W)
    reach = pd.DatetimeIndex(panel[nm.SIGNAL_TIME].to_numpy())
    gains = np.log(W[["slv", "gld"]] / W[["slv", "gld"]].shift(13)).clip(lower=0.0)
    np.testing.assert_allclose(natural(panel, nm.SIGNAL)["silver"], gains["slv"][reach], atol=1e-12)
    np.testing.assert_allclose(natural(panel, nm.CONTROL)["gold"], gains["gld"][reach[4:]], atol=1e-12)
    assert (gains["slv"][reach] == 0.0).any()
    assert reach[0] == W.index[13]
    assert describe_panel(panel).loc[("signal", "silver"), "transform"] == "gain over 13 weeks"
    falling = W.assign(slv=np.exp(-(np.arange(len(W)) ** 1.1)))
    refused(spec, falling, "'slv'", "is 0 on every row")


@given(seed=st.integers(0, 1000), periods=st.integers(2, 20), holes=st.floats(0.0, 0.1))
@settings(max_examples=30, deadline=None)
def test_losses_and_new_highs_are_what_a_loop_over_rows_finds(seed, periods, holes):
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(0.0, 0.1, 60).cumsum())
    level[rng.random(60) < holes] = np.nan
    loss, high = (transform(level, kind, periods) for kind in ("loss", "new_high"))
    for t in range(60):
        then = level[t - periods] if t >= periods else np.nan
        assert loss[t] == pytest.approx(
            min(np.log(level[t] / then), 0.0) if level[t] + then > 0 else np.nan, nan_ok=True
        )
        known = [level[t - back] if t >= back else np.nan for back in range(1, periods + 1)]
        if np.isnan([level[t], *known]).any():
            assert np.isnan(high[t])
        else:
            assert high[t] == pytest.approx(max(np.log(level[t]) - np.log(max(known)), 0.0), abs=1e-14)
    both = transform(level, "gain", periods) + loss
    np.testing.assert_allclose(both, transform(level, "log_return", periods), atol=1e-14)


def parts_of(**changes) -> ModelSpec:
    """Silver's gain, its loss and its new highs over eight weeks."""
    kinds = {"silver gain": ("gain", 1), "silver loss": ("loss", 1), "silver high": ("new_high", 8)}
    signals = [replace(SILVER, name=name, transform=kind, periods=n) for name, (kind, n) in kinds.items()]
    return spec_of(signals=tuple(replace(one, **changes) for one in signals))


def expected_parts(level: pd.Series) -> dict[str, pd.Series]:
    change = np.log(level).diff()
    above = np.log(level / level.shift().rolling(8).max())
    return {
        "silver gain": change.clip(lower=0),
        "silver loss": change.clip(upper=0),
        "silver high": above.clip(lower=0),
    }


@pytest.mark.parametrize("against", ["", "gld"])
def test_a_panel_holds_gains_losses_and_new_highs_from_the_first_row_that_can_have_them(against):
    panel = make_panel(parts_of(against=against), W)
    held = natural(panel, nm.SIGNAL)
    # The maximum is one of the ratio, which the two maxima do not give.
    for name, values in expected_parts(W["slv"] / W["gld"] if against else W["slv"]).items():
        np.testing.assert_allclose(held[name], values[held.index], atol=1e-12)
    assert held.index[0] == W.index[8]
    assert describe_panel(panel).loc[(nm.SIGNAL, "silver high"), "transform"] == "new high over 8 weeks"


def test_a_new_high_beyond_another_column_is_a_residual_on_its_new_highs():
    panel = make_panel(spec_of(signals=(replace(BEYOND, transform="new_high", periods=8),)), W)
    own, other = (expected_parts(W[name])["silver high"] for name in ("slv", "gld"))
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    fitted = sm.OLS(own[rows], sm.add_constant(other[rows])).fit()
    np.testing.assert_allclose(panel[nm.SIGNAL_VALUE][4:, 0], fitted.resid / fitted.resid.std(), atol=1e-8)


def test_a_missing_price_leaves_no_new_high_until_the_window_has_passed_it():
    frame, hole = W.copy(), W.index[50]
    frame.loc[hole, "slv"] = np.nan
    only = replace(SILVER, transform="new_high", periods=8)
    refused(spec_of(signals=(only,)), frame, f"no 'slv' on the rows {hole.date()};" if only.against else "none on the")
    # Eight rows after it, the window no longer holds it.
    after = make_panel(spec_of(signals=(only,)), frame, start=W.index[50 + 8 + 1 + 4])
    assert pd.Timestamp(after[nm.SIGNAL_TIME].to_numpy()[0]) == W.index[50 + 8 + 1]
    refused(spec_of(signals=(only,)), frame, str(hole.date()), start=W.index[50 + 8 + 4])


def test_a_delayed_new_high_is_one_of_published_prices():
    frame = daily()
    late = replace(SILVER, transform="new_high", periods=8, delay="7D")
    held = natural(make_panel(spec_of(signals=(late,)), frame), nm.SIGNAL)["silver"]
    rows = to_frequency(frame, "W-FRI").index
    known = pd.Series({row: frame.loc[: row - pd.Timedelta(days=7), "slv"].dropna().iloc[-1:].max() for row in rows})
    np.testing.assert_allclose(held, expected_parts(known)["silver high"][held.index], atol=1e-12)


def test_values_under_a_scenario_go_on_where_the_panel_ends():
    """A forecast's covariates are those of a longer panel whose prices follow the scenario."""
    spec = parts_of()
    panel = make_panel(spec, W, end=W.index[-11])
    ahead = scenario(panel, horizon=10, factors={"slv": 1.4}, over=5)
    (future,) = future_panels(spec, panel, [scenario_levels(panel, ahead, 10)], 10)
    values = future[nm.SIGNAL_VALUE][-10:] * panel[nm.scale_of(nm.SIGNAL)] + panel[nm.center_of(nm.SIGNAL)]
    level = pd.concat([W["slv"].iloc[:-10], ahead["slv"]])
    for name, one in expected_parts(level).items():
        np.testing.assert_allclose(values.sel(signal=name), one.iloc[-10:], atol=1e-10)


# ---- trading dates


def trading(**changes) -> ModelSpec:
    return spec_of(frequency="trading", **changes)


def test_rows_are_the_dates_on_which_all_that_stand_by_their_close_were_observed():
    frame = daily()
    frame.loc["2020-04-10", "slv"] = np.nan
    frame.loc["2020-05-25", "tips"] = np.nan
    frame.loc["2020-06-10", "btc"] = np.nan
    panel = make_panel(trading(), frame)
    rows = pd.DatetimeIndex(panel[nm.SIGNAL_TIME].to_numpy())
    expected = frame[["btc", "slv", "tips"]].dropna().index
    assert rows.equals(expected[expected >= rows[0]])
    assert panel.attrs["end"] == str(expected[-1].date())
    check_panel(trading(), panel)
    assert panel.attrs["frequency"] == "trading"
    returns = natural(panel, nm.RESPONSE)["bitcoin"]
    # From Thursday 9 April over Good Friday and the weekend to Monday the 13th.
    assert returns["2020-04-13"] == pytest.approx(
        np.log(frame.loc["2020-04-13", "btc"] / frame.loc["2020-04-09", "btc"])
    )
    level = np.log(frame.loc[expected, "btc"]).diff()
    np.testing.assert_allclose(returns, level[returns.index], atol=1e-12)
    assert np.isfinite(panel[nm.RESPONSE_VALUE]).all()


def test_drivers_and_delayed_series_do_not_make_rows_and_stand_as_published():
    frame = daily()
    frame["money"] = np.nan
    mondays = frame.index[frame.index.day_of_week == 0]
    frame.loc[mondays, "money"] = np.exp(np.random.default_rng(3).normal(0, 0.01, len(mondays)).cumsum())
    frame.loc["2020-07-15", ["tips", "gld"]] = np.nan
    late = Control("money", "money", "log_return", 5, "28D")
    slow = Signal("gold", "gld", delay="1B", kernel=KERNEL)
    panel = make_panel(trading(controls=(late,), signals=(SILVER, slow)), frame)
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    expected = frame[["btc", "slv"]].dropna().index
    assert rows.equals(expected[expected >= rows[0]])
    assert pd.Timestamp("2020-07-15") in rows
    dates = panel[nm.DRIVER_DATE].to_pandas()["real yield"]
    assert (dates + pd.offsets.BDay(1) <= dates.index).all()
    assert dates["2020-07-16"] == pd.Timestamp("2020-07-14")
    level = pd.Series(
        {row: frame.loc[: row - pd.Timedelta(days=28), "money"].dropna().iloc[-1:].sum() for row in expected}
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log(level).diff(5)
    np.testing.assert_allclose(natural(panel, nm.CONTROL)["money"], change[rows], atol=1e-12)


@pytest.mark.slow
@given(seed=st.integers(0, 1000), holes=st.floats(0.0, 0.2))
@settings(max_examples=15, deadline=None)
def test_trading_dates_match_a_loop_and_never_use_a_later_value(seed, holes):
    frame = daily(seed, 200)
    frame = frame.mask(np.random.default_rng(seed).random(frame.shape) < holes)
    spec = trading(drivers=())
    seen = [day for day in frame.index if not frame.loc[day, ["btc", "slv", "tips"]].isna().any()]
    assume(all(two - one <= pd.Timedelta(days=10) for one, two in itertools.pairwise(seen)))
    panel = make_panel(spec, frame)
    rows = pd.DatetimeIndex(panel[nm.SIGNAL_TIME].to_numpy())
    assert list(rows) == seen[len(seen) - len(rows) :]
    t = rows[len(rows) // 2]
    changed = frame.copy()
    changed[frame.index > t] += 1.0
    for role in (nm.RESPONSE, nm.SIGNAL, nm.CONTROL):
        one, two = (natural(make_panel(spec, source), role).loc[:t] for source in (frame, changed))
        np.testing.assert_allclose(one, two, atol=1e-12)


def test_trading_rows_are_told_apart_and_explained():
    frame = daily()
    panel = make_panel(trading(), frame, start="2020-02-03", end="2020-12-31")
    notes = describe_panel(panel).attrs["notes"]
    window = frame["2020-02-03":"2020-12-31"]
    passed = len(window) - len(window.dropna())
    assert any(f"{passed} other dates with 'btc'" in note and "up to 3 days" in note for note in notes)
    assert not any("left out" in note for note in notes)
    for other in ("W-FRI", "B", "D"):
        with pytest.raises(PanelError, match="frequency"):
            check_panel(spec_of(frequency=other), panel)
    with pytest.raises(PanelError, match=r"roles in a spec[\s\S]*dropna"):
        to_frequency(frame, "trading")


def test_weekly_data_have_weekly_trading_dates():
    one, two = make_panel(trading(), W), make_panel(spec_of(), W)
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        xr.testing.assert_equal(one[nm.value_of(role)], two[nm.value_of(role)])


def test_what_came_before_the_first_trading_date_does_not_stand_on_it():
    """A second response need not be observed on a trading date, but an old price is none of its first row."""
    frame = daily().assign(eth=1.0)
    frame.loc["2020-03-02":, "eth"] = 2.0
    frame.loc["2020-03-02", "eth"] = np.nan
    frame.loc[:"2020-02-28", "slv"] = np.nan
    responses = (Response("bitcoin", "btc"), Response("ether", "eth"))
    spec = SimpleNamespace(responses=responses, signals=(SILVER,), drivers=(), controls=(), frequency="trading")
    rows = trading_dates(frame, ("btc", "slv"))
    assert rows[0] == pd.Timestamp("2020-03-02")
    ether = align_series(spec, frame, rows)[1]
    np.testing.assert_array_equal(ether.legs["eth"].level[:3], [np.nan, 2.0, 2.0])
    np.testing.assert_array_equal(ether.value[:3], [np.nan, np.nan, 0.0])


def test_a_hole_among_trading_dates_is_an_error_unless_the_window_is_clear_of_it():
    frame = daily()
    frame.loc["2020-08-03":"2020-08-14", "slv"] = np.nan
    refused(trading(), frame, "between 2020-07-31 and 2020-08-17", "10 days apart", "longer frequency")
    # Four rows of history, whose first return begins on the first row after the hole.
    assert make_panel(trading(), frame, start="2020-08-24").attrs["start"] == "2020-08-24"
    refused(trading(), frame, "between 2020-07-31 and 2020-08-17", start="2020-08-21")
    assert make_panel(trading(), frame, end="2020-07-31").attrs["end"] == "2020-07-31"
    frame.loc["2020-08-07", "slv"] = 20.0
    make_panel(trading(), frame)


def test_trading_windows_lie_within_the_data():
    frame = daily()
    frame.loc["2021-01-01":, "slv"] = np.nan
    last = "2020-12-31"
    assert make_panel(trading(), frame).attrs["end"] == last
    assert make_panel(trading(), frame, end="2021-01-03").attrs["end"] == last
    refused(trading(), frame, "2020-12-31", "leave end out", end="2021-01-31")
    refused(trading(), frame, "2020-01-01", "start on 2020-01-08", start="2019-06-01")
    frame["slv"] = frame["slv"].where(frame.index.day_of_week >= 5)
    refused(trading(), frame, "btc, slv, tips", "share a calendar")


# ---- controls that come late, and at another frequency

MONEY = Control("money", "money", "log_return", 52, "56D")


def with_money(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame joined to a weekly series dated on Mondays that begins two years before it."""
    mondays = pd.date_range("2018-01-01", frame.index[-1], freq="W-MON", name="date")
    steps = np.random.default_rng(5).normal(0.001, 0.003, len(mondays))
    return frame.join(pd.DataFrame({"money": 1e4 * np.exp(steps.cumsum())}, index=mondays), how="outer")


def published(column: pd.Series, rows: pd.DatetimeIndex) -> pd.Series:
    """What stood in print on each row, 56 days late, by a loop."""
    column = column.dropna()
    return pd.Series({row: column[column.index <= row - pd.Timedelta(days=56)].iloc[-1] for row in rows})


@pytest.mark.parametrize("source", [weekly, daily], ids=["weekly", "daily"])
def test_a_control_that_comes_eight_weeks_late_stands_as_published(source):
    frame = with_money(source())
    spec = spec_of(controls=(Control("real yield", "tips"), MONEY))
    panel = make_panel(spec, frame)
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    fridays = pd.date_range("2018-06-01", rows[-1], freq="W-FRI")
    expected = np.log(published(frame["money"], fridays)).diff(52)
    np.testing.assert_allclose(natural(panel, nm.CONTROL)["money"], expected[rows], atol=1e-12)
    alone = make_panel(spec_of(), source())
    assert alone.attrs["start"] == panel.attrs["start"]
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER):
        xr.testing.assert_equal(panel[nm.value_of(role)], alone[nm.value_of(role)])
    notes = describe_panel(panel).attrs["notes"]
    # Friday's money is of the Monday 60 days before.
    assert any("control 'money'" in note and "delay 56D" in note and "60 days old" in note for note in notes)
    assert any("within a period cannot be detected" in note for note in notes) == (source is weekly)


def test_money_that_stopped_coming_is_stale_and_money_not_yet_there_is_named():
    frame = with_money(weekly())
    spec = spec_of(controls=(MONEY,))
    stopped = frame.copy()
    stopped.loc["2021-06-01":, "money"] = np.nan
    error = refused(spec, stopped, "control 'money'", "'money'", "delay 56D", "dated 2021-05-31", end=frame.index[-1])
    # Monday 31 May is published on 26 July and serves 14 days.
    assert "2021-08-13" in str(error)
    assert "2021-08-06" not in error.came
    late = frame.copy()
    late.loc[:"2019-12-31", "money"] = np.nan
    error = refused(spec, late, "control 'money' (column 'money') begins on", start="2020-06-05")
    possible = error.cure.split("start on ")[1][:10]
    assert make_panel(spec, late, start=possible).attrs["start"] == possible
    # Mondays have no row in a frame of Fridays: a join that keeps its dates alone loses the series.
    lost = weekly().join(frame[["money"]].loc[lambda f: f.index.day_of_week == 0], how="left")
    refused(spec, lost, "control 'money'", "no value")


@needs_data
@pytest.mark.parametrize("name", ["weekly", "daily"])
def test_real_money_supply_comes_late_on_weekly_rows(name):
    money = read_series(DATA / "m2_weekly.csv")
    frame = read_series(DATA / f"btc_silver_{name}.csv").join(money, how="outer")
    control = Control("money supply", "m2_nsa_bn", "log_return", 52, "56D")
    spec = ModelSpec("money", (Response("bitcoin", "btc_usd"),), (Signal("silver", "silver_usd"),), controls=(control,))
    panel = make_panel(spec, frame, start="2013-01-01")
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    assert len(rows) == 682
    expected = np.log(published(money["m2_nsa_bn"], pd.date_range("2011-06-03", rows[-1], freq="W-FRI"))).diff(52)
    np.testing.assert_allclose(natural(panel, nm.CONTROL)["money supply"], expected[rows], atol=1e-12)
    assert describe_panel(panel).loc[("control", "money supply"), "delay"] == "56D"


@needs_data
def test_trading_rows_of_the_real_daily_file():
    frame = read_series(DATA / "btc_silver_daily.csv")
    signals = (Signal("silver", "silver_usd", beyond="gold_usd"),)
    controls = (Control("real yield", "real_yield_10y"), Control("equities", "spy_usd", "log_return"))
    spec = ModelSpec("daily", (Response("bitcoin", "btc_usd"),), signals, (), controls, frequency="trading")
    panel = make_panel(spec, frame, start="2013-01-01")
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    kept = frame[["btc_usd", "silver_usd", "gold_usd", "real_yield_10y", "spy_usd"]].dropna()
    assert rows.equals(kept["2013-01-01":].index)
    expected = np.log(kept["btc_usd"]).diff()[rows]
    np.testing.assert_allclose(natural(panel, nm.RESPONSE)["bitcoin"], expected, atol=1e-12)
