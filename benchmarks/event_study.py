"""Size of the test of an event study, and coverage of its interval, on simulated panels with few clustered events.

    python benchmarks/event_study.py --simulations 2000 --out out/event_study

Events are a random walk's new highs over 52 weeks, with volatility that clusters. The response is unrelated to them, or
has an additional drift in the 26 weeks after each. The t test takes the windows as independent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from regimelag.evaluation.robustness.event_study import paths_around, shift_test
from regimelag.panel.rows import transform

BEFORE, HORIZON, TRAILING, HISTORY = 13, 26, 52, 26
NOMINAL = 0.05
# Additional drift after an event, in standard deviations of the response per week.
DRIFT = 0.1
Draw = Callable[[np.random.Generator, int], np.ndarray]


def clustering(rng: np.random.Generator, rows: int, burn: int = 200) -> np.ndarray:
    """GARCH(1,1) with Student-t errors, unit variance."""
    shocks = rng.standard_t(5, rows + burn) * np.sqrt(3 / 5)
    found, variance = np.empty(rows + burn), 1.0
    for t, shock in enumerate(shocks):
        found[t] = np.sqrt(variance) * shock
        variance = 0.02 + 0.1 * found[t] ** 2 + 0.88 * variance
    return found[burn:]


def autoregressive(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Normal AR(1) with coefficient 0.2."""
    found = rng.standard_normal(rows)
    for t in range(1, rows):
        found[t] += 0.2 * found[t - 1]
    return found


def calmer(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Normal, with three times the standard deviation in the first third."""
    return rng.standard_normal(rows) * np.where(np.arange(rows) < rows // 3, 3.0, 1.0)


RESPONSES: dict[str, Draw] = {
    "normal": lambda rng, rows: rng.standard_normal(rows),
    "GARCH, Student t": clustering,
    "AR(1), 0.2": autoregressive,
    "volatility falls for good": calmer,
}


def events(rng: np.random.Generator, rows: int, quiet: int) -> np.ndarray:
    """Rows of new highs after a pause, with a whole window around them."""
    price = np.exp(np.cumsum(0.0005 + 0.02 * clustering(rng, rows + HISTORY + TRAILING)))
    new = transform(price, "new_high", TRAILING)[TRAILING:] > 0
    last = np.append(-1, np.maximum.accumulate(np.where(new, np.arange(len(new)), -1))[:-1])
    places = np.flatnonzero(new & (np.arange(len(new)) - last > quiet)) - HISTORY
    return places[(places >= BEFORE) & (places < rows - HORIZON)]


def study(draw: Draw, rows: int, quiet: int, simulations: int, seed: int) -> dict[str, float]:
    """Rates of rejection and of coverage at the last step."""
    rng = np.random.default_rng(seed)
    counts, found = [], []
    while len(found) < simulations:
        response, places = draw(rng, rows), events(rng, rows, quiet)
        if len(places) < 2:
            continue
        paths = paths_around(response, BEFORE, HORIZON)
        test = shift_test(paths, places - BEFORE, BEFORE)
        end = paths[:, -1]
        naive = stats.ttest_1samp(end[places - BEFORE], end.mean()).pvalue
        drift = np.zeros(rows)
        for place in places:
            drift[place + 1 : place + 1 + HORIZON] = DRIFT
        added = paths_around(drift, BEFORE, HORIZON)
        truth = added[places - BEFORE, -1].mean() - added[:, -1].mean()
        moved = shift_test(paths + added, places - BEFORE, BEFORE)
        covered = abs(moved.difference[-1] - truth) <= moved.interval[-1]
        found.append([test.p_value[-1] <= NOMINAL, test.p_any <= NOMINAL, naive <= NOMINAL, covered])
        counts.append(len(places))
    last, any_step, naive_rate, coverage = np.mean(found, axis=0)
    return {
        "events": float(np.median(counts)),
        "last step": last,
        "any step": any_step,
        "t test": naive_rate,
        "coverage": coverage,
    }


def main() -> None:
    """Run all designs and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("out/event_study"))
    options = parser.parse_args()
    rows = [
        {"response": name, "weeks": weeks, "quiet": quiet}
        | study(draw, weeks, quiet, options.simulations, options.seed)
        for weeks in (260, 656)
        for quiet in (13, 0)
        for name, draw in RESPONSES.items()
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(options.out / "event_study.csv", index=False)
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
