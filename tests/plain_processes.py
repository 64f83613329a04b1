"""Models with several regime processes, written out in loops over joint regimes, without the package's arrays."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from builders import plain_density


def plain_joint_chain(spec, panel, v) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log densities (time, joint), log transition matrices (step, origin, destination), log initial probabilities."""
    processes = spec.regime_processes
    y = panel["response_value"].to_numpy()
    joint = list(itertools.product(*(range(one.count) for one in processes)))
    log_obs = np.zeros((len(y), len(joint)))
    for j, regimes in enumerate(joint):
        folded = fold(spec, v, regimes)
        for t in range(len(y)):
            log_obs[t, j] = plain_density(spec, panel, folded, t, [0] * len(spec.responses), y[t])
    with np.errstate(divide="ignore"):
        log_p = np.log(
            [
                functools.reduce(np.kron, [own_step(spec, one, panel, v, t) for one in processes])
                for t in range(len(y) - 1)
            ]
        )
        start = np.log(functools.reduce(np.kron, [own_start(spec, one, panel, v) for one in processes]))
    return log_obs, log_p.reshape(-1, len(joint), len(joint)), start


def prefix_of(spec, process):
    return f"{process.name}_" if len(spec.regime_processes) > 1 else ""


def rungs(gaps):
    """Values with these gaps and mean zero."""
    values = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    return [value - sum(values) / len(values) for value in values]


def fold(spec, v, regimes):  # noqa: PLR0912 - a quantity after the other
    """Parameters of a model without regimes, whose density is that in this joint regime."""
    names = [one.name for one in spec.responses]
    lagged = [one for one in spec.signals if one.kernel.kind != "none"]
    now = [one for one in spec.signals if one.contemporaneous]
    out = {name: np.array(value, dtype=float) for name, value in v.items()}
    out["intercept"] = np.zeros((len(names), 1))
    out["effect_response"] = np.array(v.get("effect_response", np.zeros((len(lagged), len(names)))), dtype=float)
    for signal in lagged:
        move = f"{signal.name}_lag_response"
        out[move] = np.array(v.get(move, np.zeros(len(names))), dtype=float)
    for name in [one for one in out if "effect_regime" in one or "log_scale_gap" in one or one == "log_scale_regime"]:
        del out[name]
    for a, response in enumerate(names):
        held = {
            quantity: [
                (one, k)
                for one, k in zip(spec.regime_processes, regimes, strict=True)
                if quantity in one.carries and response in (one.responses or names)
            ]
            for quantity in ("intercept", "scale", "effect", "contemporaneous", "lag")
        }
        own = mean_of(spec, v, held["intercept"], a)
        out["intercept"][a, 0] = own
        for process, k in held["scale"]:
            label = label_of(spec, "scale", process)
            if process.order_by.quantity == "scale":
                out["log_scale"][a] += rungs(v[f"{label}log_scale_gap"])[k]
            else:
                out["log_scale"][a] += v[f"{label}log_scale_regime"][k]
        for process, k in held["effect"]:
            label = label_of(spec, "effect", process)
            ordered = process.order_by.signal or lagged[0].name if process.order_by.quantity == "effect" else ""
            rest = [one.name for one in lagged if one.name != ordered]
            for s, signal in enumerate(lagged):
                if signal.name == ordered:
                    out["effect_response"][s, a] += rungs(v[f"{label}effect_gain"][0])[k]
                else:
                    out["effect_response"][s, a] += v[f"{label}effect_regime"][rest.index(signal.name), k]
        for process, k in held["contemporaneous"]:
            label = label_of(spec, "contemporaneous", process)
            for s in range(len(now)):
                out["contemporaneous"][a, s] += v[f"{label}contemporaneous_regime"][s, k]
        for _, k in held["lag"]:
            for signal in lagged:
                out[f"{signal.name}_lag_response"][a] += v[f"{signal.name}_lag_regime"][k]
    return out


def groups(spec, quantity):
    """Who carries a quantity of each response: names of processes, None for nobody."""
    names = [one.name for one in spec.responses]
    return [
        next(
            (one.name for one in spec.regime_processes if quantity in one.carries and name in (one.responses or names)),
            None,
        )
        for name in names
    ]


def label_of(spec, quantity, process):
    """First part of a parameter's name where not all responses have the same carrier."""
    return "" if len(set(groups(spec, quantity))) == 1 else f"{process.name}_" if process else "constant_"


def mean_of(spec, v, held, a):
    process, k = held[0] if held else (None, 0)
    label = label_of(spec, "intercept", process)
    row = [n for n, name in enumerate(groups(spec, "intercept")) if name == (process and process.name)].index(a)
    if process is None:
        return v[f"{label}intercept"][row]
    if process.order_by.quantity == "intercept":
        return v[f"{label}intercept"][row] + rungs(v[f"{label}intercept_gap"])[k]
    return v[f"{label}intercept"][row, k]


def own_step(spec, process, panel, v, t):
    """Transition matrix of one process for the step from row t to row t + 1."""
    first, count = prefix_of(spec, process), process.count
    names = [one.name for one in spec.drivers]
    drivers = [name for name in names if name in process.drivers]
    z = panel["driver_value"].to_numpy()[t]
    p = np.zeros((count, count))
    labels = process.labels()
    for i in range(count):
        others = [j for j in range(count) if j != i]
        allowed = [j for j in others if [labels[i], labels[j]] not in [list(pair) for pair in process.forbidden]]
        weight = dict.fromkeys(others, 1.0)
        if count > 2:
            weight = {j: np.exp(v[f"{first}leave_log_weights"][i, n]) for n, j in enumerate(others)}
        for j in allowed:
            p[i, j] = weight[j] / sum(weight[one] for one in allowed)
        p[i, i] = np.exp(v[f"{first}stay_log_odds"][i])
        for j in range(count):
            for driver in drivers:
                p[i, j] *= np.exp(slope(process, first, drivers, driver, v, j) * z[names.index(driver)])
    return p / p.sum(axis=1, keepdims=True)


def slope(process, first, drivers, driver, v, j):
    """What a standard deviation of a driver adds to the log weight of regime j."""
    if process.order_by.driver == driver:
        return rungs(v[f"{first}driver_effect_gap"][0])[j]
    pooled = [name for name in drivers if name != process.order_by.driver]
    return v[f"{first}driver_effect"][pooled.index(driver), j]


def own_start(spec, process, panel, v):
    if process.initial == "dirichlet":
        return v[f"{prefix_of(spec, process)}initial"]
    if process.initial == "stationary":
        return np.linalg.matrix_power(own_step(spec, process, panel, v, 0), 2**20)[0]
    return np.full(process.count, 1 / process.count)
