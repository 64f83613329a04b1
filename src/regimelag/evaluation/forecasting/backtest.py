"""Backtest: forecasts from past origins with the data known there, compared with baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError, PanelError
from regimelag.evaluation.comparison.differences import contrast
from regimelag.evaluation.comparison.elpd_difference import describe_contrast
from regimelag.evaluation.forecasting.baselines import Baseline, Garch, RandomWalk
from regimelag.evaluation.forecasting.forecast import forecast, refuse_own_past
from regimelag.evaluation.forecasting.forecast_scores import RANDOM_WALK, verified
from regimelag.evaluation.parallel_runs import ERROR, Result, code_hash, run_all, seed_of_study
from regimelag.evaluation.robustness.refit import Refit, posterior_of
from regimelag.panel.checks import check_panel, panel_hash
from regimelag.panel.make import Day, read_day
from regimelag.panel.scenarios import level_columns
from regimelag.panel.slicing import day_of, keep_first_episodes, natural, restandardize_on, window
from regimelag.runtime.plain import whole, wholes
from regimelag.sampling.inference_data import provenance
from regimelag.sampling.sampler import Sampler, sampler_of_refits
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import spec_to_toml

NO_SIGNAL = "no signal"
LEAST_TRAINING = 100
SAMPLER = Sampler(draws=500, tune=500, chains=2, starts=6)
BASELINES: dict[str, type[Baseline]] = {RANDOM_WALK: RandomWalk, "GARCH(1,1)-t": Garch}


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Settings and data of a backtest, shared by its runs."""

    spec: ModelSpec
    panel: xr.Dataset
    refits: tuple[int, ...]
    origins: tuple[int, ...]
    horizons: tuple[int, ...]
    rows: int | None
    sampler: Sampler
    random_seed: int
    baselines: Mapping[str, type[Baseline]] = dataclasses.field(default_factory=lambda: dict(BASELINES))


def backtest(
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    start: Day,
    horizons: Sequence[int] = (1, 4, 13),
    every: int = 26,
    stride: int = 1,
    rows: int | Literal["all"] = "all",
    baselines: Mapping[str, type[Baseline]] | None = None,
    sampler: Sampler = SAMPLER,
    executor: Executor | None = None,
    folder: str | Path | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> pd.DataFrame:
    """Forecast from past origins, and compare scores with those of baselines.

    Parameters
    ----------
    spec : ModelSpec
        The model. Its baselines are the model without signals, a random walk and GARCH(1,1) with Student-t shocks.
    panel : xarray.Dataset
        Its data, from `make_panel`.
    start : date-like
        Date of the first origin, the last row known to the first forecast.
    horizons : sequence of int
        Periods ahead; the forecast is of the sum of the response over them (a log return over the horizon).
    every : int
        Periods between refits. In between parameters are constant, and regimes are filtered.
    stride : int
        Periods between origins.
    rows : int or "all"
        Window of a refit: this number of last rows (rolling origin), or all rows up to the origin (expanding).
    baselines : mapping of str to class, optional
        Further forecasters by name. Each is a class such as `RandomWalk`, constructed from the responses (time,
        response) in their own units, the first row and the last row to learn from. Its method ``draw(origin, horizon,
        seed)`` returns responses (draw, step, response) after row `origin`.
    sampler : Sampler
        Settings of each refit; `nuts_sampler` is "nutpie". By default two chains of 500 draws after 500 tuning draws,
        and a mode search from six starting points.
    executor : concurrent.futures.Executor, optional
        Executor of the refits, such as a Dask cluster's ``client.get_executor()``; by default processes of this
        machine.
    folder : str or Path, optional
        Folder for finished refits and their origins. A later call runs only missing and failed refits.
    random_seed : int, optional
        Seed, recorded in ``attrs["random_seed"]``. By default that of the folder, or else a new one. Scores depend only
        on the seed, not on the executor or interruptions.
    progressbar : bool
        Whether to print progress to standard error.

    Returns
    -------
    DataFrame
        One row per origin, horizon, response and forecaster: ``origin`` (date), ``horizon``, ``response``,
        ``forecaster``, ``observed`` and ``median`` (own units), ``crps``, ``log score``, ``PIT``, ``inside 50 %``,
        ``inside 90 %``, and the largest ``R-hat`` of a refit. `regimelag.evaluation.backtest_table` summarises it.
        ``attrs["notes"]`` states how the model without signals differs: also in their same-period terms, so that it
        does not test a lag. For such a test, run another backtest with kernel none for the signal, and compare the
        scores.

    Raises
    ------
    FitError
        If a number is out of range, a covariate depends on past responses, or a refit fails.
    PanelError
        If the panel does not fit the spec, has no levels, or has too few rows before `start` or none after it.

    Notes
    -----
    Forecasts use no data after their origin: constants and parameters are estimated on the refit's window, and signals,
    drivers and controls continue with blocks of changes up to the origin (`forecast` with ``scenario="bootstrap"``). An
    episode that begins after the refit is treated as the previous one. CRPS: Matheson & Winkler (1976),
    doi:10.1287/mnsc.22.10.1087. The log score is that of a kernel density estimate from the draws, for all forecasters.
    """
    check_panel(spec, panel)
    level_columns(panel)
    refuse_own_past("backtest", spec, panel)
    if not isinstance(horizons, (tuple, list, range, np.ndarray)) or not len(horizons):
        cure = "write horizons=(1, 4, 13)"
        raise FitError("backtest", "horizons are at least one number of periods", f"horizons = {horizons!r}", cure)
    ahead = tuple(wholes(FitError, "backtest", **{f"horizons[{n}]": h for n, h in enumerate(horizons)}).values())
    counts = wholes(FitError, "backtest", every=every, stride=stride)
    first, last = _first_and_last(spec, panel, start, min(ahead))
    plan = Plan(
        spec,
        panel,
        refits=tuple(range(first, last + 1, counts["every"])),
        origins=tuple(range(first, last + 1, counts["stride"])),
        horizons=ahead,
        rows=None if rows == "all" else whole(FitError, "backtest", "rows", rows, 'write rows="all", or rows=520'),
        sampler=sampler_of_refits("backtest", sampler),
        random_seed=seed_of_study("backtest", folder, random_seed),
        baselines=BASELINES | _named(baselines, spec),
    )
    kept: dict[str, Any] = {"spec": spec_to_toml(spec), "panel": panel_hash(panel), "code": code_hash()}
    kept |= {name: getattr(plan, name) for name in ("refits", "origins", "horizons", "rows", "random_seed")}
    kept |= plan.sampler.plain
    kept["baselines"] = {name: learn.__qualname__ for name, learn in plan.baselines.items()}
    found = run_all(
        partial(one_refit, plan),
        range(len(plan.refits)),
        settings=kept,
        executor=executor,
        folder=folder,
        progressbar=progressbar,
    )
    failed = {number: result[ERROR] for number, result in found.items() if ERROR in result}
    if failed:
        number, text = next(iter(failed.items()))
        date = day_of(panel, plan.refits[number])
        came = f"{len(failed)} of {len(found)} failed, first that on {date}: {text}"
        again = "call again" if folder is None else "call again with the same folder: what failed is tried again"
        raise FitError("backtest", "every refit succeeds", came, f"remove the cause, and {again}")
    scores = pd.DataFrame([row for result in found.values() for row in result["scores"]])
    bare = without_signals(spec)
    scores.attrs["random_seed"] = plan.random_seed
    scores.attrs["notes"] = [describe_contrast(contrast(spec, bare), NO_SIGNAL, spec.name)] if spec.signals else []
    scores.attrs[nm.SENTENCES] = list(scores.attrs["notes"])
    return scores.astype({"origin": "datetime64[ns]"})


def _first_and_last(spec: ModelSpec, panel: xr.Dataset, start: Day, horizon: int) -> tuple[int, int]:
    """Rows of the first origin, and of the last with an observation after it."""
    dates = pd.DatetimeIndex(panel[nm.TIME].to_numpy())
    day = read_day(start, "start", "backtest")
    first, last = int(dates.searchsorted(dates[0] if day is None else day)), len(dates) - 1 - horizon
    least = max(LEAST_TRAINING, 2 * spec.max_lag)
    if first < least or first > last:
        rule = f"there are {least} rows before start, and {horizon} after it"
        came = f"{first} before {start}, {max(len(dates) - 1 - first, 0)} after it"
        cure = (
            f"start between {dates[least].date()} and {dates[last].date()}" if least <= last else "take a longer panel"
        )
        raise PanelError("backtest", rule, came, cure)
    return first, last


def one_refit(plan: Plan, number: int) -> Result:
    """Fit on the rows up to a refit, and score the forecasts from it until the next."""
    refit = plan.refits[number]
    until = plan.refits[number + 1] if number + 1 < len(plan.refits) else np.inf
    origins = [origin for origin in plan.origins if refit <= origin < until]
    seed = int(np.random.SeedSequence([plan.random_seed, number]).generate_state(1)[0])
    scores = []
    for name, forecaster in _forecasters(plan, refit, seed):
        scores += [row for origin in origins for row in _scored(plan, name, forecaster, origin, seed + origin)]
    return {"scores": scores}


def _forecasters(plan: Plan, refit: int, seed: int) -> Iterator[tuple[str, Model | Baseline]]:
    """The model, its null without signals, and the baselines, estimated on the rows up to a refit."""
    panel, first = plan.panel, 0 if plan.rows is None else max(refit + 1 - plan.rows, 0)
    bare = without_signals(plan.spec)
    specs = {plan.spec.name: plan.spec} | ({NO_SIGNAL: bare} if plan.spec.signals else {})
    for name, spec in specs.items():
        yield name, Model(spec, _of_spec(spec, panel), first, refit, plan, seed)
    values = natural(panel, nm.RESPONSE).to_numpy()
    for name, learn in plan.baselines.items():
        yield name, learn(values, first, refit)


def _named(baselines: Mapping[str, type[Baseline]] | None, spec: ModelSpec) -> dict[str, type[Baseline]]:
    """The caller's forecasters; their names must be unique."""
    given = dict(baselines or {})
    taken = sorted({spec.name, NO_SIGNAL, *BASELINES} & set(given))
    if taken:
        rule, cure = "each forecaster has a name of its own", f"give {taken[0]!r} another name"
        raise FitError("backtest", rule, f"baselines named {', '.join(map(repr, taken))}", cure)
    for name, learn in given.items():
        if not isinstance(learn, type) or not callable(getattr(learn, "draw", None)):
            rule = "a baseline is a class with a method draw(origin, horizon, seed)"
            raise FitError("backtest", rule, f"{name!r}: {learn!r}", "pass the class itself, not an instance of it")
    return given


def without_signals(spec: ModelSpec) -> ModelSpec:
    """The model without its signals."""
    return spec.changed(signals=())


def _of_spec(spec: ModelSpec, panel: xr.Dataset) -> xr.Dataset:
    """The panel with the signals and drivers of a spec alone."""
    names = {nm.SIGNAL: [one.name for one in spec.signals], nm.DRIVER: [one.name for one in spec.drivers]}
    history = panel.sizes[nm.SIGNAL_TIME] - panel.sizes[nm.TIME]
    cut = panel.sel(names).isel({nm.SIGNAL_TIME: slice(history - spec.history, None)})
    keep = np.ones(panel.sizes[nm.LEG], dtype=bool)
    for role, held in names.items():
        keep &= ((panel[nm.LEG_ROLE] != role) | panel[nm.LEG_SERIES].isin(held)).to_numpy()
    return cut.isel({nm.LEG: keep})


class Model:
    """A fitted model that forecasts from any later row."""

    def __init__(self, spec: ModelSpec, panel: xr.Dataset, first: int, refit: int, plan: Plan, seed: int) -> None:
        panel = window(panel, first, panel.sizes[nm.TIME])
        self.spec, self.first = spec, first
        learned = restandardize_on(spec, panel, refit + 1 - first)
        training = window(learned, 0, refit + 1 - first)
        self.panel = keep_first_episodes(learned, training.sizes[nm.EPISODE])
        task = Refit(spec, training, training, "")
        self.posterior, found = posterior_of(task, plan.sampler, seed)
        self.rhat = float(found["rhat"])

    def draw(self, origin: int, horizon: int, seed: int) -> np.ndarray:
        """Responses (draw, step, response) after the origin, in their own units."""
        stop = origin + 1 - self.first
        panel = self.panel.isel({nm.TIME: slice(stop), nm.SIGNAL_TIME: slice(stop + self.spec.history)})
        groups = {"/posterior": self.posterior, "/observed_data": panel[[nm.RESPONSE_VALUE]]}
        tree = xr.DataTree.from_dict(groups | {"/constant_data": panel.drop_vars(nm.RESPONSE_VALUE)})
        tree.attrs = provenance(self.spec, panel)
        read = forecast(tree, horizon=horizon, scenario="bootstrap", random_seed=seed)[nm.RESPONSE_VALUE]
        values = read.transpose(nm.CHAIN, nm.DRAW, nm.STEP, ...).to_numpy()
        return values.reshape(-1, horizon, panel.sizes[nm.RESPONSE])


def _scored(plan: Plan, name: str, forecaster: Model | Baseline, origin: int, seed: int) -> Iterator[dict[str, Any]]:
    """Scores of one origin, by response and horizon, if all rows of the horizon were observed."""
    panel, longest = plan.panel, max(plan.horizons)
    drawn = np.cumsum(forecaster.draw(origin, longest, seed), axis=1)
    came = natural(panel, nm.RESPONSE).to_numpy()[origin + 1 :]
    for a, response in enumerate(plan.spec.responses):
        for horizon in plan.horizons:
            observed = float(came[:horizon, a].sum()) if len(came) >= horizon else np.nan
            if np.isfinite(observed):
                label = {"origin": day_of(panel, origin), "horizon": horizon, "response": response.name}
                rhat = {"R-hat": forecaster.rhat} if isinstance(forecaster, Model) else {}
                yield label | {"forecaster": name} | verified(observed, drawn[:, horizon - 1, a]) | rhat
