"""The two log-likelihoods of a fit, each in a tree of its own that ArviZ takes: leave-one-out and one step ahead."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.judging.leave_one_out import leave_one_out_terms
from regimelag.judging.scores import free_parameters
from regimelag.sampling.point_lags import LOG_DENSITY, read_point_lags
from regimelag.sampling.tree import one_step_terms, panel_of
from regimelag.spec import ModelSpec

SAME_ROW = "Densities of a row are given that row's own signals and controls: they are no forecasts."
FUTURE = "Those of leave-one-out are given all other rows, later ones too."
NO_SAME_ROW = "The models have no same-row signals or controls."


def leave_one_out(idata: xr.DataTree) -> xr.DataTree:
    """Leave-one-out terms of a fit, ``log p(y_t | y_-t, theta)`` for each draw, in a tree that ArviZ takes.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataTree
        Groups posterior, the free variables, and log_likelihood with ``response_value`` (chain, draw, time): the joint
        log density of the row's responses in natural units, given all other rows, regimes and point lags summed out.
        Rows without a response are left out. `arviz.loo`, `arviz.compare` and `arviz.plot_khat` take it;
        ``idata["leave_one_out"] = leave_one_out(idata)`` keeps it with the fit, and apart from the group
        log_likelihood, which holds the one-step-ahead terms.

    Raises
    ------
    FitError
        If a response's past is among the covariates: a row then enters the densities of the rows after it, and these
        terms would be wrong.

    See Also
    --------
    one_step_ahead : The other log-likelihood.
    compare : Fits compared by these terms.

    Notes
    -----
    For each draw the terms are exact: predicted times backward message, normalised, weighs the regimes' densities. So
    what `arviz.loo` has left to undo by importance sampling is that the parameters have seen the row. A row's density
    is given the row's own signals and controls. There is no group posterior_predictive, as `arviz.loo_pit` would ask
    for: that of a fit has regime paths drawn afresh, and is not the law of a row given the others.
    """
    return _for_arviz(idata, leave_one_out_terms(idata))


def one_step_ahead(idata: xr.DataTree) -> xr.DataTree:
    """One-step-ahead terms of a fit, ``log p(y_t | y_<t, theta)`` for each draw, in a tree that `arviz.lfo_cv` takes.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataTree
        As `leave_one_out` returns, but each row's density is given the rows before it. The terms sum to the
        log-likelihood. They are those of the fit's group log_likelihood in natural units, on rows with a response.

    See Also
    --------
    LeaveFutureOut : The refits that `arviz.lfo_cv` needs.

    Notes
    -----
    The parameters have seen all rows, so an average of these terms over the posterior is in-sample, and `arviz.loo` of
    them does not estimate what it says.
    """
    panel = panel_of(idata)
    return _for_arviz(idata, idata["log_likelihood"].to_dataset()[nm.RESPONSE_VALUE].isel({nm.TIME: seen_rows(panel)}))


def _for_arviz(idata: xr.DataTree, terms: xr.DataArray) -> xr.DataTree:
    natural = in_natural_units(panel_of(idata), terms).to_dataset(name=nm.RESPONSE_VALUE)
    return xr.DataTree.from_dict({"/posterior": free_parameters(idata), "/log_likelihood": natural})


def seen_rows(panel: xr.Dataset) -> np.ndarray:
    """Places of the rows with a response."""
    return np.flatnonzero(panel[nm.RESPONSE_VALUE].notnull().any(nm.RESPONSE).to_numpy())


def in_natural_units(panel: xr.Dataset, terms: xr.DataArray) -> xr.DataArray:
    """Log densities (..., time) of standardised responses as those of the responses themselves.

    A density is divided by the scale of each response that the row has.
    """
    seen = panel[nm.RESPONSE_VALUE].notnull()
    log_scale = (seen * np.log(panel[nm.scale_of(nm.RESPONSE)])).sum(nm.RESPONSE)
    return (terms - log_scale.sel({nm.TIME: terms[nm.TIME]}).reset_coords(drop=True)).transpose(*terms.dims)


def terms_ahead(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.DataArray:
    """One-step-ahead terms (chain, draw, time), natural units, of draws on any panel; point lags are summed out."""
    if not spec.point_signals:
        return in_natural_units(panel, one_step_terms(spec, panel, parameters))
    read = read_point_lags(spec, panel, parameters, np.random.default_rng(0))
    return in_natural_units(panel, read[LOG_DENSITY])


def condition(*specs: ModelSpec) -> str:
    """What leave-one-out densities under these models are conditional on, in words."""
    same_row = any(spec.contemporaneous_signals or spec.controls for spec in specs)
    return f"{SAME_ROW if same_row else NO_SAME_ROW} {FUTURE}"
