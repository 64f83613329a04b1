"""make_panel: an xarray Dataset with all data of a model.

Rows are periods of the spec's frequency. Responses, signals and controls are dated by their own close; drivers have the
last value published by the row's date. The panel does not shift drivers: the model uses the driver of row t - 1 for the
step into t.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.aligned_series import (
    AlignedSeries,
    align_series,
    check_history,
    close_columns,
    episode_rows,
    last_served,
    late_series,
    parts,
    published_columns,
    trading_columns,
)
from regimelag.panel.asynchronous_closes import check_known, clock_gaps, gaps_as_json, lags_by_clock, sentence
from regimelag.panel.checks import check_panel, check_spec, panel_hash
from regimelag.panel.describe import describe_panel
from regimelag.panel.frame_checks import check_frame, take_columns, truncate_list
from regimelag.panel.moderators import add_standing_drivers, check_indicators_vary
from regimelag.panel.notes import closes_that_differ, panel_notes, ranges
from regimelag.panel.orthogonalize import partial_out
from regimelag.panel.outliers import outliers
from regimelag.panel.own_past import add_history
from regimelag.panel.periods import dates_at_end, early_values, spurious_lags
from regimelag.panel.read import read_series
from regimelag.panel.rows import TRADING, FloatArray, parse_day, period_end, row_dates, stale_after, trading_dates
from regimelag.panel.sample_checks import check_explained, check_varies, check_window, rows_used
from regimelag.panel.vintages import read_vintages, vintage_notes
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.moderation import needs_standing_drivers
from regimelag.spec.series import conventions_of
from regimelag.spec.toml import spec_to_toml

Day = str | dt.date | pd.Timestamp | np.datetime64


def make_panel(
    spec: ModelSpec,
    frame: pd.DataFrame,
    *,
    start: Day | None = None,
    end: Day | None = None,
    vintages: pd.DataFrame | None = None,
) -> xr.Dataset:
    """Align, transform and standardise the data of a model.

    Parameters
    ----------
    spec : ModelSpec
        Columns, transforms and frequency.
    frame : DataFrame (date, column)
        Observations in their own units, at any frequency and on any mix of calendars (NaN where a market was closed),
        or one per period; also a table of polars or pyarrow, as `read_series` takes it. It is not modified.
    start, end : date-like, optional
        First and last row of the estimation window, inclusive. By default the first row that all series and lags can
        serve, and the last complete period that all signals, drivers and controls can serve.
    vintages : DataFrame, optional
        All published values of some columns with publication dates, as from `fetch_vintages`. A driver of such a column
        then has, on a row dated d, the values known on d, at both ends of a change, and its delay is ignored; so do
        other series with a delay. Series without a delay, such as same-week controls, use `frame`. Rows before the
        first vintage have no value.

    Returns
    -------
    xarray.Dataset
        Standardised ``response_value`` (time, response), ``signal_value`` (signal_time, signal), ``driver_value``
        (time, driver), ``control_value`` (time, control); missing responses are NaN. ``signal_time`` begins
        `spec.history` rows before ``time``.

        ``<role>_center`` and ``<role>_scale``: constants of the standardisation in the series' units, from the window.

        ``driver_date`` (time, driver): date of the observation used, the older one of two.

        ``signal_beyond_slope`` (signal): regression slope of an orthogonalised signal on the other column, both
        transformed, from the window; NaN for other signals.

        ``response_history`` (own_lag, response), with autoregression: responses before the window, the most recent
        first, NaN where missing.

        ``driver_history`` (driver), with moderators or indicators, or drivers of a process that carries the effect:
        drivers on the row before the window.

        ``episode_index`` (time); ``level`` (signal_time, leg): levels of the columns, one leg for each column of each
        series, from which scenarios continue.

        Attributes contain the spec as TOML and, as JSON, notes on the data, closes and ranges of the columns.

    Warns
    -----
    UserWarning
        If data cause a spurious result, as the attribute ``warnings`` and `describe_panel` also say: a lagged signal
        typically closes after a response, by at least a hundredth of a row, which causes a spurious lag of one row; a
        response or a signal is an average of periods, or follows as if its dates were a row or a day late; rows use the
        value of a month, quarter or year before it is over; a column has a bad tick, a split, a shift of level or a
        change of unit; or the last periods are omitted because a series ended long before.

    Raises
    ------
    PanelError
        If the frame breaks a rule; the window does not fit the data, or has too few rows or responses; the history is
        too short; a covariate is missing or stale; a driver is known only after the close of its row; a price is
        unchanged for long or jumps tenfold; a series or an indicator is constant; another column explains a signal
        completely; covariates determine a response exactly; a value is a code for a missing one; a vintage was
        published before its date; or trading dates are too far apart.

    See Also
    --------
    describe_panel : summary of every series, in its own unit.
    """
    check_spec(spec, "make_panel")
    asked = f"a panel for {spec.name!r}, start = {start!s}, end = {end!s}"
    if not isinstance(frame, pd.DataFrame) and hasattr(frame, "to_pandas"):
        frame = read_series(frame)
    columns = [column for members in parts(spec).values() for series in members for column in series.columns]
    source = take_columns(check_frame(frame, asked), columns, asked)
    releases = read_vintages(vintages, published_columns(spec), asked)
    dated = source
    # Published values whose period ends after the last close do not make a period complete.
    kinds, by_close = conventions_of(spec.series, "dated", asked), close_columns(spec)
    on_close = {column: kind for column, kind in kinds.items() if column in by_close}
    rows = _rows_to_end(spec, dates_at_end(dated, on_close), read_day(end, "end", asked), asked)
    source = dates_at_end(dated, kinds)
    tracks = align_series(spec, source, rows, releases=releases)
    served = last_served(tracks) if end is None else len(rows)
    late = late_series(tracks, rows, served) if served < len(rows) else []
    long = late if late and rows[-1] - rows[served - 1] > stale_after(rows, rows) else []
    if late:
        rows = rows[:served]
        tracks = align_series(spec, source, rows, releases=releases)
    first = _first_row(spec, rows, tracks, read_day(start, "start", asked), asked)
    check_window(spec, rows, tracks, first, asked)
    check_known(spec, rows, tracks, first, asked)
    tracks = [partial_out(track, first, asked) for track in tracks]
    check_varies(tracks, rows[first:], asked)
    check_explained(spec, tracks, first, asked)
    panel = _assemble(spec, rows, tracks, first)
    check_indicators_vary(spec, panel, asked)
    gaps = clock_gaps(spec, rows, tracks, first)
    used = [rows_used(spec, track, first) for track in tracks]
    by_clock = lags_by_clock(spec, gaps)
    warned = [
        *map(sentence, by_clock),
        *spurious_lags(spec, source, rows, tracks, first, known={gap.name for gap in by_clock}),
        *early_values(spec, dated, rows, releases),
        *outliers(tracks, source, used),
        *long,
    ]
    notes = [*panel_notes(spec, source, rows, tracks, first, gaps), *late, *vintage_notes(releases, rows)]
    panel.attrs |= {
        "notes": json.dumps(list(dict.fromkeys([*notes, *warned]))),
        "warnings": json.dumps(warned),
        "closes_differ": json.dumps(closes_that_differ(rows, tracks, first)),
        "closes": json.dumps(spec.closes),
        "hours_after": gaps_as_json(gaps),
        "ranges": json.dumps(ranges(source, rows, tracks, first)),
    }
    for text in warned:
        warnings.warn(text, UserWarning, stacklevel=2)
    return panel


def read_day(value: Day | None, name: str, asked: str) -> pd.Timestamp | None:
    if value is None:
        return None
    day = parse_day(value)
    if day is None:
        cure = f'write {name} = "2013-01-01"'
        raise PanelError(
            asked,
            f"{name} is a date, as a text year-month-day and without time zone, or None",
            f"{name} = {value!r}",
            cure,
        )
    return day


def _all_rows(spec: ModelSpec, source: pd.DataFrame, asked: str) -> pd.DatetimeIndex:
    if spec.frequency != TRADING:
        rows = row_dates(source, spec.frequency)
        came = f"{source.notna().any(axis=1).sum()} dates with an observation, and no complete period "
        came += f"({spec.frequency})"
        rule, cure = "the columns used span at least one complete period", "give more data"
    else:
        rows = trading_dates(source, trading_columns(spec))
        came = f"no date on which all of {truncate_list(trading_columns(spec), most=20)} were observed"
        rule = "rows are dates on which the first response and every signal and control without a delay were observed"
        cure = 'check that these columns share a calendar, or write a longer frequency, such as "W-FRI"'
    if not len(rows):
        raise PanelError(asked, rule, came, cure)
    return rows


def _rows_to_end(spec: ModelSpec, source: pd.DataFrame, end: pd.Timestamp | None, asked: str) -> pd.DatetimeIndex:
    rows = _all_rows(spec, source, asked)
    if end is None:
        return rows
    if end < rows[0]:
        cure = f"end on {rows[0].date()} or later"
        raise PanelError(asked, "the window lies within the data", f"the first row is {rows[0].date()}", cure)
    late = end - stale_after(rows, rows) if spec.frequency == TRADING else period_end(spec.frequency).rollback(end)
    if late > rows[-1]:
        cure = f"leave end out, end on {rows[-1].date()}, or get newer data"
        raise PanelError(asked, "the window lies within the data", f"the last complete row is {rows[-1].date()}", cure)
    return rows[rows <= end]


def _first_row(
    spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], start: pd.Timestamp | None, asked: str
) -> int:
    if start is None:
        first = _first_possible(spec, rows, tracks)
        check_history(spec, tracks, rows, first, asked)
        return first
    if start > rows[-1]:
        cure = f"start on {rows[-1].date()} or earlier, and before end"
        came = f"the last row up to end is {rows[-1].date()}"
        raise PanelError(asked, "the window holds at least one row", came, cure)
    if (start if spec.frequency == TRADING else period_end(spec.frequency).rollforward(start)) < rows[0]:
        possible = rows[_first_possible(spec, rows, tracks)].date()
        cure = f"start on {possible} or later, leave start out, or give data from further back"
        raise PanelError(asked, "the window lies within the data", f"the first row is {rows[0].date()}", cure)
    first = int(rows.searchsorted(start))
    check_history(spec, tracks, rows, first, asked)
    return first


def _first_possible(spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries]) -> int:
    """First row that all covariates and lags can serve, not before any response begins; at most the last row."""
    begun = (track for track in tracks if track.role != nm.RESPONSE or track.first_value < len(rows))
    ready = (
        track.first_value + spec.autoregression if track.role == nm.RESPONSE else track.ready(spec) for track in begun
    )
    return min(max(ready, default=0), len(rows) - 1)


def _constants(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of the observed values, in their own unit."""
    return float(np.nanmean(values)), float(np.nanstd(values, ddof=1))


def _about(what: str) -> dict[str, str]:
    return {"long_name": f"{what} in the window, in its own unit"}


def _assemble(spec: ModelSpec, rows: pd.DatetimeIndex, tracks: Sequence[AlignedSeries], first: int) -> xr.Dataset:
    window, reach = rows[first:], rows[first - spec.history :]
    index, labels = episode_rows(spec, window)
    panel = xr.Dataset(
        coords={nm.TIME: window.to_numpy(), nm.SIGNAL_TIME: reach.to_numpy(), nm.EPISODE: np.array(labels, dtype=str)},
        attrs={
            "spec": spec_to_toml(spec),
            "frequency": spec.frequency,
            "start": str(window[0].date()),
            "end": str(window[-1].date()),
            "created_by": "regimelag.make_panel",
            "columns": json.dumps({r: {s.name: s.column for s in members} for r, members in parts(spec).items()}),
        },
    )
    panel[nm.EPISODE_INDEX] = (nm.TIME, index, {"long_name": "place of the row's episode"})
    for role in parts(spec):
        held = [track for track in tracks if track.role == role]
        _add_role(panel, role, held, first, rows[first - spec.history_of(role) :], spec.time_of(role))
    slopes = [track.slope for track in tracks if track.role == nm.SIGNAL]
    about = {"long_name": "units of the signal's column that go with one unit of the column that it lies beyond"}
    panel[nm.BEYOND_SLOPE] = (nm.SIGNAL, np.array(slopes, dtype=float), about)
    if needs_standing_drivers(spec):
        drivers = [track.value[first - 1] for track in tracks if track.role == nm.DRIVER]
        center, scale = (panel[of(nm.DRIVER)].to_numpy() for of in (nm.center_of, nm.scale_of))
        panel = add_standing_drivers(panel, (np.array(drivers) - center) / scale)
    if spec.autoregression:
        panel = _add_history(spec, panel, [track for track in tracks if track.role == nm.RESPONSE], first)
    return _add_levels(panel, tracks, len(reach))


def _add_history(spec: ModelSpec, panel: xr.Dataset, tracks: Sequence[AlignedSeries], first: int) -> xr.Dataset:
    """Add the responses before the window; those before the data begin are missing."""
    center, scale = (panel[of(nm.RESPONSE)].to_numpy() for of in (nm.center_of, nm.scale_of))
    values = np.full((spec.autoregression, len(tracks)), np.nan)
    for lag in range(1, min(spec.autoregression, first) + 1):
        values[lag - 1] = [track.value[first - lag] for track in tracks]
    return add_history(panel, (values - center) / scale)


def _add_levels(panel: xr.Dataset, tracks: Sequence[AlignedSeries], rows: int) -> xr.Dataset:
    legs = [(track, column, leg) for track in tracks for column, leg in track.legs.items()]
    labels = {
        nm.LEG_ROLE: [track.role for track, _, _ in legs],
        nm.LEG_SERIES: [track.series.name for track, _, _ in legs],
        nm.LEG_COLUMN: [column for _, column, _ in legs],
    }
    values = np.array([leg.level[-rows:] for _, _, leg in legs]).T
    panel[nm.LEVEL] = ((nm.SIGNAL_TIME, nm.LEG), values, {"long_name": "columns on the rows, in its own unit"})
    return panel.assign_coords({name: (nm.LEG, np.array(held, dtype=str)) for name, held in labels.items()})


def _add_role(
    panel: xr.Dataset, role: str, tracks: Sequence[AlignedSeries], first: int, rows: pd.DatetimeIndex, time: str
) -> None:
    """Add a role's standardised values, constants and, for drivers, dates; the role may have no series."""
    shape = (len(tracks), len(rows))
    constants = np.array([_constants(track.value[first:]) for track in tracks]).reshape(-1, 2)
    natural = np.array([track.value[-len(rows) :] for track in tracks], dtype=float).reshape(shape)
    values = (natural - constants[:, :1]) / constants[:, 1:]
    panel.coords[role] = np.array([track.series.name for track in tracks], dtype=str)
    panel[nm.value_of(role)] = ((time, role), values.T, {"long_name": f"standardised {role}", "units": "1"})
    panel[nm.center_of(role)] = (role, constants[:, 0], _about(f"mean of the {role}"))
    panel[nm.scale_of(role)] = (role, constants[:, 1], _about(f"standard deviation of the {role}"))
    if role == nm.DRIVER:
        dates = np.array([track.date[-len(rows) :] for track in tracks], dtype="datetime64[ns]").reshape(shape)
        panel[nm.DRIVER_DATE] = ((time, role), dates.T, {"long_name": "date of the observation used"})


__all__ = ["check_panel", "describe_panel", "make_panel", "panel_hash"]
