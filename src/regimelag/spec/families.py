"""Response families: distributions of a residual with location zero and scale one.

Given its regime, a response is ``location + scale * z``; a family says how z is distributed. Log density, distribution
function, random draws, variance, LaTeX and words follow from its class, so a family of a user's script works wherever
those of the package do once it is in `FAMILIES`.
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
    """Base of all families: shape parameters with their priors, and the distribution that follows from their values.

    Parameter values broadcast against the residuals. `log_density` and `terms` are all that a fit needs; `cdf` is for
    forecasts' calibration, `draw` for forecasts, simulation and predictive draws, `variance` for standard deviations.

    Attributes
    ----------
    kind : str
        Name of the family in a spec, and in `FAMILIES`.
    words : str
        Its name in sentences.
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
        """Keep plain numbers, so that the family stays hashable and TOML can hold it."""
        as_plain(self)

    def terms(self) -> tuple[Term, ...]:
        """Shape parameters: scalars, with their priors, symbols and meanings."""
        return ()

    def log_density(self, z: Array, parameters: Mapping[str, Array], xp: Any = np) -> Array:
        """Log density of residuals z, in nats.

        Parameters
        ----------
        z : array
            Residuals.
        parameters : mapping of str to array
            A value for each name in `terms`.
        xp : module
            Array namespace: `numpy` or `pytensor.tensor`, whose gradient follows from the operations used.
        """
        raise NotImplementedError

    def cdf(self, z: Array, parameters: Mapping[str, Array]) -> Array:
        """Probability of a residual below z."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, size: tuple[int, ...], parameters: Mapping[str, Array]) -> np.ndarray:
        """Random residuals of this size."""
        raise NotImplementedError

    def variance(self, parameters: Mapping[str, Array]) -> Array:
        """Variance of z."""
        raise NotImplementedError


class Elliptical(Family):
    """Families that several responses can have jointly: Student-t, and its limit, the normal.

    The density depends on z through the quadratic form in the inverse correlation matrix alone.
    """

    def degrees_of_freedom(self, parameters: Mapping[str, Array]) -> Array:
        """Degrees of freedom of the t distribution; infinite for the normal."""
        raise NotImplementedError

    def radial(self, square: Array, size: int, parameters: Mapping[str, Array]) -> Array:
        """Log density of `size` residuals from their quadratic form, but for the determinant of the correlation."""
        raise NotImplementedError

    def log_density(self, z: Array, parameters: Mapping[str, Array], xp: Any = np) -> Array:  # noqa: ARG002
        """Log density of residuals z, in nats; NumPy alone, since the model has an operation of its own for it."""
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
        """Log density of `size` residuals from their quadratic form."""
        return -size * HALF_LOG_TWO_PI - 0.5 * square

    def cdf(self, z: Array, parameters: Mapping[str, Array]) -> Array:  # noqa: ARG002
        """Probability of a residual below z."""
        return special.ndtr(z)

    def draw(self, rng: np.random.Generator, size: tuple[int, ...], parameters: Mapping[str, Array]) -> np.ndarray:  # noqa: ARG002
        """Random residuals."""
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
        """Require positive numbers."""
        super().__post_init__()
        for name in ("shape", "rate"):
            require_positive("a student_t family", name, getattr(self, name))

    def terms(self) -> tuple[Term, ...]:
        """The degrees of freedom, less two."""
        prior = Prior("Gamma", alpha=self.shape, beta=self.rate)
        return (Term(nm.TAIL, prior, r"\nu - 2", "degrees of freedom less two"),)

    def degrees_of_freedom(self, parameters: Mapping[str, Array]) -> Array:
        """Degrees of freedom."""
        return parameters[nm.TAIL] + 2.0

    def radial(self, square: Array, size: int, parameters: Mapping[str, Array]) -> Array:
        """Log density of `size` residuals from their quadratic form."""
        nu = self.degrees_of_freedom(parameters)
        head = special.gammaln((nu + size) / 2) - special.gammaln(nu / 2) - 0.5 * size * np.log(nu * np.pi)
        return head - (nu + size) / 2 * np.log1p(square / nu)

    def cdf(self, z: Array, parameters: Mapping[str, Array]) -> Array:
        """Probability of a residual below z."""
        return stats.t.cdf(z, self.degrees_of_freedom(parameters))

    def draw(self, rng: np.random.Generator, size: tuple[int, ...], parameters: Mapping[str, Array]) -> np.ndarray:
        """Random residuals."""
        return rng.standard_t(self.degrees_of_freedom(parameters), size=size)

    def variance(self, parameters: Mapping[str, Array]) -> Array:
        """``nu / (nu - 2)``."""
        return 1.0 + 2.0 / parameters[nm.TAIL]


FAMILIES: dict[str, type[Family]] = {cls.kind: cls for cls in (StudentT, Normal)}
