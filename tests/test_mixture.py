"""The uncertain point lag, summed out: against enumeration, differences, and other ways to the same number."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import central_difference, enumerate_mixture, log_softmax, log_total
from pytensor.gradient import verify_grad
from pytensor.graph.replace import vectorize_graph

from regimelag.errors import RegimelagError
from regimelag.likelihood import chain, mixture, mixture_draws, mixture_recursions
from regimelag.likelihood.op import lag_mixture_loglik, student_t_logpdf

INF = np.inf
MODES = ["NUMBA", "FAST_COMPILE"]
# Recursions are compiled for each number of regimes, eight seconds each.
THREE = pytest.param(3, marks=pytest.mark.slow)
THREE_MOVING = pytest.param(3, False, marks=pytest.mark.slow)


def fast(log_obs, transition_logits, log_init, log_prior, block):
    """The fast recursion with steps first, as the exact one has them."""
    logits = transition_logits.transpose(1, 2, 0)
    loglik, d_log_obs, d_logits, *rest = mixture.lag_loglik_and_adjoint(log_obs, logits, log_init, log_prior, block)
    return loglik, d_log_obs, d_logits.transpose(2, 0, 1), *rest


VALUES = [fast, mixture_recursions.exact_lag_loglik_and_adjoint]


def is_scaled(log_obs, transition_logits, log_init, log_prior, block):
    """Whether scaled probabilities alone give the answer."""
    each, logits = (0.0,) * len(log_init), np.ascontiguousarray(transition_logits.transpose(1, 2, 0))
    room = [np.empty_like(values) for values in (log_obs, log_obs, logits, log_init, log_prior)]
    chain.fill_softmax(each, logits, room[2])
    probability = np.empty((block[-1] + 1, len(log_prior)))
    inputs = log_obs, log_init, log_prior, block
    return not np.isnan(mixture.scaled_lag_loglik_and_adjoint(each, *inputs, *room, probability))


def make_mixture(seed, combinations, regimes, block, constant=False, forbidden=0.0, spread=2.0):
    """Random inputs; a share of the entries is -inf."""
    rng, times = np.random.default_rng(seed), len(block)
    log_obs = rng.normal(-1, spread, size=(combinations, regimes, times))
    logits = rng.normal(0, spread, size=(1 if constant else times - 1, regimes, regimes))
    log_init, log_prior = rng.normal(size=regimes), np.log(rng.dirichlet(np.ones(combinations)))
    for values in (log_obs, logits, log_init, log_prior):
        values[rng.random(values.shape) < forbidden] = -INF
    return log_obs, logits, log_init, log_prior, np.asarray(block)


def blocks_of(times, blocks):
    return np.arange(times) * blocks // times


@st.composite
def mixtures(draw):
    combinations, regimes, times = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 4))
    rises = draw(st.lists(st.integers(0, 1), min_size=times - 1, max_size=times - 1))
    number = st.one_of(st.floats(-30, 30), st.floats(-900, 900), st.just(-INF))

    def array(*shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(number, min_size=size, max_size=size)), dtype=float).reshape(shape)

    steps = draw(st.sampled_from([1, times - 1]))
    block = np.cumsum([0, *rises])
    return (
        array(combinations, regimes, times),
        array(steps, regimes, regimes),
        array(regimes),
        array(combinations),
        block,
    )


def as_draw(log_obs, logits, log_init, log_prior, block):
    return log_obs[None], logits[None], log_init[None], log_prior, block


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@settings(max_examples=100, deadline=None)
@given(inputs=mixtures())
def test_value_and_adjoint_equal_enumeration(value_and_adjoint, inputs):
    loglik, d_log_obs, d_logits, d_log_init, d_log_prior = value_and_adjoint(*inputs)
    oracle = enumerate_mixture(*inputs)
    if oracle.loglik == -INF:
        assert loglik == -INF
        assert not any(gradient.any() for gradient in (d_log_obs, d_logits, d_log_init, d_log_prior))
        return
    np.testing.assert_allclose(loglik, oracle.loglik, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(d_log_obs, oracle.smoothed, atol=1e-10)
    np.testing.assert_allclose(d_log_init, oracle.smoothed[:, :, 0].sum(axis=0), atol=1e-10)
    np.testing.assert_allclose(d_log_prior, oracle.posterior.sum(axis=0), atol=1e-10)
    expected = oracle.d_logits
    expected = expected if len(expected) == len(inputs[1]) else expected.sum(axis=0, keepdims=True)
    np.testing.assert_allclose(d_logits, expected, atol=1e-10)


# Two combinations of which the data exclude one in each block, a dead end, and a regime in which no chain can start.
ONE_WAY = (
    np.array([[[0.0, 0.0, -INF], [0.0, -INF, -INF]], [[-INF, 0.0, 1.0], [-INF, 0.0, 2.0]]]),
    np.array([[[0.0, 1.0], [-INF, -INF]], [[0.0, 0.0], [-INF, -INF]]]),
    np.array([0.0, -INF]),
    np.log([0.25, 0.75]),
    np.array([0, 0, 1]),
)


@settings(max_examples=60, deadline=None)
@given(inputs=mixtures())
@example(inputs=ONE_WAY)
def test_readings_equal_enumeration(inputs):
    times, oracle = len(inputs[-1]), enumerate_mixture(*inputs)
    posterior = mixture_draws.lag_posterior_draws(*as_draw(*inputs))[0]
    log_density = mixture_draws.lag_filter_draws(*as_draw(*inputs))[0]
    chosen = mixture_draws.sample_lags_draws(*as_draw(*inputs), np.linspace(0, 0.999, times)[None])[0]
    if oracle.loglik == -INF:
        assert np.isnan(posterior).all()
        assert log_density.sum() == -INF
        assert (chosen == -1).all()
        return
    np.testing.assert_allclose(posterior, oracle.posterior, atol=1e-10)
    np.testing.assert_allclose(log_density.sum(), oracle.loglik, rtol=1e-10, atol=1e-10)
    prefixes = [enumerate_mixture(*prefix(inputs, t)).loglik for t in range(1, times + 1)]
    np.testing.assert_allclose(log_density, np.diff([0.0, *prefixes]), rtol=1e-9, atol=1e-9)
    assert oracle.log_weights[(oracle.chosen == chosen).all(axis=1)].item() > -INF


def prefix(inputs, times):
    log_obs, logits, log_init, log_prior, block = inputs
    steps = logits if len(logits) == 1 and len(block) > 2 else logits[: times - 1]
    return log_obs[:, :, :times], steps, log_init, log_prior, block[:times]


@pytest.mark.parametrize("spread", [1.0, 10.0, 300.0])
@pytest.mark.parametrize(("regimes", "constant"), [(1, False), (2, False), (2, True), THREE_MOVING])
def test_leave_one_out_equals_enumeration_without_the_row(regimes, constant, spread):
    log_obs, *rest = make_mixture(3, 3, regimes, [0, 0, 1, 1], constant, spread=spread)
    loglik = enumerate_mixture(log_obs, *rest).loglik
    without = [enumerate_mixture(np.where(np.arange(4) == t, 0.0, log_obs), *rest).loglik for t in range(4)]
    ours = mixture_draws.lag_leave_one_out_draws(*as_draw(log_obs, *rest))[0]
    np.testing.assert_allclose(ours, loglik - np.array(without), rtol=1e-11, atol=1e-11)


def test_leave_one_out_of_an_impossible_row():
    log_obs, *rest = make_mixture(3, 2, 2, [0, 0, 1, 1])
    log_obs[:, :, 2] = -INF
    ours = mixture_draws.lag_leave_one_out_draws(*as_draw(log_obs, *rest))[0]
    np.testing.assert_array_equal(ours, [np.nan, np.nan, -INF, np.nan])


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@pytest.mark.parametrize(("regimes", "constant"), [(1, True), (2, False), (2, True), THREE_MOVING])
def test_adjoint_equals_central_differences(value_and_adjoint, regimes, constant):
    inputs = list(make_mixture(11, 5, regimes, blocks_of(20, 3), constant))
    gradients = value_and_adjoint(*inputs)[1:]
    for position, gradient in enumerate(gradients):

        def value(changed, position=position):
            return value_and_adjoint(*inputs[:position], changed, *inputs[position + 1 :])[0]

        np.testing.assert_allclose(gradient, central_difference(value, inputs[position], 1e-5), atol=2e-8)


@pytest.mark.parametrize("regimes", [1, 2, THREE])
@pytest.mark.parametrize("combinations", [1, 4, 26])
@pytest.mark.parametrize(("times", "blocks"), [(1, 1), (2, 1), (2, 2), (9, 1), (10, 3), (17, 17), (300, 4)])
def test_scaled_and_exact_agree(times, blocks, combinations, regimes):
    inputs = make_mixture(times, combinations, regimes, blocks_of(times, blocks), spread=4.0)
    assert is_scaled(*inputs)
    for left, right in zip(fast(*inputs), VALUES[1](*inputs), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("regimes", [2, THREE])
def test_combinations_thousands_of_nats_apart(regimes, blocks):
    """All weight lies on one combination, another one in each block."""
    log_obs, logits, log_init, log_prior, block = make_mixture(5, 6, regimes, blocks_of(90, blocks))
    winners = np.array([4, 0, 2])[:blocks]
    log_obs[:] -= 100.0 * (np.arange(6)[:, None, None] != winners[block])
    inputs = log_obs, logits, log_init, log_prior, block
    assert is_scaled(*inputs)
    alone = log_obs[winners[block], :, np.arange(90)]
    loglik, smoothed, d_logits, _ = chain.loglik_and_adjoint(alone, logits, log_init)
    for value_and_adjoint in VALUES:
        results = value_and_adjoint(*inputs)
        np.testing.assert_allclose(results[0], loglik + log_prior[winners].sum(), rtol=1e-12)
        np.testing.assert_allclose(results[1][winners[block], :, np.arange(90)], smoothed, atol=1e-12)
        np.testing.assert_allclose(results[2], d_logits, atol=1e-12)
        np.testing.assert_allclose(results[4], np.bincount(winners, minlength=6), atol=1e-12)


def test_long_series_equals_exact_recursion():
    inputs = make_mixture(1, 5, 2, blocks_of(20_000, 4), spread=10.0)
    assert is_scaled(*inputs)
    ours, exact = fast(*inputs), VALUES[1](*inputs)
    np.testing.assert_allclose(ours[0], exact[0], rtol=1e-12)
    for left, right in zip(ours[1:], exact[1:], strict=True):
        np.testing.assert_allclose(left, right, atol=1e-9)


def late_evidence():
    """Two absorbing regimes, two combinations, two blocks, and the answer.

    In the first block combination 0 is the better by 2000 nats, and shows regime 0 alone; the second block rules
    regime 0 out by 6000. So the first block drew combination 1, whose weight underflows where the blocks meet.
    """
    log_obs = np.zeros((2, 2, 40))
    log_obs[0, 1, :20] = -300.0
    log_obs[1, 0, :20], log_obs[1, 1, :20] = -300.0, -100.0
    log_obs[:, 0, 20:] = -300.0
    logits = np.where(np.eye(2) == 1, 0.0, -INF)[None]
    inputs = log_obs, logits, np.log([0.5, 0.5]), np.log([0.5, 0.5]), blocks_of(40, 2)
    return inputs, -2000.0 + 2 * np.log(0.5)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
def test_combination_that_only_the_next_block_calls_for(value_and_adjoint):
    inputs, expected = late_evidence()
    assert not is_scaled(*inputs)
    loglik, d_log_obs, _, _, d_log_prior = value_and_adjoint(*inputs)
    np.testing.assert_allclose(loglik, expected, rtol=1e-12)
    np.testing.assert_allclose(d_log_obs[1, 1, :20], 1.0)
    np.testing.assert_allclose(d_log_prior, [0.5, 1.5])


def test_combination_without_prior_is_as_good_as_absent():
    log_obs, logits, log_init, log_prior, block = make_mixture(2, 5, 2, blocks_of(50, 2))
    kept = np.array([0, 2, 3])
    log_prior[[1, 4]] = -INF
    log_obs[1, 0] = -INF
    inputs = log_obs, logits, log_init, log_prior, block
    assert is_scaled(*inputs)
    ours, absent = fast(*inputs), fast(log_obs[kept], logits, log_init, log_prior[kept], block)
    np.testing.assert_allclose(ours[0], absent[0], rtol=1e-13)
    np.testing.assert_allclose(ours[1][kept], absent[1], atol=1e-13)
    np.testing.assert_allclose(ours[2], absent[2], atol=1e-13)
    assert not ours[1][[1, 4]].any()
    assert not ours[4][[1, 4]].any()


@pytest.mark.parametrize("regimes", [1, 2, THREE])
def test_forbidden_entries_agree_with_the_exact_recursion(regimes):
    for seed in range(20):
        inputs = make_mixture(seed, 5, regimes, blocks_of(30, 3), forbidden=0.03)
        for left, right in zip(fast(*inputs), VALUES[1](*inputs), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@pytest.mark.parametrize("bad", [np.nan, INF])
@pytest.mark.parametrize("position", [0, 1, 2, 3])
@pytest.mark.parametrize("combinations", [1, 5])
def test_nan_in_is_nan_out(combinations, position, bad, value_and_adjoint):
    inputs = make_mixture(2, combinations, 2, blocks_of(12, 2))
    inputs[position].flat[-1] = bad
    for result in value_and_adjoint(*inputs):
        assert np.isnan(result).all()
    draw = as_draw(*inputs)
    for verb in (mixture_draws.lag_posterior_draws, mixture_draws.lag_filter_draws):
        assert np.isnan(verb(*draw)).all()
    assert np.isnan(mixture_draws.lag_leave_one_out_draws(*draw)).all()
    assert (mixture_draws.sample_lags_draws(*draw, np.zeros((1, 12))) == -1).all()


def test_nan_of_a_combination_without_prior_is_nan_too():
    inputs = make_mixture(2, 3, 2, blocks_of(12, 2))
    inputs[0][1, 0, 5], inputs[3][1] = np.nan, -INF
    assert np.isnan(fast(*inputs)[0])


@pytest.mark.parametrize("regimes", [2, THREE])
def test_relabelling_relabels_results(regimes):
    log_obs, logits, log_init, log_prior, block = make_mixture(5, 7, regimes, blocks_of(100, 3))
    rng = np.random.default_rng(5)
    r, c = rng.permutation(regimes), rng.permutation(7)
    before = fast(log_obs, logits, log_init, log_prior, block)
    after = fast(log_obs[c][:, r], logits[:, r][:, :, r], log_init[r], log_prior[c], block)
    np.testing.assert_allclose(after[0], before[0], rtol=1e-12)
    np.testing.assert_allclose(after[1], before[1][c][:, r], atol=1e-12)
    np.testing.assert_allclose(after[2], before[2][:, r][:, :, r], atol=1e-12)
    np.testing.assert_allclose(after[3], before[3][r], atol=1e-12)
    np.testing.assert_allclose(after[4], before[4][c], atol=1e-12)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
def test_one_block_is_the_weighted_sum_of_chains(value_and_adjoint):
    log_obs, logits, log_init, log_prior, block = make_mixture(6, 26, 2, np.zeros(120, dtype=int))
    chains = [chain.loglik_and_adjoint(lane.T, logits, log_init) for lane in log_obs]
    log_weights = log_prior + [result[0] for result in chains]
    weights = np.exp(log_weights - log_total(log_weights))
    results = value_and_adjoint(log_obs, logits, log_init, log_prior, block)
    np.testing.assert_allclose(results[0], log_total(log_weights), rtol=1e-12)
    np.testing.assert_allclose(results[1], [w * one[1].T for w, one in zip(weights, chains, strict=True)], atol=1e-12)
    expected = sum(w * one[2] for w, one in zip(weights, chains, strict=True))
    np.testing.assert_allclose(results[2], expected, atol=1e-12)
    np.testing.assert_allclose(results[4], weights, atol=1e-12)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
def test_is_a_chain_of_pairs(value_and_adjoint):
    """The pair (combination, regime) as one regime of a larger chain, with -inf for steps that no pair can take."""
    combinations, regimes, times = 3, 2, 40
    log_obs, logits, log_init, log_prior, block = make_mixture(7, combinations, regimes, blocks_of(times, 3))
    stays = np.where(np.eye(combinations) == 1, 0.0, -INF)
    redrawn = np.broadcast_to(log_prior, (combinations, combinations))
    of_combination = np.where((np.diff(block) == 0)[:, None, None], stays, redrawn)
    pairs = of_combination[:, :, None, :, None] + log_softmax(logits)[:, None, :, None, :]
    pairs = pairs.reshape(times - 1, combinations * regimes, combinations * regimes)
    init = (log_prior[:, None] + log_init).ravel()
    loglik, smoothed, _, _ = chain.loglik_and_adjoint(log_obs.reshape(-1, times).T, pairs, init)
    results = value_and_adjoint(log_obs, logits, log_init, log_prior, block)
    np.testing.assert_allclose(results[0], loglik, rtol=1e-12)
    np.testing.assert_allclose(results[1].reshape(-1, times), smoothed.T, atol=1e-12)


def test_draws_equal_a_loop_over_draws_and_blocks_of_memory_do_not_matter():
    draws = [make_mixture(seed, 4, 2, blocks_of(15, 2)) for seed in range(3)]
    log_prior, block = draws[0][3:]
    stacked = [np.asfortranarray([draw[position] for draw in draws]) for position in range(3)]
    uniforms = np.random.default_rng(0).random((3, 15))
    together = [
        mixture_draws.lag_posterior_draws(*stacked, log_prior, block),
        mixture_draws.lag_filter_draws(*stacked, log_prior, block),
        mixture_draws.lag_leave_one_out_draws(*stacked, log_prior, block),
        mixture_draws.sample_lags_draws(*stacked, log_prior, block, uniforms),
    ]
    assert [values.shape for values in together] == [(3, 2, 4), (3, 15), (3, 15), (3, 2)]
    for d, (log_obs, logits, log_init, _, _) in enumerate(draws):
        one = as_draw(log_obs, logits, log_init, log_prior, block)
        np.testing.assert_allclose(together[0][d], mixture_draws.lag_posterior_draws(*one)[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(together[1][d], mixture_draws.lag_filter_draws(*one)[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            together[2][d], mixture_draws.lag_leave_one_out_draws(*one)[0], rtol=1e-12, atol=1e-12
        )
        sampled = mixture_draws.sample_lags_draws(*one, uniforms[d : d + 1])
        np.testing.assert_array_equal(together[3][d], sampled[0])


def test_readings_where_scaled_probabilities_fail():
    inputs, _ = late_evidence()
    posterior = mixture_draws.lag_posterior_draws(*as_draw(*inputs))[0]
    np.testing.assert_allclose(posterior, [[0.0, 1.0], [0.5, 0.5]], atol=1e-12)
    left_out = mixture_draws.lag_leave_one_out_draws(*as_draw(*inputs))[0]
    np.testing.assert_allclose(left_out, np.repeat([-100.0, 0.0], 20), atol=1e-9)


def test_filter_does_not_see_the_future():
    inputs = make_mixture(4, 5, 2, blocks_of(50, 3))
    log_density = mixture_draws.lag_filter_draws(*as_draw(*inputs))[0]
    for times in (2, 17, 49):
        early = mixture_draws.lag_filter_draws(*as_draw(*prefix(inputs, times)))[0]
        np.testing.assert_allclose(early, log_density[:times], rtol=1e-12, atol=1e-12)


def test_sampled_lags_have_their_joint_probabilities():
    """Each frequency of a pair of combinations lies within five standard errors of its probability."""
    draws = 20_000
    inputs = make_mixture(8, 3, 2, [0, 0, 1, 1], spread=1.0)
    repeated = [np.broadcast_to(values, (draws, *values.shape)) for values in inputs[:3]]
    uniforms = np.random.default_rng(123).random((draws, 4))
    chosen = mixture_draws.sample_lags_draws(*repeated, *inputs[3:], uniforms)
    oracle = enumerate_mixture(*inputs)
    for row, probability in zip(oracle.chosen, oracle.joint, strict=True):
        frequency = (chosen == row).all(axis=1).mean()
        assert abs(frequency - probability) <= 5 * np.sqrt(probability * (1 - probability) / draws) + 1e-12


def test_shapes_that_do_not_fit_are_refused():
    log_obs, logits, log_init, log_prior, block = make_mixture(2, 3, 2, blocks_of(12, 2))
    for wrong in (
        (log_obs[:2], logits, log_init, log_prior, block),
        (log_obs, logits[:-1], log_init, log_prior, block),
        (log_obs, logits[:, :1], log_init, log_prior, block),
        (log_obs, logits, log_init[:1], log_prior, block),
        (log_obs, logits, log_init, log_prior, block[:-1]),
        (log_obs, logits, log_init, log_prior, block + 1),
        (log_obs, logits, log_init, log_prior, block * 2),
        (log_obs, logits, log_init, log_prior, block[::-1].copy()),
    ):
        for value_and_adjoint in VALUES:
            with pytest.raises(ValueError, match="the lag mixture needs"):
                value_and_adjoint(*wrong)
        with pytest.raises(ValueError, match="the lag mixture needs"):
            mixture_draws.lag_posterior_draws(*as_draw(*wrong))
    with pytest.raises(ValueError, match="same number of draws"):
        mixture_draws.lag_filter_draws(log_obs[None], logits[None], np.stack([log_init, log_init]), log_prior, block)
    with pytest.raises(ValueError, match="uniforms"):
        mixture_draws.sample_lags_draws(*as_draw(log_obs, logits, log_init, log_prior, block), np.zeros((1, 3)))


def compiled(inputs, mode):
    """Value and gradients as a function of the four float inputs, combinations and times unknown."""
    regimes = inputs[0].shape[1]
    variables = [pt.tensor(shape=(None, regimes, None)), pt.dtensor3(), pt.dvector(), pt.dvector()]
    loglik = lag_mixture_loglik(*variables, inputs[4])
    return pytensor.function(variables, [loglik, *pytensor.grad(loglik, variables)], mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("regimes", [1, 2])
def test_op_equals_the_recursion(regimes, mode):
    inputs = make_mixture(9, 3, regimes, [0, 0, 1, 1])
    oracle = enumerate_mixture(*inputs)
    function = compiled(inputs, mode)
    value, d_log_obs, d_logits, _, d_log_prior = function(*inputs[:4])
    np.testing.assert_allclose(value, oracle.loglik, rtol=1e-12)
    np.testing.assert_allclose(d_log_obs, oracle.smoothed, atol=1e-12)
    np.testing.assert_allclose(d_logits, oracle.d_logits, atol=1e-12)
    np.testing.assert_allclose(d_log_prior, oracle.posterior.sum(axis=0), atol=1e-12)


@pytest.mark.parametrize("constant", [False, True])
def test_verify_grad(constant):
    *floats, block = make_mixture(10, 3, 2, [0, 0, 1, 1, 1], constant)
    floats[1] = floats[1][0] if constant else floats[1]
    verify_grad(
        lambda *values: lag_mixture_loglik(*values, block), floats, rng=np.random.default_rng(0), mode="FAST_COMPILE"
    )


def test_compiled_op_falls_back_to_the_exact_recursion():
    inputs, expected = late_evidence()
    function = compiled(inputs, "NUMBA")
    value, d_log_obs, *_, d_log_prior = function(*inputs[:4])
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(d_log_obs[1, 1, :20], 1.0)
    np.testing.assert_allclose(d_log_prior, [0.5, 1.5])
    impossible = np.where(np.arange(40) == 5, -INF, inputs[0])
    value, *gradients = function(impossible, *inputs[1:4])
    assert value == -INF
    assert not any(gradient.any() for gradient in gradients)
    assert np.isnan(function(inputs[0] + np.nan, *inputs[1:4])[0])


@pytest.mark.parametrize("mode", MODES)
def test_lengths_and_blocks_found_late_are_refused(mode):
    log_obs, logits, log_init, log_prior, block = make_mixture(2, 3, 2, [0, 0, 1, 1])
    late_block, late_prior = pt.lvector(), pt.dvector()
    loglik = lag_mixture_loglik(log_obs, logits, log_init, late_prior, late_block)
    function = pytensor.function([late_prior, late_block], loglik, mode=mode)
    function(log_prior, block)
    for wrong in [(log_prior[:2], block), (log_prior, block[:3]), (log_prior, block * 2), (log_prior, 1 - block)]:
        with pytest.raises(ValueError, match="the lag mixture needs"):
            function(*wrong)


@pytest.mark.parametrize(
    ("position", "wrong"),
    [
        (0, np.zeros((3, 2))),
        (0, np.zeros((2, 2, 4))),
        (0, np.zeros((3, 3, 4))),
        (0, pt.dtensor3()),
        (1, np.zeros((4, 2, 2))),
        (1, np.zeros(2)),
        (2, np.zeros(3)),
        (3, np.zeros((1, 3))),
        (4, np.zeros(4)),
        (4, [0, 0, 1]),
        (4, [0, 0, 2, 2]),
        (4, [1, 1, 1, 1]),
    ],
)
def test_builder_refuses_what_does_not_fit(position, wrong):
    inputs = [np.zeros((3, 2, 4)), np.zeros((3, 2, 2)), np.zeros(2), np.zeros(3), [0, 0, 1, 1]]
    if isinstance(wrong, pt.TensorVariable):
        inputs[1:3] = pt.dtensor3(), pt.dvector()
    inputs[position] = wrong
    with pytest.raises(RegimelagError, match=r"rule: (.|\n)*came: (.|\n)*cure: "):
        lag_mixture_loglik(*inputs)


def test_block_has_no_gradient_and_second_derivatives_are_refused():
    log_obs, logits, log_init, _, block = make_mixture(2, 3, 2, [0, 0, 1, 1])
    late_block, late_prior = pt.lvector(), pt.dvector()
    loglik = lag_mixture_loglik(log_obs, logits, log_init, late_prior, late_block)
    with pytest.raises(pytensor.gradient.DisconnectedInputError):
        pytensor.grad(loglik, late_block)
    slope = pytensor.grad(lag_mixture_loglik(log_obs, logits, log_init, late_prior, block), late_prior)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        pytensor.grad(slope.sum(), late_prior)


def test_vectorized_over_draws():
    draws = [make_mixture(seed, 3, 2, [0, 0, 1, 1]) for seed in range(3)]
    log_prior, block = draws[0][3:]
    one, many = pt.tensor(shape=(3, 2, 4)), pt.tensor(shape=(None, 3, 2, 4))
    loglik = lag_mixture_loglik(one, draws[0][1], draws[0][2], log_prior, block)
    values = vectorize_graph(loglik, {one: many}).eval(
        {many: np.stack([draw[0] for draw in draws])}, mode="FAST_COMPILE"
    )
    expected = [fast(draw[0], *draws[0][1:3], log_prior, block)[0] for draw in draws]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.slow
def test_in_a_pymc_model():
    """Density of combinations times regimes, then the mixture: gradient against differences, in one pass."""
    rng = np.random.default_rng(1)
    signal, y, lags = rng.normal(size=35), rng.normal(size=30), 5
    lagged = np.stack([signal[5 - lag : 35 - lag] for lag in range(1, lags + 1)])
    with pm.Model() as model:
        effect = pm.Normal("effect", shape=2)
        log_scale = pm.Normal("log_scale", shape=2)
        location = (lagged[:, None, :] * effect[:, None]).reshape((lags * 2, 30))
        log_obs = student_t_logpdf(y, location, pt.tile(log_scale, lags)[None], np.zeros(30, dtype=int), 5.0)
        log_obs = log_obs.reshape((lags, 2, 30))
        log_prior = np.full(lags, -np.log(lags))
        pm.Potential("loglik", lag_mixture_loglik(log_obs, np.eye(2), np.zeros(2), log_prior, blocks_of(30, 2)))
    function = model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
    function.set_extra_values({})
    point = rng.normal(size=4)
    _, gradient = function(point)
    slope = central_difference(lambda values: function(values)[0], point)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-6)
