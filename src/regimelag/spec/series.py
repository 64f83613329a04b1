"""The series of a spec: a column of the data and what is made of it, in each of four roles."""

from __future__ import annotations

import re
import typing
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from regimelag.errors import require, require_choice
from regimelag.runtime.plain import as_plain, is_whole
from regimelag.spec.kernels import Gamma, Kernel, NoLag, Point

Transform = Literal["log_return", "difference", "level", "trailing_gain"]

NO_DELAY = "0D"
# Rows that a driver's change spans by default.
DRIVER_SPAN = 13
# Midnight at the end of a day is written 24:00: 00:00 would be the day's beginning.
CLOSE = re.compile(r"(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00) (?P<zone>\S+)")


@dataclass(frozen=True)
class Series:
    """A variable made from one column of the data, or from one column against another.

    Parameters
    ----------
    name : str
        Name of the variable, used as its coordinate everywhere.
    column : str
        Column of the data frame.
    transform : {"log_return", "difference", "level", "trailing_gain"}
        What is done to the column, on the panel's rows. A trailing gain is the positive part of the log return over
        `periods` rows: zero unless the price stands above where it stood that many rows ago. Signals and controls may
        be trailing gains. Their values overlap, as those of every change over several rows do, which is legal: only
        responses must not overlap.
    periods : int
        Number of rows that a return, gain or difference spans.
    delay : str
        Publication delay as a pandas offset: a value dated d is known at d + delay. "0D" is known at its own close,
        "1B" on the next business day, "W-MON" on the next Monday.
    against : str
        A second column that the column is taken against, on the rows and before the transform. Where the transform
        takes logarithms (log_return, trailing_gain) the level is the ratio column / against, otherwise (difference,
        level) the difference column - against. Both columns stand on the rows by the same rule and with the same
        delay; a row that lacks either has no value. Empty for the column alone.
    close : str
        Local time and zone at which the values of the column are made: "16:00 America/New_York", "24:00 UTC" (the end
        of the day, which 00:00 is not). A value dated d is of that hour on day d; daylight saving follows from the
        zone. It belongs to the column, wherever the spec uses it. Empty if it is not known: then only dates count.
    """

    name: str
    column: str
    transform: Transform = "log_return"
    periods: int = 1
    delay: str = NO_DELAY
    against: str = ""
    close: str = ""

    def __post_init__(self) -> None:
        """Check names, transform, span, delay and close."""
        as_plain(self)
        asked = f"a {type(self).__name__.lower()} named {self.name!r}"
        for name in ("name", "column"):
            value = getattr(self, name)
            require(
                isinstance(value, str) and bool(value.strip()),
                asked,
                f"{name} is a text that is not empty",
                f"{name} = {value!r}",
                f"give {name} a text in quotes",
            )
        require_choice(asked, "transform", self.transform, typing.get_args(Transform))
        require(
            is_whole(self.periods) and self.periods >= 1,
            asked,
            "periods is a whole number of rows, at least 1",
            f"periods = {self.periods!r}",
            "write periods = 1",
        )
        require(
            not (self.transform == "level" and self.periods != 1),
            asked,
            "a level spans one row",
            f"periods = {self.periods}",
            'write periods = 1, or transform = "difference" for the change over that many rows',
        )
        try:
            offset = pd.tseries.frequencies.to_offset(self.delay)
            early = offset is None or pd.Timestamp("2020-01-01") + offset < pd.Timestamp("2020-01-01")
        except (ValueError, TypeError):
            early = True
        require(
            not early,
            asked,
            "delay is a pandas offset that does not look ahead",
            f"delay = {self.delay!r}",
            'write delay = "0D", or if values come out late "1B" (next business day), "W-MON" (next Monday) or "28D"',
        )
        _check_second(self, "against", self.against)
        require(
            _is_close(self.close),
            asked,
            "close is a local time and a time zone by its name, or empty",
            f"close = {self.close!r}",
            'write close = "16:00 America/New_York", or "24:00 UTC" for midnight at the end of the day',
        )

    @property
    def level_columns(self) -> frozenset[str]:
        """Columns of the level before its transform; a level and its inverse have the same."""
        return frozenset({self.column, self.against} - {""})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data frame that the variable is made from, its own first."""
        return (self.column, self.against) if self.against else (self.column,)


def _is_close(close: object) -> bool:
    """Whether this is empty, or a time of day and a zone that the machine knows."""
    match = CLOSE.fullmatch(close) if isinstance(close, str) else None
    if match is None:
        return close == ""
    try:
        zoneinfo.ZoneInfo(match["zone"])
    except (KeyError, ValueError, OSError):
        return False
    return True


def closes_of(series: Iterable[Series], asked: str) -> dict[str, str]:
    """Close of each column whose close is given, by column.

    Raises
    ------
    SpecError
        If two series say different things of one column.
    """
    closes: dict[str, str] = {}
    for one in series:
        if one.close:
            held = closes.setdefault(one.column, one.close)
            came = f"{held!r} and {one.close!r} for column {one.column!r}"
            require(held == one.close, asked, "a column has one close", came, "correct one of them, or leave it out")
    return closes


def _check_second(series: Series, field_name: str, other: str) -> None:
    """Require that a field names no column, or another than the series' own."""
    require(
        isinstance(other, str) and other != series.column and (not other or bool(other.strip())),
        f"a {type(series).__name__.lower()} named {series.name!r}",
        f"{field_name} names another column than column = {series.column!r}, or is empty",
        f"{field_name} = {other!r}",
        f"name another column, or drop {field_name}",
    )


def _check_gain(series: Series, reason: str) -> None:
    """Refuse a trailing gain where it makes no sense."""
    require(
        series.transform != "trailing_gain",
        f"a {type(series).__name__.lower()} named {series.name!r}",
        f"a trailing gain is a signal or a control: {reason}",
        "transform = 'trailing_gain'",
        'write transform = "log_return"',
    )


def _check_slash(series: Signal | Control) -> None:
    """Refuse a name that cannot be part of a variable's name in a file."""
    if isinstance(series.kernel, NoLag) and isinstance(series, Control):
        return
    role = type(series).__name__.lower()
    require(
        "/" not in series.name,
        f"a {role} named {series.name!r}",
        f"a {role}'s name holds no slash: it becomes part of variables' names, which files cannot hold with one",
        f"name = {series.name!r}",
        f"write name = {series.name.replace('/', ' ')!r}; column may keep its slash",
    )


@dataclass(frozen=True)
class Response(Series):
    """A variable to explain: returns of an asset, by default.

    Its value is taken at its own close, and rows do not overlap, so delay and periods stay at their defaults.

    Parameters
    ----------
    name, column, transform, periods, delay, against, close
        See `Series`.
    autoregression : int
        Number p of its own lags in its location, as transformed values of the p rows before, each with a coefficient
        that is pooled towards zero, the later the more: Normal(0, 0.3 / lag). All responses of a model have the same.
    """

    autoregression: int = 0

    def __post_init__(self) -> None:
        """Also refuse a delay, overlapping rows and a gain cut off at zero."""
        super().__post_init__()
        asked = f"a response named {self.name!r}"
        require(
            is_whole(self.autoregression) and self.autoregression >= 0,
            asked,
            "autoregression is a whole number of lags, at least 0",
            f"autoregression = {self.autoregression!r}",
            "write autoregression = 1, or 0 for none",
        )
        _check_gain(self, "a response has losses too")
        require(
            self.delay == NO_DELAY,
            asked,
            "a response has no publication delay: it is explained, not known beforehand",
            f"delay = {self.delay!r}",
            'write delay = "0D", and date prices that come late by the day on which they were made',
        )
        require(
            self.periods == 1,
            asked,
            "returns in the likelihood do not overlap, so a response spans one row",
            f"periods = {self.periods}",
            'write periods = 1; for returns over months or quarters write frequency = "ME" or "QE" in the model',
        )


@dataclass(frozen=True)
class Signal(Series):
    """A variable that the response follows, in the same period and with a lag.

    Parameters
    ----------
    name, column, transform, periods, delay, against, close
        See `Series`.
    contemporaneous : bool
        Whether the response may also answer within the same period (the coefficient that DESIGN calls b0).
    kernel : Kernel
        Lag kernel over 1..max_lag.
    beyond : str
        A column whose part is taken out: the signal is what is left of its transformed value once the other column's
        value, transformed in the same way on the same rows, has explained what it can. That is the residual of a
        least-squares regression with intercept, learned on the window's rows alone and applied to the history before
        them. Empty for the whole signal.
    """

    contemporaneous: bool = True
    kernel: Kernel = field(default_factory=Gamma)
    beyond: str = ""

    def __post_init__(self) -> None:
        """Also refuse a signal that does nothing, or that lies beyond itself."""
        super().__post_init__()
        _check_second(self, "beyond", self.beyond)
        require(
            isinstance(self.contemporaneous, bool),
            f"a signal named {self.name!r}",
            "contemporaneous is true or false",
            f"contemporaneous = {self.contemporaneous!r}",
            "write contemporaneous = false in TOML, or contemporaneous=False in Python",
        )
        require(
            isinstance(self.kernel, Kernel),
            f"a signal named {self.name!r}",
            "kernel is one of regimelag's kernels",
            self.kernel,
            'write kernel = {kind = "gamma"} in TOML, or regimelag.kernels.Gamma() in Python',
        )
        require(
            self.contemporaneous or not isinstance(self.kernel, NoLag),
            f"a signal named {self.name!r}",
            "a signal has a contemporaneous effect, a lag kernel, or both",
            "contemporaneous = false and kernel none",
            "write contemporaneous = true in TOML or contemporaneous=True in Python, or drop the signal",
        )
        _check_slash(self)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data frame that the variable is made from, its own first, each once."""
        return tuple(dict.fromkeys((*super().columns, self.beyond))) if self.beyond else super().columns


@dataclass(frozen=True)
class Driver(Series):
    """A variable that moves the transition probabilities; its value at t - 1 drives the step into t.

    Parameters
    ----------
    name, column, transform, delay, against, close
        See `Series`.
    periods : int, optional
        Number of rows that a change spans: 13 unless given, a quarter of weekly rows. A level spans one.
    """

    transform: Transform = "difference"
    periods: int | None = None  # type: ignore[assignment] # a number from __post_init__ on

    def __post_init__(self) -> None:
        """Fill in the span; also refuse a gain cut off at zero."""
        if self.periods is None:
            object.__setattr__(self, "periods", 1 if self.transform == "level" else DRIVER_SPAN)
        super().__post_init__()
        _check_gain(self, "a driver moves the regimes' probabilities both ways")


@dataclass(frozen=True)
class Control(Series):
    """A variable in the mean, with its value of the same period and one coefficient for all regimes.

    With a kernel its past enters too, as that of a signal does, with one effect for all regimes and episodes. It is
    estimated, reported and forecast, and no claim is made of it: a macroeconomic series that moves both markets, each
    with its own delay, is no longer taken for a response to the signal.

    Parameters
    ----------
    name, column, transform, periods, delay, against, close
        See `Series`.
    kernel : Kernel
        Lag kernel over 1..max_lag; by default there is no lagged term. A point lag is for signals.
    """

    transform: Transform = "difference"
    kernel: Kernel = field(default_factory=NoLag)

    def __post_init__(self) -> None:
        """Also refuse a kernel that is none, or that is marginalised."""
        super().__post_init__()
        asked = f"a control named {self.name!r}"
        require(
            isinstance(self.kernel, Kernel) and not isinstance(self.kernel, Point),
            asked,
            "the kernel of a control is one of regimelag's kernels, without a point lag",
            self.kernel if not isinstance(self.kernel, Kernel) else "a point kernel",
            'write kernel = {kind = "lognormal"} in TOML, or kernel=regimelag.kernels.LogNormal() in Python',
        )
        _check_slash(self)
