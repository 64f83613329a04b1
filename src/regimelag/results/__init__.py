"""Results of a fit: lags, effects, regimes, drivers."""
