"""Skips that hide a test are failures in CI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = {
    "test_models.py": """
        import pytest
        @pytest.mark.skipif(True, reason="the real panels are not in /data; set REGIMELAG_DATA")
        def test_data(): pass
        def test_another_reason(): pytest.skip("not today")
        @pytest.mark.xfail
        def test_expected(): assert False
    """,
    "test_kernels.py": """
        import pytest
        def test_elsewhere(): pytest.skip("the real panels are not in /data; set REGIMELAG_DATA")
        @pytest.fixture
        def peer(): pytest.importorskip("no_such_module")
        def test_peer(peer): pass
    """,
    "test_modes.py": """
        import pytest
        pytest.importorskip("no_such_module")
        def test_never(): pass
    """,
}


def run(folder, *options):
    """Run the files in a folder; return the numbers of the last line, and which tests failed."""
    for name, text in FILES.items():
        (folder / name).write_text(re.sub(r"^ {8}", "", text, flags=re.MULTILINE), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "skips", "-p", "no:cacheprovider", "-c", os.devnull, "-rfE"]
    apart = os.environ | {"PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": ""}
    said = subprocess.run(
        [*command, "--rootdir", ".", *options], capture_output=True, text=True, check=False, env=apart, cwd=folder
    ).stdout
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", said.splitlines()[-1])}
    return counts, set(re.findall(r"^(?:FAILED|ERROR) (\S+)", said, flags=re.MULTILINE)), said


@pytest.mark.slow
def test_any_skip_passes_unless_asked(tmp_path):
    counts, failed, said = run(tmp_path)
    assert not failed, said
    assert (counts["skipped"], counts["xfailed"]) == (5, 1), said


@pytest.mark.slow
def test_under_strict_skips_only_those_of_the_list_pass(tmp_path):
    counts, failed, said = run(tmp_path, "--strict-skips", "--continue-on-collection-errors")
    expected = {"test_models.py::test_another_reason", "test_kernels.py::test_elsewhere", "test_kernels.py::test_peer"}
    assert failed == expected | {"test_modes.py"}, said
    assert (counts["skipped"], counts["xfailed"]) == (1, 1), said
    assert "tests/skips.py allows no such skip: not today" in said
