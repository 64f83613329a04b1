"""Comparison of installed versions with the declared requirements, and the command that installs them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterable
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from regimelag.errors import FitError

# A fit uses private interfaces of these, so another version fails after compiling.
COMPILERS = frozenset({"llvmlite", "numba", "nutpie", "pymc", "pytensor"})


def declared(extra: str = "") -> list[Requirement]:
    """Requirements of regimelag, or those added by one of its extras."""
    found = [Requirement(text) for text in metadata.requires("regimelag") or ()]
    always = [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [one for one in found if one not in always and one.marker and one.marker.evaluate({"extra": extra})]


def another(package: str) -> Requirement:
    """Requirement on a package that excludes the installed version."""
    (one,) = (one for one in declared() if one.name == package)
    return Requirement(f"{one.name}{one.specifier},!={metadata.version(package)}")


def install_command(requirements: Iterable[Requirement]) -> str:
    """Shell command that installs the requirements into this environment."""
    python = shlex.quote(sys.executable)
    # Environments made by uv have no pip; a folder named pip has no origin.
    pip = getattr(find_spec("pip"), "origin", None)
    installer = f"{python} -m pip install" if pip else f"uv pip install --python {python}"
    return " ".join([installer, *(f'"{one.name}{one.specifier}"' for one in requirements)])


def check_versions(asked: str, packages: Collection[str] = ()) -> None:
    """Refuse dependencies outside of the declared version ranges.

    Parameters
    ----------
    asked : str
        First part of an error message: what the caller asked for.
    packages : collection of str
        Packages to compare; all requirements if empty.

    Raises
    ------
    FitError
        If a package is missing or has another version. The cure is a shell command.
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
