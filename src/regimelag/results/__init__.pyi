from .drivers import driver_report
from .gains import gain_report
from .regimes import regime_durations, regime_paths
from .states import state_contrast, state_report
from .volatility import conditional_volatility

__all__ = [
    "conditional_volatility",
    "driver_report",
    "gain_report",
    "regime_durations",
    "regime_paths",
    "state_contrast",
    "state_report",
]
