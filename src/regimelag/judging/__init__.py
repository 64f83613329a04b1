"""Judging: what would have to be true besides, and whether it is: placebos, leads, reversed arrows, leaving out."""
