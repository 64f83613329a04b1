"""Leave-one-out terms of a fit: the density of each row given all other rows, exact for each draw."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.data.checks import made_of_responses
from regimelag.data.cuts import in_natural_units
from regimelag.equations import (
    Draws,
    equations,
    in_chunks,
    log_observation,
    log_observation_by_lag,
    stack_draws,
    unstack_draws,
)
from regimelag.errors import FitError
from regimelag.kernels import combinations
from regimelag.likelihood.hmm_draws import leave_one_out_draws
from regimelag.likelihood.lag_draws import leave_one_out_lags_draws
from regimelag.sampling.tree import panel_of, parameters_of, spec_of
from regimelag.spec import ModelSpec

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
        If the response's past is among the covariates: then a row enters its neighbours' densities, and the terms are
        wrong.
    """
    return pointwise(spec_of(idata), panel_of(idata), parameters_of(idata))


def pointwise(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.DataArray:
    """The same for draws (chain, draw, ...) of the parameters that are no fit yet; point lags are summed out."""
    _refuse_own_past(spec, panel)
    draws, size = stack_draws(parameters), panel.sizes[nm.TIME] * spec.joint_regimes.size
    read = _given_lags if not spec.point_signals else _without_lags
    parts = [read(spec, panel, some) for _, some in in_chunks(draws, size * spec.lag_combinations)]
    terms = unstack_draws(np.concatenate(parts), parameters, **{nm.TIME: panel[nm.TIME].to_numpy()})
    seen = panel[nm.RESPONSE_VALUE].notnull().any(nm.RESPONSE).to_numpy()
    return in_natural_units(panel, terms.isel({nm.TIME: seen})).assign_attrs(LEAVE_ONE_OUT)


def _given_lags(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> np.ndarray:
    eq = equations(spec, panel, draws)
    return leave_one_out_draws(log_observation(eq, panel[nm.RESPONSE_VALUE].to_numpy()), eq.logits, eq.log_initial)


def _without_lags(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> np.ndarray:
    eq, log_obs = log_observation_by_lag(spec, panel, draws)
    _, log_mass = combinations(spec.point_kernels, spec.regimes.count, spec.max_lag)
    return leave_one_out_lags_draws(log_obs, eq.logits, eq.log_initial, log_mass)


def _refuse_own_past(spec: ModelSpec, panel: xr.Dataset) -> None:
    own = made_of_responses(spec, panel)
    if own:
        raise FitError(
            "leave-one-out terms",
            "no response is among the covariates, since a row would enter the densities of the rows after it",
            f"{', '.join(own)} is made of a response",
            "fit a model without it, or use the terms of regimelag.one_step_ahead(idata), whose parameters have seen "
            "every row",
        )
