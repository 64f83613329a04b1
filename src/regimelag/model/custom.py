"""A hidden Markov model as an observed variable in a PyMC model of your own."""

# PyTensor prescribes the names and arguments of an Op's methods.

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.distribution import Distribution, _support_point
from pymc.logprob.abstract import _logprob
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.random.op import RandomVariable

from regimelag.errors import FitError
from regimelag.likelihood.checks import as_float
from regimelag.likelihood.hmm_draws import sample_paths_draws
from regimelag.likelihood.hmm_loglik import markov_loglik

Tensor = Any


class HiddenMarkovRV(RandomVariable):
    """Responses (time) of a hidden Markov model, from the parameters of the emission of each regime.

    Parameters
    ----------
    emission : RandomVariable
        Distribution of a response given its regime; scalar.
    """

    name = "hidden_markov"
    _print_name = ("HiddenMarkov", r"\operatorname{HiddenMarkov}")
    __props__ = ("emission", "dtype", "inplace")

    def __init__(self, emission: RandomVariable, dtype: str | None = None, inplace: bool = False) -> None:
        self.emission = emission
        own = ",".join("(t,k)" for _ in emission.ndims_params)
        super().__init__(signature=f"{own},(s,k,k),(k)->(t)", dtype=dtype or emission.dtype, inplace=inplace)

    def __str__(self) -> str:
        return f"{self.name}{{{self.emission}}}"

    def rng_fn(self, rng: np.random.Generator, *values: Any) -> np.ndarray:
        """Draw responses (..., time), each with a regime path of its own."""
        *held, size = values
        cores = self.ndims_params
        batch = np.broadcast_shapes(*(np.shape(one)[: np.ndim(one) - n] for one, n in zip(held, cores, strict=True)))
        batch = batch if size is None else tuple(size)
        *own, logits, initial = (
            np.broadcast_to(one, (*batch, *np.shape(one)[np.ndim(one) - n :])).reshape(
                (-1, *np.shape(one)[np.ndim(one) - n :])
            )
            for one, n in zip(held, cores, strict=True)
        )
        shape = np.broadcast_shapes(*(one.shape[1:] for one in own))
        nothing = np.zeros((len(logits), *shape))
        logits, initial = (np.ascontiguousarray(one, dtype=float) for one in (logits, initial))
        path = sample_paths_draws(nothing, logits, initial, rng.random(nothing.shape[:2]))
        each = np.asarray(self.emission.rng_fn(rng, *own, (len(logits), *shape)))
        drawn = np.take_along_axis(each, path[..., None], axis=-1)[..., 0]
        return drawn.reshape((*batch, shape[0]))


class HiddenMarkov(Distribution):
    """The distribution of `hidden_markov`."""

    rv_type = HiddenMarkovRV

    @classmethod
    def dist(cls, op: HiddenMarkovRV, parameters: list[Tensor], **kwargs: Any) -> Tensor:  # noqa: ARG003 the shape follows
        """Variable with these parameters."""
        return op(*parameters, rng=pt.random.shared_rng(seed=None), return_next_rng=True)[1]


@_logprob.register(HiddenMarkovRV)
def _logp(op: HiddenMarkovRV, values: Any, rng: Any, size: Any, *parameters: Tensor, **kwargs: Any) -> Tensor:  # noqa: ARG001
    *own, logits, initial = parameters
    _, emission = op.emission(*own, rng=pt.random.shared_rng(seed=None), return_next_rng=True)
    return markov_loglik(pm.logp(emission, values[0][..., None]), logits, initial)


@_support_point.register(HiddenMarkovRV)
def _zeros(op: HiddenMarkovRV, rv: Tensor, *inputs: Any) -> Tensor:  # noqa: ARG001
    return pt.zeros_like(rv)


def hidden_markov(
    name: str,
    emission: TensorVariable,
    transition_logits: TensorLike,
    log_init: TensorLike | None = None,
    *,
    observed: Any = None,
    dims: Any = None,
    length: int | None = None,
) -> TensorVariable:
    """Add a variable with the distribution of a hidden Markov model to the PyMC model on the context stack.

    Its log density is exact, with the regimes marginalised, and its draws have a regime path of their own, so that
    `pymc.sample`, `pymc.sample_prior_predictive` and `pymc.sample_posterior_predictive` work.

    Parameters
    ----------
    name : str
        Name of the variable.
    emission : TensorVariable
        Distribution of the response in each regime: ``pymc.Normal.dist(mu, sigma)`` with parameters (regime) or (time,
        regime). It is scalar and one of PyMC's own distributions.
    transition_logits : tensor (time - 1, origin, destination) or (origin, destination)
        As in `regimelag.markov_loglik`: row ``t`` is the step from ``t`` to ``t + 1``; the softmax is computed here.
    log_init : tensor (regime), optional
        Log weights of the regimes at the first time. Uniform by default.
    observed : array (time), optional
        The responses, without missing values.
    dims : str, optional
        Name of the dimension time.
    length : int, optional
        Number of times; that of ``observed``, if given, or of moving transitions.

    Returns
    -------
    TensorVariable
        The random variable (time).

    Raises
    ------
    FitError
        If the emission is not a scalar distribution by regime, or the number of times is unknown.

    See Also
    --------
    regimelag.markov_loglik : The log density alone, for batches, masks and missing values.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> from regimelag.model import hidden_markov
    >>> with pm.Model() as model:
    ...     rate = pm.Gamma("rate", 2, 1, shape=2)
    ...     stay = pm.Normal("stay", 2, 1, shape=2)
    ...     y = hidden_markov("y", pm.Poisson.dist(rate), stay[:, None] * np.eye(2), observed=[0, 1, 5, 7, 1])
    >>> [variable.name for variable in model.observed_RVs]
    ['y']
    """
    asked = "hidden_markov"
    node = getattr(emission, "owner", None)
    op = getattr(node, "op", None)
    if not isinstance(op, RandomVariable) or op.ndim_supp or emission.type.ndim < 1:
        raise FitError(
            asked,
            "emission is a distribution by regime, such as pymc.Normal.dist(mu, sigma) with mu (regime)",
            f"{emission!r}",
            "pass a scalar distribution of PyMC with regime as its last axis; for others use regimelag.markov_loglik",
        )
    logits = as_float(transition_logits)
    logits = logits[None] if logits.type.ndim == 2 else logits  # noqa: PLR2004
    count = next((n for n in (emission.type.shape[-1], *logits.type.shape[-2:]) if n is not None), None)
    if log_init is None:
        if count is None:
            cure = "give log_init, as in log_init=numpy.zeros(2) for two regimes"
            raise FitError(asked, "the number of regimes is known", "arrays of unknown shape", cure)
        log_init = np.full(count, -np.log(count))
    steps = logits.type.shape[0]
    times = len(observed) if observed is not None else length
    times = steps + 1 if times is None and steps not in (None, 1) else times
    if times is None and emission.type.ndim > 1:
        times = emission.type.shape[-2]
    if times is None:
        raise FitError(asked, "the number of times is known", "neither observed nor length", "write length=100")
    shape = (times, emission.shape[-1])
    parameters = [pt.broadcast_to(one, shape) for one in op.dist_params(node)]
    return HiddenMarkov(
        name, HiddenMarkovRV(op), [*parameters, logits, as_float(log_init)], observed=observed, dims=dims
    )
