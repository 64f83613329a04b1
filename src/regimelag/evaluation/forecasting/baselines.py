"""Baseline forecasters that use only the response's own past."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd

from regimelag.evaluation.forecasting.forecast_scores import extra

DRAWS = 2000


class Baseline(Protocol):
    """Protocol of a forecaster, estimated on rows up to one and used at any later row.

    It is constructed from the responses (time, response) in their own units, the first row to learn from, and the last.
    """

    def __init__(self, values: np.ndarray, first: int, refit: int) -> None: ...

    def draw(self, origin: int, horizon: int, seed: int) -> np.ndarray:
        """Responses (draw, step, response) after the origin, in their own units."""
        ...


class RandomWalk:
    """Random walk without drift: returns drawn from those up to the origin, minus their mean."""

    def __init__(self, values: np.ndarray, first: int, refit: int) -> None:  # noqa: ARG002
        self.values, self.first = values, first

    def draw(self, origin: int, horizon: int, seed: int) -> np.ndarray:
        """Responses (draw, step, response) after the origin, in their own units."""
        rng = np.random.default_rng(seed)
        drawn = []
        for own in self.values[self.first : origin + 1].T:
            seen = own[~np.isnan(own)]
            drawn.append(rng.choice(seen - seen.mean(), size=(DRAWS, horizon)))
        return np.stack(drawn, axis=-1)


class Garch:
    """GARCH(1,1) with a constant mean and Student-t shocks, by `arch`: Bollerslev (1987), doi:10.2307/1925546."""

    def __init__(self, values: np.ndarray, first: int, refit: int) -> None:
        self.values, self.first = values, first
        known = values[first : refit + 1]
        self.scale = np.nanstd(known, axis=0)
        # The optimiser expects a variance of about one.
        self.parameters = [estimate_garch(own) for own in (known / self.scale).T]

    def draw(self, origin: int, horizon: int, seed: int) -> np.ndarray:
        """Responses (draw, step, response) after the origin, in their own units."""
        drawn = []
        for a, parameters in enumerate(self.parameters):
            known = self.values[self.first : origin + 1, a] / self.scale[a]
            fixed, nu = _garch_model(known).fix(parameters), float(parameters["nu"])
            shocks = partial(_unit_t, nu, np.random.default_rng([seed, a]))
            # arch cannot seed its own generator for a single call.
            simulated = fixed.forecast(horizon=horizon, method="simulation", simulations=DRAWS, rng=shocks)
            drawn.append(self.scale[a] * simulated.simulations.values[-1])
        return np.stack(drawn, axis=-1)


def estimate_garch(values: np.ndarray) -> pd.Series:
    """Maximum likelihood parameters of a GARCH(1,1)-t by name, from a series (time) of about unit variance."""
    return _garch_model(values).fit(disp="off").params


def _garch_model(values: np.ndarray) -> Any:
    """The model of `arch` for one series (time); missing values are dropped."""
    return extra("arch").arch_model(values[~np.isnan(values)], vol="GARCH", dist="t", rescale=False)


def _unit_t(nu: float, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(nu, size) * np.sqrt((nu - 2.0) / nu)
