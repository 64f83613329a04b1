"""Log-likelihood of an uncertain point lag, summed out, and its gradient, in one pass."""

import numpy as np

from regimelag.likelihood.mixture_recursions import check_mixture, exact_fill


def lag_loglik_and_adjoint(log_obs, logits, log_init, log_prior, block):
    """Log-likelihood with regimes and combinations summed out, and its gradient with respect to every input.

    Parameters
    ----------
    log_obs : array (combination, regime, time)
        Log density of each row under each regime and combination, in nats.
    logits : array (origin, destination, step)
        Entry ``t`` drives the step from ``t`` to ``t + 1``; one step for a constant matrix.
    log_init : array (regime)
        Log weights of the regimes at the first time, used as given.
    log_prior : array (combination)
        Log probability with which a block draws each combination, used as given.
    block : int array (time)
        Block of each time: 0 at first, rising by 0 or 1.

    Returns
    -------
    loglik : float
        In nats.
    d_log_obs : array (combination, regime, time)
        Probability of each regime and of the combination of its block, given all rows.
    d_logits : array (origin, destination, step)
        Expected transitions minus occupancy times probability, summed over steps for a constant matrix.
    d_log_init : array (regime)
        Smoothed probabilities at the first time.
    d_log_prior : array (combination)
        Expected number of blocks with each combination.

    Raises
    ------
    ValueError
        If the shapes do not fit together or blocks are not consecutive.

    Notes
    -----
    Gradients are zero where the data are impossible, and NaN, like the value, where an input is NaN or ``+inf``.
    """
    origins, destinations, steps = logits.shape
    check_mixture(log_obs.shape, (steps, origins, destinations), log_init.size, log_prior.size, block)
    floats = tuple(map(np.ascontiguousarray, (log_obs, logits, log_init, log_prior)))
    gradients = tuple(map(np.empty_like, floats))
    block = np.ascontiguousarray(block)
    return exact_fill(*floats, block, *gradients), *gradients
