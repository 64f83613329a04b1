from . import errors, evaluation, kernels, model, plots, results, spec
from .errors import RegimelagError
from .evaluation.comparison.claims import claims
from .evaluation.comparison.compare import compare
from .evaluation.comparison.pointwise_log_likelihood import leave_one_out, one_step_ahead
from .evaluation.forecasting.forecast import forecast
from .evaluation.robustness.robustness import robustness
from .fetch.fred import fetch_fred, fetch_vintages
from .fetch.market import fetch_market
from .likelihood.hmm_loglik import markov_loglik
from .model.build import build_model
from .model.simulate import example_panel, simulate
from .panel.make import describe_panel, make_panel
from .panel.read import read_series
from .panel.scenarios import scenario
from .reporting.citation import citation
from .reporting.latex import latex_table
from .reporting.page import report
from .results.fitted import fitted, residuals
from .results.lag_report import lag_report
from .results.lags import effects, lag_distribution
from .results.model_table import model_table
from .results.modes import modes
from .results.regimes import driver_effects, regime_probabilities, regime_summary
from .results.sentences import sentences
from .results.summary import summary
from .sampling.diagnostics import diagnostics
from .sampling.fit import fit, sample
from .sampling.inference_data import as_fit, panel_of, spec_of
from .sampling.io import load_fit, save_fit
from .sampling.prior import prior_predictive
from .sampling.sampler import Sampler
from .sampling.verify import verify
from .spec.model_spec import ModelSpec
from .spec.priors import Prior
from .spec.series import Control, Driver, Response, Signal
from .spec.toml import read_spec

__version__: str

__all__ = [
    "Control",
    "Driver",
    "ModelSpec",
    "Prior",
    "RegimelagError",
    "Response",
    "Sampler",
    "Signal",
    "as_fit",
    "build_model",
    "citation",
    "claims",
    "compare",
    "describe_panel",
    "diagnostics",
    "driver_effects",
    "effects",
    "errors",
    "evaluation",
    "example_panel",
    "fetch_fred",
    "fetch_market",
    "fetch_vintages",
    "fit",
    "fitted",
    "forecast",
    "kernels",
    "lag_distribution",
    "lag_report",
    "latex_table",
    "leave_one_out",
    "load_fit",
    "make_panel",
    "markov_loglik",
    "model",
    "model_table",
    "modes",
    "one_step_ahead",
    "panel_of",
    "plots",
    "prior_predictive",
    "read_series",
    "read_spec",
    "regime_probabilities",
    "regime_summary",
    "report",
    "residuals",
    "results",
    "robustness",
    "sample",
    "save_fit",
    "scenario",
    "sentences",
    "simulate",
    "spec",
    "spec_of",
    "summary",
    "verify",
]
