"""Regimes: probabilities, paths, durations, drivers, portraits; against all paths enumerated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import (
    bare_spec,
    cut,
    hand_panel,
    on_panel,
    one_draw,
    plain_chain,
    plain_chains,
    plain_step,
    plain_transition,
    prior_fit,
    small_spec,
)
from oracles import enumerate_chain

import regimelag as rl
from regimelag.results import regimes as room

KINDS = ("predicted", "filtered", "smoothed")


def enumerated(spec, panel, tree, chain, draw):
    return enumerate_chain(*plain_chain(spec, panel, one_draw(tree["posterior"].to_dataset(), chain, draw)))


@pytest.fixture(scope="module")
def three():
    spec = small_spec(
        regimes=rl.spec.Regimes(count=3, initial="stationary"), drivers=(rl.Driver("a", "a"), rl.Driver("b", "b"))
    )
    panel = hand_panel(spec, 6)
    return spec, panel, prior_fit(spec, panel, draws=4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["tiny", "three"])
def test_probabilities_are_those_of_all_paths(request, case, kind):
    spec, panel, tree = request.getfixturevalue(case)
    read = rl.regime_probabilities(tree, kind=kind)
    assert read.dims == ("chain", "draw", "time", "regime")
    assert read.attrs["kind"] == kind
    assert list(read["regime"].to_numpy()) == list(spec.regimes.labels())
    np.testing.assert_array_equal(read["time"], panel["time"])
    for chain, draw in ((0, 0), (0, 3), (1, 2)):
        truth = getattr(enumerated(spec, panel, tree, chain, draw), kind)
        np.testing.assert_allclose(read[chain, draw], truth, rtol=0, atol=1e-9)


def test_kinds_differ_where_they_should(tiny):
    _, panel, tree = tiny
    predicted, filtered, smoothed = (rl.regime_probabilities(tree, kind=kind) for kind in KINDS)
    # At the last row all data are known; before it, more is known afterwards.
    np.testing.assert_allclose(filtered.isel(time=-1), smoothed.isel(time=-1), atol=1e-12)
    assert float(np.abs(filtered - smoothed).isel(time=0).max()) > 1e-3
    # A row without response adds nothing to what was predicted.
    assert np.isnan(panel["response_value"].to_numpy()[3, 0])
    np.testing.assert_allclose(filtered.isel(time=3), predicted.isel(time=3), atol=1e-12)
    assert float(np.abs(filtered - predicted).isel(time=2).max()) > 1e-3
    # The first row is predicted by the initial law.
    np.testing.assert_allclose(predicted.isel(time=0), 0.5, atol=1e-12)


def test_what_was_known_does_not_change_when_rows_are_appended():
    spec = small_spec()
    panel = hand_panel(spec, 30)
    tree = prior_fit(spec, panel, draws=4)
    shorter = on_panel(tree, spec, cut(panel, 20))
    for kind in ("predicted", "filtered"):
        whole, part = (rl.regime_probabilities(t, kind=kind) for t in (tree, shorter))
        np.testing.assert_allclose(whole.isel(time=slice(20)), part, rtol=0, atol=1e-12)
    whole, part = (rl.regime_probabilities(t, kind="smoothed") for t in (tree, shorter))
    assert float(np.abs(whole.isel(time=slice(20)) - part).max()) > 1e-3


def test_one_regime_is_certain():
    spec = bare_spec(controls=(rl.Control("dollar", "dollar"),))
    tree = prior_fit(spec, hand_panel(spec, 8), draws=4)
    for kind in KINDS:
        np.testing.assert_allclose(rl.regime_probabilities(tree, kind=kind), 1.0)
    durations = rl.results.regime_durations(tree)
    np.testing.assert_array_equal(durations["mean_duration"], 8.0)
    assert "expected_duration" not in durations
    assert "volatility" in set(rl.regime_summary(tree)["quantity"])
    with pytest.raises(rl.errors.FitError, match=r"\[\[drivers\]\]"):
        rl.driver_effects(tree)


@pytest.mark.parametrize("read", [rl.regime_probabilities, rl.results.regime_paths])
def test_other_kinds_are_refused(tiny, read):
    with pytest.raises(rl.errors.FitError, match="smooth"):
        read(tiny[2], kind="smooth")


# ---- paths


def same_draw(tree, spec, panel, copies):
    """A tree that holds one draw many times over."""
    one = tree["posterior"].to_dataset().isel(chain=[0], draw=[2])
    many = one.isel(draw=[0] * copies).assign_coords(draw=range(copies))
    other = on_panel(tree, spec, panel)
    other["posterior"] = xr.DataTree(many)
    return other


def test_sampled_paths_follow_their_joint_law(tiny):
    spec, panel, tree = tiny
    copies = 20_000
    paths = rl.results.regime_paths(same_draw(tree, spec, panel, copies), random_seed=5)[0].to_numpy()
    truth = enumerated(spec, panel, tree, 0, 2)
    smoothed = truth.smoothed[:, 1]
    error = np.sqrt(smoothed * (1 - smoothed) / copies)
    assert np.all(np.abs(paths.mean(axis=0) - smoothed) < 4.5 * error)
    # Steps too: probabilities row by row would not do.
    for t in range(paths.shape[1] - 1):
        both = ((paths[:, t] == 1) & (paths[:, t + 1] == 1)).mean()
        p = truth.expected_steps[t, 1, 1]
        assert abs(both - p) < 4.5 * np.sqrt(p * (1 - p) / copies)


def test_sampled_paths_follow_the_seed(tiny):
    tree = tiny[2]
    one, same, other = (rl.results.regime_paths(tree, random_seed=seed) for seed in (1, 1, 2))
    assert one.identical(same)
    assert not one.equals(other)
    assert one.dims == ("chain", "draw", "time")


@pytest.mark.parametrize("case", ["tiny", "three"])
def test_viterbi_is_the_best_of_all_paths(request, case):
    spec, panel, tree = request.getfixturevalue(case)
    best = rl.results.regime_paths(tree, kind="viterbi")
    assert best.identical(rl.results.regime_paths(tree, kind="viterbi", random_seed=9))
    for chain in range(2):
        for draw in range(4):
            truth = enumerated(spec, panel, tree, chain, draw)
            np.testing.assert_array_equal(best[chain, draw], truth.paths[np.argmax(truth.log_joint)])


# ---- durations

HAND = np.array([[[0, 0, 1, 1, 1, 0, 1, 1], [0] * 8], [[1] * 8, [0, 1, 0, 1, 0, 1, 0, 1]]])


@pytest.fixture
def hand_paths(tiny, monkeypatch):
    _, panel, tree = tiny
    coords = {"chain": [0, 1], "draw": [0, 1], "time": panel["time"].to_numpy()}
    paths = xr.DataArray(HAND, dims=("chain", "draw", "time"), coords=coords)
    monkeypatch.setattr(room, "regime_paths", lambda *_, **__: paths)
    short = tree.copy()
    short["posterior"] = xr.DataTree(tree["posterior"].to_dataset().isel(draw=slice(2)))
    return short


def test_durations_are_counted_along_paths(hand_paths):
    read = rl.results.regime_durations(hand_paths)
    calm, turbulent = (read.sel(regime=name).transpose("chain", "draw") for name in ("calm", "turbulent"))
    np.testing.assert_array_equal(calm["mean_duration"], [[1.5, 8.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(turbulent["mean_duration"], [[2.5, np.nan], [8.0, 1.0]])
    np.testing.assert_array_equal(calm["spells"], [[2, 1], [0, 4]])
    np.testing.assert_array_equal(turbulent["spells"], [[2, 0], [1, 4]])
    np.testing.assert_array_equal(read["switches"].transpose("chain", "draw"), [[3, 0], [0, 7]])
    np.testing.assert_allclose(calm["share"], [[3 / 8, 1.0], [0.0, 0.5]])


def test_expected_duration_is_that_of_a_geometric_spell(tiny):
    """Without drivers' moves a spell ends each row with probability p[i, j]; its mean is one over that."""
    spec, panel, tree = tiny
    still = panel.copy(deep=True)
    still["driver_value"][:] = 0.0
    read = rl.results.regime_durations(tree)["expected_duration"].transpose("chain", "draw", "regime")
    for chain, draw in ((0, 0), (1, 3)):
        p = plain_transition(spec, still, one_draw(tree["posterior"].to_dataset(), chain, draw), 0)
        np.testing.assert_allclose(read[chain, draw], 1 / (1 - np.diag(p)), rtol=1e-9)


# ---- drivers


def two_state(stay, slope, move):
    """Transition matrix and stationary law of two regimes when a driver has moved, in closed form."""
    gap = (slope[0] - slope[1]) * move
    stays = 1 / (1 + np.exp(-(stay + np.array([gap, -gap]))))
    matrix = np.array([[stays[0], 1 - stays[0]], [1 - stays[1], stays[1]]])
    return matrix, np.array([1 - stays[1], 1 - stays[0]]) / (2 - stays.sum())


@pytest.mark.parametrize("size", [None, 0.5, -2.0])
def test_driver_effects_by_hand(tiny, size):
    spec, panel, tree = tiny
    read = rl.driver_effects(tree, moves=None if size is None else {"yield": size})
    scale = float(panel["driver_scale"][0])
    assert float(read["move"].sel(driver="yield")) == pytest.approx(scale if size is None else size)
    standard = 1.0 if size is None else size / scale
    for chain, draw in ((0, 0), (1, 4)):
        v = one_draw(tree["posterior"].to_dataset(), chain, draw)
        one = read.isel(chain=chain, draw=draw).sel(driver="yield")
        stay, slope = v["stay_log_odds"], v["driver_effect"][0]
        change = two_state(stay, slope, standard)[1] - two_state(stay, slope, 0.0)[1]
        np.testing.assert_allclose(one["long_run"], change, rtol=1e-8, atol=1e-12)
        odds = [np.log(p[:, 1] / p[:, 0]) for p in (two_state(stay, slope, by)[0] for by in (0.0, standard))]
        np.testing.assert_allclose(one["log_odds"].sel(regime="turbulent"), odds[1] - odds[0], rtol=1e-9)
        assert float(one["log_odds"].sel(regime="calm")) == 0.0
        filtered = enumerated(spec, panel, tree, chain, draw).filtered
        z = panel["driver_value"].to_numpy()[:, 0]
        steps = [
            filtered[t] @ (two_state(stay, slope, z[t] + standard)[0] - two_state(stay, slope, z[t])[0])
            for t in range(7)
        ]
        np.testing.assert_allclose(one["next_period"], np.mean(steps, axis=0), rtol=1e-8, atol=1e-12)
        # What the driver pushes towards becomes more probable.
        assert np.all(np.sign(one["next_period"]) == np.sign(slope * standard))


def test_changes_sum_to_zero_over_regimes(three):
    read = rl.driver_effects(three[2])
    assert set(read["driver"].to_numpy()) == {"a", "b"}
    for name in ("next_period", "long_run"):
        np.testing.assert_allclose(read[name].sum("regime"), 0.0, atol=1e-12)
        assert float(np.abs(read[name]).max()) > 1e-3


def test_no_move_no_change(tiny):
    read = rl.driver_effects(tiny[2], moves={"yield": 0.0})
    for name in ("next_period", "long_run", "log_odds"):
        np.testing.assert_allclose(read[name], 0.0, atol=1e-14)


def test_a_move_of_one_driver_leaves_the_others_alone(three):
    tree, panel = three[2], three[1]
    small = {"b": 0.1 * float(panel["driver_scale"][1])}
    default, moved = rl.driver_effects(tree), rl.driver_effects(tree, moves=small)
    xr.testing.assert_allclose(default.sel(driver="a"), moved.sel(driver="a"))
    np.testing.assert_allclose(moved["log_odds"].sel(driver="b"), 0.1 * default["log_odds"].sel(driver="b"))


ORIGINS = {"tied": rl.spec.Markov(), "by origin": rl.spec.Markov(by_origin=True)}
TWO = (rl.Response("asset", "price"), rl.Response("other", "other"))
CHAINS = {"one": {}, "own": {"responses": TWO, "responses_vary": ("effect", "regimes")}}


@pytest.mark.parametrize("chains", CHAINS)
@pytest.mark.parametrize("origins", ORIGINS)
@pytest.mark.parametrize("count", [2, 3])
def test_log_odds_are_those_of_the_transition_matrices(count, origins, chains):
    """log P(j) / P(reference) before and after the move, from each origin, averaged; against every reference."""
    drivers = (rl.Driver("a", "a"), rl.Driver("b", "b"))
    spec = small_spec(
        drivers=drivers,
        regimes=rl.spec.Regimes(count=count, transitions=ORIGINS[origins]),
        signals=(),
        **CHAINS[chains],
    )
    panel = hand_panel(spec, 6)
    tree = prior_fit(spec, panel, draws=2)
    size = {"a": 0.7, "b": -0.2}
    v, labels = one_draw(tree["posterior"].to_dataset(), 1, 1), list(spec.regimes.labels())
    for reference in labels:
        read = rl.driver_effects(tree, moves=size, reference=reference)
        odds = read["log_odds"].isel(chain=1, draw=1)
        assert read.attrs["reference"] == odds.attrs["reference"] == reference
        assert f"against {reference}" in odds.attrs["long_name"]
        assert np.all(odds.sel(regime=reference) == 0)
        for d, driver in enumerate(drivers):
            moved = panel.copy(deep=True)
            moved["driver_value"][:, d] += size[driver.name] / float(panel["driver_scale"][d])
            for a, own in enumerate(plain_chains(spec, v)):
                before, after = (plain_step(spec, one, own, 2) for one in (panel, moved))
                change = np.log(after / after[:, [labels.index(reference)]])
                change -= np.log(before / before[:, [labels.index(reference)]])
                assert (np.ptp(change, axis=0).max() > 1e-3) == (origins == "by origin")
                at = {"response": a} if chains == "own" else {}
                found = odds.sel(driver=driver.name).isel(at).sel(regime=labels)
                np.testing.assert_allclose(found, change.mean(axis=0), rtol=0, atol=1e-12)
    assert read["log_odds"].dims == ("chain", "draw", "driver", *(("response",) if chains == "own" else ()), "regime")


def test_unknown_drivers_and_references_are_refused(tiny):
    with pytest.raises(rl.errors.FitError, match="yields") as caught:
        rl.driver_effects(tiny[2], moves={"yields": 1.0})
    assert caught.value.cure == "write 'yield'"
    for given, meant in (("turbulant", "turbulent"), ("zzz", "calm"), (0, "calm")):
        with pytest.raises(rl.errors.FitError, match="reference") as caught:
            rl.driver_effects(tiny[2], reference=given)
        assert caught.value.cure == f"write reference={meant!r}"
        assert "['calm', 'turbulent']" in caught.value.rule


# ---- portrait


def test_portrait_by_hand(tiny):
    _, panel, tree = tiny
    table = rl.regime_summary(tree)
    draws = tree["posterior"].to_dataset()
    assert list(table["regime"].unique()) == ["calm", "turbulent"]
    assert (table["response"] == "asset").all()
    assert set(table.loc[table["quantity"] == "volatility", "unit"]) == {"log return per week"}
    assert set(table.loc[table["quantity"] == "mean duration", "unit"]) == {"weeks"}
    scale, center = float(panel["response_scale"][0]), float(panel["response_center"][0])
    gap = draws["log_scale_gap"].isel(gap=0)
    nu = draws["degrees_of_freedom_minus_two"] + 2
    for k, regime in enumerate(("calm", "turbulent")):
        # Episodes' log scales sum to zero, so they drop out of the mean on the log scale.
        log_scale = draws["log_scale"].isel(response=0) + gap * (k - 0.5)
        volatility = scale * np.exp(log_scale) * np.sqrt(nu / (nu - 2))
        mean = center + scale * draws["intercept"].isel(response=0).sel(regime=regime)
        expected = 1 + np.exp(draws["stay_log_odds"].sel(regime=regime))
        paths = rl.results.regime_paths(tree)
        long_run = rl.driver_effects(tree)["long_run"].sel(driver="yield", regime=regime)
        rows = {
            "volatility": volatility,
            "mean": mean,
            "expected duration": expected,
            "share": (paths == k).mean("time"),
            "change in long-run probability": long_run,
        }
        for name, values in rows.items():
            low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
            (found,) = table[(table["quantity"] == name) & (table["regime"] == regime)].to_dict("records")
            np.testing.assert_allclose([found[q] for q in ("5 %", "median", "95 %")], [low, median, high], rtol=1e-9)
            assert found["driver"] == ("yield" if name.startswith("change") else "")
            assert pd.isna(found["year"])


def test_shares_of_a_year_sum_to_one():
    spec = small_spec(frequency="ME")
    panel = hand_panel(spec, 30, freq="ME")
    table = rl.regime_summary(prior_fit(spec, panel, draws=1))
    shares = table[table["quantity"] == "share of the year"].set_index(["year", "regime"])
    assert list(shares.index.unique("year")) == sorted(set(pd.DatetimeIndex(panel["time"]).year))
    # Two draws of two regimes: the quantiles of one regime's share mirror the other's.
    assert np.allclose(shares["median"].groupby("year").sum(), 1.0)


def test_readings_do_not_change_the_fit(tiny):
    tree = tiny[2]
    before = tree.copy(deep=True)
    rl.regime_summary(tree)
    rl.lag_report(tree)
    rl.results.regime_paths(tree, kind="viterbi")
    rl.driver_effects(tree)
    assert tree.identical(before)


def test_real_draws_are_read(idata):
    smoothed = rl.regime_probabilities(idata, kind="smoothed")
    np.testing.assert_allclose(smoothed.sum("regime"), 1.0, atol=1e-9)
    summary = rl.regime_summary(idata)
    assert (summary.loc[summary["quantity"] == "volatility", "median"] > 0).all()
