"""`model_table`: estimates of several models side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.results.lag_report import ALL, lag_report
from regimelag.results.summary import LEFT_OUT
from regimelag.results.tables import QUANTILES, places_of, quantity_in_words, unit_attr
from regimelag.results.units import effect_units, sample_of
from regimelag.results.view import View
from regimelag.runtime.number_format import fixed, interval, probability
from regimelag.runtime.result_table import OF_SAMPLE, ResultTable, Shown
from regimelag.spec import names as nm
from regimelag.spec.model_spec import period_name

CHANCE = "P(> 0)"


def model_table(fits: Mapping[str, xr.DataTree]) -> pd.DataFrame:
    """Tabulate the estimates of several models side by side, one column per model.

    Parameters
    ----------
    fits : mapping of str to xarray.DataTree
        Fits by name, in the order of the columns.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``response``, ``signal``, ``quantity`` and ``regime``, with columns (model, statistic): ``5 %``,
        ``median``, ``95 %`` and ``P(> 0)`` of each effect and lag. It prints medians above their 90 % intervals, and
        below them the P(> 0) of each average lagged effect, lag kernels, regimes, drivers and sample of each model.

    Raises
    ------
    FitError
        If there is no fit, or none has a signal.

    See Also
    --------
    latex_table : the table for a paper.
    compare : which model predicts better.
    """
    cure = 'write model_table({"baseline": idata}) with such a fit'
    if not isinstance(fits, Mapping):
        raise FitError("model_table", "fits come by name, in a mapping", f"a {type(fits).__name__}", cure)
    views = {str(name): View.of(fit) for name, fit in fits.items()}
    reports = {name: view.read(lag_report) for name, view in views.items()}
    reports = {name: report for name, report in reports.items() if len(report)}
    if not reports:
        raise FitError("model_table", "at least one fit has a signal", f"{len(views)} fits without one", cure)
    parts = {}
    for name, report in reports.items():
        labels = report.index.to_frame(index=False)
        kept = [
            not quantity.startswith(LEFT_OUT) and episode == ALL
            for quantity, episode in zip(labels["quantity"], labels[nm.EPISODE], strict=True)
        ]
        part = report.loc[kept, "posterior"][[*QUANTILES, CHANCE]].droplevel(nm.EPISODE)
        parts[name] = part.loc[~part.index.duplicated()]
    frame = pd.concat(parts, axis=1, sort=False)
    of_every = {name: _about(view) for name, view in views.items() if name in parts}
    frame.attrs = {}
    frame.attrs["about"] = {row: [about[row] for about in of_every.values()] for row in next(iter(of_every.values()))}
    frame.attrs["within"] = next(iter(reports.values())).attrs["within"]
    units = dict.fromkeys(effect_units(view.spec) for name, view in views.items() if name in parts)
    frame.attrs["units"] = {"effect": "; ".join(units), "lag": period_name(next(iter(views.values())).spec.frequency)}
    samples = dict.fromkeys(sample_of(view) for name, view in views.items() if name in parts)
    frame.attrs[OF_SAMPLE] = next(iter(samples)) if len(samples) == 1 else ""
    return ResultTable(frame, side_by_side)


def _about(view: View) -> dict[str, str]:
    """Kernel, regimes, drivers and periods of a model, in a few words."""
    spec = view.spec
    kernels = dict.fromkeys(one.kernel.kind.replace("_", " ") for one in spec.lagged_signals)
    return {
        "lag kernel": ", ".join(kernels) or "none",
        "regimes": " x ".join(str(one.spec.count) for one in spec.processes) if spec.switches else "1",
        "drivers": str(len(spec.transition_drivers)) if spec.transition_drivers else "none",
        "periods": str(view.panel.sizes[nm.TIME]),
    }


def side_by_side(frame: pd.DataFrame) -> Shown:
    """Medians above their intervals, one column per model."""
    models = list(frame.columns.unique(0))
    labels = frame.index.to_frame(index=False)
    several = [name for name in (nm.SIGNAL, nm.RESPONSE) if len(labels[name].unique()) > 1]
    alike = [unit_attr(quantity) for quantity in labels["quantity"]]
    every = [[frame.iloc[n][model, name] for model in models for name in QUANTILES] for n in range(len(frame))]
    places = places_of(every, alike)
    rows = []
    for n, label in enumerate(labels.to_dict("records")):
        whose = "".join(f"{label[name]}: " for name in several)
        entries = (label[name] for name in (nm.RESPONSE, nm.SIGNAL, "quantity", nm.REGIME))
        words = quantity_in_words((*map(str, entries), ALL), *frame.attrs["within"])
        of = [frame.iloc[n][model] for model in models]
        rows.append([f"{whose}{words}", *(fixed(one["median"], places[n]) for one in of)])
        rows.append(["", *(interval(one["5 %"], one["95 %"], places[n]) for one in of)])
        if label["quantity"] == "lagged effect" and label[nm.REGIME] == ALL:
            rows.append([f"{whose}P(lagged effect > 0)", *(probability(one[CHANCE]) for one in of)])
    rows += [[name, *cells] for name, cells in frame.attrs["about"].items()]
    units, sample = frame.attrs["units"], frame.attrs[OF_SAMPLE]
    caption = f"Posterior medians, with 90 % intervals in brackets. Unit of effects: {units['effect']}. Lags in "
    caption += f"{units['lag']}.{f' Sample: {sample}.' if sample else ''}"
    return Shown(pd.DataFrame(rows, columns=["quantity", *models], dtype=str), caption)
