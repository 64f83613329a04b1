"""The public names and signatures are written down; changing one is a decision."""

import inspect
import pkgutil
import re
import types
from pathlib import Path

import regimelag

RECORD = Path(__file__).with_name("api.txt")


def public_signatures() -> str:
    lines = [f"{name}{inspect.signature(getattr(regimelag, name))}" for name in sorted(regimelag.__all__)]
    # A default that is a function shows where it lies in memory.
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", "\n".join(lines) + "\n")


def test_public_signatures_are_as_recorded():
    assert public_signatures() == RECORD.read_text()


def test_no_public_name_is_a_module_as_well():
    """lazy_loader would make the package a module of a kind that cannot be pickled, so no cluster could take it."""
    assert type(regimelag) is types.ModuleType
    modules = {module.name for module in pkgutil.iter_modules(regimelag.__path__)}
    assert not modules & set(regimelag.__all__)


def test_every_public_name_is_documented():
    for name in regimelag.__all__:
        assert (inspect.getdoc(getattr(regimelag, name)) or "").strip(), name


if __name__ == "__main__":
    RECORD.write_text(public_signatures())
