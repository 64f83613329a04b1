"""The terms of a model: its free parameters, and where each of them enters.

A table is a sum of terms, each a parameter and a constant array that says where it enters. `regimelag.model.build`
turns terms into random variables and linear maps, `regimelag.model.evaluate` applies the same arrays to draws, and
`regimelag.model.latex` prints their symbols, meanings and priors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from regimelag.spec import names as nm
from regimelag.spec.kernels import Kernel, Point
from regimelag.spec.moderation import interactions, main_effects
from regimelag.spec.priors import Prior, resolve
from regimelag.spec.series import Control, Signal
from regimelag.spec.term import Parameter, Term, index_of, normal, pooled, text, zero_sum_normal
from regimelag.spec.transitions import Steps

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec

# Prior standard deviation of the coefficient of own lag l, times l.
OWN_SD = 0.3


class Indices(NamedTuple):
    """LaTeX subscripts; empty for a dimension of length one."""

    response: str
    regime: str
    episode: str

    @classmethod
    def of(cls, spec: ModelSpec, episodes: int) -> Indices:
        """Subscripts of a model with this number of episodes."""
        return cls(
            response="a" if len(spec.responses) > 1 else "",
            regime="k" if spec.regimes.count > 1 else "",
            episode="e(t)" if episodes > 1 else "",
        )


class Lag(NamedTuple):
    """Lag weights of a signal or a control.

    Attributes
    ----------
    series : Signal or Control
        The series.
    label : str
        Its label in the names of the kernel's parameters.
    kernel : tuple of Term
        Parameters of its kernel.
    moves : tuple of Term
        Deviations of the kernel's log location (response or one, episode or one).
    """

    series: Signal | Control
    label: str
    kernel: tuple[Term, ...]
    moves: tuple[Term, ...]


class Terms(NamedTuple):
    """A model as tables of terms.

    Attributes
    ----------
    location : tuple of Term
        Coefficients (covariate, response, regime): intercept, same-period signals, controls, moderators, and own lags
        of each response.
    effect : tuple of Term
        Cumulative lagged effects (episode, lagged series, response, regime), of signals and then of controls, with all
        moderators at zero.
    moderation : tuple of Term
        What moderators add to the effects of signals (moderator, lagged signal).
    lags : tuple of Lag
        One for each lagged signal, then one for each lagged control.
    log_scale : tuple of Term
        Log scales (episode, response, regime).
    shape : tuple of Term
        Shape parameters of the response family.
    volatility : tuple of Term
        Parameters of the volatility model.
    correlation : tuple of Term
        Correlation of the residuals of several responses.
    transition : tuple of Term
        Logits (1 + driver, origin, destination) of the regime process, or of each response's own.
    initial : tuple of Term
        Log probabilities (regime) of the initial distribution.
    """

    location: tuple[Term, ...]
    effect: tuple[Term, ...]
    moderation: tuple[Term, ...]
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
        yield from self.moderation
        for lag in self.lags:
            yield from (*lag.kernel, *lag.moves)
        yield from (*self.log_scale, *self.shape, *self.volatility, *self.correlation)
        yield from (*self.transition, *self.initial)

    def parameters(self) -> list[Parameter]:
        """Free parameters."""
        return [parameter for term in self.every() for parameter in term.parameters()]

    def each(self, change: Callable[[Term], Term]) -> Terms:
        """The terms after a function is applied to each."""
        lags = tuple(
            lag._replace(kernel=tuple(map(change, lag.kernel)), moves=tuple(map(change, lag.moves)))
            for lag in self.lags
        )
        others = {name: tuple(map(change, terms)) for name, terms in self._asdict().items() if name != "lags"}
        return Terms(**others, lags=lags)


def terms_of(spec: ModelSpec, panel: xr.Dataset) -> Terms:
    """Terms of a model on a panel, with standardised priors and without episodes that have no observations."""
    coords = coordinates(spec, list(panel[nm.EPISODE].to_numpy()))

    def resolved(term: Term) -> Term:
        parameter = next(term.parameters())
        labels = prior_labels(parameter, coords)
        return term._replace(resolved=resolve(parameter.prior, labels, _per_unit(parameter, labels, panel)))

    return model_terms(spec, panel.sizes[nm.EPISODE]).each(resolved)


def _per_unit(parameter: Parameter, labels: Mapping[str, Sequence[str]], panel: xr.Dataset) -> np.ndarray:
    """Factor of each entry (*parameter) from a coefficient in the units of its series to a standardised one."""
    role = parameter.slope_on
    if all(one.unit == "standardized" for one in parameter.prior.every()):
        return np.ones(tuple(map(len, labels.values())))
    x, y = (panel[nm.scale_of(one)] for one in (role, nm.RESPONSE))
    factors = x.sel({role: labels[role]}) / (y if nm.RESPONSE in labels else y[0].drop_vars(nm.RESPONSE))
    others = {dim: names for dim, names in labels.items() if dim not in factors.dims}
    return np.asarray(factors.expand_dims(others).transpose(*labels).to_numpy())


@lru_cache(maxsize=32)
def model_terms(spec: ModelSpec, episodes: int) -> Terms:
    """Terms of a model with this number of episodes, with its replaced priors."""
    return default_terms(spec, episodes).each(lambda term: term.with_prior_of(spec.priors))


def default_terms(spec: ModelSpec, episodes: int) -> Terms:
    """Terms with their default priors."""
    index = Indices.of(spec, episodes)
    several = spec.regimes.count > 1
    steps = steps_of(spec)
    return Terms(
        location=tuple(_location(spec, index)),
        effect=tuple(_effect(spec, index, episodes)),
        moderation=tuple(interactions(spec)),
        lags=(
            *(_lag(spec, signal, episodes) for signal in spec.lagged_signals),
            *(_lag(spec, control, episodes) for control in spec.lagged_controls),
        ),
        log_scale=tuple(_log_scale(spec, index, episodes)),
        shape=spec.family.terms(),
        volatility=spec.volatility.terms(),
        correlation=tuple(_correlation()) if index.response else (),
        transition=spec.regimes.transitions.terms(steps) if several else (),
        initial=tuple(_initial(spec, steps)) if several else (),
    )


def coordinates(spec: ModelSpec, episodes: Sequence[str]) -> dict[str, list[str]]:
    """Labels along each dimension of a model's parameters."""
    regimes = list(spec.regimes.labels())
    series = {
        nm.RESPONSE: spec.responses,
        nm.OTHER_RESPONSE: spec.responses,
        nm.SIGNAL: spec.signals,
        nm.LAGGED_SIGNAL: spec.lagged_signals,
        nm.LAGGED_CONTROL: spec.lagged_controls,
        nm.CONTEMPORANEOUS_SIGNAL: spec.contemporaneous_signals,
        nm.CONTROL: spec.controls,
        nm.DRIVER: spec.transition_drivers,
        nm.MODERATED_SIGNAL: spec.moderated_signals,
    }
    return {dim: [one.name for one in members] for dim, members in series.items()} | {
        nm.MODERATOR: list(spec.moderators),
        nm.EPISODE: list(episodes),
        **dict.fromkeys((nm.REGIME, nm.ORIGIN, nm.DESTINATION), regimes),
        nm.GAP: [f"{high} over {low}" for low, high in pairwise(regimes)],
        nm.LAG: [str(n + 1) for n in range(spec.max_lag)],
        nm.OWN_LAG: [str(n + 1) for n in range(spec.autoregression)],
        nm.ONWARD: [f"other {n + 1}" for n in range(len(regimes) - 1)],
    }


def prior_labels(parameter: Parameter, coords: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Labels of a parameter's entries along each dimension over which its prior may differ."""
    signals = (nm.LAGGED_SIGNAL, nm.CONTEMPORANEOUS_SIGNAL, nm.MODERATED_SIGNAL)
    renamed = dict.fromkeys(signals, nm.SIGNAL) | {nm.LAGGED_CONTROL: nm.CONTROL}
    return {renamed.get(dim, dim): list(map(str, coords[dim])) for dim in parameter.dims}


def steps_of(spec: ModelSpec) -> Steps:
    """What the transition model needs from a spec."""
    drivers = tuple(driver.name for driver in spec.transition_drivers)
    return Steps(spec.regimes.count, drivers, "a" if spec.own_regimes else "")


def _location(spec: ModelSpec, index: Indices) -> Iterator[Term]:
    own = index_of(index.response)
    now, controls = spec.contemporaneous_signals, spec.controls
    responses, regimes = np.eye(len(spec.responses)), np.eye(spec.regimes.count)
    moderated = 1 + len(now) + len(controls)
    known, lags = moderated + len(spec.moderators), spec.autoregression
    rows, everywhere = np.eye(known + lags * len(responses)), np.ones(spec.regimes.count)
    symbol = rf"\mu{index_of(index.response, index.regime)}"
    yield Term(
        nm.INTERCEPT,
        normal(0.3),
        symbol,
        "mean of each regime" if index.regime else "mean",
        (nm.RESPONSE, nm.REGIME),
        np.einsum("pa,qk,c->pqcak", responses, regimes, rows[0]),
        (symbol,),
    )
    shared = [
        (nm.CONTEMPORANEOUS, nm.SIGNAL, "c", "x", "same-period response to each signal", now),
        (nm.CONTROL_EFFECT, nm.CONTROL, r"\gamma", "u", "coefficient of each control", controls),
    ]
    dims = {nm.CONTEMPORANEOUS: nm.CONTEMPORANEOUS_SIGNAL, nm.CONTROL_EFFECT: nm.CONTROL}
    first = 1
    for name, role, letter, value, meaning, series in shared:
        if series:
            these = rows[first : first + len(series)]
            first += len(series)
            yield Term(
                name,
                normal(0.5),
                f"{letter}{own}",
                meaning,
                (nm.RESPONSE, dims[name]),
                np.einsum("pa,qc,k->pqcak", responses, these, everywhere),
                tuple(rf"{letter}^{{{text(s.name)}}}{own}\, {value}^{{{text(s.name)}}}_t" for s in series),
                slope_on=role,
            )
    yield from main_effects(spec, index.response, rows[moderated:known])
    if lags:
        past = rows[known:].reshape(len(responses), lags, -1)
        yield Term(
            nm.AUTOREGRESSION,
            normal(OWN_SD / np.arange(1, lags + 1)),
            rf"\rho{index_of(index.response, 'p')}",
            "coefficient of each own lag of the response",
            (nm.RESPONSE, nm.OWN_LAG),
            np.einsum("pa,pqc,k->pqcak", responses, past, everywhere),
            tuple(_own_summand(index, lag) for lag in range(1, lags + 1)),
        )


def _own_summand(index: Indices, lag: int) -> str:
    return rf"\rho{index_of(index.response, str(lag))}\, y{index_of(f't-{lag}', index.response)}"


def _effect(spec: ModelSpec, index: Indices, episodes: int) -> Iterator[Term]:
    count = len(spec.lagged_signals)
    every = np.eye(count + len(spec.lagged_controls))
    signals, controls = every[:count], every[count:]
    ones = {"e": np.ones(episodes), "a": np.ones(len(spec.responses)), "k": np.ones(spec.regimes.count)}
    if count:
        yield from _effect_of_signals(spec, signals, ones)
    if len(controls):
        yield Term(
            nm.CONTROL_LAGGED_EFFECT,
            Prior("StudentT", nu=3, mu=0.0, sigma=0.25),
            f"g{index_of(index.response)}",
            "cumulative lagged effect of each control",
            (nm.RESPONSE, nm.LAGGED_CONTROL),
            np.einsum("pa,qs,e,k->pqesak", np.eye(len(spec.responses)), controls, ones["e"], ones["k"]),
            slope_on=nm.CONTROL,
        )


def _effect_of_signals(spec: ModelSpec, signals: np.ndarray, ones: dict[str, np.ndarray]) -> Iterator[Term]:
    yield Term(
        nm.EFFECT,
        normal(0.5),
        "b",
        "cumulative lagged effect of each signal",
        (nm.LAGGED_SIGNAL,),
        np.einsum("ps,e,a,k->pesak", signals, *ones.values()),
        slope_on=nm.SIGNAL,
    )
    groups = [
        (nm.EFFECT_REGIME, nm.REGIME, "k", True),
        (nm.EFFECT_EPISODE, nm.EPISODE, "e", "effect" in spec.episodes.vary),
        (nm.EFFECT_RESPONSE, nm.RESPONSE, "a", "effect" in spec.responses_vary),
    ]
    for name, dim, letter, varies in groups:
        if varies and len(ones[letter]) > 1:
            others = {axis: values for axis, values in ones.items() if axis != letter}
            enters = np.einsum(
                f"ps,q{letter},{','.join(others)}->pqesak", signals, np.eye(len(ones[letter])), *others.values()
            )
            symbols = rf"\tau_{{{text(dim)}}}", rf"\xi^{{{text(dim)}}}_{letter}"
            yield _deviations(name, 0.25, (nm.LAGGED_SIGNAL, dim), symbols, "effect", enters, nm.SIGNAL)


def _deviations(
    name: str,
    sd: float,
    dims: tuple[str, ...],
    symbols: tuple[str, str],
    what: str,
    enters: np.ndarray,
    slope_on: str = "",
) -> Term:
    dim = dims[-1]
    meanings = f"how far {dim}s differ in the {what}", f"each {dim}'s deviation over that; they sum to zero"
    return pooled(name, sd, dims, symbols=symbols, meanings=meanings, enters=enters, slope_on=slope_on)


def _lag(spec: ModelSpec, series: Signal | Control, episodes: int) -> Lag:
    kernel = series.kernel
    # The lag of a control is the same for all responses and episodes.
    whose = isinstance(series, Signal)
    label = series.name if whose else nm.control_label(series.name)
    priors_of = kernel.priors(spec.max_lag)
    if isinstance(kernel, Point):
        # It is marginalized, not sampled; each posterior draw contains one.
        priors_of = {"point": Prior("Categorical", p=kernel.prior_masses(spec.max_lag))}
    parameters = tuple(
        Term(
            nm.lag_parameter(label, name),
            prior,
            kernel_symbol(kernel, name, over_lags=nm.LAG in prior.dims),
            f"{series.name if whose else f'control {series.name}'}: {kernel_words(kernel, name)}",
            prior.dims,
        )
        for name, prior in priors_of.items()
    )
    by = {nm.RESPONSE: whose and spec.lag_by_response, nm.EPISODE: whose and spec.lag_by_episode and episodes > 1}
    sizes = len(spec.responses) if by[nm.RESPONSE] else 1, episodes if by[nm.EPISODE] else 1
    enters = {
        nm.RESPONSE: np.einsum("pa,e->pae", np.eye(sizes[0]), np.ones(sizes[1])),
        nm.EPISODE: np.einsum("a,pe->pae", np.ones(sizes[0]), np.eye(sizes[1])),
    }
    letters = {nm.RESPONSE: "a", nm.EPISODE: "e"}
    moves = tuple(
        _deviations(
            nm.lag_parameter(label, dim),
            0.3,
            (dim,),
            (rf"\tau^m_{{{text(dim)}}}", rf"\zeta^{{{text(dim)}}}_{letters[dim]}"),
            "log lag",
            enters[dim],
        )
        for dim, varies in by.items()
        if varies and not isinstance(kernel, Point)
    )
    return Lag(series, label, parameters, moves)


def _log_scale(spec: ModelSpec, index: Indices, episodes: int) -> Iterator[Term]:
    count = spec.regimes.count
    responses, every = np.eye(len(spec.responses)), np.ones(episodes)
    symbol = f"h{index_of(index.response)}"
    yield Term(
        nm.LOG_SCALE,
        normal(0.5, float(np.log(0.8))),
        symbol,
        "log of the unconditional standard deviation" if spec.volatility.moves else "level of the log scale",
        (nm.RESPONSE,),
        np.einsum("pa,e,k->peak", responses, every, np.ones(count)),
        (symbol,),
    )
    if count > 1:
        own = index.response if spec.own_regimes else ""
        # Row k has the share of each gap below regime k, centered over regimes. Gaps are positive, so regimes are
        # ordered.
        steps = np.tril(np.ones((count, count - 1)), -1)
        steps -= steps.mean(axis=0)
        each = np.einsum("ra,kp,e->rpeak", responses, steps, every)
        yield Term(
            nm.LOG_SCALE_GAP,
            Prior("LogNormal", mu=float(np.log(0.8)), sigma=0.4),
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
            zero_sum_normal(0.4),
            symbol,
            "each episode's part of the log scale; they sum to zero",
            (nm.RESPONSE, nm.EPISODE),
            np.einsum("pa,qe,k->pqeak", responses, np.eye(episodes), np.ones(count)),
            (symbol,),
            zero_sum=1,
        )


def _correlation() -> Iterator[Term]:
    """Correlation of the residuals, from partial correlations; see `regimelag.model.correlation`."""
    prior = Prior("LKJ", eta=2.0)
    yield Term(f"{nm.CORRELATION}_partial", prior, "R", "correlation of the residuals of a row")


def _initial(spec: ModelSpec, steps: Steps) -> Iterator[Term]:
    if spec.regimes.initial == "dirichlet":
        count = spec.regimes.count
        yield Term(
            nm.INITIAL,
            Prior("Dirichlet", a=np.ones(count)),
            rf"\pi{index_of(steps.own, 'k')}",
            "distribution of the first regime",
            (nm.REGIME,),
            np.eye(count),
            transform=lambda values, xp: xp.log(values),
        )


def expand_to_joint(spec: ModelSpec, values: np.ndarray, axis: int = -2) -> np.ndarray:
    """Map values (..., response, ..., regime) to joint regimes; `axis` is that of the responses."""
    if not spec.own_regimes:
        return values
    return np.stack([np.take(values, a, axis)[..., at] for a, at in enumerate(spec.joint_regimes.T)], axis)


def chain_entries_on_joint(spec: ModelSpec, enters: np.ndarray) -> np.ndarray:
    """Map the `enters` array (*parameter, regime) of initial log probabilities to joint regimes.

    The processes are independent, so their log probabilities add: (response, *parameter, joint regime).
    """
    return np.stack([enters[..., at] for at in spec.joint_regimes.T]) if spec.own_regimes else enters


def step_entries_on_joint(spec: ModelSpec, enters: np.ndarray) -> np.ndarray:
    """Map the `enters` array (*parameter, row, origin, destination) of logits to joint regimes.

    The processes are independent, so their logits add: (response, *parameter, row, joint origin, joint destination). A
    shared regime process is returned unchanged.
    """
    if not spec.own_regimes:
        return enters
    return np.stack([enters[..., at[:, None], at[None, :]] for at in spec.joint_regimes.T])


def kernel_symbol(kernel: Kernel, name: str, *, over_lags: bool) -> str:
    """LaTeX symbol of a kernel's parameter; its name if the class has none."""
    found = _by_name(kernel, "symbols", name)
    return found or text(name.replace("_", " ")) + ("_l" if over_lags else "")


def kernel_words(kernel: Kernel, name: str) -> str:
    """Meaning of a kernel's parameter; its name if the class has none."""
    kind = kernel.kind.replace("_", " ")
    return _by_name(kernel, "words", name) or f"{name.replace('_', ' ')}, a parameter of the {kind} kernel"


def _by_name(kernel: Kernel, attribute: str, name: str) -> str:
    """Entry of a mapping of the kernel's class or of its nearest base that has it."""
    held = (vars(cls).get(attribute, {}) for cls in type(kernel).__mro__)
    return next((one[name] for one in held if name in one), "")
