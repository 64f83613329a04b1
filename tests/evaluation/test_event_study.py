"""Event studies: paths, events and the test by shifts against loops, and the size of the test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import hand_panel, small_spec
from scipy import stats

import regimelag as rl
from regimelag.evaluation.robustness.event_study import _sentences, paths_around, shift_test
from regimelag.spec.toml import spec_to_toml

ROWS, BEFORE, HORIZON = 200, 3, 6


def highs_panel(seed=0, rows=ROWS, quiet=13, **parts):
    """A panel whose signal is zero but for clustered events; standardised zeros do not come back exactly."""
    rng = np.random.default_rng(seed)
    spec = small_spec(max_lag=quiet + 1, **parts)
    panel = hand_panel(spec, rows, seed=seed)
    values = np.zeros(panel.sizes["signal_time"])
    values[clustered(rng, len(values))] = 0.02
    center, scale = float(panel["signal_center"][0]), float(panel["signal_scale"][0])
    return panel.assign(signal_value=(("signal_time", "signal"), ((values - center) / scale)[:, None])), values


def clustered(rng, rows, clusters=4, each=4):
    """Rows of few episodes of events that follow each other closely."""
    starts = rng.choice(rows - 3 * each, clusters, replace=False)
    return np.unique(starts[:, None] + rng.integers(0, 3 * each, (clusters, each)))


def test_paths_are_sums_since_the_event_and_leave_out_what_is_missing():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(20)
    y[7] = np.nan
    found = paths_around(y, BEFORE, HORIZON)
    assert found.shape == (20 - BEFORE - HORIZON, BEFORE + 1 + HORIZON)
    for row, path in enumerate(found):
        t = row + BEFORE
        for place, step in enumerate(range(-BEFORE, HORIZON + 1)):
            wanted = np.nansum(y[t + 1 : t + step + 1]) if step > 0 else -np.nansum(y[t + step + 1 : t + 1])
            assert path[place] == pytest.approx(wanted, abs=1e-12)
    level = rng.standard_normal(12)
    np.testing.assert_allclose(paths_around(level, 1, 2, level=True)[4], level[4:8] - level[5])


@pytest.mark.parametrize("seed", range(3))
def test_the_test_by_shifts_is_what_a_loop_over_shifts_finds(seed):
    rng = np.random.default_rng(seed)
    paths = paths_around(rng.standard_normal(80), BEFORE, HORIZON)
    places = clustered(rng, len(paths))
    found = shift_test(paths, places, BEFORE)
    usual = paths.mean(axis=0)
    every = np.array([paths[(places + shift) % len(paths)].mean(axis=0) - usual for shift in range(len(paths))])
    np.testing.assert_allclose(found.difference, every[0], atol=1e-12)
    size, after = np.abs(every), slice(BEFORE + 1, None)
    for step in range(paths.shape[1]):
        large = [one for one in size[:, step] if one >= size[0, step] - 1e-12]
        assert found.p_value[step] == pytest.approx(len(large) / len(paths))
        assert found.interval[step] == pytest.approx(np.quantile(size[:, step], 0.95, method="higher"))
        if abs(found.p_value[step] - 0.05) > 1.5 / len(paths):
            # The interval excludes zero where the test rejects.
            assert (size[0, step] > found.interval[step]) == (found.p_value[step] < 0.05)
    largest = (size[:, after] / every[:, after].std(axis=0)).max(axis=1)
    assert found.p_any == pytest.approx(np.mean(largest >= largest[0] * (1 - 1e-9)))
    inside = (size[:, after] <= found.band[after] * (1 + 1e-9)).all(axis=1)
    assert 0.95 <= inside.mean() <= 0.95 + 2 / len(paths)
    assert np.isnan(found.band[: BEFORE + 1]).all()


@pytest.mark.parametrize("quiet", [0, 1, 5, 13])
def test_events_are_those_after_a_pause_with_a_whole_window(quiet):
    panel, values = highs_panel(1)
    study = rl.evaluation.event_study(panel, quiet=quiet, before=BEFORE, horizon=HORIZON)
    history = len(values) - ROWS
    events = [
        t - history
        for t in range(history, len(values))
        if values[t] > 0 and t >= quiet and not (values[t - quiet : t] > 0).any()
    ]
    used = [t for t in events if BEFORE <= t < ROWS - HORIZON]
    assert list(study["event"].to_numpy()) == list(panel["time"].to_numpy()[used])
    assert study.attrs["incomplete"] == len(events) - len(used)
    y = panel["response_value"].to_numpy()[:, 0] * float(panel["response_scale"][0]) + float(
        panel["response_center"][0]
    )
    wanted = [y[t + 1 : t + HORIZON + 1].sum() for t in used]
    np.testing.assert_allclose(study["path"].sel(step=HORIZON), wanted)
    assert float(study["mean_path"].sel(step=HORIZON)) == pytest.approx(np.mean(wanted))
    np.testing.assert_allclose(study["difference"], study["mean_path"] - study["unconditional"], atol=1e-12)
    np.testing.assert_allclose(study["path"].sel(step=0), 0.0)


def test_an_effect_after_the_events_is_found_and_said():
    panel, _ = highs_panel(2)
    study = rl.evaluation.event_study(panel, quiet=0, before=BEFORE, horizon=HORIZON)
    moved = panel.copy(deep=True)
    moved["response_value"][:] = 0.3 * panel["response_value"]
    for place in np.searchsorted(panel["time"].to_numpy(), study["event"].to_numpy()):
        moved["response_value"][place + 1, 0] += 3.0
    found = rl.evaluation.event_study(moved, quiet=0, before=BEFORE, horizon=HORIZON)
    assert float(found["p_any"]) < 0.05
    assert float(found["low"].sel(step=1)) > 0
    assert "is distinguished from those after" in rl.sentences(found)[-1]
    nothing = study.assign(p_any=0.2)
    assert "is not distinguished from those after" in _sentences(nothing)[-1]


def clustering_returns(rng, rows):
    """GARCH(1,1) with Student-t errors."""
    found, variance = np.empty(rows), 1.0
    shocks = rng.standard_t(5, rows) * np.sqrt(3 / 5)
    for t in range(rows):
        found[t] = np.sqrt(variance) * shocks[t]
        variance = 0.02 + 0.1 * found[t] ** 2 + 0.88 * variance
    return found


def test_few_clustered_events_are_not_taken_for_a_response():
    """Of 500 unrelated pairs about 5 % are rejected; a t test that takes windows as independent rejects far more."""
    rng = np.random.default_rng(0)
    rejected, naive = [], []
    for _ in range(500):
        paths = paths_around(clustering_returns(rng, 300), 0, 26)
        places = clustered(rng, len(paths))
        found = shift_test(paths, places, 0)
        rejected.append([found.p_value[-1] <= 0.05, found.p_any <= 0.05])
        naive.append(stats.ttest_1samp(paths[places, -1], paths[:, -1].mean()).pvalue <= 0.05)
    # Three standard errors of 500 simulations are 0.03.
    assert (np.abs(np.mean(rejected, axis=0) - 0.05) < 0.03).all()
    assert np.mean(naive) > 0.3


def test_levels_have_differences_and_names_are_asked_for():
    spec = small_spec(
        responses=(rl.Response("spread", "a", "level"),),
        signals=(*small_spec().signals, rl.Signal("oil", "oil", kernel=rl.kernels.NoLag())),
    )
    panel = hand_panel(spec, 60)
    panel.attrs["spec"] = spec_to_toml(spec)
    study = rl.evaluation.event_study(panel, signal="oil", above=0.3, quiet=0, before=1, horizon=3)
    y = panel["response_value"].to_numpy()[:, 0] * float(panel["response_scale"][0])
    place = int(np.searchsorted(panel["time"].to_numpy(), study["event"].to_numpy()[0]))
    np.testing.assert_allclose(study["path"][0], y[place - 1 : place + 4] - y[place], atol=1e-12)
    assert study.attrs["signal"] == "oil"
    assert pd.Timestamp(study["event"].to_numpy()[0]) == panel["time"].to_pandas().iloc[place]
