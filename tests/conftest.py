"""What several test files share; a fit costs a compilation, so there is one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import matplotlib as mpl
import pytest
from builders import FIT, cut, hand_panel, prior_fit, small_spec
from hypothesis import settings
from skips import pytest_addoption, pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401

import regimelag as rl

mpl.use("Agg")
# The same examples on every machine, however slow it is; .ci/long draws new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def example():
    return rl.example_panel()


@pytest.fixture(scope="session")
def flagship():
    return rl.read_spec("btc_silver")


@pytest.fixture(scope="session")
def short_panel(example):
    """240 rows, two episodes."""
    return cut(example, 240)


@pytest.fixture(scope="session")
def idata(flagship, short_panel):
    """The one fit. Not to be changed: copy it first."""
    return rl.fit(flagship, short_panel, **FIT)


@pytest.fixture(scope="session")
def hamilton():
    """The example that puts Hamilton's (1989) model on a chain of paths."""
    example = Path(__file__).parents[1] / "examples" / "hamilton.py"
    specification = importlib.util.spec_from_file_location("hamilton_example", example)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny():
    """A spec, an eight-row panel with a missing response, and a tree of prior draws on it."""
    spec = small_spec()
    panel = hand_panel(spec, 8, missing=[3])
    return spec, panel, prior_fit(spec, panel)
