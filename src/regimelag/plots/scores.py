"""Figures of forecast scores, simulation-based calibration, and the modes of a posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from regimelag.evaluation.calibration.rank_table import LEVEL, RANKS, sbc_columns, sbc_table
from regimelag.evaluation.calibration.uniformity import ecdf_band
from regimelag.plots.common import (
    POSTERIOR,
    PRIOR,
    REGIME_COLORS,
    axes_or_grid,
    axes_or_new,
    color_of,
    finish,
    label_dates,
    label_rows,
    require_reading,
)
from regimelag.plots.figure_style import styled
from regimelag.spec import names as nm

# Number of intervals at whose edges the band of PIT values is evaluated.
PIT_BINS = 50
# Least weight, or share of the draws, of a mode that is drawn.
SHOWN = 0.001


@styled
def plot_backtest(table: pd.DataFrame, *, axes: Any = None) -> np.ndarray:
    """Draw the gain of each forecaster over the random walk and the coverage of its 90 % band, by horizon.

    Parameters
    ----------
    table : pandas.DataFrame
        From `regimelag.evaluation.backtest_table`.
    axes : array of Axes, optional
        (response, 2) axes to draw on.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (response, 2): gain in log score per origin, in nats, and coverage; both with 90 % intervals.
    """
    require_reading(
        "plot_backtest", table, "evaluation.backtest_table(scores)", pd.DataFrame, lambda one: "gain low" in one.columns
    )
    responses = table.index.unique("response")
    axes = axes_or_grid(axes, len(responses), 2, 2.4)
    for pair, response in zip(axes, responses, strict=True):
        one = table.xs(response, level="response")
        horizons, forecasters = list(one.index.unique("horizon")), list(one.index.unique("forecaster"))
        for ax, what in zip(pair, ("gain", "90 %"), strict=True):
            for n, forecaster in enumerate(forecasters):
                part = one.xs(forecaster, level="forecaster")
                x = np.array([horizons.index(horizon) for horizon in part.index]) + 0.12 * (
                    n - (len(forecasters) - 1) / 2
                )
                ax.vlines(x, part[f"{what} low"], part[f"{what} high"], color=color_of(n), linewidth=1.5)
                ax.plot(x, part[what], "o", color=color_of(n), markersize=5, label=str(forecaster))
            ax.axhline(0.0 if what == "gain" else 0.9, color="black", linewidth=0.8)
            ax.set(xticks=range(len(horizons)), xticklabels=horizons, xlabel="horizon, periods of the panel")
            ax.set(title=f"{response}: {'log score' if what == 'gain' else '90 % band'}")
        pair[0].set_ylabel("gain over the random walk, nats")
        pair[1].set_ylabel("share of values inside")
        for ax in pair:
            finish(ax, inside=ax is pair[0])
        pair[0].get_legend().remove()
    return axes


@styled
def plot_score(scores: xr.Dataset, *, axes: Any = None) -> np.ndarray:
    """Draw the log score of each new period, and the distribution of the PIT values.

    Parameters
    ----------
    scores : xarray.Dataset
        From `regimelag.evaluation.score`.
    axes : array of Axes, optional
        Two axes to draw on.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (2): log scores with their mean; for each response the empirical distribution function of its PIT values minus
        the uniform one, as in `plot_pit`.
    """
    require_reading("plot_score", scores, "evaluation.score(idata, panel)", xr.Dataset, lambda one: "log_score" in one)
    axes = axes_or_grid(axes, 1, 2, 2.4)[0]
    axes[0].plot(scores[nm.TIME], scores["log_score"], "o", color=POSTERIOR, markersize=3.5, label="one period")
    axes[0].axhline(scores.attrs["mean_log_score"], color=REGIME_COLORS[1], label="mean")
    axes[0].set(ylabel="nats", title="Log score, one step ahead")
    label_dates(axes[0])
    finish(axes[0], inside=True)
    plot_pit(scores["pit"], ax=axes[1])
    return axes


@styled
def plot_pit(pit: xr.DataArray, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of PIT values against the uniform one, with a simultaneous 95 % band.

    Parameters
    ----------
    pit : xarray.DataArray
        PIT values (time, response): from ``residuals(idata, kind="pit")``, or ``pit`` of `regimelag.evaluation.score`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
        For each response the share of values below each probability, minus that probability. Of a calibrated model the
        line is inside the band at all points with probability 0.95. A line above zero on the left and below on the
        right: the predicted distributions are too narrow.
    """
    require_reading("plot_pit", pit, 'residuals(idata, kind="pit")', xr.DataArray, lambda one: one.name == "pit")
    ax = axes_or_new(ax, 2.4)
    pit = pit.expand_dims(nm.RESPONSE) if nm.RESPONSE not in pit.dims else pit
    points, low, high = ecdf_band(int(pit.count(nm.TIME).min()), bins=PIT_BINS, level=0.05)
    ax.fill_between(points, low - points, high - points, color=PRIOR, alpha=0.4, linewidth=0, label="95 % band")
    for n, response in enumerate(pit[nm.RESPONSE].to_numpy()):
        values = np.sort(pit.sel({nm.RESPONSE: response}).dropna(nm.TIME).to_numpy())
        # Value of the step function just before and at each point.
        x = np.concatenate([[0.0], np.repeat(values, 2), [1.0]])
        below = np.repeat(np.arange(len(values) + 1) / len(values), 2)
        ax.plot(x, below - x, color=color_of(n) if n else POSTERIOR, label=str(response))
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(xlabel="predicted probability (PIT)", ylabel="observed share minus predicted", xlim=(0, 1))
    ax.set_title("Calibration one step ahead")
    return finish(ax)


@styled
def plot_modes(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the weight of each mode beside its share of the posterior draws.

    Parameters
    ----------
    table : pandas.DataFrame
        From `modes`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
        One row per mode with a weight or a share of draws of 0.001 at least, in the table's order; the number of others
        is in the label of the axis. Modes that the search did not find have draws but no weight.
    """
    require_reading("plot_modes", table, "modes(idata)", pd.DataFrame, lambda one: "log_posterior" in one.columns)
    shown = table[(table[["weight", "draws"]] >= SHOWN).any(axis=1)]
    ax = axes_or_new(ax, 0.9 + 0.4 * len(shown))
    rows = np.arange(len(shown))
    ax.barh(rows - 0.2, shown["weight"], 0.38, color=PRIOR, label="weight by Laplace's approximation")
    ax.barh(rows + 0.2, shown["draws"], 0.38, color=POSTERIOR, label="share of the draws")
    starts = [f"{count} {'start' if count == 1 else 'starts'}" for count in shown["starts"]]
    label_rows(ax, [f"mode {name}, {count}" for name, count in zip(shown.index, starts, strict=True)])
    rest = len(table) - len(shown)
    more = f"; {rest} more {'mode has' if rest == 1 else 'modes have'} less than {SHOWN:g} of both" if rest else ""
    ax.set(xlim=(0, 1), xlabel=f"share{more}", title="Modes of the posterior")
    return finish(ax)


@styled
def plot_sbc(tree: xr.DataTree, *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the ranks of all quantities against the uniform one.

    Parameters
    ----------
    tree : xarray.DataTree
        From `regimelag.evaluation.sbc`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
        For each quantity the empirical distribution function of its ranks minus the uniform one. The band is that of
        `regimelag.evaluation.sbc_table`, adjusted for the number of quantities: for a calibrated model all lines are in
        it in 95 of 100 studies. Quantities that are not calibrated are coloured.
    """
    require_reading("plot_sbc", tree, "evaluation.sbc(spec, panel)", xr.DataTree, lambda one: RANKS in one.children)
    table, columns = sbc_table(tree), sbc_columns(tree)
    ax = axes_or_new(ax, 2.4)
    ranked = len(next(iter(columns.values())))
    points, low, high = ecdf_band(ranked, bins=100, level=LEVEL / len(columns))
    ax.fill_between(points, low - points, high - points, color=PRIOR, alpha=0.4, linewidth=0, label="95 % band")
    bad = list(table.index[table["verdict"] != "calibrated"])
    for name, ranks in columns.items():
        below = (ranks[:, None] <= points).mean(axis=0) - points
        color = color_of(1 + bad.index(name)) if name in bad else POSTERIOR
        width, label = (1.5, name) if name in bad else (0.6, "calibrated")
        ax.plot(points, below, color=color, linewidth=width, label=label)
    ax.set(xlim=(0, 1), xlabel="rank of the truth, scaled", ylabel="share below, less rank")
    ax.set_title(f"Ranks of {len(columns)} quantities in {ranked} simulations")
    return finish(ax)
