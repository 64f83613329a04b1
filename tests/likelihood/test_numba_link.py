"""The file cache of compiled loops: what is found again, and what makes it void."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys

import pytest
from numba.core.dispatcher import Dispatcher

from regimelag import likelihood
from regimelag.likelihood import numba_link

HELPER = """
from numba_link import compiled


@compiled()
def scaled(x):
    return {factor} * x
"""
LOOP = """
from helper import scaled
from numba_link import compiled


@compiled()
def loop(x):
    return scaled(x) + 1.0
"""


@pytest.fixture
def run_loop(tmp_path):
    """Run a loop that calls one of another file, in a process of its own: its value, and whether it was found."""
    shutil.copy(numba_link.__file__, tmp_path)
    (tmp_path / "loop.py").write_text(LOOP)

    def run(factor):
        (tmp_path / "helper.py").write_text(HELPER.format(factor=factor))
        code = "import loop; print(loop.loop(3.0), sum(loop.loop.stats.cache_hits.values()))"
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", code]
        found = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        value, hits = found.stdout.split()
        return float(value), int(hits)

    return run


@pytest.mark.slow
def test_a_changed_file_makes_the_cached_loops_of_all_others_void(run_loop):
    """numba alone would find the loop again, since its own file is as it was, and give the old number."""
    assert run_loop(2.0) == (7.0, 0)
    assert run_loop(2.0) == (7.0, 1)
    assert run_loop(5.0) == (16.0, 0)


def test_every_loop_is_kept_for_the_version_of_all_files():
    modules = [
        importlib.import_module(f"{likelihood.__name__}.{m.name}") for m in pkgutil.iter_modules(likelihood.__path__)
    ]
    loops = {loop for module in modules for loop in vars(module).values() if isinstance(loop, Dispatcher)}
    assert len(loops) > 60
    for loop in loops:
        assert loop._cache._cache_file._source_stamp == numba_link.VERSION, loop
