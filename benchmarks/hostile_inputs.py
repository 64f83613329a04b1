"""Count hostile inputs by area: handled well, raw errors, silent faults, and calls without end.

    PYTHONPATH=tests python benchmarks/hostile_inputs.py [--out out/hostile_inputs] [--areas network texts]

The inputs are those of tests/hostile. Finished ones are kept in a file per module, so that a stopped run goes on;
an input counts only if it was run with the present code. The exit status is 1 if any input is not handled well.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hostile.cases import ENDLESS, HANDLED, RAW, SILENT, outcome

import regimelag as rl

MODULES = ("arguments", "texts", "errors_and_studies", "network", "fit_files", "full_disks")


def code_hash(name: str) -> str:
    """SHA-256 of the package and of a module's inputs."""
    folder = Path(__file__).parents[1] / "tests" / "hostile"
    files = [*sorted(Path(rl.__file__).parent.rglob("*.py")), folder / f"{name}.py", folder / "cases.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def counted(name: str, out: Path) -> list[dict[str, str]]:
    """Outcomes of the inputs of one module; those that are kept are not run again."""
    file, code = out / f"{name}.jsonl", code_hash(name)
    held = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {one["name"]: one for one in held if one["code"] == code}
    module = importlib.import_module(f"hostile.{name}")
    with tempfile.TemporaryDirectory() as folder, file.open("a") as kept:
        for case in module.cases(Path(folder)):
            if case.name not in done:
                found = outcome(case)
                done[case.name] = {"area": case.area, "name": case.name, "kind": found.kind, "code": code}
                if found.kind not in HANDLED:
                    done[case.name]["detail"] = found.detail
                    print(f"{case.area}, {case.name}: {found.kind}: {found.detail}", flush=True)
                kept.write(json.dumps(done[case.name]) + "\n")
                kept.flush()
    return list(done.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/hostile_inputs", help="folder of finished inputs (%(default)s)")
    parser.add_argument("--areas", nargs="+", choices=MODULES, default=MODULES, help="modules of tests/hostile")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    found = [one for name in arguments.areas for one in counted(name, out)]
    rows = {}
    for area in dict.fromkeys(one["area"] for one in found):
        kinds = Counter(one["kind"] for one in found if one["area"] == area)
        rows[area] = {
            "inputs tried": sum(kinds.values()),
            "handled well": sum(kinds[kind] for kind in HANDLED),
            "raw errors": kinds[RAW],
            "silent faults": kinds[SILENT],
            "without end": kinds[ENDLESS],
        }
    import pandas as pd

    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["all"] = table.sum()
    print(table.to_string())
    return int(table.loc["all", "inputs tried"] != table.loc["all", "handled well"])


if __name__ == "__main__":
    sys.exit(main())
