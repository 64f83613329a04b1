"""A model of one's own in which five regimes back matter: Hamilton's (1989) AR(4) of US output growth.

Growth deviates from a mean that switches, and the deviations follow an AR(4), so the density of a quarter depends on
its regime and on the four before it. A chain whose regimes are paths of five has the Markov property again, and
`regimelag.markov_loglik` takes it as it is: steps that contradict a path are forbidden by ``-inf``. The data come with
statsmodels. The default run evaluates at the published maximum; with `--draws` it samples as well:

    python examples/hamilton.py --draws 500

Hamilton, J. D. (1989), doi:10.2307/1912559.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import itertools
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

import regimelag as rl

SOURCE = "statsmodels.tsa.regime_switching.tests.test_markov_autoregression"
ORDER = 4
# Maximum likelihood as statsmodels' tests have it from EViews; regime 0 is recession.
PUBLISHED = {
    "transition": np.array([[0.754673, 1 - 0.754673], [0.095915, 1 - 0.095915]]),
    "mean": np.array([-0.358811, 1.163516]),
    "sigma": np.exp(-0.262658),
    "phi": np.array([0.013486, -0.057521, -0.246983, -0.212923]),
}


def output_growth() -> np.ndarray:
    """Quarterly growth of US real GNP from 1951, in per cent."""
    text = Path(importlib.util.find_spec(SOURCE).origin).read_text(encoding="utf-8")
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "rgnp":
            return np.array(ast.literal_eval(statement.value), dtype=float)
    raise LookupError(f"{SOURCE} has no rgnp")


def paths_of(count: int, order: int) -> np.ndarray:
    """All paths (path, back) of a regime and the `order` before it; the newest comes first."""
    return np.array(list(itertools.product(range(count), repeat=order + 1)))


def follows(paths: np.ndarray) -> np.ndarray:
    """Log of whether a path can follow a path (origin, destination): what they share must agree."""
    agree = (paths[:, None, :-1] == paths[None, :, 1:]).all(axis=-1)
    return np.where(agree, 0.0, -np.inf)


def log_density(y, paths, *, mean, sigma, phi):
    """Normal log density (time, path) of each row after the first `order`, in deviations from the path's means."""
    order = paths.shape[1] - 1
    deviation = [y[order - back : len(y) - back, None] - mean[paths[:, back]][None, :] for back in range(order + 1)]
    error = deviation[0]
    for back in range(1, order + 1):
        weight = phi[back - 1]
        # A coefficient may switch: it is then that of the path's newest regime.
        error = error - (weight if weight.ndim == 0 else weight[paths[:, 0]][None, :]) * deviation[back]
    return -0.5 * (error / sigma) ** 2 - pt.log(sigma) - 0.5 * np.log(2 * np.pi)


def stationary(transition):
    """The distribution pi with pi (I - P + 1) = 1, where 1 is the matrix of ones."""
    count = transition.type.shape[-1]
    return pt.linalg.solve((np.eye(count) - transition + 1.0).T, np.ones(count))


def chain_of_paths(y, *, transition, mean, sigma, phi):
    """What `markov_loglik` takes: log densities (time, path), logits of paths, and log weights of the first path.

    `transition` is (origin, destination), or (row, origin, destination) where row t leads from t - 1 to t, as in
    Filardo's (1994) model, doi:10.1080/07350015.1994.10524545. The first row has the stationary distribution of the
    first matrix.
    """
    transition, mean, phi = map(pt.as_tensor_variable, (transition, mean, phi))
    order, count = phi.type.shape[0], mean.type.shape[0]
    moving = transition.type.ndim > 2
    paths, log_p = paths_of(count, order), pt.log(transition)
    log_init = pt.log(stationary(transition[0] if moving else transition))[paths[:, -1]]
    for back in range(order):
        step = log_p[order - back] if moving else log_p
        log_init = log_init + step[paths[:, back + 1], paths[:, back]]
    steps = log_p[order + 1 :] if moving else log_p
    logits = steps[..., paths[:, :1], paths[:, 0]] + follows(paths)
    return log_density(y, paths, mean=mean, sigma=sigma, phi=phi), logits, log_init


def loglik(y, **parameters):
    """Log-likelihood with all paths marginalised, given the first `order` rows."""
    return rl.markov_loglik(*chain_of_paths(y, **parameters))


def build(y: np.ndarray) -> pm.Model:
    """The model under mild priors, with the regimes ordered by their mean."""
    regimes = ["recession", "expansion"]
    coords = {"regime": regimes, "origin": regimes, "destination": regimes, "back": range(1, ORDER + 1)}
    with pm.Model(coords=coords) as model:
        transition = pm.Dirichlet("transition", np.ones((2, 2)), dims=("origin", "destination"))
        mean = pm.Normal("mean", 0.0, 2.0, dims="regime", transform=pm.distributions.transforms.ordered)
        sigma = pm.HalfNormal("sigma", 1.0)
        phi = pm.Normal("phi", 0.0, 0.5, dims="back")
        # Named dimensions may grow, so their sizes are not in a variable's type; the chain of paths needs them.
        shaped = {
            "transition": pt.specify_shape(transition, (2, 2)),
            "mean": pt.specify_shape(mean, (2,)),
            "phi": pt.specify_shape(phi, (ORDER,)),
        }
        pm.Potential("likelihood", loglik(y, sigma=sigma, **shaped))
    return model


def draw(y: np.ndarray, file: Path) -> None:
    """The log-likelihood along the mean growth in expansions, all else as published."""
    recession, expansion = PUBLISHED["mean"]
    value = pt.dscalar()
    along = pytensor.function(
        [value], loglik(y, **(PUBLISHED | {"mean": pt.stack([recession, value])})), mode="FAST_COMPILE"
    )
    means = np.linspace(expansion - 0.5, expansion + 0.5, 41)
    with rl.plots.style("column"):
        figure, ax = plt.subplots(figsize=(3.45, 2.4), layout="constrained")
        ax.plot(means, [float(along(mean)) for mean in means])
        ax.axvline(expansion, color="black", linewidth=0.8, linestyle="--")
        ax.text(expansion, 0.05, " published maximum", transform=ax.get_xaxis_transform())
        ax.set(xlabel="mean growth in expansions, % per quarter", ylabel="log-likelihood, nats")
        figure.savefig(file)


def main() -> None:
    """Evaluate, draw, and sample if asked to."""
    mpl.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", metavar="DIR", default="out/hamilton", help="folder of the figure (%(default)s)")
    arguments = parser.parse_args()
    y = output_growth()
    found = float(loglik(y, **PUBLISHED).eval(mode="FAST_COMPILE"))
    print(f"log-likelihood at the published maximum: {found:.5f}; published: -181.26339")
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    draw(y, out / "hamilton.png")
    print(f"Log-likelihood around the published maximum: {out / 'hamilton.png'}")
    if arguments.draws:
        counts = {"draws": arguments.draws, "tune": arguments.draws, "chains": arguments.chains}
        idata = rl.sample(build(y), **counts, random_seed=arguments.seed)
        print(idata["posterior"].to_dataset().mean(("chain", "draw")), rl.modes(idata), sep="\n")
        print(*rl.diagnostics(idata), sep="\n")


if __name__ == "__main__":
    main()
