"""Scores of a fit on periods after its window, with its parameters held constant."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import PanelError
from regimelag.evaluation.forecasting.forecast import same_period_terms
from regimelag.evaluation.forecasting.forecast_scores import BANDS, inside
from regimelag.likelihood.hmm_draws import filter_forward_draws
from regimelag.model.evaluate import evaluate, log_observation
from regimelag.panel.checks import check_panel
from regimelag.panel.moderators import with_standing_drivers
from regimelag.panel.newer import place_of_last, restandardize_like
from regimelag.panel.own_past import history_before, used_responses, with_history
from regimelag.panel.slicing import day_of, natural
from regimelag.results.pit import predictive_pit
from regimelag.results.regimes import filtered_distribution
from regimelag.results.view import View
from regimelag.results.volatility import last_variance
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec

# Larger differences of returns are revisions; smaller ones are rounding.
REVISED = 1e-6


def score(idata: xr.DataTree, panel: xr.Dataset) -> xr.Dataset:
    """Score a fit one step ahead on new periods, with its parameters held constant.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit, for example from a file saved before these rows existed.
    panel : xarray.Dataset
        From `make_panel` with the same spec on newer data, with the fit's last row and later ones.

    Returns
    -------
    xarray.Dataset
        For new periods with a response: ``log_score`` (time), the log of the predictive density of the row's responses
        in their own units, averaged over the posterior; ``pit`` (time, response), the predictive
        probability of a lower value, NaN where the response is missing; ``inside`` (time, response, band), 1 if the
        response is in the central band of that probability; ``coverage`` (response, band), its mean over time. In
        attrs: ``mean_log_score``; ``joint_log_score``, the log of the averaged joint density of all rows;
        ``condition``, what the densities are conditional on; and ``warnings``.

    Raises
    ------
    PanelError
        If the panel does not fit the spec, lacks the fit's last row, has no response after it, or reaches an episode
        that is not in the fit.

    Notes
    -----
    The regime is filtered through the new rows; parameters and constants are those of the fit. PIT: Dawid (1984),
    doi:10.2307/2981683; the log score is proper: Gneiting & Raftery (2007), doi:10.1198/016214506000001437.
    """
    view = View.of(idata)
    spec, old = view.spec, view.panel
    check_panel(spec, panel)
    tail = _tail(spec, old, panel)
    eq = evaluate(spec, tail, view.at_draws.draws)
    y = used_responses(tail)
    # The filtered distribution and the variance of the next row already include the fit's last row.
    new = eq.after_first_row(last_variance(view))
    density = np.pad(log_observation(new, y[1:]), ((0, 0), (1, 0), (0, 0)))
    with np.errstate(divide="ignore"):
        predicted, _, steps = filter_forward_draws(density, eq.logits, np.log(filtered_distribution(view)))
    seen = ~np.isnan(y[1:])
    log_scale = (seen * np.log(tail[nm.scale_of(nm.RESPONSE)].to_numpy())).sum(axis=1)
    coords = {nm.TIME: tail[nm.TIME].to_numpy()[1:], nm.RESPONSE: [response.name for response in spec.responses]}
    pit = xr.DataArray(predictive_pit(new, predicted[:, 1:], y[1:]).mean(axis=0), coords=coords, name="pit")
    read = pit.to_dataset().assign(log_score=(nm.TIME, _log_mean(steps[:, 1:]) - log_scale))
    read = read.isel({nm.TIME: seen.any(axis=1)})
    band = xr.DataArray(list(BANDS.values()), dims="band", coords={"band": list(BANDS.values())})
    read["inside"] = inside(read["pit"], band).where(read["pit"].notnull())  # noqa: PD004 - xarray has no other name
    read["coverage"] = read["inside"].mean(nm.TIME)
    joint = float(_log_mean(steps[:, 1:].sum(axis=1)) - log_scale.sum())
    read.attrs = {"mean_log_score": float(read["log_score"].mean()), "joint_log_score": joint}
    read.attrs["condition"] = _condition(spec)
    read.attrs["warnings"] = _warnings(idata, pd.DatetimeIndex(read[nm.TIME].to_numpy()), old, panel)
    read.attrs[nm.SENTENCES] = [f"Each row is scored {read.attrs['condition']}.", *read.attrs["warnings"]]
    return read


def _log_mean(values: np.ndarray) -> np.ndarray:
    """Log of the mean over draws, the first axis, of exponentials."""
    top = values.max(axis=0)
    return top + np.log(np.exp(values - top).mean(axis=0))


def _tail(spec: ModelSpec, old: xr.Dataset, panel: xr.Dataset) -> xr.Dataset:
    """The fit's last row and later rows, in the fit's constants and episodes."""
    asked = "score"
    first = place_of_last(panel, old, asked)
    panel = restandardize_like(spec, panel, old)
    panel = with_standing_drivers(with_history(panel, history_before(panel, first)), first)
    tail = panel.isel({nm.TIME: slice(first, None), nm.SIGNAL_TIME: slice(first, None)})
    if np.isnan(tail[nm.SIGNAL_VALUE].to_numpy()).any():
        cure = f'make the panel with start="{day_of(old, 0)}", as the fit was'
        raise PanelError(asked, "the panel reaches back as far as signals beyond another column need", "less", cure)
    if not np.isfinite(used_responses(tail)[1:]).any():
        cure = "get newer data; the fit has seen all that this panel holds"
        raise PanelError(asked, "a response is observed after the fit's window", f"none after {day_of(old, -1)}", cure)
    return _in_episodes_of(tail, old, asked)


def _in_episodes_of(tail: xr.Dataset, old: xr.Dataset, asked: str) -> xr.Dataset:
    known = [str(label) for label in old[nm.EPISODE].to_numpy()]
    labels = [str(label) for label in tail[nm.EPISODE].to_numpy()]
    used = [labels[place] for place in tail[nm.EPISODE_INDEX].to_numpy()]
    strange = sorted(set(used) - set(known))
    if strange:
        first = int(np.flatnonzero(~np.isin(used, known))[0])
        cure = f'make the panel with end="{day_of(tail, first - 1)}", or fit again on this one'
        raise PanelError(asked, f"rows lie in episodes that the fit knows, {known}", f"{strange}", cure)
    other = tail.drop_dims(nm.EPISODE, errors="ignore").assign_coords({nm.EPISODE: old[nm.EPISODE]})
    return other.assign({nm.EPISODE_INDEX: (nm.TIME, np.array([known.index(label) for label in used]))})


def _condition(spec: ModelSpec) -> str:
    if same_period_terms(spec):
        return "given each row's own signals and controls, which were not known beforehand: no forecasts"
    return "given what was known on the row before"


def _warnings(idata: xr.DataTree, dates: pd.DatetimeIndex, old: xr.Dataset, panel: xr.Dataset) -> list[str]:
    """Sentences on rows that existed when the fit was made, and on revised data."""
    said = []
    made = pd.Timestamp(dt.datetime.fromisoformat(idata.attrs["created_at"])).tz_localize(None)
    early = int((dates <= made).sum())
    if early:
        known = f"dated before the fit was made ({made.date()}): its maker may have known them."
        said.append(f"{early} of {len(dates)} rows are {known}")
    common = np.intersect1d(old[nm.TIME].to_numpy(), panel[nm.TIME].to_numpy())
    then, now = (natural(each, nm.RESPONSE).sel({nm.TIME: common}) for each in (old, panel))
    revised = int((abs(then - now) > REVISED).any(nm.RESPONSE).sum())
    if revised:
        said.append(f"{revised} rows of the fit's own window have another response here: the data were revised.")
    return said
