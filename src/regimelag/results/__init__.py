"""What a fit says: lags, effects, regimes, drivers."""
