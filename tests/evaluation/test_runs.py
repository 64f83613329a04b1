"""Studies of many runs: what is done is kept, what is missing is run, what breaks is mended or said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

import regimelag as rl
from regimelag.evaluation import parallel_runs
from regimelag.evaluation.parallel_runs import code_hash, run_all, seed_of_study

SETTINGS = {"size": 3, "spec": "name = 'a'"}


def noted(folder: Path, number: int) -> dict:
    """Note the run in a file, one line per time it is run."""
    with (folder / f"{number}.runs").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return {"number": number, "square": number**2}


def times(folder: Path) -> dict[int, int]:
    return {int(file.stem): len(file.read_text().splitlines()) for file in folder.glob("*.runs")}


def raises_at_two(folder: Path, number: int) -> dict:
    if number == 2:
        raise ZeroDivisionError("as asked")
    return noted(folder, number)


def dies_once(folder: Path, number: int) -> dict:
    """The process dies with run 5, the first time."""
    if number == 5 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return noted(folder, number)


def dies(folder: Path, number: int) -> dict:
    """The process dies with run 5, once the results of the others are kept."""
    if number == 5:
        deadline = time.monotonic() + 600
        while len(list((folder.parent / "study").glob("0*.json"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    return noted(folder, number)


def slow(folder: Path, number: int) -> dict:
    time.sleep(0.2)
    return noted(folder, number)


@pytest.fixture
def quiet(tmp_path):
    (tmp_path / "notes").mkdir()
    options = {"settings": SETTINGS, "folder": tmp_path / "study", "progressbar": False}
    return tmp_path / "notes", options


@pytest.mark.slow
def test_results_come_in_order_and_an_error_is_a_result(quiet):
    notes, options = quiet
    found = run_all(partial(raises_at_two, notes), [3, 1, 2, 0], **options)
    assert list(found) == [3, 1, 2, 0]
    assert found[3] == {"number": 3, "square": 9}
    assert found[2] == {"error": "ZeroDivisionError: as asked"}


def test_a_second_call_runs_what_is_missing(quiet):
    notes, options = quiet
    with ThreadPoolExecutor(2) as pool:
        first = run_all(partial(noted, notes), range(4), executor=pool, **options)
        kept = {file.name: file.stat().st_mtime_ns for file in options["folder"].iterdir()}
        second = run_all(partial(noted, notes), range(6), executor=pool, **options)
        assert pool.submit(int).result() == 0
    assert {number: second[number] for number in first} == first
    assert times(notes) == dict.fromkeys(range(6), 1)
    after = {file.name: file.stat().st_mtime_ns for file in options["folder"].iterdir()}
    assert kept.items() <= after.items()


def fails_until(folder: Path, number: int) -> dict:
    """Run 2 fails until there is a file that says that the cause is gone."""
    if number == 2 and not (folder / "mended").exists():
        noted(folder, number)
        raise OSError(28, "No space left on device")
    return noted(folder, number)


def test_a_run_that_failed_is_tried_again_and_no_other(quiet):
    notes, options = quiet
    with ThreadPoolExecutor(1) as pool:
        calls = [run_all(partial(fails_until, notes), range(4), executor=pool, **options) for _ in range(2)]
        assert all(found[2] == {"error": "OSError: [Errno 28] No space left on device"} for found in calls)
        (notes / "mended").touch()
        for _ in range(2):
            assert run_all(partial(fails_until, notes), range(4), executor=pool, **options)[2]["square"] == 4
    assert times(notes) == {0: 1, 1: 1, 2: 3, 3: 1}


DAMAGES = {
    "empty": b"",
    "cut off": b'{"key": "ab',
    "a list": b"[]",
    "a number": b"7",
    "without a result": b'{"key": "ab"}',
    "a result of another kind": b'{"key": "ab", "result": 3}',
    "no text": bytes(range(128, 256)),
    "deep": b"[" * 200_000,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_its_run_done_again(quiet, damage):
    notes, options = quiet
    with ThreadPoolExecutor(1) as pool:
        first = run_all(partial(noted, notes), range(3), executor=pool, **options)
        file = options["folder"] / "000001.json"
        file.write_bytes(DAMAGES[damage])
        with pytest.warns(UserWarning, match=r"000001\.json is damaged: it is now 000001\.json\.damaged, and run 1"):
            assert run_all(partial(noted, notes), range(3), executor=pool, **options) == first
    assert times(notes) == {0: 1, 1: 2, 2: 1}
    assert file.with_name("000001.json.damaged").read_bytes() == DAMAGES[damage]


@pytest.mark.parametrize("damage", ["empty", "cut off", "a list", "no text", "deep"])
def test_damaged_settings_are_set_aside_and_no_run_done_again(quiet, damage):
    notes, options = quiet
    file = options["folder"] / "settings.json"
    with ThreadPoolExecutor(1) as pool:
        first = run_all(partial(noted, notes), range(3), executor=pool, **options)
        file.write_bytes(DAMAGES[damage])
        # Other settings are known by the runs, and do not take the folder over.
        for _ in range(2):
            with pytest.raises(rl.errors.FitError, match=r"000000\.json was made with others"):
                run_all(partial(noted, notes), range(3), executor=pool, **(options | {"settings": {"size": 4}}))
            file.unlink(missing_ok=True)
        file.write_bytes(DAMAGES[damage])
        with pytest.warns(UserWarning, match=r"settings\.json is damaged: it is now settings\.json\.damaged"):
            assert run_all(partial(noted, notes), range(3), executor=pool, **options) == first
    assert file.with_name("settings.json.damaged").read_bytes() == DAMAGES[damage]
    assert times(notes) == dict.fromkeys(range(3), 1)


def test_a_folder_that_is_none_is_an_error_with_a_cure(quiet):
    notes, options = quiet
    options["folder"].write_text("a file")
    with pytest.raises(rl.errors.FitError, match="File exists") as caught:
        run_all(partial(noted, notes), range(3), **options)
    assert "choose another path" in caught.value.cure
    options["folder"].unlink()
    (options["folder"] / "000001.json").mkdir(parents=True)
    with pytest.raises(rl.errors.FitError, match="Is a directory"):
        run_all(partial(noted, notes), range(3), **options)
    assert times(notes) == {}


def test_a_full_disk_keeps_what_is_done_and_is_said(quiet, monkeypatch):
    notes, options = quiet
    write = Path.write_bytes

    def write_bytes(self, content):
        if "000002" in self.name:
            write(self, content[:5])
            raise OSError(28, "No space left on device", str(self))
        return write(self, content)

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(rl.errors.FitError, match="No space left") as caught:
            run_all(partial(noted, notes), range(4), executor=pool, **options)
        assert "free some space" in caught.value.cure
        assert "what is done is kept" in caught.value.cure
        assert sorted(file.name for file in options["folder"].iterdir())[:3] == [
            "000000.json",
            "000001.json",
            "settings.json",
        ]
        monkeypatch.undo()
        found = run_all(partial(noted, notes), range(4), executor=pool, **options)
    assert [result["square"] for result in found.values()] == [0, 1, 4, 9]
    assert {times(notes)[number] for number in (0, 1)} == {1}


def test_results_are_the_same_with_and_without_a_folder(quiet):
    notes, options = quiet
    with ThreadPoolExecutor(1) as pool:
        kept = run_all(partial(noted, notes), range(2), executor=pool, **options)
        plain = run_all(partial(noted, notes), range(2), executor=pool, settings=SETTINGS, progressbar=False)
    assert kept == plain


def test_a_folder_of_other_settings_is_refused(quiet):
    notes, options = quiet
    with ThreadPoolExecutor(1) as pool:
        run_all(partial(noted, notes), range(1), executor=pool, **options)
        other = options | {"settings": SETTINGS | {"size": 4}}
        with pytest.raises(rl.errors.FitError, match="size: 3, now 4"):
            run_all(partial(noted, notes), range(1), executor=pool, **other)
        # A result that was copied in from elsewhere is refused as well.
        stray = options["folder"] / "000001.json"
        stray.write_text(json.dumps({"key": "another", "result": {}}))
        with pytest.raises(rl.errors.FitError, match=r"000001\.json"):
            run_all(partial(noted, notes), range(2), executor=pool, **options)


@pytest.mark.parametrize(("number", "cure"), [(None, "name another folder"), (2, "install a newer regimelag")])
def test_a_folder_of_another_format_is_refused(quiet, number, cure):
    notes, options = quiet
    file = options["folder"] / "settings.json"
    with ThreadPoolExecutor(1) as pool:
        run_all(partial(noted, notes), range(1), executor=pool, **options)
        held = json.loads(file.read_text())
        assert held.pop("regimelag_format") == 1
        file.write_text(json.dumps(held if number is None else held | {"regimelag_format": number}))
        with pytest.raises(rl.errors.FitError, match="it is of format 1") as caught:
            run_all(partial(noted, notes), range(1), executor=pool, **options)
    assert caught.value.cure.startswith(cure)
    assert times(notes) == {0: 1}


@pytest.mark.slow
def test_a_pool_of_our_own_is_made_anew_when_a_process_dies(quiet):
    notes, options = quiet
    found = run_all(partial(dies_once, notes), range(12), **options)
    assert [result["square"] for result in found.values()] == [number**2 for number in range(12)]
    assert (notes / "died").exists()


@pytest.mark.slow
def test_a_run_that_always_kills_its_process_is_given_up_in_words(quiet):
    notes, options = quiet
    with pytest.raises(rl.errors.FitError, match="kept in") as raised:
        run_all(partial(dies, notes), range(6), **options)
    assert "SIGKILL" in raised.value.came
    assert "too little memory" in raised.value.cure
    assert {int(file.stem) for file in options["folder"].glob("0*.json")} == {0, 1, 2, 3, 4}
    assert times(notes) == dict.fromkeys(range(5), 1)


def leaves(number: int) -> dict:
    os._exit(3)


@pytest.mark.slow
def test_a_process_that_ends_by_itself_is_not_put_down_to_memory():
    with pytest.raises(rl.errors.FitError, match="exit status 3") as raised:
        run_all(leaves, range(1), settings=SETTINGS, progressbar=False)
    assert "standard error" in raised.value.cure
    assert "memory" not in raised.value.cure


@pytest.mark.slow
def test_an_executor_of_the_caller_is_not_replaced(quiet):
    notes, options = quiet
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(rl.errors.FitError, match="5 of 6"),
    ):
        run_all(partial(dies, notes), range(6), executor=pool, **options)
    found = run_all(partial(noted, notes), range(6), **options)
    assert len(found) == 6
    assert times(notes) == dict.fromkeys(range(6), 1)


SCRIPT = """
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
sys.path[:0] = [{tests!r}, str(Path({tests!r}).parent)]
from test_runs import SETTINGS, run_all, slow
if __name__ == "__main__":
    # A shell's background job, such as a runner of tests may be, begins with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_all(partial(slow, Path({notes!r})), range(40), settings=SETTINGS, folder={folder!r})
"""


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_done(quiet, tmp_path):
    notes, options = quiet
    folder, script = options["folder"], tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), notes=str(notes), folder=str(folder)))
    with subprocess.Popen(
        [sys.executable, str(script)], start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as process:
        while len(list(folder.glob("0*.json"))) < 3 and process.poll() is None:
            time.sleep(0.05)
        # As Ctrl-C in a terminal: to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=600)[1]
    assert "KeyboardInterrupt" in said
    assert "of 40 runs, 0 failed" in said
    done = {int(file.stem) for file in folder.glob("0*.json")}
    assert 3 <= len(done) < 40
    # What had begun was waited for.
    assert done == set(times(notes))
    before = times(notes)
    found = run_all(partial(slow, notes), range(max(done) + 1), **options)
    assert len(found) == max(done) + 1
    assert all(times(notes)[number] == before[number] for number in done)


def test_a_study_knows_the_code_that_its_numbers_depend_on(tmp_path, monkeypatch):
    copy = tmp_path / "regimelag"
    shutil.copytree(Path(parallel_runs.__file__).parents[1], copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_hash()
    monkeypatch.setattr(parallel_runs, "__file__", str(copy / "evaluation" / "parallel_runs.py"))
    assert code_hash() == before
    for unrelated in ("plots/lags.py", "reporting/page.py", "fetch/fred.py"):
        (copy / unrelated).write_text("", encoding="utf-8")
    assert code_hash() == before
    for file in ("spec/kernels.py", "panel/slicing.py", "model/build.py", "evaluation/calibration/sbc.py"):
        last = code_hash()
        (copy / file).write_text("", encoding="utf-8")
        assert code_hash() != last


def test_a_study_without_a_seed_goes_on_with_that_of_its_folder(tmp_path):
    """A new seed would be another setting: the call that an interruption asks for would be refused."""
    seed = seed_of_study("study", tmp_path, None)
    assert seed != seed_of_study("study", tmp_path, None)
    with ThreadPoolExecutor(1) as pool:
        run_all(int, range(1), settings={"random_seed": seed}, folder=tmp_path, executor=pool, progressbar=False)
    assert seed_of_study("study", tmp_path, None) == seed
    assert seed_of_study("study", tmp_path, 5) == 5
    assert seed_of_study("study", None, None) != seed
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(rl.errors.FitError, match="random_seed"):
            seed_of_study("study", tmp_path, wrong)
