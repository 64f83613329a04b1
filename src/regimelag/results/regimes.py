"""Regime probabilities, paths, durations and summaries, and effects of drivers."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.likelihood.hmm_draws import sample_paths_draws, smooth_draws, viterbi_draws
from regimelag.model.at_draws import AtDraws, Chunk
from regimelag.model.evaluate import (
    BLOCK,
    Draws,
    by_own_regime,
    expected_durations,
    intercepts,
    joint_table,
    log_scales,
    marginal_regime_probabilities,
    over_processes,
    process_tables,
    regime_paths_by_process,
    unstack_draws,
)
from regimelag.panel.extrapolation import extrapolation
from regimelag.panel.newer import extend_panel
from regimelag.panel.slicing import in_units, natural
from regimelag.results.lags import INTERVAL
from regimelag.results.regime_words import moves_in_words, regimes_now
from regimelag.results.tables import regime_table
from regimelag.results.units import sample_of, series_unit
from regimelag.results.view import View
from regimelag.runtime.plain import by_name, drawn_seed, is_number, one_of
from regimelag.runtime.result_table import OF_SAMPLE, ResultTable
from regimelag.spec import names as nm
from regimelag.spec.kernels import softmax
from regimelag.spec.model_spec import ModelSpec, period_name
from regimelag.spec.processes import Process, Quantity, carrier, every_regime_label, regime_labels
from regimelag.spec.transitions import stationary_distribution

Kind = Literal["filtered", "predicted", "smoothed"]
LONG_RUN, YEAR = "long_run", "year"
STATISTICS = ("5 %", "median", "95 %")


def process_axes(spec: ModelSpec) -> dict[str, list[str]]:
    """Coordinates of a reading by regime: those that distinguish several processes, and the regimes of all."""
    return spec.process_coords | {nm.REGIME: every_regime_label(spec)}


def filtered_distribution(idata: xr.DataTree | View) -> np.ndarray:
    """Distribution of the joint regime on the last row, given all data (draw, joint regime)."""
    return View.of(idata).at_draws.measured(lambda chunk: chunk.filtered[:, -1])


def regime_probabilities(
    idata: xr.DataTree, *, kind: Kind = "filtered", panel: xr.Dataset | None = None
) -> xr.DataArray:
    """Probability of each regime at each time, per draw.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    kind : {"filtered", "predicted", "smoothed"}
        Given the data up to and including the row (what was known at its close), up to the row before, or all data.
        Only the first two could have been acted on; all three use parameters learned from the fit's window.
    panel : xarray.Dataset, optional
        From `make_panel` with the fit's spec on newer data, which holds the fit's last row: the regimes after the
        window, at the parameters as they were fitted. The fit does not change.

    Returns
    -------
    xarray.DataArray
        (chain, draw, time, regime), on the fit's dates or those of ``panel``. Average over chain and draw for the
        posterior probability. With several regime processes (chain, draw, time, regime_process, regime), missing for
        regimes of another process; where each response has a process, (chain, draw, time, response, regime). The
        sentences of filtered probabilities say which regime the last row is in. With a panel, ``attrs["notes"]`` lists
        values of the fit's window that were revised since, and episodes that the fit does not know.

    Raises
    ------
    FitError
        If `kind` is another.
    PanelError
        If ``panel`` does not fit the spec, does not hold the fit's last row, starts before the fit's window, or has
        other rows in it.

    Warns
    -----
    UserWarning
        With what ``attrs["notes"]`` holds.

    Notes
    -----
    On a newer panel the probabilities go on from the fit's own rows, in the fit's constants: centres and scales, the
    slope of a signal `beyond` another column, and episodes, of which the last one goes on. Where data of the window
    were revised, the fit's values count. Filtered and predicted probabilities of the fit's rows are therefore those
    without a panel; smoothed ones are given the newer rows too.

    Filter: Hamilton (1989), doi:10.2307/1912559. Smoother: Kim (1994), doi:10.1016/0304-4076(94)90036-1.
    """
    kinds: dict[str, Callable[[Chunk], np.ndarray]] = {
        "predicted": lambda chunk: chunk.predicted,
        "filtered": lambda chunk: chunk.filtered,
        "smoothed": lambda chunk: smooth_draws(*chunk.hmm),
    }
    one_of(FitError, "regime_probabilities", "kind", kind, kinds)
    view = View.of(idata)
    spec, rows, at_draws = view.spec, view.panel, view.at_draws
    notes: list[str] = []
    if panel is not None:
        rows, notes = extend_panel(spec, rows, panel, "regime_probabilities")
        at_draws = AtDraws(spec, rows, view.parameters())
    coords = {nm.TIME: rows[nm.TIME].to_numpy(), **process_axes(spec)}
    read = at_draws.labelled(lambda chunk: marginal_regime_probabilities(spec, kinds[kind](chunk)), **coords)
    read = read.rename(f"{kind}_probability")
    read.attrs = {"kind": kind}
    if kind == "filtered":
        read.attrs[nm.SENTENCES] = list(regimes_now(read))
    if panel is None:
        return read
    read.attrs["notes"] = notes
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return read.sel({nm.TIME: panel[nm.TIME].to_numpy()})


def regime_paths(
    idata: xr.DataTree, *, kind: Literal["sampled", "viterbi"] = "sampled", random_seed: int | None = 0
) -> xr.DataArray:
    """Whole paths of the hidden chain, one per draw.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    kind : {"sampled", "viterbi"}
        A draw from the paths' joint posterior, or the most probable path at each parameter draw.
    random_seed : int, optional
        Seed of the sampled paths.

    Returns
    -------
    xarray.DataArray
        (chain, draw, time) of regime numbers, in the order of the regimes; with several regime processes (chain, draw,
        time, regime_process), where each response has one (chain, draw, time, response). ``attrs["regimes"]`` names the
        regimes; with several processes ``attrs["regimes_by_process"]`` those of each.

    Raises
    ------
    FitError
        If `kind` is another.

    Notes
    -----
    Viterbi (1967), doi:10.1109/TIT.1967.1054010.
    """
    one_of(FitError, "regime_paths", "kind", kind, ("sampled", "viterbi"))
    view, rng = View.of(idata), np.random.default_rng(drawn_seed(FitError, "regime_paths", random_seed))
    spec = view.spec

    def read(chunk: Chunk) -> np.ndarray:
        if kind == "viterbi":
            return regime_paths_by_process(spec, viterbi_draws(*chunk.hmm)[0])
        return regime_paths_by_process(spec, sample_paths_draws(*chunk.hmm, rng.random(chunk.hmm[0].shape[:2])))

    coords = {nm.TIME: view.panel[nm.TIME].to_numpy(), **spec.process_coords}
    paths = view.at_draws.labelled(read, **coords).rename(nm.REGIME_PATH)
    paths.attrs = {"kind": kind, "regimes": list(spec.processes[0].labels)}
    if nm.REGIME_PROCESS in coords:
        paths.attrs["regimes_by_process"] = {one.spec.name: list(one.labels) for one in spec.processes}
    return paths


def regime_durations(idata: xr.DataTree, *, random_seed: int | None = 0) -> xr.Dataset:
    """Durations of regimes: spells on sampled paths, under the observed drivers.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    random_seed : int, optional
        Seed of the sampled paths.

    Returns
    -------
    xarray.Dataset
        Per chain and draw: ``mean_duration`` (regime), rows per spell, the first and last spell counted as they were
        cut, missing where the path never enters the regime; ``spells`` (regime); ``switches``; ``share`` (regime) of
        rows; and ``expected_duration`` (regime) with all drivers at their mean. Each
        also has response, where each response has a process of its own, or regime_process, with several. With moving
        drivers the last is not what is observed: Filardo (1994), doi:10.1080/07350015.1994.10524545.
    """
    view = View.of(idata)
    read = _spells(view.read(regime_paths, random_seed=random_seed), view.spec)
    if view.spec.switches:
        read["expected_duration"] = _expected_durations(view)
    return read.assign_attrs(frequency=view.spec.frequency)


def _expected_durations(view: View) -> xr.DataArray:
    """Expected duration (chain, draw, [process,] regime) in rows with all drivers at their mean."""
    durations = expected_durations(view.spec, view.at_draws.draws)
    return unstack_draws(durations, view.parameters(), **process_axes(view.spec))


def of_each_process(spec: ModelSpec, values: xr.DataArray) -> Iterator[tuple[Process, xr.DataArray]]:
    """Each process, and its part of a reading whose regimes, if it has that dimension, are its own."""
    for place, process in enumerate(spec.processes):
        one = values
        for dim in spec.process_coords:
            one = one.isel({dim: place}, drop=True)
        yield process, one.sel({nm.REGIME: list(process.labels)}) if nm.REGIME in one.dims else one


def _spells(paths: xr.DataArray, spec: ModelSpec) -> xr.Dataset:
    """Count rows and spells of each regime along each path."""
    each = [_spells_of(one, list(process.labels)) for process, one in of_each_process(spec, paths)]
    if not spec.process_coords:
        return each[0]
    ((dim, names),) = spec.process_coords.items()
    every = pd.Index(every_regime_label(spec), name=nm.REGIME)
    return xr.concat([one.reindex({nm.REGIME: every}) for one in each], pd.Index(names, name=dim))


def _spells_of(paths: xr.DataArray, labels: list[str]) -> xr.Dataset:
    entered = paths != paths.shift({nm.TIME: 1}, fill_value=-1)
    here = xr.concat([paths == k for k in range(len(labels))], dim=pd.Index(labels, name=nm.REGIME))
    rows, spells = here.sum(nm.TIME), (here & entered).sum(nm.TIME)
    return xr.Dataset(
        {
            "mean_duration": rows / spells.where(spells > 0),
            "spells": spells,
            "switches": spells.sum(nm.REGIME) - 1,
            "share": rows / paths.sizes[nm.TIME],
        }
    )


def driver_effects(
    idata: xr.DataTree, *, moves: Mapping[str, float] | None = None, reference: str | None = None
) -> xr.Dataset:
    """Effects of a move of each driver on the regimes' probabilities and log odds.

    How large they are, for moves of any size. Whether a driver moves the regimes at all is decided by
    `regimelag.results.driver_report`.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.
    moves : mapping of str to float, optional
        Size of the move of each driver, in the driver's own unit (0.5 for half a percentage point, 0.03 for 3 per cent
        of a log return). One standard deviation of the driver in the window where not given.
    reference : str, optional
        The regime against which log odds are taken; the least volatile by default.

    Returns
    -------
    xarray.Dataset
        By chain, draw, driver and regime: ``next_period``, the average over the window of the change in the regime's
        probability one period ahead, from the filtered probabilities; ``long_run``, the change in its stationary
        probability if the driver stays moved, the others at their mean; ``log_odds``, the change in
        log P(regime) / P(reference) one period ahead, averaged over the regimes of the period before, so zero for the
        reference itself. ``move`` (driver) is the size of the move. Each change also has response, where each response
        has a regime process of its own, or regime_process, with several; then it is missing for regimes of another
        process and drivers that do not move the process. ``attrs["reference"]`` names the reference; with several
        processes it is the first regime of each. ``attrs["extrapolation"]`` states where a move exceeds the driver's
        range in the window, empty if none does.

    Raises
    ------
    FitError
        If the model has no drivers, ``moves`` names an unknown one or is more than ten times a driver's range in the
        window, as in another unit, or ``reference`` is no regime of the model.

    Notes
    -----
    The change in log odds is the same in every period and whatever the other drivers are: with softmax transitions it
    is the move times the difference of the two regimes' slopes. Only with ``Markov(by_origin=True)`` does it
    differ between the regimes of the period before; the average weighs these equally.
    """
    view = View.of(idata)
    spec = view.spec
    names = [driver.name for driver in spec.transition_drivers]
    if not names:
        raise FitError("driver_effects", "the model has drivers", "none", "fit a model with [[drivers]]")
    moves = by_name(FitError, "driver_effects", "moves", moves, f"write moves={{{names[0]!r}: 0.5}}")
    unknown = sorted(set(moves) - set(names))
    if unknown:
        columns = {driver.column: driver.name for driver in spec.transition_drivers}
        meant = [f"{columns[name]!r} for its column {name!r}" for name in unknown if name in columns]
        cure = f"write {', '.join(meant)}" if meant else _closest(unknown[0], names)
        raise FitError("driver_effects", f"moves name drivers, of {names}", f"{unknown}", cure)
    regimes = every_regime_label(spec)
    against = regimes[0] if reference is None else reference
    one_of(FitError, "driver_effects", "reference", against, regimes)
    strange = [f"{name!r}: {move!r}" for name, move in moves.items() if not is_number(move)]
    if strange:
        cure = f"write moves={{{names[0]!r}: 0.5}}"
        raise FitError("driver_effects", "moves are finite numbers", ", ".join(strange), cure)
    beyond = [_beyond_range(view.panel, name, float(move)) for name, move in moves.items()]
    scale = view.panel[nm.scale_of(nm.DRIVER)].sel({nm.DRIVER: names})
    size = np.array([moves.get(name, float(scale.sel({nm.DRIVER: name}))) for name in names])
    standardised = size / scale.to_numpy()
    coords = {nm.DRIVER: names, **process_axes(spec)}
    read = view.at_draws.labelled(
        lambda chunk: _probability_changes(spec, chunk, standardised), change=["next_period", LONG_RUN], **coords
    ).to_dataset("change")
    references = [against if against in one.labels else one.labels[0] for one in spec.processes]
    against = ", ".join(dict.fromkeys(references))
    odds = _log_odds_changes(spec, view.at_draws.draws, standardised, references)
    read["log_odds"] = unstack_draws(odds, view.parameters(), **coords)
    for name, meaning in (
        ("next_period", "change in the regime's probability one period ahead, averaged over the window"),
        (LONG_RUN, "change in the regime's stationary probability if the driver stays moved"),
        ("log_odds", f"change in the log odds of the regime against {against}, averaged over origins"),
    ):
        moved = [[d in process.drivers for process in spec.processes] for d in range(len(names))]
        if nm.REGIME_PROCESS in coords:
            read[name] = read[name].where(xr.DataArray(moved, dims=(nm.DRIVER, nm.REGIME_PROCESS)))
        read[name].attrs = {"long_name": meaning}
    read["log_odds"].attrs["reference"] = against
    read["move"] = (nm.DRIVER, size, {"long_name": "size of the move", "units": "the driver's own"})
    said = [*moves_in_words(read), *(text for text in beyond if text)]
    units = [series_unit(one, spec.frequency) for one in spec.transition_drivers]
    read = read.assign_coords(unit=(nm.DRIVER, units))
    read.attrs = {"reference": against, "extrapolation": " ".join(text for text in beyond if text), nm.SENTENCES: said}
    return read


def _beyond_range(panel: xr.Dataset, name: str, move: float) -> str:
    """Sentence on a move that exceeds the driver's range in the window."""
    values = natural(panel, nm.DRIVER).sel({nm.DRIVER: name}).to_numpy()
    span = float(np.nanmax(values) - np.nanmin(values))
    seen, over = np.array([-span, span]), "from its lowest to its highest value"
    return extrapolation(name, move, seen, over, error=FitError, asked="driver_effects", argument="moves")


def _closest(given: object, known: Iterable[str]) -> str:
    """The cure for a name that is none of the known ones."""
    close = difflib.get_close_matches(str(given), list(known), n=1)
    return f"write {close[0]!r}" if close else "use one of those names"


def _log_odds_changes(spec: ModelSpec, draws: Draws, moves: np.ndarray, references: list[str]) -> np.ndarray:
    """Changes (draw, driver, regime) in log odds against the references, or process before regime, over origins.

    That of log P(j | i) / P(r | i) is that of the step to j less that of the step to r, both against staying in i.
    """
    each = []
    for process, steps, reference in zip(spec.processes, step_log_odds(spec, draws), references, strict=True):
        place = process.labels.index(reference)
        averaged = steps.mean(axis=2)
        each.append(moves[:, None] * (averaged - averaged[..., [place]]))
    return over_processes(spec, each)


def step_log_odds(spec: ModelSpec, draws: Draws) -> list[np.ndarray]:
    """Changes (draw, driver, origin, destination) in log odds for a standard deviation of each driver, by process.

    The log odds are those of the step against staying, log P(j | i) / P(i | i): the denominator of the softmax cancels,
    so they move by slope[i, j] - slope[i, i].
    """
    slopes = [one[:, 1:] for one in process_tables(spec, draws)]
    return [one - np.diagonal(one, axis1=-2, axis2=-1)[..., None] for one in slopes]


def _probability_changes(spec: ModelSpec, chunk: Chunk, moves: np.ndarray) -> np.ndarray:
    """Changes (draw, kind of change, driver, regime), or response before regime, for standardised moves (driver)."""
    rows, known = joint_table(spec, chunk.draws), chunk.filtered[:, :-1]
    alpha, slopes = rows[:, 0], rows[:, 1:]
    shifts = slopes * moves[:, None, None]
    changes = np.empty((len(known), 2, len(moves), known.shape[-1]))
    # Small blocks of transition probabilities stay in the processor's cache.
    size = max(1, BLOCK // (len(chunk.y) * alpha[0].size))
    for part in (slice(first, first + size) for first in range(0, len(known), size)):
        logits = chunk.quantities.logits[part]
        before = _average_step(known[part], logits)
        for d in range(len(moves)):
            changes[part, 0, d] = _average_step(known[part], logits + shifts[part, None, d]) - before
    rest = stationary_distribution(softmax(alpha, np), alpha.shape[-1], np)
    for d in range(len(moves)):
        moved = softmax(alpha + shifts[:, d], np)
        changes[:, 1, d] = stationary_distribution(moved, alpha.shape[-1], np) - rest
    return marginal_regime_probabilities(spec, changes)


def _average_step(known: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Probability (draw, regime) after a step from probabilities (draw, step, regime), averaged over steps."""
    return np.einsum("nti,ntij->nj", known, softmax(logits, np)) / known.shape[1]


def regime_summary(idata: xr.DataTree) -> pd.DataFrame:
    """Volatility, mean, durations, shares and driver effects of each regime.

    Whether a regime deserves a name from a story is read from here, and said; the package names them by volatility.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    pandas.DataFrame
        One row for each quantity and regime: columns ``response``, with several processes ``regime_process``,
        ``quantity``, ``regime``, ``driver``, ``year``,
        ``5 %``, ``median``, ``95 %`` of the posterior, and ``unit``. Quantities:

        - *volatility*: residual standard deviation over a period, averaged over episodes on the log scale, in the
          response's unit;
        - *mean*: mean of the response over a period with all else at its mean, in its unit;
        - *expected duration*, with all drivers at their mean, and *mean duration* of the spells on sampled paths, in
          periods of the panel;
        - *share* of the periods on sampled paths, and *share of the year*;
        - *change in long-run probability* if the ``driver`` stays one standard deviation higher.

        ``response`` is "all" where all of several responses share the regime process; ``driver`` is empty and ``year``
        missing where a quantity has none.
    """
    view = View.of(idata)
    spec, panel, draws = view.spec, view.panel, view.at_draws.draws
    log_scale = log_scales(spec, draws, panel.sizes[nm.EPISODE]).mean(axis=2)
    if not spec.volatility.moves:
        # Otherwise the scale is that of the standard deviation already.
        shape = {term.name: draws[term.name][:, None, None] for term in spec.family.terms()}
        log_scale = log_scale + 0.5 * np.log(spec.family.variance(shape))
    responses = {nm.RESPONSE: [response.name for response in spec.responses]}
    # (draw, regime, response)
    volatility = np.moveaxis(by_own_regime(spec, "scale", np.exp(log_scale)), 1, -1)
    volatility = volatility * panel[nm.scale_of(nm.RESPONSE)].to_numpy()
    mean = by_own_regime(spec, "intercept", intercepts(spec, draws))
    mean = in_units(panel, nm.RESPONSE, np.moveaxis(mean, 1, -1))
    paths, periods = view.read(regime_paths), period_name(spec.frequency)
    spells = _spells(paths, spec)
    found = []
    of_response: dict[str, tuple[Quantity, np.ndarray]] = {
        "volatility": ("scale", volatility),
        "mean": ("intercept", mean),
    }
    for name, (quantity, values) in of_response.items():
        coords = {nm.REGIME: regime_labels(spec, quantity), **responses}
        labelled = unstack_draws(values, view.parameters(), **coords)
        for a, one in enumerate(spec.responses):
            process = carrier(spec, quantity, a)
            own = labelled.sel({nm.RESPONSE: [one.name]})
            if nm.REGIME_PROCESS in spec.process_coords:
                own = own.expand_dims({nm.REGIME_PROCESS: [process.spec.name if process else ""]})
            found.append((name, own, series_unit(one, spec.frequency)))
    if spec.switches:
        found.append(("expected duration", _expected_durations(view), periods))
    found += [("mean duration", spells["mean_duration"], periods), ("share", spells["share"], "")]
    if spec.transition_drivers:
        found.append(("change in long-run probability", view.read(driver_effects)[LONG_RUN], "probability"))
    by_year = [_spells(some, spec)["share"].expand_dims({YEAR: [year]}) for year, some in paths.groupby("time.year")]
    found.append(("share of the year", xr.concat(by_year, YEAR), ""))
    absent = {nm.RESPONSE: spec.responses[0].name if len(spec.responses) == 1 else "all", nm.DRIVER: "", YEAR: pd.NA}
    rows = [row for name, values, unit in found for row in _quantile_rows(values, {"quantity": name, "unit": unit})]
    processes = [dim for dim in spec.process_coords if dim == nm.REGIME_PROCESS]
    columns = [nm.RESPONSE, *processes, "quantity", nm.REGIME, nm.DRIVER, YEAR, *STATISTICS, "unit"]
    table = pd.DataFrame([absent | row for row in rows], columns=columns).astype({YEAR: "Int64"})
    table.attrs[OF_SAMPLE] = sample_of(view)
    return ResultTable(table, regime_table)


def _quantile_rows(values: xr.DataArray, same: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A row for each entry of a quantity (chain, draw, ...): its labels, its median and 90 % interval."""
    rest = [dim for dim in (nm.RESPONSE, nm.DRIVER, YEAR, nm.REGIME_PROCESS, nm.REGIME) if dim in values.dims]
    # Regimes of another process are left out.
    absent = ~values.notnull().any((nm.CHAIN, nm.DRAW))  # noqa: PD004 - of xarray
    quantiles = (
        values.where(~absent, 0.0)
        .quantile((INTERVAL[0], 0.5, INTERVAL[1]), (nm.CHAIN, nm.DRAW))
        .transpose(*rest, "quantile")
    )
    for entry in product(*(values[dim].to_numpy().tolist() for dim in rest)):
        at = dict(zip(rest, entry, strict=True))
        if bool(absent.sel(at)):
            continue
        yield same | at | dict(zip(STATISTICS, quantiles.sel(at).to_numpy().tolist(), strict=True))
