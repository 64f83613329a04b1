"""A fit is read once for each public call, and never from what another call has read."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr

import regimelag as rl
from regimelag.model import at_draws
from regimelag.results.model_checks import model_warnings
from regimelag.results.view import View
from regimelag.sampling.diagnostics import convergence, stored_diagnostics


@pytest.fixture
def counted(monkeypatch):
    """How often the model was evaluated and the diagnostics were computed, wherever they are called from."""
    calls = {"evaluate": 0, "convergence": 0}

    def counting(name, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    for name, function in (("evaluate", at_draws.evaluate), ("convergence", convergence)):
        holders = [
            m for key, m in sys.modules.items() if key.startswith("regimelag.") and vars(m).get(name) is function
        ]
        assert holders
        for module in holders:
            monkeypatch.setattr(module, name, counting(name, function))
    return calls


@pytest.mark.slow
def test_report_evaluates_the_model_at_most_twice_and_diagnoses_once(idata, counted, tmp_path):
    fit = idata.copy()
    # As if the draws had been made without `fit`: nothing is stored.
    del fit.attrs["diagnostics"], fit.attrs["diagnostics_of"]
    rl.report(fit, tmp_path / "report")
    assert 1 <= counted["evaluate"] <= 2
    assert counted["convergence"] == 1


def test_lag_report_evaluates_the_model_once_and_takes_the_stored_diagnostics(idata, counted):
    rl.lag_report(idata)
    assert counted == {"evaluate": 1, "convergence": 0}


@pytest.mark.parametrize(
    "read",
    [
        rl.results.regime_durations,
        rl.regime_summary,
        model_warnings,
        rl.driver_effects,
        rl.results.driver_report,
        rl.effects,
        lambda fit: rl.effects(fit, group="prior"),
        rl.leave_one_out,
        lambda fit: rl.evaluation.impulse_response(fit, shock=0.1),
    ],
)
def test_every_reading_evaluates_the_model_at_most_once(read, tiny, counted):
    read(tiny[2])
    assert counted["evaluate"] <= 1


@pytest.mark.slow
def test_diagnostics_are_stored_for_the_draws_that_they_are_of(idata, tmp_path):
    assert stored_diagnostics(idata) == rl.diagnostics(idata)
    marked = idata.copy()
    marked.attrs["diagnostics"] = '["Stored."]'
    assert stored_diagnostics(marked) == ["Stored."]
    assert stored_diagnostics(rl.load_fit(rl.save_fit(marked, tmp_path / "fit.nc"))) == ["Stored."]

    def diverged():
        other = marked.copy()
        other["sample_stats"] = xr.DataTree(
            marked["sample_stats"].to_dataset().assign(diverging=lambda s: s["diverging"] | True)
        )
        return other

    def shifted():
        other = marked.copy()
        draws = marked["posterior"].to_dataset()
        other["posterior"] = xr.DataTree(draws.assign(effect=draws["effect"] + 1.0))
        return other

    def interrupted():
        other = marked.copy()
        other.attrs["chains"] = other.attrs["chains_kept"] + 1
        return other

    for other in (marked.isel(draw=slice(None, None, 2), missing_dims="ignore"), diverged(), shifted(), interrupted()):
        assert stored_diagnostics(other) == rl.diagnostics(other) != ["Stored."]


def test_draws_in_several_chunks_read_the_same_and_are_not_kept(tiny, monkeypatch, counted):
    fit = tiny[2]
    whole = {kind: rl.regime_probabilities(fit, kind=kind) for kind in ("filtered", "smoothed")}
    paths, moved = rl.results.regime_paths(fit), rl.driver_effects(fit)
    split = at_draws.in_chunks
    monkeypatch.setattr(at_draws, "in_chunks", lambda draws, rows: split(draws, rows, budget=8 * rows))
    counted["evaluate"] = 0
    view = View.of(fit)
    for kind, expected in whole.items():
        xr.testing.assert_allclose(view.read(rl.regime_probabilities, kind=kind), expected, rtol=1e-12)
    # Twelve draws, two at a time, twice.
    assert counted["evaluate"] == 12
    xr.testing.assert_identical(rl.results.regime_paths(fit), paths)
    xr.testing.assert_allclose(rl.driver_effects(fit), moved, rtol=1e-10)


def test_thinned_draws_are_those_of_the_selected_fit(tiny, counted):
    fit = tiny[2]
    thin = fit.isel(draw=slice(None, None, 4), missing_dims="ignore")
    expected = rl.regime_probabilities(thin), rl.results.regime_paths(thin, random_seed=2)
    view = View.of(fit)
    view.read(rl.regime_probabilities)
    before = counted["evaluate"]
    some = view.thinned(4)
    xr.testing.assert_allclose(some.read(rl.regime_probabilities), expected[0], rtol=1e-12)
    xr.testing.assert_identical(some.read(rl.results.regime_paths, random_seed=2), expected[1])
    assert counted["evaluate"] == before


def test_a_reading_is_kept_for_its_arguments_and_for_one_call(tiny):
    fit = tiny[2].copy()
    view = View.of(fit)
    assert View.of(view) is view
    first = view.read(rl.results.regime_paths, random_seed=0)
    assert view.read(rl.results.regime_paths) is first
    assert not view.read(rl.results.regime_paths, random_seed=1).identical(first)
    assert set(rl.driver_effects(view.fit, moves={"yield": 2.0})) == set(
        view.read(rl.driver_effects, moves={"yield": 2.0})
    )
    before = rl.effects(fit)["lagged"]
    fit["posterior"] = xr.DataTree(fit["posterior"].to_dataset().assign(effect=lambda p: 2 * p["effect"]))
    assert not np.allclose(rl.effects(fit)["lagged"], before)
