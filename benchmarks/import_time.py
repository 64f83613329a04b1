"""What ``import regimelag`` adds to importing PyMC and ArviZ.

Fresh processes in turns, after one of each that fills the caches of bytecode and of the file system.

    python benchmarks/import_time.py --rounds 7 --at-most 10
    python benchmarks/import_time.py --profile

The exit code is 1 if regimelag adds more than ``--at-most`` per cent of user time, by the medians. ``--profile`` prints
the packages and modules that it adds instead, heaviest first, as ``-X importtime`` gives them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections import defaultdict
from statistics import median

WITHOUT = "import pymc, arviz"
WITH = "import pymc, arviz, regimelag"
MARK = "# regimelag from here"


def seconds_of(statement: str) -> tuple[float, float]:
    """User and wall time of a fresh process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)  # noqa: S603
    wall = time.perf_counter() - start
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, wall


def compare(rounds: int) -> float:
    """Time both in turns and print; return the per cent of user time that regimelag adds."""
    for statement in (WITHOUT, WITH):
        seconds_of(statement)
    pairs = [(seconds_of(WITHOUT), seconds_of(WITH)) for _ in range(rounds)]
    print(f"seconds, median (smallest to largest of {rounds})")
    added = []
    for kind, name in enumerate(("user", "wall")):
        without, with_it = ([pair[side][kind] for pair in pairs] for side in (0, 1))
        for statement, values in ((WITHOUT, without), (WITH, with_it)):
            print(f"  {name:<6}{statement:<32}{median(values):>6.2f} ({min(values):.2f} to {max(values):.2f})")
        added.append((median(with_it) / median(without) - 1) * 100)
        each = [(right / left - 1) * 100 for left, right in zip(without, with_it, strict=True)]
        print(f"  {name:<6}{'added, per cent':<32}{added[-1]:>6.1f} ({min(each):.1f} to {max(each):.1f} by pairs)")
    return added[0]


def profile() -> list[tuple[str, int, int, int]]:
    """Modules that regimelag adds: name, own and cumulative microseconds, depth."""
    statement = f"{WITHOUT}; import sys; print({MARK!r}, file=sys.stderr, flush=True); import regimelag"
    command = [sys.executable, "-X", "importtime", "-c", statement]
    log = subprocess.run(command, check=True, capture_output=True, text=True).stderr  # noqa: S603
    rows = []
    for line in log.split(MARK, 1)[1].splitlines():
        fields = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and fields[0].strip().isdigit():
            name = fields[2].rstrip()
            rows.append((name.strip(), int(fields[0]), int(fields[1]), (len(name) - len(name.lstrip()) - 1) // 2))
    return rows


def print_profile(most: int) -> None:
    """Own time by package, then the tree of the heaviest modules."""
    rows = profile()
    packages: dict[str, int] = defaultdict(int)
    for name, own, _, _ in rows:
        packages[name.partition(".")[0]] += own
    total = sum(packages.values())
    print(f"regimelag adds {len(rows)} modules, {total / 1e3:.0f} ms under -X importtime; by package, own time")
    for name, own in sorted(packages.items(), key=lambda item: -item[1])[:most]:
        print(f"  {own / 1e3:>8.1f} ms  {name}")
    least = sorted((cumulative for _, _, cumulative, _ in rows), reverse=True)[:most][-1]
    print("modules with what they are the first to import, which stands below them")
    # A module's line is written when its import ends, after those that it imports.
    for name, _, cumulative, depth in reversed(rows):
        if cumulative >= least:
            print(f"  {cumulative / 1e3:>8.1f} ms  {'  ' * depth}{name}")


def main() -> int:
    """Time or profile; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="processes of each kind")
    parser.add_argument("--at-most", type=float, help="largest per cent of user time that passes")
    parser.add_argument("--profile", action="store_true", help="print what is heavy, and time nothing else")
    parser.add_argument("--most", type=int, default=25, help="lines in each part of the profile")
    options = parser.parse_args()

    if options.profile:
        print_profile(options.most)
        return 0
    added = compare(options.rounds)
    if options.at_most is not None and added > options.at_most:
        print(f"regimelag adds more than {options.at_most} per cent of user time")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
