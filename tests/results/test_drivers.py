"""The driver report: changes in log odds against the transition matrices, the rule on draws made by hand, the words."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from builders import hand_panel, one_draw, plain_chains, plain_step, prior_fit, small_spec
from scipy import stats

import regimelag as rl
from regimelag.results import drivers as module
from regimelag.results.drivers import LEAST_STEPS, driver_claims, drivers_in_short
from regimelag.results.view import View

TWO = (rl.Response("asset", "price"), rl.Response("other", "other"))
DRIVERS = (rl.Driver("a", "a"), rl.Driver("b", "b"))
MODELS = {
    "tied": ({"drivers": DRIVERS}, 2),
    "by origin": ({"drivers": DRIVERS, "regimes": rl.spec.Regimes(transitions=rl.spec.Markov(by_origin=True))}, 4),
    "three": ({"drivers": DRIVERS, "regimes": rl.spec.Regimes(count=3)}, 6),
    "three by origin": ({"regimes": rl.spec.Regimes(count=3, transitions=rl.spec.Markov(by_origin=True))}, 6),
    "shared": ({"responses": TWO, "responses_vary": ("effect",)}, 1),
    "own": ({"responses": TWO, "responses_vary": ("effect", "regimes"), "drivers": DRIVERS}, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_changes_are_those_of_the_transition_matrices(name):
    """log P(to | from) / P(from | from) before and after a standard deviation, in every draw; steps on the paths."""
    changes, contrasts = MODELS[name]
    spec = small_spec(signals=(), **changes)
    panel = hand_panel(spec, 12)
    tree = prior_fit(spec, panel, draws=3)
    table, labels = rl.results.driver_report(tree), list(spec.regimes.labels())
    assert list(table.columns) == [
        *("response", "driver", "from", "to", "5 %", "median", "95 %", "P(> 0)", "steps", "claimed")
    ]
    assert table.attrs["contrasts"] == contrasts
    assert table.attrs["threshold"] == pytest.approx(1 - 0.002 / contrasts)
    paths = rl.results.regime_paths(tree).stack(every=("chain", "draw")).transpose("every", "time", ...)
    whose = {"own": ["asset", "other"], "shared": ["all"]}.get(name, ["asset"])
    assert list(table["response"].unique()) == whose
    draws = [one_draw(tree["posterior"].to_dataset(), chain, draw) for chain in (0, 1) for draw in range(3)]
    for _, row in table.iterrows():
        i, j = labels.index(row["from"]), labels.index(row["to"])
        a, d = whose.index(row["response"]), [one.name for one in spec.drivers].index(row["driver"])
        moved = panel.copy(deep=True)
        moved["driver_value"][:, d] += 1.0
        odds = [
            [
                np.log(step[i, j] / step[i, i])
                for step in (plain_step(spec, one, plain_chains(spec, v)[a], 2) for v in draws)
            ]
            for one in (panel, moved)
        ]
        change = np.subtract(odds[1], odds[0])
        quantiles = np.quantile(change, [0.05, 0.5, 0.95])
        np.testing.assert_allclose(row[["5 %", "median", "95 %"]].astype(float), quantiles, rtol=0, atol=1e-12)
        assert row["P(> 0)"] == np.mean(change > 0)
        path = paths[:, :, a] if name == "own" else paths
        there = [(one[:-1] == i) & (one[1:] == j) for one in path.to_numpy()]
        assert row["steps"] == pytest.approx(np.sum(there) / len(draws))


@pytest.fixture(scope="module")
def plain():
    spec = small_spec(drivers=DRIVERS, signals=())
    panel = hand_panel(spec, 40)
    return spec, panel, prior_fit(spec, panel, draws=500)


def with_effects(tree, *changes):
    """The fit with these changes (draw) in the log odds of entering the turbulent regime, one for each driver."""
    rng = np.random.default_rng(0)
    half = np.stack([rng.permutation(one).reshape(2, 500) / 2 for one in changes], axis=-1)
    posterior = tree["posterior"].to_dataset()
    effect = posterior["driver_effect"].transpose("chain", "draw", "driver", "destination")
    posterior["driver_effect"] = effect.copy(data=np.stack([-half, half], axis=-1))
    other = tree.copy()
    other["posterior"] = xr.DataTree(posterior)
    return other


def on_paths(monkeypatch, tree, switches):
    """The fit on whose every path the regime changes so many times, from calm on."""
    shape = (2, 500, 40)
    path = np.broadcast_to(np.minimum(np.arange(40) // 2, switches) % 2, shape)
    coords = {name: tree["posterior"][name] for name in ("chain", "draw")}
    paths = xr.DataArray(path, dims=("chain", "draw", "time"), coords=coords)
    monkeypatch.setattr(module, "regime_paths", lambda *_, **__: paths)


def normal(positive):
    """1,000 values with a standard deviation of one, this share of them above zero."""
    return stats.norm.ppf((np.arange(1000) + 0.5) / 1000) + stats.norm.ppf(positive)


@pytest.mark.parametrize(
    ("positive", "claimed"), [(0.998, False), (0.9998, True), (0.002, False), (0.0002, True), (0.5, False)]
)
def test_two_drivers_share_the_false_claims(plain, monkeypatch, positive, claimed):
    """One of two drivers needs 0.999 for a sign, of either kind; both steps of the pair go with it."""
    tree = with_effects(plain[2], normal(positive), normal(0.6))
    on_paths(monkeypatch, tree, 12)
    table = rl.results.driver_report(tree)
    assert list(table["claimed"]) == [claimed, claimed, False, False]
    assert list(table["steps"]) == [6.0, 6.0, 6.0, 6.0]
    assert table["P(> 0)"][0] == pytest.approx(positive, abs=0.0006)
    assert table["P(> 0)"][1] == pytest.approx(1 - positive, abs=0.0006)


@pytest.mark.parametrize(("switches", "steps", "claimed"), [(9, (5, 4), False), (10, (5, 5), True)])
def test_few_steps_either_way_support_no_claim(plain, monkeypatch, switches, steps, claimed):
    tree = with_effects(plain[2], normal(0.9998), normal(0.5))
    on_paths(monkeypatch, tree, switches)
    table = rl.results.driver_report(tree)
    assert tuple(table["steps"][:2]) == steps
    assert list(table["claimed"][:2]) == [claimed, claimed]
    said = rl.sentences(table)[0]
    assert ("claimed, P(> 0) above 0.999" in said) == claimed
    assert (f"not claimed, 4.0 steps are expected one way, where {LEAST_STEPS} are asked for" in said) != claimed


def test_draws_that_are_zero_support_neither_sign(plain, monkeypatch):
    tree = with_effects(plain[2], np.zeros(1000), np.zeros(1000))
    on_paths(monkeypatch, tree, 12)
    assert not driver_claims(View.of(tree))["claimed"].any()


def test_diagnostics_come_before_any_claim(plain, monkeypatch):
    tree = with_effects(plain[2], normal(0.9998), normal(0.5))
    on_paths(monkeypatch, tree, 12)
    assert rl.results.driver_report(tree)["claimed"].any()
    posterior = tree["posterior"].to_dataset()
    posterior["log_scale"] = posterior["log_scale"] + xr.DataArray([0.0, 1.0], dims="chain")
    tree["posterior"] = xr.DataTree(posterior)
    table = rl.results.driver_report(tree)
    assert not table["claimed"].any()
    (said,) = rl.sentences(table)
    assert said.startswith("Convergence diagnostics failed, and nothing is claimed of drivers. R-hat above 1.01")


def test_words_of_claims_and_of_none(plain, monkeypatch):
    tree = with_effects(plain[2], -normal(0.9998), normal(0.8))
    on_paths(monkeypatch, tree, 12)
    table = rl.results.driver_report(tree)
    low, median, high = table.loc[0, ["5 %", "median", "95 %"]]
    one, other, factor = rl.sentences(table)
    assert one == (
        f"a: a rise of one standard deviation changes the log odds of entering turbulent from calm by {median:.2f} "
        f"({low:.2f} to {high:.2f}), and those of leaving it for calm by the opposite; claimed, P(> 0) below 0.001."
    )
    assert other.startswith("b: a rise of one standard deviation changes")
    assert other.endswith("; not claimed, P(> 0) = 0.800, where a claim needs 0.999 for one sign.")
    # z(0.999) = 3.09; at a power of 0.8 the effect is 3.93 and the excess phi(0.84) / 0.8 = 0.35.
    assert "exaggerated: on average 1.09 times where the power is 0.8" in factor
    assert drivers_in_short(table) == (
        "Drivers that move the regimes: a rise of a lowers the odds of entering turbulent from calm. "
        "No effect on the regimes is claimed of b."
    )
    silent = with_effects(plain[2], normal(0.5), normal(0.8))
    assert drivers_in_short(rl.results.driver_report(silent)) == "No driver is shown to move the regimes (a, b)."
    assert "exaggerated" not in " ".join(rl.sentences(rl.results.driver_report(silent)))


def test_words_where_directions_differ():
    spec = small_spec(signals=(), **MODELS["by origin"][0])
    table = driver_claims(View.of(prior_fit(spec, hand_panel(spec, 12), draws=3)))
    table["claimed"] = table["driver"] == "a"
    table["median"] = [1.0, 2.0, 1.0, 1.0]
    said = list(module._said(table, []))
    assert len(said) == 5
    assert not any("by the opposite" in one for one in said)
    assert drivers_in_short(table) == (
        "Drivers that move the regimes: a rise of a raises the odds of entering turbulent from calm and raises the "
        "odds of entering calm from turbulent. No effect on the regimes is claimed of b."
    )


def test_processes_of_their_own_are_named():
    spec = small_spec(signals=(), **MODELS["own"][0])
    table = driver_claims(View.of(prior_fit(spec, hand_panel(spec, 12), draws=3)))
    assert "(a (asset), b (asset), a (other), b (other))" in drivers_in_short(table)


def test_a_model_without_drivers_is_refused():
    spec = small_spec(drivers=())
    with pytest.raises(rl.errors.FitError, match=r"\[\[drivers\]\]"):
        rl.results.driver_report(prior_fit(spec, hand_panel(spec, 8), draws=3))


def test_a_real_fit_is_read(idata):
    table, odds = rl.results.driver_report(idata), rl.driver_effects(idata)["log_odds"].sel(regime="turbulent")
    for name in ("real yield", "dollar"):
        row = table[(table["driver"] == name) & (table["to"] == "turbulent")].iloc[0]
        low, median, high = odds.sel(driver=name).quantile([0.05, 0.5, 0.95])
        np.testing.assert_allclose(row[["5 %", "median", "95 %"]].astype(float), [low, median, high], rtol=1e-9)
    steps = table.drop_duplicates(["from", "to"])["steps"]
    durations = rl.results.regime_durations(idata)
    assert steps.sum() == pytest.approx(float(durations["switches"].mean()))
