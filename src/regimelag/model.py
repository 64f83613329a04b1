"""From a spec and a panel to a PyMC model with named coordinates: the only module that writes priors.

Everything is in standardised units. The graph is kept small and free of two-dimensional `dot`, which compiles slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from pymc.distributions.transforms import ZeroSumTransform

from regimelag import names as nm
from regimelag.correlation import residual_correlation
from regimelag.data.panel import check_panel
from regimelag.kernels import Prior, combinations
from regimelag.likelihood.density import student_t_logpdf
from regimelag.likelihood.distributed_lag import lag_sum
from regimelag.likelihood.hmm_loglik import markov_loglik
from regimelag.likelihood.joint_density import joint_logpdf
from regimelag.likelihood.lag_marginalization import lag_marginal_loglik
from regimelag.likelihood.linear import linear_map, linear_predictor
from regimelag.process import alone
from regimelag.series import Signal
from regimelag.spec import ModelSpec

Tensor = Any

# PyTensor makes its folder when it first compiles. Asked for here, it is missed when the package is loaded, not later.
COMPILED_TO = pytensor.config.compiledir


def model_coords(spec: ModelSpec, panel: xr.Dataset) -> dict[str, Any]:
    """Coordinates of the model's named dimensions."""
    regimes = list(spec.regimes.labels())
    coords: dict[str, Any] = {
        role: list(panel[role].to_numpy()) for role in (nm.RESPONSE, nm.SIGNAL, nm.CONTROL, nm.DRIVER, nm.EPISODE)
    }
    coords |= {nm.REGIME: regimes, nm.ORIGIN: regimes, nm.DESTINATION: regimes}
    coords[nm.GAP] = [f"{high} over {low}" for low, high in pairwise(regimes)]
    coords[nm.ONWARD] = [f"other {n + 1}" for n in range(len(regimes) - 1)]
    coords[nm.LAGGED_SIGNAL] = [signal.name for signal in spec.lagged_signals]
    coords[nm.CONTEMPORANEOUS_SIGNAL] = [signal.name for signal in spec.contemporaneous_signals]
    coords[nm.OTHER_RESPONSE] = coords[nm.RESPONSE]
    coords[nm.LAG] = list(range(1, spec.max_lag + 1))
    return coords


@alone
def build_model(spec: ModelSpec, panel: xr.Dataset) -> pm.Model:
    """Build the PyMC model; it is yours to extend and to sample as you like.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data, from `make_panel`.

    Returns
    -------
    pymc.Model
        Free variables with named dimensions, and one potential, `log_likelihood`, in which regimes and point lags are
        summed out.
        Data are shared variables, as `pymc.Data` makes them; `model_data` makes their arrays.

    Raises
    ------
    PanelError
        Where the panel does not fit the spec.

    Notes
    -----
    Given regime k at time t in episode e(t), response a is Student-t with location ``intercept[a, k] +
    contemporaneous[a] * x[t] + (effect + effect_regime[k] + effect_episode[e] + effect_response[a]) * sum_l w[l]
    x[t - l] + control_effect[a] . c[t]`` and log scale ``log_scale[a] + v[k] + log_scale_episode[a, e]``. Several
    responses are jointly t with a residual correlation under the prior of Lewandowski, Kurowicka & Joe (2009),
    doi:10.1016/j.jmva.2009.04.008; one that is missing drops out. A point lag is marginalised like the regimes. The
    log location of another kernel may move by episode and response, pooled. The step into t has logits
    ``alpha[i, j] + sum_d (driver_effect[d, j] + driver_origin[d, i, j]) z[t - 1, d]``; time-varying transitions follow
    Diebold, Lee & Weinbach (1994) and Filardo (1994), doi:10.1080/07350015.1994.10524545. Regimes are summed out by the
    forward recursion of Hamilton (1989), doi:10.2307/1912559. Where each response has a chain of its own, intercepts,
    scales and effects go by the regime of that chain, which has its own v, alpha and drivers' effects; the recursion
    runs over joint regimes.
    """
    check_panel(spec, panel)
    # Every distribution below has parameters that are valid by construction, so PyMC need not check them at each step.
    # A model of its own, also inside the `with` block of another, whose names it would share otherwise.
    with pm.Model(coords=model_coords(spec, panel), check_bounds=False, model=None) as model:
        data = {name: _as_data(name, values) for name, values in model_data(spec, panel).items()}
        effects = _effects(spec) if spec.lagged_signals else None
        location, log_scale = _location(spec, data, effects), _log_scale(spec)
        y, episode = data[nm.RESPONSE_VALUE], data[nm.EPISODE_INDEX]
        if spec.point_signals:
            location = _by_lag(spec, data, effects, location)
            y, episode = _repeated(y, spec.lag_combinations), _repeated(episode, spec.lag_combinations)
        log_obs = _log_observation(spec, y, episode, location, log_scale)
        pm.Potential("log_likelihood", _summed_out(spec, log_obs, data))
    return model


def model_data(spec: ModelSpec, panel: xr.Dataset) -> dict[str, np.ndarray]:
    """The panel's arrays as the model holds them: time last, and nothing left to rearrange at each step of a sampler.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.

    Returns
    -------
    dict of str to ndarray
        ``response_value`` (response, time); ``signal_value`` (lagged signal, L + time); ``covariate`` (1 +
        contemporaneous signals + controls, time), of which the first is one; ``driver_value`` (1 + drivers, time - 1),
        the same; ``episode_index`` (time). With point lags also ``point_value`` (point signal, regime or one, time *
        combination), the signal at each combination of lags, combinations innermost.
    """
    signals = panel[nm.SIGNAL_VALUE].to_numpy().T
    now = [spec.signals.index(signal) for signal in spec.contemporaneous_signals]
    lagged = [spec.signals.index(signal) for signal in spec.lagged_signals]
    rows = panel.sizes[nm.TIME]
    covariate = (np.ones((1, rows)), signals[now, spec.history :], panel[nm.CONTROL_VALUE].to_numpy().T)
    held = {
        nm.RESPONSE_VALUE: np.ascontiguousarray(panel[nm.RESPONSE_VALUE].to_numpy().T),
        nm.SIGNAL_VALUE: np.ascontiguousarray(signals[lagged]),
        nm.COVARIATE: np.concatenate(covariate),
        nm.DRIVER_VALUE: np.concatenate([np.ones((1, rows - 1)), panel[nm.DRIVER_VALUE].to_numpy()[:-1].T]),
        nm.EPISODE_INDEX: panel[nm.EPISODE_INDEX].to_numpy().astype("int64"),
    }
    return held | _point_data(spec, panel) if spec.point_signals else held


def _point_data(spec: ModelSpec, panel: xr.Dataset) -> dict[str, np.ndarray]:
    """Each point signal at each combination of lags (signal, regime or one, time * combination), lags innermost."""
    lags, _ = combinations(spec.point_kernels, spec.regimes.count, spec.max_lag)
    if not any(kernel.by_regime for kernel in spec.point_kernels):
        lags = lags[:, :, :1]
    values = panel[nm.SIGNAL_VALUE].to_numpy()[:, [spec.signals.index(signal) for signal in spec.point_signals]]
    row = np.arange(panel.sizes[nm.TIME]) + spec.history
    at = row[:, None] - lags.transpose(1, 2, 0)[:, :, None, :]
    place = np.arange(len(spec.point_signals))[:, None, None, None]
    found = values[at, place]
    return {nm.POINT_VALUE: np.ascontiguousarray(found.reshape((*found.shape[:2], -1)))}


def _as_data(name: str, values: np.ndarray) -> Tensor:
    """The array as model data; its length in time, the last axis, stays open, so that another window can be set.

    As `pymc.Data` does, which would refuse NaN, that marks a missing response, and turn int64 into int32.
    """
    data = pytensor.shared(values, name=name, shape=(*values.shape[:-1], None))
    pm.modelcontext(None).register_data_var(data)
    return data


def _location(spec: ModelSpec, data: Mapping[str, Tensor], effects: Tensor | None) -> Tensor:
    """Location (response, joint regime, time) but for point lags."""
    priors, responses, whose = spec.priors, np.eye(len(spec.responses)), _whose(spec)
    joint = whose.shape[-1]
    # One covariate with a coefficient for each regime, then several with one for all regimes.
    own, shared = "ra,pc,aqk->rqcak", "ra,pc,k->rpcak"
    named = [(nm.INTERCEPT, priors.intercept_sd, nm.REGIME, own, whose)]
    if spec.contemporaneous_signals:
        dim = nm.CONTEMPORANEOUS_SIGNAL
        named.append((nm.CONTEMPORANEOUS, priors.contemporaneous_sd, dim, shared, np.ones(joint)))
    if spec.controls:
        named.append((nm.CONTROL_EFFECT, priors.control_sd, nm.CONTROL, shared, np.ones(joint)))
    sizes = [1, len(spec.contemporaneous_signals), len(spec.controls)]
    rows = [row for row in np.split(np.eye(sum(sizes)), np.cumsum(sizes)[:-1]) if len(row)]
    terms = []
    for (name, sd, dim, enters, over), row in zip(named, rows, strict=True):
        values = pm.Normal(name, 0.0, sd, dims=(nm.RESPONSE, dim))
        terms.append((values, np.einsum(enters, responses, row, over)))
    coefficients = _sum_of(terms).reshape((1, sum(sizes), len(responses) * joint))
    location = linear_predictor(data[nm.COVARIATE], coefficients)
    if len(spec.lagged_signals) > len(spec.point_signals):
        location = location + _lagged_response(spec, data, effects)
    return location.reshape((len(responses), joint, -1))


def _whose(spec: ModelSpec) -> np.ndarray:
    """Which regime of a response's own chain a joint regime means (response, regime, joint regime), as ones and zeros.

    With one chain for all responses a joint regime is a regime.
    """
    return np.moveaxis(np.eye(spec.regimes.count)[spec.joint_regimes], 0, -1)


def _own(spec: ModelSpec) -> tuple[str, ...]:
    """The dimension in front of what belongs to a chain, if there are several."""
    return (nm.RESPONSE,) if spec.own_regimes else ()


def _sum_of(terms: Sequence[tuple[Tensor, np.ndarray]]) -> Tensor:
    """Sum of linear maps of parameters, each with a constant array (*parameter, *cell) that says what enters where.

    Whatever is linear in the parameters is assembled this way. Broadcasting would read as well, but each of its steps,
    and each of their gradients, is a node of the graph to compile; here a term is one node, and the same for all.
    """
    entered, shape = [], ()
    for parameter, enters in terms:
        shape = enters.shape[parameter.type.ndim :]
        size = int(np.prod(enters.shape[: parameter.type.ndim], dtype=int))
        entered.append(linear_map(enters.reshape(size, -1), parameter.reshape((size,))))
    return sum(entered[1:], start=entered[0]).reshape(shape)


def _ones(identity: np.ndarray) -> np.ndarray:
    return np.ones(len(identity))


def _lagged_response(spec: ModelSpec, data: Mapping[str, Tensor], effects: Tensor) -> Tensor:
    """Effect times lagged signal, summed over signals without a point lag (response * joint regime, time)."""
    lagged, coefficients, departed = [], [], []
    for place, signal in enumerate(spec.lagged_signals):
        if signal in spec.point_signals:
            continue
        weights, departure = _weights(spec, signal)
        values = data[nm.SIGNAL_VALUE][place]
        sums = lag_sum(values, weights)
        lagged.append(sums.reshape((-1, sums.shape[-1])))
        enters = _entering(spec)
        own = effects[:, place : place + 1]
        coefficients.append(own if enters is None else own * enters)
        if departure is not None:
            departed.append(lag_sum(values, departure))
    rows = pt.concatenate(lagged)
    joined = pt.concatenate(coefficients, axis=1)
    joined = joined.reshape((_episodes(), -1, len(spec.responses) * len(spec.joint_regimes)))
    response = linear_predictor(rows, joined, data[nm.EPISODE_INDEX])
    return sum((sums[None, :] for sums in departed), start=response)


def _entering(spec: ModelSpec) -> np.ndarray | None:
    """Which of a signal's lagged sums enters where (episode, sum, response, 1); None if there is one for all.

    There is a sum for each response, each episode, or each pair of both, where the lag differs between them.
    """
    responses, episodes = len(spec.responses), _episodes()
    whose = np.eye(responses) if spec.lag_by_response else np.ones((1, responses))
    when = np.eye(episodes) if spec.lag_by_episode else np.ones((1, episodes))
    if len(whose) == len(when) == 1:
        return None
    return np.einsum("ma,ne->emna", whose, when).reshape(episodes, -1, responses, 1)


def _weights(spec: ModelSpec, signal: Signal) -> tuple[Tensor, Tensor | None]:
    """Weights of a signal, (lag) or (response or one, episode or one, lag) where they differ, and departures (lag)."""
    kernel = signal.kernel
    parameters = {
        name: _from_prior(nm.lag_parameter(signal.name, name), prior)
        for name, prior in kernel.priors(spec.max_lag).items()
    }
    departure = kernel.departure(parameters, spec.max_lag, pt)
    moves = []
    if spec.lag_by_response:
        moves.append(_lag_deviation(signal, nm.RESPONSE, spec.priors.lag_response_sd)[:, None])
    if spec.lag_by_episode and _episodes() > 1:
        moves.append(_lag_deviation(signal, nm.EPISODE, spec.priors.lag_episode_sd)[None, :])
    if moves:
        parameters = kernel.moved(parameters, sum(moves[1:], start=moves[0]), pt)
    return kernel.weights(parameters, spec.max_lag, pt), departure


def _lag_deviation(signal: Signal, dim: str, sd: float) -> Tensor:
    """Deviations (dim) of the log location of a signal's kernel: they sum to zero and share one scale."""
    name = nm.lag_parameter(signal.name, dim)
    scale = pm.HalfNormal(f"{name}_sd", sd)
    return pm.Deterministic(name, scale * _zero_sum(f"{name}_raw", 1.0, (dim,)), dims=dim)


def _by_lag(spec: ModelSpec, data: Mapping[str, Tensor], effects: Tensor, location: Tensor) -> Tensor:
    """Location (response, joint regime, time * combination) with the point lags' terms, lags innermost."""
    responses, regimes = len(spec.responses), len(spec.joint_regimes)
    location = location[..., None]
    for n, signal in enumerate(spec.point_signals):
        own = effects[:, spec.lagged_signals.index(signal)].reshape((_episodes(), 1, responses * regimes))
        effect = linear_predictor(data[nm.COVARIATE][:1], own, data[nm.EPISODE_INDEX])
        effect = effect.reshape((responses, regimes, -1, 1))
        point = data[nm.POINT_VALUE][n]
        location = location + effect * point.reshape((point.type.shape[0], -1, spec.lag_combinations))
    return location.reshape((responses, regimes, -1))


def _repeated(values: Tensor, count: int) -> Tensor:
    """Values (..., time) repeated for each combination of lags: (..., time * combination)."""
    shape = (*tuple(values.shape), count)
    return pt.broadcast_to(values[..., None], shape).reshape((*values.type.shape[:-1], -1))


def _log_observation(spec: ModelSpec, y: Tensor, episode: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """Log density of all responses together (joint regime, time)."""
    priors = spec.priors
    nu: Any = np.inf
    if spec.family == "student_t":
        nu = pm.Gamma(nm.TAIL, alpha=priors.tail_shape, beta=priors.tail_rate) + 2.0
    if len(spec.responses) > 1:
        among = residual_correlation(nm.CORRELATION, len(spec.responses), priors.correlation_eta)
        pm.Deterministic(nm.CORRELATION, among, dims=(nm.RESPONSE, nm.OTHER_RESPONSE))
        return joint_logpdf(y, location, log_scale, episode, among, nu)
    return student_t_logpdf(y[0], location[0], log_scale[:, 0], episode, nu)


def _effects(spec: ModelSpec) -> Tensor:
    """Cumulative lagged effects (episode, lagged signal, response, joint regime)."""
    priors, whose = spec.priors, _whose(spec)
    signals, responses, episodes = np.eye(len(spec.lagged_signals)), np.eye(len(spec.responses)), np.eye(_episodes())
    effect = pm.Normal(nm.EFFECT, 0.0, priors.effect_sd, dims=nm.LAGGED_SIGNAL)
    everywhere = {"e": _ones(episodes), "a": _ones(responses), "k": np.ones(whose.shape[-1])}
    terms = [(effect, np.einsum("ps,e,a,k->pesak", signals, *everywhere.values()))]
    varying = []
    if spec.regimes.count > 1:
        own = np.moveaxis(whose, 1, 0)
        varying.append((nm.EFFECT_REGIME, priors.effect_regime_sd, nm.REGIME, "ak", own))
    if "effect" in spec.episodes.vary and len(episodes) > 1:
        varying.append((nm.EFFECT_EPISODE, priors.effect_episode_sd, nm.EPISODE, "e", episodes))
    if "effect" in spec.responses_vary and len(responses) > 1:
        varying.append((nm.EFFECT_RESPONSE, priors.effect_response_sd, nm.RESPONSE, "a", responses))
    for name, sd, dim, axes, own in varying:
        others = {letter: ones for letter, ones in everywhere.items() if letter not in axes}
        enters = np.einsum(f"ps,q{axes},{','.join(others)}->pqesak", signals, own, *others.values())
        terms.append((_pooled(name, sd, dim), enters))
    return _sum_of(terms)


def _episodes() -> int:
    """How many episodes the model being built has."""
    return len(pm.modelcontext(None).coords[nm.EPISODE])


def _pooled(name: str, sd: float, dim: str) -> Tensor:
    """Deviations (lagged_signal, dim) that sum to zero over dim, with one scale; non-centred, as data are weak."""
    scale = pm.HalfNormal(f"{name}_sd", sd, dims=nm.LAGGED_SIGNAL)
    raw = _zero_sum(f"{name}_raw", 1.0, (nm.LAGGED_SIGNAL, dim))
    return pm.Deterministic(name, scale[:, None] * raw, dims=(nm.LAGGED_SIGNAL, dim))


class _ZeroSumMatrix(ZeroSumTransform):
    """PyMC's transform over the last axis as one product with a constant matrix, which compiles in half the time."""

    def __init__(self, size: int) -> None:
        super().__init__([-1])
        root = np.sqrt(size)
        self.matrix = np.vstack([np.eye(size - 1) - 1 / (root + size), np.full((1, size - 1), -1 / root)])

    def backward(self, value: Tensor, *rv_inputs: Tensor) -> Tensor:  # noqa: ARG002
        """Free values (..., n - 1) to values (..., n) that sum to zero."""
        return linear_map(self.matrix.T, value)

    def forward(self, value: Tensor, *rv_inputs: Tensor) -> Tensor:  # noqa: ARG002
        """Undo :meth:`backward`."""
        return linear_map(self.matrix, value)


def _zero_sum(name: str, sd: float, dims: tuple[str, ...]) -> Tensor:
    """Normal deviations that sum to zero over the last of their dimensions."""
    size = len(pm.modelcontext(None).coords[dims[-1]])
    return pm.ZeroSumNormal(name, sigma=sd, dims=dims, default_transform=_ZeroSumMatrix(size))


def _from_prior(name: str, prior: Prior) -> Tensor:
    distribution = getattr(pm, prior.distribution)
    return distribution(name, **prior.arguments, dims=nm.LAG if prior.over_lags else None)


def _log_scale(spec: ModelSpec) -> Tensor:
    """Log scale (episode, response, joint regime): gaps between neighbours are positive, so regimes are ordered."""
    priors, responses, episodes = spec.priors, np.eye(len(spec.responses)), np.eye(_episodes())
    count, everywhere = spec.regimes.count, np.ones(len(spec.joint_regimes))
    base = pm.Normal(nm.LOG_SCALE, np.log(priors.scale_median), priors.scale_log_sd, dims=nm.RESPONSE)
    terms = [(base, np.einsum("pa,e,k->peak", responses, _ones(episodes), everywhere))]
    if count > 1:
        dims = (*_own(spec), nm.GAP)
        gap = pm.LogNormal(nm.LOG_SCALE_GAP, np.log(priors.scale_gap), priors.scale_gap_log_sd, dims=dims)
        # Row k of the matrix says how much of each gap lies below regime k, centred over regimes.
        steps = np.tril(np.ones((count, count - 1)), -1)
        steps -= steps.mean(axis=0)
        entering = np.einsum("kap,e->peak", steps[spec.joint_regimes], _ones(episodes))
        terms.append((gap, np.einsum("ra,peak->rpeak", responses, entering) if spec.own_regimes else entering))
    if "scale" in spec.episodes.vary and len(episodes) > 1:
        by_episode = _zero_sum(nm.LOG_SCALE_EPISODE, priors.scale_episode_sd, (nm.RESPONSE, nm.EPISODE))
        terms.append((by_episode, np.einsum("pa,qe,k->pqeak", responses, episodes, everywhere)))
    return _sum_of(terms)


def _summed_out(spec: ModelSpec, log_obs: Tensor, data: Mapping[str, Tensor]) -> Tensor:
    """Log-likelihood with regimes and point lags summed out, from log densities (combination * joint regime, time)."""
    count = len(spec.joint_regimes)
    if count == 1:
        logits, log_initial = pt.zeros((1, 1)), pt.zeros(1)
    else:
        logits = _transition_logits(spec, data)
        log_initial = _log_initial(spec, logits)
    if spec.point_signals:
        _, log_mass = combinations(spec.point_kernels, count, spec.max_lag)
        by_lag = log_obs.reshape((count, -1, spec.lag_combinations))
        return lag_marginal_loglik(by_lag, logits, log_initial, log_mass)
    return log_obs.sum() if count == 1 else markov_loglik(log_obs.T, logits, log_initial)


def _transition_logits(spec: ModelSpec, data: Mapping[str, Tensor]) -> Tensor:
    """Logits (time - 1, origin, destination) of joint regimes, or (origin, destination) without drivers."""
    priors, joint = spec.priors, len(spec.joint_regimes)
    regimes, rows = np.eye(spec.regimes.count), np.eye(len(spec.drivers) + 1)
    terms = [(values, np.multiply.outer(enters, rows[0])) for values, enters in _base_terms(spec)]
    terms = [(values, np.moveaxis(enters, -1, -3)) for values, enters in terms]
    if spec.drivers:
        slope = _zero_sum(nm.DRIVER_EFFECT, priors.driver_sd, (*_own(spec), nm.DRIVER, nm.DESTINATION))
        terms.append((slope, np.einsum("pd,qj,i->pqdij", rows[1:], regimes, _ones(regimes))))
    if spec.drivers and priors.origin_sd > 0:
        dims = (*_own(spec), nm.DRIVER, nm.ORIGIN, nm.DESTINATION)
        scale = pm.HalfNormal(f"{nm.DRIVER_ORIGIN}_sd", priors.origin_sd, dims=dims[:-2])
        raw = pm.ZeroSumNormal(f"{nm.DRIVER_ORIGIN}_raw", sigma=1.0, n_zerosum_axes=2, dims=dims)
        by_origin = pm.Deterministic(nm.DRIVER_ORIGIN, scale[..., None, None] * raw, dims=dims)
        terms.append((by_origin, np.einsum("pd,qi,rj->pqrdij", rows[1:], regimes, regimes)))
    coefficients = _sum_of([(values, _between_joint(spec, enters)) for values, enters in terms])
    if not spec.drivers:
        return coefficients[0]
    moving = linear_predictor(data[nm.DRIVER_VALUE], coefficients.reshape((1, len(rows), joint**2)))
    return pt.moveaxis(moving.reshape((joint, joint, -1)), -1, 0)


def _between_joint(spec: ModelSpec, enters: np.ndarray) -> np.ndarray:
    """What enters a chain's logits (*parameter, driver, origin, destination), as entering those of joint regimes.

    The chains are independent, so a joint step has the product of their probabilities, and their logits add up:
    (response, *parameter, driver, joint origin, joint destination). One chain for all stays as it is.
    """
    if not spec.own_regimes:
        return enters
    return np.stack([enters[..., at[:, None], at[None, :]] for at in spec.joint_regimes.T])


def _base_terms(spec: ModelSpec) -> list[tuple[Tensor, np.ndarray]]:
    """Terms of a chain's logits (origin, destination) with the drivers at their mean.

    The diagonal is the log odds of staying, which is the log of the expected duration minus one period. The rest of a
    row is normalised, so that the odds hold whatever the preference among the other regimes.
    """
    count, priors = spec.regimes.count, spec.priors
    regimes = np.eye(count)
    durations = np.broadcast_to(np.asarray(priors.expected_duration), count)
    dims = (*_own(spec), nm.REGIME)
    stay = pm.Normal(nm.STAY, np.log(durations - 1), priors.expected_duration_log_sd, dims=dims)
    terms = [(stay, np.einsum("pi,pj->pij", regimes, regimes))]
    if count > 2:  # noqa: PLR2004
        leave = _zero_sum(nm.LEAVE, priors.leave_sd, (*dims, nm.ONWARD))
        share = leave - pt.log(pt.exp(leave).sum(axis=-1, keepdims=True))
        onward = np.stack([onward_mask(count, n) for n in range(count - 1)])
        terms.append((share, np.einsum("pi,qij->pqij", regimes, onward)))
    return terms


def onward_mask(count: int, n: int) -> np.ndarray:
    """Matrix (origin, destination) that marks the n-th regime other than the origin."""
    mask = np.zeros((count, count))
    for origin in range(count):
        mask[origin, [j for j in range(count) if j != origin][n]] = 1.0
    return mask


def _log_initial(spec: ModelSpec, logits: Tensor) -> Tensor:
    """Log law of the first joint regime (joint regime)."""
    count = len(spec.joint_regimes)
    if spec.regimes.initial == "uniform":
        return pt.as_tensor(np.full(count, -np.log(count)))
    if spec.regimes.initial == "dirichlet":
        first = pt.log(pm.Dirichlet(nm.INITIAL, a=np.ones(spec.regimes.count), dims=(*_own(spec), nm.REGIME)))
        return _sum_of([(first, _whose(spec))]) if spec.own_regimes else first
    first = logits[0] if spec.drivers else logits
    transition = pt.special.softmax(first, axis=-1)
    # pi (I - P + 1) = 1, with 1 the matrix of ones, has the stationary law as its only solution.
    system = np.eye(count) - transition + 1.0
    return pt.log(pt.linalg.solve(system.T, np.ones(count)))


@alone
def draw_prior(spec: ModelSpec, model: pm.Model, draws: int, *, random_seed: int | None = None) -> xr.Dataset:
    """Draw from the prior of all free and deterministic variables of a model, and of its point lags.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    model : pymc.Model
        From `build_model`.
    draws : int
        How many.
    random_seed : int, optional
        Seed.

    Returns
    -------
    xarray.Dataset
        With dimensions chain (one), draw and the model's own.
    """
    # All constraints hold by construction, so plain forward draws are draws from the prior. Python mode: compiling
    # would cost more than it saves.
    variables = [*model.free_RVs, *model.deterministics]
    values = pm.draw(variables, draws=draws, random_seed=random_seed, mode="FAST_COMPILE")
    # pm.draw gives a single draw no axis of its own.
    drawn = values if draws > 1 else [np.expand_dims(value, 0) for value in values]
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
    """Values (chain, draw, *variable) of a model's variables under the model's names of dimensions and coordinates."""
    data: dict[str, Any] = {}
    used: dict[str, Any] = {}
    for name, found in values.items():
        used = {nm.CHAIN: np.arange(found.shape[0]), nm.DRAW: np.arange(found.shape[1])} | used
        named = model.named_vars_to_dims.get(name) or (None,) * (found.ndim - 2)
        dims = [dim or f"{name}_dim_{n}" for n, dim in enumerate(named)]
        data[name] = ((nm.CHAIN, nm.DRAW, *dims), found)
        used |= {dim: list(model.coords[dim]) for dim in dims if model.coords.get(dim) is not None}
    return xr.Dataset(data, coords=used)
