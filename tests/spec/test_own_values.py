"""A response that is among its own covariates is refused: by the spec where columns say so, else by the values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import regimelag as rl

WEEKS = 120
KERNEL = rl.kernels.Gamma(2.0, 1.0, 1.0, 0.5)
RETURN = rl.Response("y", "y")
RATIO = rl.Response("y", "y", against="g")


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    moves = np.cumsum(rng.normal(0, 0.04, (WEEKS, 4)), axis=0)
    dates = pd.date_range("2018-01-05", periods=WEEKS, freq="W-FRI")
    return pd.DataFrame(100 * np.exp(moves), index=dates, columns=["y", "x", "g", "z"])


def spec_with(response=RETURN, **parts) -> rl.ModelSpec:
    return rl.ModelSpec(**({"name": "own", "responses": (response,), "max_lag": 4} | parts))


def signal(column="y", **more) -> rl.Signal:
    return rl.Signal("own", column, **({"kernel": KERNEL} | more))


def control(column="y", **more) -> rl.Control:
    return rl.Control("own", column, **({"transform": "log_return"} | more))


# What explains y in the same period, made of y's own column.
SAME_COLUMN = {
    "signal": {"signals": (signal(),)},
    "signal without a lag": {"signals": (signal(kernel=rl.kernels.NoLag()),)},
    "control": {"controls": (control(),)},
    "control by its level": {"controls": (control(transform="level"),)},
    "control by its difference": {"controls": (control(transform="difference"),)},
    "control over a quarter": {"controls": (control(periods=13),)},
    "control by its gain": {"controls": (control(transform="gain", periods=4),)},
    "signal beyond another": {"signals": (signal(beyond="g"),)},
    "one of two controls": {"controls": (rl.Control("x", "x"), control())},
    "ratio": {"response": RATIO, "controls": (control(against="g"),)},
    "ratio upside down": {"response": RATIO, "controls": (control("g", against="y"),)},
    "level of a ratio": {"response": RATIO, "signals": (signal(against="g", transform="level"),)},
    "another response's": {"responses": (RETURN, rl.Response("other", "x")), "controls": (control("x"),)},
    "response twice": {"responses": (RETURN, rl.Response("other", "y", transform="difference"))},
}


def cured(parts: dict, cure: str) -> dict:
    """The parts of the spec after what the cure says was done."""
    if cure.startswith("write contemporaneous=False for the signal 'own'"):
        return parts | {"signals": tuple(replace(one, contemporaneous=False) for one in parts["signals"])}
    role = next(role for role in ("signal", "control", "response") if cure.startswith(f"drop the {role} "))
    name = cure.split("'")[1]
    return parts | {f"{role}s": tuple(one for one in parts[f"{role}s"] if one.name != name)}


@pytest.mark.parametrize("name", SAME_COLUMN)
def test_a_spec_refuses_what_is_made_of_the_responses_column(name):
    parts = SAME_COLUMN[name]
    with pytest.raises(rl.errors.SpecError) as caught:
        spec_with(**parts)
    assert "'y'" in caught.value.came or "'x'" in caught.value.came
    rl.make_panel(spec_with(**cured(parts, caught.value.cure)), frame())


@pytest.mark.parametrize(
    "part", [control(delay="7D"), signal(delay="7D"), signal(delay="1D", kernel=rl.kernels.NoLag())]
)
def test_its_own_past_published_late_is_refused(part):
    role = "signals" if isinstance(part, rl.Signal) else "controls"
    with pytest.raises(rl.errors.SpecError, match="its past is no control of the same period") as caught:
        spec_with(**{role: (part,)})
    cure = caught.value.cure
    if "contemporaneous=False" in cure:
        rl.make_panel(spec_with(signals=(replace(part, contemporaneous=False),)), frame())
        return
    assert cure == f"drop the {role[:-1]} 'own', and write autoregression = 1 for the response 'y'"
    rl.make_panel(spec_with(replace(RETURN, autoregression=1)), frame())


@pytest.mark.parametrize("rows", [1, 3])
def test_a_copy_of_its_past_is_no_term_of_the_same_row(rows):
    """A column that a user shifted by hand."""
    data = frame().assign(copy=lambda f: f["y"].shift(rows)).iloc[rows:]
    for parts in ({"controls": (control("copy"),)}, {"signals": (signal("copy"),)}):
        with pytest.raises(rl.errors.PanelError, match=f"{rows} rows before") as caught:
            rl.make_panel(spec_with(**parts), data)
        assert f"write autoregression = {rows} for response 'y'" in caught.value.cure
    rl.make_panel(spec_with(replace(RETURN, autoregression=rows)), data)
    rl.make_panel(spec_with(signals=(signal("copy", contemporaneous=False),)), data)


@pytest.mark.parametrize(
    "parts",
    [
        {"signals": (signal(contemporaneous=False),)},
        {"drivers": (rl.Driver("own", "y", transform="log_return"),)},
        {"response": RATIO, "controls": (control(),)},
        {"controls": (control("x", against="y"),)},
    ],
    ids=["past", "driver", "part of a ratio", "against the response"],
)
def test_its_past_its_parts_and_drivers_are_allowed(parts):
    rl.make_panel(spec_with(**parts), frame())


COPIES = {
    "in another unit": lambda f: 0.01 * f["y"],
    "its power": lambda f: f["y"] ** -2,
    "rounded": lambda f: (1e4 * f["y"]).round(2),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_under_another_name_is_refused_by_its_values(name):
    data = frame().assign(copy=COPIES[name])
    for parts in ({"signals": (signal("copy"),)}, {"controls": (rl.Control("x", "x"), control("copy"))}):
        with pytest.raises(rl.errors.PanelError, match="column 'copy'") as caught:
            rl.make_panel(spec_with(**parts), data)
        assert "on the same row" in caught.value.came
        assert ("contemporaneous = false" in caught.value.cure) == ("signals" in parts)
    rl.make_panel(spec_with(signals=(signal("copy", contemporaneous=False),)), data)


def test_a_copy_by_another_transform_is_refused():
    data = frame().assign(logged=lambda f: np.log(f["y"]), doubled=lambda f: 3 + 2 * f["y"])
    with pytest.raises(rl.errors.PanelError, match="'logged'"):
        rl.make_panel(spec_with(controls=(rl.Control("own", "logged", transform="difference"),)), data)
    level = rl.Response("y", "y", transform="level")
    with pytest.raises(rl.errors.PanelError, match="'doubled'"):
        rl.make_panel(spec_with(level, controls=(rl.Control("own", "doubled", transform="level"),)), data)


def test_two_responses_that_are_one_are_refused():
    data = frame().assign(copy=lambda f: 7 * f["y"])
    with pytest.raises(rl.errors.PanelError, match=r"response 'other' .* is response 'y'"):
        rl.make_panel(spec_with(responses=(RETURN, rl.Response("other", "copy"))), data)


def test_a_column_and_all_its_parts_are_refused():
    """log(y / g) is log y less log g."""
    parts = {"controls": (control("g"), rl.Control("part", "y", transform="log_return"))}
    with pytest.raises(rl.errors.PanelError, match="sum of multiples") as caught:
        rl.make_panel(spec_with(RATIO, **parts), frame())
    assert "'own'" in caught.value.came
    assert "'part'" in caught.value.cure
    rl.make_panel(spec_with(RATIO, controls=parts["controls"][:1]), frame())


def test_a_response_that_is_one_lag_of_a_signal_is_refused():
    """A column that was shifted one row too far ahead."""
    data = frame().assign(ahead=lambda f: f["y"].shift(-3).ffill())
    with pytest.raises(rl.errors.PanelError, match="3 rows before"):
        rl.make_panel(spec_with(signals=(signal("ahead"),)), data.iloc[:-8])
    noisy = data.assign(ahead=lambda f: f["ahead"] * np.exp(np.random.default_rng(2).normal(0, 0.001, len(f))))
    rl.make_panel(spec_with(signals=(signal("ahead"),)), noisy.iloc[:-8])


def test_missing_responses_do_not_hide_a_copy():
    data = frame().assign(copy=lambda f: 2 * f["y"])
    data.loc[data.index[40:50], "y"] = np.nan
    with pytest.raises(rl.errors.PanelError, match="'copy'"):
        rl.make_panel(spec_with(controls=(control("copy"),)), data)


def test_as_many_covariates_as_rows_are_no_copy():
    """They would explain anything."""
    few = frame().iloc[:12]
    names = [f"c{n}" for n in range(6)]
    data = few.assign(**{name: np.random.default_rng(n).normal(size=12) for n, name in enumerate(names)})
    rl.make_panel(spec_with(controls=tuple(rl.Control(name, name, transform="level") for name in names)), data)
