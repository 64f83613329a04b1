"""The verdict: its rule on plain numbers, how often it claims what is not there, and its words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from regimelag.reading.verdict import Claims, Findings, claims, claims_of, gate, period_name, verdict, verdict_claims


@pytest.mark.parametrize(
    ("positive", "family", "direction"),
    [
        (0.991, 1, 1),
        (0.989, 1, 0),
        (0.009, 1, -1),
        (0.011, 1, 0),
        (0.994, 2, 0),
        (0.996, 2, 1),
        (0.004, 2, -1),
        (0.997, 4, 0),
        (0.998, 4, 1),
        (0.5, 1, 0),
    ],
)
def test_a_sign_is_claimed_behind_the_gate(positive, family, direction):
    assert claims(positive, family=family).direction == direction


def test_draws_that_are_zero_support_neither_sign():
    assert verdict_claims(np.zeros(100)) == Claims()
    assert claims(0.0, negative=0.5) == Claims()


def test_nothing_else_is_claimed_before_the_gate():
    sure = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert claims(0.98, regimes=sure, episodes=sure, information=3.0) == Claims()
    assert claims(0.999, regimes=sure, episodes=sure, information=3.0, trusted=False) == Claims()
    assert claims(0.999, regimes=sure, episodes=sure, information=3.0) == Claims(1, ((1, 0),), ((1, 0),), True)


def test_differences_need_their_share_of_the_pairs():
    two = np.array([[0.0, 0.976], [0.024, 0.0]])
    assert claims(1.0, regimes=two).regimes == ((0, 1),)
    assert claims(1.0, regimes=np.array([[0.0, 0.974], [0.026, 0.0]])).regimes == ()
    # Three pairs: 1 - 0.025 / 3 = 0.99167.
    three = np.array([[0.0, 0.99, 0.993], [0.01, 0.0, 0.5], [0.007, 0.5, 0.0]])
    assert claims(1.0, episodes=three).episodes == ((0, 2),)
    assert claims(1.0, episodes=np.zeros((1, 1))).episodes == ()


@pytest.mark.parametrize(("information", "said"), [(0.24, False), (0.25, True)])
def test_the_lag_is_said_if_the_data_told_enough(information, said):
    assert claims(1.0, information=information).lag is said


def test_claims_of_draws_are_those_of_their_probabilities():
    rng = np.random.default_rng(3)
    effect = rng.normal(2.0, 0.5, 4000)
    by = np.stack([effect - 1.0, effect + 1.0, effect + rng.normal(0, 1.0, 4000)], axis=-1)
    made = verdict_claims(effect, by_regime=by[:, :2], by_episode=by, information=0.3)
    assert made == Claims(1, ((1, 0),), ((1, 0),), True)
    assert verdict_claims(-effect).direction == -1


@pytest.mark.parametrize("family", [1, 3])
def test_two_in_a_hundred_null_fits_claim_something(family):
    """A flat prior and a normal likelihood: the posterior of the effect is N(y, 1), y being N(0, 1) under none."""
    rng = np.random.default_rng(4)
    fits = 20000
    positive = stats.norm.cdf(rng.standard_normal((fits, family)))
    claimed = sum(any(claims(p, family=family).direction for p in fit) for fit in positive)
    expected = 1 - (1 - 0.02 / family) ** family
    assert stats.binomtest(claimed, fits, expected).pvalue > 1e-4


def findings(**changes):
    rng = np.random.default_rng(5)
    effect = rng.normal(2.0, 0.4, 4000)
    parts = {
        "name": "silver",
        "measure": "cumulative elasticity",
        "unit": "weeks",
        "effect": effect,
        "by_regime": {"calm": effect - rng.normal(0.2, 0.4, 4000), "turbulent": effect + rng.normal(0.2, 0.4, 4000)},
        "by_episode": {name: effect + rng.normal(0, 0.3, 4000) for name in ("one", "two", "three")},
        "lag": rng.normal(8.0, 1.0, 4000),
        "prior_lag": rng.normal(9.0, 5.0, 4000),
        "information": 1.3,
        "none": (0.001, 0.02),
        "within": (4, 13),
    }
    return Findings(**(parts | changes))


def weak(**changes):
    rng = np.random.default_rng(6)
    return findings(effect=rng.normal(0.2, 0.5, 4000), none=(0.55, 0.93), information=0.06, **changes)


def test_words_of_a_response_that_is_there():
    said = verdict(findings())
    assert said.startswith("A positive lagged effect of silver. Cumulative elasticity 2.0")
    assert "calm" in said
    assert "P(> 0) above 0.999" in said
    assert "they do not differ visibly, P(turbulent larger) = 0." in said
    assert "By episodes: one" in said
    assert "1.30 nats gained; it lies within 4 to 13 with probability 1.00" in said
    assert "ot identified" not in said
    other = verdict(findings(effect=-findings().effect))
    assert other.startswith("A negative lagged effect")
    assert "P(> 0) below 0.001" in other


def test_words_of_a_difference():
    found = findings()
    apart = {"calm": found.effect - 2.0, "turbulent": found.effect + 1.0}
    assert "the effect is larger in turbulent than in calm." in verdict(dataclasses.replace(found, by_regime=apart))
    alone = verdict(dataclasses.replace(found, by_regime={}, by_episode={}))
    assert "regimes" not in alone
    assert "episodes" not in alone


def test_words_of_a_lag_that_is_its_prior():
    said = verdict(findings(information=0.2))
    assert said.startswith("A positive lagged effect")
    assert "The lag's place is not identified: the data told 0.20 nats" in said
    assert "0.25 are asked for" in said


def test_words_where_nothing_is_identified():
    found = weak()
    said = verdict(found)
    assert said.startswith("Not identified: the data do not tell a lagged effect of silver from none.")
    low, high = np.quantile(found.effect, [0.05, 0.95])
    assert f"({low:.2f} to {high:.2f})" in said
    # The size that the gate lets through when the posterior is normal: 2.326 standard deviations.
    assert f"effects below about {2.326 * found.effect.std():.2f} are not seen" in said
    assert f"P(> 0) = {np.mean(found.effect > 0):.3f}" in said
    assert "P(no lagged effect) is 0.55 to 0.93" in said
    assert "0.06 nats gained" in said
    assert not any(word in said for word in ("calm", "turbulent", "By episodes", "lies within"))
    assert f"effects below about {stats.norm.ppf(0.995) * found.effect.std():.2f}" in verdict(weak(family=2))
    assert "0.995 for one sign" in verdict(weak(family=2))


def test_bounds_are_said_as_bounds():
    assert "P(no lagged effect) is below 0.020" in verdict(findings(none_bound=True))


def test_problems_come_first_and_nothing_is_claimed():
    found = findings(problems=("R-hat above 1.01: the chains disagree on effect.",))
    assert claims_of(found) == Claims()
    said = verdict(found)
    assert said.startswith("The draws cannot be trusted, and nothing is claimed of silver. R-hat above 1.01")
    assert "2.0" not in said


@pytest.mark.parametrize(
    ("after", "words"),
    [(0.99, "the lag differs:"), (0.4, "the data do not tell whether"), (0.01, "the lag does not differ by more")],
)
def test_words_on_lags_of_episodes(after, words):
    said = verdict(findings(lag_gap={"episodes": (after, 0.45)}))
    assert words in said
    assert f"exceeds 4 weeks with probability {after:.2f}, before the data 0.45" in said
    hidden = verdict(weak(lag_gap={"episodes": (after, 0.45)}))
    assert words not in hidden
    assert "Nor can it be told whether the lag differs between episodes." in hidden


def test_gate_and_units():
    assert gate() == pytest.approx(0.99)
    assert gate(4) == pytest.approx(0.9975)
    assert [period_name(one) for one in ("W-FRI", "D", "B", "ME", "QE")] == [
        "weeks",
        "days",
        "trading days",
        "months",
        "quarters",
    ]
