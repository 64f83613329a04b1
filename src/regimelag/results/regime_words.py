"""Regime probabilities and effects of drivers in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from regimelag.results.lags import INTERVAL
from regimelag.spec import names as nm

SAMPLE = (nm.CHAIN, nm.DRAW)


def by_process(values: Any) -> Iterator[tuple[str, Any]]:
    """Name and result of each regime process; the name is empty if there is one."""
    dim = next((dim for dim in (nm.REGIME_PROCESS, nm.RESPONSE) if dim in values.dims), None)
    if dim is None:
        yield "", values
        return
    for owner in values[dim].to_numpy():
        one = values.sel({dim: owner})
        yield str(owner), one.dropna(nm.REGIME, how="all") if nm.REGIME in one.dims else one


def regimes_now(filtered: xr.DataArray) -> Iterator[str]:
    """Sentence on the most probable regime of each process in the last period."""
    last = filtered.isel({nm.TIME: -1})
    date = str(last[nm.TIME].dt.strftime("%Y-%m-%d").item())
    for owner, one in by_process(last):
        mean = one.mean(SAMPLE)
        regime = str(mean[nm.REGIME].to_numpy()[int(mean.to_numpy().argmax())])
        low, high = np.quantile(one.sel({nm.REGIME: regime}), INTERVAL)
        yield (
            f'On {date} the regime{f" of {owner}" if owner else ""} is "{regime}" with probability '
            f"{float(mean.max()):.2f}; over the draws of the parameters it is between {low:.2f} and {high:.2f}, a 90 % "
            "interval."
        )


def moves_in_words(changes: xr.Dataset) -> Iterator[str]:
    """Sentence on what each driver's move does to the probability of the last regime of each process."""
    kept = ["next_period", "long_run"]
    for owner, one in by_process(changes[kept]):
        if not one.sizes[nm.REGIME]:
            continue
        regime = str(one[nm.REGIME].to_numpy()[-1])
        for driver in one[nm.DRIVER].to_numpy():
            own = 100 * one.sel({nm.DRIVER: driver, nm.REGIME: regime})
            if own["next_period"].isnull().all():
                continue
            move, (now, later) = float(changes["move"].sel({nm.DRIVER: driver})), (_points(own[name]) for name in kept)
            what = f'"{regime}"{f" ({owner})" if owner else ""}'
            yield (
                f"A move of {driver} by {move:.3g} changes the probability of {what} one period ahead by {now} "
                f"percentage points, averaged over the window, and in the long run by {later}."
            )
    yield "Medians and 90 % intervals. Whether a driver moves the regimes is decided by driver_report."


def _points(draws: xr.DataArray) -> str:
    low, median, high = np.quantile(draws, (INTERVAL[0], 0.5, INTERVAL[1]))
    return f"{median:.1f} ({low:.1f} to {high:.1f})"
