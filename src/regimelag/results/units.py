"""Units of series and effects, and the sample of a fit, in words."""

from __future__ import annotations

from regimelag.panel.rows import LOGARITHMIC
from regimelag.results.view import View
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec, count_of_periods, period_name
from regimelag.spec.series import Series

ELASTICITY = "elasticity"
WORDS = {"log_return": "log return", "difference": "change", "gain": "gain", "loss": "loss", "new_high": "new high"}


def sample_of(view: View) -> str:
    """Number of periods and range of dates of a fit."""
    dates = view.panel[nm.TIME].dt.strftime("%Y-%m-%d").to_numpy()
    return f"{count_of_periods(len(dates), view.spec.frequency)}, {dates[0]} to {dates[-1]}"


def series_unit(series: Series, frequency: str) -> str:
    """Unit of a series' value, such as log return per week or change of yield over 13 weeks."""
    if series.transform == "level":
        return series.column
    what = WORDS.get(series.transform, series.transform.replace("_", " "))
    what += "" if series.transform in LOGARITHMIC else f" of {series.column}"
    if series.periods == 1:
        return f"{what} per {period_name(frequency).removesuffix('s')}"
    return f"{what} over {count_of_periods(series.periods, frequency)}"


def effect_unit(spec: ModelSpec, response: str, signal: str) -> str:
    """Unit of a signal's effect on a response: an elasticity if both series are in logarithms."""
    of = next(one for one in spec.responses if one.name == response)
    by = next(one for one in spec.signals if one.name == signal)
    if of.transform == "log_return" and by.transform in LOGARITHMIC:
        return ELASTICITY
    return f"{series_unit(of, spec.frequency)} per unit of {by.name} ({series_unit(by, spec.frequency)})"


def effect_units(spec: ModelSpec) -> str:
    """Units of all effects of a model, each once."""
    every = [effect_unit(spec, one.name, signal.name) for one in spec.responses for signal in spec.signals]
    return "; ".join(dict.fromkeys(every))
