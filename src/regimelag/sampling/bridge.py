"""Log evidence of separated parts of a posterior by bridge sampling.

The unconstrained space is divided into cells, one around each part. The evidence of a cell is the integral of the
unnormalised posterior over it. Half of the cell's draws fit a normal proposal; the other half and draws from the
proposal give the iterative estimate of Meng & Wong (1996), Simulating ratios of normalizing constants via a simple
identity, Statistica Sinica 6:831-860. Both are made symmetric first (Warp-III of Meng & Schilling, 2002,
doi:10.1198/106186002457), which removes the skewness that a normal proposal lacks. The halves then change places, and
the two estimates are averaged. Monte Carlo errors follow Fruehwirth-Schnatter (2004),
doi:10.1111/j.1368-423X.2004.00125.x, with the effective sample size of the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy import linalg
from scipy.special import logsumexp

LogPosterior = Callable[[np.ndarray], float]

# Draws that are evaluated from each half of a cell, and draws from its proposal for each of them.
MOST_DRAWS, PROPOSED = 1000, 2
ROUNDS, TOLERANCE = 1000, 1e-10


class Evidence(NamedTuple):
    """Log evidence of a cell and its Monte Carlo error, both in nats."""

    log: float
    error: float


class Normal(NamedTuple):
    """A normal distribution over points: mean (parameter), Cholesky factor (parameter, parameter)."""

    mean: np.ndarray
    factor: np.ndarray

    def standardized(self, points: np.ndarray) -> np.ndarray:
        """Points (..., parameter) in the coordinates in which the distribution is standard normal."""
        flat = (points - self.mean).reshape(-1, len(self.mean))
        return linalg.solve_triangular(self.factor, flat.T, lower=True).T.reshape(points.shape)

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Log density at points (..., parameter)."""
        return _log_standard_normal(self.standardized(points)) - np.log(np.diag(self.factor)).sum()


def normal_of(points: np.ndarray) -> Normal:
    """Normal distribution with the mean and covariance of points (draw, parameter)."""
    covariance = np.atleast_2d(np.cov(points, rowvar=False))
    # A parameter that hardly moves in few draws must not make the covariance singular.
    covariance[np.diag_indices_from(covariance)] *= 1 + 1e-6
    return Normal(points.mean(axis=0), linalg.cholesky(covariance, lower=True))


def nearest_cells(points: np.ndarray, parts: Sequence[Normal]) -> np.ndarray:
    """Cell of each point (...) of points (..., parameter): the part under which its normal density is largest."""
    return np.argmax([part.log_density(points) for part in parts], axis=0)


def evidence_of(
    log_posterior: LogPosterior, points: np.ndarray, parts: Sequence[Normal], cell: int, rng: np.random.Generator
) -> Evidence:
    """Log evidence of a cell.

    Parameters
    ----------
    log_posterior : callable
        Unnormalised log posterior of a point (parameter), with the Jacobian of the transform.
    points : ndarray
        (chain, draw, parameter) draws of chains in this cell. Draws outside it are left out.
    parts : sequence of Normal
        The distributions that define the cells.
    cell : int
        Index of the cell.
    rng : numpy.random.Generator
        For the proposals.
    """

    def log_target(point: np.ndarray) -> float:
        if len(parts) > 1 and nearest_cells(point, parts) != cell:
            return -np.inf
        value = log_posterior(point)
        return value if np.isfinite(value) else -np.inf

    middle = points.shape[1] // 2
    first, second = points[:, :middle], points[:, middle:]
    inside = [nearest_cells(half, parts) == cell for half in (first, second)]
    estimates = [
        _bridged(log_target, normal_of(fitted[within]), other, held, rng)
        for (fitted, within), (other, held) in (
            ((first, inside[0]), (second, inside[1])),
            ((second, inside[1]), (first, inside[0])),
        )
    ]
    return Evidence(
        float(np.mean([one.log for one in estimates])), float(np.sqrt(np.mean([one.error**2 for one in estimates]) / 2))
    )


def _bridged(
    log_target: LogPosterior, proposal: Normal, points: np.ndarray, inside: np.ndarray, rng: np.random.Generator
) -> Evidence:
    """Bridge sampling between draws (chain, draw, parameter) and proposals, both made symmetric around the mean."""
    step = max(1, int(np.ceil(points.shape[0] * points.shape[1] / MOST_DRAWS)))
    points, inside = points[:, ::step], inside[:, ::step]
    chains, draws, size = points.shape
    signs = rng.choice([-1.0, 1.0], size=(chains, draws, 1))
    z_drawn = signs * proposal.standardized(points)
    z_proposed = rng.standard_normal((PROPOSED * chains * draws, size))
    log_scale = float(np.log(np.diag(proposal.factor)).sum())

    def log_ratio(z: np.ndarray) -> float:
        step = proposal.factor @ z
        both = np.logaddexp(log_target(proposal.mean + step), log_target(proposal.mean - step))
        return float(both - np.log(2.0) + log_scale - _log_standard_normal(z))

    drawn = np.full((chains, draws), np.nan)
    drawn[inside] = [log_ratio(z) for z in z_drawn[inside]]
    proposed = np.array([log_ratio(z) for z in z_proposed])
    return _iterated(drawn, proposed)


def _iterated(drawn: np.ndarray, proposed: np.ndarray) -> Evidence:
    """Optimal bridge estimate from log ratios of target to proposal.

    Parameters
    ----------
    drawn : ndarray
        (chain, draw) at draws of the target; NaN at draws outside the cell.
    proposed : ndarray
        (proposal) at draws of the proposal; minus infinity outside the cell.
    """
    held = drawn[np.isfinite(drawn)]
    center = float(np.median(held))
    effective, log_evidence = float(len(held)), center

    def shares(ratios: np.ndarray, log_evidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of target and of proposal over their mixture, with the target normalised."""
        own, other = np.log(effective), np.log(len(proposed))
        # Draws outside the cell are NaN.
        with np.errstate(invalid="ignore"):
            mixture = np.logaddexp(own + ratios - log_evidence, other) - np.log(effective + len(proposed))
        return ratios - log_evidence - mixture, -mixture

    for again in range(2):
        for _ in range(ROUNDS):
            numerator = logsumexp(shares(proposed, log_evidence)[0]) - np.log(len(proposed))
            denominator = logsumexp(shares(held, log_evidence)[1]) - np.log(len(held))
            change = float(numerator - denominator)
            log_evidence += change
            if abs(change) < TOLERANCE:
                break
        of_proposed = np.exp(shares(proposed, log_evidence)[0])
        of_drawn = np.exp(shares(drawn, log_evidence)[1])
        series = np.where(np.isfinite(of_drawn), of_drawn, np.nanmean(of_drawn))
        if again == 0:
            # Correlated draws count as their effective number in the optimal weights, too.
            effective = float(np.clip(_effective_size(series), 2.0, len(held)))
    relative = np.var(of_proposed) / (len(proposed) * np.mean(of_proposed) ** 2)
    relative += np.nanvar(of_drawn) / (effective * np.nanmean(of_drawn) ** 2)
    return Evidence(log_evidence, float(np.sqrt(relative)))


def _effective_size(series: np.ndarray) -> float:
    return float(array_stats.ess(series, chain_axis=0, draw_axis=1, method="mean"))


def _log_standard_normal(z: np.ndarray) -> np.ndarray:
    return -0.5 * (z**2).sum(axis=-1) - 0.5 * z.shape[-1] * np.log(2 * np.pi)
