"""Check of the keywords that `fit` and `sample` pass on, before compilation."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import typing
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

import nutpie
import pymc as pm
from nutpie import _lib
from packaging.requirements import Requirement
from pymc.step_methods.hmc.base_hmc import BaseHMC

from regimelag.errors import FitError
from regimelag.runtime.versions import install_command

# Keywords that are already set, with their names in fit and sample; empty if they have none.
SET = {
    "nutpie": {"compiled_model": "", "seed": "random_seed", "progress_bar": "progressbar", "save_warmup": ""},
    "pymc": dict.fromkeys(("initvals", "init", "compute_convergence_checks", "model"), "")
    | {"random_seed": "random_seed", "progressbar": "progressbar"},
    "numpyro": dict.fromkeys(("model", "potential_fn", "init_strategy"), "") | {"target_accept_prob": "target_accept"},
    "blackjax": dict.fromkeys(("logdensity_fn", "adaptation_info_fn", "progress_bar"), "")
    | {"target_acceptance_rate": "target_accept"},
}

# Deprecated names that nutpie.sample accepts with a warning.
OLD = {"low_rank_modified_mass_matrix", "transform_adapt", "use_grad_based_mass_matrix"}
# Common settings that are not in the signatures, for the closest match.
COMMON: dict[str, tuple[str, ...]] = {"nutpie": ("maxdepth", "backend"), "pymc": ("max_treedepth",)}

# Libraries in JAX, in the versions that `pymc.sampling.jax` of PyMC 6.4 calls as they expect.
LIBRARIES = {one.name: one for one in map(Requirement, ("numpyro>=0.19", "blackjax>=1.2,<1.6"))}

# Choices of keywords that are in no signature.
CHOICES = {"backend": ("numba", "jax"), "chain_method": ("parallel", "vectorized")}


def check_keywords(asked: str, nuts_sampler: str, given: Mapping[str, Any], own: Collection[str]) -> None:
    """Refuse keywords that neither the function nor the sampler has, and suggest the closest one.

    Parameters
    ----------
    asked : str
        The function called.
    nuts_sampler : {"nutpie", "pymc", "numpyro", "blackjax"}
        Library that would receive them.
    given : mapping
        Keywords to pass on.
    own : collection of str
        Names of the function's own parameters.
    """
    theirs = _keywords(asked, nuts_sampler)
    for name, value in given.items():
        if name in SET[nuts_sampler]:
            ours = SET[nuts_sampler][name]
            cure = f"write {ours}" if ours in own else "drop it"
            raise FitError(asked, f"{asked} sets {name} itself", f"{name} = {value!r}", cure)
        if name not in theirs and not _takes(nuts_sampler, name):
            known = {*own, *theirs, *COMMON.get(nuts_sampler, ())} - set(SET[nuts_sampler]) - {"kwargs"}
            close = difflib.get_close_matches(name, sorted(known), n=1)
            cure = f"write {close[0]}" if close else f"drop it, or see the parameters of {asked}"
            rule = f"keywords are those of {asked}, or of {nuts_sampler}.sample, to which they are passed on"
            raise FitError(asked, rule, f"{name} = {value!r}", cure)
        choices = () if name in theirs else CHOICES.get(name, ())
        if name in ("sampler", "adaptation"):
            choices = typing.get_args(theirs[name].annotation)
        if choices and value not in choices:
            cure = 'write nuts_sampler="pymc" for the other library' if name == "sampler" else "choose one of them"
            raise FitError(asked, f"{name} is one of {list(choices)}", f"{name} = {value!r}", cure)


def _keywords(asked: str, nuts_sampler: str) -> dict[str, inspect.Parameter]:
    """Named parameters of what receives the keywords; the library is imported only if it was asked for."""
    if nuts_sampler == "nutpie":
        return _signature(nutpie.sample)
    if nuts_sampler == "pymc":
        return _signature(pm.sample)
    needed = LIBRARIES[nuts_sampler]
    missing = [name for name in ("jax", nuts_sampler) if importlib.util.find_spec(name) is None]
    found = "" if missing else version(nuts_sampler)
    if not (found and needed.specifier.contains(found, prereleases=True)):
        came = f"{' and '.join(missing)} not installed" if missing else f"{nuts_sampler} {found}"
        cure = f"run this in a shell: {install_command([needed])}, or write nuts_sampler='nutpie'"
        raise FitError(asked, f"nuts_sampler = {nuts_sampler!r} needs JAX and {needed}", came, cure)
    if nuts_sampler == "numpyro":
        return _signature(importlib.import_module("numpyro.infer").NUTS.__init__)
    return _signature(importlib.import_module("blackjax").window_adaptation)


def _signature(function: Any) -> dict[str, inspect.Parameter]:
    """Named parameters, without self, *args and **kwargs."""
    gather = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if one.kind not in gather and name != "self"}


def _takes(nuts_sampler: str, name: str) -> bool:
    """Whether the library accepts a keyword that is not in the signature of its sampling function."""
    if name in CHOICES:
        return name == ("backend" if nuts_sampler == "nutpie" else "chain_method") and nuts_sampler != "pymc"
    if nuts_sampler in ("numpyro", "blackjax"):
        return False
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
