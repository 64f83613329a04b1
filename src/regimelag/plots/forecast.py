"""Figures of forecasts and impulse responses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

from regimelag.errors import FitError
from regimelag.plots.common import (
    POSTERIOR,
    SAMPLE,
    axes_or_new,
    color_of,
    finish,
    label_dates,
    of_one_process,
    require_reading,
)
from regimelag.plots.figure_style import styled
from regimelag.spec import names as nm
from regimelag.spec.model_spec import period_name

# Ratio of the ends of a log axis from which on powers of ten label it.
FEW = 30.0
BANDS = ((0.05, 0.95), (0.25, 0.75))
SCENARIOS = {"held": "covariates held constant", "bootstrap": "covariates by block bootstrap"}


@styled
def plot_forecast(forecast: xr.Dataset, *, history: pd.Series | None = None, ax: Axes | None = None) -> Axes:
    """Draw a response's forecast path: median, 50 % and 90 % bands; prices on a log scale.

    Parameters
    ----------
    forecast : xarray.Dataset
        From `regimelag.forecast`; select one of several responses.
    history : Series (date), optional
        Past values, in the path's units; by default those that the forecast holds, over twice its horizon.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FitError
        If the forecast has several responses.
    """
    require_reading("plot_forecast", forecast, "forecast(idata)", xr.Dataset, lambda one: "path" in one)
    of_one_process("plot_forecast", forecast["path"])
    ax = axes_or_new(ax, 2.5)
    values, dates = forecast["path"], forecast["date"].to_numpy()
    _fan(ax, dates, values, "median")
    if history is None and "history" in forecast:
        history = forecast["history"].to_series().dropna()
    if history is not None and not isinstance(history, pd.Series):
        cure = 'leave history out, or pass a column by date, as in frame["btc_usd"]'
        raise FitError("plot_forecast", "history is a pandas.Series by date", f"a {type(history).__name__}", cure)
    if history is not None:
        ax.plot(history.index, history.to_numpy(), color="black", linewidth=1.0, label="observed")
    if float(values.min()) > 0:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        ax.yaxis.set_minor_formatter(_few_labels(ax))
    scenario = str(forecast.attrs["scenario"])
    name = str(forecast[nm.RESPONSE].item()) if nm.RESPONSE in forecast.coords else forecast.attrs.get("response", "")
    whose = f"{name}: forecast" if name else "Forecast"
    ax.set_title(f"{whose} from {forecast.attrs['origin']}, {SCENARIOS.get(scenario, 'covariates as given')}")
    # A dollar sign is a currency here, not mathematics.
    log = ", log scale" if ax.get_yscale() == "log" else ""
    ax.set_ylabel(f"{forecast['path_unit'].item()}{log}".replace(", level", ""), parse_math=False)
    label_dates(ax)
    return finish(ax)


def _fan(ax: Axes, x: np.ndarray, values: xr.DataArray, label: str) -> None:
    """Median and central bands of draws, which are the last dimension."""
    for (low, high), alpha in zip(BANDS, (0.2, 0.35), strict=True):
        edges = values.quantile([low, high], SAMPLE).to_numpy()
        ax.fill_between(x, *edges, color=POSTERIOR, alpha=alpha, linewidth=0, label=f"{100 * (high - low):.0f} %")
    ax.plot(x, values.median(SAMPLE), color=POSTERIOR, label=label)


def _few_labels(ax: Axes) -> Any:
    """Label minor ticks if the axis spans less than a decade, with few major ticks."""
    low, high = ax.get_ylim()
    if high / low > FEW:
        return NullFormatter()
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_minor_locator(NullLocator())
    return NullFormatter()


@styled
def plot_impulse(response: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw an impulse response with 50 % and 90 % bands, and its median from each initial regime.

    Parameters
    ----------
    response : xarray.Dataset
        From `impulse_response`; select one of several responses.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FitError
        If it has several responses.
    """
    require_reading(
        "plot_impulse",
        response,
        "evaluation.impulse_response(idata, shock=0.1)",
        xr.Dataset,
        lambda one: "averaged" in one,
    )
    of_one_process("plot_impulse", response["averaged"])
    ax = axes_or_new(ax, 2.5)
    step = response[nm.STEP].to_numpy()
    _fan(ax, step, response["averaged"], "from the regimes of the last period, median")
    # Starts that differ in regimes on which the response does not depend have one line.
    labels = [str(label) for label in response["regimes" if "regimes" in response.coords else "start"].to_numpy()]
    for n, label in enumerate(dict.fromkeys(labels)):
        median = response["cumulative"].isel(start=labels.index(label)).median(SAMPLE)
        # Dashes of different places: lines that coincide are all seen.
        dashes = (4 * n, (4, 4 * max(len(set(labels)) - 1, 1)))
        ax.plot(step, median, color=color_of(n + 1), linestyle=dashes, label=f"from {label}, median")
    ax.axhline(0, color="black", linewidth=0.8)
    rows, unit = response.attrs["shock_rows"], period_name(response.attrs["frequency"])
    over = "" if rows == 1 else f" in all, over {unit} 0 to {rows - 1}"
    title = f"Impulse response to {response.attrs['signal']}, {response.attrs['shock']:+.2g}{over}"
    if response.attrs["extrapolation"]:
        title += " (an extrapolation)"
    what = response["unit"].item() if "unit" in response.coords else "response"
    ax.set(xlim=(step[0], step[-1]), xlabel=f"{unit} after", ylabel=f"cumulative {what}", title=title)
    return finish(ax)
