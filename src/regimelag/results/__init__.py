"""Readings of a fit: lags, effects, regimes, drivers, states."""

from regimelag.runtime.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
