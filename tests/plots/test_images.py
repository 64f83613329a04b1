"""Figures are those that were approved, but for their text, which depends on the machine's fonts.

``python tests/plots/test_images.py`` draws the approved images anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text

import regimelag as rl

IMAGES = Path(__file__).parent / "images"
# Root mean square over the image, of 255: antialiasing differs between machines, a moved line differs by more.
TOLERANCE = 5.0
RNG = np.random.default_rng(7)
NORMAL = RNG.standard_normal((2, 400))


def lag():
    weeks = np.arange(1, 27)
    center = 8 + NORMAL
    weights = np.exp(-((weeks - center[..., None]) ** 2) / 20)
    weights /= weights.sum(axis=-1, keepdims=True)
    dims = ("chain", "draw", "signal")
    found = xr.Dataset({"weights": ((*dims, "lag"), weights[:, :, None]), "mean_lag": (dims, center[..., None])})
    return found.assign_coords(lag=weeks, signal=["silver"]).assign_attrs(frequency="W-FRI")


def effects():
    dims = ("chain", "draw", "signal")
    lagged = xr.DataArray((0.5 + NORMAL)[..., None], dims=dims, coords={"signal": ["silver"]})
    by_regime = xr.concat([lagged, lagged - 0.7], pd.Index(["calm", "turbulent"], name="regime"))
    found = xr.Dataset({"lagged": lagged, "contemporaneous": 0.2 * lagged, "lagged_by_regime": by_regime})
    return found.assign_attrs(unit="elasticity")


def probabilities():
    time = pd.date_range("2020-01-03", periods=120, freq="W-FRI")
    calm = 0.5 + 0.45 * np.sin(np.arange(120) / 9)
    values = np.broadcast_to(np.stack([calm, 1 - calm], axis=-1), (2, 3, 120, 2))
    coords = {"time": time, "regime": ["calm", "turbulent"]}
    return xr.DataArray(values, dims=("chain", "draw", "time", "regime"), coords=coords, attrs={"kind": "filtered"})


def ahead():
    steps = np.cumsum(0.05 * RNG.standard_normal((2, 200, 26)), axis=-1)
    path = xr.DataArray(100_000 * np.exp(steps), dims=("chain", "draw", "step"))
    past = pd.date_range("2025-01-31", periods=52, freq="W-FRI")
    history = ("history_date", 1e5 * np.exp(0.2 * np.sin(np.arange(52) / 8)))
    coords = {"date": ("step", pd.date_range("2026-01-30", periods=26, freq="W-FRI")), "history_date": past}
    found = xr.Dataset({"path": path, "history": history}, coords=coords | {"path_unit": "btc_usd, level"})
    return found.assign_attrs(origin="2026-01-23", scenario="held", response="bitcoin")


def pit():
    time = pd.date_range("2020-01-03", periods=200, freq="W-FRI")
    coords = {"time": time, "response": ["bitcoin"]}
    return xr.DataArray(RNG.beta(1.2, 1.2, (200, 1)), dims=("time", "response"), coords=coords, name="pit")


FIGURES = {
    "lag": lambda: rl.plots.plot_lag(lag(), prior=lag().assign(weights=lag()["weights"].roll(lag=6))),
    "effects": lambda: rl.plots.plot_effects(effects(), prior=3 * effects()),
    "regimes": lambda: rl.plots.plot_regimes(probabilities()),
    "forecast": lambda: rl.plots.plot_forecast(ahead()),
    "pit": lambda: rl.plots.plot_pit(pit()),
}


def write(name, width, folder):
    """Draw a figure without text, which also moves the axes."""
    global RNG  # noqa: PLW0603 - the same numbers for every figure
    RNG = np.random.default_rng(8)
    # Other tests of the process may leave settings behind.
    with mpl.rc_context(mpl.rcParamsDefault), rl.plots.style(width):
        figure = np.asarray(FIGURES[name](), dtype=object).ravel()[0].figure
        figure.canvas.draw()
        for ax in figure.axes:
            ax.tick_params(labelbottom=False, labelleft=False, which="both")
        for text in figure.findobj(Text):
            text.set_visible(False)
        for legend in (ax.get_legend() for ax in figure.axes):
            if legend is not None:
                legend.remove()
        file = folder / f"{name}_{width}.png"
        figure.savefig(file, dpi=60)
    plt.close(figure)
    return file


@pytest.mark.parametrize("width", ["page", "column"])
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_one_approved(name, width, tmp_path):
    drawn = write(name, width, tmp_path)
    assert compare_images(IMAGES / drawn.name, drawn, TOLERANCE) is None


def test_a_moved_line_is_told(tmp_path):
    """The tolerance is below what a change of the drawn values makes."""
    moved = write("pit", "page", tmp_path)
    image = plt.imread(moved).copy()
    image[:, 10:] = image[:, :-10]
    plt.imsave(tmp_path / "moved.png", image)
    assert compare_images(IMAGES / "pit_page.png", tmp_path / "moved.png", TOLERANCE) is not None


def test_the_style_sets_width_and_fonts():
    for width, inches in (("page", 7.0), ("column", 3.45)):
        with rl.plots.style(width):
            assert mpl.rcParams["pdf.fonttype"] == 42
            ax = rl.plots.plot_effects(effects())
            assert ax.figure.get_figwidth() == inches
            assert ax.xaxis.label.get_size() == 8.0
    before = mpl.rcParams["font.size"]
    assert rl.plots.plot_effects(effects()).xaxis.label.get_size() == 8.0
    assert mpl.rcParams["font.size"] == before
    _, own = plt.subplots()
    assert rl.plots.plot_effects(effects(), ax=own).xaxis.label.get_size() == before
    plt.close("all")
    with pytest.raises(rl.errors.FitError, match="column"), rl.plots.style("wide"):
        pass


def test_a_dollar_sign_is_no_mathematics():
    with rl.plots.style():
        found = effects().assign_coords(signal=["S&P $500 in $"])
        ax = rl.plots.plot_effects(found)
        ax.figure.canvas.draw()
        assert "S&P $500 in $ lagged" in [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()]
    plt.close("all")


if __name__ == "__main__":
    mpl.use("Agg")
    IMAGES.mkdir(exist_ok=True)
    for one in FIGURES:
        for size in ("page", "column"):
            sys.stdout.write(f"{write(one, size, IMAGES)}\n")
