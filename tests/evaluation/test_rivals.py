"""Rival explanations added to a model: what changes, what stays, which data they need, and what they show."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from builders import KERNEL, STATE_DRIVERS, garch_spec, hand_panel, moderated_spec, replaced, small_spec

import regimelag as rl
from regimelag.evaluation.robustness.plan import plan_checks
from regimelag.evaluation.robustness.rivals import WIDE, late_kernel, rivals, with_past_of_controls
from regimelag.panel.make import check_panel
from regimelag.panel.moderators import moderator_values
from regimelag.panel.own_past import own_past, used_responses
from regimelag.spec.kernels import Kernel

LATE = rl.kernels.LogNormal(mean_lag=2.0, mean_lag_sd=1.0, spread=1.0, spread_sd=0.5)
TWO_CONTROLS = (rl.Control("dollar", "dollar"), rl.Control("yield", "yield", kernel=LATE))


def rival(spec, label, *, rows=14, panel=None):
    panel = hand_panel(spec, rows) if panel is None else panel
    made = {one.label: one for one in rivals(spec, panel, "metal")}[label]
    if made.spec is not None:
        check_panel(made.spec, made.panel)
    return made


# Late controls


def test_the_past_of_controls_comes_from_the_levels():
    """As make_panel has it for the model whose controls have kernels."""
    frame = rl.example_panel(as_frame=True)
    spec = rl.read_spec("no_late_macro")
    panel = rl.make_panel(spec, frame)
    held = with_past_of_controls(spec, panel)
    late = rivals(spec, panel, "silver")[0].spec
    first = panel["time"].to_numpy()[0]
    expected = rl.make_panel(late, frame, start=first)
    # A change over one week of the first row of history needs the level before it, which is not held.
    assert held.sizes["time"] == panel.sizes["time"] - 1
    there = expected["control_value"].sel(signal_time=held["signal_time"])
    np.testing.assert_allclose(held["control_value"], there, rtol=0, atol=1e-9)
    assert held["response_value"].identical(panel["response_value"][1:])


def test_a_panel_without_levels_gives_up_its_first_rows():
    spec = small_spec()
    panel = hand_panel(spec, 30)
    made = rival(spec, "late controls", panel=panel)
    assert made.panel.sizes["time"] == 26
    assert np.array_equal(made.panel["response_value"], panel["response_value"][4:])
    assert np.array_equal(made.panel["control_value"], panel["control_value"])
    assert "the first 4 rows are history" in made.note
    checks = {check.check: check for check in plan_checks(spec, panel, "metal")}
    # The model itself on the same rows.
    same = checks["without the first 4 rows"]
    assert same.kind == "leave-out"
    assert np.array_equal(same.task.panel["response_value"], made.panel["response_value"])
    assert not same.task.spec.lagged_controls


@pytest.mark.parametrize("change", ["other values", "a missing level"])
def test_levels_that_do_not_give_the_controls_are_not_used(change):
    spec = rl.read_spec("no_late_macro")
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True)).copy(deep=True)
    if change == "other values":
        # As vintages make them: what was known then.
        panel["control_value"][200, 0] += 0.1
        lost = 26
    else:
        leg = int(np.flatnonzero((panel["leg_role"] == "control").to_numpy())[0])
        panel["level"][:10, leg] = np.nan
        lost = 11
    held = with_past_of_controls(spec, panel)
    assert panel.sizes["time"] - held.sizes["time"] == lost
    rows = held.sizes["time"]
    assert np.array_equal(held["control_value"].to_numpy()[-rows:], panel["control_value"].to_numpy()[-rows:])
    assert np.isfinite(held["control_value"]).all()


def test_only_controls_without_a_kernel_get_one():
    spec = small_spec(controls=TWO_CONTROLS)
    panel = hand_panel(spec, 14)
    made = rival(spec, "late controls", panel=panel)
    assert [one.kernel for one in made.spec.controls] == [late_kernel(KERNEL, 4), LATE]
    assert made.note == "kernels added to dollar"
    # Controls are held on the rows of the signals already.
    assert made.panel.identical(panel)


def test_the_prior_of_an_added_lag_is_wide():
    assert rival(small_spec(), "late controls").spec.priors["control_lagged_effect"] == WIDE
    tight = rl.Prior("Normal", sigma=0.01)
    spec = small_spec(controls=TWO_CONTROLS, priors={"control_lagged_effect": tight, "intercept": tight})
    priors = rival(spec, "late controls").spec.priors
    assert priors["control_lagged_effect"].at({"control": "dollar"}) == WIDE
    assert priors["control_lagged_effect"].at({"control": "yield"}).parameters == {"sigma": 0.01}
    assert priors["intercept"] == tight
    positive = rl.Prior("HalfNormal", sigma=0.3)
    spec = small_spec(controls=TWO_CONTROLS, priors={"control_lagged_effect": positive})
    assert rival(spec, "late controls").spec.priors["control_lagged_effect"] == positive


@dataclass(frozen=True)
class Own(Kernel):
    kind: ClassVar[str] = "own"


def test_the_added_kernel_lies_where_the_signals_does():
    assert late_kernel(KERNEL, 4).mean_lag == KERNEL.mean_lag
    assert late_kernel(KERNEL, 4).spread == KERNEL.spread
    weekly = late_kernel(Own(), 26)
    assert (weekly.mean_lag, weekly.mean_lag_sd, weekly.spread) == pytest.approx((9.0, 4.8, 4.0))
    for lags in (1, 3, 250):
        late_kernel(Own(), lags).validate(lags)


@pytest.mark.parametrize(
    ("controls", "why"),
    [
        ((), "the model has no controls; add a table [[controls]]"),
        ((TWO_CONTROLS[1],), "every control has a kernel"),
        # Its past is the signal's.
        ((rl.Control("own", "metal"),), "no controls"),
    ],
)
def test_late_controls_that_cannot_be_added_say_why(controls, why):
    made = rival(small_spec(controls=controls), "late controls")
    assert made.spec is None
    assert made.note.startswith("not made: ")
    assert why in made.note


def test_a_name_that_no_file_could_hold_is_said():
    made = rival(small_spec(controls=(rl.Control("a/b", "dollar"),)), "late controls")
    assert made.spec is None
    assert "no slash" in made.note


# Own past, and GARCH errors


@pytest.mark.parametrize("lags", [0, 2])
def test_one_more_own_lag_costs_the_first_row(lags):
    spec = small_spec(responses=(rl.Response("asset", "price", autoregression=lags),))
    panel = hand_panel(spec, 14)
    made = rival(spec, "own past", panel=panel)
    assert made.spec.autoregression == lags + 1
    np.testing.assert_array_equal(own_past(made.panel)[:, :, :lags], own_past(panel))
    missing = np.isnan(used_responses(made.panel))[:, 0]
    assert missing.tolist() == [True] + 13 * [False]


def test_garch_errors_take_the_place_of_regimes():
    spec = small_spec()
    made = rival(spec, "GARCH errors")
    assert made.spec.volatility.kind == "garch"
    assert made.spec.regimes.count == 1
    assert made.panel.sizes["driver"] == 0
    assert made.spec.signals == spec.signals
    assert made.spec.controls == spec.controls


def test_garch_errors_keep_the_moderators():
    spec = moderated_spec(drivers=(rl.Driver("dollar", "dollar"), *STATE_DRIVERS))
    made = rival(spec, "GARCH errors")
    assert made.spec.moderators == ("easing",)
    assert made.panel["driver"].to_numpy().tolist() == ["yield", "euro"]
    assert made.spec.transition_drivers == ()
    whole = hand_panel(spec, made.panel.sizes["time"])
    np.testing.assert_array_equal(moderator_values(made.spec, made.panel), moderator_values(spec, whole))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (garch_spec(), "the model has it: GARCH(1,1)"),
        (small_spec(responses=(rl.Response("a", "p"), rl.Response("b", "q"))), "there is one response"),
        (
            small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Point(mean_lag=2.0)),)),
            "no signal has a point lag",
        ),
    ],
)
def test_garch_errors_that_cannot_be_added_say_why(spec, why):
    made = rival(spec, "GARCH errors")
    assert made.spec is None
    assert made.note.startswith("not made: ")
    assert why in made.note


def test_what_a_rival_does_not_change_stays():
    """Kernels, families and priors, whoever wrote them."""
    spec = small_spec(family="normal", priors={"effect": rl.Prior("Normal", sigma=0.07)})
    for made in rivals(spec, hand_panel(spec, 14), "metal"):
        assert made.spec.signals == spec.signals
        assert made.spec.family == spec.family
        assert made.spec.episodes == spec.episodes
        assert made.spec.priors["effect"] == spec.priors["effect"]


# What they show

QUICK = {"sampler": rl.Sampler(draws=300, tune=300, chains=2, starts=4), "progressbar": False, "random_seed": 0}


def confounded(rows=200):
    """A control moves the signal at once and the response two rows later; the signal itself does nothing."""
    simple = {"drivers": (), "episodes": rl.spec.Episodes(), "regimes": rl.spec.Regimes(count=1), "family": "normal"}
    spec = small_spec(**simple)
    panel = hand_panel(spec, rows)
    wide = replaced(spec, controls=(rl.Control("dollar", "dollar", kernel=LATE),))
    u = hand_panel(wide, rows)["control_value"].to_numpy()[:, 0]
    x, y = panel["signal_value"].to_numpy(), panel["response_value"].to_numpy()
    x[:, 0] = 0.8 * u + 0.6 * x[:, 0]
    y[:, 0] += 0.8 * u[2:-2]
    panel["control_value"] = (("time", "control"), u[4:, None])
    return spec, panel


@pytest.mark.slow
def test_a_claim_that_is_a_late_control_does_not_survive():
    with ThreadPoolExecutor(1) as here:
        made = rl.robustness(*confounded(), executor=here, **QUICK)
    assert made.loc[made["kind"] == "baseline", "P(> 0)"].item() > 0.99
    late = made[made["check"] == "late controls"].iloc[0]
    assert late["P(> 0)"] < made.attrs["threshold"]
    assert late["rows"] == 196
    outcomes = dict(made.loc[made["kind"] == "rival", ["check", "outcome"]].to_numpy())
    assert outcomes == {"late controls": "lost", "own past": "survived", "GARCH errors": "survived"}
    assert not made.attrs["survives"]
    assert "with late controls in the model" in made.attrs["summary"][0]
