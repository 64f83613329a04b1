"""Lag kernels: weights over the lags 1..L, one small class each, on any array type.

A kernel says which parameters it has, with their priors stated in periods, and turns parameter values into weights. It
knows nothing of samplers: `weights` takes the array namespace (`numpy`, or `pytensor.tensor`) as an argument, the lag
is always the last axis, and every parameter that is a scalar in the model may carry leading (chain, draw) axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from regimelag.errors import require
from regimelag.plain import as_plain, is_number

Array = Any


class Prior(NamedTuple):
    """A prior as data: the name of a distribution in PyMC and its arguments.

    Attributes
    ----------
    distribution : str
        Name of the distribution, as PyMC spells it.
    arguments : dict
        Its arguments, as PyMC spells them.
    over_lags : bool
        Whether the parameter has one entry per lag.
    """

    distribution: str
    arguments: Mapping[str, Any]
    over_lags: bool = False


def log_normal(mean: float, sd: float) -> Prior:
    """Log-normal prior with the given mean and standard deviation, by moment matching."""
    sigma2 = np.log1p((sd / mean) ** 2)
    return Prior("LogNormal", {"mu": float(np.log(mean) - sigma2 / 2), "sigma": float(np.sqrt(sigma2))})


def softmax(log_weights: Array, xp: Any) -> Array:
    """Exponentiate and normalise over the last axis."""
    unnormalised = xp.exp(log_weights - xp.max(log_weights, axis=-1, keepdims=True))
    return unnormalised / xp.sum(unnormalised, axis=-1, keepdims=True)


def lags(max_lag: int) -> np.ndarray:
    """Lags 1..L as floats. Lag l stands for delays between l - 1/2 and l + 1/2, whose midpoint it is."""
    return np.arange(1, max_lag + 1, dtype=float)


def gamma_weights(mean: Array, spread: Array, max_lag: int, xp: Any) -> Array:
    """Softmax of the gamma log density with the given mean and standard deviation, at the lag midpoints.

    With shape a = (mean / spread)^2 and rate a / mean the log density is (a - 1) log l - (a / mean) l, up to a constant
    that the softmax removes.
    """
    shape = (mean / spread) ** 2
    lag = lags(max_lag)
    return softmax((shape - 1)[..., None] * np.log(lag) - (shape / mean)[..., None] * lag, xp)


class Kernel:
    """Base of all kernels: its parameters with their priors, and the weights that follow from their values.

    Attributes
    ----------
    kind : str
        Name of the kernel in a spec, and in `KERNELS`.
    movable : bool
        Whether the kernel has a location, which can be moved for an episode or a response.
    latex : str
        For reports: the weights as LaTeX, up to the factor that makes them sum to one.
    symbols, words : mapping of str to str
        For reports: LaTeX symbol and meaning of each parameter, by name; those of base classes count too.
    location_latex : str
        For reports: LaTeX of the location that `moved` moves, where it is no parameter itself.

    Reports describe what a class leaves out by its name and those of its parameters.
    """

    kind: ClassVar[str] = ""
    movable: ClassVar[bool] = False
    latex: ClassVar[str] = ""
    symbols: ClassVar[Mapping[str, str]] = {}
    words: ClassVar[Mapping[str, str]] = {}
    location_latex: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Keep plain numbers and tuples, so that the kernel stays hashable and TOML can hold it."""
        as_plain(self)

    def validate(self, max_lag: int) -> None:
        """Raise `SpecError` where the prior cannot be met with lags 1..L."""

    def names(self, max_lag: int) -> tuple[str, ...]:
        """Names of the parameters that `weights` needs."""
        return tuple(self.priors(max_lag))

    def priors(self, max_lag: int) -> dict[str, Prior]:
        """Priors of the kernel's parameters, by parameter name."""
        raise NotImplementedError

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Weights over the lags 1..L (..., lag); they are non-negative and sum to one.

        Parameters
        ----------
        parameters : mapping of str to array
            A value for each name in `priors`; a parameter over lags has them on its last axis.
        max_lag : int
            L.
        xp : module
            Array namespace: `numpy` or `pytensor.tensor`.
        """
        raise NotImplementedError

    def moved(self, parameters: Mapping[str, Array], deviation: Array, xp: Any = np) -> dict[str, Array]:
        """The parameters with the log of the location moved by a deviation; both may carry the same leading axes."""
        raise NotImplementedError

    def departure(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array | None:  # noqa: ARG002
        """Signed coefficients (..., lag), summing to zero, added to effect times weights; None if there are none."""
        return None

    @property
    def departs(self) -> bool:
        """Whether the kernel has signed coefficients beside its weights."""
        return type(self).departure is not Kernel.departure


@dataclass(frozen=True)
class NoLag(Kernel):
    """No lagged response at all: the null on timing."""

    kind: ClassVar[str] = "none"

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Nothing to estimate."""
        return {}


@dataclass(frozen=True)
class Humped(Kernel):
    """Base of the kernels with a lag; the fields are the prior, in periods of the panel (weeks, for weekly data).

    Parameters
    ----------
    mean_lag : float
        Prior mean of the mean lag.
    spread : float
        Prior mean of the standard deviation of the lag weights.
    """

    mean_lag: float = 9.0
    spread: float = 4.0

    def validate(self, max_lag: int) -> None:
        """Require positive numbers and a prior mean lag within 1..L."""
        for field in fields(self):
            value = getattr(self, field.name)
            require(
                str(field.type) not in ("float", "<class 'float'>") or (is_number(value) and value > 0),
                f"a {self.kind} kernel",
                f"{field.name} is a positive number",
                f"{field.name} = {value!r}",
                f"give {field.name} a positive value, in periods of the panel",
            )
        require(
            1 <= self.mean_lag <= max_lag,
            f"a {self.kind} kernel",
            f"the prior mean lag lies within the lags 1 to max_lag = {max_lag}",
            f"mean_lag = {self.mean_lag}",
            f"write mean_lag = {(1 + max_lag) / 2:g} in the kernel"
            + (f", or max_lag = {math.ceil(self.mean_lag)} in the model" if self.mean_lag > max_lag else ""),
        )


@dataclass(frozen=True)
class Located(Humped):
    """A kernel whose mean lag and spread are both free.

    Parameters
    ----------
    mean_lag, mean_lag_sd : float
        Prior mean and standard deviation of the mean lag, before truncation to 1..L.
    spread, spread_sd : float
        Prior mean and standard deviation of the standard deviation of the lag weights.
    """

    movable: ClassVar[bool] = True
    # The parameter that is the location.
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

    def moved(self, parameters: Mapping[str, Array], deviation: Array, xp: Any = np) -> dict[str, Array]:
        """The location times the exponential of the deviation."""
        return dict(parameters) | {self.located: parameters[self.located] * xp.exp(deviation)}


@dataclass(frozen=True)
class Gamma(Located):
    """Gamma hump: softmax of the gamma log density at the lag midpoints."""

    kind: ClassVar[str] = "gamma"
    latex: ClassVar[str] = r"w_l \propto l^{\kappa - 1} e^{-\kappa l / m}, \quad \kappa = (m / \varsigma)^2"

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Gamma weights (..., lag)."""
        return gamma_weights(parameters["location"], parameters["spread"], max_lag, xp)


@dataclass(frozen=True)
class LogNormal(Located):
    """Log-normal hump, with a heavier right tail than the gamma."""

    kind: ClassVar[str] = "lognormal"
    latex: ClassVar[str] = (
        r"w_l \propto \frac{1}{l} \exp\left(-\frac{(\log l - \log m + q / 2)^2}{2 q}\right), "
        r"\quad q = \log\left(1 + (\varsigma / m)^2\right)"
    )

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Log-normal weights (..., lag), mean and spread turned into those of the logarithm."""
        location, spread = parameters["location"], parameters["spread"]
        sigma2 = xp.log1p((spread / location) ** 2)
        mu = xp.log(location) - sigma2 / 2
        log_lag = np.log(lags(max_lag))
        return softmax(-log_lag - (log_lag - mu[..., None]) ** 2 / (2 * sigma2[..., None]), xp)


@dataclass(frozen=True)
class NegativeBinomial(Located):
    """Negative binomial on l - 1 = 0, 1, ..., whose spread always exceeds the Poisson's.

    Its variance is m + e^2 with m = mean lag - 1, so the free parameter is the excess e; the prior of e is set so that
    the total spread has the stated mean at the prior mean lag.
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
        """Also require a spread above the Poisson's, and a mean lag above one."""
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
class Beta(Located):
    """MIDAS two-parameter beta weights, monotone or humped.

    The lag fraction f = (mean lag - 1/2) / L has a beta prior with the stated mean and standard deviation. The
    concentration n, with spread^2 = L^2 f (1 - f) / (n + 1), has a log-normal prior whose median gives the stated
    spread at the prior mean lag, and whose log standard deviation is 2 spread_sd / spread. Ghysels, Sinko & Valkanov
    (2007), doi:10.1080/07474930600972467.
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
        """Also require that a beta law on (0, L) can have the stated standard deviations."""
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
            "fraction": Prior("Beta", {"alpha": mean * total, "beta": (1 - mean) * total}),
            "concentration": Prior(
                "LogNormal", {"mu": float(np.log(concentration)), "sigma": 2 * self.spread_sd / self.spread}
            ),
        }

    def moved(self, parameters: Mapping[str, Array], deviation: Array, xp: Any = np) -> dict[str, Array]:
        """The odds of the fraction times the exponential of the deviation, so that it stays below one."""
        odds = parameters["fraction"] / (1 - parameters["fraction"]) * xp.exp(deviation)
        return dict(parameters) | {"fraction": odds / (1 + odds)}

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Beta weights (..., lag) at the lag midpoints as fractions of L."""
        fraction, concentration = parameters["fraction"], parameters["concentration"]
        u = (lags(max_lag) - 0.5) / max_lag
        a, b = fraction * concentration, (1 - fraction) * concentration
        return softmax((a - 1)[..., None] * np.log(u) + (b - 1)[..., None] * np.log1p(-u), xp)


@dataclass(frozen=True)
class Dirichlet(Humped):
    """Free weights on the simplex, around a gamma hump.

    A Dirichlet law with base weights p and concentration k has mean lag varying with variance V / (k + 1), V the
    variance of the lag under p. So k follows from the prior standard deviation of the mean lag.
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
        """Dirichlet prior on the weights themselves."""
        base, concentration = self._base(max_lag)
        return {"weights": Prior("Dirichlet", {"a": concentration * base}, over_lags=True)}

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """The parameter itself (..., lag)."""
        return parameters["weights"]


def random_walk(innovations: Array, xp: Any) -> Array:
    """Random walk over the last axis, centred so that it sums to zero."""
    walk = xp.cumsum(innovations, axis=-1)
    return walk - xp.mean(walk, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Walking(Humped):
    """A kernel that departs from a gamma hump by a random walk over lags, so that neighbouring lags are alike.

    Parameters
    ----------
    mean_lag, spread : float
        Mean and standard deviation of the gamma hump that the walk starts from.
    roughness : float
        Scale of the half-normal prior of the walk's standard deviation per lag.
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
            "roughness": Prior("HalfNormal", {"sigma": self.roughness}),
            "innovation": Prior("Normal", {"mu": 0.0, "sigma": 1.0}, over_lags=True),
        }

    def _walk(self, parameters: Mapping[str, Array], xp: Any) -> Array:
        return parameters["roughness"][..., None] * random_walk(parameters["innovation"], xp)

    def _hump(self, max_lag: int) -> np.ndarray:
        return gamma_weights(np.float64(self.mean_lag), np.float64(self.spread), max_lag, np)


@dataclass(frozen=True)
class Smooth(Walking):
    """Softmax of a Gaussian random walk around the log of a gamma hump; roughness is on the log scale."""

    kind: ClassVar[str] = "smooth"
    latex: ClassVar[str] = r"w_l \propto p_l \exp(\rho\, r_l), \quad r_l \text{ a centred random walk over lags}"

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Weights (..., lag)."""
        return softmax(np.log(self._hump(max_lag)) + self._walk(parameters, xp), xp)


@dataclass(frozen=True)
class Unrestricted(Walking):
    """One signed coefficient per lag: effect times a gamma hump plus a random walk that sums to zero.

    The effect stays the cumulative one, and the response curve may overshoot. Roughness is in standardised units of
    effect per lag. The smoothness prior follows Shiller (1973).
    """

    kind: ClassVar[str] = "unrestricted"
    latex: ClassVar[str] = r"w_l = p_l, \quad d_l = \rho\, r_l, \quad r_l \text{ a centred random walk over lags}"

    roughness: float = 0.05

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """The gamma hump (lag), the same for all draws."""
        return self._hump(max_lag) + 0.0 * parameters["roughness"][..., None]

    def departure(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """The walk (..., lag)."""
        return self._walk(parameters, xp)


@dataclass(frozen=True)
class Point(Humped):
    """One lag, and it is not known which: categorical over 1..L, and summed out of the likelihood exactly.

    The lag is no parameter that a sampler moves, so a posterior over lags keeps all its modes (Celeux, Hurn & Robert
    2000, doi:10.1080/01621459.2000.10474285). Each draw of a fit holds a draw of the lag and the probability of every
    lag given that draw's other parameters.

    Parameters
    ----------
    mean_lag, spread : float
        Mean and standard deviation of the gamma hump that the prior masses follow, before truncation to 1..L.
    masses : tuple of float
        Prior masses of the lags 1..L instead of the hump; they are normalised.
    by_regime : bool
        Whether each regime has a lag of its own, independent of the others.
    """

    kind: ClassVar[str] = "point"
    latex: ClassVar[str] = r"w_l = 1 \text{ if } l = \lambda \text{, else } 0"
    symbols: ClassVar[Mapping[str, str]] = {"point": r"\lambda"}
    words: ClassVar[Mapping[str, str]] = {"point": "the lag, in periods"}

    spread: float = 6.0
    masses: tuple[float, ...] = ()
    by_regime: bool = False

    def validate(self, max_lag: int) -> None:
        """Require one mass a lag, none negative and some positive, or a hump that can be met."""
        if not self.masses:
            super().validate(max_lag)
        numbers = isinstance(self.masses, tuple) and all(map(is_number, self.masses))
        require(
            numbers,
            "a point kernel",
            "masses are finite numbers",
            f"masses = {self.masses!r}",
            "write masses = [1.0, 2.0, ...], one for each lag, or leave masses out",
        )
        fits = not self.masses or (len(self.masses) == max_lag and min(self.masses) >= 0 and sum(self.masses) > 0)
        require(
            fits,
            "a point kernel",
            f"masses has one entry for each of the {max_lag} lags, none negative and some positive",
            f"{len(self.masses)} entries from {min(self.masses, default=0):g} to {max(self.masses, default=0):g}",
            f"give masses {max_lag} numbers above zero, or leave masses out for a hump with mean_lag and spread",
        )
        require(
            isinstance(self.by_regime, bool),
            "a point kernel",
            "by_regime is true or false",
            f"by_regime = {self.by_regime!r}",
            "write by_regime = true in TOML, or by_regime=True in Python",
        )

    def names(self, max_lag: int) -> tuple[str, ...]:  # noqa: ARG002
        """The lag itself, which is not among the parameters that a sampler moves."""
        return ("point",)

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Nothing that a sampler moves."""
        return {}

    def prior_masses(self, max_lag: int) -> np.ndarray:
        """Prior probability of each lag (lag)."""
        if self.masses:
            return np.asarray(self.masses, dtype=float) / np.sum(self.masses)
        return gamma_weights(np.float64(self.mean_lag), np.float64(self.spread), max_lag, np)

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """One at the lag, zero elsewhere (..., lag)."""
        return (np.asarray(parameters["point"])[..., None] == lags(max_lag)).astype(float)


def combinations(kernels: Sequence[Point], regimes: int, max_lag: int) -> tuple[np.ndarray, np.ndarray]:
    """All combinations of the lags of point kernels, and the log of their prior masses.

    Parameters
    ----------
    kernels : sequence of Point
        One a signal.
    regimes : int
        Number of regimes.
    max_lag : int
        L.

    Returns
    -------
    lags : int array (combination, kernel, regime)
        A lag for each signal and regime; the same in all regimes unless the kernel has one for each.
    log_mass : array (combination)
        Log prior masses; they sum to one.
    """
    free = [regimes if kernel.by_regime else 1 for kernel in kernels]
    each = np.array(list(itertools.product(range(max_lag), repeat=sum(free))), dtype=np.int64).reshape(-1, sum(free))
    found, log_mass, place = [], np.zeros(len(each)), 0
    for kernel, count in zip(kernels, free, strict=True):
        mine = each[:, place : place + count]
        with np.errstate(divide="ignore"):
            log_mass = log_mass + np.log(kernel.prior_masses(max_lag))[mine].sum(axis=1)
        found.append(np.broadcast_to(mine + 1, (len(each), regimes)))
        place += count
    return np.stack(found, axis=1), log_mass


KERNELS: dict[str, type[Kernel]] = {
    cls.kind: cls for cls in (Gamma, LogNormal, NegativeBinomial, Beta, Dirichlet, Smooth, Unrestricted, Point, NoLag)
}
