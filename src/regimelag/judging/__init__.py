"""Judging: what the readings are worth, and which draws to believe."""
