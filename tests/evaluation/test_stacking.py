"""Stacking against weights found on a grid, leave-one-out terms against enumeration, and what stacked draws say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from builders import hand_panel, one_draw, plain_chain, prior_fit, small_spec
from oracles import enumerate_chain
from scipy import optimize, special, stats

import regimelag as rl
from regimelag.evaluation.comparison.leave_one_out import leave_one_out_terms
from regimelag.sampling.diagnostics import diagnostics

# A Cauchy location and data in two clusters: the larger cluster's mode has nearly all of the posterior mass, while both
# are needed to predict. Yao, Vehtari & Gelman (2022) study it.
SHARE, AT, COUNT = 0.6, 10.0, 100
Y = np.concatenate(
    [
        sign * AT + stats.cauchy.ppf((np.arange(n) + 0.5) / n)
        for sign, n in ((-1, int(SHARE * COUNT)), (1, COUNT - int(SHARE * COUNT)))
    ]
)
GRID = {"left": np.linspace(-14.0, -6.0, 2001), "right": np.linspace(6.0, 14.0, 2001)}


def side_posterior(side, without=None):
    """Masses on the grid of one side: the flat-prior posterior of the location there, without one of the rows."""
    rows = np.delete(Y, without) if without is not None else Y
    log_density = stats.cauchy.logpdf(rows[:, None], GRID[side]).sum(axis=0)
    return special.softmax(log_density)


def cauchy_tree(sides, draws=1000, seed=0) -> xr.DataTree:
    """A chain per side, each of independent draws from its mode."""
    rng = np.random.default_rng(seed)
    at = np.stack([rng.choice(GRID[side], size=draws, p=side_posterior(side)) for side in sides])
    at += rng.uniform(-0.002, 0.002, at.shape)
    terms = stats.cauchy.logpdf(Y, at[..., None])
    coords = {"chain": range(len(sides)), "draw": range(draws)}
    groups = {
        "/posterior": xr.Dataset({"location": (("chain", "draw"), at)}, coords=coords),
        "/log_likelihood": xr.Dataset({"y": (("chain", "draw", "row"), terms)}, coords=coords),
        "/prior": xr.Dataset({"location": (("chain", "draw"), at[:1, :7])}),
    }
    return xr.DataTree.from_dict(groups)


def exact_weight() -> float:
    """Weight of the left mode with the highest leave-one-out density, by integration over the grid."""
    density = {
        side: np.array([stats.cauchy.pdf(Y[n], GRID[side]) @ side_posterior(side, n) for n in range(COUNT)])
        for side in GRID
    }
    found = optimize.minimize_scalar(
        lambda w: -np.log(w * density["left"] + (1 - w) * density["right"]).sum(), bounds=(0, 1), method="bounded"
    )
    return float(found.x)


@pytest.fixture(scope="module")
def cauchy():
    tree = cauchy_tree(["left", "right", "left", "left"])
    return tree, rl.evaluation.stack_chains(tree)


def test_weights_are_those_of_the_grid(cauchy):
    _, stacking = cauchy
    expected = exact_weight()
    # Far from the posterior mass of the larger cluster's mode, which is one to all intents.
    assert 0.5 < expected < 0.7
    assert stacking["member_of"].to_numpy().tolist() == [0, 1, 0, 0]
    # The only noise is that of 1000 and 3000 independent draws in densities of 100 rows.
    np.testing.assert_allclose(stacking["cluster_weight"], [expected, 1 - expected], atol=0.01)
    np.testing.assert_allclose(
        stacking["weight"], np.array([expected, 3 * (1 - expected), expected, expected]) / 3, atol=0.01
    )
    assert float(stacking["weight"].sum()) == pytest.approx(1.0)


def test_elpd_is_that_of_the_grid(cauchy):
    _, stacking = cauchy
    for n, side in enumerate(("left", "right")):
        exact = sum(np.log(stats.cauchy.pdf(Y[t], GRID[side]) @ side_posterior(side, t)) for t in range(COUNT))
        assert float(stacking["elpd"][n]) == pytest.approx(exact, abs=0.2)
    differences = stacking["elpd"].to_numpy() - float(stacking["elpd"].max())
    np.testing.assert_allclose(stacking["elpd_difference"], differences, atol=1e-9)
    assert (stacking["difference_se"] > 0).to_numpy().tolist() == [False, True]


def test_chains_that_mix_are_one_cluster_with_equal_weights():
    stacking = rl.evaluation.stack_chains(cauchy_tree(["left"] * 3))
    np.testing.assert_allclose(stacking["weight"], 1 / 3)
    assert stacking["member_of"].to_numpy().tolist() == [0, 0, 0]
    rhat = stacking["rhat"].to_numpy()
    np.testing.assert_array_equal(rhat, rhat.T)
    assert rhat.max() < 1.05
    assert float(stacking["elpd_difference"][0]) == 0.0


def test_pareto_k_is_said_in_words(cauchy):
    _, stacking = cauchy
    assert all("below" in str(words) and "reliable" in str(words) for words in stacking["reliability"].to_numpy())
    tree = cauchy_tree(["left", "right"])
    # Importance ratios of one row are exactly Pareto, with shape 1.2.
    tree["log_likelihood"]["y"][:, :, 0] = 1.2 * np.log(np.random.default_rng(0).uniform(size=(2, 1000)))
    stacking = rl.evaluation.stack_chains(tree)
    assert all("1 of 100 Pareto k above" in str(words) for words in stacking["reliability"].to_numpy())
    assert all("unreliable" in str(words) for words in stacking["reliability"].to_numpy())
    # The estimate's standard error, (1 + k) / sqrt(tail draws).
    np.testing.assert_allclose(stacking["largest_pareto_k"], 1.2, atol=4.5 * 2.2 / np.sqrt(3 * np.sqrt(1000)))


def test_a_row_that_nothing_explains_does_not_decide_the_weights(cauchy):
    """Densities too small for a float: the row says nothing about which chain is better."""
    tree, stacking = cauchy[0].copy(deep=True), cauchy[1]
    terms = tree["log_likelihood"].to_dataset()
    lost = xr.full_like(terms["y"].isel(row=[0]), -2000.0)
    # Terms without any spread have no Pareto shape, so they get a little.
    lost += 0.01 * np.random.default_rng(0).standard_normal(lost.shape)
    tree["log_likelihood"] = xr.DataTree(xr.Dataset({"y": xr.concat([terms["y"], lost], "row")}))
    np.testing.assert_allclose(rl.evaluation.stack_chains(tree)["weight"], stacking["weight"], atol=0.005)


def test_stacked_draws_come_from_chains_by_their_weight(cauchy):
    tree, stacking = cauchy
    stacked = rl.evaluation.stacked_posterior(tree, stacking, draws=5000, random_seed=3)
    location = stacked["posterior"]["location"]
    assert location.sizes == {"chain": 1, "draw": 5000}
    left = float(stacking["cluster_weight"][0])
    assert int((location < 0).sum()) == pytest.approx(5000 * left, abs=4)
    # Every draw is one of its chain's, with its own terms beside it.
    np.testing.assert_allclose(
        stacked["log_likelihood"]["y"][0], stats.cauchy.logpdf(Y, location.to_numpy()[0][:, None]), rtol=1e-12
    )
    own = location.to_numpy()[location.to_numpy() < 0]
    everything = tree["posterior"]["location"].to_numpy()[[0, 2, 3]]
    assert np.isin(own, everything).all()
    assert abs(own.mean() - everything.mean()) < 4.5 * everything.std() / np.sqrt(len(np.unique(own)))
    # No order is left in which a chain could be told.
    assert abs(stats.spearmanr(np.arange(5000), location.to_numpy()[0]).statistic) < 4.5 / np.sqrt(5000)
    assert stacked["prior"].sizes == {"chain": 1, "draw": 7}
    again = rl.evaluation.stacked_posterior(tree, stacking, draws=5000, random_seed=3)
    xr.testing.assert_identical(stacked["posterior"].to_dataset(), again["posterior"].to_dataset())


def test_a_chain_without_weight_gives_no_draw(cauchy):
    tree, stacking = cauchy
    alone = stacking.assign(weight=("chain", [0.0, 1.0, 0.0, 0.0]))
    assert bool((rl.evaluation.stacked_posterior(tree, alone)["posterior"]["location"] > 0).all())
    assert rl.evaluation.stacked_posterior(tree, alone)["posterior"].sizes["draw"] == 4000


def test_stacked_draws_say_that_they_are_stacked(cauchy):
    tree, stacking = cauchy
    stacked = rl.evaluation.stacked_posterior(tree, stacking)
    said = diagnostics(stacked)
    assert said[0].startswith("Stacked draws")
    assert "not the posterior" in said[0]
    assert f"chain 1 {float(stacking['weight'][1]):.2f}" in said[0]
    assert "reliable" in said[1]
    assert "chains disagree" in " ".join(diagnostics(tree))
    assert json.loads(stacked.attrs["diagnostics"]) == said
    assert "stacked" not in tree.attrs


def test_what_cannot_be_stacked_is_refused(cauchy):
    tree, stacking = cauchy
    posterior = tree["posterior"].to_dataset()
    for bad, words in (
        (tree.isel(chain=[0]), "two chains"),
        (tree.isel(draw=slice(50)), "draws 50"),
        (xr.DataTree.from_dict({"/posterior": posterior}), "log_likelihood"),
        (xr.DataTree(), "posterior"),
        (tree.assign(log_likelihood=tree["log_likelihood"].isel(chain=[0])), "draws that are stacked"),
    ):
        with pytest.raises(rl.errors.FitError, match=words) as caught:
            rl.evaluation.stack_chains(bad)
        assert caught.value.cure
    with pytest.raises(rl.errors.FitError, match="rhat_limit"):
        rl.evaluation.stack_chains(tree, rhat_limit=1.0)
    with pytest.raises(rl.errors.FitError, match="draws"):
        rl.evaluation.stacked_posterior(tree, stacking, draws=0)
    with pytest.raises(rl.errors.FitError, match="chains"):
        rl.evaluation.stacked_posterior(tree, stacking.isel(chain=[0, 1]))
    with pytest.raises(rl.errors.FitError, match="no weights"):
        rl.evaluation.stacked_posterior(tree, xr.Dataset())


# ---- leave-one-out terms of a fit


def test_leave_one_out_terms_equal_enumeration(tiny):
    spec, panel, tree = tiny
    terms = leave_one_out_terms(tree)
    seen = ~np.isnan(panel["response_value"].to_numpy()[:, 0])
    np.testing.assert_array_equal(terms["time"], panel["time"][seen])
    for chain, draw in ((0, 0), (1, 3)):
        inputs = plain_chain(spec, panel, one_draw(tree["posterior"].to_dataset(), chain, draw))
        exact = enumerate_chain(*inputs).leave_one_out
        unit = np.log(float(panel["response_scale"][0]))
        np.testing.assert_allclose(terms[chain, draw], exact[seen] - unit, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_fit_is_stacked_and_goes_on_being_a_fit(tiny, tmp_path):
    spec, panel, _ = tiny
    tree = prior_fit(spec, panel, 100)
    stacked = rl.evaluation.stacked_posterior(tree, rl.evaluation.stack_chains(tree), draws=8)
    loaded = rl.load_fit(rl.save_fit(stacked, tmp_path / "stacked.nc"))
    assert diagnostics(loaded)[0].startswith("Stacked draws")
    assert rl.lag_distribution(loaded)["mean_lag"].sizes["draw"] == 8
    assert loaded["posterior_predictive"].sizes["draw"] == 8
    assert loaded["prior"].sizes["draw"] == 20


@pytest.mark.slow
def test_the_response_among_the_covariates_is_refused():
    kernel = small_spec().signals[0].kernel
    by_column = small_spec(signals=(rl.Signal("own past", "price", kernel=kernel, contemporaneous=False),))
    with pytest.raises(rl.errors.FitError, match="own past"):
        leave_one_out_terms(prior_fit(by_column, hand_panel(by_column, 12)))
    by_value = small_spec(controls=(rl.Control("own past", "price a week ago"),))
    panel = hand_panel(by_value, 12)
    panel["control_value"][1:, 0] = 0.3 + 0.7 * panel["response_value"].to_numpy()[:-1, 0]
    with pytest.raises(rl.errors.FitError, match="own past"):
        leave_one_out_terms(prior_fit(by_value, panel))


def test_runs_within_modes_are_stacked_not_the_resampled_posterior():
    rng = np.random.default_rng(5)
    runs = rng.standard_normal((4, 200)) + np.array([0.0, 0.0, 9.0, 9.0])[:, None]
    terms = -0.5 * (rng.standard_normal(30) - runs[..., None]) ** 2
    dims = {"chain": range(4), "draw": range(200)}
    within = xr.Dataset({"x": (("chain", "draw"), runs), "mode_of": (("chain", "draw"), np.zeros((4, 200), int))}, dims)
    within["weight"] = ("mode", [0.5, 0.5])
    mixed = xr.Dataset({"x": (("chain", "draw"), rng.permutation(runs.ravel()).reshape(4, 200))}, dims)
    likelihood = xr.Dataset({"y": (("chain", "draw", "row"), terms)}, dims)
    tree = xr.DataTree.from_dict({"/posterior": mixed, "/within_mode": within, "/log_likelihood": likelihood})
    stacking = rl.evaluation.stack_chains(tree)
    assert stacking["member_of"].to_numpy().tolist() == [0, 0, 1, 1]
    stacked = rl.evaluation.stacked_posterior(tree, stacking)
    assert set(np.unique(stacked["posterior"]["x"])) <= set(runs[:2].ravel())
    assert "within_mode" not in stacked.children
