"""Log prior density of posterior draws."""

from __future__ import annotations

import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.shape import Shape

from regimelag.model.build import AS_IS, EVALUATED_ONCE
from regimelag.model.evaluate import stack_draws, unstack_draws


@EVALUATED_ONCE
def log_prior(model: pm.Model, posterior: xr.Dataset) -> xr.Dataset:
    """Log prior density of each free variable, summed over its entries (chain, draw).

    `pm.compute_log_prior` loops over draws; here one call evaluates all of them.
    """
    free = model.free_RVs
    values = [rv.type(name=rv.name) for rv in free]
    batched = [pt.tensor(dtype=value.type.dtype, shape=(None, *value.type.shape)) for value in values]
    densities = [pm.logp(rv, value) for rv, value in zip(free, values, strict=True)]
    # Without an axis of draws, since a slice of each draw's shape would be a loop in Python.
    shapes = {
        one: pt.constant(one.owner.inputs[0].type.shape)
        for one in ancestors(densities)
        if one.owner and isinstance(one.owner.op, Shape) and None not in one.owner.inputs[0].type.shape
    }
    replace = shapes | dict(zip([*values, *free], 2 * batched, strict=True))
    many = vectorize_graph(densities, replace=replace)
    totals = [density.reshape((density.shape[0], -1)).sum(axis=1) for density in many]
    evaluate = pytensor.function(batched, totals, mode=AS_IS)
    draws = stack_draws(posterior)
    found = evaluate(*(draws[value.name].astype(value.type.dtype) for value in values))
    return xr.Dataset({rv.name: unstack_draws(total, posterior) for rv, total in zip(free, found, strict=True)})
