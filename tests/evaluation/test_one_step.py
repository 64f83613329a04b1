"""The one-step-ahead transform: its slope in a row's value is the row's predictive density."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, prior_fit, small_spec

import regimelag as rl
from regimelag.results.pit import one_step_pit

SPECS = {
    "two regimes": small_spec(),
    "normal": bare_spec(family="normal"),
    "two responses": small_spec(
        responses=(rl.Response("asset", "price"), rl.Response("other", "second")), responses_vary=("effect", "regimes")
    ),
}


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
