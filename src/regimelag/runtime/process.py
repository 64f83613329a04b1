"""Guards of a process: one thread in PyTensor, no work while a script is imported."""

from __future__ import annotations

import functools
import multiprocessing
import sys
import threading
import types
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any

from regimelag.errors import FitError

# PyTensor changes its configuration for moments, for the whole process: of two threads that do so, one can leave the
# changed configuration behind, and then graphs compiled later round otherwise. One that holds the lock may take it
# again.
ALONE = threading.RLock()


def one_thread_at_a_time[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """Let one thread at a time into a function that uses PyTensor."""

    @functools.wraps(function)
    def one_at_a_time(*args: P.args, **kwargs: P.kwargs) -> T:
        with ALONE:
            return function(*args, **kwargs)

    return one_at_a_time


def without_main_script(context: str | BaseContext | None) -> BaseContext:
    """A context of `multiprocessing` whose processes do not import the script, for work that needs nothing from it.

    Parameters
    ----------
    context : str or multiprocessing.context.BaseContext, optional
        The context, or its start method; the default one of `multiprocessing` if there is none.
    """
    found = context if isinstance(context, BaseContext) else multiprocessing.get_context(context)
    return found if found.get_start_method() == "fork" else _Context(found)  # type: ignore[return-value]


class _Context:
    def __init__(self, context: BaseContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def Process(self, *args: Any, **kwargs: Any) -> _Process:  # noqa: N802
        """As of the context."""
        return _Process(self._context.Process(*args, **kwargs))  # type: ignore[attr-defined]


class _Process:
    def __init__(self, process: Any) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def start(self) -> None:
        """Start while there seems to be no script, which is where `multiprocessing` looks for what to import."""
        script = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            self._process.start()
        finally:
            sys.modules["__main__"] = script


def refuse_while_imported(asked: str) -> None:
    """Refuse to work in a process that `multiprocessing` has started and that is importing the script.

    A script whose calls do not stand under ``if __name__ == "__main__":`` runs again in each process that is started by
    "spawn" or "forkserver". Python then imports it as ``__mp_main__``, which takes the place of ``__main__`` once the
    import is done.
    """
    imported = sys.modules.get("__mp_main__")
    if imported is not None and sys.modules["__main__"] is not imported:
        raise FitError(
            asked,
            "a process that multiprocessing starts imports the script, and runs again what is not guarded",
            "a call that is not guarded",
            'put what the script does under if __name__ == "__main__":',
        )
