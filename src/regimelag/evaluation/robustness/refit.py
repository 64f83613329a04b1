"""One fit of many: fast, on a model compiled once a process, and read down to what a table needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from regimelag.evaluation.parallel_runs import Result
from regimelag.model.build import build_model
from regimelag.model.data import model_data
from regimelag.panel.own_past import used_responses
from regimelag.results.lags import INTERVAL, effects_of_draws, lag_distribution
from regimelag.results.persistence import persistence, unexplained
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.diagnostics import convergence
from regimelag.sampling.fit import find_modes_from_prior
from regimelag.sampling.inference_data import provenance
from regimelag.sampling.modes import dispersed_start
from regimelag.sampling.nuts import sample_nutpie
from regimelag.sampling.point_lags import with_point_lags
from regimelag.sampling.relabel import relabelled
from regimelag.sampling.sampler import Sampler
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.terms import prior_constants

QUANTILES = (INTERVAL[0], 0.5, INTERVAL[1])
_compiled: dict[tuple[ModelSpec, tuple[tuple[str, int], ...], tuple[float, ...]], CompiledModel] = {}


@dataclass(frozen=True, eq=False)
class Refit:
    """A model to fit on data of its own.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        The data of this fit.
    template : xarray.Dataset
        A panel of the same sizes but for time, with the same constants, that fits the spec; the model is built on it.
    signal : str
        The signal whose lagged effect is read.
    residuals : bool
        Whether residuals are read for persistence, which withholds a verdict.
    """

    spec: ModelSpec
    panel: xr.Dataset
    template: xr.Dataset
    signal: str
    residuals: bool = False


def compiled_on(task: Refit) -> CompiledModel:
    """The task's model, compiled once a process, on its data."""
    sizes = {str(dim): size for dim, size in task.panel.sizes.items() if dim not in (nm.TIME, nm.SIGNAL_TIME)}
    # A prior of an elasticity is a constant of the compiled model, in the standard deviations of the panel.
    key = (task.spec, tuple(sorted(sizes.items())), prior_constants(task.spec, task.panel))
    if key not in _compiled:
        _compiled[key] = CompiledModel(build_model(task.spec, task.template))
    return _compiled[key].on(model_data(task.spec, task.panel))


def posterior_of(task: Refit, sampler: Sampler, seed: int) -> tuple[xr.Dataset, dict[str, Any]]:
    """Sample the task's model: draws with point lags beside them, and whether chains converged."""
    model = compiled_on(task)
    start = partial(
        dispersed_start, find_modes_from_prior(model, starts=sampler.starts, random_seed=seed), model.value_and_gradient
    )
    sampled = sample_nutpie(model, start, seed, False, sampler.nuts)
    posterior, _ = with_point_lags(
        task.spec, task.panel, sampled["posterior"].to_dataset(), np.random.default_rng(seed)
    )
    posterior, _, labels = relabelled(task.spec, task.panel, posterior, None)
    if labels:
        # Chains with different labels have not failed to converge.
        sampled["posterior"] = xr.DataTree(posterior)
    return posterior, convergence(sampled)


def refit(task: Refit, sampler: Sampler, seed: int) -> Result:
    """Fit, and keep what the table needs, as JSON can hold it.

    Returns
    -------
    dict
        ``rows`` with a response; ``rhat``, ``divergent``; of the signal's lagged effect, ``effect`` and ``mean_lag``, 5
        %, median and 95 %; ``positive``, P(effect > 0); ``statistic``, the effect's posterior mean over its standard
        deviation, in absolute value. If residuals are read: ``withheld``, why a verdict would be.
    """
    posterior, found = posterior_of(task, sampler, seed)
    result = {
        "rows": int(np.isfinite(used_responses(task.panel)).any(axis=1).sum()),
        "rhat": float(found["rhat"]),
        "divergent": int(found["divergent"]),
    }
    return result | _lagged(task, posterior)


def _lagged(task: Refit, posterior: xr.Dataset) -> Result:
    """Summary of the signal's lagged effect."""
    groups = {"posterior": posterior, "observed_data": task.panel[[nm.RESPONSE_VALUE]]}
    tree = xr.DataTree.from_dict(groups | {"constant_data": task.panel.drop_vars(nm.RESPONSE_VALUE)})
    tree.attrs = provenance(task.spec, task.panel)
    effect = effects_of_draws(tree)["lagged"].sel({nm.SIGNAL: task.signal}).to_numpy().ravel()
    lag = lag_distribution(tree).sel({nm.SIGNAL: task.signal})
    read = {"withheld": _withheld(task, tree)} if task.residuals else {}
    return read | {
        "effect": np.quantile(effect, QUANTILES).tolist(),
        "positive": float((effect > 0).mean()),
        "statistic": float(abs(effect.mean()) / effect.std(ddof=1)),
        "mean_lag": np.quantile(lag["mean_lag"], QUANTILES).tolist(),
    }


def _withheld(task: Refit, tree: xr.DataTree) -> list[str]:
    """Why a verdict on the signal would be withheld."""
    found = persistence(tree)
    signal = next(one for one in task.spec.signals if one.name == task.signal)
    return [why for response in task.spec.responses for why in unexplained(found, response, signal)]
