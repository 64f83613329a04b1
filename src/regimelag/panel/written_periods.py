"""Dates that name a month, a quarter, a year or a week, which `read_series` refuses: a date is a day."""

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
        f"frame = read_series(frame, date={name!r})"
    )
    came = f"{texts.iloc[0]!r} in column {name!r}, a {PERIODS[freq]}"
    raise PanelError(request.call(), "a date is a day: of a period, the day on which its value was known", came, cure)
