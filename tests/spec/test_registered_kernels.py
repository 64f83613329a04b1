"""Kernels defined outside the package: registered, they are in equations, tables of priors, readings and reports."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
from builders import hand_panel, prior_fit, replaced, small_spec
from latex2mathml.converter import convert
from test_docs import blocks

import regimelag as rl
from regimelag.model.latex import equations, prior_in_words
from regimelag.spec.kernels import KERNELS, Kernel, LagKernel, LocationScaleKernel, Prior, lags, log_normal, softmax
from regimelag.spec.terms import terms_of
from regimelag.spec.toml import spec_from_toml, spec_to_toml

PAGE = Path(__file__).parents[2] / "docs" / "new_kernel.md"


@dataclass(frozen=True)
class Bare(Kernel):
    """From the base class alone, two parameters with names of its own; it says nothing of itself."""

    kind: ClassVar[str] = "bare_two"

    half_life: float = 2.0

    def priors(self, max_lag):
        return {"half_life": log_normal(self.half_life, 1.0), "bend_2": Prior("Normal", mu=0.0, sigma=0.1)}

    def weights(self, parameters, max_lag, xp=np):
        bend, lag = parameters["bend_2"][..., None], lags(max_lag)
        return softmax(-lag / parameters["half_life"][..., None] + bend * lag, xp)


@dataclass(frozen=True)
class Loaded(LagKernel):
    """A parameter over lags and another; a prior whose values sum to zero."""

    kind: ClassVar[str] = "loaded"

    def priors(self, max_lag):
        tilt = np.linspace(-1.0, 1.0, max_lag)
        return {
            "loading": Prior("Normal", mu=tilt, sigma=0.5, dims=("lag",)),
            "probability_of_none": Prior("Beta", alpha=1.0, beta=1.0),
        }

    def weights(self, parameters, max_lag, xp=np):
        return softmax((1 - parameters["probability_of_none"])[..., None] * parameters["loading"], xp)


@dataclass(frozen=True)
class Shifted(LocationScaleKernel):
    """A base class with a location, whose formula is not its own, and a third parameter."""

    kind: ClassVar[str] = "shifted"
    located: ClassVar[str] = "location"
    symbols: ClassVar[Mapping[str, str]] = {"tail": r"\theta"}
    words: ClassVar[Mapping[str, str]] = {"tail": "how heavy the tail is"}

    def priors(self, max_lag):
        return super().priors(max_lag) | {"tail": Prior("HalfNormal", sigma=0.5)}

    def weights(self, parameters, max_lag, xp=np):
        lag = lags(max_lag)
        scaled = (lag - parameters["location"][..., None]) / parameters["spread"][..., None]
        return softmax(-(scaled**2) / (1 + parameters["tail"][..., None] * scaled**2), xp)


@dataclass(frozen=True)
class Wavy(rl.kernels.Gamma):
    """The gamma's weights and signed departures of its own, with all that a report wants."""

    kind: ClassVar[str] = "wavy"
    latex: ClassVar[str] = r"w_l \propto g_l, \quad d_l = a \cos(l)"
    symbols: ClassVar[Mapping[str, str]] = {"amplitude": "a"}
    words: ClassVar[Mapping[str, str]] = {"amplitude": "height of the wave"}

    def priors(self, max_lag):
        return super().priors(max_lag) | {"amplitude": Prior("Normal", mu=0.0, sigma=0.2)}

    def signed_deviation(self, parameters, max_lag, xp=np):
        wave = np.cos(lags(max_lag))
        return parameters["amplitude"][..., None] * (wave - wave.mean())


OUTSIDE = (Bare, Loaded, Shifted, Wavy)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    for cls in OUTSIDE:
        monkeypatch.setitem(KERNELS, cls.kind, cls)


def with_kernels(*kernels, **changes):
    signals = tuple(rl.Signal(f"metal {n}", f"metal_{n}", kernel=kernel) for n, kernel in enumerate(kernels))
    return small_spec(signals=signals, **changes)


def all_of_them(**changes):
    return with_kernels(Bare(), Loaded(mean_lag=2.0), Shifted(mean_lag=2.0), Wavy(mean_lag=2.0), **changes)


def told(spec):
    """Equations as one text, and parameters by name."""
    panel = hand_panel(spec, 8)
    lines = equations(spec, panel)
    found = {one.name: one for one in terms_of(spec, panel).parameters()}
    for latex in (*(line.latex for line in lines), *(one.symbol for one in found.values())):
        assert "\\" not in re.sub(r"<[^>]*>", "", convert(latex)), latex
    return "\n".join(line.latex for line in lines), found


def test_what_a_class_leaves_out_is_told_by_names():
    written, found = told(with_kernels(Bare(), Loaded(mean_lag=2.0)))
    assert r"w_l = w_l(\text{half life}, \text{bend 2})" in written
    assert r"w_l = w_l(\text{loading}_l, \text{probability of none})" in written
    half, bend = found["metal 0_lag_half_life"], found["metal 0_lag_bend_2"]
    assert half.symbol == r"\text{half life}"
    assert half.meaning == "metal 0: half life, a parameter of the bare two kernel"
    assert prior_in_words(bend.prior) == "Normal(mu = 0, sigma = 0.1)"
    # The values of a mean that is no mass are not centred at a lag.
    assert prior_in_words(found["metal 1_lag_loading"].prior) == "Normal(mu = [-1, -0.333, 0.333, 1], sigma = 0.5)"
    prior = replaced(with_kernels(Loaded(mean_lag=2.0)), max_lag=9).signals[0].kernel.priors(9)["loading"]
    assert prior_in_words(prior) == "Normal(mu = 9 values, sum 0, sigma = 0.5)"


def test_what_a_class_says_is_told():
    written, found = told(with_kernels(Shifted(mean_lag=2.0), Wavy(mean_lag=2.0)))
    # Its own weights have no formula; symbols and words of its base class stay.
    assert r"w_l = w_l(m, \varsigma, \theta)" in written
    assert r"\kappa" not in written
    assert Wavy.latex in written
    assert found["metal 0_lag_spread"].meaning == "metal 0: standard deviation of the lag weights, in periods"
    assert found["metal 0_lag_tail"].meaning == "metal 0: how heavy the tail is"
    assert found["metal 1_lag_amplitude"].symbol == "a"
    # Signed departures are in the location.
    assert written.count(r"+ d^{\text{metal 1}}_l\right)") == 1
    assert r"d^{\text{metal 0}}" not in written


def test_a_location_that_moves_is_told():
    halves = rl.spec.Episodes(starts=(dt.date(2020, 1, 25),), vary=("scale", "lag"))
    written, _ = told(with_kernels(Shifted(mean_lag=2.0), episodes=halves))
    assert r"\left(m\right)_{e} = m\, \exp" in written

    @dataclass(frozen=True)
    class Elsewhere(Bare):
        kind: ClassVar[str] = "elsewhere"
        movable: ClassVar[bool] = True

        def shift_location(self, parameters, deviation, xp=np):
            return dict(parameters) | {"half_life": parameters["half_life"] * xp.exp(deviation)}

    KERNELS["elsewhere"] = Elsewhere
    try:
        written, _ = told(with_kernels(Elsewhere(), episodes=halves))
    finally:
        del KERNELS["elsewhere"]
    assert r"\left(\text{location}\right)_{e} = \text{location}\, \exp" in written


def test_priors_told_are_those_of_the_model():
    spec = all_of_them()
    panel = hand_panel(spec, 8)
    built, found = rl.build_model(spec, panel), {one.name: one for one in terms_of(spec, panel).parameters()}
    assert set(found) == {rv.name for rv in built.free_RVs}
    for name, one in found.items():
        if "_lag_" in name:
            value = pm.draw(built[name], random_seed=1, mode="FAST_COMPILE")
            law = getattr(pm, one.prior.distribution).dist(**one.prior.parameters)
            expected = pm.logp(built[name], value).eval(mode="FAST_COMPILE")
            np.testing.assert_allclose(pm.logp(law, value).eval(mode="FAST_COMPILE"), expected, err_msg=name)


def test_weights_read_of_departures_are_those_of_the_whole_response():
    """As of the unrestricted kernel: sizes of all coefficients, so that mean lags are where the response moves."""
    spec = with_kernels(Wavy(mean_lag=2.0))
    read = rl.lag_distribution(prior_fit(spec, hand_panel(spec, 8)))
    curve = abs(read["response_curve"])
    np.testing.assert_allclose(read["weights"], curve / curve.sum("lag"), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_they_are_in_a_report(tmp_path):
    spec = all_of_them(drivers=(), controls=(), regimes=rl.spec.Regimes(count=1), episodes=rl.spec.Episodes())
    fit = prior_fit(spec, hand_panel(spec, 40), draws=100)
    page = rl.report(fit, tmp_path / "report")
    plt.close("all")
    latex = (page.parent / "model.tex").read_text(encoding="utf-8")
    assert Wavy.latex in latex
    assert "half life, a parameter of the bare two kernel" in page.read_text(encoding="utf-8")
    summary = (page.parent / "tables" / "parameters.csv").read_text(encoding="utf-8")
    assert "metal 1_lag_probability_of_none" in summary


def test_mathematics_that_cannot_be_read_is_refused_before_any_reading(tmp_path, monkeypatch):
    spec = with_kernels(Wavy(mean_lag=2.0))
    fit = prior_fit(spec, hand_panel(spec, 8))
    monkeypatch.setattr(Wavy, "latex", r"\left( w_l")
    with pytest.raises(rl.errors.FitError, match="formulas and symbols of a kernel") as caught:
        rl.report(fit, tmp_path / "report")
    assert r"\left( w_l" in caught.value.came
    assert not list(tmp_path.iterdir())


def test_a_class_that_a_file_would_not_give_back_is_refused_when_the_spec_is_made():
    """Not at the end of the fit, when its spec is read."""

    @dataclass(frozen=True)
    class Unknown(Bare):
        kind: ClassVar[str] = "unknown"

    @dataclass(frozen=True)
    class Nameless(rl.kernels.Gamma):
        pass

    class Plain(Kernel):
        kind = "plain"

    @dataclass(frozen=True)
    class Clashing(Bare):
        kind: ClassVar[str] = "clashing"

        def priors(self, max_lag):
            return {name: Prior("HalfNormal", sigma=1.0) for name in ("probability", "half life")}

    cures = {
        Unknown: "write regimelag.spec.kernels.KERNELS[Unknown.kind] = Unknown before the spec",
        Nameless: "give Nameless a kind of its own, and write",
        Plain: "decorate it with @dataclass(frozen=True)",
    }
    for cls, cure in cures.items():
        with pytest.raises(rl.errors.SpecError) as caught:
            with_kernels(cls())
        assert cure in caught.value.cure
    for cls in (Unknown, Clashing):
        KERNELS[cls.kind] = cls
    try:
        with_kernels(Unknown())
        with pytest.raises(rl.errors.SpecError, match="'half life', 'probability'") as caught:
            with_kernels(Clashing())
        assert "rename them in Clashing" in caught.value.cure
    finally:
        del KERNELS["unknown"], KERNELS["clashing"]


def redefined(words):
    @dataclass(frozen=True)
    class Again(Bare):
        kind: ClassVar[str] = "again"

    Again.words = {"half_life": words}
    return Again


def test_a_class_that_is_defined_again_is_the_one_that_is_read(monkeypatch):
    first, second = redefined("once"), redefined("twice")
    monkeypatch.setitem(KERNELS, "again", first)
    spec = with_kernels(first())
    assert type(spec_from_toml(spec_to_toml(spec)).signals[0].kernel) is first
    monkeypatch.setitem(KERNELS, "again", second)
    assert type(spec_from_toml(spec_to_toml(spec)).signals[0].kernel) is second
    with pytest.raises(rl.errors.SpecError, match="defined again since"):
        with_kernels(first())


def run_page(folder, monkeypatch, code):
    """Run cells of the page, in order, as the site's builder does."""
    monkeypatch.chdir(folder)
    (folder / "_build").mkdir()
    monkeypatch.setitem(KERNELS, "geometric", None)
    names = {"__name__": __name__}
    for cell in code:
        exec(compile(cell, PAGE.name, "exec"), names)
    plt.close("all")
    return names


def test_the_kernel_of_the_page_is_told_with_and_without_its_words(monkeypatch):
    (cell,) = (each for each in blocks(PAGE, "{code-cell} ipython3") if "class " in each)
    silent = re.sub(r"^    (latex|symbols|words): ClassVar.*\n", "", cell, flags=re.MULTILINE)
    assert silent.count("ClassVar[") == 1
    monkeypatch.setitem(KERNELS, "geometric", None)
    for code, formula in ((cell, r"\left(\frac{m}{1 + m}\right)^{l - 1}"), (silent, r"w_l = w_l(\text{excess})")):
        names = {"__name__": __name__}
        exec(compile(code, PAGE.name, "exec"), names)
        KERNELS["geometric"] = names["Geometric"]
        written, found = told(with_kernels(names["Geometric"](mean_lag=2.0)))
        assert formula in written
        assert found["metal 0_lag_excess"].symbol == ("m" if code is cell else r"\text{excess}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_runs_to_its_end(tmp_path, monkeypatch):
    names = run_page(tmp_path, monkeypatch, blocks(PAGE, "{code-cell} ipython3"))
    assert names["page"].is_file()
    said = names["page"].read_text(encoding="utf-8")
    assert "mean lag less one, in periods" in said
    assert rl.spec_of(names["idata"]) == names["spec"]
