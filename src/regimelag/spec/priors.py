"""Priors as data: a distribution and its parameters, for a whole parameter and for single entries."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np

from regimelag.errors import SpecError, require, require_choice

Unit = Literal["standardized", "elasticity"]
Support = Literal["real", "positive", "unit", "bounded", "vector"]
BY = "by_"


class Known(NamedTuple):
    """A PyMC distribution: support, sets of parameters (required, optional), and parameters that have a unit."""

    support: Support
    parameters: tuple[tuple[str, str], ...]
    in_unit: str = ""


DISTRIBUTIONS = {
    "Normal": Known("real", (("sigma", "mu"),), "mu sigma"),
    "StudentT": Known("real", (("nu sigma", "mu"),), "mu sigma"),
    "Cauchy": Known("real", (("beta", "alpha"),), "alpha beta"),
    "Laplace": Known("real", (("b", "mu"),), "mu b"),
    "Logistic": Known("real", (("s", "mu"),), "mu s"),
    "SkewNormal": Known("real", (("sigma", "mu alpha"),), "mu sigma"),
    "Gumbel": Known("real", (("mu beta", ""),), "mu beta"),
    "HalfNormal": Known("positive", (("sigma", ""),), "sigma"),
    "HalfStudentT": Known("positive", (("nu sigma", ""),), "sigma"),
    "HalfCauchy": Known("positive", (("beta", ""),), "beta"),
    "LogNormal": Known("positive", (("sigma", "mu"),)),
    "Gamma": Known("positive", (("alpha beta", ""), ("mu sigma", ""))),
    "InverseGamma": Known("positive", (("alpha beta", ""), ("mu sigma", ""))),
    "Exponential": Known("positive", (("lam", ""), ("scale", ""))),
    "Weibull": Known("positive", (("alpha beta", ""),)),
    "Beta": Known("unit", (("alpha beta", ""), ("mu sigma", ""), ("mu nu", ""))),
    "Kumaraswamy": Known("unit", (("a b", ""),)),
    "LogitNormal": Known("unit", (("sigma", "mu"),)),
    "Uniform": Known("bounded", (("lower upper", ""),), "lower upper"),
    "TruncatedNormal": Known("bounded", (("sigma", "mu lower upper"),), "mu sigma lower upper"),
    "Triangular": Known("bounded", (("lower c upper", ""),), "lower c upper"),
    "ZeroSumNormal": Known("vector", (("sigma", ""),), "sigma"),
    "Dirichlet": Known("vector", (("a", ""),)),
    "LKJ": Known("vector", (("eta", ""),)),
    "Categorical": Known("vector", (("p", ""),)),
}
POSITIVE = frozenset({"sigma", "nu", "b", "s", "lam", "scale", "eta", "a"})
# Supports contained in each support; supports bounded by parameters are decided in `Prior.within`.
WITHIN = {"real": {"real", "positive", "unit"}, "positive": {"positive", "unit"}, "unit": {"unit"}}
ENDS = {"real": (-math.inf, math.inf), "positive": (0.0, math.inf), "unit": (0.0, 1.0)}


class Prior:
    """A prior: a distribution of PyMC by its name, with its parameters.

    Parameters
    ----------
    distribution : str
        Name of the distribution, as PyMC spells it: "Normal", "StudentT", "HalfNormal", "LogNormal", ...
    unit : {"standardized", "elasticity"}
        Unit of location and scale in the prior of a coefficient. *standardized*: standard deviations of the response
        per standard deviation of the covariate; both depend on the window. *elasticity*: units of the response per
        unit of the covariate; for two log returns, per cent per per cent.
    dims : tuple of str
        Dimensions of the parameter where a kernel or another class declares them, such as ``("lag",)``.
    **parameters : float, tuple of float, or mapping of str to Prior
        Parameters of the distribution, as PyMC spells them (mu, sigma, nu, ...). ``by_signal``, ``by_control``,
        ``by_driver``, ``by_moderator``, ``by_regime``, ``by_response`` and ``by_episode`` map coordinate labels to
        priors of entries.

    Raises
    ------
    SpecError
        If the distribution, a parameter or the unit is unknown, or a parameter is not a finite number.

    Examples
    --------
    >>> Prior("StudentT", nu=3, sigma=1.0, unit="elasticity", by_signal={"silver": Prior("Normal", sigma=0.8)})
    Prior('StudentT', nu=3.0, sigma=1.0, unit='elasticity', by_signal={'silver': Prior('Normal', sigma=0.8)})
    """

    __slots__ = ("by", "dims", "distribution", "parameters", "unit")

    distribution: str
    parameters: dict[str, Any]
    unit: Unit
    dims: tuple[str, ...]
    by: dict[str, dict[str, Prior]]

    def __init__(
        self, distribution: str, *, unit: Unit = "standardized", dims: tuple[str, ...] = (), **parameters: Any
    ) -> None:
        asked = f"a prior {distribution!r}"
        require_choice(asked, "distribution", distribution, DISTRIBUTIONS)
        require_choice(asked, "unit", unit, get_args(Unit))
        own = {
            name: _number(asked, name, value) for name, value in sorted(parameters.items()) if not name.startswith(BY)
        }
        _check_parameters(asked, distribution, own)
        scales = DISTRIBUTIONS[distribution].in_unit
        in_units = [name for name, one in DISTRIBUTIONS.items() if one.in_unit]
        rule = f"a prior in another unit is one of {in_units}"
        require(unit == "standardized" or bool(scales), asked, rule, distribution, 'write unit = "standardized"')
        by = {name.removeprefix(BY): value for name, value in parameters.items() if name.startswith(BY)}
        rule, came = "entries are distinguished in one way", " and ".join(f"{BY}{dim}" for dim in by)
        require(len(by) <= 1, asked, rule, came, f"leave {came.rpartition(' and ')[2]} out")
        object.__setattr__(self, "distribution", distribution)
        object.__setattr__(self, "parameters", own)
        object.__setattr__(self, "unit", unit)
        named = (dims,) if isinstance(dims, str) else () if dims is None else dims
        fits = isinstance(named, (tuple, list)) and all(isinstance(one, str) for one in named)
        require(
            fits, asked, "dims are names of dimensions", f"dims = {dims!r}", 'write dims=("signal",), or leave dims out'
        )
        object.__setattr__(self, "dims", tuple(named))
        object.__setattr__(self, "by", {dim: _entries(asked, dim, entries) for dim, entries in by.items()})

    @classmethod
    def of(cls, value: Any, asked: str = "a prior") -> Self:
        """Prior from a table, a `pymc_extras.prior.Prior` or a PreliZ distribution.

        Parameters
        ----------
        value : Prior, mapping, or object
            A mapping needs the key ``distribution``. An object with ``distribution`` and ``parameters`` is read as a
            prior of pymc_extras; one with ``params_dict``, as a PreliZ distribution with the name of its class.
        asked : str
            First part of an error message: what the caller asked for.
        """
        if isinstance(value, cls):
            return value
        cure = 'write {distribution = "Normal", sigma = 0.5}, or regimelag.Prior("Normal", sigma=0.5) in Python'
        if isinstance(value, Mapping):
            came = f"keys {sorted(map(str, value))}"
            require("distribution" in value, asked, "a prior is a table with a distribution", came, cure)
            return cls(**value)
        if hasattr(value, "params_dict"):
            return cls(type(value).__name__, **(value.params_dict or {}))
        if hasattr(value, "distribution") and hasattr(value, "parameters"):
            rule = "a Prior of pymc_extras has no transform: the prior is that of the parameter itself"
            require(getattr(value, "transform", None) is None, asked, rule, str(value), "leave transform out")
            return cls(value.distribution, dims=getattr(value, "dims", None) or (), **value.parameters)
        rule = "a prior is a regimelag.Prior, a table, or a Prior of pymc_extras or PreliZ"
        raise SpecError(asked, rule, f"a {type(value).__name__}", cure)

    def at(self, labels: Mapping[str, str]) -> Prior:
        """Prior of one entry, given its label along each dimension."""
        for dim, entries in self.by.items():
            if labels.get(dim) in entries:
                return entries[labels[dim]]
        return self

    def kept(self, labels: Mapping[str, Sequence[str]]) -> Prior:
        """The prior, restricted to entries with these labels."""
        plain = self.to_plain()
        for dim, entries in self.by.items():
            held = {label: one for label, one in entries.items() if label in labels.get(dim, ())}
            plain[f"{BY}{dim}"] = held
            if not held:
                del plain[f"{BY}{dim}"]
        return Prior(**plain)

    def relabelled(self, dim: str, label: str, other: str) -> Prior:
        """The prior with the entry of one label, if any, repeated for another label."""
        held = self.by.get(dim, {})
        plain = self.to_plain() | ({f"{BY}{dim}": held | {other: held[label]}} if label in held else {})
        return Prior(**plain)

    def every(self) -> Iterator[Prior]:
        """The prior itself, and the priors of single entries."""
        yield self
        for entries in self.by.values():
            yield from entries.values()

    def scaled(self, factor: float) -> dict[str, Any]:
        """Parameters of the distribution after the variable is multiplied by a positive factor."""
        in_unit = DISTRIBUTIONS[self.distribution].in_unit.split()
        arrays = {name: np.asarray(one) if isinstance(one, tuple) else one for name, one in self.parameters.items()}
        return {name: factor * value if name in in_unit else value for name, value in arrays.items()}

    def within(self, support: Support) -> bool:
        """Whether this distribution, priors of single entries aside, has all its mass in a support."""
        own = DISTRIBUTIONS[self.distribution].support
        if own != "bounded":
            return own in WITHIN.get(support, ())
        low, high = ENDS[support]
        ends = self.parameters.get("lower", -math.inf), self.parameters.get("upper", math.inf)
        return low <= ends[0] and ends[1] <= high

    def to_plain(self) -> dict[str, Any]:
        """The prior as a table that `of` reads."""
        plain: dict[str, Any] = {"distribution": self.distribution}
        plain |= {name: list(held) if isinstance(held, tuple) else held for name, held in self.parameters.items()}
        plain |= {} if self.unit == "standardized" else {"unit": self.unit}
        plain |= {"dims": list(self.dims)} if self.dims else {}
        entries = {dim: {label: one.to_plain() for label, one in held.items()} for dim, held in self.by.items()}
        return plain | {f"{BY}{dim}": held for dim, held in entries.items()}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Prior does not change: make another one with the {name} that you want")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prior) and self.to_plain() == other.to_plain()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Prior.of, (self.to_plain(),)

    def __repr__(self) -> str:
        own: dict[str, Any] = dict(self.parameters)
        own |= {} if self.unit == "standardized" else {"unit": self.unit}
        own |= {"dims": self.dims} if self.dims else {}
        own |= {f"{BY}{dim}": entries for dim, entries in self.by.items()}
        return f"Prior({', '.join([repr(self.distribution), *(f'{name}={value!r}' for name, value in own.items())])})"


class Priors(Mapping[str, Prior]):
    """Immutable, hashable mapping of parameter names to the priors that replace a model's defaults.

    Parameters
    ----------
    priors : mapping of str to Prior, table, or Prior of pymc_extras or PreliZ
        ``{"effect": Prior("Normal", sigma=0.3), "silver_lag_location": Prior("LogNormal", mu=2.0, sigma=0.4)}``. Names
        are those of the table of priors in a report and of the variables of `build_model`.
    """

    __slots__ = ("_held",)

    def __init__(self, priors: Mapping[str, Any] | None = None) -> None:
        given = {} if priors is None else priors
        cure = 'write priors={"effect": regimelag.Prior("Normal", sigma=0.3)}'
        came = f"a {type(given).__name__}"
        fits = isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
        require(fits, "priors", "priors are given by the names of parameters", came, cure)
        self._held = {str(name): Prior.of(one, f"the prior of {name!r}") for name, one in sorted(given.items())}

    def __getitem__(self, name: str) -> Prior:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __hash__(self) -> int:
        return hash(tuple(self._held.items()))

    def __repr__(self) -> str:
        return f"Priors({self._held!r})"


class Resolved(NamedTuple):
    """Priors of all entries of a parameter.

    Attributes
    ----------
    distributions : tuple of str
        One distribution for all entries, or one per entry in C order.
    parameters : tuple of dict
        Parameters in standardised units, one dictionary per distribution. With a single distribution each value is a
        float or an array of the parameter's shape.
    """

    distributions: tuple[str, ...]
    parameters: tuple[dict[str, Any], ...]

    def entry(self, n: int) -> tuple[str, dict[str, Any]]:
        """Distribution and parameters of an entry, by its index in C order."""
        if len(self.distributions) > 1:
            return self.distributions[n], self.parameters[n]
        held = {key: np.ravel(value)[n] if np.ndim(value) else value for key, value in self.parameters[0].items()}
        return self.distributions[0], held


def resolve(prior: Prior, labels: Mapping[str, list[str]], factors: np.ndarray | float = 1.0) -> Resolved:
    """Resolve a prior to the priors of all entries, in standardised units.

    Parameters
    ----------
    prior : Prior
        Prior of the parameter, with priors of single entries.
    labels : mapping of str to list of str
        Labels along each dimension over which priors may differ, in order.
    factors : ndarray
        Factor of each entry that converts a coefficient from the units of its series to a standardised one.
    """
    shape = tuple(map(len, labels.values()))
    factors = np.broadcast_to(factors, shape)
    if not prior.by and (prior.unit == "standardized" or np.ptp(factors) == 0):
        factor = 1.0 if prior.unit == "standardized" else float(factors.flat[0])
        return Resolved((prior.distribution,), (prior.scaled(factor),))
    each, dims = [], list(labels)
    for place in np.ndindex(shape):
        one = prior.at({dim: labels[dim][n] for dim, n in zip(dims, place, strict=True)})
        held = one.scaled(1.0 if one.unit == "standardized" else float(factors[place]))
        each.append((one.distribution, {k: v[place[-1]] if np.ndim(v) else v for k, v in held.items()}))
    names = {(distribution, *sorted(held)) for distribution, held in each}
    if len(names) > 1:
        return Resolved(tuple(name for name, _ in each), tuple(held for _, held in each))
    stacked = {key: np.array([held[key] for _, held in each], dtype=float).reshape(shape) for key in each[0][1]}
    return Resolved((each[0][0],), (stacked,))


def _check_parameters(asked: str, distribution: str, given: Mapping[str, Any]) -> None:
    """Require the parameters of the distribution, with positive scale and shape parameters."""
    known, each = DISTRIBUTIONS[distribution], []
    for required, optional in known.parameters:
        needed, allowed = set(required.split()), {*required.split(), *optional.split()}
        each.append(" and ".join(required.split()) + (f" (and {', '.join(optional.split())})" if optional else ""))
        if needed <= set(given) <= allowed:
            break
    else:
        first = known.parameters[0][0].split()
        cure = f"write {', '.join(f'{name} = 1.0' for name in first)}"
        came = ", ".join(sorted(given)) or "no parameters"
        raise SpecError(asked, f"the parameters of a {distribution} are {', or '.join(each)}", came, cure)
    shapes = {"alpha", "beta"} if known.support in ("positive", "unit") else set()
    for name in sorted((POSITIVE | shapes | ({"beta"} if known.support == "real" else set())) & set(given)):
        entries = given[name] if isinstance(given[name], tuple) else (given[name],)
        require(min(entries) > 0, asked, f"{name} is above zero", f"{name} = {given[name]!r}", f"write {name} = 1.0")
    ends = given.get("lower", -math.inf), given.get("upper", math.inf)
    came, cure = f"lower = {ends[0]}, upper = {ends[1]}", "give lower a number below upper"
    require(not ends[0] >= ends[1], asked, "lower is below upper", came, cure)


def _number(asked: str, name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)) or bool(getattr(value, "ndim", 0)):
        flat = len(value) and not any(isinstance(one, (list, tuple)) or getattr(one, "ndim", 0) for one in value)
        rule = f"{name} is a number, or a list with one number per entry"
        require(bool(flat), asked, rule, f"{name} = {value!r}", f"write {name} = 1.0")
        return tuple(_number(asked, name, one) for one in value)
    plain: Any = value.item() if hasattr(value, "item") else value
    fits = isinstance(plain, numbers.Real) and not isinstance(plain, bool) and not math.isnan(plain)
    fits = fits and (math.isfinite(plain) or name in ("lower", "upper"))
    require(fits, asked, f"{name} is a number", f"{name} = {value!r}", f"write {name} = 1.0")
    return float(plain)


def _entries(asked: str, dim: str, entries: Any) -> dict[str, Prior]:
    rule = f"{BY}{dim} holds a prior for each name"
    cure = f'write {BY}{dim} = {{name = {{distribution = "Normal", sigma = 0.5}}}}'
    require(isinstance(entries, Mapping), asked, rule, f"a {type(entries).__name__}", cure)
    found = {str(label): Prior.of(one, f"{asked}, {BY}{dim} {label!r}") for label, one in entries.items()}
    within = [label for label, one in found.items() if one.by]
    rule, cure = "the prior of an entry has no entries of its own", f"leave by_ out of {BY}{dim} {within}"
    require(not within, asked, rule, f"entries of {', '.join(within)}", cure)
    return found
