"""Stacking of chains that do not mix: predictive weights, and draws with these weights."""

from __future__ import annotations

import json
from itertools import combinations

import arviz as az
import numpy as np
import xarray as xr
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from regimelag.errors import FitError
from regimelag.evaluation.comparison.elpd_difference import paired_difference
from regimelag.evaluation.comparison.leave_one_out import leave_one_out_terms
from regimelag.evaluation.comparison.psis_loo import free_parameters, loo_score, reliability, stacking_weights
from regimelag.panel.checks import panel_hash
from regimelag.runtime.plain import drawn_seed, is_number, whole
from regimelag.sampling.diagnostics import STACKED, WITHIN_MODE, extreme_entry, parameters_of_runs, store_diagnostics
from regimelag.spec import names as nm

OTHER_CHAIN = "other_chain"
CLUSTER = "cluster"
FAR = 1e6
LEAST_DRAWS = 100
DRAWS_HASH = "draws_sha256"


def stack_chains(idata: xr.DataTree, *, rhat_limit: float = 1.2) -> xr.Dataset:
    """Weight chains that do not mix by their joint predictive density.

    Chains in different modes do not estimate the probability masses of the modes, so their plain average is arbitrary.
    Here chains that mix form a cluster, each cluster is treated as a model, and the weights maximise the leave-one-out
    predictive density of the mixture. The weights optimise prediction: a mode with most of the posterior mass can have
    no weight, if another predicts better.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit, or a tree of your own with groups posterior and log_likelihood. For a fit exact leave-one-out densities
        of each draw are computed; for another tree the only variable in log_likelihood is used: pointwise terms (chain,
        draw, ...), which for a hidden Markov model must be leave-one-out densities too
        (``regimelag.likelihood.hmm_draws.leave_one_out_draws``). Of a posterior that was resampled from separated modes
        the runs in the group within_mode are stacked, and log_likelihood has to be of their draws.
    rhat_limit : float
        Two chains mix if no variable has a larger R-hat between them. A cluster is a set of chains that mix pairwise
        (complete linkage). The default is larger than the 1.01 of `diagnostics`: R-hat of two chains is noisy, and
        chains that visit the same modes slowly should be one cluster, since noise determines the weights of clusters
        with equal predictions. Two chains in separate modes reach about 1.8.

    Returns
    -------
    xarray.Dataset
        ``weight`` (chain), with sum one, equal within a cluster; ``member_of`` (chain), the cluster's number; ``rhat``
        (chain, other_chain), largest over variables; by cluster ``cluster_weight``, ``elpd`` (expected log predictive
        density, nats), ``elpd_difference`` from the best cluster and its standard error ``difference_se``,
        ``largest_pareto_k``, and ``reliability``, Pareto k in words.

    Raises
    ------
    FitError
        If there is one chain or fewer than 100 draws in each, `rhat_limit` is not above 1, there are no pointwise
        terms, or the densities of a fit depend on past responses.

    See Also
    --------
    stacked_posterior : Draws with these weights.

    Notes
    -----
    Yao, Vehtari & Gelman (2022), Stacking for non-mixing Bayesian computations: the curse and blessing of multimodal
    posteriors, Journal of Machine Learning Research 23(79). Leave-one-out by Pareto-smoothed importance sampling
    (`arviz.loo`) and stacking (`arviz.compare`) are ArviZ's.
    """
    idata = _with_runs(idata)
    if not (is_number(rhat_limit) and rhat_limit > 1):
        raise FitError("stack_chains", "rhat_limit is above 1", f"rhat_limit = {rhat_limit!r}", "write rhat_limit=1.2")
    posterior = free_parameters(idata)
    chains, draws = (posterior.sizes[dim] for dim in (nm.CHAIN, nm.DRAW))
    if chains < 2 or draws < LEAST_DRAWS:  # noqa: PLR2004
        rule = f"there are two chains at least, of {LEAST_DRAWS} draws at least, so that a tail can be smoothed"
        raise FitError("stack_chains", rule, f"chains {chains}, draws {draws}", "sample with chains=4, draws=1000")
    terms = _pointwise_terms(idata, posterior)
    rhat = _pairwise_rhat(posterior)
    member = _clusters(rhat, rhat_limit)
    clusters = [np.flatnonzero(member == n) for n in range(member.max() + 1)]
    scores = [loo_score(posterior.isel({nm.CHAIN: cluster}), terms.isel({nm.CHAIN: cluster})) for cluster in clusters]
    best = max(scores, key=lambda score: float(score.elpd))
    differences = np.array([paired_difference(score.elpd_i.to_numpy(), best.elpd_i.to_numpy()) for score in scores])
    weights = stacking_weights(scores)
    sizes = np.array([len(cluster) for cluster in clusters])
    names = posterior[nm.CHAIN].to_numpy()
    stacking = xr.Dataset(
        {
            "weight": (nm.CHAIN, (weights / sizes)[member]),
            "member_of": (nm.CHAIN, member),
            "rhat": ((nm.CHAIN, OTHER_CHAIN), rhat),
            "cluster_weight": (CLUSTER, weights),
            "elpd": (CLUSTER, [float(score.elpd) for score in scores]),
            "elpd_difference": (CLUSTER, differences[:, 0]),
            "difference_se": (CLUSTER, differences[:, 1]),
            "largest_pareto_k": (CLUSTER, [float(score.pareto_k.max()) for score in scores]),
            "reliability": (CLUSTER, [reliability(score) for score in scores]),
        },
        coords={nm.CHAIN: names, OTHER_CHAIN: names, CLUSTER: np.arange(len(clusters))},
    )
    return stacking.assign_attrs({DRAWS_HASH: panel_hash(posterior)})


def stacked_posterior(
    idata: xr.DataTree, stacking: xr.Dataset, *, draws: int | None = None, random_seed: int | None = 0
) -> xr.DataTree:
    """Resample the chains by their stacking weights, as one chain in random order.

    Parameters
    ----------
    idata : xarray.DataTree
        Argument of `stack_chains`.
    stacking : xarray.Dataset
        Result of `stack_chains`.
    draws : int, optional
        Number of draws; by default that of `idata`. A chain's share equals its weight to within one draw.
    random_seed : int, optional
        Seed of the resampling.

    Returns
    -------
    xarray.DataTree
        The tree with all groups of the posterior's draws resampled alike; functions of a fit accept it. The attribute
        ``stacked`` has the weights, and `diagnostics` describes the draws.

    Raises
    ------
    FitError
        If the weights are those of other chains, or `draws` is not a positive integer.
    """
    idata = _with_runs(idata)
    posterior = free_parameters(idata)
    chains = posterior[nm.CHAIN].to_numpy()
    seed = drawn_seed(FitError, "stacked_posterior", random_seed)
    if not isinstance(stacking, xr.Dataset):
        cure = "pass what stack_chains returned for this tree"
        raise FitError("stacked_posterior", "stacking is an xarray.Dataset", f"a {type(stacking).__name__}", cure)
    of_these = stacking.attrs.get(DRAWS_HASH) in (None, panel_hash(posterior))
    if "weight" not in stacking or not np.array_equal(stacking[nm.CHAIN].to_numpy(), chains) or not of_these:
        came = f"weights of chains {stacking[nm.CHAIN].to_numpy().tolist()}" if nm.CHAIN in stacking else "no weights"
        came = came if of_these else "weights of other draws"
        rule = f"the weights are those of this tree's chains {chains.tolist()}"
        raise FitError("stacked_posterior", rule, came, "pass what stack_chains returned for this tree")
    total = posterior.sizes[nm.CHAIN] * posterior.sizes[nm.DRAW] if draws is None else draws
    total = whole(FitError, "stacked_posterior", "draws", total, "write draws=4000, or leave draws out")
    picked = _picked(stacking["weight"].to_numpy(), posterior.sizes[nm.DRAW], total, seed)
    groups = {name: _resampled(child.to_dataset(), posterior, picked) for name, child in idata.children.items()}
    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    weights = {str(chain): float(weight) for chain, weight in zip(chains, stacking["weight"].to_numpy(), strict=True)}
    stacked = {"weights": weights, "reliability": [str(words) for words in stacking["reliability"].to_numpy()]}
    tree.attrs = dict(idata.attrs) | {STACKED: json.dumps(stacked)}
    store_diagnostics(tree)
    return tree


def _with_runs(idata: xr.DataTree) -> xr.DataTree:
    """The tree, of a posterior that was resampled from separated modes with the runs within them as its posterior."""
    if not isinstance(idata, xr.DataTree) or WITHIN_MODE not in idata.children:
        return idata
    rest = {
        name: child.to_dataset()
        for name, child in idata.children.items()
        if name not in ("posterior", "sample_stats", WITHIN_MODE)
    }
    runs = parameters_of_runs(idata[WITHIN_MODE].to_dataset())
    tree = xr.DataTree.from_dict({"/posterior": runs} | {f"/{name}": group for name, group in rest.items()})
    tree.attrs = dict(idata.attrs)
    return tree


def _pointwise_terms(idata: xr.DataTree, posterior: xr.Dataset) -> xr.DataArray:
    """Log predictive terms (chain, draw, ...): leave-one-out for a fit, as given for another tree."""
    if "spec" in idata.attrs:
        return leave_one_out_terms(idata)
    given = idata["log_likelihood"].to_dataset() if "log_likelihood" in idata.children else xr.Dataset()
    if len(given.data_vars) != 1:
        raise FitError(
            "stack_chains",
            "a tree that is no fit has a group log_likelihood with one variable of pointwise terms (chain, draw, ...)",
            f"{len(given.data_vars)} variables in log_likelihood",
            "add the group, or stack its variables along one dimension",
        )
    terms = next(iter(given.data_vars.values()))
    asked, came = ({dim: one.sizes.get(dim) for dim in (nm.CHAIN, nm.DRAW)} for one in (posterior, terms))
    if asked != came:
        raise FitError(
            "stack_chains",
            f"log_likelihood has the draws that are stacked: {asked}",
            f"log_likelihood with {came}",
            "compute the terms from the group within_mode where there is one, and from posterior otherwise",
        )
    return terms


def _pairwise_rhat(posterior: xr.Dataset) -> np.ndarray:
    """Largest R-hat over variables of each pair of chains (chain, other chain); one on the diagonal."""
    count = posterior.sizes[nm.CHAIN]
    rhat = np.ones((count, count))
    for i, j in combinations(range(count), 2):
        rhat[i, j] = rhat[j, i] = extreme_entry(az.rhat(posterior.isel({nm.CHAIN: [i, j]})), largest=True)[0]
    return rhat


def _clusters(rhat: np.ndarray, limit: float) -> np.ndarray:
    """Cluster of each chain (chain), numbered by appearance; within one all pairs are below the limit."""
    # R-hat is undefined for constant chains, which form their own clusters.
    distance = np.nan_to_num(rhat - 1.0, nan=FAR, posinf=FAR).clip(0.0)
    tree = linkage(squareform(distance, checks=False), "complete")
    found = fcluster(tree, limit - 1.0, "distance")
    order = {label: n for n, label in enumerate(dict.fromkeys(found))}
    return np.array([order[label] for label in found])


def _picked(weights: np.ndarray, length: int, total: int, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Chain and draw of each selected draw (total): systematic resampling, in random order."""
    rng = np.random.default_rng(seed)
    places = np.searchsorted(np.cumsum(np.repeat(weights / length, length)), (np.arange(total) + rng.random()) / total)
    return np.divmod(rng.permutation(np.minimum(places, len(weights) * length - 1)), length)


def _resampled(group: xr.Dataset, posterior: xr.Dataset, picked: tuple[np.ndarray, np.ndarray]) -> xr.Dataset:
    """A group at the selected draws if it has the posterior's draws; otherwise unchanged."""
    if not all(dim in group.dims and group[dim].equals(posterior[dim]) for dim in (nm.CHAIN, nm.DRAW)):
        return group
    chains, draws = (xr.DataArray(place, dims=nm.DRAW) for place in picked)
    taken = group.isel({nm.CHAIN: chains, nm.DRAW: draws}).drop_vars([nm.CHAIN, nm.DRAW])
    taken = taken.expand_dims({nm.CHAIN: [0]}).assign_coords({nm.DRAW: np.arange(len(picked[0]))})
    return taken.transpose(nm.CHAIN, nm.DRAW, ...)
