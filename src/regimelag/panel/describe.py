"""`describe_panel`: summary of every series of a panel, in its own unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.panel.aligned_series import describe_columns, is_as_of, parts
from regimelag.panel.checks import check_panel, panel_spec
from regimelag.panel.own_past import own_lags
from regimelag.panel.slicing import natural
from regimelag.runtime.result_table import ResultTable, compact
from regimelag.spec import names as nm
from regimelag.spec.model_spec import count_of_periods
from regimelag.spec.series import Series

WORDS = {
    "log_return": "log return",
    "difference": "difference",
    "level": "level",
    "gain": "gain",
    "loss": "loss",
    "new_high": "new high",
}


def describe_panel(panel: xr.Dataset) -> pd.DataFrame:
    """Summarise every series of a panel in its own unit.

    Parameters
    ----------
    panel : xarray.Dataset
        A panel from `make_panel`.

    Returns
    -------
    DataFrame (role, name)
        ``column`` (an expression if there are several), ``transform`` in words, ``delay``, ``close``;

        ``hours_after``: typical hours by which a signal or control closes after the response;

        ``beyond_slope``: slope of an orthogonalised signal on the other column;

        ``first`` and ``last`` row with a value in the window, ``observations`` and ``missing`` in the window,
        ``history`` (rows before it);

        ``mean``, ``sd``, ``min``, ``max`` in the window, in the series' unit (a log return of 0.01 is about one per
        cent);

        ``age_days``: for drivers, the median age of the observation used;

        ``data_from`` and ``data_to``: range of the input data, and ``longest_gap``: largest number of days between two
        observations in the window (of several columns, the shortest range and the longest gap);

        ``closes_differ``: number of rows on which a column's last observation is of another day than the response's.

        ``attrs["notes"]`` is a list of sentences on the changes made to the data.

    See Also
    --------
    regimelag.plots.plot_panel : the same series as a figure.

    Raises
    ------
    PanelError
        If the argument is not a panel.
    """
    spec = panel_spec(panel, "describe_panel")
    check_panel(spec, panel)
    differ = json.loads(panel.attrs.get("closes_differ", "{}"))
    rows = {
        (role, series.name): _describe(panel, role, series, spec.frequency)
        | _on_source(panel, role, series, spec.closes)
        # A driver may share its column with a control, but it is aligned by publication date, not by close.
        | {"closes_differ": 0 if is_as_of(role, series) else len(_differing(differ, series))}
        for role, members in parts(spec).items()
        for series in members
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["role", "name"])
    table.attrs["notes"] = json.loads(panel.attrs.get("notes", "[]"))
    table.attrs[nm.SENTENCES] = list(table.attrs["notes"])
    columns = ("column", "transform", "delay", "missing", "mean", "sd")
    caption = "The series, with mean and standard deviation in their own units."
    # Each row has its own unit, and is rounded by itself.
    return ResultTable(table, partial(compact, columns=columns, alike=list(table.index), caption=caption, first=True))


def _differing(differ: Mapping[str, list[str]], series: Series) -> set[str]:
    """Rows on which a column's last observation is of another day than the response's."""
    return {row for column in series.columns for row in differ.get(column, [])}


def _describe(panel: xr.Dataset, role: str, series: Series, frequency: str) -> dict[str, Any]:
    chosen = panel.sel({role: series.name})
    every = natural(panel, role).sel({role: series.name}).to_numpy()
    count, time = panel.sizes[nm.TIME], panel[nm.TIME].to_numpy()
    values = every[-count:]
    seen = np.flatnonzero(~np.isnan(values))
    span = f" over {count_of_periods(series.periods, frequency)}" if series.transform != "level" else ""
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
    """Close and range of the columns of a series; blank for hand-made panels."""
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
