"""Effects by state: the contrast in plain loops over paths, effects at stated values, and the rule for a claim."""

import numpy as np
import pytest
from builders import (
    STATE,
    STATE_DRIVERS,
    hand_panel,
    moderated_spec,
    one_draw,
    plain_moderator,
    prior_fit,
    replaced,
    small_spec,
)

import regimelag as rl
from regimelag.panel.moderators import indicator_values, moderator_values
from regimelag.results import states
from regimelag.results.decision import state_claims, state_threshold, verdict_claims
from regimelag.results.states import state_contrast, state_report

SPEC = moderated_spec(("easing", "euro"))
PANEL = hand_panel(SPEC, 40, missing=[3, 17])


@pytest.fixture(scope="module")
def fit():
    return prior_fit(SPEC, PANEL, 5)


def plain_effect(spec, panel, v, t, k, s=0, a=0):
    """The lagged effect of a signal on a response in period t and regime k, in the response's units."""
    b = v["effect"][s] + v["effect_regime"][s, k] if "effect_regime" in v else v["effect"][s]
    b += v["effect_episode"][s, int(panel["episode_index"][t])] if "effect_episode" in v else 0.0
    b += v["effect_response"][s, a] if "effect_response" in v else 0.0
    if "effect_moderator" in v:
        b += sum(
            v["effect_moderator"][s, q] * plain_moderator(spec, panel, t, m) for q, m in enumerate(spec.moderators)
        )
    return b * float(panel["response_scale"][a] / panel["signal_scale"][s])


def plain_contrast(spec, panel, v, path, name, a=0):
    """Mean effect over the observed periods in a state, and over the others."""
    sides = {0.0: [], 1.0: []}
    for t in range(panel.sizes["time"]):
        if np.isfinite(panel["response_value"][t, a]):
            sides[plain_moderator(spec, panel, t, name)].append(plain_effect(spec, panel, v, t, int(path[t]), a=a))
    return np.mean(sides[1.0]), np.mean(sides[0.0])


def test_the_contrast_is_that_of_loops_over_paths(fit):
    read, paths = state_contrast(fit, random_seed=3), rl.results.regime_paths(fit, random_seed=3)
    average = rl.effects(fit, random_seed=3)["lagged_over_sample"]
    seen = np.isfinite(PANEL["response_value"].to_numpy()[:, 0])
    state = indicator_values(SPEC, PANEL)[:, 0]
    assert float(read["share"][0]) == state[seen].mean()
    assert 0 < float(read["share"][0]) < 1
    for chain in range(2):
        for draw in range(5):
            v = one_draw(fit["posterior"].to_dataset(), chain, draw)
            path = paths[chain, draw].to_numpy()
            inside, outside = plain_contrast(SPEC, PANEL, v, path, "easing")
            here = read.isel(chain=chain, draw=draw, signal=0, indicator=0)
            assert float(here["inside"]) == pytest.approx(inside, rel=0, abs=1e-10)
            assert float(here["outside"]) == pytest.approx(outside, rel=0, abs=1e-10)
            assert float(here["contrast"]) == pytest.approx(inside - outside, rel=0, abs=1e-10)
            every = [plain_effect(SPEC, PANEL, v, t, int(path[t])) for t in np.flatnonzero(seen)]
            assert float(average[chain, draw, 0]) == pytest.approx(np.mean(every), rel=0, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_the_contrast_of_several_responses_without_moderators(own):
    two = (rl.Response("asset", "price"), rl.Response("other", "second"))
    vary = ("effect", "regimes") if own else ("effect",)
    spec = replaced(
        small_spec(responses=two, responses_vary=vary), indicators=(replaced(STATE, all_of=STATE.all_of[:1]),)
    )
    panel = hand_panel(spec, 30, missing=[(2, 1), 9])
    fit = prior_fit(spec, panel, 3)
    read, paths = state_contrast(fit), rl.results.regime_paths(fit)
    for a, name in enumerate(("asset", "other")):
        v = one_draw(fit["posterior"].to_dataset(), 1, 2)
        path = paths[1, 2].to_numpy()
        inside, outside = plain_contrast(spec, panel, v, path[:, a] if own else path, "easing", a)
        here = read.isel(chain=1, draw=2, signal=0, indicator=0).sel(response=name)
        assert float(here["contrast"]) == pytest.approx(inside - outside, rel=0, abs=1e-10)
    report = state_report(fit)
    assert report.attrs["contrasts"] == 2
    assert set(report["response"]) == {"asset", "other"}


def test_effects_are_taken_at_stated_values(fit):
    """In the drivers' own units; what is not named stays at its mean over the window."""
    mean = moderator_values(SPEC, PANEL).mean(axis=0)
    unit = float(PANEL["response_scale"][0] / PANEL["signal_scale"][0])
    posterior = fit["posterior"]
    base = posterior["effect"] + posterior["effect_regime"].mean("regime") + posterior["effect_episode"].mean("episode")
    phi = posterior["effect_moderator"].isel(moderated_signal=0)
    euro = (0.3 - float(PANEL["driver_center"][1])) / float(PANEL["driver_scale"][1])
    for at, q in (
        (None, mean),
        ({"easing": 1}, [1.0, mean[1]]),
        ({"easing": 0, "euro": 0.3}, [0.0, euro]),
    ):
        expected = (base.isel(lagged_signal=0) + phi[..., 0] * q[0] + phi[..., 1] * q[1]) * unit
        np.testing.assert_allclose(rl.effects(fit, at=at)["lagged"].isel(signal=0), expected, atol=1e-12)
    by_regime = [rl.effects(fit, at={"easing": one})["lagged_by_regime"] for one in (0, 1)]
    change = (by_regime[1] - by_regime[0]).isel(signal=0)
    np.testing.assert_allclose(change, (phi[..., 0] * unit).broadcast_like(change), atol=1e-12)
    # Over the sample, what is named is held and what is not moves with the periods.
    held = rl.effects(fit, at={"easing": 0, "euro": 0.3})["lagged_over_sample"]
    one = one_draw(fit["posterior"].to_dataset(), 1, 1)
    path = rl.results.regime_paths(fit)[1, 1].to_numpy()
    bare = {name: values for name, values in one.items() if name != "effect_moderator"}
    rows = np.flatnonzero(np.isfinite(PANEL["response_value"].to_numpy()[:, 0]))
    expected = np.mean([plain_effect(SPEC, PANEL, bare, t, int(path[t])) for t in rows])
    assert float(held[1, 1, 0]) == pytest.approx(expected + unit * one["effect_moderator"][0, 1] * euro, abs=1e-10)


def test_the_curve_has_moderators_at_their_means(fit):
    curve = rl.lag_distribution(fit)["response_curve"].sum("lag")
    np.testing.assert_allclose(curve, rl.effects(fit)["lagged"], atol=1e-12)


def test_wrong_values_of_moderators_are_refused(fit, tiny):
    for at, cure in (({"dollar": 1}, "write at={'easing': 0.0}"), ({"easing": 0.5}, "write at={'easing': 0}")):
        with pytest.raises(rl.errors.FitError) as caught:
            rl.effects(fit, at=at)
        assert caught.value.cure == cure
        rl.effects(fit, at=eval(cure.removeprefix("write at=")))
    with pytest.raises(rl.errors.FitError, match="leave at out"):
        rl.effects(tiny[2], at={"easing": 1})
    with pytest.raises(rl.errors.FitError, match=r"table \[\[indicators\]\]"):
        state_contrast(tiny[2])
    with pytest.raises(rl.errors.FitError, match=r"table \[\[indicators\]\]"):
        state_report(tiny[2])


def test_an_impulse_response_needs_the_path_of_moderators(fit):
    with pytest.raises(rl.errors.FitError, match="no path of 'euro'") as caught:
        rl.evaluation.impulse_response(fit, shock=0.1, at={"easing": 1})
    assert caught.value.cure == "write at={'easing': 1, 'euro': 0}"
    calm, eased = (
        rl.evaluation.impulse_response(fit, shock=0.1, horizon=9, at={"easing": one, "euro": 0.1}) for one in (0, 1)
    )
    assert "easing = 1 and euro = 0.1" in rl.sentences(eased)[1]
    # In the long run what a state adds to the effect, whatever the regime.
    change = (eased["cumulative"] - calm["cumulative"]).isel(step=-1)
    unit = float(PANEL["response_scale"][0] / PANEL["signal_scale"][0])
    phi = fit["posterior"]["effect_moderator"].isel(moderated_signal=0, moderator=0)
    np.testing.assert_allclose(change, (0.1 * unit * phi).broadcast_like(change), atol=1e-12)
    # On a path the state adds in its own periods alone: weights of lags 1 and 2 here.
    path = [0, 1, 1, *[0] * 7]
    for_two = rl.evaluation.impulse_response(fit, shock=0.1, horizon=9, at={"easing": path, "euro": 0.1})
    change = (for_two["cumulative"] - calm["cumulative"]).isel(step=-1, start=0)
    two = rl.lag_distribution(fit)["weights"].isel(signal=0).sel(lag=[1, 2]).sum("lag")
    np.testing.assert_allclose(change, 0.1 * unit * phi * two, atol=1e-12)
    with pytest.raises(rl.errors.FitError, match="3 values of 'easing'") as caught:
        rl.evaluation.impulse_response(fit, shock=0.1, horizon=9, at={"easing": path[:3], "euro": 0.1})
    assert caught.value.cure == "write at={'easing': 0}"


def test_the_rule_asks_for_one_sign_and_shares_its_budget():
    draws = np.linspace(-0.16, 99.84, 1001)
    zero = np.zeros(1001)
    assert state_claims([(draws, zero), (zero, draws), (zero, zero)]) == (1, -1, 0)
    assert state_claims([(draws, zero)], family=2) == (0,)
    assert state_claims([(draws * np.nan, zero)]) == (0,)
    # Two states share 0.002; the average effect, zero here, is not asked for.
    made = verdict_claims(np.linspace(-1, 1, 1001), states=[(draws + 0.6, zero), (draws, zero)])
    assert made.direction == 0
    assert made.states == (1, 0)
    assert state_threshold(2) == 0.999
    assert not verdict_claims(zero, states=[(draws + 0.6, zero)], trusted=False).states


@pytest.fixture
def trusted(monkeypatch):
    """Draws that the diagnostics find no fault with, and residuals without serial correlation."""
    monkeypatch.setattr(states, "unexplained", lambda *_: [])
    monkeypatch.setattr("regimelag.results.lag_report.unexplained", lambda *_: [])
    monkeypatch.setattr("regimelag.results.view.stored_diagnostics", lambda _: ["fine"])


def test_the_verdict_and_the_report_say_what_is_claimed_of_a_state(fit, trusted):
    """Without an average effect: what the state adds is made large, and all else zero."""
    posterior = fit["posterior"].to_dataset().copy(deep=True)
    for name in ("effect", "effect_regime", "effect_episode", "effect_moderator"):
        posterior[name] = posterior[name] * 0.0
    signs = np.where(np.arange(10).reshape(2, 5) % 2, 1.0, -1.0)
    posterior["effect_moderator"][..., 0, 0] = 2.0
    unit = float(PANEL["response_scale"][0] / PANEL["signal_scale"][0])
    share = float(state_contrast(fit)["share"][0])
    window = float(moderator_values(SPEC, PANEL)[:, 0].mean())
    posterior["effect"][..., 0] = -2.0 * window + 0.1 * signs + 0.01
    tree = fit.copy()
    tree["posterior"] = posterior
    report = rl.lag_report(tree)
    said = report.attrs["verdict"]["metal"]
    assert said.startswith("A lagged effect of metal that differs with the state easing.")
    assert f"in the {100 * share:.0f} % of the periods with it" in said
    assert "the effect is higher with easing" in said
    assert "The average effect is not distinguished from none." in said
    assert "no lagged effect where easing is 0 and euro is at its mean" in said
    table = state_report(tree)
    contrast = table[table["quantity"] == "contrast"].iloc[0]
    assert contrast["claimed"]
    assert contrast["median"] == pytest.approx(2.0 * unit)
    assert table["claimed"].sum() == 1
    assert table.attrs["sentences"][0].startswith("metal: State easing:")
    # The opposite of nothing: no effect of the state, and no claim.
    posterior["effect_moderator"][..., 0, 0] = 0.0
    posterior["effect"][..., 0] = 0.1 * signs + 0.01
    tree["posterior"] = posterior
    said = rl.lag_report(tree).attrs["verdict"]["metal"]
    assert said.startswith("Not identified")
    assert "no difference is shown, where a claim needs 0.998 for one sign" in said
    assert not state_report(tree)["claimed"].any()


def test_nothing_is_claimed_where_diagnostics_fail(fit):
    report = state_report(fit)
    assert not report["claimed"].any()
    assert report.attrs["sentences"][0].startswith("Convergence diagnostics failed, and nothing is claimed of states.")


@pytest.mark.slow
def test_readings_of_drivers_are_those_of_the_transitions():
    """Two drivers that only moderate come first, with other scales than the one that drives."""
    spec = moderated_spec(drivers=(*STATE_DRIVERS, rl.Driver("dollar", "dollar")))
    fit = prior_fit(spec, hand_panel(spec, 30), 3)
    changes, slopes = rl.driver_effects(fit), fit["posterior"]["driver_effect"]
    assert changes["driver"].to_numpy().tolist() == slopes["driver"].to_numpy().tolist() == ["dollar"]
    expected = slopes.sel(destination="turbulent") - slopes.sel(destination="calm")
    np.testing.assert_allclose(changes["log_odds"].sel(regime="turbulent"), expected, atol=1e-12)
    assert float(changes["move"][0]) == float(rl.panel_of(fit)["driver_scale"][2])
    assert set(rl.results.driver_report(fit)["driver"]) == {"dollar"}
    drivers = {"", "dollar"}
    assert set(rl.regime_summary(fit)["driver"]) == drivers
    assert rl.lag_report(fit).attrs["notes"] is not None
