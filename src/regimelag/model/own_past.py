"""Own lags of the responses in draws: added recursively, or left out."""

from __future__ import annotations

import numpy as np

from regimelag.model.evaluate import Draws
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec


def iterate_own_past(
    spec: ModelSpec, draws: Draws, y: np.ndarray, history: np.ndarray, *, known: np.ndarray | None = None
) -> np.ndarray:
    """Add the own lags to responses (draw, time, response), recursively.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    draws : dict of str to ndarray
        Parameters (draw, ...).
    y : ndarray
        Standardised responses (draw, time, response) without own lags in their location.
    history : ndarray
        Responses before the first row (own lag, response) or (draw, own lag, response), the most recent first; a
        missing one is replaced by the mean.
    known : ndarray, optional
        Responses (time, response) to keep as they are, NaN elsewhere.

    Returns
    -------
    ndarray
        Standardised responses (draw, time, response).
    """
    if not spec.autoregression:
        return y
    coefficient = draws[nm.AUTOREGRESSION]
    past = np.broadcast_to(np.nan_to_num(history), (len(y), spec.autoregression, y.shape[-1])).copy()
    found = np.empty_like(y)
    for t in range(y.shape[1]):
        found[:, t] = y[:, t] + np.einsum("nap,npa->na", coefficient, past)
        if known is not None:
            found[:, t] = np.where(np.isnan(known[t]), found[:, t], known[t])
        past = np.concatenate([found[:, t, None], past[:, :-1]], axis=1)
    return found


def without_own_past(spec: ModelSpec, draws: Draws) -> Draws:
    """Draws with zero coefficients of the own lags."""
    if not spec.autoregression:
        return draws
    return draws | {nm.AUTOREGRESSION: np.zeros_like(draws[nm.AUTOREGRESSION])}
