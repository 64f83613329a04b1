"""Input checks of the functions that build Ops."""

from __future__ import annotations

from pytensor import config
from pytensor.tensor import TensorLike, TensorVariable, as_tensor_variable

from regimelag.errors import RegimelagError


def as_float(values: TensorLike) -> TensorVariable:
    """The values as a float64 variable; labelled arrays of xarray, pandas and PyTensor have the order of their axes."""
    return as_variable(values).astype("float64")


def as_variable(values: TensorLike) -> TensorVariable:
    """The values as a variable without labels."""
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif hasattr(values, "dims") and hasattr(values, "values"):
        # A labelled variable of PyTensor.
        values = values.values
    return as_tensor_variable(values)


def shapes(**variables: TensorVariable) -> str:
    """Names and static shapes, for error messages."""
    return ", ".join(f"{name} {variable.type.shape}" for name, variable in variables.items()).replace("None", "?")


def require(asked: str, rule: str, came: str, cure: str, *, holds: bool) -> None:
    """Raise `RegimelagError` unless a rule holds."""
    if not holds:
        raise RegimelagError(asked, rule, came, cure)


def require_double(asked: str) -> None:
    """Require that PyTensor computes in double precision, as the compiled loops do."""
    require(
        asked,
        "PyTensor computes in double precision",
        f"pytensor.config.floatX = {config.floatX!r}",
        'write pytensor.config.floatX = "float64" before the model is made',
        holds=config.floatX == "float64",
    )


def agree(*lengths: int | None) -> bool:
    """Whether lengths known at graph construction are equal."""
    return len({length for length in lengths if length is not None}) <= 1


def is_integer(variable: TensorVariable) -> bool:
    """Whether a variable has an integer type."""
    return variable.type.dtype.startswith(("int", "uint"))


def require_aligned(
    asked: str,
    came: str,
    y: TensorVariable,
    location: TensorVariable,
    log_scale: TensorVariable,
    episode: TensorVariable,
) -> None:
    """Require integer episodes, and consistent lengths in time and regime of all inputs."""
    require(
        asked,
        "episode holds integers, rows of log_scale",
        f"episode of type {episode.type.dtype}",
        "number the episodes from 0",
        holds=is_integer(episode),
    )
    require(
        asked,
        "y, location and episode have one length in time; location and log_scale have the same regimes",
        came,
        "align them in time; time is the last axis of location, regime that of log_scale",
        holds=agree(y.type.shape[-1], location.type.shape[-1], episode.type.shape[-1])
        and agree(location.type.shape[-2], log_scale.type.shape[-1]),
    )


def require_chain(
    asked: str,
    came: str,
    regimes: int | None,
    times: int | None,
    transition_logits: TensorVariable,
    log_init: TensorVariable,
    axis: str,
) -> int | None:
    """Require consistent numbers of regimes and steps; return the number of regimes, None if unknown.

    `axis` says where the regimes of log_obs are: "first" or "last".
    """
    steps, origins, destinations = transition_logits.type.shape[-3:]
    require(
        asked,
        "log_obs, transition_logits (both axes) and log_init have the same number of regimes",
        came,
        f"check that the regime axis comes {axis} in log_obs, last in log_init, and last twice in transition_logits",
        holds=agree(regimes, origins, destinations, log_init.type.shape[-1]),
    )
    require(
        asked,
        "row t of transition_logits drives the step from t to t + 1, so there are time - 1 rows, or 1 if constant",
        came,
        "drop the row that would drive the step into the first time (put it into log_init) or out of the last",
        holds=steps in (None, 1) or times is None or steps == times - 1,
    )
    return regimes or origins or destinations or log_init.type.shape[-1]


def refuse_ambiguous(asked: str, came: str, log_obs: TensorVariable, transition_logits: TensorVariable) -> None:
    """Refuse logits (n, origin, destination) of a batch if n may be the number of steps, so far as sizes are known."""
    series, times, _ = log_obs.type.shape
    given = transition_logits.type.shape[0]
    steps = None if times is None else times - 1
    either = (
        "write transition_logits[None] if all series share moving transitions, transition_logits[:, None] if each has "
        "a constant matrix"
    )
    require(
        asked,
        "with a batch, transition_logits of three axes are a constant matrix for each series",
        f"{came}: as many matrices as steps, {given}",
        either,
        holds=given is None or given != steps or given == 1,
    )
    require(
        asked,
        "with a batch, transition_logits of three axes are (batch, origin, destination)",
        came,
        either,
        holds=given in (None, 1) or series in (None, 1, given),
    )


def checked_mask(asked: str, came: str, mask: TensorLike, log_obs: TensorVariable) -> TensorVariable:
    """The mask (..., time) of rows that count, with the axes of log_obs (..., time, regime)."""
    counts = as_variable(mask).astype("bool")
    require(
        asked,
        "mask is (time), after the batch dimensions of log_obs if any",
        f"{came}, {shapes(mask=counts)}",
        "give the mask the axes of log_obs without the last, regime",
        holds=1 <= counts.type.ndim < log_obs.type.ndim and agree(counts.type.shape[-1], log_obs.type.shape[-2]),
    )
    return counts
