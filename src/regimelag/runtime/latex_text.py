"""Text as LaTeX in ASCII that any engine and encoding compiles."""

from __future__ import annotations

import re
import unicodedata

ESCAPES = {
    "\\": r"\textbackslash{}",
    **{mark: rf"\{mark}" for mark in "{}$&#%_"},
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
# Combining marks as LaTeX accents.
ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0328": "k",
}
SYMBOLS = {
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{EURO SIGN}": "EUR",
    "\N{POUND SIGN}": r"\pounds{}",
    "\N{LATIN SMALL LETTER SHARP S}": r"\ss{}",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{LATIN SMALL LETTER O WITH STROKE}": r"\o{}",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": r"\O{}",
    "\N{LATIN SMALL LETTER AE}": r"\ae{}",
    "\N{LATIN CAPITAL LETTER AE}": r"\AE{}",
    "\N{LATIN SMALL LETTER L WITH STROKE}": r"\l{}",
    "\N{SECTION SIGN}": r"\S{}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
}
# Capital Greek letters that look like Latin ones have no command of their own.
LATIN = {"ALPHA": "A", "BETA": "B", "EPSILON": "E", "ZETA": "Z", "ETA": "H", "IOTA": "I", "KAPPA": "K", "MU": "M"}
LATIN |= {"NU": "N", "OMICRON": "O", "RHO": "P", "TAU": "T", "CHI": "X"}
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (FINAL )?([A-Z]+)")


def escape(words: str) -> str:
    """Text whose characters have no meaning to LaTeX; control characters become spaces."""
    plain = "".join(" " if unicodedata.category(mark) == "Cc" else mark for mark in words)
    return "".join(ESCAPES.get(mark, mark) for mark in plain)


def unescape(latex: str) -> str:
    """The text of which `escape` made this."""
    marks = {command: mark for mark, command in ESCAPES.items()}
    return re.sub("|".join(map(re.escape, sorted(marks, key=len, reverse=True))), lambda found: marks[found[0]], latex)


def in_ascii(latex: str) -> str:
    """LaTeX with accents, Greek letters and common symbols as commands; others become their code point."""
    return re.sub(r"[^\x00-\x7f][\u0300-\u036f]*|[A-Za-z][\u0300-\u036f]+", lambda found: _command(found[0]), latex)


def _command(character: str) -> str:
    if character in SYMBOLS:
        return SYMBOLS[character]
    base, *marks = list(unicodedata.normalize("NFKD", character))
    if base.isascii() and marks and all(mark in ACCENTS for mark in marks):
        for mark in marks:
            base = rf"\{ACCENTS[mark]}{{{base}}}"
        return base
    found = GREEK.fullmatch(unicodedata.name(base, ""))
    if found:
        size, _, name = found.groups()
        if size == "CAPITAL":
            return LATIN.get(name, rf"$\{name.capitalize()}$".replace("Lamda", "Lambda"))
        return "o" if name == "OMICRON" else rf"$\{name.lower()}$".replace("lamda", "lambda")
    compatible = unicodedata.normalize("NFKD", character)
    return escape(compatible) if compatible.isascii() else "".join(f"[U+{ord(mark):04X}]" for mark in character)


def mathematics_width(latex: str) -> float:
    """Rough width of mathematics in pt at 10 pt, from its symbols; indices count less."""
    width, depth = 0.0, 0
    plain = re.sub(r"\\(left|right|mathrm|text|operatorname|begin|end)\b|\\[,;! ]", "", latex)
    for found in re.finditer(r"[_^]|[{}]|\\[A-Za-z]+|\S", plain):
        part = found[0]
        if part in "{}":
            depth = max(0, depth + (1 if part == "{" else -1))
        elif part not in "_^":
            size = 9.0 if part in "=+-<>~" or part in (r"\sim", r"\mid", r"\quad") else 5.6
            size = 18.0 if part in (r"\exp", r"\log") else size
            width += size * (0.75 if depth else 1.0)
    return width
