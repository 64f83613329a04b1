from .citing import citation
from .data.fred import fetch_fred, fetch_vintages
from .data.market import fetch_market
from .data.panel import describe_panel, make_panel
from .data.rows import to_frequency
from .data.scenarios import scenario
from .data.sources import read_series
from .errors import FetchError, FitError, PanelError, RegimelagError, SpecError
from .judging.backtest import backtest
from .judging.compare import compare, compare_gains
from .judging.densities import leave_one_out, one_step_ahead
from .judging.frozen import score
from .judging.lead_lag import lead_lag
from .judging.leave_future_out import LeaveFutureOut
from .judging.plots import plot_compare, plot_lead_lag, plot_robustness
from .judging.robustness import robustness
from .judging.sbc import sbc, sbc_table
from .judging.stacking import stack_chains, stacked_posterior
from .judging.verification import backtest_table
from .kernels import (
    Beta,
    Dirichlet,
    Gamma,
    LogNormal,
    NegativeBinomial,
    NoLag,
    Point,
    Smooth,
    Unrestricted,
)
from .likelihood.hmm_loglik import markov_loglik
from .model import build_model
from .reading.forecast import forecast
from .reading.forecast_plots import plot_forecast, plot_impulse
from .reading.impulse import impulse_response
from .reading.lag_plots import plot_evidence, plot_lag
from .reading.lag_report import lag_report
from .reading.lags import effects, lag_distribution
from .reading.modes import modes
from .reading.panel_plots import plot_panel
from .reading.plots import (
    plot_drivers,
    plot_durations,
    plot_effects,
    plot_paths,
    plot_portrait,
    plot_regimes,
    plot_shares,
)
from .reading.regimes import (
    driver_effects,
    regime_durations,
    regime_paths,
    regime_portrait,
    regime_probabilities,
)
from .reporting.page import report
from .sampling.diagnostics import convergence, diagnostics
from .sampling.fit import fit, sample
from .sampling.store import load_fit, save_fit
from .sampling.tree import as_fit, panel_of, spec_of
from .sampling.verify import verify
from .series import Control, Driver, Response, Signal
from .simulation import example_frame, example_panel, simulate
from .spec import ModelSpec
from .specfile import read_spec, write_spec
from .structure import Episodes, Priors, Regimes

__version__: str

__all__ = [
    "Beta",
    "Control",
    "Dirichlet",
    "Driver",
    "Episodes",
    "FetchError",
    "FitError",
    "Gamma",
    "LeaveFutureOut",
    "LogNormal",
    "ModelSpec",
    "NegativeBinomial",
    "NoLag",
    "PanelError",
    "Point",
    "Priors",
    "RegimelagError",
    "Regimes",
    "Response",
    "Signal",
    "Smooth",
    "SpecError",
    "Unrestricted",
    "as_fit",
    "backtest",
    "backtest_table",
    "build_model",
    "citation",
    "compare",
    "compare_gains",
    "convergence",
    "describe_panel",
    "diagnostics",
    "driver_effects",
    "effects",
    "example_frame",
    "example_panel",
    "fetch_fred",
    "fetch_market",
    "fetch_vintages",
    "fit",
    "forecast",
    "impulse_response",
    "lag_distribution",
    "lag_report",
    "lead_lag",
    "leave_one_out",
    "load_fit",
    "make_panel",
    "markov_loglik",
    "modes",
    "one_step_ahead",
    "panel_of",
    "plot_compare",
    "plot_drivers",
    "plot_durations",
    "plot_effects",
    "plot_evidence",
    "plot_forecast",
    "plot_impulse",
    "plot_lag",
    "plot_lead_lag",
    "plot_panel",
    "plot_paths",
    "plot_portrait",
    "plot_regimes",
    "plot_robustness",
    "plot_shares",
    "read_series",
    "read_spec",
    "regime_durations",
    "regime_paths",
    "regime_portrait",
    "regime_probabilities",
    "report",
    "robustness",
    "sample",
    "save_fit",
    "sbc",
    "sbc_table",
    "scenario",
    "score",
    "simulate",
    "spec_of",
    "stack_chains",
    "stacked_posterior",
    "to_frequency",
    "verify",
    "write_spec",
]
