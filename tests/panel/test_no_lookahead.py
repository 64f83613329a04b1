"""Changing any value after time t in any raw series changes nothing in a panel's rows up to t, nor its constants."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import regimelag as rl
from regimelag.panel import aligned_series as tracks
from regimelag.panel.make import panel_hash
from regimelag.panel.moderators import indicator_values, standing_drivers
from regimelag.spec import names as nm

KERNEL = rl.kernels.Gamma(mean_lag=2.0, mean_lag_sd=1.0, spread=1.0, spread_sd=0.5)
DAYS = pd.date_range("2020-01-01", "2022-12-31", name="date")
WEEKS = ["W-MON", "W-TUE", "W-WED", "W-THU", "W-FRI", "W-SAT", "W-SUN"]
FREQUENCIES = ["D", "B", "trading", "ME", *WEEKS]
PRICES = ["btc", "slv", "gld", "eur", "money", "cpi"]
CHANGES = ["noise", "one value", "blank", "negative", "huge", "cut"]


def raw(seed: int, frequency: str) -> pd.DataFrame:
    """Daily prices and yields, blank on weekends unless rows are days; money on Mondays and cpi on first days."""
    rng = np.random.default_rng(seed)
    columns = [*PRICES, "tips", "fed"]
    frame = pd.DataFrame(rng.normal(0.0, 0.02, (len(DAYS), len(columns))).cumsum(axis=0), DAYS, columns)
    frame[PRICES] = 100.0 * np.exp(frame[PRICES])
    if frequency != "D":
        frame.loc[DAYS.day_of_week >= 5, ["slv", "gld", "eur", "tips", "fed"]] = np.nan
    frame["money"] = frame["money"].where(DAYS.day_of_week == 0)
    frame["cpi"] = frame["cpi"].where(DAYS.day == 1)
    return frame


@st.composite
def specs(draw) -> rl.ModelSpec:
    """A signal and its company: transforms, delays, second columns and late series, on rows of any frequency."""
    kind = draw(st.sampled_from(["log_return", "gain", "loss", "new_high", "difference"]))
    periods = draw(st.integers(2 if kind == "new_high" else 1, 4))
    delay = draw(st.sampled_from(["0D", "0D", "1B", "W-MON"]))
    signal = rl.Signal(
        "silver",
        "slv",
        kind,
        periods,
        delay,
        draw(st.sampled_from(["", "eur"])),
        beyond=draw(st.sampled_from(["", "gld"])),
        kernel=KERNEL,
        moderators=draw(st.sampled_from([(), ("state",), ("state", "yield")])),
    )
    state = rl.spec.Indicator(
        "state", (rl.spec.Condition("money", above=-0.01), rl.spec.Condition("yield", above=-10.0))
    )
    late = st.sampled_from(["28D", "56D", "ME"])
    drivers = (
        rl.Driver(
            "yield",
            "tips",
            draw(st.sampled_from(["difference", "level"])),
            1,
            draw(st.sampled_from(["0D", "1B", "W-MON", "10D"])),
            draw(st.sampled_from(["", "fed"])),
        ),
        rl.Driver("money", "money", "log_return", draw(st.integers(1, 4)), draw(late)),
    )
    # Gold as the signal takes it: with the slope it gives back what was taken out.
    controls = (rl.Control("gold", "gld", kind, periods, delay), rl.Control("prices", "cpi", "level", 1, draw(late)))
    return rl.ModelSpec(
        name="drawn",
        responses=(rl.Response("bitcoin", "btc"),),
        signals=(signal,),
        drivers=drivers,
        controls=controls,
        frequency=draw(st.sampled_from(FREQUENCIES)),
        max_lag=4,
        indicators=draw(st.sampled_from([(state,)] if signal.moderators else [(), (state,)])),
        allow_overlap=True,
    )


def changed_after(frame: pd.DataFrame, t: pd.Timestamp, change: str, seed: int) -> pd.DataFrame:
    """The frame with other values after t."""
    rng = np.random.default_rng(seed)
    other, after = frame.copy(), frame.index > t
    if change == "cut":
        return frame[~after]
    part = other[after].copy()
    if change == "one value":
        cells = np.argwhere(part.notna().to_numpy())
        row, column = cells[rng.integers(len(cells))]
        part.iloc[row, column] *= 1.5
    elif change == "noise":
        part *= np.exp(rng.normal(0.0, 0.1, part.shape))
    else:
        part = part.mask(rng.random(part.shape) < 0.5, {"blank": np.nan, "negative": -1.0, "huge": 1e300}[change])
    other[after] = part
    return other


def natural(panel: xr.Dataset, role: str) -> pd.DataFrame:
    return (panel[nm.value_of(role)] * panel[nm.scale_of(role)] + panel[nm.center_of(role)]).to_pandas()


def panel_of(spec: rl.ModelSpec, frame: pd.DataFrame, **window) -> xr.Dataset:
    """The panel; an example of which none can be made, such as a gain that is zero on every row, is another one."""
    try:
        return rl.make_panel(spec, frame, **window)
    except rl.errors.PanelError:
        reject()


def rows_up_to(spec: rl.ModelSpec, panel: xr.Dataset, t: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Every role in natural units, up to t; a signal with what was taken out of it put back in."""
    held = {role: natural(panel, role) for role in (nm.RESPONSE, nm.DRIVER, nm.CONTROL)}
    held[nm.SIGNAL] = natural(panel, nm.SIGNAL)
    slope = float(panel[nm.BEYOND_SLOPE][0])
    if not np.isnan(slope):
        gold = held[nm.CONTROL]["gold"]
        held[nm.SIGNAL] = held[nm.SIGNAL].loc[gold.index].add(slope * gold, axis=0)
    if spec.indicators:
        held[nm.INDICATOR] = pd.DataFrame(indicator_values(spec, panel), panel[nm.TIME].to_index())
    return {role: table.loc[:t] for role, table in held.items()}


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=specs(), seed=st.integers(0, 1000), back=st.integers(2, 400))
def test_a_window_that_ends_at_t_does_not_know_what_comes_after(spec, seed, back, change):
    """Values, constants, slopes and dates, to the last bit, whatever comes later, impossible prices included."""
    frame, t = raw(seed, spec.frequency), DAYS[-back]
    one = panel_of(spec, frame, end=t)
    two = rl.make_panel(spec, changed_after(frame, t, change, seed), end=t)
    xr.testing.assert_identical(one.drop_attrs(), two.drop_attrs())
    assert panel_hash(one) == panel_hash(two)
    assert pd.Timestamp(one[nm.TIME].to_numpy()[-1]) <= t


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES[:2])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=specs(), seed=st.integers(0, 1000), back=st.integers(2, 700))
def test_rows_up_to_t_of_a_longer_window_do_not_know_it_either(spec, seed, back, change):
    """The window runs on past t and learns other constants; in natural units the rows up to t are what they were."""
    frame, t = raw(seed, spec.frequency), DAYS[-back]
    one, two = panel_of(spec, frame), rl.make_panel(spec, changed_after(frame, t, change, seed))
    rows = one[nm.TIME].to_numpy() <= t
    np.testing.assert_array_equal(one[nm.DRIVER_DATE][rows], two[nm.DRIVER_DATE][rows])
    first, second = rows_up_to(spec, one, t), rows_up_to(spec, two, t)
    for role, table in first.items():
        size = np.abs(table).max().max() if len(table) else 1.0
        np.testing.assert_allclose(table, second[role], atol=1e-10 * size, rtol=0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=specs(), seed=st.integers(0, 1000))
def test_drivers_were_published_by_their_row(spec, seed):
    panel = panel_of(spec, raw(seed, spec.frequency))
    for driver in spec.drivers:
        dates = pd.DatetimeIndex(panel[nm.DRIVER_DATE].sel(driver=driver.name).to_numpy())
        published = dates + pd.tseries.frequencies.to_offset(driver.delay)
        assert (published <= panel[nm.TIME].to_numpy()).all()
        # And nothing newer was: the next observation comes out after the row.
        seen = pd.DatetimeIndex(raw(seed, spec.frequency)[driver.column].dropna().index)
        following = seen.searchsorted(dates, side="right")
        last = following == len(seen)
        out = seen[np.where(last, 0, following)] + pd.tseries.frequencies.to_offset(driver.delay)
        if not driver.against:
            assert (last | (out > panel[nm.TIME].to_numpy())).all()


def test_a_state_is_known_before_its_period():
    """Values dated on or after the row before last change nothing in the state of the last row."""
    driver = rl.Driver("yield", "tips", "difference", 4, "1B")
    state = rl.spec.Indicator("state", (rl.spec.Condition("yield", below=0.0),))
    spec = rl.ModelSpec(
        name="state", responses=(rl.Response("bitcoin", "btc"),), drivers=(driver,), indicators=(state,), max_lag=4
    )
    frame = raw(3, "W-FRI")
    one = rl.make_panel(spec, frame)
    t = pd.Timestamp(one[nm.TIME].to_numpy()[-2])
    two = rl.make_panel(spec, changed_after(frame, t - pd.Timedelta(days=1), "noise", 1))
    np.testing.assert_allclose(_standing(one)[:, 0], _standing(two)[:, 0], atol=1e-10)
    np.testing.assert_array_equal(indicator_values(spec, one), indicator_values(spec, two))
    three = rl.make_panel(spec, changed_after(frame, t - pd.Timedelta(days=2), "noise", 1))
    assert abs(_standing(one)[-1, 0] - _standing(three)[-1, 0]) > 1e-6


def _standing(panel: xr.Dataset) -> np.ndarray:
    """Drivers of the row before each row, in their own unit."""
    return (
        standing_drivers(panel) * panel[nm.scale_of(nm.DRIVER)].to_numpy() + panel[nm.center_of(nm.DRIVER)].to_numpy()
    )


@pytest.mark.parametrize("leak", ["publication", "constants"])
def test_the_property_fails_where_the_future_is_known(leak, monkeypatch):
    """A panel that publishes a week before the fact, or learns its constants from all rows, is found out."""
    spec = rl.ModelSpec(
        name="leaky",
        responses=(rl.Response("bitcoin", "btc"),),
        signals=(rl.Signal("silver", "slv", kernel=KERNEL),),
        drivers=(rl.Driver("yield", "tips", "difference", 1, "1B"),),
        controls=(rl.Control("gold", "gld", "log_return"),),
        max_lag=4,
    )
    frame, t = raw(0, "W-FRI"), pd.Timestamp("2022-06-10")
    other = changed_after(frame, t, "noise", 0)
    if leak == "publication":
        as_of = tracks.as_of
        monkeypatch.setattr(tracks, "as_of", lambda column, rows, _: as_of(column, rows + pd.Timedelta(days=7), "0D"))
        one, two = (natural(rl.make_panel(spec, f), nm.DRIVER).loc[:t] for f in (frame, other))
        assert not np.allclose(one, two, atol=1e-10)
    else:
        one, two = (rl.make_panel(spec, f)[nm.scale_of(nm.SIGNAL)] for f in (frame, other))
        assert not np.allclose(one, two, rtol=1e-10)
