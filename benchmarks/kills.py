"""Kill processes at random moments while they save, and see what is left: nothing is lost, and reruns are identical.

    PYTHONPATH=tests python benchmarks/kills.py [--out out/kills.jsonl] [--scale 1.0] [--only save_nc cache]

Each task runs in a process that is ended by SIGKILL at a random moment of one run. Then what is at its path must be the
old content or the new, whole; and the task, run again, must give the same bits as a run that nobody killed. Studies are
killed again and again until they are done. Processes are forked from one that has imported everything, so that a kill
costs little. Each kill is one line of the file of outcomes, and a stopped script goes on after the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from builders import hand_panel, prior_fit, replaced, small_spec

import regimelag as rl
from regimelag.evaluation.parallel_runs import run_all
from regimelag.fetch.cache import get_or_fetch, read
from regimelag.runtime import files

# How many kills of each task.
KILLS = {"cache": 60, "study": 60, "save_nc": 40, "save_zarr": 30, "sbc": 3, "backtest": 3, "report": 4}
FEW = rl.Sampler(draws=20, tune=20, chains=2, starts=1)


class Task(NamedTuple):
    """A task in a folder.

    Attributes
    ----------
    before, run : callable
        What makes the old content, and what is killed.
    found : callable
        Content after a kill, comparable; raises if there is none. Of a study: of what is done.
    """

    before: Callable[[Path], object]
    run: Callable[[Path], object]
    found: Callable[[Path], Any]


def content(tree: xr.DataTree) -> tuple[object, ...]:
    """A fit as bytes."""
    groups = (tree[name].to_dataset() for name in sorted(tree.children))
    values = (group[name].to_numpy() for group in groups for name in sorted(group.variables, key=str))
    numbers = tuple(one.tobytes() if one.dtype.kind in "iufbM" else str(one.tolist()).encode() for one in values)
    return tree.attrs.get("random_seed", 0), hash(numbers)


def tasks() -> dict[str, Task]:
    spec = small_spec()
    fit = prior_fit(spec, hand_panel(spec, 8))
    fits = [fit.copy(), fit.copy()]
    for number, tree in enumerate(fits):
        tree.attrs["random_seed"] = number

    def save(ending: str) -> Task:
        return Task(
            lambda at: rl.save_fit(fits[0], at / f"fit.{ending}"),
            lambda at: rl.save_fit(fits[1], at / f"fit.{ending}", overwrite=True),
            lambda at: content(rl.load_fit(at / f"fit.{ending}")),
        )

    def table(value: float) -> pd.DataFrame:
        return pd.DataFrame({"date": pd.date_range("2020-01-01", periods=2000), "value": np.full(2000, value)})

    def fetched(at: Path, value: float) -> object:
        age = pd.Timedelta(0) if value else None
        return get_or_fetch(at, "a", lambda: table(value), about={}, max_age=age, asked="a fetch")

    def cached(at: Path) -> object:
        held = read(at / "a.csv")
        assert held is not None
        return sorted(set(held.table["value"]))

    alone = replaced(spec, drivers=(), controls=(), episodes=rl.spec.Episodes(), regimes=rl.spec.Regimes(count=1))
    dates = pd.date_range("2020-01-03", periods=145, freq="W-FRI")
    steps = 0.02 * np.random.default_rng(2).standard_normal((len(dates), 2))
    levels = pd.DataFrame(np.exp(steps.cumsum(axis=0)), index=dates, columns=["price", "metal"])
    panel = rl.make_panel(alone, levels, start=dates[20])

    def in_this_process(study: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return study(*args, executor=pool, progressbar=False, **options)

    def numbers(at: Path) -> Any:
        return in_this_process(run_all, _slow_square, range(20), settings={}, folder=at / "study")

    def backtest(at: Path) -> Any:
        options = {"start": panel["time"].to_numpy()[105], "every": 7, "stride": 5, "horizons": (1,), "baselines": {}}
        found = in_this_process(
            rl.evaluation.backtest, alone, panel, sampler=FEW, random_seed=1, folder=at / "study", **options
        )
        return found.to_csv()

    def sbc(at: Path) -> Any:
        options = {"simulations": 4, "thinned": 5, "random_seed": 1, "folder": at / "study"}
        found = in_this_process(rl.evaluation.sbc, alone, panel, sampler=FEW, **options)
        groups = {name: held.to_dataset() for name, held in found.children.items()}
        return str({at: {name: one.to_numpy().tolist() for name, one in held.items()} for at, held in groups.items()})

    def pages(at: Path) -> Any:
        # Numbers and words; a figure holds the time at which it was drawn.
        written = json.loads((at / "report" / ".regimelag.json").read_text())["files"]
        assert set(written) == set(files.files_in(at / "report")) - {".regimelag.json"}
        return sorted((name, one) for name, one in written.items() if name.endswith((".csv", ".tex")))

    def report(at: Path) -> Any:
        return rl.report(fits[0], at / "report", overwrite=True)

    return {
        "save_nc": save("nc"),
        "save_zarr": save("zarr"),
        "cache": Task(lambda at: fetched(at, 0.0), lambda at: fetched(at, 1.0), cached),
        "study": Task(_nothing, numbers, numbers),
        "report": Task(report, report, pages),
        "backtest": Task(_nothing, backtest, backtest),
        "sbc": Task(_nothing, sbc, sbc),
    }


def _nothing(at: Path) -> None:
    """A study begins with an empty folder."""


def _slow_square(number: int) -> dict[str, int]:
    time.sleep(0.005)
    return {"square": number**2}


def killed(run: Callable[[Path], object], at: Path, after: float) -> bool:
    """Run in a forked process and end it after some seconds; whether it was still running."""
    child = os.fork()
    if not child:
        try:
            warnings.simplefilter("ignore")
            run(at)
        finally:
            os._exit(0)
    time.sleep(after)
    over, _ = os.waitpid(child, os.WNOHANG)
    if not over:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return not over


def kills(name: str, task: Task, count: int, out: Path, rng: np.random.Generator) -> None:
    """Kill a task so many times, and write what came of each."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder) / "whole"
        at.mkdir()
        task.before(at)
        old = None if name in ("study", "backtest", "sbc") else task.found(at)
        # In a fork as well, so that both begin with the same caches; the second time it is measured.
        for _ in range(2):
            begun = time.monotonic()
            _waited(task.run, at)
            lasted = time.monotonic() - begun
        new = task.found(at)
        for number in range(count):
            place = Path(folder) / f"kill {number}"
            place.mkdir()
            task.before(place)
            running = killed(task.run, place, rng.uniform(0.0, lasted))
            fault = ""
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    after = task.found(place)
                    fault = "" if after in (old, new) else "what is there is neither the old nor the new"
                    # Again, in this process: leftovers are swept, and the bits are the same.
                    task.run(place)
                    fault = fault or ("" if task.found(place) == new else "the rerun differs")
                    left = [one.name for one in place.iterdir() if one.name.endswith((".part", ".old"))]
                    fault = fault or (f"left behind: {left}" if left else "")
            except Exception as problem:
                fault = f"{type(problem).__name__}: {problem}"
            with out.open("a") as kept:
                kept.write(json.dumps({"task": name, "running": running, "fault": fault}) + "\n")
            shutil.rmtree(place, ignore_errors=True)


def _waited(run: Callable[[Path], object], at: Path) -> None:
    child = os.fork()
    if not child:
        try:
            run(at)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/kills.jsonl", help="file of outcomes (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the numbers of kills (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=KILLS, default=list(KILLS), help="tasks")
    arguments = parser.parse_args()
    mpl.use("Agg")
    files.SWAP = 0.05
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng()
    known = tasks()
    for name in arguments.only:
        wanted = round(arguments.scale * KILLS[name])
        missing = wanted - sum(one["task"] == name for one in outcomes(out))
        if missing > 0:
            kills(name, known[name], missing, out, rng)
    table = pd.DataFrame(outcomes(out))
    table["faulty"] = table["fault"] != ""
    rows = table.groupby("task", sort=False).agg(
        kills=("task", "size"), running=("running", "sum"), faults=("faulty", "sum")
    )
    rows.loc["all"] = rows.sum()
    print(rows.rename(columns={"running": "killed while running"}).to_string())
    print(*table.loc[table["faulty"], ["task", "fault"]].itertuples(index=False), sep="\n")
    return int(rows.loc["all", "faults"] > 0)


def outcomes(out: Path) -> list[dict[str, Any]]:
    """What is known of earlier kills."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


if __name__ == "__main__":
    sys.exit(main())
