"""Tables of pandas, polars and pyarrow, and Excel workbooks."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from test_exports import DAYS, EARLIER, MONTHS, PRICES
from test_faulty_data import W
from test_panel import spec_of

import regimelag as rl
from regimelag.errors import PanelError
from regimelag.panel.read import read_series

GOOD = pd.DataFrame({"price": PRICES}, index=pd.DatetimeIndex(DAYS, name="date").as_unit("us"))
UTC = DAYS.tz_localize("UTC")


def column(dates, name="date"):
    return pd.DataFrame({name: dates, "price": PRICES})


def arrow(dates):
    return pa.table({"date": pa.array(dates), "price": PRICES})


TABLES = {
    "index": GOOD,
    "column of timestamps": column(DAYS),
    "column of dates": column([day.date() for day in DAYS]),
    "column of texts": column(DAYS.strftime("%Y-%m-%d")),
    "index of texts": GOOD.set_axis(DAYS.strftime("%d.%m.%Y"), axis=0),
    "index of whole numbers": GOOD.set_axis(DAYS.strftime("%Y%m%d").astype(int), axis=0),
    "periods": GOOD.set_axis(DAYS.to_period("D"), axis=0),
    "newest first": GOOD.iloc[::-1],
    "another name": column(DAYS, "Date"),
    "a text column": column(DAYS).assign(symbol="SLV"),
    "nullable": column(DAYS).convert_dtypes(),
    "of arrow": column(DAYS).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame({"date": [day.date() for day in DAYS], "price": PRICES}),
    "polars, texts": pl.DataFrame({"date": list(DAYS.strftime("%m/%d/%Y")), "price": PRICES}),
    "polars, datetimes": pl.DataFrame({"date": [day.to_pydatetime() for day in DAYS], "price": PRICES}),
    "pyarrow": arrow([day.date() for day in DAYS]),
    "pyarrow, texts": arrow(list(DAYS.strftime("%Y-%m-%d"))),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_its_values(name):
    frame = read_series(TABLES[name])
    pd.testing.assert_frame_equal(frame, GOOD, check_freq=False, check_index_type=False)


@pytest.mark.parametrize("stamps", [UTC, DAYS.tz_localize("UTC").as_unit("ms")])
def test_stamps_with_a_zone_are_asked_about(stamps):
    for given in (GOOD.set_axis(stamps, axis=0), column(stamps)):
        with pytest.raises(PanelError, match="what a stamp of 00:00 means"):
            read_series(given)
        assert read_series(given, close="24:00 UTC").index.equals(DAYS.as_unit("us"))
        assert read_series(given, close="00:00 UTC").index.equals(EARLIER.as_unit("us"))


def test_midnights_of_tokyo_in_utc_are_days_of_tokyo():
    stamps = DAYS.tz_localize("Asia/Tokyo").tz_convert("UTC")
    given = GOOD.set_axis(stamps, axis=0)
    assert read_series(given, tz="Asia/Tokyo", close="15:00 Asia/Tokyo").index.equals(DAYS.as_unit("us"))
    with pytest.raises(PanelError, match=r"2026-01-18 15:00:00"):
        read_series(given)


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_make_panel_takes_tables_of_other_libraries(kind):
    flat = W.rename_axis("date").reset_index()
    given = pl.from_pandas(flat) if kind == "polars" else pa.Table.from_pandas(flat, preserve_index=False)
    panel = rl.make_panel(spec_of(), given)
    assert panel.drop_attrs().identical(rl.make_panel(spec_of(), W).drop_attrs())


def test_columns_are_taken_and_named():
    table = column(DAYS).assign(other=1.0)
    assert list(read_series(table, columns="price").columns) == ["price"]
    assert list(read_series(table, columns=["other", "price"]).columns) == ["other", "price"]
    assert list(read_series(table, columns={"silver": "price"}).columns) == ["silver"]
    with pytest.raises(PanelError, match="no column 'prise'") as caught:
        read_series(table, columns="prise")
    assert caught.value.cure == "write 'price'"
    with pytest.raises(PanelError, match="no column 'day'"):
        read_series(table, date="day")


def test_what_was_read_differently_is_said():
    table = pd.DataFrame(
        {"Date": DAYS[::-1].strftime("%m/%d/%Y"), "Price": PRICES, "Change %": ["1.5%"] * 5, "Vol.": ["2K"] * 5}
    )
    frame = read_series(table)
    notes = " ".join(frame.attrs["notes"])
    assert all(part in notes for part in ("month first", "newest first", "Vol.", "Per cents"))
    assert frame["Change %"].tolist() == [1.5] * 5
    assert read_series(GOOD).attrs["notes"] == []


def test_first_of_months_are_refused_until_the_order_is_stated():
    table = pd.DataFrame({"date": MONTHS.strftime("%d/%m/%Y"), "price": PRICES})
    with pytest.raises(PanelError, match="2025-02-01 or 2025-01-02"):
        read_series(table)
    assert read_series(table, dayfirst=True).index.equals(MONTHS.as_unit("us"))
    assert read_series(table, dayfirst=False).index[1] == pd.Timestamp("2025-01-02")


@pytest.mark.parametrize("given", [None, 3, [1.0], GOOD["price"], np.ones(3)])
def test_what_is_no_table_is_refused(given):
    with pytest.raises(PanelError, match=r"table of pandas, polars or pyarrow"):
        read_series(given)


def test_many_columns_are_read_exactly_and_fast(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((500, 200)), index=pd.date_range("2020-01-01", periods=500, name="date"))
    frame.columns = [f"c{n}" for n in range(200)]
    frame.to_csv(tmp_path / "wide.csv")
    read = read_series(tmp_path / "wide.csv")
    np.testing.assert_array_equal(read.to_numpy(), frame.to_numpy())


# ---- lines of a CSV file


def written(tmp_path, lines, end="\n"):
    path = tmp_path / "prices.csv"
    path.write_bytes(end.join(["date,a,b", *lines, ""]).encode())
    return path


def daily_lines(count=60):
    return [f"{day:%Y-%m-%d},{n + 1},{n + 2}" for n, day in enumerate(pd.date_range("2020-01-01", periods=count))]


@pytest.mark.parametrize(("short", "long"), [(30, 40), (40, 30), (0, 1), (1, 0), (58, 59)])
def test_a_line_with_more_cells_does_not_hide_one_with_fewer(tmp_path, short, long):
    """Together they have the cells of two lines."""
    lines = daily_lines()
    lines[short] = lines[short].rpartition(",")[0]
    lines[long] += ",7"
    with pytest.raises(PanelError, match=rf"cells in line {min(short, long) + 2}, 3 in the header"):
        rl.read_series(written(tmp_path, lines))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("blank", [None, 0, 30, 59])
@pytest.mark.parametrize("text", ["", "  ", ",,", " , , "])
def test_blank_lines_are_skipped_and_lines_keep_their_numbers(tmp_path, end, blank, text):
    lines = daily_lines()
    if blank is not None:
        lines.insert(blank, text)
    frame = rl.read_series(written(tmp_path, lines, end))
    np.testing.assert_array_equal(frame, [[n + 1.0, n + 2.0] for n in range(60)])
    lines[-1] = lines[-1].replace("2020-02-29", "2020-02-30")
    with pytest.raises(PanelError, match=f"line {len(lines) + 1}"):
        rl.read_series(written(tmp_path, lines, end))


# ---- Excel


def test_a_workbook_of_typed_dates(tmp_path):
    table = pd.DataFrame({"Date": DAYS, "Close": PRICES, "Symbol": "SLV"})
    table.to_excel(tmp_path / "prices.xlsx", index=False)
    frame = read_series(tmp_path / "prices.xlsx", columns={"price": "Close"})
    pd.testing.assert_frame_equal(frame, GOOD, check_index_type=False, check_freq=False)


def test_a_workbook_of_fred_names_its_second_sheet(tmp_path):
    path = tmp_path / "fred.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"FRED Graph Observations": ["Federal Reserve Economic Data"]}).to_excel(
            book, sheet_name="README", index=False
        )
        pd.DataFrame({"observation_date": DAYS, "DFII10": PRICES}).to_excel(book, sheet_name="Daily", index=False)
    with pytest.raises(PanelError, match="first sheet") as caught:
        read_series(path)
    frame = eval(caught.value.cure, {"read_series": read_series})
    assert frame["DFII10"].tolist() == PRICES
    assert frame.index.equals(DAYS.as_unit("us"))


def test_a_workbook_of_texts_and_times(tmp_path):
    path = tmp_path / "bloomberg.xlsx"
    stamped = [dt.datetime(2026, 1, 19 + n, 16, 0) for n in range(5)]
    pd.DataFrame({"Dates": stamped, "PX_LAST": PRICES}).to_excel(path, index=False)
    with pytest.raises(PanelError, match="16:00") as caught:
        read_series(path)
    frame = eval(caught.value.cure.partition(" if ")[0], {"read_series": read_series})
    assert frame["PX_LAST"].tolist() == PRICES


def test_files_that_are_none_are_refused_with_a_cure(tmp_path):
    (tmp_path / "prices.xlsx").write_text("date,silver\n")
    with pytest.raises(PanelError, match="Excel workbook"):
        read_series(tmp_path / "prices.xlsx")
    pd.DataFrame({"date": DAYS.strftime("%Y-%m-%d"), "price": PRICES}).to_json(tmp_path / "prices.json")
    with pytest.raises(PanelError, match=r"read_json") as caught:
        read_series(tmp_path / "prices.json")
    frame = eval(caught.value.cure.partition(", or")[0], {"read_series": read_series, "pd": pd})
    assert frame["price"].tolist() == PRICES


def test_snapshots_that_pandas_parsed_are_snapshots_all_the_same():
    for dates in (DAYS, DAYS.tz_localize("UTC"), [str(day.date()) for day in DAYS]):
        table = pd.DataFrame({"snapped_at": dates, "price": PRICES})
        with pytest.warns(UserWarning, match="the close of the day before"):
            assert read_series(table).index.equals(EARLIER.as_unit("us"))
    indexed = W.rename_axis("snapped_at")
    with pytest.raises(PanelError, match="the day before") as caught:
        rl.make_panel(spec_of(), indexed)
    names = {"frame": indexed, "read_series": read_series}
    with pytest.warns(UserWarning, match="the close of the day before"):
        exec(caught.value.cure.partition(", or")[0], names)
    assert names["frame"].index.equals((W.index - pd.Timedelta(days=1)).as_unit("us"))
    bars = pd.DataFrame({"open_time": DAYS, "close": PRICES})
    assert read_series(bars).index.equals(DAYS.as_unit("us"))


def test_snapshots_at_midnight_warn():
    table = pd.DataFrame({"snapped_at": [f"{day:%Y-%m-%d} 00:00:00 UTC" for day in DAYS], "price": PRICES})
    with pytest.warns(UserWarning, match="the close of the day before"):
        frame = read_series(table)
    assert frame.index.equals(EARLIER.as_unit("us"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_series(table, close="24:00 UTC").index.equals(DAYS.as_unit("us"))
