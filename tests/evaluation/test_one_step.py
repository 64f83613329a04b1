"""The one-step-ahead transform: its slope in a row's value is the row's predictive density."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, one_draw, plain_chain, plain_location, prior_fit, small_spec
from oracles import enumerate_chain

import regimelag as rl
from regimelag.evaluation.comparison.leave_one_out import left_out_draws
from regimelag.model.at_draws import AtDraws
from regimelag.results.pit import one_step_pit

SPECS = {
    "two regimes": small_spec(),
    "normal": bare_spec(family="normal"),
    "two responses": small_spec(
        responses=(rl.Response("asset", "price"), rl.Response("other", "second")), responses_vary=("effect", "regimes")
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two regimes", "normal"])
def test_the_slope_is_the_density(name):
    """A difference of the transform over a small step in y, against the log density that a fit holds."""
    spec = SPECS[name]
    panel = hand_panel(spec, 8, missing=[3])
    fit = prior_fit(spec, panel, draws=1).isel(chain=slice(1), missing_dims="ignore")
    step, at = 1e-5, 5
    moved = []
    for sign in (-1, 1):
        other = fit.copy(deep=True)
        other["observed_data"]["response_value"][at] += sign * step
        moved.append(one_step_pit(other))
    slope = (moved[1] - moved[0]) / (2 * step)
    density = np.exp(fit["one_step_ahead"]["response_value"].isel(chain=0, draw=0))
    unit = float(panel["response_scale"][0])
    assert float(slope[at, 0]) == pytest.approx(float(density[at]) * unit, rel=1e-5)
    # The rows before it know nothing of it, and a missing row has none.
    np.testing.assert_array_equal(slope[:at].dropna("time"), 0.0)
    assert np.isnan(one_step_pit(fit)[3]).all()


def _of_posterior(fit, chain, draw):
    other = fit.copy()
    other["posterior"] = xr.DataTree(fit["posterior"].to_dataset().isel(chain=[chain], draw=[draw]))
    return other


def test_it_is_an_average_over_draws():
    spec = SPECS["two responses"]
    fit = prior_fit(spec, hand_panel(spec, 8), draws=3)
    each = [one_step_pit(_of_posterior(fit, c, d)) for c in range(2) for d in range(3)]
    np.testing.assert_allclose(one_step_pit(fit), sum(each) / 6, atol=1e-12)


def test_predictive_draws_of_a_row_do_not_know_it(tiny):
    """Mean and regime of each row given the others, against all paths of the panel in which the row is missing."""
    spec, panel, fit = tiny
    many = fit["posterior"].to_dataset().isel(chain=[0], draw=[2] * 3000)
    drawn = left_out_draws(AtDraws(spec, panel, many), np.random.default_rng(1)).to_numpy()[0]
    point = one_draw(many)
    for row in (0, 4, 7):
        without = panel.copy(deep=True)
        without["response_value"][row, 0] = np.nan
        smoothed = enumerate_chain(*plain_chain(spec, without, point)).smoothed[row]
        location = np.array([plain_location(spec, panel, point, row, k) for k in range(2)])
        assert abs(drawn[:, row].mean() - smoothed @ location) < 5 * drawn[:, row].std() / np.sqrt(3000)


def test_arviz_takes_the_predictive_draws(idata):
    tree = rl.leave_one_out(idata)
    pit = az.loo_pit(tree)["response_value"]
    assert pit.sizes == {"time": 240}
    # Of 400 draws none may lie on one side of an observation.
    assert bool(((pit >= 0) & (pit <= 1)).all())
    assert abs(float(pit.mean()) - 0.5) < 4 / np.sqrt(12 * 240)
    # About uniform: the fit is in the sample of a correct model.
    assert abs(float(pit.mean()) - 0.5) < 5 / np.sqrt(12 * 240)
    assert tree["posterior_predictive"].identical(rl.leave_one_out(idata)["posterior_predictive"])
