"""A model compiled once, through nutpie, for the search of modes and for the sampler."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import nutpie
import pymc as pm
import xarray as xr

_DOUBLES = ctypes.POINTER(ctypes.c_double)


def _pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(_DOUBLES)


class CompiledModel:
    """Log posterior and gradient on the unconstrained scale, starting points, and the way back to parameters.

    nutpie compiles two C functions. Calling them here too spares a second compilation for Python.

    Parameters
    ----------
    model : pymc.Model
        What to compile.
    """

    def __init__(self, model: pm.Model) -> None:
        self.compiled = nutpie.compile_pymc_model(model, default_initialization_strategy="prior")
        self.size: int = self.compiled.n_dim

    def value_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior, Jacobian included, and its gradient (parameter); both NaN where they are not finite."""
        point = np.ascontiguousarray(point, dtype=float)
        gradient, value = np.empty(self.size), np.empty(1)
        data = ctypes.c_void_p(self.compiled.user_data.ctypes.data)
        status = self.compiled.compiled_logp_func.ctypes(
            self.size, _pointer(point), _pointer(gradient), _pointer(value), data
        )
        return (float(value[0]), gradient) if status == 0 else (np.nan, np.full(self.size, np.nan))

    def on(self, panel: xr.Dataset) -> CompiledModel:
        """The same compiled model on another panel of the same spec and coordinates; its length in time may differ."""
        other = copy.copy(self)
        held = {variable.name: key for variable, key in self.compiled.shared_var_keys.items()}
        other.compiled = self.compiled.with_data(**{name: panel[name].to_numpy() for name in held if name in panel})
        return other

    def prior_point(self, seed: int) -> np.ndarray:
        """A draw from the prior on the unconstrained scale (parameter)."""
        return self.compiled.initial_point_func(seed)

    def constrained(self, point: np.ndarray) -> dict[str, np.ndarray]:
        """Values of all variables at a point of the unconstrained scale."""
        names, slices, shapes = self.compiled.shape_info
        point = np.ascontiguousarray(point, dtype=float)
        flat = np.empty(self.compiled.n_expanded)
        data = ctypes.c_void_p(self.compiled.user_data.ctypes.data)
        self.compiled.compiled_expand_func.ctypes(self.size, len(flat), _pointer(point), _pointer(flat), data)
        return {name: flat[part].reshape(shape) for name, part, shape in zip(names, slices, shapes, strict=True)}

    def started_by(self, start: Callable[[int], np.ndarray]) -> Any:
        """The model for nutpie's sampler, each chain starting where `start` says for that chain's seed."""
        return dataclasses.replace(
            self.compiled, initial_point_func=lambda seed: start(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        )
