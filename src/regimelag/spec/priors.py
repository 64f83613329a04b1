"""Prior scales of a model."""

from __future__ import annotations

from dataclasses import dataclass, fields

from regimelag.errors import require, require_positive
from regimelag.runtime.plain import as_plain


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
