"""A scale that follows the past: the model, its draws and its equations against plain loops and closed forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from builders import (
    bare_spec,
    cut,
    garch_spec,
    hand_panel,
    one_draw,
    plain_garch,
    plain_location,
    plain_used,
    prior_fit,
    replaced,
)
from latex_numbers import mutants, value
from scipy import stats

import regimelag as rl
from regimelag.errors import SpecError
from regimelag.model.at_draws import AtDraws
from regimelag.model.build import build_model
from regimelag.model.draw import draw_responses
from regimelag.model.evaluate import conditional_log_scales, evaluate, stack_draws
from regimelag.model.latex import equations
from regimelag.results.pit import one_step_pit
from regimelag.results.volatility import conditional_volatility
from regimelag.spec.priors import Prior
from regimelag.spec.term import Term
from regimelag.spec.toml import spec_from_toml, spec_to_toml
from regimelag.spec.volatility import VOLATILITIES, Constant, Garch, Volatility

SPECS = {
    "student t": garch_spec(),
    "normal": garch_spec(family="normal"),
    "one episode": garch_spec(episodes=rl.spec.Episodes()),
    "own past": garch_spec(responses=(rl.Response("asset", "price", autoregression=2),)),
}
TRUTH = {
    "intercept": [[0.1]],
    "log_scale": [-0.2],
    "degrees_of_freedom_minus_two": 4.0,
    "garch_persistence": 0.95,
    "garch_arch_share": 0.3,
}


@pytest.fixture(scope="module", params=SPECS)
def fit(request):
    spec = SPECS[request.param]
    return prior_fit(spec, hand_panel(spec, 14, missing=[0, 5, 6, 13]))


def truth(spec, panel, **changes):
    """Parameters of the bare spec, one draw."""
    held = prior_fit(spec, cut(panel, 8), draws=1)["posterior"].to_dataset().isel(chain=[0])
    return held.assign({name: held[name] * 0 + np.array(one) for name, one in (TRUTH | changes).items()})


def test_one_step_ahead_densities_are_those_of_a_loop(fit):
    spec, panel, posterior = rl.spec_of(fit), rl.panel_of(fit), fit["posterior"].to_dataset()
    found = fit["one_step_ahead"]["response_value"].to_numpy() + np.log(
        float(panel["response_scale"][0])
    ) * np.isfinite(plain_used(spec, panel))
    for chain, draw in np.ndindex(found.shape[:2]):
        expected = plain_garch(spec, panel, one_draw(posterior, chain, draw))
        np.testing.assert_allclose(found[chain, draw], expected, rtol=1e-12, atol=1e-12)


def test_the_graph_is_the_evaluation(fit):
    """Likelihood and gradient of the sampler's graph at prior draws: the sum of the terms, and its slopes."""
    spec, panel = rl.spec_of(fit), rl.panel_of(fit)
    model = build_model(spec, panel)
    potential = model["log_likelihood"]
    loglik = model.compile_fn(potential, inputs=model.free_RVs, mode="FAST_COMPILE", on_unused_input="ignore")
    for chain in range(2):
        v = one_draw(fit["posterior"].to_dataset(), chain, 1)
        point = {rv.name: v[rv.name] for rv in model.free_RVs}
        np.testing.assert_allclose(loglik(point), plain_garch(spec, panel, v).sum(), rtol=1e-12)


def test_the_conditional_volatility_is_the_standard_deviation_one_week_ahead(fit):
    spec, panel, posterior = rl.spec_of(fit), rl.panel_of(fit), fit["posterior"].to_dataset()
    found = conditional_volatility(fit)
    assert found.dims == ("chain", "draw", "time", "response")
    v = one_draw(posterior, 1, 2)
    y, unit = plain_used(spec, panel), float(panel["response_scale"][0])
    alpha = v["garch_persistence"] * v["garch_arch_share"]
    variance = np.exp(2 * v["log_scale"][0])
    for t in range(len(y)):
        factor = np.exp(v["log_scale_episode"][0, int(panel["episode_index"][t])]) if "log_scale_episode" in v else 1.0
        assert float(found[1, 2, t, 0]) == pytest.approx(unit * factor * np.sqrt(variance), rel=1e-12)
        residual = (y[t] - plain_location(spec, panel, v, t, 0)) / factor
        square = variance if np.isnan(y[t]) else residual**2
        rest = np.exp(2 * v["log_scale"][0]) * (1 - v["garch_persistence"])
        variance = rest + alpha * square + (v["garch_persistence"] - alpha) * variance


def test_the_conditional_volatility_of_regimes_is_that_of_their_mixture(tiny):
    spec, panel, fit = tiny
    draws, rng = stack_draws(fit["posterior"].to_dataset()), np.random.default_rng(1)
    predicted = rl.regime_probabilities(fit, kind="predicted")
    eq = evaluate(spec, panel, draws).take(np.zeros(200_000, dtype=int))
    path = (rng.random((200_000, 8)) > predicted.to_numpy()[0, 0, :, 0]).astype(int)
    drawn = draw_responses(eq, path, rng)[..., 0].std(axis=0) * float(panel["response_scale"][0])
    np.testing.assert_allclose(conditional_volatility(fit)[0, 0, :, 0], drawn, rtol=0.05)


def test_the_pit_is_uniform_and_its_squares_are_uncorrelated_at_the_truth():
    """A constant scale in place of GARCH leaves the squares correlated."""
    spec = bare_spec(volatility="garch")
    panel = hand_panel(spec, 3000)
    parameters = truth(spec, panel)
    simulated = rl.simulate(spec, panel, parameters=parameters, random_seed=1)
    tree = rl.as_fit(xr.DataTree.from_dict({"/posterior": parameters}), spec, simulated, prior_draws=1)
    u = one_step_pit(tree).to_numpy()[:, 0]
    assert stats.kstest(u, "uniform").pvalue > 0.01

    def clustering(scores):
        squares = scores**2 - np.mean(scores**2)
        return squares[1:] @ squares[:-1] / (squares @ squares) * np.sqrt(len(scores))

    assert abs(clustering(stats.norm.ppf(u))) < 3
    plain = replaced(spec, volatility="constant")
    held = parameters.drop_vars(["garch_persistence", "garch_arch_share"])
    other = rl.as_fit(xr.DataTree.from_dict({"/posterior": held}), plain, simulated, prior_draws=1)
    assert clustering(stats.norm.ppf(one_step_pit(other).to_numpy()[:, 0])) > 6


def test_a_missing_response_is_simulated_as_the_likelihood_takes_it():
    """The variance stands in for what was drawn on a row that stays missing."""
    spec = bare_spec(volatility="garch")
    panel = hand_panel(spec, 8, missing=[2])
    parameters = truth(spec, panel)
    y = rl.simulate(spec, panel, parameters=parameters, random_seed=3)["response_value"].to_numpy()[:, 0]
    whole = rl.simulate(spec, hand_panel(spec, 8), parameters=parameters, random_seed=3)["response_value"].to_numpy()[
        :, 0
    ]
    np.testing.assert_array_equal(np.isnan(y), np.arange(8) == 2)
    np.testing.assert_array_equal(y[:2], whole[:2])
    weights, first = (0.05, 0.95 * 0.3, 0.95 * 0.7), np.exp(2 * -0.2)

    def scores(response):
        """Residuals over the conditional standard deviations by the recursion of the likelihood."""
        found, v = [], 1.0
        for square in (response - 0.1) ** 2 / first:
            found.append(np.sqrt(square / v))
            v = weights @ np.array([1.0, v if np.isnan(square) else square, v])
        return np.array(found)

    # Both are the same draws of unit variance.
    np.testing.assert_allclose(scores(y)[3:], scores(whole)[3:], rtol=1e-12)
    assert not np.allclose(y[3:], whole[3:])


def test_evaluated_in_chunks_and_thinned_it_is_the_same(fit):
    spec, panel = rl.spec_of(fit), rl.panel_of(fit)
    at = AtDraws(spec, panel, fit["posterior"].to_dataset())

    def scales(chunk):
        return conditional_log_scales(chunk.quantities, chunk.y)

    whole = at.measured(scales)
    np.testing.assert_array_equal(
        at.thinned(2).measured(scales), whole.reshape(2, 6, *whole.shape[1:])[:, ::2].reshape(6, *whole.shape[1:])
    )


# ---- equations


def printed(line):
    """The parts of an equation that define something: name and formula."""
    return [part for part in re.split(r", \\quad ", line.latex) if " = " in part]


def variances(parts, v, residual):
    """Conditional variances by the printed recursion."""
    held = {r"\pi": v["garch_persistence"], "a": v["garch_arch_share"], "h": v["log_scale"][0]}
    recursion, first, s = parts[:3]
    held["s"] = value(s, **held)
    found = [value(first, **held)]
    for square in residual[:-1]:
        found.append(value(recursion, **held, **{r"\varepsilon_{t-1}": square, "v_{t-1}": found[-1]}))
    return np.array(found)


def test_the_printed_recursion_is_the_code(fit):
    spec, panel = rl.spec_of(fit), rl.panel_of(fit)
    panel["response_value"] = panel["response_value"].fillna(0.3)
    v = one_draw(fit["posterior"].to_dataset())
    eq = evaluate(spec, panel, {name: one[None] for name, one in v.items()})
    code = conditional_log_scales(eq, panel["response_value"].to_numpy())[0, 0, :, 0]
    lines = equations(spec, panel)
    (moving,) = (printed(line) for line in lines if line.latex.startswith("v_t"))
    (scale,) = (line.latex for line in lines if line.latex.startswith(r"\sigma_t"))
    y = panel["response_value"].to_numpy()[:, 0]
    shift = (
        v["log_scale_episode"][0][panel["episode_index"].to_numpy()] if "log_scale_episode" in v else np.zeros(len(y))
    )
    given = {
        "y_t": y,
        "m_t": eq.location[0, 0, :, 0],
        r"\eta_{e(t)}": shift,
        r"\nu": v.get("degrees_of_freedom_minus_two", 0) + 2,
    }
    residual = value(moving[3], **given)
    np.testing.assert_allclose(value(scale, **given, v_t=variances(moving, v, residual)), np.exp(code), rtol=1e-12)
    expected = variances(moving, v, residual)
    for mutant in mutants(moving[0].replace("{t-1}", "0")):
        turned = mutant.replace("_0", "_{t-1}")
        if turned.count("_{t-1}") == 2:
            assert not np.allclose(variances([turned, *moving[1:]], v, residual), expected, rtol=1e-9), turned


# ---- specs


def test_a_file_holds_it():
    spec = garch_spec()
    assert spec.volatility == Garch()
    assert 'volatility = "garch"' in spec_to_toml(spec)
    assert spec_from_toml(spec_to_toml(spec)) == spec
    table = spec_to_toml(spec).replace('volatility = "garch"\n', "") + '\n[volatility]\nkind = "garch"\n'
    assert spec_from_toml(table) == spec
    assert garch_spec(volatility="constant").volatility == Constant()
    assert spec_from_toml(spec_to_toml(garch_spec()).replace('volatility = "garch"\n', "")).volatility == Constant()


POINT = (rl.Signal("metal", "metal", kernel=rl.kernels.Point(mean_lag=2.0)),)
BOTH = (rl.Response("asset", "price"), rl.Response("other", "second"))


@pytest.mark.parametrize(
    ("changes", "came", "cured"),
    [
        ({"regimes": rl.spec.Regimes(count=2)}, "2 regimes", {"regimes": rl.spec.Regimes(count=1)}),
        (
            {"regimes": rl.spec.Regimes(count=2), "drivers": (rl.Driver("yield", "yield"),)},
            "2 regimes",
            {"regimes": rl.spec.Regimes(count=1), "drivers": ()},
        ),
        ({"responses": BOTH}, "2: asset, other", {"responses": BOTH[:1]}),
        (
            {"signals": POINT},
            "'metal' with a point kernel",
            {"signals": (replaced(POINT[0], kernel=rl.kernels.Gamma(mean_lag=2.0)),)},
        ),
        ({"volatility": "arch"}, "arch", {"volatility": "garch"}),
        ({"volatility": Constant}, "type", {"volatility": Constant()}),
    ],
)
def test_what_it_does_not_go_with_is_refused(changes, came, cured):
    with pytest.raises(SpecError, match=rf"rule: (.|\n)*came: (.|\n)*{re.escape(came)}(.|\n)*cure: "):
        garch_spec(**changes)
    garch_spec(**(changes | cured))
    if "volatility" not in changes:
        garch_spec(**(changes | {"volatility": "constant"}))


@dataclass(frozen=True)
class Arch(Volatility):
    """ARCH(1): the last squared residual alone."""

    kind: ClassVar[str] = "arch"

    def terms(self):
        return (Term("arch", Prior("Beta", alpha=2.0, beta=3.0), "q", "weight of the last squared residual"),)

    def weights(self, parameters):
        return parameters["arch"], 0.0 * parameters["arch"]


def test_a_volatility_model_of_a_script_is_one_class(monkeypatch):
    monkeypatch.setitem(VOLATILITIES, "arch", Arch)
    spec = garch_spec(volatility="arch")
    assert spec_from_toml(spec_to_toml(spec)) == spec
    fit = prior_fit(spec, hand_panel(spec, 12, missing=[4]))
    panel, v = rl.panel_of(fit), one_draw(fit["posterior"].to_dataset())
    same = plain_garch(spec, panel, v | {"garch_persistence": v["arch"], "garch_arch_share": 1.0})
    unit = np.log(float(panel["response_scale"][0])) * panel["response_value"].notnull().to_numpy()[:, 0]
    np.testing.assert_allclose(fit["one_step_ahead"]["response_value"][0, 0], same - unit, rtol=1e-12, atol=1e-12)
    assert any("arch" in line.words and "v_t(q" in line.latex for line in equations(spec, panel))
    assert conditional_volatility(fit).notnull().all()
