"""Make the README's figure and printed answer from the simulated example: ``python docs/readme.py``, a minute.

With ``--fit fit.nc`` the saved fit of the tutorial is used, which is the same one.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import matplotlib as mpl

import regimelag as rl

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "_static" / "lag.png"


def fitted(path: Path | None) -> object:
    """The fit of the tutorial."""
    if path is not None:
        return rl.load_fit(path)
    spec = rl.read_spec("btc_silver")
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True), start="2013-01-01")
    return rl.fit(spec, panel, random_seed=1, progressbar=False)


def answer(idata: object) -> str:
    """The answer of the summary, without its table."""
    return str(rl.summary(idata)).partition("\n\n")[0]


def main() -> None:
    """Write the figure, and the answer into the README."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fit", type=Path)
    idata = fitted(parser.parse_args().fit)
    mpl.use("Agg")
    axes = rl.plots.plot_lag(rl.lag_distribution(idata), prior=rl.lag_distribution(idata, group="prior"))
    axes.flat[0].figure.savefig(FIGURE, dpi=120, metadata={"Software": ""})
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    block = f"<!-- answer -->\n```text\n{answer(idata)}\n```"
    text, count = re.subn(r"<!-- answer -->\n```text\n[^`]*\n```", lambda _: block, text)
    if count != 1:
        raise SystemExit("README.md has no block after <!-- answer -->")
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
