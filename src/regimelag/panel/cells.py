"""Numbers from the cells of a column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.dates import Request

# FRED writes a missing value as a dot, Investing.com as a dash.
BLANKS = ("", ".", "-", "na", "n/a", "nan", "null", "none", "#n/a", "--")
PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
GROUPED = r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?"
SPACED = r"[+-]?[0-9]{1,3}(?: [0-9]{3})+(?:[.,][0-9]*)?"
QUOTED = r"[+-]?[0-9]{1,3}(?:'[0-9]{3})+(?:\.[0-9]*)?"
CURRENCIES = ("$", "€", "£", "¥")
# Minus, spaces that do not break, and apostrophe of print.
TYPED = str.maketrans("\u2212\u00a0\u202f\u2019", "-  '")
COMMA = r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+),[0-9]+"


def to_numbers(
    cells: pd.Series, name: str, days: pd.DatetimeIndex, pandas: Mapping[str, Any], request: Request, *, asked: bool
) -> tuple[np.ndarray | None, str]:
    """Floats of a column.

    Parameters
    ----------
    cells : Series (row)
        Numbers or texts.
    name : str
        Name of the column.
    days : DatetimeIndex (row)
        Dates, for errors.
    pandas : mapping
        The marks in numbers: decimal and thousands.
    request : Request
        The call.
    asked : bool
        Whether the column was asked for, so that it must hold numbers.

    Returns
    -------
    array of float (row), optional
        None for a column of texts that was not asked for.
    str
        "percent" if per cent signs were removed; else empty.

    Raises
    ------
    PanelError
        With the cell, the column and the date.
    """
    if pd.api.types.is_bool_dtype(cells.dtype) or pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return (None, "") if not asked else _refuse(cells, [0], name, days, pandas, request)
    if pd.api.types.is_numeric_dtype(cells.dtype) and not pd.api.types.is_complex_dtype(cells.dtype):
        return _finite(cells.to_numpy(dtype=float, na_value=np.nan), cells, name, days, request), ""
    texts = cells.astype("string").str.translate(TYPED).str.strip()
    texts = texts.mask(texts.str.lower().isin(BLANKS))
    percent = texts.str.endswith("%") & texts.notna()
    kind = "percent" if bool(percent.any()) and bool(percent[texts.notna()].all()) else ""
    if kind:
        texts = texts.str.removesuffix("%").str.strip()
    if pandas.get("thousands"):
        texts = texts.str.replace(pandas["thousands"], "", regex=False)
    if pandas.get("decimal", ".") != ".":
        texts = texts.str.replace(pandas["decimal"], ".", regex=False)
    held = texts.notna()
    plain = texts.str.fullmatch(PLAIN).fillna(False).astype(bool)
    if pandas.get("decimal", ".") != "." and not pandas.get("thousands"):
        # A dot then separates thousands.
        plain &= ~cells.astype("string").str.contains(".", regex=False).fillna(False).astype(bool)
    written = plain | texts.str.fullmatch(f"[$€£¥]?{PLAIN}|[$€£¥]?{GROUPED}|{COMMA}|{SPACED}|{QUOTED}").fillna(
        False
    ).astype(bool)
    if not asked and not written.any() and held.any():
        return None, ""
    wrong = np.flatnonzero((held & ~plain).to_numpy())
    if len(wrong):
        return _refuse(cells, wrong, name, days, pandas, request)
    # Python's float parses exactly, so every float written in full is restored to the last bit.
    numbers = np.array([float(text) if here else np.nan for text, here in zip(texts, held, strict=True)], dtype=float)
    return _finite(numbers, cells, name, days, request), kind


def _finite(numbers: np.ndarray, cells: pd.Series, name: str, days: pd.DatetimeIndex, request: Request) -> np.ndarray:
    wrong = np.flatnonzero(np.isinf(numbers))
    if len(wrong):
        came = f"{str(cells.iloc[wrong[0]])!r} in column {name!r} on {days[wrong[0]].date()} is infinite"
        cure = f"correct column {name!r} there, or leave the cells blank if unknown"
        raise PanelError(request.call(), "cells are finite numbers or blank", came, cure)
    return numbers


def _refuse(
    cells: pd.Series, wrong: Any, name: str, days: pd.DatetimeIndex, pandas: Mapping[str, Any], request: Request
) -> tuple[None, str]:
    cell = cells.iloc[wrong[0]]
    came = f"{cell!r} in column {name!r} on {days[wrong[0]].date()}"
    text = str(cell).translate(TYPED).strip()
    others = [column for column in dict.fromkeys(map(str, request.given.get("columns", ()))) if column != name]
    cure = f"write it as a plain number such as 1234.5, leave it blank if unknown, or leave {name!r} out by columns="
    if pd.api.types.is_bool_dtype(cells.dtype):
        cure = (
            f"frame[{name!r}] = frame[{name!r}].astype(float) in a table of pandas, or leave {name!r} out by columns="
        )
    elif pandas.get("decimal", ".") != "." and "." in text and not pandas.get("thousands"):
        cure = request.call(thousands=".")
    elif pandas.get("decimal") != "," and not pandas.get("thousands") and (marks := _commas(cells, wrong)):
        cure = request.call(**marks)
        if len(marks) == 1 and "thousands" in marks and not _has_dot(cells):
            cure += f" if {text} is {text.replace(',', '')}, or {request.call(decimal=',')} if it is "
            cure += text.replace(",", ".")
    elif re.fullmatch(SPACED, text):
        cure = request.call(thousands=" ", **({"decimal": ","} if "," in text else {}))
    elif re.fullmatch(QUOTED, text):
        cure = request.call(thousands="'")
    elif text[:1] in CURRENCIES:
        stripped = f".replace('^[{text[0]}]', '', regex=True)"
        cure = request.rows(stripped, **({"thousands": ","} if _is_grouped(text[1:]) else {}))
    elif others:
        cure += f"{others!r}"
    raise PanelError(request.call(), "cells are finite numbers or blank", came, cure)


def _commas(cells: pd.Series, wrong: Any) -> dict[str, str]:
    """Marks of numbers with commas: decimal ones if any number shows it, else thousands; empty without a comma."""
    texts = [str(cell).strip() for cell in cells.iloc[wrong]]
    decimals = [text for text in texts if re.fullmatch(COMMA, text) and not _is_grouped(text)]
    if decimals:
        return {"decimal": ",", **({"thousands": "."} if any("." in text for text in texts) else {})}
    return {"thousands": ","} if _is_grouped(texts[0]) else {}


def _has_dot(cells: pd.Series) -> bool:
    """Whether numbers have decimals after a dot, or several commas, so that commas separate thousands."""
    texts = cells.astype("string")
    return bool((texts.str.contains(".", regex=False) | texts.str.count(",").gt(1)).any())


def _is_grouped(text: str) -> bool:
    return re.fullmatch(GROUPED, text) is not None
