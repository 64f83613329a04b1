"""Leave-one-out scores and stacking weights by ArviZ, and Pareto k in words."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

from regimelag.evaluation.comparison.elpd_difference import unreliable
from regimelag.results.view import View
from regimelag.sampling.modes_dataset import free_variables
from regimelag.spec import names as nm


def free_parameters(idata: xr.DataTree | View) -> xr.Dataset:
    """Draws of the free variables, or of all variables if there is no catalogue of modes."""
    view = View.of(idata)
    if "modes" not in view.fit.children:
        return view.parameters()
    return view.parameters()[free_variables(view.fit["modes"].to_dataset())]


def loo_score(posterior: xr.Dataset, terms: xr.DataArray) -> Any:
    """ArviZ's pointwise leave-one-out score of terms (chain, draw, ...) of these draws.

    The terms are densities of a row given all other rows and the parameters. Pareto-smoothed importance sampling
    corrects for the use of the row in the posterior: Vehtari, Gelman & Gabry (2017), doi:10.1007/s11222-016-9696-4.
    """
    tree = xr.DataTree.from_dict({"/posterior": posterior, "/log_likelihood": terms.to_dataset(name=nm.RESPONSE_VALUE)})
    with warnings.catch_warnings():
        # The warning of high Pareto k is part of the result.
        warnings.simplefilter("ignore", UserWarning)
        return az.loo(tree, pointwise=True)


def stacking_weights(scores: list[Any]) -> np.ndarray:
    """Weights (score) with sum one of the mixture with the highest leave-one-out density, by ArviZ."""
    if len(scores) == 1:
        return np.ones(1)
    # A constant for each row does not affect the weights, and avoids underflow of all densities.
    best = np.max([score.elpd_i for score in scores], axis=0)
    shifted = {str(n): copy.copy(score) for n, score in enumerate(scores)}
    for score in shifted.values():
        score.elpd_i = score.elpd_i - best
    table = az.compare(shifted, method="stacking", round_to="none").loc[list(shifted)]
    weights = table["weight"].to_numpy(dtype=float).clip(0.0)
    return weights / weights.sum()


def reliability(score: Any) -> str:
    """Reliability of the leave-one-out densities in words."""
    k, high = score.pareto_k.to_numpy().ravel(), int(unreliable(score).sum())
    if not high:
        return f"all {k.size} Pareto k below {score.good_k:.2f}: leave-one-out densities are reliable"
    return (
        f"{high} of {k.size} Pareto k above {score.good_k:.2f}, the largest {k.max():.2f}: leave-one-out densities of "
        "those rows are unreliable, and weights near a tie are undecided"
    )
