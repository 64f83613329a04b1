"""Volatility models: dynamics of the residual scale within a regime and an episode.

A dynamic model defines the weights of the last squared residual and of the last variance, so that the conditional
variance divided by its unconditional value s^2 is

    v[t] = 1 - alpha - beta + alpha e[t-1]^2 + beta v[t-1],    v[1] = 1,

with e the residual divided by s. Likelihood, one-step-ahead densities, forecasts and simulation follow from these
weights. A model defined in a user's script, such as ARCH or an exponentially weighted average, works everywhere in the
package once it is registered in `VOLATILITIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from regimelag.runtime.plain import as_plain
from regimelag.spec import names as nm
from regimelag.spec.priors import Prior
from regimelag.spec.term import Term

Array = Any


class Volatility:
    r"""Base class of volatility models.

    Attributes
    ----------
    kind : str
        Name in a spec, and key in `VOLATILITIES`.
    words : str
        Name in sentences.
    moves : bool
        Whether the scale depends on past responses. There are then no leave-one-out densities.
    latex : str
        LaTeX of the conditional variance, with ``v_t``, the residual ``\varepsilon_t`` and ``s``.
    """

    kind: ClassVar[str] = ""
    words: ClassVar[str] = ""
    moves: ClassVar[bool] = True
    latex: ClassVar[str] = ""

    def __post_init__(self) -> None:
        as_plain(self)

    def terms(self) -> tuple[Term, ...]:
        """Scalar parameters, with their priors, symbols and meanings."""
        return ()

    def weights(self, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        """Weights of the last squared residual and of the last variance.

        Parameters
        ----------
        parameters : mapping of str to array
            A value for each name in `terms`, as NumPy or PyTensor arrays.

        Returns
        -------
        alpha, beta : array
            Non-negative, with a sum of at most 1.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Volatility):
    """A scale that depends on regime and episode only."""

    kind: ClassVar[str] = "constant"
    words: ClassVar[str] = "constant volatility"
    moves: ClassVar[bool] = False


@dataclass(frozen=True)
class Garch(Volatility):
    """GARCH(1,1), stationary by construction: Bollerslev (1986), doi:10.1016/0304-4076(86)90063-1.

    The parameters are the persistence alpha + beta and the ARCH share alpha / (alpha + beta). Shocks to the variance
    have a half-life of log(1/2) / log(persistence) periods.
    """

    kind: ClassVar[str] = "garch"
    words: ClassVar[str] = "GARCH(1,1)"
    latex: ClassVar[str] = r"v_t = (1 - \pi) s^2 + \pi a \varepsilon_{t-1}^2 + \pi (1 - a) v_{t-1}"

    def terms(self) -> tuple[Term, ...]:
        """Persistence of the variance, and the ARCH share."""
        return (
            Term(
                nm.GARCH_PERSISTENCE,
                Prior("Beta", alpha=20.0, beta=1.5),
                r"\pi",
                "persistence of the conditional variance, alpha + beta",
            ),
            Term(
                nm.GARCH_ARCH_SHARE,
                Prior("Beta", alpha=2.0, beta=10.0),
                "a",
                "share of the persistence that is due to the last squared residual, alpha / (alpha + beta)",
            ),
        )

    def weights(self, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        """Weights of the last squared residual and of the last variance."""
        persistence, share = parameters[nm.GARCH_PERSISTENCE], parameters[nm.GARCH_ARCH_SHARE]
        return persistence * share, persistence * (1.0 - share)


VOLATILITIES: dict[str, type[Volatility]] = {cls.kind: cls for cls in (Constant, Garch)}
