"""The checks of a claim about a lag: what is fitted, on which data, and against which null."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.evaluation.robustness.altered_panels import (
    largest_rows,
    reversed_time,
    split_same_row_and_lag,
    swap_signal_and_response,
    without_lag,
    without_rows,
)
from regimelag.evaluation.robustness.refit import Refit
from regimelag.evaluation.robustness.rivals import rivals
from regimelag.evaluation.robustness.summary import BASELINE, DIRECTION, LEAD, LEAVE_OUT, RIVAL
from regimelag.panel.slicing import window
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

LARGEST = 5
# Why there is no gain.
OWN = "no gain: a covariate is made of the response's own column"
PAST = "no gain: a response has its own past in its location, so that there are no leave-one-out densities"
MOVES = "no gain: the variance follows past responses"


class Check(NamedTuple):
    """A line of the table: what is fitted, and the null whose predictions its own are compared with.

    Attributes
    ----------
    kind, check : str
        What sort of check it is, and its label.
    task : Refit or None
        The fit; None if it cannot be made.
    null : Refit or None
        The same without the signal's lagged part; None if the two are not compared.
    note : str
        What to know about it.
    reverse : bool
        Whether signal and response are exchanged.
    left_out : str
        The rows that are left out: a year, an episode, or the largest moves.
    """

    kind: str
    check: str
    task: Refit | None
    null: Refit | None = None
    note: str = ""
    reverse: bool = False
    left_out: str = ""


def plan_checks(spec: ModelSpec, panel: xr.Dataset, signal: str) -> list[Check]:
    """All checks, the baseline first."""
    split, whole = split_same_row_and_lag(spec, panel, signal)
    rows, lags = panel.sizes[nm.TIME], spec.max_lag
    base, null = _pair(split, whole, signal)
    base = dataclasses.replace(base, residuals=True)
    checks = [Check(BASELINE, "as it is", base, null), *_rivals(split, whole, signal)]
    before = window(whole, 0, rows - lags)
    checks.append(Check(LEAD, "lag, on the rows that have a lead", *_pair(split, before, signal)))
    checks.append(Check(LEAD, "lead", *_pair(split, reversed_time(whole), signal, template=before)))
    checks += _directions(spec, split, whole, signal)
    for label, out, note in _leave_outs(panel):
        task = Refit(split, without_rows(whole, out), whole, signal, score=False)
        checks.append(Check(LEAVE_OUT, f"without {label}", task, note=note, left_out=label))
    if not spec.depends_on_past_responses:
        return checks
    own = {response.column for response in spec.responses}
    why = OWN if own & _covariate_columns(spec) else PAST if spec.autoregression else MOVES
    return [check if check.kind == RIVAL else _unscored(check, check.note, why) for check in checks]


def _rivals(spec: ModelSpec, panel: xr.Dataset, signal: str) -> list[Check]:
    """The model with each rival explanation, and on the rows that are left if one takes a whole history from them."""
    checks = []
    for rival in rivals(spec, panel, signal):
        if rival.spec is None or rival.panel is None:
            checks.append(Check(RIVAL, rival.label, None, note=rival.note))
            continue
        task = Refit(rival.spec, rival.panel, rival.panel, signal, score=False, residuals=True)
        checks.append(Check(RIVAL, rival.label, task, note=rival.note))
        lost = panel.sizes[nm.TIME] - rival.panel.sizes[nm.TIME]
        if lost >= spec.max_lag:
            label = f"the first {lost} rows"
            fewer = window(panel, lost, panel.sizes[nm.TIME])
            task, note = Refit(spec, fewer, fewer, signal, score=False), f"the rows of {rival.label}"
            checks.append(Check(LEAVE_OUT, f"without {label}", task, note=note, left_out=label))
    return checks


def _covariate_columns(spec: ModelSpec, *, besides: str = "") -> set[str]:
    """Columns of signals, drivers and controls, but for the signal of that name."""
    series = (*(signal for signal in spec.signals if signal.name != besides), *spec.drivers, *spec.controls)
    return {each.column for each in series}


def _unscored(check: Check, note: str, why: str) -> Check:
    """The check without a gain: a row that enters the densities of others has no leave-one-out density."""
    return check._replace(null=None, note=f"{note}; {why}" if note else why)


def _pair(
    spec: ModelSpec, panel: xr.Dataset, signal: str, *, template: xr.Dataset | None = None
) -> tuple[Refit, Refit]:
    """The model and its null on the same rows."""
    template = panel if template is None else template
    null, data = without_lag(spec, panel, signal)
    return Refit(spec, panel, template, signal), Refit(null, data, without_lag(spec, template, signal)[1], signal)


def _directions(spec: ModelSpec, split: ModelSpec, whole: xr.Dataset, signal: str) -> list[Check]:
    """The model and the reverse direction, on the rows that both have."""
    forward, back = "{} -> {}", _why_not_reversed(spec, whole)
    labels = [signal, str(whole[nm.RESPONSE].to_numpy()[0])]
    if back:
        return [Check(DIRECTION, forward.format(*labels[::-1]), None, note=back, reverse=True)]
    after = window(whole, spec.max_lag, whole.sizes[nm.TIME])
    ahead = Check(DIRECTION, forward.format(*labels), *_pair(split, after, signal))
    turned = swap_signal_and_response(whole, signal)
    pair = _pair(split, turned, signal, template=after)
    behind = Check(DIRECTION, forward.format(*labels[::-1]), *pair, reverse=True)
    column = next(each.column for each in spec.signals if each.name == signal)
    return [ahead, _unscored(behind, "", OWN) if column in _covariate_columns(spec, besides=signal) else behind]


def _why_not_reversed(spec: ModelSpec, panel: xr.Dataset) -> str:
    """Reason why the reverse direction cannot be fitted on this panel; empty if it can."""
    if len(spec.responses) > 1:
        return "not made: with several responses there is no one column to follow"
    missing = int(np.isnan(panel[nm.RESPONSE_VALUE].to_numpy()).sum())
    if missing:
        return f"not made: the response lacks {missing} values, and a signal may lack none"
    return ""


def _leave_outs(panel: xr.Dataset) -> list[tuple[str, np.ndarray, str]]:
    """Label, rows to leave out and note; what would leave nothing is not among them."""
    time = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    episode, largest = panel[nm.EPISODE_INDEX].to_numpy(), largest_rows(panel, LARGEST)
    dates = ", ".join(str(day.date()) for day in time[largest.any(axis=1)])
    out = [(str(time[0].year), np.asarray(time.year == time[0].year), "")]
    out += [(str(label), episode == n, "") for n, label in enumerate(panel[nm.EPISODE].to_numpy())]
    out.append((f"the {LARGEST} largest moves", largest, dates))
    return [each for each in out if not each[1].all()]


def tasks_of(checks: list[Check]) -> list[Refit]:
    """Every fit once, though several checks may share it."""
    return list(dict.fromkeys(task for check in checks for task in (check.task, check.null) if task is not None))
