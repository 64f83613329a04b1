"""Terms of regime processes: logits of steps and the initial distribution, over joint regimes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from regimelag.spec import names as nm
from regimelag.spec.priors import Prior
from regimelag.spec.processes import Process, processes_of
from regimelag.spec.term import Term, index_of
from regimelag.spec.transitions import Steps

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec


def steps_of(spec: ModelSpec, process: Process) -> Steps:
    """Part of the spec that the transition model of a process needs."""
    declared = process.spec
    return Steps(
        declared.count,
        tuple(spec.transition_drivers[d].name for d in process.drivers),
        "a" if process.own else "",
        declared.order_by.driver,
        declared.forbidden_mask() if declared.forbidden else None,
    )


def step_terms(spec: ModelSpec, process: Process) -> tuple[Term, ...]:
    """Terms of the logits (1 + driver, origin, destination) of one process; rows are those of all drivers."""
    if process.spec.count == 1:
        return ()
    rows = np.eye(1 + len(spec.transition_drivers))[[0, *(1 + d for d in process.drivers)]]
    found = []
    for term in process.spec.model.terms(steps_of(spec, process)):
        enters = np.einsum("...rij,rs->...sij", np.asarray(term.enters), rows)
        raw = term.raw and term.raw._replace(name=process.named(term.raw.name))
        name, dims = process.named(term.name), process.dims(term.dims)
        found.append(term._replace(name=name, dims=dims, enters=enters, raw=raw))
    return tuple(found)


def initial_terms(process: Process) -> tuple[Term, ...]:
    """Terms of the log probabilities (regime) of the first regime of one process."""
    if process.spec.count == 1 or process.spec.initial != "dirichlet":
        return ()
    symbol = rf"\pi{index_of('a' if process.own else '', 'k')}"
    prior, meaning = Prior("Dirichlet", a=np.ones(process.spec.count)), "distribution of the first regime"
    name, dims, enters = process.named(nm.INITIAL), process.dims((nm.REGIME,)), np.eye(process.spec.count)
    return (Term(name, prior, symbol, meaning, dims, enters, transform=lambda values, xp: xp.log(values)),)


def joint_transition(spec: ModelSpec) -> Iterator[Term]:
    """Terms of the logits (1 + driver, origin, destination) of joint regimes; those of independent processes add."""
    for copies in _by_declaration(spec):
        at = [process.regime for process in copies]
        for term in step_terms(spec, copies[0]):
            yield _copied(term, [np.asarray(term.enters)[..., one[:, None], one[None, :]] for one in at])


def joint_initial(spec: ModelSpec) -> Iterator[Term]:
    """Terms of the log probabilities (joint regime) of the first joint regime; those of the processes add."""
    for copies in _by_declaration(spec):
        for term in initial_terms(copies[0]):
            yield _copied(term, [np.asarray(term.enters)[..., process.regime] for process in copies])


def _by_declaration(spec: ModelSpec) -> Iterator[list[Process]]:
    for _, copies in groupby(processes_of(spec), lambda process: process.prefix):
        yield list(copies)


def _copied(term: Term, enters: list[np.ndarray]) -> Term:
    """The term with a leading dimension response if each response has a copy of the process."""
    if len(enters) == 1:
        return term._replace(enters=enters[0])
    return term._replace(enters=np.stack(enters), dims=(nm.RESPONSE, *term.dims))


def forbidden_steps(spec: ModelSpec) -> np.ndarray | None:
    """Mask of the forbidden steps between joint regimes (origin, destination); None if all are possible."""
    masks = [
        process.spec.forbidden_mask()[process.regime[:, None], process.regime[None, :]]
        for process in processes_of(spec)
        if process.spec.forbidden
    ]
    return np.any(masks, axis=0) if masks else None


def process_coordinates(spec: ModelSpec) -> dict[str, list[str]]:
    """Labels along each dimension of the parameters of regime processes."""
    found: dict[str, list[str]] = {}
    lagged = [one.name for one in spec.lagged_signals]
    for process in processes_of(spec):
        regimes, drivers = list(process.labels), [spec.transition_drivers[d].name for d in process.drivers]
        ordered, driver = ordering_signal(spec, process), process.spec.order_by.driver
        own = {
            **dict.fromkeys((nm.REGIME, nm.ORIGIN, nm.DESTINATION), regimes),
            nm.GAP: [f"{high} over {low}" for low, high in pairwise(regimes)],
            nm.ONWARD: [f"other {n + 1}" for n in range(len(regimes) - 1)],
            nm.DRIVER: drivers,
            nm.ORDERED_DRIVER: [driver],
            nm.POOLED_DRIVER: [name for name in drivers if name != driver],
            nm.ORDERED_SIGNAL: [ordered],
            nm.POOLED_SIGNAL: [name for name in lagged if name != ordered],
        }
        found |= {process.named(dim): labels for dim, labels in own.items()}
        if len(process.responses) < len(spec.responses):
            found[f"{process.spec.name}_{nm.RESPONSE}"] = [spec.responses[a].name for a in process.responses]
    return found


def ordering_signal(spec: ModelSpec, process: Process) -> str:
    """Signal by whose effect the regimes of a process are ordered; empty for another order."""
    order = process.spec.order_by
    if order.quantity != "effect":
        return ""
    return order.signal or spec.lagged_signals[0].name


def base_dimension(spec: ModelSpec, dim: str) -> str:
    """The dimension over which priors are given by name, such as regime for volatility_regime."""
    renamed = dict.fromkeys((nm.LAGGED_SIGNAL, nm.CONTEMPORANEOUS_SIGNAL, nm.MODERATED_SIGNAL), nm.SIGNAL)
    renamed |= {nm.LAGGED_CONTROL: nm.CONTROL, nm.CONTROL_DRIVER: nm.DRIVER}
    renamed |= dict.fromkeys((nm.ORDERED_SIGNAL, nm.POOLED_SIGNAL), nm.SIGNAL)
    renamed |= dict.fromkeys((nm.ORDERED_DRIVER, nm.POOLED_DRIVER), nm.DRIVER)
    for process in processes_of(spec):
        bare = dim.removeprefix(process.prefix)
        if process.prefix and bare != dim and bare in nm.OF_A_PROCESS:
            return renamed.get(bare, bare)
        renamed[f"{process.spec.name}_{nm.RESPONSE}"] = nm.RESPONSE
    renamed[CONSTANT_RESPONSE] = nm.RESPONSE
    return renamed.get(dim, dim)


# Responses of which no process carries a quantity, where it is carried of others.
CONSTANT_RESPONSE = f"constant_{nm.RESPONSE}"
