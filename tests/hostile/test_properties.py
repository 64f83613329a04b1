"""Random specs, frames and fit files: a clear error, or a right result."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import regimelag as rl
from hostile.fit_files import changed
from hostile.texts import PLAIN, SPEC, _spec_right

LONG = bool(os.environ.get("REGIMELAG_HOSTILE"))
LINES = PLAIN.splitlines()
WORDS = sorted({word for line in LINES for word in line.replace("=", " ").split()})


def examples(count):
    return settings(max_examples=20 * count if LONG else count, suppress_health_check=list(HealthCheck))


def right_or_refused(call):
    """What is wrong; an error of ours has a cure."""
    try:
        return call()
    except rl.RegimelagError as problem:
        return "" if problem.cure else "no cure"


@st.composite
def texts(draw):
    """The text of a spec with lines dropped, doubled and moved, and words exchanged."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["drop", "double", "move", "word", "letter"]))
        if kind == "drop":
            del lines[place]
        elif kind == "double":
            lines.insert(place, lines[place])
        elif kind == "move":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(place))
        elif kind == "word":
            words = lines[place].split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(WORDS))
            lines[place] = " ".join(words)
        else:
            at = draw(st.integers(0, len(lines[place])))
            lines[place] = lines[place][:at] + draw(st.characters()) + lines[place][at + 1 :]
    return "\n".join(lines)


@examples(60)
@given(texts())
def test_any_text_is_a_spec_or_an_error(text):
    assert right_or_refused(lambda: _spec_right(text)) == ""


VALUES = st.one_of(st.floats(width=64), st.floats(1.0, 200.0), st.none())


@examples(60)
@given(
    st.lists(VALUES, min_size=0, max_size=30),
    st.lists(st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2060-01-01")), min_size=30, max_size=30),
    st.booleans(),
)
def test_any_frame_is_a_panel_or_an_error(values, days, in_order):
    index = pd.date_range("2020-01-03", periods=len(values), freq="W-FRI") if in_order else days[: len(values)]

    def call():
        panel = rl.make_panel(SPEC, pd.DataFrame({"a": pd.Series(values, index=pd.DatetimeIndex(index), dtype=float)}))
        returns = panel["response_value"].to_numpy()
        return "" if np.isfinite(returns).any() and not np.isinf(returns).any() else "no finite values"

    assert right_or_refused(call) == ""


@pytest.fixture(scope="module")
def held(tiny, tmp_path_factory):
    path = rl.save_fit(tiny[2], tmp_path_factory.mktemp("fits") / "fit.nc")
    return tiny[2], path.read_bytes()


@examples(15)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=40),
    st.floats(0, 1) | st.none(),
)
def test_any_change_of_a_fit_file_is_found(held, tmp_path_factory, bytes_at, cut):
    tree, content = held
    other = bytearray(content)
    for place, value in bytes_at:
        other[int(place * (len(other) - 1))] = value
    path = Path(tmp_path_factory.getbasetemp()) / "changed.nc"
    path.write_bytes(bytes(other if cut is None else other[: int(cut * len(other))]))
    assert right_or_refused(lambda: ", ".join(changed(tree, rl.load_fit(path)))) == ""
