"""Printed results: within 100 columns, rounded alike, the answer first, and the numbers still in the DataFrame."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from builders import hand_panel, moderated_spec, prior_fit, small_spec

import regimelag as rl
from regimelag.runtime import number_format as fmt
from regimelag.runtime.result_table import WIDTH, Shown, as_html, as_text, compact, kind_of, padded, readable

DAY = pd.Timestamp("2026-01-23")


def narrow(printed: str) -> bool:
    return max(map(len, printed.splitlines())) <= WIDTH


@pytest.fixture(scope="module")
def several():
    """Two responses with long names, moderators and states, and prior draws."""
    responses = (rl.Response("first asset", "price"), rl.Response("an asset whose name is a whole sentence", "second"))
    spec = moderated_spec(("easing", "euro"), responses=responses)
    return prior_fit(spec, hand_panel(spec, 40, missing=[3]), draws=50)


@pytest.mark.filterwarnings("ignore")
def test_tables_are_narrow_and_complete(several, idata):
    tables = [rl.describe_panel(rl.panel_of(idata)), rl.lag_report(several), rl.regime_summary(several)]
    tables += [rl.results.state_report(several), rl.modes(idata), rl.results.driver_report(idata)]
    tables += [rl.model_table({"first asset": several, "baseline": idata}), rl.verify(idata, rl.panel_of(idata))]
    for table in tables:
        assert narrow(repr(table)), table
        assert str(table) == repr(table)
        assert isinstance(table, pd.DataFrame)
        assert type(table.iloc[:1]) is pd.DataFrame, "what pandas makes of it is plain"
        again = pickle.loads(pickle.dumps(table))
        assert repr(again) == repr(table)
        pd.testing.assert_frame_equal(again, table)
        assert again.attrs == table.attrs
        assert "<table>" in table._repr_html_()
    for text in (rl.spec_of(several), rl.read_spec("coupling"), rl.summary(several), rl.summary(idata)):
        assert narrow(str(text))
        assert "<table>" in text._repr_html_()


def test_every_bundled_model_prints(flagship):
    assert flagship.claim.split()[0] in str(flagship)
    assert all(one.name in str(flagship) for one in flagship.series)
    assert "ModelSpec(" in repr(flagship), "the representation can still be evaluated"
    hostile = small_spec(claim="<script>alert(1)</script>")
    assert "<script" not in hostile._repr_html_()


def test_the_report_prints_its_verdict_first(idata):
    report = rl.lag_report(idata)
    lines = repr(report).splitlines()
    verdict = next(iter(report.attrs["verdict"].values()))
    assert verdict.startswith(lines[0])
    shown = report.shown.table
    assert list(shown.columns) == ["quantity", "median", "90 %", "P(> 0)", "prior 90 %"]
    median = report["posterior", "median"].iloc[0]
    assert float(shown["median"].iloc[0]) == pytest.approx(median, abs=0.005)


def test_the_summary_answers_in_a_few_lines(idata):
    made = rl.summary(idata, within=(4, 13))
    said = str(made).splitlines()
    assert made.answer[0].startswith(next(iter(rl.lag_report(idata).attrs["verdict"].values())).split(".")[0])
    assert len(made.table) <= 20
    assert any("share of the effect at lags 4 to 13" in line for line in said)
    # Diagnostics of the short fit fail: no size is said.
    assert any("Effect (" in one for one in made.answer) == (len(rl.diagnostics(idata)) == 1)


def test_columns_that_do_not_fit_are_named():
    wide = pd.DataFrame({f"a long column {n}": [1.5, 2.25] for n in range(20)})
    printed = repr(readable(wide))
    assert narrow(printed)
    assert "In the DataFrame alone: a long column" in printed.replace("\n  ", " ")


def test_numbers_of_a_column_have_the_same_decimals():
    frame = pd.DataFrame(
        {"5 %": [-2.314, 0.1], "median": [-0.0001, 0.7], "95 %": [2.3, 1.69], "P(> 0)": [0.0, 0.149], "n": [3, 70000]},
        index=pd.Index(["a", "b"], name="quantity"),
    )
    shown = compact(frame).table
    assert shown["median"].to_list() == ["0.00", "0.70"]
    assert shown["90 %"].to_list() == ["[-2.31, 2.30]", "[0.10, 1.69]"]
    assert shown["P(> 0)"].to_list() == ["< 0.001", "0.149"]
    assert shown["n"].to_list() == ["3", "70,000"]
    assert compact(frame, ("median",)).absent == ("P(> 0)", "n")
    grouped = compact(frame.assign(median=[0.001, 150.0]).drop(columns=["5 %", "95 %"]), ("median",), alike=["x", "y"])
    assert grouped.table["median"].to_list() == ["0.00100", "150"]
    error = pd.DataFrame({"elpd": [-700.25], "elpd se": [21.5]})
    assert compact(error).table["elpd (se)"].to_list() == ["-700 (22)"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (np.nan, ""),
        (pd.NaT, ""),
        (pd.NA, ""),
        (True, "yes"),
        (2013, "2013"),
        (pd.Timestamp("2026-01-23"), "2026-01-23"),
    ],
)
def test_cells(value, written):
    assert fmt.cell(value) == written


def test_no_probability_is_zero_or_one():
    assert [fmt.probability(one) for one in (0.0, 0.0004, 0.149, 0.9995, 1.0, np.nan)] == [
        "< 0.001",
        "< 0.001",
        "0.149",
        "> 0.999",
        "> 0.999",
        "",
    ]


def test_columns_are_aligned():
    assert kind_of(["1.5", "", "> 0.999", "12 %"]) == "number"
    assert kind_of(["[1, 2]"]) == "interval"
    assert kind_of(["1.5", "[1, 2]", "gamma"]) == "mixed"
    assert kind_of(["2013-01-04"]) == "text"
    assert padded(["1.25", "3", ""]) == ["1.25", "3   ", ""]
    lines, left = as_text(Shown(pd.DataFrame({"name": ["a b", "c"], "x": ["1.25", "30"]})))
    assert lines == ["name      x", "-----------", "a b    1.25", "c     30"]
    assert not left
    assert "<b>" not in as_html(Shown(pd.DataFrame({"<b>": ["<i>"]}), "<u>"))
