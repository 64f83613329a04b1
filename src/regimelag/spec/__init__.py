"""What a model is: its series, kernels, regimes and priors, in Python and in TOML."""
