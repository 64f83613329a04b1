"""Tables of a report: complete as CSV, and as shown on the page and in LaTeX."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from regimelag.model.latex import prior_in_words
from regimelag.panel.describe import describe_panel
from regimelag.results.drivers import LEAST_STEPS
from regimelag.results.gains import CLAIMED, FACTOR, HIGHER_SHARE, LEAST_SHARE, LOWER_SHARE
from regimelag.results.lag_report import DISAGREE
from regimelag.results.lags import INTERVAL
from regimelag.results.modes import modes
from regimelag.results.verdict import probability
from regimelag.sampling.diagnostics import interruption
from regimelag.sampling.inference_data import spec_of
from regimelag.spec import names as nm
from regimelag.spec.kernels import Point, RandomWalkKernel
from regimelag.spec.term import Parameter

LEVELS = (INTERVAL[0], 0.5, INTERVAL[1])
# From this size on numbers have one decimal and a thousands separator.
LARGE = 100
# First characters of a formula in spreadsheets.
FORMULA = ("=", "+", "-", "@")
LATEX = str.maketrans(
    {one: f"\\{one}" for one in "%&#_${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


class Table(NamedTuple):
    """A table: the complete frame, the part shown, and the caption."""

    frame: pd.DataFrame
    shown: pd.DataFrame
    caption: str


def number(value: Any) -> str:
    """Format a number to three digits, a date as ISO, a missing value as empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT:
        return ""
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    if isinstance(value, (bool, np.bool_, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}"
    return _minus(f"{float(value):,.1f}" if abs(value) >= LARGE else f"{float(value):.3g}")


def _minus(written: str) -> str:
    """Use a true minus sign, which does not break at the end of a line, and none before zero."""
    return re.sub(r"-(?=0\.?0*(?!\d|\.))", "", written).replace("-", "\N{MINUS SIGN}")


def interval(low: float, median: float, high: float) -> str:
    """A median with its interval, to three digits of the interval's width."""
    if not all(map(math.isfinite, (low, median, high))):
        return ""
    width = high - low
    decimals = 2 if width <= 0 else min(max(2 - math.floor(math.log10(width)), 0), 6)
    return _minus(f"{median:,.{decimals}f} ({low:,.{decimals}f} to {high:,.{decimals}f})")


def data_table(panel: xr.Dataset) -> Table:
    """Summary of the series of the panel."""
    frame = describe_panel(panel)
    kept = ["column", "transform", "delay", "close", "observations", "missing", "mean", "sd"]
    shown = frame[kept].map(number)
    shown["range"] = [f"{number(low)} to {number(high)}" for low, high in zip(frame["min"], frame["max"], strict=True)]
    return Table(frame, shown, "The series, in their own units, over the window.")


def lag_table(report: pd.DataFrame) -> Table:
    """The lag report: posterior, prior and information gain."""
    chances = [name for name in report["posterior"].columns if name.startswith("P(")]
    columns: dict[str, list[str]] = {}
    for group in ("posterior", "prior"):
        quantiles = report[group][["5 %", "median", "95 %"]].to_numpy(dtype=float)
        columns[group] = [interval(*map(float, row)) for row in quantiles]
    for name in chances:
        columns[name] = ["" if np.isnan(value) else probability(value) for value in report["posterior", name]]
    columns["nats"] = [number(value) for value in report["evidence", "nats"]]
    if ("evidence", "diagnosis") in report.columns:
        said = report["evidence", "diagnosis"]
        columns["sensitivity"] = [one if one == DISAGREE else "" for one in said]
    low, high = report.attrs["within"]
    caption = (
        "Effects (unit of the response per unit of the signal) and lags (periods of the panel): median and 90 % "
        f"interval, posterior beside prior; within: lags {low:g} to {high:g}; threshold: an effect of "
        f"{report.attrs['threshold']:g}. Nats: information gained on the quantity. Sensitivity: whether prior and data "
        "disagree on the effect or on the mean lag."
    )
    shown = pd.DataFrame(columns, index=report.index)
    alike: list[Hashable] = [dim for dim in (nm.RESPONSE, nm.REGIME, nm.EPISODE) if len(report.index.unique(dim)) == 1]
    return Table(report, shown.droplevel(alike), caption)


def regime_table(summary: pd.DataFrame) -> Table:
    """Volatility, mean, durations and shares of each regime; shares by year and drivers have places of their own."""
    kept = summary[summary["year"].isna() & (summary[nm.DRIVER] == "")]
    kept = kept.assign(value=[interval(*row) for row in kept[["5 %", "median", "95 %"]].itertuples(index=False)])
    index = [name for name in ("quantity", nm.RESPONSE, "unit") if len(kept[name].unique()) > 1]
    columns = [name for name in (nm.REGIME_PROCESS, nm.REGIME) if name in kept]
    index = [name for name in index if name != nm.RESPONSE] if len(columns) > 1 else index
    shown = kept.pivot_table(index=index, columns=columns, values="value", aggfunc="first", sort=False).fillna("")
    return Table(summary.set_index("quantity"), shown, "Regimes: median and 90 % interval.")


def volatility_table(summary: pd.DataFrame) -> Table:
    """Persistence and level of a conditional variance."""
    rows = [interval(*row) for row in summary[["5 %", "median", "95 %"]].to_numpy(dtype=float)]
    shown = pd.DataFrame({"median and 90 % interval": rows}, index=summary.index)
    return Table(summary, shown, "Conditional variance. Volatility per period; the half-life of a shock in periods.")


def gain_table(report: pd.DataFrame) -> Table:
    """The gain report: the difference between two ordered effects, its evidence, and what is claimed."""
    frame = report.set_index([nm.RESPONSE, nm.REGIME_PROCESS, nm.SIGNAL])
    shown = pd.DataFrame(
        {
            "gain": [interval(*row) for row in frame[["5 %", "median", "95 %"]].to_numpy(dtype=float)],
            FACTOR: frame[FACTOR].map(number),
            LOWER_SHARE: [f"{100 * value:.0f} %" for value in frame[LOWER_SHARE]],
            HIGHER_SHARE: [f"{100 * value:.0f} %" for value in frame[HIGHER_SHARE]],
            "claimed": ["yes" if claimed else "no" for claimed in frame[CLAIMED]],
        },
        index=frame.index,
    )
    caption = (
        "Gain: the lagged effect in the regime with the higher effect less that in the other, positive by "
        "construction; median and 90 % interval, in units of the response per unit of the signal. The Bayes factor is "
        "that of two effects against one. Shares: of the periods on sampled paths. A claim needs a Bayes factor of "
        f"{report.attrs['threshold']:g} and {100 * LEAST_SHARE:.0f} % of the periods in each regime."
    )
    return Table(frame, shown, caption)


def state_table(report: pd.DataFrame) -> Table:
    """The state report: effects in and out of each state, their difference, and what is claimed."""
    keys = [name for name in (nm.RESPONSE, nm.SIGNAL) if len(report[name].unique()) > 1]
    frame = report.set_index([*keys, nm.INDICATOR, "quantity"])
    shown = pd.DataFrame(
        {
            "effect": [interval(*row) for row in frame[["5 %", "median", "95 %"]].to_numpy(dtype=float)],
            "P(> 0)": [probability(value) for value in frame["P(> 0)"]],
            "share": [f"{100 * value:.0f} %" for value in frame["share"]],
            "claimed": [
                ("yes" if claimed else "no") if quantity == "contrast" else ""
                for claimed, quantity in zip(frame["claimed"], report["quantity"], strict=True)
            ],
        },
        index=frame.index,
    )
    caption = (
        "Lagged effect, averaged over the periods in which each indicator is 1, over those in which it is 0, and the "
        "difference: median and 90 % interval, in units of the response per unit of the signal. Share: of the periods "
        f"in which the indicator is 1. A claim needs one sign with probability {report.attrs['threshold']:.4g}."
    )
    return Table(report.set_index([nm.RESPONSE, nm.SIGNAL, nm.INDICATOR, "quantity"]), shown, caption)


def driver_claim_table(report: pd.DataFrame) -> Table:
    """The driver report: changes in log odds, and what is claimed."""
    keys = [name for name in (nm.RESPONSE, nm.REGIME_PROCESS, nm.DRIVER, "from", "to") if name in report]
    frame = report.set_index(keys if len(report[nm.RESPONSE].unique()) > 1 else keys[1:])
    shown = pd.DataFrame(
        {
            "change in log odds": [interval(*row) for row in frame[["5 %", "median", "95 %"]].to_numpy(dtype=float)],
            "P(> 0)": [probability(value) for value in frame["P(> 0)"]],
            "steps": [number(value) for value in frame["steps"]],
            "claimed": ["yes" if claimed else "no" for claimed in frame["claimed"]],
        },
        index=frame.index,
    )
    caption = (
        "Change in the log odds of each step between two regimes, against staying, for a driver that is one standard "
        "deviation higher: median and 90 % interval. Steps: of this kind on a sampled path, on average. A claim needs "
        f"one sign with probability {report.attrs['threshold']:.4g} and {LEAST_STEPS} steps each way."
    )
    return Table(report.set_index(keys), shown, caption)


def driver_table(changes: xr.Dataset) -> Table:
    """Effects of a move of each driver on each regime's probability, in percentage points; log odds in the CSV."""
    reference = changes.attrs["reference"]
    columns = {"next period": ("next_period", 100.0), "long run": ("long_run", 100.0)}
    columns[f"log odds against {reference}"] = ("log_odds", 1.0)
    others = [dim for dim in changes["log_odds"].dims if dim not in (nm.CHAIN, nm.DRAW)]
    index = pd.MultiIndex.from_product([changes[dim].to_numpy() for dim in others], names=others)
    frames, shown = {}, pd.DataFrame(index=index)
    for title, (name, unit) in columns.items():
        values = unit * changes[name]
        # Regimes of another process, and drivers that do not move the process, are missing in every draw.
        known = values.notnull().any((nm.CHAIN, nm.DRAW))  # noqa: PD004 - of xarray
        found = values.where(known, 0.0).quantile(LEVELS, (nm.CHAIN, nm.DRAW)).where(known)
        rows = found.transpose(*others, "quantile").to_numpy().reshape(len(index), len(LEVELS))
        frames[title] = pd.DataFrame(rows, index=index, columns=["5 %", "median", "95 %"])
        if name != "log_odds":
            shown[title] = [interval(*row) for row in rows]
    absent = shown["next period"].index[frames["next period"].isna().all(axis=1)]
    shown, frames = shown.drop(absent), {title: frame.drop(absent) for title, frame in frames.items()}
    sizes = changes["move"].to_series()
    moves = ", ".join(f"{driver} {number(size)}" for driver, size in sizes.items())
    caption = f"Effect of a move of each driver ({moves}, in the driver's own unit) on each regime: change in "
    caption += "probability in percentage points; median and 90 % interval."
    return Table(pd.concat(frames, axis=1), shown, caption)


def mode_table(idata: xr.DataTree) -> Table:
    """The catalogue of modes."""
    frame = modes(idata)
    shown = frame[["weight", "log_posterior", "starts", "draws", "kind"]].map(number)
    shown.columns = ["weight", "log posterior", "starts", "share of draws", "what differs from the first"]
    return Table(frame, shown, "Modes that the search found; weights by Laplace's approximation.")


def summary_table(idata: xr.DataTree) -> Table:
    """All parameters as ArviZ summarises them."""
    frame = az.summary(idata, var_names=_sampled(idata), ci_prob=INTERVAL[1] - INTERVAL[0], round_to="none")
    return Table(frame, frame.map(number), "All parameters, standardised units, by ArviZ.")


def _sampled(idata: xr.DataTree) -> list[str]:
    """Variables of the posterior, without raw deviations and variables with an entry per lag."""
    of_lags = {
        nm.lag_parameter(signal.name, "probability" if isinstance(signal.kernel, Point) else "innovation")
        for signal in spec_of(idata).lagged_signals
        if isinstance(signal.kernel, (Point, RandomWalkKernel))
    }
    names = map(str, idata["posterior"].data_vars)
    return [name for name in names if not name.endswith("_raw") and name not in of_lags]


def prior_table(parameters: Sequence[Parameter]) -> Table:
    """Free parameters and their priors."""
    rows = [(one.name, one.meaning, prior_in_words(one.prior)) for one in parameters]
    frame = pd.DataFrame(rows, columns=["parameter", "meaning", "prior"]).set_index("parameter")
    return Table(frame, frame, "Free parameters and their priors, in standardised units unless said.")


def provenance_table(idata: xr.DataTree) -> Table:
    """Provenance of the fit."""
    attrs, posterior = idata.attrs, idata["posterior"]
    settings = [name for name in ("nuts_sampler", "tune", "target_accept", "starts", "random_seed") if name in attrs]
    rows = {"made at": attrs["created_at"], "chains": posterior.sizes[nm.CHAIN], "draws": posterior.sizes[nm.DRAW]}
    if interruption(idata):
        rows["interrupted"] = interruption(idata)
    rows |= {name.replace("_", " "): attrs[name] for name in settings} | {"panel SHA-256": attrs["panel_sha256"]}
    rows |= {f"version of {name}": version for name, version in json.loads(attrs["versions"]).items()}
    frame = pd.DataFrame({"value": {name: str(value) for name, value in rows.items()}}).rename_axis("what")
    return Table(frame, frame, "How the fit came about.")


def judged_table(frame: pd.DataFrame, caption: str) -> Table:
    """Table of an evaluation, unchanged."""
    return Table(frame, frame.map(number), caption)


def write_tables(tables: Mapping[str, Table], folder: Path) -> None:
    """Write each table as CSV, complete, and as LaTeX, as shown."""
    folder.mkdir(parents=True)
    for name, table in tables.items():
        _flat(table.frame).to_csv(folder / f"{name}.csv", index=False)
        latex = _unindexed(table.shown).to_latex(
            index=False, escape=True, caption=escaped(table.caption), label=f"tab:{name}", position="ht"
        )
        (folder / f"{name}.tex").write_text(_ascii_minus(latex), encoding="utf-8")


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with one level of column names and no formulas, as any program reads it."""
    # Labels are columns here: the names of series are text too.
    plain = (frame.rename_axis("") if frame.index.names == [None] else frame).reset_index()
    names = [" ".join(map(str, one)).strip() if isinstance(one, tuple) else one for one in plain.columns]
    return plain.set_axis(list(map(_no_formula, names)), axis=1).map(_no_formula)


def _no_formula(cell: Any) -> Any:
    """A text on one line; one that spreadsheets would take for a formula, after an apostrophe."""
    if not isinstance(cell, str):
        return cell
    line = re.sub(r"[\r\n\t\0]+", " ", cell)
    return f"'{line}" if line.strip().startswith(FORMULA) else line


def escaped(words: str) -> str:
    """Text on one line with LaTeX's special characters escaped."""
    return " ".join(words.split()).translate(LATEX)


def to_html(table: Table) -> str:
    """Table as escaped HTML without a caption."""
    return _unindexed(table.shown).to_html(border=0, index=False, justify="left")


def _unindexed(shown: pd.DataFrame) -> pd.DataFrame:
    """The index as columns, with repeated labels blank, so that all column names are in one row."""
    plain = shown.reset_index()
    keys = list(shown.index)
    for level in range(shown.index.nlevels - 1):
        again = [n > 0 and keys[n][: level + 1] == keys[n - 1][: level + 1] for n in range(len(keys))]
        plain.iloc[:, level] = plain.iloc[:, level].mask(np.array(again), "")
    return plain.astype(str)


def _ascii_minus(latex: str) -> str:
    return latex.replace("\N{MINUS SIGN}", "$-$")
