"""The point lag against a closed form, with two modes, and through everything that a fit is read with."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, prior_fit, priors, small_spec
from oracles import log_total
from scipy import stats

import regimelag as rl
from regimelag.spec.kernels import KERNELS

ROWS, LAGS = 120, 10
# The scale is as good as known, so that all else is linear and normal and the evidence of each lag has a closed form.
KNOWN = priors(effect=0.6, intercept=0.4, contemporaneous=0.5) | {
    "log_scale": rl.Prior("Normal", mu=np.log(0.9), sigma=1e-5)
}


def linear_spec(**changes):
    kernel = rl.kernels.Point(mean_lag=4.0, spread=3.0)
    signals = (rl.Signal("metal", "metal", kernel=kernel),)
    return bare_spec(signals=signals, family="normal", priors=KNOWN, max_lag=LAGS, **changes)


def panel_with(spec, *, seed, **effects):
    """White noise that follows the signal at the lags named, with the effects given."""
    panel = hand_panel(spec, ROWS, seed=seed)
    x = panel["signal_value"].to_numpy()[:, 0]
    rows = np.arange(ROWS) + LAGS
    y = 0.9 * np.random.default_rng(seed + 1).standard_normal(ROWS)
    panel["response_value"][:, 0] = y + sum(size * x[rows - int(lag[1:])] for lag, size in effects.items())
    return panel


def closed_form(spec, panel):
    """Posterior masses of the lags: y is normal with covariance s^2 + sum of prior variances times outer products."""
    y, x = panel["response_value"].to_numpy()[:, 0], panel["signal_value"].to_numpy()[:, 0]
    rows = np.arange(ROWS) + LAGS
    common = 0.9**2 * np.eye(ROWS) + 0.4**2
    common = common + 0.5**2 * np.outer(x[rows], x[rows])
    log_evidence = [
        stats.multivariate_normal(np.zeros(ROWS), common + 0.6**2 * np.outer(x[rows - lag], x[rows - lag])).logpdf(y)
        for lag in range(1, LAGS + 1)
    ]
    log_joint = np.array(log_evidence) + np.log(spec.signals[0].kernel.prior_masses(LAGS))
    return np.exp(log_joint - log_total(log_joint))


def fitted(spec, panel, seed=1):
    return rl.fit(spec, panel, draws=500, tune=500, chains=4, cores=2, starts=6, random_seed=seed, progressbar=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("effects", "modes"),
    [({"l3": 0.15}, 1), ({"l2": 0.42, "l8": 0.42}, 2)],
    ids=["weak", "two modes"],
)
def test_masses_equal_the_conjugate_closed_form(effects, modes):
    spec = linear_spec()
    panel = panel_with(spec, seed=5, **effects)
    exact = closed_form(spec, panel)
    tree = fitted(spec, panel)
    probability = tree["posterior"]["metal_lag_probability"]
    error = az.mcse(probability.to_dataset(name="p"))["p"].to_numpy()
    # Ten masses: five standard errors, and what a double can tell.
    assert np.all(np.abs(probability.mean(("chain", "draw")) - exact) < 5 * error + 1e-6)
    counted = (tree["posterior"]["metal_lag_point"] == xr.DataArray(np.arange(1, LAGS + 1), dims="lag")).to_dataset(
        name="c"
    )
    spread = az.mcse(counted.astype(float))["c"].to_numpy()
    assert np.all(np.abs(counted["c"].mean(("chain", "draw")) - exact) < 5 * np.nan_to_num(spread) + 2e-3)
    peaks = [
        lag
        for lag in range(1, LAGS + 1)
        if exact[lag - 1] > 0.1 and exact[lag - 1] == exact[max(lag - 2, 0) : lag + 1].max()
    ]
    assert len(peaks) >= modes


@pytest.fixture(scope="module", params=["prior", pytest.param("sampled", marks=pytest.mark.slow)])
def by_regime(request):
    """A fit whose posterior is the prior, and one that was sampled."""
    kernel = rl.kernels.Point(mean_lag=2.0, spread=1.5, by_regime=True)
    spec = small_spec(signals=(rl.Signal("metal", "metal", kernel=kernel),))
    panel = hand_panel(spec, 40)
    if request.param == "prior":
        return prior_fit(spec, panel, 30)
    return rl.fit(
        spec, panel, draws=60, tune=150, chains=2, cores=1, starts=4, prior_draws=50, random_seed=2, progressbar=False
    )


def test_every_reading_takes_a_point_lag(by_regime, tmp_path):
    read = rl.lag_distribution(by_regime)
    assert set(read["weights"].dims) == {"chain", "draw", "signal", "regime", "lag"}
    np.testing.assert_allclose(read["weights"].sum("lag"), 1.0)
    point = by_regime["posterior"]["metal_lag_point"]
    np.testing.assert_array_equal(read["mean_lag"].sel(signal="metal").transpose(*point.dims), point)
    np.testing.assert_allclose(by_regime["posterior"]["metal_lag_probability"].sum("lag"), 1.0)
    assert set(rl.lag_distribution(by_regime, group="prior")["regime"].to_numpy()) == {"calm", "turbulent"}
    filtered = rl.regime_probabilities(by_regime)
    np.testing.assert_allclose(filtered.sum("regime"), 1.0)
    assert bool(rl.effects(by_regime)["lagged"].notnull().all())
    assert rl.load_fit(rl.save_fit(by_regime, tmp_path / "fit.nc")).identical(by_regime)


def test_more_than_a_thousand_combinations_are_refused():
    kernel = rl.kernels.Point()
    with pytest.raises(rl.errors.SpecError, match="at most 1000 combinations") as caught:
        small_spec(signals=tuple(rl.Signal(name, name, kernel=kernel) for name in ("a", "b", "c")), max_lag=26)
    assert "17576" in str(caught.value)
    small_spec(signals=tuple(rl.Signal(name, name, kernel=kernel) for name in ("a", "b")), max_lag=26)
    small_spec(signals=(rl.Signal("a", "a", kernel=rl.kernels.Point(by_regime=True)),), max_lag=26)
    with pytest.raises(rl.errors.SpecError, match="without by_regime"):
        small_spec(
            signals=(rl.Signal("a", "a", kernel=rl.kernels.Point(by_regime=True)),),
            max_lag=26,
            regimes=rl.spec.Regimes(count=3),
        )


def test_a_point_lag_is_one_for_all_episodes():
    """A lag for each episode is refused; each kernel that the cure names takes it."""
    episodes = rl.spec.Episodes(starts=small_spec().episodes.starts, vary=("scale", "effect", "lag"))
    with pytest.raises(rl.errors.SpecError, match="belongs to a kernel with a location") as caught:
        small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Point()),), episodes=episodes, max_lag=26)
    assert "signal 'metal' has a point kernel" in caught.value.came
    named = [kind for kind in KERNELS if kind in caught.value.cure]
    assert set(named) == {"gamma", "lognormal", "negative_binomial", "beta"}
    for kind in named:
        small_spec(signals=(rl.Signal("metal", "metal", kernel=KERNELS[kind]()),), episodes=episodes, max_lag=26)
    rest = rl.spec.Episodes(starts=episodes.starts, vary=("scale", "effect"))
    small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Point()),), episodes=rest, max_lag=26)


def test_prior_masses_are_those_given():
    kernel = rl.kernels.Point(masses=(1, 0, 3, 0))
    np.testing.assert_allclose(kernel.prior_masses(4), [0.25, 0, 0.75, 0])
    spec = small_spec(signals=(rl.Signal("metal", "metal", kernel=kernel),))
    simulated = {int(rl.simulate(spec, hand_panel(spec, 12), random_seed=n).sizes["time"]) for n in range(2)}
    assert simulated == {12}
    for masses in ((1.0, 2.0), (-1.0, 2.0, 0.0, 0.0), (0.0,) * 4):
        with pytest.raises(rl.errors.SpecError, match="masses"):
            small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Point(masses=masses)),))
