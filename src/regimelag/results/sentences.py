"""Sentences of a result."""

from __future__ import annotations

import html
from typing import Any

import xarray as xr

from regimelag.errors import FitError
from regimelag.runtime.result_table import wrapped
from regimelag.sampling.diagnostics import stored_diagnostics
from regimelag.spec import names as nm


class Sentences(list[str]):
    """A list of sentences that prints in lines of at most 100 characters, and as a list in a notebook."""

    def __repr__(self) -> str:
        return "\n".join(wrapped(self))

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return f"<ul>{''.join(f'<li>{html.escape(one)}</li>' for one in self)}</ul>"


def sentences(result: Any) -> list[str]:
    """Sentences of a result: verdict, conditions and warnings.

    Parameters
    ----------
    result : pandas.DataFrame, xarray.Dataset, xarray.DataTree or list of str
        From `lag_report`, `regimelag.results.driver_report`, `regimelag.results.gain_report`,
        `regimelag.results.state_report`, `claims`, `compare`, `verify`, `robustness`, `regimelag.evaluation.backtest`,
        `describe_panel`, `forecast`, `driver_effects`, `regime_probabilities` (filtered) or `diagnostics`, or from
        ``backtest_table``, ``score`` or ``impulse_response`` in ``rl.evaluation``. For a fit, its diagnostics.

    Returns
    -------
    list of str
        Possibly empty. It prints in lines of at most 100 characters, and as a list in a notebook.

    Raises
    ------
    FitError
        If the result has no sentences.
    """
    if isinstance(result, list) and all(isinstance(one, str) for one in result):
        return Sentences(result)
    attrs = getattr(result, "attrs", {})
    if nm.SENTENCES in attrs:
        # A file returns a list of one string as a string.
        said = attrs[nm.SENTENCES]
        return Sentences([said] if isinstance(said, str) else map(str, said))
    if isinstance(result, xr.DataTree) and "posterior" in result.children:
        return Sentences(stored_diagnostics(result))
    raise FitError(
        "sentences",
        f"the result has its sentences in attrs[{nm.SENTENCES!r}]",
        f"a {type(result).__name__} without",
        "pass what lag_report, compare or another function of the docstring returned: pandas drops attrs in many steps",
    )
