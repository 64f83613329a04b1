"""Checks of fit files: where values are stored, their size, whether they changed, and whether they fit the spec."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from regimelag.errors import FitError, PanelError
from regimelag.panel.make import check_panel
from regimelag.runtime.files import files_in
from regimelag.sampling.diagnostics import RELABELLED, STACKED, STORED, undefined_draws
from regimelag.sampling.inference_data import spec_of, whole_panel
from regimelag.spec import names as nm
from regimelag.spec.terms import coordinates, terms_of

# File attribute: JSON with a hash of each group and of the attributes, to detect a changed or incomplete file.
HASHES = "contents_sha256"
ATTRS = "attrs"
# Bytes of memory that the values of any file may take, and the largest factor by which they may exceed the file.
ROOM, UNPACKED = 2**30, 20
TEXT_BYTES = 64
NEEDED = ("posterior", "observed_data", "constant_data")
# Groups whose values have one name.
RESPONSES = (nm.ONE_STEP_AHEAD, "prior_predictive", "posterior_predictive")
# Attributes with JSON, and the type of their content.
JSON_ATTRS = {"panel_attrs": dict, "versions": dict, STORED: list, RELABELLED: dict, STACKED: dict}
COUNTS = ("chains", "draws", "chains_kept", "draws_kept", "random_seed")


def check_netcdf(asked: str, content: bytes) -> None:
    """Refuse an HDF5 file that refers to other files, contains itself, or takes too much memory."""
    total, met = 0, set()
    with h5py.File(io.BytesIO(content), "r") as file:
        groups = [file["/"]]
        while groups:
            group = groups.pop()
            place = h5py.h5o.get_info(group.id).addr
            if place in met:
                _refuse(asked, f"group {group.name} is in the file twice")
            met.add(place)
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    _refuse(asked, f"{group.name}/{name} is a link")
                held = group[name]
                if isinstance(held, h5py.Group):
                    groups.append(held)
                elif isinstance(held, h5py.Dataset):
                    if held.external or held.is_virtual:
                        _refuse(asked, f"the values of {held.name} are in another file")
                    total += (held.size or 0) * held.dtype.itemsize
    _check_memory(asked, total, len(content))


def check_zarr(asked: str, folder: Path) -> None:
    """Refuse a Zarr folder with links out of it, or whose values take too much memory."""
    files, root = files_in(folder), folder.resolve()
    for name, file in files.items():
        if not (file.is_file() and file.resolve().is_relative_to(root)):
            _refuse(asked, f"{name} is no file of this folder")
    described = [json.loads(file.read_bytes()) for file in files.values() if file.name == "zarr.json"]
    total = sum(math.prod(one["shape"]) * _item(one["data_type"]) for one in described if one["node_type"] == "array")
    _check_memory(asked, total, sum(file.stat().st_size for file in files.values()))


def _item(data_type: object) -> int:
    """Bytes of a value of a Zarr array."""
    bits = re.fullmatch(r"[a-z]+(\d+)", str(data_type))
    return max(int(bits[1]) // 8, 1) if bits else TEXT_BYTES


def _refuse(asked: str, came: str) -> None:
    cure = "load a file that save_fit wrote; nothing was read from this one"
    raise FitError(asked, "a fit file holds its values itself, each once", came, cure)


def _check_memory(asked: str, total: int, size: int) -> None:
    if total > max(ROOM, UNPACKED * size):
        came = f"{total:,} bytes, in a file of {size:,}"
        rule = f"the values take at most {ROOM:,} bytes of memory, or {UNPACKED} times the size of the file"
        raise FitError(asked, rule, came, "load a file that save_fit wrote; nothing was read from this one")


def hashes(tree: xr.DataTree) -> dict[str, str]:
    """SHA-256 of each group, and of the attributes of the tree."""
    found = {str(name): _hash(group.to_dataset(inherit=False)) for name, group in tree.children.items()}
    held = {str(name): str(value) for name, value in tree.attrs.items() if name != HASHES}
    return found | {ATTRS: hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()}


def _hash(group: xr.Dataset) -> str:
    digest = hashlib.sha256()
    for name in sorted(group.variables, key=str):
        values = group.variables[name]
        digest.update(f"{name} {values.dims} {values.shape}".encode() + _plain(values.to_numpy()))
    return digest.hexdigest()


def _plain(values: np.ndarray) -> bytes:
    """Values as read from a file of either format, where None becomes NaN, and an empty array has any type."""
    if not values.size:
        return b""
    if values.dtype.kind in "mM":
        return values.astype(f"{'datetime' if values.dtype.kind == 'M' else 'timedelta'}64[ns]").tobytes()
    if values.dtype.kind == "O":
        written = [one for one in values.ravel() if isinstance(one, str)]
        if not written:
            try:
                return np.array([np.nan if one is None else one for one in values.ravel()], dtype=float).tobytes()
            except (ValueError, TypeError):
                return b""
        values = np.array([one if isinstance(one, str) else "" for one in values.ravel()])
    if values.dtype.kind in "iufb":
        return values.tobytes()
    return json.dumps([str(one) for one in values.ravel().tolist()]).encode()


def check_hashes(tree: xr.DataTree, asked: str) -> None:
    """Refuse a tree that has changed since it was saved, and remove its hashes."""
    try:
        recorded = dict(json.loads(str(tree.attrs.pop(HASHES, "{}"))))
    except (ValueError, TypeError):
        recorded = {HASHES: "unreadable"}
    if not recorded:
        return
    held = hashes(tree)
    came = [f"group {name} is missing" for name in recorded if name not in held]
    came += [f"group {name} was added" for name in held if name not in recorded]
    for name in recorded:
        if name in held and held[name] != recorded[name]:
            lost = undefined_draws(tree[name].to_dataset()) if name != ATTRS else []
            differs = "the attributes differ" if name == ATTRS else f"group {name} differs"
            came.append(differs + (f" ({'; '.join(lost)})" if lost else ""))
    if came:
        cure = "copy the file again, whole, from where it was saved, or fit and save again"
        raise FitError(asked, "the file holds what was saved", ", ".join(came), cure)


def check_fit(tree: xr.DataTree, asked: str, cure: str) -> None:
    """Refuse a tree whose data or draws are not those of its spec, or are not numbers."""
    came = ", ".join(_faults(tree))
    if came:
        raise FitError(asked, "a fit holds its spec, panel and draws, whole and of one model", came, cure)


def _faults(tree: xr.DataTree) -> Iterator[str]:
    spec = spec_of(tree)
    lacking = [f"no group {name}" for name in NEEDED if name not in tree.children]
    faults = lacking + list(_faults_of_attrs(tree.attrs))
    if faults:
        yield from faults
        return
    try:
        panel = whole_panel(spec, tree)
        check_panel(spec, panel)
    except (FitError, PanelError) as problem:
        yield f"{problem.rule}: {problem.came}"
        return
    except (ValueError, TypeError, KeyError) as problem:
        yield f"data that are no panel: {type(problem).__name__}: {problem}"
        return
    names = {one.name for one in terms_of(spec, panel).parameters()}
    labels = coordinates(spec, [str(one) for one in panel[nm.EPISODE].to_numpy()])
    for group in ("posterior", "prior"):
        if group in tree.children:
            yield from (f"in the {group}, {one}" for one in _faults_of_draws(tree[group].to_dataset(), names, labels))
    for group in RESPONSES:
        if group in tree.children and nm.RESPONSE_VALUE not in tree[group].data_vars:
            yield f"no {nm.RESPONSE_VALUE} in {group}"


def _faults_of_draws(draws: xr.Dataset, names: set[str], labels: dict[str, list[str]]) -> Iterator[str]:
    absent = names - set(map(str, draws.data_vars))
    if absent:
        yield f"no draws of {', '.join(sorted(absent))}"
    for dim, wanted in labels.items():
        size = draws.sizes.get(dim, len(wanted))
        held = [str(one) for one in np.ravel(draws[dim].to_numpy())] if dim in draws.coords else wanted
        if size != len(wanted) or held != wanted:
            yield f"draws with {size} labels of {dim}, {', '.join(held[:5])}, not {', '.join(wanted[:5])}"
    for name, values in draws.data_vars.items():
        if values.dtype.kind not in "iufb" or not {nm.CHAIN, nm.DRAW} <= set(values.dims):
            yield f"{name} of type {values.dtype} along {', '.join(map(str, values.dims))}"
    lost = undefined_draws(draws)
    if lost:
        yield f"draws that are NaN or infinite: {'; '.join(lost)}"


def _faults_of_attrs(attrs: dict[Any, Any]) -> Iterator[str]:
    for name, kind in JSON_ATTRS.items():
        if name not in attrs and name in ("panel_attrs", "versions"):
            yield f"no {name}"
        elif name in attrs:
            try:
                fits = isinstance(json.loads(attrs[name]), kind)
            except (ValueError, TypeError, RecursionError):
                fits = False
            if not fits:
                yield f"unreadable {name}"
    for name in (nm.PANEL_HASH, "created_at"):
        if not isinstance(attrs.get(name), str):
            yield f"no {name}"
    for name in COUNTS:
        if name in attrs and not isinstance(attrs[name], (int, np.integer)):
            yield f"{name} = {attrs[name]!r}"
