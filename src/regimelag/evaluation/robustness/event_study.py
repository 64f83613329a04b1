"""Event study: a response's path after events of a signal, without a model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.checks import check_made, named_series, panel_spec
from regimelag.panel.slicing import natural
from regimelag.runtime.plain import MOST_ROWS, is_number, whole
from regimelag.spec import names as nm
from regimelag.spec.model_spec import period_name

LEVEL = 0.95
EVENT = "event"
# Share of a signal's standard deviation that standardisation may add to a value by rounding.
ROUNDING = 1e-9
# Windows that must fit into the rows side by side.
LEAST_WINDOWS = 4


class ShiftTest(NamedTuple):
    """Mean paths after events, and after the same events shifted in time.

    Attributes
    ----------
    difference : array (step)
        Mean path after the events less that after any row.
    interval : array (step)
        Half width of the 95 % interval of the difference, at each step.
    band : array (step)
        Half width of the band that 95 % of unrelated events keep within at all steps after the event at once.
    p_value : array (step)
        Share of shifts with a difference at least as large in size, at each step.
    p_any : float
        Share of shifts with a difference at least as unusual at any step after the event.
    """

    difference: np.ndarray
    interval: np.ndarray
    band: np.ndarray
    p_value: np.ndarray
    p_any: float


def event_study(
    panel: xr.Dataset,
    *,
    signal: str | None = None,
    response: str | None = None,
    above: float = 0.0,
    quiet: int = 13,
    horizon: int = 26,
    before: int = 13,
) -> xr.Dataset:
    """Estimate a response's mean path after events of a signal, without a model.

    An event is a period in which the signal exceeds `above`, after at least `quiet` periods in which it did not. With a
    signal of new highs (transform "new_high") these are the first new highs after a pause.

    Parameters
    ----------
    panel : xarray.Dataset
        A panel from `make_panel`.
    signal, response : str, optional
        Which two series; required where the panel has several.
    above : float
        Value that the signal exceeds in an event, in its own unit: of a log return 0.1 is about 10 per cent.
    quiet : int
        Number of periods before an event without another; zero for every period that exceeds `above`.
    horizon, before : int
        Periods after and before the event. Only events with all of these periods in the window are used.

    Returns
    -------
    xarray.Dataset
        By ``step``, in periods from -before to horizon. Paths are sums of the response (of a response in levels,
        differences of it) since the end of the event's own period, in the response's unit, so they are zero at step 0.

        - ``path`` (event, step): the path around each event, by date;
        - ``mean_path`` (step), and ``unconditional`` (step), the mean path around every period of the window;
        - ``difference`` (step) of the two, with its 95 % interval ``low`` to ``high``, and its two-sided ``p_value``;
        - ``band`` (step): for steps after the event, the difference that 95 % of unrelated events do not exceed in size
          *at any step*; NaN before;
        - ``p_any``: the p-value for all steps after the event at once.

        In ``attrs``: the names and settings; ``incomplete``, the number of events without a whole window; ``rows``, the
        number of shifts; ``frequency``.

    Raises
    ------
    PanelError
        If a series is not named where there are several or is not in the panel, an argument is out of range, the
        windows do not fit into the panel, or there is no event.

    Notes
    -----
    The reference is the same set of events, shifted in time by every possible number of periods, around the ends of the
    window: a shift keeps the spacing of the events, the overlap of their windows, and the dependence and changing
    variance of the response, and breaks the relation between the two. The p-value is the share of shifts, the unshifted
    one included, with a difference at least as large in size; the interval contains the differences that this test
    does not reject, and excludes zero where the p-value is below 0.05. If response and events are unrelated and one of
    them is stationary, the test has its level up to what the ends of the window do: Harris (2020), arXiv:2012.06862. It
    uses no normal approximation and no number of independent events, so it holds with few of them. In 2,000 simulated
    panels of each of 16 designs, of 260 and 656 weeks with 3 to 61 events, the test of the last step rejects 4.2 to
    5.8 % at a nominal 5 %, that of all steps 4.2 to 5.8 %, and the interval covers an added drift in 94.0 to 95.6 %; a
    t test that takes the windows as independent rejects 37 to 41 % if events may follow each other closely.

    A missing response adds nothing to a path. Before the event the path is often related to it by construction: a new
    high follows a rise. No claim about a lag follows from an event study alone: the response may follow what both
    series respond to. Event studies: MacKinlay (1997), Journal of Economic Literature 35, 13-39; overlapping and
    clustered events: Kolari & Pynnönen (2010), doi:10.1093/rfs/hhq072.

    See Also
    --------
    regimelag.evaluation.lead_lag : correlations at all leads and lags.
    regimelag.evaluation.impulse_response : the path after a shock, from a fit.
    """
    asked = "event_study"
    check_made(panel, asked, holds=[nm.value_of(role) for role in (nm.SIGNAL, nm.RESPONSE)])
    if not is_number(above):
        raise PanelError(asked, "above is a finite number", f"above = {above!r}", "write above=0.0")
    quiet = whole(PanelError, asked, "quiet", quiet, "write quiet=0", least=0)
    horizon = whole(PanelError, asked, "horizon", horizon, "write horizon=4", most=MOST_ROWS)
    before = whole(PanelError, asked, "before", before, "write before=0", least=0)
    names = {
        role: named_series(asked, panel, role, name) for role, name in ((nm.SIGNAL, signal), (nm.RESPONSE, response))
    }
    rows = panel.sizes[nm.TIME]
    most = rows // LEAST_WINDOWS
    if before + 1 + horizon > most:
        shorter = min(before, most // 3)
        cure = f"write horizon={max(min(horizon, most - 1 - shorter), 1)}, before={shorter}"
        rule = f"{LEAST_WINDOWS} windows of before + 1 + horizon periods fit into the panel's rows"
        raise PanelError(asked, rule, f"{before} + 1 + {horizon} periods, {rows} rows", cure)
    values = natural(panel, nm.RESPONSE).sel({nm.RESPONSE: names[nm.RESPONSE]}).to_numpy()
    paths = paths_around(values, before, horizon, level=_in_levels(panel, names[nm.RESPONSE]))
    places, left = _events(panel, names[nm.SIGNAL], above, quiet, before, horizon)
    found = shift_test(paths, places - before, before)
    dates = panel[nm.TIME].to_numpy()[places]
    read = xr.Dataset(
        {
            "path": ((EVENT, nm.STEP), paths[places - before]),
            "mean_path": (nm.STEP, paths[places - before].mean(axis=0)),
            "unconditional": (nm.STEP, paths.mean(axis=0)),
            "difference": (nm.STEP, found.difference),
            "low": (nm.STEP, found.difference - found.interval),
            "high": (nm.STEP, found.difference + found.interval),
            "p_value": (nm.STEP, found.p_value),
            "band": (nm.STEP, found.band),
            "p_any": ((), found.p_any),
        },
        coords={EVENT: dates, nm.STEP: np.arange(-before, horizon + 1)},
    )
    read.attrs = names | {"above": float(above), "quiet": quiet, "incomplete": left, "rows": len(paths)}
    read.attrs["frequency"] = panel.attrs.get("frequency", "")
    read.attrs[nm.SENTENCES] = _sentences(read)
    return read


def paths_around(values: np.ndarray, before: int, horizon: int, *, level: bool = False) -> np.ndarray:
    """Path (row, step) around each row with all of its steps, zero at the row itself.

    Parameters
    ----------
    values : array (time)
        The response; NaN where missing, which adds nothing to a path.
    before, horizon : int
        Steps before and after a row; the first row is number `before`.
    level : bool
        Whether the values are levels, whose path is a difference and not a sum.
    """
    total = pd.Series(values).ffill().bfill().to_numpy() if level else np.cumsum(np.nan_to_num(values))
    around = np.lib.stride_tricks.sliding_window_view(total, before + 1 + horizon)
    return around - around[:, before : before + 1]


def shift_test(paths: np.ndarray, places: np.ndarray, before: int) -> ShiftTest:
    """Compare the mean path of some rows with that of the same rows shifted in time.

    Parameters
    ----------
    paths : array (row, step)
        Path around every row.
    places : array of int (event)
        Rows of the events.
    before : int
        Number of steps before the event.
    """
    rows = len(paths)
    chosen = np.zeros(rows)
    chosen[places] = 1.0 / len(places)
    # Mean path of the events under each shift (shift, step): a circular cross-correlation.
    spectrum = np.conj(np.fft.rfft(chosen))[:, None] * np.fft.rfft(paths - paths.mean(axis=0), axis=0)
    shifted = np.fft.irfft(spectrum, rows, axis=0)
    # Rounding of the transform, so that the unshifted difference is as large as itself.
    size = np.abs(shifted)
    least = size[0] - ROUNDING * size.max(axis=0)
    sd = shifted.std(axis=0)
    after = slice(before + 1, None)
    largest = (size[:, after] / sd[after]).max(axis=1)
    band = np.full(paths.shape[1], np.nan)
    band[after] = np.quantile(largest, LEVEL, method="higher") * sd[after]
    return ShiftTest(
        difference=shifted[0],
        interval=np.quantile(size, LEVEL, axis=0, method="higher"),
        band=band,
        p_value=(size >= least).mean(axis=0),
        p_any=float((largest >= largest[0] * (1 - ROUNDING)).mean()),
    )


def _in_levels(panel: xr.Dataset, response: str) -> bool:
    """Whether the response is a level; a panel without a spec holds changes."""
    responses = panel_spec(panel, "event_study").responses if "spec" in panel.attrs else ()
    return any(one.name == response and one.transform == "level" for one in responses)


def _events(
    panel: xr.Dataset, signal: str, above: float, quiet: int, before: int, horizon: int
) -> tuple[np.ndarray, int]:
    """Rows of the window that are events with a whole window around them, and the number of other events."""
    every = natural(panel, nm.SIGNAL).sel({nm.SIGNAL: signal}).to_numpy()
    rounding = ROUNDING * float(panel[nm.scale_of(nm.SIGNAL)].sel({nm.SIGNAL: signal}))
    exceeds = every > above + rounding
    row = np.arange(len(every))
    last = np.append(-1, np.maximum.accumulate(np.where(exceeds, row, -1))[:-1])
    # The periods before the first value are unknown, so the first `quiet` rows are no events.
    rows, history = panel.sizes[nm.TIME], len(every) - panel.sizes[nm.TIME]
    places = np.flatnonzero(exceeds & (row - last > quiet)) - history
    places = places[places >= 0]
    used = places[(places >= before) & (places < rows - horizon)]
    if len(used):
        return used, len(places) - len(used)
    inside = np.unique(every[history + before : len(every) - horizon])
    came, cure = f"{signal!r} is {inside[-1]:.3g} at most in these periods", "write quiet=0"
    if inside[-1] <= above + rounding:
        cure = f"write above={inside[-2:].mean():.9g}, quiet=0"
        if inside[-1] - inside[0] <= 2 * rounding:
            cure = "make the panel over a longer window, or name another signal"
    raise PanelError(
        "event_study",
        f"in some period with {before} periods before and {horizon} after it in the window, the signal exceeds "
        f"above = {above:g} after {quiet} periods in which it did not",
        came,
        cure,
    )


def _sentences(read: xr.Dataset) -> list[str]:
    """Sentences on the last step and on all steps, with the number of events."""
    unit = period_name(str(read.attrs["frequency"]))
    last, count, left = read.isel({nm.STEP: -1}), read.sizes[EVENT], read.attrs["incomplete"]
    dates = [str(pd.Timestamp(day).date()) for day in read[EVENT].to_numpy()]
    span = dates[0] if count == 1 else f"{dates[0]} to {dates[-1]}"
    horizon, p_any = int(read[nm.STEP][-1]), float(read["p_any"])
    told = "distinguished" if p_any <= 1 - LEVEL else "not distinguished"
    said = [f"{count} event{'s' * (count > 1)} of {read.attrs[nm.SIGNAL]}, {span}."]
    if left:
        said[0] += f" {left} more without a whole window in the panel {'is' if left == 1 else 'are'} not used."
    said.append(
        f"{horizon} {unit} after an event the mean path of {read.attrs[nm.RESPONSE]} less that after any period is "
        f"{float(last['difference']):.3g} (95 % interval {float(last['low']):.3g} to {float(last['high']):.3g}, "
        f"p = {float(last['p_value']):.2g})."
    )
    said.append(
        f"Over all {horizon} {unit} the path after the events is {told} from those after the same events shifted in "
        f"time (p = {p_any:.2g})."
    )
    return said
