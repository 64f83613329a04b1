"""Figures of a report, with their captions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from regimelag.panel.checks import panel_spec
from regimelag.plots.evaluation import plot_compare, plot_robustness
from regimelag.plots.figure_style import style
from regimelag.plots.forecast import plot_impulse
from regimelag.plots.lags import plot_evidence, plot_lag
from regimelag.plots.panel import plot_panel
from regimelag.plots.prices import plot_prices, shown_probability
from regimelag.plots.regimes import (
    plot_drivers,
    plot_durations,
    plot_effects,
    plot_regime_summary,
    plot_regimes,
    plot_shares,
)
from regimelag.plots.scores import plot_pit
from regimelag.plots.volatility import plot_volatility
from regimelag.results.regime_words import by_process
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec, period_name

DOTS_PER_INCH = 160


class Drawn(NamedTuple):
    """A figure with its name and caption.

    Attributes
    ----------
    name : str
        Name of its files.
    caption : str
        What it shows.
    draw : callable
        Draws it and returns one of its axes, or an array of them.
    hover : callable, optional
        Values to show under the pointer, from the drawn axes: `Panel` by `Panel`.
    """

    name: str
    caption: str
    draw: Callable[[], Any]
    hover: Callable[[np.ndarray], list[Panel]] | None = None


class Panel(NamedTuple):
    """Values along the x axis of axes: places as in the data, their labels, and values by name."""

    ax: Axes
    x: np.ndarray
    labels: list[str]
    series: dict[str, np.ndarray]


class Picture(NamedTuple):
    """A written figure: PNGs for a wide and a narrow page, and the values under the pointer as JSON."""

    wide: bytes
    narrow: bytes
    hover: str


def price_figures(panel: xr.Dataset, smoothed: xr.DataArray | None) -> Iterator[Drawn]:
    """Levels of responses and signals, with the smoothed probability of a regime behind them."""
    names = [str(name) for role in (nm.RESPONSE, nm.SIGNAL) for name in panel[role].to_numpy()]
    caption, shade = f"{_listed(names)}: levels.", None
    if smoothed is not None:
        shade, label = shown_probability(panel_spec(panel, "report"), panel, smoothed, None)
        caption += f" Shaded: {label[:1].lower()}{label[1:]}, given all data."

    def hover(axes: np.ndarray) -> list[Panel]:
        return [_along_price(ax, panel[nm.TIME].to_numpy(), shade) for ax in axes]

    yield Drawn("prices", caption, lambda: plot_prices(panel, smoothed), hover)


def _along_price(ax: Axes, time: np.ndarray, shade: np.ndarray | None) -> Panel:
    dates, values = (np.asarray(part) for part in ax.lines[0].get_data())
    whole = xr.DataArray(values, coords={"time": dates.astype(time.dtype)}, dims="time").reindex(time=time).to_numpy()
    series = {ax.get_ylabel().partition("\n")[0]: whole} | ({"probability": shade} if shade is not None else {})
    return _over_time(ax, time, series)


def _over_time(ax: Axes, time: np.ndarray, series: dict[str, np.ndarray]) -> Panel:
    return Panel(ax, date2num(time), [str(day) for day in time.astype("datetime64[D]")], series)


def data_figures(panel: xr.Dataset) -> Iterator[Drawn]:
    """Series of the panel."""
    caption = "The series of the model, in their own units."
    caption += " Dotted lines separate episodes." if panel.sizes[nm.EPISODE] > 1 else ""
    caption += " Shaded: history for the lags." if panel.sizes[nm.SIGNAL_TIME] > panel.sizes[nm.TIME] else ""
    yield Drawn("inputs", caption, lambda: plot_panel(panel))


def lag_figures(spec: ModelSpec, readings: Mapping[str, Any]) -> Iterator[Drawn]:
    """Lags, evidence and effects."""
    pairs = f"{_listed([one.name for one in spec.signals])} on {_listed([one.name for one in spec.responses])}"
    if "lag" in readings:
        lag, before = readings["lag"], readings["prior_lag"]
        caption = f"Effect of {pairs}: lag weights, and the mean lag"
        caption += "; of a point lag the probability of each lag, and of this lag at most" if spec.point_signals else ""
        apart = {nm.EPISODE, nm.REGIME} & set(lag["weights"].dims)
        caption += f"; where the lag differs by {' and '.join(sorted(apart))}, 50 % bands alone" if apart else ""
        caption += ". Medians are of each lag by itself, and need not sum to one. The prior in grey."
        yield Drawn("lag", caption, lambda: plot_lag(lag, prior=before), lambda axes: _along_lags(axes, lag))
        caption = (
            f"Effect of {pairs}: probability that the average lagged effect is zero, against a normal prior, over "
        )
        caption += "the scale of that prior. "
        caption += "Deviations between regimes, episodes and responses remain possible under both hypotheses."
        yield Drawn("evidence", caption, lambda: plot_evidence(readings["report"]))
    if "effects" in readings:
        caption = f"Effect of {pairs}, with 50 and 90 % intervals; the prior in grey below each, with arrows where it "
        caption += "reaches beyond the axis."
        yield Drawn("effects", caption, lambda: plot_effects(readings["effects"], prior=readings["prior_effects"]))


def _along_lags(axes: np.ndarray, lag: xr.Dataset) -> list[Panel]:
    """Quantiles of the weights of the first signal, if it has one lag distribution."""
    weights = lag["weights"].isel({nm.SIGNAL: 0})
    if set(weights.dims) != {nm.CHAIN, nm.DRAW, nm.LAG}:
        return []
    low, median, high = weights.quantile([0.05, 0.5, 0.95], (nm.CHAIN, nm.DRAW)).to_numpy()
    x = weights[nm.LAG].to_numpy()
    unit = period_name(str(lag.attrs.get("frequency", "")))
    series = {"median weight": median, "5 %": low, "95 %": high}
    return [Panel(axes.ravel()[0], x.astype(float), [f"{unit}: {one}" for one in x], series)]


def impulse_figures(impulses: Mapping[str, xr.Dataset]) -> Iterator[Drawn]:
    """Impulse responses, by the label of signal and state; one figure for each response."""
    for label, found in impulses.items():
        for whose, one in by_response(found):
            caption = (
                f"Impulse response{_of(whose)} to {label}, one standard deviation: median, 50 and 90 % bands from "
            )
            caption += "the regimes of the last period, and medians from each regime."
            tail = _tail(" ".join(filter(None, (label, whose))))
            yield Drawn(f"impulse{tail}", caption, partial(plot_impulse, one))


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
        ("filtered", "given the data up to each period and parameters learned on all periods"),
        ("smoothed", "given all data"),
    ):
        for whose, one in by_process(readings[kind]):
            caption = f"Probability of each regime{_of(whose)}, {what}."
            caption += " The strip on top is the true regime." if path is not None else ""
            true = dict(by_process(path)).get(whose) if path is not None else None
            draw, hover = partial(plot_regimes, one, path=true), partial(_along_regimes, one)
            yield Drawn(f"regimes_{kind}{_tail(whose)}", caption, draw, hover)
    caption = "Volatility and mean of each regime: medians and 90 % intervals."
    yield Drawn("regime_summary", caption, lambda: plot_regime_summary(readings["regime_summary"]))
    caption = (
        "Share of each regime in each year. A regime that fills some years and is absent from others coincides with "
    )
    caption += "a calendar period. Medians and 90 % intervals."
    yield Drawn("shares", caption, lambda: plot_shares(readings["regime_summary"]))
    for whose, one in by_process(readings["durations"]):
        caption = f"Durations of the regimes{_of(whose)}."
        yield Drawn(f"durations{_tail(whose)}", caption, partial(plot_durations, one))


def _along_regimes(probabilities: xr.DataArray, axes: np.ndarray) -> list[Panel]:
    mean = probabilities.mean((nm.CHAIN, nm.DRAW))
    series = {str(name): mean.sel({nm.REGIME: name}).to_numpy() for name in mean[nm.REGIME].to_numpy()}
    return [_over_time(axes.ravel()[0], mean[nm.TIME].to_numpy(), series)]


def volatility_figures(volatility: xr.DataArray) -> Iterator[Drawn]:
    """Conditional standard deviation."""
    caption = (
        "Standard deviation of the response one period ahead, given the rows before, in the unit of the response; "
    )
    caption += "parameters are learned on all rows. Median and 90 % band."
    yield Drawn("volatility", caption, lambda: plot_volatility(volatility))


def driver_figures(readings: Mapping[str, Any]) -> Iterator[Drawn]:
    """Effects of the drivers."""
    for whose, one in by_process(readings["drivers"]):
        if not one.sizes[nm.REGIME]:
            # No driver moves this process.
            continue
        regime = str(one[nm.REGIME].to_numpy()[-1])
        caption = f"Change in the probability of the regime {regime}{_of(whose)} for a move of each driver."
        yield Drawn(f"drivers{_tail(whose)}", caption, partial(plot_drivers, one))


def check_figures(pit: xr.DataArray, robustness: pd.DataFrame | None) -> Iterator[Drawn]:
    """One-step-ahead calibration, and robustness checks."""
    responses = [str(name) for name in pit[nm.RESPONSE].to_numpy()]
    for response in responses:
        tail = _tail(response) if len(responses) > 1 else ""
        caption = f"One-step-ahead forecasts of {response}: the share of observed values below each predicted "
        caption += "probability (PIT), minus that probability, with the band of a calibrated model."
        yield Drawn(f"calibration{tail}", caption, partial(plot_pit, pit.sel({nm.RESPONSE: response}).rename("pit")))
    if robustness is not None:
        caption = "The lagged effect in every check; the shaded band is the baseline's interval."
        yield Drawn("robustness", caption, lambda: plot_robustness(robustness))


def comparison_figures(comparison: pd.DataFrame) -> Iterator[Drawn]:
    """Comparison of models."""
    yield Drawn("comparison", "Differences in expected log predictive density.", lambda: plot_compare(comparison))


def _listed(names: list[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def _of(whose: str) -> str:
    return f" of {whose}" if whose else ""


def _tail(whose: str) -> str:
    """Suffix of a file name."""
    kept = "".join(letter if letter.isalnum() else "_" for letter in whose)
    return f"_{kept}" if kept else ""


def write_figures(figures: list[Drawn], folder: Path, tell: Callable[[int, int], None]) -> dict[str, Picture]:
    """Write each figure as PNG and PDF for the page and, with ``_column`` in its name, for a column of a paper.

    `tell` takes the number of figures that are written, and of all.
    """
    folder.mkdir(parents=True)
    widths: tuple[Literal["page", "column"], ...] = ("page", "column")
    made: dict[str, Picture] = {}
    for drawn in figures:
        tell(len(made), len(figures))
        pictures, panels = [], []
        for width in widths:
            name = drawn.name if width == "page" else f"{drawn.name}_column"
            with style(width):
                axes = np.asarray(drawn.draw(), dtype=object).ravel()
                figure = axes[0].figure
                try:
                    _save(figure, folder / name)
                    panels.append(drawn.hover(axes) if drawn.hover else [])
                finally:
                    plt.close(figure)
            pictures.append((folder / f"{name}.png").read_bytes())
        hover = json.dumps(_under_pointer(*panels)) if panels[0] else ""
        made[drawn.name] = Picture(pictures[0], pictures[1], hover)
    tell(len(made), len(figures))
    return made


def _save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and PDF. `Figure.savefig` would draw it twice for each, first for its layout alone."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DOTS_PER_INCH)
    canvas.print_png(path.with_suffix(".png"))
    # The layout is that of the PNG.
    figure.set_layout_engine("none")
    # Parts of a PDF that are rasterised have the resolution of the style.
    figure.set_dpi(plt.rcParams["savefig.dpi"])
    FigureCanvasPdf(figure).print_pdf(path.with_suffix(".pdf"))


def _under_pointer(wide: list[Panel], narrow: list[Panel]) -> list[dict[str, Any]]:
    """Boxes of axes in parts of both pictures, from the top left, and places along them, with labels and values."""
    found = []
    for one, other in zip(wide, narrow, strict=True):
        low, high = one.ax.get_xlim()
        places = (one.x - low) / (high - low)
        boxes = [part.ax.get_position() for part in (one, other)]
        found.append(
            {
                "boxes": [[round(v, 4) for v in (box.x0, 1 - box.y1, box.width, box.height)] for box in boxes],
                "x": [round(float(place), 4) for place in places],
                "labels": one.labels,
                "series": {name: [_short(value) for value in values] for name, values in one.series.items()},
            }
        )
    return found


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
