"""What a model has besides its series: episodes, regimes and priors."""

from __future__ import annotations

import datetime as dt
import typing
from dataclasses import dataclass, fields
from typing import Literal

from regimelag.errors import require, require_choice, require_choices, require_positive, require_tuple
from regimelag.plain import as_plain, is_whole

Initial = Literal["uniform", "stationary", "dirichlet"]

REGIME_NAMES = {1: ("all weather",), 2: ("calm", "turbulent"), 3: ("calm", "middle", "turbulent")}


@dataclass(frozen=True)
class Episodes:
    """Stretches of time over which scale and effects may differ.

    Parameters
    ----------
    starts : tuple of date
        First day of each episode but the first, ascending. Episodes with no row in the window drop out.
    names : tuple of str
        One name per episode, the one before the first start included; generated from the dates if empty.
    vary : tuple of {"scale", "effect", "lag"}
        What differs between episodes, pooled. With "lag" the location of a kernel differs; kernels without a location
        and point lags are refused.
    """

    starts: tuple[dt.date, ...] = ()
    names: tuple[str, ...] = ()
    vary: tuple[Literal["scale", "effect", "lag"], ...] = ("scale", "effect")

    def __post_init__(self) -> None:
        """Check order, names and what varies."""
        as_plain(self)
        asked = "episodes"
        require_tuple(asked, "starts", self.starts)
        require_tuple(asked, "names", self.names)
        for start in self.starts:
            require(
                isinstance(start, dt.date) and not isinstance(start, dt.datetime),
                asked,
                "starts are dates",
                start,
                "write 2012-11-28 without quotes in TOML, or datetime.date(2012, 11, 28)",
            )
        require(
            all(a < b for a, b in zip(self.starts, self.starts[1:], strict=False)),
            asked,
            "starts ascend and none is given twice",
            ", ".join(str(s) for s in self.starts),
            "sort them and drop repeats",
        )
        if self.names:
            require(
                len(self.names) == len(self.starts) + 1 and len(set(self.names)) == len(self.names),
                asked,
                f"there are {len(self.starts) + 1} different names, one more than starts",
                f"{len(self.names)} names: {', '.join(map(str, self.names))}",
                "name the period before the first start too, or leave names out",
            )
        require_choices(asked, "vary", self.vary, ("scale", "effect", "lag"))

    def labels(self) -> tuple[str, ...]:
        """One name per episode, the first included."""
        if self.names:
            return self.names
        if not self.starts:
            return ("all",)
        return (f"before {self.starts[0]}", *(f"from {start}" for start in self.starts))


@dataclass(frozen=True)
class Regimes:
    """The hidden chain.

    Parameters
    ----------
    count : int
        Number of regimes, ordered by volatility.
    names : tuple of str
        Their names, from the least volatile up; by default what they are (calm, turbulent).
    initial : {"uniform", "stationary", "dirichlet"}
        Law of the first regime: equal probabilities, the stationary law of the first transition matrix, or free with a
        flat Dirichlet prior.
    """

    count: int = 2
    names: tuple[str, ...] = ()
    initial: Initial = "uniform"

    def __post_init__(self) -> None:
        """Check count, names and initial law."""
        as_plain(self)
        require(
            is_whole(self.count) and self.count >= 1,
            "regimes",
            "count is a whole number, at least 1",
            f"count = {self.count!r}",
            "write count = 2 in [regimes], or regimes=regimelag.Regimes(count=2) in Python",
        )
        require_choice("regimes", "initial", self.initial, typing.get_args(Initial))
        require_tuple("regimes", "names", self.names)
        if self.names:
            require(
                len(self.names) == self.count and len(set(self.names)) == self.count,
                "regimes",
                f"there are {self.count} different names, one per regime",
                f"{len(self.names)} names: {', '.join(map(str, self.names))}",
                "name each regime once, from the least volatile up, or leave names out",
            )

    def labels(self) -> tuple[str, ...]:
        """One name per regime, from the least volatile up."""
        default = REGIME_NAMES.get(self.count, tuple(f"volatility {k + 1}" for k in range(self.count)))
        return self.names or default


@dataclass(frozen=True)
class Priors:
    """Prior scales.

    Coefficients are in standard deviations of the response per standard deviation of the other variable.

    Parameters
    ----------
    intercept_sd : float
        Normal prior of each regime's mean, in standard deviations of the response.
    contemporaneous_sd, control_sd : float
        Normal priors of same-period coefficients.
    effect_sd : float
        Normal prior of the cumulative lagged effect.
    effect_regime_sd, effect_episode_sd, effect_response_sd : float
        Scales of the half-normal priors of the deviations' standard deviation over regimes, episodes and responses.
    lag_episode_sd, lag_response_sd : float
        The same for deviations of the log location of a kernel.
    scale_median, scale_log_sd : float
        Log-normal prior of the residual scale, in standard deviations of the response.
    scale_gap, scale_gap_log_sd : float
        Log-normal prior (median, log standard deviation) of the gap in log scale between neighbouring regimes.
    scale_episode_sd : float
        Sigma of the sum-to-zero normal prior of the episodes' log scales. (Each entry of such a prior over n entries
        has standard deviation sigma * sqrt(1 - 1 / n).)
    tail_shape, tail_rate : float
        Gamma prior of the degrees of freedom minus two.
    correlation_eta : float
        Shape of the LKJ prior of the residuals' correlation between responses; one is uniform, more draws it to none.
    expected_duration, expected_duration_log_sd : float or tuple of float, float
        A regime's expected duration minus one, in periods, with all drivers at their mean, is log-normal with median
        ``expected_duration - 1`` and this log standard deviation; one duration for all regimes, or a tuple with one for
        each. Stored as a tuple.
    leave_sd : float
        Sigma of the sum-to-zero normal prior of the log weights of the regimes to go to (three regimes or more).
    driver_sd : float
        Sigma of the sum-to-zero normal prior of what one standard deviation of a driver adds to the log weight of each
        destination in the softmax. The change in the log odds between two regimes is the difference of two of these:
        its prior standard deviation is sqrt(2) * driver_sd, however many regimes there are.
    origin_sd : float
        Scale of the half-normal prior of how far origins differ in that; zero for not at all.
    """

    intercept_sd: float = 0.3
    contemporaneous_sd: float = 0.5
    control_sd: float = 0.5
    effect_sd: float = 0.5
    effect_regime_sd: float = 0.25
    effect_episode_sd: float = 0.25
    effect_response_sd: float = 0.25
    lag_episode_sd: float = 0.3
    lag_response_sd: float = 0.3
    scale_median: float = 0.8
    scale_log_sd: float = 0.5
    scale_gap: float = 0.8
    scale_gap_log_sd: float = 0.4
    scale_episode_sd: float = 0.4
    tail_shape: float = 2.0
    tail_rate: float = 0.1
    correlation_eta: float = 2.0
    expected_duration: float | tuple[float, ...] = (20.0,)
    expected_duration_log_sd: float = 1.0
    leave_sd: float = 1.0
    driver_sd: float = 0.7
    origin_sd: float = 0.0

    def __post_init__(self) -> None:
        """Check that scales are positive and durations exceed one period."""
        as_plain(self)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "expected_duration":
                require(value != (), "priors", "expected_duration is not empty", "()", "write expected_duration = 20.0")
                for duration in value if isinstance(value, tuple) else (value,):
                    require_positive("priors", item.name, duration, least=1.0)
            elif item.name == "origin_sd":
                require_positive("priors", item.name, value, least=-1e-300)
            else:
                require_positive("priors", item.name, value)
