"""The decision rule of the verdict on a lagged response, on plain numbers.

The rule has three families of claims, each with an error budget of its own: level, regimes and states; that of drivers
is in `regimelag.results.drivers`. None asks for a claim of another.

1. Draws that the diagnostics find fault with support no claim.
2. The verdict is withheld where residuals are serially correlated, or response and signal are both close to a unit
   root (`regimelag.results.persistence`).
3. *Level.* A lagged response is claimed if its average effect has one sign with probability 1 - 0.01 / n at least, n
   being the number of effects that the fit could make such a claim of: lagged signals times responses. If priors and
   likelihood are right, at most about two fits in a hundred claim a response where there is none, however many signals
   they hold.
4. *State dependence.* The effect is said to be higher in one of several regimes than in another if their difference has
   one sign with probability 1 - 0.01 / m at least, m being n times the number of pairs of regimes. It is said to be
   stronger there if, with that probability, it is larger in magnitude and has one sign there, and its sign is said to
   differ if it is positive in one and negative in the other; either implies the sign of the difference. An effect that
   is there in one regime alone may have a small average, so the average need not be claimed. Likewise the effects of
   the gain and of the loss of one column are said to differ if their difference has one sign with probability
   1 - 0.01 / m at least, m being the number of such pairs of signals times responses.
5. *States.* The effect is said to depend on a declared state of the economy if the difference between the mean effect
   over the periods in the state and over the others has one sign with probability 1 - 0.002 / m at least, m being n
   times the number of indicators (`regimelag.results.states`). At 0.01 / m it is claimed too often in simulated panels
   in which the effect is zero throughout.
6. All that follows is said only of a response whose level is claimed. The effect is said to be stronger in one episode
   than in another, or of another sign, as in regimes, with 0.01 for the pairs of episodes. An episode does not return,
   so a difference between two of them may be due to anything else that changed in between: it qualifies a response, and
   is no evidence for one.
7. The place of the lag is said if the information gained on the mean lag is at least 0.25 nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple, Self

import numpy as np
from scipy import stats

# The two limits of every claim: one minus the probability that it needs, shared among claims of its kind, and nats.
FALSE_CLAIM, INFORMATION = 0.01, 0.25
# How many times as rare as those of lagged effects false claims about states and drivers have to be if priors and
# likelihood are right: both rest on few changes of a state or regime.
STRICTER = 5
# Power of the effect that a verdict calls detectable.
POWER = 0.8
Pairs = tuple[tuple[int, int], ...]


class Comparison(NamedTuple):
    """Posterior probabilities about the effects in two regimes, or two episodes.

    Attributes
    ----------
    stronger : ndarray
        (place, place): the effect in the first is larger in magnitude than in the second and has its more probable
        sign. This implies the sign of their difference, so it separates two equal effects no more often than that
        sign does. A larger magnitude alone does: it is nearly certain where both effects are about zero and the first
        is known less precisely.
    opposite : ndarray
        (place, place): the effect is positive in the first and negative in the second.
    higher : ndarray
        (place, place): the effect in the first less that in the second is positive. Of two places the average has the
        sign of the stronger one, so that "stronger" alone would hardly be claimed where the average is not.
    """

    stronger: np.ndarray
    opposite: np.ndarray
    higher: np.ndarray

    @classmethod
    def of(cls, draws: np.ndarray) -> Self:
        """Probabilities of draws (draw, place) of the effect in each regime or episode."""
        first, second = draws[:, :, None], draws[:, None, :]
        signed = [(sign * first > abs(second)).mean(axis=0) for sign in (1, -1)]
        opposite, higher = ((first > 0) & (second < 0)).mean(axis=0), (first > second).mean(axis=0)
        return cls(np.maximum(*signed), opposite, higher)


class Claims(NamedTuple):
    """Claims of a verdict.

    Attributes
    ----------
    direction : int
        1 or -1: an average lagged response of that sign; 0: none is claimed, nor anything of episodes and of the lag.
    regimes, episodes : tuple of (int, int)
        Pairs (stronger, weaker) by place, between whose effects a difference in magnitude is claimed.
    lag : bool
        Whether the place of the lag is said.
    regime_signs, episode_signs : tuple of (int, int)
        Pairs (positive, negative) by place, between whose effects a difference in sign is claimed.
    regime_differences : tuple of (int, int)
        Pairs (higher, lower) by place, between whose effects a difference is claimed; all pairs of `regimes` and
        `regime_signs` are among them, in one order or the other.
    states : tuple of int
        For each indicator 1 or -1: the effect is higher, or lower, where it is 1; 0: no difference is claimed.
    """

    direction: int = 0
    regimes: Pairs = ()
    episodes: Pairs = ()
    lag: bool = False
    regime_signs: Pairs = ()
    episode_signs: Pairs = ()
    regime_differences: Pairs = ()
    states: tuple[int, ...] = ()


def decision_threshold(family: float = 1) -> float:
    """Probability that a claim needs, if `family` claims of its kind could be made."""
    return 1 - FALSE_CLAIM / family


def state_threshold(contrasts: int = 1) -> float:
    """Probability that a claim about a state needs, if `contrasts` such claims could be made."""
    return decision_threshold(STRICTER * contrasts)


def detectable(sd: float, family: int = 1) -> float:
    """Effect that would be claimed with probability 0.8, where its posterior has this standard deviation.

    The posterior mean is taken to be normal about the effect with the posterior standard deviation, so the claim is
    made with probability Phi(effect / sd - z), z being the quantile of the decision threshold.
    """
    return float(stats.norm.ppf(decision_threshold(family)) + stats.norm.ppf(POWER)) * sd


def exaggeration(power: float, family: int = 1) -> float:
    """Expected size of an effect that is claimed, over its true size, where it is claimed with this probability.

    The posterior mean is taken to be normal about the effect with the posterior standard deviation. Type M error:
    Gelman & Carlin (2014), doi:10.1177/1745691614551642.
    """
    limit = stats.norm.ppf(decision_threshold(family))
    effect = limit + stats.norm.ppf(power)
    return float(1 + stats.norm.pdf(limit - effect) / power / effect)


def claims(
    positive: float,
    *,
    negative: float | None = None,
    regimes: Comparison | None = None,
    episodes: Comparison | None = None,
    states: tuple[int, ...] = (),
    information: float = 0.0,
    family: int = 1,
    trusted: bool = True,
) -> Claims:
    """Apply the rule of this module to plain numbers.

    Parameters
    ----------
    positive, negative : float
        Posterior probabilities that the average lagged effect is above and below zero; they sum to one by default.
    regimes, episodes : Comparison, optional
        Probabilities about the effects in each two of them.
    states : tuple of int
        What is claimed of each indicator, from `state_claims`.
    information : float
        Nats gained on the mean lag.
    family : int
        Number of effects that could be claimed: lagged signals times responses.
    trusted : bool
        Whether the diagnostics found no fault, and no verdict is withheld.

    Returns
    -------
    Claims
    """
    negative = 1 - positive if negative is None else negative
    if not trusted:
        return Claims()
    made = Claims(
        regimes=_sure(regimes.stronger, family) if regimes else (),
        regime_signs=_sure(regimes.opposite, family) if regimes else (),
        regime_differences=_sure(regimes.higher, family) if regimes else (),
        states=states,
    )
    if max(positive, negative) < decision_threshold(family):
        return made
    return made._replace(
        direction=1 if positive > negative else -1,
        episodes=_sure(episodes.stronger) if episodes else (),
        lag=bool(information >= INFORMATION),
        episode_signs=_sure(episodes.opposite) if episodes else (),
    )


def state_claims(states: Sequence[tuple[np.ndarray, np.ndarray]], *, family: int = 1) -> tuple[int, ...]:
    """Whether the effect depends on each state: 1 if it is higher inside, -1 if lower, 0 if neither is claimed.

    Parameters
    ----------
    states : sequence of (ndarray, ndarray)
        Draws (draw) of the mean effect over the periods in each state, and over the others.
    family : int
        Number of contrasts that could be claimed.
    """
    least, found = state_threshold(family), []
    for inside, outside in states:
        signs = [float(np.mean(sign * (inside - outside) > 0)) for sign in (1, -1)]
        found.append(int(signs[0] >= least) - int(signs[1] >= least))
    return tuple(found)


def _sure(probability: np.ndarray, family: int = 1) -> Pairs:
    """Pairs whose probability (place, place) suffices for a claim."""
    places = len(probability)
    least = decision_threshold(family * count_pairs(places))
    return tuple((i, j) for i, j in permutations(range(places), 2) if probability[i, j] >= least)


def count_pairs(places: int) -> int:
    """Number of pairs of regimes or episodes, one at least."""
    return max(places * (places - 1) // 2, 1)


def verdict_claims(
    effect: np.ndarray,
    *,
    by_regime: np.ndarray | None = None,
    by_episode: np.ndarray | None = None,
    states: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    information: float = 0.0,
    family: int = 1,
    trusted: bool = True,
) -> Claims:
    """Apply the rule to draws, for studies of false claims.

    Parameters
    ----------
    effect : ndarray
        Draws (draw) of the average lagged effect, in any unit.
    by_regime, by_episode : ndarray, optional
        Draws (draw, place) of the effect in each regime and episode.
    states : sequence of (ndarray, ndarray)
        Draws (draw) of the mean effect over the periods in each state, and over the others.
    information, family, trusted
        As in `claims`.

    Returns
    -------
    Claims
    """
    return claims(
        float(np.mean(effect > 0)),
        negative=float(np.mean(effect < 0)),
        regimes=None if by_regime is None else Comparison.of(by_regime),
        episodes=None if by_episode is None else Comparison.of(by_episode),
        states=state_claims(states, family=family * max(len(states), 1)),
        information=information,
        family=family,
        trusted=trusted,
    )
