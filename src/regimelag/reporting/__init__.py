"""Report of results and evaluations of a fit on one page."""
