"""What a reader of the lag report should know before quoting it: signs that the model, not the data, speaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.reading.lags import lag_distribution
from regimelag.reading.regimes import regime_probabilities
from regimelag.sampling.tree import parameters_of, spec_of

SAMPLE = (nm.CHAIN, nm.DRAW)
# The last tenth of the lags, and how many times the mass that equal weights would put there is a pile.
LAST, PILE = 0.9, 2.0
FULL, EMPTY = 0.95, 0.05
SEPARATED = 3.0
ENOUGH = 100


def cautions(idata: xr.DataTree) -> list[str]:
    """Say where weight piles up at the largest lag, a regime is a stretch of years, or a driver separates regimes.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    list of str
        Sentences; empty if there is nothing to say.
    """
    spec = spec_of(idata)
    said = list(piled_up(lag_distribution(idata))) if spec.lagged_signals else []
    if spec.regimes.count > 1:
        # A year's average share needs few draws.
        step = -(-idata["posterior"].sizes[nm.DRAW] // ENOUGH)
        some = idata.isel({nm.DRAW: slice(None, None, step)}, missing_dims="ignore")
        said += calendar(regime_probabilities(some, kind="smoothed"))
    if spec.drivers:
        after, before = (parameters_of(idata, group)[nm.DRIVER_EFFECT] for group in ("posterior", "prior"))
        said += separated(after, before)
    return said


def piled_up(lag: xr.Dataset) -> Iterator[str]:
    """Signals whose weight beyond 0.9 L is more than twice what equal weights would put there.

    Cut off at L, the mass of longer lags is added to the shorter: Park et al. (2024), Charniga et al. (2024).
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


def calendar(smoothed: xr.DataArray) -> Iterator[str]:
    """Regimes that fill some years and are absent from others (smoothed probabilities by year).

    A year of which the window holds less than half says nothing.
    """
    years, rows = np.unique(smoothed["time.year"].to_numpy(), return_counts=True)
    by_year = smoothed.mean(SAMPLE).groupby("time.year").mean().sel(year=years[2 * rows >= rows.max()])
    for name, share in _each(by_year):
        full, empty = (share["year"].to_numpy()[keep] for keep in (share > FULL, share < EMPTY))
        if len(full) and len(empty):
            yield (
                f"Regime {name} is a stretch of years, {_years(full)} against {_years(empty)}: what is said of it "
                "may be said of the time. Let the scale vary over episodes."
            )


def _each(by_year: xr.DataArray) -> Iterator[tuple[str, xr.DataArray]]:
    """Each regime's name and share (year); where each response has a chain of its own, its name too."""
    for regime in by_year[nm.REGIME].to_numpy():
        share = by_year.sel({nm.REGIME: regime})
        if nm.RESPONSE not in share.dims:
            yield str(regime), share
            continue
        for response in share[nm.RESPONSE].to_numpy():
            yield f"{regime} of {response}", share.sel({nm.RESPONSE: response})


def _years(years: np.ndarray) -> str:
    return ", ".join(map(str, years))


def separated(posterior: xr.DataArray, prior: xr.DataArray) -> Iterator[str]:
    """Drivers whose effect on a regime lies beyond three prior standard deviations on average: separation.

    Albert & Anderson (1984), doi:10.1093/biomet/71.1.1.
    """
    size = abs(posterior.mean(SAMPLE)) / prior.std(SAMPLE)
    size = size.max([dim for dim in size.dims if dim != nm.DRIVER])
    for driver in size[nm.DRIVER].to_numpy()[size.to_numpy() > SEPARATED]:
        yield (
            f"Driver {driver} separates the regimes: its effect lies {float(size.sel({nm.DRIVER: driver})):.1f} prior "
            "standard deviations from zero, so its size is the prior's choice. Widen driver_sd to see by how much."
        )
