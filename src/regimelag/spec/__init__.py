"""Specs of models: series, kernels, regimes and priors, in Python and in TOML."""

from regimelag.runtime.lazy import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
