"""Models compared by predictive density."""
