"""Style of the package's figures: fonts, widths of one and two columns of a paper, and embedded fonts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Literal

import matplotlib as mpl

from regimelag.errors import FitError

# Widths in inches of a figure in one column of a two-column paper, and over the page.
WIDTHS = {"column": 3.45, "page": 7.0}
_WIDTH: ContextVar[float] = ContextVar("width", default=WIDTHS["page"])
SIZE = 8.0
RC: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.labelsize", "legend.fontsize", "xtick.labelsize", "ytick.labelsize"), SIZE),
    "axes.titlesize": SIZE + 0.5,
    "axes.titlepad": 4.0,
    "figure.titlesize": SIZE + 0.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
    "legend.borderaxespad": 0.3,
    "font.family": "DejaVu Sans",
    # TrueType fonts, which presses accept; Type 3 fonts they refuse.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.dpi": 300,
    # A dollar sign in a name is a currency, not mathematics.
    "text.parse_math": False,
}


@contextmanager
def _settings() -> Iterator[None]:
    """Set what `RC` holds, and restore it alone.

    `matplotlib.rc_context` would restore all settings: in a notebook, also those of the backend that the first figure
    chooses, after which no figure is shown.
    """
    before = {name: mpl.rcParams[name] for name in RC}
    mpl.rcParams.update(RC)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


@contextmanager
def style(width: Literal["column", "page"] = "page") -> Iterator[None]:
    """Context in which figures have the style of the package, for one column or the page of a paper.

    Figures that the package makes have this style anyway, at the width of the page. The context sets the width, applies
    the style to axes of your own, and embeds fonts as TrueType (Type 42) in what is saved inside it.

    Parameters
    ----------
    width : {"column", "page"}
        3.45 inches, one column of a two-column paper, or 7 inches.

    Examples
    --------
    >>> import regimelag as rl
    >>> with rl.plots.style("column"):  # doctest: +SKIP
    ...     ax = rl.plots.plot_effects(rl.effects(idata))
    ...     ax.figure.savefig("effects.pdf")
    """
    if width not in WIDTHS:
        raise FitError("plots.style", 'width is "column" or "page"', f"width = {width!r}", 'write style("column")')
    token = _WIDTH.set(WIDTHS[width])
    try:
        with _settings():
            yield
    finally:
        _WIDTH.reset(token)


def figure_width() -> float:
    """Width in inches of a new figure."""
    return _WIDTH.get()


def styled[**P, T](draw: Callable[P, T]) -> Callable[P, T]:
    """Apply the style to a figure function, unless it is given axes."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        if kwargs.get("ax") is not None or kwargs.get("axes") is not None:
            return draw(*args, **kwargs)
        with _settings():
            return draw(*args, **kwargs)

    return drawn
