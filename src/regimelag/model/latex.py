r"""Equations of a model as LaTeX, each with an introductory sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from regimelag.spec import names as nm
from regimelag.spec.families import Elliptical, StudentT
from regimelag.spec.kernels import Kernel, LocationScaleKernel, Point
from regimelag.spec.model_spec import ModelSpec, period_name
from regimelag.spec.priors import Prior
from regimelag.spec.process_terms import ordering_signal, steps_of
from regimelag.spec.processes import Process, groups_of
from regimelag.spec.regime_terms import Indices
from regimelag.spec.series import Control, Signal
from regimelag.spec.term import Term, index_of, text
from regimelag.spec.terms import Lag, Terms, kernel_symbol, model_terms


class Line(NamedTuple):
    """An equation and its introductory sentence."""

    words: str
    latex: str


def _latex_of(kernel: Kernel, attribute: str, method: str) -> str:
    """LaTeX that a class states for one of its methods; empty if a subclass overrides the method."""
    for cls in type(kernel).__mro__:
        if vars(cls).get(attribute):
            return str(vars(cls)[attribute])
        if method in vars(cls):
            return ""
    return ""


def kernel_formula(kernel: Kernel, max_lag: int) -> str:
    """LaTeX of the weights, or a generic function of the parameters if the class has no formula."""
    given = _latex_of(kernel, "latex", "weights")
    if given:
        return given
    priors = kernel.priors(max_lag)
    held = ", ".join(
        kernel_symbol(kernel, name, over_lags=name in priors and nm.LAG in priors[name].dims)
        for name in kernel.names(max_lag)
    )
    return rf"w_l = w_l({held})" + (rf", \quad d_l = d_l({held})" if kernel.has_signed_deviation else "")


def kernel_location(kernel: Kernel) -> str:
    """LaTeX of a kernel's location."""
    own = (
        kernel_symbol(kernel, kernel.located, over_lags=False)
        if isinstance(kernel, LocationScaleKernel)
        else text("location")
    )
    return _latex_of(kernel, "location_latex", "moved") or own


def equations(spec: ModelSpec, panel: xr.Dataset) -> list[Line]:
    """Equations of the model, in reading order.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data; episodes without a row are omitted.

    Returns
    -------
    list of Line
    """
    episodes = panel.sizes[nm.EPISODE]
    terms, index = model_terms(spec, episodes), Indices.of(spec, episodes)
    lines = [_observation(spec, index), *_family(spec), _location(spec, terms, index)]
    for lag in terms.lags:
        lines += [*_effect(spec, lag, terms, index), *_kernel(spec, lag, index)]
    lines += _moderators(spec)
    return [*lines, *_scale(spec, terms, index), *_processes(spec, index)]


def _observation(spec: ModelSpec, index: Indices) -> Line:
    several = len(spec.responses) > 1
    distribution = spec.family.symbol or text(spec.family.kind.replace("_", " "))
    given = rf" \mid s_t = {_listed(index.every)}" if index.every else ""
    words = "The responses are jointly " if several else "The response is "
    words += spec.family.words or f"distributed as the family {spec.family.kind.replace('_', ' ')} says"
    if index.every:
        one = "regime" if len(spec.processes) == 1 else "regimes of all processes"
        words += " given the regimes, one of each response" if spec.own_regimes else f" given the {one}"
    scale_regimes, location_regimes = index.of_quantity(spec, "scale"), _location_regimes(spec, index)
    where, location = index_of(scale_regimes, index.episode), f"m{index_of('t', location_regimes)}"
    where = "_t" if spec.volatility.moves else where
    if not several:
        return Line(f"{words}.", rf"y_t{given}\ \sim\ {distribution}\left({location},\ \sigma{where}^2\right)")
    scale = rf"D = \mathrm{{diag}}(\sigma{index_of('1', scale_regimes, index.episode)}, \dots)"
    return Line(
        f"{words}; one that is missing drops out of its row.",
        rf"y_t{given}\ \sim\ {distribution}\left({location},\ D{where} R\, D{where}\right), \quad {scale}",
    )


def _listed(letters: str) -> str:
    """Regimes as LaTeX: one letter, or several in parentheses."""
    return rf"({letters})" if "," in letters else letters


def _location_regimes(spec: ModelSpec, index: Indices) -> str:
    """Letters of the regimes on which the location depends."""
    held = [index.of_quantity(spec, quantity) for quantity in ("intercept", "effect", "contemporaneous", "lag")]
    return ",".join(dict.fromkeys(letter for one in held for letter in one.split(",") if letter))


def _family(spec: ModelSpec) -> Iterator[Line]:
    """Density of a residual, if the family states one."""
    if spec.family.latex and not isinstance(spec.family, Elliptical):
        yield Line("With location zero and scale one its density is this.", spec.family.latex)


def _location(spec: ModelSpec, terms: Terms, index: Indices) -> Line:
    own_past = [summand for term in terms.location if term.name == nm.AUTOREGRESSION for summand in term.summands]
    late = (nm.CONTROL_EFFECT, nm.DRIVER_CONTROL, nm.MODERATOR_MAIN_EFFECT)
    last = (*late, nm.AUTOREGRESSION)
    summands = [one for term in terms.location if term.name not in last for one in term.summands]
    summands += _same_period_deviations(spec, terms)
    summands += [_lagged(spec, lag, terms, index) for lag in terms.lags]
    summands += [one for term in terms.location if term.name in late for one in term.summands]
    summands += own_past
    by_regime = index.of_quantity(spec, "intercept")
    words = "Its location is the regime's mean" if by_regime else "Its location is a mean"
    parts = ["the same-period response to each signal"] if spec.contemporaneous_signals else []
    parts += ["an effect times a weighted sum of past values"] if spec.lagged_signals else []
    parts += ["controls of the same period"] if spec.controls else []
    parts += ["lagged effects of controls"] if spec.lagged_controls else []
    parts += ["the drivers as last published"] if nm.DRIVER_CONTROL in {term.name for term in terms.location} else []
    parts += ["moderators of the effect"] if spec.moderators else []
    parts += ["the response's own past"] if spec.autoregression else []
    words += "".join(f", plus {part}" for part in parts)
    return Line(
        f"{words}.", rf"m{index_of('t', index.response, _location_regimes(spec, index))} = " + " + ".join(summands)
    )


def _same_period_deviations(spec: ModelSpec, terms: Terms) -> Iterator[str]:
    """Deviations of the same-period responses between regimes."""
    for term in terms.location:
        if term.raw and term.name.endswith(nm.CONTEMPORANEOUS_REGIME):
            for signal in spec.contemporaneous_signals:
                name = text(signal.name)
                yield rf"{term.symbol} {term.raw.symbol}\, x^{{{name}}}_t"


def _lagged(spec: ModelSpec, lag: Lag, terms: Terms, index: Indices) -> str:
    name, value = text(lag.series.name), "x"
    moves = nm.EFFECT_EPISODE in {term.name for term in terms.effect}
    time = "t" if isinstance(lag.series, Signal) and lag.series.moderators else ""
    where = index_of(time, index.response, index.of_quantity(spec, "effect"), index.episode if moves else "")
    effect = rf"\beta^{{{name}}}{where}"
    if isinstance(lag.series, Control):
        effect, value = rf"g^{{{name}}}{index_of(index.response)}", "u"
    past, name = rf"{value}^{{{name}}}_{{t-l}}", text(_whose(lag))
    if lag.series.kernel.has_signed_deviation:
        return rf"\sum_{{l=1}}^{{{spec.max_lag}}} \left({effect}\, w^{{{name}}}_l + d^{{{name}}}_l\right) {past}"
    return rf"{effect} \sum_{{l=1}}^{{{spec.max_lag}}} w^{{{name}}}_l\, {past}"


def _whose(lag: Lag) -> str:
    return f"control {lag.series.name}" if isinstance(lag.series, Control) else lag.series.name


def _deviations(terms: Sequence[Term]) -> tuple[str, str]:
    """Dimensions of pooled deviations in words, and their sum as LaTeX."""
    sums = [f"{term.symbol} {term.raw.symbol}" for term in terms if term.raw]
    words = {nm.EFFECT_EPISODE: "episodes", nm.EFFECT_RESPONSE: "responses"}
    over = [words.get(term.name, f"{term.name.rpartition('_')[2]}s") for term in terms]
    return " and ".join(over), " + ".join(sums)


def _effect(spec: ModelSpec, lag: Lag, terms: Terms, index: Indices) -> Iterator[Line]:
    moderators = lag.series.moderators if isinstance(lag.series, Signal) else ()
    if isinstance(lag.series, Control):
        return
    symbol, regimes = text(lag.series.name), index.of_quantity(spec, "effect")
    ordered = [one for one in spec.processes if ordering_signal(spec, one) == lag.series.name]
    varying = [term for term in terms.effect if term.raw and (not term.name.endswith(nm.EFFECT_REGIME) or not ordered)]
    if not varying and not ordered and not moderators:
        return
    letters = {nm.EFFECT_RESPONSE: "a", nm.EFFECT_EPISODE: "e"}
    held = {term.name for term in varying}
    ends = [letter if name in held else "" for name, letter in letters.items()]
    where = index_of(ends[0], regimes, ends[1])
    over, total = _deviations(varying)
    words = ["orders the regimes of a process by gains"] if ordered else []
    words += [f"is pooled over {over}; each group of deviations sums to zero"] if varying else []
    words += ["depends on the period"] if moderators and not varying else []
    said = f"The effect of {lag.series.name} {', and '.join(words)}{'; moderators add to it' if moderators else ''}."
    parts = [f"b^{{{symbol}}}", *(rf"u{index_of(index.regime(one))}" for one in ordered), *([total] if total else [])]
    parts += [rf"\phi^{{{symbol},{text(one)}}}\, q^{{{text(one)}}}_t" for one in moderators]
    latex = rf"\beta^{{{symbol}}}{where} = {' + '.join(parts)}"
    for letter in dict.fromkeys(index.regime(one) for one in ordered):
        up = rf"u{index_of(letter + '+1')} - u{index_of(letter)} = g{index_of(letter)} > 0"
        latex += rf", \quad {up}, \quad \sum u{index_of(letter)} = 0"
    yield Line(said, latex)


def _moderators(spec: ModelSpec) -> Iterator[Line]:
    """Each moderator, from the drivers as published by the period before."""
    indicators = {indicator.name: indicator for indicator in spec.indicators}
    for name in spec.moderators:
        symbol = rf"q^{{{text(name)}}}_t"
        if name not in indicators:
            words = f"The moderator {name} is the standardised driver as published by the period before."
            yield Line(words, rf"{symbol} = z^{{{text(name)}}}_{{t-1}}")
            continue
        bounds = [rf"{_own(one.driver)} < {one.below:g}" for one in indicators[name].all_of if one.below is not None]
        bounds += [rf"{_own(one.driver)} > {one.above:g}" for one in indicators[name].all_of if one.above is not None]
        words = f"The moderator {name} is 1 where all bounds hold, of drivers in their own units as published by the "
        yield Line(f"{words}period before, and 0 elsewhere.", rf"{symbol} = 1\left({', '.join(bounds)}\right)")


def _own(driver: str) -> str:
    """LaTeX of a driver of the period before, in its own unit."""
    return rf"\tilde{{z}}^{{{text(driver)}}}_{{t-1}}"


def _kernel(spec: ModelSpec, lag: Lag, index: Indices) -> Iterator[Line]:
    kernel, unit = lag.series.kernel, period_name(spec.frequency)
    words = f"The {kernel.kind.replace('_', ' ')} lag weights of {_whose(lag)} sum to one over the lags 1 to "
    words += f"{spec.max_lag}, in {unit}."
    if isinstance(kernel, Point):
        words = f"The response to {lag.series.name} comes with one unknown lag, marginalised exactly."
    yield Line(words, kernel_formula(kernel, spec.max_lag))
    if lag.moves:
        located, (over, total) = kernel_location(kernel), _deviations(lag.moves)
        letters = {nm.RESPONSE: "a", nm.EPISODE: "e", nm.REGIME: index.of_quantity(spec, "lag")}
        where = index_of(*(letters[term.name.rpartition("_")[2]] for term in lag.moves))
        yield Line(
            f"Its place moves between {over}, pooled.",
            rf"\left({located}\right){where} = {located}\, \exp\left({total}\right)",
        )


def _scale(spec: ModelSpec, terms: Terms, index: Indices) -> Iterator[Line]:
    if spec.volatility.moves:
        yield from _moving_scale(spec, terms, index)
        return
    summands = [summand for term in terms.log_scale for summand in term.summands]
    if len(summands) == 1:
        return
    by_episode = nm.LOG_SCALE_EPISODE in {term.name for term in terms.log_scale}
    regimes, ordered = index.of_quantity(spec, "scale"), _ordered_by_scale(spec)
    where = index_of(index.response, regimes, "e" if by_episode else "")
    words = "The log scale has a level"
    words += (
        ", a part that orders the regimes by volatility" if ordered else (", a part of each regime" * bool(regimes))
    )
    words += ", and a part for each episode" if by_episode else ""
    latex = rf"\log \sigma{where} = " + " + ".join(summands)
    for process in ordered:
        own, letter = index.response if process.own else "", index.regime(process)
        up = rf"v{index_of(own, letter + '+1')} - v{index_of(own, letter)} = g{index_of(own, letter)} > 0"
        latex += rf", \quad {up}, \quad \sum_{{{letter}}} v{index_of(own, letter)} = 0"
    yield Line(f"{words}.", latex)


def _ordered_by_scale(spec: ModelSpec) -> list[Process]:
    """Declared processes that carry the scale and order their regimes by it."""
    held = [group.process for group in groups_of(spec, "scale")]
    return [one for one in held if one and one.spec.count > 1 and one.spec.order_by.quantity == "scale"]


def _moving_scale(spec: ModelSpec, terms: Terms, index: Indices) -> Iterator[Line]:
    held = {term.name: term for term in terms.log_scale}
    by_episode = nm.LOG_SCALE_EPISODE in held
    factor = (
        rf"e^{{{held[nm.LOG_SCALE_EPISODE].symbol.replace('_{e}', index_of(index.episode))}}}" if by_episode else ""
    )
    symbol, model = held[nm.LOG_SCALE].symbol, spec.volatility
    residual = r"\varepsilon_t = " + (rf"\frac{{y_t - m_t}}{{{factor}}}" if by_episode else "y_t - m_t")
    words = f"The residual{', over a factor for each episode,' if by_episode else ''} has a conditional variance that "
    words += f"follows its own past: {model.words or model.kind}. Where a response is missing, the variance stands in "
    parameters = ", ".join(term.symbol for term in terms.volatility)
    formula = model.latex or rf"v_t = v_t({', '.join(filter(None, (parameters, r'\varepsilon_{t-1}^2, v_{t-1}')))})"
    yield Line(
        f"{words}for its squared residual.", rf"{formula}, \quad v_1 = s^2, \quad s = e^{{{symbol}}}, \quad {residual}"
    )
    nu = r" \frac{\nu - 2}{\nu}" if isinstance(spec.family, StudentT) else ""
    scale = rf"\sigma_t = {factor}\, \sqrt{{v_t{nu}}}" if factor else rf"\sigma_t = \sqrt{{v_t{nu}}}"
    yield Line("The scale is that of a residual with this variance.", scale)


def _processes(spec: ModelSpec, index: Indices) -> Iterator[Line]:
    """Transition probabilities and initial distribution of each declared process."""
    for prefix in dict.fromkeys(process.prefix for process in spec.processes):
        process = next(one for one in spec.processes if one.prefix == prefix)
        if process.spec.count > 1:
            yield from _process(spec, process, index)


def _process(spec: ModelSpec, process: Process, index: Indices) -> Iterator[Line]:
    declared, letter = process.spec, index.regime(process)
    own = "a" if process.own else ""
    # With several processes the regime of each has the number of its letter.
    state = rf"s^{{({letter.removeprefix('k_')})}}" if process.prefix else "s"
    here, before = f"{state}{index_of(own, 't')}", f"{state}{index_of(own, 't-1')}"
    steps = steps_of(spec, process)
    words = "The regimes are a Markov chain" if not own else "Each response has a Markov chain of regimes of its own"
    words = f"The regimes {letter} of the process {declared.name} are a Markov chain" if process.prefix else words
    words += ", moved by the drivers as last published before the row" if steps.drivers else ""
    yield Line(
        f"{words}; it is marginalised exactly.",
        rf"P({here} = j \mid {before} = i) = \mathrm{{softmax}}_j\left({declared.model.logit_latex(steps)}\right)",
    )
    yield from (Line(*line) for line in declared.model.latex(steps))
    if declared.forbidden:
        pairs = " and ".join(f"from {origin} to {destination}" for origin, destination in declared.forbidden)
        labels = process.labels
        zero = [rf"P_{{{labels.index(i) + 1},{labels.index(j) + 1}}} = 0" for i, j in declared.forbidden]
        yield Line(f"There is no step {pairs}.", r", \quad ".join(zero))
    first = f"{state}{index_of(own, '1')}"
    initial = {
        "uniform": rf"P({first} = k) = 1 / {declared.count}",
        "stationary": rf"P({first} = k) = \pi_k, \quad \pi^\top P_1 = \pi^\top",
        "dirichlet": rf"P({first} = k) = \pi{index_of(own, 'k')}",
    }
    yield Line("The distribution of the first regime.", initial[declared.initial])


def prior_in_words(prior: Prior) -> str:
    """A prior as PyMC writes it, followed by priors of single entries; long vectors are abbreviated."""
    words = f"{prior.distribution}({', '.join(f'{key} = {_value(value)}' for key, value in prior.parameters.items())})"
    words += "" if prior.unit == "standardized" else f", {prior.unit}"
    others = [f"{label} {prior_in_words(one)}" for entries in prior.by.values() for label, one in entries.items()]
    return "; ".join([words, *others])


def _value(value: object) -> str:
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        return f"{float(array):.3g}"
    if array.size <= 4:  # noqa: PLR2004
        return f"[{', '.join(f'{entry:.3g}' for entry in array)}]"
    return f"{array.size} values, sum {array.sum():.3g}" + _center(array)


def _center(array: np.ndarray) -> str:
    """Mean lag of prior masses; empty for other values."""
    if array.min() < 0 or not array.sum() > 0:
        return ""
    return f", centred at lag {float(array @ np.arange(1, array.size + 1) / array.sum()):.3g}"
