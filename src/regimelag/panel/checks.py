"""Checks of a panel against a spec, and the hash of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError, SpecError
from regimelag.panel.aligned_series import episode_rows, parts
from regimelag.panel.frame_checks import truncate_list
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import spec_from_toml

# Correlation above which a covariate counts as the lagged response, up to rounding.
SAME = 0.999
REMAKE = "make the panel anew with make_panel(spec, frame, ...)"


def check_spec(spec: object, asked: str) -> None:
    """Refuse anything but a ModelSpec."""
    if not isinstance(spec, ModelSpec):
        cure = "use read_spec, or ModelSpec(...)"
        raise PanelError(asked, "the first argument is a ModelSpec", f"a {type(spec).__name__}", cure)


def check_made(panel: object, asked: str, *, holds: Iterable[str] = ()) -> None:
    """Refuse anything but an xarray.Dataset with these variables."""
    rule = "the panel is an xarray.Dataset from make_panel"
    if not isinstance(panel, xr.Dataset):
        raise PanelError(asked, rule, f"a {type(panel).__name__}", REMAKE)
    absent = [name for name in holds if name not in panel.data_vars]
    if absent:
        raise PanelError(asked, rule, f"a Dataset without {truncate_list(absent)}", REMAKE)


def check_panel(spec: ModelSpec, panel: xr.Dataset) -> None:
    """Check that a panel fits a spec.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        The data, from `make_panel`.

    Raises
    ------
    PanelError
        If variables, dimensions, names, episodes, or the history of signals and responses differ from what the spec
        requires, times do not ascend, a covariate is missing or infinite, or the panel was made with other columns,
        transforms or delays.
    """
    check_spec(spec, "a panel that fits a spec")
    asked = f"a panel that fits the model {spec.name!r}"
    check_made(panel, asked)
    _check_layout(spec, panel, asked)
    _check_names(spec, panel, asked)
    _check_times(spec, panel, asked)
    _check_history(spec, panel, asked)
    _check_standing(spec, panel, asked)
    _check_episodes(spec, panel, asked)
    for role in parts(spec):
        _check_values(panel, role, asked)
    _check_beyond(spec, panel, asked)
    _check_origin(spec, panel, asked)


def _layout(spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    """Dimensions of every variable of a panel."""
    layout: dict[str, tuple[str, ...]] = {nm.EPISODE_INDEX: (nm.TIME,), nm.DRIVER_DATE: (nm.TIME, nm.DRIVER)}
    for role in (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL):
        layout[nm.value_of(role)] = (spec.time_of(role), role)
        layout[nm.center_of(role)] = layout[nm.scale_of(role)] = (role,)
    return layout


def _check_layout(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    for name, dims in _layout(spec).items():
        came = f"dimensions {panel[name].dims}" if name in panel.data_vars else "no such variable"
        if name not in panel.data_vars or panel[name].dims != dims:
            raise PanelError(asked, f"variable {name!r} has dimensions {dims}", came, REMAKE)
        absent = [dim for dim in dims if dim not in panel.coords]
        if absent:
            raise PanelError(asked, "every dimension has a coordinate", f"none for {truncate_list(absent)}", REMAKE)
    if nm.EPISODE not in panel.coords:
        raise PanelError(asked, "episodes are named by a coordinate", f"no coordinate {nm.EPISODE!r}", REMAKE)


def _check_names(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    for role, members in parts(spec).items():
        wanted = [series.name for series in members]
        held = [str(name) for name in panel[role].to_numpy()]
        if held != wanted:
            rule = f"the panel's {role}s are the spec's, in its order: {wanted}"
            raise PanelError(asked, rule, str(held), f"{REMAKE}, or use the spec that it was made with")


def _check_times(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    time, reach = panel[nm.TIME].to_numpy(), panel[nm.SIGNAL_TIME].to_numpy()
    for name, dates in ((nm.TIME, time), (nm.SIGNAL_TIME, reach)):
        if not len(dates) or dates.dtype.kind != "M" or not _ascend(dates):
            came = f"{len(dates)} values of {dates.dtype}"
            raise PanelError(asked, f"{name!r} holds at least one date, ascending", came, REMAKE)
    history = len(reach) - len(time)
    if history != spec.history or not np.array_equal(reach[history:], time):
        rule = f"signals cover the window and the {spec.history} rows before it, which max_lag and the kernels ask for"
        came = f"{len(time)} rows in the window, {len(reach)} rows of signals from {pd.Timestamp(reach[0]).date()} on"
        raise PanelError(asked, rule, came, f"{REMAKE}: the history follows from the spec")


def _check_history(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    """Check that the history of the responses has the length of the autoregression."""
    held = panel.get(nm.RESPONSE_HISTORY)
    if held is None and not spec.autoregression:
        return
    wanted = list(range(1, spec.autoregression + 1))
    known = held is not None and held.dims == (nm.OWN_LAG, nm.RESPONSE) and nm.OWN_LAG in panel.coords
    if not known or panel[nm.OWN_LAG].to_numpy().tolist() != wanted:
        came = "none" if held is None else f"dimensions {dict(held.sizes)}"
        rule = f"responses have {spec.autoregression} rows of history, which autoregression asks for"
        raise PanelError(asked, rule, came, REMAKE)
    if np.isinf(panel[nm.RESPONSE_HISTORY].to_numpy()).any():
        raise PanelError(asked, "responses before the window are finite or missing (NaN)", "infinite", REMAKE)


def _check_standing(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    """Check that drivers have the row before the window that moderators and indicators need."""
    if not (spec.moderators or spec.indicators):
        return
    held = panel.get(nm.DRIVER_HISTORY)
    if held is None or held.dims != (nm.DRIVER,) or not np.isfinite(held.to_numpy()).all():
        came = "none" if held is None else f"dimensions {dict(held.sizes)}, {held.to_numpy().tolist()}"
        rule = f"{nm.DRIVER_HISTORY!r} ({nm.DRIVER}) has the drivers of the row before the window, for moderators"
        raise PanelError(asked, rule, came, REMAKE)


def _ascend(dates: np.ndarray[Any, Any]) -> bool:
    index = pd.DatetimeIndex(dates)
    return bool(index.is_monotonic_increasing and index.is_unique and not index.hasnans)


def _check_episodes(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    index, labels = episode_rows(spec, pd.DatetimeIndex(panel[nm.TIME].to_numpy()))
    held = tuple(str(label) for label in panel[nm.EPISODE].to_numpy())
    if held != labels or not np.array_equal(panel[nm.EPISODE_INDEX].to_numpy(), index):
        rule = f"episodes are the spec's, as far as they have rows in the window: {list(labels)}"
        came = f"{list(held)}" if held != labels else "the same episodes with other rows"
        raise PanelError(asked, rule, came, REMAKE)


def _check_values(panel: xr.Dataset, role: str, asked: str) -> None:
    values = panel[nm.value_of(role)]
    matrix = np.asarray(values, dtype=float)
    bad = np.isinf(matrix) if role == nm.RESPONSE else ~np.isfinite(matrix)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        came = f"{role} {panel[role].to_numpy()[column]!s} is {matrix[row, column]} on "
        came += f"{pd.Timestamp(panel[values.dims[0]].to_numpy()[row]).date()}, one of {bad.sum()} such values"
        rule = f"{role}s are finite or missing (NaN)" if role == nm.RESPONSE else f"{role}s are finite on every row"
        raise PanelError(asked, rule, came, f"correct the data and {REMAKE}")
    scale, center = (np.asarray(panel[name(role)], dtype=float) for name in (nm.scale_of, nm.center_of))
    if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
        rule = f"{nm.center_of(role)!r} and {nm.scale_of(role)!r} are finite, and scales are above zero"
        raise PanelError(asked, rule, f"{center.tolist()} and {scale.tolist()}", REMAKE)


def _check_beyond(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    """Check that orthogonalised signals, and no others, have slopes; hand-made panels may have none."""
    if nm.BEYOND_SLOPE not in panel.data_vars:
        return
    held = panel[nm.BEYOND_SLOPE]
    wanted = [bool(signal.beyond) for signal in spec.signals]
    if held.dims != (nm.SIGNAL,) or np.isfinite(held.to_numpy()).tolist() != wanted:
        rule = f"{nm.BEYOND_SLOPE!r} ({nm.SIGNAL}) is finite for the signals beyond another column, and NaN for others"
        raise PanelError(asked, rule, f"{held.to_numpy().tolist()} over {held.dims}", REMAKE)


def panel_spec(panel: xr.Dataset, asked: str) -> ModelSpec:
    """Spec stored in a panel; refuse a panel without one."""
    if not isinstance(panel, xr.Dataset) or "spec" not in panel.attrs:
        came = "no attribute 'spec'" if isinstance(panel, xr.Dataset) else f"a {type(panel).__name__}"
        raise PanelError(asked, "the argument is a panel from make_panel", came, REMAKE)
    return spec_from_toml(panel.attrs["spec"], where="the panel's attribute 'spec'")


def _check_origin(spec: ModelSpec, panel: xr.Dataset, asked: str) -> None:
    """Compare the panel's stored spec with the spec; hand-made panels may have none."""
    if "spec" not in panel.attrs:
        return
    try:
        made = panel_spec(panel, asked)
    except SpecError as problem:
        raise PanelError(asked, "the attribute 'spec' holds a spec as TOML", str(problem.came), REMAKE) from problem
    if made.frequency != spec.frequency:
        raise PanelError(asked, f"rows have frequency {spec.frequency!r}", f"{made.frequency!r}", REMAKE)
    for role, members in parts(spec).items():
        for now, then in zip(members, parts(made)[role], strict=False):
            changed = [
                f"{key} = {getattr(then, key)!r}, now {getattr(now, key)!r}"
                for key in ("name", "column", "transform", "periods", "delay", "against", "beyond", "dated")
                if getattr(now, key, "") != getattr(then, key, "")
            ]
            if changed:
                rule = "the panel was made with the spec's columns, transforms and delays"
                raise PanelError(asked, rule, f"{role} {now.name!r} was made with {'; '.join(changed)}", REMAKE)


def lagged_response_covariates(spec: ModelSpec, panel: xr.Dataset) -> list[str]:
    """Names of covariates made from a response's column, and of controls equal to a response one row before."""
    columns = {response.column for response in spec.responses}
    levels = [response.level_columns for response in spec.responses]
    own = {
        series.name
        for series in (*spec.signals, *spec.drivers, *spec.controls)
        if series.column in columns or any(level <= set(series.columns) for level in levels)
    }
    past = panel[nm.RESPONSE_VALUE].to_numpy()[:-1]
    for control in panel[nm.CONTROL].to_numpy():
        value = panel[nm.CONTROL_VALUE].sel({nm.CONTROL: control}).to_numpy()[-len(past) :]
        for column in past.T:
            both = np.isfinite(column) & np.isfinite(value)
            if both.sum() > 2 and abs(np.corrcoef(column[both], value[both])[0, 1]) > SAME:  # noqa: PLR2004
                own.add(str(control))
    return sorted(own)


def panel_hash(panel: xr.Dataset) -> str:
    """SHA-256 of the names, dimensions and values of all variables and coordinates.

    It does not depend on attributes, the order of variables, or the encoding of text and dates in a file format, so it
    survives saving and loading.

    Parameters
    ----------
    panel : xarray.Dataset
        A panel.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(str(name) for name in panel.variables):
        variable = panel.variables[name]
        digest.update(f"{name}{variable.dims}{variable.shape}".encode())
        digest.update(_canonical(variable.to_numpy()))
    return digest.hexdigest()


def constants_hash(panel: xr.Dataset) -> str:
    """SHA-256 of a panel's constants: centres, scales and slopes, by name of the series."""
    roles = (nm.RESPONSE, nm.SIGNAL, nm.DRIVER, nm.CONTROL)
    names = [of(role) for role in roles for of in (nm.center_of, nm.scale_of)]
    return panel_hash(panel[[*names, *(name for name in (nm.BEYOND_SLOPE,) if name in panel.data_vars)]])


def _canonical(values: np.ndarray[Any, Any]) -> bytes:
    """Canonical bytes of an array: fixed byte order and width, one NaN, one zero, text in UTF-8."""
    if values.size == 0:
        return b""
    if values.dtype.kind == "M":
        return values.astype("datetime64[ns]").astype("<i8").tobytes()
    if values.dtype.kind in "iub":
        return values.astype("<i8").tobytes()
    if values.dtype.kind == "f":
        plain = values.astype("<f8") + 0.0
        return np.where(np.isnan(plain), np.nan, plain).astype("<f8").tobytes()
    return b"".join(len(text).to_bytes(8, "little") + text for text in (str(item).encode() for item in values.ravel()))


def named_series(asked: str, panel: xr.Dataset, role: str, name: str | None) -> str:
    """Name of the series of a role that is asked for, or of the only one."""
    held = [str(each) for each in panel[role].to_numpy()]
    if name is None and len(held) == 1:
        return held[0]
    if not isinstance(name, str) or name not in held:
        came = "none was named" if name is None else f"{role} = {name!r}"
        cure = f"write {role}={held[0]!r}" if held else f"add a {role} to the spec, and make the panel with that spec"
        raise PanelError(asked, f"the panel holds the {role}: one of {held}", came, cure)
    return name
