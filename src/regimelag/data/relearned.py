"""A panel as it would have been, had it ended earlier: constants learned on its first rows alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag import names as nm
from regimelag.data.beyond import is_constant
from regimelag.errors import PanelError
from regimelag.spec import ModelSpec


def learned_before(spec: ModelSpec, panel: xr.Dataset, stop: int) -> xr.Dataset:
    """The whole panel, standardised by constants that were learned on its first `stop` rows.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.
    stop : int
        First row that is not learned from.

    Returns
    -------
    xarray.Dataset
        The same rows. Natural units are what they were; centers and scales are those that `make_panel` would learn,
        were it told to end before row `stop`.

    Raises
    ------
    PanelError
        If a signal lies beyond another column, since the slope was learned on the whole window and the other column
        is not in the panel; or a series does not vary on these rows.
    """
    asked = f"a panel that learns from its first {stop} rows"
    beyond = [signal.name for signal in spec.signals if signal.beyond]
    if beyond:
        rule = "what was learned on the whole window can be learned anew on a part of it"
        came = f"{', '.join(beyond)} beyond another column, that the panel does not hold"
        raise PanelError(asked, rule, came, "call make_panel with another end, and fit there")
    other = panel.copy()
    history = panel.sizes[nm.SIGNAL_TIME] - panel.sizes[nm.TIME]
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        center, scale, held = (name(role) for name in (nm.center_of, nm.scale_of, nm.value_of))
        natural, time = panel[held] * panel[scale] + panel[center], str(panel[held].dims[0])
        first = history if role == nm.SIGNAL else 0
        learned = natural.isel({time: slice(first, first + stop)})
        columns = zip(panel[role].to_numpy(), learned.to_numpy().T, strict=True)
        still = [str(name) for name, values in columns if np.isfinite(values).sum() <= 1 or is_constant(values)]
        if still:
            came = f"{role} {', '.join(still)} does not"
            raise PanelError(asked, "every series varies on the rows learned from", came, "learn from more rows")
        spread = learned.std(time, ddof=1)
        other[held] = (natural - learned.mean(time)) / spread
        other[center] = learned.mean(time).assign_attrs(panel[center].attrs)
        other[scale] = spread.assign_attrs(panel[scale].attrs)
        other[held].attrs = panel[held].attrs
    other.attrs["end"] = str(np.datetime_as_string(panel[nm.TIME].to_numpy()[stop - 1], unit="D"))
    return other
