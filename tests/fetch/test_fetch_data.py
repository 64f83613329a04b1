"""examples/fetch_data.py against servers on loopback, and what it writes in examples/btc_silver.py."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from pathlib import Path

import fredapi
import numpy as np
import pandas as pd
import pytest
from loopback import KEY, Fred, Yahoo, running, turned_session

import regimelag as rl
from regimelag.fetch import fred, market

yfinance = pytest.importorskip("yfinance", reason="yfinance, the extra 'market', is not installed")
EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    specification = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def days():
    return pd.date_range("2014-09-17", "2016-12-30")


@pytest.fixture
def servers(monkeypatch, tmp_path, days):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FRED_API_KEY", KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    yfinance.set_tz_cache_location(str(tmp_path / "yfinance"))
    rng = np.random.default_rng(0)
    walk = rng.normal(0, 0.01, (len(days), 4)).cumsum(axis=0)
    working = days.day_of_week < 5
    with running(Fred()) as fred, running(Yahoo()) as yahoo:
        monkeypatch.setattr(fredapi.Fred, "root_url", f"{fred.url}/fred")
        yfinance.data.YfData(session=turned_session(yahoo.url))
        for name, values, delay in (
            ("DFII10", walk[:, 0], "1B"),
            ("DTWEXBGS", 100 * np.exp(walk[:, 1]), "W-MON"),
            ("WALCL", 7e6 * np.exp(walk[:, 2]), "1B"),
        ):
            out = days[working] + pd.tseries.frequencies.to_offset(delay)
            texts = [[f"{day:%Y-%m-%d}" for day in held] for held in (days[working], out)]
            fred.releases[name] = list(zip(*texts, [f"{value:.4f}" for value in values[working]], strict=True))
        for name, zone, clock, place, held in (
            ("SLV", "America/New_York", "09:30", 2, days[working]),
            ("BTC-USD", "UTC", "00:00", 3, days),
        ):
            closes = 20 * np.exp(walk[days.isin(held), place])
            bars = [(f"{day:%Y-%m-%d}T{clock}", float(c), float(c)) for day, c in zip(held, closes, strict=True)]
            yahoo.bars[name] = (zone, "ETF", bars)
        yield fred, yahoo


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["fetch_data.py", *map(str, arguments)])
    load("fetch_data").main()


def test_from_a_key_to_a_csv_that_the_flagship_takes(servers, monkeypatch, tmp_path, capsys, days):
    out = tmp_path / "data" / "prices.csv"
    run(monkeypatch, "--out", out, "--cache", tmp_path / "cache")
    said = capsys.readouterr().out
    assert KEY not in said
    frame = rl.read_series(out)
    assert list(frame.columns) == ["real_yield_10y", "dollar_index", "btc_usd", "silver_usd"]
    assert frame["btc_usd"].notna().all()
    assert frame.index.equals(days.as_unit(frame.index.unit))
    spec = rl.read_spec("btc_silver")
    # The start that it names is the one that the next script takes.
    start = said.split("--start ")[1].split()[0]
    panel = load("btc_silver").load_panel(spec, argparse.Namespace(data=out, start=start, end=None))
    assert panel.attrs["start"] == start
    assert panel.attrs["origin"] == "prices.csv"
    expected = rl.make_panel(spec, frame)
    assert panel.drop_attrs().identical(expected.drop_attrs())


def test_a_second_run_needs_no_network_and_replaces_nothing_unasked(servers, monkeypatch, tmp_path, capsys):
    out, cache = tmp_path / "prices.csv", tmp_path / "cache"
    run(monkeypatch, "--out", out, "--cache", cache)
    first, asked = out.read_bytes(), [len(server.seen) for server in servers]
    with pytest.raises(SystemExit):
        run(monkeypatch, "--out", out, "--cache", cache)
    assert "--overwrite" in capsys.readouterr().err
    monkeypatch.delenv("FRED_API_KEY")
    run(monkeypatch, "--out", out, "--cache", cache, "--overwrite")
    assert out.read_bytes() == first
    assert [len(server.seen) for server in servers] == asked
    assert "comes from the cache" in capsys.readouterr().out


def test_as_of_a_day_and_without_a_key(servers, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    run(monkeypatch, "--out", tmp_path / "then.csv", "--cache", cache, "--as-of", "2016-06-30")
    then = rl.read_series(tmp_path / "then.csv")
    # Thursday the 30th: real yields of Wednesday, the dollar of Friday the week before.
    assert str(then["real_yield_10y"].last_valid_index().date()) == "2016-06-29"
    assert str(then["dollar_index"].last_valid_index().date()) == "2016-06-24"
    assert str(then.index[-1].date()) == "2016-06-30"
    monkeypatch.delenv("FRED_API_KEY")
    with pytest.raises(SystemExit, match="FRED_API_KEY is not set"):
        run(monkeypatch, "--out", tmp_path / "none.csv", "--cache", tmp_path / "other", "--as-of", "2016-06-30")


def test_the_page_on_data_does_what_it_says(servers, tmp_path):
    text = (EXAMPLES.parent / "docs" / "data.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert "the values known on the date of each row" in names["panel"].attrs["notes"]
    assert str(names["then"]["dollar_index"].last_valid_index().date()) == "2016-06-24"
    assert (tmp_path / "home" / "regimelag" / "fred-DTWEXBGS-vintages.csv").is_file()


def test_the_page_on_data_lists_every_column():
    text = (EXAMPLES.parent / "docs" / "data.md").read_text()
    for column, identifier in fred.SERIES.items() | market.SYMBOLS.items():
        assert f"`{column}`" in text
        assert identifier in text or column in market.SYMBOLS
