"""Volatility models: what moves the residual scale within a regime and an episode, one small class each.

A model whose scale moves gives the weights of the last squared residual and of the last variance, so that the
conditional variance over its unconditional value s^2 is

    v[t] = 1 - alpha - beta + alpha e[t-1]^2 + beta v[t-1],    v[1] = 1,

with e the residual over s. Likelihood, one-step-ahead densities, forecasts and simulation follow from these weights, so
a volatility model of a user's script, such as ARCH or an exponentially weighted average, works wherever those of the
package do once it is in `VOLATILITIES`.
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
    r"""Base of all volatility models.

    Attributes
    ----------
    kind : str
        Name in a spec, and in `VOLATILITIES`.
    words : str
        Its name in sentences.
    moves : bool
        Whether the scale follows past responses. A density then depends on the responses before it, so there are no
        leave-one-out densities.
    latex : str
        LaTeX of the conditional variance, with ``v_t``, the residual ``\varepsilon_t`` and ``s``.
    """

    kind: ClassVar[str] = ""
    words: ClassVar[str] = ""
    moves: ClassVar[bool] = True
    latex: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Keep plain numbers, so that the model stays hashable and TOML can hold it."""
        as_plain(self)

    def terms(self) -> tuple[Term, ...]:
        """Its parameters: scalars, with their priors, symbols and meanings."""
        return ()

    def weights(self, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
        """Weights of the last squared residual and of the last variance: not negative, with a sum of at most 1.

        Parameters
        ----------
        parameters : mapping of str to array
            A value for each name in `terms`: NumPy's or PyTensor's.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Volatility):
    """A scale that regimes and episodes alone move."""

    kind: ClassVar[str] = "constant"
    words: ClassVar[str] = "constant volatility"
    moves: ClassVar[bool] = False


@dataclass(frozen=True)
class Garch(Volatility):
    """GARCH(1,1), stationary by construction: Bollerslev (1986), doi:10.1016/0304-4076(86)90063-1.

    Persistence is alpha + beta, and the ARCH share alpha / (alpha + beta), so that each prior says one thing: shocks to
    the variance fade with a half-life of log(1/2) / log(persistence) periods, and the share says how much of the
    variance comes from the last period alone.
    """

    kind: ClassVar[str] = "garch"
    words: ClassVar[str] = "GARCH(1,1)"
    latex: ClassVar[str] = r"v_t = (1 - \pi) s^2 + \pi a \varepsilon_{t-1}^2 + \pi (1 - a) v_{t-1}"

    def terms(self) -> tuple[Term, ...]:
        """Persistence of the variance, and its ARCH share."""
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
