"""Every example is listed for its reader, says what it is, and is run by CI."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
# Run elsewhere than in .ci/run itself.
RUN_BY = {
    "fetch_data.py": "tests/fetch/test_fetch_data.py",
    "shortest.py": ".ci/test_release.py",
    "this_week.py": "tests/fetch/test_this_week.py",
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_an_example_is_listed_told_and_run(script):
    assert f"| `{script.name}` |" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    told = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    assert script.name in told, "the docstring says how to run it"
    by = RUN_BY.get(script.name, ".ci/run")
    assert script.stem in (ROOT / by).read_text(encoding="utf-8")


def test_the_list_names_no_example_that_is_not_there():
    rows = [
        row for row in (ROOT / "examples" / "README.md").read_text(encoding="utf-8").splitlines() if ".py` |" in row
    ]
    assert len(rows) == len(SCRIPTS)
