"""Claims of several models together: known error rates on plain numbers, and what is said of fits."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import regimelag as rl
from regimelag.evaluation.comparison import claims as module
from regimelag.evaluation.comparison.claims import _said, allowed
from regimelag.results.decision import decision_threshold, exaggeration


def test_one_effect_is_claimed_as_the_verdict_does():
    for rate in ("fwer", "fdr"):
        assert allowed(np.array([0.0099]), rate).tolist() == [True]
        assert allowed(np.array([0.0101]), rate).tolist() == [False]


def test_procedures_by_hand():
    """Four tests at 0.01: Holm asks 0.0025, 0.0033, 0.005, 0.01; Benjamini and Hochberg 0.0025, 0.005, 0.0075, 0.01."""
    p = np.array([0.006, 0.5, 0.0024, 0.004])
    assert allowed(p, "fwer").tolist() == [False, False, True, False]
    # The third smallest passes 0.0075, so that all smaller ones do.
    assert allowed(p, "fdr").tolist() == [True, False, True, True]
    assert allowed(np.array([0.0031, 0.0032, 0.0049, 0.0099]), "fwer").tolist() == [False] * 4


def test_error_rates_under_nulls_and_under_effects():
    """With both signs: any false claim in at most 2 % of studies; a false share of at most 2 % among claims."""
    rng, studies = np.random.default_rng(1), 20_000
    any_false, shares = 0, []
    for _ in range(studies):
        z = rng.standard_normal(10)
        z[:3] += 3.5
        p = stats.norm.sf(np.abs(z))
        any_false += allowed(p, "fwer")[3:].any()
        found = allowed(p, "fdr")
        shares.append(found[3:].sum() / max(found.sum(), 1))
    # Three standard errors of each estimate above its bound.
    assert any_false / studies <= 0.02 + 3 * np.sqrt(0.02 * 0.98 / studies)
    assert np.mean(shares) <= 0.02 + 3 * np.std(shares) / np.sqrt(studies)


def table(rows):
    columns = ["model", "response", "signal", "probability", "sign", "alone", "claimed", "withheld"]
    return pd.DataFrame(rows, columns=columns)


def test_what_is_said():
    said = _said(
        table(
            [
                ("a", "y", "x", 0.995, "positive", True, True, ""),
                ("b", "y", "x", 0.999, "positive", True, True, ""),
                ("a", "y", "w", 0.999, "negative", True, True, ""),
                ("c", "y", "w", 0.60, "positive", False, False, "Residuals are serially correlated."),
                ("a", "y", "v", 0.50, "positive", False, False, ""),
            ]
        ),
        "fwer",
    )
    assert said[0].startswith(
        "5 lagged effects in 3 models were tried; the family-wise error rate of claims is at most"
    )
    assert said[1] == "x on y: a positive lagged effect in every model that has it (a, b)."
    assert said[2] == "w on y: a lagged effect in some models, negative in a; none in c."
    assert said[3] == "v on y: no lagged effect is claimed in any model (a)."
    assert said[4] == "Withheld, and counted among those tried: c."


def test_fits_are_read(idata):
    """Of a fit beside itself: the same probability twice, that of its effect."""
    found = rl.claims({"one": idata, "again": idata})
    effect = rl.effects(idata)["lagged"].sel(signal="silver")
    positive = float((effect > 0).mean())
    assert found["probability"].to_list() == [max(positive, 1 - positive)] * 2
    assert found["model"].to_list() == ["one", "again"]
    open_to = found["withheld"] == ""
    assert (found["alone"] == (open_to & (found["probability"] >= decision_threshold()))).all()
    assert rl.sentences(found)[0].startswith("2 lagged effects in 2 models were tried")
    assert "false discovery rate" in rl.sentences(rl.claims({"one": idata}, error_rate="fdr"))[0]


def test_a_withheld_row_is_never_claimed(idata, monkeypatch):
    monkeypatch.setattr(module, "unexplained", lambda *_: ["Serially correlated."])
    monkeypatch.setattr(module, "effects_of_draws", lambda fit: rl.effects(fit)[["lagged"]] * 0 + 1.0)
    found = rl.claims({"one": idata})
    assert found["probability"][0] == 1.0
    assert not found["alone"][0]
    assert not found["claimed"][0]
    assert "Serially correlated." in found["withheld"][0]


def test_what_cannot_be_asked(idata):
    with pytest.raises(rl.errors.FitError, match="error_rate") as caught:
        rl.claims({"one": idata}, error_rate="pfer")
    assert caught.value.cure == "write error_rate='fwer'"
    with pytest.raises(rl.errors.FitError, match="at least one fit"):
        rl.claims({})


def test_exaggeration_is_that_of_simulated_claims():
    """Estimates that pass the threshold, over the true effect; five standard errors of their mean."""
    rng = np.random.default_rng(2)
    for power, family in ((0.8, 1), (0.5, 1), (0.5, 4)):
        effect = stats.norm.ppf(decision_threshold(family)) + stats.norm.ppf(power)
        estimates = effect + rng.standard_normal(200_000)
        passed = estimates[estimates > stats.norm.ppf(decision_threshold(family))]
        assert len(passed) / 200_000 == pytest.approx(power, abs=0.006)
        expected = passed.mean() / effect
        assert exaggeration(power, family) == pytest.approx(
            expected, abs=5 * passed.std() / effect / np.sqrt(len(passed))
        )
