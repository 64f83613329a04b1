"""A PyTensor graph as a list of calls of code that is compiled once for all graphs.

PyTensor's numba backend compiles one function for each graph, which takes 20 to 30 s for a model not seen before. A
tape calls the code of each node, from `regimelag.sampling.op_code`, with a record of shapes and places in memory.
What follows from the data alone, such as shapes, is computed while the tape is written. Nodes that only change the
shape or order of their input, or select a part of it, are views of its place.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core.ccallback import CFunc
from pytensor.graph import Apply, Constant
from pytensor.graph.traversal import toposort
from pytensor.scalar import Maximum, Minimum, add, identity
from pytensor.tensor.basic import Alloc, Join, MakeVector
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, Elemwise
from pytensor.tensor.shape import Shape, Shape_i
from pytensor.tensor.subtensor import IncSubtensor, Subtensor, unflatten_index_variables

from regimelag.sampling.op_code import (
    DONE,
    SUMS,
    c_function,
    call,
    elementwise,
    let_go,
    perform,
    reduction,
    release,
    whole,
)

# Blocks begin at multiples of so many doubles.
LINE = 8
# Doubles in one piece of memory, if blocks are not larger: the C library keeps pieces of up to 32 MB for the next call.
PIECE = 1 << 21
HEAD = 7
# In place of the size of a piece.
HANDLE = -1


class _Block:
    """Memory for a value: the number of its base and its place from there. It holds values while the tape is written.

    An output of an Op that allocates it has a base of its own, and a handle, which is let go after its last use.
    """

    def __init__(self, base: int, place: int, size: int, handle: int = 0) -> None:
        self.base, self.place, self.values, self.handle, self.users = base, place, np.empty(size), handle, 0


class _Value(NamedTuple):
    """Values of a variable: known, or a view of a block."""

    array: np.ndarray
    block: _Block | None


class Tape(NamedTuple):
    """Calls, and what they refer to.

    Attributes
    ----------
    table : int array
        Numbers of parameters, calls and bases, and base and place of the value and of its gradient; then for each base
        the size of the piece of memory that begins there, `HANDLE`, or 0; then for each call the addresses of its code
        and record.
    kept : list
        What the addresses refer to.
    """

    table: np.ndarray
    kept: list[Any]


# Signatures that nutpie calls: (size, point, gradient, value, data) and (size, expanded size, point, expanded, data).
_POINTER = types.CPointer(types.float64)
_RUN = types.int64(types.uint64, _POINTER, _POINTER, _POINTER, types.voidptr)
_EXPAND = types.int64(types.uint64, types.uint64, _POINTER, _POINTER, types.voidptr)


@cache
def run_tape() -> CFunc:
    """C function of a point (parameter) and a table, which fills a value and its gradient (parameter).

    It returns 0 if both are finite and no Op raised an error, and else 1.
    """
    source = f"""
def run_tape(size, point, gradient, value, data):
    table = carray(data, ({HEAD},), np.int64)
    if size != table[0]:
        return -1
    first = {HEAD} + table[2]
    table = carray(data, (first + 2 * table[1],), np.int64)
    bases = np.zeros(table[2], np.int64)
    pieces = [np.empty(0)]
    for n in range(table[2]):
        if table[{HEAD} + n] > 0:
            pieces.append(np.empty(table[{HEAD} + n]))
            bases[n] = pieces[-1].ctypes.data
    given = doubles(bases[1])
    for n in range(size):
        given[n] = point[n]
    status = {DONE}
    for n in range(first, table.size, 2):
        status = call(table[n], table[n + 1], bases.ctypes.data)
        if status != {DONE}:
            break
    if status == {DONE}:
        value[0] = doubles(bases[table[3]])[table[4]]
        finite = isfinite(value[0])
        slope = doubles(bases[table[5]])
        for n in range(size):
            gradient[n] = slope[table[6] + n]
            finite = finite and isfinite(gradient[n])
        status = status if finite else 0
    for n in range(table[2]):
        if table[{HEAD} + n] == {HANDLE} and bases[n] != 0:
            let_go(bases[n])
    # numba frees what is not used below.
    return int(status != {DONE}) if len(pieces) > 0 else -1
"""
    return c_function(source, "run_tape", {"call": call, "let_go": let_go, "isfinite": math.isfinite}, "", _RUN)


@cache
def copy_point() -> CFunc:
    """C function that nutpie calls to expand a point; it copies the point."""
    source = """
def copy_point(size, expanded, point, stored, data):
    for n in range(size):
        stored[n] = point[n]
    return 0
"""
    return c_function(source, "copy_point", {}, "", _EXPAND)


def write_tape(point: Any, outputs: Sequence[Any], data: Mapping[Any, np.ndarray], start: np.ndarray) -> Tape:
    """Write the calls that compute a value and its gradient.

    Parameters
    ----------
    point : TensorVariable
        The one input, a vector.
    outputs : sequence of TensorVariable
        Value and gradient.
    data : mapping of variable to array
        Values of the other root variables that are not constants.
    start : array
        Any point, to find shapes at.

    Returns
    -------
    Tape
        The calls.
    """
    writer = _Writer()
    with np.errstate(all="ignore"):
        found = [writer.contiguous(value) for value in writer.run(point, outputs, data, start)]
    places = [number for base, place in map(writer.place, found) for number in (base, place // 8)]
    head = [len(start), len(writer.calls) // 2, len(writer.bases), *places]
    return Tape(np.array([*head, *writer.bases, *writer.calls], dtype=np.int64), writer.kept)


class _Writer:
    """The calls of one graph, while they are written."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.kept: list[Any] = []
        # Base 0 is that of addresses of data, and the last piece of memory begins at ``self.last``.
        self.bases, self.last = [0, 0], 1
        self.free: dict[int, list[tuple[int, int]]] = defaultdict(list)

    # -----------------------------------------------------------------------------------------------------------------
    # The graph
    # -----------------------------------------------------------------------------------------------------------------

    def run(
        self, point: Any, outputs: Sequence[Any], data: Mapping[Any, np.ndarray], start: np.ndarray
    ) -> list[_Value]:
        """Write all calls; return where the outputs are."""
        nodes = list(toposort(outputs))
        moving, wanted = _dependent(nodes, point, outputs)
        uses = Counter(variable for node in nodes for variable in node.inputs)
        # The point stays at the beginning of the memory, and so do the outputs at their places.
        uses.update([point, *outputs])
        values = {point: self.hold(self.new(start))}
        for variable in {v for node in nodes for v in node.inputs if v.owner is None} - {point}:
            known = variable.data if isinstance(variable, Constant) else data[variable]
            values[variable] = _Value(np.asarray(known), None)
        for node in nodes:
            given = [values[variable] for variable in node.inputs]
            results = perform(node, [value.array for value in given])
            if moving.isdisjoint(node.outputs) or wanted.isdisjoint(node.outputs):
                found = [_Value(result, None) for result in results]
            else:
                found = self.write(node, given, results)
            for variable, value in zip(node.outputs, found, strict=True):
                values[variable] = self.hold(value)
            for variable in (*node.inputs, *node.outputs):
                uses[variable] -= variable.owner is not node
                if uses[variable] <= 0 and variable in values:
                    self.release(values.pop(variable))
        return [values[variable] for variable in outputs]

    def write(self, node: Apply, given: list[_Value], results: list[np.ndarray]) -> list[_Value]:
        """Write the calls of a node; return its outputs."""
        op = node.op
        if isinstance(op, Elemwise) and len(results) == 1:
            return [self.elementwise(op.scalar_op, [v.type.dtype for v in node.inputs], given, results[0])]
        if isinstance(op, CAReduce) and not getattr(op, "initial", False) and node.inputs[0].type.dtype == "float64":
            return [self.reduction(op, given[0], results[0])]
        if isinstance(op, Join | MakeVector):
            return [self.joined(op, given, results[0])]
        if isinstance(op, Blockwise):
            return self.over_batches(node, given, results)
        if all(value.block is None for value in given[1:]):
            if getattr(op, "view_map", None):
                return self.views(node, given, results)
            if isinstance(op, Alloc):
                return [_Value(np.broadcast_to(given[0].array, results[0].shape), given[0].block)]
        if isinstance(op, IncSubtensor) and all(value.block is None for value in given[2:]):
            return [self.increased(op, given, results[0])]
        return self.computed(node, given, results)

    # -----------------------------------------------------------------------------------------------------------------
    # Memory
    # -----------------------------------------------------------------------------------------------------------------

    def new(self, like: np.ndarray) -> _Value:
        """A new block with these values."""
        like = np.asarray(like, dtype=float)
        size = -(-max(like.size, 1) // LINE) * LINE
        if self.free[size]:
            place = self.free[size].pop()
        else:
            if self.bases[self.last] and self.bases[self.last] + size > PIECE:
                self.last = self.base(0)
            place = self.last, self.bases[self.last]
            self.bases[self.last] += size
        return self.filled(_Block(*place, size), like)

    def base(self, kind: int) -> int:
        """Number of a new base."""
        self.bases.append(kind)
        return len(self.bases) - 1

    def allocated(self, like: np.ndarray) -> _Value:
        """An output with these values that its Op allocates."""
        like = np.asarray(like, dtype=float)
        if not like.ndim:
            return self.new(like)
        return self.filled(_Block(self.base(0), 0, max(like.size, 1), self.base(HANDLE)), like)

    def filled(self, block: _Block, like: np.ndarray) -> _Value:
        array = block.values[: like.size].reshape(like.shape)
        array[...] = like
        return _Value(array, block)

    def hold(self, value: _Value) -> _Value:
        if value.block is not None:
            value.block.users += 1
        return value

    def release(self, value: _Value) -> None:
        if value.block is not None:
            block = value.block
            block.users -= 1
            if not block.users and block.handle:
                self.call(release(), [block.handle])
            elif not block.users:
                self.free[block.values.size].append((block.base, block.place))

    def place(self, value: _Value) -> tuple[int, int]:
        """Number of the base, and bytes from there."""
        address = value.array.__array_interface__["data"][0]
        if value.block is None:
            self.kept.append(value.array)
            return 0, address
        return value.block.base, 8 * value.block.place + address - value.block.values.ctypes.data

    def call(self, code: Any, record: Iterable[int]) -> None:
        held = np.array(list(record), dtype=np.int64)
        self.calls += [code.address, held.ctypes.data]
        self.kept += [code, held]

    # -----------------------------------------------------------------------------------------------------------------
    # Calls
    # -----------------------------------------------------------------------------------------------------------------

    def apply(self, op: Any, dtypes: Sequence[str], given: Sequence[_Value], out: _Value) -> None:
        """Write a scalar Op of inputs, which are broadcast, into ``out``."""
        if not out.array.size:
            return
        if "float64" in dtypes:
            # Constants of smaller types are exact as doubles, so that one code serves all.
            dtypes = [dtype if dtype == "bool" else "float64" for dtype in dtypes]
        code = elementwise(op, tuple(dtypes))
        inputs = [value if value.block else _Value(value.array.astype(float, copy=False), None) for value in given]
        arrays = [np.broadcast_to(value.array, out.array.shape) for value in inputs] + [out.array]
        places = [self.place(value) for value in (*inputs, out)]
        for shape, offsets, steps in _two_loops(arrays):
            record = list(shape)
            for (base, place), offset, step in zip(places, offsets, steps, strict=True):
                record += [base, place + offset, *step]
            self.call(code, record)

    def elementwise(self, op: Any, dtypes: Sequence[str], given: Sequence[_Value], result: np.ndarray) -> _Value:
        out = self.new(result)
        if type(op) in SUMS and len(given) > 2:  # noqa: PLR2004
            first, second, *rest = given
            self.apply(op, dtypes[:2], [first, second], out)
            for value, dtype in zip(rest, dtypes[2:], strict=True):
                self.apply(op, ("float64", dtype), [out, value], out)
        else:
            self.apply(op, dtypes, given, out)
        return out

    def copy(self, source: _Value, target: _Value) -> None:
        self.apply(identity, ("float64",), [source], target)

    def contiguous(self, value: _Value) -> _Value:
        """The value as a contiguous array, in a block or known."""
        if value.array.flags.c_contiguous:
            return value if value.block is not None else _Value(np.require(value.array, requirements=["C", "A"]), None)
        if value.block is None:
            return _Value(np.ascontiguousarray(value.array), None)
        out = self.new(value.array)
        self.copy(value, out)
        return out

    def reshaped(self, value: _Value, shape: tuple[int, ...]) -> _Value:
        """The value in another shape, copied only if it must be."""
        try:
            return _Value(np.reshape(value.array, shape, copy=False), value.block)
        except ValueError:
            value = self.contiguous(value)
            return _Value(value.array.reshape(shape), value.block)

    def reduction(self, op: CAReduce, value: _Value, result: np.ndarray) -> _Value:
        ndim = value.array.ndim
        axes = range(ndim) if op.axis is None else op.axis
        axes = [axis % ndim for axis in ((axes,) if isinstance(axes, int) else axes)]
        kept = [axis for axis in range(ndim) if axis not in axes]
        moved = _Value(value.array.transpose([*kept, *axes]), value.block)
        outer = int(np.prod(moved.array.shape[: len(kept)], dtype=int))
        inner = int(np.prod(moved.array.shape[len(kept) :], dtype=int))
        flat, out = self.reshaped(moved, (outer, inner)), self.new(result)
        # PyTensor gives none to the largest and the smallest value.
        start = {Maximum: -np.inf, Minimum: np.inf}.get(type(op.scalar_op), op.scalar_op.identity)
        steps = [step // 8 for step in flat.array.strides]
        code = reduction(op.scalar_op, float(start))
        self.call(code, [outer, inner, *self.place(flat), *steps, *self.place(out), 1, 0])
        return out

    def views(self, node: Apply, given: list[_Value], results: list[np.ndarray]) -> list[_Value]:
        """Outputs that are views of the first input, which is made contiguous if they are not."""
        first, *known = given
        if isinstance(node.op, Subtensor):
            return [_part(first, node.op, known)]
        if not all(_within(result, first) for result in results):
            first = self.contiguous(first)
            results = perform(node, [first.array, *(value.array for value in known)])
        if not all(_within(result, first) for result in results):
            return self.computed(node, given, results)
        return [_Value(result, first.block) for result in results]

    def joined(self, op: Join | MakeVector, given: list[_Value], result: np.ndarray) -> _Value:
        out, start = self.new(result), 0
        axis = op.axis if isinstance(op, Join) else 0
        for value in given:
            stop = start + (value.array.shape[axis] if isinstance(op, Join) else 1)
            self.copy(value, _Value(out.array[(slice(None),) * axis + (slice(start, stop),)], out.block))
            start = stop
        return out

    def increased(self, op: IncSubtensor, given: list[_Value], result: np.ndarray) -> _Value:
        base, more, *indices = given
        out = self.new(result)
        self.copy(base, out)
        part = _part(out, op, indices)
        if op.set_instead_of_inc:
            self.copy(more, part)
        else:
            self.apply(add, ("float64", "float64"), [part, more], part)
        return out

    def over_batches(self, node: Apply, given: list[_Value], results: list[np.ndarray]) -> list[_Value]:
        """Calls of the core Op, one for each batch."""
        batches = node.op.batch_ndim(node)
        shape = results[0].shape[:batches]
        core = node.op._create_dummy_core_node(node.inputs)  # noqa: SLF001
        if not batches:
            return self.computed(core, given, results)
        inputs = [
            _Value(np.broadcast_to(value.array, (*shape, *value.array.shape[batches:])), value.block) for value in given
        ]
        outs = [self.new(result) for result in results]
        for batch in product(*map(range, shape)):
            self.whole(core, [_at(value, batch) for value in inputs], [_at(out, batch) for out in outs])
        return outs

    def computed(self, node: Apply, given: list[_Value], results: list[np.ndarray]) -> list[_Value]:
        # A view of an input must be copied while the input is there.
        place = self.new if getattr(node.op, "view_map", None) else self.allocated
        outs = [place(result) for result in results]
        self.whole(node, given, outs)
        return outs

    def whole(self, node: Apply, given: list[_Value], outs: list[_Value]) -> None:
        inputs = [self.contiguous(value) for value in given]
        kinds = tuple("float64" if value.block is not None else str(value.array.dtype) for value in inputs)
        record: list[int] = []
        for value in inputs:
            record += [*self.place(value), *value.array.shape]
        copied = not any(out.block.handle for out in outs if out.block is not None)
        for out in outs:
            handle = 0 if out.block is None else out.block.handle
            base, place = self.place(out)
            record += [base, handle or place, out.array.size]
        self.call(whole(node, kinds, copied=copied), record)


def _dependent(nodes: Sequence[Apply], point: Any, outputs: Sequence[Any]) -> tuple[set[Any], set[Any]]:
    """Variables that depend on the point, and variables on whose values, not only shapes, the outputs depend."""
    moving, wanted = {point}, set(outputs)
    for node in nodes:
        if not isinstance(node.op, Shape | Shape_i) and not moving.isdisjoint(node.inputs):
            moving.update(node.outputs)
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.outputs) and not moving.isdisjoint(node.outputs):
            wanted.update(node.inputs)
    return moving, wanted


def _part(value: _Value, op: Subtensor | IncSubtensor, known: Sequence[_Value]) -> _Value:
    """The part of a value that an Op selects, as a view."""
    return _at(value, unflatten_index_variables([int(each.array) for each in known], op.idx_list))


def _at(value: _Value, index: tuple[Any, ...]) -> _Value:
    """The value at an index, as a view also if it is a number."""
    return _Value(value.array[(*index, ...)], value.block)


def _within(array: np.ndarray, value: _Value) -> bool:
    """Whether an array is a view of the block of a value."""
    if array.dtype != float or value.block is None:
        return False
    start = value.block.values.ctypes.data
    return not array.size or start <= array.__array_interface__["data"][0] < start + value.block.values.nbytes


def _two_loops(arrays: Sequence[np.ndarray]) -> Iterable[tuple[Any, list[int], list[tuple[int, int]]]]:
    """Loops over two axes that visit all entries of arrays of one shape.

    Yields
    ------
    shape : tuple of int
        Lengths of the loops (outer, inner).
    offsets : list of int
        Bytes from the start of each array.
    steps : list of tuple of int
        Doubles between entries of each array (outer, inner).
    """
    axes: list[tuple[int, tuple[int, ...]]] = []
    for axis in reversed(range(arrays[0].ndim)):
        length, steps = arrays[0].shape[axis], tuple(array.strides[axis] // 8 for array in arrays)
        if length == 1:
            continue
        if axes and all(step == axes[-1][0] * last for step, last in zip(steps, axes[-1][1], strict=True)):
            axes[-1] = (axes[-1][0] * length, axes[-1][1])
        else:
            axes.append((length, steps))
    axes.sort(key=lambda one: -one[0])
    nothing = (1, (0,) * len(arrays))
    (inner, of_inner), (outer, of_outer), *rest = [*axes, nothing, nothing][: max(len(axes), 2)]
    for index in product(*(range(length) for length, _ in rest)):
        offsets = [8 * sum(n * steps[k] for n, (_, steps) in zip(index, rest, strict=True)) for k in range(len(arrays))]
        yield (outer, inner), offsets, list(zip(of_outer, of_inner, strict=True))
