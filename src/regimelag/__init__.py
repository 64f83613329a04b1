"""Bayesian regime-switching regression with an uncertain lag.

Public names, in the order of use: read a spec, make a panel, fit, evaluate the fit. They are listed in ``__init__.pyi``
and loaded at first use, since the compiler behind the fits takes a second to import.
"""

from importlib.metadata import version

from regimelag.runtime.lazy import public_names

# Current locations of names that were at the root.
_MOVED = {
    "regimelag.errors": ("FetchError", "FitError", "PanelError", "SpecError"),
    "regimelag.evaluation": (
        *(
            "LeaveFutureOut",
            "backtest",
            "backtest_table",
            "event_study",
            "impulse_response",
            "lead_lag",
            "sbc",
            "sbc_table",
        ),
        *("score", "stack_chains", "stacked_posterior"),
    ),
    "regimelag.kernels": (
        *("Beta", "Dirichlet", "Gamma", "LogNormal", "NegativeBinomial", "NoLag", "Point", "Smooth", "Unrestricted"),
    ),
    "regimelag.panel.rows": ("to_frequency",),
    "regimelag.plots": (
        *("plot_compare", "plot_drivers", "plot_durations", "plot_effects", "plot_evidence", "plot_forecast"),
        *("plot_impulse", "plot_lag", "plot_lead_lag", "plot_panel", "plot_paths", "plot_regimes"),
        *("plot_robustness", "plot_shares"),
    ),
    "regimelag.results": (
        *("conditional_volatility", "driver_report", "gain_report", "regime_durations", "regime_paths"),
        *("state_contrast", "state_report"),
    ),
    "regimelag.sampling.diagnostics": ("convergence",),
    "regimelag.spec": ("Condition", "Episodes", "Indicator", "Markov", "OrderBy", "RegimeProcess", "Regimes"),
    "regimelag.spec.toml": ("write_spec",),
}

__getattr__, __dir__, __all__ = public_names(
    __name__,
    __file__,
    moved={name: f"{place}.{name}" for place, names in _MOVED.items() for name in names}
    | {"regime_portrait": "regimelag.regime_summary", "plot_portrait": "regimelag.plots.plot_regime_summary"},
)
__version__ = version("regimelag")
