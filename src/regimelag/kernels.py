"""Lag kernels, and the base classes for kernels of your own."""

# Names not in __all__ are for user-defined kernels; see docs/new_kernel.md.
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
