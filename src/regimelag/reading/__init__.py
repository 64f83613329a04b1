"""Readings of a fit: lags and effects, regimes and drivers, and figures of them."""
