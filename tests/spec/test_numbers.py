"""Numbers of every kind are taken where a number is asked for, and kept as plain Python has them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr
from builders import bare_spec, hand_panel, small_spec

import regimelag as rl
from regimelag.spec.kernels import KERNELS
from regimelag.spec.toml import spec_from_toml, spec_to_toml

SOME = np.array([1, 2, 3])

# Made of NumPy's numbers, and of Python's.
PAIRS = {
    "Markov": (
        lambda: rl.spec.Markov(expected_duration=np.array([20, 10]), expected_duration_log_sd=np.int64(2)),
        lambda: rl.spec.Markov(expected_duration=(20.0, 10.0), expected_duration_log_sd=2.0),
    ),
    "one duration": (lambda: rl.spec.Markov(expected_duration=30), lambda: rl.spec.Markov(expected_duration=(30.0,))),
    "one duration of NumPy's": (
        lambda: rl.spec.Markov(expected_duration=np.float64(30.0)),
        lambda: rl.spec.Markov(expected_duration=[30.0]),
    ),
    "Regimes": (
        lambda: rl.spec.Regimes(count=SOME[1], names=np.array(["a", "b"])),
        lambda: rl.spec.Regimes(2, ("a", "b")),
    ),
    "Driver": (lambda: rl.Driver("z", np.str_("z"), periods=SOME[2]), lambda: rl.Driver("z", "z", periods=3)),
    "Signal": (
        lambda: rl.Signal("s", "s", contemporaneous=np.bool_(False)),
        lambda: rl.Signal("s", "s", contemporaneous=False),
    ),
    "Point": (
        lambda: rl.kernels.Point(masses=SOME, by_regime=np.bool_(True)),
        lambda: rl.kernels.Point(masses=(1.0, 2.0, 3.0), by_regime=True),
    ),
    "ModelSpec": (lambda: small_spec(max_lag=np.int32(4)), small_spec),
} | {
    kind: (
        lambda kind=kind: KERNELS[kind](**{f.name: np.int64(3) for f in dataclasses.fields(KERNELS[kind])}),
        lambda kind=kind: KERNELS[kind](**{f.name: 3.0 for f in dataclasses.fields(KERNELS[kind])}),
    )
    for kind in KERNELS
    if kind != "point"
}


@pytest.mark.parametrize("name", PAIRS)
def test_numbers_of_numpy_make_the_same_part(name):
    given, plain = (make() for make in PAIRS[name])
    assert given == plain
    assert hash(given) == hash(plain)
    for field in dataclasses.fields(plain):
        value, expected = getattr(given, field.name), getattr(plain, field.name)
        assert type(value) is type(expected)
        if isinstance(expected, tuple):
            assert [type(one) for one in value] == [type(one) for one in expected]


def test_the_text_of_a_spec_does_not_tell_how_its_numbers_were_given():
    """A study's folder is known by this text."""
    plain = small_spec(
        priors={"effect": rl.Prior("StudentT", nu=3.0, sigma=0.5)},
        regimes=rl.spec.Regimes(transitions=rl.spec.Markov(expected_duration=(9.0,))),
    )
    given = small_spec(
        priors={"effect": rl.Prior("StudentT", sigma=np.float64(0.5), nu=np.int64(3))},
        regimes=rl.spec.Regimes(transitions=rl.spec.Markov(expected_duration=9)),
        max_lag=np.int64(4),
    )
    assert spec_to_toml(given) == spec_to_toml(plain)
    assert spec_from_toml(spec_to_toml(given)) == plain


def test_one_duration_can_be_written_in_a_file():
    text = 'name = "m"\nresponses = [{name = "a", column = "a"}]\n[regimes.transitions]\nkind = "markov"\n'
    text += "expected_duration = 15\n"
    assert spec_from_toml(text).regimes.transitions.expected_duration == (15.0,)
    with pytest.raises(rl.errors.SpecError, match="expected_duration") as caught:
        spec_from_toml(text.replace("15", '"15"'))
    assert "write a number" in caught.value.cure


def refused():
    spec, panel = small_spec(), hand_panel(small_spec(), 40)
    bare = {"progressbar": False}
    return {
        "count": lambda value: rl.spec.Regimes(count=value),
        "max_lag": lambda value: small_spec(max_lag=value),
        "periods": lambda value: rl.Driver("z", "z", periods=value),
        "sigma": lambda value: rl.Prior("Normal", sigma=value),
        "expected_duration": lambda value: rl.spec.Markov(expected_duration=value),
        "spread": lambda value: small_spec(signals=(rl.Signal("s", "s", kernel=rl.kernels.Gamma(2.0, value)),)),
        "masses": lambda value: small_spec(signals=(rl.Signal("s", "s", kernel=rl.kernels.Point(masses=[value] * 4)),)),
        "draws": lambda value: rl.fit(spec, panel, draws=value, **bare),
        "chains": lambda value: rl.fit(spec, panel, chains=value, **bare),
        "cores": lambda value: rl.fit(spec, panel, cores=value, **bare),
        "target_accept": lambda value: rl.fit(spec, panel, target_accept=value, **bare),
        "random_seed": lambda value: rl.fit(spec, panel, random_seed=value, **bare),
        "prior_draws": lambda value: rl.as_fit(xr.DataTree(), spec, panel, prior_draws=value),
        "simulations": lambda value: rl.evaluation.sbc(spec, panel, random_seed=1, simulations=value),
        "rows": lambda value: rl.evaluation.sbc(spec, panel, random_seed=1, rows=value),
        "starts": lambda value: rl.Sampler(starts=value),
        "block": lambda value: rl.evaluation.lead_lag(panel, block=value),
        "over": lambda value: rl.scenario(panel, over=value),
    }


# Texts and truth values are no numbers.
@pytest.mark.parametrize("value", [True, np.bool_(True), "2"], ids=repr)
@pytest.mark.parametrize("name", refused())
def test_truth_values_and_texts_are_no_numbers(name, value):
    with pytest.raises(rl.RegimelagError, match=name) as caught:
        refused()[name](value)
    assert caught.value.cure


@pytest.mark.parametrize("value", [True, np.bool_(True), "2"], ids=repr)
def test_nor_are_they_for_readings(value, tiny, short_panel):
    fit = tiny[2]
    for name, read in {
        "horizon": lambda: rl.forecast(fit, horizon=value),
        "shock": lambda: rl.evaluation.impulse_response(fit, shock=value),
        "moves": lambda: rl.driver_effects(fit, moves={"yield": value}),
        "within": lambda: rl.lag_distribution(fit, within=(1, value)),
        "threshold": lambda: rl.lag_report(fit, threshold=value),
        "slabs": lambda: rl.lag_report(fit, slabs=[1.0, value]),
    }.items():
        with pytest.raises(rl.errors.FitError, match=name):
            read()
    for given in ({"moves": {"silver_usd": value}}, {"factors": {"silver_usd": value}}):
        with pytest.raises(rl.errors.PanelError, match="number"):
            rl.scenario(short_panel, **given)


@pytest.mark.parametrize("name", ["contemporaneous", "by_regime"])
def test_numbers_and_texts_are_no_truth_values(name):
    """The text "false" would be true."""
    makers = {
        "contemporaneous": lambda value: rl.Signal("s", "s", contemporaneous=value),
        "by_regime": lambda value: rl.kernels.Point(mean_lag=2.0, by_regime=value).validate(4),
    }
    for value in ("false", 0):
        with pytest.raises(rl.errors.SpecError, match=name):
            makers[name](value)


def test_readings_take_numbers_of_numpy(tiny, short_panel):
    fit, two = tiny[2], np.int64(2)
    assert len(rl.scenario(short_panel, horizon=two, over=two, moves={"silver_usd": np.float32(1.0)})) == 2
    assert rl.evaluation.impulse_response(fit, shock=np.float32(0.1), horizon=two).sizes["step"] == 3
    near = rl.lag_distribution(fit, within=(np.int64(1), np.float64(2.0)))
    np.testing.assert_array_equal(near["mass_within"], rl.lag_distribution(fit, within=(1, 2))["mass_within"])
    assert rl.driver_effects(fit, moves={"yield": np.int64(1)})["move"].item() == 1.0


def test_the_example_takes_numbers_of_numpy():
    one, other = rl.example_panel(), rl.example_panel(effect=np.float32(2.5), random_seed=np.int64(1))
    assert one.identical(other)
    assert json.loads(rl.example_panel(effect=np.int64(2)).attrs["truth"])["effect"] == 2.0
    for wrong in ({"effect": "2.5"}, {"effect": True}, {"random_seed": 1.5}):
        with pytest.raises(rl.errors.FitError, match=next(iter(wrong))):
            rl.example_panel(**wrong, as_frame=True)


def test_what_a_fit_records_can_be_written(tmp_path):
    """Zarr keeps attributes as JSON, which knows no number of NumPy's."""
    spec = bare_spec(family="normal")
    counts = dict.fromkeys(("draws", "tune", "starts", "prior_draws"), np.int64(20))
    fit = rl.fit(
        spec,
        hand_panel(spec, 30),
        **counts,
        chains=np.int64(1),
        cores=np.int64(1),
        target_accept=np.float32(0.8),
        random_seed=np.int64(1),
        progressbar=False,
    )
    json.dumps(dict(fit.attrs))
    assert rl.load_fit(rl.save_fit(fit, tmp_path / "fit.zarr")).attrs["tune"] == 20
