"""The model once more, in NumPyro: written from DESIGN's equations and the docstrings of the parts and of the kernels.

It imports nothing of the package. Where there was a choice it differs on purpose: a lag matrix instead of a
convolution, laws of NumPyro instead of formulae, probabilities tilted by the drivers instead of logits, the forward
algorithm in logs by `lax.scan`, differentiated by JAX. A spec is read for its numbers, a panel for its arrays.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.nn import log_softmax, softmax
from jax.scipy.special import logsumexp
from jax.scipy.stats import nbinom
from numpyro.handlers import block
from numpyro.infer import MCMC, NUTS, Predictive
from numpyro.infer.util import log_density

jax.config.update("jax_enable_x64", True)

# Scales of the priors that a spec does not replace.
SIGMAS = {
    "intercept": 0.3,
    **dict.fromkeys(("contemporaneous", "control_effect", "effect"), 0.5),
    **dict.fromkeys(("effect_regime_sd", "effect_episode_sd", "effect_response_sd"), 0.25),
    "log_scale": 0.5,
    **dict.fromkeys(("log_scale_gap", "log_scale_episode"), 0.4),
    "leave_log_weights": 1.0,
    "driver_effect": 0.7,
    "driver_origin_sd": 0.3,
}
MEDIANS = {"log_scale": np.log(0.8), "log_scale_gap": np.log(0.8)}


def sd_of(spec, name):
    """Scale of the prior of a parameter, of the usual distribution."""
    usual = 0.3 if "_lag_" in name else SIGMAS[name]
    return spec.priors[name].parameters["sigma"] if name in spec.priors else usual


def mu(spec, name):
    """Location of the prior, on the scale on which it is normal."""
    return spec.priors[name].parameters["mu"] if name in spec.priors else MEDIANS[name]


def peer_model(spec, panel):
    """Sample every parameter, under the package's names, and add the log-likelihood with the regimes summed out.

    A point lag, which must be the only lag, is summed out too: by one likelihood for each lag.
    """
    regimes, episode = spec.regimes.count, panel["episode_index"].to_numpy()
    episodes = panel.sizes["episode"]
    common, lagged = locations(spec, panel, regimes, episode, episodes)
    scale = jnp.exp(log_scales(spec, regimes, episodes))[episode]
    chains = len(spec.responses) if "regimes" in spec.responses_vary else 1
    df = None
    if spec.family.kind == "student_t":
        df = 2.0 + numpyro.sample("degrees_of_freedom_minus_two", dist.Gamma(spec.family.shape, spec.family.rate))
    among = correlation(spec)
    y = panel["response_value"].to_numpy()
    if regimes > 1:
        log_transition = log_transitions(spec, panel, regimes, chains)
        first = log_first(spec, regimes, log_transition)

    def likelihood(location):
        log_obs = joint_density(y, each_pair(location, chains), each_pair(scale, chains), among, df)
        return log_obs.sum() if regimes == 1 else forward(log_obs, log_transition, first)

    if spec.point_signals:
        each = jax.vmap(lambda weights: likelihood(common + lagged(weights)))(jnp.eye(spec.max_lag))
        mass = hump(spec.signals[0].kernel, spec.max_lag)
        numpyro.factor("log_likelihood", logsumexp(each + jnp.log(mass)))
    else:
        numpyro.factor("log_likelihood", likelihood(common))


def each_pair(values, chains):
    """Values (row, response, regime) of two responses, each with a chain of its own, for each pair of regimes."""
    if chains == 1:
        return values
    count = values.shape[2]
    return jnp.stack([jnp.repeat(values[:, 0], count, axis=1), jnp.tile(values[:, 1], count)], axis=1)


def both_chains(first, second):
    """Log probabilities (step, origin, destination) of pairs of regimes, from those of two independent chains."""
    pairs = first[:, :, None, :, None] + second[:, None, :, None, :]
    return pairs.reshape(len(pairs), first.shape[1] * second.shape[1], -1)


def correlation(spec):
    """Correlation of two responses at most: LKJ with two is a beta law on (-1, 1)."""
    if len(spec.responses) == 1:
        return jnp.eye(1)
    eta = spec.priors["residual_correlation_partial"].parameters["eta"] if spec.priors else 2.0
    law = dist.TransformedDistribution(dist.Beta(eta, eta).expand([1]), dist.transforms.AffineTransform(-1.0, 2.0))
    rho = numpyro.sample("residual_correlation_partial", law)[0]
    return jnp.array([[1.0, 0.0], [0.0, 1.0]]) + rho * jnp.array([[0.0, 1.0], [1.0, 0.0]])


def joint_density(y, location, scale, among, df):
    """Log density (row, regime) of what is observed of y (row, response)."""
    log_obs = jnp.zeros((location.shape[0], location.shape[2]))
    seen = ~np.isnan(y)
    for pattern in np.unique(seen, axis=0):
        rows, these = np.flatnonzero((seen == pattern).all(axis=1)), np.flatnonzero(pattern)
        if len(these):
            m, sd = (jnp.moveaxis(values[rows][:, these], 1, -1) for values in (location, scale))
            tril = sd[..., None] * jnp.linalg.cholesky(among[np.ix_(these, these)])
            law = dist.MultivariateNormal(m, scale_tril=tril) if df is None else dist.MultivariateStudentT(df, m, tril)
            log_obs = log_obs.at[rows].set(law.log_prob(y[rows][:, None, these]))
    return log_obs


def locations(spec, panel, regimes, episode, episodes):
    """Location (row, response, regime), and a function from the weights of a point lag to its part of it."""
    rows, responses = panel.sizes["time"], len(spec.responses)
    x = panel["signal_value"].to_numpy()
    before = len(x) - rows
    location = normal("intercept", (responses, regimes), sd_of(spec, "intercept")) * jnp.ones((rows, 1, 1))
    now = [n for n, signal in enumerate(spec.signals) if signal.contemporaneous]
    if now:
        b0 = normal("contemporaneous", (responses, len(now)), sd_of(spec, "contemporaneous"))
        location += (x[before:, now] @ b0.T)[:, :, None]
    if spec.controls:
        gamma = normal("control_effect", (responses, len(spec.controls)), sd_of(spec, "control_effect"))
        u = panel["control_value"].to_numpy()
        location += (u[-rows:] @ gamma.T)[:, :, None]
        late = [c for c, control in enumerate(spec.controls) if control.kernel.kind != "none"]
        if late:
            g = numpyro.sample("control_lagged_effect", dist.StudentT(3.0, 0.0, 0.25).expand([responses, len(late)]))
        for place, c in enumerate(late):
            prefix, back = f"control_{spec.controls[c].name}_lag_", np.arange(1, spec.max_lag + 1)[None, :]
            weights, departure = KERNELS[spec.controls[c].kernel.kind](prefix, spec.controls[c].kernel, spec.max_lag)
            past = u[len(u) - rows + np.arange(rows)[:, None] - back, c]
            sums = past @ (weights(0.0) if callable(weights) else weights)
            location += (sums[:, None] * g[:, place])[:, :, None] + (past @ departure)[:, None, None]
    lagged = [n for n, signal in enumerate(spec.signals) if signal.kernel.kind != "none"]
    if not lagged:
        return location, None
    # (signal, episode, response, regime)
    effect = normal("effect", (len(lagged),), sd_of(spec, "effect"))[:, None, None, None]
    effect = effect * jnp.ones((1, episodes, responses, regimes))
    if regimes > 1:
        effect += deviations("effect_regime", len(lagged), regimes, sd_of(spec, "effect_regime_sd"))[:, None, None, :]
    if "effect" in spec.episodes.vary and episodes > 1:
        effect += deviations("effect_episode", len(lagged), episodes, sd_of(spec, "effect_episode_sd"))[
            :, :, None, None
        ]
    if "effect" in spec.responses_vary and responses > 1:
        effect += deviations("effect_response", len(lagged), responses, sd_of(spec, "effect_response_sd"))[
            :, None, :, None
        ]
    row, lag = np.arange(rows)[:, None], np.arange(1, spec.max_lag + 1)[None, :]
    for place, n in enumerate(lagged):
        past, signal = x[before + row - lag, n], spec.signals[n]
        if signal in spec.point_signals:
            return location, lambda weights, past=past: effect[0][episode] * (past @ weights)[:, None, None]
        prefix = f"{signal.name}_lag_"
        weights, departure = KERNELS[signal.kernel.kind](prefix, signal.kernel, spec.max_lag)
        moves = lag_moves(spec, prefix, responses, episodes)
        for a in range(responses):
            own = jnp.stack([weights(moves[a, e]) if callable(weights) else weights for e in range(episodes)])
            mean = (past * own[episode]).sum(axis=1) if callable(weights) else past @ weights
            location = location.at[:, a].add(effect[place][episode][:, a] * mean[:, None])
        location += (past @ departure)[:, None, None]
    return location, None


def lag_moves(spec, prefix, responses, episodes):
    """Moves (response, episode) of the log location."""
    moves = jnp.zeros((responses, episodes))
    if "lag" in spec.responses_vary and responses > 1:
        moves += moved(f"{prefix}response", responses, sd_of(spec, f"{prefix}response_sd"))[:, None]
    if "lag" in spec.episodes.vary and episodes > 1:
        moves += moved(f"{prefix}episode", episodes, sd_of(spec, f"{prefix}episode_sd"))[None, :]
    return moves


def moved(name, size, prior_sd):
    sd = numpyro.sample(f"{name}_sd", dist.HalfNormal(prior_sd))
    return numpyro.deterministic(name, sd * zero_sum(f"{name}_raw", (size,), 1.0))


def log_scales(spec, regimes, episodes):
    """Log scale (episode, response, regime)."""
    responses = len(spec.responses)
    law = dist.Normal(mu(spec, "log_scale"), sd_of(spec, "log_scale"))
    log_scale = numpyro.sample("log_scale", law.expand([responses]))[None, :, None] * jnp.ones((episodes, 1, regimes))
    if regimes > 1:
        law = dist.LogNormal(mu(spec, "log_scale_gap"), sd_of(spec, "log_scale_gap"))
        lead = (responses,) if "regimes" in spec.responses_vary else (1,)
        shape = (*lead, regimes - 1) if "regimes" in spec.responses_vary else (regimes - 1,)
        gaps = numpyro.sample("log_scale_gap", law.expand(shape)).reshape(*lead, regimes - 1)
        ladder = jnp.cumsum(jnp.concatenate([jnp.zeros((*lead, 1)), gaps], axis=1), axis=1)
        log_scale += ladder - ladder.mean(axis=1, keepdims=True)
    if "scale" in spec.episodes.vary and episodes > 1:
        log_scale += zero_sum("log_scale_episode", (responses, episodes), sd_of(spec, "log_scale_episode")).T[
            :, :, None
        ]
    return log_scale


def log_transitions(spec, panel, regimes, chains):
    """Log probabilities (step, origin, destination) of the steps into rows 1, 2, ..., of pairs for two chains."""
    drivers = len(spec.drivers)
    duration = np.ones(regimes) * np.asarray(spec.regimes.transitions.expected_duration)
    law = dist.Normal(jnp.log(duration - 1.0), spec.regimes.transitions.expected_duration_log_sd)
    if chains == 1:
        stay = numpyro.sample("stay_log_odds", law)
        tilt = zero_sum("driver_effect", (drivers, regimes), sd_of(spec, "driver_effect")) if drivers else None
        return one_chain(spec, panel, regimes, stay, tilt)
    stay = numpyro.sample("stay_log_odds", law.expand([chains, regimes]))
    tilt = zero_sum("driver_effect", (chains, drivers, regimes), sd_of(spec, "driver_effect"))
    return both_chains(*(one_chain(spec, panel, regimes, stay[a], tilt[a]) for a in range(chains)))


def one_chain(spec, panel, regimes, stay, tilt):
    """Log probabilities (step, origin, destination) of one chain."""
    rows = panel.sizes["time"]
    onward = jnp.ones((regimes, 1))
    if regimes > 2:
        onward = softmax(
            zero_sum("leave_log_weights", (regimes, regimes - 1), sd_of(spec, "leave_log_weights")), axis=-1
        )
    probability = jax.nn.sigmoid(stay)
    base = jnp.stack([jnp.insert((1 - probability[i]) * onward[i], i, probability[i]) for i in range(regimes)])
    if not spec.drivers:
        return jnp.broadcast_to(jnp.log(base), (rows - 1, regimes, regimes))
    z = panel["driver_value"].to_numpy()[: rows - 1]
    drivers, tilt = z.shape[1], tilt[:, None, :]
    if spec.regimes.transitions.by_origin:
        sd = numpyro.sample("driver_origin_sd", dist.HalfNormal(sd_of(spec, "driver_origin_sd")).expand([drivers]))
        basis = zero_sum_basis(regimes)
        standard = numpyro.sample("driver_origin_z", dist.Normal().expand([drivers, regimes - 1, regimes - 1]))
        raw = numpyro.deterministic("driver_origin_raw", basis @ standard @ basis.T)
        tilt += numpyro.deterministic("driver_origin", sd[:, None, None] * raw)
    return log_softmax(jnp.log(base) + jnp.tensordot(z, tilt * jnp.ones((1, regimes, 1)), axes=1), axis=-1)


def log_first(spec, regimes, log_transition):
    """Log law of the first regime."""
    if spec.regimes.initial == "uniform":
        return -jnp.log(log_transition.shape[1]) * jnp.ones(log_transition.shape[1])
    if spec.regimes.initial == "dirichlet":
        return jnp.log(numpyro.sample("initial", dist.Dirichlet(jnp.ones(regimes))))
    # Stationary: pi P = pi, with one of these equations replaced by sum(pi) = 1.
    balance = (jnp.exp(log_transition[0]).T - jnp.eye(regimes)).at[-1].set(1.0)
    return jnp.log(jnp.linalg.solve(balance, jnp.zeros(regimes).at[-1].set(1.0)))


def forward(log_obs, log_transition, first):
    def step(alpha, row):
        transition, observed = row
        return logsumexp(alpha[:, None] + transition, axis=0) + observed, None

    last, _ = jax.lax.scan(step, first + log_obs[0], (log_transition, log_obs[1:]))
    return logsumexp(last)


def normal(name, shape, sd):
    return numpyro.sample(name, dist.Normal(0.0, sd).expand(shape))


def zero_sum_basis(size):
    """Orthonormal basis (size, size - 1) of the vectors that sum to zero: what a basis that begins with ones adds."""
    return np.linalg.qr(np.column_stack([np.ones(size), np.eye(size)[:, :-1]]))[0][:, 1:]


def zero_sum(name, shape, sd):
    """Normal with standard deviation sd in every direction of the vectors (last axis) that sum to zero."""
    standard = numpyro.sample(f"{name}_z", dist.Normal().expand([*shape[:-1], shape[-1] - 1]))
    return numpyro.deterministic(name, sd * standard @ zero_sum_basis(shape[-1]).T)


def deviations(name, signals, size, prior_sd):
    sd = numpyro.sample(f"{name}_sd", dist.HalfNormal(prior_sd).expand([signals]))
    return numpyro.deterministic(name, sd[:, None] * zero_sum(f"{name}_raw", (signals, size), 1.0))


def by_moments(name, mean, sd):
    """Draw from the log-normal law with this mean and standard deviation."""
    variance = jnp.log(1.0 + sd**2 / mean**2)
    return numpyro.sample(name, dist.LogNormal(jnp.log(mean) - variance / 2, jnp.sqrt(variance)))


def gamma_law(mean, spread):
    return dist.Gamma(mean**2 / spread**2, mean / spread**2)


def normalised(law, at):
    return softmax(law.log_prob(at)), jnp.zeros(len(at))


def gamma_kernel(prefix, kernel, max_lag):
    """Weights as a function of how far the log location is moved."""
    location = by_moments(f"{prefix}location", kernel.mean_lag, kernel.mean_lag_sd)
    spread = by_moments(f"{prefix}spread", kernel.spread, kernel.spread_sd)

    def weights(move):
        return normalised(gamma_law(location * jnp.exp(move), spread), jnp.arange(1.0, max_lag + 1))[0]

    return weights, jnp.zeros(max_lag)


def lognormal_kernel(prefix, kernel, max_lag):
    location = by_moments(f"{prefix}location", kernel.mean_lag, kernel.mean_lag_sd)
    spread = by_moments(f"{prefix}spread", kernel.spread, kernel.spread_sd)
    variance = jnp.log(1.0 + spread**2 / location**2)
    law = dist.LogNormal(jnp.log(location) - variance / 2, jnp.sqrt(variance))
    return normalised(law, jnp.arange(1.0, max_lag + 1))


def negative_binomial_kernel(prefix, kernel, max_lag):
    mean = by_moments(f"{prefix}excess_location", kernel.mean_lag - 1.0, kernel.mean_lag_sd)
    excess = (kernel.spread**2 - (kernel.mean_lag - 1.0)) ** 0.5
    excess = by_moments(f"{prefix}excess_spread", excess, kernel.spread_sd)
    size = mean**2 / excess**2
    # NumPyro's own negative binomial goes through betaln, which is good to six digits only.
    return softmax(nbinom.logpmf(jnp.arange(max_lag), size, size / (size + mean))), jnp.zeros(max_lag)


def beta_kernel(prefix, kernel, max_lag):
    mean, sd = (kernel.mean_lag - 0.5) / max_lag, kernel.mean_lag_sd / max_lag
    total = mean * (1.0 - mean) / sd**2 - 1.0
    fraction = numpyro.sample(f"{prefix}fraction", dist.BetaProportion(mean, total))
    median = max_lag**2 * mean * (1.0 - mean) / kernel.spread**2 - 1.0
    law = dist.LogNormal(jnp.log(median), 2.0 * kernel.spread_sd / kernel.spread)
    concentration = numpyro.sample(f"{prefix}concentration", law)
    return normalised(dist.BetaProportion(fraction, concentration), (jnp.arange(max_lag) + 0.5) / max_lag)


def hump(kernel, max_lag):
    return normalised(gamma_law(kernel.mean_lag, kernel.spread), jnp.arange(1.0, max_lag + 1))[0]


def dirichlet_kernel(prefix, kernel, max_lag):
    base, lag = hump(kernel, max_lag), jnp.arange(1.0, max_lag + 1)
    variance = base @ (lag - base @ lag) ** 2
    law = dist.Dirichlet((variance / kernel.mean_lag_sd**2 - 1.0) * base)
    return numpyro.sample(f"{prefix}weights", law), jnp.zeros(max_lag)


def walk(prefix, kernel, max_lag):
    roughness = numpyro.sample(f"{prefix}roughness", dist.HalfNormal(kernel.roughness))
    sums = jnp.tril(jnp.ones((max_lag, max_lag))) @ normal(f"{prefix}innovation", (max_lag,), 1.0)
    return roughness * (sums - sums.mean())


def smooth_kernel(prefix, kernel, max_lag):
    return softmax(jnp.log(hump(kernel, max_lag)) + walk(prefix, kernel, max_lag)), jnp.zeros(max_lag)


def unrestricted_kernel(prefix, kernel, max_lag):
    return hump(kernel, max_lag), walk(prefix, kernel, max_lag)


KERNELS = {
    "gamma": gamma_kernel,
    "lognormal": lognormal_kernel,
    "negative_binomial": negative_binomial_kernel,
    "beta": beta_kernel,
    "dirichlet": dirichlet_kernel,
    "smooth": smooth_kernel,
    "unrestricted": unrestricted_kernel,
}


def once(function):
    """Compile for few calls."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def prior_draws(spec, panel, draws, seed, model=peer_model):
    """Draws of every site (draw, ...) from the prior."""
    parameters = block(model, hide=["log_likelihood"])
    return once(lambda key: Predictive(parameters, num_samples=draws)(key, spec, panel))(jax.random.key(seed))


def log_joint(spec, panel, draws, model=peer_model):
    """Log prior density of all sites plus log-likelihood (draw)."""
    return np.asarray(once(jax.vmap(lambda draw: log_density(model, (spec, panel), {}, draw)[0]))(draws))


def sample(spec, panel, *, draws, tune, chains, seed, target_accept=0.8, model=peer_model):
    """Draws of every parameter (chain, draw, ...) from the posterior, by NumPyro's own NUTS."""
    sampler = MCMC(
        NUTS(model, target_accept_prob=target_accept, dense_mass=True),
        num_warmup=tune,
        num_samples=draws,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    sampler.run(jax.random.key(seed), spec, panel)
    drawn = {name: np.asarray(values) for name, values in sampler.get_samples(group_by_chain=True).items()}
    return {name: values for name, values in drawn.items() if not name.endswith("_z")}
