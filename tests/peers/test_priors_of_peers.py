"""Priors of pymc_extras and PreliZ say the same as those of the package."""

import matplotlib.style
import pymc_extras.prior
import pytest
from builders import small_spec

import regimelag as rl
from regimelag.spec.toml import spec_from_toml, spec_to_toml

# PreliZ 0.26, the newest that pymc-extras allows beside PyMC 6.4, looks there for what matplotlib has since moved up.
matplotlib.style.core = matplotlib.style
import preliz  # noqa: E402

Extra = pymc_extras.prior.Prior
ALIKE = {
    "t": (
        rl.Prior("StudentT", nu=3, mu=0, sigma=0.5),
        Extra("StudentT", nu=3, mu=0, sigma=0.5),
        preliz.StudentT(3, 0, 0.5),
    ),
    "gamma": (rl.Prior("Gamma", mu=2, sigma=1), Extra("Gamma", mu=2, sigma=1), preliz.Gamma(mu=2, sigma=1)),
    "half": (rl.Prior("HalfNormal", sigma=0.2), Extra("HalfNormal", sigma=0.2), preliz.HalfNormal(0.2)),
    "uniform": (rl.Prior("Uniform", lower=0, upper=2), Extra("Uniform", lower=0, upper=2), preliz.Uniform(0, 2)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_priors_of_other_packages_are_read(name):
    own, *others = ALIKE[name]
    assert [rl.Prior.of(other) for other in others] == [own, own]


def test_a_spec_takes_them_and_a_file_holds_them():
    cauchy = Extra("Cauchy", alpha=0, beta=1, dims=("response", "regime"))
    spec = small_spec(priors={"effect": preliz.Normal(0.1, 0.4), "intercept": cauchy})
    assert spec.priors["effect"] == rl.Prior("Normal", mu=0.1, sigma=0.4)
    assert spec_from_toml(spec_to_toml(spec)) == spec


@pytest.mark.parametrize("prior", [Extra("Normal", mu=Extra("Normal"), sigma=1.0), preliz.Normal()])
def test_layers_and_free_parameters_are_refused(prior):
    with pytest.raises(rl.errors.SpecError):
        rl.Prior.of(prior)
