"""Settings of the whole process: one thread at a time in PyTensor, SIGTERM as Ctrl-C, memory and its collection."""

from __future__ import annotations

import ctypes
import functools
import gc
import multiprocessing
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

from regimelag.errors import FitError

# PyTensor changes its configuration temporarily, for the whole process. Of two threads that do so, one can leave the
# changed configuration in place, and graphs compiled later then round differently. The lock is reentrant.
ALONE = threading.RLock()
# Parameters of glibc's mallopt with their values in bytes: M_MMAP_THRESHOLD, at its largest, and M_TRIM_THRESHOLD.
MALLOC = {-3: 1 << 25, -1: 1 << 28}


def one_thread_at_a_time[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """Serialise calls of a function that uses PyTensor."""

    @functools.wraps(function)
    def one_at_a_time(*args: P.args, **kwargs: P.kwargs) -> T:
        with ALONE:
            return function(*args, **kwargs)

    return one_at_a_time


def keep_freed_memory() -> None:
    """Let glibc keep up to 256 MB of freed memory, which it would return to the system.

    An evaluation of a model on a long series allocates and frees megabytes. Handed out anew, each page costs a fault:
    with a point lag on 3,000 rows three quarters of the time. With another C library nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in MALLOC.items():
            mallopt(parameter, value)


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause Python's collection of cycles, which walks all of a graph again and again while one is rewritten."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def without_main_script(context: str | BaseContext | None) -> BaseContext:
    """A `multiprocessing` context whose processes do not import the main script, for work that does not need it.

    Parameters
    ----------
    context : str or multiprocessing.context.BaseContext, optional
        The context, or its start method; by default that of `multiprocessing`.
    """
    found = context if isinstance(context, BaseContext) else multiprocessing.get_context(context)
    return found if found.get_start_method() == "fork" else _Context(found)  # type: ignore[return-value]


class _Context:
    def __init__(self, context: BaseContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # noqa: N802
        return _Process(self._context.Process(*args, **kwargs))  # type: ignore[attr-defined]


class _Process:
    def __init__(self, process: Any) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def start(self) -> None:
        """Start while `__main__` has no file, so that `multiprocessing` imports no script."""
        script = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            self._process.start()
        finally:
            sys.modules["__main__"] = script


def refuse_while_imported(asked: str) -> None:
    """Refuse to work in a process started by `multiprocessing` that is still importing the script.

    A script without ``if __name__ == "__main__":`` runs again in each process started by "spawn" or "forkserver".
    Python imports it there as ``__mp_main__``, which replaces ``__main__`` when the import is done.
    """
    imported = sys.modules.get("__mp_main__")
    if imported is not None and sys.modules["__main__"] is not imported:
        raise FitError(
            asked,
            "a process that multiprocessing starts imports the script, and runs again what is not guarded",
            "a call that is not guarded",
            'put what the script does under if __name__ == "__main__":',
        )


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does.

    Only in a main process that handles Ctrl-C and not SIGTERM: pools end their own processes by SIGTERM, and these must
    not go on with a part of the draws.
    """
    free = threading.current_thread() is threading.main_thread() and multiprocessing.parent_process() is None
    own = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    if not free or own != (signal.default_int_handler, signal.SIG_DFL):
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
