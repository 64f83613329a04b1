"""Save and load fits as NetCDF or Zarr. Reading executes no code."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import xarray as xr
import zarr

from regimelag.errors import FitError
from regimelag.runtime.files import (
    FORMAT,
    FORMAT_KEY,
    atomic_replace,
    check_format,
    explain_os_errors,
    files_in,
    recover,
    remove_leftovers,
    write_whole,
)
from regimelag.runtime.plain import path_of
from regimelag.sampling.file_checks import HASHES, check_fit, check_hashes, check_netcdf, check_zarr, hashes
from regimelag.sampling.inference_data import spec_of

# Files of a Zarr folder: metadata of a group or an array, and chunks of an array.
ZARR = re.compile(r"(.+/)?(zarr\.json|c(/\d+)*)")


def save_fit(idata: xr.DataTree, path: str | Path, *, overwrite: bool = False) -> Path:
    """Save a fit.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    path : str or Path
        A NetCDF file (``.nc``) or a Zarr folder (``.zarr``).
    overwrite : bool
        Whether to replace an existing fit. It is replaced only when the new file is complete.

    Returns
    -------
    Path
        The file or folder.

    Raises
    ------
    FitError
        If the path exists and `overwrite` is not set, or is not a fit; if the suffix is not known, the tree is not a
        fit, or the path cannot be written. The fit in memory is unchanged.

    Warns
    -----
    UserWarning
        If a process was killed while it wrote to this path; its temporary files are removed.
    """
    spec_of(idata)
    _check_ending(path_of(FitError, "save_fit", "path", path, 'write save_fit(idata, "fit.nc")'))
    asked = f"save_fit to {path}"
    check_fit(idata, asked, "save the whole fit, and select from what load_fit returns")
    with explain_os_errors(asked, Path(path), "the fit is still in memory"):
        # The target of a link is replaced, not the link.
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        _check_target(target, Path(path).suffix, asked, overwrite=overwrite)
        remove_leftovers(target)
        tree = idata.copy()
        tree.attrs |= {FORMAT_KEY: FORMAT}
        tree.attrs[HASHES] = json.dumps(hashes(tree))
        # Both formats are built in memory and written here: HDF5 aborts the process if the disk is full.
        if Path(path).suffix == ".nc":
            # A copy: Python crashes if the view returned by xarray is garbage-collected after an error.
            with _locks_of_this_process():
                written = bytes(tree.to_netcdf(engine="h5netcdf"))
            write_whole(target, written)
            return Path(path)
        store: dict[str, zarr.core.buffer.Buffer] = {}
        tree.to_zarr(zarr.storage.MemoryStore(store), mode="w-", consolidated=False, zarr_format=3)
        with atomic_replace(target) as part:
            for name, content in store.items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(content.to_bytes())
    return Path(path)


@contextmanager
def _locks_of_this_process() -> Iterator[None]:
    """Make xarray use locks of this process: those of a Dask cluster do not work with files in memory."""
    dask = sys.modules.get("dask")
    if dask is None:
        yield
        return
    with dask.config.set(scheduler="synchronous"):
        yield


def _check_target(target: Path, ending: str, asked: str, *, overwrite: bool) -> None:
    """Refuse to replace an existing file unless it is a fit and `overwrite` is set."""
    if not target.exists():
        return
    if overwrite is not True:
        cure = "pass overwrite=True, or choose another path"
        raise FitError(asked, "what exists is kept", "the path exists", cure)
    strange = _strange_file(target) if ending == ".nc" else _strange_folder(target)
    if strange:
        cure = "move or delete it, or choose another path"
        raise FitError(asked, "what is replaced is a fit, and nothing else", f"{target} {strange}", cure)


def _strange_file(target: Path) -> str:
    """Reason why a file is not a fit; empty if it is one."""
    if target.is_dir():
        return "is a folder"
    try:
        with h5py.File(target, "r") as file:
            return "" if "spec" in file.attrs else "holds something else"
    except OSError:
        return "is no NetCDF file"


def _strange_folder(target: Path) -> str:
    """Reason why a folder is not only a fit; empty if it is one, or has no files."""
    if not target.is_dir():
        return "is a file"
    files = files_in(target)
    strange = [name for name, file in files.items() if file.is_symlink() or not ZARR.fullmatch(name)]
    if strange:
        return f"holds {', '.join(strange[:3])}"
    try:
        fit = not files or "spec" in json.loads((target / "zarr.json").read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        fit = False
    return "" if fit else "holds something else"


def load_fit(path: str | Path) -> xr.DataTree:
    """Load a fit written by `save_fit` into memory.

    Parameters
    ----------
    path : str or Path
        A ``.nc`` file or a ``.zarr`` folder.

    Returns
    -------
    xarray.DataTree
        The fit. Loading executes no code from the file.

    Raises
    ------
    FitError
        If the file does not exist, is not a fit, is incomplete, was changed after it was saved, refers to other files,
        takes far more memory than space, comes from version 0.1.0, or has a newer format than this version of the
        package reads; or if draws are NaN or infinite, or not those of the spec.

    Warns
    -----
    UserWarning
        If a process was killed while it replaced this fit; the complete version is restored.
    """
    source = path_of(FitError, "load_fit", "path", path, 'write load_fit("fit.nc")')
    asked = f"load_fit({str(source)!r})"
    _check_ending(source)
    with suppress(OSError):
        recover(Path(os.path.realpath(source)))
    if not os.path.lexists(source):
        raise FitError(asked, "the path exists", "nothing is there", "check the path")
    if not (source.is_file() if source.suffix == ".nc" else source.is_dir()):
        rule = "a path that ends in .nc is a file, and one that ends in .zarr a folder"
        raise FitError(asked, rule, f"{source} is none", "check the path")
    try:
        if source.suffix == ".nc":
            # Read from memory: xarray keeps unreadable files open, and would not notice their replacement.
            content = source.read_bytes()
            check_netcdf(asked, content)
            with xr.open_datatree(io.BytesIO(content), engine="h5netcdf") as tree:
                loaded = _in_memory(tree)
        else:
            check_zarr(asked, source)
            with xr.open_datatree(source, engine="zarr", consolidated=False) as tree:
                loaded = _in_memory(tree)
    except FitError:
        raise
    except Exception as problem:
        # Any exception: a damaged file can break its reader anywhere.
        rule, came = "the file is a whole NetCDF or Zarr store", f"{type(problem).__name__}: {problem}"
        raise FitError(asked, rule, came, "copy the file again, or fit and save again") from problem
    if "spec" in loaded.attrs:
        check_format(asked, loaded.attrs, _old_file(source))
    check_hashes(loaded, asked)
    spec_of(loaded)
    check_fit(loaded, asked, "copy the file again, whole, from where it was saved, or fit and save again")
    return loaded


def _old_file(source: Path) -> str:
    engine = 'engine="h5netcdf"' if source.suffix == ".nc" else 'engine="zarr", consolidated=False'
    return (
        f"read its groups with xarray.open_datatree({str(source)!r}, {engine}), whose attrs hold the spec and the "
        "random_seed; and fit again with the same spec, panel and seed"
    )


def _in_memory(tree: xr.DataTree) -> xr.DataTree:
    """The tree with all its values; `DataTree.load` skips a variable with the name of its group."""
    return xr.DataTree.from_dict({node.path: node.to_dataset(inherit=False).load() for node in tree.subtree})


def _check_ending(path: Path) -> None:
    if path.suffix not in (".nc", ".zarr"):
        raise FitError(
            f"the fit file {path}",
            "its name ends in .nc or .zarr",
            f"ending {path.suffix!r}",
            "write fit.nc or fit.zarr",
        )
