"""Recursions against enumeration, differences, and each other's invariants."""

from __future__ import annotations

import numpy as np
import pytest
from builders import chain_loglik, run
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import central_difference, enumerate_chain, simple_lag_sum
from scipy import stats

from regimelag.likelihood import hmm, hmm_draws, hmm_loglik, vector_math
from regimelag.likelihood.density import StudentTLogpdf, StudentTLogpdfAdjoint
from regimelag.likelihood.distributed_lag import LagSum, LagSumDSignal, LagSumDWeights
from regimelag.likelihood.linear import Predictor, PredictorDCoefficients

# Recursions are compiled for each number of regimes.
MANY = [pytest.param(count, marks=pytest.mark.slow) for count in (4, 5)]
VALUES = [chain_loglik, hmm.exact_loglik_and_adjoint]
INF = np.inf


def make_chain(seed, times, regimes, constant=False, forbidden=0.0, spread=2.0):
    """Random inputs; a share of the entries is -inf."""
    rng = np.random.default_rng(seed)
    log_obs = rng.normal(-1, spread, size=(times, regimes))
    logits = rng.normal(0, spread, size=(1 if constant else times - 1, regimes, regimes))
    log_init = rng.normal(0, 1, size=regimes)
    for values in (log_obs, logits, log_init):
        values[rng.random(values.shape) < forbidden] = -INF
    return log_obs, logits, log_init


@st.composite
def chains(draw):
    times = draw(st.integers(1, 6))
    regimes = draw(st.integers(1, 3))
    constant = draw(st.booleans())
    number = st.one_of(st.floats(-30, 30), st.floats(-900, 900), st.just(-INF))

    def array(*shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(number, min_size=size, max_size=size)), dtype=float).reshape(shape)

    steps = 1 if constant else times - 1
    return array(times, regimes), array(steps, regimes, regimes), array(regimes)


def sum_if_constant(d_steps, logits):
    """Bring (time - 1, origin, destination) to the shape of the logits."""
    return d_steps if len(logits) == len(d_steps) else d_steps.sum(axis=0, keepdims=True)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@settings(max_examples=150, deadline=None)
@given(inputs=chains())
def test_value_and_adjoint_equal_enumeration(value_and_adjoint, inputs):
    loglik, d_log_obs, d_logits, d_log_init = value_and_adjoint(*inputs)
    oracle = enumerate_chain(*inputs)
    if oracle.loglik == -INF:
        assert loglik == -INF
        assert not d_log_obs.any()
        assert not d_logits.any()
        assert not d_log_init.any()
        return
    np.testing.assert_allclose(loglik, oracle.loglik, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(d_log_obs, oracle.smoothed, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(d_log_init, oracle.smoothed[0], rtol=1e-10, atol=1e-10)
    expected = sum_if_constant(oracle.d_logits, inputs[1])
    np.testing.assert_allclose(d_logits, expected, rtol=1e-10, atol=1e-10)


# Regime 2 has no exit in the last step, so half of the mass is lost there.
DEAD_END = (
    np.array([[0.0, -INF, -INF], [0.0, 0.0, -INF], [0.0, -INF, 0.0], [0.0, -INF, 0.0]]),
    np.array(
        [
            [[0.0, 0.0, 0.0], [0.0, -INF, -INF], [0.0, 0.0, 0.0]],
            [[0.0, -INF, 0.0], [0.0, -INF, 0.0], [0.0, -INF, 0.0]],
            [[0.0, -INF, 0.0], [0.0, 0.0, 0.0], [-INF, -INF, -INF]],
        ]
    ),
    np.array([0.0, -INF, -INF]),
)


@settings(max_examples=60, deadline=None)
@given(inputs=chains())
@example(inputs=DEAD_END)
def test_readings_equal_enumeration(inputs):
    oracle = enumerate_chain(*inputs)
    predicted, filtered, log_density = hmm.filter_forward(*inputs)
    smoothed = hmm.smooth(*inputs)
    path, log_joint = hmm.viterbi(*inputs)
    drawn = hmm.sample_paths(*inputs, np.linspace(0, 0.999, len(inputs[0])))
    if oracle.loglik == -INF:
        assert log_density.sum() == -INF
        assert np.isnan(smoothed).all()
        assert log_joint == -INF
        assert (path == -1).all()
        assert (drawn == -1).all()
        return
    np.testing.assert_allclose(log_density, oracle.log_density, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_density.sum(), oracle.loglik, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(filtered, oracle.filtered, atol=1e-10)
    np.testing.assert_allclose(predicted, oracle.predicted, atol=1e-10)
    np.testing.assert_allclose(smoothed, oracle.smoothed, atol=1e-10)
    np.testing.assert_allclose(log_joint, oracle.log_joint.max(), rtol=1e-10, atol=1e-10)
    joint = dict(zip(map(tuple, oracle.paths), oracle.log_joint, strict=True))
    np.testing.assert_allclose(joint[tuple(path)], log_joint, rtol=1e-10, atol=1e-10)
    assert joint[tuple(drawn)] > -INF


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("regimes", [1, 2, 3])
def test_leave_one_out_equals_enumeration(regimes, constant):
    inputs = make_chain(3, 5, regimes, constant)
    np.testing.assert_allclose(hmm.leave_one_out(*inputs), enumerate_chain(*inputs).leave_one_out, atol=1e-12)


def test_viterbi_is_the_most_probable_path():
    for seed in range(20):
        inputs = make_chain(seed, 5, 3, constant=seed % 2 == 0)
        oracle = enumerate_chain(*inputs)
        path, _ = hmm.viterbi(*inputs)
        np.testing.assert_array_equal(path, oracle.paths[oracle.log_joint.argmax()])


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("regimes", [1, 2, 3, *MANY])
def test_adjoint_equals_central_differences(value_and_adjoint, regimes, constant):
    inputs = list(make_chain(11, 20, regimes, constant))
    gradients = value_and_adjoint(*inputs)[1:]
    for position, gradient in enumerate(gradients):

        def value(changed, position=position):
            return value_and_adjoint(*inputs[:position], changed, *inputs[position + 1 :])[0]

        np.testing.assert_allclose(gradient, central_difference(value, inputs[position], 1e-5), atol=2e-8)


@pytest.mark.parametrize("regimes", [2, 3, *MANY])
@pytest.mark.parametrize("times", [1, 2, 8, 9, 10, 17, 500])
def test_scaled_and_exact_agree(times, regimes):
    inputs = make_chain(times, times, regimes, forbidden=0.02)
    exact = hmm.exact_loglik_and_adjoint(*inputs)
    for left, right in zip(chain_loglik(*inputs), exact, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("regimes", [2, 3])
def test_relabelling_regimes_relabels_results(regimes):
    log_obs, logits, log_init = make_chain(5, 200, regimes)
    order = np.random.default_rng(5).permutation(regimes)
    loglik, d_log_obs, d_logits, d_log_init = chain_loglik(log_obs, logits, log_init)
    relabelled = chain_loglik(log_obs[:, order], logits[:, order][:, :, order], log_init[order])
    np.testing.assert_allclose(relabelled[0], loglik, rtol=1e-12)
    np.testing.assert_allclose(relabelled[1], d_log_obs[:, order], atol=1e-12)
    np.testing.assert_allclose(relabelled[2], d_logits[:, order][:, :, order], atol=1e-12)
    np.testing.assert_allclose(relabelled[3], d_log_init[order], atol=1e-12)


@pytest.mark.parametrize("regimes", [2, 3])
def test_two_absorbing_regimes_with_late_evidence(regimes):
    """The regime that early evidence rules out by 1000 nats is the one that late evidence proves by 2000."""
    logits = np.full((1, regimes, regimes), -INF)
    logits[0, range(regimes), range(regimes)] = 0.0
    log_obs = np.full((40, regimes), -5000.0)
    log_obs[:, :2] = 0.0
    log_obs[:20, 1] = -50.0
    log_obs[20:, 0] = -100.0
    log_init = np.zeros(regimes)
    by_regime, by_origin = log_obs.T.copy(), logits.transpose(1, 2, 0).copy()
    room = np.empty((2, regimes, 40)), np.empty_like(by_regime), np.empty_like(by_origin), np.empty(regimes)
    assert np.isnan(hmm_loglik.scaled_loglik_and_adjoint((0.0,) * regimes, by_regime, by_origin, log_init, *room))
    loglik, smoothed, d_logits, _ = chain_loglik(log_obs, logits, log_init)
    np.testing.assert_allclose(loglik, -1000.0, rtol=1e-12)
    np.testing.assert_allclose(smoothed[:, 1], 1.0)
    assert np.isfinite(d_logits).all()
    np.testing.assert_array_equal(hmm.viterbi(log_obs, logits, log_init)[0], np.ones(40))
    np.testing.assert_allclose(hmm.smooth(log_obs, logits, log_init), smoothed, atol=1e-12)


def test_almost_impossible_step_that_the_data_demand():
    logits = np.array([[[0.0, -1000.0], [-1000.0, 0.0]]])
    log_obs = np.array([[0.0, -3000.0], [0.0, -3000.0], [-3000.0, 0.0], [-3000.0, 0.0]])
    loglik, smoothed, d_logits, _ = chain_loglik(log_obs, logits, np.zeros(2))
    np.testing.assert_allclose(loglik, -1000.0)
    np.testing.assert_allclose(smoothed, [[1, 0], [1, 0], [0, 1], [0, 1]])
    np.testing.assert_allclose(d_logits[0, 0], [-1.0, 1.0])


@pytest.mark.parametrize("level", [-800.0, 800.0])
def test_no_underflow_in_a_long_series(level):
    """With equal columns the chain is irrelevant, so the answer is known."""
    times = 100_000
    log_obs = np.full((times, 2), level)
    log_init = np.log([0.25, 0.75])
    logits = np.array([[[3.0, 0.0], [0.0, 2.0]]])
    loglik, smoothed, d_logits, _ = chain_loglik(log_obs, logits, log_init)
    np.testing.assert_allclose(loglik, level * times, rtol=1e-12)
    np.testing.assert_allclose(smoothed.sum(axis=1), 1.0)
    np.testing.assert_allclose(d_logits, 0.0, atol=1e-6)


def test_long_series_equals_exact_recursion():
    inputs = make_chain(1, 100_000, 2, spread=20.0)
    fast, exact = chain_loglik(*inputs), hmm.exact_loglik_and_adjoint(*inputs)
    np.testing.assert_allclose(fast[0], exact[0], rtol=1e-12)
    np.testing.assert_allclose(fast[1], exact[1], atol=1e-10)


@pytest.mark.parametrize("spread", [1e2, 1e5, 1e100, 1e300])
@pytest.mark.parametrize("regimes", [2, 3])
def test_wild_scales_give_finite_results(regimes, spread):
    rng = np.random.default_rng(7)
    log_obs = -spread * rng.random((60, regimes))
    logits = rng.normal(0, 5, size=(59, regimes, regimes))
    results = chain_loglik(log_obs, logits, np.zeros(regimes))
    assert all(np.isfinite(result).all() for result in results)
    exact = hmm.exact_loglik_and_adjoint(log_obs, logits, np.zeros(regimes))
    for left, right in zip(results, exact, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("value_and_adjoint", VALUES)
@pytest.mark.parametrize("bad", [np.nan, INF])
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("regimes", [2, 3])
def test_nan_in_is_nan_out(regimes, position, bad, value_and_adjoint):
    inputs = make_chain(2, 12, regimes)
    inputs[position].flat[-1] = bad
    for result in value_and_adjoint(*inputs):
        assert np.isnan(result).all()


def test_unequal_shapes_are_refused():
    log_obs, logits, log_init = make_chain(2, 12, 2)
    for wrong in [(logits[:-1], log_init), (logits, log_init[:1]), (logits[:, :1], log_init)]:
        with pytest.raises(ValueError, match="log likelihood needs"):
            chain_loglik(log_obs, *wrong)
        with pytest.raises(ValueError, match="the chain recursions need"):
            hmm.filter_forward(log_obs, *wrong)


def test_input_order_in_memory_does_not_matter():
    log_obs, logits, log_init = make_chain(2, 12, 2)
    turned = chain_loglik(np.asfortranarray(log_obs), np.asfortranarray(logits), log_init)
    for left, right in zip(turned, chain_loglik(log_obs, logits, log_init), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


def test_filtered_probabilities_do_not_see_the_future():
    log_obs, logits, log_init = make_chain(4, 50, 2)
    predicted, filtered, log_density = hmm.filter_forward(log_obs, logits, log_init)
    for times in (1, 10, 49):
        early = hmm.filter_forward(log_obs[:times], logits[: times - 1], log_init)
        np.testing.assert_allclose(early[0], predicted[:times], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(early[1], filtered[:times], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(early[2], log_density[:times], rtol=1e-12, atol=1e-12)


def test_after_an_impossible_row_nothing_is_claimed():
    log_obs, logits, log_init = make_chain(4, 6, 2)
    log_obs[3] = -INF
    predicted, filtered, log_density = hmm.filter_forward(log_obs, logits, log_init)
    assert np.isfinite(log_density[:3]).all()
    assert (log_density[3:] == -INF).all()
    assert np.isfinite(predicted[:4]).all()
    assert np.isnan(filtered[3:]).all()
    left_out = hmm.leave_one_out(log_obs, logits, log_init)
    np.testing.assert_array_equal(left_out, [np.nan, np.nan, np.nan, -INF, np.nan, np.nan])


@pytest.mark.parametrize("place", ["log_obs", "transition_logits", "log_init"])
@pytest.mark.parametrize("value", [np.nan, INF, -INF])
@pytest.mark.parametrize("regime", [0, 1])
def test_log_densities_of_draws_are_undefined_where_those_of_one_are(place, value, regime):
    inputs = dict(zip(("log_obs", "transition_logits", "log_init"), make_chain(0, 30, 2), strict=True))
    inputs[place][(5, 0, regime)[-inputs[place].ndim :]] = value
    found = hmm_draws.log_density_draws(*(values[None] for values in inputs.values()))[0]
    np.testing.assert_allclose(found, hmm.filter_forward(*inputs.values())[2], rtol=1e-12, atol=1e-12)


def test_draws_equal_a_loop_over_draws():
    draws = [make_chain(seed, 15, 3) for seed in range(4)]
    stacked = [np.stack(values) for values in zip(*draws, strict=True)]
    uniforms = np.random.default_rng(0).random((4, 15))
    predicted, filtered, log_density = hmm_draws.filter_forward_draws(*stacked)
    densities = hmm_draws.log_density_draws(*stacked)
    smoothed = hmm_draws.smooth_draws(*stacked)
    left_out = hmm_draws.leave_one_out_draws(*stacked)
    paths = hmm_draws.sample_paths_draws(*stacked, uniforms)
    best, log_joint = hmm_draws.viterbi_draws(*stacked)
    for d, inputs in enumerate(draws):
        one = hmm.filter_forward(*inputs)
        for left, right in zip((predicted[d], filtered[d], log_density[d]), one, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(densities[d], one[2], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(smoothed[d], hmm.smooth(*inputs), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(left_out[d], hmm.leave_one_out(*inputs), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(paths[d], hmm.sample_paths(*inputs, uniforms[d]))
        np.testing.assert_array_equal(best[d], hmm.viterbi(*inputs)[0])
        assert log_joint[d] == pytest.approx(hmm.viterbi(*inputs)[1], rel=1e-12)


@pytest.mark.parametrize("spread", [1, 100, 330, 630, 700, 5_000])
@pytest.mark.parametrize("constant", [False, True])
def test_draws_equal_a_loop_where_scaled_probabilities_underflow(spread, constant):
    """Densities and steps of e^-spread and less, among them some near the smallest number and some that are zero."""
    rng = np.random.default_rng(spread)
    draws, times, regimes = 40, 12, 3
    log_obs = spread * rng.normal(size=(draws, times, regimes))
    logits = spread * rng.normal(size=(draws, 1 if constant else times - 1, regimes, regimes))
    log_init = np.log(rng.dirichlet(np.ones(regimes), draws))
    logits[::4, :, 0, 1] = -INF
    log_init[1::4, 2] = -INF
    log_obs[2::8, 5, 0] = -INF
    log_obs[6::8, 5] = -INF
    uniforms = rng.random((draws, times))
    smoothed = hmm_draws.smooth_draws(log_obs, logits, log_init)
    paths = hmm_draws.sample_paths_draws(log_obs, logits, log_init, uniforms)
    densities = hmm_draws.log_density_draws(log_obs, logits, log_init)
    for d in range(draws):
        inputs = log_obs[d], logits[d], log_init[d]
        np.testing.assert_allclose(densities[d], hmm.filter_forward(*inputs)[2], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(smoothed[d], hmm.smooth(*inputs), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(paths[d], hmm.sample_paths(*inputs, uniforms[d]))


def test_draws_equal_a_loop_where_only_the_way_back_underflows():
    """Regime 1 is reached in a step of the smallest probabilities that exist, and is certain later.

    From the two regimes at the start the step has odds of e^1.4, which such small numbers cannot hold.
    """
    log_obs = np.array([[[0.0, 0.0], [-632.0, 0.0], [-500.0, 0.0]]])
    logits = np.array([[[[0.0, -743.0], [0.0, -744.4]], [[0.0, -743.0], [-743.0, 0.0]]]])
    log_init = np.log([[0.5, 0.5]])
    inputs = log_obs[0], logits[0], log_init[0]
    smoothed = hmm_draws.smooth_draws(log_obs, logits, log_init)
    np.testing.assert_allclose(smoothed[0], hmm.smooth(*inputs), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(smoothed[0, 0, 0], 1 / (1 + np.exp(-1.4)), rtol=1e-6)
    for last in (0.5, 0.9):
        uniforms = np.array([last, 0.5, 0.5])
        path = hmm_draws.sample_paths_draws(log_obs, logits, log_init, uniforms[None])[0]
        np.testing.assert_array_equal(path, [int(last == 0.9), 1, 1])
        np.testing.assert_array_equal(path, hmm.sample_paths(*inputs, uniforms))


def test_sampled_paths_have_the_smoothed_frequencies():
    """Each frequency, of regimes and of steps, lies within five standard errors of its probability."""
    draws = 20_000
    inputs = make_chain(8, 6, 3, forbidden=0.05, spread=1.0)
    uniforms = np.random.default_rng(123).random((draws, 6))
    repeated = [np.broadcast_to(values, (draws, *values.shape)).copy() for values in inputs]
    paths = hmm_draws.sample_paths_draws(*repeated, uniforms)
    oracle = enumerate_chain(*inputs)
    frequency = (paths[:, :, None] == np.arange(3)).mean(axis=0)
    error = np.sqrt(oracle.smoothed * (1 - oracle.smoothed) / draws)
    assert (np.abs(frequency - oracle.smoothed) <= 5 * error + 1e-12).all()
    for t in range(5):
        steps = np.zeros((3, 3))
        np.add.at(steps, (paths[:, t], paths[:, t + 1]), 1 / draws)
        error = np.sqrt(oracle.expected_steps[t] * (1 - oracle.expected_steps[t]) / draws)
        assert (np.abs(steps - oracle.expected_steps[t]) <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 26])
@pytest.mark.parametrize("times", [0, 1, 7, 40])
def test_lag_sum_equals_two_loops(times, count):
    rng = np.random.default_rng(times)
    signal, weights, cotangent = rng.normal(size=count + times), rng.normal(size=count), rng.normal(size=times)
    np.testing.assert_allclose(run(LagSum(), signal, weights), simple_lag_sum(signal, weights), atol=1e-13)
    value = simple_lag_sum(signal, weights) @ cotangent
    np.testing.assert_allclose(run(LagSumDWeights(), signal, cotangent) @ weights, value, atol=1e-12)
    np.testing.assert_allclose(run(LagSumDSignal(), weights, cotangent) @ signal, value, atol=1e-12)


def test_lag_sum_does_not_use_the_same_row_and_uses_the_one_before():
    for row in range(8):
        signal = np.zeros(8)
        signal[row] = 1.0
        expected = np.zeros(5)
        for lag, weight in ((1, 0.5), (2, 0.3), (3, 0.2)):
            if 0 <= row - 3 + lag < 5:
                expected[row - 3 + lag] = weight
        np.testing.assert_array_equal(run(LagSum(), signal, np.array([0.5, 0.3, 0.2])), expected)


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("times", [1, 9])
def test_predictor_equals_loops_and_its_adjoints_are_transposes(times, columns, numbered):
    rng = np.random.default_rng(times)
    covariates, coefficients = rng.normal(size=(3, times)), rng.normal(size=(2, 3, columns))
    episode = rng.integers(0, 2, size=times if numbered else 0)
    cotangent = rng.normal(size=(columns, times))
    out = run(Predictor(), covariates, coefficients, episode)
    held = episode if numbered else np.zeros(times, dtype=int)
    expected = [[covariates[:, t] @ coefficients[held[t], :, m] for t in range(times)] for m in range(columns)]
    np.testing.assert_allclose(out, expected, atol=1e-14)
    value = (out * cotangent).sum()
    # The way back exchanges covariates and columns.
    d_covariates = run(Predictor(), cotangent, coefficients.swapaxes(1, 2), episode)
    d_coefficients = run(PredictorDCoefficients(), covariates, episode, cotangent, coefficients)
    np.testing.assert_allclose((d_covariates * covariates).sum(), value, atol=1e-12)
    np.testing.assert_allclose((d_coefficients * coefficients).sum(), value, atol=1e-12)


def make_rows(seed=0, times=60, regimes=2, episodes=3):
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 3, size=times)
    location = rng.normal(size=(regimes, times))
    log_scale = rng.normal(size=(episodes, regimes))
    episode = rng.integers(0, episodes, size=times)
    return y, location, log_scale, episode


@pytest.mark.parametrize("nu", [0.3, 2.1, 4.0, 31.9, 32.1, 1e3, 1e8])
@pytest.mark.parametrize("regimes", [1, 2, 3])
def test_student_t_equals_scipy(regimes, nu):
    y, location, log_scale, episode = make_rows(regimes=regimes)
    expected = stats.t.logpdf(y, nu, location, np.exp(log_scale)[episode].T)
    # scipy subtracts two log gammas of size nu, which costs it that many digits.
    tolerance = 1e-12 + 1e-15 * nu * np.log(nu + 1)
    np.testing.assert_allclose(run(StudentTLogpdf(), y, location, log_scale, episode, nu), expected, atol=tolerance)


def test_student_t_tends_to_the_normal():
    rows = make_rows()
    normal = run(StudentTLogpdf(), *rows, INF)
    ones = np.ones(normal.shape)
    of_normal = run(StudentTLogpdfAdjoint(), *rows, INF, normal, ones)
    for nu in (1e13, 1e100, 1e300):
        student = run(StudentTLogpdf(), *rows, nu)
        np.testing.assert_allclose(student, normal, atol=1e-9)
        for left, right in zip(run(StudentTLogpdfAdjoint(), *rows, nu, student, ones), of_normal, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("regimes", [1, 2, 3])
def test_infinite_degrees_of_freedom_give_the_normal_and_its_gradients(regimes):
    y, location, log_scale, episode = make_rows(regimes=regimes)
    y[[3, 40]] = np.nan
    seen, scale = ~np.isnan(y), np.exp(log_scale)[episode].T
    ours = run(StudentTLogpdf(), y, location, log_scale, episode, INF)
    expected = np.where(seen, stats.norm.logpdf(y, location, scale), 0.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
    cotangent = np.random.default_rng(3).normal(size=location.shape)
    d_location, d_log_scale, d_nu = run(StudentTLogpdfAdjoint(), y, location, log_scale, episode, INF, ours, cotangent)
    z = np.where(seen, (y - location) / scale, 0.0)
    np.testing.assert_allclose(d_location, cotangent * z / scale, rtol=1e-12, atol=1e-12)
    by_time = cotangent * np.where(seen, z**2 - 1.0, 0.0)
    by_episode = [by_time[:, episode == e].sum(axis=1) for e in range(len(log_scale))]
    np.testing.assert_allclose(d_log_scale, by_episode, rtol=1e-12, atol=1e-12)
    assert d_nu == 0.0


def test_log1p_is_exact_to_rounding():
    exponents = np.random.default_rng(0).uniform(-25, 299, size=2000)
    for u in [0.0, 1e-300, *10.0**exponents, *np.linspace(0, 4, 1000)]:
        np.testing.assert_allclose(vector_math.log1p_nonnegative(u), np.log1p(u), rtol=1e-15)


def test_exponential_is_exact_to_rounding():
    for x in [-0.0, *-np.random.default_rng(0).uniform(0, 708, size=3000), *-np.linspace(0, 3, 1000)]:
        np.testing.assert_allclose(vector_math.exp_nonpositive(x), np.exp(x), rtol=1e-15)
    assert vector_math.exp_nonpositive(-INF) == 0.0
    assert np.isnan(vector_math.exp_nonpositive(np.nan))


@pytest.mark.parametrize("nu", [0.5, 2.1, 7.0, 40.0, 1e4])
def test_density_adjoints_equal_central_differences(nu):
    y, location, log_scale, episode = make_rows()
    y[4] = np.nan
    cotangent = np.random.default_rng(3).normal(size=location.shape)
    log_obs = run(StudentTLogpdf(), y, location, log_scale, episode, nu)
    d_location, d_log_scale, d_nu = run(
        StudentTLogpdfAdjoint(), y, location, log_scale, episode, nu, log_obs, cotangent
    )

    def value(location=location, log_scale=log_scale, nu=nu):
        return (run(StudentTLogpdf(), y, location, log_scale, episode, nu) * cotangent).sum()

    np.testing.assert_allclose(d_location, central_difference(lambda m: value(location=m), location), atol=1e-6)
    np.testing.assert_allclose(d_log_scale, central_difference(lambda s: value(log_scale=s), log_scale), atol=1e-6)
    slope = (value(nu=nu * 1.0001) - value(nu=nu * 0.9999)) / (0.0002 * nu)
    np.testing.assert_allclose(d_nu, slope, rtol=1e-6, atol=1e-8 / nu)

    normal = run(StudentTLogpdf(), y, location, log_scale, episode, INF)
    d_location, d_log_scale, _ = run(StudentTLogpdfAdjoint(), y, location, log_scale, episode, INF, normal, cotangent)
    slope = central_difference(lambda m: value(location=m, nu=INF), location)
    np.testing.assert_allclose(d_location, slope, atol=1e-4)
    slope = central_difference(lambda s: value(log_scale=s, nu=INF), log_scale)
    np.testing.assert_allclose(d_log_scale, slope, atol=1e-4)


def test_missing_rows_count_for_nothing():
    y, location, log_scale, episode = make_rows()
    y[[0, 7, 59]] = np.nan
    ones = np.ones(location.shape)
    log_obs = run(StudentTLogpdf(), y, location, log_scale, episode, 5.0)
    student = run(StudentTLogpdfAdjoint(), y, location, log_scale, episode, 5.0, log_obs, ones)
    log_obs_normal = run(StudentTLogpdf(), y, location, log_scale, episode, INF)
    normal = run(StudentTLogpdfAdjoint(), y, location, log_scale, episode, INF, log_obs_normal, ones)
    for values in (log_obs, student[0], log_obs_normal, normal[0]):
        assert not values[:, [0, 7, 59]].any()
        assert np.isfinite(values).all()
    kept = ~np.isnan(y)
    alone = run(
        StudentTLogpdfAdjoint(),
        y[kept],
        location[:, kept],
        log_scale,
        episode[kept],
        5.0,
        log_obs[:, kept],
        ones[:, kept],
    )
    np.testing.assert_allclose(student[1], alone[1], rtol=1e-12)
    np.testing.assert_allclose(student[2], alone[2], rtol=1e-12)


@pytest.mark.parametrize(("nu", "log_scale"), [(5.0, -400.0), (INF, -300.0)])
def test_tiny_scales_stay_finite(nu, log_scale):
    y, location, scales, episode = make_rows()
    scales[:] = log_scale
    log_obs = run(StudentTLogpdf(), y, location, scales, episode, nu)
    results = run(StudentTLogpdfAdjoint(), y, location, scales, episode, nu, log_obs, np.ones(location.shape))
    assert np.isfinite(log_obs).all()
    assert all(np.isfinite(result).all() for result in results)


def test_episode_outside_log_scale_is_refused():
    y, location, log_scale, episode = make_rows()
    for wrong in (-1, 3):
        episode[5] = wrong
        with pytest.raises(ValueError, match="every episode"):
            run(StudentTLogpdf(), y, location, log_scale, episode, 5.0)
