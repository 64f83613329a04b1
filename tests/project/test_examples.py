"""Every example is listed for its reader, says what it is, and is run by CI."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path

import pytest

import regimelag as rl

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


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_an_example_writes_a_picture_and_says_what_it_shows(script):
    source = script.read_text(encoding="utf-8")
    assert "savefig(" in source or "prices.png" in source
    row = next(row for row in (ROOT / "examples" / "README.md").read_text().splitlines() if f"`{script.name}` |" in row)
    assert all(cell.strip() for cell in row.split("|")[1:4])


def test_the_main_example_answers_in_45_lines(idata, monkeypatch, capsys, tmp_path):
    """With another fit in place of its own; its report is tested elsewhere."""
    spec = importlib.util.spec_from_file_location("btc_silver_example", ROOT / "examples" / "btc_silver.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(rl, "fit", lambda *_, **__: idata)
    monkeypatch.setattr(rl, "report", lambda *_, **__: tmp_path / "report" / "report.html")
    monkeypatch.setattr(sys, "argv", ["btc_silver.py", "--out", str(tmp_path)])
    example.main()
    # Paths of the machine are as long as they are.
    lines = capsys.readouterr().out.replace(str(tmp_path), "out").splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 100
    verdict = next(iter(rl.lag_report(idata).attrs["verdict"].values()))
    assert verdict.startswith(lines[3].rstrip("."))
    assert sum(line.startswith("  ") and "side" in line for line in lines) == len(truth(idata))


def truth(idata):
    """Names of the true values that the panel of the example has."""
    held = json.loads(rl.example_panel().attrs["truth"])
    return [*("effect", "contemporaneous", "mean_lag"), *held["driver_effect"]]
