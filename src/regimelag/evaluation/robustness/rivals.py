"""Rival explanations of a lagged response: the model with one of them added, and the panel that it needs.

Each is a change of the spec, so that kernels, families and transitions of a user's script stay what they are.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import xarray as xr

from regimelag.errors import SpecError
from regimelag.panel.own_past import add_history, own_lags
from regimelag.panel.scenarios import values_of_levels
from regimelag.panel.slicing import window
from regimelag.spec import names as nm
from regimelag.spec.kernels import Kernel, LogNormal, NoLag
from regimelag.spec.kernels.base import LagKernel
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.moderation import drivers_of
from regimelag.spec.parts import Regimes
from regimelag.spec.priors import DISTRIBUTIONS, Prior

LATE, OWN_PAST, CLUSTERING = "late controls", "own past", "GARCH errors"
# Twice the model's own prior: one that shrinks the effect of a late control leaves as much of its bias to the signal.
WIDE = Prior("StudentT", nu=3, mu=0.0, sigma=0.5)
# Where the signal's kernel says nothing of its place: mean lag and spread over the largest lag.
MEAN_LAG, SPREAD = 9 / 26, 4 / 26
# Standard deviations of mean lag and spread over their means, as in the bundled models.
MEAN_LAG_SD, SPREAD_SD = 4.8 / 9, 0.5
# Standardised values of the same data differ by rounding alone.
SAME = 1e-6
NOT_MADE = "not made: "


class Rival(NamedTuple):
    """A model with one rival explanation added.

    Attributes
    ----------
    label : str
        Which.
    spec, panel : ModelSpec and xarray.Dataset, or None
        The model and its data; None if it cannot be made.
    note : str
        Why it cannot be made, or what to know about it.
    """

    label: str
    spec: ModelSpec | None = None
    panel: xr.Dataset | None = None
    note: str = ""


def rivals(spec: ModelSpec, panel: xr.Dataset, signal: str) -> list[Rival]:
    """Late controls, own past and GARCH errors, each added to the model alone."""
    made = []
    for label, make in ((LATE, _late_controls), (OWN_PAST, _own_past), (CLUSTERING, _clustering)):
        try:
            made.append(make(spec, panel, signal))
        except SpecError as problem:
            made.append(Rival(label, note=f"{NOT_MADE}it asks that {problem.rule}; here {problem.came}"))
    return made


def _late_controls(spec: ModelSpec, panel: xr.Dataset, signal: str) -> Rival:
    """Every control without a kernel gets one."""
    own = next(one for one in spec.signals if one.name == signal)
    # The past of the signal's own column is the signal's.
    others = [one for one in spec.controls if one.level_columns != own.level_columns]
    added = {one.name for one in others if isinstance(one.kernel, NoLag)}
    if not others:
        cure = "add a table [[controls]] with name and column for each macroeconomic series that may move both"
        return Rival(LATE, note=f"{NOT_MADE}the model has no controls; {cure}")
    if not added:
        return Rival(LATE, note=f"{NOT_MADE}the model has it: every control has a kernel")
    kernel = late_kernel(own.kernel, spec.max_lag)
    late = spec.changed(
        controls=tuple(dataclasses.replace(one, kernel=kernel) if one.name in added else one for one in spec.controls),
        priors={**spec.priors, nm.CONTROL_LAGGED_EFFECT: _wide(spec.priors.get(nm.CONTROL_LAGGED_EFFECT), added)},
    )
    data = with_past_of_controls(spec, panel)
    lost = panel.sizes[nm.TIME] - data.sizes[nm.TIME]
    note = f"kernels added to {', '.join(one.name for one in others if one.name in added)}"
    return Rival(LATE, late, data, f"{note}; the first {lost} rows are history" if lost else note)


def late_kernel(kernel: Kernel, max_lag: int) -> LogNormal:
    """A wide kernel of a control, where that of the signal lies or else at a third of the largest lag."""
    mean, spread = max(MEAN_LAG * max_lag, 1.0), SPREAD * max_lag
    if isinstance(kernel, LagKernel):
        mean, spread = kernel.mean_lag, kernel.spread
    return LogNormal(mean_lag=mean, mean_lag_sd=MEAN_LAG_SD * mean, spread=spread, spread_sd=SPREAD_SD * spread)


def _wide(given: Prior | None, added: set[str]) -> Prior:
    """The prior of lagged effects of controls: the one that was given, and a wide one for those that are added."""
    if given is None:
        return WIDE
    if DISTRIBUTIONS[given.distribution].support != "real":
        return given
    plain = given.to_plain()
    plain[f"by_{nm.CONTROL}"] = plain.get(f"by_{nm.CONTROL}", {}) | {name: WIDE.to_plain() for name in sorted(added)}
    return Prior(**plain)


def with_past_of_controls(spec: ModelSpec, panel: xr.Dataset) -> xr.Dataset:
    """The panel with controls on the rows of the signals too, cut to the rows whose controls' past is known.

    The past is that of the levels that the panel holds. A panel made by hand has none, nor do levels say what vintages
    published: then the first rows of the window serve as history.
    """
    if panel[nm.CONTROL_VALUE].dims[0] == nm.SIGNAL_TIME:
        return panel
    rows, reach = panel.sizes[nm.TIME], panel.sizes[nm.SIGNAL_TIME]
    inside = panel[nm.CONTROL_VALUE].to_numpy()
    values = np.full((reach, inside.shape[1]), np.nan)
    for n, control in enumerate(spec.controls):
        found = values_of_levels(panel, nm.CONTROL, control)
        if found is not None:
            values[:, n] = (found - float(panel[nm.center_of(nm.CONTROL)][n])) / float(
                panel[nm.scale_of(nm.CONTROL)][n]
            )
    agree = np.nanmax(np.abs(values[-rows:] - inside), axis=0, initial=0.0) <= SAME
    values[: reach - rows, ~agree] = np.nan
    values[reach - rows :] = inside
    unknown = np.flatnonzero(np.isnan(values).any(axis=1))
    held = panel.drop_vars(nm.CONTROL_VALUE).assign({nm.CONTROL_VALUE: ((nm.SIGNAL_TIME, nm.CONTROL), values)})
    held[nm.CONTROL_VALUE].attrs = panel[nm.CONTROL_VALUE].attrs
    return window(held, int(unknown[-1]) + 1, rows) if len(unknown) else held


def _own_past(spec: ModelSpec, panel: xr.Dataset, _: str) -> Rival:
    """One more own lag of the responses; of the first row it is not known, and the row has no density."""
    lags = spec.autoregression + 1
    own = spec.changed(responses=tuple(dataclasses.replace(one, autoregression=lags) for one in spec.responses))
    history = np.full((lags, panel.sizes[nm.RESPONSE]), np.nan)
    if own_lags(panel):
        history[:-1] = panel[nm.RESPONSE_HISTORY].to_numpy()
    bare = panel.drop_vars([nm.RESPONSE_HISTORY, nm.OWN_LAG], errors="ignore")
    return Rival(OWN_PAST, own, add_history(bare, history), f"autoregression = {lags}")


def _clustering(spec: ModelSpec, panel: xr.Dataset, _: str) -> Rival:
    """One regime, whose variance follows its own past."""
    if spec.volatility.moves:
        words = spec.volatility.words or spec.volatility.kind
        return Rival(CLUSTERING, note=f"{NOT_MADE}the model has it: {words}")
    states = tuple(indicator.name for indicator in spec.indicators)
    kept = drivers_of(spec, (*spec.moderators, *states))
    moderating = tuple(dataclasses.replace(driver, drives=False) for driver in kept)
    one = spec.changed(regimes=Regimes(count=1), regime_processes=(), drivers=moderating, volatility="garch")
    places = [spec.drivers.index(driver) for driver in kept]
    return Rival(CLUSTERING, one, panel.isel({nm.DRIVER: places}), "one regime, without drivers")
