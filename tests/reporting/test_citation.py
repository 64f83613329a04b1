"""What `citation` says, against CITATION.cff as cffconvert reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import regimelag as rl

CFF = Path(__file__).parents[2] / "CITATION.cff"


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


def test_the_entry_is_bibtex_that_needs_no_package():
    entry = rl.citation()
    assert entry.startswith("@misc{regimelag,\n")
    assert entry.count("{") == entry.count("}")
    # Styles of plain BibTeX print the note, and know no version.
    assert rl.__version__ in fields_of(entry)["note"]
