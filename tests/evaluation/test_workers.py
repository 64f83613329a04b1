"""Processes for studies: from any kind of script, with what the script defines, and gone when the script is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytensor
import pytest
from builders import hand_panel, small_spec

import regimelag as rl
from regimelag.evaluation.parallel_runs import run_all
from regimelag.evaluation.workers import SendingError, WorkerDied, Workers

TESTS = Path(__file__).parents[1]

# Nothing is guarded. What is computed uses names of the script, and the count says how often the script ran.
SCRIPT = """
{before}
import multiprocessing
from functools import partial
from pathlib import Path

from regimelag.evaluation.parallel_runs import run_all

with Path("begun").open("a") as file:
    file.write("x")
SHIFT = 100


def work(scale, number):
    print("on standard output")
    return {{"shifted": SHIFT + scale * number, "read": input() if number < 0 else ""}}


def study():
    found = run_all(partial(work, 2), [3], settings={{}}, folder="study", progressbar=False)
    Path("found").write_text(str([found[number]["shifted"] for number in found]))


{start}
"""
IN_A_DAEMON = """
process = multiprocessing.get_context("fork").Process(target=study, daemon=True)
process.start()
process.join()
"""
WAYS = {
    "a script": (["study.py"], "", "study()"),
    "a module": (["-m", "study"], "", "study()"),
    "standard input": (["-"], "", "study()"),
    "no file, as in a notebook": (["-c", "exec(open('study.py').read())"], "", "study()"),
    "spawn": (["study.py"], 'import multiprocessing; multiprocessing.set_start_method("spawn")', "study()"),
    "forkserver": (["study.py"], 'import multiprocessing; multiprocessing.set_start_method("forkserver")', "study()"),
    "a daemonic process": (["study.py"], "", IN_A_DAEMON),
    "guarded": (["study.py"], "", 'if __name__ == "__main__":\n    study()'),
}


def run(arguments, folder, **options):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300, **options
    )


# Each starts Python twice.


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_study_runs_from_any_kind_of_script_and_once(tmp_path, way):
    arguments, before, start = WAYS[way]
    text = SCRIPT.format(before=before, start=start)
    (tmp_path / "study.py").write_text(text)
    done = run(arguments, tmp_path, **({"input": text} if arguments == ["-"] else {}))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found").read_text() == "[106]"
    assert (tmp_path / "begun").read_text() == "x"


KERNEL = """
from dataclasses import dataclass, replace
from typing import ClassVar
import regimelag as rl
from regimelag.evaluation.parallel_runs import run_all
from regimelag.spec.kernels import KERNELS, Gamma
from regimelag.spec.toml import spec_from_toml, spec_to_toml


@dataclass(frozen=True)
class Mine(Gamma):
    kind: ClassVar[str] = "mine"


KERNELS["mine"] = Mine
flagship = rl.read_spec("btc_silver")
spec = replace(flagship, signals=(replace(flagship.signals[0], kernel=Mine()),))


def work(number):
    return {"same": spec_from_toml(spec_to_toml(spec)) == spec, "kernel": type(spec.signals[0].kernel).__name__}


print(run_all(work, [1], settings={}, progressbar=False)[1])
"""


@pytest.mark.slow
def test_a_kernel_of_the_script_is_known_in_the_processes(tmp_path):
    (tmp_path / "study.py").write_text(KERNEL)
    done = run(["study.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'same': True, 'kernel': 'Mine'}\n"


CACHED = """
import os
from functools import cache, lru_cache
from pathlib import Path
from regimelag.evaluation.parallel_runs import run_all


@cache
def prepared():
    Path(f"prepared by {os.getpid()}").touch(exist_ok=False)
    return 7


@lru_cache(maxsize=3)
def sized():
    return sized.cache_parameters()["maxsize"]


def work(number):
    return {"prepared": prepared(), "size": sized()}


print(*run_all(work, range(6), settings={}, progressbar=False).values())
"""


@pytest.mark.slow
def test_a_function_of_the_script_with_a_cache_keeps_it_from_run_to_run(tmp_path):
    (tmp_path / "study.py").write_text(CACHED)
    done = run(["study.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == " ".join(["{'prepared': 7, 'size': 3}"] * 6)


STUDIES = """
import sys
sys.path.insert(0, {tests!r})
from dataclasses import dataclass, replace
from typing import ClassVar
import regimelag as rl
from builders import hand_panel, small_spec
from regimelag.spec.kernels import KERNELS, Gamma

with open("begun", "a") as file:
    file.write("x")


@dataclass(frozen=True)
class Mine(Gamma):
    kind: ClassVar[str] = "mine"


def build(spec, panel):
    return rl.build_model(spec, panel)


KERNELS["mine"] = Mine
signal = rl.Signal("metal", "metal", kernel=Mine(mean_lag=2.0, mean_lag_sd=1.0, spread=1.0, spread_sd=0.5))
nothing = dict(drivers=(), controls=(), episodes=rl.spec.Episodes(), regimes=rl.spec.Regimes(count=1), family="normal")
spec = small_spec(signals=(signal,), **nothing)
panel = hand_panel(spec, 60)
few = dict(sampler=rl.Sampler(draws=60, tune=100, chains=2, starts=2), progressbar=False)
ranks = rl.evaluation.sbc(spec, panel, simulations=3, thinned=10, build=build, random_seed=1, **few)
checks = rl.robustness(spec, panel, **few)
frame = rl.example_panel(as_frame=True)
flagship = rl.read_spec("same_week_only")
scores = rl.evaluation.backtest(
    flagship, rl.make_panel(flagship, frame, start="2021-01-01"), start="2025-11-28", every=60, horizons=(1,), **few
)
print(ranks.attrs["failed"], checks["note"].str.startswith("failed").sum(), len(scores) > 0)
"""


@pytest.mark.long
@pytest.mark.slow
def test_every_study_runs_in_a_plain_script_with_a_kernel_of_its_own(tmp_path):
    (tmp_path / "study.py").write_text(STUDIES.format(tests=str(TESTS)))
    done = run(["study.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 0 True\n"
    assert (tmp_path / "begun").read_text() == "x"


# ---- what cannot be: at once, and with the cure


def test_what_cannot_be_pickled_is_said_before_anything_runs(tmp_path):
    with pytest.raises(rl.errors.FitError, match="cannot pickle") as caught:
        run_all(threading.Lock().acquire, range(4), settings={}, folder=tmp_path, progressbar=False)
    assert "ThreadPoolExecutor(1)" in caught.value.cure
    assert "same folder" in caught.value.cure


@pytest.mark.slow
def test_what_cannot_be_imported_elsewhere_is_said(monkeypatch, tmp_path):
    ghost = types.ModuleType("ghost")
    ghost.__spec__ = types.SimpleNamespace(name="ghost")
    exec("def work(number):\n    return {'number': number}", vars(ghost))
    monkeypatch.setitem(sys.modules, "ghost", ghost)
    with pytest.raises(rl.errors.FitError, match="No module named 'ghost'") as caught:
        run_all(ghost.work, range(50), settings={}, progressbar=False)
    assert "module that can be imported" in caught.value.cure
    # The other cure, carried out.
    with ThreadPoolExecutor(1) as pool:
        found = run_all(ghost.work, range(2), settings={}, executor=pool, progressbar=False)
    assert found == {0: {"number": 0}, 1: {"number": 1}}


OWN_POOL = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from regimelag.evaluation.parallel_runs import run_all

with open("begun", "a") as file:
    file.write("x")


def work(number):
    return {"number": number}


with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
    run_all(work, range(2), settings={}, executor=pool, progressbar=False)
"""


@pytest.mark.slow
def test_a_pool_of_the_callers_that_imports_the_script_is_told_of_the_guard(tmp_path):
    (tmp_path / "study.py").write_text(OWN_POOL)
    done = run(["study.py"], tmp_path)
    assert done.returncode == 1
    said = done.stderr.split("During handling")[0] + done.stderr
    assert "imports the script, and runs again what is not guarded" in said
    assert done.stderr.rstrip().endswith("too little memory")
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]
    # The cure, carried out.
    head, _, tail = OWN_POOL.partition("with ProcessPoolExecutor")
    guarded = f'if __name__ == "__main__":\n    with ProcessPoolExecutor{tail.replace(chr(10), chr(10) + "    ")}'
    (tmp_path / "study.py").write_text(f"{head}{guarded}")
    assert run(["study.py"], tmp_path).returncode == 0


@pytest.mark.parametrize("call", ["fit", "sample", "robustness", "sbc", "backtest"])
def test_nothing_is_computed_in_a_process_that_imports_the_script(monkeypatch, call, tiny, example, flagship):
    monkeypatch.setitem(sys.modules, "__mp_main__", types.ModuleType("__mp_main__"))
    monkeypatch.setattr("regimelag.sampling.fit.CompiledModel", lambda *_: pytest.fail("compiled"))
    calls = {
        "fit": lambda: rl.fit(*tiny[:2]),
        "sample": lambda: rl.sample(rl.build_model(*tiny[:2])),
        "robustness": lambda: rl.robustness(small_spec(), hand_panel(small_spec(), 60)),
        "sbc": lambda: rl.evaluation.sbc(*tiny[:2], random_seed=1),
        "backtest": lambda: rl.evaluation.backtest(flagship, example, start="2025-11-28"),
    }
    with pytest.raises(rl.errors.FitError, match="imports the script") as caught:
        calls[call]()
    assert 'if __name__ == "__main__":' in caught.value.cure


PYMC = """
import multiprocessing
import sys
multiprocessing.set_start_method(sys.argv[1])
import pymc as pm
import regimelag as rl
with open("begun", "a") as file:
    file.write("x")
with pm.Model() as model:
    pm.Normal("a")
few = dict(draws=20, tune=20, chains=2, cores=2, starts=2, random_seed=1, progressbar=False)
print(rl.sample(model, nuts_sampler="pymc", **few)["posterior"].sizes["draw"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_pymcs_own_processes_do_not_import_the_script_either(tmp_path, method):
    (tmp_path / "study.py").write_text(PYMC)
    done = run(["-W", "ignore", "study.py", method], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "20\n"
    assert (tmp_path / "begun").read_text() == "x"


# ---- processes end with the script


def alive(process):
    """Whether a process is there, and more than an entry that nobody asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true, seconds=600.0):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


SLEEPERS = """
import os
import signal
import sys
import time
from pathlib import Path
from regimelag.evaluation.parallel_runs import run_all

signal.signal(signal.SIGINT, signal.default_int_handler)


def work(number):
    Path(str(os.getpid())).touch()
    time.sleep(600)


run_all(work, range(6), settings={}, folder=sys.argv[1] if sys.argv[1:] else None, progressbar=False)
"""


@pytest.fixture
def sleepers(tmp_path):
    """Starts a study of runs that never end; returns the script's process and the numbers of its workers."""
    started = []

    def start(*arguments):
        # Under nohup the script would ignore SIGHUP.
        heard = "import signal\n\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        (tmp_path / "study.py").write_text(heard + SLEEPERS)
        notes = tmp_path / "notes"
        notes.mkdir()
        command = [sys.executable, str(tmp_path / "study.py"), *arguments]
        process = subprocess.Popen(command, cwd=notes, start_new_session=True, stderr=subprocess.PIPE, text=True)
        started.append(process)
        count = min(os.cpu_count(), 6)
        wait_until(lambda: len(list(notes.iterdir())) == count or process.poll() is not None)
        return process, [int(path.name) for path in notes.iterdir()]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_processes_end_when_the_script_is_killed(sleepers, name):
    process, workers = sleepers()
    assert workers
    assert all(alive(worker) for worker in workers)
    os.kill(process.pid, signal.Signals[name])
    process.wait(timeout=600)
    # They look every second.
    wait_until(lambda: not any(alive(worker) for worker in workers))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("with_folder", [False, True])
def test_ctrl_c_ends_what_runs_at_once_or_the_second_time(sleepers, tmp_path, with_folder):
    process, workers = sleepers(*([str(tmp_path / "study")] if with_folder else []))
    os.killpg(process.pid, signal.SIGINT)
    if with_folder:
        assert "Ctrl-C again" in [process.stderr.readline() for _ in range(2)][1]
        assert all(alive(worker) for worker in workers)
        os.killpg(process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=600)[1]
    assert not any(alive(worker) for worker in workers)


# ---- the executor itself


def test_an_answer_comes_back_and_what_is_kept_is_kept():
    pool = Workers(1)
    try:
        first, second = (pool.submit(os.getpid).result(timeout=600) for _ in range(2))
        assert first == second != os.getpid()
        assert pool.submit(json.loads, "[1, 2]").result(timeout=600) == [1, 2]
    finally:
        pool.shutdown()


def test_a_process_that_ends_is_said_with_the_signal():
    pool = Workers(1)
    try:
        with pytest.raises(WorkerDied, match="signal SIGKILL"):
            pool.submit(signal.raise_signal, signal.SIGKILL).result(timeout=600)
        with pytest.raises(WorkerDied):
            pool.submit(os.getpid).result(timeout=600)
    finally:
        pool.shutdown()


def test_what_cannot_be_sent_is_an_error_of_its_own():
    pool = Workers(1)
    with pytest.raises(SendingError):
        pool.submit(threading.Lock().acquire)
    pool.shutdown()


# ---- threads


def test_models_built_in_threads_leave_pytensor_as_it_was(tiny):
    """PyTensor changes its configuration for moments; of two threads at once, one left the changed one behind."""
    before = {name: getattr(pytensor.config, name) for name in ("cxx", "optdb__max_use_ratio")}
    interval = sys.getswitchinterval()
    # Threads take turns often, as they would in a long run.
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: rl.build_model(*tiny[:2]), range(8)))
        after = {name: getattr(pytensor.config, name) for name in before}
    finally:
        sys.setswitchinterval(interval)
        for name, value in before.items():
            setattr(pytensor.config, name, value)
    assert after == before


def test_one_fit_at_a_time_is_compiled(monkeypatch, tiny):
    inside, most = [], []

    def compiled(model):
        inside.append(model)
        most.append(len(inside))
        time.sleep(0.2)
        inside.pop()
        raise NotImplementedError("far enough")

    monkeypatch.setattr("regimelag.sampling.fit.CompiledModel", compiled)

    def attempt(_):
        with pytest.raises(NotImplementedError, match="far enough"):
            rl.fit(*tiny[:2], progressbar=False)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(attempt, range(3)))
    assert most == [1, 1, 1]


THREADS = """
import hashlib
import sys
sys.path.insert(0, {tests!r})
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import pytensor
import regimelag as rl
from builders import hand_panel, small_spec
spec = small_spec()
panel = hand_panel(spec, 60)
few = dict(draws=50, tune=80, chains=2, cores=1, starts=3, prior_draws=10, random_seed=5, progressbar=False)


def digest(_):
    posterior = rl.fit(spec, panel, **few)["posterior"].to_dataset()
    return hashlib.sha256(b"".join(posterior[name].to_numpy().tobytes() for name in sorted(posterior))).hexdigest()


before = pytensor.config.cxx
with ThreadPoolExecutor({threads}) as pool:
    found = {{*pool.map(digest, range({threads}))}}
print(*found | {{digest(0)}}, before == pytensor.config.cxx)
"""


@pytest.mark.long
@pytest.mark.slow
def test_draws_in_threads_are_those_of_a_fit_alone(tmp_path):
    """Compiled anew, since that is where threads meet, and a fit alone after them."""
    said = set()
    for threads in (1, 3):
        fresh = {
            "NUMBA_CACHE_DIR": str(tmp_path / f"numba{threads}"),
            "PYTENSOR_FLAGS": f"base_compiledir={tmp_path / f'pytensor{threads}'}",
        }
        script = THREADS.format(tests=str(TESTS), threads=threads)
        done = run(["-W", "ignore", "-c", script], tmp_path, env=os.environ | fresh)
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    assert len(said) == 1
    (text,) = said
    assert len(text.split()) == 2
    assert text.endswith("True\n")
