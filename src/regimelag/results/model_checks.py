"""Automatic warnings: mass at `max_lag`, calendar regimes, single visits, separation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.results.lags import default_within, lag_distribution
from regimelag.results.regimes import regime_paths, regime_probabilities
from regimelag.results.view import View
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.processes import Process
from regimelag.spec.terms import model_terms

SAMPLE = (nm.CHAIN, nm.DRAW)
# Start of the last tenth of the lags, and the multiple of its uniform weight above which there is a warning.
LAST, PILE = 0.9, 2.0
FULL, EMPTY = 0.95, 0.05
# Share of a regime's periods in one spell from which on it counts as visited once.
ONE_SPELL = 0.9
# Share of steps that may violate the separation by a driver.
SLACK = 0.02
MOST_DRAWS = 0.5
ENOUGH = 100


def model_warnings(idata: xr.DataTree) -> list[str]:
    """Warn of data, weight at the largest lag, regimes that are years or were visited once, and separation.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    list of str
        Sentences; empty without warnings.
    """
    view = View.of(idata)
    spec = view.spec
    said = [str(text) for text in json.loads(view.panel.attrs.get("warnings", "[]"))]
    if spec.lagged_signals:
        # With the range of other results by default, so that the lags are computed once.
        said += mass_at_max_lag(view.read(lag_distribution, within=default_within(spec)))
    if spec.switches:
        # A few hundred draws suffice for shares.
        some = view.few(ENOUGH)
        smoothed = some.read(regime_probabilities, kind="smoothed")
        said += regime_is_calendar(smoothed, spec, episodes=view.panel.sizes[nm.EPISODE])
        paths = some.read(regime_paths)
        said += visited_once(paths, some.read(regime_paths, kind="viterbi"), spec)
        said += separation(paths, view.panel[nm.DRIVER_VALUE], spec)
        said += unordered(spec)
    return said


def unordered(spec: ModelSpec) -> Iterator[str]:
    """Warn of regimes that nothing orders."""
    for process in spec.processes:
        if process.spec.order_by.quantity == "none":
            yield (
                f"The regimes of {process.spec.name} are not ordered: their labels are exchangeable, and what is read "
                "by regime depends on how the chains label them. Order them by a quantity with order_by."
            )


def mass_at_max_lag(lag: xr.Dataset) -> Iterator[str]:
    """Warn of signals with more than twice the uniform weight beyond 0.9 L.

    Truncation at L moves the weight of longer lags to shorter ones: Park et al. (2024), Charniga et al. (2024).
    """
    largest = lag.sizes[nm.LAG]
    late = lag[nm.LAG] > LAST * largest
    mass = lag["weights"].where(late, 0.0).sum(nm.LAG).mean(SAMPLE)
    for signal in lag[nm.SIGNAL].to_numpy():
        most = float(mass.sel({nm.SIGNAL: signal}).max())
        if most > PILE * float(late.mean()):
            yield (
                f"{signal}: {100 * most:.0f} % of the lag weights lie beyond {LAST:g} of the largest lag, {largest}. "
                "The response may come later than the model allows: raise max_lag."
            )


def regime_is_calendar(smoothed: xr.DataArray, spec: ModelSpec, *, episodes: int) -> Iterator[str]:
    """Warn of regimes that cover some years and are absent in others, by smoothed probabilities.

    Years with less than half of their periods in the window are ignored. With two regimes one is absent where the other
    covers a year, so all regimes are named in one sentence.
    """
    years, rows = np.unique(smoothed["time.year"].to_numpy(), return_counts=True)
    by_year = smoothed.mean(SAMPLE).groupby("time.year").mean().sel(year=years[2 * rows >= rows.max()])
    for whose, shares in _of_each_process(by_year):
        found = {}
        for regime in shares[nm.REGIME].to_numpy():
            share = shares.sel({nm.REGIME: regime})
            full, empty = (share["year"].to_numpy()[keep] for keep in (share > FULL, share < EMPTY))
            if len(full) and len(empty):
                found[str(regime)] = full, empty
        if len(found) == 1:
            ((name, (full, empty)),) = found.items()
            said = f"Regime {name}{whose} coincides with a calendar period: it fills {_years(full)} and is absent "
            yield f"{said}from {_years(empty)}. {_of_the_years(spec, episodes)}"
        elif found:
            filled = ", ".join(f"{name} fills {_years(full)}" for name, (full, _) in found.items())
            yield f"The regimes{whose} coincide with calendar periods: {filled}. {_of_the_years(spec, episodes)}"


def _of_the_years(spec: ModelSpec, episodes: int) -> str:
    """Consequence and cure if regimes coincide with calendar periods."""
    said = "What is reported of a regime may be a property of these years."
    if not spec.episodes.starts:
        return f"{said} Write episodes.starts, so that the scale may differ between periods within a regime."
    if "scale" not in spec.episodes.vary:
        return f'{said} Add "scale" to episodes.vary, so that it may differ between episodes within a regime.'
    if episodes == 1:
        return f"{said} No episode starts inside the window: add a date between these years to episodes.starts."
    return f"{said} The scale differs between episodes already: do not interpret the regimes as states that recur."


def _of_each_process(values: xr.DataArray) -> Iterator[tuple[str, xr.DataArray]]:
    """Result of the only regime process, or of each of several, with its owner in words."""
    dim = next((dim for dim in (nm.REGIME_PROCESS, nm.RESPONSE) if dim in values.dims), None)
    if dim is None:
        yield "", values
        return
    for owner in values[dim].to_numpy():
        one = values.sel({dim: owner})
        yield f" of {owner}", one.dropna(nm.REGIME, how="all") if nm.REGIME in one.dims else one


def _years(years: np.ndarray) -> str:
    return ", ".join(map(str, years))


def _rows(paths: xr.DataArray) -> np.ndarray:
    return paths.transpose(*SAMPLE, nm.TIME).to_numpy().reshape(-1, paths.sizes[nm.TIME])


def visited_once(paths: xr.DataArray, best: xr.DataArray, spec: ModelSpec) -> Iterator[str]:
    """Warn of regimes that are visited in one spell only, in most draws.

    The spell is the longest on the draw's most probable path, `best`. A sampled path may have isolated periods of a
    regime outside of it, for example at outliers, so only nearly all of the regime's periods must be in the spell.
    """
    dates = pd.DatetimeIndex(paths[nm.TIME].to_numpy())
    row = np.arange(len(dates))
    each = zip(spec.processes, _of_each_process(paths), _of_each_process(best), strict=True)
    for process, (whose, one), (_, most) in each:
        sampled, probable, found, shares = _rows(one), _rows(most), [], []
        for k, name in enumerate(process.labels):
            first, last = _longest_spell(probable == k)
            here = sampled == k
            inside = (here & (row >= first[:, None]) & (row <= last[:, None])).sum(axis=1)
            once = inside > ONE_SPELL * here.sum(axis=1)
            if once.mean() > MOST_DRAWS:
                start, end = (dates[int(np.median(edge[once]))].date() for edge in (first, last))
                found.append(f"{name} (about {start} to {end})")
                shares.append(once.mean())
        if found:
            count = process.spec.count
            fewer = f"count = {count - 1} in the process {process.spec.name}" if process.prefix else ""
            fewer = fewer or f"regimes.count = {count - 1}"
            fewer += ", no drivers" if count == 2 and process.drivers else ""  # noqa: PLR2004
            yield (
                f"Visited once{whose}, but for stray periods, in {100 * min(shares):.0f} % of the draws: "
                f"{', '.join(found)}. The data then say next to nothing of durations and of what moves the regimes. "
                f"Use a longer window; or {fewer} and an episode that begins on such a date (episodes.starts)."
            )


def _longest_spell(here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row (draw) of the longest spell of each path; `here` (draw, time) marks the regime.

    Without any spell the last row precedes the first.
    """
    length = np.zeros(here.shape, dtype=np.int64)
    length[:, 0] = here[:, 0]
    for t in range(1, here.shape[1]):
        length[:, t] = (length[:, t - 1] + 1) * here[:, t]
    last = length.argmax(axis=1)
    return last - length.max(axis=1) + 1, last


def separation(paths: xr.DataArray, drivers: xr.DataArray, spec: ModelSpec) -> Iterator[str]:
    """Warn of drivers that separate the steps into a regime from other steps, on most sampled paths.

    Given a path, the steps from each regime are a multinomial regression on the driver. Its maximum likelihood estimate
    is infinite if, from every regime, all steps to a destination are at driver values on one side of all others, ties
    included: complete or quasi-complete separation, Albert & Anderson (1984), doi:10.1093/biomet/71.1.1. The size of
    the effect is then determined by its prior. Up to 2 % of the other steps may overlap, since paths are uncertain and
    so small an overlap hardly bounds the effect (Christmann & Rousseeuw 2001, Computational Statistics & Data Analysis
    37, 65-75).
    """
    values = drivers.transpose(nm.TIME, nm.DRIVER).to_numpy()
    for process, (whose, one) in zip(spec.processes, _of_each_process(paths), strict=True):
        labels, rows = process.labels, _rows(one)
        by_origin = getattr(process.spec.model, "by_origin", False)
        # With two regimes, steps into one are separated if steps into the other are.
        towards = range(1, 2) if len(labels) == 2 else range(len(labels))  # noqa: PLR2004
        for driver in (spec.transition_drivers[place] for place in process.drivers):
            d = spec.drivers.index(driver)
            found = []
            for k in towards:
                above, below = (_beyond(rows, sign * values[:-1, d], k, by_origin=by_origin) for sign in (1, -1))
                side = "above" if above.mean() >= below.mean() else "below"
                found.append((float((above | below).mean()), f"towards {labels[k]} lie at values of it {side}"))
            share, steps = max(found)
            if share > MOST_DRAWS:
                name, sigma = _driver_prior(spec, process, driver.name)
                yield (
                    f"Driver {driver.name} separates the regimes{whose}: on {100 * share:.0f} % of the sampled paths "
                    f"the steps {steps} nearly all others. The size of its effect then follows the prior of "
                    f"{name} (sigma = {sigma:g}; fit with twice that to see by how "
                    "much). Interpret at most its sign, or leave the driver out; only a window with more switches "
                    "identifies the size."
                )


def _driver_prior(spec: ModelSpec, process: Process, driver: str) -> tuple[str, float]:
    """Name of the parameter with a driver's effect on a process, and the sigma of its prior."""
    parameters = {one.name: one for one in model_terms(spec, len(spec.episodes.labels())).parameters()}
    name = process.named(nm.DRIVER_GAP if process.spec.order_by.driver == driver else nm.DRIVER_EFFECT)
    prior = parameters[name].prior.at({nm.DRIVER: driver})
    return name, float(next(value for key, value in prior.parameters.items() if key == "sigma"))


def _beyond(rows: np.ndarray, value: np.ndarray, k: int, *, by_origin: bool) -> np.ndarray:
    """Whether steps into regime k have driver values above nearly all others from the same regime (draw).

    A step from k counts as a step into k if it stays. With one slope for all origins this must be true for each origin,
    with slopes by origin for any. Origins with only one outcome are ignored.

    Parameters
    ----------
    rows : int array (draw, time)
        Paths.
    value : array (time - 1)
        The driver before each step.
    k : int
        The regime.
    by_origin : bool
        Whether slopes differ between origins.
    """
    origin, towards = rows[:, :-1], rows[:, 1:] == k
    fits, both = [], []
    for i in np.unique(origin):
        # The rarer outcome is the switch: into k from another regime, out of k from k itself.
        high = value if i != k else -value
        switch, other = (origin == i) & (towards == (i != k)), (origin == i) & (towards != (i != k))
        edge = np.where(switch, high, np.inf).min(axis=1, keepdims=True)
        beyond = (other & (high > edge)).sum(axis=1) / np.maximum(other.sum(axis=1), 1)
        both.append(switch.any(axis=1) & other.any(axis=1))
        fits.append(beyond <= SLACK)
    counted, fit = np.stack(both), np.stack(fits)
    return (fit & counted).any(axis=0) if by_origin else (fit | ~counted).all(axis=0) & counted.any(axis=0)
