"""Series without a key: the real requests to a server on loopback that gives the files of FRED and Stooq."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from loopback import Files, running

import regimelag as rl
from regimelag.errors import FetchError
from regimelag.fetch import download, market, retry

DAYS = pd.date_range("2024-01-01", periods=40)


@pytest.fixture
def waits(monkeypatch):
    taken = []
    monkeypatch.setattr(retry, "pause", taken.append)
    return taken


@pytest.fixture
def server(monkeypatch):
    for name in ("FRED_API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with running(Files()) as server:
        monkeypatch.setattr(download, "FRED_GRAPH", f"{server.url}/graph/fredgraph.csv")
        monkeypatch.setattr(download, "STOOQ", f"{server.url}/q/d/l/")
        server.series["DFII10"] = [(f"{day:%Y-%m-%d}", f"{n / 10}" if n else ".") for n, day in enumerate(DAYS)]
        for n, symbol in enumerate(market.STOOQ_SYMBOLS.values()):
            server.series[symbol] = [(f"{day:%Y-%m-%d}", f"{100 + n + k}") for k, day in enumerate(DAYS)]
        yield server


def macro(folder, columns=("real_yield_10y",), **more):
    return rl.fetch_fred(columns, **({"cache": folder, "timeout": 5.0} | more))


def prices(folder, columns=("silver_usd",), **more):
    return rl.fetch_market(columns, **({"cache": folder, "timeout": 5.0, "source": "stooq"} | more))


def test_fred_without_a_key(server, tmp_path):
    frame = macro(tmp_path)
    assert frame.index.equals(DAYS[1:].as_unit("us"))
    np.testing.assert_array_equal(frame["real_yield_10y"], np.arange(1, 40) / 10)
    assert 'delay in a spec is "1B"' in frame.attrs["notes"][0]
    assert server.seen == ["/graph/fredgraph.csv?id=DFII10"]
    pd.testing.assert_frame_equal(macro(tmp_path), frame)
    assert len(server.seen) == 1


def test_vintages_and_days_of_the_past_need_the_key(server, tmp_path):
    for call in (lambda: macro(tmp_path, as_of="2024-01-05"), lambda: rl.fetch_vintages(["DFII10"], cache=tmp_path)):
        with pytest.raises(FetchError, match="FRED_API_KEY is not set"):
            call()
    assert not server.seen


@pytest.mark.parametrize(
    "as_of", ["05/06/2020", "2020", "2020-06", "June 2020", np.datetime64("2020"), 20200605, "2999-01-01"]
)
def test_a_day_that_can_be_read_in_two_ways_is_refused(server, tmp_path, as_of):
    with pytest.raises(FetchError, match="as_of is a day before today") as caught:
        macro(tmp_path, as_of=as_of)
    names: dict = {}
    exec(caught.value.cure.removeprefix("write "), names)
    with pytest.raises(FetchError, match="FRED_API_KEY is not set"):
        macro(tmp_path, as_of=names["as_of"])
    assert not server.seen


def test_monthly_series_say_how_they_are_dated(server, tmp_path):
    months = pd.date_range("2023-01-01", periods=12, freq="MS")
    for name in ("GS10", "CPIAUCSL"):
        server.series[name] = [(f"{day:%Y-%m-%d}", str(n + 1)) for n, day in enumerate(months)]
    frame = macro(tmp_path, ["GS10", "CPIAUCSL"])
    assert 'dated = "start"' in frame.attrs["notes"][0]
    assert 'value = "average"' in frame.attrs["notes"][0]
    assert 'dated = "start"' in frame.attrs["notes"][1]
    assert "average" not in frame.attrs["notes"][1]


@pytest.mark.parametrize("column", market.STOOQ_SYMBOLS)
def test_prices_of_a_second_provider(server, tmp_path, column):
    frame = prices(tmp_path, [column])
    closes = 100.0 + list(market.STOOQ_SYMBOLS).index(column) + np.arange(40)
    if column == "silver_usd":
        closes = market.without_fee(pd.Series(closes, index=DAYS)).to_numpy()
    np.testing.assert_allclose(frame[column], closes, rtol=1e-12)
    assert (tmp_path / f"stooq-{market.STOOQ_SYMBOLS[column]}.csv").is_file()


def test_the_day_that_is_not_over_is_left_out(server, tmp_path):
    today = pd.Timestamp.now("Europe/Warsaw").tz_localize(None).normalize()
    server.series["slv.us"] = [(f"{today - pd.Timedelta(days=n):%Y-%m-%d}", "30") for n in (2, 1, 0)]
    assert prices(tmp_path, {"slv": "slv.us"}).index[-1] == today - pd.Timedelta(days=1)


@pytest.mark.parametrize(
    "call", [lambda folder: macro(folder, ["NOSUCH"]), lambda folder: prices(folder, {"x": "nosuch.us"})]
)
def test_an_unknown_series(server, tmp_path, waits, call):
    with pytest.raises(FetchError, match="has the series") as caught:
        call(tmp_path)
    assert caught.value.cure.startswith("check the ")
    assert not waits
    assert not list(tmp_path.glob("*.csv"))


def test_a_source_that_is_none(server, tmp_path):
    with pytest.raises(FetchError, match="source is one of"):
        prices(tmp_path, source="kitco")
    with pytest.raises(FetchError, match="SLV"):
        prices(tmp_path, ["SLV"])


FAULTS = {
    "429": 429,
    "500": 500,
    "cut": "cut",
    "cut short": "cut short",
    "reset": "reset",
    "no CSV": (200, {}, "<html>please wait</html>"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [macro, prices])
def test_a_fault_is_waited_out_and_one_that_stays_leaves_the_cache(server, tmp_path, waits, fault, call):
    before = call(tmp_path)
    server.faults = [FAULTS[fault]]
    pd.testing.assert_frame_equal(call(tmp_path, max_age="0D"), before)
    assert len(waits) == 1
    server.faults = [FAULTS[fault]] * 10
    with pytest.raises(FetchError, match="after 5 tries"):
        call(tmp_path, max_age="0D")
    server.faults.clear()
    pd.testing.assert_frame_equal(call(tmp_path), before)


@pytest.mark.parametrize("text", ["Date,Open\n2024-01-01,1\n", "Date,Close\nsoon,1\n", "Date,Close\n2024-01-01,high\n"])
def test_a_file_of_another_shape_is_refused(server, tmp_path, text):
    server.faults = [(200, {}, text)]
    with pytest.raises(FetchError, match="has dates and numbers"):
        prices(tmp_path)


# ---- two sources


def walk(seed=0, rows=400):
    days = pd.bdate_range("2022-01-03", periods=rows)
    moves = 0.02 * np.random.default_rng(seed).standard_normal(rows)
    return pd.DataFrame({"btc_usd": 100.0 * np.exp(moves.cumsum())}, index=days)


def test_two_sources_that_agree():
    one = walk()
    noise = 1 + 0.002 * np.random.default_rng(1).standard_normal((len(one), 1))
    table = rl.evaluation.cross_check(one, one * noise)
    assert rl.sentences(table) == []
    row = table.loc["btc_usd"]
    assert (row["dates"], row["only_one"], row["only_other"], row["shift"]) == (400, 0, 0, 0)
    assert row["ratio"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shift", [-1, 1, 2])
def test_a_source_that_is_late_or_early_is_said(shift):
    one = walk()
    table = rl.evaluation.cross_check(one, one.shift(shift).dropna())
    assert table.loc["btc_usd", "shift"] == shift
    assert f"{abs(shift)} dates {'late' if shift > 0 else 'early'}" in rl.sentences(table)[0]


def test_another_level_a_bad_value_and_missing_dates_are_said():
    one = walk()
    other = one * 31.1
    other.iloc[200] *= 1.5
    said = rl.sentences(rl.evaluation.cross_check(one, other.drop(other.index[20:100])))
    assert len(said) == 3
    assert "31.1 times" in said[0]
    assert f"50 % on {one.index[200].date()}" in said[1]
    assert "80 dates are in the first source alone" in said[2]


def test_sources_that_cannot_be_compared():
    one = walk()
    with pytest.raises(rl.errors.PanelError, match="same name"):
        rl.evaluation.cross_check(one, one.rename(columns={"btc_usd": "Close"}))
    with pytest.raises(rl.errors.PanelError, match="at least 10 dates"):
        rl.evaluation.cross_check(one, one.set_axis(one.index + pd.Timedelta(days=4000), axis=0))


def test_the_call_of_the_page_on_data(server, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = prices(tmp_path, ["gold_usd"]), prices(tmp_path, {"gold_usd": "gc.f"})
    assert rl.sentences(rl.evaluation.cross_check(one, other)) == []
