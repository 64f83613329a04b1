"""Figures: each takes what a reading or a study returns and gives matplotlib axes back."""

from regimelag.runtime.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
