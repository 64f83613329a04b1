"""Cache of fetched tables: one CSV file per table, safe for concurrent processes.

The first line of a file is a comment with a JSON object: retrieval time, source, and a checksum of the rest. Files are
written under a temporary name and renamed, so that readers see the old or the new file, never a part. A lock file
ensures that processes which want the same table fetch it once. Reading executes no code.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
import pandas as pd
import platformdirs

from regimelag.errors import FetchError
from regimelag.runtime.files import remove_leftovers, write_whole
from regimelag.runtime.plain import path_of

FORMAT = 1
DATES = ("date", "published")
# Seconds; longer than a download with all its retries.
LONGEST_LOCK = 600.0


class CachedTable(NamedTuple):
    """A table from the cache.

    Attributes
    ----------
    table : DataFrame
        Columns as fetched; the columns date and published contain days.
    fetched : Timestamp
        Retrieval time, UTC.
    cached : bool
        Whether it was already in the cache.
    """

    table: pd.DataFrame
    fetched: pd.Timestamp
    cached: bool

    @property
    def age(self) -> pd.Timedelta:
        """Time since it was fetched."""
        return pd.Timestamp.now("UTC") - self.fetched


def default_folder() -> Path:
    """Folder for this user's caches; on Linux XDG_CACHE_HOME or ~/.cache."""
    return platformdirs.user_cache_path("regimelag", appauthor=False)


def folder_of(cache: str | Path | None, asked: str) -> Path:
    """The folder that a caller names, or the default one."""
    given = cache is not None and not (isinstance(cache, str) and not cache)
    return (
        path_of(FetchError, asked, "cache", cache, 'write cache="out/cache", or leave cache out')
        if given
        else default_folder()
    )


def read_age(max_age: str | pd.Timedelta | None, asked: str) -> pd.Timedelta | None:
    """Maximum age of a cached table; None for any age."""
    if max_age is None:
        return None
    try:
        # pandas would take a bare number for nanoseconds.
        bad = isinstance(max_age, Real) or str(max_age).strip().isdigit()
        limit = pd.Timedelta(max_age)
        bad = bad or not limit >= pd.Timedelta(0)
    except (ValueError, TypeError, OverflowError):
        bad = True
    if bad:
        cure = 'write max_age = "7D" for a week, "0D" to fetch anew, or leave it out to take what is cached'
        raise FetchError(asked, "max_age is a length of time, zero at least, or None", f"max_age = {max_age!r}", cure)
    return limit


def get_or_fetch(
    folder: Path,
    name: str,
    fetch: Callable[[], pd.DataFrame],
    *,
    about: Mapping[str, str],
    max_age: pd.Timedelta | None,
    asked: str,
) -> CachedTable:
    """Return a table from the cache if it is recent enough; otherwise fetch and store it.

    Parameters
    ----------
    folder : Path
        The cache; created if missing.
    name : str
        Name of the table, valid as a file name.
    fetch : callable
        Fetches the table; called only if needed, under the lock.
    about : mapping
        Metadata to write with the table; never a key.
    max_age : Timedelta, optional
        Older tables are fetched again; None for any age.
    asked : str
        First part of an error message: what the caller asked for.

    Returns
    -------
    CachedTable

    Raises
    ------
    FetchError
        If the folder cannot be written, or another process holds the lock for ten minutes. Errors of `fetch` propagate
        and leave the cached table unchanged.
    """
    path = folder / f"{name}.csv"
    with _explained(path, asked):
        held = _read_if_fresh(path, max_age)
    if held is not None:
        return held
    with _explained(path, asked):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{path}.lock")
        lock.acquire(timeout=LONGEST_LOCK)
    try:
        # Another process may have fetched it while this one waited.
        with _explained(path, asked):
            held = _read_if_fresh(path, max_age)
        if held is not None:
            return held
        table = fetch()
        with _explained(path, asked):
            return _write(path, table, about)
    finally:
        lock.release()


@contextmanager
def _explained(path: Path, asked: str) -> Iterator[None]:
    """Convert errors of the file system to `FetchError` with a cure."""
    try:
        yield
    except filelock.Timeout as fault:
        came = f"another process has held {path}.lock for {LONGEST_LOCK:.0f} s"
        cure = "wait for it or end it, or give cache = another folder"
        raise FetchError(asked, "processes take turns to fetch", came, cure) from fault
    except (OSError, ValueError) as fault:
        # A ValueError is a NUL in the path.
        if isinstance(fault, FetchError):
            raise
        came = f"{type(fault).__name__}: {fault}"
        cure = "give cache = a folder of your own that can be written"
        raise FetchError(asked, f"the cache in {path.parent} can be read and written", came, cure) from fault


def _read_if_fresh(path: Path, max_age: pd.Timedelta | None) -> CachedTable | None:
    # A wrong clock may have dated a table in the future, and it would never expire.
    held = read(path)
    return held if held is not None and (max_age is None or abs(held.age) <= max_age) else None


def read(path: Path) -> CachedTable | None:
    """Read a table; warn and return None if its checksum is wrong, or it is no table."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    first, _, body = text.partition(b"\n")
    try:
        head = json.loads(first.removeprefix(b"#"))
        if head["format"] != FORMAT or head["sha256"] != hashlib.sha256(body).hexdigest():
            raise ValueError("a wrong checksum")
        fetched = pd.Timestamp(head["fetched"])
        if not isinstance(fetched, pd.Timestamp) or fetched.tz is None:
            raise ValueError("no time of retrieval")
        return CachedTable(_parse(body), fetched.tz_convert("UTC"), cached=True)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        warnings.warn(f"The cached file {path} is damaged; it is not used, and is fetched again.", stacklevel=2)
        return None


def _parse(body: bytes) -> pd.DataFrame:
    texts = pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False)
    # Python's float parses exactly, so every float is restored to the last bit.
    table = pd.DataFrame(
        {
            name: pd.to_datetime(cells, format="%Y-%m-%d")
            if name in DATES
            else [float(cell) if cell else np.nan for cell in cells]
            for name, cells in texts.items()
        }
    )
    if (
        "value" not in table
        or "date" not in table
        or table[[one for one in DATES if one in table]].isna().any(axis=None)
    ):
        raise ValueError("no dates and values")
    return table


def _write(path: Path, table: pd.DataFrame, about: Mapping[str, str]) -> CachedTable:
    """Write a table and read it back, so that all runs see the same values."""
    body = table.to_csv(index=False, date_format="%Y-%m-%d", lineterminator="\n").encode()
    fetched = pd.Timestamp.now("UTC").isoformat(timespec="milliseconds")
    head = {"format": FORMAT, "fetched": fetched, "sha256": hashlib.sha256(body).hexdigest(), **about}
    remove_leftovers(path)
    write_whole(path, f"# {json.dumps(head)}\n".encode() + body)
    return CachedTable(_parse(body), pd.Timestamp(fetched), cached=False)
