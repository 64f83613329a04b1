"""Figure of a screen of many pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from regimelag.plots.common import axes_or_new, require_reading
from regimelag.plots.figure_style import styled


@styled
def plot_screen(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the median lagged effect of every pair as a heat map, with claimed pairs framed.

    Parameters
    ----------
    table : pandas.DataFrame
        From `screen`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
        Signals in rows and responses in columns; pairs without a fit are gray.
    """
    maker = "evaluation.screen(spec, frame, responses=..., signals=...)"
    require_reading("plot_screen", table, maker, pd.DataFrame, lambda one: {"claimed", "signal"} <= set(one.columns))
    rows, columns = (list(dict.fromkeys(sorted(table[name]))) for name in ("signal", "response"))
    places = pd.MultiIndex.from_product((rows, columns))
    effects = table.set_index(["signal", "response"])["effect median"].reindex(places)
    median = effects.to_numpy().reshape(len(rows), len(columns))
    ax = axes_or_new(ax, 1.4 + 0.28 * len(rows))
    reach = max(float(np.nanmax(np.abs(median), initial=0.0)), 1e-12)
    image = ax.imshow(median, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto")
    ax.set_facecolor("#e6e6e6")
    claimed = set(table.loc[table["claimed"], ["signal", "response"]].itertuples(index=False, name=None))
    for y, signal in enumerate(rows):
        for x, response in enumerate(columns):
            if np.isfinite(value := median[y, x]):
                shade = "white" if abs(value) > 0.6 * reach else "black"
                ax.text(x, y, f"{value:.2f}", ha="center", va="center", color=shade, fontsize="small")
            if (signal, response) in claimed:
                ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2))
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xlabel("response")
    ax.set_ylabel("signal")
    ax.set_title("Median lagged effect; framed: claimed")
    ax.figure.colorbar(image, ax=ax, label="median effect")
    return ax
