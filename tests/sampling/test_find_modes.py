"""The search for modes, on densities whose modes and masses are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import regimelag as rl
from regimelag.sampling.modes import DISPERSION, dispersed_start, find_modes, mode_weights


def normal(mean, covariance):
    """Log density, unnormalised by a constant of 3, and its gradient."""
    law, precision = stats.multivariate_normal(mean, covariance), np.linalg.inv(covariance)
    return lambda x: (float(law.logpdf(x)) + 3.0, -precision @ (x - mean))


def mixture(shares, laws):
    def value_and_gradient(x):
        values, gradients = zip(*(law(x) for law in laws), strict=True)
        terms = np.log(shares) + np.array(values)
        total = np.logaddexp.reduce(terms)
        return float(total), np.exp(terms - total) @ np.array(gradients)

    return value_and_gradient


COVARIANCE = np.array([[2.0, 0.6], [0.6, 0.5]])
MEAN = np.array([1.0, -2.0])
LEFT, RIGHT = np.array([-6.0, 0.0]), np.array([6.0, 2.0])
# Equal heights times different widths: weights are the shares, not the heights.
SHARES = np.array([0.3, 0.7])
MIXTURE = mixture(SHARES, [normal(LEFT, np.eye(2)), normal(RIGHT, COVARIANCE)])


def starts(count, seed=0, spread=6.0):
    return list(spread * np.random.default_rng(seed).standard_normal((count, 2)))


def test_a_normal_has_one_mode_with_exact_evidence():
    (mode,) = find_modes(normal(MEAN, COVARIANCE), starts(10))
    np.testing.assert_allclose(mode.point, MEAN, atol=1e-4)
    np.testing.assert_allclose(mode.spread @ mode.spread.T, COVARIANCE, rtol=1e-5, atol=1e-5)
    assert mode.log_evidence == pytest.approx(3.0, abs=1e-5)
    assert mode.log_posterior == pytest.approx(3.0 + stats.multivariate_normal(MEAN, COVARIANCE).logpdf(MEAN), abs=1e-8)
    assert mode.starts == 10


def test_both_modes_of_a_mixture_are_found_with_their_weights():
    modes = find_modes(MIXTURE, starts(20))
    assert len(modes) == 2
    np.testing.assert_allclose(modes[0].point, RIGHT, atol=0.01)
    np.testing.assert_allclose(modes[1].point, LEFT, atol=0.01)
    np.testing.assert_allclose(mode_weights(modes), SHARES[::-1], rtol=0.05)
    assert sum(mode.starts for mode in modes) == 20
    assert min(mode.starts for mode in modes) > 0


def test_modes_of_equal_height_in_different_places_stay_apart():
    modes = find_modes(mixture([0.5, 0.5], [normal(LEFT, np.eye(2)), normal(RIGHT, np.eye(2))]), [LEFT + 1, RIGHT - 1])
    assert len(modes) == 2
    np.testing.assert_allclose(mode_weights(modes), 0.5, rtol=1e-6)


def test_starts_outside_the_support_are_passed_over():
    inner = normal(MEAN, COVARIANCE)

    def walled(x):
        return inner(x) if x[0] > -3 else (np.nan, np.full(2, np.nan))

    (mode,) = find_modes(walled, [np.array([-10.0, 0.0]), np.array([4.0, 0.0]), np.array([-5.0, 3.0])])
    np.testing.assert_allclose(mode.point, MEAN, atol=1e-4)
    assert mode.starts == 1


def test_infinite_gradients_are_no_better_than_nan():
    inner = normal(MEAN, COVARIANCE)

    def broken(x):
        value, gradient = inner(x)
        return (value, gradient) if x[1] < 3 else (value, np.full(2, np.inf))

    (mode,) = find_modes(broken, [np.array([0.0, 9.0]), np.array([0.0, 0.0])])
    np.testing.assert_allclose(mode.point, MEAN, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_nothing_finite_is_refused(value):
    with pytest.raises(rl.errors.FitError, match="finite") as caught:
        find_modes(lambda x: (value, np.zeros(2)), starts(5))
    assert "none of 5" in caught.value.came


def test_flat_directions_do_no_harm():
    modes = find_modes(lambda x: (-0.5 * x[0] ** 2, np.array([-x[0], 0.0])), [np.array([3.0, 0.0])])
    assert len(modes) == 1
    assert np.all(np.isfinite(modes[0].spread))
    assert np.isfinite(modes[0].log_evidence)


def test_dispersed_starts_follow_the_seed():
    modes = find_modes(MIXTURE, starts(20))
    one, same, other = (dispersed_start(modes, MIXTURE, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_dispersed_starts_cover_the_modes_by_their_weight_and_wider_than_they_are():
    modes = find_modes(MIXTURE, starts(20))
    points = np.array([dispersed_start(modes, MIXTURE, seed) for seed in range(2000)])
    near_left = np.linalg.norm(points - LEFT, axis=1) < np.linalg.norm(points - RIGHT, axis=1)
    share = mode_weights(modes)[1]
    assert abs(near_left.mean() - share) < 4.5 * np.sqrt(share * (1 - share) / 2000)
    for here, law in ((near_left, np.eye(2)), (~near_left, COVARIANCE)):
        spread = np.sqrt(np.diag(np.cov(points[here].T)) / np.diag(law))
        # Wider than the posterior; a few steps are halved, so not quite the full dispersion.
        assert np.all(spread > 1.1)
        assert np.all(spread < DISPERSION * (1 + 4.5 / np.sqrt(2 * here.sum())))


def test_modes_of_no_weight_get_no_chain():
    lopsided = mixture([1e-5, 1 - 1e-5], [normal(LEFT, np.eye(2)), normal(RIGHT, np.eye(2))])
    modes = find_modes(lopsided, [LEFT, RIGHT])
    assert len(modes) == 2
    points = np.array([dispersed_start(modes, lopsided, seed) for seed in range(300)])
    assert np.all(points[:, 0] > 0)


def test_starts_stay_where_the_density_is_finite():
    inner = normal(MEAN, COVARIANCE)

    def walled(x):
        return inner(x) if x[0] > 0.9 else (np.nan, np.full(2, np.nan))

    modes = find_modes(inner, [MEAN + 1])
    for seed in range(200):
        assert dispersed_start(modes, walled, seed)[0] > 0.9
