"""Judgements: which draws, and which models, to believe."""
