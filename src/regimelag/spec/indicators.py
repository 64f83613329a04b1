"""Indicators: 0/1 states of the economy, declared as bounds on drivers."""

from __future__ import annotations

from dataclasses import dataclass

from regimelag.errors import require
from regimelag.runtime.plain import as_plain, is_number


@dataclass(frozen=True)
class Condition:
    """Bounds on the value of a driver, in its own unit.

    Parameters
    ----------
    driver : str
        Name of the driver.
    below, above : float, optional
        The value is smaller than ``below`` and larger than ``above``; one of them, or both, as transformed: 0.0 is no
        change, for a change.
    """

    driver: str
    below: float | None = None
    above: float | None = None

    def __post_init__(self) -> None:
        as_plain(self)
        asked = f"a condition on the driver {self.driver!r}"
        named = isinstance(self.driver, str) and bool(self.driver.strip())
        cure = 'write driver = "real yield"'
        require(named, "a condition", "driver names a driver", f"driver = {self.driver!r}", cure)
        for name in ("below", "above"):
            value = getattr(self, name)
            fits = value is None or is_number(value)
            require(fits, asked, f"{name} is a number", f"{name} = {value!r}", f"write {name} = 0.0")
        given = self.below is not None or self.above is not None
        require(given, asked, "a condition has a bound, below or above", "neither", "write below = 0.0")
        possible = self.below is None or self.above is None or self.above < self.below
        came = f"above = {self.above}, below = {self.below}"
        require(
            possible,
            asked,
            "a value can lie above one bound and below the other",
            came,
            f"write above = {_less(self.below)}",
        )


def _less(bound: float | None) -> float:
    return (bound or 0.0) - 1.0


@dataclass(frozen=True)
class Indicator:
    """A 0/1 state of the economy: 1 in the periods before which all of its conditions were published to hold.

    Parameters
    ----------
    name : str
        Name of the state.
    all_of : tuple of Condition
        The conditions.
    """

    name: str
    all_of: tuple[Condition, ...]

    def __post_init__(self) -> None:
        as_plain(self)
        named = isinstance(self.name, str) and bool(self.name.strip())
        cure = 'write name = "debasement"'
        require(named, "an indicator", "name is a text that is not empty", f"name = {self.name!r}", cure)
        asked = f"the indicator {self.name!r}"
        known = isinstance(self.all_of, tuple) and all(isinstance(one, Condition) for one in self.all_of)
        require(
            known and bool(self.all_of),
            asked,
            "all_of has at least one condition on a driver",
            self.all_of,
            'write all_of = [{driver = "real yield", below = 0.0}] in TOML, or '
            'all_of=(regimelag.spec.Condition("real yield", below=0.0),) in Python',
        )
