"""What is passed in place of a fit, and arguments of the wrong kind, are refused with the cure."""

from __future__ import annotations

from operator import attrgetter

import pytest
from builders import hand_panel, prior_fit, small_spec

import regimelag as rl

READINGS = [
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
    "regime_summary",
    "regime_probabilities",
    *(
        f"results.{name}"
        for name in rl.results.__all__
        if name not in ("gain_report", "state_contrast", "state_report")
    ),
]


@pytest.mark.parametrize("name", READINGS)
def test_a_path_a_panel_or_a_spec_is_no_fit(name, tiny):
    spec, panel, _ = tiny
    for given, cure in (("fit.nc", "load_fit('fit.nc')"), (panel, "load_fit returned"), (spec, "load_fit returned")):
        with pytest.raises(rl.errors.FitError) as caught:
            attrgetter(name)(rl)(given)
        assert cure in caught.value.cure


def test_a_misspelled_name_is_answered_with_the_closest():
    with pytest.raises(AttributeError, match="'lag_report' is the closest"):
        rl.lag_reports  # noqa: B018
    for space in (rl, rl.plots):
        with pytest.raises(AttributeError, match="plot_lag' is the closest"):
            space.plot_lags  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'zzz'$"):
        rl.zzz  # noqa: B018
    assert not hasattr(rl, "_repr_html_")


def test_a_misspelled_file_or_model_is_answered_with_the_closest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold_ether.toml").write_text("", encoding="utf-8")
    asked = {"btc_sliver": "'btc_silver'", "gold_etherr.toml": "'gold_ether.toml'", "zzz": "use one of"}
    for path, cure in asked.items():
        with pytest.raises(rl.errors.SpecError) as caught:
            rl.read_spec(path)
        assert cure in caught.value.cure
        assert str(tmp_path) in caught.value.came


def test_a_single_table_where_a_list_is_asked(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[responses]\nname = "a"\ncolumn = "b"\n', encoding="utf-8")
    with pytest.raises(rl.errors.SpecError) as caught:
        rl.read_spec(path)
    assert caught.value.cure.startswith("write [[responses]]")


CALLS = {
    "fits without names": (lambda _, fit: rl.compare([fit, fit]), '{"lag": idata'),
    "nulls without names": (lambda _, fit: rl.compare({"a": fit, "b": fit}, nulls=[fit]), "nulls={'a': ..., 'b': ...}"),
    "a range in words": (lambda _, fit: rl.lag_report(fit, within="4-13"), "within=(4, 13)"),
    "a range of one": (lambda _, fit: rl.lag_distribution(fit, within=(4,)), "within=(4, 13)"),
    "a range the other way": (lambda _, fit: rl.lag_distribution(fit, within=(13, 4)), "within=(4, 13)"),
    "a shock in words": (lambda _, fit: rl.evaluation.impulse_response(fit, shock="10%"), "shock=0.1"),
    "a path that is a fit": (lambda _, fit: rl.save_fit(fit, fit), '"fit.nc"'),
    "path and fit exchanged": (lambda _, fit: rl.save_fit("fit.nc", fit), "load_fit"),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_of_the_wrong_kind(name, tiny):
    call, cure = CALLS[name]
    with pytest.raises(rl.errors.FitError) as caught:
        call(*tiny[1:])
    assert cure in caught.value.cure


def test_a_driver_by_its_column_is_answered_with_its_name():
    spec = small_spec(drivers=(rl.Driver("real yield", "tips"),))
    fit = prior_fit(spec, hand_panel(spec, 8))
    with pytest.raises(rl.errors.FitError) as caught:
        rl.driver_effects(fit, moves={"tips": -0.5})
    assert caught.value.cure == "write 'real yield' for its column 'tips'"
