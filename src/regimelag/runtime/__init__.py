"""Files, processes, versions and caches."""
