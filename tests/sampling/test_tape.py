"""Tapes of small graphs against PyTensor's own functions: each kind of node, and nodes that nobody thought of."""

from __future__ import annotations

import ctypes
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.scan.basic import scan

from regimelag.sampling.tape import HEAD, run_tape, write_tape

SIZE = 12
PYTHON = Mode(linker="py", optimizer=None)
RNG = np.random.default_rng(1)
KNOWN = RNG.normal(size=(3, 4))
PLACES = np.array([0, 2, 2, 5, 11])


def in_two_parts(x):
    return pt.concatenate([x[:5] ** 2, pt.stack([x[6], x[7] * 2.0]), KNOWN.ravel()[:2]])


def by_steps(x):
    start = pt.zeros(())
    return scan(lambda now, before: 0.5 * before + now, sequences=[x], outputs_info=[start], return_updates=False)


GRAPHS = {
    "broadcast": lambda x: x.reshape((3, 4)) + x[:3][:, None] * KNOWN - x[:4],
    "many terms": lambda x: sum((x * n for n in range(1, 40)), start=x),
    "order of axes": lambda x: (x.reshape((2, 3, 2)).transpose(2, 0, 1) * KNOWN.reshape(2, 2, 3)).transpose(1, 2, 0),
    "reshaped after transposing": lambda x: x.reshape((3, 4)).T.reshape((2, 6)) * np.arange(12.0).reshape(2, 6),
    "every other": lambda x: x[::2] * x[::-2],
    "choice": lambda x: pt.switch(x > 0, pt.exp(x), pt.log1p(pt.sqr(x))),
    "both conditions": lambda x: pt.switch(pt.and_(x > -1, x < 1), x, 0.0),
    "functions": lambda x: pt.sigmoid(x) + pt.softplus(x) + pt.log1mexp(-pt.abs(x) - 0.1) + pt.gammaln(pt.exp(x)),
    "small integers": lambda x: (x * np.int8(3)) ** np.int8(2) / np.float32(1.5),
    "sums": lambda x: x.reshape((2, 3, 2)).sum(axis=(0, 2)) * x.reshape((3, 4)).sum(axis=1) + x.sum(),
    "largest": lambda x: x.reshape((3, 4)).max(axis=0) + pt.min(x),
    "product": lambda x: pt.prod(1 + 0.1 * x),
    "parts": in_two_parts,
    "set": lambda x: pt.set_subtensor(pt.zeros((4, 4))[1:, :2], x[:6].reshape((3, 2))) * 3.0,
    "increased": lambda x: pt.inc_subtensor(x.reshape((3, 4))[:, 1], x[:3]),
    "increased at known places": lambda x: pt.inc_subtensor(x[PLACES], x[:5]),
    "known places": lambda x: x[PLACES] * x[:5],
    "filled": lambda x: pt.alloc(x[0], 3, 4) * KNOWN + pt.full_like(x.reshape((3, 4)), x[1]),
    "shape of what moves": lambda x: x.sum() / x[x.shape[0] - 3 :].shape[0],
    "split": lambda x: pt.mul(*pt.split(x, [6, 6], n_splits=2)),
    "softmax": lambda x: pt.special.softmax(x.reshape((3, 4)), axis=1) * pt.special.log_softmax(x)[:4],
    "cumulated": lambda x: pt.cumsum(x) * pt.cumprod(1 + 0.1 * x),
    "product of matrices": lambda x: pt.dot(x.reshape((3, 4)), KNOWN.T),
    "of batches": lambda x: pt.linalg.det(x[:8].reshape((2, 2, 2))),
    "one batch for all": lambda x: pt.matmul(x[:8].reshape((2, 2, 2)), pt.as_tensor(KNOWN[:2, :2])),
    "cholesky": lambda x: pt.linalg.cholesky(pt.eye(3) * 5.0 + pt.outer(x[:3], x[:3])),
    "a place that moves": lambda x: x[pt.argmax(x)] * x,
    "one branch": lambda x: pt.add(*pytensor.ifelse(x[0] > 0, [x, x**2], [x**3, -x])),
    "one entry": lambda x: x.reshape((3, 4))[1, 2] * x[7] * x[-1],
    "steps": by_steps,
    "known alone": lambda x: pt.as_tensor(KNOWN).sum() * 2.0 + x[0],
}


def on_tape(graph, data=None):
    """Function of a point with the value and gradient of the sum of squares of a graph, and what PyTensor gives."""
    x = pt.vector("x", shape=(SIZE,))
    value = pt.sqr(graph(x)).sum()
    outputs = [value, pt.grad(value, x)]
    tape = write_tape(x, outputs, data or {}, RNG.normal(size=SIZE))
    doubles = ctypes.POINTER(ctypes.c_double)

    def run(point):
        found, slope = np.empty(1), np.empty(SIZE)
        given = [each.ctypes.data_as(doubles) for each in (point, slope, found)]
        status = run_tape().ctypes(SIZE, *given, ctypes.c_void_p(tape.table.ctypes.data))
        return status, found[0], slope

    return run, pytensor.function([x], outputs, mode=PYTHON)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "steps" else n for n in GRAPHS])
def test_value_and_gradient_are_those_of_pytensor(name):
    agree(*on_tape(GRAPHS[name]))


def agree(run, theirs):
    """Compare a tape with PyTensor's function at three points."""
    for _ in range(3):
        point = RNG.normal(size=SIZE)
        status, value, gradient = run(point)
        expected, slope = theirs(point)
        assert status == 0
        assert value == pytest.approx(float(expected), rel=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("graph", "lengths"),
    [
        (lambda x, n: pt.inc_subtensor(pt.zeros(9)[PLACES[:4]], x[:n]), (4, 1)),
        (lambda x, n: pt.set_subtensor(pt.zeros((9, 3))[PLACES[:4]], x[: 3 * n].reshape((n, 3))), (4, 1)),
        (lambda x, n: pt.outer(x, x)[PLACES[:n, None], PLACES[None, :4]], (4, 1)),
        (lambda x, n: pt.signal.convolve1d(x, x[:n], mode="full"), (4, 3, 5)),
        (lambda x, n: pt.signal.convolve1d(KNOWN.ravel(), x[:n], mode="valid"), (4, 3, 5)),
    ],
)
def test_code_of_an_op_is_not_used_for_other_lengths(graph, lengths):
    """PyTensor's code depends on lengths that the types state: one, which is broadcast, and those of a kernel."""
    for length in lengths:
        agree(*on_tape(partial(graph, n=length)))


def test_data_of_another_length_give_another_tape():
    data = pytensor.shared(np.zeros(3), shape=(None,))
    for length in (3, 7, 0):
        values = RNG.normal(size=length)
        run, theirs = on_tape(lambda x: x[0] * data + x[1] * pt.sqr(data), {data: values})
        data.set_value(values)
        point = RNG.normal(size=SIZE)
        status, value, gradient = run(point)
        expected, slope = theirs(point)
        assert status == 0
        assert value == pytest.approx(float(expected), rel=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-12)


def test_memory_of_a_long_series_is_in_pieces(monkeypatch):
    monkeypatch.setattr("regimelag.sampling.tape.PIECE", 2 * SIZE)
    test_value_and_gradient_are_those_of_pytensor("broadcast")


def test_division_by_zero_is_not_finite_and_an_error_of_an_op_is_one():
    run, _ = on_tape(lambda x: 1.0 / x)
    assert run(np.zeros(SIZE))[0] > 0
    assert run(np.ones(SIZE))[0] == 0


def test_memory_is_used_again():
    """A chain of two hundred vectors needs the place of a few."""
    x = pt.vector("x", shape=(SIZE,))
    value = x
    for _ in range(100):
        value = pt.tanh(value) + 1.0
    assert write_tape(x, [value.sum(), value], {}, np.zeros(SIZE)).table[HEAD] < 10 * 2 * SIZE
