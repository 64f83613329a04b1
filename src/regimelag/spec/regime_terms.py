"""Terms that differ between the regimes of a process: mean, effect, same-period effect and scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from regimelag.spec import names as nm
from regimelag.spec.priors import Prior, Unit
from regimelag.spec.process_terms import ordering_signal
from regimelag.spec.processes import Group, Process, Quantity, groups_of, processes_of
from regimelag.spec.series import Signal
from regimelag.spec.term import Term, index_of, ladder, normal, pooled, text, zero_sum_normal

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec


class Indices(NamedTuple):
    """LaTeX subscripts; empty for a dimension of length one."""

    response: str
    episode: str
    regimes: Mapping[str, str]

    @classmethod
    def of(cls, spec: ModelSpec, episodes: int) -> Indices:
        """Subscripts of a model with this number of episodes."""
        return cls(
            response="a" if len(spec.responses) > 1 else "",
            episode="e(t)" if episodes > 1 else "",
            regimes={process.prefix: regime_letter(spec, process) for process in processes_of(spec)},
        )

    @property
    def every(self) -> str:
        """Subscripts of the regimes of all processes."""
        return ",".join(letter for letter in self.regimes.values() if letter)

    def regime(self, process: Process | None) -> str:
        """Subscript of the regime of a process."""
        return self.regimes[process.prefix] if process else ""

    def of_quantity(self, spec: ModelSpec, quantity: Quantity) -> str:
        """Subscripts of the regimes over which a quantity differs."""
        letters = [self.regime(group.process) for group in groups_of(spec, quantity)]
        return ",".join(dict.fromkeys(filter(None, letters)))


def regime_letter(spec: ModelSpec, process: Process) -> str:
    """LaTeX letter of a regime of a process, numbered if the model declares several; empty for one regime."""
    prefixes = list(dict.fromkeys(one.prefix for one in processes_of(spec)))
    if process.spec.count == 1:
        return ""
    return "k" if len(prefixes) == 1 else f"k_{prefixes.index(process.prefix) + 1}"


def deviations(
    name: str,
    sd: float,
    dims: tuple[str, ...],
    symbols: tuple[str, str],
    what: str,
    enters: np.ndarray,
    slope_on: str = "",
    word: str = "",
) -> Term:
    """Pooled deviations of a quantity over the last dimension; `word` is its name in the meanings."""
    dim = word or dims[-1]
    meanings = f"how far {dim}s differ in the {what}", f"each {dim}'s deviation over that; they sum to zero"
    return pooled(name, sd, dims, symbols=symbols, meanings=meanings, enters=enters, slope_on=slope_on)


def intercept_terms(group: Group, index: Indices, responses: np.ndarray, row: np.ndarray) -> Iterator[Term]:
    """The mean of each response, by the regimes of the process that carries it."""
    these, process = responses[[*group.responses]], group.process
    ordered = process is not None and process.spec.order_by.quantity == "intercept"
    letter = index.regime(process)
    symbol = rf"\mu{index_of(index.response, letter)}"
    if process is None or ordered:
        everywhere, level = np.ones(group.member.shape[1]), rf"\mu{index_of(index.response)}"
        enters = np.einsum("pa,k,c->pcak", these, everywhere, row)
        dims = (group.response_dim,)
        yield Term(f"{group.label}{nm.INTERCEPT}", normal(0.3), level, "mean", dims, enters, (level,))
        if process is not None and ordered:
            gaps = ladder(process.spec.count)
            yield Term(
                f"{group.label}{nm.INTERCEPT_GAP}",
                Prior("HalfNormal", sigma=0.3 * float(np.sqrt(2))),
                rf"\mu{index_of(letter + '+1')} - \mu{index_of(letter)}",
                "gap in mean between neighbouring regimes",
                (process.named(nm.GAP),),
                np.einsum("pa,pkK,Kg,c->gcak", these, group.member, gaps, row),
                (rf"u{index_of(letter)}",),
            )
        return
    yield Term(
        f"{group.label}{nm.INTERCEPT}",
        normal(0.3),
        symbol,
        "mean of each regime" if letter else "mean",
        (group.response_dim, process.named(nm.REGIME)),
        np.einsum("pa,pkq,c->pqcak", these, group.member, row),
        (symbol,),
    )


def deviations_by_regime(
    name: str, dim: str, what: str, enters: np.ndarray, group: Group, index: Indices, slope_on: str = nm.SIGNAL
) -> Term:
    """Pooled deviations (series, regime) of a quantity between the regimes of a group's process."""
    assert group.process is not None
    letter = index.regime(group.process)
    symbols = rf"\tau_{{{text(nm.REGIME)}}}", rf"\xi^{{{text(nm.REGIME)}}}{index_of(letter)}"
    dims = (dim, group.process.named(nm.REGIME))
    return deviations(f"{group.label}{name}", 0.25, dims, symbols, what, enters, slope_on, word=nm.REGIME)


def effect_terms(
    spec: ModelSpec, index: Indices, group: Group, signals: np.ndarray, ones: dict[str, np.ndarray]
) -> Iterator[Term]:
    """Gain of the signal by whose effect regimes are ordered, and pooled deviations of the other signals' effects."""
    process = group.process
    if process is None or process.spec.count == 1:
        return
    responses = np.eye(len(spec.responses))[[*group.responses]]
    names, ordered = [one.name for one in spec.lagged_signals], ordering_signal(spec, process)
    rest = [place for place, name in enumerate(names) if name != ordered]
    if ordered:
        letter, place = index.regime(process), names.index(ordered)
        gaps = ladder(process.spec.count)
        unit = _effect_unit(spec, spec.lagged_signals[place])
        yield Term(
            f"{group.label}{nm.EFFECT_GAIN}",
            Prior("HalfNormal", sigma=1.5, unit=unit) if unit != "standardized" else Prior("HalfNormal", sigma=0.5),
            rf"g{index_of(letter)}",
            f"gap in the effect of {ordered} between neighbouring regimes",
            (process.named(nm.ORDERED_SIGNAL), process.named(nm.GAP)),
            np.einsum("s,Ra,RkK,Kg,e->gesak", signals[place], responses, group.member, gaps, ones["e"])[None],
            slope_on=nm.SIGNAL,
        )
    if rest:
        enters = np.einsum("ps,Ra,Rkq,e->pqesak", signals[rest], responses, group.member, ones["e"])
        dim = process.named(nm.POOLED_SIGNAL) if ordered else nm.LAGGED_SIGNAL
        yield deviations_by_regime(nm.EFFECT_REGIME, dim, "effect", enters, group, index)


def level_prior(spec: ModelSpec) -> Prior:
    """Prior of the effect averaged over regimes: wide where regimes are ordered by the effect.

    A tight one would make a gain the only way to fit an effect that is large in every regime.
    """
    if not any(ordering_signal(spec, process) for process in processes_of(spec)):
        return normal(0.5)
    wide = {
        one.name: Prior("StudentT", nu=3, mu=0.0, sigma=1.0, unit="elasticity")
        if _effect_unit(spec, one) == "elasticity"
        else Prior("StudentT", nu=3, mu=0.0, sigma=0.5)
        for one in spec.lagged_signals
    }
    first = next(iter(wide.values()))
    others = {name: prior for name, prior in wide.items() if prior != first}
    parameters: dict[str, Any] = {**first.parameters, **({"by_signal": others} if others else {})}
    return Prior("StudentT", unit=first.unit, **parameters)


def _effect_unit(spec: ModelSpec, signal: Signal) -> Unit:
    """Unit of the default priors of an effect that orders regimes: an elasticity where both series are log returns."""
    logs = {signal.transform, *(one.transform for one in spec.responses)} == {"log_return"}
    return "elasticity" if logs and len(spec.responses) == 1 else "standardized"


def scale_terms(group: Group, index: Indices, responses: np.ndarray, every: np.ndarray) -> Iterator[Term]:
    """Gaps in log scale between ordered regimes, or deviations of regimes that are ordered otherwise."""
    process = group.process
    if process is None or process.spec.count == 1:
        return
    letter = index.regime(process)
    own = (index.response if group.own else "", letter)
    if process.spec.order_by.quantity != "scale":
        yield Term(
            f"{group.label}{nm.LOG_SCALE_REGIME}",
            zero_sum_normal(0.4),
            f"v{index_of(*own)}",
            "each regime's part of the log scale; they sum to zero",
            (process.named(nm.REGIME),),
            np.einsum("ra,rkq,e->qeak", responses, group.member, every),
            (f"v{index_of(*own)}",),
            zero_sum=1,
        )
        return
    # Row k has the share of each gap below regime k, centered over regimes. Gaps are positive, so regimes are ordered.
    each = np.einsum("ra,rkK,Kp,e->rpeak", responses, group.member, ladder(process.spec.count), every)
    yield Term(
        f"{group.label}{nm.LOG_SCALE_GAP}",
        Prior("LogNormal", mu=float(np.log(0.8)), sigma=0.4),
        f"g{index_of(*own)}",
        "gap in log scale between neighbouring regimes",
        (nm.RESPONSE, nm.GAP) if group.own else (process.named(nm.GAP),),
        each if group.own else each.sum(axis=0),
        (f"v{index_of(*own)}",),
    )
