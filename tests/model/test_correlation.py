"""The prior of the residual correlation against its known law, and the matrix against its twin."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pymc as pm
import pytensor
import pytest
from oracles import central_difference
from scipy import stats

from regimelag.likelihood.joint_density import joint_logpdf
from regimelag.model.correlation import residual_correlation

DRAWS = 5_000


def correlation_from(partial):
    """Matrices (draw, asset, asset) from partial correlations (draw, pair), by the Cholesky factor.

    Row j of it is ``p[i,j] prod_{m<i} sqrt(1 - p[m,j]^2)`` at i, with p[j,j] = 1.
    """
    size = round((1 + np.sqrt(1 + 8 * partial.shape[1])) / 2)
    first, second = np.triu_indices(size, 1)
    factor = np.zeros((len(partial), size, size))
    factor[:, second, first] = partial
    left = np.sqrt(np.cumprod(1.0 - factor[:, :, :-1] ** 2, axis=-1))
    factor[:, range(size), range(size)] = 1.0
    factor[:, :, 1:] *= left
    return factor @ factor.transpose(0, 2, 1)


def make_model(size, eta):
    with pm.Model() as model:
        matrix = residual_correlation("residual", size, eta)
    return model, matrix


@functools.cache
def draw(size, eta, draws=DRAWS):
    """Partial correlations (draw, pair) and matrices (draw, asset, asset), forward."""
    model, matrix = make_model(size, eta)
    return pm.draw([model["residual_partial"], matrix], draws=draws, random_seed=1, mode="FAST_COMPILE")


def by_rejection(size, eta, draws):
    """Matrices with density proportional to det ** (eta - 1), eta >= 1: uniform entries, kept with that probability."""
    rng = np.random.default_rng(7)
    first, second = np.triu_indices(size, 1)
    kept = []
    while sum(map(len, kept)) < draws:
        matrices = np.tile(np.eye(size), (100_000, 1, 1))
        entries = rng.uniform(-1, 1, size=(len(matrices), len(first)))
        matrices[:, first, second] = matrices[:, second, first] = entries
        definite = np.linalg.eigvalsh(matrices)[:, 0] > 0
        height = np.linalg.det(matrices).clip(0) ** (eta - 1)
        kept.append(matrices[definite & (rng.random(len(matrices)) < height)])
    return np.concatenate(kept)[:draws]


@pytest.mark.parametrize("eta", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_each_correlation_has_its_known_marginal_law(size, eta):
    """Beta(eta + (size - 2) / 2, the same), by the Kolmogorov-Smirnov distance at a level of one in 100,000."""
    _, matrices = draw(size, eta)
    law = stats.beta(eta + (size - 2) / 2, eta + (size - 2) / 2)
    for i, j in itertools.combinations(range(size), 2):
        assert stats.kstest((matrices[:, i, j] + 1) / 2, law.cdf).pvalue > 1e-5


@pytest.mark.parametrize(("size", "eta"), [(3, 1.0), (3, 3.0), (4, 1.0)])
def test_joint_law_equals_rejection_from_uniform_entries(size, eta):
    """Means of products that the marginal laws do not decide, within five standard errors."""

    def features(matrices):
        triple = matrices[:, 0, 1] * matrices[:, 1, 2] * matrices[:, 0, 2]
        squares = matrices[:, 0, 1] ** 2 * matrices[:, -2, -1] ** 2
        return np.stack([triple, squares, np.linalg.det(matrices), np.linalg.eigvalsh(matrices)[:, 0]])

    ours, theirs = features(draw(size, eta)[1]), features(by_rejection(size, eta, DRAWS))
    error = np.sqrt((ours.var(axis=1) + theirs.var(axis=1)) / DRAWS)
    assert (np.abs(ours.mean(axis=1) - theirs.mean(axis=1)) < 5 * error).all()


@pytest.mark.parametrize("size", [2, 3, 5])
def test_log_density_of_the_matrix_is_that_of_the_determinant(size):
    """log p(partial) less the log Jacobian of the matrix is (eta - 1) log det R, up to a constant."""
    eta, rows = 2.5, np.triu_indices(size, 1)
    model, _ = make_model(size, eta)
    partial, matrices = draw(size, eta, draws=5)
    constants = []
    for values, matrix in zip(partial, matrices, strict=True):

        def entry(changed, n):
            return correlation_from(changed[None])[0][rows][n]

        jacobian = [central_difference(lambda changed, n=n: entry(changed, n), values) for n in range(len(values))]
        log_p = pm.logp(model["residual_partial"], values).sum().eval(mode="FAST_COMPILE")
        log_jacobian = np.linalg.slogdet(np.array(jacobian))[1]
        constants.append(log_p - log_jacobian - (eta - 1) * np.linalg.slogdet(matrix)[1])
    np.testing.assert_allclose(constants, constants[0], atol=1e-6)


@pytest.mark.parametrize(("size", "mode"), [(2, "FAST_COMPILE"), (3, "NUMBA"), (5, "FAST_COMPILE")])
def test_matrix_equals_its_twin(size, mode):
    partial, _ = draw(size, 1.0, draws=20)
    model, matrix = make_model(size, 1.0)
    function = pytensor.function([model["residual_partial"]], matrix, mode=mode)
    ours = np.stack([function(values) for values in partial])
    np.testing.assert_allclose(ours, correlation_from(partial), atol=1e-14)
    np.testing.assert_allclose(np.diagonal(ours, axis1=1, axis2=2), 1.0, atol=1e-14)
    assert (np.linalg.eigvalsh(ours) > 0).all()


def test_two_assets_have_one_number():
    partial, matrices = draw(2, 2.0, draws=3)
    assert partial.shape == (3, 1)
    np.testing.assert_array_equal(matrices[:, 0, 1], partial[:, 0])
    np.testing.assert_array_equal(correlation_from(partial)[:, 0, 1], partial[:, 0])


def test_partial_correlations_are_what_they_are_called():
    """From the inverse of the matrix of three assets: what is left between the last two, given the first."""
    partial, matrices = draw(3, 1.0, draws=4)
    inverse = np.linalg.inv(matrices)
    expected = -inverse[:, 1, 2] / np.sqrt(inverse[:, 1, 1] * inverse[:, 2, 2])
    np.testing.assert_allclose(partial[:, 2], expected, atol=1e-10)
    np.testing.assert_allclose(partial[:, :2], matrices[:, 0, 1:], atol=1e-14)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("place", [0.0, -1.5, 30.0])
def test_gradient_is_finite_and_right(size, place):
    """Through the density, in free coordinates; at 30 a correlation is one but for rounding."""
    y = np.random.default_rng(0).normal(size=(size, 12))
    model, matrix = make_model(size, 2.0)
    with model:
        location, log_scale = np.zeros((size, 1, 12)), np.zeros((1, size, 1))
        pm.Potential("density", joint_logpdf(y, location, log_scale, np.zeros(12, dtype=int), matrix, 5.0).sum())
    (name,) = (variable.name for variable in model.value_vars)
    value, slope = model.compile_logp(mode="FAST_COMPILE"), model.compile_dlogp(mode="FAST_COMPILE")
    point = np.full(size * (size - 1) // 2, place) + 0.1 * np.arange(size * (size - 1) // 2)
    gradient = slope({name: point})
    assert np.isfinite(gradient).all()
    if place < 10:
        expected = central_difference(lambda changed: value({name: changed}), point)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)
