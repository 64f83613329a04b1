"""Readings of a model with two regime processes, and the Bayes factor of two effects against one."""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytensor
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, one_draw, prior_fit, replaced, small_spec

import regimelag as rl
from regimelag.likelihood.hmm_draws import sample_paths_draws
from regimelag.model.build import build_model
from regimelag.reporting.tables import move_table
from regimelag.results.evidence import Slab
from regimelag.results.gains import conditional_density_at_zero, gain_claims, gain_of, sentence
from regimelag.results.view import View
from regimelag.spec.terms import terms_of
from regimelag.spec.toml import spec_from_toml

DRIVERS = (rl.Driver("yield", "yield"), rl.Driver("dollar", "dollar"))
PROCESSES = (
    rl.spec.RegimeProcess("volatility", carries=("scale", "intercept"), drivers=("yield",)),
    rl.spec.RegimeProcess("coupling", carries=("effect",), order_by="effect", drivers=("dollar",)),
)
SPEC = small_spec(drivers=DRIVERS, regime_processes=PROCESSES)
REGIMES = {"volatility": ["calm", "turbulent"], "coupling": ["lower effect", "higher effect"]}


@pytest.fixture(scope="module")
def two():
    panel = hand_panel(SPEC, 60, missing=[3])
    return prior_fit(SPEC, panel, 8)


def test_a_table_of_regimes_is_a_process():
    one = small_spec(drivers=DRIVERS)
    same = replaced(one, regime_processes=(rl.spec.RegimeProcess("one", drivers=("yield", "dollar")),))
    panel = hand_panel(one, 8)
    models = [build_model(spec, panel) for spec in (one, same)]
    assert [rv.name for rv in models[0].free_RVs] == [rv.name for rv in models[1].free_RVs]
    points = [rl.simulate(spec, panel, random_seed=1)["response_value"] for spec in (one, same)]
    xr.testing.assert_identical(*points)
    values = [
        pytensor.function(model.free_RVs, model["log_likelihood"], mode="FAST_COMPILE", on_unused_input="ignore")
        for model in models
    ]
    start = one_draw(prior_fit(one, panel, 2)["posterior"].to_dataset())
    first, second = (
        float(value(*(start[rv.name] for rv in model.free_RVs))) for value, model in zip(values, models, strict=True)
    )
    assert first == second


def test_a_spec_with_processes_is_written_and_read():
    spec = replaced(
        SPEC,
        regime_processes=(
            replaced(
                PROCESSES[0], count=3, forbidden=(("calm", "turbulent"),), initial="dirichlet", responses=("asset",)
            ),
            replaced(PROCESSES[1], transitions=rl.spec.Markov(by_origin=True), names=("off", "on")),
        ),
    )
    assert spec_from_toml(spec.to_toml()) == spec
    assert "[regimes]" not in spec.to_toml()
    table = '[regime_processes.order_by]\nquantity = "scale"\nsignal = ""\ndriver = ""\nresponse = ""\n'
    short = spec.to_toml().replace(table, "")
    assert short != spec.to_toml()
    assert spec_from_toml(short) == spec


@pytest.mark.parametrize(
    ("frequency", "half_year"),
    [("W-FRI", 26.0), ("W-MON", 26.0), ("ME", 6.0), ("QE", 2.0), ("D", 182.0), ("B", 130.0), ("trading", 126.0)],
)
def test_a_coupling_process_lasts_half_a_year_by_its_prior(frequency, half_year):
    spec = replaced(SPEC, frequency=frequency, regime_processes=PROCESSES)
    volatility, coupling = spec.regime_processes
    assert coupling.transitions == rl.spec.Markov(expected_duration=half_year, expected_duration_log_sd=0.7)
    assert volatility.transitions == rl.spec.Markov()
    assert spec_from_toml(spec.to_toml()) == spec
    given = replaced(PROCESSES[1], transitions=rl.spec.Markov(expected_duration=9.0))
    spec = replaced(SPEC, frequency=frequency, regime_processes=(PROCESSES[0], given))
    assert spec.regime_processes[1].model.expected_duration == (9.0,)


def test_probabilities_are_those_of_each_process(two):
    for kind in ("filtered", "predicted", "smoothed"):
        read = rl.regime_probabilities(two, kind=kind)
        assert read.dims == ("chain", "draw", "time", "regime_process", "regime")
        for name, labels in REGIMES.items():
            own = read.sel(regime_process=name)
            np.testing.assert_allclose(own.sel(regime=labels).sum("regime"), 1.0)
            assert np.isnan(own.drop_sel(regime=labels)).all()


def test_paths_are_those_of_the_joint_regimes(two):
    paths = rl.results.regime_paths(two, random_seed=4)
    view, rng = View.of(two), np.random.default_rng(4)
    joint = view.at_draws.measured(lambda chunk: sample_paths_draws(*chunk.hmm, rng.random(chunk.hmm[0].shape[:2])))
    # Joint regimes are numbered with the last process innermost.
    expected = np.stack([joint // 2, joint % 2], axis=-1).reshape(paths.shape)
    np.testing.assert_array_equal(paths, expected)
    durations = rl.results.regime_durations(two, random_seed=4)
    share = durations["share"].sel(regime_process="coupling", regime="higher effect")
    np.testing.assert_allclose(share, paths.sel(regime_process="coupling").mean("time"))
    assert np.isnan(durations["share"].sel(regime_process="coupling", regime="calm")).all()


def test_tables_have_a_column_of_the_process(two):
    summary = rl.regime_summary(two)
    for name, labels in REGIMES.items():
        assert set(summary.loc[summary["regime_process"] == name, "regime"]) == set(labels)
    assert set(summary.loc[summary["quantity"] == "volatility", "regime_process"]) == {"volatility"}
    report = rl.results.driver_report(two)
    assert set(zip(report["regime_process"], report["driver"], strict=True)) == {
        ("volatility", "yield"),
        ("coupling", "dollar"),
    }
    changes = rl.driver_effects(two)
    assert np.isnan(changes["log_odds"].sel(driver="dollar", regime_process="volatility")).all()
    own = changes["log_odds"].sel(driver="dollar", regime_process="coupling", regime="higher effect")
    slope = two["posterior"]["coupling_driver_effect"].sel(coupling_driver="dollar")
    np.testing.assert_allclose(own, slope.diff("coupling_destination").squeeze(), atol=1e-12)


def test_effects_are_by_the_regimes_of_their_process(two):
    read = rl.effects(two)["lagged_by_regime"].sel(signal="metal")
    assert list(read["regime"].to_numpy()) == REGIMES["coupling"]
    gain = two["posterior"]["effect_gain"].squeeze()
    unit = 0.1 / 0.2
    np.testing.assert_allclose(read.diff("regime").squeeze(), unit * gain)


def test_an_impulse_starts_in_each_joint_regime(two):
    read = rl.evaluation.impulse_response(two, shock=0.1, horizon=5)
    assert list(read["start"].to_numpy()[:2]) == ["calm, lower effect", "calm, higher effect"]
    assert list(read["coupling"].to_numpy()) == REGIMES["coupling"] * 2
    # The effect does not depend on the volatility, and its process is independent of it.
    of = read["cumulative"]
    np.testing.assert_allclose(of.isel(start=[0, 1]), of.isel(start=[2, 3]))
    assert float(abs(of.isel(start=0) - of.isel(start=1)).max()) > 0


def test_an_impulse_is_drawn_and_told_from_the_regimes_that_matter(two):
    read = rl.evaluation.impulse_response(two, shock=0.1, horizon=5)
    assert list(read["regimes"].to_numpy()) == REGIMES["coupling"] * 2
    labels = [line.get_label() for line in rl.plots.plot_impulse(read).get_lines()]
    assert labels[1:3] == ["from lower effect, median", "from higher effect, median"]
    plt.close("all")
    said = rl.sentences(read)
    assert said[1] == "Regimes change with yield, dollar at their mean."
    low, median, high = np.quantile(read["averaged"].isel(step=-1), (0.05, 0.5, 0.95))
    assert (
        f"5 weeks later the cumulative log return of asset differs by {median:.3f} ({low:.3f} to {high:.3f})" in said[2]
    )
    median = float(read["cumulative"].isel(step=-1, start=1).median())
    assert f"{median:.3f} (" in said[2].partition("lower effect and ")[2]


def test_an_impulse_follows_drivers_on_their_path(two):
    """Against one draw written out: the drivers of a period move the step into it."""
    panel, path = rl.panel_of(two), [0.5, -0.2, 0.4, 0.1]
    read = rl.evaluation.impulse_response(two, shock=1.0, horizon=3, at={"dollar": path})
    assert "Regimes change with dollar on the path given and yield at its mean." in rl.sentences(read)
    draw, at = {"chain": 1, "draw": 3}, two["posterior"].to_dataset().isel(chain=1, draw=3)
    effects, lag = rl.effects(two).isel(draw), rl.lag_distribution(two)["weights"].isel(draw).isel(signal=0)
    here = effects.isel(signal=0)
    level = here["lagged_by_regime"] + here["lagged_by_episode"].isel(episode=-1) - here["lagged"]
    expected, distribution = 0.0, np.array([0.0, 1.0])
    z = (np.array(path) - float(panel["driver_center"][1])) / float(panel["driver_scale"][1])
    for step in range(4):
        if step:
            logits = np.diag(at["coupling_stay_log_odds"].to_numpy())
            logits = logits + at["coupling_driver_effect"].to_numpy()[0] * z[step]
            distribution = distribution @ (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
            expected += float(distribution @ level.to_numpy()) * float(lag.sel(lag=step))
        else:
            expected += float(here["contemporaneous"])
        found = read["cumulative"].isel(draw).sel(start="calm, higher effect").isel(step=step)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    for at, cure in (
        ({"euro": 0.1}, "write at={'yield': 0}"),
        ({"dollar": [0.1, 0.2]}, "write at={'dollar': 0.1}"),
        ({"dollar": float("nan")}, "write at={'dollar': 0}"),
    ):
        with pytest.raises(rl.errors.FitError) as caught:
            rl.evaluation.impulse_response(two, shock=1.0, horizon=3, at=at)
        assert caught.value.cure == cure
        rl.evaluation.impulse_response(two, shock=1.0, horizon=3, at=eval(cure.removeprefix("write at=")))


def test_probabilities_and_moves_are_told_by_process(two):
    filtered = rl.regime_probabilities(two)
    now = filtered.isel(time=-1).sel(regime_process="coupling", regime=REGIMES["coupling"]).mean(("chain", "draw"))
    regime = str(now["regime"].to_numpy()[int(now.argmax())])
    assert f'the regime of coupling is "{regime}" with probability {float(now.max()):.2f};' in rl.sentences(filtered)[1]
    changes = rl.driver_effects(two, moves={"dollar": -0.5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        move_table(changes)
    coupling = changes.sel(regime_process="coupling", driver="dollar", regime="higher effect")
    said = rl.sentences(changes)
    assert len(said) == 3
    assert 'of dollar by -0.5 changes the probability of "higher effect" (coupling) one period ahead by ' in said[1]
    assert f"long run by {100 * float(coupling['long_run'].median()):.1f} (" in said[1]


def test_figures_take_one_process(two):
    for draw, read in (
        (rl.plots.plot_regimes, rl.regime_probabilities(two)),
        (rl.plots.plot_paths, rl.results.regime_paths(two)),
        (rl.plots.plot_drivers, rl.driver_effects(two)),
        (rl.plots.plot_durations, rl.results.regime_durations(two)),
    ):
        with pytest.raises(rl.errors.FitError, match=r"\.sel\(regime_process='volatility'\)"):
            draw(read)
        axes = draw(read.sel(regime_process="coupling"))
        shown = {text.get_text() for text in axes.get_yticklabels()} | set(axes.get_legend_handles_labels()[1])
        assert "calm" not in shown
    summary = rl.regime_summary(two)
    rl.plots.plot_regime_summary(summary)
    assert "higher effect, coupling, median" in rl.plots.plot_shares(summary).get_legend_handles_labels()[1]
    plt.close("all")


def test_prices_have_the_regime_of_the_process_that_carries_the_effect(two):
    panel = rl.panel_of(two).assign_attrs(spec=SPEC.to_toml())
    smoothed = rl.regime_probabilities(two, kind="smoothed")
    axes = rl.plots.plot_prices(panel, smoothed)
    (mesh,) = axes[1].collections
    expected = smoothed.sel(regime_process="coupling", regime="higher effect").mean(("chain", "draw"))
    np.testing.assert_allclose(np.asarray(mesh.get_array()).ravel(), expected)
    label = axes[0].figure.axes[-1].get_xlabel()
    assert label == 'Smoothed probability of regime "higher effect" (process coupling)'
    axes = rl.plots.plot_prices(panel, smoothed.sel(regime_process="volatility"), regime="calm")
    (mesh,) = axes[0].collections
    expected = smoothed.sel(regime_process="volatility", regime="calm").mean(("chain", "draw"))
    np.testing.assert_allclose(np.asarray(mesh.get_array()).ravel(), expected)
    plt.close("all")


def test_without_signals_a_coupling_process_is_dropped():
    bare = SPEC.changed(signals=())
    assert [one.name for one in bare.regime_processes] == ["volatility"]
    assert [one.name for one in bare.drivers] == ["yield"]
    alone = replaced(SPEC, drivers=DRIVERS[1:], regime_processes=PROCESSES[1:]).changed(signals=())
    assert not alone.switches
    assert alone.drivers == ()


# ---- the gain


def test_the_density_at_zero_is_that_of_the_model(two):
    """Against the PyMC model on a fine grid of gains, at a few draws."""
    view = View.of(two)
    spec, panel = view.spec, view.panel
    term = next(one for one in terms_of(spec, panel).effect if one.name == "effect_gain")
    prior = Slab(*term.resolved.entry(0))
    draws = {name: values[:3] for name, values in view.at_draws.draws.items()}
    found = conditional_density_at_zero(view, term, draws, prior)
    model = build_model(spec, panel)
    value = pytensor.function(model.free_RVs, model["log_likelihood"], mode="FAST_COMPILE", on_unused_input="ignore")
    top = 1.5 * float(two["posterior"]["effect_gain"].max())
    grid = np.linspace(0.0, top, 121)
    for n in range(3):
        height = []
        for gain in grid:
            point = {name: values[n] for name, values in draws.items()} | {"effect_gain": np.array([[gain]])}
            sigma = prior.parameters["sigma"]
            height.append(float(value(*(point[rv.name] for rv in model.free_RVs))) - gain**2 / (2 * sigma**2))
        density = np.exp(np.array(height) - max(height))
        assert found[n] == pytest.approx(density[0] / np.trapezoid(density, grid), rel=1e-3)


def test_a_gain_that_the_data_do_not_know_has_a_factor_of_one():
    """Where no response is observed, the posterior of the gain is its prior."""
    panel = hand_panel(SPEC, 30)
    panel["response_value"] = xr.full_like(panel["response_value"], np.nan)
    fit = prior_fit(SPEC, panel, 150)
    row = gain_claims(View.of(fit)).iloc[0]
    assert row["Bayes factor"] == pytest.approx(1.0, rel=0.02)
    assert not row["claimed"]


def test_a_gain_is_no_evidence_by_its_sign(two):
    table = gain_claims(View.of(two))
    sure = table.assign(**{"5 %": 1.0, "median": 2.0, "95 %": 3.0, "Bayes factor": 2.0, "claimed": False})
    sure.attrs = table.attrs
    said, claimed = gain_of(SPEC, sure, "asset", "metal")
    assert not claimed
    assert "not claimed, a claim needs 10" in said
    claim = table.assign(claimed=True, **{"Bayes factor": 20.0}).iloc[0]
    assert "of 1,600 fits claimed two effects (rivals: constant effects" in sentence(claim, 10.0)
    assert "1,600" not in sentence(sure.iloc[0], 10.0)
    report = rl.lag_report(two)
    assert (
        "two effects against one" in report.attrs["verdict"]["metal"]
        or "diagnostics failed" in report.attrs["verdict"]["metal"]
    )


@pytest.mark.parametrize("changes", [{"order_by": "none"}, {"count": 3}])
def test_no_difference_is_claimed_where_no_rule_is_there(changes):
    spec = replaced(SPEC, regime_processes=(PROCESSES[0], replaced(PROCESSES[1], **changes)))
    said, claimed = gain_of(
        spec, gain_claims(View.of(prior_fit(SPEC, hand_panel(SPEC, 12), 2))).iloc[:0], "asset", "metal"
    )
    assert "no difference is claimed" in said
    assert not claimed


def test_a_model_without_a_gain_is_refused():
    spec = bare_spec()
    with pytest.raises(rl.errors.FitError, match='read_spec\\("coupling"\\)'):
        rl.results.gain_report(prior_fit(spec, hand_panel(spec, 8)))


@pytest.mark.slow
def test_two_processes_are_fitted_saved_and_reported(tmp_path):
    columns = sorted({column for series in SPEC.series for column in series.columns})
    walk = np.random.default_rng(1).normal(0.0, 0.03, (100, len(columns))).cumsum(axis=0)
    dates = pd.date_range("2020-01-03", periods=len(walk), freq="W-FRI", name="date")
    panel = rl.make_panel(SPEC, pd.DataFrame(np.exp(walk), index=dates, columns=columns))
    settings = {"draws": 60, "tune": 150, "chains": 2, "cores": 1, "starts": 3, "prior_draws": 40}
    idata = rl.fit(SPEC, panel, random_seed=1, progressbar=False, **settings)
    assert idata["posterior"]["coupling_stay_log_odds"].dims == ("chain", "draw", "coupling_regime")
    assert rl.load_fit(rl.save_fit(idata, tmp_path / "fit.nc")).identical(idata)
    page = rl.report(idata, tmp_path / "report")
    text = next(tmp_path.rglob("*.html")).read_text(encoding="utf-8")
    assert "higher effect" in text
    assert page is not None
    ahead = rl.forecast(idata, horizon=4, scenario="bootstrap", random_seed=1)["regime_probability"]
    assert ahead.dims == ("chain", "draw", "step", "regime_process", "regime")
