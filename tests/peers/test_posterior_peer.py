"""The posterior against a second implementation of the model, in NumPyro, that shares no code with the package."""

import dataclasses
import datetime as dt

import arviz as az
import numpy as np
import pandas as pd
import pytensor
import pytest
import xarray as xr
from builders import priors
from pytensor.graph.replace import graph_replace

import regimelag as rl

SPEC = rl.ModelSpec(
    name="peer",
    responses=(rl.Response("asset", "price"),),
    signals=(
        rl.Signal("metal", "metal", kernel=rl.kernels.Gamma(mean_lag=5.0, mean_lag_sd=3.0, spread=2.5, spread_sd=1.5)),
    ),
    drivers=(rl.Driver("yield", "yield", periods=8), rl.Driver("dollar", "dollar", transform="log_return", periods=8)),
    controls=(rl.Control("yield", "yield"), rl.Control("dollar", "dollar", transform="log_return")),
    max_lag=12,
    episodes=rl.spec.Episodes(starts=(dt.date(2016, 6, 1), dt.date(2018, 1, 1))),
)


def weekly_frame(rng, rows=230):
    """Weekly levels: a price that follows the metal six weeks late, calm and turbulent in turn; some prices missing."""
    moves = rng.standard_t(6, (rows, 3)) * [0.03, 0.08, 0.006]
    turbulent = np.arange(rows) // 15 % 2
    late = np.convolve(moves[:, 0], [0.0, 0.0, 0.0, 0.0, 0.2, 0.3, 0.3, 0.2])[:rows]
    noise = rng.standard_t(8, rows) * np.array([0.03, 0.10])[turbulent]
    returns = 0.005 + 0.3 * moves[:, 0] + 1.5 * late - 0.1 * moves[:, 1] + noise
    frame = pd.DataFrame(
        {
            "price": 100.0 * np.exp(np.cumsum(returns)),
            "metal": 20.0 * np.exp(np.cumsum(moves[:, 0])),
            "yield": 1.0 + np.cumsum(moves[:, 1]),
            "dollar": 100.0 * np.exp(np.cumsum(moves[:, 2])),
            "second_price": 5.0 * np.exp(np.cumsum(0.6 * returns + 0.04 * rng.standard_normal(rows))),
            "second": 10.0 * np.exp(np.cumsum(0.04 * rng.standard_normal(rows))),
        },
        index=pd.date_range("2015-01-02", periods=rows, freq="W-FRI", name="date"),
    )
    frame.iloc[[60, 61, 150], 0] = np.nan
    frame.loc[frame.index[:80], "second_price"] = np.nan
    return frame


def panel_for(spec, rows=240):
    return rl.make_panel(spec, weekly_frame(np.random.default_rng(1)).iloc[:rows])


def with_kernels(spec, *kernels):
    columns = ("metal", "second")
    signals = (rl.Signal(c, c, kernel=k, contemporaneous=c == "metal") for c, k in zip(columns, kernels, strict=False))
    return dataclasses.replace(spec, signals=tuple(signals))


def vary(what):
    return dataclasses.replace(SPEC, episodes=dataclasses.replace(SPEC.episodes, vary=(what,)))


def regimes(spec, **changes):
    return dataclasses.replace(spec, regimes=rl.spec.Regimes(**changes))


# Priors off their defaults, all different, so that none can stand in for another.
ODD = priors(
    intercept=0.31,
    contemporaneous=0.38,
    control_effect=0.45,
    effect=0.52,
    effect_regime_sd=0.59,
    effect_episode_sd=0.66,
    log_scale_episode=0.73,
    driver_effect=0.8,
) | {
    "log_scale": rl.Prior("Normal", mu=-0.1, sigma=0.87),
    "log_scale_gap": rl.Prior("LogNormal", mu=0.2, sigma=0.94),
}
NORMAL, NO_DRIVERS = (dataclasses.replace(SPEC, **change) for change in ({"family": "normal"}, {"drivers": ()}))
TWO = (*SPEC.responses, rl.Response("other", "second_price"))
LAGS_VARY = dataclasses.replace(SPEC.episodes, vary=("scale", "effect", "lag"))
VARIANTS = {
    "flagship": SPEC,
    "lag by episode": dataclasses.replace(SPEC, episodes=LAGS_VARY, priors=priors(metal_lag_episode_sd=0.6)),
    "lagged controls": dataclasses.replace(
        SPEC,
        controls=(
            rl.Control("dollar", "dollar", kernel=rl.kernels.LogNormal(mean_lag=5.0)),
            rl.Control("second", "second", kernel=rl.kernels.Unrestricted(mean_lag=4.0)),
        ),
    ),
    "point lag": with_kernels(SPEC, rl.kernels.Point(mean_lag=5.0, spread=4.0)),
    "two responses": dataclasses.replace(
        SPEC,
        responses=TWO,
        priors=priors(effect_response_sd=0.4) | {"residual_correlation_partial": rl.Prior("LKJ", eta=3.0)},
    ),
    "two responses, normal, lag by both": dataclasses.replace(
        SPEC, responses=TWO, responses_vary=("effect", "lag"), episodes=LAGS_VARY, family="normal"
    ),
    "two responses, own regimes": dataclasses.replace(SPEC, responses=TWO, responses_vary=("effect", "regimes")),
    "two responses, point lag": with_kernels(dataclasses.replace(SPEC, responses=TWO), rl.kernels.Point(4.0, 3.0)),
    "other priors": regimes(
        dataclasses.replace(SPEC, priors=ODD), transitions=rl.spec.Markov((30.0, 6.0), expected_duration_log_sd=1.1)
    ),
    "three regimes, free first": regimes(SPEC, count=3, initial="dirichlet"),
    "four regimes, origins, stationary": dataclasses.replace(
        regimes(SPEC, count=4, initial="stationary", transitions=rl.spec.Markov(by_origin=True)),
        priors=priors(driver_origin_sd=0.4, leave_log_weights=0.6),
    ),
    "no drivers, stationary": regimes(NO_DRIVERS, count=2, initial="stationary"),
    "one regime, normal": regimes(dataclasses.replace(NO_DRIVERS, family="normal"), count=1),
    "no episodes, controls or lag": dataclasses.replace(
        with_kernels(SPEC, rl.kernels.NoLag()), episodes=rl.spec.Episodes(), controls=()
    ),
    "gamma, lognormal": with_kernels(vary("scale"), rl.kernels.Gamma(), rl.kernels.LogNormal(mean_lag=6.0)),
    "none, negative binomial": with_kernels(
        vary("effect"), rl.kernels.NoLag(), rl.kernels.NegativeBinomial(mean_lag=6.0)
    ),
    "beta, smooth": with_kernels(
        SPEC, rl.kernels.Beta(mean_lag=6.0, mean_lag_sd=2.0, spread=2.0, spread_sd=1.0), rl.kernels.Smooth()
    ),
    "dirichlet, unrestricted, normal": with_kernels(
        NORMAL, rl.kernels.Dirichlet(spread=3.0), rl.kernels.Unrestricted(roughness=0.2)
    ),
}


def log_joint(model):
    """The package's log density as a function of the parameters themselves, without Jacobians."""
    inputs, replaced = [], {}
    for variable in model.free_RVs:
        parameter, transform = variable.type(variable.name), model.rvs_to_transforms[variable]
        forward = parameter if transform is None else transform.forward(parameter, *variable.owner.inputs)
        inputs.append(parameter)
        replaced[model.rvs_to_values[variable]] = forward
    density = graph_replace(model.logp(jacobian=False), replaced)
    return pytensor.function(inputs, density, mode="FAST_COMPILE")


@pytest.fixture(scope="module")
def peer():
    """The second implementation. JAX takes seconds to import, so this is not done while tests are collected."""
    pytest.importorskip("numpyro")
    import numpyro_model

    return numpyro_model


@pytest.fixture(scope="module")
def process_model(peer):
    """The second implementation of two regime processes."""
    import numpyro_processes

    return numpyro_processes.process_model


TWO_PROCESSES = dataclasses.replace(
    SPEC,
    regime_processes=(
        rl.spec.RegimeProcess("volatility", carries=("scale", "intercept")),
        rl.spec.RegimeProcess(
            "coupling", carries=("effect",), order_by=rl.spec.OrderBy("effect"), drivers=("yield", "dollar")
        ),
    ),
)
# JAX compiles each of the others for seconds.
QUICK = {"flagship"}


@pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, id=name, marks=[] if name in QUICK else pytest.mark.slow) for name, spec in VARIANTS.items()],
)
def test_log_joint_densities_differ_by_a_constant(peer, spec):
    check_log_joint(peer, spec)


@pytest.mark.slow
def test_log_joint_densities_of_two_processes_differ_by_a_constant(peer, process_model):
    check_log_joint(peer, TWO_PROCESSES, model=process_model)


def check_log_joint(peer, spec, **own):
    panel = panel_for(spec, rows=110)
    model = rl.build_model(spec, panel)
    draws = peer.prior_draws(spec, panel, 8, seed=1, **own)
    ours, theirs = log_joint(model), peer.log_joint(spec, panel, draws, **own)
    mine = [float(ours(*(np.asarray(draws[rv.name][n]) for rv in model.free_RVs))) for n in range(8)]
    assert np.all(np.isfinite(mine))
    assert np.ptp(mine) > 10.0
    difference = np.array(mine) - theirs
    np.testing.assert_allclose(difference, difference[0], rtol=0, atol=1e-8)


def summaries(draws):
    """Each statistic of each parameter, with its Monte Carlo standard error, and bulk effective sample sizes."""
    table = {"mean": (draws.mean(("chain", "draw")), az.mcse(draws))}
    for prob in (0.05, 0.5, 0.95):
        quantile = draws.quantile(prob, ("chain", "draw")).drop_vars("quantile")
        table[f"{prob:.0%}"] = (quantile, az.mcse(draws, method="quantile", prob=prob))
    return table, flat(az.ess(draws, method="bulk"))


def flat(dataset):
    return pd.Series(
        {
            f"{name}[{','.join(map(str, index))}]": float(values.to_numpy()[index])
            for name, values in dataset.data_vars.items()
            for index in np.ndindex(values.shape)
        }
    )


def compare(ours, theirs):
    """Distances (parameter, statistic) in combined Monte Carlo standard errors, and the effective sample sizes."""
    theirs = xr.Dataset({name: (values.dims, theirs[name]) for name, values in ours.data_vars.items()})
    (mine, ess), (others, other_ess) = summaries(ours.drop_vars(ours.coords)), summaries(theirs)
    distance = {}
    for statistic, (value, error) in mine.items():
        other, other_error = others[statistic]
        distance[statistic] = flat(np.abs(value - other) / np.hypot(error, other_error))
    return pd.DataFrame(distance), pd.DataFrame({"ours": ess, "theirs": other_ess})


@pytest.mark.long
@pytest.mark.slow
def test_posterior_means_and_quantiles_agree(peer):
    check_posterior(peer, SPEC)


@pytest.mark.long
@pytest.mark.slow
def test_posterior_of_two_processes_agrees(peer, process_model):
    # The gain and the regimes of the coupling mix slowly, so errors are larger.
    check_posterior(peer, TWO_PROCESSES, least=1000, model=process_model)


def check_posterior(peer, spec, least=2000, **own):
    panel = panel_for(spec)
    assert panel.sizes["episode"] == 3
    assert 0 < int(np.isnan(panel["response_value"]).sum()) < 10
    ours = rl.fit(spec, panel, draws=3000, tune=1000, chains=4, random_seed=1, prior_draws=10, progressbar=False)
    theirs = peer.sample(spec, panel, draws=2000, tune=500, chains=4, seed=1, **own)
    posterior = ours["posterior"].to_dataset()
    assert set(posterior.data_vars) == set(theirs)
    distance, ess = compare(posterior, theirs)
    # 32 parameters with 4 statistics each: chance alone passes 4 in less than 1 % of runs.
    worst = f"{distance.max(axis=1).nlargest(5)}\n{ess.min()}"
    assert (ess >= least).all(axis=None), worst
    assert (distance < 4).all(axis=None), worst
