"""Fit files that are cut, changed, or made by somebody else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import xarray as xr
from builders import hand_panel, prior_fit, small_spec

import regimelag as rl
from hostile.cases import Case
from regimelag.sampling.file_checks import HASHES

READINGS = {
    "diagnostics": rl.diagnostics,
    "effects": rl.effects,
    "lag_report": rl.lag_report,
    "lag_distribution": rl.lag_distribution,
    "regime_probabilities": rl.regime_probabilities,
    "regime_summary": rl.regime_summary,
    "driver_effects": rl.driver_effects,
    "forecast": lambda idata: rl.forecast(idata, horizon=3, random_seed=0),
    "verify": lambda idata: rl.verify(idata, rl.panel_of(idata)),
    "modes": rl.modes,
}


def original() -> xr.DataTree:
    """A fit whose draws are of the prior."""
    spec = small_spec()
    return prior_fit(spec, hand_panel(spec, 8, missing=[3]))


def written(folder: Path, tree: xr.DataTree) -> dict[str, Path]:
    """The fit in both formats, with and without our hashes."""
    files = {ending: rl.save_fit(tree, folder / f"fit.{ending}") for ending in ("nc", "zarr")}
    tree.to_netcdf(folder / "plain.nc", engine="h5netcdf")
    tree.to_zarr(folder / "plain.zarr", consolidated=False, zarr_format=3)
    return files | {"plain nc": folder / "plain.nc", "plain zarr": folder / "plain.zarr"}


def cases(folder: Path) -> Iterator[Case]:
    """Every damage to a copy of a file."""
    tree = original()
    files = written(folder, tree)

    def tried(area: str, name: str, file: Path, damage: Callable[[Path], None], **options: bool) -> Case:
        def call() -> str:
            copy = folder / "copies" / file.name
            _copied(file, copy)
            damage(copy)
            loaded = rl.load_fit(copy)
            return "" if HASHES not in rl_attrs(file) and not changed(tree, loaded) else judged(tree, loaded)

        return Case(area, name, call, **options)

    for name, (ending, damage, refused) in DAMAGES.items():
        for kind in ("nc", "zarr") if not ending else (ending,):
            yield tried("fit files", f"{name} ({kind})", files[kind], damage, refused=refused)
    for number in range(20):
        for kind in ("nc", "zarr"):
            yield tried("fit files", f"random bytes {number} ({kind})", files[kind], _random_bytes(number))
    for number in range(10):
        for kind in ("nc", "zarr"):
            yield tried("fit files", f"cut off {number} ({kind})", files[kind], _cut_off(number))
    # What readings import and compile is no part of a case.
    read_all(tree)
    for name, change in CHANGES.items():
        yield Case("fit files", f"tree {name}", lambda change=change: _read_changed(folder, tree, change))


def rl_attrs(file: Path) -> dict[str, object]:
    if file.suffix == ".nc":
        with h5py.File(file) as held:
            return dict(held.attrs)
    return json.loads((file / "zarr.json").read_text())["attributes"]


def _copied(file: Path, copy: Path) -> None:
    copy.parent.mkdir(exist_ok=True)
    if copy.is_dir() and not copy.is_symlink():
        shutil.rmtree(copy)
    copy.unlink(missing_ok=True)
    (shutil.copytree if file.is_dir() else shutil.copy)(file, copy)


def changed(tree: xr.DataTree, loaded: xr.DataTree) -> list[str]:
    """What of a loaded fit differs from what was saved."""
    groups = [name for name in tree.children if name not in loaded.children]
    groups += [
        name
        for name in loaded.children
        if name not in tree.children or not loaded[name].to_dataset().equals(tree[name].to_dataset())
    ]
    return groups + [name for name in tree.attrs if str(loaded.attrs.get(name)) != str(tree.attrs[name])]


def judged(tree: xr.DataTree, loaded: xr.DataTree) -> str:
    return f"loaded with other {', '.join(changed(tree, loaded))}" if changed(tree, loaded) else ""


def read_all(loaded: xr.DataTree) -> str:
    """Read a fit in every way: an error of ours or a result."""
    for name, reading in READINGS.items():
        try:
            reading(loaded)
        except rl.RegimelagError:
            continue
        except Exception as problem:
            return f"{name}: {type(problem).__name__}: {problem}"
    return ""


def _read_changed(folder: Path, tree: xr.DataTree, change: Callable[[xr.DataTree], xr.DataTree | None]) -> str:
    """A tree without our hashes, as another program writes it: refused, or read without a raw error."""
    other = tree.copy(deep=True)
    other = change(other) or other
    path = folder / "copies" / "theirs.nc"
    path.parent.mkdir(exist_ok=True)
    other.to_netcdf(path, engine="h5netcdf")
    wrong = read_all(rl.load_fit(path))
    if wrong:
        raise AssertionError(wrong)
    return ""


# ---- damages of files


def _random_bytes(number: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        rng = np.random.default_rng(number)
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        for file in rng.choice(files, min(3, len(files)), replace=False):
            held = bytearray(file.read_bytes())
            for place in rng.integers(0, len(held), max(1, len(held) // (200 if path.is_dir() else 5000))):
                held[place] = rng.integers(256)
            file.write_bytes(held)

    return damage


def _cut_off(number: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        rng = np.random.default_rng(number)
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        file = rng.choice(files)
        held = file.read_bytes()
        file.write_bytes(held[: rng.integers(0, len(held))])

    return damage


def _h5(change: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return damage


def _attr(name: str, value: object) -> Callable[[Path], None]:
    """Change an attribute of the file in either format; None deletes it."""

    def damage(path: Path) -> None:
        if path.suffix == ".nc":
            with h5py.File(path, "r+") as file:
                if value is None:
                    del file.attrs[name]
                else:
                    file.attrs[name] = value
            return
        meta = json.loads((path / "zarr.json").read_text())
        meta["attributes"].pop(name, None)
        if value is not None:
            meta["attributes"][name] = value
        (path / "zarr.json").write_text(json.dumps(meta, default=str))

    return damage


def _spec(old: str, new: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        held = str(rl_attrs(path)["spec"])
        assert old in held
        _attr("spec", held.replace(old, new))(path)

    return damage


def _replace(file: h5py.File, name: str, make: Callable[[h5py.File, str], object]) -> None:
    del file[name]
    make(file, name)


def _external_storage(file: h5py.File) -> None:
    shape = file["posterior/effect"].shape
    secret = Path(file.filename).with_name("secret.bin")
    secret.write_bytes(b"a secret file of somebody else's" * 1000)
    _replace(
        file,
        "posterior/effect",
        lambda f, n: f.create_dataset(n, shape, "f8", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]),
    )


def _external_link(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as held:
        held["effect"] = np.zeros(file["posterior/effect"].shape)
    _replace(file, "posterior/effect", lambda f, n: f.__setitem__(n, h5py.ExternalLink(str(other), "effect")))


def _virtual(file: h5py.File) -> None:
    other, shape = Path(file.filename).with_name("other.h5"), file["posterior/effect"].shape
    with h5py.File(other, "w") as held:
        held["effect"] = np.zeros(shape)
    layout = h5py.VirtualLayout(shape, "f8")
    layout[...] = h5py.VirtualSource(str(other), "effect", shape)
    _replace(file, "posterior/effect", lambda f, n: f.create_virtual_dataset(n, layout))


def _huge(size: int) -> Callable[[h5py.File], object]:
    return lambda file: file.create_dataset("posterior/huge", (1, size), "f8", chunks=(1, 2**16), compression="gzip")


def _zarr_json(place: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        file = path / place / "zarr.json"
        meta = json.loads(file.read_text())
        change(meta)
        file.write_text(json.dumps(meta))

    return damage


def _text(place: str, text: bytes) -> Callable[[Path], None]:
    return lambda path: (path / place).write_bytes(text)


def _gone(place: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        target = path / place
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return damage


def _out_of_the_folder(path: Path) -> None:
    secret = path.with_name("secret.bin")
    chunk = next(file for file in sorted((path / "posterior" / "effect" / "c").rglob("*")) if file.is_file())
    secret.write_bytes(chunk.read_bytes())
    chunk.unlink()
    chunk.symlink_to(secret)


def _cycle(file: h5py.File) -> None:
    file["posterior/again"] = file["/posterior"]


GROUPS = ("posterior", "prior", "observed_data", "constant_data", "one_step_ahead", "log_prior", "posterior_predictive")
# Name: format (both if empty), damage, whether an error is the only right answer.
DAMAGES: dict[str, tuple[str, Callable[[Path], None], bool]] = {
    "external storage": ("nc", _h5(_external_storage), True),
    "external link": ("nc", _h5(_external_link), True),
    "virtual dataset": ("nc", _h5(_virtual), True),
    "soft link to nowhere": ("nc", _h5(lambda f: f.__setitem__("posterior/soft", h5py.SoftLink("/nowhere"))), True),
    "a group that contains itself": ("nc", _h5(_cycle), True),
    "8 TB of zeros": ("nc", _h5(_huge(10**12)), True),
    "40 GB of zeros": ("nc", _h5(_huge(5 * 10**9)), True),
    "8 TB of fill values": (
        "zarr",
        _zarr_json("posterior/effect", lambda meta: meta.update(shape=[10**6, 10**6, 1])),
        True,
    ),
    "a negative shape": ("zarr", _zarr_json("posterior/effect", lambda meta: meta.update(shape=[-1, 6, 1])), True),
    "pickled objects": (
        "zarr",
        _zarr_json("posterior/effect", lambda meta: meta.update(codecs=[{"name": "numcodecs.pickle"}])),
        True,
    ),
    "an unknown codec": (
        "zarr",
        _zarr_json("posterior/effect", lambda meta: meta.update(codecs=[{"name": "none.such"}])),
        True,
    ),
    "metadata of 200,000 brackets": ("zarr", _text("zarr.json", b"[" * 200_000), True),
    "metadata of a list": ("zarr", _text("zarr.json", b"[]"), True),
    "empty metadata": ("zarr", _text("zarr.json", b""), True),
    "metadata that are no text": ("zarr", _text("zarr.json", bytes(range(128, 256))), True),
    "empty metadata of an array": ("zarr", _text("posterior/effect/zarr.json", b""), True),
    "a chunk that leads out of the folder": ("zarr", _out_of_the_folder, True),
    "missing chunks": ("zarr", _gone("posterior/effect/c"), True),
    "missing chunks of the data": ("zarr", _gone("observed_data/response_value/c"), True),
    "missing chunks of dates": ("zarr", _gone("observed_data/time/c"), True),
    "missing array": ("zarr", _gone("posterior/effect"), True),
    "missing metadata": ("zarr", _gone("zarr.json"), True),
    "missing names": ("zarr", _gone("posterior/response/c"), True),
    "empty": ("nc", lambda path: path.write_bytes(b""), True),
    "text": ("nc", lambda path: path.write_text("a text of somebody's"), True),
    "a folder": ("nc", lambda path: (path.unlink(), path.mkdir()), True),
    "a file": ("zarr", lambda path: (shutil.rmtree(path), path.write_text("x")), True),
    "an empty folder": ("zarr", lambda path: (shutil.rmtree(path), path.mkdir()), True),
    "a dangling link": ("nc", lambda path: (path.unlink(), path.symlink_to("nowhere")), True),
    "a link to itself": ("nc", lambda path: (path.unlink(), path.symlink_to(path.name)), True),
    "a named pipe": ("nc", lambda path: (path.unlink(), os.mkfifo(path)), True),
    "another NetCDF file": (
        "nc",
        lambda path: (path.unlink(), xr.Dataset({"a": 1}).to_netcdf(path, engine="h5netcdf")),
        True,
    ),
    "a changed draw": ("nc", _h5(lambda f: f["posterior/effect"].__setitem__((0, 0), 7.0)), True),
    "a NaN draw": ("nc", _h5(lambda f: f["posterior/effect"].__setitem__((0, 0), np.nan)), True),
    "a changed response": ("nc", _h5(lambda f: f["observed_data/response_value"].__setitem__((0, 0), 7.0)), True),
    "a changed date": ("nc", _h5(lambda f: f["observed_data/time"].__setitem__(0, -700)), True),
    "a changed name": ("nc", _h5(lambda f: f["posterior/response"].__setitem__(0, "other")), True),
    "a changed episode": ("nc", _h5(lambda f: f["constant_data/episode_index"].__setitem__(0, 1)), True),
    "an added variable": ("nc", _h5(lambda f: f.create_dataset("posterior/more", data=1.0)), True),
    "a renamed variable": ("nc", _h5(lambda f: f.move("posterior/effect", "posterior/effects")), True),
    "another dtype": (
        "nc",
        _h5(lambda f: _replace(f, "posterior/log_scale", lambda g, n: g.__setitem__(n, [b"a", b"b"]))),
        True,
    ),
    **{f"without {group}": ("", lambda path, group=group: _without(path, group), True) for group in GROUPS},
    "without format": ("", _attr("regimelag_format", None), True),
    "a newer format": ("", _attr("regimelag_format", 99), True),
    "format 0": ("", _attr("regimelag_format", 0), True),
    "format -1": ("", _attr("regimelag_format", -1), True),
    "format as text": ("", _attr("regimelag_format", "1"), True),
    "format 1.5": ("", _attr("regimelag_format", 1.5), True),
    "without spec": ("", _attr("spec", None), True),
    "spec of a number": ("", _attr("spec", 7), True),
    "spec of nothing": ("", _attr("spec", ""), True),
    "spec of void": ("nc", _attr("spec", np.void(b"abc")), True),
    "spec of bytes": ("nc", _attr("spec", np.bytes_(b"\xff\xfe")), True),
    "spec of brackets": ("", _attr("spec", "a = " + "[" * 50_000), True),
    "spec with another max_lag": ("", _spec("max_lag = 4", "max_lag = 3"), True),
    "spec with more regimes": ("", _spec("count = 2", "count = 3"), True),
    "spec with another signal": ("", _spec('"metal"', '"other"'), True),
    "spec with a huge max_lag": ("", _spec("max_lag = 4", "max_lag = 1000000000"), True),
    "panel_attrs cut": ("", _attr("panel_attrs", "{"), True),
    "panel_attrs of a number": ("", _attr("panel_attrs", 5), True),
    "panel_attrs of a list": ("", _attr("panel_attrs", "[]"), True),
    "without panel_attrs": ("", _attr("panel_attrs", None), True),
    "versions cut": ("", _attr("versions", "{"), True),
    "versions of a list": ("", _attr("versions", "[]"), True),
    "without versions": ("", _attr("versions", None), True),
    "without panel hash": ("", _attr("panel_sha256", None), True),
    "hashes cut": ("", _attr(HASHES, "{"), True),
    "hashes of a number": ("", _attr(HASHES, 3), True),
    "hashes of a list": ("", _attr(HASHES, "[1]"), True),
    "hashes of a group that is none": ("", _attr(HASHES, '{"none": "x"}'), True),
    "stored diagnostics cut": ("", _attr("diagnostics", "{"), True),
    "another number of chains": ("", _attr("predictive_seed", 99), True),
}


def _without(path: Path, group: str) -> None:
    if path.suffix == ".nc":
        _h5(lambda file: file.__delitem__(group))(path)
    else:
        shutil.rmtree(path / group)


# ---- changes of a tree that another program writes


def _set(tree: xr.DataTree, group: str, change: Callable[[xr.Dataset], xr.Dataset]) -> None:
    tree[group] = xr.DataTree(change(tree[group].to_dataset()))


def _dropped(group: str) -> Callable[[xr.DataTree], None]:
    return lambda tree: tree.__delitem__(group)


def _without_variable(group: str, name: str) -> Callable[[xr.DataTree], None]:
    return lambda tree: _set(tree, group, lambda data: data.drop_vars(name))


def _with_attr(name: str, value: object) -> Callable[[xr.DataTree], None]:
    def change(tree: xr.DataTree) -> None:
        if value is None:
            del tree.attrs[name]
        else:
            tree.attrs[name] = value

    return change


def _with_spec(old: str, new: str) -> Callable[[xr.DataTree], None]:
    def change(tree: xr.DataTree) -> None:
        assert old in tree.attrs["spec"]
        tree.attrs["spec"] = tree.attrs["spec"].replace(old, new)

    return change


def _filled(group: str, name: str, value: float) -> Callable[[xr.DataTree], None]:
    def change(data: xr.Dataset) -> xr.Dataset:
        return data.assign({name: data[name] * 0 + value})

    return lambda tree: _set(tree, group, change)


POSTERIOR = ("effect", "intercept", "log_scale", "log_scale_gap", "stay_log_odds", "driver_effect", "control_effect")
CHANGES: dict[str, Callable[[xr.DataTree], xr.DataTree | None]] = {
    "unchanged": lambda tree: None,
    **{f"without {group}": _dropped(group) for group in GROUPS},
    **{f"without posterior/{name}": _without_variable("posterior", name) for name in POSTERIOR},
    **{f"without prior/{name}": _without_variable("prior", name) for name in POSTERIOR},
    **{
        f"without constant_data/{name}": _without_variable("constant_data", name)
        for name in ("signal_value", "driver_value", "control_value", "episode_index", "response_scale", "driver_date")
    },
    "without the response": _without_variable("observed_data", "response_value"),
    "without one_step_ahead's values": _without_variable("one_step_ahead", "response_value"),
    **{
        f"{group}/{name} of {value}": _filled(group, name, value)
        for group, name in (("posterior", "effect"), ("posterior", "log_scale"), ("prior", "effect"))
        for value in (np.nan, np.inf, -np.inf, 1e300, -1e300)
    },
    **{
        f"{name} of {value}": _filled("constant_data", name, value)
        for name in ("signal_value", "driver_value", "response_scale", "signal_scale")
        for value in (np.nan, np.inf, 0.0, -1.0)
    },
    "an infinite response": _filled("observed_data", "response_value", np.inf),
    "no response observed": _filled("observed_data", "response_value", np.nan),
    "another max_lag": _with_spec("max_lag = 4", "max_lag = 3"),
    "a larger max_lag": _with_spec("max_lag = 4", "max_lag = 40"),
    "a huge max_lag": _with_spec("max_lag = 4", "max_lag = 1000000000"),
    "more regimes": _with_spec("count = 2", "count = 3"),
    "one regime": _with_spec("count = 2", "count = 1"),
    "another signal": _with_spec('"metal"', '"other"'),
    "another driver": _with_spec('"yield"', '"other"'),
    "another frequency": _with_spec('"W-FRI"', '"D"'),
    "another episode": _with_spec('"late"', '"later"'),
    "panel_attrs cut": _with_attr("panel_attrs", "{"),
    "panel_attrs of a list": _with_attr("panel_attrs", "[]"),
    "panel_attrs of a number": _with_attr("panel_attrs", 3),
    "without panel_attrs": _with_attr("panel_attrs", None),
    "versions cut": _with_attr("versions", "{"),
    "versions of a list": _with_attr("versions", "[]"),
    "without versions": _with_attr("versions", None),
    "without panel hash": _with_attr("panel_sha256", None),
    "without created_at": _with_attr("created_at", None),
    "stored diagnostics cut": _with_attr("diagnostics", "{"),
    "relabelled cut": _with_attr("relabelled", "{"),
    "stacked cut": _with_attr("stacked", "{"),
    "chains of a text": _with_attr("chains", "four"),
    "draws_kept of a text": _with_attr("draws_kept", "four"),
    "half of the rows": lambda tree: tree.isel(time=slice(4), missing_dims="ignore"),
    "half of the signals' rows": lambda tree: tree.isel(signal_time=slice(4), missing_dims="ignore"),
    "no rows": lambda tree: tree.isel(time=slice(0), missing_dims="ignore"),
    "one chain": lambda tree: tree.isel(chain=[0], missing_dims="ignore"),
    "no chain": lambda tree: tree.isel(chain=slice(0), missing_dims="ignore"),
    "a chain chosen by number": lambda tree: tree.isel(chain=0, missing_dims="ignore"),
    "one draw": lambda tree: tree.isel(draw=[0], missing_dims="ignore"),
    "no draws": lambda tree: tree.isel(draw=slice(0), missing_dims="ignore"),
    "one regime selected": lambda tree: tree.isel(regime=[0], missing_dims="ignore"),
    "an episode selected": lambda tree: tree.isel(episode=[0], missing_dims="ignore"),
    "a response without a label": lambda tree: tree.isel(response=0, missing_dims="ignore"),
    "rows reversed": lambda tree: tree.isel(time=slice(None, None, -1), missing_dims="ignore"),
    "chains of the posterior alone": lambda tree: _set(tree, "posterior", lambda data: data.isel(chain=[0])),
    "draws of the posterior alone": lambda tree: _set(tree, "posterior", lambda data: data.isel(draw=[0, 1])),
    "posterior of another order": lambda tree: _set(
        tree, "posterior", lambda data: data.transpose(..., "chain", "draw")
    ),
    "posterior of float32": lambda tree: _set(tree, "posterior", lambda data: data.astype("float32")),
    "posterior of whole numbers": lambda tree: _set(tree, "posterior", lambda data: data.astype("int64")),
    "posterior of text": lambda tree: _set(
        tree, "posterior", lambda data: data.assign(effect=data["effect"].astype(str))
    ),
}
