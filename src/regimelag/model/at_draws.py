"""Evaluate the model once at many draws, in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from regimelag.likelihood.hmm_draws import filter_forward_draws
from regimelag.model.evaluate import (
    Draws,
    Quantities,
    evaluate,
    in_chunks,
    log_observation,
    stack_draws,
    unstack_draws,
)
from regimelag.panel.own_past import used_responses
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec


@dataclass
class Chunk:
    """The model evaluated at some draws.

    Parameters
    ----------
    draws : dict of str to ndarray
        Parameters (draw, ...).
    quantities : Quantities
        The model at these draws.
    y : ndarray
        Standardised responses (time, response); NaN where the response or one of its own lags is missing.
    """

    draws: Draws
    quantities: Quantities
    y: np.ndarray

    @cached_property
    def hmm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log observation densities (draw, time, regime), transition logits and log initial probabilities."""
        return log_observation(self.quantities, self.y), self.quantities.logits, self.quantities.log_initial

    @cached_property
    def _filter(self) -> tuple[np.ndarray, np.ndarray]:
        return filter_forward_draws(*self.hmm)[:2]

    @property
    def predicted(self) -> np.ndarray:
        """Probabilities (draw, time, regime) of joint regimes, given the rows before."""
        return self._filter[0]

    @property
    def filtered(self) -> np.ndarray:
        """Probabilities (draw, time, regime) of joint regimes, given the rows up to this one."""
        return self._filter[1]

    def take(self, places: np.ndarray) -> Chunk:
        """Select draws without evaluating the model again."""
        at = self.quantities
        some = Chunk(_take(self.draws, places), at.take(places), self.y)
        if "hmm" in self.__dict__:
            some.hmm = (self.hmm[0][places], some.quantities.logits, some.quantities.log_initial)
        return some


class AtDraws:
    """The model at all draws of a dataset.

    If all draws fit in one chunk, it is evaluated once and stored. Otherwise each measure evaluates every chunk again.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Its data.
    parameters : xarray.Dataset
        Draws (chain, draw, ...).
    """

    def __init__(self, spec: ModelSpec, panel: xr.Dataset, parameters: xr.Dataset) -> None:
        self.spec, self.panel, self.parameters = spec, panel, parameters
        self._kept: Chunk | None = None

    @cached_property
    def draws(self) -> Draws:
        """Parameters with chain and draw stacked."""
        return stack_draws(self.parameters)

    def measured(self, measure: Callable[[Chunk], np.ndarray]) -> np.ndarray:
        """Values (draw, ...) of a measure at all draws."""
        return self.each_measured(measure)[0]

    def each_measured(self, *measures: Callable[[Chunk], np.ndarray]) -> list[np.ndarray]:
        """Values (draw, ...) of several measures at all draws, each chunk evaluated once."""
        found = [[measure(chunk) for measure in measures] for chunk in self._chunks()]
        return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in zip(*found, strict=True)]

    def labelled(self, measure: Callable[[Chunk], np.ndarray], **coords: object) -> xr.DataArray:
        """Values (chain, draw, ...) of a measure at all draws, with named trailing axes."""
        return unstack_draws(self.measured(measure), self.parameters, **coords)

    def thinned(self, step: int) -> AtDraws:
        """Every `step`-th draw of each chain."""
        every = slice(None, None, step)
        some = AtDraws(self.spec, self.panel, self.parameters.isel({nm.DRAW: every}))
        if self._kept is not None:
            places = np.arange(len(self._kept.quantities.log_initial))
            some._kept = self._kept.take(places.reshape(-1, self.parameters.sizes[nm.DRAW])[:, every].ravel())
        return some

    def _chunks(self) -> Iterator[Chunk]:
        if self._kept is not None:
            yield self._kept
            return
        y = used_responses(self.panel)
        count = len(next(iter(self.draws.values())))
        for part, some in in_chunks(self.draws, self.panel.sizes[nm.TIME] * self.spec.joint_regimes.size):
            chunk = Chunk(some, evaluate(self.spec, self.panel, some), y)
            if part.stop - part.start == count:
                self._kept = chunk
            yield chunk


def _take(values: Draws, places: np.ndarray) -> Draws:
    return {name: one[places] for name, one in values.items()}
