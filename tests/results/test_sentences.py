"""The sentences of every result come from one place, print one a line, and show in a notebook."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import small_spec

import regimelag as rl
from regimelag.sampling.diagnostics import stored_diagnostics


def test_readings_of_a_fit(idata, short_panel):
    report = rl.lag_report(idata)
    assert rl.sentences(report) == [*report.attrs["verdict"].values(), *report.attrs["notes"]]
    assert rl.sentences(idata) == stored_diagnostics(idata) == rl.sentences(rl.diagnostics(idata))
    panel = rl.panel_of(idata).assign_attrs(spec=idata.attrs["spec"])
    verified = rl.verify(idata, panel)
    assert rl.sentences(verified) == verified.attrs["verdict"]
    assert rl.sentences(verified)[0] == "The panel is the one that the fit was made with, value by value."
    drivers = rl.results.driver_report(idata)
    assert rl.sentences(drivers) == drivers.attrs["sentences"] != []
    described = rl.describe_panel(panel)
    assert rl.sentences(described) == described.attrs["notes"]


def test_what_is_ahead(idata, tmp_path):
    ahead = rl.forecast(idata, horizon=2)
    first, path, regime = rl.sentences(ahead)
    assert first == f"The forecast from {ahead.attrs['origin']} is {ahead.attrs['condition']}."
    median = float(ahead["path"].isel(step=-1).median())
    assert f"2 weeks ahead, on {str(ahead['date'].to_numpy()[-1])[:10]}, bitcoin (btc_usd, level)" in path
    assert f"has a median of {median:,.0f} and" in path
    probability = ahead["regime_probability"].sel(regime="turbulent").mean(("chain", "draw")).to_numpy()
    said = f"is {probability[0]:.2f} in the first period ahead and {probability[1]:.2f} in the last."
    assert regime == f'The probability of "turbulent" {said}'
    small, large = (rl.evaluation.impulse_response(idata, shock=shock, horizon=2) for shock in (0.001, 9.0))
    assert rl.sentences(small)[0] == "silver moves by 0.001."
    assert [rl.sentences(large)[n] for n in (0, -1)] == ["silver moves by 9.", large.attrs["extrapolation"]]
    assert len(rl.sentences(large)) == len(rl.sentences(small)) + 1 == 4
    for read in (ahead, large):
        read.to_netcdf(tmp_path / "read.nc", engine="h5netcdf")
        assert rl.sentences(xr.load_dataset(tmp_path / "read.nc", engine="h5netcdf")) == rl.sentences(read)


def test_comparisons(idata):
    compared = rl.compare({"one": idata, "other": idata})
    assert rl.sentences(compared) == [*compared.attrs["verdict"], compared.attrs["condition"]]


def test_they_print_one_a_line_and_show_in_a_notebook(capsys):
    said = rl.sentences(["One < two.", "Three."])
    assert isinstance(said, list)
    print(said)
    assert capsys.readouterr().out == "One < two.\nThree.\n"
    assert repr(said) == "One < two.\nThree."
    assert said._repr_html_() == "<ul><li>One &lt; two.</li><li>Three.</li></ul>"


@pytest.mark.parametrize("given", [pd.DataFrame({"a": [1]}), xr.Dataset(), 3.0, small_spec(), [1, 2], np.ones(2)])
def test_what_has_none_is_refused(given):
    with pytest.raises(rl.errors.FitError, match="sentences"):
        rl.sentences(given)
