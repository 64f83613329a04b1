"""Closes: instants, what two closes that lie apart do to a lag, and drivers that would not have been known."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_panel import DATA, daily, needs_data, spec_of, weekly

import regimelag as rl
from regimelag.panel.asynchronous_closes import close_instants
from regimelag.spec.toml import spec_from_toml, spec_to_toml

NEW_YORK, UTC_MIDNIGHT, LONDON_NOON = "16:00 America/New_York", "24:00 UTC", "12:00 Europe/London"
SILVER, BITCOIN = spec_of().signals[0], spec_of().responses[0]


def timed(response: str, signal: str, **changes) -> rl.ModelSpec:
    """The small model with a close for the response and one for the signal."""
    parts = {"responses": (replace(BITCOIN, close=response),), "signals": (replace(SILVER, close=signal),)}
    return spec_of(**(parts | changes))


def notes_of(panel) -> list[str]:
    return rl.describe_panel(panel).attrs["notes"]


def quiet(spec, frame, **window):
    """A panel that is made without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return rl.make_panel(spec, frame, **window)


# ---- instants


@given(
    day=st.dates(dt.date(1980, 1, 1), dt.date(2040, 1, 1)),
    hour=st.integers(0, 24),
    minute=st.integers(0, 59),
    zone=st.sampled_from(["UTC", "America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Sydney"]),
)
def test_instants_are_those_of_the_standard_library(day, hour, minute, zone):
    minute = 0 if hour == 24 else minute
    at = close_instants(np.array([day, "NaT"], dtype="datetime64[ns]"), f"{hour:02d}:{minute:02d} {zone}")
    wall = dt.datetime.combine(day, dt.time()) + dt.timedelta(hours=hour, minutes=minute)
    expected = wall.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).replace(tzinfo=None)
    skipped = expected.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != wall
    # The standard library runs on past the hour that is skipped; here it counts as its end.
    assert at[0] == np.datetime64(expected, "ns") or (skipped and abs(at[0] - np.datetime64(expected, "ns")) < 3.6e12)
    assert np.isnat(at[1])


def test_daylight_saving_moves_new_york_against_utc_and_at_other_weeks_against_london():
    days = np.array(["2025-01-17", "2025-03-14", "2025-07-18", "2025-10-31"], dtype="datetime64[ns]")
    hours = {close: (close_instants(days, close) - days) / np.timedelta64(1, "h") for close in (NEW_YORK, LONDON_NOON)}
    assert hours[NEW_YORK].tolist() == [21, 20, 20, 20]
    assert hours[LONDON_NOON].tolist() == [12, 12, 11, 12]
    assert ((close_instants(days, UTC_MIDNIGHT) - days) / np.timedelta64(1, "h") == 24).all()


# ---- a lag that the clock makes


def sampled(hours: np.ndarray, signal_hour: int, response_hour: int) -> pd.DataFrame:
    """Daily closes of one hourly walk, taken at two hours of UTC; yields and dollar are noise."""
    index = pd.date_range("2000-01-01", periods=len(hours) // 24 - 1)
    rng = np.random.default_rng(9)
    return pd.DataFrame(
        {
            "slv": np.exp(hours[signal_hour::24][: len(index)]),
            "btc": np.exp(hours[response_hour::24][: len(index)]),
            "tips": rng.normal(size=len(index)),
            "usd": np.exp(0.01 * rng.normal(size=len(index))),
        },
        index=index,
    )


@pytest.mark.parametrize(("signal_hour", "response_hour"), [(21, 12), (12, 21), (23, 5), (12, 12)])
def test_the_later_close_leads_by_a_row_as_much_as_the_hours_between_are_of_the_row(signal_hour, response_hour):
    """One price, two closes: its correlation with itself a row earlier is what the clock makes, as large as said."""
    weeks = 12_000
    hours = np.random.default_rng(0).normal(0.0, 0.002, 168 * weeks).cumsum()
    frame = sampled(hours[: 24 * 7 * weeks], signal_hour, response_hour)
    # Of one hour they are one series, which a response cannot be explained by.
    late = replace(SILVER, close=f"{signal_hour:02d}:00 UTC", contemporaneous=False)
    spec = timed(f"{response_hour:02d}:00 UTC", "", signals=(late,), drivers=(), controls=())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        panel = rl.make_panel(spec, frame)
    x = panel["signal_value"].to_numpy()[:, 0][-panel.sizes["time"] :]
    y = panel["response_value"].to_numpy()[:, 0]
    lag, lead = np.corrcoef(y[1:], x[:-1])[0, 1], np.corrcoef(y[:-1], x[1:])[0, 1]
    between, error = (signal_hour - response_hour) / 168, 1 / np.sqrt(len(y))
    assert lag == pytest.approx(max(between, 0.0), abs=4 * error)
    assert lead == pytest.approx(max(-between, 0.0), abs=4 * error)
    assert len(caught) == (between > 0)
    assert rl.describe_panel(panel).loc[("signal", "silver"), "hours_after"] == signal_hour - response_hour
    share = f"{100 * abs(between):.1f} % of a row"
    says = [note for note in notes_of(panel) if share in note]
    if between > 0:
        assert share in str(caught[0].message)
        assert "creates a spurious lag of one row" in str(caught[0].message)
        assert says == [str(caught[0].message)]
    elif between < 0:
        assert len(says) == 1
        assert "creates no spurious lag, but a lead" in says[0]


def test_the_london_fix_as_response_is_warned_of_and_as_signal_is_not():
    with pytest.warns(UserWarning, match="'silver' typically closes 9 hours after the response's 'btc'"):
        rl.make_panel(timed(LONDON_NOON, NEW_YORK), daily())
    panel = quiet(timed(NEW_YORK, LONDON_NOON), daily())
    assert any("closes 9 hours before" in note for note in notes_of(panel))


def test_no_lag_kernel_no_lag_and_no_warning():
    silver = replace(SILVER, close=NEW_YORK, kernel=rl.kernels.NoLag())
    panel = quiet(timed(LONDON_NOON, NEW_YORK, signals=(silver,)), daily())
    assert rl.describe_panel(panel).loc[("signal", "silver"), "hours_after"] == 9


def test_hours_count_against_the_length_of_a_row():
    """Four hours are a sixth of a day and a hundred-and-eightieth of a month."""
    frame = daily(days=1200).ffill()
    for frequency, warned in (("D", True), ("W-FRI", True), ("ME", False)):
        spec = timed("20:00 UTC", "24:00 UTC", frequency=frequency, drivers=(), controls=())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            changed = frame.assign(slv=np.exp(np.random.default_rng(3).normal(0, 0.02, len(frame)).cumsum()))
            rl.make_panel(spec, changed, start="2020-06-30")
        assert bool(caught) == warned


def test_days_apart_are_seen_without_closes():
    """A week that ends on Sunday: Bitcoin as the signal closes two days after silver's Friday."""
    spec = spec_of(
        responses=(rl.Response("silver", "slv"),),
        signals=(rl.Signal("bitcoin", "btc", kernel=SILVER.kernel),),
        frequency="W-SUN",
    )
    with pytest.warns(UserWarning, match="closes 48 hours after the response's 'slv'"):
        rl.make_panel(spec, daily())
    quiet(replace(spec, frequency="W-FRI"), daily())


def test_closes_that_are_not_given_are_named():
    panel = quiet(timed("", NEW_YORK), daily())
    assert any("No close is given for btc" in note for note in notes_of(panel))
    assert np.isnan(rl.describe_panel(panel).loc[("signal", "silver"), "hours_after"])
    full = notes_of(quiet(timed(UTC_MIDNIGHT, NEW_YORK), daily()))
    assert any(f"btc {UTC_MIDNIGHT}, slv {NEW_YORK}" in note for note in full)
    assert not any("No close is given" in note for note in full)


def test_each_response_and_each_column_of_a_signal_is_looked_at():
    frame = daily()
    frame["eth"] = frame["btc"] ** 1.1 * np.exp(0.01 * np.random.default_rng(0).normal(size=len(frame)))
    responses = (replace(BITCOIN, close=UTC_MIDNIGHT), rl.Response("ether", "eth", close=LONDON_NOON))
    with pytest.warns(UserWarning, match="'eth'") as caught:
        rl.make_panel(timed("", NEW_YORK, responses=responses), frame)
    assert len(caught) == 1
    gold = rl.Control("gold", "usd", "log_return", close="23:00 UTC")
    spec = timed("21:00 UTC", "21:00 UTC", signals=(replace(SILVER, close="21:00 UTC", beyond="usd"),))
    with pytest.warns(UserWarning, match="Column 'usd' of signal 'silver' typically closes 2 hours after"):
        rl.make_panel(replace(spec, controls=(gold,)), frame)


# ---- what was known


def test_a_driver_that_closes_after_the_row_is_refused_and_the_cure_works():
    driver = rl.Driver("real yield", "tips", periods=3, close=UTC_MIDNIGHT)
    with pytest.raises(rl.errors.PanelError, match="4 hours after response column 'btc'") as caught:
        rl.make_panel(timed(NEW_YORK, NEW_YORK, drivers=(driver,)), daily(), start="2020-06-05")
    assert "on 2020-06-05" in str(caught.value)
    spec = timed(NEW_YORK, NEW_YORK, drivers=(replace(driver, delay="1D"),))
    panel = quiet(spec, daily(), start="2020-06-05")
    # Thursday's value, made at 20:00 New York, before Friday's close.
    assert (panel["time"] - panel["driver_date"].sel(driver="real yield") == np.timedelta64(1, "D")).all()
    quiet(timed(UTC_MIDNIGHT, NEW_YORK, drivers=(driver,)), daily())
    quiet(timed("", NEW_YORK, drivers=(driver,)), daily())


def test_the_earliest_of_several_responses_decides_what_was_known():
    frame = daily()
    frame["eth"] = frame["btc"] ** 1.1 * np.exp(0.01 * np.random.default_rng(0).normal(size=len(frame)))
    driver = rl.Driver("real yield", "tips", periods=3, close=NEW_YORK)
    both = (replace(BITCOIN, close=UTC_MIDNIGHT), rl.Response("ether", "eth", close=LONDON_NOON))
    with pytest.raises(rl.errors.PanelError, match="response column 'eth'"):
        rl.make_panel(timed("", "", responses=both, drivers=(driver,)), frame)
    quiet(timed(UTC_MIDNIGHT, "", drivers=(driver,)), frame)


# ---- in the spec and in the panel


def test_closes_survive_the_round_trip_and_are_kept_in_the_panel(tmp_path):
    spec = timed(UTC_MIDNIGHT, NEW_YORK)
    assert spec_from_toml(spec_to_toml(spec)) == spec
    assert spec.closes == {"btc": UTC_MIDNIGHT, "slv": NEW_YORK}
    panel = quiet(spec, daily())
    assert json.loads(panel.attrs["closes"]) == spec.closes
    panel.to_netcdf(tmp_path / "panel.nc", engine="h5netcdf")
    assert rl.describe_panel(panel)["close"].tolist()[:2] == [UTC_MIDNIGHT, NEW_YORK]
    # A close says when values were made and changes none of them.
    for name, values in quiet(spec_of(), daily()).data_vars.items():
        np.testing.assert_array_equal(values, panel[name])


def test_named_models_say_the_closes_that_are_known():
    known = {"btc_usd": UTC_MIDNIGHT, "eth_usd": UTC_MIDNIGHT, "silver_usd": NEW_YORK, "spy_usd": NEW_YORK}
    for name in ("btc_silver", "more_controls", "btc_eth", "reversed", "daily", "silver_beyond_gold"):
        spec = rl.read_spec(name)
        columns = {column for series in spec.series for column in series.columns}
        assert spec.closes == {column: close for column, close in known.items() if column in columns}


@needs_data
def test_the_arrow_reversed_is_warned_of_on_the_real_file_and_the_flagship_is_not():
    frame = rl.read_series(DATA / "btc_silver_daily.csv")
    panel = quiet(rl.read_spec("btc_silver"), frame, start="2013-01-01")
    assert rl.describe_panel(panel).loc[("signal", "silver"), "hours_after"] == -4
    with pytest.warns(UserWarning, match=r"closes 4 hours after the response's 'silver_usd'"):
        rl.make_panel(rl.read_spec("reversed"), frame, start="2013-01-01")


# ---- what a description says


def test_a_description_has_ranges_gaps_and_what_was_left_out():
    frame = daily()
    frame.loc["2020-08-03":"2020-08-07", "usd"] = np.nan
    frame.loc["2020-11-26", "btc"] = frame.loc["2020-11-27", "btc"]
    panel = quiet(spec_of(), frame, start="2020-03-06", end="2020-12-25")
    table, notes = rl.describe_panel(panel), notes_of(panel)
    dollar = table.loc[("driver", "dollar")]
    assert (dollar["data_from"], dollar["data_to"]) == (frame.index[0], frame["usd"].last_valid_index())
    # Friday 31 July to Monday 10 August.
    assert dollar["longest_gap"] == 10
    assert any("usd 10 days (from 2020-07-31)" in note and "No values were filled" in note for note in notes)
    after = (frame.index > "2020-12-25").sum()
    assert any(f"btc {after}" in note and "not used" in note for note in notes)
    assert any("9 rows before 2020-03-06 are not in the window" in note for note in notes)
    # The week of the hole has no new index, and the row of 14 August takes what came out on Monday the 10th.
    assert any("driver 'dollar'" in note and "1 row repeats the value of the row before" in note for note in notes)


def test_a_price_that_stands_still_for_a_row_is_noted():
    frame = weekly()
    frame.loc[frame.index[51], "btc"] = frame["btc"].iloc[50]
    notes = notes_of(quiet(spec_of(), frame))
    assert any("On 1 rows column 'btc'" in note and str(frame.index[51].date()) in note for note in notes)


# ---- the figure


def test_every_series_is_drawn_in_natural_units_with_its_history_episodes_and_holes():
    frame = daily()
    frame.loc["2020-04-10", ["slv", "tips", "usd"]] = np.nan
    frame.loc["2020-06-06":"2020-06-12", "btc"] = np.nan
    spec = timed(UTC_MIDNIGHT, NEW_YORK, episodes=rl.spec.Episodes((dt.date(2020, 7, 3),), ("early", "late")))
    panel = quiet(spec, frame)
    axes = rl.plots.plot_panel(panel)
    table = rl.describe_panel(panel)
    assert len(axes) == len(table) == 5
    for ax, (role, name) in zip(axes, table.index, strict=True):
        values = ax.get_lines()[1].get_ydata()
        assert f"{role} {name}" in ax.get_title(loc="left")
        assert np.nanmax(values[-panel.sizes["time"] :]) == pytest.approx(table.loc[(role, name), "max"])
        assert len(values) == panel.sizes["time"] + table.loc[(role, name), "history"]
    assert UTC_MIDNIGHT in axes[0].get_title(loc="left")
    assert "2 missing" in axes[0].get_title(loc="left")
    assert len(axes[0].get_lines()[2].get_xdata()) == 2
    assert [text.get_text() for text in axes[0].texts] == ["early", "late"]
    assert len(axes[1].patches) == 1
    assert "delay W-MON" in axes[3].get_title(loc="left")
    axes[0].figure.canvas.draw()
    with pytest.raises(rl.errors.FitError, match="5 Axes of Matplotlib"):
        rl.plots.plot_panel(panel, axes=axes[:2])


# ---- late series


def test_weekly_money_that_comes_out_once_a_month_joins_as_of_its_release():
    """Four or five weeks come out on one day and serve until the next such day, which is not stale."""
    frame = daily(days=800)
    mondays = frame.index[frame.index.day_of_week == 0]
    money = pd.Series(9e3 * np.exp(np.random.default_rng(2).normal(0.0, 0.01, len(mondays)).cumsum()), mondays)
    frame["money"] = money
    control = rl.Control("money", "money", "level", delay="ME")
    panel = quiet(spec_of(controls=(control,)), frame)
    held = (panel["control_value"] * panel["control_scale"] + panel["control_center"]).to_pandas()["money"]
    for row, value in held.items():
        out = [day for day in mondays if day + pd.offsets.MonthEnd() <= row]
        assert value == pytest.approx(money[out[-1]], rel=1e-12)
    stopped = frame.copy()
    stopped.loc["2021-03-01":, "money"] = np.nan
    # February's last week comes out on 28 February and serves for twice the month between releases.
    with pytest.raises(rl.errors.PanelError, match="at most 62 days") as caught:
        rl.make_panel(spec_of(controls=(control,)), stopped, end="2022-03-04")
    assert "2021-05-07" in str(caught.value)
    assert "2021-04-30" not in caught.value.came
