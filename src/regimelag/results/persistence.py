"""Unexplained persistence: serially correlated residuals, and levels close to a unit root.

Independent persistent series appear related: Granger & Newbold (1974), doi:10.1016/0304-4076(74)90034-7, Phillips
(1986), doi:10.1016/0304-4076(86)90001-1. The verdict is withheld in either case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import special, stats

from regimelag.results.lags import companion_root
from regimelag.results.pit import one_step_pit
from regimelag.results.view import View
from regimelag.spec import names as nm
from regimelag.spec.series import Response, Signal

LAGS = 8
# Probability that each of the two statistics exceeds its limit without serial correlation.
PASSED = 0.005
FIRST_LIMIT, JOINT_LIMIT = float(stats.norm.isf(PASSED / 2)), float(stats.chi2.isf(PASSED, LAGS))
# Lag-1 autocorrelation above which a series is close to a unit root.
UNIT_ROOT = 0.9
# Largest probability of an explosive autoregression with which a claim is allowed.
MOST_EXPLOSIVE = 0.05
# Number of pairs at a lag from which on the limits are valid.
LEAST_PAIRS = 20
# Number of draws per chain to average the PIT over.
ENOUGH = 100
# The PIT is clipped, since zero and one have no normal quantile.
SMALLEST = 1e-12


class Serial(NamedTuple):
    """Serial correlation of the one-step-ahead residuals of one response.

    Attributes
    ----------
    first : float
        Robust autocorrelation at lag 1, approximately standard normal without serial correlation; NaN for too few rows.
    joint : float
        Sum of squared robust autocorrelations at lags 1 to 8, approximately chi-squared with 8 degrees of freedom.
    """

    first: float
    joint: float

    @property
    def found(self) -> bool:
        """Whether either statistic exceeds its 0.5 % limit."""
        return abs(self.first) > FIRST_LIMIT or self.joint > JOINT_LIMIT


def robust_autocorrelations(residual: np.ndarray, lags: int = LAGS) -> np.ndarray:
    """Autocorrelations r_k = sum u[t] u[t-k] / sqrt(sum u[t]^2 u[t-k]^2) of centred residuals u, for k = 1..lags.

    Parameters
    ----------
    residual : ndarray
        Residuals (time), NaN where missing; pairs with a missing one are dropped.
    lags : int
        Largest lag.

    Returns
    -------
    ndarray
        (lag). Each is approximately standard normal without serial correlation, also under heteroscedasticity, since
        the denominator does not assume independent squares. NaN for lags with fewer than 20 pairs.

    Notes
    -----
    Under GARCH and stochastic volatility the Ljung-Box test rejects in 5 to 10 % of series at a nominal 1 %, these
    statistics in about 1 %.
    """
    u = residual - np.nanmean(residual) if np.isfinite(residual).any() else residual
    found = np.full(lags, np.nan)
    for k in range(1, lags + 1):
        product = u[k:] * u[:-k]
        product = product[np.isfinite(product)]
        if len(product) >= LEAST_PAIRS:
            found[k - 1] = product.sum() / np.sqrt((product**2).sum())
    return found


def serial_correlation(residual: np.ndarray) -> Serial:
    """Both statistics of residuals (time)."""
    r = robust_autocorrelations(residual)
    return Serial(float(r[0]), float((r**2).sum()))


def residual_scores(idata: xr.DataTree) -> xr.DataArray:
    """Centred normal scores of one-step-ahead residuals (time, response); NaN where the response is missing.

    They are normal quantiles of the PIT averaged over draws. With 100 draws per chain their Monte Carlo error is about
    0.01.
    """
    view = View.of(idata)
    some = view.few(ENOUGH)
    pit = some.read(one_step_pit)
    scores = xr.apply_ufunc(special.ndtri, pit.clip(SMALLEST, 1 - SMALLEST))
    return scores - scores.mean(nm.TIME)


def lag_one_autocorrelation(values: np.ndarray) -> float:
    """Lag-1 autocorrelation of values (time), over observed pairs; NaN for too few."""
    pairs = np.stack([values[1:], values[:-1]])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < LEAST_PAIRS or not pairs.std(axis=1).all():
        return np.nan
    return float(np.corrcoef(pairs)[0, 1])


class Persistence(NamedTuple):
    """Persistence in a fit.

    Attributes
    ----------
    serial : dict of str to Serial
        Serial correlation of the residuals of each response.
    responses, signals : dict of str to float
        Lag-1 autocorrelation of each response and signal after its transform.
    explosive : dict of str to float
        For responses with autoregression, the probability that the largest companion root exceeds one.
    """

    serial: dict[str, Serial]
    responses: dict[str, float]
    signals: dict[str, float]
    explosive: Mapping[str, float] = MappingProxyType({})

    @property
    def plain(self) -> dict[str, dict[str, float | None]]:
        """Statistics by response for attributes; None for too few rows."""
        found = {
            name: {"r_1": one.first, "r_1^2 + ... + r_8^2": one.joint, "autocorrelation": self.responses[name]}
            for name, one in self.serial.items()
        }
        return {
            name: {key: value if np.isfinite(value) else None for key, value in numbers.items()}
            for name, numbers in found.items()
        }


def persistence(idata: xr.DataTree) -> Persistence:
    """Serial correlation of a fit's one-step-ahead residuals, and lag-1 autocorrelation of its responses and signals.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    Persistence
    """
    view = View.of(idata)
    scores, panel = view.read(residual_scores), view.panel
    names = [str(name) for name in panel[nm.RESPONSE].to_numpy()]
    columns = zip(names, panel[nm.RESPONSE_VALUE].to_numpy().T, strict=True)
    signals = zip(map(str, panel[nm.SIGNAL].to_numpy()), panel[nm.SIGNAL_VALUE].to_numpy().T, strict=True)
    return Persistence(
        serial={name: serial_correlation(scores.sel({nm.RESPONSE: name}).to_numpy()) for name in names},
        responses={name: lag_one_autocorrelation(values) for name, values in columns},
        signals={name: lag_one_autocorrelation(values) for name, values in signals},
        explosive=_explosive(view.parameters()) if view.spec.autoregression else {},
    )


def _explosive(parameters: xr.Dataset) -> dict[str, float]:
    coefficients = parameters[nm.AUTOREGRESSION].transpose(nm.RESPONSE, ..., nm.OWN_LAG)
    roots = companion_root(coefficients.to_numpy())
    return {str(name): float((own > 1).mean()) for name, own in zip(coefficients[nm.RESPONSE].data, roots, strict=True)}


def unexplained(found: Persistence, response: Response, signal: Signal | None) -> Iterator[str]:
    """Reasons why no effect of a signal on a response may be claimed, with cures; empty if there are none.

    Without a signal, the reasons that concern the response only.
    """
    serial = found.serial[response.name]
    near = signal is not None and not _own(response, signal) and _near(found, response, signal)
    if serial.found:
        said = f"The one-step-ahead residuals of {response.name} are serially correlated: {_numbers(serial)}. "
        said += "Unrelated persistent series then look related."
        yield said if near else f"{said} {_cure(found, response)}"
    if found.explosive.get(response.name, 0.0) > MOST_EXPLOSIVE:
        yield (
            f"The own past of {response.name} may not die out: its largest companion root exceeds 1 with probability "
            f"{found.explosive[response.name]:.2f}, where {MOST_EXPLOSIVE:g} is the limit. "
            f"{'' if near else _sentence(_less_persistent(response))}"
        ).rstrip()
    if near and signal is not None:
        pair = found.responses[response.name], found.signals[signal.name]
        yield (
            f"{response.name} and {signal.name} are both close to a unit root: lag-1 autocorrelations of "
            f"{pair[0]:.3f} and {pair[1]:.3f}, where {UNIT_ROOT:g} is the limit. Unrelated random walks then look "
            f"related. {_sentence(' and '.join(_less_persistent(one) for one in (response, signal)))}"
        )


def describe_persistence(found: Persistence) -> Iterator[str]:
    """Sentences on the statistics of each response, whether above a limit or not."""
    for name, serial in found.serial.items():
        if np.isfinite(serial.joint):
            yield (
                f"One-step-ahead residuals of {name}: {_numbers(serial)}; lag-1 autocorrelation of {name} itself "
                f"{found.responses[name]:.2f}."
            )


def _numbers(serial: Serial) -> str:
    return (
        f"r_1 = {serial.first:.1f} (limit {FIRST_LIMIT:.1f} in size), r_1^2 + ... + r_{LAGS}^2 = {serial.joint:.1f} "
        f"(limit {JOINT_LIMIT:.1f})"
    )


def _near(found: Persistence, response: Response, signal: Signal) -> bool:
    return min(found.responses[response.name], found.signals[signal.name]) > UNIT_ROOT


def _own(response: Response, signal: Signal) -> bool:
    """Whether the signal is an own lag of the response."""
    return response.level_columns == signal.level_columns


def _cure(found: Persistence, response: Response) -> str:
    """Cure: a spec whose residuals may be uncorrelated. All responses of a model have the same autoregression.

    Differencing a series far from a unit root would itself cause serial correlation.
    """
    whose = "every response" if len(found.responses) > 1 else f"the response {response.name}"
    own = f"write autoregression = {response.autoregression + 1} for {whose}"
    root = response.transform == "level" and found.responses[response.name] > UNIT_ROOT
    return _sentence(f"{own}, or {_less_persistent(response)}" if root else own)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _less_persistent(series: Response | Signal) -> str:
    """Cure: a transform that removes the unit root of a series."""
    whose = f"the {'response' if isinstance(series, Response) else 'signal'} {series.name}"
    if series.transform == "level":
        return f'write transform = "difference" for {whose}'
    if series.transform == "new_high":
        return f'write transform = "gain" and periods = 1 for {whose}'
    if series.periods > 1:
        return f"write periods = 1 for {whose}"
    return f"give the differences of the column {series.column} for {whose}"
