"""Bayesian regime-switching regression with an uncertain lag.

The public names, in the order in which a study uses them: read a spec, make a panel, fit, read the fit. They are
written down in ``__init__.pyi`` and loaded at first use: the compiler behind the fits takes a second to import.
"""

import difflib
from importlib.metadata import version

import lazy_loader

from regimelag import versions
from regimelag.caches import saying_where_to_write

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """A public name, at its first use; of one that is none, the closest there is."""
    try:
        with saying_where_to_write():
            return _load(name)
    except (AttributeError, ImportError):
        if name in __all__:
            # What fails to load may be of a version that is not supported, which is then said in words.
            versions.check_versions(f"regimelag.{name}")
            raise
        close = difflib.get_close_matches(name, __all__, n=1)
        hint = f"; {close[0]!r} is the closest there is" if close and not name.startswith("_") else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}", name=name) from None


__version__ = version("regimelag")
