"""Leave-one-out terms of a fit: the density of each row given all other rows, exact for each draw."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.likelihood.hmm_draws import leave_one_out_draws
from regimelag.likelihood.lag_draws import leave_one_out_lags_draws
from regimelag.model.at_draws import AtDraws
from regimelag.model.evaluate import in_chunks, log_observation_by_lag, unstack_draws
from regimelag.panel.checks import lagged_response_covariates
from regimelag.panel.slicing import in_natural_units
from regimelag.results.view import View
from regimelag.spec import names as nm
from regimelag.spec.kernels import combinations
from regimelag.spec.model_spec import ModelSpec

LEAVE_ONE_OUT = {
    "long_name": "log density of the row's responses given all other rows and the draw's parameters",
    "units": "nats, of the responses in their own units",
}


def leave_one_out_terms(idata: xr.DataTree) -> xr.DataArray:
    """Log density of each row given all other rows, log p(y_t | y_-t, theta), per draw (chain, draw, time).

    In nats of the responses in their own units. Rows without a response are left out. These terms are what PSIS wants:
    the parameters' posterior without row t is proportional to their posterior over this density.

    Raises
    ------
    FitError
        If the model has autoregression, or the response's past is among the covariates: then a row enters its
        neighbours' densities, and the terms are wrong.
    """
    return _terms(View.of(idata).at_draws)


def pointwise(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.DataArray:
    """The same for draws (chain, draw, ...) of the parameters that are no fit yet; point lags are marginalised."""
    return _terms(AtDraws(spec, panel, parameters))


def _terms(at: AtDraws) -> xr.DataArray:
    spec, panel = at.spec, at.panel
    _refuse_own_past(spec, panel)
    rows = {nm.TIME: panel[nm.TIME].to_numpy()}
    if spec.point_signals:
        terms = unstack_draws(_without_lags(at), at.parameters, **rows)
    else:
        terms = at.labelled(lambda chunk: leave_one_out_draws(*chunk.hmm), **rows)
    seen = panel[nm.RESPONSE_VALUE].notnull().any(nm.RESPONSE).to_numpy()
    return in_natural_units(panel, terms.isel({nm.TIME: seen})).assign_attrs(LEAVE_ONE_OUT)


def _without_lags(at: AtDraws) -> np.ndarray:
    """Terms (draw, time) with point lags marginalised."""
    spec, size, found = at.spec, at.panel.sizes[nm.TIME] * at.spec.joint_regimes.size, []
    _, log_mass = combinations(spec.point_kernels, spec.regimes.count, spec.max_lag)
    for _, some in in_chunks(at.draws, size * spec.lag_combinations):
        eq, log_obs = log_observation_by_lag(spec, at.panel, some)
        found.append(leave_one_out_lags_draws(log_obs, eq.logits, eq.log_initial, log_mass))
    return np.concatenate(found)


def _refuse_own_past(spec: ModelSpec, panel: xr.Dataset) -> None:
    if spec.autoregression:
        raise FitError(
            "leave-one-out terms",
            "the density of a row does not depend on the responses of the rows before it, or leaving it out would "
            "change the densities of the rows after it",
            f"autoregression = {spec.autoregression} in {spec.name!r}",
            "leave the future out: arviz.lfo_cv(regimelag.one_step_ahead(idata), "
            "regimelag.evaluation.LeaveFutureOut(idata), min_observations=100, forecast_horizon=1)",
        )
    own = lagged_response_covariates(spec, panel)
    if own:
        raise FitError(
            "leave-one-out terms",
            "no response is among the covariates, since a row would enter the densities of the rows after it",
            f"{', '.join(own)} is made of a response",
            "fit a model without it, or use the terms of regimelag.one_step_ahead(idata), whose parameters have seen "
            "every row",
        )
