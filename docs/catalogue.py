"""The API reference: the public names of ``regimelag`` and of its namespaces, in the order of a study, one page each.

Which group a name of the root belongs to follows from the module it comes from, so that a new name finds its place by
itself. A module that no group claims is an error. Each namespace is a group.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "regimelag"

# Title, what it is for, and what claims a name: a part of the package, a module, or the name itself. The first group
# that claims a name has it; within a group names are in the order of its claims, and of the stub under one claim.
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Models of your own",
        "The likelihood alone, the sampler alone, and the way from your own draws to a fit.",
        ("model.build", "as_fit", "sample", "likelihood"),
    ),
    (
        "Spec",
        "The model: responses, signals with their kernels, drivers, controls, regimes, priors.",
        ("spec.toml", "spec.model_spec", "spec.series", "spec.parts", "spec"),
    ),
    (
        "Data",
        "From files, data frames, FRED and markets to a panel; panels simulated from the model.",
        ("panel.read", "fetch", "panel.make", "panel", "model.simulate"),
    ),
    (
        "Fit",
        "From spec and panel to draws, with diagnostics of the sampler.",
        ("sampling.fit", "sampling.sampler", "sampling.diagnostics", "sampling.io", "sampling"),
    ),
    (
        "Results",
        "Readings of a fit: labelled draws and tables.",
        ("results.lag_report", "results.lags", "results.regimes", "results.modes", "results"),
    ),
    (
        "Evaluation",
        "Comparison of models, robustness of a claim about a lag, and scored forecasts.",
        ("evaluation.robustness", "evaluation.comparison", "evaluation"),
    ),
    ("Report", "A fit on a page, and how to cite.", ("reporting",)),
    ("regimelag.evaluation", "Calibration, stacking, scores, and lead and lag without a model.", ()),
    ("regimelag.plots", "Figures: each takes what a reading or a study returns and gives matplotlib axes back.", ()),
    ("regimelag.model", "The model in PyMC: data for `pymc.set_data`, and hidden Markov models of your own.", ()),
    ("regimelag.spec", "Parts of a spec: regimes, episodes, indicators.", ()),
    ("regimelag.results", "More readings of a fit: drivers, states, regime paths and durations, volatility.", ()),
    ("regimelag.kernels", "Lag kernels, and the base class of a kernel of your own.", ()),
    ("regimelag.errors", "Each error says what was asked, the rule, what came, and the cure.", ("errors",)),
)
ORDER = (
    *("Spec", "Data", "Fit", "Results", "Evaluation", "Report", "Models of your own"),
    *("regimelag.spec", "regimelag.kernels", "regimelag.results", "regimelag.evaluation", "regimelag.plots"),
    *("regimelag.model", "regimelag.errors"),
)


def public_names() -> dict[str, str]:
    """Module (dotted, without the package) by public name; the namespace, if the name is in one: ``plots.plot_lag``."""
    body = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8")).body
    imports = [node for node in body if isinstance(node, ast.ImportFrom)]
    found = {alias.name: node.module for node in imports if node.module for alias in node.names}
    for space in [alias.name for node in imports if not node.module for alias in node.names]:
        found |= {f"{space}.{name}": space for name in _listed(space) if name not in found}
    return found


def _listed(space: str) -> list[str]:
    """Classes and functions of a namespace: those in ``__all__``, or all classes of a module that has none."""
    stub, module = PACKAGE / space / "__init__.pyi", PACKAGE / f"{space}.py"
    body = ast.parse((stub if stub.exists() else module).read_text(encoding="utf-8")).body
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            # A constant, in capitals, has no docstring of its own.
            return [name for name in ast.literal_eval(node.value) if not name.isupper()]
    return [node.name for node in body if isinstance(node, ast.ClassDef)]


def place_of(name: str, module: str) -> tuple[int, int]:
    """Where a name stands: its group in the order shown, and the claim within the group."""
    if name.startswith(f"{module}."):
        return ORDER.index(f"regimelag.{module}"), 0
    for title, _, claims in GROUPS:
        for rank, claim in enumerate(claims):
            if claim in (name, module) or module.startswith(f"{claim}."):
                return ORDER.index(title), rank
    raise ValueError(f"no group of docs/catalogue.py claims {name}, from {module}: add its module to GROUPS")


def grouped() -> dict[str, list[str]]:
    """Public names by title of their group, both in the order in which they are shown."""
    places = {name: place_of(name, module) for name, module in public_names().items()}
    found: dict[str, list[str]] = {}
    for name in sorted(places, key=lambda name: places[name]):
        found.setdefault(ORDER[places[name][0]], []).append(name)
    return found


def write(folder: Path) -> None:
    """Write the reference's front page; autosummary makes a page for each name on it."""
    about = {title: sentence for title, sentence, _ in GROUPS}
    parts = ["# API reference\n\nEvery public name, `import regimelag as rl` understood.\n"]
    for title, names in grouped().items():
        listed = "\n".join(f"   {name}" for name in names)
        parts.append(
            f"## {title}\n\n{about[title]}\n\n```{{eval-rst}}\n.. currentmodule:: regimelag\n\n"
            f".. autosummary::\n   :toctree: generated\n   :nosignatures:\n\n{listed}\n```\n"
        )
    generated = folder / "generated"
    generated.mkdir(parents=True, exist_ok=True)
    known = {f"regimelag.{name}.rst" for name in public_names()}
    for stale in generated.glob("*.rst"):
        if stale.name not in known:
            stale.unlink()
    text = "\n".join(parts)
    page = folder / "index.md"
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")
