from .evaluation import plot_compare, plot_event_study, plot_lead_lag, plot_robustness
from .figure_style import style
from .forecast import plot_forecast, plot_impulse
from .lags import plot_evidence, plot_lag, plot_prior
from .panel import plot_panel
from .prices import plot_prices
from .regimes import (
    plot_drivers,
    plot_durations,
    plot_effects,
    plot_paths,
    plot_regime_summary,
    plot_regimes,
    plot_shares,
)
from .scores import plot_backtest, plot_modes, plot_pit, plot_sbc, plot_score
from .screens import plot_screen
from .volatility import plot_volatility

__all__ = [
    "plot_backtest",
    "plot_compare",
    "plot_drivers",
    "plot_durations",
    "plot_effects",
    "plot_event_study",
    "plot_evidence",
    "plot_forecast",
    "plot_impulse",
    "plot_lag",
    "plot_lead_lag",
    "plot_modes",
    "plot_panel",
    "plot_paths",
    "plot_pit",
    "plot_prices",
    "plot_prior",
    "plot_regime_summary",
    "plot_regimes",
    "plot_robustness",
    "plot_sbc",
    "plot_score",
    "plot_screen",
    "plot_shares",
    "plot_volatility",
    "style",
]
