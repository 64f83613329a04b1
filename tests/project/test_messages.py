"""The glossary explains every note, warning and verdict of the source, and the page of errors has every rule."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("messages", ROOT / "docs" / "messages.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def fragments() -> list[str]:
    """Texts in the first column of the glossary's tables, which a message contains."""
    cells = re.findall(r"^\| (`.*?`) \|", GLOSSARY, re.MULTILINE)
    return [fragment for cell in cells for fragment in re.findall(r"`([^`]+)`", cell)]


def explains(fragment: str, template: str) -> bool:
    """Whether a fragment, with an ellipsis for any text, is in a template."""
    wanted = ".*?".join(re.escape(part.strip()) for part in fragment.split("…"))
    return re.search(wanted, template, re.DOTALL) is not None


def test_every_text_of_the_source_is_explained(page):
    texts = [(module, text) for module, found in page.templates().items() for text in found]
    assert len(texts) > 100
    known = fragments()
    missing = [one for one in texts if not any(explains(fragment, one[1]) for fragment in known)]
    assert missing == [], "explain these in docs/messages.md"


def test_the_glossary_explains_nothing_that_is_not_printed(page):
    texts = [text for found in page.templates().values() for text in found]
    assert [one for one in fragments() if not any(explains(one, text) for text in texts)] == []


def test_every_speaker_is_a_module(page):
    assert {module for module in page.SPEAKERS if not (page.PACKAGE / module).is_file()} == set()


def test_the_page_of_errors_has_rule_and_cure_of_each(page, tmp_path):
    page.write(tmp_path)
    text = (tmp_path / "errors.md").read_text(encoding="utf-8")
    found = page.failures()
    stated = [one for one in found if one.rule.strip("… ")]
    # Errors whose rule is made elsewhere, in a helper, have an ellipsis.
    assert len(stated) > 0.8 * len(found)
    rows = re.findall(r"^\| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert {page._cell(one.rule) for one in stated} <= {rule for rule, _ in rows}
    assert "every key is known" in text
