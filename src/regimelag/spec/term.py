"""A term: a parameter with its prior, symbol and meaning, and where it enters the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from regimelag.runtime.latex_text import escape
from regimelag.spec.priors import Prior, Resolved

Array = Any
UNRESOLVED = Resolved((), ())


class Parameter(NamedTuple):
    """A free parameter.

    Attributes
    ----------
    name, symbol, meaning : str
        Name in the posterior, LaTeX symbol, and noun phrase.
    prior : Prior
        Prior.
    dims : tuple of str
        Dimensions over which priors may differ.
    slope_on : str
        For a coefficient, the role of its covariates; empty otherwise.
    """

    name: str
    symbol: str
    meaning: str
    prior: Prior
    dims: tuple[str, ...] = ()
    slope_on: str = ""


class Term(NamedTuple):
    """A free parameter, or partially pooled deviations, and where its entries enter the model.

    Attributes
    ----------
    name : str
        Name in the posterior.
    prior : Prior
        Prior of the parameter; for pooled deviations, of their scale.
    symbol, meaning : str
        LaTeX with indices, and a noun phrase for tables; for pooled deviations, of their scale.
    dims : tuple of str
        Dimensions, named as in `regimelag.spec.names`.
    enters : ndarray (*parameter, *cell), optional
        Contribution of each entry to each cell of the table that the term belongs to; None if it enters otherwise.
    summands : tuple of str
        LaTeX of its summands in the equation of the table.
    zero_sum : int
        Number of trailing dimensions over which it sums to zero.
    raw : Parameter, optional
        For pooled deviations, ``{name}_raw``: the deviations divided by their scale, a sum-to-zero normal with sigma
        one. The scale is ``{name}_sd`` and the term their product. Non-centred, since the data are weakly informative.
    transform : callable, optional
        Function of the parameter and the array namespace whose value enters.
    slope_on : str
        For a coefficient, the role of its covariates; its prior may be an elasticity.
    resolved : Resolved
        On a panel, the priors of all its entries in standardised units.
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
        """Free parameters: the term itself, or the scale and the scaled deviations."""
        # The remaining dimensions are those of a vector with one joint prior.
        own = self.dims[: len(self.dims) - max(self.zero_sum, int(self.prior.distribution == "Dirichlet"))]
        name = self.name if self.raw is None else f"{self.name}_sd"
        yield Parameter(name, self.symbol, self.meaning, self.prior, own, self.slope_on)
        if self.raw is not None:
            yield self.raw

    def with_prior_of(self, priors: Mapping[str, Prior]) -> Term:
        """The term with the replacement for its prior, if any; for pooled deviations, that of their scale."""
        return self._replace(prior=priors.get(next(self.parameters()).name, self.prior))

    def entering(self, values: Array, xp: Any = np) -> Array:
        """The values that enter, from values (..., *parameter) of the term."""
        return values if self.transform is None else self.transform(values, xp)


def normal(sd: Any, mean: Any = 0.0) -> Prior:
    """Normal prior."""
    return Prior("Normal", mu=mean, sigma=sd)


def zero_sum_normal(sd: float) -> Prior:
    """Sum-to-zero normal prior; each of n values has standard deviation ``sd * sqrt(1 - 1 / n)``."""
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
    """Deviations that sum to zero over their last dimensions, with a half-normal scale for the others.

    Gelman (2006), doi:10.1214/06-BA117A, discusses such priors of scales.
    """
    raw = Parameter(f"{name}_raw", symbols[1], meanings[1], zero_sum_normal(1.0))
    prior = Prior("HalfNormal", sigma=sd)
    return Term(name, prior, symbols[0], meanings[0], dims, enters, zero_sum=zero_sum, raw=raw, slope_on=slope_on)


def ladder(count: int) -> np.ndarray:
    """Share (regime, gap) of each gap in each of `count` ordered values, centred over values."""
    steps = np.tril(np.ones((count, count - 1)), -1)
    return np.asarray(steps - steps.mean(axis=0))


def index_of(*parts: str) -> str:
    """LaTeX subscript of the non-empty parts."""
    kept = ",".join(part for part in parts if part)
    return f"_{{{kept}}}" if kept else ""


def text(name: str) -> str:
    """A name as upright text in LaTeX."""
    return rf"\text{{{escape(name)}}}"
