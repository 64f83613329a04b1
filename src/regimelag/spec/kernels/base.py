"""Base of all lag kernels: weights over the lags 1..L, on any array type.

A kernel says which parameters it has, with their priors stated in periods, and turns parameter values into weights. It
knows nothing of samplers: `weights` takes the array namespace (`numpy`, or `pytensor.tensor`) as an argument, the lag
is always the last axis, and every parameter that is a scalar in the model may carry leading (chain, draw) axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from regimelag.errors import require
from regimelag.runtime.plain import as_plain, is_number
from regimelag.spec.priors import Prior

Array = Any


def log_normal(mean: float, sd: float) -> Prior:
    """Log-normal prior with the given mean and standard deviation, by moment matching."""
    sigma2 = np.log1p((sd / mean) ** 2)
    return Prior("LogNormal", mu=float(np.log(mean) - sigma2 / 2), sigma=float(np.sqrt(sigma2)))


def softmax(log_weights: Array, xp: Any) -> Array:
    """Exponentiate and normalise over the last axis."""
    unnormalised = xp.exp(log_weights - xp.max(log_weights, axis=-1, keepdims=True))
    return unnormalised / xp.sum(unnormalised, axis=-1, keepdims=True)


def lags(max_lag: int) -> np.ndarray:
    """Lags 1..L as floats. Lag l stands for delays between l - 1/2 and l + 1/2, whose midpoint it is."""
    return np.arange(1, max_lag + 1, dtype=float)


class Kernel:
    """Base of all kernels: its parameters with their priors, and the weights that follow from their values.

    Attributes
    ----------
    kind : str
        Name of the kernel in a spec, and in ``KERNELS``.
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

    def shift_location(self, parameters: Mapping[str, Array], deviation: Array, xp: Any = np) -> dict[str, Array]:
        """The parameters with the log of the location moved by a deviation; both may carry the same leading axes."""
        raise NotImplementedError

    def signed_deviation(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array | None:  # noqa: ARG002
        """Signed coefficients (..., lag), summing to zero, added to effect times weights; None if there are none."""
        return None

    @property
    def has_signed_deviation(self) -> bool:
        """Whether the kernel has signed coefficients beside its weights."""
        return type(self).signed_deviation is not Kernel.signed_deviation


@dataclass(frozen=True)
class NoLag(Kernel):
    """No lagged response at all: the null on timing."""

    kind: ClassVar[str] = "none"

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Nothing to estimate."""
        return {}


@dataclass(frozen=True)
class LagKernel(Kernel):
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
