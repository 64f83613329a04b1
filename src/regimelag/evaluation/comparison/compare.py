"""Comparison of models by predictive density: a table, and sentences on what it supports."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.evaluation.comparison.comparability import check_alike, check_same_rows
from regimelag.evaluation.comparison.differences import contrast
from regimelag.evaluation.comparison.elpd_difference import (
    SAME,
    ElpdDifference,
    compare_elpd,
    describe_gains,
    describe_models,
    unreliable,
)
from regimelag.evaluation.comparison.leave_future_out import (
    SAMPLER,
    FutureScore,
    from_origin,
    future_condition,
    future_stacking_weights,
    joined_score,
    origin_score,
    origins,
)
from regimelag.evaluation.comparison.leave_one_out import past_dependence
from regimelag.evaluation.comparison.pointwise_log_likelihood import condition, leave_one_out_tree, same_row_condition
from regimelag.evaluation.comparison.psis_loo import loo_score, reliability, stacking_weights
from regimelag.evaluation.parallel_runs import ERROR, Result, code_hash, run_all, seed_of_study
from regimelag.evaluation.robustness.summary import RHAT_LIMIT
from regimelag.panel.checks import panel_hash
from regimelag.panel.own_past import used_responses
from regimelag.panel.slicing import day_of
from regimelag.results.view import View
from regimelag.runtime.result_table import readable
from regimelag.sampling.diagnostics import stored_diagnostics
from regimelag.sampling.inference_data import made_with, panel_of, spec_of
from regimelag.sampling.sampler import Sampler, sampler_of_refits
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import spec_to_toml

COLUMNS = ("elpd", "elpd se", "parameters", "difference", "difference se", "weight", "reading", "reliability")
PRINTED = ("elpd", "gain", "difference", "weight", "reading")
GAINS = ("rows", "gain", "gain se", "reading", "difference", "difference se", "reliability")


ASKED = "compare"
LEAVE_ONE_OUT, LEAVE_FUTURE_OUT = "leave-one-out", "leave-future-out"


class Refits(NamedTuple):
    """Arguments of `compare` for the refits of leave-future-out."""

    sampler: Sampler
    executor: Executor | None = None
    folder: str | Path | None = None
    random_seed: int | None = None
    progressbar: bool = True


class Scores(NamedTuple):
    """Predictive densities of fits by name, and their method.

    Attributes
    ----------
    by_name : dict of str to object
        Scores of all fits, by one method.
    faults : dict of str to list of str
        Convergence problems of each fit or its refits, in words.
    method : str
        leave-one-out or leave-future-out.
    condition : str
        What the densities are conditional on, in words.
    attrs : dict
        Attributes to record.
    """

    by_name: dict[Any, Any]
    faults: dict[Any, list[str]]
    method: str
    condition: str
    attrs: dict[Hashable, Any]


def compare(
    fits: Mapping[str, xr.DataTree],
    *,
    reference: str | None = None,
    nulls: Mapping[str, xr.DataTree] | None = None,
    sampler: Sampler = SAMPLER,
    executor: Executor | None = None,
    folder: str | Path | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> pd.DataFrame:
    """Compare models of the same data by their predictive densities.

    Leave-one-out densities of a row given all others are compared if all models have them. Models whose densities
    depend on past responses, through GARCH or autoregression, do not: then all models are refitted on the rows up to
    several origins, and compared by their one-step-ahead densities (leave-future-out).

    To test a claim about the lag of a signal, compare with the same model with kernel none for it, which keeps the
    same-period term: ``dataclasses.replace(signal, kernel=regimelag.kernels.NoLag())``.

    Parameters
    ----------
    fits : mapping of str to xarray.DataTree
        At least two fits by name, with the same responses on the same rows.
    reference : str, optional
        Model to compare all others with, such as the model of the claim; by default the first.
    nulls : mapping of str to xarray.DataTree, optional
        The fit of each model's own null, by the same names. Then gains over nulls are compared, and the models may have
        different responses, such as a direction and its reverse: each null has its model's responses, and all have the
        same rows.
    sampler : Sampler
        Settings of the refits of leave-future-out; `nuts_sampler` is "nutpie". By default two chains of 500 draws after
        500 tuning draws, and a mode search from six starting points.
    executor : concurrent.futures.Executor, optional
        Where refits run, such as a Dask cluster's ``client.get_executor()``. By default processes of this machine, one
        per core, which do not import the script.
    folder : str or Path, optional
        Folder for finished refits; a call that was stopped goes on from there, and failed refits are tried again.
    random_seed : int, optional
        Seed of these refits, recorded in ``attrs["random_seed"]``. By default that of the folder, if it has one, or
        else a new one.
    progressbar : bool
        Whether to print how many refits are done.

    Returns
    -------
    pandas.DataFrame
        One row per model, best first: ``elpd``, expected log predictive density, the sum over rows of the joint log
        density of the responses in their own units (nats), and its standard error; ``parameters``, their effective
        number (missing for leave-future-out); ``difference`` of the elpd from the reference's and its standard error,
        from paired rows; ``weight`` by stacking; ``reading``: *better*, *worse* or *inconclusive*, compared with the
        reference; ``reliability``, from Pareto k, or the largest R-hat of the refits.

        In attrs: ``verdict``, a list of sentences, including differences between models and whether they test a lag;
        ``differences`` in spec from the reference, by model; ``method``, leave-one-out or leave-future-out;
        ``condition``, what the densities are conditional on; ``reference``; ``rows``.

        With `nulls`, one row per model, the reference first: ``rows``; ``gain``, the elpd of the model minus that of
        its null (nats), and its standard error; ``reading``: *better*, *worse* or *inconclusive*, compared with its
        null; ``difference`` of the gain from the reference's and its standard error, from paired rows; ``reliability``
        of the model and of its null. Attrs are the same; ``differences`` are those of the null from its model.

    Raises
    ------
    FitError
        If there are fewer than two fits, ``reference`` is not one of them, or their responses, rows, missing values or
        standardisation differ; if a refit fails, or the folder belongs to other settings. With ``nulls``, also unless
        there is one per model, with its responses; responses may then differ between models.
    PanelError
        If leave-future-out is needed and a signal is orthogonalised, or a series is constant before the first origin.

    See Also
    --------
    regimelag.plots.plot_compare : The table as a figure.
    leave_one_out : The densities, for ArviZ.

    Notes
    -----
    Densities are exact for each draw. Pareto-smoothed importance sampling corrects for the use of the row in the
    posterior: Vehtari, Gelman & Gabry (2017), doi:10.1007/s11222-016-9696-4. Weights: Yao, Vehtari, Simpson & Gelman
    (2018), doi:10.1214/17-BA1091.

    The data distinguish two models if the difference is at least 4 nats and at least two standard errors, over at least
    100 rows, also without the rows with a large Pareto k, and the diagnostics of both fits find no fault. Smaller
    differences have standard errors that are too small, and errors far from normal: Sivula, Magnusson, Matamoros &
    Vehtari (2020), arXiv:2008.10296. An inconclusive difference does not mean that both models predict equally well.

    A leave-one-out density is conditional on the row's own signals and controls and on all other rows, including later
    ones. It measures whether a term helps to describe a week, not whether it helps to forecast.

    Leave-future-out scores the second half of the rows. Centres, scales and parameters are estimated on the rows up to
    an origin and updated every 26 rows; regimes and the conditional variance are filtered from row to row. It takes
    about a CPU minute for a model of 682 weeks. Buerkner, Gabry & Vehtari (2020), doi:10.1080/00949655.2020.1783262.
    """
    named = _named(fits, reference)
    refits = Refits(sampler, executor, folder, random_seed, progressbar)
    if nulls is not None:
        return _gains(_with_nulls(fits, nulls, named), refits)
    check_alike(fits)
    scores, faults, method, words, recorded = _scores(fits, refits)
    tellings = {name: _telling(name, named, scores, faults) for name in fits}
    weigh = stacking_weights if method == LEAVE_ONE_OUT else future_stacking_weights
    weights = dict(zip(scores, weigh(list(scores.values())), strict=True))
    specs = {name: spec_of(idata) for name, idata in fits.items()}
    contrasts = {name: contrast(specs[named], spec, specs) for name, spec in specs.items()}
    rows = [_model_row(scores[name], tellings[name], weights[name]) for name in fits]
    table = pd.DataFrame(rows, index=pd.Index(list(fits), name="model"), columns=list(COLUMNS))
    table = table.sort_values("elpd", ascending=False, kind="stable")
    table.attrs = {
        "reference": named,
        "rows": int(scores[named].elpd_i.size),
        "verdict": describe_models(named, {name: tellings[name] for name in table.index}, faults, contrasts),
        "differences": {name: list(contrasts[name].differences) for name in table.index},
        "method": method,
        "condition": words,
        **recorded,
        nm.MADE_WITH: [_made_with(idata) for idata in fits.values()],
    }
    table.attrs[nm.SENTENCES] = [*table.attrs["verdict"], table.attrs["condition"]]
    return readable(table, PRINTED, caption=table_caption(table.attrs))


def table_caption(attrs: Mapping[Any, Any], *, gains: bool = False) -> str:
    """Caption: the columns of the table, and its sample."""
    whose = "its null" if gains else attrs["reference"]
    return (
        f"Expected log predictive density (elpd) in nats by {attrs['method']} over {attrs['rows']} rows, and its "
        f"difference from {attrs['reference']}, with standard errors. "
        "Inconclusive: the data do not distinguish the two."
        + "".join(f" {name}: {whose} {', '.join(words)}." for name, words in attrs["differences"].items() if words)
    )


def compare_gains(
    pairs: Mapping[str, tuple[xr.DataTree, xr.DataTree]], *, sampler: Sampler = SAMPLER, random_seed: int | None = None
) -> pd.DataFrame:
    """Compare gains as `compare` with nulls, from pairs (model, null): a former name."""
    return _gains(pairs, Refits(sampler, random_seed=random_seed))


def _gains(pairs: Mapping[str, tuple[xr.DataTree, xr.DataTree]], refits: Refits) -> pd.DataFrame:
    """Compare the gains of models over their own nulls, from pairs (model, null): `compare` with nulls.

    Densities of different responses have different units and cannot be compared. Gains are ratios of densities of one
    response, so they can. The decision rule is that of `compare`.
    """
    for name, pair in pairs.items():
        check_alike({name: pair[0], f"the null of {name}": pair[1]})
    check_same_rows({name: model for name, (model, _) in pairs.items()})
    fits = {(name, place): idata for name, pair in pairs.items() for place, idata in enumerate(pair)}
    found = _scores(fits, refits)
    scores = {name: (found.by_name[name, 0], found.by_name[name, 1]) for name in pairs}
    faults = {name: found.faults[name, 0] + found.faults[name, 1] for name in pairs}
    gains = {name: compare_elpd(*both, faulty=bool(faults[name])) for name, both in scores.items()}
    first = next(iter(pairs))
    between = {name: _between(scores[name], scores[first], faults[name] + faults[first]) for name in pairs}
    rows = [_gain_row(scores[name], gains[name], between[name]) for name in pairs]
    table = pd.DataFrame(rows, index=pd.Index(list(pairs), name="model"), columns=list(GAINS))
    contrasts = {name: contrast(spec_of(model), spec_of(null)) for name, (model, null) in pairs.items()}
    table.attrs = found.attrs | {
        "reference": first,
        "rows": int(table["rows"].iloc[0]),
        "verdict": describe_gains(gains, between, faults, contrasts),
        "differences": {name: list(found.differences) for name, found in contrasts.items()},
        "method": found.method,
        "condition": found.condition,
        nm.MADE_WITH: [_made_with(idata) for pair in pairs.values() for idata in pair],
    }
    table.attrs[nm.SENTENCES] = [*table.attrs["verdict"], table.attrs["condition"]]
    return readable(table, PRINTED, caption=table_caption(table.attrs, gains=True))


def _with_nulls(
    fits: Mapping[str, xr.DataTree], nulls: Mapping[str, xr.DataTree], reference: str
) -> dict[str, tuple[xr.DataTree, xr.DataTree]]:
    """Each fit with its null, the reference first."""
    if not isinstance(nulls, Mapping) or set(nulls) != set(fits):
        came = f"names {list(nulls)}" if isinstance(nulls, Mapping) else f"a {type(nulls).__name__}"
        cure = f"write nulls={{{', '.join(f'{name!r}: ...' for name in fits)}}}"
        raise FitError("compare", f"there is a null for each of {list(fits)}, in a mapping", came, cure)
    return {name: (fits[name], nulls[name]) for name in (reference, *fits)}


def _made_with(idata: xr.DataTree) -> str:
    return made_with(spec_of(idata), idata.attrs[nm.PANEL_HASH])


def _named(fits: Mapping[str, xr.DataTree], reference: str | None) -> str:
    if not isinstance(fits, Mapping):
        cure = 'name them: compare({"lag": idata, "null": other})'
        raise FitError("compare", "fits come by name, in a mapping", f"a {type(fits).__name__}", cure)
    if len(fits) < 2:  # noqa: PLR2004
        raise FitError("compare", "there are two fits or more", f"{len(fits)}", 'pass {"lag": idata, "null": other}')
    if reference is not None and not (isinstance(reference, Hashable) and reference in fits):
        cure = f"write reference={next(iter(fits))!r}"
        raise FitError("compare", f"reference is one of the fits {list(fits)}", f"reference = {reference!r}", cure)
    return next(iter(fits)) if reference is None else reference


def _scores(fits: Mapping[Any, xr.DataTree], refits: Refits) -> Scores:
    """Scores of all fits by one method: leave-one-out if all have such densities, else leave-future-out."""
    refits = refits._replace(sampler=sampler_of_refits(ASKED, refits.sampler))
    seed = seed_of_study(ASKED, refits.folder, refits.random_seed)
    specs, panels = [spec_of(idata) for idata in fits.values()], [panel_of(idata) for idata in fits.values()]
    faults = {name: stored_diagnostics(idata)[1:] for name, idata in fits.items()}
    reasons = [why for why in map(past_dependence, specs, panels) if why]
    if not reasons:
        loo = {name: _loo_score(idata) for name, idata in fits.items()}
        return Scores(loo, faults, LEAVE_ONE_OUT, condition(*specs), {})
    found = dict(zip(fits, _future_scores(specs, panels, refits, seed), strict=True))
    for name, score in found.items():
        if score.rhat > RHAT_LIMIT:
            faults[name] = [*faults[name], f"A refit has an R-hat of {score.rhat:.2f}."]
    words = f"{future_condition(panels[0], reasons)} {same_row_condition(*specs)}"
    unused = [np.isnan(used_responses(panel)) for panel in panels]
    alike = np.all([one == unused[0] for one in unused], axis=(0, 2))
    if not alike.all():
        # With autoregression, rows with missing own lags have no density; they are omitted for all models.
        times = panels[0][nm.TIME].to_numpy()[alike]
        for name, score in found.items():
            kept = np.isin(score.elpd_i[nm.TIME].to_numpy(), times)
            found[name] = dataclasses.replace(score, elpd_i=score.elpd_i.isel({nm.TIME: kept}))
        words += " Rows on which a model lacks the own past of a response are not scored."
    return Scores(found, faults, LEAVE_FUTURE_OUT, words, {"random_seed": seed})


def _future_scores(
    specs: list[ModelSpec], panels: list[xr.Dataset], refits: Refits, random_seed: int
) -> list[FutureScore]:
    """Scores of models by one refit for each model and origin, which are the same for all models."""
    starts = origins(panels[0])
    for spec, panel in zip(specs, panels, strict=True):
        # What the first window cannot be fitted for is refused before the first refit.
        from_origin(spec, panel, starts[0], panel.sizes[nm.TIME])
    results = run_all(
        partial(_one_refit, specs, panels, refits.sampler, random_seed),
        range(len(specs) * len(starts)),
        settings={
            "study": ASKED,
            "specs": [spec_to_toml(spec) for spec in specs],
            "panels": [panel_hash(panel) for panel in panels],
            **refits.sampler.plain,
            "random_seed": random_seed,
            "code": code_hash(),
        },
        executor=refits.executor,
        folder=refits.folder,
        progressbar=refits.progressbar,
    )
    every = list(results.values())
    failed = [number for number, result in enumerate(every) if ERROR in result]
    if failed:
        model, origin = divmod(failed[0], len(starts))
        which = f"{specs[model].name} on the rows before {day_of(panels[model], starts[origin])}"
        raise FitError(
            ASKED,
            "every refit succeeds",
            f"{len(failed)} of {len(every)} failed, the first of {which}: {every[failed[0]][ERROR]}",
            "change the model or the Sampler, or leave the model out",
        )
    parts = [every[first : first + len(starts)] for first in range(0, len(every), len(starts))]
    return [joined_score(panel, part) for panel, part in zip(panels, parts, strict=True)]


def _one_refit(
    specs: list[ModelSpec], panels: list[xr.Dataset], sampler: Sampler, random_seed: int, number: int
) -> Result:
    model, origin = divmod(number, len(origins(panels[0])))
    return origin_score(specs[model], panels[model], sampler, random_seed, origin)


def _loo_score(idata: xr.DataTree) -> Any:
    tree = leave_one_out_tree(View.of(idata))
    return loo_score(tree["posterior"].to_dataset(), tree[nm.LOG_LIKELIHOOD].to_dataset()[nm.RESPONSE_VALUE])


def _telling(name: str, reference: str, scores: dict[str, Any], faults: dict[str, list[str]]) -> ElpdDifference:
    if name == reference:
        return SAME
    return compare_elpd(scores[name], scores[reference], faulty=bool(faults[name] or faults[reference]))


def _model_row(score: Any, telling: ElpdDifference, weight: float) -> tuple[Any, ...]:
    own = (float(score.elpd), float(score.se), float(score.p), telling.difference, telling.se, weight)
    return (*own, telling.reading, _reliability(score))


def _reliability(score: Any) -> str:
    return score.reliability if isinstance(score, FutureScore) else reliability(score)


def _between(scores: tuple[Any, ...], others: tuple[Any, ...], faults: list[str]) -> ElpdDifference:
    """Reading of the difference of two gains."""
    if scores is others:
        return SAME
    gain, other = (model.elpd_i.to_numpy() - null.elpd_i.to_numpy() for model, null in (scores, others))
    bad = np.any([unreliable(score) for score in (*scores, *others)], axis=0)
    return ElpdDifference.of(gain, other, bad, faulty=bool(faults))


def _gain_row(scores: tuple[Any, ...], gain: ElpdDifference, between: ElpdDifference) -> tuple[Any, ...]:
    said = "; null: ".join(map(_reliability, scores))
    own = (int(scores[0].elpd_i.size), gain.difference, gain.se, gain.reading)
    return (*own, between.difference, between.se, said)
