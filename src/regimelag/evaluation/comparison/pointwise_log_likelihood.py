"""The two log densities of a fit, each in a tree of its own for ArviZ: leave-one-out and one step ahead."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.evaluation.comparison.leave_one_out import leave_one_out_terms
from regimelag.evaluation.comparison.psis_loo import free_parameters
from regimelag.panel.own_past import used_responses
from regimelag.results.view import View
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

SAME_ROW = "Densities of a row are given that row's own signals and controls: they are no forecasts."
FUTURE = "Those of leave-one-out are given all other rows, later ones too."
NO_SAME_ROW = "The models have no same-row signals or controls."


def leave_one_out(idata: xr.DataTree) -> xr.DataTree:
    """Leave-one-out log densities of a fit, ``log p(y_t | y_-t, theta)`` for each draw, in a tree for ArviZ.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataTree
        Groups posterior, the free variables, and log_likelihood with ``response_value`` (chain, draw, time): the joint
        log density of the row's responses given all other rows, in nats of the responses in their own units; regimes
        and point lags are marginalised. Rows without a response are left out. `arviz.loo`, `arviz.compare` and
        `arviz.plot_khat` take it; ``idata["leave_one_out"] = leave_one_out(idata)`` keeps it with the fit.

    Raises
    ------
    FitError
        If densities depend on past responses, through autoregression, a covariate or the volatility: a row then enters
        the densities of the rows after it, and these terms would be wrong. `compare` then leaves the future out for all
        models.

    See Also
    --------
    one_step_ahead : The densities that sum to the log-likelihood.
    compare : Fits compared by these terms.

    Notes
    -----
    For each draw the terms are exact: predicted times backward message, normalised, weighs the regimes' densities. So
    what `arviz.loo` has left to undo by importance sampling is that the parameters have seen the row. A row's density
    is given the row's own signals and controls. There is no group posterior_predictive, as `arviz.loo_pit` would ask
    for: that of a fit has regime paths drawn afresh, and is not the distribution of a row given the others. Nor is
    there log_prior: these terms do not sum to the log-likelihood, which `arviz.psense_summary` needs.
    """
    view = View.of(idata)
    return _for_arviz(view, view.read(leave_one_out_terms))


def one_step_ahead(idata: xr.DataTree) -> xr.DataTree:
    """One-step-ahead log densities of a fit, ``log p(y_t | y_<t, theta)`` for each draw, in a tree for ArviZ.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataTree
        Groups posterior, the free variables; log_likelihood with ``response_value`` (chain, draw, time): the joint log
        density of the row's responses given the rows before it, in nats of the responses in their own units; and
        log_prior. Rows without a response are left out. The terms sum to the log-likelihood, so `arviz.psense_summary`
        takes this tree, and `arviz.lfo_cv` with the refits of `regimelag.evaluation.LeaveFutureOut`.

    See Also
    --------
    leave_one_out : The densities for `arviz.loo` and `arviz.compare`.

    Notes
    -----
    The parameters have seen all rows, so an average of these terms over the posterior is in-sample. `arviz.loo` of
    them is no leave-one-out score: they are not densities of a row given all others.
    """
    view = View.of(idata)
    tree = _for_arviz(view, view.one_step.isel({nm.TIME: seen_rows(view.panel)}))
    if "log_prior" in idata.children:
        tree["log_prior"] = idata["log_prior"].copy()
    return tree


def _for_arviz(view: View, terms: xr.DataArray) -> xr.DataTree:
    groups = {"/posterior": free_parameters(view), f"/{nm.LOG_LIKELIHOOD}": terms.to_dataset(name=nm.RESPONSE_VALUE)}
    return xr.DataTree.from_dict(groups)


def seen_rows(panel: xr.Dataset) -> np.ndarray:
    """Places of the rows with a response that has a density."""
    return np.flatnonzero(np.isfinite(used_responses(panel)).any(axis=1))


def condition(*specs: ModelSpec) -> str:
    """What leave-one-out densities under these models are conditional on, in words."""
    return f"{same_row_condition(*specs)} {FUTURE}"


def same_row_condition(*specs: ModelSpec) -> str:
    """What densities under these models are given of their own row, in words."""
    return SAME_ROW if any(spec.contemporaneous_signals or spec.controls for spec in specs) else NO_SAME_ROW
