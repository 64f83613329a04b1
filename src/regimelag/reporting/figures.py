"""Figures of a report, with their captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import arviz as az
import matplotlib.pyplot as plt
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from regimelag.plots.evaluation import plot_compare, plot_robustness
from regimelag.plots.forecast import plot_impulse
from regimelag.plots.lags import plot_evidence, plot_lag
from regimelag.plots.panel import plot_panel
from regimelag.plots.prices import plot_prices
from regimelag.plots.regimes import (
    plot_drivers,
    plot_durations,
    plot_effects,
    plot_regime_summary,
    plot_regimes,
    plot_shares,
)
from regimelag.plots.volatility import plot_volatility
from regimelag.results.regime_words import by_process
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

DOTS_PER_INCH = 130


class Drawn(NamedTuple):
    """A figure with its name and caption."""

    name: str
    caption: str
    figure: Any


def price_figures(panel: xr.Dataset, smoothed: xr.DataArray | None) -> Iterator[Drawn]:
    """Levels of responses and signals, with the smoothed probability of a regime behind them."""
    axes = plot_prices(panel, smoothed)
    caption = "Levels of responses and signals in the window."
    if smoothed is not None:
        # The label of the color bar, which names regime and process.
        label = axes[0].figure.axes[-1].get_xlabel()
        caption += f" Shaded: {label[:1].lower()}{label[1:]}, given all data."
    yield Drawn("prices", caption, axes[0].figure)


def data_figures(panel: xr.Dataset) -> Iterator[Drawn]:
    """Series of the panel."""
    caption = "The series of the model."
    caption += " Dotted lines separate episodes." if panel.sizes[nm.EPISODE] > 1 else ""
    caption += " Shaded: history for the lags." if panel.sizes[nm.SIGNAL_TIME] > panel.sizes[nm.TIME] else ""
    yield Drawn("inputs", caption, plot_panel(panel)[0].figure)


def lag_figures(spec: ModelSpec, readings: Mapping[str, Any]) -> Iterator[Drawn]:
    """Lags, evidence and effects."""
    if "lag" in readings:
        caption = "Lag weights with 50 and 90 % bands, and the mean lag"
        caption += "; of a point lag the probability of each lag, and of this lag at most" if spec.point_signals else ""
        apart = {nm.EPISODE, nm.REGIME} & set(readings["lag"]["weights"].dims)
        caption += f"; where the lag differs by {' and '.join(sorted(apart))}, 50 % bands alone" if apart else ""
        caption += ". The prior in grey behind them."
        yield Drawn("lag", caption, plot_lag(readings["lag"], prior=readings["prior_lag"])[0, 0].figure)
        caption = "Probability that the average lagged effect is zero against a normal slab, over the slab's width. "
        caption += "Deviations between regimes, episodes and responses remain possible under both hypotheses."
        yield Drawn("evidence", caption, plot_evidence(readings["report"]).figure)
    if "effects" in readings:
        caption = "Effects with 50 and 90 % intervals; the prior in grey below each."
        yield Drawn("effects", caption, plot_effects(readings["effects"], prior=readings["prior_effects"]).figure)


def impulse_figures(impulses: Mapping[str, xr.Dataset]) -> Iterator[Drawn]:
    """Impulse responses, by the label of signal and state; one figure for each response."""
    for label, found in impulses.items():
        for whose, one in by_response(found):
            caption = (
                f"Impulse response{_of(whose)} to {label}, one standard deviation: median, 50 and 90 % bands from "
            )
            caption += "the regimes of the last period, and medians from each regime."
            tail = _tail(" ".join(filter(None, (label, whose))))
            yield Drawn(f"impulse{tail}", caption, plot_impulse(one).figure)


def by_response(values: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Name and result of each of several responses; the name is empty if there is one."""
    if nm.RESPONSE not in values.dims:
        yield "", values
        return
    for name in values[nm.RESPONSE].to_numpy():
        yield str(name), values.sel({nm.RESPONSE: name})


def regime_figures(readings: Mapping[str, Any], path: xr.DataArray | None) -> Iterator[Drawn]:
    """Regime probabilities, summary, shares by year and durations."""
    for kind, what in (
        ("filtered", "given the data up to each row and parameters learned on all rows"),
        ("smoothed", "given all data"),
    ):
        for whose, one in by_process(readings[kind]):
            caption = f"Probability of each regime{_of(whose)}, {what}."
            caption += " The strip on top is the true regime." if path is not None else ""
            true = dict(by_process(path)).get(whose) if path is not None else None
            yield Drawn(f"regimes_{kind}{_tail(whose)}", caption, plot_regimes(one, path=true).figure)
    caption = "Volatility and mean of each regime: medians and 90 % intervals."
    yield Drawn("regime_summary", caption, plot_regime_summary(readings["regime_summary"])[0].figure)
    caption = (
        "Share of each regime in each year. A regime that fills some years and is absent from others coincides with "
    )
    caption += "a calendar period. Medians and 90 % intervals."
    yield Drawn("shares", caption, plot_shares(readings["regime_summary"]).figure)
    for whose, one in by_process(readings["durations"]):
        caption = f"Durations of the regimes{_of(whose)}."
        yield Drawn(f"durations{_tail(whose)}", caption, plot_durations(one).figure)


def volatility_figures(volatility: xr.DataArray) -> Iterator[Drawn]:
    """Conditional standard deviation."""
    caption = (
        "Standard deviation of the response one period ahead, given the rows before, in the unit of the response; "
    )
    caption += "parameters are learned on all rows. Median and 90 % band."
    yield Drawn("volatility", caption, plot_volatility(volatility).figure)


def driver_figures(readings: Mapping[str, Any]) -> Iterator[Drawn]:
    """Effects of the drivers."""
    for whose, one in by_process(readings["drivers"]):
        if not one.sizes[nm.REGIME]:
            # No driver moves this process.
            continue
        regime = str(one[nm.REGIME].to_numpy()[-1])
        caption = f"Change in the probability of the regime {regime}{_of(whose)} for a move of each driver."
        yield Drawn(f"drivers{_tail(whose)}", caption, plot_drivers(one).figure)


def check_figures(pit: xr.DataArray, robustness: pd.DataFrame | None) -> Iterator[Drawn]:
    """One-step-ahead calibration, and robustness checks."""
    responses = [str(name) for name in pit[nm.RESPONSE].to_numpy()]
    for response in responses:
        tail = _tail(response) if len(responses) > 1 else ""
        caption = f"One-step-ahead probability integral transform of {response}: its distribution function less the "
        caption += "uniform one, and the p-value of a test of uniformity; values that speak against it are marked."
        yield Drawn(f"calibration{tail}", caption, _calibration(pit.sel({nm.RESPONSE: response})))
    if robustness is not None:
        caption = "The lagged effect in every check; the shaded band is the baseline's interval."
        yield Drawn("robustness", caption, plot_robustness(robustness).figure)


def comparison_figures(comparison: pd.DataFrame) -> Iterator[Drawn]:
    """Comparison of models."""
    yield Drawn("comparison", "Differences in expected log predictive density.", plot_compare(comparison).figure)


def _calibration(pit: xr.DataArray) -> Figure:
    values = xr.DataArray(pit.dropna(nm.TIME).to_numpy(), dims=[nm.DRAW], name=str(pit[nm.RESPONSE].item()))
    tree = xr.DataTree.from_dict({"/pit": values.to_dataset()})
    plots = az.plot_ecdf_pit(tree, group="pit", sample_dims=[nm.DRAW], figure_kwargs={"figsize": (8, 3)})
    figure = plots.viz["figure"].item()
    for ax in figure.axes:
        ax.set(xlabel="probability given to a smaller value", ylabel="share of rows below, less that")
    figure.set_layout_engine("constrained")
    return figure


def _of(whose: str) -> str:
    return f" of {whose}" if whose else ""


def _tail(whose: str) -> str:
    """Suffix of a file name."""
    kept = "".join(letter if letter.isalnum() else "_" for letter in whose)
    return f"_{kept}" if kept else ""


def write_figures(figures: list[Drawn], folder: Path) -> dict[str, bytes]:
    """Write each figure as PNG and PDF, and close it.

    Returns
    -------
    dict of str to bytes
        The PNG of each figure.
    """
    folder.mkdir(parents=True)
    try:
        for drawn in figures:
            drawn.figure.savefig(folder / f"{drawn.name}.png", dpi=DOTS_PER_INCH)
            drawn.figure.savefig(folder / f"{drawn.name}.pdf")
    finally:
        for drawn in figures:
            plt.close(drawn.figure)
    return {drawn.name: (folder / f"{drawn.name}.png").read_bytes() for drawn in figures}
