"""Hostile inputs, by area: what is tried, and what is a right answer."""
