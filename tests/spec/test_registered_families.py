"""Families and transition models defined outside the package: registered, they work wherever those inside do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pytest
from builders import bare_spec, hand_panel, prior_draws, prior_fit, small_spec
from scipy import integrate
from test_docs import blocks

import regimelag as rl
from regimelag.model.build import build_model
from regimelag.model.evaluate import evaluate, log_observation, stack_draws
from regimelag.model.latex import equations
from regimelag.spec.families import FAMILIES, Family
from regimelag.spec.priors import Prior
from regimelag.spec.term import Term, normal
from regimelag.spec.terms import terms_of
from regimelag.spec.toml import spec_from_toml, spec_to_toml
from regimelag.spec.transitions import TRANSITIONS, Transitions
from regimelag.spec.volatility import VOLATILITIES

PAGE = Path(__file__).parents[2] / "docs" / "new_family.md"


@dataclass(frozen=True)
class Skewed(Family):
    """Two exponential tails; what it says of itself is its density alone."""

    kind: ClassVar[str] = "skewed"

    log_sd: float = 0.3

    def terms(self):
        return (Term("skew", Prior("LogNormal", mu=0.0, sigma=self.log_sd), "k", "skewness"),)

    def log_density(self, z, parameters, xp=np):
        skew = parameters["skew"]
        return -xp.log(skew + 1 / skew) - skew * xp.maximum(z, 0.0) + xp.minimum(z, 0.0) / skew

    def cdf(self, z, parameters):
        square = parameters["skew"] ** 2
        upper = 1 + square - np.exp(-np.maximum(z, 0.0) * parameters["skew"])
        return np.where(z < 0, square * np.exp(np.minimum(z, 0.0) / parameters["skew"]), upper) / (1 + square)

    def draw(self, rng, size, parameters):
        skew = parameters["skew"]
        return rng.standard_exponential(size) / skew - rng.standard_exponential(size) * skew

    def variance(self, parameters):
        return parameters["skew"] ** 2 + parameters["skew"] ** -2


@dataclass(frozen=True)
class Alike(Transitions):
    """One log odds of staying for all regimes; drivers move all destinations but the first."""

    kind: ClassVar[str] = "alike"

    def terms(self, steps):
        count = steps.regimes
        rows = np.eye(1 + len(steps.drivers))
        last = np.zeros((count, count))
        last[:, 1:] = 1.0
        found = [
            Term("stay", normal(1.0, 2.0), "a", "log odds of staying", (), np.multiply.outer(rows[0], np.eye(count)))
        ]
        if steps.drivers:
            enters = np.einsum("pr,ij->prij", rows[1:], last)
            found.append(Term("push", normal(0.5), "p", "what a driver adds", ("driver",), enters))
        return tuple(found)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(FAMILIES, "skewed", Skewed)
    monkeypatch.setitem(TRANSITIONS, "alike", Alike)


def skewed_spec(**changes):
    return small_spec(family=Skewed(log_sd=0.4), regimes=rl.spec.Regimes(2, transitions=Alike()), **changes)


def test_a_file_holds_them():
    spec = skewed_spec()
    assert spec_from_toml(spec_to_toml(spec)) == spec
    assert 'kind = "skewed"' in spec_to_toml(spec)
    assert 'transitions = "alike"' in spec_to_toml(spec)
    assert small_spec(family="skewed").family == Skewed()


@pytest.mark.slow
def test_the_graph_is_the_evaluation():
    """Log density of the model at draws from its prior: by the sampler's graph, and by NumPy; a response is missing."""
    spec = skewed_spec()
    panel = hand_panel(spec, 12)
    panel["response_value"][3] = np.nan
    model = build_model(spec, panel)
    assert {"skew", "stay", "push"} <= {rv.name for rv in model.free_RVs}
    prior = prior_draws(spec, panel, 3)
    draws = stack_draws(prior)
    held = evaluate(spec, panel, draws)
    log_obs = log_observation(held, panel["response_value"].to_numpy())
    assert np.all(log_obs[:, 3] == 0.0)
    z = (panel["response_value"].to_numpy()[0] - held.location[:, 0, 0]) / np.exp(held.log_scale[:, 0, 0])
    by_hand = Skewed().log_density(z, {"skew": draws["skew"][:, None]}) - held.log_scale[:, 0, 0]
    np.testing.assert_allclose(log_obs[:, 0], by_hand, rtol=1e-12)
    expected = [rl_forward(log_obs[n], held.logits[n], held.log_initial[n]) for n in range(3)]
    graph = model.compile_fn(model["log_likelihood"], inputs=model.free_RVs, on_unused_input="ignore", point_fn=False)
    given = [[prior[rv.name].to_numpy()[0, n] for rv in model.free_RVs] for n in range(3)]
    np.testing.assert_allclose([graph(*values) for values in given], expected, rtol=1e-10)


def rl_forward(log_obs, logits, log_initial):
    """The forward recursion, step by step."""
    law = np.exp(log_initial + log_obs[0])
    for t in range(1, len(log_obs)):
        step = np.exp(logits[min(t - 1, len(logits) - 1)])
        law = law @ (step / step.sum(axis=1, keepdims=True)) * np.exp(log_obs[t])
    return np.log(law.sum())


@pytest.mark.parametrize("family", [*FAMILIES.values(), Skewed], ids=lambda cls: cls.kind)
@pytest.mark.parametrize("level", [0.4, 1.7])
def test_density_distribution_draws_and_variance_agree(family, level):
    held = family()
    given = {term.name: np.array(level) for term in held.terms()}
    density = lambda z: float(np.exp(held.log_density(np.array(z), given)))  # noqa: E731
    for z in (-2.0, 0.3, 1.5):
        below = integrate.quad(density, -np.inf, 0)[0] + integrate.quad(density, 0, z)[0]
        assert float(held.cdf(np.array(z), given)) == pytest.approx(below, abs=1e-7)
    mean = integrate.quad(lambda z: z * density(z), -np.inf, np.inf, limit=200)[0]
    second = integrate.quad(lambda z: z**2 * density(z), -np.inf, np.inf, limit=500)[0]
    assert float(held.variance(given)) == pytest.approx(second - mean**2, rel=1e-3)
    drawn = held.draw(np.random.default_rng(1), (20_000,), given)
    # Five standard errors of a share.
    for z in (-1.0, 0.5):
        share = float(held.cdf(np.array(z), given))
        assert np.mean(drawn < z) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / len(drawn)))


def test_several_responses_need_a_joint_distribution():
    pair = (rl.Response("asset", "price"), rl.Response("other", "other_price"))
    with pytest.raises(rl.errors.SpecError, match="joint distribution") as caught:
        small_spec(responses=pair, family=Skewed())
    assert 'write family = "student_t"' in caught.value.cure
    assert small_spec(responses=pair, family="student_t").family.kind == "student_t"


def test_a_class_that_a_file_would_not_give_back_is_refused():
    @dataclass(frozen=True)
    class Unknown(Skewed):
        kind: ClassVar[str] = "unknown"

    with pytest.raises(rl.errors.SpecError, match="Unknown with kind = 'unknown'") as caught:
        small_spec(family=Unknown())
    assert "FAMILIES[Unknown.kind] = Unknown" in caught.value.cure

    @dataclass(frozen=True)
    class Elsewhere(Alike):
        kind: ClassVar[str] = "elsewhere"

    with pytest.raises(rl.errors.SpecError, match="Elsewhere with kind") as caught:
        rl.spec.Regimes(2, transitions=Elsewhere())
    assert "TRANSITIONS[Elsewhere.kind] = Elsewhere" in caught.value.cure


def test_reports_have_their_symbols_and_words():
    spec = skewed_spec()
    panel = hand_panel(spec, 8)
    latex = "\n".join(line.latex for line in equations(spec, panel))
    assert r"\text{skewed}" in latex
    assert r"\ell_{i,j}(a, p)" in latex
    told = {one.name: one.meaning for one in terms_of(spec, panel).parameters()}
    assert told["skew"] == "skewness"
    assert told["push"] == "what a driver adds"


def test_readings_follow():
    spec = skewed_spec()
    panel = hand_panel(spec, 30)
    fit = prior_fit(spec, panel)
    posterior = fit["posterior"]
    # 1 / (1 - p) with odds of staying exp(a) against the one other regime.
    expected = 1.0 + np.exp(posterior["stay"].to_numpy())
    read = rl.results.regime_durations(fit)["expected_duration"].transpose("chain", "draw", "regime").to_numpy()
    np.testing.assert_allclose(read, np.repeat(expected[..., None], 2, axis=-1), rtol=1e-12)
    odds = rl.driver_effects(fit)["log_odds"].sel(regime="turbulent").squeeze("driver", drop=True)
    np.testing.assert_allclose(odds, posterior["push"].squeeze("driver", drop=True), atol=1e-12)
    simulated = rl.simulate(spec, panel, random_seed=1)
    assert np.isfinite(simulated["response_value"]).all()
    again = rl.simulate(spec, panel, random_seed=1)
    assert simulated.equals(again)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_simulation_based_calibration_finds_them_calibrated(tmp_path):
    """With prior draws in place of the truth; 40 runs find a rank distribution that is far off."""
    spec = replace(
        bare_spec(signals=(), drivers=(), controls=()), family=Skewed(), regimes=rl.spec.Regimes(2, transitions=Alike())
    )
    found = rl.evaluation.sbc(
        spec,
        hand_panel(spec, 60),
        simulations=40,
        sampler=rl.Sampler(draws=100, tune=200, chains=2, target_accept=0.9, starts=2),
        random_seed=1,
        progressbar=False,
    )
    assert "skew" in str(rl.evaluation.sbc_table(found).index.to_list())
    assert (rl.evaluation.sbc_table(found)["p"] > 1e-4).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_runs_to_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "_build").mkdir()
    for registry, kind in ((FAMILIES, "asymmetric_laplace"), (TRANSITIONS, "equal_durations"), (VOLATILITIES, "arch")):
        monkeypatch.setitem(registry, kind, None)
    names = {"__name__": __name__}
    for cell in blocks(PAGE, "{code-cell} ipython3"):
        exec(compile(cell, PAGE.name, "exec"), names)
    plt.close("all")
    said = names["page"].read_text(encoding="utf-8")
    assert "asymmetric Laplace" in said
    assert names["simulated"]["response_value"].notnull().all()
    durations = rl.results.regime_durations(names["idata"])["expected_duration"]
    assert bool((durations.isel(regime=0) == durations.isel(regime=1)).all())
