"""From tables of levels to the labelled panel that a model is fitted to."""
