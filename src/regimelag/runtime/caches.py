"""Errors of compilation caches of numba and PyTensor that are not writable, full, or damaged."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from regimelag.errors import FitError, RegimelagError
from regimelag.runtime.files import NO_SPACE

# No permission, a read-only file system, a file in place of a folder (HOME=/dev/null).
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
# Messages of numba, of PyTensor, and of Python without a home folder.
NOWHERE = ("no locator available", "compiledir", "determine home directory")
VARIABLES = "NUMBA_CACHE_DIR=/tmp/numba PYTENSOR_FLAGS=base_compiledir=/tmp/pytensor MPLCONFIGDIR=/tmp/matplotlib"


# Prints the folder of PyTensor's compiled code.
WHERE = "python -c 'import pytensor; print(pytensor.config.compiledir)'"


@contextmanager
def explain_caches() -> Iterator[None]:
    """Convert errors of compilation caches to one that names the variables to set.

    Raises
    ------
    FitError
        In place of such an error; other errors propagate.
    """
    try:
        yield
    except (pickle.UnpicklingError, EOFError) as problem:
        raise FitError(
            "compiled code",
            "the code that numba and PyTensor keep on disk is whole",
            f"{type(problem).__name__}: {problem}",
            f"delete the folder that this prints: {WHERE}; or set these variables to new folders: {VARIABLES}",
        ) from problem
    except (OSError, RuntimeError, ValueError) as problem:
        denied = isinstance(problem, OSError) and problem.errno in DENIED | NO_SPACE
        told = isinstance(problem, RegimelagError)
        if told or not (denied or any(words in str(problem) for words in NOWHERE)):
            raise
        raise FitError(
            "compiled code",
            "numba and PyTensor have folders with space to write to: by default, in the home folder and in the package",
            f"{type(problem).__name__}: {problem}",
            f"set these variables before Python starts, to folders that can be written to: {VARIABLES}",
        ) from problem
