"""Compiled code of single Ops, for calls by a tape.

Each Op is compiled once for all models and cached on disk, as a C function of a record and of addresses of memory. The
record holds the shapes of the inputs and outputs, and where they are: the number of an address, and bytes from there.
"""

from __future__ import annotations

import hashlib
import uuid
from _thread import interrupt_main
from collections.abc import Sequence
from functools import cache, reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import Linkage
from numba import types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic
from nutpie.compile_pymc import address_as_void_pointer
from pytensor.graph import Apply
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import (
    generate_fallback_impl,
    get_numba_type,
    numba_funcify_and_cache_key,
    numba_njit,
)
from pytensor.scalar import Add, Mul, Reciprocal, ScalarOp, ScalarType, TrueDiv, get_scalar_type
from pytensor.tensor.elemwise import Elemwise

from regimelag.likelihood.numba_link import HealingCache

_INTEGERS, _DOUBLES = types.CPointer(types.int64), types.CPointer(types.float64)
# Returned by the code of an Op that has done its work; numba returns 0 after an error that the code does not catch.
DONE = 1
# Of the code of an Op: (record, bases).
SIGNATURE = types.int64(_INTEGERS, _INTEGERS)
# Division by zero gives infinity, as in C; PyTensor's function raises.
_WRITTEN = {TrueDiv: "{} / {}", Reciprocal: "1.0 / {}"}
# Ops of any number of arguments.
SUMS = {Add: np.add, Mul: np.multiply}
_WHOLE: dict[Any, CFunc] = {}
_BY_DIGEST: dict[str | None, CFunc] = {}
# What the code depends on besides its source; numba itself checks its own version.
_HERE = Path(__file__).read_text() + version("pytensor")


class NotComputedError(Exception):
    """An Op raised an error at a point."""


@intrinsic
def doubles(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """Pointer to doubles at an address."""
    return _DOUBLES(address), lambda context, builder, signature, args: builder.inttoptr(  # noqa: ARG005
        args[0], context.get_value_type(_DOUBLES)
    )


@intrinsic
def call(typing_context: Any, code: Any, record: Any, bases: Any) -> Any:  # noqa: ARG001
    """Call the code of an Op at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        kinds = [context.get_value_type(kind) for kind in SIGNATURE.args]
        function = ir.FunctionType(context.get_value_type(SIGNATURE.return_type), kinds).as_pointer()
        pointers = [builder.inttoptr(one, kind) for one, kind in zip(args, (function, *kinds), strict=True)]
        return builder.call(pointers[0], pointers[1:])

    return types.int64(code, record, bases), generate


@intrinsic
def take(typing_context: Any, array: Any) -> Any:  # noqa: ARG001
    """Hold an array's memory, and return the handle that `let_go` needs."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        context.nrt.incref(builder, array, args[0])
        held = context.make_array(array)(context, builder, value=args[0])
        return builder.ptrtoint(held.meminfo, context.get_value_type(signature.return_type))

    return types.int64(array), generate


@intrinsic
def let_go(typing_context: Any, handle: Any) -> Any:  # noqa: ARG001
    """Let go of memory that `take` holds."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        kind = types.MemInfoPointer(types.voidptr)
        context.nrt.decref(builder, kind, builder.inttoptr(args[0], context.get_value_type(kind)))
        return context.get_dummy_value()

    return types.none(handle), generate


class _Apart(CFunc):
    """A C function that always runs the code compiled with it.

    numba copies each called function into the caller's module under its name, and LLVM uses the first copy of that name
    in the process. Copies are optimised for their callers and may round differently, so the process that compiles a
    function would find other numbers than a later process that loads it. Here the copies have unique names.

    Parameters
    ----------
    written : function
        The function to compile.
    signature : numba signature
        Types of arguments and result.
    name : str
        Unique name of the code.
    """

    def __init__(self, written: Any, signature: Any, name: str) -> None:
        super().__init__(written, (signature.args, signature.return_type), locals={}, options={"error_model": "numpy"})
        self.written, self.own_name = written, name

    def enable_caching(self) -> None:
        """Cache the code on disk."""
        self._cache = HealingCache(self.written)

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


def c_function(source: str, name: str, known: dict[str, Any], key: str | None, signature: Any = SIGNATURE) -> CFunc:
    """Compile a C function from its source, or load it from PyTensor's cache.

    Parameters
    ----------
    source : str
        Source of the function.
    name : str
        Its name.
    known : dict
        Objects that it uses.
    key : str, optional
        Identifies what the objects do; without it the function is not cached.
    signature : numba signature
        Types of arguments and result.
    """
    # numba finds the environment of a cached function by the name of its module.
    known = {"__name__": __name__, "carray": numba.carray, "doubles": doubles, "np": np, **known}
    known["address_as_void_pointer"] = address_as_void_pointer
    digest = None if key is None else hashlib.sha256((key + source + _HERE).encode()).hexdigest()
    if digest in _BY_DIGEST:
        return _BY_DIGEST[digest]
    written = compile_numba_function_src(source, name, known, cache_key=digest)
    found = _Apart(written, signature, digest or uuid.uuid4().hex)
    if digest is not None:
        found.enable_caching()
    found.compile()
    return found if digest is None else _BY_DIGEST.setdefault(digest, found)


@cache
def elementwise(op: ScalarOp, dtypes: tuple[str, ...]) -> CFunc:
    """Code that applies a scalar Op to inputs of these types.

    Record: lengths (outer, inner), then place and steps (outer, inner) of each input and of the output.
    """
    given = [f"x{n}" for n in range(len(dtypes))]
    function, key = numba_funcify_and_cache_key(op, node=op.make_node(*(get_scalar_type(d)() for d in dtypes)))
    cast = [f"{x}[i * {x}_i + j * {x}_j]" for x in given]
    cast = [each if d == "float64" else f"{d}({each})" for each, d in zip(cast, dtypes, strict=True)]
    value = _WRITTEN.get(type(op), f"function({', '.join('{}' for _ in given)})").format(*cast)
    source = f"""
def elementwise(record, bases):
    {_places([*given, "out"], 2)}
    for i in range(record[0]):
        for j in range(record[1]):
            out[i * out_i + j * out_j] = float64({value})
    return {DONE}
"""
    known = {"function": function, "float64": types.float64} | {
        d: getattr(types, d.replace("bool", "boolean")) for d in dtypes
    }
    return c_function(source, "elementwise", known, key and f"{key} {dtypes}")


def _places(names: list[str], start: int) -> str:
    """Statements that read places and steps (outer, inner) from a record."""
    return "\n    ".join(
        f"{x} = doubles({_address(n)}); {x}_i = record[{n + 2}]; {x}_j = record[{n + 3}]"
        for x, n in zip(names, range(start, start + 4 * len(names), 4), strict=True)
    )


@cache
def reduction(op: ScalarOp, start: float) -> CFunc:
    """Code that reduces the inner axis by a scalar Op.

    Record: lengths (outer, inner), then place and steps (outer, inner) of the input and of the output.
    """
    function, key = numba_funcify_and_cache_key(
        op, node=op.make_node(*(get_scalar_type("float64")() for _ in range(2)))
    )
    source = f"""
def reduction(record, bases):
    {_places(["x", "out"], 2)}
    for i in range(record[0]):
        total = start
        for j in range(record[1]):
            total = float64(function(total, x[i * x_i + j * x_j]))
        out[i * out_i] = total
    return {DONE}
"""
    known = {"function": function, "float64": types.float64, "start": start}
    return c_function(source, "reduction", known, key and f"{key} {start}")


def _address(place: int) -> str:
    """Expression for the address at this place of a record."""
    return f"bases[record[{place}]] + record[{place + 1}]"


def _ndim(variable: Any) -> int:
    return getattr(variable.type, "ndim", 0)


@cache
def release() -> CFunc:
    """Code that lets go of the memory of an output. Record: the number of its handle."""
    source = f"""
def release(record, bases):
    let_go(bases[record[0]])
    bases[record[0]] = 0
    return {DONE}
"""
    return c_function(source, "release", {"let_go": let_go}, "")


def whole(node: Any, kinds: tuple[str, ...], *, copied: bool) -> CFunc:
    """Code of any Op that PyTensor's numba backend has.

    Record: of each input place and shape, then of each output place, or numbers of its base and its handle, and size.

    Parameters
    ----------
    node : Apply
        Its node.
    kinds : tuple of str
        Types of the inputs in memory.
    copied : bool
        Whether outputs are copied to their places. Otherwise their own memory is held, and bases are set to it; numbers
        are always copied.
    """
    # PyTensor's code may depend on lengths that the types state, such as one, which is broadcast.
    same = (node.op, *(each.type for each in (*node.inputs, *node.outputs)), kinds, copied)
    if same in _WHOLE:
        return _WHOLE[same]
    function, key = numba_funcify_and_cache_key(node.op, node=node)
    # For its cache PyTensor wraps the function in another one, which need not be compiled.
    function = getattr(function, "py_func", function).__globals__.get("jitable_func", function)
    if getattr(function, "__qualname__", "").startswith(generate_fallback_impl.__name__):
        function = _in_python(node)
    place, lines, given, copies = 0, [], [], []
    for n, (variable, kind) in enumerate(zip(node.inputs, kinds, strict=True)):
        shape = "".join(f"record[{place + 2 + axis}], " for axis in range(_ndim(variable)))
        lines.append(f"x{n} = carray(address_as_void_pointer({_address(place)}), ({shape}), np.{kind})")
        value = f"x{n}" if kind == variable.type.dtype else f"x{n}.astype(np.{variable.type.dtype})"
        given.append(f"{value}.item()" if isinstance(variable.type, ScalarType) else value)
        place += 2 + _ndim(variable)
    for n, variable in enumerate(node.outputs):
        if not _ndim(variable):
            number = f"found{n}" if isinstance(variable.type, ScalarType) else f"found{n}.item()"
            copies.append(f"doubles({_address(place)})[0] = {number}")
        else:
            double = "" if variable.type.dtype == "float64" else ".astype(np.float64)"
            copies.append(f"whole{n} = np.ascontiguousarray(found{n}){double}")
            copies.append(f"if whole{n}.size != record[{place + 2}]:\n        return 0")
            if copied:
                copies.append(f"out{n}, flat{n} = doubles({_address(place)}), whole{n}.ravel()")
                copies.append(f"for n in range(flat{n}.size):\n        out{n}[n] = flat{n}[n]")
            else:
                copies.append(f"bases[record[{place}]] = whole{n}.ctypes.data")
                copies.append(f"bases[record[{place + 1}]] = take(whole{n})")
        place += 3
    join = "\n    "
    source = f"""
def whole(record, bases):
    {join.join(lines)}
    try:
        {", ".join(f"found{n}" for n in range(len(node.outputs)))} = function({", ".join(given)})
    except Exception:
        return 0
    {join.join(copies)}
    return {DONE}
"""
    return _WHOLE.setdefault(same, c_function(source, "whole", {"function": function, "take": take}, key))


def _in_python(node: Apply) -> Any:
    """Function of an Op that has only Python.

    numba's ``try`` does not catch what Python raises within it, and the process may end. PyTensor's function would do
    that; this one raises an error of numba.
    """
    kind = types.Tuple([*(get_numba_type(each.type) for each in node.outputs), types.boolean])
    nothing = [np.zeros((0,) * _ndim(each), dtype=each.type.dtype) for each in node.outputs]

    def attempt(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        storage: list[list[Any]] = [[None] for _ in node.outputs]
        try:
            node.op.perform(node, list(inputs), storage)
            found = [np.asarray(held[0], none.dtype) for held, none in zip(storage, nothing, strict=True)]
        except KeyboardInterrupt:
            interrupt_main()
            return (*nothing, False)
        except Exception:
            return (*nothing, False)
        return (*found, True)

    @numba_njit
    def in_python(*inputs: Any) -> Any:
        with numba.objmode(found=kind):
            found = attempt(inputs)
        if not found[-1]:
            raise RuntimeError("the Op raised an error")
        return found[:-1]

    @numba_njit
    def one_output(*inputs: Any) -> Any:
        return in_python(*inputs)[0]

    return one_output if len(nothing) == 1 else in_python


def perform(node: Apply, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs of a node, in Python.

    Raises
    ------
    NotComputedError
        If the Op raises an error.
    """
    given = [value.astype(each.type.dtype, copy=False) for value, each in zip(inputs, node.inputs, strict=True)]
    if getattr(node.op, "view_map", None):
        given[0] = inputs[0]
    if isinstance(node.op, Elemwise) and type(node.op.scalar_op) in SUMS:
        # NumPy's own functions take at most 32 arguments.
        return [np.asarray(reduce(SUMS[type(node.op.scalar_op)], given))]
    if type(node.op).__name__ == "IfElse":
        # It has no Python of its own, and its module differs between versions of PyTensor.
        first = 1 if given[0] else 1 + node.op.n_outs
        return [np.asarray(value) for value in given[first : first + node.op.n_outs]]
    node.op.prepare_node(node, None, None, "py")
    storage: list[list[Any]] = [[None] for _ in node.outputs]
    try:
        node.op.perform(node, given, storage)
    except Exception as problem:
        raise NotComputedError(f"{node.op}: {type(problem).__name__}: {problem}") from problem
    return [np.asarray(held[0]) for held in storage]
