"""Versions outside of the declared ranges are refused before anything is compiled, with a command that helps."""

from __future__ import annotations

import shlex
import sys
from importlib import machinery, metadata

import lazy_loader
import numpy as np
import pytest
from packaging.requirements import Requirement

import regimelag as rl
from regimelag.errors import FitError
from regimelag.runtime import versions
from regimelag.runtime.lazy import public_names
from regimelag.sampling import compiled
from regimelag.sampling.tape import Tape


def instead(monkeypatch, package, held):
    """Let a package seem to be of another version; None for not installed."""
    real = metadata.version

    def version(name):
        if name != package:
            return real(name)
        if held is None:
            raise metadata.PackageNotFoundError(name)
        return held

    monkeypatch.setattr(metadata, "version", version)


def wanted(cure) -> list[Requirement]:
    """The requirements in a cure's command."""
    command = shlex.split(cure.partition(": ")[2])
    assert command[:4] == ["uv", "pip", "install", "--python"] or command[1:4] == ["-m", "pip", "install"]
    assert sys.executable in command
    return [Requirement(word) for word in command[command.index("install") + 1 :] if word[0] not in "-/"]


@pytest.mark.parametrize("package", sorted(versions.COMPILERS))
@pytest.mark.parametrize("held", ["0.1", "99.0", None])
def test_a_fit_refuses_another_version_at_once(package, held, monkeypatch, tiny):
    spec, panel, _ = tiny
    real = metadata.version(package)
    instead(monkeypatch, package, held)
    if held == "99.0" and package == "llvmlite":
        versions.check_versions("a fit", [package])  # It has no upper bound of its own: numba has one.
        return
    for call in (lambda: rl.fit(spec, panel), lambda: rl.sample(None)):
        with pytest.raises(FitError) as caught:
            call()
        assert package in caught.value.rule
        assert caught.value.came == (f"no {package}" if held is None else f"{package} {held}")
        (one,) = wanted(caught.value.cure)
        assert one.name == package
        assert one.specifier.contains(real)


def test_a_version_before_a_release_counts_as_what_it_precedes(monkeypatch):
    instead(monkeypatch, "pymc", "6.2.0rc1")
    versions.check_versions("a fit", ["pymc"])


def test_a_fit_does_not_ask_for_what_it_does_not_use(monkeypatch):
    instead(monkeypatch, "jinja2", "1.0")
    versions.check_versions("a fit", versions.COMPILERS)
    with pytest.raises(FitError, match=r"jinja2 1\.0"):
        versions.check_versions("a report")


def test_what_fails_to_load_names_the_version_that_is_to_blame(monkeypatch):
    def fails(name):
        raise ImportError(f"cannot import what {name} needs")

    monkeypatch.setattr(lazy_loader, "attach_stub", lambda *_: (fails, dir, ["backtest"]))
    load, _, _ = public_names("regimelag", "__init__.py")
    with pytest.raises(ImportError, match="what backtest needs"):
        load("backtest")
    instead(monkeypatch, "pandas", "2.2.3")
    with pytest.raises(FitError, match=r"^regimelag\.backtest\n.*pandas") as caught:
        load("backtest")
    assert [one.name for one in wanted(caught.value.cure)] == ["pandas"]


def test_a_sampler_that_takes_other_parameters_is_named(monkeypatch):
    def takes_less(**given):
        raise TypeError("got an unexpected keyword argument 'shared_var_keys'")

    model = object.__new__(compiled.CompiledModel)
    model.size, model.tape = 1, Tape(np.zeros(1), [])
    monkeypatch.setattr(compiled, "CompiledPyMCModel", takes_less)
    monkeypatch.setattr(compiled, "run_tape", lambda: None)
    monkeypatch.setattr(compiled, "copy_point", lambda: None)
    with pytest.raises(FitError, match="shared_var_keys") as caught:
        model.started_by(None)
    (one,) = wanted(caught.value.cure)
    assert one.name == "nutpie"
    assert not one.specifier.contains(metadata.version("nutpie"))


@pytest.mark.parametrize("pip", ["there", "", "a folder"])
def test_the_command_is_for_pip_where_there_is_pip_and_else_for_uv(pip, tmp_path, monkeypatch):
    """A folder called pip, from which Python is started, is none."""
    (tmp_path / "pip").mkdir()
    if pip == "there":
        (tmp_path / "pip" / "__init__.py").touch()
    found = machinery.PathFinder.find_spec("pip", [str(tmp_path)]) if pip else None
    monkeypatch.setattr(versions, "find_spec", lambda name: found)
    monkeypatch.setattr(sys, "executable", "/a folder/python")
    start = "'/a folder/python' -m pip install" if pip == "there" else "uv pip install --python '/a folder/python'"
    assert versions.install_command([Requirement("nutpie>=0.16.9,<0.17")]) == f'{start} "nutpie<0.17,>=0.16.9"'


def test_an_extra_is_installed_by_its_packages():
    assert [one.name for one in versions.declared("backtest")] == ["arch", "scoringrules"]
    assert "install --python" in versions.install_command(versions.declared("market")) or versions.find_spec("pip")
    assert not {one.name for one in versions.declared("market")} & {one.name for one in versions.declared()}
