"""Base class of Ops that run a compiled loop, registered with PyTensor's numba and JAX backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numba import types
from pytensor.compile.mode import optdb
from pytensor.graph import Apply, FunctionGraph, Op
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from regimelag.likelihood.numba_link import VERSION, link


def _plain(value: np.ndarray) -> Any:
    """Argument of a loop for an input: a number, or a contiguous array."""
    return value.item() if value.ndim == 0 else np.require(value, requirements=["C", "W"])


class LinkedOp(Op):
    """Op that computes its outputs by one loop, in PyTensor's Python mode and, linked by symbol, in its numba mode.

    A subclass sets ``loop``, a function from :func:`compiled` of all inputs: contiguous arrays, or numbers for inputs
    without dimensions. The loop allocates and returns an output, or a tuple of them. It checks its inputs against
    reading out of bounds, and raises ValueError.
    """

    __props__: ClassVar[tuple[str, ...]] = ()
    loop: ClassVar[Any]

    def static(self) -> tuple[Any, ...]:
        """Arguments of the loop that precede the inputs and are part of its type."""
        return ()

    def in_jax(self, jax: Any) -> Callable[..., Any]:
        """Return a JAX function of all inputs with the Op's outputs: an array, or a tuple of several.

        JAX is not imported with the package, so its module comes as the argument.
        """
        raise NotImplementedError(f"{type(self).__name__} has no JAX rule")

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Compute the outputs in PyTensor's Python mode."""
        found = type(self).loop(*self.static(), *map(_plain, inputs))
        for storage, result in zip(output_storage, found if len(node.outputs) > 1 else (found,), strict=True):
            storage[0] = np.asarray(result)


@register_funcify_default_op_cache_key(LinkedOp)
def _call_linked(op: LinkedOp, node: Apply, **kwargs: Any) -> tuple[Any, int]:  # noqa: ARG001
    """Numba function of an Op's inputs in PyTensor's convention: numbers are arrays without dimensions."""
    dtypes = {"float64": types.float64, "int64": types.int64}
    kinds, given = [], []
    for n, variable in enumerate(node.inputs):
        kind = dtypes[variable.type.dtype]
        kinds.append(types.Array(kind, variable.type.ndim, "C") if variable.type.ndim else kind)
        given.append(f"ascontiguousarray(x{n})" if variable.type.ndim else f"x{n}.item()")
    static = op.static()
    kinds = [types.UniTuple(types.float64, len(each)) for each in static] + kinds
    results = [f"r{n}" if out.type.ndim else f"asarray(r{n})" for n, out in enumerate(node.outputs)]
    arguments = "".join(f"{each}, " for each in [*(f"s{n}" for n in range(len(static))), *given])
    source = f"""
def linked({", ".join(f"x{n}" for n in range(len(given)))}):
    {", ".join(f"r{n}" for n in range(len(results)))} = call(({arguments}))
    return {", ".join(results)}
"""
    known = {"call": link(type(op).loop, tuple(kinds)), "ascontiguousarray": np.ascontiguousarray}
    known |= {"asarray": np.asarray} | {f"s{n}": each for n, each in enumerate(static)}
    return numba_njit(compile_numba_function_src(source, "linked", known)), VERSION


class _JaxRules(GraphRewriter):
    """Registers the rules with PyTensor's JAX backend, which imports JAX, when a graph is first compiled for it."""

    def apply(self, fgraph: FunctionGraph) -> None:  # noqa: ARG002 the graph stays as it is
        import jax  # noqa: PLC0415
        from pytensor.link.jax.dispatch.basic import jax_funcify  # noqa: PLC0415

        jax_funcify.register(LinkedOp, lambda op, **_: op.in_jax(jax))


optdb.register("regimelag_jax_rules", _JaxRules(), "jax", position=0)
