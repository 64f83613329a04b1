"""Inside the `with` block of a PyMC model everything does what it does outside, and leaves that model alone."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, prior_draws

import regimelag as rl
from regimelag.evaluation.calibration.sbc import Study, one_simulation
from regimelag.model.build import build_model

SPEC = bare_spec(family="normal", controls=(rl.Control("dollar", "dollar"),))
PANEL = hand_panel(SPEC, 40)
COUNTS = {"draws": 20, "tune": 20, "chains": 1, "cores": 1, "starts": 2, "random_seed": 3, "progressbar": False}


def foreign() -> pm.Model:
    """A model whose names are those of a model of ours."""
    with pm.Model(coords={"response": ["other"], "episode": ["a", "b", "c"]}) as model:
        pm.Normal("intercept")
        pm.Data("response_value", [1.0])
    return model


MODELS = {"the same": lambda: [rl.build_model(SPEC, PANEL)], "another": lambda: [foreign()]}
MODELS["one in another"] = lambda: [foreign(), rl.build_model(SPEC, PANEL)]


@contextmanager
def inside(models):
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(model)
        yield


def samples() -> xr.DataTree:
    return xr.DataTree.from_dict({"/posterior": prior_draws(SPEC, PANEL, 5)})


CALLS = {
    "build_model": lambda: rl.build_model(SPEC, PANEL).initial_point(),
    "simulate": lambda: rl.simulate(SPEC, PANEL, random_seed=1),
    "as_fit": lambda: rl.as_fit(samples(), SPEC, PANEL, prior_draws=5, random_seed=1),
    "as_fit of a model": lambda: rl.as_fit(
        samples(), SPEC, PANEL, model=rl.build_model(SPEC, PANEL), prior_draws=5, random_seed=1
    ),
    "sample": lambda: rl.sample(rl.build_model(SPEC, PANEL), **COUNTS),
    "sample by pymc": lambda: rl.sample(rl.build_model(SPEC, PANEL), **COUNTS, nuts_sampler="pymc"),
    "fit": lambda: rl.fit(SPEC, PANEL, **COUNTS, prior_draws=5),
    "one simulation of sbc": lambda: one_simulation(
        Study(SPEC, PANEL, "hash", build_model, 1, rl.Sampler(draws=20, tune=20, chains=1, cores=1, starts=2), 9), 0
    ),
}


def plain(result) -> dict[str, np.ndarray]:
    """Every number of a result, by name."""
    if isinstance(result, xr.DataTree):
        groups = [name for name in result.children if name != "sample_stats"]
        return {f"{name}/{key}": value for name in groups for key, value in plain(result[name].to_dataset()).items()}
    if isinstance(result, xr.Dataset):
        return {str(name): value.to_numpy() for name, value in result.items() if value.dtype.kind in "fi"}
    found = result if "rank" not in result else result["rank"]["data_vars"]
    return {name: np.asarray(one["data"] if isinstance(one, dict) else one) for name, one in found.items()}


@pytest.fixture(scope="module")
def outside():
    return {name: plain(call()) for name, call in CALLS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("models", MODELS)
def test_results_are_those_of_outside(models, outside):
    made = MODELS[models]()
    before = [(list(model.named_vars), dict(model.coords)) for model in made]
    for name, call in CALLS.items():
        with inside(made):
            found = plain(call())
        assert set(found) == set(outside[name]) != set(), name
        for key, values in found.items():
            np.testing.assert_array_equal(values, outside[name][key], err_msg=f"{name}, {key}")
    assert [(list(model.named_vars), dict(model.coords)) for model in made] == before


def test_a_model_of_ours_is_no_part_of_the_one_around_it():
    with foreign() as around, rl.build_model(SPEC, PANEL) as model:
        pm.Normal("mine")
    assert model.isroot
    assert "mine" in model.named_vars
    assert "mine" not in around.named_vars
