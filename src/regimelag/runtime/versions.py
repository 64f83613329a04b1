"""Installed versions against those that regimelag declares, and the command that installs what fits."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterable
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from regimelag.errors import FitError

# A fit uses private parts of these, so another version fails after compiling.
COMPILERS = frozenset({"llvmlite", "numba", "nutpie", "pymc", "pytensor"})


def declared(extra: str = "") -> list[Requirement]:
    """Requirements of regimelag, or those that one of its extras adds."""
    found = [Requirement(text) for text in metadata.requires("regimelag") or ()]
    always = [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [one for one in found if one not in always and one.marker and one.marker.evaluate({"extra": extra})]


def another(package: str) -> Requirement:
    """Requirement on a package, without the installed version."""
    (one,) = (one for one in declared() if one.name == package)
    return Requirement(f"{one.name}{one.specifier},!={metadata.version(package)}")


def install_command(requirements: Iterable[Requirement]) -> str:
    """The shell command that installs the requirements into this environment."""
    python = shlex.quote(sys.executable)
    # Environments that uv makes hold no pip; a folder of that name has no origin.
    pip = getattr(find_spec("pip"), "origin", None)
    installer = f"{python} -m pip install" if pip else f"uv pip install --python {python}"
    return " ".join([installer, *(f'"{one.name}{one.specifier}"' for one in requirements)])


def check_versions(asked: str, packages: Collection[str] = ()) -> None:
    """Refuse versions outside of the declared ranges.

    Parameters
    ----------
    asked : str
        What the caller asked for, the first part of an error.
    packages : collection of str
        Which packages are compared; all that are required if empty.

    Raises
    ------
    FitError
        If a package is missing or of another version. The cure is a command for the shell.
    """
    wrong = {}
    for one in declared():
        if packages and one.name not in packages:
            continue
        try:
            held = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong[one] = f"no {one.name}"
            continue
        if not one.specifier.contains(held, prereleases=True):
            wrong[one] = f"{one.name} {held}"
    if wrong:
        raise FitError(
            asked,
            f"the installed packages are {', '.join(f'{one.name}{one.specifier}' for one in wrong)}",
            ", ".join(wrong.values()),
            f"run this in a shell, then restart Python: {install_command(wrong)}",
        )
