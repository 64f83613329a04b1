"""Atomic replacement of files and folders.

New content is first written beside its target, under a hidden name that ends in ``.part``. A file is then renamed,
which is atomic. An existing folder is renamed to ``.old``, the new folder takes its name, and the old one is removed:
if the process is killed, one of the two is complete, and `recover` restores it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from numbers import Integral
from pathlib import Path
from typing import Any

from regimelag.errors import FitError, RegimelagError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
# Files that file managers create.
JUNK = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
# Seconds to wait for a folder that another process may be replacing.
SWAP = 1.0
# Version of the format of fit files and study folders, and its key. It increases when a release that knows only the
# older version could not read the file.
FORMAT, FORMAT_KEY = 1, "regimelag_format"


def check_format(asked: str, held: Mapping[Any, Any], old: str) -> None:
    """Refuse another file format; `old` is the cure for a file of version 0.1.0."""
    found, rule = held.get(FORMAT_KEY), f"it is of format {FORMAT}"
    if not isinstance(found, Integral):
        raise FitError(asked, rule, f"no {FORMAT_KEY}, as version 0.1.0 wrote", old)
    if int(found) > FORMAT:
        cure = "install a newer regimelag: pip install --upgrade regimelag"
        raise FitError(asked, rule, f"format {found}, of a newer version", cure)


@contextmanager
def explain_os_errors(asked: str, path: Path, kept: str = "", kind: type[RegimelagError] = FitError) -> Iterator[None]:
    """Convert errors of the file system to errors with a cure; `kept` states what is not lost."""
    try:
        yield
    except OSError as problem:
        came = f"{problem.strerror or problem}: {problem.filename or path}"
        if problem.errno in NO_SPACE:
            rule, cure = "there is space for what is written", "free some space, or choose a path on another disk"
        else:
            rule, cure = (
                "the path can be read and written",
                "choose another path, or change the permissions of this one",
            )
        raise kind(asked, rule, came, f"{cure}; {kept}" if kept else cure) from problem


def files_in(folder: Path) -> dict[str, Path]:
    """Files and links in a folder by relative path, without those of file managers."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    return {path.relative_to(folder).as_posix(): path for path in paths if path.name not in JUNK}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    part = _beside(path, "part")
    try:
        part.write_bytes(content)
        _to_disk(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_replace(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside the target, which replaces the target on success."""
    part = _beside(target, "part")
    part.mkdir()
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _to_disk(file)
        if not target.exists():
            part.replace(target)
        elif not any(target.iterdir()):
            # An empty folder is kept: it may be a mount point, or the working folder of a process.
            for child in part.iterdir():
                child.replace(target / child.name)
        else:
            old = part.with_suffix(".old")
            target.replace(old)
            try:
                part.replace(target)
            except BaseException:
                old.replace(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def recover(target: Path) -> None:
    """Restore a folder that a killed process was replacing, and warn."""
    old = [path for path, _, _ in _left_behind(target) if path.suffix == ".old"]
    until = time.monotonic() + SWAP
    while old and not target.exists() and time.monotonic() < until:
        # A running process needs an instant.
        time.sleep(SWAP / 20)
    if not old or target.exists():
        return
    # The old folder is renamed once the new one is complete.
    new = old[-1].with_suffix(".part")
    back, which = (new, "new") if new.exists() else (old[-1], "old")
    with suppress(FileNotFoundError):
        # Another process may be faster.
        back.replace(target)
        warnings.warn(f"A process was killed while it replaced {target}; the {which} one is there now.", stacklevel=3)


def remove_leftovers(target: Path, *, inside: bool = False) -> None:
    """Remove temporary files of killed processes of this machine, beside or inside the target, and warn."""
    left = _left_behind(target / "any", r".+") if inside else _left_behind(target)
    gone = [path for path, machine, process in left if machine == _machine() and not _alive(process)]
    for path in gone:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if gone:
        names = ", ".join(path.name for path in gone)
        warnings.warn(f"A process was killed while it wrote {target}; removed {names}.", stacklevel=3)


def _to_disk(file: Path) -> None:
    """Flush a file's content to disk, so that a power cut does not leave an empty file."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _beside(target: Path, kind: str) -> Path:
    """Hidden path beside the target, with the machine and process in its name."""
    return target.with_name(f".{target.name}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.{kind}")


def _left_behind(target: Path, name: str = "") -> list[tuple[Path, str, int]]:
    """Temporary files beside the target, of its name or one of a pattern: path, machine and process."""
    own = re.compile(rf"\.{name or re.escape(target.name)}\.(\w+)-(\d+)-[0-9a-f]{{8}}\.(part|old)")
    found = ((path, own.fullmatch(path.name)) for path in sorted(target.parent.glob(".*")))
    return [(path, match[1], int(match[2])) for path, match in found if match]


def _machine() -> str:
    return re.sub(r"\W", "_", socket.gethostname())


def _alive(process: int) -> bool:
    if os.name == "nt":
        # On Windows os.kill would end the process.
        return True
    try:
        os.kill(process, 0)
    except OSError as problem:
        return problem.errno != errno.ESRCH
    return True
