"""Fitting: modes, NUTS, the DataTree of a fit, diagnostics, and files."""
