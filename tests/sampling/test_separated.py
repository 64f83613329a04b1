"""Separated modes: their evidence, which chain is in which, and one posterior with their weights."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from builders import hand_panel, prior_fit, small_spec
from scipy import signal
from scipy.special import gammaln

import regimelag as rl
from regimelag.errors import FitError
from regimelag.sampling import separated
from regimelag.sampling.bridge import evidence_of, nearest_cells, normal_of
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.modes import find_modes
from regimelag.sampling.sampler import Sampler

SHAPE, SIZE = 3.0, 4


# ---- evidence


def of_log_gamma(point: np.ndarray) -> float:
    """Log density of logarithms of gamma variables, without its constant: skewed, with a long left tail."""
    return float((SHAPE * point - np.exp(point)).sum())


def log_gamma_evidence(seed: int) -> tuple[float, float]:
    """Error of an estimate of the evidence, and the error that it states."""
    rng = np.random.default_rng(seed)
    points = np.log(rng.gamma(SHAPE, size=(4, 250, SIZE)))
    found = evidence_of(of_log_gamma, points, [normal_of(points.reshape(-1, SIZE))], 0, rng)
    return found.log - SIZE * gammaln(SHAPE), found.error


def test_the_evidence_of_a_skewed_density_has_the_error_that_it_states():
    errors, stated = np.array([log_gamma_evidence(seed) for seed in range(30)]).T
    z = errors / stated
    # Of 30 standard normals the mean is within 4 / sqrt(30), and the mean square within 1 +- 4 sqrt(2 / 30).
    assert abs(z.mean()) < 4 / np.sqrt(30)
    assert 0.25 < (z**2).mean() < 1 + 4 * np.sqrt(2 / 30)


def test_correlated_draws_raise_the_error():
    rng = np.random.default_rng(0)
    free = rng.standard_normal((4, 500, 3))
    slow = signal.lfilter([np.sqrt(1 - 0.95**2)], [1.0, -0.95], rng.standard_normal((4, 700, 3)), axis=1)[:, 200:]
    # A proposal of other draws than those of the bridge is not the same density.
    errors = [
        evidence_of(lambda point: float(-0.5 * point @ point), points, [normal_of(points.reshape(-1, 3))], 0, rng).error
        for points in (free, slow)
    ]
    assert errors[1] > 2 * errors[0]


def test_cells_share_the_evidence_of_a_mixture():
    rng = np.random.default_rng(2)
    centers, weights = np.array([[0.0, 0.0], [12.0, 0.0]]), np.array([0.3, 0.7])

    def log_target(point: np.ndarray) -> float:
        return float(np.logaddexp.reduce(np.log(weights) - 0.5 * ((point - centers) ** 2).sum(axis=1)))

    points = [center + rng.standard_normal((2, 500, 2)) for center in centers]
    parts = [normal_of(each.reshape(-1, 2)) for each in points]
    assert np.all(nearest_cells(points[1], parts) == 1)
    for n, (own, weight) in enumerate(zip(points, weights, strict=True)):
        found = evidence_of(log_target, own, parts, n, rng)
        assert abs(found.log - np.log(weight * 2 * np.pi)) < 4 * found.error


# ---- which chain is in which mode


def chains(*kinds: float | str, draws: int = 400, size: int = 5) -> np.ndarray:
    """Chains (chain, draw, parameter) at a place, or in one place and then in another."""
    rng = np.random.default_rng(3)
    made = rng.standard_normal((len(kinds), draws, size))
    for n, kind in enumerate(kinds):
        made[n] += 10.0 * (np.arange(draws) > draws * 0.6)[:, None] if kind == "moves" else kind
    return made


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((0.0, 0.0, 0.0), [0, 0, 0]),
        ((0.0, 10.0, 0.0, 10.0), [0, 1, 0, 1]),
        ((0.0, 10.0, "moves", 10.0), [0, 1, -1, 1]),
        ((0.0, 10.0, 20.0), [0, 1, 2]),
        # Without a chain that stays there is no second mode, and chains disagree within the one.
        ((0.0, 0.0, "moves"), [0, 0, 0]),
    ],
)
def test_chains_that_stay_define_modes_and_chains_that_move_are_in_none(kinds, expected):
    points = chains(*kinds)
    assert separated._members(points, points).tolist() == expected


def test_slow_chains_in_one_mode_are_no_modes():
    noise = np.random.default_rng(4).standard_normal((4, 3000, 5))
    slow = signal.lfilter([np.sqrt(1 - 0.99**2)], [1.0, -0.99], noise, axis=1)[:, 1000:]
    assert separated._rhat(slow[:2]).max() > separated.MIXED
    assert separated._members(slow, slow).max() == 0


def test_short_chains_are_not_examined():
    points = chains(0.0, 10.0, draws=15)
    assert separated._members(points, points).tolist() == [0, 0]


# ---- sampling


def run_of(*batches: np.ndarray | FitError):
    """A sampler that returns batches of chains in turn, and what it was asked for."""
    asked: list[int] = []

    def run(start, seed, count):
        batch = batches[len(asked)]
        asked.append(count)
        if isinstance(batch, FitError):
            raise batch
        dims = {"chain": np.arange(len(batch)), "draw": np.arange(batch.shape[1])}
        posterior = xr.Dataset({"x": (("chain", "draw", "x_dim_0"), batch)}, coords=dims | {"x_dim_0": range(5)})
        stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros(batch.shape[:2], dtype=bool))}, coords=dims)
        return xr.DataTree.from_dict({"/posterior": posterior, "/sample_stats": stats})

    return run, asked


@pytest.fixture(scope="module")
def compiled() -> CompiledModel:
    with pm.Model() as model:
        pm.Normal("x", shape=5)
    return CompiledModel(model)


def sampled(compiled, run, **settings) -> tuple[xr.DataTree, list[str]]:
    said: list[str] = []
    modes = find_modes(compiled.value_and_gradient, [np.zeros(5)])
    tree = separated.sample_modes(run, compiled, modes, Sampler(**settings), 1, tell=said.append, weigh=True)
    return tree, said


def correlated(seed: int, rho: float, draws: int = 1000) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((4, draws + 500, 5))
    return signal.lfilter([np.sqrt(1 - rho**2)], [1.0, -rho], noise, axis=1)[:, 500:]


@pytest.mark.parametrize(("rho", "apart"), [(0.85, 0.0), (0.0, 0.16)])
def test_a_default_run_that_falls_a_little_short_is_extended_and_says_so(compiled, rho, apart):
    """Autocorrelated chains, and chains whose means differ a little."""
    batches = [correlated(seed, rho) + apart * np.array([1, -1, 1, -1])[:, None, None] for seed in range(4)]
    run, asked = run_of(*batches)
    tree, said = sampled(compiled, run)
    _, least = separated.within(xr.Dataset({"x": (("chain", "draw", "x_dim_0"), batches[0])}))
    assert 100 < least < 400
    assert asked[:2] == [4, 4]
    assert said[0] == f"Effective sample size {least:.0f}, 400 asked: sampling 4 more chains ..."
    assert tree["posterior"].sizes["chain"] == 4 * len(asked) == len(tree["sample_stats"]["chain"])
    np.testing.assert_array_equal(tree["posterior"]["x"][4:8], batches[1])
    np.testing.assert_array_equal(tree["posterior"]["x"], np.concatenate(batches[: len(asked)]))
    expected = []
    for count in range(1, 4):
        held = np.concatenate(batches[:count])
        rhat, least = separated.within(xr.Dataset({"x": (("chain", "draw", "x_dim_0"), held)}))
        if rhat <= 1.01 and least >= 400:
            break
        why = (
            f"R-hat {rhat:.4f}, at most 1.01 asked" if least >= 400 else f"Effective sample size {least:.0f}, 400 asked"
        )
        expected.append(f"{why}: sampling 4 more chains ...")
    assert said == expected


@pytest.mark.parametrize("rho", [0.0, 0.995])
def test_good_runs_and_hopeless_ones_are_not_extended(compiled, rho):
    run, asked = run_of(correlated(0, rho))
    assert sampled(compiled, run)[0]["posterior"].sizes["chain"] == 4
    assert asked == [4]


def test_a_run_of_chosen_length_is_not_extended(compiled):
    run, asked = run_of(correlated(0, 0.85, draws=900))
    sampled(compiled, run, draws=900)
    assert asked == [4]


@pytest.mark.parametrize(
    "second", [FitError("sampling", "a draw is made", "none", "wait"), correlated(1, 0.85)[:, :50]]
)
def test_an_interrupted_extension_keeps_what_was_there(compiled, second):
    run, asked = run_of(correlated(0, 0.85), second)
    tree, _ = sampled(compiled, run)
    assert asked == [4, 4]
    assert dict(tree["posterior"].sizes) == {"chain": 4, "draw": 1000, "x_dim_0": 5}


def test_chains_far_from_the_posterior_get_no_weight(compiled):
    away = correlated(0, 0.0)
    away[0] += 40.0
    run, asked = run_of(away, correlated(1, 0.0)[:3] + 40.0, correlated(2, 0.0)[:1])
    tree, _ = sampled(compiled, run)
    assert asked == [4, 3, 1]
    assert float(tree["within_mode"]["weight"][0]) == 1.0
    assert float(abs(tree["posterior"]["x"]).max()) < 10


def test_draws_are_selected_without_replacement_in_the_numbers_of_the_weights():
    mode_of = np.repeat([0, 1, -1, 0], 100).reshape(4, 100)
    chosen, draws = separated._picked(mode_of, np.array([0.7, 0.3]), 200, np.random.default_rng(0))
    assert len(set(zip(chosen.tolist(), draws.tolist(), strict=True))) == 200
    assert abs(np.bincount(chosen, minlength=4)[1] - 60) <= 1
    assert 2 not in chosen


@pytest.mark.parametrize(("visits", "length", "more"), [(1, 40, True), (3, 20, True), (60, 1, False), (30, 10, False)])
def test_a_mode_that_chains_have_seldom_visited_gets_chains_of_its_own(visits, length, more):
    """Chains stay where they are, so that one or three visits say nothing of a mode's weight; many do."""
    at = np.array([12.0, 0, 0, 0, 0])
    with pm.Model() as model:
        x = pm.Normal("x", sigma=1000, shape=5)
        peaks = [np.log(share) - 0.5 * ((x - place) ** 2).sum() for share, place in ((0.85, 0.0 * at), (0.15, at))]
        pm.Potential("peaks", pm.math.logsumexp(pm.math.stack(peaks)))
    compiled = CompiledModel(model)
    modes = find_modes(compiled.value_and_gradient, [0.0 * at, at])
    first, second = (np.random.default_rng(seed).standard_normal((4, 1000, 5)) for seed in (0, 1))
    for visit in range(visits):
        chain, place = visit % 4, 4000 // visits * (visit // 4)
        first[chain, place : place + length] += at
    run, asked = run_of(first, second + at)
    tree = separated.sample_modes(run, compiled, modes, Sampler(), 1, tell=lambda _: None, weigh=True)
    assert asked == [4] * (1 + more)
    if more:
        weights = tree["within_mode"].to_dataset()
        assert abs(weights["weight"][1] - 0.15) < 4 * weights["weight_error"][1]


def test_the_posterior_of_separated_modes_is_a_mixture_and_says_how():
    with pm.Model() as model:
        x = pm.Uniform("x", -40, 40, shape=2)
        peaks = [np.log(share) - 0.5 * ((x - at) ** 2).sum() for share, at in ((0.85, 0.0), (0.15, 20.0))]
        pm.Potential("peaks", pm.math.logsumexp(pm.math.stack(peaks)))
    tree = rl.sample(model, random_seed=1, draws=250, tune=250, chains=3, cores=1, progressbar=False)
    runs, posterior = tree["within_mode"].to_dataset(), tree["posterior"].to_dataset()
    assert runs.sizes["chain"] == 6
    assert dict(posterior.sizes) == {"chain": 3, "draw": 250, "x_dim_0": 2} == dict(tree["posterior"].sizes)
    assert abs(runs["weight"][0] - 0.85) < 4 * runs["weight_error"][0]
    # Draws are those of the runs.
    held = {tuple(point) for point in runs["x"].to_numpy().reshape(-1, 2)}
    drawn = [tuple(point) for point in posterior["x"].to_numpy().reshape(-1, 2)]
    assert set(drawn) <= held
    assert float((posterior["x"][..., 0] > 10).mean()) == pytest.approx(float(runs["weight"][1]), abs=2 / 750)
    np.testing.assert_array_equal(tree["sample_stats"]["draw"], posterior["draw"])
    (first, *_) = rl.diagnostics(tree)
    assert "2 separated modes with weights 0.8" in first
    assert " in mode " in first
    assert posterior.attrs["resampled"].startswith("from 2 modes")
    # With weights that are known well and independent draws the mean is known better than by 750 draws.
    assert posterior.attrs["effective_sample_size"] > 500
    again = rl.sample(model, random_seed=1, draws=250, tune=250, chains=3, cores=1, progressbar=False)
    assert again["posterior"].to_dataset().identical(posterior)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_fit_with_separated_modes_is_saved_and_loaded(tmp_path, suffix):
    spec = small_spec(drivers=(), controls=(), episodes=rl.spec.Episodes())
    fitted = prior_fit(spec, hand_panel(spec, 40), draws=30)
    runs = xr.concat([fitted["posterior"].to_dataset().drop_attrs()] * 2, "chain").assign_coords(chain=range(4))
    runs["mode_of"] = (("chain", "draw"), np.repeat([0, 0, 1, 1], 30).reshape(4, 30))
    runs["weight"], runs["weight_error"] = ("mode", [0.7, 0.3]), ("mode", [0.01, 0.01])
    fitted["within_mode"] = xr.DataTree(runs)
    fitted["posterior"].attrs |= {"resampled": "from 2 modes", "effective_sample_size": 25.0}
    rl.save_fit(fitted, tmp_path / f"fit{suffix}")
    loaded = rl.load_fit(tmp_path / f"fit{suffix}")
    assert loaded["within_mode"].to_dataset().equals(fitted["within_mode"].to_dataset())
    assert loaded["posterior"].attrs["effective_sample_size"] == 25.0
    assert rl.diagnostics(loaded) == rl.diagnostics(fitted)
    assert "2 separated modes with weights 0.700 (Monte Carlo error 0.01)" in rl.diagnostics(loaded)[0]
