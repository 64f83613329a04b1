"""Formulas of kernels and families, as reports print them, evaluated against the code that they describe."""

from __future__ import annotations

import numpy as np
import pytest
from latex_numbers import mutants, value

from regimelag.spec.families import FAMILIES
from regimelag.spec.kernels import KERNELS, gamma_weights, lags, random_walk

L = 7
LAG = lags(L)
INNOVATION = np.array([0.4, -1.0, 0.3, 0.8, -0.2, 0.5, -0.7])
# Values of the parameters of each kernel that has a formula of numbers.
KERNEL_VALUES = {
    "gamma": {"location": 3.1, "spread": 1.7},
    "lognormal": {"location": 3.1, "spread": 1.7},
    "negative_binomial": {"excess_location": 2.2, "excess_spread": 1.3},
    "beta": {"fraction": 0.37, "concentration": 4.2},
    "smooth": {"roughness": 0.6, "innovation": INNOVATION},
    "unrestricted": {"roughness": 0.6, "innovation": INNOVATION},
}
# Of these the formula is that there is none: no lag, one lag, the weights themselves.
WITHOUT = {"none", "point", "dirichlet"}
FAMILY_VALUES = {"normal": {}, "student_t": {"degrees_of_freedom_minus_two": 2.6}}
Z = np.array([-2.5, -0.4, 0.0, 0.7, 3.0])


def symbols_of(kernel):
    found = {}
    for cls in reversed(type(kernel).__mro__):
        found |= vars(cls).get("symbols", {})
    return found


def printed_weights(kernel, values, latex):
    """Weights by the formula; p_l and r_l are the hump and the walk that the page describes in words."""
    given = {symbol: values[name] for name, symbol in symbols_of(kernel).items() if name in values}
    hump = gamma_weights(np.float64(kernel.mean_lag), np.float64(kernel.spread), L, np)
    walk = random_walk(INNOVATION, np)
    raw = value(latex, **given, l=LAG, L=float(L), p_l=hump, r_l=walk)
    return raw / raw.sum()


def test_every_kernel_and_family_is_here():
    assert set(KERNEL_VALUES) | WITHOUT == set(KERNELS)
    assert set(FAMILY_VALUES) == set(FAMILIES)


@pytest.mark.parametrize("kind", KERNEL_VALUES)
def test_kernels(kind):
    kernel, values = KERNELS[kind](), KERNEL_VALUES[kind]
    code = kernel.weights({name: np.asarray(one) for name, one in values.items()}, L)
    np.testing.assert_allclose(printed_weights(kernel, values, kernel.latex), code, rtol=1e-10)


def test_signed_departures():
    kernel, values = KERNELS["unrestricted"](), KERNEL_VALUES["unrestricted"]
    code = kernel.signed_deviation({name: np.asarray(one) for name, one in values.items()}, L)
    (formula,) = (part for part in kernel.latex.split(r", \quad ") if part.startswith("d_l"))
    given = {r"\rho": values["roughness"], "r_l": random_walk(INNOVATION, np)}
    np.testing.assert_allclose(value(formula, **given), code, rtol=1e-12)


@pytest.mark.parametrize("kind", FAMILY_VALUES)
def test_families(kind):
    family, values = FAMILIES[kind](), FAMILY_VALUES[kind]
    nu = {r"\nu": values["degrees_of_freedom_minus_two"] + 2.0} if values else {}
    code = np.exp(family.log_density(Z, values))
    np.testing.assert_allclose(value(family.latex, **nu, z=Z), code, rtol=1e-12)


def survivors(latex, evaluate, code):
    """Mutants of a formula whose numbers are those of the code."""
    found = []
    for mutant in mutants(latex):
        with np.errstate(all="ignore"):
            if np.allclose(evaluate(mutant), code, rtol=1e-6, atol=0):
                found.append(mutant)
    return found


@pytest.mark.parametrize("kind", KERNEL_VALUES)
def test_a_wrong_sign_or_number_in_a_kernels_formula_is_found(kind):
    kernel, values = KERNELS[kind](), KERNEL_VALUES[kind]
    code = kernel.weights({name: np.asarray(one) for name, one in values.items()}, L)
    left = survivors(kernel.latex, lambda latex: printed_weights(kernel, values, latex), code)
    # A factor that all lags share is lost when weights are made to sum to one.
    shared = {
        "lognormal": [(r"\frac{1}{l}", r"\frac{2}{l}")],
        "negative_binomial": [("{l - 1}", "{l + 1}"), ("{l - 1}", "{l - 2}")],
    }
    assert left == [kernel.latex.replace(*pair) for pair in shared.get(kind, [])]


@pytest.mark.parametrize("kind", FAMILY_VALUES)
def test_a_wrong_sign_or_number_in_a_familys_formula_is_found(kind):
    family, values = FAMILIES[kind](), FAMILY_VALUES[kind]
    nu = {r"\nu": values["degrees_of_freedom_minus_two"] + 2.0} if values else {}
    code = np.exp(family.log_density(Z, values))
    assert not survivors(family.latex, lambda latex: value(latex, **nu, z=Z), code)
