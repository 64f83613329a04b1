"""Modes with weight that no chain visited are reported, and withhold the verdict; modes that only look so are not."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from builders import hand_panel, prior_fit, small_spec

import regimelag as rl
from regimelag.sampling.modes import Mode, find_modes, is_reached
from regimelag.sampling.modes_dataset import RESERVED


def tree(shares, weights, *, away=12.0, reached=None, draws=1000) -> xr.DataTree:
    """Four chains whose draws lie around some modes, by their shares within each chain; modes lie on a line."""
    rng = np.random.default_rng(0)
    places = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * draws).astype(int))[:draws]
    values = away * rng.permuted(np.tile(places, (4, 1)), axis=1) + rng.standard_normal((4, draws))
    posterior = xr.Dataset({"x": (("chain", "draw"), values)}, coords={"chain": range(4), "draw": range(draws)})
    catalogue = xr.Dataset({"x": ("mode", away * np.arange(len(weights)), {"role": "free"})})
    catalogue["weight"] = ("mode", np.array(weights))
    catalogue["log_posterior"] = catalogue["starts"] = ("mode", np.zeros(len(weights)))
    if reached is not None:
        catalogue["reached"] = ("mode", np.array(reached, dtype=float))
    return xr.DataTree.from_dict({"/posterior": posterior, "/modes": catalogue})


def missed(idata) -> list[str]:
    return [sentence for sentence in rl.diagnostics(idata) if "missed mode" in sentence]


def test_a_mode_with_weight_and_without_draws_is_reported():
    said = rl.diagnostics(tree([1.0, 0.0], [0.895, 0.105]))
    assert len(said) == 2
    assert "The chains missed mode 1, of weight 0.1" in said[1]
    # One of so many chains starts there: 1 - 0.895 ** 28 = 0.955.
    chains = int(said[1].split("more chains: of ")[1].split(",")[0])
    assert 1 - 0.895**chains >= 0.95 > 1 - 0.895 ** (chains - 1)
    assert "more chains" not in missed(tree([1.0, 0.0], [0.98, 0.02]))[0]


@pytest.mark.parametrize(
    ("shares", "weights", "reached", "expected"),
    [
        ([0.9, 0.1], [0.9, 0.1], None, 0),
        ([1.0, 0.0], [0.995, 0.005], None, 0),
        ([1.0, 0.0], [0.989, 0.011], None, 1),
        ([0.0, 1.0], [0.9, 0.1], None, 1),
        ([0.5, 0.0, 0.5], [0.4, 0.3, 0.3], None, 1),
        ([1.0, 0.0, 0.0], [0.4, 0.3, 0.3], None, 2),
        # What gradients said of it when it was sampled counts.
        ([1.0, 0.0], [0.9, 0.1], [np.nan, 1.0], 0),
        ([1.0, 0.0], [0.9, 0.1], [np.nan, 0.0], 1),
        ([0.99, 0.01], [0.8, 0.2], [np.nan, 0.0], 1),
        ([0.99, 0.01], [0.8, 0.2], [np.nan, 1.0], 0),
        ([0.99, 0.01], [0.8, 0.2], None, 0),
        ([0.9, 0.1], [0.8, 0.2], [np.nan, 0.0], 0),
    ],
)
def test_weight_draws_and_gradients_decide(shares, weights, reached, expected):
    assert len(missed(tree(shares, weights, reached=reached))) == expected


@pytest.mark.parametrize(("length", "expected"), [(40, 1), (9, 0), (200, 0)])
def test_a_mode_with_one_visit_is_missed_if_chains_stay_there(length, expected):
    """A visit of 40 of 4,000 draws to a mode of weight 0.1; shorter, it is no stay, and longer, half the weight."""
    whole = tree([1.0, 0.0], [0.9, 0.1], reached=[np.nan, 0.0 if length > 9 else 1.0])
    whole["posterior"]["x"][0, :length] += 12.0
    assert len(missed(whole)) == expected


def test_what_is_left_of_a_fit_is_asked():
    """Chain 0 alone was in the second mode; without it nothing was."""
    whole = tree([1.0, 0.0], [0.7, 0.3], reached=[np.nan, np.nan])
    whole["posterior"]["x"][0] += 12.0
    assert not missed(whole)
    assert len(missed(whole.isel(chain=[1, 2, 3], missing_dims="ignore"))) == 1


def test_chains_in_separate_modes_by_chance_are_what_rhat_sees():
    """Three of four chains in a mode of weight 0.1."""
    whole = tree([1.0, 0.0], [0.9, 0.1])
    whole["posterior"]["x"][:3] += 12.0
    said = rl.diagnostics(whole)
    assert not missed(whole)
    assert any("R-hat above" in sentence and "2 modes carry weight" in sentence for sentence in said[1:])


def test_a_parameter_that_was_dropped_is_no_reason_to_lose_the_words():
    whole = tree([1.0, 0.0], [0.7, 0.3])
    whole["modes"] = xr.DataTree(whole["modes"].to_dataset().assign(y=("mode", [0.0, 1.0], {"role": "free"})))
    assert len(missed(whole)) == 1


def test_the_verdict_is_withheld():
    spec = small_spec()
    fit = prior_fit(spec, hand_panel(spec, 30), 20)
    first = fit["posterior"].to_dataset().mean(("chain", "draw"))
    sd = fit["posterior"].to_dataset().std(("chain", "draw"))
    catalogue = xr.concat([first, first + 20 * sd], "mode", data_vars="all")
    for name, values in catalogue.data_vars.items():
        values.attrs["role"] = "deterministic" if name in ("effect_regime", "effect_episode") else "free"
    for name, held in {"weight": [0.8, 0.2], "log_posterior": [0.0, 0.0], "starts": [3, 1]}.items():
        catalogue[name] = ("mode", held)
    fit["modes"] = xr.DataTree(catalogue)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (verdict,) = rl.lag_report(fit).attrs["verdict"].values()
    assert "missed mode 1, of weight 0.2" in verdict
    assert "nothing is claimed" in verdict


# ---- whether gradients say that draws have reached a mode


def two_peaks(apart, shares=(0.85, 0.15), size=2):
    """Log density of two unit normals, and its gradient."""
    centres = np.array([np.zeros(size), apart / np.sqrt(size) * np.ones(size)])

    def value_and_gradient(x):
        terms = np.log(shares) - 0.5 * ((x - centres) ** 2).sum(axis=1)
        total = np.logaddexp.reduce(terms)
        return float(total), np.exp(terms - total) @ (centres - x)

    return value_and_gradient, centres


@pytest.mark.parametrize("size", [2, 30])
def test_draws_of_one_peak_have_not_reached_the_other(size):
    density, centres = two_peaks(9.0, size=size)
    modes = find_modes(density, list(centres))
    draws = np.random.default_rng(1).standard_normal((20, size))
    assert not is_reached(modes, 1, density, draws, 0)
    assert is_reached(modes, 1, density, centres[1] + draws, 0)


def test_an_optimum_off_the_bulk_of_its_mass_is_reached():
    """The narrow end of a funnel is highest, and holds no mass: forty scales that shrink with the first parameter."""

    def funnel(x):
        v, z = max(x[0], -300.0), x[1:]
        # A normal mass of v around zero, and an end of the funnel at which the density is highest.
        squares = np.exp(-2 * v) * (z @ z)
        value = -0.5 * v**2 - 0.5 * squares - 40 * v
        return float(value), np.concatenate([[-v + squares - 40], -np.exp(-2 * v) * z])

    (top,) = find_modes(funnel, [np.zeros(41)])
    assert top.point[0] < -30
    rng = np.random.default_rng(2)
    v = rng.standard_normal(20)
    draws = np.column_stack([v, np.exp(v)[:, None] * rng.standard_normal((20, 40))])
    # A point amid the draws, to which all are nearest.
    amid = Mode(np.zeros(41), 0.0, 0.0, np.eye(41), 1)
    assert is_reached([amid, top], 1, funnel, draws, 0)


def test_a_point_that_is_no_optimum_has_no_mass_of_its_own():
    """A search that stopped on a slope: from around it everything climbs to where the draws are."""
    density, _ = two_peaks(0.0)
    (top,) = find_modes(density, [np.ones(2)])
    stopped = Mode(np.array([6.0, 6.0]), density(np.array([6.0, 6.0]))[0], -30.0, np.eye(2), 1)
    assert is_reached([top, stopped], 1, density, np.random.default_rng(3).standard_normal((20, 2)), 0)


# ---- of any model, sampled


def test_a_mode_that_the_first_chains_missed_is_sampled():
    """Two peaks twenty standard deviations apart: one chain is in one of them, and another one is started there."""
    with pm.Model() as model:
        x = pm.Uniform("x", -50, 50, shape=2)
        peaks = [np.log(share) - 0.5 * ((x - centre) ** 2).sum() for share, centre in ((0.6, 0.0), (0.4, 20.0))]
        pm.Potential("two_peaks", pt.logaddexp(*peaks))
    counts = {"draws": 200, "tune": 200, "chains": 1, "starts": 24, "progressbar": False}
    for seed in range(3):
        drawn = rl.sample(model, random_seed=seed, **counts)
        runs = drawn["within_mode"].to_dataset()
        assert runs.sizes["chain"] == 2
        assert len(set((runs["x"] > 10).all(["draw", "x_dim_0"]).to_numpy())) == 2
        assert not missed(drawn)
        assert abs(runs["weight"][0] - 0.6) < 4 * runs["weight_error"][0]
        assert float((drawn["posterior"]["x"] > 10).mean()) == pytest.approx(float(runs["weight"][1]), abs=0.01)
        # One chain in each mode has no R-hat.
        assert any("R-hat needs two chains" in sentence for sentence in rl.diagnostics(drawn))
    assert "reached" in RESERVED
