"""Specs of models: series, kernels, regimes and priors, in Python and in TOML."""
