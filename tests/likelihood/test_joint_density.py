"""The joint density of several responses against scipy, differences, and the density of one."""

from __future__ import annotations

import itertools

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from builders import run
from oracles import central_difference
from pytensor.gradient import verify_grad
from scipy import stats

from regimelag.errors import RegimelagError
from regimelag.likelihood.density import StudentTLogpdf, StudentTLogpdfAdjoint, student_t_logpdf
from regimelag.likelihood.joint_density import JointLogpdf, JointLogpdfAdjoint, joint_logpdf

INF = np.inf
MODES = ["NUMBA", "FAST_COMPILE"]
NAMES = ("y", "location", "log_scale", "episode", "correlation", "nu")


def density(y, location, log_scale, episode, correlation, nu):
    return run(JointLogpdf(), y, location, log_scale, episode, correlation, nu)


def adjoint(*inputs):
    """Gradients from the inputs of the density, its value and the cotangent of that."""
    return run(JointLogpdfAdjoint(), *inputs)


def make_correlation(rng, assets):
    """A correlation matrix that has nothing special about it."""
    root = rng.normal(size=(assets, assets + 2))
    covariance = root @ root.T
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def all_patterns(y):
    """Make every pattern of missing assets occur, each of them in more than one run."""
    patterns = list(itertools.product([False, True], repeat=len(y)))
    for t, pattern in zip(range(0, y.shape[1], 3), itertools.cycle(patterns), strict=False):
        y[list(pattern), t] = np.nan


def make_rows(assets=3, regimes=2, times=60, episodes=3, seed=0, missing=True):
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 2, size=(assets, times))
    if missing:
        all_patterns(y)
    location = rng.normal(size=(assets, regimes, times))
    log_scale = rng.normal(0, 0.5, size=(episodes, assets, regimes))
    return y, location, log_scale, rng.integers(0, episodes, size=times), make_correlation(rng, assets)


def law(location, covariance, nu):
    if nu == INF:
        return stats.multivariate_normal(location, covariance)
    return stats.multivariate_t(location, covariance, df=nu)


def expected_logpdf(y, location, log_scale, episode, correlation, nu):
    """Row by row from scipy; the marginal law by hand."""
    out = np.zeros(location.shape[1:])
    for k, t in np.ndindex(out.shape):
        seen = ~np.isnan(y[:, t])
        scale = np.exp(log_scale[episode[t], seen, k])
        if seen.any():
            covariance = correlation[np.ix_(seen, seen)] * np.outer(scale, scale)
            out[k, t] = law(location[seen, k, t], covariance, nu).logpdf(y[seen, t])
    return out


@pytest.mark.parametrize("nu", [0.3, 2.1, 4.0, 31.9, 32.1, 1e3, INF])
@pytest.mark.parametrize("assets", [1, 2, 3, 5])
def test_density_equals_scipy(assets, nu):
    rows = make_rows(assets, times=100)
    ours = density(*rows, nu)
    np.testing.assert_allclose(ours, expected_logpdf(*rows, nu), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("regimes", [1, 52])
def test_few_and_many_regimes(regimes):
    rows = make_rows(2, regimes, times=20)
    np.testing.assert_allclose(density(*rows, 5.0), expected_logpdf(*rows, 5.0), atol=1e-10)


@pytest.mark.parametrize("times", [1, 255, 256, 257, 600])
def test_long_runs(times):
    rows = list(make_rows(2, times=times, episodes=1, missing=False))
    rows[0][1, : times // 3] = np.nan
    np.testing.assert_allclose(density(*rows, 5.0), expected_logpdf(*rows, 5.0), atol=1e-10)


def test_a_missing_first_asset_leaves_the_marginal_of_the_second():
    y, location, log_scale, episode, correlation = make_rows(2, missing=False)
    y[0] = np.nan
    alone = run(StudentTLogpdf(), y[1], location[1], log_scale[:, 1], episode, 5.0)
    np.testing.assert_allclose(density(y, location, log_scale, episode, correlation, 5.0), alone, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("nu", [0.5, 2.1, 7.0, 40.0, 1e4, INF])
@pytest.mark.parametrize("assets", [1, 2, 3, 5])
def test_adjoints_equal_central_differences(assets, nu):
    inputs = dict(zip(NAMES, (*make_rows(assets, times=3 * 2**assets + 7), nu), strict=True))
    cotangent = np.random.default_rng(3).normal(size=inputs["location"].shape[1:])
    gradients = adjoint(*inputs.values(), density(*inputs.values()), cotangent)

    def value(name, changed):
        return (density(**{**inputs, name: changed}) * cotangent).sum()

    for name, gradient in zip(("location", "log_scale", "correlation"), gradients[:3], strict=True):
        slope = central_difference(lambda changed, name=name: value(name, changed), inputs[name], 1e-5)
        np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-6)
    if nu < INF:
        slope = (value("nu", nu * 1.0001) - value("nu", nu * 0.9999)) / (0.0002 * nu)
        np.testing.assert_allclose(gradients[3], slope, rtol=1e-6, atol=1e-7 / nu)
    else:
        assert gradients[3] == 0.0


@pytest.mark.slow
def test_gradient_of_the_correlation_along_symmetric_pairs():
    """What moves when two mirrored entries move together, from scipy, which takes symmetric matrices alone."""
    y, location, log_scale, episode, correlation = make_rows(3, times=30)
    inputs = y, location, log_scale, episode, correlation, 4.0
    gradient = adjoint(*inputs, density(*inputs), np.ones((2, 30)))[2]
    np.testing.assert_allclose(gradient, gradient.T, rtol=1e-12, atol=1e-12)
    for a, b in [(0, 1), (0, 2), (1, 2)]:

        def value(rho, a=a, b=b):
            moved = correlation.copy()
            moved[a, b] = moved[b, a] = rho
            return expected_logpdf(y, location, log_scale, episode, moved, 4.0).sum()

        slope = (value(correlation[a, b] + 1e-5) - value(correlation[a, b] - 1e-5)) / 2e-5
        np.testing.assert_allclose(gradient[a, b] + gradient[b, a], slope, rtol=1e-6)


@pytest.mark.parametrize("assets", [1, 2, 3])
def test_student_t_tends_to_the_normal(assets):
    rows = make_rows(assets)
    normal = density(*rows, INF)
    ones = np.ones(normal.shape)
    of_normal = adjoint(*rows, INF, normal, ones)
    for nu in (1e13, 1e100, 1e300):
        student = density(*rows, nu)
        np.testing.assert_allclose(student, normal, atol=1e-8)
        for left, right in zip(adjoint(*rows, nu, student, ones), of_normal, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("nu", [0.3, 2.1, 5.0, 40.0, 1e6, INF])
def test_one_asset_equals_the_density_of_one(nu):
    y, location, log_scale, episode, correlation = make_rows(1)
    one = y[0], location[0], log_scale[:, 0], episode
    ours = density(y, location, log_scale, episode, correlation, nu)
    cotangent = np.random.default_rng(1).normal(size=ours.shape)
    gradients = adjoint(y, location, log_scale, episode, correlation, nu, ours, cotangent)
    theirs = run(StudentTLogpdf(), *one, nu)
    of_theirs = run(StudentTLogpdfAdjoint(), *one, nu, theirs, cotangent)
    np.testing.assert_allclose(gradients[3], of_theirs[2], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(gradients[0][0], of_theirs[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gradients[1][:, 0], of_theirs[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nu", [5.0, INF])
def test_what_is_missing_counts_for_nothing(nu):
    y, location, log_scale, episode, correlation = make_rows(3)
    log_obs = density(y, location, log_scale, episode, correlation, nu)
    gradients = adjoint(y, location, log_scale, episode, correlation, nu, log_obs, np.ones(log_obs.shape))
    assert all(np.isfinite(values).all() for values in (log_obs, *gradients))
    missing = np.isnan(y)
    assert not log_obs[:, missing.all(axis=0)].any()
    assert not np.swapaxes(gradients[0], 1, 2)[missing].any()
    assert (np.swapaxes(gradients[0], 1, 2)[~missing] != 0).all()
    # A location that belongs to a missing value may be anything.
    location[np.broadcast_to(missing[:, None], location.shape)] = np.nan
    np.testing.assert_allclose(
        density(y, location, log_scale, episode, correlation, nu), log_obs, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("nu", [5.0, INF])
@pytest.mark.parametrize("rho", [1.0, -1.0, 1.5, np.nan])
def test_a_matrix_that_is_not_positive_definite_gives_nan(rho, nu):
    y, location, log_scale, episode, _ = make_rows(2, times=24)
    rows = y, location, log_scale, episode, np.array([[1.0, rho], [rho, 1.0]]), nu
    log_obs = density(*rows)
    whole = ~np.isnan(y).any(axis=0)
    assert np.isnan(log_obs[:, whole]).all()
    assert np.isfinite(log_obs[:, ~whole]).all()
    d_location, _, d_correlation, _ = adjoint(*rows, log_obs, np.ones(log_obs.shape))
    assert np.isnan(d_location[:, :, whole]).all()
    assert np.isnan(d_correlation).all()


@pytest.mark.parametrize("nu", [5.0, INF])
@pytest.mark.parametrize("rho", [0.999999, -0.999999])
def test_tiny_scales_and_strong_correlation_stay_finite(rho, nu):
    y, location, log_scale, episode, _ = make_rows(2)
    rows = y, location, log_scale - 300.0, episode, np.array([[1.0, rho], [rho, 1.0]]), nu
    log_obs = density(*rows)
    assert np.isfinite(log_obs).all()
    if nu < INF:
        assert all(np.isfinite(values).all() for values in adjoint(*rows, log_obs, np.ones(log_obs.shape)))


def test_nan_in_is_nan_out():
    rows = make_rows(2, missing=False)
    for position in (1, 2, 4):
        wrong = [values.copy() for values in rows]
        wrong[position].flat[0] = np.nan
        log_obs = density(*wrong, 5.0)
        assert np.isnan(log_obs).any()
    assert np.isnan(density(*rows, np.nan)).all()


def test_input_order_in_memory_does_not_matter():
    rows = make_rows(3)
    turned = [np.asfortranarray(values) for values in rows]
    log_obs = density(*rows, 5.0)
    np.testing.assert_allclose(density(*turned, 5.0), log_obs, rtol=1e-12, atol=1e-12)
    ones = np.ones(log_obs.shape)
    results = adjoint(*rows, 5.0, log_obs, ones), adjoint(*turned, 5.0, log_obs, ones)
    for left, right in zip(*results, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


def test_arrays_that_do_not_fit_are_refused():
    rows = dict(zip(NAMES, (*make_rows(2, times=9), 5.0), strict=True))
    density(**rows)
    for name, wrong in [
        ("y", rows["y"][:, :-1]),
        ("y", rows["y"][:1]),
        ("location", rows["location"][:1]),
        ("log_scale", rows["log_scale"][:, :1]),
        ("log_scale", rows["log_scale"][:, :, :1]),
        ("episode", rows["episode"][:-1]),
        ("episode", rows["episode"] + 3),
        ("episode", rows["episode"] - 3),
        ("correlation", rows["correlation"][:1]),
    ]:
        with pytest.raises(ValueError, match="the joint density needs"):
            density(**{**rows, name: wrong})


def test_as_many_assets_as_an_integer_has_bits():
    rows = list(make_rows(62, regimes=1, times=3, missing=False))
    rows[0][::2, 1] = np.nan
    np.testing.assert_allclose(density(*rows, 5.0), expected_logpdf(*rows, 5.0), rtol=1e-9)
    with pytest.raises(ValueError, match="no more than 62 responses"):
        density(*make_rows(63, regimes=1, times=3, missing=False), 5.0)


@pytest.fixture(scope="module", params=MODES)
def compiled(request):
    """Value and gradients of the Op, for any number of assets."""
    shapes = {"y": (None,) * 2, "location": (None,) * 3, "log_scale": (None,) * 3, "correlation": (None,) * 2, "nu": ()}
    variables = {name: pt.tensor(name, dtype="float64", shape=shape) for name, shape in shapes.items()}
    variables["episode"] = pt.lvector("episode")
    cotangent = pt.dmatrix("cotangent")
    log_obs = joint_logpdf(**variables)
    gradients = pytensor.grad((log_obs * cotangent).sum(), [variables[name] for name in shapes])
    inputs = [*(variables[name] for name in NAMES), cotangent]
    return pytensor.function(inputs, [log_obs, *gradients], mode=request.param)


@pytest.mark.parametrize("nu", [4.0, INF])
@pytest.mark.parametrize("assets", [1, 3])
def test_op_equals_the_plain_functions(compiled, assets, nu):
    rows = *make_rows(assets), nu
    plain = density(*rows)
    cotangent = np.random.default_rng(3).normal(size=plain.shape)
    value, d_y, *gradients = compiled(*rows, cotangent)
    np.testing.assert_allclose(value, plain, atol=1e-13)
    expected = adjoint(*rows, plain, cotangent)
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(d_y, -expected[0].sum(axis=1), atol=1e-12)


def test_lengths_found_late_are_refused(compiled):
    rows = [*make_rows(2, times=9), 5.0, np.ones((2, 9))]
    compiled(*rows)
    for position, wrong in [(0, rows[0][:, :-1]), (2, rows[2][:, :1]), (3, rows[3] + 3), (4, np.eye(3))]:
        with pytest.raises(ValueError, match="the joint density needs"):
            compiled(*rows[:position], wrong, *rows[position + 1 :])


@pytest.mark.parametrize("nu", [3.5, INF])
def test_verify_grad(nu):
    y, location, log_scale, episode, correlation = make_rows(2, times=6, missing=False)
    values = [y, location, log_scale, correlation]
    free = values if nu == INF else [*values, np.array(nu)]

    def expression(y, location, log_scale, correlation, nu=nu):
        return joint_logpdf(y, location, log_scale, episode, correlation, nu)

    verify_grad(expression, free, rng=np.random.default_rng(0), mode="FAST_COMPILE")


@pytest.mark.parametrize("nu", [4.0, INF])
def test_one_asset_equals_the_op_of_one(nu):
    y, location, log_scale, episode, _ = make_rows(1)
    ours = joint_logpdf(y, location, log_scale, episode, [[1.0]], nu)
    one = y[0], location[0], log_scale[:, 0], episode
    theirs = student_t_logpdf(*one, nu)
    np.testing.assert_allclose(ours.eval(mode="FAST_COMPILE"), theirs.eval(mode="FAST_COMPILE"), atol=1e-13)


def test_batch_equals_a_loop():
    rows = [make_rows(2, seed=seed) for seed in range(3)]
    episode, correlation = rows[0][3], rows[0][4]
    y, location, log_scale = (np.stack([row[position] for row in rows]) for position in range(3))
    ours = joint_logpdf(y, location, log_scale, episode, correlation, 5.0).eval(mode="FAST_COMPILE")
    for n, row in enumerate(rows):
        np.testing.assert_allclose(ours[n], density(*row[:3], episode, correlation, 5.0), rtol=1e-12, atol=1e-12)


def test_static_shape_is_known():
    location = pt.tensor(shape=(2, 3, 6), dtype="float64")
    assert joint_logpdf(pt.dmatrix(), location, pt.dtensor3(), [0] * 6, pt.dmatrix(), 5.0).type.shape == (3, 6)


def test_op_refuses_shapes_that_do_not_fit():
    good = dict(zip(NAMES, (*make_rows(2, times=6), 5.0), strict=True))
    joint_logpdf(**good)
    for name, wrong in [
        ("y", good["y"][0]),
        ("y", good["y"][:1]),
        ("y", good["y"][:, :5]),
        ("location", good["location"][0]),
        ("location", good["location"][:, :1]),
        ("log_scale", good["log_scale"][0]),
        ("log_scale", good["log_scale"][:, :1]),
        ("episode", good["episode"] * 1.0),
        ("episode", good["episode"][:5]),
        ("correlation", good["correlation"][:1]),
        ("correlation", np.ones(2)),
        ("nu", np.ones(2)),
    ]:
        with pytest.raises(RegimelagError, match=r"rule: (.|\n)*came: (.|\n)*cure: "):
            joint_logpdf(**{**good, name: wrong})


def test_in_a_pymc_model():
    y, _, _, episode, _ = make_rows(2, times=40, episodes=1)
    with pm.Model() as model:
        mu = pm.Normal("mu", shape=(2, 2))
        log_scale = pm.Normal("log_scale", shape=(1, 2, 2))
        rho = pm.Uniform("rho", -1, 1)
        nu = pm.Gamma("nu", 2, 0.1)
        location = pt.zeros((2, 2, 40)) + mu[:, :, None]
        correlation = np.eye(2) + (1 - np.eye(2)) * rho
        pm.Potential("density", joint_logpdf(y, location, log_scale, episode, correlation, nu).sum())
    point = model.initial_point()
    slope = model.compile_dlogp(mode="FAST_COMPILE")(point)
    value = model.compile_logp(mode="FAST_COMPILE")
    vector = pm.blocking.DictToArrayBijection.map({v.name: point[v.name] for v in model.value_vars})

    def logp(changed):
        raveled = pm.blocking.RaveledVars(changed, vector.point_map_info)
        return value(pm.blocking.DictToArrayBijection.rmap(raveled))

    np.testing.assert_allclose(slope, central_difference(logp, vector.data), rtol=1e-6, atol=1e-6)
