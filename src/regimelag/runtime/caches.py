"""Errors of unwritable compilation caches of numba and PyTensor."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from regimelag.errors import FitError, RegimelagError

# No permission, a read-only file system, a file in place of a folder (HOME=/dev/null).
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
# Messages of numba, of PyTensor, and of Python without a home folder.
NOWHERE = ("no locator available", "compiledir", "determine home directory")
VARIABLES = "NUMBA_CACHE_DIR=/tmp/numba PYTENSOR_FLAGS=base_compiledir=/tmp/pytensor MPLCONFIGDIR=/tmp/matplotlib"


@contextmanager
def explain_read_only_cache() -> Iterator[None]:
    """Convert errors of a read-only compilation cache to one that names the variables to set.

    Raises
    ------
    FitError
        In place of such an error; other errors propagate.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as problem:
        denied = isinstance(problem, OSError) and problem.errno in DENIED
        told = isinstance(problem, RegimelagError)
        if told or not (denied or any(words in str(problem) for words in NOWHERE)):
            raise
        raise FitError(
            "compiled code",
            "numba and PyTensor have folders to write to: by default, in the home folder and in the package",
            f"{type(problem).__name__}: {problem}",
            f"set these variables before Python starts, to folders that can be written to: {VARIABLES}",
        ) from problem
