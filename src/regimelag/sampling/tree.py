"""The tree that holds a fit: posterior, prior, both predictive groups, densities, data and provenance."""

from __future__ import annotations

import datetime as dt
import json
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from pymc.model.transform.conditioning import remove_value_transforms
from pytensor.graph.replace import vectorize_graph

from regimelag import names as nm
from regimelag.data.panel import check_panel, panel_hash
from regimelag.equations import (
    Equations,
    draw_regimes,
    draw_responses,
    equations,
    in_chunks,
    log_observation,
    stack_draws,
    unstack_draws,
)
from regimelag.errors import FitError
from regimelag.likelihood.recursions import filter_forward_draws
from regimelag.model import build_model, draw_prior
from regimelag.process import alone
from regimelag.sampling.diagnostics import diagnostics, require_fit, undefined_draws
from regimelag.sampling.point_lags import with_point_lags
from regimelag.spec import ModelSpec
from regimelag.specfile import spec_from_toml, spec_to_toml

PACKAGES = ("regimelag", "pymc", "pytensor", "arviz", "nutpie", "numba", "numpy", "xarray", "pandas", "scipy")


def spec_of(idata: xr.DataTree) -> ModelSpec:
    """The spec that a fit was made with.

    Raises
    ------
    FitError
        If the tree is no fit of regimelag's.
    """
    require_fit("reading a fit", idata)
    if not isinstance(idata.attrs.get("spec"), str):
        raise FitError(
            "reading a fit",
            "the tree carries its spec in attrs",
            f"attrs {sorted(map(str, idata.attrs))}",
            "use what fit() or load_fit() returned, or pass your own samples through as_fit(idata, spec, panel)",
        )
    return spec_from_toml(idata.attrs["spec"], where="the fit's spec")


def panel_of(idata: xr.DataTree) -> xr.Dataset:
    """The panel that a fit was made with, rebuilt from its data groups."""
    spec_of(idata)
    panel = xr.merge([idata["observed_data"].to_dataset(), idata["constant_data"].to_dataset()], join="outer")
    panel.attrs = json.loads(idata.attrs["panel_attrs"])
    return panel


def parameters_of(idata: xr.DataTree, group: str = "posterior") -> xr.Dataset:
    """Parameter draws of the posterior or the prior.

    Raises
    ------
    FitError
        If the tree has no such group.
    """
    require_fit("reading a fit", idata)
    if group not in idata.children:
        raise FitError(
            f"the {group} of a fit",
            "the group exists",
            f"groups {sorted(idata.children)}",
            "use group='posterior' or group='prior', on what fit() returned",
        )
    parameters = idata[group].to_dataset()
    if group == "posterior":
        _require_defined("the posterior of a fit", parameters)
    return parameters


def _require_defined(asked: str, parameters: xr.Dataset) -> None:
    """Refuse draws that are NaN or infinite."""
    undefined = undefined_draws(parameters)
    if undefined:
        cure = "sample again; if the draws come from a file, copy the file again from where it was saved"
        raise FitError(asked, "all draws are finite numbers", f"NaN or infinite: {'; '.join(undefined)}", cure)


@alone
def as_fit(
    idata: xr.DataTree,
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    model: pm.Model | None = None,
    prior_draws: int = 1000,
    random_seed: int | None = None,
) -> xr.DataTree:
    """Make a fit of samples: the road back from your own ``pm.sample(build_model(spec, panel))``.

    Parameters
    ----------
    idata : xarray.DataTree
        With a group posterior that holds the model's parameters; other groups are kept.
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.
    model : pymc.Model, optional
        The model that was sampled, if it was extended; its priors enter prior and log_prior.
    prior_draws : int
        Number of draws from the prior and its predictive.
    random_seed : int, optional
        Seed of the predictive draws.

    Returns
    -------
    xarray.DataTree
        With groups posterior, prior, prior_predictive, posterior_predictive, log_likelihood (one-step-ahead terms,
        which sum to the joint log-likelihood; zero where the response is missing), log_prior, observed_data,
        constant_data, those of `idata`, and provenance in attrs. Predictive draws replicate the whole window with a
        fresh regime path. The one-step-ahead terms are not leave-one-out terms: `arviz.loo` takes those of
        `leave_one_out`.

    Raises
    ------
    FitError
        If the posterior lacks a parameter of the model, or has draws of one that are NaN or infinite.
    PanelError
        If the panel does not fit the spec.
    """
    check_panel(spec, panel)
    model = build_model(spec, panel) if model is None else model
    sampled = _checked_posterior(idata, model)
    rng = np.random.default_rng(random_seed)
    prior = draw_prior(spec, model, prior_draws, random_seed=int(rng.integers(2**31)))
    posterior, log_density = with_point_lags(spec, panel, sampled, rng)
    replicated_over = {nm.TIME: panel[nm.TIME].to_numpy(), nm.RESPONSE: panel[nm.RESPONSE].to_numpy()}

    def replicated(eq: Equations) -> np.ndarray:
        return draw_responses(eq, draw_regimes(eq, rng), rng)

    before = evaluated(spec, panel, prior, replicated, **replicated_over)
    after = evaluated(spec, panel, posterior, replicated, **replicated_over)
    if log_density is None:
        log_density = one_step_terms(spec, panel, posterior)
    groups = {name: child.to_dataset() for name, child in idata.children.items()}
    groups |= {
        "posterior": posterior,
        "prior": prior,
        "prior_predictive": before.to_dataset(name=nm.RESPONSE_VALUE),
        "posterior_predictive": after.to_dataset(name=nm.RESPONSE_VALUE),
        "log_likelihood": log_density.to_dataset(name=nm.RESPONSE_VALUE),
        "log_prior": _log_prior(model, sampled),
        "observed_data": panel[[nm.RESPONSE_VALUE]],
        "constant_data": panel.drop_vars(nm.RESPONSE_VALUE),
    }
    for dataset in groups.values():
        dataset.attrs = {}
    tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})
    tree.attrs = dict(idata.attrs) | provenance(spec, panel)
    tree.attrs["diagnostics"] = json.dumps(diagnostics(tree))
    return tree


def one_step_terms(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.DataArray:
    """Log density of each row given the rows before it (chain, draw, time), point lags given; zero if it has none."""
    y = panel[nm.RESPONSE_VALUE].to_numpy()

    def measure(eq: Equations) -> np.ndarray:
        return filter_forward_draws(log_observation(eq, y), eq.logits, eq.log_initial)[2]

    return evaluated(spec, panel, parameters, measure, **{nm.TIME: panel[nm.TIME].to_numpy()})


def provenance(spec: ModelSpec, panel: xr.Dataset) -> dict[str, Any]:
    """What a reader needs to know how a fit came about; strings only, since files hold no dicts."""
    return {
        "spec": spec_to_toml(spec),
        "panel_attrs": json.dumps(dict(panel.attrs)),
        "panel_sha256": panel_hash(panel),
        "versions": json.dumps(installed()),
        "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def installed() -> dict[str, str]:
    """Versions of what can move a draw: packages, Python, and the platform it runs on."""
    own = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    return {name: metadata.version(name) for name in PACKAGES} | own


def _checked_posterior(idata: xr.DataTree, model: pm.Model) -> xr.Dataset:
    posterior = idata["posterior"].to_dataset() if "posterior" in idata.children else xr.Dataset()
    lacking = sorted({rv.name for rv in model.free_RVs} - set(map(str, posterior.data_vars)))
    if lacking:
        raise FitError(
            "as_fit",
            "the posterior holds every parameter of the model",
            f"{', '.join(lacking)} is missing",
            "sample the model of build_model(spec, panel) with the same spec, without dropping variables",
        )
    _require_defined("as_fit", posterior[[rv.name for rv in model.free_RVs]])
    return posterior


def evaluated(
    spec: ModelSpec,
    panel: xr.Dataset,
    parameters: xr.Dataset,
    measure: Callable[[Equations], np.ndarray],
    **coords: np.ndarray,
) -> xr.DataArray:
    """What a measure (draw, ...) says of the model's equations, for all draws of the parameters (chain, draw, ...)."""
    draws = stack_draws(parameters)
    size = panel.sizes[nm.TIME] * spec.joint_regimes.size
    values = [measure(equations(spec, panel, some)) for _, some in in_chunks(draws, size)]
    return unstack_draws(np.concatenate(values), parameters, **coords)


def _log_prior(model: pm.Model, posterior: xr.Dataset) -> xr.Dataset:
    """Log prior density of each free variable, summed over its entries (chain, draw).

    `pm.compute_log_prior` gives the same in a loop over draws; here the graph takes all draws at once.
    """
    plain = remove_value_transforms(model)
    values = [plain.rvs_to_values[rv] for rv in plain.free_RVs]
    batched = {value: pt.tensor(dtype=value.type.dtype, shape=(None, *value.type.shape)) for value in values}
    densities = vectorize_graph(plain.logp(vars=plain.free_RVs, jacobian=False, sum=False), replace=batched)
    totals = [density.reshape((density.shape[0], -1)).sum(axis=1) for density in densities]
    evaluate = pytensor.function(list(batched.values()), totals, mode="FAST_COMPILE")
    draws = stack_draws(posterior)
    found = evaluate(
        *(draws[rv.name].astype(value.type.dtype) for rv, value in zip(plain.free_RVs, values, strict=True))
    )
    labelled = {rv.name: unstack_draws(total, posterior) for rv, total in zip(plain.free_RVs, found, strict=True)}
    return xr.Dataset(labelled)
