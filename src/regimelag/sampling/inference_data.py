"""The DataTree of a fit: posterior, prior, predictive groups, densities, data and provenance."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from regimelag.errors import FitError, SpecError
from regimelag.likelihood.hmm_draws import log_density_draws
from regimelag.model.at_draws import AtDraws, Chunk
from regimelag.model.build import build_model, draw_prior
from regimelag.model.data import model_data
from regimelag.model.draw import draw_regimes, draw_responses
from regimelag.model.evaluate import unstack_draws
from regimelag.model.own_past import iterate_own_past
from regimelag.panel.checks import constants_hash
from regimelag.panel.make import check_panel, panel_hash
from regimelag.panel.own_past import history_before, own_past
from regimelag.panel.slicing import in_natural_units
from regimelag.runtime.files import FORMAT, FORMAT_KEY
from regimelag.runtime.plain import drawn_seed, whole
from regimelag.runtime.process import one_thread_at_a_time
from regimelag.sampling.diagnostics import require_fit, require_kernels, store_diagnostics, undefined_draws
from regimelag.sampling.log_prior import log_prior
from regimelag.sampling.point_lags import LOG_DENSITY, read_point_lags, with_point_lags
from regimelag.sampling.relabel import relabelled
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.process_terms import process_coordinates
from regimelag.spec.terms import terms_of
from regimelag.spec.toml import spec_from_toml, spec_to_toml

ONE_STEP = {
    "long_name": "log density of the row's responses given all rows before it and the draw's parameters",
    "units": "nats, of the responses in their own units",
}
WHOLE = "a fit is read whole: rows, series and regimes are those of its model"
OF_READINGS = (
    "select from what a reading of the whole fit returns, as in "
    "regimelag.regime_probabilities(idata).sel(time=slice('2020', None))"
)
REPLICATED = {"long_name": "standardised response, replicated over the window with a fresh regime path", "units": "1"}
# Most entries of an array over draws and rows in a fit: 160 MB.
LARGEST = 20_000_000
# Attributes of ArviZ's schema that a group keeps.
OF_SAMPLER = ("inference_library", "inference_library_version", "sampling_time", "tuning_steps")
# Attributes of a posterior that was resampled from separated modes.
OF_RESAMPLING = ("resampled", "effective_sample_size")
PACKAGES = ("regimelag", "pymc", "pytensor", "arviz", "nutpie", "numba", "numpy", "xarray", "pandas", "scipy")


def spec_of(idata: xr.DataTree) -> ModelSpec:
    """The spec of a fit.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    ModelSpec

    Raises
    ------
    FitError
        If the tree is not a fit of regimelag.
    """
    require_fit("reading a fit", idata)
    if not isinstance(idata.attrs.get("spec"), str):
        raise FitError(
            "reading a fit",
            "the tree carries its spec in attrs",
            f"attrs {sorted(map(str, idata.attrs))}",
            "use what fit() or load_fit() returned, or pass your own samples through as_fit(idata, spec, panel); "
            "what sample() returned is saved by idata.to_netcdf('draws.nc')",
        )
    try:
        return spec_from_toml(idata.attrs["spec"], where="the fit's spec")
    except SpecError as problem:
        made = json.loads(idata.attrs.get("versions", "{}")).get("regimelag", "unknown")
        raise FitError(
            "reading a fit",
            "its spec is one that this version reads, with kernels that are registered",
            f"{problem.asked}: {problem.came}; made with regimelag {made}, read with {metadata.version('regimelag')}",
            "import the module that registers the kernel, read the file with that version of regimelag, or fit again",
        ) from problem


def panel_of(idata: xr.DataTree) -> xr.Dataset:
    """The panel of a fit, rebuilt from its data groups.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.Dataset
        As from `make_panel`.

    Raises
    ------
    FitError
        If the tree is not a fit, or rows or series of it were selected.
    """
    return whole_panel(spec_of(idata), idata)


def whole_panel(spec: ModelSpec, idata: xr.DataTree) -> xr.Dataset:
    """The panel of a fit whose spec is known; refuse a tree with selected rows or series."""
    panel = held_panel(idata)
    _check_whole(spec, panel)
    time, reach = panel[nm.TIME].to_numpy(), panel[nm.SIGNAL_TIME].to_numpy()
    if not np.array_equal(reach[spec.history :], time):
        came = f"{np.size(time)} of the {len(reach) - spec.history} rows that its signals have"
        raise FitError("reading a fit", WHOLE, came, OF_READINGS)
    return panel


def held_panel(idata: xr.DataTree) -> xr.Dataset:
    """Data groups of a fit as a panel, complete or not."""
    panel = xr.merge([idata["observed_data"].to_dataset(), idata["constant_data"].to_dataset()], join="outer")
    panel.attrs = json.loads(idata.attrs["panel_attrs"])
    return panel


def _check_whole(spec: ModelSpec, held: xr.Dataset) -> None:
    """Refuse data or draws from which a response, a regime or another label was selected."""
    # Data have all drivers, parameters those of the transitions.
    drivers = spec.drivers if nm.DRIVER_VALUE in held else spec.transition_drivers
    labels = {
        nm.RESPONSE: [one.name for one in spec.responses],
        nm.SIGNAL: [one.name for one in spec.signals],
        nm.DRIVER: [one.name for one in drivers],
        nm.CONTROL: [one.name for one in spec.controls],
        nm.LAGGED_SIGNAL: [one.name for one in spec.lagged_signals],
        nm.CONTEMPORANEOUS_SIGNAL: [one.name for one in spec.contemporaneous_signals],
        nm.REGIME_PROCESS: spec.process_coords.get(nm.REGIME_PROCESS, []),
    }
    labels = process_coordinates(spec) | labels
    for dim, wanted in labels.items():
        if dim in held.coords and (not held[dim].ndim or list(map(str, held[dim].to_numpy())) != wanted):
            came = f"{dim} {', '.join(map(str, np.ravel(held[dim].to_numpy())))}, of {', '.join(wanted)}"
            raise FitError("reading a fit", WHOLE, came, OF_READINGS)
    episodes, places = held.sizes.get(nm.EPISODE), held.get(nm.EPISODE_INDEX)
    if places is not None and (episodes is None or int(places.max()) >= episodes):
        raise FitError("reading a fit", WHOLE, f"{episodes or 'one'} of its episodes", OF_READINGS)


def whole_parameters(spec: ModelSpec | None, idata: xr.DataTree, group: str) -> xr.Dataset:
    """Parameter draws of the posterior or the prior, of a fit with this spec or of a tree without one.

    Raises
    ------
    FitError
        If the tree has no such group or no draws in it, or labels of it were selected.
    """
    if not isinstance(group, str) or group not in idata.children:
        raise FitError(
            "parameters of a fit",
            f"group is one of the fit's groups, {sorted(idata.children)}",
            f"group = {group!r}",
            "use group='posterior' or group='prior', on what fit() returned",
        )
    parameters = idata[group].to_dataset().copy()
    # Units of parameters are not those of what is computed from them. `drop_attrs` takes many times as long.
    for variable in parameters.variables.values():
        variable.attrs = {}
    if not all(parameters.sizes.get(dim) for dim in (nm.CHAIN, nm.DRAW)):
        cure = 'select draws that all groups have, as in idata.isel(draw=slice(None, None, 5), missing_dims="ignore")'
        raise FitError(f"the {group} of a fit", "it has draws", "none", cure)
    if spec is not None:
        for held in (parameters, idata["constant_data"].to_dataset() if "constant_data" in idata.children else None):
            if held is not None:
                _check_whole(spec, held)
    if group == "posterior":
        _require_defined("the posterior of a fit", parameters)
    if spec is not None:
        require_kernels(spec, group, parameters)
    return parameters


def _require_defined(asked: str, parameters: xr.Dataset) -> None:
    undefined = undefined_draws(parameters)
    if undefined:
        cure = "sample again; if the draws come from a file, copy the file again from where it was saved"
        raise FitError(asked, "all draws are finite numbers", f"NaN or infinite: {'; '.join(undefined)}", cure)


@one_thread_at_a_time
def as_fit(
    idata: xr.DataTree,
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    model: pm.Model | None = None,
    prior_draws: int = 1000,
    random_seed: int | None = None,
) -> xr.DataTree:
    """Convert samples of your own ``pm.sample`` of a model from `build_model` to a fit.

    Parameters
    ----------
    idata : xarray.DataTree
        With the model's parameters in the group posterior; other groups are kept, except log_likelihood.
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.
    model : pymc.Model, optional
        The sampled model, if it was extended; its priors enter prior and log_prior.
    prior_draws : int
        Number of draws from the prior and the prior predictive.
    random_seed : int, optional
        Seed of the prior and the predictive draws. By default one is drawn; it is recorded in
        ``attrs["predictive_seed"]`` either way.

    Returns
    -------
    xarray.DataTree
        With groups posterior and prior (with the meaning of each parameter as ``long_name``), prior_predictive,
        posterior_predictive, one_step_ahead, log_prior, observed_data, constant_data, those of `idata`, and provenance
        in attrs. Predictive draws replicate the whole window with a new regime path, standardised like observed_data.
        The one-step-ahead log densities (chain, draw, time) sum to the log likelihood, in nats of the responses in
        their own units; zero where no response was observed. Of long series prior_predictive, posterior_predictive and
        one_step_ahead have fewer draws than the posterior, at even distances: at most 20 million values each.

        There is no group log_likelihood, so that `arviz.loo` and `arviz.compare` refuse a fit: they would treat its
        values as conditionally independent. `leave_one_out` and `one_step_ahead` return trees for ArviZ.

        Regimes of a process that is not ordered are relabelled, draw by draw, and `diagnostics` says in how many draws
        the labels are ambiguous.

    Raises
    ------
    FitError
        If the posterior lacks a parameter of the model or has NaN or infinite draws, or if the draws or ``model``
        record another spec or panel, or the location of ``model`` has a term of its own. For regimes on newer data see
        `regime_probabilities`.
    PanelError
        If the panel does not fit the spec.
    """
    require_fit("as_fit", idata)
    whole(FitError, "as_fit", "prior_draws", prior_draws, "write prior_draws=1000")
    check_panel(spec, panel)
    _check_made_with(idata, spec, panel)
    _check_data(spec, panel, idata, model)
    if getattr(model, "has_own_term", False):
        raise FitError(
            "as_fit",
            "readings evaluate the model of the spec",
            "a model whose location has a term of its own",
            "read its draws with ArviZ, or declare the term as a control of the spec",
        )
    model = build_model(spec, panel) if model is None else model
    sampled = _checked_posterior(idata, model)
    seed = drawn_seed(FitError, "as_fit", random_seed)
    rng = np.random.default_rng(seed)
    prior = draw_prior(spec, model, prior_draws, random_seed=int(rng.integers(2**31)))
    posterior, log_density = with_point_lags(spec, panel, sampled, rng)
    catalogue = idata["modes"].to_dataset() if "modes" in idata.children else None
    posterior, catalogue, labels = relabelled(spec, panel, posterior, catalogue)
    few, few_prior = (thinned_by_rows(one, panel) for one in (posterior, prior))
    before, at_posterior = replicated(AtDraws(spec, panel, few_prior), rng), AtDraws(spec, panel, few)
    if log_density is None:
        after, log_density = _replicated_and_one_step(at_posterior, rng)
    else:
        after = replicated(at_posterior, rng)
    log_density = log_density.sel({nm.DRAW: few[nm.DRAW]})
    groups = {name: child.to_dataset() for name, child in idata.children.items() if name != nm.LOG_LIKELIHOOD}
    groups |= {"modes": catalogue} if catalogue is not None else {}
    groups |= {
        "posterior": posterior,
        "prior": prior,
        "prior_predictive": before.assign_attrs(REPLICATED).to_dataset(name=nm.RESPONSE_VALUE),
        "posterior_predictive": after.assign_attrs(REPLICATED).to_dataset(name=nm.RESPONSE_VALUE),
        nm.ONE_STEP_AHEAD: in_natural_units(panel, log_density)
        .assign_attrs(ONE_STEP)
        .to_dataset(name=nm.RESPONSE_VALUE),
        "log_prior": log_prior(model, sampled),
        "observed_data": panel[[nm.RESPONSE_VALUE]],
        "constant_data": panel.drop_vars(nm.RESPONSE_VALUE),
    }
    for name, dataset in groups.items():
        kept = {key: value for key, value in dataset.attrs.items() if key in (*OF_SAMPLER, *OF_RESAMPLING)}
        dataset.attrs = kept | ({nm.CONSTANTS_HASH: constants_hash(panel)} if name in ("posterior", "prior") else {})
    for name in ("posterior", "prior"):
        groups[name] = _described(spec, panel, groups[name])
    tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})
    tree.attrs = dict(idata.attrs) | provenance(spec, panel) | {"predictive_seed": seed} | labels
    store_diagnostics(tree)
    return tree


def thinned_by_rows(draws: xr.Dataset, panel: xr.Dataset) -> xr.Dataset:
    """Draws at even distances, so few that an array over draws and rows has at most `LARGEST` entries."""
    entries = draws.sizes[nm.CHAIN] * draws.sizes[nm.DRAW] * panel.sizes[nm.TIME] * panel.sizes[nm.RESPONSE]
    return draws.isel({nm.DRAW: slice(None, None, -(-entries // LARGEST))})


def _described(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.Dataset:
    """Parameters with their meanings, and the units of slopes and means, which are standardised."""
    described = parameters.copy()
    for one in terms_of(spec, panel).parameters():
        if one.name in described:
            unit = f"response sd per {one.slope_on} sd" if one.slope_on else ""
            unit = "response sd" if one.name.endswith(nm.INTERCEPT) else unit
            described[one.name].attrs = {"long_name": one.meaning} | ({"units": unit} if unit else {})
    return described


def one_step_ahead_terms(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.DataArray:
    """Log density of each row given the previous rows (chain, draw, time), with regimes and point lags marginalised.

    In nats of the responses in their own units; zero on a row without a response.
    """
    if not spec.point_signals:
        return in_natural_units(panel, _one_step_terms(AtDraws(spec, panel, parameters)))
    read = read_point_lags(spec, panel, parameters, np.random.default_rng(0))
    return in_natural_units(panel, read[LOG_DENSITY])


def _one_step_terms(at: AtDraws) -> xr.DataArray:
    """The same for standardised responses, without point lags."""
    return at.labelled(_one_step, **{nm.TIME: at.panel[nm.TIME].to_numpy()})


def _one_step(chunk: Chunk) -> np.ndarray:
    return log_density_draws(*chunk.hmm)


def replicated(at: AtDraws, rng: np.random.Generator) -> xr.DataArray:
    """Replicated responses (chain, draw, time, response) over the window, with a new regime path."""
    return at.labelled(partial(_replicate, at, rng), **_replication_coords(at))


def _replicated_and_one_step(at: AtDraws, rng: np.random.Generator) -> tuple[xr.DataArray, xr.DataArray]:
    """Replicated responses and one-step-ahead terms, without evaluating the model twice."""
    coords = _replication_coords(at)
    y, terms = at.each_measured(partial(_replicate, at, rng), _one_step)
    log_density = unstack_draws(terms, at.parameters, **{nm.TIME: coords[nm.TIME]})
    return unstack_draws(y, at.parameters, **coords), log_density


def _replication_coords(at: AtDraws) -> dict[str, np.ndarray]:
    return {dim: at.panel[dim].to_numpy() for dim in (nm.TIME, nm.RESPONSE)}


def _replicate(at: AtDraws, rng: np.random.Generator, chunk: Chunk) -> np.ndarray:
    """Replicated responses (draw, time, response) of a chunk."""
    eq, spec = chunk.quantities, at.spec
    y = draw_responses(eq, draw_regimes(eq.logits, eq.log_initial, len(chunk.y), rng), rng)
    if not spec.autoregression:
        return y
    # Own lags are those of the replication, not of the data.
    past = np.nan_to_num(own_past(at.panel))
    y = y - np.einsum("nap,tap->nta", chunk.draws[nm.AUTOREGRESSION], past)
    return iterate_own_past(spec, chunk.draws, y, history_before(at.panel, 0))


def provenance(spec: ModelSpec, panel: xr.Dataset) -> dict[str, Any]:
    """Provenance of a fit as text and numbers, since files cannot store dicts."""
    return {
        "spec": spec_to_toml(spec),
        "panel_attrs": json.dumps(dict(panel.attrs)),
        nm.PANEL_HASH: panel_hash(panel),
        "versions": json.dumps(installed()),
        FORMAT_KEY: FORMAT,
        "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def made_with(spec: ModelSpec, panel_sha256: str) -> str:
    """SHA-256 of a model, without name and claim, and of its panel."""
    return hashlib.sha256(f"{spec_to_toml(_unnamed(spec))}{panel_sha256}".encode()).hexdigest()


def _unnamed(spec: ModelSpec) -> ModelSpec:
    return dataclasses.replace(spec, name="model", claim="")


def installed() -> dict[str, str]:
    """Versions of packages and Python, and the platform, on which draws depend."""
    own = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    return {name: metadata.version(name) for name in PACKAGES} | own


def _check_made_with(idata: xr.DataTree, spec: ModelSpec, panel: xr.Dataset) -> None:
    """Refuse draws that record another spec, or that are in another panel's standardised units."""
    asked, rule = "as_fit", "draws go with the spec and the panel that they were made with"
    if "spec" in idata.attrs and _unnamed(spec_of(idata)) != _unnamed(spec):
        then, now = (dataclasses.asdict(_unnamed(one)) for one in (spec_of(idata), spec))
        came = f"draws of another spec: {', '.join(name for name in now if now[name] != then[name])} differ"
        raise FitError(asked, rule, came, "pass regimelag.spec_of(idata), or fit anew: regimelag.fit(spec, panel)")
    if nm.PANEL_HASH in idata.attrs:
        same = idata.attrs[nm.PANEL_HASH] == panel_hash(panel)
    else:
        draws = idata["posterior"].attrs if "posterior" in idata.children else {}
        same = draws.get(nm.CONSTANTS_HASH) in (None, constants_hash(panel))
    if not same:
        came = "draws in the standard deviations of another panel"
        cure = "fit anew: regimelag.fit(spec, panel)"
        if nm.PANEL_HASH in idata.attrs and _holds_last_row(panel, panel_of(idata)):
            cure += (
                "; or, for the regimes on newer data at these draws, regimelag.regime_probabilities(idata, panel=panel)"
            )
        raise FitError(asked, rule, came, cure)


def _holds_last_row(panel: xr.Dataset, old: xr.Dataset) -> bool:
    return bool((panel[nm.TIME].to_numpy() == old[nm.TIME].to_numpy()[-1]).any())


def _check_data(spec: ModelSpec, panel: xr.Dataset, idata: xr.DataTree, model: pm.Model | None) -> None:
    """Refuse samples, or a model, with other data than the panel's; samples may have none."""
    if model is not None and not isinstance(model, pm.Model):
        cure = "pass what build_model returned, or leave model out"
        raise FitError("as_fit", "model is a pymc.Model", f"a {type(model).__name__}", cure)
    held = {} if model is None else {str(data.name): data.get_value() for data in model.data_vars}
    if nm.PANEL_HASH not in idata.attrs and "constant_data" in idata.children:
        held |= {str(name): values.to_numpy() for name, values in idata["constant_data"].to_dataset().items()}
    # A fit stores the panel's arrays, samples those of the model, with axes in another order.
    wanted = {name: (values, panel.get(name)) for name, values in model_data(spec, panel).items()}
    other = [name for name, ways in wanted.items() if name in held and not any(_alike(held[name], way) for way in ways)]
    if other:
        raise FitError(
            "as_fit",
            "samples, and the model given, are of the panel's data",
            f"other values of {', '.join(other)}",
            "pass the spec and the panel that the model was built on, or sample build_model(spec, panel) anew",
        )


def _alike(one: np.ndarray, other: np.ndarray | xr.DataArray | None) -> bool:
    return other is not None and one.shape == other.shape and np.array_equal(one, other, equal_nan=True)


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
    for rv in model.free_RVs:
        came = _unlike_model(posterior[rv.name], model.named_vars_to_dims.get(rv.name) or (), model.coords)
        if came:
            cure = (
                "pass the spec and the panel that the sampled model came from, or sample build_model(spec, panel) anew"
            )
            raise FitError("as_fit", "parameters have the dimensions and labels of the model's", came, cure)
    return posterior


def _unlike_model(values: xr.DataArray, dims: Sequence[str | None], coords: Mapping[str, Any]) -> str:
    """Difference of a parameter's dimensions from the model's in words; empty if there is none.

    Labels are compared only if the draws have a coordinate of that name.
    """
    own = [dim for dim in values.dims if dim not in (nm.CHAIN, nm.DRAW)]
    if not dims or not all(dims):
        return ""
    wanted = {str(dim): [str(label) for label in coords[str(dim)]] for dim in dims}
    sizes = [len(labels) for labels in wanted.values()]
    if [values.sizes[dim] for dim in own] != sizes:
        return f"{values.name} with {[values.sizes[dim] for dim in own]} entries, not {sizes}, over {list(wanted)}"
    for dim, labels in wanted.items():
        held = [str(label) for label in values[dim].to_numpy()] if dim in values.coords else labels
        if held != labels:
            return f"{values.name} with {dim} {held}, not {labels}"
    return ""
