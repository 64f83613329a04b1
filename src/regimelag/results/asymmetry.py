"""Asymmetry: the lagged effect of a gain less that of the loss of the same column.

A return is the sum of its gain and its loss, so the two effects are equal where the response to the return is
symmetric: Shin, Yu & Greenwood-Nimmo (2014), doi:10.1007/978-1-4899-8008-3_9. Their difference is a contrast of two
parameters under independent priors. It is claimed like a difference between regimes, of whose family of claims it is:
if it has one sign with probability 1 - 0.01 / n at least, n being the number of such pairs times responses, whether or
not an average effect is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from regimelag.results.verdict import Findings, contrast_verdict
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import gain_and_loss

if TYPE_CHECKING:
    from regimelag.results.lag_report import Row

ASYMMETRY = "asymmetry"


def asymmetry(spec: ModelSpec, draws: Mapping[Row, xr.DataArray], effect: str) -> dict[Row, xr.DataArray]:
    """Draws (chain, draw) of each difference, in the effects' unit, from those of the average effects by row."""
    return {
        row._replace(signal=f"{gain.name} less {loss.name}", quantity=ASYMMETRY): draws[row]
        - draws[row._replace(signal=loss.name)]
        for gain, loss in gain_and_loss(spec.lagged_signals)
        for row in draws
        if row.quantity == effect and not row.entries and row.signal == gain.name
    }


def asymmetry_verdicts(spec: ModelSpec, findings: Sequence[Findings]) -> dict[str, str]:
    """The verdict on each difference in words, by name, from the findings on each signal and response."""
    of = {one.name: one for one in findings}
    ends = [""] if len(spec.responses) == 1 else [f" on {response.name}" for response in spec.responses]
    pairs = [(*pair, end) for pair in gain_and_loss(spec.lagged_signals) for end in ends]
    return {
        f"{gain.name} less {loss.name}{end}": contrast_verdict(
            of[f"{gain.name}{end}"], of[f"{loss.name}{end}"], family=len(pairs)
        )
        for gain, loss, end in pairs
    }
