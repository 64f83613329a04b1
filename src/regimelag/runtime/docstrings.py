"""Docstrings of classes that share parameters."""

from __future__ import annotations

import inspect
import re
import textwrap

SHARED = re.compile(r"^( *)([\w, ]+)\n +See `Series`\.$", re.MULTILINE)
ENTRY = re.compile(r"^(\w+) : .*\n(?: +.*\n?)+", re.MULTILINE)


def with_shared_parameters(text: str | None, base: str | None) -> str | None:
    """Replace a list of names with "See `Series`." by the entries of the base class, so that each page is complete.

    Parameters
    ----------
    text, base : str, optional
        Docstrings of a class and of its base. They are None under ``python -OO``.
    """
    if not text or not base:
        return text
    entries = {match[1]: match[0].rstrip("\n") for match in ENTRY.finditer(inspect.cleandoc(base))}

    def entries_of(match: re.Match[str]) -> str:
        names = [name.strip() for name in match[2].split(",")]
        return textwrap.indent("\n".join(entries[name] for name in names), match[1])

    return SHARED.sub(entries_of, text)
