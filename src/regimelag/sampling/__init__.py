"""Fitting: modes, NUTS, the tree that holds a fit, its diagnostics, and its file."""
