"""The lag report: effects and lags with their evidence in one table, and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.results import evidence
from regimelag.results.asymmetry import ASYMMETRY, asymmetry, asymmetry_verdicts
from regimelag.results.decision import INFORMATION
from regimelag.results.gains import gain_claims, gain_of
from regimelag.results.lags import INTERVAL, check_within, default_within, effects, elasticity_scale, lag_distribution
from regimelag.results.model_checks import model_warnings
from regimelag.results.persistence import persistence, unexplained
from regimelag.results.states import at_zero, states_of
from regimelag.results.tables import lag_table
from regimelag.results.units import ELASTICITY, effect_unit, effect_units, sample_of
from regimelag.results.verdict import LAG_GAP, Findings, claims_of, verdict
from regimelag.results.view import View
from regimelag.runtime.plain import is_number
from regimelag.runtime.result_table import OF_SAMPLE, ResultTable
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec, period_name
from regimelag.spec.series import Signal
from regimelag.spec.terms import terms_of

SAMPLE = (nm.CHAIN, nm.DRAW)
GROUPS = ("posterior", "prior")
THRESHOLD, SLABS = 0.25, (0.25, 0.5, 1.0, 2.0, 4.0)
EFFECT, NOW, MEAN_LAG, MASS = "lagged effect", "contemporaneous effect", "mean lag", "mass within"
GAPS = {dim: f"largest difference in mean lag between {dim}s" for dim in (nm.REGIME, nm.EPISODE)}
LONG_RUN = "long-run effect"
IMPULSE_MEAN, IMPULSE_MEDIAN = f"{MEAN_LAG} of the impulse response", "median lag of the impulse response"
OVER_SAMPLE = f"{EFFECT}, average over the sample's periods"
LAGS = {"mean_lag": MEAN_LAG, "median_lag": "median lag", "peak_lag": "peak lag", "mass_within": MASS}
IMPULSE_LAGS = {"impulse_mean_lag": IMPULSE_MEAN, "impulse_median_lag": IMPULSE_MEDIAN}
SAME, DISAGREE, FINE = "the posterior equals the prior", "prior and data disagree", "no conflict"


# Regime or episode of a quantity that is averaged over them.
ALL = "all"


class Row(NamedTuple):
    """A quantity of the report: of one regime or one episode, or averaged over them."""

    response: str
    signal: str
    quantity: str
    regime: str = ALL
    episode: str = ALL

    @property
    def entries(self) -> dict[str, str]:
        """The regime or the episode that it is of, by dimension; empty for an average."""
        return {dim: entry for dim in GAPS if (entry := getattr(self, dim)) != ALL}

    @property
    def name(self) -> str:
        """The quantity in words."""
        return ", ".join([self.quantity, *self.entries.values()])


def lag_report(
    idata: xr.DataTree,
    *,
    within: tuple[float, float] | None = None,
    threshold: float = THRESHOLD,
    slabs: Sequence[float] = SLABS,
) -> pd.DataFrame:
    """Report effects and lags with their evidence, and the verdict on a lagged response.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    within : (float, float), optional
        Range of lags in periods of the panel, whose mass and whose probability to hold the mean lag are reported. By
        default one to three months, as in `lag_distribution`: 4 to 13 weeks, or 21 to 63 trading days.
    threshold : float
        Size of effect that matters, in their own units: for log returns, per cent of the response per per cent of the
        signal.
    slabs : sequence of float
        Widths of the effect's prior against which no effect is weighed, as multiples of its width.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``response``, ``signal``, ``quantity``, ``regime`` and ``episode``; columns (group, statistic).
        Quantities that differ by regime or episode have a row for each, and one with "all" for the average. Groups
        posterior and prior: ``5 %``, ``median``, ``95 %``; for an effect ``P(> 0)`` and ``P(|.| > threshold)``; for the
        mean lag the probability that it lies within the range, ``P(within)``; for the largest difference in mean lag
        between episodes or regimes ``P(> 4)``. Group evidence: ``nats``, the information gained on the quantity, see
        Notes; ``prior`` and ``likelihood``, its power-scaling sensitivities, and their ``diagnosis``. Effects are in
        units of the response per unit of the signal, lags in periods of the panel.

        With autoregression there are also *long-run effect*, and *mean lag* and *median lag of the impulse response*;
        *lagged effect* and *mean lag* are then those of the direct effect.

        The quantity *lagged effect*, for all regimes and episodes, gives them equal weights and has moderators at their
        means; it is what the verdict decides on; *lagged effect, average over the sample's periods* is
        ``lagged_over_sample`` of `effects`.

        With signals that are the gain and the loss of one column, the quantity *asymmetry* is the difference of their
        lagged effects, and the row's signal is named "silver gain less silver loss".

        In ``attrs``: ``verdict``, sentences by signal ("silver on bitcoin" with several responses), and by asymmetry;
        ``no_effect``, by signal, columns over slab widths, so that
        ``pandas.DataFrame(report.attrs["no_effect"]["silver"])`` is a table of the probability that the average effect
        is zero (see Notes); ``persistence``, by response, the robust autocorrelation ``r_1`` of its one-step-ahead
        residuals, ``r_1^2 + ... + r_8^2``, and its own lag-1 ``autocorrelation``, None where there are too few rows;
        ``notes``, a list of warnings; ``claimed``, by signal, the sign of the effect that is claimed, or 0; ``units``
        and ``sample`` in words; ``within`` and ``threshold`` as given.

    Raises
    ------
    FitError
        If `threshold` or a slab is not positive, or `within` is no range.

    Notes
    -----
    The verdict's rule is in the docstring of ``regimelag.results.decision``: a lagged response is claimed if its
    average effect has one sign with probability 0.99 (0.995 of two signals, and so on). A difference between regimes is
    claimed at its own threshold, with or without that, and so are an asymmetry and a difference between states
    (`regimelag.results.state_report`); a difference between episodes and the place of the lag only with it. Where
    regimes are ordered by the effect, the difference between them has its own rule, see
    `regimelag.results.gain_report`.

    The verdict is withheld, and says how to go on, where the one-step-ahead residuals of the response are serially
    correlated, or response and signal both have a lag-1 autocorrelation above 0.9. The residuals are normal scores of
    the PIT averaged over draws; their autocorrelations r_k are robust to changing variances, and the limits, 2.8 for
    r_1 in size and 22.0 for r_1^2 + ... + r_8^2, are each passed in 0.5 % of the fits whose residuals are not
    correlated. A model without a lag has this as a note.

    Information gained is the Kullback-Leibler divergence of posterior from prior. It is estimated from draws, cut into
    bins that are equally probable under the prior, with the bias of finite draws taken off as in Miller (1955); of a
    point lag it is that of its probabilities, exactly.

    P(no average lagged effect) concerns the average effect of each signal, or with moderators that where indicators are
    0 and drivers at their means, at prior odds one. Deviations by regime, episode and response remain possible under
    both hypotheses: opposite effects in two regimes count as no average effect. It depends on the slab's width: Lindley
    (1957), doi:10.1093/biomet/44.1-2.187.

    Sensitivities are those of `arviz.psense_summary`, with the priors of effects and lag kernels scaled, and no others:
    Kallioinen, Paananen, Buerkner & Vehtari (2024), doi:10.1007/s11222-023-10366-5. The diagnosis is of the lagged
    effect and of the mean lag. *The posterior equals the prior* if the information gained is below 0.25 nats: such a
    posterior moves with its prior and conflicts with nothing. *Prior and data disagree* if, with more information, both
    sensitivities are above 0.05, prior and likelihood pull the posterior mean opposite ways, and it lies outside the
    prior's 90 % interval: a note then says which way each pulls, and which prior to widen. *No conflict* otherwise; a
    posterior in the bulk of its prior is none, however sensitive it is.
    """
    view = View.of(idata)
    spec = view.spec
    within = default_within(spec) if within is None else within
    check_within("lag_report", within)
    _check_arguments(threshold, slabs)
    after, before = (_quantities(view, group, within) for group in GROUPS)
    rows = list(after)
    before = {row: before[row] if row in before else _alike(before, row) for row in rows}
    table: dict[Row, dict[tuple[str, str], Any]] = {row: {} for row in rows}
    for group, found in zip(GROUPS, (after, before), strict=True):
        for row in rows:
            table[row] |= _statistics(group, row, found[row].to_numpy().ravel(), within, threshold)
    asked = {"within": list(within), "threshold": threshold, "persistence": view.read(persistence).plain}
    asked |= {"units": {"effect": effect_units(spec), "lag": period_name(spec.frequency)}, OF_SAMPLE: sample_of(view)}
    if not rows:
        return _framed(table, {"verdict": {}, "no_effect": {}, "claimed": {}, "notes": _notes(view)} | asked)
    for row, entry in _evidence(view, after, before).items():
        table[row] |= entry
    conflicts = list(_sensitivity(view, after, before, table))
    none = {signal.name: _no_effect(view, signal, slabs) for signal in spec.lagged_signals}
    findings = list(_findings(view, after, before, table, none, within))
    said = {one.name: verdict(one) for one in findings} | asymmetry_verdicts(spec, findings)
    asked["claimed"] = {one.name: claims_of(one).direction for one in findings}
    notes = [*_notes(view), *conflicts]
    no_effect = {name: _plain(widths) for name, widths in none.items()}
    return _framed(table, {"verdict": said, "no_effect": no_effect, "notes": notes} | asked)


def _notes(view: View) -> list[str]:
    """Automatic warnings; serial correlation is one of them where no verdict is there to be withheld."""
    said = list(view.read(model_warnings))
    if not view.spec.lagged_signals:
        found = view.read(persistence)
        said += [why for response in view.spec.responses for why in unexplained(found, response, None)]
    return said


def _check_arguments(threshold: float, slabs: Sequence[float]) -> None:
    for name, given in (("threshold", (threshold,)), ("slabs", slabs)):
        values = given if isinstance(given, (tuple, list, np.ndarray)) else ()
        if not len(values) or not all(is_number(value) and value > 0 for value in values):
            came = f"{name} = {threshold if name == 'threshold' else slabs!r}"
            cure = f"write {name}={SLABS if name == 'slabs' else 0.25}"
            raise FitError("lag_report", f"{name} is positive", came, cure)


def _framed(table: dict[Row, dict[tuple[str, str], Any]], attrs: dict[str, Any]) -> pd.DataFrame:
    """The rows as a table."""
    columns = list(dict.fromkeys(column for entry in table.values() for column in entry))
    columns.sort(key=lambda column: (*GROUPS, "evidence").index(column[0]))
    frame = pd.DataFrame(
        [[entry.get(column, np.nan) for column in columns] for entry in table.values()],
        index=pd.MultiIndex.from_tuples(list(table), names=Row._fields),
        columns=pd.MultiIndex.from_tuples(columns, names=["group", "statistic"]),
    )
    frame.attrs |= attrs | {nm.SENTENCES: [*attrs["verdict"].values(), *attrs["notes"]]}
    return ResultTable(frame, lag_table)


def _responses(view: View) -> list[str]:
    return [str(name) for name in view.constants[nm.RESPONSE].to_numpy()]


# ---- draws of everything that the report speaks of


def _quantities(view: View, group: str, within: tuple[float, float]) -> dict[Row, xr.DataArray]:
    """Draws (chain, draw) of each row."""
    spec, read = view.spec, view.read(effects, group=group)
    lag = view.read(lag_distribution, group=group, within=within) if spec.lagged_signals else xr.Dataset()
    found: dict[Row, xr.DataArray] = {}
    for response in _responses(view):
        for signal in spec.signals:
            of = (response, signal.name)
            lagged = signal in spec.lagged_signals
            if lagged:
                found[Row(*of, EFFECT)] = _one(read["lagged"], *of)
                found[Row(*of, OVER_SAMPLE)] = _one(read["lagged_over_sample"], *of)
                if spec.autoregression:
                    found[Row(*of, LONG_RUN)] = _one(read["long_run"], *of)
            if signal.contemporaneous:
                found[Row(*of, NOW)] = _one(read["contemporaneous"], *of)
            if lagged:
                for dim in (nm.REGIME, nm.EPISODE):
                    found |= _entries(_one(read[f"lagged_by_{dim}"], *of), *of, EFFECT)
                found |= _lag_quantities(lag, *of)
    return found | asymmetry(spec, found, EFFECT)


def _one(values: xr.DataArray, response: str, signal: str) -> xr.DataArray:
    """One response's and signal's part; a reading has no response dimension where responses do not differ."""
    at = {nm.SIGNAL: signal} | ({nm.RESPONSE: response} if nm.RESPONSE in values.dims else {})
    return values.sel(at, drop=True).transpose(*SAMPLE, ...)


def _entries(values: xr.DataArray, response: str, signal: str, quantity: str) -> Iterator[tuple[Row, xr.DataArray]]:
    """A row for each entry of each dimension over which the draws differ, averaged over the others."""
    for dim in _varying(values):
        part = values.mean([other for other in values.dims if other not in (*SAMPLE, dim)])
        for entry in part[dim].to_numpy():
            yield Row(response, signal, quantity)._replace(**{dim: str(entry)}), part.sel({dim: entry}, drop=True)


def _varying(values: xr.DataArray) -> list[str]:
    """Dimensions other than chain and draw over which the draws are not all alike."""
    rest = [str(dim) for dim in values.dims if dim not in SAMPLE]
    return [dim for dim in rest if bool((values.max(dim) > values.min(dim)).any())]


def _alike(found: Mapping[Row, xr.DataArray], row: Row) -> xr.DataArray:
    """Draws of one entry where all are alike, as where deviations vanish beside a huge level: those of the average."""
    if row.quantity in GAPS.values():
        return xr.zeros_like(found[Row(row.response, row.signal, MEAN_LAG)])
    return found[Row(row.response, row.signal, row.quantity)]


def _lag_quantities(lag: xr.Dataset, response: str, signal: str) -> Iterator[tuple[Row, xr.DataArray]]:
    """Mean, median and peak lag and the mass within, averaged over what they differ by, then each entry."""
    for name, quantity in (LAGS | IMPULSE_LAGS).items():
        if name not in lag:
            continue
        values = _one(lag[name], response, signal)
        yield Row(response, signal, quantity), values.mean([dim for dim in values.dims if dim not in SAMPLE])
        yield from _entries(values, response, signal, quantity)
        if quantity == MEAN_LAG:
            for dim in _varying(values):
                part = values.mean([other for other in values.dims if other not in (*SAMPLE, dim)])
                yield Row(response, signal, GAPS[dim]), part.max(dim) - part.min(dim)


# ---- columns


def _statistics(
    group: str, row: Row, draws: np.ndarray, within: tuple[float, float], threshold: float
) -> dict[tuple[str, str], float]:
    # An own past that does not die out leaves draws without a long-run effect and lag.
    draws = draws[np.isfinite(draws)]
    low, median, high = np.quantile(draws, (INTERVAL[0], 0.5, INTERVAL[1])) if len(draws) else (np.nan,) * 3
    entry = {(group, "5 %"): low, (group, "median"): median, (group, "95 %"): high}
    if row.quantity in (EFFECT, OVER_SAMPLE, LONG_RUN, NOW, ASYMMETRY):
        entry[group, "P(> 0)"] = float((draws > 0).mean())
        entry[group, "P(|.| > threshold)"] = float((abs(draws) > threshold).mean())
    if row.quantity in (MEAN_LAG, IMPULSE_MEAN):
        entry[group, "P(within)"] = float(((draws >= within[0]) & (draws <= within[1])).mean())
    if row.quantity in GAPS.values():
        entry[group, f"P(> {LAG_GAP})"] = float((draws > LAG_GAP).mean())
    return entry


def _evidence(
    view: View, after: dict[Row, xr.DataArray], before: dict[Row, xr.DataArray]
) -> dict[Row, dict[tuple[str, str], Any]]:
    """Information gained on every row."""
    found: dict[Row, dict[tuple[str, str], Any]] = {}
    effective = evidence.effective_draws(_stacked(after, list(after)))
    for row, count in zip(after, effective, strict=True):
        nats = None
        if row.quantity == MEAN_LAG:
            nats = evidence.point_information(view.spec, view.parameters(), row.signal, row.entries)
        if nats is None:
            draws = [_finite(part[row]) for part in (after, before)]
            nats = evidence.information_gained(*draws, effective=count) if all(map(len, draws)) else 0.0
        found[row] = {("evidence", "nats"): max(nats, 0.0)}
    return found


def _finite(draws: xr.DataArray) -> np.ndarray:
    """Draws without those in which the quantity does not exist."""
    values = draws.to_numpy().ravel()
    return values[np.isfinite(values)]


def _sensitivity(
    view: View,
    after: dict[Row, xr.DataArray],
    before: dict[Row, xr.DataArray],
    table: dict[Row, dict[tuple[str, str], Any]],
) -> Iterator[str]:
    """Add prior sensitivities of average effects and mean lags to the table; say where prior and data disagree."""
    scaled = [row for row in after if row.quantity in (EFFECT, NOW, MEAN_LAG) and not row.entries]
    if not view.spec.lagged_signals:
        return
    sensitivity = evidence.prior_sensitivity(view.spec, view.log_prior, view.one_step, _stacked(after, scaled))
    for row, (_, found) in zip(scaled, sensitivity.iterrows(), strict=True):
        table[row] |= {("evidence", name): float(found[name]) for name in ("prior", "likelihood")}
        if row.quantity == NOW:
            # The priors that are scaled are not its own.
            continue
        mean, prior = float(after[row].mean()), np.quantile(before[row], INTERVAL)
        diagnosis = _diagnosis(table[row]["evidence", "nats"], found, mean, prior)
        table[row]["evidence", "diagnosis"] = diagnosis
        if diagnosis == DISAGREE:
            yield _disagreement(view.spec, row, found, mean, prior)


def _diagnosis(nats: float, found: Mapping[str, float] | pd.Series, mean: float, prior: np.ndarray) -> str:
    """Whether prior and data disagree where it matters; `prior` is the 90 % interval before the data."""
    if nats < INFORMATION:
        return SAME
    both = min(found["prior"], found["likelihood"]) > evidence.SENSITIVE
    apart = found["prior_pull"] * found["likelihood_pull"] < 0
    return DISAGREE if both and apart and not prior[0] <= mean <= prior[1] else FINE


def _stacked(draws: dict[Row, xr.DataArray], rows: list[Row]) -> xr.DataArray:
    """Draws (chain, draw, quantity) of some rows."""
    return xr.concat([draws[row] for row in rows], pd.RangeIndex(len(rows), name="quantity")).transpose(*SAMPLE, ...)


def _no_effect(view: View, signal: Signal, slabs: Sequence[float]) -> pd.DataFrame:
    """P(no average lagged effect of the signal) over slab widths, with the widths in their own units too."""
    draws = view.parameters()[nm.EFFECT].sel({nm.LAGGED_SIGNAL: signal.name}).transpose(*SAMPLE)
    effective = float(evidence.effective_draws(draws))
    table = evidence.no_effect(draws.to_numpy().ravel(), _slab(view, signal), slabs, effective=effective)
    scale = elasticity_scale(view.constants).sel({nm.SIGNAL: signal.name}).to_numpy().ravel()
    names = ["natural slab"] if len(scale) == 1 else [f"natural slab, {name}" for name in _responses(view)]
    for place, (name, factor) in enumerate(zip(names, scale, strict=True)):
        table.insert(2 + place, name, table["slab"] * factor)
    return table


def _slab(view: View, signal: Signal) -> evidence.Slab:
    """The prior of a signal's average effect."""
    effect = terms_of(view.spec, view.panel).effect[0]
    return evidence.Slab(*effect.resolved.entry(view.spec.lagged_signals.index(signal)))


def _plain(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns as lists with None for what is no number: attributes of a table are compared, copied and written."""
    return {
        str(name): [None if isinstance(value, float) and not np.isfinite(value) else value for value in column.tolist()]
        for name, column in table.items()
    }


# ---- words


def _findings(
    view: View,
    after: dict[Row, xr.DataArray],
    before: dict[Row, xr.DataArray],
    table: dict[Row, dict[tuple[str, str], Any]],
    none: dict[str, pd.DataFrame],
    within: tuple[float, float],
) -> Iterator[Findings]:
    """Findings on each lagged signal and response, for the verdict."""
    spec, responses, problems = view.spec, _responses(view), tuple(view.diagnostics[1:])
    persistent, gains = view.read(persistence), view.read(gain_claims)
    for place, response in enumerate(responses):
        for signal in spec.lagged_signals:
            mine = [row for row in after if row[:2] == (response, signal.name)]
            main = Row(response, signal.name, IMPULSE_MEAN if spec.autoregression else MEAN_LAG)
            known = none[signal.name].dropna(subset="probability")
            gain, gain_claimed = gain_of(spec, gains, response, signal.name)
            yield Findings(
                name=signal.name if len(responses) == 1 else f"{signal.name} on {response}",
                measure=_measure(spec, response, signal),
                unit=period_name(spec.frequency),
                effect=after[Row(response, signal.name, EFFECT)].to_numpy().ravel(),
                over_sample=after[Row(response, signal.name, OVER_SAMPLE)].to_numpy().ravel(),
                by_regime=_by(after, mine, nm.REGIME),
                by_episode=_by(after, mine, nm.EPISODE),
                gain=gain,
                gain_claimed=gain_claimed,
                by_state=states_of(view, response, signal.name),
                at_zero=at_zero(spec, signal),
                long_run=_finite(after[Row(response, signal.name, LONG_RUN)]) if spec.autoregression else None,
                lag=_finite(after[main]),
                prior_lag=_finite(before[main]),
                lag_name=main.quantity,
                information=table[main]["evidence", "nats"],
                lag_gap={
                    f"{dim}s": tuple(table[row][group, f"P(> {LAG_GAP})"] for group in GROUPS)
                    for dim, quantity in GAPS.items()
                    if (row := Row(response, signal.name, quantity)) in table
                },
                none=(float(known["probability"].min()), float(known["probability"].max())),
                none_bound=bool(known["bound"].any()),
                slabs=tuple(known["multiple"]),
                asked_slabs=len(none[signal.name]),
                deviations=_deviations(view),
                within=within,
                family=len(spec.lagged_signals) * len(responses),
                problems=problems,
                withheld=tuple(unexplained(persistent, spec.responses[place], signal)),
                rivals=_rivals(spec, signal, held=True),
                absent=_rivals(spec, signal, held=False),
            )


def _rivals(spec: ModelSpec, signal: Signal, *, held: bool) -> tuple[str, ...]:
    """Explanations other than a lagged response to the signal that the model has in it, or has not."""
    late = ", ".join(control.name for control in spec.lagged_controls)
    moving = f"volatility that follows {spec.volatility.words}" if spec.volatility.moves else "volatility by regime"
    every = {
        f"a response to {signal.name} in the same period": signal.contemporaneous,
        f"late effects of {late or 'macroeconomic series'}": bool(late),
        "the response's own past": spec.autoregression > 0,
        moving: spec.volatility.moves or spec.switches,
    }
    return tuple(name for name, has in every.items() if has == held)


def _by(draws: dict[Row, xr.DataArray], rows: list[Row], dim: str) -> dict[str, np.ndarray]:
    """Effects by regime or episode."""
    return {
        entry: draws[row].to_numpy().ravel()
        for row in rows
        if row.quantity == EFFECT and (entry := row.entries.get(dim)) is not None
    }


def _deviations(view: View) -> tuple[str, ...]:
    """Dimensions over which the lagged effect may deviate from its average."""
    groups = {"regimes": nm.EFFECT_REGIME, "episodes": nm.EFFECT_EPISODE, "responses": nm.EFFECT_RESPONSE}
    held = {str(name) for name in view.parameters().data_vars}
    gains = {name for name in held if name.endswith((nm.EFFECT_REGIME, nm.EFFECT_GAIN))}
    return tuple(words for words, name in groups.items() if name in held or (words == "regimes" and gains))


def _measure(spec: ModelSpec, response: str, signal: Signal) -> str:
    direct, unit = "direct " if spec.autoregression else "", effect_unit(spec, response, signal.name)
    units = "in units of the response per unit of the signal"
    return f"{direct}cumulative elasticity" if unit == ELASTICITY else f"{direct}cumulative effect, {units}"


def _disagreement(spec: ModelSpec, row: Row, found: pd.Series, mean: float, prior: np.ndarray) -> str:
    """Sentence on prior-data disagreement, with the prior to widen."""
    pulls = []
    for name, what in (("prior", "the priors of effect and lag"), ("likelihood", "the likelihood")):
        way = "up" if found[f"{name}_pull"] > 0 else "down"
        pulls.append(f"more weight on {what} moves it {way} (sensitivity {found[name]:.2f})")
    whose = row.signal if len(spec.responses) == 1 else f"{row.signal} on {row.response}"
    wider = (evidence.wider_effect if row.quantity == EFFECT else evidence.wider_lag)(spec, row.signal)
    return (
        f"{whose}, {row.name}: {DISAGREE}. The posterior mean, {mean:.2f}, lies outside the prior's 90 % interval, "
        f"{prior[0]:.2f} to {prior[1]:.2f}. By power-scaling, {' and '.join(pulls)}; both above "
        f"{evidence.SENSITIVE:g}. Fit again with {wider}, and report both fits."
    )
