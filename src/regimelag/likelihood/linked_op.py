"""Base class of Ops that run a compiled loop, registered with PyTensor's numba backend."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numba import types
from pytensor.graph import Apply, Op
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
