"""Kernels with a parameter for each lag: Dirichlet, smooth and unrestricted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from regimelag.errors import require
from regimelag.spec import names as nm
from regimelag.spec.kernels.base import LagKernel, lags, softmax
from regimelag.spec.kernels.location_scale import gamma_weights
from regimelag.spec.priors import Prior

Array = Any


@dataclass(frozen=True)
class Dirichlet(LagKernel):
    """Free weights on the simplex, around a gamma hump.

    With base weights p and concentration k, the mean lag has prior variance V / (k + 1), where V is the variance of the
    lag under p. The concentration follows from ``mean_lag_sd``.

    Parameters
    ----------
    mean_lag, mean_lag_sd : float
        Prior mean and standard deviation of the mean lag, in periods.
    spread : float
        Standard deviation of the gamma hump, in periods.
    """

    kind: ClassVar[str] = "dirichlet"
    latex: ClassVar[str] = r"(w_1, \dots, w_L) \sim \mathrm{Dirichlet}(a)"
    symbols: ClassVar[Mapping[str, str]] = {"weights": "w_l"}
    words: ClassVar[Mapping[str, str]] = {"weights": "the weights themselves"}

    mean_lag_sd: float = 1.5

    def _base(self, max_lag: int) -> tuple[np.ndarray, float]:
        base = gamma_weights(np.float64(self.mean_lag), np.float64(self.spread), max_lag, np)
        lag = lags(max_lag)
        variance = base @ lag**2 - (base @ lag) ** 2
        return base, variance / self.mean_lag_sd**2 - 1

    def validate(self, max_lag: int) -> None:
        """Also require a positive concentration."""
        super().validate(max_lag)
        _, concentration = self._base(max_lag)
        limit = self.mean_lag_sd * np.sqrt(concentration + 1)
        require(
            concentration > 0,
            f"a {self.kind} kernel",
            f"mean_lag_sd is below the spread of the base weights, {limit:.3g}",
            f"mean_lag_sd = {self.mean_lag_sd}",
            f"write mean_lag_sd = {limit / 2:.2g}, or use a gamma kernel, whose mean lag is free",
        )

    def priors(self, max_lag: int) -> dict[str, Prior]:
        """Dirichlet prior on the weights."""
        base, concentration = self._base(max_lag)
        return {"weights": Prior("Dirichlet", a=concentration * base, dims=(nm.LAG,))}

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """The parameter itself (..., lag)."""
        return parameters["weights"]


def random_walk(innovations: Array, xp: Any) -> Array:
    """Random walk over the last axis, centred so that it sums to zero."""
    walk = xp.cumsum(innovations, axis=-1)
    return walk - xp.mean(walk, axis=-1, keepdims=True)


@dataclass(frozen=True)
class RandomWalkKernel(LagKernel):
    """Base class of kernels that add a random walk over lags to a gamma hump, so that weights are smooth.

    Parameters
    ----------
    mean_lag, spread : float
        Mean and standard deviation of the gamma hump, in periods.
    roughness : float
        Scale of the half-normal prior of the standard deviation of the walk's steps.
    """

    symbols: ClassVar[Mapping[str, str]] = {"roughness": r"\rho", "innovation": r"\Delta r_l"}
    words: ClassVar[Mapping[str, str]] = {
        "roughness": "how far neighbouring lags differ",
        "innovation": "steps of the walk",
    }

    roughness: float = 0.3

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Half-normal prior on the roughness, standard normal innovations."""
        return {
            "roughness": Prior("HalfNormal", sigma=self.roughness),
            "innovation": Prior("Normal", mu=0.0, sigma=1.0, dims=(nm.LAG,)),
        }

    def _walk(self, parameters: Mapping[str, Array], xp: Any) -> Array:
        return parameters["roughness"][..., None] * random_walk(parameters["innovation"], xp)

    def _hump(self, max_lag: int) -> np.ndarray:
        return gamma_weights(np.float64(self.mean_lag), np.float64(self.spread), max_lag, np)


@dataclass(frozen=True)
class Smooth(RandomWalkKernel):
    """Softmax of a Gaussian random walk around the log of a gamma hump.

    Parameters
    ----------
    mean_lag, spread : float
        Mean and standard deviation of the gamma hump, in periods.
    roughness : float
        Scale of the half-normal prior of the standard deviation of the walk's steps, on the log scale.
    """

    kind: ClassVar[str] = "smooth"
    latex: ClassVar[str] = r"w_l \propto p_l \exp(\rho\, r_l), \quad r_l \text{ a centred random walk over lags}"

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Weights (..., lag)."""
        return softmax(np.log(self._hump(max_lag)) + self._walk(parameters, xp), xp)


@dataclass(frozen=True)
class Unrestricted(RandomWalkKernel):
    """One signed coefficient per lag: effect times a gamma hump, plus a random walk with sum zero.

    The effect remains the cumulative effect, and the impulse response may overshoot. The smoothness prior follows
    Shiller (1973).

    Parameters
    ----------
    mean_lag, spread : float
        Mean and standard deviation of the gamma hump, in periods.
    roughness : float
        Scale of the half-normal prior of the standard deviation of the walk's steps, in standardised units of effect
        per lag.
    """

    kind: ClassVar[str] = "unrestricted"
    latex: ClassVar[str] = r"w_l = p_l, \quad d_l = \rho\, r_l, \quad r_l \text{ a centred random walk over lags}"

    roughness: float = 0.05

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """The gamma hump (lag), the same for all draws."""
        return self._hump(max_lag) + 0.0 * parameters["roughness"][..., None]

    def signed_deviation(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """The random walk (..., lag)."""
        return self._walk(parameters, xp)
