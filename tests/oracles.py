"""Slow and plain answers to compare with. Nothing here imports regimelag."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass
class Enumeration:
    """Answers from all paths of a chain, each with its joint log density."""

    paths: np.ndarray
    log_joint: np.ndarray
    log_obs: np.ndarray
    log_p: np.ndarray
    log_init: np.ndarray

    @property
    def loglik(self) -> float:
        return log_total(self.log_joint)

    @property
    def smoothed(self) -> np.ndarray:
        """(time, regime)"""
        return self._marginal(np.exp(self.log_joint - self.loglik))

    @property
    def expected_steps(self) -> np.ndarray:
        """(step, origin, destination)"""
        weights = np.exp(self.log_joint - self.loglik)
        steps = np.zeros(self.log_p.shape)
        for path, weight in zip(self.paths, weights, strict=True):
            for t in range(len(path) - 1):
                steps[t, path[t], path[t + 1]] += weight
        return steps

    @property
    def d_logits(self) -> np.ndarray:
        """(step, origin, destination)"""
        return self.expected_steps - self.smoothed[:-1, :, None] * np.exp(self.log_p)

    def prefix(self, times: int) -> Enumeration:
        """The same for the first rows alone."""
        return _enumerate(self.log_obs[:times], self.log_p[: times - 1], self.log_init)

    @property
    def log_density(self) -> np.ndarray:
        """One-step-ahead log densities (time)."""
        logliks = [self.prefix(times).loglik for times in range(1, len(self.log_obs) + 1)]
        return np.diff([0.0, *logliks])

    @property
    def filtered(self) -> np.ndarray:
        """(time, regime)"""
        return np.stack([self.prefix(times).smoothed[-1] for times in range(1, len(self.log_obs) + 1)])

    @property
    def predicted(self) -> np.ndarray:
        """(time, regime): the last row of a prefix whose last density is flat."""
        rows = []
        for times in range(1, len(self.log_obs) + 1):
            flat = self.log_obs[:times].copy()
            flat[-1] = 0.0
            rows.append(_enumerate(flat, self.log_p[: times - 1], self.log_init).smoothed[-1])
        return np.stack(rows)

    @property
    def leave_one_out(self) -> np.ndarray:
        """Log density of each row given the others (time)."""
        values = []
        for t in range(len(self.log_obs)):
            without = self.log_obs.copy()
            without[t] = 0.0
            values.append(self.loglik - _enumerate(without, self.log_p, self.log_init).loglik)
        return np.array(values)

    def _marginal(self, weights: np.ndarray) -> np.ndarray:
        marginal = np.zeros(self.log_obs.shape)
        for path, weight in zip(self.paths, weights, strict=True):
            marginal[np.arange(len(path)), path] += weight
        return marginal


def log_total(values: np.ndarray) -> float:
    """Log of the sum of exponentials."""
    largest = np.max(values)
    if largest == -np.inf:
        return -np.inf
    return float(largest + np.log(np.sum(np.exp(values - largest))))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis; a row of -inf stays as it is."""
    totals = np.apply_along_axis(log_total, -1, logits)[..., None] if logits.size else np.zeros((*logits.shape[:-1], 1))
    return logits - np.where(totals > -np.inf, totals, 0.0)


def enumerate_chain(log_obs: np.ndarray, transition_logits: np.ndarray, log_init: np.ndarray) -> Enumeration:
    """All regime paths and their joint log densities; transition_logits (step, origin, destination), 1 or time - 1."""
    log_p = np.broadcast_to(log_softmax(transition_logits), (len(log_obs) - 1, log_obs.shape[1], log_obs.shape[1]))
    return _enumerate(log_obs, log_p, log_init)


def _enumerate(log_obs, log_p, log_init):
    times, regimes = log_obs.shape
    paths = np.array(list(itertools.product(range(regimes), repeat=times)))
    log_joint = np.empty(len(paths))
    for row, path in enumerate(paths):
        log_joint[row] = log_init[path[0]] + log_obs[0, path[0]]
        for t in range(1, times):
            log_joint[row] += log_p[t - 1, path[t - 1], path[t]] + log_obs[t, path[t]]
    return Enumeration(paths, log_joint, log_obs, log_p, log_init)


@dataclass
class LagEnumeration:
    """Answers from all lags, each with all paths of its chain."""

    chains: list[Enumeration]
    log_weights: np.ndarray

    @property
    def loglik(self) -> float:
        return log_total(self.log_weights)

    @property
    def posterior(self) -> np.ndarray:
        """(lag)"""
        return np.exp(self.log_weights - self.loglik)

    @property
    def smoothed(self) -> np.ndarray:
        """(lag, time, regime)"""
        pairs = zip(self.posterior, self.chains, strict=True)
        return np.stack([w * chain.smoothed if w > 0 else np.zeros(chain.log_obs.shape) for w, chain in pairs])

    @property
    def d_logits(self) -> np.ndarray:
        """(step, origin, destination)"""
        pairs = zip(self.posterior, self.chains, strict=True)
        return sum(weight * chain.d_logits for weight, chain in pairs if weight > 0)


def enumerate_lags(log_obs, transition_logits, log_init, log_prior) -> LagEnumeration:
    """All lags and paths; log_obs (lag, time, regime), the rest as in the package."""
    chains = [enumerate_chain(rows, transition_logits, log_init) for rows in log_obs]
    return LagEnumeration(chains, log_prior + np.array([chain.loglik for chain in chains]))


def central_difference(function, values: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Gradient of a scalar function, coordinate by coordinate."""
    values = np.asarray(values, dtype=float)
    gradient = np.empty(values.shape)
    for index in np.ndindex(values.shape):
        up, down = values.copy(), values.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


def simple_lag_sum(signal: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """out[t] = sum_l weights[l - 1] signal[L + t - l], l = 1..L, by two loops."""
    lags = len(weights)
    out = np.zeros(len(signal) - lags)
    for t in range(len(out)):
        for lag in range(1, lags + 1):
            out[t] += weights[lag - 1] * signal[lags + t - lag]
    return out


def simple_garch(y, location, log_sd, alpha, beta, nu):
    """Log density (time) of a GARCH(1,1) with unconditional log standard deviations (time), in a loop."""
    found, v = np.zeros(len(y)), 1.0
    for t in range(len(y)):
        e = (y[t] - location[t]) / np.exp(log_sd[t])
        sd = np.exp(log_sd[t]) * np.sqrt(v)
        if np.isnan(y[t]):
            v = 1 - alpha - beta + (alpha + beta) * v
            continue
        law = stats.norm if np.isinf(nu) else stats.t(nu)
        found[t] = law.logpdf((y[t] - location[t]) / (sd * (1 if np.isinf(nu) else np.sqrt((nu - 2) / nu))))
        found[t] -= np.log(sd * (1 if np.isinf(nu) else np.sqrt((nu - 2) / nu)))
        v = 1 - alpha - beta + alpha * e**2 + beta * v
    return found
