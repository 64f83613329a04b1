"""Regimes of a frozen fit on newer data, and everything that would read a fit with another panel, spec or fit."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from builders import KERNEL, one_draw, plain_chain, prior_draws, priors, replaced, small_spec

import regimelag as rl
from regimelag.sampling.inference_data import made_with
from regimelag.spec.toml import spec_to_toml

FIRST, LAST = "2020-01-03", "2021-01-29"
DRIVERS = (rl.Driver("yield", "yield", periods=3), rl.Driver("dollar", "dollar", transform="log_return", periods=2))
SPEC = small_spec(drivers=DRIVERS, episodes=rl.spec.Episodes(starts=(dt.date(2020, 4, 1),), names=("early", "late")))
BEYOND = replaced(SPEC, signals=(rl.Signal("metal", "metal", kernel=KERNEL, beyond="other"),))
TWO = replaced(SPEC, responses=(*SPEC.responses, rl.Response("other", "other")), responses_vary=("effect", "regimes"))
# Of four episodes the fit knows two: one is over before its window, one begins after it.
STARTS = (dt.date(2019, 12, 1), dt.date(2020, 4, 1), dt.date(2021, 3, 1))
LATER = replaced(SPEC, episodes=rl.spec.Episodes(starts=STARTS, vary=("scale", "effect", "lag")))
SPECS = {"one": SPEC, "beyond": BEYOND, "own regimes": TWO, "a later episode": LATER}


def frame(rows=90, seed=0) -> pd.DataFrame:
    """Weekly levels; what comes after the window is ten times as volatile, so that its constants are others."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-10-04", periods=rows, freq="W-FRI", name="date")
    moves = rng.normal(0.0, 0.05, (rows, 5))
    moves[70:] *= 10
    walk = np.cumsum(moves, axis=0)
    levels = np.exp(walk) * [100.0, 20.0, 1.0, 90.0, 50.0]
    levels[:, 2] = walk[:, 2]
    return pd.DataFrame(levels, index=dates, columns=["price", "metal", "yield", "dollar", "other"])


WHOLE = frame()


def panel_to(spec, rows, data=WHOLE, **window) -> xr.Dataset:
    return rl.make_panel(spec, data.iloc[:rows], **({"start": FIRST} | window))


def frozen(spec, draws=3) -> xr.DataTree:
    panel = panel_to(spec, 70)
    tree = xr.DataTree.from_dict({"/posterior": prior_draws(spec, panel, draws)})
    return rl.as_fit(tree, spec, panel, prior_draws=5, random_seed=1)


@pytest.fixture(scope="module", params=SPECS)
def fit(request):
    return frozen(SPECS[request.param])


@pytest.fixture(scope="module")
def one():
    return frozen(SPEC)


@pytest.fixture(scope="module")
def many():
    """As many draws as stacking asks for."""
    return frozen(SPEC, draws=100)


def quietly(read, *arguments, **options):
    """What is read without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(*arguments, **options)


# ---- regimes after the window


def plain_forward(log_obs, log_p, log_start):
    """Filtered and predicted probabilities (time, regime), in loops."""
    filtered, predicted = np.zeros_like(log_obs), np.zeros_like(log_obs)
    law = np.exp(log_start)
    for t in range(len(log_obs)):
        if t:
            law = filtered[t - 1] @ np.exp(log_p[t - 1])
        predicted[t] = law
        joint = law * np.exp(log_obs[t])
        filtered[t] = joint / joint.sum()
    return {"filtered": filtered, "predicted": predicted}


def in_constants_of(fit, whole) -> xr.Dataset:
    """The longer panel in the fit's constants, slope and episodes, written out again."""
    old, whole = rl.panel_of(fit), whole.copy(deep=True)
    for n, signal in enumerate(rl.spec_of(fit).signals):
        if signal.beyond:
            other = np.log(WHOLE[signal.beyond]).diff().reindex(whole["signal_time"].to_numpy()).to_numpy()
            change = float(whole["signal_beyond_slope"][n] - old["signal_beyond_slope"][n])
            whole["signal_value"][:, n] += other * change / float(whole["signal_scale"][n])
    for role in ("response", "signal", "driver", "control"):
        natural = whole[f"{role}_center"] + whole[f"{role}_scale"] * whole[f"{role}_value"]
        values = (natural - old[f"{role}_center"]) / old[f"{role}_scale"]
        whole[f"{role}_value"] = values.transpose(*whole[f"{role}_value"].dims)
    known = [str(label) for label in old["episode"].to_numpy()]
    labels = [str(label) for label in whole["episode"].to_numpy()]
    places = [
        known.index(labels[n]) if labels[n] in known else len(known) - 1 for n in whole["episode_index"].to_numpy()
    ]
    return whole.drop_vars("episode").assign(episode_index=("time", places))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["filtered", "predicted"])
def test_they_are_those_of_the_equations_in_the_fits_constants(fit, kind):
    spec = rl.spec_of(fit)
    newer = panel_to(spec, 90)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = rl.regime_probabilities(fit, kind=kind, panel=newer)
    np.testing.assert_array_equal(read["time"], newer["time"])
    chain = plain_chain(spec, in_constants_of(fit, newer), one_draw(fit["posterior"].to_dataset(), 1, 2))
    expected = plain_forward(*chain)[kind]
    if spec.own_regimes:
        joint = expected.reshape(len(expected), 2, 2)
        expected = np.stack([joint.sum(axis=2), joint.sum(axis=1)], axis=1)
    np.testing.assert_allclose(read.isel(chain=1, draw=2), expected, rtol=0, atol=1e-10)


def test_within_the_window_they_are_those_of_the_fit(fit):
    """At the fit's own panel too, and whatever comes after; the fit is not changed."""
    spec, before = rl.spec_of(fit), fit.copy(deep=True)
    for kind in ("filtered", "predicted"):
        own = rl.regime_probabilities(fit, kind=kind)
        for panel in (rl.panel_of(fit), panel_to(spec, 74)):
            again = quietly(rl.regime_probabilities, fit, kind=kind, panel=panel)
            said = {"sentences": rl.sentences(again)} if kind == "filtered" else {}
            assert again.attrs == {"kind": kind, "notes": []} | said
            np.testing.assert_allclose(again.sel(time=own["time"]), own, rtol=0, atol=1e-12)
    smoothed = quietly(rl.regime_probabilities, fit, kind="smoothed", panel=rl.panel_of(fit))
    xr.testing.assert_allclose(smoothed, rl.regime_probabilities(fit, kind="smoothed"), rtol=0, atol=1e-12)
    assert fit.identical(before)


def test_later_rows_change_nothing_before_them_but_what_is_smoothed(one):
    shorter, longer = (panel_to(SPEC, rows) for rows in (75, 90))
    for kind in ("filtered", "predicted", "smoothed"):
        first, second = (quietly(rl.regime_probabilities, one, kind=kind, panel=p) for p in (shorter, longer))
        apart = np.abs(second.sel(time=first["time"]) - first).max()
        assert (apart > 1e-6) if kind == "smoothed" else (apart < 1e-12)


def test_a_panel_that_starts_later_goes_on_from_the_fits_rows(one):
    late = panel_to(SPEC, 80, start="2020-10-02")
    read = quietly(rl.regime_probabilities, one, panel=late)
    np.testing.assert_array_equal(read["time"], late["time"])
    whole = rl.regime_probabilities(one, panel=panel_to(SPEC, 80))
    np.testing.assert_allclose(read, whole.sel(time=late["time"]), rtol=0, atol=1e-12)


def test_an_episode_that_the_fit_does_not_know_is_said():
    fit = frozen(LATER)
    with pytest.warns(UserWarning, match="taken for rows of 'from 2020-04-01'") as caught:
        read = rl.regime_probabilities(fit, panel=panel_to(LATER, 90))
    assert read.attrs["notes"] == [str(caught[0].message)]
    assert "from 2021-03-01" in read.attrs["notes"][0]


def test_revised_values_are_said_and_the_fits_own_are_used(one):
    revised = WHOLE.copy()
    revised.loc["2020-06-05":"2020-06-12", "metal"] *= 1.02
    revised.loc["2020-09-04", "price"] = np.nan
    with pytest.warns(UserWarning, match="was revised") as caught:
        read = rl.regime_probabilities(one, panel=panel_to(SPEC, 72, revised))
    said = sorted(text for one in caught if "was revised" in (text := str(one.message)))
    assert sorted(read.attrs["notes"]) == said
    assert said[0].startswith("Response asset was revised on 2 rows of the fit's window, from 2020-09-04 on")
    # Moved up by 2 % and back: two of its returns differ.
    assert said[1].startswith("Signal metal was revised on 2 rows of the fit's window, from 2020-06-05 on")
    own = rl.regime_probabilities(one)
    np.testing.assert_allclose(read.sel(time=own["time"]), own, rtol=0, atol=1e-12)


MONTHLY = replaced(SPEC, frequency="ME", max_lag=4)
REFUSED = {
    "another series": (lambda: panel_to(replaced(SPEC, responses=(rl.Response("asset", "other"),)), 80), "column"),
    "another transform": (
        lambda: panel_to(replaced(SPEC, drivers=(replaced(DRIVERS[0], periods=5), DRIVERS[1])), 80),
        "periods",
    ),
    "another frequency": (lambda: panel_to(replaced(SPEC, frequency="W-WED"), 80, frame()), "frequency"),
    "another history": (lambda: panel_to(replaced(SPEC, max_lag=6), 80), "max_lag"),
    "a gap": (lambda: panel_to(SPEC, 90, start="2021-02-12"), "last row, 2021-01-29"),
    "an end before the fit's": (lambda: panel_to(SPEC, 60), "last row, 2021-01-29"),
    "a start before the fit's": (lambda: panel_to(SPEC, 80, start="2019-12-13"), f'start="{FIRST}"'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_panels_that_do_not_go_on_are_refused(name, one):
    make, said = REFUSED[name]
    with pytest.raises(rl.errors.PanelError, match=said):
        rl.regime_probabilities(one, panel=make())


def test_the_cure_of_a_start_too_early_works(one):
    with pytest.raises(rl.errors.PanelError) as caught:
        rl.regime_probabilities(one, panel=panel_to(SPEC, 80, start="2019-12-13"))
    assert caught.value.cure == f'make it with make_panel(spec, frame, start="{FIRST}")'
    quietly(rl.regime_probabilities, one, panel=rl.make_panel(SPEC, WHOLE.iloc[:80], start=FIRST))


# ---- a fit, or its draws, and what they were not made with


def test_draws_are_not_read_with_another_panel(one):
    newer = panel_to(SPEC, 90)
    with pytest.raises(rl.errors.FitError, match="another panel") as caught:
        rl.as_fit(one, SPEC, newer)
    assert "regimelag.regime_probabilities(idata, panel=panel)" in caught.value.cure
    rl.regime_probabilities(one, panel=newer)
    with pytest.raises(rl.errors.FitError, match="another panel") as caught:
        rl.as_fit(one, SPEC, panel_to(SPEC, 60))
    assert caught.value.cure == "fit anew: regimelag.fit(spec, panel)"
    again = rl.as_fit(one, SPEC, rl.panel_of(one), prior_draws=2)
    assert again.attrs["panel_sha256"] == one.attrs["panel_sha256"]


def test_draws_alone_know_their_constants(one):
    alone = xr.DataTree.from_dict({"/posterior": one["posterior"].to_dataset()})
    with pytest.raises(rl.errors.FitError, match="another panel"):
        rl.as_fit(alone, SPEC, panel_to(SPEC, 90))
    rl.as_fit(alone, SPEC, rl.panel_of(one), prior_draws=2)


def test_draws_are_not_read_with_another_spec(one):
    wider = replaced(SPEC, priors=priors(effect=2.0))
    with pytest.raises(rl.errors.FitError, match="priors differ") as caught:
        rl.as_fit(one, wider, rl.panel_of(one))
    assert "regimelag.spec_of(idata)" in caught.value.cure
    rl.as_fit(one, replaced(SPEC, name="renamed", claim="Metal leads."), rl.panel_of(one), prior_draws=2)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["pymc", "regimelag"])
def test_samples_know_the_data_of_their_model(sampler):
    """A posterior of one's own says nothing of a panel, but holds the data that the model had."""
    spec = small_spec(
        regimes=rl.spec.Regimes(count=1), drivers=(), signals=(), episodes=rl.spec.Episodes(), family="normal"
    )
    old, new = panel_to(spec, 70), panel_to(spec, 90)
    model = rl.build_model(spec, old)
    counts = {"draws": 10, "tune": 10, "chains": 1, "random_seed": 1, "progressbar": False}
    if sampler == "pymc":
        with model:
            samples = pm.sample(**counts, compute_convergence_checks=False)
    else:
        samples = rl.sample(model, **counts, starts=2)
    with pytest.raises(rl.errors.FitError, match="response_observed"):
        rl.as_fit(samples, spec, new)
    posterior = xr.DataTree.from_dict({"/posterior": samples["posterior"].to_dataset()})
    with pytest.raises(rl.errors.FitError, match="response_observed"):
        rl.as_fit(posterior, spec, new, model=model)
    rl.as_fit(samples, spec, old, model=model, prior_draws=2)


def test_draws_of_other_labels_are_refused(one):
    """As many signals, under another name."""
    posterior = one["posterior"].to_dataset().drop_attrs()
    other = posterior.assign_coords(lagged_signal=["gold"])
    with pytest.raises(rl.errors.FitError, match="gold") as caught:
        rl.as_fit(xr.DataTree.from_dict({"/posterior": other}), SPEC, rl.panel_of(one))
    assert "build_model(spec, panel)" in caught.value.cure
    fewer = posterior.isel(driver=[0])
    with pytest.raises(rl.errors.FitError, match="driver_effect"):
        rl.as_fit(xr.DataTree.from_dict({"/posterior": fewer}), SPEC, rl.panel_of(one))


def test_parameters_are_not_simulated_in_another_panels_constants(one):
    drawn, newer = one["posterior"].to_dataset().isel(chain=0, draw=0), panel_to(SPEC, 90)
    with pytest.raises(rl.errors.FitError, match="another panel") as caught:
        rl.simulate(SPEC, newer, parameters=drawn)
    assert "parameters.drop_attrs()" in caught.value.cure
    rl.simulate(SPEC, newer, parameters=drawn.drop_attrs(), random_seed=1)
    rl.simulate(SPEC, rl.panel_of(one), parameters=drawn, random_seed=1)
    # What a prior draw of no fit says holds on any panel.
    rl.simulate(SPEC, newer, parameters=prior_draws(SPEC, newer, 1, chains=1), random_seed=1)


def test_a_scenario_of_another_panel_is_refused(one):
    """Its levels go on from other last levels."""
    levels = rl.scenario(panel_to(SPEC, 90), horizon=4, moves={"yield": 1.0})
    with pytest.raises(rl.errors.PanelError, match="2021-02-05") as caught:
        rl.forecast(one, scenario=levels)
    assert "regimelag.panel_of(idata)" in caught.value.cure
    rl.forecast(one, scenario=rl.scenario(rl.panel_of(one), horizon=4, moves={"yield": 1.0}))
    # Rows without dates are taken in order.
    rl.forecast(one, scenario=levels.reset_index(drop=True))


def test_a_report_shows_no_judgement_of_other_fits(many, tmp_path):
    other = many.copy()
    other.attrs["spec"] = spec_to_toml(replaced(SPEC, priors=priors(effect=2.0)))
    table = rl.compare({"other": other, "the same": other})
    with pytest.raises(rl.errors.FitError, match="other fits") as caught:
        rl.report(many, tmp_path / "report", comparison=table)
    assert "with this fit among those compared" in caught.value.cure
    assert not (tmp_path / "report").exists()
    own = rl.compare({"own": many, "other": other}).attrs["made_with"]
    assert made_with(SPEC, many.attrs["panel_sha256"]) == own[0] != own[1]
    judged = pd.DataFrame()
    judged.attrs = {"summary": [], "made_with": table.attrs["made_with"]}
    with pytest.raises(rl.errors.FitError, match="robustness judges"):
        rl.report(many, tmp_path / "report", robustness=judged)


def test_weights_are_not_used_on_other_draws(many):
    """Draws of as many chains, by the same names."""
    other, stacking = many.copy(deep=True), rl.evaluation.stack_chains(many)
    other["posterior"]["effect"][0, 0] += 0.1
    with pytest.raises(rl.errors.FitError, match="other draws"):
        rl.evaluation.stacked_posterior(other, stacking)
    rl.evaluation.stacked_posterior(many, stacking, draws=4)
