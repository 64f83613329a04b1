"""Episodes and regimes of a spec."""

from __future__ import annotations

import datetime as dt
import typing
from dataclasses import dataclass, field
from typing import Literal

from regimelag.errors import require, require_choice, require_choices, require_tuple
from regimelag.runtime.plain import MOST_REGIMES, as_plain, is_whole
from regimelag.spec.registry import check_registered
from regimelag.spec.transitions import TRANSITIONS, Markov, Transitions

Initial = Literal["uniform", "stationary", "dirichlet"]

REGIME_NAMES = {1: ("all weather",), 2: ("calm", "turbulent"), 3: ("calm", "middle", "turbulent")}


@dataclass(frozen=True)
class Episodes:
    """Sample periods with their own scale or effects.

    Parameters
    ----------
    starts : tuple of date
        First day of each episode except the first, ascending. Episodes without an observation in the window are
        dropped.
    names : tuple of str
        One name per episode, including the one before the first start; generated from the dates if empty.
    vary : tuple of {"scale", "effect", "lag"}
        What differs between episodes, partially pooled. "lag" varies the location of a kernel; kernels without a
        location and point lags are refused.
    """

    starts: tuple[dt.date, ...] = ()
    names: tuple[str, ...] = ()
    vary: tuple[Literal["scale", "effect", "lag"], ...] = ("scale", "effect")

    def __post_init__(self) -> None:
        as_plain(self)
        asked = "episodes"
        require_tuple(asked, "starts", self.starts)
        require_tuple(asked, "names", self.names)
        for start in self.starts:
            require(
                isinstance(start, dt.date) and not isinstance(start, dt.datetime),
                asked,
                "starts are dates",
                start,
                "write 2012-11-28 without quotes in TOML, or datetime.date(2012, 11, 28)",
            )
        require(
            all(a < b for a, b in zip(self.starts, self.starts[1:], strict=False)),
            asked,
            "starts ascend and none is given twice",
            ", ".join(str(s) for s in self.starts),
            "sort them and drop repeats",
        )
        if self.names:
            require(
                len(self.names) == len(self.starts) + 1 and len(set(self.names)) == len(self.names),
                asked,
                f"there are {len(self.starts) + 1} different names, one more than starts",
                f"{len(self.names)} names: {', '.join(map(str, self.names))}",
                "name the period before the first start too, or leave names out",
            )
            require_not_all(asked, "episode", self.names)
        require_choices(asked, "vary", self.vary, ("scale", "effect", "lag"))

    def labels(self) -> tuple[str, ...]:
        """One name per episode, including the first."""
        if self.names:
            return self.names
        if not self.starts:
            return ("all",)
        return (f"before {self.starts[0]}", *(f"from {start}" for start in self.starts))


def require_not_all(asked: str, kind: str, names: tuple[str, ...]) -> None:
    """Keep the word that stands in tables for all episodes or regimes together."""
    rule = f'no {kind} of several is named "all", which tables use for all of them'
    require(len(names) == 1 or "all" not in names, asked, rule, ", ".join(map(str, names)), 'write "every" for "all"')


@dataclass(frozen=True)
class Regimes:
    """The hidden regime process.

    Parameters
    ----------
    count : int
        Number of regimes, ordered by volatility.
    names : tuple of str
        Names in ascending order of volatility; by default calm, turbulent, and so on.
    initial : {"uniform", "stationary", "dirichlet"}
        Initial distribution: equal probabilities, the stationary distribution of the first transition matrix, or free
        with a flat Dirichlet prior.
    transitions : Transitions
        Transition model.
    """

    count: int = 2
    names: tuple[str, ...] = ()
    initial: Initial = "uniform"
    transitions: Transitions = field(default_factory=Markov)

    def __post_init__(self) -> None:
        as_plain(self)
        require(
            is_whole(self.count) and 1 <= self.count <= MOST_REGIMES,
            "regimes",
            f"count is a whole number, at least 1 and at most {MOST_REGIMES}",
            f"count = {self.count!r}",
            "write count = 2 in [regimes], or regimes=regimelag.spec.Regimes(count=2) in Python",
        )
        require_choice("regimes", "initial", self.initial, typing.get_args(Initial))
        require_tuple("regimes", "names", self.names)
        if self.names:
            require(
                len(self.names) == self.count and len(set(self.names)) == self.count,
                "regimes",
                f"there are {self.count} different names, one per regime",
                f"{len(self.names)} names: {', '.join(map(str, self.names))}",
                "name each regime once, from the least volatile up, or leave names out",
            )
            require_not_all("regimes", "regime", self.names)

        check_registered(
            "regimes",
            "transition model",
            self.transitions,
            TRANSITIONS,
            "regimelag.spec.transitions.TRANSITIONS",
        )
        self.transitions.validate(self.count)

    def labels(self) -> tuple[str, ...]:
        """One name per regime, in ascending order of volatility."""
        default = REGIME_NAMES.get(self.count, tuple(f"volatility {k + 1}" for k in range(self.count)))
        return self.names or default
