"""`verify`: what it calls the same, and that it finds what is not."""

from __future__ import annotations

import json

import pytest
import xarray as xr
from builders import prior_fit

import regimelag as rl


@pytest.fixture(scope="module")
def frame():
    return rl.example_panel(as_frame=True)


@pytest.fixture(scope="module")
def made(flagship, frame):
    """A fit of a panel made from a frame: prior draws do."""
    panel = rl.make_panel(flagship, frame)
    return prior_fit(flagship, panel), panel


def test_the_same_data_and_versions(made, tmp_path):
    fit, panel = made
    loaded = rl.load_fit(rl.save_fit(fit, tmp_path / "fit.nc"))
    for tree in (fit, loaded):
        table = rl.verify(tree, panel)
        assert table["same"].all()
        assert table.attrs["verdict"] == [
            "The panel is the one that the fit was made with, value by value.",
            "All versions are those that the fit was made with.",
        ]
    assert {"fit file", "data", "spec", "version of pymc", "version of python", "version of platform"} <= set(
        table.index
    )


def test_one_revised_value_is_found_and_dated(made, flagship, frame):
    fit, panel = made
    revised = frame.copy()
    at = panel["time"].to_pandas().index[300]
    revised.loc[at, "silver_usd"] += 0.25
    table = rl.verify(fit, rl.make_panel(flagship, revised))
    assert not table.loc["data", "same"]
    assert table.loc["fit file", "same"]
    said = " ".join(table.attrs["verdict"])
    assert f"silver_usd of signal silver differs on 1 of 708 rows that both have, from {at.date()} on, by 0.25" in said
    assert "btc_usd" not in said


def test_another_window_and_another_spec_are_found(made, frame):
    fit, _ = made
    other = rl.make_panel(rl.read_spec("no_silver"), frame, start="2015-01-01")
    table = rl.verify(fit, other)
    assert list(table.index[~table["same"]]) == ["data", "spec"]
    said = " ".join(table.attrs["verdict"])
    assert "Its window is 2015-01-02 to" in said
    assert "Column silver_usd of signal silver is in the fit alone." in said
    assert "another spec" in said


def test_what_is_made_of_the_columns_is_named_if_they_agree(made):
    fit, panel = made
    late = panel.copy(deep=True)
    late["driver_date"] = late["driver_date"].shift(time=1)
    assert "What differs: driver_date." in rl.verify(fit, late).attrs["verdict"]


def test_a_file_that_was_changed_is_found(made):
    fit, panel = made
    other = fit.copy(deep=True)
    other["observed_data"]["response_value"][5] = 0.0
    table = rl.verify(other, panel)
    assert not table.loc["fit file", "same"]
    assert table.loc["data", "same"]
    assert "was changed after it was saved" in table.attrs["verdict"][0]


def test_other_versions_are_told(made):
    fit, panel = made
    other = fit.copy()
    other.attrs["versions"] = json.dumps(json.loads(fit.attrs["versions"]) | {"pymc": "5.9.0"})
    table = rl.verify(other, panel)
    assert list(table.index[~table["same"]]) == ["version of pymc"]
    assert table.attrs["verdict"][-1].startswith(
        "Versions differ, so the same seed may give other draws: pymc 5.9.0, now"
    )


def test_what_is_no_panel_is_refused(made, frame):
    with pytest.raises(rl.errors.PanelError, match="verify\\(idata, panel\\)"):
        rl.verify(made[0], frame)
    with pytest.raises(rl.errors.FitError, match="carries its spec"):
        rl.verify(xr.DataTree(made[1].drop_attrs()), made[1])
