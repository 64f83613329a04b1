"""Forecasts and their scores."""
