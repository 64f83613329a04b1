"""The model in mathematics: its priors are the model's, and every part of a spec is in its equations."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET

import numpy as np
import pymc as pm
import pytest
from builders import BY_ORIGIN, STATE_DRIVERS, bare_spec, garch_spec, hand_panel, moderated_spec, small_spec
from latex2mathml.converter import convert

import regimelag as rl
from regimelag.model.latex import equations, kernel_formula, prior_in_words
from regimelag.spec.kernels import KERNELS, Prior
from regimelag.spec.term import text
from regimelag.spec.terms import kernel_symbol, kernel_words, terms_of

TWO = (rl.Response("asset", "price"), rl.Response("other", "second"))
HALVES = rl.spec.Episodes(starts=(dt.date(2020, 1, 25),), vary=("scale", "effect", "lag"))


def with_kernel(kernel, **changes):
    return small_spec(signals=(rl.Signal("metal", "metal", kernel=kernel),), **changes)


SPECS = {
    "small": small_spec(),
    "bare": bare_spec(),
    "normal": bare_spec(family="normal", signals=(rl.Signal("metal", "metal"),), max_lag=9),
    "three": small_spec(regimes=rl.spec.Regimes(count=3, initial="dirichlet", transitions=BY_ORIGIN)),
    "durations": small_spec(
        regimes=rl.spec.Regimes(initial="stationary", transitions=rl.spec.Markov(expected_duration=(30.0, 8.0)))
    ),
    "two": small_spec(responses=TWO, responses_vary=("effect", "lag"), episodes=HALVES),
    "own": small_spec(responses=TWO, responses_vary=("effect", "regimes")),
    "own past": small_spec(responses=(rl.Response("asset", "price", autoregression=3),)),
    "own past of two": small_spec(responses=tuple(rl.Response(n, n, autoregression=1) for n in ("a", "b"))),
    "same row": with_kernel(rl.kernels.NoLag()),
    "point": with_kernel(rl.kernels.Point(mean_lag=2.0, spread=1.0)),
    "gamma by episode": with_kernel(rl.kernels.Gamma(mean_lag=2.0, mean_lag_sd=1.0), episodes=HALVES),
    "beta by episode": with_kernel(
        rl.kernels.Beta(mean_lag=4.0, mean_lag_sd=1.0, spread=2.0), episodes=HALVES, max_lag=9
    ),
    "lognormal": with_kernel(rl.kernels.LogNormal(mean_lag=2.0)),
    "negative binomial": with_kernel(rl.kernels.NegativeBinomial(mean_lag=2.0, spread=1.5)),
    "dirichlet": with_kernel(rl.kernels.Dirichlet(mean_lag=2.0, spread=1.0, mean_lag_sd=0.5)),
    "smooth": with_kernel(rl.kernels.Smooth(mean_lag=2.0, spread=1.0)),
    "garch": garch_spec(),
    "moderated": moderated_spec(("euro", "easing"), drivers=(*STATE_DRIVERS, rl.Driver("dollar", "dollar"))),
    "moderated alone": moderated_spec(episodes=rl.spec.Episodes(), regimes=rl.spec.Regimes(count=1), controls=()),
    "unrestricted": with_kernel(rl.kernels.Unrestricted(mean_lag=2.0, spread=1.0)),
}


@pytest.fixture(params=SPECS, scope="module")
def model(request):
    spec = SPECS[request.param]
    return spec, hand_panel(spec, 8)


def test_every_kernel_is_tried():
    assert {signal.kernel.kind for spec in SPECS.values() for signal in spec.signals} == set(KERNELS)


@pytest.mark.parametrize("kind", sorted(set(KERNELS) - {"none"}))
def test_every_kernel_of_the_package_says_what_it_is(kind):
    kernel = KERNELS[kind]()
    assert kernel_formula(kernel, 26) == kernel.latex
    for name in kernel.names(26):
        assert "text" not in kernel_symbol(kernel, name, over_lags=False)
        assert "a parameter of the" not in kernel_words(kernel, name)


def log_density(one, value, factor):
    """Log density of a value under a prior as it is told, entry by entry or as a whole."""
    if one.prior.distribution == "LKJ":
        # Of two responses: (r + 1) / 2 is Beta(eta, eta).
        eta = one.prior.parameters["eta"]
        return pm.logp(pm.Beta.dist(eta, eta), (value + 1) / 2).eval(mode="FAST_COMPILE") - np.log(2)
    more = {}
    if one.prior.distribution == "ZeroSumNormal":
        more = {"shape": value.shape, "n_zerosum_axes": 2 if one.name == "driver_origin_raw" else 1}
    # An elasticity times the factor is standardised.
    law = one.prior.scaled(factor if one.prior.unit == "elasticity" else 1.0)
    law = getattr(pm, one.prior.distribution).dist(**law, **more)
    return pm.logp(law, value).eval(mode="FAST_COMPILE")


@pytest.mark.slow
def test_priors_are_those_of_the_model(model):
    spec, panel = model
    built = rl.build_model(spec, panel)
    told = {one.name: one for one in terms_of(spec, panel).parameters()}
    points = {f"{signal.name}_lag_point" for signal in spec.point_signals}
    factor = float(panel["signal_scale"][0] / panel["response_scale"][0]) if spec.signals else 1.0
    assert set(told) - points == {rv.name for rv in built.free_RVs}
    for rv in built.free_RVs:
        value = pm.draw(rv, random_seed=1, mode="FAST_COMPILE")
        expected = pm.logp(rv, value).eval(mode="FAST_COMPILE")
        np.testing.assert_allclose(log_density(told[rv.name], value, factor), expected, atol=1e-10, err_msg=rv.name)


def test_point_masses_are_the_kernels():
    told = {one.name: one for one in terms_of(SPECS["point"], hand_panel(SPECS["point"], 8)).parameters()}
    kernel = SPECS["point"].signals[0].kernel
    np.testing.assert_array_equal(told["metal_lag_point"].prior.parameters["p"], kernel.prior_masses(4))


def test_symbols_are_in_the_equations(model):
    """A parameter's letter appears in an equation, and an equation for each parameter that is there."""
    spec, panel = model
    written = " ".join(line.latex for line in equations(spec, panel))
    for one in terms_of(spec, panel).parameters():
        letter = re.match(r"\\[A-Za-z]+|[A-Za-z]", one.symbol)[0]
        if one.name not in ("degrees_of_freedom_minus_two", "metal_lag_weights", "metal_lag_innovation"):
            assert letter in written, one
    named = [*spec.signals, *spec.controls, *spec.drivers]
    assert all(text(series.name) in written for series in named)
    assert all(rf"q^{{{text(name)}}}_t" in written for name in spec.moderators)
    assert ("softmax" in written) == (spec.regimes.count > 1)
    assert (r"t_\nu" in written) == (spec.family.kind == "student_t")


def test_the_location_has_each_summand_once(model):
    spec, panel = model
    (line,) = (one.latex for one in equations(spec, panel) if one.words.startswith("Its location"))
    summands = line.partition(" = ")[2].split(" + ")
    assert len(summands) == len(set(summands))


def test_equations_become_mathml(model):
    spec, panel = model
    for line in equations(spec, panel):
        assert line.words.endswith(".")
        tree = ET.fromstring(convert(line.latex))
        # What the converter does not know it prints as it is.
        assert "\\" not in "".join(tree.itertext()), line


def test_chains_of_their_own_are_told_apart():
    """Words, and a subscript of the response on the chain; the law of a row is given all regimes at once."""
    lines = equations(SPECS["own"], hand_panel(SPECS["own"], 8))
    assert "one of each response" in lines[0].words
    assert any(line.latex.startswith("P(s_{a,t} = j") for line in lines)
    shared = equations(SPECS["two"], hand_panel(SPECS["two"], 8))
    assert "one of each response" not in shared[0].words
    assert any(line.latex.startswith("P(s_{t} = j") for line in shared)


def test_names_are_safe_inside_mathematics():
    assert text(r"10_y $x$ {a}\b") == r"\text{10\_y \$x\$ \{a\}\textbackslash{}b}"


def test_priors_in_words():
    assert prior_in_words(Prior("Normal", mu=0.0, sigma=0.3)) == "Normal(mu = 0, sigma = 0.3)"
    long = Prior("Dirichlet", a=np.ones(26))
    assert prior_in_words(long) == "Dirichlet(a = 26 values, sum 26, centred at lag 13.5)"
