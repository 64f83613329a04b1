"""Every cure is carried out as it is written, in the state in which the error appears, and the call then succeeds.

Cures of data (frames, files of series, windows) are in test_panel.py and test_bad_input.py; here are those of specs,
fits, readings and judgements.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from builders import bare_spec, cut, hand_panel, prior_fit, replaced, small_spec

import regimelag as rl
from regimelag.panel.frame_checks import check_frame, take_columns
from regimelag.panel.rows import to_frequency
from regimelag.runtime.plain import drawn_seed
from regimelag.sampling.fit import _check_model
from regimelag.sampling.modes import find_modes
from regimelag.sampling.sampler_kwargs import check_keywords
from regimelag.spec import (
    families,
    frequency,
    indicators,
    kernels,
    model_spec,
    moderator_checks,
    parts,
    prior_checks,
    priors,
    process_checks,
    processes,
    registry,
    series,
    transitions,
)
from regimelag.spec import toml as specfile
from regimelag.spec.kernels import base, by_lag, location_scale, point
from regimelag.spec.toml import spec_from_toml, spec_to_toml, write_spec

NAMES = {"regimelag": rl, "rl": rl, "pymc": pm, "plt": None, "true": True, "false": False}
for space in (rl, rl.plots, rl.evaluation, rl.kernels):
    NAMES |= {name: getattr(space, name) for name in dir(space) if not name.startswith("_")}


@dataclasses.dataclass(frozen=True)
class OneSided(families.Family):
    """A family of one response alone."""

    kind: ClassVar[str] = "one_sided"


@pytest.fixture(autouse=True)
def _one_sided(monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "one_sided", OneSided)
    monkeypatch.setitem(transitions.TRANSITIONS, "walk", Walk)


class Case(NamedTuple):
    """A call that is refused.

    Attributes
    ----------
    call : callable
        What is called.
    given : dict
        Its arguments.
    says : str
        What the cure says, where a hand has to carry it out; else it is read from the cure.
    then : callable, optional
        The arguments after what the cure says.
    """

    call: Callable[..., object]
    given: dict[str, Any]
    says: str = ""
    then: Callable[[dict[str, Any]], dict[str, Any]] | None = None


def value_at(text: str, **names) -> Any:
    """The value of the longest beginning of a text that is Python."""
    for end in range(len(text), 0, -1):
        if text[:end].rstrip().endswith(","):
            continue
        try:
            return eval(text[:end].strip(), NAMES | names)
        except Exception:  # what is no Python, or names what is not there
            continue
    raise AssertionError(f"no value: {text}")


def written(cure: str, given: dict[str, Any], **names) -> dict[str, Any]:
    """The arguments after the first thing that a cure says to write or to drop."""
    write = re.match(r"(?:write|pass|give) (\w+) ?= ?", cure)
    if write:
        value = cure[write.end() :]
        return given | {write[1]: value_at(value, **names)}
    drop = re.match(r"drop (\w+)", cure)
    assert drop, cure
    return {name: value for name, value in given.items() if name != drop[1]}


def carry_out(case: Case, **names) -> rl.RegimelagError:
    with pytest.raises(rl.RegimelagError) as caught:
        case.call(**case.given)
    error = caught.value
    assert all((error.asked, error.rule, error.came, error.cure))
    assert case.says in error.cure
    case.call(**(case.then(case.given) if case.then else written(error.cure, case.given, **names)))
    return error


def changed(**values) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: given | values


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: {key: value for key, value in given.items() if key != name}


def text(old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A spec's text with a part replaced."""

    def edit(given):
        assert old in given["text"]
        return {"text": given["text"].replace(old, new)}

    return edit


def model(**parts):
    return rl.ModelSpec(**({"name": "model", "responses": (rl.Response("asset", "price"),)} | parts))


def with_kernel(kernel, **parts):
    return model(signals=(rl.Signal("metal", "metal", kernel=kernel),), **parts)


def kernel_of(kind, max_lag=26, **priors):
    with_kernel(kind(**priors), max_lag=max_lag)


def two_responses(**parts):
    return model(responses=(rl.Response("a", "a"), rl.Response("b", "b")), **parts)


def normal(**parameters):
    return rl.Prior("Normal", **parameters)


def moderated(name):
    return (rl.Signal("metal", "metal", moderators=(name,)),)


IDLE = (rl.Driver("yield", "yield", drives=False),)
EASING = rl.spec.Indicator("easing", (rl.spec.Condition("yield", below=0.0),))
SERIES = {
    "no name": Case(rl.Response, {"name": "", "column": "a"}, "give name a text", changed(name="a")),
    "no column": Case(rl.Signal, {"name": "a", "column": None}, "give column a text", changed(column="a")),
    "transform": Case(rl.Control, {"name": "a", "column": "a", "transform": "return"}),
    "point lag of a control": Case(
        rl.Control,
        {"name": "a", "column": "a", "kernel": rl.kernels.Point()},
        "kernel=regimelag.kernels.LogNormal() in Python",
        changed(kernel=rl.kernels.LogNormal()),
    ),
    "periods of a response": Case(rl.Response, {"name": "a", "column": "a", "periods": 0}),
    "periods of a driver": Case(rl.Driver, {"name": "a", "column": "a", "periods": 2.5}),
    "periods of a level": Case(rl.Driver, {"name": "a", "column": "a", "transform": "level", "periods": 13}),
    "periods of a level that was a change": Case(
        lambda **given: replaced(rl.Driver("a", "a"), **given), {"transform": "level"}
    ),
    "delay of a response": Case(rl.Response, {"name": "a", "column": "a", "delay": "soon"}),
    "delay in numbers": Case(rl.Driver, {"name": "a", "column": "a", "delay": 28}, '"28D"', changed(delay="28D")),
    "delayed response": Case(rl.Response, {"name": "a", "column": "a", "delay": "1B"}),
    "response over several rows": Case(rl.Response, {"name": "a", "column": "a", "periods": 4}),
    "half a lag of its own": Case(rl.Response, {"name": "a", "column": "a", "autoregression": 0.5}),
    "close": Case(rl.Signal, {"name": "a", "column": "a", "close": "4 pm"}),
    "a value of a period": Case(
        rl.Signal, {"name": "a", "column": "a", "value": "mean"}, "choose one of", changed(value="average")
    ),
    "a date of a period": Case(
        rl.Signal, {"name": "a", "column": "a", "dated": "begin"}, "choose one of", changed(dated="start")
    ),
    "two conventions": Case(
        model,
        {
            "responses": (rl.Response("a", "a", value="end"),),
            "drivers": (rl.Driver("b", "a", value="average"),),
        },
        "write value = 'end' for 'b'",
        changed(drivers=(rl.Driver("b", "a", value="end"),)),
    ),
    "two closes": Case(
        model,
        {
            "responses": (rl.Response("a", "a", close="24:00 UTC"),),
            "drivers": (rl.Driver("b", "a", delay="1D", close="00:00 UTC"),),
        },
        "leave it out",
        changed(drivers=(rl.Driver("b", "a", delay="1D"),)),
    ),
    "against itself": Case(
        rl.Control, {"name": "a", "column": "a", "against": "a"}, "drop against", without("against")
    ),
    "beyond itself": Case(rl.Signal, {"name": "a", "column": "a", "beyond": "a"}, "drop beyond", without("beyond")),
    "driver of gains": Case(rl.Driver, {"name": "a", "column": "a", "transform": "gain"}),
    "driver of losses": Case(rl.Driver, {"name": "a", "column": "a", "transform": "loss"}),
    "driver of new highs": Case(rl.Driver, {"name": "a", "column": "a", "transform": "new_high"}),
    "response of new highs": Case(
        rl.Response,
        {"name": "a", "column": "a", "transform": "new_high", "periods": 52},
        'transform = "log_return" and periods = 1',
        changed(transform="log_return", periods=1),
    ),
    "new high above one price": Case(rl.Signal, {"name": "a", "column": "a", "transform": "new_high"}),
    "new high above one price, as a gain": Case(
        rl.Control,
        {"name": "a", "column": "a", "transform": "new_high"},
        'transform = "gain"',
        changed(transform="gain"),
    ),
    "kernel by name": Case(
        rl.Signal,
        {"name": "a", "column": "a", "kernel": "gamma"},
        "regimelag.kernels.Gamma()",
        changed(kernel=rl.kernels.Gamma()),
    ),
    "signal that does nothing": Case(
        rl.Signal, {"name": "a", "column": "a", "kernel": rl.kernels.NoLag(), "contemporaneous": False}
    ),
    "truth in quotes": Case(rl.Signal, {"name": "a", "column": "a", "contemporaneous": "false"}),
    "a driver that drives in quotes": Case(rl.Driver, {"name": "a", "column": "a", "drives": "false"}),
    "a moderator without a list": Case(rl.Signal, {"name": "a", "column": "a", "moderators": "yield"}),
    "a moderator twice": Case(rl.Signal, {"name": "a", "column": "a", "moderators": ("yield", "yield")}),
    "a moderator without a lag": Case(
        rl.Signal, {"name": "a", "column": "a", "kernel": rl.kernels.NoLag(), "moderators": ("yield",)}
    ),
    "slash": Case(rl.Signal, {"name": "EUR/USD", "column": "a"}),
}
STRUCTURE = {
    "start in quotes": Case(
        rl.spec.Episodes, {"starts": ("2020-01-01",)}, "datetime.date(2012", changed(starts=(dt.date(2020, 1, 1),))
    ),
    "starts out of order": Case(
        rl.spec.Episodes,
        {"starts": (dt.date(2020, 1, 1), dt.date(2019, 1, 1))},
        "sort them",
        lambda given: {"starts": sorted(set(given["starts"]))},
    ),
    "one start": Case(
        rl.spec.Episodes,
        {"starts": dt.date(2020, 1, 1)},
        "write starts = [datetime.date(2020, 1, 1)]",
        changed(starts=[dt.date(2020, 1, 1)]),
    ),
    "one name of an episode": Case(rl.spec.Episodes, {"names": "all"}),
    "one name of a regime": Case(rl.spec.Regimes, {"count": 1, "names": "all"}),
    "too few names": Case(
        rl.spec.Episodes,
        {"starts": (dt.date(2020, 1, 1),), "names": ("late",)},
        "name the period before the first start too",
        changed(names=("early", "late")),
    ),
    "an episode named all": Case(
        rl.spec.Episodes,
        {"starts": (dt.date(2020, 1, 1),), "names": ("early", "all")},
        'write "every"',
        changed(names=("early", "every")),
    ),
    "a regime named all": Case(
        rl.spec.Regimes, {"names": ("calm", "all")}, 'write "every"', changed(names=("calm", "every"))
    ),
    "what varies": Case(rl.spec.Episodes, {"vary": ("scal",)}),
    "what varies, without a list": Case(rl.spec.Episodes, {"vary": "scale"}),
    "what varies, not alike": Case(rl.spec.Episodes, {"vary": ("zzz",)}, "choose from", changed(vary=["effect"])),
    "count": Case(rl.spec.Regimes, {"count": 2.5}),
    "initial": Case(rl.spec.Regimes, {"initial": "uniforms"}),
    "initial, not alike": Case(rl.spec.Regimes, {"initial": "zzz"}, "choose one of", changed(initial="stationary")),
    "names of regimes": Case(rl.spec.Regimes, {"names": ("calm",)}, "leave names out", without("names")),
    "no duration": Case(rl.spec.Markov, {"expected_duration": ()}),
    "duration of one period": Case(
        rl.spec.Markov, {"expected_duration": 1.0}, "a number above 1", changed(expected_duration=1.5)
    ),
    "log sd of durations": Case(
        rl.spec.Markov, {"expected_duration_log_sd": -1.0}, "a number above 0", changed(expected_duration_log_sd=1.0)
    ),
    "by origin": Case(rl.spec.Markov, {"by_origin": 1}, "by_origin=True", changed(by_origin=True)),
    "scale of zero": Case(normal, {"sigma": 0.0}, "write sigma = 1.0", changed(sigma=1.0)),
    "a condition on nothing": Case(rl.spec.Condition, {"driver": "", "below": 0.0}),
    "a bound in quotes": Case(rl.spec.Condition, {"driver": "yield", "below": "0"}),
    "a condition without a bound": Case(rl.spec.Condition, {"driver": "yield"}),
    "a condition that cannot hold": Case(rl.spec.Condition, {"driver": "yield", "below": 0.0, "above": 0.5}),
    "an indicator without a name": Case(
        rl.spec.Indicator, {"name": "", "all_of": (rl.spec.Condition("yield", below=0.0),)}
    ),
    "an indicator without conditions": Case(
        rl.spec.Indicator,
        {"name": "easing", "all_of": ()},
        'all_of=(regimelag.spec.Condition("real yield", below=0.0),)',
        lambda given: given | {"all_of": value_at('(regimelag.spec.Condition("real yield", below=0.0),)')},
    ),
    "a condition alone": Case(
        rl.spec.Indicator,
        {"name": "easing", "all_of": rl.spec.Condition("yield", below=0.0)},
        "all_of=(regimelag.spec.Condition(",
        changed(all_of=(rl.spec.Condition("yield", below=0.0),)),
    ),
}
POINTS = (rl.Signal("a", "a", kernel=rl.kernels.Point()), rl.Signal("b", "b", kernel=rl.kernels.Point(by_regime=True)))
SPECS = {
    "no name": Case(model, {"name": " "}),
    "not in a tuple": Case(
        model, {"drivers": rl.Driver("a", "a")}, "with a comma", changed(drivers=(rl.Driver("a", "a"),))
    ),
    "no response": Case(
        model,
        {"responses": ()},
        'responses=(regimelag.Response("bitcoin", "btc_usd"),)',
        lambda given: given | {"responses": value_at('(regimelag.Response("bitcoin", "btc_usd"),)')},
    ),
    "another kind": Case(
        model, {"signals": (rl.Driver("a", "a"),)}, "regimelag.Signal", changed(signals=(rl.Signal("a", "a"),))
    ),
    "a number of regimes": Case(
        model, {"regimes": 3}, "write regimes=regimelag.spec.Regimes(...)", changed(regimes=rl.spec.Regimes(count=3))
    ),
    "one name twice": Case(
        model,
        {"drivers": (rl.Driver("a", "a"), rl.Driver("a", "b"))},
        "rename one",
        changed(drivers=(rl.Driver("a", "a"), rl.Driver("b", "b"))),
    ),
    "max_lag": Case(model, {"max_lag": 2.5}),
    "family": Case(model, {"family": "student"}),
    "shape of a family": Case(
        lambda shape: model(family=families.StudentT(shape=shape)), {"shape": -1.0}, "above 0", changed(shape=2.0)
    ),
    "several responses and a family without a joint distribution": Case(
        model,
        {"responses": (rl.Response("asset", "price"), rl.Response("other", "cost")), "family": OneSided()},
    ),
    "durations": Case(
        rl.spec.Regimes,
        {"transitions": rl.spec.Markov(expected_duration=(20.0, 30.0, 40.0))},
        "write expected_duration = 20.0",
        changed(transitions=rl.spec.Markov(expected_duration=20.0)),
    ),
    "drivers of one regime": Case(
        model,
        {"drivers": (rl.Driver("a", "a"),), "regimes": rl.spec.Regimes(count=1)},
        "regimes=regimelag.spec.Regimes(count=2)",
        lambda given: given | {"regimes": value_at("regimelag.spec.Regimes(count=2)")},
    ),
    "a driver that moderates one regime": Case(
        model,
        {"drivers": (rl.Driver("a", "a"),), "signals": moderated("a"), "regimes": rl.spec.Regimes(count=1)},
        "drives = false for those of moderators and indicators",
        changed(drivers=(rl.Driver("a", "a", drives=False),)),
    ),
    "an indicator with the name of a driver": Case(
        model,
        {"drivers": IDLE, "indicators": (rl.spec.Indicator("yield", EASING.all_of),)},
        "write name = 'yield state' for the indicator",
        changed(indicators=(rl.spec.Indicator("yield state", EASING.all_of),)),
    ),
    "an indicator of an unknown driver": Case(
        model,
        {"drivers": IDLE, "indicators": (rl.spec.Indicator("easing", (rl.spec.Condition("yields", below=0.0),)),)},
        "write driver = 'yield'",
        changed(indicators=(EASING,)),
    ),
    "an unknown moderator": Case(
        model,
        {"drivers": IDLE, "indicators": (EASING,), "signals": moderated("eassing")},
        "write moderators = ['easing']",
        changed(signals=moderated("easing")),
    ),
    "signals with different moderators": Case(
        model,
        {
            "drivers": IDLE,
            "indicators": (EASING,),
            "signals": (*moderated("easing"), rl.Signal("oil", "oil", moderators=("yield",))),
        },
        "write moderators = ['easing'] for each of them",
        changed(signals=(*moderated("easing"), rl.Signal("oil", "oil", moderators=("easing",)))),
    ),
    "overlap in quotes": Case(model, {"allow_overlap": "true"}, "allow_overlap=True", changed(allow_overlap=True)),
    "a driver that moderates and drives": Case(
        model,
        {"drivers": (rl.Driver("yield", "yield"),), "indicators": (EASING,), "signals": moderated("easing")},
        "write drives = false (drives=False in Python) for the driver 'yield', or allow_overlap = true",
        changed(drivers=IDLE),
    ),
    "a series that moderates and drives, under two names": Case(
        model,
        {"drivers": (*IDLE, rl.Driver("month", "yield", periods=4)), "signals": moderated("yield")},
        "or allow_overlap = true",
        changed(allow_overlap=True),
    ),
    "one column, two responses": Case(
        model,
        {"responses": (rl.Response("a", "a"), rl.Response("b", "a"))},
        "drop the response 'b'",
        changed(responses=(rl.Response("a", "a"),)),
    ),
    "the response as a signal": Case(
        model,
        {"signals": (rl.Signal("own", "price"),)},
        "write contemporaneous=False for the signal 'own'",
        changed(signals=(rl.Signal("own", "price", contemporaneous=False),)),
    ),
    "one response with lags of its own": Case(
        model,
        {"responses": (rl.Response("a", "a"), rl.Response("b", "b", autoregression=2))},
        "write autoregression = 2 for each of them",
        changed(responses=(rl.Response("a", "a", autoregression=2), rl.Response("b", "b", autoregression=2))),
    ),
    "a return beside its gain and its loss": Case(
        model,
        {
            "signals": (rl.Signal("up", "metal", "gain"), rl.Signal("down", "metal", "loss")),
            "controls": (rl.Control("return", "metal", "log_return"),),
        },
        "drop 'return'",
        changed(controls=()),
    ),
    "a signal with the label of a lagged control": Case(
        model,
        {
            "signals": (rl.Signal("control_dollar", "metal"),),
            "controls": (rl.Control("dollar", "dollar", kernel=rl.kernels.LogNormal()),),
        },
        "rename the signal",
        changed(signals=(rl.Signal("metal", "metal"),)),
    ),
    "the response's past as a control": Case(
        model,
        {"controls": (rl.Control("own", "price", delay="7D"),)},
        "drop the control 'own', and write autoregression = 1 for the response 'asset'",
        changed(controls=(), responses=(rl.Response("asset", "price", autoregression=1),)),
    ),
    "a signal under a lagged control's label": Case(
        model,
        {
            "signals": (rl.Signal("control_dollar", "metal"),),
            "controls": (rl.Control("dollar", "dollar", kernel=rl.kernels.Gamma()),),
        },
        "rename the signal",
        changed(signals=(rl.Signal("metal", "metal"),)),
    ),
    "the response as a control": Case(
        model, {"controls": (rl.Control("own", "price"),)}, "drop the control 'own'", changed(controls=())
    ),
    "what varies over responses": Case(two_responses, {"responses_vary": ("effects", "lags")}),
    "lag of a simplex by episode": Case(
        with_kernel,
        {"kernel": rl.kernels.Dirichlet(), "episodes": rl.spec.Episodes(vary=("scale", "lag"))},
        'drop "lag" from vary',
        changed(episodes=rl.spec.Episodes(vary=("scale",))),
    ),
    "point lag by episode": Case(
        with_kernel,
        {"kernel": rl.kernels.Point(), "episodes": rl.spec.Episodes(vary=("scale", "lag")), "max_lag": 20},
        "a gamma, lognormal, negative_binomial or beta kernel",
        changed(kernel=rl.kernels.Gamma()),
    ),
    "lag of a simplex by response": Case(
        two_responses,
        {"signals": (rl.Signal("m", "m", kernel=rl.kernels.Dirichlet()),), "responses_vary": ("effect", "lag")},
        'drop "lag" from responses_vary',
        changed(responses_vary=("effect",)),
    ),
    "point lags": Case(
        model,
        {"signals": POINTS},
        "give all signals but one another kernel than point, without by_regime",
        changed(signals=(rl.Signal("a", "a"), rl.Signal("b", "b", kernel=rl.kernels.Point()))),
    ),
    "joint regimes": Case(
        two_responses,
        {"regimes": rl.spec.Regimes(count=5), "responses_vary": ("effect", "regimes")},
        'drop "regimes" from responses_vary',
        changed(responses_vary=("effect",)),
    ),
    "point lag by regime of several processes": Case(
        two_responses,
        {
            "signals": (rl.Signal("m", "m", kernel=rl.kernels.Point(by_regime=True)),),
            "responses_vary": ("regimes",),
            "max_lag": 20,
        },
        "drop by_regime",
        changed(signals=(rl.Signal("m", "m", kernel=rl.kernels.Point()),)),
    ),
    "garch of two responses": Case(
        two_responses, {"volatility": "garch"}, 'or write volatility = "constant"', changed(volatility="constant")
    ),
    "garch of two regimes": Case(
        model,
        {"volatility": "garch", "drivers": (rl.Driver("yield", "yield"),)},
        "write drivers = [] (drivers=() in Python) and count = 1 in [regimes] "
        "(regimes=regimelag.spec.Regimes(count=1))",
        changed(drivers=(), regimes=rl.spec.Regimes(count=1)),
    ),
    "garch of another family": Case(
        model,
        {"volatility": "garch", "regimes": rl.spec.Regimes(count=1), "family": "one_sided"},
        'write family = "student_t"',
        changed(family="student_t"),
    ),
    "garch with a point lag": Case(
        model,
        {
            "volatility": "garch",
            "regimes": rl.spec.Regimes(count=1),
            "signals": (rl.Signal("m", "m", kernel=rl.kernels.Point()),),
        },
        "(regimelag.kernels.Gamma())",
        changed(signals=(rl.Signal("m", "m", kernel=rl.kernels.Gamma()),)),
    ),
}


def process(name="volatility", **parts):
    return rl.spec.RegimeProcess(name, **parts)


def coupling(**parts):
    return process("coupling", **({"carries": ("effect",), "order_by": "effect"} | parts))


def with_processes(*processes, **parts):
    """A model with a signal, two drivers that the first process has, and regime processes."""
    usual = {"signals": (rl.Signal("metal", "metal"),), "regime_processes": processes}
    return model(**(usual | parts))


def of_process(**parts):
    """A model whose coupling process has these parts."""
    return with_processes(process(carries=("scale", "intercept")), coupling(**parts))


@dataclass(frozen=True)
class Walk(transitions.Markov):
    """A transition model that drivers do not order."""

    kind = "walk"


PROCESSES = {
    "no name": Case(rl.spec.RegimeProcess, {"name": ""}),
    "a name that is taken": Case(rl.spec.RegimeProcess, {"name": "regime"}),
    "count": Case(process, {"count": 0}),
    "drivers of one regime": Case(process, {"count": 1, "drivers": ("a",)}),
    "what is carried": Case(process, {"carries": ("scal",)}),
    "nothing carried": Case(process, {"carries": ()}),
    "initial": Case(process, {"initial": "uniforms"}),
    "one driver": Case(process, {"drivers": "a"}),
    "quantity": Case(rl.spec.OrderBy, {"quantity": "scales"}),
    "a signal and no effect": Case(
        rl.spec.OrderBy, {"quantity": "scale", "signal": "metal"}, "leave signal out", without("signal")
    ),
    "order": Case(process, {"order_by": 3}),
    "names": Case(process, {"names": ("calm",)}, "leave names out", without("names")),
    "a regime named all": Case(process, {"names": ("calm", "all")}, 'write "every"', changed(names=("calm", "every"))),
    "ordered by what differs not": Case(process, {"carries": ("effect", "intercept")}),
    "ordered by a driver of another": Case(
        process,
        {"order_by": {"quantity": "driver", "driver": "b"}, "drivers": ("a",)},
        'driver = "a"',
        changed(order_by={"quantity": "driver", "driver": "a"}),
    ),
    "ordered by a driver, of other transitions": Case(
        process,
        {"order_by": {"quantity": "driver", "driver": "a"}, "drivers": ("a",), "transitions": Walk()},
        "transitions=regimelag.spec.Markov()",
        changed(transitions=rl.spec.Markov()),
    ),
    "transitions": Case(
        process,
        {"transitions": rl.spec.Markov(expected_duration=(20.0, 30.0, 40.0))},
        "write expected_duration = 20.0",
        changed(transitions=rl.spec.Markov(expected_duration=20.0)),
    ),
    "forbidden": Case(process, {"forbidden": (("calm", "loud"),)}),
    "no way out": Case(
        process,
        {"forbidden": (("calm", "turbulent"), ("turbulent", "calm"))},
        "drop one of the pairs",
        changed(forbidden=(("calm", "turbulent"),)),
    ),
    "no way back": Case(process, {"forbidden": (("calm", "turbulent"),), "initial": "stationary"}),
    "both": Case(model, {"regimes": rl.spec.Regimes(count=3), "regime_processes": (process(carries=("scale",)),)}),
    "a process of each response": Case(
        two_responses, {"responses_vary": ("effect", "regimes"), "regime_processes": (process(carries=("scale",)),)}
    ),
    "unknown driver": Case(of_process, {"drivers": ("dolar",)}, "choose one of []", changed(drivers=())),
    "unknown response": Case(
        of_process, {"responses": ("asse",)}, "write response = 'asset'", changed(responses=("asset",))
    ),
    "effect without a signal": Case(
        lambda carries: model(regime_processes=(process(carries=carries),)), {"carries": ("scale", "effect")}
    ),
    "nothing but an effect": Case(
        lambda processes: model(regime_processes=processes),
        {"processes": (coupling(),)},
        "drop the process",
        changed(processes=()),
    ),
    "same period without a signal": Case(
        lambda carries: model(regime_processes=(process(carries=carries),)), {"carries": ("scale", "contemporaneous")}
    ),
    "ordered by an unknown signal": Case(
        of_process,
        {"order_by": {"quantity": "effect", "signal": "oil"}},
        'signal = "metal"',
        changed(order_by={"quantity": "effect", "signal": "metal"}),
    ),
    "ordered by an unknown response": Case(
        lambda order_by: with_processes(process(carries=("scale",), order_by=order_by), coupling()),
        {"order_by": {"quantity": "scale", "response": "asse"}},
        "write response = 'asset'",
        changed(order_by={"quantity": "scale", "response": "asset"}),
    ),
    "ordered by one of two responses": Case(
        lambda order_by: two_responses(regime_processes=(process(carries=("scale",), order_by=order_by),)),
        {"order_by": {"quantity": "scale", "response": "a"}},
        "leave response out of order_by",
        changed(order_by={"quantity": "scale"}),
    ),
    "means of two responses": Case(
        lambda responses: two_responses(
            regime_processes=(process(carries=("intercept",), order_by="intercept", responses=responses),)
        ),
        {"responses": ()},
    ),
    "lag of one response": Case(
        lambda responses=(): two_responses(
            signals=(rl.Signal("metal", "metal"),),
            regime_processes=(process(carries=("scale", "lag"), responses=responses),),
        ),
        {"responses": ("a",)},
    ),
    "lag of a simplex": Case(
        lambda carries: with_kernel(rl.kernels.Dirichlet(), regime_processes=(process(carries=carries),)),
        {"carries": ("scale", "lag")},
        "or write carries = ['scale']",
        changed(carries=("scale",)),
    ),
    "idle driver": Case(
        lambda drivers: with_processes(coupling(drivers=drivers), drivers=(rl.Driver("a", "a"),)), {"drivers": ()}
    ),
    "one name twice": Case(
        lambda first: with_processes(process(first, carries=("scale",)), coupling()),
        {"first": "coupling"},
        "rename one",
        changed(first="volatility"),
    ),
    "carried twice": Case(
        lambda carries: with_processes(process(carries=carries), coupling()),
        {"carries": ("scale", "effect")},
        "write carries = ['scale'] in the process 'volatility'",
        changed(carries=("scale",)),
    ),
    "carried twice, and ordered by both": Case(
        lambda carries, order_by="scale": with_processes(
            process("first", carries=("scale",)), process(carries=carries, order_by=order_by), coupling()
        ),
        {"carries": ("scale", "intercept")},
        "write carries = ['intercept'] and order_by = \"intercept\" in the process 'volatility'",
        changed(carries=("intercept",), order_by="intercept"),
    ),
    "carried twice, and nothing else": Case(
        lambda *, twice: with_processes(*(process(name, carries=("scale",)) for name in ("one", "two")[: 1 + twice])),
        {"twice": True},
        "drop the process 'two'",
        changed(twice=False),
    ),
    "joint regimes": Case(
        lambda count: with_processes(process(carries=("scale",), count=count), coupling(count=count)),
        {"count": 5},
        "or write count = 2 in each",
        changed(count=2),
    ),
    "point lag by regime": Case(
        lambda kernel: with_processes(
            process(carries=("scale",)), coupling(), signals=(rl.Signal("m", "m", kernel=kernel),), max_lag=20
        ),
        {"kernel": rl.kernels.Point(by_regime=True)},
        "drop by_regime",
        changed(kernel=rl.kernels.Point()),
    ),
}


@dataclass(frozen=True)
class Registered(rl.kernels.Gamma):
    """A kernel of a user's module."""

    kind = "registered"


class Changing(kernels.Kernel):
    """A kernel that is no frozen dataclass."""

    kind = "changing"


@dataclass(frozen=True)
class Renamed(rl.kernels.Gamma):
    """A kernel one of whose parameters has a name that is taken."""

    kind = "renamed"

    def priors(self, max_lag):
        return super().priors(max_lag) | {"point": super().priors(max_lag)["location"]}


def registered(kernel, *, register=True):
    """A model of a kernel that is registered, as the cure says, or not."""
    if register:
        kernels.KERNELS[kernel.kind] = type(kernel)
    try:
        return with_kernel(kernel)
    finally:
        kernels.KERNELS.pop(kernel.kind, None)


def effect_prior(**given):
    return with_kernel(rl.kernels.Gamma(), drivers=(rl.Driver("a", "a"),), priors=given)


def in_priors(name, wrong, says, **right):
    """A prior of a parameter that does not fit, and what it becomes."""
    return Case(effect_prior, {name: wrong}, says, changed(**right))


class Moved:
    """As a Prior of pymc_extras with a transform."""

    distribution, parameters, dims, transform = "Normal", {"sigma": 1.0}, (), "exp"


WIDE = rl.Prior("Normal", sigma=1.0)
PRIORS = {
    "distribution": Case(rl.Prior, {"distribution": "Norml", "sigma": 1.0}),
    "unit": Case(normal, {"sigma": 1.0, "unit": "elastic"}, "elasticity", changed(unit="elasticity")),
    "unit of a log": Case(
        lambda unit: rl.Prior("LogNormal", sigma=1.0, unit=unit),
        {"unit": "elasticity"},
        'write unit = "standardized"',
        changed(unit="standardized"),
    ),
    "no distribution": in_priors("effect", {"sigma": 1.0}, 'regimelag.Prior("Normal", sigma=0.5)', effect=WIDE),
    "no prior": in_priors("effect", 0.5, 'regimelag.Prior("Normal", sigma=0.5)', effect=WIDE),
    "transform": in_priors("effect", Moved(), "leave transform out", effect=WIDE),
    "a claim that is no text": Case(model, {"claim": 3}, 'write claim = ""', changed(claim="")),
    "dimensions that are no names": Case(
        lambda dims: rl.Prior("Normal", sigma=1.0, dims=dims), {"dims": 3}, "leave dims out", changed(dims=None)
    ),
    "no table": Case(model, {"priors": (WIDE,)}, 'priors={"effect"', changed(priors={"intercept": WIDE})),
    "parameter": Case(normal, {"sd": 1.0}, "write sigma = 1.0", lambda given: {"sigma": 1.0}),
    "ends": Case(
        lambda lower: rl.Prior("Uniform", lower=lower, upper=1.0), {"lower": 2.0}, "a number below", changed(lower=0.0)
    ),
    "number": Case(normal, {"sigma": "wide"}),
    "no numbers": Case(normal, {"sigma": []}),
    "entries": Case(
        normal, {"sigma": 1.0, "by_signal": WIDE}, "write by_signal = {name", changed(by_signal={"metal": WIDE})
    ),
    "entries by two": Case(
        normal,
        {"sigma": 1.0, "by_signal": {"metal": WIDE}, "by_response": {"coin": WIDE}},
        "leave by_response out",
        without("by_response"),
    ),
    "entries of an entry": Case(
        normal,
        {"sigma": 1.0, "by_signal": {"metal": normal(sigma=1.0, by_episode={"one": WIDE})}},
        "leave by_ out",
        changed(by_signal={"metal": WIDE}),
    ),
    "unknown parameter": Case(
        effect_prior, {"efect": WIDE}, "write a parameter = 'effect'", lambda given: {"effect": WIDE}
    ),
    "support": in_priors(
        "effect_regime_sd", WIDE, 'write distribution = "HalfNormal"', effect_regime_sd=rl.Prior("HalfNormal", sigma=1)
    ),
    "entries of two supports": in_priors(
        "effect",
        normal(sigma=1.0, by_signal={"metal": rl.Prior("Uniform", lower=0.0, upper=1.0)}),
        'write distribution = "Normal" for all',
        effect=normal(sigma=1.0, by_signal={"metal": normal(sigma=0.2)}),
    ),
    "dims": in_priors("effect", normal(sigma=1.0, dims=("driver",)), "leave dims out", effect=WIDE),
    "entries by": in_priors(
        "effect",
        normal(sigma=1.0, by_driver={"a": WIDE}),
        "write by_signal",
        effect=normal(sigma=1.0, by_signal={"metal": WIDE}),
    ),
    "entry": in_priors(
        "effect",
        normal(sigma=1.0, by_signal={"metl": WIDE}),
        "write signal = 'metal'",
        effect=normal(sigma=1.0, by_signal={"metal": WIDE}),
    ),
    "elasticity of a mean": in_priors(
        "intercept", normal(sigma=1.0, unit="elasticity"), 'write unit = "standardized"', intercept=WIDE
    ),
    "elasticity of two responses": Case(
        lambda effect: two_responses(signals=(rl.Signal("a", "c"),), priors={"effect": effect}),
        {"effect": normal(sigma=1.0, unit="elasticity")},
        'write unit = "standardized"',
        changed(effect=WIDE),
    ),
    "length": in_priors("effect", normal(sigma=(1.0, 2.0)), "write sigma = 1.0", effect=WIDE),
}
KERNELS = {
    "negative": Case(kernel_of, {"kind": rl.kernels.Gamma, "spread": -1.0}, "positive value", changed(spread=1.0)),
    "beyond the lags": Case(kernel_of, {"kind": rl.kernels.Gamma, "max_lag": 4}),
    "beyond the lags, which are raised": Case(
        kernel_of, {"kind": rl.kernels.Gamma, "mean_lag": 29.5}, "or max_lag = 30 in the model", changed(max_lag=30)
    ),
    "before the lags": Case(kernel_of, {"kind": rl.kernels.Beta, "mean_lag": 0.5}),
    "negative binomial of no lag": Case(kernel_of, {"kind": rl.kernels.NegativeBinomial, "mean_lag": 1.0}),
    "negative binomial too narrow": Case(kernel_of, {"kind": rl.kernels.NegativeBinomial, "spread": 2.0}),
    "beta too wide": Case(kernel_of, {"kind": rl.kernels.Beta, "mean_lag_sd": 14.0}),
    "beta too spread": Case(kernel_of, {"kind": rl.kernels.Beta, "spread": 13.0}),
    "dirichlet too wide": Case(kernel_of, {"kind": rl.kernels.Dirichlet, "mean_lag_sd": 6.0}),
    "masses in words": Case(
        kernel_of, {"kind": rl.kernels.Point, "masses": ("a", "b")}, "leave masses out", without("masses")
    ),
    "too few masses": Case(
        kernel_of, {"kind": rl.kernels.Point, "masses": (1.0,)}, "give masses 26 numbers", changed(masses=(1.0,) * 26)
    ),
    "class that changes": Case(
        with_kernel, {"kernel": Changing()}, "@dataclass(frozen=True)", changed(kernel=rl.kernels.Gamma())
    ),
    "class of no kind": Case(
        registered,
        {"kernel": Registered(), "register": False},
        "KERNELS[Registered.kind] = Registered before the spec",
        changed(register=True),
    ),
    "parameter of a taken name": Case(
        registered, {"kernel": Renamed()}, "rename them in Renamed", changed(kernel=Registered())
    ),
    "by_regime in quotes": Case(kernel_of, {"kind": rl.kernels.Point, "by_regime": "yes", "max_lag": 20}),
}
TOML = """\
name = "model"
frequency = "W-FRI"
max_lag = 26
[[responses]]
name = "asset"
column = "price"
[[signals]]
name = "metal"
column = "metal"
contemporaneous = true
kernel = { kind = "gamma", mean_lag = 9.0 }
[episodes]
starts = [2020-01-01]
"""


def of_text(old: str, new: str, says: str, then: Callable) -> Case:
    return Case(lambda text: spec_from_toml(text), text(old, new)({"text": TOML}), says, then)  # noqa: PLW0108


STATE_TOML = """
[[drivers]]
name = "yield"
column = "yield"
periods = 4
[[indicators]]
name = "easing"
all_of = [{ driver = 'yield', below = 0.0 }]
"""


def of_state(old: str, new: str, says: str) -> Case:
    return Case(
        lambda text: spec_from_toml(text),  # noqa: PLW0108
        text(old, new)({"text": TOML + STATE_TOML}),
        says,
        text(new, old),
    )


TEXTS = {
    "number in quotes": of_text("= 26", '= "26"', "without quotes", text('"26"', "26")),
    "fraction for a whole": of_text("= 26", "= 26.0", "without quotes or a decimal point", text("26.0", "26")),
    "truth in quotes": of_text("= true", '= "true"', "true or false, without quotes", text('"true"', "true")),
    "text without quotes": of_text('name = "asset"', "name = 3", "a text in quotes", text("name = 3", 'name = "3"')),
    "float in quotes": of_text("= 9.0", '= "9.0"', "a number, without quotes", text('"9.0"', "9.0")),
    "date in quotes": of_text(
        "[2020-01-01]",
        '["2020-01-01"]',
        "a date such as 2012-11-28, without quotes",
        text('"2020-01-01"', "2020-01-01"),
    ),
    "date outside a list": of_text(
        "[2020-01-01]", "2020-01-01", "write starts = [...]", text("= 2020-01-01", "= [2020-01-01]")
    ),
    "table for a list of tables": of_text(
        "[[responses]]", "[responses]", "write [[responses]]", text("[responses]", "[[responses]]")
    ),
    "number for a table": of_text(
        "[episodes]\nstarts = [2020-01-01]\n",
        "",
        "write [episodes] above its keys",
        lambda given: {"text": given["text"].replace("episodes = 1\n", "") + "[episodes]\nstarts = []\n"},
    ),
    "texts for tables": of_text(
        '[[responses]]\nname = "asset"\ncolumn = "price"\n',
        "",
        "write [[responses]] above its keys",
        lambda given: {
            "text": given["text"].replace('responses = ["asset"]\n', "")
            + '[[responses]]\nname = "asset"\ncolumn = "price"\n'
        },
    ),
    "unknown key": of_text("max_lag", "max_lags", "write 'max_lag'", text("max_lags", "max_lag")),
    "unknown key beside the right one": of_text(
        'frequency = "W-FRI"', "max_lagg = 2", "drop it", text("max_lagg = 2\n", "")
    ),
    "missing key": of_text('column = "price"\n', "", "add column", text('"asset"\n', '"asset"\ncolumn = "price"\n')),
    "kernel by name": of_text(
        '{ kind = "gamma", mean_lag = 9.0 }',
        '"gamma"',
        'write kernel = {kind = "gamma"}',
        text('kernel = "gamma"', 'kernel = {kind = "gamma"}'),
    ),
    "unknown kernel": of_text('"gamma"', '"gama"', "write kind = 'gamma'", text('"gama"', "'gamma'")),
    "a condition outside a list": of_state(
        "all_of = [{ driver = 'yield', below = 0.0 }]",
        "all_of = { driver = 'yield', below = 0.0 }",
        "write all_of = [...], with its tables between the brackets",
    ),
    "a condition in words": of_state(
        "all_of = [{ driver = 'yield', below = 0.0 }]",
        "all_of = ['yield < 0']",
        "write all_of = [{...}], with the keys of each table between braces",
    ),
    "a bound in quotes": of_state("below = 0.0", "below = '0.0'", "a number, without quotes"),
    "a list of bounds": of_state("below = 0.0", "below = [0.0]", "a number, without quotes"),
    "a list of spans": of_state("periods = 4", "periods = [4]", "a whole number, without quotes"),
    "a key of many dots": of_text(
        "max_lag = 26", f"a{'.a' * 200} = 26", "nested tables", text(f"a{'.a' * 200} = 26", "max_lag = 26")
    ),
    "many brackets": of_text("= 26", f"= {'[' * 50_000}", "each value plainly", text(f"= {'[' * 50_000}", "= 26")),
    "no TOML": of_text("max_lag = 26", "max_lag 26", "correct that line", text("max_lag 26", "max_lag = 26")),
}
for name, line in {"number for a table": "episodes = 1\n", "texts for tables": 'responses = ["asset"]\n'}.items():
    TEXTS[name] = TEXTS[name]._replace(given={"text": line + TEXTS[name].given["text"]})
GROUPS = {
    "process": PROCESSES,
    "priors": PRIORS,
    "series": SERIES,
    "structure": STRUCTURE,
    "spec": SPECS,
    "kernel": KERNELS,
    "text": TEXTS,
}
ALL = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


SPEC_MODULES = (
    *(families, frequency, indicators, model_spec, moderator_checks, parts, prior_checks, priors, registry),
    *(series, specfile, transitions, process_checks, processes),
    *(base, by_lag, location_scale, point),
)


@pytest.mark.parametrize("name", ALL)
def test_the_cure_of_a_spec(name):
    carry_out(ALL[name])


def test_every_refusal_of_a_spec_has_a_case():
    """A line of these modules that refuses, and that no case above reaches, has a cure that nobody tried."""
    modules = [Path(inspect.getfile(module)) for module in SPEC_MODULES]
    reached = set()
    for case in [*ALL.values(), Case(model, {"frequency": "weekly"}), *(Case(*each) for each in FILES.values())]:
        with pytest.raises(rl.RegimelagError) as caught:
            case.call(**case.given)
        frames = [
            frame for frame in traceback.extract_tb(caught.value.__traceback__) if Path(frame.filename) in modules
        ]
        reached.add((Path(frames[-1].filename).name, frames[-1].lineno))
    refusals = {"require", "require_choice", "require_choices", "require_positive", "SpecError"}
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in refusals:
                lines = range(node.lineno, node.end_lineno + 1)
                assert any((path.name, line) in reached for line in lines), f"{path.name}, line {node.lineno}"


FILES = {
    "no such spec": (rl.read_spec, {"path": "btc_sliver"}),
    "no path": (rl.read_spec, {"path": ["btc_silver"]}),
    "no text": (rl.read_spec, {"path": sys.executable}),
    "spec that is there": (lambda path: write_spec(rl.read_spec("btc_silver"), path), {"path": Path(__file__)}),
}


def test_the_cures_of_spec_files(tmp_path):
    error = carry_out(Case(rl.read_spec, {"path": "btc_sliver"}, "read_spec(", changed(path="btc_silver")))
    assert value_at(error.cure.removeprefix("write ")).name == "btc_silver"
    spec, path = rl.read_spec("daily"), tmp_path / "daily.toml"
    write_spec(spec, path)
    carry_out(Case(write_spec, {"spec": spec, "path": path}))


FREQUENCIES = {
    "W-FRI": ["weekly", "7D", "w-fri", "W-FRIDAY", "2W-FRI", "fortnight", None],
    "W-SUN": ["W", "w", "W-SUNDAY"],
    "D": ["d", "daily", "2D", "h", "H", "min", "15min", "s", "ms", "T"],
    "B": ["b", "C", "BD"],
    "trading": ["Trading", "sessions"],
    "ME": ["M", "MS", "me", "BME", "monthly", "3ME", "M-END"],
    "QE": ["Q", "QS", "QE-DEC", "BQE", "quarterly", "Y", "YE", "A-DEC", "annual", "YS-JAN"],
}


@pytest.mark.parametrize(("nearest", "refused"), [(key, one) for key, many in FREQUENCIES.items() for one in many])
def test_a_frequency_is_answered_with_the_nearest(nearest, refused):
    error = carry_out(Case(model, {"frequency": refused}))
    assert value_at(error.cure.partition("= ")[2]) == nearest


@pytest.mark.parametrize("refused", ["weekly", "2W-FRI", "3ME", "QS", "YE", "h"])
def test_a_frequency_of_rows_is_answered_with_the_nearest(refused):
    frame = pd.DataFrame({"a": 1.0 + np.arange(400.0)}, index=pd.date_range("2020-01-01", periods=400))
    with pytest.raises(rl.errors.PanelError) as caught:
        to_frequency(frame, refused)
    assert len(to_frequency(frame, value_at(caught.value.cure.removeprefix("write ")))) > 1


WEEKS = pd.DataFrame(
    {"y": 1.0 + np.arange(9.0), "z": np.arange(9) % 2 > 0}, index=pd.date_range("2020-01-03", periods=9, freq="W-FRI")
)


def as_panel(frame):
    take_columns(check_frame(frame, "a frame"), ["y"], "a frame")
    return take_columns(check_frame(frame, "a frame"), ["y", "z"] if "z" in frame else ["y"], "a frame")


def arrow():
    import pyarrow as pa

    table = pd.DataFrame({"date": WEEKS.index, "y": WEEKS["y"].to_numpy()})
    return pa.Table.from_pandas(table, preserve_index=False)


ASSETS = pd.concat({"a": WEEKS[["y"]], "b": WEEKS[["y"]]}, names=["asset", "date"])
FRAMES = {
    "truth values": WEEKS,
    "asset and date": ASSETS,
    "asset and date without names": ASSETS.rename_axis([None, None]),
    "date and asset": ASSETS.swaplevel().sort_index(),
    "asset, field and date": pd.concat({1: ASSETS}, names=["field"]),
    "table of another library": arrow,
    "one column": WEEKS["y"],
}


@pytest.mark.parametrize("name", FRAMES)
def test_the_cure_of_a_frame(name):
    frame = FRAMES[name]() if callable(FRAMES[name]) else FRAMES[name].copy()
    with pytest.raises(rl.errors.PanelError) as caught:
        as_panel(frame)
    known = {"frame": frame, "pd": pd}
    code = caught.value.cure.removeprefix("pass a DataFrame: ")
    while code:
        try:
            exec(code if "=" in code.partition("(")[0] else f"frame = {code}", known)
            break
        except SyntaxError:
            code = code.rpartition(",")[0]
    as_panel(known["frame"])


def test_rows_without_a_level_of_dates_and_objects_of_nobody_are_named():
    for index in (pd.MultiIndex.from_product([[2020, 2021], [1, 2]]), pd.MultiIndex.from_product([["a"], ["b"]])):
        with pytest.raises(rl.errors.PanelError, match="levels") as caught:
            as_panel(pd.DataFrame({"y": np.arange(float(len(index)))}, index=index))
        assert "set_index" in caught.value.cure

    class DataFrame:
        """Stands for a table of another library that has no way to pandas."""

    with pytest.raises(rl.errors.PanelError, match=r"came: a test_cures\.DataFrame"):
        as_panel(DataFrame())


def test_a_drivers_level_spans_one_row_and_its_change_thirteen():
    level, change = rl.Driver("vix", "vix", transform="level"), rl.Driver("vix", "vix")
    assert (level.periods, change.periods) == (1, 13)
    assert rl.Driver("vix", "vix", periods=None) == change
    spec = model(drivers=(level, rl.Driver("yield", "yield"), rl.Driver("money", "money", "log_return", 4)))
    assert spec_from_toml(spec_to_toml(spec)) == spec
    read = spec_from_toml(TOML + '[[drivers]]\nname = "vix"\ncolumn = "vix"\ntransform = "level"\n')
    assert read.drivers == (level,)
    assert hash(level) == hash(rl.Driver("vix", "vix", transform="level", periods=1))


# ---- fits, readings and judgements

OWN = inspect.signature(rl.fit).parameters


def settings(**given):
    rl.Sampler(**given)


def seed(**given):
    drawn_seed(rl.errors.FitError, "fit", given.get("random_seed"))


def keywords(**given):
    check_keywords("fit", given.pop("nuts_sampler", "nutpie"), given, OWN)


def with_variable(distribution, *arguments, name="a"):
    with pm.Model() as made:
        distribution(name, *arguments)
    _check_model(made)


CALLS = {
    "sampler": Case(settings, {"nuts_sampler": "nuts"}),
    "seed": Case(seed, {"random_seed": -1}),
    "accept": Case(settings, {"target_accept": 95}),
    "cores": Case(settings, {"cores": 0}),
    "no draws": Case(settings, {"draws": 0}, "give draws such a number", changed(draws=1)),
    "misspelled": Case(keywords, {"random_sed": 1}, "write random_seed", lambda given: {}),
    "option that is a field": Case(
        settings, {"options": {"draws": 10}}, "write draws=10 beside", lambda given: {"draws": 10}
    ),
    "option that nobody knows": Case(
        settings, {"options": {"maxdepht": 8}}, "write maxdepth", lambda given: {"options": {"maxdepth": 8}}
    ),
    "option that is set": Case(settings, {"options": {"seed": 1}}, "drop it", lambda given: {}),
    "options that are none": Case(
        settings, {"options": 12}, 'write options={"maxdepth": 12}', changed(options={"maxdepth": 12})
    ),
    "own name of a setting": Case(keywords, {"seed": 1}, "write random_seed", lambda given: {}),
    "what is set": Case(keywords, {"save_warmup": True}, "drop it", without("save_warmup")),
    "sampler of nutpie": Case(
        keywords, {"sampler": "pymc"}, 'write nuts_sampler="pymc"', lambda given: {"nuts_sampler": "pymc"}
    ),
    "adaptation": Case(keywords, {"adaptation": "dense"}, "choose one", changed(adaptation="diag")),
    "discrete": Case(
        with_variable,
        {"distribution": pm.Poisson, "arguments": 1.0},
        "marginalise them",
        changed(distribution=pm.Exponential),
    ),
    "reserved name": Case(
        with_variable, {"distribution": pm.Normal, "name": "weight"}, "another name", changed(name="weight_of_a")
    ),
}
CALLS["discrete"] = CALLS["discrete"]._replace(
    call=lambda **given: with_variable(given["distribution"], given["arguments"])
)


@pytest.mark.parametrize("name", CALLS)
def test_the_cure_of_a_setting(name):
    carry_out(CALLS[name])


def test_the_cure_of_a_model_without_variables():
    with pm.Model() as made:
        with pytest.raises(rl.errors.FitError) as caught:
            _check_model(made)
        assert value_at(caught.value.cure.partition("such as ")[2]).name == "level"
    _check_model(made)


@pytest.mark.slow
def test_the_cure_of_a_log_posterior_that_is_finite_nowhere(tiny):
    spec, panel, _ = tiny
    with pytest.raises(rl.errors.FitError) as caught:
        find_modes(lambda point: (np.nan, point), [np.zeros(2)])
    made = value_at(caught.value.cure.partition("model = ")[2].partition("; ")[0], spec=spec, panel=panel)
    assert set(made.point_logps())


@pytest.mark.slow
def test_the_cures_of_trees_that_are_no_fit(tiny, monkeypatch, tmp_path):
    spec, panel, fit = tiny
    bare = fit.copy()
    bare.attrs = {}
    with pytest.raises(rl.errors.FitError, match="carries its spec") as caught:
        rl.spec_of(bare)
    again = value_at(caught.value.cure.partition("through ")[2], idata=bare, spec=spec, panel=panel)
    assert rl.spec_of(again) == spec
    other = fit.copy()
    other.attrs = fit.attrs | {"spec": fit.attrs["spec"].replace('"gamma"', '"registered"')}
    with pytest.raises(rl.errors.FitError, match="import the module that registers the kernel"):
        rl.spec_of(other)
    monkeypatch.setitem(kernels.KERNELS, "registered", Registered)
    assert rl.spec_of(other).signals[0].kernel.kind == "registered"
    lacking = fit.copy()
    lacking["posterior"] = fit["posterior"].to_dataset().drop_vars("effect")
    with pytest.raises(rl.errors.FitError, match="without dropping variables"):
        rl.as_fit(lacking, spec, panel)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rl.errors.FitError) as caught:
        rl.save_fit(fit, None)
    path = value_at(caught.value.cure.removeprefix("write "), idata=fit)
    with pytest.raises(rl.errors.FitError) as caught:
        rl.effects(str(path))
    rl.effects(value_at(caught.value.cure.partition(": ")[2]))


FIGURES = [
    *("plot_regimes", "plot_effects", "plot_drivers", "plot_paths", "plot_regime_summary", "plot_shares"),
    *("plot_durations", "plot_event_study", "plot_lag", "plot_lead_lag"),
]


@pytest.mark.parametrize("name", FIGURES)
def test_the_cure_of_a_figure_of_a_fit(name, tiny):
    import matplotlib.pyplot as plt

    fit = tiny[2]
    long = hand_panel(small_spec(), 60)
    with pytest.raises(rl.errors.FitError) as caught:
        getattr(rl.plots, name)(fit)
    assert value_at(caught.value.cure.removeprefix("write "), idata=fit, panel=long) is not None
    plt.close("all")


READINGS = {
    "range": Case(rl.lag_distribution, {"within": "4-13"}),
    "range the other way": Case(rl.lag_distribution, {"within": (4, 1)}),
    "kind of probability": Case(
        rl.regime_probabilities, {"kind": "smooth"}, "write kind='smoothed'", changed(kind="smoothed")
    ),
    "kind of path": Case(rl.results.regime_paths, {"kind": "best"}, "write kind='sampled'", changed(kind="sampled")),
    "a driver's column": Case(
        rl.driver_effects, {"moves": {"yields": -0.5}}, "write 'yield'", changed(moves={"yield": -0.5})
    ),
    "another signal": Case(rl.evaluation.impulse_response, {"signal": "gold", "shock": 0.1}),
    "shock": Case(rl.evaluation.impulse_response, {"shock": "10%"}),
    "horizon": Case(rl.evaluation.impulse_response, {"shock": 0.1, "horizon": 0}),
}


@pytest.mark.parametrize("name", READINGS)
def test_the_cure_of_a_reading(name, tiny):
    case = READINGS[name]
    carry_out(case._replace(given={"idata": tiny[2]} | case.given))


def test_the_cure_of_what_a_model_lacks(tiny):
    spec = bare_spec()
    bare = prior_fit(spec, hand_panel(spec, 8))
    for reading, says in (
        (rl.lag_distribution, "fit a model whose signal has a kernel"),
        (rl.driver_effects, "fit a model with [[drivers]]"),
        (rl.results.driver_report, "fit a model with [[drivers]]"),
        (lambda fit: rl.evaluation.impulse_response(fit, shock=0.1), "fit a model with a table [[signals]]"),
    ):
        with pytest.raises(rl.errors.FitError) as caught:
            reading(bare)
        assert says in caught.value.cure
        reading(tiny[2])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "shock"), [("gain", -0.1), ("loss", 0.1), ("new_high", [0.1, -0.02])])
def test_the_cure_of_a_shock_of_the_other_sign(kind, shock):
    own = rl.Signal("metal", "metal", kind, 8, kernel=rl.kernels.Gamma(2.0, 1.0, 1.0, 0.5))
    spec = small_spec(signals=(own,))
    carry_out(
        Case(
            rl.evaluation.impulse_response,
            {"idata": prior_fit(spec, hand_panel(spec, 8)), "shock": shock},
            "write shock",
        )
    )
    # A residual on another column has both signs.
    spec = small_spec(signals=(dataclasses.replace(own, beyond="gold"),))
    rl.evaluation.impulse_response(prior_fit(spec, hand_panel(spec, 8)), shock=shock)


def test_the_cure_of_several_draws_to_simulate_with(tiny):
    spec, panel, fit = tiny
    parameters = fit["posterior"].to_dataset()
    with pytest.raises(rl.errors.FitError) as caught:
        rl.simulate(spec, panel, parameters=parameters)
    one = value_at(caught.value.cure.partition("as in ")[2], parameters=parameters)
    rl.simulate(spec, panel, parameters=one, random_seed=1)


def test_the_cures_of_lead_lag():
    panel = hand_panel(small_spec(), 60)
    carry_out(Case(rl.evaluation.lead_lag, {"panel": panel, "draws": 20, "signal": "gold"}))
    for wrong in ({"max_lag": 100}, {"block": 100}, {"max_lag": 100, "block": 100}):
        with pytest.raises(rl.errors.PanelError) as caught:
            rl.evaluation.lead_lag(panel, draws=20, **wrong)
        rl.evaluation.lead_lag(panel, draws=20, **value_at(f"dict({caught.value.cure.removeprefix('write ')})"))
    with pytest.raises(rl.errors.PanelError, match="add a signal to the spec"):
        rl.evaluation.lead_lag(hand_panel(bare_spec(), 60))


@pytest.mark.parametrize(
    "wrong",
    [
        {"signal": "gold"},
        {"response": "gold"},
        {"above": "0.1"},
        {"quiet": -1},
        {"horizon": 0},
        {"before": 2.5},
        {"horizon": 60, "before": 30},
        {"above": 100.0},
        {"above": -100.0, "quiet": 3},
    ],
    ids=str,
)
def test_the_cures_of_an_event_study(wrong):
    given = {"panel": hand_panel(small_spec(), 60), "quiet": 0, "horizon": 8, "before": 2} | wrong
    with pytest.raises(rl.errors.PanelError) as caught:
        rl.evaluation.event_study(**given)
    rl.evaluation.event_study(**(given | value_at(f"dict({caught.value.cure.removeprefix('write ')})")))


def test_an_event_study_of_a_signal_that_never_moves_asks_for_another():
    panel = hand_panel(small_spec(), 60)
    panel["signal_value"][2:-8] = 0.0
    with pytest.raises(rl.errors.PanelError, match="longer window, or name another signal"):
        rl.evaluation.event_study(panel, above=50.0, horizon=8, before=2)
    with pytest.raises(rl.errors.PanelError, match="add a signal to the spec"):
        rl.evaluation.event_study(hand_panel(bare_spec(), 60))


def test_the_cures_of_axes(example):
    import matplotlib.pyplot as plt

    panel = cut(example, 60)
    _, axes = plt.subplots(2, 1)
    with pytest.raises(rl.errors.FitError) as caught:
        rl.plots.plot_panel(panel, axes=axes)
    rl.plots.plot_panel(panel, axes=value_at(caught.value.cure.partition("axes=")[2], plt=plt))
    plt.close("all")


@pytest.mark.slow
def test_the_cures_of_comparisons(tiny):
    from test_panel import spec_of, weekly

    from regimelag.evaluation.comparison.comparability import check_alike

    with pytest.raises(rl.errors.FitError) as caught:
        rl.compare([tiny[2], tiny[2]])
    assert "compare({" in caught.value.cure
    spec, frame = spec_of(episodes=rl.spec.Episodes()), weekly()
    windows = {"early": {"end": "2022-03-04"}, "late": {"start": "2020-05-01"}}
    fits = {name: prior_fit(spec, rl.make_panel(spec, frame, **window), 2) for name, window in windows.items()}
    with pytest.raises(rl.errors.FitError) as caught:
        check_alike(fits)
    panel = value_at(caught.value.cure.partition("by ")[2].partition(", and")[0], spec=spec, frame=frame)
    check_alike({name: prior_fit(spec, panel, 2) for name in fits})


def test_the_cures_of_a_frozen_fit():
    from test_panel import spec_of, weekly

    spec, frame = spec_of(), weekly()
    fit = prior_fit(spec, rl.make_panel(spec, frame, end="2021-06-04"), 2)
    with pytest.raises(rl.errors.PanelError, match="get newer data"):
        rl.evaluation.score(fit, rl.make_panel(spec, frame, end="2021-06-04"))
    with pytest.raises(rl.errors.PanelError, match="episodes that the fit knows") as caught:
        rl.evaluation.score(fit, rl.make_panel(spec, frame))
    end = value_at(caught.value.cure.partition("end=")[2])
    assert rl.evaluation.score(fit, rl.make_panel(spec, frame, end=end)).sizes["time"] > 0


@pytest.mark.slow
def test_the_cure_of_a_response_among_its_own_covariates():
    own = rl.Signal("own past", "price", kernel=rl.kernels.Gamma(2.0, 1.0, 1.0, 0.5), contemporaneous=False)
    spec = small_spec(signals=(own,))
    fit = prior_fit(spec, hand_panel(spec, 8))
    with pytest.raises(rl.errors.FitError) as caught:
        rl.leave_one_out(fit)
    assert value_at(caught.value.cure.partition("terms of ")[2], idata=fit) is not None
    spec = small_spec(responses=(rl.Response("asset", "price", autoregression=1),))
    fit = prior_fit(spec, hand_panel(spec, 8))
    with pytest.raises(rl.errors.FitError) as caught:
        rl.leave_one_out(fit)
    assert value_at(caught.value.cure.partition("terms of ")[2], idata=fit) is not None


STEPS = np.zeros((4, 2, 2))
CHAINS = {
    "no axis of regimes": ({"log_obs": np.zeros(5)}, "an axis of length 1", {"log_obs": np.zeros((5, 1))}),
    "a matrix without destinations": ({"transition_logits": np.zeros(2)}, "give transition_logits", {}),
    "shared by a batch": (
        {"log_obs": np.zeros((3, 7, 5, 2)), "transition_logits": STEPS},
        "transition_logits[None, None]",
        {"transition_logits": STEPS[None, None]},
    ),
    "initial weights of a batch": ({"log_init": np.zeros((3, 2))}, "one weight a regime", {"log_init": np.zeros(2)}),
    "regimes first": ({"log_obs": np.zeros((2, 5))}, "the regime axis comes last", {"log_obs": np.zeros((5, 2))}),
    "a step too many": (
        {"transition_logits": np.zeros((5, 2, 2))},
        "drop the row that would drive the step into the first time",
        {"transition_logits": np.zeros((5, 2, 2))[1:]},
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_cure_of_a_likelihood(name):
    wrong, says, right = CHAINS[name]
    given = {"log_obs": np.zeros((5, 2)), "transition_logits": np.zeros((2, 2)), "log_init": np.zeros(2)}
    if name == "no axis of regimes":
        given |= {"transition_logits": np.zeros((1, 1)), "log_init": np.zeros(1)}
    fixed = given | wrong | (right or {key: given[key] for key in wrong})
    carry_out(Case(rl.markov_loglik, given | wrong, says, lambda _: fixed))


def test_no_time_is_named_as_such():
    with pytest.raises(ValueError, match="at least one time"):
        rl.markov_loglik(np.zeros((0, 2)), np.zeros((2, 2)), np.zeros(2)).eval()
