"""Linear predictor whose coefficients change from episode to episode, and its adjoints.

    out[m,t] = sum_c coefficients[e(t),c,m] covariates[c,t]

Locations of the regimes and logits of the transitions are such sums over few covariates, for many times. Time is the
last axis, and rows come in runs of one episode; so each run, covariate and column is one plain loop over neighbours.
Without any episode numbers the first set of coefficients holds throughout.

The predictor is linear in each argument. With g[m,t] the cotangent of out[m,t],

    d coefficients[e,c,m] = sum_{t: e(t) = e} g[m,t] covariates[c,t]
    d covariates[c,t]     = sum_m g[m,t] coefficients[e(t),c,m]
"""

from numba import njit

# This module imports numba alone. numba's file cache watches this file and not what it imports.
CACHED = {"cache": True, "error_model": "numpy"}
FUSED = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
SUMMED = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}


@njit(**CACHED)
def check_predictor(times, episodes, episode):
    """Raise ValueError unless each time has an episode that is one of those that coefficients are given for."""
    if episode.size not in (0, times):
        raise ValueError("the predictor needs covariates (covariate, time) and episode (time) of one length in time")
    for e in episode:
        if not 0 <= e < episodes:
            raise ValueError("the predictor needs every episode to be a row of coefficients (episode, covariate, ...)")


@njit(**CACHED)
def _run(times, episode, start):
    """Episode at the time ``start``, and the first time after it that is in another."""
    if episode.size == 0:
        return 0, times
    stop = start + 1
    while stop < episode.size and episode[stop] == episode[start]:
        stop += 1
    return episode[start], stop


@njit(**FUSED)
def fill_predictor(covariates, coefficients, episode, out):
    """Fill ``out`` (column, time) from covariates (covariate, time) and coefficients (episode, covariate, column)."""
    out.fill(0.0)
    start = 0
    while start < out.shape[1]:
        e, stop = _run(out.shape[1], episode, start)
        for m in range(out.shape[0]):
            filled = out[m, start:stop]
            for c in range(covariates.shape[0]):
                known = covariates[c, start:stop]
                coefficient = coefficients[e, c, m]
                for t in range(filled.size):
                    filled[t] += coefficient * known[t]
        start = stop


@njit(**SUMMED)
def fill_d_coefficients(covariates, episode, cotangent, d_coefficients):
    """Fill the gradient (episode, covariate, column) of the sum of ``cotangent`` (column, time) times the predictor."""
    d_coefficients.fill(0.0)
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


@njit(**FUSED)
def fill_d_covariates(coefficients, episode, cotangent, d_covariates):
    """Fill the gradient (covariate, time) of the sum of ``cotangent`` (column, time) times the predictor."""
    d_covariates.fill(0.0)
    start = 0
    while start < cotangent.shape[1]:
        e, stop = _run(cotangent.shape[1], episode, start)
        for c in range(d_covariates.shape[0]):
            filled = d_covariates[c, start:stop]
            for m in range(cotangent.shape[0]):
                g = cotangent[m, start:stop]
                coefficient = coefficients[e, c, m]
                for t in range(filled.size):
                    filled[t] += coefficient * g[t]
        start = stop


@njit(**FUSED)
def fill_map(matrix, vectors, out):
    """Fill ``out`` (row, column) with the product of vectors (row, entry) and a matrix (entry, column)."""
    for row in range(out.shape[0]):
        filled = out[row]
        for m in range(filled.size):
            filled[m] = 0.0
        for n in range(matrix.shape[0]):
            entry = vectors[row, n]
            known = matrix[n]
            for m in range(filled.size):
                filled[m] += entry * known[m]
