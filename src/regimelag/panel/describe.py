"""`describe_panel`: every series of a panel, in its own unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.panel.aligned_series import describe_columns, is_as_of, parts
from regimelag.panel.checks import check_panel, panel_spec
from regimelag.panel.own_past import own_lags
from regimelag.panel.slicing import natural
from regimelag.spec import names as nm
from regimelag.spec.series import Series

WORDS = {
    "log_return": "log return",
    "difference": "difference",
    "level": "level",
    "trailing_gain": "trailing gain",
}


def describe_panel(panel: xr.Dataset) -> pd.DataFrame:
    """Describe every series of a panel in its own unit.

    Parameters
    ----------
    panel : xarray.Dataset
        A panel from `make_panel`.

    Returns
    -------
    DataFrame (role, name)
        ``column`` (in words where there are several), ``transform`` in words, ``delay``, ``close``; ``hours_after``,
        by how many hours a signal or control closes after the response, typically; ``beyond_slope``, what one unit of
        the column that a signal lies beyond takes with it; ``first`` and ``last`` row with a value in the window,
        ``observations`` and ``missing`` there, ``history`` (rows held before the window); ``mean``, ``sd``, ``min``,
        ``max`` over the window, in its own unit (a log return of 0.01 is about one per cent); ``age_days``, for
        drivers the median number of days between the row and the observation used; ``data_from`` and ``data_to``, the
        range of what was given, and ``longest_gap``, the most days between two observations within the window (of
        several columns the shortest range and the longest gap); ``closes_differ``, the rows on which a column was last
        observed on another day than the response. ``attrs["notes"]`` is a list of sentences on what was done, what was
        left out and why.

    See Also
    --------
    regimelag.plots.plot_panel : the same series as a figure.

    Raises
    ------
    PanelError
        If this is no panel.
    """
    spec = panel_spec(panel, "describe_panel")
    check_panel(spec, panel)
    differ = json.loads(panel.attrs.get("closes_differ", "{}"))
    rows = {
        (role, series.name): _describe(panel, role, series)
        | _on_source(panel, role, series, spec.closes)
        # A driver may share its column with a control, but stands by its publication, not by its close.
        | {"closes_differ": 0 if is_as_of(role, series) else len(_differing(differ, series))}
        for role, members in parts(spec).items()
        for series in members
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["role", "name"])
    table.attrs["notes"] = json.loads(panel.attrs.get("notes", "[]"))
    table.attrs[nm.SENTENCES] = list(table.attrs["notes"])
    return table


def _differing(differ: Mapping[str, list[str]], series: Series) -> set[str]:
    """Rows on which any of the series' columns was last observed on another day than the response."""
    return {row for column in series.columns for row in differ.get(column, [])}


def _describe(panel: xr.Dataset, role: str, series: Series) -> dict[str, Any]:
    chosen = panel.sel({role: series.name})
    every = natural(panel, role).sel({role: series.name}).to_numpy()
    count, time = panel.sizes[nm.TIME], panel[nm.TIME].to_numpy()
    values = every[-count:]
    seen = np.flatnonzero(~np.isnan(values))
    span = f" over {series.periods} row{'s' if series.periods > 1 else ''}" if series.transform != "level" else ""
    return {
        "column": describe_columns(series, spell=str),
        "transform": WORDS[series.transform] + span,
        "delay": series.delay,
        "beyond_slope": float(chosen.get(nm.BEYOND_SLOPE, np.nan)) if role == nm.SIGNAL else np.nan,
        "first": pd.Timestamp(time[seen[0]]),
        "last": pd.Timestamp(time[seen[-1]]),
        "observations": len(seen),
        "missing": count - len(seen),
        "history": own_lags(panel) if role == nm.RESPONSE else len(every) - count,
        "mean": float(values[seen].mean()),
        "sd": float(values[seen].std(ddof=1)),
        "min": float(values[seen].min()),
        "max": float(values[seen].max()),
        "age_days": _age(chosen) if role == nm.DRIVER else np.nan,
    }


def _on_source(panel: xr.Dataset, role: str, series: Series, closes: Mapping[str, str]) -> dict[str, Any]:
    """Close and range of the columns that a series is made from; blank for panels made by hand."""
    held = json.loads(panel.attrs.get("ranges", "{}"))
    mine = [held[column] for column in series.columns if column in held]
    beside = json.loads(panel.attrs.get("hours_after", "{}"))
    by_close = role in (nm.SIGNAL, nm.CONTROL) and not is_as_of(role, series)
    return {
        "close": closes.get(series.column, ""),
        "hours_after": beside.get(series.column, np.nan) if by_close else np.nan,
        "data_from": max((pd.Timestamp(one["first"]) for one in mine), default=pd.NaT),
        "data_to": min((pd.Timestamp(one["last"]) for one in mine), default=pd.NaT),
        "longest_gap": max((one["gap"] for one in mine), default=np.nan),
    }


def _age(driver: xr.Dataset) -> float:
    age = driver[nm.TIME].to_numpy() - driver[nm.DRIVER_DATE].to_numpy()
    return float(np.median(age / np.timedelta64(1, "D")))
