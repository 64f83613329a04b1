"""Arguments of the wrong type or size, one at a time, to every function that takes a panel, a fit or a result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from builders import prior_fit, small_spec

import regimelag as rl
from hostile.cases import Case

VALUES = {
    "None": None,
    "a negative number": -1,
    "zero": 0,
    "a fraction": 1.5,
    "nan": float("nan"),
    "infinity": float("inf"),
    "a huge number": 10**9,
    "a word": "x",
    "an empty text": "",
    "an empty list": [],
    "a list": ["x"],
    "an empty dict": {},
    "a dict": {"x": 1},
    "a dict of nan": {"driver": float("nan"), "signal": float("nan")},
    "a dict of texts": {"driver": "a"},
    "a dict of numbers as names": {1: 0.5, "driver": 0.5},
    "an object": object(),
    "an array": np.array([1.0, 2.0]),
    "a boolean": True,
    "a pair": (1, 2),
    "a time": pd.Timestamp("1700-01-01"),
    "a date": "2050-01-01",
    "a frame": pd.DataFrame({"x": [1.0]}),
}


def _fit() -> Any:
    """A fit whose draws are of the prior, with the levels that scenarios and events need."""
    spec = rl.read_spec("no_late_macro")
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True), start="2024-01-05")
    return prior_fit(spec, panel, draws=100)


def calls() -> dict[Callable[..., Any], dict[str, Any]]:
    """Functions, and arguments with which each works."""
    idata = _fit()
    spec, panel = rl.spec_of(idata), rl.panel_of(idata)
    report, lag, effects = rl.lag_report(idata), rl.lag_distribution(idata), rl.effects(idata)
    probabilities, summary = rl.regime_probabilities(idata), rl.regime_summary(idata)
    of_fit = (
        *(
            rl.lag_report,
            rl.effects,
            rl.lag_distribution,
            rl.regime_probabilities,
            rl.driver_effects,
            rl.regime_summary,
        ),
        *(rl.residuals, rl.fitted, rl.modes, rl.diagnostics, rl.leave_one_out, rl.one_step_ahead, rl.summary),
        *(rl.panel_of, rl.spec_of, rl.results.regime_paths, rl.results.regime_durations, rl.results.driver_report),
    )
    evaluation, plots = rl.evaluation, rl.plots
    frame = rl.example_panel(as_frame=True)
    return {
        **{function: {"idata": idata} for function in of_fit},
        rl.forecast: {"idata": idata, "horizon": 4},
        rl.verify: {"idata": idata, "panel": panel},
        rl.scenario: {"panel": panel, "horizon": 4},
        rl.describe_panel: {"panel": panel},
        rl.sentences: {"result": report},
        rl.latex_table: {"result": report},
        rl.model_table: {"fits": {"a": idata}},
        rl.compare: {"fits": {"a": idata, "b": idata}},
        rl.claims: {"fits": {"a": idata}},
        rl.example_panel: {},
        rl.simulate: {"spec": spec, "panel": panel, "random_seed": 1},
        evaluation.impulse_response: {"idata": idata, "shock": 0.1},
        evaluation.event_study: {"panel": panel, "signal": "silver", "horizon": 2},
        evaluation.lead_lag: {"panel": panel, "draws": 20},
        evaluation.score: {"idata": idata, "panel": panel},
        evaluation.stack_chains: {"idata": idata},
        evaluation.cross_check: {"one": frame, "other": frame},
        rl.make_panel: {"spec": spec, "frame": frame, "start": "2024-01-05"},
        rl.as_fit: {"idata": idata, "spec": spec, "panel": panel},
        rl.build_model: {"spec": spec, "panel": panel},
        rl.results.gain_report: {"idata": idata},
        rl.results.state_report: {"idata": idata},
        rl.read_spec: {"path": "btc_silver"},
        plots.plot_lag: {"lag": lag},
        plots.plot_prior: {"effects": effects},
        plots.plot_effects: {"effects": effects},
        plots.plot_regimes: {"probabilities": probabilities},
        plots.plot_prices: {"panel": panel, "probabilities": probabilities},
        plots.plot_panel: {"panel": panel},
        plots.plot_regime_summary: {"summary": summary},
        plots.plot_shares: {"summary": summary},
        plots.plot_drivers: {"changes": rl.driver_effects(idata)},
        plots.plot_paths: {"paths": rl.results.regime_paths(idata)},
        plots.plot_durations: {"durations": rl.results.regime_durations(idata)},
        plots.plot_forecast: {"forecast": rl.forecast(idata, horizon=4)},
        plots.plot_impulse: {"response": evaluation.impulse_response(idata, shock=0.1)},
        plots.plot_evidence: {"report": report},
        plots.plot_pit: {"pit": rl.residuals(idata, kind="pit")},
        rl.Sampler: {},
        rl.Signal: {"name": "metal", "column": "metal"},
        rl.Response: {"name": "asset", "column": "price"},
        rl.Driver: {"name": "yield", "column": "yield"},
        rl.Control: {"name": "dollar", "column": "dollar"},
        rl.Prior: {"distribution": "Normal", "sigma": 1.0},
        rl.spec.Regimes: {"count": 2},
        rl.spec.Markov: {},
        rl.spec.Episodes: {},
        rl.spec.Condition: {"driver": "yield", "below": 0.0},
        rl.spec.Indicator: {"name": "easing", "all_of": (rl.spec.Condition("yield", below=0.0),)},
        rl.kernels.Gamma: {},
        rl.kernels.Beta: {},
        rl.kernels.Point: {},
        rl.kernels.Smooth: {},
        rl.kernels.Dirichlet: {},
        rl.ModelSpec: {"name": "small", **{part: getattr(small_spec(), part) for part in ("responses", "signals")}},
    }


# Values that no argument of a study takes, since a legal one starts it.
WRONG = ("an object", "an array", "a frame", "a dict of numbers as names", "infinity")


def _studies(folder: Path) -> Iterator[Case]:
    """Every argument of what takes long, or writes, with values that are to be refused at once."""
    idata, frame = _fit(), rl.example_panel(as_frame=True)
    evaluation, short = rl.evaluation, rl.Sampler(draws=20, tune=20, chains=2, starts=2)
    model = {"spec": rl.spec_of(idata), "panel": rl.panel_of(idata)}
    study = {**model, "sampler": short}
    pair = {"responses": ["btc_usd"], "signals": ["silver_usd"]}
    written = rl.save_fit(idata, folder / "fit.nc")
    studies: dict[Callable[..., Any], dict[str, Any]] = {
        rl.fit: model,
        rl.robustness: study,
        evaluation.backtest: {**study, "start": "2025-06-06"},
        evaluation.sbc: {**study, "simulations": 2},
        evaluation.screen: {"spec": model["spec"], "frame": frame, "sampler": short, **pair},
        evaluation.compare_regimes: study,
        evaluation.backtest_table: {"scores": frame},
        evaluation.sbc_table: {"tree": idata},
        evaluation.stacked_posterior: {"idata": idata, "stacking": evaluation.stack_chains(idata)},
        rl.prior_predictive: model,
        rl.save_fit: {"idata": idata, "path": written},
        rl.load_fit: {"path": written},
        rl.report: {"idata": idata, "folder": written.parent},
        rl.fetch_fred: {"columns": ["vix"], "cache": folder / "cache", "timeout": 0.1},
        rl.fetch_vintages: {"columns": ["vix"], "cache": folder / "cache", "timeout": 0.1},
        rl.fetch_market: {"columns": ["btc_usd"], "cache": folder / "cache", "timeout": 0.1},
        rl.read_series: {"path": frame},
    }
    for function, arguments in studies.items():
        for name in inspect.signature(function).parameters:
            if name not in ("kwargs", "options", "progressbar"):
                for what in WRONG:
                    given = {**arguments, name: VALUES[what]}
                    yield Case(
                        "arguments of studies",
                        f"{function.__name__}, {name}: {what}",
                        partial(_called, function, given),
                        refused=True,
                    )


def cases(folder: Path) -> Iterator[Case]:
    """Every function with one argument replaced."""
    yield from _studies(folder)
    for function, arguments in calls().items():
        area = f"arguments of {'figures' if function.__name__.startswith('plot_') else 'functions'}"
        for name in inspect.signature(function).parameters:
            if name not in ("kwargs", "args"):
                for what, value in VALUES.items():
                    given = {**arguments, name: value}
                    yield Case(area, f"{function.__name__}, {name}: {what}", partial(_called, function, given))


def _called(function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    try:
        function(**arguments)
    finally:
        plt.close("all")
    return ""
