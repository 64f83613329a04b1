"""Time the gradient of a model with a point lag, and of one with two regime processes, against the same model without.

    python benchmarks/model_cost.py --rounds 5 --at-most 10 3

The baseline is `no_late_macro`, with a gamma kernel and one process of two regimes. *point* marginalises the lag over
26 weeks. *two processes* has one process for scale and intercept and one, which the drivers move, for the effect: four
joint regimes. Rows are those of the example panel, repeated; one thread, all models in turns. The exit code is 1 if the
point lag or the two processes take more than `--at-most` times as long at the smallest number of rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import xarray as xr

import regimelag as rl
from regimelag.model.data import model_data
from regimelag.sampling.compiled import CompiledModel
from regimelag.spec import names as nm

# Rows that are evaluated in one measurement.
ROWS = 70_000
BASELINE = "gamma"


def variants() -> dict[str, rl.ModelSpec]:
    """The models by name, the baseline first."""
    plain = rl.read_spec("no_late_macro")
    point = dataclasses.replace(plain.signals[0], kernel=rl.kernels.Point())
    coupling = rl.read_spec("coupling")
    return {
        BASELINE: plain,
        "point": plain.changed(signals=(point,)),
        "two processes": plain.changed(regimes=rl.spec.Regimes(), regime_processes=coupling.regime_processes),
    }


def repeated(spec: rl.ModelSpec, panel: xr.Dataset, rows: int) -> xr.Dataset:
    """The panel, its rows repeated until there are as many."""
    history = np.arange(rows + spec.history) % panel.sizes[nm.SIGNAL_TIME]
    return panel.isel({nm.TIME: np.arange(rows) % panel.sizes[nm.TIME], nm.SIGNAL_TIME: history})


def nanoseconds(model: CompiledModel, rows: int) -> float:
    """Of one value and gradient per row, the mean of many calls."""
    point, calls = model.prior_point(1), max(ROWS // rows, 1)
    model.value_and_gradient(point)
    begin = time.perf_counter()
    for _ in range(calls):
        model.value_and_gradient(point)
    return (time.perf_counter() - begin) / (calls * rows) * 1e9


def main() -> int:
    """Compile, time in turns, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[682, 10_000])
    parser.add_argument("--at-most", type=float, nargs=2, default=[10.0, 3.0])
    options = parser.parse_args()
    frame = rl.example_panel(as_frame=True)
    panels = {name: rl.make_panel(spec, frame, start="2013-01-01") for name, spec in variants().items()}
    compiled = {name: CompiledModel(rl.build_model(spec, panels[name])) for name, spec in variants().items()}
    missed = False
    for rows in options.rows:
        longer = {name: model_data(spec, repeated(spec, panels[name], rows)) for name, spec in variants().items()}
        models = {name: model.on(longer[name]) for name, model in compiled.items()}
        found: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(options.rounds):
            for name, model in models.items():
                found[name].append(nanoseconds(model, rows))
        times = {name: np.array(values) for name, values in found.items()}
        limits = dict(zip(list(times)[1:], options.at_most, strict=True))
        for name, values in times.items():
            ratio = values / times[BASELINE]
            spread = f"{np.median(values):.0f} ns a row ({values.min():.0f} to {values.max():.0f})"
            print(
                f"{rows} rows, {name}: {spread}, {np.median(ratio):.1f} ({ratio.min():.1f} to {ratio.max():.1f}) times"
            )
            missed |= rows == min(options.rows) and float(np.median(ratio)) > limits.get(name, np.inf)
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
