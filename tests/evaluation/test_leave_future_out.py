"""Leave-future-out: windows against panels made on less data, densities against a plain loop, scores against ArviZ."""

from __future__ import annotations

import dataclasses
import datetime as dt
import warnings

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import hand_panel, one_draw, plain_chain, prior_fit, replaced, small_spec
from oracles import enumerate_chain
from scipy import special

import regimelag as rl
from regimelag.panel.slicing import restandardize_on

ROWS = 60
SPEC = small_spec(
    episodes=rl.spec.Episodes(),
    regimes=rl.spec.Regimes(count=2),
    drivers=(rl.Driver("yield", "yield", periods=2, delay="1B"),),
    max_lag=3,
)
QUICK = rl.Sampler(draws=60, tune=120, chains=2, cores=1, starts=2)


def frame_of(rows, seed=0, end="2024-12-27") -> pd.DataFrame:
    """Weekly levels whose moments drift, so that constants of another window are other constants."""
    rng = np.random.default_rng(seed)
    drift = np.linspace(0.5, 3.0, rows)[:, None]
    steps = 0.02 * drift * rng.standard_normal((rows, 4)) + 0.002 * drift
    dates = pd.date_range(end=end, periods=rows, freq="W-FRI")
    levels = pd.DataFrame(np.exp(steps.cumsum(axis=0)), index=dates, columns=["price", "metal", "yield", "dollar"])
    levels.loc[dates[20], "price"] = np.nan
    return levels


@pytest.fixture(scope="module")
def made():
    frame = frame_of(ROWS + 8)
    return frame, rl.make_panel(SPEC, frame, start=frame.index[8])


@pytest.fixture(scope="module")
def refitted(made):
    """A fit whose posterior is the prior: only its model and its data are used."""
    tree = prior_fit(SPEC, made[1], 3)
    return tree, rl.evaluation.LeaveFutureOut(tree, random_seed=4, sampler=QUICK)


def origin(panel, cut):
    """Place in the panel of the response with this number among those observed."""
    return int(np.flatnonzero(~np.isnan(panel["response_value"].to_numpy()[:, 0]))[cut])


@pytest.mark.slow
def test_a_window_is_the_panel_made_on_less_data(made, refitted):
    """Nothing is learned from rows at the origin or after it: the frame might have ended there."""
    frame, panel = made
    for cut in (20, 45):
        known, whole = refitted[1].sel_observations(np.arange(cut, ROWS - 2))
        stop = origin(panel, cut)
        other = rl.make_panel(SPEC, frame, start=frame.index[8], end=panel["time"].to_numpy()[stop - 1])
        assert known.sizes["time"] == stop
        assert whole.sizes["time"] == ROWS
        for name in other.data_vars:
            if name != "driver_date":
                np.testing.assert_allclose(known[name], other[name], rtol=1e-9, atol=1e-12, err_msg=str(name))
        changed = frame.copy()
        changed.loc[changed.index > known["time"].to_numpy()[-1]] *= 1.7
        later = rl.evaluation.LeaveFutureOut(prior_fit(SPEC, rl.make_panel(SPEC, changed, start=frame.index[8]), 2))
        xr.testing.assert_allclose(later.sel_observations(np.arange(cut, ROWS - 2))[0], known, rtol=1e-9, atol=1e-12)


def test_the_panel_behind_a_window_has_the_same_natural_units(made, refitted):
    panel = made[1]
    _, whole = refitted[1].sel_observations(np.arange(30, ROWS - 2))
    for role in ("response", "signal", "driver", "control"):
        before, after = (p[f"{role}_value"] * p[f"{role}_scale"] + p[f"{role}_center"] for p in (panel, whole))
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-12)
        assert not np.allclose(whole[f"{role}_scale"], panel[f"{role}_scale"], rtol=0.01)


def plain_terms(spec, panel, draw, first, last):
    """Log density of rows first to last given those before them, natural units, over all paths of the last rows.

    Enumeration of all paths of a long panel is out of reach: the forward pass is a loop.
    """
    log_obs, log_p, start = plain_chain(spec, panel, draw)
    terms, state = [], start
    for t in range(last):
        state = state if t == 0 else special.logsumexp(state[:, None] + log_p[t - 1], axis=0)
        joint = state + log_obs[t]
        terms.append(special.logsumexp(joint))
        state = joint - terms[-1]
    return np.array(terms[first:]) - np.log(float(panel["response_scale"][0]))


class Recorded(rl.evaluation.LeaveFutureOut):
    """Refits each window once, and keeps the fit."""

    def sample(self, modified_observed_data):
        kept = self.__dict__.setdefault("fits", {})
        rows = modified_observed_data.sizes["time"]
        if rows not in kept:
            kept[rows] = super().sample(modified_observed_data)
        return kept[rows]


@pytest.mark.long
@pytest.mark.slow
def test_arviz_lfo_equals_refits_by_hand(made, refitted):
    """Each origin: the fit of its window, the next row scored with a plain loop, averaged over draws."""
    tree = refitted[0]
    wrapper = Recorded(tree, random_seed=4, sampler=dataclasses.replace(QUICK, draws=10))
    observed = ROWS - 2
    first = observed - 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = az.lfo_cv(rl.one_step_ahead(tree), wrapper, first, 1, method="exact", pointwise=True)
        two = az.lfo_cv(rl.one_step_ahead(tree), wrapper, observed - 2, 2, method="exact", pointwise=True)
        carried = az.lfo_cv(rl.one_step_ahead(tree), wrapper, first, 1, method="approx", pointwise=True)
        # No Pareto k is below this: after the first, each window is fitted anew.
        each = az.lfo_cv(rl.one_step_ahead(tree), wrapper, first, 1, method="approx", pointwise=True, k_threshold=-99)
    assert found.n_refits == 3
    # Between refits the first window's draws are weighed; where there is a refit it is the same fit again.
    assert float(carried.elpd_i[0]) == pytest.approx(float(found.elpd_i[0]), rel=1e-12)
    assert each.n_refits == 2
    np.testing.assert_allclose(each.elpd_i, found.elpd_i, rtol=1e-12)
    np.testing.assert_allclose(carried.elpd_i, found.elpd_i, atol=1.0)
    for place, cut in enumerate(range(first, observed)):
        known, whole = wrapper.sel_observations(np.arange(cut, observed))
        posterior = wrapper.fits[known.sizes["time"]]["posterior"].to_dataset()
        at = origin(made[1], cut)
        each = [
            plain_terms(SPEC, whole, one_draw(posterior, chain, draw), at, ROWS)
            for chain in range(posterior.sizes["chain"])
            for draw in range(posterior.sizes["draw"])
        ]
        by_hand = special.logsumexp([terms[0] for terms in each]) - np.log(len(each))
        assert float(found.elpd_i[place]) == pytest.approx(by_hand, rel=1e-9)
        if cut == observed - 2:
            block = special.logsumexp([terms[:2].sum() for terms in each]) - np.log(len(each))
            assert float(two.elpd_i[0]) == pytest.approx(block, rel=1e-9)


class Drawn(rl.evaluation.LeaveFutureOut):
    """Draws from the prior in place of a refit: no sampler, so the same on every machine."""

    def sample(self, modified_observed_data):
        return prior_fit(SPEC, modified_observed_data, 100)


def test_draws_are_weighed_by_the_densities_of_rows_since_the_refit(made, refitted):
    """Not by their inverses: the score of the next row is that of draws that describe the rows since."""
    wrapper, first, observed = Drawn(refitted[0]), ROWS - 8, ROWS - 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = az.lfo_cv(rl.one_step_ahead(refitted[0]), wrapper, first, 1, k_threshold=100.0, pointwise=True)
    assert found.n_refits == 0
    known, whole = wrapper.sel_observations(np.arange(first, observed))
    terms = wrapper.log_likelihood__i(whole, wrapper.sample(known)).to_numpy().reshape(200, -1)
    for ahead in range(1, observed - first):
        since = terms[:, :ahead].sum(axis=1)
        right, wrong = (
            special.logsumexp(sign * since + terms[:, ahead]) - special.logsumexp(sign * since) for sign in (1.0, -1.0)
        )
        # The largest weights are smoothed.
        assert abs(float(found.elpd_i[ahead]) - right) < 0.2 * abs(wrong - right)


@pytest.mark.slow
def test_the_refit_is_that_of_the_panel_made_on_less_data(made, refitted):
    """Fitted anew on make_panel's own window with another seed, the score differs by Monte Carlo error alone."""
    frame, panel = made
    longer = dataclasses.replace(QUICK, draws=400, tune=300)
    wrapper = rl.evaluation.LeaveFutureOut(refitted[0], random_seed=4, sampler=longer)
    known, whole = wrapper.sel_observations(np.arange(50, ROWS - 2))
    terms = wrapper.log_likelihood__i(whole, wrapper.sample(known)).isel(time=0)
    stop = origin(panel, 50)
    other = rl.make_panel(SPEC, frame, start=frame.index[8], end=panel["time"].to_numpy()[stop - 1])
    anew = rl.fit(SPEC, other, sampler=longer, prior_draws=5, random_seed=9, progressbar=False)
    draws = [one_draw(anew["posterior"].to_dataset(), chain, draw) for chain in range(2) for draw in range(0, 400, 4)]
    by_hand = np.exp([plain_terms(SPEC, whole, draw, stop, stop + 1)[0] for draw in draws])
    ours = np.exp(terms.to_numpy())
    error = np.hypot(by_hand.std() / np.sqrt(100), ours.std() / np.sqrt(400))
    assert abs(ours.mean() - by_hand.mean()) < 4.5 * error


@pytest.mark.slow
def test_terms_behind_the_origin_equal_enumeration():
    """Two responses, one of them missing, and a point lag that is summed out."""
    spec = small_spec(
        responses=(rl.Response("asset", "price"), rl.Response("other", "other price")),
        episodes=rl.spec.Episodes(),
        signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Point(mean_lag=2.0)),),
        max_lag=2,
    )
    panel = hand_panel(spec, 7, missing=[(4, 1), (5, 0), (5, 1)])
    tree = prior_fit(spec, panel, 2)
    wrapper = rl.evaluation.LeaveFutureOut(tree)
    known, whole = wrapper.sel_observations(np.arange(4, 6))
    known_fit = prior_fit(spec, known, 2)
    terms = wrapper.log_likelihood__i(whole, known_fit)
    np.testing.assert_array_equal(terms["time"], panel["time"][[4, 6]])
    draw = one_draw(known_fit["posterior"].to_dataset(), 1, 0)
    mass = spec.signals[0].kernel.prior_masses(2)

    def loglik(rows):
        each = []
        for lag in (1, 2):
            log_obs, log_p, start = plain_chain(spec, whole, draw | {"metal_lag_point": np.array(lag)})
            each.append(np.log(mass[lag - 1]) + enumerate_chain(log_obs[:rows], log_p[: rows - 1], start).loglik)
        return np.logaddexp(*each)

    scale = whole["response_scale"].to_numpy()
    assert float(terms[1, 0, 0]) == pytest.approx(loglik(5) - loglik(4) - np.log(scale[0]))
    assert float(terms[1, 0, 1]) == pytest.approx(loglik(7) - loglik(6) - np.log(scale).sum())


@pytest.mark.slow
def test_an_episode_that_has_not_begun_is_judged_by_the_last_one():
    spec = replaced(SPEC, episodes=rl.spec.Episodes(starts=(dt.date(2024, 10, 1),), names=("early", "late")))
    frame = frame_of(ROWS + 8)
    panel = rl.make_panel(spec, frame, start=frame.index[8])
    wrapper = rl.evaluation.LeaveFutureOut(prior_fit(spec, panel, 2))
    known, whole = wrapper.sel_observations(np.arange(30, ROWS - 2))
    assert list(known["episode"].to_numpy()) == ["early"]
    assert list(whole["episode"].to_numpy()) == ["early"]
    assert not whole["episode_index"].any()
    assert panel["episode_index"].max() == 1
    fitted = prior_fit(spec, known, 2)
    terms = wrapper.log_likelihood__i(whole, fitted)
    assert np.isfinite(terms).all()
    draw = one_draw(fitted["posterior"].to_dataset(), 1, 1)
    np.testing.assert_allclose(terms[1, 1], plain_terms(spec, whole, draw, origin(panel, 30), ROWS), rtol=1e-9)
    later, _ = wrapper.sel_observations(np.arange(ROWS - 6, ROWS - 2))
    assert list(later["episode"].to_numpy()) == ["early", "late"]


def test_what_is_no_future_is_refused(refitted, made):
    wrapper = refitted[1]
    for rows in ([3], [], np.arange(5), np.arange(ROWS - 2)):
        with pytest.raises(rl.errors.FitError, match="all rows from an origin") as caught:
            wrapper.sel_observations(np.asarray(rows, dtype=int))
        assert "leave_one_out" in caught.value.cure
    beyond = replaced(SPEC, signals=(replaced(SPEC.signals[0], beyond="dollar"),))
    frame = made[0]
    with pytest.raises(rl.errors.PanelError, match="metal beyond"):
        restandardize_on(beyond, rl.make_panel(beyond, frame, start=frame.index[8]), 30)
    still = made[1].copy(deep=True)
    still["control_value"][:12] = 0.3
    with pytest.raises(rl.errors.PanelError, match="control dollar"):
        restandardize_on(SPEC, still, 12)
