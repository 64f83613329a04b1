"""`screen`: many pairs of a response and a signal, with one statement about all of them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from regimelag.errors import FitError, PanelError, RegimelagError, SpecError
from regimelag.evaluation.comparison.claims import ErrorRate, allowed, require_error_rate
from regimelag.evaluation.parallel_runs import ERROR, Result, code_hash, run_all, seed_of_study
from regimelag.evaluation.robustness.refit import Refit, refit
from regimelag.evaluation.robustness.summary import FAILED, RHAT_LIMIT
from regimelag.panel.checks import check_spec
from regimelag.panel.frame_checks import check_frame
from regimelag.panel.make import Day, make_panel, panel_hash
from regimelag.runtime.plain import is_number
from regimelag.runtime.result_table import readable
from regimelag.sampling.sampler import Sampler, sampler_of_refits
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import spec_to_toml

COLUMNS = (
    *("response", "signal", "effect 5 %", "effect median", "effect 95 %", "probability", "sign", "claimed"),
    *("lag 5 %", "lag median", "lag 95 %", "rows", "R-hat", "divergent", "note"),
)
SAMPLER = Sampler(draws=500, tune=500, chains=2, starts=4)
# Columns of a pair's own series, which the spec names in place of those of its template.
OWN = {nm.RESPONSE: "screened response", nm.SIGNAL: "screened signal"}
# A fit that does not mix is run again, longer by this factor.
LONGER = 4
# Draws of the less probable sign below which its probability is that of a normal distribution.
FEW = 10
# By benchmarks/screen.py.
SCREEN_RATE = (
    "In ten screens of 200 simulated pairs, 20 of which had an effect, 2.4 % of the claims were false on average and "
    "99 % of the effects were claimed, with the expected share of false claims limited to 0.05."
)
ASKED = "screen"


class Pair(NamedTuple):
    """A response and a signal, by their names and columns."""

    response: str
    signal: str
    columns: tuple[str, str]


def screen(
    spec: ModelSpec,
    frame: pd.DataFrame,
    *,
    responses: Mapping[str, str] | Sequence[str] | None = None,
    signals: Mapping[str, str] | Sequence[str] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    start: Day | None = None,
    end: Day | None = None,
    error_rate: ErrorRate = "fdr",
    level: float = 0.05,
    sampler: Sampler = SAMPLER,
    executor: Executor | None = None,
    folder: str | Path | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> pd.DataFrame:
    """Fit one model to every pair of a response and a signal, and claim lagged effects with one error rate for all.

    Parameters
    ----------
    spec : ModelSpec
        The model of each pair, with one response and one signal with a lag kernel. Each pair takes the place of their
        columns; everything else, such as controls and drivers, stays.
    frame : pandas.DataFrame
        Levels (date, column), as for `make_panel`.
    responses, signals : mapping of str to str, or sequence of str
        Columns by name, or columns. Every response is paired with every signal, except a column with itself.
    pairs : sequence of (str, str)
        Columns of response and signal of each pair, in place of `responses` and `signals`.
    start, end : date, optional
        Window, as in `make_panel`.
    error_rate : {"fdr", "fwer"}
        Error rate of all claims together: the expected share of false ones (Benjamini & Hochberg), or the probability
        of any false one (Holm).
    level : float
        Its limit, for both signs together.
    sampler : Sampler
        Settings of each fit; `nuts_sampler` is "nutpie". By default two chains of 500 draws after 500 tuning draws, and
        a mode search from four starting points. A fit with an R-hat above 1.05 is run again, four times as long.
    executor : concurrent.futures.Executor, optional
        Where fits run, such as a Dask cluster's ``client.get_executor()``. By default processes of this machine, one
        per core, which do not import the script.
    folder : str or Path, optional
        Folder for finished fits; a call that was stopped goes on from there, and failed fits are tried again.
    random_seed : int, optional
        Seed, recorded in ``attrs["random_seed"]``. By default that of the folder, if it has one, or else a new one.
    progressbar : bool
        Whether to print how many fits are done.

    Returns
    -------
    pandas.DataFrame
        One row per pair, the most certain first: ``response`` and ``signal``; 5 %, median and 95 % of the cumulative
        lagged ``effect``, in units of the response per unit of the signal (for log returns, per cent per per cent), and
        of the mean ``lag``, in periods; ``probability`` of the more probable ``sign``; ``claimed``; number of ``rows``;
        ``R-hat`` and ``divergent`` draws; and ``note``: why a pair has no fit or no claim, and warnings about its data.
        ``attrs["sentences"]`` has the statement about all pairs.

    Raises
    ------
    SpecError
        If the spec has several responses or lagged signals, there is no pair, or both `pairs` and columns are given.
    PanelError
        If a column is missing, or the data of a pair make no panel; nothing has been fitted then.
    FitError
        If an argument is invalid, or the folder belongs to other settings.

    See Also
    --------
    regimelag.claims : Several models of one data set.
    regimelag.plots.plot_screen : The table as a heat map.

    Notes
    -----
    What is controlled is one less the posterior probability of the sign of the average lagged effect, which a one-sided
    p value equals asymptotically under a flat prior, Casella & Berger (1987), doi:10.1080/01621459.1987.10478396. With
    fewer than ten draws of the other sign it is that of a normal distribution with the mean and standard deviation of
    the draws. Pairs whose fit failed or does not mix, or whose verdict is withheld, count as tried; pairs that the spec
    refuses, such as a response that is a control, do not. The error rate holds if priors and likelihoods are right, and
    the expected share of false claims if pairs are independent or positively dependent, Benjamini & Yekutieli (2001),
    doi:10.1214/aos/1013699998.
    """
    require_error_rate(ASKED, error_rate)
    if not (is_number(level) and 0 < level < 1):
        raise FitError(ASKED, "level is between 0 and 1", f"level = {level!r}", "write level=0.05")
    sampler = sampler_of_refits(ASKED, sampler)
    random_seed = seed_of_study(ASKED, folder, random_seed)
    template, frame = template_of(spec), check_frame(frame, ASKED)
    tried = list(pairs_of(responses, signals, pairs))
    notes = {n: _refused(spec, pair) for n, pair in enumerate(tried)}
    fitted = [n for n, why in notes.items() if not why]
    # All panels are made before the first fit, so that a column that makes none is refused at once.
    panels = {n: panel_of_pair(template, frame, tried[n], start, end) for n in fitted}
    results = run_all(
        partial(_fit, template, frame, tried, (start, end), sampler, random_seed),
        fitted,
        settings={
            "study": ASKED,
            "spec": spec_to_toml(template),
            "pairs": [list(pair) for pair in tried],
            "panels": [panel_hash(panel) for panel in panels.values()],
            **sampler.plain,
            "random_seed": random_seed,
            "code": code_hash(),
        },
        executor=executor,
        folder=folder,
        progressbar=progressbar,
    )
    for n, panel in panels.items():
        notes[n] = " ".join(_renamed(said, tried[n]) for said in json.loads(panel.attrs["warnings"]))
    table = table_of(tried, results, notes, error_rate, level)
    table.attrs |= {"random_seed": random_seed}
    columns = ("response", "signal", "effect median", "probability", "claimed", "lag median", "note")
    return readable(table, columns, caption="Medians and 90 % intervals; lags in periods of the panel.")


def template_of(spec: ModelSpec) -> ModelSpec:
    """The spec with columns of its own for the response and the signal of each pair."""
    check_spec(spec, ASKED)
    lagged = spec.lagged_signals
    if len(spec.responses) != 1 or len(lagged) != 1:
        came = f"{len(spec.responses)} responses and {len(lagged)} signals with a kernel"
        cure = "pass a spec with one [[responses]] and one [[signals]], such as read_spec('btc_silver')"
        raise SpecError(ASKED, "the spec has one response and one signal with a lag kernel", came, cure)
    return _with_columns(spec, OWN[nm.RESPONSE], OWN[nm.SIGNAL])


def _with_columns(spec: ModelSpec, response: str, signal: str) -> ModelSpec:
    signals = tuple(
        dataclasses.replace(one, column=signal) if one in spec.lagged_signals else one for one in spec.signals
    )
    return spec.changed(responses=(dataclasses.replace(spec.responses[0], column=response),), signals=signals)


def _columns(role: str, given: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    named = [given] if isinstance(given, str) else given
    columns: dict[str, str] = dict(named) if isinstance(named, Mapping) else {}
    if isinstance(named, (list, tuple, pd.Index)) and all(isinstance(one, str) for one in named):
        columns = {one: one for one in named}
    if not columns or not all(isinstance(one, str) for one in (*columns, *columns.values())):
        rule = f"{role} are names of columns, in a list, or columns by name"
        raise SpecError(ASKED, rule, f"{role} = {given!r}", f'write {role}=["gold_usd"]')
    return columns


def pairs_of(
    responses: Mapping[str, str] | Sequence[str] | None,
    signals: Mapping[str, str] | Sequence[str] | None,
    given: Sequence[tuple[str, str]] | None,
) -> Iterator[Pair]:
    """The pairs given, or all pairs of different columns."""
    if [one is None for one in (responses, signals, given)] not in ([False, False, True], [True, True, False]):
        named = {"responses": responses, "signals": signals, "pairs": given}
        came = ", ".join(name for name, value in named.items() if value is not None) or "neither"
        rule = "the pairs come from responses and signals, or as pairs"
        raise SpecError(ASKED, rule, came, 'write responses=["btc_usd"], signals=["silver_usd"], or pairs=[...]')
    if given is not None:
        asked = [Pair(response, signal, (response, signal)) for response, signal in dict.fromkeys(map(tuple, given))]
    else:
        one, other = _columns("responses", responses), _columns("signals", signals)
        asked = [Pair(response, signal, (one[response], other[signal])) for response, signal in product(one, other)]
    found = [pair for pair in asked if len(set(pair.columns)) > 1]
    if not found:
        came = f"pairs {[pair.columns for pair in asked]}"
        raise SpecError(ASKED, "there is a pair of different columns", came, "name more columns of the frame")
    yield from found


def _refused(spec: ModelSpec, pair: Pair) -> str:
    """Why the model has no such pair, such as a response that is a control."""
    try:
        _with_columns(spec, *pair.columns)
    except SpecError as problem:
        return f"not fitted: {problem.rule}; {problem.came}"
    return ""


def panel_of_pair(
    template: ModelSpec, frame: pd.DataFrame, pair: Pair, start: Day | None, end: Day | None
) -> xr.Dataset:
    """The panel of a pair."""
    missing = [column for column in pair.columns if column not in frame.columns]
    if missing:
        came = f"columns {missing} are not among {list(frame.columns)}"
        raise PanelError(ASKED, "responses and signals are columns of the frame", came, "correct the names")
    own = dict(zip(OWN.values(), (frame[column] for column in pair.columns), strict=True))
    try:
        return make_panel(template, frame.assign(**own), start=start, end=end)
    except RegimelagError as problem:
        parts = (_renamed(part, pair) for part in (problem.rule, problem.came, problem.cure))
        raise PanelError(f"{ASKED}: {pair.signal} on {pair.response}", *parts) from problem


def _renamed(said: str, pair: Pair) -> str:
    """Words about a pair's panel, with the names of its columns."""
    for own, column in zip(OWN.values(), pair.columns, strict=True):
        said = said.replace(own, column)
    return said


def _labelled(said: str, template: ModelSpec, pair: Pair) -> str:
    """Words about a pair's fit, with the names of its series in place of the template's."""
    names = {template.responses[0].name: pair.response, template.lagged_signals[0].name: pair.signal}
    either = "|".join(map(re.escape, names))
    return re.sub(rf"(?<!\w)(?:{either})(?!\w)", lambda found: names[found[0]], said)


def _fit(
    template: ModelSpec,
    frame: pd.DataFrame,
    pairs: Sequence[Pair],
    window: tuple[Day | None, Day | None],
    sampler: Sampler,
    random_seed: int,
    number: int,
) -> Result:
    """Fit one pair; one compiled model of a process serves all pairs of the same shape."""
    panel = panel_of_pair(template, frame, pairs[number], *window)
    seed = int(np.random.SeedSequence([random_seed, number]).generate_state(1)[0])
    task = Refit(template, panel, panel, template.lagged_signals[0].name, residuals=True)
    for times in (1, LONGER):
        longer = dataclasses.replace(sampler, draws=times * sampler.draws, tune=times * sampler.tune)
        found = refit(task, longer, seed) | {"draws": longer.chains * longer.draws}
        if found["rhat"] <= RHAT_LIMIT:
            break
    return found | {"withheld": [_labelled(said, template, pairs[number]) for said in found["withheld"]]}


def other_sign(positive: float, statistic: float, draws: int) -> float:
    """Probability of the less probable sign, from the draws or, if it has few of them, from a normal distribution."""
    less = min(positive, 1 - positive)
    return less if less * draws >= FEW else float(stats.norm.sf(statistic))


def table_of(
    pairs: Sequence[Pair],
    results: Mapping[int, Result],
    notes: Mapping[int, str],
    error_rate: ErrorRate,
    level: float,
) -> pd.DataFrame:
    """The table of all pairs, with claims and sentences."""
    rows, p, open_to = [], np.ones(len(pairs)), np.zeros(len(pairs), dtype=bool)
    for n, pair in enumerate(pairs):
        row: dict[str, Any] = {"response": pair.response, "signal": pair.signal, "note": notes[n]}
        result = results.get(n)
        if result is not None and ERROR in result:
            row["note"] = f"{FAILED}{result[ERROR]}"
        elif result is not None:
            unmixed = [] if result["rhat"] <= RHAT_LIMIT else [f"R-hat is above {RHAT_LIMIT}."]
            p[n] = other_sign(result["positive"], result["statistic"], result["draws"])
            open_to[n] = not (unmixed or result["withheld"])
            row |= dict(zip(("effect 5 %", "effect median", "effect 95 %"), result["effect"], strict=True))
            row |= dict(zip(("lag 5 %", "lag median", "lag 95 %"), result["mean_lag"], strict=True))
            row |= {"probability": 1 - p[n], "sign": "positive" if result["positive"] >= 0.5 else "negative"}  # noqa: PLR2004
            row |= {"rows": result["rows"], "R-hat": result["rhat"], "divergent": result["divergent"]}
            row["note"] = " ".join([*unmixed, *result["withheld"], *([notes[n]] if notes[n] else [])])
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    tried = np.array(sorted(results), dtype=int)
    table["claimed"] = False
    # A pair of which nothing may be claimed counts as tried, and not among the claims.
    table.loc[tried, "claimed"] = allowed(np.where(open_to, p, 1.0)[tried], error_rate, level / 2)
    table = table.iloc[np.argsort(p, kind="stable")].reset_index(drop=True)
    table.attrs = {"error_rate": error_rate, "level": level, "tried": len(tried)}
    table.attrs[nm.SENTENCES] = list(_said(table))
    return table


def _said(table: pd.DataFrame) -> Iterator[str]:
    rate = "expected share of false claims" if table.attrs["error_rate"] == "fdr" else "probability of a false claim"
    limit = f"is at most {table.attrs['level']:g}, if priors and likelihoods are right"
    yield f"{table.attrs['tried']} pairs were tried; the {rate} {limit}. {SCREEN_RATE}"
    claimed, held = table[table["claimed"]], table[~table["claimed"] & (table["note"] != "")]
    if not len(claimed):
        yield "No lagged effect is claimed."
    for _, row in claimed.iterrows():
        effect, lag = ([row[f"{one} {at}"] for at in ("median", "5 %", "95 %")] for one in ("effect", "lag"))
        yield (
            f"{row['signal']} on {row['response']}: a {row['sign']} lagged effect of {effect[0]:.2f} "
            f"({effect[1]:.2f} to {effect[2]:.2f}), mean lag {lag[0]:.1f} ({lag[1]:.1f} to {lag[2]:.1f})."
        )
    if len(held):
        named = ", ".join(f"{row['signal']} on {row['response']}" for _, row in held.iterrows())
        yield f"Not claimed, and with a reason or a warning in the column note: {named}."
