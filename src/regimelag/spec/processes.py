"""Regime processes of a spec, and the joint regimes that they make."""

from __future__ import annotations

import itertools
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from regimelag.errors import require, require_choice, require_choices, require_tuple
from regimelag.runtime.plain import MOST_REGIMES, as_plain, is_whole
from regimelag.spec import names as nm
from regimelag.spec.parts import REGIME_NAMES, Initial, require_not_all
from regimelag.spec.registry import check_registered
from regimelag.spec.transitions import TRANSITIONS, Markov, Transitions

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec

Quantity = Literal["scale", "intercept", "effect", "contemporaneous", "lag"]
Order = Literal["scale", "intercept", "effect", "driver", "none"]
QUANTITIES: tuple[Quantity, ...] = typing.get_args(Quantity)
# What the keys of order_by name, by quantity.
KEYS = {"scale": ("response",), "intercept": ("response",), "effect": ("signal",), "driver": ("driver",), "none": ()}
# Prior of the expected duration of a coupling process: half a year in periods, by the first letter of the frequency,
# and log standard deviation.
HALF_YEAR = {"W": 26.0, "D": 182.0, "B": 130.0, "t": 126.0, "M": 6.0, "Q": 2.0}
COUPLING_LOG_SD = 0.7


@dataclass(frozen=True)
class OrderBy:
    """Quantity by which the regimes of a process are ordered.

    Parameters
    ----------
    quantity : {"scale", "intercept", "effect", "driver", "none"}
        "effect" orders by the lagged effect of ``signal``, "driver" by the effect of ``driver`` on the regimes. With
        "none" the labels of the regimes are exchangeable.
    signal, driver : str
        Name of the signal or the driver; the only one by default.
    response : str
        Name of the response whose scale or mean orders the regimes, if the process has one response; the only one by
        default. Scales of several responses have the same order, so none of them is named.
    """

    quantity: Order = "scale"
    signal: str = ""
    driver: str = ""
    response: str = ""

    def __post_init__(self) -> None:
        as_plain(self)
        require_choice("order_by", "quantity", self.quantity, KEYS)
        for key in ("signal", "driver", "response"):
            given, known = getattr(self, key), KEYS[self.quantity]
            rule = (
                f"{key} is given where regimes are ordered by its {'scale or mean' if key == 'response' else 'effect'}"
            )
            require(not given or key in known, "order_by", rule, f'quantity = "{self.quantity}"', f"leave {key} out")


@dataclass(frozen=True)
class RegimeProcess:
    """A hidden Markov process of regimes.

    Parameters
    ----------
    name : str
        Name of the process. With several processes it is the first part of the names of its parameters.
    count : int
        Number of regimes.
    names : tuple of str
        Names of the regimes, in ascending order of the quantity that orders them.
    carries : tuple of {"scale", "intercept", "effect", "contemporaneous", "lag"}
        What differs between its regimes: residual scale, mean, cumulative lagged effect, same-period effect, and the
        location of hump-shaped lag kernels.
    order_by : OrderBy, str or mapping
        What orders the regimes; the scale by default. A quantity alone, or a table with its keys, is converted.
    drivers : tuple of str
        Drivers of its transition probabilities.
    forbidden : tuple of (str, str)
        Pairs of regimes [from, to] between which there is no step.
    initial : {"uniform", "stationary", "dirichlet"}
        Initial distribution, as in `Regimes`.
    transitions : Transitions, optional
        Transition model. By default `Markov`, with an expected duration of 20 periods; of half a year (26 weeks, 6
        months), with a log standard deviation of 0.7, in a process that carries the effect and not the scale.
    responses : tuple of str
        Responses whose quantities it carries; all by default.
    """

    name: str
    count: int = 2
    names: tuple[str, ...] = ()
    carries: tuple[Quantity, ...] = ("scale", "intercept", "effect")
    order_by: OrderBy = OrderBy()
    drivers: tuple[str, ...] = ()
    forbidden: tuple[tuple[str, ...], ...] = ()
    initial: Initial = "uniform"
    transitions: Transitions | None = None
    responses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        as_plain(self)
        asked = f"the regime process {self.name!r}"
        # It becomes part of the names of parameters and dimensions.
        named = isinstance(self.name, str) and bool(re.fullmatch(r"\w[\w -]*", self.name)) and self.name not in TAKEN
        rule = f"name is a text of letters, digits, spaces, _ and -, and none of {sorted(TAKEN)}"
        require(named, "a regime process", rule, f"name = {self.name!r}", 'write name = "coupling"')
        several = is_whole(self.count) and 1 <= self.count <= MOST_REGIMES
        rule = f"count is a whole number, at least 1 and at most {MOST_REGIMES}"
        require(several, asked, rule, f"count = {self.count!r}", "write count = 2")
        require_choices(asked, "carries", self.carries, QUANTITIES)
        rule = "a process carries something, so that the data depend on its regimes"
        require(bool(self.carries), asked, rule, "carries = []", 'write carries = ["scale"]')
        require_choice(asked, "initial", self.initial, typing.get_args(Initial))
        for field in ("names", "drivers", "responses", "forbidden"):
            require_tuple(asked, field, getattr(self, field))
        object.__setattr__(self, "order_by", _order_of(asked, self.order_by))
        rule, cure = "drivers move the probabilities of at least two regimes", "write count = 2"
        require(self.count > 1 or not self.drivers, asked, rule, f"{len(self.drivers)} drivers and one regime", cure)
        self._check_names(asked)
        where = "regimelag.spec.transitions.TRANSITIONS"
        check_registered(asked, "transition model", self.model, TRANSITIONS, where)
        self.model.validate(self.count)
        self._check_order(asked)
        self._check_forbidden(asked)

    def _check_names(self, asked: str) -> None:
        if self.names:
            fits = len(self.names) == self.count and len(set(self.names)) == self.count
            rule = f"there are {self.count} different names, one per regime"
            came = f"{len(self.names)} names: {', '.join(map(str, self.names))}"
            require(fits, asked, rule, came, "name each regime once, or leave names out")
            require_not_all(asked, "regime", self.names)

    def _check_order(self, asked: str) -> None:
        """The quantity that orders the regimes differs between them."""
        quantity, drivers = self.order_by.quantity, self.drivers
        if quantity == "driver":
            rule = "regimes are ordered by a driver of the process"
            known = next(iter(drivers), "dollar")
            cure = f'write order_by = {{quantity = "driver", driver = "{known}"}}'
            cure += "" if drivers else f' and drivers = ["{known}"]'
            came = f"driver = {self.order_by.driver!r}, of {', '.join(drivers) or 'none'}"
            require(self.order_by.driver in drivers, asked, rule, came, cure)
            rule, came = "only markov transitions are ordered by a driver", type(self.model).__name__
            cure = 'write transitions = "markov" (transitions=regimelag.spec.Markov() in Python)'
            require(type(self.model) is Markov, asked, rule, came, cure)
        elif quantity != "none":
            rule = "regimes are ordered by a quantity that the process carries, by a driver, or not at all"
            came = f'order_by = {{quantity = "{quantity}"}}, carries = {list(self.carries)}'
            first = next((one for one in ("scale", "effect", "intercept") if one in self.carries), "none")
            cure = f'write order_by = "{first}"'
            require(quantity in self.carries, asked, rule, came, cure)

    def _check_forbidden(self, asked: str) -> None:
        labels = self.labels()
        for pair in self.forbidden:
            fits = isinstance(pair, tuple) and len(pair) == 2 and set(pair) <= set(labels) and pair[0] != pair[1]  # noqa: PLR2004
            rule = f"forbidden has pairs [from, to] of two of {list(labels)}"
            require(fits, asked, rule, f"{pair!r}", f'write forbidden = [["{labels[0]}", "{labels[1]}"]]')
        reached = np.linalg.matrix_power(~self.forbidden_mask() + 0, self.count) > 0
        came = f"forbidden = {[list(pair) for pair in self.forbidden]}"
        rule = "one regime at least can be reached from every regime"
        require(bool(reached.all(axis=0).any()), asked, rule, came, "drop one of the pairs from forbidden")
        rule = "with a stationary initial distribution every regime can be reached from every other"
        fits = self.initial != "stationary" or bool(reached.all())
        require(fits, asked, rule, came, 'write initial = "uniform"')

    @property
    def model(self) -> Transitions:
        """The transition model; that of a weekly model if none is given."""
        return self.transitions or _default(self.couples, "W-FRI")

    def at_frequency(self, frequency: str) -> RegimeProcess:
        """The process with the default transition model of a frequency, if it has none."""
        return self if self.transitions else replace(self, transitions=_default(self.couples, frequency))

    @property
    def couples(self) -> bool:
        """Whether it is a coupling process: it carries the effect of signals, and not the scale."""
        return "effect" in self.carries and "scale" not in self.carries

    def forbidden_mask(self) -> np.ndarray:
        """Which steps are forbidden (origin, destination)."""
        labels, mask = self.labels(), np.zeros((self.count, self.count), dtype=bool)
        for origin, destination in self.forbidden:
            mask[labels.index(origin), labels.index(destination)] = True
        return mask

    def labels(self) -> tuple[str, ...]:
        """One name per regime, in ascending order."""
        if self.names:
            return self.names
        quantity = self.order_by.quantity
        if quantity == "scale":
            return REGIME_NAMES.get(self.count, tuple(f"volatility {k + 1}" for k in range(self.count)))
        word = {"intercept": "mean", "effect": "effect", "driver": self.order_by.driver, "none": ""}[quantity]
        if not word:
            return tuple(f"regime {k + 1}" for k in range(self.count))
        if self.count == 2:  # noqa: PLR2004
            ends = ("raised by less", "raised by more") if quantity == "driver" else ("lower", "higher")
            return (f"{ends[0]} {word}", f"{ends[1]} {word}")
        return tuple(f"{word} {k + 1}" for k in range(self.count))


def _default(couples: bool, frequency: str) -> Markov:
    """Default transition model of a process at a frequency."""
    if not couples:
        return Markov()
    half_year = HALF_YEAR.get(str(frequency)[:1], HALF_YEAR["W"])
    return Markov(expected_duration=(half_year,), expected_duration_log_sd=COUPLING_LOG_SD)


# Names of other dimensions and coordinates, and first parts of their names.
TAKEN = {
    *(nm.TIME, nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL, nm.EPISODE, nm.REGIME, nm.REGIME_PROCESS, nm.LAG),
    *(nm.STEP, nm.CHAIN, nm.DRAW, "start", "constant", "control", "other", "ordered", "pooled", "lagged"),
}


def _order_of(asked: str, given: Any) -> OrderBy:
    """The order from a quantity, a table or itself."""
    if isinstance(given, str):
        return OrderBy(given)  # type: ignore[arg-type]
    if isinstance(given, Mapping) and set(given) <= {"quantity", "signal", "driver", "response"}:
        return OrderBy(**given)
    rule, came = "order_by is a quantity, or a table with quantity, signal, driver and response", f"{given!r}"
    require(isinstance(given, OrderBy), asked, rule, came, 'write order_by = "scale"')
    return typing.cast("OrderBy", given)


class Process(NamedTuple):
    """A regime process of a model, and its part in the joint regimes.

    Attributes
    ----------
    spec : RegimeProcess
        The process as the spec declares it.
    prefix : str
        First part of the names of its parameters and dimensions; empty if the model declares one process.
    responses : tuple of int
        Places of the responses whose quantities it carries.
    drivers : tuple of int
        Places of its drivers among those of the transitions.
    regime : ndarray
        (joint regime) its regime in each joint regime.
    own : bool
        Whether each response has a copy of the process, with parameters of the same name and a dimension response.
    """

    spec: RegimeProcess
    prefix: str
    responses: tuple[int, ...]
    drivers: tuple[int, ...]
    regime: np.ndarray
    own: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its regimes."""
        return self.spec.labels()

    @property
    def first(self) -> np.ndarray:
        """(regime) the first joint regime with each of its regimes."""
        return np.array([int(np.argmax(self.regime == k)) for k in range(self.spec.count)])

    @property
    def member(self) -> np.ndarray:
        """(joint regime, regime) indicator of its regime in each joint regime."""
        return np.eye(self.spec.count)[self.regime]

    def named(self, name: str) -> str:
        """Name of its parameter or dimension."""
        return f"{self.prefix}{name}"

    def dims(self, dims: Sequence[str]) -> tuple[str, ...]:
        """Dimensions of a parameter, with those of the process under its own names."""
        return tuple(self.named(dim) if dim in nm.OF_A_PROCESS else dim for dim in dims)


class Group(NamedTuple):
    """Responses of which a quantity is carried by the same declared process, or by none.

    Attributes
    ----------
    process : Process or None
        The process; the first copy if each response has one.
    responses : tuple of int
        Places of the responses.
    member : ndarray
        (response of the group, joint regime, regime) indicator of each response's regime.
    alone : bool
        Whether the group holds all responses.
    """

    process: Process | None
    responses: tuple[int, ...]
    member: np.ndarray
    alone: bool

    @property
    def own(self) -> bool:
        """Whether each response has a copy of the process."""
        return self.process is not None and self.process.own

    @property
    def label(self) -> str:
        """First part of the names of its parameters, if the model has other groups."""
        return "" if self.alone else f"{self.process.spec.name if self.process else 'constant'}_"

    @property
    def response_dim(self) -> str:
        """Dimension over its responses."""
        return f"{self.label}{nm.RESPONSE}"


def declared(spec: ModelSpec) -> tuple[RegimeProcess, ...]:
    """Regime processes as declared; the table of regimes is one that carries scale, intercept and effect."""
    if spec.regime_processes:
        return spec.regime_processes
    table, drivers = spec.regimes, tuple(one.name for one in spec.transition_drivers)
    first, transitions = table.initial, table.transitions
    named = table.labels()
    return (RegimeProcess("regimes", table.count, named, drivers=drivers, initial=first, transitions=transitions),)


@lru_cache(maxsize=64)
def processes_of(spec: ModelSpec) -> tuple[Process, ...]:
    """The independent regime processes of a model, one for each response where each has a copy."""
    every, several = declared(spec), len(declared(spec)) > 1
    responses, drivers = [one.name for one in spec.responses], [one.name for one in spec.transition_drivers]
    whose = [tuple(responses.index(name) for name in one.responses or responses) for one in every]
    if spec.own_regimes:
        every, whose = every * len(responses), [(a,) for a in range(len(responses))]
    joint = np.array(list(itertools.product(*(range(one.count) for one in every)))).T
    return tuple(
        Process(
            one,
            f"{one.name}_" if several else "",
            places,
            tuple(sorted(drivers.index(name) for name in one.drivers)),
            regime,
            spec.own_regimes,
        )
        for one, places, regime in zip(every, whose, joint, strict=True)
    )


def carrier(spec: ModelSpec, quantity: Quantity, response: int) -> Process | None:
    """The process that carries a quantity of a response, if any."""
    held = (one for one in processes_of(spec) if quantity in one.spec.carries and response in one.responses)
    return next(held, None)


@lru_cache(maxsize=256)
def groups_of(spec: ModelSpec, quantity: Quantity) -> tuple[Group, ...]:
    """All responses, grouped by the declared process that carries a quantity; those without one come last."""
    carriers = [carrier(spec, quantity, a) for a in range(len(spec.responses))]
    declared_names = [None if one is None else one.spec.name for one in carriers]
    found = []
    for name in sorted(dict.fromkeys(declared_names), key=lambda one: one is None):
        places = tuple(a for a, one in enumerate(declared_names) if one == name)
        held = [carriers[a] for a in places]
        joint = len(spec.joint_regimes)
        member = np.stack([np.ones((joint, 1)) if one is None else one.member for one in held])
        found.append(Group(held[0], places, member, len(places) == len(carriers)))
    return tuple(found)


def regime_labels(spec: ModelSpec, quantity: Quantity) -> list[str]:
    """Names of the regimes over which a quantity differs, of all responses; "all" if no process carries it."""
    labels = [label for group in groups_of(spec, quantity) if group.process for label in group.process.labels]
    return list(dict.fromkeys(labels)) or ["all"]


def every_regime_label(spec: ModelSpec) -> list[str]:
    """Names of the regimes of all processes."""
    return list(dict.fromkeys(label for process in processes_of(spec) for label in process.labels))
