"""Checks of the regime processes of a spec."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regimelag.errors import require, require_choice
from regimelag.spec.kernels import NoLag
from regimelag.spec.parts import Regimes
from regimelag.spec.processes import QUANTITIES, OrderBy, RegimeProcess, declared
from regimelag.spec.series import Signal

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec

# The cost of the recursions grows with the square of the number of regimes.
MOST_JOINT_REGIMES = 16


def check_processes(spec: ModelSpec, asked: str) -> None:
    """Require processes of parts of the model, each quantity carried once, and at most 16 joint regimes."""
    if spec.regime_processes:
        _check_declared(spec, asked)
    else:
        require(
            spec.regimes.count > 1 or not spec.transition_drivers,
            asked,
            "drivers move the probabilities of at least two regimes",
            f"{len(spec.transition_drivers)} drivers and one regime",
            "write drivers = [], drives = false for those of moderators and indicators, or count = 2 in [regimes] "
            "(regimes=regimelag.spec.Regimes(count=2) in Python)",
        )
    counts = [one.count for one in declared(spec)] * (len(spec.responses) if spec.own_regimes else 1)
    shared = 'drop "regimes" from responses_vary, so that all responses share one regime process'
    require(
        int(np.prod(counts)) <= MOST_JOINT_REGIMES or len(counts) == 1,
        asked,
        f"independent regime processes have at most {MOST_JOINT_REGIMES} joint regimes, since the cost is that squared",
        f"{' times '.join(map(str, counts))} regimes make {int(np.prod(counts))}",
        shared if spec.own_regimes else "drop a process from regime_processes, or write count = 2 in each",
    )
    require(
        not any(kernel.by_regime for kernel in spec.point_kernels) or len(counts) == 1,
        asked,
        "a point lag by regime goes with one regime process",
        f"{len(counts)} regime processes",
        "drop by_regime from the kernel" + (', or drop "regimes" from responses_vary' if spec.own_regimes else ""),
    )


def kept_processes(spec: ModelSpec, signals: tuple[Signal, ...]) -> dict[str, Any]:
    """Fields of a spec with its regime processes fitted to other signals."""
    lagged = [one.name for one in signals if not isinstance(one.kernel, NoLag)]
    now = any(one.contemporaneous for one in signals)
    absent = {*(() if lagged else ("effect", "lag")), *(() if now else ("contemporaneous",))}
    kept = []
    for process in spec.regime_processes:
        carries = tuple(quantity for quantity in process.carries if quantity not in absent)
        order, signal = process.order_by, process.order_by.signal
        if order.quantity in absent or (signal and signal not in lagged):
            held = [quantity for quantity in ("scale", "intercept") if quantity in carries]
            order = OrderBy(held[0]) if held else OrderBy("none")
        if carries:
            names = process.labels() if process.count > 1 else process.names
            kept.append(replace(process, carries=carries, order_by=order, names=names))
    if tuple(kept) == spec.regime_processes:
        return {}
    moved = {name for process in kept for name in process.drivers}
    # Drivers that do not drive are those of moderators.
    drivers = tuple(driver for driver in spec.drivers if driver.name in moved or not driver.drives)
    one = {} if kept else {"regimes": Regimes(count=1)}
    return {"regime_processes": tuple(kept), "drivers": drivers, **one}


def _check_declared(spec: ModelSpec, asked: str) -> None:
    rule, cure = "regimes are described by the table [regimes] or by regime_processes", "drop regimes"
    require(spec.regimes == Regimes(), asked, rule, "both", cure)
    rule = 'regime_processes say what each response has: "regimes" in responses_vary goes with the table [regimes]'
    cure = f"write responses_vary = {[one for one in spec.responses_vary if one != 'regimes']}"
    require("regimes" not in spec.responses_vary, asked, rule, "both", cure)
    known = {"drivers": spec.transition_drivers, "responses": spec.responses}
    for process in spec.regime_processes:
        where = f"{asked}, regime process {process.name!r}"
        for role, members in known.items():
            for name in getattr(process, role):
                require_choice(where, role.removesuffix("s"), name, [one.name for one in members])
        _check_quantities(spec, process, where)
    moved = {name for process in spec.regime_processes for name in process.drivers}
    idle = [one.name for one in spec.transition_drivers if one.name not in moved]
    rule, came = "every driver moves a regime process", f"{', '.join(idle)} moves none"
    first = spec.regime_processes[0]
    cure = f"write drivers = {[*first.drivers, *idle]} in the process {first.name!r}, or drives = false for the driver"
    require(not idle, asked, rule, came, cure)
    _check_carried_once(spec, asked)


def _check_quantities(spec: ModelSpec, process: RegimeProcess, where: str) -> None:
    """The model has the quantities that a process carries, and the one that orders its regimes."""
    absent = {
        "effect": () if spec.lagged_signals else ("the model has a signal with a lag kernel",),
        "contemporaneous": () if spec.contemporaneous_signals else ("the model has a signal with a same-period term",),
        "lag": () if spec.lagged_signals else ("the model has a signal with a lag kernel",),
    }
    for quantity, rules in absent.items():
        rest = [one for one in process.carries if one != quantity]
        for rule in rules if quantity in process.carries else ():
            cure = f"write carries = {rest}" if rest else "drop the process"
            require(False, where, rule, f'"{quantity}" in carries, and none', cure)
    names, quantity = [one.name for one in spec.lagged_signals], process.order_by.quantity
    if quantity == "effect":
        given = process.order_by.signal
        cure = f'write order_by = {{quantity = "effect", signal = "{names[0]}"}}'
        rule = f"regimes are ordered by the effect of a lagged signal, one of {names}"
        require(given in names or (not given and len(names) == 1), where, rule, f"signal = {given!r}", cure)
    own = process.responses or tuple(one.name for one in spec.responses)
    if process.order_by.response:
        require_choice(f"{where}, order_by", "response", process.order_by.response, own)
        came, cure = f"response = {process.order_by.response!r}, of {', '.join(own)}", "leave response out of order_by"
        require(len(own) == 1, where, "one response of several does not order the regimes of a process", came, cure)
    if quantity == "intercept":
        rule, cure = "regimes are ordered by the mean of one response", f'write responses = ["{own[0]}"]'
        require(len(own) == 1, where, rule, f"responses {', '.join(own)}", cure)
    if "lag" in process.carries:
        every = {one.name for one in spec.responses} <= {*(process.responses or [r.name for r in spec.responses])}
        rule, cure = "the lag of all responses differs between the regimes of a process", "drop responses"
        require(every, where, rule, f"responses = {list(process.responses)}", cure)
        fixed = [one.name for one in spec.lagged_signals if not one.kernel.movable]
        rest = [one for one in process.carries if one != "lag"]
        cure = (
            f"give {', '.join(fixed)} a gamma, lognormal, negative_binomial or beta kernel, or write carries = {rest}"
        )
        rule = "a lag that differs between regimes belongs to a kernel with a location"
        require(not fixed, where, rule, f"signal {', '.join(fixed)} has a kernel without one", cure)


def _check_carried_once(spec: ModelSpec, asked: str) -> None:
    for response in (one.name for one in spec.responses):
        for quantity in QUANTITIES:
            held = [
                process
                for process in spec.regime_processes
                if quantity in process.carries and response in (process.responses or (response,))
            ]
            require(
                len(held) < 2,  # noqa: PLR2004
                asked,
                f"the {quantity} of a response is carried by one regime process at most",
                f"that of {response} by {' and '.join(one.name for one in held)}",
                _without(quantity, held),
            )


def _without(quantity: str, held: list[RegimeProcess]) -> str:
    """The cure for a quantity that several processes carry: leave it out of one that it does not order."""
    if not held:
        return ""
    one = next((one for one in held if one.order_by.quantity != quantity), held[-1])
    rest = [other for other in one.carries if other != quantity]
    if not rest:
        return f"drop the process {one.name!r}"
    order = f' and order_by = "{rest[0]}"' if one.order_by.quantity == quantity else ""
    order = ' and order_by = "none"' if order and rest[0] not in ("scale", "intercept", "effect") else order
    return f"write carries = {rest}{order} in the process {one.name!r}"
