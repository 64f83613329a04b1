"""Executor of processes on this machine that does not import the caller's script.

Processes of `concurrent.futures.ProcessPoolExecutor` import the script that started them, so a script without ``if
__name__ == "__main__":`` runs again in each of them. It also cannot be used in a daemonic process. Here `subprocess`
starts the processes and pipes carry the tasks. Objects that the script defines, such as a kernel, are pickled by value
(cloudpickle).

A worker ignores Ctrl-C, which reaches all processes of a terminal, and ends when its parent process ends.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from multiprocessing import spawn
from typing import Any, BinaryIO

import cloudpickle

# Code of a worker. The pipes are moved away from standard input and output, which tasks may use.
START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
sys.path[:], sys.argv[1:] = sys.argv[1:], []
from regimelag.evaluation.workers import end_with_parent, serve
end_with_parent()
serve(tasks, answers)
"""
# Interval in seconds at which a worker checks whether its parent process exists.
WATCH = 1.0


class WorkerDied(BrokenExecutor):
    """A process ended during a task."""


class SendingError(RuntimeError):
    """A task cannot be pickled, or not be unpickled in another process."""


class Workers(Executor):
    """Executor whose processes are started when there is a task for them.

    Parameters
    ----------
    count : int
        Maximum number of processes.
    """

    def __init__(self, count: int) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future[Any], bytes] | None] = queue.SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._broken: Exception | None = None
        self._starting = threading.Lock()
        self._sent: tuple[Any, bytes] = None, b""
        self._threads = [threading.Thread(target=self._attend, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call to the next free process."""
        future: Future[Any] = Future()
        try:
            if self._sent[0] is not fn:
                self._sent = fn, _pickled(fn)
            message = _pickled((self._sent[1], args, kwargs))
        except Exception as problem:
            raise SendingError(f"{type(problem).__name__}: {problem}") from problem
        self._tasks.put((future, message))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """End each process after its current task; queued futures are the caller's to cancel."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def kill(self) -> None:
        """Terminate all processes."""
        with self._starting:
            self._broken = WorkerDied("the processes were ended")
            for process in self._processes:
                process.kill()

    def _attend(self) -> None:
        """Send tasks to one process, one at a time, until there are none."""
        process = None
        while (task := self._tasks.get()) is not None:
            future, message = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                process = process or self._started()
                future.set_result(_ask(process, message))
            except Exception as problem:
                # A task that ends its process or cannot be unpickled there breaks the whole pool.
                self._broken = self._broken or problem
                future.set_exception(self._broken)
        if process is not None:
            process.communicate()

    def _started(self) -> subprocess.Popen[bytes]:
        # multiprocessing knows the executable, also for an embedded Python. With -P the working folder is not searched
        # for modules before the path is set to that of this process.
        command = [os.fsdecode(spawn.get_executable()), "-P", "-c", START, *map(str, sys.path)]
        with self._starting:
            if self._broken is not None:
                raise self._broken
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
            self._processes.append(process)
        return process


class _Pickler(cloudpickle.Pickler):
    """Pickles cached functions of the script by value too, each with a new cache."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _Cached) and obj.__module__ == "__main__":
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        return super().reducer_override(obj)


_Cached = functools._lru_cache_wrapper  # noqa: SLF001 the type of a function with a cache


def _cached(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _pickled(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def _ask(process: subprocess.Popen[bytes], message: bytes) -> Any:
    """Send a task, wait for its result and return it."""
    try:
        process.stdin.write(message)  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        read, answer = pickle.load(process.stdout)  # type: ignore[arg-type] # noqa: S301 from a process of our own
    except (OSError, EOFError, pickle.UnpicklingError):
        code = process.wait()
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        raise WorkerDied(f"a worker process ended with {ended}") from None
    if not read:
        raise SendingError(answer)
    return answer


def serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    """Process tasks until there are none, or the parent process is gone."""
    while True:
        try:
            fn, args, kwargs = pickle.load(tasks)  # noqa: S301 from the process that started this one
            call = _loaded(fn)
        except EOFError:
            return
        except Exception as problem:
            answer: tuple[bool, Any] = False, f"{type(problem).__name__}: {problem}"
        else:
            answer = True, call(*args, **kwargs)
        answers.write(pickle.dumps(answer))
        answers.flush()


# An object shared by tasks is unpickled once, so that caches keyed by it are reused.
_loaded = functools.lru_cache(maxsize=1)(pickle.loads)


def end_with_parent() -> None:
    """End this process when its parent ends, also during a task."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
