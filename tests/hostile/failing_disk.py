"""A disk that is full from its n-th operation on, or fails in it alone."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

WRITES = frozenset("wax+")


class Disk:
    """Counts the operations on files below a folder, and fails from number `first` on.

    Parameters
    ----------
    folder : Path
        Files elsewhere, such as compiled code, are not touched.
    first : int
        Number of the first operation that fails.
    once : bool
        Whether it is the only one.
    """

    def __init__(self, folder: Path, first: int, *, once: bool = False) -> None:
        self.folder, self.first, self.once, self.count = os.path.realpath(folder), first, once, 0

    def ask(self, path: object) -> None:
        """Count an operation that needs space, and fail if its time has come."""
        if not isinstance(path, (str, os.PathLike)) or not os.path.realpath(path).startswith(self.folder):
            return
        number, self.count = self.count, self.count + 1
        if number == self.first or (number > self.first and not self.once):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    @contextmanager
    def used(self) -> Iterator[Disk]:
        """Put the disk under `open`, and under making, renaming and flushing files."""
        opens, calls = io.open, {name: getattr(os, name) for name in ("mkdir", "rename", "replace")}
        sync, paths = os.fsync, {}

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not WRITES & set(mode) or not isinstance(file, (str, os.PathLike)):
                return opens(file, mode, *args, **kwargs)
            self.ask(file)
            held = opens(file, mode, *args, **kwargs)
            paths[held.fileno()] = file
            return _Written(held, lambda: self.ask(file))

        def synced(number: int) -> None:
            self.ask(paths.get(number))
            sync(number)

        def asked(name: str) -> Any:
            return lambda path, *args, **kwargs: (self.ask(path), calls[name](path, *args, **kwargs))[1]

        with (
            mock.patch.object(io, "open", opened),
            mock.patch.object(builtins, "open", opened),
            mock.patch.object(os, "fsync", synced),
            mock.patch.multiple(os, **{name: asked(name) for name in calls}),
        ):
            yield self


class _Written:
    """A file of which each write may fail, after half of it is written."""

    def __init__(self, held: Any, ask: Any) -> None:
        self._held, self._ask = held, ask

    def write(self, content: Any) -> int:
        try:
            self._ask()
        except OSError:
            self._held.write(content[: len(content) // 2])
            raise
        return self._held.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._held)
