"""Own past of the responses: panels, simulation, predictive draws, forecasts and readings, against loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import (
    KERNEL,
    bare_spec,
    hand_panel,
    one_draw,
    plain_location,
    prior_draws,
    prior_fit,
    replaced,
    small_spec,
)

import regimelag as rl
from regimelag.evaluation.forecasting.forecast import _begun
from regimelag.panel.own_past import history_before, own_past, used_responses
from regimelag.panel.slicing import last_rows, natural, restandardize_on, window
from regimelag.results.lags import companion_root
from regimelag.results.persistence import persistence
from regimelag.results.regimes import filtered_distribution
from regimelag.results.view import View
from regimelag.results.volatility import conditional_volatility

TWO = (rl.Response("asset", "price"), rl.Response("other", "other"))


def lagged(lags, responses=TWO[:1]):
    return tuple(replaced(one, autoregression=lags) for one in responses)


SPEC = small_spec(responses=lagged(2))
# A draw is its location: one regime and almost no scale.
SURE = bare_spec(
    responses=lagged(2, TWO), signals=(rl.Signal("metal", "metal", kernel=KERNEL),), family="normal", name="sure"
)


def frame(rows=90, seed=0):
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2019-10-04", periods=rows, freq="W-FRI", name="date")
    walk = np.cumsum(rng.normal(0.0, 0.05, (rows, 5)), axis=0)
    return pd.DataFrame(np.exp(walk), index=dates, columns=["price", "metal", "yield", "dollar", "other"])


def sure_fit(panel, draws=3, **changes):
    """A fit whose posterior is the prior, but for its scale."""
    posterior = prior_draws(SURE, panel, draws)
    changes = {"log_scale": -25.0} | changes
    posterior = posterior.assign({name: xr.zeros_like(posterior[name]) + value for name, value in changes.items()})
    return rl.as_fit(xr.DataTree.from_dict({"/posterior": posterior}), SURE, panel, prior_draws=10, random_seed=1)


# ---- spec


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "one"])
def test_autoregression_is_a_whole_number(wrong):
    with pytest.raises(rl.errors.SpecError, match="autoregression"):
        rl.Response("y", "y", autoregression=wrong)


def test_all_responses_have_the_same():
    with pytest.raises(rl.errors.SpecError, match="asset 2, other 0") as caught:
        small_spec(responses=(*lagged(2), TWO[1]))
    assert "autoregression = 2" in caught.value.cure


def test_a_spec_says_that_its_densities_depend_on_the_past():
    assert SPEC.autoregression == 2
    assert SPEC.depends_on_past_responses
    assert not small_spec().depends_on_past_responses
    past = rl.Signal("own", "price", kernel=KERNEL, contemporaneous=False)
    assert small_spec(signals=(past,)).depends_on_past_responses
    assert rl.spec.toml.spec_from_toml(rl.spec.toml.spec_to_toml(SPEC)) == SPEC


# ---- panels


def test_a_panel_holds_the_rows_before_its_window():
    data = frame()
    returns = np.log(data["price"]).diff()
    panel = rl.make_panel(SPEC, data, start="2020-01-03")
    before = natural(panel.rename({"response_history": "x"}), "response")[0, 0]
    assert float(before) == pytest.approx(returns.loc["2020-01-03"])
    scale, center = float(panel["response_scale"][0]), float(panel["response_center"][0])
    for lag, day in ((1, "2019-12-27"), (2, "2019-12-20")):
        value = float(panel["response_history"].sel(own_lag=lag)[0]) * scale + center
        assert value == pytest.approx(returns.loc[day])
    past = own_past(panel)[:, 0] * scale + center
    for lag in (1, 2):
        expected = returns.shift(lag).loc[panel["time"].to_numpy()]
        np.testing.assert_allclose(past[:, lag - 1], expected)


def test_a_window_begins_where_the_own_past_is_known():
    spec, other = (bare_spec(responses=lagged(lags)) for lags in (3, 0))
    late, early = (rl.make_panel(one, frame()) for one in (spec, other))
    assert late["time"].to_numpy()[0] == early["time"].to_numpy()[3]
    assert np.isfinite(late["response_history"]).all()
    # Asked to begin with the data, it lacks what was before.
    first = rl.make_panel(spec, frame(), start="2019-10-04")
    assert np.isnan(first["response_history"]).all()
    assert np.isnan(used_responses(first)[:4]).all()
    assert np.isfinite(used_responses(first)[4:]).all()
    notes = rl.describe_panel(first).attrs["notes"]
    assert any("'asset' (column 'price') lacks its own past on 3 rows" in note for note in notes)
    assert not any("own past" in note for note in rl.describe_panel(late).attrs["notes"])


def test_parts_of_a_panel_know_their_past():
    panel = rl.make_panel(SPEC, frame(), start="2020-01-03")
    whole, used = own_past(panel), used_responses(panel)
    for part, rows in ((window(panel, 7, 30), slice(7, 30)), (last_rows(panel, 20), slice(-20, None))):
        np.testing.assert_array_equal(own_past(part), whole[rows])
        np.testing.assert_array_equal(used_responses(part), used[rows])
    learned = restandardize_on(SPEC, panel, 40)
    unit, mean = (float(learned[name][0]) for name in ("response_scale", "response_center"))
    old = [float(panel[name][0]) for name in ("response_scale", "response_center")]
    np.testing.assert_allclose(own_past(learned) * unit + mean, whole * old[0] + old[1])
    np.testing.assert_array_equal(history_before(panel, 5), panel["response_value"].to_numpy()[[4, 3]])


@pytest.mark.parametrize("missing", [(), (5,), (5, 6, 20)])
def test_a_row_without_its_own_past_has_no_density(missing):
    panel = hand_panel(SPEC, 30, missing=missing)
    out = {row + lag for row in missing for lag in (0, 1, 2)}
    assert set(np.flatnonzero(np.isnan(used_responses(panel)[:, 0]))) == out
    fit = prior_fit(SPEC, panel)
    terms = rl.one_step_ahead(fit)["log_likelihood"].to_dataset()["response_value"]
    assert terms.sizes["time"] == 30 - len(out)
    zero = (abs(fit["one_step_ahead"].to_dataset()["response_value"]) < 1e-12).all(("chain", "draw"))
    assert set(np.flatnonzero(zero)) == out


def test_panels_with_another_past_are_refused():
    for spec, panel in ((SPEC, hand_panel(small_spec(), 9)), (small_spec(), hand_panel(SPEC, 9))):
        with pytest.raises(rl.errors.PanelError, match="history"):
            rl.build_model(spec, panel)


# ---- paths


def test_a_simulation_feeds_on_itself():
    panel = hand_panel(SURE, 12)
    parameters = prior_draws(SURE, panel, 1, chains=1)
    parameters["log_scale"][:] = -25.0
    parameters["autoregression"][:] += 0.4
    made = rl.simulate(SURE, panel, parameters=parameters, random_seed=1)
    v = one_draw(parameters)
    expected = [[plain_location(SURE, made, v, t, 0, a) for a in range(2)] for t in range(12)]
    np.testing.assert_allclose(made["response_value"], expected, atol=1e-8)
    assert abs(made["response_value"] - panel["response_value"]).min() > 1e-3


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_replications_feed_on_themselves(group):
    panel = hand_panel(SURE, 12, missing=[4])
    fit = sure_fit(panel)
    made = fit[f"{group}_predictive"].to_dataset()["response_value"]
    if group == "prior":
        assert made.std() > 0.1
        assert np.isfinite(made).all()
        return
    v = one_draw(fit["posterior"].to_dataset(), 1, 2)
    own = panel.assign(response_value=made.isel(chain=1, draw=2, drop=True))
    expected = [[plain_location(SURE, own, v, t, 0, a) for a in range(2)] for t in range(12)]
    np.testing.assert_allclose(own["response_value"], expected, atol=1e-8)


@pytest.mark.parametrize("missing", [(), (-1,), (-2, -1), (-3,)])
def test_a_forecast_feeds_on_itself(missing):
    """With a last response missing, it is what the model says of it."""
    data = frame()
    panel = rl.make_panel(SURE, data, start="2020-01-03")
    for row in missing:
        panel["response_value"][row, 0] = np.nan
    fit = sure_fit(panel)
    read = rl.forecast(fit, horizon=5, random_seed=0)["response_value"]
    center, scale = (panel[name].to_numpy() for name in ("response_center", "response_scale"))
    v, y = one_draw(fit["posterior"].to_dataset(), 1, 2), panel["response_value"].to_numpy()
    for row in missing:
        y[row, 0] = plain_location(SURE, panel.assign(response_value=(("time", "response"), y)), v, len(y) + row, 0, 0)
    got = (read.isel(chain=1, draw=2).to_numpy() - center) / scale
    signals = panel["signal_value"].to_numpy()[:, 0]
    still = -float(panel["signal_center"][0]) / float(panel["signal_scale"][0])
    path, values = list(y), [*signals]
    kernel = SURE.signals[0].kernel
    weights = kernel.weights({name: v[f"metal_lag_{name}"] for name in kernel.priors(4)}, 4)
    for step in range(5):
        values.append(still)
        total = sum(weights[lag - 1] * values[-1 - lag] for lag in range(1, 5))
        expected = [
            v["intercept"][a, 0]
            + v["contemporaneous"][a, 0] * still
            + (v["effect"][0] + v["effect_response"][0, a]) * total
            + sum(v["autoregression"][a, lag - 1] * path[-lag][a] for lag in (1, 2))
            for a in range(2)
        ]
        np.testing.assert_allclose(got[step], expected, atol=1e-6)
        path.append(np.array(expected))


def test_a_missing_last_response_is_drawn_with_its_conditional_variance():
    """GARCH after a large residual: the row that is missing is as uncertain as the density one step ahead says."""
    spec = bare_spec(responses=lagged(1), volatility="garch")
    panel = hand_panel(spec, 12, missing=[-1])
    panel["response_value"][-2, 0] = 8.0
    held = prior_draws(spec, panel, 1, chains=1)
    known = {"garch_persistence": 0.95, "garch_arch_share": 0.5, "autoregression": 0.5, "intercept": 0.0}
    known |= {"log_scale": -0.5, "degrees_of_freedom_minus_two": 8.0}
    held = held.assign({name: held[name] * 0 + value for name, value in known.items()})
    many = held.isel(draw=np.zeros(20_000, dtype=int)).assign_coords(draw=np.arange(20_000))
    fit = rl.as_fit(xr.DataTree.from_dict({"/posterior": many}), spec, panel, prior_draws=2)
    law, history = _begun(View.of(fit), filtered_distribution(View.of(fit)), np.random.default_rng(0))
    assert law.shape == (20_000, 1)
    sd = float(conditional_volatility(fit)[0, 0, -1, 0]) / float(panel["response_scale"][0])
    np.testing.assert_allclose(history[:, 0, 0].std(), sd, rtol=0.05)
    np.testing.assert_allclose(history[:, 0, 0].mean(), 0.5 * 8.0, atol=5 * sd / np.sqrt(20_000))


def test_an_impulse_response_is_the_difference_of_two_paths():
    panel = hand_panel(SURE, 30)
    fit = sure_fit(panel)
    answer = rl.evaluation.impulse_response(fit, shock=0.3, horizon=12)["averaged"].isel(chain=1, draw=2)
    parameters = fit["posterior"].to_dataset().isel(chain=[1], draw=[2])
    moved = panel.copy(deep=True)
    moved["signal_value"][4 + 10] += 0.3 / float(panel["signal_scale"][0])
    plain, other = (
        rl.simulate(SURE, one, parameters=parameters.drop_attrs(), random_seed=1)["response_value"]
        for one in (panel, moved)
    )
    apart = (other - plain).isel(time=slice(10, 23)).cumsum("time") * panel["response_scale"]
    np.testing.assert_allclose(answer.transpose("step", "response"), apart.transpose("time", "response"), atol=1e-8)


# ---- readings


def test_the_largest_root_is_that_of_the_polynomial():
    rng = np.random.default_rng(0)
    coefficients = rng.normal(0, 0.5, (6, 3))
    expected = [max(abs(np.roots([1, *-one]))) for one in coefficients]
    np.testing.assert_allclose(companion_root(coefficients), expected)


def explosive(fit):
    """The fit with one draw whose own past does not die out."""
    posterior = fit["posterior"].to_dataset()
    moved = posterior["autoregression"].copy()
    moved[0, 0] = 0.9
    other = fit.copy()
    other["posterior"] = xr.DataTree(posterior.assign(autoregression=moved))
    return other


@pytest.mark.parametrize("spec", [SPEC, SURE], ids=["one", "two"])
def test_lags_of_the_impulse_response_are_those_of_its_weights(spec):
    fit = explosive(prior_fit(spec, hand_panel(spec, 12), draws=4))
    lag, posterior = rl.lag_distribution(fit), fit["posterior"].to_dataset()
    names = [one.name for one in spec.responses]
    for chain in range(2):
        for draw in range(4):
            for a, name in enumerate(names):
                rho = posterior["autoregression"].to_numpy()[chain, draw, a]
                at = {"chain": chain, "draw": draw, "signal": 0}
                read = lag.isel(at) if len(names) == 1 else lag.isel(at).sel(response=name)
                found = [float(read[one]) for one in ("impulse_mean_lag", "impulse_median_lag")]
                if (chain, draw) == (0, 0):
                    assert np.isnan(found).all()
                    continue
                weights = read["weights"].to_numpy()
                answer = np.zeros(4000)
                for n in range(4000):
                    answer[n] = weights[n] if n < 4 else 0.0
                    answer[n] += sum(rho[p] * answer[n - 1 - p] for p in range(2) if n > p)
                assert found[0] == pytest.approx(answer @ np.arange(1, 4001) / answer.sum(), rel=1e-8)
                assert found[1] == 1 + int(np.argmax(np.cumsum(answer) >= 0.5 * answer.sum()))


def test_the_long_run_effect_is_the_sum_of_the_impulse_response():
    fit = explosive(prior_fit(SURE, hand_panel(SURE, 12), draws=4))
    read = rl.effects(fit)
    assert np.isnan(read["long_run"].isel(chain=0, draw=0)).all()
    moved = rl.evaluation.impulse_response(fit, shock=1.0, horizon=600)["averaged"].isel(step=-1)
    now = read["contemporaneous"].isel(signal=0)
    own = fit["posterior"].to_dataset()["autoregression"].sum("own_lag")
    expected = (moved - now / (1 - own)).where(np.isfinite(read["long_run"].isel(signal=0)))
    np.testing.assert_allclose(read["long_run"].isel(signal=0), expected.transpose("chain", "draw", ...), rtol=1e-8)


@pytest.mark.slow
def test_a_report_says_direct_and_long_run():
    fit = prior_fit(SPEC, hand_panel(SPEC, 12), draws=600)
    report = rl.lag_report(fit)
    read, lag = rl.effects(fit), rl.lag_distribution(fit)
    for quantity, draws in (
        ("long-run effect", read["long_run"]),
        ("mean lag of the impulse response", lag["impulse_mean_lag"]),
        ("median lag of the impulse response", lag["impulse_median_lag"]),
    ):
        values = draws.to_numpy().ravel()
        expected = np.quantile(values[np.isfinite(values)], 0.5)
        assert report.loc[("asset", "metal", quantity, "all", "all"), ("posterior", "median")] == pytest.approx(
            expected
        )
    said = report.attrs["verdict"]["metal"]
    assert "Direct cumulative elasticity" in said
    assert "; with the response's own past, " in said
    assert "in the long run" in said
    assert "The posterior of the mean lag of the impulse response" in said
    assert "long-run effect" not in rl.lag_report(prior_fit(small_spec(), hand_panel(small_spec(), 8))).index


@pytest.mark.slow
def test_a_claim_is_withheld_where_the_own_past_may_not_die_out():
    fit = prior_fit(SPEC, hand_panel(SPEC, 12), draws=4)
    assert persistence(fit).explosive == {"asset": 0.0}
    found = persistence(explosive(fit))
    assert found.explosive == {"asset": 1 / 8}
    said = rl.lag_report(explosive(fit)).attrs["verdict"]["metal"]
    assert "its largest companion root exceeds 1 with probability 0.12, where 0.05 is the limit." in said


def test_leave_one_out_is_refused_and_the_future_can_be_left_out():
    fit = prior_fit(SPEC, hand_panel(SPEC, 12), draws=4)
    with pytest.raises(rl.errors.FitError, match="autoregression = 2") as caught:
        rl.leave_one_out(fit)
    assert "regimelag.compare, which then leaves the future out" in caught.value.cure
    wrapper = rl.evaluation.LeaveFutureOut(fit, random_seed=1)
    known, whole = wrapper.sel_observations(np.arange(8, 12))
    assert known.sizes["time"] == 8
    terms = wrapper.log_likelihood__i(
        whole,
        xr.DataTree.from_dict(
            {"/posterior": fit["posterior"].to_dataset(), "/observed_data": known[["response_value"]]}
        ),
    )
    assert terms.sizes["time"] == 4
    assert np.isfinite(terms).all()


@pytest.mark.slow
def test_truth_is_recovered():
    """A response with a coefficient of 0.6 of its own and an effect of 0.5 of the signal, in two regimes."""
    spec = small_spec(responses=lagged(1), drivers=(), controls=(), episodes=rl.spec.Episodes())
    panel = hand_panel(spec, 500)
    truth = prior_draws(spec, panel, 1, chains=1, seed=3)
    known = {"autoregression": 0.6, "effect": 0.5, "effect_regime": 0.0, "log_scale": -0.5, "contemporaneous": 0.2}
    truth = truth.assign({name: xr.zeros_like(truth[name]) + value for name, value in known.items()})
    simulated = rl.simulate(spec, panel, parameters=truth, random_seed=4).drop_vars("regime_path")
    fit = rl.fit(
        spec, simulated, draws=500, tune=500, chains=2, starts=4, prior_draws=200, random_seed=5, progressbar=False
    )
    posterior = fit["posterior"].to_dataset()
    for name in ("autoregression", "effect", "contemporaneous"):
        draws = posterior[name].to_numpy().ravel()
        assert abs(draws.mean() - known[name]) < 4 * draws.std()
        assert draws.std() < 0.15
    report = rl.lag_report(fit)
    low, high = report.loc[("asset", "metal", "long-run effect", "all", "all"), ("posterior", ["5 %", "95 %"])]
    scale = float(panel["response_scale"][0] / panel["signal_scale"][0])
    assert low < 0.5 / 0.4 * scale < high
    assert not report.attrs["verdict"]["metal"].startswith("The verdict is withheld")
