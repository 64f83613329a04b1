"""Figure of the conditional standard deviation of a response."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes

from regimelag.plots.common import (
    POSTERIOR,
    SAMPLE,
    axes_or_new,
    finish,
    label_dates,
    of_one_process,
    require_reading,
)
from regimelag.plots.figure_style import styled
from regimelag.spec import names as nm


@styled
def plot_volatility(volatility: xr.DataArray, *, ax: Axes | None = None) -> Axes:
    """Draw the one-step-ahead standard deviation of a response: median and 90 % band over draws.

    Parameters
    ----------
    volatility : xarray.DataArray
        ``standard_deviation`` of `fitted`; select one of several responses.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    FitError
        If the result has several responses.
    """
    require_reading(
        "plot_volatility",
        volatility,
        'fitted(idata)["standard_deviation"]',
        xr.DataArray,
        lambda one: one.name == "standard_deviation",
    )
    if volatility.sizes.get(nm.RESPONSE) == 1:
        volatility = volatility.isel({nm.RESPONSE: 0})
    of_one_process("plot_volatility", volatility)
    whose = f" of {volatility[nm.RESPONSE].item()}" if nm.RESPONSE in volatility.coords else ""
    ax = axes_or_new(ax, 2.1)
    time = volatility[nm.TIME].to_numpy()
    ax.fill_between(time, *volatility.quantile([0.05, 0.95], SAMPLE), color=POSTERIOR, alpha=0.3, lw=0, label="90 %")
    ax.plot(time, volatility.median(SAMPLE), color=POSTERIOR, linewidth=1.0, label="median")
    unit = f", {volatility['unit'].item()}" if "unit" in volatility.coords else ""
    ax.set(xlim=(time[0], time[-1]), ylabel=f"standard deviation{unit}", title=f"Volatility{whose} one period ahead")
    ax.set_ylim(bottom=0.0)
    label_dates(ax)
    return finish(ax)
