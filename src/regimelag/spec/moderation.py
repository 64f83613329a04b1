"""Moderators of the lagged effect: observed variables, known a period ahead, on which the effect depends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from regimelag.spec import names as nm
from regimelag.spec.priors import Prior
from regimelag.spec.series import Driver
from regimelag.spec.term import Term, index_of, text

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec

# Prior sd of what a state, or a standard deviation of a driver, adds to an effect: an elasticity, and standardised.
ELASTICITY_SD, STANDARDIZED_SD = 1.5, 0.5
# The same of what it adds to the mean of a response.
MAIN_SD = 0.3


def drivers_of(spec: ModelSpec, moderators: Sequence[str]) -> tuple[Driver, ...]:
    """Drivers that moderators, drivers or indicators by name, are made of."""
    named = set(moderators)
    for indicator in spec.indicators:
        if indicator.name in moderators:
            named |= {condition.driver for condition in indicator.all_of}
    return tuple(driver for driver in spec.drivers if driver.name in named)


def needs_standing_drivers(spec: ModelSpec) -> bool:
    """Whether the first period of the window depends on the drivers of the period before."""
    coupled = any(process.couples and process.drivers for process in spec.regime_processes)
    return bool(spec.moderators or spec.indicators) or coupled


def _sds(spec: ModelSpec, sd: float) -> np.ndarray | float:
    """Prior sd by moderator: per state, or per standard deviation over the root of the number of moderators."""
    states = [indicator.name for indicator in spec.indicators]
    sds = [sd if name in states else sd / np.sqrt(len(spec.moderators)) for name in spec.moderators]
    return np.array(sds) if len(set(sds)) > 1 else sds[0]


def _interaction_prior(spec: ModelSpec) -> Prior:
    """An elasticity where one response and all moderated signals are log returns, and standardised otherwise."""
    series = (*spec.responses, *spec.moderated_signals)
    if len(spec.responses) == 1 and all(one.transform == "log_return" for one in series):
        return Prior("Normal", mu=0.0, sigma=_sds(spec, ELASTICITY_SD), unit="elasticity")
    return Prior("Normal", mu=0.0, sigma=_sds(spec, STANDARDIZED_SD))


def interactions(spec: ModelSpec) -> Iterator[Term]:
    """Terms of the table (moderator, lagged signal) of what moderators add to effects."""
    if not spec.moderators:
        return
    rows = np.eye(len(spec.lagged_signals))[[spec.lagged_signals.index(one) for one in spec.moderated_signals]]
    yield Term(
        nm.EFFECT_MODERATOR,
        _interaction_prior(spec),
        r"\phi",
        "what a state, or one sd of a driver, adds to the lagged effect of each signal",
        (nm.MODERATED_SIGNAL, nm.MODERATOR),
        np.einsum("ps,qm->pqms", rows, np.eye(len(spec.moderators))),
        slope_on=nm.SIGNAL,
    )


def main_effects(spec: ModelSpec, response: str, rows: np.ndarray) -> Iterator[Term]:
    """Terms of the location: what moderators add to the mean; `rows` (moderator, covariate) says where they enter."""
    if not spec.moderators:
        return
    own = index_of(response)
    everywhere = np.eye(len(spec.responses)), rows, np.ones(len(spec.joint_regimes))
    yield Term(
        nm.MODERATOR_MAIN_EFFECT,
        Prior("Normal", mu=0.0, sigma=_sds(spec, MAIN_SD)),
        rf"\kappa{own}",
        "what a state, or one sd of a driver, adds to the mean",
        (nm.RESPONSE, nm.MODERATOR),
        np.einsum("pa,qc,k->pqcak", *everywhere),
        tuple(rf"\kappa^{{{text(one)}}}{own}\, q^{{{text(one)}}}_t" for one in spec.moderators),
    )
