"""Figures of evaluations: robustness, lead-lag correlations, event studies, comparison."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from regimelag.evaluation.comparison.elpd_difference import BETTER, INCONCLUSIVE, LEAST_NATS, LEAST_SE, REFERENCE, WORSE
from regimelag.evaluation.robustness.summary import BASELINE, LEAD, LEAVE_OUT, RIVAL
from regimelag.plots.common import (
    POSTERIOR,
    PRIOR,
    REGIME_COLORS,
    axes_or_grid,
    axes_or_new,
    draw_interval,
    finish,
    label_rows,
    require_reading,
)
from regimelag.plots.figure_style import styled
from regimelag.spec import names as nm
from regimelag.spec.model_spec import period_name

KINDS = {
    BASELINE: POSTERIOR,
    RIVAL: REGIME_COLORS[2],
    LEAVE_OUT: POSTERIOR,
    LEAD: REGIME_COLORS[3],
}
READINGS = {REFERENCE: "black", INCONCLUSIVE: "#7d7d7d", BETTER: REGIME_COLORS[3], WORSE: REGIME_COLORS[1]}


@styled
def plot_robustness(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the lagged effect of every robustness check beside the baseline's, with 90 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        From `robustness`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    require_reading(
        "plot_robustness", table, "robustness(spec, panel)", pd.DataFrame, lambda one: "effect median" in one.columns
    )
    made = table[table["effect median"].notna()]
    rows = pd.concat([made[made["kind"] == kind] for kind in KINDS])
    ax = axes_or_new(ax, 0.9 + 0.2 * len(rows))
    base = rows.iloc[0]
    label = "baseline's interval"
    ax.axvspan(base["effect 5 %"], base["effect 95 %"], color=POSTERIOR, alpha=0.08, linewidth=0, label=label)
    for y, (_, row) in enumerate(rows.iterrows()):
        quantiles = [row[f"effect {part}"] for part in ("5 %", "median", "95 %")]
        draw_interval(ax, y, quantiles, KINDS[row["kind"]], row["kind"])
    ax.axvline(0, color="black", linewidth=0.8)
    label_rows(ax, list(rows["check"]))
    ax.set(
        xlabel=f"lagged effect, {table.attrs.get('units', 'unit of the response per unit of the signal')}",
        title=f"{table.attrs.get(nm.SIGNAL, 'signal')}: lagged effect in every check, median and 90 % interval",
    )
    return finish(ax)


@styled
def plot_lead_lag(estimate: xr.Dataset, *, axes: Any = None) -> np.ndarray:
    """Draw correlations at all leads and lags with their band, and the lag of the largest one.

    Parameters
    ----------
    estimate : xarray.Dataset
        From `regimelag.evaluation.lead_lag`.
    axes : array of Axes, optional
        (adjustment, 2) axes to draw on.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (adjustment, 2): correlations with the simultaneous 95 % band; bootstrap distribution of the lag with the
        largest absolute correlation.
    """
    require_reading(
        "plot_lead_lag", estimate, "evaluation.lead_lag(panel)", xr.Dataset, lambda one: "adjustment" in one.dims
    )
    adjustments = [str(name) for name in estimate["adjustment"].to_numpy()]
    axes = axes_or_grid(axes, len(adjustments), 2, 2.4)
    unit = period_name(str(estimate.attrs.get("frequency", "")))
    signal, response = estimate.attrs[nm.SIGNAL], estimate.attrs[nm.RESPONSE]
    lag = estimate[nm.LAG].to_numpy()
    for (left, right), adjustment in zip(axes, adjustments, strict=True):
        one = estimate.sel(adjustment=adjustment)
        after = "" if adjustment == "none" else ", controls taken out"
        left.fill_between(lag, -one["band"], one["band"], color=PRIOR, alpha=0.5, linewidth=0, label="95 %, all lags")
        left.vlines(lag, 0, one["correlation"], color=POSTERIOR, linewidth=2)
        left.plot(lag, one["correlation"], "o", color=POSTERIOR, markersize=3.5, label="correlation")
        left.axhline(0, color="black", linewidth=0.8)
        left.set(ylabel="correlation", title=f"{signal} and {response}{after}")
        right.bar(lag, one["peak_probability"], color=POSTERIOR, width=0.9, label="bootstrap")
        said = "beyond the band" if bool(one["beyond_band"]) else "within the band: means nothing"
        right.axvline(int(one["peak_lag"]), color=REGIME_COLORS[1], label=f"largest, {said}")
        right.set(ylabel="probability", title="Lag of the largest correlation", ylim=(0, None))
        for ax in (left, right):
            ax.axvline(0, color="black", linewidth=0.5, linestyle=":")
            ax.set_xlabel(f"lag, {unit}; positive: {response} follows")
            finish(ax, below=True)
    return axes


@styled
def plot_event_study(study: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the paths around the events of an event study, their mean, and what unrelated events have.

    Parameters
    ----------
    study : xarray.Dataset
        From `event_study`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
        A thin line for each event; the mean path with its 95 % interval at each step; the mean path around all periods,
        with the band that the mean path of 95 % of unrelated events keeps within at all steps after the event.
    """
    require_reading(
        "plot_event_study", study, "evaluation.event_study(panel)", xr.Dataset, lambda one: "mean_path" in one
    )
    ax = axes_or_new(ax, 3.2)
    step, usual = study[nm.STEP].to_numpy(), study["unconditional"].to_numpy()
    unit = period_name(str(study.attrs.get("frequency", "")))
    count = study["path"].sizes["event"]
    for number, path in enumerate(study["path"].transpose("event", nm.STEP).to_numpy()):
        ax.plot(step, path, color=PRIOR, linewidth=0.7, alpha=0.8, label=None if number else "one event")
    ax.plot(step, usual, color="black", linewidth=1, linestyle="--", label="mean around all periods")
    for sign in (-1, 1):
        edge = usual + sign * study["band"].to_numpy()
        ax.plot(step, edge, color="black", linewidth=1, linestyle=":", label="95 % of unrelated events, all steps")
    ax.fill_between(
        step,
        usual + study["low"],
        usual + study["high"],
        color=POSTERIOR,
        alpha=0.18,
        linewidth=0,
        label="95 % interval",
    )
    ax.plot(step, study["mean_path"], color=POSTERIOR, linewidth=2.2, label=f"mean of {count} events")
    ax.axvline(0, color="black", linewidth=0.8)
    # The paths of single events may be far wider than their mean.
    edges = [usual + study[name] for name in ("low", "high")] + [usual + sign * study["band"] for sign in (-1, 1)]
    room = np.nanmax(edges) - np.nanmin(edges)
    ax.set(
        xlabel=f"{unit} after the event",
        ylabel=f"{study.attrs[nm.RESPONSE]}, sum since the event",
        title=f"{study.attrs[nm.RESPONSE]} around events of {study.attrs[nm.SIGNAL]}",
        xlim=(step[0], step[-1]),
        ylim=(np.nanmin(edges) - 0.1 * room, np.nanmax(edges) + 0.1 * room),
    )
    return finish(ax)


@styled
def plot_compare(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the difference in predictive density of each model from the reference.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`; with nulls, each model's gain over its own null.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
        Differences plus and minus two standard errors. Differences in the band are too small to be distinguished from
        zero.

    Raises
    ------
    FitError
        If the table is not from `compare`.
    """
    require_reading(
        "plot_compare",
        table,
        'compare({"lag": idata, "null": other})',
        pd.DataFrame,
        lambda one: "reading" in one.columns,
    )
    gains = "gain" in table.columns
    value = "gain" if gains else "difference"
    labels = [_with_differences(str(name), table, gains=gains) for name in table.index]
    height = 1.2 + sum(0.2 + 0.12 * (label.count("\n") + 1) for label in labels)
    ax = axes_or_new(ax, height)
    ax.axvspan(-LEAST_NATS, LEAST_NATS, color=PRIOR, alpha=0.35, linewidth=0, label=f"below {LEAST_NATS:g} nats")
    ax.axvline(0, color="black", linewidth=0.8)
    for y, (_, row) in enumerate(table.iterrows()):
        middle, reach = row[value], LEAST_SE * row[f"{value} se"]
        draw_interval(ax, y, [middle - reach, middle, middle + reach], READINGS[row["reading"]], row["reading"])
        if not gains:
            ax.annotate(f"{row['weight']:.2f}", (1.02, y), xycoords=("axes fraction", "data"), va="center")
    if not gains:
        ax.annotate("weight", (1.02, -0.75), xycoords=("axes fraction", "data"), va="center")
    against = "its own null" if gains else table.attrs.get("reference", "the reference")
    label_rows(ax, labels)
    ax.set(
        xlabel=f"nats; bars are {LEAST_SE:g} standard errors to either side",
        title=f"Expected log predictive density, less that of {against}",
    )
    return finish(ax, left=1.0 if gains else 1.1)


def _with_differences(name: str, table: pd.DataFrame, *, gains: bool) -> str:
    """Name of a model, followed by its differences from the reference or from its null."""
    words = ", ".join(table.attrs.get("differences", {}).get(name, []))
    return "\n".join([name, *textwrap.wrap(f"null: {words}" if gains else words, 44)]) if words else name
