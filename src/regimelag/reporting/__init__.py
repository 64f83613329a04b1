"""The top floor: readings and judgements of a fit, put on a page."""
