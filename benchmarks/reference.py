"""The reference problem of the speed comparisons: data, and one model in PyMC (two likelihoods) and in NumPyro.

Two regimes, Student-t rows, one signal with 27 lag weights, two drivers of the chance to stay: 41 free parameters. Run
by itself, this file prints what was simulated:

    python benchmarks/reference.py --length 1500

All implementations (the Stan program is ``reference.stan``) name their parameters alike, order ``log_sigma`` and give
the same log density, constants included: a product of normal densities over ordered vectors, without the factor 2.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

LAGS = 27
REGIMES = 2
DRIVERS = 2
# Of the signal: with much more, its coefficients are so well known that `common`, `spread`, `deviation` lie on a wire.
SIGNAL_SD = 0.25
NAMES = (
    "mu",
    "common",
    "deviation",
    "spread",
    "log_sigma",
    "nu",
    "weights",
    "stay_intercept",
    "stay_slope",
)

Point = dict[str, np.ndarray]


def true_point() -> Point:
    """What the data are simulated from: a hump of lags, regimes that last weeks and differ 2.5 times in scale."""
    lag = np.arange(1, LAGS + 1)
    hump = 0.02 + np.exp(-0.5 * ((lag - 9) / 2.5) ** 2)
    point = {
        "mu": [0.3, -0.4],
        "common": 0.9,
        "deviation": [-0.4, 0.8],
        "spread": 0.7,
        "log_sigma": np.log([0.6, 1.5]),
        "nu": 15.0,
        "weights": hump / hump.sum(),
        "stay_intercept": [3.5, 3.0],
        "stay_slope": [[0.6, -0.5], [-0.4, 0.6]],
    }
    return {name: np.asarray(point[name], dtype=float) for name in NAMES}


def make_data(length: int) -> dict[str, np.ndarray]:
    """Simulate from the model: always the same data for one length."""
    rng = np.random.default_rng(20260123)
    truth = true_point()
    data = {
        "signal": rng.normal(scale=SIGNAL_SD, size=LAGS + length),
        "drivers": rng.normal(size=(length - 1, DRIVERS)),
    }
    stay = 1 / (1 + np.exp(-truth["stay_intercept"] - data["drivers"] @ truth["stay_slope"]))
    regime = np.zeros(length, dtype=int)
    leaves = rng.uniform(size=(length - 1, REGIMES)) > stay
    for t in range(length - 1):
        regime[t + 1] = 1 - regime[t] if leaves[t, regime[t]] else regime[t]
    beta = truth["common"] + truth["spread"] * truth["deviation"]
    location = truth["mu"][regime] + beta[regime] * (lag_matrix(data["signal"]) @ truth["weights"])
    data["y"] = location + np.exp(truth["log_sigma"])[regime] * rng.standard_t(truth["nu"], length)
    return data


def lag_matrix(signal: np.ndarray) -> np.ndarray:
    """The signal 1, 2, ... LAGS rows before each time (time, lag)."""
    length = len(signal) - LAGS
    return np.stack([signal[LAGS - lag : LAGS - lag + length] for lag in range(1, LAGS + 1)], axis=1)


def random_points(count: int) -> list[Point]:
    """Points of the constrained scale around the truth, for comparisons of log densities."""
    rng = np.random.default_rng(1)
    points = []
    for _ in range(count):
        point = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in true_point().items()}
        point["spread"] = rng.gamma(4, 0.25, size=())
        point["log_sigma"] = np.sort(point["log_sigma"])
        point["nu"] = 2 + rng.gamma(2, 5, size=())
        point["weights"] = rng.dirichlet(np.full(LAGS, 2.0))
        points.append(point)
    return points


# --- PyMC ---------------------------------------------------------------------------------------------------------


def with_ops(data, mu, beta, log_sigma, nu, weights, stay_intercept, stay_slope):
    """The likelihood from regimelag's Ops."""
    import pytensor.tensor as pt

    from regimelag.likelihood.density import student_t_logpdf
    from regimelag.likelihood.distributed_lag import lag_sum
    from regimelag.likelihood.hmm_loglik import markov_loglik
    from regimelag.likelihood.linear import linear_map, linear_predictor

    length = len(data["y"])
    location = mu[:, None] + linear_predictor(lag_sum(data["signal"], weights)[None], beta[None, None])
    log_obs = student_t_logpdf(data["y"], location, log_sigma[None], np.zeros(length, dtype="int64"), nu)
    known = np.vstack([np.ones(length - 1), data["drivers"].T])
    # The logit of staying in k stands at (k, k), and the others are zero.
    entry = np.eye(REGIMES**2)[:: REGIMES + 1]
    coefficients = linear_map(entry, pt.concatenate([stay_intercept[None], stay_slope]))
    logits = linear_predictor(known, coefficients[None]).reshape((REGIMES, REGIMES, length - 1))
    return markov_loglik(log_obs.T, pt.moveaxis(logits, -1, 0), np.full(REGIMES, -np.log(REGIMES)))


def with_scan(data, mu, beta, log_sigma, nu, weights, stay_intercept, stay_slope):
    """The same likelihood as one would write it in PyMC: a lag matrix, pm.logp and a scan over time."""
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt

    location = mu + beta * pt.dot(lag_matrix(data["signal"]), weights)[:, None]
    log_obs = pm.logp(pm.StudentT.dist(nu=nu, mu=location, sigma=pt.exp(log_sigma)), data["y"][:, None])
    stay = stay_intercept + sum(data["drivers"][:, d, None] * stay_slope[d] for d in range(DRIVERS))
    log_p = pt.special.log_softmax(stay[:, :, None] * np.eye(REGIMES), axis=-1)

    def step(log_obs_t, log_p_t, log_alpha):
        return pt.logsumexp(log_alpha[:, None] + log_p_t, axis=0) + log_obs_t

    log_alpha = pytensor.scan(
        step, sequences=[log_obs[1:], log_p], outputs_info=[log_obs[0] - np.log(REGIMES)], return_updates=False
    )
    return pt.logsumexp(log_alpha[-1])


def pymc_model(data: dict[str, np.ndarray], likelihood: Callable[..., Any]) -> Any:
    """Priors of the reference problem around one of the likelihoods."""
    import pymc as pm

    with pm.Model() as model:
        mu = pm.Normal("mu", shape=REGIMES)
        common = pm.Normal("common")
        deviation = pm.Normal("deviation", shape=REGIMES)
        spread = pm.HalfNormal("spread")
        log_sigma = pm.Normal(
            "log_sigma",
            shape=REGIMES,
            transform=pm.distributions.transforms.ordered,
            initval=np.linspace(-0.5, 0.5, REGIMES),
        )
        nu = pm.Gamma("nu", 2, 0.1)
        weights = pm.Dirichlet("weights", np.ones(LAGS))
        stay_intercept = pm.Normal("stay_intercept", 2, 1.5, shape=REGIMES)
        stay_slope = pm.Normal("stay_slope", shape=(DRIVERS, REGIMES))
        stay = stay_intercept, stay_slope
        pm.Potential("loglik", likelihood(data, mu, common + spread * deviation, log_sigma, nu, weights, *stay))
    return model


def unconstrained(model: Any, point: Point) -> Point:
    """A point on the scale of the model's value variables."""
    import pytensor.tensor as pt

    values = {}
    for variable in model.free_RVs:
        value, transform = np.asarray(point[variable.name]), model.rvs_to_transforms[variable]
        if transform is not None:
            moved = transform.forward(pt.as_tensor(value), *variable.owner.inputs)
            value = moved.eval(mode="FAST_COMPILE")
        values[model.rvs_to_values[variable].name] = value
    return values


# --- NumPyro ------------------------------------------------------------------------------------------------------


def numpyro_model(data: dict[str, np.ndarray]) -> Callable[[], None]:
    """The same model in NumPyro, in 64 bits."""
    import jax
    import numpyro
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", True)
    y, lagged, drivers = data["y"], lag_matrix(data["signal"]), data["drivers"]

    def model():
        mu = numpyro.sample("mu", dist.Normal().expand([REGIMES]))
        common = numpyro.sample("common", dist.Normal())
        deviation = numpyro.sample("deviation", dist.Normal().expand([REGIMES]))
        spread = numpyro.sample("spread", dist.HalfNormal())
        ordered = dist.ImproperUniform(dist.constraints.ordered_vector, (), (REGIMES,))
        log_sigma = numpyro.sample("log_sigma", ordered)
        numpyro.factor("log_sigma_prior", dist.Normal().log_prob(log_sigma).sum())
        nu = numpyro.sample("nu", dist.Gamma(2.0, 0.1))
        weights = numpyro.sample("weights", dist.Dirichlet(np.ones(LAGS)))
        stay_intercept = numpyro.sample("stay_intercept", dist.Normal(2.0, 1.5).expand([REGIMES]))
        stay_slope = numpyro.sample("stay_slope", dist.Normal().expand([DRIVERS, REGIMES]))
        location = mu + (common + spread * deviation) * (lagged @ weights)[:, None]
        log_obs = dist.StudentT(nu, location, jax.numpy.exp(log_sigma)).log_prob(y[:, None])
        numpyro.factor("loglik", jax_forward(log_obs, stay_intercept + drivers @ stay_slope))

    return model


def jax_forward(log_obs, stay):
    """Forward algorithm in logs with ``lax.scan``."""
    import jax
    import jax.numpy as jnp

    log_p = jax.nn.log_softmax(stay[:, :, None] * jnp.eye(REGIMES), axis=-1)

    def step(log_alpha, row):
        log_obs_t, log_p_t = row
        return jax.nn.logsumexp(log_alpha[:, None] + log_p_t, axis=0) + log_obs_t, None

    last, _ = jax.lax.scan(step, log_obs[0] - jnp.log(REGIMES), (log_obs[1:], log_p))
    return jax.nn.logsumexp(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=1500, help="number of times")
    data = make_data(parser.parse_args().length)
    for name, values in data.items():
        print(f"{name:<8} {values.shape!s:<10} mean {values.mean():6.3f}, standard deviation {values.std():.3f}")


if __name__ == "__main__":
    main()
