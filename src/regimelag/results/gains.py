"""Evidence for two effects where regimes are ordered by the effect of a signal, and the rule for a claim.

The gain, the difference between the effects in the two regimes, is positive by construction: neither its sign nor its
quantiles are evidence. The model with a gain of zero is nested, and the priors of the other parameters do not depend on
the gain, so the Bayes factor of two effects against one is the prior density of the gain at zero over its posterior
density there: Dickey (1971), doi:10.1214/aoms/1177693507. The posterior density is the mean over draws of the density
of the gain given the draw's other parameters and the data, normalised by quadrature.

The rule: two effects are claimed if the Bayes factor is at least 10 n, and each regime holds at least 10 % of the
periods. n is the number of effects that the fit could make such a claim of: lagged signals times responses. The lower
effect is called decoupled only if it lies within 0.25 of zero with probability 0.9.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.likelihood.hmm_draws import log_density_draws
from regimelag.model.evaluate import Draws, evaluate, in_chunks, log_observation
from regimelag.panel.own_past import used_responses
from regimelag.results.evidence import Slab
from regimelag.results.lags import INTERVAL, effects
from regimelag.results.regimes import of_each_process, regime_durations
from regimelag.results.tables import gain_table
from regimelag.results.units import effect_units, sample_of
from regimelag.results.verdict import GAIN_RATE
from regimelag.results.view import View
from regimelag.runtime.result_table import OF_SAMPLE, ResultTable
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.process_terms import ordering_signal
from regimelag.spec.processes import Process, carrier
from regimelag.spec.term import Term
from regimelag.spec.terms import terms_of

# Least Bayes factor of a claim, least share of each regime, and when the lower effect is called decoupled.
LEAST_FACTOR, LEAST_SHARE = 10.0, 0.1
NEAR_ZERO, NEARLY_SURE = 0.25, 0.9
# Draws and quadrature nodes of the density at zero.
DRAWS, NODES = 200, 30
FACTOR, ERROR, CLAIMED, DECOUPLED = "Bayes factor", "relative error", "claimed", "decoupled"
LOWER_SHARE, HIGHER_SHARE = "share lower", "share higher"


def gain_report(idata: xr.DataTree) -> pd.DataFrame:
    """Report the gain of each process whose two regimes are ordered by the effect of a signal, and what is claimed.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    pandas.DataFrame
        One row for each ``response``, ``regime_process`` and ``signal``: ``5 %``, ``median`` and ``95 %`` of the gain,
        in units of the response per unit of the signal; ``Bayes factor`` of two effects against one, and the ``relative
        error`` of its estimate; ``share lower`` and ``share higher``, the shares of periods on sampled paths;
        ``decoupled``, the probability that the lower effect lies within 0.25 of zero; and ``claimed``. In attrs the
        sentences, and ``threshold``, the Bayes factor that a claim needs.

    Raises
    ------
    FitError
        If no process has two regimes that are ordered by the effect of a signal.

    Notes
    -----
    The rule is in the docstring of ``regimelag.results.gains``. The density of the gain at zero is averaged over
    200 draws, spread evenly over the posterior.
    """
    view = View.of(idata)
    found = view.read(gain_claims)
    table = found.copy()
    table.attrs = dict(found.attrs)
    if not len(table):
        rule = "a regime process has two regimes that are ordered by the effect of a signal"
        cure = 'fit a model with such a process, as regimelag.read_spec("coupling")'
        raise FitError("gain_report", rule, f"none of the model {view.spec.name!r}", cure)
    problems = view.diagnostics[1:]
    table[CLAIMED] &= not problems
    if problems:
        table.attrs[nm.SENTENCES] = [f"Convergence diagnostics failed, and no gain is claimed. {' '.join(problems)}"]
    else:
        table.attrs[nm.SENTENCES] = [sentence(row, table.attrs["threshold"]) for _, row in table.iterrows()]
    table.attrs |= {"units": effect_units(view.spec), OF_SAMPLE: sample_of(view)}
    return ResultTable(table, gain_table)


def gain_claims(idata: xr.DataTree | View) -> pd.DataFrame:
    """The table without its sentences, whatever the diagnostics say; empty without such a process."""
    view = View.of(idata)
    spec, rows = view.spec, []
    threshold = LEAST_FACTOR * max(len(spec.lagged_signals) * len(spec.responses), 1)
    for place, process, name, term in _gains(view):
        factor, error = bayes_factor(view, term)
        shares = [one for _, one in of_each_process(spec, view.read(regime_durations)["share"])]
        share = shares[place].mean((nm.CHAIN, nm.DRAW)).to_numpy()
        by_regime = view.read(effects)["lagged_by_regime"].sel({nm.SIGNAL: name})
        for a in process.responses:
            response = spec.responses[a].name
            own = by_regime.sel({nm.RESPONSE: response}) if nm.RESPONSE in by_regime.dims else by_regime
            lower, higher = (own.sel({nm.REGIME: label}).to_numpy().ravel() for label in process.labels)
            low, median, high = np.quantile(higher - lower, (INTERVAL[0], 0.5, INTERVAL[1]))
            rows.append(
                {
                    nm.RESPONSE: response,
                    nm.REGIME_PROCESS: process.spec.name,
                    nm.SIGNAL: name,
                    "5 %": low,
                    "median": median,
                    "95 %": high,
                    FACTOR: factor,
                    ERROR: error,
                    LOWER_SHARE: share[0],
                    HIGHER_SHARE: share[1],
                    DECOUPLED: float((abs(lower) < NEAR_ZERO).mean()),
                    CLAIMED: bool(factor >= threshold and share.min() >= LEAST_SHARE),
                }
            )
    table = pd.DataFrame(rows)
    table.attrs["threshold"] = threshold
    return table


def _gains(view: View) -> Iterator[tuple[int, Process, str, Term]]:
    """Place and process with two regimes that a signal's effect orders, the signal, and the term of its gain."""
    terms = {term.name: term for term in terms_of(view.spec, view.panel).effect}
    for place, process in enumerate(view.spec.processes):
        name = ordering_signal(view.spec, process)
        if name and process.spec.count == 2:  # noqa: PLR2004
            yield place, process, name, next(terms[one] for one in _names(process) if one in terms)


def _names(process: Process) -> tuple[str, str]:
    """Names that the gain of a process may have."""
    return f"{process.spec.name}_{nm.EFFECT_GAIN}", nm.EFFECT_GAIN


def bayes_factor(view: View, term: Term) -> tuple[float, float]:
    """Bayes factor of a positive gain against none, and the relative standard error of its estimate.

    NaN if the prior of the gain has no density at zero.
    """
    prior = Slab(*term.resolved.entry(0))
    at_zero = float(np.exp(prior.log_density(0.0)[0]))
    if not 0 < at_zero < np.inf:
        return np.nan, np.nan
    draws = view.at_draws.draws
    count = len(draws[term.name])
    places = np.unique(np.linspace(0, count - 1, DRAWS).round().astype(int))
    density = conditional_density_at_zero(view, term, {name: one[places] for name, one in draws.items()}, prior)
    mean = float(density.mean())
    with np.errstate(divide="ignore"):
        return float(np.divide(at_zero, mean)), float(density.std() / np.sqrt(len(density)) / mean) if mean else np.nan


def conditional_density_at_zero(view: View, term: Term, draws: Draws, prior: Slab) -> np.ndarray:
    """Density (draw) of the gain at zero given the data and the draw's other parameters."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    # Beyond half as much again as the largest draw the density is negligible.
    top = 1.5 * float(view.at_draws.draws[term.name].max())
    grid = np.concatenate([[0.0], top * (nodes + 1) / 2])
    count, shape = len(draws[term.name]), draws[term.name].shape[1:]
    repeated = {name: np.repeat(one, len(grid), axis=0) for name, one in draws.items()}
    repeated[term.name] = np.tile(grid, count).reshape(-1, *(1,) * len(shape))
    y, joint = used_responses(view.panel), len(view.spec.joint_regimes)
    log_likelihood = []
    for _, some in in_chunks(repeated, len(y) * joint * (joint + 1)):
        at = evaluate(view.spec, view.panel, some)
        log_obs = log_observation(at, y)
        log_likelihood.append(log_density_draws(log_obs, at.logits, at.log_initial).sum(axis=-1))
    log_density = np.concatenate(log_likelihood).reshape(count, len(grid)) + prior.log_density(grid)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    return density[:, 0] / (density[:, 1:] @ weights * top / 2)


def gain_of(spec: ModelSpec, table: pd.DataFrame, response: str, signal: str) -> tuple[str, bool]:
    """Evidence in words for two effects, and whether they are claimed; empty where the sign of a difference tells."""
    process = carrier(spec, "effect", next(a for a, one in enumerate(spec.responses) if one.name == response))
    if process is None or process.spec.count == 1:
        return "", False
    if process.spec.order_by.quantity == "none":
        return "the regimes are not ordered, so that their labels are exchangeable and no difference is claimed", False
    if ordering_signal(spec, process) != signal:
        return "", False
    if process.spec.count > 2:  # noqa: PLR2004
        return "ordered by the effect; there is no rule for more than two regimes, and no difference is claimed", False
    one = table[(table[nm.RESPONSE] == response) & (table[nm.SIGNAL] == signal)].iloc[0]
    said = f"ordered by the effect; Bayes factor of two effects against one {factor_in_words(one[FACTOR])}"
    return f"{said}; {claim_in_words(one, table.attrs['threshold'])}", bool(one[CLAIMED])


# ---- words


def sentence(row: pd.Series, threshold: float) -> str:
    """Whether two effects are claimed, with the numbers."""
    gain = f"{row['median']:.2f} ({row['5 %']:.2f} to {row['95 %']:.2f})"
    evidence = f"Bayes factor of two effects against one {factor_in_words(row[FACTOR])}"
    said = f"{row[nm.SIGNAL]} on {row[nm.RESPONSE]}, process {row[nm.REGIME_PROCESS]}: gain {gain}, positive by "
    said += f"construction; {evidence}; {claim_in_words(row, threshold)}."
    return f"{said} {GAIN_RATE}" if row[CLAIMED] else said


def factor_in_words(factor: float) -> str:
    """A Bayes factor to two digits."""
    if np.isnan(factor):
        return "unknown, since the prior of the gain has no density at zero"
    return "above 1,000" if factor > 1000 else f"{factor:.2g}"  # noqa: PLR2004


def claim_in_words(row: pd.Series, threshold: float) -> str:
    """Claim about a gain, or the reason for none."""
    smallest = min(row[LOWER_SHARE], row[HIGHER_SHARE])
    if row[CLAIMED]:
        decoupled = row[DECOUPLED] >= NEARLY_SURE
        lower = f"the lower effect lies within {NEAR_ZERO} of zero with probability {row[DECOUPLED]:.2f}"
        return f"two effects are claimed; {lower}{', so that the lower regime is decoupled' if decoupled else ''}"
    if row[FACTOR] >= threshold and smallest < LEAST_SHARE:
        return f"not claimed, one regime holds {100 * smallest:.0f} % of the periods, where 10 % are asked for"
    return f"not claimed, a claim needs {threshold:g}"
