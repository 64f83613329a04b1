"""Where compiled code cannot be written, as in containers, the error names the variables to set, and they help."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import regimelag as rl
from regimelag.runtime.caches import VARIABLES, explain_caches

SOURCE = Path(rl.__file__).parent
NAMES = ["NUMBA_CACHE_DIR", "PYTENSOR_FLAGS", "MPLCONFIGDIR"]
LOAD = """
import regimelag as rl
for name in ("fit", "regime_probabilities", "markov_loglik"):
    getattr(rl, name)
print("loaded")
"""
REFUSED = """
import regimelag as rl
for name in ("fit", "regime_probabilities", "markov_loglik"):
    try:
        getattr(rl, name)
    except rl.errors.FitError as problem:
        assert all(variable in problem.cure for variable in {names}), problem
        print(problem.came)
"""
FIT = """
import numpy as np, pandas as pd, regimelag as rl
spec = rl.ModelSpec(name="m", responses=(rl.Response("a", "a"),), regimes=rl.spec.Regimes(count=1), family="normal")
prices = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.03, 40)))
panel = rl.make_panel(spec, pd.DataFrame({"a": prices}, index=pd.date_range("2020-01-03", periods=40, freq="W-FRI")))
rl.fit(spec, panel, draws=5, tune=5, chains=1, starts=1, prior_draws=2, random_seed=1, progressbar=False)
print("fitted")
"""

TOLD_OF = """
import regimelag
try:
    FIT
except regimelag.errors.FitError as problem:
    print(problem.cure)
"""


@pytest.fixture
def sealed(tmp_path):
    """A copy of the package beside whose files nothing can be written, by anyone: a file stands where folders would."""
    shutil.copytree(SOURCE, tmp_path / "regimelag", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [path for path in (tmp_path / "regimelag").rglob("*") if path.is_dir()]:
        (folder / "__pycache__").write_text("")
    return tmp_path


def run(folder, code, **environment):
    """What a fresh process with no home to write to prints."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    env = kept | {"HOME": os.devnull, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


@pytest.mark.slow
def test_a_sealed_home_and_installation_are_told_of(sealed):
    told = run(sealed, REFUSED.format(names=NAMES)).splitlines()
    assert len(told) == 3
    assert "no locator available" in told[1]


@pytest.mark.slow
def test_each_of_the_two_folders_is_told_of(sealed):
    """PyTensor's alone, and numba's alone; what needs neither is loaded."""
    numba = run(sealed, REFUSED.format(names=NAMES), PYTENSOR_FLAGS=f"base_compiledir={sealed / 'pytensor'}")
    assert numba.count("no locator available") == 3
    pytensor = run(sealed, REFUSED.format(names=NAMES), NUMBA_CACHE_DIR=str(sealed / "numba"))
    assert "/.pytensor" in pytensor


def set_as_told(folder) -> dict[str, str]:
    """The variables of the cure, in a folder of the test's."""
    return dict(word.replace("/tmp", str(folder)).split("=", 1) for word in VARIABLES.split())


@pytest.mark.slow
def test_the_cure_works(sealed):
    assert run(sealed, LOAD, **set_as_told(sealed)) == "loaded\n"


@pytest.mark.slow
def test_the_cure_works_for_a_fit(sealed):
    assert run(sealed, FIT, **set_as_told(sealed)) == "fitted\n"
    assert (sealed / "numba").is_dir()
    assert (sealed / "pytensor").is_dir()


@pytest.mark.long
@pytest.mark.slow
def test_damaged_files_of_compiled_code_are_compiled_anew_or_told_of(sealed):
    """Each file of a cache is cut in half: what a full disk or a power cut leaves."""
    variables = set_as_told(sealed)
    run(sealed, FIT, **variables)
    for kind in ("numba", "pytensor"):
        for file in (sealed / kind).rglob("*.nb[ic]"):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        said = run(sealed, TOLD_OF.replace("FIT", FIT.replace("\n", "\n    ")), **variables).splitlines()[-1]
        assert said == "fitted" or all(name in said for name in NAMES), said


@pytest.mark.slow
def test_data_need_no_such_folder(sealed):
    code = FIT.partition("rl.fit(")[0] + "print(panel.sizes['time'])"
    assert run(sealed, code) == "39\n"


@pytest.mark.parametrize(
    "problem",
    [
        PermissionError(errno.EACCES, "Permission denied", "/home/me/.pytensor"),
        OSError(errno.EROFS, "Read-only file system", "/home/me/.pytensor/numba"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "/dev/null/.pytensor"),
        RuntimeError("cannot cache function 'f': no locator available for file '/opt/regimelag/op.py'"),
        RuntimeError("Could not determine home directory."),
        OSError(errno.ENOSPC, "No space left on device", "/home/me/.pytensor"),
        pickle.UnpicklingError("pickle data was truncated"),
        EOFError("Ran out of input"),
        ValueError("Unable to create the compiledir directory '/home/me/.pytensor/x'. Check the permissions."),
    ],
    ids=lambda problem: type(problem).__name__,
)
def test_what_is_denied_is_told(problem):
    with pytest.raises(rl.errors.FitError, match="NUMBA_CACHE_DIR") as caught, explain_caches():
        raise problem
    assert str(problem) in caught.value.came
    assert caught.value.__cause__ is problem


TOLD = rl.errors.FitError("compiled code", "there is a folder", "none", f"set {VARIABLES}")


@pytest.mark.parametrize("problem", [OSError(errno.EIO, "Input/output error"), RuntimeError("out of memory"), TOLD])
def test_other_problems_go_through(problem):
    with pytest.raises(type(problem)) as caught, explain_caches():
        raise problem
    assert caught.value is problem
