"""The paper and the house's one bibliography: what is cited is there, what is there is used, and entries are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import regimelag as rl

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "paper" / "paper.md"
BIBLIOGRAPHY = ROOT / "docs" / "references.bib"
NEEDED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "publisher", "year"},
    "misc": {"author", "title", "howpublished", "year"},
}
DOI = r"10\.\d{4,9}/[^\s\"<>{},;\]]+[^\s\"<>{},;\].)]"


def entries_of(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Type and fields of each entry, by key; a field is ``name = {value}`` with braces that match."""
    found = {}
    for kind, key, body in re.findall(r"^@(\w+)\{([^,\s]+),\n(.*?)\n\}$", text, re.MULTILINE | re.DOTALL):
        assert key not in found, f"{key} is written twice"
        fields = re.findall(r"(\w+) = \{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", body)
        found[key] = (kind, {name: " ".join(value.split()) for name, value in fields})
    return found


@pytest.fixture(scope="module")
def paper():
    return PAPER.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def entries():
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    found = entries_of(text)
    assert len(found) == len(re.findall(r"^@", text, re.MULTILINE))
    return found


def cited_in(paper: str) -> set[str]:
    """Keys after an @, in the text below the front matter."""
    return set(re.findall(r"(?<![\w.])@([a-z]+\d{4})", paper.split("\n---\n", 1)[1]))


def cited_in_docs() -> set[str]:
    """Keys in the roles of the documentation's pages."""
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    roles = [keys for page in pages for keys in re.findall(r"\{cite:\w+\}`([^`]+)`", page)]
    return {key.strip() for keys in roles for key in keys.split(",")}


def code() -> str:
    """The package's sources, docstrings and comments among them."""
    return "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))


def named_in(text: str, fields: dict[str, str]) -> bool:
    """Whether a text names an entry: by its DOI, or by its first author and, soon after, the year."""
    author = re.sub(r"[{}]|\\\W", "", fields["author"].split(",")[0])
    by_name = rf"{re.escape(author)}[^.;]{{0,60}}?{fields['year']}"
    return fields.get("doi", "no DOI") in text or re.search(by_name, text) is not None


def test_what_is_cited_is_in_the_bibliography(paper, entries):
    assert len(cited_in(paper)) > 20
    assert cited_in(paper) | cited_in_docs() <= set(entries)


def test_what_is_in_the_bibliography_is_used(paper, entries):
    assert cited_in_docs()
    docs = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    named = {key for key, (_, fields) in entries.items() if named_in(code() + docs, fields)}
    assert set(entries) - cited_in(paper) - cited_in_docs() - named == set()


def test_what_the_code_cites_is_in_the_bibliography(entries):
    held = {fields["doi"].lower() for _, fields in entries.values() if "doi" in fields}
    assert {doi for doi in re.findall(DOI, code()) if doi.lower() not in held} == set()


def test_entries_are_whole(entries):
    for key, (kind, fields) in entries.items():
        assert NEEDED[kind] <= {name for name, value in fields.items() if value}, key
        assert re.fullmatch(r"\d{4}", fields["year"]), key
        assert key.endswith(fields["year"]), key
        assert re.fullmatch(DOI, fields.get("doi", "10.1000/none")), key


def test_a_doi_belongs_to_one_entry(entries):
    dois = [fields["doi"].lower() for _, fields in entries.values() if "doi" in fields]
    assert len(dois) == len(set(dois))


def test_the_paper_is_of_this_package(paper):
    front, body = paper.removeprefix("---\n").split("\n---\n", 1)
    title = re.search(r"^title: '(.*)'$", front, re.MULTILINE).group(1)
    assert f"{{{title}}}" in rl.citation()
    assert "  - name: The regimelag developers" in front
    assert (PAPER.parent / re.search(r"^bibliography: (\S+)$", front, re.MULTILINE).group(1)).resolve() == BIBLIOGRAPHY
    headings = re.findall(r"^# (.+)$", body, re.MULTILINE)
    assert headings[:2] == ["Summary", "Statement of need"]
    assert headings[-1] == "References"


def test_the_files_that_the_paper_names_are_there(paper):
    files = set(re.findall(r"`((?:docs|benchmarks|examples)/[\w./]+)`", paper))
    assert files
    assert all((ROOT / file).is_file() for file in files)
