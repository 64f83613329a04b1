"""Realised share of false claims, and power, of a screen of many pairs.

    python benchmarks/screen.py --repetitions 10 --out out/screen

Weekly log returns with Student-t errors of 5 degrees of freedom; the effect is a cumulative elasticity of --effect at a
mean lag of 7 weeks, in 20 of 200 pairs. With --design pairs there are 200 responses, each with a signal of its own.
With --design grid there are 20 responses and 10 signals: each response follows one of the signals, which is missing in
its other pairs, so that residuals are serially correlated and most verdicts are withheld; *open* counts those that are
not. The model has one regime, two controls that do nothing, and a gamma kernel over 26 weeks. Each finished fit is a
file, so a study that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import regimelag as rl

RESPONSES, SIGNALS, PAIRS, ROWS, LAGS = 20, 10, 200, 500, 26
DEVIATION, SHOCKS = 0.04, 5.0
KERNEL = rl.kernels.Gamma(mean_lag=9.0, spread=4.0)
SPEC = rl.ModelSpec(
    name="screened",
    responses=(rl.Response("response", "r0"),),
    signals=(rl.Signal("signal", "s0", kernel=KERNEL),),
    controls=(rl.Control("one", "c0"), rl.Control("two", "c1")),
    regimes=rl.spec.Regimes(count=1),
    max_lag=LAGS,
)


def simulated(
    seed: int, effect: float, design: str
) -> tuple[pd.DataFrame, list[tuple[str, str]], set[tuple[str, str]]]:
    """Levels of all series, the pairs (response, signal), and those with an effect."""
    rng = np.random.default_rng([2026, seed])
    rows = ROWS + 2 * LAGS
    responses, signals = (RESPONSES, SIGNALS) if design == "grid" else (PAIRS, PAIRS)

    def returns(count: int) -> np.ndarray:
        return DEVIATION * rng.standard_t(SHOCKS, (rows, count)) / np.sqrt(SHOCKS / (SHOCKS - 2))

    x, u, y = returns(signals), returns(2), returns(responses)
    weights = KERNEL.weights({"location": np.array(7.0), "spread": np.array(3.0)}, LAGS)
    if design == "grid":
        every = [(r, s) for r in range(responses) for s in range(signals)]
        followed = [(r, int(s)) for r, s in enumerate(rng.integers(signals, size=responses))]
    else:
        every = [(n, n) for n in range(PAIRS)]
        followed = [(int(n), int(n)) for n in rng.choice(PAIRS, size=RESPONSES, replace=False)]
    for r, s in followed:
        y[1:, r] += effect * np.convolve(x[:, s], weights)[: rows - 1]
    moves = np.hstack([y, x, u])
    counts = (("r", responses), ("s", signals), ("c", 2))
    names = [f"{role}{n}" for role, count in counts for n in range(count)]
    days = pd.date_range("2015-01-02", periods=rows, freq="W-FRI")
    frame = pd.DataFrame(100 * np.exp(moves.cumsum(axis=0)), days, names)
    pairs, true = ([(f"r{r}", f"s{s}") for r, s in some] for some in (every, followed))
    return frame, pairs, set(true)


def main() -> int:
    """Run what is missing, print the table; 1 if the share of false claims is beyond the level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--effect", type=float, default=2.0)
    parser.add_argument("--design", choices=("pairs", "grid"), default="pairs")
    parser.add_argument("--level", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path("out/screen"))
    options = parser.parse_args()
    rows = []
    for n in range(options.repetitions):
        frame, pairs, true = simulated(n, options.effect, options.design)
        table = rl.evaluation.screen(
            SPEC,
            frame,
            pairs=pairs,
            level=options.level,
            folder=options.out / options.design / f"{n:03d}",
            random_seed=n,
        )
        claimed = set(table.loc[table["claimed"], ["response", "signal"]].itertuples(index=False, name=None))
        rows.append(
            {
                "repetition": n,
                "claims": len(claimed),
                "false": len(claimed - true),
                "found": len(claimed & true),
                "of": len(true),
                "open": int((table["note"] == "").sum()) - len(claimed),
                "unmixed": int((table["R-hat"] > 1.05).sum()),
                "failed": int(table["effect median"].isna().sum()),
            }
        )
        print(rows[-1], flush=True)
    found = pd.DataFrame(rows)
    share = found["false"] / found["claims"].clip(lower=1)
    error = float(share.std(ddof=1) / np.sqrt(len(share))) if len(share) > 1 else float("nan")
    power = found["found"].sum() / found["of"].sum()
    print(f"share of false claims {share.mean():.3f} (standard error {error:.3f}), power {power:.3f}")
    return int(share.mean() > options.level + 2 * error)


if __name__ == "__main__":
    raise SystemExit(main())
