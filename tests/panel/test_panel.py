"""make_panel and its kin: rows, timing, windows, units, and what is refused."""

from __future__ import annotations

import copy
import datetime as dt
import doctest
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from regimelag.errors import PanelError
from regimelag.panel import rows as rows_module
from regimelag.panel.make import check_panel, describe_panel, make_panel, panel_hash
from regimelag.panel.read import read_series
from regimelag.panel.rows import to_frequency
from regimelag.spec import names as nm
from regimelag.spec.kernels import Gamma, NoLag
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.parts import Episodes
from regimelag.spec.series import Control, Driver, Response, Signal
from regimelag.spec.toml import read_spec

DATA = Path(os.environ.get("REGIMELAG_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real panels are not in {DATA}; set REGIMELAG_DATA")


def spec_of(**changes) -> ModelSpec:
    """A small model with every role; history of 4 rows."""
    parts = {
        "name": "small",
        "responses": (Response("bitcoin", "btc"),),
        "signals": (Signal("silver", "slv", kernel=Gamma(mean_lag=2.0, mean_lag_sd=1.0, spread=1.0, spread_sd=0.5)),),
        "drivers": (
            Driver("real yield", "tips", periods=3, delay="1B"),
            Driver("dollar", "usd", transform="log_return", periods=3, delay="W-MON"),
        ),
        "controls": (Control("real yield", "tips"),),
        "max_lag": 4,
        "episodes": Episodes(starts=(dt.date(2021, 7, 1),), names=("early", "late")),
    }
    return ModelSpec(**(parts | changes))


def daily(seed: int = 0, days: int = 400) -> pd.DataFrame:
    """Daily levels from Wednesday 1 January 2020: Bitcoin on every day, the others on weekdays."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2020-01-01", periods=days, name="date")
    walk = rng.normal(0.0, 0.02, (days, 4)).cumsum(axis=0)
    frame = pd.DataFrame(
        {"btc": np.exp(walk[:, 0]), "slv": np.exp(walk[:, 1]), "tips": walk[:, 2], "usd": np.exp(walk[:, 3])},
        index=index,
    )
    frame.loc[index.day_of_week >= 5, ["slv", "tips", "usd"]] = np.nan
    return frame


def weekly(seed: int = 0, weeks: int = 120) -> pd.DataFrame:
    return to_frequency(daily(seed, 7 * weeks + 3), "W-FRI")


def natural(panel: xr.Dataset, role: str) -> pd.DataFrame:
    return (panel[nm.value_of(role)] * panel[nm.scale_of(role)] + panel[nm.center_of(role)]).to_pandas()


# ---- reduction to rows


@needs_data
def test_the_weekly_file_is_rebuilt_from_the_daily_one_exactly():
    days, weeks = (read_series(DATA / f"btc_silver_{name}.csv") for name in ("daily", "weekly"))
    pd.testing.assert_frame_equal(to_frequency(days, "W-FRI"), weeks, check_exact=True, check_freq=False)
    pd.testing.assert_frame_equal(to_frequency(weeks, "W-FRI"), weeks, check_exact=True, check_freq=False)


@pytest.mark.parametrize("frequency", ["D", "B", "W-FRI", "W-WED", "ME", "QE"])
@given(seed=st.integers(0, 1000), holes=st.floats(0, 0.95))
@settings(max_examples=10, deadline=None)
def test_reduction_matches_a_loop_over_periods(frequency, seed, holes):
    rng = np.random.default_rng(seed)
    frame = daily(seed, 200)
    frame = frame.mask(rng.random(frame.shape) < holes)
    reduced = to_frequency(frame, frequency)
    before = pd.Timestamp("1900-01-01")
    for row in reduced.index:
        inside = frame[(frame.index > before) & (frame.index <= row)]
        for column in frame:
            seen = inside[column].dropna()
            expected = seen.iloc[-1] if len(seen) else np.nan
            np.testing.assert_equal(reduced.loc[row, column], expected)
        before = row


def test_weeks_run_from_saturday_to_friday_and_carry_nothing_over():
    dates = ["2021-01-02", "2021-01-07", "2021-01-08", "2021-01-14", "2021-01-22"]
    frame = pd.DataFrame(
        {"a": [1.0, 2.0, np.nan, 3.0, np.nan], "b": [1.0, 1.0, 4.0, np.nan, 5.0]}, index=pd.to_datetime(dates)
    )
    reduced = to_frequency(frame, "W-FRI")
    assert [str(d.date()) for d in reduced.index] == ["2021-01-08", "2021-01-15", "2021-01-22"]
    np.testing.assert_array_equal(reduced["a"], [2.0, 3.0, np.nan])
    np.testing.assert_array_equal(reduced["b"], [4.0, np.nan, 5.0])


def test_an_unfinished_last_period_is_left_out_and_recorded():
    frame = daily()
    cut = frame[:"2021-01-07"]
    assert to_frequency(cut, "W-FRI").index[-1] == pd.Timestamp("2021-01-01")
    assert to_frequency(frame[:"2021-01-08"], "W-FRI").index[-1] == pd.Timestamp("2021-01-08")
    blank = cut.reindex(pd.date_range("2020-01-01", "2021-06-30"))
    assert to_frequency(blank, "W-FRI").index[-1] == pd.Timestamp("2021-01-01")
    notes = describe_panel(make_panel(spec_of(), cut)).attrs["notes"]
    assert any("2021-01-08 was left out" in note and "2021-01-07" in note for note in notes)
    ended = describe_panel(make_panel(spec_of(), cut, end="2020-12-18")).attrs["notes"]
    assert not any("left out: the last" in note for note in ended)


def test_business_days_reach_back_over_the_weekend():
    reduced = to_frequency(daily()[["btc", "slv"]], "B")
    assert set(reduced.index.day_of_week) == {0, 1, 2, 3, 4}
    no_monday = daily()[["btc"]].drop(pd.Timestamp("2020-01-06"))
    assert to_frequency(no_monday, "B").loc["2020-01-06", "btc"] == no_monday.loc["2020-01-05", "btc"]


def test_to_frequency_keeps_the_frame_and_refuses_other_frequencies():
    frame = daily()
    before = frame.copy(deep=True)
    to_frequency(frame, "W-FRI")
    pd.testing.assert_frame_equal(frame, before)
    nearest = {"h": "D", "2W-FRI": "W-FRI", "MS": "ME", "24h": "D", "7D": "W-FRI", "fortnight": "W-FRI", "": "W-FRI"}
    for frequency, near in nearest.items():
        with pytest.raises(PanelError, match=f'write "{near}"') as caught:
            to_frequency(frame, frequency)
        assert repr(frequency) in str(caught.value)


def test_examples_in_docstrings_hold():
    assert doctest.testmod(rows_module).failed == 0


# ---- timing


def test_drivers_hold_what_was_published_by_the_rows_friday_from_daily_input():
    frame = daily()
    panel = make_panel(spec_of(), frame)
    friday = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    dates = panel[nm.DRIVER_DATE]
    thursday, last_friday = friday - pd.Timedelta(days=1), friday - pd.Timedelta(days=7)
    assert (pd.DatetimeIndex(dates.sel(driver="real yield").to_numpy()) == thursday).all()
    assert (pd.DatetimeIndex(dates.sel(driver="dollar").to_numpy()) == last_friday).all()
    held = natural(panel, nm.DRIVER)
    back = pd.Timedelta(weeks=3)
    yields = frame.loc[thursday, "tips"].to_numpy() - frame.loc[thursday - back, "tips"].to_numpy()
    dollar = np.log(frame.loc[last_friday, "usd"].to_numpy() / frame.loc[last_friday - back, "usd"].to_numpy())
    np.testing.assert_allclose(held["real yield"], yields, atol=1e-13)
    np.testing.assert_allclose(held["dollar"], dollar, atol=1e-13)


def test_weekly_input_rounds_delays_up_to_whole_rows():
    frame = weekly()
    panel = make_panel(spec_of(), frame)
    dates = panel[nm.DRIVER_DATE].to_pandas()
    for driver in ("real yield", "dollar"):
        assert (dates.index - dates[driver] == pd.Timedelta(days=7)).all()
    expected = frame["tips"].diff(3).shift(1).reindex(dates.index)
    np.testing.assert_allclose(natural(panel, nm.DRIVER)["real yield"], expected, atol=1e-13)


def test_a_driver_without_delay_holds_its_own_close_and_the_panel_does_not_shift():
    frame = weekly()
    spec = spec_of(drivers=(Driver("real yield", "tips", periods=3),))
    held = natural(make_panel(spec, frame), nm.DRIVER)["real yield"]
    np.testing.assert_allclose(held, frame["tips"].diff(3).reindex(held.index), atol=1e-13)


def test_a_holiday_moves_what_was_known():
    frame = daily()
    # Thursday 10 December 2020 closed: on Friday the last yield known is Wednesday's.
    frame.loc["2020-12-10", ["slv", "tips", "usd"]] = np.nan
    # Friday 4 December closed: what came out on Monday the 7th ends on Thursday the 3rd.
    frame.loc["2020-12-04", ["slv", "tips", "usd"]] = np.nan
    panel = make_panel(spec_of(), frame)
    dates = panel[nm.DRIVER_DATE].sel(time="2020-12-11").to_pandas()
    assert dates["real yield"] == pd.Timestamp("2020-12-09")
    assert dates["dollar"] == pd.Timestamp("2020-12-03")


def test_a_delayed_control_and_signal_hold_what_was_published():
    frame = daily()
    spec = spec_of(controls=(Control("real yield", "tips", delay="1B"),))
    held = natural(make_panel(spec, frame), nm.CONTROL)["real yield"]
    thursday = held.index - pd.Timedelta(days=1)
    expected = frame.loc[thursday, "tips"].to_numpy() - frame.loc[thursday - pd.Timedelta(days=7), "tips"].to_numpy()
    np.testing.assert_allclose(held, expected, atol=1e-13)


def test_stale_drivers_are_an_error_that_names_driver_and_date():
    frame = daily()
    frame.loc["2020-08-03":"2020-08-28", "tips"] = np.nan
    spec = spec_of(controls=())
    with pytest.raises(PanelError) as caught:
        make_panel(spec, frame)
    message = str(caught.value)
    # The last yield, Friday 31 July's, is published on 3 August and may serve 14 days, to the row of 14 August.
    for part in ("driver 'real yield'", "column 'tips'", "2020-08-21, 2020-08-28", "14 days", "delay 1B"):
        assert part in message
    assert "2020-08-14" not in message
    frame.loc["2020-08-14", "tips"] = 0.1
    make_panel(spec, frame)


def test_a_monthly_driver_on_weekly_rows_is_not_stale():
    frame = daily(days=800)
    monthly = frame.index.is_month_end
    frame.loc[~monthly, "usd"] = np.nan
    frame.loc[monthly, "usd"] = np.exp(np.random.default_rng(1).normal(0.0, 0.1, monthly.sum()))
    spec = spec_of(drivers=(Driver("dollar", "usd", transform="log_return", delay="28D", periods=13),))
    panel = make_panel(spec, frame)
    age = panel[nm.TIME] - panel[nm.DRIVER_DATE].sel(driver="dollar")
    assert int(age.min() / np.timedelta64(1, "D")) >= 28
    assert describe_panel(panel).loc[("driver", "dollar"), "age_days"] > 28


@needs_data
def test_timing_on_the_real_files():
    spec = read_spec("btc_silver")
    days, weeks = (read_series(DATA / f"btc_silver_{name}.csv") for name in ("daily", "weekly"))
    exact, rounded = (make_panel(spec, frame, start="2013-01-01") for frame in (days, weeks))
    assert exact.sizes[nm.TIME] == rounded.sizes[nm.TIME] == 682
    last = exact[nm.DRIVER_DATE].isel(time=-1).to_pandas()
    assert last["real yield"] == pd.Timestamp("2026-01-22")
    assert last["dollar"] == pd.Timestamp("2026-01-16")
    for role in (nm.RESPONSE, nm.SIGNAL, nm.CONTROL):
        xr.testing.assert_equal(exact[nm.value_of(role)], rounded[nm.value_of(role)])
    np.testing.assert_array_equal(
        exact[nm.DRIVER_VALUE].sel(driver="dollar"), rounded[nm.DRIVER_VALUE].sel(driver="dollar")
    )
    assert not np.array_equal(exact[nm.DRIVER_VALUE], rounded[nm.DRIVER_VALUE])
    assert len(json.loads(exact.attrs["closes_differ"])["silver_usd"]) == 22
    table = describe_panel(rounded)
    returns = pd.Series(np.log(weeks["btc_usd"])).diff()["2013-01-01":]
    assert table.loc[("response", "bitcoin"), "sd"] == pytest.approx(returns.std(), rel=1e-12)


@pytest.mark.parametrize("change", ["noise", "blank", "cut", "huge"])
@given(seed=st.integers(0, 1000), row=st.integers(0, 25))
@settings(max_examples=6, deadline=None)
def test_nothing_dated_after_the_end_changes_anything(seed, row, change):
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
    one, two = (make_panel(spec_of(), source, end=end) for source in (frame, changed))
    assert panel_hash(one) == panel_hash(two)
    xr.testing.assert_equal(one, two)


@pytest.mark.slow
@given(seed=st.integers(0, 1000), row=st.integers(25, 50))
@settings(max_examples=15, deadline=None)
def test_rows_up_to_t_do_not_know_later_values_beyond_the_constants(seed, row):
    frame = daily(seed)
    t = to_frequency(frame, "W-FRI").index[row]
    changed = frame.copy()
    changed[frame.index > t] *= np.random.default_rng(seed).uniform(0.5, 2.0, changed[frame.index > t].shape)
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        one, two = (natural(make_panel(spec_of(), source), role).loc[:t] for source in (frame, changed))
        np.testing.assert_allclose(one, two, atol=1e-12)


# ---- values, units and layout


def test_transforms_are_taken_on_the_rows():
    frame = weekly()
    spec = spec_of(
        responses=(Response("bitcoin", "btc"),),
        controls=(
            Control("yield", "tips", "level"),
            Control("two", "tips", "difference", 2),
            Control("usd", "usd", "log_return", 5),
        ),
    )
    panel = make_panel(spec, frame, start="2020-06-01", end="2021-12-31")
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    expected = {
        "yield": frame["tips"],
        "two": frame["tips"].diff(2),
        "usd": np.log(frame["usd"]).diff(5),
    }
    held = natural(panel, nm.CONTROL)
    for name, series in expected.items():
        np.testing.assert_allclose(held[name], series[rows], atol=1e-12)
    np.testing.assert_allclose(natural(panel, nm.RESPONSE)["bitcoin"], np.log(frame["btc"]).diff()[rows], atol=1e-12)


def test_constants_are_learned_on_the_window_alone():
    frame = weekly()
    frame.loc[:"2020-06-01", "slv"] *= np.exp(np.random.default_rng(0).normal(size=len(frame[:"2020-06-01"])))
    panel = make_panel(spec_of(), frame, start="2020-06-10", end="2021-12-31")
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    returns = np.log(frame["slv"]).diff()
    assert float(panel[nm.scale_of(nm.SIGNAL)][0]) == pytest.approx(returns[rows].std(), rel=1e-12)
    assert float(panel[nm.center_of(nm.SIGNAL)][0]) == pytest.approx(returns[rows].mean(), rel=1e-9)
    for role in (nm.RESPONSE, nm.DRIVER, nm.CONTROL):
        values = panel[nm.value_of(role)]
        np.testing.assert_allclose(values.mean(nm.TIME), 0.0, atol=1e-12)
        np.testing.assert_allclose(values.std(nm.TIME, ddof=1), 1.0, rtol=1e-12)
    reach = pd.DatetimeIndex(panel[nm.SIGNAL_TIME].to_numpy())
    np.testing.assert_allclose(natural(panel, nm.SIGNAL)["silver"], returns[reach], atol=1e-12)


def test_layout_and_attributes():
    spec = spec_of()
    panel = make_panel(spec, daily(), start="2020-03-01")
    assert panel[nm.RESPONSE_VALUE].dims == (nm.TIME, nm.RESPONSE)
    assert panel[nm.SIGNAL_VALUE].dims == (nm.SIGNAL_TIME, nm.SIGNAL)
    assert panel[nm.DRIVER_DATE].dtype == "datetime64[ns]"
    assert panel[nm.EPISODE_INDEX].dtype == np.int64
    np.testing.assert_array_equal(panel[nm.SIGNAL_TIME][spec.history :], panel[nm.TIME])
    assert panel.sizes[nm.SIGNAL_TIME] == panel.sizes[nm.TIME] + spec.history
    assert panel.attrs["start"] == "2020-03-06"
    assert json.loads(panel.attrs["columns"])["driver"] == {"real yield": "tips", "dollar": "usd"}
    assert all(isinstance(value, (str, int, float)) for value in panel.attrs.values())
    check_panel(spec, panel)


def test_a_model_with_a_response_alone_has_roles_of_length_zero(tmp_path):
    spec = ModelSpec("alone", (Response("bitcoin", "btc"),))
    panel = make_panel(spec, daily())
    assert [panel.sizes[role] for role in (nm.SIGNAL, nm.DRIVER, nm.CONTROL)] == [0, 0, 0]
    assert panel[nm.SIGNAL_VALUE].shape == (panel.sizes[nm.TIME], 0)
    assert panel[nm.EPISODE].to_numpy().tolist() == ["all"]
    check_panel(spec, panel)
    assert len(describe_panel(panel)) == 1
    panel.to_netcdf(tmp_path / "alone.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "alone.nc", engine="h5netcdf") as loaded:
        assert panel_hash(loaded) == panel_hash(panel)
        check_panel(spec, loaded)


def test_signals_without_a_lag_need_no_history():
    spec = spec_of(signals=(Signal("silver", "slv", kernel=NoLag()),), drivers=())
    panel = make_panel(spec, weekly())
    np.testing.assert_array_equal(panel[nm.SIGNAL_TIME], panel[nm.TIME])
    assert panel.attrs["start"] == str(weekly().index[1].date())


def test_by_default_the_window_is_as_long_as_it_can_be():
    frame = weekly()
    # Silver's first return is on row 1, with four rows before the window; the drivers begin on row 4 (3 and a delay).
    panel = make_panel(spec_of(), frame)
    assert panel.attrs["start"] == str(frame.index[5].date())
    assert panel.attrs["end"] == str(frame.index[-1].date())
    frame.loc[: frame.index[40], "btc"] = np.nan
    assert make_panel(spec_of(), frame).attrs["start"] == str(frame.index[42].date())


@pytest.mark.parametrize(
    "start",
    [
        "2020-03-06",
        dt.date(2020, 3, 2),
        dt.datetime(2020, 2, 29),
        pd.Timestamp("2020-03-06 12:00"),
        np.datetime64("2020-03-06"),
    ],
)
def test_start_and_end_are_inclusive_and_take_any_kind_of_date(start):
    panel = make_panel(spec_of(), daily(), start=start, end="2020-12-25")
    assert panel.attrs["start"] == "2020-03-06"
    assert panel.attrs["end"] == "2020-12-25"


def test_episodes_without_rows_drop_out_and_starts_are_inclusive():
    starts = (dt.date(2010, 1, 1), dt.date(2020, 5, 15), dt.date(2020, 5, 16), dt.date(2030, 1, 1))
    spec = spec_of(episodes=Episodes(starts=starts, names=("a", "b", "c", "d", "e")))
    panel = make_panel(spec, daily())
    assert panel[nm.EPISODE].to_numpy().tolist() == ["b", "c", "d"]
    index = panel[nm.EPISODE_INDEX].to_series()
    assert index["2020-05-08"] == 0
    assert index["2020-05-15"] == 1
    assert index["2020-05-22"] == 2
    assert any("a, e" in note for note in json.loads(panel.attrs["notes"]))


@pytest.mark.parametrize(("frequency", "rows"), [("ME", 36), ("D", 1000), ("B", 700)])
def test_other_frequencies(frequency, rows):
    frame = daily(days=1200)
    if frequency == "D":
        frame = frame.ffill()
    drivers = (Driver("real yield", "tips", periods=3, delay="1B"),)
    spec = spec_of(frequency=frequency, drivers=drivers)
    panel = make_panel(spec, frame, start="2020-02-01" if frequency != "ME" else None)
    assert panel.sizes[nm.TIME] >= rows - 10
    check_panel(spec, panel)
    known = panel[nm.DRIVER_DATE].sel(driver="real yield").to_series() + pd.offsets.BDay(1)
    assert (known <= known.index).all()


def test_daily_rows_need_signals_on_every_day_and_the_error_says_so():
    spec = spec_of(frequency="D", drivers=(), controls=())
    with pytest.raises(PanelError, match=r"inside its own period[\s\S]*column 'slv'"):
        make_panel(spec, daily(), start="2020-02-01")


def test_mixed_calendars_are_kept_and_reported():
    frame = daily()
    frame.loc["2020-04-10", ["slv", "tips", "usd"]] = np.nan
    panel = make_panel(spec_of(), frame)
    assert json.loads(panel.attrs["closes_differ"]) == {"slv": ["2020-04-10"], "tips": ["2020-04-10"]}
    table = describe_panel(panel)
    assert table.loc[("signal", "silver"), "closes_differ"] == 1
    assert table.loc[("driver", "real yield"), "closes_differ"] == 0
    assert any("'slv'" in note and "2020-04-10" in note for note in table.attrs["notes"])
    good_friday = natural(panel, nm.SIGNAL).loc["2020-04-10", "silver"]
    assert good_friday == pytest.approx(np.log(frame.loc["2020-04-09", "slv"] / frame.loc["2020-04-03", "slv"]))
    blind = describe_panel(make_panel(spec_of(), weekly())).attrs["notes"]
    assert any("cannot be detected" in note for note in blind)


def test_missing_prices_make_missing_returns_and_are_never_filled():
    frame = weekly()
    hole = frame.index[50]
    frame.loc[hole, "btc"] = np.nan
    panel = make_panel(spec_of(), frame)
    values = panel[nm.RESPONSE_VALUE].to_series().droplevel(nm.RESPONSE)
    assert values.index[values.isna()].tolist() == [hole, frame.index[51]]
    table = describe_panel(panel)
    assert table.loc[("response", "bitcoin"), "missing"] == 2
    assert any("2 of" in note and str(hole.date()) in note for note in table.attrs["notes"])
    check_panel(spec_of(), panel)


def test_describe_panel_is_in_natural_units():
    frame = weekly()
    panel = make_panel(spec_of(), frame, start="2020-06-05")
    table = describe_panel(panel)
    rows = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    returns = np.log(frame["slv"]).diff()[rows]
    silver = table.loc[("signal", "silver")]
    assert silver["mean"] == pytest.approx(returns.mean(), rel=1e-9)
    assert silver["sd"] == pytest.approx(returns.std(), rel=1e-9)
    assert silver["min"] == pytest.approx(returns.min())
    assert silver["history"] == 4
    assert silver["transform"] == "log return over 1 week"
    assert silver["first"] == rows[0]
    driver = table.loc[("driver", "real yield")]
    assert driver["transform"] == "difference over 3 weeks"
    assert driver["delay"] == "1B"
    assert driver["age_days"] == 7
    assert table.index.names == ["role", "name"]
    assert all(isinstance(note, str) for note in table.attrs["notes"])
    with pytest.raises(PanelError, match="make_panel"):
        describe_panel(frame)


def test_the_frame_is_not_modified_and_unused_columns_do_not_matter():
    frame = daily()
    frame["comment"], frame["broken"] = "text", np.inf
    before = frame.copy(deep=True)
    panel = make_panel(spec_of(), frame, start="2020-03-01")
    panel[nm.RESPONSE_VALUE][:] = 0.0
    pd.testing.assert_frame_equal(frame, before)
    clean = make_panel(spec_of(), daily(), start="2020-03-01")
    assert panel_hash(make_panel(spec_of(), frame, start="2020-03-01")) == panel_hash(clean)


@pytest.mark.parametrize("dtype", ["float32", "Float64", "Float32"])
def test_other_number_types_are_taken(dtype):
    panel = make_panel(spec_of(), weekly().astype(dtype))
    reference = make_panel(spec_of(), weekly())
    np.testing.assert_allclose(panel[nm.SIGNAL_VALUE], reference[nm.SIGNAL_VALUE], rtol=1e-3, atol=1e-3)
    assert panel[nm.SIGNAL_VALUE].dtype == np.float64


# ---- the fingerprint


def test_the_hash_outlives_saving_loading_and_reordering(tmp_path):
    panel = make_panel(spec_of(), daily())
    digest = panel_hash(panel)
    assert len(digest) == 64
    panel.to_netcdf(tmp_path / "panel.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "panel.nc", engine="h5netcdf") as loaded:
        assert panel_hash(loaded.load()) == digest
        check_panel(spec_of(), loaded)
    assert panel_hash(xr.Dataset.from_dict(panel.to_dict())) == digest
    turned = {name: panel.variables[name] for name in reversed(list(panel.variables))}
    assert panel_hash(xr.Dataset(turned)) == digest
    assert panel_hash(copy.deepcopy(panel).assign_attrs(notes="other")) == digest


@pytest.mark.parametrize("name", [nm.RESPONSE_VALUE, nm.SIGNAL_VALUE, nm.scale_of(nm.DRIVER), nm.EPISODE_INDEX])
def test_the_hash_sees_every_value(name):
    panel = make_panel(spec_of(), daily())
    changed = panel.copy(deep=True)
    changed[name][-1] += 1
    assert panel_hash(changed) != panel_hash(panel)
    assert panel_hash(panel.assign_coords(signal=["gold"])) != panel_hash(panel)


# ---- what is refused


def put(frame: pd.DataFrame, row: object, column: str, value: object) -> pd.DataFrame:
    frame = frame.astype({column: object}) if isinstance(value, str) else frame.copy()
    frame.loc[row, column] = value
    return frame


W = weekly()


def test_a_missing_signal_is_named_by_the_rows_of_its_prices_not_of_its_returns():
    frame = put(W, W.index[50], "slv", np.nan)
    with pytest.raises(PanelError) as caught:
        make_panel(spec_of(), frame)
    assert str(W.index[51].date()) not in str(caught.value)


def test_a_hole_before_the_window_that_a_change_reaches_back_to_is_named():
    spec = spec_of(controls=(Control("usd", "usd", "log_return", 6),), drivers=())
    frame = put(W, W.index[17], "usd", np.nan)
    with pytest.raises(PanelError) as caught:
        make_panel(spec, frame, start=W.index[20])
    assert f"rows {W.index[17].date()};" in str(caught.value)


def test_the_start_that_an_error_names_works():
    for start in (W.index[1], W.index[3], "2019-06-01"):
        with pytest.raises(PanelError) as caught:
            make_panel(spec_of(), W, start=start)
        possible = caught.value.cure.split("start on ")[1][:10]
        assert make_panel(spec_of(), W, start=possible).attrs["start"] == make_panel(spec_of(), W).attrs["start"]


def test_only_a_spec_is_a_spec():
    with pytest.raises(PanelError, match="ModelSpec"):
        make_panel("btc_silver", W)
    with pytest.raises(PanelError, match="ModelSpec"):
        check_panel({"name": "small"}, make_panel(spec_of(), W))


# ---- check_panel

PANEL = make_panel(spec_of(), W)


def poke(name: str, value: float):
    def change(panel: xr.Dataset) -> xr.Dataset:
        changed = panel.copy(deep=True)
        changed[name][{dim: 7 if "time" in str(dim) else 0 for dim in changed[name].dims}] = value
        return changed

    return change


UNFIT = {
    "no dataset": (lambda p: p[nm.RESPONSE_VALUE], {}, ["DataArray"]),
    "no variable": (lambda p: p.drop_vars(nm.DRIVER_VALUE), {}, ["'driver_value'", "no such variable"]),
    "no date": (lambda p: p.drop_vars(nm.DRIVER_DATE), {}, ["'driver_date'"]),
    "turned": (lambda p: p.transpose(nm.SIGNAL, ...), {}, ["'signal_value'", "('signal_time', 'signal')"]),
    "no coordinate": (lambda p: p.drop_vars(nm.CONTROL), {}, ["control"]),
    "no episodes": (lambda p: p.drop_vars(nm.EPISODE), {}, ["'episode'"]),
    "other names": (lambda p: p.assign_coords(signal=["gold"]), {}, ["silver", "gold"]),
    "other order": (lambda p: p.isel(driver=[1, 0]), {}, ["['real yield', 'dollar']", "['dollar', 'real yield']"]),
    "rows backwards": (lambda p: p.isel(time=slice(None, None, -1)), {}, ["'time'", "ascending"]),
    "no rows": (lambda p: p.isel(time=slice(0, 0)), {}, ["'time'", "at least one"]),
    "short history": (lambda p: p.isel(signal_time=slice(2, None)), {}, ["4 rows before it", "make_panel"]),
    "long history": (lambda p: p, {"max_lag": 3}, ["3 rows before it"]),
    "history for nothing": (lambda p: p, {"signals": (Signal("silver", "slv", kernel=NoLag()),)}, ["0 rows before it"]),
    "missing signal": (poke(nm.SIGNAL_VALUE, np.nan), {}, ["silver is nan", str(W.index[8].date())]),
    "infinite driver": (poke(nm.DRIVER_VALUE, np.inf), {}, ["real yield is inf"]),
    "missing control": (poke(nm.CONTROL_VALUE, np.nan), {}, ["real yield is nan"]),
    "infinite response": (poke(nm.RESPONSE_VALUE, -np.inf), {}, ["bitcoin is -inf"]),
    "scale of zero": (poke(nm.scale_of(nm.CONTROL), 0.0), {}, ["'control_scale'", "above zero"]),
    "other episodes": (lambda p: p, {"episodes": Episodes()}, ["['all']", "['early', 'late']"]),
    "other starts": (
        lambda p: p,
        {"episodes": Episodes(starts=(dt.date(2021, 1, 1),), names=("early", "late"))},
        ["other rows"],
    ),
    "other delay": (
        lambda p: p,
        {"controls": (Control("real yield", "tips", delay="1B"),)},
        ["'0D', now '1B'", "control"],
    ),
    "other column": (lambda p: p, {"signals": (replace(spec_of().signals[0], column="gld"),)}, ["'slv', now 'gld'"]),
    "other frequency": (lambda p: p, {"frequency": "W-THU"}, ["W-THU", "W-FRI"]),
    "broken spec": (lambda p: p.assign_attrs(spec="name = "), {}, ["attribute 'spec'"]),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_panel_that_does_not_fit_is_refused(case):
    change, parts, named = UNFIT[case]
    with pytest.raises(PanelError) as caught:
        check_panel(spec_of(**parts), change(PANEL))
    for part in named:
        assert part in str(caught.value)
    assert "make_panel" in caught.value.cure or "ModelSpec" in caught.value.cure


def test_panels_that_fit_pass():
    check_panel(spec_of(), PANEL)
    check_panel(spec_of(name="other", claim="the same data", family="normal"), PANEL)
    check_panel(spec_of(), poke(nm.RESPONSE_VALUE, np.nan)(PANEL))
    check_panel(spec_of(), PANEL.drop_attrs())
    check_panel(spec_of(), PANEL.assign(regime_path=(nm.TIME, np.zeros(PANEL.sizes[nm.TIME], dtype=int))))


def test_weeks_that_end_on_another_day_than_the_source_are_named():
    """A file of Fridays on rows of Mondays; on its own dates, and with daily dates, there is nothing to say."""
    frame = weekly()
    said = {day: describe_panel(make_panel(spec_of(frequency=day), frame)).attrs["notes"] for day in ("W-FRI", "W-MON")}
    assert not [note for note in said["W-FRI"] if note.startswith("Rows are dated")]
    (note,) = [note for note in said["W-MON"] if note.startswith("Rows are dated")]
    assert note.startswith(
        "Rows are dated Mondays and the source's dates are Fridays, so each row's values are 3 days old"
    )
    assert '"W-FRI"' in note
