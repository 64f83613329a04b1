"""The model as PyMC's users know it: an observed variable, dates, named data and nodes, predictions."""

from __future__ import annotations

import cloudpickle
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from builders import bare_spec, garch_spec, hand_panel, one_draw, prior_fit, replaced, small_spec
from oracles import enumerate_chain
from pymc.model.fgraph import clone_model
from pymc.model.transform.optimization import freeze_dims_and_data
from pymc.model_graph import ModelGraph
from test_model import CASES, POINT_CASES, own_past

import regimelag as rl
from regimelag.model.build import build_model, draw_prior
from regimelag.model.data import model_coords, model_data, prediction_data
from regimelag.model.observed import draw_given
from regimelag.sampling.compiled import CompiledModel

SPEC = small_spec()
PANEL = hand_panel(SPEC, 30, missing=[3])
# Each has a part of the draws of its own: joint residuals, own lags, volatility, lag, several processes.
KINDS = {
    "one response": (SPEC, (3,)),
    "two responses": (CASES["two responses, lag by both"][0], ((4, 1),)),
    "own regimes": (CASES["own regimes"][0], ()),
    "no drivers": (small_spec(drivers=()), ()),
    "own past": (small_spec(responses=own_past(2)), ()),
    "garch": (garch_spec(), ()),
    "garch and own past": (garch_spec(responses=own_past(1)), ()),
    "point lag by regime": (POINT_CASES["by regime"][0], ()),
    "normal, three regimes": (replaced(CASES["three regimes"][0], family="normal"), ()),
}
QUICK = {"mode": "FAST_COMPILE"}


def every(kinds, quick=()):
    return [pytest.param(*kinds[name], id=name, marks=[] if name in quick else pytest.mark.slow) for name in kinds]


@pytest.fixture(scope="module")
def model():
    return build_model(SPEC, PANEL)


def evaluated(model, variables, point):
    """Values of variables at parameters by name, without compiling."""
    function = pytensor.function(model.free_RVs, variables, mode="FAST_COMPILE", on_unused_input="ignore")
    return function(*(point[rv.name] for rv in model.free_RVs))


def parameters_of(model, point):
    """Parameters of the observed variable at the model's parameters, by name."""
    node = model["response_value"].owner
    return node.op.named(evaluated(model, node.inputs[2:], point))


def test_the_response_is_observed_with_dates_and_without_free_values(model):
    (response,) = model.observed_RVs
    assert response.name == "response_value"
    assert not model.potentials
    assert not any("unobserved" in rv.name for rv in model.free_RVs)
    assert model.named_vars_to_dims["response_value"] == ("time", "response")
    np.testing.assert_array_equal(np.array(model.coords["time"]), PANEL["time"].to_numpy())
    np.testing.assert_array_equal(np.array(model.coords["step"]), PANEL["time"].to_numpy()[1:])
    assert len(model.coords["signal_time"]) == PANEL.sizes["signal_time"]
    assert list(model.coords["regime_process"]) == ["regimes"]
    for name, dims in model.named_vars_to_dims.items():
        shape = model[name].shape.eval() if model[name] in model.data_vars else None
        if shape is not None:
            assert [len(model.coords[dim]) for dim in dims] == list(shape), name


@pytest.mark.slow
def test_the_log_density_of_the_variable_is_that_of_the_sampler(model):
    """PyMC's log density, with its own rewrites, and the compiled one, at prior draws."""
    compiled = CompiledModel(model)
    logp = model.compile_logp(**QUICK)
    for seed in range(3):
        point = compiled.prior_point(seed)
        pieces = dict(zip([value.name for value in model.value_vars], compiled.pieces(point), strict=True))
        assert compiled.value_and_gradient(point)[0] == pytest.approx(float(logp(pieces)), rel=1e-12)


@pytest.mark.parametrize(("spec", "missing"), every(KINDS))
def test_draws_follow_the_log_density(spec, missing):
    """The score has mean zero if the responses are drawn from the distribution whose log density it is of."""
    panel = hand_panel(spec, 25, missing=missing)
    model = build_model(spec, panel)
    point = one_draw(draw_prior(spec, model, 1, random_seed=4))
    free = [rv for rv in model.free_RVs if not rv.name.endswith("_raw")]
    slopes = pt.grad(model["log_likelihood"], free, disconnected_inputs="ignore")
    score = pytensor.function(model.free_RVs, [s.sum() for s in slopes], mode="FAST_COMPILE", on_unused_input="ignore")
    held, op = parameters_of(model, point), model["response_value"].owner.op
    rng, found = np.random.default_rng(5), []
    for _ in range(400):
        y = op.rng_fn(rng, *held.values(), None)
        drawn = panel.copy(deep=True)
        drawn["response_value"][:] = np.where(np.isnan(panel["response_value"]), np.nan, y)
        for name, values in model_data(spec, drawn).items():
            model[name].set_value(values)
        found.append(score(*(point[rv.name] for rv in model.free_RVs)))
    found = np.array(found)
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (error > 0).any()
    assert np.all(np.abs(found.mean(axis=0)) < 5 * error + 1e-9)


def test_later_responses_follow_the_filtered_regime(model):
    """The mean of the row after the known ones, against all regime paths."""
    spec = bare_spec(regimes=rl.spec.Regimes(count=2), drivers=(rl.Driver("yield", "yield"),), family="normal")
    panel = hand_panel(spec, 6)
    panel["response_value"][3, 0] = np.nan
    panel["response_value"][5, 0] = np.nan
    model = build_model(spec, panel)
    point = {
        "intercept": np.array([[-2.0, 2.0]]),
        "log_scale": np.array([0.5]),
        "log_scale_gap": np.array([0.3]),
        "stay_log_odds": np.array([1.5, 1.0]),
        "driver_effect": np.array([[-0.8, 0.8]]),
    }
    known = model_data(spec, panel, known=True)["response_known"]
    held = parameters_of(model, point) | {"response_known": known}
    rng = np.random.default_rng(1)
    draws = np.array([draw_given(spec, held, rng) for _ in range(800)])[..., 0]
    probability = evaluated(model, model["transition_probability"], point)
    log_obs = evaluated(model, model["log_observation"], point).T
    smoothed = enumerate_chain(log_obs, np.log(probability), np.log([0.5, 0.5])).smoothed
    for row in (3, 5):
        expected = smoothed[row] @ point["intercept"][0]
        assert abs(draws[:, row].mean() - expected) < 5 * draws[:, row].std() / np.sqrt(len(draws))
    seen = [0, 1, 2, 4]
    np.testing.assert_array_equal(
        draws[:, seen], np.broadcast_to(panel["response_value"].to_numpy()[seen, 0], (800, 4))
    )


def test_parameters_with_a_batch_give_a_batch_of_draws(model):
    point = one_draw(draw_prior(SPEC, model, 1, random_seed=4))
    held = parameters_of(model, point)
    op = model["response_value"].owner.op
    several = held | {"location": np.stack([held["location"], held["location"] + 1000.0])}
    drawn = op.rng_fn(np.random.default_rng(1), *several.values(), None)
    assert drawn.shape == (2, 30, 1)
    assert abs(drawn[0]).max() < 500 < drawn[1].min()
    assert op.rng_fn(np.random.default_rng(1), *held.values(), (3, 2)).shape == (3, 2, 30, 1)


def test_single_precision_is_refused_in_words():
    with pytensor.config.change_flags(floatX="float32"):
        with pytest.raises(rl.RegimelagError, match="double precision"):
            build_model(SPEC, PANEL)
        with pm.Model() as single:
            pm.Normal("x")
        with pytest.raises(rl.RegimelagError, match="double precision"):
            rl.sample(single)


def test_quantities_have_names(model):
    point = one_draw(draw_prior(SPEC, model, 1, random_seed=4))
    names = ("metal_lag_weights", "lagged_effect", "location", "transition_probability", "log_residual_scale")
    weights, effect, location, probability, scale = evaluated(model, [model[name] for name in names], point)
    assert weights.sum() == pytest.approx(1.0)
    assert effect.shape == (2, 1, 1, 2)
    assert effect[0, 0, 0, 0] == pytest.approx(
        point["effect"][0] + point["effect_regime"][0, 0] + point["effect_episode"][0, 0]
    )
    assert location.shape == (1, 2, 30)
    np.testing.assert_allclose(probability.sum(axis=-1), 1.0)
    assert probability.shape == (29, 2, 2)
    assert scale.shape == (2, 1, 2)
    assert "location" in model
    assert not set(names) & {variable.name for variable in (*model.deterministics, *model.free_RVs)}


@pytest.mark.slow
def test_a_second_likelihood_and_a_potential_use_the_lag_weights():
    """What an experiment says of the lag adds its log density, and nothing else."""
    own = build_model(SPEC, PANEL)
    before = float(own.compile_logp(**QUICK)(own.initial_point()))
    with own:
        mean_lag = (own["metal_lag_weights"] * np.arange(1, 5)).sum()
        pm.Normal("experiment", mean_lag, 0.5, observed=2.0)
        pm.Potential("belief", -own["transition_probability"].sum())
    point = one_draw(draw_prior(SPEC, own, 1, random_seed=4))
    after = own.compile_logp(**QUICK)(own.initial_point())
    parts = own.point_logps(own.initial_point())
    assert float(after) == pytest.approx(before + parts["experiment"] + parts["belief"], abs=0.02)
    compiled = CompiledModel(own)
    at = compiled.point(point)
    pieces = dict(zip([value.name for value in own.value_vars], compiled.pieces(at), strict=True))
    assert compiled.value_and_gradient(at)[0] == pytest.approx(float(own.compile_logp(**QUICK)(pieces)), rel=1e-12)


def test_variables_of_ones_own_may_have_the_names_of_quantities():
    own = build_model(SPEC, PANEL)
    node = own["location"]
    with own:
        mine = pm.Normal("location")
    assert own["location"] is mine
    assert own.nodes["location"] is node


def test_processes_may_have_any_name():
    """Names of dimensions are made of that of a process: none is one of the data's or of joint regimes."""
    for name in ("joint", "observed", "transition"):
        process = rl.spec.RegimeProcess(name, drivers=("yield",), responses=("asset",))
        spec = replaced(CASES["two responses"][0], regime_processes=(process,))
        model = build_model(spec, hand_panel(spec, 6))
        assert len(model.coords["regime_combination"]) == 2


@pytest.mark.slow
def test_a_term_enters_the_location():
    """A dummy for one row, with a coefficient of its own, moves that row and no other."""
    row = np.zeros(30)
    row[7] = 1.0

    def holiday(model):
        return pm.Normal("holiday", 0.0, 1.0) * pm.Data("is_holiday", row, dims="time")

    own, plain = build_model(SPEC, PANEL, term=holiday), build_model(SPEC, PANEL)
    point = one_draw(draw_prior(SPEC, own, 1, random_seed=4))
    moved = evaluated(own, own["location"], point) - evaluated(plain, plain["location"], point)
    np.testing.assert_allclose(moved, np.broadcast_to(point["holiday"] * row, moved.shape), atol=1e-12)
    draws = prior_fit(SPEC, PANEL, 3)["posterior"].to_dataset().assign(holiday=0.1)
    with pytest.raises(rl.errors.FitError, match="term"):
        rl.as_fit(xr.DataTree.from_dict({"/posterior": draws}), SPEC, PANEL, model=own)


def test_graphs_show_an_observed_variable_and_plates(model):
    plates = {
        plate.dim_info.names: {node.var.name for node in plate.variables} for plate in ModelGraph(model).get_plates()
    }
    assert {"response_value", "response_observed", "response_missing"} <= plates["time", "response"]
    assert "log_scale_episode" in plates["response", "episode"]
    text = pm.model_to_mermaid(model)
    assert "response_value" in text
    assert "Potential" not in text
    assert "RegimeSwitching" in model.str_repr()


@pytest.mark.slow
def test_transforms_of_models_keep_the_likelihood(model):
    point = model.initial_point()
    expected = float(model.compile_logp(**QUICK)(point))
    others = {
        "clone": clone_model(model),
        "frozen": freeze_dims_and_data(model),
        "pickled": cloudpickle.loads(cloudpickle.dumps(model)),
    }
    for name, other in others.items():
        assert float(other.compile_logp(**QUICK)(point)) == pytest.approx(expected, rel=1e-12), name


def test_an_intervention_removes_a_variable_and_its_prior_predictive_follows(model):
    quiet = pm.do(model, {"log_scale": np.array([-20.0]), "log_scale_episode": np.zeros((1, 2))})
    assert "log_scale" not in {rv.name for rv in quiet.free_RVs}
    known = pm.observe(model, {"intercept": np.zeros((1, 2))})
    assert {rv.name for rv in known.observed_RVs} == {"response_value", "intercept"}
    location, drawn = pm.draw(
        [quiet["response_value"].owner.inputs[2], quiet["response_value"]], 1, **QUICK, random_seed=1
    )
    assert np.abs(drawn - location[0].T).min(axis=1).max() < 1e-3


@pytest.mark.slow
def test_other_dates_can_be_set():
    """The density of a longer panel after `pymc.set_data`, and of a new model of it."""
    own = build_model(SPEC, PANEL)
    longer = hand_panel(SPEC, 44, seed=3, missing=[10])
    with own:
        pm.set_data(model_data(SPEC, longer), coords=model_coords(SPEC, longer))
    fresh = build_model(SPEC, longer)
    point = fresh.initial_point()
    assert float(own.compile_logp(**QUICK)(point)) == pytest.approx(
        float(fresh.compile_logp(**QUICK)(point)), rel=1e-12
    )
    assert len(own.coords["time"]) == 44


# ---- PyMC's own functions on a fit


def weekly(spec, weeks=110):
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True).iloc[-weeks:]).copy(deep=True)
    panel["response_value"][[20, -1], 0] = np.nan
    return panel


AHEAD = {
    "baseline": rl.read_spec("btc_silver"),
    "garch": rl.read_spec("garch"),
    "own past": replaced(
        rl.read_spec("btc_silver"),
        responses=(replaced(rl.read_spec("btc_silver").responses[0], autoregression=2),),
    ),
    "point lag": replaced(
        rl.read_spec("btc_silver"),
        signals=(replaced(rl.read_spec("btc_silver").signals[0], kernel=rl.kernels.Point()),),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("spec", AHEAD.values(), ids=AHEAD)
def test_predictions_are_the_forecast(spec):
    """Two independent codes with the same parameters: the shares below each quantile differ by Monte Carlo error."""
    panel = weekly(spec)
    fit, model = prior_fit(spec, panel, 500, seed=3), build_model(spec, panel)
    moves = rl.scenario(panel, horizon=8, factors={"silver_usd": 1.4}, over=2)
    data, coords = prediction_data(spec, panel, scenario=moves)
    with model:
        pm.set_data(data, coords=coords)
        tree = pm.sample_posterior_predictive(
            fit, predictions=True, random_seed=1, progressbar=False, compile_kwargs=QUICK
        )
    drawn = tree["predictions"]["response_value"]
    assert drawn.dims == ("chain", "draw", "time", "response")
    known = panel["response_value"].notnull().to_numpy()[:, 0]
    window = drawn.isel(time=slice(0, len(known)), response=0)
    np.testing.assert_allclose(
        window[..., known], np.broadcast_to(panel["response_value"].to_numpy()[known, 0], window[..., known].shape)
    )
    assert window[..., ~known].std() > 0.1
    ahead = rl.forecast(fit, scenario=moves, random_seed=2)
    np.testing.assert_array_equal(drawn["time"][-8:], ahead["date"])
    center, scale = (float(panel[f"response_{what}"][0]) for what in ("center", "scale"))
    mine = (drawn.isel(time=slice(-8, None), response=0) * scale + center).to_numpy().reshape(-1, 8)
    theirs = ahead["response_value"].to_numpy().reshape(-1, 8)
    for level in (0.1, 0.3, 0.5, 0.7, 0.9):
        below = (mine < np.quantile(theirs, level, axis=0)).mean(axis=0)
        assert np.all(np.abs(below - level) < 5 * np.sqrt(2 * level * (1 - level) / len(mine)))


@pytest.mark.slow
def test_pymc_fills_its_groups(tiny):
    spec, panel, fit = tiny
    model = build_model(spec, panel)
    with model:
        prior = pm.sample_prior_predictive(4, random_seed=1, compile_kwargs=QUICK)
        after = pm.sample_posterior_predictive(fit, random_seed=1, progressbar=False, compile_kwargs=QUICK)
        found = pm.compute_log_likelihood(fit, extend_inferencedata=False, progressbar=False, compile_kwargs=QUICK)
    assert prior["prior_predictive"]["response_value"].dims == ("chain", "draw", "time", "response")
    assert after["posterior_predictive"]["response_value"].shape == (2, 6, 8, 1)
    np.testing.assert_array_equal(after["posterior_predictive"]["time"], panel["time"])
    assert np.isfinite(after["posterior_predictive"]["response_value"]).all()
    seen = int(panel["response_value"].notnull().sum())
    joint = fit["one_step_ahead"]["response_value"].sum("time") + seen * np.log(float(panel["response_scale"][0]))
    np.testing.assert_allclose(found["response_value"], joint, rtol=1e-9)
    assert found["response_value"].dims == ("chain", "draw")
    model.debug()
