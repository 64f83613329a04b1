"""A model compiled once, for the search of modes and for the sampler.

PyTensor compiles the log posterior and its gradient to one numba function. nutpie needs a C function of a vector and a
pointer to data. Its own compiler builds one in each process, which takes longer than sampling, so the C function is
built here and cached on disk by PyTensor. Variables are transformed to their own scale after sampling, for all draws at
once, so that only the log posterior is compiled.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import math
import uuid
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
from llvmlite.binding import Linkage
from numba import types
from numba.core.ccallback import CFunc
from nutpie.compile_pymc import CompiledPyMCModel, address_as_void_pointer
from pymc.initial_point import make_initial_point_fn
from pytensor.graph import clone_replace, rewrite_graph
from pytensor.graph.replace import vectorize_graph
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS, compile_numba_function_src
from pytensor.tensor.math import variadic_add

from regimelag.errors import FitError
from regimelag.model.build import AS_IS, RegimeModel
from regimelag.runtime.caches import explain_caches
from regimelag.runtime.process import keep_freed_memory
from regimelag.runtime.versions import another, install_command
from regimelag.spec import names as nm

POINT = "unconstrained_point"
_DOUBLES = ctypes.POINTER(ctypes.c_double)
_DOUBLE_POINTER = types.CPointer(types.double)
# Signatures that nutpie calls: (size, point, gradient, value, data) and (size, expanded size, point, expanded, data).
_LOGP = types.int64(types.uint64, _DOUBLE_POINTER, _DOUBLE_POINTER, _DOUBLE_POINTER, types.voidptr)
_EXPAND = types.int64(types.uint64, types.uint64, _DOUBLE_POINTER, _DOUBLE_POINTER, types.voidptr)
# Return value of the C function if the log posterior or its gradient is not finite.
NOT_FINITE = 3


def _pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(_DOUBLES)


def _table(data: Mapping[str, np.ndarray]) -> np.ndarray:
    """Addresses and shapes of the data arrays."""
    return np.array([n for values in data.values() for n in (values.ctypes.data, *values.shape)], dtype=np.int64)


class CompiledModel:
    """Log posterior and gradient on the unconstrained scale, starting points, and the map to parameters.

    Parameters
    ----------
    model : pymc.Model
        The model to compile.
    """

    def __init__(self, model: pm.Model) -> None:
        self.model = model
        keep_freed_memory()
        # Tracebacks of the graph's variables are a tenth of what a compiled model takes to load.
        with explain_caches(), pytensor.config.change_flags(traceback__limit=0):
            self._compile(model)

    def _compile(self, model: pm.Model) -> None:
        self._prior_point = make_initial_point_fn(model=model, default_strategy="prior", return_transformed=True)
        self._values = [model.rvs_to_values[rv] for rv in model.free_RVs]
        point = self._prior_point(0)
        self._shapes = [np.shape(point[value.name]) for value in self._values]
        self.size = int(sum(np.prod(shape, dtype=int) for shape in self._shapes))
        function = self._log_posterior_and_gradient()
        shared = enumerate(function.get_shared())
        held = {v.name or f"shared {n}": np.asarray(v.get_value(), order="C") for n, v in shared}
        self._logp = _as_c_function(function.vm.jit_fn, self.size, list(held.values()))
        self.data, self.table = held, _table(held)
        self._variables = self._back_from_points()

    def pieces(self, points: Any) -> list[Any]:
        """Values of the free variables in points (..., parameter)."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in self._shapes])
        lead = points.shape[:-1] if points.ndim > 1 else ()
        return [
            points[..., end - int(np.prod(shape, dtype=int)) : end].reshape((*lead, *shape))
            for shape, end in zip(self._shapes, ends, strict=True)
        ]

    def _log_posterior_and_gradient(self) -> Any:
        rewrites = ["canonicalize", "stabilize"]
        if not self.model.check_bounds:
            rewrites.append("local_remove_check_parameter")
        value = rewrite_graph(_log_posterior(self.model), include=rewrites)
        gradients = pt.grad(value, self._values)
        gradient = pt.concatenate([each.reshape((-1,)) for each in gradients])
        point = pt.vector(POINT, shape=(self.size,))
        replaced = dict(zip(self._values, self.pieces(point), strict=True))
        value, gradient = clone_replace([value, gradient], replaced)
        with self.model:
            return pm.pytensorf.compile([point], [value, gradient], mode="NUMBA")

    def _back_from_points(self) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        """Function from points (draw, parameter) to free variables and deterministics, in PyTensor's Python mode."""
        names = {variable.name for variable in (*self.model.free_RVs, *self.model.deterministics)}
        variables = [variable for variable in self.model.unobserved_value_vars if variable.name in names]
        point, points = pt.vector(shape=(self.size,)), pt.matrix(shape=(None, self.size))
        found = clone_replace(variables, dict(zip(self._values, self.pieces(point), strict=True)))
        back = pytensor.function([points], vectorize_graph(found, replace={point: points}), mode=AS_IS)
        ordered = [str(variable.name) for variable in variables]
        return lambda values: dict(zip(ordered, back(values), strict=True))

    def value_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior including the Jacobian, and its gradient (parameter); both NaN if not finite."""
        point = np.ascontiguousarray(point, dtype=float)
        gradient, value = np.empty(self.size), np.empty(1)
        data = ctypes.c_void_p(self.table.ctypes.data)
        status = self._logp.ctypes(self.size, _pointer(point), _pointer(gradient), _pointer(value), data)
        return (float(value[0]), gradient) if status == 0 else (np.nan, np.full(self.size, np.nan))

    def on(self, data: Mapping[str, np.ndarray]) -> CompiledModel:
        """The same compiled model with other data of the same dimensions; the length in time may differ."""
        other = copy.copy(self)
        other.data = {name: np.asarray(data[name], dtype=held.dtype, order="C") for name, held in self.data.items()}
        other.table = _table(other.data)
        return other

    def prior_point(self, seed: int) -> np.ndarray:
        """A draw from the prior on the unconstrained scale (parameter)."""
        drawn = self._prior_point(seed)
        return np.concatenate([np.ravel(drawn[value.name]) for value in self._values])

    def constrained(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Values (..., *variable) of free variables and deterministics at points (..., parameter)."""
        lead = np.shape(points)[:-1]
        found = self._variables(np.reshape(points, (-1, self.size)))
        return {name: values.reshape((*lead, *values.shape[1:])) for name, values in found.items()}

    def point(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Point on the unconstrained scale (parameter) for values of the free variables."""
        return self.points({name: np.asarray(value)[None] for name, value in values.items()})[0]

    def points(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Points (draw, parameter) on the unconstrained scale for draws (draw, *variable) of the free variables."""
        return self._to_points(*(values[rv.name] for rv in self.model.free_RVs))

    @cached_property
    def _to_points(self) -> Callable[..., np.ndarray]:
        """Function from draws of the free variables to points, in PyTensor's Python mode; built at first use."""
        free = self.model.free_RVs
        given = [rv.type(name=rv.name) for rv in free]
        transforms = [self.model.rvs_to_transforms[rv] for rv in free]
        moved = [
            value if transform is None else transform.forward(value, *rv.owner.inputs)
            for rv, value, transform in zip(free, given, transforms, strict=True)
        ]
        moved = clone_replace(moved, dict(zip(free, given, strict=True)))
        sizes = [int(np.prod(shape, dtype=int)) for shape in self._shapes]
        point = pt.concatenate([value.reshape((size,)) for value, size in zip(moved, sizes, strict=True)])
        many = {one: pt.tensor(dtype=one.type.dtype, shape=(None, *one.type.shape)) for one in given}
        points = vectorize_graph(point, replace=many)
        return pytensor.function(list(many.values()), points, mode=AS_IS, on_unused_input="ignore")

    def started_by(self, start: Callable[[int], np.ndarray]) -> CompiledPyMCModel:
        """The model for nutpie's sampler. Each chain starts at ``start`` of that chain's seed.

        The sampler stores points on the unconstrained scale, as the variable `POINT`.
        """
        with explain_caches():
            expand = _copy()
        parts = {
            "dims": {POINT: ("unconstrained_parameter",)},
            "_n_dim": self.size,
            "_coords": {"unconstrained_parameter": pd.RangeIndex(self.size)},
            "_shapes": {POINT: (self.size,)},
            "compiled_logp_func": self._logp,
            "compiled_expand_func": expand,
            "initial_point_func": lambda seed: start(int(np.random.SeedSequence(seed).generate_state(1)[0])),
            "shared_data": self.data,
            "shared_var_keys": {},
            "user_data": self.table,
            "n_expanded": self.size,
            "shape_info": ([POINT], [slice(0, self.size)], [(self.size,)]),
            "logp_func": None,
            "expand_func": None,
            "reparameterized_names": [],
        }
        try:
            return CompiledPyMCModel(**parts)
        except TypeError as problem:
            raise FitError(
                "sampling with nutpie",
                "CompiledPyMCModel, which is private to nutpie, has the parameters of the versions that were tested",
                f"nutpie {version('nutpie')}: {problem}",
                f"run this in a shell, then restart Python: {install_command([another('nutpie')])}",
            ) from problem


def _log_posterior(model: pm.Model) -> Any:
    """Log posterior on the unconstrained scale.

    For a model of `build_model` the likelihood is the node of that name. PyMC would rewrite the parameters of the
    observed variable first, with results that differ in the last bit, and draws for a seed would depend on its version.
    """
    terms = model.logp(sum=False)
    if isinstance(model, RegimeModel) and nm.LOG_LIKELIHOOD in model.nodes:
        place = len(model.free_RVs) + model.observed_RVs.index(model[nm.RESPONSE_VALUE])
        terms[place] = model.replace_rvs_by_values([model.nodes[nm.LOG_LIKELIHOOD]])[0]
    return variadic_add(*(pt.as_tensor(term).sum() for term in terms))


@cache
def _copy() -> Any:
    """C function that nutpie calls to expand a point; it copies the point."""

    def expand(size, expanded, point, stored, data):  # type: ignore[no-untyped-def] # noqa: ARG001
        for n in range(size):
            stored[n] = point[n]
        return 0

    return numba.cfunc(_EXPAND, cache=True)(expand)


class _Apart(CFunc):
    """A C function that always runs the code compiled with it.

    numba copies each called function into the caller's module under its name, and LLVM uses the first copy of that name
    in the process. Copies are optimised for their callers and may round differently, so the process that compiles a
    model would draw other numbers than a later process that loads it. Here the copies have unique names.

    Parameters
    ----------
    written : function
        The function to compile.
    name : str
        Unique name of the model's code.
    """

    def __init__(self, written: Any, name: str) -> None:
        super().__init__(written, (_LOGP.args, _LOGP.return_type), locals={}, options={})
        self.own_name = name

    def _compile_uncached(self) -> Any:
        compiled = super()._compile_uncached()  # type: ignore[misc] # numba is not looked into
        library = compiled.library
        optimize = library._optimize_final_module  # noqa: SLF001

        def apart() -> None:
            for one in library._final_module.functions:  # noqa: SLF001
                if one.linkage == Linkage.linkonce_odr and not one.is_declaration:
                    one.linkage = Linkage.internal
                    one.name = f"{one.name}.{self.own_name}"
            optimize()

        library._optimize_final_module = apart  # noqa: SLF001
        return compiled


def _as_c_function(function: Any, size: int, held: list[np.ndarray]) -> Any:
    """Wrap PyTensor's numba function of a point and the data in a C function, cached on disk by PyTensor."""
    arrays, place = [f"carray(point, ({size},))"], 0
    for values in held:
        shape = "".join(f"table[{place + 1 + n}], " for n in range(values.ndim))
        arrays.append(f"carray(address_as_void_pointer(table[{place}]), ({shape}), {values.dtype})")
        place += 1 + values.ndim
    source = f"""
def log_posterior(size, point, gradient, value, data):
    if size != {size}:
        return -1
    table = carray(data, ({place},), int64)
    try:
        total, slope = function({", ".join(arrays)})
    except Exception:
        return 1
    value[0] = total.item()
    finite = isfinite(value[0])
    for n in range({size}):
        gradient[n] = slope[n]
        finite = finite and isfinite(slope[n])
    return 0 if finite else {NOT_FINITE}
"""
    # For its cache PyTensor wraps the function in another one, which need not be compiled, since the C function has a
    # cache of its own.
    inner = function.py_func.__globals__.get("jitable_func", function)
    # numba finds the environment of a cached function by the name of its module.
    known = {"__name__": __name__, "function": inner, "carray": numba.carray, "isfinite": math.isfinite}
    known |= {"address_as_void_pointer": address_as_void_pointer, "int64": np.int64}
    known |= {str(values.dtype): values.dtype.type for values in held}
    # PyTensor's key of the function, if any, identifies the graph; all other compiled code is in the source files.
    key = CACHED_SRC_FUNCTIONS.get(function.py_func)
    digest = None if key is None else hashlib.sha256((key + source + Path(__file__).read_text()).encode()).hexdigest()
    written = compile_numba_function_src(source, "log_posterior", known, cache_key=digest)
    compiled = _Apart(written, digest or uuid.uuid4().hex)
    if digest is not None:
        compiled.enable_caching()
    compiled.compile()
    return compiled
