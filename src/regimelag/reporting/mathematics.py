r"""A model in mathematics, from its spec: equations as LaTeX, each led to by a sentence.

`regimelag.build_model` is what is computed; this says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import xarray as xr

from regimelag import names as nm
from regimelag.kernels import Kernel, Located, Point
from regimelag.reading.verdict import period_name
from regimelag.series import Signal
from regimelag.spec import ModelSpec


class Line(NamedTuple):
    """An equation, and the sentence that leads to it."""

    words: str
    latex: str


def text(name: str) -> str:
    """A name as upright text inside mathematics: without what means something to LaTeX or, on a page, to HTML."""
    for special in ("\\", "{", "}", "$", "&", "#", "%", "_", "^", "~", "<", ">"):
        name = name.replace(special, "\\_" if special == "_" else " ")
    return rf"\text{{{name}}}"


def kernel_symbol(kernel: Kernel, name: str, *, over_lags: bool) -> str:
    """LaTeX symbol of a kernel's parameter; its name where the class gives none."""
    found = _by_name(kernel, "symbols", name)
    return found or text(name.replace("_", " ")) + ("_l" if over_lags else "")


def kernel_words(kernel: Kernel, name: str) -> str:
    """What a kernel's parameter means; its name where the class does not say."""
    kind = kernel.kind.replace("_", " ")
    return _by_name(kernel, "words", name) or f"{name.replace('_', ' ')}, a parameter of the {kind} kernel"


def _by_name(kernel: Kernel, attribute: str, name: str) -> str:
    """An entry of a mapping of the kernel's class, or of the first base that has one."""
    held = (vars(cls).get(attribute, {}) for cls in type(kernel).__mro__)
    return next((one[name] for one in held if name in one), "")


def _latex_of(kernel: Kernel, attribute: str, method: str) -> str:
    """LaTeX that a class gives of one of its methods; empty if the method was replaced since."""
    for cls in type(kernel).__mro__:
        if vars(cls).get(attribute):
            return str(vars(cls)[attribute])
        if method in vars(cls):
            return ""
    return ""


def kernel_formula(kernel: Kernel, max_lag: int) -> str:
    """The weights as LaTeX; as functions of the parameters where the class gives no formula."""
    given = _latex_of(kernel, "latex", "weights")
    if given:
        return given
    priors = kernel.priors(max_lag)
    held = ", ".join(
        kernel_symbol(kernel, name, over_lags=name in priors and priors[name].over_lags)
        for name in kernel.names(max_lag)
    )
    return rf"w_l = w_l({held})" + (rf", \quad d_l = d_l({held})" if kernel.departs else "")


def kernel_location(kernel: Kernel) -> str:
    """The location of a kernel, which deviations move, as LaTeX."""
    own = kernel_symbol(kernel, kernel.located, over_lags=False) if isinstance(kernel, Located) else text("location")
    return _latex_of(kernel, "location_latex", "moved") or own


def index_of(*parts: str) -> str:
    """A subscript of those parts that are there."""
    kept = ",".join(part for part in parts if part)
    return f"_{{{kept}}}" if kept else ""


class Indices(NamedTuple):
    """Subscripts that a model needs: empty where there is only one of a kind."""

    response: str
    regime: str
    episode: str

    @classmethod
    def of(cls, spec: ModelSpec, panel: xr.Dataset) -> Indices:
        """Subscripts of a model on its panel."""
        return cls(
            response="a" if len(spec.responses) > 1 else "",
            regime="k" if spec.regimes.count > 1 else "",
            episode="e(t)" if panel.sizes[nm.EPISODE] > 1 else "",
        )


def equations(spec: ModelSpec, panel: xr.Dataset) -> list[Line]:
    """The model's equations, in the order in which they are read.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data: episodes without a row drop out of the equations.

    Returns
    -------
    list of Line
    """
    index = Indices.of(spec, panel)
    lines = [_observation(spec, index), _location(spec, index)]
    for signal in spec.lagged_signals:
        lines += [*_effect(spec, signal, index), *_kernel(spec, signal, panel)]
    return [*lines, *_scale(spec, index), *_chain(spec, index)]


def _observation(spec: ModelSpec, index: Indices) -> Line:
    """The law of the responses given their regime."""
    several = len(spec.responses) > 1
    law = r"t_\nu" if spec.family == "student_t" else r"\mathcal{N}"
    given = r" \mid s_t = k" if index.regime else ""
    words = "The responses are jointly " if several else "The response is "
    words += "Student-t" if spec.family == "student_t" else "normal"
    if index.regime:
        words += " given the regimes, one of each response" if spec.own_regimes else " given the regime"
    where, location = index_of(index.regime, index.episode), f"m{index_of('t', index.regime)}"
    if not several:
        return Line(f"{words}.", rf"y_t{given}\ \sim\ {law}\left({location},\ \sigma{where}^2\right)")
    scale = rf"D = \mathrm{{diag}}(\sigma{index_of('1', index.regime, index.episode)}, \dots)"
    return Line(
        f"{words}; one that is missing drops out of its row.",
        rf"y_t{given}\ \sim\ {law}\left({location},\ D{where} R\, D{where}\right), \quad {scale}",
    )


def _location(spec: ModelSpec, index: Indices) -> Line:
    """The location: mean, same-period and lagged responses, controls."""
    own = index_of(index.response)
    terms = [rf"\mu{index_of(index.response, index.regime)}"]
    for signal in spec.signals:
        if signal.contemporaneous:
            terms.append(rf"c^{{{text(signal.name)}}}{own}\, x^{{{text(signal.name)}}}_t")
        if signal in spec.lagged_signals:
            terms.append(_lagged(spec, signal, index))
    terms += [rf"\gamma^{{{text(c.name)}}}{own}\, u^{{{text(c.name)}}}_t" for c in spec.controls]
    words = "Its location is the regime's mean" if index.regime else "Its location is a mean"
    parts = ["the same-period response to each signal"] if spec.contemporaneous_signals else []
    parts += ["an effect times a weighted sum of past values"] if spec.lagged_signals else []
    parts += ["controls of the same period"] if spec.controls else []
    words += "".join(f", plus {part}" for part in parts)
    return Line(f"{words}.", rf"m{index_of('t', index.response, index.regime)} = " + " + ".join(terms))


def _lagged(spec: ModelSpec, signal: Signal, index: Indices) -> str:
    """Effect times lagged sum of one signal."""
    name = text(signal.name)
    effect = rf"\beta^{{{name}}}{index_of(index.response, index.regime, index.episode if effect_moves(spec) else '')}"
    past = rf"x^{{{name}}}_{{t-l}}"
    if signal.kernel.departs:
        return rf"\sum_{{l=1}}^{{{spec.max_lag}}} \left({effect}\, w^{{{name}}}_l + d^{{{name}}}_l\right) {past}"
    return rf"{effect} \sum_{{l=1}}^{{{spec.max_lag}}} w^{{{name}}}_l\, {past}"


def effect_moves(spec: ModelSpec) -> bool:
    """Whether the effect may differ between episodes."""
    return "effect" in spec.episodes.vary


def _effect(spec: ModelSpec, signal: Signal, index: Indices) -> Iterator[Line]:
    """How the cumulative effect differs, if it does."""
    by_episode = index.episode and effect_moves(spec)
    by_response = index.response and "effect" in spec.responses_vary
    groups = [("regime", "k", bool(index.regime)), ("episode", "e", by_episode), ("response", "a", by_response)]
    varying = [(name, letter) for name, letter, varies in groups if varies]
    if not varying:
        return
    where = index_of(*(letter for _, letter in sorted(varying, key=lambda pair: "ake".index(pair[1]))))
    terms = " + ".join(rf"\tau_{{{text(name)}}} \xi^{{{text(name)}}}_{letter}" for name, letter in varying)
    names = [f"{name}s" for name, _ in varying]
    yield Line(
        f"The effect of {signal.name} is pooled over {' and '.join(names)}; each group of deviations sums to zero.",
        rf"\beta^{{{text(signal.name)}}}{where} = b^{{{text(signal.name)}}} + {terms}",
    )


def _kernel(spec: ModelSpec, signal: Signal, panel: xr.Dataset) -> Iterator[Line]:
    """The lag weights, and how their place moves."""
    kernel = signal.kernel
    unit = period_name(spec.frequency)
    words = f"The {kernel.kind.replace('_', ' ')} lag weights of {signal.name} sum to one over the lags 1 to "
    words += f"{spec.max_lag}, in {unit}."
    if isinstance(kernel, Point):
        words = f"The response to {signal.name} comes with one unknown lag, marginalised exactly."
    yield Line(words, kernel_formula(kernel, spec.max_lag))
    located = kernel_location(kernel)
    moves = []
    if spec.lag_by_response:
        moves.append(("response", "a"))
    if spec.lag_by_episode and panel.sizes[nm.EPISODE] > 1:
        moves.append(("episode", "e"))
    if moves:
        where = index_of(*(letter for _, letter in moves))
        terms = " + ".join(rf"\tau^{{m}}_{{{text(name)}}} \zeta^{{{text(name)}}}_{letter}" for name, letter in moves)
        yield Line(
            f"Its place moves between {' and '.join(f'{name}s' for name, _ in moves)}, pooled.",
            rf"\left({located}\right){where} = {located}\, \exp\left({terms}\right)",
        )


def _scale(spec: ModelSpec, index: Indices) -> Iterator[Line]:
    """The residual scale by regime and episode."""
    by_episode = index.episode and "scale" in spec.episodes.vary
    where = index_of(index.response, index.regime, "e" if by_episode else "")
    terms = [rf"h{index_of(index.response)}"]
    own = index.response if spec.own_regimes else ""
    terms += [rf"v{index_of(own, 'k')}"] if index.regime else []
    terms += [rf"\eta{index_of(index.response, 'e')}"] if by_episode else []
    if len(terms) == 1:
        return
    words = "The log scale has a level"
    words += ", a part that orders the regimes by volatility" if index.regime else ""
    words += ", and a part for each episode" if by_episode else ""
    latex = rf"\log \sigma{where} = " + " + ".join(terms)
    if index.regime:
        latex += rf", \quad v{index_of(own, 'k+1')} - v{index_of(own, 'k')} = g{index_of(own, 'k')} > 0, \quad \sum_k "
        latex += rf"v{index_of(own, 'k')} = 0"
    yield Line(f"{words}.", latex)


def _chain(spec: ModelSpec, index: Indices) -> Iterator[Line]:
    """Transitions of the regimes, and the law of the first."""
    if not index.regime:
        return
    own = "a" if spec.own_regimes else ""
    here, before = f"s{index_of(own, 't')}", f"s{index_of(own, 't-1')}"
    terms = [rf"\alpha{index_of(own, 'i', 'j')}"]
    for driver in spec.drivers:
        name = text(driver.name)
        slope = rf"\delta^{{{name}}}{index_of(own, 'j')}"
        if spec.priors.origin_sd > 0:
            slope = rf"\left({slope} + \omega^{{{name}}} \epsilon^{{{name}}}{index_of(own, 'i', 'j')}\right)"
        terms.append(rf"{slope}\, z^{{{name}}}_{{t-1}}")
    words = "The regimes are a Markov chain" if not own else "Each response has a Markov chain of regimes of its own"
    words += ", moved by the drivers as last published before the row" if spec.drivers else ""
    yield Line(
        f"{words}; it is summed out exactly.",
        rf"P({here} = j \mid {before} = i) = \mathrm{{softmax}}_j\left({' + '.join(terms)}\right)",
    )
    stay = rf"\alpha{index_of(own, 'i', 'i')}"
    words = "The diagonal holds the log odds of staying"
    words += ", with all drivers at their mean" if spec.drivers else ""
    rest = rf"\log \sum_{{j \neq i}} e^{{\alpha{index_of(own, 'i', 'j')}}} = 0"
    yield Line(f"{words}.", rf"E[\text{{rows in regime }} i] = 1 + e^{{{stay}}}, \quad {rest}")
    first = {
        "uniform": rf"P(s{index_of(own, '1')} = k) = 1 / {spec.regimes.count}",
        "stationary": rf"P(s{index_of(own, '1')} = k) = \pi_k, \quad \pi^\top P_1 = \pi^\top",
        "dirichlet": rf"P(s{index_of(own, '1')} = k) = \pi{index_of(own, 'k')}",
    }
    yield Line("The first regime.", first[spec.regimes.initial])
