"""What several models, or signals, that were tried on one data set say together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.results.lags import effects_of_draws
from regimelag.results.persistence import persistence, unexplained
from regimelag.results.verdict import FALSE_CLAIM, decision_threshold
from regimelag.results.view import View
from regimelag.spec import names as nm

ErrorRate = Literal["fwer", "fdr"]


def claims(fits: Mapping[str, xr.DataTree], *, error_rate: ErrorRate = "fwer") -> pd.DataFrame:
    """Claims of lagged responses that hold for all models and signals that were tried on one data set.

    Parameters
    ----------
    fits : mapping of str to xarray.DataTree
        Every fit that was looked at, by the name of its model, whatever it showed.
    error_rate : {"fwer", "fdr"}
        What is controlled: the probability of any false claim of either sign (family-wise error rate, by the step-down
        procedure of Holm), or the expected share of false ones among the claims (false discovery rate, by the step-up
        procedure of Benjamini & Hochberg); at 2 in a hundred, as the verdict of one fit.

    Returns
    -------
    pandas.DataFrame
        One row for each model, response and signal: ``probability`` of the more probable sign of the average lagged
        effect, ``sign``; ``alone``, whether the verdict of this fit by itself claims it; ``claimed``, whether the
        error rate allows it among all rows; ``withheld``, why nothing may be claimed of it, or empty. In attrs the
        sentences, and ``error_rate``.

    Raises
    ------
    FitError
        If there is no fit, or no fit with a lagged signal, or the error rate is another.

    Notes
    -----
    That a response is there *in every model* needs no correction for the number of models: each of them has to claim it
    alone. That it is there *in some model* does. Holm (1979), Scandinavian Journal of Statistics 6, 65-70; Benjamini &
    Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x. One minus the probability of a sign stands for a one-sided
    p value, to which it is equal asymptotically under a flat prior, Casella & Berger (1987),
    doi:10.1080/01621459.1987.10478396. Rows whose verdict is withheld count among those that were tried.
    """
    if error_rate not in get_args(ErrorRate):
        raise FitError(
            "claims", 'error_rate is "fwer" or "fdr"', f"error_rate = {error_rate!r}", 'write error_rate="fwer"'
        )
    rows = [row for name, fit in fits.items() for row in _rows(name, View.of(fit))]
    if not rows:
        rule, cure = "at least one fit has a lagged signal", 'write claims({"baseline": idata}) with such a fit'
        raise FitError("claims", rule, f"{len(fits)} fits without one", cure)
    table = pd.DataFrame(rows)
    family = table.groupby("model")["signal"].transform("size")
    open_to = table["withheld"] == ""
    table.insert(5, "alone", open_to & (table["probability"] >= [decision_threshold(n) for n in family]))
    table.insert(6, "claimed", allowed(1 - table["probability"].to_numpy(), error_rate) & open_to)
    table.attrs = {"error_rate": error_rate, nm.SENTENCES: list(_said(table, error_rate))}
    return table


def allowed(p: np.ndarray, error_rate: ErrorRate) -> np.ndarray:
    """Which of several one-sided p values (test) are small enough together, each with 0.01 to spend."""
    order, count = np.argsort(p, kind="stable"), len(p)
    rank = np.arange(1, count + 1)
    if error_rate == "fwer":
        passed = np.logical_and.accumulate(p[order] <= FALSE_CLAIM / (count - rank + 1))
    else:
        below = p[order] <= FALSE_CLAIM * rank / count
        passed = np.logical_or.accumulate(below[::-1])[::-1]
    found = np.zeros(count, dtype=bool)
    found[order] = passed
    return found


def _rows(name: str, view: View) -> list[dict[str, object]]:
    """A row for each response and lagged signal of a fit."""
    spec, problems = view.spec, view.diagnostics[1:]
    if not spec.lagged_signals:
        return []
    lagged, persistent = effects_of_draws(view.fit)["lagged"], view.read(persistence)
    found = []
    for response in spec.responses:
        for signal in spec.lagged_signals:
            at = {nm.SIGNAL: signal.name} | ({nm.RESPONSE: response.name} if nm.RESPONSE in lagged.dims else {})
            positive = float((lagged.sel(at) > 0).mean())
            found.append(
                {
                    "model": name,
                    nm.RESPONSE: response.name,
                    nm.SIGNAL: signal.name,
                    "probability": max(positive, 1 - positive),
                    "sign": "positive" if positive >= 0.5 else "negative",  # noqa: PLR2004
                    "withheld": " ".join([*problems, *unexplained(persistent, response, signal)]),
                }
            )
    return found


def _said(table: pd.DataFrame, error_rate: ErrorRate) -> list[str]:
    """What all models say of each response and signal, in words."""
    rate = "family-wise error rate" if error_rate == "fwer" else "false discovery rate"
    tried = f"{len(table)} lagged effects in {table['model'].nunique()} models were tried"
    said = [f"{tried}; the {rate} of claims is at most {2 * FALSE_CLAIM:g}, if priors and likelihoods are right."]
    for (response, signal), rows in table.groupby([nm.RESPONSE, nm.SIGNAL], sort=False):
        of, signs = f"{signal} on {response}", set(rows.loc[rows["alone"], "sign"])
        if rows["alone"].all() and len(signs) == 1:
            said.append(f"{of}: a {signs.pop()} lagged effect in every model that has it ({_named(rows)}).")
        elif rows["claimed"].any():
            held = rows[rows["claimed"]]
            each = "; ".join(f"{sign} in {_named(part)}" for sign, part in held.groupby("sign", sort=False))
            rest = _named(rows[~rows["claimed"]])
            said.append(f"{of}: a lagged effect in some models, {each}" + (f"; none in {rest}." if rest else "."))
        else:
            said.append(f"{of}: no lagged effect is claimed in any model ({_named(rows)}).")
    withheld = table[table["withheld"] != ""]
    if len(withheld):
        said.append(f"Withheld, and counted among those tried: {_named(withheld)}.")
    return said


def _named(rows: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(rows["model"]))
