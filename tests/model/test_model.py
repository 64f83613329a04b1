"""The PyMC model against its numpy twin, and both against the model written out in loops and all paths enumerated."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pymc as pm
import pytensor
import pytest
from builders import (
    BY_ORIGIN,
    STATE_DRIVERS,
    bare_spec,
    every_point_lag,
    hand_panel,
    moderated_spec,
    one_draw,
    plain_chain,
    replaced,
    small_spec,
)
from oracles import enumerate_chain, log_total
from pymc.initial_point import make_initial_point_fn

import regimelag as rl
from regimelag.likelihood.hmm_draws import filter_forward_draws
from regimelag.model.build import build_model, draw_prior
from regimelag.model.evaluate import evaluate, log_observation, stack_draws
from regimelag.panel.own_past import used_responses
from regimelag.sampling.point_lags import read_point_lags
from regimelag.spec.kernels import KERNELS

TWO_RESPONSES = (rl.Response("asset", "price"), rl.Response("other", "other"))


def own_past(lags, responses=TWO_RESPONSES[:1]):
    return tuple(replaced(one, autoregression=lags) for one in responses)


OWN = ("effect", "regimes")
SIZES = {"mean_lag": 2.5, "spread": 1.3, "mean_lag_sd": 0.5, "spread_sd": 0.5, "roughness": 0.4}


def small_kernel(kind):
    fields = KERNELS[kind].__dataclass_fields__
    return KERNELS[kind](**{name: value for name, value in SIZES.items() if name in fields})


def signal(name, kind, **more):
    return rl.Signal(name, name, kernel=small_kernel(kind), **more)


def control(name, kind):
    return rl.Control(name, name, kernel=signal(name, kind).kernel)


def regimes(**changes):
    return small_spec(regimes=rl.spec.Regimes(**changes))


THREE = rl.spec.Episodes(starts=(dt.date(2020, 1, 15), dt.date(2020, 1, 30)))
TWO_DRIVERS = (rl.Driver("yield", "yield"), rl.Driver("dollar", "dollar"))
CASES = {f"kernel {kind}": (small_spec(signals=(signal("metal", kind),)), 8, ()) for kind in KERNELS} | {
    "three regimes": (regimes(count=3), 6, ()),
    "three regimes, dirichlet": (regimes(count=3, initial="dirichlet"), 6, ()),
    "three regimes, stationary": (regimes(count=3, initial="stationary"), 6, ()),
    "two regimes, dirichlet": (regimes(initial="dirichlet"), 7, ()),
    "two regimes, stationary": (regimes(initial="stationary"), 7, ()),
    "stationary, no drivers": (replaced(regimes(initial="stationary"), drivers=()), 7, ()),
    "one regime": (small_spec(drivers=(), regimes=rl.spec.Regimes(count=1)), 8, ()),
    "one regime, dirichlet": (small_spec(drivers=(), regimes=rl.spec.Regimes(count=1, initial="dirichlet")), 8, ()),
    "one regime, bare": (bare_spec(), 8, ()),
    "normal": (small_spec(family="normal"), 8, ()),
    "origins differ": (small_spec(regimes=rl.spec.Regimes(transitions=BY_ORIGIN), drivers=TWO_DRIVERS), 7, ()),
    "origins differ, three": (replaced(regimes(count=3, transitions=BY_ORIGIN), drivers=TWO_DRIVERS), 6, ()),
    "no drivers": (small_spec(drivers=()), 8, ()),
    "lagged control": (small_spec(controls=(control("dollar", "lognormal"),)), 8, (2,)),
    "lagged controls, no signal": (
        small_spec(signals=(), controls=(control("a", "none"), control("b", "gamma"), control("c", "smooth"))),
        8,
        (),
    ),
    "lagged control, lag by both, own regimes": (
        small_spec(
            responses=TWO_RESPONSES,
            responses_vary=("effect", "lag", "regimes"),
            episodes=rl.spec.Episodes(starts=THREE.starts, vary=("scale", "effect", "lag")),
            controls=(control("dollar", "gamma"), control("yield", "beta")),
        ),
        5,
        ((1, 1),),
    ),
    "no controls": (small_spec(controls=()), 8, ()),
    "two controls": (small_spec(controls=(rl.Control("a", "a"), rl.Control("b", "b"))), 8, ()),
    "no signals": (small_spec(signals=()), 8, ()),
    "two signals": (
        small_spec(signals=(signal("metal", "gamma"), signal("oil", "beta", contemporaneous=False))),
        8,
        (),
    ),
    "lag on the second": (small_spec(signals=(signal("metal", "none"), signal("oil", "lognormal"))), 8, ()),
    "two lags, three regimes": (
        replaced(regimes(count=3), signals=(signal("metal", "unrestricted"), signal("oil", "smooth"))),
        6,
        (),
    ),
    "no episodes": (small_spec(episodes=rl.spec.Episodes()), 8, ()),
    "three episodes": (small_spec(episodes=THREE), 8, ()),
    "episodes vary scale": (small_spec(episodes=rl.spec.Episodes(starts=THREE.starts, vary=("scale",))), 8, ()),
    "episodes vary effect": (small_spec(episodes=rl.spec.Episodes(starts=THREE.starts, vary=("effect",))), 8, ()),
    "episodes vary nothing": (small_spec(episodes=rl.spec.Episodes(starts=THREE.starts, vary=())), 8, ()),
    "missing responses": (small_spec(), 8, (0, 3, 7)),
    "missing, normal, three": (replaced(regimes(count=3), family="normal"), 6, (1, 2)),
    "two rows": (small_spec(), 2, ()),
    "lag by episode": (small_spec(episodes=rl.spec.Episodes(starts=THREE.starts, vary=("lag",))), 8, ()),
    "beta lag by episode": (
        small_spec(
            signals=(signal("metal", "beta"),), episodes=rl.spec.Episodes(starts=THREE.starts, vary=("effect", "lag"))
        ),
        8,
        (),
    ),
    "two responses": (small_spec(responses=TWO_RESPONSES), 8, (0, (0, 1), (2, 1), 5)),
    "three responses, normal, one regime": (
        small_spec(
            responses=(*TWO_RESPONSES, rl.Response("third", "third")),
            family="normal",
            drivers=(),
            regimes=rl.spec.Regimes(count=1),
        ),
        8,
        (1, (3, 1), (3, 2)),
    ),
    "two responses, lag by both": (
        small_spec(
            responses=TWO_RESPONSES,
            responses_vary=("effect", "lag"),
            episodes=rl.spec.Episodes(starts=THREE.starts, vary=("scale", "effect", "lag")),
            signals=(signal("metal", "lognormal"), signal("oil", "negative_binomial")),
        ),
        7,
        ((4, 1),),
    ),
    "own regimes": (small_spec(responses=TWO_RESPONSES, responses_vary=OWN), 5, ((1, 1), 3)),
    "own regimes, two drivers, by origin, stationary": (
        small_spec(
            responses=TWO_RESPONSES,
            responses_vary=OWN,
            drivers=TWO_DRIVERS,
            regimes=rl.spec.Regimes(initial="stationary", transitions=BY_ORIGIN),
        ),
        5,
        (),
    ),
    "own regimes, free first": (
        small_spec(
            responses=TWO_RESPONSES, responses_vary=OWN, drivers=(), regimes=rl.spec.Regimes(initial="dirichlet")
        ),
        4,
        (),
    ),
    "own regimes, three each, no drivers, free first": (
        small_spec(
            responses=TWO_RESPONSES,
            responses_vary=OWN,
            drivers=(),
            regimes=rl.spec.Regimes(count=3, initial="dirichlet"),
        ),
        3,
        ((0, 1),),
    ),
    "own past": (small_spec(responses=own_past(1)), 8, ()),
    "own past alone": (bare_spec(responses=own_past(2)), 8, (2,)),
    "own past, three lags, missing": (small_spec(responses=own_past(3)), 8, (2, 7)),
    "own past, longer than the window": (small_spec(responses=own_past(4)), 3, ()),
    "own past, two responses": (small_spec(responses=own_past(2, TWO_RESPONSES)), 8, (1, (4, 1))),
    "own past, lagged control": (
        small_spec(
            responses=own_past(2, TWO_RESPONSES),
            controls=(rl.Control("dollar", "dollar", kernel=small_kernel("gamma")),),
        ),
        8,
        (2, (5, 1)),
    ),
    "moderated by an indicator": (moderated_spec(), 8, (2,)),
    "moderated by a driver of one regime": (
        moderated_spec(("euro", "easing"), regimes=rl.spec.Regimes(count=1), responses=own_past(1)),
        8,
        (),
    ),
    "moderated, a driver drives too": (
        moderated_spec(
            ("yield", "easing"), drivers=(rl.Driver("euro", "euro", drives=False), *TWO_DRIVERS), allow_overlap=True
        ),
        7,
        (),
    ),
    "moderated, one signal of two, lag by both, own regimes": (
        replaced(
            moderated_spec(
                signals=(signal("metal", "lognormal"), signal("oil", "unrestricted")),
                responses=TWO_RESPONSES,
                responses_vary=OWN,
                drivers=(*STATE_DRIVERS, rl.Driver("dollar", "dollar")),
            ),
            signals=(
                signal("tin", "none"),
                signal("metal", "lognormal"),
                signal("oil", "gamma", moderators=("euro", "easing")),
            ),
            responses_vary=("effect", "lag", "regimes"),
            episodes=rl.spec.Episodes(starts=THREE.starts, vary=("scale", "effect", "lag")),
        ),
        5,
        ((1, 1),),
    ),
    "own past, own regimes": (small_spec(responses=own_past(1, TWO_RESPONSES), responses_vary=OWN), 5, ((1, 1),)),
}
CASES.pop("kernel point")
POINT = signal("metal", "point")
EACH = rl.Signal("metal", "metal", kernel=rl.kernels.Point(2.0, 1.0, by_regime=True))
POINT_CASES = {
    "lagged control, point lag": (
        small_spec(signals=(signal("metal", "point"),), controls=(control("dollar", "unrestricted"),)),
        6,
        (),
    ),
    "shared": (small_spec(signals=(POINT,)), 6, (1,)),
    "one regime": (small_spec(signals=(POINT,), drivers=(), regimes=rl.spec.Regimes(count=1)), 6, ()),
    "normal": (small_spec(signals=(POINT,), family="normal"), 6, ()),
    "by regime": (small_spec(signals=(EACH,)), 6, ()),
    "three episodes": (small_spec(signals=(POINT,), episodes=THREE), 8, ()),
    "ten lags, three regimes": (small_spec(signals=(POINT,), regimes=rl.spec.Regimes(count=3), max_lag=10), 5, ()),
    "beside a gamma": (small_spec(signals=(signal("oil", "gamma"), POINT)), 6, ()),
    "two signals": (small_spec(signals=(POINT, signal("oil", "point", contemporaneous=False)), max_lag=3), 5, ()),
    "two responses": (small_spec(signals=(POINT,), responses=TWO_RESPONSES), 6, ((2, 1),)),
    "own regimes": (small_spec(signals=(POINT,), responses=TWO_RESPONSES, responses_vary=OWN, max_lag=3), 4, ((2, 1),)),
    "no drivers": (small_spec(signals=(POINT,), drivers=()), 6, ()),
    "own past": (small_spec(signals=(POINT,), responses=own_past(2)), 6, (1,)),
    "moderated": (moderated_spec(("yield", "easing"), signals=(POINT, signal("oil", "gamma"))), 6, (1,)),
}


def log_likelihood(model):
    """The log likelihood as a function of the free variables, without compiling."""
    return pytensor.function(model.free_RVs, model["log_likelihood"], mode="FAST_COMPILE", on_unused_input="ignore")


def params(cases):
    """Cases by name; recursions are compiled for each number of joint regimes, and some are rarely met."""
    rare = {
        "own regimes, three each, no drivers, free first",
        "lagged control, lag by both, own regimes",
        "own past, own regimes",
        "moderated, one signal of two, lag by both, own regimes",
        "moderated, a driver drives too",
    } | {name for name in cases if name.startswith(("own past, ", "lagged controls, "))}
    if cases is POINT_CASES:
        rare = {"own regimes", "ten lags, three regimes"}
    return [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name in rare else []) for name, case in cases.items()
    ]


@pytest.mark.parametrize(("spec", "rows", "missing"), params(CASES))
def test_potential_twin_and_enumeration_agree(spec, rows, missing):
    panel = hand_panel(spec, rows, missing=missing)
    model = build_model(spec, panel)
    drawn = draw_prior(spec, model, 3, random_seed=3)
    potential = log_likelihood(model)
    eq = evaluate(spec, panel, stack_draws(drawn))
    log_obs = log_observation(eq, used_responses(panel))
    twin = filter_forward_draws(log_obs, eq.logits, eq.log_initial)[2].sum(axis=1)
    for n in range(3):
        point = one_draw(drawn, draw=n)
        plain = enumerate_chain(*plain_chain(spec, panel, point))
        assert np.isfinite(plain.loglik)
        np.testing.assert_allclose(log_obs[n], plain.log_obs, rtol=0, atol=1e-9)
        assert twin[n] == pytest.approx(plain.loglik, rel=0, abs=1e-9)
        value = potential(*(point[rv.name] for rv in model.free_RVs))
        assert float(value) == pytest.approx(plain.loglik, rel=0, abs=1e-9)


@pytest.mark.parametrize(("spec", "rows", "missing"), params(POINT_CASES))
def test_a_point_lag_is_summed_out(spec, rows, missing):
    """The potential, and what is read after sampling, against every path for every choice of lags."""
    panel = hand_panel(spec, rows, missing=missing)
    model = build_model(spec, panel)
    drawn = draw_prior(spec, model, 2, random_seed=3)
    potential = log_likelihood(model)
    read = read_point_lags(spec, panel, drawn, np.random.default_rng(0))
    for n in range(2):
        point = one_draw(drawn, draw=n)
        choices = list(every_point_lag(spec, point))
        joint = [enumerate_chain(*plain_chain(spec, panel, v)).loglik + log_prior for v, log_prior in choices]
        total = log_total(np.array(joint))
        assert float(potential(*(point[rv.name] for rv in model.free_RVs))) == pytest.approx(total, rel=0, abs=1e-9)
        assert float(read["log_density"][0, n].sum()) == pytest.approx(total, rel=0, abs=1e-9)
        for one in spec.point_signals:
            name = f"{one.name}_lag"
            expected = np.zeros(read[f"{name}_probability"].shape[2:])
            for (v, _), log_joint in zip(choices, joint, strict=True):
                hot = v[f"{name}_point"][..., None] == np.arange(1, spec.max_lag + 1)
                expected += np.exp(log_joint - total) * hot
            np.testing.assert_allclose(read[f"{name}_probability"][0, n], expected, rtol=0, atol=1e-9)
            assert read[f"{name}_point"].dims == ("chain", "draw", *spec.point_dims(one))


def test_longer_panel_agrees_with_the_twin():
    spec = small_spec(drivers=TWO_DRIVERS, regimes=rl.spec.Regimes(count=3, transitions=BY_ORIGIN))
    panel = hand_panel(spec, 300, missing=range(50, 60))
    model = build_model(spec, panel)
    drawn = draw_prior(spec, model, 4, random_seed=5)
    potential = log_likelihood(model)
    eq = evaluate(spec, panel, stack_draws(drawn))
    log_obs = log_observation(eq, panel["response_value"].to_numpy())
    twin = filter_forward_draws(log_obs, eq.logits, eq.log_initial)[2].sum(axis=1)
    for n in range(4):
        point = one_draw(drawn, draw=n)
        assert float(potential(*(point[rv.name] for rv in model.free_RVs))) == pytest.approx(twin[n], rel=0, abs=1e-9)


# ---- constraints and names


@pytest.fixture(scope="module")
def constrained():
    three = rl.spec.Regimes(count=3, transitions=BY_ORIGIN)
    spec = small_spec(drivers=TWO_DRIVERS, regimes=three, episodes=THREE)
    panel = hand_panel(spec, 12)
    return spec, panel, draw_prior(spec, build_model(spec, panel), 40, random_seed=1)


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("effect_regime", "regime"),
        ("effect_episode", "episode"),
        ("log_scale_episode", "episode"),
        ("driver_effect", "destination"),
        ("driver_origin", "destination"),
        ("driver_origin", "origin"),
        ("leave_log_weights", "onward"),
    ],
)
def test_deviations_sum_to_zero_over_their_own_dimension_alone(constrained, name, dim):
    values = constrained[2][name]
    np.testing.assert_allclose(values.sum(dim), 0.0, atol=1e-12)
    free = {"driver_origin": {"origin", "destination"}}.get(name, {dim})
    for other in set(values.dims) - {"chain", "draw"} - free:
        if values.sizes[other] > 1:
            assert float(np.abs(values.sum(other)).max()) > 1e-3


def test_regimes_are_ordered_by_scale_in_every_episode(constrained):
    spec, panel, drawn = constrained
    eq = evaluate(spec, panel, stack_draws(drawn))
    assert eq.log_scale.shape == (40, 1, 3, 3)
    assert np.all(np.diff(eq.log_scale, axis=3) > 0)
    # The ladder is centred, so episodes and gaps do not move the base.
    np.testing.assert_allclose(eq.log_scale.mean(axis=(1, 2, 3)), drawn["log_scale"].to_numpy()[0, :, 0], atol=1e-12)


def test_kernel_weights_and_initial_law_are_probabilities():
    spec = regimes(count=3, initial="dirichlet")
    drawn = draw_prior(spec, build_model(spec, hand_panel(spec, 8)), 20, random_seed=2)
    np.testing.assert_allclose(drawn["initial"].sum("regime"), 1.0, rtol=1e-12)


def test_dimensions_carry_the_names_of_the_spec():
    spec = replaced(
        CASES["lag on the second"][0],
        regimes=rl.spec.Regimes(count=3, names=("sleepy", "so-so", "wild"), transitions=BY_ORIGIN),
    )
    panel = hand_panel(spec, 8)
    model = build_model(spec, panel)
    held = {name: [str(value) for value in values] for name, values in model.coords.items()}
    assert held["response"] == ["asset"]
    assert held["signal"] == ["metal", "oil"]
    assert held["lagged_signal"] == ["oil"]
    assert held["contemporaneous_signal"] == ["metal", "oil"]
    assert held["driver"] == ["yield"]
    assert held["control"] == ["dollar"]
    assert held["episode"] == ["early", "late"]
    assert held["regime"] == held["origin"] == held["destination"] == ["sleepy", "so-so", "wild"]
    assert held["gap"] == ["so-so over sleepy", "wild over so-so"]
    assert held["lag"] == ["1", "2", "3", "4"]
    assert model.named_vars_to_dims["effect_regime"] == ("lagged_signal", "regime")
    assert model.named_vars_to_dims["driver_effect"] == ("driver", "destination")
    assert model.named_vars_to_dims["driver_origin"] == ("driver", "origin", "destination")
    assert [rv.name for rv in model.observed_RVs] == ["response_value"]


def test_the_model_can_be_extended():
    spec = bare_spec()
    model = build_model(spec, hand_panel(spec, 8))
    with model:
        pm.Potential("mine", -(model["intercept"].sum() ** 2))
        pm.Deterministic("twice", 2 * model["intercept"])
    drawn = draw_prior(spec, model, 2, random_seed=1)
    np.testing.assert_array_equal(drawn["twice"].to_numpy().squeeze(), 2 * drawn["intercept"].to_numpy().squeeze())
    point = model.initial_point()
    logp = model.compile_logp(mode="FAST_COMPILE")
    with model:
        pm.Potential("more", 1.0 + 0.0 * model["log_scale"].sum())
    assert model.compile_logp(mode="FAST_COMPILE")(point) == pytest.approx(float(logp(point)) + 1.0)


def test_prior_draws_follow_the_seed_and_keep_their_shape():
    spec = small_spec()
    model = build_model(spec, hand_panel(spec, 8))
    one, same, other = (draw_prior(spec, model, 3, random_seed=seed) for seed in (1, 1, 2))
    assert one.identical(same)
    assert not one["effect"].equals(other["effect"])
    single = draw_prior(spec, model, 1, random_seed=1)
    assert {n: v.dims for n, v in single.data_vars.items()} == {n: v.dims for n, v in one.data_vars.items()}
    assert single.sizes["draw"] == 1


def test_panels_that_do_not_fit_are_refused():
    spec = small_spec()
    with pytest.raises(rl.errors.PanelError, match="cure"):
        build_model(small_spec(controls=()), hand_panel(spec, 8))


# ---- timing


def two_row_value(z):
    """Log-likelihood of two rows with one driver, by pencil: mixture over the first regime, then over the second."""
    scale = np.exp(np.array([-0.5, 0.5]))
    y, intercept, stay, slope = np.array([0.3, -1.2]), np.array([0.1, -0.2]), np.array([1.0, 0.4]), 0.8
    density = np.exp(-0.5 * ((y[:, None] - intercept) / scale) ** 2) / scale / np.sqrt(2 * np.pi)
    # slope is the effect on the turbulent regime, minus slope that on the calm one.
    to_turbulent = [1 / (1 + np.exp(stay[0] - 2 * slope * z)), 1 / (1 + np.exp(-stay[1] - 2 * slope * z))]
    total = sum(
        0.5 * density[0, i] * ((1 - to_turbulent[i]) * density[1, 0] + to_turbulent[i] * density[1, 1])
        for i in range(2)
    )
    return np.log(total)


def test_the_driver_of_one_row_moves_the_step_into_the_next():
    spec = bare_spec(regimes=rl.spec.Regimes(count=2), drivers=(rl.Driver("yield", "yield"),), family="normal")
    point = {
        "intercept": np.array([[0.1, -0.2]]),
        "log_scale": np.array([0.0]),
        "log_scale_gap": np.array([1.0]),
        "stay_log_odds": np.array([1.0, 0.4]),
        "driver_effect": np.array([[-0.8, 0.8]]),
    }
    panel = hand_panel(spec, 2)
    panel["response_value"][:, 0] = [0.3, -1.2]
    values = {}
    for name, z in {"right": (1.5, -0.7), "last row differs": (1.5, 9.0), "shifted": (-0.7, 1.5)}.items():
        panel["driver_value"][:, 0] = np.array(z)
        model = build_model(spec, panel)
        assert {rv.name for rv in model.free_RVs} == set(point)
        values[name] = float(log_likelihood(model)(*(point[rv.name] for rv in model.free_RVs)))
    assert values["right"] == pytest.approx(two_row_value(1.5), abs=1e-12)
    assert values["last row differs"] == pytest.approx(values["right"], abs=1e-12)
    assert values["shifted"] == pytest.approx(two_row_value(-0.7), abs=1e-12)
    assert abs(values["shifted"] - values["right"]) > 0.01


def test_the_signal_enters_with_lag_one_first():
    """With all weight on lag l, the response at t sees the signal at t - l and no other."""
    kernel = rl.kernels.Dirichlet(mean_lag=2.0, spread=1.0, mean_lag_sd=0.5)
    spec = bare_spec(signals=(rl.Signal("metal", "metal", kernel=kernel, contemporaneous=False),), family="normal")
    panel = hand_panel(spec, 5)
    signal_value = panel["signal_value"].to_numpy()[:, 0]
    for lag in (1, 2, 4):
        weights = np.zeros((1, 4))
        weights[0, lag - 1] = 1.0
        draws = {
            "intercept": np.zeros((1, 1, 1)),
            "effect": np.ones((1, 1)),
            "log_scale": np.zeros((1, 1)),
            "metal_lag_weights": weights,
        }
        location = evaluate(spec, panel, draws).location[0, 0, :, 0]
        np.testing.assert_allclose(location, [signal_value[4 + t - lag] for t in range(5)], atol=1e-15)


# ---- numbers that users really have


@pytest.mark.slow
@pytest.mark.parametrize("family", ["student_t", "normal"])
def test_gradient_is_finite_on_raw_daily_returns(family):
    """Criterion 6: 3,000 daily returns of a few per cent, fat tails, never standardised."""
    spec = small_spec(
        frequency="D",
        family=family,
        signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Gamma()),),
        max_lag=26,
        drivers=TWO_DRIVERS,
    )
    panel = hand_panel(spec, 3000, freq="D")
    rng = np.random.default_rng(6)
    for role in ("response", "signal", "driver", "control"):
        values = panel[f"{role}_value"]
        values[:] = 0.03 * rng.standard_t(2.5, values.shape)
        panel[f"{role}_center"][:] = 0.0
        panel[f"{role}_scale"][:] = 1.0
    # A crash and a halt: thirty daily standard deviations, and a price that does not move.
    panel["response_value"][700] = -0.9
    panel["response_value"][800:820] = 0.0
    model = build_model(spec, panel)
    function = model.logp_dlogp_function(ravel_inputs=True, mode="FAST_COMPILE")
    function.set_extra_values({})
    prior = make_initial_point_fn(model=model, default_strategy="prior", return_transformed=True)
    points = [model.initial_point(), *(prior(seed) for seed in range(10))]
    for point in points:
        value, gradient = function(
            pm.blocking.DictToArrayBijection.map({v.name: point[v.name] for v in model.value_vars})
        )
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient != 0)
