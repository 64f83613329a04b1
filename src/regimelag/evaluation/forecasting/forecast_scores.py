"""Scores of forecasts, and their summary with intervals."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pandas as pd

from regimelag.errors import FitError
from regimelag.evaluation.robustness.summary import RHAT_LIMIT
from regimelag.runtime.plain import drawn_seed
from regimelag.runtime.result_table import readable
from regimelag.runtime.versions import declared, install_command
from regimelag.spec import names as nm

RANDOM_WALK = "random walk"
# Probability of each central band, by column name.
BANDS = {"inside 50 %": 0.5, "inside 90 %": 0.9}
RESAMPLED = 1000


def extra(module: str) -> Any:
    """Import a module of the optional dependencies `backtest`.

    Raises
    ------
    FitError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        cure = f"run this in a shell: {install_command(declared('backtest'))}"
        raise FitError("a backtest", f"{module} is installed", str(problem), cure) from problem


def inside(below: Any, band: Any) -> Any:
    """Whether a PIT value is inside a central band."""
    return np.abs(below - 0.5) <= band / 2


def verified(observed: float, drawn: np.ndarray) -> dict[str, Any]:
    """Scores of one forecast.

    Parameters
    ----------
    observed : float
        Observed value.
    drawn : array of float (draw)
        Draws of the forecast.

    Returns
    -------
    dict
        ``observed``, ``median``, ``crps``, ``log score`` (higher is better), ``PIT``, ``inside 50 %``, ``inside 90 %``.
    """
    rules = extra("scoringrules")
    below = float((drawn < observed).mean())
    found = {
        "observed": observed,
        "median": float(np.median(drawn)),
        "crps": float(rules.crps_ensemble(observed, drawn)),
        "log score": -float(rules.logs_ensemble(observed, drawn)),
        "PIT": below,
    }
    return found | {name: bool(inside(below, band)) for name, band in BANDS.items()}


def backtest_table(scores: pd.DataFrame, *, random_seed: int = 0) -> pd.DataFrame:
    """Summarise a backtest: mean scores and coverage, with intervals that allow for overlapping horizons.

    Parameters
    ----------
    scores : DataFrame
        From `backtest`.
    random_seed : int
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        Indexed by response, horizon and forecaster: ``origins``; mean ``crps`` and ``log score``; coverage of the ``50
        %`` and ``90 %`` bands, each with the bounds of its 90 % interval; and ``gain`` in log score over the random
        walk per origin, with its bounds. ``attrs["warnings"]`` reports refits whose chains disagree, and
        ``attrs["notes"]`` how the model without signals differs, if the scores have attrs.

    Notes
    -----
    Intervals are percentiles of a stationary bootstrap over origins (Politis & Romano 1994,
    doi:10.1080/01621459.1994.10476870) by `arch`, with a mean block length of twice the horizon and at least 13
    origins.
    """
    index = ["response", "horizon", "forecaster"]
    if not isinstance(scores, pd.DataFrame) or not {*index, "origin", "log score", *BANDS} <= set(scores):
        cure = "pass what backtest(spec, panel, start=...) returned"
        raise FitError("backtest_table", "scores are those of backtest", f"a {type(scores).__name__}", cure)
    random_seed = drawn_seed(FitError, "backtest_table", random_seed)
    rows = []
    for _, some in scores.groupby(["response", "horizon"], sort=False):
        wide = {name: one.set_index("origin").sort_index() for name, one in some.groupby("forecaster", sort=False)}
        for name, one in wide.items():
            measured = one[list(BANDS)].rename(columns=lambda name: name.removeprefix("inside ")).astype(float)
            measured["gain"] = one["log score"] - wide[RANDOM_WALK]["log score"]
            row: dict[str, Any] = {
                "response": some["response"].iloc[0],
                "horizon": int(some["horizon"].iloc[0]),
                "forecaster": name,
            }
            row |= {"origins": len(one), "crps": one["crps"].mean(), "log score": one["log score"].mean()}
            low, high = _interval(measured.to_numpy(), max(2 * int(some["horizon"].iloc[0]), 13), random_seed)
            for n, what in enumerate(map(str, measured)):
                row |= {what: measured[what].mean(), f"{what} low": low[n], f"{what} high": high[n]}
            rows.append(row)
    table = pd.DataFrame(rows).set_index(index)
    table.attrs["warnings"] = _on_chains(scores)
    table.attrs["notes"] = list(scores.attrs.get("notes", []))
    table.attrs[nm.SENTENCES] = [*table.attrs["warnings"], *table.attrs["notes"]]
    caption = "Gain: log score minus that of the random walk, nats per origin; 90 %: share of values in the 90 % band."
    return readable(table, ("origins", "log score", "gain", "90 %"), caption=caption)


def _on_chains(scores: pd.DataFrame) -> list[str]:
    """Sentences on refits whose chains disagree."""
    refits = scores.dropna(subset="R-hat").drop_duplicates(["forecaster", "R-hat"]) if "R-hat" in scores else scores[:0]
    bad = int((refits["R-hat"] > RHAT_LIMIT).sum()) if len(refits) else 0
    if not bad:
        return []
    largest = f"the largest R-hat is {refits['R-hat'].max():.2f}"
    chains = f"The chains of {bad} of {len(refits)} refits disagree (R-hat above {RHAT_LIMIT})"
    return [f"{chains}: {largest}. Raise tune and draws."]


def _interval(values: np.ndarray, block: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """5 % and 95 % quantiles of the means (column) over resampled origins (row)."""
    resampled = extra("arch.bootstrap").StationaryBootstrap(min(block, len(values)), values, seed=seed)
    means = resampled.apply(lambda drawn: drawn.mean(axis=0), RESAMPLED)
    return np.quantile(means, 0.05, axis=0), np.quantile(means, 0.95, axis=0)
