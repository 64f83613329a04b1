"""Series from FRED and markets, with a cache."""
