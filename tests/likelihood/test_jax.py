"""The rules of the Ops in JAX: values and gradients are those of the loops."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from regimelag.likelihood.density import StudentTLogpdf, StudentTLogpdfAdjoint
from regimelag.likelihood.distributed_lag import LagSum, LagSumDSignal, LagSumDWeights
from regimelag.likelihood.garch import GarchLogpdf, GarchLogpdfAdjoint
from regimelag.likelihood.hmm import forward_backward_in_jax
from regimelag.likelihood.hmm_loglik import MarkovLoglik, loglik_and_adjoint
from regimelag.likelihood.joint_density import JointLogpdf, JointLogpdfAdjoint
from regimelag.likelihood.lag_marginalization import LagMarginalLoglik
from regimelag.likelihood.linear import LinearMap, Predictor, PredictorDCoefficients
from regimelag.likelihood.linked_op import LinkedOp

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)

TIMES, REGIMES, EPISODES, LAGS, RESPONSES = 7, 3, 2, 4, 2
EPISODE = np.array([0, 0, 1, 1, 1, 0, 1])
CORRELATION = np.array([[1.0, 0.4], [0.4, 1.0]])


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def response(*lead):
    y = random(*lead, TIMES, seed=9)
    y[..., 2] = np.nan
    if lead:
        y[0, 4] = np.nan
    return y


T = [response(), random(REGIMES, TIMES), random(EPISODES, REGIMES, seed=1), EPISODE]
JOINT = [
    response(RESPONSES),
    random(RESPONSES, REGIMES, TIMES),
    random(EPISODES, RESPONSES, REGIMES, seed=1),
    EPISODE,
    CORRELATION,
]
GARCH = [response(), random(TIMES), random(EPISODES, seed=1), EPISODE, np.array(0.1), np.array(0.7)]
COTANGENT = random(REGIMES, TIMES, seed=5)
CHAIN = [random(REGIMES, TIMES), random(REGIMES, REGIMES, TIMES - 1, seed=1), random(REGIMES, seed=2)]
FREE = [np.array(4.5), np.array(90.0), np.array(3e4), np.array(np.inf)]


def run(op, inputs):
    """Outputs of the loop."""
    storage = [[None] for _ in op.make_node(*map(pt.as_tensor, inputs)).outputs]
    op.perform(op.make_node(*map(pt.as_tensor, inputs)), list(inputs), storage)
    return [each[0] for each in storage]


def density(op, inputs, nu):
    (found,) = run(op, [*inputs, nu])
    return found


CALLS = [
    (LagSum(), [random(LAGS + TIMES), random(LAGS, seed=1)]),
    (LagSum(), [random(LAGS), random(LAGS, seed=1)]),
    (LagSum(), [random(1 + TIMES), random(1, seed=1)]),
    (LagSumDWeights(), [random(LAGS + TIMES), random(TIMES, seed=1)]),
    (LagSumDSignal(), [random(LAGS), random(TIMES, seed=1)]),
    (Predictor(), [random(2, TIMES), random(EPISODES, 2, REGIMES, seed=1), EPISODE]),
    (Predictor(), [random(2, TIMES), random(1, 2, REGIMES, seed=1), np.zeros(0, int)]),
    (
        PredictorDCoefficients(),
        [random(2, TIMES), EPISODE, random(REGIMES, TIMES, seed=1), random(EPISODES, 2, REGIMES)],
    ),
    (
        PredictorDCoefficients(),
        [random(2, TIMES), np.zeros(0, int), random(REGIMES, TIMES, seed=1), random(1, 2, REGIMES)],
    ),
    (LinearMap(), [random(2, 5), random(4, 2, seed=1)]),
    *((StudentTLogpdf(), [*T, nu]) for nu in FREE),
    *((StudentTLogpdfAdjoint(), [*T, nu, density(StudentTLogpdf(), T, nu), COTANGENT]) for nu in FREE),
    *((JointLogpdf(), [*JOINT, nu]) for nu in FREE),
    *((JointLogpdfAdjoint(), [*JOINT, nu, density(JointLogpdf(), JOINT, nu), COTANGENT]) for nu in FREE),
    *((GarchLogpdf(), [*GARCH, nu]) for nu in FREE),
    *((GarchLogpdfAdjoint(), [*GARCH, nu, random(TIMES, seed=5)]) for nu in FREE),
    (MarkovLoglik(REGIMES), CHAIN),
    (MarkovLoglik(REGIMES), [CHAIN[0], CHAIN[1][..., :1], CHAIN[2]]),
    (MarkovLoglik(REGIMES), [CHAIN[0][:, :1], CHAIN[1][..., :1], CHAIN[2]]),
    (LagMarginalLoglik(REGIMES), [random(REGIMES, TIMES, LAGS), *CHAIN[1:], random(LAGS, seed=4)]),
    (LagMarginalLoglik(REGIMES), [random(REGIMES, TIMES, LAGS), CHAIN[1][..., :1], CHAIN[2], random(LAGS, seed=4)]),
]


def cases(calls):
    """One quick case of each Op; JAX compiles each for half a second, and the point lag for seven."""
    met = {LagMarginalLoglik}
    for n, (op, inputs) in enumerate(calls):
        marks = [pytest.mark.slow] if type(op) in met else []
        met.add(type(op))
        yield pytest.param(op, inputs, marks=marks, id=f"{type(op).__name__} {n}")


def test_every_op_has_a_rule():
    def below(cls):
        return {found for one in cls.__subclasses__() for found in ({one} | below(one))}

    concrete = {cls for cls in below(LinkedOp) if hasattr(cls, "loop") and cls.__module__.startswith("regimelag")}
    assert concrete == {type(op) for op, _ in CALLS}


@pytest.mark.parametrize(("op", "inputs"), list(cases(CALLS)))
def test_outputs_are_those_of_the_loop(op, inputs):
    found = jax.jit(op.in_jax(jax))(*inputs)
    expected = run(op, inputs)
    for one, other in zip(found if len(expected) > 1 else [found], expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


# Inputs that have no gradient, or none that the model needs.
CONSTANT = {LinearMap: (0,), PredictorDCoefficients: (3,), StudentTLogpdf: (0,), JointLogpdf: (0,), GarchLogpdf: (0,)}
FORWARD = [(op, inputs) for op, inputs in CALLS if not type(op).__name__.endswith("Adjoint")]


@pytest.mark.slow
@pytest.mark.parametrize(("op", "inputs"), list(cases(FORWARD)))
def test_gradients_are_those_of_the_pullback(op, inputs):
    variables = [pt.as_tensor(value).type() for value in inputs]
    node = op.make_node(*variables)
    out = node.outputs[0]
    weights = random(*run(op, inputs)[0].shape, seed=8)
    constant = CONSTANT.get(type(op), ())
    differentiable = [n for n, value in enumerate(inputs) if value.dtype == float and n not in constant]
    gradients = pytensor.grad((out * weights).sum(), [variables[n] for n in differentiable])
    expected = pytensor.function(variables, gradients, mode="FAST_COMPILE", on_unused_input="ignore")(*inputs)

    def total(*values):
        given = list(inputs)
        for n, value in zip(differentiable, values, strict=True):
            given[n] = value
        found = op.in_jax(jax)(*given)
        return ((found[0] if len(node.outputs) > 1 else found) * weights).sum()

    found = jax.grad(total, argnums=tuple(range(len(differentiable))))(*(inputs[n] for n in differentiable))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)


LOW = -np.inf
HARD = {
    "an impossible step": lambda o, p, i: (o, p - np.where(np.eye(REGIMES)[[1, 2, 0]] > 0, np.inf, 0.0)[..., None], i),
    "an impossible regime": lambda o, p, i: (np.where(np.arange(REGIMES)[:, None] == 1, LOW, o), p, i),
    "impossible data": lambda o, p, i: (np.where(np.arange(TIMES) == 3, LOW, o), p, i),
    "a dead end": lambda o, p, i: (o, np.where(np.arange(REGIMES)[:, None, None] == 2, LOW, p), i),
    "an impossible start": lambda o, p, i: (o, p, np.where(np.arange(REGIMES) == 0, LOW, i)),
    "far apart": lambda o, p, i: (o * 400, p * 30, i),
    "not a number": lambda o, p, i: (np.where(np.arange(TIMES) == 3, np.nan, o), p, i),
    "infinite": lambda o, p, i: (np.where(np.arange(TIMES) == 3, np.inf, o), p, i),
}


@pytest.mark.parametrize("in_parallel", [False, True])
@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=[pytest.mark.slow] if n else []) for n, one in enumerate(HARD)]
)
def test_both_recursions_at_the_edges(case, in_parallel):
    inputs = HARD[case](*CHAIN)
    expected = loglik_and_adjoint((0.0,) * REGIMES, *map(np.ascontiguousarray, inputs))
    found = jax.jit(lambda *given: forward_backward_in_jax(jax, *given, in_parallel=in_parallel))(*inputs)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_second_derivatives_are_refused():
    op = MarkovLoglik(REGIMES)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.grad(lambda log_obs: op.in_jax(jax)(log_obs, *CHAIN[1:])[1].sum())(CHAIN[0])


def test_rules_are_registered_when_a_graph_is_compiled_for_jax():
    signal, weights = pt.vector("signal"), pt.vector("weights")
    out = LagSum()(signal, weights)
    function = pytensor.function([signal, weights], [out, pytensor.grad(out.sum(), weights)], mode="JAX")
    inputs = CALLS[0][1]
    value, gradient = function(*inputs)
    np.testing.assert_allclose(value, run(LagSum(), inputs)[0])
    np.testing.assert_allclose(gradient, run(LagSumDWeights(), [inputs[0], np.ones(TIMES)])[0])
