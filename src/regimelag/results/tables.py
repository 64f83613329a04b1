"""Result tables as their readers see them: printed, in notebooks, on the report page and in papers."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from regimelag.runtime.number_format import decimals, fixed, interval, probability
from regimelag.runtime.result_table import OF_SAMPLE, Shown, compact
from regimelag.spec import names as nm

MEDIAN = "Median and 90 % interval."
QUANTILES = ["5 %", "median", "95 %"]
# Quantities of the lag report that are no effects, by the attribute with their unit.
LAGS = ("mean lag", "median lag", "peak lag", "largest difference in mean lag")


def unit_attr(quantity: str) -> str:
    """Which of the units in attrs a quantity of the lag report has; empty for a share."""
    return "lag" if quantity.startswith(LAGS) else ("" if quantity == "mass within" else "effect")


def lag_table(report: pd.DataFrame) -> Shown:
    """The lag report: each quantity with its posterior, P(> 0) and prior interval."""
    labels = report.index.to_frame(index=False)
    units, (low, high) = report.attrs["units"], report.attrs["within"]
    quantity = [quantity_in_words(row, low, high) for row in labels.itertuples(index=False)]
    rows: dict[str, list[str]] = {
        name: labels[name].to_list() for name in (nm.RESPONSE, nm.SIGNAL) if len(labels[name].unique()) > 1
    }
    alike = [unit_attr(name) for name in labels["quantity"]]
    posterior, prior = (report[group][QUANTILES].to_numpy(dtype=float) for group in ("posterior", "prior"))
    places = places_of(posterior, alike)
    rows |= {
        "quantity": quantity,
        "median": [fixed(row[1], n) for row, n in zip(posterior, places, strict=True)],
        "90 %": [interval(row[0], row[2], n) for row, n in zip(posterior, places, strict=True)],
        "P(> 0)": [probability(one) for one in report["posterior", "P(> 0)"]],
        "prior 90 %": [interval(row[0], row[2], n) for row, n in zip(prior, places, strict=True)],
    }
    whose = " and ".join(labels[nm.SIGNAL].unique()), " and ".join(labels[nm.RESPONSE].unique())
    caption = f"Effect of {whose[0]} on {whose[1]}: posterior median and 90 % interval, and the prior's. Unit of "
    caption += f"effects: {units['effect']}. Lags in {units['lag']}. Sample: {report.attrs[OF_SAMPLE]}."
    return Shown(pd.DataFrame(rows, dtype=str), caption, ("P(|.| > threshold)", "P(within)", "evidence"))


def quantity_in_words(row: tuple[str, ...], low: float, high: float) -> str:
    """A quantity of the lag report: row (response, signal, quantity, regime, episode)."""
    name = f"share of the effect at lags {low:g} to {high:g}" if row[2] == "mass within" else row[2]
    name = "same-period effect" if name == "contemporaneous effect" else name
    return ", ".join([name, *(entry for entry in row[3:] if entry != "all")])


def places_of(values: Iterable[Iterable[float]], alike: Iterable[str]) -> list[int]:
    """Decimals of each row: rows of one label have as many as each other."""
    by_label: dict[str, list[float]] = {}
    labels = list(alike)
    for label, row in zip(labels, values, strict=True):
        by_label.setdefault(label, []).extend(map(float, row))
    return [decimals(by_label[label]) for label in labels]


def regime_table(summary: pd.DataFrame) -> Shown:
    """Volatility, mean, durations and shares of each regime; shares by year and drivers are elsewhere."""
    kept = summary[summary["year"].isna() & (summary[nm.DRIVER] == "")]
    names = [name for name in (nm.RESPONSE, nm.REGIME_PROCESS) if name in kept and len(kept[name].unique()) > 1]
    index = ["quantity", *names, nm.REGIME]
    shown = kept.set_index(index)[["median", "5 %", "95 %", "unit"]]
    shown.attrs = summary.attrs
    return compact(shown, alike=list(kept["quantity"]), caption=f"The regimes. {MEDIAN}")


def mode_table(modes: pd.DataFrame) -> Shown:
    """The modes of a posterior."""
    caption = "Modes that the search found; weights by Laplace's approximation; draws: share of the posterior draws "
    caption += "nearest to the mode; kind: differences from the first mode."
    return compact(modes, ("weight", "separated_weight", "log_posterior", "starts", "draws", "kind"), caption=caption)


def gain_table(report: pd.DataFrame) -> Shown:
    """The gain report."""
    keys = [nm.RESPONSE, nm.REGIME_PROCESS, nm.SIGNAL]
    caption = (
        f"Gain: the lagged effect in the regime with the higher effect minus that in the other. {MEDIAN} Unit: "
        f"{report.attrs['units']}. Bayes factor of two effects against one; a claim needs "
        f"{report.attrs['threshold']:g}. Shares of the periods on sampled paths."
    )
    columns = ("median", "Bayes factor", "share lower", "share higher", "claimed")
    return compact(_indexed(report, keys), columns, caption=caption)


def state_table(report: pd.DataFrame) -> Shown:
    """The state report."""
    keys = [nm.RESPONSE, nm.SIGNAL, nm.INDICATOR, "quantity"]
    caption = (
        "Lagged effect, averaged over the periods in which an indicator is 1, over those in which it is 0, and their "
        f"difference. {MEDIAN} Unit: {report.attrs['units']}. Share of the periods in which the indicator is 1. A "
        f"claim needs one sign with probability {report.attrs['threshold']:.4g}."
    )
    return compact(_indexed(report, keys), ("median", "P(> 0)", "share", "claimed"), caption=caption)


def driver_table(report: pd.DataFrame) -> Shown:
    """The driver report."""
    keys = [name for name in (nm.RESPONSE, nm.REGIME_PROCESS, nm.DRIVER, "from", "to") if name in report]
    caption = (
        "Change in the log odds of a step between two regimes, against staying, for a driver that is one standard "
        f"deviation higher. {MEDIAN} Steps: on a sampled path, on average. A claim needs one sign with probability "
        f"{report.attrs['threshold']:.4g}."
    )
    return compact(_indexed(report, keys), ("median", "P(> 0)", "steps", "claimed"), caption=caption)


def _indexed(report: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    made = report.set_index(keys)
    made.attrs = report.attrs
    return made
