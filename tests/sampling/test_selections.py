"""A part of a fit is read right, or refused with a cure that works: draws can be thinned, the rest is read whole."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from builders import hand_panel, prior_fit, small_spec

import regimelag as rl
from regimelag.sampling.diagnostics import convergence

DRAWS = 8
TWO = small_spec(
    responses=(rl.Response("asset", "price"), rl.Response("other", "other")),
    signals=(*small_spec().signals, rl.Signal("gold", "gold", kernel=small_spec().signals[0].kernel)),
)
READINGS = {
    "convergence": convergence,
    "diagnostics": rl.diagnostics,
    "driver_effects": rl.driver_effects,
    "driver_report": rl.results.driver_report,
    "effects": rl.effects,
    "prior effects": lambda fit: rl.effects(fit, group="prior"),
    "impulse_response": lambda fit: rl.evaluation.impulse_response(fit, shock=0.1, signal="metal", horizon=4),
    "lag_distribution": rl.lag_distribution,
    "lag_report": rl.lag_report,
    "leave_one_out": rl.leave_one_out,
    "one_step_ahead": rl.one_step_ahead,
    "panel_of": rl.panel_of,
    "regime_durations": rl.results.regime_durations,
    "regime_paths": rl.results.regime_paths,
    "regime_summary": rl.regime_summary,
    "filtered": rl.regime_probabilities,
    "smoothed": lambda fit: rl.regime_probabilities(fit, kind="smoothed"),
    "spec_of": rl.spec_of,
    "stack_chains": rl.evaluation.stack_chains,
    "verify": lambda fit: rl.verify(fit, hand_panel(TWO, 12).assign_attrs(spec=fit.attrs["spec"])),
}
# Whether a selection leaves something to read.
SELECTIONS = {
    "chain 0": (lambda fit: fit.isel(chain=0), False),
    "draw 0": (lambda fit: fit.sel(draw=0), False),
    "no draw": (lambda fit: fit.isel(draw=[]), False),
    "chain [0]": (lambda fit: fit.isel(chain=[0]), True),
    "every second draw": (lambda fit: fit.isel(draw=slice(None, None, 2)), True),
    "the first draws": (lambda fit: fit.sel(draw=slice(0, 4)), True),
    "later rows": (lambda fit: fit.sel(time=slice("2020-02-01", None)), False),
    "earlier rows": (lambda fit: fit.isel(time=slice(0, 5)), False),
    "one row": (lambda fit: fit.isel(time=3), False),
    "one response": (lambda fit: fit.sel(response="asset"), False),
    "one response, kept": (lambda fit: fit.sel(response=["asset"]), False),
    "one signal": (lambda fit: fit.sel(signal="gold"), False),
    "one lagged signal": (lambda fit: fit.isel(lagged_signal=[1]), False),
    "one regime": (lambda fit: fit.sel(regime="calm"), False),
    "one episode": (lambda fit: fit.isel(episode=[0]), False),
}
# What does not look at what was selected need not refuse it.
OF_DRAWS = {"one lagged signal", "one regime"}
OF_ROWS = {"later rows", "earlier rows", "one row"}


def may_be_read(name: str, selection: str) -> bool:
    if SELECTIONS[selection][1] or name in ("convergence", "diagnostics", "verify", "spec_of"):
        return True
    if selection in OF_DRAWS:
        return name == "panel_of"
    return selection in OF_ROWS and name in ("effects", "prior effects", "lag_distribution")


def refusal(read, fit) -> Exception | None:
    """What came instead of a reading; ArviZ needs more draws than a test has, and says so itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(fit)
        except rl.errors.FitError as problem:
            return problem
        except ValueError as problem:
            if "tail" not in str(problem):
                raise
    return None


@pytest.fixture(scope="module")
def fit():
    return prior_fit(TWO, hand_panel(TWO, 12), DRAWS)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_reading_takes_or_refuses_it(selection, fit):
    select, whole = SELECTIONS[selection]
    part = select(fit)
    for name, read in READINGS.items():
        refused = refusal(read, part)
        assert refused or may_be_read(name, selection), name
        # Chains are stacked from a hundred draws on.
        if refused and name != "stack_chains":
            assert not whole, (name, refused)
            assert "idata" in refused.cure, name


@pytest.mark.parametrize(
    "name", ["effects", "prior effects", "lag_distribution", "filtered", "smoothed", "driver_effects"]
)
def test_thinned_draws_are_read_as_they_were(name, fit):
    def read(tree):
        found = READINGS[name](tree)
        # An average along sampled paths, whose random numbers go by the place of a draw.
        return found.drop_vars("lagged_over_sample", errors="ignore") if isinstance(found, xr.Dataset) else found

    every = read(fit)
    thinned = read(fit.isel(draw=slice(None, None, 2)))
    xr.testing.assert_allclose(thinned, every.isel(draw=slice(None, None, 2)), rtol=0, atol=1e-12)
    kept = read(fit.isel(chain=[0]))
    xr.testing.assert_allclose(kept, every.isel(chain=[0]), rtol=0, atol=1e-12)


def test_the_cures_work(fit):
    with pytest.raises(rl.errors.FitError) as caught:
        rl.effects(fit.isel(chain=0))
    assert "idata.isel(chain=[0])" in caught.value.cure
    rl.effects(fit.isel(chain=[0]))
    with pytest.raises(rl.errors.FitError) as caught:
        rl.regime_probabilities(fit.sel(time=slice("2020", None)).isel(time=slice(2, None)))
    assert "regimelag.regime_probabilities(idata).sel(time=slice('2020', None))" in caught.value.cure
    assert rl.regime_probabilities(fit).sel(time=slice("2020", None)).sizes["time"] == 12


def test_a_prior_that_is_shorter_is_refused_in_words(fit):
    """The prior may have other numbers of draws than the posterior."""
    short = rl.as_fit(fit, TWO, rl.panel_of(fit), prior_draws=2)
    part = short.isel(draw=slice(4, None))
    rl.effects(part)
    with pytest.raises(rl.errors.FitError, match="the prior of a fit") as caught:
        rl.lag_report(part)
    assert "slice(None, None, 5)" in caught.value.cure


def test_chains_that_were_cut_are_not_saved_or_made_a_fit(fit, tmp_path):
    part = fit.isel(chain=0)
    for ask in (lambda: rl.save_fit(part, tmp_path / "fit.nc"), lambda: rl.as_fit(part, TWO, rl.panel_of(fit))):
        with pytest.raises(rl.errors.FitError, match="dimension chain"):
            ask()


def test_draws_of_any_model_keep_their_dimensions():
    """Of a tree that is no fit, too."""
    rng = np.random.default_rng(0)
    draws = xr.Dataset({"x": (("chain", "draw"), rng.standard_normal((2, 50)))}, coords={"chain": [0, 1]})
    tree = xr.DataTree.from_dict({"/posterior": draws})
    rl.diagnostics(tree.isel(chain=[0]))
    for read in (rl.diagnostics, convergence, rl.modes):
        with pytest.raises(rl.errors.FitError, match="without the dimension chain"):
            read(tree.isel(chain=0))
