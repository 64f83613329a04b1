"""Many independent runs on any executor, each kept in a file of its own, so that a stopped study goes on where it was.

A study is a picklable function of a run's number. What it returns is plain data, as JSON holds it. A run that raises is
a result too: it is kept as ``{"error": ...}``, and it is for the study to count it.

    results = run_all(partial(one_run, task), range(300), settings={...}, folder="out/study")
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from regimelag.errors import FitError

Result = dict[str, Any]

ERROR = "error"
SETTINGS = "settings.json"
# How often a pool of our own is made anew when one of its processes dies.
REPAIRS = 2
# Settings longer than this are cut in an error.
SHORT = 60
# PyTensor's functions are not made for threads, and an executor may have some: one run at a time in a process.
_ALONE = threading.Lock()
# The code by which a model's draws, and what is read from them, come about.
MODEL_CODE = (
    "equations.py",
    "kernels.py",
    "likelihood/*.py",
    "model.py",
    "reading/lags.py",
    "reading/regimes.py",
    "sampling/compiled.py",
    "sampling/fit.py",
    "sampling/modes.py",
    "sampling/nuts.py",
    "sampling/point_lags.py",
    "simulation.py",
)


def run_all(
    work: Callable[[int], Result],
    numbers: Iterable[int],
    *,
    settings: Mapping[str, Any],
    executor: Executor | None = None,
    folder: str | Path | None = None,
    progressbar: bool = True,
) -> dict[int, Result]:
    """Do the runs that the folder does not hold yet, and return all of them.

    Parameters
    ----------
    work : callable
        Of a run's number, to a dict that JSON can hold. It is pickled: a function of a module, or a `functools.partial`
        of one. BLAS has one thread while it runs.
    numbers : iterable of int
        Which runs.
    settings : mapping
        What the results depend on, as JSON can hold it: a folder made with other settings is refused. `model_code` says
        which code.
    executor : concurrent.futures.Executor, optional
        Where to run, such as a Dask cluster's ``client.get_executor()``; it is left open. By default processes of this
        machine, one per core, started by "spawn": a script needs its ``if __name__ == "__main__"``.
    folder : str or Path, optional
        Where each finished run is kept, in a JSON file written whole or not at all. Without one, what is done is lost
        when the study stops.
    progressbar : bool
        Whether to say on standard error how far it is.

    Returns
    -------
    dict of int to dict
        By number, in the order of `numbers`: what `work` returned, or ``{"error": text}`` where it raised.

    Raises
    ------
    FitError
        If the folder belongs to other settings, or the executor breaks; what is done is kept in the folder.
    """
    wanted = list(dict.fromkeys(int(number) for number in numbers))
    kept = _Kept(folder, settings)
    found = kept.read(wanted)
    tell = _progress(len(wanted), len(found), progressbar)

    def finished(number: int, result: Result) -> None:
        found[number] = result
        kept.write(number, result)
        tell(found)

    for attempt in range(REPAIRS + 1):
        missing = [number for number in wanted if number not in found]
        with _running(executor, len(missing)) as pool:
            problem = _attempt(pool, work, missing, finished)
        if problem is None:
            break
        if executor is not None or not isinstance(problem, BrokenExecutor) or attempt == REPAIRS:
            raise _broken(problem, f"{len(found)} of {len(wanted)} runs are done", folder) from problem
    return {number: found[number] for number in wanted}


def model_code(*also: str) -> str:
    """SHA-256 of the source of model, sampler and readings, and of further files (patterns within the package)."""
    root = Path(__file__).resolve().parents[1]
    files = sorted({file for pattern in (*MODEL_CODE, *also) for file in root.glob(pattern)})
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _guarded(work: Callable[[int], Result], number: int) -> Result:
    """One run, in a worker; what it raises becomes its result."""
    with _ALONE, threadpool_limits(limits=1):
        try:
            # As a file would give it back, so that results do not depend on where they come from.
            return json.loads(json.dumps(work(number)))
        except Exception as problem:
            return {ERROR: f"{type(problem).__name__}: {problem}"}


def _attempt(
    pool: Executor, work: Callable[[int], Result], numbers: list[int], finished: Callable[[int, Result], None]
) -> BaseException | None:
    """Submit all runs and hand on each result as it comes; answer with what broke the pool, if anything did."""
    done: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
    submitted: dict[Future[Result], int] = {}
    problem: BaseException | None = None
    try:
        try:
            for number in numbers:
                submitted[pool.submit(_guarded, work, number)] = number
        except Exception as broken:
            # Of whatever kind: each executor has its own.
            problem = broken
        for future in submitted:
            future.add_done_callback(done.put)
        # All are heard, even after one has failed: what other processes finished is not lost.
        for _ in submitted:
            future = done.get()
            failure = CancelledError("the run was cancelled") if future.cancelled() else future.exception()
            if failure is None:
                finished(submitted[future], future.result())
            problem = problem or failure
    finally:
        for future in submitted:
            future.cancel()
    return problem


@contextmanager
def _running(executor: Executor | None, runs: int) -> Iterator[Executor]:
    """The caller's executor, left open, or processes of our own, which finish what they are at and stop."""
    if executor is not None:
        yield executor
        return
    workers = max(1, min(os.cpu_count() or 1, runs))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal; only the one that keeps the results is to answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _broken(problem: BaseException, done: str, folder: str | Path | None) -> FitError:
    kept = f"kept in {folder}; call again with this folder to go on" if folder is not None else "lost, without a folder"
    return FitError(
        "runs on an executor",
        "its processes live until the runs are done",
        f"{type(problem).__name__}: {problem}",
        f"mend the executor (memory?). {done}, {kept}",
    )


def _progress(total: int, before: int, shown: bool) -> Callable[[Mapping[int, Result]], None]:
    """What says on standard error how many runs are done, how many of them raised, and how long the rest may take."""
    start = time.monotonic()

    def tell(found: Mapping[int, Result]) -> None:
        left = (time.monotonic() - start) / max(len(found) - before, 1) * (total - len(found))
        raised = sum(ERROR in result for result in found.values())
        text = f"\r{len(found)} of {total} runs, {raised} failed, {left / 60:.0f} min left "
        print(text, end="\n" if len(found) == total else "", file=sys.stderr, flush=True)

    return tell if shown else lambda _: None


class _Kept:
    """The folder of a study: its settings, and one file a run, each with the settings' key."""

    def __init__(self, folder: str | Path | None, settings: Mapping[str, Any]) -> None:
        # As JSON gives them back, so that what is compared is alike.
        self.settings = json.loads(json.dumps(settings))
        self.key = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / SETTINGS
        if file.exists():
            self._check(json.loads(file.read_text(encoding="utf-8")), file.name)
        else:
            self._write(file, self.settings)

    def read(self, numbers: Iterable[int]) -> dict[int, Result]:
        """The results that are there."""
        found = {}
        for number in numbers:
            file = self._file(number)
            if file is not None and file.exists():
                held = json.loads(file.read_text(encoding="utf-8"))
                if held["key"] != self.key:
                    self._check({"key": held["key"]}, file.name)
                found[number] = held["result"]
        return found

    def write(self, number: int, result: Result) -> None:
        """Keep a result."""
        file = self._file(number)
        if file is not None:
            self._write(file, {"key": self.key, "result": result})

    def _file(self, number: int) -> Path | None:
        return None if self.folder is None else self.folder / f"{number:06d}.json"

    def _write(self, file: Path, content: Mapping[str, Any]) -> None:
        """Whole or not at all."""
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(file)

    def _check(self, held: Mapping[str, Any], name: str) -> None:
        """Refuse what was made with other settings, and say which."""
        differ = [
            f"{key}: {_short(held.get(key))}, now {_short(self.settings.get(key))}"
            for key in sorted({*held, *self.settings})
            if held.get(key) != self.settings.get(key)
        ]
        if differ:
            raise FitError(
                f"runs kept in {self.folder}",
                "all runs of a folder were made with the same settings and code",
                f"{name} has {'; '.join(differ)}",
                "name another folder, or delete this one to begin anew",
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHORT else f"{text[:SHORT]}..."
