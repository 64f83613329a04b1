"""Information gain, probability of no effect, and prior sensitivity.

Functions of arrays of draws come first, then functions of a fit.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from scipy import stats

from regimelag.errors import SpecError
from regimelag.model.build import AS_IS
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.priors import DISTRIBUTIONS, Prior
from regimelag.spec.series import Signal
from regimelag.spec.terms import model_terms

SAMPLE = (nm.CHAIN, nm.DRAW)
BINS, PER_BIN = 50, 20
# Largest Pareto k at which importance weights are reliable for any number of draws.
UNSTABLE = 0.7
# Number of draws below which no tail is fitted.
FEW = 100
# Power-scaling sensitivity above which a quantity is sensitive: Kallioinen et al. (2024).
SENSITIVE = 0.05
# Draws below which importance weights have no tail to smooth, and sensitivities are missing.
FEWEST = 10


def information_gained(posterior: np.ndarray, prior: np.ndarray, *, effective: float | None = None) -> float:
    """Information gain: Kullback-Leibler divergence of a quantity's posterior from its prior, in nats.

    Parameters
    ----------
    posterior, prior : ndarray
        Draws of the same quantity (draw).
    effective : float, optional
        Effective number of posterior draws; by default all of them, for independent draws.

    Returns
    -------
    float
        Nats. If both distributions are equal, about zero with either sign.

    Notes
    -----
    Draws are sorted into bins of equal prior probability, up to 50 with at least 20 draws each. The result is the
    divergence of the binned distributions: a lower bound of the divergence, and at most the log of the number of bins,
    3.9. Two biases are subtracted: (occupied bins - 1) / (2 effective posterior draws), Miller (1955), and (bins - 1) /
    (2 prior draws), since the edges are quantiles of draws.
    """
    effective = len(posterior) if effective is None or not np.isfinite(effective) else min(effective, len(posterior))
    count = int(np.clip(min(len(prior), effective) // PER_BIN, 2, BINS))
    inner = np.unique(np.quantile(prior, np.arange(1, count) / count))
    after, before = (_shares(inner, draws) for draws in (posterior, prior))
    # Quantiles of a discrete distribution may coincide, which leaves a bin without a prior draw.
    used = (after > 0) & (before > 0)
    found = float(np.sum(after[used] * np.log(after[used] / before[used])))
    return found - (np.sum(after > 0) - 1) / (2 * effective) - (np.sum(before > 0) - 1) / (2 * len(prior))


def _shares(inner: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Share of draws in each bin, closed on the left."""
    return np.bincount(np.searchsorted(inner, draws, side="right"), minlength=len(inner) + 1) / len(draws)


def divergence(posterior: np.ndarray, prior: np.ndarray) -> float:
    """Kullback-Leibler divergence of probabilities (lag) from prior probabilities, in nats."""
    used = posterior > 0
    return float(np.sum(posterior[used] * np.log(posterior[used] / prior[used])))


def density_at_zero(draws: np.ndarray, *, effective: float | None = None) -> tuple[float, bool]:
    """Density of draws at zero, and whether it is only an upper bound.

    Parameters
    ----------
    draws : ndarray
        Draws (draw).
    effective : float, optional
        Effective number of draws; by default all of them, for independent draws.

    Returns
    -------
    density : float
        The density, or an upper bound.
    bound : bool
        Whether it is a bound: fewer than 20 effective draws (or 5 % of them, if that is less) lie beyond zero.

    Notes
    -----
    The estimate is a kernel density with Silverman's bandwidth, with centres shrunk to the mean so that it has the
    variance of the draws (West 1993); otherwise tails are too high. If too few draws lie beyond zero, the density is
    assumed to increase from zero to the bulk of the draws, so that its average up to the 20th effective draw is an
    upper bound.
    """
    count = len(draws)
    effective = count if effective is None or not np.isfinite(effective) else min(effective, count)
    enough = min(PER_BIN, 0.05 * effective)
    side = np.sign(np.median(draws))
    if effective * np.mean(draws * side < 0) < enough:
        near = np.sort((draws * side)[draws * side > 0])
        place = min(int(np.ceil(enough * count / effective)), len(near)) - 1
        return float((place + 1) / count / near[place]), True
    spread = draws.std()
    quartiles = np.subtract(*np.quantile(draws, [0.75, 0.25])) / 1.349
    width = 0.9 * min(spread, quartiles) * effective**-0.2
    centres = draws.mean() + np.sqrt(1 - (width / spread) ** 2) * (draws - draws.mean())
    return float(stats.norm.pdf(0.0, centres, width).mean()), False


@cache
def _log_density(distribution: str, names: tuple[str, ...]) -> Callable[..., np.ndarray]:
    """Log density of a PyMC distribution, as a function of values (draw) and its parameters."""
    at, parameters = pt.dvector("at"), [pt.dscalar(name) for name in names]
    prior = getattr(pm, distribution).dist(**dict(zip(names, parameters, strict=True)))
    return pytensor.function([at, *parameters], pm.logp(prior, at), mode=AS_IS)


class Slab(NamedTuple):
    """Prior of a non-zero effect: name and parameters of a PyMC distribution."""

    distribution: str
    parameters: Mapping[str, Any]

    @property
    def scales(self) -> dict[str, float]:
        """Parameters that are larger in a wider prior."""
        in_unit = DISTRIBUTIONS[self.distribution].in_unit.split()
        location = "alpha" if self.distribution == "Cauchy" else "mu"
        return {name: value for name, value in self.parameters.items() if name in in_unit and name != location}

    def log_density(self, effect: np.ndarray | float, multiple: float = 1.0) -> np.ndarray:
        """Log density of the prior, widened by a factor."""
        wide = {**self.parameters, **{name: multiple * value for name, value in self.scales.items()}}
        return _log_density(self.distribution, tuple(wide))(np.asarray(effect, dtype=float).ravel(), *wide.values())


def no_effect(
    effect: np.ndarray, prior: Slab, slabs: Sequence[float], *, effective: float | None = None
) -> pd.DataFrame:
    """Probability of no effect against a slab, for several slab widths, at prior odds one.

    Parameters
    ----------
    effect : ndarray
        Posterior draws (draw) of the effect under its prior.
    prior : Slab
        The prior.
    slabs : sequence of float
        Widths of the slab, as multiples of the prior's.
    effective : float, optional
        Effective number of draws; by default all of them, for independent draws.

    Returns
    -------
    pandas.DataFrame
        One row per slab: ``multiple``; ``slab``, its scale (the standard deviation of a normal); ``bayes_factor`` of no
        effect against an effect; ``probability`` of no effect; ``bound``, whether both are upper bounds, since the
        posterior is too far from zero; and ``pareto_k`` of the importance weights for this slab. Factor and probability
        are missing if the weights are unreliable, with k above min(0.7, 1 - 1 / log10(effective draws)), the limit of
        Vehtari, Simpson, Gelman, Yao & Gabry (2024), arXiv:1507.02646. A fit with this slab as its prior provides them.

    Notes
    -----
    The wider the slab, the higher the probability of no effect for any data: Lindley (1957),
    doi:10.1093/biomet/44.1-2.187, Bartlett (1957). At the prior's own width the Bayes factor is the ratio of posterior
    to prior density at zero, Dickey (1971), doi:10.1214/aoms/1177693507; this requires that the effect is independent
    of all other parameters a priori. For another width it is divided by the ratio of the marginal likelihoods of the
    two slabs, which is the posterior mean of the ratio of their densities.

    These ratios are the importance weights. For a normal slab of m times the prior's width they grow as exp(a effect^2)
    with a = (1 - 1 / m^2) / (2 sd^2), sd the prior standard deviation, so under a normal posterior with variance v they
    have k = 2 a v. An estimate from draws that hardly reach the tail can be lower; ``pareto_k`` is the larger of the
    two. If the posterior equals the prior, k = 1 - 1 / m^2, so such a fit gives no result for slabs of twice the
    prior's width.
    """
    count = len(effect)
    effective = count if effective is None or not np.isfinite(effective) else min(effective, count)
    density, bound = density_at_zero(effect, effective=effective)
    at_prior = density / float(np.exp(prior.log_density(0.0))[0])
    log_prior, scale = prior.log_density(effect), next(iter(prior.scales.values()))
    rows = []
    for multiple in slabs:
        log_weight = prior.log_density(effect, multiple) - log_prior
        k = _pareto_k(log_weight, effective / count)
        if multiple > 1 and prior.distribution == "Normal":
            k = max(k, (1 - multiple**-2) * effect.var() / scale**2)
        factor = at_prior / np.exp(log_weight).mean() if k <= largest_reliable_k(effective) else np.nan
        rows.append(
            {
                "multiple": float(multiple),
                "slab": float(multiple * scale),
                "bayes_factor": float(factor),
                "probability": float(factor / (1 + factor)),
                "bound": bound,
                "pareto_k": k,
            }
        )
    return pd.DataFrame(rows)


def largest_reliable_k(draws: float) -> float:
    """Largest Pareto k at which importance weights are reliable for this number of effective draws."""
    return float(min(UNSTABLE, 1 - 1 / np.log10(max(draws, 2))))


def _pareto_k(log_weight: np.ndarray, r_eff: float = 1.0) -> float:
    """Pareto k of the upper tail of weights: -inf if all are equal, as for the prior's width; inf for few draws."""
    if np.ptp(log_weight) == 0:
        return -np.inf
    if len(log_weight) < FEW:
        return np.inf
    # psislw expects log likelihoods, the negative log weights of leave-one-out.
    ratios = xr.DataArray(-log_weight, dims="draw")
    return float(ratios.azstats.psislw(dim="draw", r_eff=r_eff)[1])


def effective_draws(draws: xr.DataArray) -> np.ndarray:
    """Effective number of draws (...) of each entry of draws (chain, draw, ...)."""
    return az.ess(draws.to_dataset(name="value"))["value"].to_numpy()


def prior_components(spec: ModelSpec, log_prior: xr.Dataset) -> list[str]:
    """Names of the log priors to power-scale: those of the signals' lagged effects and lag kernels.

    In a hierarchy only the top level is scaled, as recommended by Kallioinen et al. (2024).
    """
    terms = model_terms(spec, len(spec.episodes.labels()))
    lags = [lag for lag in terms.lags if isinstance(lag.series, Signal)]
    lagged = [*terms.effect, *terms.moderation, *(term for lag in lags for term in (*lag.kernel, *lag.moves))]
    # The top level is the scale of pooled deviations, and the roughness of a random walk.
    top = {next(term.parameters()).name for term in lagged if not term.name.endswith("_innovation")}
    top.discard(nm.CONTROL_LAGGED_EFFECT)
    return [name for name in map(str, log_prior.data_vars) if name in top]


def prior_sensitivity(
    spec: ModelSpec, log_prior: xr.Dataset, one_step: xr.DataArray, quantities: xr.DataArray
) -> pd.DataFrame:
    """Power-scaling sensitivity of derived quantities to the priors of effect and lag, and to the likelihood.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    log_prior : xarray.Dataset
        Log prior density (chain, draw) of each free variable.
    one_step : xarray.DataArray
        Log densities (chain, draw, time) with the log likelihood as their sum; of long series at fewer draws than the
        rest, which alone are used then.
    quantities : xarray.DataArray
        Posterior draws (chain, draw, quantity).

    Returns
    -------
    pandas.DataFrame
        One row per quantity: the sensitivities ``prior`` and ``likelihood`` of `arviz.psense_summary` (sensitive above
        0.05); ``prior_pull`` and ``likelihood_pull``, the change in the posterior mean per doubling of the weight of
        the priors and of the likelihood: ln 2 times its covariance with their log density. NaN with fewer than ten
        draws.

    Notes
    -----
    Kallioinen, Paananen, Buerkner & Vehtari (2024), doi:10.1007/s11222-023-10366-5.
    """
    log_prior, one_step, quantities = xr.align(log_prior, one_step, quantities, join="inner")
    # ArviZ would stack the rows before it takes their sum.
    total = one_step.sum([dim for dim in one_step.dims if dim not in SAMPLE])
    groups = {"log_prior": log_prior, nm.LOG_LIKELIHOOD: total.to_dataset(name=nm.RESPONSE_VALUE)}
    tree = xr.DataTree.from_dict({"/posterior": quantities.to_dataset(name="value"), **groups})
    scaled = prior_components(spec, log_prior)
    if quantities.sizes[nm.CHAIN] * quantities.sizes[nm.DRAW] < FEWEST:
        names = ["prior", "likelihood", "prior_pull", "likelihood_pull"]
        return pd.DataFrame(np.nan, index=range(quantities.sizes["quantity"]), columns=names)
    with _quiet("arviz_stats.psense"):
        found = az.psense_summary(tree, prior_var_names=scaled, threshold=SENSITIVE)
    for name, part in (("prior", log_prior[scaled]), ("likelihood", groups[nm.LOG_LIKELIHOOD])):
        each = (values.sum([dim for dim in values.dims if dim not in SAMPLE]) for values in part.values())
        log_density = sum(each, start=xr.DataArray(0.0))
        pull = np.log(2) * xr.cov(quantities, log_density, SAMPLE)
        found[f"{name}_pull"] = pull.to_numpy()
    return found.drop(columns="diagnosis")


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Disable a logger whose warnings the table repeats."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def point_information(spec: ModelSpec, posterior: xr.Dataset, signal: str, at: dict[str, str]) -> float | None:
    """Information gain on a point lag, from P(lag | y, parameters) averaged over draws; None for other kernels.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    posterior : xarray.Dataset
        Its draws (chain, draw, ...).
    signal : str
        The signal.
    at : dict
        Regime of the lag, if it differs by regime.
    """
    kernel = next(one.kernel for one in spec.lagged_signals if one.name == signal)
    masses = getattr(kernel, "prior_masses", None)
    probability = posterior.get(nm.lag_parameter(signal, "probability"))
    if masses is None or probability is None:
        return None
    average = probability.mean(SAMPLE).sel({dim: label for dim, label in at.items() if dim in probability.dims})
    return divergence(average.to_numpy(), masses(spec.max_lag)) if average.dims == (nm.LAG,) else None


def wider_effect(spec: ModelSpec, signal: str) -> str:
    """The prior of the effect, twice as wide, as a spec has it."""
    effect = model_terms(spec, len(spec.episodes.labels())).effect[0]
    prior = effect.prior.at({nm.SIGNAL: signal})
    slab = Slab(prior.distribution, prior.parameters)
    wide = Prior(
        prior.distribution,
        unit=prior.unit,
        **{**prior.parameters, **{name: 2 * value for name, value in slab.scales.items()}},
    )
    return f"priors={{{nm.EFFECT!r}: regimelag.{wide!r}}}"


def wider_lag(spec: ModelSpec, signal: str) -> str:
    """The prior of a kernel's lag, made twice as wide if the kernel can have that."""
    kernel: Any = next(one.kernel for one in spec.lagged_signals if one.name == signal)
    if getattr(kernel, "masses", ()):
        return f"more even masses in the kernel of {signal}"
    for name in ("mean_lag_sd", "roughness", "spread"):
        try:
            wide = dataclasses.replace(kernel, **{name: 2 * getattr(kernel, name)})
            wide.validate(spec.max_lag)
        except (AttributeError, TypeError, SpecError):
            continue
        return f"{name} = {getattr(wide, name):g} in the kernel of {signal}"
    return f"a kernel of {signal} whose mean lag is less certain, such as gamma"
