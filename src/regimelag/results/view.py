"""View: spec, panel, draws, evaluated model and earlier results of a fit, each read once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, Concatenate, cast

import xarray as xr

from regimelag.errors import FitError
from regimelag.model.at_draws import AtDraws
from regimelag.sampling.diagnostics import require_fit, stored_diagnostics
from regimelag.sampling.inference_data import spec_of, thinned_by_rows, whole_panel, whole_parameters
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec


class View:
    """State shared by the results of a fit during one public call.

    A public function starts with ``view = View.of(idata)`` and passes the view to the functions that it calls. Each
    part is read and checked at first use. A view is never stored in the fit, which may change between calls.

    Parameters
    ----------
    fit : xarray.DataTree
        A fit.

    Raises
    ------
    FitError
        If the argument is not a tree of draws.
    """

    def __init__(self, fit: xr.DataTree) -> None:
        require_fit("reading a fit", fit)
        self.fit = fit
        self._parameters: dict[str, xr.Dataset] = {}
        self._at_draws: AtDraws | None = None
        self._found: dict[Any, Any] = {}
        self._thinned: dict[int, View] = {}

    @classmethod
    def of(cls, idata: xr.DataTree | View) -> View:
        """The view itself, or a new view of a fit."""
        return idata if isinstance(idata, View) else cls(idata)

    @cached_property
    def spec(self) -> ModelSpec:
        """The spec, from `spec_of`."""
        return spec_of(self.fit)

    @cached_property
    def panel(self) -> xr.Dataset:
        """The panel, from `panel_of`."""
        return whole_panel(self.spec, self.fit)

    @cached_property
    def constants(self) -> xr.Dataset:
        """Group constant_data: the panel without its responses; rows may have been selected."""
        return self.fit["constant_data"].to_dataset()

    def parameters(self, group: str = "posterior") -> xr.Dataset:
        """Parameter draws, checked."""
        if not isinstance(group, str) or group not in self._parameters:
            spec = self.spec if "spec" in self.fit.attrs else None
            self._parameters[group] = whole_parameters(spec, self.fit, group)
        return self._parameters[group]

    @property
    def at_draws(self) -> AtDraws:
        """The model at the posterior draws."""
        if self._at_draws is None:
            self._at_draws = AtDraws(self.spec, self.panel, self.parameters())
        return self._at_draws

    @cached_property
    def one_step(self) -> xr.DataArray:
        """One-step-ahead log densities (chain, draw, time), in nats of the responses in their own units."""
        if "spec" in self.fit.attrs:
            # Raises an error if rows were selected.
            _ = self.panel
        return self._group(nm.ONE_STEP_AHEAD, "one-step-ahead densities")[nm.RESPONSE_VALUE]

    @cached_property
    def log_prior(self) -> xr.Dataset:
        """Log prior density (chain, draw) of each free variable."""
        return self._group("log_prior", "log prior densities")

    def _group(self, name: str, words: str) -> xr.Dataset:
        """A group that `as_fit` computes."""
        if name not in self.fit.children:
            raise FitError(
                f"the {words} of a fit",
                f"the fit has a group {name}",
                f"groups {sorted(self.fit.children)}",
                "compute them: idata = regimelag.as_fit(idata, regimelag.spec_of(idata), regimelag.panel_of(idata))",
            )
        return self.fit[name].to_dataset()

    @cached_property
    def diagnostics(self) -> list[str]:
        """Sentences of `diagnostics`: the stored ones if they belong to these draws."""
        return stored_diagnostics(self.fit)

    def thinned(self, step: int) -> View:
        """Every `step`-th draw of each chain; an evaluated model is not evaluated again."""
        if step == 1:
            return self
        if step not in self._thinned:
            self._thinned[step] = self._every(step)
        return self._thinned[step]

    def _every(self, step: int) -> View:
        some = View(self.fit.isel({nm.DRAW: slice(None, None, step)}, missing_dims="ignore"))
        some._at_draws = self.at_draws.thinned(step)
        # Read and checked already, except the draws of other groups.
        some.spec, some.panel = self.spec, self.panel
        some._parameters["posterior"] = some._at_draws.parameters
        return some

    def few(self, count: int) -> View:
        """At most `count` draws of each chain, at even distances; of long series as many as fits keep densities of."""
        sizes, kept = self.parameters().sizes, thinned_by_rows(self.parameters(), self.panel).sizes[nm.DRAW]
        return self.thinned(-(-sizes[nm.DRAW] // min(count, kept)))

    def read[**P, T](self, reading: Callable[Concatenate[xr.DataTree, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of a function on this fit, computed once per set of arguments. Do not modify it."""
        # Results accept a view in place of a fit, which is not part of their public signature.
        fit = cast("xr.DataTree", self)
        bound = inspect.signature(reading).bind(fit, *args, **kwargs)
        bound.apply_defaults()
        key = (reading, *list(bound.arguments.items())[1:])
        try:
            known = key in self._found
        except TypeError:
            # Unhashable arguments, such as a mapping.
            return reading(fit, *args, **kwargs)
        if not known:
            self._found[key] = reading(fit, *args, **kwargs)
        return cast("T", self._found[key])
