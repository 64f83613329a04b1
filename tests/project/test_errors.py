"""Errors with four parts, also where they have been through a copy or another process."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import cloudpickle
import pytest

import regimelag as rl
from regimelag import errors
from regimelag.fetch.retry import PassingError

PARTS = ("reading a fit", "the tree is a fit", "a dict", "pass what fit returned")
EVERY = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


def pickled(protocol):
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


ROADS = {
    **{f"pickle {protocol}": pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
    "cloudpickle": lambda error: pickle.loads(cloudpickle.dumps(error)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("road", ROADS)
def test_an_error_comes_back_whole(kind, road):
    error = kind(*PARTS)
    error.add_note("seen in run 3")
    again = ROADS[road](error)
    assert type(again) is kind
    assert (again.asked, again.rule, again.came, again.cure) == PARTS
    assert str(again) == str(error)
    assert again.__notes__ == ["seen in run 3"]


def test_every_part_is_in_the_text():
    asked, rule, came, cure = PARTS
    assert str(rl.errors.FitError(*PARTS)) == f"{asked}\n  rule: {rule}\n  came: {came}\n  cure: {cure}"


def test_a_passing_fault_comes_back_whole():
    again = pickle.loads(pickle.dumps(PassingError("HTTP 503", wait=2.5)))
    assert (again.came, again.wait, str(again)) == ("HTTP 503", 2.5, "HTTP 503")


def fail(name):
    return rl.read_spec(name)


@pytest.mark.slow
def test_an_error_in_a_worker_is_that_error_and_breaks_no_pool():
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        with pytest.raises(rl.errors.SpecError) as caught:
            pool.submit(fail, "no_such_model").result(timeout=120)
        assert caught.value.cure
        assert pool.submit(abs, -1).result(timeout=600) == 1
    with spawn.Pool(1) as pool, pytest.raises(rl.errors.SpecError) as caught:
        pool.apply_async(fail, ("no_such_model",)).get(timeout=120)
    assert caught.value.cure
