"""Leave-one-out densities of a fit, exact for each draw."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.likelihood.hmm_draws import leave_one_out_draws, smooth_draws
from regimelag.likelihood.lag_draws import leave_one_out_lags_draws
from regimelag.model.at_draws import AtDraws, Chunk
from regimelag.model.draw import draw_responses
from regimelag.model.evaluate import in_chunks, unstack_draws
from regimelag.model.point_lag_densities import log_observation_by_lag
from regimelag.panel.checks import lagged_response_covariates
from regimelag.panel.slicing import in_natural_units
from regimelag.results.view import View
from regimelag.spec import names as nm
from regimelag.spec.kernels import combinations, softmax
from regimelag.spec.model_spec import ModelSpec

LEAVE_ONE_OUT = {
    "long_name": "log density of the row's responses given all other rows and the draw's parameters",
    "units": "nats, of the responses in their own units",
}


def leave_one_out_terms(idata: xr.DataTree) -> xr.DataArray:
    """Log density of each row given all other rows, log p(y_t | y_-t, theta), by draw (chain, draw, time).

    In nats of the responses in their own units, for rows with a response. These are the terms for PSIS: the posterior
    without row t is proportional to the posterior divided by this density.

    Raises
    ------
    FitError
        If densities depend on past responses, through autoregression, a covariate or the volatility: later rows then
        depend on the row left out, and the terms would be wrong.
    """
    return _terms(View.of(idata).at_draws)


def pointwise(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> xr.DataArray:
    """Leave-one-out terms for draws (chain, draw, ...) of the parameters, with point lags marginalised."""
    return _terms(AtDraws(spec, panel, parameters))


def _terms(at: AtDraws) -> xr.DataArray:
    spec, panel = at.spec, at.panel
    _refuse_past(spec, panel)
    rows = {nm.TIME: panel[nm.TIME].to_numpy()}
    if spec.point_signals:
        terms = unstack_draws(_without_lags(at), at.parameters, **rows)
    else:
        terms = at.labelled(lambda chunk: leave_one_out_draws(*chunk.hmm), **rows)
    seen = panel[nm.RESPONSE_VALUE].notnull().any(nm.RESPONSE).to_numpy()
    return in_natural_units(panel, terms.isel({nm.TIME: seen})).assign_attrs(LEAVE_ONE_OUT)


def left_out_draws(at: AtDraws, rng: np.random.Generator) -> xr.DataArray:
    """Draw each row's response given all other rows (chain, draw, time), standardised.

    For one response and no point lags. The regime given the other rows has the smoothed probability divided by the
    density of the row in it.
    """
    _refuse_past(at.spec, at.panel)

    def drawn(chunk: Chunk) -> np.ndarray:
        with np.errstate(divide="ignore"):
            others = np.log(smooth_draws(*chunk.hmm)) - chunk.hmm[0]
        passed = np.cumsum(softmax(others, np), axis=-1)[..., :-1]
        path = (rng.random((*passed.shape[:2], 1)) > passed).sum(axis=-1)
        return draw_responses(chunk.quantities, path, rng)[..., 0]

    return at.labelled(drawn, **{nm.TIME: at.panel[nm.TIME].to_numpy()})


def _without_lags(at: AtDraws) -> np.ndarray:
    """Terms (draw, time) with point lags marginalised."""
    spec, size, found = at.spec, at.panel.sizes[nm.TIME] * at.spec.joint_regimes.size, []
    _, log_mass = combinations(spec.point_kernels, len(spec.joint_regimes), spec.max_lag)
    for _, some in in_chunks(at.draws, size * spec.lag_combinations):
        eq, log_obs = log_observation_by_lag(spec, at.panel, some)
        found.append(leave_one_out_lags_draws(log_obs, eq.logits, eq.log_initial, log_mass))
    return np.concatenate(found)


def past_dependence(spec: ModelSpec, panel: xr.Dataset) -> str:
    """Why the densities of later rows depend on a row, in words; empty if they do not.

    If they do, leave-one-out densities are not defined.
    """
    own = lagged_response_covariates(spec, panel)
    if own:
        return f"{', '.join(own)} is made of a response"
    if spec.autoregression:
        return f"responses have their own past in their location (autoregression = {spec.autoregression})"
    return f"the variance follows past responses ({spec.volatility.kind})" if spec.volatility.moves else ""


def _refuse_past(spec: ModelSpec, panel: xr.Dataset) -> None:
    came = past_dependence(spec, panel)
    if came:
        raise FitError(
            "leave-one-out terms",
            "no density depends on past responses, since a row would enter the densities of later rows",
            came,
            "compare fits by regimelag.compare, which then leaves the future out for all of them, or use the terms of "
            "regimelag.one_step_ahead(idata), whose parameters have seen every row",
        )
