"""examples/this_week.py: a saved fit, extended by data fetched from servers on loopback."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loopback import Files, running

import regimelag as rl
from regimelag.fetch import download, market

EXAMPLE = Path(__file__).parents[2] / "examples" / "this_week.py"


def load():
    specification = importlib.util.spec_from_file_location("this_week_example", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in ("FRED_API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    frame = rl.example_panel(as_frame=True)
    # Half a year after the fit's window.
    frame = frame.iloc[: frame.index.get_loc(pd.Timestamp("2013-01-04")) + 240 + 26]
    with running(Files()) as server:
        monkeypatch.setattr(download, "FRED_GRAPH", f"{server.url}/graph/fredgraph.csv")
        monkeypatch.setattr(download, "STOOQ", f"{server.url}/q/d/l/")
        silver = frame["silver_usd"] / market.without_fee(pd.Series(1.0, index=frame.index))
        held = {"DFII10": frame["real_yield_10y"], "DTWEXBGS": frame["dollar_index"], "btc.v": frame["btc_usd"]}
        for name, values in (held | {"slv.us": silver}).items():
            server.series[name] = [(f"{day:%Y-%m-%d}", repr(float(value))) for day, value in values.dropna().items()]
        yield server


@pytest.mark.slow
def test_a_saved_fit_is_extended_and_not_fitted_again(idata, server, monkeypatch, tmp_path, capsys):
    path, out = tmp_path / "baseline.nc", tmp_path / "out"
    rl.save_fit(idata, path)
    saved = path.read_bytes()
    monkeypatch.setattr(rl, "fit", None)
    given = ["--fit", path, "--out", out, "--cache", tmp_path / "cache", "--source", "stooq"]
    monkeypatch.setattr(sys, "argv", ["this_week.py", *map(str, given)])
    load().main()
    said = capsys.readouterr().out
    panel = rl.make_panel(
        rl.spec_of(idata),
        rl.fetch_fred(["real_yield_10y", "dollar_index"], cache=tmp_path / "cache").join(
            rl.fetch_market(["btc_usd", "silver_usd"], source="stooq", cache=tmp_path / "cache"), how="outer"
        ),
        start=rl.panel_of(idata).attrs["start"],
    )
    probability = rl.regime_probabilities(idata, panel=panel).mean(("chain", "draw"))
    fitted = str(rl.panel_of(idata)["time"].to_numpy()[-1])[:10]
    assert f"as fitted up to {fitted}" in said
    assert panel.attrs["end"] > fitted
    assert f"Week to {panel.attrs['end']}" in said
    for regime in probability["regime"].to_numpy():
        this, last = (float(probability.sel(regime=regime)[t]) for t in (-1, -2))
        assert f"{regime}: probability {this:.2f}, {this - last:+.2f} since last week" in said
    assert "silver_usd:" in said
    assert path.read_bytes() == saved
    assert (out / "this_week.txt").read_text().splitlines()[0] in said
    assert np.isfinite(probability).all()
    assert list((out / "report").glob("*.html"))
