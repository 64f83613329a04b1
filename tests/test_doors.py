"""What is passed in place of a fit, and arguments of the wrong kind, are refused with the cure."""

from __future__ import annotations

import pytest

import regimelag as rl

READINGS = [
    "convergence",
    "diagnostics",
    "driver_effects",
    "effects",
    "forecast",
    "lag_distribution",
    "lag_report",
    "leave_one_out",
    "modes",
    "one_step_ahead",
    "panel_of",
    "regime_durations",
    "regime_paths",
    "regime_portrait",
    "regime_probabilities",
]


@pytest.mark.parametrize("name", READINGS)
def test_a_path_a_panel_or_a_spec_is_no_fit(name, tiny):
    spec, panel, _ = tiny
    for given, cure in (("fit.nc", "load_fit('fit.nc')"), (panel, "load_fit returned"), (spec, "load_fit returned")):
        with pytest.raises(rl.FitError) as caught:
            getattr(rl, name)(given)
        assert cure in caught.value.cure


CALLS = {
    "fits without names": (lambda _, fit: rl.compare([fit, fit]), '{"lag": idata'),
    "pairs without names": (lambda _, fit: rl.compare_gains([(fit, fit)]), '{"a -> b"'),
    "a range in words": (lambda _, fit: rl.lag_report(fit, within="4-13"), "within=(4, 13)"),
    "a range of one": (lambda _, fit: rl.lag_distribution(fit, within=(4,)), "within=(4, 13)"),
    "a range the other way": (lambda _, fit: rl.lag_distribution(fit, within=(13, 4)), "swap"),
    "a shock in words": (lambda _, fit: rl.impulse_response(fit, shock="10%"), "shock=0.1"),
    "a driver by its column": (lambda _, fit: rl.driver_effects(fit, moves={"tips": -0.5}), "'real yield' for its"),
    "a path that is a fit": (lambda _, fit: rl.save_fit(fit, fit), '"fit.nc"'),
    "path and fit exchanged": (lambda _, fit: rl.save_fit("fit.nc", fit), "load_fit"),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_of_the_wrong_kind(name, tiny):
    call, cure = CALLS[name]
    with pytest.raises(rl.FitError) as caught:
        call(*tiny[1:])
    assert cure in caught.value.cure
