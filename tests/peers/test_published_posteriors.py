"""Posteriors that others have published, sampled again: `rl.sample` on a PyMC model around `markov_loglik`.

posteriordb has reference draws of two hidden Markov models; the data are found through REGIMELAG_DATA. A notebook of
pymc-extras prints the posterior of Hamilton's (1989) model, doi:10.2307/1912559, sampled with the regimes themselves.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats
from test_documented_examples import forward
from test_published_paths import data_of

import regimelag as rl

FOLDER = Path(os.environ.get("REGIMELAG_DATA") or Path(__file__).parents[3] / "shared" / "data") / "posteriordb"
needs_data = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"posteriordb is not in {FOLDER}; set REGIMELAG_DATA")
POSITIVE_ORDERED = pm.distributions.transforms.Chain(
    [pm.distributions.transforms.log, pm.distributions.transforms.ordered]
)
# posterior: (data, log-likelihood at the means of its draws, each first regime with weight one)
POSTERIORDB = {
    "hmm_example-hmm_example": ("hmm_example", -164.36476581),
    "bball_drive_event_0-hmm_drive_0": ("bball_drive_event_0", -1866.71071513),
}
# Notebook "Discrete Markov Chain Distribution" of pymc-extras, commit df93f4f: mean, sd, and their standard errors.
NOTEBOOK = pd.DataFrame(
    {
        "phi[0]": ("0.31", "0.14", "0.0089", "0.007"),
        "phi[1]": ("0.105", "0.128", "0.0031", "0.0024"),
        "phi[2]": ("-0.131", "0.12", "0.0025", "0.002"),
        "phi[3]": ("-0.096", "0.108", "0.0026", "0.0019"),
        "transition[0,0]": ("0.46", "0.24", "0.012", "0.006"),
        "transition[1,0]": ("0.31", "0.27", "0.026", "0.017"),
        "mean[0]": ("-0.05", "0.53", "0.042", "0.033"),
        "mean[1]": ("0.99", "0.21", "0.0086", "0.0092"),
        "sigma": ("0.9", "0.097", "0.0042", "0.0027"),
    },
    index=["mean", "sd", "mcse_mean", "mcse_sd"],
).T


def read(name):
    with zipfile.ZipFile(FOLDER / f"{name}.json.zip") as archive:
        return json.loads(archive.read(archive.namelist()[0]))


def reference_draws(posterior):
    """Draws (chain, draw) by our names of the parameters; theirs count from one, and have a vector for each row."""
    chains = read(f"draws_{posterior}")
    draws = {name: np.array([chain[name] for chain in chains]) for name in chains[0]}
    rows = {f"transition[{i - 1},{j - 1}]": draws.pop(f"theta{i}[{j}]") for i in (1, 2) for j in (1, 2)}
    return rows | {f"{name[:-3]}[{int(name[-2]) - 1}]": values for name, values in draws.items()}


def log_obs_of(data, emission):
    """Log density (time, regime) of each row: normal with unit scale, or two exponentials."""
    if "mu" in emission:
        return -0.5 * (np.array(data["y"])[:, None] - emission["mu"]) ** 2 - 0.5 * np.log(2 * np.pi)
    rates = ((emission["phi"], "u"), (emission["lambda"], "v"))
    return sum(pt.log(rate) - np.array(data[name])[:, None] * rate for rate, name in rates)


def build(posterior):
    """The model of posteriordb's Stan program."""
    data = read(POSTERIORDB[posterior][0])
    ordered = {"sigma": 1.0, "transform": POSITIVE_ORDERED}
    with pm.Model() as model:
        transition = pm.Dirichlet("transition", np.array(data.get("alpha", np.ones((2, 2))), dtype=float))
        if "y" in data:
            emission = {"mu": pm.Normal("mu", [3.0, 10.0], **ordered)}
        else:
            emission = {name: pm.Normal(name, [0.0, 3.0], **ordered) for name in ("phi", "lambda")}
        log_obs = log_obs_of(data, emission)
        pm.Potential("likelihood", rl.markov_loglik(log_obs, pt.log(transition), np.zeros(2)))
    return model


def summary(draws):
    """Mean, standard deviation and quantiles (parameter, statistic), and their Monte Carlo standard errors."""
    value, error = {}, {}
    for name, values in draws.items():
        value[name] = {"mean": values.mean(), "sd": values.std()}
        error[name] = {method: float(az.mcse(values, method=method)) for method in value[name]}
        for prob in (0.05, 0.5, 0.95):
            value[name][f"{prob:.0%}"] = np.quantile(values, prob)
            error[name][f"{prob:.0%}"] = float(az.mcse(values, method="quantile", prob=prob))
    return pd.DataFrame(value).T, pd.DataFrame(error).T


def flat(posterior):
    """Draws (chain, draw) of each entry of each variable."""
    return {
        f"{name}[{','.join(map(str, index))}]" if index else str(name): values.to_numpy()[(..., *index)]
        for name, values in posterior.data_vars.items()
        for index in np.ndindex(values.shape[2:])
    }


def distances(ours, theirs):
    """Distances (parameter, statistic) in combined Monte Carlo standard errors."""
    (value, error), (other, other_error) = summary(ours), summary(theirs)
    return (value - other).abs() / np.hypot(error, other_error)


@needs_data
@pytest.mark.parametrize("posterior", POSTERIORDB)
def test_log_likelihood_at_the_reference_means(posterior):
    """Ours, and the programs' forward algorithm in loops. A matrix read the wrong way round is seen."""
    name, expected = POSTERIORDB[posterior]
    data = {key: np.array(values) for key, values in read(name).items()}
    means = {name: values.mean() for name, values in reference_draws(posterior).items()}
    log_p = np.log([[means[f"transition[{i},{j}]"] for j in (0, 1)] for i in (0, 1)])
    names = ("mu",) if "y" in data else ("phi", "lambda")
    emission = {key: np.array([means[f"{key}[{k}]"] for k in (0, 1)]) for key in names}

    def loglik(log_p):
        return float(rl.markov_loglik(log_obs_of(data, emission), log_p, np.zeros(2)).eval(mode="FAST_COMPILE"))

    if "y" in data:
        density = stats.norm.logpdf(data["y"][:, None], emission["mu"])
    else:
        rates = ((emission["phi"], "u"), (emission["lambda"], "v"))
        density = sum(stats.expon.logpdf(data[key][:, None], scale=1 / rate) for rate, key in rates)
    assert forward(density, log_p, np.zeros(2)) == pytest.approx(expected, abs=1e-8)
    assert loglik(log_p) == pytest.approx(expected, abs=1e-8)
    assert loglik(log_p.T) < expected - 1.0


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("posterior", POSTERIORDB)
def test_reference_posterior(posterior):
    theirs = reference_draws(posterior)
    counts = {"draws": 2500, "tune": 500, "chains": 4, "cores": 2, "starts": 6}
    sampled = rl.sample(build(posterior), **counts, target_accept=0.8, random_seed=1, progressbar=False)
    ours = flat(sampled["posterior"].to_dataset())
    assert set(ours) == set(theirs)
    assert min(float(az.ess(draws)) for draws in ours.values()) > 4000
    distance = distances(ours, theirs)
    # At most 40 statistics; chance passes 4 in less than 1 % of runs.
    assert (distance < 4).all(axis=None), distance


@needs_data
def test_a_wrong_prior_is_seen():
    """Reference draws, reweighted to uniform rows of the transition matrix in place of Dirichlet (4, 2) and (2, 4)."""
    theirs = reference_draws("bball_drive_event_0-hmm_drive_0")
    log_weight = -sum(np.log(theirs[f"transition[{i},{j}]"]) * (3 if i == j else 1) for i in (0, 1) for j in (0, 1))
    weight = np.exp(log_weight - log_weight.max()).ravel()
    picked = np.random.default_rng(1).choice(weight.size, size=(4, 2500), p=weight / weight.sum())
    wrong = {name: draws.ravel()[picked] for name, draws in theirs.items()}
    assert (distances(wrong, theirs) > 4).any(axis=None)
    halves = ({name: draws[part] for name, draws in theirs.items()} for part in (slice(5), slice(5, 10)))
    assert (distances(*halves) < 4).all(axis=None)


def notebook_model(hamilton, y):
    """The notebook's priors; each of the first four quarters has a regime too, and the oldest has either with 1/2."""
    with pm.Model() as model:
        transition = pm.Dirichlet("transition", np.ones((2, 2)))
        mean = pm.Normal("mean", 0.0, 1.0, shape=2, transform=pm.distributions.transforms.ordered)
        phi = pm.Normal("phi", 0.0, 1.0, shape=4)
        sigma = pm.HalfCauchy("sigma", 0.8)
        log_obs, logits, log_init = hamilton.chain_of_paths(y, transition=transition, mean=mean, sigma=sigma, phi=phi)
        oldest = hamilton.paths_of(2, 4)[:, -1]
        log_init = log_init - pt.log(hamilton.stationary(transition))[oldest] + np.log(0.5)
        pm.Potential("likelihood", rl.markov_loglik(log_obs, logits, log_init))
    return model


@pytest.mark.slow
def test_posterior_of_the_notebook(hamilton):
    """Within four of its standard errors and ours, and half a unit of the last printed digit."""
    y, _ = data_of("Hamilton AR(4)")
    counts = {"draws": 700, "tune": 300, "chains": 4, "cores": 2, "starts": 8}
    sampled = rl.sample(notebook_model(hamilton, y), **counts, target_accept=0.8, random_seed=1, progressbar=False)
    value, error = summary(flat(sampled["posterior"].to_dataset()))
    for statistic in ("mean", "sd"):
        printed = NOTEBOOK[statistic]
        half = 0.5 * 10.0 ** -printed.str.partition(".")[2].str.len()
        off = (value.loc[printed.index, statistic] - printed.astype(float)).abs()
        allowed = 4 * np.hypot(error.loc[printed.index, statistic], NOTEBOOK[f"mcse_{statistic}"].astype(float)) + half
        assert (off < allowed).all(), pd.DataFrame({"off": off, "allowed": allowed})
