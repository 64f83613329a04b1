"""Modes of a posterior from many starting points, with weights by Laplace's approximation.

A chain can stay in a minor mode without divergences. Chains therefore start dispersed in the modes with weight, and the
catalogue of modes is stored in the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

from regimelag.errors import FitError

ValueAndGradient = Callable[[np.ndarray], tuple[float, np.ndarray]]

# Two optima are one mode if they are this close in log posterior and in location, in standard deviations of the Laplace
# approximation. The tolerance of L-BFGS is far smaller.
SAME_HEIGHT, SAME_PLACE = 0.1, 0.5
# No chain starts in a mode below this share of the largest weight.
NEGLIGIBLE = 0.01
# Number of optimisations that decide whether draws have reached a mode, and the share that must.
CLIMBS, SOME = 20, 0.25
# Starting points are dispersed by this multiple of the Laplace standard deviations, wider than the posterior, as R-hat
# requires.
DISPERSION = 1.5


class Mode(NamedTuple):
    """A local maximum of the log posterior on the unconstrained scale.

    Attributes
    ----------
    point : ndarray
        (parameter) location.
    log_posterior : float
        Log posterior there, including the Jacobian of the transform.
    log_evidence : float
        Laplace's approximation of the log probability mass around it.
    spread : ndarray
        (parameter, parameter) square root of the inverse negative Hessian.
    starts : int
        Number of starting points that converged to it.
    """

    point: np.ndarray
    log_posterior: float
    log_evidence: float
    spread: np.ndarray
    starts: int


def find_modes(value_and_gradient: ValueAndGradient, starts: Sequence[np.ndarray]) -> list[Mode]:
    """Maximise from every starting point and return the distinct maxima in descending order of mass.

    Raises
    ------
    FitError
        If the log posterior is not finite at any starting point.
    """
    modes: list[Mode] = []
    for start in starts:
        point, height = _climb(value_and_gradient, start)
        if not np.isfinite(height):
            continue
        known = _matching(modes, point, height)
        if known is None:
            modes.append(_laplace(value_and_gradient, point, height))
        else:
            modes[known] = modes[known]._replace(starts=modes[known].starts + 1)
    if not modes:
        raise nowhere_finite(f"none of {len(starts)}")
    return sorted(modes, key=lambda mode: -mode.log_evidence)


def nowhere_finite(came: str) -> FitError:
    """Error of a log posterior that no starting point suits."""
    return FitError(
        "starting points",
        "the log posterior is finite at one starting point at least",
        came,
        "see which terms are not finite: model.point_logps(), for a fit with model = regimelag.build_model(spec, "
        "panel); correct that prior or those data",
    )


def is_reached(
    modes: Sequence[Mode],
    place: int,
    value_and_gradient: ValueAndGradient,
    draws: Sequence[np.ndarray],
    seed: int,
) -> bool:
    """Whether draws have reached the mass of a mode to which few or no draws are nearest.

    A maximum can lie away from the mass around it, and its Laplace approximation can have mass where the posterior has
    none. Therefore optimisations decide: draws have reached the mode if those closest to it converge to it, and a mode
    has no mass of its own if points of its Laplace approximation converge elsewhere.

    Parameters
    ----------
    modes : sequence of Mode
        All modes.
    place : int
        Index of the mode in question.
    value_and_gradient : callable
        Log posterior and its gradient.
    draws : sequence of ndarray
        (parameter) each, the draws closest to the mode; none if draws are no evidence.
    seed : int
        Seed for draws from the Laplace approximation.
    """
    rng = np.random.default_rng(seed)
    own = [_scattered(modes[place], value_and_gradient, 1.0, rng) for _ in range(CLIMBS)]

    def share(points: Sequence[np.ndarray]) -> float:
        return float(np.mean([_matching(modes, *_climb(value_and_gradient, point)) == place for point in points]))

    return (len(draws) > 0 and share(draws) >= SOME) or share(own) < SOME


def mode_weights(modes: Sequence[Mode]) -> np.ndarray:
    """Posterior weights of the modes (mode) by Laplace's approximation, with sum one."""
    evidence = np.array([mode.log_evidence for mode in modes])
    mass = np.exp(evidence - evidence.max())
    return mass / mass.sum()


def start_weights(modes: Sequence[Mode]) -> np.ndarray:
    """Probabilities that a chain starts in each mode (mode): weights without negligible modes."""
    weights = mode_weights(modes)
    weights = np.where(weights < NEGLIGIBLE * weights.max(), 0.0, weights)
    return weights / weights.sum()


def dispersed_start(modes: Sequence[Mode], value_and_gradient: ValueAndGradient, seed: int) -> np.ndarray:
    """Draw a mode by its weight and a point around it, determined by the seed."""
    rng = np.random.default_rng(seed)
    mode = modes[rng.choice(len(modes), p=start_weights(modes))]
    return _scattered(mode, value_and_gradient, DISPERSION, rng)


def _scattered(
    mode: Mode, value_and_gradient: ValueAndGradient, dispersion: float, rng: np.random.Generator
) -> np.ndarray:
    """A point around a mode, dispersed by a multiple of the Laplace standard deviations."""
    step = dispersion * mode.spread @ rng.standard_normal(len(mode.point))
    # Laplace is poor in the tails: halve the step until the point is plausible under the posterior.
    floor = mode.log_posterior - 2.0 * dispersion**2 * len(mode.point)
    for _ in range(20):
        height, gradient = value_and_gradient(mode.point + step)
        if np.isfinite(height) and np.all(np.isfinite(gradient)) and height > floor:
            return mode.point + step
        step = step / 2
    return mode.point


def _climb(value_and_gradient: ValueAndGradient, start: np.ndarray) -> tuple[np.ndarray, float]:
    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(x)
        if not np.isfinite(value) or not np.all(np.isfinite(gradient)):
            return 1e100, np.zeros_like(x)
        return -float(value), -gradient

    found = optimize.minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 3000, "maxfun": 6000, "gtol": 1e-6, "ftol": 1e-13},
    )
    return found.x, -found.fun if found.fun < 1e99 else -np.inf  # noqa: PLR2004


def _matching(modes: Sequence[Mode], point: np.ndarray, height: float) -> int | None:
    for n, mode in enumerate(modes):
        if abs(mode.log_posterior - height) < SAME_HEIGHT:
            away = np.linalg.lstsq(mode.spread, point - mode.point, rcond=None)[0]
            if np.linalg.norm(away) < SAME_PLACE * np.sqrt(len(point)):
                return n
    return None


def _laplace(value_and_gradient: ValueAndGradient, point: np.ndarray, height: float) -> Mode:
    """Hessian by central differences of the gradient; flat directions get unit variance, as a priori."""
    size, h = len(point), 1e-4
    hessian = np.empty((size, size))
    for n in range(size):
        step = np.zeros(size)
        step[n] = h
        hessian[n] = (value_and_gradient(point + step)[1] - value_and_gradient(point - step)[1]) / (2 * h)
    hessian = np.nan_to_num(hessian)
    curvature, axes = np.linalg.eigh(-(hessian + hessian.T) / 2)
    curvature = np.where(curvature > 1e-3, curvature, 1.0)  # noqa: PLR2004
    evidence = height + 0.5 * size * np.log(2 * np.pi) - 0.5 * np.log(curvature).sum()
    return Mode(point, float(height), float(evidence), axes / np.sqrt(curvature), 1)
