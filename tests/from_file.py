"""What a fit file alone gives: ``python from_file.py fit.nc`` prints it, as JSON. Run by test_reproduced.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from pymc.model.transform.conditioning import remove_value_transforms

import regimelag as rl

DRAW = {"chain": 1, "draw": 7}


def density(idata: xr.DataTree) -> dict[str, float]:
    """Log posterior density at one draw, of standardised responses: of the model that is rebuilt, and as stored."""
    panel = rl.panel_of(idata)
    model = remove_value_transforms(rl.build_model(rl.spec_of(idata), panel))
    draw = idata["posterior"].to_dataset().isel(DRAW)
    point = {value.name: draw[value.name].to_numpy() for value in model.value_vars}
    kept = [idata[group].to_dataset().isel(DRAW).to_dataarray() for group in ("one_step_ahead", "log_prior")]
    units = ~np.isnan(panel["response_value"]) * np.log(panel["response_scale"])
    stored = sum(float(terms.sum()) for terms in kept) + float(units.sum())
    return {"rebuilt": float(model.compile_logp(mode="FAST_COMPILE")(point)), "stored": stored}


READINGS = {
    "plot_compare": lambda idata: rl.compare({"one": idata, "other": idata}),
    "plot_drivers": rl.driver_effects,
    "plot_durations": rl.results.regime_durations,
    "plot_effects": rl.effects,
    "plot_evidence": rl.lag_report,
    "plot_event_study": lambda idata: rl.evaluation.event_study(rl.panel_of(idata), above=0.02, quiet=2),
    "plot_forecast": lambda idata: rl.forecast(idata, horizon=8, random_seed=0),
    "plot_impulse": lambda idata: rl.evaluation.impulse_response(idata, shock=0.1, horizon=12),
    "plot_lag": rl.lag_distribution,
    "plot_lead_lag": lambda idata: rl.evaluation.lead_lag(rl.panel_of(idata), draws=50),
    "plot_modes": rl.modes,
    "plot_panel": rl.panel_of,
    "plot_paths": rl.results.regime_paths,
    "plot_pit": lambda idata: rl.residuals(idata, kind="pit"),
    "plot_prices": rl.panel_of,
    "plot_prior": lambda idata: rl.effects(idata, group="prior"),
    "plot_regime_summary": rl.regime_summary,
    "plot_regimes": rl.regime_probabilities,
    "plot_score": lambda idata: rl.evaluation.score(idata, newer(idata)),
    "plot_shares": rl.regime_summary,
    "plot_volatility": lambda idata: rl.fitted(idata)["standard_deviation"],
}
"""What each figure is drawn from, of a fit; the others want refits."""


def numbers(reading: object) -> float:
    """One number that moves with everything numerical in a reading."""
    if isinstance(reading, pd.DataFrame):
        values = reading.select_dtypes("number").to_numpy(dtype=float)
        return float(np.nansum(values))
    data = reading if isinstance(reading, xr.Dataset) else reading.to_dataset(name="reading")
    return float(sum(np.nansum(values) for values in data.data_vars.values() if values.dtype.kind in "fiu"))


def newer(idata: xr.DataTree) -> xr.Dataset:
    """Rows that came after the fit, of the simulated frame it was fitted to."""
    panel = rl.panel_of(idata)
    last = pd.Timestamp(panel["time"].to_numpy()[-1])
    first = panel["time"].to_numpy()[0]
    levels = rl.example_panel(as_frame=True)
    return rl.make_panel(rl.spec_of(idata), levels, start=first, end=last + pd.Timedelta(weeks=20))


def score(idata: xr.DataTree) -> float:
    """Joint log score of the rows that came after the fit."""
    return rl.evaluation.score(idata, newer(idata)).attrs["joint_log_score"]


def main(file: Path) -> None:
    """Draw every figure, and print a number of each reading, the score and the density."""
    mpl.use("Agg")
    idata, found = rl.load_fit(file), {}
    for name, read in READINGS.items():
        reading = read(idata)
        getattr(rl.plots, name)(reading)
        plt.gcf().canvas.draw()
        plt.close("all")
        found[name] = numbers(reading)
    print(json.dumps(found | {"score": score(idata)} | density(idata)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
