"""Leave-one-out and one-step-ahead log densities of a fit, each as a tree for ArviZ."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.evaluation.comparison.leave_one_out import leave_one_out_terms, left_out_draws
from regimelag.evaluation.comparison.psis_loo import free_parameters
from regimelag.panel.own_past import used_responses
from regimelag.results.view import View
from regimelag.runtime.plain import drawn_seed
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

SAME_ROW = "Densities of a row are given that row's own signals and controls: they are no forecasts."
FUTURE = "Those of leave-one-out are given all other rows, later ones too."
NO_SAME_ROW = "The models have no same-row signals or controls."


def leave_one_out(idata: xr.DataTree, *, random_seed: int | None = 0) -> xr.DataTree:
    """Leave-one-out log densities of a fit, ``log p(y_t | y_-t, theta)`` for each draw, as a tree for ArviZ.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    random_seed : int, optional
        Seed of the predictive draws.

    Returns
    -------
    xarray.DataTree
        Groups posterior, with the free variables, and log_likelihood with ``response_value`` (chain, draw, time): the
        joint log density of the row's responses given all other rows, in nats of the responses in their own units, with
        regimes and point lags marginalised. Rows without a response are omitted. It is an input of `arviz.loo`,
        `arviz.compare` and `arviz.plot_khat`; ``idata["leave_one_out"] = leave_one_out(idata)`` stores it in the fit.
        With one response and no point lags also posterior_predictive, draws of each row given all others, and
        observed_data, both standardised and without the dimension response, for `arviz.loo_pit` and
        `arviz.plot_loo_pit`.

    Raises
    ------
    FitError
        If densities depend on past responses, through autoregression, a covariate or the volatility: later rows then
        depend on the row left out, and the terms would be wrong. `compare` uses leave-future-out for such models.

    See Also
    --------
    one_step_ahead : Densities that sum to the log likelihood.
    compare : Comparison of fits by these terms.

    Notes
    -----
    The terms are exact for each draw: densities of the regimes are weighted by the normalised product of predicted
    probabilities and backward messages. The importance sampling of `arviz.loo` corrects only for the use of the row in
    the posterior of the parameters. The density is conditional on the row's own signals and controls. There is no
    log_prior for `arviz.psense_summary`, since the terms do not sum to the log likelihood.
    """
    view, seed = View.of(idata), drawn_seed(FitError, "leave_one_out", random_seed)
    tree = leave_one_out_tree(view)
    if len(view.spec.responses) == 1 and not view.spec.point_signals:
        rows, rng = {nm.TIME: seen_rows(view.panel)}, np.random.default_rng(seed)
        drawn = left_out_draws(view.at_draws, rng).isel(rows)
        tree["posterior_predictive"] = xr.DataTree(drawn.to_dataset(name=nm.RESPONSE_VALUE))
        observed = view.panel[[nm.RESPONSE_VALUE]].isel(rows).isel({nm.RESPONSE: 0}, drop=True)
        tree["observed_data"] = xr.DataTree(observed)
    return tree


def leave_one_out_tree(view: View) -> xr.DataTree:
    """The tree of `leave_one_out` without predictive draws."""
    return _for_arviz(view, view.read(leave_one_out_terms))


def one_step_ahead(idata: xr.DataTree) -> xr.DataTree:
    """One-step-ahead log densities of a fit, ``log p(y_t | y_<t, theta)`` for each draw, as a tree for ArviZ.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataTree
        Groups posterior, with the free variables; log_likelihood with ``response_value`` (chain, draw, time): the joint
        log density of the row's responses given the previous rows, in nats of the responses in their own units; and
        log_prior; of long series at the draws of the fit's group one_step_ahead. Rows without a response are omitted.
        The terms sum to the log likelihood, so the tree is an input of `arviz.psense_summary`, and of `arviz.lfo_cv`
        with refits by `regimelag.evaluation.LeaveFutureOut`.

    See Also
    --------
    leave_one_out : Densities for `arviz.loo` and `arviz.compare`.

    Notes
    -----
    The parameters are estimated from all rows, so a posterior average of these terms is in-sample. `arviz.loo` of them
    is not a leave-one-out score, since they are not densities of a row given all others.
    """
    view = View.of(idata)
    tree = _for_arviz(view, view.one_step.isel({nm.TIME: seen_rows(view.panel)}))
    if "log_prior" in idata.children:
        log_prior = idata["log_prior"].to_dataset()
        tree["log_prior"] = xr.DataTree(log_prior.sel({nm.DRAW: tree["posterior"][nm.DRAW]}))
    return tree


def _for_arviz(view: View, terms: xr.DataArray) -> xr.DataTree:
    # Of long series densities have fewer draws than the posterior.
    posterior = free_parameters(view).sel({nm.DRAW: terms[nm.DRAW]})
    return xr.DataTree.from_dict(
        {"/posterior": posterior, f"/{nm.LOG_LIKELIHOOD}": terms.to_dataset(name=nm.RESPONSE_VALUE)}
    )


def seen_rows(panel: xr.Dataset) -> np.ndarray:
    """Positions of rows with a response that has a density."""
    return np.flatnonzero(np.isfinite(used_responses(panel)).any(axis=1))


def condition(*specs: ModelSpec) -> str:
    """Condition of leave-one-out densities of these models, in words."""
    return f"{same_row_condition(*specs)} {FUTURE}"


def same_row_condition(*specs: ModelSpec) -> str:
    """Same-row covariates that densities of these models are conditional on, in words."""
    return SAME_ROW if any(spec.contemporaneous_signals or spec.controls for spec in specs) else NO_SAME_ROW
