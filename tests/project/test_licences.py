"""The licences of what regimelag needs at run time: each is listed, and none asks for more than a notice.

``python tests/project/test_licences.py`` writes the list anew from the installed packages; it needs no network.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LIST = Path(__file__).parents[2] / "licences.txt"
HEAD = "# Licences of the packages that regimelag needs at run time, as their metadata say. Written by\n"
HEAD += "# python tests/project/test_licences.py\n"
# Permissive licences, and parts of expressions of such.
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|PSF|Python Software Foundation|ISC|Zlib|MPL-2\.0|CC0|HPND|Unlicense|public domain|FreeType"
    r"|matplotlib)\b",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|GNU|EUPL|SSPL|BUSL|CC-BY-NC|Proprietary|Commercial)", re.IGNORECASE)


def needed(name: str = "regimelag") -> set[str]:
    """Packages that are installed with a package, without its extras."""
    found, left = set(), [name]
    while left:
        for text in metadata.requires(left.pop()) or []:
            one = Requirement(text)
            plain = canonicalize_name(one.name)
            if (one.marker is None or one.marker.evaluate({"extra": ""})) and plain not in found:
                found.add(plain)
                left.append(plain)
    return found


def licence(name: str) -> str:
    """What the metadata of a package say, on one line."""
    held = metadata.metadata(name)
    classified = [one.rpartition(" :: ")[2] for one in held.get_all("Classifier") or [] if one.startswith("License")]
    given = (held.get("License") or "").strip()
    short = given.splitlines()[0][:80] if given else ""
    said = held.get("License-Expression") or ", ".join(classified) or short
    return " ".join(said.split()) or in_its_file(name)


def in_its_file(name: str) -> str:
    """A licence that only a file names."""
    for file in metadata.files(name) or []:
        if re.search(r"licen[cs]e|copying", file.name, re.IGNORECASE) and file.locate().is_file():
            found = PERMISSIVE.search(file.read_text(encoding="utf-8"))
            if found:
                return f"{found[0]} (from {file.name})"
    return "not stated in its metadata"


def listed() -> str:
    return HEAD + "".join(f"{name}: {licence(name)}\n" for name in sorted(needed()))


def test_the_list_has_what_is_needed():
    held = dict(line.split(": ", 1) for line in LIST.read_text().splitlines() if not line.startswith("#"))
    # Another platform needs one more or less, and another version may word its licence in another way.
    assert needed() - set(held) == set()


def test_no_licence_asks_for_more_than_a_notice():
    for line in LIST.read_text().splitlines():
        if not line.startswith("#"):
            assert PERMISSIVE.search(line), line
            assert not COPYLEFT.search(line), line
    for name in needed():
        assert not COPYLEFT.search(licence(name)), name


if __name__ == "__main__":
    LIST.write_text(listed())
