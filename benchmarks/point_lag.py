"""Time the gradient of a model whose point lag is marginalised against that of the same model with a gamma kernel.

    python benchmarks/point_lag.py --rounds 5 --at-most 10

The baseline model on the example panel (682 weeks, 26 lags), one thread, both sides in turns. The exit code is 1 if
marginalising the lag costs more than `--at-most` times as much.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import regimelag as rl
from regimelag.sampling.compiled import CompiledModel

CALLS = 100


def variants() -> dict[str, rl.ModelSpec]:
    """The model `no_late_macro` with its gamma kernel and with a point lag."""
    fixed = rl.read_spec("no_late_macro")
    signal = dataclasses.replace(fixed.signals[0], kernel=rl.kernels.Point())
    return {"gamma": fixed, "point": dataclasses.replace(fixed, signals=(signal,))}


def seconds(model: CompiledModel) -> float:
    """Of one value and gradient, the mean of many calls."""
    point = model.prior_point(1)
    begin = time.perf_counter()
    for _ in range(CALLS):
        model.value_and_gradient(point)
    return (time.perf_counter() - begin) / CALLS


def main() -> int:
    """Compile, time in turns, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-most", type=float, default=10.0)
    options = parser.parse_args()
    panel = rl.make_panel(variants()["gamma"], rl.example_panel(as_frame=True), start="2013-01-01")
    models = {name: CompiledModel(rl.build_model(spec, panel)) for name, spec in variants().items()}
    found = {name: [] for name in models}
    for _ in range(options.rounds):
        for name, model in models.items():
            found[name].append(seconds(model))
    times = {name: 1e6 * np.array(values) for name, values in found.items()}
    worst = 0.0
    for name, values in times.items():
        ratio = values / times["gamma"]
        worst = max(worst, float(np.median(ratio)))
        spread = f"{np.median(values):.0f} us ({values.min():.0f} to {values.max():.0f})"
        print(f"{name}: {spread}, {np.median(ratio):.1f} ({ratio.min():.1f} to {ratio.max():.1f}) times gamma")
    return int(worst > options.at_most)


if __name__ == "__main__":
    raise SystemExit(main())
