"""The skips that CI allows. With ``--strict-skips`` any other is a failure; ``.ci/run`` gives the option."""

from __future__ import annotations

from pathlib import Path

import pytest

# How the reason begins, and the files where it may be given. A fresh clone has no data beside it.
ALLOWED = {
    "the real panels are not in ": {"clocks", "market", "models", "panel", "series", "sources"},
    "posteriordb is not in ": {"published_posteriors"},
    "depmixS4 is not in ": {"published_drivers"},
    "no TeX engine is installed": {"latex"},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help="fail on a skip that tests/skips.py does not allow")


def allowed(file: str, reason: str) -> bool:
    """Whether a reason is one of those that may be given in a test file."""
    return any(reason.startswith(words) and Path(file).stem[5:] in files for words, files in ALLOWED.items())


def checked(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> pytest.TestReport:
    """Turn a skip that is not allowed into a failure; an expected failure is no skip."""
    if report.skipped and config.getoption("--strict-skips") and not hasattr(report, "wasxfail"):
        file, reason = report.nodeid.partition("::")[0], report.longrepr[2].removeprefix("Skipped: ")
        if not allowed(file, reason):
            report.outcome, report.longrepr = "failed", f"{file}: tests/skips.py allows no such skip: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    return checked((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    return checked((yield), collector.config)
