"""The public names and signatures are written down; changing one is a decision."""

import inspect
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import regimelag

RECORD = Path(__file__).parents[1] / "api.txt"
MOVED = {name: f"{place}.{name}" for place, names in regimelag._MOVED.items() for name in names}


def public_names() -> dict[str, object]:
    """What the root and its namespaces hold, by dotted name."""
    spaces = {f"{name}.": space for name in regimelag.__all__ if inspect.ismodule(space := getattr(regimelag, name))}
    found = {name: getattr(regimelag, name) for name in regimelag.__all__ if f"{name}." not in spaces}
    for prefix, space in spaces.items():
        listed = getattr(space, "__all__", None) or [cls.__name__ for cls in regimelag.RegimelagError.__subclasses__()]
        found |= {f"{prefix}{name}": getattr(space, name) for name in listed if not name.isupper()}
    return found


def public_signatures() -> str:
    lines = [f"{name}{inspect.signature(thing)}" for name, thing in sorted(public_names().items())]
    # A default that is a function shows where it lies in memory.
    return re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", "\n".join(lines) + "\n")


def test_public_signatures_are_as_recorded():
    assert public_signatures() == RECORD.read_text()


@pytest.mark.parametrize(
    "package",
    [regimelag, *(getattr(regimelag, name) for name in ("evaluation", "model", "plots", "results", "spec"))],
    ids=lambda one: one.__name__,
)
def test_no_public_name_is_a_module_as_well(package):
    """lazy_loader would make the package a module of a kind that cannot be pickled, so no cluster could take it."""
    assert type(package) is types.ModuleType
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    public = {name for name in package.__all__ if not inspect.ismodule(getattr(package, name))}
    assert not modules & public


def test_every_public_name_is_documented():
    for name, thing in public_names().items():
        assert (inspect.getdoc(thing) or "").strip(), name


@pytest.mark.parametrize("name", sorted(MOVED))
def test_a_name_that_moved_still_loads_and_names_its_place(name):
    place = MOVED[name]
    with pytest.warns(FutureWarning, match=rf"^regimelag\.{name} is now {re.escape(place)}$") as caught:
        found = getattr(regimelag, name)
    assert found is pkgutil.resolve_name(place.replace(f".{name}", f":{name}"))
    assert caught[0].filename == __file__
    assert name not in dir(regimelag)


def test_the_root_is_small_and_light():
    """Numpy and the compilers are loaded by the names that need them."""
    assert sum(not inspect.ismodule(getattr(regimelag, name)) for name in regimelag.__all__) <= 51
    heavy = {"numpy", "pymc", "numba", "matplotlib"}
    code = f"import sys, regimelag; dir(regimelag); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


if __name__ == "__main__":
    RECORD.write_text(public_signatures())
