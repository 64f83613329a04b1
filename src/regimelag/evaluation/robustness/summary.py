"""Sentences on a table of robustness checks: whether and where a claim fails."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regimelag.runtime.result_table import readable
from regimelag.spec import names as nm

BASELINE, RIVAL, LEAD, LEAVE_OUT, MODEL_FREE = "baseline", "rival", "lead", "leave-out", "model-free"
# The probability of the sign that a refit with fewer rows keeps, of an effect that is found at the decision threshold.
KEPT = 0.95
# Refits are short; beyond this their chains disagree.
RHAT_LIMIT = 1.05
# A column of the table, and its values.
OUTCOME = "outcome"
SURVIVED, LOST, NOT_TRIED, BROKE = "survived", "lost", "not tried", "failed"
# With this a note begins if a fit failed.
FAILED = "failed: "


def add_findings(table: pd.DataFrame) -> pd.DataFrame:
    """Store outcomes, and the findings with their sentences in attrs.

    Parameters
    ----------
    table : DataFrame
        The checks, with the signal's and the response's name and ``threshold`` in attrs: the probability of one sign
        from which on an effect is found. ``withheld`` holds why a verdict would be.

    Returns
    -------
    DataFrame
        The same, with the column ``outcome``, and ``survives`` and ``summary`` in attrs.
    """
    base = _of(table, BASELINE).iloc[0]
    table[OUTCOME] = [_outcome(table, row, positive=base["P(> 0)"] > 1 - base["P(> 0)"]) for _, row in table.iterrows()]
    table.attrs["survives"] = not _broken(table)
    said = [_verdict(table), *_on_withholding(table), *_on_rivals(table), *_on_lead(table), _on_leaving_out(table)]
    said += [*_on_model_free(table), _on_failures(table), _on_chains(table)]
    table.attrs["summary"] = [sentence for sentence in said if sentence]
    table.attrs[nm.SENTENCES] = list(table.attrs["summary"])
    return readable(table, ("kind", "check", "effect median", "P(> 0)", "mean lag median", OUTCOME))


def _outcome(table: pd.DataFrame, row: pd.Series, *, positive: bool) -> str:
    """Outcome of the sign in a check; empty for the one without a model."""
    if row["kind"] == MODEL_FREE:
        return ""
    if row["note"].startswith(FAILED):
        return BROKE
    if np.isnan(row["P(> 0)"]):
        return NOT_TRIED
    if row["kind"] == LEAD:
        return LOST if _is_found(table, row) else SURVIVED
    least = KEPT if row["kind"] == LEAVE_OUT else table.attrs["threshold"]
    return SURVIVED if (row["P(> 0)"] if positive else 1 - row["P(> 0)"]) >= least else LOST


def _of(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    return table[table["kind"] == kind]


def _sure(row: pd.Series) -> float:
    """Probability of the more probable sign of the effect."""
    return max(float(row["P(> 0)"]), 1 - float(row["P(> 0)"]))


def _is_found(table: pd.DataFrame, row: pd.Series) -> bool:
    """Whether the sign of the effect is sure enough for a claim."""
    return _sure(row) >= table.attrs["threshold"]


def _effect(row: pd.Series) -> str:
    if np.isnan(row["effect median"]):
        return "not known"
    return (
        f"{row['effect median']:.2f} (90 % interval {row['effect 5 %']:.2f} to {row['effect 95 %']:.2f}, "
        f"P(> 0) = {row['P(> 0)']:.3f})"
    )


def _checks(table: pd.DataFrame, kind: str, outcome: str) -> list[str]:
    """Checks of a kind with an outcome."""
    rows = _of(table, kind)
    return list(rows["check"][rows[OUTCOME] == outcome])


def _broken(table: pd.DataFrame) -> list[str]:
    """Checks that the claim fails, in words; empty if it survives."""
    broken = []
    if _checks(table, BASELINE, LOST):
        broken.append("the sign of the effect is not established on all rows")
    if table.attrs.get("withheld"):
        broken.append("its verdict is withheld")
    if lost := _checks(table, RIVAL, LOST):
        broken.append(f"the sign is lost with {', '.join(lost)} in the model")
    if _checks(table, LEAD, LOST):
        broken.append("the response leads the signal too")
    failed = int((table[OUTCOME] == BROKE).sum())
    return [*broken, f"{failed} checks failed"] if failed else broken


def _verdict(table: pd.DataFrame) -> str:
    base, broken = _of(table, BASELINE).iloc[0], _broken(table)
    said = f"The lagged effect of {table.attrs[nm.SIGNAL]} on {table.attrs[nm.RESPONSE]} is {_effect(base)}"
    if not broken:
        tried = " that could be tried" if _checks(table, RIVAL, NOT_TRIED) else ""
        return f"{said}; it survives every rival explanation{tried}, and the response does not lead the signal."
    if base[OUTCOME] == LOST:
        return f"{said}: no lagged effect is found, so there is none that could survive."
    return f"{said}; it does not survive: {'; '.join(broken)}."


def _on_withholding(table: pd.DataFrame) -> list[str]:
    why = table.attrs.get("withheld")
    return [f"The verdict is withheld. {' '.join(why)}"] if why else []


def _on_rivals(table: pd.DataFrame) -> list[str]:
    """Rival explanations by what became of the sign; the effects alone where none is found to begin with."""
    rows = _of(table, RIVAL)
    effects = {row["check"]: f"with {row['check']} in the model: {_effect(row)}" for _, row in rows.iterrows()}
    found = _of(table, BASELINE)[OUTCOME].iloc[0] == SURVIVED
    words = {
        SURVIVED: "The sign is kept",
        LOST: f"The sign is not kept (probability below {table.attrs['threshold']:g})",
    }
    said = []
    for outcome, begun in (words if found else {}).items():
        which = _checks(table, RIVAL, outcome)
        said += [f"{begun} {'; '.join(effects[check] for check in which)}."] if which else []
    tried = [*_checks(table, RIVAL, SURVIVED), *_checks(table, RIVAL, LOST)]
    if not found and tried:
        said.append(f"The effect is, {'; '.join(effects[check] for check in tried)}.")
    left = [f"{row['check']} ({row['note']})" for _, row in rows.iterrows() if row[OUTCOME] == NOT_TRIED]
    return [*said, f"Rival explanations not tried: {'; '.join(left)}."] if left else said


def _on_lead(table: pd.DataFrame) -> list[str]:
    leads = [row for _, row in _of(table, LEAD).iterrows()]
    found = {LOST: "is found too", SURVIVED: "is not found", BROKE: "was not fitted"}
    return [f"A lead of the response {found[row[OUTCOME]]}: its effect is {_effect(row)}." for row in leads]


def _on_leaving_out(table: pd.DataFrame) -> str:
    left, lost = _of(table, LEAVE_OUT), _checks(table, LEAVE_OUT, LOST)
    medians = left["effect median"]
    span = f"the median effect is {medians.min():.2f} to {medians.max():.2f} over {len(left)} refits"
    if _of(table, BASELINE)[OUTCOME].iloc[0] == LOST:
        brought = [row["check"] for _, row in left.iterrows() if _is_found(table, row)]
        return f"With rows left out {span}; an effect is found in {', '.join(brought) if brought else 'none of them'}."
    return f"With rows left out {span}; its sign is {'lost ' + ', '.join(lost) if lost else 'kept in all of them'}."


def _on_model_free(table: pd.DataFrame) -> list[str]:
    return [f"Without a model, the {row['check']}: {row['note']}." for _, row in _of(table, MODEL_FREE).iterrows()]


def _on_failures(table: pd.DataFrame) -> str:
    failed = table["check"][table[OUTCOME] == BROKE]
    return f"Fits failed in: {', '.join(failed)}; their notes say why." if len(failed) else ""


def _on_chains(table: pd.DataFrame) -> str:
    bad = table.loc[table["R-hat"] > RHAT_LIMIT, "check"]
    return f"Chains disagree (R-hat above {RHAT_LIMIT}): {', '.join(bad)}; raise draws and tune." if len(bad) else ""
