"""`compare_regimes`: the number of regimes and of regime processes as a comparison of predictive densities."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError, SpecError
from regimelag.evaluation.comparison.compare import LEAVE_FUTURE_OUT, LEAVE_ONE_OUT
from regimelag.evaluation.comparison.elpd_difference import INCONCLUSIVE, SAME, WORSE, ElpdDifference, compare_elpd
from regimelag.evaluation.comparison.leave_future_out import SAMPLER, future_condition, future_score
from regimelag.evaluation.comparison.leave_one_out import past_dependence, pointwise
from regimelag.evaluation.comparison.pointwise_log_likelihood import condition, same_row_condition
from regimelag.evaluation.comparison.psis_loo import loo_score
from regimelag.evaluation.parallel_runs import ERROR, Result, code_hash, run_all, seed_of_study
from regimelag.evaluation.robustness.refit import Refit, posterior_of
from regimelag.evaluation.robustness.summary import FAILED, RHAT_LIMIT
from regimelag.panel.checks import check_panel, panel_hash
from regimelag.runtime.result_table import readable
from regimelag.sampling.inference_data import made_with
from regimelag.sampling.sampler import Sampler, sampler_of_refits
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.moderation import drivers_of
from regimelag.spec.parts import Regimes
from regimelag.spec.processes import OrderBy, RegimeProcess
from regimelag.spec.toml import spec_to_toml

COLUMNS = (
    *("regimes", "elpd", "elpd se", "parameters", "difference", "difference se", "reading", "R-hat", "divergent"),
    *("high k", "note"),
)
# Numbers of regimes of one process.
NUMBERS = (1, 2, 3, 4)
ASKED = "compare_regimes"


class Candidate(NamedTuple):
    """A model to score: its spec, or why there is none."""

    name: str
    spec: ModelSpec | None
    note: str = ""

    @property
    def regimes(self) -> str:
        """Numbers of regimes of its processes, such as 2 x 2."""
        return " x ".join(str(one.spec.count) for one in self.spec.processes) if self.spec else ""


def compare_regimes(
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    sampler: Sampler = SAMPLER,
    executor: Executor | None = None,
    folder: str | Path | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> pd.DataFrame:
    """Compare one to four regimes, and one and two regime processes, by predictive densities.

    Parameters
    ----------
    spec : ModelSpec
        The model. Its series, kernels, episodes and priors are those of all candidates.
    panel : xarray.Dataset
        Its data, from `make_panel`.
    sampler : Sampler
        Settings of each fit; `nuts_sampler` is "nutpie". By default two chains of 500 draws after 500 tuning draws, and
        a mode search from six starting points.
    executor : concurrent.futures.Executor, optional
        Where fits run, such as a Dask cluster's ``client.get_executor()``. By default processes of this machine, one
        per core, which do not import the script.
    folder : str or Path, optional
        Folder for finished fits; a call that was stopped goes on from there, and failed fits are tried again.
    random_seed : int, optional
        Seed, recorded in ``attrs["random_seed"]``. By default that of the folder, if it has one, or else a new one.
    progressbar : bool
        Whether to print how many fits are done.

    Returns
    -------
    pandas.DataFrame
        One row per candidate, from the smallest: *1 regime*; *2 regimes*; *2 processes*, those that the spec declares,
        or one that carries scale and intercept and one that carries the lagged effect, with two regimes each;
        *3 regimes*; *4 regimes*. Columns: ``regimes`` of each process; ``elpd``, expected log predictive density
        (nats), and its standard error; ``parameters``, their effective number (missing for leave-future-out);
        ``difference`` of the elpd from the highest one and its standard error, from paired rows; ``reading``: *worse*
        or *inconclusive*, compared with the highest; diagnostics of the fit: the largest ``R-hat``, number of
        ``divergent`` draws, and ``high k``, the number of rows with a large Pareto k; and ``note``, why a candidate was
        not made or failed.

        In attrs: ``verdict``, a list of sentences; ``best``, the candidate with the highest elpd; ``method``,
        leave-one-out or leave-future-out; and ``condition``, what the densities are conditional on.

    Raises
    ------
    PanelError
        If the panel does not fit the spec.
    FitError
        If the volatility is not constant, an argument is invalid, or the folder belongs to other settings.

    See Also
    --------
    regimelag.compare : Other models, and the decision rule.

    Notes
    -----
    In one process the regimes carry intercept, scale and effect, are ordered by the scale, and are moved by all
    drivers of the spec; one regime has no drivers. The data distinguish a candidate from the best by the rule of
    `compare`. The best is chosen among five scores that have errors, so a difference that barely passes is weak
    evidence. An inconclusive difference does not mean that both predict equally well.
    """
    sampler = sampler_of_refits(ASKED, sampler)
    random_seed = seed_of_study(ASKED, folder, random_seed)
    check_panel(spec, panel)
    if spec.volatility.moves:
        rule = "the volatility is constant within a regime, since one regime at most goes with another volatility model"
        cure = 'write volatility = "constant" in the spec'
        raise FitError(ASKED, rule, f"volatility = {spec.volatility.kind!r}", cure)
    every = list(candidates(spec))
    made = [one.spec for one in every if one.spec is not None]
    reasons = [why for why in (past_dependence(one, panel) for one in made) if why]
    results = run_all(
        partial(_one_score, spec, panel, sampler, random_seed, bool(reasons)),
        range(len(made)),
        settings={
            "study": ASKED,
            "spec": spec_to_toml(spec),
            "panel": panel_hash(panel),
            **sampler.plain,
            "random_seed": random_seed,
            "code": code_hash(),
        },
        executor=executor,
        folder=folder,
        progressbar=progressbar,
    )
    names = [one.name for one in every if one.spec is not None]
    table = table_of(every, dict(zip(names, results.values(), strict=True)))
    words = f"{future_condition(panel, reasons)} {same_row_condition(*made)}" if reasons else condition(*made)
    table.attrs |= {"method": LEAVE_FUTURE_OUT if reasons else LEAVE_ONE_OUT, "condition": words}
    table.attrs |= {"random_seed": random_seed, nm.MADE_WITH: [made_with(spec, panel_hash(panel))]}
    table.attrs[nm.SENTENCES] = [*table.attrs["verdict"], words]
    return readable(table, ("regimes", "elpd", "difference", "reading", "note"))


def candidates(spec: ModelSpec) -> Iterator[Candidate]:
    """The models with one to four regimes and with two processes, from the smallest."""
    several = len(spec.regime_processes) if len(spec.regime_processes) > 1 else 2
    for name, make in (
        ("1 regime", partial(_one_process, spec, 1)),
        ("2 regimes", partial(_one_process, spec, 2)),
        (f"{several} processes", partial(_processes, spec)),
        *((f"{count} regimes", partial(_one_process, spec, count)) for count in NUMBERS[2:]),
    ):
        try:
            yield Candidate(name, make())
        except SpecError as problem:
            yield Candidate(name, None, f"not made, it asks that {problem.rule}; here {problem.came}")


def _one_process(spec: ModelSpec, count: int) -> ModelSpec:
    regimes = spec.regimes if not spec.regime_processes else Regimes()
    # Names are those of a number of regimes.
    regimes = regimes if count == regimes.count else dataclasses.replace(regimes, count=count, names=())
    drivers = spec.drivers if count > 1 else _moderating(spec)
    return spec.changed(regimes=regimes, regime_processes=(), drivers=drivers)


def _moderating(spec: ModelSpec) -> tuple[Any, ...]:
    """Drivers of moderators and indicators, which move no regimes."""
    kept = drivers_of(spec, (*spec.moderators, *(indicator.name for indicator in spec.indicators)))
    return tuple(dataclasses.replace(driver, drives=False) for driver in kept)


def _processes(spec: ModelSpec) -> ModelSpec:
    if len(spec.regime_processes) > 1:
        return spec
    order = OrderBy("effect", signal=spec.lagged_signals[0].name) if spec.lagged_signals else OrderBy("effect")
    drivers = tuple(driver.name for driver in spec.transition_drivers)
    volatility = RegimeProcess("volatility", carries=("scale", "intercept"))
    coupling = RegimeProcess("coupling", carries=("effect",), order_by=order, drivers=drivers)
    vary = tuple(one for one in spec.responses_vary if one != "regimes")
    return spec.changed(regimes=Regimes(), regime_processes=(volatility, coupling), responses_vary=vary)


def _one_score(
    spec: ModelSpec, panel: xr.Dataset, sampler: Sampler, random_seed: int, future: bool, number: int
) -> Result:
    """Pointwise densities and diagnostics of a candidate, as JSON can hold them."""
    made = [one.spec for one in candidates(spec) if one.spec is not None][number]
    seed = int(np.random.SeedSequence([random_seed, number]).generate_state(1)[0])
    kept = [driver.name for driver in made.drivers]
    panel = panel.sel({nm.DRIVER: kept})
    if future:
        score = future_score(made, panel, sampler, seed)
        terms = score.elpd_i
        found: Result = {"rhat": score.rhat, "pareto_k": [0.0] * terms.size, "good_k": 1.0}
        return found | {"elpd_i": terms.to_numpy().tolist(), "time": terms[nm.TIME].astype(str).to_numpy().tolist()}
    posterior, converged = posterior_of(Refit(made, panel, panel, ""), sampler, seed)
    terms = pointwise(made, panel, posterior)
    loo = loo_score(posterior, terms)
    return {
        "rhat": float(converged["rhat"]),
        "divergent": int(converged["divergent"]),
        "elpd_i": loo.elpd_i.to_numpy().ravel().tolist(),
        "time": terms[nm.TIME].astype(str).to_numpy().tolist(),
        "pareto_k": loo.pareto_k.to_numpy().ravel().tolist(),
        "good_k": float(loo.good_k),
        "p": float(loo.p),
    }


def table_of(every: list[Candidate], results: Mapping[str, Result]) -> pd.DataFrame:
    """The table of the candidates' scores, with its verdict."""
    good = _on_common_rows({name: result for name, result in results.items() if ERROR not in result})
    best = max(good, key=lambda name: float(good[name].elpd_i.sum()), default="")
    faulty = {name: not score.rhat <= RHAT_LIMIT for name, score in good.items()}
    tellings = {
        name: compare_elpd(score, good[best], faulty=faulty[name] or faulty[best]) if name != best else SAME
        for name, score in good.items()
    }
    rows = []
    for one in every:
        row: dict[str, Any] = {"regimes": one.regimes, "note": one.note}
        if one.name in good:
            score, telling = good[one.name], tellings[one.name]
            high = int((~(score.pareto_k <= score.good_k)).sum())
            row |= {"elpd": float(score.elpd_i.sum()), "elpd se": _se(score.elpd_i), "parameters": score.p}
            row |= {"difference": telling.difference, "difference se": telling.se, "reading": telling.reading}
            row |= {"R-hat": score.rhat, "divergent": score.divergent, "high k": high}
            row["reading"] = "best" if one.name == best else telling.reading
        elif one.name in results:
            row["note"] = f"{FAILED}{results[one.name][ERROR]}"
        rows.append(row)
    table = pd.DataFrame(rows, index=pd.Index([one.name for one in every], name="model"), columns=list(COLUMNS))
    missing = [one.name for one in every if one.name not in good]
    unmixed = {name: good[name].rhat for name in good if faulty[name]}
    table.attrs = {"best": best, "verdict": list(verdict_on(best, tellings, unmixed, missing))}
    return table


def _on_common_rows(results: Mapping[str, Result]) -> dict[str, Any]:
    """Scores on the rows that all candidates have."""
    shared = set.intersection(*(set(result["time"]) for result in results.values())) if results else set()
    found = {}
    for name, result in results.items():
        kept = np.array([day in shared for day in result["time"]], dtype=bool)
        arrays = {key: xr.DataArray(np.array(result[key])[kept], dims=nm.TIME) for key in ("elpd_i", "pareto_k")}
        numbers = {"p": np.nan, "divergent": np.nan} | {key: result[key] for key in result if key not in arrays}
        found[name] = SimpleNamespace(**(numbers | arrays))
    return found


def _se(terms: xr.DataArray) -> float:
    return float(np.sqrt(terms.size) * terms.std(ddof=1))


def verdict_on(
    best: str, tellings: Mapping[str, ElpdDifference], unmixed: Mapping[str, float], missing: list[str]
) -> Iterator[str]:
    """Sentences on the candidates that the data distinguish from the best; candidates ascend in size."""
    worse = [name for name, telling in tellings.items() if telling.reading == WORSE]
    same = [name for name, telling in tellings.items() if telling.reading == INCONCLUSIVE]
    if len(tellings) < 2:  # noqa: PLR2004
        yield "Nothing is compared: fewer than two models have a score."
    elif not same:
        yield f"The model with {best} predicts better than {_others(worse)}: {_sizes(tellings, worse)}."
    else:
        among = [name for name in tellings if name in same or name == best]
        yield (
            f"The data do not distinguish {_others(same)} from the one with {best}, which has the highest score: "
            f"{_sizes(tellings, same)}. The smallest of these models has {among[0]}."
        )
        if worse:
            yield f"The model with {best} predicts better than {_others(worse)}: {_sizes(tellings, worse)}."
    if unmixed:
        said = ", ".join(f"{name} {rhat:.2f}" for name, rhat in unmixed.items())
        yield (
            f"R-hat is above {RHAT_LIMIT} ({said}), so that differences from these models are inconclusive: raise "
            "draws and tune in the Sampler."
        )
    if missing:
        yield f"No score: {_listed(missing)}; the column note says why."


def _others(names: list[str]) -> str:
    return f"the model{'s' if len(names) > 1 else ''} with {_listed(names)}"


def _sizes(tellings: Mapping[str, ElpdDifference], names: list[str]) -> str:
    each = [f"{tellings[name].difference:+.1f} nats (standard error {tellings[name].se:.1f})" for name in names]
    return _listed(each)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
