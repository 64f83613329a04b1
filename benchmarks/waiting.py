"""What users wait for apart from sampling: compiling, what follows sampling, lag report, report, and reading a file.

    python benchmarks/waiting.py --rounds 3
    python benchmarks/waiting.py --rounds 3 --data DIR

CPU seconds and, for the report, seconds on the wall; one thread. Models are fitted to the last 650 weeks of the example
panel with the defaults of `fit`. `daily` is added with ``--data``, a folder with btc_silver_daily.csv.

- *Compiling*, each time in a new process: the first model with empty cache folders, then models not seen before, with
  the package's code cached, then models seen before.
- *After sampling*: `as_fit` of the draws alone, with the model built.
- *Reading*: `read_series` against `pandas.read_csv` on a CSV of 106 MB, in the first call of a process and in later
  ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

import regimelag as rl
from regimelag.panel.slicing import last_rows

ROWS = 650
BASELINE = "no_late_macro"
UNSEEN = ("same_week_only", "btc_silver", "debasement", "no_drivers")
FITTED = (BASELINE, "point_lag")
FILE_ROWS, FILE_COLUMNS = 30_000, 180
COMPILE = """
import sys, time
sys.path.insert(0, {folder!r})
import pymc, numba
from waiting import example
from regimelag import build_model
from regimelag.sampling.compiled import CompiledModel
model = build_model(*example({name!r}))
begin = time.process_time()
CompiledModel(model)
print(time.process_time() - begin)
"""


def example(name: str) -> tuple[rl.ModelSpec, Any]:
    """A bundled model, and its panel."""
    spec = rl.read_spec(name)
    return spec, last_rows(rl.make_panel(spec, rl.example_panel(as_frame=True), start="2013-01-01"), ROWS)


def daily(folder: Path) -> tuple[rl.ModelSpec, Any]:
    """The model of daily data, and its panel."""
    spec = rl.read_spec("daily")
    return spec, rl.make_panel(spec, rl.read_series(folder / "btc_silver_daily.csv"), start="2013-01-01")


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds, and seconds on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def said(what: str, seconds: list[float]) -> None:
    """Print the median and the spread."""
    print(f"{what:<58}{np.median(seconds):>7.2f} ({min(seconds):.2f} to {max(seconds):.2f})", flush=True)


def compiling(rounds: int) -> None:
    """Models not seen before and seen before, in processes with cache folders of their own."""

    def seconds(name: str, folder: str) -> float:
        caches = {"NUMBA_CACHE_DIR": f"{folder}/numba", "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor"}
        command = [sys.executable, "-c", COMPILE.format(folder=str(Path(__file__).parent), name=name)]
        done = subprocess.run(command, env=os.environ | caches, check=True, capture_output=True, text=True)  # noqa: S603
        return float(done.stdout)

    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found.setdefault(f"compiling {BASELINE}, nothing compiled", []).append(seconds(BASELINE, folder))
            for case in ("not seen before", "seen before"):
                for name in UNSEEN:
                    found.setdefault(f"compiling {name}, {case}", []).append(seconds(name, folder))
            found.setdefault(f"compiling {BASELINE}, seen before", []).append(seconds(BASELINE, folder))
    for what, values in found.items():
        said(what, values)


def after_sampling(spec: rl.ModelSpec, panel: Any, rounds: int) -> Any:
    """Time what `fit` does with the draws; return the fit."""
    import xarray as xr

    fit = rl.fit(spec, panel, random_seed=1, progressbar=False)
    groups = {f"/{name}": fit[name].to_dataset() for name in ("posterior", "sample_stats")}
    model = rl.build_model(spec, panel)
    groups["/posterior"] = groups["/posterior"].drop_attrs()[[rv.name for rv in model.free_RVs]]
    draws = xr.DataTree.from_dict(groups)
    times = [timed(lambda: rl.as_fit(draws, spec, panel, model=model, random_seed=1))[0] for _ in range(rounds)]
    rows, count = panel.sizes["time"], fit["posterior"].sizes["chain"] * fit["posterior"].sizes["draw"]
    said(f"after sampling, {spec.name}, {rows} rows, {count} draws", times)
    return fit


def results(fit: Any, rounds: int) -> None:
    """Time lag report and report of a fit."""
    rl.lag_report(fit)
    said("lag report", [timed(lambda: rl.lag_report(fit))[0] for _ in range(rounds)])
    with tempfile.TemporaryDirectory() as folder:
        runs = [timed(lambda n=n: rl.report(fit, Path(folder) / str(n), progressbar=False)) for n in range(rounds + 1)]
    for place, kind in enumerate(("CPU", "wall")):
        said(f"report, {kind}, first in its process", [runs[0][place]])
        said(f"report, {kind}, later", [run[place] for run in runs[1:]])


def reading(rounds: int) -> None:
    """Time `read_series` and `pandas.read_csv` in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wide.csv"
        values = np.random.default_rng(0).normal(size=(FILE_ROWS, FILE_COLUMNS))
        dates = pd.date_range("1950-01-01", periods=FILE_ROWS, name="date")
        pd.DataFrame(values, dates, [f"c{n}" for n in range(FILE_COLUMNS)]).to_csv(path)
        pairs = [
            (timed(lambda: pd.read_csv(path))[0], timed(lambda: rl.read_series(path))[0]) for _ in range(rounds + 1)
        ]
    said("reading 106 MB, times pandas, first call", [pairs[0][1] / pairs[0][0]])
    said("reading 106 MB, times pandas, later calls", [own / theirs for theirs, own in pairs[1:]])


def main() -> int:
    """Measure and print medians and spread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="times each measurement is made")
    parser.add_argument("--data", type=Path, help="folder with btc_silver_daily.csv")
    options = parser.parse_args()
    reading(options.rounds)
    compiling(options.rounds)
    fits = [after_sampling(*example(name), options.rounds) for name in FITTED]
    results(fits[0], options.rounds)
    if options.data:
        after_sampling(*daily(options.data), options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
