"""Evaluation beyond one fit: calibration, comparison, stacking, forecast scores, robustness, lead-lag."""

from regimelag.runtime.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__, __file__, moved={"compare_gains": "regimelag.evaluation.comparison.compare.compare_gains"}
)
