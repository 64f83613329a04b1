"""Samplers that need JAX draw from the same posterior as nutpie with numba."""

from __future__ import annotations

import importlib.util

import arviz as az
import numpy as np
import pytest

import regimelag as rl
from regimelag.sampling import sampler_kwargs

pytest.importorskip("jax")

LONG = {"draws": 500, "tune": 500, "chains": 4, "starts": 4, "prior_draws": 50, "random_seed": 1, "progressbar": False}


@pytest.fixture(scope="module")
def by_numba(tiny):
    spec, panel, _ = tiny
    return rl.fit(spec, panel, **LONG)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "options"),
    [
        ("numpyro", {}),
        ("numpyro", {"chain_method": "vectorized", "max_tree_depth": 9}),
        ("blackjax", {}),
        ("nutpie", {"backend": "jax"}),
    ],
)
def test_the_posterior_is_that_of_numba(tiny, by_numba, library, options):
    spec, panel, _ = tiny
    fit = rl.fit(spec, panel, nuts_sampler=library, **options, **LONG)
    assert fit.attrs["nuts_sampler"] == library
    one, other = (az.summary(each, kind="all", round_to="none") for each in (fit, by_numba))
    assert list(one.index) == list(other.index)
    distance = (one["mean"] - other["mean"]) / np.hypot(one["mcse_mean"], other["mcse_mean"])
    # Five standard errors: about one in ten thousand for all parameters together.
    assert distance.abs().max() < 5


def test_a_library_that_is_not_there_is_named(monkeypatch, tiny):
    spec, panel, _ = tiny
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "blackjax" else found(name))
    with pytest.raises(rl.errors.FitError, match="blackjax not installed") as caught:
        rl.fit(spec, panel, nuts_sampler="blackjax")
    assert '"blackjax<1.6,>=1.2"' in caught.value.cure


def test_a_version_that_pymc_cannot_call_is_refused(monkeypatch, tiny):
    spec, panel, _ = tiny
    monkeypatch.setattr(sampler_kwargs, "version", lambda name: "1.7.1")
    with pytest.raises(rl.errors.FitError, match=r"blackjax 1\.7\.1") as caught:
        rl.fit(spec, panel, nuts_sampler="blackjax")
    assert '"blackjax<1.6,>=1.2"' in caught.value.cure
