"""How far a fit can be trusted: calibration, comparison, robustness, forecasts."""
