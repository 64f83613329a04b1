"""Saving while the disk fills up at any operation: the old content or the new, an error of ours, no leftovers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pandas as pd
import xarray as xr
import zarr

import regimelag as rl
from hostile.cases import Case
from hostile.failing_disk import Disk
from hostile.fit_files import original
from regimelag.evaluation.parallel_runs import _Kept
from regimelag.fetch.cache import get_or_fetch, read
from regimelag.runtime.files import atomic_replace, explain_os_errors, recover
from regimelag.spec.toml import write_spec

# Operations of a save that are tried, where it has few and where a full trial would take minutes.
SOME, FEW, MANY = 12, 1, 500


def cases(folder: Path, *, every: bool = False) -> Iterator[Case]:
    """A full disk, and a passing fault, at each operation of each kind of save."""
    for name, (make, save, load) in _saves(folder).items():
        total = _count(folder / f"count {name}", make, save)
        step = 1 if every else max(1, total // (FEW if total > MANY else SOME))
        ends = 1 if total > MANY else 3
        for once in (False, True):
            for first in sorted(
                {*range(0, total, step), *range(min(ends, total)), *range(max(0, total - ends), total)}
            ):
                kind = "fails once" if once else "is full"
                yield Case(
                    "full disks",
                    f"{name}: the disk {kind} at operation {first} of {total}",
                    lambda make=make, save=save, load=load, first=first, once=once: _tried(
                        folder / "disk", make, save, load, Disk(folder / "disk", first, once=once)
                    ),
                )


def _count(folder: Path, make: Callable[[Path], object], save: Callable[[Path], object]) -> int:
    folder.mkdir()
    make(folder)
    with Disk(folder, 10**9).used() as disk:
        save(folder)
    return disk.count


def _tried(
    folder: Path,
    make: Callable[[Path], object],
    save: Callable[[Path], object],
    load: Callable[[Path], object],
    disk: Disk,
) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make(folder)
    before, names = load(folder), _names(folder)
    refused = None
    with disk.used():
        try:
            save(folder)
        except rl.RegimelagError as problem:
            refused = problem
    after = load(folder)
    if refused is None:
        return "" if after == "new" else f"no error, and {after}"
    if after not in (before, "new"):
        return f"{after} after {before}"
    if _names(folder) - names - {"new"} and after != "new":
        return f"left behind: {sorted(_names(folder) - names)}"
    if "No space left" not in refused.came:
        return f"the reason is hidden: {refused.came}"
    # The same again, once there is space.
    save(folder)
    if load(folder) != "new":
        return "the next save does not work"
    return ""


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def _saves(
    folder: Path,
) -> dict[str, tuple[Callable[[Path], object], Callable[[Path], object], Callable[[Path], object]]]:
    """Name: what makes the old content, what saves the new, and what reads "old", "new" or "none"."""
    tree = original()
    trees = {word: tree.copy() for word in ("old", "new")}
    for number, word in enumerate(trees):
        trees[word].attrs["random_seed"] = number
    saves = {}
    for ending in ("nc", "zarr"):
        done = {word: rl.save_fit(trees[word], folder / f"{word}.{ending}") for word in trees}
        held = {word: _written(path) for word, path in done.items()}

        def save(at: Path, ending: str = ending, held: dict[str, object] = held) -> None:
            # What xarray builds in memory is the same each time.
            with ExitStack() as stack:
                stack.enter_context(mock.patch.object(xr.DataTree, "to_netcdf", return_value=held["new"]))
                stack.enter_context(
                    mock.patch.object(
                        xr.DataTree, "to_zarr", lambda _, store, **__: store._store_dict.update(held["new"])
                    )
                )
                rl.save_fit(trees["new"], at / f"fit.{ending}", overwrite=True)

        def make(at: Path, done: dict[str, Path] = done, ending: str = ending) -> None:
            (shutil.copytree if ending == "zarr" else shutil.copy)(done["old"], at / f"fit.{ending}")

        def load(at: Path, held: dict[str, object] = held, ending: str = ending) -> str:
            # As load_fit does.
            recover(at / f"fit.{ending}")
            now = _written(at / f"fit.{ending}")
            return next((word for word in held if _same(now, held[word])), "something else")

        saves[f"save_fit {ending}"] = make, save, load
    return saves | {
        "write_spec": (
            lambda at: write_spec(rl.read_spec("btc_silver"), at / "spec.toml"),
            lambda at: write_spec(rl.read_spec("point_lag"), at / "spec.toml", overwrite=True),
            lambda at: {"btc_silver": "old", "point_lag": "new"}[rl.read_spec(at / "spec.toml").name],
        ),
        "a study": (
            lambda at: _Kept(at / "study", {"a": 1}),
            lambda at: _Kept(at / "study", {"a": 1}).write(3, {"b": 2}),
            lambda at: "new" if _Kept(at / "study", {"a": 1}).read([3]) else "old",
        ),
        "a new study": (
            lambda at: None,
            lambda at: _Kept(at / "study", {"a": 1}),
            lambda at: "new" if (at / "study" / "settings.json").is_file() else "old",
        ),
        "the cache": (
            lambda at: get_or_fetch(at, "a", lambda: _table(1.0), about={}, max_age=None, asked="a fetch"),
            lambda at: get_or_fetch(at, "a", lambda: _table(2.0), about={}, max_age=pd.Timedelta(0), asked="a fetch"),
            lambda at: {1.0: "old", 2.0: "new"}[read(at / "a.csv").table["value"][0]],
        ),
        "a folder": (
            lambda at: _folder(at, "old"),
            lambda at: _folder(at, "new", explained=True),
            lambda at: (recover(at / "folder"), (at / "folder" / "b" / "c").read_text())[1],
        ),
    }


def _written(path: Path) -> object:
    if path.is_file():
        return path.read_bytes()
    files = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
    return {name: zarr.core.buffer.cpu.Buffer.from_bytes(file.read_bytes()) for name, file in files.items()}


def _same(one: object, other: object) -> bool:
    if isinstance(one, bytes) or isinstance(other, bytes):
        return one == other
    return one.keys() == other.keys() and all(one[name].to_bytes() == other[name].to_bytes() for name in one)


def _table(value: float) -> pd.DataFrame:
    return pd.DataFrame({"date": pd.to_datetime(["2020-01-03"]), "value": [value]})


def _folder(at: Path, word: str, *, explained: bool = False) -> None:
    def write() -> None:
        recover(at / "folder")
        with atomic_replace(at / "folder") as part:
            (part / "b").mkdir()
            (part / "b" / "c").write_text(word)

    if not explained:
        write()
        return
    with explain_os_errors("a folder", at / "folder"):
        write()
