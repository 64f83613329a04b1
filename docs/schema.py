"""The keys of a model file, from the classes that read it: a JSON schema for editors, and the reference's page of keys.

``python docs/schema.py`` writes ``models/spec.schema.json``; ``tests/project/test_schema.py`` holds it against the
reader.
"""

from __future__ import annotations

import datetime as dt
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from regimelag.spec.kernels import Kernel
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.priors import DISTRIBUTIONS, Unit
from regimelag.spec.processes import OrderBy
from regimelag.spec.toml import REGISTRIES

FILE = Path(__file__).parents[1] / "models" / "spec.schema.json"
PLAIN: dict[type, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    dt.date: {"type": "string", "format": "date"},
}
ENTRIES = ("signal", "control", "driver", "moderator", "regime", "response", "episode")
ENTRY = re.compile(r"^([\w, ]+) : .*\n((?: +.*\n?)+)", re.MULTILINE)


def meanings(cls: type) -> dict[str, str]:
    """What the docstring of a class says of each of its parameters."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        for names, text in ENTRY.findall(inspect.cleandoc(one.__doc__ or "")):
            said = " ".join(text.replace("`", "").split())
            found |= dict.fromkeys((name.strip() for name in names.split(",")), said)
    return found


def of_type(hint: Any) -> dict[str, Any]:
    """Schema of a value with a type hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in REGISTRIES:
        tables = [of_class(cls, kind) for kind, cls in REGISTRIES[hint].items()]
        # A kernel is a table: its prior lags belong to it. The others may be named alone.
        return {"oneOf": tables if hint is Kernel else [{"enum": sorted(REGISTRIES[hint])}, *tables]}
    if hint is OrderBy:
        return {"oneOf": [{"enum": ["scale", "intercept", "effect", "none"]}, of_class(OrderBy)]}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": {"$ref": "#/definitions/prior"}}
    if origin is types.UnionType:
        kinds = [of_type(one) for one in arguments if one is not type(None)]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if origin is tuple:
        return {"type": "array", "items": of_type(arguments[0])}
    if origin is Literal:
        return {"enum": list(arguments)}
    return of_class(hint) if is_dataclass(hint) else dict(PLAIN[hint])


def of_class(cls: Any, kind: str = "") -> dict[str, Any]:
    """Schema of a table with the keys of a class; of a registered class with its kind."""
    hints, said = typing.get_type_hints(cls), meanings(cls)
    known = {one.name: of_type(hints[one.name]) | described(one, said) for one in fields(cls)}
    needed = [one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING]
    if kind:
        known, needed = {"kind": {"const": kind}} | known, ["kind", *needed]
    table = {"type": "object", "additionalProperties": False, "properties": known}
    return table | ({"required": needed} if needed else {})


def described(field: Field[Any], said: Mapping[str, str]) -> dict[str, Any]:
    """Description and plain default of a key."""
    found: dict[str, Any] = {"description": said[field.name]}
    if isinstance(field.default, (str, int, float)) and field.default != "":
        found["default"] = field.default
    return found


def prior() -> dict[str, Any]:
    """Schema of a prior."""
    numbers = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}
    parameters = {name for known in DISTRIBUTIONS.values() for names in known.parameters for name in _names(names)}
    entry = {"type": "object", "additionalProperties": {"$ref": "#/definitions/prior"}}
    keys = {"distribution": {"enum": sorted(DISTRIBUTIONS)}, "unit": {"enum": list(typing.get_args(Unit))}}
    keys |= dict.fromkeys(sorted(parameters), numbers) | {f"by_{one}": entry for one in ENTRIES}
    return {"type": "object", "additionalProperties": False, "required": ["distribution"], "properties": keys}


def _names(names: tuple[str, str]) -> list[str]:
    return " ".join(names).split()


def schema() -> dict[str, Any]:
    """The JSON schema of a model file."""
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "regimelag model", "definitions": {}}
    head["definitions"] = {"prior": prior()}
    # The regimes are one table, or several processes.
    return head | of_class(ModelSpec) | {"not": {"required": ["regimes", "regime_processes"]}}


def text() -> str:
    """The schema as it is kept in the repository."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


KEYS = """# All keys of a model file

Every key that `rl.read_spec` accepts, by table. [](../toml.md) has a complete annotated example.
"""
# Titles of the page of keys, with the class whose keys they head.
TABLES = (
    ("Top of the file", ""),
    ("[[responses]]", "responses"),
    ("[[signals]]", "signals"),
    ("[[drivers]]", "drivers"),
    ("[[controls]]", "controls"),
    ("[episodes]", "episodes"),
    ("[regimes]", "regimes"),
    ("[[regime_processes]]", "regime_processes"),
    ("[[indicators]]", "indicators"),
)


def write(folder: Path) -> None:
    """Write the page of keys."""
    hints = typing.get_type_hints(ModelSpec)
    parts = [KEYS]
    for title, name in TABLES:
        hint = hints[name] if name else ModelSpec
        cls = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
        parts.append(_table(title, cls, skip={one for _, one in TABLES if not name}))
    for base, registry in REGISTRIES.items():
        for kind, cls in registry.items():
            where = f'kind = "{kind}" ({base.__name__.lower()})'
            parts.append(_table(where, cls, skip=set()))
    folder.mkdir(parents=True, exist_ok=True)
    page, whole = folder / "keys.md", "\n".join(parts)
    if not page.exists() or page.read_text(encoding="utf-8") != whole:
        page.write_text(whole, encoding="utf-8")


def _table(title: str, cls: Any, skip: set[str]) -> str:
    said = meanings(cls)
    held = [one for one in fields(cls) if one.name not in skip]
    rows = [f"| `{one.name}` | {_default(one)} | {_cell(said[one.name])} |" for one in held]
    head = f"## `{title}`\n\n" if title.startswith(("[", "kind")) else f"## {title}\n\n"
    return head + ("| key | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n" if rows else "No keys.\n")


def _default(field: Field[Any]) -> str:
    if field.default is MISSING:
        if field.default_factory is MISSING:
            return "required"
        kind = getattr(field.default_factory(), "kind", "")
        return f"`{json.dumps(kind)}`" if kind else "empty"
    plain = isinstance(field.default, (str, int, float)) and field.default != ""
    if isinstance(field.default, tuple) and field.default:
        return f"`{json.dumps(list(field.default))}`"
    return f"`{json.dumps(field.default)}`" if plain else "empty"


def _cell(text: str) -> str:
    return re.sub(r"([\\*_{}\[\]<>|$])", r"\\\1", text)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
