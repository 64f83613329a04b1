"""Dates that are no day in one column: months, quarters, years, weeks and parts, which `read_series` refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from regimelag.errors import PanelError

if TYPE_CHECKING:
    from regimelag.panel.dates import Request

PERIODS = {"Y": "year", "Q": "quarter", "M": "month", "W-SUN": "week"}
_NAME, _NUMBER = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?", "(?:0?[1-9]|1[0-2])"
# Ways to write a period: a pattern, the frequency, and what makes of the texts what pandas reads as such periods.
# Shiller writes October as 2026.1.
WRITTEN = (
    ("[0-9]{4}", "Y", "{}"),
    (rf"[0-9]{{4}}[-/]{_NUMBER}|{_NUMBER}[-/][0-9]{{4}}|[0-9]{{4}}(?:0[1-9]|1[0-2])", "M", "{}"),
    (rf"{_NAME}[ -][0-9]{{4}}|[0-9]{{4}}[ -]{_NAME}", "M", "{}"),
    (rf"[0-9]{{4}}[:m]{_NUMBER}", "M", "{}.str.replace('[:Mm]', '-', regex=True)"),
    (r"[0-9]{4}\.(?:0[1-9]|1[0-2]?)", "M", "{}.str.ljust(7, '0')"),
    (rf"[0-9]{{4}}{_NAME}", "M", "{0}.str[:4] + ' ' + {0}.str[4:]"),
    (r"[a-z]{3}-[0-9]{2}", "M", "pd.to_datetime({}, format='%b-%y')"),
    (r"[a-z]{3} [0-9]{2}", "M", "pd.to_datetime({}, format='%b %y')"),
    (r"[0-9]{4}\W?q0?[1-4]", "Q", r"{}.str.replace(r'\W?[Qq]0?', 'Q', regex=True)"),
    (r"q[1-4]\W?[0-9]{4}", "Q", r"{}.str.replace(r'[Qq](\d)\W?(\d+)', r'\2Q\1', regex=True)"),
    (r"[1-4]q(?:[0-9]{2}){1,2}", "Q", "{}"),
    (r"[0-9]{4}-?w[0-9]{2}", "W-SUN", "pd.to_datetime({}.str.replace('-', '') + '7', format='%GW%V%u')"),
)
# Names of columns that hold a part of a date.
PARTS = {
    "year": ("year", "yr", "yyyy"),
    "month": ("month", "mon", "mm"),
    "day": ("day", "dd"),
    "quarter": ("quarter", "qtr", "q"),
    # As in files of the Bureau of Labor Statistics: M01, Q01, and M13 for the year's mean.
    "period": ("period",),
}


def refuse_parts(table: pd.DataFrame, request: Request) -> None:
    """Refuse a table whose year is in one column, and month, quarter or day in others.

    Parameters
    ----------
    table : DataFrame
        The table.
    request : Request
        The call.

    Raises
    ------
    PanelError
        If it is one.
    """
    plain = {str(name).strip().lower(): str(name) for name in table.columns}
    parts = {part: plain[one] for part, names in PARTS.items() for one in names if one in plain}
    if "period" in parts and not table[parts["period"]].astype(str).str.fullmatch("M[0-9]{2}|Q[0-9]{2}").all():
        del parts["period"]
    within = next((part for part in ("month", "quarter", "period") if part in parts), "")
    if "year" not in parts or not within:
        return
    year, texts = (f"frame[{parts[part]!r}].astype(str)" for part in ("year", within))
    used = [parts["year"], parts[within]]
    held = f"frame = {request.read()}" if request.source != "frame" else "frame = frame.copy()"
    if within == "month" and "day" in parts:
        used.append(parts["day"])
        dates = f"pd.to_datetime({year} + '-' + {texts} + '-' + frame[{parts['day']!r}].astype(str), format='%Y-%m-%d')"
    else:
        freq = "M"
        if within == "period":
            freq = str(table[parts["period"]].astype(str).str[0].iloc[0])
            held += f"; frame = frame[frame[{parts['period']!r}] != 'M13']" if freq == "M" else ""
            texts += ".str[1:]"
        if within == "quarter" or freq == "Q":
            freq, texts = "Q", f"'Q' + frame[{parts[within]!r}].astype(str).str[-1]"
        else:
            texts = f"'-' + {texts}"
        dates = f"pd.PeriodIndex({year} + {texts}, freq={freq!r}).to_timestamp(how='end').normalize()"
    cure = f"{held}; frame['date'] = {dates}; frame = {_again(request, f'frame.drop(columns={used})', 'date')}"
    came = f"columns {', '.join(map(repr, used))}"
    raise PanelError(request.call(), "a date is a day, in one column", came, cure)


def refuse_periods(texts: pd.Series, name: str, request: Request) -> None:
    """Refuse texts that all name a period in one way: its first day would be long before its value was known.

    Parameters
    ----------
    texts : Series of str
        The date column.
    name : str
        Its name.
    request : Request
        The call.

    Raises
    ------
    PanelError
        If they do.
    """
    found = [(freq, read) for pattern, freq, read in WRITTEN if texts.str.fullmatch(f"(?i:{pattern})").all()]
    if not found:
        return
    freq, read = found[0]
    held = (
        f"frame = {request.read()}"
        if request.source != "frame"
        else f"frame = frame if {name!r} in frame else frame.rename_axis({name!r}).reset_index()"
    )
    periods = read.format(f"frame[{name!r}].astype(str)")
    cure = (
        f"{held}; frame[{name!r}] = pd.PeriodIndex({periods}, freq={freq!r}).to_timestamp(how='end').normalize(); "
        f"frame = {_again(request, 'frame', name)}"
    )
    if request.other:
        cure = f"{request.call(date=request.other)}, if those are the dates; otherwise {cure}"
    came = f"{texts.iloc[0]!r} in column {name!r}, a {PERIODS[freq]}"
    raise PanelError(request.call(), "a date is a day: of a period, the day on which its value was known", came, cure)


def _again(request: Request, source: str, name: str) -> str:
    """The call on a table whose dates are days, as Python."""
    given = {key: value for key, value in request.given.items() if key in ("columns", "decimal", "thousands")}
    return request._replace(source=source, given=given).call(date=name)
