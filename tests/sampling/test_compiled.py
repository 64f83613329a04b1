"""The compiled log posterior against PyMC's own, on its own data and on other data, and what a second process finds."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pymc as pm
import pytest
from builders import BY_ORIGIN, bare_spec, cut, hand_panel, small_spec
from pytensor.compile.mode import Mode

import regimelag as rl
from regimelag.model.build import build_model
from regimelag.model.data import model_data
from regimelag.sampling.compiled import CompiledModel

THREE = small_spec(regimes=rl.spec.Regimes(count=3, transitions=BY_ORIGIN))
LARGE = ("baseline", "three regimes")
SPECS = {"three regimes": THREE, "one regime": bare_spec(family="normal")}


@pytest.fixture(scope="module", params=[*(pytest.param(name, marks=pytest.mark.slow) for name in LARGE), "one regime"])
def case(request, flagship, example):
    """A spec, a panel and a longer one; the baseline model is the one that the session fits, so compiled already."""
    if request.param == "baseline":
        return flagship, request.getfixturevalue("short_panel"), cut(example, 260)
    spec = SPECS[request.param]
    return spec, hand_panel(spec, 40, missing=(3, 4)), hand_panel(spec, 55, missing=(7,))


@pytest.fixture(scope="module")
def pair(case):
    spec, panel, _ = case
    return spec, CompiledModel(build_model(spec, panel))


def by_pymc(model, size):
    """Log posterior and gradient in PyMC's own order, through PyTensor's Python."""
    # Without rewrites: they gather more terms in one sum than PyTensor's Python can add.
    function = model.logp_dlogp_function(ravel_inputs=True, mode=Mode(linker="py", optimizer=None))
    function.set_extra_values({})
    assert size == sum(np.size(model.initial_point()[value.name]) for value in model.value_vars)
    return function


def test_value_and_gradient_equal_those_of_pymc(pair):
    _, compiled = pair
    theirs = by_pymc(compiled.model, compiled.size)
    for seed in range(3):
        point = compiled.prior_point(seed)
        value, gradient = compiled.value_and_gradient(point)
        expected, slope = theirs(point)
        assert value == pytest.approx(float(expected), rel=1e-10)
        np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-9)


def test_points_go_back_to_the_variables_that_pymc_gives(pair):
    _, compiled = pair
    model = compiled.model
    points = np.stack([compiled.prior_point(seed) for seed in range(4)]).reshape(2, 2, -1)
    values = compiled.constrained(points)
    wanted = [*model.free_RVs, *model.deterministics]
    assert set(values) == {variable.name for variable in wanted}
    outputs = [v for v in model.unobserved_value_vars if v.name in values]
    one_by_one = model.compile_fn(outputs, inputs=model.value_vars, mode="FAST_COMPILE", point_fn=False)
    ends = np.cumsum([np.size(model.initial_point()[v.name]) for v in model.value_vars])
    shapes = [np.shape(model.initial_point()[v.name]) for v in model.value_vars]
    for index in np.ndindex(2, 2):
        pieces = np.split(points[index], ends[:-1])
        expected = one_by_one(*(piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)))
        for variable, value in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(values[variable.name][index], value, rtol=1e-12, atol=1e-13)


def test_variables_go_back_to_the_point_that_they_came_from(pair):
    _, compiled = pair
    for seed in range(3):
        point = compiled.prior_point(seed)
        np.testing.assert_allclose(compiled.point(compiled.constrained(point)), point, rtol=1e-9, atol=1e-9)


def test_other_data_of_another_length_need_no_other_compilation(pair, case):
    spec, compiled = pair
    longer = case[2].copy(deep=True)
    longer["response_value"][[7, 20], 0] = [np.nan, 1.5]
    moved = compiled.on(model_data(spec, longer))
    fresh = build_model(spec, longer)
    point = compiled.prior_point(1)
    before = compiled.value_and_gradient(point)[0]
    value, gradient = moved.value_and_gradient(point)
    expected, slope = by_pymc(fresh, compiled.size)(point)
    assert value == pytest.approx(float(expected), rel=1e-10)
    np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-9)
    assert compiled.value_and_gradient(point)[0] == before


def test_what_is_not_finite_is_nan_and_not_an_error(pair):
    _, compiled = pair
    value, gradient = compiled.value_and_gradient(np.full(compiled.size, 1e308))
    assert np.isnan(value)
    assert np.isnan(gradient).all()


def test_any_pymc_model_can_be_compiled():
    with pm.Model(coords={"place": ["a", "b"]}) as model:
        scale = pm.HalfNormal("scale")
        shift = pm.Data("shift", 0.25)
        mean = pm.Normal("mean", shift, scale, dims="place")
        pm.Deterministic("difference", mean[1] - mean[0])
        pm.Normal("y", mean, 1.0, observed=[0.5, -0.5], dims="place")
    compiled = CompiledModel(model)
    point = np.array([0.3, 1.0, -1.0])
    assert compiled.value_and_gradient(point)[0] == pytest.approx(float(by_pymc(model, 3)(point)[0]), rel=1e-12)
    np.testing.assert_allclose(compiled.constrained(point)["difference"], -2.0)
    np.testing.assert_allclose(compiled.constrained(point)["scale"], np.exp(0.3))


COUNT = """
import hashlib
import sys
sys.path.insert(0, {tests!r})
from numba.core import event
import regimelag
from builders import bare_spec, hand_panel
from regimelag.sampling.compiled import CompiledModel
spec = bare_spec(signals=tuple(regimelag.Signal(name, name) for name in {names}), max_lag=26)
with event.install_recorder("numba:compile") as recorder:
    compiled = CompiledModel(regimelag.build_model(spec, hand_panel(spec, 30)))
found = [compiled.value_and_gradient(compiled.prior_point(seed)) for seed in range(100)]
print(len(recorder.buffer), hashlib.sha256(b"".join(gradient.tobytes() for _, gradient in found)).hexdigest())
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_another_model_only_what_is_new(tmp_path):
    caches = {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "PYTENSOR_FLAGS": f"base_compiledir={tmp_path / 'pytensor'}"}
    first, again, other = (
        subprocess.run(
            [sys.executable, "-c", COUNT.format(tests=str(Path(__file__).parents[1]), names=names)],
            env=os.environ | caches,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for names in (["metal"], ["metal"], ["metal", "oil"])
    )
    assert int(first[0]) > 100
    assert int(again[0]) == 0
    assert int(other[0]) < 0.1 * int(first[0])
    # What was compiled here rounds as what is loaded there, so that the same seed gives the same draws.
    assert again[1] == first[1] != other[1]


FREED = """
import resource
import sys

import numpy as np

from regimelag.runtime.process import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [np.ones(1 << 17) for _ in range(64)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


print(min(faults() for _ in range(5)))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc returns memory so early")
def test_freed_memory_is_kept_for_the_next_evaluation():
    """64 MB in blocks of 1 MB cost faults for all of their pages; kept, they cost hardly any."""
    found = {}
    for how in ("kept", "given back"):
        command = [sys.executable, "-c", FREED, how]
        found[how] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 10 * found["kept"] < found["given back"]
