"""Figure of the series of a panel."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import date2num

from regimelag.panel.describe import describe_panel
from regimelag.panel.slicing import natural
from regimelag.plots.common import POSTERIOR, PRIOR, REGIME_COLORS, clean, label_dates, placed
from regimelag.plots.figure_style import figure_width, styled
from regimelag.spec import names as nm

COLORS = {
    nm.RESPONSE: REGIME_COLORS[1],
    nm.SIGNAL: POSTERIOR,
    nm.DRIVER: REGIME_COLORS[3],
    nm.CONTROL: REGIME_COLORS[2],
}


@styled
def plot_panel(panel: xr.Dataset, *, axes: Any = None) -> np.ndarray:
    """Draw every series of a panel over time in its own unit, one axes per series.

    Parameters
    ----------
    panel : xarray.Dataset
        A panel from `make_panel`.
    axes : array of Axes, optional
        One axes for each series of the panel.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (series), in the order of `describe_panel`. The history before the window is shaded; vertical lines separate
        episodes; ticks at the bottom mark missing responses, and ticks at the top rows on which a column's last
        observation is of another day than the response's.

    Raises
    ------
    PanelError
        If the argument is not a panel.
    FitError
        If axes are not one for each series.
    """
    table = describe_panel(panel)
    if axes is None:
        size = (figure_width(), 0.5 + 0.95 * len(table))
        _, axes = plt.subplots(len(table), 1, figsize=size, sharex=True, layout="constrained", squeeze=False)
    axes = placed(axes, len(table)).ravel()
    differ = json.loads(panel.attrs.get("closes_differ", "{}"))
    roles, series = (table.index.get_level_values(level) for level in ("role", "name"))
    for ax, role, name, (_, row) in zip(axes, roles, series, table.iterrows(), strict=True):
        _draw(ax, panel, role, name)
        _caption(ax, role, name, row)
        if row["closes_differ"]:
            column = str(row["column"]).split(" ")[0]
            _ticks(ax, np.array(differ.get(column, []), dtype="datetime64[ns]"), 1.0)
    _name_episodes(axes[0], panel)
    label_dates(axes[-1])
    return axes


def _draw(ax: Axes, panel: xr.Dataset, role: str, name: str) -> None:
    held = natural(panel, role).sel({role: name})
    time, values = held[held.dims[0]].to_numpy(), held.to_numpy()
    center = float(panel[nm.center_of(role)].sel({role: name}))
    ax.axhline(0.0 if values[~np.isnan(values)].min() <= 0 else center, color=PRIOR, linewidth=0.8)
    ax.plot(time, values, color=COLORS[role], linewidth=0.8)
    first = panel[nm.TIME].to_numpy()[0]
    if time[0] < first:
        ax.axvspan(time[0], first, color=PRIOR, alpha=0.3, linewidth=0)
    _ticks(ax, time[np.isnan(values)], 0.0)
    for start in _starts(panel)[1:]:
        ax.axvline(start, color="black", linewidth=0.6, linestyle=":")
    clean(ax)


def _ticks(ax: Axes, dates: np.ndarray, height: float) -> None:
    ax.plot(dates, np.full(len(dates), height), "|", color="black", markersize=6, transform=ax.get_xaxis_transform())


def _caption(ax: Axes, role: str, name: str, row: pd.Series) -> None:
    known = f", {row['close']}" if row["close"] else ""
    late = f", delay {row['delay']}" if row["delay"] != "0D" else ""
    missing = f", {row['missing']} missing" if row["missing"] else ""
    differ = f", closes on another day: {row['closes_differ']}" if row["closes_differ"] else ""
    text = f"{role} {name}: {row['transform']} of {row['column']}{known}{late}{missing}{differ}"
    ax.set_ylabel(str(row["transform"]).partition(" over ")[0])
    # A dollar sign is a currency here, not mathematics.
    ax.set_title("\n".join(textwrap.wrap(text, int(15 * ax.figure.get_figure(root=True).get_figwidth()))), loc="left")
    ax.title.set_parse_math(False)


def _starts(panel: xr.Dataset) -> np.ndarray:
    _, first = np.unique(panel[nm.EPISODE_INDEX].to_numpy(), return_index=True)
    return panel[nm.TIME].to_numpy()[first]


def _name_episodes(ax: Axes, panel: xr.Dataset) -> None:
    """Names of episodes at the top of the first axes, if there are several."""
    labels = [str(label) for label in panel[nm.EPISODE].to_numpy()]
    if len(labels) > 1:
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.25 * (high - low))
    for start, label in zip(_starts(panel), labels, strict=True) if len(labels) > 1 else ():
        ax.annotate(
            label,
            (date2num(start), 1.0),
            xycoords=ax.get_xaxis_transform(),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize="small",
        )
