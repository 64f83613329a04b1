"""Numbers as text: rounded alike within a column, intervals, and probabilities that are never 0 or 1."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

# Significant digits of the largest number of a column.
DIGITS, MOST_DECIMALS = 3, 5


def decimals(values: Iterable[float]) -> int:
    """Decimals of a column: those that leave three significant digits of its largest number."""
    largest = max((abs(float(value)) for value in values if _known(value)), default=0.0)
    return 0 if not largest else min(max(DIGITS - 1 - math.floor(math.log10(largest)), 0), MOST_DECIMALS)


def _known(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(float(value))


def fixed(value: float, places: int) -> str:
    """A number with this many decimals and without a negative zero; empty if it is missing."""
    return re.sub(r"^-(?=[0.,]+$)", "", f"{float(value):,.{places}f}") if _known(value) else ""


def interval(low: float, high: float, places: int) -> str:
    """An interval with this many decimals; empty if it is missing."""
    return f"[{fixed(low, places)}, {fixed(high, places)}]" if _known(low) and _known(high) else ""


def probability(value: float) -> str:
    """A probability, which draws do not show to be zero or one; empty if it is missing."""
    if not _known(value):
        return ""
    shown = f"{value:.3f}"
    return {"0.000": "< 0.001", "1.000": "> 0.999"}.get(shown, shown)


def cell(value: Any) -> str:
    """Text of a value that is no decimal number: a date as ISO, a truth value as yes or no, missing as empty."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        # A year has no separator.
        return f"{int(value):,}" if abs(int(value)) >= 10_000 else str(value)  # noqa: PLR2004
    return str(value)
