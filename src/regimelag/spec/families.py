"""Response families: distributions of a residual with location zero and scale one.

Given its regime, a response is ``location + scale * z``; a family is the distribution of z. A family defined in a
user's script works everywhere in the package once it is registered in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special, stats

from regimelag.errors import require_positive
from regimelag.runtime.plain import as_plain
from regimelag.spec import names as nm
from regimelag.spec.priors import Prior
from regimelag.spec.term import Term

Array = Any
HALF_LOG_TWO_PI = 0.5 * np.log(2.0 * np.pi)


class Family:
    """Base class of response families: shape parameters, their priors, and the distribution of z.

    Parameter values broadcast against the residuals. A fit needs `log_density` and `terms` only; forecast calibration
    needs `cdf`, simulation and predictive draws need `draw`, and standard deviations need `variance`.

    Attributes
    ----------
    kind : str
        Name of the family in a spec, and its key in `FAMILIES`.
    words : str
        Name in sentences.
    symbol : str
        LaTeX of the distribution, as in ``y ~ symbol(location, scale^2)``.
    latex : str
        LaTeX of the density of z.
    """

    kind: ClassVar[str] = ""
    words: ClassVar[str] = ""
    symbol: ClassVar[str] = ""
    latex: ClassVar[str] = ""

    def __post_init__(self) -> None:
        as_plain(self)

    def terms(self) -> tuple[Term, ...]:
        """Shape parameters: scalars, with their priors, symbols and meanings."""
        return ()

    def log_density(self, z: Array, parameters: Mapping[str, Array], xp: Any = np) -> Array:
        """Log density of residuals.

        Parameters
        ----------
        z : array
            Residuals.
        parameters : mapping of str to array
            A value for each name in `terms`.
        xp : module
            Array namespace: `numpy` or `pytensor.tensor`, which derives the gradient.

        Returns
        -------
        array
            Log density of each residual, in nats.
        """
        raise NotImplementedError

    def cdf(self, z: Array, parameters: Mapping[str, Array]) -> Array:
        """Cumulative distribution function of z."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, size: tuple[int, ...], parameters: Mapping[str, Array]) -> np.ndarray:
        """Draw residuals of shape `size`."""
        raise NotImplementedError

    def variance(self, parameters: Mapping[str, Array]) -> Array:
        """Variance of z."""
        raise NotImplementedError


class Elliptical(Family):
    """Base class of families with a joint density of several responses: Student-t and its limit, the normal.

    The density depends on z only through the quadratic form z' R^-1 z, with R the correlation matrix.
    """

    def degrees_of_freedom(self, parameters: Mapping[str, Array]) -> Array:
        """Degrees of freedom of the t distribution; infinite for the normal."""
        raise NotImplementedError

    def radial(self, square: Array, size: int, parameters: Mapping[str, Array]) -> Array:
        """Joint log density of `size` residuals, without log |R| / 2, from their quadratic form."""
        raise NotImplementedError

    def log_density(self, z: Array, parameters: Mapping[str, Array], xp: Any = np) -> Array:  # noqa: ARG002
        """Log density of residuals z, in nats. NumPy only: the model has its own PyTensor Op."""
        return self.radial(z**2, 1, parameters)


@dataclass(frozen=True)
class Normal(Elliptical):
    """Normal residuals."""

    kind: ClassVar[str] = "normal"
    words: ClassVar[str] = "normal"
    symbol: ClassVar[str] = r"\mathcal{N}"
    latex: ClassVar[str] = r"p(z) = \frac{1}{\sqrt{2 \pi}}\, e^{-z^2 / 2}"

    def degrees_of_freedom(self, parameters: Mapping[str, Array]) -> Array:  # noqa: ARG002
        """Infinite."""
        return np.inf

    def radial(self, square: Array, size: int, parameters: Mapping[str, Array]) -> Array:  # noqa: ARG002
        """Joint log density of `size` residuals, without log |R| / 2, from their quadratic form."""
        return -size * HALF_LOG_TWO_PI - 0.5 * square

    def cdf(self, z: Array, parameters: Mapping[str, Array]) -> Array:  # noqa: ARG002
        """Cumulative distribution function of z."""
        return special.ndtr(z)

    def draw(self, rng: np.random.Generator, size: tuple[int, ...], parameters: Mapping[str, Array]) -> np.ndarray:  # noqa: ARG002
        """Draw residuals of shape `size`."""
        return rng.standard_normal(size)

    def variance(self, parameters: Mapping[str, Array]) -> Array:  # noqa: ARG002
        """One."""
        return 1.0


@dataclass(frozen=True)
class StudentT(Elliptical):
    """Student-t residuals with more than two degrees of freedom, so that they have a variance.

    The gamma prior with shape 2 and rate 0.1 follows Juárez & Steel (2010), doi:10.1198/jbes.2009.07145.

    Parameters
    ----------
    shape, rate : float
        Gamma prior of the degrees of freedom minus two.
    """

    kind: ClassVar[str] = "student_t"
    words: ClassVar[str] = "Student-t"
    symbol: ClassVar[str] = r"t_\nu"
    latex: ClassVar[str] = (
        r"p(z) = \frac{\Gamma\left(\frac{\nu + 1}{2}\right)}{\sqrt{\nu \pi}\, \Gamma\left(\frac{\nu}{2}\right)} "
        r"\left(1 + \frac{z^2}{\nu}\right)^{-\frac{\nu + 1}{2}}"
    )

    shape: float = 2.0
    rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shape", "rate"):
            require_positive("a student_t family", name, getattr(self, name))

    def terms(self) -> tuple[Term, ...]:
        """Degrees of freedom minus two."""
        prior = Prior("Gamma", alpha=self.shape, beta=self.rate)
        return (Term(nm.TAIL, prior, r"\nu - 2", "degrees of freedom less two"),)

    def degrees_of_freedom(self, parameters: Mapping[str, Array]) -> Array:
        """Degrees of freedom."""
        return parameters[nm.TAIL] + 2.0

    def radial(self, square: Array, size: int, parameters: Mapping[str, Array]) -> Array:
        """Joint log density of `size` residuals, without log |R| / 2, from their quadratic form."""
        nu = self.degrees_of_freedom(parameters)
        head = special.gammaln((nu + size) / 2) - special.gammaln(nu / 2) - 0.5 * size * np.log(nu * np.pi)
        return head - (nu + size) / 2 * np.log1p(square / nu)

    def cdf(self, z: Array, parameters: Mapping[str, Array]) -> Array:
        """Cumulative distribution function of z."""
        return stats.t.cdf(z, self.degrees_of_freedom(parameters))

    def draw(self, rng: np.random.Generator, size: tuple[int, ...], parameters: Mapping[str, Array]) -> np.ndarray:
        """Draw residuals of shape `size`."""
        return rng.standard_t(self.degrees_of_freedom(parameters), size=size)

    def variance(self, parameters: Mapping[str, Array]) -> Array:
        """``nu / (nu - 2)``."""
        return 1.0 + 2.0 / parameters[nm.TAIL]


FAMILIES: dict[str, type[Family]] = {cls.kind: cls for cls in (StudentT, Normal)}
