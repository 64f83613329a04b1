"""Both log-likelihoods against enumeration, scores against quadrature; what a comparison says, and what it refuses."""

from __future__ import annotations

import itertools

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from builders import bare_spec, cut, every_point_lag, hand_panel, one_draw, plain_chain, prior_fit, priors, small_spec
from oracles import enumerate_chain
from scipy import signal, special, stats

import regimelag as rl
from regimelag.evaluation.comparison.differences import Contrast
from regimelag.evaluation.comparison.elpd_difference import (
    ElpdDifference,
    describe_models,
    paired_difference,
    unreliable,
)
from regimelag.evaluation.comparison.psis_loo import loo_score

PAIR = (rl.Response("asset", "price"), rl.Response("other", "other price"))
POINT = (rl.Signal("metal", "metal", kernel=rl.kernels.Point(mean_lag=2.0)),)
SPECS = {
    "one response": small_spec(),
    "normal, one regime": bare_spec(family="normal"),
    "two responses": small_spec(responses=PAIR),
    "own chains": small_spec(responses=PAIR, responses_vary=("effect", "regimes")),
    "point lag": small_spec(signals=POINT, max_lag=3),
    "point lag by regime": small_spec(
        signals=(rl.Signal("metal", "metal", kernel=rl.kernels.Point(mean_lag=2.0, by_regime=True)),), max_lag=3
    ),
}
# Rows and cells without a response: a whole row, and one of two.
MISSING = {1: [2], 2: [(2, 0), (2, 1), (4, 1)]}


TIGHT = "with the prior of intercept Normal(sigma = 0.01) instead of Normal(sigma = 1)"


@pytest.fixture(scope="module", params=SPECS)
def brute(request):
    """A fit of prior draws, one of its draws, and a function: the log-likelihood of that draw without some rows."""
    spec = SPECS[request.param]
    panel = hand_panel(spec, 6, missing=MISSING[len(spec.responses)])
    tree = prior_fit(spec, panel, 2)
    draw = one_draw(tree["posterior"].to_dataset(), 1, 1)
    choices = list(every_point_lag(spec, draw)) if spec.point_signals else [(draw, 0.0)]
    chains = [(plain_chain(spec, panel, v), log_prior) for v, log_prior in choices]

    def loglik(keep):
        each = [
            log_prior + enumerate_chain(np.where(keep[:, None], log_obs, 0.0), *rest).loglik
            for (log_obs, *rest), log_prior in chains
        ]
        return np.logaddexp.reduce(each)

    seen = panel["response_value"].notnull()
    units = (seen.to_numpy() * np.log(panel["response_scale"].to_numpy())).sum(axis=1)
    return tree, loglik, np.flatnonzero(seen.any("response")), units


def test_leave_one_out_terms_equal_enumeration_in_natural_units(brute):
    tree, loglik, rows, units = brute
    terms = rl.leave_one_out(tree)["log_likelihood"]["response_value"]
    assert terms.dims == ("chain", "draw", "time")
    np.testing.assert_array_equal(terms["time"], rl.panel_of(tree)["time"][rows])
    everything = np.ones(6, dtype=bool)
    exact = [loglik(everything) - loglik(np.arange(6) != t) - units[t] for t in rows]
    np.testing.assert_allclose(terms[1, 1], exact, rtol=1e-9, atol=1e-9)


def test_one_step_terms_sum_to_the_log_likelihood(brute):
    tree, loglik, rows, units = brute
    terms = rl.one_step_ahead(tree)["log_likelihood"]["response_value"]
    np.testing.assert_array_equal(terms["time"], rl.panel_of(tree)["time"][rows])
    assert float(terms[1, 1].sum()) == pytest.approx(loglik(np.ones(6, dtype=bool)) - units.sum(), rel=1e-9)
    steps = [loglik(np.arange(6) <= t) - loglik(np.arange(6) < t) - units[t] for t in rows]
    np.testing.assert_allclose(terms[1, 1], steps, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_the_two_log_likelihoods_stay_apart(idata, tmp_path):
    """Kept with the fit, the leave-one-out terms are a group of their own, and ArviZ reads nothing by default."""
    tree = idata.copy()
    tree["leave_one_out"] = rl.leave_one_out(idata)
    loaded = rl.load_fit(rl.save_fit(tree, tmp_path / "fit.nc"))
    xr.testing.assert_identical(loaded["one_step_ahead"].to_dataset(), idata["one_step_ahead"].to_dataset())
    with pytest.raises(TypeError, match="log likelihood not found"):
        az.loo(loaded)
    kept = az.loo(loaded["leave_one_out"], pointwise=True)
    anew = az.loo(rl.leave_one_out(idata), pointwise=True)
    np.testing.assert_allclose(kept.elpd_i, anew.elpd_i, rtol=1e-12)
    assert kept.elpd == pytest.approx(rl.compare({"a": idata, "b": idata})["elpd"].iloc[0])


# ---- one regime, normal: two parameters, so that everything can be integrated


def normal_fit(prior_sd, panel, draws=1000):
    """A fit with exact draws, and the exact leave-one-out log densities (time), natural units.

    Response t is normal with one mean and one scale; their posterior is summed over a fine grid.
    """
    spec = bare_spec(family="normal", priors=priors(intercept=prior_sd))
    y = panel["response_value"].to_numpy()[:, 0]
    mean, log_scale = np.meshgrid(np.linspace(-1.0, 1.5, 501), np.linspace(-0.6, 0.6, 241), indexing="ij")
    log_prior = stats.norm.logpdf(mean, 0, prior_sd) + stats.norm.logpdf(log_scale, np.log(0.8), 0.5)
    terms = stats.norm.logpdf(y[:, None, None], mean, np.exp(log_scale))
    height = log_prior + terms.sum(axis=0)
    total = special.logsumexp(height)
    exact = np.array([total - special.logsumexp(height - term) for term in terms])
    mass = np.exp(height - total).ravel()
    at = np.random.default_rng(5).choice(mass.size, size=(4, draws), p=mass / mass.sum())
    posterior = xr.Dataset(
        {
            "intercept": (("chain", "draw", "response", "regime"), mean.ravel()[at][..., None, None]),
            "log_scale": (("chain", "draw", "response"), log_scale.ravel()[at][..., None]),
        },
        coords={"chain": range(4), "draw": range(draws)},
    )
    tree = xr.DataTree.from_dict({"/posterior": posterior})
    return rl.as_fit(tree, spec, panel, prior_draws=10), exact - np.log(float(panel["response_scale"][0]))


@pytest.fixture(scope="module")
def nested():
    """Priors on the mean: one that allows it, one nearly the same, one that forbids it."""
    panel = hand_panel(bare_spec(), 150, seed=2)
    panel["response_value"] += 0.5
    return {name: normal_fit(sd, panel) for name, sd in {"wide": 1.0, "alike": 0.9, "narrow": 0.01}.items()}


def error_of(tree):
    """Monte Carlo error of each row's log density from importance weights (time): draws are independent."""
    terms = rl.leave_one_out(tree)["log_likelihood"]["response_value"].stack(sample=("chain", "draw")).to_numpy()
    weights = np.exp(-(terms - terms.max(axis=-1, keepdims=True)))
    return weights.std(axis=-1) / weights.mean(axis=-1) / np.sqrt(weights.shape[-1])


def plain_error(apart):
    """Standard error of a sum of dependent terms, looped over all pairs of rows: Bartlett weights, never below none."""
    rows = len(apart)
    reach = int(np.ceil(rows ** (1 / 3)))
    x = apart - apart.mean()
    total = sum(max(0.0, 1 - abs(i - j) / (reach + 1)) * x[i] * x[j] for i in range(rows) for j in range(rows))
    return np.sqrt(max(total, (x**2).sum()) * rows / (rows - 1))


def test_pareto_k_of_leave_one_out_is_that_of_the_inverse_densities():
    """Weights are 1 / p. With p = u^k of a uniform u they have shape k, and mean 1 / (1 - k), exactly."""
    rng = np.random.default_rng(17)
    shapes = np.array([0.2, 0.3, 1.2, -0.5, -1.0])
    rows = np.repeat(np.arange(5), 30)
    terms = shapes[rows] * np.log(rng.random((4, 1000, len(rows))))
    coords = {"chain": range(4), "draw": range(1000), "time": range(len(rows))}
    terms = xr.DataArray(terms, dims=("chain", "draw", "time"), coords=coords)
    score = loo_score(xr.Dataset({"x": terms.isel(time=0, drop=True)}), terms)
    found = score.pareto_k.groupby(xr.DataArray(rows, dims="time", name="row")).mean().to_numpy()
    np.testing.assert_allclose(found[:3], shapes[:3], atol=0.12)
    assert (found[3:] < 0.1).all()
    bad = unreliable(score)
    assert bad[rows == 2].mean() > 0.9
    assert not bad[(rows != 2)].any()
    elpd = score.elpd_i.groupby(xr.DataArray(rows, dims="time", name="row")).mean().to_numpy()
    np.testing.assert_allclose(elpd[:2], np.log(1 - shapes[:2]), atol=0.03)


@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_arviz_loo_equals_quadrature(nested, name):
    tree, exact = nested[name]
    found = az.loo(rl.leave_one_out(tree), pointwise=True)
    error = error_of(tree)
    assert (np.abs(found.elpd_i.to_numpy() - exact) < 5 * error + 1e-6).all()
    assert abs(float(found.elpd) - exact.sum()) < 4.5 * error.sum()


def test_a_comparison_equals_quadrature(nested):
    table = rl.compare({name: tree for name, (tree, _) in nested.items()})
    exact = {name: terms for name, (_, terms) in nested.items()}
    error = {name: error_of(tree).sum() for name, (tree, _) in nested.items()}
    # The two that are alike differ by less than the draws can show.
    assert table["elpd"].is_monotonic_decreasing
    assert table.index[-1] == "narrow"
    for name, row in table.iterrows():
        apart = exact[name] - exact["wide"]
        within = 4.5 * (error[name] + error["wide"])
        assert row["elpd"] == pytest.approx(exact[name].sum(), abs=4.5 * error[name])
        assert row["elpd se"] == pytest.approx(exact[name].std() * np.sqrt(150), rel=0.01)
        assert row["difference"] == pytest.approx(apart.sum(), abs=within)
        assert row["difference se"] == pytest.approx(plain_error(apart), abs=within)
    assert table["reading"].to_dict() == {"wide": "reference", "alike": "inconclusive", "narrow": "worse"}
    assert table["reliability"].str.contains("reliable").all()
    said = table.attrs["verdict"]
    assert said[0] == "wide predicts better than narrow; the data do not distinguish alike from wide."
    assert table.attrs["differences"] == {
        "wide": [],
        "alike": ["with the prior of intercept Normal(sigma = 0.9) instead of Normal(sigma = 1)"],
        "narrow": [TIGHT],
    }
    assert any(one.endswith(f"narrow is wide {TIGHT}.") for one in said)
    assert "no same-row" in table.attrs["condition"]
    density = np.exp(np.stack(list(exact.values()), axis=-1))

    def score(weights):
        weights = np.append(weights, 1 - weights.sum())
        return np.inf if (weights < 0).any() else -np.log(density @ weights).sum()

    grid = np.linspace(0, 1, 101)
    best = min(itertools.product(grid, grid), key=lambda w: score(np.array(w)))
    reached = -score(table.loc[list(exact), "weight"].to_numpy()[:2] * (1 - 1e-12))
    assert reached == pytest.approx(-score(np.array(best)), abs=0.02)
    assert table["weight"].sum() == pytest.approx(1)


def test_another_reference_turns_the_differences(nested):
    fits = {name: tree for name, (tree, _) in nested.items()}
    table, turned = rl.compare(fits), rl.compare(fits, reference="narrow")
    assert turned.loc["wide", "difference"] == pytest.approx(-table.loc["narrow", "difference"])
    assert turned.loc["wide", "reading"] == "better"
    first, second = turned.index[:2]
    assert turned.attrs["verdict"][0] == f"{first} and {second} predict better than narrow."


@pytest.mark.slow
def test_gains_are_those_over_each_null(nested):
    """The pairs need not have one response; here the second is the first doubled, which changes no gain."""
    fits = {name: tree for name, (tree, _) in nested.items()}
    panel = rl.panel_of(fits["wide"])
    doubled = panel.copy()
    doubled["response_scale"] = 2 * panel["response_scale"]
    other = {name: normal_fit(sd, doubled)[0] for name, sd in {"wide": 1.0, "narrow": 0.01}.items()}
    with pytest.raises(rl.errors.FitError, match="other values"):
        rl.compare({"a": fits["wide"], "b": other["wide"]})
    models = {"a -> b": fits["wide"], "b -> a": other["wide"], "null": fits["alike"]}
    nulls = {"a -> b": fits["narrow"], "b -> a": other["narrow"], "null": fits["wide"]}
    table = rl.compare(models, nulls=nulls)
    with pytest.warns(FutureWarning, match="compare_gains"):
        former = rl.evaluation.compare_gains
    assert former({name: (models[name], nulls[name]) for name in models}).equals(table)
    gain = -rl.compare(fits).loc["narrow", "difference"]
    assert table.loc["a -> b", "gain"] == pytest.approx(gain)
    assert table.loc["b -> a", "gain"] == pytest.approx(gain)
    assert table["reading"].to_dict() == {"a -> b": "better", "b -> a": "better", "null": "inconclusive"}
    assert table.loc["null", "difference"] == pytest.approx(table.loc["null", "gain"] - gain)
    apart = nested["alike"][1] - 2 * nested["wide"][1] + nested["narrow"][1]
    assert table.loc["null", "difference se"] == pytest.approx(plain_error(apart), rel=0.05)
    said = " ".join(table.attrs["verdict"])
    assert "a -> b predicts better than its null" in said
    assert f"The null of a -> b is the model of a -> b {TIGHT}." in said
    assert "Which of a -> b and b -> a gains more is inconclusive" in said
    assert "a -> b gains more: the gain of null less that of a -> b" in said
    assert isinstance(rl.plots.plot_compare(table), plt.Axes)
    turned = rl.compare(models, nulls=nulls, reference="null")
    np.testing.assert_allclose(turned.loc["a -> b", "difference"], -table.loc["null", "difference"])
    assert turned.loc["null", "difference"] == 0.0
    assert turned.attrs["reference"] == "null"
    assert any("gain of a -> b less that of null" in sentence for sentence in rl.sentences(turned))


# ---- what is told


def terms_with(difference, se, rows=200):
    """Terms, and others, whose paired difference and standard error are these; and which rows are unreliable: none."""
    # Neighbours unlike, so that the standard error is that of independent rows.
    x = np.resize([1.0, -1.0], rows)
    x = (x - x.mean()) / x.std(ddof=1)
    return x * se / np.sqrt(rows) + difference / rows, np.zeros(rows), np.zeros(rows, dtype=bool)


@pytest.mark.parametrize(
    ("difference", "se", "rows", "reading", "why"),
    [
        (10.0, 2.0, 200, "better", ""),
        (-10.0, 2.0, 200, "worse", ""),
        (3.9, 0.1, 200, "inconclusive", "below 4 nats"),
        (-3.9, 0.1, 200, "inconclusive", "below 4 nats"),
        (10.0, 5.1, 200, "inconclusive", "2 standard errors"),
        (10.0, 4.9, 200, "better", ""),
        (10.0, 2.0, 99, "inconclusive", "fewer than 100 rows"),
    ],
)
def test_when_a_difference_is_told(difference, se, rows, reading, why):
    telling = ElpdDifference.of(*terms_with(difference, se, rows), faulty=False)
    assert telling.difference == pytest.approx(difference)
    assert telling.se == pytest.approx(se)
    assert telling.reading == reading
    assert why in telling.why_not
    assert bool(telling.why_not) == (reading == "inconclusive")


def test_rows_that_are_like_their_neighbours_widen_the_standard_error():
    """An autoregression has a long-run standard deviation of 1 / (1 - 0.7), most of which 13 rows to a side see."""
    rng, rows = np.random.default_rng(1), 2000
    alike = signal.lfilter([1.0], [1.0, -0.7], rng.standard_normal(rows))
    _, se = paired_difference(alike, np.zeros(rows))
    assert se == pytest.approx(plain_error(alike), rel=1e-9)
    assert 0.7 < se / (np.sqrt(rows) / 0.3) < 1.1
    _, unlike = paired_difference(np.resize([1.0, -1.0], rows), np.zeros(rows))
    assert unlike == pytest.approx(np.sqrt(rows * rows / (rows - 1)))


def test_a_difference_that_rests_on_unreliable_rows_is_not_told():
    many = np.arange(200) < 60
    terms, others, _ = terms_with(30.0, 3.0)
    assert ElpdDifference.of(terms, others, many, faulty=False).reading == "better"
    terms[~many] = 0.01 * np.arange(140) / 140
    telling = ElpdDifference.of(terms, others, many, faulty=False)
    assert telling.reading == "inconclusive"
    assert "60 rows with a large Pareto k" in telling.why_not


def test_faulty_draws_support_no_claim(nested):
    telling = ElpdDifference.of(*terms_with(10.0, 2.0), faulty=True)
    assert telling.reading == "inconclusive"
    assert "diagnostics" in telling.why_not
    tree = nested["wide"][0].copy()
    moved = tree["posterior"].to_dataset()
    moved["log_scale"][0] += 0.5
    tree["posterior"] = xr.DataTree(moved)
    table = rl.compare({"wide": tree, "narrow": nested["narrow"][0]})
    assert table.loc["narrow", "reading"] == "inconclusive"
    assert any("Of wide the diagnostics say" in said and "R-hat" in said for said in table.attrs["verdict"])


def test_a_verdict_says_each_model():
    tellings = {
        "baseline": ElpdDifference(0.0, 0.0, "reference"),
        "a": ElpdDifference(-20.0, 3.0, "worse"),
        "b": ElpdDifference(-1.0, 3.0, "inconclusive", "it is below 4 nats"),
        "c": ElpdDifference(2.0, 3.0, "inconclusive", "it is below 4 nats"),
    }
    contrasts = {name: Contrast(("with x", "without y")) for name in tellings} | {"c": Contrast(())}
    said = describe_models("baseline", tellings, {name: [] for name in tellings}, contrasts)
    assert said[0] == "baseline predicts better than a; the data do not distinguish b and c from baseline."
    assert (
        said[1] == "a predicts worse than baseline: -20.0 nats (standard error 3.0). a is baseline with x, without y."
    )
    assert said[2].startswith("The data do not distinguish b from baseline: -1.0 nats (standard error 3.0), and it is")
    assert said[3].endswith("The models of c and baseline are the same.")
    assert len(said) == 4
    alone = describe_models("baseline", {name: tellings[name] for name in ("baseline", "b")}, {}, contrasts)
    assert alone[0] == "The data do not distinguish b from baseline."


# ---- what is refused


@pytest.mark.slow
def test_fits_of_other_data_are_refused(nested):
    tree = nested["wide"][0]
    spec, panel = rl.spec_of(tree), rl.panel_of(tree)

    def fit_on(other, spec=spec):
        return prior_fit(spec, other, 2)

    shifted = panel.assign_coords(time=panel["time"] + np.timedelta64(7, "D"), signal_time=panel["signal_time"])
    shifted = shifted.assign_coords(signal_time=shifted["signal_time"] + np.timedelta64(7, "D"))
    gone, changed, units = panel.copy(deep=True), panel.copy(deep=True), panel.copy(deep=True)
    gone["response_value"][7] = np.nan
    changed["response_value"][7] += 0.1
    units["response_value"] = 0.5 * (units["response_value"] - 1)
    units["response_scale"] = 2 * units["response_scale"]
    units["response_center"] = units["response_center"] + 0.5 * units["response_scale"]
    pair = bare_spec(responses=PAIR)
    for other, words in (
        (fit_on(cut(panel, 140)), "140 from"),
        (fit_on(shifted), "150 from 2020-01-10"),
        (fit_on(gone), "other rows have a response: 1, the first"),
        (fit_on(changed), "other values on 1 rows"),
        (fit_on(units), "response_center"),
        (prior_fit(pair, hand_panel(pair, 150), 2), "responses asset, other, not asset"),
    ):
        with pytest.raises(rl.errors.FitError, match=words) as caught:
            rl.compare({"one": tree, "two": other})
        assert "'two' differs from 'one'" in caught.value.came
        assert caught.value.cure
    missing = hand_panel(pair, 150, missing=[(3, 1)])
    with pytest.raises(rl.errors.FitError, match="missing on 1 rows"):
        rl.compare({"one": prior_fit(pair, hand_panel(pair, 150), 2), "two": prior_fit(pair, missing, 2)})
    short = fit_on(cut(panel, 140))
    with pytest.raises(rl.errors.FitError, match="140 from") as caught:
        rl.compare({"one": tree, "two": short}, nulls={"one": tree, "two": short})
    assert "gains are compared" in caught.value.rule


def test_what_cannot_be_compared_is_refused(nested):
    tree = nested["wide"][0]
    with pytest.raises(rl.errors.FitError, match="two fits"):
        rl.compare({"one": tree})
    with pytest.raises(rl.errors.FitError, match="a null for each"):
        rl.compare({"one": tree, "two": tree}, nulls={"one": tree})
    with pytest.raises(rl.errors.FitError, match="reference"):
        rl.compare({"one": tree, "two": tree}, reference="three")


# ---- the figure


def test_the_figure_draws_each_model_and_its_weight(nested):
    table = rl.compare({name: tree for name, (tree, _) in nested.items()})
    ax = rl.plots.plot_compare(table)
    labels = [label.get_text().split("\n") for label in ax.get_yticklabels()]
    assert [first for first, *_ in labels] == list(table.index)
    assert [" ".join(rest) for _, *rest in labels] == [", ".join(table.attrs["differences"][n]) for n in table.index]
    drawn = {line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"}
    assert drawn == set(table["difference"])
    spans = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 1.6]
    np.testing.assert_allclose(np.ptp(np.array(spans, dtype=float), axis=1), 4 * table["difference se"])
    assert {text.get_text() for text in ax.texts} >= {f"{weight:.2f}" for weight in table["weight"]}
    assert "wide" in ax.get_title()
    plt.close("all")
    with pytest.raises(rl.errors.FitError, match="compare"):
        rl.plots.plot_compare(table[["elpd"]])
