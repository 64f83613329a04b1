"""The terms of a model: its free parameters, and where each of them enters.

This is the model, written once. A table is a sum of terms, each a parameter and a constant array that says where it
enters. `regimelag.model.build` turns terms into random variables and linear maps, `regimelag.model.evaluate` applies
the same arrays to draws, and `regimelag.model.latex` prints their symbols, meanings and priors.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xarray as xr

from regimelag.spec import names as nm
from regimelag.spec.kernels import Kernel, Point
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.series import Signal
from regimelag.spec.term import Parameter, Prior, Term, index_of, normal, pooled, text, zero_sum_normal
from regimelag.spec.transitions import Steps


class Indices(NamedTuple):
    """Subscripts that a model needs: empty where there is only one of a kind."""

    response: str
    regime: str
    episode: str

    @classmethod
    def of(cls, spec: ModelSpec, episodes: int) -> Indices:
        """Subscripts of a model with so many episodes."""
        return cls(
            response="a" if len(spec.responses) > 1 else "",
            regime="k" if spec.regimes.count > 1 else "",
            episode="e(t)" if episodes > 1 else "",
        )


class Lag(NamedTuple):
    """The lag weights of a signal.

    Attributes
    ----------
    signal : Signal
        Whose they are.
    kernel : tuple of Term
        Parameters of its kernel.
    moves : tuple of Term
        Deviations of the kernel's log location (response or one, episode or one).
    """

    signal: Signal
    kernel: tuple[Term, ...]
    moves: tuple[Term, ...]


class Terms(NamedTuple):
    """A model as tables of terms.

    Attributes
    ----------
    location : tuple of Term
        Coefficients (covariate, response, regime): of one, of same-period signals and of controls.
    effect : tuple of Term
        Cumulative lagged effects (episode, lagged signal, response, regime).
    lags : tuple of Lag
        One for each lagged signal.
    log_scale : tuple of Term
        Log scales (episode, response, regime).
    shape : tuple of Term
        Shape parameters of the response family.
    volatility : tuple of Term
        Parameters of the volatility model.
    correlation : tuple of Term
        Correlation of the residuals of several responses.
    transition : tuple of Term
        Logits (1 + driver, origin, destination) of a chain; of each response's chain, if it has one.
    initial : tuple of Term
        Log probabilities (regime) of the first regime.
    """

    location: tuple[Term, ...]
    effect: tuple[Term, ...]
    lags: tuple[Lag, ...]
    log_scale: tuple[Term, ...]
    shape: tuple[Term, ...]
    volatility: tuple[Term, ...]
    correlation: tuple[Term, ...]
    transition: tuple[Term, ...]
    initial: tuple[Term, ...]

    def every(self) -> Iterator[Term]:
        """All terms, in the order in which tables list them."""
        yield from self.location
        yield from self.effect
        for lag in self.lags:
            yield from (*lag.kernel, *lag.moves)
        yield from (*self.log_scale, *self.shape, *self.volatility, *self.correlation)
        yield from (*self.transition, *self.initial)

    def parameters(self) -> list[Parameter]:
        """Free parameters."""
        return [parameter for term in self.every() for parameter in term.parameters()]


def terms_of(spec: ModelSpec, panel: xr.Dataset) -> Terms:
    """The terms of a model on a panel; episodes without a row drop out of them."""
    return model_terms(spec, panel.sizes[nm.EPISODE])


@lru_cache(maxsize=32)
def model_terms(spec: ModelSpec, episodes: int) -> Terms:
    """The terms of a model with so many episodes."""
    index = Indices.of(spec, episodes)
    several = spec.regimes.count > 1
    steps = steps_of(spec)
    return Terms(
        location=tuple(_location(spec, index)),
        effect=tuple(_effect(spec, episodes)) if spec.lagged_signals else (),
        lags=tuple(_lag(spec, signal, episodes) for signal in spec.lagged_signals),
        log_scale=tuple(_log_scale(spec, index, episodes)),
        shape=spec.family.terms(),
        volatility=spec.volatility.terms(),
        correlation=tuple(_correlation(spec)) if index.response else (),
        transition=spec.regimes.transitions.terms(steps) if several else (),
        initial=tuple(_initial(spec, steps)) if several else (),
    )


def steps_of(spec: ModelSpec) -> Steps:
    """What the transition model needs to know of a spec."""
    drivers = tuple(driver.name for driver in spec.drivers)
    return Steps(spec.regimes.count, drivers, spec.priors, "a" if spec.own_regimes else "")


def _location(spec: ModelSpec, index: Indices) -> Iterator[Term]:
    priors, own = spec.priors, index_of(index.response)
    now, controls = spec.contemporaneous_signals, spec.controls
    responses, regimes = np.eye(len(spec.responses)), np.eye(spec.regimes.count)
    rows, everywhere = np.eye(1 + len(now) + len(controls)), np.ones(spec.regimes.count)
    symbol = rf"\mu{index_of(index.response, index.regime)}"
    yield Term(
        nm.INTERCEPT,
        normal(priors.intercept_sd),
        symbol,
        "mean of each regime" if index.regime else "mean",
        (nm.RESPONSE, nm.REGIME),
        np.einsum("pa,qk,c->pqcak", responses, regimes, rows[0]),
        (symbol,),
    )
    shared = [
        (nm.CONTEMPORANEOUS, priors.contemporaneous_sd, "c", "x", "same-period response to each signal", now),
        (nm.CONTROL_EFFECT, priors.control_sd, r"\gamma", "u", "coefficient of each control", controls),
    ]
    dims = {nm.CONTEMPORANEOUS: nm.CONTEMPORANEOUS_SIGNAL, nm.CONTROL_EFFECT: nm.CONTROL}
    first = 1
    for name, sd, letter, value, meaning, series in shared:
        if series:
            these = rows[first : first + len(series)]
            first += len(series)
            yield Term(
                name,
                normal(sd),
                f"{letter}{own}",
                meaning,
                (nm.RESPONSE, dims[name]),
                np.einsum("pa,qc,k->pqcak", responses, these, everywhere),
                tuple(rf"{letter}^{{{text(s.name)}}}{own}\, {value}^{{{text(s.name)}}}_t" for s in series),
            )


def _effect(spec: ModelSpec, episodes: int) -> Iterator[Term]:
    priors = spec.priors
    signals = np.eye(len(spec.lagged_signals))
    ones = {"e": np.ones(episodes), "a": np.ones(len(spec.responses)), "k": np.ones(spec.regimes.count)}
    yield Term(
        nm.EFFECT,
        normal(priors.effect_sd),
        "b",
        "cumulative lagged effect of each signal",
        (nm.LAGGED_SIGNAL,),
        np.einsum("ps,e,a,k->pesak", signals, *ones.values()),
    )
    groups = [
        (nm.EFFECT_REGIME, nm.REGIME, "k", priors.effect_regime_sd, True),
        (nm.EFFECT_EPISODE, nm.EPISODE, "e", priors.effect_episode_sd, "effect" in spec.episodes.vary),
        (nm.EFFECT_RESPONSE, nm.RESPONSE, "a", priors.effect_response_sd, "effect" in spec.responses_vary),
    ]
    for name, dim, letter, sd, varies in groups:
        if varies and len(ones[letter]) > 1:
            others = {axis: values for axis, values in ones.items() if axis != letter}
            enters = np.einsum(
                f"ps,q{letter},{','.join(others)}->pqesak", signals, np.eye(len(ones[letter])), *others.values()
            )
            symbols = rf"\tau_{{{text(dim)}}}", rf"\xi^{{{text(dim)}}}_{letter}"
            yield _deviations(name, sd, (nm.LAGGED_SIGNAL, dim), symbols, "effect", enters)


def _deviations(
    name: str, sd: float, dims: tuple[str, ...], symbols: tuple[str, str], what: str, enters: np.ndarray
) -> Term:
    """Pooled deviations over the last of the dimensions."""
    dim = dims[-1]
    meanings = f"how far {dim}s differ in the {what}", f"each {dim}'s deviation over that; they sum to zero"
    return pooled(name, sd, dims, symbols=symbols, meanings=meanings, enters=enters)


def _lag(spec: ModelSpec, signal: Signal, episodes: int) -> Lag:
    kernel, priors = signal.kernel, spec.priors
    priors_of = kernel.priors(spec.max_lag)
    if isinstance(kernel, Point):
        # No sampler moves it: it is marginalized, and each draw of a fit holds one.
        priors_of = {"point": Prior("Categorical", {"p": kernel.prior_masses(spec.max_lag)})}
    parameters = tuple(
        Term(
            nm.lag_parameter(signal.name, name),
            prior,
            kernel_symbol(kernel, name, over_lags=prior.over_lags),
            f"{signal.name}: {kernel_words(kernel, name)}",
            (nm.LAG,) if prior.over_lags else (),
        )
        for name, prior in priors_of.items()
    )
    by = {nm.RESPONSE: spec.lag_by_response, nm.EPISODE: spec.lag_by_episode and episodes > 1}
    sizes = len(spec.responses) if by[nm.RESPONSE] else 1, episodes if by[nm.EPISODE] else 1
    enters = {
        nm.RESPONSE: np.einsum("pa,e->pae", np.eye(sizes[0]), np.ones(sizes[1])),
        nm.EPISODE: np.einsum("a,pe->pae", np.ones(sizes[0]), np.eye(sizes[1])),
    }
    sds = {nm.RESPONSE: priors.lag_response_sd, nm.EPISODE: priors.lag_episode_sd}
    letters = {nm.RESPONSE: "a", nm.EPISODE: "e"}
    moves = tuple(
        _deviations(
            nm.lag_parameter(signal.name, dim),
            sds[dim],
            (dim,),
            (rf"\tau^m_{{{text(dim)}}}", rf"\zeta^{{{text(dim)}}}_{letters[dim]}"),
            "log lag",
            enters[dim],
        )
        for dim, varies in by.items()
        if varies and not isinstance(kernel, Point)
    )
    return Lag(signal, parameters, moves)


def _log_scale(spec: ModelSpec, index: Indices, episodes: int) -> Iterator[Term]:
    priors, count = spec.priors, spec.regimes.count
    responses, every = np.eye(len(spec.responses)), np.ones(episodes)
    symbol = f"h{index_of(index.response)}"
    yield Term(
        nm.LOG_SCALE,
        normal(priors.scale_log_sd, float(np.log(priors.scale_median))),
        symbol,
        "log of the unconditional standard deviation" if spec.volatility.moves else "level of the log scale",
        (nm.RESPONSE,),
        np.einsum("pa,e,k->peak", responses, every, np.ones(count)),
        (symbol,),
    )
    if count > 1:
        own = index.response if spec.own_regimes else ""
        # Row k says how much of each gap lies below regime k, centered over regimes. Gaps are positive, so regimes are
        # ordered.
        steps = np.tril(np.ones((count, count - 1)), -1)
        steps -= steps.mean(axis=0)
        each = np.einsum("ra,kp,e->rpeak", responses, steps, every)
        yield Term(
            nm.LOG_SCALE_GAP,
            Prior("LogNormal", {"mu": float(np.log(priors.scale_gap)), "sigma": priors.scale_gap_log_sd}),
            f"g{index_of(own, 'k')}",
            "gap in log scale between neighbouring regimes",
            (nm.RESPONSE, nm.GAP) if spec.own_regimes else (nm.GAP,),
            each if spec.own_regimes else each.sum(axis=0),
            (rf"v{index_of(own, 'k')}",),
        )
    if "scale" in spec.episodes.vary and episodes > 1:
        symbol = rf"\eta{index_of(index.response, 'e')}"
        yield Term(
            nm.LOG_SCALE_EPISODE,
            zero_sum_normal(priors.scale_episode_sd),
            symbol,
            "each episode's part of the log scale; they sum to zero",
            (nm.RESPONSE, nm.EPISODE),
            np.einsum("pa,qe,k->pqeak", responses, np.eye(episodes), np.ones(count)),
            (symbol,),
            zero_sum=1,
        )


def _correlation(spec: ModelSpec) -> Iterator[Term]:
    """The residuals' correlation, held by partial correlations; see `regimelag.model.correlation`."""
    prior = Prior("LKJ", {"eta": spec.priors.correlation_eta})
    yield Term(f"{nm.CORRELATION}_partial", prior, "R", "correlation of the residuals of a row")


def _initial(spec: ModelSpec, steps: Steps) -> Iterator[Term]:
    if spec.regimes.initial == "dirichlet":
        count = spec.regimes.count
        yield Term(
            nm.INITIAL,
            Prior("Dirichlet", {"a": np.ones(count)}),
            rf"\pi{index_of(steps.own, 'k')}",
            "distribution of the first regime",
            (nm.REGIME,),
            np.eye(count),
            transform=lambda values, xp: xp.log(values),
        )


def expand_to_joint(spec: ModelSpec, values: np.ndarray, axis: int = -2) -> np.ndarray:
    """Values (..., response, ..., regime) of each response's regimes, on joint regimes; `axis` is the responses'."""
    if not spec.own_regimes:
        return values
    return np.stack([np.take(values, a, axis)[..., at] for a, at in enumerate(spec.joint_regimes.T)], axis)


def chain_entries_on_joint(spec: ModelSpec, enters: np.ndarray) -> np.ndarray:
    """What enters a chain's probabilities (*parameter, regime), as entering those of joint regimes: they multiply.

    (response, *parameter, joint regime) where each response has a chain.
    """
    return np.stack([enters[..., at] for at in spec.joint_regimes.T]) if spec.own_regimes else enters


def step_entries_on_joint(spec: ModelSpec, enters: np.ndarray) -> np.ndarray:
    """What enters a chain's logits (*parameter, row, origin, destination), as entering those of joint regimes.

    The chains are independent, so a joint step has the product of their probabilities, and their logits add up:
    (response, *parameter, row, joint origin, joint destination). One chain for all stays as it is.
    """
    if not spec.own_regimes:
        return enters
    return np.stack([enters[..., at[:, None], at[None, :]] for at in spec.joint_regimes.T])


def kernel_symbol(kernel: Kernel, name: str, *, over_lags: bool) -> str:
    """LaTeX symbol of a kernel's parameter; its name where the class gives none."""
    found = _by_name(kernel, "symbols", name)
    return found or text(name.replace("_", " ")) + ("_l" if over_lags else "")


def kernel_words(kernel: Kernel, name: str) -> str:
    """What a kernel's parameter means; its name where the class does not say."""
    kind = kernel.kind.replace("_", " ")
    return _by_name(kernel, "words", name) or f"{name.replace('_', ' ')}, a parameter of the {kind} kernel"


def _by_name(kernel: Kernel, attribute: str, name: str) -> str:
    """An entry of a mapping of the kernel's class, or of the first base that has one."""
    held = (vars(cls).get(attribute, {}) for cls in type(kernel).__mro__)
    return next((one[name] for one in held if name in one), "")
