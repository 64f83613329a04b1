"""Figures of fits, panels and judgements."""
