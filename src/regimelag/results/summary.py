"""`summary`: the answer of a fit in a few lines, and one table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
import xarray as xr

from regimelag.results.decision import decision_threshold
from regimelag.results.drivers import driver_report, drivers_in_short
from regimelag.results.lag_report import ALL, EFFECT, MEAN_LAG, OVER_SAMPLE, lag_report
from regimelag.results.regime_words import regimes_now
from regimelag.results.regimes import regime_probabilities, regime_summary
from regimelag.results.tables import QUANTILES, lag_table, places_of
from regimelag.results.units import ELASTICITY
from regimelag.results.view import View
from regimelag.runtime.number_format import fixed, interval, probability
from regimelag.runtime.result_table import OF_SAMPLE, Shown, as_html, printed, wrapped
from regimelag.spec import names as nm

# Rows of the lag report that the summary leaves out.
LEFT_OUT = ("median lag", "peak lag", OVER_SAMPLE)


@dataclass(frozen=True)
class Summary:
    """The answer of a fit, as `summary` returns it; it prints within 100 columns.

    Attributes
    ----------
    answer : list of str
        Whether there is a lagged effect, its size and lag, drivers, the regime now, and convergence.
    table : pandas.DataFrame
        The main quantities as text: median, 90 % interval, P(> 0), and the prior's interval.
    notes : list of str
        Warnings to read before the numbers are quoted.
    caption : str
        What the table is of, its units and sample.
    """

    answer: list[str]
    table: pd.DataFrame
    notes: list[str]
    caption: str

    def __str__(self) -> str:
        warned = wrapped([f"Warning: {note}" for note in self.notes])
        parts = [wrapped(self.answer), printed(Shown(self.table, self.caption)), warned]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said, warned = (
            f"<ul>{''.join(f'<li>{html.escape(sentence)}</li>' for sentence in some)}</ul>" if some else ""
            for some in (self.answer, [f"Warning: {note}" for note in self.notes])
        )
        return f"{said}{as_html(Shown(self.table, self.caption))}{warned}"


def summary(idata: xr.DataTree, *, within: tuple[float, float] | None = None) -> Summary:
    """Summarise a fit: the answer in a few sentences, one table of its main quantities, and warnings.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    within : (float, float), optional
        Range of lags in periods, as in `lag_report`.

    Returns
    -------
    Summary
        Print it, or display it in a notebook.

    See Also
    --------
    lag_report : all quantities, and the verdict at length.
    report : a page with figures and tables.
    """
    view = View.of(idata)
    report = view.read(lag_report, within=within)
    rows = [*_lags(report), *_regimes(view), *_drivers(view)]
    units = report.attrs["units"]
    caption = f"Model {view.spec.name}: posterior median and equal-tailed 90 % interval, and the prior's. Sample: "
    caption += f"{report.attrs[OF_SAMPLE]}."
    if len(report) and units["effect"] != ELASTICITY:
        caption += f" Unit of effects: {units['effect']}."
    table = pd.DataFrame(rows, columns=["quantity", "median", "90 %", "P(> 0)", "prior 90 %"], dtype=str)
    return Summary(list(_answer(view, report)), table, list(report.attrs["notes"]), caption)


def _answer(view: View, report: pd.DataFrame) -> Iterator[str]:
    spec, problems = view.spec, view.diagnostics[1:]
    threshold = decision_threshold(max(len(spec.lagged_signals) * len(spec.responses), 1))
    claimed = report.attrs["claimed"]
    pairs = [(one.name, signal.name) for one in spec.responses for signal in spec.lagged_signals]
    of = dict(zip(claimed, pairs, strict=True))
    for name, said in report.attrs["verdict"].items():
        yield f"{said.partition('. ')[0].rstrip('.')}."
        if name in of and not problems:
            yield from _sizes(report, of[name], threshold, claimed=bool(claimed[name]))
    if not report.attrs["verdict"]:
        yield "The model has no signal with a lag."
    if not problems:
        if spec.transition_drivers:
            yield drivers_in_short(view.read(driver_report))
        yield from regimes_now(view.read(regime_probabilities)) if spec.switches else ()
    yield from (f"Convergence: {sentence}" for sentence in view.diagnostics)


def _sizes(report: pd.DataFrame, pair: tuple[str, str], threshold: float, *, claimed: bool) -> Iterator[str]:
    """Size of the effect of a signal on a response, and of its lag if the effect is claimed."""
    of, units = report["posterior"].loc[pair], report.attrs["units"]
    effect, lag = (of.loc[(quantity, ALL, ALL)] for quantity in (EFFECT, MEAN_LAG))
    unit = f" ({ELASTICITY})" if units["effect"] == ELASTICITY else ""
    chance = probability(effect["P(> 0)"])
    chance = f"P(> 0) {chance}" if chance[0] in "<>" else f"P(> 0) = {chance}"
    yield f"Effect{unit}: {_in_words(effect)}, {chance}; a claim needs {threshold:.4g} for one sign."
    if claimed:
        yield f"Mean lag: {_in_words(lag)} {units['lag']}."
    else:
        yield "The lag of an effect that may be none should not be interpreted."


def _in_words(row: pd.Series) -> str:
    low, median, high = (float(row[name]) for name in QUANTILES)
    places = places_of([[low, median, high]], [""])[0]
    return f"{fixed(median, places)}, 90 % interval {fixed(low, places)} to {fixed(high, places)}"


Line = tuple[str, str, str, str, str]


def _lags(report: pd.DataFrame) -> Iterator[Line]:
    """The main rows of the lag report, with their units."""
    if not len(report):
        return
    units, table = report.attrs["units"], lag_table(report).table
    for label, own in zip(report.index.to_list(), table.to_dict("records"), strict=True):
        quantity, episode = str(label[2]), label[4]
        if quantity.startswith(LEFT_OUT) or episode != ALL:
            continue
        unit = units["lag"] if "lag" in quantity.split() else ""
        unit = ELASTICITY if "effect" in quantity and units["effect"] == ELASTICITY else unit
        whose = "".join(f"{own[name]}: " for name in (nm.SIGNAL, nm.RESPONSE) if name in own)
        told = f"{whose}{own['quantity']}{f' ({unit})' if unit else ''}"
        yield told, own["median"], own["90 %"], own["P(> 0)"], own["prior 90 %"]


def _regimes(view: View) -> Iterator[Line]:
    """Volatility and expected duration of each regime."""
    if not view.spec.switches:
        return
    table = view.read(regime_summary)
    kept = table[table["quantity"].isin(["volatility", "expected duration"])]
    parts = zip(kept["quantity"], kept[nm.REGIME], kept["unit"], strict=True)
    yield from _lines(kept, [f"{quantity}, {regime} ({unit})" for quantity, regime, unit in parts], kept["quantity"])


def _drivers(view: View) -> Iterator[Line]:
    """Change in the log odds of each step to a later regime, for one standard deviation of each driver."""
    if not view.spec.transition_drivers:
        return
    table = view.read(driver_report)
    places = {label: n for one in view.spec.processes for n, label in enumerate(one.labels)}
    kept = table[[places[origin] < places[to] for origin, to in zip(table["from"], table["to"], strict=True)]]
    names = [
        f"log odds {row.origin} to {row.to}, {row.driver} up 1 sd"
        for row in kept.rename(columns={"from": "origin"}).itertuples()
    ]
    yield from _lines(kept, names, [""] * len(kept))


def _lines(table: pd.DataFrame, names: list[str], alike: Iterable[str]) -> Iterator[Line]:
    values = table[QUANTILES].to_numpy(dtype=float)
    chances = table["P(> 0)"] if "P(> 0)" in table else [float("nan")] * len(table)
    for name, row, n, chance in zip(names, values, places_of(values, alike), chances, strict=True):
        yield name, fixed(row[1], n), interval(row[0], row[2], n), probability(chance), ""
