"""Simulation-based calibration: ranks of prior truths among posterior draws.

A truth is drawn from the prior, responses are simulated from it given the panel's covariates, the model is fitted, and
the truth is ranked among the draws. If simulator, model, sampler and results are correct, all ranks are uniform: Talts,
Betancourt, Simpson, Vehtari & Gelman (2018), arXiv:1804.06788. Ranks of parameters alone do not detect some errors,
such as a posterior equal to the prior, so quantities that depend on the data are ranked too: Modrak et al. (2023),
doi:10.1214/23-BA1404.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from arviz_stats.base import array_stats

from regimelag.errors import FitError
from regimelag.evaluation.calibration.rank_table import RANKS
from regimelag.evaluation.parallel_runs import ERROR, Result, code_hash, run_all, seed_of_study
from regimelag.evaluation.robustness.summary import RHAT_LIMIT
from regimelag.likelihood.hmm_draws import log_density_draws
from regimelag.model.at_draws import AtDraws
from regimelag.model.build import build_model, draw_prior
from regimelag.model.data import model_data
from regimelag.model.evaluate import stack_draws
from regimelag.model.simulate import simulate
from regimelag.panel.make import check_panel, panel_hash
from regimelag.panel.slicing import last_rows
from regimelag.results.lags import effects_of_draws, lag_distribution
from regimelag.results.regimes import regime_paths
from regimelag.runtime.plain import whole, wholes
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.fit import find_modes_from_prior
from regimelag.sampling.modes import dispersed_start
from regimelag.sampling.nuts import sample_nutpie
from regimelag.sampling.point_lags import with_point_lags
from regimelag.sampling.sampler import Sampler, sampler_of_refits
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import spec_to_toml

Build = Callable[[ModelSpec, xr.Dataset], pm.Model]

# R-hat above which chains count as unmixed.
UNMIXED = RHAT_LIMIT
# A fit that does not mix is run again, longer by this factor.
LONGER = 4
# Number of truths drawn at once.
BLOCK = 25
SAMPLER = Sampler(draws=400, tune=400, chains=2, target_accept=0.9, starts=4)
TRUTH, DIAGNOSTICS = "truth", "diagnostics"
SIMULATION = "simulation"


@dataclass(frozen=True)
class Study:
    """Settings of a study; hashable, so that a process compiles its model once."""

    spec: ModelSpec
    panel: xr.Dataset = field(compare=False, repr=False)
    panel_sha256: str
    build: Build
    random_seed: int
    sampler: Sampler
    thinned: int

    def settings(self) -> dict[str, Any]:
        """Settings that affect the ranks, as JSON values."""
        return {
            "study": "sbc",
            "spec": spec_to_toml(self.spec),
            "build": f"{self.build.__module__}.{self.build.__qualname__}",
            "code": code_hash(),
            **self.sampler.plain,
            **{name: getattr(self, name) for name in ("panel_sha256", "random_seed", "thinned")},
        }


def sbc(
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    simulations: int = 300,
    rows: int | None = None,
    sampler: Sampler = SAMPLER,
    thinned: int = 99,
    build: Build = build_model,
    executor: Executor | None = None,
    folder: str | Path | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> xr.DataTree:
    """Simulation-based calibration of a model: rank prior truths among posterior draws.

    Parameters
    ----------
    spec : ModelSpec
        Model of the truths and the simulated data.
    panel : xarray.Dataset
        Panel with covariates, episodes and missing rows; its responses are not used.
    simulations : int
        Number of simulations.
    rows : int, optional
        Use only this number of last rows of the panel.
    sampler : Sampler
        Settings of each fit; `nuts_sampler` is "nutpie". By default two chains of 400 draws after 400 tuning draws,
        with ``target_accept=0.9`` and a mode search from four starting points.
    thinned : int
        Number of draws to rank the truth among, equally spaced so that they are nearly independent. A fit whose worst
        bulk effective sample size is smaller, or whose R-hat exceeds 1.05, is run again four times as long; if the
        sample size is still too small, the simulation counts as noisy.
    build : callable
        Function of a spec and a panel that returns the model to fit, defined in a module, since it is sent to other
        processes. The default `build_model` is the correct one; another shows whether the study detects an error.
    executor : concurrent.futures.Executor, optional
        Executor of the fits, such as a Dask cluster's ``client.get_executor()``; by default processes of this machine,
        one per core, which do not import the script.
    folder : str or Path, optional
        Folder for finished simulations, as JSON. A later call runs only missing and failed ones.
    random_seed : int, optional
        Seed, recorded in ``attrs["random_seed"]``. By default that of the folder, or else a new one. Simulation n
        depends only on the seed and n, so more simulations can be added to a folder.
    progressbar : bool
        Whether to print progress to standard error.

    Returns
    -------
    xarray.DataTree
        ``prior_sbc``: the rank of the truth of each quantity, jittered within its bin and scaled to (0, 1), with
        dimensions chain (one), draw (simulation) and those of the quantity, as input of ``arviz.plot_ecdf_pit(tree,
        group="prior_sbc")``; ties, as between whole weeks, are broken at random. ``truth`` (simulation): the true
        values. ``diagnostics`` (simulation): ``rhat`` and ``ess_bulk``, the worst over quantities, ``divergent`` draws,
        ``longer``, whether the fit was run again, and ``error``, a text, empty unless the simulation has no ranks.
        Attributes have the settings and counts.

    Raises
    ------
    FitError
        If an argument is out of range, the folder has another study, the executor breaks, or every simulation failed.
    PanelError
        If the panel does not fit the spec.

    Notes
    -----
    Quantities are all entries of the model's variables, and ``log_joint`` (on the unconstrained scale),
    ``log_likelihood``, ``mean_regime`` (mean index of the regime along the path), ``lagged_effect`` (overall, by regime
    and by episode), ``mean_lag``, ``median_lag`` and ``peak_lag``. Regimes are ordered by positive gaps, so prior draws
    satisfy the order without rejection. No fit is left out: `sbc_table` explains how fits without ranks are counted.
    """
    check_panel(spec, panel)
    panel = panel if rows is None else last_rows(panel, whole(FitError, "sbc", "rows", rows, "give rows such a number"))
    # Settings are stored as JSON, which has no NumPy numbers.
    study = Study(
        spec,
        panel,
        panel_hash(panel),
        build,
        random_seed=seed_of_study("sbc", folder, random_seed),
        sampler=sampler_of_refits("sbc", sampler),
        **wholes(FitError, "sbc", thinned=thinned),
    )
    simulations = wholes(FitError, "sbc", simulations=simulations)["simulations"]
    _check(study)
    work = partial(one_simulation, study)
    settings = study.settings()
    results = run_all(
        work, range(simulations), settings=settings, executor=executor, folder=folder, progressbar=progressbar
    )
    return _as_tree(results, settings)


def _check(study: Study) -> None:
    if study.sampler.chains * study.sampler.draws < study.thinned:
        came = f"{study.sampler.chains} chains of {study.sampler.draws} draws, thinned = {study.thinned}"
        raise FitError("sbc", "a fit has at least as many draws as are left by thinning", came, "raise draws")
    if "<" in getattr(study.build, "__qualname__", "<"):
        rule = "build is a function of a module, which other processes can import"
        raise FitError("sbc", rule, repr(study.build), "write it with def, outside of other functions")


@lru_cache(maxsize=1)
def _prepared(study: Study) -> tuple[pm.Model, CompiledModel]:
    """Model of the truths, and the compiled model to fit; once per process."""
    return build_model(study.spec, study.panel), CompiledModel(study.build(study.spec, study.panel))


@lru_cache(maxsize=4)
def _truths(study: Study, block: int) -> xr.Dataset:
    """Prior draws for a block of simulations; one draw costs nearly as much as a block."""
    seed = np.random.SeedSequence([study.random_seed, block, BLOCK]).generate_state(1)[0]
    return draw_prior(study.spec, _prepared(study)[0], BLOCK, random_seed=int(seed))


def one_simulation(study: Study, number: int) -> Result:
    """Draw a truth, simulate, fit and rank."""
    _, compiled = _prepared(study)
    seeds = [int(seed) for seed in np.random.SeedSequence([study.random_seed, number]).generate_state(3)]
    parameters = _truths(study, number // BLOCK).isel({nm.DRAW: [number % BLOCK]})
    panel = simulate(study.spec, study.panel, parameters=parameters, random_seed=seeds[0])
    _check_finite(panel, study.panel)
    # Covariates are those of the fitted model, which may differ from the panel's.
    simulated = model_data(study.spec, panel)
    responses = {name: simulated[name] for name in (nm.OBSERVED_RESPONSE, nm.OWN_PAST) if name in simulated}
    plan = compiled.on(compiled.data | responses)
    point = compiled.point({str(name): values.to_numpy()[0, 0] for name, values in parameters.data_vars.items()})
    height = plan.value_and_gradient(point)[0]
    if not np.isfinite(height):
        raise FitError("a simulation", "the log posterior is finite at the truth", str(height), "look at the priors")
    path = panel[nm.REGIME_PATH].expand_dims((nm.CHAIN, nm.DRAW))
    truth = _quantities(study.spec, panel, parameters, path, xr.DataArray([[height]], dims=(nm.CHAIN, nm.DRAW)))
    modes = find_modes_from_prior(plan, starts=study.sampler.starts, random_seed=seeds[1])
    start = partial(dispersed_start, modes, plan.value_and_gradient)
    # The decision to run longer depends on the chains only, not on the truth, so ranks are unbiased.
    for times in (1, LONGER):
        drawn, divergent = _sampled(study, panel, plan, start, seeds[1], times)
        mixing = _mixing(drawn[list(truth.data_vars)])
        if mixing["ess_bulk"] >= study.thinned and mixing["rhat"] <= UNMIXED:
            break
    ranked = _ranked(truth.isel(chain=0, draw=0, drop=True), drawn, study.thinned, np.random.default_rng(seeds[2]))
    return ranked | mixing | {"divergent": divergent, "longer": times > 1}


def _sampled(
    study: Study, panel: xr.Dataset, plan: CompiledModel, start: Callable[[int], np.ndarray], seed: int, times: int
) -> tuple[xr.Dataset, int]:
    """Draws of all quantities (chain, draw, ...), `times` as many as the study's, and number of divergences."""
    longer = replace(study.sampler, draws=times * study.sampler.draws, tune=times * study.sampler.tune)
    fitted = sample_nutpie(plan, start, seed, False, longer.nuts)
    posterior, statistics = fitted["posterior"].to_dataset(), fitted["sample_stats"].to_dataset()
    posterior, _ = with_point_lags(study.spec, panel, posterior, np.random.default_rng(seed))
    # Probabilities of point lags have no truth; draws of the lags do.
    held = [nm.lag_parameter(signal.name, "probability") for signal in study.spec.point_signals]
    posterior = posterior.drop_vars([*held, nm.LAG], errors="ignore") if held else posterior
    paths = regime_paths(_tree(study.spec, panel, posterior), random_seed=seed)
    drawn = _quantities(study.spec, panel, posterior, paths, statistics["logp"])
    return drawn, int(statistics["diverging"].sum())


def _check_finite(panel: xr.Dataset, template: xr.Dataset) -> None:
    """Refuse responses that overflowed, which the model would treat as missing."""
    lost = ~np.isfinite(panel[nm.RESPONSE_VALUE]) & np.isfinite(template[nm.RESPONSE_VALUE])
    if bool(lost.any()):
        came = f"{int(lost.sum())} that are not"
        raise FitError("a simulation", "simulated responses are finite", came, "tighten the priors of scales and tails")


def _tree(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.DataTree:
    """Minimal tree for the functions of a fit."""
    groups = {"posterior": parameters, "observed_data": panel[[nm.RESPONSE_VALUE]]}
    groups["constant_data"] = panel.drop_vars([nm.RESPONSE_VALUE, nm.REGIME_PATH])
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"spec": spec_to_toml(spec), "panel_attrs": "{}"}
    return tree


def _quantities(
    spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset, paths: xr.DataArray, log_joint: xr.DataArray
) -> xr.Dataset:
    found = dict(parameters.data_vars) | {"log_joint": log_joint}
    at = AtDraws(spec, panel, parameters)
    found["log_likelihood"] = at.labelled(lambda chunk: log_density_draws(*chunk.hmm).sum(axis=-1))
    if spec.switches:
        found["mean_regime"] = paths.mean(nm.TIME)
    if spec.lagged_signals:
        tree = _tree(spec, panel, parameters)
        lags, read = lag_distribution(tree), effects_of_draws(tree)
        found |= {name: lags[name] for name in ("mean_lag", "median_lag", "peak_lag")}
        for name in [str(name) for name in read.data_vars if str(name).startswith("lagged")]:
            # Signals with kernel none have no lagged effect.
            found[name.replace("lagged", "lagged_effect")] = read[name].sel({nm.SIGNAL: lags[nm.SIGNAL]})
    return xr.Dataset(found)


def _ranked(truth: xr.Dataset, drawn: xr.Dataset, thinned: int, rng: np.random.Generator) -> Result:
    """Ranks of the true values among thinned draws, with ties at random; and the true values."""
    draws = stack_draws(drawn)
    every = np.linspace(0, len(draws["log_joint"]) - 1, thinned).round().astype(int)
    rank, true = truth.copy(), {str(name): values.to_numpy() for name, values in truth.data_vars.items()}
    for name, value in true.items():
        few = draws[name][every]
        ties = rng.integers(0, (few == value).sum(axis=0) + 1)
        # With jitter, a rank that is uniform on 0, 1, ..., thinned becomes uniform on (0, 1).
        jittered = (few < value).sum(axis=0) + ties + rng.random(value.shape)
        rank[name] = rank[name].copy(data=jittered / (thinned + 1))
    return {"rank": _plain(rank), "truth": _plain(truth)}


def _plain(found: xr.Dataset) -> Result:
    """Values as plain data without attributes."""
    whole = found.to_dict()
    parts = {kind: {name: one | {"attrs": {}} for name, one in whole[kind].items()} for kind in ("coords", "data_vars")}
    return parts | {"dims": whole["dims"], "attrs": {}}


def _mixing(drawn: xr.Dataset) -> dict[str, float]:
    """Worst rank-normalised R-hat and bulk effective sample size over all quantities."""
    flat = [values.transpose(nm.CHAIN, nm.DRAW, ...).to_numpy() for values in drawn.data_vars.values()]
    joined = np.concatenate([values.reshape(*values.shape[:2], -1) for values in flat], axis=-1)
    chains = {"chain_axis": 0, "draw_axis": 1}
    # Constant quantities, such as a peak lag equal in all draws, have neither.
    with np.errstate(invalid="ignore"):
        rhat, ess = array_stats.rhat(joined, **chains), array_stats.ess(joined, **chains)
    return {"rhat": float(np.nanmax(rhat)), "ess_bulk": float(np.nanmin(ess))}


def _as_tree(results: Mapping[int, Result], settings: Mapping[str, Any]) -> xr.DataTree:
    ranked = {number: result for number, result in results.items() if ERROR not in result}
    errors = {number: result.get(ERROR, "") for number, result in results.items()}
    if not ranked:
        cure = "remove the cause, and call again"
        raise FitError("sbc", "one simulation at least can be ranked", next(iter(errors.values())), cure)
    numbers = pd.Index(list(results), name=SIMULATION)
    names = ("rhat", "ess_bulk", "divergent", "longer")
    measures = {name: [float(result.get(name, np.nan)) for result in results.values()] for name in names}
    diagnostics = pd.DataFrame(measures | {ERROR: list(errors.values())}, index=numbers)
    joined = {
        name: xr.concat(
            [xr.Dataset.from_dict(result[name]) for result in ranked.values()], pd.Index(list(ranked), name=SIMULATION)
        )
        for name in ("rank", "truth")
    }
    ranks = joined["rank"].rename({SIMULATION: nm.DRAW}).expand_dims(nm.CHAIN)
    tree = xr.DataTree.from_dict(
        {
            RANKS: ranks.transpose(nm.CHAIN, nm.DRAW, ...),
            TRUTH: joined["truth"],
            DIAGNOSTICS: diagnostics.to_xarray(),
        }
    )
    tree.attrs = {
        "settings": json.dumps(settings),
        "random_seed": settings["random_seed"],
        "simulations": len(results),
        "failed": len(results) - len(ranked),
        "unmixed": int((diagnostics["rhat"] > UNMIXED).sum()),
        "divergent": int((diagnostics["divergent"] > 0).sum()),
        "noisy": int((diagnostics["ess_bulk"] < settings["thinned"]).sum()),
    }
    return tree
