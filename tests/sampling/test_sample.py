"""`sample` on PyMC models of one's own, whose posteriors are known."""

from __future__ import annotations

import arviz as az
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from pytensor.graph.op import Op
from scipy import stats

import regimelag as rl
from regimelag.sampling.compiled import CompiledModel

SMALL = {"draws": 400, "tune": 300, "chains": 2, "cores": 1, "starts": 6, "progressbar": False}
Y = np.array([[0.3, -1.2], [1.4, -0.4], [0.8, -0.9]])


def conjugate() -> pm.Model:
    """Two means with a normal prior and known noise; dimensions with and without coordinates, and with no name."""
    with pm.Model(coords={"place": ["here", "there"]}) as model:
        model.add_coord("row", length=3)
        mean = pm.Normal("mean", 1.0, 2.0, dims="place")
        pm.Normal("unnamed", 0.0, 1.0, shape=(2, 2))
        pm.Deterministic("twice", 2.0 * mean, dims="place")
        pm.Deterministic("by row", mean[0] * np.ones(3), dims="row")
        pm.Normal("y", mean, 1.5, observed=Y, dims=("row", "place"))
    return model


@pytest.fixture(scope="module")
def drawn():
    return rl.sample(conjugate(), **SMALL, random_seed=3)


def test_groups_dimensions_and_settings(drawn):
    assert {"posterior", "sample_stats", "modes"} <= set(drawn.children)
    assert not {"log_likelihood", "prior"} & set(drawn.children)
    posterior, catalogue = drawn["posterior"].to_dataset(), drawn["modes"].to_dataset()
    dims = {"mean": ("place",), "unnamed": ("unnamed_dim_0", "unnamed_dim_1"), "twice": ("place",), "by row": ("row",)}
    for name, own in dims.items():
        assert posterior[name].dims == ("chain", "draw", *own)
        assert catalogue[name].dims == ("mode", *own)
    assert posterior["place"].to_numpy().tolist() == ["here", "there"]
    assert "row" not in posterior.coords
    assert drawn.attrs["random_seed"] == 3
    assert drawn.attrs["starts"] == 6
    np.testing.assert_allclose(posterior["twice"], 2 * posterior["mean"])


def test_posterior_and_mode_are_the_conjugate_ones(drawn):
    precision = 1 / 4 + 3 / 1.5**2
    mean = (1.0 / 4 + Y.sum(axis=0) / 1.5**2) / precision
    found = drawn["posterior"]["mean"]
    error = az.mcse(drawn["posterior"].to_dataset()[["mean"]])["mean"]
    assert np.all(abs(found.mean(("chain", "draw")) - mean) < 4.5 * error)
    ess = az.ess(drawn["posterior"].to_dataset()[["mean"]])["mean"]
    assert np.all(abs(found.std(("chain", "draw")) * np.sqrt(precision) - 1) < 4.5 / np.sqrt(2 * ess))
    np.testing.assert_allclose(drawn["modes"]["mean"][0], mean, atol=1e-4)
    assert rl.modes(drawn)["starts"].tolist() == [6]


def test_same_seed_same_draws(drawn):
    again = rl.sample(conjugate(), **SMALL, random_seed=3)
    for group in ("posterior", "modes"):
        xr.testing.assert_identical(drawn[group].to_dataset(), again[group].to_dataset())


@pytest.mark.slow
def test_pymc_samples_the_same(drawn):
    other = rl.sample(conjugate(), **SMALL, random_seed=4, nuts_sampler="pymc")
    means = [tree["posterior"]["mean"].mean(("chain", "draw")) for tree in (drawn, other)]
    errors = [az.mcse(tree["posterior"].to_dataset()[["mean"]])["mean"] for tree in (drawn, other)]
    assert np.all(abs(means[0] - means[1]) < 5 * np.hypot(*errors))
    assert "modes" in other.children


def ordered() -> pm.Model:
    """Three ordered means: five of six prior draws break the order."""
    with pm.Model() as model:
        pm.Normal("mean", 0.0, 1.0, shape=3, transform=pm.distributions.transforms.ordered)
    return model


def test_prior_draws_that_break_an_order_are_drawn_again():
    tree = rl.sample(ordered(), **SMALL, random_seed=1)
    assert int(tree["modes"]["starts"].sum()) == 6
    values = tree["posterior"]["mean"].to_numpy()
    assert np.all(np.diff(values, axis=-1) > 0)
    # Means of the order statistics of three standard normals: 0 and 3 / (2 sqrt(pi)) to either side.
    error = az.mcse(tree["posterior"].to_dataset())["mean"].to_numpy()
    assert np.all(abs(values.mean(axis=(0, 1)) - 1.5 / np.sqrt(np.pi) * np.array([-1, 0, 1])) < 4.5 * error)


def test_chains_start_in_both_modes_by_their_weight():
    """Two far modes with masses 0.4 and 0.6: NUTS crosses between them in no chain."""
    with pm.Model() as model:
        x = pm.Normal("x", 0.0, 30.0)
        density = [pm.math.log(share) - 0.5 * (x - at) ** 2 for share, at in ((0.4, -20.0), (0.6, 20.0))]
        pm.Potential("both", pm.math.logsumexp(pm.math.stack(density)))
    tree = rl.sample(model, **(SMALL | {"chains": 20, "draws": 50, "tune": 100, "starts": 12}), random_seed=1)
    table, runs = rl.modes(tree), tree["within_mode"].to_dataset()
    # The prior is as high on either side, so the masses are the shares.
    np.testing.assert_allclose(table["weight"], [0.6, 0.4], atol=1e-3)
    per_chain = runs["x"].to_numpy()
    assert np.all((per_chain > 0).all(axis=1) | (per_chain < 0).all(axis=1))
    first = int((per_chain[:20, 0] > 0).sum())
    assert stats.binomtest(first, 20, 0.6).pvalue > 1e-4
    # Each mode has as many chains as were asked for, and its weight in the posterior.
    assert (per_chain[:, 0] > 0).sum() == (per_chain[:, 0] < 0).sum() == 20
    assert table["chains"][0] == ", ".join(str(n) for n in np.flatnonzero(per_chain[:, 0] > 0))
    assert dict(tree["posterior"].sizes) == {"chain": 20, "draw": 50}
    assert table["draws"][0] == pytest.approx(table["separated_weight"][0], abs=2e-3)
    assert abs(table["separated_weight"][0] - 0.6) < 4 * table["separated_weight_error"][0]


# ---- the door


def discrete() -> pm.Model:
    with pm.Model() as model:
        pm.Bernoulli("coin", 0.5)
    return model


def named_weight() -> pm.Model:
    with pm.Model() as model:
        pm.Normal("weight")
    return model


def by_mode() -> pm.Model:
    with pm.Model(coords={"mode": ["a", "b"]}) as model:
        pm.Normal("x", dims="mode")
    return model


def test_what_cannot_be_sampled_is_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr("regimelag.sampling.fit.CompiledModel", lambda *_: pytest.fail("compiled"))
    for name, value in {"draws": 0, "tune": -1, "chains": 0, "starts": 2.5, "target_accept": 1.0}.items():
        with pytest.raises(rl.errors.FitError, match=name):
            rl.sample(conjugate(), **{name: value})
    with pytest.raises(rl.errors.FitError, match="nuts_sampler"):
        rl.sample(conjugate(), nuts_sampler="stan")
    for model, words in (
        (None, "pymc.Model"),
        (pm.Model(), "free"),
        (discrete(), "coin"),
        (named_weight(), "weight"),
        (by_mode(), "mode"),
    ):
        with pytest.raises(rl.errors.FitError, match=words) as caught:
            rl.sample(model)
        assert caught.value.cure


def test_priors_that_cannot_be_drawn_from_are_refused():
    with pm.Model() as model:
        pm.Flat("anywhere")
        pm.Normal("x")
    with pytest.raises(rl.errors.FitError, match="drawn from"):
        rl.sample(model, **SMALL)


def test_deterministics_that_do_not_vary_or_cannot_be_vectorised():
    """What follows the sampling never loses the draws."""
    with pm.Model() as model:
        x = pm.Normal("x", shape=3)
        pm.Deterministic("known", pt.as_tensor(np.arange(4.0)))
        pm.Deterministic("data", pm.Data("given", np.ones((2, 2))) * 2.0)
        pm.Deterministic("branch", pytensor.ifelse(x[0] > 0, x, -2.0 * x))
        pm.Deterministic("total", x[x > 0].sum())
        pm.Deterministic("some", x[x > 0])
    with pytest.warns(UserWarning, match="'some' has another shape at every draw"):
        drawn = rl.sample(model, **SMALL, random_seed=1)["posterior"].to_dataset()
    x = drawn["x"].to_numpy()
    assert set(drawn) == {"x", "known", "data", "branch", "total"}
    np.testing.assert_array_equal(drawn["known"], np.broadcast_to(np.arange(4.0), (*x.shape[:2], 4)))
    np.testing.assert_array_equal(drawn["data"], np.full((*x.shape[:2], 2, 2), 2.0))
    np.testing.assert_allclose(drawn["branch"], np.where(x[..., :1] > 0, x, -2.0 * x))
    np.testing.assert_allclose(drawn["total"], np.where(x > 0, x, 0.0).sum(axis=-1))


def test_labels_that_are_tuples(tmp_path):
    with pm.Model(coords={"pair": [("gold", 1), ("silver", 2)]}) as model:
        pm.Normal("x", dims="pair")
    drawn = rl.sample(model, **SMALL, random_seed=1)
    assert list(drawn["posterior"]["pair"].to_numpy()) == ["('gold', 1)", "('silver', 2)"]
    drawn.to_netcdf(tmp_path / "drawn.nc")


class NoSlope(Op):
    """A function without a gradient."""

    itypes = (pt.dvector,)
    otypes = (pt.dscalar,)

    def perform(self, node, inputs, outputs):
        outputs[0][0] = np.array(-np.sum(inputs[0] ** 2))


def without_slope() -> pm.Model:
    with pm.Model() as model:
        pm.Potential("outside", NoSlope()(pm.Normal("x", shape=2)))
    return model


def place_without_slope() -> pm.Model:
    with pm.Model() as model:
        pm.Potential("places", pt.nonzero(pm.Normal("x", shape=2) > 0)[0].sum())
    return model


def in_batches() -> pm.Model:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("x"), observed=pm.Minibatch(np.arange(9.0), batch_size=3), total_size=9)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [(without_slope, "a gradient"), (place_without_slope, "a gradient"), (in_batches, "no random numbers")],
)
def test_what_nuts_cannot_sample_is_refused(model, words):
    with pytest.raises(rl.errors.FitError, match=words) as caught:
        rl.sample(model(), **SMALL)
    assert caught.value.cure


def matrix_of(entries, observed) -> pm.Model:
    """A normal distribution with a covariance that is positive definite for some draws of the prior, or for none."""
    with pm.Model() as model:
        x = pm.Normal("x", shape=2)
        pm.MvNormal("y", np.zeros(2), cov=pt.stacklists(entries(x)), observed=observed)
    return model


def test_an_op_may_raise_an_error_at_some_points():
    """Of two signs one raises an error at the first draw of the prior, where shapes are looked for."""
    for sign in (1.0, -1.0):
        model = matrix_of(lambda x, sign=sign: [[sign * x[0], 0.0], [0.0, 1.0]], [0.5, 1.0])
        drawn = rl.sample(model, **SMALL, random_seed=1)["posterior"]["x"]
        assert float((sign * drawn[..., 0]).min()) > 0


def test_an_op_that_raises_an_error_everywhere_is_refused():
    with pytest.raises(rl.errors.FitError, match="finite at one starting point") as caught:
        rl.sample(matrix_of(lambda x: [[-pt.exp(x[0]), 0.0], [0.0, 1.0]], [0.5, 1.0]), **SMALL)
    assert "posdef" in caught.value.came


class Square(Op):
    """Minus a sum of squares, or an error, in Python alone."""

    itypes = (pt.dvector,)
    otypes = (pt.dscalar,)

    def perform(self, node, inputs, outputs):
        if inputs[0][0] > 1:
            raise ValueError("too large")
        outputs[0][0] = np.array(-np.sum(inputs[0] ** 2))

    def pullback(self, inputs, outputs, cotangents):
        return [-2.0 * inputs[0] * cotangents[0]]


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_an_op_that_has_only_python_and_may_raise():
    with pm.Model() as model:
        pm.Potential("outside", Square()(pm.Normal("x", shape=2)))
    compiled = CompiledModel(model)
    point = np.array([0.5, -1.5])
    value, gradient = compiled.value_and_gradient(point)
    assert value == pytest.approx(model.compile_logp()({"x": point}), rel=1e-12)
    np.testing.assert_allclose(gradient, -3.0 * point, rtol=1e-12)
    assert np.isnan(compiled.value_and_gradient(np.array([1.5, 0.0]))[0])
    assert compiled.value_and_gradient(point)[0] == value
    assert float(rl.sample(model, **SMALL, random_seed=1)["posterior"]["x"][..., 0].max()) <= 1


def test_a_posterior_that_is_nowhere_finite_is_refused():
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("wall", pm.math.log(-1.0 - x**2))
    with pytest.raises(rl.errors.FitError, match="finite at one starting point") as caught:
        rl.sample(model, **SMALL)
    assert "none of 6" in caught.value.came
