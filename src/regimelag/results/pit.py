"""One-step-ahead PIT residuals, uniform and independent under the true model."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.model.at_draws import Chunk
from regimelag.model.evaluate import Quantities, conditional_log_scales
from regimelag.results.view import View
from regimelag.spec import names as nm

# Draws of each chain over which a PIT is averaged.
ENOUGH = 250


def one_step_pit(idata: xr.DataTree) -> xr.DataArray:
    """Probability integral transform (PIT) of each response given the previous rows.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    xarray.DataArray
        (time, response), the predictive probability of a smaller value, averaged over draws (at most 250 of each chain,
        at even distances), with regimes weighted by their predicted probabilities and given the row's own signals and
        controls; NaN where the response is missing. Under the true model and known parameters they are uniform and
        independent, Diebold, Gunther & Tay (1998), doi:10.2307/2527342; here the parameters were estimated with the
        row.
    """
    view = View.of(idata)
    over = {nm.TIME: view.panel[nm.TIME].to_numpy(), nm.RESPONSE: view.panel[nm.RESPONSE].to_numpy()}

    def measure(chunk: Chunk) -> np.ndarray:
        return predictive_pit(chunk.quantities, chunk.predicted, chunk.y)

    return view.few(ENOUGH).at_draws.labelled(measure, **over).mean((nm.CHAIN, nm.DRAW))


def predictive_pit(eq: Quantities, distribution: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Predictive distribution function at y (draw, time, response), given regime probabilities (draw, time, regime).

    NaN where y is missing. Responses are treated separately: margins of a multivariate t are t.
    """
    z = (y.T[None, :, :, None] - eq.location) / np.exp(conditional_log_scales(eq, y))
    below = eq.family.cdf(z, eq.shape_over(3))
    return np.einsum("datk,dtk->dta", below, distribution)
