"""The terms of a model: its free parameters, and where each of them enters.

A table is a sum of terms, each a parameter and a constant array that says where it enters. `regimelag.model.build`
turns terms into random variables and linear maps, `regimelag.model.evaluate` applies the same arrays to draws, and
`regimelag.model.latex` prints their symbols, meanings and priors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from regimelag.spec import names as nm
from regimelag.spec.kernels import Kernel, Point
from regimelag.spec.moderation import interactions, main_effects
from regimelag.spec.priors import Prior, resolve
from regimelag.spec.process_terms import (
    CONSTANT_RESPONSE,
    base_dimension,
    joint_initial,
    joint_transition,
    process_coordinates,
)
from regimelag.spec.processes import Process, carrier, groups_of, processes_of
from regimelag.spec.regime_terms import (
    Indices,
    deviations,
    deviations_by_regime,
    effect_terms,
    intercept_terms,
    level_prior,
    scale_terms,
)
from regimelag.spec.series import Control, Driver, Signal
from regimelag.spec.term import Parameter, Term, index_of, normal, text, zero_sum_normal

if TYPE_CHECKING:
    from regimelag.spec.model_spec import ModelSpec

# Prior standard deviation of the coefficient of own lag l, times l.
OWN_SD = 0.3


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
        Deviations of the kernel's log location (response or one, episode or one, regime or one).
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
        Coefficients (covariate, response, joint regime): intercept, same-period signals, controls, drivers, moderators,
        and own lags of each response.
    effect : tuple of Term
        Cumulative lagged effects (episode, lagged series, response, joint regime), of signals and then of controls,
        with all moderators at zero.
    moderation : tuple of Term
        What moderators add to the effects of signals (moderator, lagged signal).
    lags : tuple of Lag
        One for each lagged signal, then one for each lagged control.
    log_scale : tuple of Term
        Log scales (episode, response, joint regime).
    shape : tuple of Term
        Shape parameters of the response family.
    volatility : tuple of Term
        Parameters of the volatility model.
    correlation : tuple of Term
        Correlation of the residuals of several responses.
    transition : tuple of Term
        Logits (1 + driver, origin, destination) of steps between joint regimes.
    initial : tuple of Term
        Log probabilities (joint regime) of the initial distribution, of processes that have a prior of it.
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
        labels = prior_labels(spec, parameter, coords)
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


def prior_constants(spec: ModelSpec, panel: xr.Dataset) -> tuple[float, ...]:
    """Standard deviations of the panel on which priors depend: all if one is an elasticity, or else none."""
    parameters = model_terms(spec, panel.sizes[nm.EPISODE]).parameters()
    if all(one.unit == "standardized" for parameter in parameters for one in parameter.prior.every()):
        return ()
    scales = [nm.scale_of(role) for role in (nm.RESPONSE, nm.SIGNAL, nm.CONTROL, nm.DRIVER)]
    return tuple(float(value) for name in scales if name in panel for value in panel[name].to_numpy())


@lru_cache(maxsize=32)
def model_terms(spec: ModelSpec, episodes: int) -> Terms:
    """Terms of a model with this number of episodes, with its replaced priors."""
    return default_terms(spec, episodes).each(lambda term: term.with_prior_of(spec.priors))


def default_terms(spec: ModelSpec, episodes: int) -> Terms:
    """Terms with their default priors."""
    index = Indices.of(spec, episodes)
    return Terms(
        location=tuple(_location(spec, index)),
        effect=tuple(_effect(spec, index, episodes)),
        moderation=tuple(interactions(spec)),
        lags=(
            *(_lag(spec, index, signal, episodes) for signal in spec.lagged_signals),
            *(_lag(spec, index, control, episodes) for control in spec.lagged_controls),
        ),
        log_scale=tuple(_log_scale(spec, index, episodes)),
        shape=spec.family.terms(),
        volatility=spec.volatility.terms(),
        correlation=tuple(_correlation()) if index.response else (),
        transition=tuple(joint_transition(spec)),
        initial=tuple(joint_initial(spec)),
    )


def coordinates(spec: ModelSpec, episodes: Sequence[str]) -> dict[str, list[str]]:
    """Labels along each dimension of a model's parameters."""
    constant = [one for a, one in enumerate(spec.responses) if carrier(spec, "intercept", a) is None]
    series = {
        nm.RESPONSE: spec.responses,
        nm.OTHER_RESPONSE: spec.responses,
        nm.SIGNAL: spec.signals,
        nm.LAGGED_SIGNAL: spec.lagged_signals,
        nm.LAGGED_CONTROL: spec.lagged_controls,
        nm.CONTEMPORANEOUS_SIGNAL: spec.contemporaneous_signals,
        nm.CONTROL: spec.controls,
        nm.MODERATED_SIGNAL: spec.moderated_signals,
        nm.CONTROL_DRIVER: control_drivers(spec),
        CONSTANT_RESPONSE: constant,
    }
    return {dim: [one.name for one in members] for dim, members in series.items()} | {
        nm.MODERATOR: list(spec.moderators),
        nm.EPISODE: list(episodes),
        **process_coordinates(spec),
        nm.LAG: [str(n + 1) for n in range(spec.max_lag)],
        nm.OWN_LAG: [str(n + 1) for n in range(spec.autoregression)],
    }


def prior_labels(spec: ModelSpec, parameter: Parameter, coords: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Labels of a parameter's entries along each dimension over which its prior may differ."""
    return {base_dimension(spec, dim): list(map(str, coords[dim])) for dim in parameter.dims}


def control_drivers(spec: ModelSpec) -> list[Driver]:
    """Drivers with a term in the location: those of processes that carry the effect and not the scale.

    What such a driver does to the response by itself would otherwise be left to the effect that it moves. A moderator
    has a term of its own.
    """
    moved = {d for process in processes_of(spec) if process.spec.couples for d in process.drivers}
    drivers = [driver for d, driver in enumerate(spec.transition_drivers) if d in moved]
    return [driver for driver in drivers if driver.name not in spec.moderators]


def _location(spec: ModelSpec, index: Indices) -> Iterator[Term]:
    own = index_of(index.response)
    now, controls, drivers = spec.contemporaneous_signals, spec.controls, control_drivers(spec)
    responses, everywhere = np.eye(len(spec.responses)), np.ones(len(spec.joint_regimes))
    moderated = 1 + len(now) + len(controls) + len(drivers)
    known, lags = moderated + len(spec.moderators), spec.autoregression
    rows = np.eye(known + lags * len(responses))
    for group in groups_of(spec, "intercept"):
        yield from intercept_terms(group, index, responses, rows[0])
    shared = [
        (nm.CONTEMPORANEOUS, nm.SIGNAL, "c", "x", "same-period response to each signal", now),
        (nm.CONTROL_EFFECT, nm.CONTROL, r"\gamma", "u", "coefficient of each control", controls),
        (nm.DRIVER_CONTROL, nm.DRIVER, r"\theta", "z", "coefficient of each driver as last published", drivers),
    ]
    dims = {nm.CONTEMPORANEOUS: nm.CONTEMPORANEOUS_SIGNAL, nm.CONTROL_EFFECT: nm.CONTROL}
    first = 1
    for name, role, letter, value, meaning, series in shared:
        if series:
            these = rows[first : first + len(series)]
            first += len(series)
            when = "_{t-1}" if role == nm.DRIVER else "_t"
            yield Term(
                name,
                normal(0.5),
                f"{letter}{own}",
                meaning,
                (nm.RESPONSE, dims.get(name, nm.CONTROL_DRIVER)),
                np.einsum("pa,qc,k->pqcak", responses, these, everywhere),
                tuple(rf"{letter}^{{{text(one.name)}}}{own}\, {value}^{{{text(one.name)}}}{when}" for one in series),
                slope_on=role,
            )
    yield from main_effects(spec, index.response, rows[moderated:known])
    for group in groups_of(spec, "contemporaneous") if now else ():
        if group.process is not None:
            what = "same-period response"
            enters = np.einsum("pc,Ra,RkK->pKcak", rows[1 : 1 + len(now)], responses[[*group.responses]], group.member)
            yield deviations_by_regime(nm.CONTEMPORANEOUS_REGIME, nm.CONTEMPORANEOUS_SIGNAL, what, enters, group, index)
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
    ones = {"e": np.ones(episodes), "a": np.ones(len(spec.responses)), "k": np.ones(len(spec.joint_regimes))}
    if count:
        yield from _effect_of_signals(spec, index, signals, ones)
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


def _effect_of_signals(
    spec: ModelSpec, index: Indices, signals: np.ndarray, ones: dict[str, np.ndarray]
) -> Iterator[Term]:
    yield Term(
        nm.EFFECT,
        level_prior(spec),
        "b",
        "cumulative lagged effect of each signal",
        (nm.LAGGED_SIGNAL,),
        np.einsum("ps,e,a,k->pesak", signals, *ones.values()),
        slope_on=nm.SIGNAL,
    )
    for group in groups_of(spec, "effect"):
        yield from effect_terms(spec, index, group, signals, ones)
    groups = [
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
            yield deviations(name, 0.25, (nm.LAGGED_SIGNAL, dim), symbols, "effect", enters, nm.SIGNAL)


def _lag(spec: ModelSpec, index: Indices, series: Signal | Control, episodes: int) -> Lag:
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
    if not whose or isinstance(kernel, Point):
        return Lag(series, label, parameters, ())
    process = lag_process(spec)
    letters = {nm.RESPONSE: "a", nm.EPISODE: "e", nm.REGIME: index.regime(process)}
    sizes = {
        nm.RESPONSE: len(spec.responses) if spec.lag_by_response else 1,
        nm.EPISODE: episodes if spec.lag_by_episode else 1,
        nm.REGIME: process.spec.count if process else 1,
    }
    moves: list[Term] = []
    for dim, size in sizes.items():
        if size > 1:
            axes = [np.eye(n) if name == dim else np.ones((1, n)) for name, n in sizes.items()]
            dims = (process.named(dim) if process and dim == nm.REGIME else dim,)
            symbols = rf"\tau^m_{{{text(dim)}}}", rf"\zeta^{{{text(dim)}}}{index_of(letters[dim])}"
            enters = np.einsum("pa,pe,pr->paer", *(np.broadcast_to(one, (size, one.shape[1])) for one in axes))
            moves.append(deviations(nm.lag_parameter(label, dim), 0.3, dims, symbols, "log lag", enters, word=dim))
    return Lag(series, label, parameters, tuple(moves))


def lag_process(spec: ModelSpec) -> Process | None:
    """The process between whose regimes the lag differs, if any."""
    return carrier(spec, "lag", 0)


def _log_scale(spec: ModelSpec, index: Indices, episodes: int) -> Iterator[Term]:
    joint = len(spec.joint_regimes)
    responses, every = np.eye(len(spec.responses)), np.ones(episodes)
    symbol = f"h{index_of(index.response)}"
    yield Term(
        nm.LOG_SCALE,
        normal(0.5, float(np.log(0.8))),
        symbol,
        "log of the unconditional standard deviation" if spec.volatility.moves else "level of the log scale",
        (nm.RESPONSE,),
        np.einsum("pa,e,k->peak", responses, every, np.ones(joint)),
        (symbol,),
    )
    for group in groups_of(spec, "scale"):
        yield from scale_terms(group, index, responses[[*group.responses]], every)
    if "scale" in spec.episodes.vary and episodes > 1:
        symbol = rf"\eta{index_of(index.response, 'e')}"
        yield Term(
            nm.LOG_SCALE_EPISODE,
            zero_sum_normal(0.4),
            symbol,
            "each episode's part of the log scale; they sum to zero",
            (nm.RESPONSE, nm.EPISODE),
            np.einsum("pa,qe,k->pqeak", responses, np.eye(episodes), np.ones(joint)),
            (symbol,),
            zero_sum=1,
        )


def _correlation() -> Iterator[Term]:
    """Correlation of the residuals, from partial correlations; see `regimelag.model.correlation`."""
    prior = Prior("LKJ", eta=2.0)
    yield Term(f"{nm.CORRELATION}_partial", prior, "R", "correlation of the residuals of a row")


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
