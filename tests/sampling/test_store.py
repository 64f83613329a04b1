"""Fits, reports and specs on the disk: what a full disk, a foreign file, a link, a kill or a lost piece leaves."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from builders import hand_panel, prior_fit, small_spec

import regimelag as rl
from regimelag.runtime import files
from regimelag.runtime.files import atomic_replace, recover, remove_leftovers, write_whole
from regimelag.spec.toml import write_spec

ENDINGS = ["nc", pytest.param("zarr", marks=pytest.mark.slow)]
TESTS = Path(__file__).parents[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def marked(tree, number):
    """The same fit with another number in it."""
    other = tree.copy()
    other.attrs["random_seed"] = number
    return other


@pytest.fixture
def full(monkeypatch):
    """A disk that takes one file and half of the next one."""
    written, write = [], Path.write_bytes

    def write_bytes(self, content):
        if not written:
            written.append(self)
            return write(self, content)
        write(self, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    def fill(after=0):
        written.extend([] if after else [None])
        monkeypatch.setattr(Path, "write_bytes", write_bytes)

    return fill


# ---- a full disk


@pytest.mark.parametrize(("ending", "after"), [("nc", 0), ("zarr", 0), ("zarr", 1)])
def test_a_full_disk_leaves_the_old_fit_and_the_one_in_memory(tiny, tmp_path, ending, after, full, monkeypatch):
    tree = tiny[2]
    path = rl.save_fit(marked(tree, 1), tmp_path / f"fit.{ending}")
    full(after)
    with pytest.raises(rl.errors.FitError, match="No space left") as caught:
        rl.save_fit(marked(tree, 2), path, overwrite=True)
    assert "free some space" in caught.value.cure
    assert "still in memory" in caught.value.cure
    monkeypatch.undo()
    assert rl.load_fit(path).attrs["random_seed"] == 1
    assert names(tmp_path) == [path.name]
    # The cure, carried out.
    assert rl.load_fit(rl.save_fit(marked(tree, 2), path, overwrite=True)).attrs["random_seed"] == 2


def test_a_full_disk_leaves_no_half_spec(tmp_path, full):
    spec = rl.read_spec("btc_silver")
    path = write_spec(spec, tmp_path / "spec.toml")
    full()
    with pytest.raises(rl.errors.SpecError, match="No space left"):
        write_spec(rl.read_spec("point_lag"), path, overwrite=True)
    assert rl.read_spec(path) == spec
    assert names(tmp_path) == ["spec.toml"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_disk_that_is_really_full(idata, small_disk, tmp_path, ending):
    """In this process, which HDF5 would end."""
    tree = idata.copy()
    # Noise, which cannot be compressed.
    noise = np.random.default_rng(1).standard_normal((2, 200, 6000))
    tree["noise"] = xr.DataTree(xr.Dataset({"noise": (("chain", "draw", "place"), noise)}))
    for _ in range(2):
        with pytest.raises(rl.errors.FitError, match="No space left"):
            rl.save_fit(tree, small_disk / f"fit.{ending}")
        assert names(small_disk) == []
    assert rl.load_fit(rl.save_fit(tree, tmp_path / f"fit.{ending}"))["noise"].identical(tree["noise"])


@pytest.mark.slow
def test_a_report_on_a_full_disk(idata, small_disk):
    (small_disk / "filler").write_bytes(bytes(11_800_000))
    with pytest.raises(rl.errors.FitError, match="No space left") as caught:
        rl.report(idata, small_disk / "report")
    assert "free some space" in caught.value.cure
    assert names(small_disk) == ["filler"]
    (small_disk / "filler").unlink()
    assert rl.report(idata, small_disk / "report").is_file()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_path_that_cannot_be_written_is_an_error_with_a_cure(tiny, tmp_path, ending):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(rl.errors.FitError, match="choose another path"):
        rl.save_fit(tiny[2], tmp_path / "file" / f"fit.{ending}")
    with pytest.raises(rl.errors.FitError, match="choose another path"):
        rl.report(tiny[2], tmp_path / "file" / "report")


# ---- foreign files


def work_in(folder):
    folder.mkdir(parents=True)
    (folder / "chapter.txt").write_text("years of work")


def foreign_file(path):
    path.write_text("years of work")


def foreign_hdf5(path):
    with h5py.File(path, "w") as file:
        file["temperature"] = np.arange(3.0)


def foreign_zarr(path):
    xr.Dataset({"temperature": ("x", np.arange(3.0))}).to_zarr(path, consolidated=False)


FOREIGN = {
    "a folder of another kind": ("fit.zarr", work_in),
    "a folder with the ending of a file": ("fit.nc", work_in),
    "a text": ("fit.nc", foreign_file),
    "another's HDF5": ("fit.nc", foreign_hdf5),
    "another's Zarr": ("fit.zarr", foreign_zarr),
    "a file with the ending of a folder": ("fit.zarr", foreign_file),
}


def content(path):
    return {file: file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_fit_is_not_replaced(tiny, tmp_path, kind):
    name, make = FOREIGN[kind]
    make(tmp_path / name)
    before = content(tmp_path)
    with pytest.raises(rl.errors.FitError, match="what is replaced is a fit") as caught:
        rl.save_fit(tiny[2], tmp_path / name, overwrite=True)
    assert "move or delete it" in caught.value.cure
    assert content(tmp_path) == before


@pytest.mark.slow
def test_a_fit_with_somebodys_notes_in_it_is_not_replaced(tiny, tmp_path):
    path = rl.save_fit(tiny[2], tmp_path / "fit.zarr")
    (path / ".DS_Store").write_bytes(b"a file manager's")
    rl.save_fit(tiny[2], path, overwrite=True)
    for place in ("notes.txt", "posterior/c/0/draft"):
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        (path / place).write_text("years of work")
        with pytest.raises(rl.errors.FitError, match=Path(place).name):
            rl.save_fit(tiny[2], path, overwrite=True)
        # The cure, carried out.
        (path / place).rename(tmp_path / "moved")
        rl.save_fit(tiny[2], path, overwrite=True)


def test_an_empty_folder_may_be_replaced(tiny, tmp_path):
    (tmp_path / "fit.zarr").mkdir()
    assert rl.load_fit(rl.save_fit(tiny[2], tmp_path / "fit.zarr", overwrite=True)).attrs["spec"]


@pytest.fixture(scope="module")
def page(idata, tmp_path_factory):
    return rl.report(idata, tmp_path_factory.mktemp("reports") / "written")


@pytest.fixture
def written(page, tmp_path):
    return Path(shutil.copytree(page.parent, tmp_path / "report"))


@pytest.mark.parametrize("name", ["report.html", "index.html"])
def test_a_folder_of_another_tool_is_not_replaced(idata, tmp_path, name):
    work_in(tmp_path / "project")
    (tmp_path / "project" / name).write_text("page of another tool")
    before = content(tmp_path)
    with pytest.raises(rl.errors.FitError, match="choose another folder"):
        rl.report(idata, tmp_path / "project", overwrite=True)
    assert content(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("place", ["notes.txt", "figures/mine.png", ".git/HEAD"])
def test_a_report_with_somebodys_files_in_it_is_not_replaced(idata, written, place):
    (written / place).parent.mkdir(exist_ok=True)
    (written / place).write_text("years of work")
    before = content(written)
    with pytest.raises(rl.errors.FitError, match=Path(place).name):
        rl.report(idata, written, overwrite=True)
    assert content(written) == before


@pytest.mark.slow
def test_a_report_that_was_changed_is_not_replaced(idata, written):
    (written / "model.tex").write_text("edited for the paper")
    (written / "figures" / "link").symlink_to(written)
    with pytest.raises(rl.errors.FitError, match=r"figures/link, model\.tex"):
        rl.report(idata, written, overwrite=True)


@pytest.mark.slow
def test_a_report_alone_is_replaced(idata, written):
    (written / ".DS_Store").write_bytes(b"a file manager's")
    before = (written / "report.html").stat().st_ino
    rl.report(idata, written, overwrite=True)
    assert (written / "report.html").stat().st_ino != before
    assert names(written.parent) == ["report"]


# ---- links


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_lies_behind_a_link_is_replaced_and_the_link_stays(tiny, tmp_path, ending):
    (tmp_path / "archive").mkdir()
    real = rl.save_fit(tiny[2], tmp_path / "archive" / f"of_june.{ending}")
    link = tmp_path / f"latest.{ending}"
    link.symlink_to(real)
    assert rl.save_fit(marked(tiny[2], 7), link, overwrite=True) == link
    assert link.is_symlink()
    assert rl.load_fit(real).attrs["random_seed"] == rl.load_fit(link).attrs["random_seed"] == 7
    assert names(tmp_path / "archive") == [real.name]


@pytest.mark.slow
def test_a_report_behind_a_link(idata, written, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(written)
    assert rl.report(idata, link, overwrite=True) == link / "report.html"
    assert link.is_symlink()
    empty = tmp_path / "empty"
    (tmp_path / "place").mkdir()
    empty.symlink_to(tmp_path / "place")
    rl.report(idata, empty)
    assert (tmp_path / "place" / "report.html").is_file()


# ---- killed while it wrote

DEAD = 2**22 + 1  # above the largest number of a process on Linux


def left_behind(target, kind, *, machine=None, process=DEAD, token="0123abcd"):
    return target.with_name(f".{target.name}.{machine or files._machine()}-{process}-{token}.{kind}")


def test_the_new_one_is_put_in_its_place_where_both_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SWAP", 0.1)
    target = tmp_path / "fit.zarr"
    for kind in ("old", "part"):
        left_behind(target, kind).mkdir()
        (left_behind(target, kind) / "which").write_text(kind)
    with pytest.warns(UserWarning, match="the new one is there now"):
        recover(target)
    assert (target / "which").read_text() == "part"
    with pytest.warns(UserWarning, match=r"removed \.fit\.zarr"):
        remove_leftovers(target)
    assert names(tmp_path) == ["fit.zarr"]


def test_the_old_one_comes_back_where_it_is_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SWAP", 0.1)
    target = tmp_path / "fit.zarr"
    left_behind(target, "old", machine="another").mkdir()
    with pytest.warns(UserWarning, match="the old one is there now"):
        recover(target)
    assert names(tmp_path) == ["fit.zarr"]


def test_what_lives_or_is_of_another_is_not_removed(tmp_path):
    target = tmp_path / "fit.nc"
    kept = [
        left_behind(target, "part", process=os.getpid()),
        left_behind(target, "part", machine="another"),
        left_behind(tmp_path / "fit", "part"),
        left_behind(tmp_path / "other.nc", "part"),
        tmp_path / ".fit.nc.part",
    ]
    gone = left_behind(target, "part")
    for path in (*kept, gone):
        path.write_text("half")
    with pytest.warns(UserWarning, match="removed"):
        remove_leftovers(target)
    assert names(tmp_path) == sorted(path.name for path in kept)


def test_a_failed_swap_brings_the_old_one_back(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    replace = Path.replace

    def fails(self, other):
        if self.suffix == ".part":
            raise PermissionError(errno.EACCES, "as asked")
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(PermissionError), atomic_replace(target) as part:
        (part / "new").touch()
    assert names(target) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_a_file_is_replaced_whole(tmp_path):
    write_whole(tmp_path / "a", b"1")
    write_whole(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert names(tmp_path) == ["a"]


DIES = """
import os
import re
import shutil
import sys
from pathlib import Path
from regimelag.runtime.files import atomic_replace

left = int(sys.argv[2])


def dying(call):
    def counted(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*arguments, **options)

    return counted


Path.replace, shutil.rmtree = dying(Path.replace), dying(shutil.rmtree)
with atomic_replace(Path(sys.argv[1])) as part:
    (part / "which").write_text("new")
"""


def test_a_replacement_can_be_killed_before_each_of_its_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SWAP", 0.1)
    target, found = tmp_path / "fit.zarr", []
    for steps in range(10):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        (target / "which").write_text("old")
        code = subprocess.run([sys.executable, "-c", DIES, str(target), str(steps)], check=False).returncode
        if code == 0:
            break
        assert code == 9
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recover(target)
            found.append((target / "which").read_text())
            remove_leftovers(target)
        assert names(tmp_path) == ["fit.zarr"]
    # Before the old one is moved aside, before the new one is moved in, before the old one is removed, and after.
    assert found == ["old", "new", "new", "new"]
    assert code == 0
    assert (target / "which").read_text() == "new"


SAVES = """
import itertools
import sys
sys.path.insert(0, {tests!r})
import regimelag as rl
tree = rl.load_fit({first!r})
print("ready", flush=True)
for number in itertools.count(1):
    tree.attrs["random_seed"] = number
    rl.save_fit(tree, {path!r}, overwrite=True)
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fit_survives_a_kill_at_any_moment(tiny, tmp_path, ending):
    """Some kills hit the swap: there the fit would be gone, had the old one been removed first."""
    first = rl.save_fit(tiny[2], tmp_path / "first.nc")
    (tmp_path / "fits").mkdir()
    path = rl.save_fit(tiny[2], tmp_path / "fits" / f"fit.{ending}")
    rng = np.random.default_rng()
    script = SAVES.format(tests=str(TESTS), first=str(first), path=str(path))
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.0, 2.0))
            os.kill(process.pid, signal.SIGKILL)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "SWAP", 0.1)
            assert rl.spec_of(rl.load_fit(path)) == tiny[0]
    rl.save_fit(tiny[2], path, overwrite=True)
    assert names(path.parent) == [path.name]


# ---- a file of another version


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_without_a_format_is_of_version_0_1_0_and_the_cure_reads_it(tiny, tmp_path, ending):
    path, old = tmp_path / f"old.{ending}", tiny[2].copy()
    del old.attrs["regimelag_format"]
    (old.to_netcdf if ending == "nc" else old.to_zarr)(path)
    with pytest.raises(rl.errors.FitError, match=r"no regimelag_format, as version 0\.1\.0 wrote") as caught:
        rl.load_fit(path)
    read = re.search(r"xarray\.open_datatree\(.*?\)", caught.value.cure)[0]
    with eval(read, {"xarray": xr}) as held:
        assert set(held.children) == set(tiny[2].children)
        assert "effect" in held["posterior"]
        spec = tmp_path / "spec.toml"
        spec.write_text(held.attrs["spec"])
    assert rl.read_spec(spec) == tiny[0]
    # A fit that is made anew may take its place.
    rl.save_fit(tiny[2], path, overwrite=True)
    assert rl.load_fit(path).attrs["regimelag_format"] == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_of_a_newer_format_asks_for_a_newer_version(tiny, tmp_path, ending):
    newer = tiny[2].copy()
    newer.attrs |= {"regimelag_format": 2, "spec": "a spec of that version"}
    (newer.to_netcdf if ending == "nc" else newer.to_zarr)(tmp_path / f"newer.{ending}")
    with pytest.raises(rl.errors.FitError, match="format 2, of a newer version") as caught:
        rl.load_fit(tmp_path / f"newer.{ending}")
    assert caught.value.cure == "install a newer regimelag: pip install --upgrade regimelag"


# ---- a file of which a part is lost


def test_a_zarr_fit_without_a_piece_is_refused_by_name(tiny, tmp_path):
    path = rl.save_fit(tiny[2], tmp_path / "fit.zarr")
    shutil.rmtree(path / "posterior" / "effect" / "c")
    with pytest.raises(rl.errors.FitError, match=r"group posterior differs \(effect: 12 of 12\)") as caught:
        rl.load_fit(path)
    assert "copy the file again" in caught.value.cure


def test_a_fit_of_another_program_without_a_piece_is_refused(tiny, tmp_path):
    tiny[2].to_zarr(tmp_path / "theirs.zarr", consolidated=False)
    shutil.rmtree(tmp_path / "theirs.zarr" / "posterior" / "effect" / "c")
    with pytest.raises(rl.errors.FitError, match=r"NaN or infinite: effect: 12 of 12"):
        rl.load_fit(tmp_path / "theirs.zarr")


def test_a_zarr_fit_without_a_group_is_refused_by_name(tiny, tmp_path):
    path = rl.save_fit(tiny[2], tmp_path / "fit.zarr")
    shutil.rmtree(path / "one_step_ahead")
    with pytest.raises(rl.errors.FitError, match="group one_step_ahead is missing"):
        rl.load_fit(path)


def test_a_netcdf_fit_with_another_number_is_refused(tiny, tmp_path):
    path = rl.save_fit(tiny[2], tmp_path / "fit.nc")
    with h5py.File(path, "r+") as file:
        file["posterior/effect"][0, 0] += 1e-9
    with pytest.raises(rl.errors.FitError, match="group posterior differs"):
        rl.load_fit(path)


def test_a_fit_that_was_changed_in_memory_can_be_saved_and_loaded(tiny, tmp_path):
    loaded = rl.load_fit(rl.save_fit(tiny[2], tmp_path / "fit.nc"))
    del loaded["prior_predictive"]
    again = rl.load_fit(rl.save_fit(loaded, tmp_path / "fit.nc", overwrite=True))
    assert "prior_predictive" not in again.children
    assert not {name for name in again.attrs if "sha256" in name} - {"panel_sha256"}
    # By xarray alone as well.
    again.to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    assert rl.load_fit(tmp_path / "theirs.nc").attrs["spec"] == tiny[2].attrs["spec"]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_names_that_are_numbers_and_roles_without_series_are_no_changes(tmp_path, ending):
    """An empty array has another type when it is read, and a text array is one of objects."""
    episodes = rl.spec.Episodes(starts=(dt.date(2020, 1, 25),), names=("1", "2"))
    spec = small_spec(drivers=(), controls=(), episodes=episodes)
    tree = prior_fit(spec, hand_panel(spec, 30), draws=4)
    stats = {"message": np.full((2, 4), None, dtype=object), "diverging": np.zeros((2, 4), dtype=bool)}
    tree["sample_stats"] = xr.DataTree(xr.Dataset({name: (("chain", "draw"), one) for name, one in stats.items()}))
    assert rl.spec_of(rl.load_fit(rl.save_fit(tree, tmp_path / f"fit.{ending}"))) == spec


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_file_is_an_error_with_a_cure(tiny, tmp_path, ending):
    """Bytes changed at random: an error of ours, or nothing that matters was hit."""
    path = rl.save_fit(tiny[2], tmp_path / f"fit.{ending}")
    whole = content(path)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(6):
        for file, held in whole.items():
            changed = bytearray(held)
            for place in rng.integers(0, len(changed), max(1, len(changed) // 2000)):
                changed[place] = rng.integers(256)
            file.write_bytes(changed)
        try:
            loaded = rl.load_fit(path)
        except rl.RegimelagError:
            refused += 1
        else:
            assert loaded["posterior"].identical(rl.load_fit(path)["posterior"])
        for file, held in whole.items():
            file.write_bytes(held)
    assert refused > 2
    assert json.loads(rl.load_fit(path).attrs["versions"])


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_a_fit_is_saved_beside_a_client_of_a_cluster(tiny, tmp_path, ending):
    """xarray asks the cluster for the lock of a file; of one in memory the cluster knows nothing."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        loaded = rl.load_fit(rl.save_fit(tiny[2], tmp_path / f"fit.{ending}"))
    xr.testing.assert_equal(loaded["posterior"].to_dataset(), tiny[2]["posterior"].to_dataset())
