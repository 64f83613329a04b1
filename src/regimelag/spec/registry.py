"""Registration check of kernels, families, transition models and volatility models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from regimelag.errors import require


def check_registered(asked: str, what: str, part: object, registry: Mapping[str, type[Any]], where: str) -> None:
    """Require an instance of a registered class, which a TOML file can describe and rebuild.

    Parameters
    ----------
    asked, what : str
        For errors: what was asked for, and the noun for the part, such as "kernel".
    part : object
        The instance.
    registry : mapping of str to type
        Registered classes by kind.
    where : str
        For errors: import path of the registry, such as "regimelag.spec.kernels.KERNELS".
    """
    cls = type(part)
    require(
        is_dataclass(part) and cls.__hash__ is not None,
        asked,
        f"the class of a {what} is a frozen dataclass",
        cls.__name__,
        "decorate it with @dataclass(frozen=True)",
    )
    kind = getattr(part, "kind", "")
    known = registry.get(kind)
    register = f"write {where}[{cls.__name__}.kind] = {cls.__name__} before the spec"
    if known is not None and known.__qualname__ == cls.__qualname__:
        register = f"make the {what} anew: its class was defined again since"
    elif known is not None or not kind:
        register = f"give {cls.__name__} a kind of its own, and {register}"
    require(
        known is cls,
        asked,
        f"the class of a {what} stands in {where} under its kind, from which files are read",
        f"a {cls.__name__} with kind = {kind!r}",
        register,
    )
