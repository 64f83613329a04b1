"""Series of a spec in four roles: a column of the data, its transform and its publication delay."""

from __future__ import annotations

import re
import typing
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd

from regimelag.errors import require, require_choice, require_tuple
from regimelag.runtime.docstrings import with_shared_parameters
from regimelag.runtime.plain import MOST_ROWS, as_plain, is_whole
from regimelag.spec.kernels import Gamma, Kernel, NoLag, Point

Transform = Literal["log_return", "difference", "level", "gain", "loss", "new_high"]
# Not stated, the last value of a period, or its average.
Value = Literal["", "end", "average"]
# Not stated, or the first or last day of the period that a value is of.
Dated = Literal["", "start", "end"]

# Transforms with values of one sign, by that sign.
ONE_SIDED: dict[str, int] = {"gain": 1, "loss": -1, "new_high": 1}

NO_DELAY = "0D"
# Default span of a driver's change, in periods.
DRIVER_SPAN = 13
# 24:00 is midnight at the end of a day; 00:00, at its beginning, is not a close.
CLOSE = re.compile(r"(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00) (?P<zone>\S+)")


@dataclass(frozen=True)
class Series:
    """A variable made from one column of the data, or from one column relative to another.

    Parameters
    ----------
    name : str
        Name of the variable, used as its coordinate everywhere.
    column : str
        Column of the data frame.
    transform : {"log_return", "difference", "level", "gain", "loss", "new_high"}
        Transform of the column at the panel's frequency: the log return over ``periods`` periods, for prices; the
        change over ``periods`` periods, for rates; or the value itself ("level"), for columns that hold returns
        already. A gain is the positive part of the log return, max(r, 0), and a loss the negative part, min(r, 0); they
        sum to the return. A new high is max(log(p[t] / h[t]), 0) with h[t] the highest of the ``periods`` prices before
        p[t]: the distance above the previous high of a trailing window, and zero without a new high. Signals and
        controls may have these three transforms. Values of changes over several periods overlap, which is allowed
        except for responses.
    periods : int
        Number of periods that a return, gain, loss or difference spans, or that the trailing window of a new high has
        (at least 2). A value requires the price at both ends of a change, and every price of a trailing window.
    delay : str
        Publication delay as a pandas offset: a value dated d is known at d + delay. "0D" is known at its own close,
        "1B" on the next business day, "W-MON" on the next Monday.
    against : str
        Second column, applied before the transform: the level is the difference column - against if the transform is
        "difference" or "level", and the ratio column / against otherwise, since the other transforms take logarithms. A
        new high is then one of the ratio. Both columns are aligned by the same rule and with the same delay; a value
        requires both. Empty for the column alone.
    close : str
        Local time and zone at which values of the column are observed: "16:00 America/New_York", or "24:00 UTC" for the
        end of the day (00:00 is its beginning). A value dated d is observed at that time on day d; daylight saving
        follows from the zone. All series of one column share it. Empty if unknown: then only dates are compared.
    value : {"", "end", "average"}
        Whether a value is the last one of its period or the period's average, as FRED's monthly yields are. A response
        or a signal of averages has a spurious lag of one period (Working 1960, doi:10.2307/1907574), of which
        `make_panel` warns. Empty if not stated.
    dated : {"", "start", "end"}
        Whether a date is the first day of the period that the value is of, as in FRED's weekly, monthly and quarterly
        series and in weekly bars, or its last day. With "start" `make_panel` moves values to the last day of their
        period, from which ``delay`` counts. All series of a column share ``value`` and ``dated``. Empty if not stated.
    """

    name: str
    column: str
    transform: Transform = "log_return"
    periods: int = 1
    delay: str = NO_DELAY
    against: str = ""
    close: str = ""
    value: Value = field(default="", kw_only=True)
    dated: Dated = field(default="", kw_only=True)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__doc__ = with_shared_parameters(cls.__doc__, Series.__doc__)

    def __post_init__(self) -> None:
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
        require_choice(asked, "value", self.value, typing.get_args(Value))
        require_choice(asked, "dated", self.dated, typing.get_args(Dated))
        require(
            is_whole(self.periods) and 1 <= self.periods <= MOST_ROWS,
            asked,
            f"periods is a whole number of rows, at least 1 and at most {MOST_ROWS:,}",
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
        require(
            not (self.transform == "new_high" and self.periods == 1),
            asked,
            "the trailing window of a new high has at least 2 periods: above one earlier price, it is a gain",
            "periods = 1",
            'write periods = 52, or transform = "gain"',
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
            is_close(self.close),
            asked,
            "close is a local time and a time zone by its name, or empty",
            f"close = {self.close!r}",
            'write close = "16:00 America/New_York", or "24:00 UTC" for midnight at the end of the day',
        )

    @property
    def level_columns(self) -> frozenset[str]:
        """Columns of the level before its transform; the same for a level and its inverse."""
        return frozenset({self.column, self.against} - {""})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data frame that the variable needs, its main column first."""
        return (self.column, self.against) if self.against else (self.column,)


def is_close(close: object) -> bool:
    """Whether the value is empty, or a time of day and a known zone."""
    match = CLOSE.fullmatch(close) if isinstance(close, str) else None
    if match is None:
        return isinstance(close, str) and not close
    try:
        zoneinfo.ZoneInfo(match["zone"])
    except (KeyError, ValueError, OSError):
        return False
    return True


def public_path(cls: type) -> str:
    """Public location of a part's class: series are at the root, the rest in `regimelag.spec`."""
    return f"regimelag.{cls.__name__}" if issubclass(cls, Series) else f"regimelag.spec.{cls.__name__}"


def closes_of(series: Iterable[Series], asked: str) -> dict[str, str]:
    """Close of each column that has one, by column.

    Raises
    ------
    SpecError
        If two series state different closes for one column.
    """
    closes: dict[str, str] = {}
    for one in series:
        if one.close:
            held = closes.setdefault(one.column, one.close)
            came = f"{held!r} and {one.close!r} for column {one.column!r}"
            require(held == one.close, asked, "a column has one close", came, "correct one of them, or leave it out")
    return closes


def conventions_of(series: Iterable[Series], name: Literal["value", "dated"], asked: str) -> dict[str, str]:
    """Stated convention of the values or the dates of each column, by column.

    Raises
    ------
    SpecError
        If two series state different conventions for one column.
    """
    stated: dict[str, str] = {}
    for one in series:
        for column in one.columns if getattr(one, name) else ():
            held = stated.setdefault(column, getattr(one, name))
            came = f"{name} = {held!r} and {name} = {getattr(one, name)!r} for column {column!r}"
            rule = f"series of one column have one {name}"
            require(held == getattr(one, name), asked, rule, came, f"write {name} = {held!r} for {one.name!r}")
    return stated


def _check_second(series: Series, field_name: str, other: str) -> None:
    """Require that a field is empty or names a column other than the series' own."""
    require(
        isinstance(other, str) and other != series.column and (not other or bool(other.strip())),
        f"a {type(series).__name__.lower()} named {series.name!r}",
        f"{field_name} names another column than column = {series.column!r}, or is empty",
        f"{field_name} = {other!r}",
        f"name another column, or drop {field_name}",
    )


def _check_one_sided(series: Series, reason: str) -> None:
    require(
        series.transform not in ONE_SIDED,
        f"a {type(series).__name__.lower()} named {series.name!r}",
        f"a gain, a loss and a new high are signals or controls: {reason}",
        f"transform = {series.transform!r}",
        'write transform = "log_return"' + (" and periods = 1" if isinstance(series, Response) else ""),
    )


def _made_of(series: Series) -> tuple[object, ...]:
    """Key that two series share if they differ by the transform alone."""
    beyond = series.beyond if isinstance(series, Signal) else ""
    return (series.column, series.against, beyond, series.delay, series.periods)


def gain_and_loss(signals: Iterable[Signal]) -> list[tuple[Signal, Signal]]:
    """Pairs (gain, loss) of signals that are the two parts of one return."""
    signals = list(signals)
    gains, losses = ([one for one in signals if one.transform == kind] for kind in ("gain", "loss"))
    return [(gain, loss) for gain in gains for loss in losses if _made_of(gain) == _made_of(loss)]


def check_parts(covariates: Iterable[Series], asked: str) -> None:
    """Refuse a return and both of its parts in the same period: gain and loss sum to the return.

    Raises
    ------
    SpecError
        With the names of the three.
    """
    kinds: dict[tuple[object, ...], dict[str, str]] = {}
    for one in covariates:
        kinds.setdefault(_made_of(one), {})[one.transform] = one.name
    for held in kinds.values():
        came = ", ".join(f"{held[kind]!r} ({kind})" for kind in ("log_return", "gain", "loss") if kind in held)
        require(
            not {"log_return", "gain", "loss"} <= set(held),
            asked,
            "a return is not in the model beside its gain and its loss, which sum to it",
            came,
            f"drop {held.get('log_return')!r}",
        )


def _check_slash(series: Signal | Control) -> None:
    """Refuse a slash in a name, which variable names in a file cannot contain."""
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
    """A variable to explain, by default the log returns of an asset.

    It is observed at its own close and its values do not overlap, so ``delay`` and ``periods`` keep their defaults.

    Parameters
    ----------
    name, column, transform, periods, delay, against, close, value, dated
        See `Series`.
    autoregression : int
        Number p of own lags in the location. The coefficient of lag l has the prior Normal(0, 0.3 / l). All responses
        of a model have the same p.
    """

    autoregression: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = f"a response named {self.name!r}"
        require(
            is_whole(self.autoregression) and 0 <= self.autoregression <= MOST_ROWS,
            asked,
            f"autoregression is a whole number of lags, at least 0 and at most {MOST_ROWS:,}",
            f"autoregression = {self.autoregression!r}",
            "write autoregression = 1, or 0 for none",
        )
        _check_one_sided(self, "a response both rises and falls")
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
    """The predictor whose lagged effect on the response is estimated.

    Parameters
    ----------
    name, column, transform, periods, delay, against, close, value, dated
        See `Series`.
    contemporaneous : bool
        Whether the signal also has a coefficient in the same period.
    kernel : Kernel
        Lag kernel over 1..max_lag.
    beyond : str
        A column to which the signal is orthogonalised: the signal becomes the residual of a least-squares regression
        with intercept of its transformed value on that column's, transformed in the same way: of a gain on the other
        column's gain. The regression is estimated on the window and also applied to the history before it. Empty for
        no orthogonalisation.
    moderators : tuple of str
        Names of drivers or indicators on which the lagged effect depends, as published by the period before. They also
        enter the mean by themselves. All moderated signals of a model have the same.
    """

    contemporaneous: bool = True
    kernel: Kernel = field(default_factory=Gamma)
    beyond: str = ""
    moderators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
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
        self._check_moderators(f"a signal named {self.name!r}")
        _check_slash(self)

    def _check_moderators(self, asked: str) -> None:
        require_tuple(asked, "moderators", self.moderators)
        twice = sorted({str(name) for name in self.moderators if self.moderators.count(name) > 1})
        came, cure = f"{', '.join(twice)} given twice", f"write moderators = {list(dict.fromkeys(self.moderators))}"
        require(not twice, asked, "moderators differ", came, cure)
        rule = "moderators are those of a lagged effect, which a signal without a lag kernel does not have"
        came = f"moderators = {list(self.moderators)} and kernel none"
        require(not (self.moderators and isinstance(self.kernel, NoLag)), asked, rule, came, "write moderators = []")

    def without_lag(self) -> Signal:
        """The signal with its same-period term alone."""
        return replace(self, kernel=NoLag(), moderators=())

    @property
    def columns(self) -> tuple[str, ...]:
        """Distinct columns of the data frame that the variable needs, its main column first."""
        return tuple(dict.fromkeys((*super().columns, self.beyond))) if self.beyond else super().columns


@dataclass(frozen=True)
class Driver(Series):
    """A covariate of the transition probabilities; its value at t - 1 enters the step into t.

    It may also be a moderator of effects, by itself or in an indicator.

    Parameters
    ----------
    name, column, transform, delay, against, close, value, dated
        See `Series`.
    periods : int, optional
        Number of periods that a change spans; 13 by default, a quarter of weekly data. A level spans one.
    drives : bool
        Whether it enters the transition probabilities; False for a driver of moderators and indicators alone.
    """

    transform: Transform = "difference"
    periods: int | None = None  # type: ignore[assignment] # a number from __post_init__ on
    drives: bool = True

    def __post_init__(self) -> None:
        if self.periods is None:
            level = isinstance(self.transform, str) and self.transform == "level"
            object.__setattr__(self, "periods", 1 if level else DRIVER_SPAN)
        super().__post_init__()
        _check_one_sided(self, "a driver moves the regimes' probabilities both ways")
        asked, came = f"a driver named {self.name!r}", f"drives = {self.drives!r}"
        cure = "write drives = false in TOML, or drives=False in Python"
        require(isinstance(self.drives, bool), asked, "drives is true or false", came, cure)


@dataclass(frozen=True)
class Control(Series):
    """A covariate of the mean, in the same period, with one coefficient for all regimes.

    With a kernel it also has a lagged effect, equal in all regimes and episodes. The effect is estimated, reported and
    forecast, but no claim is made about it. Use one for a common cause, such as a macroeconomic series that affects
    signal and response with different delays.

    Parameters
    ----------
    name, column, transform, periods, delay, against, close, value, dated
        See `Series`.
    kernel : Kernel
        Lag kernel over 1..max_lag; by default there is no lagged term. Point kernels are refused.
    """

    transform: Transform = "difference"
    kernel: Kernel = field(default_factory=NoLag)

    def __post_init__(self) -> None:
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
