"""How numba runs the Ops of :mod:`.joint_nodes`; see :mod:`.dispatch`."""

# PyTensor fixes the arguments of a dispatch.
# ruff: noqa: ARG001

from __future__ import annotations

import sys

import numpy as np
from numba import types
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from regimelag.likelihood import joint_density, opaque
from regimelag.likelihood.dispatch import CUBE, EPISODES, MATRIX
from regimelag.likelihood.joint_nodes import JointLogpdf, JointLogpdfAdjoint

CACHE_VERSION = opaque.version_of(sys.modules[__name__], joint_density)
JOINT = (MATRIX, CUBE, CUBE, EPISODES, MATRIX)


@register_funcify_default_op_cache_key(JointLogpdf)
def _numba_joint_logpdf(op, node, **kwargs):
    check = opaque.by_name(joint_density.check_joint, JOINT, CACHE_VERSION)
    fill = opaque.by_name(joint_density.fill_joint, (*JOINT, types.float64, MATRIX), CACHE_VERSION)

    @numba_njit
    def joint_logpdf(y, location, log_scale, episode, correlation, nu):
        y, location = np.ascontiguousarray(y), np.ascontiguousarray(location)
        log_scale, episode = np.ascontiguousarray(log_scale), np.ascontiguousarray(episode)
        correlation = np.ascontiguousarray(correlation)
        check((y, location, log_scale, episode, correlation))
        log_obs = np.empty((location.shape[1], location.shape[2]))
        fill((y, location, log_scale, episode, correlation, nu.item(), log_obs))
        return log_obs

    return joint_logpdf, CACHE_VERSION


@register_funcify_default_op_cache_key(JointLogpdfAdjoint)
def _numba_joint_logpdf_adjoint(op, node, **kwargs):
    arguments = (*JOINT, types.float64, MATRIX, MATRIX, CUBE, CUBE, MATRIX)
    fill = opaque.by_name(joint_density.fill_joint_adjoint, arguments, CACHE_VERSION)

    @numba_njit
    def joint_logpdf_adjoint(y, location, log_scale, episode, correlation, nu, log_obs, cotangent):
        d_location, d_log_scale = np.empty(location.shape), np.empty(log_scale.shape)
        d_correlation = np.empty(correlation.shape)
        d_nu = fill(
            (
                np.ascontiguousarray(y),
                np.ascontiguousarray(location),
                np.ascontiguousarray(log_scale),
                np.ascontiguousarray(episode),
                np.ascontiguousarray(correlation),
                nu.item(),
                np.ascontiguousarray(log_obs),
                np.ascontiguousarray(cotangent),
                d_location,
                d_log_scale,
                d_correlation,
            )
        )
        return d_location, d_log_scale, d_correlation, np.asarray(d_nu)

    return joint_logpdf_adjoint, CACHE_VERSION
