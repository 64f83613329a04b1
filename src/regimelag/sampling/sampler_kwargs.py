"""Keywords that `fit` and `sample` pass on: what the sampler does not know is refused before anything is compiled."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Mapping
from typing import Any

import nutpie
import pymc as pm
from nutpie import _lib
from pymc.step_methods.hmc.base_hmc import BaseHMC

from regimelag.errors import FitError

# What is set here already, by the name that fit and sample have for it; empty where they have none.
SET = {
    "nutpie": {"compiled_model": "", "seed": "random_seed", "progress_bar": "progressbar", "save_warmup": ""},
    "pymc": {"initvals": "", "init": "", "compute_convergence_checks": "", "model": ""},
}

# Names that nutpie.sample still takes and warns of.
OLD = {"low_rank_modified_mass_matrix", "transform_adapt", "use_grad_based_mass_matrix"}
# Settings behind the signatures that are asked for most, for the closest match.
COMMON = {"nutpie": ("maxdepth",), "pymc": ("max_treedepth",)}


def check_keywords(asked: str, nuts_sampler: str, given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse keywords that neither the caller nor the sampler has, naming the closest one.

    Parameters
    ----------
    asked : str
        The function that was called.
    nuts_sampler : {"nutpie", "pymc"}
        Whose keywords are known.
    given : mapping
        What would be passed on, by name.
    own : mapping
        The parameters of the function itself, by name.
    """
    theirs = _signature(nutpie.sample if nuts_sampler == "nutpie" else pm.sample)
    takes = _nutpie_takes if nuts_sampler == "nutpie" else _pymc_takes
    for name, value in given.items():
        if name in SET[nuts_sampler]:
            ours = SET[nuts_sampler][name]
            cure = f"write {ours}" if ours else "drop it"
            raise FitError(asked, f"{asked} sets {name} itself", f"{name} = {value!r}", cure)
        if name not in theirs and not takes(name):
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
    """Named parameters, without self and what gathers the rest."""
    gather = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if one.kind not in gather and name != "self"}


def _nutpie_takes(name: str) -> bool:
    """Whether a setting of nutpie has that name, or had it: its signature does not list them, so they are asked."""
    return name in OLD or any(_has(kind.LowRank(0), name) for kind in (_lib.PyNutsSettings, _lib.PyMclmcSettings))


def _has(settings: Any, name: str) -> bool:
    try:
        settings.update({name: None})
    except AttributeError:
        return False
    except (TypeError, ValueError):  # It has the name, and wants another value.
        return True
    return True


def _pymc_takes(name: str) -> bool:
    """Whether it goes to the step method: an argument of NUTS, or all of them under its name."""
    return name in {"nuts", "step_kwargs", *_signature(pm.NUTS.__init__), *_signature(BaseHMC.__init__)}
