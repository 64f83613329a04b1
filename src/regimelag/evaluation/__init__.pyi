from .calibration.rank_table import sbc_table
from .calibration.sbc import sbc
from .comparison.leave_future_out import LeaveFutureOut
from .comparison.regime_numbers import compare_regimes
from .comparison.screen import screen
from .comparison.stacking import stack_chains, stacked_posterior
from .forecasting.backtest import backtest
from .forecasting.forecast_scores import backtest_table
from .forecasting.impulse import impulse_response
from .forecasting.out_of_sample import score
from .robustness.cross_check import cross_check
from .robustness.event_study import event_study
from .robustness.lead_lag import lead_lag

__all__ = [
    "LeaveFutureOut",
    "backtest",
    "backtest_table",
    "compare_regimes",
    "cross_check",
    "event_study",
    "impulse_response",
    "lead_lag",
    "sbc",
    "sbc_table",
    "score",
    "screen",
    "stack_chains",
    "stacked_posterior",
]
