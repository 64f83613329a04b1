"""A term: a parameter with its prior, what it is called in mathematics and in words, and where it enters the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

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


class Parameter(NamedTuple):
    """A free parameter: its name in the posterior, LaTeX symbol, meaning and prior."""

    name: str
    symbol: str
    meaning: str
    prior: Prior


class Term(NamedTuple):
    """What a model holds of one kind: a free parameter, or pooled deviations, and where its entries enter.

    Attributes
    ----------
    name : str
        Its name in the posterior.
    prior : Prior
        Prior of the parameter; of pooled deviations, of their scale.
    symbol, meaning : str
        LaTeX with indices, and a noun phrase for tables; of pooled deviations those of their scale.
    dims : tuple of str
        Its dimensions, named as in `regimelag.spec.names`.
    enters : ndarray (*parameter, *cell), optional
        What each entry adds to each cell of the table that the term belongs to; None if it enters otherwise.
    summands : tuple of str
        LaTeX of what it adds to the table's equation.
    zero_sum : int
        Over how many of its last dimensions it sums to zero.
    raw : Parameter, optional
        Of pooled deviations, the deviations over their scale: ``{name}_raw``, a sum-to-zero normal of sigma one. The
        scale is ``{name}_sd``, and the term their product: non-centred, since the data are weak.
    transform : callable, optional
        From the parameter and the array namespace to what enters.
    """

    name: str
    prior: Prior
    symbol: str
    meaning: str
    dims: tuple[str, ...] = ()
    enters: np.ndarray | None = None
    summands: tuple[str, ...] = ()
    zero_sum: int = 0
    raw: Parameter | None = None
    transform: Callable[[Array, Any], Array] | None = None

    def parameters(self) -> Iterator[Parameter]:
        """Its free parameters: itself, or the scale and the deviations over it."""
        if self.raw is None:
            yield Parameter(self.name, self.symbol, self.meaning, self.prior)
            return
        yield Parameter(f"{self.name}_sd", self.symbol, self.meaning, self.prior)
        yield self.raw

    def entering(self, values: Array, xp: Any = np) -> Array:
        """What enters, from the term's values (..., *parameter)."""
        return values if self.transform is None else self.transform(values, xp)


def normal(sd: Any, mean: Any = 0.0) -> Prior:
    """Normal prior."""
    return Prior("Normal", {"mu": mean, "sigma": sd})


def zero_sum_normal(sd: float) -> Prior:
    """Normal prior of values that sum to zero; each of n has standard deviation ``sd * sqrt(1 - 1 / n)``."""
    return Prior("ZeroSumNormal", {"sigma": sd})


def pooled(
    name: str,
    sd: float,
    dims: tuple[str, ...],
    *,
    symbols: tuple[str, str],
    meanings: tuple[str, str],
    enters: np.ndarray | None = None,
    zero_sum: int = 1,
) -> Term:
    """Deviations that sum to zero over their last dimensions and share a half-normal scale over the others.

    Gelman (2006), doi:10.1214/06-BA117A, on half-normal and half-t priors of such scales.
    """
    raw = Parameter(f"{name}_raw", symbols[1], meanings[1], zero_sum_normal(1.0))
    prior = Prior("HalfNormal", {"sigma": sd})
    return Term(name, prior, symbols[0], meanings[0], dims, enters, zero_sum=zero_sum, raw=raw)


def index_of(*parts: str) -> str:
    """A subscript of those parts that are there."""
    kept = ",".join(part for part in parts if part)
    return f"_{{{kept}}}" if kept else ""


def text(name: str) -> str:
    """A name as upright text inside mathematics: without what means something to LaTeX or, on a page, to HTML."""
    for special in ("\\", "{", "}", "$", "&", "#", "%", "_", "^", "~", "<", ">"):
        name = name.replace(special, "\\_" if special == "_" else " ")
    return rf"\text{{{name}}}"
