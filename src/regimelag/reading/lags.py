"""How late the response follows, and how much: lags and effects in natural units."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.equations import lag_weights, lagged_effects, stack_draws, unstack_draws
from regimelag.errors import FitError
from regimelag.kernels import Unrestricted
from regimelag.sampling.tree import parameters_of, spec_of

INTERVAL = (0.05, 0.95)


def elasticity_scale(idata: xr.DataTree) -> xr.DataArray:
    """What turns a standardised effect into natural units: response's scale over the signal's (signal)."""
    constants = idata["constant_data"].to_dataset()
    return constants[nm.scale_of(nm.RESPONSE)].isel({nm.RESPONSE: 0}, drop=True) / constants[nm.scale_of(nm.SIGNAL)]


def lag_distribution(
    idata: xr.DataTree, *, group: str = "posterior", within: tuple[float, float] = (4, 13)
) -> xr.Dataset:
    """Distribution of the lag weights.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    group : {"posterior", "prior"}
        Which draws.
    within : (float, float)
        Range of lags, in rows of the panel, both ends included, whose mass is asked for.

    Returns
    -------
    xarray.Dataset
        Per chain, draw and signal: ``weights`` (..., lag), non-negative, summing to one; ``response_curve`` (..., lag),
        the response to one unit of the signal at each lag in natural units, averaged over regimes and episodes;
        ``mean_lag``, ``median_lag``, ``peak_lag`` and ``mass_within``. Lags are in rows of the panel: weeks, if it is
        weekly.

    Raises
    ------
    FitError
        If the model has no lagged signal, or `within` is no range.

    Notes
    -----
    The coefficients of an unrestricted kernel may change sign. Its ``weights`` are their absolute values over the sum,
    and lags read from them are where the response moves, up or down.
    """
    spec, parameters = spec_of(idata), parameters_of(idata, group)
    low, high = within
    if not low <= high:
        raise FitError("lag_distribution", "within is (low, high) with low <= high", f"within = {within}", "swap them")
    if not spec.lagged_signals:
        raise FitError(
            "lag_distribution",
            "the model has a signal with a lag kernel",
            f"the model {spec.name!r} has none",
            "fit a model whose signal has a kernel other than none",
        )
    draws = stack_draws(parameters)
    weights, departures = lag_weights(spec, draws)
    effect = draws[nm.EFFECT][:, :, None]
    curve = effect * weights + departures
    for place, signal in enumerate(spec.lagged_signals):
        if isinstance(signal.kernel, Unrestricted):
            size = np.abs(curve[:, place])
            weights[:, place] = size / size.sum(axis=-1, keepdims=True)
    lag = np.arange(1, spec.max_lag + 1)
    coords = {nm.SIGNAL: [signal.name for signal in spec.lagged_signals], nm.LAG: lag}
    read = xr.Dataset({"weights": unstack_draws(weights, parameters, **coords)})
    read["response_curve"] = unstack_draws(curve, parameters, **coords) * elasticity_scale(idata)
    read["mean_lag"] = (read["weights"] * read[nm.LAG]).sum(nm.LAG)
    # The first lag at which half of the mass has come.
    read["median_lag"] = (read["weights"].cumsum(nm.LAG) < 0.5).sum(nm.LAG) + 1  # noqa: PLR2004
    read["peak_lag"] = read["weights"].argmax(nm.LAG) + 1
    inside = (read[nm.LAG] >= low) & (read[nm.LAG] <= high)
    read["mass_within"] = read["weights"].where(inside, 0.0).sum(nm.LAG)
    read.attrs = {"group": group, "within_low": low, "within_high": high, "frequency": spec.frequency}
    return read


def effects(idata: xr.DataTree, *, group: str = "posterior") -> xr.Dataset:
    """Effects of signals and controls in natural units: response per unit of the other variable.

    For two log returns that is per cent per per cent, an elasticity.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    group : {"posterior", "prior"}
        Which draws.

    Returns
    -------
    xarray.Dataset
        Per chain and draw, as far as the model has them: ``lagged`` (signal), the cumulative lagged effect averaged
        over regimes and episodes; ``lagged_by_regime`` (signal, regime); ``lagged_by_episode`` (signal, episode);
        ``contemporaneous`` (signal); ``control_effect`` (control). Missing where a signal has no effect of that kind.
    """
    spec, parameters = spec_of(idata), parameters_of(idata, group)
    constants = idata["constant_data"].to_dataset()
    scale = elasticity_scale(idata)
    read = xr.Dataset(coords={dim: parameters[dim] for dim in (nm.CHAIN, nm.DRAW)})
    if spec.signals:
        # All signals, so that none is lost for lacking one kind of effect.
        read = read.assign_coords({nm.SIGNAL: [signal.name for signal in spec.signals]})
    if spec.lagged_signals:
        episodes = constants[nm.EPISODE].to_numpy()
        standardised = unstack_draws(
            lagged_effects(spec, stack_draws(parameters), len(episodes)),
            parameters,
            **{
                nm.SIGNAL: [signal.name for signal in spec.lagged_signals],
                nm.EPISODE: episodes,
                nm.REGIME: list(spec.regimes.labels()),
            },
        )
        every = standardised * scale
        read["lagged"] = every.mean((nm.EPISODE, nm.REGIME))
        read["lagged_by_regime"] = every.mean(nm.EPISODE)
        read["lagged_by_episode"] = every.mean(nm.REGIME)
    if nm.CONTEMPORANEOUS in parameters:
        now = parameters[nm.CONTEMPORANEOUS].isel({nm.RESPONSE: 0}, drop=True)
        read["contemporaneous"] = now.rename({nm.CONTEMPORANEOUS_SIGNAL: nm.SIGNAL}) * scale
    if nm.CONTROL_EFFECT in parameters:
        control = parameters[nm.CONTROL_EFFECT].isel({nm.RESPONSE: 0}, drop=True)
        response_scale = constants[nm.scale_of(nm.RESPONSE)].isel({nm.RESPONSE: 0}, drop=True)
        # Not named control, which is its dimension.
        read[nm.CONTROL_EFFECT] = control * response_scale / constants[nm.scale_of(nm.CONTROL)]
    return read
