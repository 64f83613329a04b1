"""Log-likelihood of a regime chain and its gradient, in one pass.

:func:`loglik_and_adjoint` is what a sampler calls thousands of times, so it works with scaled probabilities and takes
few logarithms. It proves for each call that underflow lost nothing, and turns to the exact recursion in
:mod:`regimelag.likelihood.recursions` when it cannot.

Conventions for ``log_obs``, ``transition_logits``, ``log_init`` and ``-inf`` are those of that module.

References
----------
.. [1] Baum, L. E., Petrie, T., Soules, G., & Weiss, N. (1970). doi:10.1214/aoms/1177697196
.. [2] Hamilton, J. D. (1989). doi:10.2307/1912559
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, register_jitable

from regimelag.likelihood.recursions import check_shapes, exact_loglik_and_adjoint

# numba's file cache watches the file of a function and not what it imports. So a cached function calls nothing from
# another file, and the one function here that does is Python, which numba compiles into its callers.
FUSED = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
SUMMED = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}

RESCALE_EVERY = 8
CERTAIN = 1e-200
LOWEST = -708.0


# ---------------------------------------------------------------------------------------------------------------------
# An exponential that LLVM can turn into vector instructions. A call into the C library cannot be.
#
# With n = round(x / log 2) and r = x - n log 2, exp(x) = 2^n exp(r) and |r| <= 0.347. Adding 1.5 * 2^52 rounds to an
# integer and leaves that integer in the low bits of the sum, from where a shift moves it into the exponent. The Taylor
# series to r^13 is exact to rounding on that range.
# ---------------------------------------------------------------------------------------------------------------------


@intrinsic
def _float_to_bits(typing_context, x):  # noqa: ARG001
    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


@intrinsic
def _bits_to_float(typing_context, bits):  # noqa: ARG001
    def generate(context, builder, signature, args):  # noqa: ARG001
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


@njit(**FUSED)
def _exp_nonpositive(x):
    """Exponential of ``x <= 0``; zero below -708, where doubles end. NaN stays NaN."""
    rounded = x * 1.4426950408889634 + 6755399441055744.0
    n = rounded - 6755399441055744.0
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    scaled = _bits_to_float(_float_to_bits(p) + (_float_to_bits(rounded) << 52))
    return 0.0 if x < LOWEST else scaled


# ---------------------------------------------------------------------------------------------------------------------
# Value and gradient in one pass
#
# Write o[t,j] for the density at time t, p[t,i,j] for the softmax of the logits, and
#
#     a[t,j] = o[t,j] * sum_i a[t-1,i] p[t-1,i,j]          forward,  a[0,j] = init[j] o[0,j]
#     v[t,j] = o[t,j] * sum_k p[t,j,k] v[t+1,k]            backward, v[T-1,j] = o[T-1,j]
#
# The likelihood is sum_j a[T-1,j]. It is also z[t] = sum_ij a[t,i] p[t,i,j] v[t+1,j] for every t, up to scale. Each
# term of that sum, divided by z[t], is xi[t,i,j]: the probability of the step i -> j given all data. Hence
#
#     d loglik / d log_obs[t,i]  = sum_j xi[t,i,j]                                     smoothed probability
#     d loglik / d logits[t,i,j] = xi[t,i,j] - p[t,i,j] sum_k xi[t,i,k]               expected minus predicted steps
#     d loglik / d log_init[i]   = smoothed probability at time 0
#
# Scaling. Each row of o is divided by its maximum and rows of p sum to one, so a and v never grow. Each is brought back
# to size one every RESCALE_EVERY rows. The factors of `a` go into the log-likelihood; those of `v` cancel in xi.
#
# What underflow can do. No entry of o, p, a or v exceeds one, but for those of `a` before the first rescaling, which do
# not exceed the number of regimes. Whatever is lost at one step is below 1e-306, so it can change the likelihood by no
# more than a share of about 1e-306 / z[t]. If z[t] >= CERTAIN at every step, the sum of all that was lost is nothing.
# If not, the two passes may have lost the paths that matter (two absorbing regimes, early evidence for one and stronger
# late evidence for the other), and the caller turns to the exact recursion. NaN, dead ends and impossible rows all end
# as a z[t] that is zero or NaN, so they take the same way out.
# ---------------------------------------------------------------------------------------------------------------------


@njit(**FUSED)
def _softmax_pairs(logits, probabilities):
    """Softmax of each pair of a flat array, with one exponential a pair."""
    for row in range(logits.size // 2):
        left = logits[2 * row]
        right = logits[2 * row + 1]
        ratio = _exp_nonpositive(-abs(left - right))
        # The last term is zero, but NaN for +inf: no softmax can weigh that.
        larger = 1.0 / (1.0 + ratio) + 0.0 * max(left, right)
        smaller = ratio * larger
        probabilities[2 * row] = larger if left >= right else smaller
        probabilities[2 * row + 1] = smaller if left >= right else larger


@njit(**SUMMED)
def _scale_pairs(log_obs, obs):
    """Exponential of each pair of a flat array, divided by the larger of the two; return the sum of the larger logs."""
    total = 0.0
    for row in range(log_obs.size // 2):
        left = log_obs[2 * row]
        right = log_obs[2 * row + 1]
        ratio = _exp_nonpositive(-abs(left - right))
        obs[2 * row] = 1.0 if left >= right else ratio
        obs[2 * row + 1] = ratio if left >= right else 1.0
        total += max(left, right)
    return total


@njit(**FUSED)
def _passes_of_two(obs, p, a, v):
    """Run both passes for two regimes in one loop: neither waits for the other, so the processor overlaps them.

    All arrays are flat. ``a`` arrives with its first row and leaves as the forward messages, ``v`` leaves as the
    backward ones. Returns the factors taken out of ``a``.
    """
    steps = obs.size // 2 - 1
    factors = np.ones(steps // RESCALE_EVERY + 1)
    a0 = a[0]
    a1 = a[1]
    b0 = 1.0
    b1 = 1.0
    for step in range(steps):
        cell = 4 * step
        row = 2 * (step + 1)
        next0 = (a0 * p[cell] + a1 * p[cell + 2]) * obs[row]
        next1 = (a0 * p[cell + 1] + a1 * p[cell + 3]) * obs[row + 1]

        back_cell = 4 * (steps - 1 - step)
        back_row = 2 * (steps - step)
        v0 = obs[back_row] * b0
        v1 = obs[back_row + 1] * b1
        v[back_row] = v0
        v[back_row + 1] = v1
        b0 = p[back_cell] * v0 + p[back_cell + 1] * v1
        b1 = p[back_cell + 2] * v0 + p[back_cell + 3] * v1

        if step % RESCALE_EVERY == RESCALE_EVERY - 1:
            factor = next0 + next1
            factors[step // RESCALE_EVERY] = factor
            grow = 1.0 / factor
            next0 *= grow
            next1 *= grow
            grow = 1.0 / (b0 + b1)
            b0 *= grow
            b1 *= grow
        a0 = next0
        a1 = next1
        a[row] = a0
        a[row + 1] = a1
    return factors


@njit(**FUSED)
def _expect_two(a, p, v, smoothed, d_steps):
    """Fill smoothed probabilities and gradients of the logits; return how many steps are in doubt."""
    in_doubt = 0
    for step in range(d_steps.size // 4):
        from0to0 = a[2 * step] * p[4 * step] * v[2 * step + 2]
        from0to1 = a[2 * step] * p[4 * step + 1] * v[2 * step + 3]
        from1to0 = a[2 * step + 1] * p[4 * step + 2] * v[2 * step + 2]
        from1to1 = a[2 * step + 1] * p[4 * step + 3] * v[2 * step + 3]
        z = (from0to0 + from0to1) + (from1to0 + from1to1)
        in_doubt += 0 if z >= CERTAIN else 1
        inverse = 1.0 / z
        smoothed[2 * step] = (from0to0 + from0to1) * inverse
        smoothed[2 * step + 1] = (from1to0 + from1to1) * inverse
        # With two destinations xi0 - (xi0 + xi1) p0 is xi0 p1 - xi1 p0, because p0 + p1 = 1.
        gain0 = (from0to0 * p[4 * step + 1] - from0to1 * p[4 * step]) * inverse
        gain1 = (from1to0 * p[4 * step + 3] - from1to1 * p[4 * step + 2]) * inverse
        d_steps[4 * step] = gain0
        d_steps[4 * step + 1] = -gain0
        d_steps[4 * step + 2] = gain1
        d_steps[4 * step + 3] = -gain1
    return in_doubt


@njit(**FUSED)
def _softmax_rows(logits, probabilities):
    """Softmax over the last axis of (row, destination)."""
    rows, regimes = logits.shape
    for row in range(rows):
        largest = logits[row, 0]
        for k in range(1, regimes):
            largest = max(largest, logits[row, k])
        for k in range(regimes):
            probabilities[row, k] = logits[row, k] - largest
    flat = probabilities.reshape(-1)
    for cell in range(flat.size):
        flat[cell] = _exp_nonpositive(flat[cell])
    for row in range(rows):
        total = 0.0
        for k in range(regimes):
            total += probabilities[row, k]
        inverse = 1.0 / total
        for k in range(regimes):
            probabilities[row, k] *= inverse


@njit(**FUSED)
def _scale_rows(log_obs, obs):
    """Exponential of (time, regime), each row divided by its maximum; return the sum of the maxima."""
    rows, regimes = log_obs.shape
    total = 0.0
    for row in range(rows):
        largest = log_obs[row, 0]
        for k in range(1, regimes):
            largest = max(largest, log_obs[row, k])
        for k in range(regimes):
            obs[row, k] = log_obs[row, k] - largest
        total += largest
    flat = obs.reshape(-1)
    for cell in range(flat.size):
        flat[cell] = _exp_nonpositive(flat[cell])
    return total


@njit(**FUSED)
def _passes_of_many(obs, p, a, v):
    """Run the forward pass, then the backward pass, for any number of regimes. See :func:`_passes_of_two`."""
    steps = obs.shape[0] - 1
    regimes = obs.shape[1]
    factors = np.ones(steps // RESCALE_EVERY + 1)
    for step in range(steps):
        total = 0.0
        for j in range(regimes):
            mass = 0.0
            for i in range(regimes):
                mass += a[step, i] * p[step, i, j]
            mass *= obs[step + 1, j]
            a[step + 1, j] = mass
            total += mass
        if step % RESCALE_EVERY == RESCALE_EVERY - 1:
            factors[step // RESCALE_EVERY] = total
            grow = 1.0 / total
            for j in range(regimes):
                a[step + 1, j] *= grow
    for j in range(regimes):
        v[steps, j] = obs[steps, j]
    for step in range(steps - 1, 0, -1):
        total = 0.0
        for i in range(regimes):
            mass = 0.0
            for j in range(regimes):
                mass += p[step, i, j] * v[step + 1, j]
            v[step, i] = mass * obs[step, i]
            total += mass
        if step % RESCALE_EVERY == 0:
            grow = 1.0 / total
            for i in range(regimes):
                v[step, i] *= grow
    return factors


@njit(**FUSED)
def _expect_many(a, p, v, smoothed, d_steps):
    """Fill smoothed probabilities and gradients of the logits; return how many steps are in doubt."""
    steps, regimes, _ = d_steps.shape
    in_doubt = 0
    for step in range(steps):
        z = 0.0
        for i in range(regimes):
            occupancy = 0.0
            for j in range(regimes):
                xi = a[step, i] * p[step, i, j] * v[step + 1, j]
                d_steps[step, i, j] = xi
                occupancy += xi
            smoothed[step, i] = occupancy
            z += occupancy
        in_doubt += 0 if z >= CERTAIN else 1
        inverse = 1.0 / z
        for i in range(regimes):
            smoothed[step, i] *= inverse
            for j in range(regimes):
                d_steps[step, i, j] = d_steps[step, i, j] * inverse - smoothed[step, i] * p[step, i, j]
    return in_doubt


@njit(**FUSED)
def _repeat_first(p):
    """Copy the first matrix of (step, origin, destination) to all steps."""
    flat = p.reshape(-1)
    size = p.shape[1] * p.shape[2]
    for step in range(1, p.shape[0]):
        for cell in range(size):
            flat[step * size + cell] = flat[cell]


@njit(**FUSED)
def _sum_steps(d_steps):
    """Sum (step, origin, destination) over steps: (1, origin, destination)."""
    steps, regimes, _ = d_steps.shape
    d_logits = np.zeros((1, regimes, regimes))
    for step in range(steps):
        for i in range(regimes):
            for j in range(regimes):
                d_logits[0, i, j] += d_steps[step, i, j]
    return d_logits


@njit(**FUSED)
def _start(log_obs, log_init, a):
    """Fill the first row of ``a``, divided by its maximum; return what that adds to the log-likelihood.

    Other rows of ``log_obs`` lose their own maximum, and so does this one in the sum of them, hence the subtraction.
    """
    largest = log_obs[0, 0] + log_init[0]
    largest_obs = log_obs[0, 0]
    for k in range(1, log_init.size):
        largest = max(largest, log_obs[0, k] + log_init[k])
        largest_obs = max(largest_obs, log_obs[0, k])
    for k in range(log_init.size):
        a[0, k] = _exp_nonpositive(log_obs[0, k] + log_init[k] - largest)
    return largest - largest_obs


@njit(**FUSED)
def _scaled_loglik_and_adjoint(log_obs, transition_logits, log_init):
    """Value and gradient in scaled probabilities.

    Returns
    -------
    certain : bool
        False if underflow may have mattered, or an input is NaN or ``+inf``, or the data are impossible. The other
        results are then meaningless.
    loglik, d_log_obs, d_logits, d_log_init
        As in :func:`loglik_and_adjoint`.
    """
    times, regimes = log_obs.shape
    steps = times - 1
    given = transition_logits.shape[0]
    is_constant = given != steps

    obs = np.empty((times, regimes))
    p = np.empty((max(steps, given), regimes, regimes))
    a = np.empty((times, regimes))
    v = np.empty((times, regimes))
    smoothed = np.empty((times, regimes))
    d_steps = np.empty((steps, regimes, regimes))

    loglik = _start(log_obs, log_init, a)
    if regimes == 2:  # noqa: PLR2004
        obs_pairs, p_pairs, a_pairs, v_pairs = obs.reshape(-1), p.reshape(-1), a.reshape(-1), v.reshape(-1)
        loglik += _scale_pairs(log_obs.reshape(-1), obs_pairs)
        _softmax_pairs(transition_logits.reshape(-1), p_pairs)
        if is_constant:
            _repeat_first(p)
        factors = _passes_of_two(obs_pairs, p_pairs, a_pairs, v_pairs)
        in_doubt = _expect_two(a_pairs, p_pairs, v_pairs, smoothed.reshape(-1), d_steps.reshape(-1))
    else:
        loglik += _scale_rows(log_obs, obs)
        _softmax_rows(transition_logits.reshape(-1, regimes), p.reshape(-1, regimes))
        if is_constant:
            _repeat_first(p)
        factors = _passes_of_many(obs, p, a, v)
        in_doubt = _expect_many(a, p, v, smoothed, d_steps)

    last = 0.0
    for k in range(regimes):
        last += a[steps, k]
    loglik += math.log(last)
    for factor in factors:
        loglik += math.log(factor)
    d_log_init = np.empty(regimes)
    for k in range(regimes):
        smoothed[steps, k] = a[steps, k] / last
        d_log_init[k] = smoothed[0, k]

    certain = in_doubt == 0 and math.isfinite(loglik)
    if is_constant:
        return certain, loglik, smoothed, _sum_steps(d_steps), d_log_init
    return certain, loglik, smoothed, d_steps, d_log_init


@register_jitable
def loglik_and_adjoint(log_obs, transition_logits, log_init):
    """Log-likelihood of a regime chain and its gradient with respect to every input.

    Parameters
    ----------
    log_obs : array (time, regime)
        Log density of each row of data under each regime, in nats.
    transition_logits : array (step, origin, destination)
        Softmax over destinations gives the transition probabilities. ``step`` is ``time - 1``, or 1 for a constant
        matrix.
    log_init : array (regime)
        Log weights of the regimes at the first time, used as given.

    Returns
    -------
    loglik : float
        Log density of all rows, in nats. ``-inf`` if the data are impossible.
    d_log_obs : array (time, regime)
        Smoothed probabilities.
    d_logits : array (step, origin, destination)
        Expected transitions minus occupancy times probability, summed over steps for a constant matrix.
    d_log_init : array (regime)
        Smoothed probabilities at the first time.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Notes
    -----
    Gradients are zero where the data are impossible, and NaN, like the value, where an input is NaN or ``+inf``.
    """
    check_shapes(log_obs, transition_logits, log_init)
    log_obs = np.ascontiguousarray(log_obs)
    transition_logits = np.ascontiguousarray(transition_logits)
    log_init = np.ascontiguousarray(log_init)
    certain, loglik, d_log_obs, d_logits, d_log_init = _scaled_loglik_and_adjoint(log_obs, transition_logits, log_init)
    if certain:
        return loglik, d_log_obs, d_logits, d_log_init
    return exact_loglik_and_adjoint(log_obs, transition_logits, log_init)
