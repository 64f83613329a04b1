"""Checks that fits have the same responses, in their own units, on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.panel.slicing import day_of, natural
from regimelag.sampling.inference_data import panel_of
from regimelag.spec import names as nm


def check_alike(fits: Mapping[str, xr.DataTree]) -> None:
    """Refuse fits with other responses, rows, missing values or standardisation than the first."""
    rule = "models are compared on the same responses, row for row"
    cure = "; models of other responses are compared by their gains over nulls of their own, nulls={...}"
    _check(fits, _differs, "compare", rule, cure)


def check_same_rows(fits: Mapping[str, xr.DataTree]) -> None:
    """Refuse fits with other rows, or other missing values, than the first."""
    _check(fits, _other_rows, "compare", "gains are compared on the same rows", "")


def _check(
    fits: Mapping[str, xr.DataTree], differs: Callable[[xr.Dataset, xr.Dataset], str], asked: str, rule: str, cure: str
) -> None:
    panels = {name: panel_of(idata) for name, idata in fits.items()}
    first = next(iter(panels))
    for name, panel in panels.items():
        came = differs(panels[first], panel)
        if came:
            cure = f"{_same_window(panels.values())}{cure}"
            raise FitError(asked, rule, f"{name!r} differs from {first!r}: {came}", cure)


def _same_window(panels: Iterable[xr.Dataset]) -> str:
    start, end = (pick(day_of(panel, row) for panel in panels) for pick, row in ((max, 0), (min, -1)))
    return f'make all panels of one frame by make_panel(spec, frame, start="{start}", end="{end}"), and fit again'


def _differs(one: xr.Dataset, other: xr.Dataset) -> str:
    """Difference between two panels in words; empty if there is none."""
    if one.sizes[nm.RESPONSE] != other.sizes[nm.RESPONSE]:
        return f"responses {_responses(other)}, not {_responses(one)}"
    rows = _other_rows(one, other)
    if rows:
        return rows
    y, z = (natural(each, nm.RESPONSE).to_numpy() for each in (one, other))
    missing = np.flatnonzero((np.isnan(y) != np.isnan(z)).any(axis=1))
    if len(missing):
        return f"other values are missing on {len(missing)} rows, the first {day_of(one, missing[0])}"
    apart = np.flatnonzero(~np.isclose(y, z, rtol=1e-9, atol=1e-12, equal_nan=True).all(axis=1))
    if len(apart):
        return f"responses {_responses(other)} and {_responses(one)} have other values on {len(apart)} rows"
    for constant in (nm.center_of(nm.RESPONSE), nm.scale_of(nm.RESPONSE)):
        if not np.allclose(one[constant], other[constant], rtol=1e-9, atol=1e-12):
            return f"{constant} {other[constant].to_numpy().tolist()}, not {one[constant].to_numpy().tolist()}"
    return ""


def _other_rows(one: xr.Dataset, other: xr.Dataset) -> str:
    """Rows with a response in one of two panels only, in words; empty if there are none."""
    if not np.array_equal(one[nm.TIME], other[nm.TIME]):
        return f"rows {_span(other)}, not {_span(one)}"
    seen, others = (~np.isnan(natural(panel, nm.RESPONSE).to_numpy()).all(axis=1) for panel in (one, other))
    lacking = np.flatnonzero(seen != others)
    return f"other rows have a response: {len(lacking)}, the first {day_of(one, lacking[0])}" if len(lacking) else ""


def _responses(panel: xr.Dataset) -> str:
    return ", ".join(map(str, panel[nm.RESPONSE].to_numpy()))


def _span(panel: xr.Dataset) -> str:
    return f"{panel.sizes[nm.TIME]} from {day_of(panel, 0)} to {day_of(panel, -1)}"
