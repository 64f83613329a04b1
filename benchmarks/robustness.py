"""Count how often a claim survives the checks of `regimelag.robustness`, where it is true and where it is false.

    python benchmarks/robustness.py --data btc_silver_weekly.csv --panels 100 --out out/robustness

Panels are those of `false_claims.py`: *elasticity 1.5*, the response follows silver with a cumulative elasticity of 1.5
at a mean lag of 7 weeks; *late dollar*, it follows the dollar weeks late, and silver within the week alone. The model
is fitted to each. Where it claims a lagged response, in a fit whose verdict is not withheld, the checks are made too,
and a check's rate is the share of these claims that survive it. Each finished panel is a file, so a study that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from false_claims import BLOCK, CASES, MODELS, data_of, share, with_data

import regimelag as rl
from regimelag.evaluation.parallel_runs import ERROR, code_hash, run_all
from regimelag.evaluation.robustness.plan import plan_checks
from regimelag.evaluation.robustness.refit import refit
from regimelag.evaluation.robustness.robustness import line_of
from regimelag.evaluation.robustness.summary import KEPT, LOST, NOT_TRIED, RIVAL, SURVIVED, add_findings
from regimelag.results.decision import decision_threshold

TRUE, FALSE = "elasticity 1.5", "late dollar"
SIGNAL = "silver"
# Probabilities of the sign that a rival might have to leave.
LIMITS = (0.9, KEPT, decision_threshold())


def one_panel(
    data: str | None, panels: int, model: str, settings: dict[str, Any], random_seed: int, number: int
) -> dict[str, Any]:
    """Make a panel, fit the model, and make the checks if it claims a lagged response."""
    place, own = divmod(number, BLOCK)
    seeds = [int(seed) for seed in np.random.SeedSequence([random_seed, place, own]).generate_state(2)]
    spec, _ = with_data(data, model)
    sampler = rl.Sampler(**settings)
    base, *others = plan_checks(spec, data_of(data, CASES[place], own, panels, model, seeds[0]), SIGNAL)
    found = {base.task: refit(base.task, sampler, seeds[1])}
    result = found[base.task]
    sure = max(result["positive"], 1 - result["positive"]) >= decision_threshold()
    if not sure or result["withheld"]:
        return {"claimed": False, "withheld": result["withheld"], "positive": result["positive"]}
    found |= {one.task: refit(one.task, sampler, seeds[1] + n) for n, one in enumerate(others, 1) if one.task}
    return {"claimed": True, "lines": [line_of(check, found) for check in (base, *others)]}


def checked(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The table of a panel, with outcomes."""
    table = pd.DataFrame(lines)
    table.attrs |= {"signal": SIGNAL, "response": "response", "threshold": decision_threshold()}
    return add_findings(table)


def table_of(found: dict[int, dict[str, Any]]) -> pd.DataFrame:
    """A row a check, a column a case: the share of claims that survive, with its 95 % interval (Clopper & Pearson)."""
    columns = {}
    for case in (TRUE, FALSE):
        results = [one for number, one in found.items() if CASES[number // BLOCK] == case and ERROR not in one]
        tables = [checked(one["lines"]) for one in results if one["claimed"]]
        rates = {"claims, of all panels": _count(len(tables), len(results))}
        for check in list(dict.fromkeys(name for table in tables for name in table["check"])):
            outcomes = [table.set_index("check")["outcome"].get(check, NOT_TRIED) for table in tables]
            tried = [outcome for outcome in outcomes if outcome in (SURVIVED, LOST)]
            rates[check] = _count(tried.count(SURVIVED), len(tried))
        rates["all that decide"] = _count(sum(table.attrs["survives"] for table in tables), len(tables))
        for limit in LIMITS:
            kept = sum(bool((_signs(table) >= limit).all()) for table in tables)
            rates[f"all rivals, sign kept at {limit:g}"] = _count(kept, len(tables))
        columns[case] = rates
    return pd.DataFrame(columns).rename_axis("check").reset_index()


def _count(count: int, of: int) -> str:
    return f"{count} of {of}: {share(count, of)}"


def _signs(table: pd.DataFrame) -> pd.Series:
    """Probability of the baseline's sign with each rival that was tried."""
    positive = table["P(> 0)"].iloc[0] > 1 - table["P(> 0)"].iloc[0]
    rivals = table.loc[table["kind"] == RIVAL, "P(> 0)"].dropna()
    return rivals if positive else 1 - rivals


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="a weekly panel with the baseline model's columns")
    parser.add_argument("--panels", type=int, default=100, help="of each case (%(default)s)")
    parser.add_argument("--model", choices=MODELS, default="no_late_macro")
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--tune", type=int, default=250)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("out/robustness"))
    options = parser.parse_args()
    # In turns, so that a study that is stopped has some of both.
    numbers = [BLOCK * CASES.index(case) + n for n in range(options.panels) for case in (FALSE, TRUE)]
    fit = {name: getattr(options, name) for name in ("draws", "tune", "chains")}
    fit |= {"cores": 1, "starts": 2, "target_accept": 0.9}
    settings = {"study": "operating characteristics of robustness", "seed": options.seed, "fit": fit}
    settings |= {"model": options.model, "code": code_hash(), "script": Path(__file__).read_text(encoding="utf-8")}
    settings |= {"data": Path(options.data).name if options.data else None}
    work = partial(one_panel, options.data, options.panels, options.model, fit, options.seed)
    found = run_all(work, numbers, settings=json.loads(json.dumps(settings)), folder=options.out)
    table = table_of(found)
    print("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
