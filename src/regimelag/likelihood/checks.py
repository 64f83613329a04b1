"""Checks of inputs by the builders of the Ops."""

from __future__ import annotations

from pytensor.tensor import TensorLike, TensorVariable, as_tensor_variable

from regimelag.errors import RegimelagError

MOVING_RULE = "row t of transition_logits drives the step from t to t + 1, so there are time - 1 rows, or 1 if constant"
MOVING_CURE = "drop the row that would drive the step into the first time (put it into log_init) or out of the last"


def as_float(values: TensorLike) -> TensorVariable:
    """The values as a variable of doubles."""
    return as_tensor_variable(values).astype("float64")


def shapes(**variables: TensorVariable) -> str:
    """Names and static shapes, for errors."""
    return ", ".join(f"{name} {variable.type.shape}" for name, variable in variables.items()).replace("None", "?")


def require(asked: str, rule: str, came: str, cure: str, *, holds: bool) -> None:
    """Raise `RegimelagError` unless a rule holds."""
    if not holds:
        raise RegimelagError(asked, rule, came, cure)


def agree(*lengths: int | None) -> bool:
    """Whether the lengths that are known when the graph is built are equal."""
    return len({length for length in lengths if length is not None}) <= 1


def is_integer(variable: TensorVariable) -> bool:
    """Whether a variable holds integers."""
    return variable.type.dtype.startswith(("int", "uint"))
