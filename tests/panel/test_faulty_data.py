"""Data as people have them: what is wrong in a frame is refused or said, with the column, the date and the cure."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_panel import spec_of, weekly

import regimelag as rl
from regimelag.errors import PanelError
from regimelag.panel.frame_checks import check_frame
from regimelag.panel.outliers import missing_codes, on_lines
from regimelag.panel.periods import dates_at_end, first_days
from regimelag.results.model_checks import model_warnings

W = weekly(weeks=299)
BITCOIN, SILVER = spec_of().responses[0], spec_of().signals[0]


def made(frame=W, **parts):
    """A panel and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        panel = rl.make_panel(spec_of(**parts), frame)
    texts = [str(one.message) for one in caught]
    assert json.loads(panel.attrs["warnings"]) == texts
    assert set(texts) <= set(rl.describe_panel(panel).attrs["notes"])
    return panel, texts


def changed(column, value, rows=slice(150, 151)):
    frame = W.copy()
    place = frame.columns.get_loc(column)
    frame.iloc[rows, place] = value(frame.iloc[rows, place]) if callable(value) else value
    return frame


def test_nothing_is_said_of_clean_data():
    assert made()[1] == []


def test_nothing_is_said_of_the_example(example):
    assert json.loads(example.attrs["warnings"]) == []


def test_the_cure_of_a_text_in_a_column_of_numbers_works():
    frame = W.astype({"slv": object})
    frame.iloc[150, frame.columns.get_loc("slv")] = "n/a"
    with pytest.raises(PanelError, match="'n/a'") as caught:
        made(frame)
    assert "(cells: 1)" in caught.value.cure
    exec(caught.value.cure.partition("blank it: ")[2], {"frame": frame, "pd": pd})
    assert frame["slv"].isna().sum() == 1
    with pytest.raises(PanelError, match="has none on the row"):
        made(frame)


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("lagged", [False, True])
def test_covariates_that_are_others_are_refused(share, lagged):
    """A copy in another unit, or a weighted sum: their effects could not be told apart."""
    kernel = {"kernel": SILVER.kernel} if lagged else {}
    frame = W.assign(other=(W["slv"] * W["usd"] ** share) * 31.1)
    dollar = rl.Control("dollar", "usd", transform="log_return", **kernel)
    copy = rl.Control("other", "other", transform="log_return", **kernel)
    signal = replace(SILVER, contemporaneous=not lagged)
    with pytest.raises(PanelError, match="control 'other'") as caught:
        made(frame, signals=(signal,), controls=(dollar, copy))
    assert "linear function" in caught.value.rule
    assert "drop control 'other'" in caught.value.cure
    made(frame, signals=(signal,), controls=(dollar,))


MODELS = sorted((Path(rl.__file__).parents[2] / "models").glob("*.toml"))


def test_nothing_is_said_of_the_example_in_any_bundled_model():
    """What closes after the response is a matter of the spec, not of the data."""
    frame, made_of = rl.example_panel(as_frame=True), 0
    for path in MODELS:
        spec = rl.read_spec(path)
        if {column for series in spec.series for column in series.columns} <= set(frame.columns):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                panel = rl.make_panel(spec, frame)
            said = [text for text in json.loads(panel.attrs["warnings"]) if "closes" not in text]
            assert said == [], path.stem
            made_of += 1
    assert made_of > 10


def test_the_lag_report_says_what_the_panel_warns_of(tiny):
    _, _, fit = tiny
    warned = fit.copy()
    attrs = json.loads(fit.attrs["panel_attrs"]) | {"warnings": json.dumps(["Column 'metal' was split."])}
    warned.attrs = fit.attrs | {"panel_attrs": json.dumps(attrs)}
    notes = model_warnings(warned)
    assert notes[0] == "Column 'metal' was split."
    assert notes[1:] == model_warnings(fit)


# ---- missing codes


@pytest.mark.parametrize("code", [-9999.0, -999.0, -99.99, 99.99, 999.9, 9999.0])
@pytest.mark.parametrize("rows", [slice(150, 151), slice(100, 104), slice(20, 290, 60), slice(298, 300), slice(0, 2)])
def test_a_code_in_a_yield_is_refused_with_its_value_and_date(code, rows):
    frame = changed("tips", code, rows)
    count = int((frame["tips"] == code).sum())
    with pytest.raises(PanelError, match=r"column 'tips' of \w+ 'real yield'") as caught:
        rl.make_panel(spec_of(), frame)
    assert f"{code:g}" in caught.value.came
    names = {"frame": frame}
    exec(caught.value.cure, names)
    assert names["frame"]["tips"].isna().sum() == count


def test_zeros_on_holidays_are_codes_and_a_rate_of_zero_is_none():
    rng = np.random.default_rng(0)
    rate = 0.3 + 0.02 * rng.standard_normal(400).cumsum()
    level = np.round(rate - rate.min() + 0.3, 2)
    assert missing_codes(level, logs=False) == []
    holidays = [40, 120, 200, 280]
    level[holidays] = 0.0
    assert missing_codes(level, logs=False) == holidays
    near = np.round(0.05 * rng.standard_normal(400).cumsum(), 1)
    assert missing_codes(near, logs=False) == []


def test_minus_one_is_a_code_where_the_rest_is_far_from_it():
    rate = 2.0 + 0.02 * np.random.default_rng(0).standard_normal(400).cumsum()
    rate[[50, 51, 300]] = -1.0
    assert missing_codes(rate, logs=False) == [50, 51, 300]
    assert missing_codes(np.round(rate - 3.0, 1)[60:290], logs=False) == []


def test_a_policy_rate_that_moves_in_steps_is_none():
    rate = np.repeat([0.25, 0.5, 1.25, 5.5, 0.0, 0.25], 60) + np.tile([0.0, 0.0, 0.0, 0.01], 90)
    assert missing_codes(rate, logs=False) == []


# ---- splits, ticks, units


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 7, 9])
@pytest.mark.parametrize("up", [True, False])
def test_a_split_is_named_with_its_date_and_its_cure_takes_it_out(factor, up):
    frame = changed("slv", lambda held: held * factor if up else held / factor, slice(150, None))
    text = made(frame)[1][0]
    assert "split" in text
    assert str(W.index[150].date()) in text
    exec(re.search(r"frame\.loc.*?(?=\.$)", text)[0], {"frame": frame})
    assert made(frame)[1] == []
    np.testing.assert_allclose(np.diff(np.log(frame["slv"])), np.diff(np.log(W["slv"])), atol=1e-4)


@pytest.mark.parametrize("rows", [slice(150, 151), slice(150, 154)])
@pytest.mark.parametrize("column", ["slv", "tips"])
def test_what_returns_is_a_tick_and_its_cure_blanks_it(rows, column):
    frame = changed(column, lambda held: 5 * held if column == "slv" else held + 10, rows)
    text = next(one for one in made(frame)[1] if column in one)
    assert "back on" in text
    assert str(W.index[150].date()) in text
    exec(re.search(r"frame\.loc.*?(?=\.$)", text)[0], {"frame": frame, "float": float})
    assert frame[column].isna().sum() == len(W.iloc[rows])


@pytest.mark.parametrize(
    ("column", "place", "which"), [("slv", 0, "first row"), ("slv", 299, "last row"), ("tips", 299, "last row")]
)
def test_a_tick_on_the_first_or_last_row_is_named_and_its_cure_blanks_it(column, place, which):
    frame = changed(column, lambda held: 3.6 * held if column == "slv" else held + 10, slice(place, place + 1))
    text = next(one for one in made(frame)[1] if column in one)
    assert which in text
    exec(re.search(r"frame\.loc.*?\)(?=\.)", text)[0], {"frame": frame, "float": float})
    assert frame[column].isna().to_numpy().nonzero()[0].tolist() == [place]


def test_a_split_on_the_last_row_is_named_beside_the_tick():
    frame = changed("slv", lambda held: held / 4, slice(299, None))
    text = made(frame)[1][0]
    assert "bad tick" in text
    exec(re.search(r"frame\.loc\[frame.*?(?=\.$)", text)[0], {"frame": frame})
    assert made(frame)[1] == []


def test_a_spliced_series_and_a_change_of_unit_are_named():
    calm = W.assign(usd=W["usd"] ** 0.1)
    calm.iloc[150:, calm.columns.get_loc("usd")] *= 1.25
    spliced = made(calm)[1]
    assert len(spliced) == 1
    assert "joined" in spliced[0]
    frame = W.assign(tips=2.0 + 0.1 * (W["tips"] - W["tips"].mean()) / W["tips"].std())
    frame.iloc[150:, frame.columns.get_loc("tips")] /= 100
    text = made(frame)[1]
    assert len(text) == 1
    assert "unit" in text[0]
    exec(re.search(r"frame\.loc.*?(?=\.$)", text[0])[0], {"frame": frame})
    assert made(frame)[1] == []


def test_a_crash_in_a_wild_market_is_no_split():
    rng = np.random.default_rng(1)
    changes = rng.normal(0, 0.02, 299)
    changes[140:160] = rng.choice([-0.15, 0.15], 20)
    changes[150] = -0.66
    assert made(W.assign(slv=np.exp(np.append(0, changes.cumsum()))))[1] == []


def test_a_zero_before_the_window_does_not_refuse_it():
    frame = changed("btc", 0.0, slice(0, 1))
    rl.make_panel(spec_of(), frame, start=W.index[50])
    with pytest.raises(PanelError, match=r"above zero"):
        rl.make_panel(spec_of(), changed("btc", 0.0, slice(299, 300)))
    with pytest.raises(PanelError, match=r"above zero"):
        rl.make_panel(spec_of(), changed("slv", 0.0, slice(299, 300)))


# ---- the end of the window


@pytest.mark.parametrize("column", ["slv", "tips"])
def test_the_window_ends_where_all_covariates_are_there(column):
    late = changed(column, np.nan, slice(299, None))
    panel, texts = made(late)
    assert panel.attrs["end"] == str(W.index[298].date())
    assert texts == []
    assert any(column in note and "ends on" in note for note in json.loads(panel.attrs["notes"]))
    ended = rl.make_panel(spec_of(), late, end=W.index[298])
    assert panel.drop_attrs().identical(ended.drop_attrs())
    with pytest.raises(PanelError) as caught:
        rl.make_panel(spec_of(drivers=()), late, end=W.index[299])
    assert f'end = "{W.index[298].date()}"' in caught.value.cure


def test_a_late_response_does_not_end_the_window_and_a_series_long_ended_is_warned_of():
    assert made(changed("btc", np.nan, slice(299, None)))[0].attrs["end"] == str(W.index[299].date())
    panel, texts = made(changed("slv", np.nan, slice(260, None)))
    assert panel.attrs["end"] == str(W.index[259].date())
    assert "40 rows" in texts[0]


# ---- periods


def monthly(days="start", *, delay="0D", dated="", filled=False):
    months = pd.date_range(W.index[0].to_period("M").to_timestamp(), W.index[-1], freq="MS")
    values = pd.Series(np.random.default_rng(3).standard_normal(len(months)).cumsum(), index=months)
    values = values.set_axis(months if days == "start" else months + pd.offsets.MonthEnd())
    if filled:
        values = values.reindex(W.index, method="ffill").dropna()
    frame = W.join(values.rename("cpi"), how="outer")
    return frame, {"drivers": (rl.Driver("cpi", "cpi", periods=13, delay=delay, dated=dated),)}


def test_a_monthly_series_dated_by_first_days_is_warned_of_and_stated_counts_from_the_end():
    frame, parts = monthly()
    text = made(frame, **parts)[1]
    assert len(text) == 1
    assert 'dated = "start"' in text[0]
    frame, parts = monthly(dated="start")
    panel, texts = made(frame, **parts)
    assert texts == []
    at_end, _ = monthly(days="end")
    other = rl.make_panel(spec_of(drivers=(replace(parts["drivers"][0], dated="end"),)), at_end, end=panel.attrs["end"])
    np.testing.assert_array_equal(panel["driver_value"], other.sel(time=panel["time"])["driver_value"])
    assert (panel["time"] >= panel["driver_date"].sel(driver="cpi")).all()


@pytest.mark.parametrize("delay", ["31D", "58D", "ME"])
def test_a_delay_that_spans_the_month_is_enough(delay):
    frame, parts = monthly(delay=delay)
    assert made(frame, **parts)[1] == []


@pytest.mark.parametrize("delay", ["1B", "14D", "26D"])
def test_a_delay_within_the_month_is_not(delay):
    frame, parts = monthly(delay=delay)
    assert len(made(frame, **parts)[1]) == 1


@pytest.mark.parametrize(("period", "freq", "frequency"), [("quarter", "QS", "ME"), ("year", "YS", "QE")])
def test_rows_within_a_longer_period_do_not_use_its_value_unwarned(period, freq, frequency):
    starts = pd.date_range("1990-01-01", "2019-12-31", freq=freq)
    rng = np.random.default_rng(2)
    ends = pd.date_range("1990-01-31", "2019-12-31", freq=frequency)
    prices = pd.DataFrame(np.exp(0.05 * rng.standard_normal((len(ends), 2)).cumsum(axis=0)), ends, ["btc", "slv"])
    frame = prices.join(pd.Series(rng.standard_normal(len(starts)).cumsum(), starts, name="gdp"), how="outer")
    driver = rl.Driver("gdp", "gdp", periods=1 if period == "quarter" else 4, transform="difference")
    parts = {"frequency": frequency, "drivers": (driver,), "controls": (), "max_lag": 3}
    text = made(frame, **parts)[1]
    assert len(text) == 1
    assert f"first day of each {period}" in text[0]
    assert made(frame, **(parts | {"drivers": (replace(driver, dated="start"),)}))[1] == []


def test_values_of_the_end_of_months_are_not_warned_of():
    frame, parts = monthly(days="end")
    assert made(frame, **parts)[1] == []
    assert made(*(monthly(dated="end")[0],), **monthly(dated="end")[1])[1] == []


def test_first_days_are_seen_in_months_and_quarters_and_where_values_were_filled():
    days = pd.date_range("2020-01-01", "2022-12-31")
    for freq, period in (("MS", "month"), ("QS", "quarter")):
        starts = pd.date_range("2020-01-01", "2022-12-31", freq=freq)
        held = pd.Series(np.arange(len(starts), dtype=float), index=starts)
        assert first_days(held) == period
        for step in (days[days.day_of_week < 5], days[days.day_of_week == 4], days):
            assert first_days(held.reindex(step, method="ffill")) == period
        ends = held.set_axis(starts + pd.offsets.MonthEnd())
        assert first_days(ends) == first_days(np.floor(ends / 2)) == ""
        assert first_days(ends.reindex(days, method="ffill")) == ""
        assert first_days(held.set_axis(starts + pd.Timedelta(days=14))) == ""
    assert first_days(pd.Series(np.arange(len(days)), index=days)) == ""


@pytest.mark.parametrize(("freq", "last"), [("MS", "ME"), ("QS", "QE"), ("YS", "YE"), ("W-MON", "W-SUN")])
def test_periods_end_before_the_next_begins(freq, last):
    starts = pd.date_range("2015-01-01", periods=8, freq=freq)
    frame = pd.DataFrame({"a": np.arange(8.0)}, index=starts)
    moved = dates_at_end(frame, {"a": "start"})
    assert moved.index.equals(pd.date_range(starts[0], periods=8, freq=last).as_unit("ns"))
    assert dates_at_end(frame, {"a": "end"}) is frame


def test_bars_that_begin_after_a_holiday_end_with_their_week_or_month():
    mondays = pd.date_range("2024-01-01", periods=10, freq="W-MON")
    late = mondays + pd.to_timedelta([1, 0, 1, 0, 0, 0, 0, 0, 0, 0], unit="D")
    moved = dates_at_end(pd.DataFrame({"a": np.arange(10.0)}, index=late), {"a": "start"})
    assert moved.index.equals((mondays + pd.Timedelta(days=6)).as_unit("ns"))
    months = pd.date_range("2021-01-01", periods=18, freq="BMS")
    moved = dates_at_end(pd.DataFrame({"a": np.arange(18.0)}, index=months), {"a": "start"})
    assert moved.index.equals(pd.date_range("2021-01-01", periods=18, freq="ME").as_unit("ns"))


@pytest.mark.parametrize(("day", "mostly"), [("Tuesday", False), ("Monday", True)])
def test_weekly_bars_of_another_day_and_with_holidays_are_noticed(day, mostly):
    bars = W.set_axis(W.index - pd.Timedelta(days=3 if day == "Tuesday" else 4), axis=0)
    if mostly:
        bars = bars.set_axis(
            bars.index + pd.to_timedelta((np.arange(len(bars)) % 10 == 5).astype(int), unit="D"), axis=0
        )
    note = next(n for n in json.loads(made(bars)[0].attrs["notes"]) if "bars" in n)
    assert f"{'mostly ' if mostly else ''}{day}s" in note
    assert f'frequency "W-{"MON" if day == "Tuesday" else "SUN"}"' in note


def test_weekly_bars_dated_by_their_monday():
    bars = W.set_axis(W.index - pd.Timedelta(days=4), axis=0)
    note = next(n for n in json.loads(made(bars)[0].attrs["notes"]) if "bars" in n)
    assert 'dated = "start"' in note
    assert 'frequency "W-SUN"' in note
    stated = {
        role: tuple(replace(one, dated="start") for one in getattr(spec_of(), role))
        for role in ("responses", "signals", "drivers", "controls")
    }
    panel, texts = made(bars, frequency="W-SUN", **stated)
    assert texts == []
    same = rl.make_panel(spec_of(frequency="W-SUN"), W.set_axis(W.index + pd.Timedelta(days=2), axis=0))
    assert panel.attrs["end"] == same.attrs["end"]
    np.testing.assert_array_equal(panel["response_value"], same["response_value"])


def working(rows=240, steps=21, *, seed=0):
    """Monthly averages of a random walk, and month ends of one that correlates with it, without any lag."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_normal((rows * steps, 2)) @ np.linalg.cholesky([[1, 0.7], [0.7, 1]]).T
    walk = 0.01 * moves.cumsum(axis=0)
    index = pd.date_range("2000-01-31", periods=rows, freq="ME")
    by_month = walk.reshape(rows, steps, 2)
    return pd.DataFrame({"btc": np.exp(by_month[..., 0]).mean(axis=1), "slv": np.exp(by_month[:, -1, 1])}, index=index)


@pytest.mark.parametrize("seed", range(4))
def test_a_response_of_averages_is_warned_of(seed):
    parts = {"frequency": "ME", "drivers": (), "controls": (), "max_lag": 3}
    assert made(working(seed=seed), **parts)[1]
    stated = made(working(seed=seed), **parts, responses=(replace(BITCOIN, value="average"),))[1]
    assert any("averages of their periods" in text for text in stated)


def test_month_ends_are_not_warned_of():
    frame = working()
    frame["btc"] = np.exp(0.05 * np.random.default_rng(5).standard_normal(len(frame)).cumsum())
    assert made(frame, frequency="ME", drivers=(), controls=(), max_lag=3)[1] == []


@pytest.mark.parametrize("seed", range(3))
def test_a_response_dated_a_day_late_is_warned_of(seed):
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2015-01-01", periods=1500)
    moves = 0.02 * rng.standard_normal((1500, 2)) @ np.linalg.cholesky([[1, 0.4], [0.4, 1]]).T
    right = pd.DataFrame(np.exp(moves.cumsum(axis=0)), index=days, columns=["btc", "slv"])
    parts = {"frequency": "B", "drivers": (), "controls": (), "max_lag": 5}
    assert made(right, **parts)[1] == []
    late = right.assign(btc=right["btc"].shift()).dropna()
    text = made(late, **parts)[1]
    assert any("row late" in one for one in text)


@pytest.mark.parametrize("correlation", [0.25, -0.4])
def test_a_small_or_negative_correlation_a_row_late_is_warned_of(correlation):
    rng = np.random.default_rng(4)
    days = pd.bdate_range("2015-01-01", periods=300)
    moves = rng.standard_normal((300, 2))
    moves[:, 0] = correlation * moves[:, 1] + np.sqrt(1 - correlation**2) * moves[:, 0]
    right = pd.DataFrame(np.exp(0.02 * moves.cumsum(axis=0)), index=days, columns=["btc", "slv"])
    parts = {"frequency": "B", "drivers": (), "controls": (), "max_lag": 5}
    assert made(right, **parts)[1] == []
    assert any("row late" in one for one in made(right.assign(btc=right["btc"].shift()).dropna(), **parts)[1])


def test_dates_a_day_late_are_noticed_in_weekly_rows():
    rng = np.random.default_rng(6)
    days = pd.bdate_range("2015-01-01", periods=1500)
    moves = 0.02 * rng.standard_normal((1500, 2)) @ np.linalg.cholesky([[1, 0.5], [0.5, 1]]).T
    right = pd.DataFrame(np.exp(moves.cumsum(axis=0)), index=days, columns=["btc", "slv"])
    parts = {"drivers": (), "controls": ()}
    assert made(right, **parts)[1] == []
    text = made(right.assign(btc=right["btc"].shift()).dropna(), **parts)[1]
    assert len(text) == 1
    assert "one date before" in text[0]


# ---- what a column is said to be


@pytest.mark.parametrize("name", ["value", "dated"])
def test_conventions_belong_to_the_column_and_go_through_toml(name):
    choice = {"value": "average", "dated": "start"}[name]
    spec = spec_of(responses=(replace(BITCOIN, **{name: choice}),))
    assert rl.read_spec is not None
    from regimelag.spec.toml import spec_from_toml, spec_to_toml

    assert spec_from_toml(spec_to_toml(spec)) == spec


# ---- frames and vintages


def test_whole_numbers_that_pandas_took_for_nanoseconds():
    days = W.index.strftime("%Y%m%d").astype("int64")
    since = (W.index - pd.Timestamp("1970-01-01")) // pd.Timedelta(seconds=1)
    for numbers in (days, since + 57600, 1000 * (since + 57600), 10**6 * (since + 57600)):
        frame = W.set_axis(pd.to_datetime(numbers), axis=0)
        for call in (lambda given: check_frame(given, "a frame"), rl.read_series):
            with pytest.raises(PanelError, match="whole numbers without a unit") as caught:
                call(frame)
            names = {"frame": frame, "read_series": rl.read_series}
            if numbers is not days:
                # The numbers are read, and the time of day is asked for.
                with pytest.raises(PanelError, match="16:00"):
                    exec(caught.value.cure, names)
                continue
            exec(caught.value.cure, names)
            pd.testing.assert_index_equal(names["frame"].index, W.index, check_names=False, exact=False)


def test_the_cure_of_a_column_since_1970_asks_what_its_stamps_mean():
    frame = W.reset_index(drop=True)
    frame.insert(0, "timestamp", ((W.index - pd.Timestamp("1970-01-01")) // pd.Timedelta(milliseconds=1)).to_numpy())
    with pytest.raises(PanelError, match="what a stamp of 00:00 means") as caught:
        rl.make_panel(spec_of(), frame)
    names = {"frame": frame, "read_series": rl.read_series}
    exec(caught.value.cure.partition(" if ")[0], names)
    pd.testing.assert_index_equal(names["frame"].index, W.index, check_names=False, exact=False)


def test_the_cure_of_an_index_reads_it():
    index = W.index.strftime("%d/%m/%Y")
    for frame in (
        W.set_axis(index, axis=0),
        W.rename_axis("Date").reset_index(),
        W.set_axis(W.index.strftime("%Y%m%d").astype(int), axis=0),
    ):
        names = {"frame": frame, "read_series": rl.read_series}
        with pytest.raises(PanelError) as caught:
            check_frame(frame, "a frame")
        code = caught.value.cure.partition(" for ")[0]
        exec(code, names)
        pd.testing.assert_index_equal(names["frame"].index, W.index, check_names=False, exact=False)


def test_bitcoin_of_utc_and_silver_of_new_york_on_two_rows_of_a_day_are_merged_without_a_loss():
    split = pd.concat([W[["btc"]], W[["slv", "tips", "usd"]]]).sort_index(kind="stable")
    names = {"frame": split}
    with pytest.raises(PanelError) as caught:
        rl.make_panel(spec_of(), split)
    exec(caught.value.cure.partition(", since")[0], names)
    pd.testing.assert_frame_equal(names["frame"][W.columns], W, check_freq=False)


def test_vintages_published_before_their_date_are_refused():
    days = W.index[:200]
    vintages = pd.DataFrame(
        {"column": "usd", "date": days, "published": days - pd.Timedelta(days=7), "value": 1.0 + np.arange(200.0)}
    )
    with pytest.raises(PanelError, match="published on its own date") as caught:
        rl.make_panel(spec_of(), W, vintages=vintages)
    names = {"vintages": vintages}
    exec(caught.value.cure, names)
    assert (names["vintages"]["published"] > names["vintages"]["date"]).all()


def observed(count: int, decimals: int, level: float, sd: float, seed: int) -> pd.Series:
    changes = np.random.default_rng(seed).normal(0.0, sd, count)
    return pd.Series(
        (level + changes.cumsum()).round(decimals), pd.date_range("2012-01-06", periods=count, freq="W-FRI")
    )


@pytest.mark.parametrize("method", ["linear", "time"])
@pytest.mark.parametrize("missing", ["three weeks of four", "one gap", "days"])
def test_interpolated_values_are_warned_of(method, missing):
    whole = observed(700, 3, 300.0, 2.0, 1)
    place = np.arange(len(whole))
    if missing == "days":
        filled = whole.resample("B").asfreq().interpolate(method=method)
    else:
        known = place % 4 == 0 if missing == "three weeks of four" else (place < 300) | (place > 302)
        filled = whole.where(known).interpolate(method=method)
    said = list(on_lines(filled.rename("gold")))
    assert len(said) == 1
    assert "Column 'gold' lies on straight lines" in said[0]
    assert (
        f"the first on {filled.index[~filled.isin(whole)][0].date() if missing != 'one gap' else '2017-10-06'}"
        in said[0]
    )


@pytest.mark.parametrize(
    ("decimals", "level", "sd"), [(2, 30.0, 0.5), (2, 2.0, 0.05), (0, 1000.0, 3.0), (4, 1.1, 0.01)]
)
def test_rounded_values_are_not_taken_for_interpolated_ones(decimals, level, sd):
    """Of 200 random walks of 3,000 values two at most: equal steps by chance."""
    taken = [bool(list(on_lines(observed(3000, decimals, level, sd, seed)))) for seed in range(200)]
    assert sum(taken) <= 2


def test_interpolated_values_are_noted_by_make_panel():
    place = np.arange(len(W))
    frame = W.assign(slv=W["slv"].where((place < 100) | (place > 105)).interpolate())
    texts = made(frame)[1]
    assert len(texts) == 1
    assert "lies on straight lines: 6 of" in texts[0]
    assert made(W)[1] == []
