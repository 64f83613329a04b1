"""The simultaneous test of uniform ranks against ArviZ's bands, its own law, and statsmodels' Holm."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.ecdf_utils import ecdf_pit
from scipy import stats

from regimelag.evaluation.calibration.uniformity import ecdf_p_values, holm


def test_p_values_say_what_simultaneous_bands_say():
    rng = np.random.default_rng(1)
    runs, sets = 100, 400
    # From uniform to plainly not: ranks near the threshold of the bands and on both sides of it.
    values = rng.beta(np.linspace(1.0, 1.8, sets), 1.0, size=(runs, sets))
    p_values = ecdf_p_values(values, bins=runs)
    points, _, lower, upper = ecdf_pit(values[:, 0], 0.95, 5_000)
    ecdf = (values[:, :, None] <= points).mean(axis=0)
    inside = np.all((ecdf >= lower) & (ecdf <= upper), axis=1)
    assert inside.any()
    assert not inside.all()
    # The two thresholds are simulated apart, so they may differ where the p-value is close to 0.05.
    clear = np.abs(p_values - 0.05) > 0.02
    np.testing.assert_array_equal(inside[clear], p_values[clear] > 0.05)


@pytest.mark.parametrize("bins", [20, 100])
def test_p_values_of_uniform_ranks_are_uniform(bins):
    rng = np.random.default_rng(2)
    p_values = ecdf_p_values((rng.integers(0, bins, size=(60, 2000)) + rng.random((60, 2000))) / bins, bins=bins)
    for level in (0.01, 0.05, 0.2, 0.5):
        below = (p_values <= level).sum()
        # Discrete, so at most the level.
        assert stats.binomtest(below, 2000, level, alternative="greater").pvalue > 1e-4
        assert stats.binomtest(below, 2000, 0.6 * level, alternative="less").pvalue > 1e-4


def test_unknown_runs_are_counted_against():
    rng = np.random.default_rng(3)
    values = rng.random((100, 5))
    known = ecdf_p_values(values, bins=50)
    assert np.all(ecdf_p_values(values, bins=50, unknown=30) < 0.001)
    # Each way of placing them among the extremes is no worse than what is reported.
    few = ecdf_p_values(values, bins=50, unknown=5)
    for lowest in (0.0, 1.0):
        placed = np.concatenate([values, np.full((5, 5), lowest)])
        assert np.all(few <= ecdf_p_values(placed, bins=50))
    assert np.all((known > 0) & (known <= 1))


@pytest.mark.slow
def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="the group 'peers' is not installed")
    rng = np.random.default_rng(4)
    for size in (1, 2, 30):
        p_values = rng.beta(0.3, 1.0, size)
        np.testing.assert_allclose(holm(p_values), multitest.multipletests(p_values, method="holm")[1])
