"""The point lag, marginalised: against enumeration, differences, and other ways to the same number."""

from __future__ import annotations

from functools import partial

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from builders import chain_loglik, run
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import central_difference, enumerate_lags, log_softmax, log_total
from pytensor.gradient import verify_grad
from pytensor.graph.replace import vectorize_graph

from regimelag.errors import RegimelagError
from regimelag.likelihood import lag_draws, lag_marginalization
from regimelag.likelihood.density import student_t_logpdf
from regimelag.likelihood.hmm_loglik import markov_loglik
from regimelag.likelihood.lag_marginalization import LagMarginalLoglik, lag_marginal_loglik

INF = np.inf
MODES = ["NUMBA", "FAST_COMPILE"]
# Recursions are compiled for each number of regimes, eight seconds each.
THREE = pytest.param(3, marks=pytest.mark.slow)
THREE_MOVING = pytest.param(3, False, marks=pytest.mark.slow)


# Here log_obs is (lag, time, regime) and steps come first, as in the readings.


def turned(value_and_adjoint, log_obs, transition_logits, log_init, log_prior):
    """Value and gradients of a function that wants lags last in log_obs and steps last in the logits."""
    loglik, d_log_obs, d_logits, *rest = value_and_adjoint(
        np.ascontiguousarray(log_obs.T), np.moveaxis(transition_logits, 0, -1).copy(), log_init, log_prior
    )
    return loglik, d_log_obs.T, np.moveaxis(d_logits, -1, 0), *rest


def fast(*inputs):
    return turned(lambda *values: run(LagMarginalLoglik(len(values[0])), *values), *inputs)


def filled(loop, *inputs):
    """Value of a loop that fills the gradients, and the gradients."""

    def value_and_adjoint(*values):
        gradients = list(map(np.empty_like, values))
        return loop(*values, *gradients), *gradients

    return turned(value_and_adjoint, *inputs)


def exact(*inputs):
    return filled(lag_marginalization.exact_loglik_and_adjoint, *inputs)


VALUES = [fast, exact]


def is_scaled(*inputs):
    """Whether scaled probabilities alone give the answer."""
    each = (0.0,) * inputs[0].shape[2]
    return not np.isnan(filled(partial(lag_marginalization.scaled_loglik_and_adjoint, each), *inputs)[0])


def make_lags(seed, lags, regimes, times, constant=False, forbidden=0.0, spread=2.0):
    """Random inputs; a share of the entries is -inf."""
    rng = np.random.default_rng(seed)
    log_obs = rng.normal(-1, spread, size=(lags, times, regimes))
    logits = rng.normal(0, spread, size=(1 if constant else times - 1, regimes, regimes))
    log_init, log_prior = rng.normal(size=regimes), np.log(rng.dirichlet(np.ones(lags)))
    for values in (log_obs, logits, log_init, log_prior):
        values[rng.random(values.shape) < forbidden] = -INF
    return log_obs, logits, log_init, log_prior


@st.composite
def inputs_of_lags(draw):
    lags, regimes, times = draw(st.sampled_from([1, 2, 3, 9])), draw(st.integers(1, 2)), draw(st.integers(1, 4))
    number = st.one_of(st.floats(-30, 30), st.floats(-900, 900), st.just(-INF))

    def array(*shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(number, min_size=size, max_size=size)), dtype=float).reshape(shape)

    steps = draw(st.sampled_from([1, times - 1]))
    return array(lags, times, regimes), array(steps, regimes, regimes), array(regimes), array(lags)


def as_draw(log_obs, logits, log_init, log_prior):
    return log_obs[None], logits[None], log_init[None], log_prior


def readings(*draws):
    """Log density, posterior of the lag, and a drawn lag."""
    log_density, probability = lag_draws.filter_lags_draws(*draws)
    return log_density, probability, lag_draws.sample_lags(probability, np.linspace(0, 0.999, len(probability)))


# One time, so that a dead end of the only matrix is never met.
ONE_TIME = np.zeros((2, 1, 2)), np.array([[[-INF, -INF], [0.0, 0.0]]]), np.zeros(2), np.zeros(2)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@settings(max_examples=100, deadline=None)
@given(inputs=inputs_of_lags())
@example(inputs=ONE_TIME)
def test_value_and_adjoint_equal_enumeration(value_and_adjoint, inputs):
    loglik, d_log_obs, d_logits, d_log_init, d_log_prior = value_and_adjoint(*inputs)
    oracle = enumerate_lags(*inputs)
    if oracle.loglik == -INF:
        assert loglik == -INF
        assert not any(gradient.any() for gradient in (d_log_obs, d_logits, d_log_init, d_log_prior))
        return
    np.testing.assert_allclose(loglik, oracle.loglik, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(d_log_obs, oracle.smoothed, atol=1e-10)
    np.testing.assert_allclose(d_log_init, oracle.smoothed[:, 0].sum(axis=0), atol=1e-10)
    np.testing.assert_allclose(d_log_prior, oracle.posterior, atol=1e-10)
    expected = oracle.d_logits
    expected = expected if len(expected) == len(inputs[1]) else expected.sum(axis=0, keepdims=True)
    np.testing.assert_allclose(d_logits, expected, atol=1e-10)


# Two lags of which the data exclude one, a dead end, and a regime in which no chain can start.
ONE_WAY = (
    np.array([[[0.0, 0.0], [0.0, -INF], [-INF, -INF]], [[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]]]),
    np.array([[[0.0, 1.0], [-INF, -INF]], [[0.0, 0.0], [-INF, -INF]]]),
    np.array([0.0, -INF]),
    np.log([0.25, 0.75]),
)


@settings(max_examples=60, deadline=None)
@given(inputs=inputs_of_lags())
@example(inputs=ONE_WAY)
def test_readings_equal_enumeration(inputs):
    oracle = enumerate_lags(*inputs)
    (log_density,), (posterior,), (chosen,) = readings(*as_draw(*inputs))
    if oracle.loglik == -INF:
        assert np.isnan(posterior).all()
        assert log_density.sum() == -INF
        assert chosen == -1
        return
    np.testing.assert_allclose(posterior, oracle.posterior, atol=1e-10)
    np.testing.assert_allclose(log_density.sum(), oracle.loglik, rtol=1e-10, atol=1e-10)
    prefixes = [enumerate_lags(*prefix(inputs, t)).loglik for t in range(1, inputs[0].shape[1] + 1)]
    np.testing.assert_allclose(log_density, np.diff([0.0, *prefixes]), rtol=1e-9, atol=1e-9)
    assert oracle.log_weights[chosen] > -INF


def prefix(inputs, times):
    log_obs, logits, log_init, log_prior = inputs
    steps = logits if len(logits) == 1 and log_obs.shape[1] > 2 else logits[: times - 1]
    return log_obs[:, :times], steps, log_init, log_prior


@pytest.mark.slow
@pytest.mark.parametrize("spread", [1.0, 10.0, 300.0])
@pytest.mark.parametrize(("regimes", "constant"), [(1, False), (2, False), (2, True), THREE_MOVING])
def test_leave_one_out_equals_enumeration_without_the_row(regimes, constant, spread):
    inputs = make_lags(3, 3, regimes, 4, constant, spread=spread)
    ours = lag_draws.leave_one_out_lags_draws(*as_draw(*inputs))[0]
    np.testing.assert_allclose(ours, left_out(*inputs), rtol=1e-11, atol=1e-11)


def left_out(log_obs, *rest):
    """Log density of each row given the others, from all lags and paths with and without it."""
    whole = enumerate_lags(log_obs, *rest).loglik
    without = [np.where(np.arange(log_obs.shape[1])[:, None] == t, 0.0, log_obs) for t in range(log_obs.shape[1])]
    return whole - np.array([enumerate_lags(rows, *rest).loglik for rows in without])


def test_leave_one_out_of_an_impossible_row():
    log_obs, *rest = make_lags(3, 2, 2, 4)
    log_obs[:, 2] = -INF
    ours = lag_draws.leave_one_out_lags_draws(*as_draw(log_obs, *rest))[0]
    np.testing.assert_array_equal(ours, [np.nan, np.nan, -INF, np.nan])


def test_leave_one_out_where_rows_are_impossible_under_some_lags():
    """One row excludes the first lag, two rows the second; a forbidden lag and a dead end."""
    log_obs, *rest = make_lags(3, 4, 2, 5)
    log_obs[0, 2], log_obs[1, 1], log_obs[1, 3] = -INF, -INF, -INF
    rest[2][3] = -INF
    rest[0][1, 1] = -INF
    ours = lag_draws.leave_one_out_lags_draws(*as_draw(log_obs, *rest))[0]
    np.testing.assert_allclose(ours, left_out(log_obs, *rest), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("value_and_adjoint", "lags"), [(fast, 5), (fast, 67), (exact, 5)])
@pytest.mark.parametrize(("regimes", "constant"), [(1, True), (2, False), (2, True), THREE_MOVING])
def test_adjoint_equals_central_differences(value_and_adjoint, regimes, constant, lags):
    inputs = list(make_lags(11, lags, regimes, 20, constant))
    gradients = value_and_adjoint(*inputs)[1:]
    for position, gradient in enumerate(gradients):

        def value(changed, position=position):
            return value_and_adjoint(*inputs[:position], changed, *inputs[position + 1 :])[0]

        np.testing.assert_allclose(gradient, central_difference(value, inputs[position], 1e-5), atol=2e-8)


@pytest.mark.parametrize("regimes", [1, 2, THREE])
@pytest.mark.parametrize("lags", [1, 4, 26, 64, 65, 130])
@pytest.mark.parametrize("times", [1, 2, 7, 8, 9, 17, 300])
def test_scaled_and_exact_agree(times, lags, regimes):
    inputs = make_lags(times, lags, regimes, times, spread=4.0)
    assert is_scaled(*inputs)
    for left, right in zip(fast(*inputs), exact(*inputs), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("lags", [6, 70])
@pytest.mark.parametrize("regimes", [2, THREE])
def test_lags_thousands_of_nats_apart(regimes, lags):
    """All weight lies on one lag."""
    log_obs, logits, log_init, log_prior = make_lags(5, lags, regimes, 90)
    log_obs[:] -= 100.0 * (np.arange(lags)[:, None, None] != 4)
    inputs = log_obs, logits, log_init, log_prior
    assert is_scaled(*inputs)
    loglik, smoothed, d_logits, _ = chain_loglik(log_obs[4], logits, log_init)
    for value_and_adjoint in VALUES:
        results = value_and_adjoint(*inputs)
        np.testing.assert_allclose(results[0], loglik + log_prior[4], rtol=1e-12)
        np.testing.assert_allclose(results[1][4], smoothed, atol=1e-12)
        np.testing.assert_allclose(results[2], d_logits, atol=1e-12)
        np.testing.assert_allclose(results[4], np.arange(lags) == 4, atol=1e-12)


def test_long_series_equals_exact_recursion():
    inputs = make_lags(1, 5, 2, 20_000, spread=10.0)
    assert is_scaled(*inputs)
    ours, theirs = fast(*inputs), exact(*inputs)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
    for left, right in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(left, right, atol=1e-9)


def late_evidence(lags):
    """Two absorbing regimes, and the answer: lag 0, whose likelihood underflows in scaled probabilities.

    Under lag 0 early rows rule regime 1 out by 1000 nats and late rows regime 0 by 2000. Under the other lags each row
    is worse by 100 nats, and nothing is extreme.
    """
    log_obs = np.full((lags, 40, 2), -100.0)
    log_obs[0] = 0.0
    log_obs[0, :20, 1], log_obs[0, 20:, 0] = -50.0, -100.0
    logits = np.where(np.eye(2) == 1, 0.0, -INF)[None]
    return (log_obs, logits, np.log([0.5, 0.5]), np.full(lags, -np.log(lags))), -1000.0 + np.log(0.5 / lags)


@pytest.mark.parametrize("lags", [2, 70])
@pytest.mark.parametrize("value_and_adjoint", VALUES)
def test_lag_whose_scaled_likelihood_underflows(value_and_adjoint, lags):
    inputs, expected = late_evidence(lags)
    assert not is_scaled(*inputs)
    loglik, d_log_obs, _, _, d_log_prior = value_and_adjoint(*inputs)
    np.testing.assert_allclose(loglik, expected, rtol=1e-12)
    np.testing.assert_allclose(d_log_obs[0, :, 1], 1.0)
    np.testing.assert_allclose(d_log_prior, np.arange(lags) == 0, atol=1e-12)


@pytest.mark.parametrize("lags", [5, 70])
def test_lag_without_prior_is_as_good_as_absent(lags):
    log_obs, logits, log_init, log_prior = make_lags(2, lags, 2, 50)
    kept = ~np.isin(np.arange(lags), [1, 4])
    log_prior[~kept] = -INF
    log_obs[1, :, 0] = -INF
    inputs = log_obs, logits, log_init, log_prior
    assert is_scaled(*inputs)
    ours, absent = fast(*inputs), fast(log_obs[kept], logits, log_init, log_prior[kept])
    np.testing.assert_allclose(ours[0], absent[0], rtol=1e-13)
    np.testing.assert_allclose(ours[1][kept], absent[1], atol=1e-13)
    np.testing.assert_allclose(ours[2], absent[2], atol=1e-13)
    assert not ours[1][~kept].any()
    assert not ours[4][~kept].any()


@pytest.mark.parametrize("lags", [5, 70])
@pytest.mark.parametrize("regimes", [1, 2, THREE])
def test_forbidden_entries_agree_with_the_exact_recursion(regimes, lags):
    for seed in range(20):
        inputs = make_lags(seed, lags, regimes, 30, forbidden=0.03)
        for left, right in zip(fast(*inputs), exact(*inputs), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@pytest.mark.parametrize("bad", [np.nan, INF])
@pytest.mark.parametrize("position", [0, 1, 2, 3])
@pytest.mark.parametrize("lags", [1, 5, 70])
@pytest.mark.parametrize("regimes", [2, THREE])
def test_nan_in_is_nan_out(regimes, lags, position, bad, value_and_adjoint):
    inputs = make_lags(2, lags, regimes, 12)
    inputs[position].flat[-1] = bad
    for result in value_and_adjoint(*inputs):
        assert np.isnan(result).all()
    log_density, probability, chosen = readings(*as_draw(*inputs))
    assert np.isnan(log_density).all()
    assert np.isnan(probability).all()
    assert chosen == -1
    assert np.isnan(lag_draws.leave_one_out_lags_draws(*as_draw(*inputs))).all()


def test_nan_of_a_lag_without_prior_is_nan_too():
    inputs = make_lags(2, 3, 2, 12)
    inputs[0][1, 5, 0], inputs[3][1] = np.nan, -INF
    assert np.isnan(fast(*inputs)[0])
    assert np.isnan(lag_draws.filter_lags_draws(*as_draw(*inputs))[1]).all()


@pytest.mark.parametrize("lags", [7, 71])
@pytest.mark.parametrize("regimes", [2, THREE])
def test_relabelling_relabels_results(regimes, lags):
    log_obs, logits, log_init, log_prior = make_lags(5, lags, regimes, 100)
    rng = np.random.default_rng(5)
    r, c = rng.permutation(regimes), rng.permutation(lags)
    before = fast(log_obs, logits, log_init, log_prior)
    after = fast(log_obs[c][:, :, r], logits[:, r][:, :, r], log_init[r], log_prior[c])
    np.testing.assert_allclose(after[0], before[0], rtol=1e-12)
    np.testing.assert_allclose(after[1], before[1][c][:, :, r], atol=1e-12)
    np.testing.assert_allclose(after[2], before[2][:, r][:, :, r], atol=1e-12)
    np.testing.assert_allclose(after[3], before[3][r], atol=1e-12)
    np.testing.assert_allclose(after[4], before[4][c], atol=1e-12)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("regimes", [1, 2, THREE])
def test_is_the_weighted_sum_of_the_likelihoods_of_all_lags(regimes, constant):
    """Value and gradients, for any number of lags, from `markov_loglik` of each of them."""
    variables = [pt.tensor(shape=(None, None, regimes)), pt.dmatrix() if constant else pt.dtensor3()]
    variables += [pt.dvector(), pt.dvector()]
    log_obs, logits, log_init, log_prior = variables
    moving = logits if constant else logits[None]
    values = [
        lag_marginal_loglik(log_obs.T, logits, log_init, log_prior),
        pt.logsumexp(markov_loglik(log_obs, moving, log_init) + log_prior),
    ]
    functions = [
        pytensor.function(variables, [value, *pytensor.grad(value, variables)], mode="FAST_COMPILE") for value in values
    ]
    for lags in (1, 3, 4, 7, 26):
        inputs = list(make_lags(6 + lags, lags, regimes, 120, constant))
        inputs[1] = inputs[1][0] if constant else inputs[1]
        ours, theirs = (function(*inputs) for function in functions)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-13)
        for left, right in zip(ours[1:], theirs[1:], strict=True):
            np.testing.assert_allclose(left, right, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("value_and_adjoint", VALUES)
def test_is_a_chain_of_pairs(value_and_adjoint):
    """The pair (lag, regime) as one regime of a larger chain, with -inf for steps that no pair can take."""
    lags, regimes, times = 3, 2, 40
    log_obs, logits, log_init, log_prior = make_lags(7, lags, regimes, times)
    stays = np.where(np.eye(lags) == 1, 0.0, -INF)
    pairs = stays[:, None, :, None] + log_softmax(logits)[:, None, :, None, :]
    pairs = pairs.reshape(times - 1, lags * regimes, lags * regimes)
    by_time = np.moveaxis(log_obs, 1, 0).reshape(times, -1)
    loglik, smoothed, _, _ = chain_loglik(by_time, pairs, (log_prior[:, None] + log_init).ravel())
    results = value_and_adjoint(log_obs, logits, log_init, log_prior)
    np.testing.assert_allclose(results[0], loglik, rtol=1e-12)
    np.testing.assert_allclose(np.moveaxis(results[1], 1, 0).reshape(times, -1), smoothed, atol=1e-12)


def test_draws_equal_a_loop_over_draws_in_any_layout_in_memory():
    draws = [make_lags(seed, 4, 2, 15) for seed in range(3)]
    log_prior = draws[0][3]
    stacked = [np.asfortranarray([draw[position] for draw in draws]) for position in range(3)]
    uniforms = np.random.default_rng(0).random(3)
    log_density, probability = lag_draws.filter_lags_draws(*stacked, log_prior)
    left = lag_draws.leave_one_out_lags_draws(*stacked, log_prior)
    chosen = lag_draws.sample_lags(probability, uniforms)
    assert [values.shape for values in (log_density, probability, left, chosen)] == [(3, 15), (3, 4), (3, 15), (3,)]
    for d, (log_obs, logits, log_init, _) in enumerate(draws):
        one = as_draw(log_obs, logits, log_init, log_prior)
        of_one = lag_draws.filter_lags_draws(*one)
        np.testing.assert_allclose(log_density[d], of_one[0][0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(probability[d], of_one[1][0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(left[d], lag_draws.leave_one_out_lags_draws(*one)[0], rtol=1e-12, atol=1e-12)
        assert chosen[d] == lag_draws.sample_lags(of_one[1], uniforms[d : d + 1])[0]


def test_readings_where_scaled_probabilities_fail():
    inputs, expected = late_evidence(2)
    log_density, probability, _ = readings(*as_draw(*inputs))
    np.testing.assert_allclose(probability, [[1.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(log_density.sum(), expected, rtol=1e-12)
    left = lag_draws.leave_one_out_lags_draws(*as_draw(*inputs))[0]
    np.testing.assert_allclose(left, np.repeat([-50.0, 0.0], 20), atol=1e-9)


def test_filter_does_not_see_the_future():
    inputs = make_lags(4, 5, 2, 50)
    log_density = lag_draws.filter_lags_draws(*as_draw(*inputs))[0][0]
    for times in (2, 17, 49):
        early = lag_draws.filter_lags_draws(*as_draw(*prefix(inputs, times)))[0][0]
        np.testing.assert_allclose(early, log_density[:times], rtol=1e-12, atol=1e-12)


def test_sampled_lags_have_their_probabilities():
    """Each frequency lies within five standard errors of its probability."""
    draws = 20_000
    inputs = make_lags(8, 3, 2, 4, spread=1.0)
    posterior = enumerate_lags(*inputs).posterior
    uniforms = np.random.default_rng(123).random(draws)
    chosen = lag_draws.sample_lags(np.broadcast_to(posterior, (draws, 3)), uniforms)
    for lag, probability in enumerate(posterior):
        frequency = (chosen == lag).mean()
        assert abs(frequency - probability) <= 5 * np.sqrt(probability * (1 - probability) / draws) + 1e-12


def test_a_lag_of_probability_zero_is_never_drawn():
    probability = np.array([[0.0, 0.25, 0.0, 0.75, 0.0]] * 5)
    uniforms = np.array([0.0, 0.25, 0.2, 0.7, np.nextafter(1.0, 0.0)])
    np.testing.assert_array_equal(lag_draws.sample_lags(probability, uniforms), [1, 3, 1, 3, 3])
    # A sum short of one by rounding.
    np.testing.assert_array_equal(lag_draws.sample_lags(probability[:1] * (1 - 1e-12), uniforms[-1:]), [3])


def test_shapes_that_do_not_fit_are_refused():
    log_obs, logits, log_init, log_prior = make_lags(2, 3, 2, 12)
    for wrong in (
        (log_obs[:2], logits, log_init, log_prior),
        (log_obs, logits[:-1], log_init, log_prior),
        (log_obs, logits[:, :1], log_init, log_prior),
        (log_obs, logits, log_init[:1], log_prior),
        (log_obs, logits, log_init, log_prior[:-1]),
    ):
        with pytest.raises(ValueError, match="log likelihood needs"):
            fast(*wrong)
        for verb in (lag_draws.filter_lags_draws, lag_draws.leave_one_out_lags_draws):
            with pytest.raises(ValueError, match=r"readings need|recursions need"):
                verb(*as_draw(*wrong))
    with pytest.raises(ValueError, match="same number of draws"):
        lag_draws.filter_lags_draws(log_obs[None], logits[None], np.stack([log_init, log_init]), log_prior)
    with pytest.raises(ValueError, match="uniforms"):
        lag_draws.sample_lags(np.ones((1, 3)) / 3, np.zeros(2))


def compiled(regimes, mode):
    """Value and gradients as a function of the four inputs, lags and times unknown."""
    variables = [pt.tensor(shape=(regimes, None, None)), pt.dtensor3(), pt.dvector(), pt.dvector()]
    loglik = lag_marginal_loglik(*variables)
    return pytensor.function(variables, [loglik, *pytensor.grad(loglik, variables)], mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("regimes", [1, 2])
def test_op_equals_enumeration(regimes, mode):
    function = compiled(regimes, mode)
    for lags in (3, 9):
        inputs = make_lags(9, lags, regimes, 4)
        oracle = enumerate_lags(*inputs)
        value, d_log_obs, d_logits, d_log_init, d_log_prior = function(inputs[0].T, *inputs[1:])
        np.testing.assert_allclose(value, oracle.loglik, rtol=1e-12)
        np.testing.assert_allclose(d_log_obs.T, oracle.smoothed, atol=1e-12)
        np.testing.assert_allclose(d_logits, oracle.d_logits, atol=1e-12)
        np.testing.assert_allclose(d_log_init, oracle.smoothed[:, 0].sum(axis=0), atol=1e-12)
        np.testing.assert_allclose(d_log_prior, oracle.posterior, atol=1e-12)


@pytest.mark.parametrize("constant", [False, True])
def test_verify_grad(constant):
    log_obs, logits, *rest = make_lags(10, 3, 2, 5, constant)
    values = [log_obs.T.copy(), logits[0] if constant else logits, *rest]
    verify_grad(lag_marginal_loglik, values, rng=np.random.default_rng(0), mode="FAST_COMPILE")


@pytest.mark.parametrize("mode", MODES)
def test_compiled_op_falls_back_to_the_exact_recursion(mode):
    (log_obs, *rest), expected = late_evidence(10)
    function = compiled(2, mode)
    value, d_log_obs, *_, d_log_prior = function(log_obs.T, *(np.broadcast_to(rest[0], (39, 2, 2)), *rest[1:]))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(d_log_obs.T[0, :, 1], 1.0)
    np.testing.assert_allclose(d_log_prior, np.arange(10) == 0, atol=1e-12)
    impossible = np.where(np.arange(40)[:, None] == 5, -INF, log_obs)
    value, *gradients = function(impossible.T, *rest)
    assert value == -INF
    assert not any(gradient.any() for gradient in gradients)
    assert np.isnan(function(log_obs.T + np.nan, *rest)[0])


@pytest.mark.parametrize("mode", MODES)
def test_lengths_found_late_are_refused(mode):
    log_obs, logits, log_init, log_prior = make_lags(2, 3, 2, 4)
    late_logits, late_prior = pt.dtensor3(), pt.dvector()
    loglik = lag_marginal_loglik(log_obs.T, late_logits, log_init, late_prior)
    function = pytensor.function([late_logits, late_prior], loglik, mode=mode)
    function(logits, log_prior)
    for wrong in [(logits, log_prior[:2]), (logits[:2], log_prior), (logits[:, :1], log_prior)]:
        with pytest.raises(ValueError, match="log likelihood needs"):
            function(*wrong)


@pytest.mark.parametrize(
    ("position", "wrong"),
    [
        (0, np.zeros((2, 4))),
        (0, np.zeros((2, 4, 2))),
        (0, np.zeros((3, 4, 3))),
        (1, np.zeros((4, 2, 2))),
        (1, np.zeros(2)),
        (2, np.zeros(3)),
        (3, np.zeros((1, 3))),
        (3, np.zeros(4)),
    ],
)
def test_builder_refuses_what_does_not_fit(position, wrong):
    inputs = [np.zeros((2, 4, 3)), np.zeros((3, 2, 2)), np.zeros(2), np.zeros(3)]
    inputs[position] = wrong
    with pytest.raises(RegimelagError, match=r"rule: (.|\n)*came: (.|\n)*cure: "):
        lag_marginal_loglik(*inputs)


def test_a_number_of_regimes_that_is_not_known_takes_the_exact_recursion():
    inputs = make_lags(4, 3, 2, 6)
    unknown = turned(lambda *values: run(LagMarginalLoglik(None), *values), *inputs)
    for left, right in zip(unknown, fast(*inputs), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-12)


def test_second_derivatives_are_refused():
    log_obs, logits, log_init, _ = make_lags(2, 3, 2, 4)
    late_prior = pt.dvector()
    slope = pytensor.grad(lag_marginal_loglik(log_obs.T, logits, log_init, late_prior), late_prior)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        pytensor.grad(slope.sum(), late_prior)


def test_vectorized_over_draws():
    draws = [make_lags(seed, 3, 2, 4) for seed in range(3)]
    rest = draws[0][1:]
    one, many = pt.tensor(shape=(2, 4, 3)), pt.tensor(shape=(None, 2, 4, 3))
    loglik = lag_marginal_loglik(one, *rest)
    stacked = np.stack([draw[0].T for draw in draws])
    values = vectorize_graph(loglik, {one: many}).eval({many: stacked}, mode="FAST_COMPILE")
    np.testing.assert_allclose(values, [fast(draw[0], *rest)[0] for draw in draws], rtol=1e-12)


@pytest.mark.slow
def test_in_a_pymc_model():
    """Density of each time, regime and lag, then the likelihood: gradient against differences, in one pass."""
    rng = np.random.default_rng(1)
    signal, y, lags = rng.normal(size=35), rng.normal(size=30), 5
    lagged = np.stack([signal[5 - lag : 35 - lag] for lag in range(1, lags + 1)], axis=-1)
    with pm.Model() as model:
        effect = pm.Normal("effect", shape=2)
        log_scale = pm.Normal("log_scale", shape=2)
        location = (lagged[None] * effect[:, None, None]).reshape((2, 30 * lags))
        episode = np.zeros(30 * lags, dtype=int)
        log_obs = student_t_logpdf(np.repeat(y, lags), location, log_scale[None], episode, 5.0)
        log_obs = log_obs.reshape((2, 30, lags))
        log_prior = np.full(lags, -np.log(lags))
        pm.Potential("loglik", lag_marginal_loglik(log_obs, np.eye(2), np.zeros(2), log_prior))
    function = model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
    function.set_extra_values({})
    point = rng.normal(size=4)
    value, gradient = function(point)
    by_lag = [
        markov_loglik(
            student_t_logpdf(y, lagged[:, c] * point[:2, None], point[None, 2:], np.zeros(30, dtype=int), 5.0).T,
            np.eye(2),
            np.zeros(2),
        ).eval(mode="FAST_COMPILE")
        for c in range(lags)
    ]
    prior = -0.5 * (point**2).sum() - 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(value, prior + log_total(np.array(by_lag) - np.log(lags)), rtol=1e-12)
    slope = central_difference(lambda values: function(values)[0], point)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-6)
