"""Simulated data: `simulate` on any panel, and the example panel with known truth."""

from __future__ import annotations

import json
from typing import Literal, overload

import numpy as np
import pandas as pd
import xarray as xr

from regimelag.errors import FitError
from regimelag.model.build import build_model, draw_prior
from regimelag.model.draw import draw_regimes, draw_responses
from regimelag.model.evaluate import count_draws, evaluate, regime_paths_by_process, stack_draws
from regimelag.model.own_past import iterate_own_past, without_own_past
from regimelag.panel.checks import constants_hash
from regimelag.panel.make import check_panel, make_panel
from regimelag.panel.own_past import history_before, used_responses
from regimelag.runtime.plain import drawn_seed, is_number, whole
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import read_spec

SIMULATED = "simulated from the model; not market data"

# Weekly standard deviations and correlations of the log return of silver, the change in the ten-year real yield and the
# log return of the broad dollar index, 2013 to January 2026, rounded.
WEEKLY_SD = {"silver_usd": 0.039, "real_yield_10y": 0.106, "dollar_index": 0.0070}
WEEKLY_CORRELATION = np.array([[1.0, -0.27, -0.49], [-0.27, 1.0, 0.32], [-0.49, 0.32, 1.0]])
RESPONSE_CENTER, RESPONSE_SCALE = 0.013, 0.105


def simulate(
    spec: ModelSpec, panel: xr.Dataset, *, parameters: xr.Dataset | None = None, random_seed: int | None = None
) -> xr.Dataset:
    """Replace a panel's responses by a draw from the model, given its signals, drivers and controls.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    panel : xarray.Dataset
        Panel with covariates, episodes and constants; with autoregression also with responses before the window, of
        which missing ones are replaced by the mean.
    parameters : xarray.Dataset, optional
        One value of each parameter, named as in the posterior, standardised. Drawn from the prior by default.
    random_seed : int, optional
        Seed. By default one is drawn; it is recorded in ``attrs["random_seed"]`` either way.

    Returns
    -------
    xarray.Dataset
        The panel with simulated `response_value` (missing rows stay missing), and the drawn `regime_path` (time), or
        (time, response) if each response has its own regime process, (time, regime_process) with several processes.
        Constants are unchanged, so the parameters remain valid in the panel's standardised units.

    Raises
    ------
    PanelError
        If the panel does not fit the spec.
    FitError
        If `parameters` has more than one draw, or comes from a fit to a panel with other constants.
    """
    check_panel(spec, panel)
    seed = drawn_seed(FitError, "simulate", random_seed)
    rng = np.random.default_rng(seed)
    if parameters is None:
        parameters = draw_prior(spec, build_model(spec, panel), 1, random_seed=int(rng.integers(2**31)))
    if not isinstance(parameters, xr.Dataset):
        cure = 'pass one draw, as in idata["posterior"].to_dataset().isel(chain=0, draw=0)'
        raise FitError("simulate", "parameters are an xarray.Dataset", f"a {type(parameters).__name__}", cure)
    draws = stack_draws(parameters)
    standardised = parameters.attrs.get(nm.CONSTANTS_HASH, constants_hash(panel))
    if standardised != constants_hash(panel):
        raise FitError(
            "simulate",
            "parameters are in the panel's standard deviations",
            "parameters of a fit to another panel",
            "pass that fit's panel, regimelag.panel_of(idata), or parameters.drop_attrs() if the numbers are meant so",
        )
    count = count_draws(draws)
    if count != 1:
        raise FitError(
            "simulate",
            "parameters hold one draw",
            f"{count} draws",
            "select one, as in parameters.isel(chain=0, draw=0)",
        )
    eq = evaluate(spec, panel, without_own_past(spec, draws))
    path = draw_regimes(eq.logits, eq.log_initial, panel.sizes[nm.TIME], rng)
    missing = np.isnan(panel[nm.RESPONSE_VALUE].to_numpy())
    unused = np.isnan(used_responses(panel)).all(axis=1)
    y = iterate_own_past(spec, draws, draw_responses(eq, path, rng, missing=unused), history_before(panel, 0))[0]
    simulated = panel.copy()
    simulated[nm.RESPONSE_VALUE] = ((nm.TIME, nm.RESPONSE), np.where(missing, np.nan, y))
    simulated[nm.REGIME_PATH] = ((nm.TIME, *spec.process_coords), regime_paths_by_process(spec, path[0]))
    simulated = simulated.assign_coords(spec.process_coords)
    if nm.LEVEL in simulated:
        # The levels of the responses do not match their simulated values.
        simulated[nm.LEVEL] = simulated[nm.LEVEL].where(simulated[nm.LEG_ROLE] != nm.RESPONSE)
    # Warnings concern the data that are replaced.
    simulated.attrs.pop("warnings", None)
    simulated.attrs |= {"origin": SIMULATED, "random_seed": seed}
    return simulated


def _example_frame(rng: np.random.Generator) -> pd.DataFrame:
    """Weekly levels with the volatilities and correlations of real data; the response's level is a placeholder."""
    dates = pd.date_range("2012-01-06", "2026-01-23", freq="W-FRI", name="date")
    shape = (len(dates), len(WEEKLY_SD))
    # Student-t changes with five degrees of freedom and unit variance: about the kurtosis of the real series.
    normal = rng.standard_normal(shape) @ np.linalg.cholesky(WEEKLY_CORRELATION).T
    moves = normal * np.sqrt(3.0 / rng.chisquare(5.0, size=(len(dates), 1)))
    moves *= np.array(list(WEEKLY_SD.values()))
    walk = np.cumsum(moves, axis=0)
    return pd.DataFrame(
        {
            "silver_usd": 25.0 * np.exp(walk[:, 0]),
            "real_yield_10y": 0.5 + walk[:, 1],
            "dollar_index": 110.0 * np.exp(walk[:, 2]),
            "btc_usd": 100.0 * np.exp(np.cumsum(rng.normal(0.0, RESPONSE_SCALE, len(dates)))),
        },
        index=dates,
    )


def _example_truth(panel: xr.Dataset, effect: float) -> xr.Dataset:
    """True parameters, standardised; effects are elasticities times the ratio of silver's sd to Bitcoin's."""
    elasticity = float(panel[nm.scale_of(nm.SIGNAL)][0]) / RESPONSE_SCALE
    episodes = panel.sizes[nm.EPISODE]
    ladder = np.linspace(0.35, -0.35, episodes)
    return xr.Dataset(
        {
            nm.INTERCEPT: ((nm.RESPONSE, nm.REGIME), [[0.0, 0.0]]),
            nm.CONTEMPORANEOUS: ((nm.RESPONSE, nm.SIGNAL), [[0.2 * elasticity]]),
            nm.CONTROL_EFFECT: ((nm.RESPONSE, nm.CONTROL), [[-0.05, -0.05]]),
            nm.CONTROL_LAGGED_EFFECT: ((nm.RESPONSE, nm.LAGGED_CONTROL), [[0.0, 0.0]]),
            nm.EFFECT: ((nm.SIGNAL,), [effect * elasticity]),
            nm.EFFECT_REGIME: ((nm.SIGNAL, nm.REGIME), [[-0.25 * effect * elasticity, 0.25 * effect * elasticity]]),
            nm.EFFECT_EPISODE: ((nm.SIGNAL, nm.EPISODE), np.zeros((1, episodes))),
            nm.LOG_SCALE: ((nm.RESPONSE,), [np.log(0.7)]),
            nm.LOG_SCALE_GAP: ((nm.GAP,), [0.9]),
            nm.LOG_SCALE_EPISODE: ((nm.RESPONSE, nm.EPISODE), ladder[None, :]),
            nm.TAIL: ((), 6.0),
            nm.STAY: ((nm.REGIME,), np.log([24.0, 11.0])),
            nm.DRIVER_EFFECT: ((nm.DRIVER, nm.REGIME), [[-0.7, 0.7], [-0.5, 0.5]]),
            nm.lag_parameter("silver", "location"): ((), 8.0),
            nm.lag_parameter("silver", "spread"): ((), 3.0),
            **{
                nm.lag_parameter(nm.control_label(control), name): ((), value)
                for control in panel[nm.CONTROL].to_numpy()
                for name, value in (("location", 9.0), ("spread", 4.0))
            },
        }
    )


@overload
def example_panel(*, effect: float = ..., random_seed: int = ..., as_frame: Literal[False] = ...) -> xr.Dataset: ...
@overload
def example_panel(*, effect: float = ..., random_seed: int = ..., as_frame: Literal[True]) -> pd.DataFrame: ...
def example_panel(*, effect: float = 2.5, random_seed: int = 1, as_frame: bool = False) -> xr.Dataset | pd.DataFrame:
    """Simulate a panel of the baseline model with known truth; it contains no market data.

    Volatilities, correlations and persistence are those of the real weekly data from 2013 on. The lagged effect is
    deliberately large: in panels of this length the verdict claims an elasticity of 0.5 in 14 % of samples, and one of
    1.2 in about 80 %.

    Parameters
    ----------
    effect : float
        True cumulative lagged effect, averaged over regimes, in per cent of Bitcoin per per cent of silver.
    random_seed : int
        Seed.
    as_frame : bool
        Whether to return the weekly levels of the panel, to which any model of these columns can be fitted: a DataFrame
        (date, column) of ``silver_usd``, ``real_yield_10y``, ``dollar_index`` and ``btc_usd``.

    Returns
    -------
    xarray.Dataset or pandas.DataFrame
        A panel with `regime_path` (time). ``attrs["truth"]`` has the true values as JSON: ``effect`` (elasticity),
        ``contemporaneous`` (elasticity), ``mean_lag`` (weeks), ``scale`` of each regime in the mean episode (log return
        per week), ``driver_effect``, the change in the log odds of turbulent against calm for one standard deviation of
        each driver, and ``expected_duration`` of each regime with the drivers at their mean (weeks).
    """
    if not isinstance(as_frame, bool):
        raise FitError(
            "an example panel", "as_frame is True or False", f"as_frame = {as_frame!r}", "write as_frame=True"
        )
    spec = read_spec("btc_silver")
    frame, path, truth = _simulated_example(effect, random_seed)
    if as_frame:
        return frame
    panel = make_panel(spec, frame, start="2013-01-01")
    panel[nm.REGIME_PATH] = path
    panel.attrs |= {"origin": f"example, {SIMULATED}", "truth": json.dumps(_natural_truth(spec, truth, effect))}
    return panel


def _simulated_example(effect: float, random_seed: int) -> tuple[pd.DataFrame, xr.DataArray, xr.Dataset]:
    """Levels, the regime path (time) and the true parameters."""
    asked = "the example"
    if not is_number(effect):
        raise FitError(asked, "effect is a finite number", f"effect = {effect!r}", "write effect=2.5")
    effect = float(effect)
    seed = whole(FitError, asked, "random_seed", random_seed, "write random_seed=1", least=0, most=None)
    rng = np.random.default_rng(seed)
    spec = read_spec("btc_silver")
    frame = _example_frame(rng)
    draft = make_panel(spec, frame, start="2013-01-01")
    truth = _example_truth(draft, effect)
    simulated = simulate(spec, draft, parameters=truth, random_seed=int(rng.integers(2**31)))
    returns = RESPONSE_CENTER + RESPONSE_SCALE * simulated[nm.RESPONSE_VALUE].to_series().droplevel(nm.RESPONSE)
    frame["btc_usd"] = 100.0 * np.exp(returns.reindex(frame.index, fill_value=0.0).cumsum())
    # No price before the row of the first return: a constant price is refused.
    frame["btc_usd"] = frame["btc_usd"].where(frame.index >= returns.index[0] - pd.Timedelta(weeks=1))
    return frame, simulated[nm.REGIME_PATH], truth


def _natural_truth(spec: ModelSpec, truth: xr.Dataset, effect: float) -> dict[str, float | list[float]]:
    kernel = spec.lagged_signals[0].kernel
    parameters = {name: truth[nm.lag_parameter("silver", name)].to_numpy() for name in kernel.priors(spec.max_lag)}
    weights = kernel.weights(parameters, spec.max_lag)
    gap = float(truth[nm.LOG_SCALE_GAP][0])
    scale = RESPONSE_SCALE * np.exp(float(truth[nm.LOG_SCALE][0]) + np.array([-gap / 2, gap / 2]))
    return {
        "effect": float(effect),
        "contemporaneous": 0.2,
        "mean_lag": float(weights @ np.arange(1, spec.max_lag + 1)),
        "scale": scale.tolist(),
        "driver_effect": np.diff(truth[nm.DRIVER_EFFECT].to_numpy(), axis=1)[:, 0].tolist(),
        "expected_duration": (1.0 + np.exp(truth[nm.STAY].to_numpy())).tolist(),
    }
