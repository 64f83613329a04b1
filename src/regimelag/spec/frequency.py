"""Frequencies of a panel, and the supported one nearest to another."""

from __future__ import annotations

import re

FREQUENCY = re.compile(r"D|B|ME|QE|trading|W-(MON|TUE|WED|THU|FRI|SAT|SUN)")
# Aliases of each frequency: pandas offsets and words.
MEANT = {
    "W-FRI": "WEEK WEEKS WEEKLY",
    "W-SUN": "W",
    "D": "D DAY DAYS DAILY",
    "B": "B C BD BDAY BUSINESS",
    "trading": "TRADING SESSION SESSIONS",
    "ME": "M MS ME BM BMS BME CBMS CBME SM SMS SME MONTH MONTHS MONTHLY",
    "QE": "Q QS QE BQ BQS BQE QUARTER QUARTERS QUARTERLY",
    "years": "Y A YS YE AS BY BA BYS BYE BAS YEAR YEARS YEARLY ANNUAL ANNUALLY",
    "parts of a day": "H BH T S MIN L U N MS US NS HOUR HOURS HOURLY MINUTE MINUTES SECOND SECONDS",
}


def nearest_frequency(frequency: object) -> str:
    """Quoted supported frequency nearest to a refused one, with the reason if they differ."""
    text = str(frequency).strip()
    week = re.fullmatch(r"\d*(W-(?:MON|TUE|WED|THU|FRI|SAT|SUN))[A-Z]*", text.upper())
    if week:
        return f'"{week[1]}"'
    match = re.fullmatch(r"(\d*)\s*([A-Za-z]+)(?:[-_ ].*)?", text)
    count, unit = match.groups() if match else ("", "")
    small = "parts of a day" if unit in ("ms", "us", "ns", "min", "s", "h") else ""
    near = small or next((name for name, others in MEANT.items() if unit.upper() in others.split()), "W-FRI")
    if near == "years":
        return '"QE": a row spans a quarter at most'
    if near == "parts of a day":
        return '"D", and keep one observation a day: a row spans a day at least'
    if near in ("ME", "QE"):
        return f'"{near}": rows are dated by the last day of their {"month" if near == "ME" else "quarter"}'
    if near == "D" and count == "7":
        return '"W-FRI"'
    return f'"{near}"'


def period_name(frequency: str) -> str:
    """Unit of a lag in words, such as weeks."""
    return {"W": "weeks", "D": "days", "B": "trading days", "t": "trading days", "M": "months", "Q": "quarters"}.get(
        frequency[:1], "periods"
    )


def count_of_periods(count: int, frequency: str) -> str:
    """A number of periods in words, such as 26 weeks."""
    periods = period_name(frequency)
    return f"{count} {periods.removesuffix('s') if count == 1 else periods}"
