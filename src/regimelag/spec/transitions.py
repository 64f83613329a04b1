"""Transition models: probabilities of steps between regimes.

A transition model is a list of terms that sum to the logits of a step; the model takes the softmax over destinations.
Stationary distribution, durations, forecasts and simulation follow from the logits. A transition model defined in a
user's script works everywhere in the package once it is registered in `TRANSITIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from regimelag.errors import require, require_positive
from regimelag.runtime.plain import as_plain
from regimelag.spec import names as nm
from regimelag.spec.priors import Prior
from regimelag.spec.term import Term, index_of, ladder, normal, pooled, text, zero_sum_normal

Array = Any
# Sigma of the sum-to-zero normal priors of the destinations' log weights, and of the effect of a standard deviation of
# a driver on them. The log odds of two regimes are a difference of two weights: their sd is sqrt(2) times sigma.
LEAVE_SD, DRIVER_SD = 1.0, 0.7
# Scale of the half-normal prior of the sd of a driver's effect between origins.
ORIGIN_SD = 0.3


class Steps(NamedTuple):
    """Part of the spec that a transition model needs.

    Attributes
    ----------
    regimes : int
        Number of regimes.
    drivers : tuple of str
        Names of the drivers.
    own : str
        LaTeX index of the response if each has its own regime process; empty otherwise.
    ordered : str
        Driver by whose effect the regimes are ordered; empty otherwise.
    forbidden : ndarray or None
        (origin, destination) steps that the model excludes; None for none.
    """

    regimes: int
    drivers: tuple[str, ...]
    own: str = ""
    ordered: str = ""
    forbidden: np.ndarray | None = None


class Transitions:
    """Base class of transition models.

    Attributes
    ----------
    kind : str
        Name in a spec, and key in `TRANSITIONS`.
    """

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        as_plain(self)

    def validate(self, regimes: int) -> None:
        """Raise `SpecError` if the model does not allow this number of regimes."""

    def terms(self, steps: Steps) -> tuple[Term, ...]:
        """Terms of the logits (1 + driver, origin, destination) of one regime process.

        Row 0 has the logits with all drivers at their mean, row 1 + d the effect of one standard deviation of driver d.
        """
        raise NotImplementedError

    def logit_latex(self, steps: Steps) -> str:
        """LaTeX of the logit of the step from regime i to regime j; by default a function of the terms."""
        held = ", ".join(parameter.symbol for term in self.terms(steps) for parameter in term.parameters())
        return rf"\ell{index_of(steps.own, 'i', 'j')}({held})"

    def latex(self, steps: Steps) -> list[tuple[str, str]]:  # noqa: ARG002
        """Sentences and equations on the terms, printed after the softmax."""
        return []


@dataclass(frozen=True)
class Markov(Transitions):
    """First-order Markov chain with geometric durations, given the drivers.

    The diagonal is the log odds of staying: the log of the expected duration minus one period. The other entries of a
    row are normalised, so that these odds do not depend on the weights of the destinations. Time-varying transition
    probabilities follow Diebold, Lee & Weinbach (1994) and Filardo (1994), doi:10.1080/07350015.1994.10524545.

    Parameters
    ----------
    expected_duration : float or tuple of float
        Prior median of the expected duration with all drivers at their mean, in periods: one for all regimes, or one
        for each. Stored as a tuple.
    expected_duration_log_sd : float
        Log standard deviation of the log-normal prior of the expected duration minus one period.
    by_origin : bool
        Whether driver effects differ between the origins of a step.
    """

    kind: ClassVar[str] = "markov"

    expected_duration: float | tuple[float, ...] = (20.0,)
    expected_duration_log_sd: float = 1.0
    by_origin: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        durations = self.expected_duration if isinstance(self.expected_duration, tuple) else (self.expected_duration,)
        asked = "a markov transition model"
        require(durations != (), asked, "expected_duration is not empty", "()", "write expected_duration = 20.0")
        for duration in durations:
            require_positive(asked, "expected_duration", duration, least=1.0)
        require_positive(asked, "expected_duration_log_sd", self.expected_duration_log_sd)
        came, cure = f"by_origin = {self.by_origin!r}", "write by_origin = true in TOML, or by_origin=True in Python"
        require(isinstance(self.by_origin, bool), asked, "by_origin is true or false", came, cure)

    def validate(self, regimes: int) -> None:
        """Require one expected duration, or one per regime."""
        durations = np.size(self.expected_duration)
        require(
            durations in (1, regimes),
            "a markov transition model",
            f"expected_duration has one entry, or one for each of the {regimes} regimes",
            f"{durations} entries",
            "write expected_duration = 20.0 for all regimes, or a list with one for each",
        )

    def terms(self, steps: Steps) -> tuple[Term, ...]:
        """Log odds of staying, log weights of the destinations, and driver effects."""
        count, own = steps.regimes, steps.own
        regimes, rows = np.eye(count), np.eye(1 + len(steps.drivers))
        durations = np.log(np.broadcast_to(np.asarray(self.expected_duration), count) - 1)
        found = [
            Term(
                nm.STAY,
                normal(self.expected_duration_log_sd, durations if np.ptp(durations) else float(durations[0])),
                rf"\alpha{index_of(own, 'i', 'i')}",
                "log odds of staying, drivers at their mean",
                (nm.REGIME,),
                np.einsum("pi,pj,r->prij", regimes, regimes, rows[0]),
            )
        ]
        if count > 2:  # noqa: PLR2004
            found.append(
                Term(
                    nm.LEAVE,
                    zero_sum_normal(LEAVE_SD),
                    rf"\alpha{index_of(own, 'i', 'j')}",
                    "log weights of the regimes to go to; they sum to zero",
                    (nm.REGIME, nm.ONWARD),
                    np.einsum("pi,qij,r->pqrij", regimes, onward_masks(count), rows[0]),
                    zero_sum=1,
                    transform=partial(_normalized, _allowed(steps)),
                )
            )
        pooled_rows = [1 + d for d, driver in enumerate(steps.drivers) if driver != steps.ordered]
        if pooled_rows:
            found.append(
                Term(
                    nm.DRIVER_EFFECT,
                    zero_sum_normal(DRIVER_SD),
                    rf"\delta{index_of(own, 'j')}",
                    "what one sd of a driver adds to a regime's log weight in the softmax; they sum to zero over "
                    "regimes",
                    (nm.POOLED_DRIVER if steps.ordered else nm.DRIVER, nm.DESTINATION),
                    np.einsum("pr,qj,i->pqrij", rows[pooled_rows], regimes, np.ones(count)),
                    zero_sum=1,
                )
            )
        if steps.ordered:
            row = rows[[1 + steps.drivers.index(steps.ordered)]]
            found.append(
                Term(
                    nm.DRIVER_GAP,
                    Prior("HalfNormal", sigma=float(np.sqrt(2) * DRIVER_SD)),
                    rf"\delta{index_of(own, 'k+1')} - \delta{index_of(own, 'k')}",
                    "gap between neighbouring regimes in what one sd of the driver adds to their log weights",
                    (nm.ORDERED_DRIVER, nm.GAP),
                    np.einsum("pr,jg,i->pgrij", row, ladder(count), np.ones(count)),
                )
            )
        if steps.drivers and self.by_origin:
            found.append(
                pooled(
                    nm.DRIVER_ORIGIN,
                    ORIGIN_SD,
                    (nm.DRIVER, nm.ORIGIN, nm.DESTINATION),
                    symbols=(r"\omega", rf"\epsilon{index_of(own, 'i', 'j')}"),
                    meanings=(
                        "how far origins differ in what a driver does",
                        "each step's deviation over that; they sum to zero both ways",
                    ),
                    enters=np.einsum("pr,qi,sj->pqsrij", rows[1:], regimes, regimes),
                    zero_sum=2,
                )
            )
        return tuple(found)

    def logit_latex(self, steps: Steps) -> str:
        """The logit of the step from i to j."""
        own = steps.own
        terms = [rf"\alpha{index_of(own, 'i', 'j')}"]
        for driver in steps.drivers:
            name = text(driver)
            slope = rf"\delta^{{{name}}}{index_of(own, 'j')}"
            if self.by_origin:
                slope = rf"\left({slope} + \omega^{{{name}}} \epsilon^{{{name}}}{index_of(own, 'i', 'j')}\right)"
            terms.append(rf"{slope}\, z^{{{name}}}_{{t-1}}")
        return " + ".join(terms)

    def latex(self, steps: Steps) -> list[tuple[str, str]]:
        """The odds on the diagonal."""
        words = "The diagonal holds the log odds of staying"
        words += ", with all drivers at their mean" if steps.drivers else ""
        stay = rf"\alpha{index_of(steps.own, 'i', 'i')}"
        rest = rf"\log \sum_{{j \neq i}} e^{{\alpha{index_of(steps.own, 'i', 'j')}}} = 0"
        return [(f"{words}.", rf"E[\text{{rows in regime }} i] = 1 + e^{{{stay}}}, \quad {rest}")]


def _normalized(allowed: np.ndarray, leave: Array, xp: Any) -> Array:
    return leave - xp.log(xp.sum(allowed * xp.exp(leave), axis=-1, keepdims=True))


def _allowed(steps: Steps) -> np.ndarray:
    """One for each other regime to go to (regime, onward), zero if that step is forbidden; ones if all are."""
    if steps.forbidden is None:
        return np.ones(steps.regimes - 1)
    allowed = np.einsum("qij,ij->iq", onward_masks(steps.regimes), ~steps.forbidden)
    return np.where(allowed.any(axis=1, keepdims=True), allowed, 1.0)


def onward_masks(count: int) -> np.ndarray:
    """Masks (onward, origin, destination) of the n-th destination other than the origin, for each n."""
    masks = np.zeros((count - 1, count, count))
    for origin in range(count):
        others = [j for j in range(count) if j != origin]
        masks[range(count - 1), origin, others] = 1.0
    return masks


def stationary_distribution(transition: Array, count: int, xp: Any) -> Array:
    """Stationary probabilities (..., regime) of transition matrices (..., origin, destination) of `count` regimes.

    They are the unique solution of ``pi (I - P + 1) = 1``, with 1 the matrix of ones.
    """
    return xp.linalg.solve(xp.swapaxes(np.eye(count) - transition + 1.0, -1, -2), np.ones(count))


TRANSITIONS: dict[str, type[Transitions]] = {Markov.kind: Markov}
