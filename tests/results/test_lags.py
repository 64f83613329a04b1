"""Lags and effects, read from draws and computed again by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, on_panel, one_draw, prior_fit, small_spec
from scipy import stats

import regimelag as rl

LAG = np.arange(1, 5)


def simple_weights(location, spread):
    """Gamma density at the lags, normalised."""
    density = stats.gamma((location / spread) ** 2, scale=spread**2 / location).pdf(LAG)
    return density / density.sum()


def ratio(panel):
    return float(panel["response_scale"][0] / panel["signal_scale"][0])


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_lag_distribution_by_hand(tiny, group):
    _, panel, tree = tiny
    read = rl.lag_distribution(tree, group=group, within=(2, 3))
    draws = tree[group].to_dataset()
    assert read["weights"].dims == ("chain", "draw", "signal", "lag")
    assert read.sizes["draw"] == draws.sizes["draw"]
    assert list(read["signal"].to_numpy()) == ["metal"]
    np.testing.assert_array_equal(read["lag"], LAG)
    for chain in range(draws.sizes["chain"]):
        for draw in range(draws.sizes["draw"]):
            v = one_draw(draws, chain, draw)
            one = read.isel(chain=chain, draw=draw, signal=0)
            w = simple_weights(v["metal_lag_location"], v["metal_lag_spread"])
            np.testing.assert_allclose(one["weights"], w, rtol=1e-9)
            np.testing.assert_allclose(one["response_curve"], v["effect"][0] * w * ratio(panel), rtol=1e-9)
            assert float(one["mean_lag"]) == pytest.approx(sum(w * LAG))
            assert int(one["median_lag"]) == next(n for n in LAG if sum(w[:n]) >= 0.5)
            assert int(one["peak_lag"]) == 1 + list(w).index(max(w))
            assert float(one["mass_within"]) == pytest.approx(w[1] + w[2])
    assert read.attrs["group"] == group


def test_the_whole_range_holds_all_mass(tiny):
    tree = tiny[2]
    np.testing.assert_allclose(rl.lag_distribution(tree, within=(1, 4))["mass_within"], 1.0)
    np.testing.assert_array_equal(rl.lag_distribution(tree, within=(5, 9))["mass_within"], 0.0)
    one = rl.lag_distribution(tree, within=(2, 2))
    np.testing.assert_allclose(one["mass_within"], one["weights"].sel(lag=2))


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_effects_by_hand(tiny, group):
    _, panel, tree = tiny
    read, draws = rl.effects(tree, group=group), tree[group].to_dataset()
    v = one_draw(draws, 0, 3)
    one = read.isel(chain=0, draw=3)
    for k, regime in enumerate(("calm", "turbulent")):
        expected = (v["effect"][0] + v["effect_regime"][0, k]) * ratio(panel)
        assert float(one["lagged_by_regime"].sel(signal="metal", regime=regime)) == pytest.approx(expected)
    for e, episode in enumerate(("early", "late")):
        expected = (v["effect"][0] + v["effect_episode"][0, e]) * ratio(panel)
        assert float(one["lagged_by_episode"].sel(signal="metal", episode=episode)) == pytest.approx(expected)
    assert float(one["lagged"].sel(signal="metal")) == pytest.approx(v["effect"][0] * ratio(panel))
    now = v["contemporaneous"][0, 0] * ratio(panel)
    assert float(one["contemporaneous"].sel(signal="metal")) == pytest.approx(now)
    per_control = float(panel["response_scale"][0] / panel["control_scale"][0])
    assert float(one["control_effect"].sel(control="dollar")) == pytest.approx(v["control_effect"][0, 0] * per_control)


TWO = (rl.Response("asset", "price"), rl.Response("other", "other"))
SHAPES = {
    "as it is": small_spec(),
    "three regimes": small_spec(regimes=rl.spec.Regimes(count=3)),
    "one regime": small_spec(regimes=rl.spec.Regimes(count=1), drivers=()),
    "no episodes": small_spec(episodes=rl.spec.Episodes()),
    "neither": small_spec(regimes=rl.spec.Regimes(count=1), drivers=(), episodes=rl.spec.Episodes()),
    "two signals, one without a lag": small_spec(
        signals=(
            rl.Signal("gold", "gold", kernel=rl.kernels.NoLag()),
            rl.Signal("metal", "metal", kernel=small_spec().signals[0].kernel),
        )
    ),
    "two responses": small_spec(responses=TWO),
    "own chains": small_spec(responses=TWO, responses_vary=("effect", "regimes")),
    "point lag": small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Point(mean_lag=2.0)),), max_lag=3),
    "signed lag": small_spec(
        signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Unrestricted(mean_lag=2.0, spread=1.0, roughness=0.5)),)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_average_over_the_sample_in_plain_loops(shape):
    """The mean of the effect over the periods with a response: of its episode and of its regime on the draw's path."""
    spec = SHAPES[shape]
    missing = [2, 6] if len(spec.responses) == 1 else [(2, 0), (6, 0), (5, 1), (7, 1), (7, 0)]
    panel = hand_panel(spec, 9, missing=missing)
    tree = prior_fit(spec, panel)
    read, draws = rl.effects(tree, random_seed=3), tree["posterior"].to_dataset()
    paths = rl.results.regime_paths(tree, random_seed=3).transpose("chain", "draw", "time", ...).to_numpy()
    y, episode = panel["response_value"].to_numpy(), panel["episode_index"].to_numpy()
    lagged = [signal.name for signal in spec.lagged_signals]
    assert read["lagged_over_sample"].dims == read["lagged"].dims
    for chain, draw in ((0, 0), (1, 4)):
        v = one_draw(draws, chain, draw)
        for s, name in enumerate(lagged):
            for a, response in enumerate(spec.responses):
                total, count = 0.0, 0
                for t in range(9):
                    if np.isnan(y[t, a]):
                        continue
                    k = paths[chain, draw, t, a] if paths.ndim > 3 else paths[chain, draw, t]
                    total += v["effect"][s]
                    total += v["effect_regime"][s, k] if "effect_regime" in v else 0.0
                    total += v["effect_episode"][s, episode[t]] if "effect_episode" in v else 0.0
                    total += v["effect_response"][s, a] if "effect_response" in v else 0.0
                    count += 1
                signal = list(panel["signal"].to_numpy()).index(name)
                unit = float(panel["response_scale"][a] / panel["signal_scale"][signal])
                one = read["lagged_over_sample"].isel(chain=chain, draw=draw).sel(signal=name)
                one = one.sel(response=response.name) if "response" in one.dims else one
                assert float(one) == pytest.approx(unit * total / count)
    before = rl.effects(tree, group="prior")["lagged_over_sample"].sel(signal=lagged)
    assert bool(np.isfinite(before).all())
    for name in set(panel["signal"].to_numpy()) - set(lagged):
        assert bool(read["lagged_over_sample"].sel(signal=name).isnull().all())
    if shape == "neither":
        xr.testing.assert_allclose(read["lagged_over_sample"], read["lagged"].rename("lagged_over_sample"))


@pytest.mark.slow
def test_paths_of_the_prior_know_no_responses():
    """With an effect by regime alone the prior's average is that of the chain's law; the posterior's is the data's."""
    spec = small_spec(drivers=(), episodes=rl.spec.Episodes())
    panel = hand_panel(spec, 40)
    tree = prior_fit(spec, panel, draws=2)
    other = tree.copy()
    responses = panel[["response_value"]] * 50.0
    other["observed_data"] = xr.DataTree(responses)
    before, after = (rl.effects(one, group="prior")["lagged_over_sample"] for one in (tree, other))
    xr.testing.assert_identical(before, after)
    assert not rl.effects(tree)["lagged_over_sample"].equals(rl.effects(other)["lagged_over_sample"])
    # Of many draws of the chain the share of a regime is its long-run probability on average.
    many = xr.concat([rl.effects(tree, group="prior", random_seed=seed) for seed in range(60)], "seed")
    draws = tree["prior"].to_dataset()
    found = many["lagged_over_sample"].sel(signal="metal")
    for draw in range(5):
        v = one_draw(draws, 0, draw)
        leave = 1 / (1 + np.exp(v["stay_log_odds"]))
        step = np.array([[1 - leave[0], leave[0]], [leave[1], 1 - leave[1]]])
        # The initial distribution is uniform.
        share = np.mean([[0.5, 0.5] @ np.linalg.matrix_power(step, t) for t in range(40)], axis=0)
        one = found.isel(chain=0, draw=draw)
        error = float(one.std("seed", ddof=1)) / np.sqrt(60)
        expected = ratio(panel) * (v["effect"][0] + v["effect_regime"][0] @ share)
        assert abs(float(one.mean("seed")) - expected) < 5 * error


def test_natural_units_do_not_depend_on_the_constants(tiny):
    """Twice the signal's constant and half its values say the same; so does the answer."""
    spec, panel, tree = tiny
    other = panel.copy(deep=True)
    other["signal_scale"] = 2.0 * panel["signal_scale"]
    other["response_scale"] = 5.0 * panel["response_scale"]
    moved = on_panel(tree, spec, other)
    draws = tree["posterior"].to_dataset()
    for name in ("effect", "effect_regime", "effect_episode", "contemporaneous"):
        draws[name] = draws[name] * 2.0 / 5.0
    draws["control_effect"] = draws["control_effect"] / 5.0
    moved["posterior"] = xr.DataTree(draws)
    # The paths are those of other standardised responses, so the average over the sample is another.
    read = [rl.effects(one).drop_vars("lagged_over_sample") for one in (moved, tree)]
    xr.testing.assert_allclose(*read, rtol=1e-12)
    xr.testing.assert_allclose(rl.lag_distribution(moved), rl.lag_distribution(tree), rtol=1e-12)


@pytest.fixture(scope="module")
def signed():
    walk = rl.kernels.Unrestricted(mean_lag=2.0, spread=1.0, roughness=0.5)
    signals = (
        rl.Signal("metal", "metal", kernel=walk),
        rl.Signal("oil", "oil", kernel=small_spec().signals[0].kernel, contemporaneous=False),
        rl.Signal("gold", "gold", kernel=rl.kernels.NoLag()),
    )
    spec = small_spec(signals=signals)
    panel = hand_panel(spec, 8)
    return spec, panel, prior_fit(spec, panel)


def test_unrestricted_coefficients_keep_their_sign(signed):
    _, panel, tree = signed
    read = rl.lag_distribution(tree)
    v = one_draw(tree["posterior"].to_dataset(), 1, 2)
    walk = np.cumsum(v["metal_lag_innovation"])
    curve = v["effect"][0] * simple_weights(2.0, 1.0) + v["metal_lag_roughness"] * (walk - walk.mean())
    one = read.isel(chain=1, draw=2).sel(signal="metal")
    np.testing.assert_allclose(one["response_curve"], curve * ratio(panel), rtol=1e-9)
    np.testing.assert_allclose(one["weights"], np.abs(curve) / np.abs(curve).sum(), rtol=1e-9)
    # The cumulative effect is the effect: the walk sums to zero.
    assert float(one["response_curve"].sum()) == pytest.approx(v["effect"][0] * ratio(panel))
    assert bool((read["response_curve"].sel(signal="metal") < 0).any())
    np.testing.assert_allclose(read["weights"].sum("lag"), 1.0)


def test_several_signals_each_with_its_own_units(signed):
    _, panel, tree = signed
    read, lag = rl.effects(tree), rl.lag_distribution(tree)
    assert list(lag["signal"].to_numpy()) == ["metal", "oil"]
    v = one_draw(tree["posterior"].to_dataset(), 0, 0)
    scale = panel["response_scale"].to_numpy()[0] / panel["signal_scale"].to_numpy()
    one = read.isel(chain=0, draw=0)
    assert float(one["lagged"].sel(signal="oil")) == pytest.approx(v["effect"][1] * scale[1])
    assert float(one["contemporaneous"].sel(signal="gold")) == pytest.approx(v["contemporaneous"][0, 1] * scale[2])


def test_what_cannot_be_read_is_refused(tiny):
    tree = tiny[2]
    with pytest.raises(rl.errors.FitError, match="low <= high"):
        rl.lag_distribution(tree, within=(13, 4))
    for read in (rl.lag_distribution, rl.effects):
        with pytest.raises(rl.errors.FitError, match="group='prior'"):
            read(tree, group="posteriors")
        with pytest.raises(rl.errors.FitError, match="as_fit"):
            read(xr.DataTree())


def test_a_model_without_lag_says_so():
    spec = bare_spec()
    tree = prior_fit(spec, hand_panel(spec, 8), draws=4)
    with pytest.raises(rl.errors.FitError, match="kernel other than none"):
        rl.lag_distribution(tree)
    assert not rl.effects(tree).data_vars


def test_real_draws_are_read(idata):
    lag = rl.lag_distribution(idata)
    np.testing.assert_allclose(lag["weights"].sum("lag"), 1.0)
    assert bool(((lag["mean_lag"] >= 1) & (lag["mean_lag"] <= 26)).all())
