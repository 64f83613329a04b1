"""The number of regimes and processes: the candidates, the verdict on made-up scores, and a study of a small panel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from builders import hand_panel, moderated_spec, replaced, small_spec

import regimelag as rl
from regimelag.evaluation.comparison import regime_numbers
from regimelag.evaluation.comparison.regime_numbers import Candidate, candidates, table_of

NAMES = ["1 regime", "2 regimes", "2 processes", "3 regimes", "4 regimes"]
SPECS = [Candidate(name, spec.spec) for name, spec in zip(NAMES, candidates(small_spec()), strict=True)]


def scored(shift, *, rhat=1.0, rows=200, seed=0, k=0.1):
    """A result whose densities exceed those of the seed by `shift` nats in all, with a little noise."""
    terms = np.random.default_rng(0).normal(size=rows) + shift / rows
    terms = terms + 0.01 * np.random.default_rng(seed).normal(size=rows)
    days = [f"day {n}" for n in range(rows)]
    return {"elpd_i": terms.tolist(), "time": days, "pareto_k": [k] * rows, "good_k": 0.7, "p": 3.0, "rhat": rhat} | {
        "divergent": 0
    }


def test_candidates_share_all_but_regimes_and_drivers():
    spec = small_spec(regimes=rl.spec.Regimes(count=2, names=("low", "high"), initial="dirichlet"))
    found = {one.name: one.spec for one in candidates(spec)}
    assert list(found) == NAMES
    assert found["2 regimes"] == spec
    assert found["1 regime"].drivers == ()
    assert [found[name].regimes.count for name in ("1 regime", "3 regimes", "4 regimes")] == [1, 3, 4]
    assert found["3 regimes"].regimes.initial == "dirichlet"
    volatility, coupling = found["2 processes"].regime_processes
    assert (volatility.carries, coupling.carries) == (("scale", "intercept"), ("effect",))
    assert (coupling.order_by.quantity, coupling.drivers, volatility.drivers) == ("effect", ("yield",), ())
    for other in found.values():
        assert (other.signals, other.controls, other.episodes) == (spec.signals, spec.controls, spec.episodes)
    # Declared processes are kept, and drivers of moderators are needed without regimes.
    declared = found["2 processes"]
    assert {one.name: one.spec for one in candidates(declared)}["2 processes"] == declared
    moderated = {one.name: one.spec for one in candidates(moderated_spec())}
    assert [driver.name for driver in moderated["1 regime"].drivers] == ["yield", "euro"]


def test_what_cannot_be_made_says_why():
    found = {one.name: one for one in candidates(small_spec(signals=()))}
    assert found["2 processes"].spec is None
    assert "a signal with a lag kernel" in found["2 processes"].note
    per_regime = small_spec(regimes=rl.spec.Regimes(transitions=rl.spec.Markov(expected_duration=(5.0, 30.0))))
    notes = {one.name: one.note for one in candidates(per_regime)}
    assert "one for each of the 3 regimes" in notes["3 regimes"]
    assert notes["2 regimes"] == ""


def test_one_that_is_best_is_said_to_be():
    shifts = dict(zip(NAMES, (0, 40, 20, 10, 5), strict=True))
    table = table_of(SPECS, {name: scored(shift, seed=n) for n, (name, shift) in enumerate(shifts.items())})
    assert list(table.index) == NAMES
    assert list(table["regimes"]) == ["1", "2", "2 x 2", "3", "4"]
    assert list(table["reading"]) == ["worse", "best", "worse", "worse", "worse"]
    np.testing.assert_allclose(table["difference"], [-40, 0, -20, -30, -35], atol=1.0)
    (said,) = table.attrs["verdict"]
    assert said.startswith(
        "The model with 2 regimes predicts better than the models with 1 regime, 2 processes, 3 regimes and 4 regimes: "
    )
    assert "-39.8 nats" in said


def test_what_the_data_do_not_distinguish_is_said_with_the_smallest():
    shifts = dict(zip(NAMES, (0, 40, 20, 42, 41), strict=True))
    table = table_of(SPECS, {name: scored(shift, seed=n) for n, (name, shift) in enumerate(shifts.items())})
    assert list(table["reading"]) == ["worse", "inconclusive", "worse", "best", "inconclusive"]
    first, second = table.attrs["verdict"]
    assert first.startswith(
        "The data do not distinguish the models with 2 regimes and 4 regimes from the one with 3 regimes, which has "
    )
    assert first.endswith("The smallest of these models has 2 regimes.")
    assert second.startswith("The model with 3 regimes predicts better than the models with 1 regime and 2 processes: ")


def test_faults_failures_and_rows_that_one_lacks():
    results = {name: scored(shift, seed=n) for n, (name, shift) in enumerate(zip(NAMES, (0, 0, 0, 90), strict=False))}
    results["2 regimes"]["rhat"] = 1.4
    results["1 regime"]["pareto_k"][:3] = [0.9, float("nan"), 0.8]
    results["4 regimes"] = {"error": "ValueError: no start"}
    for key in ("elpd_i", "time", "pareto_k"):
        results["2 processes"][key] = results["2 processes"][key][50:]
    table = table_of(SPECS, results)
    assert list(table["reading"].fillna("")) == ["worse", "inconclusive", "worse", "best", ""]
    assert table.loc["1 regime", "high k"] == 0
    assert table.loc["4 regimes", "note"] == "failed: ValueError: no start"
    whole = np.sum(results["1 regime"]["elpd_i"][50:])
    assert table.loc["1 regime", "elpd"] == pytest.approx(whole)
    said = " ".join(table.attrs["verdict"])
    assert "R-hat is above 1.05 (2 regimes 1.40)" in said
    assert "No score: 4 regimes" in said
    alone = table_of(SPECS, {"1 regime": scored(0)} | {name: {"error": "no"} for name in NAMES[1:]})
    assert alone.attrs["verdict"][0].startswith("Nothing is compared")
    assert table_of(SPECS, {name: {"error": "no"} for name in NAMES}).attrs["best"] == ""


def test_a_call_goes_on_from_its_folder(monkeypatch, tmp_path):
    spec = small_spec()
    panel, done = hand_panel(spec, 30), []

    def one(*given):
        number = given[-1]
        done.append(number)
        if number == 4 and len(done) <= 5:
            raise ValueError("no start")
        return scored(10 * (number == 1), seed=number)

    monkeypatch.setattr(regime_numbers, "_one_score", one)
    options = {"folder": tmp_path, "random_seed": 3, "progressbar": False}
    with ThreadPoolExecutor(1) as pool:
        first = rl.evaluation.compare_regimes(spec, panel, executor=pool, **options)
        second = rl.evaluation.compare_regimes(spec, panel, executor=pool, **options)
    assert done == [0, 1, 2, 3, 4, 4]
    assert first.loc["4 regimes", "note"] == "failed: ValueError: no start"
    assert list(second["note"]) == [""] * 5
    assert second.attrs["method"] == "leave-one-out"
    assert rl.sentences(second) == [*second.attrs["verdict"], second.attrs["condition"]]
    with pytest.raises(rl.errors.FitError, match="constant"):
        rl.evaluation.compare_regimes(
            small_spec(drivers=(), regimes=rl.spec.Regimes(count=1), volatility="garch"),
            hand_panel(small_spec(drivers=()), 30),
        )


SAMPLER = rl.Sampler(draws=60, tune=100, chains=2, starts=2)


@pytest.mark.long
@pytest.mark.slow
def test_every_candidate_of_a_small_panel_has_a_score(tmp_path):
    spec = small_spec()
    panel = hand_panel(spec, 60, missing=[3])
    options = {"sampler": SAMPLER, "folder": tmp_path, "random_seed": 1, "progressbar": False}
    table = rl.evaluation.compare_regimes(spec, panel, **options)
    assert list(table["note"]) == [""] * 5
    assert table[["elpd", "parameters", "R-hat"]].notna().all(axis=None)
    assert table.attrs["method"] == "leave-one-out"
    # White noise, with fewer rows than a claim needs.
    assert sorted(table["reading"]) == ["best", *["inconclusive"] * 4]


@pytest.mark.slow
def test_with_own_lags_the_future_is_left_out(monkeypatch):
    spec = small_spec()
    spec = replaced(spec, responses=(replaced(spec.responses[0], autoregression=1),))
    monkeypatch.setattr(regime_numbers, "candidates", lambda spec: list(candidates(spec))[:2])
    with ThreadPoolExecutor(1) as pool:
        table = rl.evaluation.compare_regimes(
            spec, hand_panel(spec, 60), sampler=SAMPLER, random_seed=1, progressbar=False, executor=pool
        )
    assert table.attrs["method"] == "leave-future-out"
    assert "autoregression = 1" in table.attrs["condition"]
    assert table["elpd"].notna().all()
    assert table["parameters"].isna().all()
