"""Moves compared with those in the window: extrapolations in words, and moves in another unit."""

from __future__ import annotations

import numpy as np

from regimelag.errors import RegimelagError
from regimelag.panel.rows import FloatArray

# A move of so many times the largest one in the window is in another unit, as per cents for fractions are.
ABSURD = 10.0


def extrapolation(
    name: str, move: float, seen: FloatArray, over: str, *, error: type[RegimelagError], asked: str, argument: str
) -> str:
    """Sentence on a move that exceeds those in the window; empty if it does not.

    Parameters
    ----------
    name : str
        What moves.
    move : float
        Its change.
    seen : array of float
        Changes of the same kind in the window; NaN where missing.
    over : str
        The time that a change takes, in words.
    error : type of RegimelagError
        Raised if the move is more than ten times the largest one in the window.
    asked, argument : str
        First part of that error, and the argument that its cure writes.
    """
    held = seen[np.isfinite(seen)]
    if not len(held) or not np.abs(held).max() > 0:
        return ""
    low, high, most = float(held.min()), float(held.max()), float(np.abs(held).max())
    between = f"in the window it moves by {low:.3g} to {high:.3g} {over}"
    if abs(move) > ABSURD * most:
        hundredth = move / 100.0
        possible = hundredth if abs(hundredth) <= ABSURD * most else float(np.sign(move)) * most
        rule = f"a move is at most {ABSURD:g} times the largest one in the window, in the unit of the data"
        cure = f"write {argument}={{{name!r}: {float(f'{possible:.3g}')!r}}}, in the unit of the data"
        raise error(asked, rule, f"{move:g} for {name!r}; {between}", cure)
    if low <= move <= high or abs(move) <= most:
        return ""
    return f"An extrapolation: {name} moves by {move:.3g}; {between}."
