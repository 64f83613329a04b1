"""Lags that dates and averages plant in series without one are warned of; the same data done right are not."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import regimelag as rl
from regimelag.errors import PanelError

SPEC = rl.ModelSpec(
    name="planted",
    responses=(rl.Response("bitcoin", "btc"),),
    signals=(rl.Signal("silver", "slv", kernel=rl.kernels.Point(masses=(1.0, 1.0, 1.0))),),
    regimes=rl.spec.Regimes(count=1),
    max_lag=3,
    frequency="B",
)
MONTHLY = replace(SPEC, frequency="ME")


def prices(rows, correlation, *, seed=0):
    """Prices of a response and a signal whose changes correlate on the same day, and on no other."""
    moves = np.random.default_rng(seed).standard_normal((rows, 2))
    moves[:, 0] = correlation * moves[:, 1] + np.sqrt(1 - correlation**2) * moves[:, 0]
    days = pd.bdate_range("2015-01-01", periods=rows, name="date")
    return pd.DataFrame(100 * np.exp(0.01 * moves.cumsum(axis=0)), index=days, columns=["btc", "slv"])


def snapshots(folder, closes):
    """File of an exchange that stamps the close of a day with 00:00 of the next."""
    stamps = closes.index + pd.Timedelta(days=1)
    path = folder / "bitcoin.csv"
    closes.set_axis(stamps.strftime("%Y-%m-%d 00:00:00"), axis=0).rename_axis("time").to_csv(path)
    return path


def midnight(folder, *, right):
    """Panel of daily prices, with the response's stamps of 00:00 taken for the close of the day before, or not."""
    frame = prices(500, 0.5)
    path = snapshots(folder, frame["btc"])
    with pytest.raises(PanelError, match="what a stamp of 00:00 means") as caught:
        rl.read_series(path)
    wrong, cure = "close='24:00 UTC'", "close='00:00 UTC'"
    assert wrong in caught.value.cure
    assert cure in caught.value.cure
    bitcoin = rl.read_series(path, close="00:00 UTC" if right else "24:00 UTC")
    return SPEC, bitcoin.join(frame[["slv"]], how="outer")


def averages(folder, *, right):
    """Panel of months, with the response as average of its month, or at its end."""
    del folder
    daily = prices(200 * 21, 0.7)
    daily.index = pd.date_range("2000-01-01", periods=len(daily))
    month = np.repeat(np.arange(200), 21)
    ends = daily.groupby(month).last()
    if not right:
        ends["btc"] = daily["btc"].groupby(month).mean()
    return MONTHLY, ends.set_axis(pd.date_range("2000-01-31", periods=200, freq="ME"), axis=0)


PLANTS = [(midnight, "a price stamped 00:00 is the close of the day before"), (averages, "averag")]


@pytest.mark.parametrize(("plant", "word"), PLANTS)
def test_a_planted_lag_is_warned_of_and_right_data_are_not(tmp_path, plant, word):
    spec, frame = plant(tmp_path, right=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert json.loads(rl.make_panel(spec, frame).attrs["warnings"]) == []
    spec, frame = plant(tmp_path, right=False)
    with pytest.warns(UserWarning, match=word):
        panel = rl.make_panel(spec, frame)
    said = json.loads(panel.attrs["warnings"])
    assert any(word in text for text in said)
    assert set(said) <= set(rl.describe_panel(panel).attrs["notes"])
