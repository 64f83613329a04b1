"""The responses of a regime-switching regression as a random variable of PyMC.

The log density is exact: regimes and point lags are marginalised. Draws have a regime path of their own; where the mask
``response_known`` is set they are conditional on the responses.
"""

# PyTensor prescribes the names and arguments of an Op's methods.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.distributions.distribution import Distribution, _support_point
from pymc.logprob.abstract import _logprob
from pytensor.tensor.random.op import RandomVariable

from regimelag.likelihood.density import student_t_logpdf
from regimelag.likelihood.garch import garch_logpdf
from regimelag.likelihood.hmm_draws import sample_paths_draws
from regimelag.likelihood.hmm_loglik import markov_loglik
from regimelag.likelihood.joint_density import joint_logpdf
from regimelag.likelihood.lag_draws import filter_lags_draws, sample_lags
from regimelag.likelihood.lag_marginalization import lag_marginal_loglik
from regimelag.model.draw import draw_responses
from regimelag.model.evaluate import Feedback, Quantities, log_observation
from regimelag.model.own_past import iterate_own_past
from regimelag.spec import names as nm
from regimelag.spec.families import Elliptical
from regimelag.spec.kernels import combinations
from regimelag.spec.model_spec import ModelSpec

Tensor = Any

ALPHA, BETA = "alpha", "beta"
# Parameters of every model, with their core dimensions: response (a), joint regime (k), episode (e), time (t), step (s)
# and time * combination of point lags (m).
CORE = {
    nm.LOCATION: "a,k,m",
    nm.LOG_RESIDUAL_SCALE: "e,a,k",
    nm.EPISODE_INDEX: "t",
    nm.OBSERVED_RESPONSE: "t,a",
    nm.RESPONSE_MISSING: "t,a",
    nm.RESPONSE_KNOWN: "t,a",
    nm.TRANSITION_LOGITS: "s,k,k",
    nm.LOG_INITIAL: "k",
}
# Parameters of some models: own lag (p), response * own lag (o).
OTHER = {
    nm.CORRELATION: "a,a",
    nm.AUTOREGRESSION: "a,p",
    nm.OWN_PAST: "o,t",
    nm.RESPONSE_HISTORY: "p,a",
}


class ResponsesRV(RandomVariable):
    """Responses (time, response) of a spec.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    parameters : tuple of str
        Names of the parameters; those without an entry in `CORE` or `OTHER` are scalars.
    """

    name = "regime_switching"
    dtype = "float64"
    _print_name = ("RegimeSwitching", r"\operatorname{RegimeSwitching}")
    __props__ = ("spec", "parameters", "dtype", "inplace")

    def __init__(
        self, spec: ModelSpec, parameters: tuple[str, ...], dtype: str = "float64", inplace: bool = False
    ) -> None:
        self.spec, self.parameters = spec, parameters
        cores = ",".join(f"({(CORE | OTHER).get(name, '')})" for name in parameters)
        super().__init__(signature=f"{cores}->(t,a)", dtype=dtype, inplace=inplace)

    def __str__(self) -> str:
        return f"{self.name}{{{self.spec.name}}}"

    def named(self, values: Any) -> dict[str, Any]:
        """Parameters by name."""
        return dict(zip(self.parameters, values, strict=True))

    def rng_fn(self, rng: np.random.Generator, *values: Any) -> np.ndarray:
        """Draw responses (..., time, response)."""
        *held, size = values
        lead = [np.shape(value)[: np.ndim(value) - n] for value, n in zip(held, self.ndims_params, strict=True)]
        batch = np.broadcast_shapes(*lead) if size is None else tuple(size)
        flat = [
            np.broadcast_to(value, (*batch, *np.shape(value)[len(own) :])).reshape((-1, *np.shape(value)[len(own) :]))
            for value, own in zip(held, lead, strict=True)
        ]
        drawn = [draw_given(self.spec, self.named(each), rng) for each in zip(*flat, strict=True)]
        return np.reshape(drawn, (*batch, *np.shape(drawn)[1:]))


class Responses(Distribution):
    """The distribution of the responses; `observe_responses` makes its variable."""

    rv_type = ResponsesRV

    @classmethod
    def dist(cls, op: ResponsesRV, parameters: list[Tensor], **kwargs: Any) -> Tensor:  # noqa: ARG003 the shape follows
        """Variable with these parameters."""
        return op(*parameters, rng=pt.random.shared_rng(seed=None), return_next_rng=True)[1]


@_logprob.register(ResponsesRV)
def _logp(op: ResponsesRV, values: Any, rng: Any, size: Any, *parameters: Tensor, **kwargs: Any) -> Tensor:  # noqa: ARG001
    return log_likelihood(op.spec, op.named(parameters), values[0])


@_support_point.register(ResponsesRV)
def _zeros(op: ResponsesRV, rv: Tensor, *inputs: Any) -> Tensor:  # noqa: ARG001
    return pt.zeros_like(rv)


def observe_responses(spec: ModelSpec, parameters: Mapping[str, Tensor]) -> Tensor:
    """Add the observed responses to the model on the context stack."""
    op = ResponsesRV(spec, tuple(parameters))
    observed = parameters[nm.OBSERVED_RESPONSE]
    return Responses(nm.RESPONSE_VALUE, op, list(parameters.values()), observed=observed, dims=(nm.TIME, nm.RESPONSE))


def log_likelihood(spec: ModelSpec, parameters: Mapping[str, Tensor], value: Tensor) -> Tensor:
    """Log density of standardised responses (time, response) in nats, marginal over regimes and point lags."""
    count = len(spec.joint_regimes)
    log_obs = log_observation_of(spec, parameters, value)
    logits, log_initial = parameters[nm.TRANSITION_LOGITS], parameters[nm.LOG_INITIAL]
    if spec.point_signals:
        _, log_mass = combinations(spec.point_kernels, count, spec.max_lag)
        by_lag = log_obs.reshape((count, -1, spec.lag_combinations))
        return lag_marginal_loglik(by_lag, logits, log_initial, log_mass)
    return log_obs.sum() if count == 1 else markov_loglik(log_obs.T, logits, log_initial)


def log_observation_of(spec: ModelSpec, parameters: Mapping[str, Tensor], value: Tensor) -> Tensor:
    """Joint log density of all responses (joint regime, time * combination); zero where all are missing."""
    y, episode = pt.where(parameters[nm.RESPONSE_MISSING], np.nan, value).T, parameters[nm.EPISODE_INDEX]
    location, log_scale = parameters[nm.LOCATION], parameters[nm.LOG_RESIDUAL_SCALE]
    if spec.point_signals:
        y, episode = _repeated(y, spec.lag_combinations), _repeated(episode, spec.lag_combinations)
    family, shape = spec.family, {term.name: parameters[term.name] for term in spec.family.terms()}
    if not isinstance(family, Elliptical):
        scale = log_scale[:, 0][episode].T
        z = (y[0] - location[0]) / pt.exp(scale)
        # A missing response has density one; its residual is replaced to keep the gradient of the other branch finite.
        missing = pt.isnan(z)
        return pt.where(missing, 0.0, family.log_density(pt.where(missing, 0.0, z), shape, pt) - scale)
    nu = family.degrees_of_freedom(shape)
    if spec.volatility.moves:
        alpha, beta = parameters[ALPHA], parameters[BETA]
        return garch_logpdf(y[0], location[0, 0], log_scale[:, 0, 0], episode, alpha, beta, nu)[None]
    if len(spec.responses) == 1:
        return student_t_logpdf(y[0], location[0], log_scale[:, 0], episode, nu)
    return joint_logpdf(y, location, log_scale, episode, parameters[nm.CORRELATION], nu)


def _repeated(values: Tensor, count: int) -> Tensor:
    """Values (..., time) repeated for each combination of lags: (..., time * combination)."""
    shape = (*tuple(values.shape), count)
    return pt.broadcast_to(values[..., None], shape).reshape((*values.type.shape[:-1], -1))


def draw_given(spec: ModelSpec, parameters: Mapping[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Draw responses (time, response) given those that are known, with a new regime path and new point lags.

    A known response is returned as it is. Rows before the last known one that have no density, since the response or an
    own lag is missing, do not affect the conditional variance, as in the likelihood.
    """
    observed, known = parameters[nm.OBSERVED_RESPONSE], parameters[nm.RESPONSE_KNOWN]
    given = np.where(known, observed, np.nan)
    used = np.where(parameters[nm.RESPONSE_MISSING], np.nan, given)
    at, log_obs = _quantities(spec, parameters, used, rng)
    uniform = rng.random((1, len(given)))
    path = sample_paths_draws(log_obs, at.logits, at.log_initial, uniform)
    residual = None
    if spec.volatility.moves:
        log_scale = at.log_scale[0, 0, at.episode, 0]
        residual = ((used[:, 0] - at.location[0, 0, :, 0]) / np.exp(log_scale))[None]
    draws = {}
    if spec.autoregression:
        # Own lags are those of the draw; the location has those of the data.
        own = parameters[nm.OWN_PAST].reshape(len(spec.responses), spec.autoregression, -1)
        draws = {nm.AUTOREGRESSION: parameters[nm.AUTOREGRESSION][None]}
        past = np.einsum("ap,apt->at", draws[nm.AUTOREGRESSION][0], own)
        at = at._replace(location=at.location - past[None, :, :, None])
    last = int(np.flatnonzero(known.any(axis=1)).max(initial=-1))
    unseen = np.isnan(used).all(axis=1) & (np.arange(len(given)) <= last)
    y = draw_responses(at, path, rng, missing=unseen, given=residual)
    if spec.autoregression:
        y = iterate_own_past(spec, draws, y, parameters[nm.RESPONSE_HISTORY], known=given)
    return np.where(known, observed, y[0])


def _quantities(
    spec: ModelSpec, parameters: Mapping[str, np.ndarray], used: np.ndarray, rng: np.random.Generator
) -> tuple[Quantities, np.ndarray]:
    """The model at one draw of its parameters and of its point lags, and log densities (1, time, joint regime)."""
    rows, count = len(used), len(spec.joint_regimes)
    # (response, joint regime, time, combination)
    location = parameters[nm.LOCATION].reshape(len(spec.responses), count, rows, -1)
    responses = len(spec.responses)
    feedback = None
    if spec.volatility.moves:
        feedback = Feedback(*(np.array([value]) for value in (parameters[ALPHA], parameters[BETA], 1.0)))
    at = Quantities(
        location=location[..., 0].transpose(0, 2, 1)[None],
        log_scale=parameters[nm.LOG_RESIDUAL_SCALE].transpose(1, 0, 2)[None],
        episode=parameters[nm.EPISODE_INDEX],
        correlation=parameters.get(nm.CORRELATION, np.ones((1, responses)))[None],
        family=spec.family,
        shape={term.name: np.reshape(parameters[term.name], 1) for term in spec.family.terms()},
        logits=np.ascontiguousarray(parameters[nm.TRANSITION_LOGITS][None]),
        log_initial=np.ascontiguousarray(parameters[nm.LOG_INITIAL][None]),
        feedback=feedback,
    )
    nothing = np.isnan(used).all()
    if spec.point_signals:
        _, log_mass = combinations(spec.point_kernels, count, spec.max_lag)
        mass = np.exp(log_mass)[None]
        if not nothing:
            each = [location[..., c].transpose(0, 2, 1)[None] for c in range(spec.lag_combinations)]
            by_lag = np.stack([log_observation(at._replace(location=one), used) for one in each], axis=1)
            mass = filter_lags_draws(by_lag, at.logits, at.log_initial, log_mass)[1]
        chosen = int(sample_lags(mass, rng.random(1))[0])
        at = at._replace(location=location[..., chosen].transpose(0, 2, 1)[None])
    return at, np.zeros((1, rows, count)) if nothing else log_observation(at, used)
