"""From data frames to the labelled panel that a model is fitted to."""
