"""Table of simulation-based calibration, by quantity."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.evaluation.calibration.uniformity import ecdf_p_values, holm
from regimelag.runtime.result_table import readable
from regimelag.spec import names as nm

RANKS = "prior_sbc"
# Family-wise error rate of the verdict.
LEVEL = 0.05


def sbc_table(tree: xr.DataTree) -> pd.DataFrame:
    """Test the calibration of each quantity.

    Parameters
    ----------
    tree : xarray.DataTree
        From `sbc`.

    Returns
    -------
    pandas.DataFrame
        Indexed by quantity, with columns ``mean rank`` (0.5 if calibrated; lower if the posterior is too high), ``p``
        of a simultaneous test of the ranks' distribution function, ``p, Holm`` adjusted for the number of quantities,
        and ``verdict``: not calibrated if that is below 0.05, so that at most one in twenty studies of a correct model
        has such a verdict. ``attrs`` count ``simulations``; ``failed`` ones without ranks, which the test counts at the
        most unfavourable ranks; and simulations that are kept but ``unmixed`` (R-hat above 1.05), ``divergent`` (in any
        draw) or ``noisy`` (effective sample size below the number of thinned draws).

    Notes
    -----
    The test underlies the simultaneous bands of Saeilynoja, Buerkner & Vehtari (2022), doi:10.1007/s11222-022-10090-6.
    """
    if not isinstance(tree, xr.DataTree):
        raise FitError("sbc_table", "the tree is what sbc() returned", f"a {type(tree).__name__}", "pass that")
    if RANKS not in tree.children or "settings" not in tree.attrs:
        raise FitError("sbc_table", "the tree is what sbc() returned", f"groups {sorted(tree.children)}", "pass that")
    columns = sbc_columns(tree)
    values = np.stack(list(columns.values()), axis=1)
    p_values = ecdf_p_values(
        values, bins=json.loads(tree.attrs["settings"])["thinned"] + 1, unknown=tree.attrs["failed"]
    )
    table = pd.DataFrame(
        {"mean rank": values.mean(axis=0), "p": p_values, "p, Holm": holm(p_values)},
        index=pd.Index(columns, name="quantity"),
    )
    table["verdict"] = np.where(table["p, Holm"] < LEVEL, "not calibrated", "calibrated")
    table.attrs = {name: tree.attrs[name] for name in ("simulations", "failed", "unmixed", "divergent", "noisy")}
    return readable(table)


def sbc_columns(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Ranks (simulation) on (0, 1) of each quantity."""
    ranks = tree[RANKS].to_dataset().isel({nm.CHAIN: 0}, drop=True)
    return {name: column for values in ranks.data_vars.values() for name, column in _entries(values)}


def _entries(values: xr.DataArray) -> list[tuple[str, np.ndarray]]:
    """Columns (draw) of a quantity, with their names and labels."""
    dims = [dim for dim in values.dims if dim != nm.DRAW]
    found = []
    for place in np.ndindex(*(values.sizes[dim] for dim in dims)):
        one = values.isel(dict(zip(dims, place, strict=True)))
        # A dimension without coordinates is labelled by position.
        label = ", ".join(str(one[dim].item() if dim in one.coords else n) for dim, n in zip(dims, place, strict=True))
        found.append((f"{values.name}[{label}]" if dims else str(values.name), one.to_numpy()))
    return found
