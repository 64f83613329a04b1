"""The Ops: gradients in every mode, batches, errors at the door, and use inside PyMC."""

from __future__ import annotations

import numpy as np
import nutpie
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from builders import chain_loglik, run
from oracles import enumerate_chain, simple_lag_sum
from pytensor.gradient import verify_grad
from scipy import stats

from regimelag.errors import RegimelagError
from regimelag.likelihood.density import StudentTLogpdf, student_t_logpdf
from regimelag.likelihood.distributed_lag import LagSum, lag_sum
from regimelag.likelihood.hmm_loglik import markov_loglik
from regimelag.likelihood.linear import linear_map, linear_predictor

MODES = ["NUMBA", "FAST_COMPILE"]
TIMES, REGIMES, EPISODES, LAGS = 6, 2, 2, 3
EPISODE = np.array([0, 0, 1, 1, 0, 1])


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def response():
    y = random(TIMES, seed=9)
    y[2] = np.nan
    return y


def whole_model(location, log_scale, nu, weights, logits, log_init):
    """Every Op in one expression."""
    mean = location + lag_sum(np.linspace(-1, 1, TIMES + LAGS), weights)
    return markov_loglik(student_t_logpdf(response(), mean, log_scale, EPISODE, nu).T, logits, log_init)


WHOLE = [
    random(REGIMES, TIMES, seed=1),
    random(EPISODES, REGIMES, seed=2),
    np.array(4.5),
    random(LAGS, seed=3),
    random(TIMES - 1, REGIMES, REGIMES, seed=4),
    random(REGIMES, seed=5),
]


@pytest.mark.parametrize("mode", MODES)
def test_whole_model_gradient(mode):
    variables = [pt.tensor(dtype="float64", shape=values.shape) for values in WHOLE]
    loglik = whole_model(*variables)
    function = pytensor.function(variables, [loglik, *pytensor.grad(loglik, variables)], mode=mode)
    value, *gradients = function(*WHOLE)
    mean = WHOLE[0] + simple_lag_sum(np.linspace(-1, 1, TIMES + LAGS), WHOLE[3])
    oracle = enumerate_chain(run(StudentTLogpdf(), response(), mean, WHOLE[1], EPISODE, 4.5).T, *WHOLE[4:])
    np.testing.assert_allclose(value, oracle.loglik, rtol=1e-12)
    for position, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            up, down = [values.copy() for values in WHOLE], [values.copy() for values in WHOLE]
            up[position][index] += 1e-6
            down[position][index] -= 1e-6
            slope = (function(*up)[0] - function(*down)[0]) / 2e-6
            np.testing.assert_allclose(gradient[index], slope, atol=1e-8)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        (markov_loglik, [random(5, 3), random(4, 3, 3, seed=1), random(3, seed=2)]),
        (markov_loglik, [random(5, 3), random(3, 3, seed=1), random(3, seed=2)]),
        (markov_loglik, [random(1, 2), random(2, 2, seed=1), random(2, seed=2)]),
        (lag_sum, [random(9), random(4, seed=1)]),
        (
            lambda y, location, log_scale, nu: student_t_logpdf(y, location, log_scale, EPISODE, nu),
            [random(TIMES), random(2, TIMES, seed=1), random(2, 2, seed=2), np.array(3.5)],
        ),
        (
            lambda y, location, log_scale: student_t_logpdf(y, location, log_scale, EPISODE, np.inf),
            [random(TIMES), random(2, TIMES, seed=1), random(2, 2, seed=2)],
        ),
        (
            lambda signal, weights: pytensor.grad((lag_sum(signal, weights) ** 3).sum(), [signal, weights])[0],
            [random(9), random(4, seed=1)],
        ),
        (
            lambda signal, weights: pytensor.grad((lag_sum(signal, weights) ** 3).sum(), [signal, weights])[1],
            [random(9), random(4, seed=1)],
        ),
        (
            lambda covariates, coefficients: linear_predictor(covariates, coefficients, EPISODE),
            [random(3, TIMES), random(2, 3, 2, seed=1)],
        ),
        (linear_predictor, [random(3, 5), random(1, 3, 4)]),
        (
            lambda covariates, coefficients: pytensor.grad(
                (linear_predictor(covariates, coefficients, EPISODE) ** 3).sum(), [covariates, coefficients]
            )[0],
            [random(3, TIMES), random(2, 3, 2, seed=1)],
        ),
        (
            lambda covariates, coefficients: pytensor.grad(
                (linear_predictor(covariates, coefficients, EPISODE) ** 3).sum(), [covariates, coefficients]
            )[1],
            [random(3, TIMES), random(2, 3, 2, seed=1)],
        ),
        (lambda vectors: linear_map(random(3, 4, seed=1), vectors) ** 2, [random(3)]),
        (lambda vectors: linear_map(random(3, 4, seed=1), vectors) ** 2, [random(2, 3)]),
    ],
    ids=[
        "moving",
        "constant",
        "one row",
        "lags",
        "student t",
        "normal",
        "second lags signal",
        "second lags weights",
        "predictor",
        "predictor of one episode",
        "second predictor covariates",
        "second predictor coefficients",
        "map",
        "map of two",
    ],
)
def test_verify_grad(expression, values):
    verify_grad(expression, values, rng=np.random.default_rng(0), mode="FAST_COMPILE")


@pytest.mark.parametrize("mode", [pytest.param("NUMBA", marks=pytest.mark.slow), "FAST_COMPILE"])
def test_batch_of_chains_equals_a_loop(mode):
    log_obs, logits, log_init = pt.dtensor3(), pt.dtensor4(), pt.dmatrix()
    loglik = markov_loglik(log_obs, logits, log_init)
    inputs = [log_obs, logits, log_init]
    function = pytensor.function(inputs, [loglik, *pytensor.grad(loglik.sum(), inputs)], mode=mode)
    values = [random(3, 5, 2), random(3, 4, 2, 2), random(3, 2)]
    batched = function(*values)
    assert batched[0].shape == (3,)
    for c in range(3):
        one = chain_loglik(*(value[c] for value in values))
        for left, right in zip(batched, one, strict=True):
            np.testing.assert_allclose(left[c], right, atol=1e-13)


def test_batch_shares_what_has_no_batch_dimension():
    log_obs = random(3, 5, 2)
    logits, log_init = pt.dmatrix(), pt.dvector()
    loglik = markov_loglik(log_obs, logits, log_init)
    gradient = pytensor.grad(loglik.sum(), [logits, log_init])
    values = {logits: random(2, 2), log_init: random(2)}
    ours = pytensor.function([logits, log_init], gradient, mode="FAST_COMPILE")(*values.values())
    one_by_one = [chain_loglik(rows, values[logits][None], values[log_init]) for rows in log_obs]
    np.testing.assert_allclose(ours[0], sum(results[2][0] for results in one_by_one), atol=1e-13)
    np.testing.assert_allclose(ours[1], sum(results[3] for results in one_by_one), atol=1e-13)


def test_batched_density_and_lags_equal_a_loop():
    y, location, log_scale = random(3, TIMES), random(3, 2, TIMES, seed=1), random(3, EPISODES, 2, seed=2)
    ours = student_t_logpdf(y, location, log_scale, EPISODE, 5.0).eval(mode="FAST_COMPILE")
    signal, weights = random(3, 9), random(4)
    sums = lag_sum(signal, weights).eval(mode="FAST_COMPILE")
    for a in range(3):
        expected = run(StudentTLogpdf(), y[a], location[a], log_scale[a], EPISODE, 5.0)
        np.testing.assert_allclose(ours[a], expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(sums[a], run(LagSum(), signal[a], weights), rtol=1e-12, atol=1e-12)


def test_value_and_gradient_take_one_pass():
    variables = [pt.tensor(dtype="float64", shape=values.shape) for values in WHOLE]
    loglik = whole_model(*variables)
    function = pytensor.function(variables, [loglik, *pytensor.grad(loglik, variables)], mode="NUMBA")
    names = [str(node.op) for node in function.maker.fgraph.toposort()]
    assert sum("MarkovLoglik" in name for name in names) == 1
    assert sum("StudentTLogpdf" in name for name in names) == 2


def test_static_shapes_are_known():
    assert markov_loglik(pt.dmatrix(), pt.dmatrix(), pt.dvector()).type.shape == ()
    assert lag_sum(pt.tensor(shape=(30,)), pt.tensor(shape=(26,))).type.shape == (4,)
    location = pt.tensor(shape=(2, 6))
    assert student_t_logpdf(pt.dvector(), location, pt.dmatrix(), EPISODE, np.inf).type.shape == (2, 6)
    assert linear_predictor(location, pt.tensor(shape=(1, 2, 4))).type.shape == (4, 6)
    assert linear_map(np.ones((6, 3)), location).type.shape == (2, 3)


def test_other_types_are_cast():
    log_obs = np.array([[0, -1], [-2, 0]], dtype="float32")
    value = markov_loglik(log_obs, np.zeros((2, 2), dtype=int), [0, 0]).eval(mode="FAST_COMPILE")
    assert value.dtype == np.float64
    assert lag_sum([1, 2, 3], [1]).eval(mode="FAST_COMPILE").dtype == np.float64


def test_episode_has_no_gradient():
    episode = pt.lvector()
    total = student_t_logpdf(random(TIMES), random(2, TIMES), random(2, 2), episode, 5.0).sum()
    with pytest.raises(pytensor.gradient.DisconnectedInputError):
        pytensor.grad(total, episode)
    with pytest.raises(pytensor.gradient.DisconnectedInputError):
        pytensor.grad(linear_predictor(random(3, TIMES), random(2, 3, 1), episode).sum(), episode)


def test_second_derivatives_of_the_chain_are_refused():
    log_init = pt.dvector()
    slope = pytensor.grad(markov_loglik(random(4, 2), random(2, 2), log_init), log_init)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        pytensor.grad(slope.sum(), log_init)


def test_second_derivatives_of_the_densities_are_refused():
    location = pt.dmatrix()
    slope = pytensor.grad(student_t_logpdf(random(4), location, random(1, 2), [0] * 4, 5.0).sum(), location)
    with pytest.raises(NotImplementedError):
        pytensor.grad(slope.sum(), location)


@pytest.mark.parametrize(
    "inputs",
    [
        (random(5), random(2, 2), random(2)),
        (random(5, 2), random(2), random(2)),
        (random(5, 2), random(2, 2), random(1, 2)),
        (random(5, 2), random(3, 3), random(2)),
        (random(5, 2), random(2, 2), random(3)),
        (random(5, 2), random(5, 2, 2), random(2)),
        (random(3, 5, 2), random(4, 3, 2, 2, 2), random(2)),
    ],
)
def test_chain_refuses_shapes_that_do_not_fit(inputs):
    with pytest.raises(RegimelagError, match=r"rule: (.|\n)*came: (.|\n)*cure: "):
        markov_loglik(*inputs)


def test_lags_and_densities_refuse_shapes_that_do_not_fit():
    with pytest.raises(RegimelagError, match="cure: start the signal"):
        lag_sum(random(3), random(4))
    with pytest.raises(RegimelagError, match="at least one axis"):
        lag_sum(random(3), 1.0)
    good = {"y": random(6), "location": random(2, 6), "log_scale": random(2, 2), "episode": EPISODE}
    for wrong in (
        {"y": random(5)},
        {"location": random(6)},
        {"log_scale": random(2)},
        {"log_scale": random(2, 3)},
        {"episode": EPISODE * 1.0},
        {"episode": EPISODE[:5]},
    ):
        with pytest.raises(RegimelagError, match="cure: "):
            student_t_logpdf(**{**good, **wrong}, nu=5.0)
    for covariates, coefficients, episode in [
        (random(3), random(1, 3, 2), None),
        (random(3, 5), random(3, 2), None),
        (random(3, 5), random(1, 2, 2), None),
        (random(3, 5), random(2, 3, 2), EPISODE),
        (random(3, 6), random(2, 3, 2), EPISODE * 1.0),
    ]:
        with pytest.raises(RegimelagError, match="cure: "):
            linear_predictor(covariates, coefficients, episode)
    with pytest.raises(RegimelagError, match="nu is a scalar"):
        student_t_logpdf(**good, nu=random(2))


@pytest.mark.parametrize("mode", MODES)
def test_lengths_found_late_are_refused(mode):
    logits = pt.dtensor3()
    function = pytensor.function([logits], markov_loglik(random(5, 2), logits, random(2)), mode=mode)
    function(random(4, 2, 2))
    with pytest.raises(ValueError, match="one fewer than times"):
        function(random(5, 2, 2))


def test_density_finds_the_ends_of_short_and_long_runs_of_episodes():
    episode = np.repeat([0, 1, 0, 2, 1, 0], [1, 256, 257, 2, 900, 3])
    y, location, log_scale = random(episode.size), random(2, episode.size, seed=1), random(3, 2, seed=2)
    expected = stats.t(4.0, location, np.exp(log_scale)[episode].T).logpdf(y)
    np.testing.assert_allclose(run(StudentTLogpdf(), y, location, log_scale, episode, 4.0), expected, rtol=1e-10)
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match="every episode to be a row of log_scale"):
            run(StudentTLogpdf(), y, location, log_scale, np.append(episode[:-1], wrong), 4.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("of", ["predictor", "gradients"])
def test_predictor_refuses_an_episode_without_coefficients(of, mode):
    """The gradients alone too, since PyTensor then leaves the predictor itself out."""
    covariates, episode, coefficients = pt.dmatrix(), pt.lvector(), pt.dtensor3()
    found = linear_predictor(covariates, coefficients, episode)
    found = found if of == "predictor" else pytensor.grad(found.sum(), [covariates, coefficients])
    function = pytensor.function([covariates, coefficients, episode], found, mode=mode)
    right = random(3, 6), random(2, 3, 1), EPISODE
    function(*right)
    for wrong in (EPISODE + 1, EPISODE - 1, EPISODE[:5]):
        with pytest.raises(ValueError, match="the predictor needs"):
            function(*right[:2], wrong)
    if of == "predictor":
        with pytest.raises(ValueError, match="as many covariates"):
            function(right[0], random(2, 2, 1), EPISODE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reach", ["one lag", "all rows are history"])
def test_lag_sum_refuses_more_weights_than_rows(reach, mode):
    signal, weights = pt.dvector(), pt.dvector()
    function = pytensor.function([signal, weights], lag_sum(signal, weights), mode=mode)
    count = 1 if reach == "one lag" else 4
    np.testing.assert_allclose(function(random(4), random(count)), simple_lag_sum(random(4), random(count)))
    with pytest.raises(ValueError, match="at least as many rows"):
        function(random(4), random(5))


@pytest.mark.parametrize("regimes", [2, 3])
def test_compiled_chain_falls_back_to_the_exact_recursion(regimes):
    """Early evidence for one absorbing regime, stronger late evidence for the other: scaled probabilities lose it."""
    log_obs = np.full((40, regimes), -5000.0)
    log_obs[:, :2] = 0.0
    log_obs[:20, 1], log_obs[20:, 0] = -50.0, -100.0
    logits = np.where(np.eye(regimes) == 1, 0.0, -np.inf)
    rows = pt.tensor(shape=(None, regimes))
    loglik = markov_loglik(rows, logits, np.zeros(regimes))
    function = pytensor.function([rows], [loglik, pytensor.grad(loglik, rows)], mode="NUMBA")
    value, smoothed = function(log_obs)
    np.testing.assert_allclose(value, -1000.0, rtol=1e-12)
    np.testing.assert_allclose(smoothed[:, 1], 1.0)
    impossible = np.where(np.arange(40)[:, None] == 5, -np.inf, log_obs)
    assert function(impossible)[0] == -np.inf
    assert not function(impossible)[1].any()
    assert np.isnan(function(log_obs + np.nan)[0])


@pytest.mark.parametrize("mode", MODES)
def test_number_of_regimes_may_be_unknown_when_the_graph_is_built(mode):
    inputs = [pt.dmatrix(), pt.dtensor3(), pt.dvector()]
    function = pytensor.function(inputs, markov_loglik(*inputs), mode=mode)
    for regimes in (1, 2, 4):
        values = [random(7, regimes), random(6, regimes, regimes, seed=1), random(regimes, seed=2)]
        np.testing.assert_allclose(function(*values), chain_loglik(*values)[0], atol=1e-12)


@pytest.fixture(scope="module")
def small_model():
    """A PyMC model of two regimes around a potential."""
    y = np.concatenate([random(30), 3 * random(30, seed=1)])
    with pm.Model() as model:
        mu = pm.Normal("mu", shape=2)
        log_scale = pm.Normal("log_scale", shape=2)
        nu = pm.Gamma("nu", 2, 0.1)
        stay = pm.Normal("stay", 2, 1, shape=2)
        location = pt.zeros((1, 60)) + mu[:, None]
        log_obs = student_t_logpdf(y, location, log_scale[None], np.zeros(60, dtype=int), nu)
        pm.Potential("loglik", markov_loglik(log_obs.T, stay[:, None] * np.eye(2), np.zeros(2)))
    return model


def test_in_a_pymc_model(small_model):
    point = small_model.initial_point()
    in_python = small_model.compile_logp(mode="FAST_COMPILE")(point)
    compiled = small_model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
    compiled.set_extra_values({})
    vector = pm.blocking.DictToArrayBijection.map({v.name: point[v.name] for v in small_model.value_vars})
    value, gradient = compiled(vector)
    np.testing.assert_allclose(value, in_python, rtol=1e-12)
    assert np.isfinite(gradient).all()
    slope = small_model.compile_dlogp(mode="FAST_COMPILE")(point)
    np.testing.assert_allclose(np.sort(gradient), np.sort(slope), rtol=1e-10)


@pytest.mark.slow
def test_nutpie_samples_it(small_model):
    compiled = nutpie.compile_pymc_model(small_model)
    draws = nutpie.sample(compiled, draws=50, tune=100, chains=1, seed=1, progress_bar=False)
    assert np.isfinite(draws.posterior["mu"].values).all()


@pytest.mark.parametrize("mode", MODES)
def test_inputs_of_any_layout_in_memory(mode):
    """Strided, transposed and read-only arrays give the numbers of contiguous ones."""
    y, location, log_scale = pt.dvector(), pt.dmatrix(), pt.dmatrix()
    logits, log_init = pt.dtensor3(), pt.dvector()
    inputs = [y, location, log_scale, logits, log_init]
    loglik = markov_loglik(student_t_logpdf(y, location, log_scale, EPISODE, 5.0).T, logits, log_init)
    function = pytensor.function(inputs, [loglik, *pytensor.grad(loglik, inputs)], mode=mode)
    values = [random(TIMES), WHOLE[0], WHOLE[1], WHOLE[4], WHOLE[5]]
    turned = [np.repeat(values[0], 2)[::2], *map(np.asfortranarray, values[1:])]
    turned[1].flags.writeable = False
    for left, right in zip(function(*turned), function(*values), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)
