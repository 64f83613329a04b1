"""Prior of the residual correlation of several responses.

The distribution is that of Lewandowski, Kurowicka & Joe (2009) [1]_, with density proportional to ``det(R) ** (eta -
1)``. It is held by partial correlations: p[i,j], i < j, of assets i and j given those before i. They are independent,
any values in (-1, 1) are those of a correlation matrix, and (p[i,j] + 1) / 2 ~ Beta(b, b), b = eta + (assets - 2 - i) /
2. So forward draws need no more than Beta variables, and a sampler no more than an interval for each. `pymc.LKJCorr`
has the same distribution, but a loop to draw from it, and for its variable a Cholesky factor with constants among the
entries.

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
    """Correlation matrix with an LKJ prior, for the model that is being built.

    Parameters
    ----------
    name : str
        The free variable is called ``{name}_partial``.
    size : int
        Number of assets, 2 or more.
    eta : float
        Shape, positive: 1 for the uniform distribution, larger values for weaker correlation. Any entry r of the matrix
        has (r + 1) / 2 ~ Beta(b, b), b = eta + (size - 2) / 2.

    Returns
    -------
    tensor (asset, asset)
        The matrix. The free variable holds size (size - 1) / 2 partial correlations, in the order of
        `numpy.triu_indices`; with two assets it is the correlation.
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
    """Log density, proportional to ``(1 - value ** 2) ** (shape - 1)``; smaller than what PyMC finds for `_partial`."""
    log_total = (2.0 * shape - 1.0) * math.log(2.0) + 2.0 * pt.gammaln(shape) - pt.gammaln(2.0 * shape)
    return (shape - 1.0) * pt.log1p(-(value**2)) - log_total


def _matrix(partial: Tensor, size: int) -> Tensor:
    """Correlations from partial ones, by taking one asset after another out of those that are given.

    With r[i,j] the correlation given the assets up to and including m,
    ``r[i,j] sqrt((1 - p[m,i]^2) (1 - p[m,j]^2)) + p[m,i] p[m,j]`` is that given the assets before m. With p[m,m] = 1
    that holds for i = m too. It begins with the last two assets, so it has nothing to do if there are only two.
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
