r"""A model in mathematics, from its spec: equations as LaTeX, each led to by a sentence.

`regimelag.build_model` is what is computed; this says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import xarray as xr

from regimelag import names as nm
from regimelag.series import Signal
from regimelag.spec import ModelSpec


class Line(NamedTuple):
    """An equation, and the sentence that leads to it."""

    words: str
    latex: str


# Weights of each kernel, up to the factor that makes them sum to one.
SHAPES = {
    "gamma": r"w_l \propto l^{\kappa - 1} e^{-\kappa l / m}, \quad \kappa = (m / \varsigma)^2",
    "lognormal": r"w_l \propto \frac{1}{l} \exp\left(-\frac{(\log l - \log m + q / 2)^2}{2 q}\right), "
    r"\quad q = \log\left(1 + (\varsigma / m)^2\right)",
    "negative_binomial": r"w_l \propto \frac{\Gamma(l - 1 + r)}{\Gamma(l)} \left(\frac{m}{m + r}\right)^{l - 1}, "
    r"\quad r = (m / \varsigma)^2",
    "beta": r"w_l \propto u_l^{f n - 1} (1 - u_l)^{(1 - f) n - 1}, \quad u_l = (l - 1/2) / L",
    "dirichlet": r"(w_1, \dots, w_L) \sim \mathrm{Dirichlet}(a)",
    "smooth": r"w_l \propto p_l \exp(\rho\, r_l), \quad r_l \text{ a centred random walk over lags}",
    "unrestricted": r"w_l = p_l, \quad d_l = \rho\, r_l, \quad r_l \text{ a centred random walk over lags}",
    "point": r"w_l = 1 \text{ if } l = \lambda \text{, else } 0",
}


def text(name: str) -> str:
    """A name as upright text inside mathematics: without what means something to LaTeX or, on a page, to HTML."""
    for special in ("\\", "{", "}", "$", "&", "#", "%", "_", "^", "~", "<", ">"):
        name = name.replace(special, "\\_" if special == "_" else " ")
    return rf"\text{{{name}}}"


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
    if signal.kernel.kind == "unrestricted":
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
    words = f"The {kernel.kind.replace('_', ' ')} lag weights of {signal.name} sum to one over the lags 1 to "
    words += f"{spec.max_lag}, in rows."
    if kernel.kind == "point":
        words = f"The response to {signal.name} comes with one lag, which is not known and is summed out exactly."
    yield Line(words, SHAPES[kernel.kind])
    located = "f / (1 - f)" if kernel.kind == "beta" else "m"
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
