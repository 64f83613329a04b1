"""The API reference: every name in ``regimelag/__init__.pyi``, in the order of a study, one page each.

Which group a name belongs to follows from the module it comes from, so that a new name finds its place by itself. A
module that no group claims is an error.
"""

from __future__ import annotations

import ast
from pathlib import Path

STUB = Path(__file__).parents[1] / "src" / "regimelag" / "__init__.pyi"

# Title, what it is for, and what claims a name: a part of the package, a module, or the name itself. The first group
# that claims a name has it; within a group names are in the order of its claims, and of the stub under one claim.
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Models of your own",
        "The likelihood alone, the sampler alone, and the road from your own draws to a fit.",
        ("model.build", "as_fit", "sample", "likelihood"),
    ),
    ("Figures", "Each takes what a reading or a judgement returns, and gives matplotlib axes back.", ("plot_*",)),
    (
        "Spec",
        "What the model is: responses, signals with their kernels, drivers, controls, regimes, priors.",
        ("spec.toml", "spec"),
    ),
    (
        "Data",
        "From files, data frames, FRED and markets to a panel; panels simulated from the model.",
        ("panel.read", "fetch.fred", "fetch.market", "panel.make", "panel.rows", "panel", "model.simulate"),
    ),
    (
        "Fit",
        "From spec and panel to draws, and whether to believe the sampler.",
        ("sampling.fit", "sampling.diagnostics", "sampling.io", "sampling"),
    ),
    (
        "Reading",
        "What a fit says, as labelled draws and tables.",
        ("results.lag_report", "results.lags", "results.regimes", "results.modes", "results"),
    ),
    (
        "Judging",
        "What the readings are worth.",
        ("evaluation.robustness", "evaluation.comparison", "evaluation"),
    ),
    ("Report", "What leaves the house: a fit on a page, and how to cite.", ("reporting",)),
    ("Errors", "Each says what was asked, the rule, what came, and the cure.", ("errors",)),
)
ORDER = ("Spec", "Data", "Fit", "Reading", "Judging", "Report", "Figures", "Models of your own", "Errors")


def public_names() -> dict[str, str]:
    """Module (dotted, without the package) by public name, as the stub imports them."""
    body = ast.parse(STUB.read_text(encoding="utf-8")).body
    imports = [node for node in body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def place_of(name: str, module: str) -> tuple[int, int]:
    """Where a name stands: its group in the order shown, and the claim within the group."""
    for title, _, claims in GROUPS:
        for rank, claim in enumerate(claims):
            begins = claim.endswith("*") and name.startswith(claim[:-1])
            if begins or claim in (name, module) or module.startswith(f"{claim}."):
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
