"""Backtests: nothing from the future enters, scores are what they say, and a stopped one goes on bit for bit."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import prior_draws, replaced, small_spec
from scipy import stats
from test_forecast import frame

import regimelag as rl
from regimelag.evaluation.forecasting import backtest as room
from regimelag.evaluation.forecasting import baselines
from regimelag.evaluation.forecasting.baselines import Garch, RandomWalk
from regimelag.evaluation.forecasting.forecast_scores import verified

# Looked for and not imported: that takes seconds, also where no test of this file runs.
EXTRA = all(importlib.util.find_spec(name) for name in ("arch", "scoringrules"))
pytestmark = pytest.mark.skipif(not EXTRA, reason="the extra 'backtest' is not installed")

SPEC = small_spec(
    drivers=(rl.Driver("yield", "yield", periods=3),),
    episodes=rl.spec.Episodes(starts=(dt.date(2021, 6, 1),)),
    max_lag=2,
)
LEVELS = frame(170, seed=3)
LIGHT = {"sampler": rl.Sampler(draws=30, tune=60, chains=2, starts=2), "progressbar": False}


def panel_of(levels=LEVELS):
    return rl.make_panel(SPEC, levels, start="2019-11-08")


def plan(panel, refit, spec=SPEC):
    """What a backtest hands to its runs."""
    return room.Plan(spec, panel, (refit,), (refit,), horizons=(1, 3), rows=None, sampler=rl.Sampler(), random_seed=1)


@pytest.fixture
def prior_instead(monkeypatch):
    """Draws from the prior in place of a fit, the same for the same model; the panels that would have been fitted."""
    panels = []

    def posterior_of(task, *_):
        panels.append(task.panel)
        return prior_draws(task.spec, task.panel, 20), {"rhat": 1.0}

    monkeypatch.setattr(room, "posterior_of", posterior_of)
    return panels


@pytest.fixture
def garch_inputs(monkeypatch):
    """Given parameters in place of GARCH's estimates; the series that they would have been estimated on."""
    given, seen = pd.Series({"mu": 0.02, "omega": 0.1, "alpha[1]": 0.2, "beta[1]": 0.7, "nu": 5.0}), []
    monkeypatch.setattr(baselines, "estimate_garch", lambda values: seen.append(values) or given)
    return seen


def test_no_number_after_an_origin_enters(prior_instead, garch_inputs):
    """Other levels from the day after an origin on leave every draw of every forecaster as it was.

    Parameters are the same on both sides: an optimiser or a sampler turns the rounding of its inputs, which differs
    because the panels' constants do, into other results. What they are estimated on is compared instead.
    """
    origin = panel_of()["time"].to_numpy()[panel_of().sizes["time"] - 30]
    other = LEVELS.copy()
    later = other.index > origin
    other.loc[later] *= np.exp(np.random.default_rng(9).normal(0.0, 0.3, (later.sum(), 5)))
    drawn = []
    for levels in (LEVELS, other):
        panel = panel_of(levels)
        row = int(np.flatnonzero(panel["time"].to_numpy() == origin)[0])
        forecasters = room._forecasters(plan(panel, row - 3), row - 3, 7)
        drawn.append({name: one.draw(row, 3, 5) for name, one in forecasters})
    assert list(drawn[0]) == ["small", "no signal", "random walk", "GARCH(1,1)-t"]
    for name, before in drawn[0].items():
        np.testing.assert_allclose(before, drawn[1][name], rtol=1e-6, atol=1e-9, err_msg=name)
    fitted, estimated = prior_instead, garch_inputs
    assert len(fitted) == 4
    assert len(estimated) == 2
    assert len(estimated[0]) == fitted[0].sizes["time"] == row - 2
    np.testing.assert_allclose(*estimated, rtol=0, atol=1e-9)
    for before, after in zip(fitted[:2], fitted[2:], strict=True):
        xr.testing.assert_allclose(before, after, rtol=1e-9, atol=1e-9)


def test_an_episode_that_begins_after_the_refit_is_not_known(prior_instead):
    spec = replaced(SPEC, episodes=rl.spec.Episodes(starts=(dt.date(2021, 6, 1), dt.date(2022, 6, 17))))
    panel = rl.make_panel(spec, LEVELS, start="2019-11-08")
    row = int(np.flatnonzero(panel["time"].to_numpy() == np.datetime64("2022-06-03"))[0])
    name, model = next(room._forecasters(plan(panel, row, spec), row, 7))
    assert name == "small"
    assert model.posterior.sizes["episode"] == 2
    assert np.isfinite(model.draw(row + 6, 2, 1)).all()


def test_a_random_walk_draws_what_was_observed_without_its_mean():
    values = np.random.default_rng(0).normal(0.5, 1.0, (60, 1))
    values[3] = np.nan
    drawn = RandomWalk(values, 10, 20).draw(30, 4, 1)
    seen = values[10:31, 0] - values[10:31, 0].mean()
    assert set(np.round(drawn.ravel(), 12)) <= set(np.round(seen, 12))
    assert drawn.shape == (2000, 4, 1)


def test_garch_knows_that_volatility_clusters():
    """After a turbulent stretch it spreads more than after a calm one."""
    rng = np.random.default_rng(0)
    variance, values = 1.0, np.empty((800, 1))
    for t in range(800):
        values[t] = np.sqrt(variance) * rng.standard_normal()
        variance = 0.05 + 0.2 * values[t, 0] ** 2 + 0.75 * variance
    one = Garch(values, 0, 700)
    spread = pd.Series(values[:, 0] ** 2).rolling(5).mean().iloc[700:795]
    high, low = int(spread.idxmax()), int(spread.idxmin())
    assert one.draw(high, 1, 1).std() > 1.5 * one.draw(low, 1, 1).std()
    np.testing.assert_array_equal(one.draw(high, 3, 1), one.draw(high, 3, 1))


@pytest.mark.slow
def test_scores_of_normal_draws_are_the_normal_laws():
    """CRPS of N(0, 1) at y: y (2 F(y) - 1) + 2 f(y) - 1 / sqrt(pi), Gneiting & Raftery (2007)."""
    drawn = np.random.default_rng(1).standard_normal(40_000)
    for y in (-1.5, 0.2, 2.0):
        found = verified(y, drawn)
        law = stats.norm()
        expected = y * (2 * law.cdf(y) - 1) + 2 * law.pdf(y) - 1 / np.sqrt(np.pi)
        # The sampling error of a mean of |draw - y| and of pairs' distances: below 1 / sqrt(draws) each.
        assert found["crps"] == pytest.approx(expected, abs=4 * 2 / np.sqrt(40_000))
        # A kernel estimate smooths: a few per cent of the density.
        assert found["log score"] == pytest.approx(law.logpdf(y), abs=0.1)
        assert found["PIT"] == pytest.approx(law.cdf(y), abs=4 * 0.5 / np.sqrt(40_000))
        assert found["inside 50 %"] == (abs(y) < 0.6745)
        assert found["inside 90 %"] == (abs(y) < 1.645)


def test_the_table_sums_up_and_its_intervals_hold_the_means():
    rng = np.random.default_rng(0)
    origins = pd.date_range("2020-01-03", periods=200, freq="W-FRI")
    rows = [
        {"origin": origin, "horizon": 1, "response": "asset", "forecaster": name, "crps": 1.0, "log score": score}
        | {"inside 50 %": rng.random() < 0.5, "inside 90 %": rng.random() < 0.9, "PIT": 0.5}
        for origin in origins
        for name, score in (("model", rng.normal(0.3)), ("random walk", 0.0))
    ]
    scores = pd.DataFrame(rows)
    table = rl.evaluation.backtest_table(scores)
    one = table.loc[("asset", 1, "model")]
    mine = scores[scores["forecaster"] == "model"]
    assert one["origins"] == 200
    assert one["50 %"] == pytest.approx(mine["inside 50 %"].mean())
    assert one["gain"] == pytest.approx(mine["log score"].mean())
    assert one["gain low"] < one["gain"] < one["gain high"]
    # Independent origins: about 1.645 standard errors to either side.
    width = (one["50 % high"] - one["50 % low"]) / (2 * 1.645 * np.sqrt(0.25 / 200))
    assert 0.6 < width < 1.5


def test_refits_whose_chains_disagree_are_told():
    rows = [
        {"origin": pd.Timestamp("2020-01-03") + pd.Timedelta(weeks=n), "horizon": 1, "response": "asset", "crps": 1.0}
        | {"forecaster": name, "log score": 0.0, "inside 50 %": True, "inside 90 %": True, "R-hat": rhat}
        for n in range(30)
        for name, rhat in (("model", 1.2 if n < 15 else 1.01), ("random walk", np.nan))
    ]
    (said,) = rl.evaluation.backtest_table(pd.DataFrame(rows)).attrs["warnings"]
    assert said.startswith("The chains of 1 of 2 refits disagree")
    assert not rl.evaluation.backtest_table(pd.DataFrame(rows[30:])).attrs["warnings"]


def test_in_what_the_null_without_signals_differs_is_noted(monkeypatch):
    """Its score says nothing of the lag alone: the same-period term is gone too."""

    def scored(_, numbers, **__):
        each = {"horizon": 1, "response": "asset", "crps": 1.0, "log score": 0.0, "R-hat": 1.0}
        each |= {"inside 50 %": True, "inside 90 %": True}
        return {
            n: {"scores": [each | {"origin": f"2022-06-{3 + n:02d}", "forecaster": "random walk"}]} for n in numbers
        }

    monkeypatch.setattr(room, "run_all", scored)
    scores = rl.evaluation.backtest(SPEC, panel_of(), start="2022-06-03", horizons=(1,))
    (said,) = scores.attrs["notes"]
    assert said.startswith("no signal is small without metal (same-period and lagged terms).")
    assert (
        'compare small with the same model with kernel = { kind = "none" } for metal (regimelag.kernels.NoLag()).'
        in said
    )
    table = rl.evaluation.backtest_table(scores)
    assert table.attrs["notes"] == rl.sentences(table) == [said]
    alone = replaced(SPEC, signals=(replaced(SPEC.signals[0], contemporaneous=False),))
    (said,) = rl.evaluation.backtest(alone, panel_of(), start="2022-06-03", horizons=(1,)).attrs["notes"]
    assert said == "no signal is small without the lagged term of metal."


class Median:
    """Every row is the median of those before it."""

    def __init__(self, values, first, refit):
        self.value = np.nanmedian(values[first : refit + 1], axis=0)

    def draw(self, origin, horizon, seed):
        return np.broadcast_to(self.value, (50, horizon, len(self.value))) + 1e-3 * np.arange(50)[:, None, None]


@pytest.mark.slow
def test_a_forecaster_of_your_own_is_scored_beside_the_others(prior_instead, garch_inputs):
    panel = panel_of()
    row = panel.sizes["time"] - 4
    given = replace(plan(panel, row), baselines=room.BASELINES | {"median": Median})
    scores = pd.DataFrame(room.one_refit(given, 0)["scores"])
    assert list(scores["forecaster"].unique()) == ["small", "no signal", "random walk", "GARCH(1,1)-t", "median"]
    came = rl_natural(panel)[row + 1]
    value = np.nanmedian(rl_natural(panel)[: row + 1])
    own = scores[(scores["forecaster"] == "median") & (scores["horizon"] == 1)]
    drawn = value + 1e-3 * np.arange(50)
    expected = np.abs(drawn - came).mean() - np.abs(drawn[:, None] - drawn).mean() / 2
    assert own["crps"].to_numpy() == pytest.approx([expected], rel=0.02)


def rl_natural(panel):
    """The response in its own unit."""
    return (panel["response_value"] * panel["response_scale"] + panel["response_center"]).to_numpy()[:, 0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "2022-06-03", "baselines": {"random walk": Median}}, "name of its own"),
        ({"start": "2022-06-03", "baselines": {"median": Median(np.ones((9, 1)), 0, 8)}}, "is a class"),
        ({"start": "2020-06-05"}, "rows before start"),
        ({"start": "2030-01-04"}, "start between"),
        ({"start": "2022-06-03", "every": 0}, "every"),
        ({"start": "2022-06-03", "horizons": (1, 0)}, r"horizons\[1\]"),
        ({"start": "2022-06-03", "rows": 0}, "rows"),
        ({"start": "2022-06-03", "horizons": ()}, "horizon"),
        ({"start": "06/03/2022"}, "start is a date"),
    ],
)
def test_bad_arguments_fail_at_the_door(options, said):
    with pytest.raises(rl.RegimelagError, match=said):
        rl.evaluation.backtest(SPEC, panel_of(), **options)


@pytest.mark.long
@pytest.mark.slow
def test_a_backtest_killed_on_a_cluster_goes_on_bit_for_bit(tmp_path):
    """Half-way through, the whole cluster dies; another executor does the rest and repeats nothing."""
    distributed = pytest.importorskip("distributed", reason="the group 'dev' is not installed")
    options = LIGHT | {"start": "2022-06-03", "every": 7, "stride": 3, "horizons": (1, 3), "random_seed": 4}
    panel, folder = panel_of(), tmp_path / "backtest"

    def kill_both(client):
        """Once two refits are done, kill every worker."""
        while len(list(folder.glob("0*.json"))) < 2:
            time.sleep(0.02)
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        ThreadPoolExecutor(1) as beside,
    ):
        killed = beside.submit(kill_both, client)
        stopped = beside_backtest(SPEC, panel, client, folder, options)
        killed.result()
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("0*.json")}
    assert len(before) >= 2
    with ThreadPoolExecutor(1) as pool:
        resumed = rl.evaluation.backtest(SPEC, panel, executor=pool, folder=folder, **options)
        whole = rl.evaluation.backtest(SPEC, panel, executor=pool, **options)
    after = {file.name: file.stat().st_mtime_ns for file in folder.glob("0*.json")}
    assert {name: after[name] for name in before} == before
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    if stopped is not None:
        pd.testing.assert_frame_equal(stopped, whole, check_exact=True)
    assert set(resumed["forecaster"]) == {"small", "no signal", "random walk", "GARCH(1,1)-t"}
    assert resumed["origin"].min() == pd.Timestamp("2022-06-03")


def beside_backtest(spec, panel, client, folder, options):
    """What the cluster still managed, if its nannies brought workers back in time."""
    try:
        return rl.evaluation.backtest(spec, panel, executor=client.get_executor(), folder=folder, **options)
    except rl.errors.FitError:
        return None
