"""Simultaneous test of the uniformity of ranks, and Holm's adjustment."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

# Number of simulated sets of uniform ranks; the smallest p value is 1 / (SETS + 1).
SETS = 20_000


def ecdf_p_values(values: np.ndarray, *, bins: int, unknown: int = 0) -> np.ndarray:
    """P values of uniformity on (0, 1), by an exact Monte Carlo test.

    At each of the points 1 / bins, 2 / bins, ... the number of values below is binomial. The statistic is the smallest
    two-sided binomial p value, compared with its distribution under uniformity. The p value is small if and only if the
    ranks leave the simultaneous bands of Saeilynoja, Buerkner & Vehtari (2022), doi:10.1007/s11222-022-10090-6.

    Parameters
    ----------
    values : ndarray
        (run, quantity).
    bins : int
        Number of equal intervals; one more than the number of ranked draws.
    unknown : int
        Number of runs without a value. They are placed below or above all others, whichever gives the smaller p value.

    Returns
    -------
    ndarray
        (quantity).
    """
    runs = len(values) + unknown
    tail, distribution = _null(runs, bins)
    points = np.arange(1, bins) / bins
    below = (values[:, None, :] <= points[None, :, None]).sum(axis=0)
    place = np.arange(bins - 1)[:, None]
    statistic = np.minimum(tail[place, below], tail[place, below + unknown]).min(axis=0)
    # The tolerance treats rounding differences as ties.
    return (1 + np.searchsorted(distribution, statistic * (1 + 1e-9), side="right")) / (SETS + 1)


def ecdf_band(runs: int, *, bins: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simultaneous band of the distribution function of uniform values.

    Parameters
    ----------
    runs : int
        Number of values.
    bins : int
        Number of equal intervals at whose edges the function is evaluated.
    level : float
        Probability that the function of uniform values leaves the band at any edge.

    Returns
    -------
    points, low, high : ndarray
        (bins - 1): the inner edges, and the bounds of the share below.
    """
    tail, distribution = _null(runs, bins)
    inside = tail > np.quantile(distribution, level)
    low, high = inside.argmax(axis=1), runs - inside[:, ::-1].argmax(axis=1)
    return np.arange(1, bins) / bins, low / runs, high / runs


@lru_cache(maxsize=8)
def _null(runs: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided binomial p values (point, count), and sorted statistics of uniform sets."""
    points, counts = np.arange(1, bins)[:, None] / bins, np.arange(runs + 1)
    distribution = stats.binom(runs, points)
    tail = np.minimum(1.0, 2.0 * np.minimum(distribution.cdf(counts), distribution.sf(counts - 1)))
    rng = np.random.default_rng(0)
    statistics = np.empty(SETS)
    for part in np.array_split(np.arange(SETS), 20):
        below = rng.multinomial(runs, np.full(bins, 1.0 / bins), size=len(part)).cumsum(axis=1)[:, :-1]
        statistics[part] = tail[np.arange(bins - 1), below].min(axis=1)
    return tail, np.sort(statistics)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values, valid under any dependence.

    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 65-70.
    """
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
