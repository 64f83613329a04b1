"""Labels of unordered regimes: planted permutations are undone, and overlap is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from builders import hand_panel, prior_fit, replaced, small_spec

import regimelag as rl
from regimelag.sampling.relabel import exchangeable, labels_of, permuted


def noisy(path, regimes, draws, noise, seed=0):
    """Probabilities (draw, time, regime) around a path, each draw with noise of its own."""
    rng = np.random.default_rng(seed)
    logits = np.eye(regimes)[path] * 4.0 + noise * rng.normal(size=(draws, len(path), regimes))
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("regimes", [2, 3, 4])
def test_planted_permutations_are_undone(regimes):
    rng = np.random.default_rng(1)
    shares = np.arange(regimes, 0, -1) / np.arange(regimes + 1).sum()
    path = rng.choice(regimes, size=120, p=shares)
    path[:regimes] = range(regimes)
    true = noisy(path, regimes, 60, 1.0)
    planted = np.array([rng.permutation(regimes) for _ in range(60)])
    mixed = np.take_along_axis(true, planted[:, None, :], axis=-1)
    labels = labels_of(mixed)
    found = np.take_along_axis(mixed, labels.order[:, None, :], axis=-1)
    # Numbered by their share of the periods.
    order = np.argsort(-true.mean(axis=(0, 1)))
    np.testing.assert_array_equal(found, true[..., order])
    np.testing.assert_allclose(labels.mean, found.mean(axis=0))
    assert not labels.ambiguous.any()
    assert 0 < labels.switched < 1
    assert labels_of(found).switched == 0


def test_regimes_that_overlap_are_ambiguous():
    even = 0.5 + 0.001 * np.random.default_rng(0).normal(size=(40, 50, 1))
    assert labels_of(np.concatenate([even, 1 - even], axis=-1)).ambiguous.all()
    # Half of the draws know the path.
    path = np.arange(50) % 2
    clear = noisy(path, 2, 40, 0.1)
    both = np.concatenate([clear, np.concatenate([even, 1 - even], axis=-1)])
    assert labels_of(both).ambiguous.mean() == pytest.approx(0.5)


UNORDERED = rl.spec.RegimeProcess(
    "style",
    count=3,
    order_by="none",
    initial="dirichlet",
    drivers=("yield",),
    transitions=rl.spec.Markov(expected_duration=5.0, by_origin=True),
)


def test_labels_with_a_meaning_are_left():
    def held(**changes):
        return [one.spec.name for one in exchangeable(small_spec(regime_processes=(replaced(UNORDERED, **changes),)))]

    assert held() == ["style"]
    assert held(order_by="scale") == []
    assert held(forbidden=(("regime 1", "regime 2"),)) == []
    assert held(transitions=rl.spec.Markov(expected_duration=(5.0, 9.0, 5.0))) == []
    named = rl.Prior("Normal", mu=0.0, sigma=0.3, by_regime={"regime 1": rl.Prior("Normal", mu=1.0, sigma=0.1)})
    spec = small_spec(regime_processes=(UNORDERED,), priors={"intercept": named})
    assert list(exchangeable(spec)) == []
    assert list(exchangeable(small_spec())) == []


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
def test_permuted_draws_and_modes_of_a_fit_are_relabelled(several):
    """The same fit from draws whose labels were permuted, one by one: nothing that is read differs."""
    volatility = rl.spec.RegimeProcess("volatility", carries=("scale",))
    style = replaced(UNORDERED, carries=("effect", "intercept")) if several else UNORDERED
    spec = small_spec(regime_processes=(volatility, style) if several else (style,))
    panel, prefix = hand_panel(spec, 40), "style_" if several else ""
    fit = prior_fit(spec, panel, 6)
    posterior = fit["posterior"].to_dataset()
    rng = np.random.default_rng(3)
    rows = [
        xr.concat(
            [permuted(posterior.isel(chain=[c], draw=[d]), rng.permutation(3).tolist(), prefix) for d in range(6)],
            "draw",
            data_vars="minimal",
        )
        for c in range(2)
    ]
    mixed = xr.concat(rows, "chain", data_vars="minimal")
    assert not mixed.equals(posterior)
    first = posterior.isel(chain=0, draw=2, drop=True)
    for name in first.data_vars:
        first[name].attrs["role"] = "free"
    modes = xr.concat(
        [permuted(first, order, prefix) for order in ([1, 2, 0], [0, 1, 2], [2, 1, 0])], "mode", data_vars="all"
    )
    far = first.copy(deep=True)
    far["effect"] = far["effect"] + 100.0
    modes = xr.concat([modes, far], "mode", data_vars="all", combine_attrs="override")
    modes["weight"] = ("mode", np.array([0.3, 0.25, 0.25, 0.2]))
    modes["log_posterior"] = ("mode", np.array([-10.0, -10.0, -10.0, -10.0]))
    modes["starts"] = ("mode", np.array([3, 2, 1, 1]))
    tree = xr.DataTree.from_dict({"/posterior": mixed, "/modes": modes})
    again = rl.as_fit(tree, spec, panel, prior_draws=20, random_seed=0)
    xr.testing.assert_allclose(again["posterior"].to_dataset(), posterior, rtol=1e-12)
    xr.testing.assert_allclose(again["one_step_ahead"].to_dataset(), fit["one_step_ahead"].to_dataset())
    told = json.loads(again.attrs["relabelled"])["style"]
    assert told["switched"] > 0
    assert "Regimes of style are not ordered: draws were relabelled" in rl.diagnostics(again)[0]
    found = again["modes"].to_dataset()
    np.testing.assert_allclose(found["weight"], [0.8, 0.2])
    np.testing.assert_array_equal(found["starts"], [6, 1])
    # A permutation that a catalogue still holds is said to be one, of the process that it is of.
    spread = first.copy(deep=True)
    spread[f"{prefix}stay_log_odds"].values[:] = [-9.0, 0.0, 9.0]
    swapped = permuted(spread, [1, 0, 2], prefix)
    modes = xr.concat([spread, swapped], "mode", data_vars="all", combine_attrs="override")
    for name in ("weight", "log_posterior", "starts"):
        modes[name] = ("mode", np.array([0.6, 0.4]))
    again["modes"] = xr.DataTree(modes)
    assert rl.modes(again)["kind"][1] == "labels (regime 1 as regime 2, regime 2 as regime 1)"


def test_ambiguous_labels_are_a_fault(tiny):
    fit = tiny[2].copy()
    before = rl.diagnostics(fit)
    for share, faults in ((0.01, 0), (0.3, 1)):
        fit.attrs["relabelled"] = json.dumps({"style": {"switched": 0.5, "ambiguous": share}})
        said = rl.diagnostics(fit)
        assert len(said) == len(before) + faults
        assert f"draws were relabelled, and {100 * share:.1f} % are ambiguous." in said[0]
    assert "ambiguous in 30 % of the draws" in " ".join(said)
