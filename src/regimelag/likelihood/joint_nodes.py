"""The Ops behind :func:`regimelag.likelihood.op.joint_logpdf`; see :mod:`.nodes`.

The arithmetic is in :mod:`.joint_density`; :mod:`.joint_dispatch` tells numba of it.
"""

# PyTensor fixes the names and arguments of the methods of an Op.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph import Apply
from pytensor.tensor.blockwise import Blockwise

from regimelag.likelihood import joint_density
from regimelag.likelihood.nodes import _Logpdf, _LogpdfAdjoint, _store


class JointLogpdf(_Logpdf):
    """Joint log density; see :func:`regimelag.likelihood.op.joint_logpdf`."""

    gufunc_signature = "(a,t),(a,k,t),(e,a,k),(t),(a,a),()->(k,t)"

    def make_node(self, y, location, *rest):
        out = pt.tensor(dtype="float64", shape=location.type.shape[1:])
        return Apply(self, [y, location, *rest], [out])

    def infer_shape(self, node, input_shapes):
        return [input_shapes[1][1:]]

    def perform(self, node, inputs, output_storage):
        *arrays, nu = inputs
        _store(output_storage, [joint_density.joint_logpdf(*arrays, float(nu))])

    def pullback(self, inputs, outputs, cotangents):
        d_location, d_log_scale, *rest = Blockwise(JointLogpdfAdjoint())(*inputs, outputs[0], cotangents[0])
        return [-d_location.sum(axis=-2), d_location, d_log_scale, disconnected_type(), *rest]


class JointLogpdfAdjoint(_LogpdfAdjoint):
    """Adjoint of :class:`JointLogpdf`, which also takes its output, to save a logarithm."""

    n_parameters = 2
    gufunc_signature = "(a,t),(a,k,t),(e,a,k),(t),(a,a),(),(k,t),(k,t)->(a,k,t),(e,a,k),(a,a),()"

    def perform(self, node, inputs, output_storage):
        y, location, log_scale, episode, correlation, nu, log_obs, cotangent = inputs
        results = joint_density.joint_logpdf_adjoint(
            y, location, log_scale, episode, correlation, float(nu), log_obs, cotangent
        )
        _store(output_storage, results)
