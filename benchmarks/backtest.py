"""Backtest the baseline model from 2018 on, beside its null without silver, a random walk and GARCH(1,1)-t.

    python benchmarks/backtest.py --data btc_silver_weekly.csv --out out/backtest

The data are not part of the package. Every week from --start on is an origin; the model is fitted anew every 26 weeks,
on all rows up to then. Each finished refit with its origins is a file, so a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import regimelag as rl


def markdown(table: pd.DataFrame) -> str:
    """The table of docs/backtest.md."""
    head = [
        "weeks",
        "forecaster",
        "origins",
        "CRPS",
        "log score",
        "gain over the random walk",
        "50 % band",
        "90 % band",
    ]
    lines = [head, ["---"] * len(head)]
    for (_, horizon, name), row in table.iterrows():
        gain = f"{row['gain']:+.3f} ({row['gain low']:+.3f} to {row['gain high']:+.3f})" if row["gain"] else ""
        bands = [
            f"{100 * row[b]:.0f} % ({100 * row[f'{b} low']:.0f} to {100 * row[f'{b} high']:.0f})"
            for b in ("50 %", "90 %")
        ]
        scores = [f"{row['origins']:.0f}", f"{row['crps']:.4f}", f"{row['log score']:.3f}"]
        lines.append([str(horizon), f"`{name}`" if "_" in name else name, *scores, gain, *bands])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", required=True, help="a weekly panel with the baseline model's columns")
    parser.add_argument("--start", default="2018-01-05", help="first origin (%(default)s)")
    parser.add_argument("--every", type=int, default=26, help="weeks between refits (%(default)s)")
    parser.add_argument("--stride", type=int, default=1, help="weeks between origins (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/backtest"))
    arguments = parser.parse_args()
    spec = rl.read_spec("btc_silver")
    panel = rl.make_panel(spec, rl.read_series(arguments.data), start="2013-01-01")
    scores = rl.evaluation.backtest(
        spec,
        panel,
        start=arguments.start,
        every=arguments.every,
        stride=arguments.stride,
        random_seed=arguments.seed,
        folder=arguments.out / "refits",
    )
    scores.to_csv(arguments.out / "scores.csv", index=False)
    print(markdown(rl.evaluation.backtest_table(scores)))
    pit = scores.groupby(["horizon", "forecaster"])["PIT"]
    print(
        pd.DataFrame(
            {
                "PIT below 0.05": pit.apply(lambda p: (p < 0.05).mean()),
                "above 0.95": pit.apply(lambda p: (p > 0.95).mean()),
            }
        )
    )
    print("largest R-hat of a refit", scores["R-hat"].max())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
