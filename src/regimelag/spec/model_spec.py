"""ModelSpec: the frozen, validated specification of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from regimelag.errors import require, require_choice, require_choices
from regimelag.runtime.plain import MOST_ROWS, as_plain, is_whole
from regimelag.spec import names as nm
from regimelag.spec.families import FAMILIES, Elliptical, Family, StudentT
from regimelag.spec.frequency import FREQUENCY, nearest_frequency
from regimelag.spec.frequency import count_of_periods as count_of_periods  # noqa: PLC0414 - exported
from regimelag.spec.frequency import period_name as period_name  # noqa: PLC0414 - exported
from regimelag.spec.indicators import Indicator
from regimelag.spec.kernels import KERNELS, Kernel, NoLag, Point
from regimelag.spec.moderator_checks import check_moderators
from regimelag.spec.parts import Episodes, Regimes
from regimelag.spec.prior_checks import check_priors, kept_priors
from regimelag.spec.priors import Priors
from regimelag.spec.process_checks import check_processes, kept_processes
from regimelag.spec.processes import Process, RegimeProcess, processes_of
from regimelag.spec.registry import check_registered
from regimelag.spec.series import (
    NO_DELAY,
    Control,
    Driver,
    Response,
    Series,
    Signal,
    check_parts,
    closes_of,
    conventions_of,
    public_path,
)
from regimelag.spec.spec_text import spec_html, spec_text
from regimelag.spec.volatility import VOLATILITIES, Constant, Volatility

# The cost of the likelihood is proportional to the number of combinations.
MOST_COMBINATIONS = 1000


def _check_kind(asked: str, role: str, kind: type[Any], members: object) -> None:
    strange = [part for part in members if not isinstance(part, kind)] if isinstance(members, tuple) else [members]
    came, place = f"a {type(strange[0]).__name__}" if strange else "", public_path(kind)
    require(not strange, asked, f"{role} are a tuple of {place}", came, f"write {role} = ({place}(...),)")


def _check_kernel(asked: str, kernel: Kernel, max_lag: int) -> None:
    """Require a registered kernel, with a valid prior and valid parameter names."""
    check_registered(asked, "kernel", kernel, KERNELS, "regimelag.spec.kernels.KERNELS")
    kernel.validate(max_lag)
    taken = {
        "point",
        "probability",
        *(f"{dim}{end}" for dim in (nm.EPISODE, nm.RESPONSE) for end in ("", "_sd", "_raw")),
    }
    wrong = sorted(name for name in kernel.priors(max_lag) if name in taken or not name.isidentifier())
    require(
        not wrong,
        asked,
        f"parameters of a kernel have names such as 'mean_excess', and none of {sorted(taken)}",
        ", ".join(map(repr, wrong)),
        f"rename them in {type(kernel).__name__}",
    )


@dataclass(frozen=True)
class ModelSpec:
    """Specification of a regime-switching regression with uncertain lags; it contains no data.

    Parameters
    ----------
    name : str
        Name of the model.
    responses : tuple of Response
        Variables to explain. Several responses share one regime process unless ``responses_vary`` contains "regimes",
        and their residuals have a joint distribution.
    signals, drivers, controls : tuple
        Explanatory variables by role; each tuple may be empty.
    claim : str
        The claim that the model states, in one or two sentences.
    frequency : str
        Frequency of the panel, as a pandas period end: "D", "B", "W-MON" to "W-SUN", "ME" or "QE"; or "trading", the
        dates on which the first response and every signal and control without a delay were observed. Returns then span
        from one such date to the next, over weekends and holidays.
    max_lag : int
        L, the largest lag, in periods.
    episodes : Episodes
        Sample periods with their own scale or effects.
    regimes : Regimes
        Number, names, initial distribution and transition model of the regimes, if there is one regime process, which
        carries scale, intercept and effect and is ordered by the scale.
    regime_processes : tuple of RegimeProcess
        Independent regime processes, in place of ``regimes``. A quantity of a response is carried by one process at
        most. The likelihood runs over all joint regimes, at most 16.
    priors : mapping of str to Prior
        Priors that replace the defaults, by name of the parameter in the posterior. Priors of pymc_extras and PreliZ
        are accepted. Stored as `Priors`.
    family : Family, or str
        Distribution of the residuals: `StudentT`, `Normal`, an instance of a registered class, or the kind of one.
    volatility : Volatility, or {"constant", "garch"}
        Dynamics of the residual scale within a regime and an episode: constant, or GARCH(1,1). GARCH requires one
        response, one regime, Student-t or normal residuals, and no point lag.
    responses_vary : tuple of {"effect", "lag", "regimes"}
        What differs between several responses. "effect" and "lag" partially pool the lagged effect and the lag. With
        "regimes" each response has its own regime process, with its own volatilities, durations and driver effects; the
        processes are independent, and the likelihood runs over all joint regimes, at most 16.
    indicators : tuple of Indicator
        0/1 states of the economy, made of drivers: moderators of signals, compared by `regimelag.results.state_report`.
    allow_overlap : bool
        Whether a series may both moderate an effect and drive a regime process that carries the effect: both explain
        the same variation.

    Raises
    ------
    SpecError
        If a part breaks a rule; the message states the rule and the cure.
    """

    name: str
    responses: tuple[Response, ...]
    signals: tuple[Signal, ...] = ()
    drivers: tuple[Driver, ...] = ()
    controls: tuple[Control, ...] = ()
    claim: str = ""
    frequency: str = "W-FRI"
    max_lag: int = 26
    episodes: Episodes = field(default_factory=Episodes)
    regimes: Regimes = field(default_factory=Regimes)
    regime_processes: tuple[RegimeProcess, ...] = ()
    priors: Mapping[str, Any] = field(default_factory=Priors)
    family: Family = field(default_factory=StudentT)
    volatility: Volatility = field(default_factory=Constant)
    responses_vary: tuple[Literal["effect", "lag", "regimes"], ...] = ("effect",)
    indicators: tuple[Indicator, ...] = ()
    allow_overlap: bool = False

    __str__ = spec_text
    _repr_html_ = spec_html

    def __post_init__(self) -> None:
        as_plain(self)
        asked = f"the model {self.name!r}"
        registries: dict[str, dict[str, Any]] = {"family": FAMILIES, "volatility": VOLATILITIES}
        for part, registry in registries.items():
            given = getattr(self, part)
            if isinstance(given, str):
                require_choice(asked, part, given, registry)
                object.__setattr__(self, part, registry[given]())
        require(
            isinstance(self.name, str) and bool(self.name.strip()),
            "a model",
            "name is a text that is not empty",
            f"name = {self.name!r}",
            'write name = "my_model"',
        )
        self._check_words(asked)
        for role in ("responses", "signals", "drivers", "controls", "indicators", "regime_processes"):
            given = getattr(self, role)
            cure = f"write {role}=(..., ), with a comma after a single one"
            require(isinstance(given, tuple), asked, f"{role} are a tuple or a list", f"a {type(given).__name__}", cure)
        if not isinstance(self.priors, Priors):
            object.__setattr__(self, "priors", Priors(self.priors))
        for part, cls in {"episodes": Episodes, "regimes": Regimes}.items():
            came, wanted = getattr(self, part), public_path(cls)
            require(isinstance(came, cls), asked, f"{part} is a {wanted}", came, f"write {part}={wanted}(...)")
        require(
            len(self.responses) >= 1,
            asked,
            "there is at least one response",
            "none",
            'add a table [[responses]] with name and column, or responses=(regimelag.Response("bitcoin", "btc_usd"),)',
        )
        kinds: dict[str, type[Any]] = {"responses": Response, "signals": Signal, "drivers": Driver}
        kinds |= {"controls": Control, "indicators": Indicator, "regime_processes": RegimeProcess}
        for role, kind in kinds.items():
            _check_kind(asked, role, kind, getattr(self, role))
            names = [part.name for part in getattr(self, role)]
            twice = sorted({name for name in names if names.count(name) > 1})
            require(
                not twice,
                asked,
                f"names of {role} differ",
                f"{', '.join(twice)} given more than once",
                "rename one of them",
            )
        require(
            is_whole(self.max_lag) and 1 <= self.max_lag <= MOST_ROWS,
            asked,
            f"max_lag is a whole number of rows, at least 1 and at most {MOST_ROWS:,}",
            f"max_lag = {self.max_lag!r}",
            "write max_lag = 26",
        )
        for signal in self.signals:
            _check_kernel(f"{asked}, signal {signal.name!r}", signal.kernel, self.max_lag)
        for control in self.lagged_controls:
            _check_kernel(f"{asked}, control {control.name!r}", control.kernel, self.max_lag)
        both = {one.name for one in self.signals} & {nm.control_label(one.name) for one in self.lagged_controls}
        came, cure = f"a signal named {', '.join(sorted(both))}", "rename the signal"
        require(not both, asked, "no signal has the label of a lagged control, control_ and its name", came, cure)
        each = tuple(process.at_frequency(self.frequency) for process in self.regime_processes)
        object.__setattr__(self, "regime_processes", each)
        check_processes(self, asked)
        check_moderators(self, asked)
        self._check_lags(asked)
        orders = [response.autoregression for response in self.responses]
        require(
            len(set(orders)) == 1,
            asked,
            "all responses have the same autoregression",
            ", ".join(f"{response.name} {response.autoregression}" for response in self.responses),
            f"write autoregression = {max(orders)} for each of them: coefficients are pooled towards zero",
        )
        closes_of(self.series, asked)
        conventions_of(self.series, "value", asked)
        conventions_of(self.series, "dated", asked)
        self._check_own_values(asked)
        check_parts((*self.contemporaneous_signals, *self.controls), asked)
        self._check_volatility(asked)
        several = len(self.responses) > 1
        require(
            not several or isinstance(self.family, Elliptical),
            asked,
            "several responses have a joint distribution: Student-t or normal",
            f"{len(self.responses)} responses and a {self.family.kind} family",
            'write family = "student_t", or fit one response at a time',
        )
        if self.priors:
            check_priors(self, asked)

    def changed(self, **changes: Any) -> ModelSpec:
        """Copy with some fields replaced, without priors and processes of what the copy does not have.

        A regime process that carries nothing of the copy is dropped, as is a driver that moved no other.
        """
        if self.regime_processes and "regime_processes" not in changes:
            changes = changes | kept_processes(self, changes.get("signals", self.signals))
        bare = replace(self, **(changes | {"priors": Priors()}))
        given = changes.get("priors", self.priors)
        return replace(bare, priors=kept_priors(bare, Priors(given)))

    def _check_words(self, asked: str) -> None:
        """Check the fields that are no parts with names; later checks hash the spec."""
        require(isinstance(self.claim, str), asked, "claim is a text", f"claim = {self.claim!r}", 'write claim = ""')
        check_registered(asked, "family", self.family, FAMILIES, "regimelag.spec.families.FAMILIES")
        where = "regimelag.spec.volatility.VOLATILITIES"
        check_registered(asked, "volatility model", self.volatility, VOLATILITIES, where)
        require(
            isinstance(self.frequency, str) and bool(FREQUENCY.fullmatch(self.frequency)),
            asked,
            'frequency is "D", "B" (business days), "trading" (dates on which all that the rows need were observed), '
            '"W-MON" to "W-SUN" (weeks by their last day), "ME" or "QE"',
            f"frequency = {self.frequency!r}",
            f"write frequency = {nearest_frequency(str(self.frequency))}",
        )
        require_choices(asked, "responses_vary", self.responses_vary, ("effect", "lag", "regimes"))

    def _check_own_values(self, asked: str) -> None:
        """Refuse a response as a covariate of the same period, where the scale would go to zero.

        Transforms do not matter: given the past, each determines the other. A delayed covariate holds the past of the
        response, which belongs to `autoregression`, since forecasts iterate it.
        """
        taken: dict[frozenset[str], str] = {}
        for response in self.responses:
            other = taken.setdefault(response.level_columns, response.name)
            require(
                other == response.name,
                asked,
                "no two responses are made of the same column",
                f"{other!r} and {response.name!r} are made of column {response.column!r}",
                f"drop the response {response.name!r}, or give it another column",
            )
        for covariate in (*self.contemporaneous_signals, *self.controls):
            whose = taken.get(covariate.level_columns)
            role = "signal" if isinstance(covariate, Signal) else "control"
            late = covariate.delay != NO_DELAY
            cure = f"drop the {role} {covariate.name!r}"
            if isinstance(covariate, Signal) and covariate in self.lagged_signals:
                cure = f"write contemporaneous=False for the {role} {covariate.name!r}, so that only its past enters"
            elif late:
                cure += f", and write autoregression = 1 for the response {whose!r}"
            rule = "no response explains itself, or another response, in the same period"
            made = f"{role} {covariate.name!r} is made of column {covariate.column!r}, as the response {whose!r} is"
            require(
                whose is None,
                asked,
                f"{rule}; its past is no control of the same period" if late else rule,
                f"{made}, with delay = {covariate.delay!r}" if late else made,
                cure,
            )

    def _check_lags(self, asked: str) -> None:
        for signal in self.lagged_signals:
            fixed = not signal.kernel.movable
            came = f"signal {signal.name!r} has a {signal.kernel.kind} kernel"
            require(
                not (self.lag_by_episode and fixed),
                asked,
                "a lag that varies between episodes belongs to a kernel with a location",
                came,
                f'give {signal.name!r} a gamma, lognormal, negative_binomial or beta kernel, or drop "lag" from vary '
                "in [episodes]",
            )
            require(
                not (self.lag_by_response and fixed),
                asked,
                "a lag that varies between responses belongs to a kernel with a location",
                came,
                f'give {signal.name!r} a gamma, lognormal, negative_binomial or beta kernel, or drop "lag" from '
                "responses_vary",
            )
        require(
            self.lag_combinations <= MOST_COMBINATIONS,
            asked,
            f"point lags have at most {MOST_COMBINATIONS} combinations, since each costs a likelihood of its own",
            f"{self.max_lag} lags make {self.lag_combinations} combinations over signals and regimes",
            "give all signals but one another kernel than point, without by_regime in the one that is left",
        )

    def to_toml(self) -> str:
        """Spec as TOML text, as in a file that `regimelag.read_spec` reads."""
        from regimelag.spec.toml import spec_to_toml  # noqa: PLC0415 - reading a spec makes one of these

        return spec_to_toml(self)

    def _check_volatility(self, asked: str) -> None:
        """Check that a dynamic scale has one response, one regime and an elliptical family."""
        if not self.volatility.moves:
            return
        asked = f"{asked} with {self.volatility.words or self.volatility.kind}"
        constant = 'or write volatility = "constant"'
        require(
            len(self.responses) == 1,
            asked,
            "there is one response",
            f"{len(self.responses)}: {', '.join(one.name for one in self.responses)}",
            f"write one model for each response, {constant}",
        )
        bare = "write drivers = [] (drivers=() in Python) and " if self.transition_drivers else "write "
        require(
            not self.switches,
            asked,
            "there is one regime, since the scale cannot follow both its past and a hidden regime",
            f"{len(self.joint_regimes)} regimes",
            f"{bare}count = 1 in [regimes] (regimes=regimelag.spec.Regimes(count=1)), {constant}",
        )
        require(
            isinstance(self.family, Elliptical),
            asked,
            "residuals are Student-t or normal",
            f"a {self.family.kind} family",
            f'write family = "student_t", {constant}',
        )
        require(
            not self.point_signals,
            asked,
            "no signal has a point lag",
            f"signal {', '.join(repr(one.name) for one in self.point_signals)} with a point kernel",
            f'write kernel = {{ kind = "gamma" }} for it (regimelag.kernels.Gamma()), {constant}',
        )

    @property
    def own_regimes(self) -> bool:
        """Whether each response has a copy of the regime process of the table [regimes]."""
        several = len(self.responses) > 1 and self.regimes.count > 1
        return "regimes" in self.responses_vary and several and not self.regime_processes

    @property
    def processes(self) -> tuple[Process, ...]:
        """The independent regime processes."""
        return processes_of(self)

    @property
    def joint_regimes(self) -> np.ndarray:
        """Regime of each process in each joint regime (joint regime, regime process)."""
        return np.stack([process.regime for process in self.processes], axis=-1)

    @property
    def switches(self) -> bool:
        """Whether there are several regimes."""
        return len(self.joint_regimes) > 1

    @property
    def process_coords(self) -> dict[str, list[str]]:
        """Coordinate of the regime processes: responses that have one each, or their names; none of a single one."""
        if self.own_regimes:
            return {nm.RESPONSE: [response.name for response in self.responses]}
        return {nm.REGIME_PROCESS: [one.spec.name for one in self.processes]} if len(self.processes) > 1 else {}

    @property
    def point_signals(self) -> tuple[Signal, ...]:
        """Signals with a point lag."""
        return tuple(signal for signal in self.signals if isinstance(signal.kernel, Point))

    @property
    def point_kernels(self) -> tuple[Point, ...]:
        """Kernels of the signals with a point lag."""
        return tuple(signal.kernel for signal in self.signals if isinstance(signal.kernel, Point))

    @property
    def lag_combinations(self) -> int:
        """Number of combinations of point lags; one without a point lag."""
        regimes = self.processes[0].spec.count
        return self.max_lag ** sum(regimes if kernel.by_regime else 1 for kernel in self.point_kernels)

    @property
    def lag_by_episode(self) -> bool:
        """Whether the lag differs between episodes."""
        return "lag" in self.episodes.vary

    def point_dims(self, signal: Signal) -> tuple[str, ...]:
        """Dimensions along which the point lag of a signal varies."""
        by_regime = isinstance(signal.kernel, Point) and signal.kernel.by_regime
        return (nm.REGIME,) if by_regime else ()

    @property
    def lag_by_response(self) -> bool:
        """Whether the lag differs between responses."""
        return "lag" in self.responses_vary and len(self.responses) > 1

    @property
    def autoregression(self) -> int:
        """Number of the responses' own lags."""
        return self.responses[0].autoregression

    @property
    def depends_on_past_responses(self) -> bool:
        """Whether the density of a period, given its regime, depends on past responses.

        Leave-one-out densities are then not defined, since later densities depend on the response left out.
        """
        columns = {response.column for response in self.responses}
        levels = [response.level_columns for response in self.responses]
        own = any(
            series.column in columns or any(level <= set(series.columns) for level in levels)
            for series in (*self.signals, *self.drivers, *self.controls)
        )
        return self.autoregression > 0 or self.volatility.moves or own

    @property
    def lagged_signals(self) -> tuple[Signal, ...]:
        """Signals with a lag kernel other than none."""
        return tuple(signal for signal in self.signals if not isinstance(signal.kernel, NoLag))

    @property
    def lagged_controls(self) -> tuple[Control, ...]:
        """Controls with a lag kernel other than none."""
        return tuple(control for control in self.controls if not isinstance(control.kernel, NoLag))

    @property
    def moderated_signals(self) -> tuple[Signal, ...]:
        """Signals whose lagged effect has moderators."""
        return tuple(signal for signal in self.signals if signal.moderators)

    @property
    def moderators(self) -> tuple[str, ...]:
        """Drivers and indicators that moderate the effects of signals; all moderated signals have the same."""
        return self.moderated_signals[0].moderators if self.moderated_signals else ()

    @property
    def transition_drivers(self) -> tuple[Driver, ...]:
        """Drivers that enter the transition probabilities."""
        return tuple(driver for driver in self.drivers if driver.drives)

    @property
    def contemporaneous_signals(self) -> tuple[Signal, ...]:
        """Signals with a same-period term."""
        return tuple(signal for signal in self.signals if signal.contemporaneous)

    @property
    def series(self) -> tuple[Series, ...]:
        """All series: responses, signals, drivers, controls."""
        return (*self.responses, *self.signals, *self.drivers, *self.controls)

    @property
    def closes(self) -> dict[str, str]:
        """Close of each column whose close is given, by column."""
        return closes_of(self.series, f"the model {self.name!r}")

    @property
    def history(self) -> int:
        """Pre-sample periods that the lags need."""
        return self.max_lag if self.lagged_signals or self.lagged_controls else 0

    def history_of(self, role: str) -> int:
        """Periods before the window for which the series of a role have values."""
        return self.history if role == nm.SIGNAL or (role == nm.CONTROL and self.lagged_controls) else 0

    def time_of(self, role: str) -> str:
        """Dimension of a panel along which the series of a role have values."""
        return nm.SIGNAL_TIME if role == nm.SIGNAL or self.history_of(role) else nm.TIME
