"""Lazy loading of public names, as listed in a package's stub."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

import lazy_loader

from regimelag.runtime import versions
from regimelag.runtime.caches import explain_caches

Names = tuple[Callable[[str], object], Callable[[], list[str]], list[str]]
NONE: Mapping[str, str] = MappingProxyType({})


def public_names(package: str, file: str, *, moved: Mapping[str, str] = NONE) -> Names:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Parameters
    ----------
    package, file : str
        Its ``__name__`` and ``__file__``; the stub is beside the file.
    moved : mapping of str to str
        Current locations of former names, which still load with a `FutureWarning`.
    """
    load, list_names, names = lazy_loader.attach_stub(package, file)

    def get(name: str) -> object:
        if name in moved:
            place = moved[name]
            warnings.warn(f"{package}.{name} is now {place}", FutureWarning, stacklevel=2)
            module, _, attribute = place.rpartition(".")
            return getattr(import_module(module), attribute)
        try:
            with explain_caches():
                return load(name)
        except (AttributeError, ImportError):
            if name in names:
                # An unsupported version of a dependency may be the reason; the error then says so.
                versions.check_versions(f"{package}.{name}")
                raise
            close = difflib.get_close_matches(name, [*names, *moved], n=1)
            found = moved.get(close[0], close[0]) if close else ""
            hint = f"; {found!r} is the closest there is" if found and not name.startswith("_") else ""
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}", name=name) from None

    return get, list_names, names
