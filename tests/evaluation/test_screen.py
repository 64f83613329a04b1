"""Screens of many pairs: what is fitted, what is claimed of all of them together, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from builders import small_spec
from scipy import stats

import regimelag as rl
from regimelag.evaluation.comparison.screen import (
    Pair,
    _labelled,
    other_sign,
    pairs_of,
    panel_of_pair,
    table_of,
    template_of,
)
from regimelag.evaluation.robustness import refit as refits

SPEC = small_spec(
    signals=(rl.Signal("ore", "ore", kernel=rl.kernels.LogNormal(mean_lag=2.0, spread=1.0)),),
    drivers=(),
    controls=(rl.Control("dollar", "dollar"),),
    regimes=rl.spec.Regimes(count=1),
    episodes=rl.spec.Episodes(),
    max_lag=4,
)
QUICK = rl.Sampler(draws=400, tune=400, chains=2, starts=2, target_accept=0.9)


@pytest.fixture(scope="module")
def frame():
    """Weekly levels of independent series; `b` follows `y` by one and two weeks."""
    rng, days = np.random.default_rng(5), pd.date_range("2018-01-05", periods=260, freq="W-FRI")
    moves = pd.DataFrame(0.02 * rng.standard_normal((260, 5)), index=days, columns=["a", "b", "x", "y", "dollar"])
    moves["b"] += 0.6 * moves["y"].shift(1).fillna(0) + 0.6 * moves["y"].shift(2).fillna(0)
    return 100 * np.exp(moves.cumsum())


def result(effect, sd=0.4, draws=1000, **more):
    positive = float(stats.norm.sf(0, effect, sd))
    found = {"rows": 200, "rhat": 1.0, "divergent": 0, "withheld": [], "draws": draws, "mean_lag": [2.0, 3.0, 5.0]}
    found |= {"effect": [effect - 1.64 * sd, effect, effect + 1.64 * sd], "positive": positive}
    return found | {"statistic": abs(effect) / sd} | more


def table(*results, error_rate="fdr", level=0.05, notes=None):
    pairs = [Pair(f"r{n}", "s", (f"r{n}", "s")) for n in range(len(results))]
    return table_of(pairs, dict(enumerate(results)), notes or dict.fromkeys(range(len(results)), ""), error_rate, level)


@pytest.mark.parametrize(("error_rate", "method"), [("fdr", "fdr_bh"), ("fwer", "holm")])
def test_claims_are_those_of_statsmodels(error_rate, method):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    found = table(*(result(effect) for effect in np.random.default_rng(2).normal(0, 1.2, 40)), error_rate=error_rate)
    expected = multitest.multipletests(2 * (1 - found["probability"]), 0.05, method)[0]
    assert 2 <= expected.sum() <= 30
    np.testing.assert_array_equal(found["claimed"], expected)
    assert found["probability"].is_monotonic_decreasing


def test_pairs_without_a_claim_count_as_tried():
    """Two that fail, one that does not mix and one that is withheld: three fewer would let the last one through."""
    sure = result(1.6, 0.4)
    silent = [
        {"error": "FitError: no"},
        {"error": "FitError: no"},
        result(4.0, rhat=1.3),
        result(4.0, withheld=["No."]),
    ]
    together = table(sure, result(0.92, 0.4), *silent)
    assert together.loc[together["claimed"], "response"].tolist() == ["r0"]
    assert together.set_index("response").loc["r2", "note"] == "failed: FitError: no"
    assert together.set_index("response").loc["r5", "note"] == "No."
    assert rl.sentences(together)[0].startswith("6 pairs were tried")
    assert "2.4 % of the claims were false" in rl.sentences(together)[0]
    assert "s on r5" in rl.sentences(together)[-1]
    alone = table(sure, result(0.92, 0.4))
    assert alone["claimed"].all()
    assert rl.sentences(alone)[1].startswith("s on r0: a positive lagged effect of 1.60 (0.94 to 2.26), mean lag 3.0")


def test_pairs_that_the_spec_refuses_are_not_tried(frame):
    """With nothing to fit there is a table all the same, that says why."""
    found = rl.evaluation.screen(
        SPEC, frame, responses=["dollar"], signals=["x", "y"], random_seed=1, progressbar=False
    )
    assert not found["claimed"].any()
    assert found["note"].str.startswith("not fitted").all()
    assert rl.sentences(found)[0].startswith("0 pairs were tried")


def test_few_draws_of_the_other_sign_are_replaced_by_a_tail():
    assert other_sign(0.97, 1.7, 1000) == pytest.approx(0.03)
    assert other_sign(0.999, 3.0, 1000) == pytest.approx(stats.norm.sf(3.0))
    assert other_sign(0.0, 6.0, 1000) == pytest.approx(stats.norm.sf(6.0))


def test_words_of_a_fit_have_the_names_of_the_pair():
    said = "asset and ore are close to a unit root: take differences of asset (ored, ore)."
    pair = Pair("ore prices", "asset", ("b", "y"))
    expected = "ore prices and asset are close to a unit root: take differences of ore prices (ored, asset)."
    assert _labelled(said, SPEC, pair) == expected


def test_pairs_leave_out_a_series_with_itself():
    assert [one.columns for one in pairs_of({"A": "a", "B": "b"}, {"b": "b", "x": "x"}, None)] == [
        ("a", "b"),
        ("a", "x"),
        ("b", "x"),
    ]
    with pytest.raises(rl.errors.SpecError, match="pair of different columns"):
        list(pairs_of({"a": "a"}, {"a": "a"}, None))


def test_columns_may_be_those_of_a_frame():
    columns = pd.DataFrame(columns=["a", "x"]).columns
    assert [one.columns for one in pairs_of("b", columns, None)] == [("b", "a"), ("b", "x")]


def test_pairs_may_be_given():
    given = [("a", "x"), ("b", "y"), ("a", "x"), ("b", "b")]
    assert [one.columns for one in pairs_of(None, None, given)] == [("a", "x"), ("b", "y")]


@pytest.mark.parametrize(
    "asked", [(["a"], None, None), (None, None, None), (["a"], ["x"], [("a", "x")]), (None, ["x"], [("a", "x")])]
)
def test_pairs_come_from_one_place(asked):
    with pytest.raises(rl.errors.SpecError, match="from responses and signals, or as pairs"):
        list(pairs_of(*asked))


def test_a_pair_has_the_panel_of_its_own_columns(frame):
    template = template_of(SPEC)
    panel = panel_of_pair(template, frame, Pair("b", "y", ("b", "y")), "2018-03-02", None)
    own = small_spec(
        signals=(rl.Signal("ore", "y", kernel=SPEC.signals[0].kernel),),
        **{name: getattr(SPEC, name) for name in ("drivers", "controls", "regimes", "episodes", "max_lag")},
        responses=(rl.Response("asset", "b"),),
    )
    expected = rl.make_panel(own, frame, start="2018-03-02")
    for name in ("response_value", "signal_value", "control_value"):
        np.testing.assert_array_equal(panel[name], expected[name])


def test_what_cannot_be_screened_is_refused_before_any_fit(frame):
    call = {"responses": ["a"], "signals": ["x"], "random_seed": 1, "progressbar": False}
    two = SPEC.changed(signals=tuple(rl.Signal(name, name, kernel=SPEC.signals[0].kernel) for name in ("ore", "x")))
    with pytest.raises(rl.errors.SpecError, match="2 signals"):
        rl.evaluation.screen(two, frame, **call)
    with pytest.raises(rl.errors.PanelError, match=r"\['z'\]"):
        rl.evaluation.screen(SPEC, frame, **(call | {"signals": ["x", "z"]}))
    broken = frame.assign(x=frame["x"].where(frame.index != frame.index[100], -5.0))
    with pytest.raises(rl.errors.PanelError, match="x on a") as caught:
        rl.evaluation.screen(SPEC, broken, **call)
    assert "screened" not in str(caught.value)
    for level in (5, 0.0, "0.05", np.nan):
        with pytest.raises(rl.errors.FitError, match="between 0 and 1"):
            rl.evaluation.screen(SPEC, frame, level=level, **call)
    with pytest.raises(rl.errors.PanelError, match=r"\['zebra'\]"):
        rl.evaluation.screen(SPEC, frame, **(call | {"signals": "zebra"}))
    with pytest.raises(rl.errors.FitError, match="fwer"):
        rl.evaluation.screen(SPEC, frame, error_rate="none", **call)


@pytest.mark.slow
def test_a_response_among_many_is_found_with_one_compiled_model(frame, tmp_path):
    before = len(refits._compiled)
    call = {"sampler": QUICK, "random_seed": 3, "folder": tmp_path / "screen", "progressbar": False}
    call |= {"responses": {"A": "a", "B": "b", "dollars": "dollar"}, "signals": {"X": "x", "Y": "y"}}
    with ThreadPoolExecutor(1) as here:
        found = rl.evaluation.screen(SPEC, frame, executor=here, **call)
    assert len(refits._compiled) == before + 1
    assert found.loc[found["claimed"], ["response", "signal", "sign"]].to_numpy().tolist() == [["B", "Y", "positive"]]
    assert found.loc[0, "effect 5 %"] < 1.2 < found.loc[0, "effect 95 %"]
    # The control of the model is no response of it.
    assert found.loc[found["response"] == "dollars", "note"].str.startswith("not fitted").all()
    assert rl.sentences(found)[0].startswith("4 pairs were tried")
    files = {file: file.read_bytes() for file in (tmp_path / "screen").glob("0*.json")}
    assert len(files) == 4
    with ThreadPoolExecutor(1) as here:
        again = rl.evaluation.screen(SPEC, frame, executor=here, **call)
    pd.testing.assert_frame_equal(found, again)
    assert files == {file: file.read_bytes() for file in files}


def test_the_figure_frames_what_is_claimed():
    ax = rl.plots.plot_screen(table(result(1.6), result(0.2), {"error": "no"}))
    assert [text.get_text() for text in ax.texts] == ["1.60", "0.20"]
    assert len(ax.patches) == 1
    assert [label.get_text() for label in ax.get_xticklabels()] == ["r0", "r1", "r2"]
