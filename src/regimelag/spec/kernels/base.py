"""Base class of lag kernels: weights over the lags 1..L, for NumPy and PyTensor arrays.

A kernel declares its parameters, with priors in periods of the panel, and maps parameter values to weights. `weights`
takes the array namespace (`numpy` or `pytensor.tensor`) as an argument. The lag is the last axis, and every scalar
parameter of the model may carry leading (chain, draw) axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from regimelag.errors import require
from regimelag.runtime.plain import as_plain, is_number
from regimelag.spec.priors import Prior

Array = Any
# Length of a last axis that `softmax` reduces entry by entry: that of regimes, not of lags.
FEW = 8


def log_normal(mean: float, sd: float) -> Prior:
    """Log-normal prior with the given mean and standard deviation, by moment matching."""
    sigma2 = np.log1p((sd / mean) ** 2)
    return Prior("LogNormal", mu=float(np.log(mean) - sigma2 / 2), sigma=float(np.sqrt(sigma2)))


def softmax(log_weights: Array, xp: Any) -> Array:
    """Exponentiate and normalise over the last axis."""
    if xp is np and np.shape(log_weights)[-1] <= FEW:
        # NumPy reduces a short last axis ten times slower than it combines its entries.
        parts = [log_weights[..., k] for k in range(np.shape(log_weights)[-1])]
        largest = reduce(np.maximum, parts)
        weights = np.exp(log_weights - largest[..., None])
        weights /= reduce(np.add, [weights[..., k] for k in range(len(parts))])[..., None]
        return weights
    unnormalised = xp.exp(log_weights - xp.max(log_weights, axis=-1, keepdims=True))
    return unnormalised / xp.sum(unnormalised, axis=-1, keepdims=True)


def lags(max_lag: int) -> np.ndarray:
    """Lags 1..L as floats. Lag l is the midpoint of delays from l - 1/2 to l + 1/2 periods."""
    return np.arange(1, max_lag + 1, dtype=float)


class Kernel:
    """Base class of kernels: parameters with priors, and the lag weights as a function of their values.

    Attributes
    ----------
    kind : str
        Name of the kernel in a spec, and its key in ``KERNELS``.
    movable : bool
        Whether the kernel has a location that may differ between episodes or responses.
    latex : str
        LaTeX of the weights in reports, up to the normalising constant.
    symbols, words : mapping of str to str
        LaTeX symbol and meaning of each parameter in reports, by parameter name. Entries of base classes are inherited.
    location_latex : str
        LaTeX of the location that ``shift_location`` shifts, if it is not itself a parameter.

    Where a class leaves these empty, reports use the names of the class and its parameters.
    """

    kind: ClassVar[str] = ""
    movable: ClassVar[bool] = False
    latex: ClassVar[str] = ""
    symbols: ClassVar[Mapping[str, str]] = {}
    words: ClassVar[Mapping[str, str]] = {}
    location_latex: ClassVar[str] = ""

    def __post_init__(self) -> None:
        as_plain(self)

    def validate(self, max_lag: int) -> None:
        """Raise `SpecError` if the prior is inconsistent with lags 1..L."""

    def names(self, max_lag: int) -> tuple[str, ...]:
        """Names of the parameters that `weights` takes."""
        return tuple(self.priors(max_lag))

    def priors(self, max_lag: int) -> dict[str, Prior]:
        """Priors of the kernel's parameters, by parameter name."""
        raise NotImplementedError

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:
        """Lag weights.

        Parameters
        ----------
        parameters : mapping of str to array
            A value for each name in `priors`. A parameter with an entry per lag has the lag on its last axis.
        max_lag : int
            L.
        xp : module
            Array namespace: `numpy` or `pytensor.tensor`.

        Returns
        -------
        array (..., lag)
            Weights of the lags 1..L, non-negative and with sum one.
        """
        raise NotImplementedError

    def shift_location(self, parameters: Mapping[str, Array], deviation: Array, xp: Any = np) -> dict[str, Array]:
        """Parameters with the log location shifted by `deviation`, which may have the same leading axes."""
        raise NotImplementedError

    def signed_deviation(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array | None:  # noqa: ARG002
        """Signed coefficients (..., lag) with sum zero, added to effect times weights; None if there are none."""
        return None

    @property
    def has_signed_deviation(self) -> bool:
        """Whether the kernel adds signed coefficients to its weights."""
        return type(self).signed_deviation is not Kernel.signed_deviation


@dataclass(frozen=True)
class NoLag(Kernel):
    """No lagged response: the null hypothesis on timing."""

    kind: ClassVar[str] = "none"

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Empty, as there are no parameters."""
        return {}


@dataclass(frozen=True)
class LagKernel(Kernel):
    """Base class of kernels with a lagged response. Priors are in periods of the panel, such as weeks.

    Parameters
    ----------
    mean_lag : float
        Prior mean of the mean lag, in periods.
    spread : float
        Prior mean of the standard deviation of the lag weights, in periods.
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
