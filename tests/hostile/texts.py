"""Specs and tables of data as nobody should write them."""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import regimelag as rl
from hostile.cases import Case
from regimelag.spec.toml import spec_from_toml, spec_to_toml

PLAIN = spec_to_toml(rl.read_spec("btc_silver"))
HUGE = 10**30
# Texts in place of a value, which no field takes all of.
VALUES = (
    *("-1", "0", "1", "1.5", "1e400", "inf", "-inf", "nan", str(10**9), str(HUGE), "true", '""', '"x"', '"\\u0000"'),
    *("[]", "[1]", '["a"]', "{}", "2020-01-01", "12:00:00", "[[[[]]]]", f'"{"a" * 5000}"', '"../../x"', '"\\n"'),
)


def cases(folder: Path) -> Iterator[Case]:
    yield from _specs(folder)
    yield from _tables(folder)


# ---- specs


def _fields() -> list[str]:
    """Lines of the plain spec that give a value."""
    return [line for line in PLAIN.splitlines() if " = " in line and not line.endswith(("[", "{"))]


def _specs(folder: Path) -> Iterator[Case]:
    lines = _fields()
    for number, line in enumerate(lines):
        name = line.split(" = ")[0].strip()
        for n, value in enumerate(VALUES):
            # Every field meets some of the values, and every value some of the fields.
            if (number + n) % 3 == 0:
                text = PLAIN.replace(line, f"{name} = {value}", 1)
                yield Case("spec", f"{name} = {value[:20]} (line {number})", lambda text=text: _spec_right(text))
    for name, text in TEXTS.items():
        yield Case("spec", name, lambda text=text: _spec_right(text))
    for name, content in FILES.items():
        yield Case("spec", f"file of {name}", lambda content=content: _file_right(folder, content))
    for value in (
        "",
        " ",
        "a" * 300,
        "a\0b",
        ".",
        "..",
        "/",
        "btc_silver.toml",
        "BTC_SILVER",
        "~",
        7,
        None,
        [],
        b"btc_silver",
    ):
        yield Case("spec", f"read_spec({str(value)[:20]!r})", lambda value=value: _named(value), refused=True)


TEXTS = {
    "nothing": "",
    "no TOML": "a b c",
    "a byte order mark": "\ufeff" + PLAIN,
    "50,000 brackets": "a = " + "[" * 50_000,
    "50,000 braces": "a = " + "{a=" * 50_000,
    "50,000 dots": "a" + ".a" * 50_000 + " = 1",
    "a key twice": PLAIN + '\nname = "x"\n',
    "a long number": "max_lag = " + "9" * 10_000,
    "another key": PLAIN.replace("max_lag", "max_lags", 1),
    "carriage returns": PLAIN.replace("\n", "\r\n"),
    "old carriage returns": PLAIN.replace("\n", "\r"),
    "NUL": PLAIN + "\0",
    "an unknown kind": PLAIN.replace('kind = "', 'kind = "no', 1),
    "a table in place of a list": PLAIN.replace("[[responses]]", "[responses]", 1),
    "100 signals": PLAIN + "\n".join(f'[[signals]]\nname = "s{n}"\ncolumn = "c{n}"\n' for n in range(100)),
    **{
        f"a name of {kind}": PLAIN.replace('"silver"', f'"{name}"')
        for kind, name in {
            "HTML": "<script>alert(1)</script>",
            "a formula": "=1+1",
            "LaTeX": "\\\\input{x}",
            "a path": "../../x",
            "blanks": "   ",
            "a NUL": "\\u0000",
            "a line break": "a\\nb",
            "300 letters": "x" * 300,
            "another alphabet": "\u91d1",
            "right to left": "\u202eabc",
            "a variable": "effect",
            "a dimension": "time",
        }.items()
    },
}
FILES = {
    "bytes": bytes(range(128, 256)),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "Latin-1": PLAIN.replace("claim", "# caf\xe9\nclaim", 1).encode("latin-1"),
    "nothing": b"",
    "an archive": b"PK\x03\x04" + bytes(100),
    "zeros": bytes(10**6),
}


def _spec_right(text: str) -> str:
    """A spec that was accepted is finite, small enough to be built, and written without loss."""
    spec = spec_from_toml(text)
    if spec_from_toml(spec_to_toml(spec)) != spec:
        return "not the same once written"
    numbers = [value for value in _numbers(spec) if not math.isfinite(value)]
    if numbers:
        return f"accepted with {numbers[:3]}"
    sizes = [one.count for one in getattr(spec, "regime_processes", ())] + [spec.max_lag]
    return f"accepted with sizes {sizes}" if max(sizes) > 10**5 else ""


def _numbers(part: object) -> Iterator[float]:
    if isinstance(part, float):
        yield part
    elif isinstance(part, (tuple, list)):
        for one in part:
            yield from _numbers(one)
    elif hasattr(part, "__dataclass_fields__"):
        for name in part.__dataclass_fields__:
            yield from _numbers(getattr(part, name))


def _file_right(folder: Path, content: bytes) -> str:
    path = folder / "spec.toml"
    path.write_bytes(content)
    return "" if rl.read_spec(path).name == "btc_silver" else "another spec"


def _named(value: object) -> str:
    rl.read_spec(value)
    return ""


# ---- tables

DAYS = [f"{day:%Y-%m-%d}" for day in pd.date_range("2020-01-03", periods=6, freq="W-FRI")]
CELLS = ["100", "101.5", "99", "102", "103", "104"]


def _csv(days: list[str] | None = None, cells: list[str] | None = None, header: str = "date,a", sep: str = ",") -> str:
    rows = zip(days or DAYS, cells or CELLS, strict=True)
    return "\n".join([header.replace(",", sep), *(f"{day}{sep}{cell}" for day, cell in rows)]) + "\n"


def _with(place: int, text: str, *, day: bool = False) -> str:
    held = list(DAYS if day else CELLS)
    held[place] = text
    return _csv(held) if day else _csv(cells=held)


ODD_CELLS = (
    *(
        "",
        " ",
        "abc",
        "inf",
        "-inf",
        "1e400",
        "nan",
        "NaN",
        "NA",
        "None",
        "null",
        "-",
        ".",
        "#N/A",
        "0",
        "-5",
        "1,5",
        "1.2.3",
    ),
    *(
        "1e5",
        "1_000",
        "0x10",
        "\u0661\u0662",
        "\uff11\uff12",
        "$100",
        "100%",
        "100 USD",
        "=1+1",
        "--5",
        "1e-320",
        "true",
    ),
    *("9" * 400, "1" * 10_000, "\0", '"101.5"', "'101.5", "101.5\t", "\xa0101.5", "\u2212101.5", "1.015E2", "+101.5"),
)
ODD_DAYS = (
    *(
        "",
        "abc",
        "2020-13-01",
        "2020-02-30",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31",
        "99999-01-01",
        "20200110",
        "1578614400",
    ),
    *("2020-01-10 00:00", "2020-01-10T23:59:59Z", "2020-01-10T12:00+25:00", "01/10/2020", "10/01/2020", "Jan 10 2020"),
    *(
        "2020-W02-5",
        "2020-1-9",
        "\u0662\u0660\u0662\u0660-01-10",
        "2020-01-03",
        "2019-12-27",
        "NaT",
        "now",
        "today",
        "1e9",
        "-1",
    ),
)


def _tables(folder: Path) -> Iterator[Case]:
    for cell in ODD_CELLS:
        yield Case("CSV", f"cell {cell[:20]!r}", lambda cell=cell: _read(folder, _with(2, cell), cell))
    for day in ODD_DAYS:
        yield Case("CSV", f"date {day!r}", lambda day=day: _read(folder, _with(1, day, day=True), None))
    for name, content in TABLES.items():
        yield Case("CSV", name, lambda content=content: _read(folder, content, None))
    for name, make in PLACES.items():
        yield Case("CSV", name, lambda make=make: _place(folder, make), refused=True)
    for name, frame in FRAMES.items():
        yield Case("frames", name, lambda frame=frame: _panel(frame()))


TABLES: dict[str, str | bytes] = {
    "nothing": "",
    "blank lines": "\n\n\n",
    "a header": "date,a\n",
    "one row": "date,a\n2020-01-03,1\n",
    "no line break at the end": _csv().rstrip("\n"),
    "carriage returns": _csv().replace("\n", "\r\n"),
    "old carriage returns": _csv().replace("\n", "\r"),
    "semicolons": _csv(sep=";"),
    "tabs": _csv(sep="\t"),
    "bars": _csv(sep="|"),
    "a byte order mark": b"\xef\xbb\xbf" + _csv().encode(),
    "UTF-16": _csv().encode("utf-16"),
    "UTF-32": _csv().encode("utf-32"),
    "Latin-1": _csv(header="date,caf\xe9").encode("latin-1"),
    "bytes": bytes(range(256)) * 4,
    "zeros": bytes(5000),
    "an archive": b"PK\x03\x04" + bytes(100),
    "gzip": __import__("gzip").compress(_csv().encode()),
    "HTML": "<html><body>Not found</body></html>",
    "JSON": '{"date": ["2020-01-03"], "a": [1]}',
    "a quote that is not closed": _csv().replace("101.5", '"101.5'),
    "ragged": _csv().replace("99", "99,1"),
    "short lines": _csv().replace(",99", ""),
    "a column twice": _csv(header="date,a").replace(",a", ",a,a").replace("00", "00,1"),
    "a name of NUL": _csv(header="date,a\0b"),
    "a name of blanks": _csv(header="date,   "),
    "a name of 10,000 letters": _csv(header="date," + "x" * 10_000),
    "a name of another alphabet": _csv(header="date,\u91d1"),
    "a formula for a name": _csv(header="date,=1+1"),
    "no header": "\n".join(_csv().splitlines()[1:]),
    "two headers": "date,a\nunits,USD\n" + _csv().partition("\n")[2],
    "notes above": "Source: somebody\n\n" + _csv(),
    "notes below": _csv() + "Source: somebody\n",
    "newest first": _csv(list(reversed(DAYS)), list(reversed(CELLS))),
    "a day twice": _csv([*DAYS[:5], DAYS[4]]),
    "no dates": _csv(header="b,a", days=["1", "2", "3", "4", "5", "6"]),
    "5,000 columns": ",".join(["date", *(f"c{n}" for n in range(5000))])
    + "\n"
    + "".join(f"{day}" + ",1" * 5000 + "\n" for day in DAYS),
    "100,000 quotes": "date,a\n2020-01-03," + '"' * 100_000 + "\n",
    "a line of 1 MB": "date,a\n2020-01-03," + "1" * 10**6 + "\n",
}
PLACES: dict[str, Callable[[Path], object]] = {
    "no file": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a named pipe": os.mkfifo,
}


def _read(folder: Path, content: str | bytes, cell: str | None) -> str:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    frame = rl.read_series(path)
    dates = pd.DatetimeIndex(frame.index)
    values = frame.select_dtypes("number").to_numpy(dtype=float)
    if not len(frame.columns) or dates.isna().any() or np.isinf(values).any():
        return f"read as {frame.head(3).to_dict()}"
    if not dates.is_monotonic_increasing or not dates.year.isin(range(2019, 2021)).all():
        return f"dates {dates[:3].tolist()}"
    if cell is None or values.shape[1] != 1:
        return ""
    third = values[list(dates).index(pd.Timestamp(DAYS[2])), 0] if pd.Timestamp(DAYS[2]) in dates else np.nan
    plain = cell.strip().strip("\"'").replace("\u2212", "-")
    try:
        wanted = float(plain) if plain.isascii() and "_" not in plain else math.nan
    except ValueError:
        wanted = math.nan
    known = np.isnan(third) if not math.isfinite(wanted) else third == wanted
    return "" if known else f"{cell!r} is read as {third}"


def _place(folder: Path, make: Callable[[Path], object]) -> str:
    path = folder / "placed.csv"
    make(path)
    try:
        rl.read_series(path)
    finally:
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    return ""


SPEC = rl.ModelSpec(name="m", responses=(rl.Response("a", "a"),), regimes=rl.spec.Regimes(count=1), family="normal")
INDEX = pd.date_range("2020-01-03", periods=30, freq="W-FRI")
PRICES = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.03, 30)))


def _frame(**changes: object) -> pd.DataFrame:
    return pd.DataFrame({"a": changes.get("values", PRICES)}, index=changes.get("index", INDEX))


def _at(place: int, value: object) -> pd.DataFrame:
    held = list(PRICES)
    held[place] = value
    return _frame(values=held)


FRAMES: dict[str, Callable[[], object]] = {
    **{
        f"a price of {value!r}": lambda value=value: _at(7, value)
        for value in (np.inf, -np.inf, np.nan, 0.0, -1.0, 1e300, 1e-300, "x", None, 1j, 10**400)
    },
    **{
        f"an index of {value!r}": lambda value=value: _frame(index=[value, *INDEX[1:]])
        for value in (None, "x", 7, dt.date(2020, 1, 1), pd.NaT)
    },
    "all missing": lambda: _frame(values=np.full(30, np.nan)),
    "all the same": lambda: _frame(values=np.ones(30)),
    "all zero": lambda: _frame(values=np.zeros(30)),
    "text": lambda: _frame(values=[str(one) for one in PRICES]),
    "truth values": lambda: _frame(values=PRICES > 100),
    "lists": lambda: _frame(values=[[one] for one in PRICES]),
    "no rows": lambda: _frame().iloc[:0],
    "one row": lambda: _frame().iloc[:1],
    "three rows": lambda: _frame().iloc[:3],
    "no columns": lambda: _frame()[[]],
    "a column twice": lambda: pd.concat([_frame(), _frame()], axis=1),
    "rows twice": lambda: pd.concat([_frame(), _frame()]),
    "rows in disorder": lambda: _frame().sample(frac=1, random_state=0),
    "whole numbers as index": lambda: _frame(index=range(30)),
    "days of periods": lambda: _frame(index=INDEX.to_period("W-FRI")),
    "UTC": lambda: _frame(index=INDEX.tz_localize("UTC")),
    "several levels": lambda: _frame(index=pd.MultiIndex.from_product([INDEX, ["x"]])),
    "columns of several levels": lambda: _frame().set_axis(pd.MultiIndex.from_tuples([("a", "b")]), axis=1),
    "the year 1": lambda: _frame(index=[dt.datetime(1, 1, 1), *INDEX[1:]]),
    "the year 9999": lambda: _frame(index=[*INDEX[:-1], dt.datetime(9999, 1, 1)]),
    "a Series": lambda: _frame()["a"],
    "an array": lambda: PRICES,
    "a dict": lambda: {"a": PRICES},
    "a path": lambda: "prices.csv",
    "nothing": lambda: None,
    "complex numbers": lambda: _frame(values=PRICES + 1j),
    "decimals": lambda: _frame(values=[__import__("decimal").Decimal(str(one)) for one in PRICES]),
    "categories": lambda: _frame(values=pd.Categorical(PRICES)),
    "sparse": lambda: _frame(values=pd.arrays.SparseArray(PRICES)),
    "nullable": lambda: _frame(values=pd.array(PRICES, dtype="Float64")),
    "float16": lambda: _frame(values=PRICES.astype("float16")),
    "a scale of 1e12": lambda: _frame(values=PRICES * 1e12),
    "a scale of 1e-12": lambda: _frame(values=PRICES * 1e-12),
    "an outlier": lambda: _at(7, 1e9),
}


def _panel(frame: object) -> str:
    panel = rl.make_panel(SPEC, frame)
    values = panel["response_value"].to_numpy()
    held = np.isfinite(values).any() and not np.isinf(values).any() and panel.sizes["time"] > 0
    return "" if held else "a panel without finite values"
