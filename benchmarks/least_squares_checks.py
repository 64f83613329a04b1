"""What more checks of a claim could tell a true lagged response from a false one, by least squares.

    python benchmarks/least_squares_checks.py --data btc_silver_weekly.csv --panels 400

The panels of `robustness.py`, with a regression in place of the model: the kernel of the truth is known, each halving
cycle has a scale of its own, rows have the weights of Student-t errors, and standard errors are White's. A second costs
a dozen panels with all checks. Since nothing is estimated but slopes, effects are twice as sure as in the model; what
it is for is the order of the checks.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from false_claims import CASES, MEAN_LAG, SPREAD, data_of, with_data
from robustness import FALSE, TRUE
from scipy import stats

from regimelag.kernels import Gamma, LogNormal
from regimelag.results.decision import decision_threshold

MODEL, SHIFTS, LARGEST = "no_late_macro", 20, 5
FOUND, KEPT = (float(stats.norm.ppf(one)) for one in (decision_threshold(), 0.95))
# Degrees of freedom of the weights, and how often they are computed anew.
SHAPE, STEPS = 5, 3


def slope_z(y: np.ndarray, columns: list[np.ndarray], cycle: np.ndarray) -> float:
    """The first column's slope over its standard error, beside a constant and the other columns (time)."""
    design, weight = np.column_stack([np.ones(len(y)), *columns]), np.ones(len(y))
    for _ in range(STEPS):
        residual = y - design @ np.linalg.lstsq(design * weight[:, None], y * weight)[0]
        scale = np.sqrt([np.mean(residual[cycle == own] ** 2) for own in cycle])
        used, weight = weight, np.sqrt((SHAPE + 1) / (SHAPE + (residual / scale) ** 2)) / scale
    weighted = design * weight[:, None]
    slopes = np.linalg.lstsq(design * used[:, None], y * used)[0]
    bread, meat = np.linalg.inv(weighted.T @ weighted), weighted * (residual * weight)[:, None]
    return float(slopes[1] / np.sqrt((bread @ (meat.T @ meat) @ bread)[1, 1]))


def before(values: np.ndarray, weights: np.ndarray, rows: int) -> np.ndarray:
    """Weighted sums of the values before each of the last rows."""
    first = len(values) - rows
    return np.array([weights @ values[first + t - len(weights) : first + t][::-1] for t in range(rows)])


class Panel:
    """What all panels of the study share: the covariates."""

    def __init__(self, data: str | None) -> None:
        spec, base = with_data(data, MODEL)
        lags, self.rows = spec.max_lag, base.sizes["time"]
        late = with_data(data, "btc_silver")[1]["control_value"].to_numpy()
        self.silver = base["signal_value"].to_numpy()[:, 0]
        self.weights = Gamma().weights({"location": np.array(MEAN_LAG), "spread": np.array(SPREAD)}, lags)
        wide = LogNormal().weights({"location": np.array(9.0), "spread": np.array(4.0)}, lags)
        self.late = [before(one, wide, self.rows) for one in late.T]
        now = self.silver[-self.rows :]
        self.now = [now, *base["control_value"].to_numpy().T]
        self.lagged = before(self.silver, self.weights, self.rows)
        self.cycle, self.year = base["episode_index"].to_numpy(), base["time"].dt.year.to_numpy()

    def checks(self, y: np.ndarray) -> dict[str, Any]:
        """Slopes over their standard errors in every check; of shifted signals how many are as sure."""
        lags, rows = len(self.weights), self.rows
        columns = [self.lagged, *self.now]
        found: dict[str, Any] = {"as it is": slope_z(y, columns, self.cycle)}
        found["late controls"] = slope_z(y, [*columns, *self.late], self.cycle)
        own = [one[1:] for one in columns]
        found["own past"] = slope_z(y[1:], [*own, y[:-1]], self.cycle[1:])
        few = slice(0, rows - lags)
        ahead = np.array([self.weights @ self.silver[t + lags + 1 : t + 2 * lags + 1] for t in range(rows - lags)])
        found["lead"] = slope_z(y[few], [ahead, *(one[few] for one in self.now)], self.cycle[few])
        behind = [before(y, self.weights, rows - lags), y[lags:], *(one[lags:] for one in self.now[1:])]
        found["reverse direction"] = slope_z(self.now[0][lags:], behind, self.cycle[lags:])
        kept = [self.cycle != own for own in np.unique(self.cycle)] + [self.year != self.year[0]]
        kept.append(np.argsort(np.argsort(-np.abs(y))) >= LARGEST)
        sign = np.sign(found["as it is"])
        left = [slope_z(y[rows], [one[rows] for one in columns], self.cycle[rows]) for rows in kept]
        found["rows left out"] = sign * min(sign * one for one in left)
        ring = len(self.silver)
        moved = [np.roll(self.silver, n) for n in np.linspace(lags, ring - 2 * lags - 1, SHIFTS).astype(int)]
        placebo = [abs(slope_z(y, [before(one, self.weights, rows), *self.now], self.cycle)) for one in moved]
        found["shifted signals"] = sum(one >= abs(found["as it is"]) for one in placebo)
        return found


def survives(check: str, found: dict[str, Any]) -> bool:
    """Whether a claim survives: a sign that is kept, a lead that is not found, a p-value of 0.1 of shifted signals."""
    if check == "shifted signals":
        return bool((1 + found[check]) / (1 + SHIFTS) <= 0.1)
    if check in ("lead", "reverse direction"):
        return abs(found[check]) < FOUND
    return bool(np.sign(found["as it is"]) * found[check] >= KEPT)


def main() -> None:
    """Print the share of claims that survive each check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="a weekly panel with the baseline model's columns")
    parser.add_argument("--panels", type=int, default=400, help="of each case (%(default)s)")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    shared, columns = Panel(options.data), {}
    for case in (TRUE, FALSE):
        place = CASES.index(case)
        seeds = [np.random.SeedSequence([options.seed, place, n]).generate_state(2) for n in range(options.panels)]
        made = [data_of(options.data, case, n, options.panels, MODEL, int(seed[0])) for n, seed in enumerate(seeds)]
        every = [shared.checks(panel["response_value"].to_numpy()[:, 0]) for panel in made]
        claims = [found for found in every if abs(found["as it is"]) >= FOUND]
        columns[case] = {"claims": f"{len(claims)} of {len(every)}"} | {
            check: f"{100 * np.mean([survives(check, found) for found in claims]):.0f} %" for check in every[0]
        }
    print(pd.DataFrame(columns).to_string())


if __name__ == "__main__":
    main()
