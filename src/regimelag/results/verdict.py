"""The verdict on a lagged response in words, no stronger than the rule of `regimelag.results.decision` allows.

A claim comes with the rival explanations that the model has in it and those that it has not, and with the factor by
which effects that pass such a threshold are exaggerated. Without a claim the verdict is that nothing is identified,
with the size of effect that would be claimed with probability 0.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from regimelag.results.decision import (
    INFORMATION,
    POWER,
    STRICTER,
    Claims,
    Pairs,
    count_pairs,
    decision_threshold,
    detectable,
    exaggeration,
    state_threshold,
    verdict_claims,
)

# Rows by which mean lags must differ to speak of different lags.
LAG_GAP = 4
INTERVAL = (0.05, 0.95)
# Said with claims of a screen.
# From docs/lags.md, families of claims.
RIVALS = "constant effects, late effects of the dollar and of real yields, GARCH errors, a volatility shift"
STATE_RATE = (
    "In weekly panels of silver that were simulated without a difference between states 10 of 3,202 fits claimed one "
    f"(rivals: {RIVALS}, independent drivers)."
)
GAIN_RATE = (
    "In weekly panels of silver that were simulated without a difference between states 4 of 1,600 fits claimed two "
    f"effects (rivals: {RIVALS}, independent drivers)."
)
ASYMMETRY_RATE = (
    "In weekly panels of silver that were simulated without an asymmetry 0 of 1,401 fits claimed one "
    f"(rivals: {RIVALS})."
)


@dataclass(frozen=True)
class Findings:
    """Input of the verdict on one signal (and response); all draws are one-dimensional.

    Parameters
    ----------
    name : str
        Of whom: the signal, and the response if there are several.
    measure : str
        What the effect is: "cumulative elasticity".
    unit : str
        Of the lag: "weeks".
    effect : ndarray
        Average lagged effect, in its own unit; regimes and episodes have equal weights.
    over_sample : ndarray
        The same averaged over the sample's periods.
    by_regime, by_episode : dict of str to ndarray
        The same in each regime and episode; empty where they do not differ.
    by_state : dict of str to (ndarray, ndarray, float)
        The same averaged over the periods in which each indicator is 1, over those in which it is 0, and the share of
        the first.
    at_zero : str
        Where the effect is that of which P(no effect) is given, in a model with moderators: "debasement is 0".
    lag, prior_lag : ndarray
        Mean lag, averaged over episodes where it differs, after and before the data.
    lag_name : str
        What it is: of the weights, or of the impulse response where the response's own past passes them on.
    long_run : ndarray, optional
        What the effect comes to once the own past has passed it on; None without autoregression.
    information : float
        Nats gained on the mean lag.
    lag_gap : dict of str to (float, float)
        By what the lag differs between ("episodes"), the probability that the largest difference in mean lag exceeds
        4 rows, after and before the data.
    gain : str
        Where the sign of a difference between regimes is no evidence, what is, in words; empty otherwise.
    gain_claimed : bool
        Whether two effects are claimed.
    none : tuple of (float, float)
        Smallest and largest probability of no average effect over the slab widths that could be reached; an upper bound
        if `none_bound`.
    slabs : tuple of float
        Those widths, as multiples of the prior's.
    asked_slabs : int
        Number of slab widths asked for.
    deviations : tuple of str
        Over what the effect may deviate from its average, with such an effect and without: "regimes".
    within : (float, float)
        Range of lags that is asked about.
    family : int
        Number of effects that could be claimed.
    problems : tuple of str
        What the diagnostics say.
    withheld : tuple of str
        Why the model, though its draws can be trusted, supports no claim.
    rivals, absent : tuple of str
        Explanations other than a lagged response that the model has in it, and that it has not.
    """

    name: str
    measure: str
    unit: str
    effect: np.ndarray
    over_sample: np.ndarray
    lag: np.ndarray
    prior_lag: np.ndarray
    information: float
    none: tuple[float, float]
    slabs: tuple[float, ...]
    asked_slabs: int
    within: tuple[float, float]
    none_bound: bool = False
    lag_name: str = "mean lag"
    long_run: np.ndarray | None = None
    deviations: tuple[str, ...] = ()
    by_regime: Mapping[str, np.ndarray] = field(default_factory=dict)
    by_episode: Mapping[str, np.ndarray] = field(default_factory=dict)
    gain: str = ""
    gain_claimed: bool = False
    by_state: Mapping[str, tuple[np.ndarray, np.ndarray, float]] = field(default_factory=dict)
    at_zero: str = ""
    lag_gap: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    family: int = 1
    problems: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def claims_of(found: Findings) -> Claims:
    """Claims that the findings support."""
    by_regime, by_episode = (
        np.stack(list(by.values()), axis=-1) if by else None for by in (found.by_regime, found.by_episode)
    )
    return verdict_claims(
        found.effect,
        # Where the effect orders the regimes, the sign of a difference is no evidence.
        by_regime=None if found.gain else by_regime,
        by_episode=by_episode,
        states=[(inside, outside) for inside, outside, _ in found.by_state.values()],
        information=found.information,
        family=found.family,
        trusted=not (found.problems or found.withheld),
    )


def verdict(found: Findings) -> str:
    """The verdict in words, no stronger than the rule allows."""
    made = claims_of(found)
    if found.problems:
        why = " ".join([*found.problems, *found.withheld])
        return f"Convergence diagnostics failed, and nothing is claimed of {found.name}. {why}"
    if found.withheld:
        return f"The verdict is withheld, and nothing is claimed of {found.name}. {' '.join(found.withheld)}"
    if not made.direction:
        alone = made.regime_differences or any(made.states) or found.gain_claimed
        return " ".join(_of_states_alone(found, made) if alone else _not_identified(found, made))
    said = [_response(found, made)]
    if found.by_regime:
        said.append(_regimes(found, made))
    said += _states(found, made)
    if found.by_episode:
        said.append(_episodes(found, made))
    said += [_place(found, made), *_lag_gaps(found), *_protection(found), _exaggerated(found.family)]
    return " ".join(said)


def _interval(draws: np.ndarray, digits: int) -> str:
    low, middle, high = np.quantile(draws, [INTERVAL[0], 0.5, INTERVAL[1]])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def probability(value: float) -> str:
    """A probability, which draws do not know to be zero or one."""
    if value < 0.0005:  # noqa: PLR2004
        return "below 0.001"
    return "above 0.999" if value > 0.9995 else f"{value:.3f}"  # noqa: PLR2004


def _chance(event: str, value: float) -> str:
    """The probability of an event, as an equation or a bound."""
    written = probability(value)
    return f"P({event}) {written}" if " " in written else f"P({event}) = {written}"


def _effect(found: Findings) -> str:
    chance = _chance("> 0", float(np.mean(found.effect > 0)))
    said = f"{found.measure.capitalize()} {_interval(found.effect, 2)}, median and 90 % interval, {chance}"
    if found.long_run is not None and len(found.long_run):
        said += f"; with the response's own past, {_interval(found.long_run, 2)} in the long run"
    if not {"regimes", "episodes"} & set(found.deviations):
        return said
    return f"{said}; average over the sample's {found.unit} {_interval(found.over_sample, 2)}"


def _none(found: Findings) -> str:
    """The probability that the average effect is zero, over how many slabs, and what that does not exclude."""
    (low, high), known = found.none, len(found.slabs)
    none = f"no lagged effect where {found.at_zero}" if found.at_zero else "no average lagged effect"
    if not known:
        said = f"P({none}) cannot be computed from this fit at any of {found.asked_slabs} slab widths"
    else:
        value = f"{low:.2f} to {high:.2f}" if high - low > 0.005 else f"{high:.2f}"  # noqa: PLR2004
        value = f"below {max(high, 0.001):.3f}" if found.none_bound else value
        count = str(known) if known == found.asked_slabs else f"{known} of {found.asked_slabs}"
        reach = f"{min(found.slabs):g} to {max(found.slabs):g}" if known > 1 else f"{found.slabs[0]:g}"
        said = f"P({none}) is {value} over {count} slab widths, {reach} times the prior's"
    if not found.deviations:
        return f"{said}."
    return f"{said}; deviations between {_listed(found.deviations)} remain possible under both hypotheses."


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _response(found: Findings, made: Claims) -> str:
    sign = "positive" if made.direction > 0 else "negative"
    return f"A {sign} lagged effect of {found.name}. {_effect(found)}. {_none(found)}"


def _not_identified(found: Findings, made: Claims) -> list[str]:
    said = [f"Not identified: the data do not distinguish a lagged effect of {found.name} from none.", *_average(found)]
    if found.by_regime:
        said.append(f"Between regimes {_no_difference(found)}." if not found.gain else _regimes(found, Claims()))
    said += _states(found, made)
    said.append(f"{_lag(found)}; the lag of an effect that may be none should not be interpreted.")
    if found.lag_gap:
        said.append(f"Whether the lag differs is not identified either, between {' or '.join(found.lag_gap)}.")
    return said


def _of_states_alone(found: Findings, made: Claims) -> list[str]:
    """A difference between regimes or states is claimed, and no average effect."""
    places = ["between regimes"] if made.regime_differences else []
    states = [name for name, way in zip(found.by_state, made.states, strict=True) if way]
    places += [f"with the state {_listed(tuple(states))}"] if states else []
    said = [f"A lagged effect of {found.name} that differs {_listed(tuple(places))}."]
    said += [_regimes(found, made)] if found.by_regime else []
    said += [*_states(found, made), "The average effect is not distinguished from none.", *_average(found)]
    said.append(f"{_lag(found)}; a lag is reported only if the average effect is claimed.")
    most = max(
        count_pairs(len(found.by_regime)) if made.regime_differences else 1,
        STRICTER * len(found.by_state) if states else 1,
    )
    return [*said, *_protection(found), _exaggerated(found.family * most)]


def _average(found: Findings) -> list[str]:
    """Of an average effect that is not claimed: its size, what would be claimed, and whether there is none."""
    sd = found.effect.std()
    size = f"With the effect's posterior standard deviation of {sd:.2f}, an effect of about "
    size += f"{detectable(sd, found.family):.2f} would be claimed with probability {POWER:g}."
    return [f"{_effect(found)}. A claim needs {decision_threshold(found.family):.4g} for one sign.", size, _none(found)]


def _lag(found: Findings) -> str:
    """The mean lag, and whether the data moved it."""
    moved = "equals the prior" if found.information < INFORMATION else "differs from the prior"
    lag, before = _interval(found.lag, 1), _interval(found.prior_lag, 1)
    return (
        f"The posterior of the {found.lag_name}, {lag} {found.unit}, {moved}, {before} (information gain "
        f"{_nats(found)})"
    )


def _nats(found: Findings) -> str:
    return f"{max(found.information, 0.0):.2f} nats"


def _regimes(found: Findings, made: Claims) -> str:
    """Effects by regime, and between which of them a difference is claimed."""
    if found.gain:
        return f"{_listing('regimes', found.by_regime)}; {found.gain}."
    labels, said = list(found.by_regime), _ordered(found.by_regime, made.regimes, made.regime_signs)
    known = {frozenset(pair) for pair in (*made.regimes, *made.regime_signs)}
    rest = [f"in {labels[i]} than in {labels[j]}" for i, j in made.regime_differences if {i, j} not in known]
    said += [f"the effect is higher {', '.join(rest)}"] if rest else []
    return "; ".join([_listing("regimes", found.by_regime), *(said or [_no_difference(found)])]) + "."


def _states(found: Findings, made: Claims) -> list[str]:
    """Effects by state, and whether a difference is claimed."""
    family = found.family * max(len(found.by_state), 1)
    pairs = zip(found.by_state.items(), made.states, strict=True)
    return [state_in_words(name, state, way, family) for (name, state), way in pairs]


def state_in_words(name: str, state: tuple[np.ndarray, np.ndarray, float], way: int, family: int) -> str:
    """Effect where an indicator is 1 and where it is 0, and whether a difference is claimed."""
    inside, outside, share = state
    both = np.isfinite(inside) & np.isfinite(outside)
    if not both.any():
        return f"State {name}: the response is observed in one of its two states alone."
    contrast = inside[both] - outside[both]
    said = f"State {name}: {_interval(inside[both], 2)} in the {100 * share:.0f} % of the periods with it, "
    said += f"{_interval(outside[both], 2)} in the others, difference {_interval(contrast, 2)}, "
    said += _chance("> 0", float(np.mean(contrast > 0)))
    if way:
        return f"{said}; the effect is {'higher' if way > 0 else 'lower'} with {name}. {STATE_RATE}"
    return f"{said}; no difference is shown, where a claim needs {state_threshold(family):.4g} for one sign."


def _no_difference(found: Findings) -> str:
    """That no difference between regimes is claimed, and of two regimes with what probability there is one."""
    labels = list(found.by_regime)
    if len(labels) != 2:  # noqa: PLR2004
        return "no difference is shown"
    one, other = found.by_regime.values()
    chance = _chance(f"higher in {labels[1]} than in {labels[0]}", float(np.mean(other > one)))
    return f"no difference is shown, {chance}, where a claim needs {decision_threshold(found.family):.4g} for one sign"


def _episodes(found: Findings, made: Claims) -> str:
    """Effects by episode, and between which of them a difference in magnitude or in sign is claimed."""
    said = _ordered(found.by_episode, made.episodes, made.episode_signs)
    return (
        "; ".join([_listing("episodes", found.by_episode), *(said or ["none is shown to be stronger than another"])])
        + "."
    )


def _listing(kind: str, by: Mapping[str, np.ndarray]) -> str:
    return f"By {kind}: " + ", ".join(f"{label} {_interval(draws, 2)}" for label, draws in by.items())


def _ordered(by: Mapping[str, np.ndarray], stronger: Pairs, opposite: Pairs) -> list[str]:
    """Sentence on regimes or episodes with a stronger effect or another sign."""
    labels, said = list(by), []
    if opposite:
        signs = ", ".join(f"positive in {labels[i]} and negative in {labels[j]}" for i, j in opposite)
        said.append(f"the sign of the effect differs: {signs}")
    if stronger:
        said.append(f"the effect is stronger {', '.join(f'in {labels[i]} than in {labels[j]}' for i, j in stronger)}")
    return said


def _place(found: Findings, made: Claims) -> str:
    if not made.lag:
        return (
            f"The lag is not identified: the posterior of the {found.lag_name}, {_interval(found.lag, 1)} "
            f"{found.unit}, is close to the prior, {_interval(found.prior_lag, 1)} (information gain {_nats(found)}, "
            f"at least {INFORMATION} needed)."
        )
    low, high = found.within
    inside = np.mean((found.lag >= low) & (found.lag <= high))
    return (
        f"{found.lag_name.capitalize()} {_interval(found.lag, 1)} {found.unit}, before the data "
        f"{_interval(found.prior_lag, 1)}, {_nats(found)} gained; it lies within {low:g} to {high:g} with probability "
        f"{inside:.2f}."
    )


def _protection(found: Findings) -> list[str]:
    """Sentences on rival explanations in the model and not in it."""
    said = [f"Rival explanations in the model: {_listed(found.rivals)}."] if found.rivals else []
    if found.absent:
        said.append(f"Not in the model: {_listed(found.absent)}, any of which could look like this.")
    return said


def _exaggerated(family: int) -> str:
    factors = [f"{exaggeration(power, family):.2f} times where the power is {power:g}" for power in (0.8, 0.5)]
    return f"Effects that pass this threshold are exaggerated: on average {' and '.join(factors)}."


def _lag_gaps(found: Findings) -> list[str]:
    """Whether the lag differs between episodes or regimes."""
    said = []
    for kind, (after, before) in found.lag_gap.items():
        finding = "the data do not tell whether the lag differs"
        if after >= decision_threshold():
            finding = "the lag differs"
        elif after <= 1 - decision_threshold():
            finding = "the lag does not differ by more"
        said.append(
            f"Between {kind} {finding}: the largest difference in mean lag exceeds {LAG_GAP} {found.unit} with "
            f"probability {after:.2f}, before the data {before:.2f}."
        )
    return said


def contrast_verdict(one: Findings, other: Findings, *, family: int) -> str:
    """The verdict on the difference between two signals' average lagged effects, in words.

    Parameters
    ----------
    one, other : Findings
        The signals, on the same response.
    family : int
        Number of such differences that could be claimed.
    """
    why = list(dict.fromkeys((*one.problems, *one.withheld, *other.withheld)))
    if why:
        return f"Nothing is claimed of a difference between {one.name} and {other.name}. {' '.join(why)}"
    difference = one.effect - other.effect
    positive, needed = float(np.mean(difference > 0)), decision_threshold(family)
    size = f"Difference in {one.measure} {_interval(difference, 2)}, median and 90 % interval, "
    size += f"{_chance('> 0', positive)}."
    if max(positive, float(np.mean(difference < 0))) >= needed:
        way = "higher" if positive > 0.5 else "lower"  # noqa: PLR2004
        claim = f"The lagged effect of {one.name} is {way} than that of {other.name}. {size}"
        return f"{claim} {_exaggerated(family)} {ASYMMETRY_RATE}"
    sd = difference.std()
    return (
        f"No asymmetry is identified: the data do not distinguish the lagged effect of {one.name} from that of "
        f"{other.name}. {size} A claim needs {needed:.4g} for one sign. With the difference's posterior standard "
        f"deviation of {sd:.2f}, a difference of about {detectable(sd, family):.2f} would be claimed with probability "
        f"{POWER:g}."
    )
