"""Lag kernels, and what a kernel of one's own is made of."""

# What is not in __all__ is for writing a kernel; docs/new_kernel.md says how.
from regimelag.spec.kernels import (  # noqa: F401
    KERNELS,
    Beta,
    Dirichlet,
    Gamma,
    Kernel,
    LagKernel,
    LocationScaleKernel,
    LogNormal,
    NegativeBinomial,
    NoLag,
    Point,
    Prior,
    Smooth,
    Unrestricted,
    lags,
    log_normal,
    softmax,
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
