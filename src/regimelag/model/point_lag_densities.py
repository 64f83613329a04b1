"""Log densities of the responses under each combination of point lags."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.model.evaluate import (
    BLOCK,
    Draws,
    Quantities,
    count_draws,
    evaluate,
    lagged_effects,
    log_observation,
    moderation,
)
from regimelag.panel.moderators import moderator_values
from regimelag.panel.own_past import used_responses
from regimelag.spec import names as nm
from regimelag.spec.kernels import combinations
from regimelag.spec.model_spec import ModelSpec


def log_observation_by_lag(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> tuple[Quantities, np.ndarray]:
    """Quantities without point lags, and log densities (draw, combination, time, regime) with them.

    Regimes are joint regimes.
    """
    lags, _ = combinations(spec.point_kernels, len(spec.joint_regimes), spec.max_lag)
    count = count_draws(draws)
    # Lag zero has no weight, so these terms vanish.
    sizes = {nm.EPISODE: panel.sizes[nm.EPISODE], nm.REGIME: len(spec.joint_regimes)}
    nowhere = {
        nm.lag_parameter(signal.name, "point"): np.zeros((count, *(sizes[dim] for dim in spec.point_dims(signal))))
        for signal in spec.point_signals
    }
    at_draws = evaluate(spec, panel, draws | nowhere)
    y = used_responses(panel)
    signals, episode = panel[nm.SIGNAL_VALUE].to_numpy(), at_draws.episode
    effects = lagged_effects(spec, draws, panel.sizes[nm.EPISODE])
    added = moderation(spec, draws, moderator_values(spec, panel))
    places = [spec.lagged_signals.index(signal) for signal in spec.point_signals]
    # Past of each point signal (combination, response, regime, time), time last as in memory.
    rows = np.arange(len(y)) + spec.history
    past = [
        signals[rows - lags[:, s, None, :, None], spec.signals.index(signal)]
        for s, signal in enumerate(spec.point_signals)
    ]
    density = np.empty((count, len(lags), len(y), len(spec.joint_regimes)))
    # Neither location nor transitions are needed, and they would be copied for each combination.
    bare = at_draws._replace(location=at_draws.location[:, :, :0], logits=at_draws.logits[:, :0])
    # Blocks as in `log_observation`, larger since each takes several calls.
    block = count if at_draws.feedback is not None else max(1, 4 * BLOCK // density[0].size)
    for first in range(0, count, block):
        some = np.arange(first, min(first + block, count))
        location = np.moveaxis(at_draws.location[some], -1, -2)[:, None]
        for place, values in zip(places, past, strict=True):
            effect = np.moveaxis(effects[some, place][:, :, episode], -1, -2) + added[some, place, None, None]
            location = location + effect[:, None] * values
        each = bare.take(np.repeat(some, len(lags)))
        by_lag = np.moveaxis(location.reshape(-1, *location.shape[2:]), -1, -2)
        density[some] = log_observation(each._replace(location=by_lag), y).reshape(len(some), *density.shape[1:])
    return at_draws, density
