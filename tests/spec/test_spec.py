"""Specs: what is refused, and TOML there and back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regimelag as rl
from regimelag.errors import RegimelagError
from regimelag.spec.kernels import KERNELS
from regimelag.spec.series import Series
from regimelag.spec.toml import read_spec, spec_from_toml, spec_to_toml, write_spec

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.toml"))
RESPONSE = rl.Response("asset", "price")


def model(**changes):
    return rl.ModelSpec(**({"name": "model", "responses": (RESPONSE,)} | changes))


# ---- there and back


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_named_models_survive_the_round_trip(path, tmp_path):
    spec = read_spec(path)
    assert spec == read_spec(path.stem)
    assert spec_from_toml(spec_to_toml(spec)) == spec
    assert read_spec(write_spec(spec, tmp_path / "copy.toml")) == spec
    assert spec.to_toml() == (tmp_path / "copy.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_named_models_state_their_claim_and_a_comment(path):
    assert read_spec(path).claim
    assert path.read_text(encoding="utf-8").startswith("#")


# A slash would make a name that no file holds.
TEXT = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() and "/" not in text)
AWKWARD = st.sampled_from(
    ["real yield", "Größe", "金 and 银", 'the "big" one', "it's", "back\\slash", "tab\tnew\nline"]
)
NAMES = TEXT | AWKWARD
SCALES = st.floats(1e-3, 50.0)


def kernels():
    hump = {"mean_lag": st.floats(2.0, 5.0), "spread": st.floats(2.05, 2.5)}
    more = {"mean_lag_sd": st.floats(0.3, 1.0), "spread_sd": st.floats(0.1, 2.0), "roughness": st.floats(0.01, 1.0)}
    more |= {"masses": st.just(()), "by_regime": st.just(False)}
    return st.one_of(
        *(
            st.builds(cls, **{f.name: (hump | more)[f.name] for f in dataclasses.fields(cls)})
            for cls in KERNELS.values()
        )
    )


def series(cls, **more):
    spans = (
        {} if cls is rl.Response else {"periods": st.integers(1, 30), "delay": st.sampled_from(["0D", "1B", "W-MON"])}
    )
    # A response's column differs from those of all else, which it may share in its past alone.
    columns = NAMES.map(lambda text: f"response {text}") if cls is rl.Response else NAMES
    return st.builds(
        cls, name=NAMES, column=columns, transform=st.sampled_from(["log_return", "difference"]), **spans, **more
    )


def several(strategy):
    unique = (lambda one: one.name, lambda one: one.column)
    return st.lists(strategy, max_size=3, unique_by=unique).map(tuple)


@st.composite
def transitions(draw, count):
    length = draw(st.sampled_from([1, count]))
    durations = draw(st.lists(st.floats(1.5, 100.0), min_size=length, max_size=length))
    return rl.spec.Markov(tuple(durations), draw(SCALES), by_origin=draw(st.booleans()))


DISTRIBUTIONS = {
    "intercept": ("Normal", "StudentT", "Laplace"),
    "log_scale": ("Normal", "Cauchy"),
    "degrees_of_freedom_minus_two": ("Gamma", "HalfNormal"),
}


@st.composite
def priors(draw, family):
    names = draw(st.sets(st.sampled_from([n for n in DISTRIBUTIONS if n[0] != "d" or family == "student_t"])))
    needed = {"Normal": "sigma", "StudentT": "nu sigma", "Laplace": "b", "Cauchy": "beta", "Gamma": "alpha beta"}
    found = {}
    for name in names:
        kind = draw(st.sampled_from(DISTRIBUTIONS[name]))
        found[name] = rl.Prior(kind, **{one: draw(SCALES) for one in needed.get(kind, "sigma").split()})
    return found


@st.composite
def specs(draw):
    count = draw(st.integers(1, 4))
    starts = tuple(sorted(draw(st.sets(st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1)), max_size=3))))
    labels = st.lists(NAMES, min_size=len(starts) + 1, max_size=len(starts) + 1, unique=True).map(tuple)
    regimes = st.lists(NAMES, min_size=count, max_size=count, unique=True).map(tuple)
    vary = st.lists(st.sampled_from(["scale", "effect"]), unique=True).map(tuple)
    family = draw(st.sampled_from(["student_t", "normal"]))
    return rl.ModelSpec(
        name=draw(NAMES),
        claim=draw(st.text(max_size=40)),
        responses=draw(several(series(rl.Response)).filter(bool)),
        # Two point lags may make more combinations than are allowed.
        signals=draw(
            several(series(rl.Signal, kernel=kernels(), contemporaneous=st.just(True))).filter(
                lambda signals: sum(isinstance(signal.kernel, rl.kernels.Point) for signal in signals) < 2
            )
        ),
        drivers=draw(several(series(rl.Driver))) if count > 1 else (),
        controls=draw(several(series(rl.Control))),
        frequency=draw(st.sampled_from(["D", "B", "W-MON", "W-SUN", "ME", "QE"])),
        max_lag=draw(st.integers(6, 40)),
        episodes=rl.spec.Episodes(starts=starts, names=draw(st.just(()) | labels), vary=draw(vary)),
        regimes=rl.spec.Regimes(
            count=count,
            names=draw(st.just(()) | regimes),
            initial=draw(st.sampled_from(["uniform", "stationary", "dirichlet"])),
            transitions=draw(transitions(count)),
        ),
        priors=draw(priors(family)),
        family=family,
    )


@given(specs())
@settings(max_examples=60, deadline=None)
def test_any_spec_survives_the_round_trip(spec):
    again = spec_from_toml(spec_to_toml(spec))
    assert again == spec
    assert hash(again) == hash(spec)


@given(specs())
@settings(max_examples=20, deadline=None)
def test_any_spec_survives_a_file(tmp_path_factory, spec):
    path = write_spec(spec, tmp_path_factory.mktemp("specs") / "spec.toml")
    assert read_spec(path) == spec


def own_regimes(**changes):
    responses = (rl.Response("a", "a"), rl.Response("b", "b"))
    return rl.ModelSpec(**({"name": "m", "responses": responses, "responses_vary": ("regimes",)} | changes))


def lag_varies(kernel, *, by="episode"):
    signals = (rl.Signal("metal", "metal", kernel=kernel),)
    responses = (rl.Response("a", "a"), rl.Response("b", "b"))
    if by == "response":
        return rl.ModelSpec(name="m", responses=responses, signals=signals, responses_vary=("lag",))
    episodes = rl.spec.Episodes(starts=(dt.date(2020, 1, 1),), vary=("lag",))
    return rl.ModelSpec(name="m", responses=responses[:1], signals=signals, episodes=episodes)


def point_by_regime():
    kernel = rl.kernels.Point(by_regime=True, masses=(1.0, 2.0) * 13)
    return own_regimes(responses_vary=(), signals=(rl.Signal("metal", "metal", kernel=kernel),))


@pytest.mark.parametrize(
    "spec",
    [
        lag_varies(rl.kernels.Gamma()),
        point_by_regime(),
        lag_varies(rl.kernels.Beta(), by="response"),
        own_regimes(),
    ],
    ids=["lag by episode", "point lag by regime", "lag by response", "own regimes"],
)
def test_lags_that_vary_survive_the_round_trip(spec):
    assert spec_from_toml(spec_to_toml(spec)) == spec


@pytest.mark.parametrize("kind", KERNELS)
def test_every_kernel_can_be_named_in_toml(kind):
    text = f"""
        name = "m"
        responses = [{{ name = "a", column = "a" }}]
        signals = [{{ name = "s", column = "s", kernel = {{ kind = "{kind}" }} }}]
    """
    assert type(spec_from_toml(text).signals[0].kernel) is KERNELS[kind]


def test_defaults_need_not_be_written():
    text = 'name = "model"\nresponses = [{name = "asset", column = "price"}]'
    assert spec_from_toml(text) == model()


def test_whole_numbers_serve_as_floats():
    text = spec_to_toml(model(signals=(rl.Signal(**SIGNAL),))).replace("spread_sd = 2.0", "spread_sd = 2", 1)
    assert "spread_sd = 2\n" in text
    assert isinstance(spec_from_toml(text).signals[0].kernel.spread_sd, float)


# ---- what is refused

SIGNAL = {"name": "s", "column": "s"}
TWICE = (rl.Signal(**SIGNAL), rl.Signal(**SIGNAL))
THREE_OF_THEM = tuple(rl.Response(name, name) for name in "abc")
BY_REGIME = (rl.Signal("metal", "metal", kernel=rl.kernels.Point(by_regime=True)),)
DRIVERS = (rl.Driver("d", "d"), rl.Driver("d", "e"))
CONTROLS = (rl.Control("c", "c"), rl.Control("c", "e"))
DAY = dt.date(2020, 1, 1)
REFUSED = (
    {
        "name blank": (lambda: Series(" ", "c"), "name"),
        "name a number": (lambda: Series(3, "c"), "name"),
        "column empty": (lambda: Series("a", ""), "column"),
        "transform unknown": (lambda: Series("a", "c", transform="log_returns"), "transform"),
        "periods zero": (lambda: Series("a", "c", periods=0), "periods"),
        "periods a fraction": (lambda: Series("a", "c", periods=1.5), "periods"),
        "periods a truth value": (lambda: Series("a", "c", periods=True), "periods"),
        "level over two rows": (lambda: Series("a", "c", transform="level", periods=2), "periods"),
        "delay backwards": (lambda: Series("a", "c", delay="-1B"), "delay"),
        "delay nonsense": (lambda: Series("a", "c", delay="soon"), "delay"),
        "delay a number": (lambda: Series("a", "c", delay=1), "delay"),
        "response with a delay": (lambda: rl.Response("a", "c", delay="1B"), "delay"),
        "response that overlaps": (lambda: rl.Response("a", "c", periods=4), "periods"),
        "kernel a text": (lambda: rl.Signal(**SIGNAL, kernel="gamma"), "kernel"),
        "kernel a class": (lambda: rl.Signal(**SIGNAL, kernel=rl.kernels.Gamma), "kernel"),
        "signal without effect": (
            lambda: rl.Signal(**SIGNAL, contemporaneous=False, kernel=rl.kernels.NoLag()),
            "contemporaneous",
        ),
        "start a text": (lambda: rl.spec.Episodes(starts=("2020-01-01",)), "starts"),
        "start a time": (lambda: rl.spec.Episodes(starts=(dt.datetime(2020, 1, 1),)), "starts"),  # noqa: DTZ001, RUF100
        "starts descend": (lambda: rl.spec.Episodes(starts=(DAY, dt.date(2019, 1, 1))), "starts"),
        "starts repeat": (lambda: rl.spec.Episodes(starts=(DAY, DAY)), "starts"),
        "episode names too few": (lambda: rl.spec.Episodes(starts=(DAY,), names=("one",)), "names"),
        "episode names repeat": (lambda: rl.spec.Episodes(starts=(DAY,), names=("one", "one")), "names"),
        "episodes vary what": (lambda: rl.spec.Episodes(vary=("scales",)), "vary"),
        "count zero": (lambda: rl.spec.Regimes(count=0), "count"),
        "count a fraction": (lambda: rl.spec.Regimes(count=2.0), "count"),
        "count a truth value": (lambda: rl.spec.Regimes(count=True), "count"),
        "initial unknown": (lambda: rl.spec.Regimes(initial="Uniform"), "initial"),
        "regime names too few": (lambda: rl.spec.Regimes(count=3, names=("a", "b")), "names"),
        "regime names repeat": (lambda: rl.spec.Regimes(names=("a", "a")), "names"),
        "durations empty": (lambda: rl.spec.Markov(expected_duration=()), "expected_duration"),
        "duration of one row": (lambda: rl.spec.Markov(expected_duration=(1.0,)), "expected_duration"),
        "by_origin a number": (lambda: rl.spec.Markov(by_origin=0.3), "by_origin"),
        "model name blank": (lambda: model(name=" "), "name"),
        "no response": (lambda: model(responses=()), "response"),
        "responses share a name": (lambda: model(responses=(RESPONSE, RESPONSE)), "responses"),
        "responses vary what": (lambda: model(responses_vary=("lags",)), "responses_vary"),
        "too many joint regimes": (
            lambda: own_regimes(regimes=rl.spec.Regimes(count=3), responses=THREE_OF_THEM),
            "27",
        ),
        "point lag by regime of one's own": (lambda: own_regimes(signals=BY_REGIME), "by_regime"),
        "point lag by episode": (lambda: lag_varies(rl.kernels.Point()), "gamma, lognormal, negative_binomial or beta"),
        "lag of a simplex by episode": (lambda: lag_varies(rl.kernels.Dirichlet()), "episodes"),
        "lag of a walk by response": (lambda: lag_varies(rl.kernels.Smooth(), by="response"), "responses_vary"),
        "point lag by response": (lambda: lag_varies(rl.kernels.Point(), by="response"), "responses_vary"),
        "signals share a name": (lambda: model(signals=TWICE), "signals"),
        "drivers share a name": (lambda: model(drivers=DRIVERS), "drivers"),
        "controls share a name": (lambda: model(controls=CONTROLS), "controls"),
        "max_lag zero": (lambda: model(max_lag=0), "max_lag"),
        "max_lag a fraction": (lambda: model(max_lag=26.0), "max_lag"),
        "max_lag a truth value": (lambda: model(max_lag=True), "max_lag"),
        "kernel beyond max_lag": (lambda: model(signals=(rl.Signal(**SIGNAL),), max_lag=5), "mean_lag"),
        "family unknown": (lambda: model(family="student"), "family"),
        "durations for other regimes": (
            lambda: rl.spec.Regimes(transitions=rl.spec.Markov(expected_duration=(9.0,) * 3)),
            "expected_duration",
        ),
        "drivers of one regime": (lambda: model(drivers=DRIVERS[:1], regimes=rl.spec.Regimes(count=1)), "drivers"),
        "frequency unknown": (lambda: model(frequency="weekly"), "frequency"),
        "frequency without a day": (lambda: model(frequency="W"), "frequency"),
    }
    | {
        f"{name} {value}": (lambda make=make, name=name, value=value: make(**{name: value}), name)
        for name, make in {
            "sigma": functools.partial(rl.Prior, "Normal"),
            "nu": functools.partial(rl.Prior, "StudentT", sigma=1.0),
            "expected_duration_log_sd": rl.spec.Markov,
        }.items()
        for value in (0.0, -1.0, float("nan"), float("inf"), "1", True)
    }
)


def check_message(error: RegimelagError, names: str) -> None:
    """The four parts are there, none is empty, and the field at fault is named."""
    message = str(error)
    for part in ("asked", "rule", "came", "cure"):
        assert getattr(error, part).strip(), part
        assert getattr(error, part) in message
    for word in ("rule: ", "came: ", "cure: "):
        assert f"\n  {word}" in message
    assert names in message


@pytest.mark.parametrize(("make", "names"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_the_field_and_the_cure(make, names):
    with pytest.raises(rl.errors.SpecError) as caught:
        make()
    check_message(caught.value, names)


TOML = """
name = "model"
max_lag = 26
responses = [{ name = "asset", column = "price" }]

[[signals]]
name = "metal"
column = "metal"
contemporaneous = true
kernel = { kind = "gamma", mean_lag = 9.0 }

[[drivers]]
name = "yield"
column = "yield"

[episodes]
starts = [2020-01-01]

[regimes]
count = 2

[regimes.transitions]
kind = "markov"
expected_duration = [20.0]

[priors.effect]
distribution = "Normal"
sigma = 0.5
"""
# What is put in place of what, what the message names, and a word of its cure.
WRONG_TEXT = {
    "unknown key": ("max_lag", "max_lags", "max_lags", "max_lag"),
    "key far off": ("max_lag = 26", "colour = 1", "colour", "known are"),
    "unknown key in a list": ('column = "metal"', 'colum = "metal"', "signals[0]", "column"),
    "unknown key in a table": ("count = 2", "counts = 2", "spec.regimes", "count"),
    "unknown prior": ("priors.effect", "priors.efect", "priors", "effect"),
    "unknown distribution": ('"Normal"', '"Norml"', "prior", "Normal"),
    "unknown parameter of a prior": ("sigma = 0.5", "sgma = 0.5", "prior", "sigma"),
    "unknown key in a kernel": ("mean_lag", "meanlag", "spec.signals[0].kernel", "mean_lag"),
    "unknown kernel": ('kind = "gamma"', 'kind = "gama"', "spec.signals[0].kernel", "gamma"),
    "kernel without kind": ('kind = "gamma", ', "", "spec.signals[0].kernel", "kind"),
    "kernel a text": ('{ kind = "gamma", mean_lag = 9.0 }', '"gamma"', "spec.signals[0].kernel", "kind"),
    "number as text": ("max_lag = 26", 'max_lag = "26"', "spec.max_lag", "whole number"),
    "number as truth": ("max_lag = 26", "max_lag = true", "spec.max_lag", "whole number"),
    "fraction for a whole": ("max_lag = 26", "max_lag = 26.0", "spec.max_lag", "whole number"),
    "truth as number": (
        "contemporaneous = true",
        "contemporaneous = 1",
        "spec.signals[0].contemporaneous",
        "true or false",
    ),
    "text as number": ('name = "metal"', "name = 3", "spec.signals[0].name", "text in quotes"),
    "float as truth": ("sigma = 0.5", "sigma = true", "sigma", "write sigma"),
    "list as number": ("starts = [2020-01-01]", "starts = 2020-01-01", "spec.episodes.starts", "brackets"),
    "list of texts": ("[20.0]", '["20"]', "spec.regimes.transitions.expected_duration[0]", "a number"),
    "date as text": ("[2020-01-01]", '["2020-01-01"]', "spec.episodes.starts[0]", "date"),
    "date with time": ("[2020-01-01]", "[2020-01-01T00:00:00]", "starts", "date"),
    "table as list": ("[regimes]", "[[regimes]]", "spec.regimes", "write [regimes]"),
    "table as number": ("[regimes]\ncount = 2", "", "spec.name", "text in quotes"),
    "name missing": ('name = "model"\n', "", "name", "add name"),
    "column missing": (', column = "price"', "", "spec.responses[0]", "add column"),
    "responses missing": ('responses = [{ name = "asset", column = "price" }]', "", "responses", "add responses"),
    "no TOML": ("max_lag = 26", "max_lag 26", "spec", "line"),
    "key twice": ("max_lag = 26", "max_lag = 26\nmax_lag = 27", "spec", "line"),
}
WRONG_TEXT["table as number"] = ('name = "model"\n', "name = {}\n", "spec.name", "text in quotes")


def test_the_text_that_is_spoilt_below_is_right():
    assert spec_from_toml(TOML).max_lag == 26


@pytest.mark.parametrize(("old", "new", "names", "cure"), WRONG_TEXT.values(), ids=WRONG_TEXT)
def test_text_that_does_not_fit_is_refused_at_its_place(old, new, names, cure):
    assert old in TOML
    with pytest.raises(rl.errors.SpecError) as caught:
        spec_from_toml(TOML.replace(old, new, 1))
    check_message(caught.value, names)
    assert cure in caught.value.cure


def test_errors_are_value_errors():
    assert issubclass(rl.errors.SpecError, ValueError)


def test_lists_are_as_good_as_tuples():
    """Python users write lists; the spec stays hashable and writable."""
    spec = rl.ModelSpec(name="model", responses=[RESPONSE], regimes=rl.spec.Regimes(names=["a", "b"]))
    assert spec == model(regimes=rl.spec.Regimes(names=("a", "b")))
    assert hash(spec) == hash(spec_from_toml(spec_to_toml(spec)))


def test_names_that_files_cannot_hold_are_refused():
    """A signal's name becomes part of variables' names, which may not hold a slash in NetCDF or a DataTree."""
    with pytest.raises(rl.errors.SpecError) as caught:
        rl.Signal("XAG/USD", "silver")
    check_message(caught.value, "XAG/USD")


# ---- frozen


PARTS = [
    model(),
    RESPONSE,
    *(cls("a", "b") for cls in (rl.Signal, rl.Driver, rl.Control)),
    *(cls() for cls in (rl.spec.Episodes, rl.spec.Regimes, rl.spec.Markov, *KERNELS.values())),
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_parts_are_frozen_and_hashable(part):
    hash(part)
    for name in [f.name for f in dataclasses.fields(part)] or ["anything"]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, None)


# ---- files


def test_write_spec_keeps_what_is_there(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(rl.errors.SpecError) as caught:
        write_spec(model(), path)
    check_message(caught.value, str(path))
    assert "overwrite=True" in caught.value.cure
    assert path.read_text(encoding="utf-8") == "mine"
    assert write_spec(model(), path, overwrite=True) == path
    assert read_spec(path) == model()


def test_read_spec_lists_the_named_models():
    with pytest.raises(rl.errors.SpecError) as caught:
        read_spec("btc_gold_or_so")
    check_message(caught.value, "btc_gold_or_so")
    assert MODELS
    for path in MODELS:
        assert path.stem in caught.value.cure


WATCHED = {
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pickle.find_class",
    "socket.connect",
}
seen: list[str] = []
watching = False


def watch(event, arguments):
    if watching and (event in WATCHED or (event in ("compile", "exec") and "HOSTILE" in repr(arguments))):
        seen.append(event)


sys.addaudithook(watch)


def test_reading_executes_nothing(tmp_path, monkeypatch):
    global watching  # noqa: PLW0603
    mark = tmp_path / "mark"
    monkeypatch.chdir(tmp_path)
    hostile = "__import__('os').system('touch mark') or 'HOSTILE'"
    text = TOML.replace('"metal"', f'"{hostile}"').replace('"model"', f'"{hostile}"').replace('"yield"', f'"{hostile}"')
    path = tmp_path / "hostile.toml"
    path.write_text(text + f'\n[unknown]\n"{hostile}" = "{hostile}"\n', encoding="utf-8")
    fine = tmp_path / "fine.toml"
    fine.write_text(text, encoding="utf-8")
    watching = True
    try:
        with pytest.raises(rl.errors.SpecError):
            read_spec(path)
        spec = read_spec(fine)
    finally:
        watching = False
    assert spec.name == spec.signals[0].column == hostile
    assert not mark.exists()
    assert not seen
    # What is executed is seen.
    watching = True
    eval("'HOSTILE'")
    watching = False
    assert "compile" in seen
    seen.clear()
