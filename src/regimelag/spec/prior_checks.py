"""Checks of the priors that a spec replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from regimelag.errors import require, require_choice
from regimelag.spec import names as nm
from regimelag.spec.priors import BY, DISTRIBUTIONS, Prior
from regimelag.spec.term import Parameter
from regimelag.spec.terms import coordinates, default_terms, model_terms, prior_labels

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec


def check_priors(spec: ModelSpec, asked: str) -> None:
    """Require that each replaced prior belongs to a parameter of the spec and fits it."""
    episodes = spec.episodes.labels()
    parameters = {one.name: one for one in model_terms(spec, len(episodes)).parameters()}
    defaults = {one.name: one.prior for one in default_terms(spec, len(episodes)).parameters()}
    coords = coordinates(spec, episodes)
    free = sorted(name for name, one in defaults.items() if one.distribution != "Categorical" and name[-4:] != "_raw")
    for name, prior in spec.priors.items():
        require_choice(f"{asked}, priors", "a parameter", name, free)
        where, default = f"{asked}, the prior of {name}", DISTRIBUTIONS[defaults[name].distribution].support
        labels = prior_labels(spec, parameters[name], coords)
        for one in prior.every():
            fits = one.distribution == defaults[name].distribution if default == "vector" else one.within(default)
            usual = defaults[name].distribution
            rule = "the distribution is" if default == "vector" else "its support is within that of"
            rule = f"{rule} a {usual}"
            require(fits, where, rule, repr(one), f'write distribution = "{usual}"')
            _check_unit(spec, parameters[name], one, where)
            _check_lengths(labels, one, where)
        kinds = {DISTRIBUTIONS[one.distribution].support for one in prior.every()}
        alike = len({one.distribution for one in prior.every()}) == 1 or (len(kinds) == 1 and kinds != {"bounded"})
        rule = "entries have one distribution, or distributions of one support"
        came = ", ".join(one.distribution for one in prior.every())
        require(alike, where, rule, came, f'write distribution = "{prior.distribution}" for all')
        known = {*parameters[name].dims, *labels, *defaults[name].dims}
        rule = f"dims are among {sorted(known)}" if known else "the parameter has no dims"
        require({*prior.dims} <= known, where, rule, f"dims = {prior.dims}", "leave dims out")
        for dim, entries in prior.by.items():
            rule = f"entries are distinguished by {' and '.join(labels)}" if labels else "the parameter has one entry"
            cure = f"write {BY}{next(iter(labels))}" if labels else f"leave {BY}{dim} out"
            require(dim in labels, where, rule, f"{BY}{dim}", cure)
            for label in entries:
                require_choice(where, dim, label, labels[dim])


def kept_priors(spec: ModelSpec, priors: Mapping[str, Prior]) -> dict[str, Prior]:
    """Priors, and their entries, of which the model has the parameter and the coordinate."""
    episodes = spec.episodes.labels()
    coords = coordinates(spec, episodes)
    own = {one.name: prior_labels(spec, one, coords) for one in model_terms(spec, len(episodes)).parameters()}
    return {name: prior.kept(own[name]) for name, prior in priors.items() if name in own}


def _check_unit(spec: ModelSpec, parameter: Parameter, prior: Prior, where: str) -> None:
    """Require that a prior in elasticity units belongs to a coefficient of one response."""
    if prior.unit == "standardized":
        return
    cure = 'write unit = "standardized", or leave unit out'
    rule = "a prior is an elasticity where the parameter is a coefficient of a signal or control"
    require(bool(parameter.slope_on), where, rule, prior.unit, cure)
    one = len(spec.responses) == 1 or nm.RESPONSE in parameter.dims
    rule = "an elasticity is that of one response; this parameter is shared by all"
    require(one, where, rule, f"{len(spec.responses)} responses", cure)


def _check_lengths(labels: Mapping[str, Sequence[str]], prior: Prior, where: str) -> None:
    if DISTRIBUTIONS[prior.distribution].support == "vector":
        return
    for name, value in prior.parameters.items():
        size = len(list(labels.values())[-1]) if labels else 1
        fits = not isinstance(value, tuple) or (labels and len(value) == size)
        rule = f"{name} is a number" + (f", or a list of {size}" if labels else "")
        require(bool(fits), where, rule, f"{name} = {value!r}", f"write {name} = 1.0")
