"""Sentences on a table of robustness checks: whether and where a claim fails."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regimelag.evaluation.robustness.placebos import placebo_p
from regimelag.spec import names as nm

BASELINE, LEAD, DIRECTION, PLACEBO, LEAVE_OUT = "baseline", "lead", "direction", "placebo", "leave-out"
MODEL_FREE = "model-free"
# An effect that is found at the verdict's decision threshold is kept by a refit with fewer rows if this sure still.
KEPT = 0.95
# With some twenty shifts no p much below 0.05 can be had.
PLACEBO_LIMIT = 0.1
# Refits are short; beyond this their chains disagree.
RHAT_LIMIT = 1.05
# With this a note begins if a fit failed.
FAILED = "failed: "


def add_findings(table: pd.DataFrame) -> pd.DataFrame:
    """Store the findings and their sentences in attrs.

    Parameters
    ----------
    table : DataFrame
        The checks, with the signal's and the response's name, ``effective_shifts`` and ``threshold`` in attrs: the
        probability of one sign from which on an effect is found.

    Returns
    -------
    DataFrame
        The same, with ``placebo_p``, ``survives`` and ``summary`` in attrs.
    """
    # A shifted signal whose fit failed counts as one that does as well.
    placebos = _of(table, PLACEBO)["statistic"].to_numpy(dtype=float, na_value=np.inf)
    observed = float(_of(table, BASELINE)["statistic"].iloc[0])
    table.attrs["placebo_p"] = placebo_p(observed, placebos, table.attrs["effective_shifts"])
    broken = _broken(table)
    table.attrs["survives"] = not broken
    said = [_verdict(table, broken), _on_placebos(table, placebos, observed), _on_lead(table), _on_directions(table)]
    said += [_on_leaving_out(table), *_on_model_free(table), _on_failures(table), _on_chains(table)]
    table.attrs["summary"] = [sentence for sentence in said if sentence]
    table.attrs[nm.SENTENCES] = list(table.attrs["summary"])
    return table


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


def _gain(row: pd.Series) -> str:
    if np.isnan(row["gain"]):
        return "what is not known"
    return f"{row['gain']:+.1f} nats (standard error {row['gain se']:.1f})"


def _lost(table: pd.DataFrame) -> list[str]:
    """Refits with rows left out in which the sign of the effect is lost, or another."""
    positive = _of(table, BASELINE)["effect median"].iloc[0] > 0
    left = _of(table, LEAVE_OUT).dropna(subset="P(> 0)")
    kept = (left["P(> 0)"] if positive else 1 - left["P(> 0)"]) >= KEPT
    return list(left["check"][~kept])


def _broken(table: pd.DataFrame) -> list[str]:
    """Checks that the claim fails, in words; empty if it survives."""
    broken = []
    if not _is_found(table, _of(table, BASELINE).iloc[0]):
        broken.append("the sign of the effect is not established on all rows")
    if table.attrs["placebo_p"] > PLACEBO_LIMIT:
        below = _of(table, PLACEBO)["statistic"] < _of(table, BASELINE)["statistic"].iloc[0]
        broken.append("too few shifts to tell it from chance" if below.all() else "shifted signals do as well")
    if _is_found(table, _of(table, LEAD).iloc[-1]):
        broken.append("the response leads the signal too")
    gains = _of(table, DIRECTION)["gain"].to_numpy(dtype=float)
    if len(gains) == 2 and not gains[0] > max(gains[1], 0.0) and not np.isnan(gains).any():  # noqa: PLR2004
        broken.append("the reverse direction gains as much" if gains[0] > 0 else "the lag does not help to predict")
    lost = _lost(table)
    if lost:
        broken.append(f"the sign is lost {', '.join(lost)}")
    return broken + ([f"{len(_failed(table))} checks failed"] if len(_failed(table)) else [])


def _failed(table: pd.DataFrame) -> pd.DataFrame:
    """Checks of which a fit failed."""
    return table[table["note"].str.startswith(FAILED)]


def _verdict(table: pd.DataFrame, broken: list[str]) -> str:
    base = _of(table, BASELINE).iloc[0]
    said = f"The lagged effect of {table.attrs[nm.SIGNAL]} on {table.attrs[nm.RESPONSE]} is {_effect(base)}"
    if not broken:
        lacking = _of(table, BASELINE)["gain"].isna().all()
        return f"{said}; it survives all checks{', which compare no predictions' if lacking else ''}."
    if not _is_found(table, base):
        return f"{said}: no lagged effect is found, so there is none that could survive."
    return f"{said}; it does not survive: {'; '.join(broken)}."


def _on_placebos(table: pd.DataFrame, placebos: np.ndarray, observed: float) -> str:
    if not len(placebos):
        return "No shifted signal was tried: the panel has no room for a shift, or none was asked for."
    effective = table.attrs["effective_shifts"]
    return (
        f"Of {len(placebos)} shifted signals {int((placebos >= observed).sum())} have a statistic as large as the "
        f"observed {observed:.2f}: placebo p = {table.attrs['placebo_p']:.3f}. The shifts are worth "
        f"{effective:.1f} independent ones, so none below {1 / (1 + effective):.3f} can be claimed."
    )


def _on_lead(table: pd.DataFrame) -> str:
    lag, lead = (row for _, row in _of(table, LEAD).iterrows())
    found = "is found too" if _is_found(table, lead) else "is not found"
    said = f"A lead of the response {found}: its effect is {_effect(lead)}."
    if np.isnan(lead["gain"]) and np.isnan(lag["gain"]):
        return said
    return f"{said} On the same rows the lead gains {_gain(lead)} over its null, the lag {_gain(lag)}."


def _on_directions(table: pd.DataFrame) -> str:
    rows = [row for _, row in _of(table, DIRECTION).iterrows()]
    if len(rows) == 1:
        return f"The reverse direction, {rows[0]['check']}, was {rows[0]['note']}."
    if all(np.isnan(row["gain"]) for row in rows):
        names = " and ".join(row["check"] for row in rows)
        return f"What {names} gain over their nulls is not computed: see the notes of these checks."
    said = [f"{row['check']} gains {_gain(row)}" for row in rows]
    return f"Over their own nulls, on the same rows, {' and '.join(said)}."


def _on_leaving_out(table: pd.DataFrame) -> str:
    left, lost = _of(table, LEAVE_OUT), _lost(table)
    medians = left["effect median"]
    span = f"the median effect is {medians.min():.2f} to {medians.max():.2f} over {len(left)} refits"
    if not _is_found(table, _of(table, BASELINE).iloc[0]):
        brought = [row["check"] for _, row in left.iterrows() if _is_found(table, row)]
        return f"With rows left out {span}; an effect is found in {', '.join(brought) if brought else 'none of them'}."
    return f"With rows left out {span}; its sign is {'lost ' + ', '.join(lost) if lost else 'kept in all of them'}."


def _on_model_free(table: pd.DataFrame) -> list[str]:
    return [f"Without a model, the {row['check']}: {row['note']}." for _, row in _of(table, MODEL_FREE).iterrows()]


def _on_failures(table: pd.DataFrame) -> str:
    failed = _failed(table)
    return f"Fits failed in: {', '.join(failed['check'])}; their notes say why." if len(failed) else ""


def _on_chains(table: pd.DataFrame) -> str:
    bad = table.loc[table["R-hat"] > RHAT_LIMIT, "check"]
    return f"Chains disagree (R-hat above {RHAT_LIMIT}): {', '.join(bad)}; raise draws and tune." if len(bad) else ""
