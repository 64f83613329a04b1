"""One list of all kernels under every invariant; moments against scipy."""

import itertools

import numpy as np
import pytensor.tensor as pt
import pytest
from scipy import special, stats

from regimelag.errors import SpecError
from regimelag.spec.kernels import (
    KERNELS,
    Beta,
    Dirichlet,
    Gamma,
    LogNormal,
    NegativeBinomial,
    NoLag,
    Point,
    Unrestricted,
    combinations,
    lags,
    softmax,
)

LAGGED = [cls() for kind, cls in KERNELS.items() if kind != "none"]
MOVABLE = [cls() for cls in KERNELS.values() if cls.movable]
MAX_LAG = 26


def draw(kernel, rng, size):
    """Draw parameters from the kernel's own prior, with numpy alone."""
    drawn = {}
    for name, prior in kernel.priors(MAX_LAG).items():
        shape = (size, MAX_LAG) if prior.dims else (size,)
        drawn[name] = {
            "LogNormal": lambda a, s: rng.lognormal(a["mu"], a["sigma"], s),
            "Normal": lambda a, s: rng.normal(a["mu"], a["sigma"], s),
            "HalfNormal": lambda a, s: np.abs(rng.normal(0, a["sigma"], s)),
            "Beta": lambda a, s: rng.beta(a["alpha"], a["beta"], s),
            "Dirichlet": lambda a, s: rng.dirichlet(a["a"], s[0]),
        }[prior.distribution](prior.parameters, shape)
    if isinstance(kernel, Point):
        drawn["point"] = rng.choice(MAX_LAG, size, p=kernel.prior_masses(MAX_LAG)) + 1
    return drawn


@pytest.fixture(params=LAGGED, ids=lambda kernel: kernel.kind)
def kernel(request):
    return request.param


def test_weights_are_non_negative_and_sum_to_one(kernel):
    weights = kernel.weights(draw(kernel, np.random.default_rng(1), 500), MAX_LAG)
    assert weights.shape[-1] == MAX_LAG
    assert np.all(weights >= 0)
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-12)


def test_departures_sum_to_zero(kernel):
    departure = kernel.signed_deviation(draw(kernel, np.random.default_rng(1), 50), MAX_LAG)
    assert (departure is None) == (not isinstance(kernel, Unrestricted))
    if departure is not None:
        np.testing.assert_allclose(departure.sum(-1), 0.0, atol=1e-12)


def test_numpy_and_pytensor_agree(kernel):
    if isinstance(kernel, Point):
        # It is marginalised: no graph holds it.
        assert kernel.priors(MAX_LAG) == {}
        return
    drawn = draw(kernel, np.random.default_rng(2), 7)
    weights = kernel.weights(drawn, MAX_LAG)
    for n in range(7):
        symbolic = kernel.weights({k: pt.as_tensor(v[n]) for k, v in drawn.items()}, MAX_LAG, pt)
        np.testing.assert_allclose(symbolic.eval(), np.broadcast_to(weights, (7, MAX_LAG))[n], rtol=1e-12, atol=1e-300)


def test_chain_and_draw_axes_pass_through(kernel):
    drawn = draw(kernel, np.random.default_rng(3), 6)
    flat = np.broadcast_to(kernel.weights(drawn, MAX_LAG), (6, MAX_LAG))
    split = kernel.weights({k: v.reshape(2, 3, *v.shape[1:]) for k, v in drawn.items()}, MAX_LAG)
    np.testing.assert_allclose(
        np.broadcast_to(split, (2, 3, MAX_LAG)).reshape(6, MAX_LAG), flat, rtol=1e-12, atol=1e-12
    )


def test_weights_stay_finite_far_out(kernel):
    """A sampler visits such points; they must not turn into NaN."""
    for factor in (1e-3, 1e3):
        drawn = {
            k: v * (1 if k in ("weights", "fraction", "point") else factor)
            for k, v in draw(kernel, np.random.default_rng(4), 50).items()
        }
        assert np.all(np.isfinite(kernel.weights(drawn, MAX_LAG)))


def test_prior_of_the_mean_lag_is_as_stated(kernel):
    """Within what truncation to 1..L and the walk's spread leave: a quarter of the stated mean."""
    weights = np.broadcast_to(kernel.weights(draw(kernel, np.random.default_rng(5), 4000), MAX_LAG), (4000, MAX_LAG))
    mean = float((weights @ lags(MAX_LAG)).mean())
    assert abs(mean - kernel.mean_lag) < 0.25 * kernel.mean_lag


def test_dirichlet_prior_sd_of_the_mean_lag_is_exact():
    kernel = Dirichlet(mean_lag=9.0, spread=4.0, mean_lag_sd=1.2)
    mean = kernel.weights(draw(kernel, np.random.default_rng(6), 40_000), MAX_LAG) @ lags(MAX_LAG)
    # The standard error of a standard deviation is about sd / sqrt(2 n).
    assert abs(mean.std() - 1.2) < 4 * 1.2 / np.sqrt(2 * 40_000)


@pytest.mark.parametrize("kernel", MOVABLE, ids=lambda kernel: kernel.kind)
def test_a_move_shifts_the_log_of_the_location(kernel):
    """Far from both ends, half a log unit is a factor of its exponential in the mean lag, or in its odds (beta)."""
    max_lag = 400
    kernel = type(kernel)(mean_lag=100.0, spread=25.0, mean_lag_sd=10.0, spread_sd=2.0)
    parameters = {name: np.array([90.0]) for name in kernel.names(max_lag)}
    parameters |= {"spread": np.array([9.0]), "excess_spread": np.array([20.0])}
    parameters |= {"fraction": np.array([0.25]), "concentration": np.array([2000.0])}
    before, after = (
        kernel.weights(kernel.shift_location(parameters, np.array([move])), max_lag)[0] @ lags(max_lag)
        for move in (0.0, 0.5)
    )
    if kernel.kind == "beta":
        before, after = (mean / (max_lag - mean) for mean in (before, after))
    assert after / before == pytest.approx(np.exp(0.5), rel=0.02)


def test_combinations_of_point_lags_by_hand():
    one, each = Point(masses=(1, 2, 1)), Point(masses=(0, 1, 1), by_regime=True)
    found, log_mass = combinations([one, each], 2, 3)
    assert found.shape == (27, 2, 2)
    assert {tuple(row.ravel()) for row in found} == {(a, a, b, c) for a, b, c in itertools.product((1, 2, 3), repeat=3)}
    assert np.exp(log_mass).sum() == pytest.approx(1.0)
    at = [tuple(row.ravel()) for row in found].index((2, 2, 2, 3))
    assert np.exp(log_mass[at]) == pytest.approx(0.5 * 0.25)


@pytest.mark.parametrize(
    ("kernel", "parameters", "law", "shift"),
    [
        (Gamma(), {"location": 9.0, "spread": 3.0}, stats.gamma(9.0, scale=1.0), 0),
        (
            LogNormal(),
            {"location": 9.0, "spread": 3.0},
            stats.lognorm(np.sqrt(np.log1p(1 / 9)), scale=9.0 / np.sqrt(1 + 1 / 9)),
            0,
        ),
        (NegativeBinomial(), {"excess_location": 8.0, "excess_spread": 2.0}, stats.nbinom(16.0, 2.0 / 3.0), 1),
        (Beta(), {"fraction": 0.4, "concentration": 10.0}, stats.beta(4.0, 6.0, scale=60), 0.5),
    ],
    ids=["gamma", "lognormal", "negative_binomial", "beta"],
)
def test_shape_is_the_named_law(kernel, parameters, law, shift):
    max_lag = 60
    weights = kernel.weights({k: np.array(v) for k, v in parameters.items()}, max_lag)
    at = lags(max_lag) - shift
    expected = law.pmf(at) if hasattr(law, "pmf") and isinstance(law.dist, stats.rv_discrete) else law.pdf(at)
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-9)
    mean = weights @ at
    spread = np.sqrt(weights @ at**2 - mean**2)
    assert mean == pytest.approx(law.mean(), rel=0.01)
    assert spread == pytest.approx(law.std(), rel=0.02)


@pytest.mark.parametrize(
    ("kernel", "cure"),
    [
        (Gamma(mean_lag=40.0), "max_lag = 40 in the model"),
        (Gamma(spread=-1.0), "positive"),
        (Gamma(mean_lag=float("nan")), "positive"),
        (Dirichlet(mean_lag_sd=6.0), "write mean_lag_sd = 2"),
        (NegativeBinomial(spread=2.0), "write spread = 4"),
        (NegativeBinomial(mean_lag=1.0), "gamma"),
        (Beta(mean_lag_sd=14.0), "write mean_lag_sd = 6"),
    ],
)
def test_priors_that_cannot_be_met_are_refused(kernel, cure):
    with pytest.raises(SpecError, match=cure):
        kernel.validate(MAX_LAG)


def test_no_lag_has_nothing_to_estimate():
    assert NoLag().priors(MAX_LAG) == {}


@pytest.mark.parametrize("length", [1, 2, 8, 9, 26])
def test_softmax_is_that_of_scipy_for_short_and_long_axes(length):
    values = 30 * np.random.default_rng(1).standard_normal((4, 3, length))
    np.testing.assert_allclose(softmax(values, np), special.softmax(values, axis=-1), rtol=1e-13, atol=0)
    assert np.isfinite(softmax(np.full((2, length), 800.0), np)).all()
