"""Comparison of a fit with a panel and the installed versions."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.panel.checks import panel_spec
from regimelag.panel.make import panel_hash
from regimelag.panel.slicing import day_of
from regimelag.runtime.result_table import readable
from regimelag.sampling.diagnostics import interruption
from regimelag.sampling.inference_data import held_panel, installed, spec_of
from regimelag.spec import names as nm

SHORT = 12


def verify(idata: xr.DataTree, panel: xr.Dataset) -> pd.DataFrame:
    """Compare the data, spec and versions of a fit with a panel and the installed packages.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    panel : xarray.Dataset
        A panel from `make_panel`.

    Returns
    -------
    pandas.DataFrame
        One row per comparison, with columns ``then``, ``now`` and ``same``: ``fit file``, the recorded hash of the data
        and that of the stored data; ``data``, the recorded hash and that of ``panel``; ``spec``, by name; ``version of
        ...`` each package that affects draws, Python and the platform. ``attrs["verdict"]`` is a list of sentences:
        whether the data are the same and, if not, which columns differ, on how many rows, from which date and by how
        much; which versions differ; whether sampling was interrupted.

    Raises
    ------
    FitError
        If the tree is not a fit.
    PanelError
        If ``panel`` is not a panel.

    Notes
    -----
    With the same data, spec, versions, seed and settings `fit` returns identical draws on the same machine. Other
    versions and processors may round differently; the posterior is then the same within Monte Carlo error.
    """
    spec, other = spec_of(idata), panel_spec(panel, "verify(idata, panel)")
    recorded, held, given = idata.attrs[nm.PANEL_HASH], panel_hash(held_panel(idata)), panel_hash(panel)
    rows = {
        "fit file": (recorded[:SHORT], held[:SHORT], recorded == held),
        "data": (recorded[:SHORT], given[:SHORT], recorded == given),
        "spec": (spec.name, other.name, spec == other),
    }
    then, now = json.loads(idata.attrs["versions"]), installed()
    for name in then | now:
        pair = then.get(name, "not recorded"), now.get(name, "not installed")
        rows[f"version of {name}"] = (*pair, pair[0] == pair[1])
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["then", "now", "same"]).rename_axis("what")
    table.attrs["verdict"] = [*_on_data(idata, panel, table), *_on_versions(table), *_on_sampling(idata)]
    table.attrs[nm.SENTENCES] = list(table.attrs["verdict"])
    return readable(table)


def _on_data(idata: xr.DataTree, panel: xr.Dataset, table: pd.DataFrame) -> list[str]:
    said = []
    if not table.loc["fit file", "same"]:
        said.append("The data inside the fit are not those it was made with: the file was changed after it was saved.")
    if table.loc["data", "same"]:
        said.append("The panel is the one that the fit was made with, value by value.")
    else:
        said += ["The panel is not the one that the fit was made with.", *_differences(held_panel(idata), panel)]
    if not table.loc["spec", "same"]:
        said.append("The panel was made with another spec than the fit; see regimelag.spec_of(idata).")
    return said


def _differences(old: xr.Dataset, new: xr.Dataset) -> list[str]:
    """Differences in window and in values on common rows; if none, names of differing variables."""
    return [*_windows(old, new), *_columns(old, new)] or [f"What differs: {', '.join(_unlike(old, new))}."]


def _windows(old: xr.Dataset, new: xr.Dataset) -> Iterator[str]:
    now, then = (f"{day_of(panel, 0)} to {day_of(panel, -1)} ({panel.sizes[nm.TIME]} rows)" for panel in (new, old))
    if now != then:
        yield f"Its window is {now}, the fit's {then}."


def _columns(old: xr.Dataset, new: xr.Dataset) -> Iterator[str]:
    """Sentences on columns that differ on rows of both panels, in their own units."""
    labels = (nm.LEG_ROLE, nm.LEG_SERIES, nm.LEG_COLUMN)
    if nm.LEVEL not in old or nm.LEVEL not in new:
        return
    then, now = (
        {tuple(map(str, key)): n for n, key in enumerate(zip(*(p[a].to_numpy() for a in labels), strict=True))}
        for p in (old, new)
    )
    common = np.intersect1d(old[nm.SIGNAL_TIME].to_numpy(), new[nm.SIGNAL_TIME].to_numpy())
    for key in then | now:
        role, series, column = key
        if key not in now or key not in then:
            yield f"Column {column} of {role} {series} is in {'the fit' if key in then else 'the panel'} alone."
            continue
        a, b = (p[nm.LEVEL].sel({nm.SIGNAL_TIME: common}).to_numpy()[:, at[key]] for p, at in ((old, then), (new, now)))
        differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if differ.any():
            rows = f"{int(differ.sum())} of {len(common)} rows that both have"
            since, most = pd.Timestamp(common[int(differ.argmax())]).date(), float(np.nanmax(abs(a - b), initial=0.0))
            yield f"{column} of {role} {series} differs on {rows}, from {since} on, by {most:.3g} at most."


def _unlike(old: xr.Dataset, new: xr.Dataset) -> list[str]:
    """Names of variables with different values or labels in the two panels."""
    names = sorted({*map(str, old.variables), *map(str, new.variables)})
    return [
        name
        for name in names
        if name not in old.variables or name not in new.variables or not old.variables[name].equals(new.variables[name])
    ]


def _on_versions(table: pd.DataFrame) -> list[str]:
    versions = table[table.index.str.startswith("version of ")]
    other = versions[~versions["same"].astype(bool)]
    if other.empty:
        return ["All versions are those that the fit was made with."]
    listed = ", ".join(
        f"{str(name).removeprefix('version of ')} {row['then']}, now {row['now']}" for name, row in other.iterrows()
    )
    return [f"Versions differ, so the same seed may give other draws: {listed}."]


def _on_sampling(idata: xr.DataTree) -> list[str]:
    said = interruption(idata)
    return [f"{said} The same seed does not give these draws again."] if said else []
