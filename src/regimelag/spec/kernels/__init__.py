"""Lag kernels, and the registry of their kinds."""

from regimelag.spec.kernels.base import Kernel, LagKernel, NoLag, lags, log_normal, softmax
from regimelag.spec.kernels.by_lag import Dirichlet, RandomWalkKernel, Smooth, Unrestricted, random_walk
from regimelag.spec.kernels.location_scale import (
    Beta,
    Gamma,
    LocationScaleKernel,
    LogNormal,
    NegativeBinomial,
    gamma_weights,
)
from regimelag.spec.kernels.point import Point, combinations
from regimelag.spec.priors import Prior

__all__ = [
    "KERNELS",
    "Beta",
    "Dirichlet",
    "Gamma",
    "Kernel",
    "LagKernel",
    "LocationScaleKernel",
    "LogNormal",
    "NegativeBinomial",
    "NoLag",
    "Point",
    "Prior",
    "RandomWalkKernel",
    "Smooth",
    "Unrestricted",
    "combinations",
    "gamma_weights",
    "lags",
    "log_normal",
    "random_walk",
    "softmax",
]

KERNELS: dict[str, type[Kernel]] = {
    cls.kind: cls for cls in (Gamma, LogNormal, NegativeBinomial, Beta, Dirichlet, Smooth, Unrestricted, Point, NoLag)
}
