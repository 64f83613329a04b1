"""Figures: what they return, where they draw, and that they change nothing; and that importing acts on nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from operator import attrgetter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from builders import hand_panel, prior_fit, small_spec
from matplotlib.axes import Axes

import regimelag as rl


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def readings(idata):
    return {
        "plot_lag": (rl.lag_distribution(idata), {"prior": rl.lag_distribution(idata, group="prior")}),
        "plot_effects": (rl.effects(idata), {"prior": rl.effects(idata, group="prior")}),
        "plot_regimes": (rl.regime_probabilities(idata), {"path": rl.panel_of(idata)["regime_path"]}),
        "plot_drivers": (rl.driver_effects(idata), {"regime": "calm"}),
        "plot_shares": (rl.regime_summary(idata), {}),
        "plot_paths": (rl.results.regime_paths(idata), {"most": 7}),
        "plot_durations": (rl.results.regime_durations(idata), {}),
        "plot_evidence": (rl.lag_report(idata), {}),
        "plot_volatility": (rl.fitted(idata)["standard_deviation"], {}),
        "plot_event_study": (rl.evaluation.event_study(rl.panel_of(idata), above=0.02, quiet=2), {}),
    }


SINGLE = [
    "plot_effects",
    "plot_regimes",
    "plot_drivers",
    "plot_shares",
    "plot_paths",
    "plot_durations",
    "plot_evidence",
    "plot_volatility",
    "plot_event_study",
]


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("more", [False, True])
def test_figures_return_labelled_axes(readings, name, more):
    reading, options = readings[name]
    ax = getattr(rl.plots, name)(reading, **(options if more else {}))
    assert isinstance(ax, Axes)
    assert ax.get_title()
    assert ax.get_xlabel() or ax.get_ylabel()
    assert ax.get_legend() is not None
    assert ax.has_data()
    ax.figure.canvas.draw()


@pytest.mark.parametrize("more", [False, True])
def test_lags_have_two_axes_a_signal(readings, more):
    reading, options = readings["plot_lag"]
    axes = rl.plots.plot_lag(reading, **(options if more else {}))
    assert axes.shape == (1, 2)
    assert all("weeks" in ax.get_xlabel() for ax in axes.flat)
    labels = [text.get_text().partition(":")[0] for text in axes[0, 0].get_legend().get_texts()]
    assert labels == (["prior", "posterior"] if more else ["posterior"])
    assert "50 and 90 % bands" in axes[0, 0].get_legend().get_texts()[-1].get_text()
    axes[0, 0].figure.canvas.draw()


def of_episodes(lag, shift):
    """The reading with an episode dimension; the second episode's weights come later."""
    both = [lag, lag.assign(weights=lag["weights"].roll(lag=shift), mean_lag=lag["mean_lag"] + shift)]
    return xr.concat(both, xr.DataArray(["early", "late"], dims="episode", name="episode"), data_vars="all")


def as_point(lag, first=3):
    """The reading of a point lag: lags from the first on, drawn in turn."""
    turns = first + np.arange(lag.sizes["chain"] * lag.sizes["draw"]).reshape(lag.sizes["chain"], -1) % 4
    weights = (turns[..., None, None] == lag["lag"].to_numpy()).astype(float)
    return lag.assign(weights=(("chain", "draw", "signal", "lag"), weights))


def test_lags_that_differ_have_a_colour_each(readings):
    lag, options = readings["plot_lag"]
    axes = rl.plots.plot_lag(of_episodes(lag, 2), **options)
    assert axes.shape == (1, 2)
    for ax in axes.flat:
        labels = [text.get_text().partition(":")[0] for text in ax.get_legend().get_texts()]
        assert labels == ["prior", "early", "late"]
    _, early, late = axes[0, 0].get_lines()
    assert early.get_color() != late.get_color()
    np.testing.assert_allclose(np.roll(early.get_ydata(), 2), late.get_ydata())
    # Lags that do not differ are drawn once.
    same = rl.plots.plot_lag(of_episodes(lag, 0))
    assert [text.get_text().partition(":")[0] for text in same[0, 0].get_legend().get_texts()] == ["posterior"]


def test_a_point_lag_has_bars(readings):
    lag = as_point(readings["plot_lag"][0])
    prior = as_point(readings["plot_lag"][1]["prior"], first=1)
    bars, running = rl.plots.plot_lag(lag, prior=prior)[0]
    before, after = ([bar.get_height() for bar in container] for container in bars.containers)
    np.testing.assert_allclose(after, [0.25 if 3 <= n <= 6 else 0.0 for n in lag["lag"]])
    np.testing.assert_allclose(before, [0.25 if n <= 4 else 0.0 for n in lag["lag"]])
    np.testing.assert_allclose(running.get_lines()[1].get_ydata(), np.cumsum(after))
    assert [text.get_text() for text in bars.get_legend().get_texts()] == ["prior", "posterior"]


def test_probabilities_of_a_point_lag_go_before_counts(readings):
    lag = as_point(readings["plot_lag"][0])
    masses = np.linspace(1, 2, lag.sizes["lag"]) / 39
    bars = rl.plots.plot_lag(lag.assign(probability=xr.zeros_like(lag["weights"]) + masses))[0, 0]
    np.testing.assert_allclose([bar.get_height() for bar in bars.containers[0]], masses)


def test_point_lags_of_episodes_stand_side_by_side(readings):
    lag = xr.concat(
        [as_point(readings["plot_lag"][0], first=n) for n in (2, 8)],
        xr.DataArray(["early", "late"], dims="episode", name="episode"),
        data_vars="all",
    )
    bars = rl.plots.plot_lag(lag)[0, 0]
    early, late = bars.containers
    assert early[0].get_x() + early[0].get_width() == pytest.approx(late[0].get_x())
    assert [early[1].get_height(), late[1].get_height()] == [0.25, 0.0]


def test_responses_have_a_pair_of_axes_each(readings):
    lag = of_episodes(readings["plot_lag"][0], 2).rename(episode="response")
    axes = rl.plots.plot_lag(lag)
    assert axes.shape == (2, 2)
    assert [ax.get_title() for ax in axes[:, 0]] == ["silver on early: lag weights", "silver on late: lag weights"]
    effects = readings["plot_effects"][0]
    both = xr.concat([effects, effects], xr.DataArray(["one", "two"], dims="response", name="response"))
    labels = [text.get_text() for text in rl.plots.plot_effects(both).get_yticklabels()]
    assert len(labels) == 2 * len(rl.plots.plot_effects(effects).get_yticklabels())
    assert "silver on two lagged, turbulent" in labels


def test_evidence_shows_bounds_and_leaves_gaps():
    known = {"multiple": [0.5, 1.0, 2.0], "probability": [0.6, 0.7, 0.8], "bound": [False] * 3}
    far = {"multiple": [0.5, 1.0, 2.0], "probability": [None, 0.02, 0.03], "bound": [True] * 3}
    report = pd.DataFrame()
    report.attrs["no_effect"] = {"gold": known, "silver": far}
    ax = rl.plots.plot_evidence(report)
    gold, absent, silver = ax.get_lines()[:3]
    assert list(absent.get_xdata()) == [0.5]
    np.testing.assert_allclose(gold.get_ydata(), known["probability"])
    np.testing.assert_allclose(silver.get_xdata(), [1.0, 2.0])
    assert (gold.get_marker(), silver.get_marker()) == ("o", "v")
    assert ax.get_xscale() == "log"
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.5", "1", "2"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        *("gold", "not computable from this fit", "silver, at most", "prior probability"),
    ]


@pytest.mark.parametrize("name", SINGLE)
def test_given_axes_are_drawn_on(readings, name):
    reading, options = readings[name]
    _, ax = plt.subplots()
    before = plt.get_fignums()
    assert getattr(rl.plots, name)(reading, **options, ax=ax) is ax
    assert plt.get_fignums() == before
    assert ax.has_data()


def test_given_pairs_of_axes_are_drawn_on(readings):
    _, pair = plt.subplots(1, 2)
    before = plt.get_fignums()
    axes = rl.plots.plot_lag(readings["plot_lag"][0], axes=pair)
    assert list(axes.flat) == list(pair)
    assert plt.get_fignums() == before


@pytest.mark.parametrize("name", ["plot_lag", *SINGLE])
def test_readings_are_left_as_they_were(readings, name):
    reading, options = readings[name]
    before = reading.copy(deep=True)
    getattr(rl.plots, name)(reading, **options)
    assert before.equals(reading)
    assert getattr(before, "attrs", None) == getattr(reading, "attrs", None)


def test_weights_that_are_drawn_are_those_that_were_read(readings):
    lag = readings["plot_lag"][0]
    weights_ax = rl.plots.plot_lag(lag)[0, 0]
    (line,) = weights_ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), lag["lag"])
    np.testing.assert_allclose(line.get_ydata(), lag["weights"].median(("chain", "draw"))[0])


def test_intervals_that_are_drawn_are_those_that_were_read(readings):
    effects = readings["plot_effects"][0]
    ax = rl.plots.plot_effects(effects)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    row = labels.index("silver lagged, turbulent")
    (wide,) = [line for line in ax.get_lines() if list(line.get_ydata()) == [row, row] and line.get_linewidth() == 1.2]
    values = effects["lagged_by_regime"].sel(signal="silver", regime="turbulent")
    np.testing.assert_allclose(wide.get_xdata(), np.quantile(values, [0.05, 0.95]))


def test_drivers_name_regime_and_move(readings):
    changes = readings["plot_drivers"][0]
    assert "turbulent" in rl.plots.plot_drivers(changes).get_title()
    ax = rl.plots.plot_drivers(changes, regime="calm")
    assert "calm" in ax.get_title()
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert [label.partition("\n")[0].rsplit(" ", 1)[0] for label in labels] == ["real yield", "dollar"]
    assert "change of real_yield_10y over 13 weeks" in labels[0].replace("\n", " ")


def test_bars_of_a_year_are_the_shares(readings):
    regime_table = readings["plot_shares"][0]
    ax = rl.plots.plot_shares(regime_table)
    years = [text.get_text() for text in ax.get_xticklabels()]
    # Of two regimes the last is enough.
    turbulent = regime_table[
        (regime_table["quantity"] == "share of the year") & (regime_table["regime"] == "turbulent")
    ]
    assert years == [str(year) for year in turbulent["year"]]
    heights = [bar.get_height() for bar in ax.containers[0]]
    np.testing.assert_allclose(heights, turbulent["median"])
    labels = {text.get_text() for text in ax.get_legend().get_texts()}
    assert labels == {"turbulent, median", "90 % interval"}


def test_portrait_shows_volatility_and_mean(readings):
    regime_table = readings["plot_shares"][0]
    axes = rl.plots.plot_regime_summary(regime_table)
    assert [ax.get_title() for ax in axes] == ["Volatility of each regime", "Mean of each regime"]
    for ax, quantity in zip(axes, ("volatility", "mean"), strict=True):
        # Two lines a regime: the interval, then the median.
        for n, regime in enumerate(("calm", "turbulent")):
            interval, median = ax.lines[2 * n], ax.lines[2 * n + 1]
            row = regime_table[(regime_table["quantity"] == quantity) & (regime_table["regime"] == regime)].iloc[0]
            np.testing.assert_allclose(interval.get_xdata(), [row["5 %"], row["95 %"]])
            assert median.get_xdata()[0] == row["median"]


def test_paths_are_spread_over_the_draws(readings):
    paths = readings["plot_paths"][0]
    drawn = rl.plots.plot_paths(paths, most=5).images[0].get_array()
    rows = paths.to_numpy().reshape(-1, paths.sizes["time"])
    assert drawn.shape == (5, paths.sizes["time"])
    np.testing.assert_array_equal(drawn[[0, -1]], rows[[0, -1]])


def test_probabilities_fill_the_axes(readings):
    ax = rl.plots.plot_regimes(readings["plot_regimes"][0])
    assert ax.get_ylim() == (0.0, 1.0)
    assert "Filtered" in ax.get_title()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["calm", "turbulent"]


def mesh_of(ax):
    (mesh,) = ax.collections
    return np.asarray(mesh.get_array()).ravel()


def test_prices_are_levels_with_a_probability_behind_them(idata):
    panel, smoothed = rl.panel_of(idata), rl.regime_probabilities(idata, kind="smoothed")
    axes = rl.plots.plot_prices(panel, smoothed)
    assert [ax.get_ylabel() for ax in axes] == ["bitcoin\nbtc_usd, log scale", "silver\nsilver_usd, log scale"]
    for ax, role in zip(axes, ("response", "signal"), strict=True):
        leg = panel["level"][:, (panel["leg_role"] == role).to_numpy()].to_numpy().ravel()
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), leg[-panel.sizes["time"] :])
    assert all(ax.get_yscale() == "log" for ax in axes)
    mean = smoothed.mean(("chain", "draw"))
    for ax in axes:
        np.testing.assert_allclose(mesh_of(ax), mean.sel(regime="turbulent"))
        assert ax.get_ylim()[0] > 0.5 * ax.lines[0].get_ydata().min()
    assert axes[0].figure.axes[-1].get_xlabel() == 'Smoothed probability of regime "turbulent"'
    axes[0].figure.canvas.draw()
    _, given = plt.subplots(2, 1)
    calm = rl.plots.plot_prices(panel, smoothed, regime="calm", axes=given)
    assert list(calm) == list(given)
    np.testing.assert_allclose(mesh_of(calm[0]), mean.sel(regime="calm"))
    # Without a level, log returns are cumulated; without probabilities nothing is shaded.
    unknown = panel.assign(level=panel["level"].where(panel["leg_role"] != "response"))
    index = rl.plots.plot_prices(unknown, smoothed)[0]
    start = str(panel["time"].dt.strftime("%Y-%m-%d").to_numpy()[0])
    assert index.get_ylabel() == f"bitcoin\nindex, {start} = 100, log scale"
    known = axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(index.lines[0].get_ydata(), 100 * known / known[0])
    bare = rl.plots.plot_prices(panel)
    assert not any(ax.collections for ax in bare)
    assert len(bare[0].figure.axes) == 2
    for wrong, words in (
        ({"regime": "silent"}, "write regime='calm'"),
        ({"axes": plt.subplots(3, 1)[1]}, "axes=plt.subplots\\(2, 1\\)"),
    ):
        with pytest.raises(rl.RegimelagError, match=words):
            rl.plots.plot_prices(panel, smoothed, **wrong)
    with pytest.raises(rl.errors.FitError, match="of one fit"):
        rl.plots.plot_prices(panel, smoothed.isel(time=slice(9)))


def test_prices_of_other_series_have_the_label_of_what_is_drawn():
    """Two signals of one column share axes; differences are on a linear scale; a ratio is one."""
    gain, loss = (rl.Signal(kind, "metal", kind, kernel=small_spec().signals[0].kernel) for kind in ("gain", "loss"))
    ratio = rl.Signal("ratio", "metal", against="gold", kernel=rl.kernels.NoLag())
    spec = small_spec(responses=(rl.Response("rate", "yield_10y", "difference"),), signals=(gain, loss, ratio))
    days = pd.date_range("2018-01-05", periods=80, freq="W-FRI", name="date")
    walk = np.random.default_rng(0).normal(0, 0.02, (80, 5)).cumsum(axis=0)
    frame = pd.DataFrame(walk, days, ["yield_10y", "metal", "gold", "yield", "dollar"])
    frame[["metal", "gold", "yield", "dollar"]] = np.exp(frame[["metal", "gold", "yield", "dollar"]])
    panel = rl.make_panel(spec, frame)
    axes = rl.plots.plot_prices(panel)
    assert [ax.get_ylabel() for ax in axes] == [
        "rate\nyield_10y",
        "gain\nmetal, log scale",
        "ratio\nmetal / gold, log scale",
    ]
    assert [ax.get_yscale() for ax in axes] == ["linear", "log", "log"]
    rows = frame.loc[panel["time"].to_numpy()]
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), rows["yield_10y"])
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), rows["metal"] / rows["gold"])


def test_a_volatility_has_its_unit_and_its_response(readings):
    ax = rl.plots.plot_volatility(readings["plot_volatility"][0])
    assert ax.get_ylabel().replace("\n", " ") == "standard deviation, log return per week"
    assert ax.get_title() == "Volatility of bitcoin one period ahead"


def test_an_event_study_is_drawn_as_it_was_read(readings):
    study = readings["plot_event_study"][0]
    ax = rl.plots.plot_event_study(study)
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    count = study.sizes["event"]
    np.testing.assert_array_equal(lines[f"mean of {count} events"], study["mean_path"])
    np.testing.assert_array_equal(lines["mean around all periods"], study["unconditional"])
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), study["path"][0])
    # One line for each event, its mean, the unconditional mean, both edges of the band, and the event itself.
    assert len(ax.get_lines()) == count + 5
    assert ax.get_xlabel() == "weeks after the event"


def test_other_shapes_are_drawn():
    """Three regimes, two signals of which one has no lag, months."""
    signals = (
        rl.Signal("metal", "metal", kernel=small_spec().signals[0].kernel, contemporaneous=False),
        rl.Signal("gold", "gold", kernel=rl.kernels.NoLag()),
    )
    spec = small_spec(signals=signals, regimes=rl.spec.Regimes(count=3), frequency="ME")
    tree = prior_fit(spec, hand_panel(spec, 12, freq="ME"), draws=4)
    axes = rl.plots.plot_lag(rl.lag_distribution(tree))
    assert axes.shape == (1, 2)
    assert "months" in axes[0, 0].get_xlabel()
    labels = [text.get_text() for text in rl.plots.plot_effects(rl.effects(tree)).get_yticklabels()]
    assert labels[:2] == ["gold same period", "metal lagged"]
    assert len(rl.plots.plot_regimes(rl.regime_probabilities(tree)).get_legend().get_texts()) == 3
    rl.plots.plot_drivers(rl.driver_effects(tree), regime="middle")
    rl.plots.plot_shares(rl.regime_summary(tree))


# ---- importing


def run(code, *options):
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False)


def test_importing_is_silent():
    done = run("import regimelag", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_figures_need_no_compiler():
    """The module alone, without the package's front page, which imports everything."""
    code = """
import sys, types, pathlib, importlib.util
root = pathlib.Path(importlib.util.find_spec("regimelag").submodule_search_locations[0])
for name, folder in (("regimelag", root), ("regimelag.plots", root / "plots")):
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
import regimelag.plots.regimes, regimelag.plots.lags
heavy = {"pymc", "pytensor", "numba", "nutpie"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


# Figures whose first argument is a panel.
PANELS = ("plot_panel", "plot_prices")


@pytest.mark.parametrize("name", [name for name in dir(rl.plots) if name.startswith("plot_")])
def test_figures_of_a_fit_itself_name_the_reading(name, tiny):
    """The first thing that anyone types; a number, a table and a panel are refused as well."""
    _, panel, fit = tiny
    for given in (fit, panel, panel["time"], pd.DataFrame({"a": [1.0]}), 3):
        if name in PANELS and given is panel:
            continue
        with pytest.raises(rl.RegimelagError) as caught:
            getattr(rl.plots, name)(given)
        if name in PANELS:
            assert "make_panel(" in caught.value.cure
            continue
        makers = re.findall(r"regimelag\.((?!plots)[\w.]+)\(", caught.value.cure)
        assert makers
        assert all(callable(attrgetter(maker)(rl)) for maker in makers)


def test_a_setting_that_a_backend_makes_stays(readings, monkeypatch):
    """In a notebook the first figure turns interactive mode on, without which no later figure is shown."""
    made = plt.subplots

    def first(*args, **kwargs):
        plt.rcParams["interactive"] = True
        return made(*args, **kwargs)

    monkeypatch.setitem(plt.rcParams, "interactive", False)
    monkeypatch.setattr(plt, "subplots", first)
    before = dict(plt.rcParams)
    rl.plots.plot_effects(readings["plot_effects"][0])
    with rl.plots.style("column"):
        rl.plots.plot_effects(readings["plot_effects"][0])
    assert dict(plt.rcParams) == before | {"interactive": True}


@pytest.mark.parametrize("width", [3.4, 7.0])
@pytest.mark.parametrize("name", SINGLE)
def test_figures_fit_a_printed_column(readings, name, width):
    """Nothing that is written lies outside of the figure, or is squeezed out of it by the rest."""
    reading, options = readings[name]
    with plt.rc_context({"font.size": 8}):
        figure, ax = plt.subplots(figsize=(width, 3.6), layout="constrained")
        getattr(rl.plots, name)(reading, **options, ax=ax)
        figure.canvas.draw()
    page = figure.bbox
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_legend().get_texts()):
        if text.get_text():
            box = text.get_window_extent()
            assert page.x0 - 1 <= box.x0, text
            assert box.x1 <= page.x1 + 1, text
            assert page.y0 - 1 <= box.y0, text
            assert box.y1 <= page.y1 + 1, text
    assert ax.get_window_extent().width > page.width / 3
