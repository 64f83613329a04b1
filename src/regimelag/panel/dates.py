"""Days from the dates of files and tables: texts, whole numbers, timestamps with and without time zone.

A stamp is read as written; nothing is guessed. A date that can be read day first and month first is refused, unless
other dates of the column decide. A stamp of 00:00 may label the day that it begins or be the moment of a price, which
is then the close of the day before; the source's column decides, or the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.written_periods import refuse_periods

DAY = pd.Timedelta(days=1)
# The date column by its name, the first of these that a table has; case and brackets are ignored.
DATE_NAMES = (
    *("date", "observation_date", "datetime", "day", "as_of", "snapped_at", "close_time", "timeclose", "timestamp"),
    *("open_time", "open time", "timeopen", "time", "unix"),
)
# Columns whose stamps of 00:00 are the moment of a price (CoinGecko), or begin the bar of their day (Binance,
# CoinMarketCap).
MOMENTS, BEGINNINGS = frozenset({"snapped_at"}), frozenset({"open_time", "open time", "timeopen"})
STAMP = (
    r"^(?P<day>.*?)(?:(?:T|\s+)(?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?)?$"
)
ISO = "%Y-%m-%d"
FORMATS = (
    *(ISO, "%Y/%m/%d", "%Y.%m.%d", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y"),
    *("%d %b %y", "%b %d %Y"),
)
# Day first, month first.
PAIRS = tuple((f"%d{s}%m{s}{y}", f"%m{s}%d{s}{y}") for y in ("%Y", "%y") for s in ("/", ".", "-"))
# Ranges of whole numbers that are dates: days as 20240131, days since 1899-12-30 (Excel), and time since 1970.
COMPACT, SERIAL = (19000101, 22001231), (20000.0, 80000.0)
EPOCH = {"s": 1e8, "ms": 1e11, "us": 1e14, "ns": 1e17}
# Zones by their hours from UTC, for a cure.
ZONES = {
    **dict.fromkeys((-5, -4), "America/New_York"),
    **dict.fromkeys((1, 2), "Europe/Paris"),
    0: "UTC",
    8: "Asia/Hong_Kong",
    9: "Asia/Tokyo",
}
# Arguments of `read_series` itself; others are those of pandas' readers.
OWN = ("columns", "date", "dayfirst", "decimal", "thousands", "tz", "close")
READERS = {"parquet": (".parquet",), "excel": (".xlsx", ".xls", ".xlsm", ".ods")}
# Where whole numbers land that pandas takes for nanoseconds: up to 2e15, microseconds of the years 2030.
BEGIN, WEEKS_LATER = pd.Timestamp("1970-01-01"), pd.Timestamp("1970-02-01")
LAST_MINUTE = pd.Timedelta(hours=23, minutes=59)


class Request(NamedTuple):
    """Request of a caller, for errors and cures.

    Attributes
    ----------
    source : str
        The path or the variable, as Python.
    given : dict
        Arguments other than the defaults.
    other : str
        Another column that begins with a date; empty if there is none.
    """

    source: str
    given: Mapping[str, Any]
    other: str = ""

    def call(self, **more: Any) -> str:
        """The call as Python, with further arguments."""
        return f"read_series({', '.join([self.source, *(f'{k}={v!r}' for k, v in (dict(self.given) | more).items())])})"

    def or_other(self, cure: str) -> str:
        """A cure, with the other column of dates if there is one."""
        return f"{cure}, or name the other column of dates by {self.call(date=self.other)}" if self.other else cure

    def rows(self, rows: str, **more: Any) -> str:
        """The call on some rows of the source, read by pandas, as Python."""
        own = {name: value for name, value in self.given.items() if name in OWN}
        return Request(f"{self.read()}{rows}", own).call(**more)

    def read(self) -> str:
        """The source as a table, read by pandas with the caller's options, as Python."""
        if self.source == "frame":
            return self.source
        options = {name: value for name, value in self.given.items() if name not in OWN}
        kind = next(
            (kind for kind, names in READERS.items() if self.source.lower().strip("'\"").endswith(names)), "csv"
        )
        if kind == "csv" and not options.keys() & {"sep", "delimiter"}:
            options |= {"sep": None, "engine": "python"}
        return f"pd.read_{kind}({', '.join([self.source, *(f'{k}={v!r}' for k, v in options.items())])})"


class Stamps(NamedTuple):
    """Local times of a date column.

    Attributes
    ----------
    wall : DatetimeIndex
        Local time of each row, without zone.
    timed : bool
        Whether times of day are written.
    zone : str
        The zone, for a cure.
    note : str
        How the dates were read; empty for ISO dates.
    rows : Index
        Where each row comes from.
    zoned : bool
        Whether stamps have a time zone as written.
    per : tuple of str
        Units of numbers since 1970.
    """

    wall: pd.DatetimeIndex
    timed: bool
    zone: str
    note: str = ""
    rows: pd.Index = pd.RangeIndex(0)
    zoned: bool = False
    per: tuple[str, ...] = ()


def date_column(names: list[str]) -> int | None:
    """Position of the date column by its name; None if no name is known."""
    plain = [name.strip().strip("<>").lower() for name in names]
    return next((plain.index(known) for known in DATE_NAMES if known in plain), None)


def parse_dates(cells: pd.Series, name: str, request: Request) -> tuple[pd.DatetimeIndex, list[str]]:
    """Days of a date column.

    Parameters
    ----------
    cells : Series (row)
        Texts, numbers, dates or timestamps; the index says where each comes from, for errors.
    name : str
        Name of the column.
    request : Request
        The call, with its `dayfirst`, `tz` and `close`.

    Returns
    -------
    DatetimeIndex (row)
        Days, in microseconds.
    list of str
        Sentences on how dates were read.

    Raises
    ------
    PanelError
        If a date is missing, cannot be read or can be read in two ways, or a time of day has no clear meaning.
    """
    _check_present(cells, name, request)
    stamps = _stamps(cells, name, request)._replace(rows=cells.index)
    days, notes = _days(stamps, name, request)
    return days.as_unit("us"), [*([stamps.note] if stamps.note else []), *notes]


def check_not_nanoseconds(index: pd.DatetimeIndex, asked: str) -> None:
    """Refuse an index of whole numbers that pandas took for nanoseconds since 1970."""
    moments = index.dropna().tz_localize(None)
    if (
        len(moments)
        and moments.min() >= BEGIN
        and moments.max() < WEEKS_LATER
        and (moments != moments.normalize()).any()
    ):
        came = f"{moments[0]} to {moments[-1]}, as pandas.to_datetime reads whole numbers without a unit"
        cure = "frame = read_series(frame.set_axis(frame.index.as_unit('ns').astype('int64'), axis=0))"
        raise PanelError(asked, "dates are of the data's own years", came, cure)


def _check_present(cells: pd.Series, name: str, request: Request) -> None:
    absent = cells.isna() | (cells.astype(str).str.strip() == "")
    if absent.any():
        where = _where(cells.index, int(np.flatnonzero(absent)[0]))
        came = f"'' in column {name!r}, {where}, one of {int(absent.sum())}"
        cure = f"{request.rows(f'.dropna(subset=[{name!r}])')}, without those rows"
        raise PanelError(request.call(), "every row has a date", came, cure)


def _where(rows: pd.Index, place: int) -> str:
    at = rows[place]
    return str(at) if isinstance(at, str) else f"row {place}"


def _line(rows: pd.Index, place: int) -> int:
    """Number of the line of a file; 0 for a table."""
    at = str(rows[place])
    return int(at.removeprefix("line ")) if at.startswith("line ") else 0


def _stamps(cells: pd.Series, name: str, request: Request) -> Stamps:
    if isinstance(cells.dtype, pd.PeriodDtype):
        return Stamps(pd.DatetimeIndex(cells.dt.to_timestamp(how="end")).normalize(), False, "")
    if pd.api.types.is_datetime64_any_dtype(cells.dtype) or isinstance(cells.dtype, pd.DatetimeTZDtype):
        return _typed(pd.DatetimeIndex(cells), request)
    if pd.api.types.infer_dtype(cells) in ("date", "datetime"):
        return _typed(pd.DatetimeIndex(pd.to_datetime(list(cells))), request)
    texts = cells.astype(str).str.strip()
    if pd.api.types.is_numeric_dtype(cells.dtype) or texts.str.fullmatch(r"[0-9]{5,20}(\.[0-9]+)?").all():
        return _numbered(pd.to_numeric(texts, errors="coerce").to_numpy(float), cells, name, request)
    return _written(texts, name, request)


def _typed(moments: pd.DatetimeIndex, request: Request) -> Stamps:
    if moments.tz is not None:
        moments, zone = _local(moments, request), _zone(request) or str(moments.tz)
        return Stamps(moments, True, zone, zoned=True)
    return Stamps(moments, bool((moments != moments.normalize()).any()), "UTC")


def _zone(request: Request) -> str:
    close = str(request.given.get("close", ""))
    return str(request.given.get("tz") or close.partition(" ")[2])


def _local(moments: pd.DatetimeIndex, request: Request) -> pd.DatetimeIndex:
    """Local times, in the zone asked for or else as written."""
    zone = _zone(request)
    return (moments.tz_convert(zone) if zone else moments).tz_localize(None)


def _numbered(values: np.ndarray, cells: pd.Series, name: str, request: Request) -> Stamps:
    if ((values >= COMPACT[0]) & (values <= COMPACT[1])).all():
        days = pd.to_datetime(pd.Series(values.astype("int64").astype(str)), format="%Y%m%d", errors="coerce")
        _check_calendar(days, cells, name, request)
        return Stamps(pd.DatetimeIndex(days), False, "", f"Whole numbers of {name!r} are read as year, month, day.")
    if ((values > SERIAL[0]) & (values < SERIAL[1])).all():
        wall = pd.DatetimeIndex(pd.Timestamp("1899-12-30") + pd.to_timedelta(values.round(6), unit="D")).round("s")
        note = f"Numbers of {name!r} are read as Excel's days since 1899-12-30: the first is {wall[0].date()}."
        return Stamps(wall, bool((wall != wall.normalize()).any()), "UTC", note)
    if (values >= EPOCH["s"]).all():
        # Binance's files change from milliseconds to microseconds.
        unit = np.array(list(EPOCH))[np.searchsorted(list(EPOCH.values()), values, side="right") - 1]
        per = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1e-3}
        micros = np.round(values * np.array([per[one] for one in unit])).astype("int64")
        moments = _local(pd.DatetimeIndex(micros.astype("datetime64[us]")).tz_localize("UTC"), request)
        units = tuple(dict.fromkeys(str(one) for one in unit))
        note = f"Numbers of {name!r} are read as time since 1970 ({', '.join(units)}): the first is {moments[0]}."
        return Stamps(moments, True, _zone(request) or "UTC", note, zoned=True, per=units)
    refuse_periods(cells.astype(str).str.strip(), name, request)
    cure = request.or_other("write dates as 2026-01-23")
    came = f"{cells.iloc[0]!r} in column {name!r}, {_where(cells.index, 0)}"
    raise PanelError(request.call(), "there is a date column", came, cure)


def _written(texts: pd.Series, name: str, request: Request) -> Stamps:
    plain = pd.to_datetime(texts, format=ISO, errors="coerce")
    if plain.notna().all() and texts.str.len().eq(len("2024-01-31")).all():
        return Stamps(pd.DatetimeIndex(plain), False, "", "")
    parts = texts.str.extract(STAMP)
    days, note = _parse(parts["day"], texts, name, request)
    clocks = parts["clock"].notna()
    if not clocks.any():
        return Stamps(pd.DatetimeIndex(days), False, "", note)
    text = parts["clock"].fillna("00:00") + parts["half"].fillna("").radd(" ").str.rstrip()
    # The end of the day, as LAST_MINUTE is.
    text = text.str.replace(r"^24:00(:00)?(\.0+)?$", "23:59", regex=True)
    form = "%I:%M" if parts["half"].notna().any() else "%H:%M"
    seconds = (
        ""
        if not text.str.count(":").gt(1).any()
        else ":%S" + (".%f" if text.str.contains(".", regex=False).any() else "")
    )
    if seconds:
        text = text.where(text.str.count(":").gt(1), text + ":00")
        text = text.where(text.str.contains(".", regex=False), text + ".0") if "%f" in seconds else text
    form = f"%Y-%m-%d {form}{seconds}{' %p' if form == '%I:%M' else ''}"
    clock = pd.to_datetime("1970-01-01 " + text, format=form, errors="coerce")
    if clock.isna().any():
        place = int(np.flatnonzero(clock.isna())[0])
        came = f"{texts.iloc[place]!r} in column {name!r}, {_where(texts.index, place)}"
        raise PanelError(request.call(), "times of day lie between 00:00 and 24:00", came, "correct that time of day")
    wall = pd.DatetimeIndex(days) + (pd.DatetimeIndex(clock) - pd.Timestamp("1970-01-01"))
    zones = parts["zone"]
    # A day without a time of day beside others at 00:00 is the same day.
    timed = bool(clocks.all() or (wall != wall.normalize()).any())
    if not zones.notna().all():
        if zones.notna().any():
            place = int(np.flatnonzero(zones.notna())[0])
            came = f"{texts.iloc[place]!r} in column {name!r}, {_where(texts.index, place)}, and others without zone"
            cure = request.or_other("write all dates in one way")
            raise PanelError(request.call(), "all stamps or none have a time zone", came, cure)
        return Stamps(wall, timed, _zone(request) or "UTC", note)
    minutes = zones.replace({"Z": "+0000", "UTC": "+0000", "GMT": "+0000"}).str.replace(":", "")
    sign = np.where(minutes.str[0] == "-", -1, 1)
    offset = pd.to_timedelta(sign * (60 * minutes.str[1:3].astype(int) + minutes.str[3:5].astype(int)), unit="min")
    utc = (wall - pd.TimedeltaIndex(offset)).tz_localize("UTC")
    hours = int(pd.TimedeltaIndex(offset)[0] / pd.Timedelta(hours=1))
    known = ZONES.get(hours, f"Etc/GMT{-hours:+d}")
    return Stamps(_local(utc, request) if _zone(request) else wall, True, _zone(request) or known, note, zoned=True)


def _parse(texts: pd.Series, cells: pd.Series, name: str, request: Request) -> tuple[pd.Series, str]:
    """Days of texts, all in one format, and a sentence on a format other than ISO."""
    dayfirst = request.given.get("dayfirst")
    found = {form: pd.to_datetime(texts, format=form, errors="coerce") for form in FORMATS[:1]}
    # pandas reads 2024-01 in this format too.
    if found[ISO].notna().all() and texts.str.fullmatch(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}").all():
        return found[ISO], ""
    found |= {form: pd.to_datetime(texts, format=form, errors="coerce") for form in (*FORMATS[1:], *sum(PAIRS, ()))}
    for form in FORMATS[1:]:
        if found[form].notna().all():
            return found[form], f"Dates of {name!r} are read as {form}: the first is {found[form].iloc[0].date()}."
    for pair in PAIRS:
        read = [form for form in pair if found[form].notna().all()]
        if dayfirst is not None:
            read = [form for form in read if form == pair[0 if dayfirst else 1]]
        if len(read) == 2 and not found[pair[0]].equals(found[pair[1]]):  # noqa: PLR2004
            place = int(np.flatnonzero(found[pair[0]] != found[pair[1]])[0])
            first, second = (found[form].iloc[place].date() for form in pair)
            came = f"{texts.iloc[place]!r} in column {name!r}, {_where(cells.index, place)}, is {first} or {second}"
            cure = f"{request.call(dayfirst=True)} for {first}, or {request.call(dayfirst=False)} for {second}"
            raise PanelError(request.call(), "dates can be read in one way", came, cure)
        other = [form for form in pair if found[form].notna().all() and form not in read]
        if not read and other:
            place = int(np.flatnonzero(found[pair[0 if dayfirst else 1]].isna())[0])
            came = f"{texts.iloc[place]!r} in column {name!r}, {_where(cells.index, place)}, and dayfirst={dayfirst}"
            cure = request.call(dayfirst=not dayfirst)
            raise PanelError(request.call(), "dates are in the calendar in the order that is stated", came, cure)
        if read:
            form = read[0]
            _check_year_last(found[form], texts, form, name, request)
            order = "day first" if form == pair[0] else "month first"
            return found[form], f"Dates of {name!r} are read {order}: {texts.iloc[0]} is {found[form].iloc[0].date()}."
    refuse_periods(cells, name, request)
    best = max(found, key=lambda form: int(found[form].notna().sum()))
    place = int(
        np.flatnonzero(found[best].isna() | (best == ISO) & ~texts.str.fullmatch(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"))[0]
    )
    if best == ISO and texts.str.fullmatch(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}").iloc[place]:
        _check_calendar(found[ISO], cells, name, request)
    came = f"{cells.iloc[place]!r} in column {name!r}, {_where(cells.index, place)}"
    cure = _cure_of_text(texts, cells, place, name, request, found[best])
    raise PanelError(request.call(), "all dates are written in one way, such as 2026-01-23", came, cure)


def _cure_of_text(texts: pd.Series, cells: pd.Series, place: int, name: str, request: Request, found: pd.Series) -> str:
    """Cure of a text that is no date, by its place among those that are."""
    below, first = bool(found.iloc[place:].isna().all()), int(found.notna().to_numpy().argmax())
    cure = request.or_other("write it as 2026-01-23")
    dated = texts.iloc[place:].str.contains(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}")
    if place and below and not dated.any():
        cure = f"{request.rows(f'.iloc[:{place}]')}, without the lines below the data"
    elif (above := _line(cells.index, place)) and str(cells.iloc[place]).strip().strip("<>").lower() in DATE_NAMES:
        cure = f"{request.call(skiprows=above - 1)}, since the header is in line {above}"
        if place and found.iloc[:place].notna().all():
            cure = f"{request.rows(f'.drop(index={place})')}, without the header that is repeated in line {above}"
    elif not place and first and found.iloc[first:].notna().all():
        lines = "line" if first == 1 else f"{first} lines"
        cure = f"{request.rows(f'.iloc[{first}:]')}, without the {lines} below the header"
    elif (
        texts.str.contains("[A-Za-z]").all()
        and not texts.str.contains(r"[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]").any()
        and texts.str.replace(r"[0-9]+:[0-9:.]+", "", regex=True).str.count(r"[0-9]+").ge(2).all()
        and pd.to_datetime(texts, format="mixed", errors="coerce").notna().all()
    ):
        parsed = f"{{{name!r}: lambda rows: pd.to_datetime(rows[{name!r}], format='mixed')}}"
        cure = request._replace(given=dict(request.given) | {"date": name}).rows(f".assign(**{parsed})")
    return cure


def _check_year_last(days: pd.Series, texts: pd.Series, form: str, name: str, request: Request) -> None:
    """Refuse two-digit years at the end if dates are in order, or closer, with the year at the beginning."""
    if not form.endswith("y"):
        return
    other = f"%y{form[2]}%m{form[2]}%d"
    by_year = pd.to_datetime(texts, format=other, errors="coerce")
    if not by_year.notna().all() or not _in_order(by_year):
        return
    stated = "dayfirst" in request.given
    if _in_order(days) and (stated or _reach(days) <= _reach(by_year)):
        return
    came = f"{texts.iloc[0]!r} in column {name!r} is {by_year.iloc[0].date()} or {days.iloc[0].date()}"
    parsed = f"{{{name!r}: lambda rows: pd.to_datetime(rows[{name!r}], format={other!r})}}"
    cure = request._replace(given=dict(request.given) | {"date": name}).rows(f".assign(**{parsed})")
    if not stated:
        cure += f" for {by_year.iloc[0].date()}, or {request.call(dayfirst=form[1] == 'd')} for {days.iloc[0].date()}"
    raise PanelError(request.call(), "dates can be read in one way", came, cure)


def _in_order(days: pd.Series) -> bool:
    return bool(days.is_monotonic_increasing or days.is_monotonic_decreasing)


def _reach(days: pd.Series) -> float:
    """Days from the first date to the last."""
    return float(np.abs(days.to_numpy()[-1] - days.to_numpy()[0]) / np.timedelta64(1, "D"))


def _check_calendar(days: pd.Series, cells: pd.Series, name: str, request: Request) -> None:
    wrong = np.flatnonzero(days.isna())
    if len(wrong):
        came = f"{cells.iloc[wrong[0]]!r} in column {name!r}, {_where(cells.index, int(wrong[0]))}"
        raise PanelError(request.call(), "dates are in the calendar", came, "correct that date")


def _days(stamps: Stamps, name: str, request: Request) -> tuple[pd.DatetimeIndex, list[str]]:
    """Days from local times, by what a stamp means."""
    wall, close = stamps.wall, str(request.given.get("close", ""))
    days = wall.normalize()
    clock = wall - days
    if close:
        if not close.startswith("00:00"):
            return days, []
        if (clock == pd.Timedelta(0)).all():
            return days - DAY, [_on_moment(days[-1], name, close)]
        cure = f"{request.call(close=f'24:00 {stamps.zone}')}, or the time of day at which values were made"
        came = f"{wall[np.flatnonzero(clock != pd.Timedelta(0))[0]]} in column {name!r}"
        raise PanelError(request.call(), "with close 00:00 all stamps are at 00:00", came, cure)
    plain, zone = name.strip("<>").lower(), stamps.zone or "UTC"
    known = plain in MOMENTS | BEGINNINGS
    if (not stamps.timed and not known) or (clock >= LAST_MINUTE).all():
        return days, []
    if (clock == pd.Timedelta(0)).all():
        if plain in BEGINNINGS:
            return days, [f"A stamp of 00:00 in {name!r} begins its day, at whose end the close is."]
        if plain in MOMENTS:
            return days - DAY, [_on_moment(days[-1], name, f"00:00 {zone}")]
    odd = np.flatnonzero(clock != pd.Timedelta(0))
    if len(clock) > 2 and len(odd) == 1 and odd[0] in (0, len(clock) - 1):  # noqa: PLR2004
        came = f"{wall[odd[0]]} in column {name!r}, {_where(stamps.rows, int(odd[0]))}, where all others are at 00:00"
        cure = f"{request.rows('.iloc[1:]' if odd[0] == 0 else '.iloc[:-1]')}, without the day that is not over"
        raise PanelError(request.call(), "stamps have one time of day", came, cure)
    if (clock == pd.Timedelta(0)).all():
        other = "16:00 America/New_York" if zone.startswith("America") else f"24:00 {zone}"
        rule = (
            "it is known what a stamp of 00:00 means: the day that begins, or the moment of the price, which is then "
        )
        cure = (
            f"{request.call(close=other)} if a stamp labels the day that it begins (Binance, Yahoo, PriceUSD of "
            f"Coin Metrics), or {request.call(close=f'00:00 {zone}')} if it is the moment of the price (CoinGecko), "
            "which is then dated by the day before"
        )
        came = f"{wall[0]} in column {name!r}, and all others at 00:00"
        raise PanelError(request.call(), f"{rule}the close of the day before", came, cure)
    _refuse_times(stamps, clock, name, zone, request)
    raise AssertionError


def _on_moment(day: pd.Timestamp, name: str, close: str) -> str:
    before = (day - DAY).date()
    return (
        f"A stamp of 00:00 in {name!r} is the moment of the price ({close}), the close of the day before: the file's "
        f"{day.date()} is dated {before}."
    )


def _refuse_times(stamps: Stamps, clock: pd.Index, name: str, zone: str, request: Request) -> None:
    wall = stamps.wall
    times = pd.Index(clock.unique()).sort_values()
    place = int(np.flatnonzero(clock != pd.Timedelta(0))[0])
    came = f"{wall[place]} in column {name!r}, {_where(stamps.rows, place)}"
    rule = "dates have no time of day, or all the same one"
    if len(times) == 1:
        close = f"{wall[0]:%H:%M} {zone}"
        raise PanelError(request.call(), rule, came, f"{request.call(close=close)} if values were made at that time")
    if len(times) == 2 and times[1] - times[0] in (pd.Timedelta(hours=1), pd.Timedelta(hours=23)):  # noqa: PLR2004
        cure = f"{request.call(tz='America/New_York', close='16:00 America/New_York')}, with the market's own zone"
        came += f"; all times are {' or '.join(str(one).split()[-1] for one in times)}, an hour apart as in summer"
        raise PanelError(request.call(), "a stamp is in the market's own time zone", came, cure)
    raise PanelError(request.call(), f"{rule}: one observation a day", came, _last_of_days(stamps, name, request))


def _last_of_days(stamps: Stamps, name: str, request: Request) -> str:
    """Cure: code that keeps the last observation of each day, read as the stamps were read."""
    given = request.given
    if stamps.per:
        numbers = f"pd.to_numeric(frame[{name!r}])"
        if len(stamps.per) > 1:
            # Binance's files change from milliseconds to microseconds.
            numbers = f"{numbers}.where(lambda one: one < {EPOCH['us']:g}, lambda one: one // 1000)"
        moments = f"pd.to_datetime({numbers}, unit={stamps.per[0]!r}, utc=True)"
    else:
        first = ", dayfirst=True" if "day first" in stamps.note else ""
        moments = f"pd.to_datetime(frame[{name!r}]{first}{', utc=True' if stamps.zoned else ''})"
    local = f".dt.tz_convert({stamps.zone!r}).dt.tz_localize(None)" if stamps.zoned else ""
    own = {key: value for key, value in given.items() if key in OWN and key not in ("tz", "close", "date", "dayfirst")}
    held = f"frame = {request.read()}" if request.source != "frame" else ""
    held = held or f"frame = frame if {name!r} in frame else frame.rename_axis({name!r}).reset_index()"
    days = f"frame[{name!r}] = {moments}{local}"
    last = f"frame = frame.sort_values({name!r}).groupby(frame[{name!r}].dt.normalize().rename('day')).last()"
    read = Request(f"frame.drop(columns={name!r})", own).call()
    return f"keep one observation a day, such as the last: {held}; {days}; {last}; frame = {read}"
