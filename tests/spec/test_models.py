"""The named models: each is read, states a claim, and makes a panel from the columns that it asks for."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pytensor.compile.mode import Mode

from regimelag.model.build import build_model
from regimelag.panel.make import check_panel, describe_panel, make_panel
from regimelag.panel.read import read_series
from regimelag.spec import names as nm
from regimelag.spec.kernels import NoLag
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import read_spec

DATA = Path(os.environ.get("REGIMELAG_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real panels are not in {DATA}; set REGIMELAG_DATA")
MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.toml"))

NULLS = {"no_silver", "same_week_only", "no_drivers", "one_regime", "garch", "reversed_no_signal"}
KERNELS = {"btc_silver", "point_lag", "smooth", "dirichlet", "unrestricted"}
SERIES = {"more_controls", "silver_and_gold", "silver_beyond_gold", "sustained_strength", "rate_expectations"}
SERIES |= {"ups_and_downs", "breakout", "silver_over_gold", "money_supply", "balance_sheet"}
STATES = {"debasement", "moderated", "rate_cuts"}
OTHERS = {"daily", "no_late_macro", "btc_eth", "lag_by_cycle", "three_regimes", "reversed", "coupling"}
PRICES = ("btc_usd", "eth_usd", "silver_usd", "gold_usd", "dollar_index", "spy_usd", "vix")
RATES = ("real_yield_10y", "yield_2y", "fed_funds", "breakeven_10y")
# The parts of the baseline model that each one changes.
CHANGES = {
    "btc_silver": set(),
    "no_late_macro": {"controls", "priors"},
    "point_lag": {"signals"},
    "smooth": {"signals"},
    "dirichlet": {"signals"},
    "unrestricted": {"signals"},
    "silver_and_gold": {"signals"},
    "silver_beyond_gold": {"signals"},
    "sustained_strength": {"signals"},
    "ups_and_downs": {"signals"},
    "breakout": {"signals"},
    "silver_over_gold": {"signals"},
    "same_week_only": {"signals", "episodes"},
    "no_silver": {"signals", "episodes"},
    "more_controls": {"controls"},
    "rate_expectations": {"drivers"},
    "money_supply": {"drivers", "controls"},
    "balance_sheet": {"drivers", "controls"},
    "no_drivers": {"drivers"},
    "one_regime": {"drivers", "regimes"},
    "garch": {"drivers", "regimes", "volatility"},
    "three_regimes": {"regimes"},
    "coupling": {"regime_processes"},
    "lag_by_cycle": {"episodes"},
    "debasement": {"signals", "drivers", "indicators", "priors"},
    "moderated": {"signals", "drivers", "indicators", "priors"},
    "rate_cuts": {"signals", "drivers", "indicators", "priors"},
    "btc_eth": {"responses"},
    "reversed": {"responses", "signals"},
    "reversed_no_signal": {"responses", "signals", "episodes"},
    "daily": {"frequency", "max_lag", "signals", "drivers", "controls", "regimes", "priors"},
}
every_model = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
# The real files do not hold the Federal Reserve's assets.
on_real_files = [path for path in MODELS if path.stem != "balance_sheet"]


def made_up() -> pd.DataFrame:
    """Daily levels with the real files' columns and calendars, money included; no market data."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2010-01-04", "2017-12-29", name="date")
    walk = rng.normal(0.0, 0.01, (len(index), len(PRICES) + len(RATES))).cumsum(axis=0)
    frame = pd.DataFrame(walk, index=index, columns=[*PRICES, *RATES])
    frame[list(PRICES)] = 100.0 * np.exp(frame[list(PRICES)])
    crypto = ["btc_usd", "eth_usd"]
    frame.loc[index.day_of_week >= 5, [name for name in frame if name not in crypto]] = np.nan
    frame.loc[:"2016-05-17", "eth_usd"] = np.nan
    money = pd.Series(9e3 * np.exp(rng.normal(0.001, 0.003, len(index)).cumsum()), index)
    frame["m2_nsa_bn"] = money.where(index.day_of_week == 0)
    frame["fed_assets_mn"] = (500.0 * money).where(index.day_of_week == 2)
    return frame


@pytest.fixture(scope="module")
def levels() -> pd.DataFrame:
    return made_up()


def real(spec: ModelSpec) -> pd.DataFrame:
    name = "daily" if spec.frequency == "trading" else "weekly"
    return read_series(DATA / f"btc_silver_{name}.csv").join(read_series(DATA / "m2_weekly.csv"), how="outer")


def test_every_model_that_was_promised_is_there():
    assert {path.stem for path in MODELS} == NULLS | KERNELS | SERIES | STATES | OTHERS


@every_model
def test_models_are_named_as_their_files_and_state_a_claim_and_a_comment(path):
    spec = read_spec(path)
    assert spec.name == path.stem
    assert spec.claim.endswith(".")
    comment = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert len(" ".join(comment)) > 150
    assert "claim" in " ".join(comment).lower()


@every_model
def test_models_make_a_panel_from_made_up_levels(path, levels):
    spec = read_spec(path)
    panel = make_panel(spec, levels, start="2013-01-01")
    check_panel(spec, panel)
    rows = panel.sizes[nm.TIME]
    assert rows == (levels["silver_usd"]["2013-01-01":].notna().sum() if spec.frequency == "trading" else 261)
    assert panel.sizes[nm.SIGNAL_TIME] == rows + spec.history


# Building the others takes a second each.
QUICK = {"btc_silver", "point_lag"}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow) for path in MODELS],
)
def test_models_have_a_finite_density(path, levels):
    spec = read_spec(path)
    model = build_model(spec, make_panel(spec, levels, start="2013-01-01"))
    assert np.isfinite(model.compile_logp(mode=Mode(linker="py", optimizer=None))(model.initial_point()))


@needs_data
@pytest.mark.parametrize("path", on_real_files, ids=lambda path: path.stem)
def test_models_make_a_panel_from_the_real_files(path):
    spec = read_spec(path)
    # A year of highs and 26 lags lie before the window, and the files begin in January 2012.
    late = spec.name == "breakout"
    panel = make_panel(spec, real(spec), start="2013-07-01" if late else "2013-01-01")
    check_panel(spec, panel)
    table = describe_panel(panel)
    assert panel.attrs["end"] == "2026-01-23"
    assert panel.sizes[nm.TIME] == (3237 if spec.frequency == "trading" else 656 if late else 682)
    assert table.loc[(nm.RESPONSE, spec.responses[0].name), "missing"] == 0


@every_model
def test_models_share_with_the_flagship_what_their_claim_does_not_touch(path):
    spec, flagship = read_spec(path), read_spec("btc_silver")
    assert spec.episodes.starts == flagship.episodes.starts
    assert spec.episodes.names == flagship.episodes.names
    assert spec.regimes.initial == flagship.regimes.initial
    assert spec.family == flagship.family
    at_once = [dataclasses.replace(control, kernel=NoLag()) for control in flagship.controls]
    assert [dataclasses.replace(control, kernel=NoLag()) for control in spec.controls[:2]] == at_once
    if spec.name != "daily":
        assert (spec.frequency, spec.max_lag) == ("W-FRI", flagship.max_lag)
    if spec.name not in ("daily", "no_late_macro"):
        assert {name: spec.priors[name] for name in flagship.priors} == dict(flagship.priors)
        assert spec.controls[:2] == flagship.controls
        drivers = tuple(dataclasses.replace(driver, drives=True) for driver in spec.drivers)
        assert drivers in ((), flagship.drivers) or drivers[:2] == flagship.drivers


@every_model
def test_models_change_the_parts_of_the_baseline_that_they_say(path):
    spec, baseline = read_spec(path), read_spec("btc_silver")
    changed = {f.name for f in dataclasses.fields(spec) if getattr(spec, f.name) != getattr(baseline, f.name)}
    assert changed - {"name", "claim"} == CHANGES[path.stem]


def test_nulls_take_away_what_they_say():
    flagship = read_spec("btc_silver")
    assert read_spec("no_silver").signals == ()
    assert [signal.kernel.kind for signal in read_spec("same_week_only").signals] == ["none"]
    assert read_spec("no_drivers").drivers == ()
    assert read_spec("one_regime").regimes.count == 1
    arrow, null = read_spec("reversed"), read_spec("reversed_no_signal")
    assert (arrow.responses[0].column, arrow.signals[0].column) == ("silver_usd", "btc_usd")
    assert (null.responses, null.signals) == (arrow.responses, ())
    assert arrow.signals[0].kernel == flagship.signals[0].kernel
