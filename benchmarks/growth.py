"""How time and memory of one value and gradient grow with the number of rows.

The bare recursions with moving transitions, as the sampler calls them (time last), then the baseline model's whole log
density on the example's rows, repeated. Time stands per row, beside its ratio to the shortest series, with the page
faults of one call: memory that the system hands out anew. Memory is the peak that one call adds to what was there
before, inputs included in what was there.

    python benchmarks/growth.py --rounds 5 --lengths 1000 10000 100000 1000000 --most-time 1.5 --most-bytes 200

The exit code is 1 if the recursions take more. Linux, one thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import timeit
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

# numpy, numba and regimelag are imported inside functions. Linux counts what a parent had resident into the peak of a
# process it starts, so this process must be small when it starts those that measure memory.

KIBIBYTE = 1024
BASELINE = "no_late_macro"
Work = Callable[[], object]


def recursions_work(regimes: int, length: int) -> tuple[Work, int]:
    """A function that calls the recursions once, warm, and the size of its inputs in bytes."""
    import numpy as np

    from regimelag.likelihood import hmm_loglik
    from regimelag.runtime.process import keep_freed_memory

    # As for a compiled model.
    keep_freed_memory()
    rng = np.random.default_rng(length)
    each = (0.0,) * regimes
    inputs = (
        rng.normal(-2.0, 1.0, (regimes, length)),
        rng.normal(size=(regimes, regimes, length - 1)),
        np.full(regimes, -np.log(regimes)),
    )

    def once() -> tuple[Any, ...]:
        work, *gradients = np.empty((2, regimes, length)), *(np.empty_like(values) for values in inputs)
        return hmm_loglik.scaled_loglik_and_adjoint(each, *inputs, work, *gradients), *gradients

    few = np.ones((regimes, 9)), np.ones((regimes, regimes, 8)), np.ones(regimes)
    hmm_loglik.scaled_loglik_and_adjoint(each, *few, np.ones((2, regimes, 9)), *(values.copy() for values in few))
    return once, sum(values.nbytes for values in inputs)


@cache
def compiled_baseline() -> tuple[Any, Any, Any]:
    """Its spec, the example's panel, and the compiled model."""
    import regimelag as rl
    from regimelag.sampling.compiled import CompiledModel

    spec = rl.read_spec(BASELINE)
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True), start="2013-01-01")
    return spec, panel, CompiledModel(rl.build_model(spec, panel))


def baseline_work(length: int) -> tuple[Work, int]:
    """The same of the baseline model's log density and gradient; its inputs are the model's data."""
    from model_cost import repeated

    from regimelag.model.data import model_data

    spec, panel, plan = compiled_baseline()
    point = plan.prior_point(1)
    plan.value_and_gradient(point)
    data = model_data(spec, repeated(spec, panel, length))
    plan = plan.on(data)
    return lambda: plan.value_and_gradient(point), sum(values.nbytes for values in data.values())


def make_work(what: str, length: int) -> tuple[Work, int]:
    """What to measure, by its name: a number of regimes, or the baseline model."""
    return baseline_work(length) if what == BASELINE else recursions_work(int(what), length)


# ---------------------------------------------------------------------------------------------------------------------
# Memory, each measurement in a process of its own, since a peak never comes down
# ---------------------------------------------------------------------------------------------------------------------


def peak() -> int:
    """Largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE


def resident() -> int:
    """Resident size of this process now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def memory_of_one_call(what: str, length: int) -> tuple[int, int, int]:
    """Bytes that one call adds at its peak, and those of its inputs and its results."""
    import numpy as np

    work, input_bytes = make_work(what, length)
    # An earlier peak above what is resident now would hide the call. Fill the gap.
    ballast = np.ones(max(peak() - resident(), 0) // 8 + 1)
    before = peak()
    results = work()
    added = peak() - before
    del ballast
    if not np.isfinite(results[0]):
        raise ValueError(f"{label(what)}: the log density is not finite, so this is not the memory of a usual call")
    return added, input_bytes, sum(np.asarray(values).nbytes for values in results)


def print_memory(names: Sequence[str], length: int) -> dict[str, float]:
    """One line for each; return bytes per row and regime."""
    print(f"peak memory that one call adds, {length:,} rows: bytes per row, and per row and regime")
    print(f"  {'':<12}{'added':>10}{'':>10}{'results':>12}{'inputs':>12}   (results are among what is added)")
    found = {}
    for name in names:
        # The pool's process ends with its one task.
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            added, inputs, results = (value / length for value in pool.apply(memory_of_one_call, (name, length)))
        found[name] = added / regimes_of(name)
        print(f"  {label(name):<12}{added:>10.1f}{found[name]:>10.1f}{results:>12.1f}{inputs:>12.1f}")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Time
# ---------------------------------------------------------------------------------------------------------------------


def seconds_of_one_call(work: Work, calls: int) -> float:
    """Mean over so many calls."""
    return timeit.timeit(work, number=calls) / calls


def page_faults_of_one_call(work: Work) -> int:
    """Pages handed out anew during one call."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def print_times(name: str, lengths: Sequence[int], rounds: int) -> float:
    """One line for each length, timed in turns; return the largest ratio per row to the first length."""
    works = {length: make_work(name, length)[0] for length in lengths}
    calls = {length: max(1, max(lengths) // length) for length in lengths}
    for work in works.values():
        work()
    times = {length: [] for length in lengths}
    for _ in range(rounds):
        for length, work in works.items():
            times[length].append(seconds_of_one_call(work, calls[length]) / length * 1e9)
    print(
        f"\n{label(name)}: ns per row, median (smallest to largest of {rounds}), ratio to {lengths[0]:,} rows, faults"
    )
    ratios = []
    for length, column in times.items():
        spread = f"({min(column):.1f} to {max(column):.1f})"
        ratios.append(statistics.median(t / first for t, first in zip(column, times[lengths[0]], strict=True)))
        faults = page_faults_of_one_call(works[length])
        print(f"  {length:>10,}{statistics.median(column):>8.1f} {spread:<18}{ratios[-1]:>6.2f}{faults:>10,}")
    return max(ratios)


def regimes_of(name: str) -> int:
    """Number of regimes."""
    return 2 if name == BASELINE else int(name)


def label(name: str) -> str:
    """How a line begins."""
    return "baseline model" if name == BASELINE else f"{name} regimes"


def main() -> int:
    """Measure memory, then time; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="times each length is timed, in turns")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--regimes", type=int, nargs="+", default=[2, 3], help="numbers of regimes")
    parser.add_argument("--no-baseline", action="store_true", help="leave out the whole log density")
    parser.add_argument("--most-time", type=float, help="largest ratio of times per row that passes")
    parser.add_argument("--most-bytes", type=float, help="most memory per row and regime that passes")
    options = parser.parse_args()

    recursions = [str(regimes) for regimes in options.regimes]
    names = recursions if options.no_baseline else [*recursions, BASELINE]
    memory = print_memory(names, max(options.lengths))
    ratios = {name: print_times(name, options.lengths, options.rounds) for name in names}
    failed = False
    for name in recursions:
        if options.most_time is not None and ratios[name] > options.most_time:
            print(f"{label(name)}: time per row grows {ratios[name]:.2f} times, more than {options.most_time}")
            failed = True
        if options.most_bytes is not None and memory[name] > options.most_bytes:
            print(f"{label(name)}: {memory[name]:.0f} bytes per row and regime, more than {options.most_bytes}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
