"""Leave-future-out: fit the model on the rows up to an origin, and score later rows.

`compare` uses refits at common origins; `arviz.lfo_cv` chooses its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from scipy import special

from regimelag.errors import FitError
from regimelag.evaluation.comparison.pointwise_log_likelihood import one_step_ahead, seen_rows
from regimelag.evaluation.robustness.refit import Refit, posterior_of
from regimelag.panel.slicing import day_of, keep_first_episodes, restandardize_on, window
from regimelag.runtime.plain import drawn_seed
from regimelag.sampling.diagnostics import interruption
from regimelag.sampling.fit import fit
from regimelag.sampling.inference_data import one_step_ahead_terms, panel_of, spec_of
from regimelag.sampling.sampler import Sampler, require_sampler
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

# Rows between refits of a comparison, and their settings.
EVERY = 26
# Enough for vanishing weights to be below 0.001.
EM_STEPS = 5000
SAMPLER = Sampler(draws=500, tune=500, chains=2, starts=6)


@dataclass(frozen=True)
class FutureScore:
    """Out-of-sample log predictive densities, with the attributes of ArviZ's scores.

    Parameters
    ----------
    elpd_i : xarray.DataArray
        (time) log density of each row with a response after the first origin, given the previous rows, averaged over
        the posterior of the last refit, in nats of the responses in their own units.
    refits : int
        Number of refits.
    rhat : float
        Their largest R-hat.
    """

    elpd_i: xr.DataArray
    refits: int
    rhat: float

    # No effective number of parameters, and no importance sampling.
    p: float = np.nan
    good_k: float = np.inf

    @property
    def elpd(self) -> float:
        """Sum of the log densities."""
        return float(self.elpd_i.sum())

    @property
    def se(self) -> float:
        """Standard error of the sum over rows."""
        return float(np.sqrt(self.elpd_i.size) * self.elpd_i.std(ddof=1))

    @property
    def pareto_k(self) -> xr.DataArray:
        """Zero for each row (time): there is no importance sampling."""
        return xr.zeros_like(self.elpd_i)

    @property
    def reliability(self) -> str:
        """Number of refits and their largest R-hat, in words."""
        return f"{self.refits} refits, the largest R-hat {self.rhat:.2f}"


def future_stacking_weights(scores: list[FutureScore]) -> np.ndarray:
    """Weights (score) with sum one of the mixture with the highest leave-future-out density.

    By expectation maximisation: the objective is concave in the weights, and no step decreases it.
    """
    log_density = np.stack([score.elpd_i.to_numpy() for score in scores], axis=-1)
    density = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    weights = np.full(len(scores), 1.0 / len(scores))
    for _ in range(EM_STEPS):
        weights = weights * (density / (density @ weights)[:, None]).mean(axis=0)
    return weights / weights.sum()


def origins(panel: xr.Dataset) -> list[int]:
    """First row behind each origin, from half of the rows with a response on."""
    rows = np.flatnonzero(np.isfinite(panel[nm.RESPONSE_VALUE].to_numpy()).any(axis=1))
    return list(range(int(rows[len(rows) // 2]), panel.sizes[nm.TIME], EVERY))


def future_score(spec: ModelSpec, panel: xr.Dataset, sampler: Sampler, random_seed: int) -> FutureScore:
    """Refit a model on the rows up to each origin, and score the rows until the next one step ahead.

    Centres and scales are computed on the rows up to the origin. An episode that begins later has no parameters yet;
    its rows are scored as if the last one continued.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.
    sampler : Sampler
        Settings of each refit.
    random_seed : int
        Seed, from which the seed of each origin is derived.
    """
    found = [origin_score(spec, panel, sampler, random_seed, number) for number in range(len(origins(panel)))]
    return joined_score(panel, found)


def origin_score(spec: ModelSpec, panel: xr.Dataset, sampler: Sampler, random_seed: int, number: int) -> dict[str, Any]:
    """Log densities of the rows from one origin to the next, and R-hat of the refit before them, for JSON."""
    start, stop = [*origins(panel), panel.sizes[nm.TIME]][number : number + 2]
    whole = from_origin(spec, panel, start, stop)
    known = window(whole, 0, start)
    seed = int(np.random.SeedSequence([random_seed, start]).generate_state(1)[0])
    posterior, found = posterior_of(Refit(spec, known, known, ""), sampler, seed)
    ahead = one_step_ahead_terms(spec, keep_first_episodes(whole, known.sizes[nm.EPISODE]), posterior)
    rows = seen_rows(whole)
    terms = _log_mean(ahead.isel({nm.TIME: rows[rows >= start]}))
    return {"elpd_i": terms.to_numpy().tolist(), "rhat": float(found["rhat"])}


def from_origin(spec: ModelSpec, panel: xr.Dataset, start: int, stop: int) -> xr.Dataset:
    """Rows up to `stop`, centred and scaled on those before `start`."""
    return restandardize_on(spec, window(panel, 0, stop), start)


def joined_score(panel: xr.Dataset, found: Sequence[Mapping[str, Any]]) -> FutureScore:
    """Score of all rows behind the first origin, from `origin_score` of each."""
    rows = seen_rows(panel)
    times = panel[nm.TIME].isel({nm.TIME: rows[rows >= origins(panel)[0]]})
    terms = xr.DataArray(np.concatenate([one["elpd_i"] for one in found]), {nm.TIME: times.to_numpy()}, nm.TIME)
    return FutureScore(terms, len(found), max(one["rhat"] for one in found))


def _log_mean(terms: xr.DataArray) -> xr.DataArray:
    """Log of the mean over draws of densities, from their logs."""
    draws = terms.sizes[nm.CHAIN] * terms.sizes[nm.DRAW]
    return terms.reduce(special.logsumexp, (nm.CHAIN, nm.DRAW)) - np.log(draws)


def future_condition(panel: xr.Dataset, reasons: Iterable[str]) -> str:
    """Why densities are leave-future-out, and what they are conditional on, in words."""
    first, count = origins(panel)[0], len(origins(panel))
    return (
        f"Leave-one-out densities do not exist where {'; '.join(dict.fromkeys(reasons))}. All models are therefore "
        "compared by leave-future-out: each row is predicted one step ahead from the rows before it, with parameters "
        f"learned on the rows up to an origin, from {day_of(panel, first)} on, and refitted every {EVERY} rows "
        f"({count} refits)."
    )


class LeaveFutureOut(az.SamplingWrapper):
    """Refits of a fit's model for `arviz.lfo_cv`, standardised on the rows up to each origin.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit; its model and data are used, its draws are not.
    sampler : Sampler, optional
        Settings of each refit; by default those of `fit`.
    random_seed : int, optional
        Seed, from which the seed of each origin is derived. By default one is drawn; it is the attribute
        ``random_seed`` either way.

    Raises
    ------
    FitError
        If the rows to leave out are not all rows from one on.
    PanelError
        If a signal is orthogonalised, or a series is constant before the first origin.

    See Also
    --------
    regimelag.one_step_ahead : The tree to pass to `arviz.lfo_cv`.

    Notes
    -----
    Leave-future-out: Buerkner, Gabry & Vehtari (2020), doi:10.1080/00949655.2020.1783262. A row is scored by its
    one-step-ahead density, with regimes and point lags marginalised, for responses in their own units; several rows by
    the chain rule. The density is conditional on the row's own signals and controls, which are unknown beforehand: it
    scores a forecast only for models without same-row terms. Standardisation uses the rows up to the origin. An episode
    that begins later has no parameters yet; its rows are scored as if the last one continued, until the next refit.

    To test a claim about the lag of a signal, compare with refits of the same model with kernel none for it, which
    keeps the same-period term.

    Origins count rows with a response. ``method="approx"`` refits only when importance sampling fails, so an episode
    that begins after the first origin may never get its own parameters; use ``method="exact"`` in that case.

    Examples
    --------
    >>> wrapper = rl.evaluation.LeaveFutureOut(idata, sampler=rl.Sampler(draws=500, chains=2))
    >>> az.lfo_cv(rl.one_step_ahead(idata), wrapper, min_observations=400, forecast_horizon=1)
    """

    def __init__(self, idata: xr.DataTree, *, sampler: Sampler | None = None, random_seed: int | None = None) -> None:
        asked = "LeaveFutureOut"
        sampler = Sampler() if sampler is None else require_sampler(asked, sampler)
        # The prior of a refit is not used.
        super().__init__(
            model=spec_of(idata),
            idata_orig=one_step_ahead(idata),
            sample_kwargs={"sampler": sampler, "prior_draws": 1, "progressbar": False},
        )
        self.panel, self.random_seed = panel_of(idata), drawn_seed(FitError, asked, random_seed)

    def sel_observations(self, idx: Any) -> tuple[xr.Dataset, xr.Dataset]:
        """The panel up to the origin, and the whole panel, standardised on the rows up to the origin.

        Parameters
        ----------
        idx : int array
            Rows to leave out, counted among those with a response: all from the origin on.

        Returns
        -------
        tuple of xarray.Dataset
            Two panels. The second has all rows, since densities depend on previous rows.
        """
        rows, out = seen_rows(self.panel), np.atleast_1d(idx)
        if not len(out) or not np.array_equal(out, np.arange(out[0], len(rows))) or out[0] < 1:
            raise FitError(
                "LeaveFutureOut",
                f"all rows from an origin to the last, {len(rows) - 1}, are left out",
                f"rows {out.tolist()[:10]}",
                "pass the wrapper to arviz.lfo_cv; for leave-one-out use regimelag.leave_one_out",
            )
        stop = int(rows[out[0]])
        whole = restandardize_on(self.model, self.panel, stop)
        known = window(whole, 0, stop)
        return known, keep_first_episodes(whole, known.sizes[nm.EPISODE])

    def sample(self, modified_observed_data: xr.Dataset) -> xr.DataTree:
        """Fit the model to a panel."""
        sequence = np.random.SeedSequence([self.random_seed, modified_observed_data.sizes[nm.TIME]])
        seed = int(sequence.generate_state(1)[0])
        fitted = fit(self.model, modified_observed_data, random_seed=seed, **self.sample_kwargs)
        if interruption(fitted):
            # Fewer draws than requested are no refit of a comparison.
            raise KeyboardInterrupt
        return fitted

    def get_inference_data(self, fitted_model: xr.DataTree) -> xr.DataTree:
        """Return the fit unchanged."""
        return fitted_model

    def log_likelihood__i(self, excluded_obs: xr.Dataset, idata__i: xr.DataTree) -> xr.DataArray:
        """Log density (chain, draw, time) of each row after the fit's last, given the previous rows.

        In nats of the responses in their own units.
        """
        terms = one_step_ahead_terms(self.model, excluded_obs, idata__i["posterior"].to_dataset())
        rows = seen_rows(excluded_obs)
        return terms.isel({nm.TIME: rows[rows >= idata__i["observed_data"].sizes[nm.TIME]]})
