"""Forecasts: draws of future returns and prices under a scenario for the covariates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.likelihood.hmm_draws import sample_paths_draws
from regimelag.model.draw import draw_regimes, draw_responses
from regimelag.model.evaluate import (
    Draws,
    conditional_log_scales,
    evaluate,
    marginal_regime_probabilities,
    unstack_draws,
)
from regimelag.model.own_past import iterate_own_past, without_own_past
from regimelag.panel.checks import lagged_response_covariates
from regimelag.panel.own_past import history_before, used_responses
from regimelag.panel.rows import LOGARITHMIC
from regimelag.panel.scenarios import (
    Leg,
    beyond_window,
    bootstrapped_levels,
    future_dates,
    future_panels,
    last_observed,
    level_columns,
    levels_of,
    scenario_levels,
)
from regimelag.panel.slicing import in_units, natural
from regimelag.results.lags import INTERVAL, only_one
from regimelag.results.regime_words import by_process
from regimelag.results.regimes import filtered_distribution, process_axes
from regimelag.results.view import View
from regimelag.results.volatility import last_variance
from regimelag.runtime.plain import MOST_ROWS, drawn_seed, whole
from regimelag.spec import names as nm
from regimelag.spec.kernels import softmax
from regimelag.spec.model_spec import ModelSpec, count_of_periods

Scenario = pd.DataFrame | Literal["held", "bootstrap"]
# Number of bootstrapped covariate paths shared by the draws, and block length in periods.
PATHS, BLOCK = 250, 13


def forecast(
    idata: xr.DataTree,
    *,
    horizon: int = 26,
    scenario: Scenario = "held",
    random_seed: int | None = None,
) -> xr.Dataset:
    """Draw future responses, one path per posterior draw.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    horizon : int
        Number of periods ahead; that of the frame, if `scenario` is one.
    scenario : {"held", "bootstrap"} or DataFrame
        Future covariates. *held*: columns keep their last levels, so signals do not change, and a driver's change over
        13 periods fades out. *bootstrap*: columns continue with blocks of 13 periods of the window's own changes, drawn
        jointly, and the forecast is integrated over them. A frame (row, column), as made by `scenario`, has levels in
        the columns' own units; all other columns are held constant.
    random_seed : int, optional
        Seed. By default one is drawn; it is recorded in ``attrs["random_seed"]`` either way.

    Returns
    -------
    xarray.Dataset
        ``response_value`` (chain, draw, step), the response in each period (log returns, by default); ``path``, its
        level, or, if the last level is unknown, the level relative to the last one (a ratio for log returns, a
        difference for differences); ``regime_probability`` (chain, draw, step, regime), given data and drivers up to
        the previous period; and ``history`` (history_date), past levels, NaN if unknown. With several responses, each
        also has response. Coordinates ``date`` (step), and ``path_unit``, the meaning of the path. In ``attrs``:
        ``origin``, the date of the last row; ``scenario``; ``condition``, what the forecast is conditional on, in
        words; ``extrapolation``, which states where a scenario moves a column beyond the window's changes, empty if it
        does not; and ``random_seed``.

    Raises
    ------
    FitError
        If the horizon is not a whole number of periods, the scenario is unknown, or a covariate depends on past
        responses.
    PanelError
        If the scenario has unknown columns, moves one by more than ten times its largest change in the window, as in
        another unit, or the panel has no levels.

    Notes
    -----
    Parameters are posterior draws and the last regime is drawn from the filtered distribution, so that the draws
    contain all uncertainty. With autoregression each path is iterated; a missing last response is drawn too. The last
    episode continues. A price is the exponential of a sum of Student-t returns and has no mean: use quantiles.
    """
    view = View.of(idata)
    spec, panel, parameters = view.spec, view.panel, view.parameters()
    horizon = len(scenario) if isinstance(scenario, pd.DataFrame) else horizon
    horizon = whole(FitError, "forecast", "horizon", horizon, "write horizon=26", most=MOST_ROWS)
    _check(scenario)
    refuse_own_past("forecast", spec, panel)
    beyond = _extrapolation(panel, scenario)
    seed = drawn_seed(FitError, "forecast", random_seed)
    rng, draws = np.random.default_rng(seed), view.at_draws.draws
    distribution, variance = filtered_distribution(view), last_variance(view)
    begun, history = _begun(view, distribution, rng)
    responses, distributions = [], []
    levels = _levels(spec, panel, scenario, horizon, len(distribution), rng)
    edges = np.linspace(0, len(distribution), len(levels) + 1).astype(int)
    for n, ahead in enumerate(future_panels(spec, panel, levels, horizon)):
        part = slice(edges[n], edges[n + 1])
        some = {name: values[part] for name, values in draws.items()}
        y, regimes = _drawn(spec, ahead, some, (distribution[part], begun[part]), variance[part], rng)
        responses.append(iterate_own_past(spec, some, y, history[part]))
        distributions.append(regimes)
    read = _labelled(spec, panel, parameters, np.concatenate(responses), np.concatenate(distributions), scenario)
    read.attrs[nm.SENTENCES] += [beyond] if beyond else []
    return read.assign_attrs(random_seed=seed, extrapolation=beyond)


def _check(scenario: object) -> None:
    if not isinstance(scenario, pd.DataFrame) and not (isinstance(scenario, str) and scenario in ("held", "bootstrap")):
        rule = "scenario is 'held', 'bootstrap' or a frame of levels"
        cure = 'write scenario="held", or pass a frame from regimelag.scenario(regimelag.panel_of(idata), ...)'
        raise FitError("forecast", rule, f"{scenario!r}", cure)


def _extrapolation(panel: xr.Dataset, scenario: Scenario) -> str:
    """Sentences on columns that a scenario moves beyond their changes in the window."""
    if not isinstance(scenario, pd.DataFrame) or not isinstance(scenario.index, pd.DatetimeIndex):
        return ""
    legs = {leg[2]: leg for leg in level_columns(panel) if leg[0] != nm.RESPONSE and leg[2] in scenario.columns}
    found = []
    for column, leg in legs.items():
        ahead, last = scenario[column].to_numpy(dtype=float), last_observed(levels_of(panel, leg))
        if not np.isfinite(ahead).all() or not np.isfinite(last):
            continue
        logs = bool((ahead > 0).all()) and last > 0
        furthest = int(np.abs(ahead / last if logs else ahead - last).argmax())
        move = float(ahead[furthest] / last if logs else ahead[furthest] - last)
        argument = "factors" if logs else "moves"
        # The last level may be that of the row before.
        text = beyond_window(panel, leg, move, furthest + 2, asked="forecast", argument=argument)
        found += [text] if text else []
    return " ".join(found)


def refuse_own_past(asked: str, spec: ModelSpec, panel: xr.Dataset) -> None:
    """Refuse a model with covariates that depend on past responses, which are unknown in a forecast."""
    own = lagged_response_covariates(spec, panel)
    if own:
        raise FitError(
            asked,
            "no response is among the covariates, since rows to come would have to feed on one another",
            f"{', '.join(own)} is made of a response",
            f"fit a model without {', '.join(own)}",
        )


def _levels(
    spec: ModelSpec, panel: xr.Dataset, scenario: Scenario, horizon: int, draws: int, rng: np.random.Generator
) -> list[dict[Leg, np.ndarray]]:
    """Levels of the covariates: one set for all draws, or one per group of draws."""
    if isinstance(scenario, pd.DataFrame):
        return [scenario_levels(panel, scenario, horizon)]
    if scenario == "held":
        return [scenario_levels(panel, None, horizon)]
    return bootstrapped_levels(spec, panel, horizon, paths=min(PATHS, draws), block=BLOCK, rng=rng)


def _begun(view: View, distribution: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distribution of the last joint regime (draw, regime), and last responses (draw, own lag, response).

    A missing last response is drawn from the model, on a regime path given the data, which the forecast then continues.
    """
    spec, panel = view.spec, view.panel
    rows, lags = panel.sizes[nm.TIME], spec.autoregression
    last = history_before(panel, rows)
    held = np.broadcast_to(last, (len(distribution), *last.shape))
    if not np.isnan(last).any():
        return distribution, held
    paths = view.at_draws.measured(lambda chunk: sample_paths_draws(*chunk.hmm, rng.random(chunk.hmm[0].shape[:2])))
    first, draws = max(rows - lags, 0), view.at_draws.draws
    scale = conditional_log_scales(evaluate(spec, panel, draws), used_responses(panel))[:, :, first:]
    eq = evaluate(spec, panel, without_own_past(spec, draws))
    # Each row has its own conditional scale, as if it were an episode.
    eq = eq._replace(
        location=eq.location[:, :, first:], log_scale=scale, episode=np.arange(rows - first), feedback=None
    )
    y = draw_responses(eq, paths[:, first:], rng)
    known = panel[nm.RESPONSE_VALUE].to_numpy()[first:]
    filled = iterate_own_past(spec, draws, y, history_before(panel, first), known=known)
    return np.eye(distribution.shape[1])[paths[:, -1]], filled[:, ::-1][:, :lags]


def _drawn(
    spec: ModelSpec,
    ahead: xr.Dataset,
    draws: Draws,
    last: tuple[np.ndarray, np.ndarray],
    variance: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised responses (draw, step, response) without own lags, and regimes (draw, step, regime).

    `last` has the distribution of the last joint regime from which those of the steps follow, and that of the paths'
    starts; `variance` is that of the row after it.
    """
    distribution, begun = last
    with np.errstate(divide="ignore"):
        eq = evaluate(spec, ahead, without_own_past(spec, draws))._replace(log_initial=np.log(begun))
    path = draw_regimes(eq.logits, eq.log_initial, ahead.sizes[nm.TIME], rng)
    y = draw_responses(eq.after_first_row(variance), path[:, 1:], rng)
    transition = softmax(eq.logits, np)
    distributions = np.empty((len(distribution), y.shape[1], distribution.shape[1]))
    for step in range(y.shape[1]):
        distribution = np.einsum("di,dij->dj", distribution, transition[:, min(step, transition.shape[1] - 1)])
        distributions[:, step] = distribution
    return y, distributions


def _labelled(
    spec: ModelSpec,
    panel: xr.Dataset,
    parameters: xr.Dataset,
    y: np.ndarray,
    distributions: np.ndarray,
    scenario: Scenario,
) -> xr.Dataset:
    horizon = y.shape[1]
    values = in_units(panel, nm.RESPONSE, y)
    steps = {nm.STEP: np.arange(1, horizon + 1)}
    names = {nm.RESPONSE: [response.name for response in spec.responses]}
    levels = np.stack([_path(panel, spec, a, values[..., a]) for a in range(values.shape[-1])], axis=-1)
    read = xr.Dataset(
        {
            nm.RESPONSE_VALUE: only_one(unstack_draws(values, parameters, **steps, **names)),
            "path": only_one(unstack_draws(levels, parameters, **steps, **names)),
            "regime_probability": unstack_draws(
                marginal_regime_probabilities(spec, distributions),
                parameters,
                **steps,
                **process_axes(spec),
            ),
        }
    )
    told = "levels as given" if isinstance(scenario, pd.DataFrame) else scenario
    origin = str(pd.Timestamp(panel[nm.TIME].to_numpy()[-1]).date())
    whose = ", ".join(one.name for one in spec.responses)
    read.attrs = {"response": whose, "origin": origin, "scenario": told, "condition": _condition(spec, scenario)}
    units = xr.DataArray([_path_unit(panel, spec, a) for a in range(len(spec.responses))], dims=nm.RESPONSE)
    read = read.assign_coords(date=(nm.STEP, future_dates(panel, horizon).to_numpy()), path_unit=only_one(units))
    read = _with_history(read, panel, spec, 2 * horizon)
    said = [f"The forecast from {origin} is {read.attrs['condition']}.", *_in_words(spec, read)]
    return read.assign_attrs({nm.SENTENCES: said})


def _in_words(spec: ModelSpec, read: xr.Dataset) -> Iterator[str]:
    """Path and regimes in the last period of the forecast."""
    last = read.isel({nm.STEP: -1})
    date = last["date"].dt.strftime("%Y-%m-%d").item()
    when = f"{count_of_periods(read.sizes[nm.STEP], spec.frequency)} ahead, on {date},"
    for response in spec.responses:
        own = last.sel({nm.RESPONSE: response.name}) if nm.RESPONSE in last["path"].dims else last
        low, median, high = np.quantile(own["path"], (INTERVAL[0], 0.5, INTERVAL[1]))
        what = f"{response.name} ({own['path_unit'].item()})"
        between = f"{_number(low)} to {_number(high)}"
        yield f"{when} {what} has a median of {_number(median)} and a 90 % interval of {between}."
    for owner, one in by_process(read["regime_probability"]) if spec.switches else ():
        regime = str(one[nm.REGIME].to_numpy()[-1])
        mean = one.sel({nm.REGIME: regime}).mean((nm.CHAIN, nm.DRAW))
        yield (
            f'The probability of "{regime}"{f" ({owner})" if owner else ""} is {float(mean[0]):.2f} in the first '
            f"period ahead and {float(mean[-1]):.2f} in the last."
        )


def _number(value: float) -> str:
    """A price to three digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004


def _condition(spec: ModelSpec, scenario: Scenario) -> str:
    """Condition of a forecast under a scenario, in words."""
    if not (spec.signals or spec.drivers or spec.controls):
        return "given the data up to the origin; the model has no signals, drivers or controls"
    if isinstance(scenario, str) and scenario == "bootstrap":
        return (
            "given the data up to the origin: signals, drivers and controls are drawn by block bootstrap from the "
            "window, and the forecast is integrated over them"
        )
    assumed = "signals, drivers and controls staying at their last levels"
    if isinstance(scenario, pd.DataFrame):
        columns = {column for series in (*spec.signals, *spec.drivers, *spec.controls) for column in series.columns}
        given = [str(column) for column in scenario.columns]
        rest = columns - set(given)
        assumed = f"the levels given for {', '.join(given)}" if given else assumed
        assumed += f", and {', '.join(sorted(rest))} staying at their last levels" if given and rest else ""
    same = "; same-period terms use these values as if they were known" if same_period_terms(spec) else ""
    return f"conditional on {assumed}{same}"


def same_period_terms(spec: ModelSpec) -> bool:
    """Whether a response depends on signals or controls of its own period."""
    return bool(spec.contemporaneous_signals or spec.controls)


def _path(panel: xr.Dataset, spec: ModelSpec, place: int, values: np.ndarray) -> np.ndarray:
    """Levels (draw, step) of a response from its values, relative to the last level if that is unknown."""
    response = spec.responses[place]
    if response.transform == "level":
        return values
    last = _last_level(panel, spec, place)
    if response.transform in LOGARITHMIC:
        return (1.0 if np.isnan(last) else last) * np.exp(np.cumsum(values, axis=1))
    return (0.0 if np.isnan(last) else last) + np.cumsum(values, axis=1)


def _with_history(read: xr.Dataset, panel: xr.Dataset, spec: ModelSpec, periods: int) -> xr.Dataset:
    """The forecast with the last levels of the responses, in the units of the paths, where they are known."""
    levels = []
    for place, response in enumerate(spec.responses):
        known = response.transform != "level" and not np.isnan(_last_level(panel, spec, place))
        leg = (nm.RESPONSE, response.name, response.column)
        own = levels_of(panel, leg) if known else natural(panel, nm.RESPONSE)[:, place].to_numpy()
        unknown = response.transform != "level" and not known
        levels.append(np.full(periods, np.nan) if unknown else own[-periods:])
    time = panel[nm.TIME].to_numpy()[-min(periods, panel.sizes[nm.TIME]) :]
    stacked = np.stack([values[-len(time) :] for values in levels])
    names = {nm.RESPONSE: [one.name for one in spec.responses]}
    history = xr.DataArray(stacked, dims=(nm.RESPONSE, "history_date"), coords=names | {"history_date": time})
    return read.assign(history=only_one(history))


def _path_unit(panel: xr.Dataset, spec: ModelSpec, place: int) -> str:
    """Meaning of the path of a response."""
    response = spec.responses[place]
    logs = response.transform in LOGARITHMIC
    what = (" / " if logs else " - ").join(response.columns)
    if response.transform == "level" or not np.isnan(_last_level(panel, spec, place)):
        return f"{what}, level"
    return f"{what}, relative to its last level" if logs else f"{what}, change since the last row"


def _last_level(panel: xr.Dataset, spec: ModelSpec, place: int) -> float:
    """Last observed level of a response; NaN if unknown, or if the series has a second column."""
    response = spec.responses[place]
    leg = (nm.RESPONSE, response.name, response.column)
    if response.against or leg not in level_columns(panel):
        return np.nan
    return last_observed(levels_of(panel, leg))
