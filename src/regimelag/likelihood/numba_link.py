"""Compile the package's loops once, and link them by symbol.

numba compiles a cached function into each function that calls it, and PyTensor wraps an Op in five such layers, so a
loop would be optimised five times for each new model. :func:`link` therefore registers a compiled loop as a symbol that
LLVM resolves, as for a call of a C library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding
from numba import njit, types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

# Permitted compiler optimisations: fused multiply-add, or reordering of sums as well.
CONTRACT: frozenset[str] = frozenset({"contract"})
REORDER: frozenset[str] = frozenset({"contract", "reassoc"})

# Hash of all loops: compiled code, and PyTensor's cache of its callers, are valid for one version of all of them.
VERSION = int.from_bytes(
    hashlib.sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))).digest()[:6]
)
_LINKED: list[Any] = []


class HealingCache(FunctionCache):
    """Compiled code on disk; what cannot be read, such as a truncated file, is compiled anew."""

    def load_overload(self, *args: Any) -> Any:
        """Compiled code for a signature, if the files have it."""
        try:
            return super().load_overload(*args)
        except Exception:
            # Any exception: pickle raises many for damaged content.
            with suppress(OSError):
                self.flush()
            return None


def compiled(fastmath: frozenset[str] = frozenset(), **options: Any) -> Callable[[Any], Any]:
    """Decorator that compiles a loop with numba and caches it on disk until any loop of the package changes.

    numba itself checks only the file of the function, not functions of other files that it calls.

    Parameters
    ----------
    fastmath : frozenset of str
        Permitted optimisations, as for `numba.njit`.
    **options
        Passed on to `numba.njit`.
    """

    def decorate(function: Any) -> Any:
        loop = njit(cache=True, error_model="numpy", fastmath=set(fastmath), **options)(function)
        # numba has no public way.
        loop._cache = HealingCache(function)  # noqa: SLF001
        loop._cache._cache_file._source_stamp = VERSION  # noqa: SLF001
        return loop

    return decorate


@cache
def link(loop: Any, arguments: tuple[types.Type, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """Compile a loop for arguments of these types; numba code calls the result with one tuple.

    Parameters
    ----------
    loop : numba dispatcher
        From :func:`compiled`.
    arguments : tuple of numba.types.Type
        Argument types. Arguments of other types are cast, or refused.
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
