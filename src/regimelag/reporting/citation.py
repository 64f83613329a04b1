"""Citation of the installed version."""

from __future__ import annotations

from importlib import metadata

# Year of the version in pyproject.toml; a test compares it with CITATION.cff.
YEAR = 2026


def citation() -> str:
    """Citation of the installed version of regimelag.

    Returns
    -------
    str
        A BibTeX entry of type ``misc``, with title, author, version and the address of the repository, if it has one,
        from the installed package's metadata. A fit records the version that made it in ``attrs["versions"]``.
    """
    package = metadata.metadata("regimelag")
    name, version = package["Name"], package["Version"]
    # Double braces: BibTeX keeps capitals in the title, and does not parse the authors as a person's name.
    fields = {
        "author": f"{{{package['Author']}}}",
        "title": f"{{{name}: {package['Summary']}}}",
        "year": str(YEAR),
        "version": version,
        "note": f"Python package, version {version}",
    }
    urls = dict(line.split(", ", 1) for line in package.get_all("Project-URL") or ())
    fields |= {"url": urls["Repository"]} if "Repository" in urls else {}
    lines = [f"  {field} = {{{value}}}," for field, value in fields.items()]
    return "\n".join([f"@misc{{{name},", *lines, "}"])
