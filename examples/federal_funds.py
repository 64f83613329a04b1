"""A posterior with many modes: the federal funds rate with three regimes, in a PyMC model of one's own.

The rate follows its own lag, the output gap and inflation, with coefficients that switch between three regimes and one
residual scale: Stata's example for `mswitch`, in statsmodels' tests, whose published log-likelihood, -189.89, is not
the maximum. The data come with statsmodels. docs/modes.md reads what this prints:

    python examples/federal_funds.py --starts 60
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import textwrap
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

import regimelag as rl
from regimelag.likelihood.hmm_draws import filter_forward_draws

SOURCE = "statsmodels.tsa.regime_switching.tests.test_markov_regression"
TERMS = ["constant", "lag", "gap", "inflation"]


def federal_funds() -> tuple[np.ndarray, np.ndarray]:
    """The rate (quarter) and its regressors (quarter, term), in per cent, as statsmodels' tests hold them."""
    text = Path(importlib.util.find_spec(SOURCE).origin).read_text(encoding="utf-8")
    series = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") in ("fedfunds", "ogap", "inf"):
            literal = ast.get_source_segment(text, statement.value).replace("np.nan", "None")
            series[statement.targets[0].id] = np.array(ast.literal_eval(literal), dtype=float)
    rate, gap, inflation = series["fedfunds"], series["ogap"], series["inf"]
    return rate[4:], np.column_stack([np.ones(len(rate) - 4), rate[3:-1], gap[4:], inflation[4:]])


def build(rate: np.ndarray, regressors: np.ndarray, *, count: int = 3) -> pm.Model:
    """The model: regimes ordered by their constant, so that their names mean something; weak priors."""
    regimes = ["low", "middle", "high"] if count == 3 else [f"regime {k}" for k in range(count)]
    coords = {"regime": regimes, "origin": regimes, "destination": regimes}
    with pm.Model(coords=coords) as model:
        transition = pm.Dirichlet("transition", np.ones((count, count)), dims=("origin", "destination"))
        coefficients = [
            pm.Normal("constant", 0.0, 2.0, dims="regime", transform=pm.distributions.transforms.ordered),
            pm.Normal("lag", 1.0, 1.0, dims="regime"),
            pm.Normal("gap", 0.0, 1.0, dims="regime"),
            pm.Normal("inflation", 0.0, 1.0, dims="regime"),
        ]
        sigma = pm.HalfNormal("sigma", 1.0)
        location = sum(b * x[:, None] for b, x in zip(coefficients, regressors.T, strict=True))
        log_obs = -0.5 * ((rate[:, None] - location) / sigma) ** 2 - pt.log(sigma) - 0.5 * np.log(2 * np.pi)
        # The first quarter has the stationary distribution pi: pi (I - P + 1) = 1, with 1 the matrix of ones.
        initial = pt.linalg.solve((np.eye(count) - transition + 1.0).T, np.ones(count))
        loglik = rl.markov_loglik(log_obs, pt.log(transition), pt.log(initial))
        pm.Potential("likelihood", loglik)
        # Kept per draw, and at each mode in the catalogue.
        pm.Deterministic("loglik", loglik)
    return model


def predictive_terms(posterior: xr.Dataset, rate: np.ndarray, regressors: np.ndarray) -> xr.Dataset:
    """Log p(y_t | y_<t) of each draw (chain, draw, quarter).

    The response's past is a regressor, so the exact leave-one-out density is not at hand; these terms sum to the
    log-likelihood, and leaving one out means to learn the parameters without that quarter's prediction.
    """
    flat = {name: posterior[name].to_numpy() for name in (*TERMS, "sigma", "transition")}
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in flat.items()}
    coefficients = np.stack([flat[name] for name in TERMS], axis=-1)
    scale = flat["sigma"][:, None, None]
    error = rate[None, :, None] - np.einsum("dkp,tp->dtk", coefficients, regressors)
    log_obs = -0.5 * (error / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    transition = flat["transition"]
    count = transition.shape[-1]
    ones = np.ones((len(transition), count, 1))
    initial = np.linalg.solve((np.eye(count) - transition + 1.0).transpose(0, 2, 1), ones)[..., 0]
    terms = filter_forward_draws(log_obs, np.log(transition)[:, None], np.log(initial))[2]
    sample = {dim: posterior[dim] for dim in ("chain", "draw")}
    shape = (*(len(coord) for coord in sample.values()), len(rate))
    return xr.Dataset({"rate": ((*sample, "quarter"), terms.reshape(shape))}, coords=sample)


def main() -> None:
    """Search, sample, and print what there is to read about modes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=24)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", metavar="DIR", default="out/federal_funds", help="folder of the figure (%(default)s)")
    arguments = parser.parse_args()
    mpl.use("Agg")

    data = federal_funds()
    began = time.perf_counter()
    idata = rl.sample(
        build(*data),
        starts=arguments.starts,
        draws=arguments.draws,
        tune=arguments.draws,
        chains=arguments.chains,
        random_seed=arguments.seed,
    )
    print(f"Compiled, searched and sampled in {time.perf_counter() - began:.0f} s.\n")
    table = rl.modes(idata)
    print(table)
    likelihoods = ", ".join(f"{value:.2f}" for value in idata["modes"]["loglik"].to_numpy())
    print("", *textwrap.wrap(f"Log-likelihood at each mode: {likelihoods}", 100), sep="\n")
    print("", rl.sentences(idata), sep="\n")
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    rl.plots.plot_modes(table).figure.savefig(out / "federal_funds.png")
    print(f"\nThe weight of each mode beside its share of the draws: {out / 'federal_funds.png'}")

    runs = idata["within_mode" if "within_mode" in idata.children else "posterior"].to_dataset()
    idata["log_likelihood"] = xr.DataTree(predictive_terms(runs, *data))
    stacking = rl.evaluation.stack_chains(idata)
    print("", stacking[["member_of", "weight"]].to_dataframe().round(3), sep="\n")
    print(stacking[["cluster_weight", "elpd", "elpd_difference", "difference_se"]].to_dataframe().round(3))
    print(*textwrap.wrap(f"Leave-one-out: {'; '.join(map(str, stacking['reliability'].to_numpy()))}", 100), sep="\n")
    print("", rl.sentences(rl.evaluation.stacked_posterior(idata, stacking)), sep="\n")


if __name__ == "__main__":
    main()
