"""Lag distributions, and effects in the units of their series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.likelihood.hmm_draws import sample_paths_draws
from regimelag.model.at_draws import Chunk
from regimelag.model.draw import draw_regimes
from regimelag.model.evaluate import (
    by_own_regime,
    in_chunks,
    lag_weights,
    lag_weights_on_joint,
    lagged_effects,
    moderation,
    stack_draws,
    transitions,
    unstack_draws,
)
from regimelag.panel.moderators import moderator_values, moderators_at
from regimelag.panel.slicing import effect_scale
from regimelag.results.units import effect_units
from regimelag.results.view import View
from regimelag.runtime.plain import by_name, drawn_seed, is_number
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.processes import carrier, regime_labels
from regimelag.spec.terms import lag_process

INTERVAL = (0.05, 0.95)
# Largest median lag of an impulse response, in periods.
LONGEST = 1000
# Periods in a month, by frequency.
PER_MONTH = {"D": 365.25 / 12, "B": 21.75, "trading": 21.0, "W": 365.25 / 84, "ME": 1.0, "QE": 1.0 / 3.0}


def check_within(asked: str, within: Any) -> None:
    """Refuse an invalid range of lags."""
    two = isinstance(within, (tuple, list)) and len(within) == 2  # noqa: PLR2004
    low, high = within if two and all(map(is_number, within)) else (None, None)
    if low is None or high is None:
        cure = "write within=(4, 13)"
    elif not low <= high:
        cure = f"write within=({high:g}, {low:g})"
    else:
        return
    raise FitError(asked, "within is (low, high), in rows, with low <= high", f"within = {within!r}", cure)


def default_within(spec: ModelSpec) -> tuple[int, int]:
    """Lags of one to three months in periods of the panel, up to `max_lag`; the later half if that is shorter."""
    month = PER_MONTH[spec.frequency.split("-")[0]]
    low, high = max(1, int(month)), max(1, round(3 * month))
    return (low, min(high, spec.max_lag)) if low <= spec.max_lag else (-(-spec.max_lag // 2), spec.max_lag)


def elasticity_scale(constants: xr.Dataset) -> xr.DataArray:
    """Factor of a standardised effect to response units per unit of the signal (response, signal)."""
    return only_one(effect_scale(constants, nm.SIGNAL))


def only_one(values: xr.DataArray) -> xr.DataArray:
    """Drop the dimension response, if any."""
    return values.isel({nm.RESPONSE: 0}, drop=True) if values.sizes[nm.RESPONSE] == 1 else values


def lag_distribution(
    idata: xr.DataTree, *, group: str = "posterior", within: tuple[float, float] | None = None
) -> xr.Dataset:
    """Distribution of the lag weights.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    group : {"posterior", "prior"}
        Group of draws.
    within : (float, float), optional
        Range of lags in periods of the panel, inclusive, whose weight is ``mass_within``. By default those of one to
        three months, 4 to 13 weeks in weekly models, up to `max_lag`.

    Returns
    -------
    xarray.Dataset
        By chain, draw and signal: ``weights`` (..., lag), non-negative with sum one; ``response_curve`` (..., lag), the
        response to one unit of the signal at each lag, in response units, averaged over regimes and episodes, with
        moderators at their means in the window;
        ``mean_lag``, ``median_lag`` and ``peak_lag`` in periods; ``mass_within``; in the posterior of a point lag also
        ``probability`` (..., lag) of each lag given the draw's other parameters. If the lag of a signal differs between
        responses, episodes or regimes, all but the curve have that dimension; with several responses so does the curve.
        With autoregression there are also ``impulse_mean_lag`` and ``impulse_median_lag`` of the impulse response to
        the signal, which includes the response's own lags; NaN in explosive draws.

    Raises
    ------
    FitError
        If the model has no lagged signal, or `within` is not a valid range.

    Notes
    -----
    The coefficients of the unrestricted kernel, and of others with signed deviations, may change sign. Their
    ``weights`` are normalised absolute values, and lags computed from them describe the size of the response in either
    direction.
    """
    view = View.of(idata)
    spec, parameters = view.spec, view.parameters(group)
    within = default_within(spec) if within is None else within
    check_within("lag_distribution", within)
    low, high = within
    if not spec.lagged_signals:
        raise FitError(
            "lag_distribution",
            "the model has a signal with a lag kernel",
            f"the model {spec.name!r} has none",
            "fit a model whose signal has a kernel other than none",
        )
    weights, curve = _weights_and_curve(spec, parameters, view.constants)
    read = xr.Dataset({"weights": weights, "response_curve": curve * elasticity_scale(view.constants)})
    masses = _probabilities(spec, parameters)
    if masses is not None:
        read["probability"] = masses
    read["mean_lag"] = (read["weights"] * read[nm.LAG]).sum(nm.LAG)
    # First lag with a cumulative weight of at least one half.
    read["median_lag"] = (read["weights"].cumsum(nm.LAG) < 0.5).sum(nm.LAG) + 1  # noqa: PLR2004
    read["peak_lag"] = read["weights"].argmax(nm.LAG) + 1
    inside = (read[nm.LAG] >= low) & (read[nm.LAG] <= high)
    read["mass_within"] = read["weights"].where(inside, 0.0).sum(nm.LAG)
    if spec.autoregression:
        read = read.assign(_impulse_lags(read, only_one(parameters[nm.AUTOREGRESSION])))
    read.attrs = {"group": group, "within_low": low, "within_high": high, "frequency": spec.frequency}
    return read


def companion_root(coefficients: np.ndarray) -> np.ndarray:
    """Largest absolute eigenvalue (...) of the companion matrix of coefficients (..., own lag)."""
    lags = coefficients.shape[-1]
    matrix = np.zeros((*coefficients.shape, lags))
    matrix[..., 0, :] = coefficients
    matrix[..., np.arange(1, lags), np.arange(lags - 1)] = 1.0
    return np.abs(np.linalg.eigvals(matrix)).max(axis=-1)


def _dies_out(coefficients: xr.DataArray) -> xr.DataArray:
    """Whether the autoregression is stationary (...), from its coefficients (..., own lag)."""
    moved = coefficients.transpose(..., nm.OWN_LAG)
    return moved.isel({nm.OWN_LAG: 0}, drop=True).copy(data=companion_root(moved.to_numpy()) < 1)


def _impulse_lags(read: xr.Dataset, coefficients: xr.DataArray) -> dict[str, xr.DataArray]:
    """Mean and median lag of the impulse response, from lag weights and autoregression.

    Its generating function is W(z) / (1 - sum_p rho_p z^p), so its mean lag is that of the weights plus sum_p p rho_p /
    (1 - sum_p rho_p), and its sum 1 / (1 - sum_p rho_p).
    """
    dies, total = _dies_out(coefficients), 1 - coefficients.sum(nm.OWN_LAG)
    mean = read["mean_lag"] + (coefficients * coefficients[nm.OWN_LAG]).sum(nm.OWN_LAG) / total
    weights = read["weights"].broadcast_like(mean).transpose(nm.LAG, *mean.dims).to_numpy()
    own = coefficients.broadcast_like(mean).transpose(nm.OWN_LAG, *mean.dims).to_numpy()
    half = (0.5 / total.where(dies)).broadcast_like(mean).transpose(*mean.dims).to_numpy()
    past, sums = np.zeros(own.shape), np.zeros(half.shape)
    median = np.where(np.isnan(half), np.nan, LONGEST)
    open_ = np.isfinite(half)
    for lag in range(1, LONGEST):
        answer = (weights[lag - 1] if lag <= len(weights) else 0.0) + (own * past).sum(axis=0)
        past = np.concatenate([answer[None], past[:-1]])
        sums += np.where(open_, answer, 0.0)
        reached = open_ & (sums >= half)
        median[reached] = lag
        open_ &= ~reached
        if not open_.any():
            break
    return {"impulse_mean_lag": mean.where(dies), "impulse_median_lag": mean.copy(data=median)}


def _probabilities(spec: ModelSpec, parameters: xr.Dataset) -> xr.DataArray | None:
    """Probability of each point lag given the draw's other parameters; None for other kernels and the prior."""
    names = {signal.name: nm.lag_parameter(signal.name, "probability") for signal in spec.point_signals}
    held = [parameters[name].expand_dims({nm.SIGNAL: [signal]}) for signal, name in names.items() if name in parameters]
    if not held:
        return None
    every = [signal.name for signal in spec.lagged_signals]
    return xr.concat(held, nm.SIGNAL).reindex({nm.SIGNAL: every}).transpose(nm.CHAIN, nm.DRAW, nm.SIGNAL, ..., nm.LAG)


def _weights_and_curve(
    spec: ModelSpec, parameters: xr.Dataset, constants: xr.Dataset
) -> tuple[xr.DataArray, xr.DataArray]:
    """Weights of each signal, and response curve averaged over regimes and episodes."""
    draws = stack_draws(parameters)
    coords = {nm.RESPONSE: constants[nm.RESPONSE].to_numpy(), nm.EPISODE: constants[nm.EPISODE].to_numpy()}
    process = lag_process(spec) or spec.processes[0]
    coords[nm.REGIME] = np.array(process.labels)
    total = lagged_effects(spec, draws, len(coords[nm.EPISODE]))
    total = total + moderation(spec, draws, mean_moderators(spec, constants))[:, :, None, None, None]
    last = {nm.LAG: np.arange(1, spec.max_lag + 1)}
    weights, curves = [], []
    for place, signal in enumerate(spec.lagged_signals):
        own, departure = lag_weights(spec, draws, signal)
        curve = (total[:, place][..., None] * lag_weights_on_joint(spec, own)).mean(axis=(2, 3))
        curve = curve if departure is None else curve + departure[:, None]
        if departure is not None:
            size = np.abs(curve)
            own = (size / size.sum(axis=-1, keepdims=True))[:, :, None, None]
        kept = [dim for dim, length in zip(coords, own.shape[1:4], strict=True) if length > 1]
        lengths = [len(coords[dim]) for dim in kept]
        labelled = unstack_draws(
            own.reshape(len(own), *lengths, -1), parameters, **{d: coords[d] for d in kept}, **last
        )
        weights.append(labelled)
        curves.append(only_one(unstack_draws(curve, parameters, **{nm.RESPONSE: coords[nm.RESPONSE]}, **last)))
    names = np.array([signal.name for signal in spec.lagged_signals])
    together = [xr.concat(parts, nm.SIGNAL) for parts in (xr.broadcast(*weights), curves)]
    together = [joined.assign_coords({nm.SIGNAL: names}) for joined in together]
    order = (nm.CHAIN, nm.DRAW, nm.SIGNAL, ..., nm.LAG)
    return together[0].transpose(*order), together[1].transpose(*order)


def mean_moderators(spec: ModelSpec, constants: xr.Dataset) -> np.ndarray:
    """Mean of each moderator over the window (moderator); of an indicator the share of the periods in which it is 1."""
    # Constants of a fit without time have no moderators.
    return np.asarray(moderator_values(spec, constants).mean(axis=0)) if spec.moderators else np.zeros(0)


def stated_moderators(asked: str, spec: ModelSpec, constants: xr.Dataset, at: Mapping[str, float]) -> np.ndarray:
    """Stated values of moderators (moderator), by default their means in the window, in the units of the model."""
    known, states = list(spec.moderators), {indicator.name for indicator in spec.indicators}
    strange = sorted(set(map(str, at)) - set(known))
    if strange:
        rule = f"at names moderators of the model, of {known}" if known else "at is for models with moderators"
        cure = f"write at={{{known[0]!r}: 0.0}}" if known else "leave at out"
        raise FitError(asked, rule, f"{strange}", cure)
    stated = mean_moderators(spec, constants)
    for n, name in enumerate(known):
        if name not in at:
            continue
        value = at[name]
        if not is_number(value) or (name in states and value not in (0, 1)):
            rule = "at gives an indicator the value 0 or 1" if name in states else "at gives a driver a finite number"
            raise FitError(asked, rule, f"{name!r}: {value!r}", f"write at={{{name!r}: 0}}")
        stated[n] = moderators_at(spec, constants, np.full(len(known), float(value)))[n]
    return stated


def effects(
    idata: xr.DataTree,
    *,
    group: str = "posterior",
    at: Mapping[str, float] | None = None,
    random_seed: int | None = 0,
) -> xr.Dataset:
    """Effects of signals and controls in response units per unit of the covariate.

    For two log returns the unit is per cent per per cent, an elasticity.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    group : {"posterior", "prior"}
        Group of draws.
    at : mapping of str to float, optional
        Values of moderators at which lagged effects are taken: 0 or 1 for an indicator, and a value in its own unit for
        a driver. A moderator that is not named is at its mean in the window; for an indicator that is the share of the
        periods in which it is 1.
    random_seed : int, optional
        Seed of the regime paths for ``lagged_over_sample``.

    Returns
    -------
    xarray.Dataset
        By chain and draw, if the model has them:

        - ``lagged`` (signal): cumulative lagged effect, averaged over regimes and episodes with equal weights;
        - ``lagged_over_sample`` (signal): the same, averaged over the periods of the sample;
        - ``lagged_by_regime`` (signal, regime), by the regimes of the process that carries the effect,
          ``lagged_by_episode`` (signal, episode);
        - ``contemporaneous`` (signal);
        - ``control_effect`` (control), ``control_lagged_effect`` (lagged control), cumulative, and ``control_mean_lag``
          (lagged control) in periods; no claim is made about controls;
        - with autoregression, ``long_run`` (signal): ``lagged``, which is then a direct effect, divided by one minus
          the sum of the autoregressive coefficients; NaN in explosive draws.

        With several responses each also has the dimension response. NaN if a signal has no effect of that kind.

    Raises
    ------
    FitError
        If `at` names no moderator of the model, or has a value that is not allowed.

    See Also
    --------
    regimelag.results.state_contrast : effects in the periods in which an indicator is 1, and in those in which it is 0.

    Notes
    -----
    ``lagged_over_sample`` averages over periods with an observed response. Each period has the effect of its episode,
    of its moderators (unless `at` names them) and of its regime on a path sampled for the draw: given the data for the
    posterior, and from the transition probabilities with the sample's drivers for the prior. The paths are those of
    `regimelag.results.regime_paths` with the same seed. Unlike an average with smoothed probabilities, it includes the
    uncertainty about paths.
    """
    view, at = View.of(idata), by_name(FitError, "effects", "at", at, "leave at out")
    seed = drawn_seed(FitError, "effects", random_seed)
    read, every = _of_draws(view, group, stated_moderators("effects", view.spec, view.constants, at))
    if every is not None:
        fixed = [n for n, name in enumerate(view.spec.moderators) if name in at]
        average = _over_periods(view, group, every, seed, fixed=fixed)
        read["lagged_over_sample"] = average.transpose(*read["lagged"].dims)
    return read.assign_attrs(unit=effect_units(view.spec))


def average_over_periods(
    view: View, where: np.ndarray, *, group: str = "posterior", random_seed: int | None = 0
) -> xr.DataArray:
    """Lagged effect averaged over some periods (time) with an observed response, as in `effects`; NaN without any."""
    _, every = _of_draws(view, group)
    assert every is not None
    return _over_periods(view, group, every, random_seed, where=where)


def _over_periods(
    view: View,
    group: str,
    every: xr.DataArray,
    seed: int | None,
    *,
    where: np.ndarray | None = None,
    fixed: Sequence[int] = (),
) -> xr.DataArray:
    """Average over observed periods of effects by episode and regime, with moderators at their means in the window.

    `fixed` are places of moderators that do not vary.
    """
    spec, panel, parameters = view.spec, view.panel, view.parameters(group)
    shares = only_one(_shares_of_sample(view, group, seed, where))
    # Shares are zero where a response has no such regime.
    average = (every * shares).where(shares != 0, 0.0).sum((nm.EPISODE, nm.REGIME), skipna=False)
    if not spec.moderators:
        return average
    seen = ~np.isnan(panel[nm.RESPONSE_VALUE].to_numpy()).T
    seen = seen if where is None else seen & where
    with np.errstate(invalid="ignore"):
        weight = seen / seen.sum(axis=1, keepdims=True)
    change = weight @ moderator_values(spec, panel) - mean_moderators(spec, panel)
    change[:, list(fixed)] = 0.0
    coords = {nm.SIGNAL: [one.name for one in spec.lagged_signals], nm.RESPONSE: panel[nm.RESPONSE].to_numpy()}
    added = unstack_draws(moderation(spec, stack_draws(parameters), change), parameters, **coords)
    return average + only_one(added) * elasticity_scale(panel)


def effects_of_draws(idata: xr.DataTree) -> xr.Dataset:
    """All of `effects` that needs no regime paths and thus no responses."""
    return _of_draws(View.of(idata), "posterior")[0]


def _of_draws(view: View, group: str, moderators: np.ndarray | None = None) -> tuple[xr.Dataset, xr.DataArray | None]:
    """Effects without a path, and lagged effects by signal, episode and regime (and response), if any.

    `moderators` are in the units of the model, by default at their means in the window.
    """
    spec, parameters, constants = view.spec, view.parameters(group), view.constants
    scale = elasticity_scale(constants)
    read = xr.Dataset(coords={dim: parameters[dim] for dim in (nm.CHAIN, nm.DRAW)})
    every = None
    if spec.signals:
        # All signals, including those without one kind of effect.
        read = read.assign_coords({nm.SIGNAL: [signal.name for signal in spec.signals]})
    if spec.lagged_signals:
        episodes = constants[nm.EPISODE].to_numpy()
        draws = stack_draws(parameters)
        at = mean_moderators(spec, constants) if moderators is None else moderators
        standardised = unstack_draws(
            by_own_regime(spec, "effect", lagged_effects(spec, draws, len(episodes)), axis=2)
            + moderation(spec, draws, at)[:, :, None, None, None],
            parameters,
            **{
                nm.SIGNAL: [signal.name for signal in spec.lagged_signals],
                nm.RESPONSE: constants[nm.RESPONSE].to_numpy(),
                nm.EPISODE: episodes,
                nm.REGIME: regime_labels(spec, "effect"),
            },
        )
        every = only_one(standardised) * scale
        read["lagged"] = every.mean((nm.EPISODE, nm.REGIME))
        read["lagged_by_regime"] = every.mean(nm.EPISODE)
        read["lagged_by_episode"] = every.mean(nm.REGIME)
        if spec.autoregression:
            own = only_one(parameters[nm.AUTOREGRESSION])
            read["long_run"] = (read["lagged"] / (1 - own.sum(nm.OWN_LAG))).where(_dies_out(own))
    if nm.CONTEMPORANEOUS in parameters:
        now = only_one(parameters[nm.CONTEMPORANEOUS])
        read["contemporaneous"] = now.rename({nm.CONTEMPORANEOUS_SIGNAL: nm.SIGNAL}) * scale
    if nm.CONTROL_EFFECT in parameters:
        control = only_one(parameters[nm.CONTROL_EFFECT])
        # The name control is taken by its dimension.
        per_unit = only_one(effect_scale(constants, nm.CONTROL))
        read[nm.CONTROL_EFFECT] = control * per_unit
    if spec.lagged_controls:
        late = only_one(parameters[nm.CONTROL_LAGGED_EFFECT])
        read[nm.CONTROL_LAGGED_EFFECT] = late * per_unit.rename({nm.CONTROL: nm.LAGGED_CONTROL})
        draws, lags = stack_draws(parameters), np.arange(1, spec.max_lag + 1)
        weights = np.stack([lag_weights(spec, draws, one)[0].reshape(-1, spec.max_lag) for one in spec.lagged_controls])
        over = {nm.LAGGED_CONTROL: [one.name for one in spec.lagged_controls]}
        read["control_mean_lag"] = unstack_draws((weights @ lags).T, parameters, **over)
    return read, every


def _shares_of_sample(view: View, group: str, seed: int | None, where: np.ndarray | None = None) -> xr.DataArray:
    """Share (chain, draw, response, episode, regime) of each response's observed periods, on a sampled path.

    `where` (time) selects periods.
    """
    spec, panel, parameters = view.spec, view.panel, view.parameters(group)
    y, episode = panel[nm.RESPONSE_VALUE].to_numpy(), panel[nm.EPISODE_INDEX].to_numpy()
    # Weight of each period (response, time, episode), with sum one for each response.
    member = (episode[:, None] == np.arange(panel.sizes[nm.EPISODE])) & ~np.isnan(y).T[:, :, None]
    member = member if where is None else member & where[:, None]
    with np.errstate(invalid="ignore"):
        weight = member / member.sum(axis=(1, 2), keepdims=True)
    over = {name: panel[name].to_numpy() for name in (nm.RESPONSE, nm.EPISODE)}
    labels = regime_labels(spec, "effect")
    over[nm.REGIME] = np.array(labels)
    carriers = [carrier(spec, "effect", a) for a in range(len(spec.responses))]
    if len(labels) == 1:
        sizes = {dim: parameters[dim] for dim in (nm.CHAIN, nm.DRAW)}
        alike = xr.DataArray(weight.sum(axis=1)[..., None], dims=tuple(over), coords=over)
        return alike.expand_dims(sizes)
    rng = np.random.default_rng(seed)

    def shares(path: np.ndarray) -> np.ndarray:
        found = np.zeros((len(path), len(weight), weight.shape[-1], len(labels)))
        for a, (process, part) in enumerate(zip(carriers, weight, strict=True)):
            own = np.zeros_like(path) if process is None else process.regime[path]
            for k, label in enumerate(labels[:1] if process is None else process.labels):
                found[:, a, :, labels.index(label)] = (own == k) @ part
        return found

    def given_data(chunk: Chunk) -> np.ndarray:
        return shares(sample_paths_draws(*chunk.hmm, rng.random(chunk.hmm[0].shape[:2])))

    if group == "posterior":
        return view.at_draws.labelled(given_data, **over)
    # Prior paths need only the transition probabilities.
    chunks = in_chunks(stack_draws(parameters), len(y) * spec.joint_regimes.size)
    found = [shares(draw_regimes(*transitions(spec, panel, some), len(y), rng)) for _, some in chunks]
    return unstack_draws(np.concatenate(found), parameters, **over)
