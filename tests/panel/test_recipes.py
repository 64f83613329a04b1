"""The page of recipes: every line reads a file in the form of its source, and gives its prices on their days."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pandas as pd
import pytest
from test_exports import DAYS, EARLIER, EXPORTS, MONTHS, PRICES, lines

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
# The export that each file of the page has the form of.
FILES = {
    "SLV.csv": "Yahoo, download button",
    "yfinance.csv": "yfinance download",
    "history.csv": "yfinance history",
    "BTCUSDT-1d.csv": "Binance klines, from milliseconds to microseconds",
    "XBTUSD_1440.csv": "Kraken OHLCVT",
    "btc-usd-max.csv": "CoinGecko",
    "bitcoin_cmc.csv": "CoinMarketCap",
    "coinmetrics.csv": "Coin Metrics API",
    "gc.f.csv": "Stooq",
    "Gold Futures Historical Data.csv": "Investing.com",
    "Gold German.csv": "Investing.com, German",
    "DFII10.csv": "FRED, before 2025",
    "cryptodatadownload.csv": "CryptoDataDownload",
}


def write(folder):
    for name, export in FILES.items():
        (folder / name).write_text(EXPORTS[export].text, encoding="utf-8")
    (folder / "M2SL.csv").write_text(lines("observation_date,M2SL", lambda d, p: f"{d:%Y-%m-%d},{p}", MONTHS))
    (folder / "LBMA-SILVER.csv").write_text(lines("Date,USD", lambda d, p: f"{d:%Y-%m-%d},{p}", newest_first=True))
    stamps = [int(day.timestamp() * 1000) for day in DAYS]
    pd.DataFrame({"timestamp": stamps, "price": PRICES}).to_json(folder / "coingecko.json", orient="records")
    rows = [f"{d:%Y-%m-%d},{s},{p}" for s in ("a", "b") for d, p in zip(DAYS, PRICES, strict=True)]
    (folder / "long.csv").write_text("\n".join(["date,symbol,close", *rows]) + "\n")


def commands():
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def test_every_recipe_reads_its_file(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    read = 0
    for command in commands():
        if any(kind in command for kind in (".xlsx", ".parquet")):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            exec(command, names)
        if "rl.read_series" not in command:
            continue
        frame = names[command.partition(" ")[0]]
        if "read_series(frame" in command:
            assert frame.shape[1] in (1, 2)
        days = MONTHS if "M2SL" in command else EARLIER if "max.csv" in command or "00:00 UTC" in command else DAYS
        days = DAYS if "24:00 UTC" in command else days
        assert frame.index.equals(days.as_unit(frame.index.unit)), command
        assert (frame.to_numpy().T == PRICES).all(), command
        read += 1
    assert read > 15


def test_parquet_in_the_recipes(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"date": DAYS.strftime("%Y-%m-%d"), "a": PRICES}).to_parquet("prices.parquet")
    names: dict[str, object] = {}
    for command in commands():
        if "import" in command or ".parquet" in command:
            exec(command, names)
    assert names["macro"]["a"].tolist() == PRICES
