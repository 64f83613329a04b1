"""Where each row fell in the law that the model gave it from the rows before: the residual that has one law."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.equations import equations, in_chunks, log_observation, stack_draws
from regimelag.judging.frozen import predictive_pit
from regimelag.likelihood.recursions import filter_forward_draws
from regimelag.sampling.tree import panel_of, parameters_of, spec_of


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
    draws = stack_draws(parameters_of(idata))
    total, count = np.zeros(y.shape), 0
    for part, some in in_chunks(draws, len(y) * len(spec.joint_regimes)):
        eq = equations(spec, panel, some)
        predicted = filter_forward_draws(log_observation(eq, y), eq.logits, eq.log_initial)[0]
        size = part.stop - part.start
        total += size * predictive_pit(eq, predicted, y)
        count += size
    return panel[nm.RESPONSE_VALUE].copy(data=total / count).rename("one_step_pit")
