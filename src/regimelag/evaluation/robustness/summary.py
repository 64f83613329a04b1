"""Sentences on a table of robustness checks: whether and where a claim fails."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regimelag.spec import names as nm

BASELINE, LEAD, DIRECTION, LEAVE_OUT = "baseline", "lead", "direction", "leave-out"
MODEL_FREE, RIVAL = "model-free", "rival"
# An effect that is found at the verdict's decision threshold is kept by a refit with fewer rows if this sure still.
KEPT = 0.95
# The same of a refit with a rival explanation in the model.
OUTLIVED = 0.95
# Refits are short; beyond this their chains disagree.
RHAT_LIMIT = 1.05
OUTCOMES = ("survived", "lost", "not tried")
# With this a note begins if a fit failed.
FAILED = "failed: "


def add_findings(table: pd.DataFrame) -> pd.DataFrame:
    """Store the findings and their sentences in attrs.

    Parameters
    ----------
    table : DataFrame
        The checks, with the signal's and the response's name and ``threshold`` in attrs: the probability of one sign
        from which on an effect is found. ``withheld`` holds why a verdict would be.

    Returns
    -------
    DataFrame
        The same, with ``rivals``, ``survives`` and ``summary`` in attrs.
    """
    table.attrs["rivals"] = _outcomes(table)
    broken = _broken(table)
    table.attrs["survives"] = not broken
    said = [
        _verdict(table, broken),
        *_on_withholding(table),
        *_on_rivals(table),
        _on_lead(table),
        _on_directions(table),
    ]
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


def _lost(table: pd.DataFrame, kind: str, least: float) -> list[str]:
    """Refits of a kind in which the sign of the effect is lost, or another."""
    positive = _of(table, BASELINE)["effect median"].iloc[0] > 0
    left = _of(table, kind).dropna(subset="P(> 0)")
    kept = (left["P(> 0)"] if positive else 1 - left["P(> 0)"]) >= least
    return list(left["check"][~kept])


def _outcomes(table: pd.DataFrame) -> dict[str, str]:
    """What became of the sign in each refit with a rival explanation: survived, lost, or not tried."""
    lost, tried = _lost(table, RIVAL, OUTLIVED), _of(table, RIVAL).set_index("check")["P(> 0)"].notna()
    return {
        str(rival): ("lost" if rival in lost else "survived") if known else "not tried"
        for rival, known in tried.items()
    }


def _broken(table: pd.DataFrame) -> list[str]:
    """Checks that the claim fails, in words; empty if it survives."""
    broken = []
    if not _is_found(table, _of(table, BASELINE).iloc[0]):
        broken.append("the sign of the effect is not established on all rows")
    if table.attrs.get("withheld"):
        broken.append("its verdict is withheld")
    if _is_found(table, _of(table, LEAD).iloc[-1]):
        broken.append("the response leads the signal too")
    gains = _of(table, DIRECTION)["gain"].to_numpy(dtype=float)
    if len(gains) == 2 and not gains[0] > max(gains[1], 0.0) and not np.isnan(gains).any():  # noqa: PLR2004
        broken.append("the reverse direction gains as much" if gains[0] > 0 else "the lag does not help to predict")
    lost = _lost(table, LEAVE_OUT, KEPT)
    if lost:
        broken.append(f"the sign is lost {', '.join(lost)}")
    outlived = [rival for rival, outcome in table.attrs["rivals"].items() if outcome == "lost"]
    if outlived:
        broken.append(f"the sign is lost with {', '.join(outlived)} in the model")
    return broken + ([f"{len(_failed(table))} checks failed"] if len(_failed(table)) else [])


def _failed(table: pd.DataFrame) -> pd.DataFrame:
    """Checks of which a fit failed."""
    return table[table["note"].str.startswith(FAILED)]


def _verdict(table: pd.DataFrame, broken: list[str]) -> str:
    base = _of(table, BASELINE).iloc[0]
    said = f"The lagged effect of {table.attrs[nm.SIGNAL]} on {table.attrs[nm.RESPONSE]} is {_effect(base)}"
    if not broken:
        made = " that could be made" if "not tried" in table.attrs["rivals"].values() else ""
        lacking = _of(table, BASELINE)["gain"].isna().all()
        return f"{said}; it survives all checks{made}{', which compare no predictions' if lacking else ''}."
    if not _is_found(table, base):
        return f"{said}: no lagged effect is found, so there is none that could survive."
    return f"{said}; it does not survive: {'; '.join(broken)}."


def _on_withholding(table: pd.DataFrame) -> list[str]:
    why = table.attrs.get("withheld")
    return [f"The verdict is withheld. {' '.join(why)}"] if why else []


def _on_rivals(table: pd.DataFrame) -> list[str]:
    """Rival explanations by what became of the sign, if the effect is found at all."""
    rows, outcomes = _of(table, RIVAL), table.attrs["rivals"]
    by = {outcome: [row for _, row in rows.iterrows() if outcomes[row["check"]] == outcome] for outcome in OUTCOMES}
    found = _is_found(table, _of(table, BASELINE).iloc[0])
    with_effect = [f"{row['check']} in the model, {_effect(row)}" for row in by["survived"] + by["lost"]]
    if not found and with_effect:
        return [f"With {'; with '.join(with_effect)}."]
    words = {"survived": "The sign is kept with", "lost": f"The sign is not kept (probability below {OUTLIVED}) with"}
    said = []
    for outcome, begun in words.items():
        effects = [f"{row['check']} in the model: {_effect(row)}" for row in by[outcome]]
        said += [f"{begun} {'; with '.join(effects)}."] if effects else []
    left = [f"{row['check']}, {row['note']}" for row in by["not tried"]]
    return [*said, f"Rival explanations not tried: {'; '.join(left)}."] if left else said


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
    left, lost = _of(table, LEAVE_OUT), _lost(table, LEAVE_OUT, KEPT)
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
