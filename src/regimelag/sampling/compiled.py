"""A model compiled once, for the search of modes and for the sampler.

nutpie needs a C function of a vector and a pointer to data. PyTensor and nutpie would compile one for each model, which
takes longer than sampling. Here the C function is the same for all models, and its data are a tape: the calls of the
log posterior and its gradient, see `regimelag.sampling.tape`. Variables are transformed to their own scale after
sampling, for all draws at once, so that only the log posterior is on the tape.
"""

from __future__ import annotations

import copy
import ctypes
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
from nutpie.compile_pymc import CompiledPyMCModel
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.rewriting import inline_ofg_node
from pytensor.gradient import NullTypeGradError
from pytensor.graph import clone_replace, rewrite_graph
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.math import variadic_add
from pytensor.tensor.random.type import RandomType

from regimelag.errors import FitError
from regimelag.model.build import AS_IS, RegimeModel
from regimelag.runtime.caches import explain_caches
from regimelag.runtime.process import keep_freed_memory, no_collection
from regimelag.runtime.versions import another, install_command
from regimelag.sampling.modes import nowhere_finite
from regimelag.sampling.op_code import NotComputedError
from regimelag.sampling.tape import copy_point, run_tape, write_tape
from regimelag.spec import names as nm

POINT = "unconstrained_point"
# Draws of the prior at which the shapes are looked for: an Op may raise an error at some.
TRIES = 100
_DOUBLES = ctypes.POINTER(ctypes.c_double)


def _pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(_DOUBLES)


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
        with explain_caches(), no_collection(), pytensor.config.change_flags(traceback__limit=0):
            self._compile(model)

    def _compile(self, model: pm.Model) -> None:
        self._prior_point = make_initial_point_fn(model=model, default_strategy="prior", return_transformed=True)
        self._values = [model.rvs_to_values[rv] for rv in model.free_RVs]
        with _refused(
            "every prior can be drawn from, since starting points come from there",
            "replace Flat by a wide pymc.Normal, HalfFlat by a wide pymc.HalfNormal, ICAR by pymc.CAR; "
            "give a CustomDist its random",
        ):
            point = self._prior_point(0)
        self._shapes = [np.shape(point[value.name]) for value in self._values]
        self.size = int(sum(np.prod(shape, dtype=int) for shape in self._shapes))
        self._seed = 0
        self._point, self._graph = self._log_posterior_and_gradient()
        shared = [each for each in graph_inputs(self._graph) if hasattr(each, "get_value")]
        if any(isinstance(each.type, RandomType) for each in shared):
            cure = "pass all data in place of pymc.Minibatch, and make what is drawn a variable of the model"
            raise FitError("sample", "the log posterior draws no random numbers", "a generator of random numbers", cure)
        self._shared = {each.name or f"shared {n}": each for n, each in enumerate(shared)}
        self._write({name: each.get_value() for name, each in self._shared.items()})
        self._variables = self._back_from_points()

    def pieces(self, points: Any) -> list[Any]:
        """Values of the free variables in points (..., parameter)."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in self._shapes])
        lead = points.shape[:-1] if points.ndim > 1 else ()
        return [
            points[..., end - int(np.prod(shape, dtype=int)) : end].reshape((*lead, *shape))
            for shape, end in zip(self._shapes, ends, strict=True)
        ]

    def _log_posterior_and_gradient(self) -> tuple[Any, list[Any]]:
        """A point (parameter), and log posterior and gradient at it."""
        rewrites = ["canonicalize", "stabilize"]
        if not self.model.check_bounds:
            rewrites.append("local_remove_check_parameter")
        value = rewrite_graph(_log_posterior(self.model), include=rewrites)
        with _refused(
            "the log posterior has a gradient",
            "give an Op of your own a pullback, or sample without it: with model: pymc.sample(step=pymc.Slice())",
        ):
            slopes = pt.grad(value, self._values)
        gradient = pt.concatenate([each.reshape((-1,)) for each in slopes])
        point = pt.vector(POINT, shape=(self.size,))
        replaced = dict(zip(self._values, self.pieces(point), strict=True))
        both = clone_replace([value, gradient], replaced)
        return point, rewrite_graph(both, include=["canonicalize"], custom_rewrite=dfs_rewriter(_inlined))

    def _write(self, data: Mapping[str, np.ndarray]) -> None:
        """Write the tape on these data; shapes are found at the first draw of the prior where no Op raises an error."""
        self.data = {name: np.asarray(data[name], dtype=each.dtype, order="C") for name, each in self._shared.items()}
        known = {each: self.data[name] for name, each in self._shared.items()}
        last: Exception | None = None
        for seed in range(self._seed, self._seed + TRIES):
            try:
                self.tape, self._seed = write_tape(self._point, self._graph, known, self.prior_point(seed)), seed
            except NotComputedError as problem:
                last = problem
            else:
                return
        raise nowhere_finite(f"none of {TRIES} draws of the prior, the last: {last}") from last

    def _back_from_points(self) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        """Function from points (draw, parameter) to free variables and deterministics, in PyTensor's Python mode."""
        names = {variable.name for variable in (*self.model.free_RVs, *self.model.deterministics)}
        variables = {str(one.name): one for one in self.model.unobserved_value_vars if one.name in names}
        point, points = pt.vector(shape=(self.size,)), pt.matrix(shape=(None, self.size))
        found = clone_replace(list(variables.values()), dict(zip(self._values, self.pieces(point), strict=True)))
        at_all = None
        # PyTensor does not vectorise all Ops, and some only where no shape depends on the values.
        with suppress(Exception):
            at_all = pytensor.function([points], vectorize_graph(found, replace={point: points}), mode=AS_IS)

        def back(values: np.ndarray) -> dict[str, np.ndarray]:
            if at_all is not None:
                with suppress(Exception):
                    return {
                        name: _of_every_draw(result, variable.ndim, len(values))
                        for (name, variable), result in zip(variables.items(), at_all(values), strict=True)
                    }
            at_one = pytensor.function([point], found, mode=AS_IS)
            by_draw = zip(*(at_one(value) for value in values), strict=True)
            kept = {}
            for name, results in zip(variables, by_draw, strict=True):
                if len({np.shape(result) for result in results}) == 1:
                    kept[name] = np.stack(results)
                else:
                    said = f"{name!r} has another shape at every draw and is left out; the draws are not affected."
                    warnings.warn(said, UserWarning, stacklevel=2)
            return kept

        return back

    def value_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior including the Jacobian, and its gradient (parameter); both NaN if not finite."""
        point = np.ascontiguousarray(point, dtype=float)
        gradient, value = np.empty(self.size), np.empty(1)
        data = ctypes.c_void_p(self.tape.table.ctypes.data)
        status = run_tape().ctypes(self.size, _pointer(point), _pointer(gradient), _pointer(value), data)
        return (float(value[0]), gradient) if status == 0 else (np.nan, np.full(self.size, np.nan))

    def on(self, data: Mapping[str, np.ndarray]) -> CompiledModel:
        """The same compiled model with other data of the same dimensions; the length in time may differ."""
        other = copy.copy(self)
        with explain_caches():
            other._write(data)  # noqa: SLF001
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
            run, expand = run_tape(), copy_point()
        parts = {
            "dims": {POINT: ("unconstrained_parameter",)},
            "_n_dim": self.size,
            "_coords": {"unconstrained_parameter": pd.RangeIndex(self.size)},
            "_shapes": {POINT: (self.size,)},
            "compiled_logp_func": run,
            "compiled_expand_func": expand,
            "initial_point_func": lambda seed: start(int(np.random.SeedSequence(seed).generate_state(1)[0])),
            # The addresses in the table hold as long as what they refer to is here.
            "shared_data": dict(enumerate(self.tape.kept)),
            "shared_var_keys": {},
            "user_data": self.tape.table,
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


@contextmanager
def _refused(rule: str, cure: str) -> Iterator[None]:
    """Turn what PyMC and PyTensor raise for a model that cannot be sampled into an error of the package."""
    try:
        yield
    except (NotImplementedError, NullTypeGradError) as problem:
        raise FitError("sample", rule, f"{type(problem).__name__}: {problem}", cure) from problem


def _of_every_draw(result: np.ndarray, ndim: int, draws: int) -> np.ndarray:
    """Values (draw, ...) of a variable, which has none for each draw if it does not depend on the point."""
    return np.broadcast_to(result, (draws, *result.shape)) if result.ndim == ndim else result


@node_rewriter(None)
def _inlined(graph: Any, node: Any) -> Any:  # noqa: ARG001
    """Outputs of a node that PyTensor defines by other nodes."""
    return inline_ofg_node(node) if isinstance(node.op, OpFromGraph) else None


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
