"""Leave-one-out terms of a fit: the density of each row given all other rows, exact for each draw."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.equations import unstack_draws
from regimelag.errors import FitError
from regimelag.likelihood.recursions import leave_one_out_draws
from regimelag.reading.regimes import _chain_inputs, _over_draws
from regimelag.sampling.tree import panel_of, spec_of
from regimelag.spec import ModelSpec

# A covariate that is the response one row before, if for rounding.
SAME = 0.999


def leave_one_out_terms(idata: xr.DataTree) -> xr.DataArray:
    """Log density of each row given all other rows, log p(y_t | y_-t, theta), per draw (chain, draw, time).

    Rows without a response are left out. These terms are what PSIS wants: the parameters' posterior without row t is
    proportional to their posterior over this density.

    Raises
    ------
    FitError
        If the response's past is among the covariates: then a row enters its neighbours' densities, and the terms are
        wrong.
    """
    spec, panel = spec_of(idata), panel_of(idata)
    _refuse_own_past(spec, panel)
    _, _, parameters, values = _over_draws(
        idata, lambda spec, panel, draws, _: leave_one_out_draws(*_chain_inputs(spec, panel, draws))
    )
    terms = unstack_draws(values, parameters, **{nm.TIME: panel[nm.TIME].to_numpy()})
    return terms.isel({nm.TIME: panel[nm.RESPONSE_VALUE].notnull().any(nm.RESPONSE).to_numpy()})


def _refuse_own_past(spec: ModelSpec, panel: xr.Dataset) -> None:
    """Refuse a covariate made of a response, by its column or by its values."""
    columns = {response.column for response in spec.responses}
    own = {series.name for series in (*spec.signals, *spec.drivers, *spec.controls) if series.column in columns}
    past = panel[nm.RESPONSE_VALUE].to_numpy()[:-1]
    for control in panel[nm.CONTROL].to_numpy():
        value = panel[nm.CONTROL_VALUE].sel({nm.CONTROL: control}).to_numpy()[1:]
        for column in past.T:
            both = np.isfinite(column) & np.isfinite(value)
            if both.sum() > 2 and abs(np.corrcoef(column[both], value[both])[0, 1]) > SAME:  # noqa: PLR2004
                own.add(str(control))
    if own:
        raise FitError(
            "leave-one-out terms",
            "no response is among the covariates, since a row would enter the densities of the rows after it",
            f"{', '.join(sorted(own))} is made of a response",
            "drop it; or judge by the one-step-ahead terms of the group log_likelihood, and say so",
        )
