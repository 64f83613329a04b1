"""Simulation-based calibration of the bundled models, and of wrong ones, as a Markdown table.

Each model is fitted to responses simulated from draws of its own prior, on made-up covariates with the volatilities and
correlations of the real ones (no market data), on the last rows of the panel. Each finished simulation is a file, so a
run that was stopped goes on where it was:

    python benchmarks/calibration.py --models btc_silver point_lag --simulations 300 --out out/calibration
    python benchmarks/calibration.py --simulations 100 --out out/calibration
    python benchmarks/calibration.py --models lively driver_a_week_late no_jacobian --simulations 100

The last line is the proof that the study can fail: `lively` is the baseline model with drivers that matter week by
week, and a gap between volatilities that is known badly, fitted rightly; the other two are the same with one error
each. Likewise `no_gain_jacobian` is `coupling` and `state_a_week_late` is `weekly_state` with one error each. The exit
code is 1 if a right model is found wrong beyond doubt (adjusted p below 0.005), or a wrong one is not found.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

import regimelag as rl

MODELS = Path(__file__).resolve().parents[1] / "models"

# Weekly standard deviations and correlations of log returns (rates: differences), 2013 to January 2026, rounded.
WEEKLY_SD = {
    "silver_usd": 0.039,
    "gold_usd": 0.021,
    "dollar_index": 0.0070,
    "spy_usd": 0.022,
    "vix": 0.158,
    "real_yield_10y": 0.106,
    "yield_2y": 0.100,
}
WEEKLY_CORRELATION = np.array(
    [
        [1.00, 0.78, -0.49, 0.27, -0.13, -0.27, -0.10],
        [0.78, 1.00, -0.47, 0.11, 0.03, -0.38, -0.24],
        [-0.49, -0.47, 1.00, -0.43, 0.24, 0.32, 0.17],
        [0.27, 0.11, -0.43, 1.00, -0.75, -0.16, 0.09],
        [-0.13, 0.03, 0.24, -0.75, 1.00, 0.02, -0.19],
        [-0.27, -0.38, 0.32, -0.16, 0.02, 1.00, 0.60],
        [-0.10, -0.24, 0.17, 0.09, -0.19, 0.60, 1.00],
    ]
)
WEEK = 5
# Right models leave the 5 % bands in one study of twenty: below this it is no accident.
DOUBT = 0.005


def made_up_frame(*, random_seed: int = 1) -> pd.DataFrame:
    """Business days of every column that a bundled model uses; the responses are placeholders."""
    rng = np.random.default_rng(random_seed)
    days = pd.bdate_range("2012-01-02", "2026-01-23", name="date")
    count = len(days)
    normal = rng.standard_normal((count, len(WEEKLY_SD))) @ np.linalg.cholesky(WEEKLY_CORRELATION).T
    # Student-t with five degrees of freedom and unit variance.
    moves = (
        normal * np.sqrt(3.0 / rng.chisquare(5.0, size=(count, 1))) * np.array(list(WEEKLY_SD.values())) / np.sqrt(WEEK)
    )
    move = dict(zip(WEEKLY_SD, moves.T, strict=True))
    frame = pd.DataFrame(index=days)
    for name, level in {"silver_usd": 25.0, "gold_usd": 1500.0, "dollar_index": 110.0, "spy_usd": 250.0}.items():
        frame[name] = level * np.exp(np.cumsum(move[name]))
    # The VIX comes back to its mean: half-life of seven weeks.
    log_vix = np.zeros(count)
    for t in range(1, count):
        log_vix[t] = 0.98 * log_vix[t - 1] + move["vix"][t]
    frame["vix"] = 17.0 * np.exp(log_vix)
    frame["real_yield_10y"] = 0.5 + np.cumsum(move["real_yield_10y"])
    frame["yield_2y"] = 2.0 + np.cumsum(move["yield_2y"])
    # The funds rate goes in steps of a quarter, every sixth week at most.
    meeting = np.arange(count) % (6 * WEEK) == 0
    frame["fed_funds"] = 2.0 + np.cumsum(meeting * rng.choice([-0.25, 0.0, 0.25], count, p=[0.2, 0.6, 0.2]))
    frame["breakeven_10y"] = 2.1 + np.cumsum(rng.normal(0.0, 0.08 / np.sqrt(WEEK), count))
    money = 1e4 * np.exp(np.cumsum(rng.normal(0.0013, 0.004, count) / WEEK))
    frame["m2_nsa_bn"] = np.where(days.day_of_week == 0, money, np.nan)
    for name, level in {"btc_usd": 100.0, "eth_usd": 10.0}.items():
        frame[name] = level * np.exp(np.cumsum(rng.normal(0.0, 0.105 / np.sqrt(WEEK), count)))
    assets = 4e6 * np.exp(np.cumsum(rng.normal(0.0015, 0.008, count) / WEEK))
    frame["fed_assets_mn"] = np.where(days.day_of_week == 2, assets, np.nan)
    return frame


def lively() -> rl.ModelSpec:
    """The baseline model with drivers that matter week by week, and a gap that is known badly."""
    flagship = rl.read_spec("btc_silver")
    drivers = tuple(dataclasses.replace(driver, periods=1) for driver in flagship.drivers)
    priors = {
        **flagship.priors,
        "driver_effect": rl.Prior("ZeroSumNormal", sigma=2.0),
        "log_scale_gap": rl.Prior("LogNormal", mu=np.log(0.5), sigma=1.0),
    }
    regimes = dataclasses.replace(flagship.regimes, transitions=rl.spec.Markov(expected_duration=5.0))
    return dataclasses.replace(flagship, name="lively", drivers=drivers, regimes=regimes, priors=priors)


def two_chains() -> rl.ModelSpec:
    """Bitcoin and Ether, each with a chain of regimes of its own."""
    pair = rl.read_spec("btc_eth")
    return dataclasses.replace(pair, name="two_chains", responses_vary=(*pair.responses_vary, "regimes"))


def lag_by_regime() -> rl.ModelSpec:
    """The baseline model with a lag that differs between its regimes."""
    baseline = rl.read_spec("btc_silver")
    drivers = tuple(driver.name for driver in baseline.drivers)
    process = rl.spec.RegimeProcess("volatility", carries=("scale", "intercept", "effect", "lag"), drivers=drivers)
    return dataclasses.replace(baseline, name="lag_by_regime", regime_processes=(process,))


def weekly_state() -> rl.ModelSpec:
    """The model of debasement with a state that comes and goes week by week."""
    debasement = rl.read_spec("debasement")
    drivers = tuple(dataclasses.replace(driver, periods=1) for driver in debasement.drivers)
    return dataclasses.replace(debasement, name="weekly_state", drivers=drivers)


def driver_a_week_late(spec: rl.ModelSpec, panel: xr.Dataset) -> pm.Model:
    """Wrong: z[t - 2] for the step into t."""
    z = panel["driver_value"]
    return rl.build_model(spec, panel.assign(driver_value=(z.dims, np.concatenate([z[:1], z[:-1]]))))


def no_jacobian(spec: rl.ModelSpec, panel: xr.Dataset) -> pm.Model:
    """Wrong: the ordering's log-Jacobian, which is the gap's logarithm, is left out."""
    model = rl.build_model(spec, panel)
    with model:
        pm.Potential("undone", -pt.log(model["log_scale_gap"]).sum())
    return model


def no_gain_jacobian(spec: rl.ModelSpec, panel: xr.Dataset) -> pm.Model:
    """Wrong: the log-Jacobian of the gain between two effects is left out."""
    model = rl.build_model(spec, panel)
    with model:
        pm.Potential("undone", -pt.log(model["effect_gain"]).sum())
    return model


def state_a_week_late(spec: rl.ModelSpec, panel: xr.Dataset) -> pm.Model:
    """Wrong: the state of the week before moves the effect."""
    return driver_a_week_late(spec, panel)


VARIANTS = {make.__name__: make for make in (lively, two_chains, lag_by_regime, weekly_state)}
# Each with the right model that it is made of.
WRONG = {
    "driver_a_week_late": ("lively", driver_a_week_late),
    "no_jacobian": ("lively", no_jacobian),
    "no_gain_jacobian": ("coupling", no_gain_jacobian),
    "state_a_week_late": ("weekly_state", state_a_week_late),
}


def calibrate(name: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Run what is missing of a model, and one row of the table."""
    of, build = WRONG.get(name, (name, rl.build_model))
    spec = VARIANTS[of]() if of in VARIANTS else rl.read_spec(of)
    panel = rl.make_panel(spec, made_up_frame())
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        print(name, flush=True)
        tree = rl.evaluation.sbc(
            spec,
            panel,
            random_seed=arguments.seed,
            simulations=arguments.simulations,
            rows=arguments.rows,
            build=build,
            executor=pool,
            folder=arguments.out / name,
        )
    table = rl.evaluation.sbc_table(tree)
    table.to_csv(arguments.out / f"{name}.csv")
    found = table.index[table["verdict"] != "calibrated"]
    least = table["p, Holm"].idxmin()
    row = {
        "model": name,
        "fitted": "wrong" if name in WRONG else "right",
        "seed": arguments.seed,
        "rows": arguments.rows,
    }
    row |= dict(table.attrs) | {"quantities": len(table), "not calibrated": len(found)}
    return row | {"smallest p, Holm": f"{table['p, Holm'].min():.2g}", "of": least}


def write_table(rows: list[dict[str, object]], file: Path) -> None:
    """Add rows to a Markdown table, in the place of earlier ones of the same model."""
    kept = json.loads(file.with_suffix(".json").read_text()) if file.with_suffix(".json").exists() else []
    names = {row["model"] for row in rows}
    rows = [row for row in kept if row["model"] not in names] + rows
    file.with_suffix(".json").write_text(json.dumps(rows))
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    file.write_text("".join(f"| {' | '.join(map(str, line))} |\n" for line in lines))
    print(file.read_text())


def main() -> int:
    """Calibrate the models that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = sorted(file.stem for file in MODELS.glob("*.toml"))
    parser.add_argument("--models", nargs="+", default=named, choices=[*named, *VARIANTS, *WRONG], metavar="MODEL")
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--rows", type=int, default=150)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("out/calibration"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    surprises = 0
    for name in arguments.models:
        row = calibrate(name, arguments)
        write_table([row], arguments.out / "table.md")
        surprises += row["not calibrated"] == 0 if name in WRONG else float(str(row["smallest p, Holm"])) < DOUBT
    return int(surprises > 0)


if __name__ == "__main__":
    raise SystemExit(main())
