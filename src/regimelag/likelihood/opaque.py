"""Numba functions that their callers reach by name, so that no caller compiles them again.

numba compiles a cached function into each function that calls it, and PyTensor wraps an Op in five layers of those: our
loops would be optimised five times over, for each new model. So the Ops call them as one calls a C library: compiled
once, kept in numba's file cache, and entered under a symbol into the table in which LLVM looks up what a module lacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ADDED: list[Any] = []


def version_of(*modules: ModuleType) -> int:
    """Number that changes with the source of the modules, and of this one.

    PyTensor keeps compiled Ops on disk under such a number.
    """
    paths = [__file__, *(str(module.__file__) for module in modules)]
    return int.from_bytes(hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).digest()[:6])


@cache
def by_name(function: Any, arguments: tuple[types.Type, ...], version: int) -> Callable[[tuple[Any, ...]], Any]:
    """Compile a function for arguments of these types, for numba code to call with one tuple of them.

    Parameters
    ----------
    function : numba dispatcher
        With ``cache=True``, so that the next process finds it on disk.
    arguments : tuple of numba.types.Type
        What it takes. Arguments of other types are cast by the call, or refused.
    version : int
        Changes with the arithmetic. Callers are kept on disk too, and know the symbol alone.
    """
    function.compile(arguments)
    compiled = function.overloads[arguments]
    returned = compiled.signature.return_type
    symbol = f"{function.py_func.__module__}.{function.__name__}{arguments}.{version}"
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    llvmlite.binding.add_symbol(symbol, address)
    ADDED.append(function)  # the address holds as long as the function lives

    @intrinsic
    def call(typing_context: Any, values: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            convention = context.call_conv
            callee = cgutils.get_or_insert_function(
                builder.module, convention.get_function_type(returned, arguments), symbol
            )
            given = cgutils.unpack_tuple(builder, args[0])
            status, result = convention.call_function(builder, callee, returned, arguments, given)
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return result

        return returned(types.Tuple(arguments)), generate

    return call
