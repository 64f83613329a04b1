"""Differences between two models in words, and whether their comparison tests a lag."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regimelag.model.latex import prior_in_words
from regimelag.spec.families import Family
from regimelag.spec.kernels import Kernel, NoLag
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.processes import OrderBy, RegimeProcess, declared
from regimelag.spec.series import Control, Series
from regimelag.spec.terms import model_terms
from regimelag.spec.transitions import Transitions
from regimelag.spec.volatility import Volatility

# Fields that define a variable, whatever its name and role.
DEFINING = ("column", "transform", "periods", "delay", "against", "beyond", "dated")
# Parts of a spec that are compared below, or that do not affect the posterior.
APART = {"name", "claim", "responses", "signals", "controls", "drivers", "regimes", "episodes", "priors"}
APART |= {"indicators", "allow_overlap", "regime_processes"}
SAME_PERIOD, LAGGED = "same-period", "lagged"
# Parts in which a model with regimes differs from one with GARCH.
RIVALS = ("regimes", "regime_processes", "drivers", "volatility")


@dataclass(frozen=True)
class Covariate:
    """A variable in the location of the response, with the terms of all signals and controls made from it."""

    name: str
    definition: tuple[Any, ...]
    control: bool
    now: bool
    kernels: tuple[Kernel, ...]

    @property
    def terms(self) -> frozenset[str]:
        """Kinds of its terms."""
        return frozenset(({SAME_PERIOD} if self.now else set()) | ({LAGGED} if self.kernels else set()))


@dataclass(frozen=True)
class Contrast:
    """Differences between a model and its reference, and whether they test a lag.

    Parameters
    ----------
    differences : tuple of str
        Complements of "the model is the reference", such as "without the lagged term of silver".
    lost, gained : tuple of str
        Variables of which the model lacks, or adds, both the same-period and the lagged term, so that the difference in
        predictive density does not test their lag.
    nulls : mapping of str to str
        For such a variable, the fit among those compared that is the null for its lag.
    regimes_over_clustering : int
        If one of them has regimes instead of GARCH and all else is equal: 1 if that is the model, -1 if it is the
        reference; 0 otherwise.
    """

    differences: tuple[str, ...]
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    nulls: Mapping[str, str] = field(default_factory=dict)
    regimes_over_clustering: int = 0


def contrast(reference: ModelSpec, spec: ModelSpec, others: Mapping[str, ModelSpec] | None = None) -> Contrast:
    """Compare a model with its reference; `others` are all models of the comparison, by name."""
    pairs = list(_matched(covariates(reference), covariates(spec)))
    lost = tuple(one.name for one, other in pairs if one is not None and other is None and _claimed(one))
    gained = tuple(other.name for one, other in pairs if other is not None and one is None and _claimed(other))
    nulls: dict[str, str] = {}
    for name in (*lost, *gained):
        null = without_lag_of(reference if name in lost else spec, name)
        for label, other in (others or {}).items():
            if not spec_differences(null, other):
                nulls[name] = label
    rivals = _are_rivals(regimes=spec, clustering=reference) - _are_rivals(regimes=reference, clustering=spec)
    return Contrast(tuple(spec_differences(reference, spec)), lost, gained, nulls, rivals)


def _are_rivals(regimes: ModelSpec, clustering: ModelSpec) -> bool:
    """Whether the only difference is that one has regimes with drivers and the other GARCH."""
    if not regimes.switches or not clustering.volatility.moves:
        return False
    states = ("indicators", "moderators", "allow_overlap")
    if any(getattr(regimes, name) != getattr(clustering, name) for name in states):
        return False
    if len(regimes.responses) > 1 or regimes.point_signals or regimes.family != clustering.family:
        return False
    # Only priors of parameters in both models are compared.
    mine, theirs = ({name: getattr(one, name) for name in RIVALS} for one in (regimes, clustering))
    common = regimes.changed(**theirs).priors
    return not spec_differences(regimes.changed(priors=common), clustering.changed(**mine))


def _claimed(one: Covariate) -> bool:
    """Whether it is a signal with both terms, whose lag is subject to a claim."""
    return not one.control and one.terms == {SAME_PERIOD, LAGGED}


def without_lag_of(spec: ModelSpec, name: str) -> ModelSpec:
    """Null model for the lag of a signal: the same with kernel none for it."""
    signals = (one.without_lag() if one.name == name else one for one in spec.signals)
    return spec.changed(signals=tuple(signals))


def covariates(spec: ModelSpec) -> list[Covariate]:
    """Distinct variables in the location."""
    found: dict[tuple[Any, ...], Covariate] = {}
    for series in (*spec.signals, *spec.controls):
        key, kernel = _definition(series), getattr(series, "kernel", NoLag())
        held = found.get(key)
        found[key] = Covariate(
            name=held.name if held else series.name,
            definition=key,
            control=isinstance(series, Control) and (held is None or held.control),
            now=getattr(series, "contemporaneous", True) or (held is not None and held.now),
            kernels=(*(held.kernels if held else ()), *(() if isinstance(kernel, NoLag) else (kernel,))),
        )
    return list(found.values())


def spec_differences(reference: ModelSpec, spec: ModelSpec) -> list[str]:
    """Differences of a model from its reference; empty if only names differ.

    Parameters
    ----------
    reference, spec : ModelSpec
        Two models of the same responses.

    Returns
    -------
    list of str
        Complements of "the model is the reference": "without the lagged term of silver", "with 1 regime instead of 2".
    """
    return [
        *_in_covariates(reference, spec),
        *_in_drivers(reference, spec),
        *_in_moderators(reference, spec),
        *_in_responses(reference, spec),
        *_in_structure(reference, spec),
        *_in_the_rest(reference, spec),
    ]


def _definition(series: Series) -> tuple[Any, ...]:
    return tuple(getattr(series, name, "") for name in DEFINING)


def _matched(
    mine: Sequence[Covariate], theirs: Sequence[Covariate]
) -> Iterator[tuple[Covariate | None, Covariate | None]]:
    """Pairs by the same definition, then by the same name; then the unpaired."""
    left, right = list(mine), list(theirs)
    for same in ("definition", "name"):
        for one in list(left):
            other = next((each for each in right if getattr(each, same) == getattr(one, same)), None)
            if other is not None:
                left.remove(one)
                right.remove(other)
                yield one, other
    yield from ((one, None) for one in left)
    yield from ((None, other) for other in right)


def _redefined(one: Covariate, other: Covariate) -> Iterator[str]:
    for name, before, after in zip(DEFINING, one.definition, other.definition, strict=True):
        if before != after:
            yield f"with {name} {_plain(after)} instead of {_plain(before)} for {one.name}"


def _in_covariates(reference: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    for one, other in _matched(covariates(reference), covariates(spec)):
        if one is not None and other is not None:
            yield from _redefined(one, other)
            yield from _terms("without", one.name, one.terms - other.terms)
            yield from _terms("with", one.name, other.terms - one.terms)
            if one.control != other.control:
                yield f"with {one.name} as a {'control' if other.control else 'signal'}"
            if one.kernels and other.kernels:
                yield from _in_kernels(one, other)
            continue
        for word, alone in (("without", one), ("with", other)):
            if alone is not None and alone.terms == {SAME_PERIOD} and alone.control:
                yield f"{word} the control {alone.name}"
            elif alone is not None:
                yield from _terms(word, alone.name, alone.terms)


def _terms(word: str, name: str, terms: frozenset[str]) -> Iterator[str]:
    if len(terms) > 1:
        yield f"{word} {name} ({SAME_PERIOD} and {LAGGED} terms)"
    elif terms:
        yield f"{word} the {next(iter(terms))} term of {name}"


def _in_kernels(one: Covariate, other: Covariate) -> Iterator[str]:
    if [type(kernel) for kernel in one.kernels] != [type(kernel) for kernel in other.kernels]:
        kinds = [" and ".join(kernel.kind for kernel in each.kernels) for each in (one, other)]
        yield f"with kernel {kinds[1]} instead of {kinds[0]} for {one.name}"
        return
    for before, after in zip(one.kernels, other.kernels, strict=True):
        for words in _fields(before, after, set()):
            yield f"with {words} in the kernel of {one.name}"


def _in_drivers(reference: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    mine, theirs = (
        [Covariate(one.name, _definition(one), control=False, now=False, kernels=()) for one in each.transition_drivers]
        for each in (reference, spec)
    )
    for one, other in _matched(mine, theirs):
        if one is not None and other is not None:
            yield from (f"{words} (driver)" for words in _redefined(one, other))
            continue
        for word, alone in (("without", one), ("with", other)):
            if alone is not None:
                yield f"{word} the driver {alone.name}"


def _in_moderators(reference: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    """Moderators of effects that both have, and the definitions of those moderators."""
    before, after = ({one.name: one.moderators for one in each.lagged_signals} for each in (reference, spec))
    for name in [name for name in before if name in after]:
        if before[name] != after[name]:
            yield f"with {_plain(after[name])} as moderators of {name} instead of {_plain(before[name])}"
    for name in [name for name in reference.moderators if name in spec.moderators]:
        old, new = (_definition_of_moderator(each, name) for each in (reference, spec))
        if old != new:
            yield f"with another definition of the moderator {name}"


def _definition_of_moderator(spec: ModelSpec, name: str) -> tuple[Any, ...]:
    """Drivers that a moderator is made of, with the bounds of an indicator."""
    conditions = [one for indicator in spec.indicators if indicator.name == name for one in indicator.all_of]
    drivers = {one.name: _definition(one) for one in spec.drivers}
    if not conditions:
        return drivers[name]
    return tuple(sorted((drivers[one.driver], str(one.below), str(one.above)) for one in conditions))


def _in_responses(reference: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    """Differing fields of the responses, by position, except those that define their values."""
    for one, other in zip(reference.responses, spec.responses, strict=False):
        for words in _fields(one, other, {"name", "close", "value", *DEFINING}):
            yield f"with {words} of response {one.name}"


def _in_structure(reference: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    yield from _in_processes(declared(reference), declared(spec))
    # Without a lagged effect its variation and priors do not matter.
    lagged = bool(reference.lagged_signals and spec.lagged_signals)
    before, after = (
        tuple(one for one in each.episodes.vary if lagged or not _of_a_lag(one)) for each in (reference, spec)
    )
    if before != after:
        yield f"with {_plain(after)} varying over episodes instead of {_plain(before)}"
    differing = _fields(reference.episodes, spec.episodes, {"names", "vary"})
    yield from (f"with {words} in episodes" for words in differing)
    yield from _in_priors(reference, spec)


def _in_processes(reference: Sequence[RegimeProcess], spec: Sequence[RegimeProcess]) -> Iterator[str]:
    """Differing regime processes, matched by name; of one process in each model, whatever its name."""
    if len(reference) == len(spec) == 1:
        (before,), (after,) = reference, spec
        if before.count != after.count:
            yield f"with {after.count} regime{'s' if after.count > 1 else ''} instead of {before.count}"
        drivers = {"drivers"} if "regimes" in (before.name, after.name) else set()
        differing = _fields(before, after, {"name", "names", "count"} | drivers)
        yield from (f"with {words} in regimes" for words in differing)
        return
    mine, theirs = ({one.name: one for one in each} for each in (reference, spec))
    for name in dict.fromkeys((*mine, *theirs)):
        if name in mine and name in theirs:
            differing = _fields(mine[name], theirs[name], {"names"})
            yield from (f"with {words} in the process {name}" for words in differing)
        else:
            yield f"{'without' if name in mine else 'with'} the regime process {name}"


def _in_priors(reference: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    """Priors that one of them replaces, of parameters in both."""
    before, after = (
        {one.name: one.prior for one in model_terms(each, len(each.episodes.labels())).parameters()}
        for each in (reference, spec)
    )
    for name in sorted({*reference.priors, *spec.priors} & {*before} & {*after}):
        if before[name] != after[name]:
            yield f"with the prior of {name} {prior_in_words(after[name])} instead of {prior_in_words(before[name])}"


def _of_a_lag(name: str) -> bool:
    return name.startswith(("effect", "lag"))


def _in_the_rest(reference: ModelSpec, spec: ModelSpec) -> Iterator[str]:
    idle = set() if reference.lagged_signals and spec.lagged_signals else {"max_lag"}
    idle |= {"responses_vary"} if len(spec.responses) == 1 else set()
    yield from (f"with {words}" for words in _fields(reference, spec, APART | idle))


def _fields(before: Any, after: Any, skipped: set[str]) -> Iterator[str]:
    for one in dataclasses.fields(before):
        old, new = getattr(before, one.name), getattr(after, one.name)
        if one.name not in skipped and old != new:
            yield f"{one.name} {_plain(new)} instead of {_plain(old)}"


def _plain(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " and ".join(map(_plain, value)) or "none"
    if isinstance(value, OrderBy):
        return " of ".join(filter(None, (value.quantity, value.signal or value.driver)))
    if isinstance(value, (Family, Transitions, Volatility)):
        usual = type(value)()
        own = [f"{name} = {_plain(held)}" for name, held in vars(value).items() if held != getattr(usual, name)]
        return f"{value.kind} ({', '.join(own)})" if own else value.kind
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
