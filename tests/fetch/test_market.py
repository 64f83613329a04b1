"""fetch_market: the real yfinance client against a server on loopback that speaks Yahoo's chart protocol.

yfinance has some addresses as text inside functions, so its session, and nothing else, is turned to the server.
"""

from __future__ import annotations

import gzip
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loopback import Yahoo, running, turned_session

import regimelag as rl
from regimelag.fetch import market, retry

yfinance = pytest.importorskip("yfinance", reason="yfinance, the extra 'market', is not installed")
DATA = Path(os.environ.get("REGIMELAG_DATA") or Path(__file__).parents[3] / "shared" / "data")
NEW_YORK = "America/New_York"


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory):
    """yfinance keeps time zones and cookies of its own."""
    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))


@pytest.fixture
def waits(monkeypatch):
    taken = []
    monkeypatch.setattr(retry, "pause", taken.append)
    return taken


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with running(Yahoo()) as server:
        yfinance.data.YfData(session=turned_session(server.url))
        server.bars["SLV"] = (NEW_YORK, "ETF", bars("2024-03-07", 6, 22.0, "09:30"))
        server.bars["GC=F"] = (NEW_YORK, "FUTURE", bars("2024-03-07", 6, 2100.0, "00:00"))
        server.bars["BTC-USD"] = ("UTC", "CRYPTOCURRENCY", bars("2024-03-07", 6, 60000.0, "00:00"))
        server.bars["SPY"] = (NEW_YORK, "ETF", bars("2024-03-07", 6, 500.0, "09:30", dividend=0.02))
        server.bars["^N225"] = ("Asia/Tokyo", "INDEX", bars("2024-03-07", 6, 39000.0, "00:00"))
        yield server


def bars(first, count, price, clock, *, dividend=0.0):
    days = pd.date_range(first, periods=count)
    closes = [price + n for n in range(count)]
    return [(f"{day:%Y-%m-%d}T{clock}", close, close * (1 - dividend)) for day, close in zip(days, closes, strict=True)]


def fetch(folder, columns, **more):
    return rl.fetch_market(columns, **({"cache": folder, "timeout": 5.0} | more))


def test_columns_by_name_and_by_symbol_dated_by_the_local_trading_day(server, tmp_path):
    # Daylight saving begins in New York on 10 March 2024; midnight in Tokyo is the day before in UTC.
    frame = fetch(tmp_path, {"gold_usd": "GC=F", "btc_usd": "BTC-USD", "nikkei": "^N225", "slv": "SLV"})
    assert [str(day) for day in frame.index.strftime("%Y-%m-%d")] == [f"2024-03-{n:02d}" for n in range(7, 13)]
    for column, price in {"gold_usd": 2100, "btc_usd": 60000, "nikkei": 39000, "slv": 22}.items():
        assert frame[column].tolist() == [price + n for n in range(6)]
    assert frame.index.tz is None
    assert list(fetch(tmp_path, ["gold_usd", "GC=F"]).columns) == ["gold_usd", "GC=F"]


def test_dividends_are_reinvested_and_the_fee_is_taken_out_of_silver(server, tmp_path):
    frame = fetch(tmp_path, ["silver_usd", "spy_usd", "SLV"])
    np.testing.assert_allclose(frame["spy_usd"], 0.98 * (500 + np.arange(6)), rtol=1e-15)
    growth = frame["silver_usd"] / frame["SLV"]
    # 17.88 years at half a per cent, and a day's worth from row to row.
    np.testing.assert_allclose(growth.iloc[0], 1.0935, atol=1e-4)
    np.testing.assert_allclose(np.diff(np.log(growth)), 0.005 / 365.25, rtol=1e-9)
    assert "0.5 % a year" in " ".join(frame.attrs["notes"])


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real panels are not in {DATA}; set REGIMELAG_DATA")
def test_the_real_silver_price_is_one_of_whole_cents_a_share():
    silver = rl.read_series(DATA / "btc_silver_daily.csv")["silver_usd"].dropna()
    share = silver / market.without_fee(pd.Series(1.0, index=silver.index))
    # Yahoo's prices are cents in single precision; the file has six digits after the point.
    assert (share - share.round(2).astype("float32")).abs().max() < 6e-7


def test_the_day_that_is_not_over_is_left_out(server, tmp_path):
    today = pd.Timestamp.now("UTC").normalize().tz_localize(None)
    server.bars["BTC-USD"] = ("UTC", "CRYPTOCURRENCY", bars(today - pd.Timedelta(days=3), 4, 1.0, "00:00"))
    frame = fetch(tmp_path, ["btc_usd"])
    assert frame.index[-1] == today - pd.Timedelta(days=1)
    assert len(frame) == 3


@pytest.mark.parametrize(
    ("now", "days"), [("2024-03-08T04:59Z", 0), ("2024-03-08T05:01Z", 1), ("2024-03-11T04:01Z", 3)]
)
def test_whether_a_day_is_over_is_asked_where_the_market_is(now, days):
    index = pd.date_range("2024-03-07", periods=4, tz=NEW_YORK)
    closes = pd.Series([1.0, np.nan, 3.0, 4.0], index=index)
    assert len(market.finished_days(closes, pd.Timestamp(now))) == days


def test_the_second_run_needs_no_network_and_no_yfinance(server, tmp_path, monkeypatch):
    first = fetch(tmp_path, ["silver_usd", "gold_usd"])
    asked = len(server.seen)
    monkeypatch.setitem(sys.modules, "yfinance", None)
    second = fetch(tmp_path, ["silver_usd", "gold_usd"])
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert len(server.seen) == asked
    assert second.attrs["origin"]["silver_usd"]["cached"]
    assert "comes from the cache" in second.attrs["notes"][0]


def test_without_yfinance_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(rl.errors.FetchError, match=r"pip install .*\"yfinance[<>=]"):
        fetch(tmp_path, ["silver_usd"])


def test_an_unknown_symbol(server, tmp_path, waits):
    with pytest.raises(rl.errors.FetchError, match="NOSUCH") as caught:
        fetch(tmp_path, ["NOSUCH"])
    assert "check the symbol" in caught.value.cure
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.parametrize(
    ("columns", "part"), [(["silver"], "write 'silver_usd'"), (["vix"], "fetch_fred"), ([], "choose from")]
)
def test_columns_that_cannot_be(server, tmp_path, columns, part):
    with pytest.raises(rl.errors.FetchError) as caught:
        fetch(tmp_path, columns)
    assert part in caught.value.cure
    assert not server.seen


PASSING = {
    "429": 429,
    "500": 500,
    "cut in the middle": "cut",
    "no answer": "reset",
    "slow": "slow",
    "no JSON": (200, {}, "<p>"),
}


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_is_waited_out(server, tmp_path, waits, case):
    before = fetch(tmp_path, ["gold_usd"])
    # yfinance asks twice where it gets an error.
    server.faults = [PASSING[case]] * 2
    frame = fetch(tmp_path, ["gold_usd"], max_age="0D", timeout=1.0 if case == "slow" else 5.0)
    pd.testing.assert_frame_equal(frame, before)
    assert waits


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_stays_is_an_error_and_leaves_the_cache(server, tmp_path, waits, case):
    before = fetch(tmp_path, ["gold_usd"])
    kept = (tmp_path / "market-GC=F.csv").read_bytes()
    server.faults = [PASSING[case]] * 20
    with pytest.raises(rl.errors.FetchError, match="after 5 tries") as caught:
        fetch(tmp_path, ["gold_usd"], max_age="0D", timeout=0.1 if case == "slow" else 5.0)
    assert caught.value.__context__ is None
    assert len(waits) == 4
    assert (tmp_path / "market-GC=F.csv").read_bytes() == kept
    server.faults.clear()
    server.released.set()
    pd.testing.assert_frame_equal(fetch(tmp_path, ["gold_usd"]), before)


def test_an_answer_that_yfinance_does_not_understand_is_no_matter_of_patience(server, tmp_path, waits):
    fetch(tmp_path, ["gold_usd"])
    server.faults = [
        (200, {}, '{"chart": {"result": [{"meta": {}, "indicators": {"quote": [{"x": 1}]}}], "error": null}}')
    ]
    with pytest.raises(rl.errors.FetchError, match="upgrade yfinance"):
        fetch(tmp_path, ["gold_usd"], max_age="0D")
    assert not waits


def test_an_error_page_that_yfinance_keeps_is_asked_for_again(server, tmp_path, waits):
    """yfinance remembers the answer from which it reads a time zone, even if that is an error."""
    server.bars["OTHER"] = server.bars["SPY"]
    server.faults = [500] * 2
    assert len(fetch(tmp_path, ["OTHER"])) == 6
    assert waits


def test_yfinance_is_left_as_it_was(server, tmp_path):
    for hide in (True, False):
        yfinance.config.debug.hide_exceptions = hide
        fetch(tmp_path, ["gold_usd"], max_age="0D")
        assert yfinance.config.debug.hide_exceptions is hide
    yfinance.config.debug.hide_exceptions = True


def test_nothing_warns(server, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch(tmp_path, ["silver_usd"])


def test_a_small_answer_that_unpacks_to_a_large_one_is_not_read_to_its_end(server, tmp_path, waits):
    bomb = gzip.compress(bytes(market.LARGEST + 2**20))
    assert len(bomb) < 2**18
    server.faults = [(200, {"Content-Encoding": "gzip"}, bomb)] * retry.TRIES
    with pytest.raises(rl.errors.FetchError, match="Yahoo answers within"):
        fetch(tmp_path, ["silver_usd"])
    assert not list(tmp_path.glob("*.csv"))
    server.faults = []
    assert len(fetch(tmp_path, ["silver_usd"])) == 6
