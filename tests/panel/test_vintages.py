"""Panels whose rows hold what had been published by then, against snapshots taken with pandas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimelag.errors import PanelError
from regimelag.panel.make import describe_panel, make_panel
from regimelag.spec import names as nm
from regimelag.spec.kernels import NoLag
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import Control, Driver, Response, Signal

DOLLAR = Driver("dollar", "usd", transform="log_return", periods=3, delay="W-MON")
YIELD = Driver("yield", "tips", periods=3, delay="1B")


def spec_of(*drivers, **changes) -> ModelSpec:
    parts = {"name": "small", "responses": (Response("bitcoin", "btc"),), "drivers": drivers or (DOLLAR,)}
    return ModelSpec(**(parts | changes))


def frame_of(seed=0, days=280) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.date_range("2020-01-01", periods=days, name="date")
    walk = rng.normal(0.0, 0.02, (days, 3)).cumsum(axis=0)
    frame = pd.DataFrame({"btc": np.exp(walk[:, 0]), "tips": walk[:, 1], "usd": np.exp(walk[:, 2])}, index=index)
    frame.loc[index.day_of_week >= 5, ["tips", "usd"]] = np.nan
    return frame


def published_once(frame, column, delay) -> pd.DataFrame:
    """Releases that are never revised."""
    held = frame[column].dropna()
    published = held.index + pd.tseries.frequencies.to_offset(delay)
    return pd.DataFrame({"column": column, "date": held.index, "published": published, "value": held.to_numpy()})


def revised(frame, column, delay, seed) -> pd.DataFrame:
    """Releases of which many are revised at random times, some several times, and some taken back."""
    rng = np.random.default_rng(seed)
    once = published_once(frame, column, delay)
    again = []
    for wave in range(3):
        some = once.sample(frac=0.5, random_state=rng.integers(2**31))
        some = some.assign(published=some["published"] + pd.to_timedelta(rng.integers(1, 60, len(some)), "D"))
        values = some["value"] * np.exp(rng.normal(0, 0.05, len(some)))
        again.append(some.assign(value=np.where(rng.random(len(some)) < 0.05 * wave, np.nan, values)))
    return pd.concat([once, *again]).drop_duplicates(["date", "published"], keep="last", ignore_index=True)


def natural(panel) -> pd.DataFrame:
    role = nm.DRIVER
    return (panel[nm.value_of(role)] * panel[nm.scale_of(role)] + panel[nm.center_of(role)]).to_pandas()


def snapshot(vintages, day) -> pd.Series:
    """The series as it stood on a day; a value that was taken back is gone."""
    known = vintages[vintages["published"] <= day].sort_values("published", kind="stable")
    last = known.drop_duplicates("date", keep="last").set_index("date")["value"].sort_index()
    return last.dropna()


@pytest.mark.parametrize("kind", ["log_return", "difference", "level"])
@pytest.mark.parametrize("seed", range(3))
def test_both_ends_of_a_change_come_from_the_vintage_of_the_rows_day(kind, seed):
    frame = frame_of(seed)
    vintages = revised(frame, "usd", "W-MON", seed)
    driver = replace(DOLLAR, transform=kind, periods=1 if kind == "level" else 3)
    panel = make_panel(spec_of(driver), frame, vintages=vintages)
    found = natural(panel)["dollar"]
    rows = pd.date_range("2020-01-03", found.index[-1], freq="W-FRI")
    stood = {row: snapshot(vintages, row) for row in rows}
    for row, value in found.items():
        now = stood[row]
        if kind == "level":
            assert value == pytest.approx(now.iloc[-1])
            continue
        then = stood[rows[rows.get_loc(row) - 3]].index[-1]
        start, end = now[:then].iloc[-1], now.iloc[-1]
        assert value == pytest.approx(np.log(end / start) if kind == "log_return" else end - start)
        assert panel[nm.DRIVER_DATE].sel(time=row).item() == now.index[-1].value


@pytest.mark.parametrize("driver", [DOLLAR, YIELD])
def test_without_revisions_vintages_and_delays_agree(driver):
    frame = frame_of(5)
    vintages = published_once(frame, driver.column, driver.delay)
    one, two = (make_panel(spec_of(driver), frame, vintages=given) for given in (None, vintages))
    assert one.drop_attrs().identical(two.drop_attrs())


def test_a_column_without_vintages_stands_by_its_delay():
    frame = frame_of(6)
    spec = spec_of(DOLLAR, YIELD)
    with_them = make_panel(spec, frame, vintages=revised(frame, "usd", "W-MON", 1))
    without = make_panel(spec, frame)
    np.testing.assert_array_equal(natural(with_them)["yield"], natural(without)["yield"])
    assert (natural(with_them)["dollar"] != natural(without)["dollar"]).any()
    assert "the values known on the date of each row" in describe_panel(with_them).attrs["notes"][-1]


def test_one_column_against_another_each_as_it_stood():
    frame = frame_of(7)
    frame["tips"] += 5
    ratio = Driver("ratio", "usd", against="tips", transform="log_return", periods=3, delay="1B")
    both = pd.concat([revised(frame, "usd", "1B", 1), revised(frame, "tips", "1B", 2)], ignore_index=True)
    found = natural(make_panel(spec_of(ratio), frame, vintages=both))["ratio"]
    alone = [replace(ratio, column=column, against="") for column in ("usd", "tips")]
    parts = [natural(make_panel(spec_of(driver), frame, vintages=both)) for driver in alone]
    np.testing.assert_allclose(found, parts[0]["ratio"] - parts[1]["ratio"], atol=1e-12)


def test_controls_and_signals_of_the_same_week_hold_the_frames_values():
    frame = frame_of(8)
    control = Control("dollar", "usd", transform="log_return", periods=2)
    signal = Signal("dollar", "usd", kernel=NoLag())
    spec = spec_of(DOLLAR, controls=(control,), signals=(signal,))
    one, two = (make_panel(spec, frame, vintages=given) for given in (None, revised(frame, "usd", "W-MON", 3)))
    for role in (nm.CONTROL, nm.SIGNAL):
        assert one[nm.value_of(role)].equals(two[nm.value_of(role)])


@pytest.mark.parametrize("change", ["noise", "blank", "cut", "all anew"])
@given(seed=st.integers(0, 1000), row=st.integers(15, 35))
@settings(max_examples=5, deadline=None)
def test_nothing_published_after_a_row_changes_the_panel_that_ends_there(seed, row, change):
    frame = frame_of(seed)
    vintages = revised(frame, "usd", "W-MON", seed)
    end = pd.date_range("2020-01-03", periods=row, freq="W-FRI")[-1]
    later = vintages["published"] > end
    other = vintages.copy()
    if change == "noise":
        other.loc[later, "value"] *= np.random.default_rng(seed).uniform(0.1, 10, int(later.sum()))
    elif change == "blank":
        other.loc[later, "value"] = np.nan
    elif change == "cut":
        other = other[~later]
    else:
        more = published_once(frame, "usd", "0D").assign(value=1e6)
        more["published"] = more["date"].clip(lower=end + pd.Timedelta(days=1))
        other = pd.concat([other[~later], more], ignore_index=True)
    # The frame's own column of the revised series is not looked at either.
    changed = frame.assign(usd=frame["usd"] * np.linspace(1, 9, len(frame)))
    one = make_panel(spec_of(), frame, end=end, vintages=vintages)
    two = make_panel(spec_of(), changed, end=end, vintages=other)
    assert one.drop_attrs().identical(two.drop_attrs())


def test_rows_before_the_first_vintage_have_no_value_and_the_error_names_the_first_that_has():
    frame = frame_of(9)
    vintages = published_once(frame, "usd", "W-MON")
    begun = pd.Timestamp("2020-04-06")
    vintages["published"] = vintages["published"].clip(lower=begun)
    with pytest.raises(PanelError, match="'dollar'") as caught:
        make_panel(spec_of(), frame, start="2020-02-07", vintages=vintages)
    # The first row with a vintage is 10 April; a change over three rows begins three later.
    assert "2020-05-01" in caught.value.cure
    panel = make_panel(spec_of(), frame, vintages=vintages)
    assert panel.attrs["start"] == "2020-05-01"


def test_a_series_that_is_no_longer_published_is_stale():
    frame = frame_of(10)
    vintages = published_once(frame, "usd", "W-MON")
    with pytest.raises(PanelError, match="at most 14 days"):
        make_panel(spec_of(), frame, end="2020-10-02", vintages=vintages[vintages["published"] < "2020-08-01"])


BAD = {
    "a list": (lambda v: [1], "DataFrame with columns"),
    "no published": (lambda v: v.drop(columns="published"), "DataFrame with columns"),
    "empty": (lambda v: v[:0], "has rows"),
    "dates as text": (lambda v: v.assign(date=v["date"].astype(str)), "two dates"),
    "a zone": (lambda v: v.assign(published=v["published"].dt.tz_localize("UTC")), "two dates"),
    "no date": (lambda v: v.assign(published=v["published"].where(v.index > 0)), "blanks"),
    "text": (lambda v: v.assign(value="x"), "hold floats"),
    "infinite": (lambda v: v.assign(value=np.inf), "infinite"),
    "twice": (lambda v: pd.concat([v, v[:1]]), "more than once"),
    "another column": (lambda v: v.assign(column="usdd"), "write 'usd'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_vintages_are_refused(case):
    spoil, part = BAD[case]
    frame = frame_of()
    with pytest.raises(PanelError) as caught:
        make_panel(spec_of(), frame, vintages=spoil(published_once(frame, "usd", "W-MON")))
    assert part in str(caught.value)


def test_vintages_of_a_spec_without_series_that_stand_by_publication():
    frame = frame_of()
    spec = ModelSpec(name="bare", responses=(Response("bitcoin", "btc"),), controls=(Control("dollar", "usd"),))
    with pytest.raises(PanelError, match="leave vintages out"):
        make_panel(spec, frame, vintages=published_once(frame, "usd", "W-MON"))


@pytest.mark.parametrize("seed", range(2))
def test_a_new_high_compares_values_as_known_on_the_rows_day(seed):
    """Every price of the trailing window comes from the vintage of the row's day, not from that of its own."""
    frame = frame_of(seed)
    vintages = revised(frame, "usd", "W-MON", seed)
    high = Signal("dollar", "usd", "new_high", 4, "W-MON", kernel=NoLag())
    panel = make_panel(spec_of(YIELD, signals=(high,)), frame, vintages=vintages)
    found = (panel[nm.SIGNAL_VALUE] * panel[nm.scale_of(nm.SIGNAL)] + panel[nm.center_of(nm.SIGNAL)])[:, 0].to_pandas()
    rows = pd.date_range("2020-01-03", found.index[-1], freq="W-FRI")
    first = vintages[vintages["value"].notna()].groupby("date")["published"].min()
    for row, value in found.items():
        stood = snapshot(vintages, row)
        newest = [snapshot(vintages, at).index[-1] for at in rows[rows.get_loc(row) - 4 : rows.get_loc(row) + 1]]
        level = [stood[:day].iloc[-1] for day in newest]
        assert first[newest[-1]] <= row
        assert value == pytest.approx(max(np.log(level[-1] / max(level[:-1])), 0.0), abs=1e-12)
