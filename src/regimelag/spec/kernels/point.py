"""Point kernel: the whole lagged response at one unknown lag."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from regimelag.errors import require
from regimelag.runtime.plain import is_number
from regimelag.spec.kernels.base import LagKernel, lags
from regimelag.spec.kernels.location_scale import gamma_weights
from regimelag.spec.priors import Prior

Array = Any


@dataclass(frozen=True)
class Point(LagKernel):
    """One unknown lag: categorical over 1..L, marginalised exactly.

    The lag is not sampled by NUTS, so its posterior keeps all modes (Celeux, Hurn & Robert 2000,
    doi:10.1080/01621459.2000.10474285). Each posterior draw contains a draw of the lag, and the probability of every
    lag given the other parameters of that draw.

    Parameters
    ----------
    mean_lag, spread : float
        Mean and standard deviation of the gamma prior masses before truncation to 1..L, in periods.
    masses : tuple of float
        Prior masses of the lags 1..L in place of the gamma masses; they are normalised.
    by_regime : bool
        Whether each regime has its own, independent lag.
    """

    kind: ClassVar[str] = "point"
    latex: ClassVar[str] = r"w_l = 1 \text{ if } l = \lambda \text{, else } 0"
    symbols: ClassVar[Mapping[str, str]] = {"point": r"\lambda"}
    words: ClassVar[Mapping[str, str]] = {"point": "the lag, in periods"}

    spread: float = 6.0
    masses: tuple[float, ...] = ()
    by_regime: bool = False

    def validate(self, max_lag: int) -> None:
        """Require one non-negative mass per lag with a positive sum, or a valid mean lag and spread."""
        if not self.masses:
            super().validate(max_lag)
        numbers = isinstance(self.masses, tuple) and all(map(is_number, self.masses))
        require(
            numbers,
            "a point kernel",
            "masses are finite numbers",
            f"masses = {self.masses!r}",
            "write masses = [1.0, 2.0, ...], one for each lag, or leave masses out",
        )
        fits = not self.masses or (len(self.masses) == max_lag and min(self.masses) >= 0 and sum(self.masses) > 0)
        require(
            fits,
            "a point kernel",
            f"masses has one entry for each of the {max_lag} lags, none negative and some positive",
            f"{len(self.masses)} entries from {min(self.masses, default=0):g} to {max(self.masses, default=0):g}",
            f"give masses {max_lag} numbers above zero, or leave masses out for a hump with mean_lag and spread",
        )
        require(
            isinstance(self.by_regime, bool),
            "a point kernel",
            "by_regime is true or false",
            f"by_regime = {self.by_regime!r}",
            "write by_regime = true in TOML, or by_regime=True in Python",
        )

    def names(self, max_lag: int) -> tuple[str, ...]:  # noqa: ARG002
        """The lag itself, which is not a sampled parameter."""
        return ("point",)

    def priors(self, max_lag: int) -> dict[str, Prior]:  # noqa: ARG002
        """Empty, as no parameter is sampled."""
        return {}

    def prior_masses(self, max_lag: int) -> np.ndarray:
        """Prior probability of each lag (lag)."""
        if self.masses:
            return np.asarray(self.masses, dtype=float) / np.sum(self.masses)
        return gamma_weights(np.float64(self.mean_lag), np.float64(self.spread), max_lag, np)

    def weights(self, parameters: Mapping[str, Array], max_lag: int, xp: Any = np) -> Array:  # noqa: ARG002
        """One at the lag, zero elsewhere (..., lag)."""
        return (np.asarray(parameters["point"])[..., None] == lags(max_lag)).astype(float)


def combinations(kernels: Sequence[Point], regimes: int, max_lag: int) -> tuple[np.ndarray, np.ndarray]:
    """All combinations of the lags of point kernels, and the log of their prior masses.

    Parameters
    ----------
    kernels : sequence of Point
        One per signal.
    regimes : int
        Number of regimes.
    max_lag : int
        L.

    Returns
    -------
    lags : int array (combination, kernel, regime)
        Lag of each signal and regime; equal across regimes unless the kernel has ``by_regime``.
    log_mass : array (combination)
        Log prior masses; they sum to one.
    """
    free = [regimes if kernel.by_regime else 1 for kernel in kernels]
    each = np.array(list(itertools.product(range(max_lag), repeat=sum(free))), dtype=np.int64).reshape(-1, sum(free))
    found, log_mass, place = [], np.zeros(len(each)), 0
    for kernel, count in zip(kernels, free, strict=True):
        mine = each[:, place : place + count]
        with np.errstate(divide="ignore"):
            log_mass = log_mass + np.log(kernel.prior_masses(max_lag))[mine].sum(axis=1)
        found.append(np.broadcast_to(mine + 1, (len(each), regimes)))
        place += count
    return np.stack(found, axis=1), log_mass
