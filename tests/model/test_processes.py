"""Several regime processes: the PyMC model, its numpy twin, and both against loops over joint regimes and all paths."""

from __future__ import annotations

import numpy as np
import pytensor
import pytest
from builders import hand_panel, one_draw, small_spec
from oracles import enumerate_chain
from plain_processes import plain_joint_chain

import regimelag as rl
from regimelag.likelihood.hmm_draws import filter_forward_draws, smooth_draws
from regimelag.model.build import build_model, draw_prior
from regimelag.model.evaluate import evaluate, log_observation, marginal_regime_probabilities, stack_draws
from regimelag.panel.own_past import used_responses
from regimelag.spec.processes import every_regime_label

DRIVERS = (rl.Driver("yield", "yield"), rl.Driver("dollar", "dollar"))
TWO_RESPONSES = (rl.Response("asset", "price"), rl.Response("other", "other"))
TWO_SIGNALS = (
    rl.Signal("metal", "metal", kernel=rl.kernels.Gamma(2.0, 1.0, 1.0, 0.5)),
    rl.Signal("oil", "oil", kernel=rl.kernels.LogNormal(2.0, 1.0, 1.0, 0.5)),
)
VOLATILITY = rl.spec.RegimeProcess("volatility", carries=("scale", "intercept"))


def coupling(**changes):
    usual = {"carries": ("effect",), "order_by": rl.spec.OrderBy("effect"), "drivers": ("yield", "dollar")}
    return rl.spec.RegimeProcess("coupling", **(usual | changes))


def spec_with(*processes, **changes):
    return small_spec(**({"drivers": DRIVERS, "regime_processes": processes} | changes))


def by_origin():
    return rl.spec.Markov(by_origin=True)


CASES = {
    "volatility and coupling": (spec_with(VOLATILITY, coupling()), 6, (2,)),
    "each with a driver, first regimes free and stationary": (
        spec_with(
            rl.spec.RegimeProcess("volatility", carries=("scale",), drivers=("yield",), initial="dirichlet"),
            coupling(drivers=("dollar",), initial="stationary"),
        ),
        6,
        (),
    ),
    "ordered by the mean and by a driver": (
        spec_with(
            rl.spec.RegimeProcess("mean", carries=("intercept", "scale"), order_by=rl.spec.OrderBy("intercept")),
            coupling(order_by=rl.spec.OrderBy("driver", driver="dollar")),
        ),
        6,
        (),
    ),
    "not ordered, lag and same period": (
        spec_with(
            rl.spec.RegimeProcess("volatility", carries=("scale",)),
            coupling(carries=("lag", "contemporaneous", "intercept", "effect"), order_by=rl.spec.OrderBy("none")),
        ),
        6,
        (),
    ),
    "two signals, one orders": (
        spec_with(VOLATILITY, coupling(order_by=rl.spec.OrderBy("effect", signal="oil")), signals=TWO_SIGNALS),
        6,
        (),
    ),
    "two responses, processes of one and of both": (
        spec_with(
            rl.spec.RegimeProcess("first", carries=("scale", "intercept"), responses=("asset",)),
            coupling(),
            responses=TWO_RESPONSES,
        ),
        4,
        ((1, 1), 2),
    ),
    "three regimes, a forbidden step": (
        spec_with(
            rl.spec.RegimeProcess("one", count=3, drivers=("yield", "dollar"), forbidden=(("calm", "turbulent"),)),
        ),
        6,
        (),
    ),
    "an absorbing regime beside another process": (
        spec_with(VOLATILITY, coupling(forbidden=(("higher effect", "lower effect"),))),
        6,
        (),
    ),
    "three processes": (
        spec_with(
            rl.spec.RegimeProcess("volatility", carries=("scale",)),
            rl.spec.RegimeProcess("drift", carries=("intercept",), order_by=rl.spec.OrderBy("intercept")),
            coupling(),
        ),
        4,
        (),
    ),
    "a process alone, by its effect": (spec_with(coupling()), 6, ()),
}


def params():
    rare = {"three processes", "two responses, processes of one and of both"}
    marks = dict.fromkeys(rare, pytest.mark.slow)
    return [pytest.param(*case, id=name, marks=marks.get(name, ())) for name, case in CASES.items()]


@pytest.mark.parametrize(("spec", "rows", "missing"), params())
def test_potential_twin_and_enumeration_agree(spec, rows, missing):
    panel = hand_panel(spec, rows, missing=missing)
    model = build_model(spec, panel)
    drawn = draw_prior(spec, model, 3, random_seed=3)
    gradient = pytensor.grad(model["log_likelihood"], model.free_RVs, disconnected_inputs="ignore")
    outputs = [model["log_likelihood"], *gradient]
    potential = pytensor.function(model.free_RVs, outputs, mode="FAST_COMPILE", on_unused_input="ignore")
    eq = evaluate(spec, panel, stack_draws(drawn))
    log_obs = log_observation(eq, used_responses(panel))
    twin = filter_forward_draws(log_obs, eq.logits, eq.log_initial)[2].sum(axis=1)
    for n in range(3):
        point = one_draw(drawn, draw=n)
        plain = enumerate_chain(*plain_joint_chain(spec, panel, point))
        assert np.isfinite(plain.loglik)
        np.testing.assert_allclose(log_obs[n], plain.log_obs, rtol=0, atol=1e-9)
        assert twin[n] == pytest.approx(plain.loglik, rel=0, abs=1e-9)
        value, *slopes = potential(*(point[rv.name] for rv in model.free_RVs))
        assert float(value) == pytest.approx(plain.loglik, rel=0, abs=1e-9)
        assert all(np.isfinite(slope).all() for slope in slopes)


def test_simulated_paths_are_those_that_the_smoother_expects():
    """Over simulations at known parameters, smoothed probabilities are calibrated, and no forbidden step is taken."""
    spec = spec_with(
        rl.spec.RegimeProcess(
            "volatility", count=3, carries=("scale", "intercept"), forbidden=(("calm", "turbulent"),)
        ),
        coupling(),
    )
    panel = hand_panel(spec, 60)
    parameters = draw_prior(spec, build_model(spec, panel), 1, random_seed=2)
    short = {name: parameters[name] * 0 + 1.0 for name in parameters.data_vars if name.endswith("stay_log_odds")}
    parameters = parameters.assign(short)
    gaps = []
    for seed in range(40):
        simulated = rl.simulate(spec, panel, parameters=parameters, random_seed=seed)
        path = simulated["regime_path"]
        assert path.dims == ("time", "regime_process")
        volatility = path.sel(regime_process="volatility").to_numpy()
        assert not ((volatility[:-1] == 0) & (volatility[1:] == 2)).any()
        eq = evaluate(spec, simulated, stack_draws(parameters))
        log_obs = log_observation(eq, used_responses(simulated))
        smoothed = marginal_regime_probabilities(spec, smooth_draws(log_obs, eq.logits, eq.log_initial))[0]
        labels = ["calm", "middle", "turbulent", "lower effect", "higher effect"]
        assert every_regime_label(spec) == labels
        shown = np.stack([volatility == 2, path.sel(regime_process="coupling").to_numpy() == 1], axis=-1)
        expected = np.stack([smoothed[:, 0, 2], smoothed[:, 1, 4]], axis=-1)
        gaps.append((shown - expected).mean(axis=0))
    gaps = np.array(gaps)
    assert np.all(abs(gaps.mean(axis=0)) < 4 * gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps)))
