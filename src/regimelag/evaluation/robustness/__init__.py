"""Placebos and refits."""
