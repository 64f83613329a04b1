"""A planted lag is claimed by the lag report with its warning beside it, and right data give neither."""

from __future__ import annotations

import json
import warnings

import pytest
from test_planted_lags import PLANTS

import regimelag as rl

SETTINGS = {"draws": 300, "tune": 300, "chains": 2, "cores": 1, "starts": 2, "prior_draws": 50}


@pytest.mark.slow
@pytest.mark.parametrize(("plant", "word"), PLANTS)
@pytest.mark.parametrize("right", [False, True])
def test_a_planted_lag_is_claimed_with_its_warning_and_is_none_where_data_are_right(tmp_path, plant, word, right):
    spec, frame = plant(tmp_path, right=right)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if right else "ignore", UserWarning)
        panel = rl.make_panel(spec, frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = rl.lag_report(rl.fit(spec, panel, random_seed=1, progressbar=False, **SETTINGS))
    ((_, verdict),) = report.attrs["verdict"].items()
    lagged = report.loc[("bitcoin", "silver", "lagged effect", "all", "all")]
    said = rl.sentences(report)
    assert said[0] == verdict
    if right:
        assert json.loads(panel.attrs["warnings"]) == []
        assert "lagged effect of silver." not in verdict.partition(".")[0] + "."
        assert 0.01 < lagged["posterior", "P(> 0)"] < 0.99
        assert not any(word in text for text in said)
    else:
        assert lagged["posterior", "P(> 0)"] > 0.99
        warned = [text for text in json.loads(panel.attrs["warnings"]) if word in text]
        assert warned
        assert set(warned) <= set(said)
