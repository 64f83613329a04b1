"""Conditional standard deviation of a response, and its GARCH parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.model.at_draws import Chunk
from regimelag.model.evaluate import conditional_log_scales, log_scales, variance_ahead
from regimelag.results.lags import INTERVAL
from regimelag.results.units import series_unit
from regimelag.results.view import View
from regimelag.spec import names as nm


def conditional_volatility(idata: xr.DataTree) -> xr.DataArray:
    """One-step-ahead standard deviation of each response, given the previous rows.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataArray
        (chain, draw, time, response), in the unit of the response, such as log return per week, which the coordinate
        ``unit`` (response) states. With GARCH(1,1) it is the conditional standard deviation; with regimes that of their
        mixture, weighted by predicted probabilities, so that both kinds of model are comparable. Like one-step-ahead
        densities it is given the row's own signals and controls.

    Notes
    -----
    Parameters are estimated from all rows. With E the expectation over regimes by predicted probability, the variance
    of the mixture is E[s^2 + m^2] - E[m]^2.
    """
    view = View.of(idata)
    over = {nm.TIME: view.panel[nm.TIME].to_numpy(), nm.RESPONSE: view.panel[nm.RESPONSE].to_numpy()}

    def measure(chunk: Chunk) -> np.ndarray:
        eq, predicted = chunk.quantities, chunk.predicted
        variance = np.exp(2.0 * conditional_log_scales(eq, chunk.y)) * eq.family.variance(eq.shape_over(3))
        apart = eq.location - np.einsum("datk,dtk->dat", eq.location, predicted)[..., None]
        return np.sqrt(np.einsum("datk,dtk->dta", variance + apart**2, predicted))

    found = view.at_draws.labelled(measure, **over) * view.panel[nm.scale_of(nm.RESPONSE)]
    units = [series_unit(one, view.spec.frequency) for one in view.spec.responses]
    found = found.assign_coords(unit=(nm.RESPONSE, units)).rename("standard_deviation")
    return found.assign_attrs(long_name="standard deviation one period ahead")


def last_variance(view: View) -> np.ndarray:
    """Variance (draw) of the row after the window, relative to the unconditional one; one without GARCH."""
    return view.at_draws.measured(lambda chunk: variance_ahead(chunk.quantities, chunk.y))


def volatility_summary(idata: xr.DataTree) -> pd.DataFrame:
    """Persistence and level of the conditional variance of a model with GARCH.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit of a model with dynamic volatility, such as GARCH(1,1).

    Returns
    -------
    pandas.DataFrame
        Indexed by quantity, with columns 5 %, median and 95 %: ``unconditional volatility``, the standard deviation of
        a period, averaged over episodes on the log scale, in the unit of the response; ``persistence``, alpha + beta;
        ``half-life`` of a shock to the variance, in periods, infinite for a persistence of one; ``alpha`` and ``beta``,
        the weights of the last squared residual and of the last variance.
    """
    view = View.of(idata)
    spec, panel, draws = view.spec, view.panel, view.at_draws.draws
    alpha, beta = spec.volatility.weights(draws)
    log_scale = log_scales(spec, draws, panel.sizes[nm.EPISODE])[:, 0].mean(axis=1)[:, 0]
    with np.errstate(divide="ignore"):
        half_life = np.log(0.5) / np.log(alpha + beta)
    found = {
        "unconditional volatility": np.exp(log_scale) * float(panel[nm.scale_of(nm.RESPONSE)][0]),
        "persistence": alpha + beta,
        "half-life": half_life,
        "alpha": alpha,
        "beta": beta,
    }
    levels = (INTERVAL[0], 0.5, INTERVAL[1])
    rows = {name: np.quantile(values, levels) for name, values in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["5 %", "median", "95 %"]).rename_axis("quantity")
