"""Check of the keywords that `fit` and `sample` pass on, before compilation."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Collection, Mapping
from typing import Any

import nutpie
import pymc as pm
from nutpie import _lib
from pymc.step_methods.hmc.base_hmc import BaseHMC

from regimelag.errors import FitError

# Keywords that are already set, with their names in fit and sample; empty if they have none.
SET = {
    "nutpie": {"compiled_model": "", "seed": "random_seed", "progress_bar": "progressbar", "save_warmup": ""},
    "pymc": dict.fromkeys(("initvals", "init", "compute_convergence_checks", "model"), "")
    | {"random_seed": "random_seed", "progressbar": "progressbar"},
}

# Deprecated names that nutpie.sample accepts with a warning.
OLD = {"low_rank_modified_mass_matrix", "transform_adapt", "use_grad_based_mass_matrix"}
# Common settings that are not in the signatures, for the closest match.
COMMON = {"nutpie": ("maxdepth",), "pymc": ("max_treedepth",)}


def check_keywords(asked: str, nuts_sampler: str, given: Mapping[str, Any], own: Collection[str]) -> None:
    """Refuse keywords that neither the function nor the sampler has, and suggest the closest one.

    Parameters
    ----------
    asked : str
        The function called.
    nuts_sampler : {"nutpie", "pymc"}
        Library that would receive them.
    given : mapping
        Keywords to pass on.
    own : collection of str
        Names of the function's own parameters.
    """
    theirs = _signature(nutpie.sample if nuts_sampler == "nutpie" else pm.sample)
    for name, value in given.items():
        if name in SET[nuts_sampler]:
            ours = SET[nuts_sampler][name]
            cure = f"write {ours}" if ours in own else "drop it"
            raise FitError(asked, f"{asked} sets {name} itself", f"{name} = {value!r}", cure)
        if name not in theirs and not _takes(nuts_sampler, name):
            known = {*own, *theirs, *COMMON[nuts_sampler]} - set(SET[nuts_sampler]) - {"kwargs"}
            close = difflib.get_close_matches(name, sorted(known), n=1)
            cure = f"write {close[0]}" if close else f"drop it, or see the parameters of {asked}"
            rule = f"keywords are those of {asked}, or of {nuts_sampler}.sample, to which they are passed on"
            raise FitError(asked, rule, f"{name} = {value!r}", cure)
        choices = typing.get_args(theirs[name].annotation) if name in ("sampler", "adaptation") else ()
        if choices and value not in choices:
            cure = 'write nuts_sampler="pymc" for the other library' if name == "sampler" else "choose one of them"
            raise FitError(asked, f"{name} is one of {list(choices)}", f"{name} = {value!r}", cure)


def _signature(function: Any) -> dict[str, inspect.Parameter]:
    """Named parameters, without self, *args and **kwargs."""
    gather = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if one.kind not in gather and name != "self"}


def _takes(nuts_sampler: str, name: str) -> bool:
    """Whether the library accepts a keyword that is not in the signature of its sampling function."""
    if nuts_sampler == "pymc":
        return name in {"nuts", "step_kwargs", *_signature(pm.NUTS.__init__), *_signature(BaseHMC.__init__)}
    return name in OLD or any(_has(kind.LowRank(0), name) for kind in (_lib.PyNutsSettings, _lib.PyMclmcSettings))


def _has(settings: Any, name: str) -> bool:
    """Whether nutpie's settings, which no signature lists, have that name."""
    try:
        settings.update({name: None})
    except (AttributeError, TypeError, ValueError) as problem:  # AttributeError alone means that the name is unknown.
        return not isinstance(problem, AttributeError)
    return True
