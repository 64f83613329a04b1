"""In what two specs differ, in words, and which comparison tests a lag."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import xarray as xr
from builders import KERNEL, STATE, hand_panel, moderated_spec, prior_fit, priors, replaced, small_spec

import regimelag as rl
from regimelag.evaluation.comparison.differences import contrast, spec_differences, without_lag_of
from regimelag.evaluation.comparison.elpd_difference import SAME, ElpdDifference, describe_models
from regimelag.model.build import build_model
from regimelag.reporting import tables

BASE = small_spec()
METAL = BASE.signals[0]
OIL = rl.Signal("oil", "oil", kernel=KERNEL)


GARCH = replaced(BASE, regimes=rl.spec.Regimes(count=1), drivers=(), volatility="garch")


def with_metal(**changes):
    return small_spec(signals=(replaced(METAL, **changes),))


CASES = {
    "nothing": (BASE, []),
    "names": (small_spec(name="other", claim="another", regimes=rl.spec.Regimes(names=("low", "high"))), []),
    "a variance that clusters": (
        GARCH,
        [
            "without the driver yield",
            "with 1 regime instead of 2",
            "with volatility garch instead of constant",
        ],
    ),
    "another name of the same signal": (with_metal(name="ore"), []),
    "no signal": (small_spec(signals=()), ["without metal (same-period and lagged terms)"]),
    "no lag": (with_metal(kernel=rl.kernels.NoLag()), ["without the lagged term of metal"]),
    "no same-period term": (with_metal(contemporaneous=False), ["without the same-period term of metal"]),
    "another signal": (small_spec(signals=(METAL, OIL)), ["with oil (same-period and lagged terms)"]),
    "a same-period signal": (
        small_spec(signals=(METAL, replaced(OIL, kernel=rl.kernels.NoLag()))),
        ["with the same-period term of oil"],
    ),
    "two parts of one signal": (
        small_spec(
            signals=(replaced(METAL, name="now", kernel=rl.kernels.NoLag()), replaced(METAL, contemporaneous=False)),
        ),
        [],
    ),
    "another kernel": (
        with_metal(kernel=rl.kernels.LogNormal(2.0, 1.0)),
        ["with kernel lognormal instead of gamma for metal"],
    ),
    "another prior of the lag": (
        with_metal(kernel=replaced(KERNEL, mean_lag=3.0)),
        ["with mean_lag 3 instead of 2 in the kernel of metal"],
    ),
    "another transform": (
        with_metal(transform="difference"),
        ["with transform difference instead of log_return for metal"],
    ),
    "net of another column": (with_metal(beyond="gold"), ["with beyond gold instead of none for metal"]),
    "the signal as a control": (
        small_spec(signals=(), controls=(*BASE.controls, rl.Control("metal", "metal", transform="log_return"))),
        ["without the lagged term of metal", "with metal as a control"],
    ),
    "no driver": (small_spec(drivers=()), ["without the driver yield"]),
    "another driver": (
        small_spec(drivers=(*BASE.drivers, rl.Driver("vix", "vix"))),
        ["with the driver vix"],
    ),
    "a driver over another span": (
        small_spec(drivers=(rl.Driver("yield", "yield", periods=4),)),
        ["with periods 4 instead of 13 for yield (driver)"],
    ),
    "a driver that only moderates": (
        small_spec(drivers=(rl.Driver("yield", "yield", drives=False),)),
        ["without the driver yield"],
    ),
    "a moderator": (
        small_spec(
            drivers=(*BASE.drivers, rl.Driver("euro", "euro", drives=False)),
            signals=(replaced(METAL, moderators=("euro",)),),
        ),
        ["with euro as moderators of metal instead of none"],
    ),
    "an indicator that nothing names": (
        replaced(BASE, indicators=(rl.spec.Indicator("easing", (rl.spec.Condition("yield", below=0.0),)),)),
        [],
    ),
    "no control": (small_spec(controls=()), ["without the control dollar"]),
    "another control": (
        small_spec(controls=(*BASE.controls, rl.Control("vix", "vix"))),
        ["with the control vix"],
    ),
    "one regime": (
        small_spec(regimes=rl.spec.Regimes(count=1), drivers=()),
        ["without the driver yield", "with 1 regime instead of 2"],
    ),
    "three regimes": (small_spec(regimes=rl.spec.Regimes(count=3)), ["with 3 regimes instead of 2"]),
    "another initial distribution": (
        small_spec(regimes=rl.spec.Regimes(initial="stationary")),
        ["with initial stationary instead of uniform in regimes"],
    ),
    "other episodes": (
        small_spec(episodes=replaced(BASE.episodes, starts=(dt.date(2020, 2, 1),))),
        ["with starts 2020-02-01 instead of 2020-01-25 in episodes"],
    ),
    "what varies": (
        small_spec(episodes=replaced(BASE.episodes, vary=("scale",))),
        ["with scale varying over episodes instead of scale and effect"],
    ),
    "what varies of a lag that is none": (
        small_spec(signals=(), episodes=replaced(BASE.episodes, vary=("scale",))),
        ["without metal (same-period and lagged terms)"],
    ),
    "a prior": (
        small_spec(priors=priors(effect=1.0)),
        ["with the prior of effect Normal(sigma = 1) instead of Normal(mu = 0, sigma = 0.5)"],
    ),
    "the tail": (small_spec(family="normal"), ["with family normal instead of student_t"]),
    "the largest lag": (small_spec(max_lag=6), ["with max_lag 6 instead of 4"]),
    "several": (
        small_spec(signals=(), drivers=(), family="normal"),
        [
            "without metal (same-period and lagged terms)",
            "without the driver yield",
            "with family normal instead of student_t",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_differences_in_words(name):
    spec, expected = CASES[name]
    assert spec_differences(BASE, spec) == expected


def test_every_field_of_a_spec_is_looked_at():
    """Each part changed by itself is named, so that a part added later cannot go unseen."""
    two = (rl.Response("asset", "price"), rl.Response("other", "other"))
    one = small_spec(responses=two)
    assert spec_differences(one, replaced(one, responses_vary=())) == ["with responses_vary none instead of effect"]
    assert spec_differences(BASE, replaced(BASE, frequency="D")) == ["with frequency D instead of W-FRI"]
    rougher = replaced(BASE, responses=(replaced(BASE.responses[0], against="metal"),))
    # The values of responses are compared themselves.
    assert spec_differences(BASE, rougher) == []


def test_another_definition_of_a_moderator_is_a_difference():
    one = moderated_spec()
    bound = rl.spec.Indicator("easing", (rl.spec.Condition("yield", below=0.2), STATE.all_of[1]))
    said = ["with another definition of the moderator easing"]
    assert spec_differences(one, replaced(one, indicators=(bound,))) == said
    assert spec_differences(one, replaced(one, indicators=(replaced(STATE, all_of=STATE.all_of[::-1]),))) == []
    monthly = (replaced(one.drivers[0], periods=4), one.drivers[1])
    assert spec_differences(one, replaced(one, drivers=monthly)) == said
    # Against a model without the drivers that a state is made of.
    assert not contrast(one, GARCH).regimes_over_clustering
    # A null without the lag has no moderators.
    assert without_lag_of(one, "metal").moderators == ()


@pytest.mark.parametrize(
    ("name", "lost", "gained"),
    [
        ("no signal", ("metal",), ()),
        ("several", ("metal",), ()),
        ("another signal", (), ("oil",)),
        *((name, (), ()) for name in ("no lag", "no same-period term", "another transform", "a same-period signal")),
        # The control keeps the same-period term.
        ("the signal as a control", (), ()),
    ],
)
def test_a_null_without_the_same_period_term_is_found(name, lost, gained):
    found = contrast(BASE, CASES[name][0])
    assert (found.lost, found.gained) == (lost, gained)
    turned = contrast(CASES[name][0], BASE)
    assert (turned.lost, turned.gained) == (gained, lost)


def test_a_lag_alone_is_tested_by_leaving_the_signal_out():
    lagged = with_metal(contemporaneous=False)
    assert contrast(lagged, small_spec(signals=())).lost == ()


def test_the_right_null_can_be_built_and_is_found_among_the_fits():
    null = without_lag_of(small_spec(signals=(METAL, OIL)), "metal")
    build_model(null, hand_panel(null, 8))
    assert spec_differences(small_spec(signals=(METAL, OIL)), null) == ["without the lagged term of metal"]
    others = {"full": BASE, "none": small_spec(signals=()), "now": with_metal(kernel=rl.kernels.NoLag())}
    assert contrast(BASE, others["none"], others).nulls == {"metal": "now"}
    del others["now"]
    assert contrast(BASE, others["none"], others).nulls == {}


# ---- in a comparison


@pytest.fixture(scope="module")
def fits():
    """A response that moves with the signal within the row and never later, and fits near the truth of three models."""
    base = small_spec(
        drivers=(), controls=(), episodes=rl.spec.Episodes(), regimes=rl.spec.Regimes(count=1), family="normal"
    )
    panel = hand_panel(base, 110, seed=4)
    panel["response_value"][:, 0] = panel["signal_value"].to_numpy()[4:, 0]
    panel["response_value"] += 0.1 * np.random.default_rng(5).standard_normal((110, 1))
    now = replaced(base, signals=(replaced(METAL, kernel=rl.kernels.NoLag()),))
    found = {}
    for name, spec in {"leads": base, "none": replaced(base, signals=()), "now": now}.items():
        data = panel.isel(signal=slice(len(spec.signals)), signal_time=slice(4 - spec.history, None))
        tree = prior_fit(spec, data, 1)
        draws = tree["posterior"].to_dataset()
        rng = np.random.default_rng(6)
        near = {"log_scale": 0.0 if name == "none" else np.log(0.1), "intercept": 0.0, "contemporaneous": 1.0}
        near |= {"effect": 0.0, "metal_lag_location": 2.0, "metal_lag_spread": 1.0}
        posterior = draws.isel(chain=[0] * 4, draw=[0] * 250).assign_coords(chain=range(4), draw=range(250))
        for key in posterior.data_vars:
            shape = posterior[key].shape
            posterior[key] = posterior[key].copy(data=near[str(key)] + 0.005 * rng.standard_normal(shape))
        tree = xr.DataTree.from_dict({"/posterior": posterior})
        found[name] = rl.as_fit(tree, spec, data, prior_draws=5)
    return found


def test_a_gain_of_the_same_period_term_is_not_one_of_the_lag(fits):
    table = rl.compare({name: fits[name] for name in ("leads", "none")})
    assert table.loc["none", "reading"] == "worse"
    said = table.attrs["verdict"]
    assert said[0] == "leads predicts better than none (which also lacks the same-period term of metal)."
    assert "none is leads without metal (same-period and lagged terms)." in said[1]
    assert "This difference does not test the lag of metal, since the same-period term differs too:" in said[1]
    assert said[1].endswith(
        'compare leads with the same model with kernel = { kind = "none" } for metal (regimelag.kernels.NoLag()).'
    )
    assert table.attrs["differences"] == {"leads": [], "none": ["without metal (same-period and lagged terms)"]}
    turned = rl.compare({name: fits[name] for name in ("none", "leads")}).attrs["verdict"]
    assert turned[0] == "leads (which also has the same-period term of metal) predicts better than none."
    assert "compare leads with the same model with kernel" in turned[1]


def test_the_null_that_keeps_the_same_period_term_is_named_and_not_warned_of(fits):
    table = rl.compare(fits)
    assert table.loc["now", "reading"] == "inconclusive"
    said = " ".join(table.attrs["verdict"])
    assert "the data do not distinguish now from leads." in said
    assert "compare leads with now, that is the same model with kernel" in said
    alone = rl.compare({name: fits[name] for name in ("leads", "now")}).attrs["verdict"]
    assert "same-period" not in " ".join(alone)
    assert alone[1].endswith("now is leads without the lagged term of metal.")


def test_gains_over_such_nulls_are_warned_of_too(fits):
    table = rl.compare({"lag": fits["leads"], "all": fits["leads"]}, nulls={"lag": fits["now"], "all": fits["none"]})
    first, second, *_ = table.attrs["verdict"]
    assert first.endswith("The null of lag is the model of lag without the lagged term of metal.")
    assert "This difference does not test the lag of metal" in second
    assert table.attrs["differences"]["all"] == ["without metal (same-period and lagged terms)"]


def test_the_table_of_the_report_and_the_figure_say_it(fits, tmp_path):
    table = rl.compare({name: fits[name] for name in ("leads", "none")})
    shown = tables.of_result(table)
    tables.write_tables({"comparison": shown}, tmp_path / "tables")
    latex = (tmp_path / "tables" / "comparison.tex").read_text(encoding="utf-8")
    assert "none: leads without metal (same-period and lagged terms)." in latex
    assert "Inconclusive: the data do not distinguish" in latex
    labels = [label.get_text() for label in rl.plots.plot_compare(table).get_yticklabels()]
    assert [" ".join(label.split()) for label in labels] == [
        "leads",
        "none without metal (same-period and lagged terms)",
    ]


# ---- regimes or volatility clustering


def test_regimes_are_set_against_clustering_where_nothing_else_differs():
    assert contrast(BASE, GARCH).regimes_over_clustering == -1
    assert contrast(GARCH, BASE).regimes_over_clustering == 1
    assert contrast(GARCH, replaced(BASE, drivers=(), regimes=rl.spec.Regimes(count=3))).regimes_over_clustering == 1
    # Priors of what the other lacks are no difference; one that both have is.
    gap = replaced(BASE, priors={"log_scale_gap": rl.Prior("LogNormal", mu=0.0, sigma=0.5)})
    moves = replaced(GARCH, priors={"garch_persistence": rl.Prior("Beta", alpha=9.0, beta=1.0)})
    assert contrast(gap, moves).regimes_over_clustering == -1
    wide = replaced(BASE, priors={"effect": rl.Prior("Normal", sigma=2.0)})
    assert contrast(wide, GARCH).regimes_over_clustering == 0
    one_regime = replaced(GARCH, volatility="constant")
    two = replaced(BASE, responses=(*BASE.responses, rl.Response("other", "second")))
    point = with_metal(kernel=rl.kernels.Point(mean_lag=2.0))
    for other in (GARCH, one_regime, with_metal(kernel=rl.kernels.NoLag()), two, point, small_spec(controls=())):
        assert contrast(GARCH, other).regimes_over_clustering == 0
        assert contrast(other, GARCH).regimes_over_clustering == 0


@pytest.mark.parametrize(
    ("reference", "spec", "difference", "said"),
    [
        (BASE, GARCH, 0.5, "So whether regimes add anything beyond volatility clustering is inconclusive."),
        (BASE, GARCH, -30.0, "So regimes add to the prediction beyond volatility clustering."),
        (GARCH, BASE, 30.0, "So regimes add to the prediction beyond volatility clustering."),
        (BASE, GARCH, 30.0, "So volatility clustering predicts better than regimes do."),
        (GARCH, BASE, -30.0, "So volatility clustering predicts better than regimes do."),
        (BASE, replaced(GARCH, volatility="constant"), -30.0, ""),
    ],
)
def test_a_sentence_says_whether_regimes_add_to_clustering(reference, spec, difference, said):
    rng = np.random.default_rng(0)
    terms = rng.normal(0.0, 1.0, 200)
    telling = ElpdDifference.of(
        terms, terms - difference / 200 + rng.normal(0.0, 1e-3, 200), np.zeros(200, dtype=bool), faulty=False
    )
    found = describe_models("one", {"one": SAME, "two": telling}, {}, {"two": contrast(reference, spec)})
    assert (found[1].endswith(said)) if said else ("clustering" not in found[1])
