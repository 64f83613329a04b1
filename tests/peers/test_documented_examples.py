"""Hidden Markov models of the Stan User's Guide and of pymc-extras' notebooks: their formulas, in loops, as oracles.

The guide (stan-dev/docs, src/stan-users-guide) has words under tags, whose regimes are known for a part of the text, up
to its R Markdown (time-series.Rmd at 03921cd: supervised, analytic posterior, semisupervised), and three normal regimes
since (time-series.qmd at 054bc6a). They give no data, so we simulate.
"""

from __future__ import annotations

import itertools

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from oracles import log_total
from scipy import stats
from test_published_paths import data_of

import regimelag as rl

# Dirichlet weights of the guide's alpha (of destinations) and beta (of words).
ALPHA, BETA = np.array([2.0, 1.0]), np.array([1.0, 2.0, 1.5])


def forward(log_obs, log_p, log_init):
    """The guide's forward algorithm, term by term."""
    gamma = log_init + log_obs[0]
    for row in log_obs[1:]:
        gamma = np.array([log_total(gamma + log_p[:, k] + row[k]) for k in range(len(row))])
    return log_total(gamma)


def markov_loglik(*inputs):
    return float(rl.markov_loglik(*inputs).eval(mode="FAST_COMPILE"))


def draw_words(rng, theta, phi, length):
    """Tags and words; the first tag has either regime with equal probability."""
    tags = [rng.integers(len(theta))]
    while len(tags) < length:
        tags.append(rng.choice(len(theta), p=theta[tags[-1]]))
    return np.array(tags), np.array([rng.choice(phi.shape[1], p=phi[tag]) for tag in tags])


def draw_parameters(rng):
    return rng.dirichlet(ALPHA, size=2), rng.dirichlet(BETA, size=2)


def known(tags, regimes=2):
    """Log of whether a regime is the one known to hold (time, regime)."""
    return np.where(np.arange(regimes) == np.asarray(tags)[:, None], 0.0, -np.inf)


def test_supervised_words_have_the_analytic_posterior():
    """Regimes that are known, as ``-inf`` for all others: the Dirichlet posterior of the guide's counts."""
    rng = np.random.default_rng(1)
    tags, words = draw_words(rng, *draw_parameters(rng), 60)
    steps, uses = np.zeros((2, 2)), np.zeros((2, 3))
    np.add.at(steps, (tags[:-1], tags[1:]), 1)
    np.add.at(uses, (tags, words), 1)
    differences = []
    for _ in range(5):
        theta, phi = draw_parameters(rng)
        pairs = [(theta[k], ALPHA, steps[k]) for k in range(2)] + [(phi[k], BETA, uses[k]) for k in range(2)]
        analytic = sum(stats.dirichlet.logpdf(p, prior + count) for p, prior, count in pairs)
        prior = sum(stats.dirichlet.logpdf(p, prior) for p, prior, _ in pairs)
        differences.append(
            prior + markov_loglik(np.log(phi)[:, words].T + known(tags), np.log(theta), np.zeros(2)) - analytic
        )
    assert np.ptp(differences) < 1e-9


def test_unsupervised_words_have_the_guides_log_likelihood():
    """Its first regime is not modelled, which is a weight of one for each."""
    rng = np.random.default_rng(2)
    _, words = draw_words(rng, *draw_parameters(rng), 80)
    for _ in range(5):
        theta, phi = draw_parameters(rng)
        inputs = np.log(phi)[:, words].T, np.log(theta), np.zeros(2)
        assert markov_loglik(*inputs) == pytest.approx(forward(*inputs), abs=1e-9)


def test_three_normal_regimes_have_the_guides_log_likelihood():
    """Means 1, 5 and 9, a simplex for the first regime."""
    rng = np.random.default_rng(3)
    p, start, mean, sigma = rng.dirichlet(np.ones(3), size=3), rng.dirichlet(np.ones(3)), np.array([1.0, 5.0, 9.0]), 0.7
    y = rng.normal(mean[rng.integers(3, size=100)], sigma)
    inputs = stats.norm.logpdf(y[:, None], mean, sigma), np.log(p), np.log(start)
    assert markov_loglik(*inputs) == pytest.approx(forward(*inputs), abs=1e-9)


@pytest.mark.slow
def test_semisupervised_words_are_recovered():
    """Truths are drawn from the prior, so each has a uniform rank in its posterior, whatever the data.

    A rank beyond 1 / 2,000 of either end has probability 1 / 1,000, any of six 1 / 160.
    """
    rng = np.random.default_rng(4)
    theta, phi = draw_parameters(rng)
    tags, words = draw_words(rng, theta, phi, 60)
    _, untagged = draw_words(rng, theta, phi, 200)
    with pm.Model() as model:
        log_p = pt.log(pm.Dirichlet("theta", np.tile(ALPHA, (2, 1))))
        log_phi = pt.log(pm.Dirichlet("phi", np.tile(BETA, (2, 1))))
        pm.Potential("tagged", rl.markov_loglik(log_phi[:, words].T + known(tags), log_p, np.zeros(2)))
        pm.Potential("untagged", rl.markov_loglik(log_phi[:, untagged].T, log_p, np.zeros(2)))
    counts = {"draws": 1000, "tune": 300, "chains": 4, "cores": 2, "starts": 4}
    posterior = rl.sample(model, **counts, target_accept=0.8, random_seed=1, progressbar=False)["posterior"]
    ranks = [float((posterior["theta"][..., k, 0] < theta[k, 0]).mean()) for k in range(2)]
    ranks += [float((posterior["phi"][..., k, v] < phi[k, v]).mean()) for k in range(2) for v in range(2)]
    assert min(ranks) > 1 / 2000, ranks
    assert max(ranks) < 1 - 1 / 2000, ranks
    # And the words say something: the posterior is narrower than the prior.
    assert float(posterior["theta"][..., 0, 0].std()) < 0.5 * stats.beta(*ALPHA).std()


def test_sampled_regimes_of_the_notebook_add_up_to_our_likelihood(hamilton):
    """pymc-extras' notebook "Discrete Markov Chain Distribution" samples the regimes of Hamilton's (1989) model.

    Its log density on the first seven quarters, summed over all 128 paths of regimes.
    """
    pmx = pytest.importorskip("pymc_extras")
    y = data_of("Hamilton AR(4)")[0][:7]
    p, mean, sigma = np.array([[0.6, 0.4], [0.1, 0.9]]), np.array([-0.4, 1.2]), 0.8
    phi = np.array([0.3, 0.1, -0.15, -0.1])
    with pm.Model() as notebook:
        first = pm.Categorical.dist(p=[0.5, 0.5])
        regime = pmx.DiscreteMarkovChain("regime", P=p, init_dist=first, steps=len(y) - 1)
        deviation = y - pt.as_tensor(mean)[regime]
        lagged = sum(phi[back - 1] * deviation[4 - back : len(y) - back] for back in range(1, 5))
        pm.Normal("y", pt.as_tensor(mean)[regime[4:]] + lagged, sigma, observed=y[4:])
    log_joint = notebook.compile_logp(mode="FAST_COMPILE")
    total = log_total([log_joint({"regime": np.array(path)}) for path in itertools.product((0, 1), repeat=len(y))])

    log_obs, logits, log_init = hamilton.chain_of_paths(y, transition=p, mean=mean, sigma=sigma, phi=phi)
    law = np.log(hamilton.stationary(pt.as_tensor(p)).eval(mode="FAST_COMPILE"))
    uniform = log_init + (np.log(0.5) - law)[hamilton.paths_of(2, 4)[:, -1]]
    assert markov_loglik(log_obs, logits, uniform) == pytest.approx(total, abs=1e-9)
