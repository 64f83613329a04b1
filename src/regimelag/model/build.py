"""Build the PyMC model of a spec and a panel from the terms in `regimelag.spec.terms`.

All values are standardised. The graph is small and has no two-dimensional `dot`, which compiles slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from pymc.distributions.shape_utils import change_dist_size, rv_size_is_none
from pymc.distributions.transforms import ZeroSumTransform, log, logodds
from pytensor.compile.mode import Mode
from pytensor.graph import ancestors
from pytensor.graph.replace import vectorize_graph

from regimelag.errors import SpecError
from regimelag.likelihood.checks import require_double
from regimelag.likelihood.distributed_lag import lag_sum
from regimelag.likelihood.linear import linear_map, linear_predictor
from regimelag.model.correlation import residual_correlation
from regimelag.model.data import DIMS, model_coords, model_data
from regimelag.model.observed import ALPHA, BETA, log_likelihood, log_observation_of, observe_responses
from regimelag.panel.make import check_panel
from regimelag.runtime.process import one_thread_at_a_time
from regimelag.spec import names as nm
from regimelag.spec.kernels import Point, softmax
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.priors import DISTRIBUTIONS, Resolved, resolve
from regimelag.spec.process_terms import forbidden_steps
from regimelag.spec.series import Signal
from regimelag.spec.term import Term
from regimelag.spec.terms import Lag, Terms, lag_process, terms_of
from regimelag.spec.transitions import stationary_distribution

Tensor = Any

# Transforms, by support, of entries with distributions of their own.
TRANSFORMS = {"real": None, "positive": log, "unit": logodds}
# Mode of functions that are called once or a few times for all draws: rewriting the graph would take longer.
AS_IS = Mode(linker="py", optimizer=None)
# Decorator of functions that build such a graph and evaluate it once: a traceback of each variable, and C code for
# parts of the graph, would take longer than the rest.
EVALUATED_ONCE = pytensor.config.change_flags(traceback__limit=0, cxx="")
# Reading it creates PyTensor's compilation folder, so that an unwritable one fails on import.
COMPILED_TO = pytensor.config.compiledir


class RegimeModel(pm.Model):
    """A PyMC model whose intermediate quantities have names, as in ``model["location"]``.

    Attributes
    ----------
    nodes : dict of str to TensorVariable
        The quantities, on the scale of the standardised data. They are not stored in draws and not sampled, so they
        cost nothing until a term, a potential or a second likelihood is made of them. A clone, such as `pymc.do`
        returns, has none.
    has_own_term : bool
        Whether the location has a term that the spec does not have.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nodes: dict[str, Tensor] = {}
        self.has_own_term = False

    def __getitem__(self, key: str) -> Tensor:
        """Variable or node of this name; a variable first."""
        return self.nodes[key] if key in self.nodes and key not in self.named_vars else super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        """Whether there is a variable or node of this name."""
        return key in self.nodes or super().__contains__(key)


@one_thread_at_a_time
def build_model(spec: ModelSpec, panel: xr.Dataset, *, term: Callable[[pm.Model], Any] | None = None) -> pm.Model:
    """Build the PyMC model, which can be extended and sampled by any PyMC code.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data, from `make_panel`.
    term : callable, optional
        Function of the model that returns a term to add to the location (response, joint regime, time), standardised,
        or one that broadcasts against it. It is called in the context of the model, so it may add variables and data.
        No shape in it may depend on the value of a variable.
        Readings of a fit are of the spec's own model, so `as_fit` refuses a model with such a term.

    Returns
    -------
    pymc.Model
        Free variables with named dimensions, and one observed variable, ``response_value`` (time, response), whose log
        density is exact: regimes and point lags are marginalised. Its draws have a new regime path. Data are
        `pymc.Data` with dates; `regimelag.model.model_data` makes their arrays for another window or for
        predictions.

        Quantities that are no variables have names too, as in ``model["location"]``: ``<signal>_lag_weights`` (...,
        lag), ``lagged_effect`` (episode, lagged series, response, joint regime), ``location`` (response, joint regime,
        time), with point lags (..., time * combination), ``log_residual_scale`` (episode, response, joint regime),
        ``transition_logits`` and ``transition_probability`` (step or 1, origin, destination), ``log_initial`` (joint
        regime), ``log_observation`` (joint regime, time) and ``log_likelihood``.

    Raises
    ------
    PanelError
        If the panel does not fit the spec.
    RegimelagError
        If PyTensor is set to single precision.

    Notes
    -----
    Given regime k at time t in episode e(t), response a is Student-t with location ``intercept[a, k] +
    contemporaneous[a] * x[t] + (effect + effect_regime[k] + effect_episode[e] + effect_response[a] + effect_moderator .
    q[t]) * sum_l w[l] x[t - l] + control_effect[a] . c[t] + moderator_main_effect[a] . q[t] + sum_p autoregression[a,
    p] * y[t - p, a]`` and log scale ``log_scale[a] + v[k] +
    log_scale_episode[a, e]``. A response has no density if it or one of its own lags is missing. Several responses are
    jointly t with a residual correlation whose prior is that of Lewandowski, Kurowicka & Joe (2009),
    doi:10.1016/j.jmva.2009.04.008. Point lags are marginalised like regimes. The log location of other kernels may vary
    by episode and response, partially pooled.

    With several regime processes k stands for the regime of the process that carries the quantity, and the recursion
    runs over joint regimes, between which the logits of the processes add. The step into t has logits ``alpha[i, j] +
    sum_d (driver_effect[d, j] + driver_origin[d, i, j]) z[t - 1, d]``; time-varying transition probabilities follow
    Diebold, Lee & Weinbach (1994) and Filardo (1994), doi:10.1080/07350015.1994.10524545. Regimes are marginalised by
    the forward recursion of Hamilton (1989), doi:10.2307/1912559. Where regimes are ordered by the effect of a signal,
    its deviations are sums of gains, which are positive. With GARCH(1,1) the log scale is that of the unconditional
    standard deviation: Bollerslev (1987), doi:10.2307/1925546.
    """
    require_double("build_model")
    check_panel(spec, panel)
    # All distributions have valid parameters by construction, so PyMC need not check them at each step.
    # model=None: inside the `with` block of another model it would otherwise share its names.
    with RegimeModel(coords=model_coords(spec, panel), check_bounds=False, model=None) as model:
        terms = terms_of(spec, panel)
        data = {name: _as_data(name, values) for name, values in model_data(spec, panel).items()}
        effects = _table(terms.effect) if terms.effect else None
        moderation = _table(terms.moderation) if terms.moderation else None
        location = _location(spec, terms, data, effects, moderation)
        log_scale = _table(terms.log_scale)
        if spec.point_signals:
            location = _by_lag(spec, data, effects, moderation, location)
        parameters = {nm.LOCATION: location, nm.LOG_RESIDUAL_SCALE: log_scale}
        parameters |= {name: data[name] for name in _OF_ROWS}
        parameters |= _of_residuals(spec, terms)
        parameters |= _of_regimes(spec, terms, data)
        if spec.autoregression:
            parameters |= {name: data[name] for name in (nm.OWN_PAST, nm.RESPONSE_HISTORY)}
            parameters[nm.AUTOREGRESSION] = model[nm.AUTOREGRESSION]
        if effects is not None:
            model.nodes[nm.LAGGED_EFFECT] = effects
        if term is not None:
            if not callable(term):
                cure = "pass a function of the model, as docs/pymc.md does, or leave term out"
                raise SpecError("build_model", "term is a function of the model", f"a {type(term).__name__}", cure)
            model.has_own_term = True
            added = pt.as_tensor(term(model), dtype="float64")
            parameters[nm.LOCATION] = location + (
                pt.repeat(added, spec.lag_combinations, axis=-1) if spec.point_signals and added.type.ndim else added
            )
        response = observe_responses(spec, parameters)
        _name_nodes(spec, model, parameters, response)
    return model


# Data of each row that the observed variable has as parameters.
_OF_ROWS = (nm.EPISODE_INDEX, nm.OBSERVED_RESPONSE, nm.RESPONSE_MISSING, nm.RESPONSE_KNOWN)


def _name_nodes(spec: ModelSpec, model: RegimeModel, parameters: Mapping[str, Tensor], response: Tensor) -> None:
    """Give the quantities that are no variables of the model their names."""
    value = model.rvs_to_values[response]
    derived = (nm.LOCATION, nm.LOG_RESIDUAL_SCALE, nm.TRANSITION_LOGITS, nm.LOG_INITIAL)
    model.nodes |= {name: parameters[name] for name in derived} | {
        nm.TRANSITION_PROBABILITY: pt.special.softmax(parameters[nm.TRANSITION_LOGITS], axis=-1),
        nm.LOG_OBSERVATION: log_observation_of(spec, parameters, value),
        nm.LOG_LIKELIHOOD: log_likelihood(spec, parameters, value),
    }


def _as_data(name: str, values: np.ndarray) -> Tensor:
    """The array as model data, with time, of unknown length, so that another window can be set.

    `pymc.Data` would convert int64 to int32.
    """
    model, dims = pm.modelcontext(None), DIMS[name]
    lengths = {nm.TIME, nm.SIGNAL_TIME, nm.STEP}
    varies = [dim in lengths or (dim is None and n == len(dims) - 1) for n, dim in enumerate(dims)]
    shape = tuple(None if free else size for free, size in zip(varies, values.shape, strict=True))
    data = pytensor.shared(values, name=name, shape=shape)
    model.register_data_var(data, dims=dims if all(dims) else None)
    return data


def _value(term: Term) -> Tensor:
    """Random variables of a term."""
    dims = term.dims
    if term.raw is None:
        return term.entering(_variable(term.name, term.resolved, dims, term.zero_sum), pt)
    scale = _variable(f"{term.name}_sd", term.resolved, dims[: -term.zero_sum])
    raw = _variable(term.raw.name, resolve(term.raw.prior, {}), dims, term.zero_sum)
    scale = scale[(..., *(None,) * term.zero_sum)] if scale.type.ndim else scale
    return term.entering(pm.Deterministic(term.name, scale * raw, dims=dims), pt)


def _variable(name: str, prior: Resolved, dims: tuple[str, ...], zero_sum: int = 0) -> Tensor:
    if len(prior.distributions) > 1:
        return _mixed(name, prior, dims)
    arguments: dict[str, Any] = dict(prior.parameters[0])
    if zero_sum == 1:
        size = len(pm.modelcontext(None).coords[dims[-1]])
        arguments["default_transform"] = _ZeroSumMatrix(size)
    elif zero_sum:
        arguments["n_zerosum_axes"] = zero_sum
    if zero_sum and np.ndim(arguments["sigma"]):
        arguments["sigma"] = arguments["sigma"][(..., *(None,) * zero_sum)]
    return getattr(pm, prior.distributions[0])(name, **arguments, dims=dims or None)


def _mixed(name: str, prior: Resolved, dims: tuple[str, ...]) -> Tensor:
    """A free variable whose entries have different distributions."""
    shape = tuple(len(pm.modelcontext(None).coords[dim]) for dim in dims)
    once = list(zip(prior.distributions, prior.parameters, strict=True))
    held = once * (int(np.prod(shape)) // len(once))

    def entries(draws: tuple[Tensor, ...] = ()) -> list[Tensor]:
        return [getattr(pm, distribution).dist(**parameters, size=draws) for distribution, parameters in held]

    def dist(size: Tensor) -> Tensor:
        # A size with axes before those of the variable is that of many draws.
        draws = () if rv_size_is_none(size) else tuple(size)[: -len(shape)]
        return pt.stack(entries(draws), axis=-1).reshape((*draws, *shape))

    def logp(value: Tensor) -> Tensor:
        flat = value.ravel()
        return pt.stack([pm.logp(each, flat[n]) for n, each in enumerate(entries())]).reshape(shape)

    return pm.CustomDist(
        name,
        dist=dist,
        logp=logp,
        dims=dims,
        default_transform=TRANSFORMS[DISTRIBUTIONS[prior.distributions[0]].support],
    )


def _table(terms: Sequence[Term]) -> Tensor:
    """Sum of terms (*cell), each a product of random variables and a constant array.

    Broadcasting would add a node to the graph for each step and its gradient; here a term is one node.
    """
    entered, shape = [], ()
    for term in terms:
        parameter, enters = _value(term), np.asarray(term.enters)
        shape = enters.shape[parameter.type.ndim :]
        size = int(np.prod(enters.shape[: parameter.type.ndim], dtype=int))
        entered.append(linear_map(enters.reshape(size, -1), parameter.reshape((size,))))
    return sum(entered[1:], start=entered[0]).reshape(shape)


def _location(
    spec: ModelSpec, terms: Terms, data: Mapping[str, Tensor], effects: Tensor | None, moderation: Tensor
) -> Tensor:
    """Location (response, joint regime, time) without point lags."""
    responses, joint = len(spec.responses), len(spec.joint_regimes)
    coefficients = _table(terms.location).reshape((1, -1, responses * joint))
    covariate = data[nm.COVARIATE]
    if spec.autoregression:
        covariate = pt.concatenate([covariate, data[nm.OWN_PAST]])
    location = linear_predictor(covariate, coefficients)
    if len(terms.lags) > len(spec.point_signals):
        location = location + _lagged_response(spec, terms, data, effects, moderation)
    return location.reshape((responses, joint, -1))


def _lagged_response(
    spec: ModelSpec, terms: Terms, data: Mapping[str, Tensor], effects: Tensor, moderation: Tensor
) -> Tensor:
    """Effect times lagged series, summed over series without a point lag (response * joint regime, time)."""
    lagged, coefficients, departed = [], [], []
    for place, lag in enumerate(terms.lags):
        if isinstance(lag.series.kernel, Point):
            continue
        weights, departure = _weights(spec, lag)
        values = data[nm.LAGGED_VALUE][place]
        sums = lag_sum(values, weights)
        sums = sums.reshape((-1, sums.shape[-1]))
        enters = _entering(spec) if isinstance(lag.series, Signal) else None
        own = effects[:, place : place + 1]
        lagged.append(sums)
        coefficients.append(own if enters is None else own * enters)
        if isinstance(lag.series, Signal) and lag.series.moderators:
            # What a moderator adds is a lagged sum times the moderator, alike in all cells.
            everywhere = np.ones((_episodes(), 1, len(spec.responses), len(spec.joint_regimes)))
            everywhere = everywhere if enters is None else everywhere * enters
            lagged += [sums * data[nm.MODERATOR_VALUE][q] for q in range(len(spec.moderators))]
            coefficients += [moderation[q, place] * everywhere for q in range(len(spec.moderators))]
        if departure is not None:
            departed.append(lag_sum(values, departure))
    rows = pt.concatenate(lagged)
    joined = pt.concatenate(coefficients, axis=1)
    joined = joined.reshape((_episodes(), -1, len(spec.responses) * len(spec.joint_regimes)))
    response = linear_predictor(rows, joined, data[nm.EPISODE_INDEX])
    return sum((sums[None, :] for sums in departed), start=response)


def _entering(spec: ModelSpec) -> np.ndarray | None:
    """Mask of lagged sums of a signal (episode, sum, response, joint regime or 1); None if one is for all.

    There is one sum for each combination of response, episode and regime between which the lag differs.
    """
    responses, episodes, process = len(spec.responses), _episodes(), lag_process(spec)
    whose = np.eye(responses) if spec.lag_by_response else np.ones((1, responses))
    when = np.eye(episodes) if spec.lag_by_episode else np.ones((1, episodes))
    which = np.ones((1, 1)) if process is None else process.member.T
    if len(whose) == len(when) == len(which) == 1:
        return None
    return np.einsum("ma,ne,rk->emnrak", whose, when, which).reshape(episodes, -1, responses, which.shape[1])


def _weights(spec: ModelSpec, lag: Lag) -> tuple[Tensor, Tensor | None]:
    """Lag weights (lag) or (response or one, episode or one, regime or one, lag), and signed deviations or None."""
    kernel = lag.series.kernel
    names = kernel.priors(spec.max_lag)
    parameters = {name: _value(term) for name, term in zip(names, lag.kernel, strict=True)}
    departure = kernel.signed_deviation(parameters, spec.max_lag, pt)
    if lag.moves:
        parameters = kernel.shift_location(parameters, _table(lag.moves), pt)
    weights, model = kernel.weights(parameters, spec.max_lag, pt), pm.modelcontext(None)
    name = nm.lag_parameter(lag.label, "weights")
    # A parameter of this name is the weights themselves.
    if name not in model:
        model.nodes[name] = weights
    return weights, departure


def _by_lag(
    spec: ModelSpec, data: Mapping[str, Tensor], effects: Tensor, moderation: Tensor, location: Tensor
) -> Tensor:
    """Location (response, joint regime, time * combination) with point lags, lags innermost."""
    responses, regimes = len(spec.responses), len(spec.joint_regimes)
    location = location[..., None]
    for n, signal in enumerate(spec.point_signals):
        own = effects[:, spec.lagged_signals.index(signal)].reshape((_episodes(), 1, responses * regimes))
        effect = linear_predictor(data[nm.COVARIATE][:1], own, data[nm.EPISODE_INDEX])
        effect = effect.reshape((responses, regimes, -1, 1))
        if signal.moderators:
            added = (moderation[:, spec.lagged_signals.index(signal), None] * data[nm.MODERATOR_VALUE]).sum(axis=0)
            effect = effect + added[None, None, :, None]
        point = data[nm.POINT_VALUE][n]
        location = location + effect * point.reshape((point.type.shape[0], -1, spec.lag_combinations))
    return location.reshape((responses, regimes, -1))


def _of_residuals(spec: ModelSpec, terms: Terms) -> dict[str, Tensor]:
    """Parameters of the distribution of the residuals."""
    found: dict[str, Tensor] = {term.name: _value(term) for term in terms.shape}
    if spec.volatility.moves:
        weights = spec.volatility.weights({term.name: _value(term) for term in terms.volatility})
        found |= {name: pt.as_tensor(value) for name, value in zip((ALPHA, BETA), weights, strict=True)}
    if len(spec.responses) > 1:
        eta = terms.correlation[0].prior.parameters["eta"]
        found[nm.CORRELATION] = residual_correlation(nm.CORRELATION, len(spec.responses), eta)
        pm.Deterministic(nm.CORRELATION, found[nm.CORRELATION], dims=(nm.RESPONSE, nm.OTHER_RESPONSE))
    return found


def _episodes() -> int:
    return len(pm.modelcontext(None).coords[nm.EPISODE])


class _ZeroSumMatrix(ZeroSumTransform):
    """PyMC's zero-sum transform over the last axis as one matrix product, which compiles in half the time."""

    def __init__(self, size: int) -> None:
        super().__init__([-1])
        root = np.sqrt(size)
        self.matrix = np.vstack([np.eye(size - 1) - 1 / (root + size), np.full((1, size - 1), -1 / root)])

    def backward(self, value: Tensor, *rv_inputs: Tensor) -> Tensor:  # noqa: ARG002
        """Map free values (..., n - 1) to values (..., n) with sum zero."""
        return linear_map(self.matrix.T, value)

    def forward(self, value: Tensor, *rv_inputs: Tensor) -> Tensor:  # noqa: ARG002
        """Inverse of `backward`."""
        return linear_map(self.matrix, value)


def _of_regimes(spec: ModelSpec, terms: Terms, data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Transition logits (step or 1, origin, destination) and log initial distribution of joint regimes."""
    if len(spec.joint_regimes) == 1:
        return {nm.TRANSITION_LOGITS: pt.zeros((1, 1, 1)), nm.LOG_INITIAL: pt.zeros(1)}
    logits = _transition_logits(spec, terms, data)
    found = {nm.TRANSITION_LOGITS: logits if spec.transition_drivers else logits[None]}
    return found | {nm.LOG_INITIAL: _log_initial(spec, terms, logits)}


def _transition_logits(spec: ModelSpec, terms: Terms, data: Mapping[str, Tensor]) -> Tensor:
    """Logits (time - 1, origin, destination) of joint regimes, or (origin, destination) without drivers."""
    joint = len(spec.joint_regimes)
    coefficients, forbidden = _table(terms.transition), forbidden_steps(spec)
    if spec.transition_drivers:
        logits = linear_predictor(data[nm.TRANSITION_VALUE], coefficients.reshape((1, -1, joint**2)))
        logits = pt.moveaxis(logits.reshape((joint, joint, -1)), -1, 0)
    else:
        logits = coefficients[0]
    return logits if forbidden is None else pt.where(forbidden, -np.inf, logits)


def _log_initial(spec: ModelSpec, terms: Terms, logits: Tensor) -> Tensor:
    """Log initial distribution (joint regime), the sum of those of independent processes."""
    count, kinds = len(spec.joint_regimes), {process.spec.initial for process in spec.processes}
    if kinds == {"uniform"}:
        return pt.as_tensor(np.full(count, -np.log(count)))
    held = [_table(terms.initial)] if terms.initial else []
    if "stationary" in kinds:
        first = logits[0] if spec.transition_drivers else logits
        joint = stationary_distribution(softmax(first, pt), count, pt)
        if kinds == {"stationary"}:
            return pt.log(joint)
        held += [
            pt.log(linear_map(process.member, joint))[process.regime]
            for process in spec.processes
            if process.spec.initial == "stationary"
        ]
    uniform = [process.spec.count for process in spec.processes if process.spec.initial == "uniform"]
    return sum(held[1:], start=held[0]) - float(np.sum(np.log(uniform)))


@one_thread_at_a_time
@EVALUATED_ONCE
def _drawn_at_once(
    model: pm.Model, variables: Sequence[Tensor], draws: int, random_seed: int | None
) -> Sequence[np.ndarray]:
    """Draws (draw, ...) of variables from the prior in one evaluation of a graph with a draw axis."""
    free = set(model.free_RVs)
    first = [rv for rv in model.free_RVs if not free.intersection(ancestors(rv.owner.inputs))]
    many = vectorize_graph(variables, replace={rv: change_dist_size(rv, (draws,), expand=True) for rv in first})
    return pm.draw(many, random_seed=random_seed, mode=AS_IS)


def draw_prior(spec: ModelSpec, model: pm.Model, draws: int, *, random_seed: int | None = None) -> xr.Dataset:
    """Draw free and deterministic variables of a model, and its point lags, from the prior.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    model : pymc.Model
        From `build_model`.
    draws : int
        Number of draws.
    random_seed : int, optional
        Seed.

    Returns
    -------
    xarray.Dataset
        With dimensions chain (one), draw and those of the model.
    """
    # All constraints hold by construction, so forward draws are draws from the prior.
    variables = [*model.free_RVs, *model.deterministics]
    drawn = _drawn_at_once(model, variables, draws, random_seed)
    prior = labelled(model, {str(v.name): np.expand_dims(d, 0) for v, d in zip(variables, drawn, strict=True)})
    rng = np.random.default_rng(random_seed)
    for signal, kernel in zip(spec.point_signals, spec.point_kernels, strict=True):
        dims = spec.point_dims(signal)
        shape = (1, draws, *(len(model.coords[dim]) for dim in dims))
        masses = kernel.prior_masses(spec.max_lag)
        point = rng.choice(len(masses), size=shape, p=masses) + 1
        prior = prior.assign_coords({dim: list(model.coords[dim]) for dim in dims})
        prior[nm.lag_parameter(signal.name, "point")] = ((nm.CHAIN, nm.DRAW, *dims), point)
    return prior


def labelled(model: pm.Model, values: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Values (chain, draw, *variable) of a model's variables, with the model's dimensions and coordinates."""
    data: dict[str, Any] = {}
    used: dict[str, Any] = {}
    for name, found in values.items():
        used = {nm.CHAIN: np.arange(found.shape[0]), nm.DRAW: np.arange(found.shape[1])} | used
        named = model.named_vars_to_dims.get(name) or (None,) * (found.ndim - 2)
        dims = [dim or f"{name}_dim_{n}" for n, dim in enumerate(named)]
        data[name] = ((nm.CHAIN, nm.DRAW, *dims), found)
        # Labels that are tuples become texts, which files can hold.
        used |= {
            dim: [str(label) if isinstance(label, tuple) else label for label in model.coords[dim]]
            for dim in dims
            if model.coords.get(dim) is not None
        }
    return xr.Dataset(data, coords=used)
