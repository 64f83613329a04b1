"""Fitted values and residuals against the model written in loops."""

import numpy as np
import pytest
from builders import bare_spec, hand_panel, one_draw, plain_chain, prior_fit
from oracles import enumerate_chain
from scipy import stats

import regimelag as rl


def test_fitted_values_weight_regimes_by_their_predicted_probabilities(tiny):
    spec, panel, fit = tiny
    found = rl.fitted(fit)
    assert found["mean"].dims == found["standard_deviation"].dims == ("chain", "draw", "time", "response")
    point = one_draw(fit["posterior"].to_dataset(), 1, 2)
    predicted = enumerate_chain(*plain_chain(spec, panel, point)).predicted
    center, scale = (float(panel[f"response_{what}"][0]) for what in ("center", "scale"))
    mean = np.array([predicted[t] @ locations(spec, panel, point, t) for t in range(8)])
    np.testing.assert_allclose(found["mean"][1, 2, :, 0], center + scale * mean, rtol=1e-9)


def locations(spec, panel, point, t):
    from builders import plain_location

    return np.array([plain_location(spec, panel, point, t, k) for k in range(2)])


def test_standardised_residuals_are_those_of_the_mixture_of_draws(tiny):
    _, panel, fit = tiny
    each, left = rl.fitted(fit), rl.residuals(fit)
    mean = each["mean"].to_numpy().reshape(-1, 8)
    second = (each["standard_deviation"].to_numpy() ** 2).reshape(-1, 8) + mean**2
    spread = np.sqrt(second.mean(axis=0) - mean.mean(axis=0) ** 2)
    y = panel["response_value"].to_numpy()[:, 0] * float(panel["response_scale"][0]) + float(
        panel["response_center"][0]
    )
    np.testing.assert_allclose(left[:, 0], (y - mean.mean(axis=0)) / spread, rtol=1e-9)
    assert np.isnan(left[3, 0])
    assert left.dims == ("time", "response")


def test_pit_residuals_are_normal_scores_of_one_regime():
    """With one regime, no covariates and known parameters, the PIT is the normal distribution function."""
    spec = bare_spec(family="normal")
    panel = hand_panel(spec, 20, missing=[2])
    fit = prior_fit(spec, panel, 1)
    fit["posterior"] = fit["posterior"].to_dataset().isel(chain=[0])
    point = one_draw(fit["posterior"].to_dataset(), 0, 0)
    z = (panel["response_value"].to_numpy()[:, 0] - point["intercept"][0, 0]) / np.exp(point["log_scale"][0])
    np.testing.assert_allclose(rl.residuals(fit, kind="pit")[:, 0], stats.norm.cdf(z), rtol=1e-9)
    np.testing.assert_allclose(rl.residuals(fit)[:, 0], z, rtol=1e-9)


def test_an_unknown_kind_is_refused(tiny):
    with pytest.raises(rl.errors.FitError, match="pearson") as caught:
        rl.residuals(tiny[2], kind="pearson")
    kind = eval(caught.value.cure.removeprefix("write kind="))
    assert rl.residuals(tiny[2], kind=kind).name == "residual"
