"""The checks of a claim about a lag: what is fitted, and on which data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.evaluation.robustness.altered_panels import (
    largest_rows,
    reversed_time,
    split_same_row_and_lag,
    without_rows,
)
from regimelag.evaluation.robustness.refit import Refit
from regimelag.evaluation.robustness.rivals import rivals
from regimelag.evaluation.robustness.summary import BASELINE, LEAD, LEAVE_OUT, RIVAL
from regimelag.panel.slicing import window
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

LARGEST = 5


class Check(NamedTuple):
    """A line of the table, and what is fitted for it.

    Attributes
    ----------
    kind, check : str
        What sort of check it is, and its label.
    task : Refit or None
        The fit; None if it cannot be made.
    note : str
        What to know about it.
    left_out : str
        The rows that are left out: a year, an episode, or the largest moves.
    """

    kind: str
    check: str
    task: Refit | None
    note: str = ""
    left_out: str = ""


def plan_checks(spec: ModelSpec, panel: xr.Dataset, signal: str) -> list[Check]:
    """All checks, the baseline first."""
    split, whole = split_same_row_and_lag(spec, panel, signal)
    checks = [Check(BASELINE, "as it is", Refit(split, whole, whole, signal, residuals=True))]
    checks += _rivals(split, whole, signal)
    back = Refit(split, reversed_time(whole), window(whole, 0, panel.sizes[nm.TIME] - spec.max_lag), signal)
    checks.append(Check(LEAD, "lead", back))
    for label, out, note in _leave_outs(panel):
        task = Refit(split, without_rows(whole, out), whole, signal)
        checks.append(Check(LEAVE_OUT, f"without {label}", task, note=note, left_out=label))
    return checks


def _rivals(spec: ModelSpec, panel: xr.Dataset, signal: str) -> list[Check]:
    """The model with each rival explanation, and on the rows that are left if one takes a whole history from them."""
    checks = []
    for rival in rivals(spec, panel, signal):
        if rival.spec is None or rival.panel is None:
            checks.append(Check(RIVAL, rival.label, None, note=rival.note))
            continue
        task = Refit(rival.spec, rival.panel, rival.panel, signal, residuals=True)
        checks.append(Check(RIVAL, rival.label, task, note=rival.note))
        lost = panel.sizes[nm.TIME] - rival.panel.sizes[nm.TIME]
        if lost >= spec.max_lag:
            label = f"the first {lost} rows"
            fewer = window(panel, lost, panel.sizes[nm.TIME])
            task, note = Refit(spec, fewer, fewer, signal), f"the rows of {rival.label}"
            checks.append(Check(LEAVE_OUT, f"without {label}", task, note=note, left_out=label))
    return checks


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
    """Every fit."""
    return [check.task for check in checks if check.task is not None]
