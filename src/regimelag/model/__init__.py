"""The model of a spec in PyMC, evaluated at draws, and simulated; functions for models of your own."""

from regimelag.runtime.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
