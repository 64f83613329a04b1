"""Comparison of models by predictive density."""
