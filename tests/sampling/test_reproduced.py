"""A fit again: from the same seed in another process, and all that follows from the file alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import from_file
import numpy as np
import pytest

import regimelag as rl

TESTS = Path(__file__).parents[1]
# Another process compiles, fits or draws every figure.
pytestmark = pytest.mark.slow


def fresh_process(*arguments, folder) -> str:
    """Run Python in an empty folder, with another order of hashes; return what it prints."""
    apart = os.environ | {"PYTHONHASHSEED": "4711"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=folder, env=apart
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


AGAIN = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from builders import FIT, cut
import regimelag as rl
if __name__ == "__main__":
    idata = rl.fit(rl.read_spec("btc_silver"), cut(rl.example_panel(), 240), **FIT)
    rl.save_fit(idata, "fit.nc")
"""


def test_the_same_seed_gives_the_same_draws_in_another_process(idata, tmp_path):
    (tmp_path / "again.py").write_text(AGAIN)
    fresh_process("again.py", folder=tmp_path)
    again = rl.load_fit(tmp_path / "fit.nc")
    for group in ("posterior", "prior", "posterior_predictive", "one_step_ahead", "log_prior", "modes"):
        one, other = idata[group].to_dataset(), again[group].to_dataset()
        assert set(one.data_vars) == set(other.data_vars)
        for name in one.data_vars:
            if one[name].dtype.kind in "fiu":
                np.testing.assert_array_equal(one[name], other[name], err_msg=f"{group}, {name}")


@pytest.fixture(scope="module")
def from_the_file(idata, tmp_path_factory):
    """What a process says that has the file, and no spec, panel, or anything else of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    rl.save_fit(idata, folder / "fit.nc")
    return json.loads(fresh_process(TESTS / "from_file.py", "fit.nc", folder=folder))


def test_a_model_rebuilt_from_the_file_has_the_stored_density(from_the_file):
    assert from_the_file["rebuilt"] == pytest.approx(from_the_file["stored"], rel=0, abs=1e-8)


def test_every_figure_is_drawn_again_from_the_file(from_the_file):
    figures = {name for name in rl.plots.__all__ if name.startswith("plot_")}
    assert figures - set(from_the_file) == {"plot_backtest", "plot_robustness", "plot_sbc", "plot_screen"}


@pytest.mark.parametrize("name", ["plot_forecast", "plot_impulse", "plot_lag", "plot_paths", "plot_regimes"])
def test_readings_and_forecasts_go_on_from_the_file(idata, from_the_file, name):
    """As in the process that fitted; the last digits may depend on how vectors lie in memory."""
    here = from_file.numbers(from_file.READINGS[name](idata))
    assert from_the_file[name] == pytest.approx(here, rel=1e-12)


def test_new_rows_are_scored_from_the_file(idata, from_the_file):
    assert from_the_file["score"] == pytest.approx(from_file.score(idata), rel=1e-12)
