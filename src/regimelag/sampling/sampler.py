"""Settings of the sampler for every function that fits."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from regimelag.errors import FitError
from regimelag.runtime.plain import MOST_CHAINS, fraction, one_of, whole, wholes
from regimelag.sampling.sampler_kwargs import check_keywords

NutsSampler = Literal["nutpie", "pymc", "numpyro", "blackjax"]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Settings of the mode search and of NUTS, for every function that fits.

    Parameters
    ----------
    draws, tune : int
        Number of draws kept per chain, and of tuning draws that adapt step size and mass matrix.
    chains : int
        Number of chains. `fit` and `sample` add chains in modes that few of them have reached. With the default draws,
        tuning draws and chains they also add up to three times as many chains if the effective sample size falls a
        little short of 400, or R-hat is a little above 1.01.
    cores : int, optional
        Number of chains to run in parallel. By default the number of cores; one in functions that run many fits in
        parallel, such as `regimelag.evaluation.backtest`.
    target_accept : float
        Target acceptance probability of the step size adaptation, between 0 and 1.
    starts : int
        Number of starting points of the mode search, drawn from the prior.
    nuts_sampler : {"nutpie", "pymc", "numpyro", "blackjax"}
        Library for NUTS. The last two need JAX, compute on its default device, and lose the draws if interrupted.
    options : mapping
        Further keywords of `nutpie.sample`, `pymc.sample`, ``numpyro.infer.NUTS`` or ``blackjax.window_adaptation``,
        such as ``{"maxdepth": 12}`` for nutpie. For nutpie also ``{"backend": "jax"}``, which evaluates the density
        with JAX; for the last two also ``chain_method``, "parallel" or "vectorized".

    Raises
    ------
    FitError
        If a number is out of range, or the library does not know an option.

    See Also
    --------
    fit : Accepts the same settings as keywords.

    Examples
    --------
    >>> quick = rl.Sampler(draws=500, tune=500, chains=2, starts=6)
    >>> idata = rl.fit(spec, panel, sampler=quick, random_seed=1)
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int | None = None
    target_accept: float = 0.95
    starts: int = 24
    nuts_sampler: NutsSampler = "nutpie"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        asked = "Sampler"
        one_of(FitError, asked, "nuts_sampler", self.nuts_sampler, typing.get_args(NutsSampler))
        plain: dict[str, Any] = dict(wholes(FitError, asked, draws=self.draws, tune=self.tune, starts=self.starts))
        plain["chains"] = whole(FitError, asked, "chains", self.chains, "write chains=4", most=MOST_CHAINS)
        cure = "write target_accept=0.95"
        plain["target_accept"] = fraction(FitError, asked, "target_accept", self.target_accept, cure)
        if self.cores is not None:
            plain["cores"] = whole(
                FitError, asked, "cores", self.cores, "write cores=2, or leave cores out", most=MOST_CHAINS
            )
        if not isinstance(self.options, Mapping):
            came = f"options = {self.options!r}"
            raise FitError(asked, "options are a mapping", came, 'write options={"maxdepth": 12}, or leave options out')
        own = [name for name in _NAMES if name in self.options]
        if own:
            name = own[0]
            came, cure = f"options with {name}", f"write {name}={self.options[name]!r} beside options"
            raise FitError(asked, "options are keywords that Sampler itself does not have", came, cure)
        plain["options"] = dict(self.options)
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        check_keywords(asked, self.nuts_sampler, self.options, _NAMES)

    @property
    def nuts(self) -> dict[str, Any]:
        """Keywords for the library."""
        own = ("draws", "tune", "chains", "cores", "target_accept")
        return {name: getattr(self, name) for name in own} | dict(self.options)

    @property
    def plain(self) -> dict[str, Any]:
        """Settings on which draws depend, as JSON values."""
        settings = {name: getattr(self, name) for name in _NAMES if name != "cores"}
        return json.loads(json.dumps(settings, default=repr))


_NAMES = tuple(one.name for one in fields(Sampler))


def sampler_of(
    function: Callable[..., Any], sampler: Sampler | None, given: Mapping[str, Any], options: Mapping[str, Any]
) -> Sampler:
    """Settings of a call of `fit` or `sample`: its `Sampler`, or one made from its keywords.

    Parameters
    ----------
    function : callable
        The function called.
    sampler : Sampler, optional
        Argument ``sampler`` of the call.
    given : mapping
        Settings given as keywords; None for those that were not.
    options : mapping
        Keywords for the library that samples.

    Raises
    ------
    FitError
        If both were given, or a setting is out of range.
    """
    asked, given = function.__name__, {name: value for name, value in given.items() if value is not None}
    if sampler is not None:
        names = ", ".join([*given, *options])
        if names:
            rule = "settings of the sampler come as a Sampler or as keywords, not as both"
            cure = f"leave sampler out, or put {names} into it: regimelag.Sampler({names.replace(', ', '=..., ')}=...)"
            raise FitError(asked, rule, f"sampler and {names}", cure)
        return require_sampler(asked, sampler)
    library = given.get("nuts_sampler", "nutpie")
    if isinstance(library, str) and library in typing.get_args(NutsSampler):
        check_keywords(asked, library, options, inspect.signature(function).parameters)
    try:
        return Sampler(**given, options=options)
    except FitError as problem:
        raise FitError(asked, problem.rule, problem.came, problem.cure) from None


def require_sampler(asked: str, sampler: object) -> Sampler:
    """Refuse a value that is not a `Sampler`."""
    if not isinstance(sampler, Sampler):
        came = f"sampler = {sampler!r}"
        cure = "write sampler=regimelag.Sampler(draws=500, chains=2)"
        # nutpie has a keyword `sampler`; PyMC users may expect it to name a library.
        named = f"{cure}, or nuts_sampler of fit for another library" if isinstance(sampler, str) else cure
        raise FitError(asked, "sampler is a Sampler", came, named)
    return sampler


def sampler_of_refits(asked: str, sampler: object) -> Sampler:
    """Settings of the fits of a study, which share one compiled model and run on one core each.

    Raises
    ------
    FitError
        If the settings are not a `Sampler`, have one chain, or select a library other than nutpie, which cannot share a
        compiled model.
    """
    checked = require_sampler(asked, sampler)
    if checked.nuts_sampler != "nutpie":
        came = f"nuts_sampler = {checked.nuts_sampler!r}"
        cure = 'write nuts_sampler="nutpie" in the Sampler, or leave nuts_sampler out'
        raise FitError(asked, "the fits share one compiled model, which nutpie samples", came, cure)
    if checked.chains < 2:  # noqa: PLR2004
        came, cure = f"chains = {checked.chains}", "write chains=2 in the Sampler"
        raise FitError(asked, "a refit has two chains at least, so that R-hat can show that they agree", came, cure)
    if checked.options.get("backend", "numba") != "numba":
        came, cure = f"options with backend = {checked.options['backend']!r}", "leave backend out of options"
        raise FitError(asked, "the fits share one model compiled by numba", came, cure)
    return replace(checked, cores=checked.cores or 1)
