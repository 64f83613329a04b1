"""One-step-ahead fitted values and residuals."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.model.at_draws import Chunk
from regimelag.panel.own_past import used_responses
from regimelag.panel.slicing import in_units
from regimelag.results.pit import one_step_pit
from regimelag.results.view import View
from regimelag.results.volatility import conditional_volatility
from regimelag.runtime.plain import one_of
from regimelag.spec import names as nm


def fitted(idata: xr.DataTree) -> xr.Dataset:
    """Fitted values: one-step-ahead mean and standard deviation of each response by draw.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.Dataset
        ``mean`` and ``standard_deviation`` (chain, draw, time, response), in the unit of the response (such as log
        return per week), given the previous rows and the row's own signals and controls. Regimes are weighted by their
        predicted probabilities, as in statsmodels with ``which="predicted"``; parameters are estimated from all rows.
        Rows without a response have a fitted value too.

    See Also
    --------
    residuals : What is left.
    regimelag.forecast : Draws of later rows.
    """
    view = View.of(idata)
    over = {nm.TIME: view.panel[nm.TIME].to_numpy(), nm.RESPONSE: view.panel[nm.RESPONSE].to_numpy()}

    def measure(chunk: Chunk) -> np.ndarray:
        return np.einsum("datk,dtk->dta", chunk.quantities.location, chunk.predicted)

    mean = in_units(view.panel, nm.RESPONSE, view.at_draws.labelled(measure, **over))
    spread = view.read(conditional_volatility)
    found = xr.Dataset({"mean": mean.reset_coords(drop=True), "standard_deviation": spread})
    found["mean"].attrs = {"long_name": "mean one period ahead"}
    found["standard_deviation"].attrs = dict(spread.attrs)
    return found


def residuals(idata: xr.DataTree, *, kind: Literal["standardized", "pit"] = "standardized") -> xr.DataArray:
    """One-step-ahead residuals of each response.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    kind : {"standardized", "pit"}
        *standardized*: the response minus its predictive mean, divided by its predictive standard deviation, both with
        the uncertainty of the parameters. *pit*: the predictive probability of a smaller value, averaged over draws; it
        is uniform under the true model, whatever the distribution of the residuals.

    Returns
    -------
    xarray.DataArray
        (time, response); NaN where the response or one of its own lags is missing.

    Raises
    ------
    FitError
        If the kind is unknown.

    Notes
    -----
    Under the true model and known parameters PIT residuals are independent: Diebold, Gunther & Tay (1998),
    doi:10.2307/2527342. Here the parameters are estimated with the row. Standardised residuals of a switching model are
    not Student-t: their distribution is a mixture.
    """
    one_of(FitError, "residuals", "kind", kind, ("standardized", "pit"))
    view = View.of(idata)
    if kind == "pit":
        return view.read(one_step_pit).rename("pit").assign_attrs(long_name="one-step-ahead PIT residual")
    each = view.read(fitted)
    sample = (nm.CHAIN, nm.DRAW)
    mean, variance = each["mean"].mean(sample), (each["standard_deviation"] ** 2).mean(sample)
    spread = np.sqrt(variance + each["mean"].var(sample))
    seen = xr.zeros_like(mean) + used_responses(view.panel)
    y = in_units(view.panel, nm.RESPONSE, seen).reset_coords(drop=True)
    return ((y - mean) / spread).rename("residual").assign_attrs(long_name="standardised one-step-ahead residual")
