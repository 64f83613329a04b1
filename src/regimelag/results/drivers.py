"""Whether drivers move the regimes: the log odds of entering and of leaving them, and the rule for a claim.

The rule: a driver is claimed to change the log odds of a step between two regimes if the change has one sign with
probability 1 - 0.002 / n at least. n is the number of changes that the fit could make such a claim of: drivers times
contrasts, summed over regime processes. A contrast is a pair of regimes, or each of its
two directions where the effect of a driver differs by origin. At least 5 steps each way between the two regimes have to
be expected on the sampled paths, and the convergence diagnostics have to hold.

A fifth of the share of false claims that lagged effects have: with 0.01 the rule claimed real drivers that had been
rotated in time against the real response in more than 3 of 100 fits. Regimes are not observed, spells are few, and
drivers move as slowly as regimes do.

This family of claims has its own error budget. No claim of a lagged response, or of a difference between regimes, is
asked for, nor does it ask for this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.results.decision import POWER, STRICTER, decision_threshold, exaggeration
from regimelag.results.regimes import of_each_process, regime_paths, step_log_odds
from regimelag.results.tables import driver_table
from regimelag.results.units import sample_of
from regimelag.results.verdict import INTERVAL, probability
from regimelag.results.view import View
from regimelag.runtime.result_table import OF_SAMPLE, ResultTable
from regimelag.spec import names as nm

# Steps that have to be expected each way between two regimes.
LEAST_STEPS = 5
FROM, TO, STEPS, CLAIMED, POSITIVE = "from", "to", "steps", "claimed", "P(> 0)"
ORDERS = "orders the regimes"


def driver_report(idata: xr.DataTree) -> pd.DataFrame:
    """Report how each driver changes the log odds of entering and of leaving regimes, and what is claimed.

    Which driver moves the regimes is decided here, in log odds for one standard deviation. What a move of any size does
    to probabilities is in `driver_effects`.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    pandas.DataFrame
        One row for each ``response``, with several processes ``regime_process``, ``driver`` and step ``from`` one
        regime ``to`` another: ``5 %``, ``median`` and ``95 %`` of the change in log P(to | from) / P(from | from), the
        log odds of the step against staying, for a driver that is one standard deviation higher; ``P(> 0)``; ``steps``,
        the number of such steps on a sampled path, on average; and ``claimed``. With regimes ordered by a driver's
        effect a column says so, and nothing is claimed of that driver. ``response`` is "all" where several responses
        share the regime process. In attrs the sentences; ``threshold``, the probability of a sign that a claim needs;
        and ``contrasts``, the number of changes that share the error budget.

    Raises
    ------
    FitError
        If the model has no drivers.

    Notes
    -----
    The rule is in the docstring of ``regimelag.results.drivers``: a sign with probability 1 - 0.002 / contrasts,
    and at least 5 steps each way. With ``by_origin`` unset a driver has one slope for each destination, so that the
    change for the step back is the negative, and both are one contrast.

    Time-varying transition probabilities: Diebold, Lee & Weinbach (1994); Filardo (1994),
    doi:10.1080/07350015.1994.10524545.
    """
    view = View.of(idata)
    if not view.spec.transition_drivers:
        raise FitError("driver_report", "the model has drivers", "none", "fit a model with [[drivers]]")
    table, problems = driver_claims(view), view.diagnostics[1:]
    table[CLAIMED] &= not problems
    table.attrs[nm.SENTENCES] = list(_said(table, problems))
    table.attrs[OF_SAMPLE] = sample_of(view)
    return ResultTable(table, driver_table)


def driver_claims(view: View) -> pd.DataFrame:
    """The table without its sentences, whatever the diagnostics say."""
    spec, paths, rows = view.spec, view.read(regime_paths), []
    moved = [(place, process, d) for place, process in enumerate(spec.processes) for d in process.drivers]
    changes = step_log_odds(spec, view.at_draws.draws)
    tied = all(np.allclose(one, -one.swapaxes(-1, -2), rtol=0, atol=1e-9) for one in changes)
    pairs = sum(process.spec.count * (process.spec.count - 1) for _, process, _ in moved)
    contrasts = pairs // (2 if tied else 1)
    threshold = decision_threshold(STRICTER * contrasts)
    counts = [_steps(one, process.spec.count) for process, one in of_each_process(spec, paths)]
    several = nm.REGIME_PROCESS in spec.process_coords
    for place, process, d in moved:
        own = [spec.responses[a].name for a in process.responses]
        for i, j in permutations(range(process.spec.count), 2):
            draws = changes[place][:, d, i, j]
            low, median, high = np.quantile(draws, (INTERVAL[0], 0.5, INTERVAL[1]))
            above, sure = float((draws > 0).mean()), max((draws > 0).mean(), (draws < 0).mean()) >= threshold
            often = min(counts[place][i, j], counts[place][j, i]) >= LEAST_STEPS
            # The sign of the effect that orders the regimes is no evidence.
            free = process.spec.order_by.driver != spec.transition_drivers[d].name
            rows.append(
                {
                    nm.RESPONSE: own[0] if len(own) == 1 else "all",
                    **({nm.REGIME_PROCESS: process.spec.name} if several else {}),
                    nm.DRIVER: spec.transition_drivers[d].name,
                    FROM: process.labels[i],
                    TO: process.labels[j],
                    "5 %": low,
                    "median": median,
                    "95 %": high,
                    POSITIVE: above,
                    STEPS: counts[place][i, j],
                    ORDERS: not free,
                    CLAIMED: bool(sure and often and free),
                }
            )
    table = pd.DataFrame(rows)
    if not table[ORDERS].any():
        table = table.drop(columns=ORDERS)
    table.attrs = {"threshold": threshold, "contrasts": contrasts}
    return table


def _steps(paths: xr.DataArray, regimes: int) -> np.ndarray:
    """Mean number of steps (origin, destination) on the sampled paths of a process."""
    rows = paths.transpose(nm.CHAIN, nm.DRAW, nm.TIME).to_numpy().reshape(-1, paths.sizes[nm.TIME])
    pairs = regimes * rows[:, :-1] + rows[:, 1:]
    return np.bincount(pairs.ravel(), minlength=regimes**2).reshape(regimes, regimes) / len(rows)


# ---- words


def drivers_in_short(table: pd.DataFrame) -> str:
    """Sentences on drivers that move the regimes, and on those without a claim."""
    said, rest = [], []
    for name, rows in _contrasts(table):
        ways = [
            f"{'raises' if row['median'] > 0 else 'lowers'} the odds of {_step(row)}"
            for _, row in rows[rows[CLAIMED]].iterrows()
        ]
        said += [f"a rise of {name} {' and '.join(ways)}"] if ways else []
        rest += [] if ways else [name]
    if not said:
        return f"No driver is shown to move the regimes ({', '.join(rest)})."
    silent = f" No effect on the regimes is claimed of {', '.join(rest)}." if rest else ""
    return f"Drivers that move the regimes: {'; '.join(said)}.{silent}"


def _contrasts(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name of each driver, and its rows without those that repeat another with the sign turned."""
    whose = nm.REGIME_PROCESS if nm.REGIME_PROCESS in table else nm.RESPONSE
    several, order = len(table[whose].unique()) > 1, list(dict.fromkeys(table[FROM]))
    once = [_untied(table) or order.index(one[FROM]) < order.index(one[TO]) for _, one in table.iterrows()]
    for (owner, driver), rows in table[once].groupby([whose, nm.DRIVER], sort=False):
        yield f"{driver} ({owner})" if several else str(driver), rows


def _untied(table: pd.DataFrame) -> bool:
    return bool(table.attrs["contrasts"] == len(table))


def _step(row: pd.Series) -> str:
    return f"entering {row[TO]} from {row[FROM]}"


def _said(table: pd.DataFrame, problems: list[str]) -> Iterator[str]:
    """Claims about each driver with the numbers, and the exaggeration of claims."""
    if problems:
        yield f"Convergence diagnostics failed, and nothing is claimed of drivers. {' '.join(problems)}"
        return
    for name, rows in _contrasts(table):
        for _, row in rows.iterrows():
            back = "" if _untied(table) else f", and those of leaving it for {row[FROM]} by the opposite"
            numbers = f"{row['median']:.2f} ({row['5 %']:.2f} to {row['95 %']:.2f})"
            yield (
                f"{name}: a rise of one standard deviation changes the log odds of {_step(row)} by {numbers}{back}; "
                f"{_claim(table, row)}."
            )
    if table[CLAIMED].any():
        family = STRICTER * table.attrs["contrasts"]
        factors = [f"{exaggeration(power, family):.2f} times where the power is {power:g}" for power in (POWER, 0.5)]
        yield f"Changes that pass this threshold are exaggerated: on average {' and '.join(factors)}."


def _claim(table: pd.DataFrame, row: pd.Series) -> str:
    """Whether the change is claimed, and why not."""
    chance = probability(row[POSITIVE])
    chance = f"P(> 0) {chance}" if " " in chance else f"P(> 0) = {chance}"
    if row[CLAIMED]:
        return f"claimed, {chance}"
    if row.get(ORDERS):
        return "not claimed, since the regimes are ordered by it"
    owner = [name for name in (nm.RESPONSE, nm.REGIME_PROCESS) if name in table]
    pair = table[[{one[FROM], one[TO]} == {row[FROM], row[TO]} for _, one in table.iterrows()]]
    fewest = pair.loc[(pair[owner] == row[owner]).all(axis=1), STEPS].min()
    if fewest < LEAST_STEPS:
        return f"not claimed, {fewest:.1f} steps are expected one way, where {LEAST_STEPS} are asked for"
    return f"not claimed, {chance}, where a claim needs {table.attrs['threshold']:.4g} for one sign"
