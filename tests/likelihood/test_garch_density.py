"""The GARCH density: against a plain loop, `arch`, finite differences and an unrolled graph."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from arch.univariate import GARCH, StudentsT
from oracles import simple_garch
from pytensor.gradient import verify_grad

from regimelag.errors import RegimelagError
from regimelag.likelihood.density import student_t_logpdf
from regimelag.likelihood.garch import garch_logpdf

MODES = ["NUMBA", "FAST_COMPILE"]
TIMES = 9
EPISODE = np.array([0, 0, 1, 1, 0, 1, 1, 1, 0])
NAMES = ("location", "log_scale", "alpha", "beta", "nu")


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def response(missing=(2, 3, 8)):
    y = 2 * random(TIMES, seed=9)
    y[list(missing)] = np.nan
    return y


def point(nu=4.5, alpha=0.13, beta=0.8):
    return [random(TIMES, seed=1), np.array([0.2, -0.4]), np.array(alpha), np.array(beta), np.array(nu)]


def density(y, location, log_scale, alpha, beta, nu):
    return garch_logpdf(y, location, log_scale, EPISODE, alpha, beta, nu)


@pytest.fixture(scope="module", params=MODES)
def function(request):
    """The density, and the gradients of a sum with other weights at each time."""
    y, *variables = [pt.dvector(), pt.dvector(), pt.dvector(), pt.dscalar(), pt.dscalar(), pt.dscalar()]
    log_obs = density(y, *variables)
    total = (log_obs * np.cos(np.arange(TIMES))).sum()
    inputs = [y, *variables]
    return pytensor.function(inputs, [log_obs, *pytensor.grad(total, inputs)], mode=request.param)


@pytest.mark.parametrize("nu", [2.05, 4.5, 60.0, np.inf])
@pytest.mark.parametrize(("alpha", "beta"), [(0.13, 0.8), (0.0, 0.0), (0.3, 0.7), (0.0, 0.9)])
def test_density_is_that_of_a_loop(function, nu, alpha, beta):
    values = point(nu, alpha, beta)
    expected = simple_garch(response(), values[0], values[1][EPISODE], alpha, beta, nu)
    np.testing.assert_allclose(function(response(), *values)[0], expected, rtol=1e-12, atol=1e-12)
    assert not function(response(), *values)[0][[2, 3, 8]].any()


def test_long_series_is_that_of_a_loop():
    times = 1500
    y, location, episode = 3 * random(times), random(times, seed=1), (np.arange(times) > 600).astype(int)
    y[100:110] = np.nan
    found = garch_logpdf(y, location, [0.1, 0.5], episode, 0.08, 0.91, 5.0).eval(mode="FAST_COMPILE")
    expected = simple_garch(y, location, np.array([0.1, 0.5])[episode], 0.08, 0.91, 5.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_density_is_that_of_arch():
    y, (alpha, beta), nu, sd = 0.1 * random(40), (0.1, 0.85), 6.0, 0.08
    variance, bounds = np.empty(40), np.tile([0.0, np.inf], (40, 1))
    parameters = np.array([sd**2 * (1 - alpha - beta), alpha, beta])
    GARCH().compute_variance(parameters, y, variance, sd**2, bounds)
    expected = StudentsT().loglikelihood(np.array([nu]), y, variance, individual=True)
    found = garch_logpdf(y, np.zeros(40), [np.log(sd)], np.zeros(40, dtype=int), alpha, beta, nu)
    np.testing.assert_allclose(found.eval(mode="FAST_COMPILE"), expected, rtol=1e-12)


def test_without_weights_the_variance_is_constant():
    """The scale of the t is the standard deviation times sqrt((nu - 2) / nu)."""
    location, log_scale, *_ = point()
    steady = density(response(), location, log_scale, 0.0, 0.0, 5.0)
    plain = student_t_logpdf(response(), location[None], log_scale[:, None] + 0.5 * np.log(3 / 5), EPISODE, 5.0)
    np.testing.assert_allclose(*pytensor.function([], [steady, plain[0]], mode="FAST_COMPILE")(), rtol=1e-12)


@pytest.mark.parametrize("missing", [(), (2, 3, 8), (0, 1)])
@pytest.mark.parametrize("nu", [2.5, 7.0, np.inf])
def test_gradient_is_that_of_finite_differences(function, missing, nu):
    values = [response(missing), *point(nu)]
    gradients = function(*values)[1:]
    for place, gradient in enumerate(gradients[:5] if nu == np.inf else gradients):
        for index in np.ndindex(gradient.shape):
            up, down = ([each.copy() for each in values] for _ in range(2))
            up[place][index] += 1e-6
            down[place][index] -= 1e-6
            slope = (function(*up)[0] - function(*down)[0]) @ np.cos(np.arange(TIMES)) / 2e-6
            slope = 0.0 if np.isnan(values[place][index]) else slope
            np.testing.assert_allclose(gradient[index], slope, rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_gradient_is_the_automatic_one_of_an_unrolled_graph(function):
    # PyTensor's Python mode adds up to 32 numbers at a time.
    y = response((2, 6, 7, 8))
    location, log_scale, alpha, beta, nu = variables = [pt.dvector(), pt.dvector(), *(pt.dscalar() for _ in range(3))]
    total, v = 0.0, pt.constant(1.0)
    for t in range(TIMES):
        h = log_scale[EPISODE[t]]
        e = (y[t] - location[t]) / pt.exp(h)
        if not np.isnan(y[t]):
            head = pt.gammaln((nu + 1) / 2) - pt.gammaln(nu / 2) - 0.5 * pt.log((nu - 2) * np.pi * v)
            total += np.cos(t) * (head - h - (nu + 1) / 2 * pt.log1p(e**2 / (v * (nu - 2))))
        v = 1 - alpha - beta + alpha * (v if np.isnan(y[t]) else e**2) + beta * v
    automatic = pytensor.function(variables, pytensor.grad(total, variables), mode="FAST_COMPILE")
    for name, ours, theirs in zip(NAMES, function(y, *point())[2:], automatic(*point()), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12, err_msg=name)


def test_verify_grad():
    verify_grad(
        lambda location, log_scale, alpha, beta, nu: density(response(), location, log_scale, alpha, beta, nu),
        point(),
        rng=np.random.default_rng(0),
        mode="FAST_COMPILE",
    )


def test_residuals_beyond_all_bounds_leave_values_finite(function):
    y = response()
    y[4] = 1e200
    assert all(np.isfinite(found).all() for found in function(y, *point())[:1])
    assert all(np.isfinite(found).all() for found in function(y, *point())[2:])


@pytest.mark.parametrize("mode", [pytest.param("NUMBA", marks=pytest.mark.slow), "FAST_COMPILE"])
def test_batch_equals_a_loop(mode):
    location, log_scale, alpha = pt.dmatrix(), pt.dmatrix(), pt.dvector()
    found = density(response(), location, log_scale, alpha, 0.8, 5.0)
    inputs = [location, log_scale, alpha]
    batched = pytensor.function(inputs, [found, *pytensor.grad(found.sum(), inputs)], mode=mode)
    values = [random(3, TIMES), random(3, 2, seed=1), np.array([0.0, 0.1, 0.2])]
    log_obs, *gradients = batched(*values)
    for n in range(3):
        expected = simple_garch(response(), values[0][n], values[1][n][EPISODE], values[2][n], 0.8, 5.0)
        np.testing.assert_allclose(log_obs[n], expected, rtol=1e-12, atol=1e-12)
        alone = batched(*(value[n : n + 1] for value in values))[1:]
        for left, right in zip(gradients, alone, strict=True):
            np.testing.assert_allclose(left[n], right[0], atol=1e-12)


def test_what_does_not_fit_is_refused():
    good = {"y": random(TIMES), "location": random(TIMES), "log_scale": random(2), "episode": EPISODE}
    scalars = {"alpha": 0.1, "beta": 0.8, "nu": 5.0}
    for wrong in (
        {"y": random(TIMES - 1)},
        {"location": 1.0},
        {"log_scale": 1.0},
        {"episode": EPISODE * 1.0},
        {"episode": EPISODE[:5]},
        {"nu": random(2)},
    ):
        with pytest.raises(RegimelagError, match=r"rule: (.|\n)*came: (.|\n)*cure: "):
            garch_logpdf(**{**good, **scalars, **wrong})
    episode = pt.lvector()
    for what in (garch_logpdf(**{**good, **scalars, "episode": episode}),):
        with pytest.raises(pytensor.gradient.DisconnectedInputError):
            pytensor.grad(what.sum(), episode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("of", ["density", "gradients"])
def test_lengths_found_late_are_refused(of, mode):
    location, log_scale, episode = pt.dvector(), pt.dvector(), pt.lvector()
    found = garch_logpdf(random(TIMES), location, log_scale, episode, 0.1, 0.8, 5.0)
    found = found if of == "density" else pytensor.grad(found.sum(), [location, log_scale])
    function = pytensor.function([location, log_scale, episode], found, mode=mode)
    function(random(TIMES), random(2), EPISODE)
    for wrong in (EPISODE + 1, EPISODE - 1, EPISODE[:5]):
        with pytest.raises(ValueError, match="the GARCH density needs"):
            function(random(TIMES), random(2), wrong)


def test_static_shape_is_known():
    location = pt.tensor(shape=(TIMES,))
    assert garch_logpdf(pt.dvector(), location, pt.dvector(), EPISODE, 0.1, 0.8, 5.0).type.shape == (TIMES,)
