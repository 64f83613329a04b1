"""Checks of moderators, and of the indicators and drivers that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regimelag.errors import require, require_choice, require_choices
from regimelag.spec.moderation import drivers_of

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec


def check_moderators(spec: ModelSpec, asked: str) -> None:
    """Require that moderators and indicators name what the spec has, and overlap with no driver of an effect."""
    drivers = [driver.name for driver in spec.drivers]
    for indicator in spec.indicators:
        rule = "indicators and drivers have different names, since moderators name either"
        cure = f"write name = {indicator.name + ' state'!r} for the indicator"
        require(indicator.name not in drivers, asked, rule, f"two named {indicator.name!r}", cure)
        for condition in indicator.all_of:
            require_choice(f"{asked}, indicator {indicator.name!r}", "driver", condition.driver, drivers)
    known = [*drivers, *(indicator.name for indicator in spec.indicators)]
    for signal in spec.moderated_signals:
        require_choices(f"{asked}, signal {signal.name!r}", "moderators", signal.moderators, known)
    different = [signal for signal in spec.moderated_signals if signal.moderators != spec.moderators]
    require(
        not different,
        asked,
        "signals with moderators have the same ones",
        "; ".join(f"{one.name} {list(one.moderators)}" for one in spec.moderated_signals),
        f"write moderators = {list(spec.moderators)} for each of them: effects of moderators shrink to zero",
    )
    came, cure = f"allow_overlap = {spec.allow_overlap!r}", "write allow_overlap = true in TOML, or allow_overlap=True"
    require(isinstance(spec.allow_overlap, bool), asked, "allow_overlap is true or false", came, cure)
    _check_overlap(spec, asked)


def _check_overlap(spec: ModelSpec, asked: str) -> None:
    """Refuse a series that moderates an effect and drives a regime process that carries the effect."""
    if spec.allow_overlap:
        return
    # Processes that carry the effect; one regime carries nothing.
    moved = {d for one in spec.processes if "effect" in one.spec.carries and one.spec.count > 1 for d in one.drivers}
    moderating = {driver.level_columns: driver.name for driver in drivers_of(spec, spec.moderators)}
    drivers = [driver for d, driver in enumerate(spec.transition_drivers) if d in moved]
    both = [driver.name for driver in drivers if driver.level_columns in moderating]
    require(
        not both,
        asked,
        "a series moderates an effect or drives regimes that differ in the effect: both explain the same variation",
        f"{', '.join(both)} does both",
        f"write drives = false (drives=False in Python) for the driver {both[0] if both else ''!r}, or "
        "allow_overlap = true in the model",
    )
