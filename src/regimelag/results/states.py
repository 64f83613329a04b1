"""States of the economy: the lagged effect where an indicator is 1 and where it is 0, and the rule for a claim.

The state contrast is the mean of the lagged effect over the periods in which the indicator is 1, less its mean over
those in which it is 0. It has a sign, no boundary, and does not depend on the names of regimes, so it means the same in
a model with moderators, in one with regimes that differ in the effect, and in one with both.

The rule: the effect is said to depend on a state if the contrast has one sign with probability 1 - 0.002 / n at least.
n is the number of contrasts that the fit could make such a claim of: lagged signals times responses times indicators of
the spec. Convergence diagnostics have to hold, and the verdict must not be withheld. This family of claims has its own
error budget: no claim of an average effect is asked for, since an effect that is there in a quarter of the periods has
a small average.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.panel.moderators import indicator_values
from regimelag.results.decision import POWER, STRICTER, exaggeration, state_claims, state_threshold
from regimelag.results.lags import INTERVAL, average_over_periods
from regimelag.results.persistence import persistence, unexplained
from regimelag.results.tables import state_table
from regimelag.results.units import effect_units, sample_of
from regimelag.results.verdict import state_in_words
from regimelag.results.view import View
from regimelag.runtime.result_table import OF_SAMPLE, ResultTable
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import Signal

SAMPLE = (nm.CHAIN, nm.DRAW)
QUANTITIES = {"inside": "lagged effect, indicator 1", "outside": "lagged effect, indicator 0", "contrast": "contrast"}
CLAIMED, POSITIVE = "claimed", "P(> 0)"


def state_contrast(idata: xr.DataTree, *, group: str = "posterior", random_seed: int | None = 0) -> xr.Dataset:
    """Lagged effect where an indicator is 1 and where it is 0, and the difference.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit of a model with indicators; it need not have moderators.
    group : {"posterior", "prior"}
        Group of draws.
    random_seed : int, optional
        Seed of the regime paths.

    Returns
    -------
    xarray.Dataset
        By chain, draw, signal and indicator, in response units per unit of the signal: ``inside`` and ``outside``, the
        lagged effect averaged over the observed periods in which the indicator is 1 and 0; and ``contrast``, the first
        less the second. ``share`` (indicator) of the observed periods in which it is 1. With several responses each
        also has the dimension response. NaN where a response is not observed in one of the states.

    Raises
    ------
    FitError
        If the model has no indicator or no lagged signal.

    See Also
    --------
    state_report : what is claimed of the contrasts.
    regimelag.effects : effects at stated values of moderators.

    Notes
    -----
    Each period has the effect of its episode, of its moderators, and of its regime on a path sampled for the draw, as
    ``lagged_over_sample`` of `regimelag.effects` has. The indicator of a period is that of drivers as published by the
    period before.
    """
    view = View.of(idata)
    spec, panel = view.spec, view.panel
    if not spec.indicators:
        cure = "fit a model with a table [[indicators]] (indicators=(regimelag.spec.Indicator(...),) in Python)"
        raise FitError("state_contrast", "the model has indicators", "none", cure)
    if not spec.lagged_signals:
        cure = "fit a model whose signal has a kernel other than none"
        raise FitError("state_contrast", "the model has a signal with a lag kernel", "none", cure)
    states = indicator_values(spec, panel).T == 1
    names = pd.Index([indicator.name for indicator in spec.indicators], name=nm.INDICATOR)

    def averages(sides: np.ndarray) -> xr.DataArray:
        each = [average_over_periods(view, where, group=group, random_seed=random_seed) for where in sides]
        return xr.concat(each, names)

    read = xr.Dataset({"inside": averages(states), "outside": averages(~states)})
    read = read.assign(contrast=read["inside"] - read["outside"])
    read = read.transpose(*SAMPLE, nm.SIGNAL, nm.INDICATOR, ...)
    seen = ~np.isnan(panel[nm.RESPONSE_VALUE].to_numpy())
    share = xr.DataArray(
        (states.astype(float) @ seen) / seen.sum(axis=0),
        coords={nm.INDICATOR: names, nm.RESPONSE: panel[nm.RESPONSE].to_numpy()},
    )
    read["share"] = share.isel({nm.RESPONSE: 0}, drop=True) if share.sizes[nm.RESPONSE] == 1 else share
    return read


def state_report(idata: xr.DataTree) -> pd.DataFrame:
    """Report how the lagged effect differs between the states of each indicator, and what is claimed.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit of a model with indicators; it need not have moderators.

    Returns
    -------
    pandas.DataFrame
        One row for each ``response``, ``signal``, ``indicator`` and ``quantity`` (the lagged effect where the indicator
        is 1, where it is 0, and the contrast): ``5 %``, ``median`` and ``95 %`` in response units per unit of the
        signal; ``P(> 0)``; ``share`` of the observed periods in which the indicator is 1; and ``claimed``, in the row
        of a contrast whether the effect is said to depend on the state. In attrs the sentences; ``threshold``, the
        probability of a sign that a claim needs; and ``contrasts``, the number of contrasts that share the error
        budget.

    Raises
    ------
    FitError
        If the model has no indicator or no lagged signal.

    Notes
    -----
    The rule is in the docstring of ``regimelag.results.states``: a sign with probability 1 - 0.002 / contrasts,
    whatever is claimed of the average effect.
    """
    view = View.of(idata)
    view.read(state_contrast)
    spec, responses = view.spec, [response.name for response in view.spec.responses]
    contrasts = len(responses) * len(spec.lagged_signals) * len(spec.indicators)
    problems, persistent = view.diagnostics[1:], view.read(persistence)
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    for place, response in enumerate(responses):
        for signal in spec.lagged_signals:
            withheld = list(unexplained(persistent, spec.responses[place], signal))
            for indicator, (inside, outside, share) in states_of(view, response, signal.name).items():
                ways = state_claims([(inside, outside)], family=contrasts)[0] if not (problems or withheld) else 0
                draws = {"inside": inside, "outside": outside, "contrast": inside - outside}
                for name, quantity in QUANTITIES.items():
                    values = draws[name][np.isfinite(draws[name])]
                    quantiles = np.quantile(values, (INTERVAL[0], 0.5, INTERVAL[1])) if len(values) else [np.nan] * 3
                    rows.append(
                        {
                            nm.RESPONSE: response,
                            nm.SIGNAL: signal.name,
                            nm.INDICATOR: indicator,
                            "quantity": quantity,
                            **dict(zip(("5 %", "median", "95 %"), quantiles, strict=True)),
                            POSITIVE: float((values > 0).mean()) if len(values) else np.nan,
                            "share": share,
                            CLAIMED: name == "contrast" and ways != 0,
                        }
                    )
                whose = signal.name if len(responses) == 1 else f"{signal.name} on {response}"
                told = state_in_words(indicator, (inside, outside, share), ways, contrasts)
                said.append(f"{whose}: {told}")
    table = pd.DataFrame(rows)
    table.attrs = {"threshold": state_threshold(contrasts), "contrasts": contrasts}
    table.attrs[nm.SENTENCES] = list(_said(view, said, problems, contrasts, claimed=bool(table[CLAIMED].any())))
    table.attrs |= {"units": effect_units(spec), OF_SAMPLE: sample_of(view)}
    return ResultTable(table, state_table)


def _said(view: View, said: list[str], problems: list[str], contrasts: int, *, claimed: bool) -> Iterator[str]:
    """Claims about each state, reasons for none, and the exaggeration of claims."""
    if problems:
        yield f"Convergence diagnostics failed, and nothing is claimed of states. {' '.join(problems)}"
        return
    persistent = view.read(persistence)
    for response in view.spec.responses:
        for signal in view.spec.lagged_signals:
            for why in unexplained(persistent, response, signal):
                yield f"The verdict on {signal.name} is withheld, and nothing is claimed of its states. {why}"
    yield from said
    if claimed:
        family = STRICTER * contrasts
        factors = [f"{exaggeration(power, family):.2f} times where the power is {power:g}" for power in (POWER, 0.5)]
        yield f"Contrasts that pass this threshold are exaggerated: on average {' and '.join(factors)}."


State = tuple[np.ndarray, np.ndarray, float]


def states_of(view: View, response: str, signal: str) -> dict[str, State]:
    """Draws of a signal's effect where each indicator is 1 and where it is 0, and the share of the first, by name."""
    if not view.spec.indicators:
        return {}
    read = view.read(state_contrast).sel({nm.SIGNAL: signal})
    if nm.RESPONSE in read.dims:
        read = read.sel({nm.RESPONSE: response})
    read = read.transpose(nm.INDICATOR, *SAMPLE)
    inside, outside = (read[name].to_numpy().reshape(read.sizes[nm.INDICATOR], -1) for name in ("inside", "outside"))
    names = map(str, read[nm.INDICATOR].to_numpy())
    return dict(zip(names, zip(inside, outside, map(float, read["share"].to_numpy()), strict=True), strict=True))


def at_zero(spec: ModelSpec, signal: Signal) -> str:
    """Condition that moderators are zero, in words; empty without moderators."""
    states = {indicator.name for indicator in spec.indicators}
    return " and ".join(f"{name} is {'0' if name in states else 'at its mean'}" for name in signal.moderators)
