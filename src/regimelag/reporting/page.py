"""`report`: a self-contained HTML page on a fit, with a folder of figures and tables."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jinja2
import numpy as np
import pandas as pd
import xarray as xr
from latex2mathml.converter import convert

from regimelag.errors import FitError
from regimelag.evaluation.forecasting.forecast import same_period_terms
from regimelag.evaluation.forecasting.impulse import impulse_response
from regimelag.model.latex import equations, prior_in_words
from regimelag.panel.checks import lagged_response_covariates
from regimelag.panel.describe import WORDS as TRANSFORM_NAMES
from regimelag.panel.describe import describe_panel
from regimelag.reporting import figures as fg
from regimelag.reporting import tables as tb
from regimelag.reporting.citation import citation
from regimelag.reporting.latex import model_tex
from regimelag.results.drivers import driver_report
from regimelag.results.gains import gain_claims, gain_report
from regimelag.results.lag_report import lag_report
from regimelag.results.lags import check_within, default_within, effects, lag_distribution
from regimelag.results.model_checks import model_warnings
from regimelag.results.modes import modes
from regimelag.results.persistence import describe_persistence, persistence
from regimelag.results.pit import one_step_pit
from regimelag.results.regimes import driver_effects, regime_durations, regime_probabilities, regime_summary
from regimelag.results.states import state_report
from regimelag.results.summary import summary
from regimelag.results.view import View
from regimelag.results.volatility import conditional_volatility, volatility_summary
from regimelag.runtime.files import atomic_replace, explain_os_errors, files_in, recover, remove_leftovers
from regimelag.runtime.latex_text import unescape
from regimelag.runtime.plain import path_of
from regimelag.runtime.result_table import OF_SAMPLE, Shown, as_html
from regimelag.sampling.inference_data import made_with
from regimelag.sampling.io import load_fit
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec, count_of_periods, period_name
from regimelag.spec.series import ONE_SIDED
from regimelag.spec.term import Parameter
from regimelag.spec.terms import model_terms

PAGE = "report.html"
# List of the files that `report` wrote, with hashes; a folder with other files is not replaced.
WRITTEN = ".regimelag.json"
COVERED = (0.5, 0.9)
# A name in a formula, with its escaped characters.
TEXT = re.compile(r"\\text\{((?:\\[{}\\]|\\text[a-z]+\{\}|[^{}])*)\}")
NOT_TRIED = "The claim was not tried with rival explanations: pass robustness=rl.robustness(spec, panel)."
NO_CLAIM = "What the model estimates, whether or not an effect is claimed above."
NOT_COMPARED = "No other model was compared: pass comparison=rl.compare({...})."


class Section(NamedTuple):
    """A part of the page."""

    name: str
    title: str
    sentences: Sequence[str] = ()
    figures: Sequence[fg.Drawn] = ()
    tables: Sequence[str] = ()
    # Tables that are collapsed at first.
    folded: Sequence[str] = ()


def report(
    idata: xr.DataTree | str | Path,
    folder: str | Path,
    *,
    comparison: pd.DataFrame | None = None,
    robustness: pd.DataFrame | None = None,
    within: tuple[float, float] | None = None,
    moves: Mapping[str, float] | None = None,
    overwrite: bool = False,
    progressbar: bool = True,
) -> Path:
    """Write a report of a fit: a self-contained HTML page, figures, and tables for a paper.

    Parameters
    ----------
    idata : xarray.DataTree, str or Path
        A fit, or a file written by `save_fit`.
    folder : str or Path
        Folder to write: ``report.html``; ``figures``, as PNG and PDF; ``tables``, as CSV and, as shown on the page, as
        LaTeX for the booktabs package; ``model.tex``, the equations and priors; ``.regimelag.json``, the list of these
        files.
    comparison : pandas.DataFrame, optional
        Comparison of models, from `compare`.
    robustness : pandas.DataFrame, optional
        Robustness checks, from `robustness`.
    within : (float, float), optional
        Range of lags in periods whose probability is reported, as in `lag_report`.
    moves : mapping of str to float, optional
        Size of each driver's change, as in `driver_effects`.
    overwrite : bool
        Whether to replace an existing report. It is replaced only when the new one is complete, and only if the folder
        has no other or modified files.
    progressbar : bool
        Whether to print progress to standard error.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FitError
        If `folder` exists and `overwrite` is not set, contains other files, or cannot be written; if a table is of
        another function, model or data; or if an argument is invalid.

    Warns
    -----
    UserWarning
        If a process was killed while it wrote to this folder; its files are restored or removed.

    Notes
    -----
    Sections: the verdict, prices with regimes behind them, data, model (generated from the spec), diagnostics, lag,
    impulse responses, regimes or volatility, drivers, checks, comparison, provenance and citation. The page makes no
    claim beyond those of `lag_report` and `regimelag.results.driver_report`.
    """
    asked = f"report to {str(folder)!r}"
    with explain_os_errors(asked, path_of(FitError, "report", "folder", folder, 'write folder="out/report"')):
        # The target of a link is replaced, not the link.
        target = Path(os.path.realpath(folder))
        recover(target)
        _check_target(target, asked, overwrite=overwrite)
    _check_table("comparison", comparison, ("verdict", "condition", "reference"), "compare")
    _check_table("robustness", robustness, ("summary",), "robustness")
    view = View.of(load_fit(idata) if isinstance(idata, (str, Path)) else idata)
    _check_judged("comparison", comparison, view, "compare({...}), with this fit among those compared")
    _check_judged("robustness", robustness, view, "robustness(rl.spec_of(idata), rl.panel_of(idata))")
    fit, spec, panel = view.fit, view.spec, view.panel.copy()
    mathematics = _mathematics(spec, panel)
    # A hand-made panel has no stored spec.
    panel.attrs.setdefault("spec", fit.attrs["spec"])
    with explain_os_errors(asked, Path(folder)):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        # Entered before anything is computed, so that an unwritable folder fails at once.
        with atomic_replace(target) as part:
            if progressbar:
                print("Computing the results of the report ...", file=sys.stderr, flush=True)
            readings = _readings(view, within, moves)
            tables = _tables(fit, spec, panel, readings, comparison, robustness)
            sections = list(_sections(view, panel, readings, comparison, robustness))
            figures = [drawn for section in sections for drawn in section.figures]
            pictures = fg.write_figures(figures, part / "figures", _tell_figures if progressbar else lambda *_: None)
            tb.write_tables(tables, part / "tables")
            (part / "model.tex").write_text(_model_latex(spec, panel), encoding="utf-8")
            page = _page(view, mathematics, readings, sections, tables, pictures)
            (part / PAGE).write_text(page, encoding="utf-8")
            (part / WRITTEN).write_text(json.dumps({"files": _hashes(part)}), encoding="utf-8")
    return Path(folder) / PAGE


def _tell_figures(done: int, total: int) -> None:
    text = f"\r{done} of {total} figures "
    print(text, end="\n" if done == total else "", file=sys.stderr, flush=True)


def _check_target(target: Path, asked: str, *, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    rule = "a folder that is replaced holds a report, and nothing else"
    try:
        written = json.loads((target / WRITTEN).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise FitError(asked, rule, f"no {WRITTEN}, which report writes", "choose another folder") from None
    if not overwrite:
        cure = "pass overwrite=True, or choose another folder"
        raise FitError(asked, "what exists is kept", "the folder holds a report", cure)
    strange = [name for name, digest in _hashes(target).items() if written.get(name) != digest]
    if strange:
        came = f"files that are no report's, or were changed: {', '.join(strange[:3])}"
        raise FitError(asked, rule, came, "move or delete them, or choose another folder")


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder by relative path; empty for a link."""
    return {
        name: "" if file.is_symlink() else hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in files_in(folder).items()
        if name != WRITTEN
    }


def _parameters(spec: ModelSpec, panel: xr.Dataset) -> list[Parameter]:
    """Free parameters of the model on the panel, with their priors as given."""
    return model_terms(spec, panel.sizes[nm.EPISODE]).parameters()


def _check_table(name: str, table: pd.DataFrame | None, words: Sequence[str], maker: str) -> None:
    """Refuse a table of another function, or one without its sentences, such as one read from CSV."""
    if table is not None and not (isinstance(table, pd.DataFrame) and set(words) <= set(table.attrs)):
        came = f"a {type(table).__name__}"
        came += f" without {' and '.join(words)} in attrs" if isinstance(table, pd.DataFrame) else ""
        cure = f"pass {name}=rl.{maker}(...), not a copy that was read from a file"
        raise FitError("report", f"{name} is a table from regimelag.{maker}, with its words in attrs", came, cure)


def _check_judged(name: str, table: pd.DataFrame | None, view: View, made: str) -> None:
    """Refuse a table of other models or data than the fit's, if it records them."""
    own = made_with(view.spec, view.fit.attrs[nm.PANEL_HASH])
    if table is not None and own not in table.attrs.get(nm.MADE_WITH, [own]):
        rule = f"{name} judges the model that the fit is of, on the same panel"
        raise FitError("report", rule, "a table of other fits", f"pass {name}=rl.{made}")


# ---- results


def _readings(view: View, within: tuple[float, float] | None, moves: Mapping[str, float] | None) -> dict[str, Any]:
    within = default_within(view.spec) if within is None else within
    check_within("report", within)
    spec = view.spec
    found: dict[str, Any] = {
        "report": view.read(lag_report, within=within),
        "regime_summary": view.read(regime_summary),
    }
    if spec.lagged_signals:
        found["lag"] = view.read(lag_distribution, within=within)
        found["prior_lag"] = view.read(lag_distribution, group="prior", within=within)
    if spec.signals:
        found["effects"], found["prior_effects"] = (view.read(effects, group=one) for one in ("posterior", "prior"))
    if spec.switches:
        found["filtered"] = view.read(regime_probabilities)
        found["smoothed"] = view.read(regime_probabilities, kind="smoothed")
        found["durations"] = view.read(regime_durations)
    if spec.volatility.moves:
        found["volatility"] = view.read(conditional_volatility)
        found["volatility_summary"] = view.read(volatility_summary)
    if len(view.read(gain_claims)):
        found["gain_report"] = view.read(gain_report)
    if spec.indicators and spec.lagged_signals:
        found["state_report"] = view.read(state_report)
    if spec.transition_drivers:
        found["driver_report"] = view.read(driver_report)
        found["drivers"] = view.read(driver_effects, moves=moves)
    found["pit"] = view.read(one_step_pit)
    found["impulses"] = dict(_impulses(view))
    return found


def _impulses(view: View) -> Iterator[tuple[str, xr.Dataset]]:
    """Impulse responses to one standard deviation of each lagged signal, in and out of the states that moderate it."""
    spec, panel = view.spec, view.panel
    if lagged_response_covariates(spec, panel):
        return
    states = {indicator.name for indicator in spec.indicators}
    for signal in spec.lagged_signals:
        size = float(panel[nm.scale_of(nm.SIGNAL)].sel({nm.SIGNAL: signal.name}))
        shock = size * (ONE_SIDED.get(signal.transform, 1) if not signal.beyond else 1)
        # Drivers that moderate are at their mean in the window.
        mean = {
            name: float(panel[nm.center_of(nm.DRIVER)].sel({nm.DRIVER: name}))
            for name in signal.moderators
            if name not in states
        }
        for value in (0, 1) if states & set(signal.moderators) else (None,):
            own = {name: value for name in signal.moderators if name in states}
            label = ", ".join([signal.name, *(f"{name} = {value}" for name in own)])
            yield (
                label,
                impulse_response(
                    cast("xr.DataTree", view),
                    shock=shock,
                    signal=signal.name,
                    horizon=spec.max_lag,
                    at=cast("dict[str, float]", mean | own),
                ),
            )


def _tables(
    fit: xr.DataTree,
    spec: ModelSpec,
    panel: xr.Dataset,
    readings: Mapping[str, Any],
    comparison: pd.DataFrame | None,
    robustness: pd.DataFrame | None,
) -> dict[str, tb.Table]:
    sample = readings["report"].attrs[OF_SAMPLE]
    tables = {
        "data": tb.of_result(describe_panel(panel)),
        "priors": tb.prior_table(_parameters(spec, panel)),
        "parameters": tb.parameter_table(fit, sample),
    }
    if "modes" in fit.children:
        tables["modes"] = tb.of_result(modes(fit))
    if len(readings["report"]):
        tables["lag_report"] = tb.of_result(readings["report"])
    tables["regimes"] = tb.of_result(readings["regime_summary"], ["quantity"])
    if "volatility" in readings:
        tables["volatility"] = tb.volatility_table(readings["volatility_summary"])
    if "gain_report" in readings:
        tables["gain_report"] = tb.of_result(readings["gain_report"], [nm.RESPONSE, nm.REGIME_PROCESS, nm.SIGNAL])
    if "state_report" in readings:
        keys = [nm.RESPONSE, nm.SIGNAL, nm.INDICATOR, "quantity"]
        tables["state_report"] = tb.of_result(readings["state_report"], keys)
    if "drivers" in readings:
        claims = readings["driver_report"]
        keys = [nm.RESPONSE, nm.REGIME_PROCESS, nm.DRIVER, "from", "to"]
        tables["driver_report"] = tb.of_result(claims, [name for name in keys if name in claims])
        tables["drivers"] = tb.move_table(readings["drivers"], sample)
    if robustness is not None:
        tables["robustness"] = tb.of_result(robustness)
    if comparison is not None:
        tables["comparison"] = tb.of_result(comparison)
    tables["provenance"] = tb.provenance_table(fit)
    return tables


# ---- sentences


def _sections(
    view: View,
    panel: xr.Dataset,
    readings: Mapping[str, Any],
    comparison: pd.DataFrame | None,
    robustness: pd.DataFrame | None,
) -> Iterator[Section]:
    """Sections of the page between verdict and provenance, without the model section."""
    smoothed = readings.get("smoothed")
    title = "Prices" if smoothed is None else "Prices and regimes"
    yield Section("prices", title, [], list(fg.price_figures(panel, smoothed)))
    notes = json.loads(panel.attrs.get("notes", "[]"))
    yield Section("data", "Data and window", notes, list(fg.data_figures(panel)), ["data"])
    yield Section("model", "Model")
    found = ["modes"] if "modes" in view.fit.children else []
    yield Section("diagnostics", "Diagnostics", view.diagnostics, [], found, ["parameters"])
    if len(readings["report"]):
        said = list(readings["report"].attrs["verdict"].values())
        yield Section("lag", "Lag and effects", said, list(fg.lag_figures(view.spec, readings)), ["lag_report"])
    if readings["impulses"]:
        # No numbers in words if convergence diagnostics failed.
        every = readings["impulses"].values() if not view.diagnostics[1:] else ()
        said = [sentence for one in every for sentence in one.attrs[nm.SENTENCES]]
        said = [NO_CLAIM, *said] if said else []
        yield Section("impulse", "What a move of a signal does", said, list(fg.impulse_figures(readings["impulses"])))
    if "filtered" in readings:
        drawn = list(fg.regime_figures(readings, panel.get(nm.REGIME_PATH)))
        yield Section("regimes", "Regimes", [], drawn, ["regimes"])
    if "volatility" in readings:
        said = [_volatility_now(readings["volatility"], view.spec)]
        drawn = list(fg.volatility_figures(readings["volatility"]))
        yield Section("volatility", "Volatility", said, drawn, ["volatility"])
    if "gain_report" in readings:
        said = readings["gain_report"].attrs[nm.SENTENCES]
        yield Section("gain", "Do the effects of the regimes differ?", said, [], ["gain_report"])
    if "state_report" in readings:
        said = readings["state_report"].attrs[nm.SENTENCES]
        yield Section("states", "Does the effect depend on the state of the economy?", said, [], ["state_report"])
    if "drivers" in readings:
        said = readings["driver_report"].attrs[nm.SENTENCES]
        drawn = list(fg.driver_figures(readings))
        yield Section("drivers", "Do the drivers move the regimes?", said, drawn, ["driver_report", "drivers"])
    checks = [*_coverage(view.spec, readings["pit"]), *describe_persistence(view.read(persistence))]
    checks += [*(view.read(model_warnings) or _no_caution(view.spec))]
    checks += robustness.attrs["summary"] if robustness is not None else [NOT_TRIED]
    drawn = list(fg.check_figures(readings["pit"], robustness))
    yield Section("checks", "Checks", checks, drawn, [], ["robustness"] if robustness is not None else [])
    if comparison is None:
        yield Section("comparison", "Comparison", [NOT_COMPARED])
        return
    said = [*comparison.attrs["verdict"], comparison.attrs["condition"]]
    yield Section("comparison", "Comparison", said, list(fg.comparison_figures(comparison)), ["comparison"])


def _window(panel: xr.Dataset) -> str:
    dates = panel[nm.TIME].dt.strftime("%Y-%m-%d").to_numpy()
    origin = f" Origin: {panel.attrs['origin']}." if "origin" in panel.attrs else ""
    count = count_of_periods(len(dates), str(panel.attrs.get("frequency", "")))
    return f"{count} ({panel.attrs.get('frequency', '')}), {dates[0]} to {dates[-1]}.{origin}"


def _volatility_now(volatility: xr.DataArray, spec: ModelSpec) -> str:
    """One-step-ahead standard deviation in the last period, and its range in the window."""
    mean, last = volatility.mean((nm.CHAIN, nm.DRAW)), volatility.isel({nm.TIME: -1})
    low, median, high = np.quantile(last, tb.LEVELS)
    period = period_name(spec.frequency).removesuffix("s")
    unit = f"{TRANSFORM_NAMES[spec.responses[0].transform]} per {period}"
    return (
        f"The volatility follows the response's own past. For {last[nm.TIME].dt.strftime('%Y-%m-%d').item()} the "
        f"standard deviation one {period} ahead is {median:.3g} ({low:.3g} to {high:.3g}) {unit}; over the window it "
        f"lies between {float(mean.min()):.3g} and {float(mean.max()):.3g}."
    )


def _no_caution(spec: ModelSpec) -> list[str]:
    """Sentence on warnings that do not apply."""
    looked = ["lag weight at the largest lag"] if spec.lagged_signals else []
    looked += ["a regime that coincides with a calendar period", "a regime visited once"] * spec.switches
    looked += ["a driver that separates the regimes"] if spec.transition_drivers else []
    return [f"Looked for and not found: {', '.join(looked)}."] if looked else []


def _coverage(spec: ModelSpec, pit: xr.DataArray) -> Iterator[str]:
    """Sentence on the share of periods in the one-step-ahead bands."""
    given = "given the rows before and the row's own signals and controls" if same_period_terms(spec) else ""
    given = given or "given the rows before"
    for response in pit[nm.RESPONSE].to_numpy():
        one = pit.sel({nm.RESPONSE: response}).dropna(nm.TIME).to_numpy()
        held = " and ".join(f"{100 * np.mean(abs(one - 0.5) <= band / 2):.0f} %" for band in COVERED)
        asked = " and ".join(f"{100 * band:.0f} %" for band in COVERED)
        yield (
            f"Of {len(one)} values of {response}, {held} lie inside the {asked} bands of the one-step-ahead "
            f"distribution, {given}; parameters are learned on all rows."
        )


# ---- files


def _mathematics(spec: ModelSpec, panel: xr.Dataset) -> dict[str, Any]:
    lines = [(line.words, _mathml(line.latex, display="block")) for line in equations(spec, panel)]
    rows = [(_mathml(one.symbol), one.meaning, prior_in_words(one.prior), one.name) for one in _parameters(spec, panel)]
    return {"equations": lines, "parameters": rows}


def _mathml(latex: str, display: str = "inline") -> str:
    """LaTeX as MathML; the LaTeX of a user's kernel may be invalid."""
    names: list[str] = []

    def held(found: re.Match[str]) -> str:
        names.append(found[1])
        return rf"\text{{name{len(names) - 1}name}}"

    try:
        # The converter does not know escaped characters inside of text.
        made = str(convert(TEXT.sub(held, latex), display=display))
    except Exception as problem:
        cure = "correct latex, symbols or location_latex of the kernel's class, and register it again"
        rule = "formulas and symbols of a kernel are LaTeX mathematics"
        raise FitError("report", rule, f"{latex}: {type(problem).__name__}", cure) from problem
    return re.sub(r"name(\d+)name", lambda found: html.escape(unescape(names[int(found[1])])), made)


def _model_latex(spec: ModelSpec, panel: xr.Dataset) -> str:
    rows = [(one.symbol, one.meaning, prior_in_words(one.prior)) for one in _parameters(spec, panel)]
    frame = pd.DataFrame(rows, columns=["symbol", "meaning", "prior"], dtype=str)
    return model_tex(equations(spec, panel), frame, tb.PRIORS)


def _page(
    view: View,
    mathematics: Mapping[str, Any],
    readings: Mapping[str, Any],
    sections: Sequence[Section],
    tables: Mapping[str, tb.Table],
    pictures: Mapping[str, fg.Picture],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("regimelag.reporting", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    fit, spec = view.fit, view.spec
    shown = readings["report"].attrs
    short = summary(cast("xr.DataTree", view), within=tuple(shown["within"]))
    return environment.get_template("template.html").render(
        spec=spec,
        window=_window(view.panel),
        claim=spec.claim,
        answer=short.answer,
        sample=shown[OF_SAMPLE],
        notes=short.notes,
        sections=sections,
        **mathematics,
        tables={name: (one.shown.caption, as_html(one.shown._replace(caption=""))) for name, one in tables.items()},
        pictures=pictures,
        encoded=lambda png: base64.b64encode(png).decode(),
        overview=as_html(Shown(short.table, short.caption)),
        spec_toml=fit.attrs["spec"],
        bibtex=citation(),
        created=fit.attrs["created_at"],
    )
