"""Dates that name a period, in every way that sources write them: refused, with a cure that dates it by its last day.

The first day of a period is long before its value was known.
"""

from __future__ import annotations

import contextlib
import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from regimelag.errors import PanelError
from regimelag.panel.read import read_series

NAMES = ("January", "February", "March", "April", "May", "June")
NAMES += ("July", "August", "September", "October", "November", "December")
MONTHS = pd.period_range("2019-08", periods=30, freq="M")
QUARTERS = pd.period_range("2019Q3", periods=10, freq="Q")
WEEKS = pd.period_range("2020-01-01", periods=60, freq="W-SUN")
YEARS = pd.period_range("1990", periods=30, freq="Y")


def iso_week(period):
    year, week, _ = period.end_time.isocalendar()
    return year, week


# As the European Central Bank, the OECD, the IMF, the UK's Office for National Statistics, Shiller and Excel write.
WAYS = {
    "2024-01": (MONTHS, lambda p: f"{p.year}-{p.month:02}"),
    "2024-1": (MONTHS, lambda p: f"{p.year}-{p.month}"),
    "2024/01": (MONTHS, lambda p: f"{p.year}/{p.month:02}"),
    "01/2024": (MONTHS, lambda p: f"{p.month:02}/{p.year}"),
    "1-2024": (MONTHS, lambda p: f"{p.month}-{p.year}"),
    "202401": (MONTHS, lambda p: f"{p.year}{p.month:02}"),
    "2024M01": (MONTHS, lambda p: f"{p.year}M{p.month:02}"),
    "2024m1": (MONTHS, lambda p: f"{p.year}m{p.month}"),
    "2024:01": (MONTHS, lambda p: f"{p.year}:{p.month:02}"),
    "2024.01, October as 2024.1": (MONTHS, lambda p: f"{p.year + p.month / 100:.2f}".rstrip("0")),
    "Jan 2024": (MONTHS, lambda p: f"{NAMES[p.month - 1][:3]} {p.year}"),
    "January 2024": (MONTHS, lambda p: f"{NAMES[p.month - 1]} {p.year}"),
    "Jan-2024": (MONTHS, lambda p: f"{NAMES[p.month - 1][:3]}-{p.year}"),
    "2024 JAN": (MONTHS, lambda p: f"{p.year} {NAMES[p.month - 1][:3].upper()}"),
    "2024-Jan": (MONTHS, lambda p: f"{p.year}-{NAMES[p.month - 1][:3]}"),
    "2024JAN": (MONTHS, lambda p: f"{p.year}{NAMES[p.month - 1][:3].upper()}"),
    "Jan-24": (MONTHS, lambda p: f"{NAMES[p.month - 1][:3]}-{p.year % 100:02}"),
    "Jan 24": (MONTHS, lambda p: f"{NAMES[p.month - 1][:3]} {p.year % 100:02}"),
    "2024Q1": (QUARTERS, lambda p: f"{p.year}Q{p.quarter}"),
    "2024q1": (QUARTERS, lambda p: f"{p.year}q{p.quarter}"),
    "2024-Q1": (QUARTERS, lambda p: f"{p.year}-Q{p.quarter}"),
    "2024 Q1": (QUARTERS, lambda p: f"{p.year} Q{p.quarter}"),
    "2024:Q1": (QUARTERS, lambda p: f"{p.year}:Q{p.quarter}"),
    "Q1 2024": (QUARTERS, lambda p: f"Q{p.quarter} {p.year}"),
    "Q1-2024": (QUARTERS, lambda p: f"Q{p.quarter}-{p.year}"),
    "1Q24": (QUARTERS, lambda p: f"{p.quarter}Q{p.year % 100:02}"),
    "1Q2024": (QUARTERS, lambda p: f"{p.quarter}Q{p.year}"),
    "2024": (YEARS, lambda p: f"{p.year}"),
    "2024-W03": (WEEKS, lambda p: "{}-W{:02}".format(*iso_week(p))),
    "2024W03": (WEEKS, lambda p: "{}W{:02}".format(*iso_week(p))),
}


def cured(source, known):
    """What the cure of a refused source gives."""
    with pytest.raises(PanelError, match="a date is a day") as caught:
        read_series(source)
    assert {"M": "a month", "Q": "a quarter", "Y": "a year", "W": "a week"}[known] in caught.value.came
    names = {"pd": pd, "read_series": read_series, "frame": source}
    exec(caught.value.cure, names)
    return names["frame"]


@pytest.mark.parametrize("way", WAYS)
def test_a_period_is_refused_and_dated_by_its_last_day_by_the_cure(tmp_path, way):
    periods, write = WAYS[way]
    values = np.arange(len(periods)) + 0.5
    texts = [write(period) for period in periods]
    expected = pd.DataFrame({"x": values}, index=periods.to_timestamp(how="end").normalize().rename("date"))
    path = tmp_path / "periods.csv"
    pd.DataFrame({"date": texts, "x": values}).to_csv(path, index=False)
    table = pd.read_csv(path)
    for source in (path, table, table.set_index("date")):
        found = cured(source, periods.freqstr[0])
        pd.testing.assert_frame_equal(found, expected, check_freq=False, check_index_type=False)


def in_parts(periods, **parts):
    """A table with parts of dates in columns of their own."""
    return pd.DataFrame(parts | {"x": np.arange(len(periods)) + 0.5})


DAYS = pd.period_range("2019-12-20", periods=30, freq="D")
YEAR, QUARTER = QUARTERS.year, QUARTERS.quarter
PARTS = {
    "year and month": (MONTHS, in_parts(MONTHS, Year=MONTHS.year, Month=MONTHS.month)),
    "year and name of month": (
        MONTHS,
        in_parts(MONTHS, year=MONTHS.year, month=[NAMES[p.month - 1][:3] for p in MONTHS]),
    ),
    "year and quarter": (QUARTERS, in_parts(QUARTERS, year=YEAR, quarter=QUARTER)),
    "year and quarter in letters": (
        QUARTERS,
        in_parts(QUARTERS, yr=YEAR, qtr=[f"Q{n}" for n in QUARTER]),
    ),
    "year, month and day": (DAYS, in_parts(DAYS, year=DAYS.year, month=DAYS.month, day=DAYS.day)),
    "periods": (MONTHS, in_parts(MONTHS, series="CPI", Year=MONTHS.year, Period=[f"M{p.month:02}" for p in MONTHS])),
    "periods of quarters": (
        QUARTERS,
        in_parts(QUARTERS, Year=YEAR, Period=[f"Q0{n}" for n in QUARTER]),
    ),
}


@pytest.mark.parametrize("way", PARTS)
def test_parts_of_dates_in_several_columns_are_put_together_by_the_cure(tmp_path, way):
    """Rows of one year are not taken for rows of one date, of which the last would be kept."""
    periods, table = PARTS[way]
    expected = pd.DataFrame(
        {"x": table["x"].to_numpy()}, index=periods.to_timestamp(how="end").normalize().rename("date")
    )
    table.to_csv(tmp_path / "parts.csv", index=False)
    for source in (tmp_path / "parts.csv", table):
        with pytest.raises(PanelError, match="in one column") as caught:
            read_series(source)
        names = {"pd": pd, "read_series": read_series, "frame": source}
        exec(caught.value.cure, names)
        pd.testing.assert_frame_equal(names["frame"], expected, check_freq=False, check_index_type=False)


def test_a_mean_of_the_year_among_months_is_left_out(tmp_path):
    table = pd.DataFrame({"Year": [2024] * 13, "Period": [f"M{n:02}" for n in range(1, 14)], "Value": np.arange(13.0)})
    table.to_csv(tmp_path / "parts.csv", index=False)
    with pytest.raises(PanelError) as caught:
        read_series(tmp_path / "parts.csv")
    names = {"pd": pd, "read_series": read_series}
    exec(caught.value.cure, names)
    assert list(names["frame"]["Value"]) == list(range(12))


def test_another_column_is_named_only_if_it_holds_dates(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name,released,x\nMonday,2024-01-05,1\nTuesday,2024-01-12,2\n", encoding="utf-8")
    with pytest.raises(PanelError) as caught:
        read_series(path)
    assert list(eval(caught.value.cure.partition("other column of dates by ")[2])["x"]) == [1.0, 2.0]
    path.write_text("name,x\nMonday,1\nTuesday,2\n", encoding="utf-8")
    with pytest.raises(PanelError) as caught:
        read_series(path)
    assert "date=" not in caught.value.cure


def test_parts_beside_a_column_of_dates_are_no_dates(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("year,month,week ending,x\n2024,1,2024-01-05,1\n2024,1,2024-01-12,2\n", encoding="utf-8")
    with pytest.raises(PanelError) as caught:
        read_series(path, columns="x")
    assert list(eval(caught.value.cure.partition(", if those")[0])["x"]) == [1.0, 2.0]


def test_the_cure_keeps_columns_and_marks(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("when;a;b\n2024M01;1,5;2\n2024M02;2,5;3\n", encoding="utf-8")
    with pytest.raises(PanelError) as caught:
        read_series(path, columns={"gold": "a"}, decimal=",")
    names = {"pd": pd, "read_series": read_series}
    exec(caught.value.cure, names)
    assert names["frame"].to_dict("list") == {"gold": [1.5, 2.5]}


def test_lines_below_the_header_and_currencies_of_all_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("date,x\nUnit,USD\nScale,1\n2024-01-05,1\n2024-01-12,2\n", encoding="utf-8")
    with pytest.raises(PanelError, match="without the 2 lines") as caught:
        read_series(path)
    assert list(eval(caught.value.cure.partition(", without")[0])["x"]) == [1.0, 2.0]
    path.write_text('date,x,y\n2024-01-05,"$1,000.5",$3\n2024-01-12,"$2,000.5",$4\n', encoding="utf-8")
    with pytest.raises(PanelError) as caught:
        read_series(path)
    assert eval(caught.value.cure).to_numpy().tolist() == [[1000.5, 3.0], [2000.5, 4.0]]


@pytest.mark.parametrize("text", ["2024-13", "2024.5", "Total 2024", "202413", "2024Q5", "5Q24", "Week 24"])
def test_what_is_no_period_is_not_taken_for_one(tmp_path, text):
    path = tmp_path / "periods.csv"
    path.write_text(f"date,x\n{text},1\n{text},2\n", encoding="utf-8")
    with pytest.raises(PanelError) as caught:
        read_series(path)
    assert "a date is a day" not in caught.value.rule
    assert "format='mixed'" not in caught.value.cure


def test_dates_without_zeros_are_read():
    text = "date,x\n2024-1-5,1\n2024-1-12,2\n2024-12-6,3\n"
    path = io.StringIO(text)
    frame = read_series(pd.read_csv(path, dtype={"date": str}))
    assert list(frame.index.strftime("%Y-%m-%d")) == ["2024-01-05", "2024-01-12", "2024-12-06"]


@pytest.mark.parametrize("text", ["Wed 01/02/2024", "Jan 21", "12:30 Jan"])
def test_no_cure_guesses_the_order_or_the_year_of_a_date(tmp_path, text):
    path = tmp_path / "dates.csv"
    path.write_text(f"date,x\n{text},1\n", encoding="utf-8")
    with pytest.raises(PanelError) as caught:
        read_series(path)
    assert "mixed" not in caught.value.cure


def test_numbers_as_they_are_typed_in_print(tmp_path):
    path = tmp_path / "typed.csv"
    path.write_text("date;x\n2024-01-05;\u22121.5\n2024-01-12;2\n", encoding="utf-8")
    assert list(read_series(path)["x"]) == [-1.5, 2.0]
    for text in ("1\u00a0234,5", "1\u202f234,5", "1'234.5", "1\u2019234.5"):
        path.write_text(f"date;x\n2024-01-05;{text}\n2024-01-12;{text}\n", encoding="utf-8")
        with pytest.raises(PanelError) as caught:
            read_series(path)
        assert list(eval(caught.value.cure)["x"]) == [1234.5, 1234.5]


@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz", "zip", "excel", "parquet"])
def test_what_is_not_text_is_read_by_the_cure(tmp_path, kind):
    frame = pd.DataFrame({"date": ["2024-01-05", "2024-01-12"], "x": [1.5, 2.5]})
    path = tmp_path / "prices.csv"
    with contextlib.suppress(ImportError):
        if kind == "excel":
            frame.to_excel(tmp_path / "prices.xlsx", index=False)
            (tmp_path / "prices.xlsx").rename(path)
        elif kind == "parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, compression=kind)
    with pytest.raises(PanelError, match="text, not compressed") as caught:
        read_series(path)
    assert list(eval(caught.value.cure)["x"]) == [1.5, 2.5]


def test_an_archive_of_several_files_and_a_damaged_one_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("gold.csv", "date,x\n")
        archive.writestr("silver.csv", "date,x\n")
    with pytest.raises(PanelError, match=r"gold\.csv, silver\.csv"):
        read_series(tmp_path / "two.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(PanelError, match="get the file again"):
        read_series(tmp_path / "bad.zip")
