"""Draw regime paths and responses from the model at draws of its parameters."""

from __future__ import annotations

import numpy as np

from regimelag.likelihood.hmm_draws import forward_paths_draws
from regimelag.model.evaluate import Feedback, Quantities
from regimelag.spec.families import Elliptical


def draw_regimes(logits: np.ndarray, log_initial: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a regime path (draw, time) from the transition probabilities, unconditional on responses."""
    uniforms = rng.random((len(logits), rows))
    return forward_paths_draws(*map(np.ascontiguousarray, (logits, log_initial)), uniforms)


def draw_responses(
    at_draws: Quantities,
    path: np.ndarray,
    rng: np.random.Generator,
    *,
    missing: np.ndarray | None = None,
    given: np.ndarray | None = None,
) -> np.ndarray:
    """Draw standardised responses (draw, time, response) given regime paths.

    With GARCH, values drawn on the rows `missing` (time) do not affect later rows, and residuals `given` (draw, time),
    relative to the unconditional standard deviation, are kept where they are not NaN.
    """
    responses = at_draws.location.shape[1]
    location = _in_regimes(at_draws.location, path)
    scale = _in_regimes(np.exp(at_draws.log_scale)[:, :, at_draws.episode], path)
    family, shape = at_draws.family, at_draws.shape_over(1)
    if at_draws.feedback is not None:
        unit = family.draw(rng, path.shape, shape) / np.sqrt(family.variance(shape))
        return location + scale * _with_feedback(at_draws.feedback, unit, missing, given)[..., None]
    if responses == 1:
        drawn = family.draw(rng, path.shape, shape)[..., None]
        drawn *= scale
        drawn += location
        return drawn
    assert isinstance(family, Elliptical)
    residual = rng.standard_normal(location.shape) @ np.linalg.cholesky(at_draws.correlation).transpose(0, 2, 1)
    nu = family.degrees_of_freedom(shape)
    if np.all(np.isfinite(nu)):
        residual *= np.sqrt(nu / rng.chisquare(nu, size=path.shape))[..., None]
    return location + scale * residual


def _in_regimes(values: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Values (draw, time, response) in the regimes of a path, from those (draw, response, time, regime) of all."""
    # Faster than an array of indices, whose values are gathered one by one.
    found = values[..., 0].copy()
    for regime in range(1, values.shape[-1]):
        np.copyto(found, values[..., regime], where=(path == regime)[:, None])
    return np.moveaxis(found, 1, -1)


def _with_feedback(
    feedback: Feedback, unit: np.ndarray, missing: np.ndarray | None, given: np.ndarray | None
) -> np.ndarray:
    """Residuals (draw, time) relative to the unconditional standard deviation, from unit-variance residuals."""
    residual, variance = np.empty(unit.shape), feedback.first
    for t in range(unit.shape[1]):
        residual[:, t] = np.sqrt(variance) * unit[:, t]
        if given is not None:
            residual[:, t] = np.where(np.isnan(given[:, t]), residual[:, t], given[:, t])
        unseen = missing is not None and missing[t]
        variance = feedback.next(variance if unseen else residual[:, t] ** 2, variance)
    return residual
