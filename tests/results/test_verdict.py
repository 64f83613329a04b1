"""The verdict: its rule on plain numbers, how often it claims what is not there, and its words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from regimelag.results.decision import (
    INFORMATION,
    POWER,
    Claims,
    Comparison,
    claims,
    decision_threshold,
    detectable,
    verdict_claims,
)
from regimelag.results.verdict import ASYMMETRY_RATE, GAIN_RATE, STATE_RATE, Findings, claims_of, verdict
from regimelag.spec.model_spec import period_name


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
def test_a_sign_is_claimed_from_the_decision_threshold_on(positive, family, direction):
    assert claims(positive, family=family).direction == direction


def test_draws_that_are_zero_support_neither_sign():
    assert verdict_claims(np.zeros(100)) == Claims()
    assert claims(0.0, negative=0.5) == Claims()


def test_regimes_alone_are_compared_without_a_sign():
    one, other = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    sure = Comparison(one, other, other)
    alone = claims(0.98, regimes=sure, episodes=sure, information=3.0)
    assert alone == Claims(regimes=((1, 0),), regime_signs=((0, 1),), regime_differences=((0, 1),))
    assert claims(0.98, episodes=sure, information=3.0) == Claims()
    assert claims(0.98, regimes=sure, trusted=False) == Claims()
    assert claims(0.999, regimes=sure, episodes=sure, information=3.0, trusted=False) == Claims()
    assert claims(0.999, regimes=sure, episodes=sure, information=3.0) == Claims(
        1, ((1, 0),), ((1, 0),), True, ((0, 1),), ((0, 1),), ((0, 1),)
    )


def test_differences_need_their_share_of_the_pairs():
    def of(*rows):
        return Comparison(*[np.array(rows)] * 3)

    two = claims(1.0, regimes=of([0.0, 0.991], [0.009, 0.0]))
    assert two.regimes == two.regime_signs == two.regime_differences == ((0, 1),)
    less = claims(1.0, regimes=of([0.0, 0.989], [0.011, 0.0]))
    assert less.regimes == less.regime_signs == less.regime_differences == ()
    # Three pairs: 1 - 0.01 / 3 = 0.99667.
    three = claims(1.0, episodes=of([0.0, 0.996, 0.997], [0.004, 0.0, 0.5], [0.003, 0.5, 0.0]))
    assert three.episodes == three.episode_signs == ((0, 2),)
    assert claims(1.0, episodes=of([0.0])).episodes == ()


@pytest.mark.parametrize("positive", [0.5, 1.0])
def test_differences_between_regimes_share_their_budget_with_signals_and_responses(positive):
    def of(*rows):
        return Comparison(*[np.array(rows)] * 3)

    pair = of([0.0, 0.994], [0.006, 0.0])
    assert claims(positive, regimes=pair).regimes == ((0, 1),)
    two = claims(positive, regimes=pair, family=2)
    assert two.regimes == two.regime_signs == two.regime_differences == ()
    assert claims(positive, regimes=of([0.0, 0.996], [0.004, 0.0]), family=2).regimes == ((0, 1),)
    # Two signals and three pairs: 1 - 0.01 / 6 = 0.99833.
    three = of([0.0, 0.998, 0.9985], [0.002, 0.0, 0.5], [0.0015, 0.5, 0.0])
    assert claims(positive, regimes=three, family=2).regimes == ((0, 2),)


@pytest.mark.parametrize(("information", "said"), [(0.24, False), (0.25, True)])
def test_the_lag_is_said_if_the_data_told_enough(information, said):
    assert claims(1.0, information=information).lag is said


def test_claims_of_draws_are_those_of_their_probabilities():
    rng = np.random.default_rng(3)
    effect = rng.normal(2.0, 0.5, 4000)
    by = np.stack([effect - 1.0, effect + 1.0, effect + rng.normal(0, 1.0, 4000)], axis=-1)
    made = verdict_claims(effect, by_regime=by[:, :2], by_episode=by, information=0.3)
    assert made == Claims(1, ((1, 0),), ((1, 0),), True, regime_differences=((1, 0),))
    assert verdict_claims(-effect).direction == -1
    # With all signs turned the same regimes are stronger.
    turned = made._replace(direction=-1, lag=False, regime_differences=((0, 1),))
    assert verdict_claims(-effect, by_regime=-by[:, :2], by_episode=-by) == turned


@pytest.mark.parametrize(
    ("effects", "stronger", "signs"),
    [
        ((-0.2, -1.6), ((1, 0),), ()),
        ((0.2, 1.6), ((1, 0),), ()),
        ((-1.6, -0.2), ((0, 1),), ()),
        ((0.8, -1.6), ((1, 0),), ((0, 1),)),
        ((2.4, -0.8), ((0, 1),), ((0, 1),)),
        # Their magnitudes are the same, or not known well enough; that the signs differ is.
        ((1.2, -1.2), (), ((0, 1),)),
        ((0.0, 0.0), (), ()),
        ((-1.0, -1.0), (), ()),
    ],
)
def test_the_stronger_effect_is_that_of_larger_magnitude(effects, stronger, signs):
    rng = np.random.default_rng(7)
    by = rng.normal(effects, 0.1, (4000, 2))
    made = verdict_claims(rng.normal(-1.0, 0.1, 4000), by_regime=by, by_episode=by)
    assert made.regimes == made.episodes == stronger
    assert made.regime_signs == made.episode_signs == signs


def quadrants(center, sd, correlation):
    """P(b_i > |b_j|), P(-b_i > |b_j|) and the same of j, of normal effects (fit, 2), by the law of sum and difference.

    b_i > |b_j| where both the difference and the sum are positive, and so on.
    """
    turn = np.array([[1.0, -1.0], [1.0, 1.0]])
    one, two = sd
    covariance = turn @ np.array([[one**2, correlation * one * two], [correlation * one * two, two**2]]) @ turn.T
    scale = np.sqrt(np.diag(covariance))
    shape = covariance / np.outer(scale, scale)
    at = center @ turn.T / scale
    both = [stats.multivariate_normal(cov=shape * np.outer(s, s)).cdf(at * s) for s in ([1, 1], [-1, -1])]
    other = [stats.multivariate_normal(cov=shape * np.outer(s, s)).cdf(at * s) for s in ([-1, 1], [1, -1])]
    return np.stack([*both, *other], axis=-1).reshape(-1, 4)


def test_probabilities_of_a_stronger_effect_are_those_of_two_normals():
    center, sd = np.array([0.4, -0.9]), (0.5, 0.8)
    draws = np.random.default_rng(8).normal(center, sd, (100_000, 2))
    exact, found = quadrants(center[None], sd, 0.0)[0], Comparison.of(draws)
    np.testing.assert_allclose(found.stronger[0, 1], max(exact[:2]), rtol=0, atol=0.01)
    np.testing.assert_allclose(found.stronger[1, 0], max(exact[2:]), rtol=0, atol=0.01)
    opposite = stats.norm.cdf(0.4 / 0.5) * stats.norm.cdf(0.9 / 0.8)
    assert found.opposite[0, 1] == pytest.approx(opposite, abs=0.01)


@pytest.mark.parametrize("sd", [(1.0, 1.0), (1.0, 0.2), (1.0, 0.02)])
@pytest.mark.parametrize("truth", [(0.0, 0.0), (0.05, 0.05), (0.3, -0.3), (-1.0, -1.0), (3.0, 3.0), (3.0, -3.0)])
def test_equal_magnitudes_are_seldom_said_to_differ(truth, sd):
    """A flat prior and a normal likelihood: each order is claimed in 1 % of the fits at most, so 2 % together.

    The magnitudes of regimes are compared whatever is decided of the average effect; those of episodes only after it,
    which may be claimed on account of a third.
    """
    fits, correlation, (one, two) = 2000, 0.4, sd
    covariance = [[one**2, correlation * one * two], [correlation * one * two, two**2]]
    center = np.random.default_rng(9).multivariate_normal(truth, covariance, fits)
    claimed = int((quadrants(center, sd, correlation).max(axis=1) >= decision_threshold()).sum())
    assert stats.binomtest(claimed, fits, 0.02, alternative="greater").pvalue > 1e-4


@pytest.mark.parametrize("truth", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_a_constant_effect_is_seldom_said_to_differ(truth, correlation):
    """Draws of normal posteriors of one effect in two regimes, the one known half as well, whatever its average is."""
    rng, fits, size = np.random.default_rng(10), 1000, 1000
    root = np.linalg.cholesky([[1.0, correlation * 2.0], [correlation * 2.0, 4.0]])
    centers = truth + rng.standard_normal((fits, 2)) @ root.T
    drawn = (center + rng.standard_normal((size, 2)) @ root.T for center in centers)
    made = [verdict_claims(by_regime.mean(axis=1), by_regime=by_regime) for by_regime in drawn]
    claimed = sum(bool(one.regime_differences) for one in made)
    # A flat prior says nothing of the difference, so that the rate is the nominal one.
    assert stats.binomtest(claimed, fits, 0.02).pvalue > 1e-4
    assert all(one.regime_differences for one in made if one.regimes or one.regime_signs)
    assert truth == 3.0 or any(one.regime_differences and not one.direction for one in made)


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
        "over_sample": effect + 0.5,
        "by_regime": {"calm": effect - rng.normal(0.2, 0.4, 4000), "turbulent": effect + rng.normal(0.2, 0.4, 4000)},
        "by_episode": {name: effect + rng.normal(0, 0.3, 4000) for name in ("one", "two", "three")},
        "lag": rng.normal(8.0, 1.0, 4000),
        "prior_lag": rng.normal(9.0, 5.0, 4000),
        "information": 1.3,
        "none": (0.001, 0.02),
        "slabs": (0.25, 0.5, 1.0, 2.0, 4.0),
        "asked_slabs": 5,
        "within": (4, 13),
        "deviations": ("regimes", "episodes"),
    }
    return Findings(**(parts | changes))


def weak(**changes):
    rng = np.random.default_rng(6)
    parts = {"effect": rng.normal(0.2, 0.5, 4000), "none": (0.55, 0.93), "information": 0.06}
    return findings(**(parts | changes))


def test_words_of_a_response_that_is_there():
    said = verdict(findings())
    assert said.startswith("A positive lagged effect of silver. Cumulative elasticity 2.0")
    assert "calm" in said
    assert "P(> 0) above 0.999" in said
    assert "; no difference is shown, P(higher in turbulent than in calm) = 0." in said
    assert ", where a claim needs 0.99 for one sign. By episodes" in said
    assert "; none is shown to be stronger than another." in said
    assert "By episodes: one" in said
    assert "1.30 nats gained; it lies within 4 to 13 with probability 1.00" in said
    assert "ot identified" not in said
    other = verdict(findings(effect=-findings().effect))
    assert other.startswith("A negative lagged effect")
    assert "P(> 0) below 0.001" in other


def test_words_of_a_difference():
    found = findings()
    apart = {"calm": found.effect - 2.0, "turbulent": found.effect + 1.0}
    assert "; the effect is stronger in turbulent than in calm." in verdict(dataclasses.replace(found, by_regime=apart))
    negative = {name: -draws for name, draws in apart.items()}
    said = verdict(dataclasses.replace(found, effect=-found.effect, by_regime=negative, by_episode=negative))
    assert said.count("; the effect is stronger in turbulent than in calm.") == 2
    assert "larger" not in said
    mixed = {"calm": 0.1 * found.effect - 2.0, "turbulent": found.effect + 2.0}
    said = verdict(dataclasses.replace(found, by_regime=mixed))
    assert (
        "the sign of the effect differs: positive in turbulent and negative in calm; the effect is stronger in" in said
    )
    # The difference is known, and of neither that it is the stronger one.
    rng = np.random.default_rng(12)
    lower = rng.normal(-0.6, 1.0, 4000)
    known = {"calm": lower, "turbulent": lower + rng.normal(1.0, 0.1, 4000)}
    said = verdict(dataclasses.replace(found, by_regime=known))
    assert "; the effect is higher in turbulent than in calm. By episodes" in said
    alone = verdict(dataclasses.replace(found, by_regime={}, by_episode={}, deviations=()))
    assert "regimes" not in alone
    assert "episodes" not in alone


def test_words_of_a_difference_whose_average_is_not_claimed():
    found = weak(rivals=("volatility by regime",), lag_gap={"episodes": (0.5, 0.4)})
    rng = np.random.default_rng(11)
    apart = {"calm": rng.normal(-0.1, 0.4, 4000), "turbulent": rng.normal(3.0, 0.5, 4000)}
    found = dataclasses.replace(found, by_regime=apart)
    assert claims_of(found) == Claims(regimes=((1, 0),), regime_differences=((1, 0),))
    said = verdict(found)
    assert said.startswith("A lagged effect of silver that differs between regimes. By regimes: calm -0.")
    assert (
        "; the effect is stronger in turbulent than in calm. The average effect is not distinguished from none." in said
    )
    assert f"P(> 0) = {np.mean(found.effect > 0):.3f}" in said
    assert "; a lag is reported only if the average effect is claimed." in said
    assert "Rival explanations in the model: volatility by regime." in said
    assert "on average 1.11 times where the power is 0.8" in said
    assert "1.10 times where the power is 0.8 and 1.29 times" in verdict(dataclasses.replace(found, family=3))
    assert not any(word in said for word in ("ot identified", "By episodes", "lies within", "between episodes"))
    withheld = dataclasses.replace(found, withheld=("Residuals are correlated.",))
    assert claims_of(withheld) == Claims()
    assert "turbulent" not in verdict(withheld)


def test_words_of_a_lag_that_is_its_prior():
    said = verdict(findings(information=0.2))
    assert said.startswith("A positive lagged effect")
    assert "The lag is not identified: the posterior of the" in said
    assert "information gain 0.20 nats, at least 0.25 needed" in said


def test_words_where_nothing_is_identified():
    found = weak()
    said = verdict(found)
    assert said.startswith("Not identified: the data do not distinguish a lagged effect of silver from none.")
    low, high = np.quantile(found.effect, [0.05, 0.95])
    assert f"({low:.2f} to {high:.2f})" in said
    # 2.326 standard deviations for a probability of 0.99, and 0.842 more for power 0.8.
    size = (2.3263 + 0.8416) * found.effect.std()
    assert f"an effect of about {size:.2f} would be claimed with probability 0.8." in said
    assert f"P(> 0) = {np.mean(found.effect > 0):.3f}" in said
    assert "P(no average lagged effect) is 0.55 to 0.93 over 5 slab widths, 0.25 to 4 times the prior's" in said
    assert "equals the prior" in said
    assert "(information gain 0.06 nats)" in said
    higher = np.mean(found.by_regime["turbulent"] > found.by_regime["calm"])
    chance = f"P(higher in turbulent than in calm) = {higher:.3f}"
    words = f"Between regimes no difference is shown, {chance}, where a claim needs 0.99 for one sign."
    assert words in said
    assert words.replace("0.99 ", "0.995 ") in verdict(weak(family=2))
    three = dict.fromkeys(("one", "two", "three"), found.effect)
    assert "Between regimes no difference is shown. " in verdict(weak(by_regime=three))
    assert not any(word in said for word in ("By regimes", "By episodes", "lies within", "Rival", "exaggerated"))
    assert "etween regimes" not in verdict(weak(by_regime={}, deviations=()))
    size = (stats.norm.ppf(0.995) + stats.norm.ppf(0.8)) * found.effect.std()
    assert f"an effect of about {size:.2f} would be claimed" in verdict(weak(family=2))
    assert "0.995 for one sign" in verdict(weak(family=2))


def test_bounds_are_said_as_bounds():
    assert "P(no average lagged effect) is below 0.020" in verdict(findings(none_bound=True))


@pytest.mark.parametrize(
    ("slabs", "words"),
    [
        ((0.5, 1.0, 2.0, 4.0), "is 0.55 to 0.93 over 4 of 5 slab widths, 0.5 to 4 times the prior's"),
        ((1.0,), "is 0.55 to 0.93 over 1 of 5 slab widths, 1 times the prior's"),
        ((), "cannot be computed from this fit at any of 5 slab widths"),
    ],
)
def test_slabs_that_were_not_reached_are_counted(slabs, words):
    assert f"P(no average lagged effect) {words};" in verdict(weak(slabs=slabs))


@pytest.mark.parametrize(
    ("deviations", "words"),
    [
        (("regimes",), "; deviations between regimes remain possible under both hypotheses."),
        (("regimes", "episodes", "responses"), "; deviations between regimes, episodes and responses remain possible"),
        ((), "times the prior's. "),
    ],
)
def test_what_no_average_effect_leaves_possible_is_said(deviations, words):
    for said in (verdict(findings(deviations=deviations)), verdict(weak(deviations=deviations))):
        assert words in said
        assert ("deviations" in said) == bool(deviations)


def test_the_average_over_the_sample_is_said_where_effects_differ():
    for found in (findings(), weak(over_sample=findings().over_sample)):
        low, middle, high = np.quantile(found.over_sample, [0.05, 0.5, 0.95])
        words = f"; average over the sample's weeks {middle:.2f} ({low:.2f} to {high:.2f})."
        assert words in verdict(found)
        assert words not in verdict(dataclasses.replace(found, deviations=()))
        assert words not in verdict(dataclasses.replace(found, deviations=("responses",)))


@pytest.mark.parametrize("family", [1, 2])
def test_the_detectable_effect_is_claimed_with_its_power(family):
    """Posterior means that are normal about the effect with the posterior standard deviation, 0.4."""
    rng = np.random.default_rng(8)
    effect, panels = detectable(0.4, family), 20_000
    positive = stats.norm.cdf(rng.normal(effect, 0.4, panels) / 0.4)
    claimed = sum(claims(p, family=family).direction == 1 for p in positive)
    assert stats.binomtest(claimed, panels, 0.8).pvalue > 1e-4


def test_problems_come_first_and_nothing_is_claimed():
    found = findings(problems=("R-hat above 1.01: the chains disagree on effect.",))
    assert claims_of(found) == Claims()
    said = verdict(found)
    assert said.startswith("Convergence diagnostics failed, and nothing is claimed of silver. R-hat above 1.01")
    assert "2.0" not in said


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (0.99, "the lag differs:"),
        (0.98, "the data do not tell whether"),
        (0.02, "the data do not tell whether"),
        (0.01, "the lag does not differ by more"),
    ],
)
def test_words_on_lags_of_episodes(after, words):
    said = verdict(findings(lag_gap={"episodes": (after, 0.45)}))
    assert words in said
    assert f"exceeds 4 weeks with probability {after:.2f}, before the data 0.45" in said
    hidden = verdict(weak(lag_gap={"episodes": (after, 0.45)}))
    assert words not in hidden
    assert "Whether the lag differs is not identified either, between episodes." in hidden


def test_the_documents_state_the_rule_in_force():
    root = Path(__file__).parents[2]
    texts = {name: (root / name).read_text(encoding="utf-8") for name in ("README.md", "docs/lags.md")}
    texts["docs/lag_posterior.md"] = (root / "docs" / "lag_posterior.md").read_text(encoding="utf-8")
    for name, text in texts.items():
        words = " ".join(text.split())
        assert f"{decision_threshold():g}" in words, name
        # One figure for the smallest effect, with its power.
        assert (
            f"elasticity of {'about ' if name == 'docs/lags.md' else ''}1.2 is claimed with probability {POWER:g}"
            in words
        )
    assert f"information gain of {INFORMATION:g} nats" in " ".join(texts["docs/lags.md"].split())


def test_claims_quote_the_rates_of_the_documents():
    """The row of all panels of the table of null panels: claims of each model."""
    lines = (Path(__file__).parents[2] / "docs" / "lags.md").read_text(encoding="utf-8").splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("| null | panels | `debasement`"))
    names = [cell.strip(" `") for cell in lines[head].split("|")[3:-1]]
    total = next(line for line in lines[head:] if line.startswith("| all |"))
    claims = {name: int(cell.split(":")[0]) for name, cell in zip(names, total.split("|")[3:-1], strict=True)}
    assert f" {claims['debasement'] + claims['moderated']} of " in STATE_RATE
    assert f" {claims['coupling']} of 1,600 " in GAIN_RATE
    assert f" {claims['ups_and_downs']} of " in ASYMMETRY_RATE


def test_threshold_and_units():
    assert decision_threshold() == pytest.approx(0.99)
    assert decision_threshold(4) == pytest.approx(0.9975)
    assert [period_name(one) for one in ("W-FRI", "D", "B", "ME", "QE")] == [
        "weeks",
        "days",
        "trading days",
        "months",
        "quarters",
    ]


def test_a_claim_says_what_it_was_protected_against():
    rivals = {"rivals": ("volatility by regime", "the response's own past"), "absent": ("late effects of dollar",)}
    said = verdict(findings(effect=np.full(400, 1.0), **rivals))
    assert "Rival explanations in the model: volatility by regime and the response's own past." in said
    assert "Not in the model: late effects of dollar, any of which could look like this." in said
    assert "exaggerated: on average 1.11 times where the power is 0.8 and 1.34 times where the power is 0.5" in said
    silent = verdict(findings(effect=np.linspace(-1.0, 1.0, 400), **rivals))
    assert "Rival" not in silent
    assert "exaggerated" not in silent
