"""read_series: files to frames, and what it says about files that break a rule."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimelag.errors import PanelError
from regimelag.panel.read import read_series

GOOD = "date,silver,bitcoin\n2026-01-22,95.5,90000\n2026-01-23,102.56,\n"
DATA = Path(os.environ.get("REGIMELAG_DATA") or Path(__file__).parents[3] / "shared" / "data")


def write(folder: Path, text: str, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_wide_file_becomes_a_float_frame_over_dates(tmp_path):
    frame = read_series(write(tmp_path, GOOD))
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert frame.index.name == "date"
    assert list(frame.columns) == ["silver", "bitcoin"]
    assert [str(kind) for kind in frame.dtypes] == ["float64", "float64"]
    assert frame.loc["2026-01-23", "silver"] == 102.56
    assert np.isnan(frame.loc["2026-01-23", "bitcoin"])


@pytest.mark.parametrize("name", ["date", "Date", "DATE", "time", "observation_date", "whatever", ""])
def test_the_first_column_holds_the_dates_whatever_its_name(tmp_path, name):
    frame = read_series(write(tmp_path, GOOD.replace("date", name, 1)))
    assert list(frame.columns) == ["silver", "bitcoin"]


def test_a_column_named_date_need_not_come_first(tmp_path):
    frame = read_series(write(tmp_path, "silver,Date\n95,2026-01-22\n96,2026-01-23 00:00:00\n"))
    assert list(frame.columns) == ["silver"]
    assert str(frame.index[1].date()) == "2026-01-23"


@pytest.mark.parametrize("blank", ["", " ", ".", "NA", "NaN", "nan", "null"])
def test_blanks_are_missing_values(tmp_path, blank):
    frame = read_series(write(tmp_path, f"date,silver\n2026-01-22,{blank}\n2026-01-23,1\n"))
    assert frame["silver"].isna().tolist() == [True, False]


def test_byte_order_mark_blank_lines_and_spaces_do_no_harm(tmp_path):
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbfdate, silver \r\n2026-01-22, 95.5\r\n\r\n,\r\n2026-01-23 ,1e2\r\n")
    frame = read_series(path)
    assert frame["silver"].tolist() == [95.5, 100.0]


@settings(deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_every_float_comes_back_to_the_last_bit(tmp_path_factory, values):
    dates = pd.date_range("2020-01-01", periods=len(values), name="date", unit="us")
    frame = pd.DataFrame({"x": values}, index=dates)
    path = tmp_path_factory.getbasetemp() / "floats.csv"
    frame.to_csv(path)
    pd.testing.assert_frame_equal(read_series(path), frame, check_exact=True, check_freq=False, check_index_type=False)


BAD = {
    "empty": ("", ["empty file"]),
    "header only": ("date,silver\n", ["no rows"]),
    "no series": ("date\n2026-01-22\n", ["'date'", "commas"]),
    "another mark": ("date:silver\n2026-01-22:95\n", ["date:silver", "commas"]),
    "row numbers for dates": ("row,silver\n0,95\n1,96\n", ["'0'", "'row'", "line 2"]),
    "unparseable date": (GOOD.replace("2026-01-23", "23/01/2026"), ["23/01/2026", "'date'", "line 3"]),
    "no such day": (GOOD.replace("2026-01-23", "2026-02-30"), ["'date'", "2026-02-30"]),
    "no date": (GOOD.replace("2026-01-23", ""), ["''", "line 3"]),
    "time zone": (GOOD.replace("2026-01-23", "2026-01-23T00:00:00+01:00"), ["time zone", "line 3"]),
    "UTC": (GOOD.replace("2026-01-23", "2026-01-23T00:00:00Z"), ["time zone", "line 3"]),
    "time of day": (GOOD.replace("2026-01-23", "2026-01-23 16:00"), ["time of day", "16:00", "line 3"]),
    "duplicate dates": (GOOD.replace("2026-01-23", "2026-01-22"), ["2026-01-22", "more than once"]),
    "far date": (GOOD.replace("2026-01-23", "9999-01-01"), ["9999-01-01", "2261"]),
    "text in a cell": (GOOD.replace("102.56", "high"), ["'high'", "'silver'", "2026-01-23"]),
    "thousands": (GOOD.replace("102.56", '"1,102.56"'), ["'1,102.56'", "'silver'", "2026-01-23"]),
    "years": ("date,silver\n2024,95\n2025,96\n", ["'2024'", "a year", "PeriodIndex"]),
    "time zone and dayfirst": (GOOD.replace("2026-01-23", "23/01/2026"), ["one way"]),
    "underscore": (GOOD.replace("102.56", "1_102"), ["'1_102'", "'silver'"]),
    "infinite": (GOOD.replace("102.56", "inf"), ["'inf'", "'silver'", "2026-01-23"]),
    "too large": (GOOD.replace("102.56", "1e999"), ["infinite", "'silver'", "2026-01-23"]),
    "duplicate columns": (GOOD.replace("bitcoin", "silver"), ["silver", "more than once"]),
    "nameless column": (GOOD.replace("bitcoin", ""), ["column number 3"]),
    "short line": (GOOD.replace("102.56,", "102.56"), ["line 3", "2 cells", "3 in the header"]),
    "long lines": ("date,silver\n2026-01-22,95,1\n2026-01-23,96,1\n", ["line 2", "3 cells"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_an_error_that_names_place_and_cure(tmp_path, case):
    text, named = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(PanelError) as caught:
        read_series(path)
    for part in (str(path), *named):
        assert part in str(caught.value)
    assert caught.value.rule
    assert caught.value.cure


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(PanelError, match=r"no such file[\s\S]*check the path"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(PanelError, match="a folder"):
        read_series(tmp_path)


def test_other_encodings_are_refused(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("date,preis in \u00a3\n2026-01-22,1\n".encode("latin-1"))
    with pytest.raises(PanelError, match="UTF-8"):
        read_series(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_an_encoding_that_shows_is_read(tmp_path, encoding):
    """As in what Excel saves as Unicode text."""
    path = tmp_path / "unicode.txt"
    path.write_text(GOOD.replace(",", "\t"), encoding=encoding)
    pd.testing.assert_frame_equal(read_series(path), read_series(write(tmp_path, GOOD)))


def test_a_header_in_between_loses_no_rows_by_the_cure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "date,silver\n2026-01-09,1\n2026-01-16,2\n2026-01-23,3\n"
    header, *rows = text.splitlines()
    Path("twice.csv").write_text("\n".join([header, *rows[:2], header, *rows[2:]]), encoding="utf-8")
    with pytest.raises(PanelError, match="repeated in line 4") as caught:
        read_series("twice.csv")
    frame = eval(caught.value.cure.partition(", without")[0], {"read_series": read_series, "pd": pd})
    pd.testing.assert_frame_equal(frame, read_series(write(tmp_path, text)))


@pytest.mark.parametrize("form", ["index", "timestamps", "days"])
def test_parquet_gives_the_same_frame_as_csv(tmp_path, form):
    pytest.importorskip("pyarrow")
    frame = read_series(write(tmp_path, GOOD))
    path = tmp_path / "prices.parquet"
    if form == "index":
        frame.to_parquet(path)
    else:
        flat = frame.reset_index()
        flat["date"] = flat["date"].dt.date if form == "days" else flat["date"]
        flat.to_parquet(path)
    pd.testing.assert_frame_equal(read_series(path), frame, check_index_type=False)


def test_bad_parquet_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(PanelError, match="the file is Parquet"):
        read_series(write(tmp_path, "date,silver\n", "prices.parquet"))
    pd.DataFrame({"row": ["a"], "silver": [1.0]}).to_parquet(tmp_path / "undated.parquet")
    with pytest.raises(PanelError, match="column 'row'"):
        read_series(tmp_path / "undated.parquet")
    dated = pd.DataFrame({"silver": ["high"]}, index=pd.DatetimeIndex(["2026-01-22"], name="date"))
    dated.to_parquet(tmp_path / "text.parquet")
    with pytest.raises(PanelError, match="columns silver, all of text"):
        read_series(tmp_path / "text.parquet")
    with pytest.raises(PanelError, match=r"'high' in column 'silver' on 2026-01-22"):
        read_series(tmp_path / "text.parquet", columns="silver")


def test_parquet_without_pyarrow_names_the_cure(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise ImportError(path)

    monkeypatch.setattr(pd, "read_parquet", refuse)
    with pytest.raises(PanelError, match="install pyarrow"):
        read_series(write(tmp_path, "", "prices.parquet"))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real panels are not in {DATA}; set REGIMELAG_DATA")
@pytest.mark.parametrize("name", ["btc_silver_weekly", "btc_silver_daily", "m2_weekly"])
def test_the_real_files_read_as_pandas_reads_them(name):
    path = DATA / f"{name}.csv"
    plain = pd.read_csv(path, index_col=0, parse_dates=True).astype(float)
    pd.testing.assert_frame_equal(read_series(path), plain, check_exact=True)
