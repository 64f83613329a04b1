"""Figures of scored forecasts, calibration and modes: what stands where, from results whose numbers are known."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import regimelag as rl
from regimelag.evaluation.calibration.uniformity import ecdf_band, ecdf_p_values


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def scored():
    """A table as `backtest_table` makes it: two horizons, three forecasters, one of them lacking at the longer one."""
    rng = np.random.default_rng(3)
    rows = [
        {"origin": origin, "horizon": horizon, "response": "asset", "forecaster": name, "crps": 1.0}
        | {"log score": rng.normal(mean), "inside 50 %": rng.random() < 0.5, "inside 90 %": rng.random() < 0.9}
        for origin in pd.date_range("2020-01-03", periods=80, freq="W-FRI")
        for horizon in (1, 13)
        for name, mean in (("model", 0.3), ("random walk", 0.0), ("GARCH(1,1)-t", 0.2))
        if (name, horizon) != ("GARCH(1,1)-t", 13)
    ]
    return rl.evaluation.backtest_table(pd.DataFrame(rows))


def test_a_backtest_has_gains_and_coverage_at_their_horizons():
    table = scored()
    axes = rl.plots.plot_backtest(table)
    assert axes.shape == (1, 2)
    for ax, column in zip(axes[0], ("gain", "90 %"), strict=True):
        dots = {line.get_label(): line for line in ax.get_lines() if line.get_marker() == "o"}
        assert set(dots) == {"model", "random walk", "GARCH(1,1)-t"}
        for name, line in dots.items():
            one = table.xs(name, level="forecaster")
            np.testing.assert_allclose(line.get_ydata(), one[column])
            np.testing.assert_array_equal(np.round(line.get_xdata()), [0, 1][: len(one)])
        ends = np.concatenate([[segment[:, 1] for segment in lines.get_segments()] for lines in ax.collections])
        np.testing.assert_allclose(np.sort(ends[:, 0]), np.sort(table[f"{column} low"]))
        np.testing.assert_allclose(np.sort(ends[:, 1]), np.sort(table[f"{column} high"]))
        assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "13"]
    axes[0, 0].figure.canvas.draw()


def scores(pit):
    """Scores of one or more responses (time, response), as `score` gives them."""
    time = pd.date_range("2024-01-05", periods=len(pit), freq="W-FRI")
    names = [f"asset {n}" for n in range(pit.shape[1])]
    found = xr.Dataset({"pit": (("time", "response"), pit)}, coords={"time": time, "response": names})
    found["log_score"] = ("time", np.linspace(1, 2, len(pit)))
    return found.assign_attrs(mean_log_score=1.5)


def test_a_score_shows_each_period_and_the_distance_from_uniform():
    pit = np.random.default_rng(1).random((60, 2))
    pit[4, 1] = np.nan
    left, right = rl.plots.plot_score(scores(pit))
    np.testing.assert_allclose(left.get_lines()[0].get_ydata(), np.linspace(1, 2, 60))
    assert left.get_lines()[1].get_ydata()[0] == 1.5
    for n, line in enumerate(right.get_lines()[:2]):
        seen = pit[:, n][~np.isnan(pit[:, n])]
        # The Kolmogorov-Smirnov statistic is the largest distance of the line from zero.
        assert np.abs(line.get_ydata()).max() == pytest.approx(stats.kstest(seen, "uniform").statistic)
    points, low, high = ecdf_band(59, bins=50, level=0.05)
    edges = right.collections[0].get_paths()[0].vertices
    for bound in (low, high):
        assert all(np.isclose(edges, [x, y]).all(axis=1).any() for x, y in zip(points, bound - points, strict=True))
    alone = rl.plots.plot_pit(scores(pit)["pit"])
    assert [text.get_text() for text in alone.get_legend().get_texts()] == ["95 % band", "asset 0", "asset 1"]


def test_modes_show_weight_and_draws():
    every = {"weight": [0.7, 0.3, np.nan, 1e-6], "draws": [0.9, 0, 0.1, 0.0], "starts": [20, 1, 0, 3]}
    found = pd.DataFrame(every | {"log_posterior": [0.0, -1.0, -9.0, -20.0]})
    ax, table = rl.plots.plot_modes(found), found[:3]
    weights, draws = ([bar.get_width() for bar in container] for container in ax.containers)
    np.testing.assert_array_equal(weights, table["weight"])
    np.testing.assert_array_equal(draws, table["draws"])
    assert [label.get_text() for label in ax.get_yticklabels()[:2]] == ["mode 0, 20 starts", "mode 1, 1 start"]
    assert "1 more mode has less than 0.001" in ax.get_xlabel()
    assert ax.yaxis_inverted()


def calibrated(ranks):
    """A tree as `sbc` returns it, of ranks (simulation) by name."""
    tree = xr.DataTree.from_dict(
        {"/prior_sbc": xr.Dataset({n: (("chain", "draw"), r[None]) for n, r in ranks.items()})}
    )
    counts = dict.fromkeys(("failed", "unmixed", "divergent", "noisy"), 0)
    tree.attrs = {"settings": json.dumps({"thinned": 99}), "simulations": len(next(iter(ranks.values())))} | counts
    return tree


def test_ranks_that_are_not_uniform_leave_the_band_and_are_named():
    rng = np.random.default_rng(2)
    good, bad = rng.random(200), rng.beta(1.0, 2.5, 200)
    ax = rl.plots.plot_sbc(calibrated({"effect": good, "mean_lag": bad}))
    band = ax.collections[0].get_paths()[0].vertices
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert set(lines) == {"calibrated", "mean_lag"}
    for name, leaves in (("calibrated", False), ("mean_lag", True)):
        x, y = lines[name].get_data()
        highest = [band[np.isclose(band[:, 0], at), 1].max() for at in x]
        assert bool((y > np.array(highest) + 1e-12).any()) == leaves


def test_the_band_is_that_of_the_test():
    """Values leave it exactly where their p-value is below the level."""
    values = np.random.default_rng(4).random((40, 300))
    points, low, high = ecdf_band(40, bins=20, level=0.2)
    below = (values[:, None] <= points[:, None]).mean(axis=0)
    outside = ((below < low[:, None] - 1e-12) | (below > high[:, None] + 1e-12)).any(axis=0)
    p_values = ecdf_p_values(values, bins=20)
    # Near the level the statistic has ties, which fall to either side.
    assert p_values[outside].max() <= np.quantile(p_values[~outside], 0.0) + 1e-9
    assert 0.1 < outside.mean() < 0.3
