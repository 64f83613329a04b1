"""Prior predictive draws before any fit."""

import numpy as np
import pytest
from builders import hand_panel, small_spec

import regimelag as rl

SPEC = small_spec()


@pytest.fixture(scope="module")
def before():
    return rl.prior_predictive(SPEC, hand_panel(SPEC, 30, missing=[3]), draws=300, random_seed=1)


def test_prior_draws_need_no_fit_and_follow_the_seed(before):
    assert list(before.children) == ["prior", "prior_predictive", "observed_data", "constant_data"]
    drawn = before["prior_predictive"]["response_value"]
    assert drawn.sizes == {"chain": 1, "draw": 300, "time": 30, "response": 1}
    assert np.isfinite(drawn).all()
    again = rl.prior_predictive(SPEC, hand_panel(SPEC, 30, missing=[3]), draws=300, random_seed=1)
    assert drawn.identical(again["prior_predictive"]["response_value"])
    # Half of a normal prior with standard deviation 0.5 lies within 0.67 of these.
    effect = before["prior"]["effect"].to_numpy().ravel()
    assert abs((np.abs(effect) < 0.3372).mean() - 0.5) < 5 * np.sqrt(0.25 / 300)


def test_responses_do_not_enter_the_draws(before):
    other = hand_panel(SPEC, 30)
    other["response_value"][:] = 7.0
    again = rl.prior_predictive(SPEC, other, draws=300, random_seed=1)
    assert before["prior_predictive"]["response_value"].identical(again["prior_predictive"]["response_value"])


def test_readings_and_the_figure_take_the_tree(before):
    effects, lag = rl.effects(before, group="prior"), rl.lag_distribution(before, group="prior")
    assert effects["lagged"].sizes["draw"] == 300
    axes = rl.plots.plot_prior(effects, lag)
    assert axes.shape == (1, 3)
    assert "metal" in axes[0, 0].get_title()
    low, high = np.quantile(effects["lagged"], [0.05, 0.95])
    drawn = sorted(line.get_xdata()[0] for line in axes[0, 0].lines)
    np.testing.assert_allclose(drawn, [low, high])
    with pytest.raises(rl.errors.FitError, match="plot_prior"):
        rl.plots.plot_prior(before, lag)


def test_a_wrong_number_of_draws_is_refused():
    with pytest.raises(rl.errors.FitError, match="draws"):
        rl.prior_predictive(SPEC, hand_panel(SPEC, 10), draws=0)
