"""Posteriors with separated modes: runs within each mode, and one sample in which each has its estimated weight.

Chains between which R-hat is small are runs within one mode. A mode with few runs gets more, and so does a mode of the
catalogue that no run has reached. The unconstrained space is divided into cells, one around each mode; runs that move
between cells are left out. Bridge sampling estimates the evidence of each cell, and the posterior is resampled with the
resulting weights. No mode is found that no starting point led to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from regimelag.errors import FitError
from regimelag.sampling.bridge import Normal, evidence_of, nearest_cells, normal_of
from regimelag.sampling.compiled import CompiledModel
from regimelag.sampling.diagnostics import ESS_LIMIT, MODE_OF, RHAT_LIMIT, WEIGHT, WEIGHT_ERROR, WITHIN_MODE, within
from regimelag.sampling.modes import Mode, dispersed_start
from regimelag.sampling.modes_dataset import (
    LEAST_WEIGHT,
    SEPARATED,
    catalogue_of,
    missed_modes,
    nearest_modes,
    with_reached,
)
from regimelag.sampling.sampler import Sampler
from regimelag.spec import names as nm

# Chains mix if no R-hat between them is larger (Vehtari et al., 2021). A chain moves between modes if more than this
# share of its draws lies outside one cell.
MIXED, CROSSING = 1.05, 0.02
# Chains of fewer draws for each parameter are not examined: a normal distribution cannot be fitted to half of them.
LEAST_LENGTH = 4
# No weights from a bridge whose error is larger (nats), nor from fewer draws for each parameter.
LARGEST_ERROR, LEAST_DRAWS = 0.3, 20
# Rounds of additional runs: to reach all modes, and to reach the effective sample size. After the first round two
# chains in each mode are enough, since chains leave a mode of small weight.
REACHING, EXTENSIONS, ENOUGH = 4, 3, 2
# A run falls a little short if it has this share of the effective sample size at least.
LITTLE_SHORT = 0.25
# Largest number of modes of the catalogue in which more chains are started if chains disagree.
MOST_MODES = 4

Start = Callable[[int], np.ndarray]
# Sample a number of chains from a starting function and a seed.
Run = Callable[[Start, int, int], xr.DataTree]


def sample_modes(
    run: Run,
    compiled: CompiledModel,
    modes: list[Mode],
    settings: Sampler,
    seed: int,
    *,
    tell: Callable[[str], object],
    weigh: bool,
) -> xr.DataTree:
    """Sample until every mode with weight has its chains, and weight the modes.

    Parameters
    ----------
    run : callable
        Sampler of chains: start, seed and number of chains to a tree with posterior and sample_stats.
    compiled : CompiledModel
        The model.
    modes : list of Mode
        Modes that the search found.
    settings : Sampler
        Settings. A run with the default numbers of draws, tuning draws and chains that falls a little short of the
        effective sample size is extended.
    seed : int
        Seed of the first run; those of others follow from it.
    tell : callable
        Takes progress messages.
    weigh : bool
        Whether to examine the runs at all. Not if permutations of unordered regimes are still to be undone.

    Returns
    -------
    xarray.DataTree
        Groups posterior, sample_stats and modes. With several separated modes also `within_mode`: all runs, the mode of
        each draw, and the weights; the posterior is then resampled. An interrupted run is kept as it is.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(100, dtype=np.uint32)[1:].tolist())
    start = partial(dispersed_start, modes, compiled.value_and_gradient)
    tree = run(start, seed, settings.chains)
    runs = _Runs(compiled, modes, tree, seed)
    if not weigh or runs.short_of(settings.draws, settings.chains):
        return runs.tree
    starts: list[tuple[Start, int]]
    for again in range(REACHING):
        starts = [
            (partial(dispersed_start, [modes[n]], compiled.value_and_gradient), settings.chains) for n in runs.missed()
        ]
        starts += runs.lacking(settings.chains, settings.chains if again == 0 else min(ENOUGH, settings.chains))
        if not starts:
            break
        more = sum(count for _, count in starts)
        tell(f"Sampling {more} more chains, started in modes that few chains have reached ...")
        if not all(runs.add(run, one, next(seeds), count, settings.draws) for one, count in starts):
            return runs.tree
    default = (Sampler.draws, Sampler.tune, Sampler.chains)
    if (settings.draws, settings.tune, settings.chains) == default:
        for _ in range(EXTENSIONS):
            short = runs.a_little_short()
            if not short:
                break
            rhat, least = max(rhat for rhat, _ in short.values()), min(least for _, least in short.values())
            few = f"Effective sample size {least:.0f}, {ESS_LIMIT} asked"
            said = few if least < ESS_LIMIT else f"R-hat {rhat:.4f}, at most {RHAT_LIMIT} asked"
            tell(f"{said}: sampling {settings.chains} more chains ...")
            if not all(
                runs.add(
                    run, start if runs.count == 1 else runs.start_in(n), next(seeds), settings.chains, settings.draws
                )
                for n in short
            ):
                return runs.tree
    return runs.weighted(settings.chains, settings.draws)


class _Runs:
    """Chains sampled so far, and the mode in which each of them runs.

    Parameters
    ----------
    compiled : CompiledModel
        The model.
    modes : list of Mode
        Modes that the search found.
    tree : xarray.DataTree
        The first run.
    seed : int
        Seed of everything that is drawn here.
    """

    def __init__(self, compiled: CompiledModel, modes: list[Mode], tree: xr.DataTree, seed: int) -> None:
        self.compiled, self.modes, self.seed = compiled, modes, seed
        self.names = [str(rv.name) for rv in compiled.model.free_RVs]
        self._hold(tree)

    def _hold(self, tree: xr.DataTree) -> None:
        posterior = tree["posterior"].to_dataset()
        catalogue = catalogue_of(self.compiled, self.modes)
        with threadpool_limits(limits=1):
            self.catalogue = with_reached(catalogue, posterior, self.compiled, self.modes, self.seed)
        tree["modes"] = xr.DataTree(self.catalogue)
        self.tree = tree
        values = _flat(posterior[self.names])
        self.points: np.ndarray | None = None
        if posterior.sizes[nm.CHAIN] > 1 and np.nanmax(_rhat(values)) > MIXED:
            draws = {name: _leading(posterior[name]) for name in self.names}
            flat = {name: each.reshape((-1, *each.shape[2:])) for name, each in draws.items()}
            self.points = self.compiled.points(flat).reshape((*values.shape[:2], -1))
            self.member = _members(values, self.points)
        else:
            self.member = np.zeros(posterior.sizes[nm.CHAIN], dtype=int)

    def short_of(self, draws: int, chains: int) -> bool:
        """Whether sampling was interrupted."""
        sizes = self.tree["posterior"].sizes
        return sizes[nm.DRAW] < draws or sizes[nm.CHAIN] < chains

    def missed(self) -> list[int]:
        """Modes of the catalogue with weight that no run has reached."""
        return missed_modes(self.catalogue, self.tree["posterior"].to_dataset())

    @property
    def count(self) -> int:
        """Number of separated modes."""
        return int(self.member.max()) + 1

    def lacking(self, chains: int, enough: int) -> list[tuple[Start, int]]:
        """Starting points in modes with fewer chains than enough, and the number that each lacks of `chains`.

        If chains disagree and all of them may be in one cell, in the modes of the catalogue with weight.
        """
        if self.points is None:
            return []
        if self.count > 1:
            held = [int((self.member == n).sum()) for n in range(self.count)]
            return [(self.start_in(n), chains - count) for n, count in enumerate(held) if count < enough]
        nearest = nearest_modes(self.catalogue, self.tree["posterior"].to_dataset())
        weight = self.catalogue[WEIGHT].to_numpy()
        found: list[tuple[Start, int]] = []
        for n in np.flatnonzero(weight > LEAST_WEIGHT)[:MOST_MODES] if len(weight) > 1 else []:
            staying = int(((nearest == n).mean(axis=1) >= 1 - CROSSING).sum())
            start = partial(dispersed_start, [self.modes[n]], self.compiled.value_and_gradient)
            found += [(start, chains - staying)] if staying < enough else []
        return found

    def start_in(self, mode: int) -> Start:
        """Starting points among the draws of a mode."""
        # With several modes the points are known.
        assert self.points is not None
        held = self.points[self.member == mode].reshape(-1, self.points.shape[-1])
        return lambda seed: held[np.random.default_rng(seed).integers(len(held))]

    def add(self, run: Run, start: Start, seed: int, chains: int, draws: int) -> bool:
        """Sample more chains and keep them; whether they were completed."""
        try:
            more = run(start, seed, chains)
        except FitError:
            # Interrupted during tuning: what was sampled before is kept.
            return False
        sizes = more["posterior"].sizes
        if sizes[nm.DRAW] < draws or sizes[nm.CHAIN] < chains:
            return False
        joined = {
            name: _joined([each[name].to_dataset() for each in (self.tree, more)])
            for name in ("posterior", "sample_stats")
        }
        self._hold(xr.DataTree.from_dict({f"/{name}": group for name, group in joined.items()}))
        return True

    def a_little_short(self) -> dict[int, tuple[float, float]]:
        """R-hat and effective sample size of modes whose runs agree, and fall a little short of the limits."""
        found, posterior = {}, self.tree["posterior"].to_dataset()
        for mode in range(self.count):
            rhat, least = within(posterior.isel({nm.CHAIN: self.member == mode}))
            fails = rhat > RHAT_LIMIT or least < ESS_LIMIT
            if fails and rhat <= MIXED and least >= LITTLE_SHORT * ESS_LIMIT:
                found[mode] = (rhat, least)
        return found

    def weighted(self, chains: int, draws: int) -> xr.DataTree:
        """The runs of one mode; of several, a resampled posterior with the runs beside it.

        Without reliable weights the runs stay as they are, and R-hat tells that they disagree.
        """
        if self.count == 1 or self.points is None:
            return self.tree
        fewest = min(int((self.member == n).sum()) for n in range(self.count))
        per_parameter = self.points.shape[1] * fewest / self.points.shape[-1]
        if per_parameter < LEAST_DRAWS:
            return self.tree
        try:
            parts = _parts(self.points, self.member)
        except np.linalg.LinAlgError:
            return self.tree
        rng = np.random.default_rng(np.random.SeedSequence(self.seed).spawn(1)[0])
        found = [
            evidence_of(self._log_posterior, self.points[self.member == n], parts, n, rng) for n in range(self.count)
        ]
        errors = np.array([one.error for one in found])
        if not np.all(errors <= LARGEST_ERROR):
            return self.tree
        order = np.argsort([-one.log for one in found], kind="stable")
        evidence, errors = np.array([found[n].log for n in order]), errors[order]
        rank = np.append(np.argsort(order), -1)
        cells, own = rank[nearest_cells(self.points, parts)], rank[self.member][:, None]
        cells_of_modes = rank[nearest_cells(np.stack([mode.point for mode in self.modes]), parts)]
        self.catalogue = self.catalogue.assign({SEPARATED: (nm.MODE, cells_of_modes)})
        weights = np.exp(evidence - np.logaddexp.reduce(evidence))
        jacobian = np.diag(weights) - np.outer(weights, weights)
        covariance = jacobian @ np.diag(errors**2) @ jacobian.T
        return self._resampled(
            np.where(cells == own, cells, -1), weights, covariance, (evidence, errors), (chains, draws), rng
        )

    def _log_posterior(self, point: np.ndarray) -> float:
        return self.compiled.value_and_gradient(point)[0]

    def _resampled(
        self,
        mode_of: np.ndarray,
        weights: np.ndarray,
        covariance: np.ndarray,
        evidence: tuple[np.ndarray, np.ndarray],
        shape: tuple[int, int],
        rng: np.random.Generator,
    ) -> xr.DataTree:
        """A posterior of the shape asked, in which each mode has its weight, in random order."""
        groups = {name: self.tree[name].to_dataset() for name in ("posterior", "sample_stats")}
        picked = _picked(mode_of, weights, int(np.prod(shape)), rng)
        place = [xr.DataArray(each.reshape(shape), dims=(nm.CHAIN, nm.DRAW)) for each in picked]
        labels = {nm.CHAIN: np.arange(shape[0]), nm.DRAW: np.arange(shape[1])}
        resampled = {
            name: group.isel({nm.CHAIN: place[0], nm.DRAW: place[1]})
            .drop_vars([nm.CHAIN, nm.DRAW])
            .assign_coords(labels)
            .transpose(nm.CHAIN, nm.DRAW, ...)
            for name, group in groups.items()
        }
        kept = groups["posterior"].assign(
            {name: groups["sample_stats"][name] for name in ("diverging", "energy") if name in groups["sample_stats"]}
        )
        kept[MODE_OF] = ((nm.CHAIN, nm.DRAW), mode_of)
        kept[WEIGHT] = (nm.MODE, weights)
        kept[WEIGHT_ERROR] = (nm.MODE, np.sqrt(np.diag(covariance)))
        kept["log_evidence"], kept["log_evidence_error"] = ((nm.MODE, each) for each in evidence)
        resampled["posterior"].attrs |= {
            "resampled": f"from {len(weights)} modes with weights estimated by bridge sampling",
            "effective_sample_size": _mixture_size(groups["posterior"][self.names], mode_of, weights, covariance),
        }
        tree = xr.DataTree.from_dict({f"/{name}": group for name, group in (resampled | {WITHIN_MODE: kept}).items()})
        tree["modes"] = xr.DataTree(self.catalogue)
        return tree


def _flat(values: xr.Dataset) -> np.ndarray:
    """Draws (chain, draw, entry) of all variables."""
    arrays = [_leading(each) for each in values.data_vars.values()]
    return np.concatenate([array.reshape((*array.shape[:2], -1)) for array in arrays], axis=2)


def _leading(values: xr.DataArray) -> np.ndarray:
    return values.transpose(nm.CHAIN, nm.DRAW, ...).to_numpy()


def _rhat(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(array_stats.rhat(values, chain_axis=0, draw_axis=1))


def _members(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Mode of each chain (chain), from draws (chain, draw, entry) and points (chain, draw, parameter).

    Minus one for a chain that moves between modes. Groups of chains that mix define cells. A group none of whose chains
    stays in its own cell is no mode: it moves between cells, or is one with another group.
    """
    if points.shape[1] < LEAST_LENGTH * points.shape[2]:
        return np.zeros(len(points), dtype=int)
    joined = np.eye(len(values), dtype=bool)
    for i, j in combinations(range(len(values)), 2):
        joined[i, j] = np.nanmax(_rhat(values[[i, j]])) <= MIXED
    group: np.ndarray = connected_components(joined, directed=False)[1]
    groups = [np.flatnonzero(group == n) for n in range(group.max() + 1)]
    while True:
        try:
            cells = _cells_by_halves(points, groups)
        except np.linalg.LinAlgError:
            return np.zeros(len(points), dtype=int)
        own = [(cells[chains] == place).mean(axis=1) for place, chains in enumerate(groups)]
        least = int(np.argmin([shares.min() for shares in own]))
        if own[least].min() >= 1 - CROSSING:
            break
        # Chains that stay define the cell; without any the group is no mode.
        groups[least] = groups[least][own[least] >= 1 - CROSSING]
        groups = [chains for chains in groups if len(chains)]
        if not groups:
            return np.zeros(len(points), dtype=int)
    shares = np.array([(cells == place).mean(axis=1) for place in range(len(groups))])
    return np.where(shares.max(axis=0) >= 1 - CROSSING, shares.argmax(axis=0), -1)


def _cells_by_halves(points: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Cell of each draw (chain, draw), by the normal distributions of the other half of the groups' draws."""
    middle = points.shape[1] // 2
    halves = points[:, :middle], points[:, middle:]
    by_half = [[_normal(half[chains]) for chains in groups] for half in halves]
    return np.concatenate([nearest_cells(half, by_half[1 - n]) for n, half in enumerate(halves)], axis=1)


def _parts(points: np.ndarray, member: np.ndarray) -> list[Normal]:
    return [_normal(points[member == n]) for n in range(member.max() + 1)]


def _normal(points: np.ndarray) -> Normal:
    """Normal distribution of the draws of some chains (chain, draw, parameter)."""
    return normal_of(points.reshape(-1, points.shape[-1]))


def _joined(groups: list[xr.Dataset]) -> xr.Dataset:
    joined = xr.concat(groups, nm.CHAIN, join="override", combine_attrs="override")
    return joined.assign_coords({nm.CHAIN: np.arange(joined.sizes[nm.CHAIN])})


def _picked(
    mode_of: np.ndarray, weights: np.ndarray, total: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Chain and draw of each selected draw (total), in random order: as many of each mode as its weight says.

    Draws of a mode are selected at even distances, without replacement if there are enough.
    """
    counts = np.floor(weights * total + rng.random()).astype(int)
    counts[0] += total - counts.sum()
    places = []
    for mode, count in enumerate(counts):
        held = np.flatnonzero(mode_of.ravel() == mode)
        places.append(held[np.linspace(0, len(held), count, endpoint=False).astype(int)])
    chosen = np.divmod(rng.permutation(np.concatenate(places)), mode_of.shape[1])
    return chosen[0], chosen[1]


def _mixture_size(posterior: xr.Dataset, mode_of: np.ndarray, weights: np.ndarray, covariance: np.ndarray) -> float:
    """Smallest effective sample size of a posterior mean, with the error of the weights.

    The variance of the mean is the sum over modes of squared weight times the mean's error within the mode, plus the
    error of the weights times the modes' means.
    """
    values = _flat(posterior)
    means, within_variance, errors = [], [], []
    for mode in range(len(weights)):
        held = values[(mode_of == mode).mean(axis=1) > 0.5]  # noqa: PLR2004 runs are in one mode
        means.append(held.mean(axis=(0, 1)))
        within_variance.append(held.var(axis=(0, 1)))
        with np.errstate(divide="ignore", invalid="ignore"):
            errors.append(within_variance[-1] / array_stats.ess(held, chain_axis=0, draw_axis=1, method="bulk"))
    mean, variance, error = np.array(means), np.array(within_variance), np.array(errors)
    centre = weights @ mean
    total = weights @ variance + weights @ (mean - centre) ** 2
    of_mean = weights**2 @ error + np.einsum("mp,mn,np->p", mean - centre, covariance, mean - centre)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanmin(total / of_mean))
