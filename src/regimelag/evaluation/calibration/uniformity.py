"""Whether ranks are uniform: a simultaneous test of their distribution function, and Holm's adjustment."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

# Sets of uniform ranks that a p-value is compared with: the smallest possible one is 1 / (SETS + 1).
SETS = 20_000


def ecdf_p_values(values: np.ndarray, *, bins: int, unknown: int = 0) -> np.ndarray:
    """P-values of uniformity on (0, 1), exact in the sense of a Monte Carlo test.

    At each of the points 1 / bins, 2 / bins, ... the number of values below is binomial. The statistic is the smallest
    of the two-sided binomial p-values, compared with its distribution under uniform values: the ranks leave the
    simultaneous bands of Saeilynoja, Buerkner & Vehtari (2022), doi:10.1007/s11222-022-10090-6, just if this p-value is
    small.

    Parameters
    ----------
    values : ndarray
        (run, quantity).
    bins : int
        Number of equal intervals; one more than the draws that a rank was taken among.
    unknown : int
        Runs without a value. They are counted where they make the p-value smallest: all below, or all above the rest.

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
    # Ties are exact but for rounding.
    return (1 + np.searchsorted(distribution, statistic * (1 + 1e-9), side="right")) / (SETS + 1)


def ecdf_band(runs: int, *, bins: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simultaneous band of the distribution function of uniform values.

    Parameters
    ----------
    runs : int
        Number of values.
    bins : int
        Number of equal intervals between whose edges the function is looked at.
    level : float
        Probability that the function of uniform values leaves the band at any edge.

    Returns
    -------
    points, low, high : ndarray
        (bins - 1): the inner edges, and the smallest and largest share below that lies within the band.
    """
    tail, distribution = _null(runs, bins)
    inside = tail > np.quantile(distribution, level)
    low, high = inside.argmax(axis=1), runs - inside[:, ::-1].argmax(axis=1)
    return np.arange(1, bins) / bins, low / runs, high / runs


@lru_cache(maxsize=8)
def _null(runs: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided binomial p-values (point, count), and the sorted statistics of uniform sets."""
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
    """P-values adjusted for their number, whatever their dependence.

    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 65-70.
    """
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
