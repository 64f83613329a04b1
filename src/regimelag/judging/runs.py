"""Running many tasks on any executor; each finished one is a file, so a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def run(
    work: Callable[..., Result],
    tasks: Mapping[str, tuple[Any, ...]],
    *,
    executor: Executor | None = None,
    folder: str | Path | None = None,
) -> Iterator[tuple[str, Result]]:
    """Do a piece of work for each task, and yield results as they come.

    Parameters
    ----------
    work : callable
        Called with a task's arguments; returns what JSON can hold. Importable, if an executor runs it elsewhere.
    tasks : mapping of str to tuple
        Arguments by key. The key is the name of the result's file, so it must tell apart whatever changes the result.
    executor : concurrent.futures.Executor, optional
        Where to run; here, one after the other, by default.
    folder : path, optional
        Where results are kept, one JSON file each. Results found there are not made again.

    Yields
    ------
    tuple of str and dict
        Key and result; those found in the folder first.
    """
    kept = {} if folder is None else {key: Path(folder) / f"{key}.json" for key in tasks}
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    found = {key: file for key, file in kept.items() if file.exists()}
    for key, file in found.items():
        yield key, json.loads(file.read_text())
    for key, result in _done(work, {key: task for key, task in tasks.items() if key not in found}, executor):
        if folder is not None:
            _keep(kept[key], result)
        yield key, result


def _done(
    work: Callable[..., Result], tasks: Mapping[str, tuple[Any, ...]], executor: Executor | None
) -> Iterator[tuple[str, Result]]:
    if executor is None:
        for key, task in tasks.items():
            yield key, work(*task)
        return
    waiting = {executor.submit(work, *task): key for key, task in tasks.items()}
    for future in as_completed(waiting):
        yield waiting[future], future.result()


def _keep(file: Path, result: Result) -> None:
    """Write the file whole or not at all."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_text(json.dumps(result))
    part.replace(file)
