"""Lead and lag without a model, against plain loops, known laws and data whose lag is known."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from builders import KERNEL, hand_panel, small_spec
from scipy import stats

import regimelag as rl


def pair(rows, *, follow=0, size=0.0, missing=(), seed=0, spec=None):
    """White noise, of which the response follows the signal by `follow` rows (leads it, if negative)."""
    panel = hand_panel(spec or small_spec(controls=()), rows, seed=seed, missing=missing)
    x = panel["signal_value"].to_numpy()[-rows:, 0]
    y = panel["response_value"].to_numpy()
    for t in range(rows):
        if 0 <= t - follow < rows:
            y[t, 0] += size * x[t - follow]
    return panel


def plain_correlation(x, y, lag):
    """Mean product over the pairs there are, of series standardised by what is observed."""
    seen = y[~np.isnan(y)]
    total, count = 0.0, 0
    for t in range(len(y)):
        if 0 <= t - lag < len(x) and not np.isnan(y[t]):
            total += (x[t - lag] - x.mean()) * (y[t] - seen.mean())
            count += 1
    return total / count / x.std() / seen.std()


def test_correlations_are_those_of_plain_loops():
    panel = pair(60, follow=2, size=0.7, missing=[5, 40])
    read = rl.evaluation.lead_lag(panel, max_lag=4, draws=50)
    x, y = panel["signal_value"].to_numpy()[-60:, 0], panel["response_value"].to_numpy()[:, 0]
    assert list(read["lag"]) == list(range(-4, 5))
    for lag in range(-4, 5):
        expected = plain_correlation(x, y, lag)
        assert float(read["correlation"].sel(lag=lag, adjustment="none")) == pytest.approx(expected)
    r = read["correlation"].sel(adjustment="none")
    ratio = sum(float(r.sel(lag=n)) ** 2 for n in range(1, 5)) / sum(float(r.sel(lag=-n)) ** 2 for n in range(1, 5))
    assert float(read["ratio"].sel(adjustment="none")) == pytest.approx(ratio)


@pytest.mark.parametrize("follow", [3, -2])
def test_a_strong_lag_or_lead_is_found(follow):
    read = rl.evaluation.lead_lag(pair(300, follow=follow, size=1.0), draws=300).isel(adjustment=0)
    assert int(read["peak_lag"]) == follow
    assert bool(read["beyond_band"])
    assert float(read["peak_probability"].sel(lag=follow)) > 0.99
    ratio = float(read["ratio"])
    assert ratio > float(read["ratio_high"]) if follow > 0 else ratio < float(read["ratio_low"])


def test_the_band_of_white_noise_is_that_of_independent_normals():
    rows, lags = 2000, 9
    read = rl.evaluation.lead_lag(pair(rows), draws=4000, block=1).isel(adjustment=0)
    each = (1 + 0.95 ** (1 / lags)) / 2
    # The quantile of 4,000 maxima has a standard error of about 0.02.
    assert np.allclose(read["band"] * np.sqrt(rows), stats.norm.ppf(each), atol=0.02 * 5 + 0.05)


def autoregression(rows, rng, persistence=0.6):
    values = np.empty(rows + 50)
    values[0] = rng.standard_normal()
    for t in range(1, len(values)):
        values[t] = persistence * values[t - 1] + rng.standard_normal()
    return values[50:]


def test_unrelated_dependent_series_seldom_leave_the_band():
    rows, trials, rng, beyond = 240, 200, np.random.default_rng(0), 0
    panel = pair(rows)
    for trial in range(trials):
        panel["signal_value"][-rows:, 0] = autoregression(rows, rng)
        panel["response_value"][:, 0] = autoregression(rows, rng)
        beyond += bool(rl.evaluation.lead_lag(panel, draws=200, block=16, random_seed=trial)["beyond_band"].item())
    # Fifteen blocks lose some dependence at their seams, so the level is near a tenth here. A band for white noise
    # would be left by a quarter of such pairs.
    assert stats.binom.sf(beyond - 1, trials, 0.1) > 0.001


def test_controls_take_out_a_common_cause():
    spec = small_spec()
    panel = hand_panel(spec, 400)
    common = np.random.default_rng(5).standard_normal(401)
    panel["control_value"][:, 0] = common[1:]
    panel["signal_value"][-400:, 0] += 2 * common[1:]
    panel["response_value"][:, 0] += 2 * common[1:]
    read = rl.evaluation.lead_lag(panel, draws=300)
    same_row = read["correlation"].sel(lag=0)
    assert float(same_row.sel(adjustment="none")) > 0.6
    # Four standard errors.
    assert abs(float(same_row.sel(adjustment="controls"))) < 4 / np.sqrt(400)


def test_the_same_seed_gives_the_same_and_the_panel_stays():
    panel = pair(80)
    before = panel.copy(deep=True)
    assert rl.evaluation.lead_lag(panel, draws=40).identical(rl.evaluation.lead_lag(panel, draws=40))
    assert panel.identical(before)
    read = rl.evaluation.lead_lag(panel, draws=40)
    assert np.allclose(read["peak_probability"].sum("lag"), 1)


def test_bad_requests_are_refused():
    panel = pair(40, spec=small_spec(signals=tuple(rl.Signal(name, name, kernel=KERNEL) for name in "ab")))
    with pytest.raises(rl.errors.PanelError, match="none was named"):
        rl.evaluation.lead_lag(panel)
    with pytest.raises(rl.errors.PanelError, match="signal = 'c'"):
        rl.evaluation.lead_lag(panel, signal="c")
    with pytest.raises(rl.errors.PanelError, match="max_lag = 30"):
        rl.evaluation.lead_lag(panel, signal="a", max_lag=30)
    with pytest.raises(rl.errors.PanelError, match="block = 0"):
        rl.evaluation.lead_lag(panel, signal="a", block=0)


def test_figure():
    estimate = rl.evaluation.lead_lag(hand_panel(small_spec(), 60), draws=40)
    axes = rl.plots.plot_lead_lag(estimate)
    assert axes.shape == (2, 2)
    assert all(ax.has_data() and ax.get_title() and ax.get_legend() is not None for ax in axes.flat)
    assert all("asset follows" in ax.get_xlabel() for ax in axes.flat)
    _, given = plt.subplots(2, 2)
    assert list(rl.plots.plot_lead_lag(estimate, axes=given).flat) == list(given.flat)
    plt.close("all")
