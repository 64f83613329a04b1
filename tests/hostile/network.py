"""Servers that misbehave at each step, caches that are damaged, and arguments that are none."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import fredapi
import loopback
import numpy as np
import pandas as pd
from loopback import KEY, Files, Fred, running

import regimelag as rl
from hostile.cases import Case
from regimelag.fetch import download, retry

DATES = [f"{day:%Y-%m-%d}" for day in pd.date_range("2020-01-01", periods=8)]
RELEASES = [(day, day, f"{n + 1}.5") for n, day in enumerate(DATES)]
HOST = "http://elsewhere.invalid"


def xml(*rows: str, tag: str = "observations") -> str:
    return f"<{tag}>{''.join(rows)}</{tag}>"


def row(date: str | None = "2020-01-01", value: str | None = "1.5", start: str | None = "2020-01-01") -> str:
    held = {"realtime_start": start, "date": date, "value": value}
    given = (f'{name}="{text}"' for name, text in held.items() if text is not None)
    return f"<observation {' '.join(given)}/>"


def page(body: str | bytes, status: int = 200, **headers: str) -> tuple[int, dict[str, str], str | bytes]:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
# What a server answers instead; "none" where the answer may be a table as well.
ANSWERS: dict[str, object] = {
    "nothing": page(""),
    "blanks": page("   \n\n "),
    "HTML": page("<html><body>Down for maintenance</body></html>"),
    "HTML cut": page("<html><bo"),
    "JSON": page('{"error": "no"}'),
    "plain text": page("Service temporarily unavailable"),
    "half a table": page('<observations><observation date="2020-01-01" val'),
    "a table without rows": page(xml()),
    "another table": page(xml(tag="seriess")),
    "an error with status 200": page('<error code="400" message="Bad Request. The series does not exist."/>'),
    "an error without a message": page("<error/>"),
    "an endless message": page(f'<error message="{"a" * 200_000}"/>', 400),
    "an entity bomb": page(f'<!DOCTYPE x [<!ENTITY a0 "a">{BOMB}]>' + xml(row("&a11;"))),
    "a file entity": page('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + xml(row("&e;"))),
    "an unknown encoding": page('<?xml version="1.0" encoding="utf-99"?>' + xml(row())),
    "a wrong encoding": page('<?xml version="1.0" encoding="utf-16"?>' + xml(row())),
    "deep tags": page("<a>" * 100_000 + "</a>" * 100_000),
    "NUL": page("\0" * 1000),
    "no value": page(xml(row(value=None))),
    "no date": page(xml(row(date=None))),
    "an empty date": page(xml(row(date=""))),
    "no rows but text": page("<observations>text</observations>"),
    "children of another kind": page("<observations><a/><b date='2020-01-01'/></observations>"),
    "attributes of another table": page("<observations><observation x='1'/></observations>"),
    **{
        f"value {value!r}": page(xml(row(value=value)))
        for value in (
            "",
            "abc",
            "inf",
            "-inf",
            "nan",
            "1e400",
            "1,5",
            "0x10",
            "1_000",
            "\u0661\u0662",
            "--1",
            " 1",
            "1 2",
        )
    },
    **{
        f"date {date!r}": page(xml(row(date=date)))
        for date in ("2024-13-45", "2024-02-30", "0000-00-00", "01/02/2020", "20200101", "tomorrow", "99999-01-01")
    },
    **{
        f"release {date!r}": page(xml(row(start=date)))
        for date in (None, "", "garbage", "2020-02-31", "2999-01-01", "0001-01-01")
    },
    "HTTP 201": page(xml(row()), 201),
    "HTTP 204": page("", 204),
    "HTTP 206": page(xml(row()), 206),
    **{
        f"HTTP {status}": page("<html>no</html>", status)
        for status in (400, 401, 403, 404, 410, 418, 451, 500, 501, 599)
    },
    **{f"HTTP {status} for ever": [status] * 9 for status in (429, 500, 502, 503, 504)},
    **{
        f"redirect to {place}": page("", status, Location=place.replace("SELF", "/again"))
        for status, place in [
            *((code, f"{HOST}/x?api_key={KEY}") for code in (301, 302, 303, 307, 308)),
            (302, "https://127.0.0.1/x"),
            (302, "ftp://127.0.0.1/x"),
            (302, "file:///etc/hostname"),
            (302, "http://[::1"),
            (302, "//elsewhere.invalid/x"),
            (302, ""),
        ]
    },
    "redirects in a circle": [page("", 302, Location="?api_key=x") for _ in range(60)],
    **{
        f"Retry-After {text!r}": [page("", 429, Retry_After=text) for _ in range(9)]
        for text in (
            "0",
            "-5",
            "1e3",
            "9" * 400,
            "999999",
            "soon",
            "",
            "\xb2",
            "1.5",
            "Wed, 99999999999999999999 Oct 2015 07:28:00 GMT",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wed, 21 Oct 2999 07:28:00 GMT",
            "Wed, 21 Oct 2015 07:28:00",
            "Wed, 31 Feb 2015 07:28:00 -0000",
        )
    },
    "cut": "cut",
    "cut each time": ["cut"] * 9,
    "cut short each time": ["cut short"] * 9,
    "reset": "reset",
    "reset each time": ["reset"] * 9,
    "late": "late",
    "gzip": page(gzip.compress(xml(row()).encode()), Content_Encoding="gzip"),
    "a gzip bomb": page(gzip.compress(bytes(10**7)), Content_Encoding="gzip"),
    "the key in a message": page(f'<error code="400" message="Bad Request. {KEY} is not right."/>', 400),
    "the key in a page": page(f"<html>{KEY}</html>"),
    "the key in a value": page(xml(row(value=KEY))),
}
CSVS: dict[str, object] = {
    name: answer
    for name, answer in ANSWERS.items()
    if not name.startswith(("value", "date", "release", "no ", "the key in"))
} | {
    f"CSV {text!r}": page(text)
    for text in (
        "observation_date,DGS10\n",
        "observation_date,DGS10\n2020-01-01,1.5",
        "observation_date,DGS10\n2020-01-01,1.5,7\n",
        "observation_date,DGS10\n2020-01-01\n",
        "observation_date,DGS10\n2020-01-01,abc\n",
        "observation_date,DGS10\n2020-01-01,inf\n",
        "observation_date,DGS10\n2020-01-01,1e400\n",
        "observation_date,DGS10\n2020-01-01,nan\n",
        "observation_date,DGS10\n2020-13-01,1\n",
        "observation_date,DGS10\n,1\n",
        "observation_date,OTHER\n2020-01-01,1\n",
        "a,b\n1,2\n",
        'observation_date,DGS10\n"2020-01-01,1\n',
        "observation_date,observation_date\n2020-01-01,1\n",
        "\ufeffobservation_date,DGS10\n2020-01-01,1\n",
        "observation_date,DGS10\n2020-01-01,\u0661\n",
    )
}
STOOQ = {name: answer for name, answer in CSVS.items() if not name.startswith("CSV")} | {
    f"prices {text!r}": page(text)
    for text in (
        "No data",
        "Exceeded the daily hits limit",
        "Date,Open,High,Low,Close,Volume\r\n",
        "Date,Open,High,Low,Close,Volume\r\n2020-01-02,1,1,1,,1\r\n",
        "Date,Open,High,Low,Close,Volume\r\n2020-01-02,1,1,1,inf,1\r\n",
        "Date,Open,High,Low,Close,Volume\r\n2020-01-02,1,1,1,a,1\r\n",
        "Date,Open,High,Low\r\n2020-01-02,1,1,1\r\n",
        "Date,Close\r\n2020-02-31,1\r\n",
    )
}


def cases(folder: Path) -> Iterator[Case]:
    """Every answer in place of each request of each function, damaged caches, and hostile arguments."""
    fred = {
        "fetch_fred": lambda at: rl.fetch_fred("DGS10", api_key=KEY, cache=at, timeout=2),
        "fetch_fred, as_of": lambda at: rl.fetch_fred("DGS10", as_of="2020-01-05", api_key=KEY, cache=at, timeout=2),
        "fetch_vintages": lambda at: rl.fetch_vintages("DGS10", api_key=KEY, cache=at, timeout=2),
    }
    for name, fetch in fred.items():
        for kind, answer in ANSWERS.items():
            for step in range(2 if name == "fetch_vintages" else 1):
                yield _asked(folder, Fred, f"{name}, request {step + 1}: {kind}", fetch, answer, step)
    for kind, answer in CSVS.items():
        fetch = lambda at: rl.fetch_fred("DGS10", cache=at, timeout=2)  # noqa: E731
        yield _asked(folder, Files, f"fetch_fred without a key: {kind}", fetch, answer, 0)
    for kind, answer in STOOQ.items():
        fetch = lambda at: rl.fetch_market("slv.us", source="stooq", cache=at, timeout=2)  # noqa: E731
        yield _asked(folder, Files, f"fetch_market from Stooq: {kind}", fetch, answer, 0)
    yield from _caches(folder)
    yield from _arguments(folder)


def _asked(
    folder: Path, kind: type, name: str, fetch: Callable[[Path], pd.DataFrame], answer: object, step: int
) -> Case:
    def call() -> str:
        at = folder / "cache"
        shutil.rmtree(at, ignore_errors=True)
        with _served(kind) as server:
            normal: list[object] = [None] * step
            server.faults = normal + (list(answer) if isinstance(answer, list) else [answer])
            found = _without_key(lambda: fetch(at))
            return _judged(found, at)

    area = "FRED server" if kind is Fred else "CSV servers"
    return Case(area, name, call)


class _served:  # noqa: N801
    """A server on loopback to which all addresses are turned, without waits."""

    def __init__(self, kind: type) -> None:
        self.server = kind()
        (self.server.releases if kind is Fred else self.server.series).update(
            {"DGS10": RELEASES}
            if kind is Fred
            else {"DGS10": [(day, value) for day, _, value in RELEASES], "slv.us": [(d, v) for d, _, v in RELEASES]}
        )

    def __enter__(self) -> loopback.Server:
        self.stack = ExitStack()
        server = self.stack.enter_context(running(self.server))
        for patch in (
            mock.patch.object(fredapi.Fred, "root_url", server.url),
            mock.patch.object(download, "FRED_GRAPH", f"{server.url}/graph"),
            mock.patch.object(download, "STOOQ", f"{server.url}/q"),
            mock.patch.object(retry, "pause", return_value=None),
            mock.patch.dict(os.environ),
        ):
            self.stack.enter_context(patch)
        os.environ.pop("FRED_API_KEY", None)
        return server

    def __exit__(self, *_: object) -> None:
        self.stack.close()


def _without_key(ask: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The result; an error of ours is looked through for the key first."""
    try:
        return ask()
    except rl.RegimelagError as problem:
        seen = traceback.TracebackException.from_exception(problem, capture_locals=True)
        # The frames of this module hold the key themselves.
        shown, one = [], seen
        while one is not None:
            shown += [str(one), *(f"{f.name} {f.locals}" for f in one.stack if "/regimelag/" in f.filename)]
            one = one.__cause__ or one.__context__
        chained: BaseException | None = problem
        while chained is not None:
            shown.append(f"{chained!r} {vars(chained)} {getattr(chained, 'url', '')}")
            chained = chained.__cause__ or chained.__context__
        if KEY in " ".join(shown):
            raise AssertionError("the key is in the error") from None
        raise


def _judged(found: pd.DataFrame, at: Path) -> str:
    """A table from the server is that of the series, or of finite values on real days; the cache has no key."""
    for file in at.glob("*"):
        if KEY.encode() in file.read_bytes():
            return "the key is in the cache"
    column = found["value"] if "value" in found else found.iloc[:, 0]
    dates = pd.DatetimeIndex(found["date"]) if "date" in found else found.index
    if np.isinf(column).any() or dates.isna().any() or not len(found):
        return f"infinite values or missing dates: {found.to_dict()}"
    known = {float(value) for _, _, value in RELEASES} | {1.0}
    return "" if set(column.dropna()) <= known and column.notna().any() else f"values {sorted(set(column))[:5]}"


# ---- caches


def _entry(body: str, head: dict[str, object] | None = None, **more: object) -> bytes:
    held = {"format": 1, "fetched": "2020-01-01T00:00:00+00:00", "sha256": hashlib.sha256(body.encode()).hexdigest()}
    return f"# {json.dumps(held | more if head is None else head)}\n{body}".encode()


GOOD = "date,value\n2020-01-01,1.5\n"
ENTRIES: dict[str, bytes] = {
    "empty": b"",
    "text": b"a text",
    "no body": _entry(GOOD).split(b"\n")[0],
    "half": _entry(GOOD)[:-8],
    "a flipped digit": _entry(GOOD).replace(b"1.5", b"7.5"),
    "200,000 brackets": b"# " + b"[" * 200_000 + b"\n",
    "a list": b"# []\n" + GOOD.encode(),
    "a number": b"# 7\n" + GOOD.encode(),
    "no text": bytes(range(128, 256)),
    "another format": _entry(GOOD, format=99),
    "no time": _entry(GOOD, fetched=None),
    "NaT": _entry(GOOD, fetched="NaT"),
    "a naive time": _entry(GOOD, fetched="2020-01-01"),
    "a time that is none": _entry(GOOD, fetched="soon"),
    "a time of a number": _entry(GOOD, fetched=7),
    "a time of a list": _entry(GOOD, fetched=["2020-01-01"]),
    "a time far off": _entry(GOOD, fetched="99999-01-01T00:00:00+00:00"),
    "no date column": _entry("day,value\n2020-01-01,1.5\n"),
    "no value column": _entry("date,price\n2020-01-01,1.5\n"),
    "no columns": _entry(""),
    "a bad date": _entry("date,value\n2020-13-01,1.5\n"),
    "an empty date": _entry("date,value\n,1.5\n"),
    "a bad value": _entry("date,value\n2020-01-01,abc\n"),
    "ragged": _entry("date,value\n2020-01-01,1,2,3\n"),
    "a null head": b"# null\n" + GOOD.encode(),
    "a huge number": b'# {"format": ' + b"9" * 5000 + b"}\n",
}


def _caches(folder: Path) -> Iterator[Case]:
    for age in (None, "0D", "7D"):
        for name, content in ENTRIES.items():
            yield Case(
                "cache", f"{name}, max_age {age}", lambda content=content, age=age: _cached(folder, content, age)
            )
    future = _entry(GOOD, fetched="2999-01-01T00:00:00+00:00")
    for age in ("0D", "7D"):
        yield Case("cache", f"from the future, {age}", lambda age=age: _cached(folder, future, age))
    places: dict[str, Callable[[Path], object]] = {
        "a folder in place of the file": lambda at: (at / "fred-DGS10.csv").mkdir(parents=True),
        "a file in place of the folder": lambda at: at.write_text("x"),
        "a folder in place of the lock": lambda at: (at / "fred-DGS10.csv.lock").mkdir(parents=True),
        "a dangling link": lambda at: (at.mkdir(), (at / "fred-DGS10.csv").symlink_to("nowhere")),
        "a link to itself": lambda at: (at.mkdir(), (at / "fred-DGS10.csv").symlink_to("fred-DGS10.csv")),
        "a link to a text": lambda at: (
            at.mkdir(),
            (at / "victim").write_text("years of work"),
            (at / "fred-DGS10.csv").symlink_to(at / "victim"),
        ),
    }
    for name, make in places.items():
        yield Case("cache", name, lambda make=make: _placed(folder, make))


def _cached(folder: Path, content: bytes, age: str | None) -> str:
    at = folder / "cache"
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir()
    (at / "fred-DGS10.csv").write_bytes(content)
    with _served(Fred):
        found = rl.fetch_fred("DGS10", api_key=KEY, cache=at, max_age=age, timeout=2)
    return "" if len(found) == len(RELEASES) else f"{len(found)} rows were taken from it"


def _placed(folder: Path, make: Callable[[Path], object]) -> str:
    at = folder / "cache"
    shutil.rmtree(at, ignore_errors=True)
    at.unlink(missing_ok=True)
    make(at)
    try:
        with _served(Fred):
            found = rl.fetch_fred("DGS10", api_key=KEY, cache=at, timeout=2)
    finally:
        victim = at / "victim"
        spoilt = victim.is_file() and victim.read_text() != "years of work"
        if at.is_file():
            at.unlink()
    return "a file of somebody else's was written" if spoilt else ("" if len(found) == len(RELEASES) else "other rows")


# ---- arguments


def _arguments(folder: Path) -> Iterator[Case]:
    key = {"api_key": KEY}
    refused: dict[str, dict[str, object]] = {
        **{
            f"timeout {value!r}": {"timeout": value, **key} for value in (0, -1, np.nan, np.inf, 1e300, "2", None, True)
        },
        **{
            f"max_age {value!r}": {"max_age": value, **key}
            for value in (7, 7.0, -1, "7", "a week", "-1D", np.nan, [], "1e400D", True)
        },
        "cache with NUL": {"cache": "a\0b", **key},
        "cache in a file": {"cache": "/dev/null/x", **key},
        "a long cache": {"cache": folder / ("a" * 300), **key},
        **{f"api_key {value!r}": {"api_key": value} for value in ("", "x", 7, KEY.upper(), KEY + "a", "\0", b"x")},
        **{
            f"key file of {name}": {"api_key_file": folder / f"key {name}"}
            for name in ("nothing", "text", "another alphabet", "a folder", "nowhere", "a long line")
        },
        "key file with NUL": {"api_key_file": "a\0b"},
        **{
            f"as_of {value!r}": {"as_of": value, **key}
            for value in (
                "",
                "2020",
                "05/06/2020",
                "2999-01-01",
                "tomorrow",
                7,
                "2020-02-31",
                "0000-01-01",
                None.__class__,
            )
        },
    }
    files = {"nothing": b"", "text": b"no key", "another alphabet": KEY.encode("utf-16"), "a long line": b"a" * 10**6}
    for name, content in files.items():
        (folder / f"key {name}").write_bytes(content)
    (folder / "key a folder").mkdir()
    (folder / "key with a mark").write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b"\r\nnotes")
    good: dict[str, dict[str, object]] = {
        "key file with a byte order mark": {"api_key_file": folder / "key with a mark"},
        "a key with blanks": {"api_key": f" {KEY}\n"},
        "max_age of a Timedelta": {"max_age": pd.Timedelta(days=1), **key},
        "max_age of 0D": {"max_age": "0D", **key},
    }
    for options, fails in ((refused, True), (good, False)):
        for name, given in options.items():
            yield Case("cache", f"argument {name}", lambda given=given: _called(folder, given), refused=fails)
    for columns in (
        [],
        "",
        "no such column",
        ["a\0b"],
        {"a": ""},
        {"a": "../../etc"},
        7,
        None,
        [None],
        {"a": None},
        [["DGS10"]],
    ):
        yield Case("cache", f"columns {columns!r}", lambda columns=columns: _called(folder, key, columns), refused=True)


def _called(folder: Path, given: dict[str, object], columns: object = "DGS10") -> str:
    at = folder / "cache"
    shutil.rmtree(at, ignore_errors=True)
    with _served(Fred):
        found = rl.fetch_fred(columns, **({"cache": at, "timeout": 2} | given))
    return "" if len(found) == len(RELEASES) else "other rows"
