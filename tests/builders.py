"""Small specs, panels and trees made by hand, and the model written out again in plain loops."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import itertools

import numpy as np
import pandas as pd
import xarray as xr
from oracles import simple_garch
from scipy import stats

import regimelag as rl
from regimelag.likelihood.hmm_loglik import MarkovLoglik
from regimelag.likelihood.linked_op import _plain
from regimelag.model.build import draw_prior
from regimelag.sampling.inference_data import provenance

BY_ORIGIN = rl.spec.Markov(by_origin=True)
KERNEL = rl.kernels.Gamma(mean_lag=2.0, mean_lag_sd=1.0, spread=1.0, spread_sd=0.5)
# How the one fit that test files share is made.
FIT = {
    "draws": 200,
    "tune": 300,
    "chains": 2,
    "cores": 2,
    "starts": 8,
    "prior_draws": 200,
    "random_seed": 1,
    "progressbar": False,
}


def priors(**sigmas) -> dict:
    """Priors of the usual kinds with these sigmas, by the parameters' names."""
    sums = ("driver_effect", "leave_log_weights", "log_scale_episode")
    kinds = {name: "HalfNormal" if name.endswith("_sd") else "Normal" for name in sigmas}
    kinds |= {name: "ZeroSumNormal" for name in sums if name in sigmas}
    return {name: rl.Prior(kinds[name], sigma=sigma) for name, sigma in sigmas.items()}


def small_spec(**changes) -> rl.ModelSpec:
    """Two regimes, a signal with a gamma kernel over four lags, a driver, a control, two episodes."""
    parts = {
        "name": "small",
        "responses": (rl.Response("asset", "price"),),
        "signals": (rl.Signal("metal", "metal", kernel=KERNEL),),
        "drivers": (rl.Driver("yield", "yield"),),
        "controls": (rl.Control("dollar", "dollar"),),
        "max_lag": 4,
        "episodes": rl.spec.Episodes(starts=(dt.date(2020, 1, 25),), names=("early", "late")),
    }
    return rl.ModelSpec(**(parts | changes))


# Two drivers that only moderate, and a state that they make.
STATE_DRIVERS = (rl.Driver("yield", "yield", drives=False), rl.Driver("euro", "euro", drives=False))
STATE = rl.spec.Indicator(
    "easing", (rl.spec.Condition("yield", below=0.1), rl.spec.Condition("euro", above=-0.4, below=0.5))
)


def moderated_spec(moderators=("easing",), **changes) -> rl.ModelSpec:
    """The small spec with two drivers that only moderate, an indicator of both, and moderators of its signals."""
    signals = changes.pop("signals", (rl.Signal("metal", "metal", kernel=KERNEL),))
    signals = tuple(dataclasses.replace(one, moderators=moderators) for one in signals)
    return small_spec(**({"drivers": STATE_DRIVERS, "indicators": (STATE,)} | changes), signals=signals)


def bare_spec(**changes) -> rl.ModelSpec:
    """The smallest model: one regime, nothing that explains."""
    nothing = {"signals": (), "drivers": (), "controls": (), "episodes": rl.spec.Episodes()}
    return small_spec(**(nothing | {"regimes": rl.spec.Regimes(count=1)} | changes))


def hand_panel(spec, rows, *, seed=0, missing=(), freq="W-FRI") -> xr.Dataset:
    """A panel of white noise for a spec; constants all differ, so that none can stand in for another."""
    rng = np.random.default_rng(seed)
    reach = pd.date_range("2020-01-03", periods=rows, freq=freq)
    reach = pd.date_range(end=reach[-1], periods=rows + spec.history, freq=freq).to_numpy().astype("datetime64[ns]")
    time = reach[spec.history :]
    starts = np.array(spec.episodes.starts, dtype="datetime64[ns]")
    place = np.searchsorted(starts, time, side="right")
    used = np.unique(place)
    panel = xr.Dataset(
        coords={"time": time, "signal_time": reach, "episode": [spec.episodes.labels()[n] for n in used]},
        attrs={"frequency": spec.frequency},
    )
    panel["episode_index"] = ("time", np.searchsorted(used, place))
    members = {"response": spec.responses, "signal": spec.signals, "driver": spec.drivers, "control": spec.controls}
    for number, (role, series) in enumerate(members.items()):
        dates = spec.time_of(role)
        panel.coords[role] = np.array([one.name for one in series], dtype=str)
        panel[f"{role}_value"] = ((dates, role), rng.standard_normal((panel.sizes[dates], len(series))))
        panel[f"{role}_center"] = (role, 0.01 * (number + 1) * np.ones(len(series)))
        panel[f"{role}_scale"] = (role, 0.1 * (number + 1) + 0.03 * np.arange(len(series)))
    panel["driver_date"] = (("time", "driver"), np.repeat(time[:, None], len(spec.drivers), axis=1))
    lags = spec.responses[0].autoregression
    if lags:
        panel.coords["own_lag"] = range(1, lags + 1)
        panel["response_history"] = (("own_lag", "response"), rng.standard_normal((lags, len(spec.responses))))
    if spec.moderators or spec.indicators or any(one.couples and one.drivers for one in spec.regime_processes):
        panel["driver_history"] = ("driver", np.random.default_rng(seed + 1).standard_normal(len(spec.drivers)))
    for at in missing:
        # A row, or a row and a response.
        panel["response_value"][at if isinstance(at, tuple) else (at, 0)] = np.nan
    return panel


def cut(panel, rows) -> xr.Dataset:
    """The first rows of a panel, with the signals' history and the episodes that are left."""
    history = panel.sizes["signal_time"] - panel.sizes["time"]
    short = panel.isel(time=slice(rows), signal_time=slice(history + rows))
    return short.isel(episode=slice(int(short["episode_index"].max()) + 1))


def prior_draws(spec, panel, draws, *, chains=2, seed=0) -> xr.Dataset:
    """Prior draws in the shape of a posterior."""
    flat = draw_prior(spec, rl.build_model(spec, panel), chains * draws, random_seed=seed).isel(chain=0, drop=True)
    parts = [flat.isel(draw=slice(n * draws, (n + 1) * draws)).assign_coords(draw=range(draws)) for n in range(chains)]
    return xr.concat(parts, xr.DataArray(range(chains), dims="chain", name="chain"))


def prior_fit(spec, panel, draws=6, *, seed=0) -> xr.DataTree:
    """A fit whose posterior is the prior: what readings need, without sampling."""
    tree = xr.DataTree.from_dict({"/posterior": prior_draws(spec, panel, draws, seed=seed)})
    return rl.as_fit(tree, spec, panel, prior_draws=20, random_seed=seed)


def on_panel(tree, spec, panel) -> xr.DataTree:
    """The same parameter draws on another panel."""
    groups = {f"/{name}": tree[name].to_dataset() for name in ("posterior", "prior")}
    groups["/observed_data"] = panel[["response_value"]]
    groups["/constant_data"] = panel.drop_vars("response_value")
    other = xr.DataTree.from_dict(groups)
    other.attrs = provenance(spec, panel)
    return other


def run(op, *inputs):
    """Outputs of an Op for arrays of any layout, without a graph: what its Python mode computes."""
    return type(op).loop(*op.static(), *(_plain(np.asarray(values)) for values in inputs))


def chain_loglik(log_obs, transition_logits, log_init):
    """Value and gradients of the Op of `markov_loglik`, time first."""
    by_step = np.moveaxis(transition_logits, 0, -1)
    loglik, d_log_obs, d_logits, d_log_init = run(MarkovLoglik(log_obs.shape[1]), log_obs.T, by_step, log_init)
    return loglik, d_log_obs.T, np.moveaxis(d_logits, -1, 0), d_log_init


def replaced(spec, **changes) -> rl.ModelSpec:
    return dataclasses.replace(spec, **changes)


def one_draw(parameters, chain=0, draw=0) -> dict[str, np.ndarray]:
    return {str(name): values.to_numpy()[chain, draw] for name, values in parameters.data_vars.items()}


def plain_chain(spec, panel, v) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log densities (time, regime), log transition matrices (step, origin, destination) and log initial law, looped."""
    y = panel["response_value"].to_numpy()
    chains = plain_chains(spec, v)
    each = itertools.product(range(spec.regimes.count), repeat=len(chains))
    # The regime of every response: the same, or one from a chain of its own.
    joint = [regimes * (len(spec.responses) // len(chains)) for regimes in each]
    rows, count = len(y), len(joint)
    log_obs = np.zeros((rows, count))
    for t in range(rows):
        for n, regimes in enumerate(joint):
            log_obs[t, n] = plain_density(spec, panel, v, t, regimes, y[t])
    log_p = np.log([plain_transition(spec, panel, v, t) for t in range(rows - 1)]).reshape(-1, count, count)
    if spec.regimes.initial == "dirichlet" and count > 1:
        start = functools.reduce(np.kron, [own["initial"] for own in chains])
    elif spec.regimes.initial == "stationary" and count > 1:
        start = np.linalg.matrix_power(plain_transition(spec, panel, v, 0), 2**20)[0]
    else:
        start = np.full(count, 1 / count)
    return log_obs, log_p, np.log(start)


def plain_chains(spec, v):
    """The parameters once, or once for each response that has a chain of its own."""
    if not ("regimes" in spec.responses_vary and len(spec.responses) > 1 and spec.regimes.count > 1):
        return [v]
    names = {"stay_log_odds", "leave_log_weights", "driver_effect", "driver_origin", "initial"} & set(v)
    return [v | {name: v[name][a] for name in names} for a in range(len(spec.responses))]


def plain_density(spec, panel, v, t, regimes, y):
    """Joint log density of what is observed of y (response) with its own past, each response in its regime."""
    lags = range(1, spec.responses[0].autoregression + 1)
    past = [[plain_past(panel, t, a, lag) for lag in lags] for a in range(len(y))]
    seen = np.flatnonzero(~np.isnan(y) & ~np.isnan(np.reshape(past, (len(y), len(lags)))).any(axis=1))
    if not len(seen):
        return 0.0
    location = [plain_location(spec, panel, v, t, regimes[a], a) for a in seen]
    scale = np.diag([np.exp(plain_log_scale(panel, v, t, regimes[a], a)) for a in seen])
    among = v["residual_correlation"][np.ix_(seen, seen)] if len(y) > 1 else np.eye(1)
    shape = scale @ among @ scale
    if spec.family.kind == "student_t":
        return stats.multivariate_t(location, shape, df=v["degrees_of_freedom_minus_two"] + 2).logpdf(y[seen])
    return stats.multivariate_normal(location, shape).logpdf(y[seen])


def plain_log_scale(panel, v, t, k, a=0):
    gaps = v.get("log_scale_gap", np.zeros(0))
    gaps = gaps[a] if gaps.ndim > 1 else gaps
    rungs = [sum(gaps[:n]) for n in range(len(gaps) + 1)]
    value = v["log_scale"][a] + rungs[k] - sum(rungs) / len(rungs)
    if "log_scale_episode" in v:
        value += v["log_scale_episode"][a, int(panel["episode_index"][t])]
    return value


def plain_location(spec, panel, v, t, k, a=0):
    x, episode = panel["signal_value"].to_numpy(), int(panel["episode_index"][t])
    now = t + len(x) - panel.sizes["time"]
    m = v["intercept"][a, k]
    same_row, lagged = 0, 0
    for s, signal in enumerate(spec.signals):
        if signal.contemporaneous:
            m += v["contemporaneous"][a, same_row] * x[now, s]
            same_row += 1
        if signal.kernel.kind != "none":
            effect = v["effect"][lagged]
            effect += v["effect_regime"][lagged, k] if "effect_regime" in v else 0.0
            effect += v["effect_episode"][lagged, episode] if "effect_episode" in v else 0.0
            effect += v["effect_response"][lagged, a] if "effect_response" in v else 0.0
            if signal.moderators:
                moderated = [one.name for one in spec.signals if one.moderators].index(signal.name)
                for q, name in enumerate(signal.moderators):
                    effect += v["effect_moderator"][moderated, q] * plain_moderator(spec, panel, t, name)
            weights, departure = plain_weights(spec, signal, v, episode, k, a)
            for lag in range(1, spec.max_lag + 1):
                m += effect * weights[lag - 1] * x[now - lag, s]
                m += 0.0 if departure is None else departure[lag - 1] * x[now - lag, s]
            lagged += 1
    u, lagged = panel["control_value"].to_numpy(), 0
    now = t + len(u) - panel.sizes["time"]
    for c, control in enumerate(spec.controls):
        m += v["control_effect"][a, c] * u[now, c]
        if control.kernel.kind != "none":
            own = {name: v[f"control_{control.name}_lag_{name}"] for name in control.kernel.priors(spec.max_lag)}
            weights = control.kernel.weights(own, spec.max_lag)
            departure = control.kernel.signed_deviation(own, spec.max_lag)
            for lag in range(1, spec.max_lag + 1):
                m += v["control_lagged_effect"][a, lagged] * weights[lag - 1] * u[now - lag, c]
                m += 0.0 if departure is None else departure[lag - 1] * u[now - lag, c]
            lagged += 1
    for q, name in enumerate(spec.moderators):
        m += v["moderator_main_effect"][a, q] * plain_moderator(spec, panel, t, name)
    for lag in range(1, spec.responses[0].autoregression + 1):
        m += v["autoregression"][a, lag - 1] * plain_past(panel, t, a, lag)
    return m + plain_published(spec, panel, v, t, a)


def plain_published(spec, panel, v, t, a):
    """What the drivers that move a process with the effect and without the scale add, as published by row t - 1."""
    coupling = [one for one in spec.regime_processes if "effect" in one.carries and "scale" not in one.carries]
    names = [one.name for one in spec.drivers if any(one.name in process.drivers for process in coupling)]
    total = 0.0
    for n, name in enumerate(names):
        z, before = (panel[of].sel(driver=name).to_numpy() for of in ("driver_value", "driver_history"))
        total += v["driver_control_effect"][a, n] * (z[t - 1] if t else float(before))
    return total


def plain_moderator(spec, panel, t, name):
    """A driver of the row before row t, standardised, or an indicator of such drivers in their own units."""
    drivers = {}
    for d, driver in enumerate(spec.drivers):
        z = float(panel["driver_history"][d] if t == 0 else panel["driver_value"][t - 1, d])
        drivers[driver.name] = z, z * float(panel["driver_scale"][d]) + float(panel["driver_center"][d])
    if name in drivers:
        return drivers[name][0]
    conditions = next(one for one in spec.indicators if one.name == name).all_of
    for one in conditions:
        if one.below is not None and not drivers[one.driver][1] < one.below:
            return 0.0
        if one.above is not None and not drivers[one.driver][1] > one.above:
            return 0.0
    return 1.0


def plain_used(spec, panel, a=0):
    """The response (time), missing where it or any of its own past is."""
    lags = range(spec.responses[0].autoregression + 1)
    y = panel["response_value"].to_numpy()[:, a]
    return np.array([y[t] + 0 * sum(plain_past(panel, t, a, lag) for lag in lags) for t in range(len(y))])


def plain_past(panel, t, a, lag):
    """The standardised response so many rows before row t, in the window or before it."""
    if t >= lag:
        return float(panel["response_value"][t - lag, a])
    return float(panel["response_history"].sel(own_lag=lag - t)[a])


def plain_weights(spec, signal, v, episode, k, a):
    """Weights and departures (lag) of one signal for one episode, regime and response."""
    kernel, name = signal.kernel, f"{signal.name}_lag"
    if kernel.kind == "point":
        point = v[f"{name}_point"]
        return np.eye(spec.max_lag)[int(point[k] if kernel.by_regime else point) - 1], None
    parameters = {p: np.asarray(v[f"{name}_{p}"]) for p in kernel.priors(spec.max_lag)}
    move = v[f"{name}_episode"][episode] if f"{name}_episode" in v else 0.0
    move += v[f"{name}_response"][a] if f"{name}_response" in v else 0.0
    if kernel.kind == "beta":
        odds = np.exp(move) * parameters["fraction"] / (1 - parameters["fraction"])
        parameters["fraction"] = odds / (1 + odds)
    for located in {"location", "excess_location"} & set(parameters):
        parameters[located] = parameters[located] * np.exp(move)
    return kernel.weights(parameters, spec.max_lag), kernel.signed_deviation(parameters, spec.max_lag)


def every_point_lag(spec, v):
    """The parameters with every choice of the point lags, and the log prior of each choice."""
    shapes = {s.name: (spec.regimes.count,) * len(spec.point_dims(s)) for s in spec.point_signals}
    masses = {s.name: s.kernel.prior_masses(spec.max_lag) for s in spec.point_signals}
    free = [name for name, shape in shapes.items() for _ in range(int(np.prod(shape)))]
    for choice in itertools.product(range(spec.max_lag), repeat=len(free)):
        log_prior = sum(np.log(masses[name][lag]) for name, lag in zip(free, choice, strict=True))
        points = {}
        for name, shape in shapes.items():
            mine = [lag + 1 for owner, lag in zip(free, choice, strict=True) if owner == name]
            points[f"{name}_lag_point"] = np.array(mine).reshape(shape)
        yield v | points, log_prior


def plain_transition(spec, panel, v, t):
    """Transition matrix of the step from row t to row t + 1, of independent chains if there are several."""
    return functools.reduce(np.kron, [plain_step(spec, panel, own, t) for own in plain_chains(spec, v)])


def plain_step(spec, panel, v, t):
    """The same for one chain: driven by row t."""
    count = spec.regimes.count
    p = np.ones((count, count))
    for i in range(count) if count > 1 else ():
        others = [j for j in range(count) if j != i]
        share = np.exp(v["leave_log_weights"][i]) if count > 2 else np.ones(1)
        p[i, others] = share / share.sum()
        p[i, i] = np.exp(v["stay_log_odds"][i])
        for j in range(count):
            for d, driver in enumerate(one for one in spec.drivers if one.drives):
                slope = v["driver_effect"][d, j] + (v["driver_origin"][d, i, j] if "driver_origin" in v else 0.0)
                p[i, j] *= np.exp(slope * float(panel["driver_value"].sel(driver=driver.name)[t]))
    return p / p.sum(axis=1, keepdims=True)


def garch_spec(**changes) -> rl.ModelSpec:
    """One regime whose scale follows GARCH(1,1); all else of the small spec."""
    return small_spec(**({"regimes": rl.spec.Regimes(count=1), "drivers": (), "volatility": "garch"} | changes))


def plain_garch(spec, panel, v) -> np.ndarray:
    """Log densities (time) of the response given those before it, standardised, looped."""
    y = plain_used(spec, panel)
    # A response with a missing own past has no density, so its location does not matter.
    location = np.nan_to_num([plain_location(spec, panel, v, t, 0) for t in range(len(y))])
    log_sd = np.array([plain_log_scale(panel, v, t, 0) for t in range(len(y))])
    alpha = v["garch_persistence"] * v["garch_arch_share"]
    nu = v["degrees_of_freedom_minus_two"] + 2.0 if spec.family.kind == "student_t" else np.inf
    return simple_garch(y, location, log_sd, alpha, v["garch_persistence"] - alpha, nu)
