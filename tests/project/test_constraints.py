"""constraints.txt holds the tested versions of the dependencies; run as a script, this file writes it."""

from __future__ import annotations

import itertools
import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILE = ROOT / "constraints.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TESTED = PROJECT["tool"]["uv"]["constraint-dependencies"]
HEAD = """\
# The versions that regimelag is tested with, extras included, for pip and uv: pip install -c constraints.txt .
# Written by tests/project/test_constraints.py from pyproject.toml.
"""


def needed() -> set[str]:
    """Names of all packages that regimelag and its extras require, directly or not, by the installed metadata."""
    ahead = {("regimelag", ""), *(("regimelag", extra) for extra in PROJECT["project"]["optional-dependencies"])}
    found: set[tuple[str, str]] = set()
    while ahead:
        package, extra = ahead.pop()
        found.add((package, extra))
        for text in metadata.requires(package) or ():
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                ahead |= {(canonicalize_name(one.name), more) for more in ("", *one.extras)} - found
    return {package for package, _ in found} - {"regimelag"}


def constraints() -> str:
    names = needed()
    lines = [line for line in TESTED if canonicalize_name(Requirement(line).name) in names]
    return HEAD + "\n".join(sorted(lines)) + "\n"


def test_the_file_agrees_with_the_versions_under_which_tests_run():
    lines = FILE.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()
    assert lines
    assert set(lines) <= set(TESTED)
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9a-z.]+", line) for line in lines)


def test_every_package_that_is_needed_has_a_tested_version():
    """What the tested versions require; in an environment of other versions that may be more or less."""
    named = {canonicalize_name(Requirement(line).name) for line in TESTED}
    project = PROJECT["project"]
    direct = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    assert {canonicalize_name(Requirement(text).name) for text in direct} <= named
    installed = _installed()
    others = [line for line in TESTED if line not in installed]
    if not {Requirement(line).name for line in others} & needed():
        assert needed() <= named
        assert FILE.read_text(encoding="utf-8") == constraints()


def test_tested_versions_are_within_the_declared_ranges():
    tested = {Requirement(line).name: line.partition("==")[2] for line in TESTED}
    for text in PROJECT["project"]["dependencies"]:
        one = Requirement(text)
        assert one.specifier.contains(tested[one.name]), text


def _installed() -> set[str]:
    return {f"{canonicalize_name(one.name)}=={one.version}" for one in metadata.distributions()}


if __name__ == "__main__":
    FILE.write_text(constraints(), encoding="utf-8")
