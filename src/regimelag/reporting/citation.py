"""Citation of the installed version."""

from __future__ import annotations

from importlib import metadata

# Of the version in pyproject.toml; CITATION.cff says the same, and a test holds them together.
YEAR = 2026


def citation() -> str:
    """Cite the installed version of regimelag.

    Returns
    -------
    str
        A BibTeX entry of type ``misc``, which every style knows. Title, author and version are those of the installed
        package's metadata; a fit holds the version that made it in ``attrs["versions"]``.
    """
    package = metadata.metadata("regimelag")
    name, version = package["Name"], package["Version"]
    # Braces twice: BibTeX leaves the title's capitals alone, and does not take the authors for a person's name.
    fields = {
        "author": f"{{{package['Author']}}}",
        "title": f"{{{name}: {package['Summary']}}}",
        "year": str(YEAR),
        "version": version,
        "note": f"Python package, version {version}",
    }
    lines = [f"  {field} = {{{value}}}," for field, value in fields.items()]
    return "\n".join([f"@misc{{{name},", *lines, "}"])
