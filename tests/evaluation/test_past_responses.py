"""Densities that depend on past responses: forecasts, scores and comparisons under GARCH against loops."""

from __future__ import annotations

import dataclasses
import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from builders import (
    bare_spec,
    garch_spec,
    hand_panel,
    one_draw,
    plain_garch,
    plain_location,
    plain_log_scale,
    prior_draws,
    prior_fit,
    replaced,
    small_spec,
)
from scipy import special
from test_forecast import fitted, frame

import regimelag as rl
from regimelag.evaluation.comparison import leave_future_out as lfo
from regimelag.evaluation.comparison.leave_future_out import FutureScore, future_stacking_weights
from regimelag.evaluation.robustness import refit as refits
from regimelag.evaluation.robustness.plan import plan_checks
from regimelag.panel.slicing import keep_first_episodes, restandardize_on, window

QUICK = rl.Sampler(draws=60, tune=120, chains=2, cores=1, starts=2)
OWN = small_spec(responses=(rl.Response("asset", "price", autoregression=2),))
SIGNAL = rl.Signal("own past", "price", kernel=small_spec().signals[0].kernel, contemporaneous=False)
OWN_SIGNAL = small_spec(signals=(*small_spec().signals, SIGNAL))


# ---- forecasts


@pytest.mark.parametrize("missing", [False, True])
def test_the_forecast_starts_from_the_variance_after_the_last_row(missing):
    """Mean squares of many draws at one parameter: 1 + (alpha + beta)^(h - 1) (v - 1), v of the first row ahead."""
    spec = garch_spec()
    fit = fitted(spec, draws=1, degrees_of_freedom_minus_two=8.0, garch_persistence=0.9, garch_arch_share=0.3)
    panel = rl.panel_of(fit)
    if missing:
        panel["response_value"][-1] = np.nan
    one = fit["posterior"].to_dataset().isel(chain=[0])
    many = one.isel(draw=np.zeros(40_000, dtype=int)).assign_coords(draw=np.arange(40_000))
    tree = xr.DataTree.from_dict(
        {
            "/posterior": many,
            "/observed_data": panel[["response_value"]],
            "/constant_data": panel.drop_vars("response_value"),
        }
    )
    tree.attrs = dict(fit.attrs)
    drawn = rl.forecast(tree, horizon=5, random_seed=1)["response_value"].to_numpy()[0]
    v = one_draw(one)
    y = panel["response_value"].to_numpy()[:, 0]
    variance = 1.0
    for t in range(len(y)):
        e = (y[t] - plain_location(spec, panel, v, t, 0)) / np.exp(plain_log_scale(panel, v, t, 0))
        square = variance if np.isnan(y[t]) else e**2
        variance = 0.1 + 0.27 * square + 0.63 * variance
    sd = np.exp(plain_log_scale(panel, v, len(y) - 1, 0)) * float(panel["response_scale"][0])
    expected = 1 + 0.9 ** np.arange(5) * (variance - 1)
    np.testing.assert_allclose(drawn.var(axis=0) / sd**2, expected, rtol=0.12)
    assert abs(variance - 1) > 0.2


@pytest.mark.slow
def test_the_impulse_response_is_that_of_the_same_model_with_a_constant_scale():
    fit = fitted(garch_spec(), draws=4)
    held = fit["posterior"].to_dataset().drop_vars(["garch_persistence", "garch_arch_share"])
    plain = replaced(garch_spec(), volatility="constant")
    panel = rl.make_panel(plain, frame(), start="2020-01-03")
    other = rl.as_fit(xr.DataTree.from_dict({"/posterior": held}), plain, panel, prior_draws=5)
    ours, theirs = (rl.evaluation.impulse_response(one, shock=0.1, horizon=8) for one in (fit, other))
    xr.testing.assert_allclose(ours, theirs)


# ---- leave-one-out


@pytest.mark.parametrize("spec", [garch_spec(), OWN, OWN_SIGNAL], ids=["garch", "own past", "own past as a signal"])
def test_there_are_no_leave_one_out_densities(spec):
    tree = prior_fit(spec, hand_panel(spec, 12), 100)
    for ask in (rl.leave_one_out, rl.evaluation.stack_chains):
        with pytest.raises(rl.errors.FitError, match="past responses") as caught:
            ask(tree)
        assert spec.depends_on_past_responses
        assert "regimelag.compare" in caught.value.cure
    # One step ahead the past is known: those terms hold.
    assert np.isfinite(rl.one_step_ahead(tree)["log_likelihood"]["response_value"]).all()


# ---- leave-future-out


@pytest.fixture
def prior_refits(monkeypatch):
    """Refits whose posterior is the prior, and what they were asked for."""
    asked = []

    def posterior_of(task, sampler, seed):
        asked.append((task, sampler, seed))
        return prior_draws(task.spec, task.panel, 3, seed=seed % 1000), {"rhat": 1.0 + 0.01 * len(asked)}

    monkeypatch.setattr(lfo, "posterior_of", posterior_of)
    return asked


def test_a_future_score_is_that_of_a_loop(prior_refits):
    """Each row by a loop over the window up to it, in the units learned before the origin, averaged over draws."""
    spec = garch_spec()
    panel = hand_panel(spec, 70, missing=[2, 40, 50])
    found = lfo.future_score(spec, panel, QUICK, 5)
    rows = np.flatnonzero(panel["response_value"].notnull().to_numpy()[:, 0])
    first = rows[len(rows) // 2]
    assert lfo.origins(panel) == [first, first + 26]
    expected = []
    for n, start in enumerate(lfo.origins(panel)):
        task, sampler, seed = prior_refits[n]
        assert sampler is QUICK
        assert task.panel.sizes["time"] == start
        draws = prior_draws(spec, task.panel, 3, seed=seed % 1000)
        whole = restandardize_on(spec, window(panel, 0, min(start + 26, 70)), start)
        xr.testing.assert_allclose(window(whole, 0, start), task.panel)
        whole = keep_first_episodes(whole, task.panel.sizes["episode"])
        terms = [plain_garch(spec, whole, one_draw(draws, *at)) for at in np.ndindex(2, 3)]
        mean = special.logsumexp(terms, axis=0) - np.log(6 * float(whole["response_scale"][0]))
        expected += [mean[t] for t in range(start, whole.sizes["time"]) if t in rows]
    np.testing.assert_allclose(found.elpd_i, expected, rtol=1e-10)
    assert len({seed for *_, seed in prior_refits}) == 2
    assert found.elpd == pytest.approx(sum(expected))
    assert found.se == pytest.approx(np.sqrt(len(expected)) * np.std(expected, ddof=1))
    assert found.reliability == "2 refits, the largest R-hat 1.02"


@pytest.mark.slow
@pytest.mark.parametrize(
    "past",
    [
        pytest.param(bare_spec(volatility="garch"), id="garch"),
        pytest.param(OWN, id="own past", marks=pytest.mark.slow),
    ],
)
def test_all_models_of_a_table_are_compared_by_leaving_the_future_out(prior_refits, past):
    plain = replaced(past, volatility="constant", responses=(rl.Response("asset", "price"),))
    fits = {"past": prior_fit(past, hand_panel(past, 300)), "plain": prior_fit(plain, hand_panel(plain, 300))}
    with ThreadPoolExecutor(1) as here:
        table = rl.compare(fits, reference="plain", sampler=QUICK, random_seed=3, executor=here)
    assert table.attrs["method"] == "leave-future-out"
    assert table.attrs["random_seed"] == 3
    assert table.attrs["rows"] == 150
    assert len(prior_refits) == 12
    scores = {name: lfo.future_score(rl.spec_of(one), rl.panel_of(one), QUICK, 3) for name, one in fits.items()}
    for name, score in scores.items():
        assert table.loc[name, "elpd"] == pytest.approx(score.elpd)
        assert "6 refits" in table.loc[name, "reliability"]
    expected = scores["past"].elpd - scores["plain"].elpd
    assert table.loc["past", "difference"] == pytest.approx(expected)
    assert table["weight"].sum() == pytest.approx(1.0)
    assert table["parameters"].isna().all()
    (said,) = [one for one in rl.sentences(table) if "leave-future-out" in one]
    assert said == table.attrs["condition"]
    assert "Leave-one-out densities do not exist where" in said
    assert "refitted every 26 rows (6 refits)" in said
    assert str(hand_panel(past, 300)["time"].to_numpy()[150])[:10] in said
    # The largest R-hat of a refit is a fault of the fit.
    assert any("A refit has an R-hat of 1.1" in one for one in rl.sentences(table))


@pytest.mark.slow
def test_gains_are_compared_by_leaving_the_future_out(prior_refits):
    spec = bare_spec(volatility="garch")
    null = replaced(spec, family="normal")
    one, other = (prior_fit(each, hand_panel(each, 60)) for each in (spec, null))
    with ThreadPoolExecutor(1) as here:
        asked = {"nulls": {"a": other, "b": one}, "sampler": QUICK, "executor": here}
        table = rl.compare({"a": one, "b": other}, random_seed=1, **asked)
        again = rl.compare({"a": one, "b": other}, **asked)
    assert table.attrs["method"] == "leave-future-out"
    assert table.loc["a", "gain"] == pytest.approx(-table.loc["b", "gain"])
    assert "leave-future-out" in rl.sentences(table)[-1]
    assert again.attrs["random_seed"] != 1


@pytest.mark.slow
def test_a_comparison_keeps_its_refits_in_a_folder(prior_refits, tmp_path, monkeypatch, capsys):
    spec = bare_spec(volatility="garch")
    fits = {"a": prior_fit(spec, hand_panel(spec, 60)), "b": prior_fit(spec, hand_panel(spec, 60))}
    given = lfo.posterior_of

    def fails_the_fourth_time(task, sampler, seed):
        if len(prior_refits) == 3:
            raise RuntimeError("no such refit")
        return given(task, sampler, seed)

    monkeypatch.setattr(lfo, "posterior_of", fails_the_fourth_time)
    asked = {"sampler": QUICK, "folder": tmp_path / "out"}
    with ThreadPoolExecutor(1) as here:
        with pytest.raises(
            rl.errors.FitError, match=r"1 of 4 failed, the first of .* before 20\d\d-.*: .*no such refit"
        ):
            rl.compare(fits, executor=here, random_seed=3, **asked)
        assert "4 of 4 runs, 1 failed" in capsys.readouterr().err
        prior_refits.append("the fourth")
        table = rl.compare(fits, executor=here, progressbar=False, **asked)
    # Three are read from the folder, and its seed is taken over.
    assert len(prior_refits) == 5
    assert table.attrs["random_seed"] == 3
    assert capsys.readouterr().err == ""
    with pytest.raises(rl.errors.FitError, match="random_seed: 3, now 4"):
        rl.compare(fits, random_seed=4, **asked)


def test_what_cannot_be_refitted_is_refused_before_the_first_refit(prior_refits):
    spec = garch_spec()
    panel = hand_panel(spec, 60)
    panel["signal_value"] = xr.where(panel["signal_time"] < panel["time"][30], 0.0, panel["signal_value"])
    fits = {"a": prior_fit(spec, panel), "b": prior_fit(spec, panel)}
    with pytest.raises(rl.errors.PanelError, match="signal metal does not"):
        rl.compare(fits, sampler=QUICK)
    assert not prior_refits


def test_leave_one_out_stays_where_all_models_have_it():
    tree = prior_fit(bare_spec(), hand_panel(bare_spec(), 12), 100)
    table = rl.compare({"one": tree, "two": tree})
    assert table.attrs["method"] == "leave-one-out"
    assert "random_seed" not in table.attrs


def test_stacking_weights_maximise_the_density_of_the_mixture():
    rng = np.random.default_rng(0)
    log_density = rng.normal([0.0, -0.2], 1.0, (200, 2))
    scores = [FutureScore(xr.DataArray(column, dims="time"), 1, 1.0) for column in log_density.T]
    grid = np.linspace(0.0, 1.0, 20_001)
    mixed = np.log(np.exp(log_density) @ np.stack([grid, 1 - grid])).sum(axis=0)
    assert future_stacking_weights(scores)[0] == pytest.approx(grid[mixed.argmax()], abs=1e-3)
    worse = [scores[0], dataclasses.replace(scores[0], elpd_i=scores[0].elpd_i - 1.0)]
    np.testing.assert_allclose(future_stacking_weights(worse), [1.0, 0.0], atol=1e-3)


TRUTH = {
    "garch_persistence": 0.97,
    "garch_arch_share": 0.35,
    "degrees_of_freedom_minus_two": 15.0,
    "log_scale": [-0.3],
    "log_scale_episode": [[0.3, -0.3]],
    "intercept": [[0.1]],
    "effect": [0.4],
    "effect_episode": [[0.0, 0.0]],
    "contemporaneous": [[0.3]],
    "control_effect": [[-0.2]],
    "metal_lag_location": 2.0,
}


@pytest.fixture(scope="module")
def known():
    """Fits of the right model, and of one with a constant scale, to a response with GARCH errors."""
    garch = garch_spec(episodes=rl.spec.Episodes(starts=(dt.date(2026, 1, 2),)))
    panel = hand_panel(garch, 600)
    held = prior_fit(garch, panel, 1)["posterior"].to_dataset().isel(chain=[0])
    truth = held.assign({name: held[name] * 0 + np.array(one) for name, one in TRUTH.items()})
    simulated = rl.simulate(garch, panel, parameters=truth, random_seed=2)
    settings = {"draws": 400, "tune": 400, "chains": 2, "starts": 4, "random_seed": 1, "progressbar": False}
    specs = {"garch": garch, "constant": replaced(garch, volatility="constant")}
    return {name: rl.fit(spec, simulated, **settings) for name, spec in specs.items()}


@pytest.mark.slow
def test_known_parameters_are_recovered(known):
    """Within three posterior standard deviations, and known better than before the data."""
    after, before = (known["garch"][group].to_dataset() for group in ("posterior", "prior"))
    for name, value in TRUTH.items():
        if name != "effect_episode":
            mean, sd = after[name].mean(("chain", "draw")), after[name].std(("chain", "draw"))
            assert (abs(mean - np.array(value)) < 3 * sd).all(), name
            if name != "degrees_of_freedom_minus_two":
                assert (sd < before[name].std(("chain", "draw"))).all(), name
    # Large degrees of freedom are alike: what the data say of them is that they are not small.
    low, known_low = (group["degrees_of_freedom_minus_two"].quantile(0.05) for group in (before, after))
    assert known_low > low
    volatility = rl.fitted(known["garch"])["standard_deviation"].mean(("chain", "draw")).to_numpy()[:, 0]
    assert volatility.max() > 2 * volatility.min()


@pytest.mark.slow
def test_garch_predicts_better_where_it_is_true(known):
    table = rl.compare(known, reference="constant", sampler=dataclasses.replace(QUICK, draws=200), random_seed=1)
    # Fits as short as these leave the reading inconclusive.
    assert table.loc["garch", "difference"] > max(4.0, 2 * table.loc["garch", "difference se"])
    assert table.attrs["differences"]["garch"] == ["with volatility garch instead of constant"]
    assert table.loc["garch", "weight"] > 0.9


@pytest.mark.slow
def test_rows_without_the_own_past_are_scored_for_no_model(prior_refits):
    plain = replaced(OWN, responses=(rl.Response("asset", "price"),))
    panels = {name: hand_panel(spec, 120, missing=[40, 100]) for name, spec in (("own", OWN), ("plain", plain))}
    for role in ("response", "signal", "driver", "control"):
        panels["plain"][f"{role}_value"] = panels["own"][f"{role}_value"]
    fits = {name: prior_fit(spec, panels[name]) for name, spec in (("own", OWN), ("plain", plain))}
    with ThreadPoolExecutor(1) as here:
        table = rl.compare(fits, sampler=QUICK, random_seed=3, executor=here)
    # Of the rows from 60 on, 100 is missing, and 101 and 102 lack what was before.
    assert table.attrs["rows"] == 57
    assert "lacks the own past" in table.attrs["condition"]


# ---- robustness


@pytest.mark.parametrize("spec", [garch_spec(), OWN, OWN_SIGNAL], ids=["garch", "own past", "own past as a signal"])
def test_refits_of_past_responses_are_read(spec, monkeypatch):
    panel = hand_panel(spec, 40)

    def posterior_of(task, sampler, seed):
        return prior_draws(task.spec, task.panel, 20), {"rhat": 1.0, "divergent": 0}

    monkeypatch.setattr(refits, "posterior_of", posterior_of)
    result = refits.refit(plan_checks(spec, panel, "metal")[0].task, QUICK, 1)
    assert result["withheld"] == []
    assert result["rows"] == 40
    assert len(result["effect"]) == 3
