"""Read and write specs as TOML. Reading executes no code; writing loses nothing."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import tomli_w

from regimelag.errors import SpecError, require, require_choice
from regimelag.runtime.files import explain_os_errors, remove_leftovers, write_whole
from regimelag.spec.families import FAMILIES, Family
from regimelag.spec.kernels import KERNELS, Kernel
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.priors import Priors
from regimelag.spec.processes import OrderBy
from regimelag.spec.transitions import TRANSITIONS, Transitions
from regimelag.spec.volatility import VOLATILITIES, Volatility

# Dots in a key. Reading a key takes the square of their number.
DEEPEST = 100
# Classes by kind; a user's script may register more.
REGISTRIES: dict[type, dict[str, type[Any]]] = {
    Kernel: KERNELS,
    Family: FAMILIES,
    Transitions: TRANSITIONS,
    Volatility: VOLATILITIES,
}
# Description of the TOML form of each type, for errors.
WORDS = {
    int: "a whole number, without quotes or a decimal point",
    float: "a number, without quotes",
    str: "a text in quotes",
    bool: "true or false, without quotes",
    dt.date: "a date such as 2012-11-28, without quotes",
}


def _to_plain(value: Any) -> Any:
    if isinstance(value, (Kernel, Family, Transitions, Volatility)):
        held = {f.name: getattr(value, f.name) for f in fields(value)}  # type: ignore[arg-type]
        # An instance with defaults is written as its kind alone, except a kernel, whose prior lags are written out.
        return value.kind if value == type(value)() and not isinstance(value, Kernel) else {"kind": value.kind} | held
    if isinstance(value, Priors):
        return {name: prior.to_plain() for name, prior in value.items()}
    if isinstance(value, ModelSpec):
        # Regimes are described by one of them.
        skipped = "regimes" if value.regime_processes else "regime_processes"
        return {f.name: _to_plain(getattr(value, f.name)) for f in fields(value) if f.name != skipped}
    if is_dataclass(value) and not isinstance(value, type):
        held = {f.name: getattr(value, f.name) for f in fields(value)}
        # TOML has no null; a field of None is left out.
        return {name: _to_plain(one) for name, one in held.items() if one is not None}
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    return value


def _from_plain(hint: Any, value: Any, where: str) -> Any:
    """Convert a TOML value to the annotated type, or raise an error that names its place."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        # A single entry, or a list; a list where neither is one is refused below.
        listed = isinstance(value, (list, tuple))
        hint = next((one for one in arguments if (typing.get_origin(one) is tuple) is listed), arguments[0])
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Mapping:
        # Priors by name; the spec converts them.
        return value
    if hint in REGISTRIES:
        return _registered(hint, value, where)
    if hint is OrderBy and isinstance(value, str):
        # A quantity alone.
        return OrderBy(value)  # type: ignore[arg-type]
    if is_dataclass(hint):
        return _record(hint, value, where)
    if origin is tuple:
        fits, tables, name = isinstance(value, (list, tuple)), is_dataclass(arguments[0]), where.rpartition(".")[2]
        # Tables within a table are written in line.
        inner = "tables" if tables else "values"
        cure = (
            f"write [[{name}]] above its keys"
            if tables and "[" not in where
            else f"write {name} = [...], with its {inner} between the brackets"
        )
        require(fits, where, "this is a list of tables" if tables else "this is a list", value, cure)
        return tuple(_from_plain(arguments[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if origin is Literal:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)
    wanted = WORDS.get(hint, f"a {hint.__name__}")
    require(fits, where, f"this is {wanted}", value, f"write {wanted}")
    return value


def _record(cls: Any, value: Any, where: str) -> Any:
    name = re.sub(r"\[\d+\]$", "", where).rpartition(".")[2]
    nested = "[" in re.sub(r"\[\d+\]$", "", where)
    cure = f"write {f'[[{name}]]' if where.endswith(']') else f'[{name}]'} above its keys"
    cure = f"write {name} = [{{...}}], with the keys of each table between braces" if nested else cure
    require(isinstance(value, Mapping), where, "this is a table", value, cure)
    hints = typing.get_type_hints(cls)
    known = {f.name for f in fields(cls)}
    for key in value:
        close = difflib.get_close_matches(key, known - set(value), n=1)
        cure = f"write {close[0]!r}" if close else f"drop it; known are {sorted(known)}"
        require(key in known, where, "every key is known", f"{key!r}", cure)
    for item in fields(cls):
        optional = item.default is not MISSING or item.default_factory is not MISSING
        require(
            optional or item.name in value, where, f"{item.name} is given", f"keys {sorted(value)}", f"add {item.name}"
        )
    return cls(**{key: _from_plain(hints[key], item, f"{where}.{key}") for key, item in value.items()})


def _registered(base: type, value: Any, where: str) -> Any:
    """Instance of a registered class, from a table with its kind or from the kind alone."""
    registry, name = REGISTRIES[base], where.rpartition(".")[2]
    given = {"kind": value} if isinstance(value, str) and base is not Kernel else value
    first = next(iter(registry))
    cure = f'write {name} = {{kind = "{first}"}}' + ("" if base is Kernel else f', or {name} = "{first}"')
    require(isinstance(given, Mapping) and "kind" in given, where, f"a {name} is a table with a kind", value, cure)
    require_choice(where, "kind", given["kind"], registry)
    return _record(registry[given["kind"]], {k: v for k, v in given.items() if k != "kind"}, where)


def spec_to_toml(spec: ModelSpec) -> str:
    """Spec as TOML text, from which `spec_from_toml` rebuilds an equal spec."""
    return tomli_w.dumps(_to_plain(spec))


def spec_from_toml(text: str, *, where: str = "spec") -> ModelSpec:
    """Build a spec from TOML text.

    Raises
    ------
    SpecError
        If the text is not valid TOML, a key is unknown, or a rule is broken.
    """
    # The registered classes are part of the cache key: a script may register more.
    return _spec_from_toml(text, where, tuple(cls for registry in REGISTRIES.values() for cls in registry.values()))


@lru_cache(maxsize=32)
def _spec_from_toml(text: str, where: str, classes: tuple[type, ...]) -> ModelSpec:  # noqa: ARG001
    deep = next((n + 1 for n, line in enumerate(text.splitlines()) if line.partition("=")[0].count(".") > DEEPEST), 0)
    cure = "write nested tables, as the bundled models do"
    require(not deep, f"reading {where}", f"keys have at most {DEEPEST} dots", f"more in line {deep}", cure)
    try:
        plain = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as problem:
        raise SpecError(f"reading {where}", "the file is TOML", str(problem), "correct that line") from problem
    except (RecursionError, ValueError) as problem:
        # A ValueError is a number of thousands of digits.
        came = f"{type(problem).__name__}: {problem}"
        raise SpecError(f"reading {where}", "the file is TOML", came, "write each value plainly") from problem
    return typing.cast("ModelSpec", _record(ModelSpec, plain, where))


def _model_folder() -> Path:
    packaged = Path(str(resources.files("regimelag"))) / "models"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "models"


def _closest(file: Path, known: list[str]) -> str:
    """Nearest bundled model or TOML file of the folder, for an error message."""
    beside = sorted(str(one) for one in file.parent.glob("*.toml"))
    close = difflib.get_close_matches(str(file), [*known, *beside], n=1)
    return f"write read_spec({close[0]!r})" if close else f"check the path, or use one of {known}"


def read_spec(path: str | Path) -> ModelSpec:
    """Read a model spec from a TOML file, or a bundled model.

    Parameters
    ----------
    path : str or Path
        A file, or the bare name of a bundled model, such as "btc_silver".

    Returns
    -------
    ModelSpec

    Raises
    ------
    SpecError
        If there is no such file or bundled model, or its content breaks a rule.
    """
    if not isinstance(path, (str, Path)):
        cure = 'write read_spec("btc_silver"), or the path of a TOML file'
        raise SpecError("read_spec", "the path is a text or a Path", f"a {type(path).__name__}", cure)
    file = Path(path)
    if not _is_file(file):
        named = _model_folder() / f"{path}.toml"
        if not _is_file(named):
            known = sorted(p.stem for p in _model_folder().glob("*.toml"))
            raise SpecError(
                f"read_spec({str(path)!r})",
                "the path is a TOML file or the name of a bundled model",
                f"neither exists; the working folder is {Path.cwd()}",
                _closest(file, known),
            )
        file = named
    with explain_os_errors(f"read_spec({str(path)!r})", file, kind=SpecError):
        content = file.read_bytes()
    try:
        return spec_from_toml(content.decode("utf-8-sig"), where=str(path))
    except UnicodeDecodeError as problem:
        cure = "save the file as UTF-8 in your editor"
        raise SpecError(f"read_spec({str(path)!r})", "the file is text in UTF-8", str(problem), cure) from problem


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that is too long, or has a NUL.
        return False


def write_spec(spec: ModelSpec, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a spec as TOML.

    Parameters
    ----------
    spec : ModelSpec
        Spec to write.
    path : str or Path
        File to write.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SpecError
        If the file exists and `overwrite` is not set, or the path cannot be written.
    """
    file = Path(path)
    asked = f"write_spec to {file}"
    if file.exists() and not overwrite:
        raise SpecError(asked, "an existing file is kept", "the file exists", "pass overwrite=True or another path")
    with explain_os_errors(asked, file, kind=SpecError):
        remove_leftovers(Path(os.path.realpath(file)))
        write_whole(Path(os.path.realpath(file)), spec_to_toml(spec).encode())
    return file
