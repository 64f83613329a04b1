"""Impulse response of a response's path to a signal, by initial regime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.evaluation.forecasting.forecast import refuse_own_past
from regimelag.model.evaluate import (
    Draws,
    by_own_regime,
    count_draws,
    joint_table,
    lag_weights,
    lag_weights_on_joint,
    lagged_effects,
    moderation,
    same_period_effects,
    unstack_draws,
)
from regimelag.panel.slicing import effect_scale, natural
from regimelag.results.lags import INTERVAL, only_one, stated_moderators
from regimelag.results.regimes import filtered_distribution
from regimelag.results.view import View
from regimelag.runtime.plain import MOST_ROWS, by_name, is_number, whole
from regimelag.spec import names as nm
from regimelag.spec.kernels import softmax
from regimelag.spec.model_spec import ModelSpec, count_of_periods
from regimelag.spec.series import ONE_SIDED, Response, Signal

ASKED, START = "impulse_response", "start"
# Label of starts where the response depends on no regime.
ANY = "any regime"


def impulse_response(
    idata: xr.DataTree,
    *,
    shock: float | Sequence[float],
    signal: str | None = None,
    horizon: int = 52,
    at: Mapping[str, float | Sequence[float]] | None = None,
) -> xr.Dataset:
    """Impulse response: the response's cumulative path with a change in a signal, minus the path without it.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    shock : float or sequence of float
        Change in the signal, in its own unit (a log return, by default), in period 0, or in periods 0, 1, ..., at most
        `horizon`. A price that rises moves a signal of gains, a price that falls one of losses by a negative shock, and
        a price that rises above the previous high moves a signal of new highs by the distance.
    signal : str, optional
        The signal; required if the model has several.
    horizon : int
        Number of periods after period 0.
    at : mapping of str to float or sequence of float, optional
        Path of each moderator of the signal, required if it has any, and of drivers of the regimes, which are at their
        mean if they are not named: one value for all periods, or one for each of the periods 0 to `horizon`, as
        published by the period before; 0 or 1 for an indicator, and a value in its own unit for a driver.

    Returns
    -------
    xarray.Dataset
        ``cumulative`` (chain, draw, step, start), the sum of the response's differences up to each period, in the
        response's unit, given regime ``start`` in period 0. With several regime processes a start is a joint regime,
        and coordinates named as the processes hold the regime of each; the coordinate ``regimes`` (start) names those
        of the processes on which the response to the signal depends; ``averaged`` (chain, draw, step), averaged over
        the filtered distribution of the window's last regime. With several responses, each also has response. The
        coordinate ``unit`` says what is summed, such as the log return of bitcoin. In ``attrs``: ``signal``; ``shock``,
        the total change, and ``shock_rows``, its number of periods; ``frequency``; and ``extrapolation``, which states
        where the change exceeds those in the window, empty if it does not.

    Raises
    ------
    FitError
        If the signal is unknown, shock or horizon are not numbers, the shock is longer than the horizon or has a sign
        that a gain, a loss or a new high cannot have, a covariate depends on past responses, or the path of a moderator
        is missing or not allowed.

    Notes
    -----
    A period's response has the effect of its own regime, whatever the regime when the signal changed, so the path is an
    expectation over regimes, with drivers of the transitions and moderators on their paths. The last episode continues.
    The same-period response is in period 0. With autoregression the response's own lags propagate the effect. The path
    is linear in the shock, which is an assumption for large changes.
    """
    view = View.of(idata)
    spec, panel, parameters = view.spec, view.panel, view.parameters()
    refuse_own_past("impulse_response", spec, panel)
    chosen = _chosen(spec, signal)
    at = by_name(FitError, ASKED, "at", at, "leave at out")
    _check_names(spec, chosen, at)
    horizon = whole(FitError, ASKED, "horizon", horizon, "write horizon=52", most=MOST_ROWS)
    moves = _moves(shock, horizon)
    _check_sign(chosen, moves)
    draws = view.at_draws.draws
    episodes, episode = panel.sizes[nm.EPISODE], int(panel[nm.EPISODE_INDEX][-1])
    coefficients = _coefficients(spec, draws, chosen, episodes, episode)
    unit = effect_scale(panel, nm.SIGNAL).sel({nm.SIGNAL: chosen.name}).to_numpy()
    answers = _answers(coefficients, moves, horizon)
    if chosen in spec.lagged_signals:
        weights = lag_weights_on_joint(spec, lag_weights(spec, draws, chosen)[0])
        weights = weights[:, :, min(episode, weights.shape[2] - 1)]
        # What moderators add in a period is in proportion to the lagged sum of that period.
        past = _answers(np.concatenate([np.zeros_like(weights[..., :1]), weights], axis=-1), moves, horizon)
        answers = answers + _moderated(spec, panel, draws, chosen, at, horizon) * past
    answers = answers * unit[:, None, None]
    driven = _driven(spec, panel, at, horizon)
    cumulative, averaged = _over_regimes(spec, draws, answers, filtered_distribution(view), driven)
    steps = {nm.STEP: np.arange(horizon + 1)}
    starts, of_each = _starts(spec)
    names = {nm.RESPONSE: [response.name for response in spec.responses]}
    read = xr.Dataset(
        {
            "cumulative": only_one(unstack_draws(cumulative, parameters, **steps, **names, **{START: starts})),
            "averaged": only_one(unstack_draws(averaged, parameters, **steps, **names)),
        }
    )
    read = read.assign_coords({name: (START, labels) for name, labels in of_each.items()})
    read = read.assign_coords(regimes=(START, _regimes_of_starts(spec, chosen, starts, of_each)))
    read = read.assign_coords(unit=only_one(xr.DataArray([_summed(one) for one in spec.responses], dims=nm.RESPONSE)))
    read.attrs = {"signal": chosen.name, "shock": float(moves.sum()), "shock_rows": len(moves)}
    read.attrs["frequency"] = spec.frequency
    beyond = read.attrs["extrapolation"] = _extrapolation(spec, panel, chosen, moves)
    read.attrs[nm.SENTENCES] = [f"{chosen.name} moves by {moves.sum():.3g}.", *_condition(spec, chosen, at)]
    read.attrs[nm.SENTENCES] += [*_in_words(spec, read, horizon), *([beyond] if beyond else [])]
    return read


def _in_words(spec: ModelSpec, read: xr.Dataset, horizon: int) -> Iterator[str]:
    """The response at the horizon, from the last period and from each regime that matters."""
    last, after = read.isel({nm.STEP: -1}), count_of_periods(horizon, spec.frequency)
    for response in [one.name for one in spec.responses]:
        own = last.sel({nm.RESPONSE: response}) if nm.RESPONSE in last.dims else last
        said = f"{after} later the cumulative {own['unit'].item()} differs by {_interval(own['averaged'])}"
        said += ", median and 90 % interval, from the regimes of the last period"
        labels = [str(label) for label in own["regimes"].to_numpy()]
        from_each = [
            f"{_interval(own['cumulative'].isel({START: labels.index(label)}))} from {label}"
            for label in dict.fromkeys(labels)
            if label != ANY
        ]
        yield f"{said}{'; ' if from_each else ''}{' and '.join(from_each)}."


def _interval(draws: xr.DataArray) -> str:
    low, median, high = np.quantile(draws, (INTERVAL[0], 0.5, INTERVAL[1]))
    return f"{median:.3f} ({low:.3f} to {high:.3f})"


def _regimes_of_starts(
    spec: ModelSpec, signal: Signal, starts: list[str], of_each: Mapping[str, Sequence[str]]
) -> list[str]:
    """Regimes (start) of the processes on which the response to a signal depends."""
    depends = {"effect", "lag"} if signal in spec.lagged_signals else set()
    depends |= {"contemporaneous"} if signal.contemporaneous else set()
    carrying = [one.spec.name for one in spec.processes if depends & set(one.spec.carries)]
    if not carrying:
        return [ANY] * len(starts)
    if not of_each:
        return starts
    return [", ".join(labels) for labels in zip(*(of_each[name] for name in carrying), strict=True)]


def _summed(response: Response) -> str:
    """Quantity that is summed over the periods, in words."""
    return f"{response.transform.replace('_', ' ')} of {response.name}"


def _starts(spec: ModelSpec) -> tuple[list[str], dict[str, list[str]]]:
    """Labels of the starting regimes, and the regime of each of several processes in each of them."""
    if spec.own_regimes or len(spec.processes) == 1:
        return list(spec.processes[0].labels), {}
    held = {one.spec.name: [one.labels[k] for k in one.regime] for one in spec.processes}
    return [", ".join(labels) for labels in zip(*held.values(), strict=True)], held


def _chosen(spec: ModelSpec, signal: str | None) -> Signal:
    names = [one.name for one in spec.signals]
    if signal is None and len(names) == 1:
        return spec.signals[0]
    if not isinstance(signal, str) or signal not in names:
        rule = f"signal names one of the model's, {names}" if names else "the model has signals"
        cure = f"write signal={names[0]!r}" if names else "fit a model with a table [[signals]]"
        raise FitError("impulse_response", rule, f"signal = {signal!r}", cure)
    return spec.signals[names.index(signal)]


def _moves(shock: float | Sequence[float], horizon: int) -> np.ndarray:
    several = np.atleast_1d(np.asarray(shock, dtype=object))
    if several.ndim != 1 or not several.size or not all(map(is_number, several)):
        raise FitError("impulse_response", "shock is a finite number, or several", f"{shock!r}", "write shock=0.1")
    moves = several.astype(float)
    if len(moves) > horizon + 1:
        rule = f"the shock ends by row horizon = {horizon}: it has {horizon + 1} rows at most, row 0 included"
        raise FitError("impulse_response", rule, f"{len(moves)} rows", f"write horizon={len(moves) - 1}, or more")
    return moves


def _check_sign(signal: Signal, moves: np.ndarray) -> None:
    """Refuse a negative gain or new high, and a positive loss; a residual on another column has both signs."""
    sign = 0 if signal.beyond else ONE_SIDED.get(signal.transform, 0)
    if sign and (sign * moves < 0).any():
        turned = sign * np.abs(moves)
        possible = f"{turned[0]:g}" if len(turned) == 1 else [float(f"{move:g}") for move in turned]
        rule = f"a {signal.transform.replace('_', ' ')} is never {'negative' if sign > 0 else 'positive'}"
        came = f"shock = {', '.join(f'{move:g}' for move in moves)} for signal {signal.name!r}"
        raise FitError("impulse_response", rule, came, f"write shock={possible}")


def _coefficients(spec: ModelSpec, draws: Draws, signal: Signal, episodes: int, episode: int) -> np.ndarray:
    """Standardised response (draw, response, joint regime, lag from zero) to one standard deviation of the signal."""
    count, joint = count_draws(draws), len(spec.joint_regimes)
    found = np.zeros((count, len(spec.responses), joint, spec.max_lag + 1))
    if signal.contemporaneous:
        found[..., 0] = same_period_effects(spec, draws)[:, spec.contemporaneous_signals.index(signal)]
    if signal in spec.lagged_signals:
        effect = lagged_effects(spec, draws, episodes)[:, spec.lagged_signals.index(signal), :, episode]
        weights, departure = lag_weights(spec, draws, signal)
        weights = lag_weights_on_joint(spec, weights)
        found[..., 1:] = effect[..., None] * weights[:, :, min(episode, weights.shape[2] - 1)]
        if departure is not None:
            found[..., 1:] += departure[:, None, None]
    return found


def _moderated(
    spec: ModelSpec,
    panel: xr.Dataset,
    draws: Draws,
    signal: Signal,
    at: Mapping[str, float | Sequence[float]],
    horizon: int,
) -> np.ndarray:
    """Contribution of moderators on their paths to the standardised effect (draw, 1, 1, step)."""
    asked, missing = ASKED, [name for name in signal.moderators if name not in at]
    if missing:
        rule = f"the effect of {signal.name} depends on moderators, whose path is stated for the periods 0 to {horizon}"
        known = {name: at.get(name, 0) for name in signal.moderators}
        raise FitError(asked, rule, f"no path of {', '.join(map(repr, missing))}", f"write at={known!r}")
    if not signal.moderators:
        return np.zeros((1, 1, 1, 1))
    paths = {name: _path(name, at[name], horizon) for name in at if name in spec.moderators}
    stated = [stated_moderators(asked, spec, panel, dict(zip(paths, row, strict=True))) for row in _rows(paths)]
    return moderation(spec, draws, np.array(stated))[:, spec.lagged_signals.index(signal), None, None, :]


def _path(name: str, value: float | Sequence[float], horizon: int) -> list[Any]:
    """The values of a moderator or driver in the periods 0 to the horizon."""
    path = list(np.ravel(np.asarray(value, dtype=object)))
    if len(path) not in (1, horizon + 1):
        rule = f"a path in at is one value, or one for each of the {horizon + 1} periods"
        cure = f"write at={{{name!r}: {path[0]!r}}}" if path else f"write at={{{name!r}: 0}}"
        raise FitError(ASKED, rule, f"{len(path)} values of {name!r}", cure)
    return path * (horizon + 1) if len(path) == 1 else path


def _rows(paths: Mapping[str, Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    return zip(*paths.values(), strict=True)


def _check_names(spec: ModelSpec, signal: Signal, at: Mapping[str, float | Sequence[float]]) -> None:
    """Refuse a path of what is neither a moderator of the model nor a driver of the regimes."""
    known = list(dict.fromkeys([*spec.moderators, *(driver.name for driver in spec.transition_drivers)]))
    strange = sorted(set(map(str, at)) - set(known))
    if strange:
        rule = f"at names moderators or drivers of the regimes, of {known}"
        rule = rule if known else "at is for models with moderators, or with drivers of the regimes"
        needed = {name: at.get(name, 0) for name in signal.moderators} or dict.fromkeys(known[:1], 0)
        raise FitError(ASKED, rule, f"{strange}", f"write at={needed!r}" if known else "leave at out")


def _driven(spec: ModelSpec, panel: xr.Dataset, at: Mapping[str, float | Sequence[float]], horizon: int) -> np.ndarray:
    """Standardised drivers of the transitions (step, driver) into each period; those not named at their mean."""
    found = np.zeros((horizon + 1, len(spec.transition_drivers)))
    center, scale = (panel[of(nm.DRIVER)] for of in (nm.center_of, nm.scale_of))
    for d, driver in enumerate(spec.transition_drivers):
        if driver.name not in at:
            continue
        path = _path(driver.name, at[driver.name], horizon)
        strange = [value for value in path if not is_number(value)]
        if strange:
            cure = f"write at={{{driver.name!r}: 0}}"
            raise FitError(ASKED, "at gives a driver a finite number", f"{driver.name!r}: {strange[0]!r}", cure)
        one = {nm.DRIVER: driver.name}
        found[:, d] = (np.array(path, dtype=float) - float(center.sel(one))) / float(scale.sel(one))
    return found


def _condition(spec: ModelSpec, signal: Signal, at: Mapping[str, float | Sequence[float]]) -> list[str]:
    """The paths of moderators and drivers, in words."""
    said = {name: f"{name} = {at[name]:g}" if is_number(at[name]) else f"{name} on the path given" for name in at}
    found = [f"The effect is that with {' and '.join(said[name] for name in signal.moderators)}."] * bool(
        signal.moderators
    )
    drivers = [driver.name for driver in spec.transition_drivers]
    moved, rest = [said[name] for name in drivers if name in at], [name for name in drivers if name not in at]
    mean = [f"{', '.join(rest)} at {'their' if len(rest) > 1 else 'its'} mean"] if rest else []
    return [*found, *([f"Regimes change with {' and '.join([*moved, *mean])}."] if drivers else [])]


def _answers(coefficients: np.ndarray, moves: np.ndarray, horizon: int) -> np.ndarray:
    """Response (draw, response, regime, step) in each period, given the regime of that period."""
    answers = np.zeros((*coefficients.shape[:-1], horizon + 1))
    for row, move in enumerate(moves):
        reach = min(coefficients.shape[-1], horizon + 1 - row)
        answers[..., row : row + reach] += move * coefficients[..., :reach]
    return answers


def _over_regimes(
    spec: ModelSpec, draws: Draws, answers: np.ndarray, now: np.ndarray, driven: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative expectations (draw, step, response, start), and those from the last row (draw, step, response).

    `driven` has the standardised drivers (step, driver) of the step into each period.
    """
    count, responses, regimes, steps = answers.shape
    table = joint_table(spec, draws)
    expected = np.empty((count, steps, responses, regimes))
    distribution = np.broadcast_to(np.eye(regimes), (count, regimes, regimes))
    for step in range(steps):
        if step:
            logits = table[:, 0] + np.einsum("r,drij->dij", driven[step], table[:, 1:])
            distribution = distribution @ softmax(logits, np)
        # Probability of regime j given start i: (draw, i, j).
        expected[:, step] = np.einsum("dij,daj->dai", distribution, answers[..., step])
    cumulative = np.cumsum(_with_own_past(spec, draws, expected), axis=1)
    averaged = np.einsum("dtas,ds->dta", cumulative, now)
    # The response of one with a process of its own depends on the regimes of that process alone.
    return by_own_regime(spec, "effect", cumulative, axis=2) if spec.own_regimes else cumulative, averaged


def _with_own_past(spec: ModelSpec, draws: Draws, expected: np.ndarray) -> np.ndarray:
    """Expectations (draw, step, response, start) including the response's own lags.

    Their coefficients are equal in all regimes, so the expectation follows the same recursion as the response.
    """
    found = expected.copy()
    for step in range(expected.shape[1]):
        for lag in range(1, min(spec.autoregression, step) + 1):
            found[:, step] += draws[nm.AUTOREGRESSION][:, :, lag - 1, None] * found[:, step - lag]
    return found


def _extrapolation(spec: ModelSpec, panel: xr.Dataset, signal: Signal, moves: np.ndarray) -> str:
    """Sentence on a change that exceeds the changes in the window.

    Changes in the last rows are excluded, since the window does not include all of their response.
    """
    values = natural(panel, nm.SIGNAL).sel({nm.SIGNAL: signal.name}).to_numpy()
    answered = values[: len(values) - (spec.max_lag if signal in spec.lagged_signals else 0)]
    total, rows = float(moves.sum()), min(len(moves), len(answered))
    sums = np.convolve(answered, np.ones(rows), mode="valid")
    if sums.min() <= total <= sums.max():
        return ""
    over = "one row" if rows == 1 else f"{rows} rows"
    held = f"those that the window saw answered lie between {sums.min():.2f} and {sums.max():.2f}"
    return (
        f"An extrapolation: {signal.name} moves by {total:.2f} over {over}; {held}. That the response "
        "stays proportional is an assumption of the model."
    )
