"""Independent runs of a study on any executor, stored in files so that it can be resumed.

A study is a picklable function of a run's number that returns JSON data. The exception of a failed run is stored as
``{"error": ...}`` and counted by the study. Failed runs are repeated when the study is called again, since the cause
may have been temporary.

    results = run_all(partial(one_run, task), range(300), settings={...}, folder="out/study")
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from regimelag.errors import FitError
from regimelag.evaluation.workers import SendingError, WorkerDied, Workers
from regimelag.runtime.files import FORMAT, FORMAT_KEY, check_format, explain_os_errors, remove_leftovers, write_whole
from regimelag.runtime.plain import drawn_seed, path_of
from regimelag.runtime.process import ALONE, refuse_while_imported
from regimelag.spec.toml import REGISTRIES

Result = dict[str, Any]

ERROR = "error"
SETTINGS = "settings.json"
# Number of times that a pool is recreated after one of its processes dies.
REPAIRS = 2
# Length at which settings are truncated in an error.
SHORT = 60
# Cures for a folder that is no path, and for one that cannot be resumed.
FOLDER = 'write folder="out/study", or leave folder out'
ANEW = "name another folder, or delete this one to begin anew"
# Subpackages that do not affect the numbers of a study.
UNRELATED = frozenset({"fetch", "plots", "reporting"})


def run_all(
    work: Callable[[int], Result],
    numbers: Iterable[int],
    *,
    settings: Mapping[str, Any],
    executor: Executor | None = None,
    folder: str | Path | None = None,
    progressbar: bool = True,
) -> dict[int, Result]:
    """Run the missing runs of a study, and return all of them.

    Parameters
    ----------
    work : callable
        Function of a run's number that returns a JSON-serialisable dict. It is pickled: a function, or a
        `functools.partial` of one. BLAS uses one thread while it runs.
    numbers : iterable of int
        Numbers of the runs.
    settings : mapping
        JSON-serialisable settings on which results depend; a folder made with other settings is refused. `model_code`
        identifies the code.
    executor : concurrent.futures.Executor, optional
        Executor, such as a Dask cluster's ``client.get_executor()``; it is left open. By default processes of this
        machine, one per core; they do not import the script, so it needs no ``if __name__ == "__main__"``.
    folder : str or Path, optional
        Folder for finished runs, one JSON file each, written atomically. Without it, results are lost if the study
        stops. A damaged file is renamed, and its run is repeated.
    progressbar : bool
        Whether to print progress to standard error.

    Returns
    -------
    dict of int to dict
        By number, in the order of `numbers`: the result of `work`, or ``{"error": text}``.

    Raises
    ------
    FitError
        If the folder has other settings or cannot be used, or the executor breaks; finished runs remain in the folder.

    Warns
    -----
    UserWarning
        If a file of the folder is damaged.

    Notes
    -----
    Ctrl-C stops the runs at once. With a folder, current runs are first finished and stored; a second Ctrl-C stops them
    too.
    """
    refuse_while_imported("a study of many runs")
    wanted = list(dict.fromkeys(int(number) for number in numbers))
    kept = _Kept(folder, settings)
    found = kept.read(wanted)
    tell = _progress(len(wanted), len(found), progressbar)

    def finished(number: int, result: Result) -> None:
        found[number] = result
        kept.write(number, result)
        tell(found)

    run = partial(_guarded, work, _registered())
    for attempt in range(REPAIRS + 1):
        missing = [number for number in wanted if number not in found]
        with _running(executor, len(missing)) as pool:
            problem = _attempt(pool, run, missing, finished, patient=executor is None and folder is not None)
        if problem is None:
            break
        if not isinstance(problem, WorkerDied) or attempt == REPAIRS:
            raise _broken(problem, f"{len(found)} of {len(wanted)} runs are done", folder, executor) from problem
    return {number: found[number] for number in wanted}


def seed_of_study(asked: str, folder: str | Path | None, random_seed: int | None) -> int:
    """Seed of a study: the given one, that of the study in the folder, or a new one.

    Raises
    ------
    FitError
        If the seed is not a non-negative integer, or the folder no path.
    """
    held = None if folder is None else path_of(FitError, asked, "folder", folder, FOLDER)
    if random_seed is None and held is not None:
        with explain_os_errors(asked, held):
            random_seed = (_json(held / SETTINGS) or {}).get("random_seed")
    return drawn_seed(FitError, asked, random_seed)


def code_hash() -> str:
    """SHA-256 of the package's source, without fetch, plots and reporting."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        if name.parts[0] not in UNRELATED:
            digest.update(name.as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _registered() -> dict[type, dict[str, type[Any]]]:
    """Classes registered by the caller, for processes that do not import the script."""
    return {
        base: {kind: cls for kind, cls in registry.items() if not cls.__module__.startswith("regimelag.")}
        for base, registry in REGISTRIES.items()
    }


def _guarded(work: Callable[[int], Result], classes: Mapping[type, Mapping[str, type[Any]]], number: int) -> Result:
    """Run one run in a worker; an exception becomes its result."""
    for base, registry in REGISTRIES.items():
        registry.update(classes[base])
    with ALONE, threadpool_limits(limits=1):
        try:
            # As read from a file, so that results do not depend on whether they were stored.
            return json.loads(json.dumps(work(number)))
        except Exception as problem:
            return {ERROR: f"{type(problem).__name__}: {problem}"}


def _attempt(
    pool: Executor,
    run: Callable[[int], Result],
    numbers: list[int],
    finished: Callable[[int, Result], None],
    *,
    patient: bool,
) -> BaseException | None:
    """Submit all runs and pass on each result; return the exception that broke the pool, if any.

    If `patient`, current runs are finished after Ctrl-C.
    """
    done: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
    submitted: dict[Future[Result], int] = {}
    problem: BaseException | None = None

    def hear() -> None:
        nonlocal problem
        # Continue after a failure, so that results of other processes are not lost.
        while submitted:
            future = done.get()
            number = submitted.pop(future)
            failure = CancelledError("the run was cancelled") if future.cancelled() else future.exception()
            if failure is None:
                finished(number, future.result())
            problem = problem or failure

    try:
        try:
            for number in numbers:
                submitted[pool.submit(run, number)] = number
        except Exception as broken:
            # Any exception: each executor has its own.
            problem = broken
        for future in submitted:
            future.add_done_callback(done.put)
        hear()
    except KeyboardInterrupt:
        for future in submitted:
            future.cancel()
        if patient:
            print("\nInterrupted; runs that have begun are finished and kept. Ctrl-C again ends them.", file=sys.stderr)
            hear()
        raise
    finally:
        for future in submitted:
            future.cancel()
    return problem


@contextmanager
def _running(executor: Executor | None, runs: int) -> Iterator[Executor]:
    """The caller's executor, left open, or own processes, which are terminated."""
    if executor is not None:
        yield executor
        return
    pool = Workers(max(1, min(os.cpu_count() or 1, runs)))
    try:
        yield pool
    except BaseException:
        pool.kill()
        raise
    finally:
        pool.shutdown()


def _broken(problem: BaseException, done: str, folder: str | Path | None, executor: Executor | None) -> FitError:
    kept, again = "lost, without a folder", ""
    if folder is not None:
        kept, again = f"kept in {folder}", "; then call again with the same folder to go on"
    here = "executor=concurrent.futures.ThreadPoolExecutor(1), which runs all in this process"
    if isinstance(problem, SendingError):
        rule = "what a run needs can be sent to other processes"
        cure = f"write kernels and functions of your own in a module that can be imported, or pass {here}"
    elif isinstance(executor, ProcessPoolExecutor):
        rule = "the processes of the executor live until the runs are done"
        cure = (
            'leave executor out, or put what the script does under if __name__ == "__main__":, since the processes of '
            "a ProcessPoolExecutor import the script; if it is there already, look for too little memory"
        )
    elif executor is not None:
        rule, cure = "the executor lives until the runs are done", "start the executor again"
    else:
        rule = "the processes of a study live until the runs are done"
        # The signal of the system if memory is exhausted.
        why = "look for too little memory" if "SIGKILL" in str(problem) else "see what it wrote on standard error"
        cure = f"{why}, or pass {here}"
    return FitError(
        "runs on an executor", rule, f"{type(problem).__name__}: {problem}; {done}, {kept}", f"{cure}{again}"
    )


def _progress(total: int, before: int, shown: bool) -> Callable[[Mapping[int, Result]], None]:
    """Return a callback that prints progress to standard error."""
    start = time.monotonic()

    def tell(found: Mapping[int, Result]) -> None:
        left = (time.monotonic() - start) / max(len(found) - before, 1) * (total - len(found))
        raised = sum(ERROR in result for result in found.values())
        text = f"\r{len(found)} of {total} runs, {raised} failed, {left / 60:.0f} min left "
        print(text, end="\n" if len(found) == total else "", file=sys.stderr, flush=True)

    return tell if shown else lambda _: None


class _Kept:
    """Folder of a study: its settings, and one file per run with a key of the settings."""

    def __init__(self, folder: str | Path | None, settings: Mapping[str, Any]) -> None:
        # As read from JSON, so that the comparison is between equal types.
        self.settings = json.loads(json.dumps({FORMAT_KEY: FORMAT, **settings}))
        self.key = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        self.folder = None if folder is None else path_of(FitError, "a study", "folder", folder, FOLDER)
        self.asked = f"runs kept in {self.folder}"
        if self.folder is None:
            return
        file, new = self.folder / SETTINGS, not self.folder.exists()
        with explain_os_errors(self.asked, self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder, inside=True)
            held = _json(file)
            if not held:
                # What each run was made with is in the run's own file too.
                for run in sorted(self.folder.glob("[0-9]*.json")):
                    if (_json(run) or {}).get("key", self.key) != self.key:
                        raise self._other(f"{run.name} was made with others")
            if held == {}:
                aside = file.replace(file.with_name(f"{file.name}.damaged"))
                warnings.warn(f"{file} is damaged: it is now {aside.name}, and is written anew.", stacklevel=4)
                held = None
        if held is None:
            try:
                self._write(file, self.settings)
            except FitError:
                if new:
                    with suppress(OSError):
                        self.folder.rmdir()
                raise
        else:
            check_format(self.asked, held, ANEW)
            self._check(held)

    def read(self, numbers: Iterable[int]) -> dict[int, Result]:
        """Stored results, without failed runs."""
        found: dict[int, Result] = {}
        if self.folder is None:
            return found
        with explain_os_errors(self.asked, self.folder):
            for number in numbers:
                file = self._file(number)
                held = _json(file)
                if held is None:
                    continue
                key, result = held.get("key"), held.get("result")
                if not (isinstance(key, str) and isinstance(result, dict)):
                    aside = file.replace(file.with_name(f"{file.name}.damaged"))
                    told = f"{file} is damaged: it is now {aside.name}, and run {number} is done again."
                    warnings.warn(told, stacklevel=4)
                elif key != self.key:
                    raise self._other(f"{file.name} was made with others")
                elif ERROR not in result:
                    found[number] = result
        return found

    def write(self, number: int, result: Result) -> None:
        """Store a result."""
        if self.folder is not None:
            self._write(self._file(number), {"key": self.key, "result": result})

    def _file(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{number:06d}.json"

    def _write(self, file: Path, content: Mapping[str, Any]) -> None:
        with explain_os_errors(self.asked, file, "what is done is kept, and a call with the same folder goes on"):
            write_whole(file, json.dumps(content).encode())

    def _check(self, held: Mapping[str, Any]) -> None:
        """Refuse a folder with other settings, and name them."""
        differ = [
            f"{key}: {_short(held.get(key))}, now {_short(self.settings.get(key))}"
            for key in sorted({*held, *self.settings})
            if held.get(key) != self.settings.get(key)
        ]
        if differ:
            raise self._other(f"{SETTINGS} has {'; '.join(differ)}")

    def _other(self, came: str) -> FitError:
        rule = "all runs of a folder were made with the same settings and code"
        return FitError(self.asked, rule, came, ANEW)


def _json(file: Path) -> dict[str, Any] | None:
    """Content of a JSON file: None if it does not exist, empty if it is damaged."""
    try:
        held = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHORT else f"{text[:SHORT]}..."
