"""What users of PyMC and ArviZ try first, and what each call returns."""

from __future__ import annotations

import copy

import arviz as az
import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest
from builders import bare_spec, cut, hand_panel, prior_fit
from matplotlib import pyplot as plt
from pymc.model.transform.conditioning import change_value_transforms, remove_value_transforms

import regimelag as rl

pytestmark = pytest.mark.slow

SPEC = bare_spec(family="normal", controls=(rl.Control("dollar", "dollar"),))
PANEL = hand_panel(SPEC, 40)
QUIET = {"progressbar": False, "random_seed": 1}
QUICK = {"mode": "FAST_COMPILE"}


@pytest.fixture(scope="module")
def model():
    return rl.build_model(SPEC, PANEL)


@pytest.fixture(scope="module")
def by_pymc(model):
    """Draws of PyMC's default sampler, whatever that is."""
    with model:
        return pm.sample(draws=1000, tune=500, chains=2, cores=1, compute_convergence_checks=False, **QUIET)


def near(values, reference, name):
    """Whether means agree within five combined Monte Carlo standard errors."""
    one, other = values["posterior"][name], reference["posterior"][name]
    errors = [float(az.mcse(each.to_dataset(name=name))[name].max()) for each in (one, other)]
    return np.abs(one.mean(("chain", "draw")) - other.mean(("chain", "draw"))).max() < 5 * np.hypot(*errors)


@pytest.mark.parametrize(
    "settings", [{"nuts_sampler": "pymc"}, {"nuts_sampler": "nutpie"}, {"nuts_sampler": "numpyro"}]
)
def test_every_sampler_of_pymc_draws_from_the_posterior_of_fit(model, by_pymc, settings):
    if settings["nuts_sampler"] == "numpyro":
        pytest.importorskip("numpyro")
    with model:
        draws = pm.sample(
            draws=1000, tune=500, chains=2, cores=1, compute_convergence_checks=False, **settings, **QUIET
        )
    fit = rl.as_fit(draws, SPEC, PANEL, model=model, prior_draws=20, random_seed=1)
    own = rl.fit(SPEC, PANEL, draws=1000, tune=500, chains=2, cores=1, starts=2, prior_draws=20, **QUIET)
    assert near(fit, own, "control_effect")
    assert near(by_pymc, own, "log_scale")
    assert fit["posterior"].attrs["inference_library"] in ("pymc", "nutpie", "numpyro")
    assert set(fit["observed_data"].data_vars) == {"response_value"}


def test_optimisation_and_approximations_take_the_model(model, by_pymc):
    with model:
        top = pm.find_MAP(progressbar=False)
        mean_field = pm.fit(20_000, method="advi", **QUIET).sample(500, random_seed=1)
        monte_carlo = pm.sample_smc(500, chains=2, cores=1, progressbar=False, random_seed=1)
        laplace = pmx.fit_laplace(draws=1000, progressbar=False, random_seed=1)
    logp = model.compile_logp(**QUICK)
    assert logp(top | {name: top[name] for name in model.initial_point()}) > logp(model.initial_point())
    reference = by_pymc["posterior"]["control_effect"]
    for tree in (mean_field, monte_carlo, laplace):
        gap = abs(tree["posterior"]["control_effect"].mean() - reference.mean()) / reference.std()
        assert float(gap) < 0.3


def test_steps_of_pymc_draw_from_the_posterior(model, by_pymc):
    settings = {"tune": 1000, "chains": 2, "cores": 1, "compute_convergence_checks": False, **QUIET}
    with model:
        hamiltonian = pm.sample(1000, step=pm.HamiltonianMC(), **settings)
        mixed = pm.sample(1000, step=[pm.NUTS([model["intercept"]]), pm.Metropolis([model["log_scale"]])], **settings)
    for draws in (hamiltonian, mixed):
        for name in ("intercept", "control_effect", "log_scale"):
            assert near(draws, by_pymc, name), name


def test_a_model_is_written_copied_and_compiled_in_every_mode(model, by_pymc):
    point = model.initial_point()

    def value_and_slopes(one, mode):
        variables = [one[name] for name in point]
        return one.compile_logp(mode=mode)(point), one.compile_dlogp(variables, mode=mode)(point)

    expected = value_and_slopes(model, "FAST_COMPILE")
    for one, mode in ((model, "FAST_RUN"), (model, "NUMBA"), (copy.deepcopy(model), "FAST_COMPILE")):
        found = value_and_slopes(one, mode)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)
    for written in (model._repr_latex_(), model.str_repr(), pm.model_to_mermaid(model)):
        assert all(name.split("_")[0] in written for name in ("intercept", "control_effect", "response_value"))
    assert len(model.table().columns) >= 3
    with model:
        computed = pm.compute_deterministics(by_pymc, progressbar=False, compile_kwargs=QUICK)
    assert set(computed.data_vars) == {one.name for one in model.deterministics}


def test_densities_by_variable(model, by_pymc):
    with model:
        prior = pm.compute_log_prior(by_pymc, extend_inferencedata=False, progressbar=False, compile_kwargs=QUICK)
        joint = pm.compute_log_likelihood(by_pymc, extend_inferencedata=False, progressbar=False, compile_kwargs=QUICK)
    fit = rl.as_fit(by_pymc, SPEC, PANEL, model=model, prior_draws=2, random_seed=1)
    for name, values in fit["log_prior"].data_vars.items():
        np.testing.assert_allclose(prior[name].sum([d for d in prior[name].dims if d not in values.dims]), values)
    units = 40 * np.log(float(PANEL["response_scale"][0]))
    total = fit["one_step_ahead"]["response_value"].sum("time") + units
    np.testing.assert_allclose(joint["response_value"], total, rtol=1e-9)
    model.debug()
    assert set(model.point_logps()) == {rv.name for rv in model.basic_RVs}


def test_transforms_of_values_keep_the_density(model):
    point = {"intercept": np.array([[0.1]]), "control_effect": np.array([[0.2]]), "log_scale": np.array([-0.3])}
    expected = float(model.compile_logp(**QUICK)(point))
    assert float(remove_value_transforms(model).compile_logp(**QUICK)(point)) == pytest.approx(expected)
    moved = change_value_transforms(model, {"log_scale": pm.distributions.transforms.Interval(-5, 5)})
    assert "log_scale_interval__" in moved.initial_point()


PLOTS = {
    "plot_trace": {},
    "plot_trace_dist": {},
    "plot_rank": {},
    "plot_rank_dist": {},
    "plot_forest": {},
    "plot_dist": {},
    "plot_prior_posterior": {},
    "plot_ess": {},
    "plot_mcse": {},
    "plot_autocorr": {},
}


@pytest.mark.parametrize("name", PLOTS)
def test_figures_of_parameters_show_the_parameter(name, idata):
    drawn = getattr(az, name)(idata, var_names=["effect"], **PLOTS[name])
    groups = [group.to_dataset() for group in drawn.viz.subtree]
    assert any("effect" in group or "effect" in map(str, group.get("column", [])) for group in groups)
    plt.close("all")


def test_figures_of_the_whole_fit(idata):
    assert az.plot_energy(idata).viz is not None
    assert az.plot_pair(idata, var_names=["effect", "log_scale"]).viz is not None
    for group in ("posterior", "prior"):
        drawn = az.plot_ppc_dist(idata, group=f"{group}_predictive")
        assert any("response_value" in one.to_dataset() for one in drawn.viz.subtree)
    assert az.plot_ppc_tstat(idata).viz is not None
    loo = az.loo(rl.leave_one_out(idata), pointwise=True)
    assert az.plot_khat(loo).viz is not None
    plt.close("all")


def test_figures_of_one_response_without_its_axis(idata):
    one, left_out = idata.sel(response="bitcoin"), rl.leave_one_out(idata)
    figures = [az.plot_ppc_pit(one), az.plot_ppc_pit(one, coverage=True), az.plot_ppc_interval(one)]
    figures += [az.plot_ppc_pit(left_out), az.plot_loo_pit(left_out)]
    for drawn in figures:
        assert any("response_value" in each.to_dataset() for each in drawn.viz.subtree)
    plt.close("all")


def test_figures_of_convergence_and_of_sensitivity_show_the_parameter(idata):
    effect = {"var_names": ["effect"]}
    figures = [
        az.plot_convergence_dist(idata, **effect),
        az.plot_pair(idata, var_names=["effect", "log_scale"], visuals={"divergence": True}),
        az.plot_psense_dist(rl.one_step_ahead(idata), **effect),
        az.plot_psense_quantities(rl.one_step_ahead(idata), **effect),
    ]
    assert all(drawn.viz is not None for drawn in figures)
    plt.close("all")


def test_tables_and_scores_of_a_fit(idata):
    posterior, seen = idata["posterior"], int(rl.panel_of(idata)["response_value"].notnull().sum())
    summary = az.summary(idata, var_names=["log_scale"], kind="stats", round_to="none")
    np.testing.assert_allclose(summary["mean"], posterior["log_scale"].mean(("chain", "draw")), rtol=1e-9)
    count = posterior.sizes["chain"] * posterior.sizes["draw"]
    assert az.extract(idata).sizes["sample"] == count
    energy = az.bfmi(idata)["energy"]
    assert energy.sizes == {"chain": posterior.sizes["chain"]}
    assert (energy > 0).all()

    left_out = rl.leave_one_out(idata)
    loo = az.loo(left_out, pointwise=True)
    assert loo.elpd_i.sizes == {"time": seen}
    table = az.compare({"one": left_out, "again": left_out}, round_to="none")
    assert table["elpd"].tolist() == pytest.approx([loo.elpd, loo.elpd])
    pits = az.loo_pit(left_out)["response_value"]
    assert pits.sizes == {"time": seen}
    assert ((pits >= 0) & (pits <= 1)).all()
    expected, _ = az.loo_expectations(left_out)
    assert expected.sizes == {"time": seen}
    observed = left_out["observed_data"]["response_value"]
    errors = az.loo_metrics(left_out, kind="rmse", round_to="none")
    assert errors.mean == pytest.approx(float(np.sqrt(((expected - observed) ** 2).mean())), rel=1e-6)
    assert az.loo_score(left_out, kind="crps", pointwise=True).pointwise.sizes == {"time": seen}

    sensitivity = az.psense_summary(rl.one_step_ahead(idata), var_names=["effect"])
    assert sensitivity.index.str.startswith("effect").all()
    assert (sensitivity[["prior", "likelihood"]] >= 0).all(axis=None)
    with pytest.raises(ValueError, match="continuous"):
        az.plot_ppc_rootogram(idata)


def test_parameters_have_meanings_and_units(idata):
    effect = idata["posterior"]["effect"]
    assert effect.attrs["long_name"] == "cumulative lagged effect of each signal"
    assert effect.attrs["units"] == "response sd per signal sd"
    assert idata["posterior"].attrs["inference_library"] == "nutpie"
    assert idata["posterior"].attrs["tuning_steps"] == 300
    # An elasticity does not have the unit of the standardised parameter.
    assert "units" not in rl.effects(idata)["contemporaneous"].attrs


@pytest.mark.long
def test_the_baseline_posterior_is_that_of_each_sampler(flagship, example):
    """nutpie, PyMC's NUTS and NumPyro: the largest difference of means, in combined standard errors."""
    pytest.importorskip("numpyro")
    panel, settings = (
        cut(example, 120),
        {"draws": 1000, "tune": 1000, "chains": 4, "starts": 4, "prior_draws": 20, **QUIET},
    )
    fits = [rl.fit(flagship, panel, nuts_sampler=name, **settings) for name in ("nutpie", "pymc", "numpyro")]
    tables = [az.summary(fit, kind="all", round_to="none") for fit in fits]
    for one, other in ((tables[0], tables[1]), (tables[0], tables[2]), (tables[1], tables[2])):
        distance = (one["mean"] - other["mean"]) / np.hypot(one["mcse_mean"], other["mcse_mean"])
        assert distance.abs().max() < 4


def test_loo_of_pymc_log_likelihood_warns(tiny):
    """The joint density is one observation, and ArviZ says so."""
    spec, panel, _ = tiny
    fit = prior_fit(spec, panel, 60)
    with rl.build_model(spec, panel):
        pm.compute_log_likelihood(fit, progressbar=False, compile_kwargs=QUICK)
    with pytest.warns(UserWarning, match="double check the Observed RV"):
        az.loo(fit)
