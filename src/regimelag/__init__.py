"""Bayesian regime-switching regression with an uncertain lag.

The public names, in the order in which a study uses them: read a spec, make a panel, fit, read the fit. They are
written down in ``__init__.pyi`` and loaded at first use: the compiler behind the fits takes a second to import.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = version("regimelag")
