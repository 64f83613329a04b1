"""Claims that hold for several models or signals tried on one data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.results.decision import FALSE_CLAIM, decision_threshold
from regimelag.results.lags import effects_of_draws
from regimelag.results.persistence import persistence, unexplained
from regimelag.results.view import View
from regimelag.runtime.plain import one_of
from regimelag.runtime.result_table import readable
from regimelag.spec import names as nm

ErrorRate = Literal["fwer", "fdr"]


def claims(fits: Mapping[str, xr.DataTree], *, error_rate: ErrorRate = "fwer") -> pd.DataFrame:
    """Claims of lagged responses, corrected for the number of models and signals tried on one data set.

    Parameters
    ----------
    fits : mapping of str to xarray.DataTree
        All fits that were tried, by name of the model, whatever their results.
    error_rate : {"fwer", "fdr"}
        Error rate to control at 2 %, as for the verdict of one fit: the probability of any false claim of either sign
        (family-wise error rate, step-down procedure of Holm), or the expected share of false claims (false discovery
        rate, step-up procedure of Benjamini & Hochberg).

    Returns
    -------
    pandas.DataFrame
        One row per model, response and signal: ``probability`` of the more probable sign of the average lagged effect,
        ``sign``; ``alone``, whether the verdict of this fit claims it; ``claimed``, whether the error rate allows the
        claim among all rows; ``withheld``, the reason why no claim is allowed, or empty. ``attrs`` have the sentences
        and ``error_rate``.

    Raises
    ------
    FitError
        If there is no fit, no fit with a lagged signal, or the error rate is unknown.

    Notes
    -----
    A claim that there is a response *in every model* needs no correction for the number of models, since each of them
    must claim it alone. A claim that there is one *in some model* does. Holm (1979), Scandinavian Journal of Statistics
    6, 65-70; Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x. One minus the probability of a sign
    is used as a one-sided p value, which it equals asymptotically under a flat prior, Casella & Berger (1987),
    doi:10.1080/01621459.1987.10478396. Rows with a withheld verdict count as tried.
    """
    require_error_rate("claims", error_rate)
    cure = 'write claims({"baseline": idata}) with such a fit'
    if not isinstance(fits, Mapping):
        raise FitError("claims", "fits come by name, in a mapping", f"a {type(fits).__name__}", cure)
    rows = [row for name, fit in fits.items() for row in _rows(name, View.of(fit))]
    if not rows:
        raise FitError("claims", "at least one fit has a lagged signal", f"{len(fits)} fits without one", cure)
    table = pd.DataFrame(rows)
    family = table.groupby("model")["signal"].transform("size")
    open_to = table["withheld"] == ""
    table.insert(5, "alone", open_to & (table["probability"] >= [decision_threshold(n) for n in family]))
    # A row of which nothing may be claimed counts as tried, and not among the claims.
    table.insert(6, "claimed", allowed(np.where(open_to, 1 - table["probability"], 1.0), error_rate))
    table.attrs = {"error_rate": error_rate, nm.SENTENCES: list(_said(table, error_rate))}
    return readable(table)


def require_error_rate(asked: str, error_rate: object) -> None:
    """Refuse an unknown error rate."""
    one_of(FitError, asked, "error_rate", error_rate, get_args(ErrorRate))


def allowed(p: np.ndarray, error_rate: ErrorRate, level: float = FALSE_CLAIM) -> np.ndarray:
    """Mask of one-sided p values (test) that are jointly significant, at a level for each sign."""
    order, count = np.argsort(p, kind="stable"), len(p)
    rank = np.arange(1, count + 1)
    if error_rate == "fwer":
        passed = np.logical_and.accumulate(p[order] <= level / (count - rank + 1))
    else:
        below = p[order] <= level * rank / count
        passed = np.logical_or.accumulate(below[::-1])[::-1]
    found = np.zeros(count, dtype=bool)
    found[order] = passed
    return found


def _rows(name: str, view: View) -> list[dict[str, object]]:
    """One row for each response and lagged signal of a fit."""
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
    """Sentences on all models together, by response and signal."""
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
