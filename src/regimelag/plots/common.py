"""Colours, intervals, labels and checks shared by all figures."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.transforms import ScaledTranslation

from regimelag.errors import FitError
from regimelag.plots.figure_style import figure_width
from regimelag.spec import names as nm

# Colours that differ in lightness, for readers with any colour vision and for print in grey.
POSTERIOR, PRIOR, REGIME_COLORS = "#1b4965", "#b8b8b8", ("#8fb8de", "#c8553d", "#6a4c93", "#3d8361", "#e0a458")
SAMPLE = (nm.CHAIN, nm.DRAW)
# Width in inches below which a legend is placed below the axes, not beside them.
NARROW = 5.0
# Height in inches of such a legend.
LEGEND = 0.45


def clean(ax: Axes) -> Axes:
    """Remove the upper and right spines."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def of_one_process(asked: str, values: Any) -> Any:
    """The result of one regime process, without what is missing there; refuse that of several, since axes show one."""
    for dim, what in {nm.RESPONSE: "response", nm.REGIME_PROCESS: "regime process"}.items():
        if dim in values.dims:
            names = [str(name) for name in values[dim].to_numpy()]
            cure = f"select one, as in .sel({dim}={names[0]!r})"
            raise FitError(asked, f"one {what} is drawn at a time", f"several: {', '.join(names)}", cure)
    if nm.REGIME_PROCESS in values.coords:
        for dim in (nm.REGIME, nm.DRIVER):
            values = values.dropna(dim, how="all") if dim in values.dims else values
    return values


def require_reading(asked: str, value: object, maker: str, kind: type, holds: Callable[[Any], bool]) -> None:
    """Refuse a value that is not the result a figure draws, and name its function."""
    if isinstance(value, kind) and holds(value):
        return
    whole = "the fit itself" if isinstance(value, xr.DataTree) else f"a {type(value).__name__} of something else"
    came = whole if isinstance(value, (xr.DataTree, kind)) else f"a {type(value).__name__}"
    made = re.sub(r"(^|, )(?=[a-z_.]+\()", r"\1regimelag.", maker)
    rule = f"the argument is what {made.partition('(')[0]} returned"
    raise FitError(asked, rule, came, f"write regimelag.plots.{asked}({made})")


def color_of(place: int) -> str:
    """Color of a regime or another category, by its position."""
    return REGIME_COLORS[place % len(REGIME_COLORS)]


def axes_or_new(ax: Axes | None, height: float) -> Axes:
    """The given axes, or those of a new figure of this height in inches."""
    # A narrow figure has its legend below the axes.
    height += LEGEND if figure_width() < NARROW else 0.0
    if ax is None:
        return plt.subplots(figsize=(figure_width(), height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        cure = "leave ax out, or pass ax=plt.subplots()[1]"
        raise FitError("a figure", "ax is one Axes of Matplotlib", f"a {type(ax).__name__}", cure)
    return ax


def axes_or_grid(axes: Any, rows: int, columns: int, height: float) -> np.ndarray:
    """The given axes (row, column), or a new grid with rows of this height in inches; one column if it is narrow."""
    if axes is None:
        narrow = figure_width() < NARROW
        shape = (rows * columns, 1) if narrow else (rows, columns)
        size = (figure_width(), height * shape[0])
        _, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    return placed(axes, rows, columns)


def placed(axes: Any, rows: int, columns: int = 1) -> np.ndarray:
    """The given axes (row, column); refuse another number of them, and other objects."""
    given = np.asarray(axes, dtype=object).ravel()
    if len(given) != rows * columns or not all(isinstance(one, Axes) for one in given):
        came = f"{len(given)} of type {', '.join(sorted({type(one).__name__ for one in given}))}"
        cure = f"leave axes out, or pass axes=plt.subplots({rows}, {columns})[1]"
        raise FitError("a figure", f"axes are {rows * columns} Axes of Matplotlib", came, cure)
    return given.reshape(rows, columns)


def label_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Label rows 0, 1, ... of a figure from top to bottom; long labels are wrapped."""
    share = 0.35 if _inches(ax)[0] > NARROW else 0.45
    room = max(12, int(share * _inches(ax)[0] * 72 / (0.55 * plt.rcParams["font.size"])))
    wrapped = ["\n".join(textwrap.fill(line, room) for line in label.split("\n")) for label in labels]
    ax.set(yticks=range(len(labels)), yticklabels=wrapped, ylim=(len(labels) - 0.5, -0.5))


def label_dates(ax: Axes) -> None:
    """Label an axis of dates concisely, with as many labels as fit."""
    locator = AutoDateLocator(minticks=2, maxticks=max(5, int(1.3 * _inches(ax)[0])))
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def finish(ax: Axes, *, inside: bool = False, below: bool = False, left: float = 1.0, **options: Any) -> Axes:
    """Wrap title and labels to the size of the axes, and add a legend without duplicates.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes.
    inside : bool
        Whether to place the legend inside the axes; otherwise it is beside them.
    below : bool
        Whether to place it below the axes, as in any narrow figure.
    left : float
        Left edge of a legend beside the axes, in widths of the axes.
    **options
        Keywords of `matplotlib.axes.Axes.legend`.
    """
    width, height = _inches(ax)
    per_inch = 72 / (0.55 * plt.rcParams["font.size"])
    # Tick labels and a title need space outside of the axes.
    # Labels of rows take up to half of a narrow figure.
    rows = width < NARROW and ax.yaxis_inverted()
    across = (0.5 if rows else 0.8) * width
    tall = (0.45 if width < NARROW and not inside else 0.7) * height
    for text, size in ((ax.title, across), (ax.xaxis.label, across), (ax.yaxis.label, tall)):
        text.set_text(textwrap.fill(text.get_text(), max(12, int(per_inch * size))))
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    place: dict[str, Any] = {"frameon": False}
    if below or (width < NARROW and not inside):
        # Below the labels of the x axis for any height of the axes.
        lines = ax.get_xlabel().count("\n") + bool(ax.get_xlabel()) + 2
        offset = ScaledTranslation(0, -1.4 * lines * plt.rcParams["font.size"] / 72, ax.figure.dpi_scale_trans)
        # The handle of a legend column is about six letters wide.
        longest = max((len(label) for label in handles), default=0) + 6
        place |= {
            "ncols": 2 if 2 * longest < per_inch * across else 1,
            "loc": "upper center",
            "bbox_to_anchor": (0.5, 0.0),
            "bbox_transform": ax.transAxes + offset,
        }
    elif not inside:
        place |= {"loc": "upper left", "bbox_to_anchor": (left, 1.0)}
    clean(ax).legend(handles.values(), handles.keys(), **(place | options))
    return ax


def _inches(ax: Axes) -> tuple[float, float]:
    width, height = ax.figure.get_figure(root=True).get_size_inches()
    spec = ax.get_subplotspec()
    rows, columns = spec.get_gridspec().get_geometry() if spec else (1, 1)
    return width / columns, height / rows


def draw_interval(ax: Axes, y: float, quantiles: Sequence[float], color: str, label: str | None = None) -> None:
    """Draw a median at y with its 90 % interval, and its 50 % interval if there are five quantiles."""
    low, *inner, high = quantiles
    ax.plot([low, high], [y, y], color=color, linewidth=1.2 if len(inner) > 1 else 1.6)
    if len(inner) > 1:
        ax.plot([inner[0], inner[-1]], [y, y], color=color, linewidth=3.2)
    ax.plot([inner[len(inner) // 2]], [y], "o", color=color, markersize=4.5, label=label)


def draw_draws(ax: Axes, y: float, values: xr.DataArray, color: str, label: str | None = None) -> None:
    """Draw the median, 50 % and 90 % intervals of draws at y."""
    draw_interval(ax, y, np.nanquantile(values.to_numpy(), [0.05, 0.25, 0.5, 0.75, 0.95]).tolist(), color, label)
