"""Linear predictors with coefficients by episode, and products with a constant matrix.

    out[m,t] = sum_c coefficients[e(t),c,m] covariates[c,t]

Locations of regimes and transition logits are such sums over few covariates and many times. Both Ops avoid BLAS's
`dot`, which PyTensor's numba backend compiles in 12 to 17 s per variant.
"""

# PyTensor prescribes the names and arguments of an Op's methods.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph import Apply
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood.checks import agree, as_float, is_integer, require, shapes
from regimelag.likelihood.linked_op import LinkedOp
from regimelag.likelihood.numba_link import CONTRACT, REORDER, compiled


def linear_predictor(
    covariates: TensorLike, coefficients: TensorLike, episode: TensorLike | None = None
) -> TensorVariable:
    """Linear predictor whose coefficients differ between episodes.

    ``out[m, t] = sum_c coefficients[episode[t], c, m] * covariates[c, t]``

    Parameters
    ----------
    covariates : tensor (..., covariate, time)
        Regressors.
    coefficients : tensor (..., episode, covariate, column)
        Coefficients of each episode.
    episode : int tensor (..., time), optional
        Index of each period's episode in ``coefficients``; zero throughout by default.

    Returns
    -------
    tensor (..., column, time)
        In units of covariates times coefficients.

    Raises
    ------
    RegimelagError
        If dimensions or lengths known at graph construction are inconsistent.
    ValueError
        If lengths are inconsistent at evaluation, or an episode is out of range.
    """
    covariates, coefficients = map(as_float, (covariates, coefficients))
    one = episode is None
    episode = pt.as_tensor_variable(np.zeros(0, dtype="int64") if one else episode)
    asked = "linear_predictor(covariates, coefficients, episode)"
    came = shapes(covariates=covariates, coefficients=coefficients, episode=episode)
    require(
        asked,
        "covariates is (covariate, time), coefficients (episode, covariate, column), episode (time) of integers",
        came,
        "with one set of coefficients give coefficients[None] and no episode",
        holds=covariates.type.ndim >= 2  # noqa: PLR2004
        and coefficients.type.ndim >= 3  # noqa: PLR2004
        and episode.type.ndim >= 1
        and is_integer(episode),
    )
    require(
        asked,
        "covariates and coefficients have the same covariates; covariates and episode one length in time",
        came,
        "put time last in covariates, and covariates before columns in coefficients",
        holds=agree(covariates.type.shape[-2], coefficients.type.shape[-2])
        and (one or agree(covariates.type.shape[-1], episode.type.shape[-1])),
    )
    return Blockwise(Predictor())(covariates, coefficients, episode.astype("int64"))


def linear_map(matrix: np.ndarray, vectors: TensorLike) -> TensorVariable:
    """Product of vectors and a constant matrix: ``vectors @ matrix``.

    Parameters
    ----------
    matrix : array (entry, column)
        Constant matrix.
    vectors : tensor (..., entry)
        Row vectors.

    Returns
    -------
    tensor (..., column)
        The product.
    """
    vectors = as_float(vectors)
    rows = vectors.reshape((-1, len(matrix))) if vectors.type.ndim != 2 else vectors  # noqa: PLR2004
    product = LinearMap()(pt.constant(np.ascontiguousarray(matrix, dtype="float64")), rows)
    if vectors.type.ndim == 2:  # noqa: PLR2004
        return product
    lead = vectors.type.shape[:-1]
    shape = lead if None not in lead else tuple(vectors.shape)[:-1]
    return product.reshape((*shape, matrix.shape[1]))


# ---------------------------------------------------------------------------------------------------------------------
# Time is the last axis and is processed in runs of one episode, so each run, covariate and column is one loop over
# contiguous values. An empty array of episodes stands for the first one throughout. The predictor is linear in each
# argument. With g[m,t] the cotangent of out[m,t],
#
#     d coefficients[e,c,m] = sum_{t: e(t) = e} g[m,t] covariates[c,t]
#     d covariates[c,t]     = sum_m g[m,t] coefficients[e(t),c,m]
# ---------------------------------------------------------------------------------------------------------------------


@compiled()
def _check(covariates, times, coefficients, episode):
    """Raise ValueError if the inputs are inconsistent; the first two are lengths, ``coefficients`` is a shape."""
    if covariates != coefficients[1]:
        raise ValueError(
            "the predictor needs as many covariates in coefficients (episode, covariate, ...) as there are"
        )
    if episode.size not in (0, times):
        raise ValueError("the predictor needs covariates (covariate, time) and episode (time) of one length in time")
    for e in episode:
        if not 0 <= e < coefficients[0]:
            raise ValueError("the predictor needs every episode to be a row of coefficients (episode, covariate, ...)")


@compiled()
def _run(times, episode, start):
    """Episode at the time ``start``, and the first later time in another one."""
    if episode.size == 0:
        return 0, times
    stop = start + 1
    while stop < episode.size and episode[stop] == episode[start]:
        stop += 1
    return episode[start], stop


@compiled(CONTRACT)
def _predictor(covariates, coefficients, episode):
    """Sums (column, time) of covariates (covariate, time) with coefficients (episode, covariate, column)."""
    times = covariates.shape[1]
    _check(covariates.shape[0], times, coefficients.shape, episode)
    out = np.zeros((coefficients.shape[2], times))
    start = 0
    while start < times:
        e, stop = _run(times, episode, start)
        for m in range(out.shape[0]):
            filled = out[m, start:stop]
            for c in range(covariates.shape[0]):
                known = covariates[c, start:stop]
                coefficient = coefficients[e, c, m]
                for t in range(filled.size):
                    filled[t] += coefficient * known[t]
        start = stop
    return out


@compiled(REORDER)
def _d_coefficients(covariates, episode, cotangent, like):
    """Gradient (episode, covariate, column) of the sum of ``cotangent`` (column, time) times the predictor."""
    _check(covariates.shape[0], cotangent.shape[1], like.shape, episode)
    d_coefficients = np.zeros(like.shape)
    start = 0
    while start < cotangent.shape[1]:
        e, stop = _run(cotangent.shape[1], episode, start)
        for m in range(cotangent.shape[0]):
            g = cotangent[m, start:stop]
            for c in range(covariates.shape[0]):
                known = covariates[c, start:stop]
                total = 0.0
                for t in range(g.size):
                    total += g[t] * known[t]
                d_coefficients[e, c, m] += total
        start = stop
    return d_coefficients


@compiled(CONTRACT)
def _map(matrix, vectors):
    """Product (row, column) of vectors (row, entry) and a matrix (entry, column)."""
    if vectors.shape[1] != matrix.shape[0]:
        raise ValueError("linear_map needs as many entries in a vector as the matrix has rows")
    out = np.zeros((vectors.shape[0], matrix.shape[1]))
    for row in range(out.shape[0]):
        filled = out[row]
        for n in range(matrix.shape[0]):
            entry = vectors[row, n]
            known = matrix[n]
            for m in range(filled.size):
                filled[m] += entry * known[m]
    return out


class Predictor(LinkedOp):
    """Linear predictor: (covariates, coefficients, episode) -> (column, time)."""

    gufunc_signature = "(c,t),(e,c,m),(n)->(m,t)"
    loop = _predictor

    def make_node(self, covariates, coefficients, episode):
        shape = (coefficients.type.shape[2], covariates.type.shape[1])
        return Apply(self, [covariates, coefficients, episode], [pt.tensor(dtype="float64", shape=shape)])

    def infer_shape(self, node, input_shapes):
        (_, times), (_, _, columns), _ = input_shapes
        return [(columns, times)]

    def connection_pattern(self, node):
        return [[True], [True], [False]]

    def pullback(self, inputs, outputs, cotangents):
        covariates, coefficients, episode = inputs
        (cotangent,) = cotangents
        d_coefficients = Blockwise(PredictorDCoefficients())(covariates, episode, cotangent, coefficients)
        d_covariates = _d_covariates(coefficients, episode, cotangent)
        return [d_covariates, d_coefficients, disconnected_type()]

    def in_jax(self, jax):
        def predictor(covariates, coefficients, episode):
            if episode.shape[0] == 0:
                return coefficients[0].T @ covariates
            return jax.numpy.einsum("ct,tcm->mt", covariates, coefficients[episode])

        return predictor


class PredictorDCoefficients(LinkedOp):
    """Adjoint of :class:`Predictor` for the coefficients, of which it uses only the shape."""

    gufunc_signature = "(c,t),(n),(m,t),(e,c,m)->(e,c,m)"
    loop = _d_coefficients

    def make_node(self, covariates, episode, cotangent, like):
        return Apply(self, [covariates, episode, cotangent, like], [like.type()])

    def infer_shape(self, node, input_shapes):
        return [input_shapes[3]]

    def connection_pattern(self, node):
        return [[True], [False], [True], [False]]

    def pullback(self, inputs, outputs, cotangents):
        covariates, episode, of_sum, _ = inputs
        (cotangent,) = cotangents
        d_covariates = _d_covariates(cotangent, episode, of_sum)
        d_sum = Blockwise(Predictor())(covariates, cotangent, episode)
        return [d_covariates, disconnected_type(), d_sum, disconnected_type()]

    def in_jax(self, jax):
        predictor = Predictor().in_jax(jax)

        def d_coefficients(covariates, episode, cotangent, like):
            _, pull = jax.vjp(lambda coefficients: predictor(covariates, coefficients, episode), like)
            return pull(cotangent)[0]

        return d_coefficients


def _d_covariates(coefficients: TensorVariable, episode: TensorVariable, cotangent: TensorVariable) -> TensorVariable:
    """Gradient (covariate, time): the predictor of the cotangent with transposed coefficients."""
    return Blockwise(Predictor())(cotangent, coefficients.swapaxes(-2, -1), episode)


class LinearMap(LinkedOp):
    """Product with a constant matrix: (matrix, vectors) -> (row, column)."""

    loop = _map

    def make_node(self, matrix, vectors):
        shape = (vectors.type.shape[0], matrix.type.shape[1])
        return Apply(self, [matrix, vectors], [pt.tensor(dtype="float64", shape=shape)])

    def infer_shape(self, node, input_shapes):
        (_, columns), (rows, _) = input_shapes
        return [(rows, columns)]

    def connection_pattern(self, node):
        return [[False], [True]]

    def pullback(self, inputs, outputs, cotangents):
        matrix, _ = inputs
        return [disconnected_type(), LinearMap()(matrix.T, cotangents[0])]

    def in_jax(self, jax):
        return lambda matrix, vectors: vectors @ matrix
