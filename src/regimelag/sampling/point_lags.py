"""Point lags after sampling: probabilities, a draw of each, and marginalised densities.

A sampler does not move a point lag, so what the fit says of it is worked out from the other parameters: for each draw
the probability of every lag given the data (the posterior is their average, which has less Monte Carlo error than any
count of drawn lags: Rao-Blackwell), and one joint draw of the lags, on which all readings go on.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.likelihood.lag_draws import filter_lags_draws, sample_lags
from regimelag.model.evaluate import in_chunks, stack_draws, unstack_draws
from regimelag.model.point_lag_densities import log_observation_by_lag
from regimelag.spec import names as nm
from regimelag.spec.kernels import combinations
from regimelag.spec.model_spec import ModelSpec

LOG_DENSITY = "log_density"


def with_point_lags(
    spec: ModelSpec, panel: xr.Dataset, sampled: xr.Dataset, rng: np.random.Generator
) -> tuple[xr.Dataset, xr.DataArray | None]:
    """The sampled parameters with the point lags beside them, and `log_density`; without any, what came, and None."""
    if not spec.point_signals:
        return sampled, None
    read = read_point_lags(spec, panel, sampled, rng)
    # Lags that came with the draws are drawn anew, so that they go with this panel.
    sampled = sampled.drop_vars(list(read.data_vars), errors="ignore")
    return sampled.merge(read.drop_vars([LOG_DENSITY, nm.TIME])), read[LOG_DENSITY]


def read_point_lags(spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """Probabilities and draws of the point lags for each draw (chain, draw, ...) of the other parameters.

    Returns
    -------
    xarray.Dataset
        For each point signal ``<signal>_lag_point`` (chain, draw, ...), a draw of its lag, and
        ``<signal>_lag_probability`` (chain, draw, ..., lag), with the dimension regime where it differs by it; and
        ``log_density`` (chain, draw, time), one step ahead, with regimes and lags marginalised.
    """
    lags, log_mass = combinations(spec.point_kernels, len(spec.joint_regimes), spec.max_lag)
    size = panel.sizes[nm.TIME] * spec.joint_regimes.size * len(lags)
    probability, chosen, density = [], [], []
    for part, some in in_chunks(stack_draws(parameters), size):
        eq, log_obs = log_observation_by_lag(spec, panel, some)
        log_density, masses = filter_lags_draws(log_obs, eq.logits, eq.log_initial, log_mass)
        probability.append(masses)
        chosen.append(sample_lags(masses, rng.random(part.stop - part.start)))
        density.append(log_density)
    read = _by_signal(spec, parameters, lags, np.concatenate(probability), np.concatenate(chosen))
    read[LOG_DENSITY] = unstack_draws(np.concatenate(density), parameters, **{nm.TIME: panel[nm.TIME].to_numpy()})
    return read


def _by_signal(
    spec: ModelSpec, parameters: xr.Dataset, lags: np.ndarray, probability: np.ndarray, chosen: np.ndarray
) -> xr.Dataset:
    """Each signal's lag and its probabilities, from those of combinations (draw, combination)."""
    read = xr.Dataset()
    for place, signal in enumerate(spec.point_signals):
        dims = spec.point_dims(signal)
        mine = lags[:, place] if nm.REGIME in dims else lags[:, place, :1]
        # Indicator (combination, regime, lag) of the lag that each combination gives the signal.
        shown = mine[..., None] == np.arange(1, spec.max_lag + 1)
        own = {dim: list(spec.processes[0].labels) for dim in dims}
        shape = (len(chosen), *map(len, own.values()))
        point = mine[chosen].reshape(shape)
        mass = np.einsum("nc,ckl->nkl", probability, shown.astype(float)).reshape((*shape, spec.max_lag))
        read[nm.lag_parameter(signal.name, "point")] = unstack_draws(point, parameters, **own)
        own_lag = {nm.LAG: np.arange(1, spec.max_lag + 1)}
        read[nm.lag_parameter(signal.name, "probability")] = unstack_draws(mass, parameters, **own, **own_lag)
    return read
