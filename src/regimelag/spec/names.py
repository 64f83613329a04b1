"""Names of dimensions, variables and groups, each defined once."""

from __future__ import annotations

TIME = "time"
SIGNAL_TIME = "signal_time"
RESPONSE = "response"
OTHER_RESPONSE = "other_response"
SIGNAL = "signal"
DRIVER = "driver"
CONTROL = "control"
EPISODE = "episode"
REGIME = "regime"
REGIME_PROCESS = "regime_process"
ORIGIN = "origin"
DESTINATION = "destination"
LAG = "lag"
OWN_LAG = "own_lag"
LAGGED_SIGNAL = "lagged_signal"
LAGGED_CONTROL = "lagged_control"
CONTEMPORANEOUS_SIGNAL = "contemporaneous_signal"
MODERATOR = "moderator"
MODERATED_SIGNAL = "moderated_signal"
INDICATOR = "indicator"
GAP = "gap"
ONWARD = "onward"
# Signals and drivers by whose effect the regimes of a process are ordered, and the other ones.
ORDERED_SIGNAL = "ordered_signal"
POOLED_SIGNAL = "pooled_signal"
ORDERED_DRIVER = "ordered_driver"
POOLED_DRIVER = "pooled_driver"
# Drivers with a term in the location.
CONTROL_DRIVER = "control_driver"
# Dimensions that belong to a regime process.
OF_A_PROCESS = (
    REGIME,
    ORIGIN,
    DESTINATION,
    GAP,
    ONWARD,
    DRIVER,
    ORDERED_SIGNAL,
    POOLED_SIGNAL,
    ORDERED_DRIVER,
    POOLED_DRIVER,
)
MODE = "mode"
STEP = "step"
CHAIN = "chain"
DRAW = "draw"

RESPONSE_VALUE = "response_value"
RESPONSE_HISTORY = "response_history"
SIGNAL_VALUE = "signal_value"
DRIVER_VALUE = "driver_value"
CONTROL_VALUE = "control_value"
COVARIATE = "covariate"
OWN_PAST = "own_past"
DRIVER_DATE = "driver_date"
DRIVER_HISTORY = "driver_history"
MODERATOR_VALUE = "moderator_value"
EPISODE_INDEX = "episode_index"
BEYOND_SLOPE = "signal_beyond_slope"
LEG = "leg"
LEVEL = "level"
LEG_ROLE = "leg_role"
LEG_SERIES = "leg_series"
LEG_COLUMN = "leg_column"
POINT_VALUE = "point_value"
# Data of the PyMC model.
OBSERVED_RESPONSE = "response_observed"
RESPONSE_MISSING = "response_missing"
RESPONSE_KNOWN = "response_known"
LAGGED_VALUE = "lagged_value"
TRANSITION_VALUE = "transition_value"
LAGGED_SERIES = "lagged_series"
TRANSITION_COVARIATE = "transition_covariate"
LOCATION_COVARIATE = "location_covariate"
JOINT_REGIME = "regime_combination"
# Nodes of the PyMC model.
LOCATION = "location"
LAGGED_EFFECT = "lagged_effect"
LOG_RESIDUAL_SCALE = "log_residual_scale"
TRANSITION_LOGITS = "transition_logits"
TRANSITION_PROBABILITY = "transition_probability"
LOG_INITIAL = "log_initial"
LOG_OBSERVATION = "log_observation"

INTERCEPT = "intercept"
CONTEMPORANEOUS = "contemporaneous"
CONTROL_EFFECT = "control_effect"
CONTROL_LAGGED_EFFECT = "control_lagged_effect"
DRIVER_CONTROL = "driver_control_effect"
AUTOREGRESSION = "autoregression"
EFFECT = "effect"
EFFECT_REGIME = "effect_regime"
EFFECT_GAIN = "effect_gain"
CONTEMPORANEOUS_REGIME = "contemporaneous_regime"
INTERCEPT_GAP = "intercept_gap"
EFFECT_EPISODE = "effect_episode"
EFFECT_RESPONSE = "effect_response"
EFFECT_MODERATOR = "effect_moderator"
MODERATOR_MAIN_EFFECT = "moderator_main_effect"
LOG_SCALE = "log_scale"
LOG_SCALE_GAP = "log_scale_gap"
LOG_SCALE_REGIME = "log_scale_regime"
LOG_SCALE_EPISODE = "log_scale_episode"
CORRELATION = "residual_correlation"
TAIL = "degrees_of_freedom_minus_two"
GARCH_PERSISTENCE = "garch_persistence"
GARCH_ARCH_SHARE = "garch_arch_share"
STAY = "stay_log_odds"
LEAVE = "leave_log_weights"
DRIVER_EFFECT = "driver_effect"
DRIVER_GAP = "driver_effect_gap"
DRIVER_ORIGIN = "driver_origin"
INITIAL = "initial"
REGIME_PATH = "regime_path"

ONE_STEP_AHEAD = "one_step_ahead"
LOG_LIKELIHOOD = "log_likelihood"
# Attributes of a fit, of its posterior, and of a table that compares fits.
PANEL_HASH = "panel_sha256"
CONSTANTS_HASH = "constants_sha256"
MADE_WITH = "made_with"
# Attribute of a result: its sentences, a list of str.
SENTENCES = "sentences"


def lag_parameter(series: str, parameter: str) -> str:
    """Name of a kernel parameter of a signal, or of a control given by its `control_label`."""
    return f"{series}_lag_{parameter}"


def control_label(control: str) -> str:
    """Label of a control in names of kernel parameters, distinct from a signal of the same name."""
    return f"control_{control}"


def value_of(role: str) -> str:
    """Name of the panel variable that holds a role's standardised values."""
    return f"{role}_value"


def center_of(role: str) -> str:
    """Name of the constant subtracted from a role's values, in their own units."""
    return f"{role}_center"


def scale_of(role: str) -> str:
    """Name of the constant that centred values are divided by, in their own units."""
    return f"{role}_scale"
