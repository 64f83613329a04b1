"""What `citation` says, against CITATION.cff as cffconvert reads it.

The version stands in pyproject.toml alone: run as a script, this file writes it into CITATION.cff.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import regimelag as rl

ROOT = Path(__file__).parents[2]
CFF = ROOT / "CITATION.cff"


def with_version(text: str) -> str:
    """CITATION.cff with the version and the address of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = re.sub(r"^( *version:) .+$", rf"\1 {project['version']}", text, flags=re.MULTILINE)
    text = re.sub(r"^repository-code: .+\n", "", text, flags=re.MULTILINE)
    address = project.get("urls", {}).get("Repository")
    return text.replace("\nabstract:", f'\nrepository-code: "{address}"\nabstract:') if address else text


def fields_of(entry: str) -> dict[str, str]:
    """Fields of one BibTeX entry, without the braces that guard them."""
    return {name: value.strip("{}") for name, value in re.findall(r"^\s*(\w+) = (\{.*\}),?$", entry, re.MULTILINE)}


@pytest.fixture(scope="module")
def converted():
    cffconvert = pytest.importorskip("cffconvert", reason="the group 'dev' is not installed")
    citation = cffconvert.Citation(CFF.read_text(encoding="utf-8"))
    citation.validate()
    return fields_of(citation.as_bibtex())


@pytest.fixture(scope="module")
def cff():
    yaml = pytest.importorskip("ruamel.yaml", reason="the group 'dev' is not installed").YAML(typ="safe")
    return yaml.load(CFF.read_text(encoding="utf-8"))


def test_the_entry_says_what_cffconvert_makes_of_the_citation_file(converted):
    said = fields_of(rl.citation())
    assert {"author", "title"} <= set(converted)
    # A year is in cffconvert's BibTeX once the file has a date of release.
    assert {name: said[name] for name in converted} == converted


def test_the_preferred_citation_is_that_of_the_installed_version(cff):
    said, preferred = fields_of(rl.citation()), cff["preferred-citation"]
    for held in (cff, preferred):
        assert held["type"] == "software"
        assert (held["title"], held["authors"]) == (said["title"], [{"name": said["author"]}])
        assert held["version"] == said["version"] == rl.__version__
    assert str(preferred["year"]) == said["year"]
    assert "date-released" not in cff or cff["date-released"].year == preferred["year"]


def test_the_file_has_the_version_of_the_project():
    text = CFF.read_text(encoding="utf-8")
    assert text == with_version(text), "run python tests/reporting/test_citation.py"
    assert len(re.findall(r"^ *version:", text, re.MULTILINE)) == 2


def test_an_address_of_the_repository_is_cited(monkeypatch):
    package = metadata.metadata("regimelag")
    del package["Project-URL"]
    package["Project-URL"] = "Repository, https://example.org/repository"
    monkeypatch.setattr(metadata, "metadata", lambda name: package)
    assert fields_of(rl.citation())["url"] == "https://example.org/repository"


def test_the_entry_is_bibtex_that_needs_no_package():
    entry = rl.citation()
    assert entry.startswith("@misc{regimelag,\n")
    assert entry.count("{") == entry.count("}")
    # Styles of plain BibTeX print the note, and know no version.
    assert rl.__version__ in fields_of(entry)["note"]


if __name__ == "__main__":
    CFF.write_text(with_version(CFF.read_text(encoding="utf-8")), encoding="utf-8")
