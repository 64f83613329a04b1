"""The report: what it writes, that it needs no other file, that it says what the readings say, and what it refuses."""

from __future__ import annotations

import base64
import datetime as dt
import html
import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from builders import bare_spec, garch_spec, hand_panel, moderated_spec, prior_fit, small_spec

import regimelag as rl
from regimelag.results.drivers import drivers_in_short
from regimelag.results.verdict import probability

VOID = {"meta", "img", "source", "br", "link", "hr", "input"}


class Reader(HTMLParser):
    """Collects what a page refers to, and checks that its elements nest."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.narrow, self.tags = [], set(), [], [], [], []
        self.hover = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.hover += [json.loads(attrs["data-hover"])] if "data-hover" in attrs else []
        self.narrow += [attrs["srcset"]] if "srcset" in attrs else []
        self.ids |= {attrs["id"]} if "id" in attrs else set()
        self.links += [attrs["href"]] if "href" in attrs else []
        self.sources += [attrs["src"]] if "src" in attrs else []
        if tag == "img":
            assert attrs["alt"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Elements of MathML may close themselves."""
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page):
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert not reader.open
    return reader


def words(page):
    """The text of a page, spaces in ones."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.read_text(encoding="utf-8"))).split())


@pytest.fixture(autouse=True)
def _close():
    open_before = plt.get_fignums()
    yield
    assert plt.get_fignums() == open_before, "a report closes its figures"


@pytest.fixture(scope="module")
def page(idata, tmp_path_factory):
    return rl.report(idata, tmp_path_factory.mktemp("reports") / "flagship")


@pytest.mark.slow
def test_the_page_needs_no_other_file(page):
    reader = read(page)
    assert {"link", "iframe"}.isdisjoint(reader.tags)
    # The page's own script, which shows values under the pointer.
    assert reader.tags.count("script") == 1
    assert len(reader.narrow) == len(reader.sources)
    assert all(source.startswith("data:image/png;base64,") for source in reader.narrow)
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)
    assert reader.sources
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    assert "url(" not in page.read_text(encoding="utf-8")
    assert "math" in reader.tags


@pytest.mark.slow
def test_figures_and_tables_are_beside_it(page):
    figures, tables = page.parent / "figures", page.parent / "tables"
    drawn = {path.stem for path in figures.glob("*.png")}
    assert drawn == {path.stem for path in figures.glob("*.pdf")}
    expected = {
        "impulse_silver",
        "prices",
        "inputs",
        "lag",
        "evidence",
        "effects",
        "regimes_filtered",
        "regimes_smoothed",
        "regime_summary",
        "shares",
    }
    expected |= {"durations", "drivers", "calibration"}
    assert drawn == expected | {f"{name}_column" for name in expected}
    reader = read(page)
    embedded = {base64.b64decode(source.split(",")[1]) for source in (*reader.sources, *reader.narrow)}
    assert embedded == {path.read_bytes() for path in figures.glob("*.png")}
    written = {path.stem for path in tables.glob("*.csv")}
    assert written == {path.stem for path in tables.glob("*.tex")}
    expected = {"data", "priors", "parameters", "modes", "lag_report", "regimes", "driver_report", "drivers"}
    assert written == expected | {"provenance"}
    for path in tables.glob("*.tex"):
        latex = path.read_text(encoding="utf-8")
        assert latex.count(r"\begin{table") == latex.count(r"\bottomrule") >= 1
        assert latex.isascii(), path
    assert r"\begin{equation*}" in (page.parent / "model.tex").read_text(encoding="utf-8")


@pytest.mark.slow
def test_values_appear_under_the_pointer(page, idata):
    prices, lag, filtered, smoothed = read(page).hover
    assert [len(panels) for panels in (prices, lag, filtered, smoothed)] == [2, 1, 1, 1]
    mean = rl.regime_probabilities(idata).mean(("chain", "draw"))
    assert filtered[0]["labels"][-1] == str(mean["time"].to_numpy()[-1].astype("datetime64[D]"))
    np.testing.assert_allclose(filtered[0]["series"]["calm"], mean.sel(regime="calm"), rtol=1e-3)
    for panel in (*prices, *lag, *filtered, *smoothed):
        assert np.diff(panel["x"]).min() >= 0
        assert 0 <= panel["x"][0] <= panel["x"][-1] <= 1
        assert all(0 <= left <= left + width <= 1 for left, _, width, _ in panel["boxes"])


@pytest.mark.slow
def test_fonts_are_embedded_as_truetype(page):
    for file in (page.parent / "figures").glob("*.pdf"):
        assert b"/FontFile2" in file.read_bytes()
        assert b"/Type3" not in file.read_bytes(), file


@pytest.mark.slow
def test_prices_come_first(page):
    first = base64.b64decode(read(page).sources[0].split(",")[1])
    assert first == (page.parent / "figures" / "prices.png").read_bytes()
    assert 'Shaded: smoothed probability of regime "turbulent", given all data.' in words(page)


@pytest.mark.slow
def test_it_says_what_the_readings_say(page, idata):
    said, report = words(page), rl.lag_report(idata)
    verdicts, notes = report.attrs["verdict"].values(), report.attrs["notes"]
    sentences = [*verdicts, *notes, *rl.diagnostics(idata), rl.spec_of(idata).claim, *rl.citation().splitlines()]
    for sentence in sentences:
        assert " ".join(sentence.split()) in said
    held = pd.read_csv(page.parent / "tables" / "lag_report.csv", index_col=[0, 1, 2, 3, 4])
    np.testing.assert_allclose(held["posterior median"], report["posterior", "median"], rtol=1e-12)
    shown = report.shown.table.set_index("quantity").loc["mean lag"]
    assert f"{shown['median']} {shown['90 %']}" in said
    drivers = rl.results.driver_report(idata)
    assert all(sentence in said for sentence in rl.sentences(drivers))
    held = pd.read_csv(page.parent / "tables" / "driver_report.csv", index_col=[0, 1, 2, 3])
    np.testing.assert_allclose(held["median"], drivers["median"], rtol=1e-12)
    assert all(one in said for one in rl.summary(idata).answer)
    # Diagnostics of the short fit fail, so the answer says nothing of drivers.
    assert (drivers_in_short(drivers) in said) == (len(rl.diagnostics(idata)) == 1)
    assert idata.attrs["panel_sha256"] in said
    assert f"Origin: {rl.panel_of(idata).attrs['origin']}." in said


@pytest.mark.slow
def test_a_file_is_enough(page, idata, tmp_path, capsys):
    """The page from the file is that from the fit, picture by picture, and progress is told once for each."""
    again = rl.report(rl.save_fit(idata, tmp_path / "fit.nc"), tmp_path / "again")
    figures = len(list(again.parent.glob("figures/*.pdf"))) // 2
    told = capsys.readouterr().err.split("\r")
    assert told == [
        "Computing the results of the report ...\n",
        *(f"{n} of {figures} figures " for n in range(figures)),
        f"{figures} of {figures} figures \n",
    ]
    assert again.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_exists_is_kept(page, idata, tmp_path):
    before = page.read_bytes()
    with pytest.raises(rl.errors.FitError, match="what exists is kept"):
        rl.report(idata, page.parent)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(rl.errors.FitError, match="a folder that is replaced holds a report"):
            rl.report(idata, other, overwrite=overwrite, progressbar=False)
    assert (other / "thesis.tex").read_text() == "years of work"
    assert page.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"comparison": pd.DataFrame({"a": [1]})}, "comparison is a table from regimelag.compare"),
        ({"comparison": pd.DataFrame({"elpd": [1.0]})}, "without verdict and condition and reference in attrs"),
        ({"robustness": pd.DataFrame({"effect median": [1.0]})}, "not a copy that was read from a file"),
        ({"robustness": 3}, "robustness is a table from regimelag.robustness"),
        ({"moves": {"gold": 1.0}}, "moves name drivers"),
        ({"within": (13, 4)}, "within"),
    ],
)
def test_bad_arguments_leave_nothing_behind(idata, tmp_path, options, told):
    with pytest.raises(rl.errors.FitError, match=told):
        rl.report(idata, tmp_path / "new", **options)
    assert not list(tmp_path.iterdir())


TWO = (rl.Response("asset", "price"), rl.Response("other_asset", "second"))
VARIANTS = {
    "nothing that explains": bare_spec(),
    "garch": garch_spec(),
    "own chains": small_spec(responses=TWO, responses_vary=("effect", "regimes")),
    "point lag": small_spec(
        claim="<img src=x onerror=alert(1)>",
        signals=(rl.Signal("metal <&>", "metal", kernel=rl.kernels.Point(mean_lag=2.0, spread=1.0)),),
        controls=(rl.Control("<script>alert(1)</script>", "dollar"),),
    ),
    "lag alone": small_spec(
        signals=(rl.Signal("metal", "metal", contemporaneous=False),),
        max_lag=9,
        controls=(),
        episodes=rl.spec.Episodes(starts=(dt.date(2020, 6, 5),), vary=("scale", "lag")),
    ),
    "moderated": moderated_spec(("easing", "euro")),
    # The drivers move one of two processes.
    "coupling": small_spec(
        regime_processes=(
            rl.spec.RegimeProcess("volatility", carries=("scale", "intercept")),
            rl.spec.RegimeProcess("coupling", carries=("effect",), order_by="effect", drivers=("yield",)),
        )
    ),
    "same row": small_spec(signals=(rl.Signal("metal", "metal", kernel=rl.kernels.NoLag()),), drivers=()),
}


# A page takes seconds.
SLOW = pytest.mark.slow
QUICK = {"nothing that explains"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else SLOW) for name in VARIANTS])
@pytest.mark.filterwarnings("ignore")
def test_every_shape_of_model_has_a_report(name, tmp_path):
    spec = VARIANTS[name]
    fit = prior_fit(spec, hand_panel(spec, 60, missing=[3]), draws=400)
    page = rl.report(fit, tmp_path / "report")
    reader, said = read(page), words(page)
    assert {"data", "model", "diagnostics", "checks", "comparison", "provenance", "cite"} <= reader.ids
    assert ("lag" in reader.ids) == bool(spec.signals)
    assert ("regimes" in reader.ids) == (spec.regimes.count > 1)
    assert ("drivers" in reader.ids) == bool(spec.transition_drivers)
    assert ("states" in reader.ids) == bool(spec.indicators)
    assert ("impulse" in reader.ids) == bool(spec.lagged_signals)
    assert ("impulse_metal__easing___1.png" in {one.name for one in (page.parent / "figures").iterdir()}) == (
        name == "moderated"
    )
    assert ("gain" in reader.ids) == ("Bayes factor of two effects against one" in said) == (name == "coupling")
    assert ("volatility" in reader.ids) == spec.volatility.moves
    assert ("The volatility follows the response's own past" in said) == spec.volatility.moves
    assert all(signal.name in said for signal in spec.signals)
    # Words beside figures and numbers are of this model.
    assert ("Dotted lines separate episodes" in said) == bool(spec.episodes.starts)
    assert ("Shaded: history for the lags" in said) == bool(spec.lagged_signals)
    assert ("50 % bands alone" in said) == spec.lag_by_episode
    same_period = any(signal.contemporaneous for signal in spec.signals) or bool(spec.controls)
    assert ("distribution, given the rows before and the row's own signals and controls;" in said) == same_period
    assert ("distribution, given the rows before;" in said) == (not same_period)
    assert reader.tags.count("script") == 1
    assert "alert(1)" not in page.read_text(encoding="utf-8").rpartition("<script>")[2]
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)
    # Prior draws are no posterior; where the diagnostics find fault, nothing is claimed of the day either.
    trusted = len(rl.diagnostics(fit)) == 1
    assert any(f"the regime{whose} is" in said for whose in ("", " of asset", " of coupling")) == (
        spec.regimes.count > 1 and trusted
    )
    assert ("No driver is shown to move the regimes" in said) == (bool(spec.transition_drivers) and trusted)


@pytest.mark.slow
def test_judgements_are_shown(idata, tmp_path):
    comparison = rl.compare({"lag": idata, "the same": idata})
    page = rl.report(idata, tmp_path / "report", comparison=comparison, moves={"real yield": -0.5})
    said = words(page)
    assert all(" ".join(sentence.split()) in said for sentence in comparison.attrs["verdict"])
    assert "the same" in said
    assert (page.parent / "figures" / "comparison.pdf").is_file()
    drivers = pd.read_csv(page.parent / "tables" / "drivers.csv", index_col=[0, 1])
    odds = rl.driver_effects(idata, moves={"real yield": -0.5})["log_odds"].sel(driver="real yield", regime="turbulent")
    median = drivers.loc[("real yield", "turbulent"), "log odds against calm median"]
    assert median == pytest.approx(float(odds.median()))
    # Log odds are in the table of claims; those of the move are in the CSV alone.
    assert "log odds" not in (page.parent / "tables" / "drivers.tex").read_text(encoding="utf-8")
    assert "Change in the log odds" in (page.parent / "tables" / "driver_report.tex").read_text(encoding="utf-8")
    assert "real yield by -0.5" in said


def test_probabilities_are_never_zero_or_one():
    assert [probability(value) for value in (0.0, 0.0004, 0.149, 1.0)] == [
        "below 0.001",
        "below 0.001",
        "0.149",
        "above 0.999",
    ]
