from .errors import FetchError, FitError, PanelError, RegimelagError, SpecError
from .evaluation.calibration.sbc import sbc, sbc_table
from .evaluation.comparison.compare import compare, compare_gains
from .evaluation.comparison.leave_future_out import LeaveFutureOut
from .evaluation.comparison.pointwise_log_likelihood import leave_one_out, one_step_ahead
from .evaluation.comparison.stacking import stack_chains, stacked_posterior
from .evaluation.forecasting.backtest import backtest
from .evaluation.forecasting.forecast import forecast
from .evaluation.forecasting.forecast_scores import backtest_table
from .evaluation.forecasting.impulse import impulse_response
from .evaluation.forecasting.out_of_sample import score
from .evaluation.robustness.lead_lag import lead_lag
from .evaluation.robustness.robustness import robustness
from .fetch.fred import fetch_fred, fetch_vintages
from .fetch.market import fetch_market
from .likelihood.hmm_loglik import markov_loglik
from .model.build import build_model
from .model.simulate import example_frame, example_panel, simulate
from .panel.make import describe_panel, make_panel
from .panel.read import read_series
from .panel.rows import to_frequency
from .panel.scenarios import scenario
from .plots.evaluation import plot_compare, plot_lead_lag, plot_robustness
from .plots.forecast import plot_forecast, plot_impulse
from .plots.lags import plot_evidence, plot_lag
from .plots.panel import plot_panel
from .plots.regimes import (
    plot_drivers,
    plot_durations,
    plot_effects,
    plot_paths,
    plot_portrait,
    plot_regimes,
    plot_shares,
)
from .reporting.citation import citation
from .reporting.page import report
from .results.lag_report import lag_report
from .results.lags import effects, lag_distribution
from .results.modes import modes
from .results.regimes import (
    driver_effects,
    regime_durations,
    regime_paths,
    regime_portrait,
    regime_probabilities,
)
from .results.sentences import sentences
from .sampling.diagnostics import convergence, diagnostics
from .sampling.fit import fit, sample
from .sampling.inference_data import as_fit, panel_of, spec_of
from .sampling.io import load_fit, save_fit
from .sampling.verify import verify
from .spec.kernels import (
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
from .spec.model_spec import ModelSpec
from .spec.parts import Episodes, Regimes
from .spec.priors import Priors
from .spec.series import Control, Driver, Response, Signal
from .spec.toml import read_spec, write_spec

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
    "sentences",
    "simulate",
    "spec_of",
    "stack_chains",
    "stacked_posterior",
    "to_frequency",
    "verify",
    "write_spec",
]
