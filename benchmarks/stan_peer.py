"""Stan in an environment of its own: the other benchmarks ask with JSON, this file answers with JSON.

pystan needs Python 3.11 at most, a C++ compiler and a minute for its first build, which it keeps in a cache. By hand:

    python -m uv tool run --python 3.11 --from pystan --with "setuptools<80" \
        python benchmarks/stan_peer.py request.json answer.json

A request has ``program``, ``data``, and either ``points`` (log densities without Jacobian) or ``sample`` (settings).
``reference.stan`` has the likelihood twice: as the user's guide would have it, and tuned.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ELAPSED = re.compile(rb"([0-9.]+) seconds \((Warm-up|Sampling)\)")
# pystan imports pkg_resources, which later ones do not have.
OLD_SETUPTOOLS = "setuptools<80"
# This project's packages must not reach the other Python.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")


class NoStanError(RuntimeError):
    """Stan cannot be asked on this machine; the message says why."""


# --- Asking: runs in this project's environment ---------------------------------------------------------------------


def run(command: list[str]) -> subprocess.CompletedProcess:
    """Run a command in this folder, since a version manager may choose by the folder what "python3" is."""
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    return subprocess.run(command, check=False, env=environment, cwd=HERE, capture_output=True, text=True)  # noqa: S603


def find_uv() -> list[str]:
    """The command that starts uv."""
    places = [[os.environ.get("UV", "")], [sys.executable, "-m", "uv"], ["python3", "-m", "uv"], ["uv"]]
    for command in places:
        if not shutil.which(command[0]):
            continue
        if run([*command, "--version"]).returncode == 0:
            return command
    raise NoStanError("uv, which makes the environment of pystan, is not installed")


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """Send a request, wait for the answer."""
    # The environment of a tool keeps its place, by which httpstan finds what it built before.
    peer = ["tool", "run", "--python", "3.11", "--from", "pystan", "--with", OLD_SETUPTOOLS]
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
        question.write_text(json.dumps(request, default=lambda array: array.tolist()))
        done = run([*find_uv(), *peer, "python", str(HERE / "stan_peer.py"), str(question), str(answer)])
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NoStanError(lines[-1])
        return json.loads(answer.read_text())


def stan_request(data: dict[str, np.ndarray], *, tuned: bool, **more: Any) -> dict[str, Any]:
    """The reference problem as a request."""
    sizes = {"T": len(data["y"]), "L": len(data["signal"]) - len(data["y"]), "D": data["drivers"].shape[1]}
    return {"program": (HERE / "reference.stan").read_text(), "data": {**sizes, **data, "tuned": int(tuned)}, **more}


def log_densities(data: dict[str, np.ndarray], points: list[dict[str, np.ndarray]], *, tuned: bool) -> list[float]:
    """Log density without Jacobian at points of the constrained scale."""
    return ask(stan_request(data, tuned=tuned, points=points))["log_densities"]


def sample(data: dict[str, np.ndarray], *, tuned: bool, **settings: Any) -> dict[str, Any]:
    """Draws (chain, draw, ...), seconds by the clock and by Stan's own, leapfrog steps of warm-up and draws."""
    answer = ask(stan_request(data, tuned=tuned, sample=settings))
    answer["draws"] = {name: np.array(values) for name, values in answer["draws"].items()}
    return answer


# --- Answering: runs in pystan's environment ------------------------------------------------------------------------


def main() -> None:
    """Read the request, write the answer."""
    import stan

    request = json.loads(Path(sys.argv[1]).read_text())
    settings = request.get("sample", {})
    model = stan.build(request["program"], data=request["data"], random_seed=settings.pop("seed", 1))
    answer = sampled(model, settings) if settings else {"log_densities": evaluated(model, request["points"])}
    Path(sys.argv[2]).write_text(json.dumps(answer))


def evaluated(model: Any, points: list[dict[str, Any]]) -> list[float]:
    return [model.log_prob(model.unconstrain_pars(point), adjust_transform=False) for point in points]


def sampled(model: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Sample, keeping the warm-up for its leapfrog steps."""
    start, chains, warmup = settings.pop("start"), settings["num_chains"], settings["num_warmup"]
    forget(model)
    begin = time.perf_counter()
    fit = model.sample(init=[start] * chains, save_warmup=True, **settings)
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "seconds_by_stan": [sum(elapsed(output).values()) for output in fit.stan_outputs],
        "leapfrogs": int(fit["n_leapfrog__"].sum()),
        "divergent": int(by_chain(fit["divergent__"], chains)[:, warmup:].sum()),
        "draws": {name: by_chain(fit[name], chains)[:, warmup:].tolist() for name in fit},
    }


def elapsed(output: bytes) -> dict[bytes, float]:
    """Seconds of warm-up and of sampling by Stan's own clock; the output says them more than once."""
    return {phase: float(seconds) for seconds, phase in ELAPSED.findall(output)}


def forget(model: Any) -> None:
    """Drop the fits that httpstan keeps, which would otherwise answer at once for a seed that ran before."""
    import httpstan.cache

    for file in httpstan.cache.model_directory(model.model_name).rglob("*.jsonlines.gz"):
        file.unlink()


def by_chain(values: np.ndarray, chains: int) -> np.ndarray:
    """From pystan's order (..., draw with chains in turn) to (chain, draw, ...)."""
    shape = values.shape[:-1] if values.shape[0] > 1 or values.ndim > 2 else ()
    draws = values.reshape(*shape, -1, chains)
    return np.moveaxis(draws, (-1, -2), (0, 1))


if __name__ == "__main__":
    main()
