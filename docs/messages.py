"""Texts that the package prints, from its source: errors by rule and cure, notes and warnings as templates.

``write`` makes the reference's page of errors; ``templates`` is what ``tests/project/test_messages.py`` holds the
glossary ``docs/messages.md`` against.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "src" / "regimelag"
# Modules whose sentences are notes, warnings, diagnostics or verdicts.
SPEAKERS = {
    "evaluation/comparison/claims.py",
    "evaluation/comparison/compare.py",
    "evaluation/comparison/elpd_difference.py",
    "evaluation/comparison/leave_future_out.py",
    "evaluation/comparison/pointwise_log_likelihood.py",
    "evaluation/comparison/regime_numbers.py",
    "evaluation/comparison/screen.py",
    "evaluation/forecasting/forecast_scores.py",
    "evaluation/forecasting/impulse.py",
    "evaluation/forecasting/out_of_sample.py",
    "evaluation/parallel_runs.py",
    "evaluation/robustness/cross_check.py",
    "evaluation/robustness/summary.py",
    "fetch/common.py",
    "fetch/fred.py",
    "fetch/market.py",
    "panel/asynchronous_closes.py",
    "panel/dates.py",
    "panel/extrapolation.py",
    "panel/newer.py",
    "panel/notes.py",
    "panel/outliers.py",
    "panel/periods.py",
    "panel/read.py",
    "panel/vintages.py",
    "results/drivers.py",
    "results/lag_report.py",
    "results/model_checks.py",
    "results/persistence.py",
    "results/regime_words.py",
    "results/states.py",
    "results/verdict.py",
    "sampling/diagnostics.py",
    "sampling/verify.py",
}
RAISED = {"require", "SpecError", "PanelError", "FetchError", "FitError", "problem", "refuse"}
CLASSES = {"require": "SpecError"}
ERRORS = """# All errors

Every error by its class, with the rule that was broken and the cure; … stands for a value. [](../messages.md) explains
notes, warnings and diagnostics.
"""
# A sentence has this many words at least.
WORDS = 4


class Failure(NamedTuple):
    """An error of the package: class, module, rule and cure, values left out."""

    kind: str
    module: str
    rule: str
    cure: str


def text_of(node: ast.expr | None) -> str:
    """Text of a string expression, with an ellipsis for each value; an ellipsis for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return text_of(node.body)
    return "…"


@lru_cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """Path within the package and syntax tree of every module."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return tuple((str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def failures() -> list[Failure]:
    """Every error with its rule and cure, where the source states them as texts."""
    found = []
    for module, tree in trees():
        for scope in ast.walk(tree):
            if not isinstance(scope, (ast.FunctionDef, ast.Module)):
                continue
            named = _assigned(scope)
            for node in _own_nodes(scope):
                if isinstance(node, ast.Call) and (kind := _called(node)) in RAISED:
                    # require(condition, asked, rule, came, cure), and Error(asked, rule, came, cure).
                    places = (2, 4) if kind == "require" else (1, 3)
                    if len(node.args) > places[1]:
                        rule, cure = (_resolved(node.args[place], named) for place in places)
                        found.append(Failure(CLASSES.get(kind, kind), module, rule, cure))
    return found


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _own_nodes(scope: ast.FunctionDef | ast.Module) -> Iterator[ast.AST]:
    """Nodes of a scope that are in no function within it."""
    ahead = list(ast.iter_child_nodes(scope))
    while ahead:
        node = ahead.pop()
        if not isinstance(node, ast.FunctionDef):
            yield node
            ahead.extend(ast.iter_child_nodes(node))


def _assigned(scope: ast.FunctionDef | ast.Module) -> dict[str, str]:
    """First text that each name of a scope is given."""
    named: dict[str, str] = {}
    for node in _own_nodes(scope):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = zip(target.elts, value.elts, strict=False) if _both_tuples(target, value) else [(target, value)]
            for name, one in pairs:
                if isinstance(name, ast.Name):
                    named.setdefault(name.id, text_of(one))
    return named


def _both_tuples(target: ast.expr, value: ast.expr) -> bool:
    return isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)


def _resolved(node: ast.expr, named: dict[str, str]) -> str:
    return named.get(node.id, "…") if isinstance(node, ast.Name) else text_of(node)


def templates() -> dict[str, list[str]]:
    """Sentences of the modules that print notes, warnings and diagnostics, and every text of a warning, by module."""
    found: dict[str, list[str]] = {}
    for module, tree in trees():
        warned = [node.args[0] for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) == "warn"]
        texts = [text_of(one) for one in warned if isinstance(one, (ast.Constant, ast.JoinedStr))]
        texts = [one for one in texts if re.search(r"\w", one)]
        if module in SPEAKERS:
            texts += [text_of(one) for one in _sentence_nodes(tree)]
        if texts:
            found[module] = list(dict.fromkeys(texts))
    return found


def _sentence_nodes(tree: ast.Module) -> Iterator[ast.expr]:
    """Texts that end a sentence, docstrings and errors left out."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in RAISED:
            skipped |= {id(one) for one in ast.walk(node)}
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            skipped |= {id(one) for one in ast.walk(node.body[0])}
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(one) for one in ast.walk(node)} - {id(node)}
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, (ast.Constant, ast.JoinedStr)):
            continue
        said = text_of(node).strip()
        sentence = re.search(r"[.:](?: |$)", said) and said[-1] in ".…" and not said[0].islower()
        if sentence and len(re.findall(r"\w+", said)) >= WORDS:
            yield node


def write(folder: Path) -> None:
    """Write the page of errors: what each of them asks for and its cure, by class."""
    about = {
        "SpecError": "A model spec is wrong: a key, a value, or a combination of both.",
        "PanelError": "The data are wrong, or do not fit the spec.",
        "FetchError": "Data cannot be fetched from their source.",
        "FitError": "A fit, or a request of a fit, is wrong.",
    }
    parts = [ERRORS]
    every = sorted({(one.kind, one.rule, one.cure) for one in failures() if one.rule.strip("… ")})
    for kind, sentence in about.items():
        rows = "\n".join(f"| {_cell(rule)} | {_cell(cure)} |" for own, rule, cure in every if own == kind)
        parts.append(f"## {kind}\n\n{sentence}\n\n| rule | cure |\n|---|---|\n{rows}\n")
    folder.mkdir(parents=True, exist_ok=True)
    page, text = folder / "errors.md", "\n".join(parts)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def _cell(text: str) -> str:
    """Text in a cell of a table, free of Markdown's own characters."""
    return re.sub(r"([\\`*_{}\[\]<>|$])", r"\\\1", " ".join(text.split())) or "…"
