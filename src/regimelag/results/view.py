"""A fit read once: spec, panel, draws, evaluated model and earlier results."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any, Concatenate, cast

import xarray as xr

from regimelag.errors import FitError
from regimelag.model.at_draws import AtDraws
from regimelag.sampling.diagnostics import require_fit, stored_diagnostics
from regimelag.sampling.inference_data import spec_of, whole_panel, whole_parameters
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec


class View:
    """State shared by the results of a fit during one public call.

    A public function begins with ``view = View.of(idata)`` and hands the view to the readings that it needs. Each part
    is read, and checked, when it is first asked for. A view is never kept with the fit, which may change between calls.

    Parameters
    ----------
    fit : xarray.DataTree
        A fit.

    Raises
    ------
    FitError
        If the tree is no tree of draws.
    """

    def __init__(self, fit: xr.DataTree) -> None:
        require_fit("reading a fit", fit)
        self.fit = fit
        self._parameters: dict[str, xr.Dataset] = {}
        self._at_draws: AtDraws | None = None
        self._found: dict[Any, Any] = {}

    @classmethod
    def of(cls, idata: xr.DataTree | View) -> View:
        """The view itself, or a new one of a fit."""
        return idata if isinstance(idata, View) else cls(idata)

    @cached_property
    def spec(self) -> ModelSpec:
        """The spec, as `spec_of` reads it."""
        return spec_of(self.fit)

    @cached_property
    def panel(self) -> xr.Dataset:
        """The panel, as `panel_of` reads it."""
        return whole_panel(self.spec, self.fit)

    @cached_property
    def constants(self) -> xr.Dataset:
        """The group constant_data: the panel without its responses, of which rows may have been selected."""
        return self.fit["constant_data"].to_dataset()

    def parameters(self, group: str = "posterior") -> xr.Dataset:
        """Parameter draws, checked."""
        if group not in self._parameters:
            spec = self.spec if "spec" in self.fit.attrs else None
            self._parameters[group] = whole_parameters(spec, self.fit, group)
        return self._parameters[group]

    @property
    def at_draws(self) -> AtDraws:
        """The model at the posterior's draws."""
        if self._at_draws is None:
            self._at_draws = AtDraws(self.spec, self.panel, self.parameters())
        return self._at_draws

    @cached_property
    def one_step(self) -> xr.DataArray:
        """Log densities one step ahead (chain, draw, time), in nats of the responses' own units."""
        if "spec" in self.fit.attrs:
            # Refuses selected rows.
            _ = self.panel
        if nm.ONE_STEP_AHEAD not in self.fit.children:
            raise FitError(
                "the one-step-ahead densities of a fit",
                f"the fit has a group {nm.ONE_STEP_AHEAD}",
                f"groups {sorted(self.fit.children)}",
                "compute them: idata = regimelag.as_fit(idata, regimelag.spec_of(idata), regimelag.panel_of(idata))",
            )
        return self.fit[nm.ONE_STEP_AHEAD].to_dataset()[nm.RESPONSE_VALUE]

    @cached_property
    def diagnostics(self) -> list[str]:
        """Sentences of `diagnostics`: those stored with the fit, if they are of these draws."""
        return stored_diagnostics(self.fit)

    def thinned(self, step: int) -> View:
        """Every `step`-th draw of each chain; what was evaluated at all draws is not evaluated again."""
        if step == 1:
            return self
        some = View(self.fit.isel({nm.DRAW: slice(None, None, step)}, missing_dims="ignore"))
        some._at_draws = self.at_draws.thinned(step)
        return some

    def read[**P, T](self, reading: Callable[Concatenate[xr.DataTree, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of a function on this fit, computed once per set of arguments. Do not modify it."""
        # A reading takes a view wherever it takes a fit; users need not know.
        fit = cast("xr.DataTree", self)
        bound = inspect.signature(reading).bind(fit, *args, **kwargs)
        bound.apply_defaults()
        key = (reading, *list(bound.arguments.items())[1:])
        try:
            known = key in self._found
        except TypeError:
            # Arguments that cannot be looked up, such as a mapping.
            return reading(fit, *args, **kwargs)
        if not known:
            self._found[key] = reading(fit, *args, **kwargs)
        return cast("T", self._found[key])
