"""A term: a parameter with its prior, what it is called in mathematics and in words, and where it enters the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from regimelag.spec.priors import Prior, Resolved

Array = Any
UNRESOLVED = Resolved((), ())


class Parameter(NamedTuple):
    """A free parameter.

    Attributes
    ----------
    name, symbol, meaning : str
        Its name in the posterior, in LaTeX, and in words.
    prior : Prior
        Its prior.
    dims : tuple of str
        Its dimensions over which priors may differ.
    slope_on : str
        Of a coefficient, the role of the variables that it is the slope on; empty otherwise.
    """

    name: str
    symbol: str
    meaning: str
    prior: Prior
    dims: tuple[str, ...] = ()
    slope_on: str = ""


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
    slope_on : str
        Of a coefficient, the role of the variables that it is the slope on; its prior may be an elasticity.
    resolved : Resolved
        On a panel, the priors of all its entries, in standardised units.
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
    slope_on: str = ""
    resolved: Resolved = UNRESOLVED

    def parameters(self) -> Iterator[Parameter]:
        """Its free parameters: itself, or the scale and the deviations over it."""
        # The others are those of one vector, which has one prior.
        own = self.dims[: len(self.dims) - max(self.zero_sum, int(self.prior.distribution == "Dirichlet"))]
        name = self.name if self.raw is None else f"{self.name}_sd"
        yield Parameter(name, self.symbol, self.meaning, self.prior, own, self.slope_on)
        if self.raw is not None:
            yield self.raw

    def with_prior_of(self, priors: Mapping[str, Prior]) -> Term:
        """The term with the prior that is given for its name; of pooled deviations, for the name of their scale."""
        return self._replace(prior=priors.get(next(self.parameters()).name, self.prior))

    def entering(self, values: Array, xp: Any = np) -> Array:
        """What enters, from the term's values (..., *parameter)."""
        return values if self.transform is None else self.transform(values, xp)


def normal(sd: Any, mean: Any = 0.0) -> Prior:
    """Normal prior."""
    return Prior("Normal", mu=mean, sigma=sd)


def zero_sum_normal(sd: float) -> Prior:
    """Normal prior of values that sum to zero; each of n has standard deviation ``sd * sqrt(1 - 1 / n)``."""
    return Prior("ZeroSumNormal", sigma=sd)


def pooled(
    name: str,
    sd: float,
    dims: tuple[str, ...],
    *,
    symbols: tuple[str, str],
    meanings: tuple[str, str],
    enters: np.ndarray | None = None,
    zero_sum: int = 1,
    slope_on: str = "",
) -> Term:
    """Deviations that sum to zero over their last dimensions and share a half-normal scale over the others.

    Gelman (2006), doi:10.1214/06-BA117A, on half-normal and half-t priors of such scales.
    """
    raw = Parameter(f"{name}_raw", symbols[1], meanings[1], zero_sum_normal(1.0))
    prior = Prior("HalfNormal", sigma=sd)
    return Term(name, prior, symbols[0], meanings[0], dims, enters, zero_sum=zero_sum, raw=raw, slope_on=slope_on)


def index_of(*parts: str) -> str:
    """A subscript of those parts that are there."""
    kept = ",".join(part for part in parts if part)
    return f"_{{{kept}}}" if kept else ""


def text(name: str) -> str:
    """A name as upright text inside mathematics: without what means something to LaTeX or, on a page, to HTML."""
    for special in ("\\", "{", "}", "$", "&", "#", "%", "_", "^", "~", "<", ">"):
        name = name.replace(special, "\\_" if special == "_" else " ")
    return rf"\text{{{name}}}"
