"""Decision whether the data distinguish two models, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from regimelag.evaluation.comparison.differences import Contrast

# Sivula, Magnusson, Matamoros & Vehtari (2020), arXiv:2008.10296.
LEAST_NATS, LEAST_SE, LEAST_ROWS = 4.0, 2.0, 100
BETTER, WORSE, INCONCLUSIVE, REFERENCE = "better", "worse", "inconclusive", "reference"


@dataclass(frozen=True)
class ElpdDifference:
    """A difference in predictive density, and its reading.

    Parameters
    ----------
    difference, se : float
        Difference and its standard error, in nats.
    reading : str
        better, worse, inconclusive; or reference.
    why_not : str
        Why it is inconclusive, in words; empty if it is not.
    """

    difference: float
    se: float
    reading: str
    why_not: str = ""

    @classmethod
    def of(cls, terms: np.ndarray, others: np.ndarray, bad: np.ndarray, *, faulty: bool) -> Self:
        """Difference of two sets of terms (row); `bad` marks unreliable rows, `faulty` unreliable fits."""
        difference, se = paired_difference(terms, others)
        why_not = _why_not(terms, others, bad)
        if not why_not and faulty:
            why_not = "the diagnostics of a fit find fault"
        return cls(difference, se, INCONCLUSIVE if why_not else BETTER if difference > 0 else WORSE, why_not)


SAME = ElpdDifference(0.0, 0.0, REFERENCE)


def paired_difference(terms: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Sum of the differences of two sets of terms (row), and its standard error.

    Differences of models with different volatility dynamics are serially correlated. The standard error is that of
    Newey & West (1987), doi:10.2307/1913610, with Bartlett weights up to the cube root of the number of rows; it is
    never below that of independent rows.
    """
    difference = np.ravel(np.asarray(terms) - np.asarray(others))
    rows, apart = len(difference), difference - difference.mean()
    reach = min(int(np.ceil(np.cbrt(rows))), rows - 1)
    beside = sum((1 - k / (reach + 1)) * float(apart[k:] @ apart[:-k]) for k in range(1, reach + 1))
    squares = float(apart @ apart) + max(2 * beside, 0.0)
    return float(difference.sum()), float(np.sqrt(squares * rows / (rows - 1)))


def unreliable(score: Any) -> np.ndarray:
    """Rows of ArviZ's leave-one-out score with a Pareto k that is too large."""
    return ~(score.pareto_k.to_numpy().ravel() <= score.good_k)


def compare_elpd(score: Any, other: Any, *, faulty: bool) -> ElpdDifference:
    """Difference of two leave-one-out scores, with its reading."""
    bad = unreliable(score) | unreliable(other)
    return ElpdDifference.of(score.elpd_i.to_numpy(), other.elpd_i.to_numpy(), bad, faulty=faulty)


def _why_not(terms: np.ndarray, others: np.ndarray, bad: np.ndarray) -> str:
    """Why the sign of a difference is inconclusive; empty if it is not."""
    difference, se = paired_difference(terms, others)
    if abs(difference) < LEAST_NATS:
        return f"it is below {LEAST_NATS:g} nats"
    if abs(difference) < LEAST_SE * se:
        return f"it is within {LEAST_SE:g} standard errors"
    if len(terms) < LEAST_ROWS:
        return f"there are fewer than {LEAST_ROWS} rows"
    if bad.any():
        kept, error = paired_difference(terms[~bad], others[~bad])
        if kept * np.sign(difference) < max(LEAST_NATS, LEAST_SE * error):
            return f"it rests on {int(bad.sum())} rows with a large Pareto k"
    return ""


def _nats(telling: ElpdDifference) -> str:
    return f"{telling.difference:+.1f} nats (standard error {telling.se:.1f})"


def describe_models(
    reference: str,
    tellings: Mapping[str, ElpdDifference],
    faults: Mapping[str, list[str]],
    contrasts: Mapping[str, Contrast],
) -> list[str]:
    """Sentences on a comparison of models with a reference."""
    said = []
    for name, telling in tellings.items():
        if telling.reading == REFERENCE:
            continue
        words = f"{name} predicts {telling.reading} than {reference}: {_nats(telling)}."
        if telling.reading == INCONCLUSIVE:
            words = f"The data do not distinguish {name} from {reference}: {_nats(telling)}, and {telling.why_not}."
        found = contrasts[name]
        said.append(f"{words} {describe_contrast(found, name, reference)}{_on_clustering(found, telling)}")
    return [_claim(reference, tellings, contrasts), *said, *_faults(faults)]


def _on_clustering(found: Contrast, telling: ElpdDifference) -> str:
    """Sentence on whether regimes improve on volatility clustering, if the two models differ only in that."""
    if not found.regimes_over_clustering:
        return ""
    if telling.reading == INCONCLUSIVE:
        return " So whether regimes add anything beyond volatility clustering is inconclusive."
    with_regimes_is_better = (telling.reading == BETTER) == (found.regimes_over_clustering > 0)
    if with_regimes_is_better:
        return " So regimes add to the prediction beyond volatility clustering."
    return " So volatility clustering predicts better than regimes do."


def _claim(reference: str, tellings: Mapping[str, ElpdDifference], contrasts: Mapping[str, Contrast]) -> str:
    """Sentence on the claim, suitable for a paper."""
    by = {
        reading: [f"{name}{_besides(contrasts[name])}" for name, one in tellings.items() if one.reading == reading]
        for reading in (WORSE, BETTER, INCONCLUSIVE)
    }
    parts = [f"{reference} predicts better than {_listed(by[WORSE])}"] if by[WORSE] else []
    if by[BETTER]:
        verb = "predicts" if len(by[BETTER]) == 1 else "predict"
        parts.append(f"{_listed(by[BETTER])} {verb} better than {reference}")
    if by[INCONCLUSIVE]:
        parts.append(f"the data do not distinguish {_listed(by[INCONCLUSIVE])} from {reference}")
    said = f"{'; '.join(parts)}."
    return said[0].upper() + said[1:] if not (by[WORSE] or by[BETTER]) else said


def _besides(found: Contrast) -> str:
    terms = [f"also lacks the same-period term of {name}" for name in found.lost]
    terms += [f"also has the same-period term of {name}" for name in found.gained]
    return f" (which {_listed(terms)})" if terms else ""


def describe_contrast(found: Contrast, name: str, reference: str) -> str:
    """Differences of a model from its reference; if they do not test a lag, the comparison that does."""
    if not found.differences:
        return f"The models of {name} and {reference} are the same."
    begun = name[0].upper() + name[1:] if name.startswith("the ") else name
    said = [f"{begun} is {reference} {', '.join(found.differences)}."]
    for signal in (*found.lost, *found.gained):
        model = reference if signal in found.lost else name
        null = f'the same model with kernel = {{ kind = "none" }} for {signal} (regimelag.kernels.NoLag())'
        null = f"{found.nulls[signal]}, that is {null}" if signal in found.nulls else null
        said.append(
            f"This difference does not test the lag of {signal}, since the same-period term differs too: compare "
            f"{model} with {null}."
        )
    return " ".join(said)


def describe_gains(
    gains: Mapping[str, ElpdDifference],
    between: Mapping[str, ElpdDifference],
    faults: Mapping[str, list[str]],
    contrasts: Mapping[str, Contrast],
) -> list[str]:
    """Sentences on gains over nulls, and on their differences."""
    said = []
    for name, gain in gains.items():
        verb = {BETTER: "predicts better than its null", WORSE: "predicts worse than its null"}.get(gain.reading)
        words = (
            f"{name} {verb}: {_nats(gain)}."
            if verb
            else f"The data do not distinguish {name} from its null: {_nats(gain)}, and {gain.why_not}."
        )
        said.append(f"{words} {describe_contrast(contrasts[name], f'the null of {name}', f'the model of {name}')}")
    first = next(iter(gains))
    for name, telling in between.items():
        if telling.reading == REFERENCE:
            continue
        size = f"the gain of {name} less that of {first} is {_nats(telling)}"
        if telling.reading != INCONCLUSIVE:
            said.append(f"{name if telling.reading == BETTER else first} gains more: {size}.")
        else:
            said.append(f"Which of {first} and {name} gains more is inconclusive: {size}, and {telling.why_not}.")
    return [*said, *_faults(faults)]


def _faults(faults: Mapping[str, list[str]]) -> list[str]:
    return [f"Of {name} the diagnostics say: {' '.join(said)}" for name, said in faults.items() if said]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
