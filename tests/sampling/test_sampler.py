"""One object of settings: checked when made, the same wherever it goes, and no second way beside it in one call."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
from builders import hand_panel, small_spec

import regimelag as rl
from regimelag.sampling import fit as module
from regimelag.sampling import sampler as module_of_settings

SPEC = small_spec()
QUICK = rl.Sampler(draws=20, tune=30, chains=2, cores=1, starts=2, options={"maxdepth": 4})


def test_settings_are_plain_values_of_python():
    made = rl.Sampler(draws=np.int64(20), target_accept=np.float64(0.9), cores=np.int64(2))
    assert made == rl.Sampler(draws=20, target_accept=0.9, cores=2)
    assert [type(getattr(made, name)) for name in ("draws", "target_accept", "cores")] == [int, float, int]
    assert pickle.loads(pickle.dumps(QUICK)) == QUICK
    assert hash(pickle.loads(pickle.dumps(QUICK))) == hash(QUICK)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.draws = 10


def test_options_given_later_do_not_change_settings_made_before():
    options = {"maxdepth": 4}
    made = rl.Sampler(options=options)
    options["maxdepth"] = 5
    assert made.options == {"maxdepth": 4}


def test_settings_that_draws_depend_on_are_what_json_holds():
    plain = QUICK.plain
    assert plain == json.loads(json.dumps(plain))
    assert "cores" not in plain
    assert plain["options"] == {"maxdepth": 4}
    assert rl.Sampler(options={"init_mean": object()}).plain["options"]["init_mean"].startswith("<object")


@pytest.mark.parametrize("given", [{"draws": 1000}, {"chains": 4}, {"maxdepth": 5}, {"draws": 10, "maxdepth": 5}])
def test_settings_come_in_one_way(given, monkeypatch):
    """The default of a keyword beside a Sampler is refused too: it says something else than the Sampler."""
    monkeypatch.setattr(module, "build_model", None)
    with pytest.raises(rl.errors.FitError, match=r"^fit\n") as caught:
        rl.fit(SPEC, None, sampler=QUICK, **given)
    assert all(f"{name}=..." in caught.value.cure for name in given)


@pytest.mark.parametrize("sampler", [{"draws": 10}, "nutpie", rl.Sampler])
def test_what_is_no_sampler_is_refused(sampler):
    panel = hand_panel(SPEC, 60)
    calls = {
        "fit": lambda: rl.fit(SPEC, panel, sampler=sampler),
        "sample": lambda: rl.sample(None, sampler=sampler),
        "robustness": lambda: rl.robustness(SPEC, panel, sampler=sampler),
        "sbc": lambda: rl.evaluation.sbc(SPEC, panel, sampler=sampler),
    }
    for asked, call in calls.items():
        with pytest.raises(rl.errors.FitError, match=f"^{asked}\n") as caught:
            call()
        assert "sampler=regimelag.Sampler(" in caught.value.cure


def test_keywords_are_the_settings_of_a_sampler(monkeypatch):
    """All of them, each under its own name."""
    found = []
    monkeypatch.setattr(module, "_sampled", lambda model, settings, seed, **given: found.append(settings))
    monkeypatch.setattr(module, "build_model", lambda spec, panel: None)
    monkeypatch.setattr(module, "as_fit", lambda *args, **given: None)
    other = {"draws": 7, "tune": 8, "chains": 3, "cores": 2, "target_accept": 0.7, "starts": 5, "nuts_sampler": "pymc"}
    rl.fit(SPEC, None, **other, max_treedepth=5)
    rl.fit(SPEC, None)
    rl.fit(SPEC, None, sampler=QUICK)
    assert found == [rl.Sampler(**other, options={"max_treedepth": 5}), rl.Sampler(), QUICK]
    assert set(other) == {one.name for one in dataclasses.fields(rl.Sampler)} - {"options"}


@pytest.mark.slow
def test_a_sampler_and_keywords_give_the_same_draws():
    spec = small_spec(
        signals=(), drivers=(), controls=(), episodes=rl.spec.Episodes(), regimes=rl.spec.Regimes(count=1)
    )
    panel = hand_panel(spec, 40)
    one = rl.fit(spec, panel, sampler=QUICK, random_seed=3, prior_draws=5, progressbar=False)
    keywords = {name: getattr(QUICK, name) for name in ("draws", "tune", "chains", "cores", "starts")}
    other = rl.fit(spec, panel, **keywords, maxdepth=4, random_seed=3, prior_draws=5, progressbar=False)
    assert one["posterior"].to_dataset().identical(other["posterior"].to_dataset())
    settings = {"draws", "tune", "chains", "target_accept", "starts", "nuts_sampler"}
    assert {name: one.attrs[name] for name in settings} == {name: QUICK.plain[name] for name in settings}
    assert json.loads(one.attrs["sampler_options"]) == {"maxdepth": 4}


def test_refits_have_two_chains():
    """One chain has no R-hat, so that a refit that did not mix would pass."""
    for asked in ("backtest", "robustness", "screen"):
        with pytest.raises(rl.errors.FitError, match="two chains at least"):
            module_of_settings.sampler_of_refits(asked, rl.Sampler(chains=1))
    with pytest.raises(rl.errors.FitError, match="write chains=2"):
        rl.robustness(SPEC, hand_panel(SPEC, 80), sampler=rl.Sampler(chains=1), random_seed=1)
