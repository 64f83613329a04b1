"""A model in words: what `print` and a notebook show of a ModelSpec."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from regimelag.runtime.result_table import Shown, as_html, as_text, wrapped
from regimelag.spec.frequency import count_of_periods
from regimelag.spec.kernels import Kernel, LocationScaleKernel, NoLag
from regimelag.spec.series import Control, Driver, Response, Series, Signal

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec


def spec_text(spec: ModelSpec) -> str:
    """Claim, series, regimes, episodes and priors, in lines of at most 100 characters."""
    lines = [*wrapped([_title(spec), *([f"Claim: {spec.claim}"] if spec.claim else [])]), ""]
    return "\n".join([*lines, *as_text(_series(spec))[0], "", *wrapped(list(_rest(spec)))])


def spec_html(spec: ModelSpec) -> str:
    """The same as HTML."""
    title, claim = html.escape(_title(spec)), html.escape(spec.claim)
    rest = "".join(f"<li>{html.escape(line)}</li>" for line in _rest(spec))
    return f"<p><b>{title}</b>{'<br>' * bool(claim)}{claim}</p>{as_html(_series(spec))}<ul>{rest}</ul>"


def _title(spec: ModelSpec) -> str:
    lags = f", lags up to {count_of_periods(spec.max_lag, spec.frequency)}" if spec.history else ""
    return f"Model {spec.name}: {' and '.join(one.name for one in spec.responses)}, frequency {spec.frequency}{lags}"


def _series(spec: ModelSpec) -> Shown:
    rows = [
        {
            "role": type(one).__name__.lower(),
            "name": one.name,
            "column": _column(one),
            "transform": one.transform.replace("_", " ") + (f" over {one.periods}" if one.periods != 1 else ""),
            "delay": "" if one.delay == "0D" else one.delay,
            "terms": ", ".join(_terms(one, spec.max_lag)),
        }
        for one in spec.series
    ]
    table = pd.DataFrame(rows, dtype=str)
    return Shown(table[[name for name in table if (table[name] != "").any()]])


def _column(series: Series) -> str:
    against = f" over {series.against}" if series.against else ""
    beyond = f" net of {series.beyond}" if isinstance(series, Signal) and series.beyond else ""
    return f"{series.column}{against}{beyond}"


def _terms(series: Series, max_lag: int) -> Iterator[str]:
    """The terms of the model that a series has."""
    if isinstance(series, Response) and series.autoregression:
        yield f"{series.autoregression} own lags"
    if isinstance(series, Driver):
        yield "transition probabilities" if series.drives else "moderator only"
    if isinstance(series, Control) or (isinstance(series, Signal) and series.contemporaneous):
        yield "same period"
    if isinstance(series, (Signal, Control)) and not isinstance(series.kernel, NoLag):
        yield _kernel(series.kernel, max_lag)
    if isinstance(series, Signal) and series.moderators:
        yield f"moderated by {' and '.join(series.moderators)}"


def _kernel(kernel: Kernel, max_lag: int) -> str:
    name = f"{kernel.kind.replace('_', ' ')} lag 1 to {max_lag}"
    return f"{name}, prior mean {kernel.mean_lag:g}" if isinstance(kernel, LocationScaleKernel) else name


def _rest(spec: ModelSpec) -> Iterator[str]:
    """Residuals, regimes, episodes and priors."""
    moving = f", {spec.volatility.kind} volatility" if spec.volatility.moves else ""
    yield f"Residuals: {spec.family.kind.replace('_', '-').capitalize()}{moving}."
    for process in spec.processes if spec.switches else ():
        one = process.spec
        whose = f" of {one.name}" if len(spec.processes) > 1 else ""
        moved = f"; transition probabilities depend on {', '.join(one.drivers)}" if one.drivers else ""
        yield f"Regimes{whose}: {', '.join(process.labels)}, which differ in {', '.join(one.carries)}{moved}."
    for indicator in spec.indicators:
        bounds = [f"{one.driver} below {one.below:g}" for one in indicator.all_of if one.below is not None]
        bounds += [f"{one.driver} above {one.above:g}" for one in indicator.all_of if one.above is not None]
        yield f"State {indicator.name}: {' and '.join(bounds)}."
    if spec.episodes.starts:
        starts = [
            f"{name} from {day}" for name, day in zip(spec.episodes.labels()[1:], spec.episodes.starts, strict=True)
        ]
        yield f"Episodes, which differ in {', '.join(spec.episodes.vary)}: {', '.join(starts)}."
    own = f", except of {', '.join(spec.priors)}, see spec.priors" if spec.priors else ""
    yield f"Priors: defaults{own}. The whole model: spec.to_toml()."
