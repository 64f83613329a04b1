"""Every kind of bad input that was thought of: each gets an error that names the column, the date and the cure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from test_panel import daily, spec_of, weekly

import regimelag as rl
from regimelag.panel.make import check_panel

W = weekly()
FIRST, EIGHTH, FIFTIETH, LAST = (str(W.index[row].date()) for row in (0, 8, 50, -1))
SILVER, BITCOIN = spec_of().signals[0], spec_of().responses[0]
CSV = "date,silver,bitcoin\n2026-01-22,95.5,90000\n2026-01-23,102.56,91000\n"


class Case(NamedTuple):
    """What is done, and what the error names; the date and the column are empty where there is none."""

    call: Callable
    column: str
    date: str
    cure: str


def put(row: object, column: str, value: object) -> pd.DataFrame:
    """The weekly frame with one cell, or a few, replaced."""
    frame = W.astype({column: object}) if isinstance(value, str) else W.copy()
    frame.loc[row, column] = value
    return frame


def panel(frame: object, **window) -> Callable:
    return lambda: rl.make_panel(spec_of(), frame, **window)


def of(frame: object, window: dict | None = None, **parts) -> Callable:
    return lambda: rl.make_panel(spec_of(**parts), frame, **(window or {}))


def indexed(index: pd.Index) -> pd.DataFrame:
    return W.set_axis(index, axis=0)


def file(text: str) -> Callable:
    def read(folder):
        path = folder / "prices.csv"
        path.write_text(text, encoding="utf-8")
        return rl.read_series(path)

    return read


def long_still() -> pd.DataFrame:
    return put(W.index[50:56], "slv", 0.7)


def filled_weekends() -> Callable:
    """Daily rows over Easter 2020 with closed days filled: Thursday's price until Tuesday."""
    frame = daily()
    frame.loc["2020-04-10":"2020-04-13", ["slv", "tips", "usd"]] = np.nan
    return of(frame.ffill(), {"start": "2020-02-03"}, frequency="D", drivers=(), controls=())


def hundredfold() -> pd.DataFrame:
    return W.assign(slv=W["slv"].where(W.index < W.index[50], 100.0 * W["slv"]))


def other_panel(**parts) -> Callable:
    return lambda: check_panel(spec_of(**parts), rl.make_panel(spec_of(), W))


LATE_DRIVER = rl.Driver("real yield", "tips", periods=3, close="24:00 UTC")
NEW_YORK = (replace(BITCOIN, close="16:00 America/New_York"),)
MANY = tuple(rl.Control(f"c{n}", "tips", periods=n + 1) for n in range(20))

FRAMES = {
    "no frame": Case(panel(W.to_numpy()), "", "", "read_series"),
    "one column alone": Case(panel(W["btc"]), "", "", "DataFrame"),
    "no rows": Case(panel(W.iloc[:0]), "", "", "check where the data come from"),
    "unknown column": Case(panel(W.rename(columns={"slv": "slvr"})), "'slv'", "", "write 'slvr'"),
    "unknown column, none alike": Case(panel(W.rename(columns={"slv": "qqq"})), "'slv'", "", "btc, qqq, tips, usd"),
    "duplicate columns": Case(panel(W.rename(columns={"slv": "btc"})), "btc", "", "rename or drop"),
    "columns of two levels": Case(panel(pd.concat({"Close": W}, axis=1)), "'btc'", "", 'frame["Close"]'),
    "index of integers": Case(panel(W.reset_index(drop=True)), "", "", "set_index"),
    "index of text": Case(panel(indexed(W.index.astype(str))), "", "", "frame = read_series(frame)"),
    "index of days first": Case(panel(indexed(W.index.strftime("%d/%m/%Y"))), "", "", "frame = read_series(frame)"),
    "index of whole numbers": Case(
        panel(indexed(W.index.strftime("%Y%m%d").astype(int))), "", "", "frame = read_series(frame)"
    ),
    "index of periods": Case(panel(indexed(W.index.to_period("W-FRI"))), "", "", "to_timestamp"),
    "time zone": Case(panel(W.tz_localize("UTC")), "", "UTC", "close='00:00 UTC'"),
    "time of day": Case(panel(indexed(W.index + pd.Timedelta("16h"))), "", f"{FIRST} 16:00", "close='16:00 UTC'"),
    "no date": Case(panel(indexed(W.index.where(W.index != W.index[5]))), "", "row 5", "drop those rows"),
    "duplicate dates": Case(panel(pd.concat([W.iloc[:51], 2 * W.iloc[50:]])), "'btc'", FIFTIETH, "duplicated"),
    "duplicate dates that agree": Case(panel(pd.concat([W.iloc[:51], W.iloc[50:]])), "", FIFTIETH, "groupby(level=0)"),
    "unsorted dates": Case(panel(W.iloc[::-1]), "", LAST, "sort_index"),
    "far dates": Case(
        panel(indexed(pd.DatetimeIndex(W.index.to_numpy().astype("M8[s]") + np.timedelta64(300_000, "D")))),
        "",
        "2841",
        "drop those rows",
    ),
    "infinite": Case(panel(put(W.index[50], "tips", np.inf)), "'tips'", FIFTIETH, "correct column 'tips'"),
    "text": Case(panel(put(W.index[50], "tips", "high")), "'tips'", FIFTIETH, "to_numeric"),
    "numbers as text": Case(panel(W.assign(tips=W["tips"].astype(str))), "'tips'", FIRST, "to_numeric"),
    "thousands separators": Case(panel(W.assign(slv="1,234.5")), "'slv'", FIRST, "to_numeric"),
    "numbers as objects": Case(panel(W.astype({"tips": object})), "'tips'", "", "to_numeric"),
    "decimals": Case(panel(W.assign(tips=Decimal("1.5"))), "'tips'", FIRST, "to_numeric"),
    "truth values": Case(panel(W.assign(tips=True)), "'tips'", FIRST, "astype(float)"),
    "complex": Case(panel(W.assign(tips=W["tips"] + 1j)), "'tips'", FIRST, ".real"),
    "dates in a column": Case(panel(W.assign(tips=W.index)), "'tips'", FIRST, "to_numeric"),
    "all missing": Case(panel(W * np.nan), "", "", "give more data"),
}
VALUES = {
    "price of zero": Case(panel(put(W.index[50], "btc", 0.0)), "'btc'", FIFTIETH, "correct column 'btc'"),
    "negative price": Case(panel(put(W.index[50], "usd", -3.5)), "'usd'", FIFTIETH, "correct column 'usd'"),
    "missing signal": Case(panel(put(W.index[50], "slv", np.nan)), "'slv'", FIFTIETH, "fill column 'slv'"),
    "missing control": Case(of(put(W.index[50], "tips", np.nan), drivers=()), "'tips'", FIFTIETH, "fill column 'tips'"),
    "missing signal in the history": Case(
        panel(put(W.index[8], "slv", np.nan), start=W.index[12]), "'slv'", EIGHTH, "fill column 'slv'"
    ),
    "signal that ends early": Case(
        panel(put(W.index[-2:], "slv", np.nan), end=LAST),
        "'slv'",
        str(W.index[-3].date()),
        f'end = "{W.index[-3].date()}"',
    ),
    "signal with no value": Case(panel(W.assign(slv=np.nan)), "'slv'", LAST, "further back"),
    "driver with no value": Case(panel(W.assign(usd=np.nan)), "'usd'", LAST, "further back"),
    "all responses missing": Case(panel(W.assign(btc=np.nan)), "'btc'", "", "more of column 'btc'"),
    "response with few values": Case(
        panel(put(W.index[60:], "btc", np.nan), start=W.index[55]), "'btc'", "", "more of column 'btc'"
    ),
    "constant control": Case(of(W.assign(tips=1.0), drivers=()), "'tips'", LAST, "check column 'tips'"),
    "constant return": Case(panel(W.assign(slv=np.exp(0.01 * np.arange(len(W))))), "'slv'", LAST, "check column 'slv'"),
    "price that stands still": Case(panel(long_still()), "'slv'", FIFTIETH, "blank the repeats in column 'slv'"),
    "weekends that were filled": Case(filled_weekends(), "'slv'", "2020-04-09", "blank the repeats in column 'slv'"),
    "price times 100 overnight": Case(panel(hundredfold()), "'slv'", FIFTIETH, "bring column 'slv' to one unit"),
    "one price in cents": Case(
        panel(put(W.index[50], "btc", 100 * W["btc"].iloc[50])), "'btc'", FIFTIETH, "correct that value"
    ),
    "values too large to square": Case(
        of(W.assign(tips=1e200 * W["tips"]), drivers=()), "'tips'", str(W.index[5].date()), "larger unit"
    ),
    "signal of gains that never came": Case(
        of(
            W.assign(slv=np.exp(-(np.arange(len(W)) ** 1.1))),
            signals=(replace(SILVER, transform="gain", periods=13),),
        ),
        "'slv'",
        LAST,
        "widen the window",
    ),
    "nothing beyond the other column": Case(
        of(W.assign(usd=W["slv"] ** 2), signals=(replace(SILVER, beyond="usd"),), drivers=()),
        "'slv'",
        "",
        "drop beyond",
    ),
    "second column missing": Case(
        of(put(W.index[50], "usd", np.nan), signals=(replace(SILVER, against="usd"),), drivers=()),
        "'usd'",
        FIFTIETH,
        "fill column 'usd'",
    ),
}
WINDOWS = {
    "too short a history": Case(panel(W, start=W.index[3]), "'slv'", str(W.index[3].date()), "start on"),
    "late driver": Case(
        panel(put(W.index[:20], "usd", np.nan), start=W.index[10]), "'usd'", str(W.index[24].date()), "start on"
    ),
    "start before the data": Case(panel(W, start="2019-01-01"), "", FIRST, f"start on {W.index[5].date()}"),
    "start after the data": Case(panel(W, start="2050-01-01"), "", LAST, f"start on {LAST}"),
    "end before the data": Case(panel(W, end="2019-01-01"), "", FIRST, f"end on {FIRST}"),
    "end after the data": Case(panel(W, end="2050-01-01"), "", LAST, "leave end out"),
    "empty window": Case(panel(W, start="2021-06-01", end="2021-01-01"), "", "2021-01-01", "before end"),
    "start no date": Case(panel(W, start="soon"), "", "'soon'", '"2013-01-01"'),
    "start with the day first": Case(panel(W, start="05/06/2020"), "", "05/06/2020", '"2013-01-01"'),
    "start a year": Case(panel(W, start="2020"), "", "'2020'", '"2013-01-01"'),
    "start a number": Case(panel(W, start=2013), "", "2013", '"2013-01-01"'),
    "start a list": Case(panel(W, start=["2020-03-06"]), "", "2020-03-06", '"2013-01-01"'),
    "end with a zone": Case(panel(W, end=pd.Timestamp("2021-01-01", tz="UTC")), "", "2021-01-01", '"2013-01-01"'),
    "end not a time": Case(panel(W, end=pd.NaT), "", "NaT", '"2013-01-01"'),
    "too few rows": Case(panel(W, start=W.index[-8]), "", LAST, "widen the window"),
    "fewer rows than lags": Case(of(W, {"start": W.index[-25]}, max_lag=30), "", LAST, "lower max_lag"),
    "fewer rows than coefficients": Case(
        of(W, {"start": W.index[-20]}, controls=MANY), "'btc'", "", "explain it by less"
    ),
    "weekly data on daily rows": Case(of(W, frequency="B"), "'slv'", "", "every 7 days"),
    "weekly data on calendar days": Case(of(W, frequency="D"), "'slv'", "", "longer frequency"),
    "no spec": Case(lambda: rl.make_panel("btc_silver", W), "", "", "read_spec"),
}
CLOCKS = {
    "driver that closes after the response": Case(
        of(W, responses=NEW_YORK, drivers=(LATE_DRIVER,)), "'tips'", str(W.index[5].date()), 'delay = "1D"'
    ),
    "close without a zone": Case(lambda: rl.Signal("silver", "slv", close="16:00"), "'silver'", "16:00", "New_York"),
    "close of a zone that is none": Case(
        lambda: rl.Signal("silver", "slv", close="16:00 New_York"), "'silver'", "16:00", "America/New_York"
    ),
    "close by the other clock": Case(lambda: rl.Signal("silver", "slv", close="4pm UTC"), "'silver'", "4pm", "16:00"),
    "close past midnight": Case(lambda: rl.Signal("silver", "slv", close="24:30 UTC"), "'silver'", "24:30", "24:00"),
    "close no text": Case(lambda: rl.Signal("silver", "slv", close=16), "'silver'", "16", "16:00"),
    "two closes of one column": Case(
        lambda: spec_of(
            responses=(replace(BITCOIN, close="24:00 UTC"),),
            controls=(rl.Control("own", "btc", close="16:00 America/New_York"),),
        ),
        "'btc'",
        "24:00 UTC",
        "correct one",
    ),
    "negative delay": Case(lambda: rl.Control("money", "m2", delay="-1D"), "'money'", "-1D", "28D"),
    "delay a number": Case(lambda: rl.Driver("money", "m2", delay=28), "'money'", "28", "28D"),
    "delayed response": Case(lambda: rl.Response("bitcoin", "btc", delay="1D"), "'bitcoin'", "1D", 'delay = "0D"'),
    "stale money": Case(
        of(
            put(W.index[60:], "usd", np.nan),
            {"end": LAST},
            drivers=(rl.Driver("money", "usd", delay="28D", periods=1),),
        ),
        "'usd'",
        str(W.index[59].date()),
        "fill column 'usd'",
    ),
}
SPECS = {
    "a driver among signals": Case(lambda: spec_of(signals=(rl.Driver("silver", "slv"),)), "", "", "regimelag.Signal"),
    "a name for a series": Case(lambda: spec_of(controls=("slv",)), "", "", "regimelag.Control"),
    "a spread of no rows": Case(lambda: rl.Control("silver", "slv", periods=0), "'silver'", "", "periods = 1"),
    "a response without a tuple": Case(lambda: spec_of(responses=BITCOIN), "responses", "", "comma"),
    "a name for the drivers": Case(lambda: spec_of(drivers="usd"), "drivers", "", "comma"),
    "a transform that is none": Case(lambda: rl.Control("silver", "slv", "return"), "'silver'", "", "log_return"),
    "panel of another delay": Case(
        other_panel(controls=(rl.Control("real yield", "tips", delay="1B"),)), "'real yield'", "1B", "make_panel"
    ),
    "panel of another column": Case(other_panel(signals=(replace(SILVER, column="gld"),)), "'gld'", "", "make_panel"),
    "panel of another name": Case(other_panel(signals=(replace(SILVER, name="gold"),)), "silver", "", "make_panel"),
    "panel of another history": Case(other_panel(max_lag=3), "", str(W.index[1].date()), "make_panel"),
    "frame for a panel": Case(lambda: rl.describe_panel(W), "", "", "make_panel"),
}
FILES = {
    "file with the day first in one row": Case(
        file(CSV.replace("2026-01-23", "23/01/2026")), "'date'", "23/01/2026", "2026-01-23"
    ),
    "file with the day first or the month": Case(
        file(CSV.replace("2026-01-22", "01/02/2026").replace("2026-01-23", "01/03/2026")),
        "'date'",
        "2026-02-01 or 2026-01-02",
        "dayfirst=True",
    ),
    "file with no such day": Case(file(CSV.replace("2026-01-23", "2026-02-30")), "'date'", "2026-02-30", "correct"),
    "file with thousands": Case(file(CSV.replace("102.56", '"1,102.56"')), "'silver'", "2026-01-23", "thousands=','"),
    "file with a percent sign": Case(file(CSV.replace("102.56", "4%")), "'silver'", "2026-01-23", "plain number"),
    "file with colons": Case(file(CSV.replace(",", ":")), "", "", "commas"),
    "file of stamps at midnight": Case(
        file(CSV.replace("2026-01-22", "2026-01-22 00:00:00").replace("2026-01-23", "2026-01-23 00:00:00")),
        "'date'",
        "2026-01-22 00:00:00",
        "close='00:00 UTC'",
    ),
    "file without a header": Case(file(CSV.partition("\n")[2]), "", "2026-01-22", "names="),
    "file with a short line": Case(file(CSV.replace("102.56,91000", "102.56")), "", "line 3", "correct line 3"),
    "file with times": Case(file(CSV.replace("2026-01-23", "2026-01-23 16:00")), "'date'", "16:00", "one observation"),
    "file with a day twice": Case(
        file(CSV.replace("2026-01-23", "2026-01-22")), "'silver'", "2026-01-22", "duplicated"
    ),
    "file with infinity": Case(file(CSV.replace("102.56", "1e999")), "'silver'", "2026-01-23", "correct column"),
    "file that is not there": Case(lambda: rl.read_series("no/such.csv"), "", "", "check the path"),
}
CASES = FRAMES | VALUES | WINDOWS | CLOCKS | SPECS | FILES


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_with_column_date_and_cure(name, tmp_path):
    case = CASES[name]
    with pytest.raises(rl.RegimelagError) as caught:
        case.call(tmp_path) if name in FILES and "not there" not in name else case.call()
    error = caught.value
    assert case.column in str(error)
    assert case.date in str(error)
    assert case.cure in error.cure
    assert all((error.asked, error.rule, error.came, error.cure))
    assert not re.search(r"(?<!\()\bnan\b", str(error).lower())


def test_there_are_more_than_forty_kinds():
    assert len(CASES) > 80


def test_what_is_only_unusual_is_taken():
    """Four equal prices, a factor below ten, and rates that stand still."""
    calm, wild = put(W.index[50:54], "slv", 0.7), W.copy()
    wild.loc[W.index[50] :, "slv"] *= 9.0 * W["slv"].iloc[49] / W["slv"].iloc[50]
    for frame in (calm, wild):
        rl.make_panel(spec_of(), frame)
    still = put(W.index[50:60], "tips", 0.25)
    rl.make_panel(spec_of(), still)
