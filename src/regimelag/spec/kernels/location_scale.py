"""Kernels with a mean lag and a spread: gamma, log-normal, negative binomial and beta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from regimelag.errors import require
from regimelag.spec.kernels.base import LagKernel, lags, log_normal, softmax
from regimelag.spec.priors import Prior

Array = Any


def gamma_weights(mean: Array, spread: Array, max_lag: int, xp: Any) -> Array:
    """Softmax of the gamma log density with the given mean and standard deviation, at the lag midpoints.

    With shape a = (mean / spread)^2 and rate a / mean the log density is (a - 1) log l - (a / mean) l, up to a constant
    that the softmax removes.
    """
    shape = (mean / spread) ** 2
    lag = lags(max_lag)
    return softmax((shape - 1)[..., None] * np.log(lag) - (shape / mean)[..., None] * lag, xp)


@dataclass(frozen=True)
class LocationScaleKernel(LagKernel):
    """Base class of kernels with free mean lag and spread.

    Parameters
    ----------
    mean_lag, mean_lag_sd : float
        Prior mean and standard deviation of the mean lag before truncation to 1..L, in periods.
    spread, spread_sd : float
        Prior mean and standard deviation of the standard deviation of the lag weights, in periods.
    """

    movable: ClassVar[bool] = True
    # Name of the location parameter.
    located: ClassVar[str] = "location"
    symbols: ClassVar[Mapping[str, str]] = {"location": "m", "spread": r"\varsigma"}
    words: ClassVar[Mapping[str, str]] = {
        "location": "mean lag before it is cut off at L, in periods",
        "spread": "standard deviation of the lag weights, in periods",
    }

    mean_lag_sd: float = 5.0
    spread_sd: float = 2.0

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Log-normal priors on location (mean lag before truncation) and spread."""
        return {
            "location": log_normal(self.mean_lag, self.mean_lag_sd),
            "spread": log_normal(self.spread, self.spread_sd),
        }

    def shift_location(self, parameters: Mapping[str, Array], deviation: Array, xp: Any = np) -> dict[str, Array]:
        """The location times the exponential of the deviation."""
        return dict(parameters) | {self.located: parameters[self.located] * xp.exp(deviation)}


@dataclass(frozen=True)
class Gamma(LocationScaleKernel):
    """Gamma hump: softmax of the gamma log density at the lag midpoints.

    Parameters
    ----------
    mean_lag, mean_lag_sd : float
        Prior mean and standard deviation of the mean lag before truncation to 1..L, in periods.
    spread, spread_sd : float
        Prior mean and standard deviation of the standard deviation of the lag weights, in periods.
    """

    kind: ClassVar[str] = "gamma"
    latex: ClassVar[str] = r"w_l \propto l^{\kappa - 1} e^{-\kappa l / m}, \quad \kappa = (m / \varsigma)^2"

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Gamma weights (..., lag)."""
        return gamma_weights(parameters["location"], parameters["spread"], max_lag, xp)


@dataclass(frozen=True)
class LogNormal(LocationScaleKernel):
    """Log-normal hump, with a heavier right tail than the gamma.

    Parameters
    ----------
    mean_lag, mean_lag_sd : float
        Prior mean and standard deviation of the mean lag before truncation to 1..L, in periods.
    spread, spread_sd : float
        Prior mean and standard deviation of the standard deviation of the lag weights, in periods.
    """

    kind: ClassVar[str] = "lognormal"
    latex: ClassVar[str] = (
        r"w_l \propto \frac{1}{l} \exp\left(-\frac{(\log l - \log m + q / 2)^2}{2 q}\right), "
        r"\quad q = \log\left(1 + (\varsigma / m)^2\right)"
    )

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Log-normal weights (..., lag); mean and spread are converted to those of the log lag."""
        location, spread = parameters["location"], parameters["spread"]
        sigma2 = xp.log1p((spread / location) ** 2)
        mu = xp.log(location) - sigma2 / 2
        log_lag = np.log(lags(max_lag))
        return softmax(-log_lag - (log_lag - mu[..., None]) ** 2 / (2 * sigma2[..., None]), xp)


@dataclass(frozen=True)
class NegativeBinomial(LocationScaleKernel):
    """Negative binomial on l - 1 = 0, 1, ..., with a spread above that of the Poisson distribution.

    The variance is m + e^2, with m = mean lag - 1. The free parameter is the excess e. Its prior is set so that the
    spread has the stated mean at the prior mean lag.

    Parameters
    ----------
    mean_lag, mean_lag_sd : float
        Prior mean and standard deviation of the mean lag before truncation to 1..L, in periods.
    spread, spread_sd : float
        Prior mean and standard deviation of the standard deviation of the lag weights, in periods.
    """

    kind: ClassVar[str] = "negative_binomial"
    located: ClassVar[str] = "excess_location"
    latex: ClassVar[str] = (
        r"w_l \propto \frac{\Gamma(l - 1 + r)}{\Gamma(l)} \left(\frac{m}{m + r}\right)^{l - 1}, "
        r"\quad r = (m / \varsigma)^2"
    )
    symbols: ClassVar[Mapping[str, str]] = {"excess_location": "m", "excess_spread": r"\varsigma"}
    words: ClassVar[Mapping[str, str]] = {
        "excess_location": "mean lag less one, in periods",
        "excess_spread": "spread beyond that of a Poisson distribution, in periods",
    }

    def validate(self, max_lag: int) -> None:
        """Also require a mean lag above one, and a spread above the Poisson limit."""
        super().validate(max_lag)
        require(
            self.mean_lag > 1,
            f"a {self.kind} kernel",
            "mean_lag exceeds 1, the smallest lag",
            f"mean_lag = {self.mean_lag}",
            "write mean_lag = 2, or use a gamma kernel",
        )
        floor = np.sqrt(self.mean_lag - 1)
        require(
            self.spread > floor,
            f"a {self.kind} kernel",
            f"spread exceeds sqrt(mean_lag - 1) = {floor:.3g}, the Poisson limit",
            f"spread = {self.spread}",
            f"write spread = {1.5 * floor:.3g}, or use a gamma kernel, whose spread is free",
        )

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Log-normal priors on mean lag minus one and on the excess spread."""
        excess = np.sqrt(self.spread**2 - (self.mean_lag - 1))
        return {
            "excess_location": log_normal(self.mean_lag - 1, self.mean_lag_sd),
            "excess_spread": log_normal(excess, self.spread_sd),
        }

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Negative binomial weights (..., lag), by the recurrence p(n) / p(n - 1) = q (n - 1 + r) / n."""
        mean, excess = parameters["excess_location"], parameters["excess_spread"]
        size = (mean / excess) ** 2
        log_q = xp.log(mean) - xp.log(mean + size)
        n = lags(max_lag)[:-1]
        steps = log_q[..., None] + xp.log((n - 1 + size[..., None]) / n)
        start = 0.0 * log_q[..., None]
        return softmax(xp.concatenate([start, xp.cumsum(steps, axis=-1)], axis=-1), xp)


@dataclass(frozen=True)
class Beta(LocationScaleKernel):
    """MIDAS two-parameter beta weights, monotone or humped.

    The lag fraction f = (mean lag - 1/2) / L has a beta prior with the stated mean and standard deviation. The
    concentration n, with spread^2 = L^2 f (1 - f) / (n + 1), has a log-normal prior whose median gives the stated
    spread at the prior mean lag, and whose log standard deviation is 2 spread_sd / spread. Ghysels, Sinko & Valkanov
    (2007), doi:10.1080/07474930600972467.

    Parameters
    ----------
    mean_lag, mean_lag_sd : float
        Prior mean and standard deviation of the mean lag, in periods.
    spread, spread_sd : float
        Prior mean and standard deviation of the standard deviation of the lag weights, in periods.
    """

    kind: ClassVar[str] = "beta"
    latex: ClassVar[str] = r"w_l \propto u_l^{f n - 1} (1 - u_l)^{(1 - f) n - 1}, \quad u_l = (l - 1/2) / L"
    symbols: ClassVar[Mapping[str, str]] = {"fraction": "f", "concentration": "n"}
    words: ClassVar[Mapping[str, str]] = {
        "fraction": "mean lag less one half, as a share of L",
        "concentration": "how narrow the weights are",
    }
    location_latex: ClassVar[str] = "f / (1 - f)"

    def _fraction(self, max_lag: int) -> tuple[float, float]:
        return (self.mean_lag - 0.5) / max_lag, self.mean_lag_sd / max_lag

    def validate(self, max_lag: int) -> None:
        """Also require that a beta distribution on (0, L) can have the stated standard deviations."""
        super().validate(max_lag)
        mean, _ = self._fraction(max_lag)
        ceiling = max_lag * np.sqrt(mean * (1 - mean))
        for name in ("mean_lag_sd", "spread"):
            value = getattr(self, name)
            require(
                value < ceiling,
                f"a {self.kind} kernel",
                f"{name} is below {ceiling:.3g}, the most a beta distribution with this mean can have",
                f"{name} = {value}",
                f"write {name} = {ceiling / 2:.2g}, or use a gamma kernel",
            )

    def priors(self, max_lag: int) -> dict[str, Prior]:
        """Beta prior on the lag fraction, log-normal prior on the concentration."""
        mean, sd = self._fraction(max_lag)
        total = mean * (1 - mean) / sd**2 - 1
        concentration = mean * (1 - mean) * (max_lag / self.spread) ** 2 - 1
        return {
            "fraction": Prior("Beta", alpha=mean * total, beta=(1 - mean) * total),
            "concentration": Prior(
                "LogNormal", mu=float(np.log(concentration)), sigma=2 * self.spread_sd / self.spread
            ),
        }

    def shift_location(self, parameters: Mapping[str, Array], deviation: Array, xp: Any = np) -> dict[str, Array]:
        """Multiply the odds of the fraction by the exponential of the deviation, so that it stays below one."""
        odds = parameters["fraction"] / (1 - parameters["fraction"]) * xp.exp(deviation)
        return dict(parameters) | {"fraction": odds / (1 + odds)}

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Beta weights (..., lag) at the lag midpoints as fractions of L."""
        fraction, concentration = parameters["fraction"], parameters["concentration"]
        u = (lags(max_lag) - 0.5) / max_lag
        a, b = fraction * concentration, (1 - fraction) * concentration
        return softmax((a - 1)[..., None] * np.log(u) + (b - 1)[..., None] * np.log1p(-u), xp)
