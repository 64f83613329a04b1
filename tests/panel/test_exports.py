"""Files in the shape of real exports: each gives the right values, or a cure that does so when it is carried out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
import pytest

from regimelag.errors import PanelError
from regimelag.panel.read import read_series

DAYS = pd.date_range("2026-01-19", periods=5)
PRICES = [1012.5, 1018.25, 1003.0, 1021.75, 1102.5]
MONTHS = pd.date_range("2025-01-01", periods=5, freq="MS")
QUARTERS = pd.date_range("2024-01-01", periods=5, freq="QS")
US = "{:,.2f}".format


def lines(header: str, row: Callable[[pd.Timestamp, float], str], days=DAYS, *, newest_first=False) -> str:
    held = [row(day, price) for day, price in zip(days, PRICES, strict=True)]
    return "\n".join([header, *(held[::-1] if newest_first else held)]) + "\n"


def seconds(day: pd.Timestamp) -> int:
    return int((day - pd.Timestamp("1970-01-01")) / pd.Timedelta(seconds=1))


def serial(day: pd.Timestamp) -> int:
    return (day - pd.Timestamp("1899-12-30")).days


class Export(NamedTuple):
    """A file.

    Attributes
    ----------
    text : str
        Its content.
    column : str
        Column with the prices.
    days : DatetimeIndex
        Right dates.
    given : dict
        Arguments of the call.
    cures : int
        How many refusals come before the values.
    choose : str
        Part of the alternative to choose, where a cure offers several.
    """

    text: str
    column: str
    days: pd.DatetimeIndex = DAYS
    given: Mapping[str, str | int] = MappingProxyType({})
    cures: int = 0
    choose: str = ""


EARLIER = DAYS - pd.Timedelta(days=1)
KLINE = "{0},{1},{1},{1},{1},10,{2},100,5,3,30,0".format
YAHOO = "Price,Adj Close,Close,High\nTicker,SLV,SLV,SLV\nDate,,,\n"
EXPORTS = {
    "Yahoo, download button": Export(
        lines("Date,Open,High,Low,Close,Volume", lambda d, p: f"{d:%Y-%m-%d},1,1,1,{p},7"), "Close"
    ),
    "Yahoo, page": Export(
        lines("Date,Close,Volume", lambda d, p: f'"{d:%b %d, %Y}","{US(p)}","1,234"', newest_first=True),
        "Close",
        cures=1,
    ),
    "yfinance download": Export(YAHOO + lines("", lambda d, p: f"{d:%Y-%m-%d},1,{p},2").lstrip(), "Close"),
    "yfinance download of two symbols": Export(
        "Price,Close,Close\nTicker,GLD,SLV\nDate,,\n" + lines("", lambda d, p: f"{d:%Y-%m-%d},1,{p}").lstrip(), "SLV"
    ),
    "yfinance history": Export(lines("Date,Close", lambda d, p: f"{d:%Y-%m-%d} 00:00:00-05:00,{p}"), "Close", cures=1),
    "yfinance history of a crypto price": Export(
        lines("Date,Close", lambda d, p: f"{d:%Y-%m-%d} 00:00:00+00:00,{p}"), "Close", cures=1
    ),
    "New York midnights in UTC": Export(
        lines("date,close", lambda d, p: f"{d:%Y-%m-%d}T05:00:00Z,{p}"),
        "close",
        given={"tz": "America/New_York", "close": "16:00 America/New_York"},
    ),
    "New York midnights in UTC over the change of clocks": Export(
        "date,close\n2025-03-07T05:00:00Z,1012.5\n2025-03-10T04:00:00Z,1018.25\n2025-03-11T04:00:00Z,1003.0\n"
        "2025-03-12T04:00:00Z,1021.75\n2025-03-13T04:00:00Z,1102.5\n",
        "close",
        pd.DatetimeIndex(["2025-03-07", "2025-03-10", "2025-03-11", "2025-03-12", "2025-03-13"]),
        cures=1,
    ),
    "Binance klines, milliseconds": Export(
        lines("", lambda d, p: KLINE(1000 * seconds(d), p, 1000 * seconds(d) + 86399999)).lstrip(), "close", cures=1
    ),
    "Binance klines, from milliseconds to microseconds": Export(
        lines(
            "",
            lambda d, p: KLINE((1000 if d < DAYS[2] else 10**6) * seconds(d), p, 0),
        ).lstrip(),
        "close",
        cures=1,
    ),
    "Binance klines with a header": Export(
        lines("open_time,open,high,low,close,volume,last", lambda d, p: f"{1000 * seconds(d)},1,1,1,{p},5,1"), "close"
    ),
    "Kraken OHLCVT": Export(lines("", lambda d, p: f"{seconds(d)},1,1,1,{p},5,3").lstrip(), "close", cures=1),
    "Coinbase candles": Export(
        lines("time,low,high,open,close", lambda d, p: f"{seconds(d)},1,1,1,{p}", newest_first=True), "close", cures=1
    ),
    "CryptoDataDownload": Export(
        "https://www.CryptoDataDownload.com\n"
        + lines(
            "Unix,Date,Symbol,Close,Volume BTC",
            lambda d, p: f"{seconds(d)},{d:%Y-%m-%d} 00:00:00,BTC/USD,{p},3",
            newest_first=True,
        ),
        "Close",
        cures=2,
    ),
    "CoinGecko": Export(
        lines("snapped_at,price,market_cap,total_volume", lambda d, p: f"{d:%Y-%m-%d} 00:00:00 UTC,{p},1e12,"),
        "price",
        EARLIER,
    ),
    "CoinGecko API, by pandas": Export(
        lines("timestamp,price", lambda d, p: f"{1000 * seconds(d)},{p}"),
        "price",
        EARLIER,
        cures=1,
        choose="close='00:00 UTC'",
    ),
    "CoinMarketCap": Export(
        lines(
            "timeOpen;timeClose;timeHigh;name;open;close;volume;timestamp",
            lambda d, p: (
                f'"{d:%Y-%m-%d}T00:00:00.000Z";"{d:%Y-%m-%d}T23:59:59.999Z";"{d:%Y-%m-%d}T03:00:00Z";2781;1;{p};9;"x"'
            ),
            newest_first=True,
        ),
        "close",
    ),
    "Coin Metrics": Export(lines("time,PriceUSD,AdrActCnt", lambda d, p: f"{d:%Y-%m-%d},{p},5"), "PriceUSD"),
    "Coin Metrics API": Export(
        lines("asset,time,PriceUSD", lambda d, p: f"btc,{d:%Y-%m-%d}T00:00:00.000000000Z,{p}").replace(
            ".000000000", ".000000"
        ),
        "PriceUSD",
        cures=1,
    ),
    "Coin Metrics, reference rate": Export(
        lines("time,ReferenceRateUSD", lambda d, p: f"{d:%Y-%m-%d}T00:00:00Z,{p}"),
        "ReferenceRateUSD",
        EARLIER,
        given={"close": "00:00 UTC"},
    ),
    "Stooq": Export(lines("Date,Open,High,Low,Close", lambda d, p: f"{d:%Y-%m-%d},1,1,1,{p}"), "Close"),
    "Stooq, bulk": Export(
        lines("<TICKER>,<PER>,<DATE>,<TIME>,<CLOSE>", lambda d, p: f"SLV.US,D,{d:%Y%m%d},000000,{p}"), "<CLOSE>"
    ),
    "Investing.com": Export(
        "\ufeff"
        + lines(
            '"Date","Price","Open","Vol.","Change %"',
            lambda d, p: f'"{d:%m/%d/%Y}","{US(p)}","{US(p)}","216.81K","-6.19%"',
            newest_first=True,
        ),
        "Price",
        cures=1,
    ),
    "Investing.com, long month": Export(
        lines('"Date","Price","Change %"', lambda d, p: f'"{d:%b %d, %Y}","{US(p)}","0.5%"', newest_first=True),
        "Price",
        cures=1,
    ),
    "Investing.com, German": Export(
        lines(
            '"Datum","Zuletzt","+/- %"',
            lambda d, p: f'"{d:%d.%m.%Y}","{US(p)}","0,50%"'.replace(US(p), US(p).translate(str.maketrans(",.", ".,"))),
        ),
        "Zuletzt",
        cures=1,
    ),
    "Investing.com, monthly": Export(
        lines('"Date","Price"', lambda d, p: f'"{d:%m/%d/%Y}","{US(p)}"', MONTHS, newest_first=True),
        "Price",
        MONTHS,
        cures=2,
        choose="dayfirst=False",
    ),
    "FRED": Export(
        lines("observation_date,DFII10", lambda d, p: f"{d:%Y-%m-%d},{p}") + "2026-01-26,.\n",
        "DFII10",
        DAYS.append(pd.DatetimeIndex(["2026-01-26"])),
    ),
    "FRED, before 2025": Export(lines("DATE,DFII10", lambda d, p: f"{d:%Y-%m-%d},{p}").replace("\n", "\r\n"), "DFII10"),
    "Nasdaq": Export(
        lines("Date,Close/Last,Volume", lambda d, p: f"{d:%m/%d/%Y},{p},5", newest_first=True), "Close/Last"
    ),
    "Quandl, LBMA": Export(
        lines("Date,USD (AM),USD (PM)", lambda d, p: f"{d:%Y-%m-%d},1,{p}", newest_first=True), "USD (PM)"
    ),
    "LBMA, table": Export(lines("DATE,USD AM,USD PM", lambda d, p: f"{d:%d-%m-%y},1,{p}"), "USD PM"),
    "World Gold Council": Export(
        lines("Name,US dollar (USD)", lambda d, p: f'{d:%d/%m/%Y},"{US(p)}"'), "US dollar (USD)", cures=1
    ),
    "ECB": Export(lines("DATE,TIME PERIOD,Euro", lambda d, p: f"{d:%Y-%m-%d},{d:%d %b %Y},{p}"), "Euro"),
    "Bundesbank": Export(
        lines("Datum;Wert;Hinweis", lambda d, p: f"{d:%Y-%m-%d};{p};".replace(".", ",")), "Wert", cures=1
    ),
    "Swiss, first of months": Export(
        lines("Datum;Kurs", lambda d, p: f"{d:%d.%m.%Y};{p}", MONTHS), "Kurs", MONTHS, cures=1, choose="dayfirst=True"
    ),
    "Macrotrends": Export(
        "Some title\nand a source\n\n" + lines("date,value", lambda d, p: f"{d:%Y-%m-%d},{p}"),
        "value",
        given={"skiprows": 3},
    ),
    "Treasury, par yields": Export(
        lines('Date,"1 Mo","10 Yr"', lambda d, p: f"{d:%m/%d/%Y},N/A,{p}", newest_first=True), "10 Yr"
    ),
    "pandas, row numbers": Export(
        "".join(
            f"{n - 1 if n else ''},{line}\n"
            for n, line in enumerate(lines("Date,Close", lambda d, p: f"{d:%Y-%m-%d},{p}").splitlines())
        ),
        "Close",
    ),
    "without a header": Export(lines("", lambda d, p: f"{d:%Y-%m-%d},{p}").lstrip(), "close", cures=1),
    "date and time": Export(lines("Time,Date,y", lambda d, p: f"16:00,{d:%Y-%m-%d},{p}"), "y"),
    "status column": Export(lines("as_of,value,status", lambda d, p: f"{d:%Y-%m-%d},{p},ok"), "value"),
    "tabs": Export(lines("date\tclose", lambda d, p: f"{d:%Y-%m-%d}\t{p}"), "close"),
    "Excel serials": Export(lines("Date,Close", lambda d, p: f"{serial(d)},{p}"), "Close"),
    "Excel, US times": Export(
        lines("Date,Close", lambda d, p: f"{d.month}/{d.day}/{d.year} 16:00,{p}"), "Close", cures=1
    ),
    "Bloomberg, 12-hour times": Export(
        lines("Date,Close", lambda d, p: f"{d:%m/%d/%Y} 4:00 PM,{p}"),
        "Close",
        given={"close": "16:00 America/New_York"},
    ),
    "snapshots in local time": Export(
        lines("datetime,close", lambda d, p: f"{d:%Y-%m-%d} 16:00:00,{p}"),
        "close",
        given={"close": "16:00 America/New_York"},
    ),
    "Latin letters": Export(lines("date,preis £", lambda d, p: f"{d:%Y-%m-%d},{p}"), "preis £", cures=1),
    "months without a day": Export(
        lines("Month,Price", lambda d, p: f"{d:%Y-%m},{p}", MONTHS), "Price", MONTHS + pd.offsets.MonthEnd(), cures=1
    ),
    "quarters": Export(
        lines("Quarter,Price", lambda d, p: f"{d.year}Q{d.quarter},{p}", QUARTERS),
        "Price",
        QUARTERS + pd.offsets.QuarterEnd(),
        cures=1,
    ),
    "weekdays": Export(lines("Day,Price", lambda d, p: f'"{d:%a, %b %d %Y}",{p}'), "Price", cures=1),
    "SAS": Export(
        lines("Date,Price", lambda d, p: f"{d:%d%b%Y},{p}".upper().replace("PRICE", "Price")), "Price", cures=1
    ),
    "currency": Export(lines("Date,Price", lambda d, p: f'{d:%Y-%m-%d},"${US(p)}"'), "Price", cures=1),
    "spaces for thousands": Export(
        lines("Date;Kurs", lambda d, p: f"{d:%Y-%m-%d};{US(p).replace(',', ' ').replace('.', ',')}"), "Kurs", cures=1
    ),
    "a source below the data": Export(
        lines("Date,Price", lambda d, p: f"{d:%Y-%m-%d},{p}") + "Source: an exchange,\n", "Price", cures=1
    ),
    "a comma at the end of every line": Export(lines("Date,Price,", lambda d, p: f"{d:%Y-%m-%d},{p},"), "Price"),
    "the day that is not over, last": Export(
        lines("open_time,close", lambda d, p: f"{d:%Y-%m-%d} 00:00:00,{p}") + "2026-01-24 14:05:00,1\n",
        "close",
        cures=1,
    ),
    "the day that is not over, first": Export(
        lines("open_time,close", lambda d, p: f"{d:%Y-%m-%d} 00:00:00,{p}", newest_first=True).replace(
            "close\n", "close\n2026-01-24 14:05:00,1\n"
        ),
        "close",
        cures=1,
    ),
    "one row for each date and symbol": Export(
        "date,symbol,close\n"
        + "".join(f"{d:%Y-%m-%d},{s},{p + (s == 'A')}\n" for s in "AB" for d, p in zip(DAYS, PRICES, strict=True)),
        "B",
        cures=1,
    ),
    "Tokyo": Export(lines("date,close", lambda d, p: f"{d:%Y-%m-%d}T00:00:00+09:00,{p}"), "close", cures=1),
    "two rows a day that complement each other": Export(
        "date,close,other\n"
        + "".join(f"{d:%Y-%m-%d},{p},\n{d:%Y-%m-%d},,1\n" for d, p in zip(DAYS, PRICES, strict=True)),
        "close",
    ),
    "minutes": Export(
        "time,close\n"
        + "".join(
            f"{d:%Y-%m-%d} {clock},{price}\n"
            for d, p in zip(DAYS, PRICES, strict=True)
            for clock, price in (("09:30:00", 1), ("23:59:00", p))
        ),
        "close",
        cures=1,
    ),
    "minutes, day first, semicolons": Export(
        "Zeit;Kurs\n"
        + "".join(
            f"{d:%d.%m.%Y} {clock};{price}\n"
            for d, p in zip(DAYS, PRICES, strict=True)
            for clock, price in (("09:30", 1), ("17:00", p))
        ),
        "Kurs",
        cures=1,
    ),
    "minutes since 1970": Export(
        "timestamp,close\n"
        + "".join(
            f"{1000 * (seconds(d) + second)},{price}\n"
            for d, p in zip(DAYS, PRICES, strict=True)
            for second, price in ((60, 1), (86340, p))
        ),
        "close",
        cures=1,
    ),
    "minutes of New York in UTC, newest first": Export(
        "time,close\n"
        + "".join(
            f"{d:%Y-%m-%d} {clock}-05:00,{price}\n"
            for d, p in list(zip(DAYS, PRICES, strict=True))[::-1]
            for clock, price in (("21:00:00", p), ("09:30:00", 1))
        ),
        "close",
        cures=1,
    ),
    "years of two digits, first": Export(lines("date,close", lambda d, p: f"{d:%y/%m/%d},{p}"), "close", cures=1),
    "years of two digits, last": Export(lines("date,close", lambda d, p: f"{d:%d/%m/%y},{p}"), "close"),
    "whole numbers with a decimal": Export(lines("date,close", lambda d, p: f"{d:%Y%m%d}.0,{p}"), "close"),
    "without a header, slashes and another order": Export(
        lines("", lambda d, p: f"SLV,{d:%Y/%m/%d},{p}").lstrip(), "column_2", cures=1
    ),
    "without a header, missing values": Export(
        "2026-01-18,.\n" + lines("", lambda d, p: f"{d:%Y-%m-%d},{p}").lstrip(),
        "close",
        pd.DatetimeIndex(["2026-01-18"]).append(DAYS),
        cures=1,
    ),
    "without a header, stated separator": Export(
        lines("", lambda d, p: f"{d:%Y-%m-%d}|{p}").lstrip(), "close", given={"sep": "|"}, cures=1
    ),
    "two header lines, no name of the dates": Export(
        "Price,Close,Volume\nTicker,SLV,SLV\n" + lines("", lambda d, p: f"{d:%Y-%m-%d},{p},7").lstrip(), "Close"
    ),
    "two header lines in German": Export(
        "Feld;Kurs;Hoch\nWert;SLV;SLV\nDatum;;\n" + lines("", lambda d, p: f"{d:%Y-%m-%d};{p};2").lstrip(), "Kurs"
    ),
    "units in the second line": Export(
        "Date,Price\n,USD\n" + lines("", lambda d, p: f"{d:%Y-%m-%d},{p}").lstrip(), "Price", cures=1
    ),
    "a title above the header": Export(
        "Gold prices,\n" + lines("Date,Price", lambda d, p: f"{d:%Y-%m-%d},{p}"), "Price", cures=1
    ),
    "footers without commas": Export(
        lines("Date;Price", lambda d, p: f"{d:%Y-%m-%d};{p}") + "\n# an exchange\n# downloaded on 2026-01-24\n",
        "Price",
        cures=1,
    ),
    "decimal commas with three decimals": Export(
        lines("Date;Rate", lambda d, p: f"{d:%Y-%m-%d};{p:.3f}".replace(".", ",")),
        "Rate",
        cures=1,
        choose="decimal=','",
    ),
    "decimal commas and dots for thousands in some": Export(
        lines("Date;Rate", lambda d, p: f"{d:%Y-%m-%d};{US(p)}".translate(str.maketrans(",.", ".,"))).replace(
            "1.003,00", "1.003"
        ),
        "Rate",
        given={"decimal": ","},
        cures=1,
    ),
    "a date twice": Export(
        lines("date,close", lambda d, p: f"{d:%Y-%m-%d},{p}").replace("close\n", "close\n2026-01-19,5\n"),
        "close",
        cures=1,
    ),
}


def carry_out(cure: str, names: dict[str, object], choose: str = "") -> pd.DataFrame:
    """What the cure says, as Python; of several alternatives the one that holds a text."""
    if choose and ", or read_series" in cure:
        cure = next(part for part in re.split(r", or (?=read_series)", cure) if choose in part)
    start = min(cure.find(word) for word in ("frame", "read_series") if word in cure)
    for statement in cure[start:].split("; "):
        for end in range(len(statement), 0, -1):
            text = statement[:end].strip().rstrip(",")
            try:
                if "=" in text.partition("(")[0]:
                    exec(text, names)
                else:
                    names["frame"] = eval(text, names)
                break
            except (SyntaxError, NameError):
                # Words after the code.
                continue
        assert isinstance(names["frame"], pd.DataFrame), cure
    return names["frame"]


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_gives_its_values_or_a_cure_that_does(name, tmp_path):
    export = EXPORTS[name]
    path = tmp_path / "export.csv"
    path.write_text(export.text, encoding="latin-1" if "Latin" in name else "utf-8")
    names: dict[str, object] = {"pd": pd, "read_series": read_series, "path": path, "given": dict(export.given)}
    cure, refused = "read_series(path, **given)", 0
    frame = None
    while frame is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                frame = carry_out(cure, names, export.choose)
        except PanelError as error:
            cure, refused = error.cure, refused + 1
            if refused > 4:
                raise
    assert refused == export.cures
    assert frame.index.equals(export.days.as_unit(frame.index.unit))
    assert frame.index.name == "date"
    held = frame[export.column]
    assert held.dropna().tolist() == PRICES
    assert held.dtype == float


def test_there_are_more_than_forty_exports():
    assert len(EXPORTS) > 40
