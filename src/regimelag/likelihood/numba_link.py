"""Compile the package's loops once, and let other compiled code call them as one calls a C library.

numba compiles a cached function into each function that calls it, and PyTensor wraps an Op in five layers of those, so
a loop would be optimised five times over for each new model. :func:`link` therefore enters a compiled loop under a
symbol into the table in which LLVM looks up what a module lacks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# What the compiler may do to sums and products: fuse them, or reorder sums as well.
CONTRACT: frozenset[str] = frozenset({"contract"})
REORDER: frozenset[str] = frozenset({"contract", "reassoc"})

# Changes with any loop: compiled code and PyTensor's cache of what calls it hold for one version of all of them.
VERSION = int.from_bytes(
    hashlib.sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))).digest()[:6]
)
_LINKED: list[Any] = []


def compiled(fastmath: frozenset[str] = frozenset(), **options: Any) -> Callable[[Any], Any]:
    """Decorate a loop: compile it with numba and keep it in numba's file cache until any loop of the package changes.

    numba itself watches the file of a function alone, and not the functions of other files that are compiled into it.

    Parameters
    ----------
    fastmath : frozenset of str
        Liberties of the compiler, as `numba.njit` has them.
    **options
        Passed on to `numba.njit`.
    """

    def decorate(function: Any) -> Any:
        loop = njit(cache=True, error_model="numpy", fastmath=set(fastmath), **options)(function)
        loop._cache._cache_file._source_stamp = VERSION  # noqa: SLF001 numba has no public way
        return loop

    return decorate


@cache
def link(loop: Any, arguments: tuple[types.Type, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """Compile a loop for arguments of these types, for numba code to call with one tuple of them.

    Parameters
    ----------
    loop : numba dispatcher
        From :func:`compiled`.
    arguments : tuple of numba.types.Type
        What it takes. Arguments of other types are cast by the call, or refused.
    """
    loop.compile(arguments)
    found = loop.overloads[arguments]
    returned = found.signature.return_type
    symbol = f"{loop.py_func.__module__}.{loop.__name__}{arguments}.{VERSION}"
    llvmlite.binding.add_symbol(symbol, found.library.get_pointer_to_function(found.fndesc.llvm_func_name))
    _LINKED.append(loop)  # the address holds as long as the function lives

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
