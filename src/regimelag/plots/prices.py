"""Figure of the levels of responses and signals, with the probability of a regime behind them."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.dates import date2num
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from regimelag.errors import FitError
from regimelag.panel.aligned_series import combined, describe_columns
from regimelag.panel.checks import check_panel, panel_spec
from regimelag.panel.rows import LOGARITHMIC
from regimelag.panel.scenarios import level_columns, levels_of
from regimelag.panel.slicing import natural
from regimelag.plots.common import POSTERIOR, REGIME_COLORS, SAMPLE, clean, label_dates, placed, require_reading
from regimelag.plots.figure_style import figure_width, styled
from regimelag.runtime.plain import one_of
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.processes import carrier
from regimelag.spec.series import Series

# White to a light orange: black and dark blue lines stay readable on it, in print and for color-blind readers.
SHADE = LinearSegmentedColormap.from_list("shade", ["white", REGIME_COLORS[4]])
# Span of an axis, as a ratio, from which labels at powers of ten are enough.
DECADES = 30.0


class Level(NamedTuple):
    """Levels (row) of a series in the window, the label of their axis, and whether the axis is logarithmic."""

    values: np.ndarray
    label: str
    log: bool


@styled
def plot_prices(
    panel: xr.Dataset, probabilities: xr.DataArray | None = None, *, regime: str | None = None, axes: Any = None
) -> np.ndarray:
    """Draw the levels of responses and signals, with the probability of a regime shaded behind them.

    Parameters
    ----------
    panel : xarray.Dataset
        The panel of the fit, ``panel_of(idata)``.
    probabilities : xarray.DataArray, optional
        From `regime_probabilities`. Of several regime processes the one that carries the lagged effect is shown,
        otherwise the first; select another with ``.sel(regime_process=...)``. Without probabilities nothing is shaded.
    regime : str, optional
        The regime; by default the last one, such as the most volatile one or that with the largest effect.
    axes : array of Axes, optional
        One axes for each response and signal.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (series): responses first. Signals that are made of the same columns share one axes. Levels are on a log scale
        if the model has their log returns. If the panel does not hold the levels of a series, its log returns or
        differences are cumulated, and the label of the axis says so.

    Raises
    ------
    PanelError
        If the first argument is not a panel.
    FitError
        If axes are not one for each series, or the second argument is another result, of other dates, or has no regime
        of that name.
    """
    spec = panel_spec(panel, "plot_prices")
    check_panel(spec, panel)
    levels = list(_levels(spec, panel))
    if axes is None:
        size = (figure_width(), 0.6 + 1.5 * len(levels))
        _, axes = plt.subplots(len(levels), 1, figsize=size, sharex=True, layout="constrained", squeeze=False)
    axes = placed(axes, len(levels)).ravel()
    time = panel[nm.TIME].to_numpy()
    shown = None if probabilities is None else shown_probability(spec, panel, probabilities, regime)
    for ax, level in zip(axes, levels, strict=True):
        seen = np.isfinite(level.values)
        ax.plot(time[seen], level.values[seen], color=POSTERIOR, linewidth=1.1)
        ax.set_xlim(time[0], time[-1])
        # A dollar sign is a currency here, not mathematics.
        ax.set_ylabel(level.label, parse_math=False)
        if level.log:
            _log_scale(ax, level.values[seen])
        label_dates(ax)
        clean(ax)
    if shown is not None:
        _shade(axes, time, *shown)
    return axes


def _levels(spec: ModelSpec, panel: xr.Dataset) -> Any:
    """Levels of the responses, and of the signals once for each set of columns."""
    drawn = set()
    for role, members in ((nm.RESPONSE, spec.responses), (nm.SIGNAL, spec.signals)):
        for series in members:
            key = (role, series.columns[:1] if getattr(series, "beyond", "") else series.columns)
            if key not in drawn:
                drawn.add(key)
                yield _level(panel, role, series)


def _level(panel: xr.Dataset, role: str, series: Series) -> Level:
    rows, log = panel.sizes[nm.TIME], series.transform in LOGARITHMIC
    column = describe_columns(series, spell=str)
    own = (series.column, series.against) if series.against else (series.column,)
    legs = {name: (role, series.name, name) for name in own}
    if nm.LEVEL in panel.data_vars and {*legs.values()} <= {*level_columns(panel)}:
        values = combined(series, {name: levels_of(panel, leg) for name, leg in legs.items()})[-rows:]
        if np.isfinite(values).any():
            name = " / ".join(own) if log else " - ".join(own)
            return Level(values, f"{series.name}\n{name}{', log scale' if log else ''}", log)
    values = natural(panel, role).sel({role: series.name}).to_numpy()[-rows:]
    if series.transform == "log_return" and series.periods == 1:
        first = pd.Timestamp(panel[nm.TIME].to_numpy()[0]).date()
        label = f"{series.name}\nindex, {first} = 100, log scale"
        whole = np.where(np.isfinite(values), values, 0.0)
        return Level(100.0 * np.exp(np.cumsum(whole) - whole[0]), label, True)
    return Level(values, f"{series.name}\n{series.transform.replace('_', ' ')} of {column}", False)


def shown_probability(
    spec: ModelSpec, panel: xr.Dataset, probabilities: xr.DataArray, regime: str | None
) -> tuple[np.ndarray, str]:
    """Posterior probability (time) of the regime, and what it is in words."""
    asked = "plot_prices"
    require_reading(
        asked, probabilities, "panel, regime_probabilities(idata)", xr.DataArray, lambda one: nm.REGIME in one.dims
    )
    whose = ""
    for dim in (nm.REGIME_PROCESS, nm.RESPONSE):
        if dim in probabilities.dims:
            one = carrier(spec, "effect", 0) if dim == nm.REGIME_PROCESS else None
            names = [str(name) for name in probabilities[dim].to_numpy()]
            name = one.spec.name if one is not None and one.spec.name in names else names[0]
            probabilities = probabilities.sel({dim: name})
        if dim in probabilities.coords:
            what = "process" if dim == nm.REGIME_PROCESS else "response"
            whose = f" ({what} {probabilities[dim].item()})"
    probabilities = probabilities.dropna(nm.REGIME, how="all")
    regimes = [str(name) for name in probabilities[nm.REGIME].to_numpy()]
    regime = regimes[-1] if regime is None else one_of(FitError, asked, "regime", regime, regimes)
    if not np.array_equal(probabilities[nm.TIME].to_numpy(), panel[nm.TIME].to_numpy()):
        came = f"{probabilities.sizes[nm.TIME]} and {panel.sizes[nm.TIME]} rows, or other dates"
        cure = "pass panel_of(idata) and regime_probabilities(idata) of one fit"
        raise FitError(asked, "the probabilities are those of the panel's rows", came, cure)
    kind = probabilities.attrs.get("kind")
    mean = probabilities.sel({nm.REGIME: regime}).mean(SAMPLE).to_numpy()
    words = f"{str(kind).capitalize()} probability" if kind else "Probability"
    return mean, f'{words} of regime "{regime}"{whose}'


def _shade(axes: np.ndarray, time: np.ndarray, probability: np.ndarray, label: str) -> None:
    """Shade each row by a probability, and add a color bar."""
    days = date2num(time)
    half = np.diff(days) / 2 if len(days) > 1 else np.array([0.5])
    edges = np.concatenate([[days[0] - half[0]], days[:-1] + half, [days[-1] + half[-1]]])
    for ax in axes:
        limits = ax.get_ylim()
        # Rasterised, since vector graphics show seams between neighbouring cells.
        mesh = ax.pcolormesh(
            edges,
            [0.0, 1.0],
            probability[None],
            cmap=SHADE,
            norm=Normalize(0.0, 1.0),
            transform=ax.get_xaxis_transform(),
            zorder=0,
            rasterized=True,
        )
        ax.set_ylim(limits)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    bar = axes[0].figure.colorbar(mesh, ax=list(axes), location="top", aspect=45, pad=0.01, ticks=ticks)
    bar.set_label(label)


def _log_scale(ax: Axes, values: np.ndarray) -> None:
    """A log scale with labels without exponents, at 1, 2 and 5 if it spans few decades."""
    ax.set_yscale("log")
    few = values.max() / values.min() < DECADES
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
