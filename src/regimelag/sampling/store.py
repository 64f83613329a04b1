"""Fits to and from files, NetCDF or Zarr; reading executes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from regimelag import names as nm
from regimelag.data.cuts import in_natural_units
from regimelag.errors import FitError
from regimelag.sampling.tree import ONE_STEP, panel_of, spec_of


def save_fit(idata: xr.DataTree, path: str | Path, *, overwrite: bool = False) -> Path:
    """Save a fit.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    path : str or Path
        A NetCDF file (``.nc``) or a Zarr folder (``.zarr``).
    overwrite : bool
        Whether what is there may be replaced. It is replaced only once the new file is whole.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    FitError
        If something is there and `overwrite` is not set, the ending is another, or the tree is no fit.
    """
    spec_of(idata)
    if not isinstance(path, (str, Path)):
        cure = 'write save_fit(idata, "fit.nc")'
        raise FitError("save_fit", "the path is a text or a Path", f"a {type(path).__name__}", cure)
    target = Path(path)
    _check_ending(target)
    if target.exists() and not overwrite:
        raise FitError(
            f"save_fit to {target}",
            "what exists is kept",
            "the path exists",
            "pass overwrite=True, or choose another path",
        )
    with in_place_of(target) as part:
        if target.suffix == ".nc":
            idata.to_netcdf(part, engine="h5netcdf")
        else:
            idata.to_zarr(part, mode="w-", consolidated=False)
    return target


@contextmanager
def in_place_of(target: Path) -> Iterator[Path]:
    """A path beside the target to write a file or a folder to, which takes the target's place once it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield part
        if target.is_dir():
            shutil.rmtree(target)
        part.replace(target)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def load_fit(path: str | Path) -> xr.DataTree:
    """Load a fit that `save_fit` wrote, whole, into memory.

    Parameters
    ----------
    path : str or Path
        A ``.nc`` file or a ``.zarr`` folder.

    Returns
    -------
    xarray.DataTree
        The fit; its spec is rebuilt from the file, and executes nothing. In a file of version 0.1.0 the one-step-ahead
        densities are moved from log_likelihood to one_step_ahead, in the responses' own units.

    Raises
    ------
    FitError
        If there is no such file, or it holds no fit.
    """
    source = Path(path)
    _check_ending(source)
    if not source.exists():
        raise FitError(f"load_fit({str(source)!r})", "the path exists", "nothing is there", "check the path")
    try:
        if source.suffix == ".nc":
            with xr.open_datatree(source, engine="h5netcdf") as tree:
                loaded = tree.load()
        else:
            with xr.open_datatree(source, engine="zarr", consolidated=False) as tree:
                loaded = tree.load()
    except (OSError, ValueError, KeyError) as problem:
        raise FitError(
            f"load_fit({str(source)!r})", "the file is a whole NetCDF or Zarr store", str(problem), "fit and save again"
        ) from problem
    spec_of(loaded)
    return _with_present_groups(loaded)


def _with_present_groups(loaded: xr.DataTree) -> xr.DataTree:
    """Move the one-step-ahead densities to where they are now.

    Version 0.1.0 kept them in the group log_likelihood, as densities of standardised responses.
    """
    if nm.ONE_STEP_AHEAD not in loaded.children and nm.LOG_LIKELIHOOD in loaded.children:
        terms = in_natural_units(panel_of(loaded), loaded[nm.LOG_LIKELIHOOD].to_dataset()[nm.RESPONSE_VALUE])
        loaded[nm.ONE_STEP_AHEAD] = xr.DataTree(terms.assign_attrs(ONE_STEP).to_dataset(name=nm.RESPONSE_VALUE))
        del loaded[nm.LOG_LIKELIHOOD]
    return loaded


def _check_ending(path: Path) -> None:
    if path.suffix not in (".nc", ".zarr"):
        raise FitError(
            f"the fit file {path}",
            "its name ends in .nc or .zarr",
            f"ending {path.suffix!r}",
            "write fit.nc or fit.zarr",
        )
