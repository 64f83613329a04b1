"""fit, as_fit, what a fit holds, its diagnostics in words, and files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import arviz as az
import h5py
import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, one_draw, prior_draws, prior_fit, small_spec
from scipy import stats

import regimelag as rl
from regimelag.model.build import build_model
from regimelag.panel.make import panel_hash
from regimelag.reporting.tables import provenance_table
from regimelag.sampling import inference_data
from regimelag.sampling.diagnostics import convergence, diagnostics
from regimelag.sampling.nuts import _complete_draws
from regimelag.spec.kernels import log_normal

GROUPS = {
    "posterior",
    "sample_stats",
    "prior",
    "prior_predictive",
    "posterior_predictive",
    "one_step_ahead",
    "log_prior",
    "observed_data",
    "constant_data",
    "modes",
}


# ---- what a fit holds


def test_every_group_is_there_and_nothing_else(idata):
    assert set(idata.children) == GROUPS


def test_provenance_rebuilds_spec_and_panel(idata, flagship, short_panel):
    assert rl.spec_of(idata) == flagship
    panel = rl.panel_of(idata)
    assert idata.attrs["panel_sha256"] == panel_hash(short_panel) == panel_hash(panel)
    assert {k: v for k, v in panel.attrs.items() if k != "notes"} == {
        k: v for k, v in short_panel.attrs.items() if k != "notes"
    }
    build_model(flagship, panel)
    assert idata.attrs["random_seed"] == 1
    assert idata.attrs["nuts_sampler"] == "nutpie"
    assert (idata.attrs["tune"], idata.attrs["starts"], idata.attrs["target_accept"]) == (300, 8, 0.95)
    settings = [idata.attrs[name] for name in ("chains", "chains_kept", "draws", "draws_kept")]
    assert settings == [2, 2, 200, 200]
    versions = json.loads(idata.attrs["versions"])
    assert versions["pymc"] == pm.__version__
    assert versions["regimelag"] == rl.__version__
    assert all(isinstance(value, (str, int, float)) for value in idata.attrs.values())


def test_posterior_has_every_variable_of_the_model_under_its_dimensions(idata, flagship, short_panel):
    model = build_model(flagship, short_panel)
    posterior = idata["posterior"].to_dataset()
    assert dict(idata["prior"].sizes)["draw"] == 200
    assert posterior.sizes["chain"] == 2
    assert posterior.sizes["draw"] == 200
    for variable in (*model.free_RVs, *model.deterministics):
        dims = model.named_vars_to_dims.get(variable.name) or ()
        assert posterior[variable.name].dims == ("chain", "draw", *dims)
        assert idata["prior"][variable.name].dims == ("chain", "draw", *dims)
        for dim in dims:
            assert [str(v) for v in posterior[dim].to_numpy()] == [str(v) for v in model.coords[dim]]
    assert bool(posterior.to_dataarray().notnull().any())
    assert all(bool(values.notnull().all()) for values in posterior.data_vars.values())


def test_predictive_groups_replicate_the_window(idata, short_panel):
    for group, chains in (("posterior_predictive", 2), ("prior_predictive", 1)):
        replicated = idata[group]["response_value"]
        assert replicated.dims == ("chain", "draw", "time", "response")
        assert replicated.shape == (chains, 200, 240, 1)
        assert bool(replicated.notnull().all())
        np.testing.assert_array_equal(replicated["time"], short_panel["time"])
    observed = idata["observed_data"]["response_value"]
    np.testing.assert_array_equal(observed, short_panel["response_value"])


def test_log_likelihood_sums_to_the_potential(idata, flagship, short_panel):
    terms = idata["one_step_ahead"]
    units = 240 * float(np.log(short_panel["response_scale"]).sum())
    assert list(terms.data_vars) == ["response_value"]
    assert terms["response_value"].dims == ("chain", "draw", "time")
    model = build_model(flagship, short_panel)
    potential = pytensor.function(model.free_RVs, model["log_likelihood"], mode="FAST_COMPILE")
    posterior = idata["posterior"].to_dataset()
    for chain, draw in ((0, 0), (0, 150), (1, 199)):
        point = one_draw(posterior, chain, draw)
        total = float(terms["response_value"][chain, draw].sum()) + units
        assert total == pytest.approx(float(potential(*(point[rv.name] for rv in model.free_RVs))), rel=0, abs=1e-8)


def test_missing_rows_have_a_term_of_zero(tiny):
    terms = tiny[2]["one_step_ahead"]["response_value"]
    np.testing.assert_allclose(terms.isel(time=3), 0.0, atol=1e-12)
    assert float(np.abs(terms.isel(time=4)).min()) > 0


def test_log_prior_is_that_of_scipy(idata, flagship, short_panel):
    held, posterior = idata["log_prior"].to_dataset(), idata["posterior"].to_dataset()
    model = build_model(flagship, short_panel)
    assert set(held.data_vars) == {rv.name for rv in model.free_RVs}
    assert all(values.dims == ("chain", "draw") for values in held.data_vars.values())
    location = log_normal(9.0, 5.0).parameters
    expected = {
        "effect": stats.norm(0, 0.5).logpdf(posterior["effect"][:, :, 0]),
        "intercept": stats.norm(0, 0.3).logpdf(posterior["intercept"]).sum(axis=(2, 3)),
        "effect_regime_sd": stats.halfnorm(scale=0.25).logpdf(posterior["effect_regime_sd"][:, :, 0]),
        "degrees_of_freedom_minus_two": stats.gamma(flagship.family.shape, scale=1 / flagship.family.rate).logpdf(
            posterior["degrees_of_freedom_minus_two"]
        ),
        "stay_log_odds": stats.norm(np.log(19), 1.0).logpdf(posterior["stay_log_odds"]).sum(axis=2),
        "silver_lag_location": stats.lognorm(location["sigma"], scale=np.exp(location["mu"])).logpdf(
            posterior["silver_lag_location"]
        ),
        # Two entries that sum to zero: one free coordinate, of the orthonormal direction (1, -1) / sqrt(2).
        "effect_regime_raw": stats.norm.logpdf(np.sqrt(2) * posterior["effect_regime_raw"][:, :, 0, 0]),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(held[name], values, rtol=0, atol=1e-8, err_msg=name)


def test_chains_explore_something(idata):
    """Draws move, and divergences are counted as the sampler saw them."""
    assert float(idata["posterior"]["effect"].std()) > 0
    found = convergence(idata)
    assert found["divergent"] == int(idata["sample_stats"]["diverging"].sum())
    rhat = az.rhat(idata["posterior"].to_dataset())
    worst = max(float(values.max()) for values in rhat.data_vars.values())
    assert found["rhat"] == pytest.approx(worst)
    name = str(found["rhat_of"]).split("[")[0]
    assert float(rhat[name].max()) == pytest.approx(worst)


def test_arviz_reads_the_tree(idata):
    elpd = az.loo(rl.leave_one_out(idata))
    assert np.isfinite(elpd.elpd)
    assert elpd.n_data_points == 240
    table = az.summary(idata)
    assert "effect[silver]" in table.index
    sensitivity = az.psense_summary(rl.one_step_ahead(idata), var_names=["effect"])
    assert np.all(np.isfinite(sensitivity[["prior", "likelihood"]].to_numpy(dtype=float)))


# What reads a log likelihood, and would take densities one step ahead for independent observations.
STOP = {
    "loo": az.loo,
    "loo_i": lambda fit: az.loo_i(0, fit),
    "loo_pit": az.loo_pit,
    "loo_expectations": az.loo_expectations,
    "loo_score": az.loo_score,
    "loo_metrics": az.loo_metrics,
    "loo_r2": lambda fit: az.loo_r2(fit, var_name="response_value"),
    "loo_influence": az.loo_influence,
    "loo_subsample": lambda fit: az.loo_subsample(fit, 10),
    "compare": lambda fit: az.compare({"one": fit, "other": fit}),
    "psense_summary": lambda fit: az.psense_summary(fit, var_names=["effect"]),
    "plot_psense_dist": lambda fit: az.plot_psense_dist(fit, var_names=["effect"]),
    "plot_loo_pit": az.plot_loo_pit,
    "plot_loo_interval": az.plot_loo_interval,
}


@pytest.mark.parametrize("name", STOP)
def test_arviz_stops_where_a_fit_has_no_log_likelihood(name, tiny):
    with pytest.raises(TypeError, match=r"log likelihood not found|trying to compute ELPD"):
        STOP[name](tiny[2])


def test_log_likelihoods_that_came_with_draws_are_not_kept(tiny):
    """Of a model extended by observations of its own; they are not what the rows say."""
    spec, panel, tree = tiny
    theirs = tree.copy()
    theirs["log_likelihood"] = tree["one_step_ahead"].copy()
    again = rl.as_fit(theirs, spec, panel, prior_draws=2)
    assert "log_likelihood" not in again.children
    with pytest.raises(TypeError, match="log likelihood not found"):
        az.loo(again)


def test_densities_say_what_they_are(tiny):
    for terms in (
        tiny[2]["one_step_ahead"],
        rl.one_step_ahead(tiny[2])["log_likelihood"],
        rl.leave_one_out(tiny[2])["log_likelihood"],
    ):
        assert "nats" in terms["response_value"].attrs["units"]
        assert "given all" in terms["response_value"].attrs["long_name"]


@pytest.mark.slow
def test_a_long_series_keeps_densities_of_fewer_draws_and_readings_go_on(monkeypatch, tmp_path):
    spec = small_spec(drivers=(), controls=(), episodes=rl.spec.Episodes())
    panel = hand_panel(spec, 60)
    whole = prior_fit(spec, panel, draws=90)
    monkeypatch.setattr(inference_data, "LARGEST", 2 * 60 * 30)
    fitted = prior_fit(spec, panel, draws=90)
    assert fitted["posterior"].sizes["draw"] == fitted["log_prior"].sizes["draw"] == 90
    for name in ("one_step_ahead", "posterior_predictive"):
        np.testing.assert_array_equal(fitted[name]["draw"], np.arange(0, 90, 3))
    terms = fitted["one_step_ahead"]["response_value"]
    xr.testing.assert_equal(terms, whole["one_step_ahead"]["response_value"].sel(draw=terms["draw"]))
    tree = rl.one_step_ahead(fitted)
    assert {tree[name].sizes["draw"] for name in ("posterior", "log_likelihood", "log_prior")} == {30}
    report, full = rl.lag_report(fitted), rl.lag_report(whole)
    # Effects and lags are those of all draws.
    np.testing.assert_array_equal(report["posterior"], full["posterior"])
    assert np.isfinite(report["evidence", "likelihood"].to_numpy(dtype=float)).sum() == 3
    rl.save_fit(fitted, tmp_path / "long.nc")
    assert rl.load_fit(tmp_path / "long.nc")["one_step_ahead"].sizes["draw"] == 30


def test_without_one_step_ahead_densities_it_says_how_to_compute_them(tiny):
    tree = tiny[2].copy()
    terms = tree["one_step_ahead"].to_dataset()
    del tree["one_step_ahead"]
    with pytest.raises(rl.errors.FitError, match="as_fit") as caught:
        rl.one_step_ahead(tree)
    assert "regimelag.as_fit(idata, regimelag.spec_of(idata), regimelag.panel_of(idata))" in caught.value.cure
    cured = rl.as_fit(tree, rl.spec_of(tree), rl.panel_of(tree))
    xr.testing.assert_allclose(cured["one_step_ahead"].to_dataset(), terms)


# ---- modes


def test_modes_are_read_as_a_table(idata):
    table = rl.modes(idata)
    assert list(table.columns) == ["weight", "log_posterior", "starts", "draws", "chains", "kind", "differs"]
    assert table["draws"].sum() == pytest.approx(1.0)
    assert table.index.name == "mode"
    assert table["weight"].sum() == pytest.approx(1.0)
    assert table["weight"].is_monotonic_decreasing
    assert 1 <= table["starts"].sum() <= 8
    assert table["differs"][0] == ""


def test_modes_say_what_differs(idata):
    """A second mode made by hand, three posterior sd away in one parameter and a little in another."""
    tree = idata.copy()
    one = tree["modes"].to_dataset()
    sd = idata["posterior"]["effect"].std(("chain", "draw"))
    other = one.isel(mode=[0]).copy(deep=True)
    other["effect"] = other["effect"] + 3.0 * sd
    other["intercept"] = other["intercept"] + 0.5 * idata["posterior"]["intercept"].std(("chain", "draw"))
    other["weight"] = other["weight"] * 0.0
    tree["modes"] = xr.DataTree(xr.concat([one.isel(mode=[0]), other], "mode", data_vars="minimal"))
    differs = rl.modes(tree)["differs"]
    assert differs[0] == ""
    assert differs[1].startswith("effect[silver]")
    assert "->" in differs[1]
    assert "intercept" not in differs[1]


def test_modes_of_a_tree_without_catalogue_are_refused(tiny):
    with pytest.raises(rl.errors.FitError, match=r"regimelag\.fit"):
        rl.modes(tiny[2])


# ---- diagnostics in words


def doctored(*, shift=0.0, diverging=0, energy=None, chains=4, draws=1000, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((chains, draws))
    values[0] += shift
    wild = np.zeros((chains, draws), dtype=bool)
    wild.flat[:diverging] = True
    stats_ = {"diverging": (("chain", "draw"), wild)}
    if energy is not None:
        stats_["energy"] = (("chain", "draw"), energy(rng, (chains, draws)))
    posterior = {
        "bad one": (("chain", "draw", "place"), np.stack([rng.standard_normal((chains, draws)), values], axis=-1)),
        "good one": (("chain", "draw"), rng.standard_normal((chains, draws))),
    }
    coords = {"chain": range(chains), "draw": range(draws), "place": ["here", "there"]}
    return xr.DataTree.from_dict(
        {
            "/posterior": xr.Dataset(posterior, coords=coords),
            "/sample_stats": xr.Dataset(stats_, coords={k: coords[k] for k in ("chain", "draw")}),
        }
    )


def test_a_good_fit_gets_one_sentence():
    said = diagnostics(doctored(energy=lambda rng, shape: rng.standard_normal(shape)))
    assert len(said) == 1
    assert "R-hat" in said[0]
    assert "0 divergent" in said[0]


def test_chains_that_disagree_are_named_with_a_cure():
    (said,) = diagnostics(doctored(shift=3.0, draws=20_000))[1:2]
    assert "R-hat above" in said
    assert "bad one[there]" in said
    assert "modes" in said
    assert "tune" in said


def test_few_effective_draws_are_said():
    said = " ".join(diagnostics(doctored(draws=50))[1:])
    assert "Effective sample size below 400" in said
    assert "Raise draws" in said


def test_divergences_are_counted():
    said = diagnostics(doctored(diverging=37))
    assert "37 divergent draws" in said[0]
    assert any("37 draws diverged" in s and "target_accept" in s for s in said[1:])
    assert not any("diverged" in s for s in diagnostics(doctored(diverging=4))[1:])


def test_slow_energy_is_said():
    said = diagnostics(doctored(energy=lambda rng, shape: np.cumsum(rng.standard_normal(shape), axis=1)))
    assert any("BFMI" in s and "tune" in s for s in said[1:])


def test_a_tree_without_statistics_is_read():
    tree = doctored()
    del tree["sample_stats"]
    assert len(diagnostics(tree)) == 1


def test_one_chain_is_no_reason_to_lose_the_draws():
    """R-hat between chains is not defined for one; a fit that took an hour must not die of it."""
    said = diagnostics(doctored(chains=1, draws=1000))
    assert not any("inf" in sentence or "disagree" in sentence for sentence in said)


def broken(tree, **changes):
    """The tree with other draws of a variable."""
    return tree.assign({"posterior": xr.DataTree(tree["posterior"].to_dataset().assign(changes))})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_draws_that_are_no_numbers_are_counted_by_name(bad):
    tree = doctored()
    one = tree["posterior"]["good one"].copy()
    one[0, :500] = bad
    two = xr.full_like(tree["posterior"]["bad one"], bad)
    said = diagnostics(broken(tree, **{"good one": one, "bad one": two}))
    assert "good one: 500 of 4,000" in said[1]
    assert "bad one: 8,000 of 8,000" in said[1]
    assert len(diagnostics(tree)) == 1


def test_readings_refuse_draws_that_are_no_numbers(tiny):
    spec, panel, tree = tiny
    for name in ("effect", "stay_log_odds"):
        values = tree["posterior"][name].copy()
        values[0, 0] = np.nan
        damaged = broken(tree, **{name: values})
        readings = (rl.effects, rl.lag_distribution, rl.regime_probabilities, rl.forecast, rl.lag_report)
        for reading in readings:
            with pytest.raises(rl.errors.FitError, match=f"NaN or infinite: {name}: "):
                reading(damaged)
    values = tree["posterior"]["effect"].copy()
    values[0, 0] = np.nan
    with pytest.raises(rl.errors.FitError, match=r"as_fit\n.*\n  came: NaN or infinite: effect: 1 of 12"):
        rl.as_fit(broken(tree, effect=values), spec, panel)


def test_an_interrupted_fit_says_so(tiny):
    tree = tiny[2].copy()
    assert not any("interrupted" in said for said in diagnostics(tree))
    tree.attrs |= {"chains": 4, "draws": 20_000, "chains_kept": 2, "draws_kept": 6}
    said = diagnostics(tree)
    assert said[0].endswith("interrupted: 2 of 4 chains were kept, with 6 of 20,000 draws each.")
    assert any("interrupted before their first draw: 2." in sentence for sentence in said[1:])
    # Fewer draws alone are no reason to withhold a claim.
    tree.attrs["chains"] = 2
    said = diagnostics(tree)
    assert "2 of 2 chains were kept, with 6 of 20,000" in said[0]
    assert not any("interrupted" in sentence for sentence in said[1:])
    panel = tiny[1].assign_attrs(spec=tree.attrs["spec"])
    assert "does not give these draws again" in rl.verify(tree, panel).attrs["verdict"][-1]
    assert provenance_table(tree).frame.loc["interrupted", "value"].startswith("Sampling was interrupted")
    assert "interrupted" not in provenance_table(tiny[2]).frame.index


INTERRUPTED = """
import signal
import sys
import pymc as pm
import regimelag as rl
signal.signal(signal.SIGINT, signal.default_int_handler)
with pm.Model() as model:
    pm.Normal("a", shape=20)
tree = rl.sample(model, draws=1_000_000, tune=50, chains=2, cores=2, starts=2, nuts_sampler="nutpie", random_seed=1)
print(tree.attrs["draws"], tree.attrs["draws_kept"], tree["posterior"].sizes["draw"], rl.diagnostics(tree)[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_returns_what_was_drawn(name):
    command = [sys.executable, "-W", "ignore", "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("Sampling"):
                break
        time.sleep(1.5)
        os.kill(process.pid, signal.Signals[name])
        said = process.communicate(timeout=120)[0].splitlines()[-1]
    asked, kept, held, words = said.split(" ", 3)
    assert 0 < int(kept) == int(held) < int(asked) == 1_000_000
    assert "interrupted: 2 of 2 chains" in words


def test_a_parameter_that_never_moves_is_no_reason_to_lose_the_draws():
    tree = doctored()
    tree["posterior"] = xr.DataTree(
        tree["posterior"].to_dataset().assign(stuck=(("chain", "draw"), np.ones((4, 1000))))
    )
    assert diagnostics(tree)


def test_a_fit_carries_its_diagnostics(idata):
    assert json.loads(idata.attrs["diagnostics"]) == diagnostics(idata)


# ---- files


def same(one: xr.DataTree, other: xr.DataTree) -> None:
    assert set(one.children) == set(other.children)
    assert dict(other.attrs) == dict(one.attrs)
    for name in one.children:
        here, there = one[name].to_dataset(), other[name].to_dataset()
        assert set(here.variables) == set(there.variables), name
        assert here.attrs == there.attrs
        for variable in here.variables:
            left, right = here[variable], there[variable]
            assert left.dims == right.dims, variable
            if left.dtype.kind in "OU":
                # What text is stored as may change, and no message (None) may come back as NaN or "".
                read = [[str(v) if isinstance(v, str) else "" for v in a.to_numpy().ravel()] for a in (left, right)]
                assert read[0] == read[1], variable
            else:
                assert left.dtype == right.dtype, variable
                np.testing.assert_array_equal(left, right, err_msg=str(variable))
                assert left.attrs == right.attrs


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_nothing_is_lost_in_a_file(idata, tmp_path, ending):
    path = rl.save_fit(idata, tmp_path / "new folder" / f"fit.{ending}")
    loaded = rl.load_fit(path)
    same(idata, loaded)
    assert rl.spec_of(loaded) == rl.spec_of(idata)
    assert panel_hash(rl.panel_of(loaded)) == idata.attrs["panel_sha256"]
    xr.testing.assert_allclose(rl.effects(loaded), rl.effects(idata), rtol=1e-12)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    # And once more, from what was loaded.
    again = rl.save_fit(loaded, tmp_path / f"again.{ending}")
    same(loaded, rl.load_fit(again))


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_a_fit_with_divergences_survives_a_file(tiny, tmp_path, ending):
    """The sampler's messages are text in some draws and None in others."""
    tree = tiny[2].copy()
    message = np.full((2, 6), None, dtype=object)
    message[1, 2] = "energy error: café"
    tree["sample_stats"] = xr.DataTree(xr.Dataset({"divergence_message": (("chain", "draw"), message)}))
    same(tree, rl.load_fit(rl.save_fit(tree, tmp_path / f"fit.{ending}")))


@pytest.mark.slow
def test_awkward_names_survive_a_file(tmp_path):
    spec = small_spec(
        name='the "best" Größe', signals=(rl.Signal("金 x'", "m", kernel=small_spec().signals[0].kernel),)
    )
    tree = prior_fit(spec, hand_panel(spec, 8), draws=4)
    for ending in ("nc", "zarr"):
        loaded = rl.load_fit(rl.save_fit(tree, tmp_path / f"fit.{ending}"))
        same(tree, loaded)
        assert rl.spec_of(loaded) == spec


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_an_existing_file_is_kept_unless_told(tiny, tmp_path, ending):
    tree = tiny[2]
    path = rl.save_fit(tree, tmp_path / f"fit.{ending}")
    other = tree.copy()
    other.attrs["random_seed"] = 99
    with pytest.raises(rl.errors.FitError, match="overwrite=True"):
        rl.save_fit(other, path)
    assert "random_seed" not in rl.load_fit(path).attrs
    rl.save_fit(other, path, overwrite=True)
    assert rl.load_fit(path).attrs["random_seed"] == 99


@pytest.mark.parametrize("name", ["fit.pkl", "fit", "fit.nc4"])
def test_other_endings_are_refused(tiny, tmp_path, name):
    for verb in (lambda: rl.save_fit(tiny[2], tmp_path / name), lambda: rl.load_fit(tmp_path / name)):
        with pytest.raises(rl.errors.FitError, match=r"\.zarr"):
            verb()


def test_what_is_not_there_or_not_whole_is_refused(tiny, tmp_path):
    with pytest.raises(rl.errors.FitError, match="nothing is there"):
        rl.load_fit(tmp_path / "fit.nc")
    path = rl.save_fit(tiny[2], tmp_path / "fit.nc")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(rl.errors.FitError, match="cure"):
        rl.load_fit(path)
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(rl.errors.FitError, match="cure"):
        rl.load_fit(tmp_path / "empty.zarr")
    folder = rl.save_fit(tiny[2], tmp_path / "fit.zarr")
    (folder / "posterior" / "zarr.json").write_text("{")
    with pytest.raises(rl.errors.FitError, match="cure"):
        rl.load_fit(folder)


def test_trees_of_others_are_refused(tmp_path):
    tree = xr.DataTree.from_dict({"/posterior": xr.Dataset({"a": (("chain", "draw"), np.zeros((2, 3)))})})
    for verb in (rl.spec_of, rl.panel_of, rl.effects, lambda t: rl.save_fit(t, tmp_path / "fit.nc")):
        with pytest.raises(rl.errors.FitError, match="as_fit"):
            verb(tree)
    tree.to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    with pytest.raises(rl.errors.FitError, match="as_fit"):
        rl.load_fit(tmp_path / "theirs.nc")


def test_files_hold_no_objects(idata, tmp_path):
    """Numbers and text alone: nothing that a reader would have to execute."""
    with h5py.File(rl.save_fit(idata, tmp_path / "fit.nc")) as file:
        arrays = []
        file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        assert len(arrays) > 50
        for array in arrays:
            assert array.dtype.kind in "iufb" or h5py.check_string_dtype(array.dtype) is not None, array.name
    stores = [json.loads(p.read_text()) for p in rl.save_fit(idata, tmp_path / "fit.zarr").rglob("zarr.json")]
    arrays = [store for store in stores if store["node_type"] == "array"]
    assert len(arrays) > 50
    for array in arrays:
        kind = array["data_type"] if isinstance(array["data_type"], str) else array["data_type"]["name"]
        assert kind.startswith(("float", "int", "uint", "bool", "string", "fixed_length_utf32", "numpy.datetime64")), (
            kind
        )
        assert not any("pickle" in codec["name"] for codec in array["codecs"])


# ---- the door


def test_bad_arguments_are_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr("regimelag.sampling.fit.CompiledModel", lambda *_: pytest.fail("compiled"))
    spec = bare_spec()
    panel = hand_panel(spec, 20)
    for name, value in {"draws": 0, "tune": -1, "chains": 0, "starts": 2.5, "target_accept": 1.0}.items():
        with pytest.raises(rl.errors.FitError, match=name) as caught:
            rl.fit(spec, panel, **{name: value})
        assert caught.value.cure
    with pytest.raises(rl.errors.FitError, match="prior_draws"):
        rl.fit(spec, panel, prior_draws=0)
    with pytest.raises(rl.errors.FitError, match="nuts_sampler"):
        rl.fit(spec, panel, nuts_sampler="stan")
    with pytest.raises(rl.errors.PanelError):
        rl.fit(small_spec(), panel)


SMALL = {"draws": 200, "tune": 200, "chains": 2, "starts": 3, "prior_draws": 10, "progressbar": False}


@pytest.fixture(scope="module")
def simple():
    spec = bare_spec(family="normal", controls=(rl.Control("dollar", "dollar"),))
    return spec, hand_panel(spec, 60)


@pytest.fixture(scope="module")
def one_core(simple):
    return rl.fit(*simple, **SMALL, cores=1, random_seed=7)


def test_same_seed_same_draws_on_one_core_and_two(simple, one_core):
    two = rl.fit(*simple, **SMALL, cores=2, random_seed=7)
    for group in ("posterior", "prior", "posterior_predictive", "prior_predictive", "modes"):
        xr.testing.assert_identical(one_core[group].to_dataset(), two[group].to_dataset())
    posterior = one_core["posterior"]["intercept"]
    assert not np.array_equal(posterior[0], posterior[1])


def test_one_chain_can_be_fitted_and_a_seed_is_recorded(simple):
    tree = rl.fit(*simple, **(SMALL | {"chains": 1, "draws": 20, "tune": 20}), cores=1)
    assert tree["posterior"].sizes["chain"] == 1
    assert isinstance(tree.attrs["random_seed"], int)


@pytest.mark.slow
def test_pymc_samples_too_and_agrees(simple, one_core):
    """A regression with one regime: both samplers find the same means, within Monte Carlo error."""
    other = rl.fit(*simple, **SMALL, cores=1, random_seed=3, nuts_sampler="pymc")
    assert other.attrs["nuts_sampler"] == "pymc"
    for name in ("control_effect", "log_scale", "intercept"):
        means = [float(tree["posterior"][name].mean()) for tree in (one_core, other)]
        errors = [float(az.mcse(tree["posterior"].to_dataset()[[name]])[name].squeeze()) for tree in (one_core, other)]
        assert abs(means[0] - means[1]) < 5 * np.hypot(*errors)


def test_draws_of_an_interrupted_run_are_cut_to_the_shortest_chain():
    values = np.ones((3, 10, 1, 1))
    values[0, 6:], values[1, 4:], values[2, :] = np.nan, np.nan, np.nan
    posterior = xr.Dataset({"intercept": (("chain", "draw", "response", "regime"), values)})
    tree = xr.DataTree.from_dict({"/posterior": posterior})
    kept = _complete_draws(tree, "intercept")["posterior"].to_dataset()
    assert dict(kept.sizes) == {"chain": 2, "draw": 4, "response": 1, "regime": 1}
    with pytest.raises(rl.errors.FitError, match="tuning"):
        _complete_draws(xr.DataTree.from_dict({"/posterior": xr.full_like(posterior, np.nan)}), "intercept")


# ---- the road back


@pytest.fixture(scope="module")
def own(simple):
    with build_model(*simple):
        return pm.sample(
            draws=40, tune=100, chains=2, cores=1, random_seed=1, progressbar=False, compute_convergence_checks=False
        )


def test_your_own_samples_become_a_fit(simple, own):
    spec, panel = simple
    tree = rl.as_fit(own, spec, panel, prior_draws=10, random_seed=1)
    assert set(tree.children) >= GROUPS - {"modes"}
    np.testing.assert_array_equal(tree["posterior"]["intercept"], own["posterior"]["intercept"])
    assert "sample_stats" in tree.children
    assert rl.spec_of(tree) == spec
    assert rl.effects(tree)["control_effect"].sizes["draw"] == 40
    np.testing.assert_allclose(
        tree["one_step_ahead"]["response_value"][0, 0] + np.log(float(panel["response_scale"][0])),
        stats.norm.logpdf(
            panel["response_value"][:, 0],
            float(own["posterior"]["intercept"][0, 0, 0, 0])
            + float(own["posterior"]["control_effect"][0, 0, 0, 0]) * panel["control_value"][:, 0],
            np.exp(float(own["posterior"]["log_scale"][0, 0, 0])),
        ),
        rtol=0,
        atol=1e-9,
    )


def test_an_extended_model_keeps_its_own_priors(simple):
    spec, panel = simple
    model = build_model(spec, panel)
    with model:
        pm.Normal("mine", 0.0, 2.0, shape=2)
    drawn = prior_draws(spec, panel, 5)
    values = np.arange(20.0).reshape(2, 5, 2)
    drawn["mine"] = (("chain", "draw", "mine_dim_0"), values)
    tree = rl.as_fit(xr.DataTree.from_dict({"/posterior": drawn}), spec, panel, model=model, prior_draws=10)
    np.testing.assert_allclose(tree["log_prior"]["mine"], stats.norm(0, 2).logpdf(values).sum(axis=2))
    assert "mine" in tree["prior"]


def test_samples_that_lack_a_parameter_are_refused(simple, own):
    spec, panel = simple
    lacking = xr.DataTree.from_dict({"/posterior": own["posterior"].to_dataset().drop_vars("log_scale")})
    with pytest.raises(rl.errors.FitError, match="log_scale"):
        rl.as_fit(lacking, spec, panel)
    with pytest.raises(rl.errors.FitError, match="intercept"):
        rl.as_fit(xr.DataTree(), spec, panel)
    with pytest.raises(rl.errors.PanelError):
        rl.as_fit(own, small_spec(), panel)


@pytest.mark.slow
def test_as_fit_records_the_seed_that_it_drew(tiny):
    """Its predictive draws can be made again, also where no seed was given."""
    spec, panel, tree = tiny
    own = xr.DataTree.from_dict({"/posterior": tree["posterior"].to_dataset()})
    drawn, other = (rl.as_fit(own, spec, panel, prior_draws=10) for _ in range(2))
    again = rl.as_fit(own, spec, panel, prior_draws=10, random_seed=drawn.attrs["predictive_seed"])
    assert drawn.attrs["predictive_seed"] != other.attrs["predictive_seed"]
    for group in ("prior", "prior_predictive", "posterior_predictive"):
        xr.testing.assert_identical(again[group].to_dataset(), drawn[group].to_dataset())
        assert not other[group].to_dataset().identical(drawn[group].to_dataset())
    with pytest.raises(rl.errors.FitError, match="random_seed"):
        rl.as_fit(own, spec, panel, prior_draws=10, random_seed=-1)


def test_as_fit_does_not_change_what_it_is_given(simple):
    spec, panel = simple
    samples = xr.DataTree.from_dict({"/posterior": prior_draws(spec, panel, 5).assign_attrs(mine="yes")})
    before_tree, before_panel = samples.copy(deep=True), panel.copy(deep=True)
    rl.as_fit(samples, spec, panel, prior_draws=10)
    assert samples.identical(before_tree)
    assert panel.identical(before_panel)
