"""Errors on their way through processes, folders of studies, and names in reports."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cloudpickle
import pandas as pd

import regimelag as rl
from hostile.cases import Case
from hostile.raising import PARTS, raised
from regimelag.evaluation.parallel_runs import run_all
from regimelag.fetch.fred_client import Secret
from regimelag.reporting import tables as tb
from regimelag.runtime.latex_text import ESCAPES, escape
from regimelag.runtime.result_table import compact

ERRORS = (
    rl.RegimelagError,
    rl.errors.SpecError,
    rl.errors.PanelError,
    rl.errors.FetchError,
    rl.errors.FitError,
)


def cases(folder: Path) -> Iterator[Case]:
    yield from _errors()
    yield from _studies(folder)
    yield from _names(folder)


# ---- errors


def _errors() -> Iterator[Case]:
    ways: dict[str, Callable[[rl.RegimelagError], rl.RegimelagError]] = {
        **{f"pickle {n}": partial(_pickled, protocol=n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
        "cloudpickle": lambda error: pickle.loads(cloudpickle.dumps(error)),
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
    }
    for kind in ERRORS:
        for name, way in ways.items():
            yield Case(
                "errors", f"{kind.__name__} through {name}", lambda kind=kind, way=way: _same(way(kind(*PARTS)), kind)
            )
    yield Case("errors", "through a thread", lambda: _through(ThreadPoolExecutor(1)))
    # A fork of a process with threads may wait for ever for a lock that one of them holds.
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        yield Case(
            "errors",
            f"through ProcessPoolExecutor, {method}",
            lambda c=context: _through(ProcessPoolExecutor(1, mp_context=c)),
        )
        yield Case("errors", f"through Pool, {method}", lambda c=context: _through_pool(c))
    yield Case(
        "errors", "a pickled key", lambda: "" if b"0123" not in pickle.dumps(Secret("0123" * 8)) else "the key is there"
    )


def _pickled(error: rl.RegimelagError, *, protocol: int) -> rl.RegimelagError:
    return pickle.loads(pickle.dumps(error, protocol))


def _same(error: BaseException | None, kind: type) -> str:
    parts = tuple(getattr(error, name, None) for name in ("asked", "rule", "came", "cure"))
    return "" if type(error) is kind and parts == PARTS and str(error).count("\n") == 3 else f"{error!r}"


def _through(pool: object) -> str:
    with pool:
        first = pool.submit(raised, rl.errors.SpecError).exception(timeout=60)
        if pool.submit(abs, -1).result(timeout=60) != 1:
            return "the pool is broken"
    return _same(first, rl.errors.SpecError)


def _through_pool(context: object) -> str:
    with context.Pool(1) as pool:
        try:
            pool.apply_async(raised, (rl.errors.FitError,)).get(timeout=60)
        except rl.errors.FitError as error:
            return _same(error, rl.errors.FitError)
    return "no error"


# ---- studies

SETTINGS = {"a": 1}


def square(number: int) -> dict[str, int]:
    return {"square": number**2}


DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(100),
    "cut": b'{"key": "ab',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "no result": b'{"key": "ab"}',
    "a result of a number": b'{"key": "ab", "result": 3}',
    "a key of a number": b'{"key": 3, "result": {}}',
    "no text": bytes(range(128, 256)),
    "deep": b"[" * 200_000,
    "a long number": b'{"key": ' + b"9" * 5000 + b"}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"key": "a"}'.encode("utf-16"),
    "another study's": b'{"key": "another", "result": {}}',
}


def _studies(folder: Path) -> Iterator[Case]:
    for file in ("000001.json", "settings.json"):
        for name, content in DAMAGES.items():
            yield Case("studies", f"{file} {name}", lambda file=file, content=content: _damaged(folder, file, content))
    for name, make in STUDY_PLACES.items():
        yield Case("studies", name, lambda make=make: _study_place(folder, make))
    for number, value in enumerate((object(), {1, 2}, float("nan"), float("inf"), None, 7, "text", [1], {"a": b"x"})):
        yield Case(
            "studies", f"a run that returns {type(value).__name__} {number}", lambda v=value: _returned(folder, v)
        )
    for kind in (
        ValueError,
        MemoryError,
        OSError,
        RecursionError,
        KeyError,
        rl.errors.FitError,
        UnicodeError,
        ZeroDivisionError,
    ):
        yield Case("studies", f"a run that raises {kind.__name__}", lambda kind=kind: _tried_again(folder, kind))


def _run(at: Path, work: Callable[[int], dict] = square) -> dict[int, dict]:
    with ThreadPoolExecutor(1) as pool:
        return run_all(work, range(3), settings=SETTINGS, folder=at, executor=pool, progressbar=False)


def _damaged(folder: Path, file: str, content: bytes) -> str:
    at = folder / "study"
    shutil.rmtree(at, ignore_errors=True)
    first = _run(at)
    (at / file).write_bytes(content)
    second = _run(at)
    aside = [one.read_bytes() for one in at.glob("*.damaged")]
    return "" if second == first and content in aside else f"{second}, {sorted(one.name for one in at.iterdir())}"


STUDY_PLACES: dict[str, Callable[[Path], object]] = {
    "a file in place of the folder": lambda at: at.write_text("x"),
    "a folder in place of a result": lambda at: (at / "000001.json").mkdir(parents=True),
    "a folder in place of settings": lambda at: (at / "settings.json").mkdir(parents=True),
    "a dangling link": lambda at: at.symlink_to("nowhere/at/all"),
    "a link to itself": lambda at: at.symlink_to(at.name),
    "somebody's notes": lambda at: (at.mkdir(), (at / "notes.txt").write_text("x")),
    "half a file of a killed process": lambda at: (at.mkdir(), (at / ".000001.json.x-1-0123abcd.part").write_text("{")),
}


def _study_place(folder: Path, make: Callable[[Path], object]) -> str:
    at = folder / "placed"
    make(at)
    try:
        found = _run(at)
    finally:
        shutil.rmtree(at, ignore_errors=True) if at.is_dir() and not at.is_symlink() else at.unlink(missing_ok=True)
    return "" if [one["square"] for one in found.values()] == [0, 1, 4] else f"{found}"


def _returned(folder: Path, value: object) -> str:
    at = folder / "study"
    shutil.rmtree(at, ignore_errors=True)
    first = _run(at, lambda number: {"a": value})
    return "" if json.dumps(_run(at, lambda number: {"a": value})) == json.dumps(first) else f"{first}"


def _tried_again(folder: Path, kind: type[Exception]) -> str:
    at = folder / "study"
    shutil.rmtree(at, ignore_errors=True)

    def fails(number: int) -> dict:
        if number == 1:
            raise kind(*(PARTS if issubclass(kind, rl.RegimelagError) else ("as asked",)))
        return square(number)

    if "error" not in _run(at, fails)[1]:
        return "no error"
    return "" if _run(at)[1] == {"square": 1} else "not tried again"


# ---- names in tables of reports

NAMES = (
    *(
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "=cmd|'/c calc'!A0",
        "\\input{x}",
        "a_b",
        "50 %",
        "a & b",
        "$x$",
    ),
    *(
        "#1",
        "{",
        "}",
        "~",
        "^",
        "a\nb",
        "a\n\nb",
        "\\",
        "%",
        "<script>",
        "\\write18{ls}",
        "\u2212",
        "a" * 300,
        "\\end{document}",
    ),
)


def _names(folder: Path) -> Iterator[Case]:
    for number, name in enumerate(NAMES):
        yield Case(
            "reports", f"a name of {name[:20]!r} in tables", lambda name=name, n=number: _table(folder / f"t{n}", name)
        )
        yield Case("reports", f"a name of {name[:20]!r} in a caption", lambda name=name: _caption(name))


def _table(folder: Path, name: str) -> str:
    frame = pd.DataFrame({name: [name, "plain"], "b": [-1.5, 2.0]}, index=pd.Index([name, "x"], name="signal"))
    tb.write_tables({"one": tb.Table(frame, compact(frame, caption=f"Of {name}."))}, folder)
    cells = pd.read_csv(folder / "one.csv", dtype=str, header=None, keep_default_na=False).to_numpy().ravel()
    odd = [cell for cell in cells if cell.strip().startswith(("=", "+", "@", "-")) and cell != "-1.5"]
    latex = (folder / "one.tex").read_text().partition("\\label")[0]
    live = [word for word in ("\\input", "\\write18", "\\end{document}") if word in latex]
    return f"formulas {odd}" if odd else (f"live {live}" if live else "")


def _caption(name: str) -> str:
    said = escape(name)
    rest = said
    for safe in sorted(ESCAPES.values(), key=len, reverse=True):
        rest = rest.replace(safe, "")
    return f"{said}" if set(rest) & set("\\{}%&#_$~^\n") else ""
