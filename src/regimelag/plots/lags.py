"""Figures of lags and of the evidence for a lagged effect."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

from regimelag.plots.common import (
    POSTERIOR,
    PRIOR,
    SAMPLE,
    axes_or_grid,
    axes_or_new,
    color_of,
    finish,
    require_reading,
)
from regimelag.plots.figure_style import styled
from regimelag.spec import names as nm
from regimelag.spec.model_spec import period_name

NOT_COMPUTED = "not computable from this fit"
Entries = list[tuple[str, xr.Dataset]]


@styled
def plot_lag(lag: xr.Dataset, *, prior: xr.Dataset | None = None, axes: Any = None) -> np.ndarray:
    """Draw prior and posterior of the lag weights and of the mean lag.

    A point lag is drawn as probabilities of the lags and their cumulative sum. If the lag differs between episodes or
    regimes, each has a colour, and the prior is that of one of them.

    Parameters
    ----------
    lag : xarray.Dataset
        From `lag_distribution`.
    prior : xarray.Dataset, optional
        The same with ``group="prior"``.
    axes : array of Axes, optional
        (signal, 2) axes to draw on; with several responses, one pair per signal and response.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (signal, 2): weights with 50 % and 90 % bands, and a histogram of the mean lag in periods.
    """
    for one in (lag,) if prior is None else (lag, prior):
        require_reading("plot_lag", one, "lag_distribution(idata)", xr.Dataset, lambda read: "mean_lag" in read)
    pairs = _pairs(lag)
    unit = period_name(lag.attrs.get("frequency", ""))
    axes = axes_or_grid(axes, len(pairs), 2, 2.6)
    for pair, (name, at) in zip(axes, pairs, strict=True):
        one, before = lag.sel(at, drop=True), prior.sel(at, drop=True) if prior is not None else None
        draw, words = (_draw_point, _POINT_WORDS) if _is_point(one) else (_draw_weights, _WEIGHT_WORDS)
        draw(pair, _entries(one), before)
        for ax, (x, y, title) in zip(pair, words, strict=True):
            ax.set(xlabel=f"{x}, {unit}", ylabel=y, title=f"{name}: {title}")
            finish(ax, inside=_fits(ax))
    return axes


def _fits(ax: Axes) -> bool:
    """Whether a legend fits inside of the axes."""
    return ax.get_window_extent().width / ax.figure.dpi > 2.0  # noqa: PLR2004 - inches


_WEIGHT_WORDS = (("lag", "weight", "lag weights"), ("mean lag", "density", "mean lag"))
_POINT_WORDS = (("lag", "probability", "which lag"), ("lag", "probability", "this lag at most"))


def _pairs(lag: xr.Dataset) -> list[tuple[str, dict[str, str]]]:
    """Label and selection of each signal, and of each response if lags differ between responses."""
    signals = [str(name) for name in lag[nm.SIGNAL].to_numpy()]
    if nm.RESPONSE not in lag["weights"].dims:
        return [(signal, {nm.SIGNAL: signal}) for signal in signals]
    responses = [str(name) for name in lag[nm.RESPONSE].to_numpy()]
    return [
        (f"{signal} on {response}", {nm.SIGNAL: signal, nm.RESPONSE: response})
        for signal in signals
        for response in responses
    ]


def _is_point(one: xr.Dataset) -> bool:
    """Whether each draw has all weight on one lag."""
    return bool((one["weights"].max(nm.LAG) == 1).all())


def _entries(one: xr.Dataset) -> Entries:
    """Draws of each episode or regime if they differ; otherwise one entry."""
    weights = one["weights"]
    rest = [str(dim) for dim in weights.dims if dim not in (*SAMPLE, nm.LAG)]
    differing = [dim for dim in rest if bool((weights.max(dim) > weights.min(dim)).any())]
    one = one.isel({dim: 0 for dim in rest if dim not in differing}, drop=True)
    if not differing:
        return [("posterior", one)]
    labels = list(product(*(one[dim].to_numpy() for dim in differing)))
    return [(", ".join(map(str, at)), one.sel(dict(zip(differing, at, strict=True)))) for at in labels]


def _colors(entries: Entries) -> list[str]:
    many = [color_of(n) for n in range(len(entries))]
    return [POSTERIOR] if len(entries) == 1 else many


def _bands(ax: Axes, values: xr.DataArray, color: str, label: str, *, widest: float = 0.9) -> None:
    """Median over the lags with a 50 % band and the widest band."""
    tail = (1 - widest) / 2
    rest = [dim for dim in values.dims if dim != nm.LAG]
    low, lower, median, upper, high = values.quantile([tail, 0.25, 0.5, 0.75, 1 - tail], dim=rest).to_numpy()
    told = f"{100 * widest:.0f}" if widest == 0.5 else f"50 and {100 * widest:.0f}"  # noqa: PLR2004
    ax.fill_between(values[nm.LAG], low, high, color=color, alpha=0.2, linewidth=0)
    ax.fill_between(values[nm.LAG], lower, upper, color=color, alpha=0.35, linewidth=0)
    ax.plot(values[nm.LAG], median, color=color, label=f"{label}: median, {told} % bands")


@styled
def plot_prior(effects: xr.Dataset, lag: xr.Dataset | None = None, *, axes: Any = None) -> np.ndarray:
    """Draw the prior of each signal's lagged effect, its lag weights and its mean lag.

    Parameters
    ----------
    effects : xarray.Dataset
        From `effects` with ``group="prior"``.
    lag : xarray.Dataset, optional
        From `lag_distribution` with ``group="prior"``; without it only effects are drawn.
    axes : array of Axes, optional
        (signal, 3) axes to draw on, or (signal, 1) without `lag`; with lags by response, a row per signal and response.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        (signal, 3): a histogram of the lagged effect averaged over regimes and episodes, with the interval that has 90
        % of the prior; lag weights with 50 % and 90 % bands; and a histogram of the mean lag in periods.
    """
    require_reading("plot_prior", effects, 'effects(idata, group="prior")', xr.Dataset, lambda one: "lagged" in one)
    if lag is not None:
        made = 'effects(idata, group="prior"), lag_distribution(idata, group="prior")'
        require_reading("plot_prior", lag, made, xr.Dataset, lambda one: "mean_lag" in one)
    values = effects["lagged"].dropna(nm.SIGNAL, how="all")
    pairs = (
        _pairs(lag) if lag is not None else [(str(name), {nm.SIGNAL: name}) for name in values[nm.SIGNAL].to_numpy()]
    )
    axes = axes_or_grid(axes, len(pairs), 1 if lag is None else 3, 2.4)
    for ax, (name, at) in zip(axes[:, 0], pairs, strict=True):
        draws = values.sel({dim: label for dim, label in at.items() if dim in values.dims}).to_numpy().ravel()
        low, median, high = np.nanquantile(draws, [0.05, 0.5, 0.95])
        # Heavy tails would hide the rest.
        ax.hist(draws[np.abs(draws - median) <= 3 * (high - low)], 60, density=True, color=PRIOR, label="prior")
        for place in (low, high):
            ax.axvline(place, color=POSTERIOR, linewidth=1, linestyle="--", label=f"90 %: {low:.2g} to {high:.2g}")
        unit = effects.attrs.get("unit", "unit of the response per unit of the signal")
        ax.set(yticks=[], xlabel=unit, ylabel="density", title=f"{name}: lagged effect")
        finish(ax, inside=_fits(ax))
    if lag is not None:
        among = [dim for dim in (nm.EPISODE, nm.REGIME) if dim in lag["weights"].dims]
        plot_lag(lag.isel(dict.fromkeys(among, 0), drop=True), axes=axes[:, 1:])
        for ax in axes[:, 1:].ravel():
            for text in ax.get_legend().get_texts():
                text.set_text(text.get_text().replace("posterior", "prior"))
    return axes


def _draw_weights(pair: np.ndarray, entries: Entries, prior: xr.Dataset | None) -> None:
    """Bands of the weights, and histograms of the mean lag, as outlines if there are several."""
    weights_ax, mean_ax = pair
    size = entries[0][1].sizes[nm.LAG]
    bins = np.linspace(1, max(size, 2), min(2 * size, 60))
    several = len(entries) > 1
    style = {"histtype": "step", "linewidth": 1.8} if several else {"alpha": 0.6}
    if prior is not None:
        _bands(weights_ax, prior["weights"], PRIOR, "prior")
        mean_ax.hist(prior["mean_lag"].to_numpy().ravel(), bins, density=True, color=PRIOR, alpha=0.6, label="prior")
    for (label, one), color in zip(entries, _colors(entries), strict=True):
        # Overlapping 90 % bands are illegible.
        _bands(weights_ax, one["weights"], color, label, widest=0.5 if several else 0.9)
        mean_ax.hist(one["mean_lag"].to_numpy().ravel(), bins, density=True, color=color, label=label, **style)
    weights_ax.set(ylim=(0, None))
    mean_ax.yaxis.set_major_locator(MaxNLocator(3))


def _probability(one: xr.Dataset) -> xr.DataArray:
    """Probability of each lag: averaged over draws if available, otherwise the share of draws."""
    values = one["weights"]
    if "probability" in one and not np.isnan(one["probability"].to_numpy()).any():
        values = one["probability"]
    return values.mean([dim for dim in values.dims if dim != nm.LAG])


def _draw_point(pair: np.ndarray, entries: Entries, prior: xr.Dataset | None) -> None:
    """Bars of the probabilities, side by side if there are several, and cumulative sums."""
    read = [(label, _probability(one), color) for (label, one), color in zip(entries, _colors(entries), strict=True)]
    if prior is not None:
        before = _probability(prior)
        pair[0].bar(before[nm.LAG], before, 1.0, color=PRIOR, alpha=0.6, label="prior")
        pair[1].step(before[nm.LAG], before.cumsum(), where="post", color=PRIOR, linewidth=2, label="prior")
    width = 0.7 / len(read)
    for n, (label, masses, color) in enumerate(read):
        shift = (n - (len(read) - 1) / 2) * width
        pair[0].bar(masses[nm.LAG] + shift, masses, width, color=color, label=label)
        pair[1].step(masses[nm.LAG], masses.cumsum(), where="post", color=color, label=label)
    pair[1].set(ylim=(0, 1.02))


@styled
def plot_evidence(report: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the probability of no average lagged effect against the width of the slab.

    Slabs for which the draws of the fit are unreliable (Pareto k) have no point.

    Parameters
    ----------
    report : pandas.DataFrame
        From `lag_report`.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes
        One line per signal; a downward triangle where the probability is only an upper bound.
    """
    require_reading("plot_evidence", report, "lag_report(idata)", pd.DataFrame, lambda one: "no_effect" in one.attrs)
    ax = axes_or_new(ax, 2.4)
    widths: set[float] = set()
    for n, (signal, columns) in enumerate(report.attrs["no_effect"].items()):
        table = pd.DataFrame(columns).astype({"probability": float})
        known = table[table["probability"].notna()]
        absent = table.loc[table["probability"].isna(), "multiple"]
        if len(absent):
            ax.plot(absent, np.zeros(len(absent)), "x", color="black", markersize=4, clip_on=False, label=NOT_COMPUTED)
        marker = "v" if known["bound"].any() else "o"
        label = f"{signal}, at most" if known["bound"].any() else signal
        color = POSTERIOR if n == 0 else color_of(n)
        ax.plot(known["multiple"], known["probability"], marker=marker, color=color, label=label)
        widths |= set(table["multiple"])
    ax.axhline(0.5, color="black", linewidth=0.8, linestyle=":", label="prior probability")
    ax.set(
        xscale="log",
        xlabel="prior scale of the effect, multiples of the model's, log scale",
        ylabel="P(no average lagged effect)",
        xlim=(min(widths, default=1) / 1.2, max(widths, default=1) * 1.2),
        ylim=(-0.02, 1.02),
        title="Probability of no average lagged effect, prior odds one",
    )
    ax.xaxis.set_major_locator(FixedLocator(sorted(widths)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    return finish(ax, inside=True)
