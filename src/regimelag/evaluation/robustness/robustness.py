"""Robustness of 'the response follows the signal with a lag', in one call."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError, PanelError
from regimelag.evaluation.parallel_runs import ERROR, Result, code_hash, run_all, seed_of_study
from regimelag.evaluation.robustness.lead_lag import lead_lag
from regimelag.evaluation.robustness.plan import Check, plan_checks, tasks_of
from regimelag.evaluation.robustness.refit import Refit, refit
from regimelag.evaluation.robustness.summary import FAILED, MODEL_FREE, OUTCOME, RHAT_LIMIT, add_findings
from regimelag.panel.make import check_panel, panel_hash
from regimelag.panel.sample_checks import LEAST_ROWS
from regimelag.results.decision import decision_threshold
from regimelag.results.units import effect_units
from regimelag.sampling.inference_data import made_with
from regimelag.sampling.sampler import Sampler, sampler_of_refits
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import spec_to_toml

COLUMNS = (
    *("kind", "check", nm.SIGNAL, nm.RESPONSE, "left out", "rows"),
    *("effect 5 %", "effect median", "effect 95 %", "P(> 0)"),
    *("mean lag 5 %", "mean lag median", "mean lag 95 %", "statistic", "R-hat", OUTCOME, "note"),
)

SAMPLER = Sampler(draws=500, tune=500, chains=2, starts=4)


def robustness(
    spec: ModelSpec,
    panel: xr.Dataset,
    *,
    signal: str | None = None,
    sampler: Sampler = SAMPLER,
    executor: Executor | None = None,
    folder: str | Path | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> pd.DataFrame:
    """Try the claim of a lagged response: rival explanations, a lead, rows left out.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data, from `make_panel`.
    signal : str, optional
        The lagged signal that the claim is about; needed where the model has several. The others stay as they are.
    sampler : Sampler
        Settings of each refit; `nuts_sampler` is "nutpie". By default two chains of 500 draws, after 500 of tuning,
        and a search for modes from four starting points.
    executor : concurrent.futures.Executor, optional
        Where refits run, such as a Dask cluster's ``client.get_executor()``. By default processes of this machine, one
        per core, which do not import the script.
    folder : str or Path, optional
        Where finished refits are kept; a call that was stopped goes on from there, and refits that failed are tried
        again.
    random_seed : int, optional
        Seed, recorded in ``attrs["random_seed"]``. By default that of the folder, if it has one, or else a new one.
    progressbar : bool
        Whether to say how many refits are done.

    Returns
    -------
    pandas.DataFrame
        One row a check: ``kind``; ``check`` in words; ``signal`` and ``response`` (several are separated by commas);
        ``left out``, the year, episode or moves that a refit does without; ``rows`` with a response; 5 %, median and
        95 % of the lagged effect averaged over regimes and episodes, in units of the response per unit of the signal,
        and ``P(> 0)``; the same of the ``mean lag`` (of a lead: the mean lead), in periods of the panel; ``statistic``,
        the effect's posterior mean over its standard deviation, in absolute value; the largest ``R-hat``; ``outcome``,
        "survived", "lost", "not tried" or "failed"; ``note``. ``attrs["summary"]`` is a list of sentences;
        ``attrs["survives"]`` says whether the claim survives, ``attrs["withheld"]`` why its verdict would be withheld.

        Kinds: *baseline*, the model as it is. *rival*: the model with one rival explanation added. *lead*: the model
        with time reversed, so that the kernel weighs the signal's next L rows; the last L rows have no such future and
        drop out. *leave-out*: responses of the first calendar year, of each episode, and of the five rows with the
        largest moves set missing. *model-free*: `regimelag.evaluation.lead_lag`; its note has the lag of the largest
        correlation and the lead-lag ratio.

        Rivals: *late controls*, every control without a kernel gets a log-normal one, as wide as those of the bundled
        models and with its mean at the signal's prior mean lag; the prior of its effect is StudentT(3, 0, 0.5) in
        standard deviations. The controls' values before the window come from the levels that the panel holds; without
        them the first L rows serve as history, and the model itself is fitted to the other rows too. *own past*, one
        more own lag of the response. *GARCH errors*, one regime without drivers, whose variance follows GARCH(1,1).

    Raises
    ------
    PanelError
        If the panel does not fit the spec, or has fewer than twice `max_lag` and ten rows.
    FitError
        If the signal is not one of the model's lagged ones, none is named where there are several, the model cannot be
        fitted, or the folder belongs to other settings.

    Notes
    -----
    The claim *survives* if the sign of the effect has the probability that `lag_report` asks for, 0.99 of one lagged
    signal and one response (``attrs["threshold"]``), in the model as it is and with each rival explanation that could
    be tried, its verdict would not be withheld, no lead has a sign as sure, and no fit failed. Rows left out are told
    and decide nothing: with fewer rows a true effect is lost as well; there the sign is kept at 0.95. That a claim
    survives does not make it causal, and a rival that was not tried, for want of controls for example, may still be the
    explanation. A check with ``R-hat`` above 1.05 in its short refit is marked in its note.
    """
    asked = "robustness"
    sampler = sampler_of_refits(asked, sampler)
    random_seed = seed_of_study(asked, folder, random_seed)
    check_panel(spec, panel)
    name = _lagged_signal(spec, signal)
    rows, least = panel.sizes[nm.TIME], 2 * spec.max_lag + LEAST_ROWS
    if rows < least:
        rule = f"a panel has {least} rows at least, since a lead and late controls each cost up to {spec.max_lag}"
        raise PanelError(asked, rule, f"{rows} rows", "widen the window, or lower max_lag")
    checks = plan_checks(spec, panel, name)
    tasks = tasks_of(checks)
    results = run_all(
        partial(_one_refit, spec, panel, name, sampler, random_seed),
        range(len(tasks)),
        settings={
            "study": "robustness",
            "spec": spec_to_toml(spec),
            "panel": panel_hash(panel),
            "signal": name,
            **sampler.plain,
            "random_seed": random_seed,
            "code": code_hash(),
        },
        executor=executor,
        folder=folder,
        progressbar=progressbar,
    )
    found = dict(zip(tasks, results.values(), strict=True))
    base = results[0]
    if ERROR in base:
        raise FitError(asked, "the model itself can be fitted", base[ERROR], "try regimelag.fit(spec, panel)")
    responses = [response.name for response in spec.responses]
    series = {nm.SIGNAL: name, nm.RESPONSE: ", ".join(responses)}
    lines = [line_of(check, found) | series for check in checks]
    lines += [_model_free(panel, name, response, spec.max_lag) for response in responses]
    table = pd.DataFrame(lines, columns=list(COLUMNS)).fillna({"left out": ""})
    table.attrs["withheld"] = base["withheld"]
    table.attrs["threshold"] = decision_threshold(len(spec.lagged_signals) * len(spec.responses))
    table.attrs["random_seed"] = random_seed
    table.attrs[nm.MADE_WITH] = [made_with(spec, panel_hash(panel))]
    table.attrs["units"] = effect_units(spec)
    table.attrs |= series
    return add_findings(table)


def _lagged_signal(spec: ModelSpec, signal: str | None) -> str:
    names = [each.name for each in spec.lagged_signals]
    if signal is None and len(names) == 1:
        return names[0]
    if not isinstance(signal, str) or signal not in names:
        came = "none was named" if signal is None else f"signal = {signal!r}"
        cure = f"write signal={names[0]!r}" if names else "give a signal a kernel other than none"
        raise FitError("robustness", f"the claim is about one of the model's lagged signals {names}", came, cure)
    return signal


def _one_refit(spec: ModelSpec, panel: xr.Dataset, signal: str, sampler: Sampler, seed: int, number: int) -> Result:
    """The fit of that number. The plan is made anew where it runs: it is made faster than sent."""
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return refit(tasks_of(plan_checks(spec, panel, signal))[number], sampler, own)


def line_of(check: Check, found: dict[Refit, Result]) -> dict[str, Any]:
    """A check's line of the table."""
    row: dict[str, Any] = {"kind": check.kind, "check": check.check, "left out": check.left_out, "note": check.note}
    if check.task is None:
        return row
    result = found[check.task]
    if ERROR in result:
        return row | {"note": f"{FAILED}{result[ERROR]}"}
    row |= {"rows": result["rows"], "P(> 0)": result["positive"], "statistic": result["statistic"]}
    for name, key in (("effect", "effect"), ("mean lag", "mean_lag")):
        row |= {f"{name} {part}": value for part, value in zip(("5 %", "median", "95 %"), result[key], strict=True)}
    unmixed = f"R-hat above {RHAT_LIMIT}" if result["rhat"] > RHAT_LIMIT else ""
    notes = [check.note, unmixed, *result.get("withheld", [])]
    return row | {"R-hat": result["rhat"], "note": "; ".join(note for note in notes if note)}


def _model_free(panel: xr.Dataset, signal: str, response: str, max_lag: int) -> dict[str, Any]:
    """The lead-lag estimate as a line of the table, after the controls if there are any."""
    read = lead_lag(panel, signal=signal, response=response, max_lag=max_lag).isel(adjustment=-1)
    low, high = float(read["ratio_low"]), float(read["ratio_high"])
    beyond = "a lag leaves" if bool(read["beyond_band"]) else "no lag leaves"
    after = "" if str(read["adjustment"].item()) == "none" else ", after controls"
    note = (
        f"largest at lag {int(read['peak_lag'])}, {beyond} the 95 % band{after}; squared correlations at positive lags "
    )
    note += f"are {float(read['ratio']):.2f} times those at negative ones, {low:.2f} to {high:.2f} for unrelated series"
    # Its lag is no mean lag, and its ratio no statistic of an effect: they stay out of these columns.
    named = {"kind": MODEL_FREE, "check": f"cross-correlation with {response}", nm.SIGNAL: signal}
    return named | {nm.RESPONSE: response, "rows": int(read.attrs["rows"]), "note": note}
