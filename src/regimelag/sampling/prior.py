"""Prior and prior predictive draws of a model, before any fit."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.model.at_draws import AtDraws
from regimelag.model.build import build_model, draw_prior
from regimelag.panel.checks import constants_hash
from regimelag.panel.make import check_panel
from regimelag.runtime.plain import drawn_seed, whole
from regimelag.runtime.process import one_thread_at_a_time
from regimelag.sampling.inference_data import REPLICATED, provenance, replicated
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec


@one_thread_at_a_time
def prior_predictive(
    spec: ModelSpec, panel: xr.Dataset, *, draws: int = 1000, random_seed: int | None = None
) -> xr.DataTree:
    """Draw parameters and responses from the prior.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data, from `make_panel`; the responses only enter the group observed_data.
    draws : int
        Number of draws.
    random_seed : int, optional
        Seed. By default one is drawn; it is recorded in ``attrs["random_seed"]`` either way.

    Returns
    -------
    xarray.DataTree
        Groups prior, prior_predictive (standardised responses over the window), observed_data and constant_data, as in
        a fit. Readings that take ``group="prior"``, such as `regimelag.effects` and `regimelag.lag_distribution`, take
        the tree; `regimelag.plots.plot_prior` draws both. The parameters are independent draws from the prior, not
        those of a sampler.

    Raises
    ------
    FitError
        If an argument is out of range.
    PanelError
        If the panel does not fit the spec.

    Examples
    --------
    >>> before = prior_predictive(spec, panel, random_seed=1)  # doctest: +SKIP
    >>> rl.plots.plot_prior(  # doctest: +SKIP
    ...     rl.effects(before, group="prior"), rl.lag_distribution(before, group="prior")
    ... )
    """
    check_panel(spec, panel)
    whole(FitError, "prior_predictive", "draws", draws, "write draws=1000")
    seed = drawn_seed(FitError, "prior_predictive", random_seed)
    rng = np.random.default_rng(seed)
    prior = draw_prior(spec, build_model(spec, panel), draws, random_seed=int(rng.integers(2**31)))
    drawn = replicated(AtDraws(spec, panel, prior), rng).assign_attrs(REPLICATED)
    groups = {
        "prior": prior.assign_attrs({nm.CONSTANTS_HASH: constants_hash(panel)}),
        "prior_predictive": drawn.to_dataset(name=nm.RESPONSE_VALUE),
        "observed_data": panel[[nm.RESPONSE_VALUE]],
        "constant_data": panel.drop_vars(nm.RESPONSE_VALUE),
    }
    for name in ("observed_data", "constant_data"):
        groups[name] = groups[name].drop_attrs(deep=False)
    tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})
    tree.attrs = provenance(spec, panel) | {"random_seed": seed}
    return tree
