"""Tables of a report: complete as CSV, and as shown on the page and in LaTeX."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import arviz as az
import pandas as pd
import xarray as xr

from regimelag.model.latex import prior_in_words
from regimelag.reporting.latex import typeset
from regimelag.results.lags import INTERVAL
from regimelag.results.tables import MEDIAN
from regimelag.runtime.result_table import OF_SAMPLE, ResultTable, Shown, compact, flattened
from regimelag.sampling.diagnostics import interruption
from regimelag.sampling.inference_data import spec_of
from regimelag.spec import names as nm
from regimelag.spec.kernels import Point, RandomWalkKernel
from regimelag.spec.term import Parameter

LEVELS = (INTERVAL[0], 0.5, INTERVAL[1])
# First characters of a formula in spreadsheets.
FORMULA = ("=", "+", "-", "@")


class Table(NamedTuple):
    """A table: the complete frame, and what is shown of it."""

    frame: pd.DataFrame
    shown: Shown


def of_result(frame: pd.DataFrame, keys: Sequence[str] = ()) -> Table:
    """A result's own table; `keys` are the first columns of its CSV."""
    shown = frame.shown if isinstance(frame, ResultTable) else compact(frame)
    return Table(frame.set_index(list(keys)) if keys else frame, shown)


def volatility_table(summary: pd.DataFrame) -> Table:
    """Persistence and level of a conditional variance."""
    caption = f"Conditional variance: volatility per period, half-life of a shock in periods. {MEDIAN}"
    return Table(summary, compact(summary, ("median",), alike=list(summary.index), caption=caption))


def move_table(changes: xr.Dataset, sample: str = "") -> Table:
    """Effects of a move of each driver on each regime's probability, in percentage points; log odds in the CSV."""
    reference = changes.attrs["reference"]
    columns = {"next period": ("next_period", 100.0), "long run": ("long_run", 100.0)}
    columns[f"log odds against {reference}"] = ("log_odds", 1.0)
    others = [dim for dim in changes["log_odds"].dims if dim not in (nm.CHAIN, nm.DRAW)]
    index = pd.MultiIndex.from_product([changes[dim].to_numpy() for dim in others], names=others)
    frames = {}
    for title, (name, unit) in columns.items():
        values = unit * changes[name]
        # Regimes of another process, and drivers that do not move the process, are missing in every draw.
        known = values.notnull().any((nm.CHAIN, nm.DRAW))  # noqa: PD004 - of xarray
        found = values.where(known, 0.0).quantile(LEVELS, (nm.CHAIN, nm.DRAW)).where(known)
        rows = found.transpose(*others, "quantile").to_numpy().reshape(len(index), len(LEVELS))
        frames[title] = pd.DataFrame(rows, index=index, columns=["5 %", "median", "95 %"])
    frame = pd.concat(frames, axis=1)
    frame = frame[frame["next period", "median"].notna()]
    frame.attrs[OF_SAMPLE] = sample
    moves = ", ".join(f"{driver} by {size:+.3g}" for driver, size in changes["move"].to_series().items())
    caption = f"Change in the probability of each regime, in percentage points, for a move of {moves}. {MEDIAN}"
    return Table(frame, compact(frame, ("next period median", "long run median"), caption=caption))


def parameter_table(idata: xr.DataTree, sample: str = "") -> Table:
    """All parameters as ArviZ summarises them."""
    frame = az.summary(idata, var_names=_sampled(idata), ci_prob=round(INTERVAL[1] - INTERVAL[0], 3), round_to="none")
    frame.index.name = "parameter"
    frame.attrs[OF_SAMPLE] = sample
    caption = "All parameters, in standardised units, as ArviZ summarises them."
    return Table(frame, compact(frame, caption=caption, alike=list(frame.index)))


def _sampled(idata: xr.DataTree) -> list[str]:
    """Variables of the posterior, without raw deviations and variables with an entry per lag."""
    of_lags = {
        nm.lag_parameter(signal.name, "probability" if isinstance(signal.kernel, Point) else "innovation")
        for signal in spec_of(idata).lagged_signals
        if isinstance(signal.kernel, (Point, RandomWalkKernel))
    }
    names = map(str, idata["posterior"].data_vars)
    return [name for name in names if not name.endswith("_raw") and name not in of_lags]


def prior_table(parameters: Sequence[Parameter]) -> Table:
    """Free parameters and their priors."""
    rows = [(one.name, one.meaning, prior_in_words(one.prior)) for one in parameters]
    frame = pd.DataFrame(rows, columns=["parameter", "meaning", "prior"])
    return Table(frame.set_index("parameter"), Shown(frame.astype(str), PRIORS))


PRIORS = "Free parameters and their priors, in standardised units unless another unit is given."


def provenance_table(idata: xr.DataTree) -> Table:
    """Provenance of the fit."""
    attrs, posterior = idata.attrs, idata["posterior"]
    settings = [name for name in ("nuts_sampler", "tune", "target_accept", "starts", "random_seed") if name in attrs]
    rows = {"made at": attrs["created_at"], "chains": posterior.sizes[nm.CHAIN], "draws": posterior.sizes[nm.DRAW]}
    if interruption(idata):
        rows["interrupted"] = interruption(idata)
    rows |= {name.replace("_", " "): attrs[name] for name in settings} | {"panel SHA-256": attrs["panel_sha256"]}
    rows |= {f"version of {name}": version for name, version in json.loads(attrs["versions"]).items()}
    frame = pd.DataFrame({"value": {name: str(value) for name, value in rows.items()}}).rename_axis("what")
    return Table(frame, Shown(frame.reset_index().astype(str), "How the fit was made."))


def write_tables(tables: Mapping[str, Table], folder: Path) -> None:
    """Write each table as CSV, complete, and as LaTeX, as shown."""
    folder.mkdir(parents=True)
    for name, table in tables.items():
        _no_formulas(flattened(table.frame)).to_csv(folder / f"{name}.csv", index=False)
        (folder / f"{name}.tex").write_text(typeset(table.shown, label=f"tab:{name}"), encoding="utf-8")


def _no_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its index as columns, and without cells that spreadsheets would take for formulas."""
    # Labels are columns here: the names of series are text too.
    plain = (frame.rename_axis("") if frame.index.names == [None] else frame).reset_index()
    return plain.set_axis(list(map(_no_formula, plain.columns)), axis=1).map(_no_formula)


def _no_formula(cell: Any) -> Any:
    """A text on one line; one that spreadsheets would take for a formula, after an apostrophe."""
    if not isinstance(cell, str):
        return cell
    line = re.sub(r"[\r\n\t\0]+", " ", cell)
    return f"'{line}" if line.strip().startswith(FORMULA) else line
