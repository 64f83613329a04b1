"""Tables and models as LaTeX for papers: within the text width of article and of one or two columns of IEEEtran."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from regimelag.errors import FitError
from regimelag.results.summary import Summary
from regimelag.runtime.latex_text import escape, in_ascii, mathematics_width
from regimelag.runtime.result_table import ResultTable, Shown, kind_of

# Widths in pt that a table may fill: a column of IEEEtran (252), and the text of article (345).
COLUMN, PAGE = 246.0, 340.0
# Space beside a column, in pt.
SEPARATION = 6.0
# Lines of one float.
MOST_LINES = 44
# Where a formula may end a line, and whether brackets that grow stay whole: between summands, factors, and in brackets.
ENDS = ((r" (?=[+] )| (?==|\\sim)|(?<=,) (?=\\quad)", True), (r"(?<=\\,) | (?=\\sum)", True), (" (?=[+] )", False))
ALIGNED = {"number": "r", "interval": "r", "mixed": "c", "text": "l", "math": "l"}


def latex_table(result: Any, *, caption: str | None = None, label: str = "") -> str:
    r"""Typeset a result as a LaTeX table for a paper, with the booktabs package.

    The table fits one column of IEEEtran if it can (``table``), otherwise the text width of article (``table*``); long
    text is wrapped, and a table of many rows or models is split. Names are escaped, and decimal points are below each
    other. The preamble needs ``\usepackage{booktabs}``.

    Parameters
    ----------
    result : pandas.DataFrame or Summary
        From `lag_report`, `summary`, `model_table`, `compare` or another function that returns a table.
    caption : str, optional
        Replaces the caption, which names units and sample; plain text, which is escaped.
    label : str, optional
        For ``\ref``, as in ``"tab:lag"``.

    Returns
    -------
    str
        LaTeX in ASCII.

    Raises
    ------
    FitError
        If the argument is no such table.
    """
    shown = Shown(result.table, result.caption) if isinstance(result, Summary) else getattr(result, "shown", None)
    if isinstance(result, pd.DataFrame) and not isinstance(result, ResultTable):
        shown = None
    if not isinstance(shown, Shown):
        came, cure = (
            f"a {type(result).__name__}",
            "pass the table as its function returned it, before any step of pandas",
        )
        raise FitError("latex_table", "the result is a table that regimelag returned", came, cure)
    for name, given in (("caption", shown.caption if caption is None else caption), ("label", label)):
        if not isinstance(given, str):
            raise FitError("latex_table", f"{name} is a text", f"{name} = {given!r}", f"leave {name} out")
    return typeset(shown._replace(caption=shown.caption if caption is None else caption), label=label)


def typeset(shown: Shown, *, label: str = "", math: str = "") -> str:
    """LaTeX of a table; cells of the column `math` are mathematics."""
    kinds = {str(name): "math" if name == math else kind_of(shown.table[name].to_list()) for name in shown.table}
    columns = {str(name): list(map(str, shown.table[name])) for name in shown.table}
    floats: list[str] = []
    for names in _fitting(columns, kinds):
        own = {name: columns[name] for name in names}
        text, wide = _text_widths(own, kinds)
        for rows in _pages(own, text):
            words = in_ascii(escape(shown.caption)) + (" (continued)" if floats else "")
            part = {name: [values[row] for row in rows] for name, values in own.items()}
            floats.append(
                _float(part, kinds, text, wide, words + (rf"}}\label{{{label}" if label and not floats else ""))
            )
    return "\n".join(floats)


def _fitting(columns: dict[str, list[str]], kinds: dict[str, str]) -> list[list[str]]:
    """Columns of each float: text first, and as many columns of numbers as fit the page."""
    words = [name for name in columns if kinds[name] in ("text", "math")]
    least = sum(_least(name, columns[name], kinds[name]) for name in words)
    parts: list[list[str]] = [[]]
    width = least
    for name, values in columns.items():
        if name in words:
            continue
        own = _natural(name, values, kinds[name])
        if parts[-1] and width + own > PAGE:
            parts.append([])
            width = least
        parts[-1].append(name)
        width += own
    return [[name for name in columns if name in part or name in words] for part in parts]


def _text_widths(columns: dict[str, list[str]], kinds: dict[str, str]) -> tuple[dict[str, float], bool]:
    """Widths in pt of the text columns that have to be wrapped, and whether the table takes more than a column."""
    widths = {name: _natural(name, values, kinds[name]) for name, values in columns.items()}
    total = sum(widths.values()) - SEPARATION
    if total <= PAGE:
        return {}, total > COLUMN
    words = [name for name in columns if kinds[name] == "text"]
    least = {name: _least(name, columns[name], "text") for name in words}
    room = PAGE + SEPARATION - sum(widths[name] for name in columns if name not in words) - sum(least.values())
    # What is left after the longest word of each goes first to columns that then need not be wrapped.
    words.sort(key=lambda name: widths[name] - least[name])
    found = {}
    for n, name in enumerate(words):
        more = min(widths[name] - least[name], max(room, 0.0) / (len(words) - n))
        room -= more
        if least[name] + more < widths[name]:
            found[name] = least[name] + more - SEPARATION
    return found, True


def _pages(columns: dict[str, list[str]], text: dict[str, float]) -> list[range]:
    """Rows of each float, by the lines that they take."""
    count = max(map(len, columns.values()), default=0)
    pages, lines = [range(0)], 0
    for row in range(count):
        own = max([1, *(int(1.3 * _width(columns[name][row]) // width) + 1 for name, width in text.items())])
        if lines + own > MOST_LINES and len(pages[-1]):
            pages.append(range(row, row))
            lines = 0
        pages[-1] = range(pages[-1].start, row + 1)
        lines += own
    return pages


def _float(
    columns: dict[str, list[str]], kinds: dict[str, str], text: dict[str, float], wide: bool, caption: str
) -> str:
    star = "*" if wide else ""
    specs = [f"p{{{text[name]:.0f}pt}}" if name in text else ALIGNED[kinds[name]] for name in columns]
    head = " & ".join(_header(name, values, kinds[name]) for name, values in columns.items())
    body = [_cells(values, kinds[name], broken=name in text) for name, values in columns.items()]
    lines = [
        rf"\begin{{table{star}}}[tbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\belowcaptionskip}{4pt}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{@{{}}{''.join(specs)}@{{}}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{' & '.join(row)} \tabularnewline" for row in zip(*body, strict=True)),
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{table{star}}}",
        "",
    ]
    return "\n".join(lines)


def _header(name: str, values: Sequence[str], kind: str) -> str:
    """Title of a column; of a column of numbers in lines no wider than its numbers."""
    lines = _title_lines(name, values, kind)
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[b]{{@{{}}{ALIGNED[kind]}@{{}}}}{r'\\'.join(lines)}\end{{tabular}}"


def _title_lines(name: str, values: Sequence[str], kind: str) -> list[str]:
    if kind in ("text", "math"):
        return [_text(name)]
    most = max((_width(value) for value in values), default=0.0)
    lines: list[str] = []
    # A percentage and P(> 0) are not broken.
    for word in re.sub(r" (?=%|0\))", "\N{NO-BREAK SPACE}", name).split(" "):
        if lines and _width(f"{lines[-1]} {word}") <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [_text(line) for line in lines]


def _cells(values: Sequence[str], kind: str, *, broken: bool) -> list[str]:
    if kind == "math":
        return [f"${in_ascii(value)}$" for value in values]
    if kind == "text":
        made = [_text(value) for value in values]
        if not broken:
            return made
        made = [re.sub(r"[0-9a-f]{8}(?=[0-9a-f]{8})|\\_|[/(]", r"\g<0>\\allowbreak{}", one) for one in made]
        return [rf"\raggedright {one}" if one else "" for one in made]
    made = [_number(value) for value in values]
    if kind != "number":
        return made
    tails = [value[value.find(".") :] if "." in value else "" for value in values]
    longest = max(tails, key=len, default="")
    phantoms = [rf"\phantom{{{rest}}}" if (rest := longest[len(tail) :]) else "" for tail in tails]
    return [f"{one}{phantom}" if one else "" for one, phantom in zip(made, phantoms, strict=True)]


def _text(words: str) -> str:
    return in_ascii(escape(words))


def _number(value: str) -> str:
    """A number, an interval or a short word; signs are those of mathematics."""
    if not re.search(r"\d", value):
        return _text(value)
    return re.sub(r"[<>]|-(?=\d)", r"$\g<0>$", value.replace("%", r"\%"))


def _least(name: str, values: Sequence[str], kind: str) -> float:
    """Smallest width of a column: text is wrapped between words, and in names."""
    if kind != "text":
        return _natural(name, values, kind)
    words = [word for value in (name, *values) for word in re.split(r"(?<=[_/(])| ", value)]
    return min(max(map(_width, words), default=0.0) + SEPARATION, _natural(name, values, kind))


def _natural(name: str, values: Sequence[str], kind: str) -> float:
    """Width of a column in pt with the space beside it."""
    if kind == "math":
        return max((0.85 * mathematics_width(value) for value in values), default=0.0) + SEPARATION
    words = max((_width(value) for value in values), default=0.0)
    titles = [name] if kind == "text" else re.sub(r" (?=%|0\))", "_", name).split()
    return max([words, *map(_width, titles)]) + SEPARATION


def _width(words: str) -> float:
    """Estimated width in pt of text in eight-point Computer Modern, a little more than it takes."""
    wide, narrow = set("mwMWQOGDHNU@%&"), set(" .,;:!'|()[]iljtfIr/")
    words = re.sub(r"[^\x00-\x7f]", lambda found: "[U+0000]" if in_ascii(found[0]).startswith("[") else "n", words)
    return 1.0 + sum(
        7.2 if mark in wide else 3.5 if mark in narrow else 6.2 if mark.isupper() or mark in "<>-+=" else 4.5
        for mark in words
    )


def model_tex(lines: Sequence[tuple[str, str]], parameters: pd.DataFrame, caption: str) -> str:
    """Equations with their sentences, broken to the width of a column, and the table of priors."""
    formulas = [
        f"{_text(words)}\n\\begin{{equation*}}\n  {in_ascii(broken(latex))}\n\\end{{equation*}}\n"
        for words, latex in lines
    ]
    return "\n".join([*formulas, typeset(Shown(parameters, caption), label="tab:priors", math="symbol")])


def broken(latex: str) -> str:
    """A formula in lines that fit a column; it breaks before summands and after commas, else between factors."""
    most = COLUMN - 20.0
    pieces = [latex]
    for ends, brackets in ENDS:
        held, pieces = pieces, []
        for piece in held:
            if mathematics_width(piece) <= most:
                pieces.append(piece)
            else:
                open_to = piece if brackets else re.sub(r"\\left\b", r"\\bigl", re.sub(r"\\right\b", r"\\bigr", piece))
                pieces += _pieces(open_to, ends)
    lines, width = [pieces[0]], mathematics_width(pieces[0])
    for piece in pieces[1:]:
        own = mathematics_width(piece)
        if width + own > most:
            lines.append(piece)
            width = own
        else:
            lines[-1] += piece
            width += own
    if len(lines) == 1:
        return latex
    rest = "".join(rf" \\ &\quad {line.strip().removeprefix(r'\quad').strip()}" for line in lines[1:])
    return rf"\begin{{aligned}} &{lines[0]}{rest} \end{{aligned}}"


def _pieces(latex: str, ends: str) -> list[str]:
    """Parts of a formula at these places outside of braces, brackets and environments; no equals sign after a comma."""
    pieces, depth, start = [], 0, 0
    for found in re.finditer(rf"\\(left|begin)\b|\\(right|end)\b|\\[{{}}]|[{{}}]|{ends}", latex):
        mark = found[0]
        if mark in (r"\left", r"\begin", "{"):
            depth += 1
        elif mark in (r"\right", r"\end", "}"):
            depth -= 1
        elif mark == " " and not depth and not (latex[found.end()] == "=" and r"\quad" in latex[: found.start()]):
            pieces.append(latex[start : found.start()])
            start = found.start()
    return [*pieces, latex[start:]]
