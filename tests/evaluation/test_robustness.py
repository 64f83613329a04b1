"""Robustness of a lag: the altered panels against plain loops, what a table says, and known truths."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from builders import (
    KERNEL,
    hand_panel,
    moderated_spec,
    one_draw,
    plain_chain,
    plain_moderator,
    prior_draws,
    replaced,
    small_spec,
)

import regimelag as rl
from regimelag.evaluation.comparison.leave_one_out import pointwise
from regimelag.evaluation.robustness import altered_panels
from regimelag.evaluation.robustness.plan import plan_checks
from regimelag.evaluation.robustness.refit import Refit, compiled_on
from regimelag.evaluation.robustness.robustness import _model_free
from regimelag.evaluation.robustness.summary import add_findings
from regimelag.model.evaluate import evaluate, stack_draws
from regimelag.panel.make import check_panel
from regimelag.panel.moderators import moderator_values
from regimelag.panel.own_past import own_past, used_responses
from regimelag.results.decision import claims, decision_threshold
from regimelag.sampling.compiled import CompiledModel
from regimelag.spec.terms import prior_constants

TWO = tuple(rl.Signal(name, name, kernel=KERNEL) for name in ("metal", "ore"))


@pytest.fixture(scope="module")
def two():
    """Two signals, a driver, a control, two episodes; 14 rows, draws from the prior."""
    spec = small_spec(signals=TWO)
    panel = hand_panel(spec, 14)
    return spec, panel, prior_draws(spec, panel, 2)


def weights_of(spec, v, name):
    kernel = next(signal.kernel for signal in spec.signals if signal.name == name)
    parameters = {key: np.asarray(v[f"{name}_lag_{key}"]) for key in kernel.priors(spec.max_lag)}
    return kernel.weights(parameters, spec.max_lag)


def effect_of(v, place, regime, episode):
    return v["effect"][place] + v["effect_regime"][place, regime] + v["effect_episode"][place, episode]


# The altered panels


def test_two_parts_of_a_signal_are_the_same_model(two):
    spec, panel, parameters = two
    split, whole = altered_panels.split_same_row_and_lag(spec, panel, "ore")
    check_panel(split, whole)
    assert [signal.name for signal in split.signals] == ["metal", "ore, same row", "ore"]
    draws = stack_draws(parameters)
    before, after = evaluate(spec, panel, draws), evaluate(split, whole, draws)
    np.testing.assert_allclose(before.location, after.location, rtol=0, atol=1e-12)
    np.testing.assert_allclose(before.logits, after.logits, rtol=0, atol=1e-12)


def test_a_window_keeps_its_history_and_episodes(two):
    spec, panel, _ = two
    for first, stop in ((0, 3), (2, 9), (8, 14)):
        cut = altered_panels.window(panel, first, stop)
        check_panel(spec, cut)
        assert np.array_equal(cut["time"], panel["time"][first:stop])
        assert np.array_equal(cut["signal_value"], panel["signal_value"][first : 4 + stop])


def test_with_time_reversed_the_kernel_weighs_what_comes_next(two):
    spec, panel, parameters = two
    split, whole = altered_panels.split_same_row_and_lag(spec, panel, "metal")
    back = altered_panels.reversed_time(whole)
    eq = evaluate(split, back, stack_draws(parameters))
    v = one_draw(parameters)
    x, y = panel["signal_value"].to_numpy(), panel["response_value"].to_numpy()[:, 0]
    for row in range(10):
        then = 9 - row
        assert back["response_value"].to_numpy()[row, 0] == y[then]
        episode = int(panel["episode_index"][then])
        for k in range(2):
            m = v["intercept"][0, k] + v["control_effect"][0, 0] * panel["control_value"].to_numpy()[then, 0]
            for place, name in enumerate(("metal", "ore")):
                m += v["contemporaneous"][0, place] * x[4 + then, place]
                for lead in range(1, 5):
                    weight = weights_of(spec, v, name)[lead - 1]
                    m += effect_of(v, place, k, episode) * weight * x[4 + then + lead, place]
            assert eq.location[0, 0, row, k] == pytest.approx(m)
    for step in range(9):
        # The step from row `step` leads to the row that was 8 - step, from the one after it.
        z = panel["driver_value"].to_numpy()[8 - step, 0]
        expected = v["driver_effect"][0] * z + np.diag(v["stay_log_odds"])
        assert np.allclose(eq.logits[0, step], expected)


def test_with_time_reversed_a_state_is_that_of_the_step_into_its_row():
    spec = moderated_spec(("easing", "yield"))
    panel = hand_panel(spec, 14)
    back = altered_panels.reversed_time(panel)
    values = moderator_values(spec, back)
    # Backwards the step into a row comes from the row after it, and is driven by the row's own drivers.
    ahead = [plain_moderator(spec, panel, t + 1, name) for t in range(9, -1, -1) for name in spec.moderators]
    np.testing.assert_allclose(values.ravel(), ahead, atol=1e-12)
    split, whole = altered_panels.split_same_row_and_lag(spec, panel, "metal")
    assert split.moderators == spec.moderators
    assert len(split.moderated_signals) == 1
    check_panel(split, whole)


def test_left_out_responses_are_missing_and_nothing_else(two):
    spec, panel, _ = two
    out = np.zeros(14, dtype=bool)
    out[[2, 3, 11]] = True
    left = altered_panels.without_rows(panel, out)
    check_panel(spec, left)
    assert np.array_equal(np.isnan(left["response_value"].to_numpy()[:, 0]), out)
    assert np.array_equal(left["response_value"][~out], panel["response_value"][~out])
    assert left.drop_vars("response_value").identical(panel.drop_vars("response_value"))


def test_the_largest_moves_are_found_with_the_mean_added_back():
    panel = hand_panel(small_spec(), 6)
    panel["response_value"][:, 0] = [2.0, -2.5, 0.0, np.nan, 3.0, -3.1]
    panel["response_center"][0], panel["response_scale"][0] = 0.1, 0.1
    # In natural units: 0.3, -0.15, 0.1, missing, 0.4, -0.21.
    assert np.flatnonzero(altered_panels.largest_rows(panel, 3)[:, 0]).tolist() == [0, 4, 5]


def test_leave_one_out_terms_are_ratios_of_sums_over_all_paths():
    spec = small_spec()
    panel = hand_panel(spec, 7, missing=[2])
    parameters = prior_draws(spec, panel, 1)
    terms = pointwise(spec, panel, parameters)
    assert terms.sizes["time"] == 6
    log_obs, log_p, start = plain_chain(spec, panel, one_draw(parameters, chain=1))

    def total(densities):
        paths = np.array(np.meshgrid(*[[0, 1]] * 7)).reshape(7, -1).T
        heights = [
            start[path[0]]
            + sum(log_p[t, path[t], path[t + 1]] for t in range(6))
            + sum(densities[t, path[t]] for t in range(7))
            for path in paths
        ]
        return np.logaddexp.reduce(heights)

    for place, t in enumerate([0, 1, 3, 4, 5, 6]):
        without = log_obs.copy()
        without[t] = 0.0
        unit = np.log(float(panel["response_scale"][0]))
        assert float(terms[1, 0, place]) == pytest.approx(total(log_obs) - total(without) - unit)


# What a table says


def table(**changes):
    """A table in which a claim survives, but for the changes: (kind, place) to columns."""
    rows = [
        ("baseline", "as it is", 1.0, 0.999),
        ("rival", "late controls", 0.9, 0.998),
        ("rival", "own past", 1.0, 0.999),
        ("rival", "GARCH errors", np.nan, np.nan),
        ("lead", "lead", 0.1, 0.6),
        *(("leave-out", f"without {n}", 0.9, 0.96) for n in range(3)),
        ("model-free", "cross-correlation with b", np.nan, np.nan),
    ]
    made = pd.DataFrame(rows, columns=["kind", "check", "effect median", "P(> 0)"])
    made["rows"], made["R-hat"], made["note"], made["mean lag median"] = 100, 1.0, "", 3.0
    made.loc[made["check"] == "GARCH errors", "note"] = "not made: it asks that there is one response; here 2: b, c"
    made["effect 5 %"], made["effect 95 %"] = made["effect median"] - 0.5, made["effect median"] + 0.5
    for where, (column, value) in changes.items():
        kind, place = where.rsplit("_", 1)
        made.loc[made.index[made["kind"] == kind.replace("_", "-")][int(place)], column] = value
    made.attrs |= {"signal": "a", "response": "b", "threshold": decision_threshold()}
    return add_findings(made)


def test_a_claim_survives_and_says_so():
    said = table()
    assert said.attrs["survives"]
    assert "survives every rival explanation that could be tried" in said.attrs["summary"][0]
    assert rl.sentences(said) == said.attrs["summary"]
    assert not any("R-hat" in sentence for sentence in said.attrs["summary"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lead_0": ("P(> 0)", 0.01)}, "leads the signal too"),
        # Sure enough where rows are left out, not with a rival in the model.
        ({"rival_0": ("P(> 0)", 0.98)}, "sign is lost with late controls in the model"),
        ({"rival_1": ("P(> 0)", 0.01)}, "sign is lost with own past in the model"),
        ({"rival_1": ("note", "failed: lost")}, "1 checks failed"),
        ({"baseline_0": ("P(> 0)", 0.9)}, "no lagged effect is found"),
        # Not sure enough for the verdict, so not for the summary of checks.
        ({"baseline_0": ("P(> 0)", 0.98)}, "no lagged effect is found"),
    ],
)
def test_each_check_can_break_the_claim(changes, why):
    said = table(**changes)
    assert not said.attrs["survives"]
    assert why in said.attrs["summary"][0]


def test_rivals_are_said_by_outcome():
    """Survived, lost, and not tried with the reason; where nothing is found, the effects alone."""
    made = table()
    outcomes = made.set_index("check")["outcome"]
    assert outcomes["late controls"] == outcomes["own past"] == outcomes["as it is"] == outcomes["lead"] == "survived"
    assert outcomes["GARCH errors"] == "not tried"
    text = " ".join(made.attrs["summary"])
    assert "The sign is kept with late controls in the model: 0.90" in text
    assert "; with own past in the model: 1.00" in text
    assert "Rival explanations not tried: GARCH errors (not made: it asks that there is one response; here 2" in text
    made = table(rival_0=("P(> 0)", 0.5))
    assert made["outcome"][1] == "lost"
    said = " ".join(made.attrs["summary"])
    assert "The sign is not kept (probability below 0.99) with late controls in the model: 0.90" in said
    none = " ".join(table(baseline_0=("P(> 0)", 0.9)).attrs["summary"])
    assert "sign is kept with" not in none
    assert "The effect is, with late controls in the model: 0.90" in none


def test_rows_left_out_are_told_and_decide_nothing():
    made = table(leave_out_1=("P(> 0)", 0.8), leave_out_2=("P(> 0)", 0.01))
    assert made.attrs["survives"]
    assert list(made["outcome"][made["kind"] == "leave-out"]) == ["survived", "lost", "lost"]
    assert any("its sign is lost without 1, without 2." in said for said in made.attrs["summary"])


def test_a_claim_whose_verdict_is_withheld_does_not_survive():
    made = table()
    made.attrs["withheld"] = ["The one-step-ahead residuals of b are serially correlated."]
    said = add_findings(made).attrs
    assert not said["survives"]
    assert "its verdict is withheld" in said["summary"][0]
    assert "The verdict is withheld. The one-step-ahead residuals of b are serially correlated." in said["summary"]


def test_the_threshold_is_that_of_the_verdict():
    """At every probability both say the same of the sign, and a lead needs as much."""
    for positive in (0.975, 0.989, 0.991, 0.009, 0.011, 0.02):
        claimed = claims(positive).direction != 0
        said = table(baseline_0=("P(> 0)", positive)).attrs["summary"][0]
        assert ("no lagged effect is found" in said) == (not claimed)
        led = table(lead_0=("P(> 0)", positive)).attrs["summary"][0]
        assert ("leads the signal too" in led) == claimed


def test_a_negative_effect_can_survive_too():
    negative = {f"{kind}_0": ("P(> 0)", 0.001) for kind in ("baseline",)}
    negative |= {f"leave_out_{n}": ("P(> 0)", 0.001) for n in range(3)}
    negative |= {f"rival_{n}": ("P(> 0)", 0.001) for n in range(2)}
    made = table(**negative)
    made.loc[0, "effect median"] = -1.0
    assert add_findings(made).attrs["survives"]


def test_chains_that_disagree_are_named():
    said = table(leave_out_2=("R-hat", 1.2)).attrs["summary"]
    assert "without 2" in said[-1]


# In one call


def known(effect, lead=0.0, rows=160, seed=0):
    """A panel with one regime and one episode: the response follows at lag 2, or leads by 2, or neither."""
    spec = small_spec(
        drivers=(), controls=(), episodes=rl.spec.Episodes(), regimes=rl.spec.Regimes(count=1), family="normal"
    )
    panel = hand_panel(spec, rows, seed=seed)
    x, y = panel["signal_value"].to_numpy()[:, 0], panel["response_value"].to_numpy()
    for t in range(rows):
        y[t, 0] += effect * x[4 + t - 2] + (lead * x[4 + t + 2] if t + 2 < rows else 0.0)
    return spec, panel


QUICK = {
    "sampler": rl.Sampler(draws=300, tune=300, chains=2, starts=4),
    "progressbar": False,
    "random_seed": 0,
}


@pytest.fixture(scope="module")
def here():
    """An executor in this process: what it compiles serves all tests."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def strong(tmp_path_factory, here):
    folder = tmp_path_factory.mktemp("refits")
    spec, panel = known(1.0)
    return spec, panel, folder, rl.robustness(spec, panel, folder=folder, executor=here, **QUICK)


def of(made, kind):
    return made[made["kind"] == kind]


@pytest.mark.slow
def test_a_strong_lag_passes(strong):
    _, panel, _, made = strong
    base = of(made, "baseline").iloc[0]
    natural = float(panel["response_scale"][0] / panel["signal_scale"][0])
    # Nearly all of the kernel's weight lies near lag 2, so the cumulative effect is near one standardised unit.
    assert base["effect 5 %"] < 1.15 * natural
    assert base["effect 95 %"] > 0.85 * natural
    assert base["mean lag 5 %"] < 2.3
    assert base["mean lag 95 %"] > 1.7
    # A statistic of 3.5 without an effect comes once in two thousand.
    assert of(made, "lead")["statistic"].item() < 3.5 < base["statistic"]
    assert of(made, "lead")["rows"].item() == 156
    assert of(made, "model-free")["note"].iloc[0].startswith("largest at lag 2, ")
    assert made.attrs["threshold"] == 0.99


def test_the_model_free_line_holds_no_number_under_another_name():
    """The lag of the largest correlation is no mean lag, and the lead-lag ratio no statistic of an effect."""
    spec = small_spec()
    panel = hand_panel(spec, 80)
    line = _model_free(panel, "metal", "asset", 4)
    read = rl.evaluation.lead_lag(panel, max_lag=4).sel(adjustment="controls")
    assert set(line) == {"kind", "check", "signal", "response", "rows", "note"}
    assert line["note"].startswith(f"largest at lag {int(read['peak_lag'])}, ")
    assert f"are {float(read['ratio']):.2f} times those at negative ones" in line["note"]


@pytest.mark.slow
def test_leaving_out_uses_fewer_rows(strong):
    _, panel, _, made = strong
    first_year = int((panel["time"].dt.year == panel["time"].dt.year[0]).sum())
    left = of(made, "leave-out").set_index("left out")["rows"]
    assert dict(left) == {"2020": 160 - first_year, "the 5 largest moves": 155}


class Unused(Executor):
    def submit(self, *args, **kwargs):
        raise AssertionError("nothing is left to do")


@pytest.mark.slow
def test_a_finished_run_is_read_from_its_folder(strong):
    spec, panel, folder, made = strong
    again = rl.robustness(spec, panel, folder=folder, executor=Unused(), **(QUICK | {"random_seed": None}))
    pd.testing.assert_frame_equal(again, made)
    assert again.attrs == made.attrs
    with pytest.raises(rl.errors.FitError, match="seed"):
        rl.robustness(spec, panel, folder=folder, executor=Unused(), **(QUICK | {"random_seed": 1}))


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is(here):
    made = rl.robustness(*known(0.0), executor=here, **QUICK)
    assert of(made, "baseline")["statistic"].iloc[0] < 3.5
    assert (of(made, "lead")["statistic"] < 3.5).all()
    assert not made.attrs["survives"]


@pytest.mark.slow
def test_a_lead_is_seen_as_one(here):
    made = rl.robustness(*known(0.0, lead=1.0), executor=here, **QUICK)
    assert of(made, "baseline")["statistic"].item() < 3.5 < of(made, "lead")["statistic"].item()
    assert 1.7 < of(made, "lead")["mean lag median"].item() < 2.3
    assert not made.attrs["survives"]


class Failing(Executor):
    """Answers every run with an error, but for the first ones."""

    def __init__(self, good):
        self.good = good

    def submit(self, work, *args):
        future = Future()
        future.set_result(work(*args) if args[-1] < self.good else {"error": "lost"})
        return future


@pytest.mark.slow
def test_failed_refits_are_said_and_never_dropped(here):
    spec, panel = known(1.0)
    made = rl.robustness(spec, panel, executor=Failing(1), **QUICK)
    assert of(made, "baseline")["note"].iloc[0] == ""
    failed = made[~made["kind"].isin(["baseline", "model-free"]) & ~made["note"].str.startswith("not made")]
    assert (failed["note"].str.startswith("failed: lost")).all()
    assert not made.attrs["survives"]
    assert any("failed" in sentence for sentence in made.attrs["summary"])
    with pytest.raises(rl.errors.FitError, match="lost"):
        rl.robustness(spec, panel, executor=Failing(0), **QUICK)


def with_lags(panel):
    """The panel with one row of the response before it."""
    return panel.assign_coords(own_lag=[1]).assign(response_history=(("own_lag", "response"), [[0.3]]))


def test_checks_of_a_response_with_its_own_past():
    """Own past goes with its rows: backwards it is what came after."""
    spec, panel = known(1.0)
    own, panel = replaced(spec, responses=(rl.Response("asset", "price", autoregression=1),)), with_lags(panel)
    checks = {check.check: check for check in plan_checks(own, panel, "metal")}
    y = panel["response_value"].to_numpy()
    rows, lags = len(y), spec.max_lag
    lead = checks["lead"].task.panel
    np.testing.assert_array_equal(lead["response_value"], y[: rows - lags][::-1])
    np.testing.assert_array_equal(own_past(lead)[:, 0, 0], y[1 : rows - lags + 1, 0][::-1])
    out = next(check for name, check in checks.items() if name.startswith("without the"))
    missing = np.isnan(out.task.panel["response_value"].to_numpy()[:, 0])
    assert np.isnan(used_responses(out.task.panel)[1:, 0]).sum() == (missing[1:] | missing[:-1]).sum()


def test_a_signal_must_be_named_where_there_are_several(two):
    spec, panel, _ = two
    with pytest.raises(rl.errors.FitError, match="none was named"):
        rl.robustness(spec, panel)
    with pytest.raises(rl.errors.FitError, match="signal = 'gold'"):
        rl.robustness(spec, panel, signal="gold")


def test_a_short_panel_is_refused(two):
    with pytest.raises(rl.errors.PanelError, match="14 rows"):
        rl.robustness(*two[:2], signal="ore")


def test_a_task_travels(two):
    spec, panel, _ = two
    task = Refit(spec, panel, panel, "ore")
    there = pickle.loads(pickle.dumps(task))
    assert there.spec == spec
    assert there.panel.identical(panel)


def test_figure():
    made = table()
    ax = rl.plots.plot_robustness(made)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[:4] == ["as it is", "late controls", "own past", "without 0"]
    # Without the one that was not made, and the one without a model.
    assert len(ax.get_yticks()) == made["effect median"].notna().sum() == len(made) - 2
    assert ax.get_title()
    assert ax.get_legend() is not None
    _, given = plt.subplots()
    assert rl.plots.plot_robustness(made, ax=given) is given
    plt.close("all")


def test_a_table_is_plain_enough_to_be_kept():
    assert json.loads(json.dumps(table().attrs))["signal"] == "a"


@pytest.mark.slow
def test_a_prior_of_an_elasticity_follows_the_constants_of_each_refit():
    """A window with other standard deviations, fitted after another one in the same process."""
    spec = small_spec(priors={"effect": rl.Prior("Normal", sigma=0.8, unit="elasticity")})
    first = hand_panel(spec, 12)
    second = first.assign(response_scale=3.0 * first["response_scale"])
    for panel in (first, second, first):
        compiled = compiled_on(Refit(spec, panel, panel, ""))
        point = np.full(compiled.size, 0.1)
        alone = CompiledModel(rl.build_model(spec, panel)).value_and_gradient(point)
        np.testing.assert_allclose(compiled.value_and_gradient(point)[0], alone[0], rtol=1e-12)
    assert prior_constants(small_spec(), first) == ()
