"""Evaluate the model at draws with NumPy: locations, scales, transition logits and densities.

The constant arrays are those of `regimelag.spec.terms`, as in the PyMC model. The simulator and all results computed
after sampling use these functions, so the sampled graph stays small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special

from regimelag.likelihood.density import student_t_logpdf_draws
from regimelag.panel.moderators import moderator_values
from regimelag.panel.own_past import own_past
from regimelag.panel.published import published_drivers
from regimelag.runtime.plain import as_slice
from regimelag.spec import names as nm
from regimelag.spec.families import Elliptical, Family, Normal, StudentT
from regimelag.spec.kernels import Point, softmax
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.process_terms import forbidden_steps, initial_terms, step_terms
from regimelag.spec.processes import Process, Quantity, carrier, every_regime_label, regime_labels
from regimelag.spec.series import Control, Signal
from regimelag.spec.term import Term
from regimelag.spec.terms import lag_process, model_terms
from regimelag.spec.transitions import stationary_distribution

Draws = dict[str, np.ndarray]

# Entries of an array over draws, rows and regimes in one block of densities.
BLOCK = 50_000


class Feedback(NamedTuple):
    """Dependence of the conditional variance on the past, relative to the unconditional variance of the episode.

    Attributes
    ----------
    alpha, beta : ndarray
        (draw) weights of the last squared residual and of the last variance.
    first : ndarray
        (draw) variance of the first row.
    """

    alpha: np.ndarray
    beta: np.ndarray
    first: np.ndarray

    def next(self, square: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Variance (draw) of a row, from the squared residual and the variance of the previous row."""
        return 1.0 - self.alpha - self.beta + self.alpha * square + self.beta * variance


class Quantities(NamedTuple):
    """Model quantities evaluated at draws of the parameters.

    Regimes are joint regimes: with several regime processes one for each combination, numbered as in
    `ModelSpec.joint_regimes`.

    Attributes
    ----------
    location : ndarray
        (draw, response, time, regime), standardised.
    log_scale : ndarray
        (draw, response, episode, regime), standardised; with GARCH, of the unconditional standard deviation.
    episode : ndarray
        (time) index of each row's episode.
    correlation : ndarray
        (draw, response, response) correlation of the residuals.
    family : Family
        Distribution of the residuals.
    shape : dict of str to ndarray
        (draw) values of each shape parameter.
    logits : ndarray
        (draw, step, origin, destination); one step without drivers.
    log_initial : ndarray
        (draw, regime).
    feedback : Feedback or None
        Dependence of the scale on the past; None without.
    """

    location: np.ndarray
    log_scale: np.ndarray
    episode: np.ndarray
    correlation: np.ndarray
    family: Family
    shape: Draws
    logits: np.ndarray
    log_initial: np.ndarray
    feedback: Feedback | None = None

    def shape_over(self, axes: int) -> Draws:
        """Shape parameters with `axes` trailing axes of length one."""
        return {name: values.reshape(-1, *(1,) * axes) for name, values in self.shape.items()}

    def take(self, places: np.ndarray | slice) -> Quantities:
        """Select draws."""
        by_draw = ("location", "log_scale", "correlation", "logits", "log_initial")
        shape = {name: values[places] for name, values in self.shape.items()}
        feedback = None if self.feedback is None else Feedback(*(values[places] for values in self.feedback))
        picked = {name: getattr(self, name)[places] for name in by_draw}
        return self._replace(shape=shape, feedback=feedback, **picked)

    def after_first_row(self, variance: np.ndarray) -> Quantities:
        """All rows but the first, with the variance (draw) of the second, from `variance_ahead`."""
        feedback = None if self.feedback is None else self.feedback._replace(first=variance)
        return self._replace(location=self.location[:, :, 1:], episode=self.episode[1:], feedback=feedback)


def stack_draws(parameters: xr.Dataset) -> Draws:
    """Arrays with all (chain, draw) pairs on one leading axis; a dataset without them is a single draw."""
    sample = [dim for dim in (nm.CHAIN, nm.DRAW) if dim in parameters.dims]
    stacked = {}
    for name, values in parameters.data_vars.items():
        moved = values.transpose(*sample, ...)
        rest = moved.shape[len(sample) :]
        stacked[str(name)] = moved.to_numpy().reshape(-1, *rest)
    return stacked


def unstack_draws(values: np.ndarray, parameters: xr.Dataset, **coords: object) -> xr.DataArray:
    """Inverse of `stack_draws` for values (draw, ...), with named trailing axes."""
    sample = {dim: parameters[dim] for dim in (nm.CHAIN, nm.DRAW)}
    shape = tuple(len(coord) for coord in sample.values())
    return xr.DataArray(values.reshape(*shape, *values.shape[1:]), dims=(*sample, *coords), coords={**sample, **coords})


def in_chunks(draws: Draws, rows: int, *, budget: int = 20_000_000) -> Iterator[tuple[slice, Draws]]:
    """Split draws so that a (draw, time, regime) array has at most `budget` entries, and a quarter of that if split."""
    total = len(next(iter(draws.values())))
    size = total if total * rows <= budget else max(1, budget // 4 // rows)
    for first in range(0, total, size):
        part = slice(first, min(first + size, total))
        yield part, {name: values[part] for name, values in draws.items()}


def count_draws(draws: Draws) -> int:
    """Number of draws."""
    return len(next(iter(draws.values())))


def lag_weights(spec: ModelSpec, draws: Draws, series: Signal | Control) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights of a lagged series (draw, response, episode, regime, lag), and signed deviations (draw, lag) or None.

    The axes response, episode and regime have length one where the lag does not vary. Regimes are those of the process
    that carries the lag.
    """
    kernel, label = series.kernel, series.name if isinstance(series, Signal) else nm.control_label(series.name)
    parameters = {name: draws[nm.lag_parameter(label, name)] for name in kernel.names(spec.max_lag)}
    departure = kernel.signed_deviation(parameters, spec.max_lag)
    if isinstance(kernel, Point):
        point = parameters["point"]
        return kernel.weights({"point": point.reshape(len(point), 1, 1, -1)}, spec.max_lag), departure
    moves = lag_moves(draws, series) if isinstance(series, Signal) else None
    if moves is not None:
        lifted = {name: values[:, None, None, None] for name, values in parameters.items()}
        return kernel.weights(kernel.shift_location(lifted, moves), spec.max_lag), departure
    return kernel.weights(parameters, spec.max_lag)[:, None, None, None], departure


def lag_weights_on_joint(spec: ModelSpec, weights: np.ndarray) -> np.ndarray:
    """Map weights (draw, response, episode, regime, lag) to joint regimes, if they differ between regimes."""
    if weights.shape[3] == 1:
        return weights
    process = lag_process(spec) or spec.processes[0]
    return weights[:, :, :, process.regime]


def lag_moves(draws: Draws, signal: Signal) -> np.ndarray | None:
    """Deviations of the log location of a signal's kernel (draw, response, episode, regime), or None."""
    axes = {nm.EPISODE: np.s_[:, None, :, None], nm.RESPONSE: np.s_[:, :, None, None], nm.REGIME: np.s_[:, None, None]}
    moves = [draws[name][at] for dim, at in axes.items() if (name := nm.lag_parameter(signal.name, dim)) in draws]
    return sum(moves[1:], start=moves[0]) if moves else None


def table(terms: Sequence[Term], draws: Draws) -> np.ndarray:
    """Sum of terms (draw, *cell). Deviations missing from the draws are zero."""
    total = np.zeros(())
    for term in terms:
        if term.name in draws or not term.zero_sum:
            values = term.entering(draws[term.name])
            total = total + np.tensordot(values, np.asarray(term.enters), axes=values.ndim - 1)
    return total


def lagged_effects(spec: ModelSpec, draws: Draws, episodes: int) -> np.ndarray:
    """Cumulative lagged effect of signals (draw, signal, response, episode, joint regime), standardised.

    Moderators are at zero: drivers at their mean, and indicators at 0.
    """
    return _lagged_effects(spec, draws, episodes)[:, : len(spec.lagged_signals)]


def _lagged_effects(spec: ModelSpec, draws: Draws, episodes: int) -> np.ndarray:
    """Cumulative lagged effects of signals, then controls."""
    return table(model_terms(spec, episodes).effect, draws).transpose(0, 2, 3, 1, 4)


def moderation(spec: ModelSpec, draws: Draws, values: np.ndarray) -> np.ndarray:
    """Contributions of moderators (..., moderator) to the effects of signals (draw, signal, ...), standardised."""
    if not spec.moderators:
        return np.zeros((count_draws(draws), len(spec.lagged_signals), *values.shape[:-1]))
    added = table(model_terms(spec, 1).moderation, draws)
    return np.tensordot(added, values, axes=(1, -1))


def log_scales(spec: ModelSpec, draws: Draws, episodes: int) -> np.ndarray:
    """Log residual scale (draw, response, episode, joint regime), standardised."""
    return table(model_terms(spec, episodes).log_scale, draws).transpose(0, 2, 1, 3)


def locations(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> np.ndarray:
    """Location (draw, response, time, joint regime), standardised."""
    signals = panel[nm.SIGNAL_VALUE].to_numpy()
    now = [spec.signals.index(signal) for signal in spec.contemporaneous_signals]
    one = np.ones((panel.sizes[nm.TIME], 1))
    controls = panel[nm.CONTROL_VALUE].to_numpy()
    before = np.nan_to_num(own_past(panel)).reshape(len(one), -1)
    q = moderator_values(spec, panel)
    held = [one, signals[spec.history :, now], controls[-len(one) :], published_drivers(spec, panel), q, before]
    covariates = np.concatenate(held, axis=1)
    coefficients = table(model_terms(spec, panel.sizes[nm.EPISODE]).location, draws)
    # Time is last in memory: it is the longest axis.
    by_regime = np.tensordot(coefficients, covariates, axes=(1, 1))
    location = np.moveaxis(by_regime, -1, -2)
    lagged: list[tuple[Signal | Control, np.ndarray]] = [
        (one, signals[:, spec.signals.index(one)]) for one in spec.lagged_signals
    ]
    lagged += [(one, controls[:, spec.controls.index(one)]) for one in spec.lagged_controls]
    if not lagged:
        return location
    episode = panel[nm.EPISODE_INDEX].to_numpy()
    effects, added = _lagged_effects(spec, draws, panel.sizes[nm.EPISODE]), moderation(spec, draws, q)
    for place, (series, values) in enumerate(lagged):
        past = sliding_window_view(values[:-1], spec.max_lag)[:, ::-1]
        weights, departure = lag_weights(spec, draws, series)
        weights = lag_weights_on_joint(spec, weights)
        for e, rows in _episode_rows(episode):
            sums = weights[:, :, min(e, weights.shape[2] - 1)] @ np.ascontiguousarray(past[rows]).T
            effect = effects[:, place, :, e][..., None]
            if isinstance(series, Signal) and series.moderators:
                effect = effect + added[:, place, None, None, rows]
            by_regime[..., rows] += effect * sums
        if departure is not None:
            location += (departure @ past.T)[:, None, :, None]
    return location


def _episode_rows(episode: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Runs of rows of one episode."""
    starts = np.flatnonzero(np.diff(episode, prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(episode)], strict=True):
        yield int(episode[first]), slice(int(first), int(last))


def intercepts(spec: ModelSpec, draws: Draws) -> np.ndarray:
    """Mean of each response (draw, response, joint regime) with all covariates at zero, standardised."""
    return table(model_terms(spec, 1).location, draws)[:, 0]


def same_period_effects(spec: ModelSpec, draws: Draws) -> np.ndarray:
    """Same-period response to signals (draw, contemporaneous signal, response, joint regime), standardised."""
    return table(model_terms(spec, 1).location, draws)[:, 1 : 1 + len(spec.contemporaneous_signals)]


def by_own_regime(spec: ModelSpec, quantity: Quantity, values: np.ndarray, axis: int = 1) -> np.ndarray:
    """Select values (..., response, ..., regime) of a quantity from those of joint regimes.

    Regimes are those of `regime_labels`; `axis` is that of the responses. NaN where a response has no such regime.
    """
    labels = regime_labels(spec, quantity)
    found = np.full((*values.shape[:-1], len(labels)), np.nan)
    for a in range(values.shape[axis]):
        process = carrier(spec, quantity, a)
        first, own = (np.array([0]), labels[:1]) if process is None else (process.first, process.labels)
        np.moveaxis(found, axis, 0)[a][..., [labels.index(label) for label in own]] = np.take(values, a, axis)[
            ..., first
        ]
    return found


def marginal_regime_probabilities(spec: ModelSpec, values: np.ndarray) -> np.ndarray:
    """Marginalise probabilities (..., joint regime) to the regimes of each process (..., regime process, regime).

    Regimes are those of `every_regime_label`; NaN where a process has no such regime. With one process the values are
    returned unchanged (..., regime).
    """
    return over_processes(spec, [values @ process.member for process in spec.processes])


def over_processes(spec: ModelSpec, each: Sequence[np.ndarray]) -> np.ndarray:
    """Stack values (..., regime) of each process (..., regime process, regime), NaN where it has no such regime."""
    if len(each) == 1:
        return each[0]
    labels = every_regime_label(spec)
    found = np.full((*each[0].shape[:-1], len(each), len(labels)), np.nan)
    for p, (process, values) in enumerate(zip(spec.processes, each, strict=True)):
        found[..., p, [labels.index(label) for label in process.labels]] = values
    return found


def regime_paths_by_process(spec: ModelSpec, path: np.ndarray) -> np.ndarray:
    """Map paths (..., time) of joint regimes to the regimes of several processes (..., time, regime process)."""
    return spec.joint_regimes[path] if len(spec.processes) > 1 else path


def process_tables(spec: ModelSpec, draws: Draws) -> list[np.ndarray]:
    """Logits (draw, 1 + driver, origin, destination) of each regime process.

    Row 0 has the logits with all drivers at their mean, row 1 + d the effect of one standard deviation of driver d.
    """
    return [_process_table(spec, draws, process, place) for place, process in enumerate(spec.processes)]


def _process_table(spec: ModelSpec, draws: Draws, process: Process, place: int) -> np.ndarray:
    terms = step_terms(spec, process)
    if not terms:
        return np.zeros((count_draws(draws), 1 + len(spec.transition_drivers), 1, 1))
    held = {
        term.name: draws[term.name][:, place] if process.own else draws[term.name]
        for term in terms
        if term.name in draws
    }
    found = table(terms, held)
    found[:, 0][:, process.spec.forbidden_mask()] = -np.inf
    return found


def joint_table(spec: ModelSpec, draws: Draws) -> np.ndarray:
    """Logits (draw, 1 + driver, origin, destination) of joint regimes; those of independent processes add."""
    terms, forbidden = model_terms(spec, 1).transition, forbidden_steps(spec)
    if not terms:
        return np.zeros((count_draws(draws), 1, 1, 1))
    found = table(terms, draws)
    if forbidden is not None:
        found[:, 0][:, forbidden] = -np.inf
    return found


def expected_durations(spec: ModelSpec, draws: Draws) -> np.ndarray:
    """Expected duration in periods (draw, regime), or (draw, regime process, regime), with drivers at their mean."""
    durations = []
    for rows in process_tables(spec, draws):
        logits = rows[:, 0]
        stay = np.diagonal(logits, axis1=1, axis2=2)
        leave = special.logsumexp(np.where(np.eye(logits.shape[-1], dtype=bool), -np.inf, logits), axis=-1)
        durations.append(1.0 + np.exp(stay - leave))
    return over_processes(spec, durations)


def transition_logits(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> np.ndarray:
    """Logits (draw, step, origin, destination); row t is the step from t to t + 1."""
    rows = joint_table(spec, draws)
    if not spec.transition_drivers:
        return rows
    z = panel[nm.DRIVER_VALUE].to_numpy()[:-1, [spec.drivers.index(driver) for driver in spec.transition_drivers]]
    moved = z @ rows[:, 1:].reshape(len(rows), z.shape[1], -1)
    moved += rows[:, :1].reshape(len(rows), 1, -1)
    return moved.reshape(len(rows), len(z), *rows.shape[2:])


def log_initial(spec: ModelSpec, draws: Draws, logits: np.ndarray) -> np.ndarray:
    """Log initial distribution (draw, joint regime), the sum of those of independent processes."""
    found = np.zeros((len(logits), logits.shape[-1]))
    for place, process in enumerate(spec.processes):
        kind, count, terms = process.spec.initial, process.spec.count, initial_terms(process)
        if terms and terms[0].name in draws:
            name = terms[0].name
            own = table(terms, {name: draws[name][:, place] if process.own else draws[name]})
        elif kind == "stationary" and count > 1:
            joint = stationary_distribution(softmax(logits[:, 0], np), logits.shape[-1], np)
            own = np.log(joint @ process.member)
        else:
            own = np.full((1, count), -np.log(count))
        found += own[:, process.regime]
    return found


def transitions(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Transition logits (draw, step, origin, destination), and log initial distribution (draw, regime)."""
    logits = transition_logits(spec, panel, draws)
    return logits, log_initial(spec, draws, logits)


def evaluate(spec: ModelSpec, panel: xr.Dataset, draws: Draws) -> Quantities:
    """Evaluate the model at each draw."""
    logits, initial = transitions(spec, panel, draws)
    return Quantities(
        location=locations(spec, panel, draws),
        log_scale=log_scales(spec, draws, panel.sizes[nm.EPISODE]),
        episode=panel[nm.EPISODE_INDEX].to_numpy(),
        correlation=draws.get(nm.CORRELATION, np.ones((len(logits), 1, 1))),
        family=spec.family,
        shape={term.name: draws[term.name] for term in spec.family.terms()},
        logits=logits,
        log_initial=initial,
        feedback=_feedback(spec, draws),
    )


def _feedback(spec: ModelSpec, draws: Draws) -> Feedback | None:
    if not spec.volatility.moves:
        return None
    alpha, beta = spec.volatility.weights({term.name: draws[term.name] for term in spec.volatility.terms()})
    count = count_draws(draws)
    return Feedback(*(np.broadcast_to(values, count) for values in (alpha, beta, 1.0)))


def conditional_log_scales(at_draws: Quantities, y: np.ndarray) -> np.ndarray:
    """Log scale (draw, response, time, regime) of each row given the past responses y (time, response)."""
    # In memory (draw, response, regime, time), as locations are.
    log_scale = np.take(at_draws.log_scale.swapaxes(-1, -2), at_draws.episode, axis=-1).swapaxes(-1, -2)
    if at_draws.feedback is None:
        return log_scale
    # Variance of the family with scale one: nu / (nu - 2) for Student-t.
    own = at_draws.family.variance(at_draws.shape_over(1))
    moved = 0.5 * np.log(_relative_variances(at_draws, at_draws.feedback, y)[:, :-1] / own)
    return log_scale + moved[:, None, :, None]


def variance_ahead(at_draws: Quantities, y: np.ndarray) -> np.ndarray:
    """Variance (draw) of the row after the last, relative to the unconditional one; one without GARCH."""
    if at_draws.feedback is None:
        return np.ones(len(at_draws.location))
    return _relative_variances(at_draws, at_draws.feedback, y)[:, -1]


def _relative_variances(at_draws: Quantities, feedback: Feedback, y: np.ndarray) -> np.ndarray:
    """Conditional over unconditional variance (draw, 1 + time) of each row and the row after the last."""
    residual = (y[:, 0] - at_draws.location[:, 0, :, 0]) * np.exp(-at_draws.log_scale[:, 0, at_draws.episode, 0])
    variance = np.empty((residual.shape[1] + 1, len(residual)))
    variance[0] = feedback.first
    for t, square in enumerate(residual.T**2):
        variance[t + 1] = feedback.next(variance[t] if np.isnan(y[t, 0]) else square, variance[t])
    return variance.T


def log_observation(at_draws: Quantities, y: np.ndarray) -> np.ndarray:
    """Joint log density (draw, time, regime) of the responses y (time, response) in each regime.

    Missing responses are marginalised; a row without responses has zero.
    """
    draws, responses, rows, regimes = at_draws.location.shape
    family = at_draws.family
    # A registered subclass may have another density.
    if responses == 1 and at_draws.feedback is None and type(family) in (Normal, StudentT):
        assert isinstance(family, Elliptical)
        nu = np.broadcast_to(family.degrees_of_freedom(at_draws.shape), draws)
        location = np.moveaxis(at_draws.location[:, 0], -1, 1)
        given = map(np.ascontiguousarray, (location, at_draws.log_scale[:, 0], at_draws.episode, nu))
        return student_t_logpdf_draws(y[:, 0], *given)
    density = np.zeros((draws, rows, regimes))
    # Small blocks stay in the processor's cache; GARCH loops over rows in Python, so it takes all draws at once.
    block = draws if at_draws.feedback is not None else max(1, BLOCK // (responses * rows * regimes))
    seen = ~np.isnan(y)
    patterns = [(as_slice((seen == one).all(axis=1)), one) for one in np.unique(seen, axis=0) if one.any()]
    for first in range(0, draws, block):
        some = at_draws.take(slice(first, first + block))
        log_scale = conditional_log_scales(some, y)
        for at, these in patterns:
            density[first : first + block, at] = _joint_log_density(some, y, log_scale, at, these)
    return density


def _joint_log_density(
    at_draws: Quantities, y: np.ndarray, log_scale: np.ndarray, at: np.ndarray | slice, observed: np.ndarray
) -> np.ndarray:
    """Log density (draw, row, regime) of the responses in the mask `observed` on rows `at`, where no others are."""
    own, these = as_slice(observed), np.flatnonzero(observed)
    log_scale = log_scale[:, own][:, :, at]
    z = (y[at][:, own].T[None, :, :, None] - at_draws.location[:, own][:, :, at]) / np.exp(log_scale)
    shape, family, size = at_draws.shape_over(2), at_draws.family, len(these)
    if not isinstance(family, Elliptical):
        return family.log_density(z[:, 0], shape) - log_scale[:, 0]
    among = at_draws.correlation[:, these[:, None], these[None, :]]
    inverse = np.linalg.inv(among)
    square = np.zeros_like(z[:, 0])
    for a in range(size):
        for b in range(size):
            square += inverse[:, a, b][:, None, None] * z[:, a] * z[:, b]
    head = -0.5 * np.linalg.slogdet(among)[1][:, None, None] - log_scale.sum(axis=1)
    return head + family.radial(square, size, shape)
