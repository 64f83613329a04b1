"""Bayesian regime-switching regression with an uncertain lag.

The public names, in the order in which a study uses them: read a spec, make a panel, fit, read the fit.
"""

from importlib.metadata import version

from regimelag.data.panel import describe_panel, make_panel
from regimelag.data.rows import to_frequency
from regimelag.data.sources import read_series
from regimelag.errors import FitError, PanelError, RegimelagError, SpecError
from regimelag.kernels import (
    Beta,
    Dirichlet,
    Gamma,
    LogNormal,
    NegativeBinomial,
    NoLag,
    Smooth,
    Unrestricted,
)
from regimelag.likelihood.op import markov_loglik
from regimelag.model import build_model
from regimelag.reading.lags import effects, lag_distribution, lag_report
from regimelag.reading.plots import (
    plot_drivers,
    plot_durations,
    plot_effects,
    plot_lag,
    plot_paths,
    plot_portrait,
    plot_regimes,
    plot_shares,
)
from regimelag.reading.regimes import (
    driver_effects,
    regime_durations,
    regime_paths,
    regime_portrait,
    regime_probabilities,
)
from regimelag.sampling.catalogue import modes
from regimelag.sampling.diagnostics import convergence, diagnostics
from regimelag.sampling.fit import fit
from regimelag.sampling.store import load_fit, save_fit
from regimelag.sampling.tree import as_fit, panel_of, spec_of
from regimelag.simulate import example_panel, simulate
from regimelag.spec import Control, Driver, Episodes, ModelSpec, Priors, Regimes, Response, Signal
from regimelag.specfile import read_spec, write_spec

__version__ = version("regimelag")

__all__ = [
    "Beta",
    "Control",
    "Dirichlet",
    "Driver",
    "Episodes",
    "FitError",
    "Gamma",
    "LogNormal",
    "ModelSpec",
    "NegativeBinomial",
    "NoLag",
    "PanelError",
    "Priors",
    "RegimelagError",
    "Regimes",
    "Response",
    "Signal",
    "Smooth",
    "SpecError",
    "Unrestricted",
    "as_fit",
    "build_model",
    "convergence",
    "describe_panel",
    "diagnostics",
    "driver_effects",
    "effects",
    "example_panel",
    "fit",
    "lag_distribution",
    "lag_report",
    "load_fit",
    "make_panel",
    "markov_loglik",
    "modes",
    "panel_of",
    "plot_drivers",
    "plot_durations",
    "plot_effects",
    "plot_lag",
    "plot_paths",
    "plot_portrait",
    "plot_regimes",
    "plot_shares",
    "read_series",
    "read_spec",
    "regime_durations",
    "regime_paths",
    "regime_portrait",
    "regime_probabilities",
    "save_fit",
    "simulate",
    "spec_of",
    "to_frequency",
    "write_spec",
]
