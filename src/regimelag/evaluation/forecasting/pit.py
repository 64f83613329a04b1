"""Where each row fell in the law that the model gave it from the rows before: the residual that has one law."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.evaluation.forecasting.out_of_sample import predictive_pit
from regimelag.likelihood.hmm_draws import filter_forward_draws
from regimelag.model.evaluate import Quantities, log_observation
from regimelag.sampling.inference_data import evaluated, panel_of, parameters_of, spec_of
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
        (time, response), the predictive probability of a smaller value, averaged over draws, regimes by the predicted
        law; missing where the response is. If the model holds they are uniform and independent, but for parameters that
        have seen the row: Diebold, Gunther & Tay (1998), doi:10.2307/2527342. Given the row's own signals and controls.
    """
    spec, panel = spec_of(idata), panel_of(idata)
    y = panel[nm.RESPONSE_VALUE].to_numpy()

    def measure(eq: Quantities) -> np.ndarray:
        predicted = filter_forward_draws(log_observation(eq, y), eq.logits, eq.log_initial)[0]
        return predictive_pit(eq, predicted, y)

    over = {nm.TIME: panel[nm.TIME].to_numpy(), nm.RESPONSE: panel[nm.RESPONSE].to_numpy()}
    return evaluated(spec, panel, parameters_of(idata), measure, **over).mean((nm.CHAIN, nm.DRAW))
