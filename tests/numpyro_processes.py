"""Two regime processes once more, in NumPyro: volatility, and coupling that is ordered by the effect of one signal.

Written from DESIGN's equations, for one response, one signal with a gamma kernel, controls without a lag, and a scale
and an effect by episode. It imports nothing of the package. The four joint regimes are never formed: the forward
variable is a matrix with an axis for each process, which takes a step of one process at a time.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.nn import log_softmax
from jax.scipy.special import logsumexp
from numpyro_model import deviations, gamma_kernel, normal, zero_sum

# Medians of durations, in rows, and the log standard deviation of the second; scales of effects are elasticities.
CALM, CALM_SD, COUPLED, COUPLED_SD = 20.0, 1.0, 26.0, 0.7
LEVEL, GAIN = 1.0, 1.5


def process_model(spec, panel):
    """Sample every parameter, under the package's names, and add the log-likelihood with regimes marginalised."""
    rows, episode = panel.sizes["time"], panel["episode_index"].to_numpy()
    episodes, lags = panel.sizes["episode"], spec.max_lag
    unit = float(panel["signal_scale"][0] / panel["response_scale"][0])
    x, u, z = (panel[f"{name}_value"].to_numpy() for name in ("signal", "control", "driver"))
    before = np.concatenate([panel["driver_history"].to_numpy()[None] if "driver_history" in panel else 0 * z[:1], z])

    intercept = normal("intercept", (1, 2), 0.3)[0]
    same = normal("contemporaneous", (1, 1), 0.5)[0, 0] * x[-rows:, 0]
    same += u[-rows:] @ normal("control_effect", (1, u.shape[1]), 0.5)[0]
    same += before[:rows] @ normal("driver_control_effect", (1, z.shape[1]), 0.5)[0]

    level = numpyro.sample("effect", dist.StudentT(3.0, 0.0, LEVEL * unit).expand([1]))[0]
    gain = numpyro.sample("effect_gain", dist.HalfNormal(GAIN * unit).expand([1, 1]))[0, 0]
    by_episode = deviations("effect_episode", 1, episodes, 0.25)[0]
    weights, _ = gamma_kernel(f"{spec.signals[0].name}_lag_", spec.signals[0].kernel, lags)
    past = x[len(x) - rows + np.arange(rows)[:, None] - np.arange(1, lags + 1)[None, :], 0] @ weights(0.0)
    late = jnp.stack([(level + by_episode[episode] + half * gain) * past for half in (-0.5, 0.5)], axis=1)
    # (time, volatility, coupling)
    location = same[:, None, None] + intercept[None, :, None] + late[:, None, :]

    base = numpyro.sample("log_scale", dist.Normal(np.log(0.8), 0.5).expand([1]))[0]
    gap = numpyro.sample("log_scale_gap", dist.LogNormal(np.log(0.8), 0.4).expand([1]))[0]
    of_episode = zero_sum("log_scale_episode", (1, episodes), 0.4)[0]
    scale = jnp.exp(base + of_episode[episode][:, None] + gap * jnp.array([-0.5, 0.5])[None, :])
    df = 2.0 + numpyro.sample("degrees_of_freedom_minus_two", dist.Gamma(spec.family.shape, spec.family.rate))
    y = panel["response_value"].to_numpy()[:, :1, None]
    log_obs = dist.StudentT(df, location, scale[:, :, None]).log_prob(np.nan_to_num(y))
    log_obs = jnp.where(np.isnan(y), 0.0, log_obs)

    stay = numpyro.sample("volatility_stay_log_odds", dist.Normal(jnp.log(CALM - 1.0), CALM_SD).expand([2]))
    volatile = jnp.broadcast_to(steps(stay), (rows - 1, 2, 2))
    stay = numpyro.sample("coupling_stay_log_odds", dist.Normal(jnp.log(COUPLED - 1.0), COUPLED_SD).expand([2]))
    tilt = zero_sum("coupling_driver_effect", (z.shape[1], 2), 0.7)
    coupled = log_softmax(steps(stay)[None] + (z[: rows - 1] @ tilt)[:, None, :], axis=-1)

    def step(alpha, row):
        observed, first, second = row
        alpha = logsumexp(alpha[:, None, :] + first[:, :, None], axis=0)
        return logsumexp(alpha[:, :, None] + second[None], axis=1) + observed, None

    start = log_obs[0] - 2 * jnp.log(2.0)
    numpyro.factor("log_likelihood", logsumexp(jax.lax.scan(step, start, (log_obs[1:], volatile, coupled))[0]))


def steps(stay):
    """Log probabilities (origin, destination) of two regimes without drivers."""
    same = jax.nn.log_sigmoid(stay)[:, None]
    return jnp.where(jnp.eye(2) == 1, same, jax.nn.log_sigmoid(-stay)[:, None])
