"""`ResultTable`: a DataFrame that prints as a table for readers, within 100 columns."""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import pandas as pd

from regimelag.runtime.number_format import cell, decimals, fixed, interval, probability

WIDTH = 100
# Width from which on a text column may be wrapped.
NARROWEST = 14
QUANTILES = ("5 %", "median", "95 %")
NUMBER = re.compile(r"[<>]? ?-?[\d,]*\.?\d+( %)?")
INTERVAL = re.compile(r"\[.+, .+\]")
SENTENCES = "sentences"
# Attribute of a result: its sample in words.
OF_SAMPLE = "sample"
# Stands for a space at which no line ends.
UNBROKEN = "\ue000"
SIDES: dict[str, Literal["left", "center", "right"]] = {"text": "left", "mixed": "center"}
SIDES |= {"number": "right", "interval": "right"}
# The lines between the header and the body, in characters of any terminal.
RULE = "    \n    \n -- \n    \n    \n    \n    \n    \n"


class Shown(NamedTuple):
    """A table as readers see it.

    Attributes
    ----------
    table : pandas.DataFrame
        Rounded text, without an index.
    caption : str
        What the table is of, its units and sample.
    absent : tuple of str
        Columns of the complete table that are not shown.
    first : bool
        Whether the table stands above the sentences of the result.
    """

    table: pd.DataFrame
    caption: str = ""
    absent: tuple[str, ...] = ()
    first: bool = False


class ResultTable(pd.DataFrame):
    """A DataFrame with all numbers, which prints and displays its main columns, rounded, below its sentences.

    What pandas makes of it is a plain DataFrame.

    Parameters
    ----------
    frame : pandas.DataFrame
        All rows and columns; attrs are kept.
    show : callable
        Makes what is shown from the frame; a module's function, so that the table can be pickled.
    """

    _metadata = ["_show"]  # noqa: RUF012 - of pandas

    def __init__(self, frame: pd.DataFrame, show: Callable[[pd.DataFrame], Shown]) -> None:
        super().__init__(frame)  # type: ignore[call-arg]
        self.attrs = frame.attrs
        self._show = show

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __reduce__(self) -> tuple[Any, ...]:
        plain = pd.DataFrame(self)
        plain.attrs = self.attrs
        return ResultTable, (plain, self._show)

    @property
    def shown(self) -> Shown:
        """The part that is printed, displayed and typeset."""
        return self._show(self)

    def __repr__(self) -> str:
        shown, said = self.shown, wrapped(self.attrs.get(SENTENCES, []))
        parts = [said, printed(shown)] if not shown.first else [printed(shown), said]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        shown, said = self.shown, self.attrs.get(SENTENCES, [])
        parts = ["".join(f"<p>{html.escape(sentence)}</p>" for sentence in said), as_html(shown)]
        return "".join(parts[::-1] if shown.first else parts)


def readable(
    frame: pd.DataFrame, columns: Sequence[str] | None = None, *, caption: str = "", first: bool = False
) -> ResultTable:
    """A table that shows these columns, rounded; see `compact`."""
    return ResultTable(frame, partial(compact, columns=columns, caption=caption, first=first))


def wrapped(sentences: Sequence[str]) -> list[str]:
    """Sentences in lines of at most 100 characters; further lines of a sentence are indented."""
    return [line for one in sentences for line in textwrap.wrap(one, WIDTH, subsequent_indent="  ") or [""]]


def printed(shown: Shown) -> list[str]:
    """Lines of a table with its caption below it, and the columns that are in the complete table alone."""
    if not len(shown.table):
        return []
    text, left = as_text(shown)
    absent = [*shown.absent, *left]
    said = [shown.caption, f"In the DataFrame alone: {', '.join(absent)}." if absent else ""]
    return [*text, *wrapped([" ".join(filter(None, said))] if any(said) else [])]


# ---- what is shown


def compact(
    frame: pd.DataFrame,
    columns: Sequence[str] | None = None,
    *,
    alike: Sequence[Hashable] = (),
    caption: str = "",
    first: bool = False,
) -> Shown:
    """Round a table, put each 90 % interval into one column, and drop empty columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    columns : sequence of str, optional
        Columns to show beside those of the index, in this order; by default all.
    alike : sequence, optional
        A label for each row: rows of one label have as many decimals as each other. By default all rows.
    caption : str, optional
        What it is of; the sample is added from attrs.
    first : bool
        Whether the table stands above the sentences.

    Returns
    -------
    Shown
    """
    index = frame.index.to_frame(index=False) if frame.index.names != [None] else pd.DataFrame()
    # An index level with one label says nothing, unless it is the only one.
    keys = [name for name in index if index.shape[1] == 1 or len(index[name].unique()) > 1]
    flat = flattened(frame).reset_index(drop=True)
    groups = list(alike) or [0] * len(flat)
    made = _without_repeats({str(name): [cell(value) for value in index[name]] for name in keys})
    chosen = [name for name in (flat.columns if columns is None else columns) if name in flat]
    parts = {part for name in chosen for part in _parts(name, flat)}
    for name in chosen:
        if name not in parts:
            made |= _column(name, flat, groups)
    table = pd.DataFrame({name: values for name, values in made.items() if any(values)}, dtype=str)
    absent = tuple(name for name in flat.columns if name not in {*chosen, *parts})
    sample = frame.attrs.get(OF_SAMPLE, "")
    return Shown(table, " ".join(filter(None, (caption, f"Sample: {sample}." if sample else ""))), absent, first)


def flattened(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with one level of column names, as text."""
    names = [" ".join(map(str, name)).strip() if isinstance(name, tuple) else str(name) for name in frame.columns]
    return frame.set_axis(names, axis=1)


def _parts(name: str, frame: pd.DataFrame) -> list[str]:
    """Columns that are shown with this one: the ends of a median's interval, the standard error of an estimate."""
    ends = [f"{name.removesuffix('median')}{end}" for end in QUANTILES[::2]] if name.endswith("median") else []
    ends = ends or [f"{name} {end}" for end in ("low", "high")]
    return [part for part in (*ends, f"{name} se") if part in frame]


def _column(name: str, frame: pd.DataFrame, groups: Sequence[Hashable]) -> dict[str, list[str]]:
    """Title and text of a column; of a median also its interval, and an estimate with its standard error."""
    values, title = frame[name], name.replace("_", " ")
    if re.search(r"(^| )P\(|probability", name):
        return {title: [probability(value) for value in values]}
    if not pd.api.types.is_float_dtype(values):
        return {title: [cell(value) for value in values]}
    rest = [frame[part] for part in _parts(name, frame)]
    by_group: dict[Hashable, list[float]] = {}
    for column in (values, *rest):
        for group, value in zip(groups, column, strict=True):
            by_group.setdefault(group, []).append(value)
    places = [decimals(by_group[group]) for group in groups]
    text = [fixed(*one) for one in zip(values, places, strict=True)]
    if len(rest) == len(QUANTILES[::2]):
        whole = [interval(*ends) for ends in zip(*rest, places, strict=True)]
        ends = f"{title.removesuffix('median')}90 %" if title.endswith("median") else f"{title} interval"
        return {title: text, ends: whole}
    if rest:
        errors = [fixed(*one) for one in zip(rest[0], places, strict=True)]
        return {f"{title} (se)": [f"{one} ({se})" if se else one for one, se in zip(text, errors, strict=True)]}
    return {title: text}


def _without_repeats(keys: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Labels of the index, blank where a label and all before it are those of the row above; never the last one."""
    rows = list(zip(*keys.values(), strict=True))
    last = len(keys) - 1

    def again(n: int, k: int) -> bool:
        return n > 0 and k < last and rows[n][: k + 1] == rows[n - 1][: k + 1]

    return {name: ["" if again(n, k) else row[k] for n, row in enumerate(rows)] for k, name in enumerate(keys)}


# ---- text and HTML


def kind_of(values: Sequence[str]) -> str:
    """Whether a column holds numbers, intervals, text, or numbers and intervals beside short words."""
    held = [value.strip() for value in values if value.strip()]
    if any(map(INTERVAL.fullmatch, held)) and not all(map(INTERVAL.fullmatch, held)):
        return "mixed"
    if held and all(INTERVAL.fullmatch(value) for value in held):
        return "interval"
    return "number" if held and all(NUMBER.fullmatch(value) for value in held) else "text"


def padded(values: Sequence[str], blank: str = " ") -> list[str]:
    """Numbers filled up on the right, so that decimal points are below each other when right-aligned."""
    tails = [value[value.find(".") :] if "." in value else "" for value in values]
    longest = max(tails, key=len, default="")
    return [
        value + blank * (len(longest) - len(tail)) if value else "" for value, tail in zip(values, tails, strict=True)
    ]


def as_text(shown: Shown, width: int = WIDTH) -> tuple[list[str], list[str]]:
    """Lines of the table as text, with text columns wrapped, and the columns for which there is no space."""
    from rich.box import Box  # noqa: PLC0415 - only needed to print
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    columns = {str(name): shown.table[name].to_list() for name in shown.table}
    columns = {name: padded(values) if kind_of(values) == "number" else values for name, values in columns.items()}
    least = {name: _least(name, values) for name, values in columns.items()}
    fitting = [name for n, name in enumerate(columns) if sum(list(least.values())[: n + 1]) <= width]
    drawn = Table(box=Box(RULE, ascii=True), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made = []
    for name in fitting:
        kind, cells = kind_of(columns[name]), columns[name]
        reach = None if kind == "text" else least[name] - 2
        drawn.add_column(Text(name), min_width=least[name] - 2, max_width=reach, justify=SIDES[kind])
        # A number and an interval stay in one line; their title may be wrapped.
        made.append(cells if kind == "text" else [cell.replace(" ", UNBROKEN) for cell in cells])
    for row in zip(*made, strict=True):
        drawn.add_row(*map(Text, row))
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    with console.capture() as held:
        console.print(drawn)
    lines = [line.replace(UNBROKEN, " ").rstrip() for line in held.get().splitlines()]
    return lines, [name for name in columns if name not in fitting]


def _least(name: str, values: Sequence[str]) -> int:
    """Smallest width of a column with the space beside it."""
    words = [word for value in (*values, name) for word in value.split()]
    longest = max(map(len, words), default=0)
    whole = max(map(len, (*values, name)), default=0)
    return 2 + (max(longest, min(whole, NARROWEST)) if kind_of(values) == "text" else max(longest, *map(len, values)))


def as_html(shown: Shown) -> str:
    """The table as escaped HTML, with its caption; numbers are right-aligned."""
    kinds = [kind_of(shown.table[name].to_list()) for name in shown.table]
    numbers = ' class="n" style="text-align:{};white-space:nowrap"'
    marks = ["" if kind == "text" else numbers.format(SIDES[kind]) for kind in kinds]

    def row(tag: str, values: Sequence[str]) -> str:
        cells = zip(values, marks, kinds, strict=True)
        return f"<tr>{''.join(f'<{tag}{mark}>{_signed(value, kind)}</{tag}>' for value, mark, kind in cells)}</tr>"

    body = "".join(row("td", list(values)) for values in shown.table.itertuples(index=False))
    head = row("th", list(shown.table.columns))
    caption = f'<caption style="text-align:left">{html.escape(shown.caption)}</caption>' if shown.caption else ""
    return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _signed(value: str, kind: str) -> str:
    """Escaped text, of a number with a true minus sign, which does not break at the end of a line."""
    return html.escape(value if kind == "text" else value.replace("-", "\N{MINUS SIGN}"))
