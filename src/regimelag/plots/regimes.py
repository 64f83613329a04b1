"""Figures of effects, drivers, regimes and durations."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.dates import date2num
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from regimelag.errors import FitError
from regimelag.plots.common import (
    NARROW,
    POSTERIOR,
    PRIOR,
    REGIME_COLORS,
    SAMPLE,
    axes_or_new,
    clean,
    color_of,
    draw_draws,
    draw_interval,
    finish,
    label_dates,
    label_rows,
    of_one_process,
    placed,
    require_reading,
)
from regimelag.plots.figure_style import figure_width, styled
from regimelag.runtime.plain import MOST_ROWS, one_of, whole
from regimelag.runtime.result_table import OF_SAMPLE
from regimelag.spec import names as nm
from regimelag.spec.model_spec import period_name


@styled
def plot_regimes(probabilities: xr.DataArray, *, path: xr.DataArray | None = None, ax: Axes | None = None) -> Axes:
    """Draw regime probabilities over time, stacked to one.

    Parameters
    ----------
    probabilities : xarray.DataArray
        From `regime_probabilities`.
    path : xarray.DataArray, optional
        True regimes (time) of simulated data, drawn as a strip at the top.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    require_reading(
        "plot_regimes", probabilities, "regime_probabilities(idata)", xr.DataArray, lambda one: nm.REGIME in one.dims
    )
    probabilities = of_one_process("plot_regimes", probabilities)
    if path is not None and not (
        isinstance(path, xr.DataArray) and path.sizes == {nm.TIME: probabilities.sizes[nm.TIME]}
    ):
        cure = "leave path out, or pass a simulated panel's, panel['regime_path']"
        raise FitError("plot_regimes", "path is a regime for each row (time)", f"a {type(path).__name__}", cure)
    ax = axes_or_new(ax, 2.1)
    mean = probabilities.mean(SAMPLE)
    regimes = [str(name) for name in mean[nm.REGIME].to_numpy()]
    colors = [color_of(n) for n in range(len(regimes))]
    time = mean[nm.TIME].to_numpy()
    ax.stackplot(time, mean.transpose(nm.REGIME, nm.TIME).to_numpy(), labels=regimes, colors=colors, linewidth=0)
    top = 1.0
    if path is not None:
        top = 1.08
        for n, color in enumerate(colors):
            ax.fill_between(time, 1.03, top, where=path.to_numpy() == n, color=color, step="mid", linewidth=0)
        ax.annotate("true regime", (time[0], top), xytext=(0, 2), textcoords="offset points", fontsize="small")
    kind = str(probabilities.attrs.get("kind", "")).capitalize()
    ax.set(ylim=(0, top), xlim=(time[0], time[-1]), ylabel="probability", yticks=[0, 0.5, 1])
    label_dates(ax)
    ax.set_title(f"{kind} regime probabilities".strip(), pad=14 if path is not None else 6)
    return finish(ax)


@styled
def plot_effects(effects: xr.Dataset, *, prior: xr.Dataset | None = None, ax: Axes | None = None) -> Axes:
    """Draw every effect of the signals with 50 % and 90 % intervals, posterior above prior.

    Parameters
    ----------
    effects : xarray.Dataset
        From `effects`.
    prior : xarray.Dataset, optional
        The same with ``group="prior"``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    kinds = {"contemporaneous", "lagged", "lagged_over_sample", nm.CONTROL_EFFECT}
    require_reading("plot_effects", effects, "effects(idata)", xr.Dataset, lambda one: not kinds.isdisjoint(one))
    if prior is not None:
        maker = 'effects(idata), prior=effects(idata, group="prior")'
        require_reading("plot_effects", prior, maker, xr.Dataset, lambda one: not kinds.isdisjoint(one))
    rows = list(_effect_rows(effects))
    before = dict(_effect_rows(prior)) if prior is not None else {}
    ax = axes_or_new(ax, 0.8 + 0.3 * len(rows))
    for n, (label, values) in enumerate(rows):
        if label in before:
            draw_draws(ax, n + 0.22, before[label], PRIOR, "prior")
        draw_draws(ax, n, values, POSTERIOR, "posterior")
    ax.axvline(0, color="black", linewidth=0.8)
    label_rows(ax, [label for label, _ in rows])
    _limit(ax, rows)
    unit = effects.attrs.get("unit", "unit of the response per unit of the signal")
    ax.set(xlabel=f"effect, {unit}", title="Effects: median, 50 and 90 % intervals")
    return finish(ax)


def _limit(ax: Axes, rows: list[tuple[str, xr.DataArray]]) -> None:
    """Limit the axis to the posterior with space beside it, and mark intervals of the prior that reach beyond."""
    ends = [np.nanquantile(values.to_numpy(), [0.05, 0.95]) for _, values in rows]
    low, high = min(0.0, *(end[0] for end in ends)), max(0.0, *(end[1] for end in ends))
    room = 0.2 * (high - low)
    held = ax.get_xlim()
    left, right = max(low - room, held[0]), min(high + room, held[1])
    for line in ax.get_lines():
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        if line.get_color() == PRIOR and len(x) == 2:  # noqa: PLR2004
            if min(x) < left:
                ax.plot(left, y[0], marker="<", color=PRIOR, markersize=4, clip_on=False)
            if max(x) > right:
                ax.plot(right, y[0], marker=">", color=PRIOR, markersize=4, clip_on=False)
    ax.set_xlim(left, right)


def _effect_rows(effects: xr.Dataset) -> Any:
    names = {
        "contemporaneous": "{} same period",
        "lagged": "{} lagged",
        "lagged_over_sample": "{} lagged, average over the sample",
        "lagged_by_regime": "{} lagged, {}",
        "lagged_by_episode": "{} lagged, {}",
    }
    for name, label in names.items():
        if name not in effects:
            continue
        rest = [dim for dim in effects[name].dims if dim not in (*SAMPLE, nm.SIGNAL, nm.RESPONSE)]
        if rest and effects.sizes[rest[0]] == 1:
            continue
        if name == "lagged_over_sample" and effects.sizes.get(nm.REGIME) == effects.sizes.get(nm.EPISODE) == 1:
            continue
        for whose, one in _by_signal(effects[name]):
            if np.isnan(one.to_numpy()).all():
                continue
            for entry in one[rest[0]].to_numpy() if rest else [None]:
                values = one if entry is None else one.sel({rest[0]: entry})
                yield label.format(whose, entry), values


def _by_signal(values: xr.DataArray) -> Any:
    for signal in values[nm.SIGNAL].to_numpy():
        one = values.sel({nm.SIGNAL: signal})
        if nm.RESPONSE not in one.dims:
            yield signal, one
            continue
        for response in one[nm.RESPONSE].to_numpy():
            yield f"{signal} on {response}", one.sel({nm.RESPONSE: response})


@styled
def plot_drivers(changes: xr.Dataset, *, regime: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the effect of a change in each driver on the probability of a regime.

    Parameters
    ----------
    changes : xarray.Dataset
        From `driver_effects`.
    regime : str, optional
        The regime; by default the most volatile one.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    require_reading("plot_drivers", changes, "driver_effects(idata)", xr.Dataset, lambda one: "long_run" in one)
    changes = of_one_process("plot_drivers", changes)
    regimes = [str(name) for name in changes[nm.REGIME].to_numpy()]
    regime = regimes[-1] if regime is None else one_of(FitError, "plot_drivers", "regime", regime, regimes)
    drivers = [str(name) for name in changes[nm.DRIVER].to_numpy()]
    ax = axes_or_new(ax, 0.9 + 0.5 * len(drivers))
    for n, driver in enumerate(drivers):
        one = changes.sel({nm.DRIVER: driver, nm.REGIME: regime})
        draw_draws(ax, n - 0.13, 100 * one["next_period"], REGIME_COLORS[0], "next period")
        draw_draws(ax, n + 0.13, 100 * one["long_run"], POSTERIOR, "long run, if it stays")
    sizes = [float(changes["move"].sel({nm.DRIVER: driver})) for driver in drivers]
    ax.axvline(0, color="black", linewidth=0.8)
    units = changes["unit"].to_series().to_dict() if "unit" in changes.coords else {}
    moves = [f"{driver} {size:+.2g}" for driver, size in zip(drivers, sizes, strict=True)]
    label_rows(ax, [f"{move}\n{units[driver]}" if units else move for move, driver in zip(moves, drivers, strict=True)])
    what = "change in probability, percentage points (median, 50 and 90 % intervals)"
    ax.set(xlabel=what, title=f"Effect of each driver on the {regime} regime")
    return finish(ax)


@styled
def plot_paths(paths: xr.DataArray, *, most: int = 100, ax: Axes | None = None) -> Axes:
    """Draw sampled regime paths, one line each. Vertical edges show certain regime changes.

    Parameters
    ----------
    paths : xarray.DataArray
        From `regime_paths`.
    most : int
        Maximum number of paths, spread evenly over the draws.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    require_reading(
        "plot_paths", paths, "results.regime_paths(idata)", xr.DataArray, lambda one: "regimes" in one.attrs
    )
    paths = of_one_process("plot_paths", paths)
    most = whole(FitError, "plot_paths", "most", most, "write most=100", most=MOST_ROWS)
    ax = axes_or_new(ax, 2.1)
    names = paths.attrs.get("regimes_by_process")
    regimes = list(names[str(paths[nm.REGIME_PROCESS].item())] if names else paths.attrs["regimes"])
    rows = paths.transpose(*SAMPLE, nm.TIME).to_numpy().reshape(-1, paths.sizes[nm.TIME])
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
    colors = ListedColormap([color_of(n) for n in range(len(regimes))])
    time = paths[nm.TIME].to_numpy()
    extent = (*date2num(time[[0, -1]]), len(rows), 0)
    ax.imshow(
        rows, aspect="auto", extent=extent, cmap=colors, vmin=-0.5, vmax=len(regimes) - 0.5, interpolation="nearest"
    )
    ax.xaxis_date()
    label_dates(ax)
    ax.set(ylabel="sampled path", title="Regime paths")
    for n, name in enumerate(regimes):
        ax.add_patch(Rectangle((0, 0), 0, 0, color=colors(n), label=name))
    return finish(ax)


@styled
def plot_durations(durations: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the durations of regimes: mean on sampled paths, and expectation with drivers at their mean.

    Parameters
    ----------
    durations : xarray.Dataset
        From `regime_durations`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    require_reading(
        "plot_durations", durations, "results.regime_durations(idata)", xr.Dataset, lambda one: "mean_duration" in one
    )
    durations = of_one_process("plot_durations", durations)
    regimes = [str(name) for name in durations[nm.REGIME].to_numpy()]
    ax = axes_or_new(ax, 0.9 + 0.5 * len(regimes))
    for n, regime in enumerate(regimes):
        one = durations.sel({nm.REGIME: regime})
        draw_draws(ax, n - 0.13, one["mean_duration"], POSTERIOR, "mean spell, drivers as they were")
        if "expected_duration" in one:
            draw_draws(ax, n + 0.13, one["expected_duration"], REGIME_COLORS[0], "expected, drivers at their mean")
    label_rows(ax, regimes)
    unit = period_name(str(durations.attrs.get("frequency", "")))
    ax.set(xlabel=f"{unit}, log scale (median, 50 and 90 % intervals)", xscale="log", title="Duration of regimes")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    return finish(ax)


def _has(summary: pd.DataFrame, quantity: str) -> bool:
    return "quantity" in summary.columns and bool((summary["quantity"] == quantity).any())


@styled
def plot_regime_summary(summary: pd.DataFrame, *, axes: Any = None) -> np.ndarray:
    """Draw volatility and mean of each regime with 90 % intervals.

    Parameters
    ----------
    summary : pandas.DataFrame
        From `regime_summary`.
    axes : array of Axes, optional
        Two axes to draw on.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (2): volatility, mean.
    """
    require_reading(
        "plot_regime_summary", summary, "regime_summary(idata)", pd.DataFrame, lambda one: _has(one, "volatility")
    )
    regimes = list(summary[nm.REGIME].unique())
    parts = [summary[summary["quantity"] == quantity] for quantity in ("volatility", "mean")]
    several = len(parts[0][nm.RESPONSE].unique()) > 1
    if axes is None:
        _, axes = plt.subplots(
            1, 2, figsize=(figure_width(), 0.9 + 0.28 * len(parts[0])), sharey=True, layout="constrained"
        )
    axes = placed(axes, 1, 2)[0]
    for ax, part in zip(axes, parts, strict=True):
        labels = []
        for n, (_, row) in enumerate(part.iterrows()):
            color = color_of(regimes.index(row[nm.REGIME]))
            draw_interval(ax, n, [row[name] for name in ("5 %", "median", "95 %")], color)
            labels.append(f"{row[nm.REGIME]}, {row[nm.RESPONSE]}" if several else row[nm.REGIME])
        label_rows(ax, labels)
        ax.set(
            xlabel=f"{', '.join(part['unit'].unique())}\n(median, 90 % interval)",
            title=f"{part['quantity'].iloc[0].capitalize()} of each regime",
        )
        clean(ax)
    axes[1].axvline(0, color="black", linewidth=0.8)
    return axes


@styled
def plot_shares(summary: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the share of each regime in each year.

    Parameters
    ----------
    summary : pandas.DataFrame
        From `regime_summary`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
    """
    require_reading(
        "plot_shares", summary, "regime_summary(idata)", pd.DataFrame, lambda one: _has(one, "share of the year")
    )
    ax = axes_or_new(ax, 2.1)
    shares = summary[summary["quantity"] == "share of the year"]
    keys = [name for name in (nm.REGIME_PROCESS, nm.REGIME) if name in shares]
    several = nm.REGIME_PROCESS not in keys and len(shares[nm.RESPONSE].unique()) > 1
    regimes = shares[keys].drop_duplicates().to_numpy().tolist()
    # The shares of two regimes add up to one.
    names = [regime[-1] for regime in regimes]
    drawn = regimes[-1:] if len(regimes) == 2 and len(keys) == 1 else regimes  # noqa: PLR2004
    for n, regime in enumerate(drawn):
        part = shares[(shares[keys] == regime).all(axis=1)]
        x = np.arange(len(part)) + (n - (len(drawn) - 1) / 2) * 0.8 / len(drawn)
        color, label = color_of(names.index(regime[-1])), ", ".join(map(str, regime[::-1]))
        errors = np.abs(part[["5 %", "95 %"]].to_numpy().T - part["median"].to_numpy())
        ax.bar(x, part["median"], 0.8 / len(drawn), color=color, label=f"{label}, median")
        ax.errorbar(x, part["median"], errors, fmt="none", ecolor="black", elinewidth=0.8, label="90 % interval")
    labels = [f"{row.year}, {row.response}" if several else str(row.year) for row in part.itertuples()]
    # The first and the last year may be a few periods.
    sample = f", {summary.attrs[OF_SAMPLE].partition(', ')[2]}" if summary.attrs.get(OF_SAMPLE) else ""
    ax.set(xticks=range(len(labels)), xticklabels=labels, ylim=(0, 1), title=f"Regimes{sample}")
    ax.set_ylabel("share of the year's periods")
    ax.tick_params(axis="x", rotation=90 if several or figure_width() < NARROW else 0)
    return finish(ax)
