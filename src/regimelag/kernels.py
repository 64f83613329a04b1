"""Lag kernels, and what a kernel of one's own is made of."""

from regimelag.spec.kernels import (
    KERNELS,
    Beta,
    Dirichlet,
    Gamma,
    Kernel,
    LogNormal,
    NegativeBinomial,
    NoLag,
    Point,
    Smooth,
    Unrestricted,
)

__all__ = [
    "KERNELS",
    "Beta",
    "Dirichlet",
    "Gamma",
    "Kernel",
    "LogNormal",
    "NegativeBinomial",
    "NoLag",
    "Point",
    "Smooth",
    "Unrestricted",
]
