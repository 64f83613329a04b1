"""Refits that try a claim about a lag: rival explanations and altered data."""
