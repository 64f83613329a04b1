"""Calibration: the right model passes, wrong ones do not, and no simulation is lost or left out."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, one_draw, plain_chain, prior_draws, priors, replaced, small_spec
from oracles import enumerate_chain, log_total
from scipy import stats

import regimelag as rl
from regimelag.evaluation.calibration.rank_table import _entries
from regimelag.evaluation.calibration.sbc import _quantities, _ranked
from regimelag.likelihood.garch import garch_logpdf
from regimelag.model.build import build_model
from regimelag.panel.slicing import last_rows
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.nuts import sample_nutpie

# Drivers that matter, or a gap of which a few rows say little: what a wrong model below gets wrong then shows.
SPEC = replaced(
    small_spec(),
    regimes=rl.spec.Regimes(transitions=rl.spec.Markov(expected_duration=4.0)),
    priors=priors(driver_effect=2.0) | {"log_scale_gap": rl.Prior("LogNormal", mu=np.log(1.5), sigma=0.4)},
)
GAP = bare_spec(
    regimes=rl.spec.Regimes(count=2), priors={"log_scale_gap": rl.Prior("LogNormal", mu=np.log(0.5), sigma=1.0)}
)
QUICK = rl.Sampler(draws=250, tune=250, chains=2, target_accept=0.9, starts=2)
LIGHT = {"sampler": QUICK, "thinned": 49, "progressbar": False}


def driver_a_row_late(spec, panel):
    z = panel["driver_value"]
    return build_model(spec, panel.assign(driver_value=(z.dims, np.concatenate([z[:1], z[:-1]]))))


def no_jacobian_of_the_order(spec, panel):
    """The log of the gap is its unconstrained value, and so the log-Jacobian."""
    model = build_model(spec, panel)
    with model:
        pm.Potential("undone", -pt.log(model["log_scale_gap"]).sum())
    return model


def fails_for_a_high_first_value(spec, panel):
    model = build_model(spec, panel)
    y = model["response_observed"]
    with model:
        pm.Potential("refused", pt.switch(y[0, 0] > 1.0, np.nan, 0.0))
    return model


def fails_always(spec, panel):
    raise RuntimeError("no model today")


def study(length, simulations, *, spec=SPEC, build=build_model, random_seed=1, **options):
    """Fits one after the other in this process, which has the compiled recursions already."""
    with ThreadPoolExecutor(1) as pool:
        options = LIGHT | {"executor": pool} | options
        panel = hand_panel(spec, length, missing=(7,))
        return rl.evaluation.sbc(spec, panel, random_seed=random_seed, simulations=simulations, build=build, **options)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sbc")
    return study(30, 8, folder=folder), folder


@pytest.mark.long
@pytest.mark.slow
def test_the_right_model_is_calibrated(kept):
    table = rl.evaluation.sbc_table(study(30, 40, folder=kept[1]))
    # A right model passes for 999 seeds of 1,000.
    assert table["p, Holm"].min() > 1e-3
    assert table.attrs["simulations"] == 40
    assert table.attrs["failed"] == 0


@pytest.mark.long
@pytest.mark.slow
def test_a_response_with_its_own_past_is_calibrated():
    own = tuple(replaced(one, autoregression=2) for one in SPEC.responses)
    table = rl.evaluation.sbc_table(study(40, 40, spec=replaced(SPEC, responses=own)))
    assert {"autoregression[asset, 1]", "autoregression[asset, 2]"} <= set(table.index)
    assert table["p, Holm"].min() > 1e-3
    assert table.attrs["failed"] == 0


@pytest.mark.slow
def test_garch_is_calibrated():
    """A row is missing; 60 ranks of each parameter, of the likelihood and of the joint density."""
    table = rl.evaluation.sbc_table(study(120, 60, spec=bare_spec(volatility="garch")))
    assert {"garch_persistence", "garch_arch_share", "log_scale[asset]", "log_likelihood"} <= set(table.index)
    assert table["p, Holm"].min() > 1e-3
    assert table.attrs["failed"] == 0


@pytest.mark.slow
def test_garch_with_its_weights_exchanged_is_found(monkeypatch):
    def exchanged(y, location, log_scale, episode, alpha, beta, nu):
        return garch_logpdf(y, location, log_scale, episode, beta, alpha, nu)

    monkeypatch.setattr("regimelag.model.observed.garch_logpdf", exchanged)
    table = rl.evaluation.sbc_table(study(121, 40, spec=bare_spec(volatility="garch")))
    assert table["p, Holm"].min() < 0.01


@pytest.mark.slow
def test_the_table_has_a_row_for_each_quantity(kept):
    table = rl.evaluation.sbc_table(kept[0])
    assert list(table.columns) == ["mean rank", "p", "p, Holm", "verdict"]
    assert {"log_joint", "peak_lag[metal]"} <= set(table.index)
    assert table["p, Holm"].between(0, 1).all()
    assert table.attrs["simulations"] == 8


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "spec", "rows"), [(driver_a_row_late, SPEC, 120), (no_jacobian_of_the_order, GAP, 10)]
)
def test_wrong_models_are_found(build, spec, rows):
    table = rl.evaluation.sbc_table(study(rows, 40, build=build, spec=spec))
    assert (table["verdict"] == "not calibrated").any()
    assert table["p, Holm"].min() < 0.01


@pytest.mark.slow
def test_quantities_and_their_groups(kept):
    tree, _ = kept
    ranks, truth, diagnostics = (tree[name].to_dataset() for name in ("prior_sbc", "truth", "diagnostics"))
    free = {"intercept", "effect", "effect_regime_sd", "effect_regime_raw", "log_scale_gap", "metal_lag_location"}
    read = {"log_joint", "log_likelihood", "mean_regime", "mean_lag", "median_lag", "peak_lag", "lagged_effect"}
    assert free | read | {"lagged_effect_by_regime", "lagged_effect_by_episode"} <= set(ranks.data_vars)
    assert set(ranks.data_vars) == set(truth.data_vars)
    assert dict(ranks.sizes)["chain"] == 1
    assert all(values.dims[:2] == ("chain", "draw") for values in ranks.data_vars.values())
    assert ranks.sizes["draw"] == truth.sizes["simulation"] == diagnostics.sizes["simulation"] == 8
    assert list(ranks["effect_regime_raw"]["regime"].to_numpy()) == ["calm", "turbulent"]
    for values in ranks.data_vars.values():
        assert ((values > 0) & (values < 1)).all()
    assert (diagnostics["error"] == "").all()
    assert (diagnostics["ess_bulk"] > 0).all()
    # Truths are drawn from the prior, whose order is positive gaps.
    assert (truth["log_scale_gap"] > 0).all()
    logs = np.log(truth["log_scale_gap"].to_numpy().ravel())
    assert stats.kstest(logs, stats.norm(np.log(1.5), 0.4).cdf).pvalue > 1e-3


@pytest.mark.slow
def test_a_second_call_runs_nothing_and_more_simulations_add(kept):
    tree, folder = kept
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = study(30, 8, folder=folder)
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    xr.testing.assert_identical(tree.to_dataset(), again.to_dataset())
    for name in ("prior_sbc", "truth", "diagnostics"):
        xr.testing.assert_identical(tree[name].to_dataset(), again[name].to_dataset())
    more = study(30, 10, folder=folder)
    assert more["prior_sbc"].sizes["draw"] == 10
    xr.testing.assert_identical(tree["truth"].to_dataset(), more["truth"].to_dataset().isel(simulation=slice(8)))
    with pytest.raises(rl.errors.FitError, match="draws: 250, now 251"):
        study(30, 8, folder=folder, sampler=dataclasses.replace(QUICK, draws=251))
    with pytest.raises(rl.errors.FitError, match="panel_sha256"):
        study(31, 8, folder=folder)


def test_failed_simulations_are_counted_against(tmp_path):
    tree = study(12, 8, build=fails_for_a_high_first_value, folder=tmp_path, spec=bare_spec())
    errors = tree["diagnostics"]["error"].to_numpy()
    failed = int((errors != "").sum())
    assert 0 < failed < 8
    assert tree.attrs["failed"] == failed
    assert all("the log posterior is finite" in error for error in errors if error)
    assert tree["prior_sbc"].sizes["draw"] == 8 - failed
    assert list(tree["prior_sbc"]["draw"].to_numpy()) == list(np.flatnonzero(errors == ""))
    assert np.isnan(tree["diagnostics"]["rhat"].to_numpy()[errors != ""]).all()
    table = rl.evaluation.sbc_table(tree)
    assert table.attrs["failed"] == failed
    # The p-value is that of the worst place for those without a rank.
    more = tree.copy()
    more.attrs["failed"] = 40
    assert (rl.evaluation.sbc_table(more)["p, Holm"] < 0.01).all()


def test_if_all_fail_it_says_why():
    with pytest.raises(rl.errors.FitError, match="no model today"):
        study(12, 2, build=fails_always)


def test_ties_are_broken_at_random():
    rng = np.random.default_rng(5)
    drawn = xr.Dataset({"peak": (("chain", "draw"), rng.poisson(1.0, (2, 400)))})
    drawn["log_joint"] = (("chain", "draw"), rng.standard_normal((2, 400)))
    ranks = []
    for _ in range(2000):
        truth = xr.Dataset({"peak": ((), rng.poisson(1.0)), "log_joint": ((), rng.standard_normal())})
        ranks.append(_ranked(truth, drawn, 99, rng)["rank"]["data_vars"]["peak"]["data"])
    # The draws are fixed, so uniform up to their own frequencies: compare with what those frequencies imply.
    few = drawn["peak"].to_numpy().ravel()[np.linspace(0, 799, 99).round().astype(int)]
    points = np.linspace(0.05, 0.95, 10)
    values = np.arange(12)
    low = np.array([(few < v).sum() for v in values]) / 100
    high = np.array([(few <= v).sum() + 1 for v in values]) / 100
    expected = stats.poisson(1.0).pmf(values) @ np.clip((points - low[:, None]) / (high - low)[:, None], 0, 1)
    observed = (np.array(ranks)[:, None] <= points).mean(axis=0)
    np.testing.assert_allclose(observed, expected, atol=5 * np.sqrt(0.25 / 2000))


def test_log_likelihood_is_the_sum_over_all_paths():
    panel = hand_panel(SPEC, 6, missing=(2,))
    draws = prior_draws(SPEC, panel, 3)
    paths = xr.DataArray(np.zeros((2, 3, 6)), dims=("chain", "draw", "time"))
    panel["regime_path"] = ("time", np.zeros(6))
    found = _quantities(SPEC, panel, draws, paths, xr.zeros_like(draws["effect"].isel(lagged_signal=0)))
    for chain, draw in np.ndindex(2, 3):
        log_obs, log_p, log_init = plain_chain(SPEC, panel, one_draw(draws, chain, draw))
        expected = log_total(enumerate_chain(log_obs, log_p, log_init).log_joint)
        assert float(found["log_likelihood"][chain, draw]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
def test_log_joint_of_a_draw_is_that_of_the_truth_with_the_same_values():
    compiled = CompiledModel(build_model(SPEC, hand_panel(SPEC, 20)))
    settings = {"draws": 20, "tune": 100, "chains": 2, "cores": 1, "target_accept": 0.9}
    fitted = sample_nutpie(compiled, compiled.prior_point, 3, False, settings)
    posterior = fitted["posterior"].to_dataset()
    for chain, draw in ((0, 0), (1, 7), (1, 19)):
        value = compiled.value_and_gradient(compiled.point(one_draw(posterior, chain, draw)))[0]
        assert value == pytest.approx(float(fitted["sample_stats"]["logp"][chain, draw]), rel=1e-9)


@pytest.mark.slow
def test_arviz_draws_the_ranks(kept):
    tree, _ = kept
    names = ["effect", "log_likelihood", "peak_lag"]
    drawn = az.plot_ecdf_pit(tree, group="prior_sbc", var_names=names)
    for name in names:
        values = np.sort(tree["prior_sbc"][name].to_numpy().ravel())
        x, y = drawn.viz["ecdf_lines"][name].values.ravel()[0].get_xydata().T
        np.testing.assert_allclose(y, np.searchsorted(values, x, side="right") / len(values) - x, atol=1e-9)
    plt.close("all")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"build": lambda spec, panel: None}, "a function of a module"),
        ({"thinned": 501}, "as many draws"),
        ({"sampler": {"draws": 10}}, "sampler is a Sampler"),
        ({"sampler": rl.Sampler(nuts_sampler="pymc")}, "one compiled model"),
        ({"sampler": rl.Sampler(options={"backend": "jax"})}, "compiled by numba"),
        ({"rows": 31}, "at most all"),
    ],
)
def test_bad_arguments_fail_at_the_door(options, said):
    with pytest.raises(rl.RegimelagError, match=said):
        study(30, 2, **options)


@pytest.mark.long
@pytest.mark.slow
def test_a_dask_cluster_loses_a_worker_and_nothing_else(tmp_path):
    distributed = pytest.importorskip("distributed", reason="the group 'dev' is not installed")
    panel = hand_panel(SPEC, 30, missing=(7,))
    options = LIGHT | {"random_seed": 4, "simulations": 8, "folder": tmp_path / "study"}

    def kill_one(client):
        """Once a third is done, kill a worker's process."""
        while len(list(options["folder"].glob("0*.json"))) < 3:
            time.sleep(0.05)
        victim, pid = next(iter(client.run(os.getpid).items()))
        os.kill(pid, signal.SIGKILL)
        return victim, pid

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        ThreadPoolExecutor(1) as beside,
    ):
        killed = beside.submit(kill_one, client)
        tree = rl.evaluation.sbc(SPEC, panel, executor=client.get_executor(), **options)
        _, pid = killed.result()
        assert pid not in client.run(os.getpid).values()
    assert tree.attrs["failed"] == 0
    assert tree["prior_sbc"].sizes["draw"] == 8
    before = {file.name: file.stat().st_mtime_ns for file in options["folder"].iterdir()}
    assert len(before) == 9
    # What a cluster computed is what this process would have; and a restart, on any executor, runs nothing again.
    with ThreadPoolExecutor(1) as pool:
        again = rl.evaluation.sbc(SPEC, panel, executor=pool, **options)
        apart = rl.evaluation.sbc(SPEC, panel, executor=pool, **(options | {"simulations": 2, "folder": None}))
    assert {file.name: file.stat().st_mtime_ns for file in options["folder"].iterdir()} == before
    xr.testing.assert_identical(again["prior_sbc"].to_dataset(), tree["prior_sbc"].to_dataset())
    first = tree["prior_sbc"].to_dataset().isel(draw=slice(2))
    xr.testing.assert_allclose(apart["prior_sbc"].to_dataset(), first)


def test_the_table_wants_a_study():
    with pytest.raises(rl.errors.FitError, match="what sbc"):
        rl.evaluation.sbc_table(xr.DataTree())


def test_the_last_rows_are_a_panel_of_their_own():
    panel = hand_panel(SPEC, 12)
    short = last_rows(panel, 5)
    rl.build_model(SPEC, short)
    np.testing.assert_array_equal(short["response_value"], panel["response_value"][-5:])
    np.testing.assert_array_equal(short["signal_value"], panel["signal_value"][-9:])
    assert list(short["episode"].to_numpy()) == ["late"]


def test_a_dimension_without_names_is_told_by_place():
    """The free variable of a residual correlation has none."""
    ranks = xr.DataArray(np.arange(6.0).reshape(3, 2), dims=("draw", "pair"), name="partial")
    named = ranks.assign_coords(pair=["one", "two"])
    assert [label for label, _ in _entries(ranks)] == ["partial[0]", "partial[1]"]
    assert [label for label, _ in _entries(named)] == ["partial[one]", "partial[two]"]
    np.testing.assert_array_equal(_entries(ranks)[1][1], [1.0, 3.0, 5.0])
