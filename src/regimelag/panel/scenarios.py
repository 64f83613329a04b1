"""Scenarios: future levels of covariates, and the panels that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import combined, parts
from regimelag.panel.checks import REMAKE, check_made
from regimelag.panel.extrapolation import ABSURD, extrapolation
from regimelag.panel.frame_checks import truncate_list
from regimelag.panel.moderators import standing_drivers
from regimelag.panel.own_past import history_before, with_history
from regimelag.panel.rows import LOGARITHMIC, TRADING, FloatArray, period_end, transform
from regimelag.runtime.plain import MOST_ROWS, by_name, is_number, whole
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import Series

# A leg of a panel: role, series, column.
Leg = tuple[str, str, str]


def future_dates(panel: xr.Dataset, horizon: int) -> pd.DatetimeIndex:
    """Dates of the periods after the panel's last; for trading dates, the next business days."""
    frequency = panel.attrs["frequency"]
    offset = pd.offsets.BDay() if frequency == TRADING else period_end(frequency)
    last = pd.Timestamp(panel[nm.TIME].to_numpy()[-1])
    return pd.DatetimeIndex([last + (step + 1) * offset for step in range(horizon)])


def scenario(
    panel: xr.Dataset,
    *,
    horizon: int = 26,
    moves: Mapping[str, float] | None = None,
    factors: Mapping[str, float] | None = None,
    over: int = 13,
) -> pd.DataFrame:
    """Future levels of columns that move evenly over some periods and then stay constant.

    Parameters
    ----------
    panel : xarray.Dataset
        From `make_panel`.
    horizon : int
        Number of periods ahead.
    moves : mapping of str to float, optional
        Total change of a column, in its own units: ``{"real_yield_10y": -0.5}`` for a decline of 50 basis points.
    factors : mapping of str to float, optional
        Total factor of a column, applied evenly in logarithms: ``{"dollar_index": 0.97}`` for a decline of 3 per cent.
    over : int
        Number of periods of the move; it is incomplete if this exceeds `horizon`.

    Returns
    -------
    DataFrame (date, column)
        Levels in their own units, as input of `forecast`, which holds all other columns constant.
        ``attrs["extrapolation"]`` states where a move exceeds those in the window over as many periods, empty if none
        does.

    Raises
    ------
    PanelError
        If a column is not among the panel's covariates or is given twice, a factor is not positive, a number of periods
        is not a positive integer, or a move is more than ten times the largest one in the window, as in another unit.
    """
    asked = "a scenario"
    horizon = whole(PanelError, asked, "horizon", horizon, "write horizon=26", most=MOST_ROWS)
    check_made(panel, asked)
    over = whole(PanelError, asked, "over", over, "write over=13")
    moves = by_name(PanelError, asked, "moves", moves, 'write moves={"real_yield_10y": -0.5}')
    factors = by_name(PanelError, asked, "factors", factors, 'write factors={"dollar_index": 0.97}')
    twice = sorted(set(moves) & set(factors))
    if twice:
        raise PanelError(
            asked, "a column moves by a difference or by a factor", f"{truncate_list(twice)} in both", "choose one"
        )
    known = {column: leg for leg in level_columns(panel) for column in [leg[2]] if leg[0] != nm.RESPONSE}
    _check_columns(asked, [*moves, *factors], list(known))
    strange = [f"{name!r} by {move!r}" for name, move in moves.items() if not is_number(move)]
    if strange:
        cure = 'write moves={"real_yield_10y": -0.5}'
        raise PanelError(asked, "a column moves by a finite number", ", ".join(strange), cure)
    bad = sorted(name for name, factor in factors.items() if not (is_number(factor) and factor > 0))
    if bad:
        raise PanelError(
            asked, "a factor is a number above zero", f"{factors[bad[0]]!r} for {bad[0]!r}", "write 0.97 for -3 %"
        )
    share = np.minimum(np.arange(1, horizon + 1) / over, 1.0)
    last = {column: last_observed(levels_of(panel, leg)) for column, leg in known.items()}
    paths = {column: last[column] + share * move for column, move in moves.items()}
    paths |= {column: last[column] * factor**share for column, factor in factors.items()}
    frame = pd.DataFrame(paths, index=future_dates(panel, horizon).rename("date"))
    beyond = [
        beyond_window(panel, known[column], move, over, asked=asked, argument="moves") for column, move in moves.items()
    ]
    beyond += [
        beyond_window(panel, known[column], factor, over, asked=asked, argument="factors")
        for column, factor in factors.items()
    ]
    frame.attrs["extrapolation"] = " ".join(text for text in beyond if text)
    frame.attrs[nm.SENTENCES] = [text for text in beyond if text]
    return frame


def beyond_window(panel: xr.Dataset, leg: Leg, move: float, over: int, *, asked: str, argument: str) -> str:
    """Sentence on a move of a column that exceeds those in the window; empty if it does not.

    With `argument` "factors" the move is a factor.

    Raises
    ------
    PanelError
        If the move is more than ten times the largest one in the window.
    """
    level = np.asarray(pd.Series(levels_of(panel, leg)).ffill(), dtype=float)
    span = min(over, len(level) - 1)
    if argument == "factors":
        level, move = np.log(np.where(level > 0, level, np.nan)), float(np.log(move))
    words = f"{'in logarithms ' if argument == 'factors' else ''}over {span} {'row' if span == 1 else 'rows'}"
    seen = level[span:] - level[:-span]
    if argument == "factors" and abs(move) <= ABSURD * np.nanmax(np.abs(seen), initial=0.0):
        return extrapolation(leg[2], move, seen, words, error=PanelError, asked=asked, argument=argument)
    if argument == "factors":
        rule = f"a factor is at most {ABSURD:g} times the largest one in the window, in logarithms"
        came = f"{np.exp(move):g} for {leg[2]!r}; in the window it is at most {np.exp(np.nanmax(np.abs(seen))):.3g}"
        raise PanelError(asked, rule, came, f"write factors={{{leg[2]!r}: {float(np.exp(move / 100.0)):.3g}}}")
    return extrapolation(leg[2], move, seen, words, error=PanelError, asked=asked, argument=argument)


def level_columns(panel: xr.Dataset) -> list[Leg]:
    """All legs of the panel.

    Raises
    ------
    PanelError
        If the panel has no levels.
    """
    if nm.LEVEL not in panel.data_vars:
        raise PanelError("a look ahead of a panel", "the panel holds the columns' levels", "none", REMAKE)
    labels = [panel[name].to_numpy().tolist() for name in (nm.LEG_ROLE, nm.LEG_SERIES, nm.LEG_COLUMN)]
    return list(zip(*labels, strict=True))


def levels_of(panel: xr.Dataset, leg: Leg) -> FloatArray:
    """Levels (row) of a leg including history, in its own unit; NaN where missing."""
    return panel[nm.LEVEL].to_numpy()[:, level_columns(panel).index(leg)]


def values_of_levels(panel: xr.Dataset, role: str, series: Series) -> FloatArray | None:
    """A series (row) in its own unit, computed from the levels that the panel holds; None if they are not held.

    A row without an observation, such as a holiday's, holds the level before it. Rows too early for the transform are
    NaN.
    """
    legs = [(role, series.name, column) for column in series.columns]
    if nm.LEVEL not in panel.data_vars or not {*legs} <= {*level_columns(panel)}:
        return None
    filled = {leg: np.asarray(pd.Series(levels_of(panel, leg)).ffill(), dtype=float) for leg in legs}
    return _transformed(role, series, filled, np.nan)


def last_observed(levels: FloatArray) -> float:
    """The last observed level; NaN if there is none."""
    seen = levels[np.isfinite(levels)]
    return float(seen[-1]) if len(seen) else np.nan


def _check_columns(asked: str, given: list[str], known: list[str]) -> None:
    strange = [name for name in given if name not in known]
    if strange:
        came = f"{truncate_list(strange)}; there are {truncate_list(known, most=20)}"
        raise PanelError(
            asked, "columns are those of the panel's signals, drivers and controls", came, "name one of them"
        )


def _check_dates(asked: str, panel: xr.Dataset, rows: pd.Index) -> None:
    """Refuse levels whose first date is not that of the row after the panel's last."""
    if not isinstance(rows, pd.DatetimeIndex):
        return
    last, following = pd.Timestamp(panel[nm.TIME].to_numpy()[-1]), future_dates(panel, 1)[0]
    # Future trading dates are unknown: markets close for some days.
    if not last < rows[0] <= following + pd.Timedelta(days=7 if panel.attrs["frequency"] == TRADING else 0):
        came = f"its first row is {rows[0].date()}"
        cure = "make it with scenario(panel, ...) of the fit's own panel, regimelag.panel_of(idata)"
        raise PanelError(asked, f"it begins on the row after the window's last, {following.date()}", came, cure)


def scenario_levels(panel: xr.Dataset, given: pd.DataFrame | None, horizon: int) -> dict[Leg, FloatArray]:
    """Future levels (step) of all legs: as given, otherwise constant."""
    asked = "a scenario"
    legs = [leg for leg in level_columns(panel) if leg[0] != nm.RESPONSE]
    if given is not None:
        if not isinstance(given, pd.DataFrame) or len(given) != horizon:
            came = f"{len(given)} rows" if isinstance(given, pd.DataFrame) else f"a {type(given).__name__}"
            rule = f"it is a frame (row, column) of levels with one row for each of the {horizon} rows ahead"
            raise PanelError(asked, rule, came, "make it with scenario(panel, horizon=...), or pass horizon=len(frame)")
        _check_dates(asked, panel, given.index)
        _check_columns(asked, [str(name) for name in given.columns], [leg[2] for leg in legs])
        wrong = ~np.isfinite(given.to_numpy(dtype=float))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            came = f"column {given.columns[column]!r} on row {given.index[row]}"
            raise PanelError(asked, "levels are finite", came, "fill it, or leave the column out to hold it")
    held = {leg: np.full(horizon, last_observed(levels_of(panel, leg))) for leg in legs}
    if given is None:
        return held
    return {leg: given[leg[2]].to_numpy(dtype=float) if leg[2] in given.columns else held[leg] for leg in legs}


def bootstrapped_levels(
    spec: ModelSpec, panel: xr.Dataset, horizon: int, *, paths: int, block: int, rng: np.random.Generator
) -> list[dict[Leg, FloatArray]]:
    """Future levels (step) from blocks of the window's one-row changes, drawn jointly for all covariates.

    Moving-block bootstrap: Künsch (1989), doi:10.1214/aos/1176347265.
    """
    legs = [leg for leg in level_columns(panel) if leg[0] != nm.RESPONSE]
    if not legs:
        return [{} for _ in range(paths)]
    kinds = {(role, series.name): series.transform for role, members in parts(spec).items() for series in members}
    logs = np.array([kinds[role, name] in LOGARITHMIC for role, name, _ in legs])
    level = (
        pd.DataFrame(np.array([levels_of(panel, leg) for leg in legs]).T).ffill().to_numpy()[-panel.sizes[nm.TIME] :]
    )
    scaled = np.where(logs, np.log(np.where(logs, level, 1.0)), level)
    change = np.diff(scaled, axis=0)
    change = change[np.isfinite(change).all(axis=1)]
    size = min(block, len(change))
    blocks = -(-horizon // size)
    start = rng.integers(0, len(change) - size + 1, size=(paths, blocks))
    row = (start[:, :, None] + np.arange(size)).reshape(paths, -1)[:, :horizon]
    ahead = scaled[-1] + np.cumsum(change[row], axis=1)
    ahead = np.where(logs, np.exp(np.where(logs, ahead, 0.0)), ahead)
    return [dict(zip(legs, one.T, strict=True)) for one in ahead]


def future_panels(
    spec: ModelSpec, panel: xr.Dataset, several: Iterable[Mapping[Leg, FloatArray]], horizon: int
) -> Iterator[xr.Dataset]:
    """Panels of the window's last row and later rows, with missing responses, one for each set of levels.

    Transforms and constants are those of the window, drivers are known on their own row, and the last episode
    continues. The same Dataset is yielded each time with new values, since creating one takes longer than using it.
    """
    ahead = _rows_ahead(spec, panel, horizon)
    legs = [leg for leg in level_columns(panel) if leg[0] != nm.RESPONSE]
    # A row without an observation, such as a holiday's, has the previous level.
    past = {leg: np.asarray(pd.Series(levels_of(panel, leg)).ffill(), dtype=float) for leg in legs}
    slopes = panel[nm.BEYOND_SLOPE].to_numpy()
    for levels in several:
        whole = {leg: np.concatenate([past[leg], levels[leg]]) for leg in legs}
        for role in (nm.SIGNAL, nm.DRIVER, nm.CONTROL):
            center, scale = (panel[of(role)].to_numpy() for of in (nm.center_of, nm.scale_of))
            written = ahead[nm.value_of(role)].to_numpy()
            for n, series in enumerate(parts(spec)[role]):
                value = _transformed(role, series, whole, float(slopes[n]) if role == nm.SIGNAL else np.nan)[-horizon:]
                _check_reach(role, series, value, len(past[role, series.name, series.column]))
                written[-horizon:, n] = (value - center[n]) / scale[n]
        yield ahead


def panel_ahead(spec: ModelSpec, panel: xr.Dataset, given: pd.DataFrame | None, horizon: int) -> xr.Dataset:
    """The panel, extended by the rows of a scenario, with missing responses."""
    ahead = next(future_panels(spec, panel, [scenario_levels(panel, given, horizon)], horizon))
    joined = panel.drop_dims([nm.TIME, nm.SIGNAL_TIME])
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        value, time = nm.value_of(role), spec.time_of(role)
        after = ahead[value].isel({time: slice(-horizon, None)})
        joined[value] = xr.concat([panel[value], after], time, join="exact", coords="minimal", compat="override")
    index = [one[nm.EPISODE_INDEX].to_numpy() for one in (panel, ahead)]
    joined[nm.EPISODE_INDEX] = (nm.TIME, np.concatenate([index[0], index[1][-horizon:]]))
    return joined


def _rows_ahead(spec: ModelSpec, panel: xr.Dataset, horizon: int) -> xr.Dataset:
    """The panel's last row and later rows, with their known values."""
    dates = np.append(panel[nm.TIME].to_numpy()[-1:], future_dates(panel, horizon).to_numpy())
    reach = np.append(panel[nm.SIGNAL_TIME].to_numpy()[-spec.history - 1 :], dates[1:])
    moving = {nm.TIME, nm.SIGNAL_TIME, nm.LEG}
    constant = [name for name in panel.data_vars if panel[name].dims and not moving & set(panel[name].dims)]
    ahead = panel[constant].drop_vars([nm.TIME, nm.SIGNAL_TIME], errors="ignore")
    ahead = ahead.assign_coords({nm.EPISODE: panel[nm.EPISODE], nm.TIME: dates, nm.SIGNAL_TIME: reach})
    ahead[nm.EPISODE_INDEX] = (nm.TIME, np.full(horizon + 1, panel[nm.EPISODE_INDEX].to_numpy()[-1]))
    ahead[nm.RESPONSE_VALUE] = ((nm.TIME, nm.RESPONSE), np.full((horizon + 1, panel.sizes[nm.RESPONSE]), np.nan))
    for role in (nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        time = spec.time_of(role)
        past = panel[nm.value_of(role)].to_numpy()[-ahead.sizes[time] + horizon :]
        future = np.full((horizon, past.shape[1]), np.nan)
        ahead[nm.value_of(role)] = ((time, role), np.concatenate([past, future]))
    ahead.attrs = dict(panel.attrs)
    if nm.DRIVER_HISTORY in panel.data_vars:
        ahead[nm.DRIVER_HISTORY] = (nm.DRIVER, standing_drivers(panel)[-1])
    return with_history(ahead, history_before(panel, panel.sizes[nm.TIME] - 1))


def _transformed(role: str, series: Series, whole: Mapping[Leg, FloatArray], slope: float) -> FloatArray:
    """Transformed values (row) of a series, in its own unit."""
    own = {column: whole[role, series.name, column] for column in series.columns}
    value = transform(combined(series, own), series.transform, series.periods)
    beyond = getattr(series, "beyond", "")
    return value - slope * transform(own[beyond], series.transform, series.periods) if beyond else value


def _check_reach(role: str, series: Series, value: FloatArray, rows: int) -> None:
    if not np.isfinite(value).all():
        rule = "the panel is longer than its transforms reach"
        came = f"{role} {series.name!r} reaches {series.periods} rows back, further than the panel's {rows} rows"
        raise PanelError("a look ahead of a panel", rule, came, "widen the window")
