"""LKJ prior of the residual correlation of several responses.

The density is proportional to ``det(R) ** (eta - 1)``, Lewandowski, Kurowicka & Joe (2009) [1]_. The parameters are
partial correlations p[i,j], i < j, of responses i and j given those before i. They are independent, all values in (-1,
1) give a correlation matrix, and (p[i,j] + 1) / 2 ~ Beta(b, b), b = eta + (n - 2 - i) / 2 for n responses. Forward
draws need only Beta variables, and a sampler only an interval transform. `pymc.LKJCorr` has the same distribution, but
draws in a loop and has a Cholesky factor with constant entries as its variable.

References
----------
.. [1] Lewandowski, D., Kurowicka, D., & Joe, H. (2009). doi:10.1016/j.jmva.2009.04.008
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.transforms import Interval

from regimelag.likelihood.linear import linear_map

Tensor = Any


def residual_correlation(name: str, size: int, eta: float) -> Tensor:
    """Correlation matrix with an LKJ prior, in the model on the context stack.

    Parameters
    ----------
    name : str
        The free variable is named ``{name}_partial``.
    size : int
        Number of responses, at least 2.
    eta : float
        Positive shape: 1 for the uniform distribution, larger values for weaker correlation. Each entry r of the matrix
        has (r + 1) / 2 ~ Beta(b, b), b = eta + (size - 2) / 2.

    Returns
    -------
    tensor (response, response)
        The matrix. The free variable has size (size - 1) / 2 partial correlations in the order of `numpy.triu_indices`;
        for two responses it is the correlation.
    """
    first, _ = np.triu_indices(size, 1)
    shape = eta + (size - 2 - first) / 2
    partial = pm.CustomDist(
        f"{name}_partial",
        shape,
        dist=_partial,
        logp=_partial_logp,
        shape=len(shape),
        default_transform=Interval(-1.0, 1.0),
    )
    return _matrix(partial, size)


def _partial(shape: Tensor, size: Tensor) -> Tensor:
    return 2.0 * pm.Beta.dist(shape, shape, size=size) - 1.0


def _partial_logp(value: Tensor, shape: Tensor) -> Tensor:
    """Log density, proportional to ``(1 - value ** 2) ** (shape - 1)``; a smaller graph than PyMC's."""
    log_total = (2.0 * shape - 1.0) * math.log(2.0) + 2.0 * pt.gammaln(shape) - pt.gammaln(2.0 * shape)
    return (shape - 1.0) * pt.log1p(-(value**2)) - log_total


def _matrix(partial: Tensor, size: int) -> Tensor:
    """Correlations from partial correlations, by removing one conditioning response after another.

    If r[i,j] is the correlation given the responses up to m, ``r[i,j] sqrt((1 - p[m,i]^2) (1 - p[m,j]^2)) + p[m,i]
    p[m,j]`` is that given the responses before m. With p[m,m] = 1 this also holds for i = m. The recursion starts with
    the last two responses.
    """
    first, second = np.triu_indices(size, 1)
    pairs = np.arange(len(first))
    pair = np.zeros((len(pairs), size, size))
    pair[pairs, first, second] = pair[pairs, second, first] = 1.0
    last = pair * (first == size - 2)[:, None, None]
    matrix = linear_map(last.reshape(len(pairs), -1), partial).reshape((size, size)) + np.eye(size)
    for m in reversed(range(size - 2)):
        below = pair[:, m] * (first == m)[:, None]
        own = np.eye(size)[m]
        row = linear_map(below, partial)
        rest = pt.sqrt(1.0 - row**2) * (1.0 - own)
        row = row + own
        matrix = matrix * rest[:, None] * rest[None, :] + row[:, None] * row[None, :]
    return matrix
