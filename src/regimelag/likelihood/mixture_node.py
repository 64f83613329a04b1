"""The Op of an uncertain point lag, summed out; see :func:`regimelag.likelihood.op.lag_mixture_loglik`.

The arithmetic is in :mod:`.mixture`. Time is the last axis. As with the chain, one pass gives value and gradient, so
the Op emits both and its pullback multiplies.
"""

# PyTensor fixes the names and arguments of the methods of an Op.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph import Apply, Op

from regimelag.likelihood import mixture


class LagMixtureLoglik(Op):
    """Value and gradient: (log_obs, logits, log_init, log_prior, block) -> (loglik, gradients of the first four)."""

    __props__ = ("regimes",)
    gufunc_signature = "(c,k,t),(k,k,s),(k),(c),(t)->(),(c,k,t),(k,k,s),(k),(c)"

    def __init__(self, regimes: int) -> None:
        self.regimes = regimes

    def make_node(self, log_obs, transition_logits, log_init, log_prior, block):
        floats = [log_obs, transition_logits, log_init, log_prior]
        return Apply(self, [*floats, block], [pt.dscalar(), *(variable.type() for variable in floats)])

    def perform(self, node, inputs, output_storage):
        results = mixture.lag_loglik_and_adjoint(*inputs)
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = np.asarray(result)

    def infer_shape(self, node, input_shapes):
        return [(), *input_shapes[:4]]

    def connection_pattern(self, node):
        return [[True] * 5] * 4 + [[False] * 5]

    def pullback(self, inputs, outputs, cotangents):
        of_value, *of_gradient = cotangents
        if not all(isinstance(cotangent.type, DisconnectedType) for cotangent in of_gradient):
            raise NotImplementedError("lag_mixture_loglik has first derivatives only: use a method without a Hessian")
        return [*(of_value * gradient for gradient in outputs[1:]), disconnected_type()]
