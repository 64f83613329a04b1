"""One-step-ahead PIT residuals; uniform and independent if the model is right."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.likelihood.hmm_draws import filter_forward_draws
from regimelag.model.at_draws import Chunk
from regimelag.model.evaluate import Quantities, conditional_log_scales
from regimelag.results.view import View
from regimelag.spec import names as nm


def one_step_pit(idata: xr.DataTree) -> xr.DataArray:
    """Probability integral transform of each row given the rows before it.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataArray
        (time, response), the predictive probability of a smaller value, averaged over draws, regimes by their
        predicted probabilities; missing where the response is. If the model holds they are uniform and independent, but
        for parameters that have seen the row: Diebold, Gunther & Tay (1998), doi:10.2307/2527342. Given the row's own
        signals and controls.
    """
    view = View.of(idata)
    over = {nm.TIME: view.panel[nm.TIME].to_numpy(), nm.RESPONSE: view.panel[nm.RESPONSE].to_numpy()}

    def measure(chunk: Chunk) -> np.ndarray:
        return predictive_pit(chunk.quantities, filter_forward_draws(*chunk.hmm)[0], chunk.y)

    return view.at_draws.labelled(measure, **over).mean((nm.CHAIN, nm.DRAW))


def predictive_pit(eq: Quantities, distribution: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Probability of a value below y (draw, time, response), given regime probabilities (draw, time, regime).

    NaN where y is missing. Each response by itself: a margin of a multivariate t is a t.
    """
    z = (y.T[None, :, :, None] - eq.location) / np.exp(conditional_log_scales(eq, y))
    below = eq.family.cdf(z, eq.shape_over(3))
    return np.einsum("datk,dtk->dta", below, distribution)
