"""Fetch series from FRED and Yahoo, with a cache."""
