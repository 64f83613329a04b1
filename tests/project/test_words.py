"""One word per thing: expressions that texts of the project do not use, with the field's words for them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A pattern, what to write in its place, and a sentence with it.
WORDS = [
    (r"\bsummed out\b|\bsums?\b[^.]{0,40}\bout of\b", "marginalised", "Regimes are summed out."),
    (r"(?<![\w.])laws?\b", "distribution", "The law of y, or its initial law."),
    (r"\btold from\b|\bnot told\b|\btells? apart\b", "distinguished, inconclusive", "It is not told from none."),
    (r"\barrow\b", "the reverse direction", "With the arrow reversed."),
    (r"\bbeyond gold\b", "net of gold", "What silver does beyond gold."),
    (r"\bstretch(?:es)? of (?:years|time)\b|\bsaid of the time\b", "a calendar period", "It is a stretch of years."),
    (r"(?<!_)\bportraits?\b", "regime summary", "The portrait of a regime."),
    (r"(?<!_)\bgates?\b", "decision threshold", "Behind that gate alone."),
    (r"\blarger than life\b", "deliberately large", "An effect larger than life."),
    (r"\bnot to be read\b", "should not be interpreted", "The lag is not to be read."),
    (r"\bnatural units?\b", "the unit itself", "Per row, in natural units."),
    (r"\brows after\b|\bper row\b", "weeks after, per week", "The rows after it."),
    (r"\bflagship\b", "baseline model", "The flagship."),
    (r"(?<!_)\bnamed models?\b", "bundled model", "A named model."),
]
FILES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CITATION.cff")),
    *(path for pattern in ("*.md", "*.py") for path in (ROOT / "docs").glob(pattern)),
    *(ROOT / "examples").iterdir(),
    *(ROOT / "models").iterdir(),
    *(path for path in (ROOT / "src").rglob("*.*") if path.suffix in {".py", ".pyi", ".html", ".css"}),
    *(path for path in (ROOT / ".github").rglob("*.*") if path.is_file()),
    ROOT / "paper" / "paper.md",
]
# The README and the first page of the site have the words by which the field searches.
FIELD = (
    *("markov-switching", "regime-switching", "distributed lag", "time-varying transition probabilities", "tvtp"),
    *("lead-lag", "hidden markov model", "marginalised likelihood", "posterior predictive"),
)


def hits(text: str) -> list[str]:
    """Each expression in a text with its line and what to write instead."""
    lines = text.splitlines()
    return [
        f"line {number}: {match[0]!r}, write {instead!r}"
        for number, line in enumerate(lines, start=1)
        for pattern, instead, _ in WORDS
        for match in re.finditer(pattern, line, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", sorted(FILES), ids=lambda path: str(path.relative_to(ROOT)))
def test_words(path):
    assert hits(path.read_text(encoding="utf-8")) == []


def summaries() -> list[str]:
    """First line of each docstring of the package, with its file."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, nodes) and (text := ast.get_docstring(node))
    ]


def test_docstrings_begin_with_a_verb_or_a_noun():
    found = summaries()
    assert len(found) > 1000
    assert [one for one in found if re.search(r": (?:What|How|That which)\b", one)] == []


@pytest.mark.parametrize("pattern", WORDS, ids=lambda one: one[1])
def test_the_search_finds_each_expression(pattern):
    assert any(pattern[1] in found for found in hits(pattern[2]))


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
@pytest.mark.parametrize("word", FIELD)
def test_the_first_pages_have_the_words_of_the_field(page, word):
    assert word in " ".join((ROOT / page).read_text(encoding="utf-8").lower().split())
