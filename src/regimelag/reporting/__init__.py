"""Results and evaluations of a fit on one page."""
